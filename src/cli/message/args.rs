//! What `message send` is given.

use std::time::Duration;

use crate::cli::given;
use crate::error::{Code, Error, Result};
use crate::money::Money;

/// Send a message without a code, or many
///
/// Limits, opt-outs, blocks, allowed countries and the guard's ceilings hold for it as for codes. Its text is kept, sealed, until it is
/// known that the message is out; what a busy provider does not take, `smsotp dispatch` sends later, once.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp message send +14155552671 'Your table is ready.'\n  \
    $ smsotp message send +14155552671 - --max-cost 0.05 --wait\n  \
    $ smsotp message send --jsonl messages.jsonl --check")]
pub struct Args {
    /// The number, in international form, or national with --region
    #[arg(required_unless_present = "jsonl")]
    pub phone: Option<String>,
    /// The text, at most 1600 characters; - reads it from standard input
    #[arg(required_unless_present_any = ["jsonl", "template"], allow_hyphen_values = true)]
    pub text: Option<String>,
    /// Send this text of smsotp.toml, [messages.NAME], in place of TEXT
    #[arg(long, value_name = "NAME", conflicts_with = "text")]
    pub template: Option<String>,
    /// A value for one of its variables; may be repeated
    #[arg(long = "var", value_name = "NAME=VALUE", requires = "template", conflicts_with_all = ["text", "jsonl"], value_parser = variable)]
    pub vars: Vec<(String, String)>,
    /// The language of the text of --template, for example de, de-AT or pt-BR [default: the setting `locale`]
    #[arg(long, value_name = "TAG", requires = "template", conflicts_with_all = ["text", "jsonl"])]
    pub locale: Option<String>,
    /// Send the messages of this file, or of standard input (-), one JSON object a line: {"to": …, "text": …}, or with "template",
    /// "vars" and "locale", and "key" if you like. Nothing is sent where a line is wrong; each line is answered with a line of JSON,
    /// in order; started again, it goes on
    #[arg(long, value_name = "FILE", conflicts_with_all = ["phone", "text", "template", "idempotency_key", "at", "wait", "overrides"])]
    pub jsonl: Option<String>,
    /// Check the lines of --jsonl and say what they would cost, without sending
    #[arg(long, requires = "jsonl", conflicts_with = "phone")]
    pub check: bool,
    /// What the keys of the lines are made from besides their numbers and what they say, to send the same lines once more
    /// [default: the path of the file]
    #[arg(long, value_name = "NAME", requires = "jsonl", conflicts_with = "phone")]
    pub batch: Option<String>,
    /// Send at most this many lines in a second
    #[arg(long, value_name = "N", requires = "jsonl", conflicts_with = "phone", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub rate: u16,
    /// Send at most this many lines at the same time
    #[arg(long, value_name = "N", requires = "jsonl", conflicts_with = "phone", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub concurrency: u16,
    #[command(flatten)]
    pub region: given::Region,
    #[command(flatten)]
    pub staff: given::Overrides,
    /// Repeat safely: the same key gets the same answer and sends once
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// Allow the message to take this many SMS segments
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10))]
    pub allow_segments: u32,
    /// Send nothing that costs more than this, in US dollars
    #[arg(long, value_name = "USD")]
    pub max_cost: Option<f64>,
    /// Send it then: RFC 3339, a day, or a span from now; at most 35 days ahead. `dispatch` or `serve` sends it
    #[arg(long, value_name = "WHEN", conflicts_with = "wait")]
    pub at: Option<String>,
    /// Send it within this time, from --at on, or not at all, 1m to 10h
    #[arg(long, value_name = "SPAN", default_value = "4h")]
    pub valid_for: String,
    /// Give up after this long
    #[arg(long, value_name = "SPAN", default_value = "45s")]
    pub timeout: String,
    /// Follow the message to its last status, at most this long [default: 60s]
    #[arg(long, value_name = "SPAN", num_args = 0..=1, require_equals = true, default_missing_value = "60s")]
    pub wait: Option<String>,
    /// Send through this provider
    #[arg(long, value_name = "NAME", value_parser = crate::config::ProviderName::NAMES)]
    pub provider: Option<String>,
}

/// How long a message may be wanted: Twilio's longest `ValidityPeriod` is ten hours.
const VALID_LEAST: Duration = Duration::from_secs(60);
const VALID_MOST: Duration = Duration::from_secs(36_000);

impl Args {
    /// What a message may cost.
    pub fn cost_max(&self) -> Result<Option<Money>> {
        let wrong = || Error::new(Code::VALUE_INVALID, "--max-cost is not an amount of US dollars, like 0.05");
        let money = |usd: f64| if usd.is_finite() && usd >= 0.0 { Ok(Money::from_usd(usd)) } else { Err(wrong()) };
        self.max_cost.map(money).transpose()
    }

    /// For how long a message is wanted.
    pub fn wanted_for(&self) -> Result<Duration> {
        let span = given::span("--valid-for", &self.valid_for)?;
        if (VALID_LEAST..=VALID_MOST).contains(&span) {
            return Ok(span);
        }
        Err(Error::new(Code::VALUE_INVALID, "--valid-for is not between a minute and ten hours")
            .hint("Ten hours is the longest that Twilio goes on trying to deliver a message"))
    }
}

/// A value for a variable of a template.
fn variable(text: &str) -> std::result::Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it like name=Ada")?;
    Ok((name.trim().to_owned(), value.to_owned()))
}
