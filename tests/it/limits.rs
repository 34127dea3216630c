//! Limits: exact windows per phone, user, address and everyone; and a clock that may be wrong without opening any of them.

use std::time::Duration;

use smsotp::clock::Timestamp;
use smsotp::engine::{Reset, SendOtp, Verdict};
use smsotp::error::Code;
use smsotp::limits::{Limits, Window};
use smsotp::message::State;
use smsotp::otp::User;
use smsotp::purpose::Purpose;
use smsotp::store::Subject;

use crate::processes::phone;
use crate::world::{
    OTHER, PHONE, World, ada, ask, block_on, caller, client, refusal, refused, send, send_as, unlimited, verdict,
};

fn only(limits: Limits) -> World {
    let mut world = World::new();
    world.policy.limits = limits;
    world
}

#[test]
fn a_phone_gets_three_in_ten_minutes_five_in_an_hour_and_ten_in_a_day() {
    let world = only(Limits { phone: Limits::default().phone, ..unlimited() });
    block_on(async {
        let engine = world.engine();
        let begun = world.now();
        let mut sent: Vec<Timestamp> = Vec::new();
        // Somebody asks every 50 seconds for two days.
        while world.now().since(begun) < Duration::from_secs(2 * 86_400) {
            let asked = SendOtp { new_code: true, ..ask(PHONE) };
            if let smsotp::engine::SendAnswer::Sent(_) = engine.send(&caller(), asked).await.unwrap() {
                sent.push(world.now());
            }
            world.advance(550);
        }
        for (max, per) in [(3, 600), (5, 3600), (10, 86_400)] {
            for (n, from) in sent.iter().enumerate() {
                let inside = sent[n..].iter().take_while(|at| at.since(*from) < Duration::from_secs(per)).count();
                assert!(inside <= max, "{inside} in {per} s");
            }
        }
        assert_eq!(sent.len(), 20, "and not one less");
    });
}

#[test]
fn a_refusal_names_the_limit_and_never_makes_the_wait_longer() {
    let world = only(Limits { phone: vec![Window::new(2, 600)], ..unlimited() });
    block_on(async {
        let engine = world.engine();
        send(&engine, PHONE).await;
        world.advance(100);
        send(&engine, PHONE).await;
        for left in [500_u64, 300, 1] {
            world.clock.set(world.now());
            let no = refusal(&engine, PHONE).await;
            let hit = &no.hits[0];
            assert_eq!((hit.limit.as_str(), hit.subject.as_str(), hit.max, hit.used), ("phone", "phone", 2, 2));
            assert_eq!((hit.window_seconds, no.retry_after_seconds, no.code), (600, Some(left), Code::RATE_LIMITED));
            world.advance(match left {
                500 => 200,
                300 => 299,
                _ => 1,
            });
        }
        assert_eq!(send(&engine, PHONE).await.state, State::Accepted);
    });
    assert_eq!(world.number("SELECT count(*) FROM audit WHERE outcome = 'rate_limited'"), 3);
}

/// Who (user, address) asks for a message to which phone.
type Ask = (&'static str, &'static str, usize);

async fn asked(engine: &smsotp::engine::Engine, (user, ip, to): Ask) -> smsotp::engine::SendAnswer {
    let ask = SendOtp { user: User::parse(user).unwrap(), ..ask(&phone(to)) };
    engine.send(&client(ip), ask).await.unwrap()
}

