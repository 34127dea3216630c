//! Progress of something long: a bar on a terminal, a line every ten seconds elsewhere, nothing with `-q`.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::escape::visible;
use super::printer::Output;
use super::writer::MessageWriter;
use crate::clock::{Clock, Timestamp};

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// What ends sooner needs no bar.
const BAR_AFTER: Duration = Duration::from_millis(500);

/// Progress of one long operation. It disappears when dropped, before the result is shown.
pub struct Progress(Display);

enum Display {
    Nothing,
    /// Drawn once it has taken long enough to be worth reading.
    Bar {
        bar: ProgressBar,
        clock: Arc<dyn Clock>,
        since: Timestamp,
    },
    Lines {
        stderr: MessageWriter,
        what: String,
        total: Option<u64>,
        clock: Arc<dyn Clock>,
        last: Timestamp,
    },
}

impl Output {
    /// Starts to show progress; `total` where it is known.
    pub fn progress(&self, what: &str, total: Option<u64>) -> Progress {
        let what = visible(what).into_owned();
        Progress(if self.options.quiet {
            Display::Nothing
        } else if self.terminal.stderr_tty && !self.terminal.colors.dumb {
            let clock = Arc::clone(&self.clock);
            let since = clock.now();
            Display::Bar { bar: bar(what, total), clock, since }
        } else {
            let clock = Arc::clone(&self.clock);
            let last = clock.now();
            Display::Lines { stderr: self.stderr.clone(), what, total, clock, last }
        })
    }
}

impl Progress {
    /// Shows how much is done.
    pub fn advance_to(&mut self, done: u64) {
        match &mut self.0 {
            Display::Nothing => {}
            Display::Bar { bar, clock, since } => {
                if bar.is_hidden() && clock.now().since(*since) >= BAR_AFTER {
                    bar.set_draw_target(ProgressDrawTarget::stderr());
                }
                bar.set_position(done);
            }
            Display::Lines { stderr, what, total, clock, last } => {
                let now = clock.now();
                if now.since(*last) >= LINE_EVERY {
                    *last = now;
                    let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
                    stderr.line(&format!("{what}: {done}{of}"));
                }
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Display::Bar { bar, .. } = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn bar(what: String, total: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
    let template = if total.is_some() {
        "{msg} {bar:30} {human_pos} of {human_len} · {eta} left"
    } else {
        "{msg} {spinner} {human_pos}"
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}
