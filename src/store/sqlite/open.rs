//! Opening the database: make, migrate, unwrap the keys; status, check and backup.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, params};

use super::{Opening, Sqlite, trouble, turn};
use crate::audit::{Actor, Details, Event};
use crate::clock::Timestamp;
use crate::error::{Code, Error, Result};
use crate::keys::{self, DatabaseKeys, KeyId, Keyring, WrappedKeys};
use crate::store::{MORE_MAX, Status};

/// The migrations in their order: version and SQL. A migration that has landed never changes.
const MIGRATIONS: &[(u32, &str)] = &[(1, include_str!("../migrations/sqlite/0001_initial.sql"))];

/// "SMSO" in the file's header: ours, and not some other program's database.
const APPLICATION_ID: u32 = 0x534D_534F;

/// From so many pages on (10 MB) whoever commits moves the log into the database. A purge moves it after each batch, and its log
/// stays shorter than this: otherwise those who send beside it would do the moving.
const LOG_PAGES: u32 = 2_500;

/// How many prepared statements a connection keeps: more than any operation uses.
const STATEMENTS: usize = 64;

/// True where there is a database, or something else, at `path`. An empty file is what a crash before the first commit leaves.
pub fn exists(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| !meta.is_file() || meta.len() > 0)
}

/// The path of one of the files that stand beside the database.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The first bytes of every SQLite file (its file format, section 1.3.1).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Refuses a file that is no SQLite database, whatever else is missing.
///
/// # Errors
/// `STORE_CORRUPT`, or `STORE_FAILED` where it cannot be read.
pub fn must_be_sqlite(path: &Path) -> Result<()> {
    must_not_be_a_directory(path)?;
    let mut head = [0; 16];
    let mut file = fs::File::open(path).map_err(|error| io_trouble(path, &error))?;
    match io::Read::read_exact(&mut file, &mut head) {
        Ok(()) if head == *MAGIC => Ok(()),
        _ => Err(Error::new(Code::STORE_CORRUPT, format!("{} is damaged or not a database", path.display()))
            .hint("Name the database with --db or SMSOTP_DATABASE; if these are the database, restore a backup.")),
    }
}

fn must_not_be_a_directory(path: &Path) -> Result<()> {
    if !path.is_dir() {
        return Ok(());
    }
    Err(Error::new(Code::STORE_FAILED, format!("{} is a directory, not a database", path.display()))
        .hint("Name the file in it with --db or SMSOTP_DATABASE."))
}

/// There are no database, and none are to be made.
pub fn none_yet(path: &Path) -> Error {
    Error::new(Code::STORE_FAILED, format!("there is no database at {} yet", path.display()))
        .hint("`smsotp send` makes them; or name others with --db or SMSOTP_DATABASE.")
}

/// Opens the file, private to its owner from its first moment.
pub fn connect(path: &Path, opening: Opening) -> Result<Connection> {
    must_not_be_a_directory(path)?;
    if !exists(path) {
        if !opening.create {
            return Err(none_yet(path));
        }
        make(path, opening)?;
    }
    // Not CREATE: the file is there, and SQLite would make it readable for everyone. No symlink games beside it either.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| named(path, error))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Other programs may hold the file without knowing of our queue; ours wait in it and hardly ever get here.
    connection.busy_timeout(opening.patience).map_err(trouble)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false).map_err(trouble)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true).map_err(trouble)?;
    // A misspelt column in double quotes is an error, as on PostgreSQL, and not a string.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false).map_err(trouble)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false).map_err(trouble)?;
    // Plans do not follow the values: without this, a statement whose value stands in a LIMIT, or is compared with a partial
    // index, is prepared anew whenever it is bound.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(trouble)?;
    // The last one out would copy the log back into the file: for a short log that is half a millisecond spent too early.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(trouble)?;
    connection
        .execute_batch(&format!(
            "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = FAST; PRAGMA wal_autocheckpoint = {LOG_PAGES};"
        ))
        .map_err(|error| named(path, error))?;
    Ok(connection)
}

fn make(path: &Path, opening: Opening) -> Result<()> {
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        if opening.create_dir {
            keys::make_private_dir(dir).map_err(|error| io_trouble(dir, &error))?;
        } else if !dir.is_dir() {
            return Err(Error::new(Code::STORE_FAILED, format!("the directory {} does not exist", dir.display()))
                .hint(format!("Make it: mkdir -p -m 700 '{}'", dir.display())));
        }
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        // Somebody else was quicker, or a crash left it: fine either way, the migration decides.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(io_trouble(path, &error)),
    }
}

