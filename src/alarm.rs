//! An alarm: what happened, since when, what it has cost so far, what was done about it, and how to undo that.
//!
//! While one stands there is one row for its kind and country: raising it again counts up and prolongs it. It asks for somebody
//! until it is acknowledged, and otherwise for a day after its end, so that whoever looks once a day misses none.

pub mod webhook;

use std::time::Duration;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::money::Money;

/// For how long an alarm stands whose end was not given, counted from when it was raised last.
pub const LASTS: Duration = Duration::from_secs(24 * 3600);

/// For how long an alarm that nobody acknowledged is still listed after its end.
pub const LISTED_AFTER_ITS_END: Duration = Duration::from_secs(24 * 3600);

/// An alarm that could not be delivered for so long is given up: what it says is no news any more.
pub const DELIVERED_WITHIN: Duration = Duration::from_secs(24 * 3600);

/// The pauses between two attempts to deliver an alarm; the last one repeats. The first is longer than an attempt may take.
const PAUSES: [u64; 7] = [30, 60, 120, 300, 600, 1800, 3600];

/// Longer words are cut: what is kept and delivered is bounded.
const WORDS_MAX: usize = 600;

/// What an alarm is about.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    strum::IntoStaticStr,
    strum::EnumString,
    strum::Display,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum AlarmKind {
    /// The detector found that the codes to a country are hardly entered any more.
    Detector,
    /// Half of a ceiling of money is used.
    #[serde(rename = "ceiling_50")]
    #[strum(serialize = "ceiling_50")]
    Ceiling50,
    /// Four fifths of a ceiling of money are used.
    #[serde(rename = "ceiling_80")]
    #[strum(serialize = "ceiling_80")]
    Ceiling80,
    /// A ceiling of money is used up.
    #[serde(rename = "ceiling_100")]
    #[strum(serialize = "ceiling_100")]
    Ceiling100,
    /// A country reached its cap for the first time.
    CountryCapped,
    /// Callers stopped saying whether codes are entered.
    ConversionUnknown,
    /// The balance at the provider is less than a day of codes costs.
    Balance,
}

impl AlarmKind {
    /// All of them.
    pub const ALL: &[AlarmKind] = <AlarmKind as strum::VariantArray>::VARIANTS;

    /// The word in the database, in JSON and in metrics.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Reads [`AlarmKind::as_str`].
    pub fn parse(word: &str) -> Option<AlarmKind> {
        word.parse().ok()
    }

    /// A headline.
    pub fn title(self) -> &'static str {
        match self {
            AlarmKind::Detector => "possible SMS pumping",
            AlarmKind::Ceiling50 => "half of a money ceiling is used",
            AlarmKind::Ceiling80 => "80 % of a money ceiling are used",
            AlarmKind::Ceiling100 => "a money ceiling is reached",
            AlarmKind::CountryCapped => "a country reached its cap",
            AlarmKind::ConversionUnknown => "it is not known any more which codes are entered",
            AlarmKind::Balance => "the balance is running out",
        }
    }

    /// What was done about it, where that is the same whatever happened. What the detector does depends on its mode and on the
    /// country: its own words say it.
    fn done(self) -> Option<&'static str> {
        match self {
            AlarmKind::Detector => None,
            AlarmKind::Ceiling50 | AlarmKind::Ceiling80 => Some("Nothing is refused yet."),
            AlarmKind::Ceiling100 => Some("No more codes are sent until there is room below the ceiling."),
            AlarmKind::CountryCapped => Some("Strangers there get no more codes until there is room below the cap."),
            AlarmKind::ConversionUnknown => {
                Some("Caps and ceilings hold as before; the detector cannot judge what nobody reports.")
            }
            AlarmKind::Balance => Some("Nothing: once the balance is used up, the provider refuses every message."),
        }
    }
}

