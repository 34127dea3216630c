//! What a person sees at a terminal: tables, relative times, commands to paste, questions.
#![cfg(unix)]

use std::time::Duration;

use expectrl::process::unix::WaitStatus;
use expectrl::session::OsSession;
use expectrl::{ControlCode, Eof, Expect, Session};
use smsotp::sandbox::Options;

use super::desk::{BINARY, Desk, code_in, wrong};

/// A line on a terminal of its own, so many columns wide.
fn at_a_terminal(desk: &Desk, columns: u16, line: &str) -> OsSession {
    let mut command = desk.program("sh");
    command.args(["-c", &format!("stty echo cols {columns} rows 40; exec {BINARY} {line}")]).env("TERM", "xterm");
    command.stdin(std::process::Stdio::inherit());
    let mut terminal = Session::spawn(command).unwrap();
    terminal.set_expect_timeout(Some(Duration::from_secs(60)));
    terminal
}

/// All that is shown, without colours, and the exit code.
fn screen(mut terminal: OsSession) -> (String, i32) {
    let rest = terminal.expect(Eof).unwrap();
    let text = String::from_utf8_lossy(rest.as_bytes()).replace('\r', "");
    let exit = match terminal.get_process().wait().unwrap() {
        WaitStatus::Exited(_, code) => code,
        other => panic!("{other:?}"),
    };
    (without_colours(&text), exit)
}

fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |(_, rest)| rest));
    }
    plain
}

#[test]
fn a_person_sees_sentences_aligned_fields_and_the_next_command_ready_to_paste() {
    let desk = Desk::new();

    let (text, exit) = screen(at_a_terminal(&desk, 100, "send +14155552671 --purpose login --user \"ada l\""));

    assert_eq!(exit, 0, "{text}");
    let code = code_in(text.lines().find(|line| line.contains(" is your ")).unwrap());
    assert!(text.contains("A code is on its way to +1415•••2671.\nid       1\npurpose  login\n"), "{text}");
    assert!(text.contains("\nexpires  in 10 min\n"), "{text}");
    assert!(
        text.ends_with("hint: Check the code with: smsotp verify +14155552671 --purpose login --user 'ada l'\n"),
        "{text}"
    );

    let (text, exit) = screen(at_a_terminal(&desk, 100, "list"));
    assert_eq!(exit, 0, "{text}");
    assert!(text.starts_with("ID  PHONE         USER   PURPOSE  STATE"), "{text}");
    assert!(text.contains("in 10 min"), "{text}");
    let (text, _) = screen(at_a_terminal(&desk, 100, "list --state locked"));
    assert_eq!(text, "No codes.\n");
    let (text, exit) = screen(at_a_terminal(
        &desk,
        100,
        &format!("verify +14155552671 {} --purpose login --user \"ada l\"", wrong(&code)),
    ));
    assert_eq!((text.as_str(), exit), ("Wrong code. 4 tries are left.\n", 1));
    let (text, _) = screen(at_a_terminal(&desk, 100, "audit list --action verify"));
    assert!(text.contains("otp 1, purpose login") && !text.contains('{'), "{text}");
}

#[test]
fn a_narrow_window_folds_tables_and_keeps_every_line_inside() {
    let desk = Desk::new();
    desk.send("+14155552671 --purpose login");

    for line in ["list", "audit list", "limits show", "show 1", "keys list"] {
        let (text, exit) = screen(at_a_terminal(&desk, 80, line));
        assert_eq!(exit, 0, "{text}");
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= 80, "{line}: {widest} columns\n{text}");
    }
}

#[test]
fn the_checks_of_twilio_are_read_at_any_width_one_sentence_below_the_other() {
    let (desk, sandbox) = Desk::with_sandbox(Options::default());
    for (columns, indent) in [(80, 20), (60, 20), (42, 7)] {
        let (text, exit) = screen(at_a_terminal(&desk, columns, "test-twilio"));
        assert_eq!(exit, 0, "{text}");
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= usize::from(columns), "{columns}: {widest} columns\n{text}");
        // Whatever is no check of its own hangs below the text of one.
        let hanging = |line: &str| line.starts_with('[') || line.len() - line.trim_start().len() >= indent;
        assert!(text.lines().all(hanging), "{text}");
        assert!(!text.contains(". "), "one sentence a line: {text}");
    }
    let (sid, token) = sandbox.test_credentials();
    std::fs::remove_file(desk.cwd().join(".env")).unwrap();
    let mut desk = desk;
    desk.set("TWILIO_ACCOUNT_SID", sid).set("TWILIO_AUTH_TOKEN", token).set("TWILIO_PHONE_NUMBER", "+15005550006");
    desk.set("TWILIO_API_BASE_URL", sandbox.url());
    let (text, _) = screen(at_a_terminal(&desk, 60, "test-twilio"));
    assert!(text.contains("magic_from_queue_full") && text.lines().all(|line| line.chars().count() <= 60), "{text}");
}

#[test]
fn removing_a_key_is_asked_about_and_no_means_no() {
    let desk = Desk::new();
    desk.send("+14155552671");
    desk.run("keys rotate").expect(0);
    desk.run("keys rotate").expect(0);
    desk.run("revoke 1").expect(0);

    let mut terminal = at_a_terminal(&desk, 100, "keys prune");
    terminal.expect("Remove key").unwrap();
    terminal.send("n").unwrap();
    assert_eq!(screen(terminal).1, 1);
    assert_eq!(desk.run("keys list").expect(0).rows().len(), 2);

    let mut terminal = at_a_terminal(&desk, 100, "keys prune");
    terminal.expect("Remove key").unwrap();
    terminal.send("y").unwrap();
    assert_eq!(screen(terminal).1, 0);
    assert_eq!(desk.run("keys list").expect(0).rows().len(), 1);
}

#[test]
fn a_missing_number_is_asked_for_when_sending() {
    let (desk, sandbox) = Desk::with_sandbox(Options::default());

    let mut terminal = at_a_terminal(&desk, 100, "send --purpose login");
    terminal.expect("Phone number:").unwrap();
    terminal.send("+14155552671\r").unwrap();
    let (text, exit) = screen(terminal);

    assert_eq!(exit, 0, "{text}");
    assert_eq!(sandbox.messages().len(), 1);
}

#[test]
fn ctrl_c_ends_the_sandbox_without_calling_it_an_error() {
    let desk = Desk::bare();
    let mut terminal = at_a_terminal(&desk, 100, "sandbox --listen 127.0.0.1:0");
    terminal.expect("Ctrl-C ends it.").unwrap();

    terminal.send(ControlCode::EndOfText).unwrap();
    let (text, exit) = screen(terminal);

    assert_eq!(exit, 130);
    assert!(!text.contains("error"), "{text}");
}
