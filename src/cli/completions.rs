//! `smsotp completions`: what a shell loads to complete command lines, and the answers that the program itself gives meanwhile.
//!
//! bash, zsh and fish ask the program at each press of the key, so that purposes, ids and phones are those of the moment. What it says
//! then comes from a bounded look at the database: a missing, locked or unreachable one means fewer suggestions, never a wait or an
//! error in the middle of somebody's line.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use clap::{Arg, Command, CommandFactory, ValueHint};
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate, ValueCandidates};
use clap_complete::env::{self, EnvCompleter, Shells};
use clap_complete::{CompleteEnv, Shell};

use super::{Cli, given, help};
use crate::app::{App, OpenMode};
use crate::config::{Config, Flags};
use crate::engine::Filter;
use crate::error::{Class, Code, Error, Result};
use crate::limits::Limit;
use crate::otp::{Otp, State};
use crate::output::Output;
use crate::provider::twilio::catalogue;
use crate::purpose;

/// Names the shell that asks. It is no setting: the scripts below set it for their own calls alone.
const VARIABLE: &str = "_SMSOTP_COMPLETE";

/// Nobody waits longer for a suggestion.
const LOOK: Duration = Duration::from_millis(500);

/// More than this are no help in choosing.
const SHOWN_MAX: u32 = 50;

/// Print the completion script of a shell
///
/// Commands, flags and values are completed: purposes, limits, scopes, states, topics, and the live codes with their phones masked. In
/// bash, zsh and fish the script only asks the installed smsotp, so it stays right after an upgrade.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp completions bash > ~/.local/share/bash-completion/completions/smsotp\n  \
    $ smsotp completions zsh > ~/.zfunc/_smsotp\n  \
    $ smsotp completions fish > ~/.config/fish/completions/smsotp.fish")]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Prints the script.
pub fn run(args: Args, out: &mut Output) -> Result<Class> {
    out.text(&script(args.shell), None)
}

/// The completion script of a shell.
pub fn script(shell: Shell) -> String {
    match shell {
        Shell::Bash => {
            format!("# smsotp itself completes its command lines.\neval \"$({VARIABLE}=bash smsotp 2>/dev/null)\"\n")
        }
        // In a directory of $fpath the file is the body of a function, whose first call is a completion already.
        Shell::Zsh => format!(
            "#compdef smsotp\n# smsotp itself completes its command lines.\neval \"$({VARIABLE}=zsh smsotp 2>/dev/null)\"\n\
             if [[ $funcstack[1] == _smsotp ]]; then _clap_dynamic_completer_smsotp \"$@\"; fi\n"
        ),
        Shell::Fish => {
            format!("# smsotp itself completes its command lines.\n{VARIABLE}=fish smsotp 2>/dev/null | source\n")
        }
        // PowerShell's way to ask would evaluate what is being typed.
        other => {
            let mut bytes = Vec::new();
            clap_complete::generate(other, &mut Cli::command().mut_subcommands(file_names), "smsotp", &mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        }
    }
}

/// Answers a shell that asks; `None` for every other call.
pub fn answer(args: &[OsString]) -> Option<Result<Class>> {
    let line: Arc<Line> = Arc::new(Line::of(args));
    let asked = CompleteEnv::with_factory(|| with_values(Cli::command(), &line)).var(VARIABLE);
    let asked = asked.shells(Shells(&[&Bash, &env::Zsh, &env::Fish]));
    match asked.try_complete(args.iter().cloned(), std::env::current_dir().ok().as_deref()) {
        Ok(false) => None,
        Ok(true) => Some(Ok(Class::Done)),
        // In the middle of a line an error would be noise.
        Err(_) if !line.words.is_empty() => Some(Ok(Class::Done)),
        Err(error) => Some(Err(Error::new(Code::USAGE, format!("{VARIABLE}: {error}"))
            .hint("`smsotp completions SHELL` prints what to load"))),
    }
}

/// bash, which cuts an option and its value at the `=`: here they are put together again.
struct Bash;

const BASH: &str = r#"_smsotp() {
    local IFS=$'\n' words=() last=-1 index=0 n word
    for n in "${!COMP_WORDS[@]}"; do
        word=${COMP_WORDS[n]}
        if [[ $last -ge 0 && ${words[last]} == --* && ( $word == = || ${words[last]} == *= ) ]]; then
            words[last]+=$word
        else
            words+=("$word")
            last=$((last + 1))
        fi
        if [[ $n -eq $COMP_CWORD ]]; then index=$last; fi
    done
    COMPREPLY=($(_CLAP_IFS=$'\n' _CLAP_COMPLETE_INDEX=$index VARIABLE=bash COMPLETER -- "${words[@]}" 2>/dev/null))
    if [[ ${words[index]} == --*=* ]]; then COMPREPLY=("${COMPREPLY[@]#--*=}"); fi
    if [[ ${COMPREPLY[0]} == *[=/] ]]; then compopt -o nospace 2>/dev/null; fi
}
complete -F _smsotp BIN
"#;

