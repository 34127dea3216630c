//! send: from the limits to the message, what each outcome leaves in the database, and what asking again does.

use std::time::Duration;

use smsotp::code::Code;
use smsotp::engine::{Engine, Override, SendOtp, Sent, Step, Verdict};
use smsotp::error;
use smsotp::limits::Limit;
use smsotp::message::State;
use smsotp::otp::User;
use smsotp::provider::Blame;
use smsotp::purpose::{Purpose, Resend};
use smsotp::sandbox::{self, Fault, Sandbox};
use smsotp::store::Subject;

use crate::world::{
    OTHER, PHONE, World, ada, ask, block_on, caller, client, code_in, dispatch, login, refusal, refused, send, send_as,
    verdict,
};

#[test]
fn a_code_goes_out_once_and_the_next_one_waits_for_the_cooldown() {
    let world = World::new();
    block_on(async {
        let engine = world.engine();
        let sent = send(&engine, PHONE).await;
        assert_eq!(sent.state, State::Accepted);
        assert!(sent.provider_id.unwrap().starts_with("SM"));

        let refusal = refusal(&engine, PHONE).await;
        assert_eq!((refusal.hits[0].limit.as_str(), refusal.retry_after_seconds), ("cooldown", Some(30)));
        assert_eq!(world.sandbox.messages().len(), 1);
    });
}

/// How much of the day's budget the database remembers for a subject.
async fn counted(engine: &Engine, subject: Subject) -> usize {
    let facts = engine.reads().usages(&[subject]).await.unwrap();
    let usage = facts.into_iter().next().flatten().map(|fact| fact.usage).unwrap_or_default();
    usage.sends.len() + usage.slots.first().map_or(0, |s| s.counts.iter().map(|(_, n)| *n as usize).sum())
}

/// Messages counted for the phone, the user, the client's address, its network, and everyone.
async fn counts(engine: &Engine) -> [usize; 5] {
    let [ip, network] = Subject::of_client("192.0.2.7".parse().unwrap());
    let SendOtp { to, user, .. } = ask(PHONE);
    let subjects = [Subject::Phone(to.phone().clone()), Subject::User(user), ip, network, Subject::Everything];
    let mut counts = [0; 5];
    for (count, subject) in counts.iter_mut().zip(subjects) {
        *count = counted(engine, subject).await;
    }
    counts
}

/// One row of the table of outcomes.
struct Outcome {
    fault: Option<Fault>,
    message: State,
    otp: &'static str,
    counts: [usize; 5],
    blame: Option<Blame>,
}

const ALL: [usize; 5] = [1, 1, 1, 1, 1];
/// Never given back: the address, the network, everyone.
const GIVEN_BACK: [usize; 5] = [0, 0, 1, 1, 1];

fn outcomes() -> Vec<Outcome> {
    let row = |fault: Option<Fault>, message, otp, counts, blame| Outcome { fault, message, otp, counts, blame };
    let maybe = |fault| row(Some(fault), State::Unknown, "active", ALL, None);
    let refused = |fault, blame| row(Some(fault), State::Failed, "failed", GIVEN_BACK, Some(blame));
    vec![
        row(None, State::Accepted, "active", ALL, None),
        row(Some(Fault::Latency(Duration::from_millis(5))), State::Accepted, "active", ALL, None),
        refused(Fault::Code(21_211), Blame::Request),
        refused(Fault::Unauthorized, Blame::Setup),
        refused(Fault::Redirect("http://127.0.0.1:9/".to_owned()), Blame::Setup),
        maybe(Fault::Error500),
        maybe(Fault::Error503),
        maybe(Fault::Error500AfterAccepting),
        maybe(Fault::Reset),
        maybe(Fault::ResetAfterAccepting),
        maybe(Fault::Hang),
        maybe(Fault::HalfAnswer),
        maybe(Fault::MalformedJson),
        maybe(Fault::NoSid),
        maybe(Fault::HugeBody),
        maybe(Fault::HtmlPage(200)),
        maybe(Fault::HtmlPage(502)),
        maybe(Fault::HtmlPage(408)),
        maybe(Fault::HtmlPage(409)),
    ]
}

