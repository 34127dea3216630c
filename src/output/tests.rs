use std::io::{ErrorKind, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::*;
use crate::clock::{Clock, ManualClock, Timestamp};
use crate::error::{Class, Code, Error};

/// A writer whose content can be read.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A writer that always fails.
struct FailingWriter(ErrorKind);

impl Write for FailingWriter {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(self.0.into())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[derive(Serialize)]
struct OtpRow {
    id: i64,
    user: String,
    created_at: Timestamp,
}

impl Item for OtpRow {
    const KIND: &'static str = "otp";
    const COLUMNS: &'static [&'static str] = &["id", "user", "created"];
    fn cells(&self, view: &View) -> Vec<String> {
        vec![self.id.to_string(), view.text_if(Some(&self.user)), view.time(self.created_at)]
    }
}

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn terminal() -> Terminal {
    Terminal {
        stdin_tty: true,
        stdout_tty: true,
        stderr_tty: true,
        width: Some(80),
        colors: ColorEnvironment::default(),
        format: None,
    }
}

fn output(terminal: Terminal, options: OutputOptions) -> (Output, Buffer, Buffer) {
    let (out, err) = (Buffer::default(), Buffer::default());
    let output = Output::to(terminal, options, Streams { out: Box::new(out.clone()), err: Box::new(err.clone()) });
    (output.with_clock(Arc::new(ManualClock::at(NOW))), out, err)
}

fn rows() -> List<OtpRow> {
    let row =
        |id, user: &str, seconds| OtpRow { id, user: user.into(), created_at: NOW - Duration::from_secs(seconds) };
    List {
        items: vec![row(2, "", 130), row(1, "u\u{1b}[2J", 7200)],
        more: 5,
        next_after: Some("1".into()),
        when_empty: "none",
    }
}

#[test]
fn a_person_sees_a_table_with_relative_times_and_how_many_more() {
    let (mut output, out, err) =
        output(terminal(), OutputOptions { color: ColorChoice::Never, ..OutputOptions::default() });

    output.list(&rows()).unwrap();

    assert_eq!(out.text(), "ID  USER        CREATED\n2   -           2 min ago\n1   u\\u{1b}[2J  2 h ago\n");
    assert_eq!(err.text(), "5 more: --after 1\n");
}

#[test]
fn a_pipe_gets_tsv_with_full_times_and_no_headings() {
    let (mut output, out, _) = output(Terminal::default(), OutputOptions::default());

    output.list(&rows()).unwrap();

    assert_eq!(out.text(), "2\t\t2027-01-15T07:57:50.000Z\n1\tu\\u{1b}[2J\t2027-01-15T06:00:00.000Z\n");
}

#[test]
fn json_is_one_document_and_json_lines_one_object_per_row() {
    let json = OutputOptions { format: Some(Format::Json), ..OutputOptions::default() };
    let (mut one, out, _) = output(Terminal::default(), json);
    one.list(&rows()).unwrap();
    let document: Value = serde_json::from_str(&out.text()).unwrap();
    assert_eq!(document["schema_version"], 1);
    assert_eq!(document["kind"], "otp_list");
    assert_eq!(document["more"], 5);
    assert_eq!(document["items"][1]["user"], "u\u{1b}[2J");

    let (mut lines, out, _) = output(Terminal::default(), OutputOptions { format: Some(Format::Jsonl), ..json });
    lines.list(&rows()).unwrap();
    let kinds: Vec<Value> = out.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(kinds.len(), 2);
    assert!(kinds.iter().all(|row| row["kind"] == "otp" && row["schema_version"] == 1));
}

#[test]
fn a_closed_pipe_is_no_error_and_a_full_disk_is() {
    for (kind, expected) in [(ErrorKind::BrokenPipe, None), (ErrorKind::StorageFull, Some(Code::FILE_FAILED))] {
        let mut output = Output::to(
            Terminal::default(),
            OutputOptions::default(),
            Streams { out: Box::new(FailingWriter(kind)), err: Box::new(FailingWriter(kind)) },
        );

        let result = output.list(&rows());
        output.warn("nobody reads this either");

        assert_eq!(result.err().map(|error| error.code()), expected);
    }
}

#[test]
fn quiet_silences_messages_and_never_errors() {
    let (output, _, err) = output(Terminal::default(), OutputOptions { quiet: true, ..OutputOptions::default() });
    output.inform("a");
    output.warn("b");
    output.hint("c");
    assert_eq!(err.text(), "");

    let error = Error::new(Code::RATE_LIMITED, "phone \u{1b}]0;x\u{7} had 3 messages")
        .because(std::io::Error::other("deep\nreason"))
        .retry_after(Duration::from_secs(90))
        .hint("Wait");
    assert_eq!(output.fail(&error), Class::TryLater);
    assert_eq!(
        err.text(),
        "error: phone \\u{1b}]0;x\\u{7} had 3 messages\n  caused by: deep\\u{a}reason\n  try again: in 1 min\nhint: Wait\n"
    );
}

#[test]
fn errors_are_one_json_object_where_results_are_json() {
    let (output, _, err) =
        output(Terminal::default(), OutputOptions { format: Some(Format::Json), ..OutputOptions::default() });

    output.fail(&Error::new(Code::RATE_LIMITED, "too many").retry_after(Duration::from_millis(300)).hint("Wait"));

    let error: Value = serde_json::from_str(&err.text()).unwrap();
    assert_eq!(
        error,
        json!({"schema_version": 1, "error": {
            "code": "rate_limited", "message": "too many", "hint": "Wait", "exit_code": 75, "retry_after_seconds": 1
        }})
    );
}

#[test]
fn where_results_are_json_every_line_on_stderr_is_an_object() {
    let (mut output, _, err) =
        output(Terminal::default(), OutputOptions { format: Some(Format::Jsonl), ..OutputOptions::default() });

    output.warn("the key file is readable by others");
    output.hint("chmod 600");
    output.inform("done\u{1b}[2J");
    output.message_writer().lines("SMS to +1\n  123456");
    output.list(&rows()).unwrap();

    let lines: Vec<Value> = err.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        lines,
        [
            json!({"schema_version": 1, "warning": {"message": "the key file is readable by others"}}),
            json!({"schema_version": 1, "hint": {"message": "chmod 600"}}),
            json!({"schema_version": 1, "note": {"message": "done\u{1b}[2J"}}),
            json!({"schema_version": 1, "text": {"message": "SMS to +1\n  123456"}}),
            json!({"schema_version": 1, "note": {"message": "5 more: --after 1"}}),
        ]
    );
    assert!(!err.text().contains('\u{1b}'));
}

