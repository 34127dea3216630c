//! Twilio's settings as a program gives them, not yet checked.

use secrecy::SecretString;
use url::Url;

/// Twilio's settings as they were given; completeness is checked when a verb needs them.
#[derive(Debug, Default)]
pub struct Account {
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

impl Account {
    /// What is given but cannot be right by its shape, in words: for `config check` and `test-twilio`. Values are not repeated,
    /// for a token may stand in the place of an id.
    pub fn problems(&self) -> Vec<String> {
        let sid = |name: &str, prefix: &str, value: &Option<String>| {
            let well_formed =
                |v: &String| v.len() == 34 && v.starts_with(prefix) && v[2..].bytes().all(|b| b.is_ascii_hexdigit());
            let bad = value.as_ref().is_some_and(|v| !v.is_ascii() || !well_formed(v));
            bad.then(|| format!("{name} is not {prefix} and 32 hex digits"))
        };
        let mut problems: Vec<String> = [
            sid("TWILIO_ACCOUNT_SID", "AC", &self.account_sid),
            sid("TWILIO_API_KEY", "SK", &self.api_key),
            sid("TWILIO_MESSAGING_SERVICE_SID", "MG", &self.messaging_service_sid),
        ]
        .into_iter()
        .flatten()
        .collect();
        if self.api_key.is_some() != self.api_secret.is_some() {
            problems.push("TWILIO_API_KEY and TWILIO_API_SECRET need each other".to_owned());
        }
        if self.edge.is_some() && self.region.is_none() {
            problems.push("TWILIO_EDGE needs TWILIO_REGION".to_owned());
        }
        problems
    }
}
