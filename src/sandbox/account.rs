//! The account and what it owns: status, balance, numbers, today's usage, and a minimal call.

use std::sync::Arc;

use axum::extract::{Path, State};
use chrono::NaiveTime;
use serde_json::{Value, json};

use super::answer::{ApiResult, TwilioError, created, list_2010, ok, rfc2822};
use super::countries::is_reachable;
use super::identity::{Identity, OwnedNumber};
use super::request::ApiRequest;
use super::sid::random_sid;
use super::state::SandboxState;
use crate::clock::Timestamp;

/// GET Accounts.json
pub(super) async fn list(State(state): State<Arc<SandboxState>>, request: ApiRequest) -> ApiResult {
    check_key(&state, &request)?;
    Ok(ok(list_2010("accounts", &request.path, vec![account(&state)])))
}

/// GET Accounts/{sid}.json
pub(super) async fn fetch(
    State(state): State<Arc<SandboxState>>,
    Path(file): Path<String>,
    request: ApiRequest,
) -> ApiResult {
    if !file.ends_with(".json") {
        return Err(TwilioError::not_found(&request.path));
    }
    check_key(&state, &request)?;
    Ok(ok(account(&state)))
}

/// GET Balance.json
pub(super) async fn balance(State(state): State<Arc<SandboxState>>, _: ApiRequest) -> ApiResult {
    let micros = state.options.balance_millis.saturating_mul(1000) - state.message_log().spent_micros;
    let sign = if micros < 0 { "-" } else { "" };
    let cents = micros.unsigned_abs() / 10_000;
    Ok(ok(json!({
        "account_sid": state.account.account_sid,
        "balance": format!("{sign}{}.{:02}", cents / 100, cents % 100),
        "currency": "USD",
    })))
}

/// GET IncomingPhoneNumbers.json
pub(super) async fn numbers(State(state): State<Arc<SandboxState>>, request: ApiRequest) -> ApiResult {
    let pattern = request.query.filled("PhoneNumber");
    let fits = |number: &&OwnedNumber| pattern.is_none_or(|pattern| matches_pattern(&number.phone, pattern));
    let found = state.account.numbers.iter().filter(fits).map(|n| number_json(&state, n)).collect();
    let uri = if request.raw_query.is_empty() {
        request.path.clone()
    } else {
        format!("{}?{}", request.path, request.raw_query)
    };
    Ok(ok(list_2010("incoming_phone_numbers", &uri, found)))
}

/// GET IncomingPhoneNumbers/{sid}.json
pub(super) async fn number(
    State(state): State<Arc<SandboxState>>,
    Path((_, file)): Path<(String, String)>,
    request: ApiRequest,
) -> ApiResult {
    let sid = file.strip_suffix(".json");
    let number = state.account.numbers.iter().find(|n| Some(n.sid.as_str()) == sid);
    Ok(ok(number_json(&state, number.ok_or_else(|| TwilioError::not_found(&request.path))?)))
}

/// POST IncomingPhoneNumbers.json: the magic numbers of test credentials; a live account buys nothing here.
pub(super) async fn buy_number(State(state): State<Arc<SandboxState>>, request: ApiRequest) -> ApiResult {
    if request.identity != Identity::Test {
        return Err(TwilioError::new(20403, "The sandbox sells no numbers"));
    }
    let phone = match (request.form.filled("PhoneNumber"), request.form.filled("AreaCode")) {
        (Some("+15005550006"), _) => "+15005550006",
        (Some("+15005550000"), _) => return Err(TwilioError::new(21422, "The number is not available")),
        (Some(_), _) => return Err(TwilioError::new(21421, "The number is not valid")),
        (None, Some("500")) => "+15005550006",
        (None, Some(_)) => return Err(TwilioError::new(21452, "No number in this area code")),
        (None, None) => return Err(TwilioError::new(20001, "'PhoneNumber' or 'AreaCode' is required")),
    };
    let number = OwnedNumber { sid: random_sid("PN"), phone: phone.to_owned() };
    Ok(created(number_json(&state, &number)))
}

/// POST Calls.json: checked as Twilio does, then forgotten.
pub(super) async fn create_call(State(state): State<Arc<SandboxState>>, request: ApiRequest) -> ApiResult {
    let to = request.form.filled("To").ok_or_else(|| TwilioError::new(21201, "A 'To' is required"))?;
    let from = request.form.filled("From").ok_or_else(|| TwilioError::new(21213, "A 'From' is required"))?;
    if !["Url", "Twiml", "ApplicationSid"].iter().any(|name| request.form.filled(name).is_some()) {
        return Err(TwilioError::new(21205, "A 'Url', 'Twiml' or 'ApplicationSid' is required"));
    }
    let code = if request.identity == Identity::Test {
        magic_call(from, to)
    } else if !is_reachable(to) {
        Some(21217)
    } else if !state.account.owns(from) {
        Some(21210)
    } else {
        None
    };
    if let Some(code) = code {
        return Err(TwilioError::new(code, format!("A call from {from} to {to} answers {code}")));
    }
    let account = state.account.sid_of(request.identity);
    let (sid, now) = (random_sid("CA"), rfc2822(state.now()));
    let uri = format!("/2010-04-01/Accounts/{account}/Calls/{sid}.json");
    Ok(created(json!({
        "account_sid": account, "answered_by": null, "api_version": "2010-04-01", "caller_name": null,
        "date_created": now, "date_updated": now, "direction": "outbound-api", "duration": null, "end_time": null,
        "forwarded_from": null, "from": from, "from_formatted": from, "group_sid": null, "parent_call_sid": null,
        "phone_number_sid": null, "price": null, "price_unit": "USD", "queue_time": "0", "sid": sid, "start_time": null,
        "status": "queued", "subresource_uris": {}, "to": to, "to_formatted": to, "trunk_sid": null, "uri": uri,
    })))
}

