//! The server: its own accept loop (so that a fault can close a connection), the bounds, and the table of routes.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};

use super::answer::{TwilioError, rfc2822};
use super::callback::Callback;
use super::connection::ClientConnection;
use super::fault::Fault;
use super::state::SandboxState;
use super::{
    account, attempts, control, create, inbox, lookup, messages, missing, rate_limits, safe_list, services, verify,
    verify_services, webhooks,
};
use crate::error::{Code, Error, Result};
use crate::linger::Lingering;

/// A client has so long for its headers; an idle connection is closed after that.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// A client has so long for its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest request body.
const MAX_BODY: usize = 64 * 1024;
/// So many connections are served at once; more of them wait.
const MAX_CONNECTIONS: usize = 1024;

/// Listens on an address.
pub(super) fn bind(address: SocketAddr) -> Result<TcpListener> {
    let failed = |e| {
        Error::new(Code::PROVIDER_UNREACHABLE, format!("cannot listen on {address}"))
            .because(e)
            .hint("Choose another port, or port 0 for a free one.")
    };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Serves on a thread of its own until `stopped`.
pub(super) fn spawn(
    listener: TcpListener,
    state: Arc<SandboxState>,
    callbacks: mpsc::UnboundedReceiver<Callback>,
    stopped: oneshot::Receiver<()>,
) -> Result<JoinHandle<()>> {
    let failed = |e: std::io::Error| Error::new(Code::BUG, "the sandbox's thread cannot start").because(e);
    let (ready, is_ready) = std::sync::mpsc::channel();
    // The runtime is made and dropped on its thread: a caller inside another runtime may not drop one.
    let serve = move || {
        let prepared = tokio::runtime::Builder::new_current_thread().enable_all().build().and_then(|runtime| {
            let inside = runtime.enter();
            let listener = tokio::net::TcpListener::from_std(listener)?;
            drop(inside);
            Ok((runtime, listener))
        });
        let (runtime, listener) = match prepared {
            Ok(both) => both,
            Err(e) => return drop(ready.send(Err(e))),
        };
        let _ = ready.send(Ok(()));
        runtime.block_on(async move {
            tokio::spawn(webhooks::send_all(Arc::clone(&state), callbacks));
            tokio::spawn(move_statuses(Arc::clone(&state)));
            tokio::select! {
                () = accept(listener, Arc::clone(&state)) => {}
                _ = stopped => {}
                () = state.stop.notified() => {}
            }
        });
        // Dropping the runtime ends what still runs: hanging requests, late callbacks.
    };
    let thread = std::thread::Builder::new().name("sandbox".to_owned()).spawn(serve).map_err(failed)?;
    match is_ready.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(e)) => Err(failed(e)),
        Err(e) => Err(failed(std::io::Error::other(e))),
    }
}

async fn accept(listener: tokio::net::TcpListener, state: Arc<SandboxState>) {
    let router = router(Arc::clone(&state));
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, peer)) = listener.accept().await else {
            // Mostly because there are no file descriptors left: wait for others to finish.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let router = router.clone();
        tokio::spawn(async move {
            serve_connection(stream, peer, router).await;
            drop(place);
        });
    }
}

async fn serve_connection(stream: tokio::net::TcpStream, peer: SocketAddr, router: Router) {
    let _ = stream.set_nodelay(true);
    let kill = Arc::new(Notify::new());
    let connection = ClientConnection { peer, kill: Arc::clone(&kill) };
    let routes = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(connection.clone());
        hyper::service::Service::call(&routes, request)
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(MAX_BODY);
    let mut serving = http.serve_connection(TokioIo::new(Lingering::new(stream)), service);
    tokio::select! {
        _ = &mut serving => {}
        () = kill.notified() => {
            let stream = serving.into_parts().io.into_inner().into_inner();
            // Without lingering, closing sends RST in place of FIN.
            let _ = stream.set_zero_linger();
        }
    }
}

