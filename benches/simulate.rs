//! What limits and guard do in every scenario, over several seeds, by the rules alone: a table for docs/simulate.md. With `UPDATE=1` it is
//! written there; SMSOTP_BENCH_FIRST_SEED=11 begins with another seed. Not a time is measured, so it may run beside anything; at full size it takes a minute or two.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods, dead_code)]

mod measure;

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use measure::{median_of, wanted};
use smsotp::simulate::{self, Column, Figures, Parameters, Rules};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/simulate.md");
const BEGIN: &str = "<!-- generated: measured -->\n";
const END: &str = "<!-- end -->";

fn main() {
    let seeds = wanted("SMSOTP_BENCH_SEEDS", 10);
    let per_day = u32::try_from(wanted("SMSOTP_BENCH_PER_DAY", 2000)).unwrap();
    let only = std::env::var("SMSOTP_BENCH_SCENARIOS").unwrap_or_default();
    let parameters = Parameters::ours().unwrap();
    let names: Vec<&str> =
        parameters.names().filter(|name| only.is_empty() || only.split(',').any(|one| one == *name)).collect();
    let mut table = format!("{seeds} seeds each, {per_day} asks a day: median (worst).\n\n");
    table.push_str(
        "| scenario | plain limits: stopped %, refused % | layer 1: stopped %, messages before, refused % | both layers: stopped %, messages before, \
         refused %, challenged % | in the attacked countries, both layers: refused %, challenged % | room again, h |\n|---|---|---|---|---|---|\n",
    );
    for name in names {
        let columns = [Column::Limits, Column::Layer1, Column::Layers]
            .map(|column| over(&parameters, name, seeds, per_day, column));
        let row = row(name, &columns);
        print!("{row}");
        table.push_str(&row);
    }
    if std::env::var_os("UPDATE").is_some() {
        let page = std::fs::read_to_string(PAGE).unwrap();
        let from = page.find(BEGIN).expect("docs/simulate.md has a place for the table") + BEGIN.len();
        let to = from + page[from..].find(END).unwrap();
        std::fs::write(PAGE, format!("{}{table}{}", &page[..from], &page[to..])).unwrap();
    }
}

/// One column over all seeds, on as many threads as there are processors.
fn over(parameters: &Parameters, name: &str, seeds: u64, per_day: u32, column: Column) -> Vec<Figures> {
    let first = usize::try_from(wanted("SMSOTP_BENCH_FIRST_SEED", 1)).unwrap();
    let (next, found) = (AtomicUsize::new(first), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed) as u64;
                    if seed >= first as u64 + seeds {
                        return;
                    }
                    let traffic = simulate::make(parameters, name, seed, per_day).unwrap();
                    let policy = column.policy(None, &parameters.prices(), &traffic).unwrap();
                    let mut rules = Rules::new(&policy, column, &traffic).unwrap();
                    let figures = simulate::play(&traffic, &parameters.prices(), &mut rules, |_| Ok(())).unwrap();
                    found.lock().unwrap().push(figures);
                }
            });
        }
    });
    found.into_inner().unwrap()
}

fn row(name: &str, [limits, caps, both]: &[Vec<Figures>; 3]) -> String {
    let percent = |part: u64, all: u64| if all == 0 { 0.0 } else { part as f64 / all as f64 * 100.0 };
    let stopped = |of: &[Figures]| least(of.iter().map(|one| one.stopped_percent()), 1);
    let before = |of: &[Figures]| most(of.iter().map(|one| one.stopped_percent().map(|_| one.first_stop() as f64)), 0);
    let refused = |of: &[Figures]| most(of.iter().map(|one| Some(percent(one.legit_refused, one.legit))), 2);
    let challenged = |of: &[Figures]| most(of.iter().map(|one| Some(percent(one.legit_challenged, one.legit))), 2);
    let there = |of: &[Figures], count: fn(&Figures) -> u64| {
        most(of.iter().map(|one| one.stopped_percent().map(|_| percent(count(one), one.attacked_legit))), 1)
    };
    let room = most(both.iter().map(|one| one.stopped_percent().map(|_| one.unblocked_after_s as f64 / 3600.0)), 1);
    let mut row = String::new();
    writeln!(
        row,
        "| `{name}` | {}, {} | {}, {}, {} | {}, {}, {}, {} | {}, {} | {room} |",
        stopped(limits),
        refused(limits),
        stopped(caps),
        before(caps),
        refused(caps),
        stopped(both),
        before(both),
        refused(both),
        challenged(both),
        there(both, |one| one.attacked_refused),
        there(both, |one| one.attacked_challenged),
    )
    .unwrap();
    row
}

/// The median, and the least.
fn least(values: impl Iterator<Item = Option<f64>>, decimals: usize) -> String {
    shown(values, decimals, f64::min)
}

/// The median, and the most.
fn most(values: impl Iterator<Item = Option<f64>>, decimals: usize) -> String {
    shown(values, decimals, f64::max)
}

fn shown(values: impl Iterator<Item = Option<f64>>, decimals: usize, worse: fn(f64, f64) -> f64) -> String {
    let values: Vec<f64> = values.flatten().collect();
    match values.iter().copied().reduce(worse) {
        Some(worst) => format!("{:.decimals$} ({worst:.decimals$})", median_of(values)),
        None => "–".to_owned(),
    }
}
