//! Test numbers: any E.164 shape, nothing is sent, the code is fixed, and no guess budget is lifted.

use std::time::Duration;

use smsotp::code::{Binding, Code, derive};
use smsotp::engine::{AddTestNumber, Caller, Destination, Engine, SendAnswer, SendOtp, Sent, Verdict, VerifyOtp};
use smsotp::error;
use smsotp::message::State;
use smsotp::otp::User;
use smsotp::phone::{self, Phone};
use smsotp::purpose::{BUILT_IN, Purpose};

use crate::stores::{Database, on_every_store};
use crate::world::{
    PHONE, World, ask, caller, guess, holds, phone_subject, purge, refused, reset, send, send_as, sent, verdict, verify,
};

on_every_store![
    nothing_is_sent_and_the_fixed_code_verifies_once,
    the_fixed_code_is_worth_nothing_elsewhere_and_the_computed_one_nothing_here,
    no_guess_budget_is_lifted_for_a_test_number,
    codes_that_are_held_for_many_users_give_no_more_guesses_at_the_fixed_code,
    no_sending_limit_holds_a_pipeline_back,
    a_test_number_ends_by_itself,
    a_removed_test_number_takes_its_living_codes_along,
    a_phone_that_becomes_a_test_number_loses_its_real_code,
    a_declaration_lasts_ninety_days_at_most_and_keeps_no_code,
    an_idempotency_key_holds_for_test_numbers_too,
    there_are_a_thousand_test_numbers_at_most,
];

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

async fn nothing_is_sent_and_the_fixed_code_verifies_once(database: &mut Database) {
    let engine = database.engine().await;
    let error = engine.send(&caller(), typed()).await.unwrap_err();
    assert_eq!(error.code(), error::Code::PHONE_INVALID, "before it is declared");
    declare(database, &engine).await;

    let sent = send_test(&engine).await;
    assert_eq!((sent.test, sent.state, sent.provider.as_str()), (true, State::Accepted, "test"));
    let answer = verify(&engine, TEST, &World::wrong(&fixed())).await;
    assert_eq!((answer.verdict, answer.test), (Verdict::WrongCode { tries_left: 4 }, true));
    assert_eq!(verdict(&engine, TEST, &fixed()).await, Verdict::Verified);
    assert_eq!(verdict(&engine, TEST, &fixed()).await, Verdict::AlreadyUsed);
    assert_eq!(database.sandbox.requests(), 0);
}

async fn the_fixed_code_is_worth_nothing_elsewhere_and_the_computed_one_nothing_here(database: &mut Database) {
    let engine = database.engine().await;
    declare(database, &engine).await;
    send(&engine, PHONE).await;
    if !database.code_on(PHONE).matches(&fixed()) {
        assert_eq!(verdict(&engine, PHONE, &fixed()).await, Verdict::WrongCode { tries_left: 4 });
    }
    assert_eq!(verdict(&engine, TEST, &fixed()).await, Verdict::NotFound, "nothing was asked for");
    let otp = send_test(&engine).await.otp_id;
    let row = engine.reads().otp(otp).await.unwrap().unwrap();
    let binding = Binding { nonce: &row.nonce, phone: TEST, purpose: "login", user: "ada" };
    let computed = derive(database.keyring().primary().code_key(), &binding, 6);
    assert_eq!(verdict(&engine, TEST, &computed).await, Verdict::WrongCode { tries_left: 4 });
}

async fn no_guess_budget_is_lifted_for_a_test_number(database: &mut Database) {
    let engine = database.engine().await;
    declare(database, &engine).await;
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
}

async fn codes_that_are_held_for_many_users_give_no_more_guesses_at_the_fixed_code(database: &mut Database) {
    let engine = database.engine().await;
    declare(database, &engine).await;
    let of = |nth: usize| (User::parse(&format!("u{}", nth / 4)).unwrap(), Purpose::parse(BUILT_IN[nth % 4]).unwrap());
    // Whoever verified it before has no more than others: they proved nothing.
    send_test(&engine).await;
    assert_eq!(verdict(&engine, TEST, &fixed()).await, Verdict::Verified);
    for nth in 0..40 {
        let (user, purpose) = of(nth);
        send_as(&engine, &caller(), SendOtp { user, purpose, ..typed() }).await;
    }
    let mut compared = 0;
    for nth in 0..200 {
        let (user, purpose) = of(nth % 40);
        let known = Caller { known: nth % 2 == 0, ..caller() };
        let ask = VerifyOtp { user, purpose, ..guess(TEST, &World::wrong(&fixed())) };
        match engine.verify(&known, ask).await.unwrap().verdict {
            Verdict::WrongCode { .. } => compared += 1,
            verdict => assert!(matches!(verdict, Verdict::TooManyGuesses(_)), "{verdict:?}"),
        }
    }
    assert_eq!(compared, 15, "one budget for the fixed code, not one for each otp");
    let (user, purpose) = of(39);
    let right = engine.verify(&caller(), VerifyOtp { user, purpose, ..guess(TEST, &fixed()) }).await.unwrap();
    assert!(matches!(right.verdict, Verdict::TooManyGuesses(_)), "{right:?}");
    for user in ["ada", "new"] {
        let user = User::parse(user).unwrap();
        let no = refused(engine.send(&caller(), SendOtp { user, new_code: true, ..typed() }).await.unwrap());
        assert_eq!(no.code, error::Code::TOO_MANY_GUESSES);
    }
    reset(&engine, phone_subject(TEST)).await;
    send_test(&engine).await;
    assert_eq!(verdict(&engine, TEST, &fixed()).await, Verdict::Verified);
}

