//! Whatever the operations and the readers ask of the database, an index answers it, at a thousand rows and at ten million alike; what
//! one connection writes, every other knows at once; and what SQL says of expiry is what the rules say.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::trace::{TraceEvent, TraceEventCodes};

use super::{Sqlite, SqliteOptions};
use crate::alarm::{Alarm, AlarmKind, Raised};
use crate::audit::{Actor, Event};
use crate::clock::{Clock, ManualClock, SystemClock, Timestamp};
use crate::code::Code;
use crate::engine::{AddTestNumber, Caller, Destination, Dispatch, Engine, Purge, Reset, Revoke, SendOtp, VerifyOtp};
use crate::keys::{Keyring, SecretKey};
use crate::message;
use crate::money::Money;
use crate::otp::{Otp, State, User};
use crate::phone::{self, Phone};
use crate::provider::twilio::{self, Account, Twilio};
use crate::purpose::Purpose;
use crate::sandbox::{Fault, Options, Sandbox};
use crate::store::export::Transfer;
use crate::store::schema;
use crate::store::{
    Change, Decide, Decision, Facts, Filter, Maintain, Needs, Operate, OtpNeed, Read, Subject, SubjectId, TestNumber,
};
use crate::template::Endings;
use crate::token::{Scopes, Token};

const PHONE: &str = "+14155550100";
const TEST: &str = "+1234567890";

/// Walks that are bounded by what they are: one page down the primary key, and tables of at most a thousand or a hundred rows.
const BOUNDED: [&str; 18] = [
    // A page, and what is counted after it: down the ids, as many as are asked for.
    "FROM otps ORDER BY id DESC LIMIT",
    "FROM otps WHERE id < ?1 ORDER BY id DESC LIMIT",
    "FROM (SELECT * FROM otps ORDER BY id DESC LIMIT 20000)",
    "SELECT id FROM otps ORDER BY id DESC LIMIT 1 OFFSET 19999",
    "FROM messages ORDER BY id DESC LIMIT",
    "FROM (SELECT * FROM messages ORDER BY id DESC LIMIT 20000)",
    "SELECT id FROM messages ORDER BY id DESC LIMIT 1 OFFSET 19999",
    "FROM test_numbers",
    "FROM prices",
    "FROM (SELECT 1 FROM list_entries LIMIT 1000)",
    "FROM tokens",
    "FROM database_keys",
    "FROM audit_heads",
    // One row of the sequence for each table that has one.
    "FROM sqlite_sequence",
    "SELECT 1 FROM sqlite_schema LIMIT 1",
    // The living alone, by the index that holds them alone.
    "FROM otps INDEXED BY otps_live WHERE state = 'active'",
    "SELECT key_id FROM otps WHERE state = 'active'",
    // Those whose outcome is open alone, by the index that holds them alone.
    "FROM messages WHERE text IS NOT NULL LIMIT",
];

/// Names of subqueries that are bounded themselves.
const BOUNDED_SUBQUERIES: [&str; 4] = ["SCAN o", "SCAN visited", "SCAN plain", "SCAN sealed"];

struct Scene {
    _dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    sandbox: Sandbox,
    engine: Engine,
    /// Every statement that SQLite ran.
    ran: Arc<Mutex<BTreeSet<String>>>,
    db: std::path::PathBuf,
}

fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("smsotp.db");
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    let shared: Arc<dyn Clock> = Arc::clone(&clock) as Arc<dyn Clock>;
    let ring = Arc::new(Keyring::new(vec![SecretKey::generate().unwrap()]).unwrap());
    let sqlite = Sqlite::open(&db, &ring, Arc::clone(&shared), SqliteOptions::default()).unwrap();
    let ran = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&ran);
    let hook = move |event: TraceEvent<'_>| {
        if let TraceEvent::Stmt(statement, _) = event {
            seen.lock().unwrap().insert(statement.sql().into_owned());
        }
    };
    sqlite.connection().trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(hook)).unwrap();
    let sandbox = Sandbox::start(Options { clock: Arc::clone(&shared), ..Options::default() }).unwrap();
    let value = |name: &str| sandbox.env().into_iter().find(|(key, _)| key == name).unwrap().1;
    let settings = Account {
        account_sid: Some(value("TWILIO_ACCOUNT_SID")),
        auth_token: Some(value("TWILIO_AUTH_TOKEN").into()),
        phone_number: Some(value("TWILIO_PHONE_NUMBER")),
        base_url: Some(value("TWILIO_API_BASE_URL").parse().unwrap()),
        ..Account::default()
    };
    let checked = twilio::Settings::check(&settings).unwrap();
    let provider = Arc::new(Twilio::with(checked, twilio::Timeouts::default(), shared).unwrap());
    let engine = Engine::new(Arc::new(sqlite), ring, Arc::default()).with_provider(provider);
    Scene { _dir: dir, clock, sandbox, engine, ran, db }
}

