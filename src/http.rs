//! The window: the engine's operations over HTTP, for applications beside it.

mod auth;
mod body;
mod callback;
mod client;
mod connection;
mod health;
mod listen;
mod metrics;
mod openapi;
mod otp;
mod problem;
mod twilio;

use std::future::Future;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::FutureExt;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use callback::Callbacks;
pub use client::Proxies;
pub use connection::Bounds;
pub use listen::Tls;
pub use metrics::Metrics;
pub use openapi::text as openapi_document;
pub use twilio::{Check, Checks, Mark};

use crate::engine::{Engine, Work};
use crate::error::{Code, Error, Result};
use client::Client;
use connection::{Connection, Registry};
use problem::{Problem, Refused};
use twilio::Prober;

/// A JSON body has so long to come in.
const JSON_WITHIN: Duration = Duration::from_secs(10);

/// A callback has so long to come in.
const CALLBACK_WITHIN: Duration = Duration::from_secs(10);

/// What is served.
pub struct Served {
    /// The operations, with their provider; metered by `metrics`.
    pub engine: Engine,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// The provider's checks, if it has any.
    pub checks: Option<Checks>,
    /// What callbacks are checked against; `None`: they are not taken.
    pub callbacks: Option<Callbacks>,
}

/// How it is served.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// A reverse proxy in front speaks TLS: listening beyond this machine is allowed without it.
    pub behind_proxy: bool,
    /// Whose word about a client's address is taken.
    pub proxies: Proxies,
    /// Speak TLS.
    pub tls: Option<Tls>,
    /// How many connections, and how long they may wait.
    pub bounds: Bounds,
    /// How the worker works; `None`: it does not.
    pub work: Option<Work>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            listen: SocketAddr::from(([127, 0, 0, 1], 8000)),
            behind_proxy: false,
            proxies: Proxies::default(),
            tls: None,
            bounds: Bounds::default(),
            work: Some(Work::default()),
        }
    }
}

/// A server that listens and does not answer yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    service: listen::Service,
    stop: watch::Sender<bool>,
    work: Option<Work>,
}

/// What all requests share.
struct Shared {
    engine: Engine,
    metrics: Arc<Metrics>,
    prober: Option<Prober>,
    callbacks: Option<Callbacks>,
    proxies: Proxies,
    bounds: Bounds,
    registry: Registry,
    under_way: Arc<UnderWay>,
    stopping: AtomicBool,
    ids: RequestIds,
}

