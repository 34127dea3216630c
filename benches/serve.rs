//! `smsotp serve` against other servers of the same two operations, and against the disk.
//!
//! One process holds the provider and the load, a thread each; every server is started anew for each round, with a new database, and
//! the rounds take turns. `SMSOTP_BENCH_PEERS=DIR` (see benches/peers/install.sh) names the peers. They send with Twilio's own
//! libraries, as applications do; `SMSOTP_BENCH_BARE=1` takes those away and every query that could be done without. No peer
//! debugs, logs or limits requests; connections are kept; SQLite has a write-ahead log and durable commits. Ours is as it
//! comes: rules, guard, audit log, tokens from the database and a log line for each request; only the limits that count all requests
//! of one machine are off, and what the guard allows is as much as one machine sends.
//!
//! `cargo bench --profile dist --bench serve -- [peers] [many] [one] [group]` runs some parts alone.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods, dead_code)]

mod carrier;
mod database;
mod load;
mod measure;
mod peers;

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use carrier::Carrier;
use database::{Database, keyring, phone, user};
use load::Load;
use measure::{Goal, Times, median_of, tell, timed, wanted};
use peers::{Kind, PEERS, Server, Used};
use smsotp::audit::Actor;
use smsotp::clock::{Clock, SystemClock, Timestamp};
use smsotp::code::Code;
use smsotp::engine::{Caller, Engine, SendAnswer, Verdict, VerifyOtp};
use smsotp::phone::Phone;
use smsotp::policy::Policy;
use smsotp::provider::{Delivery, Outgoing, Provider, RemoteMessage};
use smsotp::purpose::Purpose;
use smsotp::store::Store;
use smsotp::store::sqlite::SqliteOptions;
use smsotp::store::sqlite::group::open_grouped;

fn main() -> ExitCode {
    let seconds = Duration::from_secs_f64(wanted("SMSOTP_BENCH_SECONDS", 3) as f64);
    let rounds = wanted("SMSOTP_BENCH_SERVE_ROUNDS", 3);
    let asked: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wanted = |part: &str| asked.is_empty() || asked.iter().any(|word| word == part);
    let carrier = Carrier::start();
    let mut holds = Vec::new();
    if wanted("peers") {
        holds.extend(against_peers(&carrier, seconds, rounds));
    }
    if wanted("many") {
        holds.extend(many_connections(&carrier, seconds, rounds));
    }
    if wanted("one") {
        holds.push(one_connection(&carrier, rounds));
    }
    if wanted("group") {
        holds.extend(group_commit(seconds, rounds));
    }
    measure::verdict(&holds)
}

/// One round of one server: first sends, then as many verifications.
struct Round {
    send: Load,
    verify: Load,
    /// Processor time of a send and a verify, in milliseconds.
    pair_ms: f64,
    end: Used,
}

/// A server under load: the codes of phone after phone are sent, then shown.
struct Talk<'t> {
    server: &'t Server,
    carrier: &'t Carrier,
    next: u64,
}

impl<'t> Talk<'t> {
    /// With a warm-up, which nothing is told of.
    fn begin(server: &'t Server, carrier: &'t Carrier, connections: usize) -> Talk<'t> {
        carrier.forget();
        let mut talk = Talk { server, carrier, next: 0 };
        // Every worker of a peer loads its program at its first request.
        let (sent, _) = talk.sends(connections, Duration::from_millis(1500), 200);
        talk.verifies(connections, Duration::from_millis(1500), &sent);
        talk
    }

    /// Sends for some seconds, at most so many; the phones' numbers with the answers.
    fn sends(&mut self, connections: usize, most: Duration, count: u64) -> (Vec<(u64, String)>, Load) {
        let (server, end) = (self.server, self.next + count);
        let mut sent = Vec::new();
        let next = || {
            let nth = self.next;
            self.next += 1;
            (nth < end).then(|| (nth, server.send(phone(nth).as_str(), nth)))
        };
        let load = load::run(server.address, connections, most, next, |nth, body| sent.push((nth, body.to_owned())));
        (sent, load)
    }

    /// Verifies what was sent.
    fn verifies(&self, connections: usize, most: Duration, sent: &[(u64, String)]) -> Load {
        let mut sent = sent.iter();
        let next = || {
            let (nth, answer) = sent.next()?;
            let phone = phone(*nth);
            let code = self.carrier.code(phone.as_str()).unwrap();
            Some((*nth, self.server.verify(phone.as_str(), *nth, &code, answer)))
        };
        load::run(self.server.address, connections, most, next, |_, _| {})
    }

    fn round(&mut self, connections: usize, most: Duration) -> Round {
        let begin = self.server.used();
        let (sent, send) = self.sends(connections, most, u64::MAX / 2);
        let between = self.server.used();
        let verify = self.verifies(connections, most, &sent);
        let end = self.server.used();
        let each = |used: f64, load: &Load| used / load.times.len() as f64;
        let pair_ms = each(between.cpu_ms - begin.cpu_ms, &send) + each(end.cpu_ms - between.cpu_ms, &verify);
        Round { send, verify, pair_ms, end }
    }
}

