//! The configuration, checked.

use std::path::PathBuf;

use secrecy::SecretString;

use super::settings::ProviderName;
use crate::alarm::webhook::Webhook;
use crate::keys::KeySource;
use crate::policy::Policy;
use crate::provider::twilio::account::Account;

/// Everything that was configured, checked.
#[derive(Debug)]
pub struct Config {
    /// Where the database is.
    pub database: Database,
    /// No place was named for the database: the directory of the default one may be made.
    pub database_is_default: bool,
    /// The provider that was chosen by name; `None`: Twilio where its credentials are set, else an error with the next steps.
    pub provider: Option<ProviderName>,
    /// Twilio's settings.
    pub twilio: Account,
    /// Where the secret keys come from.
    pub keys: KeySource,
    /// Where imports of moves are noted; `None`: there is no directory for settings.
    pub moves: Option<PathBuf>,
    /// The rules' settings.
    pub policy: Policy,
    /// Two-letter region for national phone input.
    pub region: Option<String>,
    /// `SMSOTP_OUTPUT`: table, tsv, csv, json or jsonl.
    pub output: Option<String>,
    /// `SMSOTP_ALLOW_TEST_NUMBERS`: `serve` accepts the fixed codes of declared test numbers.
    pub allow_test_numbers: bool,
    /// Where alarms are posted to, if anywhere.
    pub alarm_hook: Option<Webhook>,
    /// Where each value came from, for `config show`; secrets already hidden.
    pub settings: Vec<Setting>,
    /// Things worth a warning that stop nothing (a world-readable `.env`, a code that lives longer than 10 minutes).
    pub warnings: Vec<String>,
}

/// Where the database is.
#[derive(Clone, Debug)]
pub enum Database {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL URL; it may hold a password.
    Postgres(SecretString),
}

/// One setting as `config show` lists it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Setting {
    /// The name in the environment, or the key in `smsotp.toml`.
    pub name: String,
    /// The value; secrets are hidden.
    pub value: String,
    /// `flag`, `environment`, `.env`, `smsotp.toml`, `default` with the path where there is one.
    pub origin: String,
}
