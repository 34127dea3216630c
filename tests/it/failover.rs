//! The primary dies with everything it had in memory, the standby takes over, and the load goes on.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use smsotp::clock::{Clock, SystemClock};
use smsotp::code::{self, Binding};
use smsotp::engine::{Dispatch, Engine, SendAnswer, SendOtp, Verdict, VerifyOtp};
use smsotp::error::Code;
use smsotp::message::State as MessageState;
use smsotp::otp::{Otp, State, User};
use smsotp::phone::Phone;
use smsotp::purpose::Purpose;
use smsotp::store::postgres::{Postgres, PostgresOptions};

use crate::pg::{self, Cluster};
use crate::processes::{Job, Knobs, Operation};
use crate::stores::Database;
use crate::world::{World, ask, block_on, caller, keyring};

/// How many processes make the load, and how many operations each has under way.
const PROCESSES: usize = 4;
const TASKS: usize = 4;

/// What a process of the load was told for certain.
#[derive(Debug, Serialize, Deserialize)]
enum Told {
    /// A message was accepted: (phone, otp, message).
    Sent(String, i64, i64),
    /// A code was verified.
    Verified(i64),
    /// The operation ended with an error of this name: nobody was told that anything happened.
    Error(String),
}

struct Pair {
    primary: Cluster,
    standby: Cluster,
    url: String,
}

