//! Promises about processes, proven with processes: this test binary starts itself again, many times over, holds every copy at
//! a barrier, and lets them go at once.
//!
//! A copy is told what to do by one line of JSON on its standard input, says that it is ready, waits for a second line, does
//! it, and says what came of it.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use smsotp::clock::{Clock, ManualClock, Timestamp};
use smsotp::code::Code;
use smsotp::engine::{Engine, Purge, SendAnswer, Sent, Step, Verdict, VerifyOtp};
use smsotp::error::Result;
use smsotp::limits::{Limits, Window};
use smsotp::otp::User;
use smsotp::phone::Phone;
use smsotp::policy::Policy;
use smsotp::provider::twilio::Timeouts;
use smsotp::store::sqlite::{Sqlite, SqliteOptions};

use crate::world::{World, ask, caller, client, keyring, login, twilio, unlimited};

/// What makes a copy of this binary a child of a story.
const ROLE: &str = "SMSOTP_TEST_ROLE";

/// How long a child waits for the writer's place: a slow machine is no failure here.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a child is to do, in a world that is not its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    pub operations: Vec<Operation>,
    pub db: PathBuf,
    pub keys: Vec<String>,
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
}

/// Every limit that a story of processes needs; what is not named limits nothing.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Knobs {
    pub phone: Option<(u32, u64)>,
    pub user: Option<(u32, u64)>,
    pub ip: Option<(u32, u64)>,
    pub everything: Option<(u32, u64)>,
    pub cooldown: Vec<u64>,
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
            keys: world.keys.clone(),
            now: world.now().millis(),
            env: world.sandbox.env(),
            limits: Knobs::default(),
            die_at: None,
            open_late: false,
        }
    }

    fn engine(&self) -> Result<Engine> {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Timestamp(self.now)));
        let ring = Arc::new(keyring(&self.keys));
        let opening = SqliteOptions { wait_limit: PATIENCE, ..SqliteOptions::default() };
        let store = Arc::new(Sqlite::open(&self.db, &ring, Arc::clone(&clock), opening)?);
        let policy = Policy { limits: self.limits.limits(), ..Policy::default() };
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
                let ask = smsotp::engine::SendOtp {
                    user: User::parse(user).unwrap(),
                    idempotency_key: key.clone(),
                    ..ask(phone)
                };
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
                let done = engine.dispatch(&caller(), 100, |_, _| ()).await?;
                Said::Dispatched { sent: done.sent, found: done.found }
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
            let told = next_word(out);
            assert_eq!(told.as_deref(), Some("READY"), "a child did not come to the barrier");
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
#[expect(clippy::disallowed_methods, reason = "a child is told by its parent what it is")]
fn child() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let job: Job = serde_json::from_str(&line).unwrap();
    let early = (!job.open_late).then(|| job.engine().unwrap());
    say("READY");
    std::io::stdin().read_line(&mut line).unwrap();
    let engine = early.map_or_else(|| job.engine(), Ok);
    let engine = match engine {
        Ok(engine) => engine,
        Err(error) => {
            let said = Said::Error { code: error.code().name.to_owned(), message: error.to_string() };
            return say(&serde_json::to_string(&said).unwrap());
        }
    };
    for operation in &job.operations {
        let said = crate::world::block_on(job.run(&engine, operation))
            .unwrap_or_else(|error| Said::Error { code: error.code().name.to_owned(), message: error.to_string() });
        say(&serde_json::to_string(&said).unwrap());
    }
}

/// Every step of a send, by its name.
pub fn step(step: Step) -> String {
    format!("{step:?}")
}

const CROWD: usize = 64;

/// So many different phones, none of them the usual two.
pub fn phone(n: usize) -> String {
    format!("+1415555{:04}", 2000 + n)
}

fn send_to(phone: &str, user: &str) -> Operation {
    Operation::Send { phone: phone.to_owned(), user: user.to_owned(), ip: None, key: None }
}

fn verify_ada(code: &Code) -> Operation {
    Operation::Verify { phone: crate::world::PHONE.to_owned(), user: "ada".to_owned(), code: code.expose().to_owned() }
}

fn crowd(world: &World, knobs: &Knobs, operation: impl Fn(usize) -> Operation) -> Vec<Job> {
    (0..CROWD).map(|n| Job { limits: knobs.clone(), ..Job::new(world, vec![operation(n)]) }).collect()
}

fn count(said: &[Said], wanted: &str) -> usize {
    let is = |said: &&Said| match said {
        Said::Verdict { word, .. } => word == wanted,
        Said::Refused(word) => word == wanted,
        Said::Error { code, .. } => code == wanted,
        Said::Sent(sent) => sent.state.as_str() == wanted,
        _ => false,
    };
    said.iter().filter(is).count()
}

#[test]
fn of_64_processes_with_the_right_code_exactly_one_is_told_verified() {
    let world = World::unlimited();
    crate::world::block_on(crate::world::send(&world.engine(), crate::world::PHONE));
    let code = world.code_on(crate::world::PHONE);

    let said = together(&crowd(&world, &Knobs::default(), |_| verify_ada(&code)));

    assert_eq!((count(&said, "verified"), count(&said, "already_used")), (1, 63));
    assert_eq!(world.number("SELECT count(*) FROM audit WHERE action = 'verify'"), 64);
    assert_eq!(world.trouble(), [""; 0]);
}

