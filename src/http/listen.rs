//! The accept loop: a place for each connection, TLS, HTTP/1.1 within bounds, and an end that lets finish what was begun.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::server::conn::http1;
use hyper::service::Service as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::ServerState;
use super::connection::Place;
use super::taking::TakenInTime;
use crate::linger::Lingering;

/// The largest head of a request, in bytes, and its most headers.
const HEAD_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;

/// The answer to a connection of an address that has all of its places.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// What every connection is served with.
#[derive(Clone)]
pub(super) struct Listening {
    pub state: Arc<ServerState>,
    pub router: Router,
    pub tls: Option<TlsAcceptor>,
}

/// A connection that has a place.
struct Accepted {
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
}

/// Takes connections until `stop` ends, then waits for what is under way, at most the drain time.
pub(super) async fn run(listener: TcpListener, listening: Listening, stop: impl Future<Output = ()>) {
    let open = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            accepted = accept(&listener, &listening) => {
                tokio::spawn(serve(accepted, listening.clone(), open.watcher()));
            }
            () = &mut stop => break,
        }
    }
    drop(listener);
    let state = listening.state;
    let finished = async {
        open.shutdown().await;
        // A send goes on although its client went away. No new one begins without a connection.
        state.sends.close();
        state.sends.wait().await;
    };
    if timeout(state.bounds.drain, finished).await.is_err() {
        tracing::warn!(target: "smsotp::http", connections = state.places.taken(), "stopped before all had finished");
    }
}

/// The next connection, as soon as there is a place for it. Until then it and all behind it wait in the system's queue.
async fn accept(listener: &TcpListener, listening: &Listening) -> Accepted {
    let state = &listening.state;
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // A client that left already, or no file descriptors: give the others a moment to finish.
                tracing::debug!(target: "smsotp::http", "a connection could not be taken: {error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        if state.places.are_all_taken() {
            state.metrics.connection_waited();
        }
        match state.places.take(state.proxies.counted_address(peer)).await {
            Some(place) => return Accepted { stream, peer, place },
            None => {
                state.metrics.connection_turned_away("address");
                if listening.tls.is_none() {
                    tokio::spawn(refuse(stream));
                }
            }
        }
    }
}

async fn refuse(mut stream: TcpStream) {
    // The buffer of a new connection takes this at once.
    let _ = stream.write_all(FULL).await;
}

async fn serve(Accepted { stream, peer, place }: Accepted, listening: Listening, watcher: Watcher) {
    let _ = stream.set_nodelay(true);
    let state = &listening.state;
    match &listening.tls {
        None => serve_http(stream, peer, &listening, watcher).await,
        Some(tls) => match timeout(state.bounds.head, tls.accept(stream)).await {
            Ok(Ok(stream)) => serve_http(stream, peer, &listening, watcher).await,
            Ok(Err(error)) => tracing::debug!(target: "smsotp::http", "no TLS: {error}"),
            Err(_) => state.metrics.connection_turned_away("timeout"),
        },
    }
    drop(place);
}

async fn serve_http<S>(stream: S, peer: SocketAddr, listening: &Listening, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Listening { state, router, .. } = listening;
    let routes = TowerToHyperService::new(router.clone());
    let answer = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        routes.call(request)
    });
    let stream = TakenInTime::new(Lingering::new(stream), state.bounds.write);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(state.bounds.head);
    http.max_buf_size(HEAD_MAX).max_headers(HEADERS_MAX);
    // A client that has sent everything and closed that direction still wants the answer.
    http.half_close(true);
    let connection = http.serve_connection(TokioIo::new(stream), answer);
    if watcher.watch(connection).await.is_err_and(|error| timed_out(&error)) {
        state.metrics.connection_turned_away("timeout");
    }
}

/// Whether a connection ended because its client sent no head, or took no answer, in time.
fn timed_out(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    error.is_timeout() || cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut)
}
