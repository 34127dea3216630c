//! The floor of the operations: the same statements on the same tables, reads and writes, with values that are ready made.
//! No rule, no key, no JSON, no queue.

use rusqlite::{Connection, Transaction, TransactionBehavior};
use smsotp::keys::IndexKey;
use smsotp::store::Subject;

use crate::database::{CHAIN, DAY, Mixer, hex, phone, secret, subject_id, subjects, user};

const OTP: &str = r#"SELECT id, "user", phone_number, purpose, nonce, key_id, digits, created_at, expires_at, state, ended_at, wrong_guesses, test FROM otps"#;
const RECENT: &str = r#"SELECT id, "user", phone_number, purpose, nonce, key_id, digits, created_at, expires_at, state, ended_at, wrong_guesses, test FROM otps WHERE phone_number = ?1 AND purpose = ?2 ORDER BY id DESC LIMIT ?3"#;
const MESSAGE: &str = "SELECT id, otp_id, phone_number, provider, state, provider_id, error_code, error, segments, attempts, \
     reserved_at, expires_at, attempt_at, due_at, missed_at, updated_at, endings, locale, country, price, settled, counted, pooled, \"open\", \
     text FROM messages";

/// Where the phones of the benchmarks are.
pub const COUNTRY: &str = "US";

/// Ready-made values for one phone.
pub struct Values {
    phone: String,
    user: String,
    /// Of the phone, the user with it, everything and the user; then what the guard alone counts: the country and the block of numbers.
    tags: [[u8; 32]; 6],
    ids: [[u8; 16]; 6],
    usages: [String; 6],
    /// The keys of entries of lists.
    entries: [String; 16],
    body: String,
    nonce: [u8; 16],
    mac: [u8; 32],
    key_id: String,
    sid: String,
    now: i64,
}

