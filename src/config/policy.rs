//! The rules' settings in `smsotp.toml`: `[limits]`, `[purposes.NAME]` and their neighbours, with their ranges.

use std::time::Duration;

use toml::{Table, Value};

use super::settings::{MESSAGE_KEYS, PURPOSE_KEYS, nearest};
use super::source::{invalid, printable, unknown};
use crate::error::{Error, Result};
use crate::limits::{Limits, PurposeLimits, Window};
use crate::locale::Locale;
use crate::phone;
use crate::policy::Policy;
use crate::purpose::{Purpose, PurposePolicy, Resend};
use crate::template::{MessageTemplate, Wording};
use crate::texts::Texts;
use crate::usage::span;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// NIST SP 800-63B-4 §3.1.3.2: a code lives at most 10 minutes and has at least 6 digits.
const NIST_TTL_MAX: Duration = Duration::from_secs(600);
const NIST_DIGITS_MIN: u8 = 6;
/// NIST SP 800-63B-4 §3.2.2: at most 100 failures in a row.
const NIST_FAILURES_MAX: u32 = 100;
/// Limits that remember each event: their subject's row grows with them, and is read and written with every operation.
const LISTED_MAX: u32 = 10_000;
/// More guesses at one code would make six digits too few.
const TRIES_MAX: u32 = 10;
/// Limits that count by slots of time cost the same whatever they allow; a service of a large country needs tens of millions.
const COUNTED_MAX: u32 = 100_000_000;

/// Applies the tables to the policy and returns what is worth a warning.
///
/// Errors: `CONFIG_INVALID`, which names the key, its value and the values that are possible.
pub(super) fn apply(policy: &mut Policy, table: &Table) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    if let Some(value) = table.get("countries") {
        policy.countries = match value {
            // With sections of countries beside it: their own settings are the guard's.
            Value::Table(section) => section.get("allow").map(|list| countries("countries.allow", list)).transpose()?,
            list => Some(countries("countries", list)?),
        };
    }
    if let Some(value) = table.get("keep") {
        policy.keep = between("keep", duration("keep", value)?, Duration::from_secs(3600), 3650 * DAY)?;
    }
    if let Some(value) = table.get("segments_max") {
        policy.segments_max = number("segments_max", value, 1, 10)?;
    }
    if let Some(value) = table.get("limits") {
        limits(&mut policy.limits, section("limits", value)?, &mut warnings)?;
    }
    if let Some(value) = table.get("purposes") {
        for (name, value) in section("purposes", value)? {
            let purpose = Purpose::parse(name).ok_or_else(|| {
                invalid(&format!("purposes.{}", printable(name)), "is not a name for a purpose")
                    .hint("A name has 1 to 64 of a-z 0-9 _ - and starts with a letter.")
            })?;
            let mut settings = policy.purposes.get(&purpose).cloned().unwrap_or_default();
            let mut own = PurposeLimits::default();
            one_purpose((&mut settings, &mut own), &purpose, value, &mut warnings)?;
            if conversion_unknown(&purpose, value)? {
                policy.guard.conversion_unknown.insert(purpose.clone());
            }
            if own != PurposeLimits::default() {
                policy.limits.purposes.insert(purpose.as_str().to_owned(), own);
            }
            policy.purposes.insert(purpose, settings);
        }
    }
    if let Some(value) = table.get("messages") {
        for (name, value) in section("messages", value)? {
            policy.messages.insert(name.clone(), one_message(name, value)?);
        }
    }
    Ok(warnings)
}

fn one_purpose(
    (settings, limits): (&mut PurposePolicy, &mut PurposeLimits),
    purpose: &Purpose,
    value: &Value,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let place = format!("purposes.{purpose}");
    for (key, value) in section(&place, value)? {
        let name = format!("{place}.{}", printable(key));
        match key.as_str() {
            "ttl" => {
                let range = (Duration::from_secs(60), Duration::from_secs(3600));
                settings.ttl = between(&name, duration(&name, value)?, range.0, range.1)?;
            }
            "digits" => settings.digits = number(&name, value, 4, 10)? as u8,
            "resend" => {
                settings.resend = match text(&name, value)? {
                    "same" => Resend::Same,
                    "new" => Resend::New,
                    _ => return Err(invalid(&name, "is neither \"same\" nor \"new\"")),
                }
            }
            "text" | "texts" | "countries" => one_text(&mut settings.texts, (key, &name, value), &wording)?,
            "cooldown" => limits.cooldown = Some(cooldown(&name, value)?),
            "phone" => limits.phone = windows(&name, value, LISTED_MAX)?,
            "guesses_per_otp" => limits.guesses_per_otp = Some(number(&name, value, 0, TRIES_MAX)?),
            // The guard's: see `conversion_unknown`.
            "conversion" => {}
            _ => return Err(unknown(&name, nearest(key, PURPOSE_KEYS.iter().map(|row| row.0)))),
        }
        if ["cooldown", "phone", "guesses_per_otp"].contains(&key.as_str()) {
            warnings.extend(off(&name, value));
        }
    }
    if settings.ttl > NIST_TTL_MAX {
        warnings.push(format!("{place}.ttl is above the 10 minutes of NIST SP 800-63B-4 §3.1.3.2"));
    }
    if settings.digits < NIST_DIGITS_MIN {
        warnings.push(format!("{place}.digits is below the 6 digits of NIST SP 800-63B-4 §3.1.3.2"));
    }
    Ok(())
}

