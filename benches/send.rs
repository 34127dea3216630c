//! What one `smsotp send` costs, to a provider on loopback.
//!
//! The floor: one process of the same size that parses the phone, opens the database, commits, posts over a plain socket and
//! commits again. With `SMSOTP_TEST_CLIENTS=DIR` (see tests/clients/install.sh) Twilio's Python library and twilio-cli send
//! in the same rounds.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods, dead_code)]

mod database;
mod measure;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine as _;
use database::{Database, phone};
use measure::{Goal, Program, Times, tell, wanted};
use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat};
use smsotp::sandbox::{Options, Pace, Sandbox};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("floor-send") => floor_send(Path::new(&args[2]), &args[3], &args[4], &args[5]),
        // Never asked for: it makes this program as large as the real one.
        Some("whole") => smsotp::cli::main(),
        _ => bench(),
    }
}

/// Raw POST, one phone parse, two durable commits.
fn floor_send(path: &Path, to: &str, url: &str, account: &str) -> ExitCode {
    let phone = phone_by_the_library(to);
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    connection.execute_batch("PRAGMA synchronous = FULL; CREATE TABLE IF NOT EXISTS sent (id INTEGER PRIMARY KEY, phone TEXT, sid TEXT);").unwrap();
    connection.execute("INSERT INTO sent (phone) VALUES (?1)", [phone.as_str()]).unwrap();
    let id = connection.last_insert_rowid();

    let (sid, token) = account.split_once(':').unwrap();
    let body = format!("To=%2B{}&From=%2B12025550100&Body=123456+is+your+code", &phone.as_str()[1..]);
    let address = url.strip_prefix("http://").unwrap();
    let login = base64::engine::general_purpose::STANDARD.encode(format!("{sid}:{token}"));
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    write!(
        socket,
        "POST /2010-04-01/Accounts/{sid}/Messages.json HTTP/1.1\r\nHost: {address}\r\nAuthorization: Basic {login}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    connection.execute("UPDATE sent SET sid = ?2 WHERE id = ?1", rusqlite::params![id, &answer[..16]]).unwrap();
    ExitCode::SUCCESS
}

/// As the phone library's documentation has it: with all its plans.
fn phone_by_the_library(to: &str) -> smsotp::phone::Phone {
    let parsed = PHONE_NUMBER_UTIL.parse(to, None).unwrap();
    assert!(PHONE_NUMBER_UTIL.is_valid_number(&parsed));
    smsotp::phone::Phone::from_e164(&PHONE_NUMBER_UTIL.format(&parsed, PhoneNumberFormat::E164)).unwrap()
}

fn bench() -> ExitCode {
    let rounds = wanted("SMSOTP_BENCH_ROUNDS", 101);
    let dir = measure::directory();
    let sandbox = Sandbox::start(Options { pace: Pace::Manual, ..Options::default() }).unwrap();
    let meter = measure::floor("floor_meter");
    let this = std::env::current_exe().unwrap();
    let database = Database::of(1_000, &dir).copy("send");
    let floor_database = Database::of(1_000, &dir).copy("send-floor");
    let home = tempfile::tempdir().unwrap();
    let account = format!("{}:{}", sandbox.account_sid(), sandbox.auth_token());
    let url = sandbox.url();

    let ours = |nth: u64| {
        let mut program = Program::new(
            env!("CARGO_BIN_EXE_smsotp"),
            &["--db", database.path.to_str().unwrap(), "send", phone(nth).as_str(), "--purpose", "login"],
        )
        .env("HOME", home.path().to_str().unwrap())
        .env("SMSOTP_SECRET_KEY", base64::engine::general_purpose::STANDARD.encode([7u8; 32]));
        program.env.extend(sandbox.env());
        program
    };
    let floor = |nth: u64| {
        let path = floor_database.path.to_str().unwrap();
        Program::new(&this, &["floor-send", path, phone(nth).as_str(), url.trim_end_matches('/'), &account])
    };
    let (mut our_times, mut floor_times) = (Times::default(), Times::default());
    for round in 0..=rounds {
        // Each to a phone of its own: no limit stands in the way.
        let (floor_took, ours_took) = (floor(2_000 + round).run(), ours(2_000 + round).run());
        if round > 0 {
            floor_times.add(floor_took);
            our_times.add(ours_took);
        }
    }
    let peak = ours(100_000).peak_mib(&meter);
    println!("one send: median of {} interleaved runs, ms; peak memory, MiB", our_times.len());
    println!("  floor            {:>8.3} ms  {:>6.1} MiB", floor_times.median(), floor(100_000).peak_mib(&meter));
    println!("  smsotp send      {:>8.3} ms  {peak:>6.1} MiB", our_times.median());
    let mut holds = vec![
        tell(
            "send / raw POST, one phone parse, two commits",
            Goal::Most(1.5),
            our_times.median() / floor_times.median(),
        ),
        tell("peak memory of a send, MiB", Goal::Most(16.0), peak),
    ];
    match std::env::var_os("SMSOTP_TEST_CLIENTS").map(PathBuf::from) {
        Some(clients) => holds.extend(against_clients(&sandbox, &clients, ours, rounds)),
        None => println!("Twilio's clients: skipped, SMSOTP_TEST_CLIENTS names none (tests/clients/install.sh DIR)"),
    }
    for made in [&database, &floor_database] {
        database::remove(&made.path);
    }
    measure::verdict(&holds)
}

const PYTHON: &str = r#"
import os, re, sys
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client
class There(TwilioHttpClient):
    def request(self, method, url, *args, **kwargs):
        return super().request(method, re.sub(r"^https://[a-z0-9.-]+\.twilio\.com", os.environ["TWILIO_API_BASE_URL"], url), *args, **kwargs)
client = Client(os.environ["TWILIO_ACCOUNT_SID"], os.environ["TWILIO_AUTH_TOKEN"], http_client=There())
print(client.messages.create(to=sys.argv[1], from_=os.environ["TWILIO_PHONE_NUMBER"], body="123456 is your code").sid)
"#;

fn against_clients(sandbox: &Sandbox, clients: &Path, ours: impl Fn(u64) -> Program, rounds: u64) -> Vec<bool> {
    let home = tempfile::tempdir().unwrap();
    let at_home = |mut program: Program| {
        for name in ["HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"] {
            program = program.env(name, home.path().to_str().unwrap());
        }
        program.env.extend(sandbox.env());
        program
    };
    let to = phone(200_000);
    let python = at_home(
        Program::new("python3", &["-c", PYTHON, to.as_str()])
            .env("PYTHONPATH", clients.join("python").to_str().unwrap()),
    );
    let shim = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/shim.js");
    let number = sandbox.phone_number();
    let cli = at_home(
        Program::new(
            "node",
            &[
                clients.join("node_modules/twilio-cli/bin/run").to_str().unwrap(),
                "api:core:messages:create",
                "--to",
                to.as_str(),
                "--from",
                &number,
                "--body",
                "123456 is your code",
            ],
        )
        .env("NODE_OPTIONS", format!("--require {shim:?}"))
        .env("SMSOTP_TEST_CLIENTS", clients.to_str().unwrap())
        .env("TWILIO_DISABLE_AUTOUPDATE", "true")
        .env("TWILIO_SKIP_NEW_VERSION_CHECK", "true"),
    );
    let mut times = [Times::default(), Times::default(), Times::default()];
    // Each twice in a row, and the second counts: what ran before it has emptied the caches of the first, and more of them the
    // larger it was.
    let warm = |first: &Program, second: &Program| {
        first.run();
        second.run()
    };
    for round in 0..=(rounds / 10).max(3) {
        let [first, second] = [0, 1].map(|nth| ours(300_000 + 2 * round + nth));
        let took = [warm(&first, &second), warm(&python, &python), warm(&cli, &cli)];
        if round > 0 {
            times.iter_mut().zip(took).for_each(|(times, took)| times.add(took));
        }
    }
    let [ours, python, cli] = times.map(|times| times.median());
    println!("  smsotp {ours:.2} ms, Twilio's Python library {python:.0} ms, twilio-cli {cli:.0} ms");
    vec![
        tell("send / Twilio's Python library", Goal::Most(0.05), ours / python),
        tell("send / twilio-cli", Goal::Most(0.01), ours / cli),
    ]
}
