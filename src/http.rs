//! The REST API: the engine's operations over HTTP, for applications beside it.

mod admit;
mod auth;
mod body;
mod callback;
mod checks;
mod client;
mod connection;
mod health;
mod listen;
mod message;
mod metrics;
mod openapi;
mod otp;
mod problem;
mod rate;
mod sending;
mod taking;
mod test_twilio;
mod tls;

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};

pub use callback::Callbacks;
pub use checks::{CheckMark, ProviderCheck, RunChecks};
pub use client::TrustedProxies;
pub use connection::Bounds;
pub use metrics::Metrics;
pub use openapi::text as openapi_document;
pub use tls::Tls;

use crate::engine::{Engine, Work};
use crate::error::{Code, Error, Result};
use admit::{Hosts, Strangers};
use body::BodyRead;
use connection::Places;
use listen::Listening;
use problem::{Problem, ProblemCode};
use rate::Buckets;
use test_twilio::Prober;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What answers the requests.
pub struct Backend {
    /// The operations, with their provider; metered by `metrics`.
    pub engine: Engine,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// The provider's checks, if it has any.
    pub checks: Option<RunChecks>,
    /// What callbacks are checked against; `None`: they are not taken.
    pub callbacks: Option<Callbacks>,
    /// The country of numbers in national form, two letters; `None`: there are none.
    pub region: Option<String>,
}

/// How a server listens and works.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// A reverse proxy in front speaks TLS: listening beyond this machine is allowed without it.
    pub behind_proxy: bool,
    /// The proxies that are believed about their clients' addresses.
    pub proxies: TrustedProxies,
    /// Names by which clients on this machine reach the server, besides its loopback ones and those of the callbacks' addresses.
    pub hosts: Vec<String>,
    /// Speak TLS.
    pub tls: Option<Tls>,
    /// How many connections, and how long each may take.
    pub bounds: Bounds,
    /// How the worker works; `None`: it does not.
    pub work: Option<Work>,
}

