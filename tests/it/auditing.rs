//! The audit log: each operation writes its one row in its own transaction, and whatever is done to the rows is found.

use std::sync::Arc;
use std::time::Duration;

use smsotp::audit::BreakKind;
use smsotp::code::Code;
use smsotp::engine::{
    AddTestNumber, AuditFilter, Inbound, InboundText, NewToken, Revoke, SendOtp, Step, Verdict, Whose,
};
use smsotp::phone::Phone;
use smsotp::sandbox::Fault;
use smsotp::token::Scopes;

use crate::stores::{Database, on_every_store};
use crate::world::{
    OTHER, PHONE, World, ask, audit_break, audit_rows, block_on, caller, dispatch, guess, phone_subject, purge,
    refusal, reset, revoke, send, send_as, unlimited, verdict,
};

on_every_store![
    every_operation_writes_exactly_one_row_for_each_of_its_transactions,
    an_operation_that_failed_leaves_no_row_and_no_trace,
    a_row_names_no_phone_no_user_and_no_code,
    a_page_of_the_log_says_truly_how_many_more_there_are_and_where_the_next_begins,
];

/// What an operation added to the log.
async fn added<A>(database: &Database, operation: impl Future<Output = A>) -> Vec<String> {
    let before = database.audit().len();
    operation.await;
    database.audit().split_off(before)
}

async fn every_operation_writes_exactly_one_row_for_each_of_its_transactions(database: &mut Database) {
    let database = &*database;
    let engine = database.engine().await.polling(Duration::from_secs(60));
    let test = Phone::from_e164("+1234567890").unwrap();
    let guess = Code::parse("777777").unwrap();
    let none = Vec::<String>::new();

    assert_eq!(added(database, send(&engine, PHONE)).await, ["send reserved", "settle accepted"]);
    assert_eq!(added(database, refusal(&engine, PHONE)).await, ["send rate_limited"]);
    assert_eq!(added(database, verdict(&engine, PHONE, &guess)).await, ["verify wrong_code"]);
    assert_eq!(added(database, verdict(&engine, PHONE, &database.code_on(PHONE))).await, ["verify verified"]);
    assert_eq!(added(database, verdict(&engine, PHONE, &database.code_on(PHONE))).await, ["verify already_used"]);
    assert_eq!(added(database, verdict(&engine, OTHER, &guess)).await, ["verify not_found"]);
    let phone = ask(PHONE).to.phone().clone();
    let staff = caller();
    let text = |id, what| engine.inbound(&staff, InboundText { id, from: &phone, what });
    assert_eq!(added(database, text("SM1", Inbound::Stop)).await, ["opt-out done"]);
    assert_eq!(added(database, text("SM1", Inbound::Stop)).await, none);
    assert_eq!(added(database, text("SM2", Inbound::Stop)).await, ["opt-out unchanged"]);
    assert_eq!(added(database, refusal(&engine, PHONE)).await, ["send opted_out"]);
    assert_eq!(added(database, text("SM3", Inbound::Start)).await, ["opt-in done"]);

    // The worker: what was accepted is asked for, and what is unknown is looked for.
    let sid = database.sandbox.messages()[0].sid.clone();
    database.sandbox.set_status(&sid, "delivered", None);
    database.sandbox.fault(Fault::ResetAfterAccepting, 1);
    assert_eq!(added(database, send(&engine, OTHER)).await, ["send reserved", "settle unknown"]);
    database.advance(31);
    assert_eq!(added(database, dispatch(&engine)).await, ["dispatch found"]);
    assert_eq!(added(database, dispatch(&engine)).await, none);
    database.advance(31);
    assert_eq!(added(database, dispatch(&engine)).await, ["poll delivered"]);

    assert_eq!(added(database, revoke(&engine, OTHER)).await, ["revoke done"]);
    assert_eq!(added(database, revoke(&engine, OTHER)).await, none);
    assert_eq!(added(database, reset(&engine, phone_subject(PHONE))).await, ["limits.reset done"]);
    let new = NewToken {
        name: "t".to_owned(),
        scopes: Scopes::parse("send").unwrap(),
        whose: Whose::Service,
        expires_at: None,
        rate: None,
        conversion_unknown: false,
    };
    assert_eq!(added(database, engine.create_token(&caller(), new)).await, ["token.create done"]);
    let id = engine.tokens().await.unwrap()[0].id;
    assert_eq!(added(database, engine.revoke_token(&caller(), id)).await, ["token.revoke done"]);
    assert_eq!(added(database, engine.revoke_token(&caller(), id)).await, none);

    let until = database.now() + Duration::from_secs(3600);
    let add = AddTestNumber { phone: test.clone(), code: guess, until };
    assert_eq!(added(database, engine.add_test_number(&caller(), add)).await, ["test-number.add done"]);
    assert_eq!(added(database, engine.remove_test_number(&caller(), &test)).await, ["test-number.remove done"]);
    assert_eq!(added(database, engine.remove_test_number(&caller(), &test)).await, none);
    let ring = database.keyring();
    assert_eq!(added(database, engine.rewrap(&caller(), &ring)).await, ["keys.wrap done"]);

    database.advance(86_400);
    // A row for each batch; on a busy machine a batch takes less at once.
    let purged = added(database, purge(&engine, Duration::ZERO)).await;
    assert!(!purged.is_empty() && purged.iter().all(|row| row == "purge done"), "{purged:?}");
    assert_eq!(added(database, purge(&engine, Duration::ZERO)).await, none);
    database.sandbox.fault(Fault::Status429 { retry_after: None }, 1);
    let clock = Arc::clone(&database.clock);
    let hasty = engine.on_step(move |step| {
        if step == Step::Settled {
            clock.advance(Duration::from_secs(4));
        }
    });
    let retried = added(database, send(&hasty, PHONE)).await;
    assert_eq!(retried, ["send reserved", "settle queued", "claim done", "settle accepted"]);
}

