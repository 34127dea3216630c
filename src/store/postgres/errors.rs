//! What an error of PostgreSQL means to a user, and to an operation that has to know whether it was committed.

use std::io;
use std::time::Duration;

use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::error::{Code, Error};
use crate::store::value::damaged;

/// How an attempt at a transaction failed.
pub enum Failure {
    /// It was not committed, and another attempt would not help.
    Final(Error),
    /// It was not committed, and another attempt may succeed. The error is for when there is no time for one.
    Again(Error),
    /// The connection was lost while committing: only the database knows whether it was committed.
    Unknown(Error),
}

impl Failure {
    /// The error for a user.
    pub fn error(self) -> Error {
        match self {
            Failure::Final(error) | Failure::Again(error) | Failure::Unknown(error) => error,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Final(error)
    }
}

impl From<tokio_postgres::Error> for Failure {
    /// An error before the commit was sent.
    fn from(error: tokio_postgres::Error) -> Self {
        if is_lost(&error) {
            return Failure::Again(lost(error));
        }
        match error.code() {
            Some(
                &SqlState::T_R_DEADLOCK_DETECTED
                | &SqlState::T_R_SERIALIZATION_FAILURE
                // Another transaction inserted the row first.
                | &SqlState::UNIQUE_VIOLATION
                // The tables were migrated after a statement was prepared: the next attempt uses another connection.
                | &SqlState::FEATURE_NOT_SUPPORTED,
            ) => Failure::Again(contended(error)),
            _ => Failure::Final(error.into()),
        }
    }
}

/// An error of statements that were sent together with the commit.
pub fn at_commit(error: tokio_postgres::Error) -> Failure {
    if is_lost(&error) || error.code() == Some(&SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN) {
        Failure::Unknown(lost(error))
    } else {
        error.into()
    }
}

/// An error while connecting. A server that starts, stops or is full may accept connections a moment later; a wrong password stays wrong.
pub fn connecting(error: tokio_postgres::Error) -> Failure {
    let Some(db) = error.as_db_error() else {
        return match permanent(&error) {
            Some(wrong) => Failure::Final(wrong.because(words(&error))),
            None => Failure::Again(unreachable(error)),
        };
    };
    match *db.code() {
        // A pooler that refuses settings at the start of a connection.
        SqlState::PROTOCOL_VIOLATION if db.message().contains("startup parameter") => {
            Failure::Final(pooler().because(cause(db)))
        }
        SqlState::CANNOT_CONNECT_NOW
        | SqlState::ADMIN_SHUTDOWN
        | SqlState::CRASH_SHUTDOWN
        | SqlState::PROTOCOL_VIOLATION
        | SqlState::READ_ONLY_SQL_TRANSACTION => Failure::Again(unreachable(error)),
        SqlState::TOO_MANY_CONNECTIONS => Failure::Again(meaning(db)),
        _ => Failure::Final(meaning(db)),
    }
}

/// Errors of the client that another attempt would not fix. The client distinguishes them by their text only.
pub fn permanent(error: &tokio_postgres::Error) -> Option<Error> {
    let source = std::error::Error::source(error);
    let wrong = |message: &str, hint: &str| Some(Error::new(Code::CONFIG_INVALID, message).hint(hint));
    match error.to_string().as_str() {
        _ if source.is_some_and(|source| is_unknown_name(&source.to_string())) => {
            wrong("no machine has the name of the PostgreSQL host", "Check how the host is written in SMSOTP_DATABASE.")
        }
        "invalid configuration" => wrong(
            "the PostgreSQL server asks for a password, and SMSOTP_DATABASE has none",
            "Write it as postgres://USER:PASSWORD@HOST/DATABASE.",
        ),
        "authentication error" => wrong(
            "smsotp and the PostgreSQL server have no authentication method in common",
            "Let pg_hba.conf ask for scram-sha-256, and check that nobody sits in between.",
        ),
        "error performing TLS handshake" => {
            let io = source.and_then(|source| source.downcast_ref::<io::Error>());
            match io.map(|io| (io.kind(), io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()))) {
                Some((_, Some(rustls::Error::InvalidCertificate(_)))) => wrong(
                    "the certificate of the PostgreSQL server is not accepted",
                    "Name the authority that signed it (?sslrootcert=FILE in the URL) and the host as the certificate has it.",
                ),
                // The connection was lost during the handshake: another attempt may succeed.
                Some((kind, None)) if kind != io::ErrorKind::InvalidData => None,
                Some(_) => wrong(
                    "no encryption could be agreed on with the PostgreSQL server",
                    "Let the server offer TLS 1.2 or newer.",
                ),
                None => wrong(
                    "the PostgreSQL server offers no encryption",
                    "Switch it on there (ssl = on); sslmode=disable in the URL goes without, for networks that nobody else is on.",
                ),
            }
        }
        _ => None,
    }
}

/// Whether the resolver is sure that a name does not exist. It says so in words alone: those of glibc, musl and macOS.
/// Where it could not ask, it says something else.
fn is_unknown_name(words: &str) -> bool {
    ["Name or service not known", "Name does not resolve", "nodename nor servname provided"]
        .iter()
        .any(|unknown| words.contains(unknown))
}

