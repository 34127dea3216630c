//! verify: one success for one code, no more guesses than the budgets hold, and one answer for whoever may not know more.

use std::time::Duration;

use smsotp::audit::Actor;
use smsotp::clock::Timestamp;
use smsotp::code::Code;
use smsotp::engine::{Caller, Engine, Revoke, SendAnswer, SendOtp, Subject, Verdict, VerifyOtp};
use smsotp::error;
use smsotp::limits::{Limit, Limits, Window};
use smsotp::otp::User;
use smsotp::phone::Phone;
use smsotp::purpose::Purpose;
use smsotp::sandbox::Fault;

use crate::processes::phone;
use crate::stores::{Database, on_every_store};
use crate::world::{
    OTHER, PHONE, World, ada, ask, caller, client, guess, phone_subject, purge, refusal, refused, reset, revoke, send,
    send_as, unlimited, usage, verdict,
};

on_every_store![
    the_right_code_is_verified_once_and_never_again,
    a_code_is_valid_to_the_last_millisecond_of_its_ten_minutes_and_not_after,
    five_wrong_guesses_lock_a_code_and_a_resend_does_not_open_it,
    a_code_is_locked_and_not_compared_where_fewer_guesses_are_allowed_than_were_made,
    a_wrong_guess_is_in_the_database_before_the_answer_is_given,
    a_code_is_worth_nothing_for_another_phone_purpose_or_user,
    a_row_that_was_moved_to_another_phone_purpose_or_user_in_the_database_verifies_nothing,
    what_is_no_code_is_bad_data_and_no_guess,
    fifteen_wrong_guesses_of_a_user_stop_their_new_codes_for_all_purposes_but_no_guess_that_is_left,
    fifteen_wrong_guesses_at_a_phone_do_not_stop_whoever_verified_it_in_the_last_90_days,
    guesses_count_in_the_budgets_of_those_who_asked_for_the_code,
    thirty_wrong_guesses_close_an_address_and_its_64_bits_for_an_hour,
    a_hundred_wrong_guesses_in_a_row_close_a_user_and_phone_until_staff_opens_them,
    a_success_ends_the_row_of_wrong_guesses,
    asking_where_no_code_lives_closes_nothing_but_the_caller,
    a_token_of_a_user_has_a_budget_of_its_own_for_codes_that_open_nothing,
    what_is_over_says_how_it_ended,
    revoke_ends_what_lives_for_a_phone_and_nothing_else,
    a_spent_address_learns_when_to_come_back_and_not_whether_a_code_exists,
];

async fn the_right_code_is_verified_once_and_never_again(database: &mut Database) {
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    let code = database.code_on(PHONE);

    assert_eq!(verdict(&engine, PHONE, &World::wrong(&code)).await, Verdict::WrongCode { tries_left: 4 });
    assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Verified);
    assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::AlreadyUsed);

    // Also after the database was closed and opened again.
    assert_eq!(verdict(&database.engine().await, PHONE, &code).await, Verdict::AlreadyUsed);
    assert_eq!(verdict(&engine, OTHER, &code).await, Verdict::NotFound);
}

async fn a_code_is_valid_to_the_last_millisecond_of_its_ten_minutes_and_not_after(database: &mut Database) {
    let engine = database.engine().await;
    let sent = send(&engine, PHONE).await;
    database.clock.set(Timestamp(sent.expires_at.millis()));
    assert_eq!(verdict(&engine, PHONE, &database.code_on(PHONE)).await, Verdict::Expired);
    // It was met, and so it is written.
    assert_eq!(database.word("SELECT state FROM otps"), "expired");
    assert_eq!(database.number("SELECT count(*) FROM otps WHERE ended_at = expires_at"), 1);

    let sent = send(&engine, OTHER).await;
    database.clock.set(Timestamp(sent.expires_at.millis() - 1));
    assert_eq!(verdict(&engine, OTHER, &database.code_on(OTHER)).await, Verdict::Verified);
}

