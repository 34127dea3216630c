//! verify: one success for one code, no more guesses than the budgets hold, and nothing told to strangers.

use smsotp::clock::Timestamp;
use smsotp::code::Code;
use smsotp::engine::{Caller, Reset, Revoke, SendOtp, Verdict, VerifyOtp};
use smsotp::error;
use smsotp::limits::Limits;
use smsotp::otp::User;
use smsotp::phone::Phone;
use smsotp::purpose::Purpose;
use smsotp::store::Subject;

use crate::world::{
    OTHER, PHONE, World, ada, ask, block_on, caller, client, guess, refusal, refused, send, send_as, unlimited, verdict,
};

#[test]
fn the_right_code_is_verified_once_and_never_again() {
    let world = World::new();
    block_on(async {
        let engine = world.engine();
        send(&engine, PHONE).await;
        let code = world.code_on(PHONE);

        assert_eq!(verdict(&engine, PHONE, &World::wrong(&code)).await, Verdict::WrongCode { tries_left: 4 });
        assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Verified);
        assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::AlreadyUsed);

        // Also after the database was closed and opened again.
        assert_eq!(verdict(&world.engine(), PHONE, &code).await, Verdict::AlreadyUsed);
    });
}

#[test]
fn a_code_is_valid_to_the_last_millisecond_of_its_ten_minutes_and_not_after() {
    let world = World::new();
    block_on(async {
        let engine = world.engine();
        let sent = send(&engine, PHONE).await;
        world.clock.set(Timestamp(sent.expires_at.millis()));
        assert_eq!(verdict(&engine, PHONE, &world.code_on(PHONE)).await, Verdict::Expired);
        // Met, and so written.
        assert_eq!(world.word("SELECT state FROM otps"), "expired");
        assert_eq!(world.number("SELECT ended_at = expires_at FROM otps"), 1);

        let sent = send(&engine, OTHER).await;
        world.clock.set(Timestamp(sent.expires_at.millis() - 1));
        assert_eq!(verdict(&engine, OTHER, &world.code_on(OTHER)).await, Verdict::Verified);
    });
}

#[test]
fn five_wrong_guesses_lock_a_code_and_a_resend_does_not_open_it() {
    let world = World::new();
    block_on(async {
        let engine = world.engine();
        send(&engine, PHONE).await;
        let code = world.code_on(PHONE);
        for left in [4, 3] {
            assert_eq!(verdict(&engine, PHONE, &World::wrong(&code)).await, Verdict::WrongCode { tries_left: left });
        }
        world.advance(31);
        assert!(send(&engine, PHONE).await.resent);
        assert_eq!(world.code_on(PHONE).expose(), code.expose(), "the same code again");
        for left in [2, 1, 0] {
            assert_eq!(verdict(&engine, PHONE, &World::wrong(&code)).await, Verdict::WrongCode { tries_left: left });
        }
        assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Locked);
        // Neither a fresh look at the database nor a reset of the limits gives a guess back.
        let subject = Subject::Phone(Phone::from_e164(PHONE).unwrap());
        let reset = Reset { subject, user: ada(), opt_out: false, reason: String::new() };
        engine.reset(&caller(), reset).await.unwrap();
        assert_eq!(verdict(&world.engine(), PHONE, &code).await, Verdict::Locked);
    });
}

