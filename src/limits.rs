//! The limits: exact sliding windows over small logs, one log per subject and kind.
//!
//! A log is a list of moments; a window of `max` per `per` is full while `max` of them are younger than `per`. So there are
//! never more than `max` in *any* window, and what a check costs is bounded by `max`, not by the tables.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::subject::SubjectKind;
pub use crate::usage::Window;
use crate::usage::{self, Fill, PurposeUsage, Usage};

/// Every limit that an operator may set. Defaults: see each field. An empty list or a zero is a limit that is off.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Pause after the 1st, 2nd, ... message to the same phone for the same purpose: 30, 60, 120, 300, 600, 1800 s.
    pub cooldown: Vec<Duration>,
    /// Messages per phone, all purposes: 3 in 10 min, 5 in 1 h, 10 in 24 h.
    pub phone: Vec<Window>,
    /// Messages per user: 5 in 1 h, 10 in 24 h.
    pub user: Vec<Window>,
    /// Distinct phones per user: 3 in 24 h.
    pub user_phones: Vec<Window>,
    /// Messages per client address (IPv4 whole, IPv6 by /64): 10 in 1 h, 30 in 24 h.
    pub ip: Vec<Window>,
    /// Distinct phones per client address: 5 in 1 h.
    pub ip_phones: Vec<Window>,
    /// Messages per client network (IPv4 /24, IPv6 /48): 50 in 1 h, 150 in 24 h. May refuse a little early, never late.
    pub network: Vec<Window>,
    /// Messages in all: 1000 in 1 h, 10000 in 24 h. May refuse a little early, never late.
    pub everything: Vec<Window>,
    /// Refusals by the provider, per phone: 5 in 1 h.
    pub refused_phone: Vec<Window>,
    /// Refusals by the provider, per user or client address: 20 in 1 h.
    pub refused_other: Vec<Window>,
    /// Wrong guesses that one code survives: 5.
    pub guesses_per_otp: u32,
    /// Wrong guesses at live codes of a user and phone, all purposes; full, it stops new codes: 15 in 24 h.
    pub guesses_per_user: Vec<Window>,
    /// Wrong guesses at live codes of a phone, all users and purposes; full, it stops new codes for users who did not verify the
    /// phone in the last 90 days, and guesses at a test number's code: 15 in 24 h.
    pub guesses_per_phone: Vec<Window>,
    /// Codes that opened nothing, per client address: 30 in 1 h.
    pub guesses_per_ip: Vec<Window>,
    /// Codes that opened nothing, per access token of a user: 30 in 1 h. A service's token speaks for many, and has none.
    pub guesses_per_token: Vec<Window>,
    /// Wrong guesses at live codes in a row without one success per user and phone, after which only `limits reset` opens it: 100
    /// (NIST SP 800-63B-4 §3.2.2).
    pub guesses_in_a_row: u32,
    /// What a purpose has of its own, by its name.
    pub purposes: BTreeMap<String, PurposeLimits>,
}

/// The limits that a purpose may have of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PurposeLimits {
    /// In place of [`field@Limits::cooldown`].
    pub cooldown: Option<Vec<Duration>>,
    /// Messages per phone for this purpose alone, besides [`Limits::phone`].
    pub phone: Vec<Window>,
    /// In place of [`Limits::guesses_per_otp`].
    pub guesses_per_otp: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        const HOUR: u64 = 3600;
        const DAY: u64 = 24 * HOUR;
        Limits {
            cooldown: [30, 60, 120, 300, 600, 1800].map(Duration::from_secs).to_vec(),
            phone: vec![Window::new(3, 600), Window::new(5, HOUR), Window::new(10, DAY)],
            user: vec![Window::new(5, HOUR), Window::new(10, DAY)],
            user_phones: vec![Window::new(3, DAY)],
            ip: vec![Window::new(10, HOUR), Window::new(30, DAY)],
            ip_phones: vec![Window::new(5, HOUR)],
            network: vec![Window::new(50, HOUR), Window::new(150, DAY)],
            everything: vec![Window::new(1000, HOUR), Window::new(10_000, DAY)],
            refused_phone: vec![Window::new(5, HOUR)],
            refused_other: vec![Window::new(20, HOUR)],
            guesses_per_otp: 5,
            guesses_per_user: vec![Window::new(15, DAY)],
            guesses_per_phone: vec![Window::new(15, DAY)],
            guesses_per_ip: vec![Window::new(30, HOUR)],
            guesses_per_token: vec![Window::new(30, HOUR)],
            guesses_in_a_row: 100,
            purposes: BTreeMap::new(),
        }
    }
}

