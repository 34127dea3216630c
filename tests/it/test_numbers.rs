//! Test numbers: any E.164 shape, nothing is sent, the code is fixed, and no guess budget is lifted.

use std::time::Duration;

use smsotp::code::Code;
use smsotp::engine::{AddTestNumber, Destination, Engine, SendAnswer, SendOtp, Sent, Verdict};
use smsotp::error;
use smsotp::message::State;
use smsotp::phone::{self, Phone};

use crate::world::{
    PHONE, World, ask, block_on, caller, guess, holds, purge, refused, send, send_as, sent, verdict, verify,
};

const TEST: &str = "+1234567890";

fn fixed() -> Code {
    Code::parse("123456").unwrap()
}

fn declaration(world: &World, phone: &str, days: u64) -> AddTestNumber {
    let until = world.now() + Duration::from_secs(days * 86_400);
    AddTestNumber { phone: Phone::from_e164(phone).unwrap(), code: fixed(), until }
}

async fn declare(world: &World, engine: &Engine) {
    engine.add_test_number(&caller(), declaration(world, TEST, 30)).await.unwrap();
}

/// What a caller types: a number that no country's plan knows.
fn typed() -> SendOtp {
    let error = phone::parse(TEST, None).err().unwrap();
    SendOtp { to: Destination::Shape(Phone::from_e164(TEST).unwrap(), error), ..ask(PHONE) }
}

async fn send_test(engine: &Engine) -> Sent {
    send_as(engine, &caller(), typed()).await
}

#[test]
fn nothing_is_sent_and_the_fixed_code_verifies_once() {
    let world = World::new();
    block_on(async {
        let engine = world.engine();
        let error = engine.send(&caller(), typed()).await.unwrap_err();
        assert_eq!(error.code(), error::Code::PHONE_INVALID, "before it is declared");
        declare(&world, &engine).await;

        let sent = send_test(&engine).await;
        assert_eq!((sent.test, sent.state, sent.provider.as_str()), (true, State::Accepted, "test"));
        let answer = verify(&engine, TEST, &World::wrong(&fixed())).await;
        assert_eq!((answer.verdict, answer.test), (Verdict::WrongCode { tries_left: 4 }, true));
        assert_eq!(verdict(&engine, TEST, &fixed()).await, Verdict::Verified);
        assert_eq!(verdict(&engine, TEST, &fixed()).await, Verdict::AlreadyUsed);
    });
    assert_eq!(world.sandbox.requests(), 0);
}

#[test]
fn the_fixed_code_is_worth_nothing_elsewhere_and_the_computed_one_nothing_here() {
    let world = World::new();
    block_on(async {
        let engine = world.engine();
        declare(&world, &engine).await;
        send(&engine, PHONE).await;
        if !world.code_on(PHONE).matches(&fixed()) {
            assert_eq!(verdict(&engine, PHONE, &fixed()).await, Verdict::WrongCode { tries_left: 4 });
        }
        assert_eq!(verdict(&engine, TEST, &fixed()).await, Verdict::NotFound, "nothing was asked for");
        send_test(&engine).await;
        let row = engine.reads().otp(2).await.unwrap().unwrap();
        let binding = smsotp::code::Binding { nonce: &row.nonce, phone: TEST, purpose: "login", user: "ada" };
        let computed = smsotp::code::derive(world.keyring().primary().code_key(), &binding, 6);
        assert_eq!(verdict(&engine, TEST, &computed).await, Verdict::WrongCode { tries_left: 4 });
    });
}

#[test]
fn no_guess_budget_is_lifted_for_a_test_number() {
    let world = World::new();
    block_on(async {
        let engine = world.engine();
        declare(&world, &engine).await;
        for _ in 0..3 {
            send_as(&engine, &caller(), SendOtp { new_code: true, ..typed() }).await;
            for left in (0..5).rev() {
                let wrong = verdict(&engine, TEST, &World::wrong(&fixed())).await;
                assert_eq!(wrong, Verdict::WrongCode { tries_left: left });
            }
            assert_eq!(verdict(&engine, TEST, &fixed()).await, Verdict::Locked);
        }
        let no = refused(engine.send(&caller(), typed()).await.unwrap());
        assert_eq!(no.code, error::Code::TOO_MANY_GUESSES);
    });
}

