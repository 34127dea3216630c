//! A running window for stories: the server on a thread of its own, and a client that speaks plain HTTP/1.1.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use smsotp::engine::{Engine, NewToken, Whose};
use smsotp::http::{Backend, Callbacks, CheckMark, Metrics, ProviderCheck, Server, ServerSettings};
use smsotp::otp::User;
use smsotp::provider::twilio::checks;
use smsotp::token::{RATE_MAX, Scopes};
use tokio::sync::oneshot;

use crate::world::{World, block_on, caller};

pub const SEND: &str = "/api/v1/messaging/send-otp/";
pub const VERIFY: &str = "/api/v1/messaging/verify-otp/";
pub const TEST: &str = "/api/v1/messaging/test-twilio/";
pub const STATUS: &str = "/api/v1/messaging/twilio/status/";
pub const INBOUND: &str = "/api/v1/messaging/twilio/inbound/";
pub const PUBLIC: &str = "https://otp.example.com";

/// A server that stops when it is dropped.
pub struct Window {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Window {
    pub fn open(world: &World) -> Window {
        Window::with(world, world.engine(), settings())
    }

    pub fn with(world: &World, engine: Engine, settings: ServerSettings) -> Window {
        Window::at(world, engine, settings, PUBLIC)
    }

    /// A window that the world outside knows by `public`.
    pub fn at(world: &World, engine: Engine, settings: ServerSettings, public: &str) -> Window {
        let public = public.parse().unwrap();
        let metrics = Arc::new(Metrics::new());
        let meter = Arc::clone(&metrics);
        let twilio = Arc::new(world.twilio());
        let backend = Backend {
            engine: engine.on_wait(move |what, took| meter.waited(what, took)),
            metrics,
            checks: Some(Arc::new(move || {
                let twilio = Arc::clone(&twilio);
                Box::pin(async move {
                    twilio.checks(&checks::CheckOptions::default()).await.into_iter().map(check).collect()
                })
            })),
            callbacks: Some(Callbacks {
                auth_token: world.sandbox.auth_token().into(),
                status_url: None,
                public_url: Some(public),
            }),
            region: None,
        };
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async move {
                let server = Server::bind(backend, settings).await.unwrap();
                tell.send(server.address()).unwrap();
                server.run(async { drop(stopped.await) }).await;
            });
        });
        Window { address: told.recv().unwrap(), stop: Some(stop), thread: Some(thread) }
    }

    /// Tells the server to stop, and waits until it has.
    pub fn close(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    /// Tells the server to stop, and goes on.
    pub fn tell_to_stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        // A hang is a failed test, not a test that never ends.
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    /// One request on a connection of its own.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || method == "POST" {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        text.push_str(body);
        self.raw(text.as_bytes()).unwrap()
    }

    #[track_caller]
    pub fn post(&self, path: &str, token: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        self.ask("POST", path, &[("Authorization", &bearer), ("Content-Type", "application/json")], body)
    }

    #[track_caller]
    pub fn get(&self, path: &str, token: &str) -> Answer {
        self.ask("GET", path, &[("Authorization", &format!("Bearer {token}"))], "")
    }

    /// Writes bytes as they are and reads until the server closes. `None`: it closed without a word.
    pub fn raw(&self, bytes: &[u8]) -> Option<Answer> {
        let mut stream = self.connect();
        // The server may close before it has read everything: that is an answer too.
        let _ = stream.write_all(bytes);
        Answer::read(&mut stream)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.close();
        }
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// Reads until the end of the stream.
    pub fn read(stream: &mut TcpStream) -> Option<Answer> {
        let mut bytes = Vec::new();
        // A reset after the answer is fine.
        let _ = stream.read_to_end(&mut bytes);
        Answer::of(&String::from_utf8_lossy(&bytes))
    }

    pub fn of(text: &str) -> Option<Answer> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_else(|| panic!("no code: {self:?}")).to_owned()
    }

    /// A header's value; names are compared without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// A free port, and no worker: stories move the clock, and the worker would be one more hand in the database.
pub fn settings() -> ServerSettings {
    ServerSettings { listen: "127.0.0.1:0".parse().unwrap(), work: None, ..ServerSettings::default() }
}

pub fn token_of(engine: &Engine, user: &str, scopes: &str) -> String {
    make(engine, Whose::User(User::parse(user).unwrap()), scopes)
}

pub fn service_token(engine: &Engine, scopes: &str) -> String {
    make(engine, Whose::Service, scopes)
}

fn make(engine: &Engine, whose: Whose, scopes: &str) -> String {
    let new = NewToken {
        name: "test".into(),
        scopes: Scopes::parse(scopes).unwrap(),
        whose,
        expires_at: None,
        rate: Some(RATE_MAX),
        conversion_unknown: false,
    };
    block_on(engine.create_token(&caller(), new)).unwrap().1.expose().to_owned()
}

fn check(check: smsotp::check::Check) -> ProviderCheck {
    let mark = match check.mark {
        smsotp::check::Mark::Ok => CheckMark::Ok,
        smsotp::check::Mark::Warn => CheckMark::Warn,
        smsotp::check::Mark::Fail => CheckMark::Fail,
        smsotp::check::Mark::Skip => CheckMark::Skip,
    };
    ProviderCheck { name: check.name.into(), mark, finding: check.finding, meaning: check.meaning, next: check.next }
}
