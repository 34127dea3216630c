//! What the database remembers of one subject: the moments that its limits count.
//!
//! A usage is small by construction: no list is longer than its largest window's `max` (where phones are counted, and two
//! messages for each of them), so what a check costs does not depend on how much the subject, or anyone else, ever did.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use litemap::LiteMap;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::abuse;
use crate::clock::Timestamp;
use crate::error;

/// At most `max` events in any span of `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// How many.
    pub max: u32,
    /// In how long.
    pub per: Duration,
}

impl Window {
    /// `max` in any span of `seconds`.
    pub const fn new(max: u32, seconds: u64) -> Window {
        Window { max, per: Duration::from_secs(seconds) }
    }

    /// The most events that any span of this length can hold.
    pub fn most_in(self, span: Duration) -> u64 {
        let windows = span.as_millis().div_ceil(self.per.as_millis().max(1));
        u64::from(self.max).saturating_mul(u64::try_from(windows).unwrap_or(u64::MAX))
    }
}

/// As the settings take it: `3/10m`; a number alone where no time opens it again.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.per.is_zero() { write!(f, "{}", self.max) } else { write!(f, "{}/{}", self.max, span(self.per)) }
    }
}

/// A time in the largest unit that leaves no rest, as the settings take it: `1d`, `90m`, `30s`.
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (length, unit) = [(86_400, "d"), (3600, "h"), (60, "m")]
        .into_iter()
        .find(|(length, _)| seconds >= *length && seconds.is_multiple_of(*length))
        .unwrap_or((1, "s"));
    format!("{}{unit}", seconds / length)
}

/// For how long a user counts as one who verified a phone: 90 days.
pub const VERIFIED_FOR: Duration = Duration::from_secs(90 * 24 * 3600);

/// What is counted for one subject. Every list is oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Messages, with whom they went to where distinct phones are counted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sends: Vec<Entry>,
    /// Messages of a wide subject, by slots.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub slots: Vec<Slots>,
    /// Messages that the provider refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<i64>,
    /// Wrong guesses: of a phone and of a user with a phone those at live codes, by strangers; of a client address and of an
    /// access token all that opened nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub guesses: Vec<i64>,
    /// Wrong guesses at live codes of a phone and of a user with a phone, by callers whom a service vouched for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub known_guesses: Vec<i64>,
    /// What is counted for a phone by purpose.
    #[serde(skip_serializing_if = "LiteMap::is_empty")]
    pub purposes: LiteMap<String, PurposeUsage>,
    /// Wrong guesses in a row of a user and phone, by strangers.
    #[serde(skip_serializing_if = "is_zero")]
    pub in_a_row: u32,
    /// Wrong guesses in a row of a user and phone, by callers whom a service vouched for.
    #[serde(skip_serializing_if = "is_zero")]
    pub known_in_a_row: u32,
    /// When the user last verified the phone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<i64>,
    /// When a phone was last proven: a code that was sent to it was entered, or the caller vouched for it otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proven_at: Option<i64>,
    /// Messages to a phone since then that nobody proved.
    #[serde(skip_serializing_if = "is_zero")]
    pub unproven: u32,
    /// When the recipient opted out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opted_out_at: Option<i64>,
    /// Answers "no" that the audit log records once in a while, and how often they were given since.
    #[serde(skip_serializing_if = "LiteMap::is_empty")]
    pub refusals: LiteMap<String, Refusals>,
    /// The recipient's STOPs and STARTs, oldest first: each counts once, however often it comes in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<Text>,
    /// A country as the guard knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<Box<abuse::Country>>,
    /// A block of numbers as the guard knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block: Option<abuse::Block>,
    /// The installation as the guard knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub everything: Option<Box<abuse::Installation>>,
    /// The newest moment seen: a subject's time never runs back.
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub seen: i64,
}

/// One kind of "no" that is counted instead of recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusals(
    /// When the audit log last recorded it, in milliseconds.
    pub i64,
    /// How often it was given after that.
    pub u32,
);

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry(
    /// When, in milliseconds.
    pub i64,
    /// To which phone, as the start of its subject id; empty where nobody counts phones.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub String,
);

/// A STOP or START of the recipient's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text(
    /// When it came in first, in milliseconds.
    pub i64,
    /// The start of a keyed tag of the provider's id of it.
    pub String,
);

/// So many STOPs and STARTs of a phone are remembered.
pub const TEXTS_MAX: usize = 64;

/// For so long: Twilio itself keeps its messages for 400 days.
pub const TEXTS_KEPT: Duration = Duration::from_secs(400 * 86_400);

/// What is counted for a phone and one purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PurposeUsage {
    /// Messages since the last success or quiet day: the rungs of the cooldown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<i64>,
    /// Messages, where the purpose has windows of its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sends: Vec<i64>,
}

/// Counts per slot of a window: `SLOTS` slots to a window, so a wide limit may refuse up to one slot early, never late.
///
/// The database keeps the length of one; then for each slot how many slots after the one before it, and its count. A wide subject
/// is written with every message, so its row has to fit into its page.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Packed")]
pub struct Slots {
    /// The length of one slot in milliseconds.
    pub slot_ms: i64,
    /// (start of the slot, how many), oldest first.
    pub counts: Vec<(i64, u32)>,
}

