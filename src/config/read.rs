//! Reads the environment, one `.env`, one `smsotp.toml`, and files that hold a secret.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use directories::BaseDirs;
use zeroize::Zeroizing;

use super::dotenv::{Dotenv, parse_dotenv};
use super::settings::SETTINGS;
use super::source::{Flags, Inputs, UserDirs, is_ours};
use crate::error::{Code, Error, Result};
use crate::files::{self, Failure, Holds};
use crate::typed;

/// A configuration file is small; what is larger is another file.
const FILE_MAX: u64 = 256 * 1024;

/// Reads all sources of settings.
///
/// Errors: `CONFIG_INVALID`, which names the file and never its content.
pub(super) fn read_sources(flags: Flags) -> Result<Inputs> {
    let (env, dirs) = (environment()?, user_dirs());
    let mut warnings = Vec::new();
    let dotenv = read_dotenv(&flags, &mut warnings)?;
    let toml = read_toml(&flags, &env, &dirs, &mut warnings)?;
    Ok(Inputs { flags, env, dotenv, toml, dirs, warnings })
}

/// The file that `--env-file` names, else `./.env`; `--env-file none` reads none.
fn read_dotenv(flags: &Flags, warnings: &mut Vec<String>) -> Result<Option<(PathBuf, BTreeMap<String, String>)>> {
    let path = match &flags.env_file {
        Some(path) if path.as_os_str() == "none" => return Ok(None),
        Some(path) => path.clone(),
        None => PathBuf::from(".env"),
    };
    let contents = match files::read(&path, FILE_MAX) {
        Ok(contents) => contents,
        // ./.env was not named: it may be missing, or be the directory of a Python environment.
        Err(Failure::Missing | Failure::Directory) if flags.env_file.is_none() => return Ok(None),
        Err(why) => {
            let error = unreadable(&path, "the settings file", why);
            return Err(match flags.env_file {
                Some(_) => error,
                None => error.hint("Make it readable for this user, or read no such file: --env-file none"),
            });
        }
    };
    // Lossy: what is not ours in it may be in any encoding. A value of ours may not, which is checked with the others.
    let Dotenv { values, warnings: differences } = parse_dotenv(&contents.lossy(), &path)?;
    warnings.extend(differences);
    let is_secret = |name: &str| SETTINGS.iter().any(|info| info.secret && info.variable == name);
    let secrets = values.iter().any(|(name, value)| is_secret(name) && !value.trim().is_empty());
    let holds = if secrets { Holds::Secrets } else { Holds::Settings };
    warnings.extend(files::exposure(&path, &contents.meta, holds));
    Ok(Some((path, values)))
}

/// The variables of the environment that are ours by name.
///
/// Errors: `CONFIG_INVALID` for one that is not UTF-8.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn environment() -> Result<BTreeMap<String, String>> {
    let mut ours = BTreeMap::new();
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| is_ours(name)) else { continue };
        let value = value
            .into_string()
            .map_err(|_| Error::new(Code::CONFIG_INVALID, format!("{name} in the environment is not UTF-8")))?;
        ours.insert(name.to_owned(), value);
    }
    Ok(ours)
}

/// One variable of the environment that is no setting (NO_COLOR, TERM, ...).
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty())
}

fn user_dirs() -> UserDirs {
    let home = variable("HOME").map(PathBuf::from);
    // Relative XDG variables are ignored by `directories`, as the XDG specification wants; a relative HOME is no home.
    let base = BaseDirs::new().filter(|base| base.home_dir().is_absolute());
    UserDirs {
        home,
        config: base.as_ref().map(|base| base.config_dir().join("smsotp")),
        data: base.as_ref().map(|base| base.data_dir().join("smsotp")),
    }
}

fn read_toml(
    flags: &Flags,
    env: &BTreeMap<String, String>,
    dirs: &UserDirs,
    warnings: &mut Vec<String>,
) -> Result<Option<(PathBuf, String)>> {
    // Not from .env: another project's .env could combine a file of the user's with an address of its own.
    let from_env =
        || env.get("SMSOTP_CONFIG").map(|path| path.trim()).filter(|path| !path.is_empty()).map(PathBuf::from);
    let named = flags.config.clone().or_else(from_env);
    let explicit = named.is_some();
    let Some(path) = named.or_else(|| dirs.config.as_ref().map(|dir| dir.join("smsotp.toml"))) else { return Ok(None) };
    let contents = match files::read(&path, FILE_MAX) {
        Ok(contents) => contents,
        Err(Failure::Missing) if !explicit => return Ok(None),
        Err(why) => return Err(unreadable(&path, "the configuration", why)),
    };
    warnings.extend(files::exposure(&path, &contents.meta, Holds::Settings));
    let text = contents.text().map_err(|why| unreadable(&path, "the configuration", why))?;
    Ok(Some((path, text.as_str().to_owned())))
}

/// A file that holds one secret: one line, trimmed.
///
/// Errors: `CONFIG_INVALID`, which names the setting and the path and never the content.
pub(super) fn read_secret(path: &Path, name: &str) -> Result<(Zeroizing<String>, Vec<String>)> {
    let what = format!("the file of {name}");
    let contents = files::read(path, FILE_MAX).map_err(|why| unreadable(path, &what, why))?;
    let text = contents.text().map_err(|why| unreadable(path, &what, why))?;
    let secret = Zeroizing::new(typed::trimmed(&text).to_owned());
    if secret.is_empty() || secret.len() > 4096 || secret.chars().any(char::is_control) {
        let message = format!("{what}, {}, does not hold one secret in one line", path.display());
        return Err(Error::new(Code::CONFIG_INVALID, message));
    }
    Ok((secret, files::exposure(path, &contents.meta, Holds::Secrets)))
}

/// A list in a file of its own, as text.
///
/// Errors: `CONFIG_INVALID`, which names the path.
pub(super) fn read_list(path: &Path) -> Result<String> {
    let contents = files::read(path, FILE_MAX).map_err(|why| unreadable(path, "the price list", why))?;
    let text = contents.text().map_err(|why| unreadable(path, "the price list", why))?;
    Ok(text.as_str().to_owned())
}

fn unreadable(path: &Path, what: &str, why: Failure) -> Error {
    Error::new(Code::CONFIG_INVALID, format!("cannot read {what} {}: {}", path.display(), why.why()))
        .hint("Check the path, and that this user may read the file.")
}
