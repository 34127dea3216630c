//! send: limits to the message, the same code again, and what each outcome leaves in the books.

use smsotp::engine::SendAnswer;
use smsotp::message::State;

use crate::world::{PHONE, World, ask, block_on, caller, send};

#[test]
fn a_code_goes_out_once_and_the_next_one_waits_for_the_cooldown() {
    let world = World::new();
    block_on(async {
        let engine = world.engine();
        let sent = send(&engine, PHONE).await;
        assert_eq!(sent.state, State::Accepted);
        assert!(sent.provider_id.unwrap().starts_with("SM"));

        let SendAnswer::Refused(refusal) = engine.send(&caller(), ask(PHONE)).await.unwrap() else {
            panic!("not refused")
        };
        assert_eq!((refusal.hits[0].limit.as_str(), refusal.retry_after_seconds), ("cooldown", Some(30)));
        assert_eq!(world.sandbox.messages().len(), 1);
    });
}