async fn a_page_of_the_log_says_truly_how_many_more_there_are_and_where_the_next_begins(database: &mut Database) {
    database.policy.limits = unlimited();
    let engine = database.engine().await;
    for n in 0..9 {
        send(&engine, &format!("+1415555010{n}")).await;
        database.advance(1);
    }
    let all = engine.audit_page(&AuditFilter { limit: 1000, ..AuditFilter::default() }).await.unwrap();
    let total = database.audit().len();
    assert_eq!((all.rows.len(), all.more, all.cut, all.next), (total, 0, false, None));
    assert!(all.rows.is_sorted_by(|one, next| one.step.at >= next.step.at), "the newest first, whatever the chain");

    let (mut seen, mut before) = (Vec::new(), Vec::new());
    loop {
        let filter = AuditFilter { before, limit: 4, ..AuditFilter::default() };
        let page = engine.audit_page(&filter).await.unwrap();
        seen.extend(page.rows.iter().map(|row| row.place));
        assert_eq!(usize::try_from(page.more).unwrap(), total - seen.len());
        assert_eq!(page.next.is_some(), page.more > 0);
        let Some(next) = page.next else { break };
        before = next;
    }
    assert_eq!(seen, all.rows.iter().map(|row| row.place).collect::<Vec<_>>());

    let sends = AuditFilter { action: Some("send".to_owned()), limit: 2, ..AuditFilter::default() };
    assert_eq!(engine.audit_page(&sends).await.unwrap().more, 7);
    let since = AuditFilter { since: Some(database.now() - Duration::from_secs(3)), ..sends };
    assert_eq!(engine.audit_page(&since).await.unwrap().more, 1);
}

async fn an_operation_that_failed_leaves_no_row_and_no_trace(database: &mut Database) {
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    let code = database.code_on(PHONE);
    let rows = database.audit().len();
    // The log cannot be written: then nothing of the operation may be.
    let end = database.refuse_rows("audit", None);
    assert!(engine.verify(&caller(), guess(PHONE, &World::wrong(&code))).await.is_err());
    assert!(engine.verify(&caller(), guess(PHONE, &code)).await.is_err());
    assert!(engine.send(&caller(), ask(OTHER)).await.is_err());
    let what = Revoke::Id(database.number("SELECT id FROM otps"));
    assert!(engine.revoke(&caller(), &what, "x").await.is_err());
    assert_eq!((database.audit().len(), database.sandbox.requests()), (rows, 1));
    assert_eq!(database.number("SELECT count(*) FROM otps WHERE state = 'active' AND wrong_guesses = 0"), 1);
    assert_eq!(database.number("SELECT count(*) FROM otps") + database.number("SELECT count(*) FROM messages"), 2);

    database.change(&end);
    assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Verified);
}

async fn a_row_names_no_phone_no_user_and_no_code(database: &mut Database) {
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    verdict(&engine, PHONE, &database.code_on(PHONE)).await;
    let other = send(&engine, OTHER).await;
    let reason = format!("call {OTHER}");
    assert_eq!(engine.revoke(&caller(), &Revoke::Id(other.otp_id), &reason).await.unwrap().len(), 1);
    let codes = [PHONE, OTHER].map(|phone| database.code_on(phone));
    let [one, another] = &codes;
    for row in audit_rows(engine.store()).await {
        let body = String::from_utf8(row.body).unwrap();
        for secret in [&PHONE[1..], &OTHER[1..], one.expose(), another.expose(), "\"ada\""] {
            assert!(!body.contains(secret), "{body}");
        }
        assert!(body.contains("\"subjects\":[\"") || body.contains("\"subjects\":[]"), "{body}");
    }
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
    // A cut tail shows against the sealed head.
    let world = small_log();
    let store = world.store();
    world.sql().execute("DELETE FROM audit WHERE seq > 4", []).unwrap();
    let broken = audit_break(&store).unwrap();
    assert_eq!((broken.kind, broken.seq), (BreakKind::Cut { until: 6 }, 5));
}

#[test]
fn a_log_that_another_database_wrote_is_found() {
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
fn a_row_of_a_copy_that_went_another_way_is_found() {
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
    let broken = audit_break(&world.store()).unwrap();
    assert_eq!((broken.kind, broken.seq), (BreakKind::Changed, last.seq));
}
