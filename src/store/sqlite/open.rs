//! Opens the database: creates and migrates it, unwraps the keys. Also its status, check and backup.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::{Sqlite, SqliteOptions, errors, rows, turn};
use crate::audit::{Actor, Details, Event, SealedHead};
use crate::error::{Code, Error, Result};
use crate::keys::{self, DatabaseKeys, Keyring};
use crate::message::Message;
use crate::otp::Otp;
use crate::store::definitions::{Definitions, differences};
use crate::store::schema::{self, Dialect, Identity, KeyRow, Record};
use crate::store::{MORE_MAX, Status, export, wrapped};

/// "SMSO" in the file's header: tells our databases from those of other programs.
const APPLICATION_ID: u32 = 0x534D_534F;

/// Once the log has this many pages (10 MB), a commit also copies it into the database. A purge copies it after each batch and keeps it
/// shorter: otherwise the senders next to it would have to.
const LOG_PAGES: u32 = 2_500;

/// SQLite's name for a database that is in memory: what stands in for its path.
pub const IN_MEMORY: &str = ":memory:";

/// How many prepared statements a connection keeps: more than any operation uses.
const STATEMENTS: usize = 64;

/// The version of SQLite that is built in.
pub fn library_version() -> &'static str {
    rusqlite::version()
}

/// Whether there is a database, or something else, at `path`. A crash before the first commit leaves an empty file.
///
/// # Errors
/// `STORE_FAILED` where this user cannot know: a directory on the way may not be entered.
pub fn exists(path: &Path) -> Result<bool> {
    match fs::metadata(path) {
        Ok(meta) => Ok(!meta.is_file() || meta.len() > 0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(Error::new(
            Code::STORE_FAILED,
            format!("the user {} may not enter the directory of the database {}", keys::user_name(), path.display()),
        )
        .hint("Run it as the user who made the database, or name another database with --db or SMSOTP_DATABASE.")),
        Err(error) => Err(errors::of_path(path, &error)),
    }
}

/// Whether there is nothing at `path`, and a first operation could create a database there: with its directory, if that
/// may be created too. What cannot be looked at is not held to be missing.
pub fn may_be_created(path: &Path, create_dir: bool) -> bool {
    let missing = match fs::metadata(path) {
        Ok(meta) => meta.is_file() && meta.len() == 0,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    missing && (create_dir || dir.is_none_or(Path::is_dir))
}

/// The path of one of the files next to the database.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The first bytes of every SQLite file (its file format, section 1.3.1).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Refuses a file that is not a SQLite database.
///
/// # Errors
/// `STORE_CORRUPT`, or `STORE_FAILED` if it cannot be read.
pub fn must_be_sqlite(path: &Path) -> Result<()> {
    must_not_be_a_directory(path)?;
    let mut head = [0; 16];
    let mut file = fs::File::open(path).map_err(|error| errors::of_path(path, &error))?;
    match io::Read::read_exact(&mut file, &mut head) {
        Ok(()) if head == *MAGIC => Ok(()),
        _ => Err(Error::new(Code::STORE_CORRUPT, format!("{} is damaged or not a database", path.display()))
            .hint("Name the database with --db or SMSOTP_DATABASE; if this is it, restore a backup.")),
    }
}

fn must_not_be_a_directory(path: &Path) -> Result<()> {
    if !path.is_dir() {
        return Ok(());
    }
    Err(Error::new(Code::STORE_FAILED, format!("{} is a directory, not a database", path.display()))
        .hint("Name the file in it with --db or SMSOTP_DATABASE."))
}

/// The error if there is no database and none is to be created.
pub fn none_yet(path: &Path) -> Error {
    Error::new(Code::STORE_FAILED, format!("there is no database at {} yet", path.display()))
        .hint("`smsotp send` creates it; or name another with --db or SMSOTP_DATABASE.")
}

/// Opens the file, which is created readable by its owner alone.
pub fn connect(path: &Path, options: SqliteOptions) -> Result<Connection> {
    must_not_be_a_directory(path)?;
    if !exists(path)? {
        if !options.create {
            return Err(none_yet(path));
        }
        create(path, options)?;
    }
    let connection = open(path, options.reads_only).map_err(|error| errors::of_file(path, error))?;
    // For other programs, which do not know our queue; ours wait there.
    connection.busy_timeout(options.wait_limit)?;
    configure(&connection)?;
    // The last connection to close would copy the log into the file: for a short log that is half a millisecond too early.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection
        .execute_batch(&format!(
            "PRAGMA synchronous = FULL; PRAGMA secure_delete = FAST; PRAGMA wal_autocheckpoint = {LOG_PAGES};"
        ))
        .map_err(|error| errors::of_file(path, error))?;
    Ok(connection)
}

/// Opens a new database in memory. Nothing of it can be left behind, so nothing has to be overwritten.
pub fn connect_in_memory() -> Result<Connection> {
    let connection = Connection::open_in_memory()?;
    configure(&connection)?;
    connection.execute_batch("PRAGMA secure_delete = OFF;")?;
    Ok(connection)
}

/// What holds for every connection.
fn configure(connection: &Connection) -> Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // A misspelt column in double quotes is an error, as on PostgreSQL, and not a string.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    // Plans do not depend on bound values: otherwise a statement with a value in its LIMIT, or compared with a partial index, is prepared
    // again whenever a value is bound.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection.execute_batch("PRAGMA foreign_keys = ON;")?)
}

/// Opens a file that is there; one that cannot be written only if `reads_only`.
fn open(path: &Path, reads_only: bool) -> rusqlite::Result<Connection> {
    let open = |name: &Path, flags| {
        let connection = Connection::open_with_flags(name, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        if reads_only {
            // The file itself is looked at by the first statement, and so are the two beside it.
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        }
        Ok(connection)
    };
    // Without CREATE: the file is there by now, and SQLite would create it readable by everyone.
    let opened = open(&plain(path), OpenFlags::SQLITE_OPEN_READ_WRITE);
    if !reads_only || opened.as_ref().err().is_none_or(|error| !is_unwritable(error)) {
        return opened;
    }
    let reading = OpenFlags::SQLITE_OPEN_READ_ONLY;
    match open(&plain(path), reading) {
        Err(error) if is_unwritable(&error) && !has_log(path) => {
            // Without a log the file is the whole database; and where nobody can write beside it, no log can begin.
            open(&immutable(path), reading | OpenFlags::SQLITE_OPEN_URI)
        }
        opened => opened,
    }
}

/// Whether SQLite could not write the file, or could not make those that it needs beside it.
fn is_unwritable(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::CannotOpen | rusqlite::ErrorCode::ReadOnly))
}

