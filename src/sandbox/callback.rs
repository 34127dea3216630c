//! Webhooks: status callbacks and inbound texts, signed as Twilio signs them, and late, lost, doubled or backwards on request.
//!
//! Only loopback addresses are called, whatever a client asks for.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};
use url::{Host, Url};

use super::Shared;
use super::credentials::Credentials;
use super::message::{Message, News};
use super::message_log::OptOut;
use crate::provider::twilio::signature::sign;

/// So many callbacks are under way at once.
const MAX_UNDER_WAY: usize = 64;
/// So many are remembered for [`super::Sandbox::callbacks`].
const MAX_LOG: usize = 10_000;
/// So many messages have callbacks that wait or are held back; those of further ones are lost.
const MAX_WAITING: usize = 100_000;

/// What happens to status callbacks. The default is what a network does on a good day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallbackPlan {
    /// Each waits for so many milliseconds before it goes out.
    pub late_millis: u64,
    /// Callbacks of these statuses never go out; `*` means all.
    pub lost: Vec<String>,
    /// A message's callbacks are held back until its last status, and then go out last first.
    pub reversed: bool,
    /// Each goes out twice.
    pub doubled: bool,
}

/// A callback that was due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SentCallback {
    /// The message.
    pub sid: String,
    /// The status that it told, or `received` for an inbound text.
    pub status: String,
    /// Where it went.
    pub url: String,
    /// The HTTP status of the answer; `None` when there was none.
    pub answered: Option<u16>,
    /// Why there was no answer.
    pub failure: Option<String>,
}

/// A webhook that is due.
#[derive(Clone)]
pub(super) struct Job {
    sid: String,
    status: String,
    url: String,
    params: Vec<(String, String)>,
    is_last: bool,
}

impl Job {
    /// The callback for a status, if the message asked for callbacks.
    pub fn status(news: News, credentials: &Credentials) -> Option<Job> {
        let News { message, status, at } = news;
        let url = message.callback.clone()?;
        let mut params = common(&message, credentials);
        params.extend([pair("MessageStatus", &status), pair("SmsStatus", &status)]);
        if let Some(service) = &message.service {
            params.push(pair("MessagingServiceSid", service));
        }
        if let Some(code) = message.error_code {
            params.push(pair("ErrorCode", &code.to_string()));
        }
        if matches!(status.as_str(), "delivered" | "undelivered") {
            params.push(pair("RawDlrDoneDate", &at.datetime().format("%y%m%d%H%M").to_string()));
        }
        let is_last = !matches!(status.as_str(), "accepted" | "scheduled" | "queued" | "sending" | "sent");
        Some(Job { sid: message.sid, status, url, params, is_last })
    }

    /// The webhook for a text from a phone.
    pub fn inbound(url: &str, message: Message, credentials: &Credentials) -> Job {
        let mut params = common(&message, credentials);
        params.extend([
            pair("SmsMessageSid", &message.sid),
            pair("SmsStatus", "received"),
            pair("Body", &message.body),
            pair("NumMedia", "0"),
            pair("NumSegments", &message.segments.to_string()),
        ]);
        if let Some(kind) = OptOut::of(&message.body) {
            params.push(pair("OptOutType", kind.as_str()));
        }
        Job { sid: message.sid, status: message.status, url: url.to_owned(), params, is_last: true }
    }
}

/// Takes the jobs as they come. The callbacks of one message go out one after another, those of several at once.
pub(super) async fn send_all(shared: Arc<Shared>, mut jobs: mpsc::UnboundedReceiver<Job>) {
    let Some(client) = client() else { return };
    let places = Arc::new(Semaphore::new(MAX_UNDER_WAY));
    let waiting: Arc<Mutex<Waiting>> = Arc::default();
    let mut held: HashMap<String, Vec<Job>> = HashMap::new();
    while let Some(job) = jobs.recv().await {
        let plan = shared.plan().clone();
        for job in planned(job, &plan, &mut held, &shared) {
            let late = Duration::from_millis(plan.late_millis);
            let mut queues = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if queues.len() >= MAX_WAITING && !queues.contains_key(&job.sid) {
                note(&shared, job, None, Some("too many callbacks wait".to_owned()));
                continue;
            }
            let sid = job.sid.clone();
            let queue = queues.entry(sid.clone());
            let is_new = matches!(queue, Entry::Vacant(_));
            queue.or_default().push_back((job, late));
            if is_new {
                let work = Work { shared: Arc::clone(&shared), client: client.clone(), waiting: Arc::clone(&waiting) };
                tokio::spawn(work.run(sid, Arc::clone(&places)));
            }
        }
    }
}

/// The jobs of each message that wait for their turn. A message has an entry while a task works on it.
type Waiting = HashMap<String, VecDeque<(Job, Duration)>>;

struct Work {
    shared: Arc<Shared>,
    client: reqwest::Client,
    waiting: Arc<Mutex<Waiting>>,
}

impl Work {
    async fn run(self, sid: String, places: Arc<Semaphore>) {
        while let Some((job, late)) = self.next(&sid) {
            tokio::time::sleep(late).await;
            let Ok(_place) = places.acquire().await else { return };
            let outcome = deliver(&self.client, &job, &self.shared.credentials.auth_token).await;
            let (answered, failure) = match outcome {
                Ok(status) => (Some(status), None),
                Err(why) => (None, Some(why)),
            };
            note(&self.shared, job, answered, failure);
        }
    }

    fn next(&self, sid: &str) -> Option<(Job, Duration)> {
        let mut queues = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let next = queues.get_mut(sid)?.pop_front();
        if next.is_none() {
            queues.remove(sid);
        }
        next
    }
}

