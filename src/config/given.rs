//! The value of each setting that is in force: flag before environment before `.env` before `smsotp.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::settings::{SETTINGS, nearest, nearest_variable};
use super::source::{GivenValue, Inputs, Source, invalid, is_ours, printable, unknown};
use crate::error::{Code, Error, Result};
use crate::typed;

const TEST_NUMBERS: &str = "SMSOTP_ALLOW_TEST_NUMBERS";

/// Longer values are a mistake; keys alone may be longer.
const VALUE_MAX: usize = 2048;
const KEYS_LENGTH_MAX: usize = 64 * 1024;

/// Each setting's value from the first source that gives one.
pub(super) struct GivenValues {
    values: BTreeMap<&'static str, GivenValue>,
    pub(super) table: Table,
    pub(super) toml_path: Option<PathBuf>,
    /// What the file says, also where a stronger source says something else.
    of_toml: BTreeMap<&'static str, String>,
    unused: Vec<String>,
}

/// What a `.env` that nobody named may add and never turn round, each with the settings that decide the same in another way.
const SETTLED: &[(&str, &[&str])] = &[
    ("SMSOTP_PROVIDER", &["TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN_FILE", "TWILIO_API_KEY"]),
    ("SMSOTP_DATABASE", &[]),
    ("SMSOTP_SECRET_KEY", &["SMSOTP_SECRET_KEY_FILE"]),
    ("SMSOTP_SECRET_KEY_FILE", &[]),
    ("SMSOTP_STATUS_CALLBACK", &[]),
    ("SMSOTP_GUARD", &[]),
    ("SMSOTP_PRICES_FILE", &[]),
    ("SMSOTP_ALARM_WEBHOOK", &[]),
    ("SMSOTP_ALARM_SECRET", &["SMSOTP_ALARM_SECRET_FILE"]),
    ("SMSOTP_ALARM_SECRET_FILE", &[]),
    ("SMSOTP_ALARM_TEMPLATE", &[]),
    ("TWILIO_ACCOUNT_SID", &[]),
    ("TWILIO_AUTH_TOKEN", &["TWILIO_AUTH_TOKEN_FILE"]),
    ("TWILIO_AUTH_TOKEN_FILE", &[]),
    ("TWILIO_API_KEY", &["TWILIO_AUTH_TOKEN_FILE"]),
    ("TWILIO_API_SECRET", &["TWILIO_API_SECRET_FILE"]),
    ("TWILIO_API_SECRET_FILE", &[]),
    ("TWILIO_API_BASE_URL", &["TWILIO_REGION", "TWILIO_EDGE"]),
    ("TWILIO_REGION", &[]),
    ("TWILIO_EDGE", &[]),
    ("TWILIO_PHONE_NUMBER", &[]),
    ("TWILIO_MESSAGING_SERVICE_SID", &["TWILIO_PHONE_NUMBER"]),
];

impl GivenValues {
    pub(super) fn new(inputs: &Inputs) -> Result<GivenValues> {
        let mut given = GivenValues {
            values: BTreeMap::new(),
            table: Table::new(),
            toml_path: None,
            of_toml: BTreeMap::new(),
            unused: Vec::new(),
        };
        let named = inputs.flags.env_file.is_some();
        // From the strongest source to the weakest: the first value counts.
        for (variable, value) in flag_values(inputs) {
            given.add(variable, &value, Source::Flag)?;
        }
        for (name, value) in &inputs.env {
            given.add_variable(name, value, Source::Environment, named)?;
        }
        if let Some((path, values)) = &inputs.dotenv {
            for (name, value) in values {
                given.add_variable(name, value, Source::Dotenv(path.clone()), named)?;
            }
        }
        if let Some((path, text)) = &inputs.toml {
            given.table = parse_toml(text, path)?;
            given.toml_path = Some(path.clone());
            given.add_toml(path)?;
        }
        if !named {
            given.must_only_add()?;
        }
        Ok(given)
    }

