//! `smsotp list`: codes or messages by phone, user, purpose, state and time, a page at a time.

use clap::builder::PossibleValuesParser;
use serde::Serialize;

use super::Call;
use super::given::{self, Id};
use crate::app::{App, OpenMode};
use crate::clock::Timestamp;
use crate::engine::Filter;
use crate::error::{Class, Code, Error, Result};
use crate::message::{self, Message};
use crate::money::Money;
use crate::otp::{Otp, State};
use crate::output::{Item, List, Output, View};

/// List codes or messages: who, what for, in which state
///
/// The newest come first. The codes themselves are not shown: they are never stored.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp list\n  \
    $ smsotp list --phone +14155552671 --state active\n  \
    $ smsotp list --messages --since 24h --state undelivered,failed --json")]
pub struct Args {
    /// List the messages instead of the codes: how far each got, why not further, and what it costs
    #[arg(long)]
    pub messages: bool,
    /// Only this number
    #[arg(long, value_name = "PHONE")]
    pub phone: Option<String>,
    #[command(flatten)]
    pub region: given::Region,
    #[command(flatten)]
    pub only: given::Only,
    /// Only codes in these states, or with a message in one of them, separated by commas; with --messages only messages in them
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = PossibleValuesParser::new(states()))]
    pub state: Vec<String>,
    #[command(flatten)]
    pub page: given::Page,
}

/// What is said of a page that ends before the database does, with fewer rows than were asked for.
const CUT: &str = "only a part of the database was searched; --after goes on";

/// The states by which codes are listed: their own, and those of their messages. `failed` is both.
fn states() -> Vec<&'static str> {
    let own = State::ALL.iter().map(|state| state.as_str());
    let of_messages = message::State::ALL.iter().map(|state| state.as_str());
    let mut states: Vec<&str> = own.collect();
    states.extend(of_messages.filter(|state| State::parse(state).is_none()));
    states
}

/// One code.
#[derive(Clone, Debug, Serialize)]
pub struct OtpRow {
    pub id: String,
    /// The number, masked unless revealed.
    pub phone_number: String,
    /// The user; empty where none was given.
    pub user: String,
    pub purpose: String,
    pub state: String,
    /// How far its newest message got.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<&'static str>,
    pub is_verified: bool,
    /// Messages that carried it.
    pub messages: u32,
    pub tries: u32,
    pub created_at: Timestamp,
    /// Until when it is valid, unless it ends before.
    pub expires_at: Timestamp,
    /// When it ended: verified, revoked, superseded and so on; absent while it is live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

impl Item for OtpRow {
    const KIND: &'static str = "otp";
    const COLUMNS: &'static [&'static str] =
        &["id", "phone", "user", "purpose", "state", "messages", "tries", "created", "expires", "ended", "delivery"];
    const SPARE: &'static [&'static str] = &["messages", "tries", "ended", "expires", "created", "delivery", "user"];

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
            view.time_if(self.ended_at),
            view.text_if(self.delivery),
        ]
    }
}

/// One message.
#[derive(Clone, Debug, Serialize)]
pub struct MessageRow {
    pub id: String,
    /// The code that it carries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otp_id: Option<String>,
    /// The number, masked unless revealed.
    pub phone_number: String,
    /// The country that it is counted in; absent where the number belongs to none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
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
    /// What it counts for in the ceilings, in US dollars: what it has cost, or what is reserved for it until that is known.
    pub cost: f64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    #[serde(skip)]
    money: Money,
}

impl Item for MessageRow {
    const KIND: &'static str = "message";
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "code",
        "phone",
        "country",
        "state",
        "provider",
        "provider_id",
        "segments",
        "cost",
        "attempts",
        "created",
        "updated",
        "error",
    ];
    const PROSE: &'static [&'static str] = &["error"];
    const SPARE: &'static [&'static str] =
        &["attempts", "provider", "provider_id", "updated", "country", "segments", "cost", "created", "code"];

    fn cells(&self, view: &View) -> Vec<String> {
        let error = match (self.error_code, &self.error) {
            (Some(code), Some(error)) => format!("{code}: {error}"),
            (Some(code), None) => code.to_string(),
            (None, error) => view.text_if(error.as_deref()),
        };
        vec![
            self.id.clone(),
            view.text_if(self.otp_id.as_deref()),
            self.phone_number.clone(),
            view.text_if(self.country.as_deref()),
            self.state.to_owned(),
            self.provider.clone(),
            view.text_if(self.provider_id.as_deref()),
            self.segments.to_string(),
            if view.for_person { self.money.to_string() } else { self.cost.to_string() },
            self.attempts.to_string(),
            view.time(self.created_at),
            view.time(self.updated_at),
            error,
        ]
    }
}

