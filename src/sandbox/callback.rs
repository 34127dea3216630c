//! The callbacks about a message: their parameters, as Twilio sends them.

use serde::Serialize;

use super::identity::SandboxAccount;
use super::message::{StatusChange, StoredMessage};
use super::message_log::Keyword;

/// A callback that was due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SentCallback {
    /// The message.
    pub sid: String,
    /// The status that it reported, or `received` for an inbound text.
    pub status: String,
    /// Where it went.
    pub url: String,
    /// The HTTP status of the answer; `None` when there was none.
    pub answered: Option<u16>,
    /// Why there was no answer.
    pub failure: Option<String>,
}

/// A callback that is due.
#[derive(Clone)]
pub(super) struct Callback {
    pub sid: String,
    pub status: String,
    pub url: String,
    pub params: Vec<(String, String)>,
    /// No callback about the same message follows.
    pub is_last: bool,
}

impl Callback {
    /// The callback about a status, if the message requested callbacks.
    pub fn of_status(change: StatusChange, account: &SandboxAccount) -> Option<Callback> {
        let StatusChange { message, status, at } = change;
        let url = message.callback.clone()?;
        let mut params = common_params(&message, account);
        params.extend([pair("MessageStatus", &status), pair("SmsStatus", &status)]);
        if let Some(service) = &message.service {
            params.push(pair("MessagingServiceSid", service));
        }
        if let Some(code) = message.error_code {
            params.push(pair("ErrorCode", &code.to_string()));
        }
        if matches!(status.as_str(), "delivered" | "undelivered") {
            params.push(pair("RawDlrDoneDate", &at.datetime().format("%y%m%d%H%M").to_string()));
        }
        let is_last = !matches!(status.as_str(), "accepted" | "scheduled" | "queued" | "sending" | "sent");
        Some(Callback { sid: message.sid, status, url, params, is_last })
    }

    /// The callback about a text from a phone.
    pub fn of_text(url: &str, message: StoredMessage, account: &SandboxAccount) -> Callback {
        let mut params = common_params(&message, account);
        params.extend([
            pair("SmsMessageSid", &message.sid),
            pair("SmsStatus", "received"),
            pair("Body", &message.body),
            pair("NumMedia", "0"),
            pair("NumSegments", &message.segments.to_string()),
        ]);
        if let Some(keyword) = Keyword::find(&message.body) {
            params.push(pair("OptOutType", keyword.as_str()));
        }
        Callback { sid: message.sid, status: message.status, url: url.to_owned(), params, is_last: true }
    }
}

fn common_params(message: &StoredMessage, account: &SandboxAccount) -> Vec<(String, String)> {
    vec![
        pair("MessageSid", &message.sid),
        pair("SmsSid", &message.sid),
        pair("AccountSid", &account.account_sid),
        pair("From", message.from.as_deref().unwrap_or_default()),
        pair("To", &message.to),
        pair("ApiVersion", "2010-04-01"),
    ]
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}
