//! Processes of a story: this test binary starts itself again, many times over, holds every copy at a barrier, and lets them go
//! at once.
//!
//! A copy reads what it has to do as one line of JSON on its standard input, says that it is ready, waits for a second line, does
//! it, and says what came of it.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use smsotp::clock::{Clock, Timestamp};
use smsotp::code::Code;
use smsotp::engine::{Dispatch, Engine, Purge, SendAnswer, SendOtp, Sent, Step, Verdict, VerifyOtp};
use smsotp::error::Result;
use smsotp::limits::{Limits, Window};
use smsotp::otp::User;
use smsotp::phone::Phone;
use smsotp::policy::Policy;
use smsotp::provider::twilio::Timeouts;

use crate::stores::{self, Database};
use crate::world::{StillClock, World, ask, block_on, caller, client, keyring, login, twilio, unguarded, unlimited};

/// What makes a copy of this binary a child of a story.
const ROLE: &str = "SMSOTP_TEST_ROLE";

/// What a child is to do, in a world that is not its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    pub operations: Vec<Operation>,
    pub db: PathBuf,
    /// The URL where the database is in PostgreSQL.
    pub url: Option<String>,
    /// The SQLite file is written through the group writer.
    pub grouped: bool,
    pub keys: Vec<String>,
    /// When the story began, and what its clock says now.
    pub begun: i64,
    pub now: i64,
    pub env: Vec<(String, String)>,
    pub limits: Knobs,
    /// The child kills itself (SIGKILL) when it meets this step for the so-many-th time, counted from 1.
    pub die_at: Option<(String, u32)>,
    /// Open the database only after the barrier.
    pub open_late: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Operation {
    Open,
    Send { phone: String, user: String, ip: Option<String>, key: Option<String> },
    Verify { phone: String, user: String, code: String },
    Dispatch,
    Purge { older_than: u64 },
    Raise { about: String },
}

/// Every limit that a story of processes needs; what is not named limits nothing.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Knobs {
    pub phone: Option<(u32, u64)>,
    pub user: Option<(u32, u64)>,
    pub ip: Option<(u32, u64)>,
    pub everything: Option<(u32, u64)>,
    pub cooldown: Vec<u64>,
    /// With the guard as it comes; without it its caps and its detector refuse nothing.
    pub guard: bool,
    /// The most that an hour and a day may cost, in millionths of a US dollar.
    pub ceiling: Option<i64>,
}

impl Knobs {
    pub fn limits(&self) -> Limits {
        let list = |knob: &Option<(u32, u64)>| knob.iter().map(|(max, per)| Window::new(*max, *per)).collect();
        Limits {
            phone: list(&self.phone),
            user: list(&self.user),
            ip: list(&self.ip),
            everything: list(&self.everything),
            cooldown: self.cooldown.iter().copied().map(Duration::from_secs).collect(),
            ..unlimited()
        }
    }
}

impl Job {
    pub fn new(world: &World, operations: Vec<Operation>) -> Job {
        Job {
            operations,
            db: world.db(),
            url: None,
            grouped: false,
            keys: world.keys.clone(),
            begun: world.clock.begun().millis(),
            now: world.now().millis(),
            env: world.sandbox.env(),
            limits: Knobs::default(),
            die_at: None,
            open_late: false,
        }
    }

    /// The same on a database of any kind.
    pub fn on(database: &Database, operations: Vec<Operation>) -> Job {
        Job { url: database.url.clone(), grouped: database.grouped, ..Job::new(database, operations) }
    }

    /// The engine of a child, with so many connections where the database is in PostgreSQL.
    pub async fn engine(&self, connections: usize) -> Result<Engine> {
        let clock: Arc<dyn Clock> = Arc::new(StillClock::new(Timestamp(self.begun), Timestamp(self.now)));
        let ring = Arc::new(keyring(&self.keys));
        let place = (self.db.as_path(), self.grouped);
        let store = stores::open(self.url.as_deref(), place, &ring, Arc::clone(&clock), connections).await?;
        let mut policy = if self.limits.guard { Policy::default() } else { unguarded() };
        let ceiling = self.limits.ceiling.map(smsotp::money::Money);
        (policy.guard.ceilings.hour, policy.guard.ceilings.day) = (ceiling, ceiling);
        let policy = Policy { limits: self.limits.limits(), ..policy };
        let provider = Arc::new(twilio(&self.env, Timeouts::default(), clock));
        let engine = Engine::new(store, ring, Arc::new(policy)).with_provider(provider);
        let Some((step, times)) = self.die_at.clone() else { return Ok(engine) };
        let met = Mutex::new(0);
        Ok(engine.on_step(move |now| {
            let mut met = met.lock().unwrap();
            *met += u32::from(step == format!("{now:?}") || step == "any");
            if *met == times {
                die();
            }
        }))
    }

