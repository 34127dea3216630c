//! The account and what it owns: status, balance, numbers, use of today, and a minimal call.

use std::sync::Arc;

use axum::extract::{Path, State};
use chrono::NaiveTime;
use serde_json::{Value, json};

use super::Shared;
use super::answer::{Answer, Refusal, created, list_2010, ok, rfc2822};
use super::call::Call;
use super::create::is_reachable;
use super::credentials::{Caller, Number, random_sid};
use crate::clock::Timestamp;

/// GET Accounts.json
pub(super) async fn list(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    check_key(&shared, &call)?;
    Ok(ok(list_2010("accounts", &call.path, vec![account(&shared)])))
}

/// GET Accounts/{sid}.json
pub(super) async fn fetch(State(shared): State<Arc<Shared>>, Path(file): Path<String>, call: Call) -> Answer {
    if !file.ends_with(".json") {
        return Err(Refusal::not_found(&call.path));
    }
    check_key(&shared, &call)?;
    Ok(ok(account(&shared)))
}

/// GET Balance.json
pub(super) async fn balance(State(shared): State<Arc<Shared>>, _: Call) -> Answer {
    let micros = shared.options.balance_millis.saturating_mul(1000) - shared.message_log().spent_micros;
    let sign = if micros < 0 { "-" } else { "" };
    let cents = micros.unsigned_abs() / 10_000;
    Ok(ok(json!({
        "account_sid": shared.credentials.account_sid,
        "balance": format!("{sign}{}.{:02}", cents / 100, cents % 100),
        "currency": "USD",
    })))
}

/// GET IncomingPhoneNumbers.json
pub(super) async fn numbers(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let asked = call.query.filled("PhoneNumber");
    let fits = |number: &&Number| asked.is_none_or(|asked| matches_pattern(&number.phone, asked));
    let found = shared.credentials.numbers.iter().filter(fits).map(|n| number_json(&shared, n)).collect();
    let uri = if call.raw_query.is_empty() { call.path.clone() } else { format!("{}?{}", call.path, call.raw_query) };
    Ok(ok(list_2010("incoming_phone_numbers", &uri, found)))
}

/// GET IncomingPhoneNumbers/{sid}.json
pub(super) async fn number(
    State(shared): State<Arc<Shared>>,
    Path((_, file)): Path<(String, String)>,
    call: Call,
) -> Answer {
    let sid = file.strip_suffix(".json");
    let number = shared.credentials.numbers.iter().find(|n| Some(n.sid.as_str()) == sid);
    Ok(ok(number_json(&shared, number.ok_or_else(|| Refusal::not_found(&call.path))?)))
}

/// POST IncomingPhoneNumbers.json: the magic numbers of test credentials; a live account buys nothing here.
pub(super) async fn buy_number(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    if call.caller != Caller::Test {
        return Err(Refusal::new(20403, "The sandbox sells no numbers"));
    }
    let phone = match (call.form.filled("PhoneNumber"), call.form.filled("AreaCode")) {
        (Some("+15005550006"), _) => "+15005550006",
        (Some("+15005550000"), _) => return Err(Refusal::new(21422, "The number is not available")),
        (Some(_), _) => return Err(Refusal::new(21421, "The number is not valid")),
        (None, Some("500")) => "+15005550006",
        (None, Some(_)) => return Err(Refusal::new(21452, "No number in this area code")),
        (None, None) => return Err(Refusal::new(20001, "'PhoneNumber' or 'AreaCode' is required")),
    };
    let number = Number { sid: random_sid("PN"), phone: phone.to_owned() };
    Ok(created(number_json(&shared, &number)))
}

