//! Database of a wanted size, filled by plain SQL with rows as the engine writes them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use rusqlite::{Connection, params};
use smsotp::clock::{Clock, ManualClock, SystemClock, Timestamp};
use smsotp::engine::{Destination, SendOtp};
use smsotp::keys::{IndexKey, Keyring, SecretKey};
use smsotp::otp::User;
use smsotp::phone::{Kind, Number, Phone};
use smsotp::provider::{Delivery, Outgoing, Provider, RemoteMessage};
use smsotp::purpose::Purpose;
use smsotp::store::sqlite::{Sqlite, SqliteOptions};
use smsotp::store::{Operate, Subject};
use smsotp::template::Endings;

/// Every benchmark's key.
pub fn secret() -> SecretKey {
    SecretKey::new([7; 32].into())
}

pub fn keyring() -> Arc<Keyring> {
    Arc::new(Keyring::new(vec![secret()]).unwrap())
}

/// A time in the past, and for each day of the database so many milliseconds.
pub const DAY: i64 = 86_400_000;
/// The rows are spread over so many days, the newest a day old.
pub const DAYS: i64 = 10;
/// So many phones, spread evenly over the database, have their subjects too: those that the benchmarks ask for.
pub const KNOWN: u64 = 30_000;

/// Database of a size.
pub struct Database {
    pub path: PathBuf,
    pub rows: u64,
}

impl Database {
    /// Finds or makes database with `rows` rows in each of the tables that grow.
    pub fn of(rows: u64, directory: &Path) -> Database {
        let path = directory.join(format!("database-{rows}.db"));
        if !path.exists() {
            let partial = directory.join(format!("database-{rows}.partial"));
            for suffix in ["", "-wal", "-shm", "-turn", "-next"] {
                let _ = std::fs::remove_file(format!("{}{suffix}", partial.display()));
            }
            eprintln!("making database of {rows} rows...");
            fill(&partial, rows);
            for suffix in ["-wal", "-shm", "-turn", "-next"] {
                let _ = std::fs::remove_file(format!("{}{suffix}", partial.display()));
            }
            std::fs::rename(&partial, &path).unwrap();
        }
        Database { path, rows }
    }

    /// A copy of its own, for a benchmark that writes much.
    pub fn copy(&self, name: &str) -> Database {
        let path = self.path.with_file_name(format!("{name}.db"));
        remove(&path);
        std::fs::copy(&self.path, &path).unwrap();
        let copy = std::fs::File::open(&path).unwrap();
        copy.sync_all().unwrap();
        // The machine's memory is for the copy: a benchmark that reads the disk measures the disk.
        let original = std::fs::File::open(&self.path).unwrap();
        let _ = posix_fadvise(&original, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        std::io::copy(&mut &copy, &mut std::io::sink()).unwrap();
        Database { path, rows: self.rows }
    }

    pub fn store(&self, clock: Arc<dyn Clock>) -> Arc<Sqlite> {
        Arc::new(Sqlite::open(&self.path, &keyring(), clock, SqliteOptions::default()).unwrap())
    }

    /// A connection with the engine's settings.
    pub fn raw(&self) -> Connection {
        raw(&self.path)
    }

    /// The nth of the phones that have subjects.
    pub fn known(&self, nth: u64) -> u64 {
        let known = KNOWN.min(self.rows);
        nth % known * (self.rows / known)
    }
}

/// Removes database with all their companions.
pub fn remove(path: &Path) {
    for suffix in ["", "-wal", "-shm", "-turn", "-next", "-current"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
}

/// A connection with the engine's settings.
pub fn raw(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.set_prepared_statement_cache_capacity(64);
    connection
        .execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = FAST; PRAGMA wal_autocheckpoint = 2500;")
        .unwrap();
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
    connection
}

/// The nth phone. The numbers are valid in their plan; neighbours in time are not neighbours in the index.
pub fn phone(nth: u64) -> Phone {
    const SPAN: u64 = 8_000_000;
    let mixed = nth.wrapping_mul(7_368_787) % (2 * SPAN);
    // Phones that are in no database have areas of their own.
    let area = 212 + nth / (2 * SPAN) * 2 + mixed / SPAN;
    Phone::from_e164(&format!("+1{area}{}", 2_000_000 + mixed % SPAN)).unwrap()
}

/// The number as the parser would tell it, without the parser's time.
pub fn number(nth: u64) -> Number {
    Number { phone: phone(nth), country: Some("US".into()), kind: Kind::FixedLineOrMobile }
}

pub fn user(nth: u64) -> User {
    User::parse(&format!("user{nth}")).unwrap()
}

/// The subjects of an operation for the nth phone: phone, pair, user.
pub fn subjects(nth: u64) -> [Subject; 3] {
    [Subject::Phone(phone(nth)), Subject::Pair(user(nth), phone(nth)), Subject::User(user(nth))]
}

/// A send to the nth phone, as an application asks for it.
pub fn ask(nth: u64) -> SendOtp {
    SendOtp {
        to: Destination::Known(number(nth)),
        purpose: Purpose::parse("login").unwrap(),
        user: user(nth),
        new_code: false,
        challenge_passed: false,
        override_limits: None,
        idempotency_key: None,
        endings: Endings::default(),
        locale: None,
        segments_max: None,
        timeout: std::time::Duration::from_secs(45),
    }
}

/// A subject's id as the engine makes it.
pub fn subject_id(made: i64, random: &mut Mixer) -> [u8; 16] {
    let mut id = random.bytes::<16>();
    id[..6].copy_from_slice(&made.to_be_bytes()[2..]);
    id
}

pub fn hex(bytes: [u8; 16]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).concat()
}

/// Random bytes that are the same each time (splitmix64).
pub struct Mixer(pub u64);

impl Mixer {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        for chunk in bytes.chunks_mut(8) {
            let next = self.next().to_le_bytes();
            chunk.copy_from_slice(&next[..chunk.len()]);
        }
        bytes
    }
}

