//! The world of a story: a directory for the database, the sandbox in place of Twilio, and a clock that only the story moves.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use smsotp::abuse::Mode;
use smsotp::audit::{Actor, Break, Row, SealedHead, Verifier};
use smsotp::clock::{Clock, SystemClock, Timestamp};
use smsotp::code::Code;
use smsotp::engine::{
    Caller, Destination, Dispatch, Dispatched, Engine, Forgotten, Purge, PurgeReport, Refusal, Reset, Revoke,
    SendAnswer, SendOtp, Sent, Step, Verdict, VerifyAnswer, VerifyOtp,
};
use smsotp::keys::{Keyring, SecretKey};
use smsotp::limits::Limits;
use smsotp::otp::User;
use smsotp::phone::{self, Phone};
use smsotp::policy::Policy;
use smsotp::provider::twilio::{Account, Timeouts, Twilio};
use smsotp::purpose::Purpose;
use smsotp::sandbox::{self, Pace, ReceivedMessage, Sandbox};
use smsotp::store::sqlite::{Sqlite, SqliteOptions};
use smsotp::store::{Store, Subject};
use smsotp::template::Endings;
use smsotp::usage::Usage;

/// A clock that stands still until the story moves it. `begun` is when the story began: what PostgreSQL's own clock says all
/// through a story; how far the story has moved is the offset that the store adds.
pub struct StillClock {
    begun: Timestamp,
    now: AtomicI64,
}

impl StillClock {
    pub fn new(begun: Timestamp, now: Timestamp) -> StillClock {
        StillClock { begun, now: AtomicI64::new(now.millis()) }
    }

    pub fn begun(&self) -> Timestamp {
        self.begun
    }

    pub fn advance(&self, by: Duration) {
        self.now.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// Sets the clock, also backwards; on PostgreSQL not to before the story began.
    pub fn set(&self, now: Timestamp) {
        self.now.store(now.millis(), Ordering::SeqCst);
    }
}

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::SeqCst))
    }

    fn offset(&self) -> Duration {
        assert!(self.now() >= self.begun, "this clock cannot go back to before the story began: advance it first");
        self.now().since(self.begun)
    }
}

pub struct World {
    pub dir: tempfile::TempDir,
    pub clock: Arc<StillClock>,
    pub sandbox: Sandbox,
    /// The secret keys in base64, newest first.
    pub keys: Vec<String>,
    pub policy: Policy,
    pub timeouts: Timeouts,
}

pub const PHONE: &str = "+14155550100";
pub const OTHER: &str = "+14155550101";

impl World {
    pub fn new() -> World {
        World::with(sandbox::Options::default())
    }

    /// A world whose sandbox is set up like this; database, sandbox and provider share the clock.
    pub fn with(options: sandbox::Options) -> World {
        let now = SystemClock.now();
        let clock = Arc::new(StillClock::new(now, now));
        let shared: Arc<dyn Clock> = Arc::clone(&clock) as Arc<dyn Clock>;
        World {
            dir: tempfile::tempdir().unwrap(),
            clock,
            sandbox: Sandbox::start(sandbox::Options { clock: shared, pace: Pace::Manual, ..options }).unwrap(),
            keys: vec![new_key()],
            policy: unguarded(),
            timeouts: Timeouts::default(),
        }
    }

    /// A world in which no limit but the guesses of one code applies.
    pub fn unlimited() -> World {
        let mut world = World::new();
        world.policy.limits = unlimited();
        world
    }

    pub fn db(&self) -> PathBuf {
        self.dir.path().join("smsotp.db")
    }

    pub fn keyring(&self) -> Arc<Keyring> {
        Arc::new(keyring(&self.keys))
    }

