//! Two machines: two real `smsotp serve` on one PostgreSQL database, with nothing else between them.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use smsotp::sandbox::{Fault, Options, Pace, Sandbox};

use crate::desk::Desk;
use crate::pg;
use crate::window::{Answer, SEND, VERIFY};
use crate::world::new_key;

const PHONE: &str = "+14155550123";

/// A machine with a server on it; both end with the story.
struct Machine {
    desk: Desk,
    server: Child,
    address: SocketAddr,
}

/// Machines that share a database, a key and a phone network.
struct Scene {
    machines: Vec<Machine>,
    sandbox: Sandbox,
    token: String,
    url: String,
}

impl Scene {
    fn of(machines: usize) -> Option<Scene> {
        let url = pg::database()?.url;
        let sandbox = Sandbox::start(Options { pace: Pace::Quick, ..Options::default() }).unwrap();
        let key = new_key();
        let desks = (0..machines).map(|_| {
            let mut desk = Desk::bare();
            sandbox.write_env(&desk.cwd().join(".env")).unwrap();
            desk.set("SMSOTP_DATABASE", &url).set("SMSOTP_SECRET_KEY", &key);
            desk
        });
        let desks: Vec<Desk> = desks.collect();
        desks[0].run("db migrate").expect(0);
        let made = desks[0].run("token create --service --scope send,verify --rate 10000 --json").expect(0);
        let made: Value = serde_json::from_str(&made.out).unwrap();
        let token = made["token"].as_str().unwrap().to_owned();
        Some(Scene { machines: desks.into_iter().map(Machine::start).collect(), sandbox, token, url })
    }

    fn code(&self) -> String {
        let messages = self.sandbox.messages();
        smsotp::sandbox::inbox::extract_code(&messages.last().unwrap().body).unwrap()
    }

    fn send(&self, machine: usize, key: Option<&str>) -> Answer {
        self.machines[machine].post(SEND, &self.token, key, &json!({"phone_number": PHONE, "user": "ada"}))
    }

    fn verify(&self, machine: usize, code: &str, key: Option<&str>) -> Answer {
        let guess = json!({"phone_number": PHONE, "user": "ada", "otp_code": code});
        self.machines[machine].post(VERIFY, &self.token, key, &guess)
    }
}

impl Machine {
    fn start(desk: Desk) -> Machine {
        let mut server = desk.command(["serve", "--listen", "127.0.0.1:0"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let address = loop {
            let Some(Ok(line)) = lines.next() else { panic!("the server ended before it answered: {said:?}") };
            if let Some((_, rest)) = line.split_once("answers on http://") {
                break rest.split(". ").next().unwrap().parse().unwrap();
            }
            said.push(line);
        };
        // Nobody reads on, and a full pipe would stop it.
        std::thread::spawn(move || lines.for_each(drop));
        Machine { desk, server, address }
    }

    fn post(&self, path: &str, token: &str, key: Option<&str>, body: &Value) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let (body, key) = (body.to_string(), key.map_or(String::new(), |key| format!("Idempotency-Key: {key}\r\n")));
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n{key}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        Answer::read(&mut stream).unwrap()
    }

    fn kill(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
fn what_one_machine_sent_another_verifies_once() {
    let Some(scene) = Scene::of(2) else { return };
    assert_eq!(scene.send(0, None).status, 200);
    let code = scene.code();
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let (scene, code) = (&scene, &code);
        let all: Vec<_> = (0..32).map(|nth| scope.spawn(move || scene.verify(nth % 2, code, None))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let verified = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(verified, 1, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
    assert!(answers.iter().all(|answer| answer.status == 200 || answer.code() == "invalid_code"), "{answers:?}");
    // Nor on the command line of either.
    for machine in &scene.machines {
        let ran = machine.desk.pipe(&format!("verify {PHONE} - --user ada"), &code).expect(1);
        assert!(!ran.out.contains("verified\ttrue"), "{ran:?}");
        machine.desk.run("audit verify").expect(0);
    }
}

#[test]
fn a_limit_holds_over_all_machines_together() {
    let Some(scene) = Scene::of(2) else { return };
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let scene = &scene;
        let all: Vec<_> = (0..24).map(|nth| scope.spawn(move || scene.send(nth % 2, None))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1, "the cooldown of 30 s");
    assert_eq!(scene.sandbox.messages().len(), 1);

    let code = scene.code();
    let wrong = crate::desk::wrong(&code);
    std::thread::scope(|scope| {
        for nth in 0..24 {
            let (scene, wrong) = (&scene, &wrong);
            scope.spawn(move || assert_ne!(scene.verify(nth % 2, wrong, None).status, 200));
        }
    });
    let guesses = pg::try_on(&scene.url, "SELECT wrong_guesses FROM smsotp.otps").unwrap();
    assert_eq!(guesses, ["5"], "five were compared, whoever asked");
    assert_ne!(scene.verify(0, &code, None).status, 200, "and the right one comes too late");
}

#[test]
fn an_idempotency_key_is_known_on_every_machine() {
    let Some(scene) = Scene::of(2) else { return };
    let first = scene.send(0, Some("order-1"));
    let again = scene.send(1, Some("order-1"));
    assert_eq!((first.status, &first.body), (200, &again.body));
    assert_eq!(scene.sandbox.messages().len(), 1);
    let code = scene.code();
    let first = scene.verify(1, &code, Some("check-1"));
    let again = scene.verify(0, &code, Some("check-1"));
    assert_eq!((first.status, &first.body), (200, &again.body));
    assert_ne!(scene.verify(0, &code, Some("check-2")).status, 200);
}

#[test]
fn what_a_machine_left_open_another_one_settles() {
    let Some(mut scene) = Scene::of(2) else { return };
    // The provider took the message and its answer was lost; then the machine died.
    scene.sandbox.fault(Fault::ResetAfterAccepting, 1);
    let sent = scene.send(0, None);
    scene.machines[0].kill();
    let state = "SELECT state FROM smsotp.messages";
    assert_eq!(pg::try_on(&scene.url, state).unwrap(), ["unknown"], "{sent:?}");
    // Half a minute later.
    pg::run_on(&scene.url, "UPDATE smsotp.messages SET due_at = due_at - 60000");
    let until = Instant::now() + Duration::from_secs(60);
    let settled = loop {
        let now = pg::try_on(&scene.url, state).unwrap();
        if now != ["unknown"] || Instant::now() > until {
            break now;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(["accepted", "sent", "delivered"].contains(&settled[0].as_str()), "{settled:?}");
    assert_eq!(scene.sandbox.messages().len(), 1, "found, and not sent again");
    assert_eq!(scene.verify(1, &scene.code(), None).status, 200);
}