/// When the database end: a day before today began, so that database made yesterday do as well.
pub fn end() -> i64 {
    let now = SystemClock.now().millis();
    now - now.rem_euclid(DAY) - 2 * DAY
}

fn fill(path: &Path, rows: u64) {
    let clock = Arc::new(ManualClock::at(Timestamp(end() - DAYS * DAY)));
    let store = Sqlite::open(path, &keyring(), clock, SqliteOptions::default()).unwrap();
    let index = store.keys().index.clone();
    // Leaving the log's mode wants the file for oneself.
    drop(store);
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000;")
        .unwrap();
    // Indexes are sorted at the end instead of grown in random places.
    let indexes: Vec<(String, String)> = connection
        .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    for (name, _) in &indexes {
        connection.execute_batch(&format!("DROP INDEX {name}")).unwrap();
    }
    connection.execute_batch("BEGIN").unwrap();
    fill_otps(&connection, rows);
    fill_subjects(&connection, rows, &index);
    fill_audit(&connection, rows);
    connection.execute_batch("COMMIT").unwrap();
    for (_, sql) in &indexes {
        connection.execute_batch(sql).unwrap();
    }
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    connection.close().unwrap();
    std::fs::File::open(path).unwrap().sync_all().unwrap();
}

fn at(nth: u64, rows: u64) -> i64 {
    let share = nth as f64 / rows as f64;
    end() - DAYS * DAY + (share * (DAYS * DAY) as f64) as i64
}

fn fill_otps(connection: &Connection, rows: u64) {
    let key_id = secret().id().to_string();
    let mut otps = connection
        .prepare(
            r#"INSERT INTO otps (id, "user", phone_number, purpose, nonce, key_id, digits, created_at, expires_at, state, ended_at, wrong_guesses, test)
               VALUES (?1, ?2, ?3, 'login', ?4, ?5, 6, ?6, ?7, 'verified', ?8, 0, 0)"#,
        )
        .unwrap();
    let mut messages = connection
        .prepare(
            "INSERT INTO messages (id, otp_id, phone_number, provider, state, provider_id, segments, attempts, reserved_at, attempt_at, updated_at, endings)
             VALUES (?1, ?1, ?2, 'twilio', 'delivered', ?3, 1, 1, ?4, ?4, ?4, '{}')",
        )
        .unwrap();
    let mut random = Mixer(rows);
    for nth in 0..rows {
        let (id, made) = (nth as i64 + 1, at(nth, rows));
        let phone = phone(nth);
        otps.execute(params![
            id,
            user(nth).as_str(),
            phone.as_str(),
            random.bytes::<16>(),
            key_id,
            made,
            made + 600_000,
            made + 30_000
        ])
        .unwrap();
        let sid = format!("SM{:016x}{:016x}", random.next(), random.next());
        messages.execute(params![id, phone.as_str(), sid, made]).unwrap();
    }
}

