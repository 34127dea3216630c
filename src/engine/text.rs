//! The text of a message: computed when it is needed, kept nowhere.

use secrecy::{ExposeSecret, SecretString};

use crate::clock::Timestamp;
use crate::code::Code;
use crate::error::{self, Error, Result};
use crate::otp::Otp;
use crate::policy::Policy;
use crate::purpose::{Purpose, PurposePolicy};
use crate::segments::{self, Encoding, Segments};
use crate::template::{Endings, Values, Wording};

/// The text of an otp's message as it is now: the minutes left are rounded down.
pub fn render(policy: &Policy, otp: &Otp, code: &Code, endings: &Endings, now: Timestamp) -> Result<SecretString> {
    let custom = policy.purpose(&otp.purpose).and_then(|purpose| purpose.text.as_deref());
    let minutes = otp.left(now).as_secs() / 60;
    wording(&otp.purpose, custom)?.render(&Values { app: &policy.app_name, code, minutes }, endings)
}

/// How many segments the longest message for a purpose takes; an error where that is more than `allowed`.
pub fn measure(
    policy: &Policy,
    purpose: &Purpose,
    settings: &PurposePolicy,
    endings: &Endings,
    allowed: u32,
) -> Result<u32> {
    let text = longest(policy, purpose, settings, endings)?;
    let measured = segments::measure(text.expose_secret());
    if measured.segments > allowed { Err(too_long(&measured, allowed)) } else { Ok(measured.segments) }
}

/// The purposes whose messages the policy itself does not let out, with the reason.
pub fn wordings_too_long(policy: &Policy) -> Vec<(Purpose, Error)> {
    let too_long = |(purpose, settings): (&Purpose, &PurposePolicy)| {
        let measured = measure(policy, purpose, settings, &Endings::NONE, policy.segments_max);
        measured.err().map(|error| (purpose.clone(), error))
    };
    policy.purposes.iter().filter_map(too_long).collect()
}

/// The longest that a message for a purpose can get: to be measured before anything is recorded.
fn longest(policy: &Policy, purpose: &Purpose, settings: &PurposePolicy, endings: &Endings) -> Result<SecretString> {
    let code = Code::parse(&"0".repeat(usize::from(settings.digits)))?;
    let minutes = settings.ttl.as_secs() / 60;
    let values = Values { app: &policy.app_name, code: &code, minutes };
    wording(purpose, settings.text.as_deref())?.render(&values, endings)
}

fn wording(purpose: &Purpose, custom: Option<&str>) -> Result<Wording> {
    custom.map_or_else(|| Ok(Wording::built_in(purpose)), Wording::parse)
}

/// What a text that takes too many segments is told, with the characters at fault.
fn too_long(measured: &Segments, allowed: u32) -> Error {
    let mut message = format!(
        "the message takes {} segments ({} {} characters); {allowed} {} allowed",
        measured.segments,
        measured.units,
        measured.encoding.as_str(),
        if allowed == 1 { "is" } else { "are" },
    );
    if measured.encoding == Encoding::Ucs2 {
        let foreign: Vec<String> =
            measured.foreign.iter().take(8).map(|c| format!("{c} (U+{:04X})", *c as u32)).collect();
        message.push_str(&format!("; not in the GSM-7 alphabet: {}", foreign.join(", ")));
    }
    Error::new(error::Code::TOO_MANY_SEGMENTS, message).hint(
        "Shorten the app name or the wording, or allow more with the setting segments_max; every segment is charged.",
    )
}
