//! What is looked at before a request reaches its path: which host it names, whose it is, and how often its client asked without
//! a token.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Version, header};
use axum::middleware::Next;
use axum::response::Response;

use super::ServerState;
use super::callback::Callbacks;
use super::client::{Client, Word};
use super::problem::{Problem, ProblemCode};
use super::rate::Buckets;
use crate::error::Code;
use crate::host;
use crate::subject::Subject;

/// So many requests without an accepted token or signature are answered to one address in a second.
const STRANGERS_PER_SECOND: u32 = 20;

/// How requests end that nobody with a token or a signature made.
const STRANGE: [Code; 4] = [Code::UNAUTHORIZED, Code::SIGNATURE_INVALID, Code::NO_SUCH_PATH, Code::METHOD_NOT_ALLOWED];

/// The names, beside the loopback ones, to which clients on this machine may send: a browser there can be made to send to others.
pub(super) struct Hosts(Vec<String>);

/// How often each address asked without a token, since the server began. IPv6 counts by /64, as everywhere.
pub(super) struct Strangers {
    buckets: Buckets<Subject>,
    begun: Instant,
}

/// Refuses what names no host of this server, and who asked too often without a token; finds out whose the request is.
pub(super) async fn admit(
    State(state): State<Arc<ServerState>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    state.hosts.check(peer, &request)?;
    let client = state.client(peer, request.headers());
    state
        .strangers
        .look(client)
        .map_err(|wait| Problem::too_often("too many requests without a token came from this address", wait))?;
    request.extensions_mut().insert(client);
    let is_open = !request.uri().path().starts_with("/api/");
    let response = next.run(request).await;
    let of_stranger = |code: &ProblemCode| STRANGE.iter().any(|strange| strange.name == code.0);
    if is_open || response.extensions().get().is_some_and(of_stranger) {
        state.strangers.count(client);
    }
    Ok(response)
}

impl ServerState {
    /// The client of a request; where its address cannot be believed or read, that is counted.
    fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> Client {
        let client = self.proxies.client(peer, headers);
        let peer = peer.ip();
        match client.word {
            Word::Good => {}
            Word::Forged => {
                self.metrics.forged();
                tracing::warn!(target: "smsotp::http", %peer, "a peer that is no trusted proxy named another client");
            }
            Word::Unreadable => {
                self.metrics.unreadable();
                tracing::warn!(target: "smsotp::http", %peer, "a trusted proxy did not name its client readably");
            }
        }
        client
    }
}

impl Hosts {
    /// These, and the hosts of the addresses that callbacks are sent to.
    pub fn new(names: Vec<String>, callbacks: Option<&Callbacks>) -> Hosts {
        let urls = callbacks.into_iter().flat_map(|callbacks| [&callbacks.public_url, &callbacks.status_url]);
        let of_urls = urls.flatten().filter_map(|url| url.host_str().map(str::to_owned));
        let plain = |name: String| host::name(&name).map(str::to_ascii_lowercase);
        Hosts(names.into_iter().chain(of_urls).filter_map(plain).collect())
    }

    /// One host has to be named (RFC 9112 §3.2), on this machine one that is known.
    fn check(&self, peer: SocketAddr, request: &Request) -> Result<(), Problem> {
        let invalid = || {
            Problem::new(Code::HOST_INVALID, "the request has to name one host")
                .hint("Send one Host header, with a host name or an address.")
        };
        let mut headers = request.headers().get_all(header::HOST).iter();
        let (header, none) = (headers.next(), headers.next().is_none());
        if !none || (header.is_none() && request.version() != Version::HTTP_10) {
            return Err(invalid());
        }
        let header = header.map(|value| value.to_str().map_err(|_| invalid())).transpose()?;
        let target = request.uri().authority().map(Authority::as_str);
        for named in header.into_iter().chain(target) {
            let name = host::name(named).ok_or_else(invalid)?;
            if peer.ip().to_canonical().is_loopback() && !self.knows(name) {
                return Err(Problem::new(
                    Code::HOST_NOT_ALLOWED,
                    "on its own machine this server does not answer to that host",
                )
                .hint(
                    "Ask for 127.0.0.1 or localhost; or start the server with --public-url, or --host and the name.",
                ));
            }
        }
        Ok(())
    }

    fn knows(&self, name: &str) -> bool {
        host::is_loopback(name) || self.0.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

impl Default for Strangers {
    fn default() -> Self {
        Strangers { buckets: Buckets::default(), begun: Instant::now() }
    }
}

impl Strangers {
    /// Whether a client may ask, or how long it has to wait.
    fn look(&self, client: Client) -> Result<(), Duration> {
        match subject(client) {
            Some(subject) => self.buckets.look(&subject, STRANGERS_PER_SECOND, self.begun.elapsed()),
            None => Ok(()),
        }
    }

    fn count(&self, client: Client) {
        if let Some(subject) = subject(client) {
            // Who is over already stays over.
            let _ = self.buckets.take(subject, STRANGERS_PER_SECOND, self.begun.elapsed());
        }
    }
}

fn subject(client: Client) -> Option<Subject> {
    client.ip.map(|ip| {
        let [address, _] = Subject::of_client(ip);
        address
    })
}
