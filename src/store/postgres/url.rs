//! Reads a PostgreSQL URL: the hosts, how their certificates are checked, and whether there is a pooler. No part of the URL ever gets into
//! an error.

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use super::connect::{CONNECT_TIMEOUT, SILENCE};
use super::tls::{self, Trust};
use crate::error::{Code, Error, Result};

/// What a URL says.
#[derive(Clone)]
pub struct Address {
    /// The client's configuration, with all hosts in order.
    pub config: Config,
    /// How the server's certificate is checked; `None`: no encryption.
    pub trust: Option<Trust>,
    /// Whether a pooler shares connections between transactions (`pooler=transaction`), so that neither prepared statements nor settings
    /// may outlive a transaction.
    pub pooled: bool,
}

/// The parameters that the client does not know.
#[derive(Default)]
struct Parameters {
    sslmode: Option<String>,
    sslrootcert: Option<String>,
    pooler: Option<String>,
}

impl Address {
    /// Reads a URL. Apart from the parameters of libpq it may have `pooler`. Without `sslmode` and `sslrootcert`, certificates are
    /// checked (`verify-full`) unless every host is a loopback address or a socket.
    ///
    /// # Errors
    /// `CONFIG_INVALID`, which never repeats the URL: it may contain a password anywhere.
    pub fn parse(url: &str) -> Result<Address> {
        let (url, parameters) = Parameters::take_from(url);
        let mut config: Config = url.parse().map_err(|_| unreadable())?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(unreadable());
        }
        if config.get_user().is_none() {
            return Err(Error::new(Code::CONFIG_INVALID, "the PostgreSQL URL names no user")
                .hint("Write it as postgres://USER@HOST/DATABASE."));
        }
        let pooled = match parameters.pooler.as_deref() {
            None => false,
            Some("transaction") => true,
            Some(_) => {
                return Err(Error::new(Code::CONFIG_INVALID, "the pooler of the PostgreSQL URL is not known")
                    .hint("Write pooler=transaction if a pooler shares connections between transactions; otherwise leave it out."));
            }
        };
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(SILENCE);
        }
        if config.get_application_name().is_none() {
            config.application_name("smsotp");
        }
        let trust = tls::trust(parameters.sslmode.as_deref(), parameters.sslrootcert.as_deref(), is_local(&config))?;
        config.ssl_mode(if trust.is_some() { SslMode::Require } else { SslMode::Disable });
        Ok(Address { config, trust, pooled })
    }

    /// The client's configuration for each host separately.
    pub fn each_host(&self) -> Vec<Config> {
        let config = &self.config;
        let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
        let count = hosts.len().max(addresses.len());
        if count < 2 {
            return vec![config.clone()];
        }
        let one = |nth: usize| {
            let mut one = Config::new();
            match hosts.get(nth) {
                Some(Host::Tcp(name)) => drop(one.host(name)),
                #[cfg(unix)]
                Some(Host::Unix(path)) => drop(one.host_path(path)),
                None => {}
            }
            addresses.get(nth).map(|address| one.hostaddr(*address));
            ports.get(nth).or(ports.first()).map(|port| one.port(*port));
            config.get_user().map(|user| one.user(user));
            config.get_password().map(|password| one.password(password));
            config.get_dbname().map(|name| one.dbname(name));
            config.get_options().map(|options| one.options(options));
            config.get_application_name().map(|name| one.application_name(name));
            config.get_connect_timeout().map(|timeout| one.connect_timeout(*timeout));
            config.get_tcp_user_timeout().map(|timeout| one.tcp_user_timeout(*timeout));
            config.get_keepalives_interval().map(|interval| one.keepalives_interval(interval));
            config.get_keepalives_retries().map(|retries| one.keepalives_retries(retries));
            one.keepalives(config.get_keepalives())
                .keepalives_idle(config.get_keepalives_idle())
                .ssl_mode(config.get_ssl_mode())
                .ssl_negotiation(config.get_ssl_negotiation())
                .channel_binding(config.get_channel_binding())
                .target_session_attrs(config.get_target_session_attrs());
            one
        };
        (0..count).map(one).collect()
    }

    /// The hosts, ports and database, which may be shown.
    pub fn place(&self) -> String {
        let ports = self.config.get_ports();
        let port = |nth: usize| ports.get(nth).or(ports.first()).copied().unwrap_or(5432);
        let hosts: Vec<String> = self
            .config
            .get_hosts()
            .iter()
            .enumerate()
            .map(|(nth, host)| match host {
                Host::Tcp(name) => format!("{name}:{}", port(nth)),
                #[cfg(unix)]
                Host::Unix(path) => format!("{}:{}", path.display(), port(nth)),
            })
            .collect();
        let database = self.config.get_dbname().or(self.config.get_user()).unwrap_or_default();
        format!("postgres://{}/{database}", hosts.join(","))
    }
}

