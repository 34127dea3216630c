//! A fair wait between processes for the one writer's place of a SQLite file.
//!
//! SQLite's own busy handler sleeps and tries, and starves whoever sleeps longer: of 16 processes one got a single
//! transaction through while another got 6130 (measured; see `benches/`). Here a waiter holds the "next" lock while it
//! waits for the "current" one, and all others stand in line for that one. Whoever has the place keeps it for a few operations if
//! they come at once, and then stands in line as well.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// So many turns in a row a process may take before it has to stand in line again: whoever comes next reads anew what this
/// one knows already, which costs about as much as an operation, and keeping the place makes others wait.
const TURNS: u32 = 8;

/// So often the next one in line looks whether the place is free. Between two operations it is free for a few microseconds, which a
/// look hits seldom; looking without a pause would end every row of turns after its first.
const LOOK: Duration = Duration::from_micros(100);

/// The two lock files beside the database.
pub struct Queue {
    database: PathBuf,
    /// Opened by the first one who waits: whoever only reads has no use for them.
    files: OnceLock<Files>,
    /// How many turns we may take before we stand in line again.
    left: AtomicU32,
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
        Queue { database: database.to_owned(), files: OnceLock::new(), left: AtomicU32::new(0) }
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

    /// Waits in line for the writer's place, at most `wait_limit`. `Ok(None)`: somebody held it all the time.
    pub fn take(&self, wait_limit: Duration) -> io::Result<Option<Turn<'_>>> {
        let files = self.files()?;
        let taken = if try_lock(&files.next)? || lock_within(&files.next, wait_limit)? {
            let taken = lock_soon(&files.current, wait_limit);
            files.next.unlock()?;
            taken?
        } else {
            false
        };
        self.left.store(TURNS - 1, Ordering::Relaxed);
        Ok(taken.then_some(Turn(files)))
    }

    /// The same for what is over in a moment: while we have turns left and nobody holds the place, there is no line.
    pub fn take_again(&self, wait_limit: Duration) -> io::Result<Option<Turn<'_>>> {
        let files = self.files()?;
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(1), Ordering::Relaxed);
        if left > 0 && try_lock(&files.current)? { Ok(Some(Turn(files))) } else { self.take(wait_limit) }
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

/// Waits for a lock that nobody else waits for.
fn lock_soon(file: &File, wait_limit: Duration) -> io::Result<bool> {
    let begun = Instant::now();
    while !try_lock(file)? {
        if begun.elapsed() >= wait_limit {
            return Ok(false);
        }
        thread::sleep(LOOK);
    }
    Ok(true)
}

/// Waits for a lock in the kernel's queue, which wakes waiters in their order, but only for so long: the blocking call
/// runs on a thread of its own that is left behind when that time is over (the lock goes with the process at the latest).
fn lock_within(file: &File, wait_limit: Duration) -> io::Result<bool> {
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
    match told.recv_timeout(wait_limit) {
        Ok(locked) => locked.map(|()| true),
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_waiting_ends() {
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
    fn whoever_comes_again_and_again_lets_those_in_line_go_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("smsotp.db");
        let wait_limit = Duration::from_secs(60);
        let (again, waits) = (Queue::of(&path), Queue::of(&path));
        let (tell, told) = mpsc::channel();
        let turn = again.take(wait_limit).unwrap().unwrap();
        thread::scope(|scope| {
            let others = tell.clone();
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
                tell.send("again").unwrap();
                drop(turn);
            }
        });
        drop(tell);
        let before = told.iter().take_while(|who| *who == "again").count();
        assert!(before < TURNS as usize, "{before} turns went before it");
    }
}