async fn five_wrong_guesses_lock_a_code_and_a_resend_does_not_open_it(database: &mut Database) {
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    let code = database.code_on(PHONE);
    for left in [4, 3] {
        assert_eq!(verdict(&engine, PHONE, &World::wrong(&code)).await, Verdict::WrongCode { tries_left: left });
    }
    database.advance(31);
    assert!(send(&engine, PHONE).await.resent);
    assert_eq!(database.code_on(PHONE).expose(), code.expose(), "the same code again");
    for left in [2, 1, 0] {
        assert_eq!(verdict(&engine, PHONE, &World::wrong(&code)).await, Verdict::WrongCode { tries_left: left });
    }
    assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Locked);
    // Neither opening the database again nor a reset of the limits gives a guess back.
    reset(&engine, phone_subject(PHONE)).await;
    assert_eq!(verdict(&database.engine().await, PHONE, &code).await, Verdict::Locked);
}

async fn a_code_is_locked_and_not_compared_where_fewer_guesses_are_allowed_than_were_made(database: &mut Database) {
    // Three wrong guesses were made while five were allowed; then the configuration allows fewer.
    for allowed in [4, 3, 2] {
        let to = phone(allowed as usize);
        database.policy.limits.guesses_per_otp = 5;
        let engine = database.engine().await;
        send(&engine, &to).await;
        let code = database.code_on(&to);
        for left in [4, 3, 2] {
            assert_eq!(verdict(&engine, &to, &World::wrong(&code)).await, Verdict::WrongCode { tries_left: left });
        }
        database.policy.limits.guesses_per_otp = allowed;
        let verdict = verdict(&database.engine().await, &to, &code).await;
        assert_eq!(verdict, if allowed == 4 { Verdict::Verified } else { Verdict::Locked }, "{allowed}");
        let state = database.word(&format!("SELECT state FROM otps WHERE phone_number = '{to}'"));
        assert_eq!(state, if allowed == 4 { "verified" } else { "locked" });
    }
}

async fn a_wrong_guess_is_in_the_database_before_the_answer_is_given(database: &mut Database) {
    send(&database.engine().await, PHONE).await;
    let code = database.code_on(PHONE);
    for wrong in 1..=5 {
        // Each guess by an engine of its own: as a process would.
        verdict(&database.engine().await, PHONE, &World::wrong(&code)).await;
        assert_eq!(database.number("SELECT wrong_guesses FROM otps"), wrong);
    }
    assert_eq!(verdict(&database.engine().await, PHONE, &code).await, Verdict::Locked);
}

fn of(phone: &str, purpose: &str, user: &str, code: &Code) -> VerifyOtp {
    VerifyOtp {
        phone: Phone::from_e164(phone).unwrap(),
        purpose: Purpose::parse(purpose).unwrap(),
        user: User::parse(user).unwrap(),
        code: code.clone(),
        idempotency_key: None,
    }
}

async fn a_code_is_worth_nothing_for_another_phone_purpose_or_user(database: &mut Database) {
    // With and without a living otp where it is tried.
    database.unlimited();
    let engine = database.engine().await;
    for lives_there in [false, true] {
        send(&engine, PHONE).await;
        let code = database.code_on(PHONE);
        let swaps =
            [(OTHER, "login", "ada"), (PHONE, "registration", "ada"), (PHONE, "login", "bob"), (PHONE, "login", "")];
        for (phone, purpose, user) in swaps {
            if lives_there {
                let purpose = Purpose::parse(purpose).unwrap();
                let user = User::parse(user).unwrap();
                send_as(&engine, &caller(), SendOtp { purpose, user, ..ask(phone) }).await;
            }
            let answer = engine.verify(&caller(), of(phone, purpose, user, &code)).await.unwrap();
            let wanted = if lives_there { Verdict::WrongCode { tries_left: 4 } } else { Verdict::NotFound };
            assert_eq!(answer.verdict, wanted, "{phone} {purpose} {user}");
            assert_eq!(answer.other_user, !lives_there && (phone, purpose) == (PHONE, "login"));
        }
        assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Verified);
    }
}

