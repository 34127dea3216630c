//! Connections to the database: their settings, their prepared statements, and statements that are sent together.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::Poll;
use std::time::Duration;

use deadpool_postgres::{
    ConfigConnectImpl, Connect, Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod,
    Runtime,
};
use futures_util::TryStreamExt;
use futures_util::future::maybe_done;
use tokio::task::JoinHandle;
use tokio_postgres::tls::NoTls;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Row, SimpleQueryMessage};

use super::errors::{self, Failure};
use super::rows::{Param, Statement, borrowed};
use super::url::Address;
use crate::error::{Code, Error, Result};

/// How long one host may take to accept a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long data may stay unacknowledged before the connection counts as lost: a host without power does not answer at all.
pub const SILENCE: Duration = Duration::from_secs(10);

/// The settings of every transaction. A statement waits for a lock for at most 5 s and runs for at most 8 s, and the server waits for us
/// for at most 8 s: all of that ends before an operation gives up, and a process that hangs does not keep its locks longer. Every
/// statement has its index: sequential scans are off so that no plan from when a table was small stays in use.
const SETTINGS: [(&str, &str); 5] = [
    ("lock_timeout", "5000"),
    ("statement_timeout", "8000"),
    ("idle_in_transaction_session_timeout", "8000"),
    ("enable_seqscan", "off"),
    ("jit", "off"),
];

/// Prepared statements keep their plans, which suit all values. Otherwise the server plans again whenever a value is an array, because
/// it expects an array of unknown length to be long.
const KEEP_PLANS: (&str, &str) = ("plan_cache_mode", "force_generic_plan");

/// A standby refuses READ WRITE: nothing is decided on a standby.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

/// The same with the settings, for connections that do not keep any.
static BEGIN_WITH_SETTINGS: LazyLock<String> = LazyLock::new(|| {
    let set = SETTINGS.map(|(name, value)| format!("; SET LOCAL {name} = {value}"));
    format!("{BEGIN}{}", set.concat())
});

/// After this many uses, a connection prepares its statements. For a single command that would not pay.
const WORTH_PREPARING: usize = 3;

/// The connections to the database.
pub struct Connections {
    pool: Pool,
    pooled: bool,
}

/// A connection in use. If it is dropped before [`Session::done`], it is closed, so that nobody gets a connection with an open
/// transaction.
pub struct Session {
    object: Option<Object>,
    pooled: bool,
    /// The statements that are prepared on the server.
    prepared: Vec<(String, tokio_postgres::Statement)>,
}

/// Connects to the first host that answers. A host that accepts the connection and then says nothing is given up after its timeout as
/// well, which the client's own loop over hosts does not do.
struct EachHost {
    hosts: Vec<Config>,
    connect: Box<dyn Connect>,
}

impl Connect for EachHost {
    fn connect(
        &self,
        all: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), tokio_postgres::Error>> + Send + '_>> {
        let all = all.clone();
        Box::pin(async move {
            let mut last = None;
            for host in &self.hosts {
                let limit = host.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
                match tokio::time::timeout(limit, self.connect.connect(host)).await {
                    Ok(Ok(connected)) => return Ok(connected),
                    // A name that does not exist says least where another host may come back.
                    Ok(Err(error)) => {
                        let weighs = last.is_none() || errors::permanent(&error).is_none();
                        last = if weighs { Some(error) } else { last };
                    }
                    Err(_) => {}
                }
            }
            match last {
                Some(error) => Err(error),
                // None of them said anything: the pool ends the wait.
                None => self.connect.connect(&all).await,
            }
        })
    }
}

impl Connections {
    /// A pool of at most `most` connections; `wait_limit` is for getting one.
    pub fn new(address: &Address, most: usize, wait_limit: Duration) -> Result<Connections> {
        let mut address = address.clone();
        if !address.pooled {
            // Sent when the connection starts, at no further cost.
            let own = SETTINGS.iter().chain([&KEEP_PLANS]).map(|(name, value)| format!(" -c {name}={value}"));
            let options = address.config.get_options().unwrap_or_default().to_owned() + &own.collect::<String>();
            address.config.options(options);
        }
        // A dead connection is noticed by the operation, which takes another; a check before every operation would cost a round trip.
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let connect: Box<dyn Connect> = match &address.trust {
            Some(trust) => Box::new(ConfigConnectImpl { tls: trust.connector()? }),
            None => Box::new(ConfigConnectImpl { tls: NoTls }),
        };
        let connect = EachHost { hosts: address.each_host(), connect };
        let mut builder = Pool::builder(Manager::from_connect(address.config.clone(), connect, recycling))
            .max_size(most.max(1))
            .wait_timeout(Some(wait_limit))
            .create_timeout(Some(wait_limit))
            .runtime(Runtime::Tokio1);
        if !address.pooled {
            builder = builder.post_create(Hook::async_fn(|client, _| {
                Box::pin(async move {
                    let shown =
                        client.simple_query(&format!("SHOW {}", KEEP_PLANS.0)).await.map_err(HookError::Backend)?;
                    let kept = shown.iter().any(
                        |message| matches!(message, SimpleQueryMessage::Row(row) if row.get(0) == Some(KEEP_PLANS.1)),
                    );
                    if kept { Ok(()) } else { Err(HookError::message("the settings of the connection were ignored")) }
                })
            }));
        }
        let pool = builder
            .build()
            .map_err(|error| Error::new(Code::BUG, "the pool of connections cannot be built").because(error))?;
        Ok(Connections { pool, pooled: address.pooled })
    }

