//! The wording of an OTP message: built in for each purpose, or the operator's own, and the last lines that phones read.

pub mod built_in;
mod message;

use std::sync::LazyLock;

use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::Host;
use zeroize::Zeroizing;

use crate::code::Code;
use crate::error::{Code as ErrorCode, Error, Result};
use crate::locale::Locale;
use crate::purpose::Purpose;

pub use message::MessageTemplate;

/// Twilio takes at most 1600 characters in a message body.
const TEXT_MAX: usize = 1600;

/// The SMS Retriever reads messages of at most 140 bytes (Android, "Verification message").
const RETRIEVER_BYTES_MAX: usize = 140;

/// An app hash has 11 characters of base64 (Android, SMS Retriever).
const APP_HASH_LENGTH: usize = 11;

/// The variables of a wording.
const VARIABLES: [&str; 4] = ["code", "app", "minutes", "time"];

/// Stands for the code until the rest of the text is made: the code itself is copied once, into the text.
const CODE_MARK: char = '\u{e000}';

/// A template of a few hundred characters takes a few dozen steps: one that takes more goes in circles.
const STEPS_MAX: u64 = 10_000;

/// How templates are read: a variable that is not there is an error, and nothing is escaped, for nothing is HTML.
static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut templates = Environment::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    templates.set_auto_escape_callback(|_| AutoEscape::None);
    templates.set_fuel(Some(STEPS_MAX));
    templates
});

/// A wording that was checked: a template of Jinja's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wording(String);

/// The values of the placeholders.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// The name of the application.
    pub app: &'a str,
    /// The code.
    pub code: &'a Code,
    /// Whole minutes for which the code stays valid, rounded down; 0 becomes "less than a minute".
    pub minutes: u64,
}

/// The last line by which a phone fills in the code itself. At most one, for each kind has to be the last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endings(Option<LastLine>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum LastLine {
    AppHash(String),
    Origin(String),
}

impl Wording {
    /// The built-in wording of a purpose: in the locale, one that is wider, or English. That one takes one GSM-7 segment with an app name of
    /// up to 30 characters, also with an app hash, or with a domain of up to 33 characters.
    pub fn built_in(purpose: &Purpose, locale: &Locale) -> Wording {
        let text = built_in::text(purpose, locale).or_else(|| built_in::text(purpose, &Locale::fallback()));
        Wording(text.unwrap_or_default().to_owned())
    }

    /// Checks a wording of the operator's: `{{ code }}` exactly once; `{{ app }}`, `{{ minutes }}` (a number, `<1` in the last minute)
    /// and `{{ time }}` ("10 minutes", "1 minute", "less than a minute") any number of times. It is a template of Jinja's, so that
    /// `{% if minutes == 1 %}` is possible too.
    ///
    /// # Errors
    /// `VALUE_INVALID`, which names what is wrong and what is possible.
    pub fn parse(text: &str) -> Result<Wording> {
        if text.chars().count() > TEXT_MAX {
            return Err(invalid(format!("the wording has more than {TEXT_MAX} characters")));
        }
        if let Some(bad) = text.chars().find(|c| unprintable(*c)) {
            return Err(invalid(format!("the wording holds the control character U+{:04X}", u32::from(bad))));
        }
        let template = TEMPLATES.template_from_str(text).map_err(|error| not_read(&error))?;
        let mut unknown: Vec<String> = template.undeclared_variables(false).into_iter().collect();
        unknown.retain(|name| !VARIABLES.contains(&name.as_str()));
        unknown.sort_unstable();
        if let Some(name) = unknown.first() {
            return Err(invalid(format!("the wording holds the unknown variable {name:.30}")));
        }
        let wording = Wording(text.to_owned());
        // Also where a condition decides: in the last minute, in the last but one, and before.
        for minutes in [0, 1, 10] {
            match wording.around_code("app", minutes)?.matches(CODE_MARK).count() {
                1 => {}
                0 if text.contains("{code}") => {
                    return Err(Error::new(ErrorCode::VALUE_INVALID, "the wording lacks {{ code }}")
                        .hint("A variable has two braces on each side: {{ code }}."));
                }
                0 => return Err(invalid("the wording lacks {{ code }}")),
                _ => return Err(invalid("the wording holds {{ code }} more than once")),
            }
        }
        Ok(wording)
    }

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The message text. Braces in the values are no variables.
    ///
    /// # Errors
    /// `VALUE_INVALID` when the text is longer than Twilio takes, or than the SMS Retriever reads.
    pub fn render(&self, values: &Values<'_>, endings: &Endings) -> Result<SecretString> {
        let text = self.fill(values, endings, values.code.expose())?;
        let (characters, bytes) = (text.chars().count(), text.len());
        if characters > TEXT_MAX {
            return Err(invalid(format!("the message has {characters} characters; {TEXT_MAX} are possible")));
        }
        if matches!(endings.0, Some(LastLine::AppHash(_))) && bytes > RETRIEVER_BYTES_MAX {
            let message =
                format!("with an app hash the message has {bytes} bytes; Android reads {RETRIEVER_BYTES_MAX}");
            return Err(invalid(message).hint("Shorten the app name or the wording."));
        }
        Ok(SecretString::from(text.as_str()))
    }