impl Serialize for Slots {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        struct Gaps<'a>(i64, &'a [(i64, u32)]);
        impl Serialize for Gaps<'_> {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                let mut before = 0;
                to.collect_seq(self.1.iter().flat_map(|(start, count)| {
                    let nth = start.div_euclid(self.0);
                    let gap = nth - std::mem::replace(&mut before, nth);
                    [gap, i64::from(*count)]
                }))
            }
        }
        let slot_ms = self.slot_ms.max(1);
        (slot_ms, Gaps(slot_ms, &self.counts)).serialize(to)
    }
}

#[derive(Deserialize)]
struct Packed(i64, #[serde(deserialize_with = "pairs")] Vec<(i64, u32)>);

/// Reads gaps and counts, which take turns.
fn pairs<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(i64, u32)>, D::Error> {
    struct Pairs;
    impl<'de> Visitor<'de> for Pairs {
        type Value = Vec<(i64, u32)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of gaps and counts")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            // A window, the slot that is half over, and the one that begins.
            let mut pairs = Vec::with_capacity(SLOTS as usize + 2);
            while let Some(gap) = list.next_element()? {
                let count = list.next_element()?.ok_or_else(|| A::Error::custom("a slot without its count"))?;
                pairs.push((gap, count));
            }
            Ok(pairs)
        }
    }
    from.deserialize_seq(Pairs)
}

impl TryFrom<Packed> for Slots {
    type Error = &'static str;

    fn try_from(Packed(slot_ms, mut counts): Packed) -> Result<Slots, Self::Error> {
        let mut nth = 0i64;
        for (place, _) in &mut counts {
            nth = nth.checked_add(*place).ok_or("slots beyond all time")?;
            *place = nth.checked_mul(slot_ms).ok_or("slots beyond all time")?;
        }
        Ok(Slots { slot_ms, counts })
    }
}

/// How long the past of a country and of the installation is remembered after the last message: of a best day 0.97⁴⁰⁰ is left then,
/// which is nothing.
pub const PAST_KEPT: Duration = Duration::from_secs(400 * 24 * 3600);

/// How long a block of numbers is remembered after the last message: for as long as a proof there counts.
pub const BLOCK_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long wrong guesses in a row that closed nothing are remembered after the last one. In any year the streak then
/// holds at least all of that year's.
pub const STREAK_KEPT: Duration = Duration::from_secs(366 * 24 * 3600);

/// Whether so many wrong guesses in a row close verification for good, which `closing` do; 0: none do.
fn is_closed(streak: u32, closing: u32) -> bool {
    closing > 0 && streak >= closing
}

/// How many slots a wide window is cut into.
pub const SLOTS: u64 = 60;

/// How full a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// How many events count at this moment.
    pub used: u32,
    /// If it is full: how long until there is room again.
    pub wait: Option<Duration>,
}

impl Usage {
    /// True where nothing is left that a limit could count: such a row may be purged.
    pub fn is_empty(&self) -> bool {
        Usage { seen: 0, ..self.clone() } == Usage::default()
    }

    /// What outlives a person who is forgotten: that they opted out, with the texts that said so, or an old one could be replayed.
    pub fn outliving(&self) -> Option<Usage> {
        let Usage { opted_out_at, texts, seen, .. } = self;
        opted_out_at.map(|_| Usage {
            opted_out_at: *opted_out_at,
            texts: texts.clone(),
            seen: *seen,
            ..Usage::default()
        })
    }

    /// From when on this memory decides nothing any more; `None` while it holds something that only a success, a reset or a
    /// change of mind ends. `closing`: so many wrong guesses in a row close verification for good; 0: none do.
    pub fn idle_at(&self, longest: Duration, closing: u32) -> Option<Timestamp> {
        let streak = self.in_a_row.max(self.known_in_a_row);
        let lasting = is_closed(streak, closing) || self.opted_out_at.is_some();
        let kept = if streak > 0 { STREAK_KEPT.max(longest) } else { longest };
        let counted = Timestamp(self.seen) + kept;
        let proofs = self.verified_at.into_iter().chain(self.proven_at);
        let idle_at = proofs.map(|at| Timestamp(at) + VERIFIED_FOR).fold(counted, Timestamp::max);
        let heard = self.texts.last().map_or(Timestamp(0), |text| Timestamp(text.0) + TEXTS_KEPT);
        let of_block = self.block.as_ref().map(|_| BLOCK_KEPT);
        let of_guard = self.country.as_ref().map(|_| ()).or(self.everything.as_ref().map(|_| ())).map(|()| PAST_KEPT);
        let guarded = of_block.into_iter().chain(of_guard).map(|kept| Timestamp(self.seen) + kept);
        (!lasting).then_some(guarded.fold(idle_at.max(heard), Timestamp::max))
    }

