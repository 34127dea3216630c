//! `smsotp db`: the state of the database, its soundness, and copies of it.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Call;
use super::checks::Checks;
use super::rows::{self, TableRows};
use crate::app::{App, OpenMode, os_caller};
use crate::check::Mark;
use crate::engine::{Transfer, Transferred};
use crate::error::{Class, Code, Error, Result};
use crate::output::{Layout, Output, Prompt, Render, Table, View};

/// Look after the database
#[derive(Debug, clap::Subcommand)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp db status\n  \
    $ smsotp db check\n  \
    $ smsotp db backup /var/backups/smsotp.db")]
pub enum Verb {
    /// Show where the database is, its size, schema and rows
    #[command(after_long_help = "Examples:\n  $ smsotp db status\n  $ smsotp db status --json")]
    Status,
    /// Create or update the tables of a PostgreSQL database
    ///
    /// Every other command refuses tables that are missing, older or newer. Safe to run twice and from several machines. A SQLite
    /// file needs none of it.
    #[command(after_long_help = "Examples:\n  $ smsotp db migrate --db postgres://smsotp@db.example.com/smsotp")]
    Migrate,
    /// Check that the database is sound
    ///
    /// Looks at the pages, the foreign keys, the schema, the keys and the audit log. Exit code 1: something is wrong.
    #[command(after_long_help = "Examples:\n  $ smsotp db check\n  $ smsotp db check --json")]
    Check,
    Backup(Backup),
    Export(Export),
    Import(Import),
}

/// What a migration did.
#[derive(Debug, Serialize)]
pub struct Migrated {
    /// The schema's version before; 0: there was none.
    pub from: u32,
    /// The schema's version now.
    pub to: u32,
}

impl Render for Migrated {
    const KIND: &'static str = "db_migrated";

    fn table(&self, _: &View) -> Table {
        Table::one_row(vec![("from", self.from.to_string()), ("to", self.to.to_string())])
    }

    fn layout(&self, _: &View) -> Layout {
        Layout::new().text(match (self.from, self.to) {
            (from, to) if from == to => format!("Nothing to do: the tables have version {to}."),
            (0, to) => format!("The tables were created, version {to}."),
            (from, to) => format!("The tables were updated from version {from} to {to}."),
        })
    }
}

/// Copy the database to a file while it is in use
///
/// In the copy, live codes are revoked: a copy never revives a code. Keys are not copied: back them up separately.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  $ smsotp db backup /var/backups/smsotp.db")]
pub struct Backup {
    /// The new file; it must not exist
    pub file: PathBuf,
}

/// Write the database as lines of text, for SQLite or PostgreSQL to read
///
/// In the copy, live codes are revoked: a copy never revives a code. With --move they stay live in the copy, and this database is
/// sealed for good. The secret keys are not included: the other database needs the same ones.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp db export /var/backups/smsotp.jsonl\n  \
    $ smsotp db export /run/move.jsonl --move --yes")]
pub struct Export {
    /// The new file; it must not exist
    pub file: PathBuf,
    /// Keep live codes live in the export, and seal this database
    #[arg(long = "move")]
    pub moves: bool,
    /// Do not ask before sealing
    #[arg(short, long)]
    pub yes: bool,
}

/// Read an exported database into an empty one
///
/// The secret keys have to be those of the exported database. What `db export --move` wrote is imported once: the file
/// is marked, and the move is noted beside your settings, so that a copy of the file is refused too. That somebody else
/// imported a copy, or you did on another machine, cannot be known.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  $ smsotp db import /run/move.jsonl --db /var/lib/smsotp/smsotp.db")]
pub struct Import {
    /// What `db export` wrote
    pub file: PathBuf,
}

/// What an export or an import copied.
#[derive(Debug, Serialize)]
pub struct TransferReport {
    pub file: String,
    pub tables: Vec<TableRows>,
    pub revoked_in_copy: u64,
}

impl Render for TransferReport {
    const KIND: &'static str = "db_transferred";

    fn table(&self, _: &View) -> Table {
        rows::to_table(["table", "rows"], &self.tables)
    }

    fn layout(&self, view: &View) -> Layout {
        let page = Layout::new().text(format!("Rows in {}:", self.file)).table(self.table(view));
        match self.revoked_in_copy {
            0 => page,
            revoked => page.text(format!("{revoked} live codes are revoked in it; the keys are not in it.")),
        }
    }
}

/// Where the database is and what it holds.
#[derive(Debug, Serialize)]
pub struct StatusReport {
    /// The path, or the URL without its password.
    pub database: String,
    /// `sqlite` or `postgres`.
    pub engine: String,
    pub schema: u32,
    /// Bytes on disk, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Messages that wait for `dispatch`.
    pub due: u32,
    /// Rows of each table, without reading the tables: close, not exact.
    pub tables: Vec<TableRows>,
}

impl Render for StatusReport {
    const KIND: &'static str = "db_status";

    fn table(&self, _: &View) -> Table {
        let mut pairs = vec![
            vec!["database".to_owned(), self.database.clone()],
            vec!["engine".to_owned(), self.engine.clone()],
            vec!["schema".to_owned(), self.schema.to_string()],
        ];
        pairs.extend(self.bytes.map(|bytes| vec!["bytes".to_owned(), bytes.to_string()]));
        pairs.push(vec!["due".to_owned(), self.due.to_string()]);
        let mut table = rows::to_table(["what", "value"], &self.tables);
        table.rows.splice(..0, pairs);
        table
    }

