//! What the limits in force allow at most, in numbers: how often codes can be guessed, the odds of that, the worst bill of a day.

use std::time::Duration;

use crate::limits::Window;
use crate::money::{Channel, Money};
use crate::policy::Policy;

const DAY: Duration = Duration::from_secs(24 * 3600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// The most that the limits allow. `None`: without end, because a limit is off.
///
/// A guess is a wrong code that is compared with a live one. The bounds hold whatever users, purposes, addresses and moments
/// somebody chooses, and whether or not a service vouches for them; they do not hold where staff overrides or resets limits.
/// Test numbers are not among them: their fixed codes take as many guesses as `guesses_per_phone` allows.
#[derive(Clone, Debug, PartialEq)]
pub struct Risks {
    /// The digits of the shortest codes.
    pub digits: u8,
    /// Guesses at the codes of one phone that one user or none has verified, in any day.
    pub phone_a_day: Option<u64>,
    /// The same in a year.
    pub phone_a_year: Option<u64>,
    /// Guesses at the codes of one user and phone until the row of wrong ones closes them.
    pub in_a_row: Option<u64>,
    /// Codes that open nothing, from one client address in any day.
    pub address_a_day: Option<u64>,
    /// Guesses at the codes of all phones together, in any day.
    pub fleet_a_day: Option<u64>,
    /// The same in a year.
    pub fleet_a_year: Option<u64>,
    /// Messages in any day.
    pub messages_a_day: Option<u64>,
    /// What one of them costs at most, at the dearest price of the allowed countries.
    pub message_price: Money,
}

impl Risks {
    /// The most that these settings allow.
    pub fn of(policy: &Policy) -> Risks {
        let limits = &policy.limits;
        let guesses = Guesses::of(policy);
        let price = |country: Option<&str>| policy.guard.prices.of(country, Channel::Sms);
        let allowed = policy.countries.as_ref().map(|list| list.iter().map(|country| price(Some(country))).max());
        let dearest = allowed.flatten().unwrap_or_else(|| price(None));
        Risks {
            digits: policy.purposes.values().map(|purpose| purpose.digits).min().unwrap_or(6),
            phone_a_day: guesses.at_one_phone(DAY),
            phone_a_year: guesses.at_one_phone(YEAR),
            in_a_row: Some(u64::from(limits.guesses_in_a_row)).filter(|most| *most > 0),
            address_a_day: most_in(&limits.guesses_per_ip, DAY),
            fleet_a_day: guesses.by_messages(&limits.everything, DAY),
            fleet_a_year: guesses.by_messages(&limits.everything, YEAR),
            messages_a_day: most_in(&limits.everything, DAY),
            message_price: dearest.times(policy.segments_max),
        }
    }

    /// The same as questions and answers.
    pub fn lines(&self) -> Vec<(String, String)> {
        let digits = self.digits;
        let line = |question: String, answer: String| (question, answer);
        vec![
            line("wrong codes that can be tried for one phone in a day".into(), count(self.phone_a_day)),
            line(format!("a {digits}-digit code of one phone is guessed within a day"), self.odds(self.phone_a_day)),
            line("within a year, guessing every day".into(), self.odds(self.phone_a_year)),
            line("ever, for one user and phone, until too many in a row".into(), self.odds(self.in_a_row)),
            line("wrong codes from one client address in a day".into(), count(self.address_a_day)),
            line("one of them is right".into(), self.odds(self.address_a_day)),
            line("wrong codes that can be tried for all phones in a day".into(), count(self.fleet_a_day)),
            line("a code of any of them is guessed within a day".into(), self.odds(self.fleet_a_day)),
            line("within a year, guessing every day".into(), self.odds(self.fleet_a_year)),
            line("the most that a day of pumping can cost".into(), self.bill()),
        ]
    }

    fn odds(&self, guesses: Option<u64>) -> String {
        let Some(guesses) = guesses else { return "certain: a limit is off".to_owned() };
        let codes = 10f64.powi(i32::from(self.digits));
        // Of one code no guess is made twice; each new code is as likely as any other.
        odds(1.0 - (1.0 - 1.0 / codes).powf(guesses as f64))
    }

    fn bill(&self) -> String {
        let price = self.message_price;
        match self.messages_a_day {
            Some(messages) => {
                let bill = grouped((messages as f64 * price.usd()).ceil());
                format!("{bill} US$: {} messages at {price}", grouped(messages as f64))
            }
            None => "without end: limits.everything is off".to_owned(),
        }
    }
}

/// What bounds the guesses at live codes.
struct Guesses<'a> {
    policy: &'a Policy,
    /// How many one code takes.
    tries: Option<u64>,
    /// For how long one lives.
    ttl: Duration,
}