#[test]
fn a_wrong_guess_is_in_the_database_before_the_no_is_heard() {
    let world = World::new();
    block_on(async {
        send(&world.engine(), PHONE).await;
        let code = world.code_on(PHONE);
        for wrong in 1..=5 {
            // Each guess by an engine of its own: as a process would.
            verdict(&world.engine(), PHONE, &World::wrong(&code)).await;
            assert_eq!(world.number("SELECT wrong_guesses FROM otps"), wrong);
        }
        assert_eq!(verdict(&world.engine(), PHONE, &code).await, Verdict::Locked);
    });
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

#[test]
fn a_code_is_worth_nothing_for_another_phone_purpose_or_user() {
    // With and without a living otp where it is tried.
    for lives_there in [false, true] {
        let world = World::unlimited();
        block_on(async {
            let engine = world.engine();
            send(&engine, PHONE).await;
            let code = world.code_on(PHONE);
            let swaps = [
                (OTHER, "login", "ada"),
                (PHONE, "registration", "ada"),
                (PHONE, "login", "bob"),
                (PHONE, "login", ""),
            ];
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
        });
    }
}

#[test]
fn a_row_that_was_moved_to_another_phone_purpose_or_user_in_the_database_verifies_nothing() {
    for (column, value) in [("phone_number", OTHER), ("purpose", "registration"), ("\"user\"", "bob")] {
        let world = World::new();
        block_on(async {
            let engine = world.engine();
            send(&engine, PHONE).await;
            let code = world.code_on(PHONE);
            world.sql().execute(&format!("UPDATE otps SET {column} = ?1"), [value]).unwrap();
            let moved = |wanted: &str, was: &'static str| if column == wanted { value } else { was };
            let (phone, purpose) = (moved("phone_number", PHONE), moved("purpose", "login"));
            let answer = engine.verify(&caller(), of(phone, purpose, moved("\"user\"", "ada"), &code)).await.unwrap();
            assert_eq!(answer.verdict, Verdict::WrongCode { tries_left: 4 }, "{column}");
        });
    }
}

#[test]
fn what_is_no_code_is_bad_data_and_no_guess() {
    for text in ["", "   ", "-", "12345", "12 34", "1234567890123", "abcdef", "１２３４５６", "123456\u{0}", "12345６"]
    {
        let code = Code::parse(text);
        let is_code = matches!(text, "12345" | "12 34");
        assert_eq!(code.is_ok(), is_code, "{text:?}");
    }
    let world = World::new();
    block_on(async {
        let engine = world.engine();
        send(&engine, PHONE).await;
        // Of another length: a slip of the finger, refused before it counts.
        let code = world.code_on(PHONE);
        for text in [format!("{}0", code.expose()), code.expose()[1..].to_owned()] {
            let slip = guess(PHONE, &Code::parse(&text).unwrap());
            let error = engine.verify(&caller(), slip).await.unwrap_err();
            assert_eq!(error.code(), error::Code::CODE_INVALID);
        }
        let wrong = verdict(&engine, PHONE, &World::wrong(&code)).await;
        assert_eq!(wrong, Verdict::WrongCode { tries_left: 4 });
    });
}

#[test]
fn fifteen_wrong_guesses_for_a_phone_stop_new_codes_but_no_guess_that_is_left() {
    let mut world = World::new();
    world.policy.limits = Limits { guesses_per_phone: Limits::default().guesses_per_phone, ..unlimited() };
    block_on(async {
        let engine = world.engine();
        for _ in 0..2 {
            send_as(&engine, &caller(), SendOtp { new_code: true, ..ask(PHONE) }).await;
            for _ in 0..5 {
                verdict(&engine, PHONE, &World::wrong(&world.code_on(PHONE))).await;
            }
        }
        // Ten are gone. Five strangers' guesses for another user of the same phone close the phone for new codes.
        send(&engine, PHONE).await;
        for _ in 0..5 {
            engine.verify(&caller(), of(PHONE, "login", "eve", &Code::parse("000000").unwrap())).await.unwrap();
        }
        let no = refusal(&engine, PHONE).await;
        assert_eq!((no.code, no.hits[0].used), (error::Code::TOO_MANY_GUESSES, 15));
        assert_eq!(no.retry_after_seconds, Some(24 * 3600));
        // Another purpose has a budget of its own, and so has who is vouched for.
        let registration = Purpose::parse("registration").unwrap();
        send_as(&engine, &caller(), SendOtp { purpose: registration, ..ask(PHONE) }).await;
        send_as(&engine, &Caller { known: true, ..caller() }, ask(PHONE)).await;

        let code = crate::world::code_in(&world.texts(PHONE)[2]);
        assert_eq!(verdict(&engine, PHONE, &World::wrong(&code)).await, Verdict::WrongCode { tries_left: 4 });
        assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Verified);
    });
}

