//! Who waits for whom, in which order and for how long, and what is read only once the waiting is over.

use std::sync::Arc;
use std::time::Duration;

use smsotp::clock::{Clock, Timestamp};
use smsotp::engine::{Dispatch, Engine, Verdict};
use smsotp::error::{Code, Error};
use smsotp::store::postgres::{Postgres, PostgresOptions};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

use super::wire::{Fate, Wire};
use crate::pg;
use crate::stores::Database;
use crate::world::{OTHER, PHONE, World, ask, block_on, caller, client, dispatch, guess, send, verdict};

/// A session of somebody else's: an operator with psql, a report, a stranger.
async fn somebody(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// Waits until an operation waits for a lock; false where it ends without.
async fn waits_for_a_lock<T>(operation: &JoinHandle<T>, watcher: &Client) -> bool {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while !operation.is_finished() {
        if number(watcher, sql).await > 0 {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    false
}

/// A re-send, which is refused and locks what every send locks.
fn another_send(engine: &Engine) -> JoinHandle<()> {
    let engine = engine.clone();
    tokio::spawn(async move { drop(engine.send(&caller(), ask(PHONE)).await.unwrap()) })
}

/// Everything that an error and its causes say.
fn told(error: &Error) -> String {
    let (mut told, mut source) = (error.to_string(), std::error::Error::source(error));
    while let Some(cause) = source {
        told.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    told
}

/// The rows that a send waits for, each with the rows that it held while it waited.
async fn what_a_send_waits_for(engine: &Engine, url: &str) -> Vec<(Vec<u8>, Vec<Vec<u8>>)> {
    let (holder, watcher) = (somebody(url).await, somebody(url).await);
    let order = "SELECT tag FROM smsotp.subjects ORDER BY kind IN ('country', 'everything'), tag";
    let all = watcher.query(order, &[]).await.unwrap();
    let all: Vec<Vec<u8>> = all.iter().map(|row| row.get(0)).collect();
    let mut found = Vec::new();
    for row in &all {
        holder.batch_execute("BEGIN").await.unwrap();
        holder.query("SELECT 1 FROM smsotp.subjects WHERE tag = $1 FOR UPDATE", &[row]).await.unwrap();
        let operation = another_send(engine);
        if waits_for_a_lock(&operation, &watcher).await {
            let free = watcher.query("SELECT tag FROM smsotp.subjects FOR UPDATE SKIP LOCKED", &[]).await.unwrap();
            let free: Vec<Vec<u8>> = free.iter().map(|row| row.get(0)).collect();
            let held = all.iter().filter(|tag| *tag != row && !free.contains(tag)).cloned().collect();
            found.push((row.clone(), held));
        }
        holder.batch_execute("ROLLBACK").await.unwrap();
        operation.await.unwrap();
    }
    found
}

#[test]
fn a_operation_takes_its_locks_in_one_order() {
    let Some(database) = Database::postgres() else { return };
    let url = database.url.clone().unwrap();
    block_on(async {
        let engine = database.engine().await;
        send(&engine, PHONE).await;
        // Several times: an order that is right by chance is not always.
        for _ in 0..4 {
            let waits = what_a_send_waits_for(&engine, &url).await;
            assert!(waits.len() >= 3, "a send has several subjects: {waits:?}");
            let mut before: Vec<&Vec<u8>> = Vec::new();
            for (row, held) in &waits {
                assert_eq!(
                    held.iter().collect::<Vec<_>>(),
                    before,
                    "not every lower row was held, or a higher one was"
                );
                before.push(row);
            }
        }
    });
}

#[test]
fn the_chain_of_the_audit_log_is_locked_after_the_phone_and_before_what_every_send_writes() {
    let Some(database) = Database::postgres() else { return };
    let url = database.url.clone().unwrap();
    block_on(async {
        let engine = database.engine().await;
        send(&engine, PHONE).await;
        let (holder, watcher) = (somebody(&url).await, somebody(&url).await);
        let free = async |table: &str| {
            let sql =
                format!("WITH free AS (SELECT 1 FROM smsotp.{table} FOR UPDATE SKIP LOCKED) SELECT count(*) FROM free");
            number(&watcher, &sql).await
        };
        let (subjects, chains) = (free("subjects").await, free("audit_heads").await);
        holder.batch_execute("BEGIN; SELECT 1 FROM smsotp.subjects ORDER BY tag DESC FOR UPDATE").await.unwrap();
        let operation = another_send(&engine);
        assert!(waits_for_a_lock(&operation, &watcher).await);
        assert_eq!(free("audit_heads").await, chains, "an operation that waits for a phone holds up other phones");
        holder.batch_execute("ROLLBACK").await.unwrap();
        operation.await.unwrap();

        holder.batch_execute("BEGIN; SELECT 1 FROM smsotp.audit_heads FOR UPDATE").await.unwrap();
        let operation = another_send(&engine);
        assert!(waits_for_a_lock(&operation, &watcher).await);
        assert!(free("subjects").await < subjects, "the chain was locked before the subjects");
        assert_eq!(free("subjects WHERE kind IN ('country', 'everything')").await, 2, "these are locked last");
        holder.batch_execute("ROLLBACK").await.unwrap();
        operation.await.unwrap();
    });
}

#[test]
fn a_deadlock_with_somebody_elses_order_is_tried_again() {
    let Some(database) = Database::postgres() else { return };
    let url = database.url.clone().unwrap();
    block_on(async {
        let engine = database.engine().await;
        send(&engine, PHONE).await;
        let waits = what_a_send_waits_for(&engine, &url).await;
        let (lowest, highest) = (&waits.first().unwrap().0, &waits.last().unwrap().0);
        let (holder, watcher) = (somebody(&url).await, somebody(&url).await);
        let lock = "SELECT 1 FROM smsotp.subjects WHERE tag = $1 FOR UPDATE";
        // The operation finds the deadlock first and gives way.
        holder.batch_execute("SET deadlock_timeout = '1h'; SET lock_timeout = '4s'").await.unwrap();
        let mut broken = false;
        for _ in 0..5 {
            holder.batch_execute("BEGIN").await.unwrap();
            holder.query(lock, &[highest]).await.unwrap();
            let operation = another_send(&engine);
            assert!(waits_for_a_lock(&operation, &watcher).await);
            // Too late on a slow machine: then nobody looks any more, and there is another round.
            let got = holder.query(lock, &[lowest]).await;
            holder.batch_execute("ROLLBACK").await.unwrap();
            operation.await.unwrap();
            broken = got.is_ok();
            if broken {
                break;
            }
        }
        assert!(broken, "the deadlock never was broken");
    });
}

#[test]
fn what_the_last_holder_wrote_is_what_a_operation_decides_on() {
    let Some(database) = Database::postgres() else { return };
    let url = database.url.clone().unwrap();
    block_on(async {
        let engine = database.engine().await;
        send(&engine, PHONE).await;
        let code = database.world.code_on(PHONE);
        // So that there is something to remember of the user with the phone.
        verdict(&engine, PHONE, &World::wrong(&code)).await;
        let (holder, watcher) = (somebody(&url).await, somebody(&url).await);
        let attempt = async |change: &str| {
            holder.batch_execute("BEGIN; SELECT 1 FROM smsotp.subjects FOR UPDATE").await.unwrap();
            let operation = {
                let (engine, guess) = (engine.clone(), guess(PHONE, &code));
                tokio::spawn(async move { engine.verify(&client("192.0.2.1"), guess).await.unwrap().verdict })
            };
            assert!(waits_for_a_lock(&operation, &watcher).await);
            holder.batch_execute(&format!("{change}; COMMIT")).await.unwrap();
            operation.await.unwrap()
        };
        let closed = attempt(r#"UPDATE smsotp.subjects SET usage = '{"in_a_row": 1000}' WHERE kind = 'pair'"#).await;
        assert!(matches!(closed, Verdict::TooManyGuesses(_)), "it read {closed:?} before it had the locks");
        // A purge takes what decides nothing any more; the operation makes it anew, if there is anything to remember.
        assert_eq!(attempt("DELETE FROM smsotp.subjects WHERE kind <> 'everything'").await, Verdict::Verified);
        assert!(number(&watcher, "SELECT count(*) FROM smsotp.subjects WHERE kind = 'phone'").await <= 1);
    });
}

#[test]
fn two_who_ask_for_the_first_time_at_once_are_both_counted() {
    let Some(mut database) = Database::postgres() else { return };
    block_on(async {
        let (wire, url) = Wire::to(&mut database, Fate::Held).await;
        let first = database.engine().await;
        database.url = Some(url.clone());
        let second = database.engine().await;
        let some = smsotp::code::Code::parse("000000").unwrap();
        let verify = |engine: &Engine| {
            let (engine, guess) = (engine.clone(), guess(PHONE, &some));
            tokio::spawn(async move { engine.verify(&client("192.0.2.1"), guess).await.unwrap().verdict })
        };
        wire.arm();
        let held = verify(&first);
        wire.held().await;
        let waits = verify(&second);
        let watcher = somebody(&url).await;
        assert!(waits_for_a_lock(&waits, &watcher).await);
        wire.let_go();
        assert_eq!((held.await.unwrap(), waits.await.unwrap()), (Verdict::NotFound, Verdict::NotFound));
        let counted =
            "SELECT jsonb_array_length(usage::jsonb -> 'guesses')::bigint FROM smsotp.subjects WHERE kind = 'ip'";
        assert_eq!(number(&watcher, counted).await, 2);
    });
}

#[test]
fn time_is_read_when_every_lock_is_had() {
    let Some(database) = Database::postgres() else { return };
    let url = database.url.clone().unwrap();
    block_on(async {
        let engine = database.engine().await;
        send(&engine, PHONE).await;
        let (holder, watcher) = (somebody(&url).await, somebody(&url).await);
        holder.batch_execute("BEGIN; SELECT 1 FROM smsotp.subjects FOR UPDATE").await.unwrap();
        let operation = another_send(&engine);
        assert!(waits_for_a_lock(&operation, &watcher).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = number(&watcher, "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint").await;
        holder.batch_execute("ROLLBACK").await.unwrap();
        operation.await.unwrap();
        let at = number(&watcher, "SELECT max(at) FROM smsotp.audit_log").await;
        assert!(at >= now, "decided by the time of {} ms before it had its locks", now - at);
    });
}

/// A machine whose clock is ten years ahead.
struct Ahead;

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        smsotp::clock::SystemClock.now() + Duration::from_secs(10 * 365 * 86_400)
    }
}

#[test]
fn the_clock_of_a_machine_decides_nothing() {
    let Some(database) = Database::postgres() else { return };
    let url = database.url.clone().unwrap();
    block_on(async {
        let engine = database.engine().await;
        send(&engine, PHONE).await;
        let code = database.world.code_on(PHONE);
        let ring = database.world.keyring();
        let store = Postgres::open(&url, &ring, Arc::new(Ahead), PostgresOptions::default()).await.unwrap();
        let ahead = Engine::new(Arc::new(store), ring, Arc::new(database.world.policy.clone()));
        assert_eq!(verdict(&ahead, PHONE, &World::wrong(&code)).await, Verdict::WrongCode { tries_left: 4 });
        // For whoever only looks, too.
        let server =
            number(&somebody(&url).await, "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint").await;
        let apart = ahead.reads().now().await.unwrap().millis() - server;
        assert!(apart.abs() < 60_000, "{apart}");
        assert_eq!(verdict(&ahead, PHONE, &code).await, Verdict::Verified);
    });
}

/// Two machines: one whose connections are its own, where what holds in every transaction is set once, and one behind a pooler that
/// hands connections round, where each transaction sets it anew.
struct Two {
    engines: [Engine; 2],
    codes: [smsotp::code::Code; 2],
    url: String,
}

const PHONES: [&str; 2] = [PHONE, OTHER];

impl Two {
    /// Each has a code of its own, and a connection that has seen enough to keep what it prepared, where it may.
    async fn of(database: &mut Database) -> Two {
        let url = database.url.clone().unwrap();
        let own = database.engine().await;
        database.url = Some(format!("{url}?pooler=transaction"));
        let engines = [own, database.engine().await];
        for (engine, phone) in engines.iter().zip(PHONES) {
            send(engine, phone).await;
            for _ in 0..4 {
                assert_eq!(
                    verdict(engine, "+14155550177", &World::wrong(&database.world.code_on(phone))).await,
                    Verdict::NotFound
                );
            }
        }
        Two { engines, codes: PHONES.map(|phone| database.world.code_on(phone)), url }
    }

    /// One after the other tries, and is told that the server gave up, for this reason. At once they might wait for each
    /// other: now and then two phones have the same chain of the audit log.
    async fn both_are_told(&self, reason: &str) {
        for ((engine, phone), code) in self.engines.iter().zip(PHONES).zip(&self.codes) {
            let error = engine.verify(&caller(), guess(phone, code)).await.unwrap_err();
            assert_eq!(error.code(), Code::STORE_BUSY, "{error:?}");
            // It was the server that gave up, and not we who left it waiting.
            assert!(told(&error).contains(reason), "{}", told(&error));
            assert!(error.retry_after_hint().is_some());
        }
    }

    /// Nothing happened to either code.
    async fn both_verify(&self) {
        for ((engine, phone), code) in self.engines.iter().zip(PHONES).zip(&self.codes) {
            assert_eq!(verdict(engine, phone, code).await, Verdict::Verified);
        }
    }
}

#[test]
fn whoever_holds_a_lock_for_too_long_is_told_of_and_nothing_happens() {
    let Some(mut database) = Database::postgres() else { return };
    block_on(async {
        let two = Two::of(&mut database).await;
        let holder = somebody(&two.url).await;
        holder.batch_execute("BEGIN; SELECT 1 FROM smsotp.subjects FOR UPDATE").await.unwrap();
        two.both_are_told("55P03").await;
        holder.batch_execute("ROLLBACK").await.unwrap();
        two.both_verify().await;
    });
}

#[test]
fn a_statement_that_takes_too_long_is_ended_and_nothing_happens() {
    let Some(mut database) = Database::postgres() else { return };
    block_on(async {
        let two = Two::of(&mut database).await;
        pg::run_on(
            &two.url,
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END'; \
             CREATE TRIGGER slow BEFORE INSERT ON smsotp.audit FOR EACH ROW EXECUTE FUNCTION slow()",
        );
        two.both_are_told("57014").await;
        pg::run_on(&two.url, "DROP TRIGGER slow ON smsotp.audit");
        two.both_verify().await;
    });
}

#[test]
fn a_machine_that_stands_still_loses_its_locks_and_its_operation() {
    let Some(mut database) = Database::postgres() else { return };
    block_on(async {
        let (wire, url) = Wire::to(&mut database, Fate::Held).await;
        let stuck = database.engine().await;
        send(&stuck, PHONE).await;
        let code = database.world.code_on(PHONE);
        wire.arm();
        let operation = {
            let (engine, guess) = (stuck.clone(), guess(PHONE, &code));
            tokio::spawn(async move { engine.verify(&client("192.0.2.1"), guess).await.unwrap().verdict })
        };
        wire.held().await;

        database.url = Some(url);
        let other = database.engine().await;
        let mut told = Vec::new();
        let verdict = loop {
            match other.verify(&caller(), guess(PHONE, &code)).await {
                Ok(answer) => break answer.verdict,
                Err(error) => told.push(error.code()),
            }
            assert!(told.len() < 4, "the locks of a machine that stands still are never given back: {told:?}");
        };
        assert_eq!(verdict, Verdict::Verified);
        assert!(told.iter().all(|code| *code == Code::STORE_BUSY), "{told:?}");
        wire.let_go();
        assert_eq!(operation.await.unwrap(), Verdict::AlreadyUsed, "its commit came too late");
    });
}

#[test]
fn a_message_that_somebody_elses_lock_holds_up_does_not_hide_the_others() {
    let Some(mut database) = Database::postgres() else { return };
    database.unlimited();
    let url = database.url.clone().unwrap();
    block_on(async {
        let engine = database.engine().await.polling(Duration::from_secs(10));
        for (to, status) in [(PHONE, "delivered"), (OTHER, "delivered")] {
            let sent = send(&engine, to).await;
            database.sandbox.set_status(&sent.provider_id.clone().unwrap(), status, None);
        }
        database.advance(20);
        // Somebody left a transaction open that holds the row of the first phone.
        let holder = somebody(&url).await;
        holder.batch_execute("BEGIN").await.unwrap();
        let locked = "SELECT 1 FROM smsotp.subjects WHERE kind = 'phone' ORDER BY id LIMIT 1 FOR UPDATE";
        assert_eq!(holder.query(locked, &[]).await.unwrap().len(), 1);
        // Longer than the other message takes on a busy machine, and shorter than a lock's own limit.
        let options = PostgresOptions { wait_limit: Duration::from_secs(4), ..PostgresOptions::default() };
        let store = Postgres::open(&url, &database.keyring(), database.shared_clock(), options).await.unwrap();
        let impatient = Engine::new(Arc::new(store), database.keyring(), Arc::new(database.policy.clone()))
            .with_provider(Arc::new(database.twilio()));
        let mut errors = Vec::new();
        let due = Dispatch { limit: 10, early: false };
        let done = impatient.dispatch(&caller(), due, |_, error| errors.push(error.code())).await.unwrap();

        assert_eq!((done.found, errors), (1, vec![Code::STORE_BUSY]));
        holder.batch_execute("ROLLBACK").await.unwrap();
        database.advance(60);
        assert_eq!(dispatch(&engine).await.found, 1);
    });
}
