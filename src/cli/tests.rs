use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::*;

/// A writer whose content can be looked at.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Class, stdout and stderr of one call in a pipe.
fn call(args: &[&str]) -> (Class, String, String) {
    let (out, err) = (Paper::default(), Paper::default());
    let streams = Streams { out: Box::new(out.clone()), err: Box::new(err.clone()) };
    let args = std::iter::once("smsotp").chain(args.iter().copied()).map(OsString::from);
    let class = run(args, Terminal::default(), streams, None);
    (class, out.text(), err.text())
}

/// Every command with its words, the root included.
fn each_command(visit: &mut impl FnMut(&[String], &clap::Command)) {
    fn walk(words: &mut Vec<String>, command: &clap::Command, visit: &mut impl FnMut(&[String], &clap::Command)) {
        visit(words, command);
        for sub in command.get_subcommands() {
            words.push(sub.get_name().to_owned());
            walk(words, sub, visit);
            words.pop();
        }
    }
    let mut root = command();
    root.build();
    walk(&mut Vec::new(), &root, visit);
}

/// The example command lines in a command's long help.
fn examples(command: &clap::Command) -> Vec<String> {
    let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    help.lines().filter_map(|line| line.trim().strip_prefix("$ ").map(str::to_owned)).collect()
}

/// The words of a shell line from `smsotp` on, up to a redirection.
fn words(line: &str) -> Vec<String> {
    let line = &line[line.find("smsotp").unwrap()..];
    let line = line.split_once(" > ").map_or(line, |(line, _)| line);
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words
}

#[test]
fn the_tree_is_consistent() {
    command().debug_assert();
}

#[test]
fn every_command_has_examples_that_parse_and_are_about_it() {
    each_command(&mut |path, command| {
        let examples = examples(command);
        assert!((1..=3).contains(&examples.len()), "{path:?} has {} examples", examples.len());
        for line in &examples {
            let words: Vec<OsString> = words(line).into_iter().map(OsString::from).collect();
            Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{path:?}: {line}\n{error}"));
        }
        let own = |line: &String| words(line).iter().skip(1).zip(path).filter(|(a, b)| a == b).count() == path.len();
        assert!(examples.iter().any(own), "{path:?} has no example of its own");
    });
}

#[test]
fn every_command_and_argument_is_explained_in_one_imperative_line() {
    each_command(&mut |path, command| {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        assert!(!about.is_empty() && !about.ends_with('.') && about.lines().count() == 1, "{path:?}: {about:?}");
        for arg in command.get_arguments() {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(!help.is_empty() && !help.ends_with('.'), "{path:?} {}: {help:?}", arg.get_id());
        }
    });
}

#[test]
fn no_flag_takes_a_secret() {
    each_command(&mut |path, command| {
        // An id is none: it only says which token is meant.
        let flags = command.get_arguments().filter_map(|arg| arg.get_long()).filter(|arg| !arg.ends_with("-id"));
        for arg in flags {
            let secret = ["token", "secret", "password", "auth", "api-key"].iter().any(|word| arg.contains(word));
            assert!(!secret, "{path:?} --{arg}");
        }
    });
}

#[test]
fn version_and_help_are_results_and_nothing_to_do_is_wrong_usage() {
    let (class, out, err) = call(&["--version"]);
    assert_eq!(
        (class, out.as_str(), err.as_str()),
        (Class::Done, concat!("smsotp ", env!("CARGO_PKG_VERSION"), "\n"), "")
    );

    let (class, out, err) = call(&["--help"]);
    assert_eq!((class, err.as_str()), (Class::Done, ""));
    assert!(out.starts_with("Send and verify one-time passwords by SMS\n") && !out.contains('\u{1b}'));

    let (class, out, err) = call(&[]);
    assert_eq!((class, out.as_str()), (Class::Usage, ""));
    assert!(err.contains("Usage: smsotp") && !err.contains('\u{1b}'));
}

#[test]
fn wrong_usage_suggests_and_becomes_json_where_json_is_wanted() {
    let (class, _, err) = call(&["purge-expird"]);
    assert_eq!(class, Class::Usage);
    assert!(err.starts_with("error: unrecognized subcommand 'purge-expird'"), "{err}");
    assert!(err.contains("tip: a similar subcommand exists: 'purge-expired'"), "{err}");

    for args in
        [["list", "--statee", "x", "--json"], ["-o", "json", "list", "--statee"], ["-ojsonl", "list", "--statee", "x"]]
    {
        let (class, out, err) = call(&args);
        let error: Value = serde_json::from_str(&err).unwrap_or_else(|_| panic!("{args:?}: {err}"));
        assert_eq!((class, out.as_str()), (Class::Usage, ""));
        assert_eq!(error["error"]["code"], "usage");
        assert_eq!(error["error"]["exit_code"], 2);
        assert_eq!(error["error"]["message"], "unexpected argument '--statee' found");
        assert_eq!(error["error"]["hint"], "Did you mean `--state`?");
    }

    // Behind `--` it is an argument and no option.
    let (_, _, err) = call(&["list", "--", "--json"]);
    assert!(err.starts_with("error: "), "{err}");
}

