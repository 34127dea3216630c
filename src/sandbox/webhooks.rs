//! Sends the callbacks: in order for each message, and late, lost, doubled or reversed on request.
//!
//! Only loopback addresses are called, whatever a client asks for.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use url::{Host, Url};

use super::callback::{Callback, SentCallback};
use super::plan::CallbackPlan;
use super::state::SandboxState;
use crate::provider::twilio::signature::sign;

/// So many callbacks are sent at once.
const MAX_IN_FLIGHT: usize = 64;
/// So many are kept for [`super::Sandbox::callbacks`].
const MAX_LOG: usize = 10_000;
/// So many messages have callbacks that wait or are held back; those of further ones are lost.
const MAX_WAITING: usize = 100_000;

/// Sends the callbacks as they are queued: those of one message one after another, those of several at once.
pub(super) async fn send_all(state: Arc<SandboxState>, mut callbacks: mpsc::UnboundedReceiver<Callback>) {
    let Some(client) = loopback_client() else { return };
    let permits = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
    let waiting: Arc<Mutex<Waiting>> = Arc::default();
    let mut held: HashMap<String, Vec<Callback>> = HashMap::new();
    while let Some(callback) = callbacks.recv().await {
        let plan = state.plan().clone();
        for callback in apply_plan(callback, &plan, &mut held, &state) {
            let late = Duration::from_millis(plan.late_millis);
            let mut queues = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if queues.len() >= MAX_WAITING && !queues.contains_key(&callback.sid) {
                record(&state, callback, None, Some("too many callbacks wait".to_owned()));
                continue;
            }
            let sid = callback.sid.clone();
            let queue = queues.entry(sid.clone());
            let is_new = matches!(queue, Entry::Vacant(_));
            queue.or_default().push_back((callback, late));
            if is_new {
                let worker =
                    CallbackWorker { state: Arc::clone(&state), client: client.clone(), waiting: Arc::clone(&waiting) };
                tokio::spawn(worker.run(sid, Arc::clone(&permits)));
            }
        }
    }
}

/// The callbacks of each message that wait for their turn. A message has an entry while a worker sends for it.
type Waiting = HashMap<String, VecDeque<(Callback, Duration)>>;

/// Sends the callbacks of one message.
struct CallbackWorker {
    state: Arc<SandboxState>,
    client: reqwest::Client,
    waiting: Arc<Mutex<Waiting>>,
}

impl CallbackWorker {
    async fn run(self, sid: String, permits: Arc<Semaphore>) {
        while let Some((callback, late)) = self.next(&sid) {
            tokio::time::sleep(late).await;
            let Ok(_permit) = permits.acquire().await else { return };
            let outcome = post(&self.client, &callback, &self.state.account.auth_token).await;
            let (answered, failure) = match outcome {
                Ok(status) => (Some(status), None),
                Err(why) => (None, Some(why)),
            };
            record(&self.state, callback, answered, failure);
        }
    }

    fn next(&self, sid: &str) -> Option<(Callback, Duration)> {
        let mut queues = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let next = queues.get_mut(sid)?.pop_front();
        if next.is_none() {
            queues.remove(sid);
        }
        next
    }
}

/// What the plan makes of a callback: nothing, itself, itself twice, or all that were held back.
fn apply_plan(
    callback: Callback,
    plan: &CallbackPlan,
    held: &mut HashMap<String, Vec<Callback>>,
    state: &SandboxState,
) -> Vec<Callback> {
    if plan.lost.iter().any(|status| status == "*" || *status == callback.status) {
        record(state, callback, None, Some("lost on request".to_owned()));
        return Vec::new();
    }
    let mut due = if plan.reversed {
        let is_last = callback.is_last;
        let sid = callback.sid.clone();
        held.entry(sid.clone()).or_default().push(callback);
        if !is_last && held.len() <= MAX_WAITING {
            return Vec::new();
        }
        let mut callbacks = held.remove(&sid).unwrap_or_default();
        callbacks.reverse();
        callbacks
    } else {
        vec![callback]
    };
    if plan.doubled {
        due = due.into_iter().flat_map(|callback| [callback.clone(), callback]).collect();
    }
    due
}

fn record(state: &SandboxState, callback: Callback, answered: Option<u16>, failure: Option<String>) {
    let mut log = state.sent_callbacks();
    log.push_back(SentCallback { sid: callback.sid, status: callback.status, url: callback.url, answered, failure });
    if log.len() > MAX_LOG {
        log.pop_front();
    }
}

/// Posts a callback. `#ct= rt= tt= rc= rp=` in the fragment tune it, as on Twilio: connect, read and total milliseconds, retries,
/// and what is retried (connect failures by default).
async fn post(client: &reqwest::Client, callback: &Callback, token: &str) -> Result<u16, String> {
    let mut url = Url::parse(&callback.url).map_err(|_| "not a URL".to_owned())?;
    let tuning = Tuning::parse(url.fragment().unwrap_or_default());
    url.set_fragment(None);
    if !is_loopback(&url) {
        return Err("not called: only http on loopback is allowed".to_owned());
    }
    let signature = sign(token, url.as_str(), &callback.params);
    let mut tries = 0;
    loop {
        let sent = client
            .post(url.clone())
            .header("X-Twilio-Signature", &signature)
            .header("I-Twilio-Idempotency-Token", format!("{}-{}", callback.sid, callback.status))
            .header("User-Agent", "TwilioProxy/1.1")
            .timeout(tuning.total.min(tuning.read + tuning.connect))
            .form(&callback.params)
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

/// The time limits and retries of a callback.
struct Tuning {
    connect: Duration,
    read: Duration,
    total: Duration,
    retries: u32,
    policy: String,
}

impl Tuning {
    fn parse(fragment: &str) -> Tuning {
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

/// A client that reaches loopback only: `localhost` is not looked up, redirects and proxies are not used.
fn loopback_client() -> Option<reqwest::Client> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_loopback_is_called() {
        let is_called = |url: &str| is_loopback(&Url::parse(url).unwrap());
        assert!(is_called("http://127.0.0.1:1/") && is_called("http://[::1]/x") && is_called("http://localhost:80/"));
        let far =
            ["http://127.0.0.1.example.com/", "http://localhost.example/", "http://10.0.0.1/", "https://127.0.0.1/"];
        for url in far.into_iter().chain(["http://0.0.0.0/", "http://[::ffff:8.8.8.8]/", "ftp://localhost/"]) {
            assert!(!is_called(url), "{url}");
        }
    }
}