impl Guesses<'_> {
    fn of(policy: &Policy) -> Guesses<'_> {
        let tries = policy.purposes.keys().map(|purpose| policy.limits.tries(purpose.as_str())).max();
        let ttl = policy.purposes.values().map(|purpose| purpose.ttl).max().unwrap_or_default();
        Guesses { policy, tries: tries.filter(|tries| *tries < u32::MAX).map(u64::from), ttl }
    }

    /// Each code took a message: those of the span, and those from before whose codes live when it begins.
    fn by_messages(&self, windows: &[Window], span: Duration) -> Option<u64> {
        let (during, before) = (most_in(windows, span)?, most_in(windows, self.ttl)?);
        Some(self.tries?.saturating_mul(during.saturating_add(before)))
    }

    /// A budget stops new codes and no guess that is left in a live one: up to one below it, and then all that live codes take.
    /// Strangers share the phone's budget, and who has verified the phone has their own; each is there twice, because a service
    /// may vouch for whoever asks.
    fn by_budgets(&self, span: Duration) -> Option<u64> {
        let limits = &self.policy.limits;
        let left = self.tries?.saturating_mul(most_in(&limits.phone, self.ttl)?);
        let most = |windows: &[Window]| {
            let most = |window: &Window| {
                let spent = Window { max: 1, ..*window }.most_in(span);
                spent.saturating_mul((u64::from(window.max) - 1).saturating_add(left))
            };
            windows.iter().map(most).min()
        };
        Some(most(&limits.guesses_per_phone)?.saturating_add(most(&limits.guesses_per_user)?).saturating_mul(2))
    }

    fn at_one_phone(&self, span: Duration) -> Option<u64> {
        let bounds = [self.by_messages(&self.policy.limits.phone, span), self.by_budgets(span)];
        bounds.into_iter().flatten().min()
    }
}

/// The most events in any span that all of these windows let through.
fn most_in(windows: &[Window], span: Duration) -> Option<u64> {
    windows.iter().map(|window| window.most_in(span)).min()
}

fn count(most: Option<u64>) -> String {
    most.map_or_else(|| "without end: a limit is off".to_owned(), |most| grouped(most as f64))
}

/// `1 in 66,667 (0.0015 %)`.
fn odds(probability: f64) -> String {
    if probability <= 0.0 {
        return "never".to_owned();
    }
    format!("1 in {} ({:.4} %)", grouped((1.0 / probability).round().max(1.0)), probability * 100.0)
}

/// `66,667`.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let groups: Vec<String> =
        digits.as_bytes().rchunks(3).rev().map(|chunk| String::from_utf8_lossy(chunk).into_owned()).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{Limits, PurposeLimits};
    use crate::purpose::Purpose;

    fn with(limits: Limits) -> Risks {
        Risks::of(&Policy { limits, ..Policy::default() })
    }

    #[test]
    fn the_defaults_in_numbers() {
        let risks = Risks::of(&Policy::default());
        // Ten messages in a day, and three whose codes still live when it begins; five guesses at each.
        assert_eq!((risks.phone_a_day, risks.phone_a_year), (Some(65), Some(5 * (3650 + 3))));
        assert_eq!((risks.address_a_day, risks.fleet_a_day), (Some(720), Some(5 * (10_000 + 1000))));
        let lines = risks.lines();
        assert_eq!(lines[1].1, "1 in 15,385 (0.0065 %)");
        assert_eq!(lines[2].1, "1 in 55 (1.8099 %)");
        assert_eq!(lines[3].1, "1 in 10,000 (0.0100 %)");
        assert_eq!(lines[7].1, "1 in 19 (5.3515 %)");
        assert_eq!(lines[9].1, "4,500 US$: 10,000 messages at 0.45 US$");
    }

    #[test]
    fn where_many_messages_are_allowed_the_budgets_are_what_counts() {
        // Three codes live at a time. Of each of four budgets 14 guesses, and the 15 of those that live.
        let many = vec![Window::new(3, 600), Window::new(400, 86_400)];
        assert_eq!(with(Limits { phone: many.clone(), ..Limits::default() }).phone_a_day, Some(4 * 29));
        let hourly = vec![Window::new(4, 3600)];
        let limits =
            Limits { phone: many, guesses_per_phone: hourly.clone(), guesses_per_user: hourly, ..Limits::default() };
        assert_eq!(with(limits).phone_a_day, Some(4 * 24 * (3 + 15)));
    }

    #[test]
    fn a_limit_that_is_off_is_said_to_be_and_a_purpose_of_its_own_is_counted() {
        let off = with(Limits { phone: vec![], everything: vec![], guesses_per_ip: vec![], ..Limits::default() });
        assert_eq!((off.phone_a_day, off.fleet_a_day, off.address_a_day, off.messages_a_day), (None, None, None, None));
        assert!(off.lines().iter().filter(|line| line.1.contains("is off")).count() == 9, "{:?}", off.lines());
        assert_eq!(with(Limits { guesses_per_otp: 0, ..Limits::default() }).phone_a_day, None);
        let own = PurposeLimits { guesses_per_otp: Some(10), ..PurposeLimits::default() };
        let mut policy = Policy::default();
        policy.limits.purposes.insert("login".to_owned(), own);
        policy.purposes.get_mut(&Purpose::parse("login").unwrap()).unwrap().ttl = Duration::from_secs(1800);
        // Three times three messages within half an hour, but never more than five in an hour.
        assert_eq!(Risks::of(&policy).phone_a_day, Some(10 * (10 + 5)));
    }

    #[test]
    fn the_bill_is_at_the_dearest_price_that_is_allowed() {
        let price = |countries: Option<&[&str]>, segments_max| {
            let countries = countries.map(|list| list.iter().map(|one| (*one).to_owned()).collect());
            Risks::of(&Policy { countries, segments_max, ..Policy::default() }).message_price.usd()
        };
        assert_eq!(price(None, 1), 0.45);
        assert_eq!(price(Some(&["US", "CA"]), 1), 0.0083);
        assert_eq!(price(Some(&["US", "DE"]), 2), 0.22);
        assert_eq!(price(Some(&["US", "TV"]), 1), 0.45, "what is not listed may be as dear as any");
    }
}
