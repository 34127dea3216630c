//! What starting costs: `--version`, `--help`, and `list` of 20 in small and in large database.
//!
//! The floors: a program that does nothing, and one of the same size as `smsotp` (this one) that opens the file with SQLite
//! and prints one query.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods, dead_code)]

mod database;
mod measure;

use std::path::Path;
use std::process::ExitCode;

use base64::Engine as _;
use database::{Database, secret};
use measure::{Goal, Program, interleaved, tell, wanted};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("floor-query") => query(Path::new(&args[2])),
        // Never asked for: it makes this program as large as the real one.
        Some("whole") => smsotp::cli::main(),
        _ => bench(),
    }
}

/// The floor of `list`.
fn query(path: &Path) -> ExitCode {
    let connection = rusqlite::Connection::open(path).unwrap();
    let mut statement = connection
        .prepare(
            r#"SELECT id, "user", phone_number, purpose, nonce, key_id, digits, created_at, expires_at, state FROM otps
               ORDER BY id DESC LIMIT 20"#,
        )
        .unwrap();
    let mut rows = statement.query([]).unwrap();
    let mut text = String::new();
    while let Some(row) = rows.next().unwrap() {
        let (id, phone, state): (i64, String, String) = (row.get(0).unwrap(), row.get(2).unwrap(), row.get(9).unwrap());
        text.push_str(&format!("{id}\t{phone}\t{state}\n"));
    }
    print!("{text}");
    ExitCode::SUCCESS
}

fn bench() -> ExitCode {
    let rounds = wanted("SMSOTP_BENCH_ROUNDS", 101);
    let sizes = [1_000, wanted("SMSOTP_BENCH_ROWS", 10_000_000)];
    let smsotp = env!("CARGO_BIN_EXE_smsotp");
    let (empty, meter) = (measure::floor("floor_empty"), measure::floor("floor_meter"));
    let this = std::env::current_exe().unwrap();
    let dir = measure::directory();
    let home = tempfile::tempdir().unwrap();
    let key = base64::engine::general_purpose::STANDARD.encode([7u8; 32]);
    let _ = secret();

    let ours = |args: &[&str]| {
        Program::new(smsotp, args).env("HOME", home.path().to_str().unwrap()).env("SMSOTP_SECRET_KEY", key.clone())
    };
    let mut programs = vec![Program::new(&empty, &[]), ours(&["--version"]), ours(&["--help"])];
    for rows in sizes {
        let database = Database::of(rows, &dir);
        let path = database.path.to_str().unwrap();
        programs.push(Program::new(&this, &["floor-query", path]));
        programs.push(ours(&["--db", path, "list", "--limit", "20"]));
    }
    let times = interleaved(&programs, rounds);
    println!("starting: median of {} interleaved runs, ms; peak memory, MiB", times[0].len());
    let names = ["empty program", "--version", "--help", "floor, small", "list, small", "floor, large", "list, large"];
    for ((name, times), program) in names.iter().zip(&times).zip(&programs) {
        println!("  {name:<16} {:>7.3} ms  {:>6.1} MiB", times.median(), program.peak_mib(&meter));
    }
    let ratio = |ours: usize, floor: usize| times[ours].median() / times[floor].median();
    let holds = [
        tell("--version / an empty program", Goal::Most(2.0), ratio(1, 0)),
        tell("--help / an empty program", Goal::Most(2.0), ratio(2, 0)),
        tell(&format!("list of 20, {} rows / open SQLite, one query", sizes[0]), Goal::Most(2.0), ratio(4, 3)),
        tell(&format!("list of 20, {} rows / open SQLite, one query", sizes[1]), Goal::Most(2.0), ratio(6, 5)),
    ];
    measure::verdict(&holds)
}
