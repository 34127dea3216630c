//! dispatch: what waits is tried again, what is unknown is found out, and nothing is sent blindly.

use std::sync::Arc;
use std::time::Duration;

use smsotp::clock::{Clock, ManualClock};
use smsotp::engine::{Dispatch, Dispatched, Engine, Filter, Step, Verdict};
use smsotp::error::Code;
use smsotp::limits::{Limits, Window};
use smsotp::message::State;
use smsotp::otp;
use smsotp::provider::twilio::Timeouts;
use smsotp::sandbox::{Fault, On, Options, Sandbox};

use crate::processes::phone;
use crate::stores::{Database, on_every_store};
use crate::world::{
    OTHER, PHONE, ask, caller, code_in, dispatch, dispatch_all, new_key, phone_subject, purge, revoke, send,
    send_and_die, send_as, twilio, unlimited, usage, verdict,
};

on_every_store![
    what_waits_is_sent_once,
    what_waits_for_a_code_that_is_over_has_failed,
    a_retry_that_fails_again_waits_no_longer_than_its_code_lives,
    what_waits_survives_a_provider_that_cannot_be_reached,
    what_waits_for_a_code_that_is_over_is_purged_with_it,
    a_poll_that_learns_nothing_and_a_message_in_trouble_keep_nobody_from_the_others,
    more_messages_in_trouble_than_one_run_looks_at_do_not_stand_before_the_others,
    a_run_ends_when_the_provider_hears_of_nothing,
    one_run_asks_for_everything_that_is_on_its_way,
    a_message_is_refreshed_when_somebody_wants_to_know,
    an_unknown_message_is_absent_only_after_two_looks_ten_minutes_apart,
    what_was_never_accepted_is_given_back,
    a_message_that_is_found_late_stays_counted_and_its_code_verifies,
    a_message_that_turns_up_between_two_looks_is_found,
    of_two_unknown_messages_with_one_code_each_finds_its_own,
    a_send_first_settles_what_an_earlier_one_left_open,
    what_died_while_it_was_sending_is_looked_for_when_its_lease_is_over,
    a_message_that_waits_is_taken_over_by_the_next_ask,
    the_provider_looks_back_by_its_own_clock,
    one_otp_whose_key_is_gone_does_not_keep_the_worker_from_the_others,
    a_worker_without_a_provider_leaves_all_as_it_is,
    a_revoked_code_takes_its_waiting_message_along,
];

/// A message that surely was not sent waits, because its process died.
pub async fn waiting(database: &Database, phone: &str) {
    database.sandbox.fault(Fault::Status429 { retry_after: None }, 1);
    send_and_die(database.engine().await, Step::Settled, ask(phone)).await;
    database.advance(2);
}

/// A column of the only message, or otp, of a phone.
fn of(database: &Database, column: &str, table: &str, phone: &str) -> String {
    database.word(&format!("SELECT {column} FROM {table} WHERE phone_number = '{phone}'"))
}

/// Limits that count the messages of a phone and allow more than any story sends.
fn counting() -> Limits {
    Limits { phone: vec![Window::new(1000, 86_400)], ..unlimited() }
}

async fn what_waits_is_sent_once(database: &mut Database) {
    database.unlimited();
    waiting(database, PHONE).await;
    let engine = database.engine().await;
    assert_eq!(dispatch(&engine).await, Dispatched { looked_at: 1, sent: 1, ..Dispatched::default() });
    assert_eq!(dispatch(&engine).await, Dispatched::default());
    assert_eq!(database.texts(PHONE).len(), 1);
    assert_eq!(verdict(&engine, PHONE, &database.code_on(PHONE)).await, Verdict::Verified);
}