    /// The `.env` of the current directory may come from anybody: it adds to smsotp.toml, and turns nothing round.
    fn must_only_add(&self) -> Result<()> {
        let from_dotenv = |name: &str| self.get(name).filter(|given| matches!(given.source, Source::Dotenv(_)));
        let name_it = |given: &GivenValue| match &given.source {
            Source::Dotenv(path) => format!("--env-file {}", path.display()),
            _ => String::new(),
        };
        for (name, others) in SETTLED {
            let Some(given) = from_dotenv(name) else { continue };
            let same = self.of_toml.get_key_value(name).filter(|(_, value)| **value != given.value);
            let other = others.iter().filter_map(|other| self.of_toml.get_key_value(other));
            let other =
                other.filter(|(other, _)| matches!(self.get(other), Some(GivenValue { source: Source::Toml(_), .. })));
            // The provider that credentials already mean.
            let other = other.filter(|_| !(*name == "SMSOTP_PROVIDER" && given.value == "twilio"));
            let Some((settled, _)) = same.into_iter().chain(other).next() else { continue };
            let key = SETTINGS.iter().find(|info| info.variable == *settled).map_or("", |info| info.key);
            let toml = self.toml_path.clone().map(Source::Toml).map_or_else(String::new, |source| source.to_string());
            return Err(given
                .invalid(&format!(
                    "contradicts {key} from {toml}: a .env that was not named may add to it, not turn it round"
                ))
                .hint(format!("Remove one of the two; or, if this .env is to win, name it: {}", name_it(given))));
        }
        let guard_off = from_dotenv("SMSOTP_GUARD").filter(|given| given.value == "off");
        if let Some(given) = guard_off.filter(|_| self.of_toml.get("SMSOTP_GUARD").is_none_or(|value| value != "off")) {
            return Err(given
                .invalid("is refused: a .env that was not named may not switch off the guard")
                .hint(format!("Set it in the environment or in smsotp.toml, or name the file: {}", name_it(given))));
        }
        let switched_on = from_dotenv(TEST_NUMBERS).filter(|given| given.value == "true");
        match switched_on {
            Some(given) if self.of_toml.get(TEST_NUMBERS).is_none_or(|value| value != "true") => Err(given
                .invalid("is refused: a .env that was not named may not switch on test numbers")
                .hint(format!("Set it in the environment or in smsotp.toml, or name the file: {}", name_it(given)))),
            _ => Ok(()),
        }
    }

    pub(super) fn get(&self, variable: &str) -> Option<&GivenValue> {
        self.values.get(variable)
    }

    pub(super) fn text(&self, variable: &str) -> Option<String> {
        self.get(variable).map(|given| given.value.clone())
    }

    /// Warnings about names that look like settings and are none.
    pub(super) fn unused(&self) -> &[String] {
        &self.unused
    }

    /// A variable of the environment or of `.env`. Those of other programs are left alone. `named`: the `.env` was named, and so
    /// is ours.
    fn add_variable(&mut self, name: &str, value: &str, source: Source, named: bool) -> Result<()> {
        if name == "SMSOTP_CONFIG" && matches!(source, Source::Dotenv(_)) {
            let place = format!("SMSOTP_CONFIG from {source}");
            return Err(invalid(&place, "is refused: a .env may not choose the configuration")
                .hint("Name the configuration with --config, or with SMSOTP_CONFIG in the environment."));
        }
        if let Some(info) = SETTINGS.iter().find(|info| info.variable == name) {
            return self.add(info.variable, value, source);
        }
        if !is_ours(name) {
            return Ok(());
        }
        let near = nearest_variable(name);
        // In a file of ours a slip would pass unnoticed. The environment is everybody's: Kubernetes puts SMSOTP_PORT there.
        let in_dotenv = matches!(source, Source::Dotenv(_));
        if name.starts_with("SMSOTP_") && in_dotenv && (named || near.is_some()) {
            return Err(unknown(&format!("{} from {source}", printable(name)), near));
        }
        let unused = |what: &str| format!("{} from {source} is not used{what}", printable(name));
        match near.filter(|near| !self.values.contains_key(near)) {
            Some(near) => self.unused.push(unused(&format!("; did you mean {near}?"))),
            None if name.starts_with("SMSOTP_") && in_dotenv => self.unused.push(unused(": there is no such setting")),
            None => {}
        }
        Ok(())
    }

