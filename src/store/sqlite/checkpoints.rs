//! Checkpoints for a busy writer: a separate thread copies most of the write-ahead log into the database while the writer goes on, and
//! the writer copies only the last pages. Then the log is reset, and callers have waited for those few pages only.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use rusqlite::Connection;

use crate::error::Result;

/// The log is copied once it has this many pages of 4 KiB.
const LONG: u32 = if cfg!(test) { 64 } else { 2048 };

/// Once it has this many, the writer copies all that is left.
pub(super) const TOO_LONG: u32 = if cfg!(test) { 256 } else { 16_384 };

/// How many pages the writer may copy itself.
const FEW: u32 = 128;

/// How often the thread starts again because the log has grown meanwhile.
const PASSES: u32 = 4;

/// The state of the log, shared by both threads.
#[derive(Default)]
struct Log {
    /// Its length, in pages.
    pages: AtomicU32,
    /// Whether only a few pages are left to copy.
    nearly_copied: AtomicBool,
}

/// The writer's side.
pub struct Checkpoints {
    log: Arc<Log>,
    wake: SyncSender<()>,
    thread: Option<JoinHandle<()>>,
    /// At this length the writer copies everything.
    limit: u32,
}

impl Checkpoints {
    /// Takes over the checkpoints of the writer's connection; the thread uses a connection of its own. If the thread cannot start, the
    /// writer copies the log itself, later.
    pub fn begin(writing: &mut Connection, copying: Connection) -> Result<Checkpoints> {
        let log = Arc::new(Log::default());
        // Before the hook: this setting installs a hook of its own.
        writing.pragma_update(None, "wal_autocheckpoint", 0)?;
        let seen = Arc::clone(&log);
        let hook = move |_: &mut rusqlite::hooks::Wal, pages: std::ffi::c_int| {
            seen.pages.store(u32::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        };
        writing.wal_hook(Some(hook))?;
        let (wake, woken) = sync_channel::<()>(1);
        let seen = Arc::clone(&log);
        let work = move || {
            while woken.recv().is_ok() {
                copy_nearly_all(&copying, &seen);
            }
        };
        let thread = std::thread::Builder::new().name("checkpoints".to_owned()).spawn(work).ok();
        Ok(Checkpoints { log, wake, thread, limit: TOO_LONG })
    }

    /// To be called after each commit, once the callers have their answers.
    pub fn after_commit(&mut self, writing: &Connection) {
        let pages = self.log.pages.load(Ordering::Relaxed);
        if pages < LONG {
            self.limit = TOO_LONG;
            self.log.nearly_copied.store(false, Ordering::Relaxed);
        } else if self.log.nearly_copied.swap(false, Ordering::Relaxed) || pages >= self.limit {
            let _ = copy(writing);
            // If a reader prevents it, try again later, but not after every commit.
            self.limit = pages.saturating_add(LONG);
        } else {
            let _ = self.wake.try_send(());
        }
    }

    /// Waits for the thread to end.
    pub fn end(self) {
        drop(self.wake);
        if let Some(thread) = self.thread {
            let _ = thread.join();
        }
    }
}

/// Copies the log, and what was added meanwhile, until few pages are left.
fn copy_nearly_all(connection: &Connection, log: &Log) {
    let mut before = 0;
    for _ in 0..PASSES {
        let Ok(copied) = copy(connection) else { return };
        if log.pages.load(Ordering::Relaxed).saturating_sub(copied) <= FEW {
            log.nearly_copied.store(true, Ordering::Relaxed);
            return;
        }
        if copied <= before {
            return;
        }
        before = copied;
    }
}

/// A checkpoint that waits for nobody. Returns how many pages of the log are in the database now.
fn copy(connection: &Connection) -> Result<u32> {
    Ok(connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(2))?)
}
