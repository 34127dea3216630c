//! The limits: exact sliding windows over small logs, one log per subject and kind.
//!
//! A log is a list of moments; a window of `max` per `per` is full while `max` of them are younger than `per`. So there are
//! never more than `max` in *any* window, and what a check costs is bounded by `max`, not by the tables.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::subject::SubjectKind;
pub use crate::usage::Window;
use crate::usage::{self, Fill, PurposeUsage, Usage};

/// Every limit that an operator may set. Defaults: see each field.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Pause after the 1st, 2nd, ... message to the same phone for the same purpose: 30, 60, 120, 300, 600, 1800 s.
    pub cooldown: Vec<Duration>,
    /// Messages per phone, all purposes: 3 in 10 min, 5 in 1 h, 10 in 24 h.
    pub phone: Vec<Window>,
    /// Messages per user: 5 in 1 h, 10 in 24 h.
    pub user: Vec<Window>,
    /// Distinct phones per user: 3 in 24 h.
    pub user_phones: Window,
    /// Messages per client address (IPv4 whole, IPv6 by /64): 10 in 1 h, 30 in 24 h.
    pub ip: Vec<Window>,
    /// Distinct phones per client address: 5 in 1 h.
    pub ip_phones: Window,
    /// Messages per client network (IPv4 /24, IPv6 /48): 50 in 1 h, 150 in 24 h. May refuse a little early, never late.
    pub network: Vec<Window>,
    /// Messages in all: 1000 in 1 h, 10000 in 24 h. May refuse a little early, never late.
    pub everything: Vec<Window>,
    /// Refusals by the provider, per phone: 5 in 1 h.
    pub refused_phone: Window,
    /// Refusals by the provider, per user, client address or token: 20 in 1 h.
    pub refused_other: Window,
    /// Wrong guesses that one code survives: 5.
    pub guesses_per_otp: u32,
    /// Wrong guesses per phone and purpose across codes; full, it stops new codes: 15 in 24 h.
    pub guesses_per_phone: Window,
    /// Wrong guesses per client address: 30 in 1 h.
    pub guesses_per_ip: Window,
    /// Wrong guesses in a row without one success per user and phone, after which only `limits reset` opens it: 100
    /// (NIST SP 800-63B-4 §3.2.2).
    pub guesses_in_a_row: u32,
}

impl Default for Limits {
    fn default() -> Self {
        const HOUR: u64 = 3600;
        const DAY: u64 = 24 * HOUR;
        Limits {
            cooldown: [30, 60, 120, 300, 600, 1800].map(Duration::from_secs).to_vec(),
            phone: vec![Window::new(3, 600), Window::new(5, HOUR), Window::new(10, DAY)],
            user: vec![Window::new(5, HOUR), Window::new(10, DAY)],
            user_phones: Window::new(3, DAY),
            ip: vec![Window::new(10, HOUR), Window::new(30, DAY)],
            ip_phones: Window::new(5, HOUR),
            network: vec![Window::new(50, HOUR), Window::new(150, DAY)],
            everything: vec![Window::new(1000, HOUR), Window::new(10_000, DAY)],
            refused_phone: Window::new(5, HOUR),
            refused_other: Window::new(20, HOUR),
            guesses_per_otp: 5,
            guesses_per_phone: Window::new(15, DAY),
            guesses_per_ip: Window::new(30, HOUR),
            guesses_in_a_row: 100,
        }
    }
}

/// The limits by their names.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::IntoStaticStr,
    strum::EnumString,
    strum::VariantArray,
    strum::Display,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Limit {
    /// The pause after a message.
    Cooldown,
    /// Messages per phone.
    Phone,
    /// Messages per user.
    User,
    /// Distinct phones per user.
    UserPhones,
    /// Messages per client address.
    Ip,
    /// Distinct phones per client address.
    IpPhones,
    /// Messages per client network.
    Network,
    /// Messages in all.
    Everything,
    /// Refusals by the provider.
    Refused,
    /// Wrong guesses.
    Guesses,
}