impl Server {
    /// Checks the settings and listens. Connections wait in the system's queue until [`Server::run`].
    ///
    /// # Errors
    /// `CONFIG_INVALID` for settings that cannot be, an address that is taken, or an engine that sends nowhere.
    pub async fn bind(served: Served, settings: Settings) -> Result<Server> {
        let open = !settings.listen.ip().to_canonical().is_loopback();
        if open && settings.tls.is_none() && !settings.behind_proxy {
            return Err(Error::new(
                Code::CONFIG_INVALID,
                format!("{} can be reached from other machines, and codes and tokens would transfer in the clear", settings.listen),
            )
            .hint("Add --tls-cert and --tls-key; or --behind-proxy, if a proxy in front speaks TLS; or listen on 127.0.0.1."));
        }
        if served.engine.is_local() {
            return Err(Error::new(Code::CONFIG_INVALID, "the console provider prints codes on the server's terminal")
                .hint(
                    "Configure Twilio; for a try-out run `smsotp sandbox --write-env FILE` and add --env-file FILE.",
                ));
        }
        let tls = settings.tls.as_ref().map(Tls::acceptor).transpose()?;
        let refused = |error: std::io::Error| {
            Error::new(Code::CONFIG_INVALID, format!("cannot listen on {}", settings.listen))
                .because(error)
                .hint("Is another server running there? Choose another port with --listen, or 0 for a free one.")
        };
        let listener = TcpListener::bind(settings.listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let shared = Arc::new(Shared {
            engine: served.engine,
            metrics: served.metrics,
            prober: served.checks.map(Prober::new),
            callbacks: served.callbacks,
            proxies: settings.proxies,
            bounds: settings.bounds,
            registry: Registry::new(settings.bounds),
            under_way: Arc::default(),
            stopping: AtomicBool::new(false),
            ids: RequestIds::new()?,
        });
        let (stop, stopping) = watch::channel(false);
        let router = router(Arc::clone(&shared));
        let service = listen::Service { shared, router, tls, stopping };
        Ok(Server { listener, address, service, stop, work: settings.work })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` ends, then lets finish what is under way: at most [`Bounds::drain`].
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let shared = Arc::clone(&self.service.shared);
        let worker = self.work.map(|work| {
            let (engine, metrics) = (shared.engine.clone(), Arc::clone(&shared.metrics));
            tokio::spawn(async move { engine.work(work, |done| metrics.worked(done)).await })
        });
        let serving = listen::run(self.listener, self.service);
        tokio::pin!(serving);
        tokio::select! {
            () = serving.as_mut() => {}
            () = stop => {
                shared.stopping.store(true, Ordering::SeqCst);
                let _ = self.stop.send(true);
                serving.await;
            }
        }
        if let Some(worker) = worker {
            // Whatever step it was in is found again by the next start.
            worker.abort();
        }
    }
}

impl Shared {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// The client of a request; whoever claims to be another one is counted.
    fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> Client {
        let client = self.proxies.client(peer, headers);
        if client.forged {
            self.metrics.forged();
            tracing::warn!(target: "smsotp::http", peer = %peer.ip(), "a peer that is no trusted proxy named another client");
        }
        client
    }
}

/// Sends that wait for the provider: they go on although their client went away, and the end of the server waits for them.
#[derive(Default)]
struct UnderWay(AtomicUsize);

struct Entered(Arc<UnderWay>);

impl UnderWay {
    fn enter(self: &Arc<UnderWay>) -> Entered {
        self.0.fetch_add(1, Ordering::SeqCst);
        Entered(Arc::clone(self))
    }
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Request ids: eight random hex digits of this process, and a count.
struct RequestIds {
    process: u32,
    next: AtomicU64,
}

impl RequestIds {
    fn new() -> Result<RequestIds> {
        use rand::TryRng;
        let process = rand::rngs::SysRng
            .try_next_u32()
            .map_err(|error| Error::new(Code::KEY_INVALID, "the system gives no random numbers").because(error))?;
        Ok(RequestIds { process, next: AtomicU64::new(1) })
    }
    fn next(&self) -> String {
        format!("{:08x}-{:x}", self.process, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// Every path with the method that it takes.
const ROUTES: [(&str, &str); 9] = [
    ("/api/v1/messaging/send-otp", "POST"),
    ("/api/v1/messaging/verify-otp", "POST"),
    ("/api/v1/messaging/test-twilio", "GET,HEAD"),
    ("/api/v1/messaging/twilio/status", "POST"),
    ("/api/v1/messaging/twilio/inbound", "POST"),
    ("/healthz", "GET,HEAD"),
    ("/readyz", "GET,HEAD"),
    ("/metrics", "GET,HEAD"),
    ("/openapi.json", "GET,HEAD"),
];

fn router(shared: Arc<Shared>) -> Router {
    let both = |router: Router<Arc<Shared>>, path: &str, method: axum::routing::MethodRouter<Arc<Shared>>| {
        router.route(path, method.clone()).route(&format!("{path}/"), method)
    };
    let mut router = Router::new();
    for (path, method) in [
        ("/api/v1/messaging/send-otp", post(otp::send)),
        ("/api/v1/messaging/verify-otp", post(otp::verify)),
        ("/api/v1/messaging/test-twilio", get(twilio::test)),
        ("/api/v1/messaging/twilio/status", post(callback::status)),
        ("/api/v1/messaging/twilio/inbound", post(callback::inbound)),
    ] {
        router = both(router, path, method);
    }
    router
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/openapi.json", get(health::document))
        .fallback(|| async { Problem::new(Code::NO_SUCH_PATH, "nothing is at this path") })
        .method_not_allowed_fallback(|| async { not_allowed() })
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), around))
        .with_state(shared)
}

fn not_allowed() -> Problem {
    Problem::new(Code::METHOD_NOT_ALLOWED, "this path does not take this method")
}

/// What every request gets: an id, a count, a line in the log, safe headers, and an answer even where we have a bug.
async fn around(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let route = route_of(request.uri().path());
    let method = method_of(request.method());
    let connection = Connection::of(request.extensions()).map(Arc::clone);
    let peer = connection.as_ref().map(|connection| connection.peer);
    let id = request_id(&shared, peer, request.headers());
    let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    let mut response = match *request.method() {
        Method::TRACE | Method::CONNECT => not_allowed().into_response(),
        _ => match AssertUnwindSafe(next.run(request)).catch_unwind().await {
            Ok(response) => response,
            Err(_) => Problem::new(Code::BUG, "a bug of smsotp; the server's log says where").into_response(),
        },
    };
    let status = response.status();
    let refused = response.extensions().get::<Refused>().map(|refused| refused.0);
    shared.metrics.answered((route.map_or("other", |route| route.0), method), status.as_u16(), begun.elapsed());
    if let Some(code) = refused {
        shared.metrics.refused(code);
    }
    tracing::info!(
        target: "smsotp::http",
        request_id = id,
        method,
        route = route.map_or("other", |route| route.0),
        status = status.as_u16(),
        code = refused.unwrap_or_default(),
        micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
        "request"
    );
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    if let Some((_, allowed)) = route.filter(|_| status == axum::http::StatusCode::METHOD_NOT_ALLOWED) {
        headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
    }
    if chunked || connection.is_some_and(|connection| connection.is_unread()) {
        // Where a proxy and we could disagree on the length of a body, or it was not read to its end, nothing that follows it
        // is listened to; and a client must know, or it sends its next request there.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn route_of(path: &str) -> Option<(&'static str, &'static str)> {
    let path = path.strip_suffix('/').unwrap_or(path);
    ROUTES.into_iter().find(|(route, _)| *route == path)
}

/// The method as a label: what a client made up is not one.
fn method_of(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// The id that a trusted proxy gave, or one of our own.
fn request_id(shared: &Shared, peer: Option<SocketAddr>, headers: &HeaderMap) -> String {
    let given = headers.get("x-request-id").and_then(|id| id.to_str().ok());
    let sound = |id: &&str| (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    match given.filter(sound).filter(|_| peer.is_some_and(|peer| shared.proxies.trusts(peer.ip()))) {
        Some(id) => id.to_owned(),
        None => shared.ids.next(),
    }
}