fn caller() -> Caller {
    Caller { ip: Some("192.0.2.7".parse().unwrap()), ..Caller::new(Actor::System) }
}

fn ask(key: Option<&str>) -> SendOtp {
    SendOtp {
        to: Destination::Known(phone::parse(PHONE, None).unwrap()),
        purpose: Purpose::parse("login").unwrap(),
        user: User::parse("ada").unwrap(),
        new_code: false,
        challenge_passed: false,
        override_limits: None,
        idempotency_key: key.map(str::to_owned),
        endings: Endings::default(),
        locale: None,
        segments_max: None,
        timeout: Duration::from_secs(45),
    }
}

async fn operations(scene: &Scene) {
    let Scene { engine, clock, sandbox, .. } = scene;
    let phone = Phone::from_e164(PHONE).unwrap();
    for fault in [Fault::Latency(Duration::ZERO), Fault::ResetAfterAccepting, Fault::Code(21_610)] {
        sandbox.fault(fault, 1);
        engine.send(&caller(), ask(Some("key"))).await.unwrap();
        engine.send(&caller(), ask(None)).await.unwrap();
        clock.advance(Duration::from_secs(61));
        for early in [false, true] {
            engine.dispatch(&caller(), Dispatch { limit: 100, early }, |_, _| ()).await.unwrap();
        }
    }
    let subject = Subject::Phone(phone.clone());
    let reset =
        Reset { subject, user: User::parse("ada").unwrap(), opt_out: true, clock: false, reason: String::new() };
    engine.reset(&caller(), reset).await.unwrap();
    engine.send(&caller(), SendOtp { new_code: true, ..ask(None) }).await.unwrap();
    for code in ["123456", "654321"] {
        let (purpose, user, code) = (ask(None).purpose, ask(None).user, Code::parse(code).unwrap());
        engine
            .verify(&caller(), VerifyOtp { phone: phone.clone(), purpose, user, code, idempotency_key: None })
            .await
            .unwrap();
    }
    engine.revoke(&caller(), &Revoke::Phone(phone, None, None), "").await.unwrap();
    engine.revoke(&caller(), &Revoke::Id(1), "").await.unwrap();
    let test = Phone::from_e164(TEST).unwrap();
    let until = clock.now() + Duration::from_secs(60);
    let add = AddTestNumber { phone: test.clone(), code: Code::parse("123456").unwrap(), until };
    engine.add_test_number(&caller(), add).await.unwrap();
    engine.remove_test_number(&caller(), &test).await.unwrap();
    engine.key_uses().await.unwrap();
    for _ in 0..2 {
        let decide: Decide = Box::new(|facts| {
            let words = "14 codes in 9 minutes".to_owned();
            let raised = Raised { kind: AlarmKind::Detector, about: "TJ".into(), until: None, words, cost: Money(1) };
            let changes = vec![Change::RaiseAlarm(Alarm::new(&raised, facts.now))];
            Ok(Decision::Write { changes, event: Event::new(facts.now, Actor::System, "test", "raised"), answer: () })
        });
        engine.store().operations.operate(Needs::default(), decide).await.unwrap();
    }
    engine.announce(&caller()).await.unwrap();
    engine.ack_alarm(&caller(), 1, "known").await.unwrap();
    clock.advance(Duration::from_secs(40 * 86_400));
    for dry_run in [true, false] {
        let how = Purge { older_than: None, dry_run, exclusive: false, scrub: false, batch: None };
        engine.purge(&caller(), &how, |_| true).await.unwrap();
    }
}

