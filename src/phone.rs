//! Phone numbers, parsed once at the edge.

use std::fmt;
use std::sync::Arc;

use rlibphonenumber::{
    NumberLengthType, PHONE_NUMBER_UTIL, ParseError, PhoneNumber, PhoneNumberFormat, PhoneNumberType, Region,
    ValidationError,
};
use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Result};
use crate::typed;

/// An E.164 number by shape: `+`, then 7 to 15 digits, the first not 0 (ITU-T E.164 §6). `Debug` shows it masked.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Phone(Arc<str>);

/// A number that its country's numbering plan knows. `Debug` shows it masked.
#[derive(Clone, PartialEq, Eq)]
pub struct Number {
    /// The number itself.
    pub phone: Phone,
    /// The country by its ISO 3166 two letters; `None` for numbers of no country (+800, +870, ...).
    pub country: Option<String>,
    /// What kind of line it is.
    pub kind: Kind,
}

/// What kind of line a number belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Kind {
    /// A mobile phone.
    Mobile,
    /// A landline. Some receive SMS.
    FixedLine,
    /// The plan does not tell mobile phones from landlines (US, Canada).
    FixedLineOrMobile,
    /// Voice over IP.
    Voip,
    /// Free for the caller.
    TollFree,
    /// Dear for the caller.
    PremiumRate,
    /// Cost shared by caller and called.
    SharedCost,
    /// One number for a whole company.
    Uan,
    /// A pager.
    Pager,
    /// A mailbox.
    Voicemail,
    /// A satellite phone or another network of no country (+870, +881, +882, +883).
    Satellite,
    /// A number that follows a person from line to line.
    Personal,
    /// The plan does not say.
    Unknown,
}

/// The most characters that are looked at; the longest number with all its decoration is far shorter.
const LONGEST: usize = 250;

/// A number as it was typed: which it is, and whether its country's plan knows it.
pub struct Recognised {
    /// The number by its shape.
    pub phone: Phone,
    /// The number as its country's plan knows it; `PHONE_INVALID` says what is wrong with it.
    pub number: Result<Number>,
}

/// The release of libphonenumber whose numbering plans are compiled in, and the month in which it came out.
pub const PLANS: (&str, &str) = ("9.0.42", "2026-10");

/// Every country with phone numbers of its own, two letters each (ISO 3166, with AC, TA and XK), in order.
const COUNTRIES: &str = "ACADAEAFAGAIALAMAOARASATAUAWAXAZBABBBDBEBFBGBHBIBJBLBMBNBOBQBRBSBTBWBYBZCACCCDCFCGCHCICKCLCMCNCOCRCUCVCWCXCYCZ\
                         DEDJDKDMDODZECEEEGEHERESETFIFJFKFMFOFRGAGBGDGEGFGGGHGIGLGMGNGPGQGRGTGUGWGYHKHNHRHTHUIDIEILIMINIOIQIRISITJEJMJOJP\
                         KEKGKHKIKMKNKPKRKWKYKZLALBLCLILKLRLSLTLULVLYMAMCMDMEMFMGMHMKMLMMMNMOMPMQMRMSMTMUMVMWMXMYMZNANCNENFNGNINLNONPNRNU\
                         NZOMPAPEPFPGPHPKPLPMPRPSPTPWPYQARERORSRURWSASBSCSDSESGSHSISJSKSLSMSNSOSRSSSTSVSXSYSZTATCTDTGTHTJTKTLTMTNTOTRTTTV\
                         TWTZUAUGUSUYUZVAVCVEVGVIVNVUWFWSXKYEYTZAZMZW";

/// The country of these two letters (ISO 3166, any case), in upper case. `None`: no country that has phone numbers.
pub fn country(code: &str) -> Option<&'static str> {
    countries().find(|known| known.eq_ignore_ascii_case(code))
}

/// Every country that has phone numbers, in the order of their letters.
pub fn countries() -> impl Iterator<Item = &'static str> {
    (0..COUNTRIES.len()).step_by(2).filter_map(|at| COUNTRIES.get(at..at + 2))
}

/// What to write where [`country`] knows none.
pub fn how_to_name_a_country(code: &str) -> &'static str {
    match code.to_ascii_uppercase().as_str() {
        "UK" => "The United Kingdom is GB.",
        "EL" => "Greece is GR.",
        _ => "Write the two letters of ISO 3166, for example US, GB or DE.",
    }
}

/// Parses a number that will be sent to: international (`+44...`), or national with `region` (ISO 3166 two letters, any case).
///
/// The first call in a process loads the numbering plans, which takes some milliseconds.
///
/// # Errors
/// `PHONE_INVALID`, saying whether it is too short, too long, lacks its country code, or is unknown to its country's plan.
pub fn parse(text: &str, region: Option<&str>) -> Result<Number> {
    recognise(text, region)?.number
}

