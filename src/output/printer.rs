//! Prints results on stdout and messages on stderr.

use std::borrow::Cow;
use std::error::Error as _;
use std::io::{ErrorKind, Write};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use super::escape::{visible, visible_lines};
use super::json::{self, SCHEMA_VERSION};
use super::layout::{Paint, Table, wrap};
use super::terminal::{Format, OutputOptions, Terminal};
use super::view::{Item, List, Render, View, in_words};
use super::writer::{MessageWriter, Streams};
use crate::clock::{Clock, SystemClock};
use crate::error::{Class, Code, Error, Result};
use crate::phone::Phone;

/// The only printer.
pub struct Output {
    pub(super) terminal: Terminal,
    pub(super) options: OutputOptions,
    stdout: Box<dyn Write + Send>,
    pub(super) stderr: MessageWriter,
    pub(super) clock: Arc<dyn Clock>,
}

impl Output {
    /// An output to any two streams.
    pub fn to(terminal: Terminal, options: OutputOptions, streams: Streams) -> Output {
        let Streams { out, err } = streams;
        let stderr = MessageWriter::new(err);
        let output = Output { terminal, options, stdout: out, stderr, clock: Arc::new(SystemClock) };
        Output { stderr: output.stderr.clone().in_json(output.is_json()), ..output }
    }

