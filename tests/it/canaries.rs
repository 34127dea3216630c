//! Canaries: unique codes, tokens, keys and phones are planted, the operations are done, and every file, error and log line is
//! looked through for them.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use smsotp::engine::{Override, Reset, Revoke, SendMessage, SendOtp};
use smsotp::error::Error;
use smsotp::limits::Limit;
use smsotp::sandbox::Fault;
use smsotp::store::Subject;

use crate::world::{
    OTHER, PHONE, World, ada, ask, audit_rows, block_on, caller, client, dispatch, files, guess, holds, keyring,
    new_key, purge, refusal, send, send_as, verify,
};

/// Everything that was logged, at whatever level.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<u8>>>);

impl Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Heard {
    fn say(&self, words: &str) {
        self.clone().write_all(words.as_bytes()).unwrap();
    }

    /// All that an error can be shown as.
    fn say_error(&self, error: &Error) {
        let mut cause: Option<&dyn std::error::Error> = Some(error);
        while let Some(one) = cause {
            self.say(&format!("{one} {one:?}\n"));
            cause = one.source();
        }
        self.say(error.hint_text().unwrap_or_default());
    }
}

/// The operations, well and badly, with what they say.
async fn live(world: &mut World, heard: &Heard) -> Vec<String> {
    let engine = world.engine();
    let mut codes = Vec::new();
    for fault in [
        None,
        Some(Fault::Code(21_211)),
        Some(Fault::Problem(21_211)),
        Some(Fault::Unauthorized),
        Some(Fault::Error500AfterAccepting),
        Some(Fault::ResetAfterAccepting),
        Some(Fault::HtmlPage(502)),
        Some(Fault::MalformedJson),
        Some(Fault::Redirect(format!("http://127.0.0.1:9/{PHONE}"))),
    ] {
        let idempotency_key = fault.as_ref().map(|fault| format!("key-{fault:?}-{PHONE}"));
        let again = fault.clone();
        world.sandbox.fault(fault.unwrap_or(Fault::Latency(Duration::ZERO)), 1);
        let asked = SendOtp { new_code: true, idempotency_key, ..ask(PHONE) };
        let asked = SendOtp {
            override_limits: Some(Override {
                limits: vec![Limit::Cooldown],
                number: false,
                caps: false,
                reason: format!("call {PHONE}"),
            }),
            ..asked
        };
        let answer = engine.send(&client("192.0.2.1"), asked).await;
        heard.say(&answer.map_or_else(|error| format!("{error:?}"), |answer| format!("{answer:?}")));
        codes.extend(world.texts(PHONE).last().map(|text| crate::world::code_in(text).expose().to_owned()));
        if let Some(fault) = again {
            world.sandbox.fault(fault, 1);
        }
        let text = format!("swordfish-{}", codes.len());
        let message = SendMessage { idempotency_key: Some(text.clone()), ..crate::messages::message(OTHER, &text) };
        let answer = engine.send_message(&caller(), message).await;
        heard.say(&answer.map_or_else(|error| format!("{error:?}"), |answer| format!("{answer:?}")));
        codes.push(text);
        world.advance(61);
        heard.say(&format!("{:?}", dispatch(&engine).await));
    }
    world.sandbox.clear_faults();
    let code = world.code_on(PHONE);
    for code in [World::wrong(&code), code.clone(), code.clone()] {
        heard.say(&format!("{:?}", verify(&engine, PHONE, &code).await));
    }
    send(&engine, OTHER).await;
    codes.push(world.code_on(OTHER).expose().to_owned());
    let why = format!("told {} to {PHONE}", code.expose());
    for id in 1..=10 {
        heard.say(&format!("{:?}", engine.revoke(&caller(), &Revoke::Id(id), &why).await.unwrap()));
    }
    let subject = Subject::Phone(ask(PHONE).to.phone().clone());
    heard.say(&format!(
        "{:?}",
        engine
            .reset(&caller(), Reset { subject, user: ada(), opt_out: true, clock: false, reason: PHONE.to_owned() })
            .await
    ));
    world.policy.limits.cooldown = vec![Duration::from_secs(60)];
    heard.say(&format!("{:?}", refusal(&world.engine(), OTHER).await));

    // And all that can be wrong with keys, database and clock.
    let fail = |error: Error| heard.say_error(&error);
    let wrong = keyring(&[new_key()]);
    let opening = smsotp::store::sqlite::SqliteOptions::default;
    fail(smsotp::store::sqlite::Sqlite::open(&world.db(), &wrong, world.shared_clock(), opening()).err().unwrap());
    fail(
        engine
            .send(&caller(), SendOtp { purpose: smsotp::purpose::Purpose::parse("haircut").unwrap(), ..ask(PHONE) })
            .await
            .unwrap_err(),
    );
    let mismatch = SendOtp { idempotency_key: Some(format!("key-{:?}-{PHONE}", Fault::Unauthorized)), ..ask(OTHER) };
    fail(engine.send(&caller(), mismatch).await.unwrap_err());
    let now = world.now();
    world.clock.set(now - Duration::from_secs(7200));
    fail(engine.send(&caller(), ask(PHONE)).await.unwrap_err());
    fail(engine.verify(&caller(), guess(PHONE, &code)).await.unwrap_err());
    world.clock.set(now);
    world.sql().execute_batch("UPDATE subjects SET usage = 'nonsense' WHERE kind = 'phone'").unwrap();
    fail(engine.verify(&caller(), guess(PHONE, &code)).await.unwrap_err());
    world.sql().execute_batch("UPDATE subjects SET usage = '{}' WHERE kind = 'phone'").unwrap();
    world.keys.insert(0, new_key());
    let newer = world.engine();
    send_as(&newer, &caller(), SendOtp { new_code: true, ..ask(PHONE) }).await;
    codes.push(world.code_on(PHONE).expose().to_owned());
    fail(engine.verify(&caller(), guess(PHONE, &code)).await.unwrap_err());
    purge(&newer, Duration::ZERO).await;
    codes
}

