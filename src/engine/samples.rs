//! The texts that the policy sends, at their longest: to be looked at before anybody gets one.

use std::collections::BTreeSet;

use secrecy::ExposeSecret;

use super::text::{Written, too_long};
use crate::error::Error;
use crate::locale::Locale;
use crate::policy::Policy;
use crate::purpose::Purpose;
use crate::segments::{self, Segments};
use crate::template::{Endings, built_in};

/// Which texts.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Only of this purpose.
    pub purpose: Option<Purpose>,
    /// Only the one for this locale.
    pub locale: Option<Locale>,
    /// Only the one for numbers of this country, two letters.
    pub country: Option<String>,
    /// Also the built-in ones of every locale.
    pub all: bool,
    /// With this last line.
    pub endings: Endings,
}

/// A text at its longest: with zeros for the code.
#[derive(Debug)]
pub struct Sample {
    /// What the code is for.
    pub purpose: Purpose,
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

/// The texts, in the order of their purposes: for the policy's locale, then for each other locale, then for countries.
pub fn samples(policy: &Policy, which: &Samples) -> Vec<Sample> {
    let purposes =
        policy.purposes.iter().filter(|(purpose, _)| which.purpose.as_ref().is_none_or(|one| one == *purpose));
    let mut samples = Vec::new();
    for (purpose, settings) in purposes {
        let mut others: BTreeSet<Locale> = settings.texts.keys().cloned().collect();
        if which.all {
            others.extend(built_in::locales().filter_map(Locale::parse));
        }
        others.remove(&policy.locale);
        let mut wanted: Vec<(Option<&Locale>, &str)> = match (&which.locale, which.country.as_deref()) {
            (None, None) => vec![(None, "")],
            (locale, country) => vec![(locale.as_ref(), country.unwrap_or_default())],
        };
        if which.locale.is_none() && which.country.is_none() {
            wanted.extend(others.iter().map(|locale| (Some(locale), "")));
            wanted.extend(settings.country_texts.keys().map(|country| (None, country.as_str())));
        }
        for (locale, country) in wanted {
            let written = Written { locale, country, endings: &which.endings };
            let (text, problem) = match written.longest(policy, (purpose, settings)) {
                Ok(text) => (text.expose_secret().to_owned(), None),
                Err(error) => (String::new(), Some(error)),
            };
            let measured = segments::measure(&text);
            let problem = problem.or_else(|| too_long(&measured, policy.segments_max));
            samples.push(Sample {
                purpose: purpose.clone(),
                locale: locale.unwrap_or(&policy.locale).clone(),
                country: Some(country.to_owned()).filter(|country| !country.is_empty()),
                built_in: written.own(policy, settings).is_none(),
                smart: segments::measure(&segments::smart_encoded(&text)),
                text,
                measured,
                problem,
            });
        }
    }
    samples
}
