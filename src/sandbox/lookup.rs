//! Prices, permissions per country, and look-ups of numbers. Carriers are made up here.

use std::sync::Arc;

use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::answer::{ApiResult, TwilioError, ok};
use super::countries::{COUNTRIES, Country, PRICE_ELSEWHERE, find_country};
use super::page::page_of;
use super::request::ApiRequest;
use super::state::SandboxState;
use crate::phone::{self, Kind, Number};

/// GET /v1/Messaging/Countries: every country that has phone numbers.
pub(super) async fn priced(State(_): State<Arc<SandboxState>>, request: ApiRequest) -> ApiResult {
    let url = format!("{}{}", request.origin, request.path);
    let countries = phone::countries()
        .map(|iso| json!({"country": name_of(iso), "iso_country": iso, "url": format!("{url}/{iso}")}));
    Ok(ok(page_of("countries", &request, countries)?))
}

/// GET /v1/Messaging/Countries/{ISO}. What is billed is the price of the dearer carrier.
pub(super) async fn price(
    State(_): State<Arc<SandboxState>>,
    Path(iso): Path<String>,
    request: ApiRequest,
) -> ApiResult {
    let iso = phone::country(&iso).ok_or_else(|| TwilioError::not_found(&request.path))?;
    let micros = find_country(iso).map_or(PRICE_ELSEWHERE, |country| country.micros);
    let carrier = |name: &str, mnc: &str, micros: i64| {
        let price = format!("{}.{:04}", micros / 1_000_000, micros % 1_000_000 / 100);
        json!({
            "carrier": name, "mcc": "001", "mnc": mnc,
            "prices": [{"base_price": price, "current_price": price, "number_type": "local"}],
        })
    };
    Ok(ok(json!({
        "country": name_of(iso),
        "inbound_sms_prices": [{"base_price": "0.0083", "current_price": "0.0083", "number_type": "local"}],
        "iso_country": iso,
        "outbound_sms_prices": [
            carrier("Sandbox Mobile", "01", micros), carrier("Sandbox Nationwide", "02", micros * 4 / 5),
        ],
        "price_unit": "USD", "url": format!("{}{}", request.origin, request.path),
    })))
}

