//! The memory of a server under attack.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::served::{Place, Process};
use crate::window::{SEND, VERIFY};

/// What an attack may add, in MiB. There are 256 places; each holds at most a head of 16 KiB in a buffer that may be as large
/// again, and a body of 16 KiB with a copy of it: 16 MiB. Three connections to the database cache 2 MiB each, the log of the database
/// may map a few more, and the allocator gives little back: twice that is bounded, and what leaks with each of thousands of
/// requests, or keeps what nobody ended, is beyond it.
const GROWTH: u64 = 48;

/// So many connections of each kind: together more than there are places.
const CONNECTIONS: usize = 120;

fn resident_mib(server: &Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// Four at once ask so many times on connections of their own; how often each status came.
fn flood(server: &Process, path: &str, count: u64, ask: impl Fn(u64) -> (String, Value) + Sync) -> Vec<(u16, usize)> {
    let next = AtomicU64::new(0);
    let mut statuses: Vec<u16> = std::thread::scope(|scope| {
        let work = || {
            let mut statuses = Vec::new();
            loop {
                let nth = next.fetch_add(1, Ordering::Relaxed);
                if nth >= count {
                    return statuses;
                }
                let (token, body) = ask(nth);
                statuses.push(server.post(path, &token, &body).map_or(0, |answer| answer.status));
            }
        };
        let all: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        all.into_iter().flat_map(|one| one.join().unwrap()).collect()
    });
    statuses.sort_unstable();
    let mut counts: Vec<(u16, usize)> = Vec::new();
    for status in statuses {
        match counts.last_mut() {
            Some((same, count)) if *same == status => *count += 1,
            _ => counts.push((status, 1)),
        }
    }
    counts
}

/// So many connections that have sent this and say no more.
fn held(server: &Process, bytes: &str) -> Vec<TcpStream> {
    let open = |_| {
        let mut stream = TcpStream::connect(server.address).unwrap();
        // Who has no place yet is not read from.
        let _ = stream.write_all(bytes.as_bytes());
        stream
    };
    (0..CONNECTIONS).map(open).collect()
}

#[test]
fn an_attack_does_not_grow_the_server_and_a_user_is_served() {
    let place = Place::new("guard = \"off\"\ncountries = [\"US\"]\n");
    let token = place.token(&["--user", "ada", "--scope", "send,verify"]);
    let service = place.token(&["--service", "--scope", "send,verify"]);
    let server = place.serve(&[]);
    let phone = |nth: u64| format!("+1415{:07}", 2_000_000 + nth);
    let someone = |nth: u64| json!({"phone_number": phone(nth), "user": format!("user{nth}")});
    // What a first use loads is loaded.
    assert_eq!(flood(&server, SEND, 50, |nth| (service.clone(), someone(nth))), [(200, 50)]);
    let before = resident_mib(&server);

    let head = format!("POST {SEND} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n");
    let long = "x".repeat(15_000);
    let mut attackers = held(&server, &format!("{head}X-Long: {long}"));
    let json_head = format!("{head}Content-Type: application/json\r\n");
    attackers.extend(held(&server, &format!("{json_head}Content-Length: 16000\r\n\r\n{long}")));
    attackers.extend(held(&server, &format!("{json_head}Transfer-Encoding: chunked\r\n\r\n3fff\r\n{long}")));
    let huge = " ".repeat(1 << 20);
    for lengths in [format!("Content-Length: {}\r\n\r\n{huge}", huge.len()), format!("X-Long: {huge}")] {
        for _ in 0..20 {
            let mut stream = TcpStream::connect(server.address).unwrap();
            // Refused before all of it is sent.
            let _ = stream.write_all(format!("{json_head}{lengths}").as_bytes());
        }
    }
    let guess = |nth: u64| json!({"phone_number": phone(nth), "otp_code": "000000"});
    let unknown = flood(&server, VERIFY, 2000, |nth| (format!("smsotp_{nth:043}"), guess(nth)));
    assert_eq!(unknown, [(401, 2000)]);
    let abroad = |nth: u64| json!({"phone_number": format!("+4930{:08}", 10_000_000 + nth), "user": format!("u{nth}")});
    assert_eq!(flood(&server, SEND, 2000, |nth| (service.clone(), abroad(nth))), [(403, 2000)]);
    // One user asks for phone after phone, and one guesses at phone after phone.
    let many = flood(&server, SEND, 1500, |nth| (token.clone(), json!({"phone_number": phone(1000 + nth)})));
    assert!(matches!(many[..], [(200, 1..=5), (429, 1495..)]), "{many:?}");
    let guessed = flood(&server, VERIFY, 1500, |nth| (token.clone(), guess(4000 + nth)));
    assert!(guessed.iter().all(|(status, _)| matches!(status, 400 | 429)), "{guessed:?}");
    // The attackers come again, into places that were used already.
    for _ in 0..3 {
        attackers.extend(held(&server, &format!("{json_head}Content-Length: 16000\r\n\r\n{long}")));
    }

    let after = resident_mib(&server);
    assert!(after < before + GROWTH, "{before} MiB before, {after} MiB under attack");
    let user = json!({"phone_number": "+14155550123", "user": "ben"});
    assert_eq!(server.post(SEND, &service, &user).unwrap().status, 200, "a user is served");
    let body = place.sandbox.messages().into_iter().rev().find(|message| message.to == "+14155550123").unwrap().body;
    let code = smsotp::sandbox::inbox::extract_code(&body).unwrap();
    let proof = json!({"phone_number": "+14155550123", "user": "ben", "otp_code": code});
    assert_eq!(server.post(VERIFY, &service, &proof).unwrap().status, 200);
    drop(attackers);
}
