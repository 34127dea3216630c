//! A sandbox that runs in another process: whether it is there, and how it is ended.

use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::env_file;
use crate::error::{Code, Error, Result};

/// One that is there answers at once.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// One that was stopped closes its port well before this.
const END_MAX: Duration = Duration::from_secs(10);

/// A sandbox that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its base URL.
    pub url: String,
    /// Its process.
    pub pid: u32,
}

/// The sandbox whose variables are in a file, if it still runs. A file that an ended one left behind, or whose address belongs to
/// another sandbox by now, is stale: `None`, as for a missing file.
///
/// # Errors
/// As [`Options::resume_from`](super::Options::resume_from).
pub fn of_env_file(path: &Path) -> Result<Option<Running>> {
    #[derive(Deserialize)]
    struct Index {
        account_sid: String,
        pid: u32,
    }
    let Some(saved) = env_file::read(path)? else { return Ok(None) };
    let Some(url) = saved.base_url else { return Ok(None) };
    let Ok(address) = address(&url, "/sandbox") else { return Ok(None) };
    let index = block_on(async {
        let answer = ask(client()?.get(address).timeout(ANSWER_MAX)).await?;
        answer.json::<Index>().await.map_err(unreachable)
    });
    let same = index.ok().filter(|index| saved.account_sid.as_ref() == Some(&index.account_sid));
    Ok(same.map(|index| Running { url, pid: index.pid }))
}

/// Ends the sandbox at a base URL, and returns once its address is free again.
///
/// # Errors
/// `CONFIG_INVALID` for a URL that is no base URL, `PROVIDER_UNREACHABLE` when no sandbox answers there or it does not end.
pub fn stop(url: &str) -> Result<()> {
    let address = address(url, "/sandbox/stop")?;
    block_on(async { ask(client()?.post(address.clone()).timeout(ANSWER_MAX)).await.map(drop) })?;
    let sockets = address.socket_addrs(|| None).unwrap_or_default();
    let until = Instant::now() + END_MAX;
    while sockets.iter().any(|socket| TcpStream::connect_timeout(socket, ANSWER_MAX).is_ok()) {
        if Instant::now() > until {
            return Err(Error::new(Code::PROVIDER_UNREACHABLE, "the sandbox does not end"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// A path of the sandbox at a base URL.
pub(super) fn address(url: &str, path: &str) -> Result<url::Url> {
    let mut address = url::Url::parse(url).ok().filter(|u| u.scheme() == "http" && u.has_host()).ok_or_else(|| {
        Error::new(Code::CONFIG_INVALID, "the sandbox's URL is not an http URL")
            .hint("Write it as the sandbox prints it, for example http://127.0.0.1:4010.")
    })?;
    address.set_path(path);
    address.set_query(None);
    Ok(address)
}

/// Sends a request of its control endpoints; an answer that is no success is an error.
pub(super) async fn ask(request: reqwest::RequestBuilder) -> Result<reqwest::Response> {
    let answer = request.send().await.map_err(unreachable)?;
    match answer.status() {
        status if status.is_success() => Ok(answer),
        status => Err(Error::new(Code::PROVIDER_UNREACHABLE, format!("the sandbox answered {status}"))
            .hint("Use it on the machine that it runs on, with the loopback address that it prints.")),
    }
}

/// No sandbox is there.
pub(super) fn unreachable(error: reqwest::Error) -> Error {
    Error::new(Code::PROVIDER_UNREACHABLE, "no sandbox answers at this address").because(error.without_url()).hint(
        "It has ended, or was never started: `smsotp sandbox --detach --write-env FILE` returns when it is ready.",
    )
}

/// Runs to its end what waits for an answer, for callers that have no runtime of their own.
pub(super) fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(Code::BUG, "no runtime can be started").because(error))?
        .block_on(future)
}

/// A client that connects to loopback alone, through no proxy.
pub(super) fn client() -> Result<reqwest::Client> {
    let bug = |e: &dyn std::fmt::Display| Error::new(Code::BUG, format!("no HTTP client: {e}"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| bug(&e))?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .resolve("localhost", (Ipv4Addr::LOCALHOST, 0).into())
        .connect_timeout(Duration::from_secs(5))
        .build()
        .map_err(|e| bug(&e))
}
