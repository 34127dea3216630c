//! The sandbox's memory: the messages in order of arrival, who opted out, and how deliveries end. Bounded.

use std::collections::{HashMap, HashSet, VecDeque};

use super::catalogue;
use super::credentials::{Credentials, random_sid};
use super::message::{Inbound, Message, News};
use crate::clock::Timestamp;

/// At most so many messages are kept; the oldest go first.
const MAX_MESSAGES: usize = 100_000;
/// At most so many bytes of text are kept, for the same reason.
const MAX_WEIGHT: usize = 256 * 1024 * 1024;
/// At most so many phones have an outcome or a STOP of their own.
const MAX_PHONES: usize = 100_000;

/// How messages to a phone end.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub status: String,
    pub error_code: Option<u32>,
}

/// The messages and the phones.
pub(super) struct MessageLog {
    max_messages: usize,
    max_weight: usize,
    messages: VecDeque<Message>,
    by_sid: HashMap<String, u64>,
    next_seq: u64,
    weight: usize,
    /// Messages whose status still moves, in order of arrival.
    moving: Vec<u64>,
    scheduled: Vec<u64>,
    opted_out: HashSet<(String, String)>,
    outcomes: HashMap<String, Outcome>,
    /// What was spent, in millionths of a US dollar.
    pub spent_micros: i64,
}

/// Which messages a list asks for.
#[derive(Default)]
pub(super) struct Filter {
    pub to: Option<String>,
    pub from: Option<String>,
    pub sent_from: Option<Timestamp>,
    pub sent_until: Option<Timestamp>,
}

