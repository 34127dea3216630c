//! `smsotp serve`: the REST API, the callbacks and the worker, beside an application.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use super::{Call, given};
use crate::app::App;
use crate::check;
use crate::config::Config;
use crate::engine::Work;
use crate::error::{Class, Code, Error, Result};
use crate::files::{self, Holds};
use crate::http::{
    self, Backend, Bounds, Callbacks, Metrics, ProviderCheck, RunChecks, Server, ServerSettings, Tls, TrustedProxies,
};
use crate::output::{LogForm, Output, start_logs};

/// Serve the REST API beside an application
///
/// Answers POST /api/v1/messaging/send-otp/ and verify-otp/, and GET test-twilio/, for bearers of a token from `smsotp token
/// create`. Takes Twilio's callbacks, retries and settles like `dispatch`, and purges. On SIGTERM, requests under way are finished.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp serve --listen 127.0.0.1:8000\n  \
    $ smsotp serve --listen 0.0.0.0:8443 --tls-cert chain.pem --tls-key key.pem\n  \
    $ smsotp serve --behind-proxy --trusted-proxy 10.0.0.7 --public-url https://otp.example.com --log-json")]
pub struct Args {
    /// Listen here; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    pub listen: String,
    /// Allow listening beyond this machine without TLS: a proxy in front speaks it
    #[arg(long)]
    pub behind_proxy: bool,
    /// Trust this proxy or network to name its clients' addresses; may be repeated. Clients inside it can name others too
    #[arg(long, value_name = "NETWORK", value_delimiter = ',')]
    pub trusted_proxy: Vec<String>,
    /// Speak TLS with this certificate chain (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// The public address of the API, which Twilio's callbacks are signed for
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// Answer to this host name too on this machine's own addresses; may be repeated
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub host: Vec<String>,
    /// Accept the fixed codes of declared test numbers
    #[arg(long)]
    pub allow_test_numbers: bool,
    /// Write logs as JSON
    #[arg(long)]
    pub log_json: bool,
    /// How often to purge what is finished; 0s: never
    #[arg(long, value_name = "SPAN", default_value = "1h")]
    pub purge_every: String,
    /// At most this many connections at once; the next ones wait
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_connections: u32,
    /// At most this many connections of one address; not for this machine and trusted proxies
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_per_address: u32,
}

/// Starts the logs of a server: a line for every request, unless `-q` is given; with `-v` the steps of each send as well.
pub fn start_server_logs(args: &Args, call_verbosity: u8, out: &Output, rust_log: Option<&str>) {
    let verbosity = if out.options().quiet { call_verbosity } else { call_verbosity.saturating_add(1) };
    let form = if args.log_json { LogForm::Json } else { LogForm::Text };
    start_logs(out, verbosity, rust_log, form);
}

/// Serves until a signal stops it.
pub fn run(args: Args, call: &Call, out: &mut Output) -> Result<Class> {
    let settings = settings(&args)?;
    let drain = settings.bounds.drain;
    let config = call.config()?;
    call.new_warnings().iter().for_each(|warning| out.warn(warning));
    let callbacks = callbacks(&config, args.public_url.as_deref())?;
    let test_numbers = args.allow_test_numbers || config.allow_test_numbers;
    App::check_provider(&config)?;
    let app = App::open_for_many(config, &|words| out.warn(words))?;
    for warning in app.warnings() {
        out.warn(warning);
    }
    for (path, holds) in [(&args.tls_key, Holds::Secrets), (&args.tls_cert, Holds::Settings)] {
        // One that cannot be read is an error of its own.
        let Some((path, meta)) = path.as_ref().and_then(|path| Some((path, path.metadata().ok()?))) else { continue };
        files::exposure(path, &meta, holds).iter().for_each(|warning| out.warn(warning));
    }
    let messages = out.message_writer();
    let app = app.with_provider(Box::new(move |text| messages.lines(text)), None)?;
    let metrics = Arc::new(Metrics::new());
    let meter = Arc::clone(&metrics);
    let mut engine = app.engine().clone().on_wait(move |what, took| meter.waited(what, took));
    if !test_numbers {
        engine = engine.without_test_numbers();
    }
    let backend = Backend { engine, metrics, checks: checks(&app)?, callbacks, region: app.config().region.clone() };
    let tls = settings.tls.is_some();
    // Longer than the drain: the server ends by itself before it is ended.
    let _hold = call.signals.hold_for(drain + Duration::from_secs(5));
    app.run(async {
        let server = Server::bind(backend, settings).await?;
        let scheme = if tls { "https" } else { "http" };
        out.inform(&format!("smsotp answers on {scheme}://{}. Ctrl-C ends it.", server.address()));
        server.run(async { drop(call.signals.wait().await) }).await;
        Ok::<_, Error>(())
    })?;
    out.inform("Stopped; every operation that was begun is in the database.");
    // A server that was stopped did all that it should.
    call.signals.heeded();
    Ok(Class::Done)
}

