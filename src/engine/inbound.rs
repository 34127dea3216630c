//! What a recipient texts back: STOP and START. Who sent it was checked before.

use std::sync::Arc;

use super::context::{Caller, Context};
use crate::audit::{Details, Event};
use crate::error::Result;
use crate::phone::Phone;
use crate::store::{Decision, Needs, Subject};

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

/// Does what a recipient asked for: STOP and START change the opt-out at once, whatever else is known of the phone.
pub(super) async fn inbound(ctx: &Context, caller: &Caller, from: &Phone, what: Inbound) -> Result<InboundAnswer> {
    let (stop, action) = match what {
        Inbound::Stop => (true, "opt-out"),
        Inbound::Start => (false, "opt-in"),
        Inbound::Help | Inbound::Other => return Ok(InboundAnswer::Unchanged),
    };
    let needs = Needs { subjects: vec![Subject::Phone(from.clone())], ..Needs::default() };
    let (actor, policy) = (caller.actor.clone(), Arc::clone(&ctx.policy));
    ctx.operate(needs, move |facts| {
        let phone = facts.phone()?;
        if phone.usage.opted_out_at.is_some() == stop {
            return Ok(Decision::Nothing(InboundAnswer::Unchanged));
        }
        let now = facts.checked_now()?;
        let change = phone.updated(now, &policy.limits, |usage| usage.opted_out_at = stop.then_some(now.millis()));
        let details = Details::new().word("by", "text");
        let event = Event::new(now, actor.clone(), action, "done").subject(&phone.id.0).details(details);
        let answer = if stop { InboundAnswer::OptedOut } else { InboundAnswer::OptedIn };
        Ok(Decision::Write { changes: vec![change], event, answer })
    })
    .await
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
            "stop sending me codes",
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
            "stop by the blue shop",
            "yes I did",
        ] {
            assert_eq!(Inbound::of(text), Inbound::Other, "{text:?}");
        }
        assert_eq!(Inbound::of(&"stop ".repeat(10_000)), Inbound::Other);
    }
}
