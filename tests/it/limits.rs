//! Limits: exact windows per phone, user, address and everyone; and a clock that may be wrong without opening any of them.

use std::sync::Arc;
use std::time::Duration;

use smsotp::engine::{Engine, Reset, SendAnswer, SendOtp, Step, Verdict, VerifyOtp};
use smsotp::error::Code;
use smsotp::limits::{Limit, Limits, PurposeLimits, Window};
use smsotp::message::State;
use smsotp::otp::User;
use smsotp::purpose::Purpose;
use smsotp::sandbox::Fault;
use smsotp::store::{Subject, SubjectKind};

use crate::processes::phone;
use crate::stores::{Database, on_every_store};
use crate::world::{
    OTHER, PHONE, World, ada, ask, caller, client, guess, phone_subject, refusal, refused, reset, send, send_as, sent,
    unlimited, verdict,
};

on_every_store![
    a_refusal_names_the_limit_and_never_makes_the_wait_longer,
    every_limit_counts_its_own_subject_and_leaves_others_alone,
    the_empty_user_is_nobody_in_particular_and_limits_no_one_else,
    many_messages_to_one_phone_do_not_make_the_database_forget_the_others,
    everyone_together_has_a_limit_that_no_change_of_phone_gets_round,
    a_reset_lets_ask_again_and_the_audit_log_says_why,
    a_clock_that_was_more_than_five_minutes_ahead_stops_the_operations_and_says_so,
    a_clock_that_steps_back_revives_no_code_and_opens_no_limit,
    an_expired_code_that_nobody_met_is_not_revived_by_a_clock_that_steps_back,
    a_clock_that_steps_back_while_the_provider_answers_loses_no_outcome,
    a_reset_is_the_way_out_after_a_clock_that_was_far_ahead,
    after_a_clock_that_was_a_day_ahead_the_error_names_who_and_since_when_and_the_way_out_forgets_nothing,
    a_purpose_may_have_limits_of_its_own,
];

/// On PostgreSQL a story's clock cannot go back to before its beginning: this leaves room.
fn start_later(database: &Database) {
    database.advance(86_400);
}

async fn a_refusal_names_the_limit_and_never_makes_the_wait_longer(database: &mut Database) {
    database.policy.limits = Limits { phone: vec![Window::new(2, 600)], ..unlimited() };
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    database.advance(100);
    send(&engine, PHONE).await;
    for left in [500_u64, 300, 1] {
        let no = refusal(&engine, PHONE).await;
        let hit = &no.hits[0];
        assert_eq!((hit.limit, hit.subject, hit.max, hit.used), (Limit::Phone, SubjectKind::Phone, 2, 2));
        assert_eq!((hit.window_seconds, no.retry_after_seconds, no.code), (600, Some(left), Code::RATE_LIMITED));
        database.advance(match left {
            500 => 200,
            300 => 299,
            _ => 1,
        });
    }
    assert_eq!(send(&engine, PHONE).await.state, State::Accepted);
    assert_eq!(
        database.audit().iter().filter(|row| *row == "send rate_limited").count(),
        1,
        "told of once in a window"
    );
}

/// Who (user, address) asks for a message to which phone.
type Ask = (&'static str, &'static str, usize);

/// The same words mean somebody else in each scene.
async fn asked(engine: &Engine, scene: usize, (user, ip, to): Ask) -> SendAnswer {
    let ask = SendOtp { user: User::parse(&format!("{user}{scene}")).unwrap(), ..ask(&phone(10 * scene + to)) };
    engine.send(&client(&ip.replace("192.0", &format!("192.{scene}"))), ask).await.unwrap()
}

