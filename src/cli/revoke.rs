//! `smsotp revoke`: makes live codes invalid.

use serde::Serialize;

use super::Call;
use super::given::{self, Named};
use crate::app::{App, OpenMode, os_caller};
use crate::engine::{Canceled, Revoke, Wanted};
use crate::error::{Class, Code, Error, Result};
use crate::output::{Layout, Output, Render, Table, View};

/// Revoke codes, or cancel a message that waits to be sent
///
/// A revoked code is never accepted again. With a number, every live code of it is revoked. A message (m…) without a code can be
/// canceled until it is handed to the provider.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp revoke 17 --reason 'phone was stolen'\n  \
    $ smsotp revoke +14155552671 --purpose login\n  \
    $ smsotp revoke m12")]
pub struct Args {
    /// The id of a code or (m…) of a message without one, or a number
    #[arg(value_name = "ID|PHONE")]
    pub what: String,
    #[command(flatten)]
    pub region: given::Region,
    #[command(flatten)]
    pub only: given::Only,
    /// Why; kept in the audit log
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// What was revoked.
#[derive(Debug, Serialize)]
pub struct Revoked {
    /// Ids of the codes that were live until now, or of the message that waited.
    pub revoked: Vec<String>,
}

impl Render for Revoked {
    const KIND: &'static str = "revoked";

    fn table(&self, _: &View) -> Table {
        Table { rows: self.revoked.iter().map(|id| vec![id.clone()]).collect(), ..Table::new(&["id"]) }
    }

    fn layout(&self, _: &View) -> Layout {
        match self.revoked.as_slice() {
            [] => Layout::new().text("Nothing to do: no code was live."),
            [id] if id.starts_with('m') => Layout::new().text(format!("Message {id} was canceled.")),
            [id] => Layout::new().text(format!("Code {id} was revoked.")),
            ids => Layout::new().text(format!("{} codes were revoked: {}.", ids.len(), ids.join(", "))),
        }
    }
}

/// Parses, revokes, shows.
pub fn run(args: Args, call: &Call, out: &mut Output) -> Result<Class> {
    let config = args.region.config(call)?;
    let named = given::named(&args.what, &config, call)?;
    let (purpose, user) = args.only.check()?;
    let reason = given::reason(args.reason.as_deref())?;
    let app = call.open_with(config, OpenMode::Existing, out)?;
    let what = match named {
        Named::Otp(id) => Revoke::Id(id),
        Named::OtpOrPhone(id, _) if app.run(app.engine().find(&Wanted::Otp(id)))?.is_some() => Revoke::Id(id),
        Named::OtpOrPhone(_, phone) | Named::Phone(phone) => Revoke::Phone(phone, purpose, user),
        Named::Message(id) => return cancel(&app, id, &reason, (call, out)),
    };
    let _hold = call.signals.hold();
    let revoked = app.run(app.engine().revoke(&os_caller(), &what, &reason))?;
    if let (Revoke::Phone(_, purpose, _), true) = (&what, revoked.is_empty()) {
        given::declared(purpose.as_ref(), app.engine().policy())?;
    }
    out.show(&Revoked { revoked: revoked.into_iter().map(|otp| otp.otp_id.to_string()).collect() })
}

fn cancel(app: &App, id: i64, reason: &str, (call, out): (&Call, &mut Output)) -> Result<Class> {
    let _hold = call.signals.hold();
    match app.run(app.engine().cancel(&os_caller(), id, reason))? {
        Canceled::Done => out.show(&Revoked { revoked: vec![format!("m{id}")] }),
        Canceled::TooLate(state) => Err(Error::new(
            Code::TOO_LATE,
            format!("message m{id} does not wait to be sent any more: it is {}", state.as_str()),
        )
        .hint(format!("`smsotp show m{id}` says what became of it."))),
        Canceled::OfOtp(otp) => {
            Err(Error::new(Code::VALUE_INVALID, format!("message m{id} carries code {otp}, and codes are revoked"))
                .hint(format!("To revoke it: smsotp revoke {otp}")))
        }
        Canceled::NotFound => Err(Error::new(Code::NOT_FOUND, format!("there is no message m{id}"))
            .hint("`smsotp list --messages` shows what there is; finished messages are purged after a day.")),
    }
}
