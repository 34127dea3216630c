//! Whether a message may go out: the ceilings of money, the caps, and the detector.

use chrono::Timelike;

use super::caps;
use super::country::Country;
use super::detector::Found;
use super::installation::{Installation, Used};
use super::rule::{Full, Rule};
use super::{Block, Counted, GuardPolicy, Mode};
use crate::alarm::{AlarmKind, Raised};
use crate::clock::Timestamp;
use crate::money::Money;

/// So many messages each country that is not proven keeps beside the pool.
const BESIDE_THE_POOL: u32 = 2;

/// That a country is capped is not reported twice within this time: a week.
const CAP_REPORTED_FOR_MS: i64 = 7 * 24 * 3_600_000;

/// A message that somebody wants sent.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Now.
    pub now: Timestamp,
    /// Where to, two letters; empty: no country (a number of an international network).
    pub country: &'a str,
    /// What it costs, all segments.
    pub price: Money,
    /// How it counts.
    pub counted: Counted,
    /// The caller made the person solve a challenge.
    pub challenged: bool,
    /// On the list of what passes caps and detector, or sent with `--override`.
    pub allowed: bool,
}

/// What a message is weighed against.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct States {
    /// Its country.
    pub country: Country,
    /// Its block of numbers.
    pub block: Block,
    /// The installation.
    pub everything: Installation,
}

/// Whether a message may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Pass,
    /// It may once the person has solved a challenge.
    Challenge(Full),
    /// It may not.
    Refuse(Full),
}

/// What was decided, and what follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Whether the message may go out.
    pub verdict: Verdict,
    /// What [`Mode::Enforce`] would have refused it for, where it passes because the mode is [`Mode::Watch`].
    pub would: Option<Full>,
    /// What somebody has to hear of.
    pub alarms: Vec<Raised>,
    /// The states have changed in a way that has to be kept, also where the message is refused.
    pub changed: bool,
}

/// What counting a message has led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// It counts among the countries that are not proven. This is kept with the message.
    pub pooled: bool,
    /// What somebody has to hear of.
    pub alarms: Vec<Raised>,
}

/// What the detector would do.
enum Suspicion {
    None,
    Challenge(Full),
    Refuse(Full),
}

impl States {
    /// Brings everything up to now, and weighs a message. What waits in `money_events` is to be applied before.
    pub fn judge(&mut self, policy: &GuardPolicy, ask: &Ask<'_>) -> Judged {
        self.roll(ask.now);
        self.everything.begin(ask.now);
        let mut judged = Judged { verdict: Verdict::Pass, would: None, alarms: Vec::new(), changed: false };
        if ask.counted == Counted::Free {
            return judged;
        }
        let mode = policy.mode.unwrap_or_else(|| Mode::unset(&self.everything));
        if let Some(full) = self.over_a_ceiling(policy, mode, ask, &mut judged.alarms) {
            judged.verdict = Verdict::Refuse(full);
        } else if mode != Mode::Off && !ask.allowed && ask.counted != Counted::Known {
            self.weigh(policy, mode, ask, &mut judged);
        }
        judged.changed |= !judged.alarms.is_empty();
        judged
    }

    /// Brings everything up to now.
    pub fn roll(&mut self, now: Timestamp) {
        self.country.roll(now);
        self.block.roll(now);
        self.everything.roll(now);
    }

    /// Takes what lies after `now` as if it had happened now: the clock was ahead when it was counted.
    pub fn none_after(&mut self, now: Timestamp) {
        self.country.none_after(now);
        self.block.none_after(now);
        self.everything.none_after(now);
    }

    /// What the operator closed, and what costs too much. Nobody passes these.
    fn over_a_ceiling(
        &mut self,
        policy: &GuardPolicy,
        mode: Mode,
        ask: &Ask<'_>,
        alarms: &mut Vec<Raised>,
    ) -> Option<Full> {
        if policy.country(ask.country).closed {
            return Some(Full { rule: Rule::Closed, used: 0, allowed: 0, room_at: None });
        }
        if let Some(most) = policy.ceilings.message.filter(|most| ask.price > *most) {
            let rule = Rule::MessageCeiling;
            return Some(Full { rule, used: micros(ask.price), allowed: micros(most), room_at: None });
        }
        for mut used in self.everything.ceilings(&policy.ceilings, mode != Mode::Off, ask.now) {
            if !used.configured && (ask.counted == Counted::Known || ask.allowed) {
                used.allowed = caps::day_of_known(used.allowed);
            }
            if used.used.plus(ask.price) > used.allowed {
                if self.everything.is_full_news(used.rule, ask.now) {
                    alarms.push(warning(AlarmKind::Ceiling100, &used));
                }
                let room_at = self.everything.room_at(&used, ask.price, ask.now);
                let (rule, allowed) = (used.rule, micros(used.allowed));
                return Some(Full { rule, used: micros(used.used), allowed, room_at });
            }
        }
        None
    }