    /// Forgets wrong guesses in a row that closed nothing and are older than a year, as a purge does: so a purge
    /// changes no answer.
    pub fn forget_streak(&mut self, now: Timestamp, closing: u32) {
        if !is_closed(self.in_a_row.max(self.known_in_a_row), closing) && now.since(Timestamp(self.seen)) >= STREAK_KEPT
        {
            (self.in_a_row, self.known_in_a_row) = (0, 0);
        }
    }

    /// Counts a "no". Answers how many were given since the audit log recorded one, where it has to record this one:
    /// the first in any span of `per`.
    pub fn count_refusal(&mut self, what: &str, per: Duration, now: Timestamp) -> Option<u32> {
        let counted = self.refusals.get(what).copied();
        match counted.filter(|Refusals(recorded, _)| now < Timestamp(*recorded) + per) {
            Some(Refusals(recorded, count)) => {
                self.refusals.insert(what.to_owned(), Refusals(recorded, count.saturating_add(1)));
                None
            }
            None => {
                self.refusals.insert(what.to_owned(), Refusals(now.millis(), 0));
                Some(counted.map_or(0, |Refusals(_, count)| count))
            }
        }
    }

    /// True where the user verified the phone not long ago.
    pub fn verified_lately(&self, now: Timestamp) -> bool {
        self.verified_at.is_some_and(|at| now < Timestamp(at) + VERIFIED_FOR)
    }

    /// The phone was proven: a code that was sent to it was entered, or the caller vouched for it otherwise.
    pub fn prove(&mut self, now: Timestamp) {
        (self.proven_at, self.unproven) = (Some(now.millis()), 0);
    }

    /// The wrong guesses of those whom a service vouched for, or of the others.
    pub fn guesses_by(&self, known: bool) -> &[i64] {
        if known { &self.known_guesses } else { &self.guesses }
    }

    /// Records a wrong guess of those whom a service vouched for, or of the others.
    pub fn count_guess(&mut self, known: bool, windows: &[Window], now: Timestamp) {
        count(if known { &mut self.known_guesses } else { &mut self.guesses }, windows, now);
    }

    /// Takes what lies after `now` as if it had happened now: the clock was ahead when it was recorded. It still counts.
    pub fn none_after(&mut self, now: Timestamp) {
        let now = now.millis();
        let of_purposes = self.purposes.iter_mut().flat_map(|(_, purpose)| [&mut purpose.asked, &mut purpose.sends]);
        let lists = of_purposes.chain([&mut self.refused, &mut self.guesses, &mut self.known_guesses]);
        lists.flatten().for_each(|at| *at = now.min(*at));
        self.refusals.iter_mut().for_each(|(_, Refusals(recorded, _))| *recorded = now.min(*recorded));
        self.sends.iter_mut().for_each(|entry| entry.0 = now.min(entry.0));
        let moments = [&mut self.verified_at, &mut self.proven_at, &mut self.opted_out_at];
        moments.into_iter().flatten().for_each(|at| *at = now.min(*at));
        self.texts.iter_mut().for_each(|text| text.0 = now.min(text.0));
        if let Some(country) = &mut self.country {
            country.none_after(Timestamp(now));
        }
        if let Some(block) = &mut self.block {
            block.none_after(Timestamp(now));
        }
        if let Some(everything) = &mut self.everything {
            everything.none_after(Timestamp(now));
        }
        self.seen = now.min(self.seen);
        for slots in &mut self.slots {
            let latest = now - now.rem_euclid(slots.slot_ms);
            let ahead = slots.counts.split_off(slots.counts.partition_point(|(start, _)| *start < latest));
            let sum = ahead.iter().fold(0u32, |sum, (_, n)| sum.saturating_add(*n));
            slots.counts.extend((sum > 0).then_some((latest, sum)));
        }
    }

    /// Remembers a STOP or START, and forgets those that are too old or too many.
    pub fn note_text(&mut self, now: Timestamp, tag: &str) {
        let from = (now - TEXTS_KEPT).millis();
        self.texts.retain(|text| text.0 > from);
        self.texts.push(Text(now.millis(), tag.to_owned()));
        self.texts.drain(..self.texts.len().saturating_sub(TEXTS_MAX));
    }

    /// Whether a STOP or START came in after a moment.
    pub fn has_texted_since(&self, at: Timestamp) -> bool {
        self.texts.last().is_some_and(|text| text.0 > at.millis())
    }

    /// As the database keeps it.
    ///
    /// # Errors
    /// `BUG`; numbers and strings always have a JSON form.
    pub fn to_json(&self) -> error::Result<String> {
        // Room for nearly all: what is written with every operation should not grow its way.
        let mut text = Vec::with_capacity(512);
        let bug = || error::Error::new(error::Code::BUG, "a usage cannot be written");
        serde_json::to_writer(&mut text, self).map_err(|error| bug().because(error))?;
        String::from_utf8(text).map_err(|error| bug().because(error))
    }

    /// Notes a moment: a subject's time never runs back.
    pub fn saw(&mut self, now: Timestamp) {
        self.seen = self.seen.max(now.millis());
    }

    /// What is counted for one purpose, if anything is.
    pub fn purpose(&self, name: &str) -> Option<&PurposeUsage> {
        self.purposes.get(name)
    }

