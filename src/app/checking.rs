//! What `config check` tries: everything that `send` would need, as far as it can be tried without sending or making anything.

use std::io::ErrorKind;
use std::path::Path;

use super::{App, OpenMode, chosen_provider};
use crate::abuse::CEILINGS_HINT;
use crate::check::{Check, Mark};
use crate::config::{Config, Database, ProviderName};
use crate::engine;
use crate::error::{Code, Error, Result};
use crate::keys::{Keyring, user_name};
use crate::store::sqlite;

/// Tries the provider's settings, the wordings, the keys and the database. What fails here fails in `send`.
pub fn try_settings(config: Config, notice: &dyn Fn(&str)) -> Vec<Check> {
    let mut checks = vec![provider(&config)];
    let too_long = engine::wordings_too_long(&config.policy);
    checks.extend(too_long.iter().map(|(purpose, error)| failed("wording", &format!("purpose {purpose}: "), error)));
    if too_long.is_empty() {
        checks.push(passed("wording", format!("the messages of {} purposes fit", config.policy.purposes.len())));
    }
    match keys_and_database(config, notice) {
        Ok((finding, warnings, guard)) => {
            checks.push(passed("database", finding));
            checks.extend(warnings.into_iter().map(|warning| Check::new("keys", Mark::Warn, warning, "")));
            checks.extend(guard.map(|error| failed("guard", "", &error)));
        }
        Err(error) => {
            let name = if error.code() == Code::KEY_INVALID { "keys" } else { "database" };
            checks.push(failed(name, "", &error));
        }
    }
    checks
}

fn provider(config: &Config) -> Check {
    match (App::check_provider(config), chosen_provider(config)) {
        (Err(error), _) => failed("provider", "", &error),
        (Ok(()), Some(ProviderName::Console)) => {
            Check::new("provider", Mark::Warn, "console: messages are printed and not sent", "")
        }
        (Ok(()), _) => passed("provider", "twilio: everything is there and well-formed".to_owned())
            .next_step("Whether Twilio accepts it: smsotp test-twilio"),
    }
}

/// Opens what is there, with its keys; looks whether what is not there yet could be made. What was found, warnings of the keys, and what
/// the guard lacks.
fn keys_and_database(config: Config, notice: &dyn Fn(&str)) -> Result<(String, Vec<String>, Option<Error>)> {
    if let Database::Sqlite(path) = &config.database
        && !sqlite::exists(path)?
    {
        let warnings = keys_of_a_new_database(&config)?;
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        if !config.database_is_default && !dir.is_dir() {
            return Err(sqlite::no_directory(dir));
        }
        could_write(dir)?;
        return Ok((format!("{} is made by the first send", path.display()), warnings, None));
    }
    let app = App::open(config, OpenMode::Existing, notice)?;
    app.run(app.engine().try_out())?;
    let place = app.run(app.engine().status())?.place;
    let warnings = app.keyring.warnings().to_vec();
    let guard = unguarded_token(&app)?;
    Ok((format!("{place} opens with the keys of {}", app.key_origin()), warnings, guard))
}

/// A live token whose conversion is unknown, where no ceiling bounds what it spends.
fn unguarded_token(app: &App) -> Result<Option<Error>> {
    let Some(why) = app.config.policy.guard.conversion_unknown_needs() else { return Ok(None) };
    let now = app.run(app.engine().reads().now())?;
    let tokens = app.run(app.engine().tokens())?;
    let token = tokens.iter().find(|token| token.conversion_unknown && token.is_live(now));
    Ok(token.map(|token| {
        let what = format!("token {}, whose conversion is unknown, {why}", token.id);
        Error::new(Code::CONFIG_INVALID, what).hint(CEILINGS_HINT)
    }))
}

fn keys_of_a_new_database(config: &Config) -> Result<Vec<String>> {
    let keys = &config.keys;
    match &keys.own_file {
        Some(path) if keys.inline.is_none() && keys.file.is_none() && path.symlink_metadata().is_err() => {
            could_write(path.parent().unwrap_or(path))?;
            Ok(Vec::new())
        }
        _ => Ok(Keyring::load(keys, false)?.warnings().to_vec()),
    }
}

/// Whether this user could make a file in this directory, and the directory where it is missing.
fn could_write(dir: &Path) -> Result<()> {
    let no = |what: &str| {
        Error::new(Code::FILE_FAILED, format!("{} {what}", dir.display()))
            .hint("Make the directory writable for this user, or name another place with --db or SMSOTP_DATABASE.")
    };
    match dir.metadata() {
        Ok(meta) if !meta.is_dir() => Err(no("is no directory")),
        Ok(_) if may_write(dir) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => match dir.parent() {
            Some(above) if above.as_os_str().is_empty() => could_write(Path::new(".")),
            Some(above) => could_write(above),
            None => Err(no("does not exist")),
        },
        _ => Err(no(&format!("may not be written by the user {}", user_name()))),
    }
}

#[cfg(unix)]
fn may_write(dir: &Path) -> bool {
    use nix::unistd::{AccessFlags, access};

    access(dir, AccessFlags::W_OK | AccessFlags::X_OK).is_ok()
}

#[cfg(not(unix))]
fn may_write(dir: &Path) -> bool {
    dir.metadata().is_ok_and(|meta| !meta.permissions().readonly())
}

fn passed(name: &'static str, finding: String) -> Check {
    Check::new(name, Mark::Ok, finding, "")
}

fn failed(name: &'static str, about: &str, error: &Error) -> Check {
    let check = Check::new(name, Mark::Fail, format!("{about}{error}"), "");
    match error.hint_text() {
        Some(hint) => check.next_step(hint),
        None => check,
    }
}