fn has_log(path: &Path) -> bool {
    fs::metadata(with_suffix(path, "-wal")).is_ok_and(|log| log.len() > 0)
}

/// A path that SQLite takes for nothing but a path: one that begins with `file:` would be a URI, and `:memory:` no
/// file.
pub fn plain(path: &Path) -> PathBuf {
    if path.is_absolute() { path.to_owned() } else { Path::new(".").join(path) }
}

/// The URI of a file that nobody changes (https://sqlite.org/uri.html): every byte that could mean something else is
/// escaped.
fn immutable(path: &Path) -> PathBuf {
    let mut uri = String::from("file:");
    for byte in plain(path).as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            byte => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    PathBuf::from(uri + "?immutable=1")
}

/// The error where the directory of a database that was named is not there.
pub fn no_directory(dir: &Path) -> Error {
    Error::new(Code::STORE_FAILED, format!("the directory {} does not exist", dir.display()))
        .hint(format!("Create it: mkdir -p -m 700 '{}'", dir.display()))
}

fn create(path: &Path, options: SqliteOptions) -> Result<()> {
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        if options.create_dir {
            keys::make_private_dir(dir).map_err(|error| errors::of_path(dir, &error))?;
        } else if !dir.is_dir() {
            return Err(no_directory(dir));
        }
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        // Another process was quicker, or a crash left the file: the migration handles either.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(errors::of_path(path, &error)),
    }
}

/// Brings the tables up to date and unwraps the keys; creates both if the database is new.
pub fn prepare(sqlite: &Sqlite, ring: &Keyring) -> Result<DatabaseKeys> {
    let version = version(&sqlite.connection(), &sqlite.path)?;
    if version != schema::newest() {
        migrate(sqlite, version, ring)?;
    }
    let identity = identity(&sqlite.connection(), &sqlite.path)?;
    let wraps = key_rows(&sqlite.connection())?;
    let keys = wrapped::unwrap(&wraps, &identity.database_id, ring)?;
    if wrapped::lacks_one(&wraps, ring) && !sqlite.connection().is_readonly("main")? {
        let wraps = wrapped::wrap(&keys, &identity.database_id, ring, sqlite.clock.now())?;
        sqlite.set_up(|tx| wraps.iter().try_for_each(|row| rows::put(tx, row)))?;
    }
    Ok(keys)
}