/// GET Usage/Records/Today.json
pub(super) async fn usage_today(State(state): State<Arc<SandboxState>>, request: ApiRequest) -> ApiResult {
    let today = state.now().datetime().date_naive();
    let midnight = Timestamp::from(today.and_time(NaiveTime::MIN).and_utc());
    let (count, segments, micros) = state.message_log().usage_since(midnight);
    let price = format!("{}.{:05}", micros / 1_000_000, micros % 1_000_000 / 10);
    let wanted = request.query.filled("Category");
    let records: Vec<Value> = ["sms", "sms-outbound", "totalprice"]
        .into_iter()
        .filter(|category| wanted.is_none_or(|wanted| wanted == *category))
        .map(|category| {
            json!({
                "account_sid": state.account.account_sid, "api_version": "2010-04-01", "as_of": rfc2822(state.now()),
                "category": category, "count": count.to_string(), "count_unit": "messages", "description": category,
                "end_date": today.to_string(), "price": price, "price_unit": "usd", "start_date": today.to_string(),
                "subresource_uris": {}, "uri": request.path, "usage": segments.to_string(), "usage_unit": "segments",
            })
        })
        .collect();
    Ok(ok(list_2010("usage_records", &request.path, records)))
}

/// A Standard key may do everything but read accounts and keys.
fn check_key(state: &SandboxState, request: &ApiRequest) -> Result<(), TwilioError> {
    if request.identity == Identity::Key && state.options.standard_key {
        Err(TwilioError::unauthorized())
    } else {
        Ok(())
    }
}

fn account(state: &SandboxState) -> Value {
    let sid = &state.account.account_sid;
    let now = rfc2822(state.now());
    let base = format!("/2010-04-01/Accounts/{sid}");
    json!({
        "auth_token": "redacted by the sandbox", "date_created": now, "date_updated": now, "friendly_name": "sandbox",
        "owner_account_sid": sid, "sid": sid, "status": state.options.account_status,
        "subresource_uris": {
            "balance": format!("{base}/Balance.json"), "calls": format!("{base}/Calls.json"),
            "incoming_phone_numbers": format!("{base}/IncomingPhoneNumbers.json"),
            "messages": format!("{base}/Messages.json"), "usage": format!("{base}/Usage.json"),
        },
        "type": if state.options.trial { "Trial" } else { "Full" }, "uri": format!("{base}.json"),
    })
}

fn number_json(state: &SandboxState, number: &OwnedNumber) -> Value {
    let account = &state.account.account_sid;
    let now = rfc2822(state.now());
    json!({
        "account_sid": account, "address_requirements": "none", "address_sid": null, "api_version": "2010-04-01",
        "beta": false, "bundle_sid": null,
        "capabilities": {"fax": false, "mms": true, "sms": true, "voice": true}, "date_created": now, "date_updated": now,
        "emergency_address_sid": null, "emergency_address_status": "unregistered", "emergency_status": "Inactive",
        "friendly_name": number.phone, "identity_sid": null, "origin": "twilio", "phone_number": number.phone,
        "sid": number.sid, "sms_application_sid": "", "sms_fallback_method": "POST", "sms_fallback_url": "",
        "sms_method": "POST", "sms_url": state.options.inbound_url.as_deref().unwrap_or_default(),
        "status": "in-use", "status_callback": "", "status_callback_method": "POST", "trunk_sid": null, "type": "local",
        "uri": format!("/2010-04-01/Accounts/{account}/IncomingPhoneNumbers/{}.json", number.sid),
        "voice_application_sid": "", "voice_caller_id_lookup": false, "voice_fallback_method": "POST",
        "voice_fallback_url": "", "voice_method": "POST", "voice_receive_mode": "voice", "voice_url": "",
    })
}

/// Twilio's filter: `*` stands for any digits, and a part of a number finds it.
fn matches_pattern(phone: &str, pattern: &str) -> bool {
    let mut rest = phone;
    for part in pattern.split('*').filter(|part| !part.is_empty()) {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

fn magic_call(from: &str, to: &str) -> Option<u32> {
    match (from, to) {
        (_, "+15005550001") => Some(21217),
        (_, "+15005550002") => Some(21214),
        (_, "+15005550003") => Some(21215),
        (_, "+15005550004") => Some(21216),
        (_, to) if !is_reachable(to) => Some(21217),
        ("+15005550006", _) => None,
        ("+15005550001", _) => Some(21212),
        _ => Some(21210),
    }
}
