//! What the engine costs over raw transactions with the same tables, indexes and rows, and how that grows with the database.
//!
//! The floor replays the statements of an operation with ready-made values, on the same file, in blocks that take turns with the
//! engine's. Time moves by hand, so that no limit stands in the way.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods, dead_code)]

mod database;
mod measure;
mod raw;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use database::{DAY, DAYS, Database, Taker, end, keyring, phone, user};
use measure::{Goal, Times, median_of, tell, timed, wanted};
use smsotp::abuse::{self, Counted, GuardPolicy, States};
use smsotp::audit::Actor;
use smsotp::clock::{Clock, ManualClock, Timestamp};
use smsotp::code::Code;
use smsotp::engine::{Caller, Engine, SendAnswer, Verdict, VerifyOtp};
use smsotp::money::Money;
use smsotp::policy::Policy;
use smsotp::purpose::Purpose;
use smsotp::store::{Operate, Store};
use smsotp::usage::Usage;

/// Operations in a block.
const BLOCK: u64 = 100;

fn main() -> ExitCode {
    let blocks = wanted("SMSOTP_BENCH_BLOCKS", 60);
    let large = wanted("SMSOTP_BENCH_ROWS", 10_000_000);
    let dir = measure::directory();
    let small_database = Database::of(1_000, &dir).copy("engine-small");
    // Copies, because the clock of the operations runs ahead.
    let large_database = Database::of(large, &dir).copy("engine-large");
    if std::env::var_os("SMSOTP_BENCH_STATEMENTS").is_some() {
        return statements(&small_database);
    }
    let (mut small, mut big) = (Side::new(&small_database), Side::new(&large_database));
    // A round warms the caches of each; then they take turns, so that the machine's moods hit all alike.
    for warm in [true, false] {
        for _ in 0..if warm { 2 } else { blocks } {
            small.block(&small_database, warm);
            big.block(&large_database, warm);
        }
    }
    println!("the engine on SQLite, ms per operation (a send is two commits, a verify one)");
    for (rows, side) in [(1_000, &small), (large, &big)] {
        for (name, times) in [("send", &side.send), ("verify", &side.verify)] {
            let [ours, floor] = times;
            println!(
                "  {name:<7} {rows:>9} rows: p50 {:.3} p99 {:.3} at {:.0}/s; floor p50 {:.3} p99 {:.3} at {:.0}/s",
                ours.median(),
                ours.quantile(0.99),
                ours.rate(),
                floor.median(),
                floor.quantile(0.99),
                floor.rate()
            );
        }
    }
    let mut holds = Vec::new();
    for (rows, side) in [(1_000, &small), (large, &big)] {
        let [send, verify] = &side.ratios;
        holds.push(tell(&format!("send, {rows} rows: rate / raw"), Goal::Least(0.75), median_of(send.clone())));
        holds.push(tell(&format!("verify, {rows} rows: rate / raw"), Goal::Least(0.75), median_of(verify.clone())));
    }
    for (rows, side) in [(1_000, &small), (large, &big)] {
        let [statements, rules] = [0, 1].map(|part| median_of(side.guard.iter().map(|added| added[part]).collect()));
        let send = side.send[0].median();
        println!(
            "  the guard, {rows} rows: its statements {statements:.3}, its rules {rules:.3} of a send's {send:.3} ms"
        );
        let without = send - statements - rules;
        holds.push(tell(&format!("send, {rows} rows: with the guard / without"), Goal::Most(1.15), send / without));
    }
    let growth = |large: &Times, small: &Times| large.median() / small.median();
    for (name, large, small) in [("send", &big.send, &small.send), ("verify", &big.verify, &small.verify)] {
        holds.push(tell(&format!("{name}: p50 large / small database"), Goal::Most(1.3), growth(&large[0], &small[0])));
        println!("{:<64} {:>9.3}   (the floor's own)", "", growth(&large[1], &small[1]));
    }
    drop((small, big));
    holds.push(limit_check(&small_database));
    database::remove(&small_database.path);
    database::remove(&large_database.path);
    measure::verdict(&holds)
}

/// The engine and the floor over one file.
struct Side {
    clock: Arc<ManualClock>,
    store: Store,
    engine: Engine,
    taker: Arc<Taker>,
    raw: raw::Raw,
    runtime: tokio::runtime::Runtime,
    next: u64,
    /// Engine, then floor.
    send: [Times; 2],
    verify: [Times; 2],
    /// What the guard adds to a send, in ms: statements and rules, one for each block.
    guard: Vec<[f64; 2]>,
    /// Send, then verify: the floor's time over the engine's, one for each block.
    ratios: [Vec<f64>; 2],
}

