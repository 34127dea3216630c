//! `smsotp audit`: who did what, when, with which outcome, and the proof that nobody changed it.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::{Call, given};
use crate::app::{OpenMode, os_caller};
use crate::audit::ACTIONS;
use crate::clock::Timestamp;
use crate::engine::{Anchor, AuditFilter, AuditPlace, AuditRead, Audited, Subject};
use crate::error::{Class, Code, Error, Result};
use crate::otp::User;
use crate::output::{Item, Layout, List, Output, Render, Table, View};

/// Read, verify and prune the audit log
///
/// Every operation that changes something writes a row in the same transaction. Rows are chained, and how far each
/// chain has come is sealed apart from them: `audit verify` finds a row that was changed, removed, swapped or inserted,
/// and a log that was cut off or emptied.
#[derive(Debug, clap::Subcommand)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp audit list --since 24h\n  \
    $ smsotp audit verify\n  \
    $ smsotp audit anchor --append /mnt/elsewhere/anchor.jsonl")]
pub enum Verb {
    List(ListArgs),
    Verify(VerifyArgs),
    Anchor(AnchorArgs),
    Prune(PruneArgs),
}

/// Verify the log from its first row to its last
///
/// Exit code 1: the log was changed. What it cannot see without an anchor: a database that was put back whole to an
/// earlier state.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp audit verify\n  \
    $ smsotp audit verify -q --anchor /mnt/elsewhere/anchor.jsonl")]
pub struct VerifyArgs {
    /// Hold the log against the heads in this file: what `audit anchor` wrote
    #[arg(long, value_name = "FILE")]
    pub anchor: Option<PathBuf>,
}

/// Print how far the log has come, to be kept elsewhere
///
/// An anchor is one line for each chain: the number of its last row, and the code that authenticates it. Keep it where
/// nobody who may write to the database may write: `audit verify --anchor` then finds a database that was put back to
/// an earlier state.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp audit anchor\n  \
    $ smsotp audit anchor -q --append /mnt/elsewhere/anchor.jsonl")]
pub struct AnchorArgs {
    /// Add the heads to the end of this file, as JSON lines
    #[arg(long, value_name = "FILE")]
    pub append: Option<PathBuf>,
}

/// Delete old rows of the log
///
/// The oldest rows of each chain are verified and deleted, up to the first one that is not old enough. Where the log
/// was cut is sealed, and `audit verify` goes on from there. A row that was changed is kept, and so is everything after
/// it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  $ smsotp audit prune --older-than 400d")]
pub struct PruneArgs {
    /// Delete what was written longer ago than this span
    #[arg(long, value_name = "SPAN")]
    pub older_than: String,
}

/// List the audit log, newest first
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp audit list\n  \
    $ smsotp audit list --phone +14155552671 --since 24h\n  \
    $ smsotp audit list --action revoke --json")]
pub struct ListArgs {
    /// Only rows about this number
    #[arg(long, value_name = "PHONE")]
    pub phone: Option<String>,
    #[command(flatten)]
    pub region: given::Region,
    /// Only rows about this user, where no phone comes first
    #[arg(long, value_name = "ID", conflicts_with = "phone")]
    pub user: Option<String>,
    /// Only this action
    #[arg(long, value_name = "NAME", value_parser = ACTIONS)]
    pub action: Option<String>,
    #[command(flatten)]
    pub page: given::Page,
}

/// One row of the log.
#[derive(Clone, Debug, Serialize)]
pub struct AuditRow {
    /// Chain and number: `0.17`.
    pub id: String,
    pub at: Timestamp,
    /// Who: an OS user, a token, cron.
    pub who: String,
    pub action: String,
    /// Whom, masked.
    pub subject: String,
    pub outcome: String,
    /// More about it, without secrets.
    pub details: Value,
}

impl Item for AuditRow {
    const KIND: &'static str = "audit";
    const COLUMNS: &'static [&'static str] = &["id", "at", "who", "action", "subject", "outcome", "details"];
    const PROSE: &'static [&'static str] = &["details"];
    const SPARE: &'static [&'static str] = &["id", "details", "outcome"];

    fn cells(&self, view: &View) -> Vec<String> {
        let details = match self.details.as_object() {
            Some(fields) if fields.is_empty() => view.nothing(),
            Some(fields) if view.for_person => {
                let words = |(name, value): (&String, &Value)| match value.as_str() {
                    Some(text) => format!("{name} {text}"),
                    None => format!("{name} {value}"),
                };
                fields.iter().map(words).collect::<Vec<_>>().join(", ")
            }
            _ if self.details.is_null() => view.nothing(),
            _ => self.details.to_string(),
        };
        vec![
            self.id.clone(),
            view.time(self.at),
            self.who.clone(),
            self.action.clone(),
            view.text_if(Some(&self.subject)),
            self.outcome.clone(),
            details,
        ]
    }
}