/// The limits by their names: those of their settings, of `limits show` and of `--override` alike.
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
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
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
    /// Refusals by the provider, per phone.
    RefusedPhone,
    /// Refusals by the provider, per user or client address.
    RefusedOther,
    /// Wrong guesses at one code.
    GuessesPerOtp,
    /// Wrong guesses per user and phone.
    GuessesPerUser,
    /// Wrong guesses per phone.
    GuessesPerPhone,
    /// Wrong guesses per client address.
    GuessesPerIp,
    /// Wrong guesses per access token of a user.
    GuessesPerToken,
    /// Wrong guesses in a row per user and phone.
    GuessesInARow,
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

    /// True for those that count wrong guesses.
    pub fn is_of_guesses(self) -> bool {
        use Limit::{GuessesInARow, GuessesPerIp, GuessesPerOtp, GuessesPerPhone, GuessesPerToken, GuessesPerUser};
        matches!(
            self,
            GuessesPerOtp | GuessesPerUser | GuessesPerPhone | GuessesPerIp | GuessesPerToken | GuessesInARow
        )
    }

    /// True where staff may let one message through. Spent guesses are opened by a reset alone: a code that could not be
    /// verified is not worth sending.
    pub fn can_be_overridden(self) -> bool {
        !self.is_of_guesses()
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
    /// The purpose; `None`: the message carries no code, so no cooldown and no budget of guesses is asked.
    pub purpose: Option<&'a str>,
    /// The user's with that phone; none where there is no code.
    pub pair: Option<&'a Usage>,
    /// The user's; none for the empty user.
    pub user: Option<&'a Usage>,
    /// The client address's.
    pub ip: Option<&'a Usage>,
    /// The client network's.
    pub network: Option<&'a Usage>,
    /// Everyone's.
    pub everything: Option<&'a Usage>,
    /// The caller vouches for the user (guess budgets of their own).
    pub known: bool,
    /// There is to be a new code: spent guesses do not stop the live one from going out again.
    pub new_code: bool,
    /// The phone's guesses do not stop this user: they verified it not long ago.
    pub verified: bool,
}

impl Limits {
    /// Every full limit that forbids one more message now. Empty: go ahead.
    pub fn hits(&self, who: &SendUsages<'_>, now: Timestamp) -> Vec<Hit> {
        use SubjectKind::{Everything, Ip, Network, Pair, Phone, User};
        let mut hits = Vec::new();
        let mut weigh = |limit: Limit, subject, windows: &[Window], fill: &dyn Fn(Window) -> Fill| {
            let full = windows.iter().map(|window| (*window, fill(*window))).filter(|(_, fill)| fill.wait.is_some());
            hits.extend(full.map(|(window, fill)| Hit::new(limit, subject, window, fill)));
        };
        if let Some(name) = who.purpose
            && let Some((window, fill)) = self.cooldown(name, who.phone.purpose(name), now)
        {
            weigh(Limit::Cooldown, Phone, &[window], &|_| fill);
        }
        weigh(Limit::Phone, Phone, &self.phone, &|window| who.phone.sends_in(window, now));
        if let Some(name) = who.purpose
            && let (Some(own), Some(purpose)) = (self.purposes.get(name), who.phone.purpose(name))
        {
            weigh(Limit::Phone, Phone, &own.phone, &|window| usage::fill(&purpose.sends, window, now));
        }
        weigh(Limit::RefusedPhone, Phone, &self.refused_phone, &|window| usage::fill(&who.phone.refused, window, now));
        if let Some(pair) = who.pair.filter(|_| who.new_code) {
            let guesses = |usage: &Usage, window| usage::fill(usage.guesses_by(who.known), window, now);
            weigh(Limit::GuessesPerUser, Pair, &self.guesses_per_user, &|window| guesses(pair, window));
            if !who.verified {
                weigh(Limit::GuessesPerPhone, Phone, &self.guesses_per_phone, &|window| guesses(who.phone, window));
            }
        }
        if let Some(user) = who.user {
            weigh(Limit::User, User, &self.user, &|window| user.sends_in(window, now));
            let others = |window| user.other_phones_in(window, who.phone_short, now);
            weigh(Limit::UserPhones, User, &self.user_phones, &others);
            weigh(Limit::RefusedOther, User, &self.refused_other, &|window| usage::fill(&user.refused, window, now));
        }
        if let Some(ip) = who.ip {
            weigh(Limit::Ip, Ip, &self.ip, &|window| ip.sends_in(window, now));
            let others = |window| ip.other_phones_in(window, who.phone_short, now);
            weigh(Limit::IpPhones, Ip, &self.ip_phones, &others);
            weigh(Limit::RefusedOther, Ip, &self.refused_other, &|window| usage::fill(&ip.refused, window, now));
            // No message for a code that could not be verified from here.
            weigh(Limit::GuessesPerIp, Ip, &self.guesses_per_ip, &|window| usage::fill(&ip.guesses, window, now));
        }
        for (limit, subject, usage, windows) in [
            (Limit::Network, Network, who.network, &self.network),
            (Limit::Everything, Everything, who.everything, &self.everything),
        ] {
            let Some(usage) = usage else { continue };
            weigh(limit, subject, windows, &|window| usage.slots_in(window, now));
        }
        hits.extend(who.pair.and_then(|pair| self.closed(pair, who.known)));
        hits
    }

