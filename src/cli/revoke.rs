//! `smsotp revoke`: takes codes back.

use serde::Serialize;

use super::{Call, unwired};
use crate::error::{Class, Result};
use crate::output::{Output, Page, Render, Sheet, View};

/// Take codes back
///
/// A revoked code is never accepted again. With a number, every living code of it is taken back.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp revoke 17 --reason 'phone was stolen'\n  \
    $ smsotp revoke +14155552671 --purpose login")]
pub struct Args {
    /// The id of a code, or a number
    #[arg(value_name = "ID|PHONE")]
    pub what: String,
    /// With a number: only this purpose
    #[arg(long, value_name = "NAME")]
    pub purpose: Option<String>,
    /// With a number: only this user
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,
    /// Why; kept in the audit log
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// What was taken back.
#[derive(Debug, Serialize)]
pub struct Revoked {
    /// Ids of the codes that were alive until now.
    pub revoked: Vec<String>,
}

impl Render for Revoked {
    const KIND: &'static str = "revoked";

    fn sheet(&self, _: &View) -> Sheet {
        Sheet { columns: vec!["id"], rows: self.revoked.iter().map(|id| vec![id.clone()]).collect() }
    }

    fn page(&self, _: &View) -> Page {
        match self.revoked.as_slice() {
            [] => Page::new().text("Nothing to do: no code was alive."),
            [id] => Page::new().text(format!("Code {id} was taken back.")),
            ids => Page::new().text(format!("{} codes were taken back: {}.", ids.len(), ids.join(", "))),
        }
    }
}

/// Parses, revokes, shows.
pub fn run(_args: Args, _call: &Call, _out: &mut Output) -> Result<Class> {
    // Seam: id or E.164 → engine::revoke → out.show(&Revoked).
    Err(unwired("revoke"))
}
