//! Runs the ```` ```console ```` blocks of a page on a terminal, as a reader would type them, and compares what comes back.
//!
//! A block is played by one `sh` in a home of its own, with the real binary on the path. A line that starts with `$ ` is typed
//! (lines that start with `> ` continue it); what follows is what must come back. `[..]` stands for any text in a line, a line
//! `...` for any lines. Moments, codes, SIDs and ports differ from run to run and are compared by their shape; so is the
//! width of gaps. Jobs that a block leaves behind end with it.
#![cfg(unix)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use expectrl::{Eof, Expect, Session};

/// One typed command and what is said to come back.
#[derive(Debug, PartialEq)]
struct Exchange {
    /// As typed, prompt included.
    typed: Vec<String>,
    expected: Vec<String>,
}

/// A block: where it starts in the page (the line after the fence) and where it ends (the closing fence).
struct Block {
    from: usize,
    to: usize,
    exchanges: Vec<Exchange>,
}

/// Before each answer, so that they can be told apart. No command prints it.
const MARK: char = '\u{1e}';

/// Plays every block of a page. With `update`, what differs is rewritten.
#[track_caller]
pub(crate) fn play(page: &Path, update: bool) {
    let text = fs::read_to_string(page).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let blocks = blocks(&lines);
    assert!(!blocks.is_empty(), "{} has no console block", page.display());
    let mut rewritten: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    let mut faults = String::new();
    for block in blocks.iter().rev() {
        let answers = run(block);
        if let Some(fault) = difference(block, &answers) {
            write!(faults, "{}:{}: {fault}", page.display(), block.from + 1).unwrap();
            rewritten.splice(block.from..block.to, as_played(block, &answers));
        }
    }
    if update {
        fs::write(page, rewritten.join("\n") + "\n").unwrap();
        return;
    }
    assert!(faults.is_empty(), "{faults}\n`UPDATE=1 cargo test --test it` rewrites the page");
}

fn blocks(lines: &[&str]) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        if lines[at] == "```console" {
            let from = at + 1;
            let to =
                from + lines[from..].iter().position(|line| *line == "```").expect("a fence that closes the block");
            blocks.push(Block { from, to, exchanges: exchanges(&lines[from..to]) });
            at = to;
        }
        at += 1;
    }
    blocks
}

fn exchanges(lines: &[&str]) -> Vec<Exchange> {
    let mut exchanges: Vec<Exchange> = Vec::new();
    for line in lines {
        if line.starts_with("$ ") {
            exchanges.push(Exchange { typed: vec![(*line).to_owned()], expected: Vec::new() });
            continue;
        }
        let last = exchanges.last_mut().expect("a block that starts with a prompt");
        if line.starts_with("> ") && last.expected.is_empty() {
            last.typed.push((*line).to_owned());
        } else {
            last.expected.push((*line).to_owned());
        }
    }
    exchanges
}

/// What came back after each command.
fn run(block: &Block) -> Vec<Vec<String>> {
    let home = tempfile::tempdir().unwrap();
    let bin = Path::new(env!("CARGO_BIN_EXE_smsotp")).parent().unwrap();
    let script = home.path().join(".story");
    fs::write(&script, script_of(block)).unwrap();
    let mut command = Command::new("sh");
    command
        .arg(&script)
        .env_clear()
        .current_dir(home.path())
        .env("HOME", home.path())
        .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display()))
        .env("TERM", "xterm")
        .env("LANG", "C.UTF-8")
        .env("NO_COLOR", "1");
    let mut terminal = Session::spawn(command).unwrap();
    terminal.set_expect_timeout(Some(Duration::from_secs(120)));
    // A new terminal gets a size of its own when it is ready: only then may the story begin, on one that is wide enough.
    terminal.get_process_mut().set_window_size(110, 50).unwrap();
    terminal.send_line("go").unwrap();
    let seen = terminal.expect(Eof).expect("the story comes to its end");
    let seen = String::from_utf8_lossy(seen.as_bytes()).replace('\r', "");
    let seen = seen.replace(&*home.path().to_string_lossy(), "~");
    let answers = seen.split(MARK).skip(1);
    answers.map(|answer| answer.trim_end().lines().map(|line| line.trim_end().to_owned()).collect()).collect()
}

fn script_of(block: &Block) -> String {
    // A shell that is not interactive leaves its jobs running.
    let mut script = String::from("read -r go\ntrap 'kill $jobs 2>/dev/null' EXIT\n");
    for exchange in &block.exchanges {
        let typed: Vec<&str> = exchange.typed.iter().map(|line| &line[2..]).collect();
        let typed = typed.join("\n");
        writeln!(script, "last=$?; printf '\\036'; (exit $last)\n{typed}").unwrap();
        if typed.ends_with('&') {
            script.push_str("jobs=\"$jobs $!\"\n");
        }
    }
    // A sandbox that the page leaves behind, or did not come to end.
    let files = block.exchanges.iter().filter_map(|exchange| exchange.typed[0].split(" --write-env ").nth(1));
    let files: Vec<&str> = files.filter_map(|rest| rest.split_whitespace().next()).collect();
    let stop =
        files.iter().map(|file| format!("smsotp sandbox stop --env-file {file} >/dev/null 2>&1; ")).collect::<String>();
    script.replace("trap '", &format!("trap '{stop}"))
}

/// The first answer that is not as the page says.
fn difference(block: &Block, answers: &[Vec<String>]) -> Option<String> {
    for (n, exchange) in block.exchanges.iter().enumerate() {
        let answer = answers.get(n).map_or(&[][..], Vec::as_slice);
        if !fits(&exchange.expected, answer) {
            let (typed, expected) = (exchange.typed.join("\n"), exchange.expected.join("\n"));
            return Some(format!("{typed}\n--- the page says\n{expected}\n--- it was\n{}\n", answer.join("\n")));
        }
    }
    None
}

