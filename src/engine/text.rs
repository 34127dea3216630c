//! The text of a message: with a code, computed when it is needed and kept nowhere; without one, sealed until it is settled.

use secrecy::{ExposeSecret, SecretString};

use super::request::Content;
use crate::clock::Timestamp;
use crate::code::Code;
use crate::error::{self, Error, Result};
use crate::keys::Keyring;
use crate::locale::Locale;
use crate::message::{Message, SealedText};
use crate::otp::Otp;
use crate::phone::Phone;
use crate::policy::Policy;
use crate::purpose::{Purpose, PurposePolicy};
use crate::segments::{self, Encoding, Segments};
use crate::template::{Endings, MessageTemplate, Values, Wording};

/// The text of an otp's message as it is now: the minutes left are rounded down.
pub fn render(policy: &Policy, (otp, message): (&Otp, &Message), code: &Code, now: Timestamp) -> Result<SecretString> {
    let settings = policy.purpose(&otp.purpose).cloned().unwrap_or_default();
    let written = Written { locale: message.locale.as_ref(), country: &message.country, endings: &message.endings };
    let values = Values { app: &policy.app_name, code, minutes: otp.left(now).as_secs() / 60 };
    written.wording(policy, &otp.purpose, &settings)?.render(&values, written.endings)
}

/// What a message without a code says, to a number of this country.
///
/// # Errors
/// `VALUE_INVALID` where there is no such template, or a value is missing or too much.
pub fn of_message(policy: &Policy, content: &Content, country: Option<&str>) -> Result<SecretString> {
    let (name, values, locale) = match content {
        Content::Text(text) => return Ok(text.clone()),
        Content::Template { name, values, locale } => (name, values, locale),
    };
    let texts = policy.messages.get(name).ok_or_else(|| {
        let known: Vec<&str> = policy.messages.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Error::new(error::Code::VALUE_INVALID, format!("no message is called {name:.64}"))
            .hint(format!("There are {known}; declare others in smsotp.toml under [messages.NAME]."))
    })?;
    let chosen = texts.choose(locale.as_ref().unwrap_or(&policy.locale), country.unwrap_or_default());
    let template = MessageTemplate::parse(chosen.unwrap_or_default())?;
    template.render(&policy.app_name, values).map(SecretString::from)
}

/// The text of a plain message whose outcome is open.
pub fn open(keyring: &Keyring, message: &Message) -> Result<SecretString> {
    let missing = || Error::new(error::Code::BUG, format!("message m{} has no text any more", message.id));
    let SealedText { key_id, sealed } = message.text.as_ref().ok_or_else(missing)?;
    let key = keyring.get(key_id).ok_or_else(|| {
        let held: Vec<String> = keyring.ids().iter().map(ToString::to_string).collect();
        let (origin, held) = (keyring.origin(), held.join(", "));
        let why = format!("the text of message m{} was sealed with key {key_id}; {origin} holds {held}", message.id);
        Error::new(error::Code::KEY_INVALID, why)
            .hint("Add that key again at the end of the list; `smsotp keys list` shows which keys are in use.")
    })?;
    key.text_key().open(message.id, &message.phone, sealed)
}

/// The text of a plain message, sealed with the newest key until it is known what became of it.
pub fn seal(keyring: &Keyring, (message_id, phone): (i64, &Phone), text: &SecretString) -> Result<SealedText> {
    let key = keyring.primary();
    Ok(SealedText { key_id: key.id(), sealed: key.text_key().seal(message_id, phone, text.expose_secret())? })
}

/// How a text is written, besides its purpose.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// The locale; `None`: the policy's.
    pub locale: Option<&'a Locale>,
    /// The country of the number, two letters; empty: none.
    pub country: &'a str,
    /// Its last line.
    pub endings: &'a Endings,
}

impl Written<'_> {
    /// The wording: the country's; else the operator's in the locale or one that is wider; else the operator's for all others; else the
    /// built-in one.
    fn wording(&self, policy: &Policy, purpose: &Purpose, settings: &PurposePolicy) -> Result<Wording> {
        let built_in = || Wording::built_in(purpose, self.locale.unwrap_or(&policy.locale));
        self.own(policy, settings).map_or_else(|| Ok(built_in()), Wording::parse)
    }

    /// The operator's own wording.
    pub fn own<'p>(&self, policy: &Policy, settings: &'p PurposePolicy) -> Option<&'p str> {
        settings.texts.choose(self.locale.unwrap_or(&policy.locale), self.country)
    }

    /// How many segments the longest message for a purpose takes; an error where that is more than `allowed`.
    ///
    /// # Errors
    /// `TOO_MANY_SEGMENTS`, which names the characters at fault; `VALUE_INVALID` where the text cannot be made.
    pub fn measure(
        &self,
        policy: &Policy,
        (purpose, settings): (&Purpose, &PurposePolicy),
        allowed: u32,
    ) -> Result<u32> {
        let measured = segments::measure(self.longest(policy, (purpose, settings))?.expose_secret());
        match too_long(&measured, allowed) {
            Some(error) => Err(error),
            None => Ok(measured.segments),
        }
    }

    /// The longest that a message for a purpose can get, with a code of zeros: to be measured before anything is recorded.
    ///
    /// # Errors
    /// `VALUE_INVALID` where the text cannot be made.
    pub fn longest(&self, policy: &Policy, (purpose, settings): (&Purpose, &PurposePolicy)) -> Result<SecretString> {
        let code = Code::parse(&"0".repeat(usize::from(settings.digits)))?;
        let values = Values { app: &policy.app_name, code: &code, minutes: settings.ttl.as_secs() / 60 };
        self.wording(policy, purpose, settings)?.render(&values, self.endings)
    }
}

/// The purposes whose messages the policy itself does not let out, with the reason.
pub fn wordings_too_long(policy: &Policy) -> Vec<(Purpose, Error)> {
    let too_long = |(purpose, settings): (&Purpose, &PurposePolicy)| {
        let plain = Written { locale: None, country: "", endings: &Endings::NONE };
        let locales = settings.texts.locales.keys().map(|locale| Written { locale: Some(locale), ..plain });
        let countries = settings.texts.countries.keys().map(|country| Written { country, ..plain });
        let mut all = [plain].into_iter().chain(locales).chain(countries);
        let measured = all.find_map(|one| one.measure(policy, (purpose, settings), policy.segments_max).err());
        measured.map(|error| (purpose.clone(), error))
    };
    policy.purposes.iter().filter_map(too_long).collect()
}

/// What a text that takes more segments than allowed is told, with the characters at fault; `None`: it fits.
pub fn too_long(measured: &Segments, allowed: u32) -> Option<Error> {
    if measured.segments <= allowed {
        return None;
    }
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
    Some(Error::new(error::Code::TOO_MANY_SEGMENTS, message).hint(
        "Shorten the app name or the wording, or allow more with the setting segments_max; every segment is charged.",
    ))
}
