//! Many processes on one file: what they get done together, how fairly, and how long the unluckiest waits.
//!
//! An operation is one transaction (a verify of a phone that nobody knows). Beside the engine's own queue, the same transaction
//! runs raw under other ways of waiting: SQLite's busy handler, a busy handler that polls, a blocking lock on a file, one
//! that is polled, and the two locks of the engine's queue, blocking (no patience ever ends) and polled.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods, dead_code)]

mod database;
mod measure;
mod raw;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use database::{Database, Mixer, keyring, phone, user};
use measure::{Goal, Times, median_of, tell, timed, wanted};
use smsotp::audit::Actor;
use smsotp::clock::{Clock, SystemClock};
use smsotp::code::Code;
use smsotp::engine::{Caller, Engine, VerifyOtp};
use smsotp::policy::Policy;
use smsotp::purpose::Purpose;
use smsotp::store::Store;

/// The ways of waiting; the first is the engine's.
const WAYS: [&str; 7] = ["smsotp", "stock", "busy-poll", "flock", "flock-poll", "two-locks", "two-polled"];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("child") => child(&args[2], Path::new(&args[3]), args[4].parse().unwrap(), args[5].parse().unwrap()),
        _ => bench(),
    }
}

fn bench() -> ExitCode {
    let rounds = wanted("SMSOTP_BENCH_CONTENTION_ROUNDS", 5);
    let millis = wanted("SMSOTP_BENCH_MILLIS", 2_000);
    let many = wanted("SMSOTP_BENCH_PROCESSES", 16);
    let base = Database::of(1_000, &measure::directory());
    let database = base.copy("contention");
    let (mut together, mut fair, mut worst) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let one = round("smsotp", &database.path, 1, millis);
        let all = round("smsotp", &database.path, many, millis);
        show("smsotp", 1, &one);
        show("smsotp", many, &all);
        together.push(all.per_second() / one.per_second());
        fair.push(all.fairness());
        worst.push(all.worst_ms);
    }
    if std::env::var_os("SMSOTP_BENCH_WAYS").is_some() {
        for way in &WAYS[1..] {
            for processes in [1, 4, many] {
                show(way, processes, &round(way, &database.path, processes, millis));
            }
        }
    }
    database::remove(&database.path);
    let holds = [
        tell(&format!("{many} processes together / one"), Goal::Least(0.7), median_of(together)),
        tell("the slowest / the fastest of them", Goal::Least(0.4), median_of(fair)),
        tell("worst wait, ms", Goal::Most(250.0), worst.iter().copied().fold(0.0, f64::max)),
    ];
    measure::verdict(&holds)
}

struct Round {
    operations: Vec<u64>,
    seconds: f64,
    worst_ms: f64,
    p99_ms: f64,
}

impl Round {
    fn per_second(&self) -> f64 {
        self.operations.iter().sum::<u64>() as f64 / self.seconds
    }

    fn fairness(&self) -> f64 {
        *self.operations.iter().min().unwrap() as f64 / *self.operations.iter().max().unwrap() as f64
    }
}

fn show(way: &str, processes: u64, round: &Round) {
    println!(
        "  {way:<10} {processes:>2} processes: {:>6.0}/s, {:>5} to {:>5} operations each, p99 {:>7.2} ms, worst {:>7.1} ms",
        round.per_second(),
        round.operations.iter().min().unwrap(),
        round.operations.iter().max().unwrap(),
        round.p99_ms,
        round.worst_ms
    );
}

fn round(way: &str, path: &Path, processes: u64, millis: u64) -> Round {
    let this = std::env::current_exe().unwrap();
    let mut children: Vec<(Child, BufReader<_>)> = (0..processes)
        .map(|nth| {
            let mut child = Command::new(&this)
                .args(["child", way, path.to_str().unwrap(), &nth.to_string(), &millis.to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let out = BufReader::new(child.stdout.take().unwrap());
            (child, out)
        })
        .collect();
    let line = |out: &mut BufReader<_>| {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        line
    };
    for (_, out) in &mut children {
        assert_eq!(line(out).trim(), "ready");
    }
    for (child, _) in &mut children {
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    }
    let mut round = Round { operations: Vec::new(), seconds: millis as f64 / 1e3, worst_ms: 0.0, p99_ms: 0.0 };
    for (mut child, mut out) in children {
        let answer = line(&mut out);
        let numbers: Vec<f64> = answer.split_whitespace().map(|number| number.parse().unwrap()).collect();
        round.operations.push(numbers[0] as u64);
        round.worst_ms = round.worst_ms.max(numbers[1]);
        round.p99_ms = round.p99_ms.max(numbers[2]);
        assert!(child.wait().unwrap().success());
    }
    round
}

/// One of the processes: says that it is ready, waits for the word, works, tells.
fn child(way: &str, path: &Path, nth: u64, millis: u64) -> ExitCode {
    let mut operation = operation(way, path, nth);
    println!("ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let until = Instant::now() + Duration::from_millis(millis);
    let mut times = Times::default();
    while Instant::now() < until {
        times.add(timed(&mut operation).1);
    }
    println!("{} {} {}", times.len(), times.max(), times.quantile(0.99));
    ExitCode::SUCCESS
}

fn operation(way: &str, path: &Path, nth: u64) -> Box<dyn FnMut()> {
    let database = Database { path: path.to_owned(), rows: 1_000 };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store: Store = database.store(clock).into();
    let mut random = Mixer(nth << 32 ^ u64::from(std::process::id()));
    let mut next = move || 20_000_000 + random.next() % 1_000_000_000;
    if way == "smsotp" {
        let engine = Engine::new(store, keyring(), Arc::new(Policy::default()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let code = Code::parse("123456").unwrap();
        return Box::new(move || {
            let nth = next();
            let purpose = Purpose::parse("login").unwrap();
            let ask =
                VerifyOtp { phone: phone(nth), purpose, user: user(nth), code: code.clone(), idempotency_key: None };
            runtime.block_on(engine.verify(&Caller::new(Actor::System), ask)).unwrap();
        });
    }
    let index = store.operations.keys().index.clone();
    let mut connection = database.raw();
    if way == "busy-poll" {
        connection.busy_handler(Some(poll)).unwrap();
    }
    let mut connection = raw::Raw::of(connection);
    let (lock, next_lock) = (lock_file(path, "current"), lock_file(path, "next"));
    let way = way.to_owned();
    let mut jitter = Mixer(nth);
    Box::new(move || {
        let values = raw::Values::of(&index, next(), SystemClock.now().millis(), &["{}".to_owned(), "{}".to_owned()]);
        match way.as_str() {
            "flock" => lock.lock().unwrap(),
            "flock-poll" => polled(&lock, 100 + jitter.next() % 200),
            "two-locks" => {
                next_lock.lock().unwrap();
                lock.lock().unwrap();
                next_lock.unlock().unwrap();
            }
            "two-polled" => {
                polled(&next_lock, 200 + jitter.next() % 400);
                polled(&lock, 50);
                next_lock.unlock().unwrap();
            }
            _ => {}
        }
        connection.verify(&values, true);
        let _ = lock.unlock();
    })
}

fn poll(_: i32) -> bool {
    std::thread::sleep(Duration::from_micros(200));
    true
}

fn polled(lock: &File, micros: u64) {
    while lock.try_lock().is_err() {
        std::thread::sleep(Duration::from_micros(micros));
    }
}

fn lock_file(path: &Path, name: &str) -> File {
    let path = PathBuf::from(format!("{}-{name}", path.display()));
    File::options().create(true).truncate(false).write(true).open(path).unwrap()
}
