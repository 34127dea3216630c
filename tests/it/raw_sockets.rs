//! Bytes that no honest client sends: each is answered or closed in bounded time, and a user gets in all the same.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;
use smsotp::http::{Bounds, ServerSettings};

use crate::window::{Answer, SEND, Window, settings, token_of};
use crate::world::{PHONE, World};

/// Bounds so short that no test has to wait for them for long; what is tested is that they hold, not how long they are.
fn impatient() -> ServerSettings {
    let bounds = Bounds {
        head: Duration::from_millis(300),
        body: Duration::from_millis(600),
        write: Duration::from_millis(300),
        ..Bounds::default()
    };
    ServerSettings { bounds, ..settings() }
}

fn window(world: &World, settings: ServerSettings) -> Window {
    Window::with(world, world.engine(), settings)
}

/// Reads until the server closes; what it said before.
fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn whoever_is_slow_is_closed() {
    let world = World::new();
    let token = token_of(&world.engine(), "ada", "send");
    let window = window(&world, impatient());
    let head = format!(
        "POST {SEND} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
    );
    for (what, bytes) in [
        ("nothing at all", String::new()),
        ("half a request line", "POST /api".to_owned()),
        ("a head without an end", head.clone()),
        ("a body that never comes", format!("{head}Content-Length: 50\r\n\r\n")),
        ("half a body", format!("{head}Content-Length: 50\r\n\r\n{{\"phone_number\":")),
        ("a chunk that never comes", format!("{head}Transfer-Encoding: chunked\r\n\r\n32\r\n{{")),
        ("no second request", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned()),
    ] {
        let mut stream = window.connect();
        stream.write_all(bytes.as_bytes()).unwrap();
        let said = rest(stream);
        assert!(!said.contains("OTP sent"), "{what}: {said}");
        if what == "no second request" {
            assert!(said.starts_with("HTTP/1.1 200"), "{said}");
        }
    }
    // One byte now and then does not keep a head open.
    let mut stream = window.connect();
    let mut open = true;
    for byte in "POST /api/v1/messaging/send-otp/ HTTP/1.1\r\n".bytes().cycle().take(400) {
        if stream.write_all(&[byte]).is_err() {
            open = false;
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!open, "a slow head was kept");
    assert_eq!(world.messages_out(), 0);
}

#[test]
fn a_refusal_reaches_whoever_still_writes() {
    let world = World::new();
    let token = token_of(&world.engine(), "ada", "send");
    let window = Window::open(&world);
    let body = "x".repeat(300_000);
    for (bearer, refused) in [(token.as_str(), "HTTP/1.1 413"), ("nothing", "HTTP/1.1 401")] {
        let head = format!(
            "POST {SEND} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {bearer}\r\nContent-Type: application/json\r\n"
        );
        let mut stream = window.connect();
        stream.write_all(format!("{head}Content-Length: 500000\r\n\r\n{body}").as_bytes()).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        assert!(said.starts_with(refused) && said.contains("\r\nconnection: close\r\n"), "{said}");
        for _ in 0..200 {
            stream.write_all(&[b'x'; 1000]).expect("no reset while the rest is on its way");
        }
    }
}

#[test]
fn what_is_too_big_is_refused_before_it_is_read() {
    let world = World::new();
    let token = token_of(&world.engine(), "ada", "send");
    let window = Window::open(&world);
    let head = format!(
        "POST {SEND} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nConnection: close\r\n"
    );
    let announced = window.raw(format!("{head}Content-Length: 3000000\r\n\r\n").as_bytes()).unwrap();
    assert_eq!((announced.status, announced.code().as_str()), (413, "body_too_large"), "not one byte of it was sent");
    let huge = window.raw(format!("{head}Content-Length: 18446744073709551615\r\n\r\n").as_bytes());
    assert!(huge.is_none_or(|answer| answer.status >= 400));

    let mut chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    for _ in 0..20 {
        chunked.push_str(&format!("400\r\n{}\r\n", " ".repeat(0x400)));
    }
    chunked.push_str("0\r\n\r\n");
    let answer = window.raw(chunked.as_bytes()).unwrap();
    assert_eq!(answer.status, 413, "{answer:?}");

    let long = "x".repeat(40_000);
    for (what, text) in [
        ("a long path", format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n")),
        ("a long header", format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: {long}\r\n\r\n")),
        ("a long header name", format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{long}: 1\r\n\r\n")),
        (
            "many headers",
            format!(
                "GET /healthz HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
                (0..200).map(|n| format!("X-{n}: 1\r\n")).collect::<String>()
            ),
        ),
    ] {
        let answer = window.raw(text.as_bytes());
        assert!(answer.as_ref().is_none_or(|answer| matches!(answer.status, 400 | 414 | 431)), "{what}: {answer:?}");
    }
    assert_eq!(window.get("/healthz", "").status, 200);
}

#[test]
fn nothing_is_smuggled_behind_a_body_of_two_lengths() {
    let world = World::unlimited();
    let token = token_of(&world.engine(), "ada", "send");
    let window = Window::open(&world);
    let auth = format!("Host: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n");
    let body = json!({"phone_number": PHONE}).to_string();
    let smuggled = format!("POST {SEND} HTTP/1.1\r\n{auth}Content-Length: {}\r\n\r\n{body}", body.len());
    let lengths = |extra: &str, body: &str| format!("POST {SEND} HTTP/1.1\r\n{auth}{extra}\r\n{body}{smuggled}");
    for (what, text) in [
        ("CL.TE", lengths("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
        ("TE.CL", lengths("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "0\r\n\r\n")),
        ("TE.TE", lengths("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n")),
        ("TE of another kind", lengths("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")),
        ("TE hidden by a space", lengths("Transfer-Encoding : chunked\r\n", "0\r\n\r\n")),
        ("two lengths", lengths("Content-Length: 0\r\nContent-Length: 5\r\n", "")),
        ("a list of lengths", lengths("Content-Length: 0, 5\r\n", "")),
        ("a signed length", lengths("Content-Length: +0\r\n", "")),
        ("a length in hex", lengths("Content-Length: 0x0\r\n", "")),
        ("a negative length", lengths("Content-Length: -1\r\n", "")),
        ("a folded header", lengths("X-Folded: a\r\n b\r\nContent-Length: 0, 1\r\n", "")),
        ("a chunk size that is none", lengths("Transfer-Encoding: chunked\r\n", "zz\r\n\r\n")),
        ("a chunk size beyond all", lengths("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n\r\n")),
        ("a chunk without an end", lengths("Transfer-Encoding: chunked\r\n", "1\r\nab")),
        ("a bare LF", format!("POST {SEND} HTTP/1.1\n{auth}Content-Length: 0\n\n\0{smuggled}")),
    ] {
        let mut stream = window.connect();
        let _ = stream.write_all(text.as_bytes());
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let said = rest(stream);
        let answers: Vec<&str> = said.matches("HTTP/1.1 ").collect();
        // A bare LF ends a line for the parser, so what is behind it is refused as a request of its own.
        assert!(answers.len() <= if what == "a bare LF" { 2 } else { 1 }, "{what}: {said}");
        assert!(!said.contains("OTP sent"), "{what}: {said}");
    }
    assert_eq!(world.messages_out(), 0);
}

#[test]
fn odd_methods_versions_and_lines_are_answered_or_closed() {
    let world = World::new();
    let window = Window::open(&world);
    for (text, allowed) in [
        ("TRACE /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", &[405][..]),
        ("CONNECT example.com:443 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", &[400, 404, 405, 421]),
        ("OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", &[400, 404, 405]),
        ("GET /healthz HTTP/1.0\r\n\r\n", &[200]),
        ("GET http://elsewhere.example/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", &[421]),
        ("GET /healthz HTTP/0.9\r\n\r\n", &[400, 505]),
        ("GET /healthz HTTP/3.0\r\nHost: localhost\r\n\r\n", &[400, 505]),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[400, 505]),
        ("GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", &[400, 404]),
        ("GET /api/v1/messaging/send-otp// HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", &[404]),
        ("GET /%00 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", &[400, 404]),
        ("G\u{0}T / HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400]),
        ("\r\n\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", &[200, 400]),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Bad: a\u{0}b\r\n\r\n", &[400]),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\n folded: b\r\n\r\n", &[400]),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}", &[400]),
    ] {
        let mut stream = window.connect();
        let _ = stream.write_all(text.as_bytes());
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let said = rest(stream);
        // Closing without a word is an answer too, but not for what is allowed.
        let status = Answer::of(&said).map(|answer| answer.status);
        let fine = status.is_none_or(|status| allowed.contains(&status)) && (allowed != [200] || status.is_some());
        assert!(fine, "{text:?}: {said}");
    }
}

#[test]
fn requests_in_a_row_on_one_connection_are_answered_in_their_order() {
    let world = World::new();
    let window = Window::open(&world);
    let mut stream = window.connect();
    let mut text = String::new();
    for nth in 0..50 {
        let path = if nth % 2 == 0 { "/healthz" } else { "/nothing" };
        let close = if nth == 49 { "Connection: close\r\n" } else { "" };
        text.push_str(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{close}\r\n"));
    }
    stream.write_all(text.as_bytes()).unwrap();
    let said = rest(stream);

    let statuses: Vec<&str> = said.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    let expected: Vec<&str> = (0..50).map(|nth| if nth % 2 == 0 { "200" } else { "404" }).collect();
    assert_eq!(statuses, expected);
}

#[test]
fn a_connection_goes_on_after_a_body_that_was_read_and_after_no_other() {
    let world = World::new();
    let token = token_of(&world.engine(), "ada", "send");
    let window = Window::open(&world);
    let ask = |bearer: &str, body: &str| {
        let post = format!(
            "POST {SEND} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {bearer}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = window.connect();
        stream
            .write_all(
                format!("{post}GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes(),
            )
            .unwrap();
        rest(stream)
    };

    let read = ask(&token, r#"{"phone_number": "1"}"#);
    assert!(read.starts_with("HTTP/1.1 422") && read.contains("HTTP/1.1 200"), "{read}");
    for (bearer, body) in [("nobody", "{}"), (token.as_str(), &" ".repeat(20_000))] {
        let unread = ask(bearer, body);
        assert!(unread.contains("\r\nconnection: close\r\n") && unread.matches("HTTP/1.1 ").count() == 1, "{unread}");
    }
}

#[test]
fn two_hundred_and_fifty_six_idle_attackers_do_not_keep_a_user_out() {
    let world = World::new();
    let token = token_of(&world.engine(), "ada", "send");
    let window = Window::open(&world);
    // More than there are places: half say nothing, half begin and do not go on.
    let attackers: Vec<TcpStream> = (0..300)
        .map(|nth| {
            let mut stream = window.connect();
            if nth % 2 == 0 {
                stream
                    .write_all(b"POST /api/v1/messaging/send-otp/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n")
                    .unwrap();
            }
            stream
        })
        .collect();

    let sent = window.post(SEND, &token, &json!({"phone_number": PHONE}).to_string());

    assert_eq!(sent.status, 200, "{sent:?}");
    assert!(window.get("/metrics", "").body.contains("\nsmsotp_connections_waited_total "));
    assert!(!window.get("/metrics", "").body.contains("\nsmsotp_connections_waited_total 0\n"), "nobody had to wait");
    drop(attackers);
}

#[test]
fn whoever_asks_something_cheap_now_and_then_does_not_keep_a_user_out() {
    let world = World::new();
    let token = token_of(&world.engine(), "ada", "send");
    let window =
        window(&world, ServerSettings { bounds: Bounds { connections: 2, ..Bounds::default() }, ..settings() });
    let ask = |stream: &mut TcpStream| {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut said = String::new();
        while !said.ends_with('}') {
            let mut bytes = [0; 1024];
            let read = stream.read(&mut bytes).unwrap();
            assert!(read > 0, "{said}");
            said.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        }
        said
    };
    let mut first = window.connect();
    assert!(!ask(&mut first).contains("connection: close"), "there is room");
    let mut second = window.connect();

    assert!(ask(&mut second).contains("\r\nconnection: close\r\n"), "all places are taken");
    let sent = window.post(SEND, &token, &json!({"phone_number": PHONE}).to_string());
    assert_eq!(sent.status, 200, "{sent:?}");
    assert!(ask(&mut first).contains("HTTP/1.1 200"), "who was there keeps its place while there is room");
}

#[test]
fn a_client_that_never_reads_does_not_stay() {
    let world = World::new();
    let window = window(&world, impatient());
    let mut stream = window.connect();
    stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    // The answers are far larger than what was asked: they fill the buffers, and then nobody reads.
    let ask = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
    let ended = std::iter::repeat_with(|| stream.write_all(ask.as_bytes())).take(10_000).find_map(Result::err);
    let ended = ended.expect("all of it was read").kind();
    assert!(matches!(ended, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "it is still open: {ended}");
    assert_eq!(window.get("/healthz", "").status, 200);
}

#[test]
fn a_client_that_takes_its_answers_drop_by_drop_does_not_stay() {
    use nix::sys::socket::{setsockopt, sockopt};

    let world = World::new();
    let window = window(&world, impatient());
    let mut stream = window.connect();
    setsockopt(&stream, sockopt::RcvBuf, &4096).unwrap();
    // Far more than fits into the buffers between here and there.
    stream.write_all("GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(300).as_bytes()).unwrap();
    let timed_out = || window.get("/metrics", "").body.contains("turned_away_total{outcome=\"timeout\"}");

    // Something is taken all the time, and no answer within its time.
    let ended = (0..400).any(|_| {
        let _ = stream.read(&mut [0; 1024]);
        std::thread::sleep(Duration::from_millis(20));
        timed_out()
    });

    assert!(ended, "it still has its place");
}

#[test]
fn headers_that_come_twice_are_no_choice() {
    let world = World::unlimited();
    let token = token_of(&world.engine(), "ada", "send");
    let window = Window::open(&world);
    let body = json!({"phone_number": PHONE}).to_string();
    let (good, json_type) = (format!("Authorization: Bearer {token}\r\n"), "Content-Type: application/json\r\n");
    let ask = |lines: &str| {
        let length = body.len();
        let head =
            format!("POST {SEND} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n");
        window.raw(format!("{head}{lines}\r\n{body}").as_bytes()).unwrap().status
    };
    for (lines, status) in [
        (format!("{good}{json_type}"), 200),
        (format!("{good}{good}{json_type}"), 401),
        (format!("{good}Authorization: Basic eDp5\r\n{json_type}"), 401),
        (format!("Authorization: Bearer x, Bearer {token}\r\n{json_type}"), 401),
        (format!("{good}{json_type}Content-Type: text/plain\r\n"), 415),
        (format!("{good}Content-Type: text/plain\r\n{json_type}"), 415),
        (format!("{good}Content-Type: text/plain, application/json\r\n"), 415),
        (format!("{good}Content-Type: application/json; charset=utf-16\r\n"), 200),
        (format!("{good}Content-Type: application/jsonp\r\n"), 415),
        (format!("{good}Content-Type: \u{ff41}pplication/json\r\n"), 415),
        (good.clone(), 415),
        (format!("{good}{json_type}Idempotency-Key: a\r\nIdempotency-Key: a\r\n"), 422),
        (format!("{good}{json_type}Idempotency-Key: \u{e9}\r\n"), 422),
        // Tokens are bytes that are compared whole: nothing that looks or folds alike is one.
        (format!("Authorization: Bearer {}\r\n{json_type}", token.to_uppercase()), 401),
        (format!("Authorization: Bearer {token}\u{200b}\r\n{json_type}"), 401),
        (format!("Authorization: Bearer {}\r\n{json_type}", token.replace('s', "\u{455}")), 401),
        (format!("Authorization: Bearer {token}%00\r\n{json_type}"), 401),
        (format!("Authorization: Bearer {}\r\n{json_type}", token.repeat(300)), 401),
        (format!("Authorization: Bearer\r\n{json_type}"), 401),
        (format!("Authorization: Bearer \t \r\n{json_type}"), 401),
        (format!("Authorization: bEARER {token}\r\n{json_type}"), 200),
    ] {
        assert_eq!(ask(&lines), status, "{lines:?}");
    }
}
