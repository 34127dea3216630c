//! Traffic as a table of comma-separated values (RFC 4180), one ask a line.
//!
//! | column | meaning |
//! |---|---|
//! | `at` | when: RFC 3339 |
//! | `phone` | for which phone: `+` and digits, by its shape alone |
//! | `country` | two letters; empty: as the number says |
//! | `user`, `ip` | for whom and from where; empty: not known |
//! | `proven_after_s` | seconds until the person was proven; empty: never |
//! | `failed_after_s` | seconds until the carrier reported the message as failed; empty: never |
//! | `label` | `legit`, `attack`, or `known` for a phone that was proven before, then `at` says when; empty: `legit` |
//! | `conversion` | `reported`, or `unknown` where the caller never says whether a code was entered; empty: `reported` |
//!
//! `at` and `phone` are required; the columns may come in any order.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;

use super::traffic::{Ask, Known, Traffic};
use crate::error::{Code, Error, Result};
use crate::otp::User;
use crate::phone::{self, Phone};

/// The columns, in the order in which they are written.
const COLUMNS: [&str; 9] =
    ["at", "phone", "country", "user", "ip", "proven_after_s", "failed_after_s", "label", "conversion"];

/// The most asks that fit into memory with all that is simulated about them.
const ASKS_MAX: usize = 5_000_000;

/// Reads a trace. All of it is judged.
///
/// # Errors
/// `VALUE_INVALID`, which names the line.
pub fn read(from: impl Read) -> Result<Traffic> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(from);
    let headers = reader.headers().map_err(|error| unreadable(&error))?.clone();
    let mut places = [None; COLUMNS.len()];
    for (place, name) in headers.iter().enumerate() {
        let name = name.trim_start_matches('\u{feff}');
        let known = COLUMNS.iter().position(|column| *column == name).ok_or_else(|| {
            wrong(1, &format!("no column is called {}", shown(name)))
                .hint(format!("The columns are {}.", COLUMNS.join(",")))
        })?;
        if places[known].replace(place).is_some() {
            return Err(wrong(1, &format!("there are two columns {name}")));
        }
    }
    if places[0].is_none() || places[1].is_none() {
        return Err(wrong(1, "the columns at and phone are missing")
            .hint(format!("The first line names the columns: {}", COLUMNS.join(","))));
    }
    let mut traffic = Traffic::default();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(|error| unreadable(&error))? {
        let line = record.position().map_or(0, csv::Position::line);
        if record.len() > headers.len() {
            return Err(wrong(line, &format!("it has {} values for {} columns", record.len(), headers.len())));
        }
        let values = places.map(|place| place.and_then(|place| record.get(place)).unwrap_or_default());
        let (label, ask) = ask(&values).map_err(|why| wrong(line, &why))?;
        match label {
            Label::Known => traffic.known.push(Known { phone: ask.phone, at: Some(ask.at) }),
            Label::Legit | Label::Attack => traffic.asks.push(ask),
        }
        if traffic.asks.len() + traffic.known.len() > ASKS_MAX {
            return Err(wrong(line, &format!("a trace has at most {ASKS_MAX} lines")));
        }
    }
    if traffic.asks.is_empty() {
        return Err(Error::new(Code::VALUE_INVALID, "the trace holds no ask").hint("Each line below the first is one."));
    }
    traffic.asks.sort_by_key(|ask| ask.at);
    traffic.judge_from = traffic.asks[0].at;
    Ok(traffic)
}

#[derive(Clone, Copy, PartialEq, strum::EnumString, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
enum Label {
    Legit,
    Attack,
    Known,
}

fn ask(values: &[&str; COLUMNS.len()]) -> std::result::Result<(Label, Ask), String> {
    let [at, phone, country, user, ip, proven, failed, label, conversion] = *values;
    let at = DateTime::parse_from_rfc3339(at)
        .map_err(|_| format!("at is not a time like 2026-01-31T08:00:00Z: {}", shown(at)))?;
    if at.timestamp() < 0 {
        return Err("at lies before 1970".to_owned());
    }
    let phone = Phone::from_e164(phone).ok_or("phone is not + and 7 to 15 digits")?;
    let country: Arc<str> = match country {
        "" => of_number(&phone).into(),
        name => phone::country(name)
            .ok_or_else(|| format!("country is no country that has phone numbers: {}", shown(name)))?
            .into(),
    };
    let user = User::parse(user).map_err(|error| format!("user: {}", error.message()))?;
    let ip = match ip {
        "" => None,
        ip => Some(ip.parse().map_err(|_| format!("ip is not an address: {}", shown(ip)))?),
    };
    let label = match label {
        "" => Label::Legit,
        label => label.parse().map_err(|_| format!("label is neither legit nor attack nor known: {}", shown(label)))?,
    };
    let reported = match conversion {
        "" | "reported" => true,
        "unknown" => false,
        other => return Err(format!("conversion is neither reported nor unknown: {}", shown(other))),
    };
    let proven_after = seconds("proven_after_s", proven)?;
    let failed_after = seconds("failed_after_s", failed)?.filter(|_| proven_after.is_none());
    let attack = label == Label::Attack;
    Ok((label, Ask { at: at.to_utc().into(), phone, country, user, ip, proven_after, failed_after, attack, reported }))
}

