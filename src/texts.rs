//! The operator's texts of one thing that is sent, of which one is chosen for each message.

use std::collections::BTreeMap;

use crate::locale::Locale;

/// The operator's texts of one purpose, or of one message without a code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    /// Where no other is for the locale.
    pub others: Option<String>,
    /// Of a locale, and of those that are narrower.
    pub locales: BTreeMap<Locale, String>,
    /// For numbers of a country (ISO 3166 two letters), whatever the locale: where the law wants an approved one.
    pub countries: BTreeMap<String, String>,
}

impl Texts {
    /// The country's; else that of the locale, or of one that is wider; else the one for all others.
    pub fn choose(&self, locale: &Locale, country: &str) -> Option<&str> {
        let in_locale = || locale.and_wider().into_iter().find_map(|locale| self.locales.get(&locale));
        self.countries.get(country).or_else(in_locale).or(self.others.as_ref()).map(String::as_str)
    }
}
