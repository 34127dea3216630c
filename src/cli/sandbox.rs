//! `smsotp sandbox`: a stand-in for Twilio on this machine, and the messages that it received.

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use super::{Call, unwired};
use crate::clock::Timestamp;
use crate::error::{Class, Result};
use crate::output::{Item, Output, View};

/// Stand in for Twilio on this machine
///
/// Answers like Twilio's API, shows each message as it arrives, and sends nothing. --write-env writes the variables that a
/// client needs, once it is ready. It never needs an account.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_long_help = "Examples:\n  \
    $ smsotp sandbox --write-env sandbox.env\n  \
    $ smsotp send +14155552671 --env-file sandbox.env\n  \
    $ smsotp sandbox inbox --to +14155552671 --wait 10s --code --env-file sandbox.env"
)]
pub struct Args {
    /// Listen here; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4010")]
    pub listen: String,
    /// Write the variables that a client needs to this file, once ready
    #[arg(long, value_name = "FILE")]
    pub write_env: Option<PathBuf>,
    /// Look at what arrived.
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// What can be done with a running sandbox.
#[derive(Debug, Subcommand)]
pub enum Verb {
    Inbox(Inbox),
}

/// Show the messages that a running sandbox received
///
/// With --code it prints the digits of the newest message alone, so that a script can run a whole sign-up.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp sandbox inbox --env-file sandbox.env\n  \
    $ smsotp sandbox inbox --to +14155552671 --wait 10s --code --env-file sandbox.env")]
pub struct Inbox {
    /// Only messages to this number
    #[arg(long, value_name = "PHONE")]
    pub to: Option<String>,
    /// Wait this long for a message
    #[arg(long, value_name = "SPAN")]
    pub wait: Option<String>,
    /// Print the digits of the code alone
    #[arg(long)]
    pub code: bool,
}

/// One message as the phone would show it. It holds a code: the sandbox is the one place that shows them.
#[derive(Clone, Debug, Serialize)]
pub struct Message {
    /// The message's SID.
    pub sid: String,
    /// To whom.
    pub to: String,
    /// From whom.
    pub from: String,
    /// The text.
    pub body: String,
    /// The digits in it that look like a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// When it arrived.
    pub at: Timestamp,
}

impl Item for Message {
    const KIND: &'static str = "sandbox_message";
    const COLUMNS: &'static [&'static str] = &["at", "to", "from", "body"];

    fn cells(&self, view: &View) -> Vec<String> {
        vec![view.time(self.at), self.to.clone(), self.from.clone(), self.body.clone()]
    }
}

/// Serves, or shows the inbox.
pub fn run(args: Args, _call: &Call, _out: &mut Output) -> Result<Class> {
    match args.verb {
        // Seam: sandbox::Sandbox::start, write the file, until call.signals.wait().
        None => Err(unwired("sandbox")),
        // Seam: sandbox::inbox over loopback; none in time: Error NOT_FOUND (exit 1); --code: out.text(digits + line feed).
        Some(Verb::Inbox(_)) => Err(unwired("sandbox inbox")),
    }
}
