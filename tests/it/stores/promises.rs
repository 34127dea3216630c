//! What every store keeps, one asker at a time and a few at a time.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use smsotp::audit::Verifier;
use smsotp::code::Code;
use smsotp::engine::{AddTestNumber, Caller, Purge, Reset, Revoke, SendAnswer, Verdict};
use smsotp::error;
use smsotp::keys::{Keyring, SecretKey};
use smsotp::limits::Window;
use smsotp::message::State as MessageState;
use smsotp::otp::{State, User};
use smsotp::phone::Phone;
use smsotp::purpose::Purpose;
use smsotp::sandbox::Fault;
use smsotp::store::{Filter, Store, Subject};

use super::{Database, on_both};
use crate::world::{PHONE, World, ask, block_on, caller, send, verdict};

on_both![
    the_right_code_is_verified_once_and_never_again,
    a_code_dies_with_its_time,
    five_wrong_guesses_lock_a_code_and_a_resend_does_not_open_it,
    a_resend_waits_for_the_cooldown_and_carries_the_same_code,
    a_new_code_takes_the_old_ones_place,
    a_phone_gets_no_more_messages_than_its_windows_hold,
    everything_together_gets_no_more_than_its_window_whoever_asks,
    an_address_guesses_thirty_times_an_hour,
    a_message_that_surely_was_not_sent_is_given_back,
    what_may_have_been_sent_is_found_again_and_not_sent_twice,
    the_same_idempotency_key_gets_the_same_answer,
    two_at_once_with_one_idempotency_key_send_one_message,
    purge_takes_what_is_finished_and_weakens_nothing,
    purge_beside_senders_loses_nothing,
    a_reset_opens_what_was_closed,
    a_revoked_code_is_dead,
    a_test_number_gets_its_code_without_a_message,
    the_audit_chain_holds_under_a_crowd,
    every_accepted_key_opens_the_database_and_no_other,
    a_list_pages_through_everything_once,
    a_clock_that_fell_behind_is_noticed,
];

fn phone(nth: u32) -> String {
    format!("+1415555{:04}", 100 + nth)
}

fn e164(phone: &str) -> Phone {
    Phone::from_e164(phone).unwrap()
}

async fn refused(engine: &smsotp::engine::Engine, ask: smsotp::engine::SendOtp) -> String {
    match engine.send(&caller(), ask).await.unwrap() {
        SendAnswer::Refused(refusal) => {
            refusal.hits.first().map_or(refusal.message.clone(), |hit| hit.limit.to_string())
        }
        SendAnswer::Sent(sent) => panic!("it was sent: {sent:?}"),
    }
}

fn the_right_code_is_verified_once_and_never_again(database: Database) {
    block_on(async {
        let engine = database.engine().await;
        send(&engine, PHONE).await;
        let code = database.world.code_on(PHONE);
        assert_eq!(verdict(&engine, PHONE, &World::wrong(&code)).await, Verdict::WrongCode { tries_left: 4 });
        assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Verified);
        assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::AlreadyUsed);
        assert_eq!(verdict(&database.engine().await, PHONE, &code).await, Verdict::AlreadyUsed, "nor after a restart");
        assert_eq!(verdict(&engine, "+14155559999", &code).await, Verdict::NotFound);
    });
}

fn a_code_dies_with_its_time(database: Database) {
    block_on(async {
        let engine = database.engine().await;
        send(&engine, PHONE).await;
        let code = database.world.code_on(PHONE);
        database.advance(590);
        assert_eq!(verdict(&engine, PHONE, &World::wrong(&code)).await, Verdict::WrongCode { tries_left: 4 });
        database.advance(10);
        assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Expired);
    });
}

fn five_wrong_guesses_lock_a_code_and_a_resend_does_not_open_it(database: Database) {
    block_on(async {
        let engine = database.engine().await;
        send(&engine, PHONE).await;
        let code = database.world.code_on(PHONE);
        for left in [4, 3] {
            assert_eq!(verdict(&engine, PHONE, &World::wrong(&code)).await, Verdict::WrongCode { tries_left: left });
        }
        database.advance(31);
        assert!(send(&engine, PHONE).await.resent);
        for left in [2, 1, 0] {
            assert_eq!(verdict(&engine, PHONE, &World::wrong(&code)).await, Verdict::WrongCode { tries_left: left });
        }
        assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Locked);
    });
}

