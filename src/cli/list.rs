//! `smsotp list`: codes by phone, user, purpose, state and time, a page at a time.

use serde::Serialize;

use super::Call;
use super::given::{self, Id};
use crate::app::OpenMode;
use crate::clock::Timestamp;
use crate::engine::Filter;
use crate::error::{Class, Code, Error, Result};
use crate::otp::{Otp, State, User};
use crate::output::{Item, List, Output, View};
use crate::phone;

/// List codes: who, what for, in which state
///
/// The newest come first. Codes themselves are nowhere: they are never stored.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp list\n  \
    $ smsotp list --phone +14155552671 --state active\n  \
    $ smsotp list --since 24h --state failed,locked --json")]
pub struct Args {
    /// Only this number
    #[arg(long, value_name = "PHONE")]
    pub phone: Option<String>,
    /// Only this user
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,
    /// Only this purpose
    #[arg(long, value_name = "NAME")]
    pub purpose: Option<String>,
    /// Only these states, separated by commas
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = STATES)]
    pub state: Vec<String>,
    /// Only codes made at this moment or later: a date, RFC 3339, or a span back from now
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Only codes made before this moment
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    /// At most this many rows
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// Go on after this id, as the page before told
    #[arg(long, value_name = "ID")]
    pub after: Option<String>,
}

/// The states by which codes are listed.
pub const STATES: [&str; 7] = ["active", "verified", "superseded", "locked", "revoked", "failed", "expired"];

/// One code.
#[derive(Clone, Debug, Serialize)]
pub struct OtpRow {
    /// Id of the code.
    pub id: String,
    /// The number, masked unless revealed.
    pub phone_number: String,
    /// The user; empty where none was given.
    pub user: String,
    /// The purpose.
    pub purpose: String,
    /// The state.
    pub state: String,
    /// Whether it was verified.
    pub is_verified: bool,
    /// Messages that carried it.
    pub messages: u32,
    /// Wrong tries.
    pub tries: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends or ended.
    pub expires_at: Timestamp,
}

impl Item for OtpRow {
    const KIND: &'static str = "otp";
    const COLUMNS: &'static [&'static str] =
        &["id", "phone", "user", "purpose", "state", "messages", "tries", "created", "expires"];

    fn cells(&self, view: &View) -> Vec<String> {
        vec![
            self.id.clone(),
            self.phone_number.clone(),
            view.text_if(Some(&self.user)),
            self.purpose.clone(),
            self.state.clone(),
            self.messages.to_string(),
            self.tries.to_string(),
            view.time(self.created_at),
            view.time(self.expires_at),
        ]
    }
}

impl OtpRow {
    /// The row of an otp, as somebody at this output may see it.
    pub fn of(otp: &Otp, messages: u32, out: &Output) -> OtpRow {
        OtpRow {
            id: otp.id.to_string(),
            phone_number: out.phone(&otp.phone),
            user: otp.user.as_str().to_owned(),
            purpose: otp.purpose.as_str().to_owned(),
            state: otp.shown_state(out.view().now).as_str().to_owned(),
            is_verified: otp.state == State::Verified,
            messages,
            tries: otp.wrong_guesses,
            created_at: otp.created_at,
            expires_at: otp.over_at(),
        }
    }
}

/// Parses, reads a page, shows it.
pub fn run(args: Args, call: &Call, out: &mut Output) -> Result<Class> {
    let now = out.view().now;
    let filter = Filter {
        phone: args.phone.as_deref().map(phone::shape).transpose()?,
        user: args.user.as_deref().map(User::parse).transpose()?,
        purpose: args.purpose.as_deref().map(given::purpose).transpose()?,
        states: args.state.iter().filter_map(|word| State::parse(word)).collect(),
        since: args.since.as_deref().map(|text| given::moment_past("--since", text, now)).transpose()?,
        until: args.until.as_deref().map(|text| given::moment_past("--until", text, now)).transpose()?,
        before: args.after.as_deref().map(after).transpose()?,
        limit: args.limit,
    };
    let app = call.open(OpenMode::Existing, out)?;
    let page = app.run(app.engine().list(&filter))?;
    let rows = page.rows.iter().map(|(otp, messages)| OtpRow::of(otp, *messages, out)).collect();
    if page.cut {
        out.warn("only a part of the database was looked through; --after goes on");
    }
    out.list(&List {
        items: rows,
        more: u64::from(page.more),
        next_after: page.next.map(|id| id.to_string()),
        when_empty: "No codes.",
    })?;
    Ok(Class::Done)
}

fn after(text: &str) -> Result<i64> {
    match given::id(text) {
        Some(Id::Otp(id)) => Ok(id),
        _ => Err(Error::new(Code::VALUE_INVALID, format!("--after is no id: {text:.40}"))
            .hint("Give the id that the page before told.")),
    }
}
