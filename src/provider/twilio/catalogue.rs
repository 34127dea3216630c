//! What Twilio's error codes mean and what to do about each: 164 codes, by number, in texts of our own.

mod entry;

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

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

/// Every entry, by code.
pub fn all() -> &'static [CatalogueEntry] {
    &ENTRIES
}

/// Twilio's own page about a code.
fn docs_url(code: u32) -> String {
    format!("https://www.twilio.com/docs/errors/{code}")
}

/// Title, meaning, blame and retry class that hold for a range of codes.
#[derive(Deserialize)]
struct Range {
    from: u32,
    to: u32,
    stage: Stage,
    blame: Blame,
    retry: Retry,
    title: &'static str,
    meaning: &'static str,
}

/// A line for each code, by number, in JSON. The texts hold no character that JSON escapes, so they stay where they are.
static ENTRIES: LazyLock<Vec<CatalogueEntry>> = LazyLock::new(|| lines(include_str!("catalogue/codes.jsonl")));

/// A line for each range.
static RANGES: LazyLock<Vec<Range>> = LazyLock::new(|| lines(include_str!("catalogue/ranges.jsonl")));

/// Reads a file of the program: a line that cannot be read is left out, and a test counts them.
fn lines<T: Deserialize<'static>>(text: &'static str) -> Vec<T> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

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
        assert_eq!((ENTRIES.len(), RANGES.len()), (164, 7));
        assert!(ENTRIES.windows(2).all(|pair| pair[0].code < pair[1].code), "binary search needs the order");
        for entry in ENTRIES.iter() {
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
