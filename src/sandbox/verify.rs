//! Verify v2: services, verifications and checks, as Twilio behaves. Codes go the way of messages here, so that the inbox shows them.

use std::sync::Arc;

use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::answer::{ApiResult, TwilioError, created, iso8601, list_v1, no_content, ok};
use super::countries::{country_of, segments};
use super::message::StoredMessage;
use super::request::{ApiRequest, Params};
use super::sid::random_sid;
use super::state::SandboxState;
use super::verifications::{Checked, Service, Start, Started, Verification};
use crate::locale::Locale;
use crate::phone::{self, Kind};
use crate::template::built_in;

/// GET /v2/Services
pub(super) async fn services(State(state): State<Arc<SandboxState>>, request: ApiRequest) -> ApiResult {
    let url = format!("{}{}", request.origin, request.path);
    let all = state.verifications().services().map(|service| service_json(&state, &request, service)).collect();
    Ok(ok(list_v1("services", &url, all)))
}

/// POST /v2/Services
pub(super) async fn create_service(State(state): State<Arc<SandboxState>>, request: ApiRequest) -> ApiResult {
    if request.form.filled("FriendlyName").is_none() {
        return Err(TwilioError::new(60200, "Missing required parameter FriendlyName in the post body"));
    }
    let mut service = Service::new(state.now());
    configure(&mut service, &request.form)?;
    let body = service_json(&state, &request, &service);
    state.verifications().add_service(service);
    Ok(created(body))
}

/// GET /v2/Services/{sid}
pub(super) async fn service(
    State(state): State<Arc<SandboxState>>,
    Path(sid): Path<String>,
    request: ApiRequest,
) -> ApiResult {
    let verifications = state.verifications();
    let service = verifications.service(&sid).ok_or_else(|| TwilioError::not_found(&request.path))?;
    Ok(ok(service_json(&state, &request, service)))
}

/// POST /v2/Services/{sid}
pub(super) async fn update_service(
    State(state): State<Arc<SandboxState>>,
    Path(sid): Path<String>,
    request: ApiRequest,
) -> ApiResult {
    let (now, mut verifications) = (state.now(), state.verifications());
    let service = verifications.service_mut(&sid).ok_or_else(|| TwilioError::not_found(&request.path))?;
    let mut changed = service.clone();
    configure(&mut changed, &request.form)?;
    changed.updated = now;
    *service = changed;
    Ok(ok(service_json(&state, &request, service)))
}

/// DELETE /v2/Services/{sid}
pub(super) async fn delete_service(
    State(state): State<Arc<SandboxState>>,
    Path(sid): Path<String>,
    request: ApiRequest,
) -> ApiResult {
    match state.verifications().delete_service(&sid) {
        true => Ok(no_content()),
        false => Err(TwilioError::not_found(&request.path)),
    }
}

/// POST /v2/Services/{sid}/Verifications: a new code, or the same one again while it lives.
pub(super) async fn start(
    State(state): State<Arc<SandboxState>>,
    Path(sid): Path<String>,
    request: ApiRequest,
) -> ApiResult {
    let (now, mut verifications) = (state.now(), state.verifications());
    let service = verifications.service(&sid).ok_or_else(|| TwilioError::not_found(&request.path))?.clone();
    let start = read_start(&state, &service, &request)?;
    let verification = match verifications.start(&service, start, now) {
        Started::Sent(verification) => *verification,
        Started::TooOften => return Err(TwilioError::new(60203, "Max send attempts reached")),
    };
    drop(verifications);
    deliver(&state, &service, &verification);
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
        _ => return Err(invalid("Status")),
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
    let code = code.ok_or_else(|| invalid("Code"))?;
    let paid = (form.filled("Amount"), form.filled("Payee"));
    let now = state.now();
    match state.verifications().check(&sid, which, (code, paid), now) {
        Checked::Answered(verification) => Ok(ok(check_json(&state, &verification))),
        Checked::TooOften => Err(TwilioError::new(60202, "Max check attempts reached")),
        Checked::OtherPayment => Err(TwilioError::new(60206, "Amount and Payee are those of another payment")),
        Checked::NotFound => Err(TwilioError::not_found(&request.path)),
    }
}

fn invalid(name: &str) -> TwilioError {
    TwilioError::new(60200, format!("Invalid parameter: {name}"))
}

