//! `smsotp simulate`: what limits and guard do to people and to an attack, before they meet either.

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Call, given};
use crate::app::{self, OpenMode};
use crate::clock::Timestamp;
use crate::config::Flags;
use crate::error::{Class, Code, Error, Result};
use crate::files;
use crate::money::Prices;
use crate::output::{Layout, Output, Render, Table, View};
use crate::policy::Policy;
use crate::simulate::{self, Column, Figures, Parameters, Rules, Traffic};

/// The most bytes of a file of prices or parameters.
const FILE_MAX: u64 = 1024 * 1024;

/// Try limits and guard on made-up traffic, a trace, or your own history
///
/// Plays traffic through the rules that a send is weighed by, on a clock of its own: nothing is sent, and nothing is written.
/// Three times: with the guard, with its first layer (caps and ceilings) alone, and with plain limits alone.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp simulate --scenario far\n  \
    $ smsotp simulate --trace asks.csv --judge-from 2026-01-09 --limits smsotp.toml\n  \
    $ smsotp simulate --from-audit --since 14d")]
#[command(group(clap::ArgGroup::new("traffic").args(["scenario", "trace", "from_audit"]).required(true)))]
pub struct Args {
    /// Make up the traffic of this scenario; an unknown name lists all
    #[arg(long, value_name = "NAME")]
    pub scenario: Option<String>,
    /// Another seed makes other traffic of the same kind
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with_all = ["trace", "from_audit"])]
    pub seed: u64,
    /// So many people ask a day
    #[arg(long, value_name = "N", default_value_t = 2000, conflicts_with_all = ["trace", "from_audit"])]
    pub per_day: u32,
    /// Make scenarios from the parameters in this file
    #[arg(long, value_name = "FILE", requires = "scenario")]
    pub parameters: Option<PathBuf>,
    /// Take the traffic from this table of asks (CSV); - reads standard input
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Take the traffic from the audit log
    #[arg(long)]
    pub from_audit: bool,
    /// With --from-audit: from this moment on: a date, RFC 3339, or a span back from now
    #[arg(long, value_name = "WHEN", default_value = "14d", requires = "from_audit")]
    pub since: String,
    /// Count only what is asked from this moment on; what comes before it is history
    #[arg(long, value_name = "WHEN")]
    pub judge_from: Option<String>,
    /// What messages cost: lines of country,price in US dollars
    #[arg(long, value_name = "FILE")]
    pub prices: Option<PathBuf>,
    /// Try the limits and the guard's settings in this smsotp.toml
    #[arg(long, value_name = "FILE")]
    pub limits: Option<PathBuf>,
    /// 1: caps and ceilings; 2: also the detector
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=2))]
    pub layers: u8,
    /// Play it through the whole engine, with a database in memory: slower, with the same figures
    #[arg(long)]
    pub engine: bool,
    /// Also write the traffic to this file, as --trace takes it
    #[arg(long, value_name = "FILE")]
    pub write_trace: Option<PathBuf>,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Simulation {
    /// The scenario, `trace` or `audit`.
    pub traffic: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_day: Option<u32>,
    /// All asks, with those of the history.
    pub asks: u64,
    /// From when on they count.
    pub judged_from: Timestamp,
    /// How many layers of the guard were in force.
    pub layers: u8,
    /// With these layers.
    #[serde(flatten)]
    pub guard: Figures,
    /// With the first layer alone.
    pub layer_1: Figures,
    /// With plain limits alone.
    pub limits: Figures,
}

impl Simulation {
    fn columns(&self) -> Vec<(&'static str, &Figures)> {
        let mut columns = vec![("limits", &self.limits), ("layer 1", &self.layer_1)];
        if self.layers > 1 {
            columns.push(("layers 1+2", &self.guard));
        }
        columns
    }
}

impl Render for Simulation {
    const KIND: &'static str = "simulation";

