//! Verify v2: services, verifications and checks, as Twilio behaves. Codes go the way of messages here, so that the inbox shows them.

use std::sync::Arc;

use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::answer::{ApiResult, TwilioError, created, iso8601, ok};
use super::buckets::RateLimits;
use super::countries::{country_of, segments};
use super::message::StoredMessage;
use super::rate_limits;
use super::request::{ApiRequest, Params};
use super::state::SandboxState;
use super::templates::{self, Template};
use super::verifications::{Checked, Service, Start, Started, Verification};
use crate::locale::Locale;
use crate::phone::{self, Kind};
use crate::template::built_in;

/// POST /v2/Services/{sid}/Verifications: a new code, or the same one again while it lives.
pub(super) async fn start(
    State(state): State<Arc<SandboxState>>,
    Path(sid): Path<String>,
    request: ApiRequest,
) -> ApiResult {
    let (now, mut verifications) = (state.now(), state.verifications());
    let service = verifications.service(&sid).ok_or_else(|| TwilioError::not_found(&request.path))?.clone();
    let start = read_start(&state, &verifications.rate_limits, &service, &request)?;
    let template = template_of(&service, &request.form)?;
    let verification = match verifications.start(&service, start, now) {
        Started::Sent(verification) => *verification,
        Started::TooOften => return Err(TwilioError::new(60203, "Max send attempts reached")),
        Started::Limited => return Err(TwilioError::new(20429, "Too many requests")),
    };
    drop(verifications);
    deliver(&state, &service, &verification, template);
    Ok(created(verification_json(&state, &request, &verification)))
}

/// GET /v2/Services/{sid}/Verifications/{VE… or To}
pub(super) async fn fetch(
    State(state): State<Arc<SandboxState>>,
    Path((sid, which)): Path<(String, String)>,
    request: ApiRequest,
) -> ApiResult {
    let now = state.now();
    let verifications = state.verifications();
    let found = verifications.live(&sid, &which, now).ok_or_else(|| TwilioError::not_found(&request.path))?;
    Ok(ok(verification_json(&state, &request, found)))
}

/// POST /v2/Services/{sid}/Verifications/{VE… or To}: what ended elsewhere, `approved` or `canceled`.
pub(super) async fn update(
    State(state): State<Arc<SandboxState>>,
    Path((sid, which)): Path<(String, String)>,
    request: ApiRequest,
) -> ApiResult {
    let status = match request.form.filled("Status") {
        Some(status @ ("approved" | "canceled")) => status,
        _ => return Err(TwilioError::invalid("Status")),
    };
    let (now, mut verifications) = (state.now(), state.verifications());
    let ended = verifications.end(&sid, &which, status, now).ok_or_else(|| TwilioError::not_found(&request.path))?;
    Ok(ok(verification_json(&state, &request, &ended)))
}

/// POST /v2/Services/{sid}/VerificationCheck
pub(super) async fn check(
    State(state): State<Arc<SandboxState>>,
    Path(sid): Path<String>,
    request: ApiRequest,
) -> ApiResult {
    let form = &request.form;
    let which = form.filled("VerificationSid").or(form.filled("To"));
    let which = which.ok_or_else(|| TwilioError::new(60221, "Either To or VerificationSid must be specified"))?;
    let code = form.filled("Code").filter(|code| (4..=10).contains(&code.chars().count()));
    let code = code.ok_or_else(|| TwilioError::invalid("Code"))?;
    let paid = (form.filled("Amount"), form.filled("Payee"));
    let now = state.now();
    match state.verifications().check(&sid, which, (code, paid), now) {
        Checked::Answered(verification) => Ok(ok(check_json(&state, &verification))),
        Checked::TooOften => Err(TwilioError::new(60202, "Max check attempts reached")),
        Checked::OtherPayment => Err(TwilioError::new(60206, "Amount and Payee are those of another payment")),
        Checked::NotFound => Err(TwilioError::not_found(&request.path)),
    }
}

/// The text of a start: the one that it names, else the service's where the channel takes it.
fn template_of(service: &Service, form: &Params) -> Result<Option<&'static Template>, TwilioError> {
    let channel = form.filled("Channel").unwrap_or_default();
    match form.filled("TemplateSid").map(templates::find).transpose()? {
        Some(template) if !template.is_for(channel) => {
            Err(TwilioError::new(60408, format!("The template is not for the channel {channel}")))
        }
        Some(template) => Ok(Some(template)),
        None => Ok(service.default_template.filter(|template| template.is_for(channel))),
    }
}

