//! `smsotp dispatch`: sends what is due and finds out what became of the rest.

use serde::Serialize;

use super::{Call, unwired};
use crate::error::{Class, Result};
use crate::output::{Output, Page, Render, Sheet, View};

/// Send what is due and find out what became of the rest
///
/// Retries what surely was not sent and is due, and asks the provider about messages whose fate is unknown. It sends nothing
/// twice. Made for cron, silent with -q.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp dispatch\n  \
    $ smsotp dispatch --limit 100 --json")]
pub struct Args {
    /// Stop after this many messages
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
}

/// What one run of `dispatch` did.
#[derive(Debug, Default, Serialize)]
pub struct Dispatched {
    /// Messages that were due and went out.
    pub sent: u64,
    /// Messages that were due and failed for good.
    pub failed: u64,
    /// Messages of unknown fate that the provider knows.
    pub found: u64,
    /// Messages of unknown fate that were never accepted.
    pub absent: u64,
    /// Messages whose fate is still unknown.
    pub unknown: u64,
}

impl Render for Dispatched {
    const KIND: &'static str = "dispatched";

    fn sheet(&self, _: &View) -> Sheet {
        Sheet::one(vec![
            ("sent", self.sent.to_string()),
            ("failed", self.failed.to_string()),
            ("found", self.found.to_string()),
            ("absent", self.absent.to_string()),
            ("unknown", self.unknown.to_string()),
        ])
    }

    fn page(&self, view: &View) -> Page {
        if self.sent + self.failed + self.found + self.absent + self.unknown == 0 {
            return Page::new().text("Nothing to do.");
        }
        Page::new().sheet(self.sheet(view))
    }
}

/// Runs one step of the worker, shows what it did.
pub fn run(_args: Args, _call: &Call, _out: &mut Output) -> Result<Class> {
    // Seam: engine::dispatch(limit) → out.show(&Dispatched).
    Err(unwired("dispatch"))
}