#[test]
fn every_outcome_leaves_in_the_database_what_the_table_says() {
    for row in outcomes() {
        let mut world = World::new();
        world.timeouts.create = Duration::from_secs(2);
        if let Some(fault) = &row.fault {
            world.sandbox.fault(fault.clone(), 1);
        }
        block_on(async {
            let engine = world.engine();
            let sent = send_as(&engine, &client("192.0.2.7"), ask(PHONE)).await;

            let fault = &row.fault;
            assert_eq!(sent.state, row.message, "{fault:?}");
            assert_eq!(world.word("SELECT state FROM messages"), row.message.as_str(), "{fault:?}");
            assert_eq!(world.word("SELECT state FROM otps"), row.otp, "{fault:?}");
            assert_eq!(counts(&engine).await, row.counts, "{fault:?}");
            assert_eq!(sent.blame, row.blame, "{fault:?}");
            assert_eq!(world.sandbox.requests(), 1, "{fault:?}: never again by itself");
            // What may be out has somebody who looks for it; nothing else has.
            let due = world.number("SELECT count(*) FROM messages WHERE due_at IS NOT NULL");
            assert_eq!(due, i64::from(row.message == State::Unknown), "{fault:?}");
        });
        assert_eq!(world.audit().iter().map(|(action, _)| action.as_str()).collect::<Vec<_>>(), ["send", "settle"]);
    }
}

#[test]
fn what_was_given_back_can_be_asked_for_again_at_once() {
    let world = World::new();
    world.sandbox.fault(Fault::Code(30_001), 1);
    block_on(async {
        let engine = world.engine();
        let failed = send(&engine, PHONE).await;
        assert_eq!((failed.state, failed.otp_id), (State::Failed, 1));

        let sent = send(&engine, PHONE).await;
        assert_eq!((sent.state, sent.otp_id, sent.resent), (State::Accepted, 2, false));
    });
}

#[test]
fn refusals_by_the_provider_have_a_limit_of_their_own() {
    let world = World::new();
    world.sandbox.fault(Fault::Code(21_211), 99);
    block_on(async {
        let engine = world.engine();
        for _ in 0..5 {
            assert_eq!(send(&engine, PHONE).await.state, State::Failed);
        }
        let no = refusal(&engine, PHONE).await;
        assert_eq!((no.hits[0].limit.as_str(), no.hits[0].max), ("refused", 5));
        assert_eq!(world.sandbox.requests(), 5);

        world.advance(3601);
        assert_eq!(send(&engine, PHONE).await.state, State::Failed);
    });
}

#[test]
fn an_otp_with_a_message_that_may_be_out_does_not_fail_with_a_later_one() {
    let world = World::new();
    world.sandbox.fault(Fault::ResetAfterAccepting, 1);
    block_on(async {
        let engine = world.engine();
        assert_eq!(send(&engine, PHONE).await.state, State::Unknown);
        world.advance(31);
        world.sandbox.fault(Fault::Code(30_001), 1);
        assert_eq!(send(&engine, PHONE).await.state, State::Failed);

        assert_eq!(world.word("SELECT state FROM otps"), "active");
        assert_eq!(verdict(&engine, PHONE, &world.code_on(PHONE)).await, Verdict::Verified);
    });
}

/// Moves the clock on whenever an attempt has failed: the pauses are real, the time they use up is not.
fn hasty(world: &World, seconds: u64) -> Engine {
    let clock = std::sync::Arc::clone(&world.clock);
    world.engine().on_step(move |step| {
        if step == Step::Settled {
            clock.advance(Duration::from_secs(seconds));
        }
    })
}