/// Which number is meant, whether or not its country's plan knows it: the same as [`recognise`] says. A number that is written
/// whole, in international form, is taken without loading the numbering plans, so that what only looks something up starts at once.
///
/// # Errors
/// `PHONE_INVALID` where the text is no number of any country.
pub fn read(text: &str, region: Option<&str>) -> Result<Phone> {
    match plain(text) {
        Some(phone) => Ok(phone),
        None => Ok(recognise(text, region)?.phone),
    }
}

/// Reads a number as it was typed. Spaces, dashes, dots, slashes and parentheses of every kind mean nothing; digits may be of any
/// script; a national prefix is dropped, as in `+44 (0)7400 123456`. Every command and request takes its numbers from here or from
/// [`read`]: one spelling is one phone.
///
/// # Errors
/// `PHONE_INVALID` where not even the shape is that of a phone number.
pub fn recognise(text: &str, region: Option<&str>) -> Result<Recognised> {
    let text = &cleaned(text);
    refuse_by_looks(text)?;
    let region = region.map(known_region).transpose()?;
    let parsed = match PHONE_NUMBER_UTIL.parse(text, region) {
        Ok(parsed) => parsed,
        Err(error) => {
            let error = explain_parse(text, region, &error);
            return match dialled(text) {
                Some(phone) => Ok(Recognised { phone, number: Err(error) }),
                None => Err(error),
            };
        }
    };
    if parsed.extension.is_some() {
        return Err(extension());
    }
    let e164 = PHONE_NUMBER_UTIL.format(&parsed, PhoneNumberFormat::E164);
    let magic = is_twilio_test(&e164);
    let plan = if magic { Ok(()) } else { refuse_by_plan(&parsed) };
    let phone = match (Phone::from_e164(&e164), plan) {
        (Some(phone), Ok(())) => phone,
        (Some(phone), Err(error)) => return Ok(Recognised { phone, number: Err(error) }),
        (None, Err(error)) => return Err(error),
        (None, Ok(())) => {
            let what = "not a number that can be dialled from abroad: E.164 has 7 to 15 digits";
            return Err(invalid(what).hint(HOW_TO_WRITE));
        }
    };
    let country = match PHONE_NUMBER_UTIL.get_region_for_number(&parsed) {
        Some(Region::World) => None,
        None if magic => Some("US".to_owned()),
        other => other.map(|region| region.to_string()),
    };
    let kind = kind_of(parsed.country_code, PHONE_NUMBER_UTIL.get_number_type(&parsed));
    Ok(Recognised { phone: phone.clone(), number: Ok(Number { phone, country, kind }) })
}

/// A number that no plan knows, taken on somebody's word: of the country that its code belongs to, and of no known kind.
pub fn unplanned(phone: Phone) -> Number {
    let digits = &phone.as_str()[1..];
    let code = digits.get(..calling_code_length(digits)).and_then(|code| code.parse().ok());
    let region = code.and_then(|code| PHONE_NUMBER_UTIL.get_region_for_country_code(code));
    let country = region.filter(|region| *region != Region::World).map(|region| region.to_string());
    Number { phone, country, kind: Kind::Unknown }
}

/// The text with everything that means nothing taken out, and what is written in many ways written in one.
fn cleaned(text: &str) -> String {
    let text = typed::trimmed(text);
    let text = match text.get(..4) {
        Some(scheme) if scheme.eq_ignore_ascii_case("tel:") => typed::trimmed(&text[4..]),
        _ => text,
    };
    let plainly = |c: char| match c {
        _ if typed::is_dash(c) => '-',
        _ if c.is_whitespace() && !c.is_control() => ' ',
        '＋' | '﹢' | '⁺' => '+',
        // Full-width digits stand in Unicode as the ASCII ones do.
        '０'..='９' => char::from(b'0' + (u32::from(c) - u32::from('０')) as u8),
        '（' | '﹙' => '(',
        '）' | '﹚' => ')',
        '／' | '⁄' | '∕' => '/',
        '．' | '·' | '‧' | '•' | '・' => '.',
        _ => c,
    };
    // One more than is looked at, so that what is too long is noticed.
    text.chars().filter(|c| !typed::is_invisible(*c)).map(plainly).take(LONGEST + 1).collect()
}

/// A number in international form that reads the same with and without its country's plan.
fn plain(text: &str) -> Option<Phone> {
    dialled(&cleaned(text)).filter(|phone| !may_be_rewritten(&phone.as_str()[1..]))
}