/// A primary that tells nobody "committed" before its standby has it.
fn pair() -> Option<Pair> {
    let start = || -> Result<Pair, String> {
        let primary = Cluster::start(&["-c", "wal_level=replica", "-c", "max_wal_senders=5"])?;
        let standby =
            primary.follow("standby1", &["-c", "hot_standby=on", "-c", "wal_retrieve_retry_interval=200ms"])?;
        let server = primary.url("postgres");
        pg::run_on(&server, "CREATE DATABASE database");
        pg::run_on(&server, "ALTER SYSTEM SET synchronous_standby_names = 'standby1'");
        pg::run_on(&server, "SELECT pg_reload_conf()");
        let until = Instant::now() + Duration::from_secs(30);
        while pg::try_on(&server, "SELECT sync_state FROM pg_stat_replication").unwrap_or_default() != ["sync"] {
            if Instant::now() > until {
                return Err("the standby did not follow".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let url = format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}/database", primary.port, standby.port);
        Ok(Pair { primary, standby, url })
    };
    match start() {
        Ok(pair) => Some(pair),
        Err(why) => {
            pg::skipped(&format!("the fail-over story did not run: {why}"));
            None
        }
    }
}

#[test]
fn what_was_told_survives_the_death_of_the_primary() {
    if pg::shared().is_none() {
        return;
    }
    let Some(pair) = pair() else { return };
    let world = World::new();
    block_on(Postgres::migrate(&pair.url, &world.keyring(), Arc::new(SystemClock))).unwrap();
    let database = Database::at(world, pair.url.clone());

    let mut load: Vec<Copy> = (0..PROCESSES)
        .map(|nth| {
            let prefix = format!("+1415{nth}");
            let send = Operation::Send { phone: prefix, user: String::new(), ip: None, key: None };
            let limits = Knobs { phone: Some((5, 3600)), ..Knobs::default() };
            let job = Job { limits, ..Job::on(&database, vec![send]) };
            Copy::start(&job, "failover::load")
        })
        .collect();
    for copy in &mut load {
        copy.wait_for("LOAD READY");
    }
    load.iter_mut().for_each(Copy::go);
    wait_for_more(&pair.primary, 40);

    pair.primary.kill();
    let killed_at = SystemClock.now();
    pair.standby.promote();
    let promoted_at = SystemClock.now();
    wait_for_more(&pair.standby, 40);
    let mut told: Vec<(i64, Told)> = Vec::new();
    for mut copy in load {
        copy.go();
        told.extend(serde_json::from_str::<Vec<(i64, Told)>>(&copy.wait_for("LOAD TOLD ")).unwrap());
        copy.end();
    }
    told.sort_by_key(|(at, _)| *at);
    judge(&database, &pair, &told);

    let good = |(_, told): &&(i64, Told)| !matches!(told, Told::Error(_));
    let after = told.iter().filter(good).find(|(at, _)| *at > killed_at.millis() + 50).expect("service came back").0;
    let before = told.iter().filter(good).rfind(|(at, _)| *at < after).unwrap().0;
    let mut errors: HashMap<&str, usize> = HashMap::new();
    for (_, told) in &told {
        if let Told::Error(code) = told {
            *errors.entry(code).or_default() += 1;
        }
    }
    pg::report(&format!(
        "fail-over: {} operations were told of, {} ms without service ({} ms of them until the standby was promoted), errors {errors:?}",
        told.iter().filter(good).count(),
        after - before,
        promoted_at.since(killed_at).as_millis()
    ));
}

/// Waits until so many more codes are verified on a server.
fn wait_for_more(server: &Cluster, more: i64) {
    let count = || {
        let sql = "SELECT count(*) FROM smsotp.otps WHERE state = 'verified'";
        pg::try_on(&server.url("database"), sql).ok().and_then(|rows| rows.first()?.parse::<i64>().ok())
    };
    let until = Instant::now() + Duration::from_secs(120);
    let mut begun = None;
    while Instant::now() < until {
        let now = count();
        begun = begun.or(now);
        if now > begun.map(|begun| begun + more) {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("the load did not get on");
}

/// Nothing that was told is lost, nothing happened twice.
fn judge(database: &Database, pair: &Pair, told: &[(i64, Told)]) {
    let mut per_phone: HashMap<String, usize> = HashMap::new();
    for message in database.world.sandbox.messages() {
        *per_phone.entry(message.to.clone()).or_default() += 1;
    }
    assert!(per_phone.values().all(|count| *count == 1), "a message went out twice");
    let verified: Vec<i64> =
        told.iter().filter_map(|(_, t)| if let Told::Verified(otp) = t { Some(*otp) } else { None }).collect();
    assert_eq!(verified.iter().collect::<HashSet<_>>().len(), verified.len(), "a code was verified twice");
    assert!(verified.len() > 20, "too little load to mean anything: {}", verified.len());
    block_on(async {
        let url = pair.standby.url("database");
        database.advance(120);
        let clock = database.shared_clock();
        let store =
            Arc::new(Postgres::open(&url, &database.world.keyring(), clock, PostgresOptions::default()).await.unwrap());
        let engine = Engine::new(store, database.world.keyring(), Arc::new(database.world.policy.clone()))
            .with_provider(Arc::new(database.world.twilio()));
        for (_, told) in told {
            match told {
                Told::Sent(phone, otp, message) => {
                    let message =
                        engine.reads().message(*message).await.unwrap().expect("a message that was told of is lost");
                    assert_eq!((message.otp_id, message.phone.as_str()), (Some(*otp), phone.as_str()));
                    assert!(!matches!(message.state, MessageState::Queued | MessageState::Failed), "{message:?}");
                }
                Told::Verified(otp) => {
                    let otp = engine.reads().otp(*otp).await.unwrap().expect("an otp that was told of is lost");
                    assert_eq!(otp.state, State::Verified);
                    assert_eq!(verdict(&engine, &otp, &code_of(database, &otp)).await.unwrap(), Verdict::AlreadyUsed);
                }
                Told::Error(_) => {}
            }
        }
        // What nobody was told of is settled, and still nothing goes out twice.
        engine.dispatch(&caller(), Dispatch { limit: 1000, early: false }, |_, _| ()).await.unwrap();
        let mut seen = HashSet::new();
        assert!(database.world.sandbox.messages().iter().all(|message| seen.insert(message.to.clone())));
        let heads = engine.reads().audit_heads().await.unwrap();
        let mut verifier = smsotp::audit::Verifier::new(&engine.store().operations.keys().audit).sealed(&heads);
        for head in heads {
            for row in engine.reads().audit(head.chain, 1, 100_000).await.unwrap() {
                verifier.check_row(row);
            }
        }
        verifier.finish().unwrap();
    });
}

fn code_of(database: &Database, otp: &Otp) -> code::Code {
    derived(&database.world.keyring(), otp)
}

fn derived(ring: &smsotp::keys::Keyring, otp: &Otp) -> code::Code {
    let key = ring.get(&otp.key_id).unwrap();
    let binding = Binding {
        nonce: &otp.nonce,
        phone: otp.phone.as_str(),
        purpose: otp.purpose.as_str(),
        user: otp.user.as_str(),
    };
    code::derive(key.code_key(), &binding, otp.digits)
}

async fn verdict(engine: &Engine, otp: &Otp, code: &code::Code) -> smsotp::error::Result<Verdict> {
    let ask = VerifyOtp {
        phone: otp.phone.clone(),
        purpose: otp.purpose.clone(),
        user: otp.user.clone(),
        code: code.clone(),
        idempotency_key: None,
    };
    engine.verify(&caller(), ask).await.map(|answer| answer.verdict)
}

/// A copy of this test binary that makes the load.
struct Copy {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Copy {
    fn start(job: &impl Serialize, role: &str) -> Copy {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([role, "--exact", "--ignored", "--nocapture", "--quiet", "--test-threads=1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut line = serde_json::to_string(job).unwrap();
        line.push('\n');
        child.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Copy { child, answers }
    }

    fn wait_for(&mut self, word: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.answers.read_line(&mut line).unwrap(), 0, "a copy ended before it said {word}");
            if let Some(at) = line.find(word) {
                return line[at + word.len()..].trim().to_owned();
            }
        }
    }

    fn go(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        let mut rest = String::new();
        let _ = self.answers.read_to_string(&mut rest);
        assert!(self.child.wait().unwrap().success(), "{rest}");
    }
}

fn line() -> String {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    line
}

#[test]
#[ignore = "started by the fail-over story, once for each process"]
fn load() {
    let job: Job = serde_json::from_str(&line()).unwrap();
    let [Operation::Send { phone: prefix, .. }] = job.operations.as_slice() else { panic!("not a load") };
    block_on(async {
        let engine = job.engine(TASKS).await.unwrap();
        println!("LOAD READY");
        line();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        // The second word ends it; so does the end of the story.
        std::thread::spawn(move || {
            let _ = std::io::stdin().read(&mut [0; 8]);
            told.store(true, Ordering::SeqCst);
        });
        let ring = keyring(&job.keys);
        let tasks = (0..TASKS).map(|task| one_task(&engine, &ring, format!("{prefix}{task}"), &stop));
        let told: Vec<(i64, Told)> = futures_util::future::join_all(tasks).await.into_iter().flatten().collect();
        println!("LOAD TOLD {}", serde_json::to_string(&told).unwrap());
    });
}

/// Sends to one new phone after another; two verify each code at once.
async fn one_task(
    engine: &Engine,
    ring: &smsotp::keys::Keyring,
    prefix: String,
    stop: &AtomicBool,
) -> Vec<(i64, Told)> {
    let mut told = Vec::new();
    for nth in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let phone = format!("{prefix}{:0>width$}", nth, width = 12 - prefix.len());
        let mut tell = |what: Told| told.push((SystemClock.now().millis(), what));
        let error = |error: smsotp::error::Error| Told::Error(error.code().name.to_owned());
        let Ok(number) = smsotp::phone::parse(&phone, None) else { continue };
        let ask = SendOtp {
            to: smsotp::engine::Destination::Known(number),
            user: User::default(),
            purpose: Purpose::parse("login").unwrap(),
            ..ask("+14155550100")
        };
        let sent = match engine.send(&caller(), ask).await {
            Ok(SendAnswer::Sent(sent)) if sent.state == MessageState::Accepted => sent,
            Ok(SendAnswer::Sent(_)) => continue,
            Ok(SendAnswer::Refused(refusal)) => panic!("{refusal:?}"),
            Err(failed) => {
                tell(error(failed));
                continue;
            }
        };
        tell(Told::Sent(Phone::from_e164(&phone).unwrap().as_str().to_owned(), sent.otp_id, sent.message_id));
        let Ok(Some(otp)) = engine.reads().otp(sent.otp_id).await else { continue };
        let code = derived(ring, &otp);
        let (one, other) = tokio::join!(verdict(engine, &otp, &code), verdict(engine, &otp, &code));
        for answer in [one, other] {
            match answer {
                Ok(Verdict::Verified) => tell(Told::Verified(sent.otp_id)),
                Ok(_) => {}
                Err(failed) => tell(error(failed)),
            }
        }
    }
    told
}

#[test]
fn nothing_is_ever_decided_on_a_standby() {
    if pg::shared().is_none() {
        return;
    }
    let Some(pair) = pair() else { return };
    let ring = World::new().keyring();
    block_on(async {
        Postgres::migrate(&pair.url, &ring, Arc::new(SystemClock)).await.unwrap();
        let opening = PostgresOptions { wait_limit: Duration::from_secs(3), ..PostgresOptions::default() };
        let open = async |url: String| Postgres::open(&url, &ring, Arc::new(SystemClock), opening).await;
        let error = open(pair.standby.url("database")).await.err().unwrap();
        assert_eq!(error.code(), Code::STORE_FAILED);
        assert!(error.hint_text().unwrap().contains("not a standby"), "{error:?}");
        // In whatever order they are named, the primary is found.
        let (primary, standby) = (pair.primary.port, pair.standby.port);
        open(format!("postgres://postgres@127.0.0.1:{standby},127.0.0.1:{primary}/database")).await.unwrap();
    });
}
