//! Puts the sources together: flag before environment before `.env` before `smsotp.toml` before default.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use toml::{Table, Value};

use super::policy::{self, bad, shown, unknown};
use super::settings::{SETTINGS, nearest};
use super::show::show;
use super::sources::{Inputs, is_ours};
use super::twilio::twilio;
use super::{Config, Database, ProviderName};
use crate::error::{Code, Error, Result};
use crate::keys::KeySource;
use crate::purpose::Policy;

/// Longer values are a mistake; keys alone may be longer.
const VALUE_MAX: usize = 2048;
const KEYS_LENGTH_MAX: usize = 64 * 1024;

/// Checks what was found and makes the configuration of it. Reads nothing but the files that hold a secret of Twilio's.
///
/// Errors: `CONFIG_INVALID` (78).
pub fn assemble(inputs: Inputs) -> Result<Config> {
    let found = Found::new(&inputs)?;
    let mut warnings = inputs.warnings.clone();
    warnings.extend(found.doubtful_names());
    let mut policy = Policy::default();
    warnings.extend(policy::apply(&mut policy, &found.table)?);
    if let Some(name) = found.get("SMSOTP_APP_NAME") {
        policy.app_name = app_name(name)?;
    }
    let region = found.get("SMSOTP_REGION").map(country).transpose()?;
    let provider = found.get("SMSOTP_PROVIDER").map(provider).transpose()?;
    let output = found.get("SMSOTP_OUTPUT").map(output).transpose()?;
    let allow_test_numbers = found.get("SMSOTP_ALLOW_TEST_NUMBERS").map(switch).transpose()?.unwrap_or(false);
    let database = database(&found, &inputs)?;
    let keys = keys(&found, &inputs, &database);
    let twilio = twilio(&found, &mut warnings)?;
    let settings = show(&found, &policy, &database, &keys);
    let database_is_default = found.get("SMSOTP_DATABASE").is_none();
    Ok(Config {
        database,
        database_is_default,
        provider,
        twilio,
        keys,
        policy,
        region,
        output,
        allow_test_numbers,
        settings,
        warnings,
    })
}

/// The first source that gives each setting.
pub(super) struct Found {
    values: BTreeMap<&'static str, Given>,
    pub(super) table: Table,
    pub(super) toml_path: Option<PathBuf>,
    doubtful: Vec<String>,
}

/// A value and where it stands.
pub(super) struct Given {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) source: Source,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Flag,
    Environment,
    Dotenv(PathBuf),
    Toml(PathBuf),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Flag => f.write_str("flag"),
            Source::Environment => f.write_str("environment"),
            Source::Dotenv(path) => write!(f, ".env ({})", path.display()),
            Source::Toml(path) => write!(f, "smsotp.toml ({})", path.display()),
        }
    }
}

impl Given {
    /// An error about this value. It is named with its place and never repeated.
    pub(super) fn bad(&self, what: &str) -> Error {
        bad(&format!("{} from {}", self.name, self.source), what)
    }
}

impl Found {
    fn new(inputs: &Inputs) -> Result<Found> {
        let mut found = Found { values: BTreeMap::new(), table: Table::new(), toml_path: None, doubtful: Vec::new() };
        // From the strongest source to the weakest: the first word counts.
        for (variable, value) in flags(inputs) {
            found.take(variable, &value, Source::Flag)?;
        }
        for (name, value) in &inputs.env {
            found.variable(name, value, Source::Environment)?;
        }
        if let Some((path, values)) = &inputs.dotenv {
            for (name, value) in values {
                found.variable(name, value, Source::Dotenv(path.clone()))?;
            }
        }
        if let Some((path, text)) = &inputs.toml {
            found.table = parse_toml(text, path)?;
            found.toml_path = Some(path.clone());
            found.toml_values(path)?;
        }
        Ok(found)
    }

    pub(super) fn get(&self, variable: &str) -> Option<&Given> {
        self.values.get(variable)
    }

    pub(super) fn text(&self, variable: &str) -> Option<String> {
        self.get(variable).map(|given| given.value.clone())
    }

