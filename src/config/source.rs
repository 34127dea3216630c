//! Where values of settings come from, and the errors that name such a place.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::error::{Code, Error};

/// The settings that were given on the command line. Empty and absent are the same.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--db`: a path, `sqlite:PATH`, or a PostgreSQL URL without a password.
    pub db: Option<String>,
    /// `--config`: the path of `smsotp.toml`.
    pub config: Option<PathBuf>,
    /// `--env-file`: read in place of `./.env`; `none`: no such file is read.
    pub env_file: Option<PathBuf>,
    /// `--provider`.
    pub provider: Option<String>,
    /// `--region`.
    pub region: Option<String>,
    /// The application's name.
    pub app_name: Option<String>,
    /// Where status callbacks go.
    pub status_callback: Option<String>,
    /// `--output`.
    pub output: Option<String>,
}

/// Everything that was read, not yet checked.
#[derive(Default)]
pub struct Inputs {
    /// The settings on the command line.
    pub flags: Flags,
    /// The variables of the environment that are ours.
    pub env: BTreeMap<String, String>,
    /// The variables of the `.env` file, and where it is.
    pub dotenv: Option<(PathBuf, BTreeMap<String, String>)>,
    /// The text of `smsotp.toml`, and where it is.
    pub toml: Option<(PathBuf, String)>,
    /// The user's directories.
    pub dirs: UserDirs,
    /// Things worth a warning.
    pub warnings: Vec<String>,
}

/// The user's directories; `None` where the user has no home directory.
#[derive(Clone, Debug, Default)]
pub struct UserDirs {
    /// HOME as it is set.
    pub home: Option<PathBuf>,
    /// Ours below the configuration directory.
    pub config: Option<PathBuf>,
    /// Ours below the data directory.
    pub data: Option<PathBuf>,
}

/// Where a value was given.
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

/// A value and where it was given.
pub(super) struct GivenValue {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) source: Source,
}

impl GivenValue {
    /// An error about this value, which is named with its place and never repeated.
    pub(super) fn invalid(&self, what: &str) -> Error {
        invalid(&format!("{} from {}", self.name, self.source), what)
    }
}

/// Whether a variable belongs to smsotp, known or not. What its clients, tests and benchmarks read is no setting.
pub(super) fn is_ours(name: &str) -> bool {
    let of_others = CLIENT_VARIABLES.contains(&name) || OTHERS.iter().any(|prefix| name.starts_with(prefix));
    (name.starts_with("SMSOTP_") && !of_others) || name.starts_with("TWILIO_")
}

/// What the clients in docs/recipes read: where the server is, and the token to show it.
const CLIENT_VARIABLES: &[&str] = &["SMSOTP_URL", "SMSOTP_TOKEN"];

/// Those of the tests, the benchmarks and the pipeline.
const OTHERS: &[&str] = &["SMSOTP_TEST_", "SMSOTP_BENCH_", "SMSOTP_CI_"];

/// An error about a setting.
pub(super) fn invalid(name: &str, what: &str) -> Error {
    Error::new(Code::CONFIG_INVALID, format!("{name} {what}"))
}

/// An error about a name that is no setting, with the known name nearest to it.
pub(super) fn unknown(name: &str, near: Option<&str>) -> Error {
    let error = invalid(name, "is not a setting");
    match near {
        Some(near) => error.hint(format!("Did you mean {near}?")),
        None => error.hint("List the settings with: smsotp config show"),
    }
}

/// A name from outside as an error may show it: bounded, without control characters.
pub(super) fn printable(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(60).collect()
}