async fn a_row_that_was_moved_to_another_phone_purpose_or_user_in_the_database_verifies_nothing(
    database: &mut Database,
) {
    database.unlimited();
    let engine = database.engine().await;
    for (nth, (column, value)) in
        [("phone_number", OTHER), ("purpose", "registration"), ("\"user\"", "bob")].into_iter().enumerate()
    {
        let to = phone(nth);
        send(&engine, &to).await;
        let code = database.code_on(&to);
        database.change(&format!("UPDATE otps SET {column} = '{value}' WHERE phone_number = '{to}'"));
        let moved = |wanted: &str, was: &'static str| if column == wanted { value } else { was };
        let phone = if column == "phone_number" { value } else { &to };
        let ask = of(phone, moved("purpose", "login"), moved("\"user\"", "ada"), &code);
        let answer = engine.verify(&caller(), ask).await.unwrap();
        assert_eq!(answer.verdict, Verdict::WrongCode { tries_left: 4 }, "{column}");
    }
}

async fn what_is_no_code_is_bad_data_and_no_guess(database: &mut Database) {
    for text in ["", "   ", "-", "12345", "12 34", "1234567890123", "abcdef", "１２３４５６", "123456\u{0}", "12345６"]
    {
        let code = Code::parse(text);
        let is_code = matches!(text, "12345" | "12 34");
        assert_eq!(code.is_ok(), is_code, "{text:?}");
    }
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    // Of another length: a slip of the finger, refused before it counts.
    let code = database.code_on(PHONE);
    for text in [format!("{}0", code.expose()), code.expose()[1..].to_owned()] {
        let slip = guess(PHONE, &Code::parse(&text).unwrap());
        let error = engine.verify(&caller(), slip).await.unwrap_err();
        assert_eq!(error.code(), error::Code::CODE_INVALID);
    }
    let wrong = verdict(&engine, PHONE, &World::wrong(&code)).await;
    assert_eq!(wrong, Verdict::WrongCode { tries_left: 4 });
}

/// Spends every guess of a new code of this user and purpose.
async fn spend(database: &Database, engine: &Engine, caller: &Caller, user: &str, purpose: &str) {
    let user = User::parse(user).unwrap();
    let purpose = Purpose::parse(purpose).unwrap();
    send_as(engine, caller, SendOtp { user: user.clone(), purpose: purpose.clone(), ..ask(PHONE) }).await;
    let code = World::wrong(&database.code_on(PHONE));
    for left in (0..5).rev() {
        let (user, purpose) = (user.clone(), purpose.clone());
        let answer = engine.verify(caller, VerifyOtp { user, purpose, ..guess(PHONE, &code) }).await.unwrap();
        assert_eq!(answer.verdict, Verdict::WrongCode { tries_left: left });
    }
}

/// Whether a new code for this user and purpose is refused, and by which limits.
async fn refused_by(engine: &Engine, caller: &Caller, user: &str, purpose: &str) -> Vec<Limit> {
    let (user, purpose) = (User::parse(user).unwrap(), Purpose::parse(purpose).unwrap());
    let ask = SendOtp { user, purpose, new_code: true, ..ask(PHONE) };
    match engine.send(caller, ask).await.unwrap() {
        SendAnswer::Sent(_) => Vec::new(),
        SendAnswer::Refused(no) => no.hits.iter().map(|hit| hit.limit).collect(),
    }
}

