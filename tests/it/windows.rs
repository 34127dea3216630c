//! Each window of each limit is met at its edge: the last message that it allows goes out and the next does not, the refusal
//! names limit, window and wait, and what a millisecond before the end of that wait is refused goes out at its end.

use std::time::Duration;

use smsotp::engine::{Caller, Engine, SendAnswer, SendOtp, Verdict, VerifyOtp};
use smsotp::error::Code;
use smsotp::limits::{Hit, Limit, Limits, Window};
use smsotp::message::State;
use smsotp::otp::User;
use smsotp::purpose::Purpose;
use smsotp::sandbox::Fault;
use smsotp::store::SubjectKind;

use crate::processes::phone;
use crate::stores::{Database, on_every_store};
use crate::world::{
    PHONE, World, ask, caller, client, code_in, guess, refusal, refused, send, sent, unlimited, verdict,
};

on_every_store![
    a_phone_gets_three_in_ten_minutes_five_in_an_hour_and_ten_in_a_day,
    each_window_of_a_phone_a_user_and_an_address_is_exact,
    each_window_of_distinct_phones_is_exact,
    each_window_of_refusals_by_the_provider_is_exact,
    each_window_of_a_network_and_of_everything_opens_when_it_says,
    the_window_of_guesses_for_a_phone_is_exact_over_all_users_and_purposes,
    the_window_of_guesses_from_an_address_is_exact,
];

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// How much time passes from one message to the next.
const GAP: u64 = 7;

async fn a_phone_gets_three_in_ten_minutes_five_in_an_hour_and_ten_in_a_day(database: &mut Database) {
    database.policy.limits = Limits { phone: Limits::default().phone, ..unlimited() };
    let engine = database.engine().await;
    // Somebody asks again the moment when it is allowed: how many go out, which windows are full then, and for how long.
    let two_days = [
        (3, vec![600], 600),
        (2, vec![3600], 3000),
        (3, vec![600, 3600], 600),
        (2, vec![3600, 86_400], 82_200),
        (3, vec![600, 86_400], 600),
        (2, vec![3600, 86_400], 3000),
        (3, vec![600, 3600, 86_400], 600),
        (2, vec![3600, 86_400], 82_200),
    ];
    for (nth, (out, mut full, wait)) in two_days.into_iter().enumerate() {
        for _ in 0..out {
            assert_eq!(send(&engine, PHONE).await.state, State::Accepted, "part {nth}");
        }
        let no = refusal(&engine, PHONE).await;
        let mut hits: Vec<u64> = no.hits.iter().map(|hit| hit.window_seconds).collect();
        hits.sort_unstable();
        full.sort_unstable();
        assert_eq!((hits, no.retry_after_seconds), (full, Some(wait)), "part {nth}");
        database.clock.advance(Duration::from_secs(wait) - MILLISECOND);
        assert_eq!(refusal(&engine, PHONE).await.retry_after_seconds, Some(1), "part {nth}");
        database.clock.advance(MILLISECOND);
    }
    assert_eq!(database.messages_out(), 20);
}

/// Who asks for the `nth` message: the same subject each time, and everybody else another one.
type Asker = fn(nth: usize) -> (Caller, SendOtp);

/// One limit that is alone in force.
struct Scene {
    limit: Limit,
    subject: SubjectKind,
    window: Window,
    limits: fn(Window) -> Limits,
    asker: Asker,
}

fn asks(user: &str, ip: &str, to: &str) -> (Caller, SendOtp) {
    (client(ip), SendOtp { user: User::parse(user).unwrap(), ..ask(to) })
}

fn of_phone(nth: usize) -> (Caller, SendOtp) {
    asks(&format!("u{nth}"), &format!("10.{nth}.0.1"), PHONE)
}

fn of_user(nth: usize) -> (Caller, SendOtp) {
    asks("ada", &format!("10.{nth}.0.1"), &phone(nth))
}