async fn what_waits_for_a_code_that_is_over_has_failed(database: &mut Database) {
    database.policy.limits = counting();
    // With 15 s left it is sent; on PostgreSQL whoever hands it over knows the time less exactly.
    let in_time = if database.url.is_some() { 577 } else { 583 };
    let cases = [(in_time, 1, "active"), (584, 0, "failed"), (700, 0, "expired")];
    for (nth, (after, sent, state)) in cases.into_iter().enumerate() {
        let to = phone(nth);
        waiting(database, &to).await;
        database.advance(after);
        let done = dispatch(&database.engine().await).await;
        assert_eq!((done.sent, done.failed), (sent, 1 - sent), "{after}");
        assert_eq!(database.texts(&to).len(), usize::try_from(sent).unwrap(), "{after}");
        assert_eq!(of(database, "state", "otps", &to), state);
        let counted = usage(&database.engine().await, phone_subject(&to)).await.sends.len();
        assert_eq!(u32::try_from(counted).unwrap(), sent, "what has failed is given back");
    }
}

async fn a_retry_that_fails_again_waits_no_longer_than_its_code_lives(database: &mut Database) {
    database.unlimited();
    waiting(database, PHONE).await;
    let engine = database.engine().await;
    database.sandbox.fault(Fault::Status429 { retry_after: Some(60) }, 1);
    // One run makes one attempt: the next is another run's.
    let done = dispatch(&engine).await;
    assert_eq!((done.looked_at, done.open, database.sandbox.requests()), (1, 1, 2), "{done:?}");
    database.advance(50);
    assert_eq!(dispatch(&engine).await.looked_at, 0, "not sooner than the provider said");
    database.sandbox.fault(Fault::Status429 { retry_after: Some(600) }, 1);
    database.advance(20);
    assert_eq!(dispatch(&engine).await.failed, 1, "then its code is over");
    assert_eq!(database.sandbox.requests(), 3);
    assert_eq!((of(database, "state", "messages", PHONE), of(database, "state", "otps", PHONE)).0, "failed");
    assert_eq!(of(database, "state", "otps", PHONE), "failed");
}

async fn what_waits_survives_a_provider_that_cannot_be_reached(database: &mut Database) {
    database.unlimited();
    waiting(database, PHONE).await;
    let gone = Sandbox::start(Options::default()).unwrap();
    let env = gone.env();
    drop(gone);
    let unreachable = twilio(&env, Timeouts::default(), database.shared_clock());
    let engine = database.engine().await;
    assert_eq!(dispatch(&engine.clone().with_provider(Arc::new(unreachable))).await.open, 1);
    database.advance(10);
    assert_eq!(dispatch(&engine).await.sent, 1);
}

async fn what_waits_for_a_code_that_is_over_is_purged_with_it(database: &mut Database) {
    database.unlimited();
    waiting(database, PHONE).await;
    let engine = database.engine().await;
    purge(&engine, Duration::ZERO).await;
    assert_eq!(database.number("SELECT count(*) FROM messages"), 1, "its code lives");
    database.advance(601);
    purge(&engine, Duration::ZERO).await;
    assert_eq!(database.number("SELECT count(*) FROM messages"), 0, "nobody will ever send it");
}

async fn a_poll_that_learns_nothing_and_a_message_in_trouble_keep_nobody_from_the_others(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await.polling(Duration::from_secs(10));
    // The first stays "sent" for ever, the second's row cannot be changed, and the third's outcome is unknown.
    let silent = send(&engine, &phone(1)).await;
    database.sandbox.set_status(silent.provider_id.as_ref().unwrap(), "sent", None);
    let broken = send(&engine, &phone(2)).await;
    database.sandbox.set_status(broken.provider_id.as_ref().unwrap(), "delivered", None);
    database.sandbox.fault(Fault::ResetAfterAccepting, 1);
    assert_eq!(send(&engine, &phone(3)).await.state, State::Unknown);
    let end = database.refuse_changes("messages", broken.message_id);
    for round in 1..=4 {
        database.advance(31);
        let mut errors = Vec::new();
        let all = Dispatch { limit: 100, early: false };
        let done = engine.dispatch(&caller(), all, |id, error| errors.push((id, error.code()))).await.unwrap();
        assert_eq!(done.errors, 1, "{round}: {done:?}");
        assert_eq!(errors[0].0, broken.message_id);
        assert_eq!(done.found, u32::from(round == 1), "{round}: {done:?}");
    }
    assert_eq!(of(database, "state", "messages", &phone(1)), "sent");
    assert_eq!(of(database, "state", "messages", &phone(3)), "accepted");
    database.change(&end);
    database.advance(60);
    assert_eq!(dispatch(&engine).await.found, 1, "when the trouble is over it is found as well");
    assert_eq!(of(database, "state", "messages", &phone(2)), "delivered");
}

