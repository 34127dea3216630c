//! The command line: the argument tree, the global flags, and the way from a command line to an exit code.

mod alarms;
mod audit;
mod block;
mod checks;
pub mod completions;
mod config;
mod core_dumps;
mod country;
mod db;
mod demo;
mod dispatch;
mod explain;
mod forget;
mod given;
mod healthcheck;
pub mod help;
mod keys;
mod limits;
mod list;
mod message;
mod prices;
mod purge_expired;
mod report;
mod revoke;
mod rows;
mod sandbox;
mod send;
mod serve;
mod show;
mod signals;
mod simulate;
mod template;
mod test_number;
mod test_twilio;
mod token;
mod verify;
mod version;

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};

use crate::app::{App, OpenMode, os_caller};
use crate::audit::Details;
use crate::config::{Config, Flags};
use crate::error::{Class, Code, Error, Result};
use crate::output::{
    ColorChoice, ColorEnvironment, Format, LogForm, Output, OutputOptions, Streams, Terminal, start_logs,
};

/// A command line, parsed. Help, man pages and completions come from it too.
#[derive(Debug, Parser)]
#[command(
    name = "smsotp",
    bin_name = "smsotp",
    version,
    about = "Send and verify one-time passwords by SMS",
    long_about = "Send and verify one-time passwords by SMS\n\n\
        smsotp sends codes through Twilio, checks them, and keeps its database in one SQLite file. A code is never stored, \
        logged or printed. Without a Twilio account, `smsotp sandbox` stands in for it on this machine.",
    after_help = "Start with `smsotp demo`. Topics: `smsotp help exit-codes|environment|json`.",
    after_long_help = "Examples:\n  \
        $ smsotp demo\n  \
        $ smsotp send +14155552671 --purpose login\n  \
        $ smsotp verify +14155552671 --purpose login\n\n\
        Topics: `smsotp help exit-codes|environment|json`.",
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Cli {
    /// The flags that every command takes.
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub verb: Verb,
}

/// The flags that every command takes.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Keep the database in this file
    #[arg(long, global = true, value_name = "FILE")]
    pub db: Option<String>,
    /// Read settings from this file instead of the user's smsotp.toml
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Read variables from this file instead of ./.env; none reads no file
    #[arg(long, global = true, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
    /// Write results in this form [default: table on a terminal, tsv in a pipe]
    #[arg(short, long, global = true, value_name = "FORMAT", value_enum)]
    pub output: Option<Format>,
    /// Write results and errors as JSON: short for -o json
    #[arg(long, global = true, conflicts_with = "output")]
    pub json: bool,
    /// Use colours
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value = "auto")]
    pub color: ColorChoice,
    /// Print results and errors only
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Log each step to standard error; -vv adds details
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
    /// Never prompt
    #[arg(long, global = true)]
    pub no_input: bool,
    /// Show phone numbers in full (leaves a row in the audit log)
    #[arg(long, global = true)]
    pub reveal: bool,
}

