//! `serve --tls-cert --tls-key`: a real server that speaks TLS, and what it says to files that are none.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use smsotp::http::{Bounds, ServerSettings, Tls};

use crate::served::Place;
use crate::window::{Answer, SEND, VERIFY, Window, settings};
use crate::world::{PHONE, World};

/// A certificate of localhost that is good for a hundred years, its key, and a key of nobody's.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name)
}

fn word(name: &str) -> String {
    file(name).to_str().unwrap().to_owned()
}

/// A client that trusts our certificate alone, or nobody.
fn client(trusting: bool) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    if trusting {
        roots.add(CertificateDer::from_pem_file(file("cert.pem")).unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(versions.with_root_certificates(roots).with_no_client_auth())
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    // A hang is a failed test, not a test that never ends.
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// One request over TLS, on a connection of its own.
fn ask(address: SocketAddr, text: &str, client: Arc<ClientConfig>) -> std::io::Result<Answer> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = StreamOwned::new(ClientConnection::new(client, name).unwrap(), connect(address));
    stream.write_all(text.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(Answer::of(&answer).unwrap())
}

fn post(address: SocketAddr, path: &str, token: &str, body: &Value) -> Answer {
    let body = body.to_string();
    let text = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    ask(address, &text, client(true)).unwrap()
}

#[test]
fn a_code_is_sent_and_verified_over_tls_and_nothing_is_said_in_the_clear() {
    let place = Place::new("");
    let token = place.token(&["--user", "ada", "--scope", "send,verify"]);
    let server = place.serve(&["--tls-cert", &word("cert.pem"), "--tls-key", &word("key.pem")]);
    assert!(place.log().contains("answers on https://"), "{}", place.log());

    let sent = post(server.address, SEND, &token, &json!({"phone_number": PHONE, "purpose": "login"}));
    assert_eq!(sent.status, 200, "{sent:?}");
    let code = smsotp::sandbox::inbox::extract_code(&place.sandbox.messages()[0].body).unwrap();

    let guess = json!({"phone_number": PHONE, "purpose": "login", "otp_code": code});
    let mut plain = connect(server.address);
    let clear = format!("POST {VERIFY} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n{guess}");
    plain.write_all(clear.as_bytes()).unwrap();
    let mut said = Vec::new();
    // Closed, politely or not; whatever comes is no HTTP.
    let _ = plain.read_to_end(&mut said);
    assert!(!String::from_utf8_lossy(&said).contains("HTTP/"), "{said:?}");
    let doubtful = ask(server.address, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", client(false));
    assert!(doubtful.is_err(), "a certificate that nobody vouches for was taken: {doubtful:?}");

    let verified = post(server.address, VERIFY, &token, &guess);
    assert_eq!((verified.status, verified.json()["verified"].as_bool()), (200, Some(true)), "{verified:?}");
}

#[test]
fn a_handshake_that_never_ends_is_closed() {
    let world = World::new();
    let bounds = Bounds { head: Duration::from_millis(300), ..Bounds::default() };
    let tls = Some(Tls { certificate: file("cert.pem"), key: file("key.pem") });
    let window = Window::with(&world, world.engine(), ServerSettings { bounds, tls, ..settings() });

    // Nothing at all, and the head of a record that says that more is to come.
    for bytes in [&[][..], &[0x16, 0x03, 0x01, 0x02, 0x00]] {
        let mut stream = connect(window.address);
        stream.write_all(bytes).unwrap();
        let mut said = Vec::new();
        let ended = stream.read_to_end(&mut said);
        let timed_out = ended.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!timed_out, "still open after {bytes:?}");
        assert!(said.is_empty(), "{said:?}");
    }
    let answer =
        ask(window.address, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", client(true));
    assert_eq!(answer.unwrap().status, 200);
}

#[test]
#[cfg(unix)]
fn a_key_that_others_may_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new("");
    let key = place.path().join("key.pem");
    std::fs::copy(file("key.pem"), &key).unwrap();
    let serve = |mode| {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        drop(place.serve(&["--tls-cert", &word("cert.pem"), "--tls-key", key.to_str().unwrap()]));
        place.log().lines().filter(|line| line.contains("key.pem")).map(str::to_owned).collect::<Vec<_>>().join("; ")
    };

    assert_eq!(serve(0o640), "");
    assert!(serve(0o644).contains("every user of this machine may read it"));
    assert!(serve(0o602).contains("may change"));
}

#[test]
fn a_certificate_or_key_that_is_none_is_named_and_not_shown() {
    let place = Place::new("");
    let at = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let whole = std::fs::read_to_string(file("key.pem")).unwrap();
    let secret: Vec<&str> = whole.lines().filter(|line| !line.starts_with("---")).collect();
    std::fs::write(at("cut.pem"), &whole[..whole.len() / 2]).unwrap();
    std::fs::write(at("torn.pem"), whole.replace(secret[1], "????")).unwrap();
    std::fs::write(at("empty.pem"), "").unwrap();
    let (certificate, key) = (word("cert.pem"), word("key.pem"));
    for (chain, key, wrong) in [
        (&certificate, &at("cut.pem"), at("cut.pem")),
        (&certificate, &at("torn.pem"), at("torn.pem")),
        (&certificate, &at("empty.pem"), at("empty.pem")),
        (&certificate, &at("absent.pem"), at("absent.pem")),
        (&certificate, &certificate, certificate.clone()),
        (&certificate, &word("other-key.pem"), certificate.clone()),
        (&at("empty.pem"), &key, at("empty.pem")),
        (&at("absent.pem"), &key, at("absent.pem")),
        (&key, &key, key.clone()),
    ] {
        let args = ["serve", "--listen", "127.0.0.1:0", "--tls-cert", chain, "--tls-key", key];

        let ran = place.smsotp(&args).output().unwrap();

        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(78), "{chain} {key}: {said}");
        assert!(said.contains(&wrong) && said.contains("--tls-key"), "{chain} {key}: {said}");
        assert!(!secret.iter().any(|line| said.contains(line)), "{said}");
    }
    let alone = place.smsotp(&["serve", "--tls-key", &key]).output().unwrap();
    assert_eq!(alone.status.code(), Some(2), "{}", String::from_utf8_lossy(&alone.stderr));
}
