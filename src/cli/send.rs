//! `smsotp send`: sends a code to a phone.

use std::time::Duration;

use serde::Serialize;

use super::{Call, given};
use crate::app::{App, OpenMode};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::engine::{Caller, Destination, SendAnswer, SendOtp, SentMessage};
use crate::error::{Class, Result};
use crate::message::State;
use crate::output::{Layout, Output, Render, Table, View};
use crate::phone::Phone;
use crate::purpose::DEFAULT;
use crate::template::Endings;

/// Send a code to a phone
///
/// While a code is live, sending again sends the same code, with its expiry and remaining tries unchanged. Limits, opt-outs and
/// allowed countries are checked first; nothing is sent that could not be verified.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp send +14155552671\n  \
    $ smsotp send +14155552671 --purpose login --user alice --ip 203.0.113.7\n  \
    $ smsotp send '0151 23456789' --region DE --wait=60s --json")]
pub struct Args {
    /// The number, in international form, or national with --region
    pub phone: Option<String>,
    /// What the code is for
    #[arg(long, value_name = "NAME", default_value = DEFAULT)]
    pub purpose: String,
    /// Your identifier of the user; the code is bound to it
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,
    /// The address of the client; its limits then apply
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<String>,
    #[command(flatten)]
    pub region: given::Region,
    /// The user is signed in already: use the guess budgets of known users
    #[arg(long, requires = "user")]
    pub known: bool,
    /// Send a new code even if one is live
    #[arg(long)]
    pub new_code: bool,
    /// The person has solved a challenge, as `challenge_required` asked for; recorded in the audit log
    #[arg(long, value_name = "RESULT", value_parser = ["passed"])]
    pub challenge: Option<String>,
    #[command(flatten)]
    pub staff: given::Overrides,
    /// Repeat safely: the same key gets the same answer and sends once
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// Give up after this long
    #[arg(long, value_name = "SPAN", default_value = "45s")]
    pub timeout: String,
    /// Follow the message to its last status, at most this long [default: 60s]
    #[arg(long, value_name = "SPAN", num_args = 0..=1, require_equals = true, default_missing_value = "60s")]
    pub wait: Option<String>,
    /// The 11 characters that Android uses to pass the message to your app
    #[arg(long, value_name = "HASH")]
    pub app_hash: Option<String>,
    /// The domain whose web page may fill the code in by itself
    #[arg(long, value_name = "DOMAIN", conflicts_with = "app_hash")]
    pub origin: Option<String>,
    /// The language of the message, for example de, de-AT or pt-BR [default: the setting `locale`]
    #[arg(long, value_name = "TAG")]
    pub locale: Option<String>,
    /// Allow the message to take this many SMS segments
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10))]
    pub allow_segments: Option<u32>,
    /// Send through this provider
    #[arg(long, value_name = "NAME", value_parser = crate::config::ProviderName::NAMES)]
    pub provider: Option<String>,
}

/// What `send` answers when the message went out.
#[derive(Debug, Serialize)]
pub struct Sent {
    pub otp_id: String,
    pub message_id: String,
    /// The number, masked unless revealed.
    pub phone: String,
    pub purpose: String,
    /// The user; empty where none was given.
    pub user: String,
    pub state: String,
    pub expires_at: Timestamp,
    /// Whether a live code was sent again.
    pub resent: bool,
    pub segments: u32,
    pub provider: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<String>,
    /// The provider's error code of a delivery that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<u32>,
    /// A declared test number: nothing was sent.
    pub test: bool,
}

impl Render for Sent {
    const KIND: &'static str = "sent";

    fn table(&self, view: &View) -> Table {
        Table::one_row(vec![
            ("id", self.otp_id.clone()),
            ("message", self.message_id.clone()),
            ("phone", self.phone.clone()),
            ("purpose", self.purpose.clone()),
            ("user", view.text_if(Some(&self.user))),
            ("state", self.state.clone()),
            ("expires", view.time(self.expires_at)),
            ("provider_id", view.text_if(self.provider_id.as_deref())),
        ])
    }

    fn layout(&self, view: &View) -> Layout {
        let what = match (self.test, self.resent) {
            (true, _) => format!("{} is a test number: nothing was sent.", self.phone),
            (_, true) => format!("The same code was sent again to {}.", self.phone),
            _ => format!("A code is on its way to {}.", self.phone),
        };
        Layout::new()
            .text(what)
            .field("id", &self.otp_id)
            .field("purpose", &self.purpose)
            .field("message", format!("{} ({})", self.message_id, self.state))
            .field_if("provider", self.provider_id.as_ref().map(|id| format!("{} {id}", self.provider)))
            .field("expires", view.time(self.expires_at))
    }
}

