//! Maintenance transactions. Like operations they are repeated if that is safe, and looked up if their commit was lost; they use audit
//! chain 0.

use async_trait::async_trait;

use super::connect::Session;
use super::errors::Failure;
use super::facts::{lock_chain, read_time_and_head, time_and_head};
use super::rows::Statement;
use super::{Attempts, OperationId, Postgres, STEP_LIMITS, Writes};
use crate::audit::{Event, SealedHead};
use crate::clock::Timestamp;
use crate::error::{Code, Error, Result};

/// The audit chain of maintenance.
pub const CHAIN: u32 = 0;

/// An open maintenance transaction.
pub struct MaintenanceTransaction {
    /// Its connection.
    pub session: Session,
    /// The time, read after the lock.
    pub now: Timestamp,
    /// The head of the chain that its audit row goes to.
    pub head: SealedHead,
}

/// What a task did.
pub struct MaintenanceResult<A> {
    /// The caller's answer.
    pub answer: A,
    /// Statements that are still to be run.
    pub statements: Vec<Statement>,
    /// The audit row; without one the transaction is rolled back.
    pub event: Option<Event>,
    /// The head that the audit row is chained to, where the task changed it.
    pub head: Option<SealedHead>,
}

/// The work of a maintenance transaction. It may be run again in another transaction.
#[async_trait]
pub trait MaintenanceTask: Sync {
    /// The caller's answer.
    type Answer: Send;
    /// Runs it.
    async fn run(&self, transaction: &MaintenanceTransaction) -> Result<MaintenanceResult<Self::Answer>, Failure>;
}

/// Runs a task in a maintenance transaction.
pub async fn maintain<T: MaintenanceTask>(store: &Postgres, task: &T) -> Result<T::Answer> {
    let mut attempts = Attempts::within(store.wait_limit);
    loop {
        let (mut unknown, mut answer) = (None, None);
        // Its statements have shorter limits of their own; this one is for a server that does not answer any more.
        let attempt =
            Attempts::within(store.wait_limit * STEP_LIMITS).run(attempt(store, task, &mut unknown, &mut answer)).await;
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

/// One attempt. `unknown` is set while it may have been committed, and `answer` is set by then.
async fn attempt<T: MaintenanceTask>(
    store: &Postgres,
    task: &T,
    unknown: &mut Option<OperationId>,
    answer: &mut Option<T::Answer>,
) -> Result<(), Failure> {
    let transaction = begin(store).await?;
    let done = task.run(&transaction).await?;
    *answer = Some(done.answer);
    let Some(event) = &done.event else { return transaction.session.roll_back().await };
    let head = done.head.as_ref().unwrap_or(&transaction.head);
    let writes = Writes::audited(store, done.statements, head, event)?;
    store.commit(transaction.session, &writes, unknown).await
}

async fn begin(store: &Postgres) -> Result<MaintenanceTransaction, Failure> {
    let session = store.connections.take().await?;
    let statements = [lock_chain(CHAIN), time_and_head(CHAIN)];
    let (begun, found) = tokio::join!(
        biased;
        session.client().batch_execute(session.begin()),
        session.query_all(&statements),
    );
    begun?;
    let (now, head) = read_time_and_head(store, CHAIN, &found?[1])?;
    Ok(MaintenanceTransaction { session, now, head })
}