    /// The same text with a `•` for each digit of the code, for display.
    ///
    /// # Errors
    /// `VALUE_INVALID` where the template cannot be filled in.
    pub fn masked(&self, values: &Values<'_>, endings: &Endings) -> Result<String> {
        let mask = "•".repeat(values.code.expose().len());
        Ok(self.fill(values, endings, &mask)?.as_str().to_owned())
    }

    fn fill(&self, values: &Values<'_>, endings: &Endings, code: &str) -> Result<Zeroizing<String>> {
        let around = self.around_code(values.app, values.minutes)?;
        let (before, after) = around.split_once(CODE_MARK).ok_or_else(|| invalid("the wording lacks {{ code }}"))?;
        // Large enough that the text with the code is never moved, which would leave a copy in memory.
        let mut text = Zeroizing::new(String::with_capacity(around.len() + 300 + 2 * code.len()));
        text.extend([before, code, after]);
        match &endings.0 {
            None => {}
            Some(LastLine::AppHash(hash)) => text.extend(["\n", hash]),
            Some(LastLine::Origin(domain)) => text.extend(["\n@", domain, " #", code]),
        }
        Ok(text)
    }

    /// The text with a mark for the code.
    fn around_code(&self, app: &str, minutes: u64) -> Result<String> {
        let (number, time) = match minutes {
            0 => (Value::from("<1"), "less than a minute".to_owned()),
            1 => (Value::from(1), "1 minute".to_owned()),
            n => (Value::from(n), format!("{n} minutes")),
        };
        let template = TEMPLATES.template_from_str(&self.0).map_err(|error| not_read(&error))?;
        let code = CODE_MARK.to_string();
        template.render(context! { code, app, minutes => number, time }).map_err(|error| not_read(&error))
    }
}

impl Serialize for Endings {
    /// `{}`, `{"app_hash": …}` or `{"origin": …}` in the database, so that a later attempt writes the same last line.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (app_hash, origin) = match &self.0 {
            None => (None, None),
            Some(LastLine::AppHash(hash)) => (Some(hash.clone()), None),
            Some(LastLine::Origin(domain)) => (None, Some(domain.clone())),
        };
        StoredEnding { app_hash, origin }.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Endings {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Endings, D::Error> {
        let stored = StoredEnding::deserialize(from)?;
        Endings::new(stored.app_hash.as_deref(), stored.origin.as_deref()).map_err(serde::de::Error::custom)
    }
}

#[derive(Serialize, Deserialize)]
struct StoredEnding {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    app_hash: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
}

impl Endings {
    /// No last line.
    pub const NONE: Endings = Endings(None);

    /// Checks the request: an 11-character app hash (Android SMS Retriever), or the domain that may use the code
    /// (WebOTP: `example.com`, or its origin `https://example.com`; international names become ASCII).
    ///
    /// Errors: `USAGE` for both at once; `VALUE_INVALID` for what is neither a hash nor a domain.
    pub fn new(app_hash: Option<&str>, origin: Option<&str>) -> Result<Endings> {
        match (app_hash, origin) {
            (None, None) => Ok(Endings::NONE),
            (Some(hash), None) => check_hash(hash).map(|hash| Endings(Some(LastLine::AppHash(hash)))),
            (None, Some(origin)) => check_origin(origin).map(|domain| Endings(Some(LastLine::Origin(domain)))),
            (Some(_), Some(_)) => {
                let message = "an app hash and an origin cannot be in one message: each must be its last line";
                Err(Error::new(ErrorCode::USAGE, message).hint("Give either the app hash or the origin."))
            }
        }
    }
}

