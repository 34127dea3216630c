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
    command.args(["-c", &format!("stty -echo; read -r go; stty echo; exec {BINARY} {line}")]).env("TERM", "xterm");
    command.stdin(std::process::Stdio::inherit());
    let mut terminal = Session::spawn(command).unwrap();
    terminal.set_expect_timeout(Some(Duration::from_secs(60)));
    // A new terminal gets a size of its own when it is ready: only then may the line begin.
    terminal.get_process_mut().set_window_size(columns, 40).unwrap();
    terminal.send_line("go").unwrap();
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

/// A desk with codes of several kinds of users and purposes, in several states.
fn a_day_of_work() -> (Desk, smsotp::sandbox::Sandbox) {
    let (desk, sandbox) = Desk::with_sandbox(Options::default());
    for user in ["ada", "grace.hopper@example.com", "7c9e6679-7425-40de-944b-e07fc1f90ae7"] {
        desk.run(&format!("send +14155552671 --user {user} --override cooldown --reason x")).expect(0);
    }
    desk.run("send +4915123456789 --purpose password_reset").expect(0);
    desk.run("verify +4915123456789 000000 --purpose password_reset").code();
    desk.run("revoke 1 --reason lost").expect(0);
    desk.run("token create --service --name shop --scope send,verify --expires 90d").expect(0);
    desk.pipe("test-number add +15005550006 - --until 30d", "123456").expect(0);
    (desk, sandbox)
}

/// Every line of the screens that are no table of values with paths in them.
const SCREENS: [&str; 15] = [
    "list",
    "list --user ada",
    "audit list",
    "limits show",
    "limits show +14155552671",
    "limits show --risk",
    "show 1",
    "show 4",
    "keys list",
    "token list",
    "test-number list",
    "sandbox inbox",
    "config show",
    "db status",
    "explain 30007",
];

#[test]
fn no_screen_splits_a_value_or_runs_over_at_80_and_at_60_columns() {
    let (desk, sandbox) = a_day_of_work();
    let sid = &sandbox.messages()[0].sid;

    for columns in [80, 60] {
        for line in SCREENS {
            let (text, exit) = screen(at_a_terminal(&desk, columns, line));
            assert_eq!(exit, 0, "{text}");
            for shown in text.lines().filter(|shown| shown.chars().count() > usize::from(columns)) {
                // What is wider than the screen by itself, such as a path, is left whole on a line of its own.
                assert!(!shown.trim().contains(' '), "{line} at {columns}: {shown}\n{text}");
            }
            let values =
                ["phone_verification", "password_reset", "+1415•••2671", "+4915•••6789", "superseded", "2026-"];
            for value in values {
                // The head of a value stands nowhere without the rest of it.
                let head: String = value.chars().take(value.chars().count() - 2).collect();
                for shown in text.lines().filter(|_| value != "2026-") {
                    assert!(!shown.trim_end().ends_with(&head), "{line} at {columns} splits {value}\n{text}");
                }
            }
        }
        let (text, _) = screen(at_a_terminal(&desk, columns, "show 1"));
        assert!(text.contains(sid.as_str()), "{text}");
        assert!(
            text.lines().any(|line| line.split_whitespace().any(|word| word.len() == 24 && word.ends_with('Z'))),
            "{text}"
        );
    }
}

#[test]
fn an_alarm_is_read_at_80_columns_with_a_way_back_that_can_be_pasted() {
    use crate::alarming;
    use smsotp::alarm::AlarmKind;
    let (desk, store) = alarming::desk();
    let (text, exit) = screen(at_a_terminal(&desk, 80, "alarms list"));
    assert_eq!((text.as_str(), exit), ("", 0), "where there is none, nothing is said");
    let all = AlarmKind::ALL.iter().map(|kind| alarming::raised(*kind, "TJ")).collect();
    crate::world::block_on(alarming::raise(&store, all));

    let (text, exit) = screen(at_a_terminal(&desk, 80, "alarms list"));
    assert_eq!(exit, 1, "{text}");
    let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(widest <= 80, "{widest} columns\n{text}");
    assert!(text.starts_with("Alarm 7: the balance is running out, TJ\n"), "{text}");
    assert!(text.contains(" smsotp block allow TJ --for 2h --reason TEXT\n"), "{text}");
    assert!(text.contains(" smsotp alarms ack 1 --reason TEXT\n"), "{text}");
    assert!(text.contains("ago (2") || text.contains("now (2"), "{text}");
    let (text, exit) = screen(at_a_terminal(&desk, 80, "alarms ack 1 --reason known"));
    assert_eq!(exit, 0, "{text}");
    assert!(text.contains("Alarm 1 (possible SMS pumping) was acknowledged"), "{text}");
    let (text, _) = screen(at_a_terminal(&desk, 60, "alarms list --all"));
    assert!(text.contains("\nacknowledged") && text.contains(" by os:"), "{text}");
}