impl Limit {
    /// All limits, in the order in which they are shown.
    pub const ALL: &[Limit] = <Limit as strum::VariantArray>::VARIANTS;
    /// The name that `--override`, settings and answers use.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The limit with that name.
    pub fn parse(name: &str) -> Option<Limit> {
        name.parse().ok()
    }

    /// True where staff may let one message through. Spent guesses are opened by a reset alone: a code that could not be
    /// verified is not worth sending.
    pub fn can_be_overridden(self) -> bool {
        self != Limit::Guesses
    }
}

/// A full limit: which it is, how full, and when to come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hit {
    /// The limit.
    pub limit: Limit,
    /// What it counts.
    pub subject: SubjectKind,
    /// How many are allowed.
    pub max: u32,
    /// In how many seconds.
    pub window_seconds: u64,
    /// How many count now.
    pub used: u32,
    /// In how many whole seconds, rounded up, there is room again; `None`: only `limits reset` makes room.
    pub retry_after_seconds: Option<u64>,
}

/// The usages that a send is weighed against, by role. What does not apply is `None`.
#[derive(Clone, Copy, Debug)]
pub struct SendUsages<'a> {
    /// The phone's.
    pub phone: &'a Usage,
    /// The phone's short subject id, for counting distinct phones.
    pub phone_short: &'a str,
    /// The purpose.
    pub purpose: &'a str,
    /// The user's with that phone: guesses in a row.
    pub pair: &'a Usage,
    /// The user's; none for the empty user.
    pub user: Option<&'a Usage>,
    /// The client address's.
    pub ip: Option<&'a Usage>,
    /// The client network's.
    pub network: Option<&'a Usage>,
    /// Everyone's, or one shard of it.
    pub everything: Option<&'a Usage>,
    /// Which shard of everyone's that is, of how many: (0, 1) for the whole.
    pub shard: (u32, u32),
    /// The caller vouches for the user (guess budgets of their own).
    pub known: bool,
}

impl Limits {
    /// Every full limit that forbids one more message now. Empty: go ahead.
    pub fn hits(&self, who: &SendUsages<'_>, now: Timestamp) -> Vec<Hit> {
        let mut hits = Vec::new();
        let mut weigh = |limit: Limit, subject: SubjectKind, window: Window, fill: Fill| {
            if let Some(wait) = fill.wait {
                hits.push(Hit::new(limit, subject, window, Fill { used: fill.used, wait: Some(wait) }));
            }
        };
        let purpose = who.phone.purpose(who.purpose);
        if let Some((window, fill)) = self.cooldown(purpose, now) {
            weigh(Limit::Cooldown, SubjectKind::Phone, window, fill);
        }
        for window in &self.phone {
            weigh(Limit::Phone, SubjectKind::Phone, *window, who.phone.sends_in(*window, now));
        }
        weigh(
            Limit::Refused,
            SubjectKind::Phone,
            self.refused_phone,
            usage::fill(&who.phone.refused, self.refused_phone, now),
        );
        if let Some(purpose) = purpose {
            let guesses = if who.known { &purpose.known_guesses } else { &purpose.guesses };
            weigh(
                Limit::Guesses,
                SubjectKind::Phone,
                self.guesses_per_phone,
                usage::fill(guesses, self.guesses_per_phone, now),
            );
        }
        if let Some(user) = who.user {
            for window in &self.user {
                weigh(Limit::User, SubjectKind::User, *window, user.sends_in(*window, now));
            }
            let phones = user.other_phones_in(self.user_phones, who.phone_short, now);
            weigh(Limit::UserPhones, SubjectKind::User, self.user_phones, phones);
            weigh(
                Limit::Refused,
                SubjectKind::User,
                self.refused_other,
                usage::fill(&user.refused, self.refused_other, now),
            );
        }
        if let Some(ip) = who.ip {
            for window in &self.ip {
                weigh(Limit::Ip, SubjectKind::Ip, *window, ip.sends_in(*window, now));
            }
            weigh(
                Limit::IpPhones,
                SubjectKind::Ip,
                self.ip_phones,
                ip.other_phones_in(self.ip_phones, who.phone_short, now),
            );
            weigh(
                Limit::Refused,
                SubjectKind::Ip,
                self.refused_other,
                usage::fill(&ip.refused, self.refused_other, now),
            );
            // No message for a code that could not be verified from here.
            weigh(
                Limit::Guesses,
                SubjectKind::Ip,
                self.guesses_per_ip,
                usage::fill(&ip.guesses, self.guesses_per_ip, now),
            );
        }
        for (limit, subject, usage, windows, shard) in [
            (Limit::Network, SubjectKind::Network, who.network, &self.network, (0, 1)),
            (Limit::Everything, SubjectKind::Everything, who.everything, &self.everything, who.shard),
        ] {
            for window in windows {
                if let Some(usage) = usage {
                    let part = window.shard(shard);
                    let Fill { used, wait } = usage.slots_in(part, now);
                    // Whoever is told of a full shard has found the others full as well.
                    weigh(limit, subject, *window, Fill { used: used.saturating_add(window.max - part.max), wait });
                }
            }
        }
        hits.extend(self.closed(who.pair, who.known));
        hits
    }

