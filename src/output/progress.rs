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
        clock: Arc<dyn Clock>,
        last: Timestamp,
    },
}

impl Output {
    /// Starts to show progress.
    pub fn progress(&self, what: &str) -> Progress {
        let what = visible(what).into_owned();
        Progress(if self.options.quiet {
            Display::Nothing
        } else if self.terminal.stderr_tty && !self.terminal.colors.dumb {
            let clock = Arc::clone(&self.clock);
            let since = clock.now();
            Display::Bar { bar: bar(what), clock, since }
        } else {
            let clock = Arc::clone(&self.clock);
            let last = clock.now();
            Display::Lines { stderr: self.stderr.clone(), what, clock, last }
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
            Display::Lines { stderr, what, clock, last } => {
                let now = clock.now();
                if now.since(*last) >= LINE_EVERY {
                    *last = now;
                    stderr.line(&format!("{what}: {done}"));
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

fn bar(what: String) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    if let Ok(style) = ProgressStyle::with_template("{msg} {spinner} {human_pos}") {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}