fn a_resend_waits_for_the_cooldown_and_carries_the_same_code(database: Database) {
    block_on(async {
        let engine = database.engine().await;
        send(&engine, PHONE).await;
        let code = database.world.code_on(PHONE);
        assert_eq!(refused(&engine, ask(PHONE)).await, "cooldown");
        database.advance(31);
        let again = send(&engine, PHONE).await;
        assert!(again.resent);
        assert_eq!(database.world.code_on(PHONE).expose(), code.expose());
        assert_eq!(database.world.sandbox.messages().len(), 2);
    });
}

fn a_new_code_takes_the_old_ones_place(database: Database) {
    block_on(async {
        let engine = database.engine().await;
        let old = send(&engine, PHONE).await;
        let old_code = database.world.code_on(PHONE);
        database.advance(31);
        let SendAnswer::Sent(new) =
            engine.send(&caller(), smsotp::engine::SendOtp { new_code: true, ..ask(PHONE) }).await.unwrap()
        else {
            panic!("refused")
        };
        assert_ne!(new.otp_id, old.otp_id);
        assert_eq!(engine.reads().otp(old.otp_id).await.unwrap().unwrap().state, State::Superseded);
        assert_eq!(verdict(&engine, PHONE, &old_code).await, Verdict::Superseded);
        assert_eq!(verdict(&engine, PHONE, &database.world.code_on(PHONE)).await, Verdict::Verified);
    });
}

fn a_phone_gets_no_more_messages_than_its_windows_hold(database: Database) {
    block_on(async {
        let engine = database.engine().await;
        for pause in [31, 61, 121] {
            send(&engine, PHONE).await;
            database.advance(pause);
        }
        // Three in ten minutes are used up, although the cooldown is over.
        database.advance(180);
        assert_eq!(refused(&engine, ask(PHONE)).await, "phone");
        database.advance(600);
        send(&engine, PHONE).await;
        assert_eq!(database.world.sandbox.messages().len(), 4);
    });
}

fn everything_together_gets_no_more_than_its_window_whoever_asks(mut database: Database) {
    // Shards of 3: some are empty from the start, and their phones find room elsewhere.
    for max in [3u32, 11] {
        database.world.policy.limits.everything = vec![Window::new(max, 3600)];
        block_on(async {
            let engine = database.engine().await;
            let sent = database.world.sandbox.messages().len();
            let asks = (0..20).map(|nth| {
                let phone = phone(nth + 100 * max);
                let engine = engine.clone();
                async move {
                    let ask = smsotp::engine::SendOtp { user: User::parse(&phone).unwrap(), ..ask(&phone) };
                    matches!(engine.send(&caller(), ask).await.unwrap(), SendAnswer::Sent(_))
                }
            });
            let went = join_all(asks).await.into_iter().filter(|went| *went).count();
            assert_eq!(went, max as usize);
            assert_eq!(database.world.sandbox.messages().len() - sent, max as usize);
            let usage = &engine.reads().usages(&[Subject::Everything]).await.unwrap()[0];
            let used =
                usage.as_ref().unwrap().usage.slots_in(Window::new(max, 3600), engine.reads().now().await.unwrap());
            assert_eq!(used.used, max);
            let whole =
                Reset { subject: Subject::Everything, user: User::default(), opt_out: false, reason: "test".into() };
            assert_eq!(engine.reset(&caller(), whole).await.unwrap().sends, max as usize);
        });
    }
}

fn an_address_guesses_thirty_times_an_hour(database: Database) {
    block_on(async {
        let engine = database.engine().await;
        let from = |last: u8| Caller { ip: Some(std::net::IpAddr::from([198, 51, 100, last])), ..caller() };
        let guess = |nth: u32, from: Caller| {
            let engine = engine.clone();
            async move {
                let ask = smsotp::engine::VerifyOtp {
                    phone: e164(&phone(nth)),
                    purpose: Purpose::parse("login").unwrap(),
                    user: User::default(),
                    code: Code::parse("000000").unwrap(),
                    idempotency_key: None,
                };
                engine.verify(&from, ask).await.unwrap().verdict
            }
        };
        let answers = join_all((0..40).map(|nth| guess(nth, from(7)))).await;
        assert_eq!(answers.iter().filter(|verdict| **verdict == Verdict::NotFound).count(), 30);
        assert!(matches!(guess(50, from(7)).await, Verdict::TooManyGuesses(_)));
        assert_eq!(guess(51, from(8)).await, Verdict::NotFound, "a neighbour is not to blame");
    });
}