/// Brings the tables up to date and unwraps the keys; makes both where the database is new.
pub fn prepare(sqlite: &Sqlite, ring: &Keyring, opening: Opening) -> Result<DatabaseKeys> {
    let version = version(&sqlite.connection(), &sqlite.path)?;
    if version != newest() {
        migrate(sqlite, version, ring, opening)?;
    }
    let (database_id, wraps) = wraps(&sqlite.connection())?;
    let keys = unwrap(&database_id, &wraps, ring)?;
    let missing = ring.ids().into_iter().any(|id| !wraps.iter().any(|wrap| wrap.key_id == id));
    if missing {
        sqlite.set_up(|tx| wrap(tx, (&database_id, &keys), ring, sqlite.clock.now()))?;
    }
    Ok(keys)
}

fn newest() -> u32 {
    MIGRATIONS.last().map_or(0, |(version, _)| *version)
}

fn version(connection: &Connection, path: &Path) -> Result<u32> {
    let pragma = |sql: &str| connection.query_row(sql, [], |row| row.get(0)).map_err(|error| named(path, error));
    let application = || pragma("PRAGMA application_id").map(|id: u32| id == APPLICATION_ID);
    // Where our mark is missing the tables come first: whoever makes them puts it beside them in the same commit, so it is
    // there by then.
    let foreign = !application()? && has_tables(connection, path)? && !application()?;
    let version: u32 = pragma("PRAGMA user_version")?;
    if version > newest() {
        return Err(Error::new(
            Code::STORE_NEWER,
            format!("the database has version {version}; this smsotp knows up to {}", newest()),
        )
        .hint("Use the newer smsotp that wrote it; going back would lose what only it understands."));
    }
    if foreign {
        return Err(Error::new(Code::STORE_FAILED, format!("{} is another program's database", path.display()))
            .hint("Name the database with --db or SMSOTP_DATABASE; nothing was changed in this file."));
    }
    Ok(version)
}

fn has_tables(connection: &Connection, path: &Path) -> Result<bool> {
    connection
        .query_row("SELECT count(*) FROM (SELECT 1 FROM sqlite_schema LIMIT 1)", [], |row| row.get::<_, i64>(0))
        .map(|tables| tables > 0)
        .map_err(|error| named(path, error))
}

fn migrate(sqlite: &Sqlite, from: u32, ring: &Keyring, opening: Opening) -> Result<()> {
    if from == 0 {
        // The log mode is kept in the file; it cannot be changed inside a transaction.
        let _turn = sqlite.take_turn()?;
        let mode: String = sqlite
            .connection()
            .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
            .map_err(|error| named(&sqlite.path, error))?;
        if mode != "wal" {
            return Err(Error::new(Code::STORE_FAILED, "the file system of the database has no shared memory")
                .hint("Put the database on a local disk; network file systems lose locks and commits."));
        }
    } else {
        let copy = sqlite.path.with_extension(format!("before-{}.db", newest()));
        copy_to(&sqlite.connection(), &copy)?;
    }
    debug_assert!(opening.create || from > 0 || exists(&sqlite.path));
    sqlite.set_up(|tx| {
        // Read again under the lock: of many that start at once, one migrates.
        let from = version(tx, &sqlite.path)?;
        for (to, sql) in MIGRATIONS.iter().filter(|(to, _)| *to > from) {
            tx.execute_batch(sql).map_err(trouble)?;
            tx.pragma_update(None, "user_version", to).map_err(trouble)?;
        }
        if from == 0 {
            tx.pragma_update(None, "application_id", APPLICATION_ID).map_err(trouble)?;
            let mut database_id = [0; 16];
            keys::fill_random(&mut database_id)?;
            tx.execute(
                "INSERT INTO identity (only, database_id, created_at) VALUES (1, ?1, ?2)",
                params![database_id, sqlite.clock.now().millis()],
            )
            .map_err(trouble)?;
            wrap(tx, (&database_id, &DatabaseKeys::generate()?), ring, sqlite.clock.now())?;
        }
        Ok(())
    })
}

/// The database's id and their keys as wrapped under each accepted key.
fn wraps(connection: &Connection) -> Result<([u8; 16], Vec<WrappedKeys>)> {
    let database_id = connection
        .query_row("SELECT database_id FROM identity WHERE only = 1", [], |row| row.get(0))
        .map_err(trouble)?;
    let mut statement = connection
        .prepare("SELECT key_id, name, wrapped FROM database_keys ORDER BY key_id, name DESC LIMIT 200")
        .map_err(trouble)?;
    let found = statement
        .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get(2)?)))
        .and_then(|found| found.collect::<rusqlite::Result<Vec<(String, String, Vec<u8>)>>>())
        .map_err(trouble)?;
    let mut wraps = Vec::new();
    // Each key has wrapped both of the database's keys: "index", then "audit".
    for pair in found.windows(2) {
        let [(id, index_name, index), (same, audit_name, audit)] = pair else { continue };
        if id != same || index_name != "index" || audit_name != "audit" {
            continue;
        }
        let key_id = KeyId::parse(id).ok_or_else(|| {
            Error::new(Code::STORE_CORRUPT, "the id of a key in the database is none").hint("Restore a backup.")
        })?;
        wraps.push(WrappedKeys { key_id, index: index.clone(), audit: audit.clone() });
    }
    Ok((database_id, wraps))
}

