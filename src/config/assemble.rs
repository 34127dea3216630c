//! Checks the given values and makes the configuration of them.

use std::path::PathBuf;

use secrecy::SecretString;

use super::checked::{Config, Database};
use super::given::GivenValues;
use super::guard;
use super::policy;
use super::settings::ProviderName;
use super::show::show;
use super::source::{GivenValue, Inputs, Source};
use super::twilio::twilio;
use crate::error::{Code, Error, Result};
use crate::keys::KeySource;
use crate::locale::Locale;
use crate::phone;
use crate::policy::Policy;

/// Checks everything that was read and makes the configuration of it. Reads nothing but the operator's prices and the files that hold a secret.
///
/// Errors: `CONFIG_INVALID` (78).
pub fn assemble(inputs: Inputs) -> Result<Config> {
    let given = GivenValues::new(&inputs)?;
    let mut warnings = inputs.warnings.clone();
    warnings.extend_from_slice(given.unused());
    let mut policy = Policy::default();
    warnings.extend(policy::apply(&mut policy, &given.table)?);
    let prices = given.get("SMSOTP_PRICES_FILE").map(|prices| resolve(prices, &prices.value, &inputs));
    warnings.extend(guard::apply(&mut policy, &given, prices.as_deref())?);
    if let Some(name) = given.get("SMSOTP_APP_NAME") {
        policy.app_name = app_name(name)?;
    }
    let alarm_hook = guard::alarm_hook(&given, &policy.app_name, &mut warnings)?;
    if let Some(given) = given.get("SMSOTP_LOCALE") {
        policy.locale = locale(given)?;
    }
    let region = given.get("SMSOTP_REGION").map(country).transpose()?;
    let provider = given.get("SMSOTP_PROVIDER").map(provider).transpose()?;
    let output = given.get("SMSOTP_OUTPUT").map(output).transpose()?;
    let allow_test_numbers = given.get("SMSOTP_ALLOW_TEST_NUMBERS").map(switch).transpose()?.unwrap_or(false);
    let database = database(&given, &inputs)?;
    let keys = keys(&given, &inputs, &database);
    let twilio = twilio(&given, &mut warnings)?;
    let settings = show(&given, &policy, &database, &keys);
    let database_is_default = given.get("SMSOTP_DATABASE").is_none();
    Ok(Config {
        database,
        database_is_default,
        provider,
        twilio,
        keys,
        moves: inputs.dirs.config.as_ref().map(|dir| dir.join("moves")),
        policy,
        region,
        output,
        allow_test_numbers,
        alarm_hook,
        settings,
        warnings,
    })
}

fn app_name(given: &GivenValue) -> Result<String> {
    let length = given.value.chars().count();
    if length > 30 {
        return Err(given.invalid(&format!("has {length} characters; 30 fit one message")));
    }
    Ok(given.value.clone())
}

fn locale(given: &GivenValue) -> Result<Locale> {
    Locale::parse(&given.value)
        .ok_or_else(|| given.invalid("is not a locale").hint("Write it like de, de-AT, pt-BR or zh-Hant."))
}

fn country(given: &GivenValue) -> Result<String> {
    phone::country(&given.value).map(str::to_owned).ok_or_else(|| {
        given.invalid("is no country that has phone numbers").hint(phone::how_to_name_a_country(&given.value))
    })
}

fn provider(given: &GivenValue) -> Result<ProviderName> {
    ProviderName::parse(&given.value).ok_or_else(|| {
        given.invalid("is not a provider").hint(format!("There are {}.", ProviderName::NAMES.join(" and ")))
    })
}

fn output(given: &GivenValue) -> Result<String> {
    let known = ["table", "tsv", "csv", "json", "jsonl"].contains(&given.value.as_str());
    if known {
        Ok(given.value.clone())
    } else {
        Err(given.invalid("is not an output format").hint("There are table, tsv, csv, json and jsonl."))
    }
}

fn switch(given: &GivenValue) -> Result<bool> {
    match given.value.as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(given.invalid("is neither true nor false")),
    }
}

fn database(values: &GivenValues, inputs: &Inputs) -> Result<Database> {
    let Some(given) = values.get("SMSOTP_DATABASE") else {
        let dir = inputs.dirs.data.as_ref().ok_or_else(|| {
            Error::new(Code::CONFIG_INVALID, "there is no home directory for the database")
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
                return Err(given.invalid("holds a password").hint("Set the URL in the environment or in .env."));
            }
            Ok(Database::Postgres(SecretString::from(value)))
        }
        Some("sqlite") => {
            let path = value[7..].strip_prefix("//").unwrap_or(&value[7..]);
            sqlite(given, path, inputs)
        }
        Some(_) if value.contains("://") => {
            Err(given.invalid("is not a database").hint("Give a path, sqlite:PATH, or a postgres:// URL."))
        }
        _ => sqlite(given, value, inputs),
    }
}

fn sqlite(given: &GivenValue, path: &str, inputs: &Inputs) -> Result<Database> {
    if path.is_empty() || path.starts_with(':') {
        return Err(given.invalid("names no file").hint("The database must be a file: give its path."));
    }
    Ok(Database::Sqlite(resolve(given, path, inputs)))
}

/// `~/` is the home; a relative path in `smsotp.toml` is relative to that file, whatever the current directory is.
fn resolve(given: &GivenValue, path: &str, inputs: &Inputs) -> PathBuf {
    if let (Some(rest), Some(home)) = (path.strip_prefix("~/"), &inputs.dirs.home) {
        return home.join(rest);
    }
    match &given.source {
        Source::Toml(file) => file.parent().map_or_else(|| PathBuf::from(path), |dir| dir.join(path)),
        _ => PathBuf::from(path),
    }
}

fn keys(values: &GivenValues, inputs: &Inputs, database: &Database) -> KeySource {
    let given = values.get("SMSOTP_SECRET_KEY_FILE");
    let own_file = match database {
        Database::Sqlite(_) => inputs.dirs.config.as_ref().map(|dir| dir.join("secret.key")),
        Database::Postgres(_) => None,
    };
    KeySource {
        inline: values.text("SMSOTP_SECRET_KEY").map(SecretString::from),
        file: given.map(|given| resolve(given, &given.value, inputs)),
        own_file,
        home: inputs.dirs.home.clone(),
    }
}