fn a_message_that_surely_was_not_sent_is_given_back(database: Database) {
    block_on(async {
        let engine = database.engine().await;
        database.world.sandbox.fault(Fault::Code(21211), 1);
        let failed = send(&engine, PHONE).await;
        assert_eq!(failed.state, MessageState::Failed);
        assert_eq!(engine.reads().otp(failed.otp_id).await.unwrap().unwrap().state, State::Failed);
        // No cooldown for what never went out.
        assert_eq!(send(&engine, PHONE).await.state, MessageState::Accepted);
        assert_eq!(verdict(&engine, PHONE, &database.world.code_on(PHONE)).await, Verdict::Verified);
    });
}

fn what_may_have_been_sent_is_found_again_and_not_sent_twice(database: Database) {
    block_on(async {
        let engine = database.engine().await;
        database.world.sandbox.fault(Fault::Error500AfterAccepting, 1);
        let maybe = send(&engine, PHONE).await;
        assert_eq!(maybe.state, MessageState::Unknown);
        database.advance(31);
        let done = engine.dispatch(&caller(), 10, |_, _| ()).await.unwrap();
        assert_eq!((done.looked_at, done.found), (1, 1), "{done:?}");
        assert!(engine.reads().message(maybe.message_id).await.unwrap().unwrap().provider_id.is_some());
        assert_eq!(database.world.sandbox.messages().len(), 1);
        assert_eq!(verdict(&engine, PHONE, &database.world.code_on(PHONE)).await, Verdict::Verified);
    });
}

fn the_same_idempotency_key_gets_the_same_answer(database: Database) {
    block_on(async {
        let engine = database.engine().await;
        let with_key = |phone: &str| smsotp::engine::SendOtp { idempotency_key: Some("order-1".into()), ..ask(phone) };
        let SendAnswer::Sent(first) = engine.send(&caller(), with_key(PHONE)).await.unwrap() else { panic!("refused") };
        database.advance(3600);
        // A purge takes the otp and not the answer: an answer that is forgotten is a message that goes out twice.
        let now = Purge { older_than: Some(Duration::ZERO), ..purge() };
        assert_eq!(engine.purge(&caller(), &now, |_| true).await.unwrap().purged.otps, 1);
        let SendAnswer::Sent(again) = engine.send(&caller(), with_key(PHONE)).await.unwrap() else { panic!("refused") };
        assert_eq!(first, again);
        assert_eq!(database.world.sandbox.messages().len(), 1);
        let error = engine.send(&caller(), with_key(&phone(1))).await.unwrap_err();
        assert_eq!(error.code(), error::Code::IDEMPOTENCY_MISMATCH);
    });
}

fn two_at_once_with_one_idempotency_key_send_one_message(database: Database) {
    block_on(async {
        let engine = database.engine().await;
        for round in 0..4 {
            let sent = database.world.sandbox.messages().len();
            let asks = (0..6).map(|nth| {
                // The same key for different phones, too: one asker wins it.
                let ask = smsotp::engine::SendOtp {
                    idempotency_key: Some(format!("round-{round}")),
                    user: User::default(),
                    ..ask(&phone(10 * round + nth % 3))
                };
                let engine = engine.clone();
                async move { engine.send(&caller(), ask).await }
            });
            for answer in join_all(asks).await {
                match answer {
                    Ok(SendAnswer::Sent(_)) => {}
                    Ok(SendAnswer::Refused(refusal)) => panic!("{refusal:?}"),
                    Err(error) => assert!(
                        [error::Code::IN_PROGRESS, error::Code::IDEMPOTENCY_MISMATCH].contains(&error.code()),
                        "{error:?}"
                    ),
                }
            }
            assert_eq!(database.world.sandbox.messages().len() - sent, 1);
        }
    });
}

