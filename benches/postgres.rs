//! Engine operations on PostgreSQL against pgbench, which writes the same rows to the same tables and indexes in the same run.
//!
//! `cargo bench --profile dist --bench postgres -- [--seconds N] [--clients 1,16,64] [--connections N] [--rows N] [--only send,verify,one,rows,purge]`
//! Prints operations per second, pgbench's transactions for the same operation, and the ratio. Server and clients shard the machine.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, missing_docs, dead_code)]

#[path = "../tests/it/pg.rs"]
mod pg;

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use smsotp::audit::Actor;
use smsotp::clock::{SystemClock, Timestamp};
use smsotp::code::Code;
use smsotp::engine::{Caller, Destination, Engine, Purge, SendAnswer, SendOtp, Verdict, VerifyOtp};
use smsotp::error::Result;
use smsotp::keys::{Keyring, SecretKey};
use smsotp::limits::Window;
use smsotp::otp::User;
use smsotp::phone::{self, Phone};
use smsotp::policy::Policy;
use smsotp::provider::{Delivery, Outgoing, Provider, RemoteMessage};
use smsotp::purpose::Purpose;
use smsotp::store::postgres::{Postgres, PostgresOptions};
use smsotp::template::Endings;

/// Takes every message at once: what is measured is the database.
struct Instantly(AtomicU64);

#[async_trait]
impl Provider for Instantly {
    fn name(&self) -> &'static str {
        "twilio"
    }
    async fn send(&self, _: &Outgoing) -> Delivery {
        let nth = self.0.fetch_add(1, Ordering::Relaxed);
        Delivery::Accepted { provider_id: format!("SM{nth:032x}"), state: smsotp::message::State::Accepted }
    }
    async fn fetch(&self, _: &str) -> Result<Option<RemoteMessage>> {
        Ok(None)
    }
    async fn find(&self, _: &Phone, _: Timestamp) -> Result<Option<Vec<RemoteMessage>>> {
        Ok(None)
    }
}

struct Bench {
    url: String,
    server: u32,
    seconds: u64,
    runtime: tokio::runtime::Runtime,
    ring: Arc<Keyring>,
    next_phone: Arc<AtomicI64>,
}

fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args();
    arguments.find(|argument| argument == name)?;
    arguments.next()
}

fn main() {
    let settings = [
        "-c",
        "shared_buffers=512MB",
        "-c",
        "max_wal_size=4GB",
        "-c",
        "max_connections=300",
        "-c",
        "checkpoint_timeout=30min",
    ];
    let cluster = match pg::Cluster::start(&settings) {
        Ok(cluster) => cluster,
        Err(why) => return println!("not run: {why}"),
    };
    pg::run_on(&cluster.url("postgres"), "CREATE DATABASE database");
    let ring = Arc::new(Keyring::new(vec![SecretKey::generate().unwrap()]).unwrap());
    let bench = Bench {
        url: cluster.url("database"),
        server: cluster.pid(),
        seconds: argument("--seconds").map_or(5, |n| n.parse().unwrap()),
        runtime: tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap(),
        ring,
        next_phone: Arc::new(AtomicI64::new(0)),
    };
    bench.runtime.block_on(Postgres::migrate(&bench.url, &bench.ring, Arc::new(SystemClock))).unwrap();
    // What only the floor needs: numbers for its audit rows, and its row of everything.
    pg::run_on(&bench.url, "CREATE SEQUENCE bench_audit START 1000000000");
    pg::run_on(
        &bench.url,
        "INSERT INTO smsotp.subjects SELECT sha256('everything'), substr(sha256('everything'), 1, 16), 'everything', 'everything', '{}', NULL",
    );
    let only = argument("--only").unwrap_or_else(|| "send,one,rows,purge".into());
    let clients: Vec<usize> =
        argument("--clients").unwrap_or_else(|| "1,16,64".into()).split(',').map(|n| n.parse().unwrap()).collect();
    if only.contains("send") || only.contains("verify") {
        println!(
            "{:>8} {:>8} {:>10} {:>10} {:>7} {:>12} {:>12} {:>12}",
            "operation", "clients", "engine/s", "pgbench/s", "ratio", "ms client", "ms server", "ms s. floor"
        );
        for clients in &clients {
            bench.compare(*clients);
        }
    }
    if only.contains("one") {
        bench.one_phone();
    }
    if only.contains("rows") {
        bench.growing(argument("--rows").map_or(1_000_000, |n| n.parse().unwrap()));
    }
    if only.contains("purge") {
        bench.purge();
    }
}

