//! Twilio's settings, and the rule that keeps credentials from being sent elsewhere.

use std::path::Path;

use secrecy::SecretString;
use url::{Host, Url};

use super::given::GivenValues;
use super::read::read_secret;
use super::source::{GivenValue, Source};
use crate::error::Result;
use crate::provider::twilio::account::Account;

/// Reads and checks them.
pub(super) fn twilio(values: &GivenValues, warnings: &mut Vec<String>) -> Result<Account> {
    let auth_token = secret(values, "TWILIO_AUTH_TOKEN", "TWILIO_AUTH_TOKEN_FILE", warnings)?;
    let api_secret = secret(values, "TWILIO_API_SECRET", "TWILIO_API_SECRET_FILE", warnings)?;
    let secrets: Vec<&Credential> = [&auth_token, &api_secret].into_iter().flatten().collect();
    let base_url = values.get("TWILIO_API_BASE_URL").map(|given| base_url(given, &secrets)).transpose()?;
    Ok(Account {
        account_sid: values.text("TWILIO_ACCOUNT_SID"),
        auth_token: auth_token.map(|credential| credential.secret),
        api_key: values.text("TWILIO_API_KEY"),
        api_secret: api_secret.map(|credential| credential.secret),
        phone_number: values.text("TWILIO_PHONE_NUMBER"),
        messaging_service_sid: values.text("TWILIO_MESSAGING_SERVICE_SID"),
        region: values.get("TWILIO_REGION").map(host_label).transpose()?,
        edge: values.get("TWILIO_EDGE").map(host_label).transpose()?,
        base_url,
        status_callback: values.get("SMSOTP_STATUS_CALLBACK").map(callback).transpose()?,
    })
}

/// A secret of Twilio's and where it was given.
struct Credential {
    name: &'static str,
    secret: SecretString,
    source: Source,
    from_file: bool,
}

/// A secret, given directly or in a file. GivenValue directly it wins, unless a stronger source names a file.
fn secret(
    values: &GivenValues,
    direct: &'static str,
    file: &'static str,
    warnings: &mut Vec<String>,
) -> Result<Option<Credential>> {
    let rank = |given: &GivenValue| match given.source {
        Source::Flag => 0,
        Source::Environment => 1,
        Source::Dotenv(_) => 2,
        Source::Toml(_) => 3,
    };
    let in_file = match (values.get(direct), values.get(file)) {
        (Some(value), Some(path)) if rank(path) >= rank(value) => None,
        (_, path) => path,
    };
    if let Some(path) = in_file {
        let (secret, exposed) = read_secret(Path::new(&path.value), file)?;
        warnings.extend(exposed);
        let secret = SecretString::from(secret.as_str());
        return Ok(Some(Credential { name: direct, secret, source: path.source.clone(), from_file: true }));
    }
    Ok(values.get(direct).map(|given| Credential {
        name: direct,
        secret: SecretString::from(given.value.as_str()),
        source: given.source.clone(),
        from_file: false,
    }))
}

/// The address that credentials are sent to: only from the source that gave them, so that the `.env` of another project cannot
/// have them sent elsewhere. A secret that `.env` names by its path was given by the file, not by `.env`.
fn base_url(given: &GivenValue, secrets: &[&Credential]) -> Result<Url> {
    let elsewhere = secrets.iter().find(|credential| {
        credential.source != given.source || (credential.from_file && matches!(given.source, Source::Dotenv(_)))
    });
    if let Some(credential) = elsewhere {
        let origin = match (&credential.source, credential.from_file) {
            (source, true) => format!("a file that {source} names"),
            (source, false) => source.to_string(),
        };
        let what = format!(
            "is refused: {} comes from {origin}, and a {} must not redirect credentials that come from elsewhere",
            credential.name,
            if matches!(given.source, Source::Dotenv(_)) { ".env in this folder" } else { "setting" },
        );
        return Err(given
            .invalid(&what)
            .hint("Give the address and the credentials in the same place, or remove one of them."));
    }
    let url = Url::parse(&given.value).map_err(|_| given.invalid("is not a URL"))?;
    let plain =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    let safe = match url.scheme() {
        "https" => url.host().is_some(),
        "http" => is_loopback(&url),
        _ => false,
    };
    if !safe {
        return Err(given
            .invalid("is neither https nor http on loopback")
            .hint("Write https://HOST or http://127.0.0.1:PORT."));
    }
    if !plain {
        return Err(given
            .invalid("holds a user, a password, a query or a fragment")
            .hint("Write https://HOST[:PORT][/PATH]."));
    }
    Ok(url)
}

/// Whether an address means this machine.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Region and edge become parts of the host name that credentials are sent to.
fn host_label(given: &GivenValue) -> Result<String> {
    let value = given.value.to_ascii_lowercase();
    let ok = value.len() <= 32
        && value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !value.starts_with('-')
        && !value.ends_with('-');
    if ok {
        Ok(value)
    } else {
        Err(given.invalid("is not a region or edge of Twilio's").hint("Write it like us1, ie1, dublin or ashburn."))
    }
}

fn callback(given: &GivenValue) -> Result<Url> {
    let url = Url::parse(&given.value).map_err(|_| given.invalid("is not a URL"))?;
    if !matches!(url.scheme(), "https" | "http") || url.host().is_none() {
        return Err(given.invalid("is neither an http nor an https URL"));
    }
    Ok(url)
}
