//! Idempotency keys: the same key, the same answer, and never a second message.

use std::time::Duration;

use smsotp::audit::Actor;
use smsotp::code::Code as Otp;
use smsotp::engine::{Caller, Engine, SendOtp, Sent, Step, Verdict, VerifyAnswer, VerifyOtp};
use smsotp::error::Code;
use smsotp::limits::Limit;
use smsotp::message::State;
use smsotp::otp::User;
use smsotp::purpose::Purpose;
use smsotp::sandbox::Fault;

use crate::processes::phone;
use crate::stores::{Database, on_every_store};
use crate::world::{
    OTHER, PHONE, World, ask, block_on, caller, dispatch, guess, phone_subject, purge, refused, send, send_and_die,
    send_as, usage, verdict,
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
    a_used_key_answers_no_more_guesses_than_a_live_code,
    a_key_answers_verified_for_as_long_as_the_code_would_live,
    a_wrong_code_under_a_key_is_decided_anew_each_time,
    the_keys_of_tokens_of_the_command_line_and_of_each_verb_are_apart,
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
    // Anything else under the key is an ordinary attempt: decided, counted and recorded as without one.
    let bob = VerifyOtp { user: User::parse("bob").unwrap(), ..guess(PHONE, &code) };
    for (other, kind) in [
        (guess(PHONE, &World::wrong(&code)), Verdict::AlreadyUsed),
        (guess(OTHER, &code), Verdict::NotFound),
        (bob, Verdict::NotFound),
    ] {
        let rows = database.audit().len();
        assert_eq!(verify_with(&engine, "k", other).await.unwrap().verdict, kind);
        assert_eq!(database.audit().len(), rows + 1);
    }
    // A newer code is what is at hand: the older one's key is an ordinary attempt at it.
    database.advance(31);
    send(&engine, PHONE).await;
    let newer = database.code_on(PHONE);
    assert_eq!(
        verify_with(&engine, "k", guess(PHONE, &code)).await.unwrap().verdict,
        Verdict::WrongCode { tries_left: 4 }
    );
    assert_eq!(verify_with(&engine, "k", guess(PHONE, &newer)).await.unwrap().verdict, Verdict::Verified);
    assert_eq!(verify_with(&engine, "k", guess(PHONE, &newer)).await.unwrap().verdict, Verdict::Verified, "again");
    assert_eq!(verify_with(&engine, "k", guess(PHONE, &code)).await.unwrap().verdict, Verdict::AlreadyUsed);
}

async fn a_used_key_answers_no_more_guesses_than_a_live_code(database: &mut Database) {
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    let code = database.code_on(PHONE);
    verify_with(&engine, "k", guess(PHONE, &code)).await.unwrap();
    let rows = database.audit().len();
    for n in 1..=20 {
        let answer = verify_with(&engine, "k", guess(PHONE, &World::wrong(&code))).await.unwrap();
        assert_eq!(answer.verdict, Verdict::AlreadyUsed, "{n}");
        // Five of them are compared with what the key could answer. They count as at a live code.
        let usage = usage(&engine, phone_subject(PHONE)).await;
        assert_eq!((usage.guesses.len(), database.audit().len()), (n.min(5), rows + n));
    }
    let late = verify_with(&engine, "k", guess(PHONE, &code)).await.unwrap();
    assert_eq!(late.verdict, Verdict::AlreadyUsed, "the right code is one more guess by then");
}

async fn a_key_answers_verified_for_as_long_as_the_code_would_live(database: &mut Database) {
    let engine = database.engine().await;
    let sent = send(&engine, PHONE).await;
    let code = database.code_on(PHONE);
    let first = verify_with(&engine, "k", guess(PHONE, &code)).await.unwrap();
    database.clock.set(sent.expires_at - Duration::from_millis(1));
    assert_eq!(verify_with(&engine, "k", guess(PHONE, &code)).await.unwrap(), first);
    for later in [Duration::ZERO, Duration::from_secs(60), Duration::from_secs(86_400)] {
        database.clock.set(sent.expires_at + later);
        let answer = verify_with(&engine, "k", guess(PHONE, &code)).await.unwrap();
        assert_eq!(answer.verdict, Verdict::AlreadyUsed, "{later:?} after its end");
    }
}

async fn the_keys_of_tokens_of_the_command_line_and_of_each_verb_are_apart(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    let token = |id| Caller::new(Actor::Token(id));
    let terminal = Caller::new(Actor::Os { uid: 0, name: "root".to_owned() });
    let keyed = |key: &str| SendOtp { idempotency_key: Some(key.to_owned()), ..ask(PHONE) };
    let mut sent = Vec::new();
    for (caller, key) in [
        (token(1), "s1"),
        (token(2), "s1"),
        (token(12), "s1"),
        (terminal.clone(), "s1"),
        (terminal.clone(), "token:1:s1"),
        (terminal.clone(), "token 1 s1"),
        (token(1), "2 s1"),
    ] {
        let first = send_as(&engine, &caller, keyed(key)).await;
        assert_eq!(send_as(&engine, &caller, keyed(key)).await, first, "the same asker's is the same");
        assert!(!sent.contains(&first.message_id), "{caller:?} {key}");
        sent.push(first.message_id);
        database.advance(1);
    }
    // Whoever runs the command, it is the same command line.
    let cron = send_as(&engine, &Caller::new(Actor::Cron), keyed("s1")).await;
    assert!(sent.contains(&cron.message_id));
    // A key that a send had is free for a verification, and the other way round.
    let answer = verify_with(&engine, "s1", guess(PHONE, &database.code_on(PHONE))).await.unwrap();
    assert_eq!(answer.verdict, Verdict::Verified);
    assert_eq!(send_as(&engine, &terminal, keyed("s1")).await.message_id, sent[3]);
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