fn show(name: &str, round: &Round) {
    let half = |load: &Load| {
        format!(
            "{:>6.0}/s p50 {:>6.2} p99 {:>7.2} ms",
            load.per_second(),
            load.times.median(),
            load.times.quantile(0.99)
        )
    };
    println!(
        "  {name:<20} send {}, verify {}, {:>6.3} CPU ms per pair, {:>6.1} MB (peak {:.1})",
        half(&round.send),
        half(&round.verify),
        round.pair_ms,
        round.end.pss_mb,
        round.end.peak_mb,
    );
    for (what, load) in [("sends", &round.send), ("verifications", &round.verify)] {
        if load.failed > 0 {
            println!(
                "  {name:<20} {} {what} failed: {}",
                load.failed,
                load.complaint.as_deref().unwrap_or_default().trim()
            );
        }
    }
}

/// 16 connections; ours and every peer in turns.
fn against_peers(carrier: &Carrier, most: Duration, rounds: u64) -> Vec<bool> {
    const CONNECTIONS: usize = 16;
    let installed = std::env::var_os("SMSOTP_BENCH_PEERS").map(PathBuf::from);
    let mut kinds = vec![Kind::Ours];
    for kind in PEERS {
        match installed.as_deref() {
            Some(dir) if kind.is_in(dir) => kinds.push(kind),
            Some(dir) => println!("{}: skipped, it is not installed in {}", kind.name(), dir.display()),
            None => {
                println!("{}: skipped, SMSOTP_BENCH_PEERS names no place (benches/peers/install.sh DIR)", kind.name());
            }
        }
    }
    println!("{CONNECTIONS} connections, each server with a new database in each round");
    let mut all: Vec<Vec<Round>> = kinds.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (kind, of) in kinds.iter().zip(&mut all) {
            let server = Server::start(*kind, carrier, installed.as_deref());
            let round = Talk::begin(&server, carrier, CONNECTIONS).round(CONNECTIONS, most);
            show(kind.name(), &round);
            of.push(round);
        }
    }
    let (ours, theirs) = all.split_first().unwrap();
    // Round by round against the best of that round.
    let against = |of: fn(&Round) -> f64, best: fn(f64, f64) -> f64| {
        let ratio = |nth: usize| {
            let peers = theirs.iter().map(|peer| of(&peer[nth])).reduce(best);
            of(&ours[nth]) / peers.unwrap_or(f64::NAN)
        };
        median_of((0..ours.len()).map(ratio).collect())
    };
    let mut holds = Vec::new();
    if theirs.len() == PEERS.len() {
        holds.extend([
            tell("sends/s / the best peer's", Goal::Least(8.0), against(|round| round.send.per_second(), f64::max)),
            tell(
                "verifies/s / the best peer's",
                Goal::Least(10.0),
                against(|round| round.verify.per_second(), f64::max),
            ),
            tell(
                "send p99 / the best peer's",
                Goal::Most(1.0),
                against(|round| round.send.times.quantile(0.99), f64::min),
            ),
            tell(
                "verify p99 / the best peer's",
                Goal::Most(1.0),
                against(|round| round.verify.times.quantile(0.99), f64::min),
            ),
        ]);
    }
    if let Some(django) = kinds.iter().position(|kind| *kind == Kind::Django) {
        let pair = |nth: usize| all[0][nth].pair_ms / all[django][nth].pair_ms;
        let ratios = (0..all[0].len()).map(pair).collect();
        holds.push(tell("CPU per pair / the Django application's", Goal::Most(0.1), median_of(ratios)));
    }
    let peak = all[0].iter().map(|round| round.end.peak_mb).fold(0.0, f64::max);
    holds.push(tell("peak resident memory, MB", Goal::Most(25.0), peak));
    let failed: u64 = all[0].iter().map(|round| round.send.failed + round.verify.failed).sum();
    holds.push(tell("requests that failed", Goal::Most(0.0), failed as f64));
    holds
}