impl MessageRow {
    /// The row of a message, with the number masked unless revealed.
    fn of(message: &Message, out: &Output) -> MessageRow {
        MessageRow {
            id: format!("m{}", message.id),
            otp_id: message.otp_id.map(|id| id.to_string()),
            phone_number: out.phone(&message.phone),
            country: Some(message.country.clone()).filter(|country| !country.is_empty()),
            state: message.state.as_str(),
            provider: message.provider.clone(),
            provider_id: message.provider_id.clone(),
            error_code: message.error_code,
            error: message.error.clone(),
            attempts: message.attempts,
            segments: message.segments,
            cost: message.cost().usd(),
            created_at: message.reserved_at,
            updated_at: message.updated_at,
            money: message.cost(),
        }
    }
}

impl OtpRow {
    /// The row of an otp, with the number masked unless revealed.
    pub fn of(otp: &Otp, messages: u32, newest: Option<message::State>, out: &Output) -> OtpRow {
        OtpRow {
            id: otp.id.to_string(),
            phone_number: out.phone(&otp.phone),
            user: otp.user.as_str().to_owned(),
            purpose: otp.purpose.as_str().to_owned(),
            state: otp.shown_state(out.view().now).as_str().to_owned(),
            delivery: newest.map(message::State::as_str),
            is_verified: otp.state == State::Verified,
            messages,
            tries: otp.wrong_guesses,
            created_at: otp.created_at,
            expires_at: otp.expires_at,
            ended_at: otp.ended_at,
        }
    }
}

/// Parses, reads a page, shows it.
pub fn run(args: Args, call: &Call, out: &mut Output) -> Result<Class> {
    let (purpose, user) = args.only.check()?;
    let (since, until) = args.page.period(out.view().now)?;
    let after = |text: &str| match given::id(text) {
        Some(Id::Otp(id)) if !args.messages => Some(id),
        Some(Id::Message(id)) if args.messages => Some(id),
        _ => None,
    };
    if let Some(word) = args.state.iter().find(|word| args.messages && message::State::parse(word).is_none()) {
        let states: Vec<&str> = message::State::ALL.iter().map(|state| state.as_str()).collect();
        return Err(Error::new(Code::VALUE_INVALID, format!("no message is ever {word}: that is a state of codes"))
            .hint(format!("With --messages, --state takes {}.", states.join(", "))));
    }
    let config = args.region.config(call)?;
    let filter = Filter {
        phone: args.phone.as_deref().map(|text| given::phone(text, &config, call)).transpose()?,
        user,
        purpose,
        states: args.state.iter().filter_map(|word| State::parse(word)).collect(),
        deliveries: args.state.iter().filter_map(|word| message::State::parse(word)).collect(),
        since,
        until,
        before: args.page.after(after)?,
        limit: args.page.limit,
    };
    let app = call.open_with(config, OpenMode::Reading, out)?;
    if args.messages {
        return messages(&app, &filter, out);
    }
    let page = app.run(app.engine().list(&filter))?;
    if page.rows.is_empty() {
        given::declared(filter.purpose.as_ref(), app.engine().policy())?;
    }
    let rows = page.rows.iter().map(|(otp, messages, newest)| OtpRow::of(otp, *messages, *newest, out)).collect();
    if page.cut {
        out.warn(CUT);
    }
    out.list(&List {
        items: rows,
        more: u64::from(page.more),
        next_after: page.next.map(|id| id.to_string()),
        when_empty: "No codes.",
    })
}

fn messages(app: &App, filter: &Filter, out: &mut Output) -> Result<Class> {
    let page = app.run(app.engine().list_messages(filter))?;
    if page.rows.is_empty() {
        given::declared(filter.purpose.as_ref(), app.engine().policy())?;
    }
    if page.cut {
        out.warn(CUT);
    }
    out.list(&List {
        items: page.rows.iter().map(|message| MessageRow::of(message, out)).collect(),
        more: u64::from(page.more),
        next_after: page.next.map(|id| format!("m{id}")),
        when_empty: "No messages.",
    })
}
