//! `smsotp limits`: what the limits are, how full they stand, and how staff opens a closed one.

use clap::Subcommand;
use serde::Serialize;

use super::{Call, unwired};
use crate::clock::Timestamp;
use crate::error::{Class, Result};
use crate::output::{Item, Output, View};

/// Show and reset the limits
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp limits show\n  \
    $ smsotp limits show +14155552671\n  \
    $ smsotp limits reset +14155552671 --reason 'customer on the line'")]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What can be done with limits.
#[derive(Debug, Subcommand)]
pub enum Verb {
    Show(Show),
    Reset(Reset),
}

/// Show the limits in force, and how full they stand for someone
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp limits show\n  \
    $ smsotp limits show +14155552671 --purpose login\n  \
    $ smsotp limits show --risk")]
pub struct Show {
    /// How full the limits of this number stand
    pub phone: Option<String>,
    /// How full the limits of this user stand
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,
    /// How full the limits of this address stand
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<String>,
    /// The purpose whose budgets are meant
    #[arg(long, value_name = "NAME")]
    pub purpose: Option<String>,
    /// What the limits mean: odds of a guessed code, worst cost of a day
    #[arg(long, conflicts_with_all = ["phone", "user", "ip", "purpose"])]
    pub risk: bool,
}

/// Open the closed limits and guess budgets of someone
///
/// Written to the audit log with its reason. Living codes and their tries are not touched.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp limits reset +14155552671 --reason 'customer on the line'\n  \
    $ smsotp limits reset --user alice --reason 'load test of today'")]
#[command(group(clap::ArgGroup::new("whom").args(["phone", "user", "ip"]).required(true).multiple(true)))]
pub struct Reset {
    /// The number
    pub phone: Option<String>,
    /// The user
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,
    /// The address
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<String>,
    /// Only the budgets of this purpose
    #[arg(long, value_name = "NAME")]
    pub purpose: Option<String>,
    /// Why; kept in the audit log
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// One limit, and how full it stands.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What it counts: `phone`, `user`, `ip`, ...
    pub subject: String,
    /// Its name, as `--override` takes it.
    pub limit: String,
    /// How many it allows.
    pub max: u32,
    /// In how long; absent where time does not open it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_seconds: Option<u64>,
    /// How many stand in the window now; absent where no subject was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<u32>,
    /// When it opens again, where it is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opens_at: Option<Timestamp>,
}

impl Item for Row {
    const KIND: &'static str = "limit";
    const COLUMNS: &'static [&'static str] = &["subject", "limit", "used", "max", "window", "opens"];

    fn cells(&self, view: &View) -> Vec<String> {
        let window = self.window_seconds.map(std::time::Duration::from_secs);
        vec![
            self.subject.clone(),
            self.limit.clone(),
            self.used.map_or_else(|| view.nothing(), |used| used.to_string()),
            self.max.to_string(),
            window.map_or_else(|| view.nothing(), |window| view.span(window)),
            view.time_if(self.opens_at),
        ]
    }
}

/// One line of what the limits mean.
#[derive(Clone, Debug, Serialize)]
pub struct Risk {
    /// What is asked: `a code of one phone is guessed within a day`.
    pub question: String,
    /// The number: odds or money.
    pub answer: String,
}

impl Item for Risk {
    const KIND: &'static str = "risk";
    const COLUMNS: &'static [&'static str] = &["question", "answer"];

    fn cells(&self, _: &View) -> Vec<String> {
        vec![self.question.clone(), self.answer.clone()]
    }
}

/// Shows or resets.
pub fn run(args: Args, _call: &Call, _out: &mut Output) -> Result<Class> {
    match args.verb {
        // Seam: policy (+ store facts for a subject) → out.list(&List<Row>); --risk → out.list(&List<Risk>).
        Verb::Show(_) => Err(unwired("limits show")),
        // Seam: engine::reset_limits → out.say("…").
        Verb::Reset(_) => Err(unwired("limits reset")),
    }
}