fn version(connection: &Connection, path: &Path) -> Result<u32> {
    let pragma =
        |sql: &str| connection.query_row(sql, [], |row| row.get(0)).map_err(|error| errors::of_file(path, error));
    let application = || pragma("PRAGMA application_id").map(|id: u32| id == APPLICATION_ID);
    // Look for tables before the second look at the id: another process commits both together, so that its id is there by then.
    let foreign = !application()? && has_tables(connection, path)? && !application()?;
    let version: u32 = pragma("PRAGMA user_version")?;
    if foreign {
        return Err(Error::new(Code::STORE_FAILED, format!("{} is another program's database", path.display()))
            .hint("Name the database with --db or SMSOTP_DATABASE; nothing was changed in this file."));
    }
    schema::refuse_newer(version)?;
    Ok(version)
}

fn has_tables(connection: &Connection, path: &Path) -> Result<bool> {
    connection
        .query_row("SELECT count(*) FROM (SELECT 1 FROM sqlite_schema LIMIT 1)", [], |row| row.get::<_, i64>(0))
        .map(|tables| tables > 0)
        .map_err(|error| errors::of_file(path, error))
}

fn migrate(sqlite: &Sqlite, from: u32, ring: &Keyring) -> Result<()> {
    if from == 0 {
        // The journal mode is stored in the file and cannot be changed inside a transaction.
        let _turn = sqlite.take_turn()?;
        let mode: String = sqlite
            .connection()
            .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
            .map_err(|error| errors::of_file(&sqlite.path, error))?;
        // In memory there is no log, and no other process that reads.
        if mode != "wal" && mode != "memory" {
            return Err(Error::new(Code::STORE_FAILED, "the file system of the database has no shared memory")
                .hint("Put the database on a local disk; network file systems lose locks and commits."));
        }
    } else {
        let copy = sqlite.path.with_extension(format!("before-{}.db", schema::newest()));
        copy_to(&sqlite.connection(), &copy)?;
    }
    sqlite.set_up(|tx| {
        // Read again under the lock: of many processes that start at the same time, one migrates.
        let from = version(tx, &sqlite.path)?;
        for (to, sql) in schema::migrations_after(from, Dialect::Sqlite) {
            tx.execute_batch(sql)?;
            tx.pragma_update(None, "user_version", to)?;
        }
        if from == 0 {
            tx.pragma_update(None, "application_id", APPLICATION_ID)?;
            let mut database_id = [0; 16];
            keys::fill_random(&mut database_id)?;
            let now = sqlite.clock.now();
            rows::insert(tx, &Identity { id: 1, database_id, created_at: now, sealed_at: None })?;
            let keys = DatabaseKeys::generate()?;
            let wraps = wrapped::wrap(&keys, &database_id, ring, now)?;
            wraps.iter().try_for_each(|row| rows::insert(tx, row))?;
            rows::insert(tx, &SealedHead::empty(&keys.audit, super::CHAIN, super::CHAINS))?;
        }
        Ok(())
    })
}

/// Reads which database this is. Databases from before the first release are noticed here: their tables had other names.
pub fn identity(connection: &Connection, path: &Path) -> Result<Identity> {
    let found = rows::find(connection, [1]).or_else(|error| {
        let sql = "SELECT 1 FROM sqlite_schema WHERE name = ?1";
        match rows::value::<i64>(connection, sql, [Identity::table().name])? {
            Some(_) => Err(error),
            None => Err(schema::before_first_release(&path.display().to_string()).hint(
                "No later version can read it. Name a new file with --db or SMSOTP_DATABASE; nothing was changed in this one.",
            )),
        }
    });
    found?.ok_or_else(|| crate::store::value::damaged("the table identity is empty"))
}

/// The database's keys, wrapped under each accepted key.
fn key_rows(connection: &Connection) -> Result<Vec<KeyRow>> {
    rows::all(connection, &format!("{} ORDER BY added_at, key_id LIMIT 200", rows::statements::<KeyRow>().select), [])
}

