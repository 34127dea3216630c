//! What `message send --jsonl` costs: two thousand lines to a provider on loopback that answers at once, and to one that takes a
//! tenth of a second.
//!
//! The floors: with `SMSOTP_TEST_CLIENTS=DIR` (tests/clients/install.sh) Twilio's Python library with asyncio, as many in flight; and
//! sockets that do nothing but post, as many in flight.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods, dead_code)]

mod carrier;
mod measure;

use std::io::{BufWriter, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use carrier::{ACCOUNT, Carrier, NUMBER, TOKEN};
use measure::{Goal, Program, median_of, tell, timed, wanted};

/// As many messages at the same time.
const IN_FLIGHT: usize = 64;

/// How long the slow provider takes.
const LATENCY: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let (lines, rounds) = (wanted("SMSOTP_BENCH_LINES", 2_000), wanted("SMSOTP_BENCH_ROUNDS", 5));
    let dir = measure::directory();
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("smsotp.toml");
    std::fs::write(&config, "guard = \"off\"\n[limits]\nphone = []\neverything = []\n").unwrap();
    let input = write_lines(&dir, lines);
    let (quick, slow) = (Carrier::start(), Carrier::start_slow(LATENCY));
    let meter = measure::floor("floor_meter");
    let ours = |carrier: &Carrier, extra: &[&str]| {
        let database = dir.join("send-batch.db");
        remove(&database);
        let args = [
            &["--db", database.to_str().unwrap(), "--config", config.to_str().unwrap(), "-q"],
            &["message", "send", "--jsonl", input.to_str().unwrap(), "--concurrency", "64"][..],
            extra,
        ];
        with_account(Program::new(env!("CARGO_BIN_EXE_smsotp"), &args.concat()), carrier, home.path())
    };
    let fast = ["--rate", "10000"];

    let (mut rates, mut against_sockets, mut processor) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=rounds {
        let before = processor_time();
        let took = ours(&quick, &fast).run();
        let used = processor_time() - before;
        let (slow_took, sockets_took) = (ours(&slow, &fast).run(), post(&slow, lines));
        if round > 0 {
            rates.push(lines as f64 / took.as_secs_f64());
            processor.push(used.as_secs_f64() * 1e3 / lines as f64);
            against_sockets.push(sockets_took.as_secs_f64() / slow_took.as_secs_f64());
        }
    }
    let (rate, processor) = (median_of(rates), median_of(processor));
    println!("{lines} lines, {IN_FLIGHT} in flight: {rate:.0} messages/s, {processor:.3} ms of processor time each");
    let peak = ours(&quick, &fast).peak_mib(&meter);
    let many = write_lines(&dir, 500 * lines);
    let check = ["message", "send", "--check", "--jsonl", many.to_str().unwrap()];
    let peak_of_many =
        with_account(Program::new(env!("CARGO_BIN_EXE_smsotp"), &check), &quick, home.path()).peak_mib(&meter);
    let mut holds = vec![
        tell("processor time of a message, ms", Goal::Most(0.1), processor),
        tell("with 100 ms latency: messages/s / those of plain sockets", Goal::Least(0.95), median_of(against_sockets)),
        tell(&format!("peak memory of {lines} lines, MiB"), Goal::Most(25.0), peak),
        tell(&format!("peak memory of checking {} lines, MiB", 500 * lines), Goal::Most(40.0), peak_of_many),
    ];
    match std::env::var_os("SMSOTP_TEST_CLIENTS").map(PathBuf::from) {
        Some(clients) => {
            let python = python(&clients, &quick, home.path(), lines);
            let theirs: Vec<f64> = (0..3).map(|_| lines as f64 / python.run().as_secs_f64()).collect();
            println!("Twilio's Python library with asyncio: {:.0} messages/s", median_of(theirs.clone()));
            holds.push(tell("messages/s / Twilio's Python library", Goal::Least(4.0), rate / median_of(theirs)));
        }
        None => {
            println!("Twilio's Python library: skipped, SMSOTP_TEST_CLIENTS names none (tests/clients/install.sh DIR)")
        }
    }
    for made in [input, many, dir.join("send-batch.db")] {
        remove(&made);
    }
    measure::verdict(&holds)
}