impl Globals {
    fn output_options(&self) -> OutputOptions {
        OutputOptions {
            format: if self.json { Some(Format::Json) } else { self.output },
            color: self.color,
            quiet: self.quiet,
            reveal: self.reveal,
            no_input: self.no_input,
        }
    }
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Verb {
    // The help of each is the comment of its arguments.
    Send(send::Args),
    Verify(verify::Args),
    List(list::Args),
    Show(show::Args),
    Revoke(revoke::Args),
    PurgeExpired(purge_expired::Args),
    #[command(subcommand)]
    Message(message::Verb),
    TestTwilio(test_twilio::Args),
    Dispatch(dispatch::Args),
    Explain(explain::Args),
    Report(report::Args),
    #[command(subcommand)]
    Alarms(alarms::Verb),
    #[command(subcommand)]
    Limits(limits::Verb),
    #[command(subcommand)]
    Prices(prices::Verb),
    #[command(subcommand)]
    Block(block::Verb),
    Forget(forget::Args),
    #[command(subcommand)]
    Template(template::Verb),
    #[command(subcommand)]
    TestNumber(test_number::Verb),
    #[command(subcommand)]
    Keys(keys::Verb),
    #[command(subcommand)]
    Config(config::Verb),
    #[command(subcommand)]
    Db(db::Verb),
    #[command(subcommand)]
    Audit(audit::Verb),
    #[command(subcommand)]
    Token(token::Verb),
    Serve(serve::Args),
    Healthcheck(healthcheck::Args),
    Sandbox(sandbox::Args),
    Simulate(simulate::Args),
    Completions(completions::Args),
    Demo(demo::Args),
    Help(help::Args),
}

/// One call of the binary: what a verb may ask for beyond its own arguments.
pub struct Call {
    /// The flags that every command takes.
    pub globals: Globals,
    /// Ctrl-C and SIGTERM.
    pub signals: signals::Signals,
    /// What the configuration is warned of, and how many of it were printed.
    warnings: Mutex<(Vec<String>, usize)>,
}

impl Call {
    /// The checked configuration. Verbs that need none never ask.
    pub fn config(&self) -> Result<Config> {
        self.config_with(None, None)
    }

    /// The checked configuration, with what a verb's own flags say.
    pub fn config_with(&self, provider: Option<String>, region: Option<String>) -> Result<Config> {
        let globals = &self.globals;
        let config = crate::config::load(Flags {
            db: globals.db.clone(),
            config: globals.config.clone(),
            env_file: globals.env_file.clone(),
            provider,
            region,
            ..Flags::default()
        })?;
        tracing::info!(target: "smsotp", database = ?config.database, "read the settings");
        let known = &mut self.warnings.lock().unwrap_or_else(PoisonError::into_inner).0;
        for warning in &config.warnings {
            if !known.contains(warning) {
                known.push(warning.clone());
            }
        }
        Ok(config)
    }

    /// The warnings of the configuration that were not printed yet: each is printed once, also where the command then fails, which
    /// may be why.
    pub fn new_warnings(&self) -> Vec<String> {
        let (warnings, printed) = &mut *self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        warnings[std::mem::replace(printed, warnings.len())..].to_vec()
    }

    fn warn(&self, out: &Output) {
        self.new_warnings().iter().for_each(|warning| out.warn(warning));
    }

    /// Opens the database and prints its warnings.
    pub fn open(&self, mode: OpenMode, out: &Output) -> Result<App> {
        self.open_with(self.config()?, mode, out)
    }

    /// The same; `None` where there is no database yet, for commands that then have nothing to do.
    pub fn open_if_any(&self, config: Config, mode: OpenMode, out: &Output) -> Result<Option<App>> {
        if let Some(path) = App::no_database_yet(&config) {
            out.inform(&format!("There is no database at {} yet.", path.display()));
            return Ok(None);
        }
        self.open_with(config, mode, out).map(Some)
    }

    /// Opens the database of a configuration and prints its warnings.
    pub fn open_with(&self, config: Config, mode: OpenMode, out: &Output) -> Result<App> {
        self.opened(out, |notice| App::open(config, mode, notice))
    }

    /// The same for many operations at once. The database is created where there is none.
    pub fn open_for_many(&self, config: Config, out: &Output) -> Result<App> {
        self.opened(out, |notice| App::open_for_many(config, notice))
    }