/// A `+` and digits, with nothing but separators between them.
fn dialled(cleaned: &str) -> Option<Phone> {
    let rest = cleaned.strip_prefix('+')?;
    let digits: String = rest.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')' | '/')).collect();
    Phone::from_e164(&format!("+{digits}"))
}

/// The digits that some country drops or rewrites behind its code, besides a leading 0: national prefixes (1 in +1, 8 in +7),
/// carrier codes, and local numbers that lack their area code. From libphonenumber's `national_prefix_for_parsing`; a test compares.
const REWRITTEN: &[&str] = &[
    "11", "78", "44180020", "540", "541", "542", "543", "559", "61183", "8611", "8612", "86179", "261", "29810",
    "35215", "3708", "3758", "378", "4231001", "50619", "672", "6921", "9938",
];

/// Whether the country's plan may make another number of these digits. True too often costs a few milliseconds, nothing else.
fn may_be_rewritten(digits: &str) -> bool {
    digits[calling_code_length(digits)..].starts_with('0')
        || REWRITTEN.iter().any(|beginning| digits.starts_with(beginning))
}

/// How many of the digits are the country code (ITU-T E.164, list of assigned codes; whole zones share a length).
fn calling_code_length(digits: &str) -> usize {
    match digits.as_bytes() {
        [b'1' | b'7', ..] => 1,
        [b'2', b'0' | b'7', ..]
        | [b'3', b'0'..=b'4' | b'6' | b'9', ..]
        | [b'4', b'0' | b'1' | b'3'..=b'9', ..]
        | [b'5', b'1'..=b'8', ..]
        | [b'6', b'0'..=b'6', ..]
        | [b'8', b'1' | b'2' | b'4' | b'6', ..]
        | [b'9', b'0'..=b'5' | b'8', ..] => 2,
        _ => 3,
    }
}

impl Phone {
    /// Takes E.164 by shape alone; never loads numbering-plan metadata.
    pub fn from_e164(text: &str) -> Option<Phone> {
        let digits = text.strip_prefix('+')?;
        let ok =
            (7..=15).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
        ok.then(|| Phone(text.into()))
    }

    /// The whole number with its `+`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number block: the number without its last four digits. Pumping runs through blocks.
    pub fn block(&self) -> &str {
        &self.0[..self.0.len() - 4]
    }

    /// The number as tables, logs and errors show it: `+1415•••2671`.
    pub fn masked(&self) -> String {
        let n = self.0.len();
        let (head, tail) = if n >= 12 {
            (5, 4)
        } else if n >= 10 {
            (3, 3)
        } else {
            (2, 2)
        };
        format!("{}•••{}", &self.0[..head], &self.0[n - tail..])
    }
}

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Number")
            .field("phone", &self.phone)
            .field("country", &self.country)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl Number {
    /// The number as its country writes it. It is the whole number: never for logs or errors. This loads the numbering plans.
    pub fn national(&self) -> String {
        PHONE_NUMBER_UTIL.parse(self.phone.as_str(), None).map_or_else(
            |_| String::new(),
            |parsed| PHONE_NUMBER_UTIL.format(&parsed, PhoneNumberFormat::National).into_owned(),
        )
    }

    /// Why this number gets no codes: `None` where it may. Twilio's test numbers +1 500 555 xxxx may, whatever their kind.
    pub fn refused_for_otp(&self) -> Option<&'static str> {
        if is_twilio_test(self.phone.as_str()) { None } else { self.kind.refused_for_otp() }
    }
}

impl Kind {
    /// The name in JSON and the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Why lines of this kind get no codes: they cost the sender or belong to nobody's pocket. `None` where they may.
    pub fn refused_for_otp(self) -> Option<&'static str> {
        match self {
            Kind::PremiumRate => Some("a premium-rate number"),
            Kind::SharedCost => Some("a shared-cost number"),
            Kind::Uan => Some("a company's universal access number"),
            Kind::Pager => Some("a pager"),
            Kind::Voicemail => Some("a voicemail box"),
            Kind::TollFree => Some("a toll-free number"),
            Kind::Satellite => Some("a satellite or international network number"),
            Kind::Personal => Some("a personal number that forwards to other lines"),
            Kind::Mobile | Kind::FixedLine | Kind::FixedLineOrMobile | Kind::Voip | Kind::Unknown => None,
        }
    }
}

const HOW_TO_WRITE: &str = "write the whole number with its country code, for example +447400123456";

/// Messages never repeat the input: it may hold a whole number, or control characters.
fn invalid(message: impl Into<String>) -> Error {
    Error::new(Code::PHONE_INVALID, message)
}

fn extension() -> Error {
    invalid("an SMS cannot go to an extension").hint("give the number without its extension")
}

