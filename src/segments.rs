//! How many SMS segments a text takes, in which encoding, and which characters force it (3GPP TS 23.038 and 23.040).
//!
//! A single SMS holds 140 bytes: 160 GSM-7 septets or 70 UTF-16 units. A longer text is split, and each part spends 6 bytes
//! on a header: 153 septets or 67 units are left. A character that takes two units is never split, nor is a grapheme
//! cluster (an emoji with its modifiers), as in Twilio's calculator.

mod smart;

pub use smart::{replacement, smart_encoded};

use serde::Serialize;
use unicode_segmentation::UnicodeSegmentation;

/// The encoding of a whole message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Encoding {
    /// The GSM 7-bit alphabet: every character is in it.
    #[serde(rename = "GSM-7")]
    Gsm7,
    /// Two bytes per UTF-16 unit: at least one character is not in the GSM alphabet.
    #[serde(rename = "UCS-2")]
    Ucs2,
}

/// A text, measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Segments {
    /// The encoding that the text forces.
    pub encoding: Encoding,
    /// How many SMS it takes; an empty text takes one.
    pub segments: u32,
    /// Septets (GSM-7) or UTF-16 units (UCS-2) of the whole text, without headers.
    pub units: u32,
    /// The distinct characters that force UCS-2, in the order of their first appearance.
    pub foreign: Vec<char>,
    /// The units of each segment.
    pub per_segment: Vec<u32>,
}

impl Encoding {
    /// The usual name: `GSM-7` or `UCS-2`.
    pub fn as_str(self) -> &'static str {
        match self {
            Encoding::Gsm7 => "GSM-7",
            Encoding::Ucs2 => "UCS-2",
        }
    }

    /// Units that one undivided SMS holds.
    pub fn single(self) -> u32 {
        match self {
            Encoding::Gsm7 => 160,
            Encoding::Ucs2 => 70,
        }
    }

    /// Units that each part of a divided SMS holds.
    pub fn part(self) -> u32 {
        match self {
            Encoding::Gsm7 => 153,
            Encoding::Ucs2 => 67,
        }
    }
}

/// Measures a text as it would go out, without any substitution of look-alike characters.
pub fn measure(text: &str) -> Segments {
    let foreign = foreign(text);
    let encoding = if foreign.is_empty() { Encoding::Gsm7 } else { Encoding::Ucs2 };
    let septets = || text.chars().map(|c| septets(c).unwrap_or(0));
    let units = match encoding {
        Encoding::Gsm7 => septets().sum(),
        Encoding::Ucs2 => text.chars().map(utf16_units).sum(),
    };
    let per_segment = match encoding {
        _ if units <= encoding.single() => vec![units],
        Encoding::Gsm7 => fill_parts(&septets().collect::<Vec<_>>(), encoding.part()),
        Encoding::Ucs2 => fill_parts(&clusters(text), encoding.part()),
    };
    let segments = u32::try_from(per_segment.len()).unwrap_or(u32::MAX);
    Segments { encoding, segments, units, foreign, per_segment }
}

fn foreign(text: &str) -> Vec<char> {
    let mut seen = std::collections::HashSet::new();
    text.chars().filter(|c| septets(*c).is_none() && seen.insert(*c)).collect()
}

/// UTF-16 units of each piece that stays whole. A cluster larger than a part cannot stay whole and is cut between characters.
fn clusters(text: &str) -> Vec<u32> {
    let mut pieces = Vec::with_capacity(text.len());
    for cluster in text.graphemes(true) {
        let units: u32 = cluster.chars().map(utf16_units).sum();
        if cluster == "\r\n" || units > Encoding::Ucs2.part() {
            pieces.extend(cluster.chars().map(utf16_units));
        } else {
            pieces.push(units);
        }
    }
    pieces
}

fn fill_parts(pieces: &[u32], room: u32) -> Vec<u32> {
    let mut parts = vec![0];
    for piece in pieces {
        match parts.last_mut() {
            Some(last) if *last + piece <= room => *last += piece,
            _ => parts.push(*piece),
        }
    }
    parts
}

fn utf16_units(c: char) -> u32 {
    if c.len_utf16() == 2 { 2 } else { 1 }
}

