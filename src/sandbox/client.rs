//! Asks the control endpoints of a sandbox that runs in another process.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Code, Error, Result};

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
