//! What was given on a command line, checked: spans, moments, purposes, ids, codes from a prompt, a pipe or a file; and the options
//! that several commands share.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, NaiveDate};
use secrecy::{ExposeSecret, SecretString};

use super::Call;
use crate::app::{App, OpenMode, os_caller};
use crate::clock::Timestamp;
use crate::code;
use crate::config::{Config, nearest};
use crate::engine::{Caller, Destination, Filter, Override};
use crate::error::{Code, Error, Result};
use crate::files::{self, Holds};
use crate::limits::Limit;
use crate::locale::Locale;
use crate::otp::{State, User};
use crate::output::{Output, Prompt};
use crate::phone::{self, Phone};
use crate::policy::Policy;
use crate::purpose::Purpose;

/// The most that is read where one line with a secret is expected.
const SECRET_BYTES_MAX: u64 = 4096;

/// The longest reason that is kept, in characters.
const REASON_MAX: usize = 200;

/// Among so many live codes, the newest, a masked phone is looked for.
const UNMASKED_MAX: u32 = 1000;

/// The longest span that an option takes: a hundred years, far from any overflow.
const SPAN_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// How numbers are read.
#[derive(Debug, clap::Args)]
pub struct Region {
    /// The country of a number in national form, two letters [default: the setting `region`]
    #[arg(long, value_name = "COUNTRY")]
    pub region: Option<String>,
}

impl Region {
    /// The configuration, with the region that was given.
    pub fn config(&self, call: &Call) -> Result<Config> {
        call.config_with(None, self.region.clone())
    }
}

/// Which codes of all, or of one number.
#[derive(Debug, clap::Args)]
pub struct Only {
    /// Only this purpose
    #[arg(long, value_name = "NAME")]
    pub purpose: Option<String>,
    /// Only this user
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,
}

impl Only {
    /// Both, checked.
    pub fn check(&self) -> Result<(Option<Purpose>, Option<User>)> {
        let purpose = self.purpose.as_deref().map(purpose).transpose()?;
        Ok((purpose, self.user.as_deref().map(User::parse).transpose()?))
    }
}

/// What staff sets aside for one message.
#[derive(Debug, clap::Args)]
pub struct Overrides {
    /// Override this limit for one message, or `number`: no numbering plan knows it, or `caps`: the guard's caps and its detector; may be repeated; recorded in the audit log
    #[arg(long = "override", value_name = "LIMIT", requires = "reason")]
    pub overrides: Vec<String>,
    /// Why it is overridden
    #[arg(long, value_name = "TEXT", requires = "overrides")]
    pub reason: Option<String>,
}

/// What `--override` takes besides limits: that no numbering plan knows the number, and what the guard holds back.
const NUMBER: &str = "number";
const CAPS: &str = "caps";

impl Overrides {
    /// All of it, checked; `None`: nothing.
    pub fn check(&self) -> Result<Option<Override>> {
        if self.overrides.is_empty() {
            return Ok(None);
        }
        let limit = |name: &String| {
            Limit::parse(name).filter(|limit| limit.can_be_overridden()).ok_or_else(|| {
                let can_be = Limit::ALL.iter().filter(|one| one.can_be_overridden()).map(|one| one.as_str());
                let known: Vec<&str> = can_be.chain([NUMBER, CAPS]).collect();
                Error::new(Code::VALUE_INVALID, format!("no limit that can be overridden is called {name:.40}"))
                    .hint(format!("{} Guess budgets are reset by `smsotp limits reset`.", did_you_mean(name, &known)))
            })
        };
        let limits = self.overrides.iter().filter(|name| *name != NUMBER && *name != CAPS);
        let limits = limits.map(limit).collect::<Result<_>>()?;
        let has = |what: &str| self.overrides.iter().any(|name| name == what);
        Ok(Some(Override { limits, number: has(NUMBER), caps: has(CAPS), reason: reason(self.reason.as_deref())? }))
    }
}

/// Which part of a list: from when to when, and which page.
#[derive(Debug, clap::Args)]
pub struct Page {
    /// Only rows from this moment on: a date, RFC 3339, or a span back from now
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Only rows before this moment
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    /// At most this many rows
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// Start after this row: the `next_after` of the page before
    #[arg(long, value_name = "ID")]
    pub after: Option<String>,
}

impl Page {
    /// From when to when.
    pub fn period(&self, now: Timestamp) -> Result<(Option<Timestamp>, Option<Timestamp>)> {
        let moment = |option, text: &Option<String>| {
            text.as_deref().map(|text| moment(option, text, |span| now - span)).transpose()
        };
        Ok((moment("--since", &self.since)?, moment("--until", &self.until)?))
    }