#[test]
fn every_limit_counts_its_own_subject_and_leaves_others_alone() {
    let two = vec![Window::new(2, 3600)];
    // Limits, what is sent as (user, address, phone), what is refused and by what, what is still free.
    let scenes: Vec<(Limits, [Ask; 2], Ask, &str, Ask)> = vec![
        (
            Limits { phone: two.clone(), ..unlimited() },
            [("a", "192.0.2.1", 1), ("b", "192.0.2.2", 1)],
            ("c", "192.0.2.3", 1),
            "phone",
            ("a", "192.0.2.1", 2),
        ),
        (
            Limits { user: two.clone(), ..unlimited() },
            [("a", "192.0.2.1", 1), ("a", "192.0.2.2", 2)],
            ("a", "192.0.2.3", 3),
            "user",
            ("b", "192.0.2.1", 1),
        ),
        (
            Limits { ip: two.clone(), ..unlimited() },
            [("a", "192.0.2.1", 1), ("b", "192.0.2.1", 2)],
            ("c", "192.0.2.1", 3),
            "ip",
            ("a", "192.0.2.2", 1),
        ),
        (
            Limits { network: two.clone(), ..unlimited() },
            [("a", "192.0.2.1", 1), ("b", "192.0.2.2", 2)],
            ("c", "192.0.2.3", 3),
            "network",
            ("a", "192.0.3.1", 1),
        ),
        (
            Limits { user_phones: two[0], ..unlimited() },
            [("a", "192.0.2.1", 1), ("a", "192.0.2.1", 2)],
            ("a", "192.0.2.1", 3),
            "user-phones",
            ("a", "192.0.2.1", 1),
        ),
        (
            Limits { ip_phones: two[0], ..unlimited() },
            [("a", "192.0.2.1", 1), ("b", "192.0.2.1", 2)],
            ("c", "192.0.2.1", 3),
            "ip-phones",
            ("d", "192.0.2.1", 2),
        ),
    ];
    for (limits, before, no, limit, free) in scenes {
        let world = only(limits);
        block_on(async {
            let engine = world.engine();
            for one in before {
                assert_eq!(crate::world::sent(asked(&engine, one).await).state, State::Accepted, "{limit}");
            }
            assert_eq!(refused(asked(&engine, no).await).hits[0].limit.as_str(), limit);
            crate::world::sent(asked(&engine, free).await);
        });
    }
}

#[test]
fn the_empty_user_is_nobody_in_particular_and_limits_no_stranger() {
    let world = only(Limits { user: vec![Window::new(1, 3600)], user_phones: Window::new(1, 3600), ..unlimited() });
    block_on(async {
        let engine = world.engine();
        for n in 0..3 {
            let nobody = SendOtp { user: User::default(), ..ask(&phone(n)) };
            assert_eq!(send_as(&engine, &caller(), nobody).await.state, State::Accepted);
        }
    });
}

#[test]
fn many_messages_to_one_phone_do_not_make_the_database_forget_the_others() {
    let world = only(Limits { user: vec![Window::new(2, 600)], user_phones: Window::new(3, 86_400), ..unlimited() });
    block_on(async {
        let engine = world.engine();
        for n in [0, 1, 2, 0, 0, 0, 0, 0, 0] {
            send(&engine, &phone(n)).await;
            world.advance(600);
        }
        assert_eq!(refusal(&engine, &phone(3)).await.hits[0].limit.as_str(), "user-phones");
    });
}

#[test]
fn everyone_together_has_a_limit_that_no_change_of_phone_gets_round() {
    let world = only(Limits { everything: vec![Window::new(5, 3600)], ..unlimited() });
    block_on(async {
        let engine = world.engine();
        for n in 0..5 {
            send(&engine, &phone(n)).await;
            world.advance(60);
        }
        let no = refusal(&engine, &phone(9)).await;
        assert_eq!(no.hits[0].limit.as_str(), "everything");
        // At most a sixtieth of the window early, never late.
        let wait = no.retry_after_seconds.unwrap();
        assert!((3300..=3360).contains(&wait), "{wait}");
        world.advance(wait);
        send(&engine, &phone(9)).await;
    });
}

#[test]
fn a_reset_lets_ask_again_and_says_who_did_it_and_why() {
    let world = World::new();
    block_on(async {
        let engine = world.engine();
        send(&engine, PHONE).await;
        refusal(&engine, PHONE).await;
        let subject = Subject::Phone(ask(PHONE).to.phone().clone());
        let reset = Reset { subject, user: ada(), opt_out: false, reason: "ticket OPS-12".to_owned() };
        let forgotten = engine.reset(&caller(), reset).await.unwrap();
        assert_eq!(forgotten.sends, 1);
        assert!(send(&engine, PHONE).await.resent);
    });
    let body = world.word("SELECT CAST(body AS TEXT) FROM audit WHERE action = 'limits.reset'");
    assert!(body.contains("ticket OPS-12"), "{body}");
}

