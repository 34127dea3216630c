//! News from outside: what the provider reports of a message, and what a recipient texts back. Who sent it was checked before.

use super::{Caller, Engine, put, steady};
use crate::audit::{Details, Event};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::message::{Message, State};
use crate::phone::Phone;
use crate::store::{Change, Facts, Needs, Subject};

/// The longest provider id that is kept, in characters.
const PROVIDER_ID_MAX: usize = 64;

/// What the provider reports of one message.
#[derive(Clone, Debug)]
pub struct Report {
    /// Our id of the message.
    pub message_id: i64,
    /// The provider's id.
    pub provider_id: String,
    /// How far the message got.
    pub state: State,
    /// The error code of a failed delivery.
    pub error_code: Option<u32>,
    /// Whom it went to, where the provider says so.
    pub to: Option<Phone>,
}

/// What a report changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// The message moved forward to this state.
    Moved(State),
    /// An old or repeated report.
    Old,
    /// No message has this id, or it is another one's.
    Stranger,
}

/// What a recipient texted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// No more messages.
    Stop,
    /// Messages again.
    Start,
    /// What is this?
    Help,
    /// Something else.
    Other,
}

/// What became of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InboundAnswer {
    /// The recipient gets no more messages from now on.
    OptedOut,
    /// The recipient gets messages again from now on.
    OptedIn,
    /// Nothing changed.
    Unchanged,
}

/// Words that end messages by themselves: CTIA's and the FCC's of April 2025, Twilio's, and their French, Spanish and German
/// sisters.
const STOP: [&str; 15] = [
    "STOP",
    "STOPALL",
    "STOP ALL",
    "END",
    "QUIT",
    "CANCEL",
    "UNSUBSCRIBE",
    "REVOKE",
    "OPTOUT",
    "OPT OUT",
    "ARRET",
    "ARRETER",
    "ALTO",
    "BAJA",
    "STOPP",
];

/// Words that end messages also as the first of a few: "stop please", "unsubscribe me".
const STOP_FIRST: [&str; 4] = ["STOP", "UNSUBSCRIBE", "ARRET", "STOPP"];

/// So many words still are a request and no letter.
const REQUEST_WORDS: usize = 4;

const START: [&str; 5] = ["START", "YES", "UNSTOP", "OPTIN", "OPT IN"];

const HELP: [&str; 3] = ["HELP", "INFO", "AIDE"];

impl Inbound {
    /// What a text asks for: case, punctuation and spaces around the words do not matter.
    pub fn of(text: &str) -> Inbound {
        let text: String = text.chars().take(200).collect();
        let plain: String = text.chars().map(|c| plain(c).unwrap_or(' ')).collect();
        let words: Vec<&str> = plain.split_whitespace().collect();
        let whole = words.join(" ");
        let polite =
            words.iter().copied().filter(|word| !matches!(*word, "PLEASE" | "PLS" | "SVP")).collect::<Vec<_>>();
        let first = polite.first().copied().unwrap_or_default();
        let by_itself = STOP.contains(&whole.as_str()) || STOP.contains(&polite.join(" ").as_str());
        if by_itself || (polite.len() <= REQUEST_WORDS && STOP_FIRST.contains(&first)) {
            Inbound::Stop
        } else if START.contains(&whole.as_str()) {
            Inbound::Start
        } else if HELP.contains(&whole.as_str()) {
            Inbound::Help
        } else {
            Inbound::Other
        }
    }
}

/// Upper case, without the accent of "arrêt"; `None` for what separates words. An apostrophe or hyphen inside is a separator.
fn plain(c: char) -> Option<char> {
    match c {
        'ê' | 'Ê' | 'é' | 'É' | 'è' | 'È' => Some('E'),
        // Full-width letters, as some keyboards write them.
        '\u{ff21}'..='\u{ff3a}' => char::from_u32(c as u32 - 0xfee0),
        '\u{ff41}'..='\u{ff5a}' => char::from_u32(c as u32 - 0xff00),
        c if c.is_ascii_alphabetic() => Some(c.to_ascii_uppercase()),
        c if c.is_alphanumeric() => Some(c),
        _ => None,
    }
}

