//! The only printer: results on stdout as table, TSV or JSON, talk on stderr, and every foreign character made harmless.

mod escape;
mod json;
mod logs;
mod page;
mod progress;
mod prompt;

use std::borrow::Cow;
use std::error::Error as _;
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};

use crate::clock::{Clock, SystemClock, Timestamp};
use crate::error::{Class, Code, Error, Result};
use crate::phone::Phone;

pub use escape::{visible, visible_lines};
pub use logs::{LogForm, start_logs};
pub use page::{Page, Paint, Sheet};
pub use progress::Progress;
pub use prompt::{Prompt, Restore};

/// The version of the JSON contract: fields are only ever added within one version.
pub const SCHEMA_VERSION: u32 = 1;

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns and prose (the default on a terminal)
    Table,
    /// Tab-separated values without headings (the default in a pipe)
    Tsv,
    /// One JSON document
    Json,
    /// One JSON object per line
    Jsonl,
}

/// When colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What the environment says about colours. The configuration reads it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColorFacts {
    /// `NO_COLOR` is set and not empty.
    pub no_color: bool,
    /// `CLICOLOR_FORCE` is set, not empty and not `0`.
    pub force: bool,
    /// `TERM` is `dumb`.
    pub dumb: bool,
}

/// What the process is connected to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Screen {
    /// Standard input is a terminal.
    pub stdin_tty: bool,
    /// Standard output is a terminal.
    pub stdout_tty: bool,
    /// Standard error is a terminal.
    pub stderr_tty: bool,
    /// Columns of the terminal on stdout, if it tells.
    pub width: Option<u16>,
    /// The environment's wishes about colours.
    pub colors: ColorFacts,
    /// The environment's wish about the form of results; a flag wins over it.
    pub format: Option<Format>,
}

impl Screen {
    /// What this process is connected to.
    ///
    /// `format` is `SMSOTP_OUTPUT`; a word that is no form is left for the configuration to complain about.
    pub fn here(colors: ColorFacts, format: Option<String>) -> Screen {
        let stdout_tty = std::io::stdout().is_terminal();
        Screen {
            stdin_tty: std::io::stdin().is_terminal(),
            stdout_tty,
            stderr_tty: std::io::stderr().is_terminal(),
            width: stdout_tty.then(|| dialoguer::console::Term::stdout().size_checked()).flatten().map(|size| size.1),
            colors,
            format: format.and_then(|word| <Format as clap::ValueEnum>::from_str(&word, false).ok()),
        }
    }

    /// `--color` wins over `NO_COLOR`, that over `CLICOLOR_FORCE`, that over what the stream is.
    fn paints(&self, choice: ColorChoice, tty: bool) -> Paint {
        Paint(match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto if self.colors.no_color => false,
            ColorChoice::Auto if self.colors.force => true,
            ColorChoice::Auto => tty && !self.colors.dumb,
        })
    }
}

/// What the user asked of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// `-o`; `None`: table on a terminal, TSV elsewhere.
    pub format: Option<Format>,
    /// `--color`.
    pub color: ColorChoice,
    /// `-q`: no talk; errors stay.
    pub quiet: bool,
    /// `--reveal`: phones in full.
    pub reveal: bool,
    /// `--no-input`: never ask.
    pub no_input: bool,
}

/// How values are shown: handed to whoever draws cells.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// The present, for relative times.
    pub now: Timestamp,
    /// A person reads it: relative times, `-` for nothing.
    pub person: bool,
}

impl View {
    /// A moment: `2 min ago` for a person, RFC 3339 in UTC elsewhere.
    pub fn time(&self, at: Timestamp) -> String {
        if self.person { relative(self.now, at) } else { at.to_rfc3339() }
    }
    /// A moment that may be missing.
    pub fn time_if(&self, at: Option<Timestamp>) -> String {
        at.map_or_else(|| self.nothing(), |at| self.time(at))
    }
    /// A text that may be missing or empty.
    pub fn text_if(&self, text: Option<&str>) -> String {
        text.filter(|text| !text.is_empty()).map_or_else(|| self.nothing(), str::to_owned)
    }
    /// A span: `2 min` for a person, whole seconds elsewhere.
    pub fn span(&self, span: Duration) -> String {
        if self.person { in_words(span.as_secs()) } else { span.as_secs().to_string() }
    }
    /// What stands where there is nothing: `-` for a person, an empty cell elsewhere.
    pub fn nothing(&self) -> String {
        if self.person { "-".to_owned() } else { String::new() }
    }
}

/// A result that is one thing. JSON is its `Serialize` (an object) with `schema_version` and `kind` before it.
pub trait Render: Serialize {
    /// The `kind` in JSON.
    const KIND: &'static str;
    /// The cells of TSV, and of a table where there is no page.
    fn sheet(&self, view: &View) -> Sheet;
    /// What a person sees.
    fn page(&self, view: &View) -> Page {
        Page::new().sheet(self.sheet(view))
    }
}

/// One row of a list.
pub trait Item: Serialize {
    /// The `kind` of one row in JSON lines; the list is `<kind>_list`.
    const KIND: &'static str;
    /// The headings.
    const COLUMNS: &'static [&'static str];
    /// One cell per heading.
    fn cells(&self, view: &View) -> Vec<String>;
}

