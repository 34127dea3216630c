//! What an answer of Twilio's means: whether a message was taken, refused, or may have been either.

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;

use super::catalogue::{self, Explained};
use super::client::ApiAnswer;
use super::status;
use crate::clock::Timestamp;
use crate::error::{Code, Error};
use crate::message::State;
use crate::money::Money;
use crate::outgoing::plain;
use crate::provider::{Blame, Delivery, Reason, RemoteMessage};

/// Twilio's two shapes of errors, as far as they are used: the classic one, and RFC 9457 problems.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ApiError {
    /// Twilio's error code.
    pub(super) code: Option<u32>,
    /// Twilio's own text, made safe to show.
    pub(super) message: Option<String>,
}

/// What the answer to the creation of a message means. `account_sid` is ours: a message of another account is not the one that
/// was requested.
pub(super) fn delivery(answer: &ApiAnswer, account_sid: &str) -> Delivery {
    match answer.status {
        200..=299 => accepted(answer, account_sid),
        // A 429 was not processed (https://www.twilio.com/docs/api/errors/20429), nor was what came with the wish to come back.
        429 => busy(answer),
        503 if answer.retry_after.is_some() => busy(answer),
        // 408: the server gave up reading the request; 409: another request was at work. Neither means that nothing was sent.
        408 | 409 => Delivery::Maybe { why: for_log(answer) },
        300..=499 => Delivery::Refused(refusal(answer)),
        _ => Delivery::Maybe { why: for_log(answer) },
    }
}

/// The error that a refused or unreadable read becomes. Reads are safe to repeat.
pub(super) fn read_error(answer: &ApiAnswer) -> Error {
    let refused = refusal(answer);
    let text = match refused.code {
        Some(code) => format!("Twilio answered {code} (HTTP {}): {}", answer.status, refused.meaning),
        None => format!("Twilio answered HTTP {}: {}", answer.status, refused.meaning),
    };
    let code = match answer.status {
        401 | 403 | 407 | 300..=399 => Code::PROVIDER_CONFIG,
        429 => Code::PROVIDER_BUSY,
        503 if answer.retry_after.is_some() => Code::PROVIDER_BUSY,
        400..=499 => Code::PROVIDER_REFUSED,
        _ => Code::PROVIDER_UNREACHABLE,
    };
    let mut error = Error::new(code, text);
    if let Some(after) = answer.retry_after {
        error = error.retry_after(after);
    }
    match refused.fix {
        Some(fix) => error.hint(fix),
        None => error,
    }
}

/// The error of an answer that is not what it should be.
pub(super) fn unreadable() -> Error {
    Error::new(Code::PROVIDER_UNREACHABLE, "Twilio's answer cannot be read")
        .hint("look for a proxy or gateway between here and Twilio")
}

/// Reads a message as the API shows it. `None`: not readable as one.
pub(super) fn remote_message(message: &Value) -> Option<RemoteMessage> {
    let text = |key: &str| message.get(key).and_then(Value::as_str);
    let provider_id = text("sid").filter(|sid| is_message_sid(sid))?.to_owned();
    let date = text("date_created").and_then(|date| chrono::DateTime::parse_from_rfc2822(date).ok());
    Some(RemoteMessage {
        provider_id,
        state: status::state_of(text("status").unwrap_or_default()),
        error_code: message.get("error_code").and_then(number),
        price: text("price").filter(|_| in_usd(message)).and_then(paid),
        segments: message.get("num_segments").and_then(number).filter(|segments| *segments > 0),
        body: SecretString::from(text("body").unwrap_or_default()),
        created_at: date.map(|date| Timestamp(date.timestamp_millis())),
    })
}

/// Whether the price of a message is in the money that is kept here.
fn in_usd(message: &Value) -> bool {
    message.get("price_unit").and_then(Value::as_str).is_some_and(|unit| unit.eq_ignore_ascii_case("USD"))
}

/// What a message has cost: Twilio writes it as what the account loses, `-0.00750`.
fn paid(text: &str) -> Option<Money> {
    text.trim().trim_start_matches('-').parse().ok()
}

