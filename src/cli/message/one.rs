//! One message.

use std::io::Read;

use secrecy::SecretString;
use serde::Serialize;

use super::args::Args;
use crate::app::{App, OpenMode};
use crate::cli::send::{followed, not_delivered};
use crate::cli::{Call, given};
use crate::clock::Timestamp;
use crate::engine::{Content, SendAnswer, SendMessage, TEXT_MAX};
use crate::error::{Class, Code, Error, Result};
use crate::message::State;
use crate::output::{Layout, Output, Render, Table, View};

/// The state of a message that is booked.
const SCHEDULED: &str = "scheduled";

/// What `message send` answers when the message went out, or is booked.
#[derive(Debug, Serialize)]
pub struct MessageSent {
    pub message_id: String,
    /// The number, masked unless revealed.
    pub phone: String,
    pub state: String,
    /// It is not sent after this.
    pub expires_at: Timestamp,
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

impl Render for MessageSent {
    const KIND: &'static str = "message_sent";

    fn table(&self, view: &View) -> Table {
        Table::one_row(vec![
            ("id", self.message_id.clone()),
            ("phone", self.phone.clone()),
            ("state", self.state.clone()),
            ("segments", self.segments.to_string()),
            ("provider_id", view.text_if(self.provider_id.as_deref())),
        ])
    }

    fn layout(&self, _: &View) -> Layout {
        let what = match self.state.as_str() {
            _ if self.test => format!("{} is a test number: nothing was sent.", self.phone),
            SCHEDULED => format!("A message to {} is booked.", self.phone),
            _ => format!("A message is on its way to {}.", self.phone),
        };
        Layout::new()
            .text(what)
            .field("id", &self.message_id)
            .field("state", &self.state)
            .field("segments", self.segments.to_string())
            .field_if("provider", self.provider_id.as_ref().map(|id| format!("{} {id}", self.provider)))
    }
}

/// Parses, sends, follows the message where `--wait` is given, shows.
pub fn run(args: Args, call: &Call, out: &mut Output) -> Result<Class> {
    let now = out.view().now;
    let phone = args.phone.as_deref().ok_or_else(|| Error::new(Code::USAGE, "PHONE is missing"))?;
    let timeout = given::timeout(&args.timeout)?;
    let wait = args.wait.as_deref().map(|span| given::span("--wait", span)).transpose()?;
    let caller = given::caller(None)?;
    let config = call.config_with(args.provider.clone(), args.region.region.clone())?;
    let request = SendMessage {
        to: given::destination(phone, &config, call)?,
        override_limits: args.staff.check()?,
        content: content(&args)?,
        at: args.at.as_deref().map(|text| given::moment("--at", text, |span| now + span)).transpose()?,
        idempotency_key: args.idempotency_key.clone(),
        segments_max: args.allow_segments,
        cost_max: args.cost_max()?,
        valid_for: args.wanted_for()?,
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
        app.run(app.engine().send_message(&caller, request))?
    };
    let sent = match answer {
        SendAnswer::Refused(refusal) => return Ok(out.refuse(&refusal.error(), refusal.facts())),
        SendAnswer::Sent(sent) => *sent,
    };
    if let Some(error) = sent.failure() {
        let details = serde_json::json!({
            "message_id": format!("m{}", sent.message_id),
            "provider_code": sent.error_code,
        });
        return Ok(out.fail_with(&error, details));
    }
    let (state, error_code) = followed(&app, call, (&caller, &sent), wait)?;
    out.show(&MessageSent {
        message_id: format!("m{}", sent.message_id),
        phone: out.phone(&phone),
        state: state.as_str().to_owned(),
        expires_at: sent.expires_at,
        segments: sent.segments,
        provider: sent.provider,
        provider_id: sent.provider_id,
        error_code,
        test: sent.test,
    })?;
    if wait.is_some() && not_delivered((state, error_code), out) {
        return Ok(Class::No);
    }
    out.hint(&match state {
        State::Scheduled => {
            format!("`smsotp dispatch` or `serve` sends it then. To cancel it: smsotp revoke m{}", sent.message_id)
        }
        _ => format!("What becomes of it: smsotp show m{}", sent.message_id),
    });
    Ok(Class::Done)
}

fn content(args: &Args) -> Result<Content> {
    match (&args.template, args.text.as_deref()) {
        (Some(name), _) => Ok(Content::Template {
            name: name.clone(),
            values: args.vars.iter().cloned().collect(),
            locale: args.locale.as_deref().map(given::locale).transpose()?,
        }),
        (None, Some("-")) => read().map(Content::Text),
        (None, text) => Ok(Content::text(text.unwrap_or_default())),
    }
}

/// What standard input holds.
fn read() -> Result<SecretString> {
    // A character is at most four bytes.
    let most = TEXT_MAX as u64 * 4 + 2;
    let mut text = String::new();
    let unreadable = |error| Error::new(Code::FILE_FAILED, "standard input holds no text").because(error);
    std::io::stdin().lock().take(most + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > most {
        return Err(Error::new(
            Code::VALUE_INVALID,
            format!("standard input holds more than the {TEXT_MAX} characters that Twilio takes"),
        ));
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned().into())
}