/// The message for a number in national form where no region is set.
pub const NO_COUNTRY_CODE: &str = "no country code";

fn no_country_code(text: &str) -> Error {
    let how = "write it as +, country code and number, for example +447400123456";
    let hint = if text.starts_with("00") { format!("{how}; a + stands for the leading 00") } else { how.to_owned() };
    invalid(NO_COUNTRY_CODE).hint(hint)
}

/// What can be seen without any numbering plan.
fn refuse_by_looks(text: &str) -> Result<()> {
    if text.is_empty() {
        return Err(invalid("the phone number is empty").hint(HOW_TO_WRITE));
    }
    if text.chars().nth(LONGEST).is_some() {
        return Err(invalid("far too long for a phone number").hint(HOW_TO_WRITE));
    }
    if text.chars().any(char::is_control) {
        return Err(invalid("the phone number holds control characters").hint(HOW_TO_WRITE));
    }
    if !text.chars().any(char::is_numeric) {
        return Err(invalid("not a phone number: it holds no digits").hint(HOW_TO_WRITE));
    }
    if text.contains(['#', ';', ',']) || looks_like_extension(text) {
        return Err(extension());
    }
    if text.chars().any(char::is_alphabetic) {
        return Err(invalid("letters do not belong into a phone number").hint("write it with digits alone"));
    }
    Ok(())
}

/// Digits, then letters that begin with an x or an e ("x12", "ext. 12"), then digits to the end.
fn looks_like_extension(text: &str) -> bool {
    let head = text.trim_end_matches(|c: char| c.is_ascii_digit());
    let word = head.trim_end_matches(['.', ':', ' ']);
    let stem = word.trim_end_matches(char::is_alphabetic);
    let word = word[stem.len()..].to_ascii_lowercase();
    head.len() < text.len()
        && stem.chars().any(char::is_numeric)
        && matches!(word.as_str(), "x" | "ext" | "extn" | "extension" | "int")
}

fn known_region(text: &str) -> Result<Region> {
    country(text).and_then(|known| Region::from_code(known).ok()).ok_or_else(|| {
        let shown = if (1..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            format!("no region {text} is known")
        } else {
            "the region is not a two-letter country code".to_owned()
        };
        invalid(shown).hint(how_to_name_a_country(text))
    })
}

fn explain_parse(text: &str, region: Option<Region>, error: &ParseError) -> Error {
    let international = text.starts_with('+');
    let place = region.filter(|_| !international).map_or_else(|| "a phone number".to_owned(), |r| r.to_string());
    match error {
        ParseError::InvalidCountryCode if international => {
            invalid("no country has this country code").hint(HOW_TO_WRITE)
        }
        ParseError::InvalidCountryCode => no_country_code(text),
        ParseError::TooShortAfterIdd | ParseError::TooShortNsn => {
            invalid(format!("too short for {place}")).hint(HOW_TO_WRITE)
        }
        ParseError::TooLongNsn => invalid(format!("too long for {place}")).hint(HOW_TO_WRITE),
        ParseError::NotANumber(_) => invalid("not a phone number").hint(HOW_TO_WRITE),
    }
}

/// Lengths first: "too short for GB" helps more than "unknown".
fn refuse_by_plan(parsed: &PhoneNumber) -> Result<()> {
    let place = PHONE_NUMBER_UTIL
        .get_region_for_number(parsed)
        .or_else(|| PHONE_NUMBER_UTIL.get_region_for_country_code(parsed.country_code))
        .filter(|region| *region != Region::World)
        .map_or_else(|| format!("+{}", parsed.country_code), |region| region.to_string());
    let plan = format!("not a number that {place}'s numbering plan knows");
    let (message, hint) = match PHONE_NUMBER_UTIL.is_possible_number_with_reason(parsed) {
        Ok(NumberLengthType::IsPossible) if PHONE_NUMBER_UTIL.is_valid_number(parsed) => return Ok(()),
        Ok(NumberLengthType::IsPossible) if near(parsed, longer) => {
            (format!("too short for {place}"), "look for a missing digit")
        }
        Ok(NumberLengthType::IsPossible) if near(parsed, shorter) => {
            (format!("too long for {place}"), "look for a digit too many")
        }
        Ok(NumberLengthType::IsPossible) => (plan, "look for a mistyped digit"),
        Ok(NumberLengthType::IsPossibleLocalOnly) => {
            (format!("too short for {place}: the area code is missing"), "give the number with its area code")
        }
        Err(ValidationError::TooShort) => (format!("too short for {place}"), "look for a missing digit"),
        Err(ValidationError::TooLong) => (format!("too long for {place}"), "look for a digit too many"),
        Err(ValidationError::InvalidLength) => {
            (format!("not as long as any number of {place}"), "look for a missing digit, or one too many")
        }
        Err(ValidationError::InvalidCountryCode) => ("no country has this country code".to_owned(), HOW_TO_WRITE),
    };
    Err(invalid(message).hint(hint))
}

