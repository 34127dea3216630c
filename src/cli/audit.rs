//! `smsotp audit`: who did what, when, with which outcome, and the proof that nobody changed it.

use serde::Serialize;
use serde_json::Value;

use super::{Call, given};
use crate::app::OpenMode;
use crate::clock::Timestamp;
use crate::engine::{AuditFilter, AuditRead, Subject};
use crate::error::{Class, Result};
use crate::otp::User;
use crate::output::{Item, Layout, List, Output, Render, Table, View};

/// Read and verify the audit log
///
/// Every operation that changes something writes a row in the same transaction. Rows are chained: `audit verify` finds a row that
/// was changed, removed, swapped or inserted.
#[derive(Debug, clap::Subcommand)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp audit list --since 24h\n  \
    $ smsotp audit verify")]
pub enum Verb {
    List(ListArgs),
    /// Verify the chain from its first row to its last
    ///
    /// Exit code 1: the log was changed.
    #[command(after_long_help = "Examples:\n  $ smsotp audit verify\n  $ smsotp audit verify -q")]
    Verify,
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
    /// Only this action, for example revoke
    #[arg(long, value_name = "NAME")]
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
    /// Every row is as it was written.
    pub intact: bool,
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
pub fn run(verb: Verb, call: &Call, out: &mut Output) -> Result<Class> {
    match verb {
        Verb::List(args) => list(&args, call, out),
        Verb::Verify => verify(call, out),
    }
}

fn list(args: &ListArgs, call: &Call, out: &mut Output) -> Result<Class> {
    let (since, until) = args.page.period(out.view().now)?;
    let config = args.region.config(call)?;
    let subject = match (&args.phone, &args.user) {
        (Some(phone), _) => Some(Subject::Phone(given::phone(phone, &config)?)),
        (None, Some(user)) => Some(Subject::User(User::parse(user)?)),
        (None, None) => None,
    };
    let filter = AuditFilter {
        subject,
        action: args.action.clone(),
        since,
        until,
        before: args.page.after(place)?,
        limit: usize::try_from(args.page.limit).unwrap_or(usize::MAX),
    };
    let app = call.open_with(config, OpenMode::Existing, out)?;
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
    out.list(&List { items: page.rows.into_iter().map(row).collect(), more, next_after, when_empty: "No rows." })
}

fn place(text: &str) -> Option<(u32, u64)> {
    let (chain, number) = text.split_once('.')?;
    Some((chain.parse().ok()?, number.parse().ok()?))
}

fn verify(call: &Call, out: &mut Output) -> Result<Class> {
    let app = call.open(OpenMode::Existing, out)?;
    let audited = app.run(app.engine().audit_verify())?;
    let intact = audited.broken.is_none();
    let verified = Verified { intact, rows: audited.rows, broken_at: audited.broken };
    if intact { out.show_unless_quiet(&verified) } else { out.show(&verified).map(|_| Class::No) }
}