    /// The budget of guesses in a row, if it is spent: only `limits reset` opens it.
    pub fn closed(&self, pair: &Usage, known: bool) -> Option<Hit> {
        let used = if known { pair.known_in_a_row } else { pair.in_a_row };
        let window = Window { max: self.guesses_in_a_row, per: Duration::ZERO };
        (used >= self.guesses_in_a_row)
            .then(|| Hit::new(Limit::Guesses, SubjectKind::User, window, Fill { used, wait: None }))
    }

    /// The pause after the last message, if it is not over: after n messages the n-th rung of the ladder.
    pub(crate) fn cooldown(&self, purpose: Option<&PurposeUsage>, now: Timestamp) -> Option<(Window, Fill)> {
        let asked = self.rungs(purpose, now);
        let last = Timestamp(*asked.last()?);
        let rung = *self.cooldown.get(asked.len() - 1).or(self.cooldown.last())?;
        let wait = (last + rung).since(now);
        let used = u32::try_from(asked.len()).unwrap_or(u32::MAX);
        (!wait.is_zero()).then_some((Window { max: 1, per: rung }, Fill { used, wait: Some(wait) }))
    }

    /// The messages that count as rungs: none after a quiet day.
    fn rungs<'a>(&self, purpose: Option<&'a PurposeUsage>, now: Timestamp) -> &'a [i64] {
        let asked = purpose.map_or(&[][..], |purpose| &purpose.asked);
        match asked.last() {
            Some(last) if now.since(Timestamp(*last)) < QUIET => asked,
            _ => &[],
        }
    }

    /// Records one rung.
    pub fn count_cooldown(&self, purpose: &mut PurposeUsage, now: Timestamp) {
        if self.rungs(Some(purpose), now).is_empty() {
            purpose.asked.clear();
        }
        purpose.asked.push(now.millis());
        let surplus = purpose.asked.len().saturating_sub(self.cooldown.len().max(1));
        purpose.asked.drain(..surplus);
    }

    /// The longest span that any limit looks back over: what a usage has to remember.
    pub fn longest(&self) -> Duration {
        let single = [
            self.user_phones,
            self.ip_phones,
            self.refused_phone,
            self.refused_other,
            self.guesses_per_phone,
            self.guesses_per_ip,
        ];
        let lists = [&self.phone, &self.user, &self.ip, &self.network, &self.everything];
        let windows = single.iter().chain(lists.into_iter().flatten());
        windows.map(|window| window.per).chain([QUIET]).max().unwrap_or(QUIET)
    }

    /// The windows of a user's messages, distinct phones included: what the log has to hold.
    pub fn user_windows(&self) -> Vec<Window> {
        self.user.iter().copied().chain([self.user_phones]).collect()
    }

    /// The windows of a client address's messages, distinct phones included.
    pub fn ip_windows(&self) -> Vec<Window> {
        self.ip.iter().copied().chain([self.ip_phones]).collect()
    }
}

