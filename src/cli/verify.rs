//! `smsotp verify`: verifies a code.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::Call;
use super::given::{self, CodeSource};
use crate::app::OpenMode;
use crate::engine::{Caller, Verdict, VerifyAnswer, VerifyOtp};
use crate::error::{Class, Result};
use crate::output::{Layout, Output, Render, Table, View};
use crate::subject::SubjectKind;

/// Verify a code
///
/// Exit code 0: verified. 1: rejected. 75: too many guesses, try later. A right code works once. A code on the command line can be
/// seen by other users of this machine while the command runs: prefer the prompt, `-` or --code-file.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp verify +14155552671\n  \
    $ echo 123456 | smsotp verify +14155552671 - --purpose login\n  \
    $ smsotp verify +14155552671 --user alice --code-file /run/code --json")]
pub struct Args {
    /// The number, in international form, or national with --region
    pub phone: Option<String>,
    /// The code, or - to read it from standard input [default: a hidden prompt]
    pub code: Option<String>,
    /// What the code is for
    #[arg(long, value_name = "NAME", default_value = crate::purpose::DEFAULT)]
    pub purpose: String,
    /// The user that the code was sent for
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,
    /// The address of the client; its limits then apply
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<String>,
    #[command(flatten)]
    pub region: given::Region,
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
    pub verified: bool,
    /// The reason of a no: `wrong_code`, `expired`, ...
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tries_left: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otp_id: Option<String>,
    /// The number, masked unless revealed.
    pub phone: String,
    pub purpose: String,
    /// The user; empty where none was given.
    pub user: String,
    /// A declared test number.
    pub test: bool,
}

impl Render for Verification {
    const KIND: &'static str = "verification";

    fn table(&self, view: &View) -> Table {
        Table::one_row(vec![
            ("result", self.reason.unwrap_or("verified").to_owned()),
            ("id", view.text_if(self.otp_id.as_deref())),
            ("phone", self.phone.clone()),
            ("purpose", self.purpose.clone()),
            ("user", view.text_if(Some(&self.user))),
            ("tries_left", self.tries_left.map_or_else(|| view.nothing(), |n| n.to_string())),
            ("retry_after", self.retry_after_seconds.map_or_else(|| view.nothing(), |n| n.to_string())),
        ])
    }

    fn layout(&self, view: &View) -> Layout {
        Layout::new().text(match (self.tries_left, self.retry_after_seconds) {
            (Some(1), _) => format!("{} 1 try is left.", self.message),
            (Some(tries @ 2..), _) => format!("{} {tries} tries are left.", self.message),
            (_, Some(seconds)) => format!("{} Try again in {}.", self.message, view.span(Duration::from_secs(seconds))),
            _ => self.message.clone(),
        })
    }
}

/// Parses, verifies, shows.
pub fn run(args: Args, call: &Call, out: &mut Output) -> Result<Class> {
    let caller = Caller { known: args.known, ..given::caller(args.ip.as_deref())? };
    let purpose = given::purpose(&args.purpose)?;
    let user = given::user(args.user.as_deref())?;
    let config = args.region.config(call)?;
    let phone = given::phone_or_prompt(args.phone.as_deref(), call, out, |typed| given::phone(typed, &config, call))?;
    let source = CodeSource {
        given: args.code.as_deref(),
        file: args.code_file.as_deref(),
        instead: "the code as `-` (standard input) or with --code-file",
    };
    let code = given::code(source, call, out)?;
    let app = call.open_with(config, OpenMode::Existing, out)?;
    let request = VerifyOtp { phone: phone.clone(), purpose, user: user.clone(), code, idempotency_key: None };
    let answer = {
        let _hold = call.signals.hold();
        app.run(app.engine().verify(&caller, request))?
    };
    let verdict = &answer.verdict;
    let retry_after_seconds = match verdict {
        Verdict::TooManyGuesses(hit) => hit.retry_after_seconds,
        _ => None,
    };
    out.show(&Verification {
        verified: *verdict == Verdict::Verified,
        reason: verdict.code().map(|code| code.name),
        message: words(&answer),
        tries_left: verdict.tries_left(),
        retry_after_seconds,
        otp_id: answer.otp_id.map(|id| id.to_string()),
        phone: out.phone(&phone),
        purpose: args.purpose,
        user: user.as_str().to_owned(),
        test: answer.test,
    })?;
    if let Verdict::TooManyGuesses(hit) = verdict {
        let whose = match hit.subject {
            SubjectKind::Pair if !user.is_empty() => {
                format!("{} --user {}", out.pasted_phone(&phone), given::quoted(user.as_str()))
            }
            SubjectKind::Phone | SubjectKind::Pair => out.pasted_phone(&phone),
            subject => subject.to_reset().to_owned(),
        };
        out.hint(&format!("Staff can reset it: smsotp limits reset {whose} --reason TEXT"));
    }
    Ok(verdict.code().map_or(Class::Done, |code| code.class))
}

/// The verdict, and what to do about it, in words.
fn words(answer: &VerifyAnswer) -> String {
    let why = match &answer.verdict {
        Verdict::Verified if answer.test => "Verified (a test number).",
        Verdict::Verified => "Verified.",
        Verdict::WrongCode { tries_left: 0 } => "Wrong code; its tries are spent. Send a new one.",
        Verdict::WrongCode { .. } => "Wrong code.",
        Verdict::Expired => "The code has expired. Send a new one.",
        Verdict::AlreadyUsed => "The code was used before.",
        Verdict::Superseded => "A newer code replaced this one. Use the newest message.",
        Verdict::Locked => "The tries of this code are spent. Send a new one.",
        Verdict::Revoked => "The code was revoked.",
        Verdict::SendFailed => "The code could not be sent. Send a new one.",
        Verdict::TooManyGuesses(hit) if hit.retry_after_seconds.is_none() => {
            "Too many wrong codes in a row: no code is accepted until staff resets the limit."
        }
        Verdict::TooManyGuesses(_) => "Too many wrong codes.",
        Verdict::NotFound if answer.other_user => "No code was sent for this user; one was for another (--user).",
        Verdict::NotFound => "No code was sent. Is the purpose the one that it was sent for (--purpose)?",
    };
    why.to_owned()
}