/// Its name, where the sandbox knows one.
fn name_of(iso: &'static str) -> &'static str {
    find_country(iso).map_or(iso, |country| country.name)
}

/// GET /v1/Messaging/GeoPermissions
pub(super) async fn geo_permissions(State(state): State<Arc<SandboxState>>, request: ApiRequest) -> ApiResult {
    let wanted: Option<Vec<&str>> =
        request.query.filled("CountryCode").map(|list| list.split(',').map(str::trim).collect());
    let permission = |country: &Country| {
        json!({
            "country_code": country.iso, "type": "country", "prefix": format!("+{}", country.prefix), "message": "",
            "enabled": !state.options.countries_off.contains(country.iso), "error_code": null, "error_messages": [],
        })
    };
    let fits = |country: &&Country| wanted.as_ref().is_none_or(|list| list.contains(&country.iso));
    let permissions: Vec<Value> = COUNTRIES.iter().filter(fits).map(permission).collect();
    Ok(ok(json!({"permissions": permissions})))
}

/// GET /v2/PhoneNumbers/{number}
pub(super) async fn lookup(
    State(_): State<Arc<SandboxState>>,
    Path(number): Path<String>,
    request: ApiRequest,
) -> ApiResult {
    // A number of its country's own form needs the country.
    let country = request.query.filled("CountryCode");
    let parsed = (number.starts_with('+') || country.is_some()).then(|| phone::parse(&number, country).ok()).flatten();
    let digits = number.chars().filter(char::is_ascii_digit).count();
    let problems = match digits {
        _ if parsed.is_some() => json!([]),
        0..7 => json!(["TOO_SHORT"]),
        16.. => json!(["TOO_LONG"]),
        _ => json!(["NOT_A_NUMBER"]),
    };
    let fields: Vec<&str> = request.query.filled("Fields").map(|f| f.split(',').collect()).unwrap_or_default();
    let wants = |name: &str| fields.contains(&name);
    let line = parsed.as_ref().filter(|_| wants("line_type_intelligence")).map(|parsed| {
        json!({
            "type": line_type(parsed.kind), "carrier_name": "Sandbox Mobile", "mobile_country_code": "001",
            "mobile_network_code": "01", "error_code": null,
        })
    });
    let risk = parsed.as_ref().filter(|_| wants("sms_pumping_risk")).map(|_| {
        json!({
            "carrier_risk_category": "low", "number_blocked": false, "number_blocked_date": null,
            "number_blocked_last_3_months": false, "sms_pumping_risk_score": 0, "error_code": null,
        })
    });
    Ok(ok(json!({
        "calling_country_code": parsed.as_ref().and_then(calling_code),
        "country_code": parsed.as_ref().and_then(|parsed| parsed.country.as_deref()),
        "phone_number": parsed.as_ref().map_or(number.as_str(), |parsed| parsed.phone.as_str()),
        "national_format": parsed.as_ref().map(phone::Number::national),
        "valid": parsed.is_some(), "validation_errors": problems,
        "caller_name": null, "sim_swap": null, "call_forwarding": null, "line_status": null,
        "line_type_intelligence": line, "identity_match": null, "reassigned_number": null, "sms_pumping_risk": risk,
        "phone_number_quality_score": null, "pre_fill": null, "url": format!("{}{}", request.origin, request.path),
    })))
}

/// GET /v1/PhoneNumbers/{number}: the older look-up. A number of its country's own form is read with `CountryCode`, by default in the US.
pub(super) async fn lookup_v1(
    State(_): State<Arc<SandboxState>>,
    Path(text): Path<String>,
    request: ApiRequest,
) -> ApiResult {
    let country = request.query.filled("CountryCode").unwrap_or("US");
    let number = phone::parse(&text, Some(country)).map_err(|_| TwilioError::not_found(&request.path))?;
    let wants = |kind: &str| request.query.all("Type").any(|one| one == kind);
    let carrier = wants("carrier").then(|| {
        let kind = match line_type(number.kind) {
            kind @ ("mobile" | "landline") => Some(kind),
            "nonFixedVoip" => Some("voip"),
            _ => None,
        };
        json!({
            "mobile_country_code": "001", "mobile_network_code": "01", "name": "Sandbox Mobile", "type": kind,
            "error_code": null,
        })
    });
    let caller = wants("caller-name").then(|| json!({"caller_name": null, "caller_type": null, "error_code": null}));
    Ok(ok(json!({
        "caller_name": caller, "carrier": carrier, "add_ons": null, "country_code": number.country.as_deref(),
        "phone_number": number.phone.as_str(), "national_format": number.national(),
        "url": format!("{}{}", request.origin, request.path),
    })))
}

/// What is dialled before the national number.
fn calling_code(number: &Number) -> Option<&str> {
    let e164 = number.phone.as_str().strip_prefix('+')?;
    let national: String = number.national().chars().filter(char::is_ascii_digit).collect();
    // Most countries write a leading digit that is not dialled from abroad; Italy dials it.
    e164.strip_suffix(national.as_str()).or_else(|| e164.strip_suffix(national.get(1..)?))
}

/// Twilio's name for a kind of line. Where the plan does not distinguish mobile phones from landlines, it is a mobile phone here.
fn line_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Mobile | Kind::FixedLineOrMobile => "mobile",
        Kind::FixedLine => "landline",
        Kind::Voip => "nonFixedVoip",
        Kind::TollFree => "tollFree",
        Kind::PremiumRate => "premium",
        Kind::SharedCost => "sharedCost",
        Kind::Uan => "uan",
        Kind::Pager => "pager",
        Kind::Voicemail => "voicemail",
        Kind::Personal => "personal",
        Kind::Satellite | Kind::Unknown => "unknown",
    }
}
