//! One check of something that can be wrong: the settings, the provider, the database.

use serde::Serialize;

/// What was looked at, what was found, what that means, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// A stable name.
    pub name: &'static str,
    /// How it ended.
    pub mark: Mark,
    /// What was found.
    pub finding: String,
    /// What that means for sending codes.
    pub meaning: String,
    /// What to do next, where there is something to do.
    pub next: Option<String>,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Fine.
    Ok,
    /// Works, with a catch.
    Warn,
    /// Wrong: codes do not arrive, or the database cannot be relied on.
    Fail,
    /// Not looked at, and why.
    Skip,
}

impl Check {
    /// A check without a next step.
    pub fn new(name: &'static str, mark: Mark, finding: impl Into<String>, meaning: impl Into<String>) -> Check {
        Check { name, mark, finding: finding.into(), meaning: meaning.into(), next: None }
    }

    /// The same check with a next step.
    #[must_use]
    pub fn next_step(mut self, next: impl Into<String>) -> Check {
        self.next = Some(next.into());
        self
    }
}

impl Mark {
    /// The name at a terminal, where it carries the meaning without colours.
    pub fn label(self) -> &'static str {
        match self {
            Mark::Ok => "ok",
            Mark::Warn => "warn",
            Mark::Fail => "FAIL",
            Mark::Skip => "skip",
        }
    }
}
