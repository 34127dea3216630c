//! The guard's settings: its mode, ceilings, countries, prices, and where alarms go.

use std::path::Path;

use toml::{Table, Value};
use url::Url;

use super::given::GivenValues;
use super::policy::{number, section};
use super::read::{read_list, read_secret};
use super::settings::{COUNTRY_KEYS, nearest};
use super::source::{GivenValue, invalid, printable, unknown};
use crate::abuse::{CEILINGS_HINT, CountryPolicy, GuardPolicy, Mode};
use crate::alarm::webhook::{Template, Webhook, refused};
use crate::error::{Code, Error, Result};
use crate::money::{Ceilings, Channel, Money};
use crate::phone;
use crate::policy::Policy;

/// More messages in a day than go to any country.
const MESSAGES_MAX: u32 = 100_000_000;

/// The least length of what alarms are signed with, in characters.
const SECRET_MIN: usize = 16;

/// Applies what was given to the guard and returns what is worth a warning. `prices_file` is where the operator's prices are.
///
/// Errors: `CONFIG_INVALID`, which names the setting, its value and the values that are possible.
pub(super) fn apply(policy: &mut Policy, values: &GivenValues, prices_file: Option<&Path>) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    policy.guard.mode = values.get("SMSOTP_GUARD").map(mode).transpose()?;
    if let Some(path) = prices_file {
        policy.guard.prices = std::mem::take(&mut policy.guard.prices).with_file(&read_list(path)?).map_err(|why| {
            Error::new(Code::CONFIG_INVALID, format!("the price list {}, {why}", path.display())).hint(
                "A line is country,price or country,price,channel: US,0.0083 or DE,0.07,whatsapp, in US$ per segment.",
            )
        })?;
    }
    if let Some(value) = values.table.get("ceilings") {
        policy.guard.ceilings = ceilings(section("ceilings", value)?, &mut warnings)?;
    }
    if let Some(Value::Table(table)) = values.table.get("countries") {
        countries(policy, table, &mut warnings)?;
    }
    let unaffordable = unaffordable(policy);
    if !unaffordable.is_empty() {
        warnings.push(format!(
            "countries allows {}, where one segment costs more than ceilings.message: no message goes there",
            unaffordable.join(", ")
        ));
    }
    if let (Some(purpose), Some(why)) =
        (policy.guard.conversion_unknown.first(), policy.guard.conversion_unknown_needs())
    {
        let name = format!("purposes.{purpose}.conversion");
        return Err(invalid(&name, &format!("= \"unknown\" {why}")).hint(CEILINGS_HINT));
    }
    Ok(warnings)
}

/// Where alarms go.
///
/// Errors: `CONFIG_INVALID`, which never repeats the address or the secret.
pub(super) fn alarm_hook(values: &GivenValues, app_name: &str, warnings: &mut Vec<String>) -> Result<Option<Webhook>> {
    let template = values.get("SMSOTP_ALARM_TEMPLATE").map(template).transpose()?.unwrap_or_default();
    let secret = match (values.get("SMSOTP_ALARM_SECRET"), values.get("SMSOTP_ALARM_SECRET_FILE")) {
        (Some(given), _) => Some((given, given.value.clone())),
        (None, Some(given)) => {
            let (secret, exposed) = read_secret(Path::new(&given.value), "SMSOTP_ALARM_SECRET_FILE")?;
            warnings.extend(exposed);
            Some((given, secret.as_str().to_owned()))
        }
        (None, None) => None,
    };
    if let Some((given, _)) = secret.as_ref().filter(|(_, secret)| secret.chars().count() < SECRET_MIN) {
        return Err(given
            .invalid(&format!("is shorter than {SECRET_MIN} characters"))
            .hint("`openssl rand -base64 32` makes a good one."));
    }
    let Some(given) = values.get("SMSOTP_ALARM_WEBHOOK") else {
        warnings.extend(secret.map(|(given, _)| format!("{} is not used: there is no alarm_webhook", given.name)));
        return Ok(None);
    };
    let url = Url::parse(&given.value).map_err(|_| given.invalid("is not a URL"))?;
    if refused(&url) {
        return Err(given
            .invalid("is neither https nor http on loopback")
            .hint("Write https://HOST/PATH: what an alarm says is nobody else's business."));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(given
            .invalid("holds a user or a password")
            .hint("Leave them out; set alarm_secret to sign the alarms with."));
    }
    if secret.is_none() && template == Template::Json {
        return Err(given
            .invalid("needs SMSOTP_ALARM_SECRET: without it nobody could tell a real alarm from a false one")
            .hint("`openssl rand -base64 32` makes a good one; a chat needs none: alarm_template."));
    }
    let (secret, app_name) = (secret.map(|(_, secret)| secret.into()), app_name.to_owned());
    Ok(Some(Webhook { url, secret, template, app_name }))
}