/// Septets that a character takes in GSM-7: 1, or 2 with the escape. `None`: it is not in the alphabet.
fn septets(c: char) -> Option<u32> {
    match c {
        '^' | '{' | '}' | '\\' | '[' | '~' | ']' | '|' | '€' | '\u{c}' => Some(2),
        '\n' | '\r' | ' '..='_' => Some(1),
        'a'..='z' | '¡' | '£' | '¤' | '¥' | '§' | '¿' => Some(1),
        'Ä' | 'Å' | 'Æ' | 'Ç' | 'É' | 'Ñ' | 'Ö' | 'Ø' | 'Ü' | 'ß' => Some(1),
        'à' | 'ä' | 'å' | 'æ' | 'è' | 'é' | 'ì' | 'ñ' | 'ò' | 'ö' | 'ø' | 'ù' | 'ü' => Some(1),
        'Γ' | 'Δ' | 'Θ' | 'Λ' | 'Ξ' | 'Π' | 'Σ' | 'Φ' | 'Ψ' | 'Ω' => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct KnownText {
        name: String,
        body: String,
        encoding: String,
        per_segment: Vec<u32>,
        graphemes: Vec<String>,
        smart: Smart,
    }

    /// The same with smart encoding.
    #[derive(Deserialize)]
    struct Smart {
        encoding: String,
        segments: u32,
    }

    #[test]
    fn smart_encoding_replaces_what_looks_alike_and_nothing_else() {
        assert_eq!(smart_encoded("“Ihr Code…” – 50 ½ ‹a›"), "\"Ihr Code...\" - 50 1/2 <a>");
        assert!(matches!(smart_encoded("Your code is 123456."), std::borrow::Cow::Borrowed(_)));
        assert_eq!(smart_encoded("Код 🔑 žluť"), "Код 🔑 žluť", "these look like nothing that GSM has");
        for c in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
            let Some(other) = replacement(c) else { continue };
            assert!(other.chars().all(|c| septets(c).is_some()), "{c:?} becomes {other:?}");
        }
    }

    #[test]
    fn every_known_text_is_measured_as_twilio_measures_it() {
        let known: Vec<KnownText> = serde_json::from_str(include_str!("../tests/data/segments.json")).unwrap();
        assert!(known.len() >= 20);
        for text in known {
            let measured = measure(&text.body);
            assert_eq!(measured.encoding.as_str(), text.encoding, "{}", text.name);
            assert_eq!(measured.per_segment, text.per_segment, "{}", text.name);
            assert_eq!(measured.segments as usize, text.per_segment.len(), "{}", text.name);
            assert_eq!(measured.units, text.per_segment.iter().sum::<u32>(), "{}", text.name);
            let smart = measure(&smart_encoded(&text.body));
            assert_eq!((smart.encoding.as_str(), smart.segments), (&*text.smart.encoding, text.smart.segments));
            for grapheme in &text.graphemes {
                assert!(grapheme.chars().any(|c| measured.foreign.contains(&c)), "{}: {grapheme:?}", text.name);
            }
        }
    }

    #[test]
    fn the_alphabet_has_its_127_and_10_characters() {
        let count = |wanted| (0..=0xffff).filter_map(char::from_u32).filter(|c| septets(*c) == Some(wanted)).count();
        assert_eq!((count(1), count(2)), (127, 10));
    }

    #[test]
    fn the_characters_at_fault_are_named_once_each_in_order() {
        assert_eq!(measure("Tu código: “123456” — código").foreign, ['ó', '“', '”', '—']);
        assert_eq!(measure("ça va ` \t").foreign, ['ç', '`', '\t']);
        assert_eq!(measure("Ça, é, è, à, ù, ß, {€}").foreign, [] as [char; 0]);
    }

    #[test]
    fn two_unit_characters_are_never_split() {
        assert_eq!(measure(&"€".repeat(81)).per_segment, [152, 10]);
        assert_eq!(measure(&"😀".repeat(36)).per_segment, [66, 6]);
        assert_eq!(measure("\r\n").units, 2);
        assert_eq!(measure("").per_segment, [0]);
    }

    #[test]
    fn a_cluster_too_large_for_a_part_is_cut_between_characters() {
        let zalgo = format!("e{}", "\u{301}".repeat(99));
        assert_eq!(measure(&zalgo).per_segment, [67, 33]);
    }

    proptest::proptest! {
        #[test]
        fn parts_hold_the_whole_text_and_never_too_much(text in "[a-z€я😀\u{301}\r\n{]{0,400}") {
            let measured = measure(&text);
            proptest::prop_assert_eq!(measured.per_segment.iter().sum::<u32>(), measured.units);
            let most = if measured.segments == 1 { measured.encoding.single() } else { measured.encoding.part() };
            proptest::prop_assert!(measured.per_segment.iter().all(|units| *units <= most));
        }
    }
}