impl Engine {
    /// Records what the provider reports: forward only, and the same news twice changes nothing.
    ///
    /// # Errors
    /// `STORE_*`.
    pub async fn report(&self, caller: &Caller, report: Report) -> Result<Reported> {
        let Some(known) = self.store.message(report.message_id).await? else { return Ok(Reported::Stranger) };
        let subjects = vec![Subject::Phone(known.phone)];
        let needs = Needs { subjects, message: Some(report.message_id), ..Needs::default() };
        let actor = caller.actor.clone();
        self.operation(needs, move |facts| {
            let Some(message) = facts.message.as_ref().filter(|message| report.is_about(message)) else {
                return Ok((Vec::new(), Reported::Stranger));
            };
            let Some(news) = report.news(message, facts.now) else { return Ok((Vec::new(), Reported::Old)) };
            let mut details = Details::new().number("message", news.id);
            if let Some(otp) = news.otp_id {
                details = details.number("otp", otp);
            }
            if let Some(code) = news.error_code {
                details = details.number("error_code", i64::from(code));
            }
            let event = Event::new(news.updated_at, actor.clone(), "report", news.state.as_str())
                .subject(&facts.subjects[0].id.0)
                .details(details);
            let state = news.state;
            Ok((vec![Change::PutMessage(news), Change::Audit(event)], Reported::Moved(state)))
        })
        .await
    }

    /// Does what a recipient asked for: STOP and START change the opt-out at once, whatever else is known of the phone.
    ///
    /// # Errors
    /// `STORE_*`, `CLOCK_WRONG`.
    pub async fn inbound(&self, caller: &Caller, from: &Phone, what: Inbound) -> Result<InboundAnswer> {
        let (stop, action) = match what {
            Inbound::Stop => (true, "opt-out"),
            Inbound::Start => (false, "opt-in"),
            Inbound::Help | Inbound::Other => return Ok(InboundAnswer::Unchanged),
        };
        let needs = Needs { subjects: vec![Subject::Phone(from.clone())], ..Needs::default() };
        let (actor, longest) = (caller.actor.clone(), self.policy.limits.longest());
        self.operation(needs, move |facts: &Facts| {
            let fact = &facts.subjects[0];
            if fact.usage.opted_out_at.is_some() == stop {
                return Ok((Vec::new(), InboundAnswer::Unchanged));
            }
            let now = steady(facts.now, &[&fact.usage])?;
            let mut usage = fact.usage.clone();
            usage.saw(now);
            usage.opted_out_at = stop.then_some(now.millis());
            let details = Details::new().word("by", "text");
            let event = Event::new(now, actor.clone(), action, "done").subject(&fact.id.0).details(details);
            let answer = if stop { InboundAnswer::OptedOut } else { InboundAnswer::OptedIn };
            Ok((vec![put(fact, usage, longest), Change::Audit(event)], answer))
        })
        .await
    }
}

impl Report {
    /// Our id came back in the callback's address; the provider's id and the recipient have to fit what we know.
    fn is_about(&self, message: &Message) -> bool {
        let same_id = message.provider_id.as_ref().is_none_or(|known| *known == self.provider_id);
        let same_phone = self.to.as_ref().is_none_or(|to| *to == message.phone);
        same_id && same_phone && message.provider != "test"
    }

    /// The message as the news leave it; `None` where they are old.
    pub(super) fn news(&self, message: &Message, now: Timestamp) -> Option<Message> {
        let moved = message.state.after_report(self.state);
        let identified = message.provider_id.is_none() && self.provider_id.len() <= PROVIDER_ID_MAX;
        if moved.is_none() && !identified {
            return None;
        }
        let mut news = message.clone();
        if identified {
            news.provider_id = Some(self.provider_id.clone());
        }
        news.updated_at = now.max(message.updated_at);
        if let Some(state) = moved {
            news.state = state;
            news.error_code = self.error_code;
            news.error = None;
            // Nobody has to look for it any more.
            news.due_at = news.due_at.filter(|_| !state.is_final());
        }
        Some(news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_and_start_are_heard_in_any_dress() {
        for text in [
            "STOP",
            "stop",
            " Stop. ",
            "StOp!!!",
            "end",
            "Quit",
            "CANCEL",
            "unsubscribe",
            "REVOKE",
            "opt out",
            "OPT-OUT",
            "optout",
            "Arrêt",
            "ARRET",
            "stop please",
            "Please stop",
            "stop texting me",
            "STOPALL",
            "stop all",
            "Ｓｔｏｐ",
            "\"STOP\"",
            "\nstop\r\n",
            "unsubscribe me please",
            "stopp",
        ] {
            assert_eq!(Inbound::of(text), Inbound::Stop, "{text:?}");
        }
        for text in ["start", "START.", "unstop", "Yes", "opt in"] {
            assert_eq!(Inbound::of(text), Inbound::Start, "{text:?}");
        }
        for text in ["help", "HELP?", "info"] {
            assert_eq!(Inbound::of(text), Inbound::Help, "{text:?}");
        }
        for text in [
            "",
            "123456",
            "thanks",
            "end of the road",
            "cancel my order for tomorrow",
            "don't stop me now, I am having a good time",
            "stop by the shop on your way home",
            "yes I did",
        ] {
            assert_eq!(Inbound::of(text), Inbound::Other, "{text:?}");
        }
        assert_eq!(Inbound::of(&"stop ".repeat(10_000)), Inbound::Other);
    }
}