    /// The budget of guesses in a row, if it is spent: only `limits reset` opens it.
    pub fn closed(&self, pair: &Usage, known: bool) -> Option<Hit> {
        let used = if known { pair.known_in_a_row } else { pair.in_a_row };
        let window = Window { max: self.guesses_in_a_row, per: Duration::ZERO };
        (window.max > 0 && used >= window.max)
            .then(|| Hit::new(Limit::GuessesInARow, SubjectKind::Pair, window, Fill { used, wait: None }))
    }

    /// The budget that closes the fixed code of a test number, whoever asks and for whatever purpose, if it is spent.
    pub fn test_code_closed(&self, phone: &Usage, now: Timestamp) -> Option<Hit> {
        let mut guesses = [phone.guesses.as_slice(), &phone.known_guesses].concat();
        guesses.sort_unstable();
        spent(Limit::GuessesPerPhone, SubjectKind::Phone, &self.guesses_per_phone, &guesses, now)
    }

    /// The budget of wrong guesses of a client address or a user's access token, if it is spent.
    pub fn caller_closed(&self, caller: SubjectKind, usage: &Usage, now: Timestamp) -> Option<Hit> {
        let (limit, windows) = match caller {
            SubjectKind::Token => (Limit::GuessesPerToken, &self.guesses_per_token),
            _ => (Limit::GuessesPerIp, &self.guesses_per_ip),
        };
        spent(limit, caller, windows, &usage.guesses, now)
    }

    /// How many wrong guesses a code for this purpose survives; the largest number where that limit is off.
    pub fn tries(&self, purpose: &str) -> u32 {
        let own = self.purposes.get(purpose).and_then(|own| own.guesses_per_otp);
        match own.unwrap_or(self.guesses_per_otp) {
            0 => u32::MAX,
            tries => tries,
        }
    }

    /// The pauses between messages for this purpose.
    pub fn pauses(&self, purpose: &str) -> &[Duration] {
        self.purposes.get(purpose).and_then(|own| own.cooldown.as_deref()).unwrap_or(&self.cooldown)
    }