#[test]
fn what_surely_was_not_sent_is_tried_again_inside_the_timeout() {
    let world = World::new();
    world.sandbox.fault(Fault::Status429 { retry_after: None }, 2);
    block_on(async {
        let sent = send(&hasty(&world, 2), PHONE).await;
        assert_eq!((sent.state, sent.message_id), (State::Accepted, 1));
    });
    assert_eq!((world.sandbox.requests(), world.sandbox.messages().len()), (3, 1));
    assert_eq!(world.number("SELECT attempts FROM messages"), 3);
    // Charged once, however many attempts it took.
    block_on(async { assert_eq!(counts(&world.engine()).await, [1, 1, 0, 0, 1]) });
}

#[test]
fn when_the_timeout_is_used_up_the_message_has_failed_and_is_given_back() {
    let world = World::new();
    world.sandbox.fault(Fault::Status429 { retry_after: Some(1) }, 99);
    block_on(async {
        let engine = hasty(&world, 16);
        let sent = send(&engine, PHONE).await;
        assert_eq!((sent.state, sent.blame), (State::Failed, Some(Blame::Provider)));
        assert!(world.sandbox.requests() >= 3);
        assert_eq!(world.word("SELECT state FROM otps"), "failed");
        assert_eq!(counts(&engine).await, [0, 0, 0, 0, 1]);
    });
}

#[test]
fn a_provider_that_cannot_be_reached_fails_as_surely_not_sent() {
    let mut world = World::new();
    let gone = Sandbox::start(sandbox::Options::default()).unwrap();
    let env = gone.env();
    drop(gone);
    world.timeouts.connect = Duration::from_secs(2);
    block_on(async {
        let provider = crate::world::twilio(&env, world.timeouts, world.shared_clock());
        let engine = world.engine().with_provider(std::sync::Arc::new(provider));
        let sent = send_as(&engine, &caller(), SendOtp { timeout: Duration::ZERO, ..ask(PHONE) }).await;
        assert_eq!(sent.state, State::Failed);
        assert_eq!(counts(&engine).await, [0, 0, 0, 0, 1]);
    });
}

#[test]
fn asking_again_climbs_the_ladder_of_pauses_and_sends_the_same_code() {
    let mut world = World::new();
    world.policy.limits =
        smsotp::limits::Limits { cooldown: smsotp::limits::Limits::default().cooldown, ..crate::world::unlimited() };
    world.policy.purposes.get_mut(&login()).unwrap().ttl = Duration::from_secs(3600);
    block_on(async {
        let engine = world.engine();
        let first = send(&engine, PHONE).await;
        for pause in [30, 60, 120, 300, 600] {
            world.advance(pause - 1);
            assert_eq!(refusal(&engine, PHONE).await.retry_after_seconds, Some(1), "{pause}");
            world.advance(1);
            let again = send(&engine, PHONE).await;
            assert_eq!((again.otp_id, again.resent, again.expires_at), (first.otp_id, true, first.expires_at));
        }
        assert_eq!(refusal(&engine, PHONE).await.retry_after_seconds, Some(1800));

        let texts = world.texts(PHONE);
        assert_eq!(texts.len(), 6);
        assert!(texts.iter().all(|text| code_in(text).matches(&code_in(&texts[0]))));
        assert_eq!(verdict(&engine, PHONE, &code_in(&texts[0])).await, Verdict::Verified);
        // Success ends the ladder.
        assert!(!send(&engine, PHONE).await.resent);
    });
}

#[test]
fn the_text_tells_the_minutes_left_and_the_validity_the_seconds() {
    let world = World::new();
    block_on(async {
        let engine = world.engine();
        send(&engine, PHONE).await;
        world.advance(61);
        send(&engine, PHONE).await;
    });
    let texts = world.texts(PHONE);
    assert_eq!((texts[0].validity, texts[1].validity), (Some(600), Some(539)));
    assert!(texts[0].body.contains("10 minutes"), "{}", texts[0].body.replace(|c: char| c.is_ascii_digit(), "0"));
    assert!(texts[1].body.contains("8 minutes"));
}

