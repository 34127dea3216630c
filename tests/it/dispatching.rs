//! dispatch: what waits is tried again, what is unknown is found out, and nothing is sent blindly.

use std::sync::Arc;
use std::time::Duration;

use smsotp::clock::{Clock, ManualClock};
use smsotp::engine::{Dispatched, SendOtp, Step, Verdict};
use smsotp::provider::twilio::Timeouts;
use smsotp::sandbox::{Fault, On, Options, Sandbox};

use crate::processes::{Crew, Job, Operation, step};
use crate::world::{OTHER, PHONE, World, ask, block_on, caller, dispatch, new_key, send, send_as, twilio, verdict};

/// A message that surely was not sent waits, because its process died.
fn waiting(world: &World, phone: &str) {
    world.sandbox.fault(Fault::Status429 { retry_after: None }, 1);
    let operation = Operation::Send { phone: phone.to_owned(), user: "ada".to_owned(), ip: None, key: None };
    let job = Job { die_at: Some((step(Step::Settled), 1)), ..Job::new(world, vec![operation]) };
    Crew::at_the_barrier(&[job]).go();
    world.advance(1);
}

#[test]
fn what_waits_is_sent_once() {
    let world = World::unlimited();
    waiting(&world, PHONE);
    block_on(async {
        let engine = world.engine();
        assert_eq!(dispatch(&engine).await, Dispatched { looked_at: 1, sent: 1, ..Dispatched::default() });
        assert_eq!(dispatch(&engine).await, Dispatched::default());
        assert_eq!(world.texts(PHONE).len(), 1);
        assert_eq!(verdict(&engine, PHONE, &world.code_on(PHONE)).await, Verdict::Verified);
    });
}

#[test]
fn what_waits_for_a_code_that_is_over_has_failed() {
    for (after, sent) in [(584, 1), (585, 0), (700, 0)] {
        let world = World::unlimited();
        waiting(&world, PHONE);
        world.advance(after);
        block_on(async {
            let done = dispatch(&world.engine()).await;
            assert_eq!((done.sent, done.failed), (sent, 1 - sent), "{after}");
        });
        assert_eq!(world.messages_out(), usize::try_from(sent).unwrap(), "{after}");
        let state = world.word("SELECT state FROM otps");
        assert_eq!(
            state,
            if sent == 1 {
                "active"
            } else if after < 600 {
                "failed"
            } else {
                "expired"
            }
        );
    }
}

#[test]
fn two_workers_at_once_send_a_waiting_message_once() {
    let world = World::unlimited();
    for n in 0..4 {
        waiting(&world, &crate::processes::phone(n));
    }
    let jobs: Vec<Job> = (0..8).map(|_| Job::new(&world, vec![Operation::Dispatch])).collect();

    let left = Crew::at_the_barrier(&jobs).go();

    assert!(left.iter().all(|left| left.well), "{left:?}");
    assert_eq!(world.messages_out(), 4);
    assert_eq!(world.number("SELECT count(*) FROM messages WHERE state = 'accepted'"), 4);
}

#[test]
fn an_unknown_message_is_absent_only_after_two_looks_ten_minutes_apart() {
    let world = World::unlimited();
    world.sandbox.fault(Fault::Reset, 1);
    block_on(async {
        let engine = world.engine();
        assert_eq!(send(&engine, PHONE).await.state.as_str(), "unknown");
        assert_eq!(dispatch(&engine).await.looked_at, 0, "not at once: it may still be on its way");
        world.advance(30);
        assert_eq!(dispatch(&engine).await.open, 1);
        world.advance(599);
        assert_eq!(dispatch(&engine).await.looked_at, 0);
        world.advance(1);
        assert_eq!(dispatch(&engine).await.failed, 1);
    });
    assert_eq!((world.word("SELECT state FROM messages"), world.sandbox.requests()), ("failed".to_owned(), 1));
}

#[test]
fn a_message_that_turns_up_between_two_looks_is_found() {
    let world = World::unlimited();
    world.sandbox.fault(Fault::ResetAfterAccepting, 1);
    block_on(async {
        let engine = world.engine();
        send(&engine, PHONE).await;
        world.advance(30);
        // The list cannot be read this time: that is no look.
        world.sandbox.fault_on(On::Other, Fault::Error503, 1);
        assert_eq!(dispatch(&engine).await.open, 1);
        assert_eq!(world.number("SELECT count(missed_at) FROM messages"), 0);
        world.advance(30);
        assert_eq!(dispatch(&engine).await.found, 1);
    });
}

/// Two messages of one otp whose answers were lost: the list could not be read when the second looked for the first.
async fn both_unknown(world: &World) {
    let engine = world.engine();
    send(&engine, PHONE).await;
    world.advance(1);
    world.sandbox.fault_on(On::Other, Fault::Error503, 1);
    send(&engine, PHONE).await;
    assert_eq!(world.number("SELECT count(*) FROM messages WHERE state = 'unknown'"), 2);
}