/// What the verification of the chain found.
#[derive(Debug, Serialize)]
pub struct Verified {
    /// Every row is as it was written, and none is missing.
    pub intact: bool,
    pub rows: u64,
    /// Rows that `audit prune` deleted before.
    pub pruned: u64,
    /// Heads of the anchor that the log holds; absent without `--anchor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anchored: Option<u64>,
    /// Heads of the anchor whose rows were pruned since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unanchored: Option<u64>,
    /// The first row that is wrong, and how.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken_at: Option<String>,
}

impl Render for Verified {
    const KIND: &'static str = "audit_verification";

    fn table(&self, view: &View) -> Table {
        Table::one_row(vec![
            ("result", if self.intact { "intact" } else { "broken" }.to_owned()),
            ("rows", self.rows.to_string()),
            ("broken_at", view.text_if(self.broken_at.as_deref())),
        ])
    }

    fn layout(&self, _: &View) -> Layout {
        let page = match &self.broken_at {
            None => Layout::new().text(format!("The audit log is intact: {} rows.", self.rows)),
            Some(row) => return Layout::new().text(format!("The audit log was changed: {row}.")),
        };
        let page = match self.pruned {
            0 => page,
            pruned => page.text(format!("{pruned} older rows were pruned.")),
        };
        match (self.anchored, self.unanchored) {
            (Some(held), Some(0)) => page.text(format!("It holds all {held} heads of the anchor.")),
            (Some(held), Some(gone)) => {
                page.text(format!("It holds {held} heads of the anchor; {gone} more were pruned since."))
            }
            _ => page,
        }
    }
}

/// The head of one chain.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct AnchorRow(Anchor);

impl Item for AnchorRow {
    const KIND: &'static str = "audit_head";
    const COLUMNS: &'static [&'static str] = &["chain", "seq", "mac", "at", "database"];

    fn cells(&self, view: &View) -> Vec<String> {
        let Anchor { database, at, chain, seq, mac } = &self.0;
        vec![chain.to_string(), seq.to_string(), mac.clone(), view.time(*at), database.clone()]
    }
}

/// What was pruned.
#[derive(Debug, Serialize)]
pub struct AuditPruned {
    pub rows: u64,
    pub older_than_seconds: u64,
}

impl Render for AuditPruned {
    const KIND: &'static str = "audit_pruned";

    fn table(&self, _: &View) -> Table {
        Table::one_row(vec![
            ("rows", self.rows.to_string()),
            ("older_than_seconds", self.older_than_seconds.to_string()),
        ])
    }

    fn layout(&self, _: &View) -> Layout {
        match self.rows {
            0 => Layout::new().text("Nothing to do."),
            rows => Layout::new().text(format!("Deleted {rows} rows; where the log was cut is sealed.")),
        }
    }
}

/// Lists, verifies, anchors or prunes.
pub fn run(verb: Verb, call: &Call, out: &mut Output) -> Result<Class> {
    match verb {
        Verb::List(args) => list(&args, call, out),
        Verb::Verify(args) => verify(&args, call, out),
        Verb::Anchor(args) => anchor(&args, call, out),
        Verb::Prune(args) => prune(&args, call, out),
    }
}

fn list(args: &ListArgs, call: &Call, out: &mut Output) -> Result<Class> {
    let (since, until) = args.page.period(out.view().now)?;
    let config = args.region.config(call)?;
    let subject = match (&args.phone, &args.user) {
        (Some(phone), _) => Some(Subject::Phone(given::phone(phone, &config, call)?)),
        (None, Some(user)) => Some(Subject::User(User::parse(user)?)),
        (None, None) => None,
    };
    let filter = AuditFilter {
        subject,
        action: args.action.clone(),
        since,
        until,
        before: args.page.after(place)?.unwrap_or_default(),
        limit: usize::try_from(args.page.limit).unwrap_or(usize::MAX),
    };
    let app = call.open_with(config, OpenMode::Reading, out)?;
    let page = app.run(app.engine().audit_page(&filter))?;
    let row = |read: AuditRead| AuditRow {
        id: format!("{}.{}", read.place.0, read.place.1),
        at: read.step.at,
        who: read.step.actor,
        action: read.step.action,
        subject: read.subject,
        outcome: read.step.outcome,
        details: read.step.details,
    };
    if page.cut {
        out.warn("only a part of the log was searched; --after goes on");
    }
    let place =
        |next: AuditPlace| next.iter().map(|(chain, seq)| format!("{chain}.{seq}")).collect::<Vec<_>>().join(",");
    out.list(&List {
        items: page.rows.into_iter().map(row).collect(),
        more: u64::from(page.more),
        next_after: page.next.map(place),
        when_empty: "No rows.",
    })
}

