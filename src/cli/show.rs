//! `smsotp show`: everything that happened to one code, safe to paste into a ticket.

use serde::Serialize;

use super::Call;
use super::country::{self, Refusal};
use super::given::{self, Named};
use super::list::OtpRow;
use crate::app::{App, OpenMode, os_caller};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::engine::{RuleRefusal, TimelineStep, Wanted};
use crate::error::{Class, Code, Error, Result};
use crate::message;
use crate::otp::Otp;
use crate::output::{Layout, Output, Render, Table, View};
use crate::phone;

/// Show everything that happened to one code or message, or what the guard did about a country
///
/// One timeline: the request, the limits, the provider, the tries, the end. It holds no code and no whole phone number,
/// so it can be pasted into a ticket. The provider is asked first what became of messages whose end is not known.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp show +14155552671 --purpose login\n  \
    $ smsotp show TJ\n  \
    $ smsotp show '+99290012*'")]
pub struct Args {
    /// The id of a code or (m…) of a message, a number (its newest code, or message without one), a country of two letters, or a block
    /// of numbers: all but the last four digits and a star
    #[arg(value_name = "ID|PHONE|COUNTRY|BLOCK")]
    pub what: String,
    #[command(flatten)]
    pub region: given::Region,
    #[command(flatten)]
    pub only: given::Only,
    /// Show what the database knows, without asking the provider
    #[arg(long)]
    pub no_refresh: bool,
}

/// One step of a code's life.
#[derive(Debug, Serialize)]
pub struct Event {
    pub at: Timestamp,
    /// What: `send`, `accepted`, `wrong_guess`, ...
    pub what: String,
    pub who: String,
    /// How it ended and more about it, in words.
    pub detail: String,
}

/// One message of a code.
#[derive(Debug, Serialize)]
pub struct Message {
    pub id: String,
    /// How far it got.
    pub state: &'static str,
    pub provider: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How often it was handed over.
    pub attempts: u32,
    pub segments: u32,
    pub updated_at: Timestamp,
}

/// One code and everything that happened to it.
#[derive(Debug, Serialize)]
pub struct Timeline {
    pub otp: OtpRow,
    /// Its messages, oldest first.
    pub messages: Vec<Message>,
    /// What happened, oldest first.
    pub events: Vec<Event>,
}

/// A message without a code, and everything that happened to it.
#[derive(Debug, Serialize)]
pub struct MessageTimeline {
    pub message: Message,
    /// The number, masked unless revealed.
    pub phone_number: String,
    pub created_at: Timestamp,
    /// When it is sent, where it waits for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
    /// It is not sent after this.
    pub expires_at: Timestamp,
    /// What happened, oldest first.
    pub events: Vec<Event>,
}

fn events(events: &[Event], view: &View) -> Table {
    let mut table = Table::new(&["at", "what", "detail", "who"]).prose(&["detail"]).spare(&["who"]);
    for Event { at, what, who, detail } in events {
        table.row(vec![view.time(*at), what.clone(), view.text_if(Some(detail)), who.clone()]);
    }
    table
}

impl Render for MessageTimeline {
    const KIND: &'static str = "message_timeline";

    fn table(&self, view: &View) -> Table {
        events(&self.events, view)
    }

    fn layout(&self, view: &View) -> Layout {
        let message = &self.message;
        Layout::new()
            .heading(format!("Message {} to {}", message.id, self.phone_number))
            .field("state", message.state)
            .field_if("error", message.error_in_words())
            .field_if("provider", message.provider_id.as_ref().map(|id| format!("{} {id}", message.provider)))
            .field("made", format!("{} ({})", view.time(self.created_at), self.created_at))
            .field_if("due", self.due_at.map(|at| format!("{} ({at})", view.time(at))))
            .field("wanted until", format!("{} ({})", view.time(self.expires_at), self.expires_at))
            .field("segments", message.segments.to_string())
            .field("attempts", message.attempts.to_string())
            .blank()
            .table(events(&self.events, &View { for_person: false, ..*view }))
    }
}

impl Render for Timeline {
    const KIND: &'static str = "timeline";

    fn table(&self, view: &View) -> Table {
        events(&self.events, view)
    }

    fn layout(&self, view: &View) -> Layout {
        let otp = &self.otp;
        let mut messages = Table::new(&["message", "state", "provider", "provider_id", "error", "attempts"])
            .prose(&["error"])
            .spare(&["attempts", "provider"]);
        for message in &self.messages {
            let error = view.text_if(message.error_in_words().as_deref());
            messages.row(vec![
                message.id.clone(),
                message.state.to_owned(),
                message.provider.clone(),
                view.text_if(message.provider_id.as_deref()),
                error,
                message.attempts.to_string(),
            ]);
        }
        Layout::new()
            .heading(format!("Code {} for {}", otp.id, otp.phone_number))
            .field("state", &otp.state)
            .field("purpose", &otp.purpose)
            .field("user", view.text_if(Some(&otp.user)))
            .field("made", format!("{} ({})", view.time(otp.created_at), otp.created_at))
            .field("expires", format!("{} ({})", view.time(otp.expires_at), otp.expires_at))
            .field_if("ended", otp.ended_at.map(|at| format!("{} ({at})", view.time(at))))
            .field("tries", otp.tries.to_string())
            .blank()
            .table(messages)
            .blank()
            .table(self.table(&View { for_person: false, ..*view }))
    }
}

