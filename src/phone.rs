//! Phone numbers, parsed once at the edge.

use std::fmt;
use std::sync::Arc;

use rlibphonenumber::{
    NumberLengthType, PHONE_NUMBER_UTIL, ParseError, PhoneNumber, PhoneNumberFormat, PhoneNumberType, Region,
    ValidationError,
};
use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Result};

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

/// Parses a number that will be sent to: international (`+44...`), or national with `region` (ISO 3166 two letters, any case).
///
/// The first call in a process loads the numbering plans, which takes some milliseconds.
///
/// # Errors
/// `PHONE_INVALID`, saying whether it is too short, too long, lacks its country code, or is unknown to its country's plan.
pub fn parse(text: &str, region: Option<&str>) -> Result<Number> {
    let text = text.trim();
    refuse_by_looks(text)?;
    let region = region.map(known_region).transpose()?;
    let parsed = PHONE_NUMBER_UTIL.parse(text, region).map_err(|error| explain_parse(text, region, &error))?;
    if parsed.extension.is_some() {
        return Err(extension());
    }
    let e164 = PHONE_NUMBER_UTIL.format(&parsed, PhoneNumberFormat::E164);
    let magic = is_twilio_test(&e164);
    if !magic {
        refuse_by_plan(&parsed)?;
    }
    let phone = Phone::from_e164(&e164).ok_or_else(|| {
        invalid("not a number that can be dialled from abroad: E.164 has 7 to 15 digits").hint(HOW_TO_WRITE)
    })?;
    let country = match PHONE_NUMBER_UTIL.get_region_for_number(&parsed) {
        Some(Region::World) => None,
        None if magic => Some("US".to_owned()),
        other => other.map(|region| region.to_string()),
    };
    let kind = kind_of(parsed.country_code, PHONE_NUMBER_UTIL.get_number_type(&parsed));
    Ok(Number { phone, country, kind })
}

/// Takes a typed-in international number by its shape alone: `+`, then 7 to 15 digits with spaces, hyphens, dots or
/// parentheses between them. Never loads the numbering plans, so verbs that only look something up start at once.
///
/// # Errors
/// `PHONE_INVALID`, saying what is wrong with the shape.
pub fn shape(text: &str) -> Result<Phone> {
    let text = text.trim();
    refuse_by_looks(text)?;
    let Some(rest) = text.strip_prefix('+') else {
        return Err(no_country_code(text, "write it as +, country code and number, for example +447400123456"));
    };
    let digits: String = rest.chars().filter(|c| !matches!(c, ' ' | '\u{a0}' | '-' | '.' | '(' | ')')).collect();
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(invalid("a phone number holds a + and the digits 0 to 9 alone").hint(HOW_TO_WRITE));
    }
    if digits.starts_with('0') {
        return Err(invalid("no country code starts with 0").hint(HOW_TO_WRITE));
    }
    match digits.len() {
        0..=6 => Err(invalid("too short for a phone number with its country code").hint(HOW_TO_WRITE)),
        7..=15 => Ok(Phone(format!("+{digits}").into())),
        _ => Err(invalid("too long: an international phone number has at most 15 digits").hint(HOW_TO_WRITE)),
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

fn no_country_code(text: &str, how: &str) -> Error {
    let hint = if text.starts_with("00") { format!("{how}; a + stands for the leading 00") } else { how.to_owned() };
    invalid("no country code").hint(hint)
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
    let unknown = || {
        let shown = if (1..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            format!("no region {text} is known")
        } else {
            "the region is not a two-letter country code".to_owned()
        };
        let hint = if text.eq_ignore_ascii_case("uk") {
            "the United Kingdom is GB"
        } else {
            "give the two letters of ISO 3166, for example US, GB or DE"
        };
        invalid(shown).hint(hint)
    };
    let region = Region::from_code(text).map_err(|_| unknown())?;
    let known = region != Region::World && PHONE_NUMBER_UTIL.get_country_code_for_region(region).is_some();
    known.then_some(region).ok_or_else(unknown)
}

fn explain_parse(text: &str, region: Option<Region>, error: &ParseError) -> Error {
    let international = text.starts_with(['+', '＋']);
    let place = region.filter(|_| !international).map_or_else(|| "a phone number".to_owned(), |r| r.to_string());
    match error {
        ParseError::InvalidCountryCode if international => {
            invalid("no country has this country code").hint(HOW_TO_WRITE)
        }
        ParseError::InvalidCountryCode => no_country_code(
            text,
            "write it as +44... (country code first), or give --region with its country, for example --region GB",
        ),
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
            ("tel:+447400123456", None, "letters do not belong into a phone number"),
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
        assert_eq!(parse("07400123456", Some("UK")).unwrap_err().hint_text(), Some("the United Kingdom is GB"));
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

    #[test]
    fn the_shape_is_taken_without_any_plan_and_explained_where_it_is_wrong() {
        for text in ["+447400123456", " +44 7400-123.456 ", "+44 (7400) 123456", "+44\u{a0}7400123456"] {
            assert_eq!(shape(text).unwrap().as_str(), "+447400123456", "{text}");
        }
        assert_eq!(shape("+1234567890").unwrap().as_str(), "+1234567890", "plans do not matter here");
        let bad = [
            ("07400123456", "no country code"),
            ("+123456", "too short for a phone number with its country code"),
            ("+1234567890123456", "too long: an international phone number has at most 15 digits"),
            ("+0447400123456", "no country code starts with 0"),
            ("+44/7400123456", "a phone number holds a + and the digits 0 to 9 alone"),
            ("+٤٤٧٤٠٠١٢٣٤٥٦", "a phone number holds a + and the digits 0 to 9 alone"),
            ("++447400123456", "a phone number holds a + and the digits 0 to 9 alone"),
            ("+44 7400 123456 x1", "an SMS cannot go to an extension"),
            ("+44\u{0}7400123456", "the phone number holds control characters"),
            ("' OR 1=1 --", "letters do not belong into a phone number"),
        ];
        for (text, message) in bad {
            let error = shape(text).expect_err(text);
            assert_eq!((error.message(), error.code()), (message, Code::PHONE_INVALID), "{text}");
            assert!(error.hint_text().is_some(), "{text}");
        }
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
            if let Ok(phone) = shape(&text) {
                prop_assert_eq!(Phone::from_e164(phone.as_str()), Some(phone));
            }
        }

        #[test]
        fn what_was_accepted_is_accepted_again_and_means_the_same(digits in "[1-9][0-9]{6,14}") {
            if let Ok(number) = parse(&format!("+{digits}"), None) {
                prop_assert_eq!(parse(number.phone.as_str(), None).unwrap(), number);
            }
        }
    }
}
