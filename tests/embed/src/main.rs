//! Sends a code through Twilio's adapter, reads it where the phone would, and verifies it on SQLite. A thread stands in for
//! Twilio: it takes one message on loopback.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use smsotp::audit::Actor;
use smsotp::clock::SystemClock;
use smsotp::code::Code;
use smsotp::engine::{Caller, Destination, Engine, SendAnswer, SendOtp, Verdict, VerifyOtp};
use smsotp::keys::{Keyring, SecretKey};
use smsotp::otp::User;
use smsotp::phone;
use smsotp::policy::Policy;
use smsotp::provider::twilio::{self, Twilio};
use smsotp::purpose::Purpose;
use smsotp::store::sqlite::{Sqlite, SqliteOptions};
use smsotp::template::Endings;

const ACCOUNT: &str = "AC00000000000000000000000000000000";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let account = twilio::Settings::check(&twilio::Account {
        account_sid: Some(ACCOUNT.to_owned()),
        auth_token: Some("token".into()),
        phone_number: Some("+12025550100".to_owned()),
        base_url: Some(format!("http://{}", listener.local_addr()?).parse()?),
        ..twilio::Account::default()
    })?;
    let network = thread::spawn(move || -> std::io::Result<String> { message(listener.accept()?.0) });

    let folder = tempfile::tempdir()?;
    let keyring = Arc::new(Keyring::new(vec![SecretKey::generate()?]).ok_or("no key")?);
    let options = SqliteOptions::default();
    let store = Sqlite::open(&folder.path().join("smsotp.db"), &keyring, Arc::new(SystemClock), options)?;
    let engine = Engine::new(Arc::new(store), keyring, Arc::new(Policy::default()))
        .with_provider(Arc::new(Twilio::new(account)?));
    let caller = Caller::new(Actor::System);

    let number = phone::parse("+1 415-555-0123", None)?;
    let phone = number.phone.clone();
    let (purpose, user) = (Purpose::parse("login").ok_or("no purpose")?, User::parse("ada")?);
    let send = SendOtp {
        to: Destination::Known(number),
        purpose: purpose.clone(),
        user: user.clone(),
        new_code: false,
        challenge_passed: false,
        override_limits: None,
        idempotency_key: None,
        endings: Endings::default(),
        locale: None,
        segments_max: None,
        timeout: Duration::from_secs(45),
    };
    let SendAnswer::Sent(_) = engine.send(&caller, send).await? else { return Err("the code was refused".into()) };

    let text = network.join().map_err(|_| "the stand-in failed")??;
    let typed: String = text.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    let verify = VerifyOtp { phone, purpose, user, code: Code::parse(&typed)?, idempotency_key: None };
    let verdict = engine.verify(&caller, verify).await?.verdict;
    if verdict != Verdict::Verified {
        return Err(format!("the code in {text:?} was not verified: {verdict:?}").into());
    }
    println!("verified");
    Ok(())
}

/// Takes one message as Twilio does, and answers its text.
fn message(mut stream: TcpStream) -> std::io::Result<String> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().to_lowercase().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().unwrap_or(0),
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let mut form = vec![0; length];
    reader.read_exact(&mut form)?;
    let answer = format!(r#"{{"sid": "SM{:032}", "status": "queued", "account_sid": "{ACCOUNT}"}}"#, 1);
    let head = "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length:";
    write!(stream, "{head} {}\r\n\r\n{answer}", answer.len())?;
    let text = url::form_urlencoded::parse(&form).find(|(name, _)| name == "Body");
    Ok(text.map(|(_, text)| text.into_owned()).unwrap_or_default())
}