#[test]
fn no_code_token_key_or_phone_is_in_any_file_error_or_log() {
    let mut world = World::unlimited();
    world.policy.purposes.get_mut(&crate::world::login()).unwrap().digits = 10;
    let heard = Heard::default();
    let mouth = heard.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || mouth.clone())
        .finish();
    // With one dispatcher in the process, whether a callsite logs is decided once by the thread that reaches it first, and that
    // may belong to another test. With two, every dispatcher is asked.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let codes = tracing::subscriber::with_default(subscriber, || block_on(live(&mut world, &heard)));
    let rows = block_on(audit_rows(&world.store()));
    rows.iter().for_each(|row| heard.say(&String::from_utf8_lossy(&row.body)));

    let mut secrets: Vec<(&str, Vec<u8>)> = vec![("auth token", world.sandbox.auth_token().as_bytes().to_vec())];
    secrets.extend(codes.iter().map(|code| ("code", code.as_bytes().to_vec())));
    for key in &world.keys {
        let raw = STANDARD.decode(key).unwrap();
        let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
        secrets.extend([
            ("key in base64", key.trim_end_matches('=').as_bytes().to_vec()),
            ("key in hex", hex.into_bytes()),
        ]);
        secrets.push(("key in base64 for URLs", URL_SAFE_NO_PAD.encode(&raw).into_bytes()));
        secrets.push(("key", raw));
    }
    let basic = format!("{}:{}", world.sandbox.account_sid(), world.sandbox.auth_token());
    secrets.push(("basic authentication", STANDARD.encode(basic).trim_end_matches('=').as_bytes().to_vec()));

    let said = heard.0.lock().unwrap().clone();
    let text = String::from_utf8_lossy(&said);
    assert!(said.len() > 5000 && text.contains("TRACE"), "the canaries could have been heard");
    for (what, secret) in &secrets {
        let line = text.lines().find(|line| holds(line.as_bytes(), secret));
        assert_eq!(line, None, "{what} was logged or shown");
        for (path, bytes) in files(world.dir.path()) {
            assert!(!holds(&bytes, secret), "{what} in {}", path.display());
        }
    }
    // A phone may stand in the database; nowhere else.
    for phone in [&PHONE[1..], &OTHER[1..]] {
        let line = text.lines().find(|line| line.contains(phone));
        assert_eq!(line, None, "a whole phone was logged or shown");
    }
}