    /// What is counted for one purpose, made if there is nothing yet.
    pub fn purpose_mut(&mut self, name: &str) -> &mut PurposeUsage {
        self.purposes.entry(name.to_owned()).or_default()
    }

    /// Records a message in the narrow log and forgets what no window counts any more.
    pub fn count_send(&mut self, now: Timestamp, to: &str, windows: &[Window]) {
        self.sends.push(Entry(now.millis(), to.to_owned()));
        let (most, longest) = extent(windows);
        let from = (now - longest).millis();
        self.sends.retain(|entry| entry.0 > from);
        let surplus = self.sends.len().saturating_sub(most);
        if surplus == 0 {
            return;
        }
        // Many messages to one phone must not push another phone out of a window that counts phones. Two of each stay,
        // because the last one may be given back.
        let mut later: BTreeMap<String, u32> = BTreeMap::new();
        let mut place = self.sends.len();
        let mut kept: Vec<Entry> = Vec::with_capacity(self.sends.len());
        for entry in self.sends.drain(..).rev() {
            place -= 1;
            let newer = later.entry(entry.1.clone()).or_default();
            if place >= surplus || !entry.1.is_empty() && *newer < 2 {
                kept.push(entry.clone());
            }
            *newer += 1;
        }
        kept.reverse();
        self.sends = kept;
    }

    /// Records a message of a wide subject.
    pub fn count_slot(&mut self, now: Timestamp, windows: &[Window]) {
        for (nth, window) in windows.iter().enumerate() {
            let slot_ms = slot_ms(*window);
            // Two limits over the same span share one list.
            if windows[..nth].iter().any(|earlier| self::slot_ms(*earlier) == slot_ms) {
                continue;
            }
            let start = now.millis() - now.millis().rem_euclid(slot_ms);
            let index = self.slots.iter().position(|s| s.slot_ms == slot_ms).unwrap_or_else(|| {
                self.slots.push(Slots { slot_ms, counts: Vec::new() });
                self.slots.len() - 1
            });
            let slots = &mut self.slots[index];
            match slots.counts.last_mut() {
                Some(last) if last.0 >= start => last.1 += 1,
                _ => slots.counts.push((start, 1)),
            }
            let from = (now - window.per).millis();
            slots.counts.retain(|(start, _)| start + slot_ms > from);
        }
        self.slots.retain(|s| windows.iter().any(|w| slot_ms(*w) == s.slot_ms));
    }

    /// Gives one message back that surely was not sent.
    pub fn give_back_send(&mut self, at: Timestamp) {
        if let Some(index) = self.sends.iter().rposition(|entry| entry.0 == at.millis()) {
            self.sends.remove(index);
        }
    }

    /// How full a narrow window of messages is.
    pub fn sends_in(&self, window: Window, now: Timestamp) -> Fill {
        fill_of(&self.sends, |entry| entry.0, window, now)
    }

    /// How full a wide window of messages is.
    pub fn slots_in(&self, window: Window, now: Timestamp) -> Fill {
        if window.max == 0 {
            return Fill { used: 0, wait: Some(window.per) };
        }
        let slot_ms = slot_ms(window);
        let Some(slots) = self.slots.iter().find(|s| s.slot_ms == slot_ms) else { return Fill { used: 0, wait: None } };
        let from = (now - window.per).millis();
        let live = || slots.counts.iter().filter(|(start, _)| start + slot_ms > from);
        let used = live().fold(0u32, |sum, (_, n)| sum.saturating_add(*n));
        if used < window.max {
            return Fill { used, wait: None };
        }
        // Room comes when enough of the oldest slots have left the window.
        let mut left = used;
        let mut end = now.millis();
        for (start, n) in live() {
            left = left.saturating_sub(*n);
            end = start + slot_ms;
            if left < window.max {
                break;
            }
        }
        Fill { used, wait: Some((Timestamp(end) + window.per).since(now).max(Duration::from_millis(1))) }
    }

    /// How many distinct phones besides `to` a window holds, and when the first of them leaves it.
    pub fn other_phones_in(&self, window: Window, to: &str, now: Timestamp) -> Fill {
        let from = (now - window.per).millis();
        let mut newest: BTreeMap<&str, i64> = BTreeMap::new();
        for Entry(at, whom) in self.sends.iter().filter(|entry| entry.0 > from && entry.1 != to && !entry.1.is_empty())
        {
            newest.insert(whom, *at);
        }
        let used = u32::try_from(newest.len()).unwrap_or(u32::MAX);
        let mut moments: Vec<i64> = newest.into_values().collect();
        moments.sort_unstable();
        Fill { used, wait: fill(&moments, window, now).wait }
    }
}

/// How full a window over a list of moments (oldest first) is. A moment counts while it is younger than the window.
pub fn fill(moments: &[i64], window: Window, now: Timestamp) -> Fill {
    fill_of(moments, |at| *at, window, now)
}

