//! A person at a terminal is asked for what is missing; Ctrl-C leaves with 130 and gives the terminal back as it was.
#![cfg(unix)]

use std::process::Command;
use std::time::Duration;

use expectrl::process::unix::WaitStatus;
use expectrl::session::OsSession;
use expectrl::{ControlCode, Eof, Expect, Session};

/// `smsotp` with these arguments on a terminal of its own.
fn on_a_terminal(args: &[&str]) -> OsSession {
    // The test's terminals start without echo, a person's do not.
    shell(&format!("stty echo; exec {} {}", env!("CARGO_BIN_EXE_smsotp"), args.join(" ")))
}

fn shell(script: &str) -> OsSession {
    let mut command = Command::new("sh");
    command.args(["-c", script]).env_clear().env("PATH", "/usr/bin:/bin").env("TERM", "xterm");
    let mut terminal = Session::spawn(command).unwrap();
    terminal.set_expect_timeout(Some(Duration::from_secs(20)));
    terminal
}

/// The prompt is written before the echo is switched off, which also drops what was typed ahead.
fn until_mute(terminal: &OsSession) {
    while terminal.get_process().get_echo().unwrap() {
        std::thread::yield_now();
    }
}

fn exit_code(terminal: OsSession) -> i32 {
    match terminal.get_process().wait().unwrap() {
        WaitStatus::Exited(_, code) => code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_missing_phone_is_asked_for_and_the_code_is_not_shown() {
    let mut terminal = on_a_terminal(&["verify"]);

    terminal.expect("Phone number:").unwrap();
    terminal.send("+14155552671\r").unwrap();
    terminal.expect("Code:").unwrap();
    until_mute(&terminal);
    terminal.send("918273\r").unwrap();

    let rest = terminal.expect(Eof).unwrap();
    let rest = String::from_utf8_lossy(rest.as_bytes()).into_owned();
    assert!(!rest.contains("918273"), "{rest}");
}

#[test]
fn ctrl_c_at_a_hidden_prompt_leaves_with_130_and_an_echoing_terminal() {
    let mut terminal = on_a_terminal(&["verify", "+14155552671"]);
    terminal.expect("Code:").unwrap();
    until_mute(&terminal);

    terminal.send(ControlCode::EndOfText).unwrap();
    terminal.expect(Eof).unwrap();

    assert!(terminal.get_process().get_echo().unwrap());
    assert_eq!(exit_code(terminal), 130);
}

#[test]
fn no_input_never_asks_even_at_a_terminal() {
    let mut terminal = on_a_terminal(&["verify", "+14155552671", "--no-input"]);

    terminal.expect("code is missing, and --no-input forbids prompts").unwrap();
    terminal.expect("Give the code as `-`").unwrap();
    terminal.expect(Eof).unwrap();

    assert_eq!(exit_code(terminal), 2);
}

#[test]
fn a_redirected_stdin_is_never_answered_from_the_terminal() {
    let mut terminal = shell(&format!("{} verify +14155552671 < /dev/null", env!("CARGO_BIN_EXE_smsotp")));

    terminal.expect("there is no terminal to prompt on").unwrap();
    terminal.expect(Eof).unwrap();

    assert_eq!(exit_code(terminal), 2);
}
