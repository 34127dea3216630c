//! `smsotp sandbox`: a stand-in for Twilio on this machine, and the messages that it received.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use clap::Subcommand;
use serde::{Deserialize, Serialize};

use super::{Call, given};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::error::{CODES, Class, Code, Error, Result};
use crate::output::{Item, Layout, List, Output, Render, Table, View};
use crate::phone::Phone;
use crate::sandbox::running::{self, Running};
use crate::sandbox::{self, ReceivedMessage, Sandbox, inbox};

/// Stand in for Twilio on this machine
///
/// Answers like Twilio's API, shows each message as it arrives, and sends nothing. --write-env writes the variables that a
/// client needs, once it is ready. With --detach it runs in the background, and the command returns when it is ready: one that runs
/// already with the same file is left as it is. It never needs an account.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_long_help = "Examples:\n  \
    $ smsotp sandbox --detach --write-env sandbox.env\n  \
    $ smsotp send +14155552671 --env-file sandbox.env\n  \
    $ smsotp sandbox stop --env-file sandbox.env"
)]
pub struct Args {
    /// Listen here; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4010")]
    pub listen: String,
    /// Allow clients on other machines: whoever reaches the address reads every code
    #[arg(long)]
    pub allow_remote: bool,
    /// Write the variables that a client needs to this file, once ready
    #[arg(long, value_name = "FILE")]
    pub write_env: Option<PathBuf>,
    /// Return when it is ready; it goes on in the background
    #[arg(long, requires = "write_env")]
    pub detach: bool,
    /// Show the messages in this file instead of on standard error
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Show what arrived.
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// Commands for a running sandbox.
#[derive(Debug, Subcommand)]
pub enum Verb {
    Inbox(Inbox),
    /// End a running sandbox
    ///
    /// Returns when it has ended. Its messages are gone; a sandbox that is started with the same file later has the same account.
    #[command(after_long_help = "Examples:\n  $ smsotp sandbox stop --env-file sandbox.env")]
    Stop,
}

/// A sandbox that is ready, as `--json` and --detach show it.
#[derive(Debug, Deserialize, Serialize)]
struct Ready {
    /// The base URL.
    url: String,
    /// Its process.
    pid: u32,
    /// The file with the variables that a client needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    env_file: Option<PathBuf>,
    /// The file with its messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<PathBuf>,
    /// It ran before this command.
    already: bool,
}

impl Render for Ready {
    const KIND: &'static str = "sandbox";

    fn table(&self, view: &View) -> Table {
        Table::one_row(vec![
            ("pid", self.pid.to_string()),
            ("url", self.url.clone()),
            ("env_file", shown(self.env_file.as_deref(), view)),
        ])
    }

    fn layout(&self, _: &View) -> Layout {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        Layout::new()
            .text(if self.already { "The sandbox runs already." } else { "The sandbox runs in the background." })
            .field("listens on", &self.url)
            .field("process", self.pid.to_string())
            .field_if("variables", path(&self.env_file))
            .field_if("messages", path(&self.log))
    }
}

fn shown(path: Option<&Path>, view: &View) -> String {
    path.map_or_else(|| view.nothing(), |path| path.display().to_string())
}

/// A sandbox that was ended.
#[derive(Debug, Serialize)]
struct Stopped {
    /// Where it listened.
    url: String,
}

impl Render for Stopped {
    const KIND: &'static str = "sandbox_stopped";

    fn table(&self, _: &View) -> Table {
        Table::one_row(vec![("url", self.url.clone())])
    }

    fn layout(&self, _: &View) -> Layout {
        Layout::new().text(format!("The sandbox at {} has ended.", self.url))
    }
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
    const PROSE: &'static [&'static str] = &["body"];
    const SPARE: &'static [&'static str] = &["from"];

    fn cells(&self, view: &View) -> Vec<String> {
        vec![view.time(self.at), self.to.clone(), self.from.clone(), self.body.clone()]
    }
}

/// Serves, shows the inbox, or ends it.
pub fn run(args: Args, call: &Call, out: &mut Output) -> Result<Class> {
    match args.verb {
        None if args.detach => detach(&args, call, out),
        None => serve(&args, call, out),
        Some(Verb::Inbox(args)) => inbox(&args, call, out),
        Some(Verb::Stop) => {
            call.signals.watch();
            let url = address(&call.config()?)?;
            running::stop(&url)?;
            out.show_unless_quiet(&Stopped { url: url.trim_end_matches('/').to_owned() })
        }
    }
}

fn serve(args: &Args, call: &Call, out: &mut Output) -> Result<Class> {
    let listen = args.listen.parse().map_err(|_| {
        Error::new(Code::VALUE_INVALID, format!("--listen is not an address: {:.60}", args.listen))
            .hint("Write it like 127.0.0.1:4010; port 0 takes a free one")
    })?;
    let mut options = sandbox::Options {
        listen,
        allow_remote: args.allow_remote,
        on_message: Some(match &args.log {
            Some(path) => into_file(path)?,
            None => {
                let messages = out.message_writer();
                Box::new(move |message| messages.lines(&message.to_string()))
            }
        }),
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
        out.hint(&format!("In another terminal: smsotp send +14155552671 --env-file {}", quoted(path)));
    } else {
        out.inform(&format!("The sandbox listens on {}. A client needs these variables:", sandbox.url()));
        for (name, value) in sandbox.env() {
            out.inform(&format!("  {name}={value}"));
        }
    }
    if out.is_json() {
        let (env_file, log) = (args.write_env.clone(), args.log.clone());
        out.show(&Ready { url: sandbox.url(), pid: std::process::id(), env_file, log, already: false })?;
    }
    out.inform("Messages show up here as they arrive. Ctrl-C ends it.");
    call.signals.block_until(|| sandbox.has_ended());
    Ok(Class::Done)
}

