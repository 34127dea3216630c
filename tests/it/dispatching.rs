//! dispatch: what waits is tried again, what is unknown is found out, and nothing is sent blindly.

use std::sync::Arc;
use std::time::Duration;

use smsotp::clock::{Clock, ManualClock};
use smsotp::engine::{Dispatched, Engine, Step, Verdict};
use smsotp::limits::{Limits, Window};
use smsotp::message::State;
use smsotp::provider::twilio::Timeouts;
use smsotp::sandbox::{Fault, On, Options, Sandbox};

use crate::processes::phone;
use crate::stores::{Database, on_every_store};
use crate::world::{
    OTHER, PHONE, ask, caller, code_in, dispatch, new_key, phone_subject, revoke, send, send_and_die, send_as, twilio,
    unlimited, usage, verdict,
};

on_every_store![
    what_waits_is_sent_once,
    what_waits_for_a_code_that_is_over_has_failed,
    a_retry_that_fails_again_waits_no_longer_than_its_code_lives,
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
    database.advance(1);
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
    let in_time = if database.url.is_some() { 578 } else { 584 };
    let cases = [(in_time, 1, "active"), (585, 0, "failed"), (700, 0, "expired")];
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
    let done = dispatch(&engine).await;
    // One run makes one attempt: the next is another run's, or nobody's.
    assert_eq!((done.looked_at, done.failed), (1, 1), "{done:?}");
    assert_eq!(database.sandbox.requests(), 2);
    assert_eq!(of(database, "state", "messages", PHONE), "failed");
    assert_eq!(of(database, "state", "otps", PHONE), "failed");
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