    /// After which row, as `parse` reads it.
    pub fn after<T>(&self, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>> {
        let Some(text) = &self.after else { return Ok(None) };
        let wrong = || Error::new(Code::VALUE_INVALID, format!("--after is no row: {text:.40}"));
        parse(text).map(Some).ok_or_else(|| wrong().hint("Give the `next_after` of the page before."))
    }
}

/// A span such as `90s`, `10m` or `1h 30m`. `VALUE_INVALID` names the option.
pub fn span(option: &str, text: &str) -> Result<Duration> {
    match humantime::parse_duration(text.trim()) {
        Ok(span) if span <= SPAN_MAX => Ok(span),
        Ok(_) => Err(Error::new(Code::VALUE_INVALID, format!("{option} is longer than a hundred years"))),
        Err(error) => Err(Error::new(Code::VALUE_INVALID, format!("{option} is not a span of time: {text:.60}"))
            .because(error)
            .hint("Write it like 90s, 10m or 1h30m")),
    }
}

/// Less leaves no time for an answer.
const TIMEOUT_LEAST: Duration = Duration::from_secs(1);

/// For how long to go on trying to send.
pub fn timeout(text: &str) -> Result<Duration> {
    let timeout = span("--timeout", text)?;
    if timeout < TIMEOUT_LEAST {
        return Err(Error::new(Code::VALUE_INVALID, "--timeout is shorter than a second")
            .hint("Whether a message went out is not known where the answer is not waited for"));
    }
    Ok(timeout)
}

/// A moment: RFC 3339, a day (`2026-12-31`, its first second in UTC), or a span, from which `relative` makes a moment.
pub fn moment(option: &str, text: &str, relative: impl Fn(Duration) -> Timestamp) -> Result<Timestamp> {
    let text = text.trim();
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(Timestamp(at.timestamp_millis()));
    }
    if let Some(at) = text.parse::<NaiveDate>().ok().and_then(|day| day.and_hms_opt(0, 0, 0)) {
        return Ok(at.and_utc().into());
    }
    match span(option, text) {
        Ok(span) => Ok(relative(span)),
        Err(_) => Err(Error::new(Code::VALUE_INVALID, format!("{option} is not a moment: {text:.60}"))
            .hint("Write it like 2026-12-31, 2026-12-31T08:00:00Z or 2h")),
    }
}

/// A locale by its tag.
pub fn locale(text: &str) -> Result<Locale> {
    Locale::parse(text).ok_or_else(|| {
        Error::new(Code::VALUE_INVALID, format!("--locale is not the tag of a language: {text:.40}"))
            .hint("Write it like de, de-AT, pt-BR or zh-Hant.")
    })
}

/// A country by its two letters.
pub fn country(text: &str) -> Result<&'static str> {
    phone::country(text.trim()).ok_or_else(|| {
        Error::new(Code::VALUE_INVALID, format!("there is no country {:.20} that has phone numbers", text.trim()))
            .hint(phone::how_to_name_a_country(text.trim()))
    })
}

/// A phone number, as `read` takes what was typed; prompts for it on a terminal where it is missing.
pub fn phone_or_prompt<T>(
    given: Option<&str>,
    call: &Call,
    out: &Output,
    read: impl Fn(&str) -> Result<T>,
) -> Result<T> {
    match given {
        Some(text) => read(text),
        None => {
            call.signals.watch();
            out.ask(Prompt { what: "phone number", instead: "PHONE on the command line" }, read)
        }
    }
}

/// The whole number where a masked one was given, as lists and completions show it: the only phone with a live code that looks so.
/// Whatever is not masked stays as it is.
fn unmasked<'a>(text: &'a str, call: &Call) -> Result<Cow<'a, str>> {
    if !text.contains('•') {
        return Ok(Cow::Borrowed(text));
    }
    let app = App::open(call.config()?, OpenMode::Reading, &|_| ())?;
    let filter = Filter { states: vec![State::Active], limit: UNMASKED_MAX, ..Filter::default() };
    let live = app.run(app.engine().list(&filter))?;
    let phones = live.rows.iter().map(|(otp, ..)| &otp.phone).filter(|phone| phone.masked() == text.trim());
    let phones: BTreeSet<String> = phones.map(|phone| phone.as_str().to_owned()).collect();
    let wrong = |why| Error::new(Code::PHONE_INVALID, why).hint("Write the whole number");
    match phones.len() {
        // Another one may look so as well.
        _ if live.more > 0 || live.cut => Err(wrong("there are too many live codes to find the phone that looks so")),
        0 => Err(wrong("no phone that looks so has a live code")),
        1 => Ok(Cow::Owned(phones.into_iter().collect())),
        _ => Err(wrong("several phones with live codes look so")),
    }
}