/// Parses, reads, shows.
pub fn run(args: Args, call: &Call, out: &mut Output) -> Result<Class> {
    if let Some(country) = phone::country(args.what.trim()) {
        return country::show(country, call, out);
    }
    if let Some(block) = args.what.trim().strip_suffix('*') {
        return country::show_block(block, call, out);
    }
    let config = args.region.config(call)?;
    let wanted = wanted(&args, &config, call)?;
    let app = call.open_with(config, OpenMode::Reading, out)?;
    let app = if args.no_refresh { app } else { app.with_a_provider_that_works() };
    let mut found = None;
    for wanted in &wanted {
        found = app.run(app.engine().find(wanted))?;
        if found.is_some() {
            break;
        }
    }
    let Some(otp) = found else {
        for wanted in &wanted {
            if let Some(message) = app.run(app.engine().find_message(wanted))? {
                return show_message(&app, message, out);
            }
        }
        let mut what = match wanted.as_slice() {
            [Wanted::Message(_)] => "there is no such message in the database".to_owned(),
            _ => "there is no such code in the database".to_owned(),
        };
        if let Some(Wanted::Newest(phone, purpose, _)) = wanted.last() {
            given::declared(purpose.as_ref(), app.engine().policy())?;
            if let Some(last) = app.run(app.engine().refusals_of(phone))?.first() {
                let (at, why) = (last.at, Refusal::of(last).in_words());
                what.push_str(&format!("; the guard refused this phone at {at}: {why}"));
            }
        }
        return Err(Error::new(Code::NOT_FOUND, what)
            .hint("`smsotp list` shows what there is; finished codes are purged after a day."));
    };
    let otp = refreshed(&app, otp, out)?;
    let timeline = app.run(app.engine().timeline(otp))?;
    out.show(&Timeline {
        otp: OtpRow::of(
            &timeline.otp,
            u32::try_from(timeline.messages.len()).unwrap_or(u32::MAX),
            timeline.messages.last().map(|message| message.state),
            out,
        ),
        messages: timeline.messages.iter().map(Message::of).collect(),
        events: timeline.steps.iter().map(Event::of).collect(),
    })
}

/// A message without a code, after asking the provider what became of it.
fn show_message(app: &App, message: message::Message, out: &mut Output) -> Result<Class> {
    told(app.run(app.engine().refresh_message(&os_caller(), &message)), "it", out);
    let again = app.run(app.engine().find_message(&Wanted::Message(message.id)))?;
    let message = again.unwrap_or(message);
    let steps = app.run(app.engine().steps_of(&message))?;
    out.show(&MessageTimeline {
        phone_number: out.phone(&message.phone),
        created_at: message.reserved_at,
        due_at: message.due_at.filter(|_| message.state.is_waiting()),
        expires_at: message.expires_at,
        message: Message::of(&message),
        events: steps.iter().map(Event::of).collect(),
    })
}

/// Warns where the provider was not asked, or a database that cannot be written to is shown as it is.
fn told(asked: Result<Option<Error>>, whose: &str, out: &Output) {
    if let Some(error) = asked.unwrap_or_else(Some) {
        out.warn(&format!("what became of {whose} could not be found out now: {error}"));
    }
}

/// Asks the provider about the messages of an otp. What the database knows is worth showing also where that is not possible.
fn refreshed(app: &App, otp: Otp, out: &Output) -> Result<Otp> {
    told(app.run(app.engine().refresh(&os_caller(), &otp)), "its messages", out);
    Ok(app.run(app.engine().find(&Wanted::Otp(otp.id)))?.unwrap_or(otp))
}

/// What may be meant, the likelier first.
fn wanted(args: &Args, config: &Config, call: &Call) -> Result<Vec<Wanted>> {
    let (purpose, user) = args.only.check()?;
    let newest = |phone| Wanted::Newest(phone, purpose, user);
    Ok(match given::named(&args.what, config, call)? {
        Named::Otp(id) => vec![Wanted::Otp(id)],
        Named::Message(id) => vec![Wanted::Message(id)],
        Named::Phone(phone) => vec![newest(phone)],
        Named::OtpOrPhone(id, phone) => vec![Wanted::Otp(id), newest(phone)],
    })
}

impl Event {
    fn of(step: &TimelineStep) -> Event {
        let text = |name: &str| step.details.get(name).and_then(serde_json::Value::as_str);
        let number = |name: &str| step.details.get(name).and_then(serde_json::Value::as_i64);
        let mut words: Vec<String> = vec![step.outcome.replace('_', " ")];
        words.extend(text("limit").map(|limit| format!("limit {limit}")));
        words.extend(RuleRefusal::of(step).map(|refusal| Refusal::of(&refusal).in_words()));
        words.extend(text("alarms").map(|kinds| format!("raised the alarm {kinds}")));
        words.extend(text("how").filter(|how| *how != "new").map(str::to_owned));
        words.extend(number("message").map(|id| format!("message m{id}")));
        words.extend(number("error_code").map(|code| format!("error {code}")));
        words.extend(text("override").map(|limit| format!("limit {limit} overridden")));
        words.extend(text("reason").filter(|reason| !reason.is_empty()).map(|reason| format!("because: {reason}")));
        Event { at: step.at, what: step.action.clone(), who: step.actor.clone(), detail: words.join(", ") }
    }
}

impl Message {
    /// The provider's error code and what went wrong.
    fn error_in_words(&self) -> Option<String> {
        match (self.error_code, &self.error) {
            (Some(code), Some(error)) => Some(format!("{code}: {error}")),
            (Some(code), None) => Some(code.to_string()),
            (None, error) => error.clone(),
        }
    }

    fn of(message: &message::Message) -> Message {
        Message {
            id: format!("m{}", message.id),
            state: message.state.as_str(),
            provider: message.provider.clone(),
            provider_id: message.provider_id.clone(),
            error_code: message.error_code,
            error: message.error.clone(),
            attempts: message.attempts,
            segments: message.segments,
            updated_at: message.updated_at,
        }
    }
}
