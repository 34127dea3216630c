//! `smsotp keys`: the secret keys by id, never by value.

use clap::Subcommand;
use serde::Serialize;

use super::{Call, unwired};
use crate::clock::Timestamp;
use crate::error::{Class, Result};
use crate::output::{Item, Output, View};

/// List, rotate and prune the secret keys
///
/// Keys are named by their ids; their values are never shown. Rotation is two steps: the new key is added last everywhere,
/// then moved first.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp keys list\n  \
    $ smsotp keys rotate\n  \
    $ smsotp keys prune --yes")]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub enum Verb {
    List(ListArgs),
    Rotate(Rotate),
    Prune(Prune),
}

/// List the accepted keys and what still uses them
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  $ smsotp keys list\n  $ smsotp keys list --json")]
pub struct ListArgs {}

/// Add a new key, or bring the newest to the front
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  $ smsotp keys rotate\n  $ smsotp keys rotate --json")]
pub struct Rotate {}

/// Remove keys that nothing alive uses
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  $ smsotp keys prune\n  $ smsotp keys prune --yes")]
pub struct Prune {
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// One key.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The key's id.
    pub id: String,
    /// New codes are made with it.
    pub newest: bool,
    /// Where it comes from: a variable or a file.
    pub source: String,
    /// Living codes that were made with it.
    pub live_codes: u64,
    /// When it was first used; absent for a key that was never used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_used_at: Option<Timestamp>,
}

impl Item for Row {
    const KIND: &'static str = "key";
    const COLUMNS: &'static [&'static str] = &["id", "use", "live_codes", "first_used", "source"];

    fn cells(&self, view: &View) -> Vec<String> {
        vec![
            self.id.clone(),
            if self.newest { "new codes" } else { "old codes" }.to_owned(),
            self.live_codes.to_string(),
            view.time_if(self.first_used_at),
            self.source.clone(),
        ]
    }
}

/// Lists, rotates or prunes.
pub fn run(args: Args, _call: &Call, _out: &mut Output) -> Result<Class> {
    match args.verb {
        // Seam: keys + store → out.list(&List::whole(rows, "no keys")).
        Verb::List(_) => Err(unwired("keys list")),
        // Seam: keys::rotate → out.say, out.hint("the next step").
        Verb::Rotate(_) => Err(unwired("keys rotate")),
        // Seam: unless args.yes, out.confirm(Prompt { what: "remove … keys?", instead: "--yes" }) → keys::prune.
        Verb::Prune(_) => Err(unwired("keys prune")),
    }
}
