//! Ctrl-C and SIGTERM: a verb with something to settle gets a few seconds, a second signal gets its way at once.

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

/// What the process was told. Nothing is watched until [`Signals::watch`] or [`Signals::hold`].
pub struct Signals {
    state: Arc<State>,
    watched: OnceLock<()>,
}

#[derive(Default)]
struct State {
    /// The first signal, or `NONE`.
    told: AtomicU8,
    /// How many verbs have something to settle right now.
    holds: AtomicU8,
    /// How many milliseconds it may take to settle, where that is more than [`SETTLE_MAX`].
    settle_ms: AtomicU64,
    arrived: Notify,
}

/// While one is held, the first signal does not end the process at once.
pub struct Hold<'a>(&'a Signals);

impl Signals {
    /// Watches nothing yet.
    pub fn new() -> Signals {
        Signals { state: Arc::default(), watched: OnceLock::new() }
    }

    /// Starts to watch on a thread of its own: from now on a signal restores the terminal and exits with 130 or 143.
    pub fn watch(&self) {
        self.watched.get_or_init(|| {
            let (state, found) = (Arc::clone(&self.state), SavedTerminal::save());
            // Caught before the thread begins: a signal in between would leave a hidden prompt's terminal mute. Where it cannot
            // be caught the system's defaults hold: the process still ends on a signal.
            if let Ok(source) = Source::new() {
                let watcher = move || watch(&state, &found, source);
                let _ = std::thread::Builder::new().name("signals".to_owned()).spawn(watcher);
            }
        });
    }

    /// From now until the answer is dropped, the first signal only asks: the verb settles, then leaves with
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

    /// The verb did what the signal asked for: it ends well, and not as one that was interrupted.
    pub fn heeded(&self) {
        self.state.told.store(NONE, Ordering::SeqCst);
    }

    /// The first signal as an error, if there was one: for loops that look between two batches.
    pub fn interrupted(&self) -> Result<()> {
        match self.state.told.load(Ordering::SeqCst) {
            NONE => Ok(()),
            told => Err(error_of(told)),
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

    /// Blocks until the first signal.
    pub fn block(&self) {
        self.watch();
        while self.state.told.load(Ordering::SeqCst) == NONE {
            std::thread::park_timeout(Duration::from_millis(200));
        }
    }

    /// A verb's class, where a signal that arrived turns "done" into "interrupted": the caller asked it to stop.
    pub fn class_of(&self, result: Result<Class>) -> Result<Class> {
        match result {
            Ok(Class::Done) => self.interrupted().map(|()| Class::Done),
            other => other,
        }
    }
}

impl Default for Signals {
    fn default() -> Self {
        Signals::new()
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.state.holds.fetch_sub(1, Ordering::SeqCst);
    }
}

fn error_of(told: u8) -> Error {
    if told == TERM { Error::new(Code::TERMINATED, "terminated") } else { Error::new(Code::INTERRUPTED, "interrupted") }
}

/// Ends the process: nobody settles any more.
fn end(found: &SavedTerminal, told: u8) -> ! {
    found.restore();
    std::process::exit(i32::from(error_of(told).class().exit()));
}

/// The life of the watcher. The first signal is told; who holds gets its time, or ends with the second.
fn watch(state: &State, found: &SavedTerminal, mut source: Source) {
    let Some(told) = source.next() else { return };
    // Asked before anybody is told: whoever settles at once lets go of its hold at once.
    let held = state.holds.load(Ordering::SeqCst) > 0;
    state.told.store(told, Ordering::SeqCst);
    state.arrived.notify_waiters();
    if held {
        let settle = Duration::from_millis(state.settle_ms.load(Ordering::SeqCst)).max(SETTLE_MAX);
        let at_last = found.clone();
        let patience = move || {
            std::thread::sleep(settle);
            end(&at_last, told)
        };
        // Without the thread the second signal still ends it.
        let _ = std::thread::Builder::new().name("settling".to_owned()).spawn(patience);
        source.next();
    }
    end(found, told)
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