/// One key of a section with texts: `text`, `texts` or `countries`, each text checked by `check`.
fn one_text(
    texts: &mut Texts,
    (key, name, value): (&str, &str, &Value),
    check: &dyn Fn(&str) -> Result<()>,
) -> Result<()> {
    let checked = |name: &str, value: &Value| {
        let text = text(name, value)?;
        check(text).map_err(|error| {
            let hint = error.hint_text().unwrap_or_default().to_owned();
            invalid(name, &format!("cannot be used: {}", error.message())).hint(hint)
        })?;
        Ok::<_, Error>(text.to_owned())
    };
    match key {
        "texts" => {
            for (tag, value) in section(name, value)? {
                let place = format!("{name}.{}", printable(tag));
                let locale = Locale::parse(tag).ok_or_else(|| {
                    invalid(&place, "is not a locale").hint("Write it like de, de-AT, pt-BR or zh-Hant.")
                })?;
                texts.locales.insert(locale, checked(&place, value)?);
            }
        }
        "countries" => {
            for (code, value) in section(name, value)? {
                let place = format!("{name}.{}", printable(code));
                let country = phone::country(code).ok_or_else(|| {
                    invalid(&place, "is no country that has phone numbers").hint(phone::how_to_name_a_country(code))
                })?;
                texts.countries.insert(country.to_owned(), checked(&place, value)?);
            }
        }
        _ => texts.others = Some(checked(name, value)?),
    }
    Ok(())
}

/// Checks the wording of a code.
fn wording(text: &str) -> Result<()> {
    Wording::parse(text).map(drop)
}

/// The texts of a message without a code. One that is for all others is needed: whoever asks for the message may ask in any language.
fn one_message(name: &str, value: &Value) -> Result<Texts> {
    let place = format!("messages.{}", printable(name));
    if Purpose::parse(name).is_none() {
        return Err(invalid(&place, "is not a name for a message")
            .hint("A name has 1 to 64 of a-z 0-9 _ - and starts with a letter."));
    }
    let mut texts = Texts::default();
    for (key, value) in section(&place, value)? {
        let name = format!("{place}.{}", printable(key));
        match key.as_str() {
            "text" | "texts" | "countries" => {
                one_text(&mut texts, (key, &name, value), &|text| MessageTemplate::parse(text).map(drop))?;
            }
            _ => return Err(unknown(&name, nearest(key, MESSAGE_KEYS.iter().map(|row| row.0)))),
        }
    }
    if texts.others.is_none() {
        return Err(invalid(&format!("{place}.text"), "is missing").hint("It is the text where no other fits."));
    }
    Ok(texts)
}

/// Whether a purpose's callers never say which codes were entered.
fn conversion_unknown(purpose: &Purpose, value: &Value) -> Result<bool> {
    let name = format!("purposes.{purpose}.conversion");
    let Some(value) = value.get("conversion") else { return Ok(false) };
    match text(&name, value)? {
        "reported" => Ok(false),
        "unknown" => Ok(true),
        _ => Err(invalid(&name, "is neither \"reported\" nor \"unknown\"")),
    }
}

fn limits(limits: &mut Limits, table: &Table, warnings: &mut Vec<String>) -> Result<()> {
    for (key, value) in table {
        let name = format!("limits.{}", printable(key));
        match key.as_str() {
            "cooldown" => limits.cooldown = cooldown(&name, value)?,
            "phone" => limits.phone = windows(&name, value, LISTED_MAX)?,
            "user" => limits.user = windows(&name, value, LISTED_MAX)?,
            "user_phones" => limits.user_phones = windows(&name, value, LISTED_MAX)?,
            "ip" => limits.ip = windows(&name, value, LISTED_MAX)?,
            "ip_phones" => limits.ip_phones = windows(&name, value, LISTED_MAX)?,
            "network" => limits.network = windows(&name, value, COUNTED_MAX)?,
            "everything" => limits.everything = windows(&name, value, COUNTED_MAX)?,
            "refused_phone" => limits.refused_phone = windows(&name, value, LISTED_MAX)?,
            "refused_other" => limits.refused_other = windows(&name, value, LISTED_MAX)?,
            "guesses_per_otp" => limits.guesses_per_otp = number(&name, value, 0, TRIES_MAX)?,
            "guesses_per_user" => limits.guesses_per_user = windows(&name, value, LISTED_MAX)?,
            "guesses_per_phone" => limits.guesses_per_phone = windows(&name, value, LISTED_MAX)?,
            "guesses_per_ip" => limits.guesses_per_ip = windows(&name, value, LISTED_MAX)?,
            "guesses_per_token" => limits.guesses_per_token = windows(&name, value, LISTED_MAX)?,
            "guesses_in_a_row" => limits.guesses_in_a_row = number(&name, value, 0, 10_000)?,
            // The table of settings is the caller's first check; this one keeps the two in step.
            _ => return Err(unknown(&name, None)),
        }
        warnings.extend(off(&name, value));
    }
    if limits.guesses_in_a_row > NIST_FAILURES_MAX {
        warnings.push("limits.guesses_in_a_row is above the 100 of NIST SP 800-63B-4 §3.2.2".to_owned());
    }
    Ok(())
}

