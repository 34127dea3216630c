//! Hostile input at every argument, variable and key: a documented exit code, nothing that acts on a terminal, no secret shown.
//!
//! What is attacked is read from the argument tree and the table of settings, so that a new option is attacked from its first day.
#![cfg(unix)]

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::Mutex;

use smsotp::config::{COUNTRY_KEYS, PURPOSE_KEYS, SETTINGS};
use smsotp::error::{CLASSES, Class};

use super::desk::{BINARY, Desk, Ran, finish};

/// What stands for a secret: it may come out nowhere.
const CANARY: &str = "c4n4ryS3cret";

/// What people, programs and attackers put where something else is expected.
fn hostile() -> Vec<OsString> {
    let texts = [
        "",
        " ",
        "\r\n\t",
        "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}cod.exe\u{2066}\u{200b}\u{feff}",
        "'; DROP TABLE otps; --",
        "%s%n{}{0}${HOME}$(id)`id`",
        "-1",
        "18446744073709551616",
        "💥 ٣ n̸̡̢̧̛̛e̴",
        "../../../../../../etc/shadow",
        "[=\"'#;]\\",
    ];
    let mut values: Vec<OsString> = texts.map(OsString::from).into();
    values.push("A".repeat(100_000).into());
    values.push("é".repeat(3_000).into());
    values.push(OsString::from_vec(b"a\xff\xfe\x80\xc0\xaf".to_vec()));
    values
}

#[test]
fn every_argument_of_every_verb_takes_hostile_input() {
    let mut root = smsotp::cli::command();
    root.build();
    let mut lines = Vec::new();
    attack(&root, &mut Vec::new(), &mut lines);
    assert!(lines.len() > 500, "{} lines", lines.len());

    on_many_desks(lines, |desk, line| {
        // What serves until it is told to stop is told to.
        let serves = ["sandbox", "serve"].iter().any(|verb| line.first().is_some_and(|first| first == verb));
        let mut command = if serves { desk.program("timeout") } else { desk.command(&[] as &[&str]) };
        if serves {
            command.args(["-s", "TERM", "2", BINARY]);
        }
        let input = desk.cwd().join("input");
        std::fs::write(&input, "123456\n").unwrap();
        command.args(line).stdin(std::fs::File::open(input).unwrap());
        let ran = finish(&mut command);
        if !(serves && ran.code() == 124) {
            harmless(&ran, &format!("{line:?}"));
        }
    });
}

/// Every option and positional of a command and of those below it, each with each hostile value.
fn attack(command: &clap::Command, path: &mut Vec<String>, lines: &mut Vec<Vec<OsString>>) {
    for sub in command.get_subcommands() {
        path.push(sub.get_name().to_owned());
        attack(sub, path, lines);
        path.pop();
    }
    let arguments: Vec<&clap::Arg> = command.get_arguments().collect();
    for argument in &arguments {
        // The flags of every verb are attacked at one of them.
        let elsewhere = argument.is_global_set() && path.first().is_none_or(|verb| verb != "list");
        if elsewhere || path.is_empty() || !argument.get_action().takes_values() {
            continue;
        }
        for value in hostile() {
            let mut line: Vec<OsString> = path.iter().map(OsString::from).collect();
            let mut positionals = Vec::new();
            for other in &arguments {
                let filled = match other.get_id() == argument.get_id() {
                    true => value.clone(),
                    false if other.is_required_set() => sample(other).into(),
                    false if other.is_positional() && argument.get_index() > other.get_index() => sample(other).into(),
                    false => continue,
                };
                if let Some(long) = other.get_long() {
                    let mut option = OsString::from(format!("--{long}="));
                    option.push(filled);
                    line.push(option);
                } else {
                    positionals.push(filled);
                }
            }
            line.push("--".into());
            line.extend(positionals);
            lines.push(line);
        }
    }
}

/// A value that lets a command get as far as the argument under attack.
fn sample(argument: &clap::Arg) -> &'static str {
    match argument.get_id().as_str() {
        "phone" | "what" => "+14155552671",
        "code" => "123456",
        "until" => "30d",
        "file" => "copy.db",
        _ => "x",
    }
}

