//! Faults on request, and faulty requests.

use std::io::ErrorKind;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use smsotp::sandbox::{Fault, On, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::scene::{Client, PHONE, Seen, start};

#[tokio::test]
async fn every_fault_does_what_it_promises_once() {
    use Fault::*;
    let sandbox = start(Options::default());
    let client = Client::new(&sandbox);
    let mut accepted = 0;
    // A fault, and what the client sees: a status with a code, or a broken, late or unreadable answer.
    let cases = [
        (Latency(Duration::from_millis(1)), Seen::Answer(201)),
        (Status429 { retry_after: Some(7) }, Seen::Code(429, 20429)),
        (Status503 { retry_after: Some(7) }, Seen::Code(503, 20503)),
        (Denied { status: 403, code: Some(60410) }, Seen::Code(403, 60410)),
        (Ended { status: "failed".into(), error_code: Some(30008) }, Seen::Code(201, 0)),
        (Error500, Seen::Code(500, 20500)),
        (Error500AfterAccepting, Seen::Code(500, 20500)),
        (Error503, Seen::Code(503, 20503)),
        (Hang, Seen::Timeout),
        (HangAfterAccepting, Seen::Timeout),
        (Reset, Seen::Broken),
        (ResetAfterAccepting, Seen::Broken),
        (HtmlPage(502), Seen::Text(502, "<html>")),
        (HugeBody, Seen::Text(201, "    ")),
        (HalfAnswer, Seen::Broken),
        (Trickle(Duration::from_millis(1)), Seen::Answer(201)),
        (Trickle(Duration::from_secs(60)), Seen::Timeout),
        (MalformedJson, Seen::Text(201, "{\"account_sid\"")),
        (NoSid, Seen::Answer(201)),
        (Unauthorized, Seen::Code(401, 20003)),
        (Code(21610), Seen::Code(400, 21610)),
        (Code(21611), Seen::Code(429, 21611)),
        (Problem(20429), Seen::Code(429, 20429)),
        (Redirect("http://127.0.0.1:1/".into()), Seen::Text(307, "")),
    ];
    for (fault, expected) in cases {
        accepted += usize::from(fault.is_carried_out());
        sandbox.fault(fault.clone(), 1);

        let seen = client.see(PHONE, if matches!(expected, Seen::Timeout) { 300 } else { 20_000 }).await;

        match (&expected, &seen) {
            (Seen::Text(status, start), Seen::Text(got, text)) => {
                assert!(status == got && text.starts_with(start), "{fault:?}: {got} {text:.40}");
            }
            _ => assert_eq!(seen, expected, "{fault:?}"),
        }
        assert_eq!(sandbox.messages().len(), accepted, "{fault:?}");
        assert_eq!(client.get("/Messages.json").await.0, 200, "other requests work: {fault:?}");
    }
    assert_eq!(client.send(PHONE, "the last").await.0, 201, "no fault is left");
}

#[tokio::test]
async fn a_reset_is_a_reset_and_half_an_answer_is_cut_in_its_body() {
    let sandbox = start(Options::default());
    let client = Client::new(&sandbox);
    let address = sandbox.url().replace("http://", "");
    let form = format!("To=%2B12025550123&From={}&Body=hi", client.from.replace('+', "%2B"));
    let basic = STANDARD.encode(format!("{}:{}", client.user, client.secret));
    let request = format!(
        "POST /2010-04-01/Accounts/{}/Messages.json HTTP/1.1\r\nHost: {address}\r\nAuthorization: Basic {basic}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        client.sid,
        form.len(),
    );
    let ask = async || {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer).await.map_err(|e| e.kind());
        (end.map(drop), String::from_utf8_lossy(&answer).into_owned())
    };

    sandbox.fault(Fault::ResetAfterAccepting, 1);
    assert_eq!(ask().await, (Err(ErrorKind::ConnectionReset), String::new()));
    sandbox.fault(Fault::HalfAnswer, 1);
    let (end, answer) = ask().await;
    let (headers, body) = answer.split_once("\r\n\r\n").unwrap();
    let declared = headers.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert!(end.is_ok() && headers.starts_with("HTTP/1.1 201"));
    assert_eq!(body.len(), declared.parse::<usize>().unwrap() / 2);
    assert_eq!(sandbox.messages().len(), 2);
}

#[tokio::test]
async fn faults_queue_up_and_can_be_armed_over_http() {
    let sandbox = start(Options { faults: vec![(On::Create, Fault::Error500, 2)], ..Options::default() });
    let client = Client::new(&sandbox);
    let control = format!("{}/sandbox/faults", sandbox.url());
    let arm = async |body: Value| client.http.post(&control).json(&body).send().await.unwrap().status().as_u16();

    assert_eq!(arm(json!({"fault": {"status429": {"retry_after": 3}}, "on": "create"})).await, 200);
    assert_eq!(arm(json!({"fault": "unauthorized", "on": "other"})).await, 200);
    for bad in [json!({"fault": "no such fault"}), json!({"fault": {"latency": "soon"}}), json!([])] {
        assert_eq!(arm(bad).await, 400);
    }
    let armed: Value = client.http.get(&control).send().await.unwrap().json().await.unwrap();
    assert_eq!(armed["faults"].as_array().unwrap().len(), 3);

    assert_eq!(client.get("/Balance.json").await.0, 401);
    assert_eq!(client.get("/Balance.json").await.0, 200);
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(client.send(PHONE, "hi").await.0);
    }
    assert_eq!(seen, [500, 500, 429, 201]);
    assert_eq!((sandbox.requests(), sandbox.messages().len()), (4, 1));

    sandbox.fault(Fault::Error500, 9);
    assert_eq!(arm(json!({"fault": {"latency": "2h"}})).await, 200);
    assert_eq!(client.http.delete(&control).send().await.unwrap().status(), 200);
    assert_eq!(client.send(PHONE, "hi").await.0, 201);
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_writing() {
    let sandbox = start(Options::default());
    let mut stream = tokio::net::TcpStream::connect(sandbox.url().replace("http://", "")).await.unwrap();
    let head = "POST /2010-04-01/Accounts/x/Messages.json HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[b'x'; 300_000]).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
    for _ in 0..200 {
        stream.write_all(&[b'x'; 1000]).await.expect("no reset while the rest is being sent");
    }
}

#[tokio::test]
async fn hostile_requests_are_answered_or_dropped_and_never_end_the_sandbox() {
    let sandbox = start(Options::default());
    let client = Client::new(&sandbox);
    let address = sandbox.url().replace("http://", "");
    let raw: &[&[u8]] = &[
        b"\x00\xff\x00\xff\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /2010-04-01/Accounts/x/Messages.json HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
        b"POST /sandbox/faults HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{",
        b"GET /sandbox/inbox?wait=99999999999999999999years HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
    ];
    for bytes in raw {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let line = String::from_utf8_lossy(&answer);
        assert!(line.is_empty() || line.starts_with("HTTP/1.1 4"), "{line}");
    }
    let huge = "x".repeat(70_000);
    let (status, _) = client.send(PHONE, &huge).await;
    assert_eq!(status, 413);
    let odd = "\u{0}\u{1b}[2J\u{202e}'\"<script>{{}}%s🙂";
    let (status, body) = client.send(PHONE, odd).await;
    assert_eq!((status, &body["body"]), (201, &json!(odd)));
}