fn purge() -> Purge {
    Purge { older_than: None, dry_run: false, exclusive: false, scrub: false, batch: None }
}

fn purge_takes_what_is_finished_and_weakens_nothing(database: Database) {
    block_on(async {
        let engine = database.engine().await;
        send(&engine, PHONE).await;
        let code = database.world.code_on(PHONE);
        for _ in 0..4 {
            verdict(&engine, PHONE, &World::wrong(&code)).await;
        }
        assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Verified);
        database.world.sandbox.fault(Fault::ResetAfterAccepting, 1);
        let open = send(&engine, &phone(1)).await;
        assert_eq!(open.state, MessageState::Unknown);
        database.advance(24 * 3600 - 60);
        assert_eq!(engine.purge(&caller(), &purge(), |_| true).await.unwrap().purged.otps, 0, "not yet a day");
        // By now the unsettled one is over for a day as well.
        database.advance(800);
        let living = send(&engine, &phone(2)).await;
        let counted = engine.purge(&caller(), &Purge { dry_run: true, ..purge() }, |_| true).await.unwrap().purged;
        assert_eq!((counted.otps, counted.messages), (1, 1));
        let taken = engine.purge(&caller(), &purge(), |_| true).await.unwrap().purged;
        assert_eq!((taken.otps, taken.messages), (1, 1), "the unsettled one stays");
        assert!(engine.reads().otp(open.otp_id).await.unwrap().is_some());
        assert_eq!(verdict(&engine, &phone(2), &database.world.code_on(&phone(2))).await, Verdict::Verified);
        assert!(engine.reads().otp(living.otp_id).await.unwrap().is_some());

        // The four guesses of yesterday are out of their window by now; those of a moment ago are not.
        for _ in 0..15 {
            verdict(&engine, &phone(3), &Code::parse("000000").unwrap()).await;
        }
        engine.purge(&caller(), &Purge { older_than: Some(Duration::ZERO), ..purge() }, |_| true).await.unwrap();
        assert_eq!(refused(&engine, ask(&phone(3))).await, "guesses");
    });
}

fn purge_beside_senders_loses_nothing(mut database: Database) {
    database.world.policy.limits = unlimited(&database);
    block_on(async {
        let engine = database.engine().await;
        for nth in 0..40 {
            let to = phone(nth);
            let ask = smsotp::engine::SendOtp { user: User::default(), ..ask(&to) };
            engine.send(&caller(), ask).await.unwrap();
        }
        database.advance(25 * 3600);
        let senders = join_all((0..40).map(|nth| {
            let engine = engine.clone();
            async move {
                let to = phone(nth);
                let ask = smsotp::engine::SendOtp { user: User::default(), ..ask(&to) };
                match engine.send(&caller(), ask).await.unwrap() {
                    SendAnswer::Sent(sent) => sent.otp_id,
                    SendAnswer::Refused(refusal) => panic!("{refusal:?}"),
                }
            }
        }));
        let purges = join_all((0..2).map(|_| {
            let engine = engine.clone();
            async move { engine.purge(&caller(), &purge(), |_| true).await.unwrap().purged.otps }
        }));
        let (sent, taken) = tokio::join!(senders, purges);
        let mut taken: u64 = taken.into_iter().sum();
        // What a sender held just then is left for the next run.
        taken += engine.purge(&caller(), &purge(), |_| true).await.unwrap().purged.otps;
        assert_eq!(taken, 40);
        for (nth, otp) in sent.into_iter().enumerate() {
            assert_eq!(engine.reads().otp(otp).await.unwrap().unwrap().state, State::Active);
            let to = phone(u32::try_from(nth).unwrap());
            let ask = smsotp::engine::VerifyOtp {
                phone: e164(&to),
                purpose: Purpose::parse("login").unwrap(),
                user: User::default(),
                code: database.world.code_on(&to),
                idempotency_key: None,
            };
            assert_eq!(engine.verify(&caller(), ask).await.unwrap().verdict, Verdict::Verified);
        }
    });
}

fn unlimited(database: &Database) -> smsotp::limits::Limits {
    let mut limits = database.world.policy.limits.clone();
    (limits.cooldown, limits.phone, limits.user) = (Vec::new(), Vec::new(), Vec::new());
    limits
}