/// `SM` or `MM` and 32 hexadecimal digits.
pub(super) fn is_message_sid(sid: &str) -> bool {
    sid.len() == 34
        && (sid.starts_with("SM") || sid.starts_with("MM"))
        && sid[2..].bytes().all(|b| b.is_ascii_hexdigit())
}

/// The error in an answer's body, in either of its shapes.
pub(super) fn api_error(answer: &ApiAnswer) -> ApiError {
    let Ok(bytes) = &answer.body else { return ApiError::default() };
    let Ok(Value::Object(object)) = serde_json::from_str(&String::from_utf8_lossy(bytes)) else {
        return ApiError::default();
    };
    let text = |key: &str| object.get(key).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
    let pointers = object.get("errors").and_then(Value::as_array).into_iter().flatten();
    let details = pointers.filter_map(|error| error.get("detail").and_then(Value::as_str));
    let message = text("message").or_else(|| text("detail")).map(str::to_owned);
    let message = message.or_else(|| {
        let parts: Vec<&str> = text("title").into_iter().chain(details).take(4).collect();
        (!parts.is_empty()).then(|| parts.join(": "))
    });
    ApiError { code: object.get("code").and_then(number), message: message.map(|text| quote(&text)) }
}

/// A number that the API writes as a number here and as a string there.
fn number(value: &Value) -> Option<u32> {
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
    u32::try_from(number).ok()
}

/// Only the deciding fields are read, and strictly: a sid that occurs twice or is no string makes the answer unreadable.
#[derive(Deserialize)]
struct CreatedMessage {
    sid: String,
    account_sid: Option<String>,
    status: Option<String>,
    error_code: Option<Value>,
    error_message: Option<Value>,
}

fn accepted(answer: &ApiAnswer, account_sid: &str) -> Delivery {
    let maybe = |why: &str| Delivery::Maybe { why: format!("Twilio answered HTTP {}, but {why}", answer.status) };
    let bytes = match &answer.body {
        Ok(bytes) => bytes,
        Err(why) => return maybe(why),
    };
    let Ok(created) = serde_json::from_slice::<CreatedMessage>(bytes) else {
        return maybe("the answer is not a message that can be read");
    };
    if !is_message_sid(&created.sid) {
        return maybe("the answer names no message");
    }
    if created.account_sid.is_some_and(|sid| !sid.eq_ignore_ascii_case(account_sid)) {
        return maybe("the message belongs to another account");
    }
    let (provider_id, state) = (created.sid, status::state_of(created.status.as_deref().unwrap_or_default()));
    if !matches!(state, State::Failed | State::Undelivered | State::Canceled) {
        return Delivery::Accepted { provider_id, state };
    }
    let error = ApiError {
        code: created.error_code.as_ref().and_then(number),
        message: created.error_message.as_ref().and_then(Value::as_str).map(quote),
    };
    Delivery::Ended { provider_id, state, reason: ended(answer.status, state, &error) }
}

fn busy(answer: &ApiAnswer) -> Delivery {
    Delivery::Busy { code: api_error(answer).code, retry_after: answer.retry_after, why: for_log(answer) }
}

fn refusal(answer: &ApiAnswer) -> Reason {
    let error = api_error(answer);
    let explained = error.code.map(catalogue::explain);
    let blame = match (answer.status, explained.as_ref().map(|explained| explained.entry.blame)) {
        (300..=399 | 401 | 407, _) => Blame::Setup,
        // What is denied for the state of the account or for no reason at all is the operator's to mend. A 403 may also be about
        // fraud or about the recipient.
        (403, None | Some(Blame::Account)) => Blame::Setup,
        (_, Some(blame)) => blame,
        (_, None) => Blame::Provider,
    };
    let (meaning, fix) = match &explained {
        Some(explained) => in_words(explained, &error),
        None => by_status(answer, &error),
    };
    reason(error.code, Some(answer.status), blame, (meaning, fix))
}