    /// The same output with another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Output {
        self.clock = clock;
        self
    }

    /// The format in force.
    pub fn format(&self) -> Format {
        self.options.format.or(self.terminal.format).unwrap_or(if self.terminal.stdout_tty {
            Format::Table
        } else {
            Format::Tsv
        })
    }
    /// Whether results and errors are JSON.
    pub fn is_json(&self) -> bool {
        matches!(self.format(), Format::Json | Format::Jsonl)
    }
    /// What the process is connected to.
    pub fn terminal(&self) -> &Terminal {
        &self.terminal
    }
    /// How the user wants results and messages to be written.
    pub fn options(&self) -> &OutputOptions {
        &self.options
    }
    /// A phone as it may be shown: masked, or in full with `--reveal`.
    pub fn phone(&self, phone: &Phone) -> String {
        if self.options.reveal { phone.as_str().to_owned() } else { phone.masked() }
    }
    /// A phone in a command to be pasted: in full at a terminal, where the person who typed it reads it; else a placeholder, for
    /// redirected output ends up in logs.
    pub fn pasted_phone(&self, phone: &Phone) -> String {
        if self.terminal.stderr_tty || self.options.reveal { phone.as_str().to_owned() } else { "PHONE".to_owned() }
    }
    /// Writes to stderr for logs and providers; `-q` does not silence it.
    pub fn message_writer(&self) -> MessageWriter {
        self.stderr.clone()
    }
    /// How values are shown now.
    pub fn view(&self) -> View {
        View { now: self.clock.now(), for_person: self.format() == Format::Table && self.terminal.stdout_tty }
    }

    /// Shows a result; to show it is all that most commands have left to do, so the answer is [`Class::Done`]. A reader that closed
    /// the pipe is no error; a full disk is.
    pub fn show<T: Render>(&mut self, value: &T) -> Result<Class> {
        let view = self.view();
        let text = match self.format() {
            Format::Table => value.layout(&view).to_text(self.terminal.width, self.paint_stdout()),
            Format::Tsv => value.table(&view).to_tsv(),
            Format::Csv => value.table(&view).to_csv(),
            Format::Json => json::document(T::KIND, value, true)?,
            Format::Jsonl => json::document(T::KIND, value, false)?,
        };
        self.write(&text)
    }

    /// Shows a result that says nothing new to whoever runs the command every hour: `-q` silences it, but not in JSON.
    pub fn show_unless_quiet<T: Render>(&mut self, value: &T) -> Result<Class> {
        if self.options.quiet && !self.is_json() { Ok(Class::Done) } else { self.show(value) }
    }

    /// Shows one of many results as a line of JSON, whatever the format: there are too many to wait for the widths of columns.
    pub fn show_line(&mut self, kind: &str, value: &impl Serialize) -> Result<Class> {
        let text = json::document(kind, value, false)?;
        self.write(&text)
    }

    /// Shows a list.
    pub fn list<T: Item>(&mut self, list: &List<T>) -> Result<Class> {
        let view = self.view();
        let table = || Table {
            rows: list.items.iter().map(|item| item.cells(&view)).collect(),
            ..Table::new(T::COLUMNS).prose(T::PROSE).spare(T::SPARE)
        };
        let mut left_out = Vec::new();
        let text = match self.format() {
            Format::Table => {
                let drawn = table().to_table(self.terminal.width, self.paint_stdout());
                left_out = drawn.left_out;
                drawn.text
            }
            Format::Tsv => table().to_tsv(),
            Format::Csv => table().to_csv(),
            Format::Json => json::document(&format!("{}_list", T::KIND), list, true)?,
            Format::Jsonl => {
                list.items.iter().map(|item| json::document(T::KIND, item, false)).collect::<Result<_>>()?
            }
        };
        self.write(&text)?;
        if list.items.is_empty() && self.format() == Format::Table {
            self.inform(list.when_empty);
        }
        if !left_out.is_empty() {
            self.inform(&format!("Not shown at this width: {}", left_out.join(", ")));
        }
        // The JSON document says it itself.
        if list.more > 0 && self.format() != Format::Json {
            let next = list.next_after.as_deref().map(|id| format!(": --after {id}")).unwrap_or_default();
            self.inform(&format!("{} more{next}", list.more));
        }
        Ok(Class::Done)
    }

    /// Shows prepared text of our own (help, completions), unchanged. `ansi` is the same text with colours.
    pub fn text(&mut self, plain: &str, ansi: Option<&str>) -> Result<Class> {
        match ansi {
            Some(ansi) if self.paint_stdout().0 => self.write(ansi),
            _ => self.write(plain),
        }
    }

    /// A message to the person; silenced by `-q`.
    pub fn inform(&self, line: &str) {
        self.say("note", None, line);
    }
    /// A warning; silenced by `-q`.
    pub fn warn(&self, line: &str) {
        self.say("warning", Some(self.paint_stderr().yellow("warning:")), line);
    }
    /// A next step; silenced by `-q`.
    pub fn hint(&self, line: &str) {
        self.say("hint", Some(self.paint_stderr().cyan("hint:")), line);
    }

    /// One line on stderr: JSON where results are JSON, so that a program can read all that is written there.
    fn say(&self, kind: &str, label: Option<String>, line: &str) {
        match label {
            _ if self.options.quiet => {}
            _ if self.is_json() => self.stderr.json(kind, line),
            Some(label) => self.stderr.raw(&format!("{label} {}\n", visible(line))),
            None => {
                let room = self.terminal.width.filter(|_| self.terminal.stderr_tty).map_or(usize::MAX, usize::from);
                wrap(line, room).iter().for_each(|line| self.stderr.line(line));
            }
        }
    }

    /// Prints an error on stderr, as text or as one JSON object, and returns its class. `-q` does not silence it.
    pub fn fail(&self, error: &Error) -> Class {
        self.report("error:", error, None)
    }

    /// Prints an error with more about it in JSON.
    pub fn fail_with(&self, error: &Error, details: Value) -> Class {
        self.report("error:", error, Some(details))
    }

    /// Prints a refusal, "no" as an answer: like an error, but named so, and in JSON with its `details` (which limit, its
    /// window, how full it is).
    pub fn refuse(&self, refusal: &Error, details: Value) -> Class {
        self.report("refused:", refusal, Some(details))
    }

    fn report(&self, label: &str, error: &Error, details: Option<Value>) -> Class {
        let class = error.class();
        if self.is_json() {
            self.stderr.raw(&json::compact(&error_json(error, details)));
            return class;
        }
        let paint = self.paint_stderr();
        let mut text = match class {
            // The user interrupted it, so it is no error.
            Class::Interrupted | Class::Terminated => format!("{}\n", quoted(error.message())),
            _ => format!("{} {}\n", paint.red(label), quoted(error.message())),
        };
        for cause in causes(error) {
            text.push_str(&format!("  {} {}\n", paint.dim("caused by:"), quoted(&cause)));
        }
        if let Some(after) = error.retry_after_hint() {
            text.push_str(&format!("  {} in {}\n", paint.dim("try again:"), in_words(after.as_secs().max(1))));
        }
        if let Some(hint) = error.hint_text() {
            text.push_str(&format!("{} {}\n", paint.cyan("hint:"), quoted(hint)));
        }
        self.stderr.raw(&text);
        class
    }

    /// Prints a usage error with the parser's own text, which quotes what was typed: escaped and cut.
    pub fn fail_usage(&self, rendered: &str, message: &str, hint: Option<&str>) -> Class {
        if self.is_json() {
            let mut error = Error::new(Code::USAGE, visible_lines(message, 2000));
            if let Some(hint) = hint {
                error = error.hint(visible_lines(hint, 2000));
            }
            return self.fail(&error);
        }
        self.stderr.raw(&format!("{}\n", visible_lines(rendered.trim_end(), 4000)));
        Class::Usage
    }

    fn paint_stdout(&self) -> Paint {
        self.terminal.paints(self.options.color, self.terminal.stdout_tty)
    }
    fn paint_stderr(&self) -> Paint {
        self.terminal.paints(self.options.color, self.terminal.stderr_tty)
    }

    fn write(&mut self, text: &str) -> Result<Class> {
        match self.stdout.write_all(text.as_bytes()).and_then(|()| self.stdout.flush()) {
            // `smsotp list | head -1`: the reader needs no more.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Class::Done),
            Err(error) => Err(Error::new(Code::FILE_FAILED, "cannot write the result to standard output")
                .because(error)
                .hint("The command itself was carried out: free some space, and check with `smsotp list` before you repeat it")),
            Ok(()) => Ok(Class::Done),
        }
    }
}

