//! The account's Messaging Service and its senders.

use std::sync::Arc;

use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::answer::{ApiResult, TwilioError, iso8601, ok};
use super::countries::country_of;
use super::page::page_of;
use super::request::ApiRequest;
use super::state::SandboxState;

/// GET /v1/Services
pub(super) async fn list(State(state): State<Arc<SandboxState>>, request: ApiRequest) -> ApiResult {
    Ok(ok(page_of("services", &request, std::iter::once(service_json(&state, &request)))?))
}

/// GET /v1/Services/{sid}
pub(super) async fn fetch(
    State(state): State<Arc<SandboxState>>,
    Path(sid): Path<String>,
    request: ApiRequest,
) -> ApiResult {
    if sid != state.account.service_sid {
        return Err(TwilioError::not_found(&request.path));
    }
    Ok(ok(service_json(&state, &request)))
}

/// GET /v1/Services/{sid}/{PhoneNumbers, AlphaSenders, ShortCodes}
pub(super) async fn senders(
    State(state): State<Arc<SandboxState>>,
    Path((sid, pool)): Path<(String, String)>,
    request: ApiRequest,
) -> ApiResult {
    if sid != state.account.service_sid {
        return Err(TwilioError::not_found(&request.path));
    }
    let url = format!("{}{}", request.origin, request.path);
    let key = match pool.as_str() {
        "PhoneNumbers" => "phone_numbers",
        "AlphaSenders" => return Ok(ok(page_of("alpha_senders", &request, std::iter::empty())?)),
        "ShortCodes" => return Ok(ok(page_of("short_codes", &request, std::iter::empty())?)),
        _ => return Err(TwilioError::not_found(&request.path)),
    };
    let now = iso8601(state.now());
    let numbers = if state.options.empty_service { &[][..] } else { &state.account.numbers[..] };
    let entries = numbers.iter().map(|number| {
        json!({
            "account_sid": state.account.account_sid, "service_sid": sid, "sid": number.sid,
            "date_created": now, "date_updated": now, "phone_number": number.phone,
            "country_code": country_of(&number.phone), "capabilities": ["MMS", "SMS", "Voice"],
            "url": format!("{url}/{}", number.sid),
        })
    });
    Ok(ok(page_of(key, &request, entries)?))
}

fn service_json(state: &SandboxState, request: &ApiRequest) -> Value {
    let sid = &state.account.service_sid;
    let now = iso8601(state.now());
    let url = format!("{}/v1/Services/{sid}", request.origin);
    json!({
        "account_sid": state.account.account_sid, "sid": sid, "date_created": now, "date_updated": now,
        "friendly_name": "sandbox", "inbound_request_url": state.options.inbound_url, "inbound_method": "POST",
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
