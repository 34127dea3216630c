//! The accept loop: admission, TLS, HTTP/1.1 with bounds, and an end that lets finish what was begun.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::Shared;
use super::connection::{Admitted, Connection, Watched};
use crate::error::{Code, Error, Result};
use crate::linger::Lingering;

/// The largest head of a request, in bytes, and its most headers.
const HEAD_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;

/// How often slow connections are looked for.
const SWEEP: Duration = Duration::from_millis(250);

/// What a connection without a place is told.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// A certificate chain and its key, as PEM files.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl Tls {
    /// Reads both.
    ///
    /// # Errors
    /// `CONFIG_INVALID`, which names the file.
    pub(super) fn acceptor(&self) -> Result<TlsAcceptor> {
        let wrong = |path: &PathBuf, what: &str| {
            Error::new(Code::CONFIG_INVALID, format!("{} {what}", path.display()))
                .hint("Give a PEM file with --tls-cert (the chain) and one with --tls-key.")
        };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect)
            .map_err(|error| wrong(&self.certificate, "cannot be read as certificates").because(error))?;
        if chain.is_empty() {
            return Err(wrong(&self.certificate, "holds no certificate"));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| wrong(&self.key, "cannot be read as a private key").because(error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::new(Code::BUG, "no TLS version is left").because(error))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| wrong(&self.certificate, "and its key do not fit").because(error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// What every connection is served with.
#[derive(Clone)]
pub(super) struct Service {
    pub shared: Arc<Shared>,
    pub router: Router,
    pub tls: Option<TlsAcceptor>,
    pub stopping: watch::Receiver<bool>,
}

/// Takes connections until told to stop, then waits for what is under way, at most the drain time.
pub(super) async fn run(listener: TcpListener, service: Service) {
    let shared = Arc::clone(&service.shared);
    let sweeper = tokio::spawn(sweep(Arc::clone(&shared)));
    let mut stopping = service.stopping.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => take(accepted, &service).await,
            _ = stopping.wait_for(|stop| *stop) => break,
        }
    }
    drop(listener);
    let all_gone = async {
        while shared.registry.count() > 0 || shared.under_way.count() > 0 {
            shared.registry.changed().await;
        }
    };
    if tokio::time::timeout(shared.bounds.drain, all_gone).await.is_err() {
        tracing::warn!(target: "smsotp::http", connections = shared.registry.count(), "stopped before all had finished");
    }
    sweeper.abort();
}

async fn sweep(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        for _ in 0..shared.registry.sweep() {
            shared.metrics.turned_away("slow");
        }
        shared.metrics.connected(shared.registry.count());
    }
}

async fn take(accepted: std::io::Result<(TcpStream, SocketAddr)>, service: &Service) {
    let (stream, peer) = match accepted {
        Ok(accepted) => accepted,
        Err(error) => {
            // A client that left already, or no file descriptors: give the others a moment to finish.
            tracing::debug!(target: "smsotp::http", "a connection could not be taken: {error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
            return;
        }
    };
    let shared = &service.shared;
    match shared.registry.admit(peer, &shared.proxies) {
        Admitted::In(connection, evicted) => {
            if let Some(why) = evicted {
                shared.metrics.turned_away(why);
            }
            tokio::spawn(serve(stream, connection, service.clone()));
        }
        Admitted::Full(why) => {
            shared.metrics.turned_away(why);
            tokio::spawn(turn_away(stream, service.tls.is_some()));
        }
    }
}

async fn turn_away(mut stream: TcpStream, tls: bool) {
    if !tls {
        let _ = tokio::time::timeout(Duration::from_secs(1), stream.write_all(FULL)).await;
    }
}

async fn serve(stream: TcpStream, connection: Arc<Connection>, service: Service) {
    let _ = stream.set_nodelay(true);
    let shared = Arc::clone(&service.shared);
    let serving = async {
        match &service.tls {
            None => speak(stream, &connection, &service).await,
            Some(tls) => {
                if let Ok(stream) = tls.accept(stream).await {
                    speak(stream, &connection, &service).await;
                }
            }
        }
    };
    tokio::select! {
        () = serving => {}
        () = connection.ended() => {}
    }
    shared.registry.leave(&connection);
}

async fn speak<S>(stream: S, connection: &Arc<Connection>, service: &Service)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let routes = TowerToHyperService::new(service.router.clone());
    let on = Arc::clone(connection);
    let answer = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        on.head_came(!request.body().is_end_stream());
        request.extensions_mut().insert(Arc::clone(&on));
        let (answer, on) = (hyper::service::Service::call(&routes, request), Arc::clone(&on));
        async move {
            let answer: std::result::Result<hyper::Response<Body>, Infallible> = answer.await;
            on.answered();
            answer
        }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    // Our own sweeper ends slow heads: the one of the library cannot tell an idle connection from a slow one.
    http.timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(HEAD_MAX).max_headers(HEADERS_MAX);
    // Whoever has said all and closed that direction still wants the answer.
    http.half_close(true);
    let watched = Watched { stream: Lingering::new(stream), connection: Arc::clone(connection) };
    let serving = http.serve_connection(TokioIo::new(watched), answer);
    tokio::pin!(serving);
    let mut stopping = service.stopping.clone();
    tokio::select! {
        _ = serving.as_mut() => return,
        _ = stopping.wait_for(|stop| *stop) => {}
    }
    serving.as_mut().graceful_shutdown();
    let _ = serving.await;
}