fn template(given: &GivenValue) -> Result<Template> {
    let known: Vec<&str> = Template::ALL.iter().map(|template| template.as_str()).collect();
    let unknown = |_| given.invalid("is no template").hint(format!("There are {}.", known.join(", ")));
    given.value.parse().map_err(unknown)
}

fn mode(given: &GivenValue) -> Result<Mode> {
    given.value.parse().map_err(|_| {
        given
            .invalid("is not a mode of the guard")
            .hint("There are off, watch and enforce; remove it to have it chosen.")
    })
}

fn ceilings(table: &Table, warnings: &mut Vec<String>) -> Result<Ceilings> {
    let mut ceilings = Ceilings::default();
    for (key, value) in table {
        let name = format!("ceilings.{}", printable(key));
        let amount = Some(amount(&name, value)?);
        match key.as_str() {
            "message" => ceilings.message = amount,
            "hour" => ceilings.hour = amount,
            "day" => ceilings.day = amount,
            "month" => ceilings.month = amount,
            // The table of settings is the caller's first check; this one keeps the two in step.
            _ => return Err(unknown(&name, None)),
        }
    }
    let in_order =
        [("message", ceilings.message), ("hour", ceilings.hour), ("day", ceilings.day), ("month", ceilings.month)];
    let set: Vec<(&str, Money)> = in_order.iter().filter_map(|(name, amount)| Some((*name, (*amount)?))).collect();
    for pair in set.windows(2) {
        if let [(short, less), (long, more)] = pair
            && less > more
        {
            warnings.push(format!("ceilings.{short} is above ceilings.{long} and is never reached"));
        }
    }
    Ok(ceilings)
}

/// An amount in US dollars, as a number or in quotes.
fn amount(name: &str, value: &Value) -> Result<Money> {
    let amount = match value {
        Value::Integer(number) => number.to_string().parse().ok(),
        // The shortest decimal that means this number: what was written.
        Value::Float(number) => number.to_string().parse().ok(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    match amount {
        Some(Money::ZERO) => Err(invalid(name, "is 0: no message could be sent")
            .hint(format!("Remove {name} for no ceiling of your own; to send nothing to a country, close it."))),
        Some(amount) => Ok(amount),
        None => Err(invalid(name, "is not an amount in US dollars")
            .hint(format!("Write it like {name} = 25 or {name} = 0.45; it cannot be below zero."))),
    }
}

fn countries(policy: &mut Policy, table: &Table, warnings: &mut Vec<String>) -> Result<()> {
    for (key, value) in table.iter().filter(|(key, _)| *key != "allow") {
        let place = format!("countries.{}", printable(key));
        let country = phone::country(key).ok_or_else(|| {
            let hint = match value {
                Value::Table(_) => phone::how_to_name_a_country(key),
                _ => "Under [countries] there is allow = [\"US\"], and sections like [countries.US].",
            };
            invalid(&place, "is no country that has phone numbers").hint(hint)
        })?;
        let own = one_country(&place, section(&place, value)?)?;
        if let (Some(floor), Some(cap)) = (own.floor, own.cap)
            && cap < floor
        {
            return Err(invalid(&format!("{place}.cap"), &format!("is {cap}, below the floor of {floor}"))
                .hint("The cap bounds all messages of a day, the floor those that are open: raise the one or lower the other."));
        }
        let not_allowed = policy.countries.as_ref().is_some_and(|allowed| !allowed.iter().any(|one| one == country));
        if own.closed && (own.floor.is_some() || own.cap.is_some()) {
            warnings.push(format!("{place} is closed: its floor and cap mean nothing"));
        } else if not_allowed && !own.closed {
            warnings.push(format!("{place} means nothing: the list of allowed countries leaves it out"));
        } else if own.closed && policy.countries.is_some() && !not_allowed {
            warnings.push(format!("{place} is closed although the list of allowed countries has it"));
        }
        policy.guard.countries.insert(country.to_owned(), own);
    }
    Ok(())
}

fn one_country(place: &str, table: &Table) -> Result<CountryPolicy> {
    let mut own = CountryPolicy::default();
    for (key, value) in table {
        let name = format!("{place}.{}", printable(key));
        match key.as_str() {
            "floor" => own.floor = Some(number(&name, value, 1, MESSAGES_MAX)?),
            "cap" => own.cap = Some(number(&name, value, 1, MESSAGES_MAX)?),
            "closed" => {
                own.closed = value.as_bool().ok_or_else(|| invalid(&name, "is neither true nor false"))?;
            }
            _ => return Err(unknown(&name, nearest(key, COUNTRY_KEYS.iter().map(|row| row.0)))),
        }
    }
    Ok(own)
}

/// The allowed countries to which one segment costs more than a message may.
fn unaffordable(policy: &Policy) -> Vec<&str> {
    let GuardPolicy { ceilings, prices, .. } = &policy.guard;
    let Some(most) = ceilings.message else { return Vec::new() };
    let allowed = policy.countries.iter().flatten().map(String::as_str);
    allowed.filter(|country| prices.of(Some(country), Channel::Sms) > most).collect()
}