#[test]
fn thirty_wrong_guesses_close_an_address_and_its_64_bits_for_an_hour() {
    let mut world = World::new();
    world.policy.limits = Limits { guesses_per_ip: Limits::default().guesses_per_ip, ..unlimited() };
    block_on(async {
        let engine = world.engine();
        send(&engine, PHONE).await;
        let code = world.code_on(PHONE);
        for n in 0..30 {
            let client = client(&format!("2001:db8:0:1::{n:x}"));
            let other = guess(&crate::processes::phone(n), &code);
            assert_eq!(engine.verify(&client, other).await.unwrap().verdict, Verdict::NotFound);
        }
        let closed = engine.verify(&client("2001:db8:0:1::ffff"), guess(PHONE, &code)).await.unwrap().verdict;
        let Verdict::TooManyGuesses(hit) = closed else { panic!("{closed:?}") };
        assert_eq!((hit.subject.as_str(), hit.max, hit.retry_after_seconds), ("ip", 30, Some(3600)));
        // Nothing was compared and nothing counted; another network is free, and so is this one after the hour.
        assert_eq!(world.number("SELECT wrong_guesses FROM otps"), 0);
        assert_eq!(
            engine.verify(&client("2001:db8:0:2::1"), guess(PHONE, &World::wrong(&code))).await.unwrap().verdict,
            Verdict::WrongCode { tries_left: 4 }
        );
        world.advance(3600);
        assert_eq!(
            engine.verify(&client("2001:db8:0:1::1"), guess(PHONE, &code)).await.unwrap().verdict,
            Verdict::Expired
        );
    });
}

#[test]
fn a_hundred_wrong_guesses_in_a_row_close_a_user_and_phone_until_staff_opens_them() {
    let mut world = World::new();
    world.policy.limits = Limits { guesses_in_a_row: 100, ..unlimited() };
    block_on(async {
        let engine = world.engine();
        for round in 0..20 {
            send_as(&engine, &caller(), SendOtp { new_code: true, ..ask(PHONE) }).await;
            for _ in 0..5 {
                assert!(
                    !matches!(
                        verdict(&engine, PHONE, &World::wrong(&world.code_on(PHONE))).await,
                        Verdict::TooManyGuesses(_)
                    ),
                    "{round}"
                );
            }
        }
        let known = Caller { known: true, ..caller() };
        assert_eq!(
            refusal(&engine, PHONE).await.retry_after_seconds,
            None,
            "no SMS for a code that cannot be verified"
        );
        let sent = send_as(&engine, &known, ask(PHONE)).await;
        let code = world.code_on(PHONE);
        world.advance(60);
        // Neither time nor a purge opens it, nor the right code; another user of the phone is free.
        crate::world::purge(&engine, std::time::Duration::ZERO).await;
        let closed = verdict(&engine, PHONE, &code).await;
        assert!(matches!(&closed, Verdict::TooManyGuesses(hit) if hit.retry_after_seconds.is_none()), "{closed:?}");
        let bob = engine.verify(&caller(), of(PHONE, "login", "bob", &code)).await.unwrap();
        assert_eq!(bob.verdict, Verdict::NotFound);
        // Who is vouched for has a budget of their own.
        assert_eq!(engine.verify(&known, guess(PHONE, &code)).await.unwrap().verdict, Verdict::Verified);

        let subject = Subject::Phone(Phone::from_e164(PHONE).unwrap());
        let reset = Reset { subject, user: ada(), opt_out: false, reason: "it was the owner".to_owned() };
        assert!(engine.reset(&caller(), reset).await.unwrap().guesses >= 100);
        assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::AlreadyUsed);
        assert_ne!(send(&engine, PHONE).await.otp_id, sent.otp_id);
    });
}

#[test]
fn a_success_ends_the_row_of_wrong_guesses() {
    let mut world = World::new();
    world.policy.limits = Limits { guesses_in_a_row: 6, ..unlimited() };
    block_on(async {
        let engine = world.engine();
        for _ in 0..4 {
            send_as(&engine, &caller(), SendOtp { new_code: true, ..ask(PHONE) }).await;
            let code = world.code_on(PHONE);
            for _ in 0..4 {
                verdict(&engine, PHONE, &World::wrong(&code)).await;
            }
            assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Verified);
        }
    });
}

/// What a guess leaves in the database, for somebody who can see how long it takes or how much is written.
fn traces(world: &World) -> Vec<i64> {
    let count = |table: &str| world.number(&format!("SELECT count(*) FROM {table}"));
    vec![count("audit"), count("subjects")]
}