/// Seconds with or without decimals; empty: never.
fn seconds(column: &str, text: &str) -> std::result::Result<Option<Duration>, String> {
    /// Nobody is proven by a code of last year's.
    const LONGEST: f64 = 366.0 * 86_400.0;
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=LONGEST).contains(&seconds) => Ok(Some(Duration::from_secs_f64(seconds))),
        _ => Err(format!("{column} is not a number of seconds: {}", shown(text))),
    }
}

/// The country that a number belongs to; empty where it belongs to none.
fn of_number(phone: &Phone) -> String {
    let planned = phone::recognise(phone.as_str(), None).ok().and_then(|recognised| recognised.number.ok());
    planned.unwrap_or_else(|| phone::unplanned(phone.clone())).country.unwrap_or_default()
}

/// A value as an error repeats it. Where values have slipped into other columns it may be somebody's number or name.
fn shown(value: &str) -> String {
    let plain = value.chars().all(|c| c.is_ascii_graphic()) && value.chars().count() <= 20;
    match plain && value.chars().filter(char::is_ascii_digit).count() < 5 && !value.contains('@') {
        true => value.to_owned(),
        false => format!("{} characters that are not repeated here", value.chars().count()),
    }
}

fn wrong(line: u64, why: &str) -> Error {
    Error::new(Code::VALUE_INVALID, format!("line {line} of the trace: {why}"))
}

fn unreadable(error: &csv::Error) -> Error {
    let line = error.position().map_or(1, csv::Position::line);
    match error.kind() {
        csv::ErrorKind::Io(error) => Error::new(Code::FILE_FAILED, format!("the trace cannot be read: {error}")),
        csv::ErrorKind::Utf8 { .. } => wrong(line, "it is not UTF-8"),
        _ => wrong(line, &error.to_string()),
    }
}

/// Writes a trace that [`read`] reads as the same traffic, but for when it is judged from.
///
/// # Errors
/// `FILE_FAILED`.
pub fn write(traffic: &Traffic, to: impl Write) -> Result<()> {
    let mut writer = csv::Writer::from_writer(to);
    let first = traffic.asks.first().map_or(traffic.judge_from, |ask| ask.at);
    let written = (|| -> csv::Result<()> {
        writer.write_record(COLUMNS)?;
        for known in &traffic.known {
            let at = known.at.unwrap_or(first).to_rfc3339();
            writer.write_record([&at, known.phone.as_str(), "", "", "", "", "", Label::Known.into(), ""])?;
        }
        for ask in &traffic.asks {
            let seconds =
                |after: Option<Duration>| after.map_or_else(String::new, |after| after.as_secs_f64().to_string());
            let (at, ip) = (ask.at.to_rfc3339(), ask.ip.map_or_else(String::new, |ip| ip.to_string()));
            let (proven, failed) = (seconds(ask.proven_after), seconds(ask.failed_after));
            let label = if ask.attack { Label::Attack } else { Label::Legit };
            let conversion = if ask.reported { "reported" } else { "unknown" };
            let (phone, user) = (ask.phone.as_str(), ask.user.as_str());
            writer.write_record([&at, phone, &ask.country, user, &ip, &proven, &failed, label.into(), conversion])?;
        }
        Ok(writer.flush()?)
    })();
    written.map_err(|error| Error::new(Code::FILE_FAILED, "the trace cannot be written").because(error))
}

#[cfg(test)]
mod tests {
    use super::super::{parameters::Parameters, scenario};
    use super::*;

    fn why(text: &str) -> String {
        read(text.as_bytes()).unwrap_err().message().to_owned()
    }