    pub fn shared_clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock) as Arc<dyn Clock>
    }

    pub fn store(&self) -> Store {
        Arc::new(Sqlite::open(&self.db(), &self.keyring(), self.shared_clock(), SqliteOptions::default()).unwrap())
            .into()
    }

    /// An engine with the sandbox as its provider.
    pub fn engine(&self) -> Engine {
        Engine::new(self.store(), self.keyring(), Arc::new(self.policy.clone())).with_provider(Arc::new(self.twilio()))
    }

    pub fn twilio(&self) -> Twilio {
        twilio(&self.sandbox.env(), self.timeouts, self.shared_clock())
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Everything that reached a phone, oldest first.
    pub fn texts(&self, phone: &str) -> Vec<ReceivedMessage> {
        self.sandbox.messages().into_iter().filter(|message| message.to == phone).collect()
    }

    /// How many messages went out, to whomever.
    pub fn messages_out(&self) -> usize {
        self.sandbox.messages().len()
    }

    /// The code in the newest SMS to a phone, as its owner reads it.
    pub fn code_on(&self, phone: &str) -> Code {
        code_in(self.texts(phone).last().unwrap())
    }

    /// A code that is not the given one.
    pub fn wrong(code: &Code) -> Code {
        let first = if code.expose().starts_with('0') { '1' } else { '0' };
        Code::parse(&format!("{first}{}", &code.expose()[1..])).unwrap()
    }

    /// The database, past the store: for looking at rows and for damage.
    pub fn sql(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.db()).unwrap()
    }

    /// One number out of the database.
    pub fn number(&self, sql: &str) -> i64 {
        self.sql().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// One word out of the database.
    pub fn word(&self, sql: &str) -> String {
        self.sql().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// What is wrong with the database: nothing, if all is well.
    pub fn trouble(&self) -> Vec<String> {
        let store = self.store();
        let mut found = block_on(store.maintenance.check()).unwrap();
        found.extend(audit_break(&store).map(|broken| broken.to_string()));
        found
    }
}

/// The first break of the audit log, if there is one.
pub fn audit_break(store: &Store) -> Option<Break> {
    block_on(first_break(store))
}

/// The first break of any chain of the audit log, if there is one.
pub async fn first_break(store: &Store) -> Option<Break> {
    let heads = store.reads.audit_heads().await.unwrap();
    check_rows(store, audit_rows(store).await, &heads)
}

pub fn check_rows(store: &Store, rows: Vec<Row>, heads: &[SealedHead]) -> Option<Break> {
    let mut verifier = Verifier::new(&store.operations.keys().audit).sealed(heads);
    rows.into_iter().for_each(|row| verifier.check_row(row));
    verifier.ends_at(heads).finish().err()
}

/// All rows of the audit log, one chain after the other.
pub async fn audit_rows(store: &Store) -> Vec<Row> {
    let mut rows = Vec::new();
    for head in store.reads.audit_heads().await.unwrap() {
        let mut from = 1;
        loop {
            let page = store.reads.audit(head.chain, from, 500).await.unwrap();
            let Some(last) = page.last() else { break };
            from = last.seq + 1;
            rows.extend(page);
        }
    }
    rows
}

pub fn new_key() -> String {
    SecretKey::generate().unwrap().to_base64().to_string()
}

pub fn keyring(keys: &[String]) -> Keyring {
    Keyring::new(keys.iter().map(|key| SecretKey::from_base64(key).unwrap()).collect()).unwrap()
}

/// A provider that is pointed at a sandbox by its four variables.
pub fn twilio(env: &[(String, String)], timeouts: Timeouts, clock: Arc<dyn Clock>) -> Twilio {
    let value = |name: &str| env.iter().find(|(key, _)| key == name).unwrap().1.clone();
    let settings = Account {
        account_sid: Some(value("TWILIO_ACCOUNT_SID")),
        auth_token: Some(value("TWILIO_AUTH_TOKEN").into()),
        phone_number: Some(value("TWILIO_PHONE_NUMBER")),
        base_url: Some(value("TWILIO_API_BASE_URL").parse().unwrap()),
        ..Account::default()
    };
    Twilio::with(smsotp::provider::twilio::Settings::check(&settings).unwrap(), timeouts, clock).unwrap()
}

/// The defaults without the guard's caps and detector: they have stories of their own.
pub fn unguarded() -> Policy {
    let mut policy = Policy::default();
    policy.guard.mode = Some(Mode::Off);
    policy
}

/// No limit on anything but the guesses of one code.
pub fn unlimited() -> Limits {
    Limits {
        cooldown: Vec::new(),
        phone: Vec::new(),
        user: Vec::new(),
        user_phones: Vec::new(),
        ip: Vec::new(),
        ip_phones: Vec::new(),
        network: Vec::new(),
        everything: Vec::new(),
        refused_phone: Vec::new(),
        refused_other: Vec::new(),
        guesses_per_user: Vec::new(),
        guesses_per_phone: Vec::new(),
        guesses_per_ip: Vec::new(),
        guesses_per_token: Vec::new(),
        guesses_in_a_row: 1_000_000,
        ..Limits::default()
    }
}

pub fn code_in(message: &ReceivedMessage) -> Code {
    Code::parse(&sandbox::inbox::extract_code(&message.body).unwrap()).unwrap()
}

pub fn caller() -> Caller {
    Caller::new(Actor::System)
}

/// A caller with a client address.
pub fn client(ip: &str) -> Caller {
    Caller { ip: Some(ip.parse().unwrap()), ..caller() }
}

pub fn login() -> Purpose {
    Purpose::parse("login").unwrap()
}

pub fn ada() -> User {
    User::parse("ada").unwrap()
}

pub fn ask(phone: &str) -> SendOtp {
    SendOtp {
        to: Destination::Known(phone::parse(phone, None).unwrap()),
        purpose: login(),
        user: ada(),
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

pub async fn send(engine: &Engine, phone: &str) -> Sent {
    send_as(engine, &caller(), ask(phone)).await
}

#[track_caller]
pub fn sent(answer: SendAnswer) -> Sent {
    match answer {
        SendAnswer::Sent(sent) => *sent,
        SendAnswer::Refused(refusal) => panic!("refused: {refusal:?}"),
    }
}

#[track_caller]
pub fn refused(answer: SendAnswer) -> Refusal {
    match answer {
        SendAnswer::Refused(refusal) => *refusal,
        SendAnswer::Sent(sent) => panic!("not refused: {sent:?}"),
    }
}

pub async fn send_as(engine: &Engine, caller: &Caller, ask: SendOtp) -> Sent {
    sent(engine.send(caller, ask).await.unwrap())
}

pub async fn refusal(engine: &Engine, phone: &str) -> Refusal {
    refused(engine.send(&caller(), ask(phone)).await.unwrap())
}

/// What to verify for the usual user and purpose.
pub fn guess(phone: &str, code: &Code) -> VerifyOtp {
    VerifyOtp {
        phone: Phone::from_e164(phone).unwrap(),
        purpose: login(),
        user: ada(),
        code: code.clone(),
        idempotency_key: None,
    }
}

pub async fn verify(engine: &Engine, phone: &str, code: &Code) -> VerifyAnswer {
    engine.verify(&caller(), guess(phone, code)).await.unwrap()
}

pub async fn verdict(engine: &Engine, phone: &str, code: &Code) -> Verdict {
    verify(engine, phone, code).await.verdict
}

pub async fn dispatch(engine: &Engine) -> Dispatched {
    let due = Dispatch { limit: 100, early: false };
    engine.dispatch(&caller(), due, |id, error| panic!("message {id}: {error}")).await.unwrap()
}

/// One run of the command `dispatch`, which asks for everything that is on its way.
pub async fn dispatch_all(engine: &Engine) -> Dispatched {
    let all = Dispatch { limit: 100, early: true };
    engine.dispatch(&caller(), all, |id, error| panic!("message {id}: {error}")).await.unwrap()
}

/// Purges what has been finished for so long.
pub async fn purge(engine: &Engine, older_than: Duration) -> PurgeReport {
    let how = Purge { older_than: Some(older_than), dry_run: false, exclusive: false, batch: None, scrub: false };
    engine.purge(&caller(), &how, |_| true).await.unwrap()
}

/// Revokes what is alive for a phone.
pub async fn revoke(engine: &Engine, phone: &str) -> usize {
    let what = Revoke::Phone(Phone::from_e164(phone).unwrap(), None, None);
    engine.revoke(&caller(), &what, "lost phone").await.unwrap().len()
}

/// Makes the limits of a subject forget, and ada's guesses in a row with it where the subject is a phone.
pub async fn reset(engine: &Engine, subject: Subject) -> Forgotten {
    let reason = "ticket OPS-12".to_owned();
    let reset = Reset { subject, user: ada(), opt_out: false, clock: false, reason };
    engine.reset(&caller(), reset).await.unwrap()
}

pub fn phone_subject(phone: &str) -> Subject {
    Subject::Phone(Phone::from_e164(phone).unwrap())
}

/// What the database remembers of a subject.
pub async fn usage(engine: &Engine, subject: Subject) -> Usage {
    let found = engine.reads().usages(&[subject]).await.unwrap();
    found.into_iter().next().flatten().map(|fact| fact.usage).unwrap_or_default()
}

/// Sends on an engine that is abandoned when it meets a step, as a process that is killed there would be.
pub async fn send_and_die(engine: Engine, at: Step, ask: SendOtp) {
    let engine = engine.on_step(move |step| {
        if step == at {
            // Not a panic of its own: that would leave a message in the output of the tests.
            std::panic::resume_unwind(Box::new("killed"));
        }
    });
    let died = tokio::spawn(async move { engine.send(&caller(), ask).await }).await;
    assert!(died.is_err_and(|error| error.is_panic()), "it never came to {at:?}");
}

/// Every file in a directory, with its bytes.
pub fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_file()).map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
}

/// True where the bytes hold the needle.
pub fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// Runs a story that waits for things.
pub fn block_on<T>(story: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(story)
}
