//! Ctrl-C and SIGTERM: a command with something to settle gets a few seconds; a second signal ends the process at once.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;

use crate::error::{Class, Code, Error, Result};
use crate::output::SavedTerminal;

/// How long a verb may take to settle after the first signal.
const SETTLE_MAX: Duration = Duration::from_secs(5);

const NONE: u8 = 0;
const INT: u8 = 1;
const TERM: u8 = 2;

/// Which signal came first. Nothing is watched until [`Signals::watch`] or [`Signals::hold`].
#[derive(Default)]
pub struct Signals {
    state: Arc<State>,
    watched: OnceLock<()>,
}

#[derive(Default)]
struct State {
    /// The first signal, or `NONE`.
    first: AtomicU8,
    /// How many verbs have something to settle right now.
    holds: AtomicU8,
    /// How many milliseconds it may take to settle, where that is more than [`SETTLE_MAX`].
    settle_ms: AtomicU64,
    arrived: Notify,
}

/// While one is held, the first signal does not end the process at once.
pub struct Hold<'a>(&'a Signals);

impl Signals {
    /// Starts to watch on a thread of its own: from now on a signal restores the terminal and exits with 130 or 143.
    pub fn watch(&self) {
        self.watched.get_or_init(|| {
            let (state, found) = (Arc::clone(&self.state), SavedTerminal::save());
            // Caught before the thread begins: a signal in between would leave the terminal without echo after a hidden prompt. Where it cannot
            // be caught the system's defaults hold: the process still ends on a signal.
            if let Ok(source) = Source::new() {
                let watcher = move || watch(&state, &found, source);
                let _ = std::thread::Builder::new().name("signals".to_owned()).spawn(watcher);
            }
        });
    }

    /// From now until the answer is dropped, the first signal only requests the end: the command settles, then leaves with
    /// [`Signals::interrupted`]. After five seconds, or on a second signal, the process exits all the same.
    pub fn hold(&self) -> Hold<'_> {
        self.watch();
        self.state.holds.fetch_add(1, Ordering::SeqCst);
        Hold(self)
    }

    /// As [`Signals::hold`], for a verb that may take longer than five seconds to settle.
    pub fn hold_for(&self, most: Duration) -> Hold<'_> {
        self.state.settle_ms.store(u64::try_from(most.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
        self.hold()
    }

    /// The signal is how the command is meant to end: it ends well, and not as one that was interrupted.
    pub fn heeded(&self) {
        self.state.first.store(NONE, Ordering::SeqCst);
    }

    /// The first signal as an error, if there was one: for loops that look between two batches.
    pub fn interrupted(&self) -> Result<()> {
        match self.state.first.load(Ordering::SeqCst) {
            NONE => Ok(()),
            signal => Err(error_of(signal)),
        }
    }

    /// Waits for the first signal: for `select!`.
    pub async fn wait(&self) -> Error {
        loop {
            let arrived = self.state.arrived.notified();
            if let Err(error) = self.interrupted() {
                return error;
            }
            arrived.await;
        }
    }

    /// Blocks until the first signal, or until `ended`.
    pub fn block_until(&self, ended: impl Fn() -> bool) {
        self.watch();
        while self.state.first.load(Ordering::SeqCst) == NONE && !ended() {
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// A command's class, where a signal that arrived turns "done" into "interrupted".
    pub fn class_of(&self, result: Result<Class>) -> Result<Class> {
        match result {
            Ok(Class::Done) => self.interrupted().map(|()| Class::Done),
            other => other,
        }
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.state.holds.fetch_sub(1, Ordering::SeqCst);
    }
}

fn error_of(signal: u8) -> Error {
    if signal == TERM {
        Error::new(Code::TERMINATED, "terminated")
    } else {
        Error::new(Code::INTERRUPTED, "interrupted")
    }
}

/// Ends the process without waiting for what is still to be settled.
fn end(found: &SavedTerminal, signal: u8) -> ! {
    found.restore();
    std::process::exit(i32::from(error_of(signal).class().exit()));
}

/// What the watcher's thread does: it stores the first signal; a command that holds gets its time, or ends with the second signal.
fn watch(state: &State, found: &SavedTerminal, mut source: Source) {
    let Some(signal) = source.next() else { return };
    found.end_line();
    // Read before the signal is stored: who settles at once lets go of its hold at once.
    let held = state.holds.load(Ordering::SeqCst) > 0;
    state.first.store(signal, Ordering::SeqCst);
    state.arrived.notify_waiters();
    if held {
        let settle = Duration::from_millis(state.settle_ms.load(Ordering::SeqCst)).max(SETTLE_MAX);
        let at_last = found.clone();
        let end_late = move || {
            std::thread::sleep(settle);
            end(&at_last, signal)
        };
        // Without the thread the second signal still ends it.
        let _ = std::thread::Builder::new().name("settling".to_owned()).spawn(end_late);
        source.next();
    }
    end(found, signal)
}

/// Where signals come from: caught from the moment when it is made, whichever thread they hit.
#[cfg(unix)]
struct Source(signal_hook::iterator::Signals);

#[cfg(unix)]
impl Source {
    fn new() -> std::io::Result<Source> {
        use signal_hook::consts::{SIGINT, SIGTERM};
        signal_hook::iterator::Signals::new([SIGINT, SIGTERM]).map(Source)
    }

    /// Waits for one.
    fn next(&mut self) -> Option<u8> {
        self.0.forever().next().map(|signal| if signal == signal_hook::consts::SIGTERM { TERM } else { INT })
    }
}

#[cfg(not(unix))]
struct Source(tokio::runtime::Runtime);

#[cfg(not(unix))]
impl Source {
    fn new() -> std::io::Result<Source> {
        tokio::runtime::Builder::new_current_thread().enable_all().build().map(Source)
    }

    fn next(&mut self) -> Option<u8> {
        self.0.block_on(tokio::signal::ctrl_c()).is_ok().then_some(INT)
    }
}
