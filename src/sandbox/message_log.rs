//! The log of messages in order of arrival, who opted out, and how deliveries end. Bounded.

use std::collections::{HashMap, HashSet, VecDeque};

use super::countries::{price_micros, segments};
use super::identity::SandboxAccount;
use super::message::{InboundText, StatusChange, StoredMessage};
use super::sid::random_sid;
use crate::clock::Timestamp;

/// At most so many messages are kept; the oldest go first.
const MAX_MESSAGES: usize = 100_000;
/// At most so many bytes of text are kept, for the same reason.
const MAX_WEIGHT: usize = 256 * 1024 * 1024;
/// At most so many phones have an outcome or a STOP of their own.
const MAX_PHONES: usize = 100_000;

/// The last status of messages to a phone.
#[derive(Clone, Debug)]
pub(super) struct FinalStatus {
    pub status: String,
    pub error_code: Option<u32>,
}

/// The messages and the phones.
pub(super) struct MessageLog {
    max_messages: usize,
    max_weight: usize,
    messages: VecDeque<StoredMessage>,
    by_sid: HashMap<String, u64>,
    next_seq: u64,
    weight: usize,
    /// Messages whose status still moves, in order of arrival.
    moving: Vec<u64>,
    scheduled: Vec<u64>,
    opted_out: HashSet<(String, String)>,
    outcomes: HashMap<String, FinalStatus>,
    /// What was spent, in millionths of a US dollar.
    pub spent_micros: i64,
}

/// Which messages a list holds.
#[derive(Default)]
pub(super) struct MessageFilter {
    pub to: Option<String>,
    pub from: Option<String>,
    pub sent_from: Option<Timestamp>,
    pub sent_until: Option<Timestamp>,
}

impl MessageFilter {
    fn matches(&self, message: &StoredMessage) -> bool {
        let same =
            |wanted: &Option<String>, is: Option<&str>| wanted.as_deref().is_none_or(|wanted| is == Some(wanted));
        let sent_ok = |ok: &dyn Fn(Timestamp) -> bool| message.sent.is_some_and(ok);
        message.is_of_the_account()
            && same(&self.to, Some(&message.to))
            && same(&self.from, message.from.as_deref())
            // What was not sent yet has no date to compare, so a filter by date leaves it out.
            && self.sent_from.is_none_or(|from| sent_ok(&|sent| sent >= from))
            && self.sent_until.is_none_or(|until| sent_ok(&|sent| sent <= until))
    }
}

impl Default for MessageLog {
    fn default() -> Self {
        MessageLog::bounded(MAX_MESSAGES, MAX_WEIGHT)
    }
}

impl MessageLog {
    /// An empty log that drops its oldest messages above these numbers of messages and bytes.
    pub fn bounded(max_messages: usize, max_weight: usize) -> MessageLog {
        MessageLog {
            max_messages,
            max_weight,
            messages: VecDeque::new(),
            by_sid: HashMap::new(),
            next_seq: 0,
            weight: 0,
            moving: Vec::new(),
            scheduled: Vec::new(),
            opted_out: HashSet::new(),
            outcomes: HashMap::new(),
            spent_micros: 0,
        }
    }

    /// Adds a message and numbers it.
    pub fn add(&mut self, mut message: StoredMessage) -> StoredMessage {
        message.seq = self.next_seq;
        self.next_seq += 1;
        self.by_sid.insert(message.sid.clone(), message.seq);
        self.weight += message.weight();
        match message.status.as_str() {
            "scheduled" => self.scheduled.push(message.seq),
            _ if message.next_status().is_some() => self.moving.push(message.seq),
            _ => {}
        }
        self.messages.push_back(message.clone());
        while self.messages.len() > self.max_messages || self.weight > self.max_weight {
            let Some(oldest) = self.messages.pop_front() else { break };
            self.weight = self.weight.saturating_sub(oldest.weight());
            self.by_sid.remove(&oldest.sid);
        }
        message
    }

    /// The message with this SID, unless it was deleted.
    pub fn get(&self, sid: &str) -> Option<&StoredMessage> {
        self.at(*self.by_sid.get(sid)?).filter(|message| message.is_of_the_account())
    }

    /// The message with this SID, also one that the account does not show: deleted, or Verify's.
    pub fn any(&self, sid: &str) -> Option<&StoredMessage> {
        self.at(*self.by_sid.get(sid)?)
    }