    /// The pause after the last message, if it is not over: after n messages the n-th rung of the ladder.
    pub(crate) fn cooldown(
        &self,
        purpose: &str,
        usage: Option<&PurposeUsage>,
        now: Timestamp,
    ) -> Option<(Window, Fill)> {
        let (asked, pauses) = (self.rungs(usage, now), self.pauses(purpose));
        let last = Timestamp(*asked.last()?);
        let rung = *pauses.get(asked.len() - 1).or(pauses.last())?;
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

    /// Records a message to a phone with what is counted for its purpose: one rung, and the windows of its own.
    pub fn count_for_purpose(&self, phone: &mut Usage, purpose: &str, now: Timestamp) {
        let usage = phone.purpose_mut(purpose);
        if self.rungs(Some(usage), now).is_empty() {
            usage.asked.clear();
        }
        usage.asked.push(now.millis());
        let surplus = usage.asked.len().saturating_sub(self.pauses(purpose).len().max(1));
        usage.asked.drain(..surplus);
        match self.purposes.get(purpose) {
            Some(own) if !own.phone.is_empty() => usage::count(&mut usage.sends, &own.phone, now),
            _ => usage.sends.clear(),
        }
    }

    /// The longest span that any limit looks back over: what a usage has to remember.
    pub fn longest(&self) -> Duration {
        let lists = [
            &self.phone,
            &self.user,
            &self.user_phones,
            &self.ip,
            &self.ip_phones,
            &self.network,
            &self.everything,
            &self.refused_phone,
            &self.refused_other,
            &self.guesses_per_user,
            &self.guesses_per_phone,
            &self.guesses_per_ip,
            &self.guesses_per_token,
        ];
        let windows = lists.into_iter().chain(self.purposes.values().map(|own| &own.phone)).flatten();
        windows.map(|window| window.per).chain([QUIET]).max().unwrap_or(QUIET)
    }

    /// The windows of a user's messages, distinct phones included: what the log has to hold.
    pub fn user_windows(&self) -> Vec<Window> {
        [self.user.as_slice(), &self.user_phones].concat()
    }

    /// Counts a message in the usage of one of those whose limits count it. `purpose`: of the code that it carries. `phone`: the
    /// phone's short subject id.
    pub fn count_send(&self, kind: SubjectKind, usage: &mut Usage, purpose: Option<&str>, phone: &str, now: Timestamp) {
        match kind {
            SubjectKind::Phone => {
                usage.count_send(now, "", &self.phone);
                if let Some(purpose) = purpose {
                    self.count_for_purpose(usage, purpose, now);
                    usage.unproven = usage.unproven.saturating_add(1);
                }
            }
            SubjectKind::User => usage.count_send(now, phone, &self.user_windows()),
            SubjectKind::Ip => usage.count_send(now, phone, &self.ip_windows()),
            SubjectKind::Network => usage.count_slot(now, &self.network),
            SubjectKind::Everything => usage.count_slot(now, &self.everything),
            SubjectKind::Pair | SubjectKind::Token | SubjectKind::Country | SubjectKind::Block => {}
        }
    }

    /// The windows of a client address's messages, distinct phones included.
    pub fn ip_windows(&self) -> Vec<Window> {
        [self.ip.as_slice(), &self.ip_phones].concat()
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

    /// For how long one audit row stands for a limit that is full: its window, or a day where it has none.
    pub fn remembered(&self) -> Duration {
        if self.window_seconds == 0 { QUIET } else { Duration::from_secs(self.window_seconds) }
    }

    /// What is full, in words.
    pub fn message(&self) -> String {
        let whom = self.subject.in_words();
        let (used, max, window) = (self.used, self.max, span(self.window_seconds));
        match self.limit {
            Limit::Cooldown => {
                format!("a message went to {whom} a moment ago; the pause is {} s", self.window_seconds)
            }
            Limit::GuessesInARow => {
                format!("{used} wrong codes in a row were given for {whom}; it stays closed until it is reset")
            }
            limit if limit.is_of_guesses() => format!("{used} wrong codes were given for {whom} in {window}"),
            Limit::UserPhones | Limit::IpPhones => {
                format!("{whom} has asked for {used} other phones; {max} are allowed in {window}")
            }
            Limit::RefusedPhone | Limit::RefusedOther => {
                format!("the provider refused {used} messages of {whom} in {window}")
            }
            _ => format!("{used} of {max} messages in {window} are used up for {whom}"),
        }
    }

    /// What to do about it, for whoever reads it: a person at a terminal or the developer of a client.
    pub fn hint(&self) -> String {
        if self.limit.can_be_overridden() {
            format!("Staff can let one through: smsotp send --override {} --reason TEXT", self.limit)
        } else {
            format!("Staff can open it: smsotp limits reset {} --reason TEXT", self.subject.to_reset())
        }
    }
}

/// The first full window of a list of moments.
fn spent(limit: Limit, subject: SubjectKind, windows: &[Window], moments: &[i64], now: Timestamp) -> Option<Hit> {
    windows.iter().find_map(|window| {
        let fill = usage::fill(moments, *window, now);
        fill.wait.is_some().then(|| Hit::new(limit, subject, *window, fill))
    })
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
            purpose: Some("login"),
            pair: Some(pair),
            user: None,
            ip: None,
            network: None,
            everything: None,
            known: false,
            new_code: true,
            verified: false,
        }
    }