/// Moves the statuses at the set pace, and releases scheduled messages when they are due.
async fn move_statuses(state: Arc<SandboxState>) {
    let Some(interval) = state.options.pace.interval() else { return };
    loop {
        let (moving, scheduled) = {
            let message_log = state.message_log();
            (message_log.is_moving(), message_log.has_scheduled())
        };
        match (moving, scheduled) {
            (true, _) => tokio::time::sleep(interval).await,
            // The clock may be a manual one, so a due time cannot be slept for.
            (false, true) => tokio::time::sleep(interval.max(Duration::from_millis(100))).await,
            (false, false) => {
                state.moving.notified().await;
                continue;
            }
        }
        state.step();
    }
}

fn router(state: Arc<SandboxState>) -> Router {
    let api = Router::new()
        .route("/2010-04-01/Accounts.json", get(account::list))
        .route("/2010-04-01/Accounts/{account}", get(account::fetch))
        .route("/2010-04-01/Accounts/{account}/Messages.json", post(create::create).get(messages::list))
        .route(
            "/2010-04-01/Accounts/{account}/Messages/{sid}",
            get(messages::fetch).post(messages::update).delete(messages::delete),
        )
        .route("/2010-04-01/Accounts/{account}/Messages/{sid}/Feedback.json", post(messages::feedback))
        .route("/2010-04-01/Accounts/{account}/Messages/{sid}/Media.json", get(messages::media))
        .route(
            "/2010-04-01/Accounts/{account}/Messages/{sid}/Media/{media}",
            get(messages::one_media).delete(messages::delete_media),
        )
        .route("/2010-04-01/Accounts/{account}/Balance.json", get(account::balance))
        .route(
            "/2010-04-01/Accounts/{account}/IncomingPhoneNumbers.json",
            get(account::numbers).post(account::buy_number),
        )
        .route("/2010-04-01/Accounts/{account}/IncomingPhoneNumbers/{sid}", get(account::number))
        .route("/2010-04-01/Accounts/{account}/Calls.json", post(account::create_call))
        .route("/2010-04-01/Accounts/{account}/Usage/Records/Today.json", get(account::usage_today))
        .route("/v1/Services", get(services::list))
        .route("/v1/Services/{sid}", get(services::fetch))
        .route("/v1/Services/{sid}/{pool}", get(services::senders))
        .route("/v1/Messaging/Countries", get(lookup::priced))
        .route("/v1/Messaging/Countries/{country}", get(lookup::price))
        .route("/v1/Messaging/GeoPermissions", get(lookup::geo_permissions))
        .route("/v2/PhoneNumbers/{number}", get(lookup::lookup))
        .route("/v1/PhoneNumbers/{number}", get(lookup::lookup_v1))
        .route("/v2/Services", get(verify_services::list).post(verify_services::create))
        .route(
            "/v2/Services/{sid}",
            get(verify_services::fetch).post(verify_services::update).delete(verify_services::delete),
        )
        .route("/v2/Services/{sid}/Verifications", post(verify::start))
        .route("/v2/Services/{sid}/Verifications/{which}", get(verify::fetch).post(verify::update))
        .route("/v2/Services/{sid}/VerificationCheck", post(verify::check))
        .route("/v2/Services/{sid}/RateLimits", get(rate_limits::list).post(rate_limits::create))
        .route(
            "/v2/Services/{sid}/RateLimits/{limit}",
            get(rate_limits::fetch).post(rate_limits::update).delete(rate_limits::delete),
        )
        .route(
            "/v2/Services/{sid}/RateLimits/{limit}/Buckets",
            get(rate_limits::list_buckets).post(rate_limits::create_bucket),
        )
        .route(
            "/v2/Services/{sid}/RateLimits/{limit}/Buckets/{bucket}",
            get(rate_limits::fetch_bucket).post(rate_limits::update_bucket).delete(rate_limits::delete_bucket),
        )
        .route("/v2/Attempts", get(attempts::list))
        .route("/v2/Attempts/Summary", get(attempts::summary))
        .route("/v2/Attempts/{sid}", get(attempts::fetch))
        .route("/v2/Templates", get(verify_services::templates))
        .route("/v2/SafeList/Numbers", post(safe_list::add))
        .route("/v2/SafeList/Numbers/{number}", get(safe_list::fetch).delete(safe_list::delete))
        .route("/v1/SafeList/Numbers", get(safe_list::fetch_asked).post(safe_list::add).delete(safe_list::delete_asked))
        .method_not_allowed_fallback(missing::wrong_method)
        .fallback(any(missing::unknown_path))
        .layer(middleware::from_fn_with_state(Arc::clone(&state), with_faults));
    let control = Router::new()
        .route("/sandbox", get(control::index))
        .route("/sandbox/inbox", get(inbox::list))
        .route("/sandbox/faults", get(control::faults).post(control::arm_fault).delete(control::clear_faults))
        .route("/sandbox/callbacks", get(control::callbacks).post(control::plan_callbacks))
        .route("/sandbox/outcomes", post(control::set_outcome))
        .route("/sandbox/reply", post(control::send_reply))
        .route("/sandbox/step", post(control::step))
        .route("/sandbox/stop", post(control::stop))
        .route("/sandbox/messages/{sid}/status", post(control::set_status))
        .layer(middleware::from_fn_with_state(Arc::clone(&state), control::admit));
    api.merge(control)
        .layer(middleware::from_fn(read_body))
        .layer(middleware::from_fn_with_state(Arc::clone(&state), with_headers))
        .with_state(state)
}

