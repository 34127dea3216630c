//! What holds even where somebody changes rows without asking for their locks: an operator with psql, a purge, a move.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use smsotp::audit::Actor;
use smsotp::clock::SystemClock;
use smsotp::engine::{Purge, Verdict};
use smsotp::store::export::Transfer;
use smsotp::store::postgres::Postgres;
use tokio_postgres::NoTls;

use super::wire::{Fate, Wire};
use crate::pg::{self, Cluster};
use crate::stores::Database;
use crate::world::{OTHER, PHONE, World, block_on, caller, guess, send, unlimited, verdict};

#[test]
fn nobody_changes_what_an_operation_has_read_before_it_ends() {
    let Some(mut database) = Database::postgres() else { return };
    block_on(async {
        let (wire, url) = Wire::to(&mut database, Fate::Held).await;
        let engine = database.engine().await;
        let sent = send(&engine, PHONE).await;
        let code = database.world.code_on(PHONE);
        wire.arm();
        let operation = {
            let (engine, guess) = (engine.clone(), guess(PHONE, &code));
            tokio::spawn(async move { engine.verify(&caller(), guess).await.unwrap().verdict })
        };
        wire.held().await;
        // Somebody who knows nothing of the locks of phones.
        let (operator, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let revoke = format!(
            "UPDATE smsotp.otps SET state = 'revoked', ended_at = created_at WHERE id = {} AND state = 'active'",
            sent.otp_id
        );
        let revoking = tokio::spawn(async move { operator.execute(&revoke, &[]).await.unwrap() });
        let waits =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while pg::try_on(&url, waits).unwrap() == ["0"] && !revoking.is_finished() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        wire.let_go();

        assert_eq!(operation.await.unwrap(), Verdict::Verified);
        assert_eq!(revoking.await.unwrap(), 0, "what the operation had read was changed under its hands");
    });
}

#[test]
fn a_move_waits_for_the_operations_under_way() {
    let Some(mut database) = Database::postgres() else { return };
    let Some(target) = Database::postgres_for(&database.world.keyring()) else { return };
    block_on(async {
        let (wire, url) = Wire::to(&mut database, Fate::Held).await;
        let engine = database.engine().await;
        send(&engine, PHONE).await;
        let code = database.world.code_on(PHONE);
        wire.arm();
        let operation = {
            let (engine, guess) = (engine.clone(), guess(PHONE, &code));
            tokio::spawn(async move { engine.verify(&caller(), guess).await.map(|answer| answer.verdict) })
        };
        wire.held().await;

        database.url = Some(url.clone());
        let leaving = database.store().await;
        let mut lines = Vec::new();
        let moving = async {
            leaving.maintenance.export(&mut lines, Transfer::Move, &Actor::System).await.unwrap();
        };
        let let_go = async {
            let waits =
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
            let until = std::time::Instant::now() + Duration::from_secs(3);
            // Until it waits; where it does not wait, it has left by then, and is caught below.
            while pg::try_on(&url, waits).unwrap() == ["0"] && std::time::Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            wire.let_go();
        };
        tokio::join!(moving, let_go);
        let told = operation.await.unwrap();

        let target = Database { world: database.world, ..target };
        let ring = target.world.keyring();
        target.store().await.maintenance.import(&mut Cursor::new(&lines), &ring).await.unwrap();
        let there = verdict(&target.engine().await, PHONE, &code).await;
        assert_eq!(
            (told.unwrap(), there),
            (Verdict::Verified, Verdict::AlreadyUsed),
            "a code is right once, here or there"
        );
    });
}

#[test]
fn purge_passes_over_what_somebody_holds_and_takes_it_the_next_time() {
    let Some(mut database) = Database::postgres() else { return };
    database.world.policy.limits = unlimited();
    let url = database.url.clone().unwrap();
    block_on(async {
        let engine = database.engine().await;
        let held = send(&engine, PHONE).await;
        send(&engine, OTHER).await;
        database.advance(2 * 86_400);
        let (holder, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let lock = format!("BEGIN; SELECT 1 FROM smsotp.otps WHERE id = {} FOR UPDATE", held.otp_id);
        holder.batch_execute(&lock).await.unwrap();
        let otps = async || engine.purge(&caller(), &purge(), |_| true).await.unwrap().purged.otps;
        assert_eq!(otps().await, 1);
        holder.batch_execute("ROLLBACK").await.unwrap();
        assert_eq!(otps().await, 1);
    });
}

fn purge() -> Purge {
    Purge { older_than: None, dry_run: false, exclusive: false, scrub: false, batch: None }
}

/// Bytes of the tables and their indexes that grow with use, without the audit log, which is kept.
fn size(url: &str) -> u64 {
    let sql = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relnamespace = 'smsotp'::regnamespace \
        AND relname IN ('otps', 'messages', 'subjects', 'replies')";
    pg::try_on(url, sql).unwrap()[0].parse().unwrap()
}

/// What a vacuum gives back is used again once no transaction of the whole server is older: it gets a server of its own.
#[test]
fn database_that_are_purged_as_fast_as_they_grow_stop_growing() {
    if pg::shared().is_none() {
        return;
    }
    let cluster = Cluster::start(&["-c", "fsync=off", "-c", "autovacuum=off"]).unwrap();
    let mut world = World::new();
    world.policy.limits = unlimited();
    let url = cluster.url("postgres");
    block_on(Postgres::migrate(&url, &world.keyring(), Arc::new(SystemClock))).unwrap();
    let database = Database::at(world, url.clone());
    let mut sizes = Vec::new();
    block_on(async {
        let engine = database.engine().await;
        for _ in 0..8 {
            // One after the other: PostgreSQL gives a table many pages at once where several sessions wait for one.
            for nth in 0..150 {
                send(&engine, &format!("+1415555{nth:04}")).await;
            }
            database.advance(2 * 86_400);
            let purged = engine.purge(&caller(), &purge(), |_| true).await.unwrap().purged;
            assert_eq!((purged.otps, purged.messages), (150, 150));
            // What autovacuum does in its own time.
            pg::run_on(&url, "VACUUM");
            sizes.push(size(&url));
        }
    });
    // Room that was given back is used again: after two rounds no other needs more.
    let most = sizes[..3].iter().max().unwrap();
    assert!(sizes[3..].iter().all(|size| size <= &(most + most / 10)), "{sizes:?}");
}