    #[test]
    fn the_cooldown_climbs_its_ladder_and_stays_on_the_last_rung() {
        let limits = Limits { phone: vec![], ..Limits::default() };
        let (mut phone, pair, mut now) = (Usage::default(), Usage::default(), Timestamp(1_000_000));
        for rung in [30, 60, 120, 300, 600, 1800, 1800, 1800] {
            limits.count_for_purpose(&mut phone, "login", now);
            let early = now + Duration::from_millis(rung * 1000 - 1);
            let hits = limits.hits(&usages(&phone, &pair), early);
            assert_eq!(hits.len(), 1, "rung {rung}");
            assert_eq!(hits[0].retry_after_seconds, Some(1));
            now = now + Duration::from_secs(rung);
            assert_eq!(limits.hits(&usages(&phone, &pair), now), [], "rung {rung}");
        }
        limits.count_for_purpose(&mut phone, "login", now + QUIET);
        assert_eq!(phone.purpose("login").unwrap().asked.len(), 1, "a quiet day starts over");
    }

    #[test]
    fn guesses_close_new_codes_and_a_hundred_in_a_row_close_all() {
        let limits = Limits::default();
        let (mut phone, mut pair, now) = (Usage::default(), Usage::default(), Timestamp(1_000_000));
        for _ in 0..15 {
            phone.count_guess(false, &limits.guesses_per_phone, now);
        }
        assert_eq!(limits.hits(&usages(&phone, &pair), now)[0].limit, Limit::GuessesPerPhone);
        // Not for whom a service vouches for, for whom verified the phone, and for the live code once more.
        assert_eq!(limits.hits(&SendUsages { known: true, ..usages(&phone, &pair) }, now), []);
        assert_eq!(limits.hits(&SendUsages { verified: true, ..usages(&phone, &pair) }, now), []);
        assert_eq!(limits.hits(&SendUsages { new_code: false, ..usages(&phone, &pair) }, now), []);
        pair.in_a_row = 100;
        let hits = limits.hits(&usages(&Usage::default(), &pair), now);
        assert_eq!((hits[0].limit, hits[0].retry_after_seconds), (Limit::GuessesInARow, None));
        assert_eq!(Limits { guesses_in_a_row: 0, ..limits }.closed(&pair, false), None, "off");
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
        fn hits(&self, limits: &Limits, known: bool) -> Vec<Hit> {
            let who = SendUsages {
                user: Some(&self.user),
                ip: Some(&self.ip),
                network: Some(&self.network),
                everything: Some(&self.everything),
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
            user_phones: vec![THREE],
            ip: vec![THREE],
            ip_phones: vec![THREE],
            network: vec![THREE],
            everything: vec![THREE],
            refused_phone: vec![THREE],
            refused_other: vec![THREE],
            guesses_per_otp: 3,
            guesses_per_user: vec![THREE],
            guesses_per_phone: vec![THREE],
            guesses_per_ip: vec![THREE],
            guesses_per_token: vec![THREE],
            guesses_in_a_row: 3,
            purposes: BTreeMap::new(),
        }
    }

    /// Something that happens `nth` to one of them.
    type Event = fn(who: &mut Everybody, nth: u32);

    #[test]
    fn each_limit_is_full_at_its_max_and_not_before_and_counts_its_own_subject() {
        fn send(usage: &mut Usage, to: &str) {
            usage.count_send(NOW, to, &[THREE]);
        }
        let events: [(Limit, SubjectKind, Event); 14] = [
            (Limit::Phone, SubjectKind::Phone, |who, _| send(&mut who.phone, "")),
            (Limit::RefusedPhone, SubjectKind::Phone, |who, _| who.phone.refused.push(NOW.millis())),
            (Limit::GuessesPerPhone, SubjectKind::Phone, |who, _| who.phone.guesses.push(NOW.millis())),
            (Limit::GuessesPerUser, SubjectKind::Pair, |who, _| who.pair.guesses.push(NOW.millis())),
            (Limit::User, SubjectKind::User, |who, _| send(&mut who.user, "a")),
            (Limit::UserPhones, SubjectKind::User, |who, nth| {
                who.user.sends.push(usage::Entry(NOW.millis(), format!("b{nth}")));
            }),
            (Limit::RefusedOther, SubjectKind::User, |who, _| who.user.refused.push(NOW.millis())),
            (Limit::Ip, SubjectKind::Ip, |who, _| send(&mut who.ip, "a")),
            (Limit::IpPhones, SubjectKind::Ip, |who, nth| {
                who.ip.sends.push(usage::Entry(NOW.millis(), format!("b{nth}")));
            }),
            (Limit::RefusedOther, SubjectKind::Ip, |who, _| who.ip.refused.push(NOW.millis())),
            (Limit::GuessesPerIp, SubjectKind::Ip, |who, _| who.ip.guesses.push(NOW.millis())),
            (Limit::Network, SubjectKind::Network, |who, _| who.network.count_slot(NOW, &[THREE])),
            (Limit::Everything, SubjectKind::Everything, |who, _| who.everything.count_slot(NOW, &[THREE])),
            (Limit::GuessesInARow, SubjectKind::Pair, |who, _| who.pair.in_a_row += 1),
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
                assert_eq!(who.hits(&limits, false), [], "{limit} of {subject} after {nth}");
                event(&mut who, nth);
            }
            let (window_seconds, wait) = match (limit, subject) {
                (Limit::GuessesInARow, _) => (0, None),
                // Until the whole slot of a sixtieth has left the window.
                (Limit::Network | Limit::Everything, _) => (3600, Some(3660)),
                _ => (3600, Some(3600)),
            };
            let full = Hit { limit, subject, max: 3, window_seconds, used: 3, retry_after_seconds: wait };
            assert_eq!(who.hits(&limits, false), [full]);
        }
    }

