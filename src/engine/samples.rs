//! The texts that the policy sends, at their longest: to be looked at before anybody gets one.

use std::collections::BTreeSet;

use secrecy::ExposeSecret;

use super::send_message::SEGMENTS_MAX;
use super::text::{Written, too_long};
use crate::error::{Error, Result};
use crate::locale::Locale;
use crate::policy::Policy;
use crate::purpose::Purpose;
use crate::segments::{self, Segments};
use crate::template::{Endings, MessageTemplate, built_in};
use crate::texts::Texts;

/// Which texts.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Only of this purpose or message.
    pub of: Option<Of>,
    /// Only the one for this locale.
    pub locale: Option<Locale>,
    /// Only the one for numbers of this country, two letters.
    pub country: Option<String>,
    /// Also the built-in ones of every locale.
    pub all: bool,
    /// With this last line, where it carries a code.
    pub endings: Endings,
}

/// What a text is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Of {
    /// Codes for this purpose.
    Purpose(Purpose),
    /// The message without a code that is asked for by this name.
    Message(String),
}

/// A text: of a code at its longest, with zeros for the code; of a message with the names of its variables, like `<name>`.
#[derive(Debug)]
pub struct Sample {
    /// What it is for.
    pub of: Of,
    /// The locale that was asked for, or that of the policy.
    pub locale: Locale,
    /// The country that it is for alone.
    pub country: Option<String>,
    /// Not the operator's own.
    pub built_in: bool,
    /// The text; empty where it cannot be made.
    pub text: String,
    /// What it takes as it is.
    pub measured: Segments,
    /// What it takes where the provider puts look-alikes of the GSM-7 alphabet in the place of others.
    pub smart: Segments,
    /// Why it cannot go out; `None`: it can.
    pub problem: Option<Error>,
}

/// The texts, in the order of their purposes, then of their messages: for the policy's locale, then for each other locale, then for
/// countries.
pub fn samples(policy: &Policy, which: &Samples) -> Vec<Sample> {
    let mut samples = Vec::new();
    for (purpose, settings) in &policy.purposes {
        let of = Of::Purpose(purpose.clone());
        if which.of.as_ref().is_some_and(|one| *one != of) {
            continue;
        }
        for (locale, country) in wanted(policy, which, &settings.texts, which.all) {
            let written = Written { locale: locale.as_ref(), country: &country, endings: &which.endings };
            let text = written.longest(policy, (purpose, settings)).map(|text| text.expose_secret().to_owned());
            let built_in = written.own(policy, settings).is_none();
            samples.push(sample(policy, of.clone(), (locale, country), (text, built_in, policy.segments_max)));
        }
    }
    for (name, texts) in &policy.messages {
        let of = Of::Message(name.clone());
        if which.of.as_ref().is_some_and(|one| *one != of) {
            continue;
        }
        for (locale, country) in wanted(policy, which, texts, false) {
            let chosen = texts.choose(locale.as_ref().unwrap_or(&policy.locale), &country).unwrap_or_default();
            let text = MessageTemplate::parse(chosen).and_then(|template| template.with_names(&policy.app_name));
            samples.push(sample(policy, of.clone(), (locale, country), (text, false, SEGMENTS_MAX)));
        }
    }
    samples
}

/// For which locales and countries there is a text of its own, or the ones that were asked for.
fn wanted(policy: &Policy, which: &Samples, texts: &Texts, all: bool) -> Vec<(Option<Locale>, String)> {
    if which.locale.is_some() || which.country.is_some() {
        return vec![(which.locale.clone(), which.country.clone().unwrap_or_default())];
    }
    let mut others: BTreeSet<Locale> = texts.locales.keys().cloned().collect();
    if all {
        others.extend(built_in::locales().filter_map(Locale::parse));
    }
    others.remove(&policy.locale);
    let locales = others.into_iter().map(|locale| (Some(locale), String::new()));
    let countries = texts.countries.keys().map(|country| (None, country.clone()));
    [(None, String::new())].into_iter().chain(locales).chain(countries).collect()
}

fn sample(
    policy: &Policy,
    of: Of,
    (locale, country): (Option<Locale>, String),
    (text, built_in, allowed): (Result<String>, bool, u32),
) -> Sample {
    let (text, problem) = match text {
        Ok(text) => (text, None),
        Err(error) => (String::new(), Some(error)),
    };
    let measured = segments::measure(&text);
    Sample {
        of,
        locale: locale.unwrap_or_else(|| policy.locale.clone()),
        country: Some(country).filter(|country| !country.is_empty()),
        built_in,
        smart: segments::measure(&segments::smart_encoded(&text)),
        problem: problem.or_else(|| too_long(&measured, allowed)),
        text,
        measured,
    }
}