fn unwrap(database_id: &[u8; 16], wraps: &[WrappedKeys], ring: &Keyring) -> Result<DatabaseKeys> {
    match wraps.iter().find_map(|wrap| ring.get(&wrap.key_id).map(|secret| (wrap, secret))) {
        Some((wrap, secret)) => DatabaseKeys::unwrap(wrap, secret, database_id),
        None => Err(ring.missing(&wraps.iter().map(|wrap| wrap.key_id).collect::<Vec<_>>())),
    }
}

fn wrap(
    tx: &Transaction<'_>,
    (database_id, keys): (&[u8; 16], &DatabaseKeys),
    ring: &Keyring,
    now: Timestamp,
) -> Result<()> {
    for secret in ring.keys() {
        let wrapped = keys.wrap(secret, database_id)?;
        for (name, sealed) in [("index", &wrapped.index), ("audit", &wrapped.audit)] {
            tx.execute(
                "INSERT INTO database_keys (name, key_id, wrapped, added_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
                params![name, wrapped.key_id.to_string(), sealed, now.millis()],
            )
            .map_err(trouble)?;
        }
    }
    Ok(())
}

/// Wraps the database's keys under every key of the ring, and drops the wraps of keys that are not in it.
pub fn rewrap(sqlite: &Sqlite, ring: &Keyring, actor: &Actor) -> Result<()> {
    let now = sqlite.clock.now();
    sqlite.maintain(|tx, _| {
        let (database_id, old) = wraps(tx)?;
        wrap(tx, (&database_id, &sqlite.keys), ring, now)?;
        for stale in old.iter().filter(|wrap| ring.get(&wrap.key_id).is_none()) {
            tx.execute("DELETE FROM database_keys WHERE key_id = ?1", [stale.key_id.to_string()]).map_err(trouble)?;
        }
        let keys = i64::try_from(ring.ids().len()).unwrap_or(i64::MAX);
        let event = Event::new(now, actor.clone(), "keys.wrap", "done").details(Details::new().number("keys", keys));
        Ok(((), Some(event)))
    })
}

/// Facts about the database, none of which reads a whole table.
pub fn status(sqlite: &Sqlite) -> Result<Status> {
    let connection = sqlite.connection();
    let count = |sql: &str| {
        connection
            .query_row(sql, [], |row| row.get::<_, i64>(0))
            .map(|n| u64::try_from(n).unwrap_or(0))
            .map_err(trouble)
    };
    // Each end in a look-up of its own: asked for both at once, SQLite reads the whole table. Between them nearly every id is
    // a row: an estimate that costs two look-ups.
    let rows = vec![
        ("otps", count("SELECT coalesce((SELECT max(id) FROM otps) - (SELECT min(id) FROM otps) + 1, 0)")?),
        ("messages", count("SELECT coalesce((SELECT max(id) FROM messages) - (SELECT min(id) FROM messages) + 1, 0)")?),
        ("audit", count("SELECT coalesce(max(seq), 0) FROM audit WHERE chain = 0")?),
        ("test_numbers", count("SELECT count(*) FROM (SELECT 1 FROM test_numbers LIMIT 1000)")?),
    ];
    let due: u32 = connection
        .query_row(
            "SELECT count(*) FROM (SELECT 1 FROM messages WHERE due_at IS NOT NULL LIMIT ?1)",
            [MORE_MAX],
            |row| row.get(0),
        )
        .map_err(trouble)?;
    let mut statement = connection
        .prepare("SELECT key_id, added_at FROM database_keys WHERE name = 'index' ORDER BY added_at, key_id LIMIT 100")
        .map_err(trouble)?;
    let wrapped_by = statement
        .query_map([], |row| Ok((row.get(0)?, Timestamp(row.get(1)?))))
        .and_then(|found| found.collect::<rusqlite::Result<_>>())
        .map_err(trouble)?;
    let size = |path: &Path| fs::metadata(path).map_or(0, |meta| meta.len());
    let log = beside(&sqlite.path, "-wal");
    Ok(Status {
        engine: format!("SQLite {}", rusqlite::version()),
        place: sqlite.path.display().to_string(),
        schema: (version(&connection, &sqlite.path)?, newest()),
        rows,
        bytes: Some((size(&sqlite.path), size(&log))),
        due,
        wrapped_by,
    })
}

