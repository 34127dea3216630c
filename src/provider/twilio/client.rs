//! One HTTP exchange with Twilio, bounded in time and size. An error distinguishes whether the request can have arrived.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::DateTime;
use reqwest::header::{ACCEPT, DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Url, redirect, retry};

use super::settings::Settings;
use crate::clock::{Clock, Timestamp};
use crate::outgoing::{innermost_cause, tls};

/// How long each part of an exchange may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Name look-up, connection and TLS handshake: 5 s.
    pub connect: Duration,
    /// A create from its start to the last byte of the answer: 35 s, because Twilio itself gives up after about 30.
    pub create: Duration,
    /// A read from its start to the last byte of the answer: 10 s.
    pub read: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts { connect: Duration::from_secs(5), create: Duration::from_secs(35), read: Duration::from_secs(10) }
    }
}

/// A connection without a request is closed after so long.
const IDLE: Duration = Duration::from_secs(2);

/// An answer larger than this is not read to its end and counts as unreadable.
const ANSWER_MAX: usize = 1024 * 1024;

/// The way to Twilio's API. The HTTP client is built at the first call: loading certificates takes 2 ms.
pub(super) struct ApiClient {
    pub(super) settings: Settings,
    timeouts: Timeouts,
    clock: Arc<dyn Clock>,
    client: OnceLock<Result<Client, String>>,
    skew_ms: AtomicI64,
}

/// A request to the API.
pub(super) enum Request {
    /// Look something up; safe to repeat.
    Read(Url),
    /// Create something; never repeated.
    Create(Url, Vec<(&'static str, String)>),
    /// Change something to what it is to be; safe to repeat.
    Update(Url, Vec<(&'static str, String)>),
    /// Delete something; safe to repeat.
    Delete(Url),
}

/// A status line that arrived, with what could be read after it.
pub(super) struct ApiAnswer {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    /// The whole body, or why there is none.
    pub(super) body: Result<Vec<u8>, String>,
}

/// No status line arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ExchangeError {
    /// There was no connection: the request surely did not arrive.
    Unreachable(String),
    /// There was a connection: the request may have arrived.
    Broken(String),
}

impl ExchangeError {
    pub(super) fn why(self) -> String {
        match self {
            ExchangeError::Unreachable(why) | ExchangeError::Broken(why) => why,
        }
    }
}

impl ApiClient {
    pub(super) fn new(settings: Settings, timeouts: Timeouts, clock: Arc<dyn Clock>) -> ApiClient {
        ApiClient { settings, timeouts, clock, client: OnceLock::new(), skew_ms: AtomicI64::new(0) }
    }

    /// How far Twilio's clock was ahead of ours at its last answer, to the second.
    pub(super) fn skew_ms(&self) -> i64 {
        self.skew_ms.load(Ordering::Relaxed)
    }

    pub(super) async fn call(&self, request: Request) -> Result<ApiAnswer, ExchangeError> {
        let client = self.client.get_or_init(|| build(&self.settings, self.timeouts));
        let client = client.as_ref().map_err(|why| ExchangeError::Unreachable(why.clone()))?;
        let (builder, host, limit) = match request {
            Request::Read(url) => {
                let host = host(&url);
                (client.get(url), host, self.timeouts.read)
            }
            Request::Update(url, form) => {
                let host = host(&url);
                (client.post(url).form(&form), host, self.timeouts.read)
            }
            Request::Delete(url) => {
                let host = host(&url);
                (client.delete(url), host, self.timeouts.read)
            }
            Request::Create(url, form) => {
                let host = host(&url);
                (client.post(url).form(&form), host, self.timeouts.create)
            }
        };
        let (user, password) = self.settings.credentials.pair(&self.settings.account_sid);
        let builder = builder.basic_auth(user, Some(password)).header(ACCEPT, "application/json").timeout(limit);
        let mut response = builder.send().await.map_err(|error| self.exchange_error(&error, &host, limit))?;
        let date = http_date(response.headers(), DATE.as_str());
        if let Some(date) = date {
            self.skew_ms.store(date.millis().saturating_sub(self.clock.now().millis()), Ordering::Relaxed);
        }
        Ok(ApiAnswer {
            status: response.status().as_u16(),
            retry_after: retry_after(response.headers(), date.unwrap_or_else(|| self.clock.now())),
            body: read_body(&mut response).await,
        })
    }

    fn exchange_error(&self, error: &reqwest::Error, host: &str, limit: Duration) -> ExchangeError {
        let within = |limit: Duration| format!("within {}", humantime::format_duration(limit));
        if error.is_builder() {
            return ExchangeError::Unreachable("the request could not be built".to_owned());
        }
        if !error.is_connect() {
            return ExchangeError::Broken(match error.is_timeout() {
                true => format!("{host} gave no answer {}", within(limit)),
                false => format!("the connection to {host} broke: {}", innermost_cause(error)),
            });
        }
        ExchangeError::Unreachable(if error.is_timeout() {
            format!("no connection to {host} {}", within(self.timeouts.connect))
        } else if self.settings.is_loopback() {
            let why = innermost_cause(error);
            format!("no connection to {host}: {why}. A sandbox that has ended leaves stale variables behind")
        } else if error.is_dns() {
            format!("the name {host} cannot be resolved")
        } else {
            format!("no connection to {host}: {}", innermost_cause(error))
        })
    }
}

fn host(url: &Url) -> String {
    let name = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"))
}

fn build(settings: &Settings, timeouts: Timeouts) -> Result<Client, String> {
    let tls = tls(settings.is_tls()).map_err(|error| format!("TLS could not be set up: {error}"))?;
    let mut builder = Client::builder()
        .user_agent(concat!("smsotp/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(tls)
        // A redirect would carry the credentials elsewhere, and a repeated create could send twice.
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .connect_timeout(timeouts.connect)
        // What a connection sent and received last, codes included, stays in its buffers while it waits for more.
        .pool_idle_timeout(IDLE);
    if settings.is_loopback() {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| format!("the HTTP client could not be built: {}", innermost_cause(&error)))
}

async fn read_body(response: &mut reqwest::Response) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() > ANSWER_MAX => {
                return Err("the answer is larger than 1 MiB".to_owned());
            }
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return Ok(bytes),
            Err(error) if error.is_timeout() => return Err("the answer did not end in time".to_owned()),
            Err(error) => return Err(format!("the answer broke off: {}", innermost_cause(&error))),
        }
    }
}

fn http_date(headers: &HeaderMap, name: &str) -> Option<Timestamp> {
    let text = headers.get(name)?.to_str().ok()?;
    Some(Timestamp(DateTime::parse_from_rfc2822(text).ok()?.timestamp_millis()))
}

/// Seconds or a date (RFC 9110 §10.2.3), a day at most.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    const LONGEST: Duration = Duration::from_secs(24 * 3600);
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let after = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => http_date(headers, RETRY_AFTER.as_str())?.since(now),
    };
    Some(after.min(LONGEST))
}