/// Whether the connection cannot be used any more, or the server does not accept writes.
pub fn is_lost(error: &tokio_postgres::Error) -> bool {
    let Some(db) = error.as_db_error() else { return !is_ours(error) };
    let fatal = matches!(db.parsed_severity(), Some(Severity::Fatal | Severity::Panic));
    let class = &db.code().code()[..2];
    fatal
        || class == "08"
        || class == "57" && *db.code() != SqlState::QUERY_CANCELED
        || *db.code() == SqlState::READ_ONLY_SQL_TRANSACTION
}

/// Whether a value did not fit its column or type: a bug or damage, not a lost connection.
fn is_ours(error: &tokio_postgres::Error) -> bool {
    let text = error.to_string();
    ["serializing parameter", "deserializing column", "invalid column", "unexpected number", "parameters but got"]
        .iter()
        .any(|ours| text.contains(ours))
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            _ if is_lost(&error) => lost(error),
            Some(db) => meaning(db),
            None => damaged(&error.to_string()),
        }
    }
}

/// The error if a pooler shares connections between transactions and the URL does not say so.
pub fn pooler() -> Error {
    Error::new(Code::CONFIG_INVALID, "a connection to the database does not keep what was set and prepared on it")
        .hint("Where a pooler such as pgbouncer shares connections between transactions, add pooler=transaction to the URL: postgres://…/DATABASE?pooler=transaction")
}

/// What an error of the server means to a user.
fn meaning(db: &DbError) -> Error {
    let code = db.code();
    let (kind, message, hint) = match code.code() {
        "55P03" | "57014" => {
            return Error::new(Code::STORE_BUSY, "the database stayed locked, or was too slow")
                .because(cause(db))
                .retry_after(Duration::from_secs(1))
                .hint("Try again; if it lasts, look for long transactions in pg_stat_activity.");
        }
        "28P01" => {
            (Code::CONFIG_INVALID, "PostgreSQL refused the password", "Check the user and password in SMSOTP_DATABASE.")
        }
        "28000" => (
            Code::CONFIG_INVALID,
            "PostgreSQL does not let that user in from here",
            "Is there such a user, does pg_hba.conf on the server allow this machine, and does it want TLS (sslmode=verify-full in the URL)?",
        ),
        "3D000" => (
            Code::CONFIG_INVALID,
            "the PostgreSQL server has no database of that name",
            "Make it with `createdb`, or name another in SMSOTP_DATABASE.",
        ),
        "3F000" | "42P01" => {
            (Code::STORE_FAILED, "the database has no smsotp tables yet", "Make them: smsotp db migrate")
        }
        "42501" => (
            Code::STORE_FAILED,
            "the PostgreSQL user may not do that",
            "Grant it USAGE on the schema smsotp and all on its tables and sequences; `db migrate` needs CREATE on the database.",
        ),
        "53100" => (Code::STORE_FAILED, "the disk of the database is full; nothing was written", "Make room on it."),
        "53300" => {
            return Error::new(Code::STORE_BUSY, "the database has no connection left")
                .because(cause(db))
                .retry_after(Duration::from_secs(1))
                .hint("Raise max_connections, or put a pooler such as pgbouncer in front.");
        }
        // A prepared statement does not exist, or exists already.
        "26000" | "42P05" => return pooler().because(cause(db)),
        "XX001" | "XX002" => (
            Code::STORE_CORRUPT,
            "the database reports damage in its files",
            "Stop writing to it and restore a backup or fail over to the standby.",
        ),
        _ => (Code::STORE_FAILED, "the database failed", "Run `smsotp db check`; if it finds nothing, report this."),
    };
    Error::new(kind, message).because(cause(db)).hint(hint)
}

/// The part of a server's error that may be shown: its code, and its message if that cannot contain a value of a row. DETAIL and HINT
/// may contain whole phone numbers and are never shown.
fn cause(db: &DbError) -> String {
    let code = db.code().code();
    match (&code[..2], db.constraint()) {
        ("22" | "23", Some(constraint)) => format!("SQLSTATE {code} ({constraint})"),
        ("22" | "23" | "28" | "3D", None) => format!("SQLSTATE {code}"),
        _ => format!("SQLSTATE {code}: {}", db.message()),
    }
}

fn words(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => cause(db),
        None => match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}

fn lost(error: tokio_postgres::Error) -> Error {
    Error::new(Code::STORE_FAILED, "the connection to the database was lost")
        .because(words(&error))
        .retry_after(Duration::from_secs(2))
        .hint("Is the server up, and does the URL name every host that may become the primary?")
}

fn unreachable(error: tokio_postgres::Error) -> Error {
    Error::new(Code::STORE_FAILED, "no PostgreSQL server that may be written to can be reached")
        .because(words(&error))
        .retry_after(Duration::from_secs(2))
        .hint("Check host and port in SMSOTP_DATABASE, that the server is up, and that it is the primary and not a standby.")
}

fn contended(error: tokio_postgres::Error) -> Error {
    Error::new(Code::STORE_BUSY, "others kept changing the same rows")
        .because(words(&error))
        .retry_after(Duration::from_secs(1))
        .hint("Try again.")
}
