//! Promises about processes, proven with processes: 64 copies of this test binary on one database.
//!
//! A copy reads one line of JSON, says that it is ready, waits for the word, does its operation and says what came of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smsotp::clock::Clock;
use smsotp::code::Code;
use smsotp::engine::{Engine, Purge, SendAnswer};
use smsotp::keys::{Keyring, SecretKey};
use smsotp::limits::Window;
use smsotp::policy::Policy;
use smsotp::provider::twilio::{Account, Twilio};
use smsotp::store::Store;
use smsotp::store::postgres::{self, Postgres};
use smsotp::store::sqlite::{self, Sqlite};

use super::{Database, on_both};
use crate::world::{PHONE, World, ask, block_on, caller, send, verdict};

/// How many.
const CROWD: usize = 64;

on_both![
    of_64_processes_with_the_right_code_one_is_told_verified,
    of_64_processes_as_many_messages_go_out_as_the_limit_holds,
    of_64_wrong_guesses_at_once_five_are_compared,
    sends_and_purges_of_many_processes_leave_an_unbroken_chain,
];

/// What one copy is to do.
#[derive(Clone, Serialize, Deserialize)]
pub struct Job {
    pub url: Option<String>,
    pub path: PathBuf,
    pub key: String,
    pub offset_ms: u64,
    pub env: Vec<(String, String)>,
    pub phone_limit: Option<u32>,
    pub operation: Operation,
}

#[derive(Clone, Serialize, Deserialize)]
pub enum Operation {
    Send(String),
    Verify(String, String),
    Purge,
}

/// A copy at the barrier.
pub struct Copy {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

const READY: &str = "COPY READY";
const SAID: &str = "COPY SAID ";

impl Copy {
    pub fn start(job: &impl Serialize, role: &str) -> Copy {
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

    pub fn wait_for(&mut self, word: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.answers.read_line(&mut line).unwrap(), 0, "a copy ended before it said {word}");
            if let Some(at) = line.find(word) {
                return line[at + word.len()..].trim().to_owned();
            }
        }
    }

    pub fn go(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    }

    pub fn end(mut self) {
        drop(self.child.stdin.take());
        let mut rest = String::new();
        let _ = self.answers.read_to_string(&mut rest);
        assert!(self.child.wait().unwrap().success(), "{rest}");
    }
}

/// Starts a copy for each job, lets them go at once, and gives back what each said.
fn all(jobs: &[Job]) -> Vec<String> {
    let mut copies: Vec<Copy> = jobs.iter().map(|job| Copy::start(job, "stores::crowd::copy")).collect();
    for copy in &mut copies {
        copy.wait_for(READY);
    }
    for copy in &mut copies {
        copy.go();
    }
    let said = copies.iter_mut().map(|copy| copy.wait_for(SAID)).collect();
    copies.into_iter().for_each(Copy::end);
    said
}

fn job(database: &Database, operation: Operation) -> Job {
    Job {
        url: database.url.clone(),
        path: database.world.db(),
        key: database.world.keys[0].clone(),
        offset_ms: database.offset_ms(),
        env: database.world.sandbox.env(),
        phone_limit: None,
        operation,
    }
}

pub fn line() -> String {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    line
}

#[test]
#[ignore = "started by the stories, once for each process"]
fn copy() {
    let job: Job = serde_json::from_str(&line()).unwrap();
    block_on(async {
        let engine = job.engine().await;
        println!("{READY}");
        line();
        println!("{SAID}{}", job.run(&engine).await);
    });
}

impl Job {
    pub fn keyring(&self) -> Arc<Keyring> {
        Arc::new(Keyring::new(vec![SecretKey::from_base64(&self.key).unwrap()]).unwrap())
    }

    pub async fn engine(&self) -> Engine {
        self.engine_with(1).await
    }

    pub async fn engine_with(&self, connections: usize) -> Engine {
        let ring = self.keyring();
        let clock = Database::at_offset(self.offset_ms) as Arc<dyn Clock>;
        let store: Store = match &self.url {
            Some(url) => {
                let opening =
                    postgres::PostgresOptions { connections, wait_limit: std::time::Duration::from_secs(120) };
                Arc::new(Postgres::open(url, &ring, clock, opening).await.unwrap()).into()
            }
            None => {
                let opening =
                    sqlite::SqliteOptions { wait_limit: std::time::Duration::from_secs(120), ..Default::default() };
                Arc::new(Sqlite::open(&self.path, &ring, clock, opening).unwrap()).into()
            }
        };
        let mut policy = Policy::default();
        if let Some(max) = self.phone_limit {
            policy.limits.phone = vec![Window::new(max, 3600)];
            policy.limits.everything = Vec::new();
            (policy.limits.cooldown, policy.limits.user) = (Vec::new(), Vec::new());
        }
        Engine::new(store, ring, Arc::new(policy)).with_provider(Arc::new(self.twilio()))
    }