    /// Takes a connection out of the pool, or opens one.
    pub async fn take(&self) -> Result<Session, Failure> {
        let object = self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                errors::connecting(error)
            }
            PoolError::PostCreateHook(HookError::Message(why)) => Failure::Final(errors::pooler().because(why)),
            PoolError::Timeout(_) => Failure::Final(
                Error::new(Code::STORE_BUSY, "no connection to the database became free")
                    .retry_after(Duration::from_secs(1))
                    .hint("Try again; if it lasts, the database or the network in between is overloaded."),
            ),
            error => Failure::Final(
                Error::new(Code::STORE_FAILED, "no connection to the database could be had").because(error.to_string()),
            ),
        })?;
        Ok(Session { object: Some(object), pooled: self.pooled, prepared: Vec::new() })
    }
}

impl Session {
    /// The connection.
    pub fn client(&self) -> &Client {
        self.object()
    }

    fn object(&self) -> &Object {
        match &self.object {
            Some(object) => object,
            None => unreachable!("a session holds its connection until it is done"),
        }
    }

    /// The statement that begins a transaction.
    pub fn begin(&self) -> &'static str {
        if self.pooled { &BEGIN_WITH_SETTINGS } else { BEGIN }
    }

    /// Prepares statements on the server if they are not yet, unless the connection is pooled or rather new.
    pub async fn prepare(&mut self, statements: &[Statement]) -> Result<(), tokio_postgres::Error> {
        let object = self.object();
        if self.pooled || Object::metrics(object).recycle_count < WORTH_PREPARING {
            return Ok(());
        }
        let mut distinct: Vec<&Statement> = Vec::with_capacity(statements.len());
        for statement in statements {
            if distinct.iter().all(|other| other.sql != statement.sql) {
                distinct.push(statement);
            }
        }
        let prepare = |Statement { sql, params }: &Statement| {
            let (sql, types) =
                (sql.to_string(), params.iter().map(|(_, declared)| declared.clone()).collect::<Vec<Type>>());
            async move {
                let statement = object.prepare_typed_cached(&sql, &types).await?;
                Ok((sql, statement))
            }
        };
        let prepared = in_order(distinct.into_iter().map(prepare)).await;
        self.prepared = prepared.into_iter().collect::<Result<_, tokio_postgres::Error>>()?;
        Ok(())
    }

    /// Runs a statement. It is sent when the future is first polled, so that several can be sent together.
    pub async fn query(&self, Statement { sql, params }: &Statement) -> Result<Vec<Row>, tokio_postgres::Error> {
        match self.prepared.iter().find(|(known, _)| known == sql) {
            Some((_, statement)) => self.client().query_raw(statement, plain(params)).await?.try_collect().await,
            None => self.client().query_typed(sql, &borrowed(params)).await,
        }
    }

    /// Runs statements in order, sent together in one round trip. Returns the rows of each.
    pub async fn query_all(&self, statements: &[Statement]) -> Result<Vec<Vec<Row>>, tokio_postgres::Error> {
        in_order(statements.iter().map(|statement| self.query(statement))).await.into_iter().collect()
    }

    /// Rolls the transaction back and returns the connection.
    pub async fn roll_back(self) -> Result<(), Failure> {
        self.client().batch_execute("ROLLBACK").await?;
        self.done();
        Ok(())
    }

    /// Returns the connection to the pool after the transaction has ended.
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

/// Polls futures in order until all are done, so that they send in order.
async fn in_order<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<_> = futures.map(|future| Box::pin(maybe_done(future))).collect();
    poll_fn(|context| {
        let waiting = all.iter_mut().filter_map(|one| one.as_mut().poll(context).is_pending().then_some(())).count();
        if waiting == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    all.iter_mut().filter_map(|one| one.as_mut().take_output()).collect()
}

fn plain(params: &[Param]) -> impl ExactSizeIterator<Item = &(dyn ToSql + Sync)> {
    params.iter().map(|(value, _)| &**value as &(dyn ToSql + Sync))
}
