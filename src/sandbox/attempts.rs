//! Verify's attempts: every time a code was sent, whether it was entered, and their sum.

use std::sync::Arc;

use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::answer::{ApiResult, TwilioError, iso8601, ok};
use super::countries::country_of;
use super::messages::moment;
use super::page::page_of;
use super::request::{ApiRequest, Params};
use super::state::SandboxState;
use super::verifications::Attempt;
use crate::clock::Timestamp;

/// GET /v2/Attempts
pub(super) async fn list(State(state): State<Arc<SandboxState>>, request: ApiRequest) -> ApiResult {
    let filter = Filter::read(&request.query)?;
    let found: Vec<Attempt> = matching(&state, &filter);
    let entries = found.iter().map(|attempt| attempt_json(&state, &request, attempt));
    Ok(ok(page_of("attempts", &request, entries)?))
}

/// GET /v2/Attempts/{VL…}
pub(super) async fn fetch(
    State(state): State<Arc<SandboxState>>,
    Path(sid): Path<String>,
    request: ApiRequest,
) -> ApiResult {
    let found = matching(&state, &Filter::default()).into_iter().find(|attempt| attempt.send.sid == sid);
    let found = found.ok_or_else(|| TwilioError::not_found(&request.path))?;
    Ok(ok(attempt_json(&state, &request, &found)))
}

/// GET /v2/Attempts/Summary
pub(super) async fn summary(State(state): State<Arc<SandboxState>>, request: ApiRequest) -> ApiResult {
    let found = matching(&state, &Filter::read(&request.query)?);
    let (total, converted) = (found.len(), found.iter().filter(|attempt| attempt.converted).count());
    Ok(ok(json!({
        "total_attempts": total, "total_converted": converted, "total_unconverted": total - converted,
        "conversion_rate_percentage": percentage(converted, total),
        "url": format!("{}{}", request.origin, request.path),
    })))
}

/// Which attempts a list holds, or a sum counts.
#[derive(Default)]
struct Filter {
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    to: Option<String>,
    prefix: Option<String>,
    country: Option<String>,
    channel: Option<String>,
    service: Option<String>,
    verification: Option<String>,
    converted: Option<bool>,
}

impl Filter {
    fn read(query: &Params) -> Result<Filter, TwilioError> {
        let owned = |name: &str| query.filled(name).map(str::to_owned);
        let date = |name: &str| query.filled(name).map(moment).transpose();
        let channel = owned("Channel");
        if channel.as_deref().is_some_and(|one| !["sms", "call", "email", "whatsapp", "rbm"].contains(&one)) {
            return Err(TwilioError::invalid("Channel"));
        }
        let converted = match query.filled("Status") {
            None => None,
            Some("converted") => Some(true),
            Some("unconverted") => Some(false),
            Some(_) => return Err(TwilioError::invalid("Status")),
        };
        Ok(Filter {
            from: date("DateCreatedAfter")?,
            until: date("DateCreatedBefore")?,
            to: owned("ChannelData.To"),
            prefix: owned("DestinationPrefix"),
            country: owned("Country").map(|iso| iso.to_ascii_uppercase()),
            channel,
            service: owned("VerifyServiceSid"),
            verification: owned("VerificationSid"),
            converted,
        })
    }

    fn matches(&self, attempt: &Attempt) -> bool {
        let same = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        let in_country = |iso: &String| country_of(&attempt.to).as_ref() == Some(iso);
        self.from.is_none_or(|from| attempt.send.at >= from)
            && self.until.is_none_or(|until| attempt.send.at <= until)
            && same(&self.to, &attempt.to)
            && self
                .prefix
                .as_deref()
                .is_none_or(|prefix| attempt.to.trim_start_matches('+').starts_with(prefix.trim_start_matches('+')))
            && same(&self.channel, &attempt.send.channel)
            && same(&self.service, &attempt.service)
            && same(&self.verification, &attempt.verification)
            && self.converted.is_none_or(|converted| converted == attempt.converted)
            && self.country.as_ref().is_none_or(in_country)
    }
}

fn matching(state: &SandboxState, filter: &Filter) -> Vec<Attempt> {
    let now = state.now();
    let mut found: Vec<Attempt> =
        state.verifications().attempts(now).filter(|attempt| filter.matches(attempt)).collect();
    // The newest first; of the same instant, the one that was sent later.
    found.reverse();
    found.sort_by_key(|attempt| std::cmp::Reverse(attempt.send.at));
    found
}

fn percentage(part: usize, whole: usize) -> String {
    let percent = if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 };
    let text = format!("{percent:.9}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn attempt_json(state: &SandboxState, request: &ApiRequest, attempt: &Attempt) -> Value {
    let Attempt { verification, service, to, locale, code_length, send, converted, updated } = attempt;
    let message_log = state.message_log();
    let message = message_log.any(&send.message);
    let price = message
        .and_then(|message| message.price_micros)
        .map(|micros| json!({"value": format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000), "currency": "usd"}));
    json!({
        "sid": send.sid, "account_sid": state.account.account_sid, "service_sid": service,
        "verification_sid": verification, "date_created": iso8601(send.at), "date_updated": iso8601(*updated),
        "conversion_status": if *converted { "converted" } else { "unconverted" }, "channel": send.channel,
        "price": price,
        "channel_data": {
            "verification_sid": verification, "to": to,
            "status": if *converted { "confirmed" } else { "unconfirmed" },
            "message_status": message.map(|message| &message.status),
            "error_code": message.and_then(|message| message.error_code).map(|code| code.to_string()),
            "country": country_of(to), "code_length": code_length, "locale": locale.as_deref().unwrap_or("en"),
            "mcc": "001", "mnc": "01", "carrier": "Sandbox Mobile",
        },
        "url": format!("{}/v2/Attempts/{}", request.origin, send.sid),
    })
}