fn a_reset_opens_what_was_closed(database: Database) {
    block_on(async {
        let engine = database.engine().await;
        send(&engine, PHONE).await;
        assert_eq!(refused(&engine, ask(PHONE)).await, "cooldown");
        let reset = Reset {
            subject: Subject::Phone(e164(PHONE)),
            user: User::parse("ada").unwrap(),
            opt_out: false,
            reason: "OPS-1".into(),
        };
        assert_eq!(engine.reset(&caller(), reset).await.unwrap().sends, 1);
        assert!(send(&engine, PHONE).await.resent);
    });
}

fn a_revoked_code_is_dead(database: Database) {
    block_on(async {
        let engine = database.engine().await;
        let sent = send(&engine, PHONE).await;
        let revoked = engine.revoke(&caller(), &Revoke::Phone(e164(PHONE), None, None), "lost phone").await.unwrap();
        assert_eq!(revoked[0].otp_id, sent.otp_id);
        assert_eq!(verdict(&engine, PHONE, &database.world.code_on(PHONE)).await, Verdict::Revoked);
        assert!(engine.revoke(&caller(), &Revoke::Id(sent.otp_id), "again").await.unwrap().is_empty());
    });
}

fn a_test_number_gets_its_code_without_a_message(database: Database) {
    block_on(async {
        let engine = database.engine().await;
        let code = Code::parse("123456").unwrap();
        let until = engine.reads().now().await.unwrap() + Duration::from_secs(86_400);
        let add = AddTestNumber { phone: e164(PHONE), code: code.clone(), until };
        engine.add_test_number(&caller(), add).await.unwrap();
        assert!(send(&engine, PHONE).await.test);
        assert!(database.world.sandbox.messages().is_empty());
        assert_eq!(verdict(&engine, PHONE, &World::wrong(&code)).await, Verdict::WrongCode { tries_left: 4 });
        assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Verified);
        database.advance(2 * 86_400);
        let taken = engine.purge(&caller(), &purge(), |_| true).await.unwrap().purged;
        assert_eq!(taken.test_numbers, 1);
    });
}

fn the_audit_chain_holds_under_a_crowd(database: Database) {
    block_on(async {
        let engine = database.engine().await;
        let operations = (0..24).map(|nth| {
            let engine = engine.clone();
            async move {
                let to = phone(nth);
                let ask = smsotp::engine::SendOtp { user: User::default(), ..ask(&to) };
                engine.send(&caller(), ask).await.unwrap();
                verdict(&engine, &to, &Code::parse("000000").unwrap()).await
            }
        });
        join_all(operations).await;
        engine.purge(&caller(), &Purge { older_than: Some(Duration::ZERO), ..purge() }, |_| true).await.unwrap();
        let store = engine.store();
        assert_eq!(read_chain(store, None).await.unwrap(), 24 * 3);
        // Any row taken out is found.
        let broken = read_chain(store, Some(30)).await.unwrap_err();
        assert!(broken.contains("Gap") || broken.contains("Cut"), "{broken}");
    });
}

/// Reads every chain as `audit verify` does; `without` leaves one row out.
pub async fn read_chain(store: &Store, without: Option<u64>) -> Result<u64, String> {
    let heads = store.reads.audit_heads().await.unwrap();
    let mut verifier = Verifier::new(&store.operations.keys().audit).expect_heads(heads.iter().copied());
    let mut nth = 0;
    for head in heads {
        for row in store.reads.audit(head.chain, 1, 10_000).await.unwrap() {
            nth += 1;
            if Some(nth) != without {
                verifier.check_row(row);
            }
        }
    }
    let rows = verifier.rows();
    verifier.finish().map(|_| rows).map_err(|broken| format!("{broken:?}"))
}