/// Appends each message to a file that its owner alone can read.
fn into_file(path: &Path) -> Result<sandbox::OnMessage> {
    let mut options = File::options();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path).map_err(|error| {
        Error::new(Code::FILE_FAILED, format!("cannot write {}", path.display()))
            .because(error)
            .hint("Name a file in a directory that you may write to.")
    })?;
    Ok(Box::new(move |message| {
        // A full disk is no reason to answer Twilio's clients wrongly.
        let _ = writeln!(&file, "{message}");
    }))
}

/// Starts a sandbox as a process of its own and waits until it says that it is ready.
fn detach(args: &Args, call: &Call, out: &mut Output) -> Result<Class> {
    let env_file = args.write_env.clone().unwrap_or_default();
    let end = format!("End it with: smsotp sandbox stop --env-file {}", quoted(&env_file));
    let _turn = turn(&env_file);
    if let Some(Running { url, pid }) = running::of_env_file(&env_file)? {
        out.show_unless_quiet(&Ready { url, pid, env_file: Some(env_file), log: None, already: true })?;
        out.hint(&end);
        return Ok(Class::Done);
    }
    let _hold = call.signals.hold();
    let cannot = |error: std::io::Error| {
        Error::new(Code::FILE_FAILED, "the sandbox cannot be started in the background")
            .because(error)
            .hint("Start it without --detach, in a terminal of its own.")
    };
    let mut command = Command::new(std::env::current_exe().map_err(cannot)?);
    command.args(["sandbox", "--output", "jsonl", "--quiet", "--listen", &args.listen, "--write-env"]).arg(&env_file);
    if let Some(path) = &args.log {
        command.arg("--log").arg(path);
    }
    if args.allow_remote {
        command.arg("--allow-remote");
    }
    apart(&mut command);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(cannot)?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).map_err(cannot)?;
    }
    if let Err(interrupted) = call.signals.interrupted() {
        let _ = child.kill();
        return Err(interrupted);
    }
    let Ok(ready) = serde_json::from_str::<Ready>(&line) else { return Err(why_not(child)) };
    out.show_unless_quiet(&ready)?;
    out.hint(&end);
    Ok(Class::Done)
}

/// Of two that are started at once with one file, the second finds the sandbox of the first. Where a directory cannot be locked, both start.
fn turn(env_file: &Path) -> Option<File> {
    let directory = env_file.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = File::open(directory).ok()?;
    directory.lock().ok().map(|()| directory)
}

/// Ctrl-C and the end of this terminal are not for the sandbox.
fn apart(command: &mut Command) {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    #[cfg(windows)]
    {
        const DETACHED_PROCESS: u32 = 0x8;
        const CREATE_NEW_PROCESS_GROUP: u32 = 0x200;
        std::os::windows::process::CommandExt::creation_flags(command, DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP);
    }
}

/// The error of a sandbox that ended instead of becoming ready, as it wrote it.
fn why_not(child: Child) -> Error {
    let said = child.wait_with_output().map(|output| output.stderr).unwrap_or_default();
    let last = said.split(|byte| *byte == b'\n').rev().find(|line| !line.is_empty()).unwrap_or_default();
    let error = serde_json::from_slice::<serde_json::Value>(last).unwrap_or_default();
    let text = |name: &str| error["error"][name].as_str();
    let code = CODES.iter().find(|code| text("code") == Some(code.name)).copied().unwrap_or(Code::BUG);
    let mut why = Error::new(code, text("message").unwrap_or("the sandbox ended before it was ready"));
    if let Some(cause) = error["error"]["causes"][0].as_str() {
        why = why.because(cause.to_owned());
    }
    match text("hint") {
        Some(hint) => why.hint(hint),
        None => why,
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    given::quoted(&path.to_string_lossy())
}

/// The base URL of the sandbox that the settings name.
fn address(config: &Config) -> Result<String> {
    let base = config.twilio.base_url.as_ref().ok_or_else(|| {
        Error::new(Code::CONFIG_INVALID, "the address of the sandbox is not set")
            .hint("Name the file that `smsotp sandbox --write-env FILE` wrote: --env-file FILE")
    })?;
    Ok(base.to_string())
}

fn inbox(args: &Inbox, call: &Call, out: &mut Output) -> Result<Class> {
    let wait = args.wait.as_deref().map(|span| given::span("--wait", span)).transpose()?.unwrap_or_default();
    let config = args.region.config(call)?;
    let to = args.to.as_deref().map(|text| given::phone(text, &config, call)).transpose()?;
    let base = address(&config)?;
    call.signals.watch();
    let messages = inbox::fetch_blocking(&base, to.as_ref().map(Phone::as_str), wait)?;
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
