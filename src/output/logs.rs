//! Logs: steps of our own crate on stderr. Other crates log warnings at most, so that no header, body or statement is written.

use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::escape::visible;
use super::printer::Output;
use super::writer::MessageWriter;

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogForm {
    /// For people; without the time, which the journal adds.
    Text,
    /// One JSON object a line, with the time.
    Json,
}

/// Starts the logs, once per process: 1 shows what a server answers, 2 the steps of each send, 3 each operation in the database;
/// `rust_log` is the value of `RUST_LOG`.
///
/// With 0 and without `RUST_LOG` nothing is started.
pub fn start_logs(output: &Output, verbosity: u8, rust_log: Option<&str>, form: LogForm) {
    if verbosity == 0 && rust_log.is_none_or(str::is_empty) {
        return;
    }
    let format = tracing_subscriber::fmt::layer()
        .with_writer(LogWriter(output.message_writer()))
        .with_ansi(false)
        .with_target(verbosity > 2)
        .without_time();
    let logs = tracing_subscriber::registry().with(filter(verbosity, rust_log));
    let started = match form {
        LogForm::Text => logs.with(format).try_init(),
        LogForm::Json => {
            let json = tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(false);
            logs.with(json.with_span_list(false).with_writer(LogWriter(output.message_writer()))).try_init()
        }
    };
    if started.is_err() {
        output.warn("logs were already started in this process: -v and RUST_LOG change nothing");
    }
}

/// What may be logged: our crate as requested, everything else warnings at most.
fn filter(verbosity: u8, rust_log: Option<&str>) -> Targets {
    let ours = match verbosity {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let requested: Targets = rust_log.and_then(|text| text.parse().ok()).unwrap_or_default();
    let mut filter = Targets::new().with_target("smsotp", ours);
    let mut everything = LevelFilter::OFF;
    for (target, level) in requested.iter() {
        let own = target == "smsotp" || target.starts_with("smsotp::");
        filter = filter.with_target(target, if own { level.max(ours) } else { level.min(LevelFilter::WARN) });
    }
    if let Some(level) = requested.default_level() {
        everything = level.min(LevelFilter::WARN);
        if !requested.iter().any(|(target, _)| target == "smsotp") {
            filter = filter.with_target("smsotp", level.max(ours));
        }
    }
    filter.with_default(if verbosity > 0 { everything.max(LevelFilter::WARN) } else { everything })
}

/// Turns the log's bytes into escaped lines.
struct LogWriter(MessageWriter);

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = EscapingWriter<'a>;
    fn make_writer(&'a self) -> EscapingWriter<'a> {
        EscapingWriter(&self.0)
    }
}

struct EscapingWriter<'a>(&'a MessageWriter);

impl io::Write for EscapingWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        for line in text.lines() {
            self.0.raw(&format!("{}\n", visible(line)));
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn other_crates_log_warnings_at_most() {
        for rust_log in [None, Some("trace"), Some("reqwest=trace,hyper=debug,smsotp=trace"), Some("rusqlite=trace")] {
            for verbosity in 0..4 {
                let filter = filter(verbosity, rust_log);
                for target in ["reqwest", "hyper::proto", "rusqlite", "rustls"] {
                    assert!(!filter.would_enable(target, &Level::INFO), "{target} {verbosity} {rust_log:?}");
                }
            }
        }
    }

    #[test]
    fn verbosity_and_rust_log_raise_our_own_level() {
        assert!(!filter(0, None).would_enable("smsotp::engine", &Level::INFO));
        assert!(filter(1, None).would_enable("smsotp::engine", &Level::INFO));
        assert!(!filter(1, None).would_enable("smsotp::engine", &Level::DEBUG));
        assert!(filter(2, None).would_enable("smsotp::engine", &Level::DEBUG));
        assert!(!filter(2, None).would_enable("smsotp::engine", &Level::TRACE));
        assert!(filter(3, None).would_enable("smsotp::engine", &Level::TRACE));
        assert!(filter(0, Some("debug")).would_enable("smsotp::engine", &Level::DEBUG));
        assert!(filter(1, Some("smsotp=error")).would_enable("smsotp::engine", &Level::INFO));
        assert!(filter(1, Some("not a filter ==")).would_enable("smsotp::engine", &Level::INFO));
    }
}
