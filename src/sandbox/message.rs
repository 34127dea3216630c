//! One message: what is known of it, how its status moves, and how Twilio's JSON shows it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::rfc2822;
use super::sid::random_sid;
use crate::clock::Timestamp;

/// An outbound message that the sandbox accepted, as the handle and the inbox show it. Its `Display` is for a terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedMessage {
    /// SM or MM and 32 hex digits.
    pub sid: String,
    /// The recipient as it was requested.
    pub to: String,
    /// The sender; none while a Messaging Service has not chosen one.
    pub from: Option<String>,
    /// The Messaging Service, if the message went through one.
    pub messaging_service_sid: Option<String>,
    /// The text; empty once redacted.
    pub body: String,
    /// Twilio's status, verbatim.
    pub status: String,
    /// The error code of a failed delivery.
    pub error_code: Option<u32>,
    /// How many segments the text takes.
    pub segments: u32,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// `ValidityPeriod` in seconds, as it was requested.
    pub validity: Option<u32>,
    /// `StatusCallback`, as it was requested.
    pub callback: Option<String>,
    /// `SendAt` of a scheduled message.
    pub send_at: Option<Timestamp>,
    /// The outcome of `Feedback`: `confirmed` or `unconfirmed`.
    pub feedback: Option<String>,
    /// It was deleted through the API.
    pub deleted: bool,
}

/// A text from a phone to a number of the account.
pub(super) struct InboundText<'a> {
    pub from: &'a str,
    pub to: &'a str,
    pub body: &'a str,
    pub now: Timestamp,
}

/// A new status, which a callback has to report.
pub(super) struct StatusChange {
    pub message: StoredMessage,
    pub status: String,
    pub at: Timestamp,
}

/// A picture or the like that goes with a message. It is not fetched.
#[derive(Clone, Debug)]
pub(super) struct Media {
    pub sid: String,
    pub content_type: &'static str,
}

impl Media {
    /// What an address names, as its ending says.
    pub fn of(url: &str) -> Media {
        let path = url.split(['?', '#']).next().unwrap_or(url).to_ascii_lowercase();
        let kinds = [
            (".jpg", "image/jpeg"),
            (".jpeg", "image/jpeg"),
            (".png", "image/png"),
            (".gif", "image/gif"),
            (".mp4", "video/mp4"),
            (".mp3", "audio/mpeg"),
            (".pdf", "application/pdf"),
            (".vcf", "text/vcard"),
        ];
        let known = kinds.into_iter().find(|(ending, _)| path.ends_with(ending));
        Media { sid: random_sid("ME"), content_type: known.map_or("application/octet-stream", |(_, kind)| kind) }
    }

    /// Twilio's form.
    pub fn to_json(&self, account: &str, message: &StoredMessage) -> Value {
        let (sid, parent) = (&self.sid, &message.sid);
        json!({
            "account_sid": account,
            "content_type": self.content_type,
            "date_created": rfc2822(message.created),
            "date_updated": rfc2822(message.created),
            "parent_sid": parent,
            "sid": sid,
            "uri": format!("/2010-04-01/Accounts/{account}/Messages/{parent}/Media/{sid}.json"),
        })
    }
}

/// A message in the log.
#[derive(Clone)]
pub(super) struct StoredMessage {
    /// Its place in the order of arrival.
    pub seq: u64,
    pub sid: String,
    pub inbound: bool,
    pub to: String,
    pub from: Option<String>,
    pub service: Option<String>,
    pub body: String,
    pub segments: u32,
    pub media: Vec<Media>,
    pub status: String,
    pub error_code: Option<u32>,
    pub created: Timestamp,
    pub updated: Timestamp,
    pub sent: Option<Timestamp>,
    pub validity: Option<u32>,
    pub callback: Option<String>,
    pub send_at: Option<Timestamp>,
    pub price_micros: Option<i64>,
    pub feedback: Option<String>,
    /// It carries a code of Verify, which sends through Twilio's own numbers: the account's messages do not show it.
    pub verification: bool,
    pub deleted: bool,
}