async fn reads(scene: &Scene) {
    let store = scene.engine.reads();
    let phone = Phone::from_e164(PHONE).unwrap();
    let now = scene.clock.now();
    let base = || Filter { limit: 20, ..Filter::default() };
    let purpose = Purpose::parse("login");
    let user = User::parse("ada").ok();
    let filters = [
        base(),
        Filter { before: Some(5), ..base() },
        Filter { phone: Some(phone.clone()), ..base() },
        Filter { phone: Some(phone.clone()), user: user.clone(), purpose: purpose.clone(), before: Some(5), ..base() },
        Filter { user: user.clone(), ..base() },
        Filter { user, before: Some(5), ..base() },
        Filter { purpose, ..base() },
        Filter { states: vec![State::Active], ..base() },
        Filter { states: vec![State::Active], deliveries: vec![message::State::Sent], ..base() },
        Filter { deliveries: vec![message::State::Undelivered, message::State::Failed], before: Some(5), ..base() },
        Filter { states: vec![State::Expired], ..base() },
        Filter { states: vec![State::Verified], before: Some(5), ..base() },
        Filter { since: Some(now - Duration::from_secs(60)), until: Some(now), ..base() },
    ];
    for filter in filters {
        store.list(&filter, now).await.unwrap();
        store.list_messages(&filter).await.unwrap();
    }
    store.message_counts(&[1, 2]).await.unwrap();
    store.of_phone(&phone, 20).await.unwrap();
    store.messages_of(1).await.unwrap();
    store.provider_ids(&phone).await.unwrap();
    store.test_numbers().await.unwrap();
    store.prices().await.unwrap();
    store.list_entries(None, None, 20).await.unwrap();
    store.lasting(None, 20).await.unwrap();
    store.tokens().await.unwrap();
    store.alarms(now).await.unwrap();
    store.due_alarms(now, 20).await.unwrap();
    store.balance().await.unwrap();
    store.token([0; 32]).await.unwrap();
    store.audit(0, 1, 20).await.unwrap();
    store.audit_back(None, (0, 5), 20).await.unwrap();
    store.masked(&[SubjectId([0; 16])]).await.unwrap();
    store.status().await.unwrap();
}

#[test]
fn every_statement_is_answered_by_an_index() {
    let scene = scene();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        operations(&scene).await;
        reads(&scene).await;
    });

    let database = super::open::connect(&scene.db, SqliteOptions::default()).unwrap();
    let ran = scene.ran.lock().unwrap().clone();
    let mut walks = Vec::new();
    let mut explained = 0;
    for sql in ran.iter().filter(|sql| is_question(sql)) {
        explained += 1;
        let mut statement = database.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        // The plan is the same whatever is bound.
        let lines: Vec<String> = statement.raw_query().mapped(|row| row.get(3)).map(Result::unwrap).collect();
        let walked = lines.iter().filter(|line| {
            line.starts_with("SCAN ")
                && !line.contains("CONSTANT ROW")
                && !line.contains("subquery")
                && !BOUNDED_SUBQUERIES.contains(&line.as_str())
        });
        let bounded = BOUNDED.iter().any(|bounded| sql.contains(bounded));
        walks.extend(walked.filter(|_| !bounded).map(|line| format!("{line}: {sql}")));
    }
    assert!(explained > 40, "only {explained} statements were seen");
    assert!(walks.is_empty(), "{}", walks.join("\n"));
}

#[test]
fn a_prepared_statement_stays_prepared_whatever_is_bound() {
    let scene = scene();
    let database = super::open::connect(&scene.db, SqliteOptions::default()).unwrap();
    let sql = "SELECT id FROM messages WHERE otp_id = ?1 AND due_at = ?2 ORDER BY id DESC LIMIT ?3";
    let mut statement = database.prepare(sql).unwrap();
    for bound in 1..20 {
        let found = statement.query_map([bound, bound, bound], |_| Ok(())).unwrap().count();
        assert_eq!(found, 0);
    }
    assert_eq!(statement.get_status(rusqlite::StatementStatus::RePrepare), 0);
}

#[test]
fn a_column_that_does_not_exist_is_an_error_in_double_quotes_too() {
    let scene = scene();
    let connection = super::open::connect(&scene.db, SqliteOptions::default()).unwrap();
    for sql in [r#"SELECT "usr" FROM otps"#, r#"CREATE INDEX wrong ON otps (id) WHERE state = "active""#] {
        let error = connection.prepare(sql).err().unwrap_or_else(|| panic!("{sql} was taken"));
        assert!(error.to_string().contains("no such column"), "{sql}: {error}");
    }
}

