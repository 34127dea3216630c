//! What Twilio's error codes mean and what to do about each: 164 codes, sorted, in our own words.

mod entries;

use serde::Serialize;

use self::entries::ENTRIES;
use crate::provider;

/// An error code, explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Twilio's code.
    pub code: u32,
    /// Where it shows up.
    pub stage: Stage,
    /// The HTTP status that it comes with, where it answers a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// Who has to act.
    pub blame: Blame,
    /// Whether repeating helps.
    pub retry: Retry,
    /// A few words.
    pub title: &'static str,
    /// What happened.
    pub meaning: &'static str,
    /// What to do about it.
    pub fix: &'static str,
}

/// Where a code shows up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Twilio refused the request.
    Request,
    /// A message was taken and not delivered.
    Delivery,
    /// The Verify service.
    Verify,
    /// The Lookup service.
    Lookup,
    /// A voice call.
    Voice,
    /// Twilio calling our URL.
    Webhook,
    /// A code that the catalogue does not hold.
    Unknown,
}

/// Who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Blame {
    /// The request was wrong.
    Caller,
    /// The set-up: credentials, sender, permissions, registration.
    Config,
    /// The account: suspended, on trial, without a right.
    Account,
    /// The recipient's number or choice.
    Recipient,
    /// The carrier.
    Carrier,
    /// Twilio.
    Platform,
    /// A limit.
    Limit,
    /// Held to be fraud.
    Fraud,
}

/// Whether repeating helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// The same request will always fail.
    Never,
    /// Only after something was changed.
    AfterFix,
    /// Soon, with growing pauses.
    Backoff,
    /// After minutes or hours.
    Later,
    /// It may have been done already: look first.
    Ambiguous,
    /// By another channel.
    OtherChannel,
}

/// What is known about a code, whether the catalogue holds it or only its range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// The catalogue's entry, or what holds for the code's range.
    #[serde(flatten)]
    pub entry: Entry,
    /// False where the catalogue does not hold the code and its range speaks for it.
    pub known: bool,
    /// Twilio's own page about it.
    pub docs_url: String,
}

/// Explains any code. Twilio adds codes without notice, so an unknown one is explained by its range.
pub fn explain(code: u32) -> Explained {
    let (entry, known) = match find(code) {
        Some(entry) => (*entry, true),
        None => (by_range(code), false),
    };
    Explained { entry, known, docs_url: docs_url(code) }
}

/// The catalogue's entry of a code.
pub fn find(code: u32) -> Option<&'static Entry> {
    ENTRIES.binary_search_by_key(&code, |entry| entry.code).ok().map(|at| &ENTRIES[at])
}

/// Every entry, by ascending code.
pub fn entries() -> &'static [Entry] {
    ENTRIES
}

/// Twilio's own page about a code.
pub fn docs_url(code: u32) -> String {
    format!("https://www.twilio.com/docs/errors/{code}")
}

impl Blame {
    /// Who has to act, as the database and the operations know it.
    pub fn for_provider(self) -> provider::Blame {
        match self {
            Blame::Caller => provider::Blame::Request,
            Blame::Config | Blame::Account => provider::Blame::Setup,
            Blame::Recipient => provider::Blame::Recipient,
            Blame::Carrier | Blame::Platform => provider::Blame::Provider,
            Blame::Limit => provider::Blame::Limit,
            Blame::Fraud => provider::Blame::Fraud,
        }
    }

    /// Who has to act, for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Blame::Caller => "the request",
            Blame::Config => "the set-up",
            Blame::Account => "the account",
            Blame::Recipient => "the recipient",
            Blame::Carrier => "the carrier",
            Blame::Platform => "Twilio",
            Blame::Limit => "a limit",
            Blame::Fraud => "fraud protection",
        }
    }
}

impl Stage {
    /// Where the code shows up, for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Request => "refused at once",
            Stage::Delivery => "on the way to the phone",
            Stage::Verify => "Twilio Verify",
            Stage::Lookup => "Twilio Lookup",
            Stage::Voice => "voice calls",
            Stage::Webhook => "callbacks to our URL",
            Stage::Unknown => "not in the catalogue",
        }
    }
}

impl Retry {
    /// Whether repeating helps, for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Retry::Never => "never: the same request will always fail",
            Retry::AfterFix => "after something was changed",
            Retry::Backoff => "soon, with growing pauses",
            Retry::Later => "after minutes or hours",
            Retry::Ambiguous => "only after looking whether it went out",
            Retry::OtherChannel => "by another channel",
        }
    }
}

/// Title, meaning, blame and retry class that hold for a range of codes.
struct Range {
    from: u32,
    to: u32,
    stage: Stage,
    blame: Blame,
    retry: Retry,
    title: &'static str,
    meaning: &'static str,
}

