//! `smsotp show`: everything that happened to one code, safe to paste into a ticket.

use serde::Serialize;

use super::list::Row;
use super::{Call, unwired};
use crate::clock::Timestamp;
use crate::error::{Class, Result};
use crate::output::{Output, Page, Render, Sheet, View};

/// Tell everything that happened to one code
///
/// One timeline: the request, the limits, the provider, the tries, the end. It holds no code and no whole number, so it
/// can be pasted into a ticket.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp show 17\n  \
    $ smsotp show +14155552671 --purpose login\n  \
    $ smsotp show 17 --json")]
pub struct Args {
    /// The id of a code or (m…) of a message, or a number: its newest code
    #[arg(value_name = "ID|PHONE")]
    pub what: String,
    /// With a number: only this purpose
    #[arg(long, value_name = "NAME")]
    pub purpose: Option<String>,
    /// With a number: only this user
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,
}

/// One step of a code's life.
#[derive(Debug, Serialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What: `send`, `accepted`, `wrong_guess`, ...
    pub what: String,
    /// More about it, in words.
    pub detail: String,
}

/// One code and everything that happened to it.
#[derive(Debug, Serialize)]
pub struct Timeline {
    /// The code.
    pub otp: Row,
    /// What happened, oldest first.
    pub events: Vec<Event>,
}

impl Render for Timeline {
    const KIND: &'static str = "timeline";

    fn sheet(&self, view: &View) -> Sheet {
        let mut sheet = Sheet::new(&["at", "what", "detail"]);
        for event in &self.events {
            sheet.row(vec![view.time(event.at), event.what.clone(), view.text_if(Some(&event.detail))]);
        }
        sheet
    }

    fn page(&self, view: &View) -> Page {
        let otp = &self.otp;
        Page::new()
            .heading(format!("Code {} for {}", otp.id, otp.phone_number))
            .field("state", &otp.state)
            .field("purpose", &otp.purpose)
            .field("user", view.text_if(Some(&otp.user)))
            .field("made", format!("{} ({})", view.time(otp.created_at), otp.created_at))
            .field("ends", format!("{} ({})", view.time(otp.expires_at), otp.expires_at))
            .field("tries", otp.tries.to_string())
            .blank()
            .sheet(self.sheet(&View { person: false, ..*view }))
    }
}

/// Parses, reads, shows.
pub fn run(_args: Args, _call: &Call, _out: &mut Output) -> Result<Class> {
    // Seam: id, m-id or E.164 → store → out.show(&Timeline); nothing found: Error NOT_FOUND (exit 1).
    Err(unwired("show"))
}
