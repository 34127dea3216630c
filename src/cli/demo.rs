//! `smsotp demo`: the whole story on this machine, without an account.

use super::{Call, unwired};
use crate::error::{Class, Result};
use crate::output::Output;

/// Run the whole story on this machine, without an account
///
/// On a temporary database and a sandbox it sends a code, shows the SMS, tries a wrong code, the right code and the same code
/// again, lists and purges. Each command is printed as typed, with its output and exit code. It leaves nothing behind.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  $ smsotp demo")]
pub struct Args {}

/// Runs the story.
pub fn run(_args: Args, _call: &Call, _out: &mut Output) -> Result<Class> {
    // Seam: a temporary directory, sandbox::Sandbox::start, then `cli::run` per line with `Streams` of its own.
    Err(unwired("demo"))
}
