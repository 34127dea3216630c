//! A fair queue of processes that want to write to the same SQLite file.
//!
//! SQLite's own busy handler sleeps and retries, and starves whoever sleeps longer: of 16 processes one got a single
//! transaction through while another got 6130 (measured; see `benches/`). Here the next process holds the "next" lock while it
//! waits for the "current" lock, and all others queue for the "next" lock. A process may take a few turns in a row before it queues
//! again.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// How many turns in a row a process may take before it has to queue again. The next process has to be woken and to re-read the pages
/// that changed, which costs about as much as an operation; but more turns make the others wait.
const TURNS: u32 = 8;

/// How often the next process checks whether the lock is free. Between two turns of a process it is free for a few microseconds, which
/// a check rarely hits; checking without a pause would take it away after every first turn.
const CHECK_EVERY: Duration = Duration::from_micros(100);

/// The two lock files next to the database.
pub struct Queue {
    /// Where it is; `None`: in the memory of this process, where nobody else can wait for it.
    database: Option<PathBuf>,
    /// Opened by the first turn: a process that only reads does not need them.
    files: OnceLock<Files>,
    /// How many turns this process may take before it has to queue again.
    left: AtomicU32,
}

struct Files {
    current: File,
    next: File,
}

/// A turn to write; it ends when dropped.
pub struct Turn<'a>(Option<&'a Files>);

/// The paths of a database's lock files.
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
        Queue { database: Some(database.to_owned()), files: OnceLock::new(), left: AtomicU32::new(0) }
    }

    /// The queue for a database that only this process has.
    pub fn of_nobody_else() -> Queue {
        Queue { database: None, files: OnceLock::new(), left: AtomicU32::new(0) }
    }

    /// Opens the lock files once, and creates them (0600) if needed.
    fn files(&self) -> io::Result<Option<&Files>> {
        let (Some(database), None) = (&self.database, self.files.get()) else { return Ok(self.files.get()) };
        let [current, next] = lock_paths(database);
        let files = Files { current: open(&current)?, next: open(&next)? };
        Ok(Some(self.files.get_or_init(|| files)))
    }

    /// Queues for a turn, at most for `wait_limit`. `Ok(None)`: others had theirs all the time.
    pub fn take(&self, wait_limit: Duration) -> io::Result<Option<Turn<'_>>> {
        let Some(files) = self.files()? else { return Ok(Some(Turn(None))) };
        let taken = if try_lock(&files.next)? || lock_within(&files.next, wait_limit)? {
            let taken = lock_soon(&files.current, wait_limit);
            files.next.unlock()?;
            taken?
        } else {
            false
        };
        self.left.store(TURNS - 1, Ordering::Relaxed);
        Ok(taken.then_some(Turn(Some(files))))
    }

    /// The same for short transactions: skips the queue while this process has turns left and nobody holds the lock.
    pub fn take_again(&self, wait_limit: Duration) -> io::Result<Option<Turn<'_>>> {
        let Some(files) = self.files()? else { return Ok(Some(Turn(None))) };
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(1), Ordering::Relaxed);
        if left > 0 && try_lock(&files.current)? { Ok(Some(Turn(Some(files)))) } else { self.take(wait_limit) }
    }
}

impl Turn<'_> {
    /// Whether somebody waits for a turn: for work that could end early.
    pub fn is_wanted(&self) -> bool {
        let Some(files) = self.0 else { return false };
        // The next process holds the other lock while it waits.
        match try_lock(&files.next) {
            Ok(true) => files.next.unlock().is_err(),
            Ok(false) | Err(_) => true,
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Closing the file releases the lock as well, so a failure here can only delay others until then.
        let _ = self.0.map(|files| files.current.unlock());
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

/// Waits for a lock that no other process waits for.
fn lock_soon(file: &File, wait_limit: Duration) -> io::Result<bool> {
    let begun = Instant::now();
    while !try_lock(file)? {
        if begun.elapsed() >= wait_limit {
            return Ok(false);
        }
        thread::sleep(CHECK_EVERY);
    }
    Ok(true)
}

/// Waits for a lock in the kernel's queue, which wakes waiters in order, but not longer than `wait_limit`: the blocking call runs on a
/// thread of its own, which is left behind after that time (the lock is released with the process at the latest).
fn lock_within(file: &File, wait_limit: Duration) -> io::Result<bool> {
    if try_lock(file)? {
        return Ok(true);
    }
    let handle = file.try_clone()?;
    let (sender, receiver) = mpsc::sync_channel::<io::Result<()>>(0);
    thread::Builder::new().name("lock wait".into()).spawn(move || {
        let locked = handle.lock();
        if sender.send(locked).is_err() {
            // Nobody waits for this lock any more.
            let _ = handle.unlock();
        }
    })?;
    match receiver.recv_timeout(wait_limit) {
        Ok(locked) => locked.map(|()| true),
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_has_the_turn_and_the_wait_for_it_is_limited() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("smsotp.db");
        let (a, b) = (Queue::of(&path), Queue::of(&path));

        let turn = a.take(Duration::from_secs(5)).unwrap().unwrap();
        assert!(b.take(Duration::from_millis(30)).unwrap().is_none());
        drop(turn);

        let turn = b.take(Duration::from_secs(5)).unwrap();
        assert!(turn.is_some());
    }

    #[test]
    fn a_process_with_many_operations_lets_those_in_the_queue_go_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("smsotp.db");
        let wait_limit = Duration::from_secs(60);
        let (again, waits) = (Queue::of(&path), Queue::of(&path));
        let (sender, receiver) = mpsc::channel();
        let turn = again.take(wait_limit).unwrap().unwrap();
        thread::scope(|scope| {
            let others = sender.clone();
            scope.spawn(move || {
                let turn = waits.take(wait_limit).unwrap().unwrap();
                others.send("the other").unwrap();
                drop(turn);
            });
            while !turn.is_wanted() {
                thread::yield_now();
            }
            drop(turn);
            for _ in 0..3 * TURNS {
                let turn = again.take_again(wait_limit).unwrap().unwrap();
                sender.send("again").unwrap();
                drop(turn);
            }
        });
        drop(sender);
        let before = receiver.iter().take_while(|who| *who == "again").count();
        assert!(before < TURNS as usize, "{before} turns went before it");
    }
}