fn every_accepted_key_opens_the_database_and_no_other(database: Database) {
    block_on(async {
        let old = database.world.keys[0].clone();
        let key = |text: &str| SecretKey::from_base64(text).unwrap();
        let new = SecretKey::generate().unwrap().to_base64().to_string();
        let engine = database.engine().await;
        send(&engine, PHONE).await;
        let both = Keyring::new(vec![key(&new), key(&old)]).unwrap();
        // Opening with a new key added wraps the database's keys under it as well.
        database.store_with(&both).await.unwrap();
        let alone = Keyring::new(vec![key(&new)]).unwrap();
        let store = database.store_with(&alone).await.unwrap();
        assert!(store.reads.usages(&[Subject::Phone(e164(PHONE))]).await.unwrap()[0].is_some(), "the same subjects");
        store.maintenance.rewrap(&alone, &smsotp::audit::Actor::System).await.unwrap();
        let error = database.store_with(&database.world.keyring()).await.err().unwrap();
        assert_eq!(error.code(), error::Code::KEY_INVALID);
        assert_eq!(store.reads.status().await.unwrap().wrapped_by.len(), 1);
        assert_eq!(store.reads.keys_in_use(store.reads.now().await.unwrap()).await.unwrap()[0].1, 1);
    });
}

fn a_list_pages_through_everything_once(mut database: Database) {
    database.world.policy.limits = unlimited(&database);
    block_on(async {
        let engine = database.engine().await;
        let mut ids = Vec::new();
        for nth in 0..7 {
            ids.insert(0, send_as(&engine, &phone(nth), "").await);
        }
        ids.insert(0, send_as(&engine, &phone(0), "bea").await);
        verdict_as(&engine, &phone(0), "bea", &database.world.code_on(&phone(0))).await;
        let store = engine.reads();
        let now = store.now().await.unwrap();
        let listed = async |filter: Filter| {
            let (mut all, mut filter) = (Vec::new(), Filter { limit: 3, ..filter });
            loop {
                let page = store.list(&filter, now).await.unwrap();
                all.extend(page.otps.iter().map(|otp| otp.id));
                match page.next {
                    Some(next) => filter.before = Some(next),
                    None => return all,
                }
            }
        };
        assert_eq!(listed(Filter::default()).await, ids);
        assert_eq!(listed(Filter { phone: Some(e164(&phone(0))), ..Filter::default() }).await, [ids[0], ids[7]]);
        assert_eq!(listed(Filter { user: Some(User::parse("bea").unwrap()), ..Filter::default() }).await, ids[..1]);
        assert_eq!(listed(Filter { user: Some(User::default()), ..Filter::default() }).await, ids[1..]);
        assert_eq!(listed(Filter { states: vec![State::Verified], ..Filter::default() }).await, ids[..1]);
        assert_eq!(listed(Filter { states: vec![State::Active], ..Filter::default() }).await, ids[1..]);
        let third = store.otp(ids[2]).await.unwrap().unwrap().created_at;
        assert_eq!(listed(Filter { since: Some(third), ..Filter::default() }).await, ids[..3]);
        assert_eq!(listed(Filter { until: Some(third), ..Filter::default() }).await, ids[3..]);
        assert_eq!(store.message_counts(&[ids[1], 0, ids[0]]).await.unwrap(), [1, 0, 1]);
        assert_eq!(store.list(&Filter { limit: 3, ..Filter::default() }, now).await.unwrap().more, 5);
    });
}

async fn send_as(engine: &smsotp::engine::Engine, to: &str, user: &str) -> i64 {
    let ask = smsotp::engine::SendOtp { user: User::parse(user).unwrap(), ..ask(to) };
    match engine.send(&caller(), ask).await.unwrap() {
        SendAnswer::Sent(sent) => sent.otp_id,
        SendAnswer::Refused(refusal) => panic!("{refusal:?}"),
    }
}

async fn verdict_as(engine: &smsotp::engine::Engine, from: &str, user: &str, code: &Code) {
    let ask = smsotp::engine::VerifyOtp {
        phone: e164(from),
        purpose: Purpose::parse("login").unwrap(),
        user: User::parse(user).unwrap(),
        code: code.clone(),
        idempotency_key: None,
    };
    assert_eq!(engine.verify(&caller(), ask).await.unwrap().verdict, Verdict::Verified);
}

fn a_clock_that_fell_behind_is_noticed(mut database: Database) {
    block_on(async {
        database.advance(1000);
        send(&database.engine().await, PHONE).await;
        database.clock = Arc::default();
        let engine = database.engine().await;
        let error = engine.send(&caller(), ask(PHONE)).await.unwrap_err();
        assert_eq!(error.code(), error::Code::CLOCK_WRONG);
    });
}