    /// The caps and the detector, for messages to strangers and those of which nobody says what becomes of them.
    fn weigh(&mut self, policy: &GuardPolicy, mode: Mode, ask: &Ask<'_>, judged: &mut Judged) {
        let stood = self.country.alarm(ask.now);
        let (country_full, block_full) = (self.country_full(policy, ask), self.block_full(ask, false));
        if let Some(full) = country_full {
            judged.verdict = Verdict::Refuse(full);
            judged.alarms.extend(self.capped(ask, &full));
            self.demand(ask, mode, stood, judged);
            return;
        }
        if ask.counted == Counted::Unknown {
            return;
        }
        // Under an alarm the detector's own cap stands for that of the block: less is allowed, and a challenge may open it.
        let mut suspicion = match stood {
            Some(until) => self.suspicion(ask, until),
            None => Suspicion::None,
        };
        let found = if stood.is_none() && block_full.is_none() { self.country.detector.look(ask.now) } else { None };
        if let Some(found) = found {
            judged.alarms.push(found_words(ask, &found, mode));
            if !self.block.is_proven(ask.now) {
                suspicion = self.suspicion(ask, found.until);
            }
        }
        if mode == Mode::Enforce {
            judged.verdict = match suspicion {
                Suspicion::Challenge(full) if !ask.challenged => Verdict::Challenge(full),
                Suspicion::Refuse(full) => Verdict::Refuse(full),
                _ => block_full.map_or(Verdict::Pass, Verdict::Refuse),
            };
        } else if let Some(full) = block_full {
            judged.verdict = Verdict::Refuse(full);
        } else if let Suspicion::Challenge(full) | Suspicion::Refuse(full) = suspicion {
            judged.would = Some(full);
        }
        if judged.verdict != Verdict::Pass || judged.would.is_some() {
            self.demand(ask, mode, stood, judged);
        }
    }

    /// What is full in the country, or in all that are not proven.
    fn country_full(&self, policy: &GuardPolicy, ask: &Ask<'_>) -> Option<Full> {
        let (own, past, whole) = (policy.country(ask.country), self.country.past(), self.everything.past(ask.now));
        let (open, total) = self.country.counts();
        let floor = caps::floor(ask.price, own);
        let full = |rule, used: u32, allowed: f64| Full {
            rule,
            used: u64::from(used),
            allowed: allowed.ceil() as u64,
            room_at: self.country.room_at(allowed, rule == Rule::CountryTotal),
        };
        let at_most = match ask.counted {
            Counted::Unknown => caps::total_unknown(floor, &past, own),
            _ => caps::total(floor, &past, &whole, own),
        };
        if f64::from(total) >= at_most {
            return Some(full(Rule::CountryTotal, total, at_most));
        }
        if own.cap.is_some() || ask.counted == Counted::Unknown {
            return None;
        }
        let known_block = past.is_proven() && self.block.is_proven(ask.now);
        let at_most = if known_block { caps::open_at_most(floor, &past) } else { caps::open(floor, &past) };
        if f64::from(open) >= at_most {
            return Some(full(Rule::CountryOpen, open, at_most));
        }
        let (pool, pooled) = (caps::pool(&whole), self.everything.pooled());
        if past.is_proven() || open < BESIDE_THE_POOL || pooled.plus(ask.price) <= pool {
            return None;
        }
        let room_at = self.everything.pool_room_at(pool, ask.price);
        Some(Full { rule: Rule::Pool, used: micros(pooled), allowed: micros(pool), room_at })
    }

    fn block_full(&self, ask: &Ask<'_>, is_alarm: bool) -> Option<Full> {
        let cap = self.block.cap(ask.now, is_alarm);
        (self.block.open() >= cap).then(|| Full {
            rule: Rule::Block,
            used: self.block.open().ceil() as u64,
            allowed: cap.ceil() as u64,
            room_at: Some(self.block.room_at(ask.now)),
        })
    }

    /// What a standing alarm does to this message.
    fn suspicion(&self, ask: &Ask<'_>, until: Timestamp) -> Suspicion {
        let Some(full) = self.block_full(ask, true) else { return Suspicion::None };
        let full = Full { rule: Rule::Alarm, room_at: Some(until), ..full };
        if self.country.past().is_proven() { Suspicion::Challenge(full) } else { Suspicion::Refuse(full) }
    }

    /// Asks that are refused under an alarm prolong it: whoever asks so often has not gone.
    fn demand(&mut self, ask: &Ask<'_>, mode: Mode, stood: Option<Timestamp>, judged: &mut Judged) {
        if stood.is_none() {
            return;
        }
        judged.changed = true;
        let usual = self.country.usual_in_an_hour();
        if let Some(found) = self.country.detector.asked(ask.now, usual) {
            let mut raised = found_words(ask, &found, mode);
            raised.words.push_str(" Asks go on, so it was prolonged.");
            raised.cost = ask.price.times(self.country.counts().0);
            judged.alarms.push(raised);
        }
    }