/// What a rule has to say: the part of an alarm that it decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raised {
    /// What it is about.
    pub kind: AlarmKind,
    /// The country, two letters; empty: everything.
    pub about: String,
    /// When it ends unless it is raised again; `None`: [`LASTS`] from now.
    pub until: Option<Timestamp>,
    /// What happened, and what the detector does about it, in whole sentences. No cost, no way back: those are added.
    pub words: String,
    /// What it has cost so far.
    pub cost: Money,
}

/// An alarm as the database keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Its id, which also tells deliveries of the same alarm apart from others.
    pub id: i64,
    /// What it is about.
    pub kind: AlarmKind,
    /// The country, two letters; empty: everything.
    pub about: String,
    /// When it was raised first.
    pub since: Timestamp,
    /// When it ends unless it is raised again.
    pub until: Timestamp,
    /// When it was raised last.
    pub last_at: Timestamp,
    /// How often it was raised.
    pub count: u32,
    /// What it has cost so far.
    pub cost: Money,
    /// What happened.
    pub words: String,
    /// It is the newest of its kind and country, which later ones join while it stands.
    pub newest: bool,
    /// When somebody acknowledged it.
    pub acked_at: Option<Timestamp>,
    /// Who did.
    pub acked_by: Option<String>,
    /// How often its delivery was tried.
    pub attempts: u32,
    /// When to look at its delivery; `None`: never.
    pub due_at: Option<Timestamp>,
    /// When the webhook took it.
    pub sent_at: Option<Timestamp>,
}

/// What the next look at a delivery leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announce {
    /// There is no webhook: the log is all.
    Log,
    /// The webhook is called.
    Post,
    /// It is over: the webhook did not take it in time.
    GiveUp,
}

impl Announce {
    /// The word in the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Announce::Log => "logged",
            Announce::Post => "attempt",
            Announce::GiveUp => "given_up",
        }
    }
}

impl Alarm {
    /// What a rule raised, as a new alarm. Where one of its kind and country stands, the store makes it part of that one.
    pub fn new(raised: &Raised, now: Timestamp) -> Alarm {
        let words = raised.words.split_whitespace().collect::<Vec<_>>().join(" ");
        Alarm {
            id: 0,
            kind: raised.kind,
            about: raised.about.clone(),
            since: now,
            until: raised.until.unwrap_or(now + LASTS).max(now + Duration::from_millis(1)),
            last_at: now,
            count: 1,
            cost: raised.cost,
            words: words.chars().filter(|c| !c.is_control()).take(WORDS_MAX).collect(),
            newest: true,
            acked_at: None,
            acked_by: None,
            attempts: 0,
            due_at: Some(now),
            sent_at: None,
        }
    }

    /// It is not over.
    pub fn stands(&self, now: Timestamp) -> bool {
        now < self.until
    }

    /// Somebody has to look at it: nobody acknowledged it, and it stands or ended less than a day ago.
    pub fn asks(&self, now: Timestamp) -> bool {
        self.acked_at.is_none() && now < self.until + LISTED_AFTER_ITS_END
    }

    /// Acknowledges it; false where somebody did before, which stays. It is not delivered any more, and does not end by it.
    pub fn acknowledge(&mut self, now: Timestamp, by: &str) -> bool {
        if self.acked_at.is_some() {
            return false;
        }
        (self.acked_at, self.acked_by, self.due_at) = (Some(now), Some(by.to_owned()), None);
        true
    }

    /// Takes on its delivery, where it is due: `None` where it is not. Whoever takes it on and dies leaves it to the next
    /// attempt, so that it is delivered at least once.
    pub fn announce(&mut self, now: Timestamp, has_webhook: bool) -> Option<Announce> {
        self.due_at.filter(|at| *at <= now)?;
        self.due_at = None;
        if !has_webhook {
            return Some(Announce::Log);
        }
        if self.attempts > 0 && now.since(self.since) > DELIVERED_WITHIN {
            return Some(Announce::GiveUp);
        }
        let pause = PAUSES[usize::try_from(self.attempts).unwrap_or(usize::MAX).min(PAUSES.len() - 1)];
        self.attempts += 1;
        self.due_at = Some(now + Duration::from_secs(pause));
        Some(Announce::Post)
    }

