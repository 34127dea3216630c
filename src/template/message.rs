//! The text of a message without a code: a template with values of the caller's.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::Value;

use super::{TEMPLATES, TEXT_MAX, unprintable};
use crate::error::{Code, Error, Result};

/// The variable that is always there: the name of the application.
const APP: &str = "app";

/// A template of Jinja's that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageTemplate(String);

impl MessageTemplate {
    /// Checks a template.
    ///
    /// # Errors
    /// `VALUE_INVALID`, which names what is wrong.
    pub fn parse(text: &str) -> Result<MessageTemplate> {
        if text.trim().is_empty() {
            return Err(invalid("the text is empty"));
        }
        if text.chars().count() > TEXT_MAX {
            return Err(invalid(format!("the text has more than {TEXT_MAX} characters")));
        }
        if let Some(bad) = text.chars().find(|c| unprintable(*c)) {
            return Err(invalid(format!("the text holds the control character U+{:04X}", u32::from(bad))));
        }
        TEMPLATES.template_from_str(text).map_err(|error| not_read(&error))?;
        Ok(MessageTemplate(text.to_owned()))
    }

    /// The values that it needs.
    pub fn variables(&self) -> BTreeSet<String> {
        let known = TEMPLATES.template_from_str(&self.0).map(|template| template.undeclared_variables(false));
        known.unwrap_or_default().into_iter().filter(|name| name != APP).collect()
    }

    /// The text with the name of each variable in its place, like `<name>`.
    ///
    /// # Errors
    /// `VALUE_INVALID`.
    pub fn with_names(&self, app: &str) -> Result<String> {
        let names = self.variables().into_iter().map(|name| (name.clone(), format!("<{name}>")));
        self.render(app, &names.collect())
    }

    /// The text. Each value that it needs has to be there, and no other: a name that is written wrong is both. Braces in the values are
    /// no variables.
    ///
    /// # Errors
    /// `VALUE_INVALID`.
    pub fn render(&self, app: &str, values: &BTreeMap<String, String>) -> Result<String> {
        let needed = self.variables();
        let names = || needed.iter().cloned().collect::<Vec<_>>().join(", ");
        let all = || if needed.is_empty() { "It has none.".to_owned() } else { format!("It has {}.", names()) };
        if let Some(name) = needed.iter().find(|name| !values.contains_key(*name)) {
            return Err(Error::new(Code::VALUE_INVALID, format!("the text needs a value for {name:.60}")).hint(all()));
        }
        if let Some(name) = values.keys().find(|name| !needed.contains(*name)) {
            return Err(Error::new(Code::VALUE_INVALID, format!("the text has no variable {name:.60}")).hint(all()));
        }
        let template = TEMPLATES.template_from_str(&self.0).map_err(|error| not_read(&error))?;
        let values = values.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let context = Value::from_pairs(values.chain([(APP, app)]));
        template.render(context).map_err(|error| not_read(&error))
    }
}

fn not_read(error: &minijinja::Error) -> Error {
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    invalid(format!("the text is no template: {detail:.200}"))
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Code::VALUE_INVALID, message)
        .hint("A variable is written {{ name }}; {{ app }} is always there, all others are given with each message.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn each_value_is_put_in_as_it_is() {
        let ready = MessageTemplate::parse("{{ app }}: {{ name }}, order {{ order }} is ready.").unwrap();
        assert_eq!(ready.variables().into_iter().collect::<Vec<_>>(), ["name", "order"]);
        let text = ready.render("ACME", &values(&[("name", "Zo\u{eb} {{ order }} <b>"), ("order", "7")])).unwrap();
        assert_eq!(text, "ACME: Zo\u{eb} {{ order }} <b>, order 7 is ready.");
        let plain = MessageTemplate::parse("We are closed today.").unwrap();
        assert_eq!(plain.render("ACME", &values(&[])).unwrap(), "We are closed today.");
        let many = MessageTemplate::parse("{% if n == \"1\" %}One{% else %}{{ n }}{% endif %} left").unwrap();
        assert_eq!(many.render("ACME", &values(&[("n", "1")])).unwrap(), "One left");
    }

    #[test]
    fn what_is_missing_or_too_much_is_named() {
        let ready = MessageTemplate::parse("{{ name }}, order {{ order }} is ready.").unwrap();
        let failed = |pairs: &[(&str, &str)]| ready.render("ACME", &values(pairs)).unwrap_err();
        assert_eq!(failed(&[("name", "Ada")]).message(), "the text needs a value for order");
        assert_eq!(failed(&[("name", "Ada")]).hint_text(), Some("It has name, order."));
        let typo = failed(&[("name", "Ada"), ("order", "7"), ("ordr", "7")]);
        assert_eq!(typo.message(), "the text has no variable ordr");
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for (text, words) in [
            ("", "empty"),
            (" \n", "empty"),
            ("{{ name", "no template"),
            ("a\u{202e}b", "control character"),
            ("{% for x in y %}", "no template"),
        ] {
            let error = MessageTemplate::parse(text).unwrap_err();
            assert!(error.message().contains(words), "{text:?}: {error}");
        }
        assert!(MessageTemplate::parse(&"a".repeat(1601)).unwrap_err().message().contains("1600"));
        let endless = MessageTemplate::parse("{% for a in range(9999) %}{{ a }}{% endfor %}").unwrap();
        let error = endless.render("ACME", &values(&[])).unwrap_err();
        assert_eq!(error.message(), "the text needs a value for range", "there are no functions");
    }
}