#[test]
fn a_new_code_supersedes_the_old_one_when_it_is_asked_for_when_little_time_is_left_or_by_policy() {
    let cases: [(&str, u64, bool, Resend, bool); 5] = [
        ("asked for", 31, true, Resend::Same, true),
        ("121 s left", 479, false, Resend::Same, false),
        ("120 s left", 480, false, Resend::Same, false),
        ("119 s left", 481, false, Resend::Same, true),
        ("policy", 31, false, Resend::New, true),
    ];
    for (case, after, new_code, resend, new) in cases {
        let mut world = World::new();
        world.policy.purposes.get_mut(&login()).unwrap().resend = resend;
        block_on(async {
            let engine = world.engine();
            let first = send(&engine, PHONE).await;
            let old = world.code_on(PHONE);
            world.advance(after);
            let second = send_as(&engine, &caller(), SendOtp { new_code, ..ask(PHONE) }).await;

            assert_eq!(second.otp_id != first.otp_id, new, "{case}");
            assert_eq!(!world.code_on(PHONE).matches(&old), new, "{case}");
            let state = world.word("SELECT state FROM otps WHERE id = 1");
            assert_eq!(state, if new { "superseded" } else { "active" }, "{case}");
            if new {
                assert_eq!(verdict(&engine, PHONE, &old).await, Verdict::Superseded, "{case}");
                assert_eq!(world.number("SELECT wrong_guesses FROM otps WHERE id = 2"), 1, "{case}: a wrong guess");
            }
            assert_eq!(verdict(&engine, PHONE, &world.code_on(PHONE)).await, Verdict::Verified, "{case}");
        });
    }
}

#[test]
fn a_resend_gives_no_guesses_back() {
    let world = World::new();
    block_on(async {
        let engine = world.engine();
        send(&engine, PHONE).await;
        let code = world.code_on(PHONE);
        for left in [4, 3] {
            let wrong = verdict(&engine, PHONE, &World::wrong(&code)).await;
            assert_eq!(wrong, Verdict::WrongCode { tries_left: left });
        }
        world.advance(31);
        assert!(send(&engine, PHONE).await.resent);
        assert_eq!(world.number("SELECT wrong_guesses FROM otps"), 2);
    });
}

#[test]
fn nothing_is_sent_in_the_last_fifteen_seconds() {
    // A retry that falls into them is not made.
    for (left, out) in [(15, 1), (14, 0)] {
        let mut world = World::new();
        world.policy.purposes.get_mut(&login()).unwrap().ttl = Duration::from_secs(60);
        world.sandbox.fault(Fault::Status429 { retry_after: None }, 1);
        let clock = std::sync::Arc::clone(&world.clock);
        let begun = world.now();
        let engine = world.engine().on_step(move |step| {
            if step == Step::Claimed {
                clock.set(begun + Duration::from_secs(60 - left));
            } else if step == Step::Settled {
                clock.advance(Duration::from_secs(2));
            }
        });
        block_on(async {
            let asked = SendOtp { timeout: Duration::from_secs(3600), ..ask(PHONE) };
            let sent = send_as(&engine, &caller(), asked).await;
            assert_eq!(world.sandbox.messages().len(), out, "{left}");
            assert_eq!(sent.state == State::Accepted, out == 1, "{left}");
        });
    }
}

/// An engine on which somebody else's operation happens right after its first attempt was settled.
fn meanwhile(world: &World, operation: impl FnOnce() + std::marker::Send + 'static) -> Engine {
    let (clock, operation) = (std::sync::Arc::clone(&world.clock), std::sync::Mutex::new(Some(operation)));
    world.engine().on_step(move |step| {
        let operation = if step == Step::Settled { operation.lock().unwrap().take() } else { None };
        if let Some(operation) = operation {
            std::thread::scope(|scope| scope.spawn(operation).join().unwrap());
            clock.advance(Duration::from_secs(2));
        }
    })
}

