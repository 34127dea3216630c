//! Twilio's callbacks: believed by their signature alone, taken in any order, and once.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use smsotp::engine::{Inbound, InboundAnswer, InboundText, Sent, Verdict};
use smsotp::http::ServerSettings;
use smsotp::message::State;
use smsotp::provider::twilio::signature::sign;
use smsotp::provider::twilio::{Account, Twilio};
use smsotp::sandbox::Fault;

use crate::stores::{Database, on_every_store};
use crate::window::{Answer, INBOUND, PUBLIC, STATUS, Window, settings};
use crate::world::{
    OTHER, PHONE, World, ask, block_on, caller, dispatch, phone_subject, purge, refusal, reset, send, usage, verdict,
};

on_every_store![
    a_delivery_is_recorded_forward_only_and_once,
    an_undelivered_message_keeps_its_error_code_and_one_of_unknown_outcome_gets_its_id,
    what_is_not_about_the_message_changes_nothing,
    stop_ends_messages_at_once_and_start_begins_them_again,
    a_text_counts_once_however_often_it_comes_in,
    what_is_remembered_of_texts_is_bounded,
    an_opt_out_that_a_report_tells_of_is_kept_unless_the_owner_has_texted_since,
    where_no_callback_comes_the_worker_asks_until_it_knows,
];

