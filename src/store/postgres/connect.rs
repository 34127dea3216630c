//! From a URL to connections: which hosts, how they are trusted, how long is waited. No part of the URL ever gets into an error.

use std::borrow::Cow;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use deadpool_postgres::{Connect, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime};
use futures_util::TryStreamExt;
use futures_util::future::maybe_done;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Row};

use super::dial::{Dial, Way};
use super::rows::{Value, borrowed};
use super::tls::{self, Trust};
use super::trouble;
use crate::error::{Code, Error, Result};

/// How long one host may take to answer.
pub const CONNECT: Duration = Duration::from_secs(5);

/// How long what was written may stay unacknowledged before the connection counts as lost: a host that lost its power
/// answers nothing at all.
const SILENCE: Duration = Duration::from_secs(10);

/// What holds in every transaction. A statement waits for a lock for 5 s, takes 8 s, and we are waited for 8 s: that ends well
/// inside of an operation's patience, and a process that hangs keeps its locks no longer. Every statement of an operation has its index;
/// a plan that was made while a table was small must not outlive that.
macro_rules! settings {
    ($before:literal, $set:literal) => {
        concat!(
            $before,
            $set,
            "lock_timeout = 5000; ",
            $set,
            "statement_timeout = 8000; ",
            $set,
            "idle_in_transaction_session_timeout = 8000; ",
            $set,
            "enable_seqscan = off; ",
            $set,
            "jit = off"
        )
    };
}

/// READ WRITE is refused by a standby: nothing is ever decided on a copy.
pub const BEGIN: &str = settings!("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; ", "SET LOCAL ");

/// The same on a connection that has the [`KEPT`] settings.
const BEGIN_KEPT: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
/// A plan is kept with the statement: every one of ours is good for any values, and where a value is an array the server would
/// otherwise plan anew each time, because it takes a list of unknown length for a long one.
const KEPT: &str = concat!(settings!("", "SET SESSION "), "; SET SESSION plan_cache_mode = force_generic_plan");

/// A place to connect to.
#[derive(Clone)]
pub struct Address {
    config: Config,
    trust: Option<Trust>,
}

impl Address {
    /// Reads a URL. Beside what PostgreSQL's own tools know, `sslmode` and `sslrootcert` are read here: without them
    /// certificates are checked (`verify-full`) unless every host is a loopback address or a socket.
    ///
    /// # Errors
    /// `CONFIG_INVALID`, which never repeats the URL: it may hold a password anywhere.
    pub fn parse(url: &str) -> Result<Address> {
        let (url, wanted) = tls::Wanted::take_from(url)?;
        let mut config: Config = url.parse().map_err(|_| unreadable())?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(unreadable());
        }
        if config.get_user().is_none() {
            return Err(Error::new(Code::CONFIG_INVALID, "the PostgreSQL URL names no user")
                .hint("Write it as postgres://USER@HOST/DATABASE."));
        }
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(SILENCE);
        }
        if config.get_application_name().is_none() {
            config.application_name("smsotp");
        }
        let trust = wanted.trust(is_local(&config))?;
        config.ssl_mode(if trust.is_some() { SslMode::Require } else { SslMode::Disable });
        Ok(Address { config, trust })
    }

    /// Connections that are kept and given out again, at most `most` at a time.
    pub fn pool(&self, most: usize, patience: Duration) -> Result<Connections> {
        // A connection that died while nobody used it is noticed by the operation, which then takes another: that costs nothing
        // while all is well, and a look before every operation would cost it a round trip.
        let kept = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let tls = self.trust.as_ref().map(Trust::connector).transpose()?;
        let dial = Dial { tls, way: Arc::new(Way::default()) };
        let manager = Manager::from_connect(self.config.clone(), dial.clone(), kept);
        let pool = Pool::builder(manager)
            .max_size(most.max(1))
            .wait_timeout(Some(patience))
            .create_timeout(Some(patience))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| Error::new(Code::BUG, "the pool of connections cannot be built").because(error))?;
        Ok(Connections { pool, dial, config: self.config.clone() })
    }

    /// Host, port and database: what may be shown.
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

/// The connections to the database.
pub struct Connections {
    pool: Pool,
    dial: Dial,
    config: Config,
}

/// A connection inside a transaction. Dropped before [`Session::done`], it is closed: nobody gets a connection with somebody
/// else's transaction open.
pub struct Session {
    object: Option<Object>,
    /// The statements of this transaction that the server knows already, where it may keep any.
    prepared: Vec<(Cow<'static, str>, tokio_postgres::Statement)>,
    keeps: bool,
}

/// From its so-many-th transaction on a connection prepares what it runs: a single command would pay for it in vain.
const WORTH_PREPARING: usize = 3;

impl Connections {
    /// Takes a connection out of the pool, or makes one.
    pub async fn take(&self) -> Result<Session, trouble::Failure> {
        let object = match self.pool.get().await {
            Ok(object) => object,
            Err(PoolError::Backend(error)) => return Err(trouble::connecting(error)),
            Err(PoolError::Timeout(_)) => {
                return Err(trouble::Failure::Final(
                    Error::new(Code::STORE_BUSY, "no connection to the database became free")
                        .retry_after(Duration::from_secs(1))
                        .hint("Try again; if it lasts, the database or the network in between is overloaded."),
                ));
            }
            Err(error) => {
                return Err(trouble::Failure::Final(
                    Error::new(Code::STORE_FAILED, "no connection to the database could be had")
                        .because(error.to_string()),
                ));
            }
        };
        let used = Object::metrics(&object).recycle_count;
        if used >= WORTH_PREPARING && self.dial.way.is_open() {
            // One connection alone may have shown its port by chance; a second one settles it.
            let _ = self.dial.connect(&self.config).await;
        }
        let keeps = used >= WORTH_PREPARING && self.dial.way.is_straight();
        Ok(Session { object: Some(object), prepared: Vec::new(), keeps })
    }
}

impl Session {
    /// The connection.
    pub fn client(&self) -> &Client {
        match &self.object {
            Some(object) => object,
            None => unreachable!("a session holds its connection until it is done"),
        }
    }