    #[test]
    fn whoever_is_vouched_for_has_budgets_of_guesses_of_their_own() {
        let mut who = Everybody::default();
        who.phone.known_guesses = vec![NOW.millis(); 3];
        assert_eq!(who.hits(&three_of_each(), false), []);
        assert_eq!(who.hits(&three_of_each(), true)[0].limit, Limit::GuessesPerPhone);
        let mut who = Everybody::default();
        who.pair.known_in_a_row = 3;
        assert_eq!(who.hits(&three_of_each(), false), []);
        assert_eq!(who.hits(&three_of_each(), true)[0].retry_after_seconds, None);
        // A test number's fixed code has one budget, whoever guesses.
        let mut phone =
            Usage { known_guesses: vec![NOW.millis()], guesses: vec![NOW.millis() - 1], ..Usage::default() };
        assert_eq!(three_of_each().test_code_closed(&phone, NOW), None);
        phone.guesses.push(NOW.millis());
        assert_eq!(three_of_each().test_code_closed(&phone, NOW).unwrap().used, 3);
    }

    #[test]
    fn a_quiet_day_ends_the_cooldown_to_the_millisecond() {
        let limits = Limits { cooldown: vec![QUIET * 2], ..three_of_each() };
        let mut purpose = PurposeUsage::default();
        purpose.asked.push(NOW.millis());
        let almost = NOW + QUIET - Duration::from_millis(1);
        let (window, fill) = limits.cooldown("login", Some(&purpose), almost).unwrap();
        assert_eq!((window, fill.used), (Window { max: 1, per: QUIET * 2 }, 1));
        assert_eq!(fill.wait, Some(QUIET + Duration::from_millis(1)));
        assert_eq!(limits.cooldown("login", Some(&purpose), NOW + QUIET), None);
        assert_eq!(QUIET.as_secs(), 86_400);
        assert_eq!(limits.cooldown("login", None, NOW), None);
    }

