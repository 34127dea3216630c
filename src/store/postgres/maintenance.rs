//! Transactions of maintenance: they hold chain 0 of the audit log, are repeated where that is safe, and are looked up where their
//! commit was lost, as operations are.

use std::time::Duration;

use async_trait::async_trait;

use super::connect::Session;
use super::errors::Failure;
use super::facts::{lock_chain, read_time_and_head, time_and_head};
use super::rows::Statement;
use super::{Attempts, OperationId, Postgres, Writes};
use crate::audit::{Event, Head};
use crate::clock::Timestamp;
use crate::error::{Code, Error, Result};

/// The chain of the audit log that maintenance writes.
const CHAIN: u32 = 0;

/// How long one transaction may take: its few statements end by themselves long before. It is for a server that says nothing any
/// more.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// A transaction of maintenance.
pub struct Maintenance {
    /// Its connection.
    pub session: Session,
    /// The present, read after the lock.
    pub now: Timestamp,
    head: Head,
}

/// What a transaction of maintenance did.
pub struct Done<A> {
    /// For the caller.
    pub answer: A,
    /// What is still to be written.
    pub statements: Vec<Statement>,
    /// For the audit log; without it nothing is kept.
    pub event: Option<Event>,
}

/// What a transaction of maintenance does. It may be run again, always in a transaction of its own.
#[async_trait]
pub trait Task: Sync {
    /// What it answers.
    type Answer: Send;
    /// Does it.
    async fn run(&self, transaction: &Maintenance) -> Result<Done<Self::Answer>, Failure>;
}

/// Runs a transaction of maintenance.
pub async fn maintain<T: Task>(store: &Postgres, task: &T) -> Result<T::Answer> {
    let mut attempts = Attempts::within(store.wait_limit);
    loop {
        let (mut unknown, mut answer) = (None, None);
        let attempt = Attempts::within(TIME_LIMIT).run(attempt(store, task, &mut unknown, &mut answer)).await;
        let failure = match (attempt, unknown) {
            (Ok(()), _) => None,
            (Err(failure), Some(operation)) => {
                store.settle(operation, failure.error()).await?;
                None
            }
            (Err(failure), None) => Some(failure),
        };
        match (failure, answer) {
            (None, Some(answer)) => return Ok(answer),
            (None, None) => return Err(Error::new(Code::BUG, "maintenance ended without an answer")),
            (Some(failure), _) => attempts.pause_after(failure).await?,
        }
    }
}

/// One attempt; `unknown` is set while nobody knows whether it was committed, and then `answer` is there.
async fn attempt<T: Task>(
    store: &Postgres,
    task: &T,
    unknown: &mut Option<OperationId>,
    answer: &mut Option<T::Answer>,
) -> Result<(), Failure> {
    let transaction = begin(store).await?;
    let done = task.run(&transaction).await?;
    *answer = Some(done.answer);
    let Some(event) = &done.event else { return transaction.session.roll_back().await };
    let writes = Writes::audited(store, done.statements, transaction.head, event)?;
    store.commit(transaction.session, &writes, unknown).await
}

async fn begin(store: &Postgres) -> Result<Maintenance, Failure> {
    let session = store.connections.take().await?;
    let statements = [lock_chain(CHAIN), time_and_head(CHAIN)];
    let (begun, found) = tokio::join!(
        biased;
        session.client().batch_execute(session.begin()),
        session.query_all(&statements),
    );
    begun?;
    let (now, head) = read_time_and_head(store, CHAIN, &found?[1])?;
    Ok(Maintenance { session, now, head })
}
