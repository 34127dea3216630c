//! As much of the argument tree as one call needs: the whole of it, with the global flags copied to every verb, takes longer
//! to build than most verbs take to run.

use std::ffi::OsString;

use clap::builder::StyledStr;
use clap::{Args as _, Command, CommandFactory as _, FromArgMatches as _, Subcommand as _};

use super::{Cli, Globals, Top, Verb};
use super::{
    audit, completions, config, db, demo, dispatch, explain, help, keys, limits, list, purge_expired, revoke, sandbox,
    send, serve, show, test_number, test_twilio, token, verify,
};

/// The whole tree, as the man pages, the completions and every error message see it.
pub fn whole() -> Command {
    let top = Top::command();
    let about = |text: Option<&StyledStr>| text.cloned().unwrap_or_default();
    let (short, long) = (about(top.get_about()), about(top.get_long_about()));
    // The comment of the verbs is meant for readers of the code, not for the head of the help.
    Verb::augment_subcommands(top).about(short).long_about(long)
}

/// Parses a command line, program name first. Answers are those of the whole tree.
pub fn parse(args: &[OsString]) -> Result<Cli, clap::Error> {
    let matches = match quick(args) {
        // Anything but success may depend on the verbs that were left out: suggestions, usage.
        Some(Ok(matches)) => matches,
        Some(Err(error)) if error.exit_code() == 0 && args.len() == 2 => return Err(error),
        _ => whole().try_get_matches_from(args)?,
    };
    Ok(Cli { globals: Globals::from_arg_matches(&matches)?, verb: Verb::from_arg_matches(&matches)? })
}

/// Parses with the part of the tree that the words seem to ask for; `None` where they do not tell.
fn quick(args: &[OsString]) -> Option<Result<clap::ArgMatches, clap::Error>> {
    let words = || args.iter().skip(1).filter_map(|arg| arg.to_str());
    // Nobody below needs the global flags where nobody below is called.
    let tree = match args.get(1)?.to_str()? {
        "-V" | "--version" if args.len() == 2 => Top::command().mut_args(|arg| arg.global(false)),
        "-h" | "--help" if args.len() == 2 => Top::command().subcommands(heads()).mut_args(|arg| arg.global(false)),
        _ => words().find_map(verb).map(|verb| Top::command().subcommand(verb))?,
    };
    Some(tree.try_get_matches_from(args))
}

/// A verb: its name, the line that the help of the program says of it, and what adds its arguments.
type Entry = (&'static str, &'static str, fn(Command) -> Command);

/// The verbs in the order of the help. The lines are those of their own help (tested), so that the head of the help can be
/// written without all that is below.
#[rustfmt::skip]
const VERBS: &[Entry] = &[
    ("send", "Send a code to a phone", send::Args::augment_args),
    ("verify", "Check a code that someone gives", verify::Args::augment_args),
    ("list", "List codes: who, what for, in which state", list::Args::augment_args),
    ("show", "Tell everything that happened to one code", show::Args::augment_args),
    ("revoke", "Take codes back", revoke::Args::augment_args),
    ("purge-expired", "Delete what is finished and old", purge_expired::Args::augment_args),
    ("test-twilio", "Prove that the Twilio account, number and network work", test_twilio::Args::augment_args),
    ("dispatch", "Send what is due and find out what became of the rest", dispatch::Args::augment_args),
    ("explain", "Explain an error code of Twilio's, offline", explain::Args::augment_args),
    ("limits", "Show and reset the limits", limits::Args::augment_args),
    ("test-number", "Keep numbers that get a fixed code and no message", test_number::Args::augment_args),
    ("keys", "List, rotate and prune the secret keys", keys::Args::augment_args),
    ("config", "Show and check the configuration", config::Args::augment_args),
    ("db", "Look after the database", db::Args::augment_args),
    ("audit", "Read and verify the audit log", audit::Args::augment_args),
    ("token", "Give out access to the REST API of `serve`", token::Args::augment_args),
    ("serve", "Serve the REST API beside an application", serve::Args::augment_args),
    ("sandbox", "Stand in for Twilio on this machine", sandbox::Args::augment_args),
    ("completions", "Print the completion script of a shell", completions::Args::augment_args),
    ("demo", "Show the whole story: send, read, verify, list, purge", demo::Args::augment_args),
    ("help", "Explain a command or a topic", help::Args::augment_args),
];

/// One verb, whole.
fn verb(name: &str) -> Option<Command> {
    VERBS.iter().find(|(verb, ..)| *verb == name).map(|(verb, _, augment)| augment(Command::new(*verb)))
}

/// The verbs as the head of the help names them.
fn heads() -> impl Iterator<Item = Command> {
    VERBS.iter().map(|(verb, about, _)| Command::new(*verb).about(*about))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        std::iter::once("smsotp").chain(line.split(' ')).map(OsString::from).collect()
    }

    /// What the whole tree makes of a command line.
    fn slow(line: &str) -> Result<String, String> {
        match whole().try_get_matches_from(words(line)) {
            Ok(matches) => Ok(format!("{:?}", Verb::from_arg_matches(&matches).unwrap())),
            Err(error) => Err(error.render().ansi().to_string()),
        }
    }

    fn fast(line: &str) -> Result<String, String> {
        parse(&words(line)).map(|cli| format!("{:?}", cli.verb)).map_err(|error| error.render().ansi().to_string())
    }

    #[test]
    fn every_verb_is_the_one_of_the_whole_tree() {
        for part in whole().get_subcommands() {
            let name = part.get_name();
            assert!(heads().any(|head| head.get_name() == name && head.get_about() == part.get_about()), "{name}");
            let mut alone = verb(name).unwrap_or_else(|| panic!("{name} is missing"));
            assert_eq!(alone.render_long_help().to_string(), part.clone().render_long_help().to_string());
        }
    }

    #[test]
    fn a_part_of_the_tree_answers_as_the_whole() {
        for line in [
            "--version",
            "-V",
            "--help",
            "-h",
            "send --help",
            "--help send",
            "list -h",
            "list --limit 3",
            "--db list send +14155552671 --purpose login",
            "--db send list",
            "-v list --json",
            "list --jsno",
            "lst",
            "--quiet --verbose list",
            "limits show +14155552671",
            "limits",
            "send",
            "send --dry-run",
            "--jsno",
            "list send",
        ] {
            assert_eq!(fast(line), slow(line), "{line}");
        }
    }
}
