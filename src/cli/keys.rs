//! `smsotp keys`: the secret keys by id, never by value.

use serde::Serialize;

use super::Call;
use crate::app::{App, OpenMode, Rotated, os_caller};
use crate::clock::Timestamp;
use crate::engine::KeyUse;
use crate::error::{Class, Code as ErrorCode, Error, Result};
use crate::output::{Item, Layout, List, Output, Prompt, Render, Table, View};

/// List, rotate and prune the secret keys
///
/// Keys are named by their ids; their values are never shown. Rotation is two steps: the new key is added last everywhere,
/// then moved first.
#[derive(Debug, clap::Subcommand)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp keys list\n  \
    $ smsotp keys rotate\n  \
    $ smsotp keys prune --yes")]
pub enum Verb {
    /// List the accepted keys and what still uses them
    #[command(after_long_help = "Examples:\n  $ smsotp keys list\n  $ smsotp keys list --json")]
    List,
    /// Add a new key, or bring the newest to the front
    #[command(after_long_help = "Examples:\n  $ smsotp keys rotate\n  $ smsotp keys rotate --json")]
    Rotate,
    Prune(Prune),
}

/// Remove keys that no live code uses
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  $ smsotp keys prune\n  $ smsotp keys prune --yes")]
pub struct Prune {
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// One key.
#[derive(Clone, Debug, Serialize)]
pub struct KeyRow {
    pub id: String,
    /// New codes are made with it.
    pub newest: bool,
    /// `new codes`, `old codes`, or `next`: added by a rotation that is not finished.
    #[serde(rename = "use")]
    pub usage: &'static str,
    /// Where it comes from: a variable or a file.
    pub source: String,
    /// Live codes that were made with it.
    pub live_codes: u64,
    /// When it was first used; absent for a key that was never used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_used_at: Option<Timestamp>,
}

/// What a rotation or a pruning did.
#[derive(Debug, Serialize)]
struct Changed {
    /// `added`, `promoted` or `removed`.
    change: &'static str,
    keys: Vec<String>,
}

impl Render for Changed {
    const KIND: &'static str = "keys_changed";

    fn table(&self, _: &View) -> Table {
        let mut table = Table::new(&["change", "key"]);
        for key in &self.keys {
            table.row(vec![self.change.to_owned(), key.clone()]);
        }
        table
    }

    fn layout(&self, _: &View) -> Layout {
        let keys = self.keys.join(", ");
        Layout::new().text(match self.change {
            _ if keys.is_empty() => "Nothing to do: there is no old key.".to_owned(),
            "added" => format!("Key {keys} was added. New codes are still made with the old one."),
            "promoted" => format!("Key {keys} was moved to the front: new codes are made with it."),
            _ => format!("Removed key {keys}."),
        })
    }
}

impl Item for KeyRow {
    const KIND: &'static str = "key";
    const COLUMNS: &'static [&'static str] = &["id", "use", "live_codes", "first_used", "source"];
    const SPARE: &'static [&'static str] = &["first_used"];

    fn cells(&self, view: &View) -> Vec<String> {
        vec![
            self.id.clone(),
            self.usage.to_owned(),
            self.live_codes.to_string(),
            view.time_if(self.first_used_at),
            self.source.clone(),
        ]
    }
}

/// Lists, rotates or prunes.
pub fn run(verb: Verb, call: &Call, out: &mut Output) -> Result<Class> {
    let mode = if matches!(verb, Verb::List) { OpenMode::Reading } else { OpenMode::Existing };
    let app = call.open(mode, out)?;
    match verb {
        Verb::List => list(&app, out),
        Verb::Rotate => rotate(&app, out),
        Verb::Prune(args) => prune(&args, &app, call, out),
    }
}

fn list(app: &App, out: &mut Output) -> Result<Class> {
    let origin = app.key_origin();
    let uses = app.run(app.engine().key_uses())?;
    let waiting = waiting(&uses).map(|key| key.id.clone());
    let row = |key: KeyUse| KeyRow {
        newest: key.primary,
        usage: match (key.primary, waiting.as_ref() == Some(&key.id)) {
            (true, _) => "new codes",
            (_, true) => "next",
            _ => "old codes",
        },
        id: key.id,
        source: if key.present { origin.clone() } else { "missing".to_owned() },
        live_codes: u64::from(key.otps),
        first_used_at: key.added_at,
    };
    out.list(&List::whole(uses.into_iter().map(row).collect(), "No keys."))
}

/// The key that a rotation added and has not yet moved to the front.
fn waiting(uses: &[KeyUse]) -> Option<&KeyUse> {
    uses.iter().filter(|key| key.present).max_by_key(|key| key.added_at).filter(|key| !key.primary)
}

fn rotate(app: &App, out: &mut Output) -> Result<Class> {
    let (change, id) = match app.rotate(&os_caller())? {
        Rotated::Added(id) => ("added", id),
        Rotated::Promoted(id) => ("promoted", id),
    };
    out.show(&Changed { change, keys: vec![id] })?;
    out.hint(match change {
        "added" => {
            "Restart every long-running smsotp, so that it reads the new key; then run `smsotp keys rotate` again"
        }
        _ => "When the old codes have ended (an hour at most), run `smsotp keys prune`",
    });
    Ok(Class::Done)
}

fn prune(args: &Prune, app: &App, call: &Call, out: &mut Output) -> Result<Class> {
    let uses = app.run(app.engine().key_uses())?;
    if let Some(key) = waiting(&uses) {
        let error =
            Error::new(ErrorCode::KEY_INVALID, format!("key {} was added for a rotation that is not finished", key.id));
        return Err(error.hint("Finish it first: smsotp keys rotate"));
    }
    if let Some(key) = uses.iter().find(|key| key.present && !key.primary && key.otps > 0) {
        let (otps, id) = (key.otps, &key.id);
        let need =
            if otps == 1 { format!("1 live code needs key {id}") } else { format!("{otps} live codes need key {id}") };
        let error = Error::new(ErrorCode::KEY_INVALID, need);
        return Err(error.hint("Wait until they have ended, an hour at most, and prune again."));
    }
    let old: Vec<&str> = uses.iter().filter(|key| key.present && !key.primary).map(|key| key.id.as_str()).collect();
    if !old.is_empty() && !args.yes {
        call.signals.watch();
        let what = format!("Remove key {}? Backups that need it cannot be opened without it", old.join(", "));
        if !out.confirm(Prompt { what: &what, instead: "--yes" })? {
            return Ok(Class::No);
        }
    }
    let gone = app.prune(&os_caller(), &uses)?;
    out.show(&Changed { change: "removed", keys: gone })
}