    #[test]
    fn no_more_steps_of_the_cooldown_are_kept_than_there_are() {
        let mut phone = Usage::default();
        let limits = Limits { cooldown: [1, 2, 3].map(Duration::from_secs).to_vec(), ..three_of_each() };
        for n in 0..5 {
            limits.count_for_purpose(&mut phone, "login", NOW + Duration::from_secs(n));
        }
        assert_eq!(phone.purpose("login").unwrap().asked, [2, 3, 4].map(|n| NOW.millis() + n * 1000));
        three_of_each().count_for_purpose(&mut phone, "login", NOW + Duration::from_secs(5));
        let kept = PurposeUsage { asked: vec![NOW.millis() + 5000], sends: vec![] };
        assert_eq!(phone.purpose("login"), Some(&kept), "the last message, although there is no cooldown");
    }

    #[test]
    fn a_purpose_has_the_limits_that_it_was_given_and_else_those_of_all() {
        let own = PurposeLimits {
            cooldown: Some(vec![Duration::from_secs(7)]),
            phone: vec![Window::new(2, 600)],
            guesses_per_otp: Some(3),
        };
        let limits = Limits { purposes: BTreeMap::from([("payment".to_owned(), own)]), ..Limits::default() };
        assert_eq!((limits.tries("payment"), limits.tries("login")), (3, 5));
        assert_eq!((limits.pauses("payment"), limits.pauses("login").len()), (&[Duration::from_secs(7)][..], 6));
        assert_eq!(Limits { guesses_per_otp: 0, ..Limits::default() }.tries("login"), u32::MAX, "off");
        let (mut phone, pair) = (Usage::default(), Usage::default());
        for second in [0, 7] {
            let now = NOW + Duration::from_secs(second);
            let who = SendUsages { purpose: Some("payment"), ..usages(&phone, &pair) };
            assert_eq!(limits.hits(&who, now), [], "{second}");
            limits.count_for_purpose(&mut phone, "payment", now);
        }
        let later = NOW + Duration::from_secs(14);
        let hits = limits.hits(&SendUsages { purpose: Some("payment"), ..usages(&phone, &pair) }, later);
        assert_eq!((hits.len(), hits[0].limit, hits[0].max, hits[0].used), (1, Limit::Phone, 2, 2));
        assert_eq!(limits.hits(&usages(&phone, &pair), later), [], "another purpose");
    }

    #[test]
    fn a_usage_remembers_as_long_as_the_longest_window_looks_back() {
        assert_eq!(three_of_each().longest(), QUIET);
        let week = Window::new(1, 7 * 86_400);
        for longer in [
            Limits { phone: vec![THREE, week], ..three_of_each() },
            Limits { network: vec![week], ..three_of_each() },
            Limits { refused_other: vec![week], ..three_of_each() },
            Limits { guesses_per_ip: vec![week], ..three_of_each() },
        ] {
            assert_eq!(longer.longest(), week.per);
        }
        let limits = Limits { user_phones: vec![week], ip_phones: vec![Window::new(2, 60)], ..three_of_each() };
        assert_eq!(limits.user_windows(), [THREE, week]);
        assert_eq!(limits.ip_windows(), [THREE, Window::new(2, 60)]);
    }

    #[test]
    fn limits_have_names_and_guesses_alone_cannot_be_set_aside() {
        for &limit in Limit::ALL {
            assert_eq!(Limit::parse(limit.as_str()), Some(limit));
            assert_eq!(limit.to_string(), limit.as_str());
            assert_eq!(limit.can_be_overridden(), !limit.as_str().starts_with("guesses"));
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
            (
                says(Limit::RefusedPhone, SubjectKind::Phone, 3600),
                "the provider refused 4 messages of this phone in 1 h",
            ),
            (says(Limit::GuessesPerPhone, SubjectKind::Phone, 0), "4 wrong codes were given for this phone in 0 s"),
            (
                hit(Limit::GuessesInARow, SubjectKind::Pair, 0, None).message(),
                "4 wrong codes in a row were given for this user and phone",
            ),
        ] {
            assert!(message.contains(words), "{message}");
        }
        // Rounded up: whoever waits for so long does not come too early.
        assert_eq!(hit(Limit::Phone, SubjectKind::Phone, 600, wait).retry_after_seconds, Some(2));
        assert!(hit(Limit::Phone, SubjectKind::Phone, 600, wait).hint().contains("--override phone"));
        assert!(
            hit(Limit::GuessesPerPhone, SubjectKind::Phone, 600, wait).hint().contains("limits reset PHONE --reason")
        );
    }
}
