//! The real `smsotp serve`, as a process: its database in a directory of its own, the sandbox in place of Twilio.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use smsotp::sandbox::{Options, Pace, Sandbox};

use crate::window::Answer;

/// A place with a configuration, and the sandbox that it names.
pub struct Place {
    pub dir: tempfile::TempDir,
    pub sandbox: Sandbox,
    /// The database, as `--db` takes it.
    pub db: String,
}

/// A running server; killed when dropped.
pub struct Process {
    pub child: Child,
    pub address: SocketAddr,
}

impl Place {
    /// `settings` is what stands in `smsotp.toml`.
    pub fn new(settings: &str) -> Place {
        let dir = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::start(Options { pace: Pace::Quick, ..Options::default() }).unwrap();
        sandbox.write_env(&dir.path().join("env")).unwrap();
        fs::write(dir.path().join("smsotp.toml"), settings).unwrap();
        let db = dir.path().join("smsotp.db").to_str().unwrap().to_owned();
        Place { dir, sandbox, db }
    }

    /// The binary in this place, with nothing of the environment of whoever runs the tests.
    pub fn smsotp(&self, args: &[&str]) -> Command {
        let dir = self.dir.path();
        let mut command = Command::new(env!("CARGO_BIN_EXE_smsotp"));
        command.env_clear().env("HOME", dir).current_dir(dir).stdin(Stdio::null());
        command.args(args).arg("--db").arg(&self.db);
        command.arg("--env-file").arg(dir.join("env")).arg("--config").arg(dir.join("smsotp.toml"));
        command
    }

    /// Runs a verb with `--json` and reads what it says.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let ran = self.smsotp(args).arg("--json").output().unwrap();
        assert!(ran.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ran.stderr));
        serde_json::from_slice(&ran.stdout).unwrap()
    }

    pub fn token(&self, args: &[&str]) -> String {
        // As many requests as there are: most stories are not about this limit.
        let rate = if args.contains(&"--rate") { &[][..] } else { &["--rate", "10000"] };
        let made = self.json(&[&["token", "create"][..], args, rate].concat());
        made["token"].as_str().unwrap().to_owned()
    }

    /// Starts the server and waits until it listens.
    pub fn serve(&self, args: &[&str]) -> Process {
        let all = [&["serve", "--listen", "127.0.0.1:0"][..], args].concat();
        let log = fs::File::create(self.path().join("log")).unwrap();
        let mut child = self.smsotp(&all).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let address = loop {
            assert!(child.try_wait().unwrap().is_none(), "the server ended before it answered: {}", self.log());
            // With its full stop: the whole address is there.
            let log = self.log();
            let said = log.split_once("answers on http").and_then(|(_, it)| it.split_once("://"));
            if let Some((address, _)) = said.and_then(|(_, it)| it.split_once(". ")) {
                break address.parse().unwrap();
            }
            std::thread::yield_now();
        };
        Process { child, address }
    }

    /// What the server said on standard error so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap()
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Process {
    /// One request on a connection of its own; `None` where the server is gone.
    pub fn post(&self, path: &str, token: &str, body: &Value) -> Option<Answer> {
        use std::io::Write;
        let mut stream = std::net::TcpStream::connect(self.address).ok()?;
        let body = body.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).ok()?;
        Answer::read(&mut stream)
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