#[test]
fn every_variable_and_every_key_takes_hostile_input_and_shows_no_secret() {
    let mut files: Vec<(&str, Vec<u8>)> = Vec::new();
    let mut variables = Vec::new();
    for value in hostile() {
        for info in SETTINGS {
            let mut text = if info.secret { CANARY.as_bytes().to_vec() } else { Vec::new() };
            text.extend_from_slice(value.as_bytes());
            if !info.variable.is_empty() {
                files.push((".env", [info.variable.as_bytes(), b"=", &text].concat()));
                files.push((".env", [info.variable.as_bytes(), b"='", &text, b"'\n"].concat()));
                variables.push((info.variable, OsString::from_vec(text.clone())));
            }
            if let Some(text) = value.to_str().filter(|_| !info.key.is_empty()) {
                let quoted = toml::Value::from(text).to_string();
                files.push(("smsotp.toml", format!("{} = {quoted}\n", info.key).into()));
                files.push(("smsotp.toml", format!("{} = {text}\n", info.key).into()));
            }
        }
        for (key, ..) in PURPOSE_KEYS {
            let quoted = toml::Value::from(value.to_string_lossy().into_owned()).to_string();
            files.push(("smsotp.toml", format!("[purposes.login]\n{key} = {quoted}\n").into()));
        }
        for (key, ..) in COUNTRY_KEYS {
            let quoted = toml::Value::from(value.to_string_lossy().into_owned()).to_string();
            files.push(("smsotp.toml", format!("[countries.US]\n{key} = {quoted}\n").into()));
        }
        // A name of ours that is none, and a file that is nothing else.
        files.push((".env", [b"SMSOTP_X", value.as_bytes(), b"=1\n"].concat()));
        files.push((".env", value.as_bytes().to_vec()));
        files.push(("smsotp.toml", value.as_bytes().to_vec()));
    }
    let mut seen = std::collections::HashSet::new();
    files.retain(|file| seen.insert(file.clone()));

    on_many_desks(files, |desk, (name, text)| {
        desk.write(".env", "");
        desk.write("smsotp.toml", "");
        desk.write(name, text);
        let ran = desk.run("config show --config smsotp.toml");
        harmless(&ran, &format!("{name}: {:?}", OsStr::from_bytes(text)));
    });
    on_many_desks(variables, |desk, (name, value)| {
        let ran = finish(desk.command(["config", "show"]).env(name, value));
        harmless(&ran, &format!("{name}={value:?}"));
    });
}

#[test]
fn the_logs_and_the_help_of_hostile_words_are_harmless_too() {
    let desk = Desk::new();

    for value in hostile() {
        for line in [&["help"][..], &[], &["list", "-vv", "--user"], &["send", "-vv"], &["completions"]] {
            let mut args: Vec<OsString> = line.iter().map(OsString::from).collect();
            args.push(value.clone());
            let mut command = desk.command(&args);
            command.env("RUST_LOG", &value).env("TERM", &value).env("NO_COLOR", &value).env("LANG", &value);
            harmless(&finish(&mut command), &format!("{args:?}"));
        }
    }
}

/// Works through many cases on a few desks at once, each with one living code, and looks whether the database is sound after it.
fn on_many_desks<T: Sync>(cases: Vec<T>, attack: impl Fn(&Desk, &T) + Sync) {
    let next = Mutex::new(cases.iter());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let desk = Desk::new();
                desk.send("+14155552671 --user ada");
                loop {
                    let case = next.lock().unwrap().next();
                    let Some(case) = case else { break };
                    attack(&desk, case);
                }
                desk.write(".env", "");
                assert!(desk.run("list").expect(0).out.contains("ada"));
                desk.run("db check").expect(0);
            });
        }
    });
}

/// A documented exit code that is no bug, and streams that are text and nothing more.
#[track_caller]
fn harmless(ran: &Ran, what: &str) {
    let what: String = what.chars().take(400).collect();
    let documented = CLASSES.iter().any(|row| i32::from(row.exit) == ran.code() && row.class != Class::Bug);
    assert!(documented, "{what}: exit {:?}\n{}", ran.status, ran.err);
    let text = std::str::from_utf8(&ran.bytes).unwrap_or_else(|_| panic!("{what}: not UTF-8"));
    let acting = text.chars().find(|c| !matches!(c, '\n' | '\t') && acts(*c));
    assert_eq!(acting, None, "{what}: {text:?}");
    assert!(!text.contains(CANARY), "{what}: {text}");
    assert!(text.len() < 40_000, "{what}: {} bytes", text.len());
    assert!(ran.code() == 0 || !ran.err.trim().is_empty() || !ran.out.is_empty(), "{what}: silent {}", ran.code());
}

/// Characters that move the cursor, turn the direction of writing, or cannot be seen.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