    fn table(&self, _: &View) -> Table {
        let mut table = Table::new(&[
            "defence",
            "attack_cost",
            "attack_cost_out",
            "stopped_percent",
            "first_stop_messages",
            "legit",
            "legit_refused",
            "legit_challenged",
            "legit_limited",
            "attacked_legit",
            "attacked_refused",
            "attacked_challenged",
            "unblocked_after_s",
        ]);
        for (name, figures) in self.columns() {
            let attack = figures.attack_messages > 0;
            let text = |value: Option<String>| value.unwrap_or_default();
            table.row(vec![
                name.to_owned(),
                figures.attack_cost.usd().to_string(),
                figures.attack_cost_out.usd().to_string(),
                text(figures.stopped_percent().map(|percent| format!("{percent:.3}"))),
                text(attack.then(|| figures.first_stop().to_string())),
                figures.legit.to_string(),
                figures.legit_refused.to_string(),
                figures.legit_challenged.to_string(),
                figures.legit_limited.to_string(),
                figures.attacked_legit.to_string(),
                figures.attacked_refused.to_string(),
                figures.attacked_challenged.to_string(),
                figures.unblocked_after_s.to_string(),
            ]);
        }
        table
    }

    fn layout(&self, view: &View) -> Layout {
        let mut headings = vec![""];
        headings.extend(self.columns().iter().map(|(name, _)| *name));
        let mut table = Table::new(&headings);
        let mut row = |what: &str, cell: &dyn Fn(&Figures) -> String| {
            let cells = self.columns().into_iter().map(|(_, figures)| cell(figures));
            table.row([what.to_owned()].into_iter().chain(cells).collect());
        };
        let of = |part: u64, all: u64| match (part, all) {
            (0, _) | (_, 0) => "0".to_owned(),
            _ => format!("{part} ({:.2} %)", part as f64 / all as f64 * 100.0),
        };
        if self.guard.attack_messages > 0 {
            row("the attack would cost", &|figures| figures.attack_cost.to_string());
            row("it costs", &|figures| figures.attack_cost_out.to_string());
            row("stopped", &|figures| {
                figures.stopped_percent().map_or_else(|| view.nothing(), |percent| format!("{percent:.1} %"))
            });
            row("messages before the first stop", &|figures| figures.first_stop().to_string());
        }
        row("people who ask", &|figures| figures.legit.to_string());
        row("refused", &|figures| of(figures.legit_refused, figures.legit));
        row("challenged", &|figures| of(figures.legit_challenged, figures.legit));
        if self.columns().iter().any(|(_, figures)| figures.legit_limited > 0) {
            row("refused by plain limits", &|figures| of(figures.legit_limited, figures.legit));
        }
        if self.guard.attack_messages > 0 {
            row("in the attacked countries, meanwhile", &|figures| figures.attacked_legit.to_string());
            row("refused there", &|figures| of(figures.attacked_refused, figures.attacked_legit));
            row("challenged there", &|figures| of(figures.attacked_challenged, figures.attacked_legit));
            row("room again after", &|figures| view.span(std::time::Duration::from_secs(figures.unblocked_after_s)));
        }
        Layout::new().table(table)
    }
}