impl Bench {
    fn engine(&self, connections: usize) -> Engine {
        let opening = PostgresOptions { connections, ..PostgresOptions::default() };
        let store =
            self.runtime.block_on(Postgres::open(&self.url, &self.ring, Arc::new(SystemClock), opening)).unwrap();
        let mut policy = Policy::default();
        policy.limits.everything = vec![Window::new(1_000_000_000, 3600), Window::new(1_000_000_000, 86_400)];
        policy.limits.cooldown = Vec::new();
        Engine::new(Arc::new(store), Arc::clone(&self.ring), Arc::new(policy))
            .with_provider(Arc::new(Instantly(AtomicU64::new(0))))
    }

    /// Sends and verifies with so many clients, engine and pgbench in turns.
    ///
    /// As it comes, a process has a few connections, and its callers wait for one. `--connections N` gives it more.
    fn compare(&self, clients: usize) {
        let most = argument("--connections").map_or(PostgresOptions::default().connections, |n| n.parse().unwrap());
        let engine = self.engine(clients.min(most));
        let (mut ours, mut floors) = ([Run::default(), Run::default()], [Run::default(), Run::default()]);
        for _ in 0..2 {
            let mut otps = Vec::new();
            self.measured(&mut ours[0], || {
                let (rate, made) = self.sends(&engine, clients);
                otps = made;
                rate
            });
            let codes = self.codes(&engine, &otps);
            self.measured(&mut ours[1], || self.verifies(&engine, clients, &codes));
            self.measured(&mut floors[0], || self.pgbench(clients, &floor_send()));
            self.measured(&mut floors[1], || self.floor_verify(clients));
        }
        for (operation, (ours, floor)) in ["send", "verify"].iter().zip(ours.iter().zip(&floors)) {
            println!(
                "{operation:>8} {clients:>8} {:>10.0} {:>10.0} {:>7.2} {:>12.2} {:>12.2} {:>12.2}",
                ours.rate(),
                floor.rate(),
                ours.rate() / floor.rate(),
                ours.client(),
                ours.server(),
                floor.server()
            );
        }
    }

    fn measured(&self, run: &mut Run, work: impl FnOnce() -> f64) {
        let (client, server, begun) = (own_cpu(), server_cpu(self.server), Instant::now());
        let rate = work();
        let operations = rate * begun.elapsed().as_secs_f64();
        run.rates.push(rate);
        run.operations += operations;
        run.client_ms += own_cpu() - client;
        run.server_ms += server_cpu(self.server) - server;
    }

    fn codes(&self, engine: &Engine, otps: &[(String, i64)]) -> Arc<Vec<(String, Code)>> {
        let mut codes = Vec::with_capacity(otps.len());
        for some in otps.chunks(64) {
            let found = futures_util::future::join_all(some.iter().map(|(_, id)| engine.reads().otp(*id)));
            for ((phone, _), otp) in some.iter().zip(self.runtime.block_on(found)) {
                codes.push((phone.clone(), code_of(&self.ring, &otp.unwrap().unwrap())));
            }
        }
        Arc::new(codes)
    }

    fn sends(&self, engine: &Engine, clients: usize) -> (f64, Vec<(String, i64)>) {
        let until = Instant::now() + Duration::from_secs(self.seconds);
        let begun = Instant::now();
        let all = self.runtime.block_on(async {
            let tasks: Vec<_> = (0..clients)
                .map(|_| {
                    let (engine, next) = (engine.clone(), Arc::clone(&self.next_phone));
                    tokio::spawn(async move {
                        let mut sent = Vec::new();
                        while Instant::now() < until {
                            let phone = phone(next.fetch_add(1, Ordering::Relaxed));
                            match engine.send(&caller(), ask(&phone)).await.unwrap() {
                                SendAnswer::Sent(answer) => sent.push((phone, answer.otp_id)),
                                SendAnswer::Refused(refusal) => panic!("{refusal:?}"),
                            }
                        }
                        sent
                    })
                })
                .collect();
            let mut all = Vec::new();
            for task in tasks {
                all.extend(task.await.unwrap());
            }
            all
        });
        (all.len() as f64 / begun.elapsed().as_secs_f64(), all)
    }