/// An error for a purpose that is not declared, where nothing was found for it: a typo finds nothing either.
pub fn declared(purpose: Option<&Purpose>, policy: &Policy) -> Result<()> {
    let Some(purpose) = purpose.filter(|purpose| policy.purpose(purpose).is_none()) else { return Ok(()) };
    let known: Vec<&str> = policy.purposes.keys().map(Purpose::as_str).collect();
    let error = Error::new(Code::PURPOSE_UNKNOWN, format!("no purpose is called {purpose}"));
    Err(error.hint(did_you_mean(purpose.as_str(), &known)))
}

/// What to do about a word that is none of those known: the nearest, or all of them.
pub fn did_you_mean(word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("Did you mean {near}?"),
        None => format!("There are {}.", known.join(", ")),
    }
}

/// A phone number, in international form or in that of the region.
pub fn phone(text: &str, config: &Config, call: &Call) -> Result<Phone> {
    phone::read(&unmasked(text, call)?, config.region.as_deref()).map_err(name_region)
}

/// A phone number to send to.
pub fn destination(text: &str, config: &Config, call: &Call) -> Result<Destination> {
    Ok(match Destination::parse(&unmasked(text, call)?, config.region.as_deref()).map_err(name_region)? {
        Destination::Shape(phone, error) => {
            let (version, month) = phone::PLANS;
            let hint = format!(
                "{}. Ranges that are newer than the numbering plans in here (libphonenumber {version}, {month}) need \
                 --override number --reason TEXT",
                error.hint_text().unwrap_or_default()
            );
            Destination::Shape(phone, error.hint(hint))
        }
        known => known,
    })
}

/// The way out that the command line has.
fn name_region(error: Error) -> Error {
    if error.message() != phone::NO_COUNTRY_CODE {
        return error;
    }
    let hint = format!("{}; or name its country, like --region GB", error.hint_text().unwrap_or_default());
    error.hint(hint)
}

/// What `show` and `revoke` are given.
pub enum Named {
    /// The id of a code.
    Otp(i64),
    /// The id of a message.
    Message(i64),
    /// A number.
    Phone(Phone),
    /// Digits that are a number of the region: the id of a code if there is one, else the number.
    OtpOrPhone(i64, Phone),
}

/// An id, or a phone number.
pub fn named(text: &str, config: &Config, call: &Call) -> Result<Named> {
    let national = || phone::parse(text, config.region.as_deref()).ok();
    Ok(match id(text) {
        Some(Id::Message(id)) => Named::Message(id),
        Some(Id::Otp(id)) => national().map_or(Named::Otp(id), |number| Named::OtpOrPhone(id, number.phone)),
        None => Named::Phone(phone(text, config, call)?),
    })
}

/// A client's address.
pub fn address(text: &str) -> Result<IpAddr> {
    text.trim().parse().map_err(|_| {
        Error::new(Code::VALUE_INVALID, format!("--ip is not an address: {text:.60}"))
            .hint("Write it like 203.0.113.7 or 2001:db8::7")
    })
}

/// The caller of this command line, on behalf of a client at `ip`.
pub fn caller(ip: Option<&str>) -> Result<Caller> {
    Ok(Caller { ip: ip.map(address).transpose()?, ..os_caller() })
}

/// A purpose by its shape.
pub fn purpose(text: &str) -> Result<Purpose> {
    Purpose::parse(text.trim()).ok_or_else(|| {
        Error::new(Code::PURPOSE_UNKNOWN, format!("this is no purpose: {text:.70}"))
            .hint("A purpose is 1 to 64 of a-z 0-9 _ -, for example login")
    })
}

/// A word as a shell takes it, for a command that is to be pasted.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./_-".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// A user; the empty one where none is given.
pub fn user(text: Option<&str>) -> Result<User> {
    User::parse(text.unwrap_or_default())
}

/// A reason for the audit log: one line of up to 200 characters.
pub fn reason(text: Option<&str>) -> Result<String> {
    let text = text.unwrap_or_default().trim();
    if text.chars().count() > REASON_MAX || text.chars().any(char::is_control) {
        return Err(Error::new(Code::VALUE_INVALID, format!("--reason is one line of up to {REASON_MAX} characters")));
    }
    Ok(text.to_owned())
}