fn fill_of<A>(events: &[A], at: impl Fn(&A) -> i64, window: Window, now: Timestamp) -> Fill {
    let from = (now - window.per).millis();
    let live = &events[events.partition_point(|event| at(event) <= from)..];
    let used = u32::try_from(live.len()).unwrap_or(u32::MAX);
    let max = usize::try_from(window.max).unwrap_or(usize::MAX);
    if live.len() < max {
        return Fill { used, wait: None };
    }
    if max == 0 {
        return Fill { used, wait: Some(window.per) };
    }
    let leaves = Timestamp(at(&live[live.len() - max])) + window.per;
    Fill { used, wait: Some(leaves.since(now).max(Duration::from_millis(1))) }
}

/// Adds a moment to a list and forgets what no window counts any more.
pub fn count(moments: &mut Vec<i64>, windows: &[Window], now: Timestamp) {
    moments.push(now.millis());
    let (most, longest) = extent(windows);
    let from = (now - longest).millis();
    moments.retain(|at| *at > from);
    moments.drain(..moments.len().saturating_sub(most));
}

/// Takes one moment out of a list, if it is there.
pub fn take_out(moments: &mut Vec<i64>, at: Timestamp) {
    if let Some(index) = moments.iter().rposition(|moment| *moment == at.millis()) {
        moments.remove(index);
    }
}

fn extent(windows: &[Window]) -> (usize, Duration) {
    let most = windows.iter().map(|w| w.max).max().unwrap_or(0);
    let longest = windows.iter().map(|w| w.per).max().unwrap_or_default();
    (usize::try_from(most).unwrap_or(usize::MAX).max(1), longest)
}

