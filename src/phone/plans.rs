//! The numbering plans of the world, of which one number needs those of its own calling code alone.
//!
//! `plans.bin` is libphonenumber's metadata (Apache-2.0) as the crate `rlibphonenumber` carries it; a test keeps the two in
//! step. Reading all of it takes longer than everything else that a send does on this machine, so a process that meets one
//! country reads that country's plans.

use std::sync::{LazyLock, OnceLock};

use prost::Message;
use prost::bytes::Bytes;
use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneMetadata, PhoneMetadataCollection, PhoneNumberUtil};

static PLANS: &[u8] = include_bytes!("plans.bin");

/// All plans: `phonemetadata.proto`'s `PhoneMetadataCollection`, with each plan left as it is.
#[derive(Clone, PartialEq, Message)]
struct Sealed {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    plans: Vec<Bytes>,
}

/// Whose plan it is: the part of `PhoneMetadata` that tells.
#[derive(Clone, PartialEq, Message)]
struct Label {
    /// ISO 3166; "001" for a network of no country.
    #[prost(string, tag = "9")]
    id: String,
    #[prost(int32, tag = "10")]
    country_code: i32,
}

/// The plans of one calling code.
struct Few {
    country_code: i32,
    util: PhoneNumberUtil,
}

static LABELS: LazyLock<Vec<(Label, Bytes)>> = LazyLock::new(|| {
    let sealed = Sealed::decode(Bytes::from_static(PLANS)).unwrap_or_default();
    let label = |plan: Bytes| Label::decode(plan.clone()).ok().map(|label| (label, plan));
    sealed.plans.into_iter().filter_map(label).collect()
});

/// The calling code that this process met first.
static FIRST: OnceLock<Few> = OnceLock::new();

/// Every plan.
pub fn all() -> &'static PhoneNumberUtil {
    &PHONE_NUMBER_UTIL
}

/// The plans that are enough to read `text`, where it tells by itself (`+44...`) or by its region: those of the calling code
/// that this process met first. `None`: ask [`all`].
pub fn enough(text: &str, region: Option<&str>) -> Option<&'static PhoneNumberUtil> {
    let country_code = match text.strip_prefix('+') {
        Some(rest) => calling_code(rest)?,
        None => country_code(region?)?,
    };
    let few = FIRST.get_or_init(|| Few { country_code, util: opened(|label| label.country_code == country_code) });
    (few.country_code == country_code).then_some(&few.util)
}

/// The calling code of a region, if it is one (ISO 3166 two letters, capitals).
pub fn country_code(region: &str) -> Option<i32> {
    LABELS.iter().find(|(label, _)| label.id == region).map(|(label, _)| label.country_code)
}

/// The calling code that begins what follows the plus. No code is the beginning of another (ITU-T E.164 §6.2.1).
fn calling_code(rest: &str) -> Option<i32> {
    let mut code = 0;
    for digit in rest.bytes().take(3) {
        code = code * 10 + i32::from(digit.is_ascii_digit().then(|| digit - b'0')?);
        if LABELS.iter().any(|(label, _)| label.country_code == code) {
            return Some(code);
        }
    }
    None
}

fn opened(wanted: impl Fn(&Label) -> bool) -> PhoneNumberUtil {
    let plans = LABELS.iter().filter(|(label, _)| wanted(label));
    let metadata = plans.filter_map(|(_, plan)| PhoneMetadata::decode(plan.clone()).ok()).collect();
    // The file is part of the program, and a test reads all of it.
    PhoneNumberUtil::new_for_metadata(PhoneMetadataCollection { metadata })
        .expect("the plans name regions that are known")
}

#[cfg(test)]
mod tests {
    use rlibphonenumber::{PhoneNumberFormat, PhoneNumberType};

    use super::*;

    #[test]
    fn every_plan_is_read() {
        let read = opened(|_| true);
        assert_eq!(read.get_supported_regions().len(), all().get_supported_regions().len());
        assert_eq!(
            all().get_supported_regions().len() + all().get_supported_global_network_calling_codes().count(),
            LABELS.len()
        );
        assert!(LABELS.len() > 240, "{} plans", LABELS.len());
    }

    #[test]
    fn the_plans_of_one_calling_code_say_of_its_numbers_what_all_of_them_say() {
        let kinds = [
            PhoneNumberType::FixedLine,
            PhoneNumberType::Mobile,
            PhoneNumberType::TollFree,
            PhoneNumberType::PremiumRate,
            PhoneNumberType::SharedCost,
            PhoneNumberType::PersonalNumber,
            PhoneNumberType::VoIP,
            PhoneNumberType::Pager,
            PhoneNumberType::UAN,
            PhoneNumberType::VoiceMail,
        ];
        let mut compared = 0;
        for region in all().get_supported_regions() {
            let code = country_code(&region.to_string()).unwrap();
            let few = opened(|label| label.country_code == code);
            for kind in kinds {
                let Ok(example) = all().get_example_number_for_type_and_region(region, kind) else { continue };
                for format in [PhoneNumberFormat::E164, PhoneNumberFormat::National, PhoneNumberFormat::International] {
                    let text = all().format(&example, format);
                    let [here, there] = [all(), &few].map(|util| {
                        let parsed = util.parse(&*text, Some(region)).unwrap();
                        let place = util.get_region_for_number(&parsed);
                        let written = util.format(&parsed, PhoneNumberFormat::National).into_owned();
                        (util.is_valid_number(&parsed), util.get_number_type(&parsed), place, written, parsed)
                    });
                    assert_eq!(here, there, "{text} in {region}");
                    compared += 1;
                }
            }
        }
        assert!(compared > 2_000, "{compared}");
    }

    #[test]
    fn calling_codes_are_told_by_their_digits() {
        for (text, code) in
            [("14155552671", Some(1)), ("447400123456", Some(44)), ("35312345678", Some(353)), ("999123", None)]
        {
            assert_eq!(calling_code(text), code, "{text}");
        }
        assert_eq!((calling_code(" 44"), calling_code("٤٤"), calling_code("")), (None, None, None));
    }
}