impl Hit {
    /// A hit of `limit`, which counts `subject`.
    pub fn new(limit: Limit, subject: SubjectKind, window: Window, fill: Fill) -> Hit {
        let seconds = |wait: Duration| u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
        Hit {
            limit,
            subject,
            max: window.max,
            window_seconds: window.per.as_secs(),
            used: fill.used,
            retry_after_seconds: fill.wait.map(seconds),
        }
    }

    /// For how long one audit row tells of a limit that is full: its window, or a day where it has none.
    pub fn remembered(&self) -> Duration {
        if self.window_seconds == 0 { QUIET } else { Duration::from_secs(self.window_seconds) }
    }

    /// What is full, in words.
    pub fn message(&self) -> String {
        let whom = match self.subject {
            SubjectKind::Everything => "all phones together".to_owned(),
            subject => format!("this {subject}"),
        };
        let (used, max, window) = (self.used, self.max, span(self.window_seconds));
        match (self.limit, self.retry_after_seconds) {
            (Limit::Cooldown, _) => {
                format!("a message went to {whom} a moment ago; the pause is {} s", self.window_seconds)
            }
            (Limit::Guesses, None) => {
                format!("{used} wrong codes in a row were given for {whom}; it stays closed until it is reset")
            }
            (Limit::Guesses, _) => format!("{used} wrong codes were given for {whom} in {window}"),
            (Limit::UserPhones | Limit::IpPhones, _) => {
                format!("{whom} has asked for {used} other phones; {max} are allowed in {window}")
            }
            (Limit::Refused, _) => format!("the provider refused {used} messages of {whom} in {window}"),
            _ => format!("{used} of {max} messages in {window} are used up for {whom}"),
        }
    }

    /// What to do about it, for whoever reads it: a person at a terminal or the developer of a client.
    pub fn hint(&self) -> String {
        if self.limit.can_be_overridden() {
            format!("Staff can let one through: smsotp send --override {} --reason TEXT", self.limit)
        } else {
            "Staff can open it: smsotp limits reset PHONE --reason TEXT".to_owned()
        }
    }
}

