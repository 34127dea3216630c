//! `smsotp sandbox`: a stand-in for Twilio on this machine, and the messages that it received.

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use super::{Call, given};
use crate::clock::Timestamp;
use crate::error::{Class, Code, Error, Result};
use crate::output::{Item, List, Output, View};
use crate::phone::Phone;
use crate::sandbox::{self, ReceivedMessage, Sandbox, inbox};

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
    /// Show what arrived.
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// Commands for a running sandbox.
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
    #[command(flatten)]
    pub region: given::Region,
    /// Wait this long for a message
    #[arg(long, value_name = "SPAN")]
    pub wait: Option<String>,
    /// Print the digits of the code alone
    #[arg(long)]
    pub code: bool,
}

/// One message as the phone would show it. It holds a code: only the sandbox and the console provider show codes.
#[derive(Clone, Debug, Serialize)]
pub struct InboxItem {
    pub sid: String,
    pub to: String,
    pub from: String,
    pub body: String,
    /// The digits in it that look like a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    pub at: Timestamp,
}

impl Item for InboxItem {
    const KIND: &'static str = "sandbox_message";
    const COLUMNS: &'static [&'static str] = &["at", "to", "from", "body"];

    fn cells(&self, view: &View) -> Vec<String> {
        vec![view.time(self.at), self.to.clone(), self.from.clone(), self.body.clone()]
    }
}

/// Serves, or shows the inbox.
pub fn run(args: Args, call: &Call, out: &mut Output) -> Result<Class> {
    match args.verb {
        None => serve(&args, call, out),
        Some(Verb::Inbox(args)) => inbox(&args, call, out),
    }
}

fn serve(args: &Args, call: &Call, out: &mut Output) -> Result<Class> {
    let listen = args.listen.parse().map_err(|_| {
        Error::new(Code::VALUE_INVALID, format!("--listen is not an address: {:.60}", args.listen))
            .hint("Write it like 127.0.0.1:4010; port 0 takes a free one")
    })?;
    let messages = out.message_writer();
    let mut options = sandbox::Options {
        listen,
        on_message: Some(Box::new(move |message| messages.lines(&message.to_string()))),
        ..sandbox::Options::default()
    };
    if let Some(path) = &args.write_env {
        options = options.resume_from(path)?;
    }
    let _hold = call.signals.hold();
    let sandbox = Sandbox::start(options)?;
    if let Some(path) = &args.write_env {
        sandbox.write_env(path)?;
        out.inform(&format!("The sandbox listens on {}; its variables are in {}.", sandbox.url(), path.display()));
        out.hint(&format!("In another terminal: smsotp send +14155552671 --env-file {}", path.display()));
    } else {
        out.inform(&format!("The sandbox listens on {}. A client needs these variables:", sandbox.url()));
        for (name, value) in sandbox.env() {
            out.inform(&format!("  {name}={value}"));
        }
    }
    out.inform("Messages show up here as they arrive. Ctrl-C ends it.");
    call.signals.block();
    Ok(Class::Done)
}

fn inbox(args: &Inbox, call: &Call, out: &mut Output) -> Result<Class> {
    let wait = args.wait.as_deref().map(|span| given::span("--wait", span)).transpose()?.unwrap_or_default();
    let config = args.region.config(call)?;
    let to = args.to.as_deref().map(|text| given::phone(text, &config)).transpose()?;
    let base = config.twilio.base_url.as_ref().ok_or_else(|| {
        Error::new(Code::CONFIG_INVALID, "the address of the sandbox is not set")
            .hint("Name the file that `smsotp sandbox --write-env FILE` wrote: --env-file FILE")
    })?;
    call.signals.watch();
    let messages = inbox::fetch_blocking(base.as_str(), to.as_ref().map(Phone::as_str), wait)?;
    if args.code {
        let code = messages.iter().rev().find_map(|message| inbox::extract_code(&message.body));
        let code = code.ok_or_else(|| nothing("no message with a code"))?;
        out.text(&format!("{code}\n"), None)?;
        return Ok(Class::Done);
    }
    if messages.is_empty() && !wait.is_zero() {
        return Err(nothing("no message"));
    }
    let item = |message: ReceivedMessage| InboxItem {
        code: inbox::extract_code(&message.body),
        sid: message.sid,
        to: message.to,
        from: message.from.unwrap_or_default(),
        body: message.body,
        at: message.created_at,
    };
    out.list(&List::whole(messages.into_iter().map(item).collect(), "No messages."))
}

fn nothing(what: &str) -> Error {
    Error::new(Code::NOT_FOUND, format!("{what} has arrived"))
        .hint("Give it more time with --wait 10s; is --to the number it went to?")
}
