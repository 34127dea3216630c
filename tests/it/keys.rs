//! Keys: a wrong or missing one is a clear error, and never a silent new one.

use std::sync::Arc;

use smsotp::engine::{Engine, SendOtp, Verdict};
use smsotp::error::{Class, Code, Error};
use smsotp::keys::{Keyring, SecretKey};
use smsotp::message::State;
use smsotp::sandbox::Fault;
use smsotp::store::sqlite::{Sqlite, SqliteOptions};

use crate::world::{PHONE, World, ask, block_on, caller, guess, keyring, new_key, send, send_as, verdict};

fn opened(world: &World, keys: &[String]) -> Result<Sqlite, Error> {
    Sqlite::open(&world.db(), &keyring(keys), world.shared_clock(), SqliteOptions::default())
}

fn id(key: &str) -> String {
    SecretKey::from_base64(key).unwrap().id().to_string()
}

#[test]
fn database_do_not_open_with_another_key_and_the_error_names_both() {
    let world = World::new();
    drop(world.engine());
    let wrong = new_key();
    for _ in 0..2 {
        let error = opened(&world, std::slice::from_ref(&wrong)).err().unwrap();
        assert_eq!((error.code(), error.class()), (Code::KEY_INVALID, Class::Config));
        let said = error.to_string();
        assert!(said.contains(&id(&world.keys[0])) && said.contains(&id(&wrong)), "{said}");
        assert!(!said.contains(&wrong));
    }
    // Nothing was made anew, and the right key still works.
    assert_eq!(world.number("SELECT count(*) FROM database_keys"), 2);
    drop(world.engine());
}

#[test]
fn a_key_that_is_missing_for_one_living_code_fails_closed_and_charges_nothing() {
    let mut world = World::unlimited();
    block_on(async { send(&world.engine(), PHONE).await });
    let code = world.code_on(PHONE);
    world.keys.insert(0, new_key());
    drop(world.engine());
    let lost = world.keys.pop().unwrap();
    block_on(async {
        let engine = world.engine();
        for wrong in [World::wrong(&code), code.clone()] {
            let error = engine.verify(&caller(), guess(PHONE, &wrong)).await.unwrap_err();
            assert_eq!(error.code(), Code::KEY_INVALID);
            assert!(
                error.to_string().contains(&id(&lost)) && error.to_string().contains(&id(&world.keys[0])),
                "{error}"
            );
        }
        let error = engine.send(&caller(), ask(PHONE)).await.unwrap_err();
        assert_eq!(error.code(), Code::KEY_INVALID);
        assert_eq!((world.sandbox.requests(), world.number("SELECT count(*) FROM messages")), (1, 1));
        assert_eq!(world.number("SELECT wrong_guesses FROM otps"), 0);

        // A new code needs the old key no more.
        let new = send_as(&engine, &caller(), SendOtp { new_code: true, ..ask(PHONE) }).await;
        assert_eq!((new.state, new.otp_id), (State::Accepted, 2));
        assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::WrongCode { tries_left: 4 });
        assert_eq!(verdict(&engine, PHONE, &world.code_on(PHONE)).await, Verdict::Verified);
    });
}

#[test]
fn a_waiting_message_whose_key_is_missing_is_not_taken_over() {
    let mut world = World::unlimited();
    world.sandbox.fault(Fault::Status429 { retry_after: None }, 1);
    let clock = Arc::clone(&world.clock);
    let begun = world.now();
    // The process stops waiting when its otp's time is nearly over; the message stays queued until then.
    let db = world.db();
    let engine = world.engine().on_step(move |step| {
        if step == smsotp::engine::Step::Settled {
            let database = rusqlite::Connection::open(&db).unwrap();
            database.execute("UPDATE messages SET state = 'canceled', due_at = NULL", []).unwrap();
            clock.set(begun + std::time::Duration::from_secs(2));
        }
    });
    block_on(async { send(&engine, PHONE).await });
    world.sql().execute("UPDATE messages SET state = 'queued', due_at = 1", []).unwrap();
    world.keys.insert(0, new_key());
    drop(world.engine());
    world.keys.pop();
    block_on(async {
        let error = world.engine().send(&caller(), ask(PHONE)).await.unwrap_err();
        assert_eq!(error.code(), Code::KEY_INVALID);
    });
    assert_eq!(world.word("SELECT state FROM messages"), "queued");
    assert_eq!(world.sandbox.requests(), 1);
}

#[test]
fn what_is_over_needs_no_key_to_be_said_no_to() {
    let mut world = World::unlimited();
    block_on(async { send(&world.engine(), PHONE).await });
    let code = world.code_on(PHONE);
    world.keys.insert(0, new_key());
    drop(world.engine());
    world.keys.pop();
    world.advance(600);
    block_on(async { assert_eq!(verdict(&world.engine(), PHONE, &code).await, Verdict::Expired) });
}

#[test]
fn database_whose_wrapped_keys_were_damaged_or_mixed_up_do_not_open() {
    let damages = [
        "UPDATE database_keys SET wrapped = zeroblob(length(wrapped))",
        "UPDATE database_keys SET wrapped = (SELECT wrapped FROM database_keys AS b WHERE b.name <> database_keys.name)",
        "UPDATE identity SET database_id = zeroblob(16)",
        "DELETE FROM database_keys",
    ];
    for damage in damages {
        let world = World::new();
        drop(world.engine());
        world.sql().execute_batch(damage).unwrap();
        let error = opened(&world, &world.keys).err().unwrap_or_else(|| panic!("opened after {damage}"));
        assert_eq!(error.class(), Class::Config, "{damage}: {error}");
    }
}

#[test]
fn two_database_have_nothing_in_common_under_one_key() {
    let key = new_key();
    let tags: Vec<[u8; 32]> = (0..2)
        .map(|_| {
            let mut world = World::new();
            world.keys = vec![key.clone()];
            world.store().operations.keys().index.tag("phone", PHONE.as_bytes())
        })
        .collect();
    assert_ne!(tags[0], tags[1]);
}

#[test]
fn a_keyring_of_nothing_is_none_and_an_engine_shows_no_key() {
    assert!(Keyring::new(Vec::new()).is_none());
    let world = World::new();
    let ring = world.keyring();
    let shown = format!("{ring:?} {:?}", world.store().operations.keys());
    assert!(!shown.contains(&world.keys[0]), "{shown}");
    let silent = Engine::new(world.store(), ring, Arc::default());
    block_on(async { assert_eq!(silent.key_uses().await.unwrap().len(), 1) });
}
