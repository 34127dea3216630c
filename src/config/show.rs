//! What `config show` lists: every setting with its value and where it came from, secrets hidden.

use toml::{Table, Value};
use url::Url;

use super::checked::{Database, Setting};
use super::given::GivenValues;
use super::policy::span;
use super::settings::{SETTINGS, SettingInfo};
use super::source::{GivenValue, Source};
use crate::keys::KeySource;
use crate::limits::Window;
use crate::policy::Policy;
use crate::purpose::Resend;

/// Every setting with its value and origin, secrets hidden.
pub(super) fn show(values: &GivenValues, policy: &Policy, database: &Database, keys: &KeySource) -> Vec<Setting> {
    let toml = values.toml_path.as_ref().map(|path| Source::Toml(path.clone()).to_string());
    let mut settings = Vec::new();
    for info in SETTINGS {
        let given = values.get(info.variable);
        let in_toml = info.variable.is_empty() && is_set(&values.table, info.key);
        let value = match info.variable {
            "" => policy_value(policy, info.key),
            "SMSOTP_DATABASE" => match database {
                Database::Sqlite(path) => path.display().to_string(),
                Database::Postgres(_) => "postgres://…, hidden".to_owned(),
            },
            "SMSOTP_SECRET_KEY_FILE" => match (&keys.file, &keys.own_file) {
                (Some(path), _) | (None, Some(path)) => path.display().to_string(),
                (None, None) => String::new(),
            },
            _ => value_shown(info, given),
        };
        let origin = match (given, in_toml, &toml) {
            (Some(given), ..) => given.source.to_string(),
            (None, true, Some(toml)) => toml.clone(),
            _ => "default".to_owned(),
        };
        settings.push(Setting { name: info.name().to_owned(), value, origin });
    }
    let purposes = values.table.get("purposes").and_then(Value::as_table);
    for (purpose, settings_of) in &policy.purposes {
        let declared = purposes.is_some_and(|table| table.contains_key(purpose.as_str()));
        let resend = if settings_of.resend == Resend::New { "new" } else { "same" };
        let value = format!(
            "ttl {}, {} digits, resend {resend}, {} text",
            span(settings_of.ttl),
            settings_of.digits,
            if settings_of.text.is_some() { "own" } else { "built-in" },
        );
        let origin = if declared { toml.clone().unwrap_or_default() } else { "default".to_owned() };
        settings.push(Setting { name: format!("purposes.{purpose}"), value, origin });
    }
    settings
}

fn value_shown(info: &SettingInfo, given: Option<&GivenValue>) -> String {
    match given {
        None if info.secret => "not set".to_owned(),
        None => info.default.to_owned(),
        Some(_) if info.secret => "set, hidden".to_owned(),
        // A token pasted where an id belongs must not be shown either.
        Some(given) if info.example.ends_with("xxxx") => {
            let (prefix, value) = (&info.example[..2], &given.value);
            let shape =
                value.len() == 34 && value.starts_with(prefix) && value[2..].bytes().all(|b| b.is_ascii_hexdigit());
            if shape { value.clone() } else { "set, malformed, hidden".to_owned() }
        }
        Some(given) => match Url::parse(&given.value) {
            Ok(mut url) if url.password().is_some() => {
                let _ = url.set_password(Some("hidden"));
                url.to_string()
            }
            _ => given.value.clone(),
        },
    }
}

fn is_set(table: &Table, key: &str) -> bool {
    match key.split_once('.') {
        Some((section, key)) => table.get(section).and_then(Value::as_table).is_some_and(|t| t.contains_key(key)),
        None => table.contains_key(key),
    }
}

/// The value in force of a setting that only `smsotp.toml` has.
fn policy_value(policy: &Policy, key: &str) -> String {
    let limits = &policy.limits;
    let one = |w: &Window| format!("{}/{}", w.max, span(w.per));
    let many = |windows: &[Window]| {
        if windows.is_empty() { "off".to_owned() } else { windows.iter().map(one).collect::<Vec<_>>().join(" ") }
    };
    match key {
        "countries" => policy.countries.as_ref().map_or_else(|| "all".to_owned(), |list| list.join(" ")),
        "keep" => span(policy.keep),
        "segments_max" => policy.segments_max.to_string(),
        "limits.cooldown" if limits.cooldown.is_empty() => "off".to_owned(),
        "limits.cooldown" => limits.cooldown.iter().map(|d| span(*d)).collect::<Vec<_>>().join(" "),
        "limits.phone" => many(&limits.phone),
        "limits.user" => many(&limits.user),
        "limits.user_phones" => one(&limits.user_phones),
        "limits.ip" => many(&limits.ip),
        "limits.ip_phones" => one(&limits.ip_phones),
        "limits.network" => many(&limits.network),
        "limits.everything" => many(&limits.everything),
        "limits.refused_phone" => one(&limits.refused_phone),
        "limits.refused_other" => one(&limits.refused_other),
        "limits.guesses_per_otp" => limits.guesses_per_otp.to_string(),
        "limits.guesses_per_phone" => one(&limits.guesses_per_phone),
        "limits.guesses_per_ip" => one(&limits.guesses_per_ip),
        "limits.guesses_in_a_row" => limits.guesses_in_a_row.to_string(),
        _ => String::new(),
    }
}
