//! The audit log: what an event is, how its rows are chained, and how a change to them is detected.
//!
//! A row is (chain, seq, body, mac) with `mac = HMAC-SHA-256(K_audit, prev ‖ chain ‖ seq ‖ SHA-256(body))`, where `prev` is the
//! mac of the row before it in the chain (32 zero bytes before the first). The body is canonical JSON: whatever else a store
//! keeps in columns is generated from it, so that the chain covers everything about a row.
//!
//! The head of each chain is kept apart from the rows and sealed with the same key: whoever removes rows at the end of
//! a chain, or all of them, cannot write the head that fits what is left. Both rolled back together are found only
//! against a head that was kept elsewhere: an anchor.

mod verifier;

use std::collections::BTreeMap;
use std::fmt;

use base16ct::lower::encode_string;
use hmac::Mac;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

pub use verifier::{Break, BreakKind, Verifier};

use crate::clock::Timestamp;
use crate::code::keyed;
use crate::error::{Code, Error, Result};
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

/// The head of a chain as the database keeps it beside the rows, with what the chain begins after. The seal covers all
/// of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedHead {
    /// The chain.
    pub chain: u32,
    /// The seq of its last row; 0: it never had one.
    pub seq: u64,
    /// The mac of its last row; zeros: it never had one.
    pub mac: [u8; 32],
    /// The seq of the last row that was pruned; 0: none was.
    pub pruned_seq: u64,
    /// The mac of the last row that was pruned.
    pub pruned_mac: [u8; 32],
    /// How many chains the database has: their numbers begin at 0.
    pub chains: u32,
    /// The seal, made with the key that chains the rows.
    pub seal: [u8; 32],
}

/// The key that chains the rows: random, made with the database, and kept in it wrapped.
#[derive(Clone)]
pub struct AuditKey(Zeroizing<[u8; 32]>);