    fn doubtful_names(&self) -> Vec<String> {
        self.doubtful.clone()
    }

    /// A variable of the environment or of `.env`. Those of other programs are left alone.
    fn variable(&mut self, name: &str, value: &str, source: Source) -> Result<()> {
        if name == "SMSOTP_CONFIG" && matches!(source, Source::Dotenv(_)) {
            let place = format!("SMSOTP_CONFIG from {source}");
            return Err(bad(&place, "is refused: a .env may not choose the configuration")
                .hint("Name the configuration with --config, or with SMSOTP_CONFIG in the environment."));
        }
        if let Some(info) = SETTINGS.iter().find(|info| info.variable == name) {
            return self.take(info.variable, value, source);
        }
        if !is_ours(name) {
            return Ok(());
        }
        let near = nearest(name, SETTINGS.iter().map(|info| info.variable).filter(|known| !known.is_empty()));
        if name.starts_with("SMSOTP_") {
            return Err(unknown(&format!("{} from {source}", shown(name)), near));
        }
        // Other programs have variables of Twilio's too, so a near miss is only a warning.
        self.doubtful.extend(
            near.filter(|near| !self.values.contains_key(near))
                .map(|near| format!("{} from {source} is not used; did you mean {near}?", shown(name))),
        );
        Ok(())
    }

    fn take(&mut self, variable: &'static str, value: &str, source: Source) -> Result<()> {
        let given = Given { name: variable, value: value.trim().to_owned(), source };
        let keys = variable == "SMSOTP_SECRET_KEY";
        if given.value.is_empty() || self.values.contains_key(variable) {
            return Ok(());
        }
        if given.value.len() > if keys { KEYS_LENGTH_MAX } else { VALUE_MAX } {
            return Err(given.bad("is too long"));
        }
        let steers = |c: char| c.is_control() && !(keys && c.is_ascii_whitespace());
        let reorders =
            |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if given.value.chars().any(|c| steers(c) || reorders(c)) {
            return Err(given.bad("holds a control character"));
        }
        self.values.insert(variable, given);
        Ok(())
    }

    /// Checks that every key of the file is one of ours, and takes those that are variables too.
    fn toml_values(&mut self, path: &Path) -> Result<()> {
        let mut flat = BTreeMap::new();
        for (key, value) in &self.table {
            match value {
                Value::Table(_) if key == "purposes" => {}
                Value::Table(section) if key == "limits" || key == "twilio" => {
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
                _ => return Err(bad(&format!("{key} from {place}"), "is not a text in quotes")),
            };
            self.take(info.variable, &text, place)?;
        }
        Ok(())
    }
}

fn flags(inputs: &Inputs) -> Vec<(&'static str, String)> {
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
        // The error's own words would repeat the line.
        let line = error.span().map_or(1, |span| text.get(..span.start).unwrap_or("").matches('\n').count() + 1);
        let message = format!("{}:{line}: {}", path.display(), shown(error.message().lines().next().unwrap_or("")));
        Error::new(Code::CONFIG_INVALID, message).hint("The file is TOML: key = \"text\", key = 5, [section].")
    })
}

fn unknown_key(key: &str, path: &Path) -> Error {
    let name = key.rsplit('.').next().unwrap_or(key);
    let file_key = match name {
        "secret_key" => Some("secret_key_file"),
        "auth_token" | "twilio_auth_token" => Some("twilio.auth_token_file"),
        "api_secret" | "twilio_api_secret" => Some("twilio.api_secret_file"),
        _ => None,
    };
    let place = format!("{} from {}", shown(key), Source::Toml(path.to_path_buf()));
    match file_key {
        Some(file_key) => bad(&place, "is a secret, and this file holds none")
            .hint(format!("Name a file that holds it: {file_key} = \"/path\", or set it in the environment.")),
        None => unknown(&place, nearest(key, SETTINGS.iter().map(|info| info.key).filter(|known| !known.is_empty()))),
    }
}

