//! purge: takes what is finished, never what lives or is unsettled, and weakens no limit, no lockout and no audit log.

use std::time::Duration;

use smsotp::engine::{AddTestNumber, Engine, Purge, PurgeReport, SendOtp, Verdict};
use smsotp::limits::{Limit, Limits, Window};
use smsotp::phone::Phone;
use smsotp::sandbox::Fault;
use smsotp::store::{PurgeBatch, PurgeCursor};

use crate::processes::phone;
use crate::stores::{Database, on_every_store};
use crate::world::{
    OTHER, PHONE, World, ask, block_on, caller, dispatch, files, holds, purge, refusal, send, send_as, unlimited,
    verdict,
};

on_every_store![
    what_lives_or_is_unsettled_stays_and_all_else_goes,
    what_finished_less_than_a_day_ago_is_kept_unless_the_run_says_otherwise,
    a_dry_run_counts_exactly_what_the_real_one_takes_and_changes_nothing,
    limits_lockouts_and_the_audit_log_outlive_every_purge,
    ids_are_never_used_twice,
    an_interrupted_purge_goes_on_where_it_stopped,
    a_batch_never_looks_at_the_same_row_twice_and_an_open_one_does_not_stop_it,
];

const NOW: Duration = Duration::ZERO;

fn how(dry_run: bool) -> Purge {
    Purge { older_than: Some(NOW), dry_run, exclusive: false, scrub: false, batch: None }
}

/// Finished otps of every kind, and beside them what has to stay.
async fn mixed(world: &World, engine: &Engine) {
    for n in 0..4 {
        send(engine, &phone(n)).await;
    }
    verdict(engine, &phone(0), &world.code_on(&phone(0))).await;
    for _ in 0..5 {
        verdict(engine, &phone(1), &World::wrong(&world.code_on(&phone(1)))).await;
    }
    world.sandbox.fault(Fault::Code(30_001), 1);
    send(engine, &phone(4)).await;
    send_as(engine, &caller(), SendOtp { new_code: true, ..ask(&phone(2)) }).await;
    // Unsettled: its message may be out.
    world.sandbox.fault(Fault::Reset, 1);
    send(engine, &phone(5)).await;
    world.advance(700);
    // Alive.
    send(engine, PHONE).await;
}

async fn what_lives_or_is_unsettled_stays_and_all_else_goes(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    mixed(database, &engine).await;
    let report = purge(&engine, NOW).await;

    // phones 0 to 4, and the second code of phone 2.
    assert_eq!((report.purged.otps, report.purged.messages), (6, 6));
    assert_eq!(database.words("SELECT phone_number FROM otps ORDER BY id"), [phone(5), PHONE.to_owned()]);
    assert_eq!(database.number("SELECT count(*) FROM messages"), 2);
    assert_eq!(verdict(&engine, PHONE, &database.code_on(PHONE)).await, Verdict::Verified);

    // Once it is settled it goes too.
    for _ in 0..2 {
        database.advance(601);
        dispatch(&engine).await;
    }
    assert_eq!(purge(&engine, NOW).await.purged.otps, 2);
    assert_eq!(purge(&engine, NOW).await.purged.total(), 0, "a second time there is nothing to do");
}

async fn what_finished_less_than_a_day_ago_is_kept_unless_the_run_says_otherwise(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    database.advance(60);
    verdict(&engine, PHONE, &database.code_on(PHONE)).await;
    let default = Purge { older_than: None, ..how(false) };
    database.advance_almost(24 * 3600);
    assert_eq!(engine.purge(&caller(), &default, |_| true).await.unwrap().purged.otps, 0);
    database.until_then();
    assert_eq!(purge(&engine, Duration::from_secs(86_410)).await.purged.otps, 0);
    assert_eq!(engine.purge(&caller(), &default, |_| true).await.unwrap().purged.otps, 1);
}

