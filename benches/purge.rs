//! What a purge of a tenth of the database costs: beside a writer, alone, with `--exclusive`, against one raw DELETE.
//!
//! Each takes the next tenth of the same database, so that all find the same tables; a raw DELETE runs before and after.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods, dead_code)]

mod database;
mod measure;

use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use database::{DAY, Database, Taker, end, keyring, phone, user};
use measure::{Goal, Program, Times, tell, timed, wanted};
use smsotp::audit::Actor;
use smsotp::clock::{Clock, SystemClock};
use smsotp::code::Code;
use smsotp::engine::{Caller, Engine, SendAnswer, VerifyOtp};
use smsotp::limits::Window;
use smsotp::policy::Policy;
use smsotp::purpose::Purpose;
use smsotp::store::Store;

fn main() -> ExitCode {
    let rows = wanted("SMSOTP_BENCH_ROWS", 10_000_000);
    let database = Database::of(rows, &measure::directory()).copy("purge");
    let meter = measure::floor("floor_meter");
    let mut tenth = Tenths { database: &database, next: 0, meter: &meter };

    let first = tenth.raw();
    let alone = tenth.ours(&[]);
    let second = tenth.raw();
    let exclusive = tenth.ours(&["--exclusive"]);
    let third = tenth.raw();
    let (beside, writer) = tenth.beside();
    println!("purge of {} of {rows} codes with their messages, s", rows / 10);
    println!("  raw DELETE        {first:.2}, {second:.2}, {third:.2} s");
    for (name, run) in [("alone", &alone), ("--exclusive", &exclusive), ("beside a writer", &beside)] {
        println!("  {name:<17} {:.2} s, WAL {:.0} MiB, peak memory {:.1} MiB", run.seconds, run.wal_mib, run.peak_mib);
    }
    println!(
        "  the writer        {} operations, p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms; before the purge p50 {:.2}, p99 {:.2}, max {:.2}",
        writer.during.len(),
        writer.during.median(),
        writer.during.quantile(0.99),
        writer.during.max(),
        writer.before.median(),
        writer.before.quantile(0.99),
        writer.before.max()
    );
    database::remove(&database.path);
    let memory = [alone.peak_mib, exclusive.peak_mib, beside.peak_mib].into_iter().fold(0.0, f64::max);
    let holds = [
        tell("beside a purge: the writer's p99, ms", Goal::Most(20.0), writer.during.quantile(0.99)),
        tell("beside a purge: the writer's longest wait, ms", Goal::Most(60.0), writer.during.max()),
        tell("beside a writer: write-ahead log, MiB", Goal::Most(64.0), beside.wal_mib),
        tell("peak memory of a purge, MiB", Goal::Most(30.0), memory),
        tell("alone: rate / one raw DELETE", Goal::Least(0.25), (first + second) / 2.0 / alone.seconds),
        tell("--exclusive: rate / one raw DELETE", Goal::Least(0.65), (second + third) / 2.0 / exclusive.seconds),
    ];
    measure::verdict(&holds)
}

struct Tenths<'a> {
    database: &'a Database,
    next: i64,
    meter: &'a Path,
}

struct Run {
    seconds: f64,
    wal_mib: f64,
    peak_mib: f64,
}

struct Writer {
    before: Times,
    during: Times,
}

impl Tenths<'_> {
    /// The end of the next tenth.
    fn cutoff(&mut self) -> i64 {
        self.next += 1;
        end() - database::DAYS * DAY + self.next * DAY
    }

    fn settle(&self) {
        let raw = self.database.raw();
        raw.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    }

    /// One statement; the messages go with their codes.
    fn raw(&mut self) -> f64 {
        let cutoff = self.cutoff();
        let raw = self.database.raw();
        let (gone, took) = timed(|| raw.execute("DELETE FROM otps WHERE over_at <= ?1", [cutoff]).unwrap());
        assert!(gone as u64 > self.database.rows / 11, "{gone} rows went");
        drop(raw);
        self.settle();
        took.as_secs_f64()
    }

    /// The program, and the database settled after it.
    fn ours(&mut self, flags: &[&str]) -> Run {
        let run = self.purged(flags);
        self.settle();
        run
    }

    /// The program.
    fn purged(&mut self, flags: &[&str]) -> Run {
        let home = tempfile::tempdir().unwrap();
        let cutoff = self.cutoff();
        let span = format!("{}s", (SystemClock.now().millis() - cutoff) / 1000);
        let path = self.database.path.to_str().unwrap();
        let mut args = vec![env!("CARGO_BIN_EXE_smsotp"), "--db", path, "-q", "purge-expired", "--older-than", &span];
        args.extend(flags);
        let program = Program::new(self.meter, &args)
            .env("HOME", home.path().to_str().unwrap())
            .env("SMSOTP_SECRET_KEY", base64::engine::general_purpose::STANDARD.encode([7u8; 32]));
        let (done, largest) = (AtomicBool::new(false), AtomicU64::new(0));
        let wal = format!("{path}-wal");
        let (output, took) = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    largest.fetch_max(std::fs::metadata(&wal).map_or(0, |meta| meta.len()), Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
            let answer = timed(|| program.command().stderr(Stdio::piped()).output().unwrap());
            done.store(true, Ordering::Relaxed);
            answer
        });
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        let kib: f64 = text.lines().last().unwrap().trim().parse().unwrap();
        Run {
            seconds: took.as_secs_f64(),
            wal_mib: largest.load(Ordering::Relaxed) as f64 / 1_048_576.0,
            peak_mib: kib / 1024.0,
        }
    }

    /// The program, and a writer that sends and verifies all the time.
    fn beside(&mut self) -> (Run, Writer) {
        let database = self.database;
        let (purging, done) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| write(database, &purging, &done));
            std::thread::sleep(Duration::from_secs(2));
            purging.store(true, Ordering::Relaxed);
            let run = self.purged(&[]);
            // The database is settled when the writer has gone: that would stand in its way, and is no part of a purge.
            done.store(true, Ordering::Relaxed);
            (run, writer.join().unwrap())
        })
    }
}

/// Sends and verifies until told to stop; the times of every operation.
fn write(database: &Database, purging: &AtomicBool, done: &AtomicBool) -> Writer {
    let mut policy = Policy::default();
    policy.limits.everything = vec![Window::new(u32::MAX, 3600), Window::new(u32::MAX, 86_400)];
    let store: Store = database.store(Arc::new(SystemClock)).into();
    let taker = Arc::new(Taker::default());
    let engine = Engine::new(store, keyring(), Arc::new(policy)).with_provider(Arc::clone(&taker) as _);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut writer = Writer { before: Times::default(), during: Times::default() };
    let mut nth = 30_000_000;
    let caller = Caller::new(Actor::System);
    while !done.load(Ordering::Relaxed) {
        nth += 1;
        let times = if purging.load(Ordering::Relaxed) { &mut writer.during } else { &mut writer.before };
        let ask = database::ask(nth);
        let (answer, took) = timed(|| runtime.block_on(engine.send(&caller, ask)));
        assert!(matches!(answer, Ok(SendAnswer::Sent(_))), "{answer:?}");
        times.add(took);
        let code = Code::parse(&smsotp::sandbox::inbox::extract_code(&taker.0.lock().unwrap()).unwrap()).unwrap();
        let ask = VerifyOtp {
            phone: phone(nth),
            purpose: Purpose::parse("login").unwrap(),
            user: user(nth),
            code,
            idempotency_key: None,
        };
        let (answer, took) = timed(|| runtime.block_on(engine.verify(&caller, ask)));
        assert!(answer.is_ok());
        times.add(took);
    }
    writer
}
