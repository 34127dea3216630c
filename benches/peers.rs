//! The servers of the comparison, each as real processes with a new database: ours, and the peers of `benches/peers/`.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;

use crate::carrier::{ACCOUNT, Carrier, NUMBER, TOKEN};

/// Whom the load goes to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `smsotp serve`.
    Ours,
    /// A minimal Django application of the seed's model and endpoints.
    Django,
    /// django-phone-verify with its own views.
    PhoneVerify,
    /// better-auth's phone-number plugin under node:http.
    BetterAuth,
}

pub const PEERS: [Kind; 3] = [Kind::Django, Kind::PhoneVerify, Kind::BetterAuth];

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Ours => "smsotp serve",
            Kind::Django => "Django application",
            Kind::PhoneVerify => "django-phone-verify",
            Kind::BetterAuth => "better-auth",
        }
    }

    /// Whether it is installed in this directory.
    pub fn is_in(self, peers: &Path) -> bool {
        match self {
            Kind::Ours => true,
            Kind::Django | Kind::PhoneVerify => peers.join("py/bin/gunicorn").exists(),
            Kind::BetterAuth => {
                ["better-auth", "twilio"].iter().all(|name| peers.join("node/node_modules").join(name).exists())
            }
        }
    }
}

/// A running server with its processes and its directory; both go when it is dropped.
pub struct Server {
    pub kind: Kind,
    pub address: SocketAddr,
    bearer: String,
    child: Child,
    dir: tempfile::TempDir,
}

/// What processes have used: processor time in milliseconds, and memory in MB (10^6 bytes).
pub struct Used {
    pub cpu_ms: f64,
    /// Each process's share of what it shares, added up.
    pub pss_mb: f64,
    /// The largest resident size of the first process so far.
    pub peak_mb: f64,
}

