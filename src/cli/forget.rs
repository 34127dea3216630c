//! `smsotp forget`: erases what is kept of a person.

use serde::Serialize;

use super::{Call, given, rows};
use crate::app::{OpenMode, os_caller};
use crate::config::Database;
use crate::engine::{Erased, Forget, Kept};
use crate::error::{Class, Code, Error, Result};
use crate::output::{Layout, Output, Prompt, Render, Table, View};

/// Erase what is kept of a person, here and at the provider
///
/// Codes, messages, what limits and lists remember, tokens of a user, and the provider's copies of the messages. An opt-out and a
/// block stay in force, as keyed tags without a name; sums and the audit log stay whole. Safe to repeat: where something could not
/// be erased yet, running it again does.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("whom").required(true).multiple(true).args(["phone", "user"]),
    group = clap::ArgGroup::new("why").required(true).args(["reason", "dry_run"]),
    after_long_help = "Examples:\n  \
    $ smsotp forget +14155552671 --dry-run\n  \
    $ smsotp forget +14155552671 --reason 'request of 1 March, ticket 4711' --yes\n  \
    $ smsotp forget --user ada --reason 'account closed' --yes --json"
)]
pub struct Args {
    /// The number, in international form, or national with --region
    pub phone: Option<String>,
    #[command(flatten)]
    pub region: given::Region,
    /// The user
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,
    /// Why, without naming the person; kept in the audit log
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Count and erase nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Leave the provider's copies as they are
    #[arg(long)]
    pub local: bool,
    /// Do not ask first
    #[arg(short, long)]
    pub yes: bool,
}

/// What was erased, or would be.
#[derive(Debug, Serialize)]
struct Forgot {
    /// Nothing was erased: it was only counted.
    dry_run: bool,
    #[serde(flatten)]
    erased: Erased,
    /// The files are those of a database server.
    #[serde(skip)]
    is_of_a_server: bool,
}

impl Forgot {
    fn counts(&self) -> Vec<rows::TableRows> {
        let erased = &self.erased;
        rows::rows([
            ("otps", erased.otps),
            ("messages", erased.messages),
            ("subjects", erased.subjects),
            ("list_entries", erased.list_entries),
            ("test_numbers", erased.test_numbers),
            ("tokens", erased.tokens),
            ("provider_copies", erased.copies),
        ])
    }
}

impl Render for Forgot {
    const KIND: &'static str = "forgotten";

    fn table(&self, _: &View) -> Table {
        rows::to_table(["what", "rows"], &self.counts())
    }

    fn layout(&self, view: &View) -> Layout {
        let kept = &self.erased.kept;
        let counts = self.counts();
        let mut page = Layout::new();
        page = if counts.iter().all(|count| count.rows == 0) {
            page.text("Nothing to do: nothing else is kept of them.")
        } else {
            page.text(if self.dry_run { "Would erase:" } else { "Erased:" }).table(self.table(view))
        };
        if kept.opt_out {
            page = page.text("That they opted out stays, as a keyed tag without a name.");
        }
        if kept.blocks > 0 {
            page = page.text("That they are blocked stays, as a keyed tag without a name.");
        }
        for line in left_behind(kept) {
            page = page.text(line);
        }
        match self.erased.scrubbed {
            Some(true) => page.text("No erased byte is left in the files. Backups and exports from before keep theirs."),
            Some(false) if self.is_of_a_server => {
                page.text("What is left in the server's files goes when it vacuums them. Backups and exports from before keep theirs.")
            }
            _ => page,
        }
    }
}

/// What could not be erased, and what to do about it.
fn left_behind(kept: &Kept) -> Vec<String> {
    let mut lines = Vec::new();
    if kept.open > 0 {
        lines.push(format!(
            "{} codes stay: it is not known yet whether a message of theirs went out. `smsotp dispatch` finds out; then run this again.",
            kept.open
        ));
    }
    if kept.redacted > 0 {
        lines.push(format!(
            "{} messages are on their way: the provider emptied their text and deletes the rest once they have arrived, or after an hour. Run this again then.",
            kept.redacted
        ));
    }
    if kept.unasked > 0 {
        lines.push(format!(
            "{} messages stay, for the provider's copies of them could not be deleted: {}. Run this again when that is mended, or with --local.",
            kept.unasked,
            kept.why.as_deref().unwrap_or("no reason was given")
        ));
    }
    if kept.copies > 0 {
        lines.push(format!("{} copies stay at the provider: delete them there.", kept.copies));
    }
    lines
}

/// Asks, erases, shows.
pub fn run(args: Args, call: &Call, out: &mut Output) -> Result<Class> {
    let config = args.region.config(call)?;
    let user = given::user(args.user.as_deref())?;
    if args.user.is_some() && user.is_empty() {
        return Err(
            Error::new(Code::VALUE_INVALID, "the user is empty").hint("The empty user is nobody in particular.")
        );
    }
    let phone = args.phone.as_deref().map(|text| given::phone(text, &config, call)).transpose()?;
    let whom = Forget {
        phone,
        user,
        reason: given::reason(args.reason.as_deref())?,
        dry_run: args.dry_run,
        local: args.local,
    };
    if !args.yes && !args.dry_run {
        call.signals.watch();
        let names = [whom.phone.as_ref().map(|phone| out.phone(phone)), args.user.clone()];
        let names: Vec<String> = names.into_iter().flatten().collect();
        let what = format!("Erase all that is kept of {}? It cannot be brought back", names.join(" and "));
        if !out.confirm(Prompt { what: &what, instead: "--yes" })? {
            return Ok(Class::No);
        }
    }
    let is_of_a_server = matches!(config.database, Database::Postgres(_));
    let app = call.open_with(config, OpenMode::Existing, out)?.with_any_provider(Box::new(|_| ()))?;
    let _hold = call.signals.hold();
    let mut progress = out.progress("forgetting");
    let erased = app.run(app.engine().forget(&os_caller(), &whom, |erased| {
        progress.advance_to(erased.otps);
        call.signals.interrupted().is_ok()
    }))?;
    drop(progress);
    let (unfinished, scrubbed) = (erased.kept.is_unfinished(), erased.scrubbed);
    out.show(&Forgot { dry_run: args.dry_run, erased, is_of_a_server })?;
    if scrubbed == Some(false) && !is_of_a_server {
        return Err(Error::new(
            Code::STORE_BUSY,
            "another program has the files open: erased bytes may be left in them",
        )
        .hint("Run `smsotp purge-expired --scrub` when nothing else uses the database."));
    }
    Ok(if unfinished { Class::TryLater } else { Class::Done })
}
