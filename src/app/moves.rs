//! Imports. The live codes of a move may live in one database alone: its file is marked once it was imported, and so is
//! the move itself among the user's settings, for copies of the file.
//!
//! What cannot be known: that a copy of the file was imported by another user or on another machine.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::App;
use crate::clock::Timestamp;
use crate::engine::Transferred;
use crate::error::{Code, Error, Result};
use crate::keys;
use crate::store::export::{ExportStart, ImportMark};

/// The longest header of an export that is read, in bytes.
const HEADER_MAX: u64 = 4096;

/// One line of the record of moves.
#[derive(Debug, Serialize, Deserialize)]
struct Moved {
    /// Which move.
    id: String,
    /// Into which database.
    into: String,
    /// When.
    at: Timestamp,
    /// How far the import has come.
    step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    /// It may have been committed: it may be repeated, but into no other database.
    Begun,
    /// Certainly nothing was imported.
    Failed,
    /// The codes live there.
    Done,
}

impl App {
    /// Reads an export into the configured database, which has to be empty. A move is imported once.
    ///
    /// # Errors
    /// As [`crate::engine::Engine::import`]; `FILE_FAILED` where the file cannot be read, or the file of a move cannot be marked;
    /// `STORE_FAILED` where the move was imported before.
    pub fn import(&self, path: &Path) -> Result<Transferred> {
        let failed = |error: std::io::Error| {
            Error::new(Code::FILE_FAILED, format!("{}: {error}", path.display()))
                .hint("Name what `smsotp db export` wrote.")
        };
        let mut file = BufReader::new(File::open(path).map_err(failed)?);
        let mut first = Vec::new();
        file.by_ref().take(HEADER_MAX).read_until(b'\n', &mut first).map_err(failed)?;
        let start = ExportStart::read(&String::from_utf8_lossy(&first));
        let mut lines = first.as_slice().chain(file);
        // What is no export is refused by the import itself.
        let Some(id) = start.ok().and_then(|start| start.move_id()) else {
            return self.run(self.engine().import(&mut lines));
        };
        let mut mark = OpenOptions::new().append(true).open(path).map_err(|error| {
            let what =
                format!("{}: a move is marked once it was imported, and this file cannot be: {error}", path.display());
            Error::new(Code::FILE_FAILED, what).hint("Copy it to where you may write, and import that.")
        })?;
        let status = self.run(self.engine().status())?;
        let into = match &self.config.database {
            crate::config::Database::Sqlite(path) => std::path::absolute(path).map_err(failed)?.display().to_string(),
            crate::config::Database::Postgres(_) => status.place,
        };
        if status.rows.iter().any(|(_, rows)| *rows > 0) {
            // Refused in its own words.
            return self.run(self.engine().import(&mut lines));
        }
        let record = self.config.moves.as_deref();
        let noted = |step| {
            let moved = Moved { id: id.clone(), into: into.clone(), at: self.now(), step };
            record.map_or(Ok(()), |record| note(record, &moved))
        };
        noted(Step::Begun)?;
        let imported = self.run(self.engine().import(&mut lines));
        if imported.as_ref().is_err_and(|error| [Code::VALUE_INVALID, Code::KEY_INVALID].contains(&error.code())) {
            noted(Step::Failed)?;
        }
        let transferred = imported?;
        // From here on the codes live in this database: a failure below changes nothing about that.
        let marked = serde_json::to_string(&ImportMark { imported_into: into.clone(), at: self.now() })
            .map_err(std::io::Error::other)
            .and_then(|line| mark.write_all(format!("{line}\n").as_bytes()).and_then(|()| mark.sync_all()))
            .map_err(failed);
        noted(Step::Done)?;
        marked.map(|()| transferred)
    }
}

/// Notes a move, unless it was imported, or begun into another database. Processes that import at the same time do so
/// one after the other.
fn note(record: &Path, moved: &Moved) -> Result<()> {
    let failed = |error: std::io::Error| {
        Error::new(Code::FILE_FAILED, format!("{}: {error}", record.display()))
            .hint("There moves are noted, so that none is imported twice: make it writable.")
    };
    if let Some(dir) = record.parent() {
        keys::make_private_dir(dir).map_err(failed)?;
    }
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(record).map_err(failed)?;
    file.lock().map_err(failed)?;
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(failed)?;
    let known = text.lines().filter_map(|line| serde_json::from_str::<Moved>(line).ok());
    // The last word on each database counts.
    let mut last: Vec<Moved> = Vec::new();
    for known in known.filter(|known| known.id == moved.id) {
        last.retain(|other| other.into != known.into);
        last.push(known);
    }
    for other in last {
        if other.step == Step::Done || other.step == Step::Begun && other.into != moved.into {
            let place = format!("If that database is lost for good, remove its lines from {}.", record.display());
            let refusal = ImportMark { imported_into: other.into, at: other.at }.refusal();
            return Err(Error::new(refusal.code(), refusal.message().to_owned()).hint(format!(
                "Its codes live there, and a code may live in one database alone: use that one. {place}"
            )));
        }
    }
    let line = serde_json::to_string(moved).map_err(|error| failed(error.into()))?;
    file.write_all(format!("{line}\n").as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}