/// Reads the whole body before anything else happens, within its bounds: a fault then hits a request that was sent whole.
async fn read_body(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    // After a body that was not read to its end the connection closes: a client must not send its next request there.
    let closing = |refusal: Response| ([(header::CONNECTION, "close")], refusal).into_response();
    let too_large = || closing(TwilioError::new(20413, "Request body above 64 KiB").into_response());
    if HttpBody::size_hint(&body).lower() > MAX_BODY as u64 {
        return too_large();
    }
    match tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, MAX_BODY)).await {
        Ok(Ok(whole)) => next.run(Request::from_parts(parts, Body::from(whole))).await,
        Ok(Err(_)) => too_large(),
        Err(_) => closing(StatusCode::REQUEST_TIMEOUT.into_response()),
    }
}

async fn with_faults(State(state): State<Arc<SandboxState>>, request: Request, next: Next) -> Response {
    let creates = request.method() == Method::POST && request.uri().path().ends_with("/Messages.json");
    if creates {
        state.creates.fetch_add(1, Ordering::SeqCst);
    }
    let Some(fault) = state.faults().take_next(creates) else { return next.run(request).await };
    let Some(connection) = request.extensions().get::<ClientConnection>().cloned() else {
        return next.run(request).await;
    };
    if let Fault::Latency(wait) = fault {
        tokio::time::sleep(wait).await;
    }
    if !fault.is_carried_out() {
        return fault.refuse(&connection).await;
    }
    let answer = next.run(request).await;
    fault.corrupt(answer, &connection).await
}

/// The headers that every answer of Twilio's has.
async fn with_headers(State(state): State<Arc<SandboxState>>, request: Request, next: Next) -> Response {
    let concurrent = state.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
    let begun = tokio::time::Instant::now();
    let guard = InFlight(Arc::clone(&state));
    let mut response = next.run(request).await;
    drop(guard);
    let http_date = rfc2822(state.now()).replace("+0000", "GMT");
    let values = [
        (header::DATE.as_str(), http_date),
        ("twilio-request-id", super::sid::random_sid("RQ")),
        ("twilio-concurrent-requests", concurrent.to_string()),
        ("twilio-request-duration", format!("{:.3}", begun.elapsed().as_secs_f64())),
    ];
    for (name, value) in values {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// Counts a request down when it ends, also when its client has closed the connection.
struct InFlight(Arc<SandboxState>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}
