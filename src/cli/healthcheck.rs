//! `smsotp healthcheck`: asks a server on this machine whether it is ready, for containers and scripts.

use reqwest::{Client, StatusCode, redirect, retry};
use rustls::crypto::ring;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::{Call, given};
use crate::error::{Class, Code, Error, Result};
use crate::output::{Layout, Output, Render, Table, View};

/// Ask a server on this machine whether it is ready
///
/// Exit code 0: `smsotp serve` answers, and so does its database. Exit code 1: one of them does not. It reads no settings and opens no
/// database, so containers can run it as their health check. With https it takes any certificate, which need not name
/// this machine.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp healthcheck\n  \
    $ smsotp healthcheck --url https://127.0.0.1:8443 --within 2s --quiet\n  \
    $ smsotp healthcheck --live")]
pub struct Args {
    /// Where the server listens, by a loopback address
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8000")]
    pub url: String,
    /// How long to wait for the answer
    #[arg(long, value_name = "SPAN", default_value = "5s")]
    pub within: String,
    /// Ask for the process alone, not for its database
    #[arg(long)]
    pub live: bool,
}

/// A server that answered well.
#[derive(Debug, Serialize)]
struct Health {
    /// Where it listens.
    url: String,
    /// `ok`: it answers. `ready`: and so does its database.
    status: &'static str,
}

impl Render for Health {
    const KIND: &'static str = "health";

    fn table(&self, _: &View) -> Table {
        Table::one_row(vec![("url", self.url.clone()), ("status", self.status.to_owned())])
    }

    fn layout(&self, _: &View) -> Layout {
        Layout::new().text(match self.status {
            "ok" => "The server answers.",
            _ => "The server is ready.",
        })
    }
}

/// What the server says of itself, or the problem that it has.
#[derive(Deserialize)]
struct Said {
    status: serde_json::Value,
    detail: Option<String>,
}

/// No answer that is longer is one of ours.
const ANSWER_MAX: usize = 16 * 1024;

/// Asks, and shows the answer; anything but a good one is an error.
pub fn run(args: Args, call: &Call, out: &mut Output) -> Result<Class> {
    let url = address(&args.url)?;
    let within = given::span("--within", &args.within)?;
    let (path, status) = if args.live { ("/healthz", "ok") } else { ("/readyz", "ready") };
    call.signals.watch();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(Code::BUG, "no runtime can be started").because(error))?;
    runtime.block_on(async {
        match tokio::time::timeout(within, ask(&url, path, status)).await {
            Ok(answer) => answer,
            Err(_) => Err(unwell(&url, &format!("gave no answer within {}", humantime::format_duration(within)))
                .hint("It is overloaded, or something else listens there.")),
        }
    })?;
    out.show_unless_quiet(&Health { url: args.url, status })
}

/// The server's address: this machine's, since nothing proves who answers.
fn address(text: &str) -> Result<Url> {
    let ours = |url: &Url| match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.to_canonical().is_loopback(),
        None => false,
    };
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && ours(url))
        .filter(|url| url.path() == "/" && url.query().is_none() && url.username().is_empty())
        .ok_or_else(|| {
            Error::new(Code::VALUE_INVALID, format!("--url is no address of a server on this machine: {text:.60}"))
                .hint("Write it like http://127.0.0.1:8000, without a path. Other machines ask for /readyz with a client of their own.")
        })
}

async fn ask(url: &Url, path: &str, status: &str) -> Result<()> {
    // Only one can be installed in a process; whichever it is will do.
    let _ = ring::default_provider().install_default();
    let client = Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .tls_danger_accept_invalid_certs(true)
        .build()
        .map_err(|error| Error::new(Code::BUG, "the HTTP client could not be built").because(error))?;
    let mut target = url.clone();
    target.set_path(path);
    let mut answer = client.get(target).send().await.map_err(|error| {
        unwell(url, "does not answer")
            .because(error.without_url())
            .hint("Start it with `smsotp serve`, or name its address with --url.")
    })?;
    let mut body = Vec::new();
    while let Ok(Some(piece)) = answer.chunk().await {
        body.extend_from_slice(&piece);
        if body.len() > ANSWER_MAX {
            break;
        }
    }
    match (answer.status(), serde_json::from_slice::<Said>(&body)) {
        (StatusCode::OK, Ok(said)) if said.status == status => Ok(()),
        (code, Ok(Said { detail: Some(why), .. })) if !code.is_success() => {
            Err(unwell(url, &format!("is not ready: {why}")).hint("Its log says more."))
        }
        (code, _) => Err(unwell(url, &format!("answered {code}, which `smsotp serve` does not"))
            .hint("Something else listens there: name the server's address with --url.")),
    }
}

fn unwell(url: &Url, what: &str) -> Error {
    Error::new(Code::CHECK_FAILED, format!("the server at {url} {what}"))
}