/// The block with what really came back; an answer that fits stays as it is written.
fn as_played(block: &Block, answers: &[Vec<String>]) -> Vec<String> {
    let mut lines = Vec::new();
    for (n, exchange) in block.exchanges.iter().enumerate() {
        let answer = answers.get(n).cloned().unwrap_or_default();
        lines.extend(exchange.typed.iter().cloned());
        lines.extend(if fits(&exchange.expected, &answer) { exchange.expected.clone() } else { answer });
    }
    lines
}

fn fits(expected: &[String], answer: &[String]) -> bool {
    match expected.split_first() {
        None => answer.is_empty(),
        Some((first, rest)) if first == "..." => (0..=answer.len()).any(|skipped| fits(rest, &answer[skipped..])),
        Some((first, rest)) => match answer.split_first() {
            Some((line, others)) => line_fits(first, line) && fits(rest, others),
            None => false,
        },
    }
}

fn line_fits(expected: &str, line: &str) -> bool {
    let (expected, line) = (shape(expected), shape(line));
    let mut parts = expected.split("[..]");
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    false
}

/// A line with everything that differs from run to run replaced by its kind.
pub(crate) fn shape(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut shaped: Vec<String> = Vec::new();
    let mut at = 0;
    while at < words.len() {
        // `3 s ago`, `in 10 min`, `now`: how long the story took so far.
        let span = |n: usize| {
            words.get(n).is_some_and(|word| word.chars().all(|c| c.is_ascii_digit()))
                && words.get(n + 1).is_some_and(|unit| ["s", "min", "h"].contains(unit))
        };
        if (span(at) && words.get(at + 2) == Some(&"ago")) || (words[at] == "in" && span(at + 1)) {
            shaped.push("<moment>".to_owned());
            at += 3;
        } else if words[at] == "process"
            && words.get(at + 1).is_some_and(|word| word.bytes().all(|b| b.is_ascii_digit()))
        {
            shaped.push("process <pid>".to_owned());
            at += 2;
        } else if words[at] == "now" {
            shaped.push("<moment>".to_owned());
            at += 1;
        } else {
            shaped.push(word_shape(words[at]));
            at += 1;
        }
    }
    shaped.join(" ")
}

fn word_shape(word: &str) -> String {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let kind = if bare.len() == 34 && bare[2..].bytes().all(|b| b.is_ascii_hexdigit()) {
        format!("<{}>", &bare[..2])
    } else if bare.len() == 6 && digits(bare) {
        "<code>".to_owned()
    } else if bare.len() == 8 && bare.split(':').count() == 3 && bare.split(':').all(digits) {
        "<time>".to_owned()
    } else if bare.len() == 24 && bare.ends_with('Z') && bare.as_bytes()[10] == b'T' {
        "<moment>".to_owned()
    } else if let Some((host, port)) = bare.split_once("127.0.0.1:").filter(|(_, port)| digits(port)) {
        return word.replace(&format!("{host}127.0.0.1:{port}"), &format!("{host}127.0.0.1:<port>"));
    } else {
        return word.to_owned();
    };
    word.replace(bare, &kind)
}

#[test]
fn what_differs_from_run_to_run_is_compared_by_its_shape() {
    let same = [
        ("1  verified  2 s ago", "1 verified now"),
        ("expires in 10 min", "expires   in 9 min"),
        ("│ 391725 is your code.", "│ 000001 is your code."),
        ("at 2026-11-22T19:01:52.327Z", "at 2027-01-01T00:00:00.000Z"),
        ("on http://127.0.0.1:4010; and", "on http://127.0.0.1:39881; and"),
        ("twilio SM1af7cb0b64eb6c0de78fd0b0ac1c9b7b", "twilio SM00000000000000000000000000000000"),
        ("a [..] c", "a b b c"),
        ("[..]", ""),
    ];
    for (page, terminal) in same {
        assert!(line_fits(page, terminal), "{page} / {terminal}");
    }
    for (page, terminal) in
        [("Verified.", "Wrong code."), ("4 tries left", "3 tries left"), ("a [..] c", "a b"), ("a", "a b")]
    {
        assert!(!line_fits(page, terminal), "{page} / {terminal}");
    }
}

#[test]
fn lines_may_be_left_out_where_the_page_says_so() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();

    assert!(fits(&lines("a\n...\nd"), &lines("a\nb\nc\nd")));
    assert!(fits(&lines("..."), &[]));
    assert!(!fits(&lines("a\n...\nd"), &lines("a\nb")));
    assert!(!fits(&[], &lines("a")));
    assert!(!fits(&lines("a"), &[]));
}

#[test]
fn a_page_that_lies_is_found_out_and_corrected() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.md");
    fs::write(
        &page,
        "# A page\n\n```console\n$ echo one\nuno\n$ (exit 3)\n$ echo $?\n3\n$ echo a \\\n> b\n[..] b\n```\n",
    )
    .unwrap();

    let lie = std::panic::catch_unwind(|| play(&page, false)).unwrap_err();
    let lie = lie.downcast_ref::<String>().unwrap();
    assert!(lie.contains("page.md:4: $ echo one\n--- the page says\nuno\n--- it was\none\n"), "{lie}");

    play(&page, true);
    let corrected =
        "# A page\n\n```console\n$ echo one\none\n$ (exit 3)\n$ echo $?\n3\n$ echo a \\\n> b\n[..] b\n```\n";
    assert_eq!(fs::read_to_string(&page).unwrap(), corrected);
    play(&page, false);
}