/// Where a page begins: a row of each chain, `0.17` or `0.17,1.4`.
fn place(text: &str) -> Option<AuditPlace> {
    let one = |row: &str| {
        let (chain, number) = row.split_once('.')?;
        Some((chain.parse().ok()?, number.parse().ok()?))
    };
    text.split(',').map(one).collect()
}

fn verify(args: &VerifyArgs, call: &Call, out: &mut Output) -> Result<Class> {
    let anchors = args.anchor.as_deref().map(read_anchors).transpose()?;
    // Without a database there is nothing to verify; but an anchor says that there was one.
    let app = match &anchors {
        None => call.open_if_any(call.config()?, OpenMode::Reading, out)?,
        Some(_) => Some(call.open(OpenMode::Reading, out)?),
    };
    let audited = match app {
        Some(app) => app.run(app.engine().audit_verify(anchors.as_deref().unwrap_or_default()))?,
        None => Audited::default(),
    };
    let intact = audited.broken.is_none();
    let verified = Verified {
        intact,
        rows: audited.rows,
        pruned: audited.pruned,
        anchored: anchors.as_ref().map(|_| audited.anchored),
        unanchored: anchors.as_ref().map(|_| audited.unanchored),
        broken_at: audited.broken,
    };
    if intact { out.show_unless_quiet(&verified) } else { out.show(&verified).map(|_| Class::No) }
}

fn anchor(args: &AnchorArgs, call: &Call, out: &mut Output) -> Result<Class> {
    let app = call.open(OpenMode::Reading, out)?;
    let anchors = app.run(app.engine().audit_anchor())?;
    if let Some(path) = &args.append {
        append_anchors(path, &anchors)?;
    }
    let items = anchors.into_iter().map(AnchorRow).collect();
    let list = List { items, more: 0, next_after: None, when_empty: "No chains." };
    // Whoever keeps them in a file needs no second copy of them every hour.
    if args.append.is_some() && out.options().quiet { Ok(Class::Done) } else { out.list(&list) }
}

/// Adds heads to a file, and waits until the disk has them.
fn append_anchors(path: &Path, anchors: &[Anchor]) -> Result<()> {
    let lines = anchors.iter().map(serde_json::to_string).collect::<serde_json::Result<Vec<_>>>();
    let lines = lines.map_err(|error| Error::new(Code::BUG, "a head has no JSON form").because(error))?;
    let mut options = File::options();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path).and_then(|mut file| {
        file.write_all((lines.join("\n") + "\n").as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| {
        Error::new(Code::FILE_FAILED, format!("{}: {error}", path.display()))
            .hint("Name a file in a directory that you may write to.")
    })
}

/// Reads the heads of a file: JSON lines, as `--append` and `-o jsonl` write them.
fn read_anchors(path: &Path) -> Result<Vec<Anchor>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::new(Code::FILE_FAILED, format!("{}: {error}", path.display()))
            .hint("Name what `smsotp audit anchor --append` wrote.")
    })?;
    let line = |(nth, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|error| {
            Error::new(
                Code::VALUE_INVALID,
                format!("line {} of {} is no head of an audit log", nth + 1, path.display()),
            )
            .because(error)
            .hint("Name what `smsotp audit anchor --append` wrote, unchanged.")
        })
    };
    let anchors: Vec<Anchor> =
        text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(line).collect::<Result<_>>()?;
    if anchors.is_empty() {
        // An empty anchor would agree with everything.
        return Err(Error::new(Code::VALUE_INVALID, format!("{} holds no head", path.display()))
            .hint("Write one: smsotp audit anchor --append FILE"));
    }
    Ok(anchors)
}

fn prune(args: &PruneArgs, call: &Call, out: &mut Output) -> Result<Class> {
    let older_than = given::span("--older-than", &args.older_than)?;
    let Some(app) = call.open_if_any(call.config()?, OpenMode::Existing, out)? else {
        return out.show_unless_quiet(&AuditPruned { rows: 0, older_than_seconds: older_than.as_secs() });
    };
    let _hold = call.signals.hold();
    let rows = app.run(app.engine().audit_prune(&os_caller(), older_than))?;
    out.show_unless_quiet(&AuditPruned { rows, older_than_seconds: older_than.as_secs() })
}