fn of_address(nth: usize) -> (Caller, SendOtp) {
    asks(&format!("u{nth}"), "192.0.2.1", &phone(nth))
}

fn of_network(nth: usize) -> (Caller, SendOtp) {
    asks(&format!("u{nth}"), &format!("192.0.2.{nth}"), &phone(nth))
}

fn of_everybody(nth: usize) -> (Caller, SendOtp) {
    asks(&format!("u{nth}"), &format!("10.{nth}.0.1"), &phone(nth))
}

async fn answer(engine: &Engine, scene: &Scene, nth: usize) -> SendAnswer {
    let (caller, ask) = (scene.asker)(nth);
    engine.send(&caller, ask).await.unwrap()
}

#[track_caller]
fn hit(scene: &Scene, answer: SendAnswer) -> Hit {
    let no = refused(answer);
    assert_eq!((no.code, no.hits.len()), (Code::RATE_LIMITED, 1), "{}: {no:?}", scene.limit);
    assert_eq!(no.retry_after_seconds, no.hits[0].retry_after_seconds);
    no.hits[0].clone()
}

/// Fills a window, one message each few seconds, and meets both of its edges.
async fn meet(database: &mut Database, scene: &Scene, outcome: State) {
    let (max, per) = (scene.window.max, scene.window.per.as_secs());
    database.policy.limits = (scene.limits)(scene.window);
    // What earlier scenes left behind counts no more.
    database.advance(2 * 86_400);
    let engine = database.engine().await;
    let mut nth = 0;
    for _ in 0..max {
        assert_eq!(sent(answer(&engine, scene, nth).await).state, outcome, "{} {nth}", scene.limit);
        database.advance(GAP);
        nth += 1;
    }
    let first_leaves_in = per - GAP * u64::from(max);
    let full = |wait: u64| Hit {
        limit: scene.limit,
        subject: scene.subject,
        max,
        window_seconds: per,
        used: max,
        retry_after_seconds: Some(wait),
    };
    assert_eq!(hit(scene, answer(&engine, scene, nth).await), full(first_leaves_in));
    database.clock.advance(Duration::from_secs(first_leaves_in) - MILLISECOND);
    assert_eq!(hit(scene, answer(&engine, scene, nth).await), full(1));
    database.clock.advance(MILLISECOND);
    assert_eq!(sent(answer(&engine, scene, nth).await).state, outcome, "{}: room again", scene.limit);
    // Room for one, and no more.
    assert_eq!(hit(scene, answer(&engine, scene, nth + 1).await), full(GAP));
}

async fn each_window_of_a_phone_a_user_and_an_address_is_exact(database: &mut Database) {
    let defaults = Limits::default();
    for window in defaults.phone {
        let limits = |window| Limits { phone: vec![window], ..unlimited() };
        meet(
            database,
            &Scene { limit: Limit::Phone, subject: SubjectKind::Phone, window, limits, asker: of_phone },
            State::Accepted,
        )
        .await;
    }
    for window in defaults.user {
        let limits = |window| Limits { user: vec![window], ..unlimited() };
        meet(
            database,
            &Scene { limit: Limit::User, subject: SubjectKind::User, window, limits, asker: of_user },
            State::Accepted,
        )
        .await;
    }
    for window in defaults.ip {
        let limits = |window| Limits { ip: vec![window], ..unlimited() };
        meet(
            database,
            &Scene { limit: Limit::Ip, subject: SubjectKind::Ip, window, limits, asker: of_address },
            State::Accepted,
        )
        .await;
    }
}

async fn each_window_of_distinct_phones_is_exact(database: &mut Database) {
    let scenes = [
        Scene {
            limit: Limit::UserPhones,
            subject: SubjectKind::User,
            window: Limits::default().user_phones[0],
            limits: |window| Limits { user_phones: vec![window], ..unlimited() },
            asker: of_user,
        },
        Scene {
            limit: Limit::IpPhones,
            subject: SubjectKind::Ip,
            window: Limits::default().ip_phones[0],
            limits: |window| Limits { ip_phones: vec![window], ..unlimited() },
            asker: of_address,
        },
    ];
    for scene in scenes {
        meet(database, &scene, State::Accepted).await;
        // The newest of the phones that count may be asked for all the same.
        let known = scene.window.max as usize;
        assert_eq!(sent(answer(&database.engine().await, &scene, known).await).state, State::Accepted);
    }
}

