//! Which E.164 numbers a numbering plan knows, and what they are: one automaton over their digits.
//!
//! `valid.bin` is libphonenumber's metadata (Apache-2.0), as the crate `rlibphonenumber` carries it, with its patterns worked
//! out: a test makes it and asks the crate about numbers of every kind. Reading it takes a step for each digit, where the
//! crate makes some forty regular expressions first. A number that it does not name is not wrong yet: the crate decides.

#[cfg(test)]
mod tests;

use super::Kind;

/// Generated: `UPDATE=1 cargo test --lib valid`. The number of classes (u16, little end first as everywhere in it); the
/// classes, each the country's two letters (`--` for none) and a place in [`KINDS`]; then the states, each with its class
/// (u16, 0 for none) and where each of the ten digits leads (u16). State 0 leads nowhere; state 1 is the beginning.
static TABLE: &[u8] = include_bytes!("valid.bin");

const CLASS: usize = 3;
const STATE: usize = 22;

/// The kinds as the table numbers them.
const KINDS: [Kind; 13] = [
    Kind::Mobile,
    Kind::FixedLine,
    Kind::FixedLineOrMobile,
    Kind::Voip,
    Kind::TollFree,
    Kind::PremiumRate,
    Kind::SharedCost,
    Kind::Uan,
    Kind::Pager,
    Kind::Voicemail,
    Kind::Satellite,
    Kind::Personal,
    Kind::Unknown,
];

/// The country and the kind of a number that its plan knows as it stands, from its digits without the plus.
pub fn look_up(digits: &str) -> Option<(Option<&'static str>, Kind)> {
    let mut state = 1;
    for digit in digits.bytes() {
        let digit = usize::from(digit.is_ascii_digit().then(|| digit - b'0')?);
        state = number(start_of(state) + 2 + 2 * digit)?;
    }
    let class = number(start_of(state))?.checked_sub(1)?;
    let (letters, kind) = TABLE.get(2 + CLASS * class..)?.get(..CLASS)?.split_at(2);
    let country = std::str::from_utf8(letters).ok().filter(|letters| *letters != "--");
    Some((country, *KINDS.get(usize::from(*kind.first()?))?))
}

fn start_of(state: usize) -> usize {
    2 + CLASS * number(0).unwrap_or(0) + STATE * state
}

fn number(at: usize) -> Option<usize> {
    TABLE.get(at..)?.first_chunk().map(|two| usize::from(u16::from_le_bytes(*two)))
}
