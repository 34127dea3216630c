//! `smsotp test-twilio`: checks that the Twilio account, number and network work.

use std::time::Duration;

use super::checks::Checks;
use super::{Call, given};
use crate::app;
use crate::check::Mark;
use crate::config::Config;
use crate::error::{Class, Result};
use crate::message::State;
use crate::output::Output;
use crate::phone::{self, Phone};

/// How long a test message is followed.
const FOLLOW: Duration = Duration::from_secs(60);

/// Check that the Twilio account, number and network work
///
/// Each check says what it means and what to do next. Without --to nothing is sent and nothing is spent. Exit code 1:
/// a check failed. Test credentials are recognised and walked through Twilio's magic numbers.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp test-twilio\n  \
    $ smsotp test-twilio --to +14155552671\n  \
    $ smsotp test-twilio --json")]
pub struct Args {
    /// Also send a real message to this number and follow it to its last status
    #[arg(long, value_name = "PHONE")]
    pub to: Option<String>,
    #[command(flatten)]
    pub region: given::Region,
}

/// Checks one thing after the other, shows all.
pub fn run(args: Args, call: &Call, out: &mut Output) -> Result<Class> {
    let config = args.region.config(call)?;
    let to = args.to.as_deref().map(|text| phone::parse(text, config.region.as_deref())).transpose()?;
    let destination = to.as_ref().map(|number| (number.phone.clone(), number.country.clone()));
    call.signals.watch();
    let mut checks = Checks::new("twilio");
    for check in app::twilio_checks(&config, destination)? {
        let sentences = match check.mark {
            // That nothing is known about what was not looked at goes without saying.
            Mark::Skip => vec![check.finding],
            _ => vec![check.finding, check.meaning],
        };
        checks.add_sentences(check.name, check.mark, sentences, check.next);
    }
    if let Some(number) = to {
        let (mark, meaning, next) = match checks.passed {
            true => deliver(&config, &number.phone)?,
            false => (Mark::Skip, "Not sent: a check before it failed".to_owned(), None),
        };
        checks.add("message", mark, meaning, next);
    }
    checks.show(out)
}

/// Sends a real message and follows it to its last state: how that went, what it means, and what to do next.
fn deliver(config: &Config, to: &Phone) -> Result<(Mark, String, Option<String>)> {
    Ok(match app::test_message(config, to, FOLLOW)? {
        Ok((id, State::Delivered | State::Read, _)) => (Mark::Ok, format!("{id} was delivered"), None),
        Ok((id, state @ (State::Undelivered | State::Failed), code)) => {
            let why = code.map(|code| format!(" ({code})")).unwrap_or_default();
            let next = match code {
                Some(code) => format!("`smsotp explain {code}` says why"),
                None => "Look at the message in Twilio's console".to_owned(),
            };
            (Mark::Fail, format!("{id} was accepted, then {}{why}", state.as_str()), Some(next))
        }
        Ok((id, state, _)) => {
            let next = "Some carriers never confirm: ask the person whether it arrived".to_owned();
            (Mark::Warn, format!("{id} was accepted; its last state is {}", state.as_str()), Some(next))
        }
        Err((why, next)) => (Mark::Fail, why, next),
    })
}