fn check_hash(hash: &str) -> Result<String> {
    let ok = hash.len() == APP_HASH_LENGTH && hash.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/');
    ok.then(|| hash.to_owned()).ok_or_else(|| {
        Error::new(ErrorCode::VALUE_INVALID, "the app hash is not 11 characters of A-Z a-z 0-9 + /")
            .hint("Take it from AppSignatureHelper, or from Google's SMS Retriever page; it looks like FA+9qCX9VSu.")
    })
}

fn check_origin(origin: &str) -> Result<String> {
    let bad = |what: &str| {
        Error::new(ErrorCode::VALUE_INVALID, format!("the origin {what}"))
            .hint("Give the domain of the page that the code is typed into, like example.com or https://example.com.")
    };
    if origin.contains("://") && !origin.starts_with("https://") {
        return Err(bad("is not https: browsers give codes to https pages only"));
    }
    let domain = origin.strip_prefix("https://").unwrap_or(origin);
    let domain = domain.strip_suffix('/').unwrap_or(domain);
    if domain.is_empty() || domain.len() > 253 {
        return Err(bad("is empty or longer than 253 characters"));
    }
    if domain.contains([':', '/', '?', '#', '@', '\\', '%']) || domain.chars().any(|c| unprintable(c) || c == ' ') {
        return Err(bad("is more than a domain: no port, path or user is possible"));
    }
    let Ok(Host::Domain(ascii)) = Host::parse(domain) else { return Err(bad("is not a domain")) };
    let label = |l: &str| {
        let edges = !l.starts_with('-') && !l.ends_with('-');
        (1..=63).contains(&l.len()) && edges && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let whole = ascii == "localhost" || ascii.contains('.');
    if whole && ascii.len() <= 253 && ascii.split('.').all(label) { Ok(ascii) } else { Err(bad("is not a domain")) }
}

/// What is wrong with a template, without the lines around it.
fn not_read(error: &minijinja::Error) -> Error {
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    invalid(format!("the wording is no template: {detail:.200}"))
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::VALUE_INVALID, message)
        .hint("There are {{ code }}, which is needed once, {{ app }}, {{ minutes }} (a number) and {{ time }} (\"10 minutes\").")
}

