//! Idempotency keys: the same key, the same answer, and never a second message.

use std::time::Duration;

use smsotp::code::Code as Otp;
use smsotp::engine::{Engine, SendOtp, Sent, Step, Verdict, VerifyAnswer, VerifyOtp};
use smsotp::error::Code;
use smsotp::limits::Limit;
use smsotp::message::State;
use smsotp::otp::User;
use smsotp::purpose::Purpose;
use smsotp::sandbox::Fault;

use crate::processes::phone;
use crate::stores::{Database, on_every_store};
use crate::world::{
    OTHER, PHONE, World, ask, block_on, caller, dispatch, guess, purge, refused, send, send_and_die, send_as, verdict,
};

on_every_store![
    the_same_key_gets_the_same_answer_whatever_it_was,
    a_key_lives_for_a_day,
    a_key_that_was_used_for_something_else_is_an_error,
    a_key_has_1_to_255_visible_characters,
    a_refusal_by_a_limit_is_no_answer_to_keep,
    whoever_asks_while_the_first_is_at_work_has_to_come_back,
    when_the_first_asker_died_the_key_says_what_became_of_its_message,
    a_verified_code_is_verified_again_for_the_same_key_and_code_alone,
    a_wrong_code_under_a_key_is_decided_anew_each_time,
];

/// The key is as much each phone's own as its user's.
fn keyed(phone: &str) -> SendOtp {
    SendOtp { idempotency_key: Some(format!("order of {phone}")), ..ask(phone) }
}

async fn again(database: &Database, phone: &str) -> Sent {
    send_as(&database.engine().await, &caller(), keyed(phone)).await
}

async fn the_same_key_gets_the_same_answer_whatever_it_was(database: &mut Database) {
    database.unlimited();
    let faults = [None, Some(Fault::Code(30_001)), Some(Fault::Unauthorized), Some(Fault::ResetAfterAccepting)];
    for (nth, fault) in faults.into_iter().enumerate() {
        let to = phone(nth);
        database.sandbox.fault(fault.clone().unwrap_or(Fault::Latency(Duration::ZERO)), 1);
        let requests = database.sandbox.requests();
        let first = again(database, &to).await;
        for pause in [0, 31, 3600, 20 * 3600] {
            database.advance(pause);
            // A purge takes the otp and leaves the answer: an answer that is forgotten is a message that goes out twice.
            purge(&database.engine().await, Duration::ZERO).await;
            assert_eq!(again(database, &to).await, first, "{fault:?} after {pause} s");
        }
        assert_eq!(database.sandbox.requests() - requests, 1, "{fault:?}");
    }
}

async fn a_key_lives_for_a_day(database: &mut Database) {
    database.unlimited();
    let first = again(database, PHONE).await;
    database.advance(24 * 3600 - 1);
    purge(&database.engine().await, Duration::ZERO).await;
    assert_eq!(again(database, PHONE).await, first);
    database.advance(1);
    assert_eq!(purge(&database.engine().await, Duration::ZERO).await.purged.replies, 1);
    assert_ne!(again(database, PHONE).await.message_id, first.message_id);
}

async fn a_key_that_was_used_for_something_else_is_an_error(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    send_as(&engine, &caller(), keyed(PHONE)).await;
    let others = [
        SendOtp { idempotency_key: keyed(PHONE).idempotency_key, ..ask(OTHER) },
        SendOtp { user: User::parse("bob").unwrap(), ..keyed(PHONE) },
        SendOtp { purpose: Purpose::parse("registration").unwrap(), ..keyed(PHONE) },
        SendOtp { new_code: true, ..keyed(PHONE) },
    ];
    for other in others {
        let error = engine.send(&caller(), other).await.unwrap_err();
        assert_eq!(error.code(), Code::IDEMPOTENCY_MISMATCH);
    }
    assert_eq!(database.sandbox.requests(), 1);
}

async fn a_key_has_1_to_255_visible_characters(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    for (key, good) in [("", false), ("a\nb", false), (&"k".repeat(255), true), (&"k".repeat(256), false)] {
        let with_key = SendOtp { idempotency_key: Some(key.to_owned()), ..ask(PHONE) };
        let answer = engine.send(&caller(), with_key).await;
        assert_eq!(answer.map_err(|error| error.code()).err(), (!good).then_some(Code::VALUE_INVALID), "{key}");
    }
    assert_eq!(database.messages_out(), 1);
}

async fn a_refusal_by_a_limit_is_no_answer_to_keep(database: &mut Database) {
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    let no = refused(engine.send(&caller(), keyed(PHONE)).await.unwrap());
    assert_eq!(no.hits[0].limit, Limit::Cooldown);

    database.advance(30);
    assert_eq!(again(database, PHONE).await.state, State::Accepted);
}