/// Whether the number becomes valid by one of the changes. Plans allow many lengths over all kinds of lines, so a mobile
/// number that lacks a digit has a possible length and is still just too short.
fn near(parsed: &PhoneNumber, changes: fn(u64) -> Vec<u64>) -> bool {
    let with = |national_number| PhoneNumber { national_number, ..parsed.clone() };
    changes(parsed.national_number).into_iter().any(|changed| PHONE_NUMBER_UTIL.is_valid_number(&with(changed)))
}

fn longer(national: u64) -> Vec<u64> {
    let once = national.saturating_mul(10);
    let twice = once.saturating_mul(10);
    vec![once, once.saturating_add(5), twice, twice.saturating_add(55)]
}

fn shorter(national: u64) -> Vec<u64> {
    vec![national / 10, national / 100]
}

fn kind_of(country_code: i32, line: PhoneNumberType) -> Kind {
    match country_code {
        870 | 881 | 882 | 883 => return Kind::Satellite,
        878 => return Kind::Personal,
        979 => return Kind::PremiumRate,
        _ => {}
    }
    match line {
        PhoneNumberType::Mobile => Kind::Mobile,
        PhoneNumberType::FixedLine => Kind::FixedLine,
        PhoneNumberType::FixedLineOrMobile => Kind::FixedLineOrMobile,
        PhoneNumberType::VoIP => Kind::Voip,
        PhoneNumberType::TollFree => Kind::TollFree,
        PhoneNumberType::PremiumRate => Kind::PremiumRate,
        PhoneNumberType::SharedCost => Kind::SharedCost,
        PhoneNumberType::PersonalNumber => Kind::Personal,
        PhoneNumberType::Pager => Kind::Pager,
        PhoneNumberType::UAN => Kind::Uan,
        PhoneNumberType::VoiceMail => Kind::Voicemail,
        PhoneNumberType::Unknown => Kind::Unknown,
    }
}