/// Looks for damage: the file's structure, the links between tables, and two rules that no table can hold.
pub fn check(connection: &Connection) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    let mut statement = connection.prepare("PRAGMA integrity_check(20)").map_err(trouble)?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0)).map_err(trouble)?;
    for line in lines {
        match line {
            Ok(line) if line == "ok" => {}
            Ok(line) => findings.push(line),
            Err(error) => findings.push(error.to_string()),
        }
    }
    let orphans: i64 = connection
        .query_row("SELECT count(*) FROM (SELECT 1 FROM pragma_foreign_key_check LIMIT 20)", [], |row| row.get(0))
        .map_err(trouble)?;
    if orphans > 0 {
        findings.push(format!("{orphans} messages belong to an otp that is not there"));
    }
    Ok(findings)
}

/// Writes a copy in which no code is alive.
pub fn backup(sqlite: &Sqlite, to: &Path, actor: &Actor) -> Result<u64> {
    if to.exists() {
        return Err(Error::new(Code::FILE_FAILED, format!("{} is there already", to.display()))
            .hint("Name a file that does not exist; a backup never overwrites one."));
    }
    let now = sqlite.clock.now();
    // The row comes first, so that the copy tells of itself and a copy that failed is told of too.
    sqlite.maintain(|_, _| Ok(((), Some(Event::new(now, actor.clone(), "db.backup", "begun")))))?;
    let mut partial = to.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    let made = copy_to(&sqlite.connection(), partial).and_then(|()| {
        let mut copy = Connection::open(partial).map_err(|error| named(partial, error))?;
        // One plain file: a copy with a log beside it is copied on without it sooner or later.
        copy.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(())).map_err(trouble)?;
        let revoked = revoke_all(&mut copy, sqlite, actor)?;
        copy.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).map_err(trouble)?;
        copy.close().map_err(|(_, error)| trouble(error))?;
        // link, not rename: it fails where somebody made the file in the meantime.
        fs::hard_link(partial, to).map_err(|error| io_trouble(to, &error))?;
        Ok(revoked)
    });
    let _ = fs::remove_file(partial);
    for path in turn::lock_paths(partial) {
        let _ = fs::remove_file(path);
    }
    made
}

fn revoke_all(copy: &mut Connection, sqlite: &Sqlite, actor: &Actor) -> Result<u64> {
    let now = sqlite.clock.now();
    let tx = copy.transaction_with_behavior(TransactionBehavior::Immediate).map_err(trouble)?;
    let revoked = tx
        .execute(
            "UPDATE otps SET state = 'revoked', ended_at = ?1, over_at = ?1 WHERE state = 'active'",
            [now.millis()],
        )
        .map_err(trouble)?;
    // What waits to be sent would go out twice, once from either.
    tx.execute(
        "UPDATE messages SET state = 'canceled', due_at = NULL, updated_at = ?1 WHERE due_at IS NOT NULL AND state = 'queued'",
        [now.millis()],
    )
    .map_err(trouble)?;
    tx.execute("UPDATE messages SET due_at = NULL WHERE due_at IS NOT NULL", []).map_err(trouble)?;
    let details = Details::new().number("revoked", i64::try_from(revoked).unwrap_or(i64::MAX));
    sqlite.append_audit(&tx, &Event::new(now, actor.clone(), "db.copy", "done").details(details))?;
    tx.commit().map_err(trouble)?;
    Ok(u64::try_from(revoked).unwrap_or(u64::MAX))
}

fn copy_to(connection: &Connection, to: &Path) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(to).map_err(|error| io_trouble(to, &error))?;
    let mut copy = Connection::open(to).map_err(|error| named(to, error))?;
    let backup = rusqlite::backup::Backup::new(connection, &mut copy).map_err(trouble)?;
    backup.run_to_completion(2000, std::time::Duration::ZERO, None).map_err(trouble)
}

/// Adds which file it was to SQLite's error.
pub fn named(path: &Path, error: rusqlite::Error) -> Error {
    let error = trouble(error);
    let message = format!("{}: {}", path.display(), error.message());
    let mut named = Error::new(error.code(), message);
    if let Some(hint) = error.hint_text() {
        named = named.hint(hint);
    }
    if let Some(after) = error.retry_after_hint() {
        named = named.retry_after(after);
    }
    match std::error::Error::source(&error) {
        Some(source) => named.because(source.to_string()),
        None => named,
    }
}

/// A file system's error with the path it was about.
pub fn io_trouble(path: &Path, error: &io::Error) -> Error {
    Error::new(Code::STORE_FAILED, format!("{}: {error}", path.display()))
        .hint("Check the path, who owns the directory, and that the file system is writable.")
}

#[cfg(test)]
#[allow(unused_imports)]
mod tests {
    use super::*;
    #[test]
    fn migrations_are_numbered_without_gaps() {
        for (index, (version, _)) in MIGRATIONS.iter().enumerate() {
            assert_eq!(usize::try_from(*version).unwrap(), index + 1);
        }
    }
}