/// What is given of a service's settings.
fn configure(service: &mut Service, form: &Params) -> Result<(), TwilioError> {
    if let Some(name) = form.filled("FriendlyName") {
        let digits_in_a_row = name.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() >= 5);
        if name.chars().count() > 32 || digits_in_a_row {
            return Err(invalid("FriendlyName"));
        }
        name.clone_into(&mut service.friendly_name);
    }
    if let Some(length) = form.filled("CodeLength") {
        let length = length.parse().ok().filter(|length| (4..=10).contains(length));
        service.code_length = length.ok_or_else(|| invalid("CodeLength"))?;
    }
    for (name, flag) in [
        ("LookupEnabled", &mut service.lookup),
        ("SkipSmsToLandlines", &mut service.skip_landlines),
        ("DtmfInputRequired", &mut service.dtmf_input),
        ("Psd2Enabled", &mut service.psd2),
        ("DoNotShareWarningEnabled", &mut service.do_not_share),
        ("CustomCodeEnabled", &mut service.custom_code),
    ] {
        match form.filled(name) {
            None => {}
            Some("true") => *flag = true,
            Some("false") => *flag = false,
            Some(_) => return Err(invalid(name)),
        }
    }
    Ok(())
}

fn read_start(state: &SandboxState, service: &Service, request: &ApiRequest) -> Result<Start, TwilioError> {
    let form = &request.form;
    let missing = |name| TwilioError::new(60200, format!("Missing required parameter {name} in the post body"));
    let to = form.filled("To").ok_or_else(|| missing("To"))?;
    let channel = match form.filled("Channel").ok_or_else(|| missing("Channel"))? {
        channel @ ("sms" | "whatsapp" | "call") => channel,
        "email" => return Err(TwilioError::new(60217, "The service has no mailer")),
        _ => return Err(invalid("Channel")),
    };
    let number = to.starts_with('+').then(|| phone::parse(to, None).ok()).flatten().ok_or_else(|| invalid("To"))?;
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
        return Err(invalid("CustomCode"));
    }
    let payment = match (form.filled("Amount"), form.filled("Payee")) {
        (Some(amount), Some(payee)) if service.psd2 => Some((amount.to_owned(), payee.to_owned())),
        _ if service.psd2 => return Err(TwilioError::new(60206, "Amount and Payee are required")),
        _ => None,
    };
    if payment.is_some() && channel == "call" {
        return Err(TwilioError::new(60214, "A payment cannot be verified by a call"));
    }
    Ok(Start { to: to.to_owned(), channel: channel.to_owned(), code, payment })
}

/// Puts the code where the inbox shows it. Nothing is spoken: a call is shown as what it would say.
fn deliver(state: &SandboxState, service: &Service, verification: &Verification) {
    let (now, code) = (state.now(), &verification.code);
    let warning = if service.do_not_share { " Don't share this code with anyone." } else { "" };
    let body = match verification.channel.as_str() {
        "call" => format!("[call] Your {} verification code is: {code}", service.friendly_name),
        _ => format!("Your {} verification code is: {code}{warning}", service.friendly_name),
    };
    let address = |number: &str| match verification.channel.as_str() {
        "whatsapp" => format!("whatsapp:{number}"),
        _ => number.to_owned(),
    };
    let message = state.message_log().add(StoredMessage {
        seq: 0,
        sid: random_sid("SM"),
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

fn service_json(state: &SandboxState, request: &ApiRequest, service: &Service) -> Value {
    let url = format!("{}/v2/Services/{}", request.origin, service.sid);
    json!({
        "sid": service.sid, "account_sid": state.account.account_sid, "friendly_name": service.friendly_name,
        "code_length": service.code_length, "lookup_enabled": service.lookup, "psd2_enabled": service.psd2,
        "skip_sms_to_landlines": service.skip_landlines, "dtmf_input_required": service.dtmf_input, "tts_name": null,
        "do_not_share_warning_enabled": service.do_not_share, "custom_code_enabled": service.custom_code,
        "push": {"apn_credential_sid": null, "fcm_credential_sid": null, "include_date": false},
        "totp": {"issuer": service.friendly_name, "time_step": 30, "code_length": 6, "skew": 1},
        "default_template_sid": null, "whatsapp": {"msg_service_sid": null, "from": null}, "passkeys": null,
        "verify_event_subscription_enabled": false,
        "date_created": iso8601(service.created), "date_updated": iso8601(service.updated), "url": url,
        "links": {
            "verifications": format!("{url}/Verifications"), "verification_checks": format!("{url}/VerificationCheck"),
            "rate_limits": format!("{url}/RateLimits"), "messaging_configurations": format!("{url}/MessagingConfigurations"),
        },
    })
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
