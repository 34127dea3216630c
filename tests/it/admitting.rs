//! Before a path is reached: which client a request counts for, which host it names, and how often strangers are answered.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use serde_json::json;
use smsotp::http::{ServerSettings, TrustedProxies};
use smsotp::limits::Window as LimitWindow;

use crate::served::Place;
use crate::window::{Answer, INBOUND, SEND, STATUS, TEST, VERIFY, Window, service_token, settings, token_of};
use crate::world::{PHONE, World};

/// How many guesses one address has.
const GUESSES: usize = 3;

/// A world in which an address has few guesses and nothing else is limited.
fn few_guesses() -> World {
    let mut world = World::unlimited();
    world.policy.limits.guesses_per_ip = vec![LimitWindow::new(GUESSES as u32, 3600)];
    world
}

fn trusting(networks: &[&str]) -> ServerSettings {
    let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
    ServerSettings { proxies: TrustedProxies::new(networks).unwrap(), ..settings() }
}

/// A wrong code, behind header lines of bytes.
fn guess(window: &Window, token: &str, lines: &[&[u8]]) -> u16 {
    let body = json!({"phone_number": PHONE, "otp_code": "000000"}).to_string();
    let head = format!(
        "POST {VERIFY} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n",
        body.len()
    );
    let lines: Vec<u8> = lines.iter().flat_map(|line| [*line, b"\r\n"].concat()).collect();
    window.raw(&[head.as_bytes(), &lines, b"\r\n", body.as_bytes()].concat()).unwrap().status
}

#[test]
fn no_way_of_not_naming_a_client_readably_gets_it_more_guesses() {
    let world = few_guesses();
    let token = token_of(&world.engine(), "ada", "verify");
    let window = Window::with(&world, world.engine(), trusting(&["127.0.0.0/8"]));
    let hidden: &[&[&[u8]]] = &[
        &[],
        &[b"X-Forwarded-For: \xff"],
        &[b"X-Forwarded-For: 198.51.100.1, \xff\xfe"],
        &[b"X-Forwarded-For: 198.51.100.2", b"X-Forwarded-For: \xc3\xa9"],
        &[b"X-Forwarded-For: 198.51.100.3,"],
        &[b"X-Forwarded-For:"],
        &[b"X-Forwarded-For: unknown"],
        &[b"X-Forwarded-For: _secret"],
        &[b"X-Forwarded-For: 127.0.0.9"],
        &[b"X-Forwarded-For: 127.1.2.3, 127.0.0.9"],
        &[b"X-Forwarded-For: ::ffff:127.0.0.9"],
        &[b"Forwarded: for=198.51.100.4"],
        &[b"X-Real-IP: 198.51.100.5"],
    ];

    for (nth, lines) in hidden.iter().enumerate() {
        let expected = if nth < GUESSES { 400 } else { 429 };
        assert_eq!(guess(&window, &token, lines), expected, "{nth} {lines:?}");
    }
    // Who is named has guesses of its own, and no more of them either.
    for nth in 0..=GUESSES {
        let expected = if nth < GUESSES { 400 } else { 429 };
        let forged = format!("X-Forwarded-For: 192.0.2.{nth}, \u{e9}, 198.51.100.9:{}", 4000 + nth);
        assert_eq!(guess(&window, &token, &[forged.as_bytes()]), expected, "{forged}");
        let next = format!("X-Forwarded-For: 198.51.100.{}", 10 + nth);
        assert_eq!(guess(&window, &token, &[next.as_bytes()]), 400, "{next}");
    }
    let metrics = window.ask("GET", "/metrics", &[], "").body;
    let unreadable = hidden.len() + 1;
    assert!(metrics.contains(&format!("\nsmsotp_unreadable_forwards_total {unreadable}\n")), "{metrics}");
}

#[test]
fn a_proxy_that_was_not_named_does_not_switch_the_limits_off() {
    let world = few_guesses();
    let token = token_of(&world.engine(), "ada", "verify");
    let window = Window::with(&world, world.engine(), trusting(&["10.0.0.0/8"]));

    for nth in 0..=GUESSES {
        let expected = if nth < GUESSES { 400 } else { 429 };
        let line = format!("X-Forwarded-For: 198.51.100.{nth}");
        assert_eq!(guess(&window, &token, &[line.as_bytes()]), expected, "{line}");
    }
    assert_eq!(guess(&window, &token, &[]), 400, "a process on this machine asks for itself");
    assert!(window.get("/metrics", "").body.contains("\nsmsotp_forged_forwards_total 4\n"));
}

