//! verify: one success for one code, and no more guesses than the budgets hold.

use smsotp::engine::Verdict;

use crate::world::{PHONE, World, block_on, send, verdict};

#[test]
fn the_right_code_is_verified_once_and_never_again() {
    let world = World::new();
    block_on(async {
        let engine = world.engine();
        send(&engine, PHONE).await;
        let code = world.code_on(PHONE);

        assert_eq!(verdict(&engine, PHONE, &World::wrong(&code)).await, Verdict::WrongCode { tries_left: 4 });
        assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Verified);
        assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::AlreadyUsed);

        // Also after the books were closed and opened again.
        assert_eq!(verdict(&world.engine(), PHONE, &code).await, Verdict::AlreadyUsed);
    });
}

#[test]
fn a_code_is_valid_to_the_last_millisecond_of_its_ten_minutes_and_not_after() {
    let world = World::new();
    block_on(async {
        let engine = world.engine();
        let sent = send(&engine, PHONE).await;
        world.clock.set(smsotp::clock::Timestamp(sent.expires_at.millis()));
        assert_eq!(verdict(&engine, PHONE, &world.code_on(PHONE)).await, Verdict::Expired);

        let other = "+14155550101";
        let sent = send(&engine, other).await;
        world.clock.set(smsotp::clock::Timestamp(sent.expires_at.millis() - 1));
        assert_eq!(verdict(&engine, other, &world.code_on(other)).await, Verdict::Verified);
    });
}

#[test]
fn five_wrong_guesses_lock_a_code_and_a_resend_does_not_open_it() {
    let world = World::new();
    block_on(async {
        let engine = world.engine();
        send(&engine, PHONE).await;
        let code = world.code_on(PHONE);
        for left in [4, 3] {
            assert_eq!(verdict(&engine, PHONE, &World::wrong(&code)).await, Verdict::WrongCode { tries_left: left });
        }
        world.advance(31);
        assert!(send(&engine, PHONE).await.resent);
        assert_eq!(world.code_on(PHONE).expose(), code.expose(), "the same code again");
        for left in [2, 1, 0] {
            assert_eq!(verdict(&engine, PHONE, &World::wrong(&code)).await, Verdict::WrongCode { tries_left: left });
        }
        assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Locked);
    });
}