async fn more_messages_in_trouble_than_one_run_looks_at_do_not_stand_before_the_others(database: &mut Database) {
    database.unlimited();
    database.keys.push(new_key());
    for nth in 0..3 {
        waiting(database, &phone(nth)).await;
    }
    database.keys.swap(0, 1);
    database.sandbox.fault(Fault::ResetAfterAccepting, 1);
    send(&database.engine().await, OTHER).await;
    database.keys.truncate(1);
    database.advance(40);
    let engine = database.engine().await;
    let cron = caller();
    let few = || engine.dispatch(&cron, Dispatch { limit: 3, early: false }, |id, error| panic!("{id}: {error}"));
    assert_eq!(few().await.unwrap().open, 3, "nobody can compute their codes");
    assert_eq!(few().await.unwrap().found, 1);
}

async fn a_run_ends_when_the_provider_hears_of_nothing(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await.polling(Duration::from_secs(10));
    for nth in 0..6 {
        send(&engine, &phone(nth)).await;
    }
    database.advance(11);
    database.sandbox.fault_on(On::Other, Fault::Error503, 100);
    assert_eq!(dispatch(&engine).await.looked_at, 3);
    database.sandbox.clear_faults();
    // Those that were asked for in vain come later, the others first.
    assert_eq!(dispatch(&engine).await.looked_at, 3);
    assert_eq!(dispatch(&engine).await.looked_at, 0);
}

