//! What `config show` lists: every setting with its value and where it came from, secrets hidden.

use toml::{Table, Value};
use url::Url;

use super::checked::{Database, Setting};
use super::given::GivenValues;
use super::settings::{SETTINGS, SettingInfo};
use super::source::{GivenValue, Source};
use crate::abuse::CountryPolicy;
use crate::keys::KeySource;
use crate::money::Money;
use crate::policy::Policy;
use crate::purpose::{Purpose, PurposePolicy, Resend};
use crate::texts::Texts;
use crate::usage::span;

/// Every setting with its value and origin, secrets hidden.
pub(super) fn show(values: &GivenValues, policy: &Policy, database: &Database, keys: &KeySource) -> Vec<Setting> {
    let toml = values.toml_path.as_ref().map(|path| Source::Toml(path.clone()).to_string());
    let mut settings = Vec::new();
    for info in SETTINGS {
        let given = values.get(info.variable);
        let in_toml = info.variable.is_empty()
            && if info.key == "countries" { policy.countries.is_some() } else { is_set(&values.table, info.key) };
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
            "SMSOTP_ALARM_WEBHOOK" => given.map_or_else(String::new, |given| host_of(&given.value)),
            _ => value_shown(info, given),
        };
        let origin = match (given, in_toml, &toml) {
            (Some(given), ..) => given.source.to_string(),
            (None, true, Some(toml)) => toml.clone(),
            _ => "default".to_owned(),
        };
        settings.push(Setting { name: info.name().to_owned(), value, origin });
    }
    for (country, own) in &policy.guard.countries {
        let (name, origin) = (format!("countries.{country}"), toml.clone().unwrap_or_default());
        settings.push(Setting { name, value: country_value(own), origin });
    }
    let purposes = values.table.get("purposes").and_then(Value::as_table);
    for (purpose, settings_of) in &policy.purposes {
        let declared = purposes.is_some_and(|table| table.contains_key(purpose.as_str()));
        let value = purpose_value(policy, purpose, settings_of);
        let origin = if declared { toml.clone().unwrap_or_default() } else { "default".to_owned() };
        settings.push(Setting { name: format!("purposes.{purpose}"), value, origin });
    }
    for (message, texts) in &policy.messages {
        let (name, origin) = (format!("messages.{message}"), toml.clone().unwrap_or_default());
        settings.push(Setting { name, value: texts_shown(texts).join(", "), origin });
    }
    settings
}

/// The host of an address whose path may be a secret.
fn host_of(address: &str) -> String {
    let shown = |url: Url| Some(format!("{}://{}/…, hidden", url.scheme(), url.host_str()?));
    Url::parse(address).ok().and_then(shown).unwrap_or_else(|| "set, hidden".to_owned())
}

/// An amount as smsotp.toml takes it; `none` where nothing was configured.
fn amount(info: &str, amount: Option<Money>) -> String {
    let default = || SETTINGS.iter().find(|known| known.key == info).map_or("", |known| known.default).to_owned();
    amount.map_or_else(default, |amount| amount.usd().to_string())
}

/// What smsotp.toml would say of a country: `floor = 5, cap = 100`.
fn country_value(own: &CountryPolicy) -> String {
    let number = |name: &str, value: Option<u32>| value.map(|value| format!("{name} = {value}"));
    let parts = [number("floor", own.floor), number("cap", own.cap), own.closed.then(|| "closed = true".to_owned())];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
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

/// What smsotp.toml would say of texts: `text = "…"`, `texts.de = "…"`, `countries.IN = "…"`.
fn texts_shown(texts: &Texts) -> Vec<String> {
    let others = texts.others.iter().map(|text| ("text".to_owned(), text));
    let locales = texts.locales.iter().map(|(locale, text)| (format!("texts.{locale}"), text));
    let countries = texts.countries.iter().map(|(country, text)| (format!("countries.{country}"), text));
    let all = others.chain(locales).chain(countries);
    all.map(|(key, text)| format!("{key} = {}", Value::from(text.as_str()))).collect()
}

/// What smsotp.toml would say of a purpose: `ttl = "10m", digits = 6, resend = "same"`.
fn purpose_value(policy: &Policy, purpose: &Purpose, settings: &PurposePolicy) -> String {
    let resend = if settings.resend == Resend::New { "new" } else { "same" };
    let mut value = format!("ttl = \"{}\", digits = {}, resend = \"{resend}\"", span(settings.ttl), settings.digits);
    for text in texts_shown(&settings.texts) {
        value.push_str(&format!(", {text}"));
    }
    if let Some(own) = policy.limits.purposes.get(purpose.as_str()) {
        let cooldown =
            own.cooldown.as_ref().map(|pauses| format!(", cooldown = {}", list(pauses.iter().map(|p| span(*p)))));
        value.push_str(&cooldown.unwrap_or_default());
        if !own.phone.is_empty() {
            value.push_str(&format!(", phone = {}", list(&own.phone)));
        }
        value.push_str(&own.guesses_per_otp.map(|n| format!(", guesses_per_otp = {n}")).unwrap_or_default());
    }
    if policy.guard.conversion_unknown.contains(purpose) {
        value.push_str(", conversion = \"unknown\"");
    }
    value
}

/// A list of strings as smsotp.toml has it.
fn list(items: impl IntoIterator<Item = impl ToString>) -> String {
    Value::Array(items.into_iter().map(|item| Value::from(item.to_string())).collect()).to_string()
}

/// The value in force of a setting that only `smsotp.toml` has, as that file takes it.
fn policy_value(policy: &Policy, key: &str) -> String {
    let limits = &policy.limits;
    match key {
        "countries" => policy.countries.as_ref().map_or_else(|| "all".to_owned(), list),
        "ceilings.message" => amount(key, policy.guard.ceilings.message),
        "ceilings.hour" => amount(key, policy.guard.ceilings.hour),
        "ceilings.day" => amount(key, policy.guard.ceilings.day),
        "ceilings.month" => amount(key, policy.guard.ceilings.month),
        "keep" => Value::from(span(policy.keep)).to_string(),
        "segments_max" => policy.segments_max.to_string(),
        "limits.cooldown" => list(limits.cooldown.iter().map(|pause| span(*pause))),
        "limits.phone" => list(&limits.phone),
        "limits.user" => list(&limits.user),
        "limits.user_phones" => list(&limits.user_phones),
        "limits.ip" => list(&limits.ip),
        "limits.ip_phones" => list(&limits.ip_phones),
        "limits.network" => list(&limits.network),
        "limits.everything" => list(&limits.everything),
        "limits.refused_phone" => list(&limits.refused_phone),
        "limits.refused_other" => list(&limits.refused_other),
        "limits.guesses_per_otp" => limits.guesses_per_otp.to_string(),
        "limits.guesses_per_user" => list(&limits.guesses_per_user),
        "limits.guesses_per_phone" => list(&limits.guesses_per_phone),
        "limits.guesses_per_ip" => list(&limits.guesses_per_ip),
        "limits.guesses_per_token" => list(&limits.guesses_per_token),
        "limits.guesses_in_a_row" => limits.guesses_in_a_row.to_string(),
        _ => String::new(),
    }
}
