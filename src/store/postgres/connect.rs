//! Connections to the database, and what is said on them: prepared statements where a connection is our own, many statements sent
//! one behind the other, and settings that hold in every transaction.

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

/// How long one host may take to answer.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long what was written may stay unacknowledged before the connection counts as lost: a host that lost its power
/// answers nothing at all.
pub const SILENCE: Duration = Duration::from_secs(10);

/// What holds in every transaction. A statement waits for a lock for 5 s, takes 8 s, and we are waited for 8 s: that ends well
/// before an operation gives up, and a process that hangs keeps its locks no longer. Every statement of an operation has its index;
/// a plan that was made while a table was small must not outlive that.
const SETTINGS: [(&str, &str); 5] = [
    ("lock_timeout", "5000"),
    ("statement_timeout", "8000"),
    ("idle_in_transaction_session_timeout", "8000"),
    ("enable_seqscan", "off"),
    ("jit", "off"),
];

/// A plan is kept with its prepared statement: every one of ours is good for any values, and where a value is an array the server
/// would otherwise plan anew each time, because it takes a list of unknown length for a long one.
const KEEP_PLANS: (&str, &str) = ("plan_cache_mode", "force_generic_plan");

/// READ WRITE is refused by a standby: nothing is ever decided on a copy.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

/// The same where no setting outlives a transaction.
static BEGIN_WITH_SETTINGS: LazyLock<String> = LazyLock::new(|| {
    let set = SETTINGS.map(|(name, value)| format!("; SET LOCAL {name} = {value}"));
    format!("{BEGIN}{}", set.concat())
});

/// From its so-many-th use on a connection prepares what it runs: a single command would pay for it in vain.
const WORTH_PREPARING: usize = 3;

/// The connections to the database.
pub struct Connections {
    pool: Pool,
    pooled: bool,
}

/// A connection in use. Dropped before [`Session::done`], it is closed: nobody gets a connection with somebody else's transaction
/// open.
pub struct Session {
    object: Option<Object>,
    pooled: bool,
    /// The statements of this transaction that the server has prepared.
    prepared: Vec<(String, tokio_postgres::Statement)>,
}

/// Connects to one host after the other, and waits for none longer than [`CONNECT_TIMEOUT`], also where it takes the connection and
/// then says nothing.
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
                    Ok(Err(error)) => last = Some(error),
                    Err(_) => {}
                }
            }
            match last {
                Some(error) => Err(error),
                // None says anything: the pool ends the waiting.
                None => self.connect.connect(&all).await,
            }
        })
    }
}

impl Connections {
    /// Connections that are kept and given out again, at most `most` at a time; `wait_limit` is for getting one.
    pub fn new(address: &Address, most: usize, wait_limit: Duration) -> Result<Connections> {
        let mut address = address.clone();
        if !address.pooled {
            // Once for each connection, with its first bytes.
            let own = SETTINGS.iter().chain([&KEEP_PLANS]).map(|(name, value)| format!(" -c {name}={value}"));
            let options = address.config.get_options().unwrap_or_default().to_owned() + &own.collect::<String>();
            address.config.options(options);
        }
        // A connection that died while nobody used it is noticed by the operation, which then takes another: that costs nothing
        // while all is well, and a look before every operation would cost it a round trip.
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
                    if kept { Ok(()) } else { Err(HookError::message("the settings of the connection were dropped")) }
                })
            }));
        }
        let pool = builder
            .build()
            .map_err(|error| Error::new(Code::BUG, "the pool of connections cannot be built").because(error))?;
        Ok(Connections { pool, pooled: address.pooled })
    }

    /// Takes a connection out of the pool, or makes one.
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

    /// How a transaction begins here.
    pub fn begin(&self) -> &'static str {
        if self.pooled { &BEGIN_WITH_SETTINGS } else { BEGIN }
    }

    /// Has the server prepare what is about to be run, where the connection is our own and it has not yet.
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

    /// Runs a statement. It is sent when this is first polled, so that several go out one behind the other.
    pub async fn query(&self, Statement { sql, params }: &Statement) -> Result<Vec<Row>, tokio_postgres::Error> {
        match self.prepared.iter().find(|(known, _)| known == sql) {
            Some((_, statement)) => self.client().query_raw(statement, plain(params)).await?.try_collect().await,
            None => self.client().query_typed(sql, &borrowed(params)).await,
        }
    }

    /// Runs statements in their order, all sent at once: one round trip. Each answers with its rows.
    pub async fn query_all(&self, statements: &[Statement]) -> Result<Vec<Vec<Row>>, tokio_postgres::Error> {
        in_order(statements.iter().map(|statement| self.query(statement))).await.into_iter().collect()
    }

    /// Ends the transaction; nothing of it is kept.
    pub async fn roll_back(self) -> Result<(), Failure> {
        self.client().batch_execute("ROLLBACK").await?;
        self.done();
        Ok(())
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