    async fn run(&self, engine: &Engine, operation: &Operation) -> Result<Said> {
        Ok(match operation {
            Operation::Open => {
                let status = engine.status().await?;
                let heads = engine.reads().audit_heads().await?;
                Said::Opened {
                    tag: hex(&engine.store().operations.keys().index.tag("phone", b"x")),
                    schema: status.schema.0,
                    heads: heads.len(),
                }
            }
            Operation::Send { phone, user, ip, key } => {
                let ask = SendOtp { user: User::parse(user).unwrap(), idempotency_key: key.clone(), ..ask(phone) };
                let caller = ip.as_deref().map_or_else(caller, client);
                match engine.send(&caller, ask).await? {
                    SendAnswer::Sent(sent) => Said::Sent(sent),
                    SendAnswer::Refused(refusal) => Said::Refused(refusal.code.name.to_owned()),
                }
            }
            Operation::Verify { phone, user, code } => {
                let ask = VerifyOtp {
                    phone: Phone::from_e164(phone).unwrap(),
                    purpose: login(),
                    user: User::parse(user).unwrap(),
                    code: Code::parse(code).unwrap(),
                    idempotency_key: None,
                };
                let answer = engine.verify(&caller(), ask).await?;
                let word = answer.verdict.code().map_or("verified", |code| code.name).to_owned();
                let evaluated = matches!(answer.verdict, Verdict::WrongCode { .. });
                Said::Verdict { word, otp: answer.otp_id, evaluated }
            }
            Operation::Dispatch => {
                let done = engine.dispatch(&caller(), Dispatch { limit: 100, early: false }, |_, _| ()).await?;
                Said::Dispatched { sent: done.sent, found: done.found }
            }
            Operation::Raise { about } => {
                let raised = crate::alarming::raised(smsotp::alarm::AlarmKind::Detector, about);
                crate::alarming::raise(engine.store(), vec![raised]).await;
                Said::Raised
            }
            Operation::Purge { older_than } => {
                let older_than = Some(Duration::from_secs(*older_than));
                let how = Purge { older_than, dry_run: false, exclusive: false, batch: None, scrub: false };
                let report = engine.purge(&caller(), &how, |_| true).await?;
                Said::Purged { otps: report.purged.otps, subjects: report.purged.subjects }
            }
        })
    }
}

/// What came of an operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Said {
    Opened { tag: String, schema: u32, heads: usize },
    Sent(Box<Sent>),
    Refused(String),
    Verdict { word: String, otp: Option<i64>, evaluated: bool },
    Dispatched { sent: u32, found: u32 },
    Purged { otps: u64, subjects: u64 },
    Raised,
    Error { code: String, message: String },
}

/// Children at the barrier. Only one crew at a time: a machine with two cores has enough to do with it.
pub struct Crew {
    children: Vec<(Child, ChildStdin, BufReader<ChildStdout>)>,
    _alone: MutexGuard<'static, ()>,
}

/// What is left of a child.
#[derive(Debug)]
pub struct Left {
    pub said: Vec<Said>,
    /// It ended by itself, and well.
    pub well: bool,
}

impl Crew {
    /// Starts a child for each job and waits until all of them stand at the barrier.
    pub fn at_the_barrier(jobs: &[Job]) -> Crew {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut children: Vec<_> = jobs.iter().map(start).collect();
        for (_, _, out) in &mut children {
            let word = next_word(out);
            assert_eq!(word.as_deref(), Some("READY"), "a child did not come to the barrier");
        }
        Crew { children, _alone: alone }
    }

    /// Lets all of them go and waits for what they say.
    pub fn go(mut self) -> Vec<Left> {
        for (_, stdin, _) in &mut self.children {
            writeln!(stdin, "GO").unwrap();
        }
        let mut left = Vec::new();
        for (mut child, stdin, mut out) in self.children {
            drop(stdin);
            let mut said = Vec::new();
            while let Some(word) = next_word(&mut out) {
                said.push(serde_json::from_str(&word).unwrap());
            }
            left.push(Left { said, well: child.wait().unwrap().success() });
        }
        left
    }