#[test]
fn color_follows_flag_then_environment_then_stream() {
    let environment = |no_color, force, dumb| ColorEnvironment { no_color, force, dumb };
    let paints = |choice, colors, tty| Terminal { colors, ..Terminal::default() }.paints(choice, tty).0;

    assert!(paints(ColorChoice::Always, environment(true, false, true), false));
    assert!(!paints(ColorChoice::Never, environment(false, true, false), true));
    assert!(!paints(ColorChoice::Auto, environment(true, true, false), true));
    assert!(paints(ColorChoice::Auto, environment(false, true, true), false));
    assert!(paints(ColorChoice::Auto, environment(false, false, false), true));
    assert!(!paints(ColorChoice::Auto, environment(false, false, true), true));
    assert!(!paints(ColorChoice::Auto, environment(false, false, false), false));
}

#[test]
fn there_is_no_prompt_without_a_terminal() {
    let prompt = Prompt { what: "phone number", instead: "PHONE on the command line" };
    let silent = [
        (Terminal { stdin_tty: false, ..terminal() }, false),
        (Terminal { stderr_tty: false, ..terminal() }, false),
        (terminal(), true),
    ];
    for (terminal, no_input) in silent {
        let (output, _, _) = output(terminal, OutputOptions { no_input, ..OutputOptions::default() });
        for error in [
            output.ask(prompt, |_| Ok(())).unwrap_err(),
            output.ask_secret(prompt, |_| Ok(())).unwrap_err(),
            output.confirm(prompt).unwrap_err(),
        ] {
            assert_eq!(error.code(), Code::NEEDS_TERMINAL);
            assert_eq!(error.hint_text(), Some("Give PHONE on the command line"));
        }
    }
}

#[test]
fn progress_off_a_terminal_is_a_line_every_ten_seconds() {
    let (out, err) = (Buffer::default(), Buffer::default());
    let clock = Arc::new(ManualClock::at(NOW));
    let output = Output::to(
        Terminal::default(),
        OutputOptions::default(),
        Streams { out: Box::new(out), err: Box::new(err.clone()) },
    )
    .with_clock(clock.clone() as Arc<dyn Clock>);

    let mut progress = output.progress("purging");
    for done in 1..=5 {
        clock.advance(Duration::from_secs(4));
        progress.advance_to(done);
    }
    drop(progress);

    assert_eq!(err.text(), "purging: 3\n");
}

#[test]
fn spans_are_shown_in_their_largest_unit() {
    let view = View { now: NOW, for_person: true };
    assert_eq!(view.time(NOW), "now");
    assert_eq!(view.time(NOW + Duration::from_secs(599)), "in 10 min");
    assert_eq!(view.time(NOW - Duration::from_secs(59)), "59 s ago");
    assert_eq!(view.time(NOW - Duration::from_secs(3 * 86_400)), "3 d ago");
    assert_eq!(view.time(NOW - Duration::from_secs(90 * 86_400)), "2026-10-17");
    assert_eq!(view.time(Timestamp(i64::MIN)), Timestamp(i64::MIN).datetime().format("%Y-%m-%d").to_string());
    assert_eq!(view.time_if(None), "-");
    assert_eq!(View { for_person: false, ..view }.span(Duration::from_secs(90)), "90");
}

#[test]
fn a_refusal_is_labelled_and_has_its_details_in_json() {
    let refusal = Error::new(Code::RATE_LIMITED, "3 messages in 10 min").retry_after(Duration::from_secs(61));
    let details = json!({"limit": "phone", "max": 3, "window_seconds": 600, "used": 3});

    let (text, _, err) = output(Terminal::default(), OutputOptions { quiet: true, ..OutputOptions::default() });
    assert_eq!(text.refuse(&refusal, details.clone()), Class::TryLater);
    assert_eq!(err.text(), "refused: 3 messages in 10 min\n  try again: in 1 min\n");

    let (json, _, err) =
        output(Terminal::default(), OutputOptions { format: Some(Format::Json), ..OutputOptions::default() });
    json.refuse(&refusal, details.clone());
    let error: Value = serde_json::from_str(&err.text()).unwrap();
    assert_eq!((&error["error"]["details"], &error["error"]["retry_after_seconds"]), (&details, &61.into()));
}