#[test]
fn of_two_unknown_messages_with_one_code_each_finds_its_own() {
    for arrived in [1, 2] {
        let world = World::unlimited();
        world.sandbox.fault(Fault::ResetAfterAccepting, arrived);
        world.sandbox.fault(Fault::Reset, 2 - arrived);
        block_on(async {
            let engine = world.engine();
            both_unknown(&world).await;
            world.advance(40);
            let done = dispatch(&engine).await;
            assert_eq!((done.found, done.open), (arrived, 2 - arrived));
            world.advance(700);
            assert_eq!(dispatch(&engine).await.failed, 2 - arrived);
        });
        assert_eq!(world.number("SELECT count(DISTINCT provider_id) FROM messages"), i64::from(arrived));
    }
}

#[test]
fn two_workers_at_once_give_one_found_message_to_one_of_ours() {
    let world = World::unlimited();
    world.sandbox.fault(Fault::ResetAfterAccepting, 1);
    world.sandbox.fault(Fault::Reset, 1);
    block_on(both_unknown(&world));
    world.advance(40);
    let jobs: Vec<Job> = (0..12).map(|_| Job::new(&world, vec![Operation::Dispatch])).collect();

    Crew::at_the_barrier(&jobs).go();

    assert_eq!(world.number("SELECT count(provider_id) FROM messages"), 1);
    assert_eq!(
        world.word("SELECT group_concat(state) FROM (SELECT state FROM messages ORDER BY state)"),
        "accepted,unknown"
    );
}

#[test]
fn a_send_first_settles_what_an_earlier_one_left_open() {
    let world = World::unlimited();
    world.sandbox.fault(Fault::ResetAfterAccepting, 1);
    block_on(async {
        let engine = world.engine();
        send(&engine, PHONE).await;
        world.advance(5);
        send(&engine, PHONE).await;
        assert_eq!(world.word("SELECT state FROM messages WHERE id = 1"), "accepted");
        assert_eq!(world.texts(PHONE).len(), 2);
    });
}

#[test]
fn the_provider_looks_back_by_its_own_clock() {
    // Twilio's clock is an hour off, either way: what is found is what was sent since, by its clock.
    for (hour, ahead) in [(3600, true), (3600, false)] {
        let world = World::unlimited();
        let now = world.now();
        let by = Duration::from_secs(hour);
        let theirs: Arc<dyn Clock> = Arc::new(ManualClock::at(if ahead { now + by } else { now - by }));
        let sandbox = Sandbox::start(Options { clock: theirs, ..Options::default() }).unwrap();
        sandbox.fault(Fault::Error500AfterAccepting, 1);
        let provider = Arc::new(twilio(&sandbox.env(), Timeouts::default(), world.shared_clock()));
        block_on(async {
            let engine = world.engine().with_provider(provider);
            send(&engine, PHONE).await;
            world.advance(31);
            assert_eq!(dispatch(&engine).await.found, 1, "ahead: {ahead}");
        });
    }
}

#[test]
fn one_otp_whose_key_is_gone_does_not_keep_the_worker_from_the_others() {
    let mut world = World::unlimited();
    world.keys.push(new_key());
    world.sandbox.fault(Fault::ResetAfterAccepting, 1);
    block_on(async { send(&world.engine(), PHONE).await });
    waiting(&world, &crate::processes::phone(1));
    world.keys.swap(0, 1);
    world.sandbox.fault(Fault::ResetAfterAccepting, 1);
    block_on(async { send(&world.engine(), OTHER).await });
    // Somebody took the old key out of the file by hand.
    world.keys.truncate(1);
    world.advance(40);
    block_on(async {
        let engine = world.engine();
        let done = dispatch(&engine).await;
        assert_eq!((done.looked_at, done.found, done.open), (3, 1, 2));
        // What waits for a key that never comes back is settled when its code is over.
        world.advance(700);
        let done = dispatch(&engine).await;
        assert_eq!((done.looked_at, done.failed, done.open), (2, 1, 1));
        assert_eq!(dispatch(&engine).await.looked_at, 0);
    });
}

#[test]
fn a_worker_without_a_provider_leaves_all_as_it_is() {
    let world = World::unlimited();
    waiting(&world, PHONE);
    block_on(async {
        let silent = smsotp::engine::Engine::new(world.store(), world.keyring(), Arc::default());
        assert_eq!(dispatch(&silent).await.open, 1);
        assert_eq!(dispatch(&world.engine()).await.sent, 1);
    });
}

#[test]
fn a_taken_back_code_takes_its_waiting_message_along() {
    let world = World::unlimited();
    waiting(&world, PHONE);
    block_on(async {
        let engine = world.engine();
        let what = smsotp::engine::Revoke::Id(1);
        assert_eq!(engine.revoke(&caller(), &what, "wrong number").await.unwrap().len(), 1);
        assert_eq!(engine.revoke(&caller(), &what, "wrong number").await.unwrap().len(), 0);
        world.advance(60);
        assert_eq!(dispatch(&engine).await, Dispatched::default());
        // A new code is asked for and comes.
        let sent = send_as(&engine, &caller(), SendOtp { new_code: false, ..ask(PHONE) }).await;
        assert_eq!((sent.otp_id, sent.resent), (2, false));
    });
    assert_eq!(world.messages_out(), 1);
}