async fn one_run_asks_for_everything_that_is_on_its_way(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await.polling(Duration::from_secs(10));
    let ends = [("undelivered", Some(30_003)), ("failed", Some(30_008)), ("delivered", None), ("sent", None)];
    for (nth, (status, error_code)) in ends.into_iter().enumerate() {
        let sent = send(&engine, &phone(nth)).await;
        database.sandbox.set_status(sent.provider_id.as_ref().unwrap(), status, error_code);
    }
    // At once, and not only when it is due.
    let done = dispatch_all(&engine).await;
    assert_eq!((done.looked_at, done.found, done.open), (4, 3, 1), "{done:?}");
    for (nth, (status, error_code)) in ends.into_iter().enumerate() {
        assert_eq!(of(database, "state", "messages", &phone(nth)), status);
        assert_eq!(
            of(database, "error_code", "messages", &phone(nth)),
            error_code.map_or(String::new(), |n: u32| n.to_string())
        );
        assert_eq!(of(database, "error", "messages", &phone(nth)).is_empty(), error_code.is_none(), "it is explained");
    }
    assert_eq!(dispatch_all(&engine).await.looked_at, 1, "what has ended is not asked for again");

    let listed = async |deliveries: Vec<State>| {
        let filter = Filter { deliveries, limit: 10, ..Filter::default() };
        engine.list(&filter).await.unwrap().rows.iter().map(|row| row.2.unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(listed(vec![State::Undelivered]).await, [State::Undelivered]);
    assert_eq!(listed(vec![State::Undelivered, State::Failed]).await, [State::Failed, State::Undelivered]);
    let both =
        Filter { states: vec![otp::State::Verified], deliveries: vec![State::Sent], limit: 10, ..Filter::default() };
    assert_eq!(engine.list(&both).await.unwrap().rows.len(), 1, "in one of these states, or with a message in one");

    // For an hour, and then no more.
    database.advance(3601);
    assert_eq!(dispatch_all(&engine).await.looked_at, 1);
    assert_eq!(dispatch_all(&engine).await.looked_at, 0);
}

async fn a_message_is_refreshed_when_somebody_wants_to_know(database: &mut Database) {
    database.unlimited();
    // Nobody asks by himself, and an hour is long over.
    let engine = database.engine().await;
    let lost = send(&engine, PHONE).await;
    database.sandbox.fault(Fault::ResetAfterAccepting, 1);
    let unknown = send(&engine, OTHER).await;
    database.sandbox.fault(Fault::Status429 { retry_after: Some(300) }, 1);
    let queued = send(&engine, &phone(3)).await;
    database.advance(200);
    database.sandbox.set_status(lost.provider_id.as_ref().unwrap(), "undelivered", Some(30_003));
    let requests = database.sandbox.requests();
    for sent in [&lost, &unknown, &queued] {
        let otp = engine.reads().otp(sent.otp_id).await.unwrap().unwrap();
        assert!(engine.refresh(&caller(), &otp).await.unwrap().is_none());
    }
    assert_eq!(of(database, "state", "messages", PHONE), "undelivered");
    assert_eq!(of(database, "state", "messages", OTHER), "accepted");
    assert_eq!(of(database, "state", "messages", &phone(3)), "queued");
    assert_eq!(database.sandbox.requests(), requests, "to look is not to send");

    // Where the provider cannot be asked that is said, and what is known stays.
    let otp = engine.reads().otp(unknown.otp_id).await.unwrap().unwrap();
    let rows = database.audit().len();
    database.sandbox.fault_on(On::Other, Fault::Unauthorized, 1);
    assert_eq!(engine.refresh(&caller(), &otp).await.unwrap().unwrap().code(), Code::PROVIDER_CONFIG);
    assert!(engine.refresh(&caller(), &otp).await.unwrap().is_none(), "nothing new is no trouble");
    assert_eq!(database.audit().len(), rows);
}

async fn an_unknown_message_is_absent_only_after_two_looks_ten_minutes_apart(database: &mut Database) {
    database.unlimited();
    database.sandbox.fault(Fault::Reset, 1);
    let engine = database.engine().await;
    assert_eq!(send(&engine, PHONE).await.state, State::Unknown);
    database.advance_almost(30);
    assert_eq!(dispatch(&engine).await.looked_at, 0, "not at once: it may still be on its way");
    database.until_then();
    assert_eq!(dispatch(&engine).await.open, 1);
    database.advance_almost(600);
    assert_eq!(dispatch(&engine).await.looked_at, 0);
    database.until_then();
    assert_eq!(dispatch(&engine).await.failed, 1);
    assert_eq!((of(database, "state", "messages", PHONE).as_str(), database.sandbox.requests()), ("failed", 1));
}

async fn what_was_never_accepted_is_given_back(database: &mut Database) {
    let engine = database.engine().await;
    database.sandbox.fault(Fault::Reset, 1);
    send(&engine, PHONE).await;
    let counted = async || {
        let phone = usage(&engine, phone_subject(PHONE)).await;
        (phone.sends.len(), phone.purpose("login").map_or(0, |purpose| purpose.asked.len()))
    };
    database.advance(30);
    dispatch(&engine).await;
    assert_eq!(counted().await, (1, 1), "it may have been accepted");
    database.advance(600);
    assert_eq!(dispatch(&engine).await.failed, 1);
    assert_eq!(counted().await, (0, 0));
    assert_eq!(database.word("SELECT state FROM otps"), "expired");
}

async fn a_message_that_is_found_late_stays_counted_and_its_code_verifies(database: &mut Database) {
    database.policy.limits = counting();
    database.timeouts.create = Duration::from_secs(2);
    let engine = database.engine().await;
    let faults =
        [Fault::Error500AfterAccepting, Fault::ResetAfterAccepting, Fault::HangAfterAccepting, Fault::HalfAnswer];
    for (nth, fault) in faults.into_iter().enumerate() {
        let to = phone(nth);
        database.sandbox.fault(fault.clone(), 1);
        assert_eq!(send(&engine, &to).await.state, State::Unknown, "{fault:?}");
        database.advance(31);
        let done = dispatch(&engine).await;
        assert_eq!((done.looked_at, done.found), (1, 1), "{fault:?}: {done:?}");
        assert_eq!(of(database, "state", "messages", &to), "accepted", "{fault:?}");
        assert_eq!(of(database, "provider_id", "messages", &to), database.texts(&to)[0].sid, "{fault:?}");
        assert_eq!(database.texts(&to).len(), 1, "{fault:?}");
        assert_eq!(usage(&engine, phone_subject(&to)).await.sends.len(), 1);
        assert_eq!(verdict(&engine, &to, &database.code_on(&to)).await, Verdict::Verified);
    }
}

async fn a_message_that_turns_up_between_two_looks_is_found(database: &mut Database) {
    database.unlimited();
    database.sandbox.fault(Fault::ResetAfterAccepting, 1);
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    database.advance(30);
    // The list cannot be read this time: that is no look.
    database.sandbox.fault_on(On::Other, Fault::Error503, 1);
    assert_eq!(dispatch(&engine).await.open, 1);
    assert_eq!(database.number("SELECT count(missed_at) FROM messages"), 0);
    database.advance(30);
    assert_eq!(dispatch(&engine).await.found, 1);
}

/// Two messages of one otp whose answers were lost: the list could not be read when the second looked for the first.
pub async fn both_unknown(database: &Database, phone: &str) {
    let engine = database.engine().await;
    send(&engine, phone).await;
    database.advance(1);
    database.sandbox.fault_on(On::Other, Fault::Error503, 1);
    send(&engine, phone).await;
    let unknown = format!("SELECT count(*) FROM messages WHERE state = 'unknown' AND phone_number = '{phone}'");
    assert_eq!(database.number(&unknown), 2);
}

async fn of_two_unknown_messages_with_one_code_each_finds_its_own(database: &mut Database) {
    database.unlimited();
    for arrived in [1, 2] {
        let to = phone(arrived as usize);
        database.sandbox.fault(Fault::ResetAfterAccepting, arrived);
        database.sandbox.fault(Fault::Reset, 2 - arrived);
        both_unknown(database, &to).await;
        database.advance(40);
        let engine = database.engine().await;
        let done = dispatch(&engine).await;
        assert_eq!((done.found, done.open), (arrived, 2 - arrived));
        database.advance(700);
        assert_eq!(dispatch(&engine).await.failed, 2 - arrived);
        assert_eq!(of(database, "count(DISTINCT provider_id)", "messages", &to), arrived.to_string());
    }
}

async fn a_send_first_settles_what_an_earlier_one_left_open(database: &mut Database) {
    database.unlimited();
    database.sandbox.fault(Fault::ResetAfterAccepting, 1);
    let engine = database.engine().await;
    let first = send(&engine, PHONE).await;
    database.advance(5);
    send(&engine, PHONE).await;
    let state = database.word(&format!("SELECT state FROM messages WHERE id = {}", first.message_id));
    assert_eq!(state, "accepted");
    assert_eq!(database.texts(PHONE).len(), 2);
}

async fn what_died_while_it_was_sending_is_looked_for_when_its_lease_is_over(database: &mut Database) {
    database.unlimited();
    for (nth, (at, arrived)) in
        [(Step::Reserved, false), (Step::Handing, false), (Step::Answered, true)].into_iter().enumerate()
    {
        let to = phone(nth);
        send_and_die(database.engine().await, at, ask(&to)).await;
        let engine = database.engine().await;
        assert_eq!(of(database, "state", "messages", &to), "sending");
        database.advance_almost(60);
        assert_eq!(dispatch(&engine).await.looked_at, 0, "{at:?}: its process may be alive");
        database.until_then();
        let done = dispatch(&engine).await;
        assert_eq!((done.found == 1, done.open == 1), (arrived, !arrived), "{at:?}: {done:?}");
        database.advance(600);
        assert_eq!(dispatch(&engine).await.failed == 1, !arrived, "{at:?}");
        let state = if arrived { "accepted" } else { "failed" };
        assert_eq!(of(database, "state", "messages", &to), state, "{at:?}");
        assert_eq!(database.texts(&to).len(), usize::from(arrived), "{at:?}: it is never sent by itself");
    }
}

async fn a_message_that_waits_is_taken_over_by_the_next_ask(database: &mut Database) {
    // Although the pause after the first is not over: it is the same message, and was charged once.
    waiting(database, PHONE).await;
    let engine = database.engine().await;
    let sent = send(&engine, PHONE).await;
    assert_eq!((sent.state, sent.resent), (State::Accepted, false));
    assert_eq!(database.number("SELECT count(*) FROM messages"), 1);
    assert_eq!(usage(&engine, phone_subject(PHONE)).await.sends.len(), 1);
    database.advance(60);
    assert_eq!(dispatch(&engine).await, Dispatched::default());
    assert_eq!(verdict(&engine, PHONE, &code_in(&database.texts(PHONE)[0])).await, Verdict::Verified);
}

async fn the_provider_looks_back_by_its_own_clock(database: &mut Database) {
    database.unlimited();
    // Twilio's clock is an hour off, either way: what is found is what was sent since, by its clock.
    for (to, ahead) in [(PHONE, true), (OTHER, false)] {
        let (now, by) = (database.now(), Duration::from_secs(3600));
        let theirs: Arc<dyn Clock> = Arc::new(ManualClock::at(if ahead { now + by } else { now - by }));
        let sandbox = Sandbox::start(Options { clock: theirs, ..Options::default() }).unwrap();
        sandbox.fault(Fault::Error500AfterAccepting, 1);
        let provider = Arc::new(twilio(&sandbox.env(), Timeouts::default(), database.shared_clock()));
        let engine = database.engine().await.with_provider(provider);
        send(&engine, to).await;
        database.advance(31);
        assert_eq!(dispatch(&engine).await.found, 1, "ahead: {ahead}");
    }
}

async fn one_otp_whose_key_is_gone_does_not_keep_the_worker_from_the_others(database: &mut Database) {
    database.unlimited();
    database.keys.push(new_key());
    database.sandbox.fault(Fault::ResetAfterAccepting, 1);
    send(&database.engine().await, PHONE).await;
    waiting(database, &phone(1)).await;
    database.keys.swap(0, 1);
    database.sandbox.fault(Fault::ResetAfterAccepting, 1);
    send(&database.engine().await, OTHER).await;
    // Somebody took the old key out of the file by hand.
    database.keys.truncate(1);
    database.advance(40);
    let engine = database.engine().await;
    let done = dispatch(&engine).await;
    assert_eq!((done.looked_at, done.found, done.open), (3, 1, 2));
    // What waits for a key that never comes back is settled when its code is over.
    database.advance(700);
    let done = dispatch(&engine).await;
    assert_eq!((done.looked_at, done.failed, done.open), (2, 1, 1));
    assert_eq!(dispatch(&engine).await.looked_at, 0);
}

async fn a_worker_without_a_provider_leaves_all_as_it_is(database: &mut Database) {
    database.unlimited();
    waiting(database, PHONE).await;
    let silent = Engine::new(database.store().await, database.keyring(), Arc::default());
    assert_eq!(dispatch(&silent).await.open, 1);
    assert_eq!(dispatch(&database.engine().await).await.sent, 1);
}

async fn a_revoked_code_takes_its_waiting_message_along(database: &mut Database) {
    database.unlimited();
    waiting(database, PHONE).await;
    let engine = database.engine().await;
    assert_eq!(revoke(&engine, PHONE).await, 1);
    assert_eq!(revoke(&engine, PHONE).await, 0);
    assert_eq!(of(database, "state", "messages", PHONE), "canceled");
    database.advance(60);
    assert_eq!(dispatch(&engine).await, Dispatched::default());
    // A new code is asked for and comes.
    assert!(!send_as(&engine, &caller(), ask(PHONE)).await.resent);
    assert_eq!(database.messages_out(), 1);
}
