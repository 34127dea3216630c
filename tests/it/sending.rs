//! send: from the limits to the message, what each outcome leaves in the database, and what asking again does.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use smsotp::code::Code;
use smsotp::engine::{Engine, Override, Reset, SendOtp, Step, Verdict, VerifyOtp};
use smsotp::error;
use smsotp::limits::{Limit, Limits};
use smsotp::message::State;
use smsotp::otp::User;
use smsotp::provider::Blame;
use smsotp::purpose::{Purpose, Resend};
use smsotp::sandbox::{self, Fault, Sandbox};
use smsotp::store::Subject;

use crate::processes::phone;
use crate::stores::{Database, on_every_store};
use crate::world::{
    OTHER, PHONE, ada, ask, block_on, caller, client, code_in, dispatch, dispatch_all, guess, login, phone_subject,
    purge, refusal, refused, send, send_and_die, send_as, twilio, unlimited, usage, verdict,
};

on_every_store![
    a_code_goes_out_once_and_the_next_one_waits_for_the_cooldown,
    every_outcome_leaves_in_the_database_what_the_table_says,
    what_was_given_back_can_be_asked_for_again_at_once,
    an_otp_with_a_message_that_may_be_out_does_not_fail_with_a_later_one,
    what_surely_was_not_sent_is_tried_again_inside_the_timeout,
    when_the_timeout_is_used_up_the_message_waits_for_dispatch_and_stays_counted,
    a_provider_that_is_busy_is_left_alone_until_the_time_that_it_named,
    the_outcome_decides_the_exit_code_and_the_first_answer_is_as_the_second,
    a_provider_that_cannot_be_reached_fails_as_surely_not_sent,
    asking_again_waits_longer_each_time_and_sends_the_same_code,
    the_text_says_the_minutes_left_and_the_validity_the_seconds,
    a_new_code_supersedes_the_old_one_when_it_is_asked_for_when_little_time_is_left_or_by_policy,
    nothing_is_sent_in_the_last_fifteen_seconds,
    no_attempt_is_planned_for_the_last_fifteen_seconds,
    an_attempt_that_waits_is_not_made_for_a_code_that_is_over_by_then,
    an_opt_out_at_the_provider_is_kept_and_respected_until_it_is_reset,
    whoever_opted_out_gets_not_even_what_was_waiting_for_another_attempt,
    a_code_is_new_to_its_phone_and_purpose,
    a_code_is_the_same_for_nobody_else,
    what_cannot_be_sent_is_said_before_anything_is_recorded,
    kinds_of_numbers_and_countries_that_get_no_codes_are_refused,
    staff_may_set_one_limit_aside_and_the_audit_log_says_why,
];

async fn a_code_goes_out_once_and_the_next_one_waits_for_the_cooldown(database: &mut Database) {
    let engine = database.engine().await;
    let sent = send(&engine, PHONE).await;
    assert_eq!(sent.state, State::Accepted);
    assert!(sent.provider_id.clone().unwrap().starts_with("SM"));

    let refusal = refusal(&engine, PHONE).await;
    assert_eq!((refusal.hits[0].limit.as_str(), refusal.retry_after_seconds), ("cooldown", Some(30)));
    assert_eq!(database.sandbox.messages().len(), 1);
}

/// How many messages of the day are counted for the phone, the user, the client's address, its network, and everyone.
async fn counts(engine: &Engine, phone: &str, ip: &str) -> [usize; 5] {
    let [ip, network] = Subject::of_client(ip.parse().unwrap());
    let mut counts = Vec::new();
    for subject in [phone_subject(phone), Subject::User(user_of(phone)), ip, network, Subject::Everything] {
        let usage = usage(engine, subject).await;
        let slots = usage.slots.first().map_or(0, |slots| slots.counts.iter().map(|(_, n)| *n as usize).sum());
        counts.push(usage.sends.len() + slots);
    }
    counts.try_into().unwrap()
}

