//! What Twilio knows of the world: services, prices, countries, numbers. Prices and carriers are made up here.

use std::sync::Arc;

use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::Shared;
use super::answer::{Answer, Refusal, iso8601, list_v1, ok};
use super::call::Call;
use crate::phone::{self, Kind, Number};
use crate::segments::measure;

/// A country that messages go to.
struct Country {
    /// ISO 3166-1 alpha-2.
    iso: &'static str,
    name: &'static str,
    prefix: &'static str,
    /// The made-up price of a segment, in millionths of a US dollar.
    micros: i64,
}

/// The made-up price of a segment to every other country.
const ELSEWHERE: i64 = 50_000;

/// Enough of the world to tell the examples apart.
const COUNTRIES: &[Country] = &[
    Country { iso: "US", name: "United States", prefix: "1", micros: 8_300 },
    Country { iso: "CA", name: "Canada", prefix: "1", micros: 8_300 },
    Country { iso: "GB", name: "United Kingdom", prefix: "44", micros: 52_400 },
    Country { iso: "DE", name: "Germany", prefix: "49", micros: 111_000 },
    Country { iso: "FR", name: "France", prefix: "33", micros: 79_800 },
    Country { iso: "ES", name: "Spain", prefix: "34", micros: 76_100 },
    Country { iso: "IT", name: "Italy", prefix: "39", micros: 92_700 },
    Country { iso: "NL", name: "Netherlands", prefix: "31", micros: 107_000 },
    Country { iso: "PL", name: "Poland", prefix: "48", micros: 43_800 },
    Country { iso: "SE", name: "Sweden", prefix: "46", micros: 62_600 },
    Country { iso: "CH", name: "Switzerland", prefix: "41", micros: 75_100 },
    Country { iso: "BR", name: "Brazil", prefix: "55", micros: 65_200 },
    Country { iso: "MX", name: "Mexico", prefix: "52", micros: 71_800 },
    Country { iso: "IN", name: "India", prefix: "91", micros: 83_200 },
    Country { iso: "PK", name: "Pakistan", prefix: "92", micros: 47_300 },
    Country { iso: "JP", name: "Japan", prefix: "81", micros: 88_400 },
    Country { iso: "AU", name: "Australia", prefix: "61", micros: 51_500 },
    Country { iso: "ZA", name: "South Africa", prefix: "27", micros: 113_000 },
];

/// The country of a number by the numbering plans: two letters; `None` for numbers of none.
pub(super) fn country_of(number: &str) -> Option<String> {
    phone::parse(number, None).ok()?.country
}

/// The made-up price of one segment to a number, in millionths of a US dollar.
pub(super) fn price_micros(to: &str) -> i64 {
    country_of(to).and_then(|iso| known(&iso)).map_or(ELSEWHERE, |country| country.micros)
}

/// How many segments a text takes.
pub(super) fn segments(text: &str) -> u32 {
    measure(text).segments
}

/// GET /v1/Services
pub(super) async fn services(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let url = format!("{}{}", call.origin, call.path);
    Ok(ok(list_v1("services", &url, vec![service_json(&shared, &call)])))
}

/// GET /v1/Services/{sid}
pub(super) async fn service(State(shared): State<Arc<Shared>>, Path(sid): Path<String>, call: Call) -> Answer {
    if sid != shared.credentials.service_sid {
        return Err(Refusal::not_found(&call.path));
    }
    Ok(ok(service_json(&shared, &call)))
}

/// GET /v1/Services/{sid}/{PhoneNumbers, AlphaSenders, ShortCodes}
pub(super) async fn pool(
    State(shared): State<Arc<Shared>>,
    Path((sid, pool)): Path<(String, String)>,
    call: Call,
) -> Answer {
    if sid != shared.credentials.service_sid {
        return Err(Refusal::not_found(&call.path));
    }
    let url = format!("{}{}", call.origin, call.path);
    let key = match pool.as_str() {
        "PhoneNumbers" => "phone_numbers",
        "AlphaSenders" => return Ok(ok(list_v1("alpha_senders", &url, Vec::new()))),
        "ShortCodes" => return Ok(ok(list_v1("short_codes", &url, Vec::new()))),
        _ => return Err(Refusal::not_found(&call.path)),
    };
    let now = iso8601(shared.now());
    let numbers = if shared.options.empty_service { &[][..] } else { &shared.credentials.numbers[..] };
    let entries: Vec<Value> = numbers
        .iter()
        .map(|number| {
            json!({
                "account_sid": shared.credentials.account_sid, "service_sid": sid, "sid": number.sid,
                "date_created": now, "date_updated": now, "phone_number": number.phone,
                "country_code": country_of(&number.phone), "capabilities": ["MMS", "SMS", "Voice"],
                "url": format!("{url}/{}", number.sid),
            })
        })
        .collect();
    Ok(ok(list_v1(key, &url, entries)))
}