/// A span in the largest whole unit.
fn span(seconds: u64) -> String {
    match seconds {
        s if s > 0 && s % 86_400 == 0 => format!("{} d", s / 86_400),
        s if s > 0 && s % 3600 == 0 => format!("{} h", s / 3600),
        s if s > 0 && s % 60 == 0 => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}

/// After a quiet day the cooldown begins at its first rung again.
pub const QUIET: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    fn usages<'a>(phone: &'a Usage, pair: &'a Usage) -> SendUsages<'a> {
        SendUsages {
            phone,
            phone_short: "a",
            purpose: "login",
            pair,
            user: None,
            ip: None,
            network: None,
            everything: None,
            shard: (0, 1),
            known: false,
        }
    }

    #[test]
    fn the_cooldown_climbs_its_ladder_and_stays_on_the_last_rung() {
        let limits = Limits { phone: vec![], ..Limits::default() };
        let (mut phone, pair, mut now) = (Usage::default(), Usage::default(), Timestamp(1_000_000));
        for rung in [30, 60, 120, 300, 600, 1800, 1800, 1800] {
            limits.count_cooldown(phone.purpose_mut("login"), now);
            let early = now + Duration::from_millis(rung * 1000 - 1);
            let hits = limits.hits(&usages(&phone, &pair), early);
            assert_eq!(hits.len(), 1, "rung {rung}");
            assert_eq!(hits[0].retry_after_seconds, Some(1));
            now = now + Duration::from_secs(rung);
            assert_eq!(limits.hits(&usages(&phone, &pair), now), [], "rung {rung}");
        }
        limits.count_cooldown(phone.purpose_mut("login"), now + QUIET);
        assert_eq!(phone.purpose("login").unwrap().asked.len(), 1, "a quiet day starts over");
    }

    #[test]
    fn guesses_close_new_codes_and_a_hundred_in_a_row_close_all() {
        let limits = Limits::default();
        let (mut phone, mut pair, now) = (Usage::default(), Usage::default(), Timestamp(1_000_000));
        for _ in 0..15 {
            usage::count(&mut phone.purpose_mut("login").guesses, limits.guesses_per_phone, now);
        }
        assert_eq!(limits.hits(&usages(&phone, &pair), now)[0].limit, Limit::Guesses);
        assert_eq!(limits.hits(&SendUsages { known: true, ..usages(&phone, &pair) }, now), []);
        pair.in_a_row = 100;
        let hits = limits.hits(&usages(&Usage::default(), &pair), now);
        assert_eq!((hits[0].limit, hits[0].retry_after_seconds), (Limit::Guesses, None));
    }

    const NOW: Timestamp = Timestamp(1_699_999_980_000);
    const THREE: Window = Window::new(3, 3600);

    /// Everybody whose usage a send is weighed against.
    #[derive(Default)]
    struct Everybody {
        phone: Usage,
        pair: Usage,
        user: Usage,
        ip: Usage,
        network: Usage,
        everything: Usage,
    }

    impl Everybody {
        fn hits(&self, limits: &Limits, shard: (u32, u32), known: bool) -> Vec<Hit> {
            let who = SendUsages {
                user: Some(&self.user),
                ip: Some(&self.ip),
                network: Some(&self.network),
                everything: Some(&self.everything),
                shard,
                known,
                ..usages(&self.phone, &self.pair)
            };
            limits.hits(&who, NOW)
        }
    }

    fn three_of_each() -> Limits {
        Limits {
            cooldown: Vec::new(),
            phone: vec![THREE],
            user: vec![THREE],
            user_phones: THREE,
            ip: vec![THREE],
            ip_phones: THREE,
            network: vec![THREE],
            everything: vec![THREE],
            refused_phone: THREE,
            refused_other: THREE,
            guesses_per_otp: 3,
            guesses_per_phone: THREE,
            guesses_per_ip: THREE,
            guesses_in_a_row: 3,
        }
    }

    /// Something that happens `nth` to one of them.
    type Event = fn(who: &mut Everybody, nth: u32);

    #[test]
    fn each_limit_is_full_at_its_max_and_not_before_and_counts_its_own_subject() {
        fn send(usage: &mut Usage, to: &str) {
            usage.count_send(NOW, to, &[THREE]);
        }
        let events: [(Limit, SubjectKind, Event); 13] = [
            (Limit::Phone, SubjectKind::Phone, |who, _| send(&mut who.phone, "")),
            (Limit::Refused, SubjectKind::Phone, |who, _| who.phone.refused.push(NOW.millis())),
            (Limit::Guesses, SubjectKind::Phone, |who, _| who.phone.purpose_mut("login").guesses.push(NOW.millis())),
            (Limit::User, SubjectKind::User, |who, _| send(&mut who.user, "a")),
            (Limit::UserPhones, SubjectKind::User, |who, nth| {
                who.user.sends.push(usage::Entry(NOW.millis(), format!("b{nth}")));
            }),
            (Limit::Refused, SubjectKind::User, |who, _| who.user.refused.push(NOW.millis())),
            (Limit::Ip, SubjectKind::Ip, |who, _| send(&mut who.ip, "a")),
            (Limit::IpPhones, SubjectKind::Ip, |who, nth| {
                who.ip.sends.push(usage::Entry(NOW.millis(), format!("b{nth}")));
            }),
            (Limit::Refused, SubjectKind::Ip, |who, _| who.ip.refused.push(NOW.millis())),
            (Limit::Guesses, SubjectKind::Ip, |who, _| who.ip.guesses.push(NOW.millis())),
            (Limit::Network, SubjectKind::Network, |who, _| who.network.count_slot(NOW, &[THREE])),
            (Limit::Everything, SubjectKind::Everything, |who, _| who.everything.count_slot(NOW, &[THREE])),
            (Limit::Guesses, SubjectKind::User, |who, _| who.pair.in_a_row += 1),
        ];
        for (limit, subject, event) in events {
            // Distinct phones are messages as well, and not what this is about.
            let wide = vec![Window::new(9, 3600)];
            let limits = match limit {
                Limit::UserPhones => Limits { user: wide, ..three_of_each() },
                Limit::IpPhones => Limits { ip: wide, ..three_of_each() },
                _ => three_of_each(),
            };
            let mut who = Everybody::default();
            for nth in 0..3 {
                assert_eq!(who.hits(&limits, (0, 1), false), [], "{limit} of {subject} after {nth}");
                event(&mut who, nth);
            }
            let (window_seconds, wait) = match (limit, subject) {
                (Limit::Guesses, SubjectKind::User) => (0, None),
                // Until the whole slot of a sixtieth has left the window.
                (Limit::Network | Limit::Everything, _) => (3600, Some(3660)),
                _ => (3600, Some(3600)),
            };
            let full = Hit { limit, subject, max: 3, window_seconds, used: 3, retry_after_seconds: wait };
            assert_eq!(who.hits(&limits, (0, 1), false), [full]);
        }
    }

    #[test]
    fn whoever_is_vouched_for_has_budgets_of_guesses_of_their_own() {
        let mut who = Everybody::default();
        who.phone.purpose_mut("login").known_guesses = vec![NOW.millis(); 3];
        assert_eq!(who.hits(&three_of_each(), (0, 1), false), []);
        assert_eq!(who.hits(&three_of_each(), (0, 1), true)[0].limit, Limit::Guesses);
        let mut who = Everybody::default();
        who.pair.known_in_a_row = 3;
        assert_eq!(who.hits(&three_of_each(), (0, 1), false), []);
        assert_eq!(who.hits(&three_of_each(), (0, 1), true)[0].retry_after_seconds, None);
        // Another purpose's guesses are another budget.
        let mut who = Everybody::default();
        who.phone.purpose_mut("registration").guesses = vec![NOW.millis(); 3];
        assert_eq!(who.hits(&three_of_each(), (0, 1), false), []);
    }

    #[test]
    fn a_full_shard_counts_the_others_as_full() {
        let ten = Window::new(10, 3600);
        let limits = Limits { everything: vec![ten], ..three_of_each() };
        let mut who = Everybody::default();
        assert_eq!(ten.shard((1, 4)).max, 3);
        for _ in 0..2 {
            who.everything.count_slot(NOW, &[ten]);
        }
        assert_eq!(who.hits(&limits, (1, 4), false), []);
        who.everything.count_slot(NOW, &[ten]);
        let hits = who.hits(&limits, (1, 4), false);
        assert_eq!((hits[0].limit, hits[0].max, hits[0].used), (Limit::Everything, 10, 10));
    }

    #[test]
    fn a_quiet_day_ends_the_cooldown_to_the_millisecond() {
        let limits = Limits { cooldown: vec![QUIET * 2], ..three_of_each() };
        let mut purpose = PurposeUsage::default();
        limits.count_cooldown(&mut purpose, NOW);
        let almost = NOW + QUIET - Duration::from_millis(1);
        let (window, fill) = limits.cooldown(Some(&purpose), almost).unwrap();
        assert_eq!((window, fill.used), (Window { max: 1, per: QUIET * 2 }, 1));
        assert_eq!(fill.wait, Some(QUIET + Duration::from_millis(1)));
        assert_eq!(limits.cooldown(Some(&purpose), NOW + QUIET), None);
        assert_eq!(QUIET.as_secs(), 86_400);
        assert_eq!(limits.cooldown(None, NOW), None);
    }

    #[test]
    fn no_more_steps_of_the_cooldown_are_kept_than_there_are() {
        let mut purpose = PurposeUsage::default();
        let limits = Limits { cooldown: [1, 2, 3].map(Duration::from_secs).to_vec(), ..three_of_each() };
        for n in 0..5 {
            limits.count_cooldown(&mut purpose, NOW + Duration::from_secs(n));
        }
        assert_eq!(purpose.asked, [2, 3, 4].map(|n| NOW.millis() + n * 1000));
        three_of_each().count_cooldown(&mut purpose, NOW + Duration::from_secs(5));
        assert_eq!(purpose.asked, [NOW.millis() + 5000], "the last message, although there is no cooldown");
    }

    #[test]
    fn a_usage_remembers_as_long_as_the_longest_window_looks_back() {
        assert_eq!(three_of_each().longest(), QUIET);
        let week = Window::new(1, 7 * 86_400);
        for longer in [
            Limits { phone: vec![THREE, week], ..three_of_each() },
            Limits { network: vec![week], ..three_of_each() },
            Limits { refused_other: week, ..three_of_each() },
            Limits { guesses_per_ip: week, ..three_of_each() },
        ] {
            assert_eq!(longer.longest(), week.per);
        }
        let limits = Limits { user_phones: week, ip_phones: Window::new(2, 60), ..three_of_each() };
        assert_eq!(limits.user_windows(), [THREE, week]);
        assert_eq!(limits.ip_windows(), [THREE, Window::new(2, 60)]);
    }

    #[test]
    fn limits_have_names_and_guesses_alone_cannot_be_set_aside() {
        for &limit in Limit::ALL {
            assert_eq!(Limit::parse(limit.as_str()), Some(limit));
            assert_eq!(limit.to_string(), limit.as_str());
            assert_eq!(limit.can_be_overridden(), limit != Limit::Guesses);
        }
        assert_eq!(Limit::parse("none"), None);
    }

    #[test]
    fn a_hit_says_what_is_full_in_words() {
        let hit = |limit, subject, per, wait| {
            let window = Window { max: 3, per: Duration::from_secs(per) };
            Hit::new(limit, subject, window, Fill { used: 4, wait })
        };
        let wait = Some(Duration::from_millis(1001));
        let says = |limit, subject, per| hit(limit, subject, per, wait).message();
        for (message, words) in [
            (says(Limit::Phone, SubjectKind::Phone, 600), "4 of 3 messages in 10 min are used up for this phone"),
            (says(Limit::Everything, SubjectKind::Everything, 7200), "in 2 h are used up for all phones together"),
            (
                says(Limit::Cooldown, SubjectKind::Phone, 90),
                "a message went to this phone a moment ago; the pause is 90 s",
            ),
            (says(Limit::UserPhones, SubjectKind::User, 86_400), "has asked for 4 other phones; 3 are allowed in 1 d"),
            (says(Limit::IpPhones, SubjectKind::Ip, 61), "has asked for 4 other phones; 3 are allowed in 61 s"),
            (says(Limit::Refused, SubjectKind::Phone, 3600), "the provider refused 4 messages of this phone in 1 h"),
            (says(Limit::Guesses, SubjectKind::Phone, 0), "4 wrong codes were given for this phone in 0 s"),
            (
                hit(Limit::Guesses, SubjectKind::User, 0, None).message(),
                "4 wrong codes in a row were given for this user",
            ),
        ] {
            assert!(message.contains(words), "{message}");
        }
        // Rounded up: whoever waits for so long does not come too early.
        assert_eq!(hit(Limit::Phone, SubjectKind::Phone, 600, wait).retry_after_seconds, Some(2));
        assert!(hit(Limit::Phone, SubjectKind::Phone, 600, wait).hint().contains("--override phone"));
        assert!(hit(Limit::Guesses, SubjectKind::Phone, 600, wait).hint().contains("limits reset"));
    }
}