async fn every_limit_counts_its_own_subject_and_leaves_others_alone(database: &mut Database) {
    let two = vec![Window::new(2, 3600)];
    // Limits, what is sent as (user, address, phone), what is refused and by what, what is still free.
    let scenes: Vec<(Limits, [Ask; 2], Ask, Limit, Ask)> = vec![
        (
            Limits { phone: two.clone(), ..unlimited() },
            [("a", "192.0.2.1", 1), ("b", "192.0.2.2", 1)],
            ("c", "192.0.2.3", 1),
            Limit::Phone,
            ("a", "192.0.2.1", 2),
        ),
        (
            Limits { user: two.clone(), ..unlimited() },
            [("a", "192.0.2.1", 1), ("a", "192.0.2.2", 2)],
            ("a", "192.0.2.3", 3),
            Limit::User,
            ("b", "192.0.2.1", 1),
        ),
        (
            Limits { ip: two.clone(), ..unlimited() },
            [("a", "192.0.2.1", 1), ("b", "192.0.2.1", 2)],
            ("c", "192.0.2.1", 3),
            Limit::Ip,
            ("a", "192.0.2.2", 1),
        ),
        (
            Limits { network: two.clone(), ..unlimited() },
            [("a", "192.0.2.1", 1), ("b", "192.0.2.2", 2)],
            ("c", "192.0.2.3", 3),
            Limit::Network,
            ("a", "192.0.3.1", 1),
        ),
        (
            Limits { user_phones: two.clone(), ..unlimited() },
            [("a", "192.0.2.1", 1), ("a", "192.0.2.1", 2)],
            ("a", "192.0.2.1", 3),
            Limit::UserPhones,
            ("a", "192.0.2.1", 1),
        ),
        (
            Limits { ip_phones: two.clone(), ..unlimited() },
            [("a", "192.0.2.1", 1), ("b", "192.0.2.1", 2)],
            ("c", "192.0.2.1", 3),
            Limit::IpPhones,
            ("d", "192.0.2.1", 2),
        ),
    ];
    for (nth, (limits, before, no, limit, free)) in scenes.into_iter().enumerate() {
        database.policy.limits = limits;
        let engine = database.engine().await;
        for one in before {
            assert_eq!(sent(asked(&engine, nth, one).await).state, State::Accepted, "{limit}");
        }
        assert_eq!(refused(asked(&engine, nth, no).await).hits[0].limit, limit);
        sent(asked(&engine, nth, free).await);
    }
}

async fn the_empty_user_is_nobody_in_particular_and_limits_no_one_else(database: &mut Database) {
    database.policy.limits =
        Limits { user: vec![Window::new(1, 3600)], user_phones: vec![Window::new(1, 3600)], ..unlimited() };
    let engine = database.engine().await;
    for n in 0..3 {
        let nobody = SendOtp { user: User::default(), ..ask(&phone(n)) };
        assert_eq!(send_as(&engine, &caller(), nobody).await.state, State::Accepted);
    }
}

async fn many_messages_to_one_phone_do_not_make_the_database_forget_the_others(database: &mut Database) {
    database.policy.limits =
        Limits { user: vec![Window::new(2, 600)], user_phones: vec![Window::new(3, 86_400)], ..unlimited() };
    let engine = database.engine().await;
    for n in [0, 1, 2, 0, 0, 0, 0, 0, 0] {
        send(&engine, &phone(n)).await;
        database.advance(600);
    }
    assert_eq!(refusal(&engine, &phone(3)).await.hits[0].limit, Limit::UserPhones);
}

async fn everyone_together_has_a_limit_that_no_change_of_phone_gets_round(database: &mut Database) {
    database.policy.limits = Limits { everything: vec![Window::new(5, 3600)], ..unlimited() };
    let engine = database.engine().await;
    for n in 0..5 {
        send(&engine, &phone(n)).await;
        database.advance(60);
    }
    let no = refusal(&engine, &phone(9)).await;
    assert_eq!(no.hits[0].limit, Limit::Everything);
    // At most a sixtieth of the window early, never late.
    let wait = no.retry_after_seconds.unwrap();
    assert!((3300..=3360).contains(&wait), "{wait}");
    database.advance(wait);
    send(&engine, &phone(9)).await;
}

async fn a_reset_lets_ask_again_and_the_audit_log_says_why(database: &mut Database) {
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    refusal(&engine, PHONE).await;
    assert_eq!(reset(&engine, phone_subject(PHONE)).await.sends, 1);
    assert!(send(&engine, PHONE).await.resent);
    let bodies = database.words("SELECT CAST(body AS TEXT) FROM audit");
    let body = bodies.iter().find(|body| body.contains("\"limits.reset\"")).unwrap();
    assert!(body.contains("ticket OPS-12"), "{body}");
}