/// A result that is a list, or one page of it.
#[derive(Clone, Debug, Serialize)]
pub struct List<T> {
    /// The rows.
    pub items: Vec<T>,
    /// How many more there are behind this page.
    pub more: u64,
    /// What to give as `--after` to see them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_after: Option<String>,
    /// What to tell a person when there is no row.
    #[serde(skip)]
    pub none: &'static str,
}

impl<T> List<T> {
    /// A whole list.
    pub fn whole(items: Vec<T>, none: &'static str) -> List<T> {
        List { items, more: 0, next_after: None, none }
    }
}

/// Where results and talk go.
pub struct Streams {
    /// Results.
    pub out: Box<dyn Write + Send>,
    /// Talk.
    pub err: Box<dyn Write + Send>,
}

impl Streams {
    /// The process's own.
    pub fn standard() -> Streams {
        Streams { out: Box::new(std::io::stdout()), err: Box::new(std::io::stderr()) }
    }
}

/// A line writer that several hands may hold: logs, providers, progress.
#[derive(Clone)]
pub struct Talk(Arc<Mutex<Box<dyn Write + Send>>>);

impl Talk {
    fn new(to: Box<dyn Write + Send>) -> Talk {
        Talk(Arc::new(Mutex::new(to)))
    }
    /// Writes one line, escaped. Nobody listening is no error.
    pub fn line(&self, line: &str) {
        self.raw(&format!("{}\n", visible(line)));
    }
    /// Writes text of several lines; each is escaped on its own, so that a message keeps its shape.
    pub fn lines(&self, text: &str) {
        let lines: String = text.lines().map(|line| format!("{}\n", visible(line))).collect();
        self.raw(&lines);
    }
    /// Writes text that is already safe.
    fn raw(&self, text: &str) {
        let mut to = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The only failure is that nobody reads the talk: there is nobody to tell.
        let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
    }
}

/// The only printer.
pub struct Output {
    screen: Screen,
    wishes: Wishes,
    stdout: Box<dyn Write + Send>,
    talk: Talk,
    clock: Arc<dyn Clock>,
}

impl Output {
    /// An output to any two streams.
    pub fn to(screen: Screen, wishes: Wishes, streams: Streams) -> Output {
        let Streams { out, err } = streams;
        Output { screen, wishes, stdout: out, talk: Talk::new(err), clock: Arc::new(SystemClock) }
    }