async fn fifteen_wrong_guesses_of_a_user_stop_their_new_codes_for_all_purposes_but_no_guess_that_is_left(
    database: &mut Database,
) {
    database.policy.limits = Limits { guesses_per_user: Limits::default().guesses_per_user, ..unlimited() };
    let engine = database.engine().await;
    let anybody = caller();
    for purpose in ["login", "registration"] {
        spend(database, &engine, &anybody, "ada", purpose).await;
    }
    // A code that is live before the fifteenth guess takes all that are left in it after that.
    send(&engine, PHONE).await;
    let live = database.code_on(PHONE);
    spend(database, &engine, &anybody, "ada", "password_reset").await;
    for purpose in ["login", "registration", "password_reset", "phone_verification"] {
        assert_eq!(refused_by(&engine, &anybody, "ada", purpose).await, [Limit::GuessesPerUser], "{purpose}");
    }
    let no = refused(engine.send(&anybody, SendOtp { new_code: true, ..ask(PHONE) }).await.unwrap());
    assert_eq!((no.code, no.hits[0].used, no.retry_after_seconds), (error::Code::TOO_MANY_GUESSES, 15, Some(86_400)));
    assert!(no.hint.contains("limits reset PHONE --user ID"), "{}", no.hint);
    assert!(send(&engine, PHONE).await.resent, "it is no new code");
    assert_eq!(verdict(&engine, PHONE, &World::wrong(&live)).await, Verdict::WrongCode { tries_left: 4 });
    assert_eq!(verdict(&engine, PHONE, &live).await, Verdict::Verified);
    // Another user of the phone has a budget of their own.
    assert_eq!(refused_by(&engine, &anybody, "bob", "login").await, []);
    reset(&engine, phone_subject(PHONE)).await;
    assert_eq!(refused_by(&engine, &anybody, "ada", "login").await, []);
}

async fn fifteen_wrong_guesses_at_a_phone_do_not_stop_whoever_verified_it_in_the_last_90_days(database: &mut Database) {
    database.policy.limits = Limits { guesses_per_phone: Limits::default().guesses_per_phone, ..unlimited() };
    let engine = database.engine().await;
    let anybody = caller();
    // Strangers, each with an account and a purpose of their own, cannot keep the owner of the phone from codes.
    send(&engine, PHONE).await;
    assert_eq!(verdict(&engine, PHONE, &database.code_on(PHONE)).await, Verdict::Verified);
    let strangers = [("eve", "login"), ("mallory", "registration"), ("", "login")];
    for (user, purpose) in strangers {
        spend(database, &engine, &anybody, user, purpose).await;
    }
    for (user, purpose) in [("eve", "registration"), ("trudy", "login"), ("", "password_reset")] {
        assert_eq!(refused_by(&engine, &anybody, user, purpose).await, [Limit::GuessesPerPhone], "{user} {purpose}");
    }
    for purpose in ["login", "registration"] {
        assert_eq!(refused_by(&engine, &anybody, "ada", purpose).await, [], "{purpose}");
    }
    // A purge does not forget who verified the phone, and after 90 days they are a stranger like any other.
    database.advance(90 * 86_400 - 1);
    purge(&engine, Duration::ZERO).await;
    for (user, purpose) in strangers {
        spend(database, &engine, &anybody, user, purpose).await;
    }
    assert_eq!(refused_by(&engine, &anybody, "ada", "login").await, []);
    database.advance(1);
    assert_eq!(refused_by(&engine, &anybody, "ada", "login").await, [Limit::GuessesPerPhone]);
}

async fn guesses_count_in_the_budgets_of_those_who_asked_for_the_code(database: &mut Database) {
    let Limits { guesses_per_user, guesses_per_phone, .. } = Limits::default();
    database.policy.limits = Limits { guesses_per_user, guesses_per_phone, ..unlimited() };
    let engine = database.engine().await;
    let (anybody, known) = (caller(), Caller { known: true, ..caller() });
    for purpose in ["login", "registration", "password_reset"] {
        spend(database, &engine, &anybody, "ada", purpose).await;
    }
    let closed = [Limit::GuessesPerUser, Limit::GuessesPerPhone];
    assert_eq!(refused_by(&engine, &anybody, "ada", "login").await, closed);
    // Whoever is vouched for has budgets of their own, and whoever is not cannot spend them twice by taking turns.
    for purpose in ["login", "registration", "password_reset"] {
        let purpose = Purpose::parse(purpose).unwrap();
        send_as(&engine, &known, SendOtp { purpose: purpose.clone(), ..ask(PHONE) }).await;
        let code = World::wrong(&database.code_on(PHONE));
        for _ in 0..5 {
            let ask = VerifyOtp { purpose: purpose.clone(), ..guess(PHONE, &code) };
            engine.verify(&anybody, ask).await.unwrap();
        }
    }
    assert_eq!(refused_by(&engine, &known, "ada", "login").await, closed);
}