impl Default for ServerSettings {
    fn default() -> Self {
        ServerSettings {
            listen: SocketAddr::from(([127, 0, 0, 1], 8000)),
            behind_proxy: false,
            proxies: TrustedProxies::default(),
            hosts: Vec::new(),
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
    listening: Listening,
    work: Option<Work>,
}

/// What all requests and connections share.
struct ServerState {
    engine: Engine,
    metrics: Arc<Metrics>,
    prober: Option<Prober>,
    callbacks: Option<Callbacks>,
    region: Option<String>,
    proxies: TrustedProxies,
    hosts: Hosts,
    bounds: Bounds,
    places: Arc<Places>,
    /// How often each bearer asked, by the token's id.
    bearers: Buckets<i64>,
    /// How often each address asked without an accepted token or signature.
    strangers: Strangers,
    /// Sends that wait for the provider.
    sends: TaskTracker,
}

impl Server {
    /// Checks the settings and listens. Connections wait in the system's queue until [`Server::run`].
    ///
    /// # Errors
    /// `CONFIG_INVALID` for settings that cannot be, an address that is taken, or an engine that sends nowhere.
    pub async fn bind(backend: Backend, settings: ServerSettings) -> Result<Server> {
        let open = !settings.listen.ip().to_canonical().is_loopback();
        if open && settings.tls.is_none() && !settings.behind_proxy {
            return Err(Error::new(
                Code::CONFIG_INVALID,
                format!("{} can be reached from other machines, and codes and tokens would be sent in the clear", settings.listen),
            )
            .hint("Add --tls-cert and --tls-key; or --behind-proxy, if a proxy in front speaks TLS; or listen on 127.0.0.1."));
        }
        if backend.engine.is_local() {
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
        let state = Arc::new(ServerState {
            engine: backend.engine,
            metrics: backend.metrics,
            hosts: Hosts::new(settings.hosts, backend.callbacks.as_ref()),
            prober: backend.checks.map(Prober::new),
            callbacks: backend.callbacks,
            region: backend.region,
            proxies: settings.proxies,
            bounds: settings.bounds,
            places: Places::new(&settings.bounds),
            bearers: Buckets::default(),
            strangers: Strangers::default(),
            sends: TaskTracker::new(),
        });
        let router = router(Arc::clone(&state));
        Ok(Server { listener, address, listening: Listening { state, router, tls }, work: settings.work })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` ends, then lets finish what is under way: at most [`Bounds::drain`].
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let state = &self.listening.state;
        let worker = self.work.map(|work| {
            let (engine, metrics) = (state.engine.clone(), Arc::clone(&state.metrics));
            tokio::spawn(async move { engine.work(work, |done| metrics.worked(done)).await })
        });
        listen::run(self.listener, self.listening, stop).await;
        if let Some(worker) = worker {
            // Whatever step it was in is found again by the next start.
            worker.abort();
        }
    }
}

fn router(state: Arc<ServerState>) -> Router {
    let mut router = Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/openapi.json", get(openapi::document));
    for (path, method) in [
        ("/api/v1/messaging/send-otp", post(otp::send)),
        ("/api/v1/messaging/verify-otp", post(otp::verify)),
        ("/api/v1/messaging/otps/{id}/proven", post(otp::proven)),
        ("/api/v1/messaging/messages", post(message::send)),
        ("/api/v1/messaging/messages/{id}", get(message::show)),
        ("/api/v1/messaging/test-twilio", get(test_twilio::test)),
        ("/api/v1/messaging/twilio/status", post(callback::status)),
        ("/api/v1/messaging/twilio/inbound", post(callback::inbound)),
    ] {
        router = router.route(path, method.clone()).route(&format!("{path}/"), method);
    }
    router
        .fallback(|| async { Problem::new(Code::NO_SUCH_PATH, "nothing is at this path") })
        .method_not_allowed_fallback(|| async {
            Problem::new(Code::METHOD_NOT_ALLOWED, "this path does not take this method")
        })
        // The last one is the outermost.
        .layer(middleware::from_fn_with_state(Arc::clone(&state), admit::admit))
        .layer(CatchPanicLayer::custom(answer_to_panic))
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
        .layer(middleware::from_fn_with_state(Arc::clone(&state), on_every_request))
        .with_state(state)
}

fn answer_to_panic(_: Box<dyn Any + Send>) -> Response {
    Problem::new(Code::BUG, "a bug of smsotp; the server's log says where").into_response()
}

/// What every request gets: an id that can be trusted, a count, a line in the log, and safe headers.
async fn on_every_request(
    State(state): State<Arc<ServerState>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("other", |path| path.as_str().trim_end_matches('/'));
    let method = method_label(request.method());
    let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    let body_read = BodyRead::mark(&mut request);
    if !may_give_request_id(&state.proxies, peer, request.headers()) {
        request.headers_mut().remove(REQUEST_ID);
    }
    let mut response = next.run(request).await;
    let status = response.status().as_u16();
    let problem = response.extensions().get::<ProblemCode>().map(|code| code.0);
    state.metrics.answered(route, method, status, begun.elapsed());
    if let Some(code) = problem {
        state.metrics.refused(code);
    }
    let headers = response.headers_mut();
    tracing::info!(
        target: "smsotp::http",
        request_id = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()),
        method,
        route,
        status,
        code = problem.unwrap_or_default(),
        micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
        "request"
    );
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let full = state.places.are_all_taken();
    if full || chunked || body_read.is_some_and(|body| body.is_unread()) {
        // Where all places are taken, nobody keeps one by asking something cheap now and then. Where a proxy and we could disagree on
        // the length of a body, or it was not read to its end, nothing that follows it is listened to. A client must know, or it
        // sends its next request there.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The method as a label: what a client made up is not one.
fn method_label(method: &Method) -> &'static str {
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

/// Whether the id of a request is that of a trusted proxy, and fit for a log and a header.
fn may_give_request_id(proxies: &TrustedProxies, peer: SocketAddr, headers: &HeaderMap) -> bool {
    let id = headers.get(REQUEST_ID).map_or(&b""[..], HeaderValue::as_bytes);
    let sound = (1..=64).contains(&id.len()) && id.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-');
    sound && proxies.trusts(peer.ip())
}
