//! The audit log: what an event is, how its rows are chained, and how a change to them is detected.
//!
//! A row is (chain, seq, body, mac) with `mac = HMAC-SHA-256(K_audit, prev ‖ chain ‖ seq ‖ SHA-256(body))`, where `prev` is the
//! mac of the row before it in the chain (32 zero bytes before the first). The body is canonical JSON: whatever else a store
//! keeps in columns is generated from it, so that the chain covers everything about a row.

mod verifier;

use std::collections::BTreeMap;
use std::fmt;

use base16ct::lower::encode_string;
use hmac::Mac;
use serde::Serialize;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

pub use verifier::{Break, BreakKind, Verifier};

use crate::clock::Timestamp;
use crate::code::keyed;
use crate::phone::Phone;

/// The longest note that is kept, in characters.
const NOTE_MAX: usize = 200;

/// A longer run of digits in a note may be a code or a phone number.
const DIGIT_RUN_MAX: usize = 5;

/// What one operation did: when, by whom, to whom, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    at: Timestamp,
    actor: Actor,
    action: &'static str,
    outcome: String,
    subjects: Vec<String>,
    details: Details,
}

/// Who carried an operation out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A user of the operating system at the command line.
    Os {
        /// The numeric user id; 0 where the system has none.
        uid: u32,
        /// The login name, if known.
        name: String,
    },
    /// A REST caller, by the id of its token.
    Token(i64),
    /// A scheduler: a run without a terminal of a command for schedulers (purge, dispatch).
    Cron,
    /// smsotp itself: migrations, the worker inside `serve`.
    System,
}

/// Facts about an event that hold no secret: numbers, fixed texts, masked phones and notes without long runs of digits.
///
/// A [`code::Code`](crate::code::Code) cannot be added: it converts to none of these types.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Details(BTreeMap<&'static str, Detail>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Detail {
    Number(i64),
    Flag(bool),
    Text(String),
}

/// One row of the log as a store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The chain: 0 on SQLite.
    pub chain: u32,
    /// The place in the chain, from 1.
    pub seq: u64,
    /// The canonical JSON of the event.
    pub body: Vec<u8>,
    /// The chained MAC.
    pub mac: [u8; 32],
}

/// The end of a chain: what an anchor keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The chain.
    pub chain: u32,
    /// The seq of its last row; 0: it has none.
    pub seq: u64,
    /// The mac of its last row; zeros: it has none.
    pub mac: [u8; 32],
}

/// The key that chains the rows: random, made with the database, and kept in it wrapped.
#[derive(Clone)]
pub struct AuditKey(Zeroizing<[u8; 32]>);

/// What an event may be called, by name: every operation and what else leaves a row.
pub const ACTIONS: [&str; 22] = [
    "claim",
    "db.backup",
    "db.copy",
    "db.export",
    "db.move",
    "dispatch",
    "keys.wrap",
    "limits.reset",
    "opt-in",
    "opt-out",
    "poll",
    "purge",
    "report",
    "reveal",
    "revoke",
    "send",
    "settle",
    "test-number.add",
    "test-number.remove",
    "token.create",
    "token.revoke",
    "verify",
];

impl Event {
    /// An event. `action` is the operation as the user knows it, one of [`ACTIONS`]; `outcome` its answer.
    pub fn new(at: Timestamp, actor: Actor, action: &'static str, outcome: impl Into<String>) -> Event {
        let outcome = clean(&outcome.into());
        Event { at, actor, action, outcome, subjects: Vec::new(), details: Details::default() }
    }

    /// Names a subject by its random id, which reveals nothing without the table of subjects.
    #[must_use]
    pub fn subject(mut self, id: &[u8; 16]) -> Event {
        self.subjects.push(encode_string(id));
        self
    }

    /// Adds the facts.
    #[must_use]
    pub fn details(mut self, details: Details) -> Event {
        self.details = details;
        self
    }