fn is_question(sql: &str) -> bool {
    ["SELECT", "INSERT", "UPDATE", "DELETE"].iter().any(|word| sql.trim_start().starts_with(word))
}

fn otp(state: State) -> Otp {
    Otp {
        id: 1,
        user: User::parse("ada").unwrap(),
        phone: Phone::from_e164(PHONE).unwrap(),
        purpose: Purpose::parse("login").unwrap(),
        nonce: [7; 16],
        key_id: SecretKey::generate().unwrap().id(),
        digits: 6,
        created_at: Timestamp(1_000),
        expires_at: Timestamp(2_000),
        state,
        ended_at: (state != State::Active).then_some(Timestamp(1_500)),
        wrong_guesses: 2,
        test: true,
        known: true,
    }
}

fn file() -> (tempfile::TempDir, Keyring) {
    (tempfile::tempdir().unwrap(), Keyring::new(vec![SecretKey::generate().unwrap()]).unwrap())
}

fn open(dir: &tempfile::TempDir, ring: &Keyring) -> Sqlite {
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    Sqlite::open(&dir.path().join("smsotp.db"), ring, clock, SqliteOptions::default()).unwrap()
}

#[test]
fn what_sql_says_of_expiry_is_what_the_rules_say() {
    let (dir, ring) = file();
    let sqlite = open(&dir, &ring);
    let connection = sqlite.connection();
    for &state in State::ALL {
        connection.execute("DELETE FROM otps", []).unwrap();
        let otp = otp(state);
        super::rows::insert(&connection, &otp).unwrap();
        let over_at: Option<Timestamp> = super::rows::value(&connection, "SELECT over_at FROM otps", []).unwrap();
        assert_eq!(over_at, Some(otp.over_at()), "{state}");
        for now in [1_999, 2_000, 2_001].map(Timestamp) {
            let says = |condition: &str| {
                let sql = format!("SELECT {condition} FROM otps");
                super::rows::value::<bool>(&connection, &sql, [now.millis()]).unwrap().unwrap()
            };
            assert_eq!(says(&schema::is_live("?1")), otp.is_live(now), "{state} at {now:?}");
            for &shown in State::ALL {
                let shows = says(&schema::shown_state_in(&[shown], "?1"));
                assert_eq!(shows, otp.shown_state(now) == shown, "{state} at {now:?} as {shown}");
            }
        }
    }
}

#[test]
fn a_record_comes_back_as_it_was_written() {
    let (dir, ring) = file();
    let sqlite = open(&dir, &ring);
    let connection = sqlite.connection();
    let before = otp(State::Locked);
    super::rows::insert(&connection, &before).unwrap();
    assert_eq!(super::rows::find::<Otp>(&connection, [1]).unwrap(), Some(before.clone()));

    let changed = Otp { state: State::Revoked, ended_at: Some(Timestamp(1_700)), wrong_guesses: 3, ..before.clone() };
    // Only what may change is written.
    let forged = Otp { nonce: [9; 16], expires_at: Timestamp(9_000), ..changed.clone() };
    super::rows::update(&connection, &forged).unwrap();
    assert_eq!(super::rows::find::<Otp>(&connection, [1]).unwrap(), Some(changed));
}

#[test]
fn a_column_that_is_missing_foreign_or_of_another_type_is_found() {
    let (dir, ring) = file();
    let sqlite = open(&dir, &ring);
    let findings = || super::open::check(&sqlite.connection()).unwrap();
    assert_eq!(findings(), Vec::<String>::new());
    let connection = rusqlite::Connection::open(dir.path().join("smsotp.db")).unwrap();
    connection
        .execute_batch(
            "ALTER TABLE messages DROP COLUMN missed_at; ALTER TABLE otps ADD COLUMN code TEXT;
             ALTER TABLE tokens DROP COLUMN service; ALTER TABLE tokens ADD COLUMN service TEXT;
             DROP TABLE test_numbers",
        )
        .unwrap();

    assert_eq!(
        findings(),
        [
            "the column messages.missed_at is missing",
            "the column test_numbers.added_at is missing",
            "the column test_numbers.added_by is missing",
            "the column test_numbers.code_tag is missing",
            "the column test_numbers.phone_number is missing",
            "the column test_numbers.until is missing",
            "the column tokens.service is not as smsotp made it",
            "the table messages is not as smsotp made it",
            "the table otps is not as smsotp made it",
            "the table test_numbers is missing",
            "the table tokens is not as smsotp made it",
            "the column otps.code was not made by smsotp",
        ]
    );
}

