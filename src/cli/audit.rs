//! `smsotp audit`: who did what, when, with which outcome, and the proof that nobody changed it.

use clap::Subcommand;
use serde::Serialize;

use super::{Call, given};
use crate::app::OpenMode;
use crate::clock::Timestamp;
use crate::engine::{AuditFilter, AuditRead, Subject};
use crate::error::{Class, Code, Error, Result};
use crate::otp::User;
use crate::output::{Item, Layout, List, Output, Render, Table, View};
use crate::phone;

/// Read and verify the audit log
///
/// Every operation leaves a row in the transaction that did it. Rows are chained: a changed, removed, swapped or inserted row is
/// found by `audit verify`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp audit list --since 24h\n  \
    $ smsotp audit verify")]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What can be done with the audit log.
#[derive(Debug, Subcommand)]
pub enum Verb {
    List(ListArgs),
    Verify(VerifyArgs),
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
    /// Only rows about this user, where no phone comes first
    #[arg(long, value_name = "ID", conflicts_with = "phone")]
    pub user: Option<String>,
    /// Only this action, for example revoke
    #[arg(long, value_name = "NAME")]
    pub action: Option<String>,
    /// Only rows at this moment or later: a date, RFC 3339, or a span back from now
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Only rows before this moment
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    /// At most this many rows
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// Go on after this row, as the page before told
    #[arg(long, value_name = "ID")]
    pub after: Option<String>,
}

/// Verify the chain from its first row to its last
///
/// Exit code 1: the log was changed.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  $ smsotp audit verify\n  $ smsotp audit verify -q")]
pub struct VerifyArgs {}

/// One row of the log.
#[derive(Clone, Debug, Serialize)]
pub struct AuditRow {
    /// Chain and number: `0.17`.
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// Who: an OS user, a token, cron.
    pub who: String,
    /// What.
    pub action: String,
    /// Whom, masked.
    pub subject: String,
    /// How it ended.
    pub outcome: String,
    /// More about it, without secrets.
    pub details: serde_json::Value,
}

impl Item for AuditRow {
    const KIND: &'static str = "audit";
    const COLUMNS: &'static [&'static str] = &["id", "at", "who", "action", "subject", "outcome", "details"];

    fn cells(&self, view: &View) -> Vec<String> {
        let details = match self.details.as_object() {
            Some(fields) if fields.is_empty() => view.nothing(),
            Some(fields) if view.for_person => fields.iter().map(in_words).collect::<Vec<_>>().join(", "),
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

/// One detail as a person reads it.
fn in_words((name, value): (&String, &serde_json::Value)) -> String {
    match value.as_str() {
        Some(text) => format!("{name} {text}"),
        None => format!("{name} {value}"),
    }
}

/// What the verification of the chain found.
#[derive(Debug, Serialize)]
pub struct Verified {
    /// Every row is as it was written.
    pub intact: bool,
    /// Rows that were verified.
    pub rows: u64,
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
        match &self.broken_at {
            None => Layout::new().text(format!("The audit log is intact: {} rows.", self.rows)),
            Some(row) => Layout::new().text(format!("The audit log was changed: {row}.")),
        }
    }
}

/// Lists or verifies.
pub fn run(args: Args, call: &Call, out: &mut Output) -> Result<Class> {
    match args.verb {
        Verb::List(args) => list(&args, call, out),
        Verb::Verify(_) => verify(call, out),
    }
}

fn list(args: &ListArgs, call: &Call, out: &mut Output) -> Result<Class> {
    let now = out.view().now;
    let subject = match (&args.phone, &args.user) {
        (Some(phone), _) => Some(Subject::Phone(phone::shape(phone)?)),
        (None, Some(user)) => Some(Subject::User(User::parse(user)?)),
        (None, None) => None,
    };
    let filter = AuditFilter {
        subject,
        action: args.action.clone(),
        since: args.since.as_deref().map(|text| given::moment_past("--since", text, now)).transpose()?,
        until: args.until.as_deref().map(|text| given::moment_past("--until", text, now)).transpose()?,
        before: args.after.as_deref().map(place).transpose()?,
        limit: usize::try_from(args.limit).unwrap_or(usize::MAX),
    };
    let app = call.open(OpenMode::Existing, out)?;
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
    let more = u64::from(page.next.is_some());
    let next_after = page.next.map(|(chain, seq)| format!("{chain}.{seq}"));
    out.list(&List { items: page.rows.into_iter().map(row).collect(), more, next_after, when_empty: "No rows." })?;
    Ok(Class::Done)
}

fn place(text: &str) -> Result<(u32, u64)> {
    let found = text.split_once('.').and_then(|(chain, seq)| Some((chain.parse().ok()?, seq.parse().ok()?)));
    found.ok_or_else(|| {
        Error::new(Code::VALUE_INVALID, format!("--after is no row: {text:.40}"))
            .hint("Give the id that the page before told.")
    })
}

fn verify(call: &Call, out: &mut Output) -> Result<Class> {
    let app = call.open(OpenMode::Existing, out)?;
    let audited = app.run(app.engine().audit_verify())?;
    let intact = audited.broken.is_none();
    if !intact || !out.options().quiet || out.is_json() {
        out.show(&Verified { intact, rows: audited.rows, broken_at: audited.broken })?;
    }
    Ok(if intact { Class::Done } else { Class::No })
}