    /// Where it happened, for a sentence: `TJ`, or `all countries`.
    pub fn place(&self) -> &str {
        if self.about.is_empty() { "all countries" } else { &self.about }
    }

    /// What was done about it.
    pub fn done(&self) -> Option<&'static str> {
        self.kind.done()
    }

    /// The command that takes back what was done, or what to do instead; as it can be typed where it is a command.
    pub fn undo(&self) -> String {
        match self.kind {
            AlarmKind::Balance => "Top up in the Twilio Console, or set automatic recharge.".to_owned(),
            AlarmKind::Ceiling50 | AlarmKind::Ceiling80 | AlarmKind::Ceiling100 => {
                "Raise the ceiling: [ceilings] in smsotp.toml.".to_owned()
            }
            AlarmKind::ConversionUnknown => {
                "Have the caller verify its codes; or declare conversion = \"unknown\" for the purpose.".to_owned()
            }
            AlarmKind::Detector | AlarmKind::CountryCapped => {
                format!("smsotp block allow {} --for 2h --reason TEXT", self.about)
            }
        }
    }

    /// All of it as a few lines of text, for a chat.
    pub fn text(&self, app_name: &str) -> String {
        let mut text =
            format!("{app_name}: alarm {}, {}, {}\n{}", self.id, self.kind.title(), self.place(), self.words);
        if let Some(done) = self.done() {
            text.push_str(&format!("\nDone: {done}"));
        }
        let (since, cost, undo, id) = (self.since, self.cost, self.undo(), self.id);
        text.push_str(&format!(
            "\nSince {since}. Cost so far: {cost}.\nUndo: {undo}\nAcknowledge: smsotp alarms ack {id} --reason TEXT"
        ));
        text
    }

    /// What JSON shows of it.
    pub fn facts(&self, now: Timestamp) -> AlarmFacts {
        AlarmFacts {
            id: self.id.to_string(),
            alarm: self.kind,
            title: self.kind.title(),
            country: Some(self.about.clone()).filter(|about| !about.is_empty()),
            stands: self.stands(now),
            since: self.since,
            until: self.until,
            last_at: self.last_at,
            count: self.count,
            cost_usd: self.cost.usd(),
            cost: self.cost,
            words: self.words.clone(),
            done: self.done(),
            undo: self.undo(),
            acknowledged_at: self.acked_at,
            acknowledged_by: self.acked_by.clone(),
            delivered_at: self.sent_at,
        }
    }
}