/// Why a message that Twilio took ended with its first status.
fn ended(status: u16, state: State, error: &ApiError) -> Reason {
    let Some(explained) = error.code.map(catalogue::explain) else {
        let meaning = format!("Twilio took it and answered at once that it is {}, without saying why", state.as_str());
        let fix = "Look for the message in the Twilio Console (Monitor > Logs > Messaging)".to_owned();
        return reason(None, Some(status), Blame::Provider, (with_text(&meaning, true, error), fix));
    };
    reason(error.code, Some(status), explained.entry.blame, in_words(&explained, error))
}

/// What an error code of a failed delivery means.
pub(super) fn reason_of(code: u32) -> Reason {
    let explained = catalogue::explain(code);
    reason(Some(code), None, explained.entry.blame, in_words(&explained, &ApiError::default()))
}

fn reason(code: Option<u32>, http_status: Option<u16>, blame: Blame, (meaning, fix): (String, String)) -> Reason {
    Reason { code, http_status, meaning, fix: Some(fix), blame, opted_out: code == Some(21610) }
}

/// Meaning and fix of a code, with Twilio's own text where ours says little.
fn in_words(explained: &Explained, error: &ApiError) -> (String, String) {
    let wanted = !explained.known || needs_text(explained.entry.code);
    let fix = if explained.known { explained.entry.fix.to_owned() } else { format!("Read {}", explained.docs_url) };
    (with_text(explained.entry.meaning, wanted, error), fix)
}

/// Codes that mean little without Twilio's own text.
fn needs_text(code: u32) -> bool {
    matches!(code, 20422 | 21619 | 60200)
}

fn with_text(meaning: &str, wanted: bool, error: &ApiError) -> String {
    match &error.message {
        Some(text) if wanted => format!("{meaning}. Twilio says: {text}"),
        _ => meaning.to_owned(),
    }
}

/// What a refusal without one of Twilio's codes means: it may not come from Twilio at all.
fn by_status(answer: &ApiAnswer, error: &ApiError) -> (String, String) {
    let (meaning, fix) = match answer.status {
        300..=399 => (
            "The address answers with a redirect, which is not followed because it would carry the credentials elsewhere",
            "Set TWILIO_API_BASE_URL to the address that answers itself, or remove it",
        ),
        401 => ("The credentials were refused", catalogue::explain(20003).entry.fix),
        403 => ("Access was denied", "Check the account's state and the key's permissions in the Twilio Console"),
        404 => ("There is no such resource at this address", "Check TWILIO_ACCOUNT_SID and TWILIO_API_BASE_URL"),
        407 => ("A proxy on the way requires credentials", "Correct HTTPS_PROXY, or exempt Twilio with NO_PROXY"),
        413 | 414 => ("The request is too large", "Shorten the text"),
        429 => ("Too many requests at once", catalogue::explain(20429).entry.fix),
        _ => {
            ("The answer gives no reason that Twilio documents", "Look for a proxy or gateway between here and Twilio")
        }
    };
    (with_text(meaning, true, error), fix.to_owned())
}

/// The reason in an answer, for a log.
fn for_log(answer: &ApiAnswer) -> String {
    let error = api_error(answer);
    let status = answer.status;
    match (error.code, error.message, &answer.body) {
        (Some(code), _, _) => format!("HTTP {status}, Twilio's error {code}: {}", catalogue::explain(code).entry.title),
        (None, Some(text), _) => format!("HTTP {status}: {text}"),
        (None, None, Err(why)) => format!("HTTP {status}, and {why}"),
        (None, None, Ok(_)) => format!("HTTP {status} without a reason that can be read"),
    }
}

/// Twilio's own text, safe to show: it may repeat the recipient's number or the code, so longer runs of digits are hidden.
fn quote(text: &str) -> String {
    let text = plain(text);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_numeric()).unwrap_or(rest.len());
        let (run, after) = rest.split_at(digits);
        out.push_str(if run.chars().nth(3).is_some() { "•••" } else { run });
        let letters = after.find(char::is_numeric).unwrap_or(after.len());
        out.push_str(&after[..letters]);
        rest = &after[letters..];
    }
    out
}