impl EnvCompleter for Bash {
    fn name(&self) -> &'static str {
        "bash"
    }
    fn is(&self, name: &str) -> bool {
        name == "bash"
    }
    fn write_registration(
        &self,
        var: &str,
        _: &str,
        bin: &str,
        completer: &str,
        buf: &mut dyn Write,
    ) -> io::Result<()> {
        let script = BASH.replace("VARIABLE", var).replace("COMPLETER", &given::quoted(completer)).replace("BIN", bin);
        buf.write_all(script.as_bytes())
    }
    fn write_complete(
        &self,
        command: &mut Command,
        args: Vec<OsString>,
        dir: Option<&Path>,
        buf: &mut dyn Write,
    ) -> io::Result<()> {
        env::Bash.write_complete(command, args, dir, buf)
    }
}

/// The line that is being typed, as far as values depend on it.
struct Line {
    words: Vec<String>,
}

impl Line {
    /// What follows `--` in a call for completions.
    fn of(args: &[OsString]) -> Line {
        let words = args.iter().skip_while(|arg| *arg != "--").skip(1);
        Line { words: words.map(|word| word.to_string_lossy().into_owned()).collect() }
    }

    /// The value of an option that came before.
    fn option(&self, name: &str) -> Option<String> {
        let after = |(n, word): (usize, &String)| match word.strip_prefix(name)? {
            "" => self.words.get(n + 1).cloned(),
            rest => rest.strip_prefix('=').map(str::to_owned),
        };
        self.words.iter().enumerate().find_map(after)
    }

    fn config(&self) -> Option<Config> {
        let path = |name| self.option(name).map(PathBuf::from);
        let flags = Flags {
            db: self.option("--db"),
            config: path("--config"),
            env_file: path("--env-file"),
            ..Flags::default()
        };
        crate::config::load(flags).ok()
    }

    fn app(&self) -> Option<App> {
        App::open(self.config()?, OpenMode::Reading, &|_| ()).ok()
    }

    fn purposes(&self) -> Vec<CompletionCandidate> {
        match self.config() {
            Some(config) => config.policy.purposes.keys().map(|purpose| candidate(purpose.as_str(), "")).collect(),
            None => purpose::BUILT_IN.iter().map(|name| candidate(name, "")).collect(),
        }
    }

    /// The live codes, newest first.
    fn live(&self) -> Vec<Otp> {
        let find = || {
            let app = self.app()?;
            let filter = Filter { states: vec![State::Active], limit: SHOWN_MAX, ..Filter::default() };
            Some(app.run(app.engine().list(&filter)).ok()?.rows.into_iter().map(|(otp, ..)| otp).collect())
        };
        find().unwrap_or_default()
    }

    fn ids(&self) -> Vec<CompletionCandidate> {
        let of = |otp: &Otp| candidate(otp.id.to_string(), format!("{}, {}", otp.phone.masked(), otp.purpose));
        self.live().iter().map(of).collect()
    }

    fn phones(&self) -> Vec<CompletionCandidate> {
        self.live().iter().map(|otp| candidate(otp.phone.masked(), otp.purpose.as_str())).collect()
    }