    /// The canonical JSON: sorted keys, no white space, no floating point, the time as whole milliseconds.
    pub fn body(&self) -> Vec<u8> {
        // The fields are in alphabetical order; the details sort themselves.
        #[derive(Serialize)]
        struct Body<'a> {
            action: &'a str,
            actor: String,
            at: i64,
            details: &'a Details,
            outcome: &'a str,
            subjects: &'a [String],
        }
        serde_json::to_vec(&Body {
            action: self.action,
            actor: self.actor.to_string(),
            at: self.at.millis(),
            details: &self.details,
            outcome: &self.outcome,
            subjects: &self.subjects,
        })
        .expect("strings, integers and booleans have a JSON form")
    }
}

impl fmt::Display for Actor {
    /// `os:1000:ann`, `token:7`, `cron`, `system`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actor::Os { uid, name } => write!(f, "os:{uid}:{}", clean(name)),
            Actor::Token(id) => write!(f, "token:{id}"),
            Actor::Cron => f.write_str("cron"),
            Actor::System => f.write_str("system"),
        }
    }
}

impl Details {
    /// No facts yet.
    pub fn new() -> Details {
        Details::default()
    }
    /// A whole number: an id, a count, a duration in the unit that the name ends in.
    #[must_use]
    pub fn number(mut self, name: &'static str, value: i64) -> Details {
        self.0.insert(name, Detail::Number(value));
        self
    }
    /// Yes or no.
    #[must_use]
    pub fn flag(mut self, name: &'static str, value: bool) -> Details {
        self.0.insert(name, Detail::Flag(value));
        self
    }
    /// A fixed text of our own.
    #[must_use]
    pub fn word(mut self, name: &'static str, value: &'static str) -> Details {
        self.0.insert(name, Detail::Text(value.to_owned()));
        self
    }
    /// A phone, masked.
    #[must_use]
    pub fn phone(mut self, name: &'static str, value: &Phone) -> Details {
        self.0.insert(name, Detail::Text(value.masked()));
        self
    }
    /// Text of a person or a provider: control characters become spaces, more than 200 characters are cut, and six or more
    /// digits in a row (also with spaces, dots, hyphens and parentheses between them) become `•`, for they may be a code or a
    /// phone. Digits after a letter or a `#` stay: `OPS-123456`, `#48213`, `SM0123…` name a ticket or a message.
    #[must_use]
    pub fn note(mut self, name: &'static str, value: &str) -> Details {
        self.0.insert(name, Detail::Text(mask_digit_runs(&clean(value))));
        self
    }
}

impl AuditKey {
    /// A key of these 32 bytes.
    pub fn new(bytes: [u8; 32]) -> AuditKey {
        AuditKey(Zeroizing::new(bytes))
    }
    /// The bytes, for wrapping only.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditKey(…)")
    }
}

impl Head {
    /// The head of a chain without rows.
    pub const fn empty(chain: u32) -> Head {
        Head { chain, seq: 0, mac: [0; 32] }
    }
    /// The row that comes after this head, and with it the next head.
    pub fn next(&self, key: &AuditKey, event: &Event) -> Row {
        let (body, seq) = (event.body(), self.seq.saturating_add(1));
        let mac = mac(key, &self.mac, (self.chain, seq), &body);
        Row { chain: self.chain, seq, body, mac }
    }
}

impl Row {
    /// This row as the head of its chain.
    pub fn head(&self) -> Head {
        Head { chain: self.chain, seq: self.seq, mac: self.mac }
    }
}

/// The MAC of one row: `prev` is the mac of the row before it, `place` its chain and seq.
pub fn mac(key: &AuditKey, prev: &[u8; 32], place: (u32, u64), body: &[u8]) -> [u8; 32] {
    let mut mac = keyed(&key.0);
    mac.update(prev);
    mac.update(&place.0.to_be_bytes());
    mac.update(&place.1.to_be_bytes());
    mac.update(&Sha256::digest(body));
    mac.finalize().into_bytes().into()
}

