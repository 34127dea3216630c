//! The numbering plans of the world, of which one number needs those of its own calling code alone.
//!
//! `plans.bin` holds libphonenumber's metadata (Apache-2.0) as the crate `rlibphonenumber` carries it, sorted by calling code;
//! a test keeps the two in step. Reading all of it takes longer than everything else that a send does on this machine, so a
//! process that meets one country reads that country's plans.

use std::sync::{LazyLock, OnceLock};

use prost::Message;
use prost::bytes::Bytes;
use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneMetadataCollection, PhoneNumberUtil};

/// Generated: `UPDATE=1 cargo test --lib plans`.
static PLANS: &[u8] = include_bytes!("plans.bin");

#[derive(Clone, PartialEq, Message)]
struct World {
    #[prost(message, repeated, tag = "1")]
    groups: Vec<Group>,
}

/// The plans of one calling code.
#[derive(Clone, PartialEq, Message)]
struct Group {
    #[prost(int32, tag = "1")]
    country_code: i32,
    /// ISO 3166, with spaces between; "001" for a network of no country.
    #[prost(string, tag = "2")]
    regions: String,
    /// `phonemetadata.proto`'s `PhoneMetadataCollection`.
    #[prost(bytes = "bytes", tag = "3")]
    plans: Bytes,
}

static WORLD: LazyLock<World> = LazyLock::new(|| World::decode(Bytes::from_static(PLANS)).unwrap_or_default());

/// The plans of the calling code that this process met first.
static FIRST: OnceLock<(i32, PhoneNumberUtil)> = OnceLock::new();

/// Every plan.
pub fn all() -> &'static PhoneNumberUtil {
    &PHONE_NUMBER_UTIL
}

/// The plans that are enough to read `text`, where it tells by itself (`+44...`) or by its region: those of the calling code
/// that this process met first. `None`: ask [`all`].
pub fn enough(text: &str, region: Option<&str>) -> Option<&'static PhoneNumberUtil> {
    let group = match text.strip_prefix('+') {
        Some(rest) => called(rest)?,
        None => of_region(region?)?,
    };
    let (country_code, util) = FIRST.get_or_init(|| (group.country_code, opened(group)));
    (*country_code == group.country_code).then_some(util)
}

/// The calling code of a region, if it is one (ISO 3166 two letters, capitals).
pub fn country_code(region: &str) -> Option<i32> {
    of_region(region).map(|group| group.country_code)
}

fn of_region(region: &str) -> Option<&'static Group> {
    WORLD.groups.iter().find(|group| group.regions.split(' ').any(|one| one == region))
}

/// Whose calling code begins what follows the plus. No code is the beginning of another (ITU-T E.164 §6.2.1).
fn called(rest: &str) -> Option<&'static Group> {
    let mut code = 0;
    for digit in rest.bytes().take(3) {
        code = code * 10 + i32::from(digit.is_ascii_digit().then(|| digit - b'0')?);
        let found = WORLD.groups.binary_search_by_key(&code, |group| group.country_code);
        if let Ok(place) = found {
            return WORLD.groups.get(place);
        }
    }
    None
}

fn opened(group: &Group) -> PhoneNumberUtil {
    let plans = PhoneMetadataCollection::decode(group.plans.clone()).unwrap_or_default();
    // The file is part of the program, and a test opens all of it.
    PhoneNumberUtil::new_for_metadata(plans).expect("the plans name regions that are known")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rlibphonenumber::{PhoneNumberFormat, PhoneNumberType};

    use super::*;
    use crate::phone::tests::theirs;

    /// `phonemetadata.proto`, with each plan left as it is.
    #[derive(Clone, PartialEq, Message)]
    struct Sealed {
        #[prost(bytes = "bytes", repeated, tag = "1")]
        plans: Vec<Bytes>,
    }

    /// Whose plan it is: the part of `PhoneMetadata` that tells.
    #[derive(Clone, PartialEq, Message)]
    struct Label {
        #[prost(string, tag = "9")]
        id: String,
        #[prost(int32, tag = "10")]
        country_code: i32,
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a wish of the developer, not a setting of the product")]
    fn the_plans_are_those_of_the_crate_that_reads_them() {
        let mut groups: Vec<(Group, Sealed)> = Vec::new();
        for plan in Sealed::decode(&*theirs()).unwrap().plans {
            let label = Label::decode(plan.clone()).unwrap();
            match groups.iter_mut().find(|(group, _)| group.country_code == label.country_code) {
                Some((group, sealed)) => {
                    group.regions = format!("{} {}", group.regions, label.id);
                    sealed.plans.push(plan);
                }
                None => groups.push((
                    Group { country_code: label.country_code, regions: label.id, plans: Bytes::new() },
                    Sealed { plans: vec![plan] },
                )),
            }
        }
        groups.sort_by_key(|(group, _)| group.country_code);
        let whole = |(group, sealed): (Group, Sealed)| Group { plans: sealed.encode_to_vec().into(), ..group };
        let world = World { groups: groups.into_iter().map(whole).collect() };
        let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/phone/plans.bin");
        if std::env::var_os("UPDATE").is_some() {
            return std::fs::write(&ours, world.encode_to_vec()).unwrap();
        }
        assert!(PLANS == world.encode_to_vec(), "run `UPDATE=1 cargo test --lib plans` and commit the result");
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
            let few = opened(of_region(&region.to_string()).unwrap());
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
            assert_eq!(called(text).map(|group| group.country_code), code, "{text}");
        }
        assert!([" 44", "٤٤", ""].iter().all(|text| called(text).is_none()));
    }
}