/// The id of a code (`17`) or of a message (`m17`).
pub enum Id {
    /// Of a code.
    Otp(i64),
    /// Of a message.
    Message(i64),
}

/// Reads an id; `None` where the text looks like something else.
pub fn id(text: &str) -> Option<Id> {
    let text = text.trim();
    // A leading zero belongs to a phone number.
    let is_id = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    let number = |digits: &str| is_id(digits).then(|| digits.parse().ok()).flatten();
    match text.strip_prefix('m') {
        Some(digits) => number(digits).map(Id::Message),
        None => number(text).map(Id::Otp),
    }
}

/// Where a code comes from.
pub struct CodeSource<'a> {
    /// The positional argument: digits, or `-` for standard input.
    pub given: Option<&'a str>,
    /// `--code-file`.
    pub file: Option<&'a Path>,
    /// How to give it without a prompt.
    pub instead: &'a str,
}

/// A code: from the argument, from standard input for `-`, from a file, or from a hidden prompt.
pub fn code(source: CodeSource<'_>, call: &Call, out: &Output) -> Result<code::Code> {
    let text = match (source.given, source.file) {
        (Some("-"), _) => {
            if out.terminal().stdin_tty {
                if out.options().no_input {
                    let why = "`-` reads a terminal, and --no-input forbids prompts";
                    return Err(Error::new(Code::NEEDS_TERMINAL, why));
                }
                out.inform("Type the code, then Enter and Ctrl-D:");
            }
            secret_line(std::io::stdin().lock(), "standard input")?
        }
        (Some(digits), _) => digits.to_owned().into(),
        (None, Some(path)) => {
            let file = std::fs::File::open(path).map_err(|error| {
                Error::new(Code::FILE_FAILED, format!("cannot open {}", path.display())).because(error)
            })?;
            let exposed = file.metadata().map(|meta| files::exposure(path, &meta, Holds::Secrets));
            exposed.iter().flatten().for_each(|warning| out.warn(warning));
            secret_line(file, &path.display().to_string())?
        }
        (None, None) => {
            call.signals.watch();
            return out.ask_secret(Prompt { what: "code", instead: source.instead }, code::Code::parse);
        }
    };
    code::Code::parse(text.expose_secret())
}

/// The only line of a stream, bounded, without its line feed.
fn secret_line(stream: impl Read, name: &str) -> Result<SecretString> {
    let mut text = String::new();
    let read = stream.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text);
    match read {
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            Err(Error::new(Code::CODE_INVALID, format!("what {name} holds is not text")))
        }
        Err(error) => Err(Error::new(Code::FILE_FAILED, format!("cannot read {name}")).because(error)),
        Ok(read) if read as u64 > SECRET_BYTES_MAX => {
            Err(Error::new(Code::CODE_INVALID, format!("{name} holds more than a code")))
        }
        Ok(_) if text.trim().is_empty() => Err(Error::new(Code::CODE_INVALID, format!("{name} holds no code"))),
        Ok(_) => Ok(text.trim().to_owned().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    #[test]
    fn moments_are_read_in_three_forms() {
        assert_eq!(moment("--since", "2h", |span| NOW - span).unwrap(), NOW - Duration::from_secs(7200));
        assert_eq!(moment("--until", "1d", |span| NOW + span).unwrap(), NOW + Duration::from_secs(86_400));
        assert_eq!(moment("--since", "1970-01-02", |span| NOW - span).unwrap(), Timestamp(86_400_000));
        assert_eq!(moment("--since", "1970-01-01T01:00:00+01:00", |span| NOW - span).unwrap(), Timestamp(0));
    }

    #[test]
    fn hostile_times_are_bad_data() {
        for text in
            ["", " ", "-1h", "99999999999999999999y", "2026-13-45", "yesterday", "1h\u{1b}[2J", "٣h", "9999999y"]
        {
            assert_eq!(span("--wait", text).unwrap_err().code(), Code::VALUE_INVALID, "{text:?}");
            assert_eq!(moment("--since", text, |span| NOW - span).unwrap_err().code(), Code::VALUE_INVALID, "{text:?}");
        }
    }

    #[test]
    fn a_code_on_a_stream_is_one_bounded_line() {
        assert_eq!(secret_line(&b"123456\r\n"[..], "x").unwrap().expose_secret(), "123456");
        for bad in [&b""[..], b"\n\n", b"\xff\xfe", &[b'1'; 5000]] {
            assert_eq!(secret_line(bad, "x").unwrap_err().code(), Code::CODE_INVALID);
        }
    }
}