/// Parses, sends, follows the message where `--wait` is given, shows.
pub fn run(args: Args, call: &Call, out: &mut Output) -> Result<Class> {
    let timeout = given::timeout(&args.timeout)?;
    let wait = args.wait.as_deref().map(|span| given::span("--wait", span)).transpose()?;
    let caller = Caller { known: args.known, ..given::caller(args.ip.as_deref())? };
    let config = call.config_with(args.provider.clone(), args.region.region.clone())?;
    let (user, purpose) = (given::user(args.user.as_deref())?, given::purpose(&args.purpose)?);
    let request = SendOtp {
        to: destination(&args, &config, call, out)?,
        purpose: purpose.clone(),
        user: user.clone(),
        new_code: args.new_code,
        challenge_passed: args.challenge.is_some(),
        override_limits: args.staff.check()?,
        idempotency_key: args.idempotency_key,
        endings: Endings::new(args.app_hash.as_deref(), args.origin.as_deref())?,
        locale: args.locale.as_deref().map(given::locale).transpose()?,
        segments_max: args.allow_segments,
        timeout,
    };
    let phone = request.to.phone().clone();
    let messages = out.message_writer();
    let printer = Box::new(move |text: &str| messages.lines(text));
    // Before the database is opened: without credentials no empty database is left behind.
    App::check_provider(&config)?;
    let app = call.open_with(config, OpenMode::MayCreate, out)?.with_provider(printer, Some(timeout))?;
    let answer = {
        let _hold = call.signals.hold();
        app.run(app.engine().send(&caller, request))?
    };
    let sent = match answer {
        SendAnswer::Refused(refusal) => {
            return Ok(out.refuse(&refusal.error(), refusal.facts()));
        }
        SendAnswer::Sent(sent) => *sent,
    };
    if let Some(error) = sent.failure() {
        let details = serde_json::json!({
            "otp_id": sent.otp_id.to_string(),
            "message_id": format!("m{}", sent.message_id),
            "provider_code": sent.error_code,
        });
        return Ok(out.fail_with(&error, details));
    }
    let (state, error_code) = followed(&app, call, (&caller, &sent), wait)?;
    let message = sent.message;
    let shown = Sent {
        otp_id: sent.otp_id.to_string(),
        message_id: format!("m{}", message.message_id),
        phone: out.phone(&phone),
        purpose: purpose.as_str().to_owned(),
        user: user.as_str().to_owned(),
        state: state.as_str().to_owned(),
        expires_at: message.expires_at,
        resent: message.resent,
        segments: message.segments,
        provider: message.provider,
        provider_id: message.provider_id,
        error_code,
        test: message.test,
    };
    out.show(&shown)?;
    if wait.is_some() && not_delivered((state, error_code), out) {
        return Ok(Class::No);
    }
    let mut next = format!("smsotp verify {}", out.pasted_phone(&phone));
    if shown.purpose != DEFAULT {
        next.push_str(&format!(" --purpose {}", shown.purpose));
    }
    if !shown.user.is_empty() {
        next.push_str(&format!(" --user {}", given::quoted(&shown.user)));
    }
    out.hint(&format!("Check the code with: {next}"));
    Ok(Class::Done)
}

/// Follows a message for as long as `--wait` says: how far it got, and the provider's error code where that is no end that was
/// hoped for.
pub fn followed(
    app: &App,
    call: &Call,
    (caller, sent): (&Caller, &SentMessage),
    wait: Option<Duration>,
) -> Result<(State, Option<u32>)> {
    let Some(wait) = wait.filter(|_| !sent.test) else { return Ok((sent.state, None)) };
    let last = app.run(async {
        tokio::select! {
            report = app.engine().follow(caller, sent.message_id, wait) => report,
            error = call.signals.wait() => Err(error),
        }
    })?;
    Ok((last.state, last.error_code))
}

/// Warns of a message that will not arrive; false: it may.
pub fn not_delivered((state, error_code): (State, Option<u32>), out: &Output) -> bool {
    if !matches!(state, State::Undelivered | State::Failed | State::Canceled) {
        return false;
    }
    let why = error_code.map(|code| format!("; `smsotp explain {code}` says why")).unwrap_or_default();
    out.warn(&format!("the message was not delivered{why}"));
    true
}

/// Where to. At a prompt a number that no plan knows is a typo like any other, unless it is a declared test number.
fn destination(args: &Args, config: &Config, call: &Call, out: &Output) -> Result<Destination> {
    given::phone_or_prompt(args.phone.as_deref(), call, out, |typed| match given::destination(typed, config, call)? {
        Destination::Shape(phone, error) if args.phone.is_none() && !is_test_number(&phone, call) => Err(error),
        to => Ok(to),
    })
}

fn is_test_number(phone: &Phone, call: &Call) -> bool {
    let app = call.config().and_then(|config| App::open(config, OpenMode::Reading, &|_| ()));
    let numbers = app.and_then(|app| app.run(app.engine().test_numbers()));
    numbers.is_ok_and(|numbers| numbers.iter().any(|number| number.phone == *phone))
}
