//! What a report over a day costs, with a thousand messages on that day and with a million.
//!
//! The sums are those that the engine keeps: asks of three purposes and twelve countries over the hours of a day, most of them delivered
//! within seconds and entered within half a minute.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods, dead_code)]

mod database;
mod measure;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use base64::Engine as _;
use database::{keyring, raw, remove};
use measure::{Goal, Program, interleaved, tell, wanted};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use smsotp::audit::{Actor, Event};
use smsotp::clock::{Clock, SystemClock, Timestamp};
use smsotp::money::Money;
use smsotp::store::sqlite::{Sqlite, SqliteOptions};
use smsotp::store::{Change, Decision, Needs, Store, operate};
use smsotp::sums::{Stage, Sum, SumKey, TIMES, hour};

fn main() -> ExitCode {
    let rounds = wanted("SMSOTP_BENCH_ROUNDS", 101);
    let sizes = [1_000, wanted("SMSOTP_BENCH_ROWS", 1_000_000).min(1_000_000)];
    let meter = measure::floor("floor_meter");
    let home = tempfile::tempdir().unwrap();
    let key = base64::engine::general_purpose::STANDARD.encode([7u8; 32]);
    let paths: Vec<PathBuf> = sizes.iter().map(|messages| day(*messages, &measure::directory())).collect();
    let ours = |path: &PathBuf, args: &[&str]| {
        let args = [&["--db", path.to_str().unwrap()], args].concat();
        let program = Program::new(env!("CARGO_BIN_EXE_smsotp"), &args);
        program.env("HOME", home.path().to_str().unwrap()).env("SMSOTP_SECRET_KEY", key.clone())
    };
    let programs: Vec<Program> = paths
        .iter()
        .flat_map(|path| [ours(path, &["list", "--json"]), ours(path, &["report", "--since", "24h", "--json"])])
        .collect();
    let times = interleaved(&programs, rounds);
    println!("a report over a day: median of {} interleaved runs, ms; peak memory, MiB", times[0].len());
    let names = ["an empty list", "a thousand messages", "an empty list", "a million messages"];
    for ((name, times), program) in names.iter().zip(&times).zip(&programs) {
        println!("  {name:<20} {:>7.3} ms  {:>6.1} MiB", times.median(), program.peak_mib(&meter));
    }
    let ratio = times[3].median() / times[1].median();
    let holds = [tell(&format!("a report of {} messages / of {}", sizes[1], sizes[0]), Goal::Most(1.3), ratio)];
    measure::verdict(&holds)
}

/// A database whose sums are those of a day.
fn day(messages: u64, dir: &Path) -> PathBuf {
    const COUNTRIES: [&str; 12] = ["US", "US", "US", "GB", "GB", "DE", "FR", "IN", "BR", "MX", "ES", "IT"];
    const PURPOSES: [&str; 10] = [
        "login",
        "login",
        "login",
        "login",
        "login",
        "login",
        "registration",
        "registration",
        "registration",
        "password_reset",
    ];
    const ERRORS: [&str; 6] = ["30003", "30005", "30006", "30007", "30008", ""];
    const REASONS: [&str; 4] = ["cooldown", "phone", "user", "block"];
    let path = dir.join(format!("report-{messages}.db"));
    remove(&path);
    let now = SystemClock.now();
    let mut random = StdRng::seed_from_u64(5);
    let mut sums: BTreeMap<(i64, &str, &str, Stage, String), i64> = BTreeMap::new();
    for _ in 0..messages {
        let one = |random: &mut StdRng, of: &[&'static str]| of[random.random_range(0..of.len())];
        let at = hour(Timestamp(now.millis() - random.random_range(0..23) * 3_600_000)).millis();
        let (purpose, country) = (one(&mut random, &PURPOSES), one(&mut random, &COUNTRIES));
        // Short times are more frequent than long ones.
        let step = |random: &mut StdRng, least: usize| {
            let far = random.random_range(0.0..1.0_f64).powi(3) * 12.0;
            TIMES[(least + far as usize).min(TIMES.len() - 1)].to_string()
        };
        let mut add = |stage: Stage, detail: String| {
            *sums.entry((at, purpose, country, stage, detail)).or_default() += 1;
        };
        add(Stage::Message, "new".to_owned());
        add(Stage::Accepted, String::new());
        if random.random_bool(0.92) {
            add(Stage::Delivered, step(&mut random, 1));
        } else {
            add(Stage::Failed, one(&mut random, &ERRORS).to_owned());
        }
        if random.random_bool(0.75) {
            add(Stage::Verified, step(&mut random, 4));
        }
        if random.random_bool(0.05) {
            add(Stage::Refused, one(&mut random, &REASONS).to_owned());
        }
    }
    let store: Store =
        Arc::new(Sqlite::open(&path, &keyring(), Arc::new(SystemClock), SqliteOptions::default()).unwrap()).into();
    let changes: Vec<Change> = sums
        .into_iter()
        .map(|((at, purpose, country, stage, detail), count)| {
            let (hour, purpose, country) = (Timestamp(at), purpose.to_owned(), country.to_owned());
            let key = SumKey { hour, purpose, country, provider: "twilio".to_owned(), stage, detail };
            let cost = Money(if stage == Stage::Accepted { count * 8_300 } else { 0 });
            Change::AddSum(Sum { key, count, cost })
        })
        .collect();
    let add = operate(store.operations.as_ref(), Needs::default(), move |facts| {
        let event = Event::new(facts.now, Actor::System, "test", "filled");
        Ok(Decision::Write { changes: changes.clone(), event, answer: () })
    });
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(add).unwrap();
    let rows: i64 = raw(&path).query_row("SELECT count(*) FROM sums", [], |row| row.get(0)).unwrap();
    println!("{messages} messages are {rows} rows of sums");
    path
}
