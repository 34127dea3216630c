//! `smsotp test-twilio`: proves that the Twilio account, number and network work.

use super::{Call, unwired};
use crate::error::{Class, Result};
use crate::output::Output;

/// Prove that the Twilio account, number and network work
///
/// Each check tells what it means and what to do next. Without --to nothing is sent and nothing is spent. Exit code 1:
/// a check failed. Test credentials are recognised and walked through Twilio's magic numbers.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp test-twilio\n  \
    $ smsotp test-twilio --to +14155552671\n  \
    $ smsotp test-twilio --json")]
pub struct Args {
    /// Also send a real message to this number and follow it to its last status
    #[arg(long, value_name = "PHONE")]
    pub to: Option<String>,
}

/// Checks one thing after the other, shows all.
pub fn run(_args: Args, _call: &Call, _out: &mut Output) -> Result<Class> {
    // Seam: provider::twilio's checks → checks::Checks::of("twilio") → checks.show(out).
    Err(unwired("test-twilio"))
}
