//! What `smsotp simulate` shows is what the engine does: on made-up traffic, on traces, and on the own history.

use serde_json::Value;

use crate::desk::{Desk, Ran};

const ASKS: &str = "\
at,phone,country,user,ip,proven_after_s,failed_after_s,label,conversion
2026-01-05T08:00:00Z,+447400123456,GB,ada,192.0.2.1,21,,legit,reported
2026-01-05T08:01:00Z,+992900123456,TJ,a1,192.0.2.7,,,attack,reported
2026-01-05T08:01:20Z,+992900123457,TJ,a2,192.0.2.7,,,attack,reported
2026-01-05T08:01:40Z,+992900123458,,a3,192.0.2.7,,,attack,reported
2026-01-05T08:02:00Z,+447400123457,GB,bob,192.0.2.7,35,,legit,reported
";

#[track_caller]
fn simulated(ran: &Ran) -> Value {
    let value: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    assert_eq!((value["schema_version"].as_i64(), value["kind"].as_str()), (Some(1), Some("simulation")));
    value
}

#[test]
fn what_gets_through_is_counted_and_priced_beside_layer_one_and_plain_limits() {
    let desk = Desk::bare();
    desk.write("asks.csv", ASKS);
    desk.write("prices.csv", "country,price\nTJ,0.5\n");
    desk.write("tried.toml", "[limits]\nip = \"1/1h\"\n");

    let tried =
        simulated(&desk.run("simulate --trace asks.csv --prices prices.csv --limits tried.toml --json").expect(0));

    let limits = &tried["limits"];
    assert_eq!((&limits["attack_cost"], &limits["attack_cost_out"]), (&1.5.into(), &0.5.into()));
    assert_eq!((&limits["stopped_percent"], &limits["first_stop_messages"]), (&66.667.into(), &1.into()));
    assert_eq!(
        (&limits["legit"], &limits["legit_refused"], &limits["legit_limited"]),
        (&2.into(), &1.into(), &0.into())
    );
    // With the guard on, what a plain limit refuses is not the guard's.
    for guarded in [&tried, &tried["layer_1"]] {
        assert_eq!((&guarded["legit_refused"], &guarded["legit_limited"]), (&0.into(), &1.into()));
        assert_eq!((&guarded["attacked_legit"], &guarded["unblocked_after_s"]), (&0.into(), &0.into()));
    }
    assert_eq!(desk.files().len(), 3, "nothing was written: {:?}", desk.files());
}

#[test]
fn a_trace_comes_from_a_pipe_too_and_only_what_is_to_be_judged_counts() {
    let desk = Desk::bare();

    let all = simulated(&desk.pipe("simulate --trace - --json", ASKS).expect(0));
    let later = simulated(&desk.pipe("simulate --trace - --judge-from 2026-01-05T08:01:30Z --json", ASKS).expect(0));

    assert_eq!((&all["legit"], &all["attack_messages"], &all["traffic"]), (&2.into(), &3.into(), &"trace".into()));
    assert_eq!((&later["legit"], &later["attack_messages"], &later["asks"]), (&1.into(), &1.into(), &5.into()));
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_what_to_do() {
    let desk = Desk::bare();
    let wrong = desk.pipe("simulate --trace -", ASKS.replace("+992900123457", "0992900123457")).expect(65);
    assert!(wrong.err.contains("line 4 of the trace: phone is not"), "{}", wrong.err);
    assert!(!wrong.err.contains("0992900123457"), "{}", wrong.err);

    let unknown = desk.run("simulate --scenario fra").expect(65);
    assert!(unknown.err.contains("far, far_wide"), "{}", unknown.err);
    desk.write("prices.csv", "GB,cheap\n");
    let prices = desk.pipe("simulate --trace - --prices prices.csv", ASKS).expect(65);
    assert!(prices.err.contains("prices.csv: line 1"), "{}", prices.err);
    desk.write("mine.toml", "[people]\nreturn = 2\n");
    assert!(desk.run("simulate --scenario far --parameters mine.toml").expect(65).err.contains("Look at line"));
    desk.run("simulate --trace nowhere.csv").expect(74);
    desk.run("simulate").expect(2);
    desk.run("simulate --scenario far --trace -").expect(2);
    desk.run("simulate --scenario far --per-day 0").expect(65);
}

#[test]
fn a_seed_makes_the_same_traffic_and_its_trace_is_the_same_again() {
    let desk = Desk::bare();
    let run = |line: &str| simulated(&desk.run(&format!("simulate {line} --layers 1 --json")).expect(0));

    let one = run("--scenario lowconv --per-day 15 --write-trace one.csv");
    let again = run("--scenario lowconv --per-day 15");
    let other = run("--scenario lowconv --per-day 15 --seed 2");
    let from = one["judged_from"].as_str().unwrap();
    let read = run(&format!("--trace one.csv --judge-from {from}"));

    assert_eq!(one, again);
    assert_ne!(one["asks"], other["asks"]);
    for field in ["asks", "legit", "legit_refused", "layer_1", "limits"] {
        assert_eq!(read[field], one[field], "{field}");
    }
}

#[test]
fn the_own_history_is_played_and_left_as_it_is() {
    let desk = Desk::new();
    desk.write("smsotp.toml", "[limits]\nphone = \"1/24h\"\ncooldown = 0\n");
    let code = desk.send("+447400123456 --purpose login");
    desk.pipe("verify +447400123456 - --purpose login", &code).expect(0);
    desk.send("+447400123457 --purpose login");
    desk.send("+447400123457 --purpose login --override cooldown --reason example");
    let rows = desk.run("audit verify --json").expect(0).out;

    let own = simulated(&desk.run("simulate --from-audit --since 1h --json").expect(0));
    let tried = simulated(&desk.run("simulate --from-audit --since 1h --limits smsotp.toml --json").expect(0));

    assert_eq!((&own["traffic"], &own["asks"], &own["legit"]), (&"audit".into(), &3.into(), &3.into()));
    assert_eq!(own["limits"]["legit_refused"], 1, "the cooldown was set aside when it happened");
    assert_eq!(tried["limits"]["legit_refused"], 1);
    assert_eq!(desk.run("audit verify --json").expect(0).out, rows);
    let nothing = desk.run("simulate --from-audit --since 2036-01-01").expect(65);
    assert!(nothing.err.contains("knows of no ask"), "{}", nothing.err);
}

#[test]
fn a_person_reads_a_table_and_a_pipe_gets_one_line_for_each_defence() {
    let desk = Desk::bare();

    let lines = desk.pipe("simulate --trace -", ASKS).expect(0).out;
    let table = desk.pipe("simulate --trace - -o table", ASKS).expect(0).out;

    let first: Vec<&str> = lines.lines().map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(first, ["limits", "layer 1", "layers 1+2"]);
    assert!(table.contains("messages before the first stop") && table.contains("people who ask"), "{table}");
}

#[test]
fn the_whole_engine_gives_the_figures_of_its_rules() {
    let desk = Desk::bare();
    for line in [
        "--scenario far --per-day 150",
        "--scenario home --per-day 150 --seed 3",
        "--scenario unknown_far --per-day 60",
    ] {
        let rules = simulated(&desk.run(&format!("simulate {line} --json")).expect(0));
        let engine = simulated(&desk.run(&format!("simulate {line} --engine --json")).expect(0));
        assert_eq!(engine, rules, "{line}");
    }
}
