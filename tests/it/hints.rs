//! Whatever a hint, an error or a help text tells people to type exists: the command, and each of its flags.

use std::fs;
use std::path::Path;

use smsotp::cli;

/// Every string of the program's sources with its place, tests left out. Lines that are continued are one.
fn strings() -> Vec<(String, String)> {
    let mut strings = Vec::new();
    let mut dirs = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
                let text = fs::read_to_string(&path).unwrap();
                let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
                strings.extend(literals(text).into_iter().map(|literal| (path.display().to_string(), literal)));
            }
        }
    }
    strings
}

/// The string literals of a source.
fn literals(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut chars = text.chars().peekable();
    let mut before = ' ';
    while let Some(c) = chars.next() {
        match c {
            '/' if chars.peek() == Some(&'/') => {
                // Help texts are comments: they are strings of the program too.
                let line: String = chars.by_ref().take_while(|c| *c != '\n').collect();
                found.extend(line.strip_prefix("// ").or_else(|| line.strip_prefix("/ ")).map(str::to_owned));
            }
            '\'' if before != '_' && !before.is_ascii_alphanumeric() => {
                // A character, or a lifetime.
                let rest: String = chars.clone().take(3).collect();
                if rest.starts_with('\\') {
                    chars.by_ref().take_while(|c| *c != '\'').for_each(drop);
                } else if rest.chars().nth(1) == Some('\'') {
                    chars.nth(1);
                }
            }
            '"' => {
                let mut literal = String::new();
                while let Some(c) = chars.next() {
                    match c {
                        '"' => break,
                        '\\' => match chars.next() {
                            Some('\n') => while chars.next_if(|c| c.is_whitespace()).is_some() {},
                            Some('n') => literal.push('\n'),
                            Some(other) => literal.push(other),
                            None => {}
                        },
                        other => literal.push(other),
                    }
                }
                found.push(literal);
            }
            _ => {}
        }
        before = c;
    }
    found
}

/// The command lines that a text tells people to type: in backticks, after a prompt, or after a colon.
fn lines_to_type(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("smsotp ") {
        let before = &text[..at];
        let rest = &text[at + "smsotp ".len()..];
        let line = if before.ends_with('`') {
            rest.split('`').next()
        } else if before.ends_with("$ ") || before.ends_with(": ") {
            rest.split(['\n', '`', ';', '|']).next()
        } else {
            continue;
        };
        found.extend(line);
    }
    found
}

/// What is wrong with a line that people are told to type.
fn fault(root: &clap::Command, line: &str) -> Option<String> {
    let mut command = root;
    let mut words = line.split_whitespace().map(|word| word.trim_end_matches(['.', ',', ')', '?'])).peekable();
    let is_name =
        |word: &str| word.starts_with(|c: char| c.is_ascii_lowercase()) && !word.contains(['=', '/', '{', '|']);
    while let Some(word) = words.next_if(|word| is_name(word) && command.has_subcommands()) {
        match command.find_subcommand(word) {
            Some(sub) => command = sub,
            None if command.get_name() == "smsotp" => return Some(format!("there is no command {word}")),
            None => break,
        }
    }
    let flags =
        words.filter_map(|word| word.strip_prefix("--")).map(|flag| flag.split(['=', '[']).next().unwrap_or_default());
    let knows = |name: &str| {
        let own = command.get_arguments().chain(root.get_arguments());
        own.filter_map(clap::Arg::get_long).chain(["help", "version"]).any(|long| long == name)
    };
    flags
        .filter(|flag| !flag.is_empty())
        .find(|flag| !knows(flag))
        .map(|flag| format!("{} has no --{flag}", command.get_name()))
}

/// Whether any command has this flag.
fn is_flag_of_any(command: &clap::Command, flag: &str) -> bool {
    command.get_arguments().any(|arg| arg.get_long() == Some(flag))
        || command.get_subcommands().any(|sub| is_flag_of_any(sub, flag))
}

#[test]
fn every_command_and_flag_that_the_program_names_exists() {
    let mut root = cli::command();
    root.build();
    let (mut faults, mut seen) = (Vec::new(), 0);
    for (file, text) in strings() {
        for line in lines_to_type(&text) {
            seen += 1;
            faults.extend(fault(&root, line).map(|fault| format!("{file}: {fault}, in: smsotp {line}")));
        }
        for word in text.split([' ', '`', '\n', '(']).filter_map(|word| word.strip_prefix("--")) {
            let flag: String = word.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
            let known = ["help", "version"].contains(&flag.as_str()) || is_flag_of_any(&root, &flag);
            if !flag.is_empty() && !known && !FOREIGN.contains(&flag.as_str()) {
                faults.push(format!("{file}: no command has --{flag}, in: {text:.100}"));
            }
        }
    }

    assert!(seen > 150, "only {seen} lines to type were found");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Flags of other programs that our texts name.
const FOREIGN: [&str; 3] = ["encoding", "require", "template"];

#[test]
fn a_hint_that_leads_nowhere_is_found() {
    let mut root = cli::command();
    root.build();
    let source = "// `smsotp lost`\nlet a = \"Run `smsotp limits \\\n    reset PHONE --why TEXT`\"; let b = '\"'; let c: &'a str = \"Next: smsotp list --stat x\";";
    let faults: Vec<String> =
        literals(source).iter().flat_map(|text| lines_to_type(text)).filter_map(|line| fault(&root, line)).collect();

    assert_eq!(faults, ["there is no command lost", "reset has no --why", "list has no --stat"]);
    assert_eq!(fault(&root, "limits reset PHONE --reason TEXT"), None);
    assert_eq!(fault(&root, "help exit-codes|environment|json"), None);
}
