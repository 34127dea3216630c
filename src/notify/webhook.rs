//! Posts alarms to a webhook, bounded in time and size.

use std::sync::OnceLock;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Client, redirect, retry};

use super::Notify;
use crate::alarm::Alarm;
use crate::alarm::webhook::{SIGNATURE, Webhook};
use crate::clock::Timestamp;
use crate::outgoing::{innermost_cause, tls};

/// An attempt takes no longer, from its start to the status line of the answer; what follows that is not read.
pub const LIMIT: Duration = Duration::from_secs(10);

/// The way to one webhook. The HTTP client is built with the first alarm.
pub struct WebhookClient {
    webhook: Webhook,
    limit: Duration,
    client: OnceLock<Result<Client, String>>,
}

impl WebhookClient {
    /// Calls this webhook.
    pub fn new(webhook: Webhook) -> WebhookClient {
        WebhookClient::within(webhook, LIMIT)
    }

    /// The same with another time limit: for tests.
    pub fn within(webhook: Webhook, limit: Duration) -> WebhookClient {
        WebhookClient { webhook, limit, client: OnceLock::new() }
    }

    fn build(&self) -> Result<Client, String> {
        let url = &self.webhook.url;
        let tls = tls(url.scheme() == "https").map_err(|error| format!("TLS could not be set up: {error}"))?;
        let mut builder = Client::builder()
            .user_agent(concat!("smsotp/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls)
            // A redirect would carry alarm and signature to an address that nobody configured.
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .connect_timeout(self.limit / 2)
            .timeout(self.limit)
            // Alarms are rare.
            .pool_max_idle_per_host(0);
        if url.scheme() == "http" {
            builder = builder.no_proxy();
        }
        builder.build().map_err(|error| format!("the HTTP client could not be built: {}", innermost_cause(&error)))
    }
}

#[async_trait]
impl Notify for WebhookClient {
    async fn notify(&self, alarm: &Alarm, now: Timestamp) -> Result<(), String> {
        let client = self.client.get_or_init(|| self.build()).as_ref().map_err(Clone::clone)?;
        let body = self.webhook.body(alarm, now);
        let mut request = client.post(self.webhook.url.clone()).header(CONTENT_TYPE, "application/json");
        if let Some(signature) = self.webhook.signature(&body, now) {
            let mut signature =
                HeaderValue::from_str(&signature).map_err(|_| "the signature is no header".to_owned())?;
            signature.set_sensitive(true);
            request = request.header(SIGNATURE, signature);
        }
        // The error's own text would repeat the address.
        let place = self.webhook.place();
        let answer = request.body(body).send().await.map_err(|error| match error.is_timeout() {
            true => format!("{place} gave no answer within {}", humantime::format_duration(self.limit)),
            false => format!("no answer from {place}: {}", innermost_cause(&error)),
        })?;
        match answer.status().as_u16() {
            200..=299 => Ok(()),
            status @ 300..=399 => Err(format!("{place} answered {status}: redirects are not followed")),
            status => Err(format!("{place} answered {status}")),
        }
    }
}
