//! A fair wait between processes for the one writer's place of a SQLite file.
//!
//! SQLite's own busy handler sleeps and tries, and starves whoever sleeps longer: of 16 processes one got a single
//! transaction through while another got 6130 (measured; see `benches/`). Here a waiter holds the "next" lock while it
//! waits for the "current" one, so that whoever just finished cannot take the place again before the one who waits.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// So many turns a process may take while others wait before it lets them in front: handing the place to another process
/// costs about as much as a deed, and keeping it makes others wait.
const TURNS: u32 = 20;

/// The pause in which it does so.
const BREATH: Duration = Duration::from_micros(100);

/// So long the next one looks without a pause: a few deeds. One process for each database does so at most.
const LOOKING: Duration = Duration::from_millis(1);

/// And then so often: where somebody holds the place for long, such as a purge.
const LOOK_AGAIN: Duration = Duration::from_micros(200);

/// The two lock files beside the books.
pub struct Queue {
    database: PathBuf,
    /// Opened by the first one who waits: whoever only reads has no use for them.
    files: OnceLock<Files>,
    /// How many turns we had in a crowd since we last let others in front.
    crowded: AtomicU32,
}

struct Files {
    current: File,
    next: File,
}

/// The writer's place; given up when dropped.
pub struct Turn<'a>(&'a Files);

/// Where the lock files of a database are.
pub fn lock_paths(database: &Path) -> [PathBuf; 2] {
    ["-turn", "-next"].map(|suffix| {
        let mut name = database.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    })
}

impl Queue {
    /// The queue for `database`.
    pub fn of(database: &Path) -> Queue {
        Queue { database: database.to_owned(), files: OnceLock::new(), crowded: AtomicU32::new(0) }
    }

    /// Opens (or makes, 0600) the lock files, once.
    fn files(&self) -> io::Result<&Files> {
        if let Some(files) = self.files.get() {
            return Ok(files);
        }
        let [current, next] = lock_paths(&self.database);
        let files = Files { current: open(&current)?, next: open(&next)? };
        Ok(self.files.get_or_init(|| files))
    }

    /// Waits for the writer's place, at most `patience`. `Ok(None)`: somebody held it all the time.
    pub fn take(&self, patience: Duration) -> io::Result<Option<Turn<'_>>> {
        let files = self.files()?;
        if self.crowded.load(Ordering::Relaxed) >= TURNS {
            // Whoever waits has to wake up first; without a breath we would be in front of it again, and again.
            self.crowded.store(0, Ordering::Relaxed);
            thread::sleep(BREATH);
        }
        // Nobody waits and nobody writes: two system calls, no queue.
        if try_lock(&files.next)? {
            let free = try_lock(&files.current);
            if !matches!(free, Ok(false)) {
                files.next.unlock()?;
                return free.map(|_| Some(Turn(files)));
            }
        } else if !lock_within(&files.next, patience)? {
            return Ok(None);
        }
        self.crowded.fetch_add(1, Ordering::Relaxed);
        let taken = lock_soon(&files.current, patience);
        files.next.unlock()?;
        Ok(taken?.then_some(Turn(files)))
    }
}

impl Turn<'_> {
    /// True where somebody waits for the place: asked by work that could end early.
    pub fn is_wanted(&self) -> bool {
        // Whoever waits holds the other lock meanwhile.
        match try_lock(&self.0.next) {
            Ok(true) => self.0.next.unlock().is_err(),
            Ok(false) | Err(_) => true,
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // The lock also ends with the file handle, so a failure here can only delay others until then.
        let _ = self.0.current.unlock();
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Waits for a lock that nobody else waits for, and that is held no longer than a deed takes. Being woken by another process
/// takes about as long as the deed, so whoever is next looks again and again for a moment, and then more seldom.
fn lock_soon(file: &File, patience: Duration) -> io::Result<bool> {
    let begun = Instant::now();
    loop {
        if try_lock(file)? {
            return Ok(true);
        }
        match begun.elapsed() {
            waited if waited >= patience => return Ok(false),
            waited if waited < LOOKING => thread::yield_now(),
            _ => thread::sleep(LOOK_AGAIN),
        }
    }
}

/// Waits for a lock in the kernel's queue, which wakes waiters in their order, but only for so long: the blocking call
/// runs on a thread of its own that is left behind when patience ends (the lock goes with the process at the latest).
fn lock_within(file: &File, patience: Duration) -> io::Result<bool> {
    if try_lock(file)? {
        return Ok(true);
    }
    let handle = file.try_clone()?;
    let (tell, told) = mpsc::sync_channel::<io::Result<()>>(0);
    thread::Builder::new().name("waits for its turn".into()).spawn(move || {
        let locked = handle.lock();
        if tell.send(locked).is_err() {
            // Nobody waits any more: do not keep a place that is not used.
            let _ = handle.unlock();
        }
    })?;
    match told.recv_timeout(patience) {
        Ok(locked) => locked.map(|()| true),
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_patience_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("books.db");
        let (a, b) = (Queue::of(&path), Queue::of(&path));

        let turn = a.take(Duration::from_secs(5)).unwrap().unwrap();
        assert!(b.take(Duration::from_millis(30)).unwrap().is_none());
        drop(turn);

        let turn = b.take(Duration::from_secs(5)).unwrap();
        assert!(turn.is_some());
    }
}