/// A user of each phone's own.
fn user_of(phone: &str) -> User {
    User::parse(&format!("user of {phone}")).unwrap()
}

fn ask_alone(phone: &str) -> SendOtp {
    SendOtp { user: user_of(phone), ..ask(phone) }
}

/// An address that nobody asked from.
const IP: &str = "192.0.2.7";

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
    let busy = |fault| row(Some(fault), State::Queued, "active", ALL, Some(Blame::Limit));
    let ended = |status: &str, error_code, blame| {
        let fault = Fault::Ended { status: status.to_owned(), error_code };
        row(Some(fault), State::parse(status).unwrap(), "failed", ALL, Some(blame))
    };
    vec![
        row(None, State::Accepted, "active", ALL, None),
        row(Some(Fault::Latency(Duration::from_millis(5))), State::Accepted, "active", ALL, None),
        refused(Fault::Code(21_211), Blame::Request),
        refused(Fault::Code(21_606), Blame::Setup),
        refused(Fault::Denied { status: 403, code: Some(20_403) }, Blame::Setup),
        refused(Fault::Denied { status: 403, code: None }, Blame::Setup),
        refused(Fault::Denied { status: 403, code: Some(60_410) }, Blame::Fraud),
        refused(Fault::Denied { status: 403, code: Some(60_205) }, Blame::Recipient),
        refused(Fault::Denied { status: 404, code: None }, Blame::Provider),
        busy(Fault::Status429 { retry_after: Some(120) }),
        busy(Fault::Status503 { retry_after: Some(120) }),
        refused(Fault::Status429 { retry_after: Some(3600) }, Blame::Limit),
        ended("failed", Some(30_008), Blame::Carrier),
        ended("undelivered", Some(30_003), Blame::Recipient),
        ended("canceled", None, Blame::Provider),
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

async fn every_outcome_leaves_in_the_database_what_the_table_says(database: &mut Database) {
    database.timeouts.create = Duration::from_secs(2);
    let engine = database.engine().await;
    for (nth, row) in outcomes().into_iter().enumerate() {
        let (to, ip, fault) = (phone(nth), format!("10.0.{nth}.7"), &row.fault);
        if let Some(fault) = fault {
            database.sandbox.fault(fault.clone(), 1);
        }
        let (requests, audit) = (database.sandbox.requests(), database.audit().len());
        let everyone = counts(&engine, &to, &ip).await[4];
        let sent = send_as(&engine, &client(&ip), ask_alone(&to)).await;

        assert_eq!(sent.state, row.message, "{fault:?}");
        let of = |column: &str, table: &str| {
            database.word(&format!("SELECT {column} FROM {table} WHERE phone_number = '{to}'"))
        };
        assert_eq!(of("state", "messages"), row.message.as_str(), "{fault:?}");
        assert_eq!(of("state", "otps"), row.otp, "{fault:?}");
        let mut counted = counts(&engine, &to, &ip).await;
        counted[4] -= everyone;
        assert_eq!(counted, row.counts, "{fault:?}");
        assert_eq!(sent.blame, row.blame, "{fault:?}");
        assert_eq!(database.sandbox.requests() - requests, 1, "{fault:?}: never again by itself");
        // The worker looks for what may be out and tries again what waits, and nothing else.
        let due = matches!(row.message, State::Unknown | State::Queued);
        assert_eq!(of("count(due_at)", "messages") == "1", due, "{fault:?}");
        let settled = format!("settle {}", row.message.as_str());
        assert_eq!(database.audit()[audit..], ["send reserved".to_owned(), settled], "{fault:?}");
    }
}

async fn what_was_given_back_can_be_asked_for_again_at_once(database: &mut Database) {
    database.sandbox.fault(Fault::Code(30_001), 1);
    let engine = database.engine().await;
    let failed = send(&engine, PHONE).await;
    assert_eq!(failed.state, State::Failed);
    assert_eq!(database.word("SELECT state FROM otps"), "failed");

    let sent = send(&engine, PHONE).await;
    assert_eq!((sent.state, sent.resent), (State::Accepted, false));
    assert_ne!(sent.otp_id, failed.otp_id);
    assert_eq!(verdict(&engine, PHONE, &database.code_on(PHONE)).await, Verdict::Verified);
}

async fn an_otp_with_a_message_that_may_be_out_does_not_fail_with_a_later_one(database: &mut Database) {
    database.sandbox.fault(Fault::ResetAfterAccepting, 1);
    let engine = database.engine().await;
    assert_eq!(send(&engine, PHONE).await.state, State::Unknown);
    database.advance(31);
    database.sandbox.fault(Fault::Code(30_001), 1);
    assert_eq!(send(&engine, PHONE).await.state, State::Failed);

    assert_eq!(database.word("SELECT state FROM otps"), "active");
    assert_eq!(verdict(&engine, PHONE, &database.code_on(PHONE)).await, Verdict::Verified);
}

/// Moves the clock on whenever an attempt was settled: the pauses are real, the time they use up is not.
async fn hasty(database: &Database, seconds: u64) -> Engine {
    let clock = Arc::clone(&database.clock);
    database.engine().await.on_step(move |step| {
        if step == Step::Settled {
            clock.advance(Duration::from_secs(seconds));
        }
    })
}

async fn what_surely_was_not_sent_is_tried_again_inside_the_timeout(database: &mut Database) {
    database.sandbox.fault(Fault::Status429 { retry_after: None }, 2);
    let engine = hasty(database, 4).await;
    assert_eq!(send_as(&engine, &caller(), ask_alone(PHONE)).await.state, State::Accepted);
    assert_eq!((database.sandbox.requests(), database.sandbox.messages().len()), (3, 1));
    assert_eq!(database.number("SELECT attempts FROM messages"), 3);
    // Charged once, however many attempts it took.
    assert_eq!(counts(&engine, PHONE, IP).await, [1, 1, 0, 0, 1]);
}

async fn when_the_timeout_is_used_up_the_message_waits_for_dispatch_and_stays_counted(database: &mut Database) {
    database.sandbox.fault(Fault::Status429 { retry_after: Some(1) }, 99);
    let engine = hasty(database, 16).await;
    let sent = send_as(&engine, &caller(), ask_alone(PHONE)).await;
    let failure = sent.failure().unwrap();
    assert_eq!(
        (sent.state, failure.code(), sent.error_code),
        (State::Queued, error::Code::PROVIDER_BUSY, Some(20_429))
    );
    assert!(failure.retry_after_hint().is_some_and(|after| after >= Duration::from_secs(1)));
    let requests = database.sandbox.requests();
    assert!((3..=5).contains(&requests), "{requests} requests in 45 s");
    assert_eq!(database.word("SELECT state FROM otps"), "active");
    assert_eq!(counts(&engine, PHONE, IP).await, [1, 1, 0, 0, 1]);

    // It is sent as soon as the provider takes it, once.
    database.sandbox.clear_faults();
    database.advance(60);
    assert_eq!(dispatch(&database.engine().await).await.sent, 1);
    assert_eq!(verdict_of_user(&engine, &database.code_on(PHONE)).await, Verdict::Verified);
}

async fn verdict_of_user(engine: &Engine, code: &smsotp::code::Code) -> Verdict {
    let ask = VerifyOtp { user: user_of(PHONE), ..guess(PHONE, code) };
    engine.verify(&caller(), ask).await.unwrap().verdict
}

async fn a_provider_that_is_busy_is_left_alone_until_the_time_that_it_named(database: &mut Database) {
    for (nth, fault) in [Fault::Status429 { retry_after: Some(120) }, Fault::Status503 { retry_after: Some(120) }]
        .into_iter()
        .enumerate()
    {
        let to = phone(nth);
        database.sandbox.fault(fault, 1);
        let engine = database.engine().await;
        let before = database.sandbox.requests();

        let first = send_as(&engine, &caller(), ask_alone(&to)).await;
        assert_eq!((first.state, first.retry_after_seconds), (State::Queued, Some(120)));

        // Neither a second ask nor a worker comes sooner.
        database.advance(60);
        let second = send_as(&engine, &caller(), ask_alone(&to)).await;
        assert_eq!((second.state, second.message_id), (State::Queued, first.message_id));
        let left = second.retry_after_seconds.unwrap();
        assert!((54..=61).contains(&left), "{left}");
        assert_eq!(dispatch_all(&engine).await.looked_at, 0);
        assert_eq!(database.sandbox.requests() - before, 1);

        database.advance(66);
        assert_eq!(send_as(&engine, &caller(), ask_alone(&to)).await.state, State::Accepted);
        assert_eq!((database.sandbox.requests() - before, database.texts(&to).len()), (2, 1));
    }
}

async fn the_outcome_decides_the_exit_code_and_the_first_answer_is_as_the_second(database: &mut Database) {
    database.unlimited();
    let denied = |status, code| Fault::Denied { status, code };
    let ended = |status: &str, error_code| Fault::Ended { status: status.to_owned(), error_code };
    let engine = database.engine().await;
    for (nth, (fault, code)) in [
        (Fault::Unauthorized, error::Code::PROVIDER_CONFIG),
        (denied(401, Some(70_051)), error::Code::PROVIDER_CONFIG),
        (denied(403, Some(20_005)), error::Code::PROVIDER_CONFIG),
        (denied(403, Some(20_006)), error::Code::PROVIDER_CONFIG),
        (denied(403, None), error::Code::PROVIDER_CONFIG),
        (denied(407, None), error::Code::PROVIDER_CONFIG),
        (Fault::Redirect("http://127.0.0.1:9/".to_owned()), error::Code::PROVIDER_CONFIG),
        (Fault::Code(21_606), error::Code::PROVIDER_CONFIG),
        (denied(403, Some(60_410)), error::Code::PROVIDER_FORBIDS),
        (denied(403, Some(60_205)), error::Code::PROVIDER_FORBIDS),
        (denied(400, Some(21_614)), error::Code::PROVIDER_FORBIDS),
        (denied(400, Some(30_450)), error::Code::PROVIDER_FORBIDS),
        (Fault::Code(21_610), error::Code::OPTED_OUT),
        (ended("failed", Some(21_610)), error::Code::OPTED_OUT),
        (Fault::Code(21_211), error::Code::PROVIDER_REFUSED),
        (denied(400, Some(21_608)), error::Code::PROVIDER_REFUSED),
        (denied(404, None), error::Code::PROVIDER_REFUSED),
        (denied(413, None), error::Code::PROVIDER_REFUSED),
        (ended("failed", Some(30_008)), error::Code::PROVIDER_REFUSED),
        (ended("undelivered", Some(30_003)), error::Code::PROVIDER_REFUSED),
        (ended("canceled", None), error::Code::PROVIDER_REFUSED),
        (Fault::Status429 { retry_after: Some(300) }, error::Code::PROVIDER_BUSY),
        (Fault::Status429 { retry_after: Some(3600) }, error::Code::PROVIDER_BUSY),
        (Fault::Status503 { retry_after: Some(300) }, error::Code::PROVIDER_BUSY),
        (Fault::Error503, error::Code::MAYBE_SENT),
        (denied(409, Some(20_409)), error::Code::MAYBE_SENT),
        (denied(408, None), error::Code::MAYBE_SENT),
        (denied(529, None), error::Code::MAYBE_SENT),
    ]
    .into_iter()
    .enumerate()
    {
        let to = phone(nth);
        database.sandbox.fault(fault.clone(), 1);
        let key = Some(format!("key of {to}"));
        let ask = || SendOtp { idempotency_key: key.clone(), ..ask_alone(&to) };
        let first = send_as(&engine, &caller(), ask()).await.failure().unwrap();
        assert_eq!(first.code(), code, "{fault:?}: {first}");
        assert!(first.hint_text().is_some() && !first.message().contains("no reason was given"), "{fault:?}: {first}");
        // The same key, the same answer.
        let again = send_as(&engine, &caller(), ask()).await.failure().unwrap();
        assert_eq!((again.code(), again.class()), (code, first.class()), "{fault:?}: {again}");
        if code == error::Code::OPTED_OUT {
            let second = refused(engine.send(&caller(), ask_alone(&to)).await.unwrap());
            assert_eq!((second.code, Some(second.hint.as_str())), (code, first.hint_text()));
        }
    }
}

async fn a_provider_that_cannot_be_reached_fails_as_surely_not_sent(database: &mut Database) {
    let gone = Sandbox::start(sandbox::Options::default()).unwrap();
    let env = gone.env();
    drop(gone);
    database.timeouts.connect = Duration::from_secs(2);
    let provider = twilio(&env, database.timeouts, database.shared_clock());
    let engine = database.engine().await.with_provider(Arc::new(provider));
    let sent = send_as(&engine, &caller(), SendOtp { timeout: Duration::ZERO, ..ask_alone(PHONE) }).await;
    assert_eq!(sent.state, State::Failed);
    assert_eq!(counts(&engine, PHONE, IP).await, [0, 0, 0, 0, 1]);
}

async fn asking_again_waits_longer_each_time_and_sends_the_same_code(database: &mut Database) {
    database.policy.limits = Limits { cooldown: Limits::default().cooldown, ..unlimited() };
    database.policy.purposes.get_mut(&login()).unwrap().ttl = Duration::from_secs(3600);
    let engine = database.engine().await;
    let first = send(&engine, PHONE).await;
    for pause in [30, 60, 120, 300, 600] {
        database.advance(pause - 1);
        assert_eq!(refusal(&engine, PHONE).await.retry_after_seconds, Some(1), "{pause}");
        database.advance(1);
        let again = send(&engine, PHONE).await;
        assert_eq!((again.otp_id, again.resent, again.expires_at), (first.otp_id, true, first.expires_at));
    }
    assert_eq!(refusal(&engine, PHONE).await.retry_after_seconds, Some(1800));

    let texts = database.texts(PHONE);
    assert_eq!(texts.len(), 6);
    assert!(texts.iter().all(|text| code_in(text).matches(&code_in(&texts[0]))));
    assert_eq!(verdict(&engine, PHONE, &code_in(&texts[0])).await, Verdict::Verified);
    // After a success the pauses begin anew.
    assert!(!send(&engine, PHONE).await.resent);
}

async fn the_text_says_the_minutes_left_and_the_validity_the_seconds(database: &mut Database) {
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    database.advance(61);
    send(&engine, PHONE).await;
    let texts = database.texts(PHONE);
    assert_eq!((texts[0].validity, texts[1].validity), (Some(600), Some(539)));
    assert!(texts[0].body.contains("10 minutes"), "{}", texts[0].body.replace(|c: char| c.is_ascii_digit(), "0"));
    assert!(texts[1].body.contains("8 minutes"));
}

async fn a_new_code_supersedes_the_old_one_when_it_is_asked_for_when_little_time_is_left_or_by_policy(
    database: &mut Database,
) {
    let cases: [(&str, u64, bool, Resend, bool); 5] = [
        ("asked for", 31, true, Resend::Same, true),
        ("121 s left", 479, false, Resend::Same, false),
        ("120 s left", 480, false, Resend::Same, false),
        ("119 s left", 481, false, Resend::Same, true),
        ("policy", 31, false, Resend::New, true),
    ];
    for (nth, (case, after, new_code, resend, new)) in cases.into_iter().enumerate() {
        let to = phone(nth);
        database.policy.purposes.get_mut(&login()).unwrap().resend = resend;
        let engine = database.engine().await;
        let first = send_as(&engine, &caller(), ask_alone(&to)).await;
        let old = database.code_on(&to);
        database.advance(after);
        let second = send_as(&engine, &caller(), SendOtp { new_code, ..ask_alone(&to) }).await;

        assert_eq!(second.otp_id != first.otp_id, new, "{case}");
        assert_eq!(!database.code_on(&to).matches(&old), new, "{case}");
        let of = |column: &str, otp: i64| database.word(&format!("SELECT {column} FROM otps WHERE id = {otp}"));
        assert_eq!(of("state", first.otp_id), if new { "superseded" } else { "active" }, "{case}");
        let verdict = async |code: &Code| {
            let ask = VerifyOtp { user: user_of(&to), ..guess(&to, code) };
            engine.verify(&caller(), ask).await.unwrap().verdict
        };
        if new {
            assert_eq!(verdict(&old).await, Verdict::Superseded, "{case}");
            assert_eq!(of("wrong_guesses", second.otp_id), "1", "{case}: a wrong guess");
        }
        assert_eq!(verdict(&database.code_on(&to)).await, Verdict::Verified, "{case}");
    }
}

async fn nothing_is_sent_in_the_last_fifteen_seconds(database: &mut Database) {
    // An attempt that was planned in time comes too late: it is not made.
    database.policy.purposes.get_mut(&login()).unwrap().ttl = Duration::from_secs(60);
    let enough = Duration::from_secs(15) + database.slack();
    for (nth, (left, out)) in [(enough, true), (Duration::from_millis(14_999), false)].into_iter().enumerate() {
        let to = phone(nth);
        database.sandbox.fault(Fault::Status429 { retry_after: None }, 1);
        let clock = Arc::clone(&database.clock);
        let late = database.now() + Duration::from_secs(60) - left;
        let engine = database.engine().await.on_step(move |step| match step {
            Step::Claimed => clock.set(late),
            Step::Settled => clock.advance(Duration::from_secs(4)),
            _ => {}
        });
        let sent = send_as(&engine, &caller(), SendOtp { timeout: Duration::from_secs(3600), ..ask_alone(&to) }).await;
        assert_eq!((sent.state == State::Accepted, !database.texts(&to).is_empty()), (out, out), "{left:?}");
    }
}

async fn no_attempt_is_planned_for_the_last_fifteen_seconds(database: &mut Database) {
    database.policy.purposes.get_mut(&login()).unwrap().ttl = Duration::from_secs(60);
    // The provider says how long to wait at least: with 45 s the attempt would be made with 15 s left.
    for (wait, waits) in [(45, true), (46, false)] {
        let to = phone(wait as usize);
        database.sandbox.fault(Fault::Status429 { retry_after: Some(wait) }, 1);
        // Whoever waits dies while it does.
        let engine = database.engine().await;
        let ask = SendOtp { timeout: Duration::from_secs(3600), ..ask_alone(&to) };
        if waits {
            send_and_die(engine, Step::Settled, ask).await;
        } else {
            assert_eq!(send_as(&engine, &caller(), ask).await.state, State::Failed);
        }
        let row = |column: &str, table: &str| {
            database.word(&format!("SELECT {column} FROM {table} WHERE phone_number = '{to}'"))
        };
        let expected = if waits { ("queued", "active") } else { ("failed", "failed") };
        assert_eq!((row("state", "messages").as_str(), row("state", "otps").as_str()), expected, "{wait}");
        let due = database.now() + Duration::from_secs(wait);
        assert_eq!(row("due_at", "messages"), if waits { due.millis().to_string() } else { String::new() });
        // What failed is given back at once.
        let counted = usize::from(waits);
        assert_eq!(counts(&database.engine().await, &to, IP).await[..2], [counted, counted], "{wait}");
    }
}

/// An engine on which somebody else's operation happens right after its first attempt was settled.
async fn meanwhile(database: &Database, operation: impl FnOnce() + std::marker::Send + 'static) -> Engine {
    let (clock, operation) = (Arc::clone(&database.clock), Mutex::new(Some(operation)));
    database.engine().await.on_step(move |step| {
        let operation = if step == Step::Settled { operation.lock().unwrap().take() } else { None };
        if let Some(operation) = operation {
            std::thread::scope(|scope| scope.spawn(operation).join().unwrap());
            clock.advance(Duration::from_secs(4));
        }
    })
}

async fn an_attempt_that_waits_is_not_made_for_a_code_that_is_over_by_then(database: &mut Database) {
    database.unlimited();
    database.sandbox.fault(Fault::Status429 { retry_after: None }, 1);
    let other = database.engine().await;
    let engine = meanwhile(database, move || {
        block_on(async { send_as(&other, &caller(), SendOtp { new_code: true, ..ask(PHONE) }).await });
    })
    .await;
    assert_eq!((send(&engine, PHONE).await.state, database.sandbox.requests()), (State::Failed, 2));
    assert_eq!(database.texts(PHONE).len(), 1, "the new code alone");

    database.advance(31);
    assert_eq!(dispatch(&engine).await.looked_at, 0);
}

async fn an_opt_out_at_the_provider_is_kept_and_respected_until_it_is_reset(database: &mut Database) {
    database.sandbox.fault(Fault::Code(21_610), 1);
    let engine = database.engine().await;
    assert_eq!(send(&engine, PHONE).await.error_code, Some(21_610));
    for pause in [0, 3600, 90 * 86_400] {
        database.advance(pause);
        assert_eq!(refusal(&engine, PHONE).await.code, error::Code::OPTED_OUT);
        // A purge does not forget it.
        purge(&engine, Duration::ZERO).await;
    }
    assert_eq!(database.sandbox.requests(), 1, "no call for a recipient who opted out");

    let reset = |opt_out| {
        let reason = "the customer asked".to_owned();
        Reset { subject: phone_subject(PHONE), user: ada(), opt_out, clock: false, reason }
    };
    assert!(!engine.reset(&caller(), reset(false)).await.unwrap().opt_out);
    assert_eq!(refusal(&engine, PHONE).await.code, error::Code::OPTED_OUT);
    assert!(engine.reset(&caller(), reset(true)).await.unwrap().opt_out);
    assert_eq!(send(&engine, PHONE).await.state, State::Accepted);
}

async fn whoever_opted_out_gets_not_even_what_was_waiting_for_another_attempt(database: &mut Database) {
    database.unlimited();
    // One purpose's message waits; then another's answer says that the recipient opted out.
    database.sandbox.fault(Fault::Status429 { retry_after: None }, 1);
    database.sandbox.fault(Fault::Code(21_610), 1);
    let other = database.engine().await;
    let engine = meanwhile(database, move || {
        let purpose = Purpose::parse("registration").unwrap();
        let sent = block_on(async { send_as(&other, &caller(), SendOtp { purpose, ..ask(PHONE) }).await });
        assert_eq!(sent.error_code, Some(21_610));
    })
    .await;
    assert_eq!(send(&engine, PHONE).await.state, State::Failed);
    assert_eq!(refusal(&engine, PHONE).await.code, error::Code::OPTED_OUT);
    database.advance(30);
    dispatch(&engine).await;
    assert_eq!((database.sandbox.requests(), database.sandbox.messages().len()), (2, 0));
}

async fn a_code_is_new_to_its_phone_and_purpose(database: &mut Database) {
    database.unlimited();
    // So many sends that looking at the whole database at each of them would take longest.
    database.checks = None;
    // Four digits: of 10,000 codes, 64 draws meet an old one soon enough, were they not looked at.
    database.policy.purposes.get_mut(&login()).unwrap().digits = 4;
    let engine = database.engine().await;
    let mut codes: Vec<String> = Vec::new();
    for _ in 0..300 {
        send_as(&engine, &caller(), SendOtp { new_code: true, ..ask(PHONE) }).await;
        let code = database.code_on(PHONE).expose().to_owned();
        let newest = codes.iter().rev().take(64);
        assert_eq!(newest.filter(|old| **old == code).count(), 0);
        codes.push(code);
    }
}

async fn a_code_is_the_same_for_nobody_else(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    for user in ["ada", "bob", ""] {
        let asked = SendOtp { user: User::parse(user).unwrap(), ..ask(OTHER) };
        send_as(&engine, &caller(), asked).await;
    }
    let codes: Vec<Code> = database.texts(OTHER).iter().map(code_in).collect();
    assert!(!codes[0].matches(&codes[1]) && !codes[0].matches(&codes[2]) && !codes[1].matches(&codes[2]));
}

async fn what_cannot_be_sent_is_said_before_anything_is_recorded(database: &mut Database) {
    let bad = |error: error::Error| error.code();
    let engine = database.engine().await;
    let purpose = Purpose::parse("haircut").unwrap();
    let unknown = engine.send(&caller(), SendOtp { purpose, ..ask(PHONE) }).await.unwrap_err();
    assert_eq!(bad(unknown), error::Code::PURPOSE_UNKNOWN);
    let silent = Engine::new(database.store().await, database.keyring(), Arc::default());
    assert_eq!(bad(silent.send(&caller(), ask(PHONE)).await.unwrap_err()), error::Code::NO_PROVIDER);
    let keyless = SendOtp { idempotency_key: Some("a\nb".to_owned()), ..ask(PHONE) };
    assert_eq!(bad(engine.send(&caller(), keyless).await.unwrap_err()), error::Code::VALUE_INVALID);
    database.policy.app_name = "Ünïcödé Łtd 漢字".repeat(8);
    let long = database.engine().await.send(&caller(), ask(PHONE)).await.unwrap_err();
    assert_eq!(long.code(), error::Code::TOO_MANY_SEGMENTS);
    assert_eq!(database.number("SELECT (SELECT count(*) FROM otps) + (SELECT count(*) FROM audit)"), 0);
    assert_eq!(database.sandbox.requests(), 0);
}

async fn kinds_of_numbers_and_countries_that_get_no_codes_are_refused(database: &mut Database) {
    database.policy.countries = Some(vec!["us".to_owned()]);
    let engine = database.engine().await;
    // A British mobile number, and a freephone number of the country that is allowed.
    for (phone, code) in
        [("+447400123456", error::Code::COUNTRY_NOT_ALLOWED), ("+18002345678", error::Code::NUMBER_KIND)]
    {
        assert_eq!(refusal(&engine, phone).await.code, code, "{phone}");
    }
    assert_eq!(send(&engine, PHONE).await.state, State::Accepted);
    assert_eq!(database.sandbox.requests(), 1);
}

async fn staff_may_set_one_limit_aside_and_the_audit_log_says_why(database: &mut Database) {
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    let over = |limit: Limit| {
        let reason = "ticket OPS-7".to_owned();
        SendOtp {
            override_limits: Some(Override { limits: vec![limit], number: false, caps: false, reason }),
            ..ask(PHONE)
        }
    };
    let no = refused(engine.send(&caller(), over(Limit::User)).await.unwrap());
    assert_eq!(no.hits[0].limit, Limit::Cooldown, "another limit stays");
    let sent = send_as(&engine, &caller(), over(Limit::Cooldown)).await;
    assert_eq!(sent.state, State::Accepted);
    let bodies = database.words("SELECT CAST(body AS TEXT) FROM audit ORDER BY seq");
    let body = bodies.iter().find(|body| body.contains(&format!("\"message\":{}", sent.message_id))).unwrap();
    assert!(body.contains("\"override\":\"cooldown\"") && body.contains("ticket OPS-7"), "{body}");
}
