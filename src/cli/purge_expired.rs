//! `smsotp purge-expired`: deletes what is finished and old.

use serde::Serialize;

use super::rows::{self, TableRows};
use super::{Call, given};
use crate::app::{OpenMode, os_caller};
use crate::engine::{Purge, PurgeReport};
use crate::error::{Class, Code, Error, Result};
use crate::output::{Layout, Output, Render, Table, View};

/// Delete what is finished and old
///
/// Finished codes and messages are deleted after 24 hours. Nothing live is touched; limits, lock-outs and the audit log stay
/// whole. It may run beside anything, and be stopped and repeated at any time. Made for cron: silent with -q.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp purge-expired\n  \
    $ smsotp purge-expired --older-than 7d --dry-run\n  \
    $ smsotp purge-expired --older-than 0s --scrub -q")]
pub struct Args {
    /// Keep what finished within this span [default: the setting, 24h]
    #[arg(long, value_name = "SPAN")]
    pub older_than: Option<String>,
    /// Count and delete nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Faster, in one go: others wait
    #[arg(long)]
    pub exclusive: bool,
    /// Also overwrite what was deleted, so that no byte of it stays in the files
    #[arg(long, conflicts_with = "dry_run")]
    pub scrub: bool,
    /// Rows per batch [default: as many as fit into a few milliseconds]
    #[arg(long, value_name = "N", conflicts_with = "exclusive", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub batch: Option<u32>,
}

/// What a purge did, or would do.
#[derive(Debug, Serialize)]
pub struct Purged {
    /// Nothing was deleted: it was only counted.
    pub dry_run: bool,
    /// Only what has been finished for so long.
    pub older_than_seconds: u64,
    pub tables: Vec<TableRows>,
    /// Whether deleted bytes were overwritten; absent without `--scrub`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scrubbed: Option<bool>,
}

impl Render for Purged {
    const KIND: &'static str = "purged";

    fn table(&self, _: &View) -> Table {
        rows::to_table(["table", "rows"], &self.tables)
    }

    fn layout(&self, view: &View) -> Layout {
        if self.tables.iter().all(|count| count.rows == 0) {
            return Layout::new().text("Nothing to do.");
        }
        let page = Layout::new().text(if self.dry_run { "Would delete:" } else { "Deleted:" }).table(self.table(view));
        match self.scrubbed {
            Some(true) => page.text("No deleted byte is left in the files."),
            Some(false) => page.text("Deleted bytes may be left in the files: someone else has them open."),
            None => page,
        }
    }
}

/// Parses, purges, shows.
pub fn run(args: Args, call: &Call, out: &mut Output) -> Result<Class> {
    let older_than = args.older_than.as_deref().map(|span| given::span("--older-than", span)).transpose()?;
    let how =
        Purge { older_than, dry_run: args.dry_run, exclusive: args.exclusive, scrub: args.scrub, batch: args.batch };
    let config = call.config()?;
    let keep = config.policy.keep;
    let _hold = call.signals.hold();
    let report = match call.open_if_any(config, OpenMode::Existing, out)? {
        Some(app) => {
            let mut progress = out.progress("purging");
            app.run(app.engine().purge(&os_caller(), &how, |report| {
                progress.advance_to(report.purged.total());
                call.signals.interrupted().is_ok()
            }))?
        }
        None => PurgeReport::default(),
    };
    let counts = [
        ("otps", report.purged.otps),
        ("messages", report.purged.messages),
        ("subjects", report.purged.subjects),
        ("replies", report.purged.replies),
        ("test_numbers", report.purged.test_numbers),
        ("alarms", report.purged.alarms),
        ("list_entries", report.purged.list_entries),
        ("money_events", report.purged.money_events),
        ("sums", report.purged.sums),
    ];
    let shown = Purged {
        dry_run: args.dry_run,
        older_than_seconds: older_than.unwrap_or(keep).as_secs(),
        tables: rows::rows(counts),
        scrubbed: report.scrubbed,
    };
    out.show_unless_quiet(&shown)?;
    if report.scrubbed == Some(false) {
        return Err(Error::new(
            Code::STORE_BUSY,
            "another program has the files open: deleted bytes may be left in them",
        )
        .hint("Run `smsotp purge-expired --scrub` again when nothing else uses the database."));
    }
    Ok(Class::Done)
}
