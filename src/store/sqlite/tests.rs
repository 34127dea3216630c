//! A test of its own: whatever the operations and the readers ask of the database, an index answers it, at a thousand rows and at ten
//! million alike.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::trace::{TraceEvent, TraceEventCodes};

use super::{Opening, Sqlite};
use crate::audit::Actor;
use crate::clock::{Clock, ManualClock, SystemClock};
use crate::code::Code;
use crate::config::Twilio as Settings;
use crate::engine::{AddTestNumber, Caller, Destination, Engine, Purge, Reset, Revoke, SendOtp, VerifyOtp};
use crate::keys::{Keyring, SecretKey};
use crate::otp::{State, User};
use crate::phone::{self, Phone};
use crate::provider::twilio::{self, Twilio};
use crate::purpose::Purpose;
use crate::sandbox::{Fault, Options, Sandbox};
use crate::store::{Filter, Subject, SubjectId};
use crate::template::Endings;

const PHONE: &str = "+14155550100";
const TEST: &str = "+1234567890";

/// Walks that are bounded by what they are: one page down the primary key, and tables of at most a thousand or a hundred rows.
const BOUNDED: [&str; 11] = [
    // A page, and what is counted after it: down the ids, as many as are asked for.
    "FROM otps ORDER BY id DESC LIMIT",
    "FROM otps WHERE id < :before ORDER BY id DESC LIMIT",
    "FROM (SELECT * FROM otps ORDER BY id DESC LIMIT 20000)",
    "SELECT id FROM otps ORDER BY id DESC LIMIT 1 OFFSET 19999",
    "FROM test_numbers",
    "FROM tokens",
    "FROM database_keys",
    // One row of the sequence for each table that has one.
    "FROM sqlite_sequence",
    "SELECT 1 FROM sqlite_schema LIMIT 1",
    // The living alone, by the index that holds them alone.
    "FROM otps INDEXED BY otps_live WHERE state = 'active'",
    "SELECT key_id FROM otps WHERE state = 'active'",
];

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
    let ring = Arc::new(Keyring::of(vec![SecretKey::generate().unwrap()]).unwrap());
    let sqlite = Sqlite::open(&db, &ring, Arc::clone(&shared), Opening::default()).unwrap();
    let ran = Arc::new(Mutex::new(BTreeSet::new()));
    let heard = Arc::clone(&ran);
    let hear = move |event: TraceEvent<'_>| {
        if let TraceEvent::Stmt(statement, _) = event {
            heard.lock().unwrap().insert(statement.sql().into_owned());
        }
    };
    sqlite.connection().trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(hear)).unwrap();
    let sandbox = Sandbox::start(Options { clock: Arc::clone(&shared), ..Options::default() }).unwrap();
    let value = |name: &str| sandbox.env().into_iter().find(|(key, _)| key == name).unwrap().1;
    let settings = Settings {
        account_sid: Some(value("TWILIO_ACCOUNT_SID")),
        auth_token: Some(value("TWILIO_AUTH_TOKEN").into()),
        phone_number: Some(value("TWILIO_PHONE_NUMBER")),
        base_url: Some(value("TWILIO_API_BASE_URL").parse().unwrap()),
        ..Settings::default()
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
        override_limits: None,
        idempotency_key: key.map(str::to_owned),
        endings: Endings::default(),
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
        engine.dispatch(&caller(), 100, |_, _| ()).await.unwrap();
    }
    let subject = Subject::Phone(phone.clone());
    let reset = Reset { subject, user: User::parse("ada").unwrap(), opt_out: true, reason: String::new() };
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
        Filter { states: vec![State::Expired], ..base() },
        Filter { states: vec![State::Verified], before: Some(5), ..base() },
        Filter { since: Some(now - Duration::from_secs(60)), until: Some(now), ..base() },
    ];
    for filter in filters {
        store.list(&filter, now).await.unwrap();
    }
    store.message_counts(&[1, 2]).await.unwrap();
    store.of_phone(&phone, 20).await.unwrap();
    store.messages_of(1).await.unwrap();
    store.provider_ids(&phone).await.unwrap();
    store.test_numbers().await.unwrap();
    store.tokens().await.unwrap();
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

    let database = super::open::connect(&scene.db, Opening::default()).unwrap();
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
                && *line != "SCAN o"
        });
        let bounded = BOUNDED.iter().any(|bounded| sql.contains(bounded));
        walks.extend(walked.filter(|_| !bounded).map(|line| format!("{line}: {sql}")));
    }
    assert!(explained > 40, "only {explained} statements were heard");
    assert!(walks.is_empty(), "{}", walks.join("\n"));
}

#[test]
fn a_prepared_statement_stays_prepared_whatever_is_bound() {
    let scene = scene();
    let database = super::open::connect(&scene.db, Opening::default()).unwrap();
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
    let connection = super::open::connect(&scene.db, Opening::default()).unwrap();
    for sql in [r#"SELECT "usr" FROM otps"#, r#"CREATE INDEX wrong ON otps (id) WHERE state = "active""#] {
        let error = connection.prepare(sql).err().unwrap_or_else(|| panic!("{sql} was taken"));
        assert!(error.to_string().contains("no such column"), "{sql}: {error}");
    }
}

fn is_question(sql: &str) -> bool {
    ["SELECT", "INSERT", "UPDATE", "DELETE"].iter().any(|word| sql.trim_start().starts_with(word))
}
