//! The world of a story: books in a directory of its own, the sandbox in place of Twilio, a clock that moves when told to.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use smsotp::audit::Actor;
use smsotp::clock::{Clock, ManualClock, SystemClock};
use smsotp::code::Code;
use smsotp::config::Twilio as Settings;
use smsotp::engine::{Caller, Destination, Engine, Send, SendAnswer, Sent, Verdict, Verify, VerifyAnswer};
use smsotp::keys::{Keyring, SecretKey};
use smsotp::otp::User;
use smsotp::phone::{self, Phone};
use smsotp::provider::twilio::Twilio;
use smsotp::purpose::{Policy, Purpose};
use smsotp::sandbox::{self, Sandbox};
use smsotp::store::Store;
use smsotp::store::sqlite::{Opening, Sqlite};
use smsotp::template::Endings;

pub struct World {
    pub dir: tempfile::TempDir,
    pub clock: Arc<ManualClock>,
    pub sandbox: Sandbox,
    pub key: String,
    pub policy: Policy,
}

pub const PHONE: &str = "+14155550100";

impl World {
    pub fn new() -> World {
        World {
            dir: tempfile::tempdir().unwrap(),
            clock: Arc::new(ManualClock::at(SystemClock.now())),
            sandbox: Sandbox::start(sandbox::Options::default()).unwrap(),
            key: SecretKey::generate().unwrap().to_base64().to_string(),
            policy: Policy::default(),
        }
    }

    pub fn db(&self) -> PathBuf {
        self.dir.path().join("smsotp.db")
    }

    pub fn keyring(&self) -> Arc<Keyring> {
        Arc::new(Keyring::of(vec![SecretKey::from_base64(&self.key).unwrap()]).unwrap())
    }

    pub fn store(&self) -> Arc<dyn Store> {
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as Arc<dyn Clock>;
        Arc::new(Sqlite::open(&self.db(), &self.keyring(), clock, Opening::default()).unwrap())
    }

    /// An engine with the sandbox as its provider.
    pub fn engine(&self) -> Engine {
        Engine::new(self.store(), self.keyring(), Arc::new(self.policy.clone())).with_provider(Arc::new(self.twilio()))
    }

    pub fn twilio(&self) -> Twilio {
        let value = |name: &str| self.sandbox.env().into_iter().find(|(key, _)| key == name).unwrap().1;
        let settings = Settings {
            account_sid: Some(value("TWILIO_ACCOUNT_SID")),
            auth_token: Some(value("TWILIO_AUTH_TOKEN").into()),
            phone_number: Some(value("TWILIO_PHONE_NUMBER")),
            base_url: Some(value("TWILIO_API_BASE_URL").parse().unwrap()),
            ..Settings::default()
        };
        Twilio::new(smsotp::provider::twilio::Settings::check(&settings).unwrap()).unwrap()
    }

    pub fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// The code in the newest SMS to a phone, as its owner reads it.
    pub fn code_on(&self, phone: &str) -> Code {
        let body = self.sandbox.messages().iter().rev().find(|m| m.to == phone).unwrap().body.clone();
        Code::parse(&sandbox::inbox::extract_code(&body).unwrap()).unwrap()
    }

    /// A code that is not the given one.
    pub fn wrong(code: &Code) -> Code {
        let first = if code.expose().starts_with('0') { '1' } else { '0' };
        Code::parse(&format!("{first}{}", &code.expose()[1..])).unwrap()
    }
}

pub fn caller() -> Caller {
    Caller::new(Actor::System)
}

pub fn ask(phone: &str) -> Send {
    Send {
        to: Destination::Known(phone::parse(phone, None).unwrap()),
        purpose: Purpose::parse("login").unwrap(),
        user: User::parse("ada").unwrap(),
        new_code: false,
        override_limit: None,
        idempotency_key: None,
        endings: Endings::default(),
        segments_max: None,
        timeout: Duration::from_secs(45),
    }
}

pub async fn send(engine: &Engine, phone: &str) -> Sent {
    match engine.send(&caller(), ask(phone)).await.unwrap() {
        SendAnswer::Sent(sent) => *sent,
        SendAnswer::Refused(refusal) => panic!("refused: {refusal:?}"),
    }
}

pub async fn verify(engine: &Engine, phone: &str, code: &Code) -> VerifyAnswer {
    let ask = Verify {
        phone: Phone::from_e164(phone).unwrap(),
        purpose: Purpose::parse("login").unwrap(),
        user: User::parse("ada").unwrap(),
        code: code.clone(),
    };
    engine.verify(&caller(), ask).await.unwrap()
}

pub async fn verdict(engine: &Engine, phone: &str, code: &Code) -> Verdict {
    verify(engine, phone, code).await.verdict
}

/// Runs a story that waits for things.
pub fn block_on<T>(story: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(story)
}
