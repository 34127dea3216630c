//! What the limits in force mean in numbers: the odds of a guessed code and the worst bill of a day.

use crate::policy::Policy;

const DAYS_PER_YEAR: f64 = 365.0;
const SECONDS_PER_DAY: f64 = 86_400.0;

/// What an SMS costs, in US dollars: about Twilio's price for the US.
const PRICE: f64 = 0.0083;

/// Questions and answers about the purpose with the fewest digits: the weakest.
pub fn estimates(policy: &Policy) -> Vec<(String, String)> {
    let limits = &policy.limits;
    let digits = policy.purposes.values().map(|purpose| purpose.digits).min().unwrap_or(6);
    let codes = 10f64.powi(i32::from(digits));
    let per_day = per_day(limits.guesses_per_phone.max, limits.guesses_per_phone.per.as_secs_f64());
    // The whole budget of a day can be spent within an hour.
    let per_hour = f64::from(limits.guesses_per_phone.max).min(per_day);
    let in_a_row = f64::from(limits.guesses_in_a_row);
    let mut rows = vec![
        (
            format!("a {digits}-digit code of one phone is guessed within an hour"),
            odds(1.0 - (1.0 - 1.0 / codes).powf(per_hour)),
        ),
        ("within a day".to_owned(), odds(1.0 - (1.0 - 1.0 / codes).powf(per_day))),
        ("within a year, guessing every day".to_owned(), odds(1.0 - (1.0 - 1.0 / codes).powf(per_day * DAYS_PER_YEAR))),
        (
            format!("ever, until {} wrong guesses in a row close it", limits.guesses_in_a_row),
            odds(1.0 - (1.0 - 1.0 / codes).powf(in_a_row)),
        ),
    ];
    let most =
        limits.everything.iter().map(|window| self::per_day(window.max, window.per.as_secs_f64())).reduce(f64::min);
    let bill = match most {
        Some(messages) => format!("{messages:.0} messages, about {:.0} US$ at {PRICE} US$ each", messages * PRICE),
        None => "unlimited: limits.everything is off".to_owned(),
    };
    rows.push(("the most that a day of pumping can send".to_owned(), bill));
    rows
}

/// The most events in any day that a window of `max` per `seconds` lets through.
fn per_day(max: u32, seconds: f64) -> f64 {
    f64::from(max) * (SECONDS_PER_DAY / seconds.max(1.0)).max(1.0)
}

/// `1 in 66,667 (0.0015 %)`.
fn odds(probability: f64) -> String {
    if probability <= 0.0 {
        return "never".to_owned();
    }
    let one_in = (1.0 / probability).round().max(1.0);
    let digits = format!("{one_in:.0}");
    let grouped: Vec<String> =
        digits.as_bytes().rchunks(3).rev().map(|chunk| String::from_utf8_lossy(chunk).into_owned()).collect();
    format!("1 in {} ({:.4} %)", grouped.join(","), probability * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_keep_a_year_of_guessing_under_one_per_cent() {
        let rows = estimates(&Policy::default());
        assert_eq!(rows[1].1, "1 in 66,667 (0.0015 %)");
        assert_eq!(rows[2].1, "1 in 183 (0.5460 %)");
        assert_eq!(rows[3].1, "1 in 10,000 (0.0100 %)");
    }
}
