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
        "-h" | "--help" if args.len() == 2 => whole().mut_args(|arg| arg.global(false)),
        _ => words().find_map(verb).map(|verb| Top::command().subcommand(verb))?,
    };
    Some(tree.try_get_matches_from(args))
}

/// One verb.
fn verb(name: &str) -> Option<Command> {
    let (name, augment): (&'static str, fn(Command) -> Command) = match name {
        "send" => ("send", send::Args::augment_args),
        "verify" => ("verify", verify::Args::augment_args),
        "list" => ("list", list::Args::augment_args),
        "show" => ("show", show::Args::augment_args),
        "revoke" => ("revoke", revoke::Args::augment_args),
        "purge-expired" => ("purge-expired", purge_expired::Args::augment_args),
        "test-twilio" => ("test-twilio", test_twilio::Args::augment_args),
        "dispatch" => ("dispatch", dispatch::Args::augment_args),
        "explain" => ("explain", explain::Args::augment_args),
        "limits" => ("limits", limits::Args::augment_args),
        "test-number" => ("test-number", test_number::Args::augment_args),
        "keys" => ("keys", keys::Args::augment_args),
        "config" => ("config", config::Args::augment_args),
        "db" => ("db", db::Args::augment_args),
        "audit" => ("audit", audit::Args::augment_args),
        "sandbox" => ("sandbox", sandbox::Args::augment_args),
        "token" => ("token", token::Args::augment_args),
        "serve" => ("serve", serve::Args::augment_args),
        "completions" => ("completions", completions::Args::augment_args),
        "demo" => ("demo", demo::Args::augment_args),
        "help" => ("help", help::Args::augment_args),
        _ => return None,
    };
    Some(augment(Command::new(name)))
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