/// 64 connections to ours.
fn many_connections(carrier: &Carrier, most: Duration, rounds: u64) -> Vec<bool> {
    const CONNECTIONS: usize = 64;
    println!("{CONNECTIONS} connections");
    let (mut p99, mut peak) = (Vec::new(), 0f64);
    for _ in 0..rounds {
        let server = Server::start(Kind::Ours, carrier, None);
        let round = Talk::begin(&server, carrier, CONNECTIONS).round(CONNECTIONS, most);
        show(Kind::Ours.name(), &round);
        p99.push(round.verify.times.quantile(0.99));
        peak = peak.max(round.end.peak_mb);
    }
    vec![
        tell("64 connections: verify p99, ms", Goal::Most(10.0), median_of(p99)),
        tell("64 connections: peak resident memory, MB", Goal::Most(25.0), peak),
    ]
}

/// One connection, in turns with raw durable commits of one row.
fn one_connection(carrier: &Carrier, rounds: u64) -> bool {
    const BLOCK: u64 = 200;
    println!("one connection, in turns with raw commits");
    let server = Server::start(Kind::Ours, carrier, None);
    let mut talk = Talk::begin(&server, carrier, 1);
    let dir = tempfile::tempdir_in(measure::directory()).unwrap();
    let raw = database::raw(&dir.path().join("raw.db"));
    raw.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    raw.execute_batch("CREATE TABLE rows (id INTEGER PRIMARY KEY, value TEXT)").unwrap();
    let (mut verified, mut committed, mut ratios) = (Times::default(), Times::default(), Vec::new());
    for _ in 0..rounds * 4 {
        let (sent, _) = talk.sends(1, Duration::from_secs(30), BLOCK);
        let mut block = Times::default();
        for _ in 0..BLOCK {
            let insert =
                || raw.prepare_cached("INSERT INTO rows (value) VALUES ('value')").unwrap().execute([]).unwrap();
            block.add(timed(insert).1);
        }
        let verify = talk.verifies(1, Duration::from_secs(30), &sent);
        ratios.push(verify.times.median() / block.median());
        verified.extend(&verify.times);
        committed.extend(&block);
    }
    println!(
        "  verify p50 {:.3} p99 {:.3} ms; raw commit p50 {:.3} p99 {:.3} ms",
        verified.median(),
        verified.quantile(0.99),
        committed.median(),
        committed.quantile(0.99)
    );
    tell("one connection: verify p50 / a raw durable commit", Goal::Most(2.5), median_of(ratios))
}

/// Operations of the engine, without HTTP: 64 callers who share commits, in turns with one after another.
fn group_commit(most: Duration, rounds: u64) -> Vec<bool> {
    const CALLERS: usize = 64;
    println!("operations of the engine without HTTP: {CALLERS} callers who share commits, and one after another");
    let threads = std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 4));
    let many = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap();
    let one = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let base = Database::of(1_000, &measure::directory());
    let (grouped_database, single_database) = (base.copy("serve-grouped"), base.copy("serve-single"));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let grouped =
        open_grouped(&grouped_database.path, &keyring(), Arc::clone(&clock), SqliteOptions::default()).unwrap();
    let (grouped, single) = (Operations::over(grouped), Operations::over(single_database.store(clock).into()));
    let (mut sends, mut verifies) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let [single_send, single_verify] = one.block_on(single.round(1, most / 2));
        let [grouped_send, grouped_verify] = many.block_on(grouped.round(CALLERS, most / 2));
        // The first round warms the caches.
        if round > 0 {
            println!(
                "  send {grouped_send:>6.0}/s and {single_send:>5.0}/s, verify {grouped_verify:>6.0}/s and {single_verify:>5.0}/s"
            );
            sends.push(grouped_send / single_send);
            verifies.push(grouped_verify / single_verify);
        }
    }
    drop((grouped, single));
    for made in [&grouped_database, &single_database] {
        database::remove(&made.path);
    }
    vec![
        tell("group commit, 64 callers / one by one: sends", Goal::Least(3.5), median_of(sends)),
        tell("group commit, 64 callers / one by one: verifications", Goal::Least(3.5), median_of(verifies)),
    ]
}