async fn a_dry_run_counts_exactly_what_the_real_one_takes_and_changes_nothing(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    mixed(database, &engine).await;
    let keyed = SendOtp { idempotency_key: Some("k".to_owned()), ..ask(OTHER) };
    send_as(&engine, &caller(), keyed).await;
    let add = AddTestNumber {
        phone: Phone::from_e164("+1234567890").unwrap(),
        code: smsotp::code::Code::parse("123456").unwrap(),
        until: database.now() + Duration::from_secs(3600),
    };
    engine.add_test_number(&caller(), add).await.unwrap();
    for pause in [0, 700, 30 * 86_400] {
        database.advance(pause);
        let before = database.audit().len();
        let mut calls = 0;
        let dry = engine
            .purge(&caller(), &how(true), |_| {
                calls += 1;
                true
            })
            .await
            .unwrap();
        assert_eq!(database.audit().len(), before);
        assert!(calls > 0);
        let real = engine.purge(&caller(), &how(false), |_| true).await.unwrap();
        assert_eq!(dry.purged, real.purged, "after {pause} s");
    }
    assert_eq!(
        database.number("SELECT count(*) FROM replies") + database.number("SELECT count(*) FROM test_numbers"),
        0
    );
}

async fn limits_lockouts_and_the_audit_log_outlive_every_purge(database: &mut Database) {
    database.policy.limits = Limits {
        phone: vec![Window::new(2, 86_400)],
        guesses_per_phone: vec![Window::new(5, 86_400)],
        guesses_in_a_row: 5,
        ..unlimited()
    };
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    send(&engine, PHONE).await;
    send(&engine, OTHER).await;
    for _ in 0..5 {
        verdict(&engine, OTHER, &World::wrong(&database.code_on(OTHER))).await;
    }
    database.advance(86_400 - 1);
    let rows = database.audit().len();
    assert_eq!(purge(&engine, NOW).await.purged.otps, 2);

    assert_eq!(database.number("SELECT count(*) FROM otps"), 0);
    assert_eq!(refusal(&engine, PHONE).await.hits[0].limit, Limit::Phone);
    assert_eq!(refusal(&engine, OTHER).await.hits[0].limit, Limit::GuessesInARow);
    assert_eq!(database.audit().len(), rows + 1 + 2);
    // A lockout has no end but staff's: a year and a purge later it is still there.
    database.advance(365 * 86_400);
    purge(&engine, NOW).await;
    assert_eq!(refusal(&engine, OTHER).await.retry_after_seconds, None);
    // What remembers nothing any more is gone; whoever is locked out is still known.
    assert_eq!(database.number("SELECT count(*) FROM subjects WHERE kind = 'pair'"), 1);
}

async fn ids_are_never_used_twice(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    let mut last = (0, 0);
    for _ in 0..3 {
        let sent = send(&engine, PHONE).await;
        assert!(sent.otp_id > last.0 && sent.message_id > last.1);
        last = (sent.otp_id, sent.message_id);
        database.advance(700);
        purge(&engine, NOW).await;
        assert_eq!(database.number("SELECT count(*) FROM otps"), 0);
    }
}

async fn an_interrupted_purge_goes_on_where_it_stopped(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    for n in 0..100 {
        send(&engine, &phone(n)).await;
    }
    database.advance(700);
    let small = Purge { batch: Some(64), ..how(false) };
    let first = engine.purge(&caller(), &small, |_| false).await.unwrap();
    // A batch may end before its 64 where it takes too long.
    let left = 100 - i64::try_from(first.purged.otps).unwrap();
    assert!(first.batches == 1 && (36..100).contains(&left), "{first:?}");
    assert_eq!(database.number("SELECT count(*) FROM otps"), left);
    let mut reports: Vec<PurgeReport> = Vec::new();
    let rest = engine
        .purge(&caller(), &how(false), |report| {
            reports.push(*report);
            true
        })
        .await
        .unwrap();
    assert_eq!(i64::try_from(rest.purged.otps).unwrap(), left);
    assert_eq!(reports.last(), Some(&rest));
}