async fn whoever_asks_while_the_first_is_at_work_has_to_come_back(database: &mut Database) {
    database.unlimited();
    database.sandbox.fault(Fault::Code(30_001), 1);
    let other = database.engine().await;
    let engine = database.engine().await.on_step(move |step| {
        if step == Step::Handing {
            let other = other.clone();
            let asked = std::thread::spawn(move || block_on(other.send(&caller(), keyed(PHONE))));
            let error = asked.join().unwrap().unwrap_err();
            assert_eq!(error.code(), Code::IN_PROGRESS);
            assert!(error.retry_after_hint().is_some());
        }
    });
    let first = send_as(&engine, &caller(), keyed(PHONE)).await;
    assert_eq!(again(database, PHONE).await, first);
    assert_eq!(database.sandbox.requests(), 1);
}

async fn when_the_first_asker_died_the_key_says_what_became_of_its_message(database: &mut Database) {
    database.unlimited();
    let steps = [(Step::Reserved, 0), (Step::Handing, 0), (Step::Answered, 1), (Step::Settled, 1)];
    for (nth, (at, requests)) in steps.into_iter().enumerate() {
        let (to, before) = (phone(nth), database.sandbox.requests());
        send_and_die(database.engine().await, at, keyed(&to)).await;
        if at != Step::Settled {
            let error = database.engine().await.send(&caller(), keyed(&to)).await.unwrap_err();
            assert_eq!(error.code(), Code::IN_PROGRESS, "{at:?}: it may be alive for a minute");
        }
        let id = database.number(&format!("SELECT id FROM messages WHERE phone_number = '{to}'"));
        for pause in [61, 601, 601] {
            database.advance(pause);
            let sent = again(database, &to).await;
            assert_eq!(sent.message_id, id, "{at:?}");
            match requests {
                1 => assert_eq!(sent.state, State::Accepted, "{at:?}"),
                _ => assert!(matches!(sent.state, State::Unknown | State::Failed), "{at:?}"),
            }
            dispatch(&database.engine().await).await;
        }
        assert_eq!(database.sandbox.requests() - before, requests, "{at:?}: a key never sends twice");
    }
}

async fn verify_with(engine: &Engine, key: &str, ask: VerifyOtp) -> smsotp::error::Result<VerifyAnswer> {
    engine.verify(&caller(), VerifyOtp { idempotency_key: Some(key.to_owned()), ..ask }).await
}

async fn a_verified_code_is_verified_again_for_the_same_key_and_code_alone(database: &mut Database) {
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    let code = database.code_on(PHONE);
    let first = verify_with(&engine, "k", guess(PHONE, &code)).await.unwrap();
    assert_eq!(first.verdict, Verdict::Verified);
    let rows = database.audit().len();
    for _ in 0..2 {
        let again = verify_with(&database.engine().await, "k", guess(PHONE, &code)).await.unwrap();
        assert_eq!(again, first);
    }
    assert_eq!(database.audit().len(), rows, "an answer that is given again is no operation");
    // Without the key, or under another one, the code is used.
    assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::AlreadyUsed);
    assert_eq!(verify_with(&engine, "l", guess(PHONE, &code)).await.unwrap().verdict, Verdict::AlreadyUsed);
    // Whoever knows the key and not the code learns nothing from it.
    let bob = VerifyOtp { user: User::parse("bob").unwrap(), ..guess(PHONE, &code) };
    for other in [guess(PHONE, &World::wrong(&code)), guess(OTHER, &code), bob] {
        let error = verify_with(&engine, "k", other).await.unwrap_err();
        assert_eq!(error.code(), Code::IDEMPOTENCY_MISMATCH);
    }
    // A key of a send is another key.
    assert_eq!(
        send_as(&engine, &caller(), SendOtp { idempotency_key: Some("m".to_owned()), ..ask(OTHER) }).await.state,
        State::Accepted
    );
    let error = verify_with(&engine, "m", guess(OTHER, &database.code_on(OTHER))).await.unwrap_err();
    assert_eq!(error.code(), Code::IDEMPOTENCY_MISMATCH);
}

async fn a_wrong_code_under_a_key_is_decided_anew_each_time(database: &mut Database) {
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    let code: Otp = database.code_on(PHONE);
    for left in [4, 3] {
        let answer = verify_with(&engine, "k", guess(PHONE, &World::wrong(&code))).await.unwrap();
        assert_eq!(answer.verdict, Verdict::WrongCode { tries_left: left });
    }
    assert_eq!(verify_with(&engine, "k", guess(PHONE, &code)).await.unwrap().verdict, Verdict::Verified);
}