/// Characters that no message may hold: controls except for the line feed, and those that reorder text (Unicode TR 9).
fn unprintable(c: char) -> bool {
    (c.is_control() && c != '\n')
        || c == CODE_MARK
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    use super::*;
    use crate::purpose::BUILT_IN;

    /// The characters of the GSM 03.38 basic table that the built-in wordings may use.
    fn basic_gsm(c: char) -> bool {
        c.is_ascii_alphanumeric() || " .,:-@#\n/<>+".contains(c)
    }

    fn code(text: &str) -> Code {
        Code::parse(text).unwrap()
    }

    fn render(wording: &Wording, app: &str, minutes: u64, endings: &Endings) -> String {
        let values = Values { app, code: &code("012345"), minutes };
        wording.render(&values, endings).unwrap().expose_secret().to_owned()
    }

    #[test]
    fn the_built_in_wordings_read_well() {
        let text = |purpose: &str, minutes| {
            render(
                &Wording::built_in(&Purpose::parse(purpose).unwrap(), &Locale::fallback()),
                "ACME",
                minutes,
                &Endings::NONE,
            )
        };

        assert_eq!(text("login", 10), "012345 is your ACME sign-in code. It works for 10 minutes. Do not share it.");
        assert_eq!(
            text("registration", 1),
            "012345 is your ACME sign-up code. It works for 1 minute. Do not share it."
        );
        assert_eq!(
            text("password_reset", 0),
            "012345 resets your ACME password. It works for less than a minute. Do not share it."
        );
        assert_eq!(
            text("phone_verification", 9),
            "012345 is your ACME code to confirm this phone. It works for 9 minutes."
        );
        assert_eq!(text("payment", 2), "012345 is your ACME code. It works for 2 minutes. Do not share it.");
    }

    #[test]
    fn the_built_in_wordings_fit_one_segment_at_their_longest() {
        let app = "A".repeat(30);
        let digits = code("0123456789");
        let endings = [
            Endings::NONE,
            Endings::new(Some("FA+9qCX9VSu"), None).unwrap(),
            Endings::new(None, Some(&format!("{}.com", "d".repeat(29)))).unwrap(),
        ];
        for purpose in BUILT_IN.iter().chain(&["payment"]) {
            let wording = Wording::built_in(&Purpose::parse(purpose).unwrap(), &Locale::fallback());
            for ending in &endings {
                for minutes in [0, 1, 59, 60] {
                    let values = Values { app: &app, code: &digits, minutes };
                    let text = wording.render(&values, ending).unwrap();
                    let text = text.expose_secret();
                    assert!(text.chars().all(basic_gsm), "{text}");
                    assert!(text.len() <= 160, "{} characters: {text}", text.len());
                }
            }
        }
    }

    #[test]
    fn a_wording_of_the_operator_is_filled_in_once() {
        let wording =
            Wording::parse("{{ '{{' }}{{ app }}{{ '}}' }}: {{ code }} ({{ minutes }} min, {{ time }}) — merci")
                .unwrap();

        assert_eq!(
            render(&wording, "{{ code }}", 5, &Endings::NONE),
            "{{{{ code }}}}: 012345 (5 min, 5 minutes) — merci"
        );
        assert_eq!(render(&wording, "x", 0, &Endings::NONE), "{{x}}: 012345 (<1 min, less than a minute) — merci");
    }

    #[test]
    fn a_wrong_wording_is_refused_with_what_is_possible() {
        let refusal = |text: &str| {
            let error = Wording::parse(text).unwrap_err();
            assert_eq!(error.class().exit(), 65, "{text}");
            assert!(error.hint_text().is_some());
            error.to_string()
        };

        assert_eq!(refusal("your code"), "the wording lacks {{ code }}");
        assert_eq!(refusal(""), "the wording lacks {{ code }}");
        assert_eq!(refusal("{code}"), "the wording lacks {{ code }}");
        assert_eq!(refusal("{{ code }} {{ code }}"), "the wording holds {{ code }} more than once");
        assert_eq!(refusal("{{ code }} {{ name }}"), "the wording holds the unknown variable name");
        assert_eq!(refusal("{{ code }} {{ Code }}"), "the wording holds the unknown variable Code");
        assert_eq!(refusal("{% if minutes == 1 %}{{ code }}{% endif %}"), "the wording lacks {{ code }}");
        assert_eq!(
            refusal("{{ code }}{% if minutes == 1 %}{{ code }}{% endif %}"),
            "the wording holds {{ code }} more than once"
        );
        assert!(refusal("{{ code }} {{").starts_with("the wording is no template: "));
        assert_eq!(refusal("{{ code }}{{ range(9) }}"), "the wording holds the unknown variable range");
        let circles = format!("{{{{ code }}}}{}x{}", "{% for c in time %}".repeat(5), "{% endfor %}".repeat(5));
        assert!(refusal(&circles).starts_with("the wording is no template: "));
        assert!(refusal("{{ code | nothing }}").contains("nothing"));
        assert!(refusal("{% include 'other' %}{{ code }}").starts_with("the wording is no template: "));
        assert_eq!(refusal("{{ code }}\u{1b}[31m"), "the wording holds the control character U+001B");
        assert_eq!(refusal("{{ code }}\u{202e}"), "the wording holds the control character U+202E");
        assert_eq!(refusal("{{ code }}\u{e000}"), "the wording holds the control character U+E000");
        assert!(refusal(&"{{ code }}".repeat(2000)).contains("more than 1600"));
        assert!(Wording::parse("{{ code }} {{ x }}").unwrap_err().hint_text().unwrap().contains("{{ minutes }}"));
        let plural = Wording::parse("{{ code }}, {{ minutes }} minute{% if minutes != 1 %}s{% endif %}").unwrap();
        assert_eq!(render(&plural, "x", 1, &Endings::NONE), "012345, 1 minute");
        assert_eq!(render(&plural, "x", 9, &Endings::NONE), "012345, 9 minutes");
    }

    #[test]
    fn an_app_hash_is_the_last_line() {
        let endings = Endings::new(Some("FA+9qCX9VSu"), None).unwrap();

        let text = render(&Wording::parse("Code {{ code }}").unwrap(), "ACME", 5, &endings);

        assert_eq!(text, "Code 012345\nFA+9qCX9VSu");
        for bad in ["", "FA+9qCX9VS", "FA+9qCX9VSuu", "FA+9qCX9V-u", "FA+9qCX9V\nu", "ФФФФФ1"] {
            assert_eq!(Endings::new(Some(bad), None).unwrap_err().class().exit(), 65, "{bad}");
        }
    }

    #[test]
    fn with_an_app_hash_more_than_140_bytes_are_refused() {
        let endings = Endings::new(Some("FA+9qCX9VSu"), None).unwrap();
        let code = code("012345");
        let values = Values { app: "ACME", code: &code, minutes: 5 };
        let wording = |length: usize| Wording::parse(&format!("{{{{code}}}}{}", "x".repeat(length))).unwrap();

        assert!(wording(140 - 6 - 12).render(&values, &endings).is_ok());
        let error = wording(141 - 6 - 12).render(&values, &endings).unwrap_err();

        assert_eq!(error.to_string(), "with an app hash the message has 141 bytes; Android reads 140");
    }

    #[test]
    fn an_origin_becomes_the_webotp_line() {
        for origin in ["example.com", "https://example.com", "https://example.com/", "EXAMPLE.com"] {
            let endings = Endings::new(None, Some(origin)).unwrap();
            let text = render(&Wording::parse("Code {{ code }}").unwrap(), "ACME", 5, &endings);
            assert_eq!(text, "Code 012345\n@example.com #012345");
        }
        assert_eq!(
            Endings::new(None, Some("bücher.example")).unwrap().0,
            Some(LastLine::Origin("xn--bcher-kva.example".into()))
        );
        let long = format!("{}.com", "a".repeat(250));
        for bad in [
            "",
            "https://",
            "http://example.com",
            "example.com:443",
            "example.com/path",
            "user@example.com",
            "192.0.2.1",
            "[::1]",
            "com",
            "-a.com",
            "a..com",
            ".com",
            "a_b.com",
            "example.com #1",
            "a.com\n@evil.com",
            "a%2ecom",
            &long,
        ] {
            assert_eq!(Endings::new(None, Some(bad)).unwrap_err().class().exit(), 65, "{bad:?}");
        }
    }

    #[test]
    fn both_endings_at_once_are_a_usage_error() {
        let error = Endings::new(Some("FA+9qCX9VSu"), Some("example.com")).unwrap_err();

        assert_eq!(error.class().exit(), 2);
    }

    #[test]
    fn the_masked_text_has_dots_for_digits_also_in_the_last_line() {
        let endings = Endings::new(None, Some("example.com")).unwrap();
        let code = code("012345");
        let values = Values { app: "ACME", code: &code, minutes: 5 };

        let text = Wording::parse("Code {{ code }}").unwrap().masked(&values, &endings).unwrap();

        assert_eq!(text, "Code ••••••\n@example.com #••••••");
        assert!(!format!("{values:?}").contains("012345"));
    }

    proptest! {
        #[test]
        fn no_wording_makes_it_panic_and_each_accepted_one_holds_the_code_once(text in "[{}a-e \\PC]{0,30}(\\{\\{ code \\}\\})?[{}%a]{0,4}") {
            if let Ok(wording) = Wording::parse(&text) {
                prop_assert_eq!(render(&wording, "A", 3, &Endings::NONE).matches("012345").count(), 1);
            }
        }

        #[test]
        fn no_origin_brings_a_line_or_a_space_along(origin in "\\PC{0,40}") {
            if let Ok(Endings(Some(LastLine::Origin(domain)))) = Endings::new(None, Some(&origin)) {
                prop_assert!(domain.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.'));
            }
        }
    }
}
