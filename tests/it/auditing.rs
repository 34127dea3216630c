//! The audit log: each operation writes its one row in its own transaction, and whatever is done to the rows is found.

use std::time::Duration;

use smsotp::audit::BreakKind;
use smsotp::code::Code;
use smsotp::engine::{AddTestNumber, Reset, Revoke, SendOtp, Step};
use smsotp::phone::Phone;
use smsotp::sandbox::Fault;
use smsotp::store::Subject;

use crate::world::{
    OTHER, PHONE, World, ada, ask, audit_break, audit_rows, block_on, caller, check_rows, dispatch, purge, refusal,
    send, send_as, verdict,
};

/// What an operation added to the log.
fn added(world: &World, operation: impl Future<Output = ()>) -> Vec<String> {
    let before = world.audit().len();
    block_on(operation);
    world.audit().split_off(before).into_iter().map(|(action, outcome)| format!("{action} {outcome}")).collect()
}

#[test]
fn every_operation_writes_exactly_one_row_for_each_of_its_transactions() {
    let world = World::new();
    let engine = world.engine();
    let phone = Phone::from_e164(PHONE).unwrap();
    let test = Phone::from_e164("+1234567890").unwrap();
    let guess = Code::parse("777777").unwrap();

    assert_eq!(added(&world, async { drop(send(&engine, PHONE).await) }), ["send reserved", "settle accepted"]);
    assert_eq!(added(&world, async { drop(refusal(&engine, PHONE).await) }), ["send rate_limited"]);
    assert_eq!(
        added(&world, async {
            let _ = verdict(&engine, PHONE, &guess).await;
        }),
        ["verify wrong_code"]
    );
    let right = async {
        let _ = verdict(&engine, PHONE, &world.code_on(PHONE)).await;
    };
    assert_eq!(added(&world, right), ["verify verified"]);
    assert_eq!(
        added(&world, async {
            let _ = verdict(&engine, OTHER, &guess).await;
        }),
        ["verify not_found"]
    );

    world.sandbox.fault(Fault::ResetAfterAccepting, 1);
    assert_eq!(added(&world, async { drop(send(&engine, OTHER).await) }), ["send reserved", "settle unknown"]);
    world.advance(31);
    assert_eq!(added(&world, async { _ = dispatch(&engine).await }), ["dispatch found"]);
    assert_eq!(added(&world, async { _ = dispatch(&engine).await }), [""; 0]);

    let what = Revoke::Phone(Phone::from_e164(OTHER).unwrap(), None, None);
    assert_eq!(added(&world, async { drop(engine.revoke(&caller(), &what, "x").await) }), ["revoke done"]);
    assert_eq!(added(&world, async { drop(engine.revoke(&caller(), &what, "x").await) }), [""; 0]);
    let reset = Reset { subject: Subject::Phone(phone), user: ada(), opt_out: false, reason: "x".to_owned() };
    assert_eq!(added(&world, async { drop(engine.reset(&caller(), reset).await) }), ["limits.reset done"]);

    let until = world.now() + Duration::from_secs(3600);
    let add = AddTestNumber { phone: test.clone(), code: guess, until };
    assert_eq!(added(&world, async { drop(engine.add_test_number(&caller(), add).await) }), ["test-number.add done"]);
    let remove = async { drop(engine.remove_test_number(&caller(), &test).await) };
    assert_eq!(added(&world, remove), ["test-number.remove done"]);
    let ring = world.keyring();
    assert_eq!(added(&world, async { engine.rewrap(&caller(), &ring).await.unwrap() }), ["keys.wrap done"]);

    world.advance(86_400);
    assert_eq!(added(&world, async { _ = purge(&engine, Duration::ZERO).await }), ["purge done"]);
    world.sandbox.fault(Fault::Status429 { retry_after: None }, 1);
    let clock = std::sync::Arc::clone(&world.clock);
    let hasty = engine.on_step(move |step| {
        if step == Step::Settled {
            clock.advance(Duration::from_secs(2));
        }
    });
    let retried = added(&world, async { drop(send(&hasty, PHONE).await) });
    assert_eq!(retried, ["send reserved", "settle queued", "claim done", "settle accepted"]);
    assert_eq!(audit_break(&world.store()), None);
}