impl StoredMessage {
    /// The account's messages show it.
    pub fn is_of_the_account(&self) -> bool {
        !self.deleted && !self.verification
    }

    /// The status after this one when all goes well; `None` at the end.
    pub fn next_status(&self) -> Option<&'static str> {
        match self.status.as_str() {
            "accepted" | "scheduled" => Some("queued"),
            "queued" => Some("sending"),
            "sending" => Some("sent"),
            "sent" => Some("delivered"),
            _ => None,
        }
    }

    /// It waits and can still be canceled.
    pub fn is_waiting(&self) -> bool {
        matches!(self.status.as_str(), "accepted" | "scheduled" | "queued")
    }

    /// It cannot be deleted yet.
    pub fn is_kept(&self, now: Timestamp) -> bool {
        let on_its_way = matches!(self.status.as_str(), "accepted" | "queued" | "sending" | "sent");
        on_its_way && now.since(self.created).as_secs() < 3600
    }

    /// A Messaging Service has not chosen a sender for it yet.
    pub fn is_waiting_for_sender(&self) -> bool {
        matches!(self.status.as_str(), "accepted" | "scheduled" | "canceled")
    }

    /// It stayed in the queue longer than its validity allows.
    pub fn is_stale(&self, now: Timestamp) -> bool {
        let since = self.send_at.unwrap_or(self.created);
        self.validity.is_some_and(|seconds| now.since(since).as_secs() >= u64::from(seconds))
    }

    /// A phone has it, or is about to: what an inbox shows.
    pub fn is_readable(&self) -> bool {
        !self.inbound
            && !self.deleted
            && !matches!(self.status.as_str(), "scheduled" | "canceled" | "failed" | "undelivered")
    }

    /// How many bytes the log keeps for it.
    pub fn weight(&self) -> usize {
        self.body.len() + self.callback.as_ref().map_or(0, String::len) + self.to.len() + 64 * self.media.len() + 512
    }

    /// What the handle and the inbox show.
    pub fn received(&self) -> ReceivedMessage {
        ReceivedMessage {
            sid: self.sid.clone(),
            to: self.to.clone(),
            from: self.from.clone(),
            messaging_service_sid: self.service.clone(),
            body: self.body.clone(),
            status: self.status.clone(),
            error_code: self.error_code,
            segments: self.segments,
            created_at: self.created,
            validity: self.validity,
            callback: self.callback.clone(),
            send_at: self.send_at,
            feedback: self.feedback.clone(),
            deleted: self.deleted,
        }
    }

    /// Twilio's form.
    pub fn to_json(&self, account: &str) -> Value {
        let uri = format!("/2010-04-01/Accounts/{account}/Messages/{}", self.sid);
        // Segments and sender are known once the service has chosen a sender.
        let chosen = self.service.is_none() || !self.is_waiting_for_sender();
        let segments = if chosen { self.segments } else { 0 };
        json!({
            "account_sid": account,
            "api_version": "2010-04-01",
            "body": self.body,
            "date_created": rfc2822(self.created),
            "date_sent": self.sent.map(rfc2822),
            "date_updated": rfc2822(self.updated),
            "direction": if self.inbound { "inbound" } else { "outbound-api" },
            "error_code": self.error_code,
            "error_message": self.error_code.map(|code| format!("Delivery error {code}")),
            "from": self.from,
            "messaging_service_sid": self.service,
            "num_media": self.media.len().to_string(),
            "num_segments": segments.to_string(),
            "price": self.price_micros.map(|micros| format!("-{}.{:05}", micros / 1_000_000, micros % 1_000_000 / 10)),
            "price_unit": "USD",
            "sid": self.sid,
            "status": self.status,
            "subresource_uris": {
                "media": format!("{uri}/Media.json"),
                "feedback": format!("{uri}/Feedback.json"),
            },
            "to": self.to,
            "uri": format!("{uri}.json"),
        })
    }
}