async fn thirty_wrong_guesses_close_an_address_and_its_64_bits_for_an_hour(database: &mut Database) {
    database.policy.limits = Limits { guesses_per_ip: Limits::default().guesses_per_ip, ..unlimited() };
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    let code = database.code_on(PHONE);
    for n in 0..30 {
        let client = client(&format!("2001:db8:0:1::{n:x}"));
        let other = guess(&phone(n), &code);
        assert_eq!(engine.verify(&client, other).await.unwrap().verdict, Verdict::NotFound);
    }
    let closed = engine.verify(&client("2001:db8:0:1::ffff"), guess(PHONE, &code)).await.unwrap().verdict;
    let Verdict::TooManyGuesses(hit) = closed else { panic!("{closed:?}") };
    assert_eq!((hit.subject.as_str(), hit.max, hit.retry_after_seconds), ("ip", 30, Some(3600)));
    // Nothing was compared and nothing counted; another network is free, and so is this one after the hour.
    assert_eq!(database.number("SELECT wrong_guesses FROM otps"), 0);
    assert_eq!(
        engine.verify(&client("2001:db8:0:2::1"), guess(PHONE, &World::wrong(&code))).await.unwrap().verdict,
        Verdict::WrongCode { tries_left: 4 }
    );
    database.advance(3600);
    assert_eq!(engine.verify(&client("2001:db8:0:1::1"), guess(PHONE, &code)).await.unwrap().verdict, Verdict::Expired);
}

async fn a_hundred_wrong_guesses_in_a_row_close_a_user_and_phone_until_staff_opens_them(database: &mut Database) {
    database.policy.limits = Limits { guesses_in_a_row: 100, ..unlimited() };
    let engine = database.engine().await;
    for round in 0..20 {
        send_as(&engine, &caller(), SendOtp { new_code: true, ..ask(PHONE) }).await;
        for _ in 0..5 {
            assert!(
                !matches!(
                    verdict(&engine, PHONE, &World::wrong(&database.code_on(PHONE))).await,
                    Verdict::TooManyGuesses(_)
                ),
                "{round}"
            );
        }
    }
    let known = Caller { known: true, ..caller() };
    assert_eq!(refusal(&engine, PHONE).await.retry_after_seconds, None, "no SMS for a code that cannot be verified");
    let sent = send_as(&engine, &known, ask(PHONE)).await;
    let code = database.code_on(PHONE);
    database.advance(60);
    // Neither time nor a purge opens it, nor the right code; another user of the phone is free.
    purge(&engine, Duration::ZERO).await;
    let closed = verdict(&engine, PHONE, &code).await;
    assert!(matches!(&closed, Verdict::TooManyGuesses(hit) if hit.retry_after_seconds.is_none()), "{closed:?}");
    let bob = engine.verify(&caller(), of(PHONE, "login", "bob", &code)).await.unwrap();
    assert_eq!(bob.verdict, Verdict::NotFound);
    // Who is vouched for has a budget of their own.
    assert_eq!(engine.verify(&known, guess(PHONE, &code)).await.unwrap().verdict, Verdict::Verified);

    assert!(reset(&engine, phone_subject(PHONE)).await.guesses >= 100);
    assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::AlreadyUsed);
    assert_ne!(send(&engine, PHONE).await.otp_id, sent.otp_id);
}

async fn a_success_ends_the_row_of_wrong_guesses(database: &mut Database) {
    database.policy.limits = Limits { guesses_in_a_row: 6, ..unlimited() };
    let engine = database.engine().await;
    for _ in 0..4 {
        send_as(&engine, &caller(), SendOtp { new_code: true, ..ask(PHONE) }).await;
        let code = database.code_on(PHONE);
        for _ in 0..4 {
            verdict(&engine, PHONE, &World::wrong(&code)).await;
        }
        assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Verified);
    }
}

