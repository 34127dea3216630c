//! `smsotp report`: the funnel from asks to codes that were entered, why not more, and what it cost.

mod figures;
mod page;

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;

use self::figures::Shown;
use super::{Call, given};
use crate::app::{App, OpenMode};
use crate::error::{Class, Code, Error, Result};
use crate::output::Output;
use crate::report::{self, By, Condition, Only, Report};

/// Report how many codes were sent and entered, why not more, and the cost
///
/// Everything is counted in the hour in which it was asked for, in UTC, and stays counted when codes and messages are purged. With
/// --fail-if nothing is printed while all is well, and the exit code is 1 where a condition holds: one line for cron.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp report --since 24h\n  \
    $ smsotp report --since 30d --by day -o csv\n  \
    $ smsotp report --since 24h --fail-if 'conversion<60%' --fail-if 'cost>50'")]
pub struct Args {
    /// From this moment on: a date, RFC 3339, or a span back from now
    #[arg(long, value_name = "WHEN", default_value = "7d")]
    pub since: String,
    /// Up to this moment [default: now]
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    /// Only this purpose
    #[arg(long, value_name = "NAME")]
    pub purpose: Option<String>,
    /// Only numbers of this country, two letters
    #[arg(long, value_name = "COUNTRY")]
    pub country: Option<String>,
    /// Only this provider
    #[arg(long, value_name = "NAME", value_parser = crate::config::ProviderName::NAMES)]
    pub provider: Option<String>,
    /// Break it down by this alone [default: by purpose, country and provider; in JSON and CSV by all]
    #[arg(long, value_name = "WHAT", value_parser = PossibleValuesParser::new(By::ALL.iter().map(|by| by.as_str())))]
    pub by: Option<String>,
    /// Also write it to this file, as one page with charts
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Exit with 1 if this holds, for example 'conversion<60%', 'failed>5%', 'cost>50', 'time-to-verify>90s' or 'messages<1'
    #[arg(long, value_name = "CONDITION")]
    pub fail_if: Vec<String>,
}

/// Parses, reads, judges, shows.
pub fn run(args: &Args, call: &Call, out: &mut Output) -> Result<Class> {
    let now = out.view().now;
    let moment = |option: &str, text: &str| given::moment(option, text, |span| now - span);
    let since = moment("--since", &args.since)?;
    let until = args.until.as_deref().map_or(Ok(now), |text| moment("--until", text))?.min(now);
    if since >= until {
        return Err(Error::new(Code::VALUE_INVALID, "--since is not before --until")
            .hint("Name an earlier moment with --since, for example 7d or 2026-01-31."));
    }
    let conditions: Vec<Condition> = args.fail_if.iter().map(|text| condition(text)).collect::<Result<_>>()?;
    let config = call.config()?;
    let purpose = args.purpose.as_deref().map(given::purpose).transpose()?;
    let policy = config.policy.clone();
    let only = Only {
        purpose: purpose.as_ref().map(|purpose| purpose.as_str().to_owned()),
        country: args.country.as_deref().map(given::country).transpose()?.map(str::to_owned),
        provider: args.provider.clone(),
    };
    let read = |app: App| app.run(app.engine().funnel(since, until, &only));
    let report = call.open_if_any(config, OpenMode::Reading, out)?.map_or_else(|| Ok(Report::default()), read)?;
    if report.whole.asked == 0 {
        // A typo finds nothing either; a purpose that was declared once may have a past.
        given::declared(purpose.as_ref(), &policy)?;
    }
    let time = (report::hours(since, until).0, until);
    if let Some(path) = &args.html {
        let html = page::of(&Shown::of(&report, time, only.clone(), None))?;
        std::fs::write(path, html).map_err(|error| {
            Error::new(Code::FILE_FAILED, format!("{}: {error}", path.display()))
                .hint("Name a file in a directory that you may write to.")
        })?;
    }
    let by = args.by.as_deref().and_then(By::parse);
    let mut shown = Shown::of(&report, time, only, by);
    shown.failed_conditions = conditions.iter().filter_map(|condition| condition.holds(&report.whole)).collect();
    // Who waits for something to be wrong wants no mail while nothing is.
    if conditions.is_empty() || !shown.failed_conditions.is_empty() || out.is_json() {
        out.show_unless_quiet(&shown)?;
    }
    match shown.failed_conditions.as_slice() {
        [] => Ok(Class::Done),
        holding => Err(Error::new(Code::CONDITION_HOLDS, holding.join("; ")).hint(
            "`smsotp list --messages --state failed,undelivered,unknown` names messages and errors, `smsotp alarms list` what the guard did.",
        )),
    }
}

fn condition(text: &str) -> Result<Condition> {
    Condition::parse(text).map_err(|why| {
        Error::new(Code::VALUE_INVALID, format!("--fail-if {}: {why}", given::quoted(text)))
            .hint("Write it like 'conversion<60%', 'failed>5%', 'cost>50', 'time-to-verify>90s' or 'messages<1'.")
    })
}
