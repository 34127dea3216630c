//! What the limits in force allow at most, in numbers: how often codes can be guessed, the odds of that, the worst bill of a day.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::abuse::Mode;
use crate::abuse::caps::{self, CountryPast, Past};
use crate::limits::Window;
use crate::money::{Ceilings, Channel, Money};
use crate::phone;
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
    /// What spending is bounded by.
    pub money: MoneyRisks,
}

impl Risks {
    /// The most that these settings allow in an installation without a past.
    pub fn of(policy: &Policy) -> Risks {
        Risks::after(policy, &History::default())
    }

    /// The most that these settings allow in an installation with this past.
    pub fn after(policy: &Policy, history: &History) -> Risks {
        let limits = &policy.limits;
        let guesses = Guesses::of(policy);
        Risks {
            digits: policy.purposes.values().map(|purpose| purpose.digits).min().unwrap_or(6),
            phone_a_day: guesses.at_one_phone(DAY),
            phone_a_year: guesses.at_one_phone(YEAR),
            in_a_row: Some(u64::from(limits.guesses_in_a_row)).filter(|most| *most > 0),
            address_a_day: most_in(&limits.guesses_per_ip, DAY),
            fleet_a_day: guesses.by_messages(&limits.everything, DAY),
            fleet_a_year: guesses.by_messages(&limits.everything, YEAR),
            money: MoneyRisks::after(policy, history),
        }
    }

    /// The same as questions and answers.
    pub fn lines(&self) -> Vec<(String, String)> {
        let digits = self.digits;
        let line = |question: String, answer: String| (question, answer);
        let guesses = vec![
            line("wrong codes that can be tried for one phone in a day".into(), count(self.phone_a_day)),
            line(format!("a {digits}-digit code of one phone is guessed within a day"), self.odds(self.phone_a_day)),
            line("within a year, guessing every day".into(), self.odds(self.phone_a_year)),
            line("ever, for one user and phone, until too many in a row".into(), self.odds(self.in_a_row)),
            line("wrong codes from one client address in a day".into(), count(self.address_a_day)),
            line("one of them is right".into(), self.odds(self.address_a_day)),
            line("wrong codes that can be tried for all phones in a day".into(), count(self.fleet_a_day)),
            line("a code of any of them is guessed within a day".into(), self.odds(self.fleet_a_day)),
            line("within a year, guessing every day".into(), self.odds(self.fleet_a_year)),
        ];
        [guesses, self.money.lines()].concat()
    }

    fn odds(&self, guesses: Option<u64>) -> String {
        let Some(guesses) = guesses else { return "certain: a limit is off".to_owned() };
        let codes = 10f64.powi(i32::from(self.digits));
        // Of one code no guess is made twice; each new code is as likely as any other.
        odds(1.0 - (1.0 - 1.0 / codes).powf(guesses as f64))
    }
}

/// What is known of an installation and its countries (ISO 3166 two letters).
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Of the whole.
    pub whole: Past,
    /// Of the countries that have a past.
    pub countries: BTreeMap<String, CountryPast>,
}

/// The most that the guard and the limits let somebody spend, whatever countries, phones, addresses and moments they choose. A
/// day is one of UTC. The bounds do not hold where staff overrides caps or allows somebody.
#[derive(Clone, Debug, PartialEq)]
pub struct MoneyRisks {
    /// What each country that has a past, settings of its own, or a place in the list of allowed ones may cost, the dearest day
    /// first; last what each of the others may.
    pub countries: Vec<CountryRisk>,
    /// How much may be open in all countries together in which nobody enters codes.
    pub pool: Money,
    /// The ceiling of a message, if there is one.
    pub message: Option<Money>,
    /// The ceiling of an hour.
    pub hour: Option<Money>,
    /// The ceiling of a day. `None`: the guard is off and none was configured.
    pub day: Option<Money>,
    /// The ceiling of a month, if there is one.
    pub month: Option<Money>,
    /// The day's ceiling rises with codes that are entered.
    pub day_rises: bool,
    /// The most that a day can cost. `None`: without end.
    pub day_total: Option<Money>,
    /// What it could cost without the guard. `None`: without end, because `limits.everything` is off.
    pub unguarded: Option<Money>,
    /// Messages in any day, by the limits. `None`: without end.
    pub messages_a_day: Option<u64>,
    /// What one of them costs at most, at the dearest price of the allowed countries.
    pub message_price: Money,
}

/// What a country may cost.
#[derive(Clone, Debug, PartialEq)]
pub struct CountryRisk {
    /// Two letters. `None`: each of the countries that are not named.
    pub country: Option<String>,
    /// How many countries it stands for.
    pub count: usize,
    /// What a message costs.
    pub message: Money,
    /// Messages to strangers that may be open before anybody there entered a code.
    pub floor: u32,
    /// Those that may be open now.
    pub open: u64,
    /// Messages to strangers in a day.
    pub total: u64,
    /// What those cost.
    pub day: Money,
    /// No message goes there: it is closed, or dearer than a message may be.
    pub is_closed: bool,
}