/// Every way in which no code lives, by its phone: the verdict on a wrong code there.
async fn without_a_live_code(database: &mut Database, engine: &Engine) -> Vec<(String, &'static str)> {
    let number = |nth: usize| phone(100 + nth);
    for nth in 1..=4 {
        send(engine, &number(nth)).await;
    }
    assert_eq!(verdict(engine, &number(1), &database.code_on(&number(1))).await, Verdict::Verified);
    revoke(engine, &number(2)).await;
    for _ in 0..5 {
        verdict(engine, &number(3), &World::wrong(&database.code_on(&number(3)))).await;
    }
    database.advance(600);
    database.sandbox.fault(Fault::Code(30_001), 1);
    send(engine, &number(5)).await;
    let kinds = ["NotFound", "AlreadyUsed", "Revoked", "Locked", "Expired", "SendFailed"];
    (0..6).map(number).zip(kinds).collect()
}

async fn asking_where_no_code_lives_closes_nothing_but_the_caller(database: &mut Database) {
    let Limits { guesses_per_user, guesses_per_phone, guesses_per_ip, guesses_in_a_row, .. } = Limits::default();
    database.policy.limits =
        Limits { guesses_per_user, guesses_per_phone, guesses_per_ip, guesses_in_a_row, ..unlimited() };
    let engine = database.engine().await;
    let somewhere = without_a_live_code(database, &engine).await;
    let code = Code::parse("000000").unwrap();
    for (to, kind) in &somewhere {
        let before = usage(&engine, phone_subject(to)).await;
        let of_user = Subject::Pair(ada(), Phone::from_e164(to).unwrap());
        let before = (before.guesses, usage(&engine, of_user.clone()).await.in_a_row);
        // Five addresses, thirty times each: more than any budget of the phone or the user.
        for nth in 0..120 {
            let from = client(&format!("192.0.2.{}", nth % 5));
            let verdict = engine.verify(&from, guess(to, &code)).await.unwrap().verdict;
            assert!(format!("{verdict:?}").starts_with(kind), "{verdict:?}, not {kind}");
        }
        let after = (usage(&engine, phone_subject(to)).await.guesses, usage(&engine, of_user).await.in_a_row);
        assert_eq!(after, before, "{kind}");
        // The owner asks for a code, and it verifies.
        send(&engine, to).await;
        assert_eq!(verdict(&engine, to, &database.code_on(to)).await, Verdict::Verified, "{kind}");
        database.advance(3600);
    }
    // The caller's address has its budget, whatever is there.
    for nth in 0..30 {
        engine.verify(&client("192.0.2.77"), guess(&somewhere[nth % 6].0, &code)).await.unwrap();
    }
    send(&engine, PHONE).await;
    let closed = engine.verify(&client("192.0.2.77"), guess(PHONE, &database.code_on(PHONE))).await.unwrap().verdict;
    assert!(matches!(&closed, Verdict::TooManyGuesses(hit) if hit.limit == Limit::GuessesPerIp), "{closed:?}");
}

async fn a_token_of_a_user_has_a_budget_of_its_own_for_codes_that_open_nothing(database: &mut Database) {
    database.policy.limits = Limits { guesses_per_token: vec![Window::new(3, 3600)], ..unlimited() };
    let engine = database.engine().await;
    let of_token = |id| Caller { user_token: Some(id), ..Caller::new(Actor::Token(id)) };
    send(&engine, PHONE).await;
    let code = database.code_on(PHONE);
    for nth in 0..3 {
        assert_eq!(engine.verify(&of_token(7), guess(&phone(nth), &code)).await.unwrap().verdict, Verdict::NotFound);
    }
    let closed = engine.verify(&of_token(7), guess(PHONE, &code)).await.unwrap().verdict;
    let Verdict::TooManyGuesses(hit) = &closed else { panic!("{closed:?}") };
    assert_eq!((hit.limit, hit.retry_after_seconds), (Limit::GuessesPerToken, Some(3600)));
    assert_eq!(closed.closed_for_caller(&of_token(7)), Some(hit));
    // Another token is free, and so is this one after the hour, or after a reset.
    let wrong = World::wrong(&code);
    let other = engine.verify(&of_token(8), guess(PHONE, &wrong)).await.unwrap().verdict;
    assert_eq!(other, Verdict::WrongCode { tries_left: 4 });
    assert_eq!(reset(&engine, Subject::Token(7)).await.guesses, 3);
    assert_eq!(engine.verify(&of_token(7), guess(PHONE, &code)).await.unwrap().verdict, Verdict::Verified);
}