    /// Changes a message that was not deleted.
    pub fn change(&mut self, sid: &str, now: Timestamp, how: impl FnOnce(&mut StoredMessage)) -> Option<StoredMessage> {
        let seq = *self.by_sid.get(sid)?;
        let message = self.at_mut(seq).filter(|m| !m.deleted)?;
        let before = message.weight();
        how(message);
        message.updated = now;
        let (after, changed) = (message.weight(), message.clone());
        self.weight = (self.weight + after).saturating_sub(before);
        Some(changed)
    }

    /// Every outbound message, deleted ones too, oldest first.
    pub fn outbound(&self) -> impl DoubleEndedIterator<Item = &StoredMessage> {
        self.messages.iter().filter(|m| !m.inbound)
    }

    /// The messages that match a filter, newest first.
    pub fn list<'a>(&'a self, filter: &'a MessageFilter) -> impl Iterator<Item = &'a StoredMessage> {
        self.messages.iter().rev().filter(|m| filter.matches(m))
    }

    /// The place of a message, deleted ones too: where a page token points.
    pub fn place_of(&self, sid: &str) -> Option<u64> {
        self.by_sid.get(sid).copied()
    }

    /// Sets the last status of messages to a phone.
    pub fn set_outcome(&mut self, to: &str, outcome: FinalStatus) {
        if self.outcomes.len() < MAX_PHONES {
            self.outcomes.insert(to.to_owned(), outcome);
        }
    }

    /// True when this phone sent STOP to this sender (a number or a service).
    pub fn is_opted_out(&self, sender: &str, phone: &str) -> bool {
        self.opted_out.contains(&(sender.to_owned(), phone.to_owned()))
    }

    /// Adds a text from a phone; STOP and START opt it out and in.
    pub fn add_text(&mut self, text: InboundText, account: &SandboxAccount) -> StoredMessage {
        // STOP to a number of the service is STOP to the service.
        let senders = [text.to.to_owned(), account.service_sid.clone()];
        for sender in senders {
            let pair = (sender, text.from.to_owned());
            match Keyword::find(text.body) {
                Some(Keyword::Stop) if self.opted_out.len() < 2 * MAX_PHONES => drop(self.opted_out.insert(pair)),
                Some(Keyword::Start) => drop(self.opted_out.remove(&pair)),
                _ => {}
            }
        }
        self.add(StoredMessage {
            seq: 0,
            sid: random_sid("SM"),
            inbound: true,
            to: text.to.to_owned(),
            from: Some(text.from.to_owned()),
            service: None,
            body: text.body.to_owned(),
            segments: segments(text.body),
            media: Vec::new(),
            status: "received".to_owned(),
            error_code: None,
            created: text.now,
            updated: text.now,
            sent: Some(text.now),
            validity: None,
            callback: None,
            send_at: None,
            price_micros: None,
            feedback: None,
            verification: false,
            deleted: false,
        })
    }

    /// True while the status of a message still changes.
    pub fn is_moving(&self) -> bool {
        !self.moving.is_empty()
    }

    /// True while a scheduled message waits for its time.
    pub fn has_scheduled(&self) -> bool {
        !self.scheduled.is_empty()
    }

    /// Moves every message on by one status. `sender` is the number that the Messaging Service chooses.
    pub fn step(&mut self, now: Timestamp, sender: &str) -> Vec<StatusChange> {
        let mut changes = Vec::new();
        let due = std::mem::take(&mut self.scheduled);
        let (due, later): (Vec<u64>, Vec<u64>) = due.into_iter().partition(|seq| {
            self.at(*seq).is_none_or(|m| m.status != "scheduled" || m.send_at.is_none_or(|at| at <= now))
        });
        self.scheduled = later;
        self.moving.extend(due);
        for seq in std::mem::take(&mut self.moving) {
            let Some(message) = self.at(seq).filter(|m| !m.deleted) else { continue };
            let Some((status, error_code)) = self.next_move(message, now) else { continue };
            if let Some(change) = self.apply_status(seq, (&status, error_code), now, sender) {
                changes.push(change);
            }
            if self.at(seq).and_then(|m| self.next_move(m, now)).is_some() {
                self.moving.push(seq);
            }
        }
        changes
    }

    /// Sets a status and its error code on request.
    pub fn set_status(
        &mut self,
        sid: &str,
        end: (&str, Option<u32>),
        now: Timestamp,
        sender: &str,
    ) -> Option<StatusChange> {
        let seq = *self.by_sid.get(sid)?;
        self.apply_status(seq, end, now, sender)
    }

    /// How many outbound messages were made since `from`, and how many segments they took.
    pub fn usage_since(&self, from: Timestamp) -> (usize, u64, i64) {
        self.outbound().rev().take_while(|m| m.created >= from).fold((0, 0, 0), |(count, segments, price), m| {
            (count + 1, segments + u64::from(m.segments), price + m.price_micros.unwrap_or(0))
        })
    }

