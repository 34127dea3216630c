//! Where results and messages are written.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use super::escape::visible;

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
pub struct MessageWriter(Arc<Mutex<Box<dyn Write + Send>>>);

impl MessageWriter {
    pub(super) fn new(to: Box<dyn Write + Send>) -> MessageWriter {
        MessageWriter(Arc::new(Mutex::new(to)))
    }
    /// Writes one line, escaped. A closed stream is no error.
    pub fn line(&self, line: &str) {
        self.raw(&format!("{}\n", visible(line)));
    }
    /// Writes text of several lines; each is escaped on its own, so that a message keeps its shape.
    pub fn lines(&self, text: &str) {
        let lines: String = text.lines().map(|line| format!("{}\n", visible(line))).collect();
        self.raw(&lines);
    }
    /// Writes text that is already safe.
    pub(super) fn raw(&self, text: &str) {
        let mut to = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // If stderr is closed, there is nowhere to report it.
        let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
    }
}