fn settings(args: &Args) -> Result<ServerSettings> {
    let listen: SocketAddr = args.listen.parse().map_err(|_| {
        Error::new(Code::VALUE_INVALID, format!("--listen is not an address: {:.60}", args.listen))
            .hint("Write it like 127.0.0.1:8000; port 0 takes a free one")
    })?;
    let proxies = args.trusted_proxy.iter().map(|text| network(text)).collect::<Result<Vec<_>>>()?;
    let hosts = args.host.iter().map(|name| host(name)).collect::<Result<Vec<_>>>()?;
    let purge_every = given::span("--purge-every", &args.purge_every)?;
    let (certificate, key) = (args.tls_cert.clone(), args.tls_key.clone());
    Ok(ServerSettings {
        listen,
        behind_proxy: args.behind_proxy,
        proxies: TrustedProxies::new(proxies)?,
        hosts,
        tls: certificate.zip(key).map(|(certificate, key)| Tls { certificate, key }),
        bounds: Bounds {
            connections: usize::try_from(args.max_connections).unwrap_or(usize::MAX),
            per_address: usize::try_from(args.max_per_address).unwrap_or(usize::MAX),
            ..Bounds::default()
        },
        work: Some(Work { purge_every: Some(purge_every).filter(|span| !span.is_zero()), ..Work::default() }),
    })
}

/// A network, or one address.
fn network(text: &str) -> Result<IpNet> {
    let one = || text.parse::<std::net::IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(one).ok_or_else(|| {
        Error::new(Code::VALUE_INVALID, format!("--trusted-proxy is not a network: {text:.60}"))
            .hint("Write it like 10.0.0.0/8, 192.0.2.7 or fd00::/8")
    })
}

/// A name or an address, as browsers write it in a request.
fn host(name: &str) -> Result<String> {
    url::Host::parse(name).map(|host| host.to_string()).map_err(|_| {
        Error::new(Code::VALUE_INVALID, format!("--host is not a name: {name:.60}"))
            .hint("Write it like otp.example.com, without scheme, port and path")
    })
}

/// What callbacks are checked against: they need the Auth Token, and to know which address Twilio signs.
fn callbacks(config: &Config, public_url: Option<&str>) -> Result<Option<Callbacks>> {
    let wrong = |what: &str| {
        Error::new(Code::CONFIG_INVALID, format!("--public-url {what}")).hint("Write it like https://otp.example.com")
    };
    let public = public_url.map(|text| text.parse::<Url>().map_err(|_| wrong("is not a URL"))).transpose()?;
    if public.as_ref().is_some_and(|url| !matches!(url.scheme(), "https" | "http") || url.query().is_some()) {
        return Err(wrong("is not a plain http or https address"));
    }
    let status_url = config.twilio.status_callback.clone();
    if public.is_none() && status_url.is_none() {
        return Ok(None);
    }
    let Some(auth_token) = config.twilio.auth_token.clone() else {
        return Err(Error::new(Code::CONFIG_INVALID, "callbacks are signed with the Auth Token, and it is not set")
            .hint("Set TWILIO_AUTH_TOKEN beside the API key; it is then used for callbacks alone."));
    };
    // Other callbacks come to the same host as delivery reports.
    let origin = status_url.as_ref().and_then(|url| url.join("/").ok());
    Ok(Some(Callbacks { auth_token, status_url, public_url: public.or(origin) }))
}

fn checks(app: &App) -> Result<Option<RunChecks>> {
    let Some(run) = app.served_checks()? else { return Ok(None) };
    let checks: RunChecks = Arc::new(move || {
        let run = Arc::clone(&run);
        Box::pin(async move {
            let shown = run().await.into_iter().map(|check| ProviderCheck {
                name: check.name.to_owned(),
                mark: match check.mark {
                    check::Mark::Ok => http::CheckMark::Ok,
                    check::Mark::Warn => http::CheckMark::Warn,
                    check::Mark::Fail => http::CheckMark::Fail,
                    check::Mark::Skip => http::CheckMark::Skip,
                },
                finding: check.finding,
                meaning: check.meaning,
                next: check.next,
            });
            shown.collect()
        })
    });
    Ok(Some(checks))
}
