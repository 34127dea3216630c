//! `message send --jsonl`: every line once, in order, however often it is started and killed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::process::Stdio;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use smsotp::sandbox::{Fault, Options, Pace, Sandbox};

use crate::desk::{Desk, Ran, signal, wait};
use crate::processes::phone;

const LINES: &str = "message send --config smsotp.toml --jsonl";

/// A sandbox, and settings that let a whole batch through.
fn place() -> (Desk, Sandbox) {
    let (desk, sandbox) = Desk::with_sandbox(Options { pace: Pace::Manual, ..Options::default() });
    desk.write("smsotp.toml", "guard = \"off\"\n[limits]\nphone = []\neverything = []\n");
    (desk, sandbox)
}

fn line(to: &str, text: &str) -> String {
    json!({ "to": to, "text": text }).to_string() + "\n"
}

/// One line for each of so many phones.
fn lines(count: usize) -> String {
    (0..count).map(|nth| line(&phone(nth), &format!("Order {nth}"))).collect()
}

fn answers(ran: &Ran) -> Vec<Value> {
    ran.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn words(answers: &[Value]) -> Vec<(u64, String)> {
    let word = |answer: &Value| {
        let said = answer["error"]["code"].as_str().or(answer["state"].as_str());
        (answer["line"].as_u64().unwrap(), said.unwrap().to_owned())
    };
    answers.iter().map(word).collect()
}

#[test]
fn lines_are_sent_in_order_and_once_however_often_they_are_given() {
    let (desk, sandbox) = place();
    let mut text = lines(30);
    desk.write("all.jsonl", &text);

    let first = desk.run(&format!("{LINES} all.jsonl")).expect(0).says("30 lines: 30 accepted");
    assert_eq!(words(&answers(&first)), (1..=30).map(|nth| (nth, "accepted".to_owned())).collect::<Vec<_>>());
    assert!(answers(&first).iter().all(|answer| answer["kind"] == "message_line" && answer["schema_version"] == 1));
    let sent: BTreeMap<String, String> =
        sandbox.messages().iter().map(|sms| (sms.to.clone(), sms.body.clone())).collect();
    assert_eq!(sent.len(), 30);
    assert_eq!(sent[&phone(7)], "Order 7");

    let again = desk.run(&format!("{LINES} all.jsonl")).expect(0);
    assert_eq!(answers(&again), answers(&first), "the same answers");
    assert_eq!(sandbox.messages().len(), 30, "and no message");

    text.push_str(&line(&phone(0), "Order 0"));
    text.push_str(&line(&phone(99), "Order 99"));
    desk.write("all.jsonl", &text);
    desk.run(&format!("{LINES} all.jsonl")).expect(0).says("32 lines");
    assert_eq!(sandbox.messages().len(), 32, "a line that is there twice is meant twice");
    desk.run(&format!("{LINES} all.jsonl --batch again")).expect(0);
    assert_eq!(sandbox.messages().len(), 64, "under another name all of it is meant once more");
    let keyed = json!({ "to": phone(5), "text": "Once", "key": "order-5" }).to_string();
    desk.pipe(&format!("{LINES} -"), format!("{keyed}\n{keyed}\n")).expect(0);
    assert_eq!(sandbox.messages().len(), 65, "one key, one message");
}

#[test]
fn wrong_lines_are_named_before_anything_goes_out() {
    let (desk, sandbox) = place();
    let text = [
        line("+14155552671", "Fine"),
        "\n".to_owned(),
        line("12", "No number"),
        "not json\n".to_owned(),
        line("+14155552672", " "),
        json!({ "to": "+14155552672", "text": "x", "media": "https://example.com/x.png" }).to_string() + "\n",
    ];
    desk.write("some.jsonl", text.concat());

    let ran = desk.run(&format!("{LINES} some.jsonl")).expect(65).says("4 of 5 lines are wrong: nothing was sent");
    let ran = ran.says("line 3: ").says("line 4: expected").says("line 5: the message has no text");
    assert_eq!(ran.says("line 6: unknown field `media`").out, "");
    assert_eq!(desk.run(&format!("{LINES} some.jsonl --json")).expect(65).error("value_invalid")["exit_code"], 65);
    desk.run(&format!("{LINES} some.jsonl --check")).expect(65).shows("US").says("nothing was sent");
    let many: String = (0..50).map(|_| "{}\n").collect();
    desk.pipe(&format!("{LINES} -"), many).expect(65).says("30 more lines are wrong");
    desk.run(&format!("{LINES} missing.jsonl")).expect(74).says("missing.jsonl");
    desk.pipe(&format!("{LINES} -"), "").expect(0).says("0 lines: none");
    assert_eq!(sandbox.messages().len(), 0);

    for (flags, words) in [
        ("+14155552671 hello --jsonl some.jsonl", "--jsonl"),
        ("--jsonl some.jsonl --wait", "--wait"),
        ("+14155552671 hello --check", "--check"),
        ("--check", "--jsonl"),
        ("+14155552671 hello --rate 5", "--rate"),
        ("--jsonl some.jsonl --rate 0", "--rate"),
        ("--jsonl some.jsonl --concurrency 65", "--concurrency"),
    ] {
        desk.run(&format!("message send {flags}")).expect(2).says(words);
    }
}

#[test]
fn a_check_says_what_the_lines_cost_and_needs_neither_account_nor_database() {
    let desk = Desk::bare();
    let text = [line("+14155552671", "Short"), line("+14155552672", &"a".repeat(161)), line("+4915112345678", "Kurz")];
    desk.write("three.jsonl", text.concat());

    let ran = desk.run("message send --jsonl three.jsonl --check --json").expect(0);
    let checked = ran.json("message_check");
    assert_eq!((checked["messages"].as_u64(), checked["segments"].as_u64()), (Some(3), Some(4)));
    let countries: Vec<_> =
        checked["countries"].as_array().unwrap().iter().map(|one| one["country"].as_str().unwrap()).collect();
    assert_eq!(countries, ["DE", "US"]);
    assert_eq!(checked["countries"][1]["cost"], json!(0.0249));
    desk.run("message send --jsonl three.jsonl --check -o table")
        .expect(0)
        .shows("3 messages, 4 segments, at most 0.1349 US$.");
    desk.run("message send --jsonl three.jsonl --check --max-cost 0.01").expect(65).says("line 2: it costs 0.0166 US$");
    assert!(desk.files().iter().all(|file| file.ends_with("three.jsonl")), "{:?}", desk.files());
    desk.run("message send --jsonl three.jsonl").expect(78).says("--provider console");
}

#[test]
fn the_trouble_of_one_line_is_its_own() {
    let (desk, sandbox) = place();
    desk.run(&format!("{LINES} -")).expect(0);
    desk.run_args(["block", "add", &phone(2), "--reason", "abuse"]).expect(0);
    desk.write("six.jsonl", lines(6));
    sandbox.fault(Fault::Latency(Duration::ZERO), 1);
    sandbox.fault(Fault::Code(21_211), 1);
    sandbox.fault(Fault::Error500AfterAccepting, 1);
    sandbox.fault(Fault::Status429 { retry_after: Some(600) }, 1);

    let ran = desk.run(&format!("{LINES} six.jsonl --concurrency 1")).expect(76).says("smsotp dispatch");

    let expected = ["accepted", "provider_refused", "blocked", "maybe_sent", "provider_busy", "accepted"];
    assert_eq!(words(&answers(&ran)).iter().map(|(_, word)| word.as_str()).collect::<Vec<_>>(), expected);
    assert_eq!(answers(&ran)[4]["state"], "queued");
    assert_eq!(answers(&ran)[4]["error"]["retry_after_seconds"], 600);
    // What was not known then is known now.
    let again = desk.run(&format!("{LINES} six.jsonl")).expect(1);
    let expected = ["accepted", "provider_refused", "blocked", "accepted", "provider_busy", "accepted"];
    assert_eq!(words(&answers(&again)).iter().map(|(_, word)| word.as_str()).collect::<Vec<_>>(), expected);
    let reached: Vec<String> = sandbox.messages().into_iter().map(|sms| sms.to).collect();
    assert_eq!(reached.iter().collect::<BTreeSet<_>>().len(), reached.len(), "nobody got two");
}

#[test]
fn an_interrupt_ends_it_between_two_lines_and_the_next_start_goes_on() {
    let (desk, sandbox) = place();
    desk.write("many.jsonl", lines(200));
    let child = desk.start(&format!("{LINES} many.jsonl --rate 100 --concurrency 4"));
    while sandbox.messages().len() < 5 {
        std::thread::yield_now();
    }
    signal(child.id(), "INT");
    let ran = wait(child).expect(130).says("sends nothing twice");
    let begun = sandbox.messages().len();
    assert!(begun < 200, "it was not over");
    assert_eq!(answers(&ran).len(), begun, "what was begun was brought to its end");
    assert!(words(&answers(&ran)).iter().all(|(_, word)| word == "accepted"));
    desk.run(&format!("{LINES} many.jsonl --rate 1000")).expect(0).says("200 lines: 200 accepted");
    assert_eq!(sandbox.messages().len(), 200);
}

#[test]
fn two_at_once_send_each_line_once() {
    let (desk, sandbox) = place();
    desk.write("many.jsonl", lines(100));
    let both = [(); 2].map(|()| desk.start(&format!("{LINES} many.jsonl --rate 1000")));
    for ran in both.map(wait) {
        assert!([0, 75].contains(&ran.code()), "{ran:?}");
        assert!(words(&answers(&ran)).iter().all(|(_, word)| ["accepted", "in_progress"].contains(&word.as_str())));
    }
    desk.run(&format!("{LINES} many.jsonl --rate 1000")).expect(0);
    let reached: BTreeSet<String> = sandbox.messages().into_iter().map(|sms| sms.to).collect();
    assert_eq!((reached.len(), sandbox.messages().len()), (100, 100));
}

/// Moves the database back in time: what waits is due, leases are over, and what was missed was missed long ago.
fn later(desk: &Desk) {
    let database = rusqlite::Connection::open(desk.db()).unwrap();
    let back = "UPDATE messages SET due_at = due_at - 720000, missed_at = missed_at - 720000 WHERE due_at IS NOT NULL";
    database.execute(back, []).unwrap();
}

/// Kills it again and again while it sends lines of which each has a phone of its own, from this one on.
fn kill_again_and_again((desk, sandbox): (&Desk, &Sandbox), phones: Range<usize>, kills: usize, random: &mut StdRng) {
    let to = |number: u64| phone(phones.start + usize::try_from(number).unwrap() - 1);
    let text: String = phones.clone().map(|nth| line(&phone(nth), &format!("Order {nth}"))).collect();
    desk.write("many.jsonl", text);
    let command = format!("{LINES} many.jsonl --rate 1000");
    for _ in 0..kills {
        let mut command = desk.command(command.split_whitespace());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let until = std::time::Instant::now() + Duration::from_millis(random.random_range(15..120));
        while std::time::Instant::now() < until && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        signal(child.id(), "KILL");
        child.wait().unwrap();
    }
    later(desk);
    let said = words(&answers(&desk.run(&command)));
    assert_eq!(said.len(), phones.len(), "{phones:?}: every line is answered");
    let mut reached: BTreeMap<String, usize> = BTreeMap::new();
    sandbox.messages().into_iter().for_each(|sms| *reached.entry(sms.to).or_default() += 1);
    let times = |number: u64| reached.get(&to(number)).copied().unwrap_or(0);
    let (mut out, mut unknown) = (0, 0);
    for (number, word) in &said {
        let times = times(*number);
        assert!(times <= 1, "{phones:?}: line {number} went out {times} times");
        match word.as_str() {
            "accepted" => assert_eq!(times, 1, "{phones:?}: line {number}"),
            "maybe_sent" => unknown += 1,
            other => panic!("{phones:?}: line {number} is {other}"),
        }
        out += times;
    }
    // What is unknown is settled by dispatch, and then as the provider has it.
    for _ in 0..3 {
        later(desk);
        desk.run("dispatch --quiet");
    }
    for (number, word) in words(&answers(&desk.run(&command))) {
        let expected = if times(number) == 1 { "accepted" } else { "provider_unreachable" };
        assert_eq!(word, expected, "{phones:?}: line {number}");
    }
    assert_eq!(out + unknown, phones.len(), "{phones:?}: what is unknown never went out, and all else did once");
}

fn in_parts(parts: usize, kills: usize, seed: u64) {
    let (desk, sandbox) = place();
    let mut random = StdRng::seed_from_u64(seed);
    for part in 0..parts {
        kill_again_and_again((&desk, &sandbox), part * 250..(part + 1) * 250, kills, &mut random);
    }
}

#[test]
fn three_hundred_kills_break_no_promise() {
    in_parts(20, 15, 0xBA7C_0001);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the long run is asked for by a variable")]
fn a_thousand_kills_break_no_promise() {
    if std::env::var_os("SMSOTP_TEST_LONG").is_none() {
        return;
    }
    in_parts(40, 25, 0xBA7C_1000);
}