/// What an event may be called, by name: every operation and what else leaves a row.
pub const ACTIONS: [&str; 31] = [
    "alarm_ack",
    "alarm_deliver",
    "audit.prune",
    "balance",
    "block",
    "claim",
    "db.backup",
    "db.copy",
    "db.export",
    "db.move",
    "dispatch",
    "forget",
    "keys.wrap",
    "limits.reset",
    "message.send",
    "opt-in",
    "opt-out",
    "poll",
    "prices",
    "proven",
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

    /// Adds how many refusals of the same kind were only counted since the last row that recorded one.
    #[must_use]
    pub fn refused_before(mut self, count: u32) -> Event {
        if count > 0 {
            self.details = self.details.number("refused_before", i64::from(count));
        }
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

    /// When it was written; `None` where its body is not what we write.
    pub fn at(&self) -> Option<Timestamp> {
        #[derive(Deserialize)]
        struct Body {
            at: i64,
        }
        serde_json::from_slice::<Body>(&self.body).ok().map(|body| Timestamp(body.at))
    }

    /// Whether the subject of this random id is among those it names.
    pub fn is_about(&self, id: &[u8; 16]) -> bool {
        #[derive(Deserialize)]
        struct Body {
            subjects: Vec<String>,
        }
        let id = encode_string(id);
        serde_json::from_slice::<Body>(&self.body).is_ok_and(|body| body.subjects.contains(&id))
    }
}

impl SealedHead {
    /// The head of a chain that never had a row, one of `chains`.
    pub fn empty(key: &AuditKey, chain: u32, chains: u32) -> SealedHead {
        SealedHead::seal(key, Head::empty(chain), Head::empty(chain), chains)
    }

    /// Seals the end of a chain, with what it begins after.
    pub fn seal(key: &AuditKey, last: Head, pruned: Head, chains: u32) -> SealedHead {
        let mut head = SealedHead {
            chain: last.chain,
            seq: last.seq,
            mac: last.mac,
            pruned_seq: pruned.seq,
            pruned_mac: pruned.mac,
            chains,
            seal: [0; 32],
        };
        head.seal = head.expected_seal(key);
        head
    }

    /// The last row.
    pub fn last(&self) -> Head {
        Head { chain: self.chain, seq: self.seq, mac: self.mac }
    }

    /// The last row that was pruned: what the first one that is left was chained to.
    pub fn pruned(&self) -> Head {
        Head { chain: self.chain, seq: self.pruned_seq, mac: self.pruned_mac }
    }

    /// Whether it is as this key sealed it.
    pub fn is_sealed(&self, key: &AuditKey) -> bool {
        self.expected_seal(key).ct_eq(&self.seal).into()
    }

    /// The row that comes after this head, and the head after that row. A head that was changed is not built on: its
    /// seal would hide the change.
    ///
    /// # Errors
    /// `STORE_CORRUPT` if it was not sealed with this key.
    pub fn next(&self, key: &AuditKey, event: &Event) -> Result<(Row, SealedHead)> {
        self.must_be_sealed(key)?;
        let row = self.last().next(key, event);
        let head = SealedHead::seal(key, row.head(), self.pruned(), self.chains);
        Ok((row, head))
    }

    /// This head after the oldest rows of its chain were pruned: those among `rows`, which begin where the chain does,
    /// that come before the first one that is not older than `before`. Every row is verified: what was changed stays as
    /// evidence.
    ///
    /// # Errors
    /// `STORE_CORRUPT` if the head or a row is not as it was written.
    pub fn prune(&self, key: &AuditKey, rows: &[Row], before: Timestamp) -> Result<SealedHead> {
        self.must_be_sealed(key)?;
        let mut pruned = self.pruned();
        for row in rows {
            let place = (self.chain, pruned.seq.saturating_add(1));
            let fits = bool::from(mac(key, &pruned.mac, place, &row.body).ct_eq(&row.mac));
            if (row.chain, row.seq) != place || row.seq > self.seq || !fits {
                let what = format!("row {} of chain {} of the audit log is not as it was written", place.1, place.0);
                return Err(Error::new(Code::STORE_CORRUPT, format!("{what}; nothing was pruned from there on"))
                    .hint("Keep the log as evidence and look at it: smsotp audit verify"));
            }
            if row.at().is_none_or(|at| at >= before) {
                break;
            }
            pruned = row.head();
        }
        Ok(SealedHead::seal(key, self.last(), pruned, self.chains))
    }

    /// Refuses a head that was changed.
    ///
    /// # Errors
    /// `STORE_CORRUPT` if it was not sealed with this key.
    pub fn must_be_sealed(&self, key: &AuditKey) -> Result<()> {
        if self.is_sealed(key) {
            return Ok(());
        }
        let chain = self.chain;
        Err(Error::new(Code::STORE_CORRUPT, format!("the sealed head of audit chain {chain} was changed"))
            .hint("Keep a copy of the database, look what else was changed (smsotp db check), then restore a backup."))
    }

    fn expected_seal(&self, key: &AuditKey) -> [u8; 32] {
        let mut mac = keyed(&key.0);
        // No row is authenticated over an input that begins like this and is as long.
        mac.update(b"smsotp/audit-head/v1");
        mac.update(&self.chain.to_be_bytes());
        mac.update(&self.seq.to_be_bytes());
        mac.update(&self.mac);
        mac.update(&self.pruned_seq.to_be_bytes());
        mac.update(&self.pruned_mac);
        mac.update(&self.chains.to_be_bytes());
        mac.finalize().into_bytes().into()
    }
}

/// The error for a chain whose sealed head is gone.
pub fn headless(chain: u32) -> Error {
    Error::new(Code::STORE_CORRUPT, format!("the sealed head of audit chain {chain} is missing"))
        .hint("Keep a copy of the database, look what else was changed (smsotp db check), then restore a backup.")
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

    #[test]
    fn no_field_of_a_sealed_head_can_be_changed_and_nothing_is_built_on_a_changed_one() {
        let key = AuditKey::new([9; 32]);
        let at = |seq, byte| Head { chain: 3, seq, mac: [byte; 32] };
        let head = SealedHead::seal(&key, at(7, 1), at(2, 2), 33);
        assert!(head.is_sealed(&key) && !head.is_sealed(&AuditKey::new([8; 32])));
        let changed = [
            SealedHead { chain: 4, ..head.clone() },
            SealedHead { seq: 6, ..head.clone() },
            SealedHead { mac: [3; 32], ..head.clone() },
            SealedHead { pruned_seq: 0, ..head.clone() },
            SealedHead { pruned_mac: [0; 32], ..head.clone() },
            SealedHead { chains: 1, ..head.clone() },
            SealedHead { seal: [0; 32], ..head.clone() },
        ];
        for changed in changed {
            assert!(!changed.is_sealed(&key), "{changed:?}");
            assert_eq!(changed.next(&key, &event()).unwrap_err().code(), Code::STORE_CORRUPT);
            assert_eq!(changed.prune(&key, &[], Timestamp(0)).unwrap_err().code(), Code::STORE_CORRUPT);
        }
        let (row, next) = head.next(&key, &event()).unwrap();
        assert_eq!((row.seq, next.last(), next.pruned()), (8, row.head(), at(2, 2)));
        assert!(next.is_sealed(&key));
    }

    #[test]
    fn a_prune_takes_whole_beginnings_and_stops_at_the_first_young_or_changed_row() {
        let key = AuditKey::new([9; 32]);
        let event = |at| Event::new(Timestamp(at), Actor::Cron, "send", "accepted");
        let (mut head, mut rows) = (SealedHead::empty(&key, 0, 1), Vec::new());
        // The third row is younger than the fourth: time is each subject's own.
        for at in [10, 20, 40, 30, 50] {
            let (row, next) = head.next(&key, &event(at)).unwrap();
            rows.push(row);
            head = next;
        }
        for (before, until) in [(10, 0), (11, 1), (31, 2), (40, 2), (41, 4), (99, 5)] {
            let pruned = head.prune(&key, &rows, Timestamp(before)).unwrap();
            assert_eq!((pruned.pruned_seq, pruned.last()), (until, head.last()), "before {before}");
            // What is left is pruned as what was there from the start.
            let rest = &rows[usize::try_from(until).unwrap()..];
            assert_eq!(pruned.prune(&key, rest, Timestamp(99)).unwrap().pruned_seq, 5);
        }
        for damage in 0..3 {
            let mut rows = rows.clone();
            match damage {
                0 => rows[1].body[10] ^= 1,
                1 => drop(rows.remove(1)),
                _ => rows.swap(1, 2),
            }
            assert_eq!(head.prune(&key, &rows, Timestamp(99)).unwrap_err().code(), Code::STORE_CORRUPT);
        }
    }
}