/// Wraps the database's keys under every key of the ring, and drops the wraps of keys that are not in it.
pub fn rewrap(sqlite: &Sqlite, ring: &Keyring, actor: &Actor) -> Result<()> {
    let now = sqlite.clock.now();
    sqlite.maintain(|tx, _| {
        let wraps = wrapped::wrap(&sqlite.keys, &identity(tx, &sqlite.path)?.database_id, ring, now)?;
        wraps.iter().try_for_each(|row| rows::put(tx, row))?;
        for stale in key_rows(tx)?.iter().filter(|row| ring.get(&row.key_id).is_none()) {
            rows::execute(tx, "DELETE FROM database_keys WHERE key_id = ?1", [stale.key_id.to_string()])?;
        }
        let keys = i64::try_from(ring.ids().len()).unwrap_or(i64::MAX);
        let event = Event::new(now, actor.clone(), "keys.wrap", "done").details(Details::new().number("keys", keys));
        Ok(((), Some(event)))
    })
}

/// The status, without reading a whole table.
pub fn status(sqlite: &Sqlite) -> Result<Status> {
    let connection = sqlite.connection();
    let count = |sql: &str| Ok::<u64, Error>(rows::value(&connection, sql, [])?.unwrap_or(0));
    // The span of ids estimates the number of rows. Each end is a query of its own: for both in one, SQLite reads the whole table.
    let rows = vec![
        ("otps", count("SELECT coalesce((SELECT max(id) FROM otps) - (SELECT min(id) FROM otps) + 1, 0)")?),
        ("messages", count("SELECT coalesce((SELECT max(id) FROM messages) - (SELECT min(id) FROM messages) + 1, 0)")?),
        ("audit", count("SELECT coalesce(sum(seq - pruned_seq), 0) FROM audit_heads")?),
        ("test_numbers", count("SELECT count(*) FROM (SELECT 1 FROM test_numbers LIMIT 1000)")?),
        ("list_entries", count("SELECT count(*) FROM (SELECT 1 FROM list_entries LIMIT 1000)")?),
    ];
    let due = format!("SELECT count(*) FROM (SELECT 1 FROM messages WHERE due_at IS NOT NULL LIMIT {MORE_MAX})");
    let wraps = key_rows(&connection)?.into_iter().filter(|row| row.name == wrapped::INDEX);
    let size = |path: &Path| fs::metadata(path).map_or(0, |meta| meta.len());
    Ok(Status {
        engine: format!("SQLite {}", library_version()),
        place: sqlite.path.display().to_string(),
        schema: (version(&connection, &sqlite.path)?, schema::newest()),
        rows,
        bytes: Some((size(&sqlite.path), size(&with_suffix(&sqlite.path, "-wal")))),
        due: u32::try_from(count(&due)?).unwrap_or(MORE_MAX),
        wrapped_by: wraps.map(|row| (row.key_id.to_string(), row.added_at)).collect(),
    })
}

/// Tables that `ANALYZE` makes.
const STATISTICS: [&str; 1] = ["table sqlite_stat*"];

/// Everything that the schema consists of. Columns are part of their tables, and named apart so that a finding says
/// which.
fn definitions(connection: &Connection) -> Result<Definitions> {
    let sql = "SELECT type || ' ' || name || CASE type WHEN 'trigger' THEN ' on ' || tbl_name ELSE '' END, coalesce(sql, '')
        FROM sqlite_schema
        UNION ALL SELECT 'column ' || m.name || '.' || c.name, c.type || ' ' || c.\"notnull\" || ' ' || coalesce(c.dflt_value, '') || ' ' || c.hidden
        FROM sqlite_schema AS m JOIN pragma_table_xinfo(m.name) AS c WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    let mut statement = connection.prepare(sql)?;
    let found = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

/// Checks the file's structure, the schema, and the references between the tables.
pub fn check(connection: &Connection) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    let mut statement = connection.prepare("PRAGMA integrity_check(20)")?;
    for line in statement.query_map([], |row| row.get::<_, String>(0))? {
        match line {
            Ok(line) if line == "ok" => {}
            Ok(line) => findings.push(line),
            Err(error) => findings.push(error.to_string()),
        }
    }
    // The same version of SQLite makes the same schema of the migrations, to the letter.
    let reference = Connection::open_in_memory()?;
    for (_, sql) in schema::migrations_after(0, Dialect::Sqlite) {
        reference.execute_batch(sql)?;
    }
    findings.extend(differences(&definitions(connection)?, &definitions(&reference)?, &STATISTICS));
    let orphans = "SELECT count(*) FROM (SELECT 1 FROM pragma_foreign_key_check LIMIT 20)";
    let orphans: i64 = rows::value(connection, orphans, [])?.unwrap_or(0);
    if orphans > 0 {
        findings.push(format!("{orphans} messages belong to an otp that is not there"));
    }
    Ok(findings)
}