const RANGES: &[Range] = &[
    Range {
        from: 11000,
        to: 11999,
        stage: Stage::Webhook,
        blame: Blame::Config,
        retry: Retry::AfterFix,
        title: "Callback failed",
        meaning: "Twilio could not use a URL of ours; the catalogue does not know this code",
    },
    Range {
        from: 20000,
        to: 20999,
        stage: Stage::Request,
        blame: Blame::Config,
        retry: Retry::AfterFix,
        title: "Request refused",
        meaning: "One of Twilio's general API errors (credentials, rights, parameters) that the catalogue does not know",
    },
    Range {
        from: 21000,
        to: 21999,
        stage: Stage::Request,
        blame: Blame::Caller,
        retry: Retry::Never,
        title: "Message or call refused",
        meaning: "Twilio refused the message, its sender or its recipient, for a reason that the catalogue does not know",
    },
    Range {
        from: 30000,
        to: 30999,
        stage: Stage::Delivery,
        blame: Blame::Carrier,
        retry: Retry::Never,
        title: "Message not delivered",
        meaning: "The message was not delivered, for a reason that the catalogue does not know",
    },
    Range {
        from: 35000,
        to: 35999,
        stage: Stage::Request,
        blame: Blame::Caller,
        retry: Retry::AfterFix,
        title: "Scheduling refused",
        meaning: "Twilio refused to schedule the message, for a reason that the catalogue does not know",
    },
    Range {
        from: 60000,
        to: 60999,
        stage: Stage::Verify,
        blame: Blame::Caller,
        retry: Retry::AfterFix,
        title: "Verify or Lookup refused",
        meaning: "Twilio Verify or Lookup refused the request, for a reason that the catalogue does not know",
    },
    Range {
        from: 63000,
        to: 63999,
        stage: Stage::Delivery,
        blame: Blame::Config,
        retry: Retry::AfterFix,
        title: "Channel refused the message",
        meaning: "WhatsApp, RCS or another channel refused the message, for a reason that the catalogue does not know",
    },
];

fn by_range(code: u32) -> Entry {
    let range = RANGES.iter().find(|range| (range.from..=range.to).contains(&code));
    Entry {
        code,
        stage: range.map_or(Stage::Unknown, |r| r.stage),
        http_status: None,
        blame: range.map_or(Blame::Platform, |r| r.blame),
        retry: range.map_or(Retry::AfterFix, |r| r.retry),
        title: range.map_or("Unknown code", |r| r.title),
        meaning: range.map_or("The catalogue does not know this code or its range", |r| r.meaning),
        fix: "Read Twilio's page about this code",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_complete_and_reads_well() {
        assert_eq!(ENTRIES.len(), 164);
        assert!(ENTRIES.windows(2).all(|pair| pair[0].code < pair[1].code), "binary search needs the order");
        for entry in ENTRIES {
            for text in [entry.title, entry.meaning, entry.fix] {
                assert!(text.len() >= 5, "{}: {text:?}", entry.code);
                assert!(text.starts_with(|c: char| !c.is_lowercase()), "{}: {text:?}", entry.code);
                assert!(!text.ends_with('.') && !text.contains(['\n', '\t']), "{}: {text:?}", entry.code);
            }
            assert!(entry.fix.contains(' '), "{}: a fix is a sentence: {:?}", entry.code, entry.fix);
        }
    }

    #[test]
    fn what_operators_meet_is_told_apart() {
        let class = |code| {
            let entry = explain(code).entry;
            (entry.blame, entry.retry)
        };
        assert_eq!(class(20003), (Blame::Config, Retry::AfterFix));
        assert_eq!(class(20429), (Blame::Limit, Retry::Backoff));
        assert_eq!(class(20500), (Blame::Platform, Retry::Ambiguous));
        assert_eq!(class(21408), (Blame::Config, Retry::AfterFix));
        assert_eq!(class(21610), (Blame::Recipient, Retry::Never));
        assert_eq!(class(21611), (Blame::Limit, Retry::Later));
        assert_eq!(class(30003), (Blame::Recipient, Retry::Later));
        assert_eq!(class(30007), (Blame::Carrier, Retry::AfterFix));
        assert_eq!(class(30450), (Blame::Fraud, Retry::Later));
        assert_eq!(
            (explain(60202).entry.title, explain(60203).entry.title),
            ("Max check attempts", "Max send attempts")
        );
    }

    #[test]
    fn unknown_codes_are_explained_by_their_range_with_a_link() {
        let unknown = explain(21999);
        assert!(!unknown.known);
        assert_eq!((unknown.entry.code, unknown.entry.retry), (21999, Retry::Never));
        assert_eq!(unknown.docs_url, "https://www.twilio.com/docs/errors/21999");
        assert_eq!(explain(63999).entry.retry, Retry::AfterFix);
        for odd in [0, 1, 9999, 40000, u32::MAX] {
            let odd = explain(odd);
            assert_eq!((odd.known, odd.entry.stage), (false, Stage::Unknown));
        }
        assert!(explain(21610).known);
    }
}
