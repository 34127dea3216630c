//! Runs a program and tells its peak resident memory in KiB, in the last line of stderr.
//! It is small, because what a child is charged begins with the peak of whoever started it.

use std::process::{Command, ExitCode};

use nix::sys::resource::{UsageWho, getrusage};

#[allow(clippy::print_stderr)]
fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let Some(program) = args.next() else { return ExitCode::FAILURE };
    let Ok(status) = Command::new(program).args(args).status() else { return ExitCode::FAILURE };
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return ExitCode::FAILURE };
    eprintln!("{}", usage.max_rss());
    ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1))
}