    fn opened(&self, out: &Output, open: impl FnOnce(&dyn Fn(&str)) -> Result<App>) -> Result<App> {
        self.warn(out);
        let app = open(&|words| out.warn(words))?;
        for warning in app.warnings() {
            out.warn(warning);
        }
        if self.globals.reveal {
            // Showing whole numbers leaves a trace; a call that cannot leave it shows nothing.
            app.run(app.engine().record(&os_caller(), "reveal", Details::new()))?;
        }
        Ok(app)
    }
}

/// The binary's `main`: this process's arguments, streams and environment.
pub fn main() -> ExitCode {
    let core_dumps = core_dumps::switch_off();
    let args: Vec<OsString> = std::env::args_os().collect();
    let facts = crate::config::TerminalEnvironment::read();
    let terminal = Terminal::detect(
        ColorEnvironment { no_color: facts.no_color, force: facts.force_color, dumb: facts.dumb },
        facts.output,
    );
    set_panic_hook(terminal, &args);
    if let Some(answered) = completions::answer(&args) {
        let out = Output::to(terminal, OutputOptions::default(), Streams::standard());
        return ExitCode::from(answered.unwrap_or_else(|error| out.fail(&error)).exit());
    }
    if let Err(why) = core_dumps {
        Output::to(terminal, guess_output_options(&args), Streams::standard()).warn(&why);
    }
    let class = catch_unwind(AssertUnwindSafe(|| run(args, terminal, Streams::standard(), facts.log.as_deref())));
    // The hook has reported the bug already.
    ExitCode::from(class.unwrap_or(Class::Bug).exit())
}

/// Runs one command line, program name first, and answers its class.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    terminal: Terminal,
    streams: Streams,
    rust_log: Option<&str>,
) -> Class {
    let args: Vec<OsString> = args.into_iter().collect();
    match Cli::try_parse_from(&args) {
        Err(error) => {
            let mut out = Output::to(terminal, guess_output_options(&args), streams);
            not_a_call(&error, &args, &mut out).unwrap_or_else(|error| out.fail(&error))
        }
        Ok(cli) => {
            let mut out = Output::to(terminal, cli.globals.output_options(), streams);
            match &cli.verb {
                Verb::Serve(args) => serve::start_server_logs(args, cli.globals.verbose, &out, rust_log),
                _ => {
                    // The first -v shows the steps already: the level between them and nothing is a server's.
                    let verbosity = match cli.globals.verbose {
                        0 => 0,
                        given => given.saturating_add(1),
                    };
                    let form = if out.is_json() { LogForm::Json } else { LogForm::Text };
                    start_logs(&out, verbosity, rust_log, form);
                }
            }
            let call = Call { globals: cli.globals, signals: signals::Signals::default(), warnings: Mutex::default() };
            let result = dispatch_verb(cli.verb, &call, &mut out);
            call.warn(&out);
            call.signals.class_of(result).unwrap_or_else(|error| out.fail(&error))
        }
    }
}

/// The argument tree as the parser, the man pages and the completions see it.
pub fn command() -> clap::Command {
    Cli::command()
}

fn dispatch_verb(verb: Verb, call: &Call, out: &mut Output) -> Result<Class> {
    match verb {
        Verb::Send(args) => send::run(args, call, out),
        Verb::Verify(args) => verify::run(args, call, out),
        Verb::List(args) => list::run(args, call, out),
        Verb::Show(args) => show::run(args, call, out),
        Verb::Revoke(args) => revoke::run(args, call, out),
        Verb::PurgeExpired(args) => purge_expired::run(args, call, out),
        Verb::Message(verb) => message::run(verb, call, out),
        Verb::TestTwilio(args) => test_twilio::run(args, call, out),
        Verb::Dispatch(args) => dispatch::run(args, call, out),
        Verb::Explain(args) => explain::run(args, out),
        Verb::Report(args) => report::run(&args, call, out),
        Verb::Alarms(args) => alarms::run(args, call, out),
        Verb::Limits(args) => limits::run(args, call, out),
        Verb::Prices(args) => prices::run(args, call, out),
        Verb::Block(args) => block::run(args, call, out),
        Verb::Forget(args) => forget::run(args, call, out),
        Verb::Template(args) => template::run(args, call, out),
        Verb::TestNumber(args) => test_number::run(args, call, out),
        Verb::Keys(args) => keys::run(args, call, out),
        Verb::Config(args) => config::run(args, call, out),
        Verb::Db(args) => db::run(args, call, out),
        Verb::Audit(args) => audit::run(args, call, out),
        Verb::Token(args) => token::run(args, call, out),
        Verb::Serve(args) => serve::run(args, call, out),
        Verb::Healthcheck(args) => healthcheck::run(args, call, out),
        Verb::Sandbox(args) => sandbox::run(args, call, out),
        Verb::Simulate(args) => simulate::run(&args, call, out),
        Verb::Completions(args) => completions::run(args, out),
        Verb::Demo(args) => demo::run(args, call, out),
        Verb::Help(args) => help::run(args, out),
    }
}