    /// Verifies each otp once, with its right code.
    fn verifies(&self, engine: &Engine, clients: usize, codes: &Arc<Vec<(String, Code)>>) -> f64 {
        let next = Arc::new(AtomicU64::new(0));
        let until = Instant::now() + Duration::from_secs(self.seconds);
        let begun = Instant::now();
        let done: usize = self.runtime.block_on(async {
            let tasks: Vec<_> = (0..clients)
                .map(|_| {
                    let (engine, codes, next) = (engine.clone(), Arc::clone(codes), Arc::clone(&next));
                    tokio::spawn(async move {
                        let mut done = 0;
                        while Instant::now() < until {
                            let nth = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap();
                            let Some((phone, code)) = codes.get(nth) else { break };
                            assert_eq!(verify(&engine, phone, code.clone()).await, Verdict::Verified);
                            done += 1;
                        }
                        done
                    })
                })
                .collect();
            let mut done = 0;
            for task in tasks {
                done += task.await.unwrap();
            }
            done
        });
        done as f64 / begun.elapsed().as_secs_f64()
    }

    fn pgbench(&self, clients: usize, script: &str) -> f64 {
        let program = pg::bin("pgbench").expect("pgbench is needed (on Debian: postgresql-contrib)");
        let file: PathBuf = std::env::temp_dir().join(format!("smsotp-bench-{}.sql", std::process::id()));
        std::fs::write(&file, script).unwrap();
        let done = Command::new(program)
            .args([
                "-n",
                "-M",
                "prepared",
                "-c",
                &clients.to_string(),
                "-j",
                "2",
                "-T",
                &self.seconds.to_string(),
                "-f",
            ])
            .arg(&file)
            .arg(&self.url)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success() && !text.contains("aborted"), "{text}{}", String::from_utf8_lossy(&done.stderr));
        let _ = std::fs::remove_file(&file);
        let line = text.lines().find(|line| line.starts_with("tps")).unwrap();
        line.split_whitespace().nth(2).unwrap().parse().unwrap()
    }

    /// The floor's otps are those that its sends made.
    fn floor_verify(&self, clients: usize) -> f64 {
        pg::run_on(&self.url, "DROP SEQUENCE IF EXISTS bench_verify");
        let first =
            pg::try_on(&self.url, "SELECT min(id) FROM smsotp.otps WHERE state = 'active' AND \"user\" LIKE 'f%'")
                .unwrap();
        pg::run_on(&self.url, &format!("CREATE SEQUENCE bench_verify START {}", first[0]));
        self.pgbench(clients, FLOOR_VERIFY)
    }

    /// Operations of one phone wait for each other; operations of different phones do not.
    fn one_phone(&self) {
        let engine = self.engine(16);
        let run = |distinct: bool| {
            let until = Instant::now() + Duration::from_secs(self.seconds);
            let begun = Instant::now();
            let done: u64 = self.runtime.block_on(async {
                let tasks: Vec<_> = (0..16)
                    .map(|task: i64| {
                        let engine = engine.clone();
                        tokio::spawn(async move {
                            let mut done = 0;
                            while Instant::now() < until {
                                let phone = phone(if distinct { 9_000_000 + task } else { 9_100_000 });
                                verify(&engine, &phone, Code::parse("000000").unwrap()).await;
                                done += 1;
                            }
                            done
                        })
                    })
                    .collect();
                let mut done = 0;
                for task in tasks {
                    done += task.await.unwrap();
                }
                done
            });
            done as f64 / begun.elapsed().as_secs_f64()
        };
        let (many, one) = (run(true), run(false));
        println!("16 clients verify: 16 phones {many:.0}/s, one phone {one:.0}/s, ratio {:.1}", many / one);
    }

    /// The time of one operation in small and in large database.
    fn growing(&self, rows: i64) {
        let engine = self.engine(1);
        let median = |engine: &Engine| {
            let mut sends = Vec::new();
            let mut verifies = Vec::new();
            for _ in 0..400 {
                let phone = phone(self.next_phone.fetch_add(1, Ordering::Relaxed));
                let begun = Instant::now();
                self.runtime.block_on(engine.send(&caller(), ask(&phone))).unwrap();
                sends.push(begun.elapsed());
                let begun = Instant::now();
                self.runtime.block_on(verify(engine, &phone, Code::parse("000000").unwrap()));
                verifies.push(begun.elapsed());
            }
            sends.sort_unstable();
            verifies.sort_unstable();
            (sends[200], verifies[200])
        };
        pg::run_on(&self.url, "VACUUM ANALYZE");
        let small = median(&engine);
        pg::run_on(&self.url, &fill(rows));
        pg::run_on(&self.url, "VACUUM ANALYZE");
        let large = median(&engine);
        // The first change of a page after a checkpoint writes the whole page to the log; large database has more pages.
        pg::run_on(&self.url, "CHECKPOINT");
        let after = median(&engine);
        let ratio = |a: Duration, b: Duration| b.as_secs_f64() / a.as_secs_f64();
        println!(
            "p50 of send: {:?} small, {:?} with {rows} rows more per table, ratio {:.2}; just after a checkpoint {:?}",
            small.0,
            large.0,
            ratio(small.0, large.0),
            after.0
        );
        println!(
            "p50 of verify: {:?} small, {:?} with {rows} rows more per table, ratio {:.2}; just after a checkpoint {:?}",
            small.1,
            large.1,
            ratio(small.1, large.1),
            after.1
        );
    }

    /// Purges what is over beside senders, three times over: the tables stop growing.
    fn purge(&self) {
        let engine = self.engine(8);
        let size = || {
            pg::try_on(
                &self.url,
                "SELECT pg_total_relation_size('smsotp.otps') + pg_total_relation_size('smsotp.messages')",
            )
            .unwrap()[0]
                .clone()
        };
        for round in 1..=3 {
            pg::run_on(&self.url, &fill_over(50_000));
            let before = size();
            let how =
                Purge { older_than: Some(Duration::ZERO), dry_run: false, exclusive: false, scrub: false, batch: None };
            let begun = Instant::now();
            let purger = engine.clone();
            let purge = self.runtime.spawn(async move { purger.purge(&caller(), &how, |_| true).await.unwrap() });
            let mut waits = Vec::new();
            while !purge.is_finished() {
                let phone = phone(self.next_phone.fetch_add(1, Ordering::Relaxed));
                let begun = Instant::now();
                self.runtime.block_on(engine.send(&caller(), ask(&phone))).unwrap();
                waits.push(begun.elapsed());
            }
            let report = self.runtime.block_on(purge).unwrap();
            waits.sort_unstable();
            let p99 = waits[waits.len() * 99 / 100];
            println!(
                "purge round {round}: {} otps in {:?} ({} batches), sends beside it p50 {:?} p99 {p99:?} max {:?}, bytes {before}",
                report.purged.otps,
                begun.elapsed(),
                report.batches,
                waits[waits.len() / 2],
                waits[waits.len() - 1],
            );
            // What autovacuum does within a minute.
            pg::run_on(&self.url, "VACUUM smsotp.otps");
            pg::run_on(&self.url, "VACUUM smsotp.messages");
        }
    }
}