impl Server {
    /// Starts it with a new database, and waits until it takes connections.
    pub fn start(kind: Kind, carrier: &Carrier, peers: Option<&Path>) -> Server {
        let dir = tempfile::tempdir_in(crate::measure::directory()).unwrap();
        let address = free_address();
        let (child, bearer) = match (kind, peers) {
            (Kind::Ours, _) => ours(dir.path(), address, carrier),
            (Kind::Django, Some(peers)) => (gunicorn("seed", dir.path(), address, (carrier, peers)), BEARER.into()),
            (Kind::PhoneVerify, Some(peers)) => {
                (gunicorn("verify_app", dir.path(), address, (carrier, peers)), BEARER.into())
            }
            (Kind::BetterAuth, Some(peers)) => (node(dir.path(), address, (carrier, peers)), BEARER.into()),
            (_, None) => unreachable!("peers run only where they are installed"),
        };
        let mut server = Server { kind, address, bearer, child, dir };
        while TcpStream::connect(address).is_err() {
            assert!(server.child.try_wait().unwrap().is_none(), "{} ended: {}", kind.name(), server.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// The request that asks for a code.
    pub fn send(&self, phone: &str, user: u64) -> Vec<u8> {
        match self.kind {
            Kind::Ours => self.post(
                "/api/v1/messaging/send-otp/",
                &format!(r#"{{"phone_number":"{phone}","purpose":"login","user":"user{user}"}}"#),
            ),
            Kind::Django => {
                self.post("/api/v1/messaging/send-otp/", &format!(r#"{{"phone_number":"{phone}","purpose":"login"}}"#))
            }
            Kind::PhoneVerify => self.post("/phone/register/", &format!(r#"{{"phone_number":"{phone}"}}"#)),
            Kind::BetterAuth => {
                self.post("/api/auth/phone-number/send-otp", &format!(r#"{{"phoneNumber":"{phone}"}}"#))
            }
        }
    }

    /// The request that shows the code; `sent` is what was answered to the one that asked for it.
    pub fn verify(&self, phone: &str, user: u64, code: &str, sent: &str) -> Vec<u8> {
        match self.kind {
            Kind::Ours => self.post(
                "/api/v1/messaging/verify-otp/",
                &format!(r#"{{"phone_number":"{phone}","otp_code":"{code}","purpose":"login","user":"user{user}"}}"#),
            ),
            Kind::Django => self.post(
                "/api/v1/messaging/verify-otp/",
                &format!(r#"{{"phone_number":"{phone}","otp_code":"{code}","purpose":"login"}}"#),
            ),
            Kind::PhoneVerify => {
                let answer: serde_json::Value = serde_json::from_str(sent).unwrap();
                let session = answer["session_token"].as_str().unwrap();
                self.post(
                    "/phone/verify/",
                    &format!(r#"{{"phone_number":"{phone}","security_code":"{code}","session_token":"{session}"}}"#),
                )
            }
            Kind::BetterAuth => self.post("/verify", &format!(r#"{{"phoneNumber":"{phone}","code":"{code}"}}"#)),
        }
    }

    fn post(&self, path: &str, body: &str) -> Vec<u8> {
        format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.address,
            self.bearer,
            body.len()
        )
        .into_bytes()
    }

    /// What its processes have used so far.
    pub fn used(&self) -> Used {
        let tree = tree(self.child.id());
        let per_process = |read: fn(u32) -> Option<f64>| tree.iter().filter_map(|pid| read(*pid)).sum();
        Used {
            cpu_ms: per_process(cpu_ms),
            pss_mb: per_process(|pid| kib(pid, "smaps_rollup", "Pss:")) * 1024.0 / 1e6,
            peak_mb: kib(self.child.id(), "status", "VmHWM:").unwrap_or(f64::NAN) * 1024.0 / 1e6,
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let signal = |pid: u32, signal| {
            let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
            let _ = nix::sys::signal::kill(pid, signal);
        };
        // The workers of a killed parent would live on.
        let tree = tree(self.child.id());
        for pid in tree.into_iter().rev() {
            signal(pid, nix::sys::signal::Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

const BEARER: &str = "a-token-that-everybody-compares";

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn ours(dir: &Path, address: SocketAddr, carrier: &Carrier) -> (Child, String) {
    let config = dir.join("smsotp.toml");
    // The guard counts and weighs each message, and has room for all of them. Its detector only watches: thousands of codes of which
    // none is entered before the last is sent are what it stops.
    let ceilings = "[ceilings]\nhour = 1000000\nday = 1000000\nmonth = 1000000\n";
    let country = "[countries.US]\nfloor = 1000000\ncap = 1000000\n";
    let limits = "[limits]\neverything = []\nip = []\nnetwork = []\n";
    std::fs::write(&config, format!("guard = \"watch\"\n{ceilings}{country}{limits}")).unwrap();
    let smsotp = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_smsotp"));
        command.args(args).env_clear().env("HOME", dir).current_dir(dir).stdin(Stdio::null());
        command.env("SMSOTP_CONFIG", &config).env("SMSOTP_DATABASE", dir.join("smsotp.db"));
        command.env("SMSOTP_SECRET_KEY", base64::engine::general_purpose::STANDARD.encode([7u8; 32]));
        command.env("TWILIO_ACCOUNT_SID", ACCOUNT).env("TWILIO_AUTH_TOKEN", TOKEN);
        command.env("TWILIO_PHONE_NUMBER", NUMBER).env("TWILIO_API_BASE_URL", &carrier.url);
        // Where callbacks come, the worker asks for itself only two minutes later: no round lasts that long.
        command.env("SMSOTP_STATUS_CALLBACK", "https://otp.example.com/api/v1/messaging/twilio/status/");
        command
    };
    let made = smsotp(&["token", "create", "--service", "--scope", "send,verify", "--rate", "10000", "--json"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&made.stdout).into_owned();
    let token = serde_json::from_str::<serde_json::Value>(&text)
        .ok()
        .and_then(|answer| Some(answer["token"].as_str()?.to_owned()))
        .unwrap_or_else(|| panic!("no token: {text}{}", String::from_utf8_lossy(&made.stderr)));
    // As it comes, with a line in the log for each request; the peers log nothing.
    let listen = address.to_string();
    let child = logged(smsotp(&["serve", "--listen", &listen]), dir);
    (child, token)
}

fn logged(mut command: Command, dir: &Path) -> Child {
    let log = std::fs::File::create(dir.join("log")).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

/// A command of a peer with what every peer is told.
fn peer(program: &Path, dir: &Path, carrier: &Carrier) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", dir).current_dir(dir);
    command.env("BENCH_MESSAGES_URL", carrier.messages_url()).env("BENCH_ACCOUNT", ACCOUNT);
    command.env("BENCH_TOKEN", TOKEN).env("BENCH_NUMBER", NUMBER).env("BENCH_BEARER", BEARER);
    command.env("BENCH_DATABASE", dir.join("smsotp.db"));
    if std::env::var_os("SMSOTP_BENCH_BARE").is_some() {
        command.env("BENCH_BARE", "1");
    }
    command
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers")
}

fn gunicorn(app: &str, dir: &Path, address: SocketAddr, (carrier, peers): (&Carrier, &Path)) -> Child {
    let python = |program: &str| {
        let mut command = peer(&peers.join("py/bin").join(program), dir, carrier);
        command.env("PYTHONPATH", sources()).env("PYTHONDONTWRITEBYTECODE", "1");
        command.env("DJANGO_SETTINGS_MODULE", format!("{app}.settings"));
        command
    };
    let made = python("python").args(["-m", &format!("{app}.prepare")]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut command = python("gunicorn");
    command.args(["--workers", "4", "--threads", "4", "--worker-class", "gthread", "--keep-alive", "75"]);
    command.args(["--log-level", "error", "--worker-tmp-dir", "/dev/shm", "--no-control-socket"]);
    command.args(["--bind", &address.to_string(), "django.core.wsgi:get_wsgi_application()"]);
    logged(command, dir)
}

fn node(dir: &Path, address: SocketAddr, (carrier, peers): (&Carrier, &Path)) -> Child {
    // A module finds its packages beside itself.
    std::fs::copy(sources().join("better_auth/server.mjs"), dir.join("server.mjs")).unwrap();
    std::os::unix::fs::symlink(peers.join("node/node_modules"), dir.join("node_modules")).unwrap();
    let mut command = peer(Path::new("node"), dir, carrier);
    command.env("BENCH_PORT", address.port().to_string()).env("NODE_ENV", "production").arg("server.mjs");
    logged(command, dir)
}

/// A process with all below it, parents first.
fn tree(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?.get(1)?.parse().ok()?)))
        .collect();
    let mut tree = vec![root];
    let mut at = 0;
    while at < tree.len() {
        let parent = tree[at];
        tree.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    tree
}

/// The fields of `/proc/PID/stat` behind the name: state, parent, ...
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect())
}

fn cpu_ms(pid: u32) -> Option<f64> {
    // A tick is 10 ms on every Linux that Rust runs on.
    let fields = stat(pid)?;
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) * 10.0)
}

fn kib(pid: u32, file: &str, name: &str) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name))?.trim().trim_end_matches(" kB").parse().ok()
}
