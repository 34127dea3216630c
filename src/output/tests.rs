use super::*;
use crate::clock::ManualClock;

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

/// A writer that always fails.
struct Broken(ErrorKind);

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(self.0.into())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[derive(Serialize)]
struct Row {
    id: i64,
    user: String,
    created_at: Timestamp,
}

impl Item for Row {
    const KIND: &'static str = "otp";
    const COLUMNS: &'static [&'static str] = &["id", "user", "created"];
    fn cells(&self, view: &View) -> Vec<String> {
        vec![self.id.to_string(), view.text_if(Some(&self.user)), view.time(self.created_at)]
    }
}

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn terminal() -> Screen {
    Screen {
        stdin_tty: true,
        stdout_tty: true,
        stderr_tty: true,
        width: Some(80),
        colors: ColorFacts::default(),
        format: None,
    }
}

fn output(screen: Screen, wishes: Wishes) -> (Output, Paper, Paper) {
    let (out, err) = (Paper::default(), Paper::default());
    let output = Output::to(screen, wishes, Streams { out: Box::new(out.clone()), err: Box::new(err.clone()) });
    (output.with_clock(Arc::new(ManualClock::at(NOW))), out, err)
}

fn rows() -> List<Row> {
    let row = |id, user: &str, seconds| Row { id, user: user.into(), created_at: NOW - Duration::from_secs(seconds) };
    List {
        items: vec![row(2, "", 130), row(1, "u\u{1b}[2J", 7200)],
        more: 5,
        next_after: Some("1".into()),
        none: "none",
    }
}

#[test]
fn a_person_sees_a_table_with_relative_times_and_how_many_more() {
    let (mut output, out, err) = output(terminal(), Wishes { color: ColorChoice::Never, ..Wishes::default() });

    output.list(&rows()).unwrap();

    assert_eq!(out.text(), "ID  USER        CREATED\n2   -           2 min ago\n1   u\\u{1b}[2J  2 h ago\n");
    assert_eq!(err.text(), "5 more: --after 1\n");
}

#[test]
fn a_pipe_gets_tsv_with_full_times_and_no_headings() {
    let (mut output, out, _) = output(Screen::default(), Wishes::default());

    output.list(&rows()).unwrap();

    assert_eq!(out.text(), "2\t\t2027-01-15T07:57:50.000Z\n1\tu\\u{1b}[2J\t2027-01-15T06:00:00.000Z\n");
}

#[test]
fn json_is_one_document_and_json_lines_one_object_per_row() {
    let json = Wishes { format: Some(Format::Json), ..Wishes::default() };
    let (mut one, out, _) = output(Screen::default(), json);
    one.list(&rows()).unwrap();
    let document: Value = serde_json::from_str(&out.text()).unwrap();
    assert_eq!(document["schema_version"], 1);
    assert_eq!(document["kind"], "otp_list");
    assert_eq!(document["more"], 5);
    assert_eq!(document["items"][1]["user"], "u\u{1b}[2J");

    let (mut lines, out, _) = output(Screen::default(), Wishes { format: Some(Format::Jsonl), ..json });
    lines.list(&rows()).unwrap();
    let kinds: Vec<Value> = out.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(kinds.len(), 2);
    assert!(kinds.iter().all(|row| row["kind"] == "otp" && row["schema_version"] == 1));
}

#[test]
fn a_reader_that_left_is_no_error_and_a_full_disk_is() {
    for (kind, expected) in [(ErrorKind::BrokenPipe, None), (ErrorKind::StorageFull, Some(Code::FILE_FAILED))] {
        let mut output = Output::to(
            Screen::default(),
            Wishes::default(),
            Streams { out: Box::new(Broken(kind)), err: Box::new(Broken(kind)) },
        );

        let result = output.list(&rows());
        output.warn("nobody reads this either");

        assert_eq!(result.err().map(|error| error.code()), expected);
    }
}