async fn each_window_of_refusals_by_the_provider_is_exact(database: &mut Database) {
    database.sandbox.fault(Fault::Code(21_211), 1000);
    let defaults = Limits::default();
    let (phone, other) = (defaults.refused_phone[0], defaults.refused_other[0]);
    let of_phones = |window| Limits { refused_phone: vec![window], ..unlimited() };
    let of_others = |window| Limits { refused_other: vec![window], ..unlimited() };
    for scene in [
        Scene {
            limit: Limit::RefusedPhone,
            subject: SubjectKind::Phone,
            window: phone,
            limits: of_phones,
            asker: of_phone,
        },
        Scene {
            limit: Limit::RefusedOther,
            subject: SubjectKind::User,
            window: other,
            limits: of_others,
            asker: of_user,
        },
        Scene {
            limit: Limit::RefusedOther,
            subject: SubjectKind::Ip,
            window: other,
            limits: of_others,
            asker: of_address,
        },
    ] {
        meet(database, &scene, State::Failed).await;
    }
    assert_eq!(database.messages_out(), 0);
}

/// Wide windows are counted by slots of a sixtieth: they may open a slot late, which their refusal says.
async fn each_window_of_a_network_and_of_everything_opens_when_it_says(database: &mut Database) {
    let network: fn(Window) -> Limits = |window| Limits { network: vec![window], ..unlimited() };
    let everything: fn(Window) -> Limits = |window| Limits { everything: vec![window], ..unlimited() };
    // Fewer than the defaults, because 10,000 messages prove no more.
    for (limit, limits, asker) in
        [(Limit::Network, network, of_network as Asker), (Limit::Everything, everything, of_everybody as Asker)]
    {
        for window in [Window::new(9, 3600), Window::new(11, 86_400)] {
            let subject = if limit == Limit::Network { SubjectKind::Network } else { SubjectKind::Everything };
            let scene = Scene { limit, subject, window, limits, asker };
            database.policy.limits = limits(window);
            database.advance(2 * 86_400);
            let engine = database.engine().await;
            let mut nth = 0;
            for _ in 0..window.max {
                assert_eq!(sent(answer(&engine, &scene, nth).await).state, State::Accepted, "{limit} {nth}");
                nth += 1;
            }
            let full = hit(&scene, answer(&engine, &scene, nth).await);
            assert_eq!((full.limit, full.subject), (limit, subject));
            assert_eq!((full.max, full.window_seconds, full.used), (window.max, window.per.as_secs(), window.max));
            let wait = full.retry_after_seconds.unwrap();
            let slot = window.per.as_secs() / 60;
            assert!((window.per.as_secs()..=window.per.as_secs() + slot).contains(&wait), "{limit}: {wait}");
            database.clock.advance(Duration::from_secs(wait) - SECOND);
            assert_eq!(hit(&scene, answer(&engine, &scene, nth).await).retry_after_seconds, Some(1), "{limit}");
            database.clock.advance(SECOND);
            // All of them left it together.
            for _ in 0..window.max {
                assert_eq!(sent(answer(&engine, &scene, nth).await).state, State::Accepted, "{limit} {nth}");
                nth += 1;
            }
            hit(&scene, answer(&engine, &scene, nth).await);
        }
    }
}

