//! Databases that leave one store for another: no code is ever alive in two places.

use std::io::Cursor;
use std::sync::Arc;

use smsotp::audit::Actor;
use smsotp::engine::{Engine, Verdict};
use smsotp::error::Code;
use smsotp::limits::{Limit, Window};
use smsotp::store::Subject;
use smsotp::store::export::Transfer;
use smsotp::store::sqlite::{Sqlite, SqliteOptions};

use super::{Database, on_every_store};
use crate::world::{PHONE, World, ask, caller, first_break, refusal, send, usage, verdict};

on_every_store![
    in_a_copy_no_code_is_alive_and_every_limit_remembers,
    a_move_takes_the_living_codes_along_and_seals_what_stays,
    only_whole_exports_come_into_an_empty_database_with_their_keys,
    a_backup_holds_no_living_code,
];

/// A new database of the other kind (or of the same, where there is no server), under the same secret keys.
fn elsewhere(database: &Database) -> Database {
    let found = if database.url.is_some() { None } else { Database::postgres_for(&database.keyring()) };
    let mut target = found.unwrap_or_else(Database::sqlite);
    target.world.keys.clone_from(&database.keys);
    target
}

async fn out(database: &Database, transfer: Transfer) -> Vec<u8> {
    let mut lines = Vec::new();
    database.store_of_a_command().await.maintenance.export(&mut lines, transfer, &Actor::System).await.unwrap();
    lines
}

async fn into(database: &Database, lines: &[u8]) -> smsotp::error::Result<()> {
    let ring = database.keyring();
    database.store_of_a_command().await.maintenance.import(&mut Cursor::new(lines), &ring).await.map(drop)
}

async fn in_a_copy_no_code_is_alive_and_every_limit_remembers(database: &mut Database) {
    let target = elsewhere(database);
    let engine = database.engine().await;
    let sent = send(&engine, PHONE).await;
    let code = database.code_on(PHONE);
    let lines = out(database, Transfer::Copy).await;
    assert!(!String::from_utf8(lines.clone()).unwrap().contains(&format!("\"{}\"", code.expose())));
    into(&target, &lines).await.unwrap();

    let there = target.engine().await;
    assert_eq!(verdict(&there, PHONE, &code).await, Verdict::Revoked);
    assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Verified, "it lives on where it was");
    assert_eq!(refusal(&there, PHONE).await.hits[0].limit, Limit::Cooldown);
    let whole = usage(&there, Subject::Everything).await;
    assert!(whole.slots_in(Window::new(1000, 3600), there.reads().now().await.unwrap()).used >= 1);
    target.verify().await;
    // Ids go on where they were.
    target.advance(3600);
    assert!(send(&there, "+14155550123").await.otp_id > sent.otp_id);
}

async fn a_move_takes_the_living_codes_along_and_seals_what_stays(database: &mut Database) {
    let target = elsewhere(database);
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    let code = database.code_on(PHONE);
    assert_eq!(verdict(&engine, PHONE, &World::wrong(&code)).await, Verdict::WrongCode { tries_left: 4 });
    let lines = out(database, Transfer::Move).await;
    let guess = crate::world::guess(PHONE, &code);
    let error = engine.verify(&caller(), guess).await.unwrap_err();
    assert_eq!((error.code(), error.message().contains("sealed")), (Code::STORE_FAILED, true), "{error:?}");
    assert!(engine.send(&caller(), ask("+14155550123")).await.unwrap_err().message().contains("sealed"));
    // A move that failed half way may be repeated.
    assert_eq!(out(database, Transfer::Move).await.len(), lines.len());

    into(&target, &lines).await.unwrap();
    let there = target.engine().await;
    assert_eq!(verdict(&there, PHONE, &World::wrong(&code)).await, Verdict::WrongCode { tries_left: 3 });
    assert_eq!(verdict(&there, PHONE, &code).await, Verdict::Verified);
    target.verify().await;
}

async fn only_whole_exports_come_into_an_empty_database_with_their_keys(database: &mut Database) {
    let target = elsewhere(database);
    send(&database.engine().await, PHONE).await;
    let lines = out(database, Transfer::Copy).await;
    let text = String::from_utf8(lines.clone()).unwrap();
    let without_end = text.trim_end().rsplit_once('\n').unwrap().0.to_owned() + "\n";
    let mut without_a_row: Vec<&str> = text.lines().collect();
    without_a_row.remove(5);
    let newer = text.replacen("\"smsotp_export\":1", "\"smsotp_export\":2", 1);
    let foreign = text.replacen("\"table\":\"otps\"", "\"table\":\"pg_class\"", 1);
    for bad in [without_end, without_a_row.join("\n") + "\n", newer, foreign, "{}\n".into(), String::new()] {
        let error = into(&target, bad.as_bytes()).await.unwrap_err();
        assert_eq!(error.code(), Code::VALUE_INVALID, "{error:?}");
    }
    let other = World::new().keyring();
    let error =
        target.store_of_a_command().await.maintenance.import(&mut Cursor::new(&lines), &other).await.unwrap_err();
    assert_eq!(error.code(), Code::KEY_INVALID);
    // After all of these the database is as empty as before.
    into(&target, &lines).await.unwrap();
    let error = into(&target, &lines).await.unwrap_err();
    assert!(error.message().contains("not empty"), "{error:?}");
}

async fn a_backup_holds_no_living_code(database: &mut Database) {
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    let code = database.code_on(PHONE);
    let path = database.dir.path().join("copy.db");
    let backup = engine.backup(&caller(), &path).await;
    if database.url.is_some() {
        let error = backup.unwrap_err();
        assert!(error.hint_text().unwrap().contains("smsotp db export"), "{error:?}");
        return;
    }
    assert_eq!(backup.unwrap(), 1, "one lived");
    assert_eq!(database.audit().last().unwrap(), "db.backup done");
    let copy = Sqlite::open(&path, &database.keyring(), database.shared_clock(), SqliteOptions::default()).unwrap();
    let there = Engine::new(Arc::new(copy), database.keyring(), Arc::default());
    assert_eq!(verdict(&there, PHONE, &code).await, Verdict::Revoked);
    assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Verified, "it lives on where it was");
    assert_eq!(first_break(there.store()).await, None);
}