#[test]
fn a_mapped_address_of_a_proxy_is_the_proxy() {
    let world = few_guesses();
    let token = token_of(&world.engine(), "ada", "verify");
    let window = Window::with(&world, world.engine(), trusting(&["::ffff:127.0.0.1/128"]));

    for nth in 0..=GUESSES {
        let expected = if nth < GUESSES { 400 } else { 429 };
        assert_eq!(guess(&window, &token, &[b"X-Forwarded-For: 198.51.100.1"]), expected);
        let other = format!("X-Forwarded-For: 198.51.100.{}", 2 + nth);
        assert_eq!(guess(&window, &token, &[other.as_bytes()]), 400, "the proxy is believed");
    }
}

#[test]
fn a_server_that_would_trust_everybody_does_not_start() {
    let place = Place::new("");
    for proxies in [
        &["0.0.0.0/0"][..],
        &["::/0"],
        &["::ffff:0:0/96"],
        &["0.0.0.0/1,128.0.0.0/1"],
        &["0.0.0.0/1", "128.0.0.0/1"],
        &["::/1", "8000::/1"],
        &["127.0.0.1", "64.0.0.0/2", "128.0.0.0/2", "0.0.0.0/2"],
    ] {
        let named: Vec<&str> = proxies.iter().flat_map(|network| ["--trusted-proxy", network]).collect();
        let ended = place.smsotp(&[&["serve", "--listen", "127.0.0.1:0"][..], &named].concat()).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(78), "{proxies:?}: {said}");
        assert!(said.contains("trusted proxies"), "{said}");
    }
}

/// One GET with these header lines after the request line.
fn get(window: &Window, target: &str, version: &str, lines: &str) -> Answer {
    window.raw(format!("GET {target} HTTP/{version}\r\n{lines}Connection: close\r\n\r\n").as_bytes()).unwrap()
}

#[test]
fn a_page_that_points_its_name_at_this_machine_reaches_no_path() {
    let world = World::new();
    let token = service_token(&world.engine(), "admin");
    let own = ServerSettings { hosts: vec!["otp.internal".into(), "[2001:db8::7]".into()], ..settings() };
    let window = Window::with(&world, world.engine(), own);
    let bearer = format!("Authorization: Bearer {token}\r\n");
    for path in ["/metrics", "/healthz", "/readyz", "/openapi.json", "/", TEST, SEND, VERIFY, STATUS, INBOUND] {
        for host in [
            "evil.example",
            "evil.example:8000",
            "localhost.evil.example",
            "0.0.0.0",
            "10.0.0.1",
            "otp.example.com.evil.example",
        ] {
            for bearer in ["", bearer.as_str()] {
                let answer = get(&window, path, "1.1", &format!("Host: {host}\r\n{bearer}"));
                assert_eq!((answer.status, answer.code().as_str()), (421, "host_not_allowed"), "{path} {host}");
                assert!(answer.header("x-request-id").is_some() && answer.header("cache-control") == Some("no-store"));
            }
        }
    }
    for host in [
        "127.0.0.1",
        "localhost:8000",
        "LOCALHOST.",
        "[::1]:80",
        "otp.internal",
        "OTP.internal:8000",
        "otp.example.com",
        "[2001:db8::7]:1",
    ] {
        assert_eq!(get(&window, "/metrics", "1.1", &format!("Host: {host}\r\n")).status, 200, "{host}");
    }
    // The target counts as well as the header, and neither makes up for the other.
    for (target, host, status) in [
        ("http://localhost/metrics", "localhost", 200),
        ("http://evil.example/metrics", "localhost", 421),
        ("http://localhost/metrics", "evil.example", 421),
        ("http://localhost@evil.example/metrics", "localhost", 400),
    ] {
        assert_eq!(get(&window, target, "1.1", &format!("Host: {host}\r\n")).status, status, "{target} {host}");
    }
    for lines in [
        "",
        "Host: localhost\r\nHost: localhost\r\n",
        "Host: localhost\r\nHost: evil.example\r\n",
        "Host:\r\n",
        "Host: a b\r\n",
    ] {
        let answer = get(&window, "/metrics", "1.1", lines);
        assert_eq!((answer.status, answer.code().as_str()), (400, "host_invalid"), "{lines:?}");
    }
    assert_eq!(get(&window, "/healthz", "1.0", "").status, 200, "no browser is that old");
    assert_eq!(world.messages_out(), 0);
}

