//! A list of checks, each with a mark, what it means and the next step: what `test-twilio`, `config check` and `db check` show.

use serde::Serialize;

use crate::check::Mark;
use crate::error::Class;
use crate::output::{Layout, Output, Render, Table, View};

/// One check.
#[derive(Clone, Debug, Serialize)]
pub struct CheckItem {
    pub name: String,
    pub mark: Mark,
    /// What was found and what it means.
    pub meaning: String,
    /// The same, a sentence each.
    #[serde(skip)]
    sentences: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Checks in the order in which they were made.
#[derive(Clone, Debug, Serialize)]
pub struct Checks {
    /// What was checked: `twilio`, `config`, `database`.
    pub of: &'static str,
    pub passed: bool,
    pub items: Vec<CheckItem>,
}

impl Checks {
    /// No check yet.
    pub fn new(of: &'static str) -> Checks {
        Checks { of, passed: true, items: Vec::new() }
    }

    /// Adds a check; a bad one fails the whole.
    pub fn add(&mut self, name: &str, mark: Mark, meaning: impl Into<String>, next: Option<String>) {
        self.add_sentences(name, mark, vec![meaning.into()], next);
    }

    /// Adds a check that takes more than one sentence.
    pub fn add_sentences(&mut self, name: &str, mark: Mark, sentences: Vec<String>, next: Option<String>) {
        self.passed &= mark != Mark::Fail;
        let meaning = sentences.join(". ");
        self.items.push(CheckItem { name: name.to_owned(), mark, meaning, sentences, next });
    }

    /// Shows the checks; the class is `No` where one failed.
    pub fn show(&self, out: &mut Output) -> crate::error::Result<Class> {
        out.show(self)?;
        Ok(if self.passed { Class::Done } else { Class::No })
    }
}

impl Render for Checks {
    const KIND: &'static str = "checks";

    fn table(&self, view: &View) -> Table {
        let mut table = Table::new(&["mark", "check", "meaning", "next"]);
        for check in &self.items {
            table.row(vec![
                check.mark.label().to_lowercase(),
                check.name.clone(),
                check.meaning.clone(),
                view.text_if(check.next.as_deref()),
            ]);
        }
        table
    }

    fn layout(&self, _: &View) -> Layout {
        let width = self.items.iter().map(|check| check.name.len()).max().unwrap_or(0);
        self.items.iter().fold(Layout::new(), |page, check| {
            let lines = check.sentences.iter().chain(&check.next).cloned().collect();
            page.check(check.mark, format!("{:width$}", check.name), lines)
        })
    }
}
