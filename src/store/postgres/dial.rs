//! Making one connection, and finding out whether it leads straight to the server.
//!
//! Statements that are prepared once and used again save the server most of its work (planning), but a pooler that hands
//! connections round between transactions loses them, or worse, knows another client's under the same name. So they are used
//! only where the server sees the very address and port that our socket has.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use deadpool_postgres::Connect;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_postgres::config::Host;
use tokio_postgres::tls::{MakeTlsConnect, NoTls, TlsConnect};
use tokio_postgres::{Client, Config, Error, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Makes the connections of a pool.
#[derive(Clone)]
pub struct Dial {
    /// How to encrypt; `None`: not at all.
    pub tls: Option<MakeRustlsConnect>,
    /// What is known of the way.
    pub way: Arc<Way>,
}

/// What all connections together tell about the way to the server.
#[derive(Default)]
pub struct Way {
    straight: AtomicU32,
    crooked: AtomicBool,
}

impl Way {
    /// Two connections have shown their own ports at the server, and none another's: no pooler is that lucky.
    pub fn is_straight(&self) -> bool {
        !self.crooked.load(Ordering::Relaxed) && self.straight.load(Ordering::Relaxed) >= 2
    }

    /// One more connection would settle it.
    pub fn is_open(&self) -> bool {
        !self.crooked.load(Ordering::Relaxed) && self.straight.load(Ordering::Relaxed) == 1
    }

    fn saw(&self, straight: bool) {
        if straight {
            self.straight.fetch_add(1, Ordering::Relaxed);
        } else {
            self.crooked.store(true, Ordering::Relaxed);
        }
    }
}

type Connected = Result<(Client, JoinHandle<()>), Error>;

impl Connect for Dial {
    fn connect(&self, config: &Config) -> Pin<Box<dyn Future<Output = Connected> + Send + '_>> {
        let config = config.clone();
        Box::pin(async move {
            match &self.tls {
                Some(tls) => dial(&config, tls.clone(), &self.way).await,
                None => dial(&config, NoTls, &self.way).await,
            }
        })
    }
}

/// Tries every address in its order. Where none can be reached by a socket of ours, the client's own way of connecting is
/// taken: for sockets in the file system, and for its errors.
async fn dial<T>(config: &Config, mut tls: T, way: &Way) -> Connected
where
    T: MakeTlsConnect<TcpStream> + MakeTlsConnect<tokio_postgres::Socket> + Send,
    <T as MakeTlsConnect<TcpStream>>::Stream: Send + 'static,
    <T as MakeTlsConnect<TcpStream>>::TlsConnect: Send,
    <<T as MakeTlsConnect<TcpStream>>::TlsConnect as TlsConnect<TcpStream>>::Future: Send,
    <T as MakeTlsConnect<tokio_postgres::Socket>>::Stream: Send + 'static,
    <T as MakeTlsConnect<tokio_postgres::Socket>>::TlsConnect: Send,
    <<T as MakeTlsConnect<tokio_postgres::Socket>>::TlsConnect as TlsConnect<tokio_postgres::Socket>>::Future: Send,
{
    for (name, port) in places(config) {
        for address in addresses(&name, port).await {
            let Some(stream) = reach(address, config).await else { continue };
            let Ok(ours) = stream.local_addr() else { continue };
            let Ok(secure) = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut tls, &name) else { continue };
            let connecting = config.connect_raw(stream, secure);
            let Ok(connected) = tokio::time::timeout(patience(config), connecting).await else { continue };
            let (client, connection) = match connected {
                Ok(connected) => connected,
                // A server that is starting or stopping; the next one may be up. Who may not come in is told so below.
                Err(_) => continue,
            };
            let driver = tokio::spawn(async move {
                // How it ended is told to whoever waits for an answer.
                let _ = connection.await;
            });
            let Ok(seen) = tokio::time::timeout(patience(config), seen_from(&client)).await else { continue };
            match seen {
                Ok(theirs) => {
                    way.saw(theirs == Some((ours.ip().to_canonical(), ours.port())));
                    return Ok((client, driver));
                }
                Err(_) => driver.abort(),
            }
        }
    }
    let (client, connection) = config.connect(tls).await?;
    // Where this one leads was not seen. One that cannot be had at all, as in a fail-over, says nothing of the way.
    way.saw(false);
    let driver = tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok((client, driver))
}

/// The address and port that the server sees, asked in a transaction that a standby refuses.
async fn seen_from(client: &Client) -> Result<Option<(IpAddr, u16)>, Error> {
    let sql = "BEGIN READ WRITE; SELECT host(inet_client_addr()), inet_client_port(); COMMIT";
    for message in client.simple_query(sql).await? {
        if let SimpleQueryMessage::Row(row) = message {
            let address = row.get(0).and_then(|text| text.parse::<IpAddr>().ok());
            let port = row.get(1).and_then(|text| text.parse::<u16>().ok());
            return Ok(address.map(|address| address.to_canonical()).zip(port));
        }
    }
    Ok(None)
}

fn places(config: &Config) -> Vec<(String, u16)> {
    if !config.get_hostaddrs().is_empty() {
        return Vec::new();
    }
    let ports = config.get_ports();
    let port = |nth: usize| ports.get(nth).or(ports.first()).copied().unwrap_or(5432);
    let hosts = config.get_hosts().iter().enumerate();
    hosts
        .filter_map(|(nth, host)| match host {
            Host::Tcp(name) => Some((name.clone(), port(nth))),
            #[cfg(unix)]
            Host::Unix(_) => None,
        })
        .collect()
}

async fn addresses(name: &str, port: u16) -> Vec<SocketAddr> {
    tokio::net::lookup_host((name, port)).await.map(Iterator::collect).unwrap_or_default()
}

async fn reach(address: SocketAddr, config: &Config) -> Option<TcpStream> {
    let stream = tokio::time::timeout(patience(config), TcpStream::connect(address)).await.ok()?.ok()?;
    stream.set_nodelay(true).ok()?;
    #[cfg(target_os = "linux")]
    if let Some(silence) = config.get_tcp_user_timeout() {
        let silence = u32::try_from(silence.as_millis()).unwrap_or(u32::MAX);
        // Best effort: without it a dead host is noticed by our own patience, later.
        let _ = nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::TcpUserTimeout, &silence);
    }
    Some(stream)
}

fn patience(config: &Config) -> Duration {
    config.get_connect_timeout().copied().unwrap_or(super::connect::CONNECT)
}