    fn twilio(&self) -> Twilio {
        let value = |name: &str| self.env.iter().find(|(key, _)| key == name).unwrap().1.clone();
        let settings = Account {
            account_sid: Some(value("TWILIO_ACCOUNT_SID")),
            auth_token: Some(value("TWILIO_AUTH_TOKEN").into()),
            phone_number: Some(value("TWILIO_PHONE_NUMBER")),
            base_url: Some(value("TWILIO_API_BASE_URL").parse().unwrap()),
            ..Account::default()
        };
        Twilio::new(smsotp::provider::twilio::Settings::check(&settings).unwrap()).unwrap()
    }

    async fn run(&self, engine: &Engine) -> String {
        match &self.operation {
            Operation::Send(phone) => match engine.send(&caller(), ask(phone)).await.unwrap() {
                SendAnswer::Sent(sent) => format!("sent {}", sent.state.as_str()),
                SendAnswer::Refused(refusal) => format!("refused {}", refusal.hits[0].limit),
            },
            Operation::Verify(phone, code) => {
                format!("{:?}", verdict(engine, phone, &Code::parse(code).unwrap()).await)
            }
            Operation::Purge => {
                let how = Purge { older_than: None, dry_run: false, exclusive: false, scrub: false, batch: None };
                format!("purged {}", engine.purge(&caller(), &how, |_| true).await.unwrap().purged.otps)
            }
        }
    }
}

fn count(said: &[String], word: &str) -> usize {
    said.iter().filter(|line| line.starts_with(word)).count()
}

fn of_64_processes_with_the_right_code_one_is_told_verified(database: Database) {
    let code = block_on(async {
        send(&database.engine().await, PHONE).await;
        database.world.code_on(PHONE)
    });
    let operation = Operation::Verify(PHONE.to_owned(), code.expose().to_owned());
    let said = all(&vec![job(&database, operation); CROWD]);
    assert_eq!((count(&said, "Verified"), count(&said, "AlreadyUsed")), (1, CROWD - 1), "{said:?}");
}

fn of_64_processes_as_many_messages_go_out_as_the_limit_holds(database: Database) {
    for (nth, limit) in [1usize, 3, 5].into_iter().enumerate() {
        let phone = format!("+1415555010{nth}");
        let before = database.world.sandbox.messages().len();
        let job = Job { phone_limit: u32::try_from(limit).ok(), ..job(&database, Operation::Send(phone)) };
        let said = all(&vec![job; CROWD]);
        assert_eq!((count(&said, "sent accepted"), count(&said, "refused phone")), (limit, CROWD - limit), "{said:?}");
        assert_eq!(database.world.sandbox.messages().len() - before, limit);
    }
}

fn of_64_wrong_guesses_at_once_five_are_compared(database: Database) {
    let code = block_on(async {
        send(&database.engine().await, PHONE).await;
        database.world.code_on(PHONE)
    });
    let wrong = World::wrong(&code);
    let said = all(&vec![job(&database, Operation::Verify(PHONE.to_owned(), wrong.expose().to_owned())); CROWD]);
    assert_eq!(count(&said, "WrongCode"), 5, "{said:?}");
    assert_eq!(count(&said, "Locked"), CROWD - 5, "{said:?}");
    block_on(async {
        assert_eq!(verdict(&database.engine().await, PHONE, &code).await, smsotp::engine::Verdict::Locked);
    });
}

fn sends_and_purges_of_many_processes_leave_an_unbroken_chain(database: Database) {
    let operation = |nth: usize| match nth % 8 {
        0 => Operation::Purge,
        _ => Operation::Send(format!("+1415555{nth:04}")),
    };
    let jobs: Vec<Job> =
        (0..CROWD).map(|nth| Job { phone_limit: Some(5), ..job(&database, operation(100 + nth)) }).collect();
    let said = all(&jobs);
    // Three phones a day are what a user may ask for; the rest is refused, each with its row.
    assert_eq!(count(&said, "sent accepted"), 3, "{said:?}");
    block_on(async {
        let store = database.store().await;
        let heads = store.reads.audit_heads().await.unwrap();
        let mut verifier =
            smsotp::audit::Verifier::new(&store.operations.keys().audit).expect_heads(heads.iter().copied());
        for head in heads {
            for row in store.reads.audit(head.chain, 1, 10_000).await.unwrap() {
                verifier.check_row(row);
            }
        }
        assert_eq!(verifier.rows(), 56 + 3);
        verifier.finish().unwrap();
    });
}