    /// The same output with its present from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Output {
        self.clock = clock;
        self
    }

    /// The format in force.
    pub fn format(&self) -> Format {
        self.wishes.format.or(self.screen.format).unwrap_or(if self.screen.stdout_tty {
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
    pub fn screen(&self) -> &Screen {
        &self.screen
    }
    /// What the user asked of the output.
    pub fn wishes(&self) -> &Wishes {
        &self.wishes
    }
    /// A phone as it may be shown: masked, or in full with `--reveal`.
    pub fn phone(&self, phone: &Phone) -> String {
        if self.wishes.reveal { phone.as_str().to_owned() } else { phone.masked() }
    }
    /// A phone in a command to be pasted: in full where the person who typed it reads it at a terminal, else a placeholder,
    /// for what is redirected ends up in logs.
    pub fn pasted(&self, phone: &Phone) -> String {
        if self.screen.stderr_tty || self.wishes.reveal { phone.as_str().to_owned() } else { "PHONE".to_owned() }
    }
    /// A handle on stderr for logs and providers; it is not silenced by `-q`.
    pub fn talk(&self) -> Talk {
        self.talk.clone()
    }
    /// How values are shown now.
    pub fn view(&self) -> View {
        View { now: self.clock.now(), person: self.format() == Format::Table && self.screen.stdout_tty }
    }

    /// Shows a result. A reader that went away is no error; a full disk is.
    pub fn show<T: Render>(&mut self, value: &T) -> Result<()> {
        let view = self.view();
        let text = match self.format() {
            Format::Table => value.page(&view).to_text(self.screen.width, self.paint_stdout()),
            Format::Tsv => value.sheet(&view).to_tsv(),
            Format::Json => json::document(T::KIND, value, true)?,
            Format::Jsonl => json::document(T::KIND, value, false)?,
        };
        self.write(&text)
    }

    /// Shows a list.
    pub fn list<T: Item>(&mut self, list: &List<T>) -> Result<()> {
        let view = self.view();
        let sheet =
            || Sheet { columns: T::COLUMNS.to_vec(), rows: list.items.iter().map(|item| item.cells(&view)).collect() };
        let text = match self.format() {
            Format::Table => sheet().to_table(self.screen.width, self.paint_stdout()),
            Format::Tsv => sheet().to_tsv(),
            Format::Json => json::document(&format!("{}_list", T::KIND), list, true)?,
            Format::Jsonl => {
                list.items.iter().map(|item| json::document(T::KIND, item, false)).collect::<Result<_>>()?
            }
        };
        self.write(&text)?;
        if list.items.is_empty() && self.format() == Format::Table {
            self.say(list.none);
        }
        if list.more > 0 {
            let next = list.next_after.as_deref().map(|id| format!(": --after {id}")).unwrap_or_default();
            self.say(&format!("{} more{next}", list.more));
        }
        Ok(())
    }

    /// Shows prepared text of our own making (help, completions), as it is. `ansi` holds the same text with colours.
    pub fn text(&mut self, plain: &str, ansi: Option<&str>) -> Result<()> {
        match ansi {
            Some(ansi) if self.paint_stdout().0 => self.write(ansi),
            _ => self.write(plain),
        }
    }

    /// Tells the person something; silenced by `-q`.
    pub fn say(&self, line: &str) {
        if !self.wishes.quiet {
            self.talk.line(line);
        }
    }
    /// Something to look at that stops nothing; silenced by `-q`.
    pub fn warn(&self, line: &str) {
        if !self.wishes.quiet {
            self.talk.raw(&format!("{} {}\n", self.paint_stderr().yellow("warning:"), visible(line)));
        }
    }
    /// A next step; silenced by `-q`.
    pub fn hint(&self, line: &str) {
        if !self.wishes.quiet {
            self.talk.raw(&format!("{} {}\n", self.paint_stderr().cyan("hint:"), visible(line)));
        }
    }

    /// Prints an error on stderr, as text or as one JSON object, and tells its class. `-q` does not silence it.
    pub fn fail(&self, error: &Error) -> Class {
        self.tell("error:", error, None)
    }

    /// Prints an error with more about it in JSON.
    pub fn fail_with(&self, error: &Error, details: Value) -> Class {
        self.tell("error:", error, Some(details))
    }

    /// Prints a refusal, "no" as an answer: like an error, but named so, and in JSON with its `details` (which limit, its
    /// window, how full it is).
    pub fn refuse(&self, refusal: &Error, details: Value) -> Class {
        self.tell("refused:", refusal, Some(details))
    }

    fn tell(&self, label: &str, error: &Error, details: Option<Value>) -> Class {
        let class = error.class();
        if self.is_json() {
            self.talk.raw(&json::compact(&error_json(error, details)));
            return class;
        }
        let paint = self.paint_stderr();
        let mut text = match class {
            // It was asked for, so it is no error.
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
        self.talk.raw(&text);
        class
    }

    /// Prints a usage error in the parser's own words, which quote what was typed: escaped and cut.
    pub fn fail_usage(&self, rendered: &str, message: &str, hint: Option<&str>) -> Class {
        if self.is_json() {
            let mut error = Error::new(Code::USAGE, visible_lines(message, 2000));
            if let Some(hint) = hint {
                error = error.hint(visible_lines(hint, 2000));
            }
            return self.fail(&error);
        }
        self.talk.raw(&format!("{}\n", visible_lines(rendered.trim_end(), 4000)));
        Class::Usage
    }

    fn paint_stdout(&self) -> Paint {
        self.screen.paints(self.wishes.color, self.screen.stdout_tty)
    }
    fn paint_stderr(&self) -> Paint {
        self.screen.paints(self.wishes.color, self.screen.stderr_tty)
    }

    fn write(&mut self, text: &str) -> Result<()> {
        match self.stdout.write_all(text.as_bytes()).and_then(|()| self.stdout.flush()) {
            // `smsotp list | head -1`: the reader has what it wanted.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(Error::new(Code::FILE_FAILED, "cannot write the result to standard output")
                .because(error)
                .hint("Whatever the command did is done: make room, and look with `smsotp list` before you repeat it")),
            Ok(()) => Ok(()),
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

/// A text that may quote what was typed, cut where it says nothing new.
fn cut(text: &str) -> Cow<'_, str> {
    const LONGEST: usize = 1000;
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => Cow::Owned(format!("{}…", &text[..at])),
        None => Cow::Borrowed(text),
    }
}

fn causes(error: &Error) -> Vec<String> {
    // A chain longer than this says nothing new.
    const CAUSES_MAX: usize = 8;
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next.filter(|_| causes.len() < CAUSES_MAX) {
        let text = cut(&cause.to_string()).into_owned();
        // Some layers only repeat the one above them.
        if !causes.iter().any(|said: &String| text.contains(said.as_str())) {
            causes.push(text);
        }
        next = cause.source();
    }
    causes
}

fn relative(now: Timestamp, at: Timestamp) -> String {
    const MONTH: u64 = 30 * 24 * 3600;
    let (past, future) = (now.since(at).as_secs(), at.since(now).as_secs());
    match (past, future) {
        (0, 0) => "now".to_owned(),
        (past, _) if past > MONTH => at.datetime().format("%Y-%m-%d").to_string(),
        (_, future) if future > MONTH => at.datetime().format("%Y-%m-%d").to_string(),
        // To the nearest minute: a life of ten minutes starts as "in 10 min", not as "in 9 min".
        (0, future) if (60..3570).contains(&future) => format!("in {} min", (future + 30) / 60),
        (0, future) => format!("in {}", in_words(future)),
        (past, _) => format!("{} ago", in_words(past)),
    }
}

/// Whole seconds in the largest unit that fits, rounded down.
fn in_words(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