#[test]
fn the_list_fits_80_columns_with_what_matters_and_says_what_it_leaves_out() {
    let (desk, _sandbox) = a_day_of_work();

    let (text, _) = screen(at_a_terminal(&desk, 80, "list --user ada"));
    assert!(text.starts_with("ID  PHONE         USER  PURPOSE             STATE    CREATED"), "{text}");
    assert!(text.contains("\nNot shown at this width: messages, tries"), "{text}");
    let (text, _) = screen(at_a_terminal(&desk, 60, "list --user ada"));
    assert!(text.starts_with("ID  PHONE         USER  PURPOSE             STATE"), "{text}");
    let (text, _) = screen(at_a_terminal(&desk, 40, "list --user ada"));
    assert!(
        text.starts_with("id       1\nphone    +1415•••2671\nuser     ada\npurpose  phone_verification\n"),
        "{text}"
    );
    let (text, _) = screen(at_a_terminal(&desk, 140, "list"));
    assert!(text.contains("grace.hopper@example.com") && !text.contains("Not shown"), "{text}");
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
fn a_typo_at_a_prompt_is_explained_and_asked_again_three_times_at_most() {
    let (desk, sandbox) = Desk::with_sandbox(Options::default());

    let mut terminal = at_a_terminal(&desk, 100, "send --purpose login");
    for (typed, answer) in [("12345\r", "no country code"), ("+1415555267\r", "too short for US")] {
        terminal.expect("Phone number:").unwrap();
        terminal.send(typed).unwrap();
        terminal.expect(answer).unwrap();
    }
    terminal.expect("Phone number:").unwrap();
    terminal.send("+14155552671\r").unwrap();
    assert_eq!(screen(terminal).1, 0);

    let mut terminal = at_a_terminal(&desk, 100, "verify +14155552671 --purpose login");
    for typed in ["12x456\r", "\r", "123\r"] {
        terminal.expect("Code:").unwrap();
        while terminal.get_process().get_echo().unwrap() {
            std::thread::yield_now();
        }
        terminal.send(typed).unwrap();
        // The prompt is written once more in place of what was typed.
        terminal.expect("[hidden]").unwrap();
    }
    let (text, exit) = screen(terminal);
    assert_eq!(exit, 65, "{text}");
    assert_eq!(sandbox.messages().len(), 1);
    assert_eq!(desk.run("list --json").expect(0).json("otp_list")["items"][0]["tries"], 0, "a typo is no guess");
}

#[test]
fn ctrl_c_at_any_prompt_ends_its_line_and_leaves_with_130() {
    let desk = Desk::new();
    desk.send("+14155552671");

    for (line, prompt) in [
        ("send", "Phone number:"),
        ("verify", "Phone number:"),
        ("verify +14155552671", "Code:"),
        ("test-number add +15005550006 --until 1d", "Code:"),
        ("db export moved --move", "Seal this database"),
    ] {
        let script = format!("stty echo cols 100 rows 40; {BINARY} {line}; echo \"exit $?\"");
        let mut command = desk.program("sh");
        command
            .args(["-c", &format!("trap : INT; {script}")])
            .env("TERM", "xterm")
            .stdin(std::process::Stdio::inherit());
        let mut terminal = Session::spawn(command).unwrap();
        terminal.set_expect_timeout(Some(Duration::from_secs(60)));
        terminal.expect(prompt).unwrap();

        terminal.send(ControlCode::EndOfText).unwrap();

        let (text, _) = screen(terminal);
        assert!(text.contains("\nexit 130\n"), "{line}: {text:?}");
    }
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
