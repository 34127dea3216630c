//! Messages that exist: fetch, list, redact, cancel, delete, feedback.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::answer::{ApiResult, TwilioError, created, list_2010, no_content, ok, page_size, rfc2822};
use super::message::{Media, StatusChange};
use super::message_log::MessageFilter;
use super::request::{ApiRequest, Params};
use super::state::SandboxState;
use crate::clock::Timestamp;

/// GET Messages/{sid}.json
pub(super) async fn fetch(
    State(state): State<Arc<SandboxState>>,
    Path((_, file)): Path<(String, String)>,
    request: ApiRequest,
) -> ApiResult {
    let message_log = state.message_log();
    let message =
        sid_of(&file).and_then(|sid| message_log.get(sid)).ok_or_else(|| TwilioError::not_found(&request.path))?;
    Ok(ok(message.to_json(&state.account.account_sid)))
}

/// GET Messages.json
pub(super) async fn list(State(state): State<Arc<SandboxState>>, request: ApiRequest) -> ApiResult {
    let size = page_size(request.query.filled("PageSize"))?;
    let page: usize = match request.query.filled("Page").map(str::parse) {
        None => 0,
        Some(Ok(page)) => page,
        Some(Err(_)) => return Err(TwilioError::new(20001, "Page must be a whole number")),
    };
    let filter = filter(&request.query)?;
    let message_log = state.message_log();
    let all = message_log.list(&filter);
    // A token names a message and a direction, so that pages do not shift while new messages arrive.
    let token = request.query.filled("PageToken").map(|token| (token.get(..2), token.get(2..)));
    let mut shown: Vec<_> = match token {
        None => all.skip(page.saturating_mul(size)).take(size + 1).collect(),
        Some((Some("PA"), Some(sid))) => {
            let place = message_log.place_of(sid).ok_or_else(bad_token)?;
            all.skip_while(|m| m.seq >= place).take(size + 1).collect()
        }
        Some((Some("PB"), Some(sid))) => {
            let place = message_log.place_of(sid).ok_or_else(bad_token)?;
            let newer: Vec<_> = all.take_while(|m| m.seq > place).collect();
            let start = newer.len().saturating_sub(size);
            newer[start..].to_vec()
        }
        Some(_) => return Err(bad_token()),
    };
    let is_back = matches!(token, Some((Some("PB"), _)));
    let has_more = shown.len() > size || is_back;
    shown.truncate(size);

    let link = |page: usize, token: Option<String>| json!(page_uri(&request, size, page, token));
    let next = shown.last().filter(|_| has_more).map(|m| link(page + 1, Some(format!("PA{}", m.sid))));
    let previous = shown.first().filter(|_| page > 0).map(|m| link(page - 1, Some(format!("PB{}", m.sid))));
    let messages: Vec<Value> = shown.iter().map(|m| m.to_json(&state.account.account_sid)).collect();
    let start = page.saturating_mul(size);
    Ok(ok(json!({
        "end": (start + messages.len()).saturating_sub(1),
        "first_page_uri": link(0, None),
        "next_page_uri": next,
        "page": page,
        "page_size": size,
        "previous_page_uri": previous,
        "start": start,
        "uri": link(page, request.query.filled("PageToken").map(str::to_owned)),
        "messages": messages,
    })))
}

/// POST Messages/{sid}.json: an empty `Body` redacts, `Status=canceled` cancels.
pub(super) async fn update(
    State(state): State<Arc<SandboxState>>,
    Path((_, file)): Path<(String, String)>,
    request: ApiRequest,
) -> ApiResult {
    let missing = || TwilioError::not_found(&request.path);
    let sid = sid_of(&file).ok_or_else(missing)?;
    let now = state.now();
    let mut message_log = state.message_log();
    let message = message_log.get(sid).ok_or_else(missing)?;
    let redacts = match request.form.get("Body") {
        Some("") => true,
        Some(_) => return Err(TwilioError::new(20001, "'Body' can only be emptied")),
        None => false,
    };
    match request.form.filled("Status") {
        None if redacts => {}
        None => return Err(TwilioError::new(20001, "Nothing to update: give 'Body' or 'Status'")),
        Some("canceled") if message.is_waiting() => {}
        Some("canceled") => {
            return Err(TwilioError::new(30409, format!("A {} message cannot be canceled", message.status)));
        }
        Some(_) => return Err(TwilioError::new(20001, "'Status' can only be set to canceled")),
    }
    let cancels = request.form.filled("Status").is_some();
    let message = message_log
        .change(sid, now, |message| {
            if redacts {
                message.body.clear();
            }
            if cancels {
                "canceled".clone_into(&mut message.status);
            }
        })
        .ok_or_else(missing)?;
    if cancels {
        state.send_callback(StatusChange { status: message.status.clone(), at: now, message: message.clone() });
    }
    Ok(ok(message.to_json(&state.account.account_sid)))
}

/// DELETE Messages/{sid}.json: not while the carrier may still report what became of it, which Twilio waits for for an hour.
pub(super) async fn delete(
    State(state): State<Arc<SandboxState>>,
    Path((_, file)): Path<(String, String)>,
    request: ApiRequest,
) -> ApiResult {
    let now = state.now();
    let is_young = |sid: &str| state.message_log().get(sid).is_some_and(|message| message.is_kept(now));
    if sid_of(&file).is_some_and(is_young) {
        return Err(TwilioError::new(20009, "Cannot delete this resource before it is complete"));
    }
    let delete = |sid| state.message_log().change(sid, now, |message| message.deleted = true);
    sid_of(&file).and_then(delete).ok_or_else(|| TwilioError::not_found(&request.path))?;
    Ok(no_content())
}