/// Writes a copy in which no code is live.
pub fn backup(sqlite: &Sqlite, to: &Path, actor: &Actor) -> Result<u64> {
    if to.exists() {
        return Err(Error::new(Code::FILE_FAILED, format!("{} is there already", to.display()))
            .hint("Name a file that does not exist; a backup never overwrites one."));
    }
    let now = sqlite.clock.now();
    let record = |outcome, details| {
        let event = Event::new(now, actor.clone(), "db.backup", outcome).details(details);
        sqlite.maintain(|_, _| Ok(((), Some(event))))
    };
    // The first audit row comes before the first byte is copied, so that no copy is made without one; the second says
    // how it ended.
    record("begun", Details::new())?;
    let mut partial = to.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    let made = copy_to(&sqlite.connection(), partial).and_then(|()| {
        let mut copy = Connection::open(plain(partial)).map_err(|error| errors::of_file(partial, error))?;
        // As one plain file: sooner or later somebody would copy it without its log.
        copy.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
        let revoked = revoke_all(&mut copy, sqlite, actor)?;
        copy.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        copy.close().map_err(|(_, error)| error)?;
        // A link and not a rename: it fails if the file exists by now.
        fs::hard_link(partial, to).map_err(|error| errors::of_path(to, &error))?;
        Ok(revoked)
    });
    let _ = fs::remove_file(partial);
    for path in turn::lock_paths(partial) {
        let _ = fs::remove_file(path);
    }
    let recorded = match &made {
        Ok(revoked) => record("done", Details::new().number("revoked", i64::try_from(*revoked).unwrap_or(i64::MAX))),
        Err(error) => record("failed", Details::new().word("why", error.code().name)),
    };
    if made.is_ok() && recorded.is_err() {
        // A copy that the log does not record is none.
        let _ = fs::remove_file(to);
    }
    made.and_then(|revoked| recorded.map(|()| revoked))
}

/// Revokes the live codes of a copy and takes its messages off the worker's list. Returns how many codes were live.
fn revoke_all(copy: &mut Connection, sqlite: &Sqlite, actor: &Actor) -> Result<u64> {
    let now = sqlite.clock.now();
    let tx = copy.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Rows that were changed are not found again; this many are in memory at a time.
    let batch = |select: &str, which: &str| format!("{select} WHERE {which} LIMIT 1000");
    let live = batch(&rows::statements::<Otp>().select, "state = 'active'");
    let due = batch(&rows::statements::<Message>().select, "due_at IS NOT NULL");
    let mut revoked = 0;
    loop {
        let otps: Vec<Otp> = rows::all(&tx, &live, [])?;
        if otps.is_empty() {
            break;
        }
        for mut otp in otps {
            revoked += u64::from(export::revoke(&mut otp, now));
            rows::update(&tx, &otp)?;
        }
    }
    loop {
        let messages: Vec<Message> = rows::all(&tx, &due, [])?;
        if messages.is_empty() {
            break;
        }
        for mut message in messages {
            export::retire(&mut message, now);
            rows::update(&tx, &message)?;
        }
    }
    let details = Details::new().number("revoked", i64::try_from(revoked).unwrap_or(i64::MAX));
    sqlite.append_audit(&tx, &Event::new(now, actor.clone(), "db.copy", "done").details(details))?;
    tx.commit()?;
    Ok(revoked)
}

fn copy_to(connection: &Connection, to: &Path) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(to).map_err(|error| errors::of_path(to, &error))?;
    let mut copy = Connection::open(plain(to)).map_err(|error| errors::of_file(to, error))?;
    let backup = rusqlite::backup::Backup::new(connection, &mut copy)?;
    Ok(backup.run_to_completion(2000, std::time::Duration::ZERO, None)?)
}