impl Filter {
    fn takes(&self, message: &Message) -> bool {
        let same = |asked: &Option<String>, is: Option<&str>| asked.as_deref().is_none_or(|asked| is == Some(asked));
        let sent_ok = |ok: &dyn Fn(Timestamp) -> bool| message.sent.is_some_and(ok);
        !message.deleted
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
    /// An empty message_log that forgets its oldest messages above these numbers of messages and bytes.
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

    /// Takes a message in; gives it its place.
    pub fn add(&mut self, mut message: Message) -> Message {
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
    pub fn get(&self, sid: &str) -> Option<&Message> {
        self.at(*self.by_sid.get(sid)?).filter(|m| !m.deleted)
    }

    /// Changes a message that was not deleted.
    pub fn change(&mut self, sid: &str, now: Timestamp, how: impl FnOnce(&mut Message)) -> Option<Message> {
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
    pub fn outbound(&self) -> impl DoubleEndedIterator<Item = &Message> {
        self.messages.iter().filter(|m| !m.inbound)
    }

    /// The messages that a filter takes, newest first.
    pub fn list<'a>(&'a self, filter: &'a Filter) -> impl Iterator<Item = &'a Message> {
        self.messages.iter().rev().filter(|m| filter.takes(m))
    }

    /// The place of a message, deleted ones too: where a page token points.
    pub fn place_of(&self, sid: &str) -> Option<u64> {
        self.by_sid.get(sid).copied()
    }

    /// A phone with an opinion on its messages: how they end.
    pub fn set_outcome(&mut self, to: &str, outcome: Outcome) {
        if self.outcomes.len() < MAX_PHONES {
            self.outcomes.insert(to.to_owned(), outcome);
        }
    }

    /// True when this phone said STOP to this sender (a number or a service).
    pub fn is_opted_out(&self, sender: &str, phone: &str) -> bool {
        self.opted_out.contains(&(sender.to_owned(), phone.to_owned()))
    }

    /// Takes in a text from a phone, with what it says of opting out and in.
    pub fn inbound(&mut self, text: Inbound, credentials: &Credentials) -> Message {
        // A number of the pool speaks for its service: STOP to one is STOP to both.
        let senders = [text.to.to_owned(), credentials.service_sid.clone()];
        for sender in senders {
            let pair = (sender, text.from.to_owned());
            match OptOut::of(text.body) {
                Some(OptOut::Stop) if self.opted_out.len() < 2 * MAX_PHONES => drop(self.opted_out.insert(pair)),
                Some(OptOut::Start) => drop(self.opted_out.remove(&pair)),
                _ => {}
            }
        }
        self.add(Message {
            seq: 0,
            sid: random_sid("SM"),
            inbound: true,
            to: text.to.to_owned(),
            from: Some(text.from.to_owned()),
            service: None,
            body: text.body.to_owned(),
            segments: catalogue::segments(text.body),
            media: 0,
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
            deleted: false,
        })
    }

    /// True while a status has yet to move.
    pub fn is_moving(&self) -> bool {
        !self.moving.is_empty()
    }

    /// True while a scheduled message waits for its time.
    pub fn has_scheduled(&self) -> bool {
        !self.scheduled.is_empty()
    }

    /// Moves every message on by one status. `sender` is the number that the Messaging Service chooses.
    pub fn step(&mut self, now: Timestamp, sender: &str) -> Vec<News> {
        let mut news = Vec::new();
        let due = std::mem::take(&mut self.scheduled);
        let (due, later): (Vec<u64>, Vec<u64>) = due.into_iter().partition(|seq| {
            self.at(*seq).is_none_or(|m| m.status != "scheduled" || m.send_at.is_none_or(|at| at <= now))
        });
        self.scheduled = later;
        self.moving.extend(due);
        for seq in std::mem::take(&mut self.moving) {
            let Some(message) = self.at(seq).filter(|m| !m.deleted) else { continue };
            let Some((status, error_code)) = self.move_of(message, now) else { continue };
            if let Some(told) = self.set_status(seq, (&status, error_code), now, sender) {
                news.push(told);
            }
            if self.at(seq).and_then(|m| self.move_of(m, now)).is_some() {
                self.moving.push(seq);
            }
        }
        news
    }

    /// Sets a status and its error code by hand.
    pub fn deliver(&mut self, sid: &str, end: (&str, Option<u32>), now: Timestamp, sender: &str) -> Option<News> {
        let seq = *self.by_sid.get(sid)?;
        self.set_status(seq, end, now, sender)
    }

    /// How many outbound messages were made since `from`, and how many segments they took.
    pub fn usage_since(&self, from: Timestamp) -> (usize, u64, i64) {
        self.outbound().rev().take_while(|m| m.created >= from).fold((0, 0, 0), |(count, segments, price), m| {
            (count + 1, segments + u64::from(m.segments), price + m.price_micros.unwrap_or(0))
        })
    }

    /// The next status of a message and the error that comes with it, if it has one to go to.
    fn move_of(&self, message: &Message, now: Timestamp) -> Option<(String, Option<u32>)> {
        let next = message.next_status()?;
        if next == "sending" && message.is_stale(now) {
            return Some(("failed".to_owned(), Some(30036)));
        }
        let Some(outcome) = self.outcomes.get(&message.to) else { return Some((next.to_owned(), None)) };
        match (outcome.status.as_str(), next) {
            ("failed", "sending") | ("undelivered", "delivered") => Some((outcome.status.clone(), outcome.error_code)),
            ("sent", "delivered") => None,
            _ => Some((next.to_owned(), None)),
        }
    }

    fn set_status(
        &mut self,
        seq: u64,
        (status, error_code): (&str, Option<u32>),
        now: Timestamp,
        sender: &str,
    ) -> Option<News> {
        let message = self.at_mut(seq).filter(|m| !m.deleted)?;
        message.status = status.to_owned();
        message.error_code = error_code;
        message.updated = now;
        let mut spent = 0;
        if matches!(status, "sent" | "delivered" | "undelivered") {
            message.sent.get_or_insert(now);
            if message.price_micros.is_none() {
                spent = catalogue::price_micros(&message.to) * i64::from(message.segments);
                message.price_micros = Some(spent);
            }
        }
        if message.from.is_none() && !message.is_waiting_for_sender() {
            message.from = Some(sender.to_owned());
        }
        let news = News { message: message.clone(), status: status.to_owned(), at: now };
        self.spent_micros += spent;
        Some(news)
    }

    fn at(&self, seq: u64) -> Option<&Message> {
        let first = self.messages.front()?.seq;
        self.messages.get(usize::try_from(seq.checked_sub(first)?).ok()?)
    }

    fn at_mut(&mut self, seq: u64) -> Option<&mut Message> {
        let first = self.messages.front()?.seq;
        self.messages.get_mut(usize::try_from(seq.checked_sub(first)?).ok()?)
    }
}

/// What a text says of opting out, by Twilio's keywords: the whole text, in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OptOut {
    Stop,
    Start,
    Help,
}

impl OptOut {
    pub fn of(text: &str) -> Option<OptOut> {
        match text.trim().to_ascii_uppercase().as_str() {
            "STOP" | "STOPALL" | "UNSUBSCRIBE" | "CANCEL" | "END" | "QUIT" | "REVOKE" | "OPTOUT" => Some(OptOut::Stop),
            "START" | "YES" | "UNSTOP" => Some(OptOut::Start),
            "HELP" | "INFO" => Some(OptOut::Help),
            _ => None,
        }
    }

    /// The value of the callback's `OptOutType`.
    pub fn as_str(self) -> &'static str {
        match self {
            OptOut::Stop => "STOP",
            OptOut::Start => "START",
            OptOut::Help => "HELP",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Options;

    #[test]
    fn the_oldest_messages_go_when_there_are_too_many_or_too_long_ones() {
        let credentials = Credentials::new(&Options::default()).unwrap();
        let mut message_log = MessageLog::bounded(100, 200_000);
        let text = |message_log: &mut MessageLog, body: &str| {
            let text = Inbound { from: "+12025550123", to: "+12025550100", body, now: Timestamp(0) };
            message_log.inbound(text, &credentials).sid
        };
        let first = text(&mut message_log, "the first");
        let second = text(&mut message_log, "the second");
        let last = (1..100).map(|_| text(&mut message_log, "more")).last().unwrap();

        assert_eq!((message_log.messages.len(), message_log.by_sid.len()), (100, 100));
        assert!(message_log.get(&first).is_none());
        assert_eq!(message_log.get(&second).map(|m| m.body.as_str()), Some("the second"));
        assert_eq!(message_log.list(&Filter::default()).next().map(|m| m.sid.clone()), Some(last));

        for _ in 0..10 {
            text(&mut message_log, &"x".repeat(50_000));
        }
        assert!(message_log.weight <= 200_000 && message_log.messages.len() < 10);
        assert_eq!(message_log.weight, message_log.messages.iter().map(Message::weight).sum::<usize>());
        message_log.change(&second, Timestamp(1), |m| m.body.clear());
        assert!(message_log.place_of(&second).is_none(), "what went is gone");
    }
}