/// What several runs of one operation took.
#[derive(Default)]
struct Run {
    rates: Vec<f64>,
    operations: f64,
    client_ms: f64,
    server_ms: f64,
}

impl Run {
    fn rate(&self) -> f64 {
        mean(&self.rates)
    }
    /// Processor time per operation: it tells the same on a machine that does other things as well.
    fn client(&self) -> f64 {
        self.client_ms / self.operations
    }
    fn server(&self) -> f64 {
        self.server_ms / self.operations
    }
}

fn ticks(stat: &str, fields: std::ops::Range<usize>) -> f64 {
    let rest: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    // A tick is a hundredth of a second on Linux.
    rest.get(fields).unwrap_or_default().iter().filter_map(|n| n.parse::<f64>().ok()).sum::<f64>() * 10.0
}

fn own_cpu() -> f64 {
    ticks(&std::fs::read_to_string("/proc/self/stat").unwrap_or_default(), 11..13)
}

/// The server with all its processes, those that ended included.
fn server_cpu(server: u32) -> f64 {
    let stat = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    ticks(&stat(server), 11..15) + pg::children(server).into_iter().map(|pid| ticks(&stat(pid), 11..13)).sum::<f64>()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn phone(nth: i64) -> String {
    format!(
        "+1{}{:07}",
        ["415", "212", "312", "206", "303"][usize::try_from(nth / 9_000_000).unwrap() % 5],
        2_000_000 + nth % 7_000_000
    )
}

fn caller() -> Caller {
    Caller::new(Actor::System)
}

fn ask(phone: &str) -> SendOtp {
    SendOtp {
        to: Destination::Known(phone::parse(phone, None).unwrap()),
        purpose: Purpose::parse("login").unwrap(),
        user: User::parse(phone).unwrap(),
        new_code: false,
        challenge_passed: false,
        override_limits: None,
        idempotency_key: None,
        endings: Endings::default(),
        locale: None,
        segments_max: None,
        timeout: Duration::from_secs(45),
    }
}

async fn verify(engine: &Engine, phone: &str, code: Code) -> Verdict {
    let ask = VerifyOtp {
        phone: Phone::from_e164(phone).unwrap(),
        purpose: Purpose::parse("login").unwrap(),
        user: User::parse(phone).unwrap(),
        code,
        idempotency_key: None,
    };
    engine.verify(&caller(), ask).await.unwrap().verdict
}

fn code_of(ring: &Keyring, otp: &smsotp::otp::Otp) -> Code {
    let key = ring.get(&otp.key_id).unwrap();
    let binding = smsotp::code::Binding {
        nonce: &otp.nonce,
        phone: otp.phone.as_str(),
        purpose: otp.purpose.as_str(),
        user: otp.user.as_str(),
    };
    smsotp::code::derive(key.code_key(), &binding, otp.digits)
}

const USAGE: &str =
    r#"{"sends":[[1763836000000]],"purposes":{"login":{"asked":[1763836000000]}},"seen":1763836000000}"#;
const BODY: &str = r#"{"action":"send","actor":"system","at":1763836000000,"details":{"how":"new","message":123456,"otp":123456,"purpose":"login"},"outcome":"reserved","subjects":["00112233445566778899aabbccddeeff","00112233445566778899aabbccddeeff"]}"#;

/// The rows of a send: two transactions, as the engine has them.
fn floor_send() -> String {
    format!(
        r#"BEGIN;
SELECT nextval('smsotp.otp_ids') AS otp, nextval('smsotp.message_ids') AS message, nextval('bench_audit') AS seq \gset
INSERT INTO smsotp.subjects (tag, id, kind, masked, usage, idle_at) VALUES
 (sha256(('p' || :otp)::bytea), substr(sha256(('q' || :otp)::bytea), 1, 16), 'phone', '+1415•••2671', '{{}}', 1763924400000),
 (sha256(('r' || :otp)::bytea), substr(sha256(('s' || :otp)::bytea), 1, 16), 'pair', '+1415•••2671', '{{}}', 1763924400000),
 (sha256(('t' || :otp)::bytea), substr(sha256(('u' || :otp)::bytea), 1, 16), 'user', 'floor', '{{}}', 1763924400000);
SELECT usage FROM smsotp.subjects WHERE tag = sha256('everything') FOR UPDATE;
INSERT INTO smsotp.otps (id, "user", phone_number, purpose, nonce, key_id, digits, created_at, expires_at, state)
 VALUES (:otp, 'f' || :otp, '+1415' || lpad((:otp)::text, 7, '0'), 'login', '\x00112233445566778899aabbccddeeff', '0011223344', 6, 1763836000000, 1763836600000, 'active');
INSERT INTO smsotp.messages (id, otp_id, phone_number, provider, state, segments, attempts, reserved_at, attempt_at, due_at, updated_at)
 VALUES (:message, :otp, '+1415' || lpad((:otp)::text, 7, '0'), 'twilio', 'sending', 1, 1, 1763836000000, 1763836000000, 1763836060000, 1763836000000);
UPDATE smsotp.subjects SET usage = '{USAGE}' WHERE tag IN (sha256(('p' || :otp)::bytea), sha256(('t' || :otp)::bytea), sha256('everything'));
INSERT INTO smsotp.audit (chain, seq, body, mac, operation) VALUES (100 + :otp % 16, :seq, '{BODY}', sha256((:seq)::text::bytea), '\x00112233445566778899aabbccddeeff');
COMMIT;
BEGIN;
SELECT usage FROM smsotp.subjects WHERE tag IN (sha256(('p' || :otp)::bytea), sha256(('t' || :otp)::bytea)) FOR UPDATE;
UPDATE smsotp.messages SET state = 'accepted', provider_id = 'SM00112233445566778899aabbccddeeff', due_at = NULL, updated_at = 1763836000500 WHERE id = :message;
INSERT INTO smsotp.audit (chain, seq, body, mac, operation) VALUES (100 + :otp % 16, nextval('bench_audit'), '{BODY}', sha256((:seq)::text::bytea), '\x00112233445566778899aabbccddeeff');
COMMIT;
"#
    )
}

/// The rows of a verification that succeeds.
const FLOOR_VERIFY: &str = r#"BEGIN;
SELECT nextval('bench_verify') AS otp, nextval('bench_audit') AS seq \gset
SELECT usage FROM smsotp.subjects WHERE tag IN (sha256(('p' || :otp)::bytea), sha256(('r' || :otp)::bytea)) FOR UPDATE;
UPDATE smsotp.otps SET state = 'verified', ended_at = 1763836100000 WHERE id = :otp AND state = 'active';
UPDATE smsotp.subjects SET usage = '{"sends":[[1763836000000]],"seen":1763836100000}' WHERE tag IN (sha256(('p' || :otp)::bytea), sha256(('r' || :otp)::bytea));
INSERT INTO smsotp.audit (chain, seq, body, mac, operation) VALUES (100 + :otp % 16, :seq, '{"action":"verify","actor":"system","at":1763836000000,"details":{"otp":123456,"purpose":"login"},"outcome":"verified","subjects":["00112233445566778899aabbccddeeff"]}', sha256((:seq)::text::bytea), '\x00112233445566778899aabbccddeeff');
COMMIT;
"#;

/// Database that have seen much: finished otps with their messages, subjects, audit rows.
fn fill(rows: i64) -> String {
    format!(
        "INSERT INTO smsotp.otps (id, \"user\", phone_number, purpose, nonce, key_id, digits, created_at, expires_at, state, ended_at) \
         SELECT nextval('smsotp.otp_ids'), 'o' || n, '+1650' || lpad(n::text, 8, '0'), 'login', substr(sha256(n::text::bytea), 1, 16), '00112233', 6, \
         1763836000000 + n, 1763836600000 + n, 'verified', 1763836100000 + n FROM generate_series(1, {rows}) AS n; \
         INSERT INTO smsotp.messages (id, otp_id, phone_number, provider, state, segments, attempts, reserved_at, updated_at) \
         SELECT nextval('smsotp.message_ids'), id, phone_number, 'twilio', 'delivered', 1, 1, created_at, created_at FROM smsotp.otps WHERE \"user\" LIKE 'o%'; \
         INSERT INTO smsotp.subjects (tag, id, kind, masked, usage, idle_at) SELECT sha256(('o' || n)::bytea), substr(sha256(('i' || n)::bytea), 1, 16), \
         'phone', '+1650•••0000', '{USAGE}', 1763924400000 FROM generate_series(1, {rows}) AS n; \
         INSERT INTO smsotp.audit (chain, seq, body, mac, operation) SELECT 200 + n % 4, n, '{BODY}', sha256(n::text::bytea), substr(sha256(n::text::bytea), 1, 16) \
         FROM generate_series(1, {rows}) AS n"
    )
}

/// Otps that are over, each with its message.
fn fill_over(rows: i64) -> String {
    format!(
        "WITH made AS (INSERT INTO smsotp.otps (id, \"user\", phone_number, purpose, nonce, key_id, digits, created_at, expires_at, state, ended_at) \
         SELECT nextval('smsotp.otp_ids'), '', '+1650' || lpad(n::text, 8, '0'), 'login', substr(sha256(n::text::bytea), 1, 16), '00112233', 6, \
         1700000000000 + n, 1700000600000 + n, 'verified', 1700000100000 + n FROM generate_series(1, {rows}) AS n RETURNING id, phone_number, created_at) \
         INSERT INTO smsotp.messages (id, otp_id, phone_number, provider, state, segments, attempts, reserved_at, updated_at) \
         SELECT nextval('smsotp.message_ids'), id, phone_number, 'twilio', 'delivered', 1, 1, created_at, created_at FROM made"
    )
}