#[test]
fn an_attempt_that_waits_is_not_made_for_a_code_that_is_over_by_then() {
    let world = World::unlimited();
    world.sandbox.fault(Fault::Status429 { retry_after: None }, 1);
    let other = world.engine();
    let engine = meanwhile(&world, move || {
        block_on(async { send_as(&other, &caller(), SendOtp { new_code: true, ..ask(PHONE) }).await });
    });
    block_on(async {
        let sent = send(&engine, PHONE).await;
        assert_eq!((sent.otp_id, sent.state, world.sandbox.requests()), (1, State::Failed, 2));
        assert_eq!(world.texts(PHONE).len(), 1, "the new code alone");

        world.advance(31);
        assert_eq!(dispatch(&engine).await.looked_at, 0);
    });
}

#[test]
fn an_opt_out_at_the_provider_is_kept_and_respected_until_it_is_reset() {
    let world = World::new();
    world.sandbox.fault(Fault::Code(21_610), 1);
    block_on(async {
        let engine = world.engine();
        assert_eq!(send(&engine, PHONE).await.error_code, Some(21_610));
        for pause in [0, 3600, 90 * 86_400] {
            world.advance(pause);
            assert_eq!(refusal(&engine, PHONE).await.code, error::Code::OPTED_OUT);
            // A purge does not forget it.
            crate::world::purge(&engine, Duration::ZERO).await;
        }
        assert_eq!(world.sandbox.requests(), 1, "no call for a recipient who opted out");

        let reset = |opt_out| smsotp::engine::Reset {
            subject: Subject::Phone(ask(PHONE).to.phone().clone()),
            user: ada(),
            opt_out,
            reason: "the customer asked".to_owned(),
        };
        assert!(!engine.reset(&caller(), reset(false)).await.unwrap().opt_out);
        assert_eq!(refusal(&engine, PHONE).await.code, error::Code::OPTED_OUT);
        assert!(engine.reset(&caller(), reset(true)).await.unwrap().opt_out);
        assert_eq!(send(&engine, PHONE).await.state, State::Accepted);
    });
}

#[test]
fn whoever_opted_out_gets_not_even_what_was_waiting_for_another_attempt() {
    let world = World::unlimited();
    // One purpose's message waits; then another's answer says that the recipient opted out.
    world.sandbox.fault(Fault::Status429 { retry_after: None }, 1);
    world.sandbox.fault(Fault::Code(21_610), 1);
    let other = world.engine();
    let engine = meanwhile(&world, move || {
        let purpose = Purpose::parse("registration").unwrap();
        let told = block_on(async { send_as(&other, &caller(), SendOtp { purpose, ..ask(PHONE) }).await });
        assert_eq!(told.error_code, Some(21_610));
    });
    block_on(async {
        assert_eq!(send(&engine, PHONE).await.state, State::Failed);
        assert_eq!(refusal(&engine, PHONE).await.code, error::Code::OPTED_OUT);
        world.advance(30);
        dispatch(&engine).await;
    });
    assert_eq!((world.sandbox.requests(), world.sandbox.messages().len()), (2, 0));
}

#[test]
fn a_code_is_new_to_its_phone_and_purpose() {
    let mut world = World::unlimited();
    // Four digits: of 10,000 codes, 64 draws meet an old one soon enough, were they not looked at.
    world.policy.purposes.get_mut(&login()).unwrap().digits = 4;
    block_on(async {
        let engine = world.engine();
        let mut codes: Vec<String> = Vec::new();
        for _ in 0..300 {
            send_as(&engine, &caller(), SendOtp { new_code: true, ..ask(PHONE) }).await;
            let code = world.code_on(PHONE).expose().to_owned();
            let newest = codes.iter().rev().take(64);
            assert_eq!(newest.filter(|old| **old == code).count(), 0);
            codes.push(code);
        }
    });
}