#[test]
fn a_guess_on_nobody_counts_like_any_other() {
    let nobody = World::new();
    let somebody = World::new();
    block_on(async {
        let (empty, full) = (nobody.engine(), somebody.engine());
        send(&full, PHONE).await;
        let before = traces(&somebody);
        let code = World::wrong(&somebody.code_on(PHONE));
        for n in 1..=15 {
            for (world, engine) in [(&nobody, &empty), (&somebody, &full)] {
                engine.verify(&client("192.0.2.1"), guess(PHONE, &code)).await.unwrap();
                let phone = engine.reads().usages(&[Subject::Phone(Phone::from_e164(PHONE).unwrap())]).await.unwrap();
                let usage = &phone[0].as_ref().unwrap().usage;
                assert_eq!(usage.purpose("login").unwrap().guesses.len(), n);
                assert_eq!(
                    world.number("SELECT count(*) FROM audit WHERE action = 'verify'"),
                    i64::try_from(n).unwrap()
                );
            }
        }
        // The budgets close at the same guess for both.
        for engine in [&empty, &full] {
            for _ in 15..30 {
                engine.verify(&client("192.0.2.1"), guess(PHONE, &code)).await.unwrap();
            }
            let closed = engine.verify(&client("192.0.2.1"), guess(PHONE, &code)).await.unwrap().verdict;
            assert!(matches!(closed, Verdict::TooManyGuesses(_)), "{closed:?}");
        }
        let after = traces(&somebody);
        assert_eq!(traces(&nobody)[0], after[0] - before[0]);
    });
}

#[test]
fn what_is_over_says_how_it_ended() {
    let world = World::unlimited();
    block_on(async {
        let engine = world.engine();
        send(&engine, PHONE).await;
        engine.revoke(&caller(), &Revoke::Id(1), "lost phone").await.unwrap();
        assert_eq!(verdict(&engine, PHONE, &world.code_on(PHONE)).await, Verdict::Revoked);

        world.sandbox.fault(smsotp::sandbox::Fault::Code(30_001), 1);
        send(&engine, OTHER).await;
        assert_eq!(verdict(&engine, OTHER, &Code::parse("123456").unwrap()).await, Verdict::SendFailed);

        let purpose = Purpose::parse("haircut").unwrap();
        let error =
            engine.verify(&caller(), VerifyOtp { purpose, ..guess(PHONE, &world.code_on(PHONE)) }).await.unwrap_err();
        assert_eq!(error.code(), error::Code::PURPOSE_UNKNOWN);
    });
}

#[test]
fn revoke_takes_back_what_lives_for_a_phone_and_nothing_else() {
    let world = World::unlimited();
    block_on(async {
        let engine = world.engine();
        for (phone, user) in [(PHONE, "ada"), (PHONE, "bob"), (OTHER, "ada")] {
            send_as(&engine, &caller(), SendOtp { user: User::parse(user).unwrap(), ..ask(phone) }).await;
        }
        let phone = Phone::from_e164(PHONE).unwrap();
        let bobs = Revoke::Phone(phone.clone(), None, Some(User::parse("bob").unwrap()));
        let revoked = engine.revoke(&caller(), &bobs, "fraud").await.unwrap();
        assert_eq!(revoked.iter().map(|one| one.otp_id).collect::<Vec<_>>(), [2]);
        let rest = engine.revoke(&caller(), &Revoke::Phone(phone, None, None), "fraud").await.unwrap();
        assert_eq!(rest.iter().map(|one| one.otp_id).collect::<Vec<_>>(), [1]);
        assert_eq!(verdict(&engine, OTHER, &world.code_on(OTHER)).await, Verdict::Verified);
    });
}

#[test]
fn codes_are_spread_evenly_over_all_that_there_are() {
    // 100,000 codes as the engine makes them (random nonce, one key): each digit of each place about equally often. A chi-square
    // of nine degrees of freedom passes 60 once in a thousand million runs.
    use smsotp::code::{Binding, derive};
    let world = World::new();
    let ring = world.keyring();
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

#[test]
fn a_spent_address_is_told_when_to_come_back_and_not_whether_a_code_exists() {
    let mut world = World::new();
    world.policy.limits = Limits { guesses_per_ip: smsotp::limits::Window::new(3, 3600), ..unlimited() };
    block_on(async {
        let engine = world.engine();
        send(&engine, PHONE).await;
        let code = world.code_on(PHONE);
        for _ in 0..3 {
            engine.verify(&client("192.0.2.1"), guess(PHONE, &World::wrong(&code))).await.unwrap();
        }
        let here = engine.verify(&client("192.0.2.1"), guess(PHONE, &code)).await.unwrap();
        let nowhere = engine.verify(&client("192.0.2.1"), guess(OTHER, &code)).await.unwrap();
        assert_eq!(here, nowhere);
        let no = refused(engine.send(&client("192.0.2.1"), ask(PHONE)).await.unwrap());
        assert_eq!(no.code, error::Code::TOO_MANY_GUESSES);
    });
}
