//! Progress of something long: a bar on a terminal, a line every ten seconds elsewhere, nothing with `-q`.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Output, Talk, visible};
use crate::clock::{Clock, Timestamp};

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// What is over sooner needs no bar.
const BAR_AFTER: Duration = Duration::from_millis(500);

/// Progress of one long operation. It disappears when dropped; the final word is the result's.
pub struct Progress(Shown);

enum Shown {
    Nothing,
    /// Drawn once it has taken long enough to be worth reading.
    Bar {
        bar: ProgressBar,
        clock: Arc<dyn Clock>,
        since: Timestamp,
    },
    Lines {
        talk: Talk,
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
        Progress(if self.wishes.quiet {
            Shown::Nothing
        } else if self.screen.stderr_tty && !self.screen.colors.dumb {
            let clock = Arc::clone(&self.clock);
            let since = clock.now();
            Shown::Bar { bar: bar(what, total), clock, since }
        } else {
            let clock = Arc::clone(&self.clock);
            let last = clock.now();
            Shown::Lines { talk: self.talk.clone(), what, total, clock, last }
        })
    }
}

impl Progress {
    /// Tells how much is done.
    pub fn at(&mut self, done: u64) {
        match &mut self.0 {
            Shown::Nothing => {}
            Shown::Bar { bar, clock, since } => {
                if bar.is_hidden() && clock.now().since(*since) >= BAR_AFTER {
                    bar.set_draw_target(ProgressDrawTarget::stderr());
                }
                bar.set_position(done);
            }
            Shown::Lines { talk, what, total, clock, last } => {
                let now = clock.now();
                if now.since(*last) >= LINE_EVERY {
                    *last = now;
                    let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
                    talk.line(&format!("{what}: {done}{of}"));
                }
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Shown::Bar { bar, .. } = &self.0 {
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