fn app_name(given: &Given) -> Result<String> {
    let length = given.value.chars().count();
    if length > 30 {
        return Err(given.bad(&format!("has {length} characters; 30 fit one message")));
    }
    Ok(given.value.clone())
}

fn country(given: &Given) -> Result<String> {
    let code = given.value.to_ascii_uppercase();
    if code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase()) {
        return Ok(code);
    }
    Err(given.bad("is not a country of two letters").hint("Write it like US, GB or DE (ISO 3166-1)."))
}

fn provider(given: &Given) -> Result<ProviderName> {
    match given.value.as_str() {
        "twilio" => Ok(ProviderName::Twilio),
        "console" => Ok(ProviderName::Console),
        _ => Err(given.bad("is no provider").hint("There are twilio and console.")),
    }
}

fn output(given: &Given) -> Result<String> {
    let known = ["table", "tsv", "json", "jsonl"].contains(&given.value.as_str());
    if known {
        Ok(given.value.clone())
    } else {
        Err(given.bad("is no output").hint("There are table, tsv, json, jsonl."))
    }
}

fn switch(given: &Given) -> Result<bool> {
    match given.value.as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(given.bad("is neither true nor false")),
    }
}

fn database(found: &Found, inputs: &Inputs) -> Result<Database> {
    let Some(given) = found.get("SMSOTP_DATABASE") else {
        let dir = inputs.dirs.data.as_ref().ok_or_else(|| {
            Error::new(Code::CONFIG_INVALID, "there is no home directory, so the database has no place")
                .hint("Name a file with --db PATH or SMSOTP_DATABASE.")
        })?;
        return Ok(Database::Sqlite(dir.join("smsotp.db")));
    };
    let value = given.value.as_str();
    let scheme = value.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        Some("postgres" | "postgresql") => {
            // A password in argv or in a file of settings is readable by others.
            let authority = value.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or(rest));
            let in_user = authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'));
            let secret = in_user || value.to_ascii_lowercase().contains("password=");
            if secret && matches!(given.source, Source::Toml(_) | Source::Flag) {
                return Err(given.bad("holds a password").hint("Put the URL into the environment or into .env."));
            }
            Ok(Database::Postgres(SecretString::from(value)))
        }
        Some("sqlite") => {
            let path = value[7..].strip_prefix("//").unwrap_or(&value[7..]);
            sqlite(given, path, inputs)
        }
        Some(_) if value.contains("://") => {
            Err(given.bad("is no database").hint("Give a path, sqlite:PATH, or a postgres:// URL."))
        }
        _ => sqlite(given, value, inputs),
    }
}

fn sqlite(given: &Given, path: &str, inputs: &Inputs) -> Result<Database> {
    if path.is_empty() || path.starts_with(':') {
        return Err(given.bad("names no file").hint("The database must be a file: give its path."));
    }
    Ok(Database::Sqlite(resolve(given, path, inputs)))
}

/// `~/` is the home; a relative path in `smsotp.toml` is relative to that file, for its reader's directory is anywhere.
fn resolve(given: &Given, path: &str, inputs: &Inputs) -> PathBuf {
    if let (Some(rest), Some(home)) = (path.strip_prefix("~/"), &inputs.dirs.home) {
        return home.join(rest);
    }
    match &given.source {
        Source::Toml(file) => file.parent().map_or_else(|| PathBuf::from(path), |dir| dir.join(path)),
        _ => PathBuf::from(path),
    }
}

fn keys(found: &Found, inputs: &Inputs, database: &Database) -> KeySource {
    let given = found.get("SMSOTP_SECRET_KEY_FILE");
    let own_file = match database {
        Database::Sqlite(_) => inputs.dirs.config.as_ref().map(|dir| dir.join("secret.key")),
        Database::Postgres(_) => None,
    };
    KeySource {
        inline: found.text("SMSOTP_SECRET_KEY").map(SecretString::from),
        file: given.map(|given| resolve(given, &given.value, inputs)),
        own_file,
        home: inputs.dirs.home.clone(),
    }
}