/// An alarm as JSON shows it, on the command line and to a webhook.
#[derive(Clone, Debug, Serialize)]
pub struct AlarmFacts {
    /// Its id.
    pub id: String,
    /// Its kind.
    pub alarm: AlarmKind,
    /// Its headline.
    pub title: &'static str,
    /// The country; left out: all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// It is not over.
    pub stands: bool,
    /// When it was raised first.
    pub since: Timestamp,
    /// When it ends unless it is raised again.
    pub until: Timestamp,
    /// When it was raised last.
    pub last_at: Timestamp,
    /// How often.
    pub count: u32,
    /// What it has cost so far, in US dollars.
    pub cost_usd: f64,
    /// The same.
    #[serde(skip)]
    pub cost: Money,
    /// What happened.
    pub words: String,
    /// What was done about it, where the words do not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done: Option<&'static str>,
    /// How to undo that.
    pub undo: String,
    /// When somebody acknowledged it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged_at: Option<Timestamp>,
    /// Who did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged_by: Option<String>,
    /// When the webhook took it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn after(seconds: u64) -> Timestamp {
        NOW + Duration::from_secs(seconds)
    }

    pub(super) fn raised() -> Raised {
        Raised {
            kind: AlarmKind::Detector,
            about: "TJ".to_owned(),
            until: Some(after(1500)),
            words: "Tajikistan: 14 codes in 9 minutes, none entered; usual is 78 %.".to_owned(),
            cost: Money(5_600_000),
        }
    }

    #[test]
    fn every_kind_has_a_word_that_is_read_back_and_a_way_back() {
        for kind in AlarmKind::ALL {
            assert_eq!(AlarmKind::parse(kind.as_str()), Some(*kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
            let alarm = Alarm::new(&Raised { kind: *kind, ..raised() }, NOW);
            assert!(!alarm.undo().is_empty() && !kind.title().is_empty());
            assert_eq!(
                alarm.done().is_none(),
                *kind == AlarmKind::Detector,
                "what the detector does its own words say"
            );
        }
        assert_eq!(AlarmKind::parse("Detector"), None);
    }

    #[test]
    fn an_alarm_asks_until_it_is_acknowledged_or_a_day_after_its_end() {
        let mut alarm = Alarm::new(&raised(), NOW);

        assert!(alarm.stands(after(1499)) && !alarm.stands(after(1500)));
        assert!(alarm.asks(after(1500 + 86_399)) && !alarm.asks(after(1500 + 86_400)));
        assert!(alarm.acknowledge(after(60), "os:1000:ada"));
        assert!(!alarm.asks(after(61)) && alarm.stands(after(61)), "what goes on goes on");
        assert!(!alarm.acknowledge(after(90), "os:1000:bob"), "once");
        assert_eq!((alarm.acked_by.as_deref(), alarm.due_at), (Some("os:1000:ada"), None));
    }

    #[test]
    fn an_alarm_without_an_end_lasts_a_day_and_one_that_is_over_at_once_stands_for_a_moment() {
        assert_eq!(Alarm::new(&Raised { until: None, ..raised() }, NOW).until, after(86_400));
        assert!(Alarm::new(&Raised { until: Some(NOW), ..raised() }, NOW).stands(NOW));
    }

    #[test]
    fn a_delivery_is_tried_again_after_growing_pauses_and_given_up_after_a_day() {
        let mut alarm = Alarm::new(&raised(), NOW);
        let mut at = NOW;
        let mut pauses = Vec::new();

        while alarm.announce(at, true) == Some(Announce::Post) {
            assert_eq!(alarm.announce(at, true), None, "somebody has taken it on");
            let due = alarm.due_at.unwrap();
            pauses.push(due.since(at).as_secs());
            at = due;
        }

        assert_eq!(pauses[..8], [30, 60, 120, 300, 600, 1800, 3600, 3600]);
        assert!(pauses.len() < 35 && at.since(NOW) > DELIVERED_WITHIN);
        assert_eq!(alarm.due_at, None, "given up");
    }

    #[test]
    fn one_that_is_found_late_is_tried_once_all_the_same() {
        let mut alarm = Alarm::new(&raised(), NOW);
        assert_eq!(alarm.announce(after(7 * 86_400), true), Some(Announce::Post));
        assert_eq!(Alarm::new(&raised(), NOW).announce(NOW, false), Some(Announce::Log));
    }

    #[test]
    fn words_are_one_bounded_line() {
        let words = format!("a\u{1b}[2J\n\tb {}", "x".repeat(5000));
        let alarm = Alarm::new(&Raised { words, ..raised() }, NOW);
        assert!(alarm.words.starts_with("a[2J b x") && alarm.words.chars().count() == WORDS_MAX);
    }

    #[test]
    fn the_text_says_what_since_when_the_cost_and_the_way_back() {
        let alarm = Alarm { id: 17, ..Alarm::new(&raised(), NOW) };
        assert_eq!(
            alarm.text("ACME"),
            "ACME: alarm 17, possible SMS pumping, TJ\n\
             Tajikistan: 14 codes in 9 minutes, none entered; usual is 78 %.\n\
             Since 2027-01-15T08:00:00.000Z. Cost so far: 5.60 US$.\n\
             Undo: smsotp block allow TJ --for 2h --reason TEXT\n\
             Acknowledge: smsotp alarms ack 17 --reason TEXT"
        );
    }
}