async fn a_batch_never_looks_at_the_same_row_twice_and_an_open_one_does_not_stop_it(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    // The oldest ones are unsettled, more of them than a batch holds.
    database.sandbox.fault(Fault::Reset, 5);
    for n in 0..10 {
        send(&engine, &phone(n)).await;
        database.advance(1);
    }
    database.advance(700);
    let store = &engine.store().maintenance;
    let mut batch = PurgeBatch {
        cutoff: database.now(),
        cursor: PurgeCursor::default(),
        limit: 2,
        exclusive: false,
        dry_run: false,
        actor: smsotp::audit::Actor::Cron,
    };
    let (mut otps, mut batches) = (0, 0);
    loop {
        let (purged, next) = store.purge(&batch).await.unwrap();
        otps += purged.otps;
        batches += 1;
        assert!(batches < 20);
        let Some(next) = next else { break };
        batch.cursor = next;
    }
    assert_eq!((otps, database.number("SELECT count(*) FROM otps")), (5, 5));
}

#[test]
fn a_scrub_leaves_no_byte_of_a_purged_phone_in_any_file() {
    let world = World::unlimited();
    block_on(async {
        let engine = world.engine();
        // Refused by the provider in words that hold the phone, and under a key whose answer outlives the otp.
        world.sandbox.fault(Fault::Code(21_211), 1);
        send(&engine, PHONE).await;
        let keyed = SendOtp { idempotency_key: Some("k".to_owned()), ..ask(PHONE) };
        send_as(&engine, &caller(), keyed).await;
        send(&engine, OTHER).await;
        // Enough of them that whole pages of the file become free.
        for n in 0..150 {
            send(&engine, &phone(n)).await;
        }
        world.advance(700);
        let found =
            |needle: &str| files(world.dir.path()).iter().filter(|(_, bytes)| holds(bytes, needle.as_bytes())).count();
        assert!(found(PHONE) > 0);
        send(&engine, OTHER).await;

        let scrub = Purge { scrub: true, ..how(false) };
        let report = engine.purge(&caller(), &scrub, |_| true).await.unwrap();

        assert_eq!((report.purged.otps, report.scrubbed), (153, Some(true)));
        // Neither as it is nor without its plus.
        assert_eq!((found(PHONE), found(&PHONE[1..])), (0, 0));
        assert_eq!((0..150).map(|n| found(&phone(n)[1..])).sum::<usize>(), 0);
        assert!(found(OTHER) > 0, "who is still in the database stays");
        assert_eq!(verdict(&engine, OTHER, &world.code_on(OTHER)).await, Verdict::Verified);
    });
    assert_eq!(world.trouble(), [""; 0]);
}

#[test]
fn a_scrub_beside_a_reader_says_that_it_could_not_finish() {
    let world = World::unlimited();
    block_on(async {
        let engine = world.engine();
        send(&engine, PHONE).await;
        world.advance(700);
        let reader = world.sql();
        reader.execute_batch("BEGIN; SELECT count(*) FROM otps;").unwrap();
        let impatient =
            smsotp::store::sqlite::SqliteOptions { wait_limit: Duration::from_millis(50), ..Default::default() };
        let store = smsotp::store::sqlite::Sqlite::open(&world.db(), &world.keyring(), world.shared_clock(), impatient)
            .unwrap();
        let engine =
            smsotp::engine::Engine::new(std::sync::Arc::new(store), world.keyring(), std::sync::Arc::default());
        let scrub = Purge { scrub: true, ..how(false) };
        let report = engine.purge(&caller(), &scrub, |_| true).await.unwrap();
        assert_eq!((report.purged.otps, report.scrubbed), (1, Some(false)));
        drop(reader);
        let report = engine.purge(&caller(), &scrub, |_| true).await.unwrap();
        assert_eq!(report.scrubbed, Some(true));
    });
}
