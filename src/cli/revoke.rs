//! `smsotp revoke`: takes codes back.

use serde::Serialize;

use super::Call;
use super::given::{self, Id};
use crate::app::OpenMode;
use crate::engine::Revoke;
use crate::error::{Class, Result};
use crate::otp::User;
use crate::output::{Layout, Output, Render, Table, View};
use crate::phone;

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

    fn table(&self, _: &View) -> Table {
        Table { columns: vec!["id"], rows: self.revoked.iter().map(|id| vec![id.clone()]).collect() }
    }

    fn layout(&self, _: &View) -> Layout {
        match self.revoked.as_slice() {
            [] => Layout::new().text("Nothing to do: no code was alive."),
            [id] => Layout::new().text(format!("Code {id} was taken back.")),
            ids => Layout::new().text(format!("{} codes were taken back: {}.", ids.len(), ids.join(", "))),
        }
    }
}

/// Parses, revokes, shows.
pub fn run(args: Args, call: &Call, out: &mut Output) -> Result<Class> {
    let what = match given::id(&args.what) {
        Some(Id::Otp(id)) => Revoke::Id(id),
        _ => Revoke::Phone(
            phone::shape(&args.what)?,
            args.purpose.as_deref().map(given::purpose).transpose()?,
            args.user.as_deref().map(User::parse).transpose()?,
        ),
    };
    let reason = given::reason(args.reason.as_deref())?;
    let app = call.open(OpenMode::Existing, out)?;
    let _hold = call.signals.hold();
    let revoked = app.run(app.engine().revoke(&given::caller(None)?, &what, &reason))?;
    out.show(&Revoked { revoked: revoked.into_iter().map(|otp| otp.otp_id.to_string()).collect() })?;
    Ok(Class::Done)
}