    fn layout(&self, _: &View) -> Layout {
        Layout::new()
            .field("database", &self.database)
            .field("engine", &self.engine)
            .field("schema", self.schema.to_string())
            .field_if("bytes", self.bytes.map(|bytes| bytes.to_string()))
            .field("due", format!("{} messages wait for dispatch", self.due))
            .blank()
            .table(rows::to_table(["table", "rows (about)"], &self.tables))
    }
}

/// What a backup wrote.
#[derive(Debug, Serialize)]
pub struct BackupReport {
    pub file: String,
    pub bytes: u64,
    pub revoked_in_copy: u64,
}

impl Render for BackupReport {
    const KIND: &'static str = "db_backup";

    fn table(&self, _: &View) -> Table {
        Table::one_row(vec![
            ("file", self.file.clone()),
            ("bytes", self.bytes.to_string()),
            ("revoked_in_copy", self.revoked_in_copy.to_string()),
        ])
    }

    fn layout(&self, _: &View) -> Layout {
        Layout::new()
            .text(format!("Copied {} bytes to {}.", self.bytes, self.file))
            .text(format!("{} live codes are revoked in the copy; the keys are not in it.", self.revoked_in_copy))
    }
}

/// Shows, makes, checks or copies.
pub fn run(verb: Verb, call: &Call, out: &mut Output) -> Result<Class> {
    match verb {
        Verb::Status => status(&call.open(OpenMode::Reading, out)?, out),
        Verb::Migrate => {
            let (from, to) = App::migrate(&call.config()?, &|words| out.warn(words))?;
            out.show(&Migrated { from, to })
        }
        Verb::Check => check(&call.open(OpenMode::Reading, out)?, out),
        Verb::Backup(args) => backup(&call.open(OpenMode::Existing, out)?, &args, out),
        Verb::Export(args) => export(&args, call, out),
        Verb::Import(args) => import(&args, call, out),
    }
}

fn export(args: &Export, call: &Call, out: &mut Output) -> Result<Class> {
    let app = call.open(OpenMode::Existing, out)?;
    if args.moves && !args.yes {
        call.signals.watch();
        let what = "Seal this database for good and move its live codes to the file?";
        if !out.confirm(Prompt { what, instead: "--yes" })? {
            return Ok(Class::No);
        }
    }
    let transfer = if args.moves { Transfer::Move } else { Transfer::Copy };
    let failed = |error: std::io::Error| {
        Error::new(Code::FILE_FAILED, format!("{}: {error}", args.file.display()))
            .hint("Name a file that does not exist, in a directory that you may write to.")
    };
    let mut file = BufWriter::new(private_file(&args.file).map_err(failed)?);
    let _hold = call.signals.hold();
    let written = app.run(app.engine().export(&os_caller(), &mut file, transfer)).and_then(|transferred| {
        let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)?;
        Ok(transferred)
    });
    if written.is_err() && !args.moves {
        // Half a copy is none. Half a move is kept: the database may be sealed already, and the export may be repeated.
        let _ = std::fs::remove_file(&args.file);
    }
    show_transfer(&args.file, written?, out)
}

fn import(args: &Import, call: &Call, out: &mut Output) -> Result<Class> {
    let app = call.open(OpenMode::MayCreate, out)?;
    let _hold = call.signals.hold();
    let transferred = app.import(&args.file)?;
    show_transfer(&args.file, transferred, out)
}

fn show_transfer(file: &Path, transferred: Transferred, out: &mut Output) -> Result<Class> {
    let (file, tables) = (file.display().to_string(), rows::rows(transferred.rows));
    out.show(&TransferReport { file, tables, revoked_in_copy: transferred.revoked })
}

/// A new file that only its owner may read, whatever the umask is.
fn private_file(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn status(app: &App, out: &mut Output) -> Result<Class> {
    let status = app.run(app.engine().status())?;
    out.show(&StatusReport {
        database: status.place,
        engine: status.engine,
        schema: status.schema.0,
        bytes: status.bytes.map(|(database, log)| database + log),
        due: status.due,
        tables: rows::rows(status.rows),
    })
}

fn check(app: &App, out: &mut Output) -> Result<Class> {
    let mut checks = Checks::new("database");
    let next = || Some("Keep a copy of the files, then restore a backup".to_owned());
    checks.add("keys", Mark::Ok, "The database's keys open with this secret key", None);
    let found = app.run(app.engine().check_store())?;
    if found.is_empty() {
        checks.add("structure", Mark::Ok, "Pages, indexes, links and values are sound", None);
    }
    for finding in found {
        checks.add("structure", Mark::Fail, finding, next());
    }
    let audited = app.run(app.engine().audit_verify(&[]))?;
    match audited.broken {
        None => checks.add("audit", Mark::Ok, format!("{} rows, none changed", audited.rows), None),
        Some(broken) => checks.add("audit", Mark::Fail, broken, next()),
    }
    checks.show(out)
}

fn backup(app: &App, args: &Backup, out: &mut Output) -> Result<Class> {
    let revoked_in_copy = app.run(app.engine().backup(&os_caller(), &args.file))?;
    let bytes = std::fs::metadata(&args.file).map_or(0, |meta| meta.len());
    out.show(&BackupReport { file: args.file.display().to_string(), bytes, revoked_in_copy })
}