/// POST Calls.json: checked as Twilio does, then forgotten.
pub(super) async fn call(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let to = call.form.filled("To").ok_or_else(|| Refusal::new(21201, "A 'To' is required"))?;
    let from = call.form.filled("From").ok_or_else(|| Refusal::new(21213, "A 'From' is required"))?;
    if !["Url", "Twiml", "ApplicationSid"].iter().any(|name| call.form.filled(name).is_some()) {
        return Err(Refusal::new(21205, "A 'Url', 'Twiml' or 'ApplicationSid' is required"));
    }
    let code = if call.caller == Caller::Test {
        magic_call(from, to)
    } else if !is_reachable(to) {
        Some(21217)
    } else if !shared.credentials.owns(from) {
        Some(21210)
    } else {
        None
    };
    if let Some(code) = code {
        return Err(Refusal::new(code, format!("A call from {from} to {to} answers {code}")));
    }
    let account = shared.credentials.account_of(call.caller);
    let (sid, now) = (random_sid("CA"), rfc2822(shared.now()));
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
pub(super) async fn usage_today(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let today = shared.now().datetime().date_naive();
    let midnight = Timestamp::from(today.and_time(NaiveTime::MIN).and_utc());
    let (count, segments, micros) = shared.message_log().usage_since(midnight);
    let price = format!("{}.{:05}", micros / 1_000_000, micros % 1_000_000 / 10);
    let asked = call.query.filled("Category");
    let records: Vec<Value> = ["sms", "sms-outbound", "totalprice"]
        .into_iter()
        .filter(|category| asked.is_none_or(|asked| asked == *category))
        .map(|category| {
            json!({
                "account_sid": shared.credentials.account_sid, "api_version": "2010-04-01", "as_of": rfc2822(shared.now()),
                "category": category, "count": count.to_string(), "count_unit": "messages", "description": category,
                "end_date": today.to_string(), "price": price, "price_unit": "usd", "start_date": today.to_string(),
                "subresource_uris": {}, "uri": call.path, "usage": segments.to_string(), "usage_unit": "segments",
            })
        })
        .collect();
    Ok(ok(list_2010("usage_records", &call.path, records)))
}

/// A Standard key may do everything but read accounts and keys.
fn check_key(shared: &Shared, call: &Call) -> Result<(), Refusal> {
    if call.caller == Caller::Key && shared.options.standard_key { Err(Refusal::unauthorized()) } else { Ok(()) }
}

fn account(shared: &Shared) -> Value {
    let sid = &shared.credentials.account_sid;
    let now = rfc2822(shared.now());
    let base = format!("/2010-04-01/Accounts/{sid}");
    json!({
        "auth_token": "redacted by the sandbox", "date_created": now, "date_updated": now, "friendly_name": "sandbox",
        "owner_account_sid": sid, "sid": sid, "status": shared.options.account_status,
        "subresource_uris": {
            "balance": format!("{base}/Balance.json"), "calls": format!("{base}/Calls.json"),
            "incoming_phone_numbers": format!("{base}/IncomingPhoneNumbers.json"),
            "messages": format!("{base}/Messages.json"), "usage": format!("{base}/Usage.json"),
        },
        "type": if shared.options.trial { "Trial" } else { "Full" }, "uri": format!("{base}.json"),
    })
}

fn number_json(shared: &Shared, number: &Number) -> Value {
    let account = &shared.credentials.account_sid;
    let now = rfc2822(shared.now());
    json!({
        "account_sid": account, "address_requirements": "none", "address_sid": null, "api_version": "2010-04-01",
        "beta": false, "bundle_sid": null,
        "capabilities": {"fax": false, "mms": true, "sms": true, "voice": true}, "date_created": now, "date_updated": now,
        "emergency_address_sid": null, "emergency_address_status": "unregistered", "emergency_status": "Inactive",
        "friendly_name": number.phone, "identity_sid": null, "origin": "twilio", "phone_number": number.phone,
        "sid": number.sid, "sms_application_sid": "", "sms_fallback_method": "POST", "sms_fallback_url": "",
        "sms_method": "POST", "sms_url": shared.options.inbound_url.as_deref().unwrap_or_default(),
        "status": "in-use", "status_callback": "", "status_callback_method": "POST", "trunk_sid": null, "type": "local",
        "uri": format!("/2010-04-01/Accounts/{account}/IncomingPhoneNumbers/{}.json", number.sid),
        "voice_application_sid": "", "voice_caller_id_lookup": false, "voice_fallback_method": "POST",
        "voice_fallback_url": "", "voice_method": "POST", "voice_receive_mode": "voice", "voice_url": "",
    })
}

/// Twilio's filter: `*` stands for any digits, and a part of a number finds it.
fn matches_pattern(phone: &str, asked: &str) -> bool {
    let mut rest = phone;
    for part in asked.split('*').filter(|part| !part.is_empty()) {
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
