//! What Twilio's error codes mean and what to do about each: 164 codes, by number, in texts of our own.

mod entries;
mod entry;

use serde::Serialize;

use self::entries::ENTRIES;
pub use self::entry::{CatalogueEntry, Retry, Stage};
use crate::provider::Blame;

/// What is known about a code, whether the catalogue holds it or only its range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// The catalogue's entry, or what holds for the code's range.
    #[serde(flatten)]
    pub entry: CatalogueEntry,
    /// False where the catalogue does not hold the code, and its range explains it.
    pub known: bool,
    /// Twilio's own page about it.
    pub docs_url: String,
}

/// Explains any code. Twilio adds codes without notice, so an unknown one is explained by its range.
pub fn explain(code: u32) -> Explained {
    let (entry, known) = match find(code) {
        Some(entry) => (*entry, true),
        None => (explain_by_range(code), false),
    };
    Explained { entry, known, docs_url: docs_url(code) }
}

/// The catalogue's entry of a code.
pub fn find(code: u32) -> Option<&'static CatalogueEntry> {
    ENTRIES.binary_search_by_key(&code, |entry| entry.code).ok().map(|at| &ENTRIES[at])
}

/// Twilio's own page about a code.
fn docs_url(code: u32) -> String {
    format!("https://www.twilio.com/docs/errors/{code}")
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
        blame: Blame::Setup,
        retry: Retry::AfterFix,
        title: "Callback failed",
        meaning: "Twilio could not use a URL of ours; the catalogue does not know this code",
    },
    Range {
        from: 20000,
        to: 20999,
        stage: Stage::Request,
        blame: Blame::Setup,
        retry: Retry::AfterFix,
        title: "Request refused",
        meaning: "One of Twilio's general API errors (credentials, rights, parameters) that the catalogue does not know",
    },
    Range {
        from: 21000,
        to: 21999,
        stage: Stage::Request,
        blame: Blame::Request,
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
        blame: Blame::Request,
        retry: Retry::AfterFix,
        title: "Scheduling refused",
        meaning: "Twilio refused to schedule the message, for a reason that the catalogue does not know",
    },
    Range {
        from: 60000,
        to: 60999,
        stage: Stage::Verify,
        blame: Blame::Request,
        retry: Retry::AfterFix,
        title: "Verify or Lookup refused",
        meaning: "Twilio Verify or Lookup refused the request, for a reason that the catalogue does not know",
    },
    Range {
        from: 63000,
        to: 63999,
        stage: Stage::Delivery,
        blame: Blame::Setup,
        retry: Retry::AfterFix,
        title: "Channel refused the message",
        meaning: "WhatsApp, RCS or another channel refused the message, for a reason that the catalogue does not know",
    },
];

fn explain_by_range(code: u32) -> CatalogueEntry {
    let range = RANGES.iter().find(|range| (range.from..=range.to).contains(&code));
    CatalogueEntry {
        code,
        stage: range.map_or(Stage::Unknown, |r| r.stage),
        http_status: None,
        blame: range.map_or(Blame::Provider, |r| r.blame),
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
    fn what_operators_meet_is_classified() {
        let class = |code| {
            let entry = explain(code).entry;
            (entry.blame, entry.retry)
        };
        assert_eq!(class(20003), (Blame::Setup, Retry::AfterFix));
        assert_eq!(class(20429), (Blame::Limit, Retry::Backoff));
        assert_eq!(class(20500), (Blame::Provider, Retry::Ambiguous));
        assert_eq!(class(21408), (Blame::Setup, Retry::AfterFix));
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