    /// The next status of a message and the error that comes with it, if it has one to go to.
    fn next_move(&self, message: &StoredMessage, now: Timestamp) -> Option<(String, Option<u32>)> {
        let next = message.next_status()?;
        if next == "sending" && message.is_stale(now) {
            return Some(("failed".to_owned(), Some(30036)));
        }
        let Some(end) = self.outcomes.get(&message.to) else { return Some((next.to_owned(), None)) };
        match (end.status.as_str(), next) {
            ("failed", "sending") | ("undelivered", "delivered") => Some((end.status.clone(), end.error_code)),
            ("sent", "delivered") => None,
            _ => Some((next.to_owned(), None)),
        }
    }

    fn apply_status(
        &mut self,
        seq: u64,
        (status, error_code): (&str, Option<u32>),
        now: Timestamp,
        sender: &str,
    ) -> Option<StatusChange> {
        let message = self.at_mut(seq).filter(|m| !m.deleted)?;
        message.status = status.to_owned();
        message.error_code = error_code;
        message.updated = now;
        let mut spent = 0;
        if matches!(status, "sent" | "delivered" | "undelivered") {
            message.sent.get_or_insert(now);
            if message.price_micros.is_none() {
                spent = price_micros(&message.to) * i64::from(message.segments);
                message.price_micros = Some(spent);
            }
        }
        if message.from.is_none() && !message.is_waiting_for_sender() {
            message.from = Some(sender.to_owned());
        }
        let change = StatusChange { message: message.clone(), status: status.to_owned(), at: now };
        self.spent_micros += spent;
        Some(change)
    }

    fn at(&self, seq: u64) -> Option<&StoredMessage> {
        let first = self.messages.front()?.seq;
        self.messages.get(usize::try_from(seq.checked_sub(first)?).ok()?)
    }

    fn at_mut(&mut self, seq: u64) -> Option<&mut StoredMessage> {
        let first = self.messages.front()?.seq;
        self.messages.get_mut(usize::try_from(seq.checked_sub(first)?).ok()?)
    }
}

/// Twilio's keywords for opting out and in: the whole text, in upper or lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    Stop,
    Start,
    Help,
}

impl Keyword {
    /// The keyword that a text is.
    pub fn find(text: &str) -> Option<Keyword> {
        match text.trim().to_ascii_uppercase().as_str() {
            "STOP" | "STOPALL" | "UNSUBSCRIBE" | "CANCEL" | "END" | "QUIT" | "REVOKE" | "OPTOUT" => Some(Keyword::Stop),
            "START" | "YES" | "UNSTOP" => Some(Keyword::Start),
            "HELP" | "INFO" => Some(Keyword::Help),
            _ => None,
        }
    }

    /// The value of the callback's `OptOutType`.
    pub fn as_str(self) -> &'static str {
        match self {
            Keyword::Stop => "STOP",
            Keyword::Start => "START",
            Keyword::Help => "HELP",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::options::Options;

    #[test]
    fn the_oldest_messages_go_when_there_are_too_many_or_too_long_ones() {
        let account = SandboxAccount::new(&Options::default()).unwrap();
        let mut message_log = MessageLog::bounded(100, 200_000);
        let text = |message_log: &mut MessageLog, body: &str| {
            let text = InboundText { from: "+12025550123", to: "+12025550100", body, now: Timestamp(0) };
            message_log.add_text(text, &account).sid
        };
        let first = text(&mut message_log, "the first");
        let second = text(&mut message_log, "the second");
        let last = (1..100).map(|_| text(&mut message_log, "more")).last().unwrap();

        assert_eq!((message_log.messages.len(), message_log.by_sid.len()), (100, 100));
        assert!(message_log.get(&first).is_none());
        assert_eq!(message_log.get(&second).map(|m| m.body.as_str()), Some("the second"));
        assert_eq!(message_log.list(&MessageFilter::default()).next().map(|m| m.sid.clone()), Some(last));

        for _ in 0..10 {
            text(&mut message_log, &"x".repeat(50_000));
        }
        assert!(message_log.weight <= 200_000 && message_log.messages.len() < 10);
        assert_eq!(message_log.weight, message_log.messages.iter().map(StoredMessage::weight).sum::<usize>());
        message_log.change(&second, Timestamp(1), |m| m.body.clear());
        assert!(message_log.place_of(&second).is_none(), "a dropped message stays dropped");
    }
}