#[test]
fn of_64_wrong_guesses_at_once_five_are_evaluated() {
    let world = World::unlimited();
    crate::world::block_on(crate::world::send(&world.engine(), crate::world::PHONE));
    let code = world.code_on(crate::world::PHONE);

    let said = together(&crowd(&world, &Knobs::default(), |_| verify_ada(&World::wrong(&code))));

    assert_eq!((count(&said, "wrong_code"), count(&said, "locked")), (5, 59));
    assert_eq!(world.number("SELECT wrong_guesses FROM otps"), 5);
    assert_eq!(world.word("SELECT state FROM otps"), "locked");
}

#[test]
fn one_right_code_among_63_wrong_ones_succeeds_once_or_comes_too_late() {
    let world = World::unlimited();
    crate::world::block_on(crate::world::send(&world.engine(), crate::world::PHONE));
    let code = world.code_on(crate::world::PHONE);

    let said = together(&crowd(&world, &Knobs::default(), |n| match n {
        31 => verify_ada(&code),
        _ => verify_ada(&World::wrong(&code)),
    }));

    let (verified, wrong) = (count(&said, "verified"), count(&said, "wrong_code"));
    let locked_out = said[31] == Said::Verdict { word: "locked".to_owned(), otp: Some(1), evaluated: false };
    assert!(
        verified == 1 && wrong < 5 || verified == 0 && wrong == 5 && locked_out,
        "{verified} {wrong} {:?}",
        said[31]
    );
}

#[test]
fn of_64_processes_that_send_as_many_messages_go_out_as_the_limit_holds() {
    let one = |n, who: &str| match who {
        "phone" => Knobs { phone: Some((n, 3600)), ..Knobs::default() },
        "user" => Knobs { user: Some((n, 3600)), ..Knobs::default() },
        "ip" => Knobs { ip: Some((n, 3600)), ..Knobs::default() },
        _ => Knobs { everything: Some((n, 3600)), ..Knobs::default() },
    };
    let operation = |n: usize, who: &str| match who {
        "phone" => send_to(crate::world::PHONE, "ada"),
        "user" => send_to(&phone(n), "ada"),
        "ip" => Operation::Send { phone: phone(n), user: format!("u{n}"), ip: Some("192.0.2.7".to_owned()), key: None },
        _ => send_to(&phone(n), &format!("u{n}")),
    };
    let scenes = [("phone", 1), ("phone", 3), ("phone", 5), ("user", 1), ("ip", 3), ("everything", 5)];
    for (who, max) in scenes {
        let world = World::unlimited();
        drop(world.engine());

        let said = together(&crowd(&world, &one(max, who), |n| operation(n, who)));

        let max = max as usize;
        assert_eq!((count(&said, "accepted"), count(&said, "rate_limited")), (max, CROWD - max), "{who}");
        assert_eq!((world.sandbox.requests(), world.sandbox.messages().len()), (max, max), "{who}");
        assert_eq!(world.trouble(), [""; 0]);
    }
}

#[test]
fn of_32_processes_with_one_idempotency_key_one_calls_the_provider_and_all_get_its_answer() {
    let world = World::unlimited();
    drop(world.engine());
    let operation = Operation::Send {
        phone: crate::world::PHONE.to_owned(),
        user: "ada".to_owned(),
        ip: None,
        key: Some("order-17".to_owned()),
    };
    let jobs: Vec<Job> = (0..32).map(|_| Job::new(&world, vec![operation.clone()])).collect();

    let first = together(&jobs);
    // Whoever came while it was under way was told to ask again.
    let again = together(&jobs[..4]);

    assert_eq!(count(&first, "accepted") + count(&first, "in_progress"), 32, "{first:?}");
    let answers: Vec<&Said> = first.iter().chain(&again).filter(|said| matches!(said, Said::Sent(_))).collect();
    assert!(answers.len() >= 5 && answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(world.sandbox.requests(), 1);
}

#[test]
fn sixteen_processes_that_open_new_database_at_once_make_one_set_of_keys_and_all_work() {
    for _ in 0..6 {
        let world = World::unlimited();
        let operations = |n: usize| vec![Operation::Open, send_to(&phone(n), "ada")];
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

#[test]
fn a_purge_beside_senders_and_guessers_loses_nothing_that_lives_and_resets_no_limit() {
    let mut world = World::unlimited();
    let knobs = Knobs { phone: Some((2, 86_400)), ..Knobs::default() };
    world.policy.limits = knobs.limits();
    // Yesterday's: fifty finished otps, and a phone whose two messages of the day are used up.
    crate::world::block_on(async {
        let engine = world.engine();
        for n in 0..50 {
            crate::world::send(&engine, &phone(n)).await;
        }
        world.advance(20 * 3600);
        for _ in 0..2 {
            crate::world::send(&engine, crate::world::OTHER).await;
        }
        crate::world::send(&engine, crate::world::PHONE).await;
    });
    let code = world.code_on(crate::world::PHONE);
    world.advance(60);

    let said = together(&crowd(&world, &knobs, |n| match n % 4 {
        0 => Operation::Purge { older_than: 3600 },
        1 => send_to(crate::world::OTHER, "ada"),
        2 => send_to(&phone(100 + n), "bob"),
        _ => verify_ada(&World::wrong(&code)),
    }));

    let purged: u64 = said.iter().map(|said| if let Said::Purged { otps, .. } = said { *otps } else { 0 }).sum();
    assert_eq!(purged, 50, "{said:?}");
    assert_eq!(count(&said, "rate_limited"), 16);
    assert_eq!((count(&said, "wrong_code"), count(&said, "locked")), (5, 11));
    assert_eq!(world.number("SELECT count(*) FROM otps"), 2 + 16);
    assert_eq!(world.trouble(), [""; 0]);
}