#[test]
fn a_operation_that_failed_leaves_no_row_and_no_trace() {
    let world = World::new();
    let engine = world.engine();
    block_on(async { send(&engine, PHONE).await });
    let code = world.code_on(PHONE);
    let rows = world.audit().len();
    // The log cannot be written: then nothing of the operation may be.
    world
        .sql()
        .execute_batch("CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT raise(ABORT, 'full'); END;")
        .unwrap();
    block_on(async {
        assert!(engine.verify(&caller(), crate::world::guess(PHONE, &World::wrong(&code))).await.is_err());
        assert!(engine.verify(&caller(), crate::world::guess(PHONE, &code)).await.is_err());
        assert!(engine.send(&caller(), ask(OTHER)).await.is_err());
        assert!(engine.revoke(&caller(), &Revoke::Id(1), "x").await.is_err());
    });
    assert_eq!((world.audit().len(), world.sandbox.requests()), (rows, 1));
    assert_eq!(world.number("SELECT count(*) FROM otps WHERE state = 'active' AND wrong_guesses = 0"), 1);
    assert_eq!(world.number("SELECT count(*) FROM otps") + world.number("SELECT count(*) FROM messages"), 2);

    world.sql().execute_batch("DROP TRIGGER full").unwrap();
    block_on(async { assert_eq!(verdict(&engine, PHONE, &code).await, smsotp::engine::Verdict::Verified) });
}

#[test]
fn a_row_names_no_phone_no_user_and_no_code() {
    let world = World::new();
    block_on(async {
        let engine = world.engine();
        send_as(&engine, &caller(), ask(PHONE)).await;
        verdict(&engine, PHONE, &world.code_on(PHONE)).await;
        engine.revoke(&caller(), &Revoke::Id(1), &format!("call {PHONE}")).await.unwrap();
        for row in audit_rows(engine.store()).await {
            let body = String::from_utf8(row.body).unwrap();
            for secret in [PHONE, &PHONE[1..], world.code_on(PHONE).expose(), "\"ada\""] {
                assert!(!body.contains(secret), "{body}");
            }
            assert!(body.contains("\"subjects\":[\"") || body.contains("\"subjects\":[]"), "{body}");
        }
    });
}

fn small_log() -> World {
    let world = World::unlimited();
    block_on(async {
        let engine = world.engine();
        send(&engine, PHONE).await;
        verdict(&engine, PHONE, &World::wrong(&world.code_on(PHONE))).await;
        verdict(&engine, PHONE, &world.code_on(PHONE)).await;
        send_as(&engine, &caller(), SendOtp { ..ask(OTHER) }).await;
    });
    assert_eq!(audit_break(&world.store()), None);
    world
}

#[test]
fn any_flipped_bit_of_any_row_is_found() {
    let world = small_log();
    let store = world.store();
    let sql = world.sql();
    let rows = block_on(audit_rows(&store));
    for (column, of) in [("body", true), ("mac", false)] {
        for row in &rows {
            let bytes = if of { row.body.clone() } else { row.mac.to_vec() };
            for at in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << (at % 8);
                // The generated columns read the body as JSON: what is none cannot even be written past them.
                let seq = i64::try_from(row.seq).unwrap();
                let put = |value: &[u8]| {
                    sql.execute(
                        &format!("UPDATE audit SET {column} = ?1 WHERE seq = ?2"),
                        rusqlite::params![value, seq],
                    )
                };
                if put(&changed).is_err() {
                    continue;
                }
                let broken = audit_break(&store).unwrap_or_else(|| panic!("{column} byte {at} of row {seq}"));
                assert_eq!(broken.seq, row.seq);
                put(&bytes).unwrap();
            }
        }
    }
    assert_eq!(audit_break(&store), None);
}

