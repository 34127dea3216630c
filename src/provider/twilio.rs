//! Twilio Programmable Messaging.

pub mod account;
pub mod catalogue;
pub mod checks;
mod client;
mod outcome;
mod pricing;
pub mod settings;
pub mod signature;
pub mod status;

use std::sync::Arc;

use async_trait::async_trait;
use secrecy::ExposeSecret;
use serde_json::Value;

pub use self::account::Account;
pub use self::client::Timeouts;
use self::client::{ApiClient, ExchangeError, Request};
use self::outcome::unreadable;
pub use self::settings::{Credentials, Sender, Settings};
use super::{Delivery, Erasure, Outgoing, Provider, Reason, RemoteMessage};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::error::{Code, Error, Result};
use crate::money::Money;
use crate::phone::Phone;

/// Sends through Twilio. Nothing is loaded and no connection made before the first call.
pub struct Twilio {
    client: ApiClient,
}

/// At most this many messages of a list are looked at.
const LISTED: usize = 200;

impl Twilio {
    /// A provider over checked settings.
    ///
    /// # Errors
    /// `BUG` if the settings yield no address: [`Settings::check`] keeps that from happening.
    pub fn new(settings: Settings) -> Result<Twilio> {
        Twilio::with(settings, Timeouts::default(), Arc::new(SystemClock))
    }

    /// As [`Twilio::new`], with other time limits and another clock: for tests.
    ///
    /// # Errors
    /// As [`Twilio::new`].
    pub fn with(settings: Settings, timeouts: Timeouts, clock: Arc<dyn Clock>) -> Result<Twilio> {
        settings.url("api", "/")?;
        Ok(Twilio { client: ApiClient::new(settings, timeouts, clock) })
    }

    /// The settings that it was made of.
    pub fn settings(&self) -> &Settings {
        &self.client.settings
    }

    fn messages_path(&self) -> String {
        format!("/2010-04-01/Accounts/{}/Messages.json", self.settings().account_sid)
    }

    fn form(&self, message: &Outgoing) -> Vec<(&'static str, String)> {
        let mut form = vec![
            ("To", message.to.as_str().to_owned()),
            match &self.settings().sender {
                Sender::Number(number) => ("From", number.clone()),
                Sender::Service(sid) => ("MessagingServiceSid", sid.clone()),
            },
            ("Body", message.body.expose_secret().to_owned()),
            // Twilio's own check against SMS pumping.
            ("RiskCheck", "enable".to_owned()),
        ];
        if let Some(seconds) = message.validity_seconds {
            form.push(("ValidityPeriod", seconds.clamp(1, 36_000).to_string()));
        }
        if let Some(callback) = &self.settings().status_callback {
            let mut callback = callback.clone();
            callback.query_pairs_mut().append_pair("m", &message.message_id.to_string());
            form.push(("StatusCallback", callback.into()));
        }
        form
    }

    fn message_url(&self, provider_id: &str) -> Result<reqwest::Url> {
        let path = format!("/2010-04-01/Accounts/{}/Messages/{provider_id}.json", self.settings().account_sid);
        self.settings().url("api", &path)
    }

    /// Reads one resource as JSON. `None`: there is none (404).
    async fn read_resource(&self, url: reqwest::Url) -> Result<Option<Value>> {
        let answer = self.client.call(Request::Read(url)).await.map_err(unreachable)?;
        match (answer.status, &answer.body) {
            (404, _) => Ok(None),
            (200..=299, Ok(bytes)) => serde_json::from_slice(bytes).map(Some).map_err(|_| unreadable()),
            (200..=299, Err(why)) => Err(Error::new(Code::PROVIDER_UNREACHABLE, format!("Twilio answered, but {why}"))),
            _ => Err(outcome::read_error(&answer)),
        }
    }
}