#[test]
fn a_clock_that_was_more_than_five_minutes_ahead_stops_the_operations_and_says_so() {
    let world = World::unlimited();
    block_on(async {
        let engine = world.engine();
        let right = world.now();
        world.advance(301);
        send(&engine, PHONE).await;
        let code = world.code_on(PHONE);
        world.clock.set(right);
        let guess = || crate::world::guess(PHONE, &code);
        assert_eq!(engine.send(&caller(), ask(PHONE)).await.unwrap_err().code(), Code::CLOCK_WRONG);
        assert_eq!(engine.verify(&caller(), guess()).await.unwrap_err().code(), Code::CLOCK_WRONG);
        // Also for a phone of its own, where the user, or everyone, is the one who is ahead.
        assert_eq!(engine.send(&caller(), ask(OTHER)).await.unwrap_err().code(), Code::CLOCK_WRONG);
        let bob = SendOtp { user: User::parse("bob").unwrap(), ..ask(OTHER) };
        assert_eq!(engine.send(&caller(), bob).await.unwrap_err().code(), Code::CLOCK_WRONG);
        assert_eq!(world.number("SELECT wrong_guesses FROM otps"), 0);

        world.advance(1);
        assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Verified);
    });
}

#[test]
fn a_clock_that_steps_back_revives_no_code_and_opens_no_limit() {
    let world = only(Limits { phone: vec![Window::new(2, 600)], ..unlimited() });
    block_on(async {
        let engine = world.engine();
        send(&engine, PHONE).await;
        let code = world.code_on(PHONE);
        world.advance(600);
        assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Expired);

        // An hour back: the expired otp is written as expired, and stays so.
        let late = world.now();
        world.clock.set(late - Duration::from_secs(3600));
        assert!(engine.verify(&caller(), crate::world::guess(PHONE, &code)).await.is_err());
        // Four minutes back: for this phone time stands still until the clock has caught up.
        world.clock.set(late - Duration::from_secs(240));
        assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Expired);
        for _ in 0..2 {
            send(&engine, PHONE).await;
        }
        assert_eq!(refusal(&engine, PHONE).await.retry_after_seconds, Some(600));
        world.clock.set(late);
        assert_eq!(refusal(&engine, PHONE).await.retry_after_seconds, Some(600));
        let made: i64 = world.number("SELECT min(created_at) FROM otps WHERE id = 2");
        assert_eq!(made, late.millis(), "never before what is known of the phone");
    });
}

#[test]
fn an_expired_code_that_nobody_met_is_not_revived_by_a_clock_an_hour_back() {
    let world = World::unlimited();
    block_on(async {
        let engine = world.engine();
        send(&engine, PHONE).await;
        let code = world.code_on(PHONE);
        world.advance(1200);
        // A later operation for the phone, of another purpose, lets the database knows what time it was.
        let purpose = Purpose::parse("registration").unwrap();
        send_as(&engine, &caller(), SendOtp { purpose, ..ask(PHONE) }).await;
        world.clock.set(world.now() - Duration::from_secs(1000));
        let error = engine.verify(&caller(), crate::world::guess(PHONE, &code)).await.unwrap_err();
        assert_eq!(error.code(), Code::CLOCK_WRONG);
        assert_eq!(world.word("SELECT state FROM otps WHERE id = 1"), "active", "nothing was decided");
    });
}

#[test]
fn a_clock_that_steps_back_while_the_provider_answers_loses_no_outcome() {
    let world = World::unlimited();
    let clock = std::sync::Arc::clone(&world.clock);
    let early = world.now() - Duration::from_secs(3600);
    let engine = world.engine().on_step(move |step| {
        if step == smsotp::engine::Step::Answered {
            clock.set(early);
        }
    });
    block_on(async {
        assert_eq!(send(&engine, PHONE).await.state, State::Accepted);
    });
    assert_eq!(world.word("SELECT state FROM messages"), "accepted");
}

#[test]
fn a_reset_is_the_way_out_after_a_clock_that_was_far_ahead() {
    let world = World::unlimited();
    block_on(async {
        let engine = world.engine();
        let right = world.now();
        world.advance(365 * 86_400);
        send(&engine, PHONE).await;
        world.clock.set(right);
        assert!(engine.send(&caller(), ask(PHONE)).await.is_err());
        let phone = Subject::Phone(ask(PHONE).to.phone().clone());
        for subject in [phone, Subject::User(ada()), Subject::Everything] {
            let reset = Reset { subject, user: ada(), opt_out: false, reason: "the clock was wrong".to_owned() };
            engine.reset(&caller(), reset).await.unwrap();
        }
        assert_eq!(send(&engine, PHONE).await.state, State::Accepted);
    });
}