    /// A country that reached its cap, if that is news.
    fn capped(&mut self, ask: &Ask<'_>, full: &Full) -> Option<Raised> {
        let is_news = is_news(self.country.capped_at, ask.now, CAP_REPORTED_FOR_MS);
        is_news.then(|| {
            self.country.capped_at = Some(ask.now.millis());
            let what = match full.rule {
                Rule::Pool => "the countries that are not proven have reached their common cap:",
                _ => "it has reached its cap:",
            };
            let reached = amounts(full);
            Raised {
                kind: AlarmKind::CountryCapped,
                about: ask.country.to_owned(),
                until: None,
                words: format!("{}: {what} {reached}.", name(ask)),
                cost: ask.price.times(self.country.counts().0),
            }
        })
    }

    /// Counts a message that passed.
    pub fn sent(&mut self, policy: &GuardPolicy, ask: &Ask<'_>) -> Sent {
        if ask.counted == Counted::Free {
            return Sent { pooled: false, alarms: Vec::new() };
        }
        let past = self.country.past();
        let pooled = ask.counted == Counted::Stranger && !past.is_proven();
        self.everything.sent(ask.price, pooled);
        let mut alarms = Vec::new();
        let mode = policy.mode.unwrap_or_else(|| Mode::unset(&self.everything));
        for used in self.everything.ceilings(&policy.ceilings, mode != Mode::Off, ask.now) {
            let before = used.used.minus(ask.price);
            let passed = |percent| (before..used.used).contains(&used.allowed.percent(percent).minus(Money(1)));
            let kind = match (passed(80), passed(50) && used.configured) {
                (true, _) => Some(AlarmKind::Ceiling80),
                (_, true) => Some(AlarmKind::Ceiling50),
                _ => None,
            };
            alarms.extend(kind.map(|kind| warning(kind, &used)));
        }
        if ask.counted == Counted::Unknown && past.is_proven() && is_news(self.country.unknown_at, ask.now, i64::MAX) {
            self.country.unknown_at = Some(ask.now.millis());
            alarms.push(Raised {
                kind: AlarmKind::ConversionUnknown,
                about: ask.country.to_owned(),
                until: None,
                words: format!(
                    "{}: a caller declares that it will not say which codes are entered. So far {:.0} % were.",
                    name(ask),
                    100.0 * self.country.usual_conversion()
                ),
                cost: Money::ZERO,
            });
        }
        if ask.counted != Counted::Known {
            self.country.sent(ask.counted);
        }
        if ask.counted == Counted::Stranger {
            self.block.sent(ask.now);
        }
        Sent { pooled, alarms }
    }
}

/// That so much of a ceiling is used.
fn warning(kind: AlarmKind, used: &Used) -> Raised {
    let whose = if used.configured { "" } else { ", which follows from the past" };
    Raised {
        kind,
        about: String::new(),
        until: None,
        words: format!("{} of {} are used of {}{whose}.", used.used, used.allowed, used.rule.what()),
        cost: used.used,
    }
}

fn is_news(before: Option<i64>, now: Timestamp, for_ms: i64) -> bool {
    before.is_none_or(|before| now.millis().saturating_sub(before) >= for_ms)
}

fn micros(amount: Money) -> u64 {
    u64::try_from(amount.0).unwrap_or(0)
}

fn name<'a>(ask: &Ask<'a>) -> &'a str {
    if ask.country.is_empty() { "International networks" } else { ask.country }
}

fn clock(at: Timestamp) -> String {
    let time = at.datetime().time();
    format!("{:02}:{:02} UTC", time.hour(), time.minute())
}

/// `20 of 20`, or `9.60 US$ of 10.00 US$`.
pub fn amounts(full: &Full) -> String {
    let money = |amount: u64| Money(i64::try_from(amount).unwrap_or(i64::MAX));
    match full.rule.in_money() {
        true => format!("{} of {}", money(full.used), money(full.allowed)),
        false => format!("{} of {} messages", full.used, full.allowed),
    }
}

/// A large number with commas: `8,103`.
fn thousands(number: f64) -> String {
    let digits = format!("{:.0}", number.min(1e15));
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What the detector found, in words and numbers.
fn found_words(ask: &Ask<'_>, found: &Found, mode: Mode) -> Raised {
    let minutes = found.at.since(found.since).as_secs().div_ceil(60).max(1);
    let span = match minutes {
        1 => "a minute".to_owned(),
        2..120 => format!("{minutes} minutes"),
        _ => format!("{} hours", minutes / 60),
    };
    let entered = match found.proven {
        0 => "none entered".to_owned(),
        some => format!("{some} entered"),
    };
    let done = match mode {
        Mode::Enforce => format!("New number blocks are refused until {}, longer if it goes on.", clock(found.until)),
        _ => "Nothing is refused for that: the detector only watches (guard = watch).".to_owned(),
    };
    Raised {
        kind: AlarmKind::Detector,
        about: ask.country.to_owned(),
        until: Some(found.until),
        words: format!(
            "{}: {} codes in {span}, {entered}; usual is {:.0} %. Odds 1 : {} that this is chance. {done}",
            name(ask),
            found.sent,
            100.0 * found.usual,
            thousands(found.odds)
        ),
        cost: ask.price.times(found.sent.saturating_sub(found.proven)),
    }
}