fn form(params: &[(String, String)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish()
}

fn params(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn post(window: &Window, path: &str, signature: &str, body: &str) -> Answer {
    let headers = [("Content-Type", "application/x-www-form-urlencoded"), ("X-Twilio-Signature", signature)];
    window.ask("POST", path, &headers, body)
}

/// A callback as Twilio posts it.
fn call(world: &World, window: &Window, path: &str, pairs: &[(&str, &str)]) -> Answer {
    let params = params(pairs);
    let signature = sign(world.sandbox.auth_token(), &format!("{PUBLIC}{path}"), &params);
    post(window, path, &signature, &form(&params))
}

fn state(world: &World, id: i64) -> State {
    State::parse(&world.word(&format!("SELECT state FROM messages WHERE id = {id}"))).unwrap()
}

/// The state of a message of a database of any kind.
fn state_of(database: &Database, id: i64) -> State {
    State::parse(&database.word(&format!("SELECT state FROM messages WHERE id = {id}"))).unwrap()
}

async fn a_delivery_is_recorded_forward_only_and_once(database: &mut Database) {
    let engine = database.engine().await;
    let window = Window::with(database, engine.clone(), settings());
    let sent = send(&engine, PHONE).await;
    let (path, sid) = (format!("{STATUS}?m={}", sent.message_id), sent.provider_id.clone().unwrap());
    let report = |status: &str| {
        call(
            database,
            &window,
            &path,
            &[("MessageSid", &sid), ("MessageStatus", status), ("To", PHONE), ("Later", "x")],
        )
        .status
    };

    for (status, expected) in [
        ("sent", State::Sent),
        ("queued", State::Sent),
        ("delivered", State::Delivered),
        ("sent", State::Delivered),
        ("delivered", State::Delivered),
        ("a word of tomorrow", State::Delivered),
        ("undelivered", State::Delivered),
        ("failed", State::Delivered),
        ("read", State::Read),
        ("delivered", State::Read),
    ] {
        assert_eq!(report(status), 204, "{status}");
        assert_eq!(state_of(database, sent.message_id), expected, "after {status}");
    }
    // News leave a row, old news none.
    assert_eq!(database.audit()[2..], ["report sent", "report delivered", "report read"]);
}

async fn an_undelivered_message_keeps_its_error_code_and_one_of_unknown_outcome_gets_its_id(database: &mut Database) {
    let engine = database.engine().await;
    let window = Window::with(database, engine.clone(), settings());
    // The answer of the provider got lost: the callback brings the id.
    database.sandbox.fault(Fault::Error500AfterAccepting, 1);
    let sent = send(&engine, PHONE).await;
    assert_eq!((sent.state, sent.provider_id.as_ref()), (State::Unknown, None));
    let sid = database.sandbox.messages()[0].sid.clone();
    let path = format!("{STATUS}?m={}", sent.message_id);

    let pairs = [("MessageSid", sid.as_str()), ("MessageStatus", "undelivered"), ("ErrorCode", "30003"), ("To", PHONE)];
    assert_eq!(call(database, &window, &path, &pairs).status, 204);

    assert_eq!(state_of(database, sent.message_id), State::Undelivered);
    assert_eq!(database.word("SELECT provider_id FROM messages"), sid);
    assert_eq!(database.word("SELECT error_code FROM messages"), "30003");
    assert_eq!(database.number("SELECT count(due_at) FROM messages"), 0, "nobody has to look for it");
    // It may have arrived all the same: a code that somebody knows was delivered.
    assert_eq!(verdict(&engine, PHONE, &database.code_on(PHONE)).await, Verdict::Verified);
}

async fn what_is_not_about_the_message_changes_nothing(database: &mut Database) {
    let engine = database.engine().await;
    let window = Window::with(database, engine.clone(), settings());
    let sent = send(&engine, PHONE).await;
    let (id, sid) = (sent.message_id, sent.provider_id.clone().unwrap());
    let path = |query: &str| format!("{STATUS}{query}");
    let delivered = |sid: &str, to: &str| params(&[("MessageSid", sid), ("MessageStatus", "delivered"), ("To", to)]);
    let other_sid = format!("SM{}", "0".repeat(32));
    let rows = database.audit().len();
    for (query, params) in [
        (String::new(), delivered(&sid, PHONE)),
        ("?m=999".to_owned(), delivered(&sid, PHONE)),
        ("?m=-1".to_owned(), delivered(&sid, PHONE)),
        ("?m=99999999999999999999".to_owned(), delivered(&sid, PHONE)),
        (format!("?m={id}&m={id}"), delivered(&sid, PHONE)),
        (format!("?m={id}"), delivered(&other_sid, PHONE)),
        (format!("?m={id}"), delivered(&sid, OTHER)),
        (format!("?m={id}"), params(&[("MessageStatus", "delivered")])),
    ] {
        let path = path(&query);
        let signature = sign(database.sandbox.auth_token(), &format!("{PUBLIC}{path}"), &params);
        assert_eq!(post(&window, &path, &signature, &form(&params)).status, 204, "{query}");
        assert_eq!(state_of(database, id), State::Accepted, "{query}");
    }
    assert_eq!(database.audit().len(), rows);
}

#[test]
fn a_forged_callback_is_refused_whatever_it_forges() {
    let world = World::new();
    let window = Window::open(&world);
    let sent = block_on(send(&world.engine(), PHONE));
    let (id, sid) = (sent.message_id, sent.provider_id.clone().unwrap());
    let path = format!("{STATUS}?m={id}");
    let url = format!("{PUBLIC}{path}");
    let token = world.sandbox.auth_token().to_owned();
    let good = params(&[("MessageSid", &sid), ("MessageStatus", "delivered"), ("To", PHONE)]);
    let signature = sign(&token, &url, &good);
    let body = form(&good);
    let extra = [good.clone(), params(&[("Extra", "1")])].concat();
    let other = format!("{STATUS}?m={}", id + 1);
    let swapped = signature.to_ascii_lowercase();
    for (what, path, signature, body) in [
        ("no signature", &path, "", &body),
        ("another token", &path, sign("0123456789abcdef0123456789abcdef", &url, &good).as_str(), &body),
        ("another host", &path, sign(&token, &url.replace("otp.example.com", "evil.example"), &good).as_str(), &body),
        (
            "the address that it came in on",
            &path,
            sign(&token, &format!("http://{}{path}", window.address), &good).as_str(),
            &body,
        ),
        ("http for https", &path, sign(&token, &url.replace("https", "http"), &good).as_str(), &body),
        ("another port", &path, sign(&token, &url.replace(".com", ".com:8443"), &good).as_str(), &body),
        ("another message", &other, signature.as_str(), &body),
        ("a parameter more", &path, signature.as_str(), &form(&extra)),
        ("a parameter less", &path, signature.as_str(), &form(&good[..2])),
        ("another status", &path, signature.as_str(), &body.replace("delivered", "failed")),
        ("another case", &path, swapped.as_str(), &body),
        ("padding gone", &path, signature.trim_end_matches('='), &body),
        ("something behind it", &path, &format!("{signature} "), &format!("{body}&a=b")),
        ("SHA-256", &path, sha256(&token, &url, &good).as_str(), &body),
    ] {
        let answer = post(&window, path, signature, body);
        assert_eq!((answer.status, answer.code().as_str()), (403, "signature_invalid"), "{what}");
        assert_eq!(state(&world, id), State::Accepted, "{what}");
    }
    let headers = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("X-Twilio-Signature", signature.as_str()),
        ("X-Twilio-Signature", signature.as_str()),
    ];
    assert_eq!(window.ask("POST", &path, &headers, &body).status, 403, "two signatures");
    assert_eq!(post(&window, &path, &signature, &body).status, 204, "the real one");
    assert!(window.get("/metrics", "").body.contains("smsotp_callbacks_total{kind=\"any\",outcome=\"forged\"} 15"));
}

#[test]
fn the_port_and_the_encoding_of_the_query_may_be_written_either_way() {
    let world = World::new();
    let window = Window::open(&world);
    for (nth, signed_as) in ["https://otp.example.com:443", "https://otp.example.com"].into_iter().enumerate() {
        let phone = format!("+1415555012{nth}");
        let sent = block_on(send(&world.engine(), &phone));
        let path = format!("{STATUS}?m={}&note='1'", sent.message_id);
        let params = params(&[("MessageSid", &sent.provider_id.clone().unwrap()), ("MessageStatus", "delivered")]);
        for query in [path.clone(), path.replace('\'', "%27")] {
            let signature = sign(world.sandbox.auth_token(), &format!("{signed_as}{query}"), &params);
            assert_eq!(post(&window, &path, &signature, &form(&params)).status, 204, "{signed_as} {query}");
        }
        assert_eq!(state(&world, sent.message_id), State::Delivered);
    }
}

#[test]
fn a_json_callback_is_believed_by_the_hash_of_its_body() {
    let world = World::new();
    let window = Window::open(&world);
    let sent = block_on(send(&world.engine(), PHONE));
    let body = format!(r#"{{"MessageSid":"{}","MessageStatus":"delivered"}}"#, sent.provider_id.clone().unwrap());
    let hash = |body: &str| {
        use sha2::Digest;
        sha2::Sha256::digest(body.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let call = |hash: &str, body: &str| {
        let path = format!("{STATUS}?m={}&bodySHA256={hash}", sent.message_id);
        let signature = sign(world.sandbox.auth_token(), &format!("{PUBLIC}{path}"), &[]);
        window
            .ask("POST", &path, &[("Content-Type", "application/json"), ("X-Twilio-Signature", &signature)], body)
            .status
    };

    assert_eq!(call(&hash("{}"), &body), 403);
    assert_eq!(call("", &body), 403);
    assert_eq!(state(&world, sent.message_id), State::Accepted);
    assert_eq!(call(&hash(&body), &body), 204);
    assert_eq!(state(&world, sent.message_id), State::Delivered);
    assert_eq!(call(&hash("[]"), "[]"), 400, "signed, and no report");
}

async fn stop_ends_messages_at_once_and_start_begins_them_again(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    let window = Window::with(database, engine.clone(), settings());
    let sids = std::cell::Cell::new(0);
    let text = |from: &str, body: &str, known: Option<&str>| {
        sids.set(sids.get() + 1);
        let sid = format!("SM{}", sids.get());
        let mut pairs = vec![("From", from), ("To", "+12025550100"), ("Body", body), ("MessageSid", &sid)];
        pairs.extend(known.map(|kind| ("OptOutType", kind)));
        call(database, &window, INBOUND, &pairs)
    };

    let answer = text(PHONE, " Stop. ", None);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/xml; charset=utf-8")));
    assert!(answer.body.contains("<Message>smsotp: you get no more codes"), "{}", answer.body);
    assert_eq!(refusal(&engine, PHONE).await.code.name, "opted_out");
    assert_eq!(database.sandbox.requests(), 0, "the provider is not even asked");
    assert!(!text(PHONE, "STOP", None).body.contains("<Message>"), "one confirmation, and no second");

    // Twilio has answered itself where it knew the word.
    assert!(!text(OTHER, "whatever", Some("STOP")).body.contains("<Message>"));
    assert_eq!(refusal(&engine, OTHER).await.code.name, "opted_out");

    assert!(text(PHONE, "help", None).body.contains("Reply STOP"));
    assert!(!text(PHONE, "help", Some("HELP")).body.contains("<Message>"));
    assert!(!text(PHONE, "thanks!", None).body.contains("<Message>"));
    assert_eq!(refusal(&engine, PHONE).await.code.name, "opted_out", "only START ends a STOP");

    assert!(text(PHONE, "START", None).body.contains("<Message>"));
    send(&engine, PHONE).await;
    assert_eq!(text("whatsapp:+14155550100", "STOP", None).status, 200);
    send(&engine, PHONE).await;

    let forged = params(&[("From", PHONE), ("Body", "STOP")]);
    assert_eq!(post(&window, INBOUND, "AAAA", &form(&forged)).status, 403);
    send(&engine, PHONE).await;
}

/// A text of PHONE's owner with this id, as Twilio posts it.
fn texted(database: &Database, window: &Window, sid: &str, body: &str) -> Answer {
    let pairs = [("From", PHONE), ("To", "+12025550100"), ("Body", body), ("MessageSid", sid)];
    call(database, window, INBOUND, &pairs)
}

async fn a_text_counts_once_however_often_it_comes_in(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    let window = Window::with(database, engine.clone(), settings());
    let text = |sid: &str, body: &str| texted(database, &window, sid, body);

    assert!(text("SM1", "PARAR").body.contains("<Message>"));
    // A second STOP changes nothing now, and would change something if it came in again later.
    text("SM2", "stop");
    assert!(text("SM3", "START").body.contains("<Message>"));
    send(&engine, PHONE).await;
    let rows = database.audit().len();
    for sid in ["SM1", "SM2", "SM1", "SM3"] {
        let answer = text(sid, if sid == "SM3" { "START" } else { "STOP" });
        assert_eq!((answer.status, answer.body.contains("<Message>")), (200, false), "{sid}");
    }
    assert_eq!(database.audit().len(), rows);
    send(&engine, PHONE).await;

    // It is remembered in the database: by another server, after a reset by staff, a purge and a year.
    reset(&engine, phone_subject(PHONE)).await;
    database.advance(366 * 86_400);
    purge(&engine, Duration::ZERO).await;
    let other = Window::with(database, database.engine().await, settings());
    texted(database, &other, "SM1", "STOP");
    send(&engine, PHONE).await;

    // A new one is heard, and a START from before it does not undo it.
    texted(database, &other, "SM4", "Cancelar");
    texted(database, &other, "SM3", "START");
    assert_eq!(refusal(&engine, PHONE).await.code.name, "opted_out");
    let nameless = [("From", PHONE), ("Body", "START")];
    assert_eq!(call(database, &other, INBOUND, &nameless).status, 200);
    assert_eq!(refusal(&engine, PHONE).await.code.name, "opted_out", "every text of Twilio's has an id");
}

async fn what_is_remembered_of_texts_is_bounded(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    let from = ask(PHONE).to.phone().clone();
    for nth in 0..200 {
        let id = format!("SM{nth}");
        engine.inbound(&caller(), InboundText { id: &id, from: &from, what: Inbound::Stop }).await.unwrap();
    }
    assert_eq!(usage(&engine, phone_subject(PHONE)).await.texts.len(), 64);
    assert_eq!(database.audit().len(), 64, "who texts on and on fills no log");
    // What changes something is always heard and remembered.
    for (nth, what) in [Inbound::Start, Inbound::Stop, Inbound::Start].into_iter().enumerate() {
        let id = format!("later {nth}");
        engine.inbound(&caller(), InboundText { id: &id, from: &from, what }).await.unwrap();
    }
    let replayed = InboundText { id: "later 1", from: &from, what: Inbound::Stop };
    assert_eq!(engine.inbound(&caller(), replayed).await.unwrap(), InboundAnswer::Unchanged);
    let kept = usage(&engine, phone_subject(PHONE)).await;
    assert_eq!((kept.texts.len(), kept.opted_out_at), (64, None));
    // In the end nothing of a phone that is not opted out stays.
    database.advance(401 * 86_400);
    purge(&engine, Duration::ZERO).await;
    assert_eq!(database.number("SELECT count(*) FROM subjects WHERE kind = 'phone'"), 0);
}

async fn an_opt_out_that_a_report_tells_of_is_kept_unless_the_owner_has_texted_since(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    let window = Window::with(database, engine.clone(), settings());
    let report = |sent: &Sent| {
        let path = format!("{STATUS}?m={}", sent.message_id);
        let sid = sent.provider_id.as_deref().unwrap();
        call(database, &window, &path, &[("MessageSid", sid), ("MessageStatus", "failed"), ("ErrorCode", "21610")])
    };
    let before = send(&engine, PHONE).await;
    database.advance(60);
    texted(database, &window, "SM1", "STOP");
    texted(database, &window, "SM2", "START");
    assert_eq!(report(&before).status, 204);
    let after = send(&engine, PHONE).await;

    assert_eq!(report(&after).status, 204);
    assert_eq!(refusal(&engine, PHONE).await.code.name, "opted_out");
}

#[test]
fn the_sandboxs_own_callbacks_arrive() {
    use smsotp::sandbox::Options;
    // A port that was free a moment ago: the sandbox and the provider have to know the address beforehand.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let public = format!("http://127.0.0.1:{port}");
    let world = World::with(Options { inbound_url: Some(format!("{public}{INBOUND}")), ..Options::default() });
    let settings = ServerSettings { listen: format!("127.0.0.1:{port}").parse().unwrap(), ..settings() };
    let window = Window::at(&world, world.engine(), settings, &public);
    let engine = world.engine().with_provider(Arc::new(calling_back(&world, &format!("{public}{STATUS}"))));
    let sent = block_on(send(&engine, PHONE));

    world.sandbox.set_status(&sent.provider_id.clone().unwrap(), "delivered", None);
    world.sandbox.reply(OTHER, "Stop", None);

    let arrived = |world: &World| {
        let opted_out = world.number("SELECT count(*) FROM subjects WHERE usage LIKE '%opted_out_at%'") == 1;
        state(world, sent.message_id) == State::Delivered && opted_out
    };
    for _ in 0..1000 {
        if arrived(&world) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(arrived(&world), "{:?}", world.sandbox.callbacks());
    drop(window);
}

async fn where_no_callback_comes_the_worker_asks_until_it_knows(database: &mut Database) {
    let engine = database.engine().await.polling(Duration::from_secs(10));
    let sent = send(&engine, PHONE).await;
    let sid = sent.provider_id.clone().unwrap();
    let rows = database.audit().len();

    database.advance_almost(10);
    assert_eq!(dispatch(&engine).await.looked_at, 0, "not yet");
    database.until_then();
    assert_eq!(dispatch(&engine).await.open, 1);
    assert_eq!(database.audit().len(), rows, "nothing has changed, and when it asks again is nobody's business");
    database.advance(10);
    database.sandbox.set_status(&sid, "sent", None);
    assert_eq!(dispatch(&engine).await.open, 1);
    assert_eq!(state_of(database, sent.message_id), State::Sent);
    database.advance_almost(20);
    assert_eq!(dispatch(&engine).await.looked_at, 0, "the pauses grow");
    database.until_then();
    database.sandbox.set_status(&sid, "delivered", None);
    assert_eq!(dispatch(&engine).await.found, 1);
    assert_eq!(state_of(database, sent.message_id), State::Delivered);
    assert_eq!(database.audit()[rows..], ["poll sent", "poll delivered"], "what was learned leaves a row");
    database.advance(3600);
    assert_eq!(dispatch(&engine).await.looked_at, 0, "there is nothing more to learn");

    let failed = send(&engine, OTHER).await;
    database.advance(10);
    database.sandbox.set_status(failed.provider_id.as_ref().unwrap(), "undelivered", Some(30_003));
    assert_eq!(dispatch(&engine).await.found, 1);
    let error = database.word(&format!("SELECT error_code FROM messages WHERE id = {}", failed.message_id));
    assert_eq!(error, "30003");

    let silent = send(&engine, "+14155550102").await;
    // Asked for at ages of 10, 20, 40 s and so on, and for the last time after more than an hour.
    let mut polls = 0;
    for _ in 0..20 {
        database.advance(600);
        polls += dispatch(&engine).await.looked_at;
    }
    assert_eq!(polls, 4);
    assert_eq!(state_of(database, silent.message_id), State::Accepted, "nothing more was ever heard");
    assert_eq!(database.number("SELECT count(due_at) FROM messages"), 0, "and nobody asks for ever");
}

fn calling_back(world: &World, url: &str) -> Twilio {
    let value = |name: &str| world.sandbox.env().into_iter().find(|(key, _)| key == name).unwrap().1;
    let given = Account {
        account_sid: Some(value("TWILIO_ACCOUNT_SID")),
        auth_token: Some(value("TWILIO_AUTH_TOKEN").into()),
        phone_number: Some(value("TWILIO_PHONE_NUMBER")),
        base_url: Some(value("TWILIO_API_BASE_URL").parse().unwrap()),
        status_callback: Some(url.parse().unwrap()),
        ..Account::default()
    };
    Twilio::new(smsotp::provider::twilio::Settings::check(&given).unwrap()).unwrap()
}

fn sha256(token: &str, url: &str, params: &[(String, String)]) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(token.as_bytes()).unwrap();
    mac.update(url.as_bytes());
    for (key, value) in params {
        mac.update(key.as_bytes());
        mac.update(value.as_bytes());
    }
    STANDARD.encode(mac.finalize().into_bytes())
}