/// Twilio's magic numbers, +1 500 555 and four digits: they reach nobody and exist to be sent to.
fn is_twilio_test(e164: &str) -> bool {
    e164.len() == 12 && e164.starts_with("+1500555")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::Class;

    fn refusal(text: &str, region: Option<&str>) -> String {
        let error = parse(text, region).expect_err(text);
        assert_eq!((error.code().name, error.class()), ("phone_invalid", Class::Data), "{text}");
        assert!(error.hint_text().is_some(), "{text}: every refusal says what to do");
        error.message().to_owned()
    }

    #[test]
    fn numbers_of_many_countries_are_read_in_many_dresses() {
        let good: &[(&str, Option<&str>, &str, &str, Kind)] = &[
            ("+14155552671", None, "+14155552671", "US", Kind::FixedLineOrMobile),
            (" +1 (415) 555-2671 ", None, "+14155552671", "US", Kind::FixedLineOrMobile),
            ("415.555.2671", Some("us"), "+14155552671", "US", Kind::FixedLineOrMobile),
            ("+16135550199", None, "+16135550199", "CA", Kind::FixedLineOrMobile),
            ("+447400123456", None, "+447400123456", "GB", Kind::Mobile),
            ("07400 123456", Some("GB"), "+447400123456", "GB", Kind::Mobile),
            ("0044 7400 123456", Some("DE"), "+447400123456", "GB", Kind::Mobile),
            ("+44 (0)7400 123456", None, "+447400123456", "GB", Kind::Mobile),
            ("+442079460018", None, "+442079460018", "GB", Kind::FixedLine),
            ("015123456789", Some("De"), "+4915123456789", "DE", Kind::Mobile),
            ("+33612345678", None, "+33612345678", "FR", Kind::Mobile),
            ("+390236618300", None, "+390236618300", "IT", Kind::FixedLine),
            ("+393123456789", None, "+393123456789", "IT", Kind::Mobile),
            ("+919876543210", None, "+919876543210", "IN", Kind::Mobile),
            ("+8613812345678", None, "+8613812345678", "CN", Kind::Mobile),
            ("+5511961234567", None, "+5511961234567", "BR", Kind::Mobile),
            ("+5491123456789", None, "+5491123456789", "AR", Kind::Mobile),
            ("+2348021234567", None, "+2348021234567", "NG", Kind::Mobile),
            ("+61412345678", None, "+61412345678", "AU", Kind::Mobile),
            ("+819012345678", None, "+819012345678", "JP", Kind::Mobile),
            ("+77710009998", None, "+77710009998", "KZ", Kind::Mobile),
            ("+79123456789", None, "+79123456789", "RU", Kind::Mobile),
            ("＋４４７４００１２３４５６", None, "+447400123456", "GB", Kind::Mobile),
            ("٠٧٤٠٠١٢٣٤٥٦", Some("GB"), "+447400123456", "GB", Kind::Mobile),
            ("tel:+44-7400-123456", None, "+447400123456", "GB", Kind::Mobile),
            ("+49 (0)151 23456000", None, "+4915123456000", "DE", Kind::Mobile),
            ("+39 (0)2 36618300", None, "+390236618300", "IT", Kind::FixedLine),
        ];
        for (text, region, e164, country, kind) in good {
            let number = parse(text, *region).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(number.phone.as_str(), *e164, "{text}");
            assert_eq!(number.country.as_deref(), Some(*country), "{text}");
            assert_eq!(number.kind, *kind, "{text}");
            assert_eq!(number.refused_for_otp(), None, "{text}");
        }
    }

    #[test]
    fn impossible_and_invalid_numbers_are_explained() {
        let bad: &[(&str, Option<&str>, &str)] = &[
            ("+44740012345", None, "too short for GB"),
            ("07400 12345", Some("GB"), "too short for GB"),
            ("+4474001234567", None, "too long for GB"),
            ("+1415555267", None, "too short for US"),
            ("+141555526711", None, "too long for US"),
            ("5552671", Some("US"), "too short for US: the area code is missing"),
            ("+11234567890", None, "not a number that US's numbering plan knows"),
            ("+445712345678", None, "not a number that GB's numbering plan knows"),
            ("07400123456", None, "no country code"),
            ("00447400123456", None, "no country code"),
            ("+9991234567", None, "no country has this country code"),
            ("+0123456789", None, "no country has this country code"),
            ("", None, "the phone number is empty"),
            ("   ", None, "the phone number is empty"),
            ("+", None, "not a phone number: it holds no digits"),
            ("hello", Some("GB"), "not a phone number: it holds no digits"),
            ("1-800-FLOWERS", Some("US"), "letters do not belong into a phone number"),
            ("sip:+447400123456", None, "letters do not belong into a phone number"),
            ("tel:+447400123456;ext=12", None, "an SMS cannot go to an extension"),
            ("+1 415 555 2671 x12", None, "an SMS cannot go to an extension"),
            ("+1 415 555 2671 ext. 12", None, "an SMS cannot go to an extension"),
            ("+1 415 555 2671;ext=12", None, "an SMS cannot go to an extension"),
            ("+1 415 555 2671 # 12", None, "an SMS cannot go to an extension"),
            ("+447400123456\u{1b}[31m", None, "the phone number holds control characters"),
            ("+4474\n00123456", None, "the phone number holds control characters"),
            ("+44 7400 12345٦; DROP TABLE", None, "an SMS cannot go to an extension"),
        ];
        for (text, region, message) in bad {
            assert_eq!(refusal(text, *region), *message, "{text}");
        }
        assert_eq!(refusal(&"4".repeat(251), None), "far too long for a phone number");
        assert!(parse("00447400123456", None).unwrap_err().hint_text().unwrap().contains("leading 00"));
    }

    #[test]
    fn regions_are_two_known_letters() {
        assert_eq!(refusal("07400123456", Some("ZZ")), "no region ZZ is known");
        assert_eq!(refusal("07400123456", Some("uk")), "no region uk is known");
        assert_eq!(parse("07400123456", Some("UK")).unwrap_err().hint_text(), Some("The United Kingdom is GB."));
        for odd in ["", "001", "GBR1234567", "\u{1b}[", "é", "G\0"] {
            let message = refusal("07400123456", Some(odd));
            assert!(!message.contains(char::is_control) && message.contains("region"), "{odd:?}: {message}");
        }
    }

    #[test]
    fn lines_that_cost_or_belong_to_nobody_get_no_codes() {
        let refused: &[(&str, Kind)] = &[
            ("+19002345678", Kind::PremiumRate),
            ("+449012345678", Kind::PremiumRate),
            ("+979123456789", Kind::PremiumRate),
            ("+39848123456", Kind::SharedCost),
            ("+80812345678", Kind::SharedCost),
            ("+18002345678", Kind::TollFree),
            ("+80012345678", Kind::TollFree),
            ("+445512345678", Kind::Uan),
            ("+447640123456", Kind::Pager),
            ("+870301234567", Kind::Satellite),
            ("+881612345678", Kind::Satellite),
            ("+883510012345", Kind::Satellite),
            ("+447012345678", Kind::Personal),
            ("+15002345678", Kind::Personal),
        ];
        for (text, kind) in refused {
            let number = parse(text, None).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(number.kind, *kind, "{text}");
            assert!(number.refused_for_otp().is_some(), "{text}");
        }
        for text in ["+979123456789", "+80812345678", "+80012345678", "+870301234567", "+883510012345"] {
            assert_eq!(parse(text, None).unwrap().country, None, "{text}");
        }
        for last in 0..10 {
            let magic = parse(&format!("+1500555000{last}"), None).unwrap();
            assert_eq!((magic.refused_for_otp(), magic.country.as_deref()), (None, Some("US")));
        }
    }

    /// Every way to type one number that people and their clipboards have.
    const SPELLINGS: &[&str] = &[
        "+447400123456",
        " +44 7400-123.456 ",
        "+44 (0)7400 123456",
        "+44 (0) 7400/123456",
        "+4407400123456",
        "+44/7400/123456",
        "+44\u{2013}7400\u{2013}123456",
        "+44\u{2011}7400\u{2212}123456",
        "+44\u{a0}7400\u{a0}123456",
        "+44\u{202f}7400\u{2009}123\u{3000}456",
        "\u{feff}+44\u{200b}7400\u{200d}123456\u{200c}",
        "\u{202a}+44 7400 123456\u{202c}",
        "+44\u{ad}7400\u{2060}123456",
        "\u{ff0b}\u{ff14}\u{ff14}\u{ff17}\u{ff14}\u{ff10}\u{ff10}\u{ff11}\u{ff12}\u{ff13}\u{ff14}\u{ff15}\u{ff16}",
        "\u{ff0b}44 7400 123456",
        "+٤٤٧٤٠٠١٢٣٤٥٦",
        "+44\u{ff08}0\u{ff09}7400\u{ff0f}123456",
        "(+44) 7400 123456",
        "++44 7400 123456",
        "+44·7400·12·34·56",
        "tel:+44-7400-123456",
        "TEL: +44 7400 123456",
        "07400 123456",
        "07400/123456",
        "(07400) 123\u{2013}456",
        "7400123456",
        "0044 7400 123456",
        "00 44 (0)7400 123456",
        "０７４００　１２３４５６",
    ];

    #[test]
    fn one_spelling_is_one_phone_whether_it_is_sent_to_or_looked_up() {
        for text in SPELLINGS {
            let sent = parse(text, Some("GB")).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(sent.phone.as_str(), "+447400123456", "{text}");
            assert_eq!(read(text, Some("gb")).unwrap(), sent.phone, "{text}");
        }
    }

    #[test]
    fn a_number_is_read_where_no_plan_knows_it_and_explained_where_it_is_none() {
        assert_eq!(read("+1234567890", None).unwrap().as_str(), "+1234567890");
        assert_eq!(read("+999 123 4567", None).unwrap().as_str(), "+9991234567", "no such country");
        assert_eq!(read("093 079 2440", Some("EC")).unwrap().as_str(), "+593930792440", "newer than the plan");
        let bad = [
            ("07400123456", "no country code"),
            ("+123456", "too short for US"),
            ("+4474001234567890", "too long for GB"),
            ("+0447400123456", "no country has this country code"),
            ("+44 7400 123456 x1", "an SMS cannot go to an extension"),
            ("+14155552671~12", "an SMS cannot go to an extension"),
            ("+44\u{0}7400123456", "the phone number holds control characters"),
            ("' OR 1=1 --", "letters do not belong into a phone number"),
        ];
        for (text, message) in bad {
            let error = read(text, None).expect_err(text);
            assert_eq!((error.message(), error.code()), (message, Code::PHONE_INVALID), "{text}");
            assert!(error.hint_text().is_some(), "{text}");
        }
    }

    #[test]
    fn a_number_newer_than_the_plans_has_the_country_of_its_code() {
        let country = |text: &str| unplanned(Phone::from_e164(text).unwrap()).country;
        assert_eq!(country("+593930792440").as_deref(), Some("EC"));
        assert_eq!(country("+12345678901").as_deref(), Some("US"));
        assert_eq!(country("+88312345678"), None);
        assert_eq!(country("+99912345678"), None);
        let number = unplanned(Phone::from_e164("+593930792440").unwrap());
        assert_eq!((number.kind, number.refused_for_otp()), (Kind::Unknown, None));
    }

    #[test]
    fn plain_numbers_are_whole_ones_that_no_plan_rewrites() {
        for text in
            ["+447400123456", "+44 7400-123.456", "+14155552671", "+49\u{a0}151\u{2013}23456000", "+593930792440"]
        {
            assert!(plain(text).is_some(), "{text}");
        }
        for text in ["+4407400123456", "+44 (0)7400 123456", "07400123456", "+114155552671", "+78001234567", "+44 x"] {
            assert!(plain(text).is_none(), "{text}");
        }
    }

    /// Against libphonenumber itself, for every country: what is taken without its plan is what its plan makes of it.
    #[test]
    fn every_prefix_that_a_plan_rewrites_is_known() {
        let mut looked_at = 0;
        for code in PHONE_NUMBER_UTIL.get_supported_calling_codes() {
            assert_eq!(calling_code_length(&format!("{code}00000000")), code.to_string().len(), "{code}");
            for beginning in 0..100 {
                for (fill, length) in
                    [("5015151501", 5), ("1501515150", 6), ("0234567890", 7), ("9000000000", 9), ("1234567890", 10)]
                {
                    let national = &format!("{beginning:02}{fill}")[..length];
                    let Some(phone) = plain(&format!("+{code}{national}")) else { continue };
                    looked_at += 1;
                    let recognised = recognise(phone.as_str(), None).map(|number| number.phone);
                    assert_eq!(recognised.unwrap(), phone);
                }
            }
        }
        assert!(looked_at > 80_000, "{looked_at}");
    }

    #[test]
    fn countries_are_those_that_the_plans_know() {
        let mut known: Vec<String> =
            PHONE_NUMBER_UTIL.get_supported_regions().map(|region| region.to_string()).collect();
        known.retain(|code| code.len() == 2);
        known.sort();
        assert_eq!(COUNTRIES, known.concat());
        assert_eq!((country("gb"), country("ZW"), country("AC")), (Some("GB"), Some("ZW"), Some("AC")));
        for none in ["UK", "", "G", "GBR", "ZZ", "CA ", "é", "DA"] {
            assert_eq!(country(none), None, "{none:?}");
        }
    }

    #[test]
    fn the_plans_are_those_of_the_crate_that_is_compiled_in() {
        let lock = include_str!("../Cargo.lock");
        assert!(
            lock.contains("name = \"rlibphonenumber\"\nversion = \"2.2.15\"\n"),
            "a new rlibphonenumber: set PLANS to the metadata version that its README names, and the version here"
        );
    }

    #[test]
    fn blocks_and_masks_hide_what_they_should() {
        let phone = Phone::from_e164("+14155552671").unwrap();
        assert_eq!((phone.block(), phone.masked().as_str()), ("+1415555", "+1415•••2671"));
        assert_eq!(format!("{phone:?}"), "+1415•••2671");
        let number = parse("+14155552671", None).unwrap();
        assert_eq!(number.national(), "(415) 555-2671");
        assert_eq!(Phone::from_e164("+1234567").unwrap().block(), "+123");
        assert_eq!(serde_json::to_string(&Kind::FixedLineOrMobile).unwrap(), "\"fixed_line_or_mobile\"");
        assert_eq!(serde_json::to_string(&Kind::PremiumRate).unwrap(), format!("{:?}", Kind::PremiumRate.as_str()));
    }

    proptest! {
        #[test]
        fn nothing_panics_and_what_is_accepted_is_e164(text in "\\PC{0,40}|[+0-9 ().\\-/x#;]{0,30}|.{0,20}", region in "[A-Za-z]{0,3}|.{0,4}") {
            for region in [None, Some(region.as_str())] {
                match parse(&text, region) {
                    Ok(number) => prop_assert_eq!(Phone::from_e164(number.phone.as_str()), Some(number.phone)),
                    Err(error) => prop_assert!(!error.message().contains(char::is_control)),
                }
            }
        }

        #[test]
        fn what_is_looked_up_is_what_is_sent_to(text in "[+＋]?[0-9]{0,4}[ ./()\u{a0}\u{2013}\u{200b}-]{0,2}[0-9]{0,9}[ /)~#x-]{0,1}[0-9]{0,4}", gb: bool) {
            let region = gb.then_some("GB");
            let sent = recognise(&text, region).map(|number| number.phone);
            let looked_up = read(&text, region);
            prop_assert_eq!(looked_up.as_ref().ok(), sent.as_ref().ok(), "{}", text);
        }

        #[test]
        fn a_plain_number_is_the_same_with_and_without_its_plan(digits in "[1-9][0-9]{6,14}") {
            let text = format!("+{digits}");
            prop_assert_eq!(read(&text, None).ok(), recognise(&text, None).ok().map(|number| number.phone));
        }

        #[test]
        fn what_was_accepted_is_accepted_again_and_means_the_same(digits in "[1-9][0-9]{6,14}") {
            if let Ok(number) = parse(&format!("+{digits}"), None) {
                prop_assert_eq!(parse(number.phone.as_str(), None).unwrap(), number);
            }
        }
    }
}