impl CountryRisk {
    fn of(policy: &Policy, country: &str, history: &History) -> CountryRisk {
        let guard = &policy.guard;
        let (own, none) = (guard.country(country), CountryPast::default());
        let past = history.countries.get(country).unwrap_or(&none);
        let message = guard.prices.of(Some(country), Channel::Sms).times(policy.segments_max);
        let floor = caps::floor(message, own);
        let is_closed = own.closed || guard.ceilings.message.is_some_and(|most| message > most);
        let whole = |cap: f64| if is_closed { 0 } else { cap.ceil() as u64 };
        let total = caps::total(floor, past, &history.whole, own).max(caps::total_unknown(floor, past, own));
        let (open, total) = (whole(caps::open_at_most(floor, past).min(total)), whole(total));
        let day = message.times(u32::try_from(total).unwrap_or(u32::MAX));
        CountryRisk { country: Some(country.to_owned()), count: 1, message, floor, open, total, day, is_closed }
    }
}

impl MoneyRisks {
    fn after(policy: &Policy, history: &History) -> MoneyRisks {
        let guard = &policy.guard;
        let is_named = |country: &str| {
            policy.countries.is_some()
                || guard.countries.contains_key(country)
                || history.countries.contains_key(country)
        };
        let allowed = phone::countries().filter(|country| allows(policy, country));
        let (named, others): (Vec<&str>, Vec<&str>) = allowed.partition(|country| is_named(country));
        let risk = |country: &&str| CountryRisk::of(policy, country, history);
        let mut countries: Vec<CountryRisk> = named.iter().map(risk).collect();
        countries.sort_by_key(|country| Reverse(country.day));
        let worst = others.iter().map(risk).max_by_key(|country| (country.day, country.message));
        countries.extend(worst.map(|worst| CountryRisk { country: None, count: others.len(), ..worst }));

        let price = |country: Option<&str>| guard.prices.of(country, Channel::Sms);
        let dearest = policy.countries.as_ref().map(|list| list.iter().map(|country| price(Some(country))).max());
        let message_price = dearest.flatten().unwrap_or_else(|| price(None)).times(policy.segments_max);
        let messages_a_day = most_in(&policy.limits.everything, DAY);
        let unguarded = messages_a_day.map(|most| message_price.times(u32::try_from(most).unwrap_or(u32::MAX)));
        let Ceilings { message, hour, day, month } = guard.ceilings;
        let is_off = guard.mode == Some(Mode::Off);
        let (hour, day) = if is_off {
            (hour, day)
        } else {
            let day = caps::day(&guard.ceilings, &history.whole);
            (Some(caps::hour(&guard.ceilings, day)), Some(day))
        };
        let ceilings = [day, month].map(|ceiling| ceiling.map(caps::day_of_known));
        let [day_ceiling, month_ceiling] = ceilings;
        MoneyRisks {
            countries,
            pool: caps::pool(&history.whole),
            message,
            hour,
            day,
            month,
            day_rises: guard.ceilings.day.is_none() && history.whole.is_young && !is_off,
            day_total: [day_ceiling, month_ceiling, unguarded].into_iter().flatten().min(),
            unguarded,
            messages_a_day,
            message_price,
        }
    }

    fn lines(&self) -> Vec<(String, String)> {
        let mut lines = vec![("the most that a day of pumping can cost".to_owned(), self.day_line())];
        let mut line = |question: &str, answer: String| lines.push((question.to_owned(), answer));
        if self.day_rises {
            line("what is added in the first two days", "2 US$ for each 1 US$ of codes that were entered".to_owned());
        }
        if self.day.is_some() {
            let pool = format!("{}, and 2 messages in each", self.pool);
            line("of it unproven in all countries without a past", pool);
        }
        if let Some(hour) = self.hour {
            line("the most in an hour", hour.to_string());
        }
        if let Some(month) = self.month {
            line("the most in a month", month.to_string());
        }
        line("a day without the guard", self.bill());
        lines
    }

    fn day_line(&self) -> String {
        let Some(total) = self.day_total else {
            return "without end: the guard and limits.everything are off".to_owned();
        };
        let ceiling = [self.day, self.month].into_iter().flatten().min();
        match ceiling.filter(|ceiling| caps::day_of_known(*ceiling) == total) {
            Some(ceiling) => format!("{total}: {ceiling}, and a quarter of it for phones that were proven"),
            None => self.bill(),
        }
    }

    fn bill(&self) -> String {
        let price = self.message_price;
        match (self.messages_a_day, self.unguarded) {
            (Some(messages), Some(bill)) => {
                format!("{} US$: {} messages at {price}", grouped(bill.usd().ceil()), grouped(messages as f64))
            }
            _ => "without end: limits.everything is off".to_owned(),
        }
    }
}