#[test]
fn a_page_that_points_its_name_at_this_machine_sees_nothing_of_the_sandbox() {
    let world = World::new();
    let address = world.sandbox.url().strip_prefix("http://").unwrap().to_owned();
    let ask = |method: &str, target: &str, lines: &str| {
        use std::io::Write;
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        let text = format!("{method} {target} HTTP/1.1\r\n{lines}Connection: close\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(text.as_bytes()).unwrap();
        Answer::read(&mut stream).unwrap().status
    };
    for (method, path) in [
        ("GET", "/sandbox"),
        ("GET", "/sandbox/inbox"),
        ("GET", "/sandbox/faults"),
        ("POST", "/sandbox/faults"),
        ("DELETE", "/sandbox/faults"),
        ("GET", "/sandbox/callbacks"),
        ("POST", "/sandbox/callbacks"),
        ("POST", "/sandbox/outcomes"),
        ("POST", "/sandbox/reply"),
        ("POST", "/sandbox/step"),
        ("POST", "/sandbox/messages/SM1/status"),
        ("GET", "/2010-04-01/Accounts.json"),
    ] {
        for lines in [
            "Host: evil.example\r\n",
            "Host: localhost.evil.example:4010\r\n",
            "Host: 0.0.0.0:4010\r\n",
            "",
            "Host: localhost\r\nHost: evil.example\r\n",
            "Host: evil.example\r\nHost: localhost\r\n",
            "Host: localhost:4010@evil.example\r\n",
        ] {
            assert_eq!(ask(method, path, lines), 401, "{method} {path} {lines:?}");
        }
    }
    assert_eq!(ask("GET", "http://evil.example/sandbox/inbox", "Host: localhost\r\n"), 401);
    assert_eq!(ask("GET", "/sandbox/inbox", "Host: localhost\r\n"), 200);
    assert_eq!(ask("GET", "/sandbox/inbox", "Host: [::1]:4010\r\n"), 200);
}

#[test]
fn a_stranger_who_was_refused_too_often_waits_and_others_do_not() {
    let world = World::unlimited();
    let token = token_of(&world.engine(), "ada", "verify");
    let window = Window::with(&world, world.engine(), trusting(&["127.0.0.0/8"]));
    let ask = |path: &str, token: &str, from: &str| {
        let bearer = format!("Bearer {token}");
        let headers =
            [("Authorization", bearer.as_str()), ("Content-Type", "application/json"), ("X-Forwarded-For", from)];
        let body = json!({"phone_number": PHONE, "otp_code": "000000"}).to_string();
        window.ask("POST", path, &headers, &body)
    };
    let begun = Instant::now();
    let answers: Vec<Answer> = (0..300)
        .map(|nth| ask(if nth % 3 == 0 { STATUS } else { VERIFY }, "smsotp_nobody", &format!("2001:db8::{nth:x}")))
        .collect();
    let most = 20 + 20 * (begun.elapsed().as_secs() as usize + 1);

    let refused = answers.iter().filter(|answer| matches!(answer.status, 401 | 403)).count();
    assert!((20..=most).contains(&refused), "{refused} of {most}");
    let over: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert_eq!(over.len() + refused, answers.len());
    for answer in over {
        assert_eq!((answer.code().as_str(), answer.header("retry-after")), ("rate_limited", Some("1")));
    }
    assert_eq!(ask(VERIFY, &token, "2001:db8:0:1::1").status, 400, "another network's client");
    assert_eq!(ask(VERIFY, &token, "198.51.100.1").status, 400);
    for _ in 0..60 {
        assert_eq!(ask(VERIFY, &token, "198.51.100.2").status, 400, "who has a token is no stranger");
    }
}

#[test]
fn who_connects_from_elsewhere_on_this_machine_is_as_local_as_the_next() {
    // The whole of 127.0.0.0/8 is this machine.
    let world = World::new();
    let window = Window::open(&world);
    let from = Ipv4Addr::new(127, 4, 5, 6);
    let client = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None).unwrap();
    let IpAddr::V4(to) = window.address.ip() else { panic!("{}", window.address) };
    if bind(std::os::fd::AsRawFd::as_raw_fd(&client), &SockaddrIn::from(std::net::SocketAddrV4::new(from, 0))).is_err()
    {
        return;
    }
    connect(
        std::os::fd::AsRawFd::as_raw_fd(&client),
        &SockaddrIn::from(std::net::SocketAddrV4::new(to, window.address.port())),
    )
    .unwrap();
    let mut stream = std::net::TcpStream::from(client);
    std::io::Write::write_all(&mut stream, b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        .unwrap();

    assert_eq!(Answer::read(&mut stream).unwrap().status, 421);
}