/// The engine over a store, and a provider in memory.
struct Operations {
    engine: Engine,
    kept: Arc<Kept>,
    next: Arc<Mutex<u64>>,
}

/// Takes every message at once and remembers the text to each phone.
#[derive(Default)]
struct Kept(Mutex<HashMap<String, String>>);

#[async_trait::async_trait]
impl Provider for Kept {
    fn name(&self) -> &'static str {
        "twilio"
    }

    async fn send(&self, message: &Outgoing) -> Delivery {
        use secrecy::ExposeSecret;
        let text = message.body.expose_secret().to_owned();
        self.0.lock().unwrap().insert(message.to.as_str().to_owned(), text);
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

impl Operations {
    fn over(store: Store) -> Operations {
        let mut policy = Policy::default();
        policy.limits.everything = Vec::new();
        let kept = Arc::new(Kept::default());
        let engine = Engine::new(store, keyring(), Arc::new(policy)).with_provider(kept.clone());
        // Phones that are in no database.
        Operations { engine, kept, next: Arc::new(Mutex::new(1_000_000)) }
    }

    /// Sends and verifications per second.
    async fn round(&self, callers: usize, most: Duration) -> [f64; 2] {
        let (begun, first) = (Instant::now(), *self.next.lock().unwrap());
        let all = (0..callers).map(|_| {
            let (engine, next) = (self.engine.clone(), Arc::clone(&self.next));
            tokio::spawn(async move {
                while begun.elapsed() < most {
                    let nth = take(&next);
                    send(&engine, nth).await;
                }
            })
        });
        futures_util::future::join_all(all).await;
        let (took, end) = (begun.elapsed(), *self.next.lock().unwrap());
        let sends = (end - first) as f64 / took.as_secs_f64();

        let (begun, next) = (Instant::now(), Arc::new(Mutex::new(first)));
        let all = (0..callers).map(|_| {
            let (engine, kept, next) = (self.engine.clone(), Arc::clone(&self.kept), Arc::clone(&next));
            tokio::spawn(async move {
                let mut done = 0u64;
                while begun.elapsed() < most {
                    let nth = take(&next);
                    if nth >= end {
                        break;
                    }
                    verify(&engine, &kept, nth).await;
                    done += 1;
                }
                done
            })
        });
        let done: u64 = futures_util::future::join_all(all).await.into_iter().map(Result::unwrap).sum();
        [sends, done as f64 / begun.elapsed().as_secs_f64()]
    }
}

fn take(next: &Mutex<u64>) -> u64 {
    let mut next = next.lock().unwrap();
    *next += 1;
    *next - 1
}

async fn send(engine: &Engine, nth: u64) {
    let answer = engine.send(&Caller::new(Actor::System), database::ask(nth)).await.unwrap();
    assert!(matches!(answer, SendAnswer::Sent(_)), "{answer:?}");
}

async fn verify(engine: &Engine, kept: &Kept, nth: u64) {
    let phone = phone(nth);
    let code = carrier::code_in(&kept.0.lock().unwrap()[phone.as_str()]).unwrap().to_owned();
    let ask = VerifyOtp {
        phone,
        purpose: Purpose::parse("login").unwrap(),
        user: user(nth),
        code: Code::parse(&code).unwrap(),
        idempotency_key: None,
    };
    let verdict = engine.verify(&Caller::new(Actor::System), ask).await.unwrap();
    assert_eq!(verdict.verdict, Verdict::Verified);
}