impl Values {
    /// `wide`: what is remembered of everything and of the country.
    pub fn of(index: &IndexKey, nth: u64, now: i64, wide: &[String; 2]) -> Values {
        let [everything, country] = wide;
        let [phone_subject, pair, user_subject] = subjects(nth);
        let tag = |subject: &Subject| index.tag(subject.kind().as_str(), &subject.value());
        // Far apart, or two processes would draw the same ids.
        let mut random = Mixer((nth << 34) ^ now as u64);
        Values {
            phone: phone(nth).as_str().to_owned(),
            user: user(nth).as_str().to_owned(),
            tags: [
                tag(&phone_subject),
                tag(&pair),
                tag(&Subject::Everything),
                tag(&user_subject),
                tag(&Subject::Country(COUNTRY.to_owned())),
                tag(&Subject::block_of(&phone(nth))),
            ],
            ids: std::array::from_fn(|_| subject_id(now, &mut random)),
            usages: [
                format!(r#"{{"sends":[[{now}]],"purposes":{{"login":{{"asked":[{now}]}}}},"seen":{now}}}"#),
                format!(r#"{{"seen":{now}}}"#),
                // As long as it was, and not the same: a value that does not change is not written.
                seen_at(everything, now),
                format!(r#"{{"sends":[[{now},"0123456789abcdef"]],"seen":{now}}}"#),
                seen_at(country, now),
                format!(r#"{{"block":{{"open":1.0,"proven":0.123456789,"at":{now}}},"seen":{now}}}"#),
            ],
            entries: std::array::from_fn(|_| format!("prefix:{:016x}", random.next())),
            body: format!(
                r#"{{"action":"send","actor":"system","at":{now},"details":{{"how":"new","message":{nth},"otp":{nth},"purpose":"login"}},"outcome":"reserved","subjects":["{}"]}}"#,
                hex(subject_id(now, &mut random))
            ),
            nonce: random.bytes(),
            mac: random.bytes(),
            key_id: secret().id().to_string(),
            sid: format!("SM{:016x}{:016x}", random.next(), random.next()),
            now,
        }
    }
}

/// The same usage a moment later: as long, and not the same.
fn seen_at(usage: &str, now: i64) -> String {
    let seen = usage.rfind(r#""seen":"#).map_or(usage.len(), |at| at + 7);
    format!("{}{now}}}", &usage[..seen])
}

/// Reads every value of every row of one statement; the first value of the first row, if it is a number.
fn read(tx: &Transaction<'_>, sql: &str, params: &[&dyn rusqlite::ToSql]) -> Option<i64> {
    let mut statement = tx.prepare_cached(sql).unwrap();
    let columns = statement.column_count();
    let mut rows = statement.query(params).unwrap();
    let mut first = None;
    while let Some(row) = rows.next().unwrap() {
        for column in 0..columns {
            let value = row.get_ref(column).unwrap();
            std::hint::black_box(&value);
            if column == 0 && first.is_none() {
                first = value.as_i64().ok();
            }
        }
    }
    first
}

fn write(tx: &Transaction<'_>, sql: &str, params: &[&dyn rusqlite::ToSql]) {
    tx.prepare_cached(sql).unwrap().execute(params).unwrap();
}

fn subject(tx: &Transaction<'_>, values: &Values, place: usize) {
    read(tx, "SELECT id, usage FROM subjects WHERE tag = ?1", &[&values.tags[place]]);
}

fn put_usage(tx: &Transaction<'_>, values: &Values, place: usize) {
    let idle_at = values.now - values.now % 3_600_000 + 7 * DAY;
    let kind = ["phone", "pair", "everything", "user", "country", "block"][place];
    write(
        tx,
        "INSERT INTO subjects (tag, id, kind, masked, usage, idle_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (tag) DO UPDATE SET usage = excluded.usage, idle_at = excluded.idle_at",
        &[&values.tags[place], &values.ids[place], &kind, &"+1 212 *** 0000", &values.usages[place], &idle_at],
    );
}

fn otp_of(tx: &Transaction<'_>, values: &Values) -> Option<i64> {
    let live = format!(r#"{OTP} WHERE "user" = ?1 AND phone_number = ?2 AND purpose = ?3 AND state = 'active'"#);
    let id = read(tx, &live, &[&values.user, &values.phone, &"login"]);
    read(tx, RECENT, &[&values.phone, &"login", &64]);
    id
}

fn messages_of(tx: &Transaction<'_>, otp: i64) {
    read(tx, &format!("{MESSAGE} WHERE otp_id = ?1 ORDER BY id DESC LIMIT 50"), &[&otp]);
}

const ENTRIES: &str = r#"SELECT "key", list, kind, shown, reason, since, until, added_by, hits, hit_at FROM list_entries WHERE "key" IN (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"#;
const EVENTS: &str = "SELECT id, scope, at, kind, reserved_at, amount, counted, pooled FROM money_events WHERE scope IN (?1, ?2) ORDER BY at, id LIMIT ?3";

/// A connection, and what its last transaction left known: it is read again where somebody else wrote.
pub struct Raw {
    connection: Connection,
    known: Known,
}

#[derive(Clone, Default)]
struct Known {
    version: i64,
    otp: i64,
    message: i64,
    seq: i64,
    events: Vec<i64>,
}

impl Raw {
    pub fn of(connection: Connection) -> Raw {
        let head = "INSERT OR IGNORE INTO audit_heads (chain, seq, mac, pruned_seq, pruned_mac, chains, seal)
                    VALUES (?1, 0, zeroblob(32), 0, zeroblob(32), 1, zeroblob(32))";
        connection.execute(head, [CHAIN]).unwrap();
        Raw { connection, known: Known::default() }
    }

    /// What a subject's limits remember.
    pub fn usage(&self, tag: [u8; 32]) -> String {
        self.connection.query_row("SELECT usage FROM subjects WHERE tag = ?1", [tag], |row| row.get(0)).unwrap()
    }

    fn begin(&mut self) -> (Transaction<'_>, &mut Known) {
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        let version = read(&tx, "PRAGMA data_version", &[]).unwrap();
        if version != self.known.version {
            let last =
                |table: &str| read(&tx, "SELECT seq FROM sqlite_sequence WHERE name = ?1", &[&table]).unwrap_or(0);
            read(&tx, "SELECT sealed_at IS NOT NULL FROM identity WHERE id = 1", &[]);
            read(&tx, "SELECT EXISTS (SELECT 1 FROM test_numbers)", &[]);
            let head = "SELECT seq, mac FROM audit WHERE chain = ?1 ORDER BY seq DESC LIMIT 1";
            let seq = read(&tx, head, &[&CHAIN]).unwrap_or(0);
            let events = std::mem::take(&mut self.known.events);
            self.known = Known { version, otp: last("otps"), message: last("messages"), seq, events };
        }
        (tx, &mut self.known)
    }

    /// The two transactions of a send: reserved, then settled. `guard`: with the statements that the guard adds.
    pub fn send(&mut self, values: &Values, guard: bool) {
        let now = values.now;
        let (tx, known) = self.begin();
        for place in 0..if guard { 6 } else { 4 } {
            subject(&tx, values, place);
        }
        read(&tx, "SELECT phone_number FROM test_numbers WHERE phone_number = ?1", &[&values.phone]);
        let keys = values.entries.each_ref().map(|key| key as &dyn rusqlite::ToSql);
        read(&tx, ENTRIES, &keys);
        if guard {
            read(&tx, EVENTS, &[&COUNTRY, &"", &1000]);
        }
        for table in ["otps", "messages", "tokens"] {
            read(&tx, "SELECT seq + 1 FROM sqlite_sequence WHERE name = ?1", &[&table]);
        }
        if let Some(id) = otp_of(&tx, values) {
            messages_of(&tx, id);
        }
        known.otp += 1;
        known.message += 1;
        let (otp, message) = (known.otp, known.message);
        write(
            &tx,
            r#"INSERT INTO otps (id, "user", phone_number, purpose, nonce, key_id, digits, created_at, expires_at, state, ended_at, wrong_guesses, test, known)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)"#,
            &[
                &otp,
                &values.user,
                &values.phone,
                &"login",
                &values.nonce,
                &values.key_id,
                &6,
                &now,
                &(now + 600_000),
                &"active",
                &None::<i64>,
                &0,
                &false,
                &false,
            ],
        );
        write(
        &tx,
        "INSERT INTO messages (id, otp_id, phone_number, provider, state, provider_id, error_code, error, segments, attempts,
                                   reserved_at, expires_at, attempt_at, due_at, missed_at, updated_at, endings)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
        &[
            &message,
            &otp,
            &values.phone,
            &"twilio",
            &"sending",
            &None::<i64>,
            &None::<i64>,
            &None::<i64>,
            &1,
            &1,
            &now,
            &(now + 600_000),
            &now,
            &(now + 60_000),
            &None::<i64>,
            &now,
            &"{}",
        ],
    );
        for place in [0, 2, 3] {
            put_usage(&tx, values, place);
        }
        if guard {
            put_usage(&tx, values, 4);
            put_usage(&tx, values, 5);
            for event in known.events.drain(..) {
                write(&tx, "DELETE FROM money_events WHERE id = ?1", &[&event]);
            }
        }
        sum(&tx, values, "new");
        audit(&tx, known, values);
        tx.commit().unwrap();

        let (tx, known) = self.begin();
        subject(&tx, values, 0);
        read(&tx, &format!("{MESSAGE} WHERE id = ?1"), &[&message]);
        read(&tx, &format!("{OTP} WHERE id = ?1"), &[&otp]);
        write(
        &tx,
        "UPDATE messages SET provider = ?2, state = ?3, provider_id = ?4, error_code = ?5, error = ?6, segments = ?7,
                    attempts = ?8, attempt_at = ?9, due_at = ?10, missed_at = ?11, updated_at = ?12 WHERE id = ?1",
        &[
            &message,
            &"twilio",
            &"accepted",
            &values.sid,
            &None::<i64>,
            &None::<i64>,
            &1,
            &1,
            &now,
            &None::<i64>,
            &None::<i64>,
            &now,
        ],
    );
        sum(&tx, values, "accepted");
        audit(&tx, known, values);
        tx.commit().unwrap();
    }

    /// The transaction of a verify. `guard`: with what the guard hears of it, which the next send takes in.
    pub fn verify(&mut self, values: &Values, guard: bool) {
        let (tx, known) = self.begin();
        subject(&tx, values, 0);
        subject(&tx, values, 1);
        if let Some(otp) = otp_of(&tx, values) {
            write(
                &tx,
                "UPDATE otps SET state = ?2, ended_at = ?3, wrong_guesses = ?4 WHERE id = ?1",
                &[&otp, &"verified", &values.now, &0],
            );
        }
        write(&tx, "UPDATE padding SET wrong_guesses = wrong_guesses + 1 WHERE id = ?1", &[&-1]);
        put_usage(&tx, values, 0);
        put_usage(&tx, values, 1);
        if guard {
            events(&tx, known, values);
            let proven = r#"UPDATE messages SET "open" = 0, updated_at = ?2 WHERE id = ?1"#;
            write(&tx, proven, &[&known.message, &values.now]);
            put_usage(&tx, values, 5);
        }
        sum(&tx, values, "verified_1");
        audit(&tx, known, values);
        tx.commit().unwrap();
    }
}

/// What reports count.
fn sum(tx: &Transaction<'_>, values: &Values, column: &str) {
    let hour = values.now - values.now.rem_euclid(3_600_000);
    write(
        tx,
        &format!(
            "INSERT INTO sums AS s (hour, purpose, country, provider, chain, {column}, cost) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (hour, purpose, country, provider, chain) DO UPDATE SET {column} = s.{column} + excluded.{column}, cost = s.cost + excluded.cost"
        ),
        &[&hour, &"login", &COUNTRY, &"twilio", &CHAIN, &1, &8300],
    );
}

/// What a proof leaves for the next send to take in.
fn events(tx: &Transaction<'_>, known: &mut Known, values: &Values) {
    for scope in [COUNTRY, ""] {
        let sql = "INSERT INTO money_events (scope, at, kind, reserved_at, amount, counted, pooled) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        write(tx, sql, &[&scope, &values.now, &"proven", &values.now, &8300, &"stranger", &0]);
        known.events.push(tx.last_insert_rowid());
    }
}

fn audit(tx: &Transaction<'_>, known: &mut Known, values: &Values) {
    known.seq += 1;
    write(
        tx,
        "INSERT INTO audit (chain, seq, body, mac) VALUES (?1, ?2, ?3, ?4)",
        &[&CHAIN, &known.seq, &values.body.as_bytes(), &values.mac],
    );
    write(
        tx,
        "UPDATE audit_heads SET seq = ?2, mac = ?3, pruned_seq = ?4, pruned_mac = ?5, seal = ?6 WHERE chain = ?1",
        &[&CHAIN, &known.seq, &values.mac, &0, &[0u8; 32], &values.mac],
    );
}