fn error_json(error: &Error, details: Option<Value>) -> Value {
    let mut fields = json!({
        "code": error.code().name,
        "message": cut(error.message()),
        "exit_code": error.class().exit(),
    });
    if let Some(hint) = error.hint_text() {
        fields["hint"] = cut(hint).into();
    }
    if let Some(details) = details.filter(|details| !details.is_null()) {
        fields["details"] = details;
    }
    if let Some(after) = error.retry_after_hint() {
        fields["retry_after_seconds"] = after.as_secs().max(1).into();
    }
    let causes = causes(error);
    if !causes.is_empty() {
        fields["causes"] = causes.into();
    }
    json!({ "schema_version": SCHEMA_VERSION, "error": fields })
}

/// A text that may quote what was typed, for a terminal.
fn quoted(text: &str) -> String {
    visible(&cut(text)).into_owned()
}

/// A text that may quote what was typed, cut to a useful length.
fn cut(text: &str) -> Cow<'_, str> {
    const LONGEST: usize = 1000;
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => Cow::Owned(format!("{}…", &text[..at])),
        None => Cow::Borrowed(text),
    }
}

fn causes(error: &Error) -> Vec<String> {
    // A longer chain adds nothing.
    const CAUSES_MAX: usize = 8;
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next.filter(|_| causes.len() < CAUSES_MAX) {
        let text = cut(&cause.to_string()).into_owned();
        // Some layers only repeat the one above them.
        if !causes.iter().any(|known: &String| text.contains(known.as_str())) {
            causes.push(text);
        }
        next = cause.source();
    }
    causes
}