fn with_account(program: Program, carrier: &Carrier, home: &Path) -> Program {
    program
        .env("HOME", home.to_str().unwrap())
        .env("SMSOTP_SECRET_KEY", base64::engine::general_purpose::STANDARD.encode([7u8; 32]))
        .env("TWILIO_ACCOUNT_SID", ACCOUNT)
        .env("TWILIO_AUTH_TOKEN", TOKEN)
        .env("TWILIO_PHONE_NUMBER", NUMBER)
        .env("TWILIO_API_BASE_URL", carrier.url.clone())
}

/// A phone of its own for each line.
fn to(nth: u64) -> String {
    format!("+1{:03}{:07}", 415, 2_000_000 + nth)
}

fn write_lines(dir: &Path, count: u64) -> PathBuf {
    let path = dir.join(format!("send-{count}.jsonl"));
    let mut file = BufWriter::new(std::fs::File::create(&path).unwrap());
    for nth in 0..count {
        writeln!(file, r#"{{"to": "{}", "text": "Order {nth} is on its way."}}"#, to(nth)).unwrap();
    }
    file.flush().unwrap();
    path
}

fn remove(path: &Path) {
    for end in ["", "-wal", "-shm", ".lock", "-turn"] {
        let _ = std::fs::remove_file(format!("{}{end}", path.display()));
    }
}

/// What the children that have ended used, in ticks of a hundredth of a second.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // proc(5): cutime and cstime are fields 16 and 17; the name, which may hold spaces, is the second.
    let ticks: u64 = fields[13..15].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(10 * ticks)
}

/// As many sockets as are in flight post as many messages, and do nothing else.
fn post(carrier: &Carrier, count: u64) -> Duration {
    let (address, next) = (carrier.url.strip_prefix("http://").unwrap().to_owned(), AtomicU64::new(0));
    let login = base64::engine::general_purpose::STANDARD.encode(format!("{ACCOUNT}:{TOKEN}"));
    let one = || {
        let mut socket = TcpStream::connect(&address).unwrap();
        socket.set_nodelay(true).unwrap();
        let mut answer = vec![0; 4096];
        loop {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            if nth >= count {
                return;
            }
            let body = format!("To=%2B{}&From=%2B12025550100&Body=Order+{nth}+is+on+its+way.", &to(nth)[1..]);
            write!(
                socket,
                "POST /2010-04-01/Accounts/{ACCOUNT}/Messages.json HTTP/1.1\r\nHost: {address}\r\nAuthorization: Basic {login}\r\n\
                 Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .unwrap();
            let read = socket.read(&mut answer).unwrap();
            assert!(answer[..read].starts_with(b"HTTP/1.1 201"));
        }
    };
    timed(|| std::thread::scope(|scope| (0..IN_FLIGHT).for_each(|_| drop(scope.spawn(one))))).1
}

const PYTHON: &str = r#"
import asyncio, json, os, re, sys
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.rest import Client
class There(AsyncTwilioHttpClient):
    async def request(self, method, url, *args, **kwargs):
        return await super().request(method, re.sub(r"^https://[a-z0-9.-]+\.twilio\.com", os.environ["TWILIO_API_BASE_URL"], url), *args, **kwargs)
async def main(count, in_flight):
    http = There()
    client = Client(os.environ["TWILIO_ACCOUNT_SID"], os.environ["TWILIO_AUTH_TOKEN"], http_client=http)
    gate = asyncio.Semaphore(in_flight)
    async def one(nth):
        async with gate:
            to = "+1415%07d" % (2000000 + nth)
            await client.messages.create_async(to=to, from_=os.environ["TWILIO_PHONE_NUMBER"], body="Order %d is on its way." % nth)
    await asyncio.gather(*(one(nth) for nth in range(count)))
    await http.close()
asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
"#;

fn python(clients: &Path, carrier: &Carrier, home: &Path, lines: u64) -> Program {
    let (count, in_flight) = (lines.to_string(), IN_FLIGHT.to_string());
    let program = Program::new("python3", &["-c", PYTHON, &count, &in_flight]);
    with_account(program, carrier, home).env("PYTHONPATH", clients.join("python").to_str().unwrap())
}