    #[test]
    fn a_trace_is_read_as_it_says_in_any_order_of_columns_and_lines() {
        let text = "phone,at,label,country,ip,proven_after_s,conversion\r\n\
                    +447400123456,2026-01-05T08:00:01+01:00,attack,,10.1.2.3,,unknown\r\n\
                    +14155552671,2026-01-05T06:00:00.5Z,,ca,,12.25,\n\
                    +447400123457,2026-01-01T00:00:00Z,known,,,,\n";
        let traffic = read(text.as_bytes()).unwrap();
        let [first, second] = &traffic.asks[..] else { panic!("{traffic:?}") };
        assert_eq!((&*first.country, first.proven_after), ("CA", Some(Duration::from_millis(12_250))));
        assert!(first.reported && !first.attack && first.ip.is_none());
        assert_eq!((&*second.country, second.attack, second.reported), ("GB", true, false));
        assert_eq!(second.at.to_rfc3339(), "2026-01-05T07:00:01.000Z");
        assert_eq!(traffic.judge_from, first.at);
        assert_eq!(traffic.known[0].phone.as_str(), "+447400123457");
    }

    #[test]
    fn an_error_names_the_line_and_never_the_number() {
        let with = |line: &str| {
            why(&format!(
                "at,phone,country,proven_after_s,label,conversion,user,ip\n2026-01-05T06:00:00Z,+447400123456\n{line}\n"
            ))
        };
        assert_eq!(
            with("yesterday,+447400123456"),
            "line 3 of the trace: at is not a time like 2026-01-31T08:00:00Z: yesterday"
        );
        assert_eq!(with("2026-01-05T06:00:00Z,07400123456"), "line 3 of the trace: phone is not + and 7 to 15 digits");
        assert!(with("2026-01-05T06:00:00Z,+447400123456,UK").ends_with("no country that has phone numbers: UK"));
        assert!(with("2026-01-05T06:00:00Z,+447400123456,GB,-1").ends_with("not a number of seconds: -1"));
        assert!(with("2026-01-05T06:00:00Z,+447400123456,GB,NaN").ends_with("not a number of seconds: NaN"));
        assert!(
            with("2026-01-05T06:00:00Z,+447400123456,GB,1,evil").ends_with("neither legit nor attack nor known: evil")
        );
        assert!(
            with("2026-01-05T06:00:00Z,+447400123456,GB,1,legit,maybe")
                .ends_with("neither reported nor unknown: maybe")
        );
        assert!(
            with("2026-01-05T06:00:00Z,+447400123456,GB,1,legit,,a,somewhere")
                .ends_with("ip is not an address: somewhere")
        );
        assert!(with("2026-01-05T06:00:00Z,+447400123456,GB,1,legit,,a,,,,").contains("11 values for 8 columns"));
        assert!(why("at,phone,colour\n").starts_with("line 1 of the trace: no column is called colour"));
        // Values that slipped into other columns.
        for slipped in [
            with("+447400123457,+447400123456"),
            with("2026-01-05T06:00:00Z,+447400123456,447400123457"),
            with("2026-01-05T06:00:00Z,+447400123456,GB,447400123457"),
            with("2026-01-05T06:00:00Z,+447400123456,GB,1,447400123457"),
            with("2026-01-05T06:00:00Z,+447400123456,GB,1,,447400123457"),
            with("2026-01-05T06:00:00Z,+447400123456,GB,1,,,a,447400123457"),
            with("2026-01-05T06:00:00Z,+447400123456,GB,1,,,a,ada@example.com"),
            why("at,phone,+447400123457\n"),
        ] {
            assert!(
                !slipped.contains("4474") && !slipped.contains("ada") && slipped.contains("not repeated"),
                "{slipped}"
            );
        }
        assert!(with("1969-12-31T23:59:59Z,+447400123456").ends_with("before 1970"));
        assert!(why("at\n").contains("at and phone are missing"));
        assert_eq!(why("at,phone\n"), "the trace holds no ask");
        assert!(read(&b"at,phone\n\xff,+447400123456\n"[..]).unwrap_err().message().starts_with("line 2"));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let parameters = Parameters::ours().unwrap();
        for name in ["fake30", "unknown_far", "outage"] {
            let traffic = scenario::make(&parameters, name, 1, 100).unwrap();
            let mut text = Vec::new();
            write(&traffic, &mut text).unwrap();
            let again = read(&text[..]).unwrap();
            assert_eq!(again.asks, traffic.asks, "{name}");
            assert_eq!(again.known.len(), traffic.known.len());
        }
    }
}