impl Parameters {
    /// Removes them from a URL.
    fn take_from(url: &str) -> (String, Parameters) {
        let mut parameters = Parameters::default();
        let Some((base, query)) = url.split_once('?') else { return (url.to_owned(), parameters) };
        let mut rest = Vec::new();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let parameter = match name {
                "sslmode" => &mut parameters.sslmode,
                "sslrootcert" => &mut parameters.sslrootcert,
                "pooler" => &mut parameters.pooler,
                _ => {
                    rest.push(pair);
                    continue;
                }
            };
            let decoded =
                url::form_urlencoded::parse(format!("v={value}").as_bytes()).next().map(|(_, v)| v.into_owned());
            *parameter = decoded;
        }
        let url = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
        (url, parameters)
    }
}

fn unreadable() -> Error {
    Error::new(Code::CONFIG_INVALID, "the PostgreSQL URL cannot be read").hint(
        "Write it as postgres://USER:PASSWORD@HOST:PORT/DATABASE; encode @ : / ? # and % in a password, as %40 for @.",
    )
}

fn is_local(config: &Config) -> bool {
    let hosts = config.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()),
        #[cfg(unix)]
        Host::Unix(_) => true,
    });
    hosts && config.get_hostaddrs().iter().all(std::net::IpAddr::is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_checked_unless_it_is_this_machine_or_the_url_says_otherwise() {
        let trust = |url: &str| Address::parse(url).unwrap().trust.map(|trust| trust.check);
        for local in
            ["postgres://u@127.0.0.1/b", "postgres://u@localhost/b", "postgres://u@[::1]/b", "postgres://u@%2Frun/b"]
        {
            assert_eq!(trust(local), None, "{local}");
        }
        for far in
            ["postgres://u@db.example.com/b", "postgres://u@127.0.0.1,db.example.com/b", "postgres://u@10.0.0.1/b"]
        {
            assert_eq!(trust(far), Some(tls::CertificateCheck::Full), "{far}");
        }
        assert_eq!(trust("postgres://u@db.example.com/b?sslmode=disable"), None);
        assert_eq!(trust("postgres://u@db.example.com/b?sslmode=require"), Some(tls::CertificateCheck::Nothing));
        assert_eq!(
            trust("postgres://u@127.0.0.1/b?sslmode=verify-ca&connect_timeout=3"),
            Some(tls::CertificateCheck::Authority)
        );
    }

    #[test]
    fn a_pooler_is_named_by_the_one_word_that_changes_anything() {
        let pooled = |url: &str| Address::parse(url).map(|address| address.pooled);
        assert!(!pooled("postgres://u@127.0.0.1/b").unwrap());
        assert!(pooled("postgres://u@127.0.0.1/b?connect_timeout=3&pooler=transaction").unwrap());
        for other in ["session", "statement", "yes", ""] {
            let error = pooled(&format!("postgres://u@127.0.0.1/b?pooler={other}")).unwrap_err();
            assert_eq!(error.code(), Code::CONFIG_INVALID);
            assert!(error.hint_text().unwrap().contains("pooler=transaction"), "{error:?}");
        }
    }

    #[test]
    fn each_host_keeps_everything_but_the_others() {
        let address = Address::parse("postgres://u:p@a:1,b:2/base?connect_timeout=3&sslmode=require").unwrap();
        let alone = |host: &str, port: u16| {
            let url = format!("postgres://u:p@{host}:{port}/base?connect_timeout=3&sslmode=require");
            Address::parse(&url).unwrap().config
        };
        assert_eq!(address.each_host(), [alone("a", 1), alone("b", 2)]);
        let same_port = Address::parse("postgres://u@a,b:5/base?sslmode=require");
        assert!(same_port.is_ok());
    }

    #[test]
    fn no_part_of_a_url_gets_into_an_error_or_a_place() {
        let canary = "s3cr3t-canary";
        for url in [
            format!("postgres://u:{canary}@/x y"),
            format!("postgres://u:{canary}@host:port/b"),
            format!("postgres://u:{canary}/rest@host/b?nonsense={canary}"),
            format!("postgres://u:{canary}@host/b?sslmode={canary}"),
            format!("postgres://u:{canary}@host/b?pooler={canary}"),
            format!("postgres://u:{canary}@host/b?sslrootcert=/nowhere/{canary}&sslmode=verify-ca"),
            format!("host=h password={canary} port=x"),
            format!("postgres://:{canary}@h/b"),
        ] {
            let Err(error) = Address::parse(&url) else { continue };
            let said = format!("{error} {error:?} {:?}", error.hint_text());
            assert!(!said.contains(canary), "{said}");
        }
        let address = Address::parse(&format!("postgres://u:{canary}@a:1,b:2/database?sslmode=require")).unwrap();
        assert_eq!(address.place(), "postgres://a:1,b:2/database");
    }
}