fn allows(policy: &Policy, country: &str) -> bool {
    policy.countries.as_ref().is_none_or(|allowed| allowed.iter().any(|one| one == country))
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
    use crate::abuse::CountryPolicy;
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
        let money: Vec<&str> = lines[9..].iter().map(|line| line.1.as_str()).collect();
        assert_eq!(
            money,
            [
                "31.25 US$: 25.00 US$, and a quarter of it for phones that were proven",
                "2 US$ for each 1 US$ of codes that were entered",
                "10.00 US$, and 2 messages in each",
                "8.75 US$",
                "4,500 US$: 10,000 messages at 0.45 US$",
            ]
        );
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
        assert_eq!(
            (off.phone_a_day, off.fleet_a_day, off.address_a_day, off.money.unguarded),
            (None, None, None, None)
        );
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
            Risks::of(&Policy { countries, segments_max, ..Policy::default() }).money.message_price.usd()
        };
        assert_eq!(price(None, 1), 0.45);
        assert_eq!(price(Some(&["US", "CA"]), 1), 0.0083);
        assert_eq!(price(Some(&["US", "DE"]), 2), 0.22);
        assert_eq!(price(Some(&["US", "TV"]), 1), 0.45, "what is not listed may be as dear as any");
    }

    #[test]
    fn each_country_has_its_worst_day_and_those_without_a_past_share_a_line() {
        let mut policy = Policy::default();
        let own = |floor, cap, closed| CountryPolicy { floor, cap, closed };
        policy.guard.countries.insert("TJ".to_owned(), own(None, Some(7), false));
        policy.guard.countries.insert("VN".to_owned(), own(None, None, true));
        let german = CountryPast { best: 100.0, proven: 40, best_sent: 120.0, is_young: false };
        let history = History {
            whole: Past { is_young: false, best: 400.0, best_money: Money::from_usd(60.0), proven_money: Money::ZERO },
            countries: [("DE".to_owned(), german)].into(),
        };

        let risks = MoneyRisks::after(&policy, &history);

        let row = |row: &CountryRisk| {
            let country = row.country.clone().unwrap_or_default();
            (country, row.count, row.floor, row.open, row.total, row.day.usd(), row.is_closed)
        };
        let others = phone::countries().count() - 3;
        assert_eq!(
            risks.countries.iter().map(row).collect::<Vec<_>>(),
            [
                ("DE".to_owned(), 1, 36, 204, 400, 44.0, false),
                ("TJ".to_owned(), 1, 10, 7, 7, 2.8, false),
                ("VN".to_owned(), 1, 26, 0, 0, 0.0, true),
                (String::new(), others, 10, 10, 20, 9.0, false),
            ]
        );
        assert_eq!((risks.day.map(Money::usd), risks.day_total.map(Money::usd)), (Some(180.0), Some(225.0)));
        assert!(!risks.day_rises && MoneyRisks::after(&policy, &History::default()).day_rises);
        // Where a list says who is allowed, each is shown; what a message may not cost goes nowhere.
        policy.countries = Some(vec!["US".to_owned(), "ID".to_owned()]);
        policy.guard.ceilings.message = Some(Money::from_usd(0.1));
        let rows = MoneyRisks::after(&policy, &History::default()).countries;
        let rows: Vec<_> = rows.iter().map(|row| (row.country.as_deref(), row.total, row.is_closed)).collect();
        assert_eq!(rows, [(Some("US"), 100, false), (Some("ID"), 0, true)]);
    }

    #[test]
    fn the_day_is_bounded_by_the_smallest_of_ceilings_and_limits() {
        let total = |(day, month): (Option<f64>, Option<f64>), mode, everything| {
            let mut policy = Policy { limits: Limits { everything, ..Limits::default() }, ..Policy::default() };
            let [day, month] = [day, month].map(|usd| usd.map(Money::from_usd));
            policy.guard.ceilings = Ceilings { day, month, ..Ceilings::default() };
            policy.guard.mode = mode;
            let risks = MoneyRisks::after(&policy, &History::default());
            (risks.day_total.map(Money::usd), risks.day_line())
        };
        let many = || vec![Window::new(10_000, 86_400)];
        assert_eq!(total((Some(50.0), None), None, many()).0, Some(62.5));
        let (month, words) = total((Some(50.0), Some(20.0)), None, many());
        assert!(month == Some(25.0) && words.starts_with("25.00 US$: 20.00 US$"), "{words}");
        assert_eq!(total((Some(50.0), None), None, vec![Window::new(10, 86_400)]).0, Some(4.5));
        let bill = "4,500 US$: 10,000 messages at 0.45 US$";
        assert_eq!(total((None, None), Some(Mode::Off), many()), (Some(4500.0), bill.to_owned()));
        assert_eq!(total((Some(80.0), None), Some(Mode::Off), vec![]).0, Some(100.0));
        let (none, words) = total((None, None), Some(Mode::Off), vec![]);
        assert!(none.is_none() && words.starts_with("without end"), "{words}");
    }
}