impl Side {
    fn new(database: &Database) -> Side {
        // After everything that an earlier run recorded.
        let raw = database.raw();
        let seen: i64 = raw
            .query_row(
                "SELECT max(created_at) FROM (SELECT created_at FROM otps ORDER BY id DESC LIMIT 10)",
                [],
                |row| row.get(0),
            )
            .unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp(seen.max(end()) + 2 * DAY)));
        let store: Store = database.store(Arc::clone(&clock) as Arc<dyn Clock>).into();
        let taker = Arc::new(Taker::default());
        let engine =
            Engine::new(store.clone(), keyring(), Arc::new(Policy::default())).with_provider(Arc::clone(&taker) as _);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let next = u64::try_from(seen).unwrap() % 10_007;
        let times = || [Times::default(), Times::default()];
        Side {
            clock,
            store,
            engine,
            taker,
            raw: raw::Raw::of(raw),
            runtime,
            next,
            send: times(),
            verify: times(),
            guard: Vec::new(),
            ratios: Default::default(),
        }
    }

    fn block(&mut self, database: &Database, warm: bool) {
        let (ours_send, ours_verify) = self.ours(database);
        let (floor_send, floor_verify) = self.floor(database);
        self.guard(database);
        if warm {
            self.guard.clear();
            return;
        }
        self.ratios[0].push(floor_send.total().as_secs_f64() / ours_send.total().as_secs_f64());
        self.ratios[1].push(floor_verify.total().as_secs_f64() / ours_verify.total().as_secs_f64());
        self.send[0].extend(&ours_send);
        self.send[1].extend(&floor_send);
        self.verify[0].extend(&ours_verify);
        self.verify[1].extend(&floor_verify);
    }

    /// What the guard adds to sends: its statements, those of a block with them over those of a block without, and its rules, with
    /// what they read and write.
    fn guard(&mut self, database: &Database) {
        let index = self.store.operations.keys().index.clone();
        let tags = [index.tag("everything", b""), index.tag("country", raw::COUNTRY.as_bytes())];
        let [mut without, mut with, mut rules] = [Times::default(), Times::default(), Times::default()];
        for _ in 0..BLOCK {
            for guard in [false, true] {
                let wide = tags.map(|tag| self.raw.usage(tag));
                let nth = self.step(database);
                let values = raw::Values::of(&index, nth, self.clock.now().millis(), &wide);
                let took = timed(|| self.raw.send(&values, guard)).1;
                if guard {
                    with.add(took)
                } else {
                    without.add(took)
                }
                self.raw.verify(&values, guard);
                if guard {
                    rules.add(timed(|| weigh(&wide, self.clock.now())).1);
                }
            }
        }
        let statements = with.median() - without.median();
        self.guard.push([statements, rules.median()]);
    }

    /// Time for the limits to forget: each of a thousand phones is asked for once in a day.
    fn step(&mut self, database: &Database) -> u64 {
        self.clock.advance(Duration::from_secs(90));
        self.next += 1;
        database.known(self.next)
    }

    fn ours(&mut self, database: &Database) -> (Times, Times) {
        let (mut sends, mut verifies) = (Times::default(), Times::default());
        for _ in 0..BLOCK {
            let nth = self.step(database);
            let ask = database::ask(nth);
            let (answer, took) = timed(|| self.runtime.block_on(self.engine.send(&caller(), ask)));
            assert!(matches!(answer, Ok(SendAnswer::Sent(_))), "{answer:?}");
            sends.add(took);
            let code =
                Code::parse(&smsotp::sandbox::inbox::extract_code(&self.taker.0.lock().unwrap()).unwrap()).unwrap();
            let verify = verify_ask(nth, code);
            let (answer, took) = timed(|| self.runtime.block_on(self.engine.verify(&caller(), verify)));
            assert_eq!(answer.unwrap().verdict, Verdict::Verified);
            verifies.add(took);
        }
        (sends, verifies)
    }

    fn floor(&mut self, database: &Database) -> (Times, Times) {
        let (mut sends, mut verifies) = (Times::default(), Times::default());
        let index = self.store.operations.keys().index.clone();
        let tag = index.tag("everything", b"");
        let country = index.tag("country", raw::COUNTRY.as_bytes());
        let wide = [tag, country].map(|tag| self.raw.usage(tag));
        for _ in 0..BLOCK {
            let nth = self.step(database);
            let values = raw::Values::of(&index, nth, self.clock.now().millis(), &wide);
            sends.add(timed(|| self.raw.send(&values, true)).1);
            verifies.add(timed(|| self.raw.verify(&values, true)).1);
        }
        (sends, verifies)
    }
}