/// Makes or reads the traffic, and plays it three times.
pub fn run(args: &Args, call: &Call, out: &mut Output) -> Result<Class> {
    call.signals.watch();
    let tried = args.limits.as_deref().map(|path| policy_in(path, call)).transpose()?;
    let (mut traffic, own, prices) = traffic(args, call, out)?;
    if let Some(text) = &args.judge_from {
        let now = out.view().now;
        traffic.judge_from = given::moment("--judge-from", text, |span| now - span)?;
        if let Some(last) = traffic.asks.last().filter(|last| last.at < traffic.judge_from) {
            return Err(Error::new(Code::VALUE_INVALID, format!("nothing is asked from {} on", traffic.judge_from))
                .hint(format!("The last ask is of {}.", last.at)));
        }
    }
    if let Some(path) = &args.write_trace {
        let file = File::create(path).map_err(|error| {
            Error::new(Code::FILE_FAILED, format!("{}: {error}", path.display()))
                .hint("Name a file in a directory that you may write to.")
        })?;
        let mut file = std::io::BufWriter::new(file);
        simulate::write(&traffic, &mut file)?;
        file.flush().map_err(|error| Error::new(Code::FILE_FAILED, "the trace cannot be written").because(error))?;
    }
    let tried = tried.or(own);
    let prices = match (&args.prices, prices, &tried) {
        (Some(path), prices, _) => {
            prices.unwrap_or_default().with_file(&text_of(path, "the prices")?).map_err(|why| {
                Error::new(Code::VALUE_INVALID, format!("{}: {why}", path.display()))
                    .hint("Write lines like GB,0.05 in US dollars a message.")
            })?
        }
        (None, Some(prices), _) => prices,
        (None, None, Some(policy)) => policy.guard.prices.clone(),
        (None, None, None) => Prices::shipped(),
    };
    let mut progress = out.progress("asks");
    let mut done = 0;
    let mut column = |column: Column| {
        let policy = column.policy(tried.as_ref(), &prices, &traffic)?;
        let begun = done;
        let advance = |asks| {
            done = begun + asks;
            progress.advance_to(done);
            call.signals.interrupted()
        };
        match args.engine {
            true => app::simulate(&traffic, policy, column, advance),
            false => simulate::play(&traffic, &prices, &mut Rules::new(&policy, column, &traffic)?, advance),
        }
    };
    let limits = column(Column::Limits)?;
    let layer_1 = column(Column::Layer1)?;
    let guard = if args.layers == 1 { layer_1.clone() } else { column(Column::Layers)? };
    drop(progress);
    let made = args.scenario.is_some();
    out.show(&Simulation {
        traffic: match (&args.scenario, &args.trace) {
            (Some(name), _) => name.clone(),
            (None, Some(_)) => "trace".to_owned(),
            (None, None) => "audit".to_owned(),
        },
        seed: made.then_some(args.seed),
        per_day: made.then_some(args.per_day),
        asks: traffic.asks.len() as u64,
        judged_from: traffic.judge_from,
        layers: args.layers,
        guard,
        layer_1,
        limits,
    })
}

/// The traffic, with the policy that it met and the prices that go with it, where there are such.
fn traffic(args: &Args, call: &Call, out: &Output) -> Result<(Traffic, Option<Policy>, Option<Prices>)> {
    if let Some(name) = &args.scenario {
        let parameters = match &args.parameters {
            Some(path) => Parameters::parse(&text_of(path, "the parameters")?)?,
            None => Parameters::ours()?,
        };
        let traffic = simulate::make(&parameters, name, args.seed, args.per_day)?;
        return Ok((traffic, None, Some(parameters.prices())));
    }
    if let Some(path) = &args.trace {
        let traffic = match path.as_os_str() == "-" {
            true => simulate::read(std::io::stdin().lock())?,
            false => simulate::read(BufReader::new(File::open(path).map_err(|error| {
                Error::new(Code::FILE_FAILED, format!("{}: {error}", path.display()))
                    .hint("Check the path, and that this user may read the file.")
            })?))?,
        };
        return Ok((traffic, None, None));
    }
    let now = out.view().now;
    let since = given::moment("--since", &args.since, |span| now - span)?;
    let app = call.open(OpenMode::Reading, out)?;
    let traffic = app.history(since)?;
    Ok((traffic, Some(app.config().policy.clone()), None))
}

/// The rules in a file of settings.
fn policy_in(path: &Path, call: &Call) -> Result<Policy> {
    let flags = Flags { config: Some(path.to_owned()), db: call.globals.db.clone(), ..Flags::default() };
    Ok(crate::config::load(flags)?.policy)
}

fn text_of(path: &Path, what: &str) -> Result<String> {
    let unreadable = |why: files::Failure| {
        Error::new(Code::FILE_FAILED, format!("cannot read {what} {}: {}", path.display(), why.why()))
            .hint("Check the path, and that this user may read the file.")
    };
    let contents = files::read(path, FILE_MAX).map_err(unreadable)?;
    Ok(contents.text().map_err(unreadable)?.as_str().to_owned())
}