#[test]
fn a_code_is_the_same_for_nobody_else() {
    let world = World::unlimited();
    block_on(async {
        let engine = world.engine();
        for user in ["ada", "bob", ""] {
            let asked = SendOtp { user: User::parse(user).unwrap(), ..ask(OTHER) };
            send_as(&engine, &caller(), asked).await;
        }
        let codes: Vec<Code> = world.texts(OTHER).iter().map(code_in).collect();
        assert!(!codes[0].matches(&codes[1]) && !codes[0].matches(&codes[2]) && !codes[1].matches(&codes[2]));
    });
}

#[test]
fn what_cannot_be_sent_is_said_before_anything_is_recorded() {
    let mut world = World::new();
    block_on(async {
        let bad = |error: error::Error| error.code();
        let engine = world.engine();
        let purpose = Purpose::parse("haircut").unwrap();
        let unknown = engine.send(&caller(), SendOtp { purpose, ..ask(PHONE) }).await.unwrap_err();
        assert_eq!(bad(unknown), error::Code::PURPOSE_UNKNOWN);
        let silent = smsotp::engine::Engine::new(world.store(), world.keyring(), std::sync::Arc::default());
        assert_eq!(bad(silent.send(&caller(), ask(PHONE)).await.unwrap_err()), error::Code::NO_PROVIDER);
        let keyless = SendOtp { idempotency_key: Some("a\nb".to_owned()), ..ask(PHONE) };
        assert_eq!(bad(engine.send(&caller(), keyless).await.unwrap_err()), error::Code::VALUE_INVALID);
    });
    world.policy.app_name = "Ünïcödé Łtd 漢字".repeat(8);
    block_on(async {
        let long = world.engine().send(&caller(), ask(PHONE)).await.unwrap_err();
        assert_eq!(long.code(), error::Code::TOO_MANY_SEGMENTS);
    });
    assert_eq!(world.number("SELECT (SELECT count(*) FROM otps) + (SELECT count(*) FROM audit)"), 0);
    assert_eq!(world.sandbox.requests(), 0);
}

#[test]
fn kinds_of_numbers_and_countries_that_get_no_codes_are_refused() {
    let mut world = World::new();
    world.policy.countries = Some(vec!["us".to_owned()]);
    block_on(async {
        let engine = world.engine();
        // A British mobile number, and a freephone number of the country that is allowed.
        for (phone, code) in
            [("+447400123456", error::Code::COUNTRY_NOT_ALLOWED), ("+18002345678", error::Code::NUMBER_KIND)]
        {
            assert_eq!(refusal(&engine, phone).await.code, code, "{phone}");
        }
        assert_eq!(send(&engine, PHONE).await.state, State::Accepted);
    });
    assert_eq!(world.sandbox.requests(), 1);
}

#[test]
fn staff_may_set_one_limit_aside_and_the_audit_log_says_why() {
    let world = World::new();
    block_on(async {
        let engine = world.engine();
        send(&engine, PHONE).await;
        let over = |limit: Limit| SendOtp {
            override_limits: Some(Override { limits: vec![limit], reason: "ticket OPS-7".to_owned() }),
            ..ask(PHONE)
        };
        let no = refused(engine.send(&caller(), over(Limit::User)).await.unwrap());
        assert_eq!(no.hits[0].limit.as_str(), "cooldown", "another limit stays");
        let sent: Sent = send_as(&engine, &caller(), over(Limit::Cooldown)).await;
        assert_eq!(sent.state, State::Accepted);
    });
    let body = world.word("SELECT CAST(body AS TEXT) FROM audit WHERE action = 'send' ORDER BY seq DESC LIMIT 1");
    assert!(body.contains("\"override\":\"cooldown\"") && body.contains("ticket OPS-7"), "{body}");
}