/// POST Messages/{sid}/Feedback.json
pub(super) async fn feedback(
    State(state): State<Arc<SandboxState>>,
    Path((_, sid)): Path<(String, String)>,
    request: ApiRequest,
) -> ApiResult {
    let outcome = request.form.filled("Outcome").unwrap_or("unconfirmed");
    if !matches!(outcome, "confirmed" | "unconfirmed") {
        return Err(TwilioError::new(20001, "'Outcome' must be confirmed or unconfirmed"));
    }
    let now = state.now();
    let outcome = outcome.to_owned();
    let message = state
        .message_log()
        .change(&sid, now, |message| message.feedback = Some(outcome))
        .ok_or_else(|| TwilioError::not_found(&request.path))?;
    Ok(created(json!({
        "account_sid": state.account.account_sid, "message_sid": sid, "outcome": message.feedback,
        "date_created": rfc2822(now), "date_updated": rfc2822(now), "uri": request.path,
    })))
}

/// GET Messages/{sid}/Media.json
pub(super) async fn media(
    State(state): State<Arc<SandboxState>>,
    Path((_, sid)): Path<(String, String)>,
    request: ApiRequest,
) -> ApiResult {
    let message_log = state.message_log();
    let message = message_log.get(&sid).ok_or_else(|| TwilioError::not_found(&request.path))?;
    let shown = |media: &Media| media.to_json(&state.account.account_sid, message);
    Ok(ok(list_2010("media_list", &request.path, message.media.iter().map(shown).collect())))
}

/// GET Messages/{sid}/Media/{sid}.json
pub(super) async fn one_media(
    State(state): State<Arc<SandboxState>>,
    Path((_, sid, file)): Path<(String, String, String)>,
    request: ApiRequest,
) -> ApiResult {
    let message_log = state.message_log();
    let message = message_log.get(&sid);
    let named = |message: &&Media| Some(message.sid.as_str()) == sid_of(&file);
    let found = message.and_then(|message| Some((message, message.media.iter().find(named)?)));
    let (message, media) = found.ok_or_else(|| TwilioError::not_found(&request.path))?;
    Ok(ok(media.to_json(&state.account.account_sid, message)))
}

/// DELETE Messages/{sid}/Media/{sid}.json
pub(super) async fn delete_media(
    State(state): State<Arc<SandboxState>>,
    Path((_, sid, file)): Path<(String, String, String)>,
    request: ApiRequest,
) -> ApiResult {
    let mut message_log = state.message_log();
    let wanted = |media: &Media| Some(media.sid.as_str()) == sid_of(&file);
    let known = message_log.get(&sid).is_some_and(|message| message.media.iter().any(wanted));
    if !known {
        return Err(TwilioError::not_found(&request.path));
    }
    message_log.change(&sid, state.now(), |message| message.media.retain(|media| !wanted(media)));
    Ok(no_content())
}

fn sid_of(file: &str) -> Option<&str> {
    file.strip_suffix(".json")
}

fn bad_token() -> TwilioError {
    TwilioError::new(20001, "'PageToken' is not one of this list")
}

/// A relative link to a page: the filters stay, page and token are set anew.
fn page_uri(request: &ApiRequest, size: usize, page: usize, token: Option<String>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in
        request.query.0.iter().filter(|(n, _)| !matches!(n.as_str(), "PageSize" | "Page" | "PageToken"))
    {
        query.append_pair(name, value);
    }
    query.append_pair("PageSize", &size.to_string()).append_pair("Page", &page.to_string());
    if let Some(token) = token {
        query.append_pair("PageToken", &token);
    }
    format!("{}?{}", request.path, query.finish())
}

fn filter(query: &Params) -> Result<MessageFilter, TwilioError> {
    let mut filter = MessageFilter {
        to: query.filled("To").map(str::to_owned),
        from: query.filled("From").map(str::to_owned),
        ..MessageFilter::default()
    };
    if let Some(text) = query.filled("DateSent") {
        // It names a day, also where it tells the time of it.
        let midnight = moment(text)?.datetime().date_naive().and_time(NaiveTime::MIN).and_utc();
        filter.sent_from = Some(midnight.into());
        filter.sent_until = Some(Timestamp::from(midnight) + DAY);
    }
    // On the wire "DateSent>=2024-01-01" is a parameter named "DateSent>".
    if let Some(text) = query.filled("DateSent>") {
        filter.sent_from = filter.sent_from.max(Some(moment(text)?));
    }
    if let Some(text) = query.filled("DateSent<") {
        let until = moment(text)?;
        filter.sent_until = Some(filter.sent_until.map_or(until, |old| old.min(until)));
    }
    Ok(filter)
}

/// A day to the last millisecond.
const DAY: Duration = Duration::from_millis(86_400_000 - 1);

/// The first moment of a date, or a date-time, in GMT unless it names another zone.
pub(super) fn moment(text: &str) -> Result<Timestamp, TwilioError> {
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Ok(date.and_time(NaiveTime::MIN).and_utc().into());
    }
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(Timestamp(at.timestamp_millis()));
    }
    for form in ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%SZ"] {
        if let Ok(at) = NaiveDateTime::parse_from_str(text, form) {
            return Ok(at.and_utc().into());
        }
    }
    Err(TwilioError::new(20001, "A date is not YYYY-MM-DD or ISO 8601"))
}