    fn add(&mut self, variable: &'static str, value: &str, source: Source) -> Result<()> {
        let given = GivenValue { name: variable, value: typed::trimmed(value).to_owned(), source };
        let keys = variable == "SMSOTP_SECRET_KEY";
        if given.value.is_empty() || self.values.contains_key(variable) {
            return Ok(());
        }
        if given.value.len() > if keys { KEYS_LENGTH_MAX } else { VALUE_MAX } {
            return Err(given.invalid("is too long"));
        }
        let controls = |c: char| c.is_control() && !(keys && c.is_ascii_whitespace());
        let reorders =
            |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if given.value.chars().any(|c| controls(c) || reorders(c)) {
            return Err(given.invalid("holds a control character"));
        }
        if given.value.contains(char::REPLACEMENT_CHARACTER) {
            return Err(given.invalid("is not UTF-8"));
        }
        self.values.insert(variable, given);
        Ok(())
    }

    /// Checks that every key of the file is one of ours, and takes those that are variables too.
    fn add_toml(&mut self, path: &Path) -> Result<()> {
        let mut flat = BTreeMap::new();
        for (key, value) in &self.table {
            match value {
                Value::Table(_) if ["purposes", "messages", "countries"].contains(&key.as_str()) => {}
                Value::Table(section) if ["limits", "twilio", "ceilings"].contains(&key.as_str()) => {
                    flat.extend(section.iter().map(|(name, value)| (format!("{key}.{name}"), value.clone())));
                }
                _ => {
                    flat.insert(key.clone(), value.clone());
                }
            }
        }
        for (key, value) in flat {
            let Some(info) = SETTINGS.iter().find(|info| !info.key.is_empty() && info.key == key) else {
                return Err(unknown_key(&key, path));
            };
            if info.variable.is_empty() {
                continue;
            }
            let place = Source::Toml(path.to_path_buf());
            let text = match value {
                Value::String(text) => text,
                Value::Boolean(on) if info.default == "false" => on.to_string(),
                _ => return Err(invalid(&format!("{key} from {place}"), "is not a string in quotes")),
            };
            self.of_toml.insert(info.variable, typed::trimmed(&text).to_owned());
            self.add(info.variable, &text, place)?;
        }
        Ok(())
    }
}

fn flag_values(inputs: &Inputs) -> Vec<(&'static str, String)> {
    let flags = &inputs.flags;
    let config = flags.config.as_ref().map(|path| path.display().to_string());
    let pairs = [
        ("SMSOTP_DATABASE", flags.db.clone()),
        ("SMSOTP_CONFIG", config),
        ("SMSOTP_PROVIDER", flags.provider.clone()),
        ("SMSOTP_REGION", flags.region.clone()),
        ("SMSOTP_APP_NAME", flags.app_name.clone()),
        ("SMSOTP_STATUS_CALLBACK", flags.status_callback.clone()),
        ("SMSOTP_OUTPUT", flags.output.clone()),
    ];
    pairs.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))).collect()
}

fn parse_toml(text: &str, path: &Path) -> Result<Table> {
    text.parse::<Table>().map_err(|error| {
        // The error's own text would repeat the line.
        let line = error.span().map_or(1, |span| text.get(..span.start).unwrap_or("").matches('\n').count() + 1);
        let message = format!("{}:{line}: {}", path.display(), printable(error.message().lines().next().unwrap_or("")));
        let both = text.lines().nth(line.saturating_sub(1)).is_some_and(|line| line.trim_start().starts_with("[countries"));
        Error::new(Code::CONFIG_INVALID, message).hint(if both {
            "Beside sections like [countries.US], write the list of allowed countries under [countries] as allow = [\"US\"]."
        } else {
            "The file is TOML: key = \"text\", key = 5, [section]."
        })
    })
}

fn unknown_key(key: &str, path: &Path) -> Error {
    let name = key.rsplit('.').next().unwrap_or(key);
    let file_key = match name {
        "secret_key" => Some("secret_key_file"),
        "alarm_secret" => Some("alarm_secret_file"),
        "auth_token" | "twilio_auth_token" => Some("twilio.auth_token_file"),
        "api_secret" | "twilio_api_secret" => Some("twilio.api_secret_file"),
        _ => None,
    };
    let place = format!("{} from {}", printable(key), Source::Toml(path.to_path_buf()));
    match file_key {
        Some(file_key) => invalid(&place, "is a secret, and smsotp.toml holds no secrets")
            .hint(format!("Name a file that holds it: {file_key} = \"/path\", or set it in the environment.")),
        None => unknown(&place, nearest(key, SETTINGS.iter().map(|info| info.key).filter(|known| !known.is_empty()))),
    }
}