/// The guard's part of a decision: reads what is remembered of a country, of a block and of everything, weighs a message, counts it, and
/// writes it again.
fn weigh([everything, country]: &[String; 2], now: Timestamp) -> usize {
    let read = |text: &str| serde_json::from_str::<Usage>(text).unwrap();
    let (mut everything, mut country, mut block) = (read(everything), read(country), Usage::default());
    let mut states = States {
        everything: everything.everything.take().map(|state| *state).unwrap_or_default(),
        country: country.country.take().map(|state| *state).unwrap_or_default(),
        block: Default::default(),
    };
    let policy = GuardPolicy::default();
    let ask = abuse::Ask {
        now,
        country: raw::COUNTRY,
        price: Money(8_300),
        counted: Counted::Stranger,
        challenged: false,
        allowed: false,
    };
    std::hint::black_box(states.judge(&policy, &ask));
    std::hint::black_box(states.sent(&policy, &ask));
    everything.everything = Some(Box::new(states.everything));
    country.country = Some(Box::new(states.country));
    block.block = Some(states.block);
    [everything, country, block].iter().map(|usage| usage.to_json().unwrap().len()).sum()
}

/// Prints what one send and one verify run, the floor's and ours: for whoever doubts that they are the same.
fn statements(database: &Database) -> ExitCode {
    let clock = Arc::new(ManualClock::at(Timestamp(end() + 2 * DAY)));
    let store = database.store(Arc::clone(&clock) as Arc<dyn Clock>);
    let index = Operate::keys(store.as_ref()).index.clone();
    let taker = Arc::new(Taker::default());
    let engine =
        Engine::new(store.clone(), keyring(), Arc::new(Policy::default())).with_provider(Arc::clone(&taker) as _);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!("-- the engine: a send");
    store.on_statement(|sql| println!("{}", sql.split_whitespace().collect::<Vec<_>>().join(" "))).unwrap();
    runtime.block_on(engine.send(&caller(), database::ask(database.known(1)))).unwrap();
    println!("-- the engine: a verify");
    let code = Code::parse(&smsotp::sandbox::inbox::extract_code(&taker.0.lock().unwrap()).unwrap()).unwrap();
    runtime.block_on(engine.verify(&caller(), verify_ask(database.known(1), code))).unwrap();
    let mut raw = database.raw();
    raw.trace_v2(
        rusqlite::trace::TraceEventCodes::SQLITE_TRACE_STMT,
        Some(|event: rusqlite::trace::TraceEvent<'_>| {
            if let rusqlite::trace::TraceEvent::Stmt(_, sql) = event {
                println!("{}", sql.split_whitespace().collect::<Vec<_>>().join(" "));
            }
        }),
    )
    .unwrap();
    let values = raw::Values::of(&index, database.known(2), clock.now().millis(), &["{}".to_owned(), "{}".to_owned()]);
    println!("-- the floor: a send");
    let mut raw = raw::Raw::of(raw);
    raw.send(&values, true);
    println!("-- the floor: a verify");
    raw.verify(&values, true);
    ExitCode::SUCCESS
}

/// A send that the limits refuse, for phones with few and with many rows in the database.
fn limit_check(database: &Database) -> bool {
    let raw = database.raw();
    let key_id = database::secret().id().to_string();
    let counts = [1u64, 64, 1_000, 10_000];
    let clock = Arc::new(ManualClock::at(Timestamp(end() + 400 * DAY * DAYS)));
    for (place, count) in counts.iter().enumerate() {
        let nth = 5_000_000 + place as u64;
        raw.execute_batch("BEGIN").unwrap();
        for row in 0..*count {
            raw.execute(
                r#"INSERT INTO otps ("user", phone_number, purpose, nonce, key_id, digits, created_at, expires_at, state, ended_at)
                   VALUES (?1, ?2, 'login', randomblob(16), ?3, 6, ?4, ?4, 'verified', ?4)"#,
                rusqlite::params![user(nth).as_str(), phone(nth).as_str(), key_id, end() + row as i64],
            )
            .unwrap();
        }
        raw.execute_batch("COMMIT").unwrap();
    }
    let store: Store = database.store(Arc::clone(&clock) as Arc<dyn Clock>).into();
    let engine = Engine::new(store, keyring(), Arc::new(Policy::default())).with_provider(Arc::new(Taker::default()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut times = vec![Times::default(); counts.len()];
    for round in 0..200 {
        for (place, times) in times.iter_mut().enumerate() {
            let nth = 5_000_000 + place as u64;
            let (answer, took) = timed(|| runtime.block_on(engine.send(&caller(), database::ask(nth))).unwrap());
            // The first goes out; all others are inside its pause.
            assert_eq!(matches!(answer, SendAnswer::Refused(_)), round > 0, "{answer:?}");
            if round > 0 {
                times.add(took);
            }
        }
    }
    for (count, times) in counts.iter().zip(&times) {
        println!("  a refused send, {count:>6} rows of the phone: p50 {:.3} ms", times.median());
    }
    tell(
        "limit check: p50 with 10,000 rows of the phone / with 1",
        Goal::Most(1.2),
        times[3].median() / times[0].median(),
    )
}

fn caller() -> Caller {
    Caller::new(Actor::System)
}

fn verify_ask(nth: u64, code: Code) -> VerifyOtp {
    VerifyOtp {
        phone: phone(nth),
        purpose: Purpose::parse("login").unwrap(),
        user: user(nth),
        code,
        idempotency_key: None,
    }
}