fn read_start(
    state: &SandboxState,
    limits: &RateLimits,
    service: &Service,
    request: &ApiRequest,
) -> Result<Start, TwilioError> {
    let form = &request.form;
    let to = form.filled("To").ok_or_else(|| TwilioError::missing("To"))?;
    let channel = match form.filled("Channel").ok_or_else(|| TwilioError::missing("Channel"))? {
        channel @ ("sms" | "whatsapp" | "call") => channel,
        "email" => return Err(TwilioError::new(60217, "The service has no mailer")),
        _ => return Err(TwilioError::invalid("Channel")),
    };
    let number =
        to.starts_with('+').then(|| phone::parse(to, None).ok()).flatten().ok_or_else(|| TwilioError::invalid("To"))?;
    if country_of(to).is_some_and(|iso| state.options.countries_off.contains(&iso)) {
        return Err(TwilioError::new(60605, format!("Verifications to the region of {to} are not enabled")));
    }
    if channel == "sms" && service.lookup && service.skip_landlines && number.kind == Kind::FixedLine {
        return Err(TwilioError::new(60205, "SMS is not supported by landline phone number"));
    }
    if let Some(tag) = form.filled("Locale") {
        let known =
            |locale: &Locale| locale.and_wider().iter().any(|one| built_in::locales().any(|tag| tag == one.as_str()));
        if !Locale::parse(tag).is_some_and(|locale| known(&locale)) {
            return Err(TwilioError::new(20404, format!("The locale {tag} is not supported")));
        }
    }
    let code = form.filled("CustomCode").map(str::to_owned);
    if code.is_some() && !service.custom_code {
        return Err(TwilioError::new(60204, "Custom code not allowed"));
    }
    if code.as_ref().is_some_and(|code| !(4..=10).contains(&code.chars().count())) {
        return Err(TwilioError::invalid("CustomCode"));
    }
    let payment = match (form.filled("Amount"), form.filled("Payee")) {
        (Some(amount), Some(payee)) if service.psd2 => Some((amount.to_owned(), payee.to_owned())),
        _ if service.psd2 => return Err(TwilioError::new(60206, "Amount and Payee are required")),
        _ => None,
    };
    if payment.is_some() && channel == "call" {
        return Err(TwilioError::new(60214, "A payment cannot be verified by a call"));
    }
    let locale = form.filled("Locale").map(str::to_owned);
    let keys = rate_limits::keys(limits, &service.sid, form)?;
    Ok(Start { to: to.to_owned(), channel: channel.to_owned(), code, payment, locale, keys })
}

/// Puts the code where the inbox shows it. Nothing is spoken: a call is shown as what it would say.
fn deliver(state: &SandboxState, service: &Service, verification: &Verification, template: Option<&Template>) {
    let (now, name, code) = (state.now(), &service.friendly_name, &verification.code);
    let text = match template {
        Some(template) => template.filled(name, code),
        None => format!("Your {name} verification code is: {code}"),
    };
    let body = match verification.channel.as_str() {
        "call" => format!("[call] {text}"),
        _ if template.is_none() && service.do_not_share => format!("{text} Don't share this code with anyone."),
        _ => text,
    };
    let address = |number: &str| match verification.channel.as_str() {
        "whatsapp" => format!("whatsapp:{number}"),
        _ => number.to_owned(),
    };
    let message = state.message_log().add(StoredMessage {
        seq: 0,
        sid: verification.sends.last().map(|send| send.message.clone()).unwrap_or_default(),
        inbound: false,
        to: address(&verification.to),
        from: Some(address(&state.account.first_number())),
        service: None,
        segments: segments(&body),
        body,
        media: Vec::new(),
        status: "queued".to_owned(),
        error_code: None,
        created: now,
        updated: now,
        sent: None,
        validity: None,
        callback: None,
        send_at: None,
        price_micros: None,
        feedback: None,
        verification: true,
        deleted: false,
    });
    if let Some(on_message) = &state.options.on_message {
        on_message(&message.received());
    }
    state.arrivals.send_modify(|n| *n += 1);
    state.moving.notify_one();
}

fn verification_json(state: &SandboxState, request: &ApiRequest, verification: &Verification) -> Value {
    let Verification { sid, service, to, channel, status, payment, sends, created, updated, .. } = verification;
    let attempts: Vec<Value> = sends
        .iter()
        .map(|send| json!({"time": iso8601(send.at), "channel": send.channel.to_uppercase(), "attempt_sid": send.sid}))
        .collect();
    json!({
        "sid": sid, "service_sid": service, "account_sid": state.account.account_sid, "to": to, "channel": channel,
        "status": status, "valid": *status == "approved", "lookup": {"carrier": null},
        "amount": payment.as_ref().map(|(amount, _)| amount), "payee": payment.as_ref().map(|(_, payee)| payee),
        "send_code_attempts": attempts, "sna": null, "date_created": iso8601(*created), "date_updated": iso8601(*updated),
        "url": format!("{}/v2/Services/{service}/Verifications/{sid}", request.origin),
    })
}

fn check_json(state: &SandboxState, verification: &Verification) -> Value {
    let Verification { sid, service, to, channel, status, payment, created, updated, .. } = verification;
    json!({
        "sid": sid, "service_sid": service, "account_sid": state.account.account_sid, "to": to, "channel": channel,
        "status": status, "valid": *status == "approved",
        "amount": payment.as_ref().map(|(amount, _)| amount), "payee": payment.as_ref().map(|(_, payee)| payee),
        "date_created": iso8601(*created), "date_updated": iso8601(*updated), "sna_attempts_error_codes": [],
    })
}
