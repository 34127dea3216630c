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

pub use assemble::assemble;
pub use settings::{PURPOSE_KEYS, SETTINGS, SettingInfo, env_example};
pub use sources::{Dirs, Inputs};

use crate::error::Result;
use crate::keys::KeySource;
use crate::provider::twilio::account::Account;
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
    pub twilio: Account,
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

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProviderName::Twilio => "twilio",
            ProviderName::Console => "console",
        })
    }
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
