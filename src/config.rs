//! One checked configuration out of flags, environment, `.env`, `smsotp.toml` and defaults. The only reader of the environment.

mod assemble;
mod policy;
mod settings;
mod show;
mod sources;
mod twilio;

use std::fmt;
use std::path::PathBuf;

use secrecy::SecretString;
use url::Url;

pub use assemble::assemble;
pub use settings::{PURPOSE_KEYS, SETTINGS, SettingInfo, env_example};
pub use sources::{Dirs, Inputs};

use crate::error::Result;
use crate::purpose::Policy;

/// Everything that was configured, checked.
#[derive(Debug)]
pub struct Config {
    /// Where the database is.
    pub database: Database,
    /// Nobody named a place for the database: the directory of the default one may be made.
    pub database_is_default: bool,
    /// The provider that was chosen by name; `None`: Twilio where credentials are present, else an error with the next steps.
    pub provider: Option<ProviderName>,
    /// Twilio's settings.
    pub twilio: Twilio,
    /// Where the secret keys come from.
    pub keys: KeySource,
    /// The rules' settings.
    pub policy: Policy,
    /// Two-letter region for national phone input.
    pub region: Option<String>,
    /// `SMSOTP_OUTPUT`: table, tsv, json or jsonl.
    pub output: Option<String>,
    /// `SMSOTP_ALLOW_TEST_NUMBERS`: `serve` lets declared test numbers open with their fixed codes.
    pub allow_test_numbers: bool,
    /// Where each value came from, for `config show`; secrets already hidden.
    pub settings: Vec<Setting>,
    /// Things worth a warning that stop nothing (world-readable `.env`, a life above 10 minutes).
    pub warnings: Vec<String>,
}

/// What the command line said. Empty and absent are the same.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--db`: a path, `sqlite:PATH`, or a PostgreSQL URL without a password.
    pub db: Option<String>,
    /// `--config`: the path of `smsotp.toml`.
    pub config: Option<PathBuf>,
    /// `--env-file`: read in place of `./.env`.
    pub env_file: Option<PathBuf>,
    /// `--provider`.
    pub provider: Option<String>,
    /// `--region`.
    pub region: Option<String>,
    /// `--app-name`.
    pub app_name: Option<String>,
    /// `--status-callback`.
    pub status_callback: Option<String>,
    /// `--output`.
    pub output: Option<String>,
}

/// What the environment says about the screen: read at once, before anything can fail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Screen {
    /// `NO_COLOR` is set and not empty.
    pub no_color: bool,
    /// `CLICOLOR_FORCE` is set, not empty and not 0.
    pub force_color: bool,
    /// `TERM` is `dumb`.
    pub dumb: bool,
    /// `RUST_LOG`: what is logged.
    pub log: Option<String>,
    /// `SMSOTP_OUTPUT`, unchecked.
    pub output: Option<String>,
}

/// Reads and checks everything that was configured.
///
/// Errors: `CONFIG_INVALID` (78), which names the setting or the file and line, and never a secret.
pub fn load(flags: Flags) -> Result<Config> {
    assemble(sources::read(flags)?)
}

impl Screen {
    /// What the environment says.
    pub fn from_environment() -> Screen {
        let variable = sources::variable;
        Screen {
            no_color: variable("NO_COLOR").is_some(),
            force_color: variable("CLICOLOR_FORCE").is_some_and(|value| value != "0"),
            dumb: variable("TERM").is_some_and(|value| value == "dumb"),
            log: variable("RUST_LOG"),
            output: variable("SMSOTP_OUTPUT"),
        }
    }
}

/// Where the database is.
#[derive(Clone, Debug)]
pub enum Database {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL URL; it may hold a password.
    Postgres(SecretString),
}

/// The providers by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderName {
    /// Twilio's Programmable Messaging.
    Twilio,
    /// Prints the message instead of sending it.
    Console,
}

/// Twilio's settings as they were given; completeness is checked when a verb needs them.
#[derive(Debug, Default)]
pub struct Twilio {
    /// `TWILIO_ACCOUNT_SID`: AC and 32 hex digits.
    pub account_sid: Option<String>,
    /// `TWILIO_AUTH_TOKEN`.
    pub auth_token: Option<SecretString>,
    /// `TWILIO_API_KEY`: SK and 32 hex digits. With its secret it wins over the token.
    pub api_key: Option<String>,
    /// `TWILIO_API_SECRET`.
    pub api_secret: Option<SecretString>,
    /// `TWILIO_PHONE_NUMBER`: the sender.
    pub phone_number: Option<String>,
    /// `TWILIO_MESSAGING_SERVICE_SID`: MG and 32 hex digits. Wins over the number.
    pub messaging_service_sid: Option<String>,
    /// `TWILIO_REGION`.
    pub region: Option<String>,
    /// `TWILIO_EDGE`.
    pub edge: Option<String>,
    /// `TWILIO_API_BASE_URL`, accepted only from the source that gave the credentials; https, or loopback http.
    pub base_url: Option<Url>,
    /// `SMSOTP_STATUS_CALLBACK`: public URL for delivery callbacks.
    pub status_callback: Option<Url>,
}

impl Twilio {
    /// What is given but cannot be right by its shape, in words: for `config check` and `test-twilio`. Values are not repeated,
    /// for a token may stand in the place of an id.
    pub fn problems(&self) -> Vec<String> {
        let sid = |name: &str, prefix: &str, value: &Option<String>| {
            let well_formed =
                |v: &String| v.len() == 34 && v.starts_with(prefix) && v[2..].bytes().all(|b| b.is_ascii_hexdigit());
            let bad = value.as_ref().is_some_and(|v| !v.is_ascii() || !well_formed(v));
            bad.then(|| format!("{name} is not {prefix} and 32 hex digits"))
        };
        let mut problems: Vec<String> = [
            sid("TWILIO_ACCOUNT_SID", "AC", &self.account_sid),
            sid("TWILIO_API_KEY", "SK", &self.api_key),
            sid("TWILIO_MESSAGING_SERVICE_SID", "MG", &self.messaging_service_sid),
        ]
        .into_iter()
        .flatten()
        .collect();
        if self.api_key.is_some() != self.api_secret.is_some() {
            problems.push("TWILIO_API_KEY and TWILIO_API_SECRET need each other".to_owned());
        }
        if self.edge.is_some() && self.region.is_none() {
            problems.push("TWILIO_EDGE needs TWILIO_REGION".to_owned());
        }
        problems
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProviderName::Twilio => "twilio",
            ProviderName::Console => "console",
        })
    }
}

/// Where the secret keys come from, in this order.
#[derive(Debug)]
pub struct KeySource {
    /// `SMSOTP_SECRET_KEY`: one or several base64 keys of 32 bytes, newest first, separated by commas or white space.
    pub inline: Option<SecretString>,
    /// `SMSOTP_SECRET_KEY_FILE`: a file with the same content.
    pub file: Option<PathBuf>,
    /// The file of our own, made when the database is new. `None`: on PostgreSQL, and where the user has no home.
    pub own_file: Option<PathBuf>,
    /// The HOME that paths were made from, for errors.
    pub home: Option<PathBuf>,
}

/// One setting as `config show` lists it.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The name in the environment, or the key in `smsotp.toml`.
    pub name: String,
    /// The value; secrets are hidden.
    pub value: String,
    /// `flag`, `environment`, `.env`, `smsotp.toml`, `default` with the path where there is one.
    pub origin: String,
}

#[cfg(test)]
mod tests;
