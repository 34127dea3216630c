//! The write-ahead log of a writer that never rests: a thread beside it moves the log into the database, and the writer itself
//! only the last bit, so that the log starts over and nobody who waits for an answer waits for that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::{Sqlite, trouble};
use crate::error::Result;

/// From this length of the log on it is moved, in pages of 4 KiB.
const LONG: u32 = if cfg!(test) { 64 } else { 2048 };

/// From this length on the writer moves what is left, however much it is.
pub(super) const TOO_LONG: u32 = if cfg!(test) { 256 } else { 16_384 };

/// So much the writer moves in passing.
const REST: u32 = 128;

/// How often the mover follows a log that grows while it is being moved.
const PASSES: u32 = 4;

/// What the threads know of the log.
#[derive(Default)]
pub struct Log {
    /// Its length, in pages.
    pages: AtomicU32,
    /// What is left to move is little.
    nearly_moved: AtomicBool,
}

impl Log {
    /// The log as this connection writes it. Nothing but [`Moving`] moves it from now on.
    pub fn watched(writing: &mut Connection) -> Result<Arc<Log>> {
        let log = Arc::new(Log::default());
        // The hook comes second: this setting is one as well.
        writing.pragma_update(None, "wal_autocheckpoint", 0).map_err(trouble)?;
        let seen = Arc::clone(&log);
        let hook = move |_: &mut rusqlite::hooks::Wal, pages: std::ffi::c_int| {
            seen.pages.store(u32::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        };
        writing.wal_hook(Some(hook)).map_err(trouble)?;
        Ok(log)
    }
}

/// The thread that moves the log, and the writer's part in it.
pub struct Moving {
    log: Arc<Log>,
    nudge: SyncSender<()>,
    mover: Option<JoinHandle<()>>,
    /// The writer moves everything when the log is as long as this.
    patience: u32,
}

impl Moving {
    /// Starts the thread. Without it the writer moves the log itself, later.
    pub fn begin(mover: Connection, log: Arc<Log>) -> Moving {
        let (nudge, nudged) = sync_channel::<()>(1);
        let seen = Arc::clone(&log);
        let follow = move || {
            while nudged.recv().is_ok() {
                follow(&mover, &seen);
            }
        };
        let mover = std::thread::Builder::new().name("log mover".to_owned()).spawn(follow).ok();
        Moving { log, nudge, mover, patience: TOO_LONG }
    }

    /// After a commit, when everyone has been answered.
    pub fn look(&mut self, sqlite: &Sqlite) {
        let pages = self.log.pages.load(Ordering::Relaxed);
        if pages < LONG {
            self.patience = TOO_LONG;
            self.log.nearly_moved.store(false, Ordering::Relaxed);
        } else if self.log.nearly_moved.swap(false, Ordering::Relaxed) || pages >= self.patience {
            let _ = move_on(&sqlite.connection());
            // Where a reader stands in the way it is tried again, but not after every commit.
            self.patience = pages.saturating_add(LONG);
        } else {
            let _ = self.nudge.try_send(());
        }
    }

    /// Waits for the thread.
    pub fn end(self) {
        drop(self.nudge);
        if let Some(mover) = self.mover {
            let _ = mover.join();
        }
    }
}

/// Moves the log as far as it goes, and again what has come meanwhile, until little is left.
fn follow(mover: &Connection, log: &Log) {
    let mut before = 0;
    for _ in 0..PASSES {
        let Ok(moved) = move_on(mover) else { return };
        if log.pages.load(Ordering::Relaxed).saturating_sub(moved) <= REST {
            log.nearly_moved.store(true, Ordering::Relaxed);
            return;
        }
        if moved <= before {
            return;
        }
        before = moved;
    }
}

/// A checkpoint that waits for nobody. Answers how many pages of the log are in the database now.
fn move_on(connection: &Connection) -> Result<u32> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(2)).map_err(trouble)
}
