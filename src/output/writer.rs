//! Where results and messages are written.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use super::escape::visible;
use super::json::{self, SCHEMA_VERSION};

/// Where results and messages go.
pub struct Streams {
    /// Results.
    pub out: Box<dyn Write + Send>,
    /// Messages.
    pub err: Box<dyn Write + Send>,
}

impl Streams {
    /// The process's own.
    pub fn standard() -> Streams {
        Streams { out: Box::new(std::io::stdout()), err: Box::new(std::io::stderr()) }
    }
}

/// Writes lines to stderr, for several users at once: logs, providers, progress.
#[derive(Clone)]
pub struct MessageWriter {
    to: Arc<Mutex<Box<dyn Write + Send>>>,
    /// Results are JSON, and so is each line here.
    json: bool,
}

impl MessageWriter {
    pub(super) fn new(to: Box<dyn Write + Send>) -> MessageWriter {
        MessageWriter { to: Arc::new(Mutex::new(to)), json: false }
    }
    pub(super) fn in_json(self, json: bool) -> MessageWriter {
        MessageWriter { json, ..self }
    }
    /// Writes one line, escaped. A closed stream is no error.
    pub fn line(&self, line: &str) {
        match self.json {
            true => self.json("note", line),
            false => self.raw(&format!("{}\n", visible(line))),
        }
    }
    /// Writes text of several lines; each is escaped on its own, so that a message keeps its shape. In JSON it is one object.
    pub fn lines(&self, text: &str) {
        if self.json {
            return self.json("text", text);
        }
        let lines: String = text.lines().map(|line| format!("{}\n", visible(line))).collect();
        self.raw(&lines);
    }
    /// Writes a text under its kind as one JSON object on a line.
    pub(super) fn json(&self, kind: &str, text: &str) {
        self.raw(&json::compact(&serde_json::json!({ "schema_version": SCHEMA_VERSION, kind: { "message": text } })));
    }
    /// Writes text that is already safe.
    pub(super) fn raw(&self, text: &str) {
        let mut to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        // If stderr is closed, there is nowhere to report it.
        let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
    }
}
