//! The safe list: numbers that Twilio's fraud guards let pass. The sandbox has no such guard, so it keeps them and blocks nobody.

use std::sync::Arc;

use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::answer::{ApiResult, TwilioError, created, no_content, ok};
use super::request::{ApiRequest, Params};
use super::sid::random_sid;
use super::state::SandboxState;
use crate::phone;

/// At most so many numbers are kept.
const NUMBERS_MAX: usize = 100_000;

/// POST /v2/SafeList/Numbers and /v1/SafeList/Numbers: one list under two addresses.
pub(super) async fn add(State(state): State<Arc<SandboxState>>, request: ApiRequest) -> ApiResult {
    let number = number_in(&request.form)?;
    let mut verifications = state.verifications();
    let list = &mut verifications.safe_list;
    if list.contains_key(&number) {
        return Err(TwilioError::new(60411, "The phone number is on the safe list already"));
    }
    if list.len() >= NUMBERS_MAX {
        return Err(TwilioError::new(20500, format!("The sandbox keeps {NUMBERS_MAX} numbers at most")));
    }
    let sid = random_sid("GN");
    let body = entry_json(&request, &number, &sid);
    list.insert(number, sid);
    Ok(created(body))
}

/// GET /v2/SafeList/Numbers/{number}
pub(super) async fn fetch(
    State(state): State<Arc<SandboxState>>,
    Path(number): Path<String>,
    request: ApiRequest,
) -> ApiResult {
    find(&state, &number, &request)
}

/// DELETE /v2/SafeList/Numbers/{number}
pub(super) async fn delete(
    State(state): State<Arc<SandboxState>>,
    Path(number): Path<String>,
    request: ApiRequest,
) -> ApiResult {
    remove(&state, &number, &request)
}

/// GET /v1/SafeList/Numbers?PhoneNumber=
pub(super) async fn fetch_asked(State(state): State<Arc<SandboxState>>, request: ApiRequest) -> ApiResult {
    find(&state, &number_in(&request.query)?, &request)
}

/// DELETE /v1/SafeList/Numbers?PhoneNumber=
pub(super) async fn delete_asked(State(state): State<Arc<SandboxState>>, request: ApiRequest) -> ApiResult {
    remove(&state, &number_in(&request.query)?, &request)
}

fn find(state: &SandboxState, number: &str, request: &ApiRequest) -> ApiResult {
    let verifications = state.verifications();
    let sid = verifications.safe_list.get(number).ok_or_else(|| TwilioError::not_found(&request.path))?;
    Ok(ok(entry_json(request, number, sid)))
}

fn remove(state: &SandboxState, number: &str, request: &ApiRequest) -> ApiResult {
    match state.verifications().safe_list.remove(number) {
        Some(_) => Ok(no_content()),
        None => Err(TwilioError::not_found(&request.path)),
    }
}

fn number_in(params: &Params) -> Result<String, TwilioError> {
    let text = params.filled("PhoneNumber").filter(|text| text.starts_with('+'));
    let number = text.and_then(|text| phone::parse(text, None).ok());
    number.map(|number| number.phone.as_str().to_owned()).ok_or_else(|| TwilioError::invalid("PhoneNumber"))
}

/// Verify's form has an address, the account's has none.
fn entry_json(request: &ApiRequest, number: &str, sid: &str) -> Value {
    let mut entry = json!({"sid": sid, "phone_number": number});
    if request.path.starts_with("/v2/") {
        entry["url"] = format!("{}/v2/SafeList/Numbers/{number}", request.origin).into();
    }
    entry
}