async fn what_is_over_says_how_it_ended(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    let what = Revoke::Id(database.number("SELECT id FROM otps"));
    assert_eq!(engine.revoke(&caller(), &what, "lost phone").await.unwrap().len(), 1);
    assert_eq!(verdict(&engine, PHONE, &database.code_on(PHONE)).await, Verdict::Revoked);
    assert!(engine.revoke(&caller(), &what, "again").await.unwrap().is_empty());

    database.sandbox.fault(Fault::Code(30_001), 1);
    send(&engine, OTHER).await;
    assert_eq!(verdict(&engine, OTHER, &Code::parse("123456").unwrap()).await, Verdict::SendFailed);

    let purpose = Purpose::parse("haircut").unwrap();
    let error =
        engine.verify(&caller(), VerifyOtp { purpose, ..guess(PHONE, &database.code_on(PHONE)) }).await.unwrap_err();
    assert_eq!(error.code(), error::Code::PURPOSE_UNKNOWN);
}

async fn revoke_ends_what_lives_for_a_phone_and_nothing_else(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    let mut otps = Vec::new();
    for (phone, user) in [(PHONE, "ada"), (PHONE, "bob"), (OTHER, "ada")] {
        otps.push(send_as(&engine, &caller(), SendOtp { user: User::parse(user).unwrap(), ..ask(phone) }).await.otp_id);
    }
    let bobs = Revoke::Phone(Phone::from_e164(PHONE).unwrap(), None, Some(User::parse("bob").unwrap()));
    let revoked = engine.revoke(&caller(), &bobs, "fraud").await.unwrap();
    assert_eq!(revoked.iter().map(|one| one.otp_id).collect::<Vec<_>>(), otps[1..2]);
    assert_eq!(revoke(&engine, PHONE).await, 1, "the rest");
    assert_eq!(verdict(&engine, OTHER, &database.code_on(OTHER)).await, Verdict::Verified);
}

#[test]
fn codes_are_spread_evenly_over_all_that_there_are() {
    // 100,000 codes as the engine makes them (random nonce, one key): each digit of each place about equally often. A chi-square
    // of nine degrees of freedom passes 60 once in a thousand million runs.
    use smsotp::code::{Binding, derive};
    let ring = World::new().keyring();
    let mut seen = [[0_f64; 10]; 6];
    for _ in 0..100_000 {
        let mut nonce = [0; 16];
        smsotp::keys::fill_random(&mut nonce).unwrap();
        let binding = Binding { nonce: &nonce, phone: PHONE, purpose: "login", user: "ada" };
        let code = derive(ring.primary().code_key(), &binding, 6);
        for (place, digit) in code.expose().bytes().enumerate() {
            seen[place][usize::from(digit - b'0')] += 1.0;
        }
    }
    for (place, digits) in seen.iter().enumerate() {
        let chi_square: f64 = digits.iter().map(|n| (n - 10_000.0).powi(2) / 10_000.0).sum();
        assert!(chi_square < 60.0, "place {place}: {chi_square}");
    }
}

async fn a_spent_address_learns_when_to_come_back_and_not_whether_a_code_exists(database: &mut Database) {
    database.policy.limits = Limits { guesses_per_ip: vec![Window::new(3, 3600)], ..unlimited() };
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    let code = database.code_on(PHONE);
    for _ in 0..3 {
        engine.verify(&client("192.0.2.1"), guess(PHONE, &World::wrong(&code))).await.unwrap();
    }
    let here = engine.verify(&client("192.0.2.1"), guess(PHONE, &code)).await.unwrap();
    let nowhere = engine.verify(&client("192.0.2.1"), guess(OTHER, &code)).await.unwrap();
    assert_eq!(here, nowhere);
    let no = refused(engine.send(&client("192.0.2.1"), ask(PHONE)).await.unwrap());
    assert_eq!(no.code, error::Code::TOO_MANY_GUESSES);
}