async fn a_clock_that_was_more_than_five_minutes_ahead_stops_the_operations_and_says_so(database: &mut Database) {
    start_later(database);
    database.unlimited();
    let engine = database.engine().await;
    let right = database.now();
    database.advance(301);
    send(&engine, PHONE).await;
    let code = database.code_on(PHONE);
    database.clock.set(right);
    let guess = || guess(PHONE, &code);
    assert_eq!(engine.send(&caller(), ask(PHONE)).await.unwrap_err().code(), Code::CLOCK_WRONG);
    assert_eq!(engine.verify(&caller(), guess()).await.unwrap_err().code(), Code::CLOCK_WRONG);
    // Also for a phone of its own, where the user, or everyone, is the one who is ahead.
    assert_eq!(engine.send(&caller(), ask(OTHER)).await.unwrap_err().code(), Code::CLOCK_WRONG);
    let bob = SendOtp { user: User::parse("bob").unwrap(), ..ask(OTHER) };
    assert_eq!(engine.send(&caller(), bob).await.unwrap_err().code(), Code::CLOCK_WRONG);
    assert_eq!(database.number("SELECT wrong_guesses FROM otps"), 0);

    database.advance(1);
    assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Verified);
}

async fn a_clock_that_steps_back_revives_no_code_and_opens_no_limit(database: &mut Database) {
    start_later(database);
    database.policy.limits = Limits { phone: vec![Window::new(2, 600)], ..unlimited() };
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    let code = database.code_on(PHONE);
    database.advance(600);
    assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Expired);

    // An hour back: the expired otp is written as expired, and stays so.
    let late = database.now();
    database.clock.set(late - Duration::from_secs(3600));
    assert!(engine.verify(&caller(), guess(PHONE, &code)).await.is_err());
    // Four minutes back: for this phone time stands still until the clock has caught up.
    database.clock.set(late - Duration::from_secs(240));
    assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Expired);
    for _ in 0..2 {
        send(&engine, PHONE).await;
    }
    assert_eq!(refusal(&engine, PHONE).await.retry_after_seconds, Some(600));
    database.clock.set(late);
    assert_eq!(refusal(&engine, PHONE).await.retry_after_seconds, Some(600));
    let made: i64 = database.number("SELECT created_at FROM otps WHERE state = 'active'");
    assert_eq!(made, late.millis(), "never before what is known of the phone");
}

async fn an_expired_code_that_nobody_met_is_not_revived_by_a_clock_that_steps_back(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    let code = database.code_on(PHONE);
    database.advance(1200);
    // A later operation for the phone, of another purpose, lets the database know what time it was.
    let purpose = Purpose::parse("registration").unwrap();
    send_as(&engine, &caller(), SendOtp { purpose, ..ask(PHONE) }).await;
    database.clock.set(database.now() - Duration::from_secs(1000));
    let error = engine.verify(&caller(), guess(PHONE, &code)).await.unwrap_err();
    assert_eq!(error.code(), Code::CLOCK_WRONG);
    assert_eq!(database.word("SELECT state FROM otps WHERE purpose = 'login'"), "active", "nothing was decided");
}

async fn a_clock_that_steps_back_while_the_provider_answers_loses_no_outcome(database: &mut Database) {
    start_later(database);
    database.unlimited();
    let clock = Arc::clone(&database.clock);
    let early = database.now() - Duration::from_secs(3600);
    let engine = database.engine().await.on_step(move |step| {
        if step == Step::Answered {
            clock.set(early);
        }
    });
    assert_eq!(send(&engine, PHONE).await.state, State::Accepted);
    assert_eq!(database.word("SELECT state FROM messages"), "accepted");
}

async fn a_reset_is_the_way_out_after_a_clock_that_was_far_ahead(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    let right = database.now();
    database.advance(365 * 86_400);
    send(&engine, PHONE).await;
    database.clock.set(right);
    assert!(engine.send(&caller(), ask(PHONE)).await.is_err());
    for subject in [phone_subject(PHONE), Subject::User(ada()), Subject::Everything] {
        reset(&engine, subject).await;
    }
    assert_eq!(send(&engine, PHONE).await.state, State::Accepted);
}