#[test]
fn a_removed_swapped_inserted_or_cut_off_row_is_found() {
    let scenes: [(&str, BreakKind, u64); 4] = [
        ("DELETE FROM audit WHERE seq = 3", BreakKind::Gap { until: 4 }, 3),
        (
            "UPDATE audit SET seq = 99 WHERE seq = 2; UPDATE audit SET seq = 2 WHERE seq = 3; UPDATE audit SET seq = 3 WHERE seq = 99",
            BreakKind::Swapped,
            2,
        ),
        (
            "INSERT INTO audit (chain, seq, body, mac) SELECT chain, 7, body, mac FROM audit WHERE seq = 6",
            BreakKind::Changed,
            7,
        ),
        (
            "UPDATE audit SET body = CAST(replace(CAST(body AS TEXT), 'wrong_code', 'verified') AS BLOB) WHERE seq = 3",
            BreakKind::Changed,
            3,
        ),
    ];
    for (damage, kind, seq) in scenes {
        let world = small_log();
        world.sql().execute_batch(damage).unwrap();
        let broken = audit_break(&world.store()).unwrap();
        assert_eq!((broken.kind, broken.seq), (kind, seq), "{damage}");
    }
    // A cut tail shows against a head that was noted before.
    let world = small_log();
    let store = world.store();
    let heads = block_on(store.reads.audit_heads()).unwrap();
    world.sql().execute("DELETE FROM audit WHERE seq > 4", []).unwrap();
    let rows = block_on(audit_rows(&store));
    let broken = check_rows(&store, rows, heads).unwrap();
    assert_eq!((broken.kind, broken.seq), (BreakKind::Cut { until: 6 }, 5));
}

#[test]
fn a_log_that_was_chained_by_other_database_is_foreign() {
    let (world, other) = (small_log(), small_log());
    let theirs = block_on(audit_rows(&other.store()));
    let sql = world.sql();
    for row in theirs {
        let seq = i64::try_from(row.seq).unwrap();
        sql.execute("UPDATE audit SET body = ?1, mac = ?2 WHERE seq = ?3", rusqlite::params![row.body, row.mac, seq])
            .unwrap();
    }
    assert!(audit_break(&world.store()).is_some());
}

#[test]
fn a_row_of_another_course_of_the_same_database_is_found() {
    let world = small_log();
    let fork = world.dir.path().join("fork.db");
    world.sql().execute("VACUUM INTO ?1", [fork.to_str().unwrap()]).unwrap();
    let (clock, ring) = (world.shared_clock(), world.keyring());
    let opening = smsotp::store::sqlite::SqliteOptions::default();
    let forked = smsotp::store::sqlite::Sqlite::open(&fork, &ring, clock, opening).unwrap();
    let forked = smsotp::engine::Engine::new(std::sync::Arc::new(forked), ring, std::sync::Arc::default());
    // The two go different ways; then a row of one is put in the place of the other's.
    let engine = world.engine();
    let code = World::wrong(&world.code_on(OTHER));
    block_on(async {
        for _ in 0..2 {
            verdict(&forked, PHONE, &code).await;
            verdict(&engine, OTHER, &code).await;
        }
    });
    let theirs = block_on(audit_rows(forked.store()));
    let last = theirs.last().unwrap();
    assert_eq!(block_on(audit_rows(engine.store())).len(), theirs.len());
    world
        .sql()
        .execute(
            "UPDATE audit SET body = ?1, mac = ?2 WHERE seq = ?3",
            rusqlite::params![last.body, last.mac, i64::try_from(last.seq).unwrap()],
        )
        .unwrap();
    let store = world.store();
    let heads = Vec::new();
    let broken = check_rows(&store, block_on(audit_rows(&store)), heads).unwrap();
    assert_eq!((broken.kind, broken.seq), (BreakKind::Changed, last.seq));
}
