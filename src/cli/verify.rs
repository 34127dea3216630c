//! `smsotp verify`: checks a code that someone gives.

use std::path::PathBuf;

use serde::Serialize;

use super::given::{self, CodeSource};
use super::{Call, unwired};
use crate::error::{Class, Result};
use crate::output::{Output, Page, Render, Sheet, View};

/// Check a code that someone gives
///
/// Exit code 0: verified. 1: no. 75: too many guesses, later. A right code works once. A code on the command line can be
/// seen by other users of this machine while the command runs: prefer the prompt, `-` or --code-file.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp verify +14155552671\n  \
    $ echo 123456 | smsotp verify +14155552671 - --purpose login\n  \
    $ smsotp verify +14155552671 --user alice --code-file /run/code --json")]
pub struct Args {
    /// The number, in international form
    pub phone: Option<String>,
    /// The code, or - to read it from standard input [default: a hidden prompt]
    pub code: Option<String>,
    /// What the code was asked for
    #[arg(long, value_name = "NAME", default_value = crate::purpose::DEFAULT)]
    pub purpose: String,
    /// The user for whom it was asked
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,
    /// The address of the person who gives the code; its limits then apply
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<String>,
    /// Read the code from this file
    #[arg(long, value_name = "FILE", conflicts_with = "code")]
    pub code_file: Option<PathBuf>,
    /// The user is signed in already: use the guess budgets of known users
    #[arg(long, requires = "user")]
    pub known: bool,
}

/// What `verify` answers, yes or no.
#[derive(Debug, Serialize)]
pub struct Verification {
    /// Yes or no.
    pub verified: bool,
    /// The reason of a no: `wrong_code`, `expired`, ...
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The reason in words.
    pub message: String,
    /// How many wrong tries are left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tries_left: Option<u32>,
    /// When it is worth trying again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
    /// Id of the code, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otp_id: Option<String>,
    /// The number, masked unless revealed.
    pub phone: String,
    /// The purpose.
    pub purpose: String,
    /// The user; empty where none was given.
    pub user: String,
    /// A declared test number.
    pub test: bool,
}

impl Render for Verification {
    const KIND: &'static str = "verification";

    fn sheet(&self, view: &View) -> Sheet {
        Sheet::one(vec![
            ("result", self.reason.unwrap_or("verified").to_owned()),
            ("id", view.text_if(self.otp_id.as_deref())),
            ("phone", self.phone.clone()),
            ("purpose", self.purpose.clone()),
            ("user", view.text_if(Some(&self.user))),
            ("tries_left", self.tries_left.map_or_else(|| view.nothing(), |n| n.to_string())),
            ("retry_after", self.retry_after_seconds.map_or_else(|| view.nothing(), |n| n.to_string())),
        ])
    }

    fn page(&self, _: &View) -> Page {
        let page = Page::new().text(&self.message);
        match self.tries_left {
            Some(1) => page.note("1 try left"),
            Some(tries) => page.note(format!("{tries} tries left")),
            None => page,
        }
    }
}

/// Parses, verifies, shows.
pub fn run(args: Args, call: &Call, out: &mut Output) -> Result<Class> {
    let _phone = given::e164(args.phone.as_deref(), call, out)?;
    let source = CodeSource {
        given: args.code.as_deref(),
        file: args.code_file.as_deref(),
        instead: "the code as `-` (standard input) or with --code-file",
    };
    let _code = given::code(source, call, out)?;
    // Seam: engine::verify → out.show(&Verification) → Class::Done | No | TryLater.
    Err(unwired("verify"))
}
