//! `smsotp healthcheck`, as containers run it: against real servers, silent listeners and strangers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use crate::desk::{Desk, Ran};
use crate::served::Place;

fn check(url: &str, flags: &str) -> Ran {
    Desk::bare().run(&format!("healthcheck --url {url} {flags}"))
}

/// Answers each connection with these bytes, or never where there are none.
fn stranger(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            if !answer.is_empty() {
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(answer.as_bytes());
            }
            kept.push(answer.is_empty().then_some(stream));
        }
    });
    address
}

#[test]
fn a_server_is_ready_until_its_database_fails_and_alive_still() {
    let place = Place::new("");
    let server = place.serve(&[]);
    let url = format!("http://{}", server.address);

    check(&url, "").expect(0).shows("ready");
    assert_eq!(check(&url, "--quiet").expect(0).bytes, b"");
    check(&url, "--json").expect(0).shows("\"status\": \"ready\"");

    let database = rusqlite::Connection::open(place.path().join("smsotp.db")).unwrap();
    database.execute_batch("PRAGMA foreign_keys = OFF; ALTER TABLE messages RENAME TO lost").unwrap();
    check(&url, "").expect(1).says("is not ready");
    check(&url, "--live").expect(0).shows("ok");

    drop(server);
    check(&url, "").expect(1).says("does not answer").says("smsotp serve");
}

#[test]
fn any_certificate_will_do_on_this_machine() {
    let place = Place::new("");
    let tls = |name: &str| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name);
        file.to_str().unwrap().to_owned()
    };
    let server = place.serve(&["--tls-cert", &tls("cert.pem"), "--tls-key", &tls("key.pem")]);

    check(&format!("https://{}", server.address), "").expect(0).shows("ready");
    check(&format!("http://{}", server.address), "").expect(1);
}

#[test]
fn strangers_are_no_healthy_server() {
    let elsewhere = "HTTP/1.1 302 Found\r\nLocation: http://203.0.113.9/\r\nContent-Length: 0\r\n\r\n";
    let ours_but_for_the_database = "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"status\":\"ok\"}";
    let hello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    for answer in [elsewhere, ours_but_for_the_database, hello] {
        check(&format!("http://{}", stranger(answer)), "").expect(1).says("which `smsotp serve` does not");
    }
    check(&format!("http://{}", stranger("")), "--within 50ms").expect(1).says("no answer within 50ms");
}

#[test]
fn only_this_machine_is_asked() {
    for url in
        ["http://203.0.113.9:8000", "http://example.com", "http://127.0.0.1:8000/readyz", "ftp://127.0.0.1", "8000"]
    {
        check(url, "").expect(65).says("this machine");
    }
}