    /// How a transaction begins here.
    pub fn begin(&self) -> &'static str {
        match &self.object {
            Some(object) if self.keeps && object.statement_cache.size() > 0 => BEGIN_KEPT,
            _ => BEGIN,
        }
    }

    /// Has the server prepare what is about to be run, where it may and has not yet.
    pub async fn ready<'s>(
        &mut self,
        statements: impl Iterator<Item = (Cow<'static, str>, &'s [Value])>,
    ) -> Result<(), tokio_postgres::Error> {
        let (true, Some(object)) = (self.keeps, &self.object) else { return Ok(()) };
        if object.statement_cache.size() == 0 {
            // This connection is nobody else's: what every transaction would set for itself is set once.
            object.batch_execute(KEPT).await?;
        }
        let prepare = |(sql, values): (Cow<'static, str>, &[Value])| {
            let types: Vec<Type> = values.iter().map(|(_, kind)| kind.clone()).collect();
            async move {
                let statement = object.prepare_typed_cached(&sql, &types).await?;
                Ok((sql, statement))
            }
        };
        let prepared = in_order(statements.map(prepare)).await;
        self.prepared.extend(prepared.into_iter().collect::<Result<Vec<_>, tokio_postgres::Error>>()?);
        Ok(())
    }

    fn known(&self, sql: &str) -> Option<&tokio_postgres::Statement> {
        self.prepared.iter().find(|(known, _)| known == sql).map(|(_, statement)| statement)
    }

    /// Runs a statement. It is sent when this is first polled, so that several go out one behind the other.
    pub async fn ask(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, tokio_postgres::Error> {
        match self.known(sql) {
            Some(statement) => self.client().query_raw(statement, plain(values)).await?.try_collect().await,
            None => self.client().query_typed(sql, &borrowed(values)).await,
        }
    }

    /// Runs a statement for the number of rows that it changed; sent like [`Session::ask`].
    pub async fn run(&self, sql: &str, values: &[Value]) -> Result<u64, tokio_postgres::Error> {
        match self.known(sql) {
            Some(statement) => self.client().execute_raw(statement, plain(values)).await,
            None => self.client().execute_typed(sql, &borrowed(values)).await,
        }
    }

    /// The transaction is over: the connection may be given to the next.
    pub fn done(mut self) {
        self.object.take();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            drop(Object::take(object));
        }
    }
}

/// Polls futures in their order until all are done: what they send goes out one behind the other.
pub async fn in_order<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<_> = futures.map(|future| Box::pin(maybe_done(future))).collect();
    poll_fn(|context| {
        let waiting = all.iter_mut().filter_map(|one| one.as_mut().poll(context).is_pending().then_some(())).count();
        if waiting == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    all.iter_mut().filter_map(|one| one.as_mut().take_output()).collect()
}

fn plain(values: &[Value]) -> impl ExactSizeIterator<Item = &(dyn ToSql + Sync)> {
    values.iter().map(|(value, _)| &**value as &(dyn ToSql + Sync))
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
            assert_eq!(trust(far), Some(tls::Check::Full), "{far}");
        }
        assert_eq!(trust("postgres://u@db.example.com/b?sslmode=disable"), None);
        assert_eq!(trust("postgres://u@db.example.com/b?sslmode=require"), Some(tls::Check::Nothing));
        assert_eq!(trust("postgres://u@127.0.0.1/b?sslmode=verify-ca&connect_timeout=3"), Some(tls::Check::Authority));
    }

    #[test]
    fn no_part_of_a_url_gets_into_an_error_or_a_place() {
        let canary = "s3cr3t-canary";
        for url in [
            format!("postgres://u:{canary}@/x y"),
            format!("postgres://u:{canary}@host:port/b"),
            format!("postgres://u:{canary}/rest@host/b?nonsense={canary}"),
            format!("postgres://u:{canary}@host/b?sslmode={canary}"),
            format!("postgres://u:{canary}@host/b?sslrootcert=/nowhere/{canary}&sslmode=verify-ca"),
            format!("host=h password={canary} port=x"),
            format!("postgres://:{canary}@h/b"),
        ] {
            let Err(error) = Address::parse(&url) else { continue };
            let told = format!("{error} {error:?} {:?}", error.hint_text());
            assert!(!told.contains(canary), "{told}");
        }
        let address = Address::parse(&format!("postgres://u:{canary}@a:1,b:2/database?sslmode=require")).unwrap();
        assert_eq!(address.place(), "postgres://a:1,b:2/database");
    }
}