async fn no_sending_limit_holds_a_pipeline_back(database: &mut Database) {
    let engine = database.engine().await;
    declare(database, &engine).await;
    for _ in 0..30 {
        assert!(send_test(&engine).await.test);
        assert_eq!(verdict(&engine, TEST, &fixed()).await, Verdict::Verified);
    }
    // And it uses up nothing of a real user's.
    assert_eq!(send(&engine, PHONE).await.state, State::Accepted);
    assert_eq!(database.sandbox.requests(), 1);
}

async fn a_test_number_ends_by_itself(database: &mut Database) {
    let engine = database.engine().await;
    declare(database, &engine).await;
    database.advance(30 * 86_400 - 1);
    send_test(&engine).await;
    database.advance(1);
    assert_eq!(verdict(&engine, TEST, &fixed()).await, Verdict::WrongCode { tries_left: 4 });
    match engine.send(&caller(), typed()).await {
        Ok(SendAnswer::Refused(no)) => assert_eq!(no.code, error::Code::TEST_NUMBER_ENDED),
        other => panic!("{:?}", other.map(sent)),
    }
    assert_eq!(purge(&engine, Duration::ZERO).await.purged.test_numbers, 1);
    assert_eq!(engine.send(&caller(), typed()).await.unwrap_err().code(), error::Code::PHONE_INVALID);
    assert_eq!(database.sandbox.requests(), 0);
}

async fn a_removed_test_number_takes_its_living_codes_along(database: &mut Database) {
    let engine = database.engine().await;
    engine.add_test_number(&caller(), declaration(database, PHONE, 30)).await.unwrap();
    let test = send(&engine, PHONE).await;
    let phone = Phone::from_e164(PHONE).unwrap();
    assert!(test.test && engine.remove_test_number(&caller(), &phone).await.unwrap());
    assert!(!engine.remove_test_number(&caller(), &phone).await.unwrap(), "a second time there is nothing to do");
    assert_eq!(verdict(&engine, PHONE, &fixed()).await, Verdict::WrongCode { tries_left: 4 });

    // A real phone from now on: a real code of its own goes out.
    let real = send(&engine, PHONE).await;
    assert_eq!((real.test, real.otp_id != test.otp_id, database.texts(PHONE).len()), (false, true, 1));
    assert_eq!(verdict(&engine, PHONE, &database.code_on(PHONE)).await, Verdict::Verified);
}

async fn a_phone_that_becomes_a_test_number_loses_its_real_code(database: &mut Database) {
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    let real = database.code_on(PHONE);
    engine.add_test_number(&caller(), declaration(database, PHONE, 30)).await.unwrap();
    send(&engine, PHONE).await;
    if !real.matches(&fixed()) {
        assert_eq!(verdict(&engine, PHONE, &real).await, Verdict::Superseded);
    }
    assert_eq!(verdict(&engine, PHONE, &fixed()).await, Verdict::Verified);
    assert_eq!(database.sandbox.requests(), 1);
}

async fn a_declaration_lasts_ninety_days_at_most_and_keeps_no_code(database: &mut Database) {
    let engine = database.engine().await;
    for days in [0, 91] {
        let error = engine.add_test_number(&caller(), declaration(database, TEST, days)).await.unwrap_err();
        assert_eq!(error.code(), error::Code::VALUE_INVALID, "{days} days");
    }
    let unique = AddTestNumber { code: Code::parse("9081726354").unwrap(), ..declaration(database, TEST, 90) };
    engine.add_test_number(&caller(), unique).await.unwrap();
    send_test(&engine).await;
    let ok = engine.verify(&caller(), guess(TEST, &Code::parse("9081726354").unwrap())).await.unwrap();
    assert_eq!(ok.verdict, Verdict::Verified);
    for (path, bytes) in crate::world::files(database.dir.path()) {
        assert!(!holds(&bytes, b"9081726354"), "{}", path.display());
    }
}

async fn an_idempotency_key_holds_for_test_numbers_too(database: &mut Database) {
    let engine = database.engine().await;
    declare(database, &engine).await;
    let keyed = || SendOtp { idempotency_key: Some("k".to_owned()), ..typed() };
    let first = send_as(&engine, &caller(), keyed()).await;
    assert_eq!(send_as(&engine, &caller(), keyed()).await, first);
    assert_eq!(database.number("SELECT count(*) FROM messages"), 1);
}

async fn there_are_a_thousand_test_numbers_at_most(database: &mut Database) {
    let engine = database.engine().await;
    let tag = if database.url.is_some() { r"'\x00'" } else { "x'00'" }.replace("00", &"00".repeat(32));
    let until = database.now().millis() + 3_600_000;
    let rows: Vec<String> = (0..999).map(|n| format!("('+1999000{n:04}', {tag}, {until}, 0, 'test')")).collect();
    let columns = "phone_number, code_tag, until, added_at, added_by";
    database.change(&format!("INSERT INTO test_numbers ({columns}) VALUES {}", rows.join(", ")));
    engine.add_test_number(&caller(), declaration(database, TEST, 30)).await.unwrap();
    let error = engine.add_test_number(&caller(), declaration(database, PHONE, 30)).await.unwrap_err();
    assert_eq!(error.code(), error::Code::VALUE_INVALID);
    assert!(error.message().contains("1000"), "{error}");
    // Rows that no operation wrote.
    database.change("DELETE FROM test_numbers WHERE added_by = 'test'");
}