fn slot_ms(window: Window) -> i64 {
    i64::try_from(window.per.as_millis() / u128::from(SLOTS)).unwrap_or(i64::MAX).max(1)
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

fn is_zero_i64(n: &i64) -> bool {
    *n == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const W: Window = Window::new(5, 3600);

    proptest! {
        /// Whoever asks whenever, no span of the window's length ever holds more than `max` recorded events.
        #[test]
        fn no_window_ever_holds_more_than_its_max(gaps in prop::collection::vec(0i64..2_000_000, 1..400), max in 1u32..8) {
            let windows = [Window::new(max, 3600), Window::new(max + 3, 7200)];
            let (mut usage, mut now, mut recorded) = (Usage::default(), Timestamp(1_000_000_000_000), Vec::new());
            for gap in gaps {
                now = Timestamp(now.millis() + gap);
                if windows.iter().all(|w| usage.sends_in(*w, now).wait.is_none()) {
                    usage.count_send(now, "", &windows);
                    recorded.push(now.millis());
                }
            }
            for w in windows {
                let per = i64::try_from(w.per.as_millis()).unwrap();
                for (i, from) in recorded.iter().enumerate() {
                    let inside = recorded[i..].iter().take_while(|at| **at < from + per).count();
                    prop_assert!(inside <= w.max as usize);
                }
            }
        }

        /// A wide window may refuse up to a slot early, never late; and its memory is bounded.
        #[test]
        fn a_wide_window_never_refuses_late(gaps in prop::collection::vec(0i64..200_000, 1..600)) {
            let w = [Window::new(20, 3600)];
            let (mut usage, mut now, mut recorded) = (Usage::default(), Timestamp(1_000_000_000_000), Vec::new());
            for gap in gaps {
                now = Timestamp(now.millis() + gap);
                if usage.slots_in(w[0], now).wait.is_none() {
                    usage.count_slot(now, &w);
                    recorded.push(now.millis());
                }
                prop_assert!(usage.slots.iter().all(|s| s.counts.len() <= 62));
            }
            for (i, from) in recorded.iter().enumerate() {
                let inside = recorded[i..].iter().take_while(|at| **at < from + 3_600_000).count();
                prop_assert!(inside <= 20);
            }
        }

        /// The database gives back what was recorded, and a day of messages fits into a page of them.
        #[test]
        fn slots_are_kept_as_they_are(gaps in prop::collection::vec(0i64..3_000_000, 0..200)) {
            let windows = [Window::new(1000, 3600), Window::new(10_000, 86_400)];
            let (mut usage, mut now) = (Usage::default(), Timestamp(1_700_000_000_000));
            for gap in gaps {
                now = Timestamp(now.millis() + gap);
                usage.count_slot(now, &windows);
                usage.saw(now);
            }
            let text = serde_json::to_string(&usage).unwrap();
            prop_assert_eq!(serde_json::from_str::<Usage>(&text).unwrap(), usage);
            prop_assert!(text.len() < 900, "{}", text.len());
        }

        /// The wait that a refusal names is enough, and a millisecond less is not.
        #[test]
        fn the_wait_is_exact(mut moments in prop::collection::vec(0i64..3_600_000, 5..12)) {
            moments.sort_unstable();
            let now = Timestamp(3_600_000);
            if let Some(wait) = fill(&moments, W, now).wait {
                prop_assert!(fill(&moments, W, now + wait).wait.is_none());
                prop_assert!(fill(&moments, W, Timestamp((now + wait).millis() - 1)).wait.is_some());
            }
        }
    }

    #[test]
    fn a_given_back_message_leaves_room_for_another() {
        let mut usage = Usage::default();
        for minute in 0..5 {
            usage.count_send(Timestamp(minute * 60_000), "", &[W]);
        }
        let now = Timestamp(300_000);
        assert!(usage.sends_in(W, now).wait.is_some());
        usage.give_back_send(Timestamp(120_000));
        assert!(usage.sends_in(W, now).wait.is_none());
    }

    #[test]
    fn slots_that_cannot_be_are_refused() {
        for bad in
            ["[60000,[1]]", "[60000,[1,-1]]", "[60000,[1,4294967296]]", "[60000,[9223372036854775807,1]]", "[60000]"]
        {
            assert!(serde_json::from_str::<Slots>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_window_of_nothing_is_always_full() {
        assert!(fill(&[], Window::new(0, 60), Timestamp(0)).wait.is_some());
        assert!(Usage::default().slots_in(Window::new(0, 60), Timestamp(0)).wait.is_some());
    }

    #[test]
    fn distinct_phones_are_counted_once_and_the_one_at_hand_not_at_all() {
        let w = Window::new(3, 86_400);
        let mut usage = Usage::default();
        for (i, whom) in ["a", "b", "a", "c"].into_iter().enumerate() {
            usage.count_send(Timestamp(i64::try_from(i).unwrap() * 1000), whom, &[w, Window::new(10, 86_400)]);
        }
        assert_eq!(usage.other_phones_in(w, "d", Timestamp(5000)).used, 3);
        assert!(usage.other_phones_in(w, "d", Timestamp(5000)).wait.is_some());
        assert_eq!(usage.other_phones_in(w, "a", Timestamp(5000)).used, 2);
        assert!(usage.other_phones_in(w, "a", Timestamp(5000)).wait.is_none());
    }

    #[test]
    fn an_old_ledger_is_read_although_new_fields_came() {
        let old: Usage = serde_json::from_str(r#"{"sends":[[5],[6,"ab"]],"tomorrow":1}"#).unwrap();
        assert_eq!(old.sends, [Entry(5, String::new()), Entry(6, "ab".into())]);
    }

    const NOW: Timestamp = Timestamp(1_699_999_980_000);

    #[test]
    fn a_moment_counts_while_it_is_younger_than_the_window() {
        let minute = Window::new(1, 60);
        let at = |ms| Timestamp(NOW.millis() + ms);
        let moments = [NOW.millis()];
        assert_eq!(fill(&moments, minute, at(59_999)), Fill { used: 1, wait: Some(Duration::from_millis(1)) });
        assert_eq!(fill(&moments, minute, at(60_000)), Fill { used: 0, wait: None });
        // Of more than are allowed, because fewer are allowed now, all but one have to leave.
        let three = [0, 10_000, 20_000].map(|ms| NOW.millis() + ms);
        assert_eq!(fill(&three, Window::new(2, 60), at(20_000)).wait, Some(Duration::from_secs(50)));
        assert_eq!(fill(&three, Window::new(0, 60), at(20_000)), Fill { used: 3, wait: Some(Duration::from_secs(60)) });
        // A clock that was ahead does not make a wait of nothing.
        assert_eq!(fill(&moments, Window::new(1, 0), at(-1)).wait, Some(Duration::from_millis(1)));
    }

    #[test]
    fn a_list_of_moments_keeps_what_its_window_counts() {
        let mut moments = Vec::new();
        for second in 0..5 {
            count(&mut moments, &[Window::new(3, 60)], NOW + Duration::from_secs(second));
        }
        assert_eq!(moments, [2000, 3000, 4000].map(|ms| NOW.millis() + ms));
        count(&mut moments, &[Window::new(3, 60)], NOW + Duration::from_secs(63));
        assert_eq!(moments, [4000, 63_000].map(|ms| NOW.millis() + ms), "what is as old as the window is forgotten");
        count(&mut moments, &[Window::new(0, 60)], NOW + Duration::from_secs(64));
        assert_eq!(moments, [NOW.millis() + 64_000], "the last one, although none is allowed");
        let mut twice = vec![1, 2, 2, 3];
        take_out(&mut twice, Timestamp(2));
        take_out(&mut twice, Timestamp(9));
        assert_eq!(twice, [1, 2, 3]);
    }

    #[test]
    fn a_log_of_messages_keeps_what_its_longest_window_counts_and_two_of_each_phone() {
        let windows = [Window::new(2, 60), Window::new(3, 120)];
        let mut usage = Usage::default();
        for (second, to) in [(0, "a"), (1, "a"), (2, "b"), (3, "b"), (4, "b"), (5, "b")] {
            usage.count_send(NOW + Duration::from_secs(second), to, &windows);
        }
        let kept: Vec<(i64, &str)> =
            usage.sends.iter().map(|entry| ((entry.0 - NOW.millis()) / 1000, entry.1.as_str())).collect();
        assert_eq!(kept, [(0, "a"), (1, "a"), (3, "b"), (4, "b"), (5, "b")]);
        usage.count_send(NOW + Duration::from_secs(121), "c", &windows);
        let kept: Vec<i64> = usage.sends.iter().map(|entry| (entry.0 - NOW.millis()) / 1000).collect();
        assert_eq!(kept, [4, 5, 121], "what is as old as the longest window is forgotten");

        let mut nameless = Usage::default();
        for second in 0..5 {
            nameless.count_send(NOW + Duration::from_secs(second), "", &windows);
        }
        assert_eq!(nameless.sends.len(), 3, "where nobody counts phones");
        assert_eq!(nameless.sends_in(windows[1], NOW + Duration::from_secs(4)).used, 3);
        nameless.count_send(NOW + Duration::from_secs(5), "", &[]);
        assert_eq!(nameless.sends.len(), 0, "no window, nothing to remember");
    }

    #[test]
    fn a_message_is_given_back_once() {
        let mut usage = Usage::default();
        let window = [Window::new(9, 60)];
        for (at, to) in [(NOW, "a"), (NOW, "b"), (NOW + Duration::from_secs(1), "c")] {
            usage.count_send(at, to, &window);
        }
        usage.give_back_send(NOW);
        usage.give_back_send(NOW + Duration::from_secs(7));
        let left: Vec<&str> = usage.sends.iter().map(|entry| entry.1.as_str()).collect();
        assert_eq!(left, ["a", "c"], "the newest of those of that moment");
    }

    #[test]
    fn slots_count_by_sixtieths_and_leave_the_window_whole() {
        let (hour, day) = (Window::new(3, 3600), Window::new(5, 86_400));
        let mut usage = Usage::default();
        for second in [0, 59, 60] {
            usage.count_slot(NOW + Duration::from_secs(second), &[hour, day, Window::new(4, 3600)]);
        }
        let start = NOW.millis();
        assert_eq!(usage.slots.len(), 2, "two limits over the same span share one list");
        assert_eq!(usage.slots[0], Slots { slot_ms: 60_000, counts: vec![(start, 2), (start + 60_000, 1)] });
        assert_eq!(usage.slots[1].slot_ms, 1_440_000);
        // Full; room comes when the first slot, which ends a minute after its start, has left the window.
        let at = |second| NOW + Duration::from_secs(second);
        assert_eq!(usage.slots_in(hour, at(60)), Fill { used: 3, wait: Some(Duration::from_secs(3600)) });
        assert_eq!(usage.slots_in(hour, at(3660) - Duration::from_millis(1)).wait, Some(Duration::from_millis(1)));
        assert_eq!(usage.slots_in(hour, at(3660)), Fill { used: 1, wait: None });
        assert_eq!(usage.slots_in(Window::new(1, 3600), at(60)).wait, Some(Duration::from_secs(3660)));
        assert_eq!(usage.slots_in(day, at(60)), Fill { used: 3, wait: None });
        assert_eq!(
            usage.slots_in(Window::new(1, 60), at(60)),
            Fill { used: 0, wait: None },
            "nobody counted that span"
        );
        // Forgotten when the next one is counted.
        usage.count_slot(at(3660), &[hour]);
        assert_eq!(usage.slots, [Slots { slot_ms: 60_000, counts: vec![(start + 60_000, 1), (start + 3_660_000, 1)] }]);
        // A clock that steps back counts in the newest slot.
        usage.count_slot(at(3000), &[hour]);
        assert_eq!(usage.slots[0].counts.last(), Some(&(start + 3_660_000, 2)));
    }

    #[test]
    fn a_usage_is_idle_when_its_newest_moment_is_older_than_every_window() {
        let mut usage = Usage::default();
        assert!(usage.is_empty());
        usage.saw(NOW);
        usage.saw(NOW - Duration::from_secs(1));
        assert_eq!(usage.seen, NOW.millis(), "its time never runs back");
        assert!(usage.is_empty(), "nothing that a limit could count");
        let hour = Duration::from_secs(3600);
        assert_eq!(usage.idle_at(hour, 5), Some(NOW + hour));
        let lasting: [fn(&mut Usage); 3] =
            [|usage| usage.in_a_row = 5, |usage| usage.known_in_a_row = 5, |usage| usage.opted_out_at = Some(1)];
        for lasts in lasting {
            let mut usage = usage.clone();
            lasts(&mut usage);
            assert_eq!((usage.idle_at(hour, 5), usage.is_empty()), (None, false));
        }
    }

    #[test]
    fn guesses_in_a_row_that_closed_nothing_are_forgotten_after_a_year_and_those_that_closed_never() {
        let hour = Duration::from_secs(3600);
        for (in_a_row, known_in_a_row) in [(4, 0), (0, 4), (4, 4)] {
            let usage = Usage { in_a_row, known_in_a_row, seen: NOW.millis(), ..Usage::default() };
            assert_eq!(usage.idle_at(hour, 5), Some(NOW + STREAK_KEPT));
            let (mut before, mut after) = (usage.clone(), usage);
            before.forget_streak(NOW + STREAK_KEPT - Duration::from_millis(1), 5);
            after.forget_streak(NOW + STREAK_KEPT, 5);
            assert_eq!((before.is_empty(), after.is_empty()), (false, true));
        }
        let mut closed = Usage { in_a_row: 5, known_in_a_row: 1, seen: NOW.millis(), ..Usage::default() };
        closed.forget_streak(NOW + STREAK_KEPT * 10, 5);
        assert_eq!((closed.in_a_row, closed.known_in_a_row), (5, 1));
    }

    #[test]
    fn a_refusal_is_recorded_once_in_a_span_and_counted_after_that() {
        let (mut usage, span) = (Usage::default(), Duration::from_secs(60));
        let count = |usage: &mut Usage, what, after| usage.count_refusal(what, span, NOW + Duration::from_secs(after));
        assert_eq!(count(&mut usage, "phone", 0), Some(0));
        for after in [0, 1, 59] {
            assert_eq!(count(&mut usage, "phone", after), None);
        }
        assert_eq!(count(&mut usage, "ip", 1), Some(0), "each limit for itself");
        assert_eq!(count(&mut usage, "phone", 60), Some(3), "and then of how many there were");
        assert_eq!(count(&mut usage, "phone", 200), Some(0));
        assert_eq!(Usage { seen: 0, ..usage.clone() }.to_json().unwrap().matches("phone").count(), 1);
        assert_eq!(serde_json::from_str::<Usage>(&usage.to_json().unwrap()).unwrap(), usage);
    }

    #[test]
    fn the_newest_texts_are_remembered_for_as_long_as_they_can_be_replayed() {
        let (mut usage, longest) = (Usage::default(), Duration::from_secs(86_400));
        let begun = Timestamp(1_700_000_000_000);
        assert!(!usage.has_texted_since(Timestamp(0)));
        for nth in 0..70_u64 {
            usage.note_text(begun + Duration::from_secs(nth), &format!("{nth:016x}"));
        }
        let last = begun + Duration::from_secs(69);
        assert_eq!(usage.texts.len(), TEXTS_MAX);
        assert_eq!((usage.texts[0].1.as_str(), usage.texts[63].0), (&*format!("{:016x}", 6), last.millis()));
        assert!(usage.has_texted_since(last - Duration::from_millis(1)) && !usage.has_texted_since(last));
        assert_eq!(usage.idle_at(longest, 5), Some(last + TEXTS_KEPT), "a purge does not forget them sooner");
        assert_eq!(Usage { opted_out_at: Some(1), ..usage.clone() }.idle_at(longest, 5), None);
        usage.note_text(last + TEXTS_KEPT, "new");
        assert_eq!(usage.texts.len(), 1);
        let read: Usage = serde_json::from_str(&usage.to_json().unwrap()).unwrap();
        assert_eq!(read, usage);
    }

    #[test]
    fn a_proof_of_a_phone_is_kept_for_as_long_as_it_makes_it_known() {
        let proven = Usage { proven_at: Some(NOW.millis()), unproven: 2, seen: NOW.millis(), ..Usage::default() };
        assert_eq!(proven.idle_at(Duration::from_secs(60), 5), Some(NOW + VERIFIED_FOR));
        assert!(!proven.is_empty());
        assert_eq!(serde_json::from_str::<Usage>(&proven.to_json().unwrap()).unwrap(), proven);
        let (mut ahead, now) = (proven, NOW - Duration::from_secs(1));
        ahead.none_after(now);
        assert_eq!((ahead.proven_at, ahead.unproven), (Some(now.millis()), 2), "it still counts");
    }

    #[test]
    fn what_is_empty_takes_no_room() {
        assert_eq!(Usage::default().to_json().unwrap(), "{}");
        let mut usage = Usage { in_a_row: 1, known_in_a_row: 2, opted_out_at: Some(3), seen: 4, ..Usage::default() };
        usage.sends = vec![Entry(5, String::new()), Entry(6, "ab".into())];
        (usage.refused, usage.guesses) = (vec![7], vec![8]);
        *usage.purpose_mut("login") = PurposeUsage { asked: vec![9], sends: vec![10] };
        (usage.known_guesses, usage.verified_at) = (vec![11], Some(12));
        usage.purpose_mut("registration");
        let text = usage.to_json().unwrap();
        assert!(text.contains("\"registration\":{}") && text.contains("[5]"), "{text}");
        assert_eq!(serde_json::from_str::<Usage>(&text).unwrap(), usage);
        assert_eq!(usage.purpose("login").unwrap().asked, [9]);
        assert_eq!(usage.purpose("haircut"), None);
    }

    #[test]
    fn phones_that_nobody_named_are_not_counted_and_the_newest_message_to_each_is_what_counts() {
        let window = Window::new(2, 60);
        let mut usage = Usage::default();
        for (second, to) in [(0, "a"), (10, ""), (20, "b"), (30, "a")] {
            usage.count_send(NOW + Duration::from_secs(second), to, &[Window::new(9, 600)]);
        }
        let at = |second| NOW + Duration::from_secs(second);
        assert_eq!(usage.other_phones_in(window, "c", at(40)), Fill { used: 2, wait: Some(Duration::from_secs(40)) });
        assert_eq!(usage.other_phones_in(window, "c", at(80)), Fill { used: 1, wait: None }, "b has left");
        assert_eq!(usage.other_phones_in(window, "", at(40)).used, 2);
    }
}
