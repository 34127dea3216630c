//! Idempotency keys: the same key, the same answer, and never a second message.

use std::time::Duration;

use smsotp::engine::{SendOtp, Sent, Step};
use smsotp::error::Code;
use smsotp::message::State;
use smsotp::otp::User;
use smsotp::sandbox::Fault;

use crate::processes::{Crew, Job, Operation, step};
use crate::world::{OTHER, PHONE, World, ask, block_on, caller, dispatch, purge, refused, send_as};

fn keyed(phone: &str) -> SendOtp {
    SendOtp { idempotency_key: Some("order-17".to_owned()), ..ask(phone) }
}

async fn again(world: &World) -> Sent {
    send_as(&world.engine(), &caller(), keyed(PHONE)).await
}

#[test]
fn the_same_key_gets_the_same_answer_whatever_it_was() {
    for fault in [None, Some(Fault::Code(30_001)), Some(Fault::Unauthorized), Some(Fault::ResetAfterAccepting)] {
        let world = World::unlimited();
        world.sandbox.fault(fault.clone().unwrap_or(Fault::Latency(Duration::ZERO)), 1);
        block_on(async {
            let first = again(&world).await;
            for pause in [0, 31, 3600, 20 * 3600] {
                world.advance(pause);
                purge(&world.engine(), Duration::ZERO).await;
                assert_eq!(again(&world).await, first, "{fault:?} after {pause} s");
            }
        });
        assert_eq!(world.sandbox.requests(), 1, "{fault:?}");
    }
}

#[test]
fn a_key_lives_for_a_day() {
    let world = World::unlimited();
    block_on(async {
        let first = again(&world).await;
        world.advance(24 * 3600 - 1);
        purge(&world.engine(), Duration::ZERO).await;
        assert_eq!(again(&world).await, first);
        world.advance(1);
        assert_eq!(purge(&world.engine(), Duration::ZERO).await.purged.replies, 1);
        assert_ne!(again(&world).await.message_id, first.message_id);
    });
}

#[test]
fn a_key_that_was_used_for_something_else_is_an_error() {
    let world = World::unlimited();
    block_on(async {
        let engine = world.engine();
        send_as(&engine, &caller(), keyed(PHONE)).await;
        let others = [
            keyed(OTHER),
            SendOtp { user: User::parse("bob").unwrap(), ..keyed(PHONE) },
            SendOtp { purpose: smsotp::purpose::Purpose::parse("registration").unwrap(), ..keyed(PHONE) },
            SendOtp { new_code: true, ..keyed(PHONE) },
        ];
        for other in others {
            let error = engine.send(&caller(), other).await.unwrap_err();
            assert_eq!(error.code(), Code::IDEMPOTENCY_MISMATCH);
        }
    });
    assert_eq!(world.sandbox.requests(), 1);
}

#[test]
fn a_no_of_the_limits_is_no_answer_to_keep() {
    let world = World::new();
    block_on(async {
        let engine = world.engine();
        send_as(&engine, &caller(), ask(PHONE)).await;
        let no = refused(engine.send(&caller(), keyed(PHONE)).await.unwrap());
        assert_eq!(no.hits[0].limit.as_str(), "cooldown");

        world.advance(30);
        assert_eq!(again(&world).await.state, State::Accepted);
    });
}

#[test]
fn whoever_asks_while_the_first_is_at_work_is_told_to_come_back() {
    let world = World::unlimited();
    world.sandbox.fault(Fault::Code(30_001), 1);
    let other = world.engine();
    let engine = world.engine().on_step(move |step| {
        if step == Step::Handing {
            let other = other.clone();
            let asked = std::thread::spawn(move || block_on(other.send(&caller(), keyed(PHONE))));
            let error = asked.join().unwrap().unwrap_err();
            assert_eq!(error.code(), Code::IN_PROGRESS);
            assert!(error.retry_after_hint().is_some());
        }
    });
    block_on(async {
        let first = send_as(&engine, &caller(), keyed(PHONE)).await;
        assert_eq!(again(&world).await, first);
    });
    assert_eq!(world.sandbox.requests(), 1);
}

#[test]
fn after_a_kill_the_key_tells_what_became_of_its_message() {
    for (at, requests) in [(Step::Reserved, 0), (Step::Handing, 0), (Step::Answered, 1), (Step::Settled, 1)] {
        let world = World::unlimited();
        let operation = Operation::Send {
            phone: PHONE.to_owned(),
            user: "ada".to_owned(),
            ip: None,
            key: Some("order-17".to_owned()),
        };
        Crew::at_the_barrier(&[Job { die_at: Some((step(at), 1)), ..Job::new(&world, vec![operation]) }]).go();
        block_on(async {
            if at != Step::Settled {
                let error = world.engine().send(&caller(), keyed(PHONE)).await.unwrap_err();
                assert_eq!(error.code(), Code::IN_PROGRESS, "{at:?}: it may be alive for a minute");
            }
            for pause in [61, 601, 601] {
                world.advance(pause);
                let told = again(&world).await;
                let right = if requests == 1 { State::Accepted } else { told.state };
                assert_eq!((told.message_id, told.state), (1, right), "{at:?}");
                assert!(requests == 1 || matches!(told.state, State::Unknown | State::Failed), "{at:?}");
                dispatch(&world.engine()).await;
            }
        });
        assert_eq!(world.sandbox.requests(), requests, "{at:?}: a key never sends twice");
    }
}
