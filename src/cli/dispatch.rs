//! `smsotp dispatch`: sends messages that are due, and settles those whose outcome is unknown.

use super::Call;
use crate::app::{OpenMode, os_caller};
use crate::engine::{Dispatch, Dispatched};
use crate::error::{Class, Error, Result};
use crate::output::{Layout, Output, Render, Table, View};

/// Send messages that are due, and settle those whose outcome is unknown
///
/// Retries messages that were certainly not sent, and asks the provider about those whose outcome is unknown and those that
/// it accepted: each is asked for until its end is known, or for an hour. It sends nothing twice. Then it delivers alarms to the
/// webhook, and looks at the balance once an hour. Made for cron: silent with -q.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp dispatch\n  \
    $ smsotp dispatch --limit 100 --json")]
pub struct Args {
    /// Stop after this many messages
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
}

impl Render for Dispatched {
    const KIND: &'static str = "dispatched";

    fn table(&self, _: &View) -> Table {
        Table::one_row(vec![
            ("looked_at", self.looked_at.to_string()),
            ("sent", self.sent.to_string()),
            ("found", self.found.to_string()),
            ("failed", self.failed.to_string()),
            ("open", self.open.to_string()),
            ("errors", self.errors.to_string()),
        ])
    }

    fn layout(&self, view: &View) -> Layout {
        if self.looked_at == 0 {
            return Layout::new().text("Nothing to do.");
        }
        Layout::new().table(self.table(view))
    }
}

/// Runs one step of the worker, shows what it did.
pub fn run(args: Args, call: &Call, out: &mut Output) -> Result<Class> {
    let messages = out.message_writer();
    let Some(app) = call.open_if_any(call.config()?, OpenMode::Existing, out)? else {
        return out.show_unless_quiet(&Dispatched::default());
    };
    let app = app.with_any_provider(Box::new(move |text: &str| messages.lines(text)))?;
    let _hold = call.signals.hold();
    let mut errors = Vec::new();
    let on_error = |id: i64, error: &Error| errors.push((id, error.code(), error.to_string()));
    let engine = app.engine();
    let dispatched = app.run(engine.dispatch(&os_caller(), Dispatch { limit: args.limit, early: true }, on_error))?;
    out.show_unless_quiet(&dispatched)?;
    for (id, _, error) in &errors {
        out.warn(&format!("message m{id}: {error}"));
    }
    let announced = app.run(async {
        engine.check_balance(&os_caller()).await?;
        engine.announce(&os_caller()).await
    })?;
    if announced.logged > 0 {
        out.warn(&format!("alarms that are new: {}; see `smsotp alarms list`", announced.logged));
    }
    if announced.failed + announced.given_up > 0 {
        out.warn("the webhook did not take every alarm; -v says why, and a later run tries again");
    }
    Ok(errors.first().map_or(Class::Done, |(_, code, _)| code.class))
}