    /// Lets all of them go, and kills each after so long.
    pub fn go_and_kill(mut self, after: &[Duration]) -> Vec<Left> {
        for (_, stdin, _) in &mut self.children {
            writeln!(stdin, "GO").unwrap();
        }
        let mut order: Vec<usize> = (0..self.children.len()).collect();
        order.sort_by_key(|n| after[*n]);
        let begun = std::time::Instant::now();
        for n in order {
            std::thread::sleep(after[n].saturating_sub(begun.elapsed()));
            let _ = self.children[n].0.kill();
        }
        let mut left = Vec::new();
        for (mut child, stdin, mut out) in self.children {
            drop(stdin);
            let mut said = Vec::new();
            while let Some(word) = next_word(&mut out) {
                // The last line of a killed child may be half a line.
                said.extend(serde_json::from_str::<Said>(&word));
            }
            left.push(Left { said, well: child.wait().unwrap().success() });
        }
        left
    }
}

/// Starts one child for each job, lets them go together, and answers the first thing that each of them said.
pub fn together(jobs: &[Job]) -> Vec<Said> {
    let left = Crew::at_the_barrier(jobs).go();
    left.into_iter()
        .map(|mut left| {
            assert!(left.well, "a child did not end well: {left:?}");
            left.said.remove(0)
        })
        .collect()
}

fn start(job: &Job) -> (Child, ChildStdin, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "processes::child", "--nocapture", "--test-threads", "1"])
        .env(ROLE, "child")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    writeln!(stdin, "{}", serde_json::to_string(job).unwrap()).unwrap();
    (child, stdin, out)
}

/// The next line that is for us, among those of the test runner.
fn next_word(out: &mut BufReader<ChildStdout>) -> Option<String> {
    let mut line = String::new();
    loop {
        line.clear();
        if out.read_line(&mut line).unwrap() == 0 {
            return None;
        }
        if let Some(word) = line.strip_prefix("@@") {
            return Some(word.trim_end().to_owned());
        }
    }
}

#[cfg(unix)]
fn die() {
    nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[cfg(not(unix))]
fn die() {
    std::process::abort();
}

fn say(word: &str) {
    let mut out = std::io::stdout().lock();
    // The test runner has begun a line of its own.
    write!(out, "\n@@{word}\n").unwrap();
    out.flush().unwrap();
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Not a story: what a copy of this binary does when a story starts it. By itself it has nothing to do.
#[test]
#[expect(clippy::disallowed_methods, reason = "a child learns from its parent what it is")]
fn child() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let job: Job = serde_json::from_str(&line).unwrap();
    let failed =
        |error: smsotp::error::Error| Said::Error { code: error.code().name.to_owned(), message: error.to_string() };
    block_on(async {
        let early = if job.open_late { None } else { Some(job.engine(1).await.unwrap()) };
        say("READY");
        std::io::stdin().read_line(&mut line).unwrap();
        let engine = match early {
            Some(engine) => Ok(engine),
            None => job.engine(1).await,
        };
        let engine = match engine {
            Ok(engine) => engine,
            Err(error) => return say(&serde_json::to_string(&failed(error)).unwrap()),
        };
        for operation in &job.operations {
            let said = job.run(&engine, operation).await.unwrap_or_else(failed);
            say(&serde_json::to_string(&said).unwrap());
        }
    });
}

/// Every step of a send, by its name.
pub fn step(step: Step) -> String {
    format!("{step:?}")
}

/// So many different phones, none of them the usual two.
pub fn phone(n: usize) -> String {
    format!("+1415555{:04}", 2000 + n)
}

#[test]
fn sixteen_processes_that_open_a_new_database_at_once_make_one_set_of_keys_and_all_work() {
    for _ in 0..6 {
        let world = World::unlimited();
        let send = |n| Operation::Send { phone: phone(n), user: "ada".to_owned(), ip: None, key: None };
        let operations = |n: usize| vec![Operation::Open, send(n)];
        let jobs: Vec<Job> = (0..16).map(|n| Job { open_late: true, ..Job::new(&world, operations(n)) }).collect();

        let left = Crew::at_the_barrier(&jobs).go();

        let opened: Vec<&Said> = left.iter().map(|left| &left.said[0]).collect();
        assert!(matches!(opened[0], Said::Opened { schema: 1, .. }), "{opened:?}");
        let tag = |said: &Said| match said {
            Said::Opened { tag, .. } => tag.clone(),
            other => panic!("{other:?}"),
        };
        assert!(opened.iter().all(|said| tag(said) == tag(opened[0])), "{opened:?}");
        assert!(left.iter().all(|left| left.well && matches!(left.said[1], Said::Sent(_))), "{left:?}");
        assert_eq!(world.number("SELECT count(*) FROM identity"), 1);
        assert_eq!(world.number("SELECT count(*) FROM database_keys"), 2);
        assert_eq!(world.trouble(), [""; 0]);
    }
}
