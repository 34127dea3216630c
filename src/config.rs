//! One checked configuration out of flags, environment, `.env`, `smsotp.toml` and defaults. The only reader of the environment.

use std::path::PathBuf;

use secrecy::SecretString;
use url::Url;

use crate::purpose::Policy;

/// Everything that was configured, checked.
#[derive(Debug)]
pub struct Config {
    /// Where the books are.
    pub database: Database,
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
    /// Where each value came from, for `config show`; secrets already hidden.
    pub settings: Vec<Setting>,
    /// Things worth a warning that stop nothing (world-readable `.env`, a life above 10 minutes).
    pub warnings: Vec<String>,
}

/// Where the books are.
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

/// Where the secret keys come from, in this order.
#[derive(Debug)]
pub struct KeySource {
    /// `SMSOTP_SECRET_KEY`: one or several base64 keys of 32 bytes, newest first, separated by commas or white space.
    pub inline: Option<SecretString>,
    /// `SMSOTP_SECRET_KEY_FILE`: a file with the same content.
    pub file: Option<PathBuf>,
    /// The file of our own, made when the books are new. `None`: on PostgreSQL, and where the user has no home.
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