async fn after_a_clock_that_was_a_day_ahead_the_error_names_who_and_since_when_and_the_way_out_forgets_nothing(
    database: &mut Database,
) {
    let day = vec![Window::new(2, 86_400)];
    database.policy.limits =
        Limits { phone: day.clone(), user: day.clone(), ip: day.clone(), everything: day, ..unlimited() };
    let engine = database.engine().await;
    let right = database.now();
    database.advance(86_400);
    let ahead = database.now();
    let from = client("192.0.2.1");
    send_as(&engine, &from, ask(PHONE)).await;
    let code = database.code_on(PHONE);
    database.clock.set(right);

    let error = engine.send(&from, ask(PHONE)).await.unwrap_err();
    assert_eq!(error.code(), Code::CLOCK_WRONG);
    let said = format!("{error} {}", error.hint_text().unwrap());
    assert!(said.contains(&ahead.to_string()) && !said.contains(PHONE), "{said}");
    assert!(said.contains("this phone") && said.contains("this user") && said.contains("this address"), "{said}");
    assert!(said.contains("smsotp limits reset PHONE"), "{said}");
    assert!(said.contains("--user ID --ip ADDRESS --clock --reason TEXT"), "{said}");
    // A phone of its own does not stand in the error where the user alone is ahead.
    let error = engine.send(&caller(), ask(OTHER)).await.unwrap_err();
    assert!(!error.to_string().contains("this phone") && error.to_string().contains("this user"), "{error}");

    let clock = |subject| Reset { subject, user: ada(), opt_out: false, clock: true, reason: "OPS-13".to_owned() };
    let [ip, network] = Subject::of_client("192.0.2.1".parse().unwrap());
    for subject in [phone_subject(PHONE), Subject::User(ada()), ip, network, Subject::Everything] {
        assert!(engine.reset(&caller(), clock(subject.clone())).await.unwrap().ahead > 0, "{subject:?}");
        assert_eq!(engine.reset(&caller(), clock(subject)).await.unwrap().ahead, 0, "a second time");
    }
    let row = database.words("SELECT CAST(body AS TEXT) FROM audit");
    assert!(row.iter().any(|body| body.contains("\"clock\":true") && body.contains("OPS-13")), "{row:?}");
    // The code of that day is over: it would have lived for a day and ten minutes.
    assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Expired);
    // What was sent still counts, from now on.
    send_as(&engine, &from, ask(PHONE)).await;
    let no = refused(engine.send(&from, ask(PHONE)).await.unwrap());
    let of_phone = no.hits.iter().find(|hit| hit.limit == Limit::Phone).unwrap();
    assert_eq!((of_phone.used, of_phone.retry_after_seconds), (2, Some(86_400)));
    database.advance(86_400 + 1440);
    send_as(&engine, &from, ask(PHONE)).await;
}

async fn a_purpose_may_have_limits_of_its_own(database: &mut Database) {
    let payment = Purpose::parse("payment").unwrap();
    database.policy.purposes.insert(payment.clone(), Default::default());
    let own = PurposeLimits {
        cooldown: Some(vec![Duration::from_secs(5)]),
        phone: vec![Window::new(2, 600)],
        guesses_per_otp: Some(2),
    };
    let cooldown = Limits::default().cooldown;
    database.policy.limits = Limits {
        cooldown,
        phone: vec![Window::new(4, 600)],
        purposes: [("payment".to_owned(), own)].into(),
        ..unlimited()
    };
    let engine = database.engine().await;
    let pay = || SendOtp { purpose: payment.clone(), ..ask(PHONE) };
    let refused_by = async |ask: SendOtp| {
        let no = refused(engine.send(&caller(), ask).await.unwrap());
        (no.hits[0].limit, no.hits[0].max, no.retry_after_seconds.unwrap())
    };

    send_as(&engine, &caller(), pay()).await;
    assert_eq!(refused_by(pay()).await, (Limit::Cooldown, 1, 5));
    database.advance(5);
    send_as(&engine, &caller(), pay()).await;
    database.advance(5);
    assert_eq!(refused_by(pay()).await, (Limit::Phone, 2, 590), "two for this purpose");
    let code = World::wrong(&database.code_on(PHONE));
    for left in [1, 0] {
        let ask = VerifyOtp { purpose: payment.clone(), ..guess(PHONE, &code) };
        let answer = engine.verify(&caller(), ask).await.unwrap();
        assert_eq!(answer.verdict, Verdict::WrongCode { tries_left: left });
    }
    // Others have what all have, and what they all have counts this purpose, too.
    send(&engine, PHONE).await;
    assert_eq!(refused_by(ask(PHONE)).await, (Limit::Cooldown, 1, 30));
    assert_eq!(
        verdict(&engine, PHONE, &World::wrong(&database.code_on(PHONE))).await,
        Verdict::WrongCode { tries_left: 4 }
    );
    database.advance(30);
    send(&engine, PHONE).await;
    database.advance(120);
    assert_eq!(refused_by(ask(PHONE)).await, (Limit::Phone, 4, 440));
    // A message that surely was not sent is given back to them.
    database.advance(600);
    database.sandbox.fault(Fault::Code(30_001), 2);
    for _ in 0..2 {
        assert_eq!(send_as(&engine, &caller(), pay()).await.state, State::Failed);
    }
    assert_eq!(send_as(&engine, &caller(), pay()).await.state, State::Accepted);
}