/// GET /v1/Messaging/Countries/{ISO}
pub(super) async fn price(State(_): State<Arc<Shared>>, Path(iso): Path<String>, call: Call) -> Answer {
    let iso = iso.to_ascii_uppercase();
    if iso.len() != 2 || !iso.bytes().all(|b| b.is_ascii_uppercase()) {
        return Err(Refusal::not_found(&call.path));
    }
    let known = known(&iso);
    let micros = known.map_or(ELSEWHERE, |country| country.micros);
    let price = format!("{}.{:04}", micros / 1_000_000, micros % 1_000_000 / 100);
    Ok(ok(json!({
        "country": known.map_or(iso.as_str(), |country| country.name),
        "inbound_sms_prices": [{"base_price": "0.0083", "current_price": "0.0083", "number_type": "local"}],
        "iso_country": iso,
        "outbound_sms_prices": [{
            "carrier": "Sandbox Mobile", "mcc": "001", "mnc": "01",
            "prices": [{"base_price": price, "current_price": price, "number_type": "local"}],
        }],
        "price_unit": "USD", "url": format!("{}{}", call.origin, call.path),
    })))
}

/// GET /v1/Messaging/GeoPermissions
pub(super) async fn geo_permissions(State(shared): State<Arc<Shared>>, call: Call) -> Answer {
    let asked: Option<Vec<&str>> =
        call.query.filled("CountryCode").map(|list| list.split(',').map(str::trim).collect());
    let permission = |country: &Country| {
        json!({
            "country_code": country.iso, "type": "country", "prefix": format!("+{}", country.prefix), "message": "",
            "enabled": !shared.options.countries_off.contains(country.iso), "error_code": null, "error_messages": [],
        })
    };
    let fits = |country: &&Country| asked.as_ref().is_none_or(|list| list.contains(&country.iso));
    let permissions: Vec<Value> = COUNTRIES.iter().filter(fits).map(permission).collect();
    Ok(ok(json!({"permissions": permissions})))
}

/// GET /v2/PhoneNumbers/{number}
pub(super) async fn lookup(State(_): State<Arc<Shared>>, Path(number): Path<String>, call: Call) -> Answer {
    let parsed = number.starts_with('+').then(|| phone::parse(&number, None).ok()).flatten();
    let digits = number.chars().filter(char::is_ascii_digit).count();
    let problems = match digits {
        _ if parsed.is_some() => json!([]),
        0..7 => json!(["TOO_SHORT"]),
        16.. => json!(["TOO_LONG"]),
        _ => json!(["NOT_A_NUMBER"]),
    };
    let fields: Vec<&str> = call.query.filled("Fields").map(|f| f.split(',').collect()).unwrap_or_default();
    let asks = |name: &str| fields.contains(&name);
    let line = parsed.as_ref().filter(|_| asks("line_type_intelligence")).map(|parsed| {
        json!({
            "type": line_type(parsed.kind), "carrier_name": "Sandbox Mobile", "mobile_country_code": "001",
            "mobile_network_code": "01", "error_code": null,
        })
    });
    let risk = parsed.as_ref().filter(|_| asks("sms_pumping_risk")).map(|_| {
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
        "phone_number_quality_score": null, "pre_fill": null, "url": format!("{}{}", call.origin, call.path),
    })))
}

fn known(iso: &str) -> Option<&'static Country> {
    COUNTRIES.iter().find(|country| country.iso == iso)
}

/// What stands before the national number.
fn calling_code(number: &Number) -> Option<&str> {
    let e164 = number.phone.as_str().strip_prefix('+')?;
    let national: String = number.national().chars().filter(char::is_ascii_digit).collect();
    // Most countries write a digit in front that is not dialled from abroad; Italy dials it.
    e164.strip_suffix(national.as_str()).or_else(|| e164.strip_suffix(national.get(1..)?))
}

/// Twilio's name for a kind of line. Where the plan cannot tell mobile phones from landlines, it is a mobile phone here.
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

fn service_json(shared: &Shared, call: &Call) -> Value {
    let sid = &shared.credentials.service_sid;
    let now = iso8601(shared.now());
    let url = format!("{}/v1/Services/{sid}", call.origin);
    json!({
        "account_sid": shared.credentials.account_sid, "sid": sid, "date_created": now, "date_updated": now,
        "friendly_name": "sandbox", "inbound_request_url": shared.options.inbound_url, "inbound_method": "POST",
        "fallback_url": null, "fallback_method": "POST", "status_callback": null, "sticky_sender": true,
        "mms_converter": true, "smart_encoding": false, "fallback_to_long_code": true, "area_code_geomatch": true,
        "validity_period": 36000, "scan_message_content": "inherit", "synchronous_validation": false,
        "usecase": "verification", "us_app_to_person_registered": true, "use_inbound_webhook_on_number": false,
        "links": {
            "phone_numbers": format!("{url}/PhoneNumbers"), "alpha_senders": format!("{url}/AlphaSenders"),
            "short_codes": format!("{url}/ShortCodes"),
        },
        "url": url,
    })
}