/// A warning for a limit that is switched off: by `[]` where it is a list, by `0` everywhere.
fn off(name: &str, value: &Value) -> Option<String> {
    let off = value.as_integer() == Some(0) || value.as_array().is_some_and(Vec::is_empty);
    off.then(|| format!("{name} = {value}: this limit is off"))
}

fn cooldown(name: &str, value: &Value) -> Result<Vec<Duration>> {
    if value.as_integer() == Some(0) {
        return Ok(Vec::new());
    }
    let list = list(name, value)?;
    let step = |value: &Value| between(name, duration(name, value)?, Duration::from_secs(1), DAY);
    list.iter().map(step).collect()
}

fn windows(name: &str, value: &Value, most: u32) -> Result<Vec<Window>> {
    match value {
        Value::Integer(0) => Ok(Vec::new()),
        Value::String(_) => Ok(vec![window(name, value, most)?]),
        _ => list(name, value)?.iter().map(|value| window(name, value, most)).collect(),
    }
}

/// `"5/1h"` or `"5/h"`, at most `most` events.
fn window(name: &str, value: &Value, most: u32) -> Result<Window> {
    let form = || {
        invalid(name, "is not a number of events per time")
            .hint(format!("Write it like {name} = \"5/1h\" or [\"5/1h\", \"10/24h\"]; [] switches it off."))
    };
    let (max, per) = value.as_str().and_then(|text| text.split_once('/')).ok_or_else(form)?;
    let (max, per) = (max.trim(), per.trim());
    let digits = !max.is_empty() && max.len() <= 9 && max.bytes().all(|b| b.is_ascii_digit());
    let max: u32 = if digits { max.parse().map_err(|_| form())? } else { return Err(form()) };
    let per = if per.starts_with(|c: char| c.is_ascii_digit()) { per.to_owned() } else { format!("1{per}") };
    let per = humantime::parse_duration(&per).map_err(|_| form())?;
    if !(1..=most).contains(&max) {
        let what = format!("allows {max} events; 1 to {most} are possible");
        return Err(invalid(name, &what).hint(format!("{name} = [] switches the limit off.")));
    }
    let per = between(name, per, Duration::from_secs(1), 31 * DAY)?;
    Ok(Window { max, per })
}

fn countries(name: &str, value: &Value) -> Result<Vec<String>> {
    let mut countries = Vec::new();
    for value in list(name, value)? {
        let code = text(name, value)?.trim();
        let known = phone::country(code).ok_or_else(|| {
            invalid(name, &format!("holds {}, which is no country that has phone numbers", printable(code)))
                .hint(phone::how_to_name_a_country(code))
        })?;
        countries.push(known.to_owned());
    }
    if countries.is_empty() {
        return Err(invalid(name, "is empty: no country would get messages").hint("Remove the line to allow all."));
    }
    Ok(countries)
}

fn duration(name: &str, value: &Value) -> Result<Duration> {
    let parsed = value.as_str().and_then(|text| humantime::parse_duration(text.trim()).ok());
    let whole = parsed.filter(|d| d.subsec_nanos() == 0);
    whole.ok_or_else(|| {
        invalid(name, "is not a time in whole seconds")
            .hint("Write it in quotes with its unit: \"30s\", \"10m\", \"24h\".")
    })
}

fn between(name: &str, value: Duration, least: Duration, most: Duration) -> Result<Duration> {
    if value < least || value > most {
        let what = format!("is {}; {} to {} are possible", span(value), span(least), span(most));
        return Err(invalid(name, &what));
    }
    Ok(value)
}

pub(super) fn number(name: &str, value: &Value, least: u32, most: u32) -> Result<u32> {
    let number = value.as_integer().and_then(|n| u32::try_from(n).ok()).filter(|n| (least..=most).contains(n));
    number.ok_or_else(|| invalid(name, &format!("is not a whole number from {least} to {most}")))
}

fn text<'v>(name: &str, value: &'v Value) -> Result<&'v str> {
    value.as_str().ok_or_else(|| invalid(name, "is not a string").hint("Write it in quotes."))
}

pub(super) fn list<'v>(name: &str, value: &'v Value) -> Result<&'v Vec<Value>> {
    let list =
        value.as_array().ok_or_else(|| invalid(name, "is not a list").hint("Write it in brackets: [\"…\", \"…\"]."))?;
    // A check costs as much as its windows; nobody needs more.
    if list.len() > 300 { Err(invalid(name, "has more than 300 entries")) } else { Ok(list) }
}

pub(super) fn section<'v>(name: &str, value: &'v Value) -> Result<&'v Table> {
    value
        .as_table()
        .ok_or_else(|| invalid(name, "is not a section").hint(format!("Write [{name}] on a line of its own.")))
}