#[test]
fn no_sending_limit_holds_a_pipeline_back() {
    let world = World::new();
    block_on(async {
        let engine = world.engine();
        declare(&world, &engine).await;
        for _ in 0..30 {
            assert!(send_test(&engine).await.test);
            assert_eq!(verdict(&engine, TEST, &fixed()).await, Verdict::Verified);
        }
        // And it uses up nothing of a real user's.
        assert_eq!(send(&engine, PHONE).await.state, State::Accepted);
    });
    assert_eq!(world.sandbox.requests(), 1);
}

#[test]
fn a_test_number_ends_by_itself() {
    let world = World::new();
    block_on(async {
        let engine = world.engine();
        declare(&world, &engine).await;
        world.advance(30 * 86_400 - 1);
        send_test(&engine).await;
        world.advance(1);
        assert_eq!(verdict(&engine, TEST, &fixed()).await, Verdict::WrongCode { tries_left: 4 });
        match engine.send(&caller(), typed()).await {
            Ok(SendAnswer::Refused(no)) => assert_eq!(no.code, error::Code::TEST_NUMBER_ENDED),
            other => panic!("{:?}", other.map(sent)),
        }
        assert_eq!(purge(&engine, Duration::ZERO).await.purged.test_numbers, 1);
        assert_eq!(engine.send(&caller(), typed()).await.unwrap_err().code(), error::Code::PHONE_INVALID);
    });
    assert_eq!(world.sandbox.requests(), 0);
}

#[test]
fn a_removed_test_number_takes_its_living_codes_along() {
    let world = World::new();
    block_on(async {
        let engine = world.engine();
        engine.add_test_number(&caller(), declaration(&world, PHONE, 30)).await.unwrap();
        let test = send(&engine, PHONE).await;
        let phone = Phone::from_e164(PHONE).unwrap();
        assert!(test.test && engine.remove_test_number(&caller(), &phone).await.unwrap());
        assert!(!engine.remove_test_number(&caller(), &phone).await.unwrap(), "a second time there is nothing to do");
        assert_eq!(verdict(&engine, PHONE, &fixed()).await, Verdict::WrongCode { tries_left: 4 });

        // A real phone from now on: a real code of its own goes out.
        let real = send(&engine, PHONE).await;
        assert_eq!((real.test, real.otp_id != test.otp_id, world.texts(PHONE).len()), (false, true, 1));
        assert_eq!(verdict(&engine, PHONE, &world.code_on(PHONE)).await, Verdict::Verified);
    });
}

#[test]
fn a_phone_that_becomes_a_test_number_loses_its_real_code() {
    let world = World::new();
    block_on(async {
        let engine = world.engine();
        send(&engine, PHONE).await;
        let real = world.code_on(PHONE);
        engine.add_test_number(&caller(), declaration(&world, PHONE, 30)).await.unwrap();
        send(&engine, PHONE).await;
        if !real.matches(&fixed()) {
            assert_eq!(verdict(&engine, PHONE, &real).await, Verdict::Superseded);
        }
        assert_eq!(verdict(&engine, PHONE, &fixed()).await, Verdict::Verified);
    });
    assert_eq!(world.sandbox.requests(), 1);
}

#[test]
fn a_declaration_lasts_ninety_days_at_most_and_keeps_no_code() {
    let world = World::new();
    block_on(async {
        let engine = world.engine();
        for days in [0, 91] {
            let error = engine.add_test_number(&caller(), declaration(&world, TEST, days)).await.unwrap_err();
            assert_eq!(error.code(), error::Code::VALUE_INVALID, "{days} days");
        }
        let unique = AddTestNumber { code: Code::parse("9081726354").unwrap(), ..declaration(&world, TEST, 90) };
        engine.add_test_number(&caller(), unique).await.unwrap();
        send_test(&engine).await;
        let ok = engine.verify(&caller(), guess(TEST, &Code::parse("9081726354").unwrap())).await.unwrap();
        assert_eq!(ok.verdict, Verdict::Verified);
    });
    for (path, bytes) in crate::world::files(world.dir.path()) {
        assert!(!holds(&bytes, b"9081726354"), "{}", path.display());
    }
}

#[test]
fn an_idempotency_key_holds_for_test_numbers_too() {
    let world = World::new();
    block_on(async {
        let engine = world.engine();
        declare(&world, &engine).await;
        let keyed = || SendOtp { idempotency_key: Some("k".to_owned()), ..typed() };
        let first = send_as(&engine, &caller(), keyed()).await;
        assert_eq!(send_as(&engine, &caller(), keyed()).await, first);
        assert_eq!(world.number("SELECT count(*) FROM messages"), 1);
    });
}
