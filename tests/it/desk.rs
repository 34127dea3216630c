//! The desk of a stranger: the real binary, an empty home, no variables but the ones set here, a directory of its own.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;
use smsotp::sandbox::{Options, Sandbox};

pub const BINARY: &str = env!("CARGO_BIN_EXE_smsotp");

/// Whoever takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Desk {
    dir: tempfile::TempDir,
    vars: Vec<(String, OsString)>,
}

/// What a process left.
#[derive(Debug)]
pub struct Ran {
    pub status: ExitStatus,
    pub out: String,
    pub err: String,
    /// Both streams as they are.
    pub bytes: Vec<u8>,
}

impl Desk {
    /// A desk on which codes are printed instead of sent.
    pub fn new() -> Desk {
        let mut desk = Desk::bare();
        desk.set("SMSOTP_PROVIDER", "console");
        desk
    }

    /// A desk with nothing on it.
    pub fn bare() -> Desk {
        let dir = tempfile::tempdir().unwrap();
        for name in ["home", "cwd", "tmp"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        Desk { dir, vars: Vec::new() }
    }

    /// A desk with a sandbox in place of Twilio; its variables lie in `.env`.
    pub fn with_sandbox(options: Options) -> (Desk, Sandbox) {
        let desk = Desk::bare();
        let sandbox = Sandbox::start(options).unwrap();
        sandbox.write_env(&desk.cwd().join(".env")).unwrap();
        (desk, sandbox)
    }

    pub fn set(&mut self, name: &str, value: impl AsRef<OsStr>) -> &mut Desk {
        self.vars.retain(|(known, _)| known != name);
        self.vars.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Where everything lies.
    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    pub fn home(&self) -> PathBuf {
        self.root().join("home")
    }

    pub fn cwd(&self) -> PathBuf {
        self.root().join("cwd")
    }

    pub fn tmp(&self) -> PathBuf {
        self.root().join("tmp")
    }

    /// The database where nobody named others.
    pub fn db(&self) -> PathBuf {
        self.home().join(".local/share/smsotp/smsotp.db")
    }

    /// The key file of smsotp's own.
    pub fn key_file(&self) -> PathBuf {
        self.home().join(".config/smsotp/secret.key")
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.cwd().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Any program with this desk's environment.
    pub fn program(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", self.home())
            .env("TMPDIR", self.tmp())
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .envs(self.vars.iter().map(|(name, value)| (name, value)))
            .current_dir(self.cwd())
            .stdin(Stdio::null());
        command
    }

    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.program(BINARY);
        command.args(args);
        command
    }

    /// Runs a line as it is typed, without quotes.
    pub fn run(&self, line: &str) -> Ran {
        self.run_args(line.split_whitespace())
    }

    pub fn run_args<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        finish(&mut self.command(args))
    }

    /// Runs a line with something on standard input.
    pub fn pipe(&self, line: &str, input: impl AsRef<[u8]>) -> Ran {
        let mut command = self.command(line.split_whitespace());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Whoever does not read it all closes the pipe: that is its right.
        let _ = child.stdin.take().unwrap().write_all(input.as_ref());
        wait(child)
    }

    /// Runs a shell script, in which `smsotp` is the binary.
    pub fn shell(&self, script: &str) -> Ran {
        finish(self.program("sh").args(["-c", &format!("smsotp() {{ {BINARY} \"$@\"; }}\n{script}")]))
    }

    /// Starts a line and does not wait.
    pub fn start(&self, line: &str) -> Child {
        self.command(line.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Every file below the desk.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut dirs = vec![self.root().to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.symlink_metadata().unwrap().is_dir() { dirs.push(path) } else { files.push(path) }
            }
        }
        files
    }

    /// Sends a code and reads it off the printed message.
    #[track_caller]
    pub fn send(&self, line: &str) -> String {
        let ran = self.run(&format!("send {line}")).expect(0);
        smsotp::sandbox::inbox::extract_code(&ran.err).unwrap_or_else(|| panic!("no code in {ran:?}"))
    }
}

/// An address at which nobody may knock.
pub struct Trap(std::net::TcpListener);

impl Trap {
    pub fn new() -> Trap {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Trap(listener)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap())
    }

    /// Whether anyone has connected.
    pub fn was_touched(&self) -> bool {
        self.0.accept().is_ok()
    }
}

/// Runs a command to its end, which must come.
pub fn finish(command: &mut Command) -> Ran {
    wait(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

/// Waits for the end, which must come.
pub fn wait(child: Child) -> Ran {
    let pid = child.id();
    let (told, heard) = mpsc::channel();
    std::thread::spawn(move || told.send(child.wait_with_output().unwrap()));
    let Ok(output) = heard.recv_timeout(PATIENCE) else {
        signal(pid, "KILL");
        panic!("it hangs");
    };
    Ran {
        status: output.status,
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
        bytes: [output.stdout, output.stderr].concat(),
    }
}

/// Sends a signal to a process of ours.
pub fn signal(pid: u32, name: &str) {
    let signal = format!("SIG{name}").parse::<nix::sys::signal::Signal>().unwrap();
    // One that has ended meanwhile gets none.
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap()), signal);
}

/// The code in what was printed.
#[track_caller]
pub fn code_in(text: &str) -> String {
    smsotp::sandbox::inbox::extract_code(text).unwrap_or_else(|| panic!("no code in {text}"))
}

/// A code of the same length that is not the given one.
pub fn wrong(code: &str) -> String {
    let first = if code.starts_with('0') { '1' } else { '0' };
    format!("{first}{}", &code[1..])
}

impl Ran {
    /// The exit code; a signal's death is none.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    #[track_caller]
    pub fn expect(self, code: i32) -> Ran {
        assert_eq!(self.code(), code, "out: {}\nerr: {}", self.out, self.err);
        self
    }

    /// Asserts that the talk holds these words.
    #[track_caller]
    pub fn says(self, words: &str) -> Ran {
        assert!(self.err.contains(words), "no {words:?} in {}", self.err);
        self
    }

    /// Asserts that the result holds these words.
    #[track_caller]
    pub fn shows(self, words: &str) -> Ran {
        assert!(self.out.contains(words), "no {words:?} in {}", self.out);
        self
    }

    /// The cells of TSV.
    pub fn rows(&self) -> Vec<Vec<&str>> {
        self.out.lines().map(|line| line.split('\t').collect()).collect()
    }

    /// The one JSON document on standard output, of this kind.
    #[track_caller]
    pub fn json(&self, kind: &str) -> Value {
        let value: Value = serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"));
        assert_eq!((value["schema_version"].as_u64(), value["kind"].as_str()), (Some(1), Some(kind)), "{value}");
        value
    }

    /// The one JSON error on standard error.
    #[track_caller]
    pub fn error(&self, code: &str) -> Value {
        let line = self.err.lines().last().unwrap_or_default();
        let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {self:?}"));
        assert_eq!(value["schema_version"], 1);
        assert_eq!(value["error"]["code"], code, "{value}");
        assert_eq!(value["error"]["exit_code"], self.code(), "{value}");
        value["error"].clone()
    }
}
