//! What the guard is held to: shapes of traffic of which each has bars, over two seeds. `cargo bench --bench simulate` measures all
//! shapes over many seeds, and writes them into docs/simulate.md.

use smsotp::simulate::{self, Column, Figures, Parameters, Rules};

const SEEDS: [u64; 2] = [1, 2];
const PER_DAY: u32 = 2000;

fn percent(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { 100.0 * part as f64 / all as f64 }
}

fn played(scenario: &str, column: Column) -> Vec<Figures> {
    let parameters = Parameters::ours().unwrap();
    let play = |seed| {
        let traffic = simulate::make(&parameters, scenario, seed, PER_DAY).unwrap();
        let policy = column.policy(None, &parameters.prices(), &traffic).unwrap();
        let mut rules = Rules::new(&policy, column, &traffic).unwrap();
        simulate::play(&traffic, &parameters.prices(), &mut rules, |_| Ok(())).unwrap()
    };
    SEEDS.map(play).into()
}

/// What each seed has to hold: at least this much money stopped, and at most so many messages out before the first is stopped.
#[track_caller]
fn stops(scenario: &str, column: Column, least: f64, first: u64) {
    for (figures, seed) in played(scenario, column).iter().zip(SEEDS) {
        let stopped = figures.stopped_percent().unwrap();
        assert!(stopped >= least, "{scenario}, seed {seed}: {stopped:.1} % of the money stopped, not {least}");
        assert!(figures.first_stop() <= first, "{scenario}, seed {seed}: {} messages out first", figures.first_stop());
        let refused = percent(figures.legit_refused, figures.legit);
        assert!(refused <= 0.2, "{scenario}, seed {seed}: {refused:.2} % of people refused");
        let challenged = percent(figures.legit_challenged, figures.legit);
        assert!(challenged <= 1.8, "{scenario}, seed {seed}: {challenged:.2} % of people challenged");
    }
}

#[test]
fn an_attack_on_one_block_of_numbers_is_stopped_by_the_caps_alone() {
    stops("block_rnd", Column::Layer1, 98.0, 6);
}

#[test]
fn an_attack_on_a_far_country_is_stopped_by_the_caps_alone_and_by_both_layers() {
    stops("far_wide", Column::Layer1, 98.0, 60);
    stops("far_wide", Column::Layers, 98.0, 60);
}

#[test]
fn who_enters_the_codes_of_an_attack_gets_little_more() {
    stops("fake30", Column::Layer1, 90.0, 60);
    stops("fake30", Column::Layers, 90.0, 60);
    stops("fake60", Column::Layers, 75.0, 240);
}

#[test]
fn an_attack_among_real_customers_is_stopped_by_the_detector_and_they_are_challenged_not_refused() {
    stops("home_us", Column::Layers, 89.0, 60);
    for (caps, both) in played("home_us", Column::Layer1).iter().zip(played("home_us", Column::Layers)) {
        assert!(both.stopped_percent() > caps.stopped_percent(), "the detector pays");
        assert!(percent(both.attacked_refused, both.attacked_legit) <= 0.2);
        assert!(percent(both.attacked_challenged, both.attacked_legit) <= 60.0);
    }
}

#[test]
fn ordinary_traffic_passes() {
    for scenario in ["none", "spike"] {
        for column in [Column::Layer1, Column::Layers] {
            for figures in played(scenario, column) {
                assert!(figures.legit > 5_000);
                assert!(percent(figures.legit_refused, figures.legit) <= 0.15, "{scenario}: {figures:?}");
                assert!(percent(figures.legit_challenged, figures.legit) <= 0.3, "{scenario}: {figures:?}");
            }
        }
    }
}