#[test]
fn quiet_silences_talk_and_never_errors() {
    let (output, _, err) = output(Screen::default(), Wishes { quiet: true, ..Wishes::default() });
    output.say("a");
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
    let (output, _, err) = output(Screen::default(), Wishes { format: Some(Format::Json), ..Wishes::default() });

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
fn color_follows_flag_then_environment_then_stream() {
    let facts = |no_color, force, dumb| ColorFacts { no_color, force, dumb };
    let paints = |choice, colors, tty| Screen { colors, ..Screen::default() }.paints(choice, tty).0;

    assert!(paints(ColorChoice::Always, facts(true, false, true), false));
    assert!(!paints(ColorChoice::Never, facts(false, true, false), true));
    assert!(!paints(ColorChoice::Auto, facts(true, true, false), true));
    assert!(paints(ColorChoice::Auto, facts(false, true, true), false));
    assert!(paints(ColorChoice::Auto, facts(false, false, false), true));
    assert!(!paints(ColorChoice::Auto, facts(false, false, true), true));
    assert!(!paints(ColorChoice::Auto, facts(false, false, false), false));
}

#[test]
fn nobody_is_asked_where_nobody_sits() {
    let prompt = Prompt { what: "phone number", instead: "PHONE on the command line" };
    let silent = [
        (Screen { stdin_tty: false, ..terminal() }, false),
        (Screen { stderr_tty: false, ..terminal() }, false),
        (terminal(), true),
    ];
    for (screen, no_input) in silent {
        let (output, _, _) = output(screen, Wishes { no_input, ..Wishes::default() });
        for error in [
            output.ask(prompt).unwrap_err(),
            output.ask_secret(prompt).map(|_| ()).unwrap_err(),
            output.choose(prompt, &["a"], 0).unwrap_err(),
            output.confirm(prompt).unwrap_err(),
        ] {
            assert_eq!(error.code(), Code::NEEDS_TERMINAL);
            assert_eq!(error.hint_text(), Some("Give PHONE on the command line"));
        }
    }
}

#[test]
fn progress_off_a_terminal_is_a_line_every_ten_seconds() {
    let (out, err) = (Paper::default(), Paper::default());
    let clock = Arc::new(ManualClock::at(NOW));
    let output =
        Output::to(Screen::default(), Wishes::default(), Streams { out: Box::new(out), err: Box::new(err.clone()) })
            .with_clock(clock.clone() as Arc<dyn Clock>);

    let mut progress = output.progress("purging", Some(100));
    for done in 1..=5 {
        clock.advance(Duration::from_secs(4));
        progress.at(done);
    }
    drop(progress);

    assert_eq!(err.text(), "purging: 3 of 100\n");
}

#[test]
fn spans_are_told_in_their_largest_unit() {
    let view = View { now: NOW, person: true };
    assert_eq!(view.time(NOW), "now");
    assert_eq!(view.time(NOW + Duration::from_secs(599)), "in 10 min");
    assert_eq!(view.time(NOW - Duration::from_secs(59)), "59 s ago");
    assert_eq!(view.time(NOW - Duration::from_secs(3 * 86_400)), "3 d ago");
    assert_eq!(view.time(NOW - Duration::from_secs(90 * 86_400)), "2026-10-17");
    assert_eq!(view.time(Timestamp(i64::MIN)), Timestamp(i64::MIN).datetime().format("%Y-%m-%d").to_string());
    assert_eq!(view.time_if(None), "-");
    assert_eq!(View { person: false, ..view }.span(Duration::from_secs(90)), "90");
}

#[test]
fn a_refusal_is_named_so_and_tells_its_details_to_programs() {
    let refusal = Error::new(Code::RATE_LIMITED, "3 messages in 10 min").retry_after(Duration::from_secs(61));
    let details = json!({"limit": "phone", "max": 3, "window_seconds": 600, "used": 3});

    let (text, _, err) = output(Screen::default(), Wishes { quiet: true, ..Wishes::default() });
    assert_eq!(text.refuse(&refusal, details.clone()), Class::TryLater);
    assert_eq!(err.text(), "refused: 3 messages in 10 min\n  try again: in 1 min\n");

    let (json, _, err) = output(Screen::default(), Wishes { format: Some(Format::Json), ..Wishes::default() });
    json.refuse(&refusal, details.clone());
    let error: Value = serde_json::from_str(&err.text()).unwrap();
    assert_eq!((&error["error"]["details"], &error["error"]["retry_after_seconds"]), (&details, &61.into()));
}