    fn tokens(&self) -> Vec<CompletionCandidate> {
        let find = || {
            let app = self.app()?;
            app.run(app.engine().tokens()).ok()
        };
        let tokens = find().unwrap_or_default();
        let live = tokens.iter().filter(|token| token.revoked_at.is_none());
        live.map(|token| candidate(token.id.to_string(), token.name.clone())).collect()
    }

    /// What may follow `help` and the words after it.
    fn topics(&self, current: &OsStr) -> Vec<CompletionCandidate> {
        let mut typed: Vec<&String> = self.words.iter().skip_while(|word| *word != "help").skip(1).collect();
        typed.pop_if(|word| OsStr::new(word) == current);
        let (mut command, depth) = (Cli::command(), typed.len());
        for word in typed {
            let Some(next) = command.find_subcommand(word) else { return Vec::new() };
            command = next.clone();
        }
        let topics = help::TOPICS.iter().filter(|_| depth == 0).map(|topic| candidate(topic, "a topic"));
        let about = |sub: &Command| sub.get_about().map(ToString::to_string).unwrap_or_default();
        let commands = command.get_subcommands().map(|sub| candidate(sub.get_name(), about(sub)));
        let begins =
            |value: &CompletionCandidate| value.get_value().as_encoded_bytes().starts_with(current.as_encoded_bytes());
        topics.chain(commands).filter(begins).collect()
    }
}

fn candidate(value: impl Into<OsString>, help: impl Into<String>) -> CompletionCandidate {
    let help = help.into();
    CompletionCandidate::new(value).help((!help.is_empty()).then(|| help.into()))
}

/// The argument tree with the values that the parser cannot know.
fn with_values(command: Command, line: &Arc<Line>) -> Command {
    let name = command.get_name().to_owned();
    command
        .mut_args(|arg| {
            let looked_up = |look: fn(&Line) -> Vec<CompletionCandidate>| LookedUp { line: Arc::clone(line), look };
            let values = match (name.as_str(), arg.get_id().as_str()) {
                (_, "purpose") => looked_up(Line::purposes),
                ("add" | "remove", "what") => looked_up(Line::phones),
                ("show" | "revoke", "what") => looked_up(Line::ids),
                ("send" | "verify" | "list" | "show" | "reset" | "forget", "phone") => looked_up(Line::phones),
                ("help", "topic") => {
                    let line = Arc::clone(line);
                    return arg.add(ArgValueCompleter::new(move |current: &OsStr| line.topics(current)));
                }
                (_, "overrides") => looked_up(|_| {
                    let limits = Limit::ALL.iter().filter(|limit| limit.can_be_overridden());
                    limits.map(|limit| candidate(limit.as_str(), "")).collect()
                }),
                ("revoke", "id") => looked_up(Line::tokens),
                ("explain", "code") => looked_up(|_| {
                    catalogue::all().iter().map(|entry| candidate(entry.code.to_string(), entry.title)).collect()
                }),
                _ => return file_name(arg),
            };
            arg.add(ArgValueCandidates::new(values))
        })
        .mut_subcommands(|sub| with_values(sub, line))
}

/// Values that are looked up in the moment when they are asked for, and not for long.
struct LookedUp {
    line: Arc<Line>,
    look: fn(&Line) -> Vec<CompletionCandidate>,
}

impl ValueCandidates for LookedUp {
    fn candidates(&self) -> Vec<CompletionCandidate> {
        let (found, values) = mpsc::channel();
        let (line, look) = (Arc::clone(&self.line), self.look);
        // Whoever is late finds nobody: the process has ended.
        let started = std::thread::Builder::new().spawn(move || found.send(look(&line)));
        started.ok().and_then(|_| values.recv_timeout(LOOK).ok()).unwrap_or_default()
    }
}

/// The argument tree in which file names are suggested where files are meant, and nowhere else.
fn file_names(command: Command) -> Command {
    command.mut_args(file_name).mut_subcommands(file_names)
}

fn file_name(arg: Arg) -> Arg {
    if !arg.get_action().takes_values() {
        return arg;
    }
    let is_file = arg.get_value_names().is_some_and(|names| names.iter().any(|name| name.as_str() == "FILE"));
    arg.value_hint(if is_file { ValueHint::FilePath } else { ValueHint::Other })
}