#[test]
fn tables_of_before_the_first_release_are_refused_in_words_and_left_alone() {
    let (dir, ring) = file();
    drop(open(&dir, &ring));
    let path = dir.path().join("smsotp.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("ALTER TABLE identity RENAME TO books").unwrap();
    drop(connection);

    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    let error = Sqlite::open(&path, &ring, clock, SqliteOptions::default()).err().unwrap();
    assert!(error.message().contains("before its first release"), "{error:?}");
    assert!(error.message().contains("smsotp.db") && error.hint_text().is_some(), "{error:?}");
}

fn token(facts: &Facts) -> Token {
    let id = facts.next_token_id;
    Token {
        id,
        name: format!("nr-{id}"),
        tag: [u8::try_from(id).unwrap(); 32],
        scopes: Scopes::parse("send").unwrap(),
        rate: 1,
        conversion_unknown: false,
        user: None,
        service: true,
        created_at: facts.now,
        expires_at: None,
        revoked_at: None,
        created_by: "test".into(),
        seal: [0; 32],
    }
}

fn write(facts: &Facts, changes: Vec<Change>) -> Decision {
    Decision::Write { changes, event: Event::new(facts.now, Actor::System, "test", "done"), answer: () }
}

/// Takes the next id and the next row of the audit log.
async fn take_an_id(store: &Sqlite) -> crate::error::Result<()> {
    let decide: Decide = Box::new(|facts| Ok(write(facts, vec![Change::NewToken(token(facts))])));
    store.operate(Needs { ids: true, ..Needs::default() }, decide).await
}

#[tokio::test]
async fn what_one_connection_wrote_every_other_knows_at_once() {
    let (dir, ring) = file();
    let (one, other) = (open(&dir, &ring), open(&dir, &ring));
    for store in [&one, &one, &other, &one, &other, &other, &one] {
        take_an_id(store).await.unwrap();
    }
    let ids: Vec<i64> = one.tokens().await.unwrap().iter().map(|token| token.id).collect();
    assert_eq!(ids, [7, 6, 5, 4, 3, 2, 1]);

    // An operation that fails after it took an id gives it back.
    let twice: Decide =
        Box::new(|facts| Ok(write(facts, vec![Change::NewToken(token(facts)), Change::NewToken(token(facts))])));
    one.operate(Needs { ids: true, ..Needs::default() }, twice).await.unwrap_err();
    take_an_id(&one).await.unwrap();
    assert_eq!(one.tokens().await.unwrap()[0].id, 8);

    // A test number counts at once, whoever declared it.
    let (phone, purpose) = (Phone::from_e164(TEST).unwrap(), Purpose::parse("login").unwrap());
    let is_declared = async || {
        let (found, seen) = std::sync::mpsc::channel();
        let look: Decide = Box::new(move |facts| {
            found.send(facts.test_number.is_some()).unwrap();
            Ok(Decision::Nothing(()))
        });
        let of = OtpNeed::Of(User::default(), phone.clone(), purpose.clone());
        one.operate(Needs { otp: of, ..Needs::default() }, look).await.unwrap();
        seen.recv().unwrap()
    };
    let change = async |store: &Sqlite, change: Change| {
        let decide: Decide = Box::new(move |facts| Ok(write(facts, vec![change.clone()])));
        store.operate(Needs::default(), decide).await.unwrap();
    };
    for declares in [&one, &other] {
        assert!(!is_declared().await);
        let now = SystemClock.now();
        let number =
            TestNumber { phone: phone.clone(), code_tag: [1; 32], until: now, added_at: now, added_by: "test".into() };
        change(declares, Change::PutTestNumber(number)).await;
        assert!(is_declared().await);
        change(&other, Change::DropTestNumber(phone.clone())).await;
    }

    // Maintenance on the same connection writes audit rows of its own.
    one.backup(&dir.path().join("copy.db"), &Actor::System).await.unwrap();
    take_an_id(&one).await.unwrap();

    other.export(&mut std::io::sink(), Transfer::Move, &Actor::System).await.unwrap();
    let sealed = take_an_id(&one).await.unwrap_err();
    assert!(sealed.message().contains("sealed"), "{sealed:?}");
}