/// A command line that names nothing to do: help and version are results, the rest is wrong usage.
fn not_a_call(error: &clap::Error, args: &[OsString], out: &mut Output) -> Result<Class> {
    let styled = error.render();
    match error.kind() {
        ErrorKind::DisplayVersion if out.is_json() || args.iter().any(asks_for_details) => {
            version::show(&styled.to_string(), out)
        }
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            out.text(&styled.to_string(), Some(&styled.ansi().to_string()))
        }
        _ => {
            let text = styled.to_string();
            let message = text.lines().next().unwrap_or("wrong usage");
            let message = message.strip_prefix("error: ").unwrap_or(message);
            Ok(out.fail_usage(&text, message, usage_hint(error).as_deref()))
        }
    }
}

/// `--verbose`, or a `v` among short flags, where the command line was not parsed to its end.
fn asks_for_details(arg: &OsString) -> bool {
    let Some(arg) = arg.to_str() else { return false };
    arg == "--verbose" || (arg.starts_with('-') && !arg.starts_with("--") && arg.contains('v'))
}

/// What the parser suggests, as one sentence.
fn usage_hint(error: &clap::Error) -> Option<String> {
    let suggested = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue]
        .into_iter()
        .find_map(|kind| error.get(kind))?;
    match suggested {
        ContextValue::String(one) => Some(format!("Did you mean `{one}`?")),
        ContextValue::Strings(some) if !some.is_empty() => Some(format!("Did you mean `{}`?", some.join("` or `"))),
        _ => None,
    }
}

/// What the user wants of the output, where the command line could not be parsed.
fn guess_output_options(args: &[OsString]) -> OutputOptions {
    let mut options = OutputOptions::default();
    let mut words = args.iter().skip(1).filter_map(|arg| arg.to_str()).take_while(|word| *word != "--").peekable();
    while let Some(word) = words.next() {
        let output = word.strip_prefix("--output=").or_else(|| word.strip_prefix("-o").filter(|rest| !rest.is_empty()));
        let output = match word {
            "--json" => Some("json"),
            "-o" | "--output" => words.peek().copied(),
            _ => output,
        };
        match output {
            Some("json") => options.format = Some(Format::Json),
            Some("jsonl") => options.format = Some(Format::Jsonl),
            _ => {}
        }
        let color = match word {
            "--color" => words.peek().copied(),
            _ => word.strip_prefix("--color="),
        };
        match color {
            Some("never") => options.color = ColorChoice::Never,
            Some("always") => options.color = ColorChoice::Always,
            _ => {}
        }
    }
    options
}

/// Says that a panic is our bug and where; never its payload, which may quote foreign data or a secret.
fn set_panic_hook(terminal: Terminal, args: &[OsString]) {
    let options = guess_output_options(args);
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        let bug = Error::new(Code::BUG, format!("a bug in smsotp {} at {place}", env!("CARGO_PKG_VERSION"))).hint(
            "Report this line and the command that you ran, without phone numbers, to the project's issue tracker",
        );
        Output::to(terminal, options, Streams::standard()).fail(&bug);
    }));
}

#[cfg(test)]
mod tests;