/// Rows in the order of their coming; those of the known phones among the others.
fn fill_subjects(connection: &Connection, rows: u64, index: &IndexKey) {
    let known = KNOWN.min(rows);
    let each = rows / known;
    let mut random = Mixer(rows + 1);
    let mut insert = connection
        .prepare("INSERT INTO subjects (tag, id, kind, masked, usage, idle_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
        .unwrap();
    let mut put = |nth: u64, kind: usize, tag: [u8; 32]| {
        let made = at(nth, rows);
        let usage = match kind {
            0 => format!(r#"{{"sends":[[{made}]],"purposes":{{"login":{{"asked":[{made}]}}}},"seen":{made}}}"#),
            1 => format!(r#"{{"seen":{made}}}"#),
            _ => format!(r#"{{"sends":[[{made},"0123456789abcdef"]],"seen":{made}}}"#),
        };
        let word = ["phone", "pair", "user"][kind];
        // Not yet idle: a purge is compared with the codes and messages alone.
        let idle_at = made - made % 3_600_000 + 60 * DAY;
        let id = subject_id(made, &mut random);
        insert.execute(params![tag, id, word, "+1 212 *** 0000", usage, idle_at]).unwrap();
    };
    let mut others = Mixer(rows + 3);
    let mut made = 0;
    for nth in 0..rows {
        if nth % each == 0 && nth / each < known {
            for (kind, subject) in subjects(nth).iter().enumerate() {
                put(nth, kind, index.tag(subject.kind().as_str(), &subject.value()));
                made += 1;
            }
        }
        // As many rows in all as in the other tables.
        if made <= nth {
            put(nth, (others.next() % 3) as usize, others.bytes());
            made += 1;
        }
    }
}

/// The chain of audit rows that no key has sealed: those of the benchmarks' own. The engine's is 0.
pub const CHAIN: u32 = 9;

fn fill_audit(connection: &Connection, rows: u64) {
    let mut insert =
        connection.prepare(&format!("INSERT INTO audit (chain, seq, body, mac) VALUES ({CHAIN}, ?1, ?2, ?3)")).unwrap();
    let last: i64 =
        connection.query_row("SELECT coalesce(max(seq), 0) FROM audit WHERE chain = 9", [], |row| row.get(0)).unwrap();
    let mut random = Mixer(rows + 2);
    for nth in 0..rows {
        let made = at(nth, rows);
        let subject = hex(subject_id(made, &mut random));
        let body = format!(
            r#"{{"action":"send","actor":"os:1000:app","at":{made},"details":{{"how":"new","message":{nth},"otp":{nth},"purpose":"login"}},"outcome":"reserved","subjects":["{subject}"]}}"#
        );
        insert.execute(params![last + 1 + nth as i64, body.as_bytes(), random.bytes::<32>()]).unwrap();
    }
}

/// A provider that takes everything at once and keeps the last text: the engine's own cost, without a network.
#[derive(Default)]
pub struct Taker(pub std::sync::Mutex<String>);

#[async_trait::async_trait]
impl Provider for Taker {
    fn name(&self) -> &'static str {
        "twilio"
    }

    async fn send(&self, message: &Outgoing) -> Delivery {
        use secrecy::ExposeSecret;
        let mut last = self.0.lock().unwrap();
        last.clear();
        last.push_str(message.body.expose_secret());
        Delivery::Accepted {
            provider_id: format!("SM{:032x}", message.message_id),
            state: smsotp::message::State::Accepted,
        }
    }

    async fn fetch(&self, _: &str) -> smsotp::error::Result<Option<RemoteMessage>> {
        Ok(None)
    }

    async fn find(&self, _: &Phone, _: Timestamp) -> smsotp::error::Result<Option<Vec<RemoteMessage>>> {
        Ok(None)
    }
}
