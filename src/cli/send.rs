//! `smsotp send`: sends a code to a phone.

use serde::Serialize;

use super::{Call, given, unwired};
use crate::clock::Timestamp;
use crate::error::{Class, Result};
use crate::output::{Output, Page, Render, Sheet, View};

/// Send a code to a phone
///
/// Asked again while a code lives, the same code goes out again, with its life and its tries unchanged. Limits, opt-outs
/// and blocks are checked first; nothing is sent that could not be verified.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp send +14155552671\n  \
    $ smsotp send +14155552671 --purpose login --user alice --ip 203.0.113.7\n  \
    $ smsotp send '0151 23456789' --region DE --wait=60s --json")]
pub struct Args {
    /// The number, in international form, or national with --region
    pub phone: Option<String>,
    /// What the code is for
    #[arg(long, value_name = "NAME", default_value = crate::purpose::DEFAULT)]
    pub purpose: String,
    /// Your identifier of the user; the code is bound to it
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,
    /// The address of the person who asked; its limits then apply
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<String>,
    /// The country of a number in national form, two letters
    #[arg(long, value_name = "COUNTRY")]
    pub region: Option<String>,
    /// Send a new code even if one lives
    #[arg(long)]
    pub new_code: bool,
    /// Pass one limit by its name; audited
    #[arg(long = "override", value_name = "LIMIT", requires = "reason")]
    pub overrides: Vec<String>,
    /// Why a limit is passed
    #[arg(long, value_name = "TEXT", requires = "overrides")]
    pub reason: Option<String>,
    /// Repeat safely: the same key gets the same answer and sends once
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// Give up after this long
    #[arg(long, value_name = "SPAN", default_value = "45s")]
    pub timeout: String,
    /// Follow the message to its last status, at most this long [default: 60s]
    #[arg(long, value_name = "SPAN", num_args = 0..=1, require_equals = true, default_missing_value = "60s")]
    pub wait: Option<String>,
    /// The 11 characters by which Android hands the message to your app
    #[arg(long, value_name = "HASH")]
    pub app_hash: Option<String>,
    /// The domain whose web page may fill the code in by itself
    #[arg(long, value_name = "DOMAIN", conflicts_with = "app_hash")]
    pub origin: Option<String>,
    /// Allow the message to take this many SMS segments
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10))]
    pub allow_segments: Option<u32>,
    /// Send through this provider
    #[arg(long, value_name = "NAME", value_parser = ["twilio", "console"])]
    pub provider: Option<String>,
}

/// What `send` answers when the message went out.
#[derive(Debug, Serialize)]
pub struct Sent {
    /// Id of the code.
    pub otp_id: String,
    /// Id of the message.
    pub message_id: String,
    /// The number, masked unless revealed.
    pub phone: String,
    /// The purpose.
    pub purpose: String,
    /// The user; empty where none was given.
    pub user: String,
    /// The message's state.
    pub state: String,
    /// When the code ends.
    pub expires_at: Timestamp,
    /// Whether a living code was sent again.
    pub resent: bool,
    /// SMS segments of the message.
    pub segments: u32,
    /// Who carried it.
    pub provider: String,
    /// The provider's id of the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<String>,
    /// A declared test number: nothing was sent.
    pub test: bool,
}

impl Render for Sent {
    const KIND: &'static str = "sent";

    fn sheet(&self, view: &View) -> Sheet {
        Sheet::one(vec![
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

    fn page(&self, view: &View) -> Page {
        let what = match (self.test, self.resent) {
            (true, _) => format!("{} is a test number: nothing was sent.", self.phone),
            (_, true) => format!("The same code went out again to {}.", self.phone),
            _ => format!("A code is on its way to {}.", self.phone),
        };
        Page::new()
            .text(what)
            .field("id", &self.otp_id)
            .field("purpose", &self.purpose)
            .field("message", format!("{} ({})", self.message_id, self.state))
            .field_if("provider", self.provider_id.as_ref().map(|id| format!("{} {id}", self.provider)))
            .field("expires", view.time(self.expires_at))
    }
}

/// Parses, sends, shows.
pub fn run(args: Args, call: &Call, out: &mut Output) -> Result<Class> {
    let _timeout = given::span("--timeout", &args.timeout)?;
    let _wait = args.wait.as_deref().map(|span| given::span("--wait", span)).transpose()?;
    let _phone = given::phone_text(args.phone.as_deref(), call, out)?;
    // Seam: Phone (with args.region) → engine::send under call.signals.hold() → out.show(&Sent) → out.say("Check it with: …");
    // a refusal → out.refuse.
    Err(unwired("send"))
}
