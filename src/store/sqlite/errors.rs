//! What an error of SQLite or of the file system means to a user.

use std::io;
use std::path::Path;
use std::time::Duration;

use rusqlite::ErrorCode;

use crate::error::{Code, Error};

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Error {
        let (kind, message, hint) = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                return Error::new(Code::STORE_BUSY, "the database is locked by another program")
                    .because(error)
                    .retry_after(Duration::from_secs(1))
                    .hint("Close what else has the file open, for example a `sqlite3` shell inside a transaction, and try again.");
            }
            Some(ErrorCode::DiskFull) => (
                Code::STORE_FAILED,
                "the disk is full; nothing was written",
                "Make room on the file system of the database; `smsotp purge-expired` frees space inside it.",
            ),
            Some(ErrorCode::ReadOnly) => (
                Code::STORE_FAILED,
                "the database is read-only",
                "Check who owns the file and its directory, and whether the file system is mounted read-only.",
            ),
            Some(ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied) => {
                (Code::STORE_FAILED, "the database may not be opened", "Check who owns the file and its directory.")
            }
            Some(ErrorCode::CannotOpen) => (
                Code::STORE_FAILED,
                "the database cannot be opened",
                "Check the path and who owns the file and its directory.",
            ),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => (
                Code::STORE_CORRUPT,
                "the file is damaged or not a database",
                "Keep a copy of it, run `smsotp db check`, then restore a backup.",
            ),
            _ if matches!(
                error,
                rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::InvalidColumnType(..)
            ) =>
            {
                return crate::store::value::damaged(&error.to_string());
            }
            _ => {
                (Code::STORE_FAILED, "the database failed", "Run `smsotp db check`; if it finds nothing, report this.")
            }
        };
        Error::new(kind, message).because(error).hint(hint)
    }
}

/// An error of SQLite, with the path of the file.
pub fn of_file(path: &Path, error: rusqlite::Error) -> Error {
    let error = Error::from(error);
    again(&error, format!("{}: {}", path.display(), error.message()))
}

/// The same error, for another caller.
pub fn copy(error: &Error) -> Error {
    again(error, error.message().to_owned())
}

fn again(error: &Error, message: String) -> Error {
    let mut again = Error::new(error.code(), message);
    if let Some(hint) = error.hint_text() {
        again = again.hint(hint);
    }
    if let Some(after) = error.retry_after_hint() {
        again = again.retry_after(after);
    }
    match std::error::Error::source(error) {
        Some(source) => again.because(source.to_string()),
        None => again,
    }
}

/// An error of the file system, with the path.
pub fn of_path(path: &Path, error: &io::Error) -> Error {
    Error::new(Code::STORE_FAILED, format!("{}: {error}", path.display()))
        .hint("Check the path, who owns the directory, and that the file system is writable.")
}

/// The error after waiting this long for a turn to write.
pub fn busy(waited: Duration) -> Error {
    Error::new(Code::STORE_BUSY, format!("the database stayed locked for {} s", waited.as_secs()))
        .retry_after(Duration::from_secs(1))
        .hint("Try again; if it lasts, find the process that holds it, for example with `fuser` or `lsof`.")
}