/// What the plan makes of a job: nothing, itself, itself twice, or all that was held back.
fn planned(job: Job, plan: &CallbackPlan, held: &mut HashMap<String, Vec<Job>>, shared: &Shared) -> Vec<Job> {
    if plan.lost.iter().any(|status| status == "*" || *status == job.status) {
        note(shared, job, None, Some("lost on request".to_owned()));
        return Vec::new();
    }
    let mut due = if plan.reversed {
        let is_last = job.is_last;
        let sid = job.sid.clone();
        held.entry(sid.clone()).or_default().push(job);
        if !is_last && held.len() <= MAX_WAITING {
            return Vec::new();
        }
        let mut jobs = held.remove(&sid).unwrap_or_default();
        jobs.reverse();
        jobs
    } else {
        vec![job]
    };
    if plan.doubled {
        due = due.into_iter().flat_map(|job| [job.clone(), job]).collect();
    }
    due
}

fn note(shared: &Shared, job: Job, answered: Option<u16>, failure: Option<String>) {
    let mut log = shared.log();
    log.push_back(SentCallback { sid: job.sid, status: job.status, url: job.url, answered, failure });
    if log.len() > MAX_LOG {
        log.pop_front();
    }
}

/// Posts a job. `#ct= rt= tt= rc= rp=` in the fragment tune it, as on Twilio: connect, read and total milliseconds, retries,
/// and what is retried (connect failures unless told otherwise).
async fn deliver(client: &reqwest::Client, job: &Job, token: &str) -> Result<u16, String> {
    let mut url = Url::parse(&job.url).map_err(|_| "not a URL".to_owned())?;
    let tuning = Tuning::of(url.fragment().unwrap_or_default());
    url.set_fragment(None);
    if !is_loopback(&url) {
        return Err("not called: only http on loopback is".to_owned());
    }
    let signature = sign(token, url.as_str(), &job.params);
    let mut tries = 0;
    loop {
        let sent = client
            .post(url.clone())
            .header("X-Twilio-Signature", &signature)
            .header("I-Twilio-Idempotency-Token", format!("{}-{}", job.sid, job.status))
            .header("User-Agent", "TwilioProxy/1.1")
            .timeout(tuning.total.min(tuning.read + tuning.connect))
            .form(&job.params)
            .send()
            .await;
        let (outcome, retried) = match sent {
            Ok(answer) => {
                let status = answer.status().as_u16();
                (Ok(status), tuning.retries_on(&format!("{}xx", status / 100)))
            }
            Err(e) if e.is_connect() => (Err("no connection".to_owned()), tuning.retries_on("ct")),
            Err(e) if e.is_timeout() => (Err("no answer in time".to_owned()), tuning.retries_on("rt")),
            Err(_) => (Err("the connection broke".to_owned()), tuning.retries_on("rt")),
        };
        if tries == tuning.retries || !retried {
            return outcome;
        }
        tries += 1;
    }
}

/// How patient a callback is.
struct Tuning {
    connect: Duration,
    read: Duration,
    total: Duration,
    retries: u32,
    policy: String,
}

impl Tuning {
    fn of(fragment: &str) -> Tuning {
        let millis =
            |value: &str, low, high| value.parse::<u64>().ok().map(|v| Duration::from_millis(v.clamp(low, high)));
        let mut tuning = Tuning {
            connect: Duration::from_secs(5),
            read: Duration::from_secs(15),
            total: Duration::from_secs(15),
            retries: 1,
            policy: "ct".to_owned(),
        };
        for (name, value) in fragment.split('&').filter_map(|part| part.split_once('=')) {
            match name {
                "ct" => tuning.connect = millis(value, 100, 10_000).unwrap_or(tuning.connect),
                "rt" => tuning.read = millis(value, 100, 15_000).unwrap_or(tuning.read),
                "tt" => tuning.total = millis(value, 100, 15_000).unwrap_or(tuning.total),
                "rc" => tuning.retries = value.parse().ok().filter(|n| *n <= 5).unwrap_or(tuning.retries),
                "rp" => value.clone_into(&mut tuning.policy),
                _ => {}
            }
        }
        tuning
    }

    fn retries_on(&self, what: &str) -> bool {
        let fails = matches!(what, "4xx" | "5xx" | "ct" | "rt");
        fails && self.policy.split(',').any(|policy| policy == "all" || policy == what)
    }
}

/// A client that can reach loopback alone: `localhost` is not looked up, redirects and proxies are not followed.
fn client() -> Option<reqwest::Client> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let local = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))];
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .resolve_to_addrs("localhost", &local)
        .connect_timeout(Duration::from_secs(5))
        .build()
        .ok()
}

fn is_loopback(url: &Url) -> bool {
    let host = match url.host() {
        Some(Host::Domain(name)) => return url.scheme() == "http" && name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip),
        None => return false,
    };
    url.scheme() == "http" && host.is_loopback()
}

fn common(message: &Message, credentials: &Credentials) -> Vec<(String, String)> {
    vec![
        pair("MessageSid", &message.sid),
        pair("SmsSid", &message.sid),
        pair("AccountSid", &credentials.account_sid),
        pair("From", message.from.as_deref().unwrap_or_default()),
        pair("To", &message.to),
        pair("ApiVersion", "2010-04-01"),
    ]
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_loopback_is_called() {
        let may = |url: &str| is_loopback(&Url::parse(url).unwrap());
        assert!(may("http://127.0.0.1:1/") && may("http://[::1]/x") && may("http://localhost:80/"));
        let far =
            ["http://127.0.0.1.example.com/", "http://localhost.example/", "http://10.0.0.1/", "https://127.0.0.1/"];
        for url in far.into_iter().chain(["http://0.0.0.0/", "http://[::ffff:8.8.8.8]/", "ftp://localhost/"]) {
            assert!(!may(url), "{url}");
        }
    }
}