#[test]
fn what_was_typed_never_commands_the_terminal() {
    let long = "x".repeat(200_000);
    let nasty = ["\u{1b}[2J\u{7}", "\u{9b}31m", "\u{202e}abc", "a\nb", long.as_str(), ""];
    for word in nasty {
        for args in
            [vec![word], vec!["list", word], vec!["list", "--state", word], vec!["explain", word], vec!["help", word]]
        {
            let (class, out, err) = call(&args);
            assert!(matches!(class, Class::Usage | Class::Data), "{args:.80?}: {class:?}");
            assert_eq!(out, "");
            assert!(err.len() < 20_000, "{} bytes", err.len());
            assert!(!err.contains(['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}']), "{err:?}");
        }
    }
}

#[cfg(unix)]
#[test]
fn arguments_that_are_no_text_are_wrong_usage() {
    use std::os::unix::ffi::OsStringExt;
    let junk = OsString::from_vec(vec![0xff, 0x1b, b'[']);
    for args in [vec!["smsotp".into(), "send".into(), junk.clone()], vec!["smsotp".into(), junk.clone()]] {
        let err = Paper::default();
        let streams = Streams { out: Box::new(Paper::default()), err: Box::new(err.clone()) };

        assert_eq!(run(args, Terminal::default(), streams, None), Class::Usage);
        assert!(err.text().contains("error: ") && !err.text().contains('\u{1b}'), "{}", err.text());
    }
}

#[test]
fn explain_answers_offline_in_every_form() {
    let (class, out, _) = call(&["explain", "21610"]);
    assert_eq!(class, Class::Done);
    assert_eq!(out.lines().count(), 1);
    assert_eq!(out.split('\t').count(), 7);

    let (_, out, _) = call(&["explain", "21610", "--json"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&json["kind"], &json["code"], &json["known"]), (&"explanation".into(), &21610.into(), &true.into()));

    for bad in ["0", "-1", "+21610", "1000000", "99999999999", "٢١٦١٠", "21610x"] {
        let (class, _, err) = call(&["explain", "--", bad]);
        assert_eq!(class, Class::Data, "{bad}: {err}");
    }
}

#[test]
fn help_knows_every_command_and_every_topic() {
    each_command(&mut |path, _| {
        let words: Vec<&str> = std::iter::once("help").chain(path.iter().map(String::as_str)).collect();
        let (class, out, err) = call(&words);
        assert_eq!((class, err.as_str()), (Class::Done, ""), "{words:?}");
        assert!(out.contains("Examples:"), "{words:?}");
    });

    let (_, codes, _) = call(&["help", "exit-codes"]);
    for row in crate::error::CLASSES {
        assert!(codes.contains(row.meaning));
    }
    for code in crate::error::CODES {
        assert!(codes.contains(code.name));
    }
    for topic in help::TOPICS {
        assert!(call(&["help", topic]).1.lines().count() > 8, "{topic}");
    }
    assert_eq!(call(&["help", "nothing"]).0, Class::Usage);
}

#[test]
fn completions_exist_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let (class, out, _) = call(&["completions", shell]);
        assert_eq!(class, Class::Done);
        assert!(out.contains("_SMSOTP_COMPLETE=") || out.contains("purge-expired"), "{shell}");
    }
}

#[test]
fn arguments_that_need_or_exclude_each_other_are_held_together() {
    for wrong in [
        &["limits", "reset", "--reason", "r", "--purpose", "login"][..],
        &["limits", "reset", "+14155552671"],
        &["limits", "show", "--risk", "+14155552671"],
        &["send", "+14155552671", "--override", "phone"],
        &["send", "+14155552671", "--allow-segments", "0"],
        &["verify", "+14155552671", "123456", "--code-file", "f"],
        &["verify", "+14155552671", "--known"],
        &["test-number", "add", "+15005550006", "123456", "--until", "2026-12-31"],
        &["list", "--limit", "0"],
        &["purge-expired", "--exclusive", "--batch", "5"],
        &["list", "--json", "-o", "tsv"],
        &["list", "-q", "-v"],
    ] {
        assert_eq!(call(wrong).0, Class::Usage, "{wrong:?}");
    }
    for right in [
        &["limits", "reset", "--ip", "203.0.113.7", "--reason", "r"][..],
        &["send", "--wait", "+14155552671"],
        &["send", "+14155552671", "--wait=2m", "--override", "phone", "--override", "user", "--reason", "r"],
        &["verify", "+14155552671", "-"],
        &["list", "--state", "failed,locked", "-vv", "--color=never"],
    ] {
        let words: Vec<OsString> = std::iter::once(&"smsotp").chain(right).map(OsString::from).collect();
        Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{right:?}\n{error}"));
    }
}