async fn the_window_of_guesses_for_a_phone_is_exact_over_all_users_and_purposes(database: &mut Database) {
    let window = Limits::default().guesses_per_phone[0];
    database.policy.limits = Limits { guesses_per_phone: vec![window], ..unlimited() };
    let engine = database.engine().await;
    let of = |user: &str, purpose: &str| (User::parse(user).unwrap(), Purpose::parse(purpose).unwrap());
    let send_to = async |(user, purpose): (User, Purpose)| {
        engine.send(&caller(), SendOtp { user, purpose, new_code: true, ..ask(PHONE) }).await.unwrap()
    };
    let wrong = async |(user, purpose): (User, Purpose)| {
        let code = World::wrong(&database.code_on(PHONE));
        engine.verify(&caller(), VerifyOtp { user, purpose, ..guess(PHONE, &code) }).await.unwrap().verdict
    };
    let mut first = None;
    for who in [of("ada", "login"), of("bob", "login"), of("ada", "registration")] {
        sent(send_to(who.clone()).await);
        for left in (0..5).rev() {
            first.get_or_insert(database.now());
            assert_eq!(wrong(who.clone()).await, Verdict::WrongCode { tries_left: left });
            database.advance(GAP);
        }
    }
    let wait = (first.unwrap() + window.per).since(database.now());
    let full = |wait: u64| Hit {
        limit: Limit::GuessesPerPhone,
        subject: SubjectKind::Phone,
        max: 15,
        window_seconds: 86_400,
        used: 15,
        retry_after_seconds: Some(wait),
    };
    for who in [of("ada", "login"), of("eve", "password_reset"), of("", "registration")] {
        let no = refused(send_to(who).await);
        assert_eq!((no.code, no.hits), (Code::TOO_MANY_GUESSES, vec![full(wait.as_secs())]));
    }
    database.clock.advance(wait - MILLISECOND);
    assert_eq!(refusal(&engine, PHONE).await.hits, [full(1)]);
    database.clock.advance(MILLISECOND);
    send(&engine, PHONE).await;
    // Room for one guess: the next one closes it again.
    let code = code_in(database.texts(PHONE).last().unwrap());
    assert_eq!(verdict(&engine, PHONE, &World::wrong(&code)).await, Verdict::WrongCode { tries_left: 4 });
    assert_eq!(refused(send_to(of("ada", "login")).await).hits, [full(GAP)]);
    // The live code goes out again, and takes every guess that is left in it.
    assert!(send(&engine, PHONE).await.resent);
    assert_eq!(verdict(&engine, PHONE, &World::wrong(&code)).await, Verdict::WrongCode { tries_left: 3 });
    assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Verified, "never a guess that is left in a live one");
}

async fn the_window_of_guesses_from_an_address_is_exact(database: &mut Database) {
    let window = Limits::default().guesses_per_ip[0];
    database.policy.limits = Limits { guesses_per_ip: vec![window], ..unlimited() };
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    let code = database.code_on(PHONE);
    let guess = async |to: &str| engine.verify(&client("192.0.2.1"), guess(to, &code)).await.unwrap().verdict;
    for nth in 0..30 {
        assert_eq!(guess(&phone(nth)).await, Verdict::NotFound);
        database.advance(GAP);
    }
    let full = |wait: u64| Hit {
        limit: Limit::GuessesPerIp,
        subject: SubjectKind::Ip,
        max: 30,
        window_seconds: 3600,
        used: 30,
        retry_after_seconds: Some(wait),
    };
    let wait = 3600 - 30 * GAP;
    assert_eq!(guess(PHONE).await, Verdict::TooManyGuesses(full(wait)), "although the code is right");
    // No message for a code that could not be verified from there.
    let no = refused(engine.send(&client("192.0.2.1"), ask(&phone(40))).await.unwrap());
    assert_eq!((no.code, no.hits), (Code::TOO_MANY_GUESSES, vec![full(wait)]));
    database.clock.advance(Duration::from_secs(wait) - MILLISECOND);
    assert_eq!(guess(&phone(50)).await, Verdict::TooManyGuesses(full(1)));
    database.clock.advance(MILLISECOND);
    assert_eq!(guess(&phone(50)).await, Verdict::NotFound);
    assert_eq!(guess(&phone(51)).await, Verdict::TooManyGuesses(full(GAP)));
}