#[async_trait]
impl Provider for Twilio {
    fn name(&self) -> &'static str {
        "twilio"
    }

    async fn send(&self, message: &Outgoing) -> Delivery {
        let url = match self.settings().url("api", &self.messages_path()) {
            Ok(url) => url,
            Err(error) => return Delivery::Unreachable { why: error.message().to_owned() },
        };
        match self.client.call(Request::Create(url, self.form(message))).await {
            Ok(answer) => outcome::delivery(&answer, &self.settings().account_sid),
            Err(ExchangeError::Unreachable(why)) => Delivery::Unreachable { why },
            Err(ExchangeError::Broken(why)) => Delivery::Maybe { why },
        }
    }

    async fn fetch(&self, provider_id: &str) -> Result<Option<RemoteMessage>> {
        if !outcome::is_message_sid(provider_id) {
            return Ok(None);
        }
        let Some(message) = self.read_resource(self.message_url(provider_id)?).await? else { return Ok(None) };
        outcome::remote_message(&message).map(Some).ok_or_else(unreadable)
    }

    /// Lists by recipient alone and filters by `date_created` here: a message that Twilio has not passed on yet has no
    /// `date_sent`, and those are the ones that matter. Twilio's dates have whole seconds.
    async fn find(&self, to: &Phone, since: Timestamp) -> Result<Option<Vec<RemoteMessage>>> {
        let since = Timestamp(since.millis().div_euclid(1000) * 1000);
        let mut url = self.settings().url("api", &self.messages_path())?;
        url.query_pairs_mut().append_pair("To", to.as_str()).append_pair("PageSize", "50");
        let (mut found, mut seen) = (Vec::new(), 0);
        // The count of pages is bounded too: a page may be empty and still name a next one.
        for _ in 0..LISTED {
            let page = self.read_resource(url).await?.ok_or_else(|| {
                Error::new(Code::PROVIDER_CONFIG, "Twilio does not know the account").hint("check TWILIO_ACCOUNT_SID")
            })?;
            let messages = page.get("messages").and_then(Value::as_array).ok_or_else(unreadable)?;
            for message in messages.iter().take(LISTED - seen).filter(|message| is_outbound_to(message, to)) {
                found.extend(
                    outcome::remote_message(message).filter(|message| message.created_at.is_none_or(|at| at >= since)),
                );
            }
            seen += messages.len();
            match page.get("next_page_uri").and_then(Value::as_str) {
                Some(next) if seen < LISTED && next.starts_with("/2010-04-01/") => {
                    url = self.settings().url("api", next)?;
                }
                _ => break,
            }
        }
        found.sort_by_key(|message| std::cmp::Reverse(message.created_at));
        Ok(Some(found))
    }

    async fn balance(&self) -> Result<Option<Money>> {
        let path = format!("/2010-04-01/Accounts/{}/Balance.json", self.settings().account_sid);
        let Some(answer) = self.read_resource(self.settings().url("api", &path)?).await? else { return Ok(None) };
        let text = |name: &str| answer.get(name).and_then(Value::as_str);
        if text("currency") != Some("USD") {
            return Ok(None);
        }
        let amount = text("balance").and_then(|amount| amount.parse::<f64>().ok()).filter(|amount| amount.is_finite());
        amount.map(|amount| Some(Money::from_usd(amount))).ok_or_else(unreadable)
    }

    async fn priced_countries(&self) -> Result<Option<Vec<String>>> {
        let mut url = self.settings().url("pricing", &pricing::first_page())?;
        let mut found = Vec::new();
        for _ in 0..pricing::PAGES_MAX {
            let page = self.read_resource(url).await?.ok_or_else(pricing::no_list)?;
            found.extend(pricing::countries(&page).ok_or_else(unreadable)?);
            match pricing::next_page(&page) {
                Some(path) => url = self.settings().url("pricing", &path)?,
                None => return Ok(Some(found)),
            }
        }
        Err(pricing::too_long())
    }

    async fn price(&self, country: &str) -> Result<Option<Money>> {
        let url = self.settings().url("pricing", &pricing::of_country(country))?;
        match self.read_resource(url).await? {
            Some(list) => pricing::dearest(country, &list),
            None => Ok(None),
        }
    }

    /// Twilio deletes a message once its life is over or an hour old; until then its text alone can be emptied. The two
    /// requests are safe to repeat.
    async fn erase(&self, provider_id: &str) -> Result<Erasure> {
        if !outcome::is_message_sid(provider_id) {
            return Ok(Erasure::Deleted);
        }
        let url = self.message_url(provider_id)?;
        let answer = self.client.call(Request::Delete(url.clone())).await.map_err(unreachable)?;
        match answer.status {
            // What is not there was deleted before.
            200..=299 | 404 => return Ok(Erasure::Deleted),
            400 | 409 => {}
            _ => return Err(outcome::read_error(&answer)),
        }
        let emptied = vec![("Body", String::new())];
        let redacted = self.client.call(Request::Update(url, emptied)).await.map_err(unreachable)?;
        match redacted.status {
            200..=299 => Ok(Erasure::Redacted),
            404 => Ok(Erasure::Deleted),
            _ => Err(outcome::read_error(&redacted)),
        }
    }

    fn explain(&self, error_code: u32) -> Option<Reason> {
        Some(outcome::reason_of(error_code))
    }

    fn costs_nothing(&self) -> bool {
        self.settings().is_loopback()
    }

    fn clock_skew_ms(&self) -> i64 {
        self.client.skew_ms()
    }
}

fn is_outbound_to(message: &Value, to: &Phone) -> bool {
    let text = |key: &str| message.get(key).and_then(Value::as_str);
    text("to") == Some(to.as_str()) && text("direction") != Some("inbound")
}

fn unreachable(error: ExchangeError) -> Error {
    Error::new(Code::PROVIDER_UNREACHABLE, error.why())
        .hint("check network, proxy and firewall with `smsotp test-twilio`")
}

#[cfg(test)]
mod tests;
