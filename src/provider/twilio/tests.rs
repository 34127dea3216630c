//! Twilio's answers, good and hostile, from a server on loopback that sends what the test dictates.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use url::Url;

use super::*;
use crate::clock::ManualClock;
use crate::message::State;
use crate::provider::Blame;

const AC: &str = "ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const SM: &str = "SMbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const TOKEN: &str = "token-canary";

/// A server that answers each connection's request with the next of `acts` and reports the requests.
fn server(acts: Vec<Act>) -> (Url, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for act in acts {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let _ = tell.send(request(&mut stream));
            act(stream);
        }
    });
    (base, told)
}

type Act = Box<dyn FnOnce(TcpStream) + Send>;

fn request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut chunk) {
        bytes.extend_from_slice(&chunk[..n]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn says(bytes: impl Into<Vec<u8>>) -> Act {
    let bytes = bytes.into();
    Box::new(move |mut stream| drop(stream.write_all(&bytes)))
}

fn answer(status: u16, headers: &str, body: &str) -> Act {
    says(format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}", body.len()))
}

fn api_error(status: u16, code: u32) -> Act {
    answer(status, "", &format!(r#"{{"code":{code},"message":"About +14155552671 and 123456","status":{status}}}"#))
}

fn settings(base: &Url) -> Settings {
    let given = Account {
        account_sid: Some(AC.to_owned()),
        auth_token: Some(TOKEN.into()),
        phone_number: Some("+15005550006".to_owned()),
        base_url: Some(base.clone()),
        status_callback: Some(Url::parse("https://example.com/cb?a=b").unwrap()),
        ..Account::default()
    };
    Settings::check(&given).unwrap()
}

fn twilio(base: &Url) -> Twilio {
    with(base, Timeouts::default())
}

/// One that waits a second at most, for answers that never end.
fn hasty(base: &Url) -> Twilio {
    let short = Duration::from_secs(1);
    with(base, Timeouts { connect: short / 2, create: short, read: short })
}

fn with(base: &Url, timeouts: Timeouts) -> Twilio {
    // 2026-11-22 12:00:00 UTC
    let clock = Arc::new(ManualClock::at(Timestamp(1_795_348_800_000)));
    Twilio::with(settings(base), timeouts, clock).unwrap()
}

fn message() -> Outgoing {
    Outgoing {
        message_id: 42,
        to: Phone::from_e164("+14155552671").unwrap(),
        body: "Your ACME code is 123456 & more".into(),
        validity_seconds: Some(600),
    }
}

async fn send_to(act: Act) -> Delivery {
    let (base, _told) = server(vec![act]);
    safe(twilio(&base).send(&message()).await)
}

async fn send_hastily_to(act: Act) -> Delivery {
    let (base, _told) = server(vec![act]);
    safe(hasty(&base).send(&message()).await)
}

/// No outcome shows the number, the code, the token or an escape sequence.
fn safe(delivery: Delivery) -> Delivery {
    let shown = format!("{delivery:?}");
    for secret in ["14155552671", "123456", TOKEN] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    assert!(!shown.contains('\u{1b}') && !shown.contains("\\u{1b}"), "{shown}");
    delivery
}

fn refused(delivery: Delivery) -> super::super::Reason {
    match delivery {
        Delivery::Refused(refused) => refused,
        other => panic!("not refused: {other:?}"),
    }
}

fn is_maybe(delivery: &Delivery) -> bool {
    matches!(delivery, Delivery::Maybe { why } if !why.is_empty())
}

fn created(sid: &str, account: &str) -> String {
    format!(r#"{{"sid":"{sid}","account_sid":"{account}","status":"queued","num_segments":"1"}}"#)
}

#[tokio::test]
async fn a_message_is_posted_as_twilio_wants_it_and_accepted() {
    let (base, told) = server(vec![answer(201, "Date: Sun, 22 Nov 2026 12:00:05 GMT\r\n", &created(SM, AC))]);
    let twilio = twilio(&base);
    let accepted = Delivery::Accepted { provider_id: SM.to_owned(), state: State::Accepted };
    assert_eq!(twilio.send(&message()).await, accepted);
    assert_eq!(twilio.clock_skew_ms(), 5000);

    let request = told.recv().unwrap();
    assert!(request.starts_with(&format!("POST /2010-04-01/Accounts/{AC}/Messages.json HTTP/1.1\r\n")));
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.to_lowercase().contains(&format!("user-agent: smsotp/{}", env!("CARGO_PKG_VERSION"))));
    let form: Vec<(String, String)> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let expected = [
        ("To", "+14155552671"),
        ("From", "+15005550006"),
        ("Body", "Your ACME code is 123456 & more"),
        ("RiskCheck", "enable"),
        ("ValidityPeriod", "600"),
        ("StatusCallback", "https://example.com/cb?a=b&m=42"),
    ];
    assert_eq!(form, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
}

#[tokio::test]
async fn refusals_are_explained_and_blamed() {
    let bad_number = refused(send_to(api_error(400, 21211)).await);
    assert_eq!((bad_number.code, bad_number.http_status, bad_number.blame), (Some(21211), Some(400), Blame::Request));
    assert_eq!(bad_number.fix.as_deref(), Some(catalogue::explain(21211).entry.fix));
    let stopped = refused(send_to(api_error(400, 21610)).await);
    assert!(stopped.opted_out && stopped.blame == Blame::Recipient);
    assert_eq!(refused(send_to(api_error(400, 21606)).await).blame, Blame::Setup);
    for (status, code) in [(401, 20003), (403, 20403), (401, 70051)] {
        let credentials = refused(send_to(api_error(status, code)).await);
        assert_eq!((credentials.blame, credentials.http_status), (Blame::Setup, Some(status)));
    }
    for (status, code, blame) in [
        (403, 60410, Blame::Fraud),
        (403, 60412, Blame::Fraud),
        (403, 60205, Blame::Recipient),
        (403, 60605, Blame::Setup),
        (403, 60999, Blame::Request),
        (400, 21608, Blame::Account),
    ] {
        assert_eq!(refused(send_to(api_error(status, code)).await).blame, blame, "{code}");
    }
    assert_eq!(refused(send_to(answer(403, "", "<html>denied</html>")).await).blame, Blame::Setup);
    let unknown = refused(send_to(api_error(400, 21999)).await);
    assert!(unknown.fix.unwrap().contains("https://www.twilio.com/docs/errors/21999"));
    assert!(unknown.meaning.contains("Twilio says: About +••• and •••"), "{}", unknown.meaning);
    let problem =
        r#"{"type":"x","title":"Bad request","status":400,"code":21617,"errors":[{"detail":"d","pointer":"/p"}]}"#;
    assert_eq!(
        refused(send_to(answer(400, "Content-Type: application/problem+json\r\n", problem)).await).code,
        Some(21617)
    );
    let html = refused(send_to(answer(404, "", "<html>\u{1b}[31mNot Found</html>")).await);
    assert_eq!((html.code, html.http_status, html.blame), (None, Some(404), Blame::Provider));
    let broken_off = says("HTTP/1.1 400 X\r\nContent-Length: 100\r\n\r\n{\"code\":");
    assert_eq!(refused(send_to(broken_off).await).http_status, Some(400));
}

#[tokio::test]
async fn who_is_busy_is_asked_again_later_and_not_sooner_than_he_says() {
    let busy = send_to(answer(429, "Retry-After: 7\r\n", r#"{"code":20429,"message":"x","status":429}"#)).await;
    assert!(matches!(&busy, Delivery::Busy { retry_after: Some(after), .. } if after.as_secs() == 7), "{busy:?}");
    let dated = "Date: Sun, 22 Nov 2026 12:00:05 GMT\r\nRetry-After: Sun, 22 Nov 2026 12:00:35 GMT\r\n";
    let busy = send_to(answer(429, dated, "<html>slow down</html>")).await;
    assert!(matches!(&busy, Delivery::Busy { retry_after: Some(after), .. } if after.as_secs() == 30), "{busy:?}");
    let silly = send_to(answer(429, "Retry-After: 99999999999999999999\r\n", "")).await;
    assert!(matches!(silly, Delivery::Busy { retry_after: None, .. }), "{silly:?}");
    let full = send_to(api_error(429, 21611)).await;
    assert!(matches!(&full, Delivery::Busy { code: Some(21611), .. }), "{full:?}");
    assert_eq!(refused(send_to(api_error(400, 21611)).await).blame, Blame::Limit);
    let down = r#"{"code":20503,"message":"x","status":503}"#;
    let busy = send_to(answer(503, "Retry-After: 120\r\n", down)).await;
    let after = |delivery: &Delivery| match delivery {
        Delivery::Busy { code, retry_after, .. } => (*code, retry_after.map(|after| after.as_secs())),
        other => panic!("not busy: {other:?}"),
    };
    assert_eq!(after(&busy), (Some(20503), Some(120)));
    assert_eq!(after(&send_to(answer(503, "Retry-After: 120\r\n", "<html>")).await), (None, Some(120)));
    assert!(is_maybe(&send_to(answer(503, "", down)).await), "it may have been taken");
}

#[tokio::test]
async fn an_answer_that_says_already_how_it_ended_is_no_success() {
    let created = |status: &str, code: &str| {
        let body = format!(
            r#"{{"sid":"{SM}","account_sid":"{AC}","status":"{status}","error_code":{code},"error_message":"About +14155552671"}}"#
        );
        answer(201, "", &body)
    };
    for (status, code, state, blame) in [
        ("failed", "30008", State::Failed, Blame::Carrier),
        ("undelivered", "\"30003\"", State::Undelivered, Blame::Recipient),
        ("canceled", "null", State::Canceled, Blame::Provider),
        ("failed", "{}", State::Failed, Blame::Provider),
        ("failed", "30999", State::Failed, Blame::Carrier),
    ] {
        match send_to(created(status, code)).await {
            Delivery::Ended { provider_id, state: ended, reason } => {
                assert_eq!((provider_id.as_str(), ended, reason.blame), (SM, state, blame), "{status} {code}");
                assert_eq!(reason.code, code.trim_matches('"').parse().ok());
                assert!(reason.fix.is_some() && !reason.opted_out);
            }
            other => panic!("{status} {code}: {other:?}"),
        }
    }
    match send_to(created("failed", "21610")).await {
        Delivery::Ended { reason, .. } => assert!(reason.opted_out),
        other => panic!("{other:?}"),
    }
    for status in ["queued", "sent", "delivered", "a word of tomorrow"] {
        assert!(matches!(send_to(created(status, "null")).await, Delivery::Accepted { .. }), "{status}");
    }
}

#[tokio::test]
async fn whatever_may_have_arrived_is_maybe() {
    let twice = format!(r#"{{"sid":"{SM}","sid":"{SM}"}}"#);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let other = "ACffffffffffffffffffffffffffffffff";
    let acts: Vec<(&str, Act)> = vec![
        ("500", api_error(500, 20500)),
        ("503", api_error(503, 20503)),
        ("HTML 502", answer(502, "Content-Type: text/html\r\n", "<html>\u{1b}[31mBad gateway</html>")),
        ("408", answer(408, "", "")),
        ("409", api_error(409, 20409)),
        ("reset", Box::new(drop)),
        ("half a status line", says("HTTP/1.1 2")),
        ("not HTTP", says("220 smtp.example ready\r\n")),
        ("201 without sid", answer(201, "", r#"{"status":"queued"}"#)),
        ("201 with null sid", answer(201, "", r#"{"sid":null}"#)),
        ("201 with a foreign kind of sid", answer(201, "", &created("CAbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", AC))),
        ("201 of another account", answer(201, "", &created(SM, other))),
        ("201 with two sids", answer(201, "", &twice)),
        ("201 with HTML", answer(201, "", "<html>ok</html>")),
        ("201 empty", answer(201, "", "")),
        ("204", says("HTTP/1.1 204 No Content\r\n\r\n")),
        ("201 nested deeply", answer(201, "", &deep)),
        ("201 with NaN", answer(201, "", r#"{"sid":NaN}"#)),
        ("201 that breaks off", says(format!("HTTP/1.1 201 X\r\nContent-Length: 999\r\n\r\n{}", created(SM, AC)))),
        ("201 with chunk garbage", says("HTTP/1.1 201 X\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n")),
        ("201 in broken UTF-8", says(b"HTTP/1.1 201 X\r\nContent-Length: 10\r\n\r\n{\"sid\":\"\xff\"".to_vec())),
        ("101", says("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")),
    ];
    for (name, act) in acts {
        let delivery = send_to(act).await;
        assert!(is_maybe(&delivery), "{name}: {delivery:?}");
    }
}

#[tokio::test]
async fn answers_are_bounded_in_time_and_size() {
    let hang: Act = Box::new(|mut stream| drop(stream.read(&mut [0; 1])));
    let delivery = send_hastily_to(hang).await;
    assert!(is_maybe(&delivery) && format!("{delivery:?}").contains("gave no answer"), "{delivery:?}");

    let huge: Act = Box::new(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 201 X\r\nContent-Length: 10485760\r\n\r\n");
        let piece = vec![b' '; 65536];
        while stream.write_all(&piece).is_ok() {}
    });
    let delivery = send_hastily_to(huge).await;
    assert!(is_maybe(&delivery) && format!("{delivery:?}").contains("larger than 1 MiB"), "{delivery:?}");

    let flood: Act =
        Box::new(
            |mut stream| while stream.write_all("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100).as_bytes()).is_ok() {},
        );
    assert!(is_maybe(&send_hastily_to(flood).await));

    let drip: Act = Box::new(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 201 X\r\nContent-Length: 100\r\n\r\n{");
        let _ = stream.read(&mut [0; 1]);
    });
    let delivery = send_hastily_to(drip).await;
    assert!(is_maybe(&delivery) && format!("{delivery:?}").contains("did not end in time"), "{delivery:?}");
}

#[tokio::test]
async fn where_no_connection_was_made_nothing_was_sent() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap()
    };
    let delivery = twilio(&closed).send(&message()).await;
    assert!(matches!(&delivery, Delivery::Unreachable { why } if why.contains("refused")), "{delivery:?}");

    let nowhere = Url::parse("https://api.does-not-exist.invalid").unwrap();
    let delivery = hasty(&nowhere).send(&message()).await;
    assert!(matches!(&delivery, Delivery::Unreachable { .. }), "{delivery:?}");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tls = Url::parse(&format!("https://{}", listener.local_addr().unwrap())).unwrap();
    std::thread::spawn(move || listener.accept().map(|(mut stream, _)| stream.write_all(b"This is not TLS\r\n")));
    let delivery = twilio(&tls).send(&message()).await;
    assert!(matches!(&delivery, Delivery::Unreachable { .. }), "{delivery:?}");
}

#[tokio::test]
async fn redirects_are_refused_and_never_followed() {
    let (elsewhere, stolen) = server(vec![answer(201, "", &created(SM, AC))]);
    for status in [301, 302, 303, 307, 308] {
        let moved = refused(send_to(answer(status, &format!("Location: {elsewhere}\r\n"), "")).await);
        assert_eq!((moved.http_status, moved.blame), (Some(status), Blame::Setup));
        assert!(moved.fix.unwrap().contains("TWILIO_API_BASE_URL"));
    }
    assert!(stolen.try_recv().is_err(), "the credentials went elsewhere");
}

fn row(sid: char, to: &str, created: &str, body: &str) -> String {
    let sid = sid.to_string().repeat(32);
    format!(
        r#"{{"sid":"SM{sid}","to":"{to}","direction":"outbound-api","status":"queued","date_sent":null,"date_created":"{created}","body":"{body}","num_segments":"1","error_code":null}}"#
    )
}

#[tokio::test]
async fn a_message_is_found_again_among_pages_by_recipient_and_time() {
    let to = "+14155552671";
    let page = |rows: &[String], next: &str| {
        answer(200, "", &format!(r#"{{"messages":[{}],"next_page_uri":{next}}}"#, rows.join(",")))
    };
    let first = [
        row('1', to, "Sun, 22 Nov 2026 11:59:58 +0000", "too old"),
        row('2', "+447400123456", "Sun, 22 Nov 2026 12:00:01 +0000", "other recipient"),
        row('3', to, "Sun, 22 Nov 2026 12:00:00 +0000", "in the same second"),
    ];
    let second = [row('4', to, "Sun, 22 Nov 2026 12:00:09 +0000", "newest")];
    let next = format!(r#""/2010-04-01/Accounts/{AC}/Messages.json?To=%2B14155552671&Page=1""#);
    let (base, told) = server(vec![page(&first, &next), page(&second, "null")]);
    let found =
        twilio(&base).find(&Phone::from_e164(to).unwrap(), Timestamp(1_795_348_800_400)).await.unwrap().unwrap();
    let bodies: Vec<&str> = found.iter().map(|report| report.body.expose_secret()).collect();
    assert_eq!(bodies, ["newest", "in the same second"]);
    assert_eq!((found[0].segments, found[0].error_code), (Some(1), None));
    assert!(told.recv().unwrap().contains("Messages.json?To=%2B14155552671&PageSize=50 "));
    assert!(told.recv().unwrap().contains("&Page=1 "));

    // A next page elsewhere is not followed, and an endless list ends.
    let (base, told) = server(vec![page(&first, r#""https://example.com/2010-04-01/""#)]);
    assert_eq!(twilio(&base).find(&message().to, Timestamp(0)).await.unwrap().unwrap().len(), 2);
    assert_eq!(told.iter().count(), 1);
    let endless = || page(&vec![row('5', to, "Sun, 22 Nov 2026 12:00:00 +0000", "again"); 50], &next);
    let (base, told) = server((0..9).map(|_| endless()).collect());
    assert_eq!(twilio(&base).find(&message().to, Timestamp(0)).await.unwrap().unwrap().len(), 200);
    assert_eq!(told.try_iter().count(), 4);
}

#[tokio::test]
async fn a_message_is_followed_and_trouble_is_an_error_with_its_class() {
    let failed = format!(r#"{{"sid":"{SM}","status":"undelivered","error_code":30003,"body":"b"}}"#);
    let (base, told) = server(vec![answer(200, "", &failed)]);
    let report = twilio(&base).fetch(SM).await.unwrap().unwrap();
    assert_eq!((report.state, report.error_code), (State::Undelivered, Some(30003)));
    assert!(told.recv().unwrap().starts_with(&format!("GET /2010-04-01/Accounts/{AC}/Messages/{SM}.json ")));

    let (base, told) = server(vec![]);
    assert!(twilio(&base).fetch("SM/../../x").await.unwrap().is_none(), "no id of Twilio's: nothing is asked");
    assert!(told.try_recv().is_err());

    let cases: Vec<(Act, Option<Code>)> = vec![
        (api_error(404, 20404), None),
        (api_error(401, 20003), Some(Code::PROVIDER_CONFIG)),
        (api_error(429, 20429), Some(Code::PROVIDER_BUSY)),
        (api_error(400, 20422), Some(Code::PROVIDER_REFUSED)),
        (api_error(500, 20500), Some(Code::PROVIDER_UNREACHABLE)),
        (answer(200, "", "<html>"), Some(Code::PROVIDER_UNREACHABLE)),
        (answer(200, "", "{}"), Some(Code::PROVIDER_UNREACHABLE)),
        (Box::new(drop), Some(Code::PROVIDER_UNREACHABLE)),
    ];
    for (act, code) in cases {
        let (base, _told) = server(vec![act]);
        match (twilio(&base).fetch(SM).await, code) {
            (Ok(None), None) => {}
            (Err(error), Some(code)) => {
                assert_eq!(error.code(), code, "{error}");
                assert!(error.hint_text().is_some() && !error.message().contains("14155552671"), "{error}");
            }
            (got, wanted) => panic!("{got:?} instead of {wanted:?}"),
        }
    }
}

#[tokio::test]
async fn an_api_key_speaks_for_the_account() {
    use base64::Engine as _;
    let (base, told) = server(vec![answer(201, "", &created(SM, AC))]);
    let given = Account {
        account_sid: Some(AC.to_owned()),
        api_key: Some(format!("SK{}", "c".repeat(32))),
        api_secret: Some("secret".into()),
        messaging_service_sid: Some(format!("MG{}", "d".repeat(32))),
        base_url: Some(base),
        ..Account::default()
    };
    let twilio = Twilio::new(Settings::check(&given).unwrap()).unwrap();
    assert!(matches!(twilio.send(&message()).await, Delivery::Accepted { .. }));
    let request = told.recv().unwrap();
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("SK{}:secret", "c".repeat(32)));
    assert!(request.contains(&format!("Basic {pair}")) && request.contains(&format!("Accounts/{AC}/")));
    assert!(request.contains(&format!("MessagingServiceSid=MG{}", "d".repeat(32))) && !request.contains("From="));
}