/// Bounded, and without characters that control a terminal.
fn clean(text: &str) -> String {
    text.chars().take(NOTE_MAX).map(|c| if c.is_control() || is_bidi_control(c) { ' ' } else { c }).collect()
}

/// Characters that make a terminal show text in another order than it is written (Unicode TR 9).
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn mask_digit_runs(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        if !chars[at].is_numeric() {
            out.push(chars[at]);
            at += 1;
            continue;
        }
        // The run ends with its last digit; separators after it belong to the text.
        let (mut end, mut digits, mut next) = (at, 0, at);
        while next < chars.len() && (chars[next].is_numeric() || " .-()/".contains(chars[next])) {
            if chars[next].is_numeric() {
                digits += 1;
                end = next + 1;
            }
            next += 1;
        }
        if digits > DIGIT_RUN_MAX && !is_name_before(&chars[..at]) {
            out.push('•');
        } else {
            out.extend(&chars[at..end]);
        }
        at = end;
    }
    out
}

/// Whether the characters before a run of digits make it a name: a letter, `#`, or a letter and one hyphen or underscore.
fn is_name_before(before: &[char]) -> bool {
    match before {
        [.., last] if last.is_alphabetic() || *last == '#' => true,
        [.., letter, '-' | '_'] => letter.is_alphabetic(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event::new(Timestamp(1_700_000_000_123), Actor::Os { uid: 1000, name: "ops".into() }, "send", "accepted")
    }

    #[test]
    fn the_body_is_canonical_json() {
        let phone = Phone::from_e164("+14155552671").unwrap();
        let details = Details::new().number("otp", 7).flag("test", false).word("purpose", "login").phone("to", &phone);

        let body = event().subject(&[0xab; 16]).details(details).body();

        assert_eq!(
            String::from_utf8(body).unwrap(),
            "{\"action\":\"send\",\"actor\":\"os:1000:ops\",\"at\":1700000000123,\"details\":{\"otp\":7,\"purpose\":\"login\",\
             \"test\":false,\"to\":\"+1415•••2671\"},\"outcome\":\"accepted\",\"subjects\":[\"abababababababababababababababab\"]}"
        );
    }

    #[test]
    fn every_actor_has_a_name() {
        let names = [Actor::Token(7), Actor::Cron, Actor::System].map(|actor| actor.to_string());

        assert_eq!(names, ["token:7", "cron", "system"]);
        assert_eq!(Actor::Os { uid: 0, name: "a\u{1b}[31m".into() }.to_string(), "os:0:a [31m");
    }

    #[test]
    fn notes_keep_ticket_names_and_lose_codes_phones_and_escapes() {
        let note = |text: &str| match &Details::new().note("reason", text).0["reason"] {
            Detail::Text(text) => text.clone(),
            other => panic!("{other:?}"),
        };

        assert_eq!(note("ticket 48213, customer on the line"), "ticket 48213, customer on the line");
        assert_eq!(note("OPS-123456 and #999999 and SM0123456789"), "OPS-123456 and #999999 and SM0123456789");
        assert_eq!(note("the code 123456 did not come"), "the code • did not come");
        assert_eq!(note("123-456, 123 456"), "•, •");
        assert_eq!(note("call +1 (415) 555-2671 back"), "call +• back");
        assert_eq!(note("٠١٢٣٤٥"), "•");
        assert_eq!(note("a\u{1b}]0;x\u{7}b\u{202e}c\nd"), "a ]0;x b c d");
        assert_eq!(note(&"x".repeat(5000)).len(), NOTE_MAX);
    }

    #[test]
    fn the_mac_is_the_documented_one() {
        // Computed with Python: hmac(key=32 x 09, prev=32 x 00, chain 1, seq 2, body "{}").
        let mac = mac(&AuditKey::new([9; 32]), &[0; 32], (1, 2), b"{}");

        assert_eq!(encode_string(&mac), "0c3797887519b69bb8e8606d315559381692f62f072295b9772d624f792a4bd1");
    }
}
