//! Rotation: a new key is added last everywhere, then moved first, and no code is lost on the way.

use smsotp::engine::{KeyUse, Verdict};
use smsotp::keys::{Keyring, add_last, promote, remove};

use crate::world::{OTHER, PHONE, World, block_on, caller, new_key, send, verdict};

fn uses(world: &World) -> Vec<(bool, u32, bool, bool)> {
    let uses: Vec<KeyUse> = block_on(async { world.engine().key_uses().await.unwrap() });
    uses.into_iter().map(|key| (key.primary, key.otps, key.added_at.is_some(), key.present)).collect()
}

#[test]
fn codes_of_the_old_key_verify_while_new_ones_are_made_with_the_new() {
    let mut world = World::new();
    block_on(async { send(&world.engine(), PHONE).await });
    let old = world.code_on(PHONE);
    assert_eq!(uses(&world), [(true, 1, true, true)]);

    // Added last: every process can read what any other will write, and codes are made as before.
    world.keys.push(new_key());
    assert_eq!(uses(&world), [(true, 1, true, true), (false, 0, true, true)]);

    // Moved first.
    world.keys.swap(0, 1);
    block_on(async { send(&world.engine(), OTHER).await });
    assert_eq!(uses(&world), [(true, 1, true, true), (false, 1, true, true)]);
    block_on(async {
        let engine = world.engine();
        assert_eq!(verdict(&engine, PHONE, &old).await, Verdict::Verified);
        assert_eq!(verdict(&engine, OTHER, &world.code_on(OTHER)).await, Verdict::Verified);
    });
    assert_eq!(uses(&world), [(true, 0, true, true), (false, 0, true, true)]);

    // Nothing that lives needs the old one: it is taken out, and its wraps with it.
    world.keys.truncate(1);
    block_on(async {
        let engine = world.engine();
        engine.rewrap(&caller(), &world.keyring()).await.unwrap();
    });
    assert_eq!(uses(&world), [(true, 0, true, true)]);
    assert_eq!(world.number("SELECT count(*) FROM database_keys"), 2);
    assert_eq!(world.trouble(), [""; 0]);
}

#[test]
fn the_same_code_goes_out_again_after_the_keys_were_rotated() {
    let mut world = World::new();
    block_on(async {
        send(&world.engine(), PHONE).await;
        let code = world.code_on(PHONE);
        world.keys.insert(0, new_key());
        world.advance(31);
        assert!(send(&world.engine(), PHONE).await.resent);
        assert!(world.code_on(PHONE).matches(&code));
    });
}

#[test]
fn while_something_alive_needs_a_key_it_is_told_that_it_is_in_use() {
    let mut world = World::new();
    block_on(async { send(&world.engine(), PHONE).await });
    world.keys.insert(0, new_key());
    drop(world.engine());
    world.keys.truncate(1);
    assert_eq!(uses(&world), [(true, 0, true, true), (false, 1, true, false)], "in use and not there");
    // A code whose time is over needs no key any more.
    world.advance(600);
    assert_eq!(uses(&world), [(true, 0, true, true), (false, 0, true, false)]);
}

#[test]
fn our_own_key_file_is_rotated_in_three_steps() {
    let world = World::new();
    let path = world.dir.path().join("keys").join("secret.key");
    let source = || smsotp::keys::KeySource { inline: None, file: None, own_file: Some(path.clone()), home: None };
    let first = Keyring::load(&source(), true).unwrap().ids()[0];

    let second = add_last(&path).unwrap();
    assert_eq!(Keyring::load(&source(), false).unwrap().ids(), [first, second]);
    promote(&path, &second).unwrap();
    assert_eq!(Keyring::load(&source(), false).unwrap().ids(), [second, first]);
    remove(&path, &first).unwrap();
    assert_eq!(Keyring::load(&source(), false).unwrap().ids(), [second]);
    assert!(remove(&path, &second).is_err(), "never the one that codes are made with");
}
