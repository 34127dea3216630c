//! kill -9: whatever step a process dies at, the database is sound, nothing goes out twice by itself, and the next ask sends the
//! same code.

use std::collections::BTreeMap;
use std::time::Duration;

use smsotp::engine::Step;
use smsotp::sandbox::Fault;

use crate::processes::{Crew, Job, Knobs, Left, Operation, Said, phone, step};
use crate::world::{OTHER, PHONE, World, block_on, code_in, dispatch, send};

/// Lets one process do this and die at that step.
fn dies(world: &World, operation: Operation, at: Step) {
    let job = Job { die_at: Some((step(at), 1)), ..Job::new(world, vec![operation]) };
    let left = Crew::at_the_barrier(&[job]).go();
    assert!(!left[0].well && left[0].said.is_empty(), "it lived through {at:?}: {left:?}");
}

fn ask_for(phone: &str) -> Operation {
    Operation::Send { phone: phone.to_owned(), user: "ada".to_owned(), ip: None, key: None }
}

const STEPS: [(Step, usize); 4] = [(Step::Reserved, 0), (Step::Handing, 0), (Step::Answered, 1), (Step::Settled, 1)];

#[test]
fn after_a_kill_at_any_step_of_a_send_nothing_more_goes_out_by_itself() {
    for (at, out) in STEPS {
        let world = World::unlimited();
        dies(&world, ask_for(PHONE), at);

        assert_eq!(world.trouble(), [""; 0], "{at:?}");
        block_on(async {
            let engine = world.engine();
            for _ in 0..4 {
                dispatch(&engine).await;
                world.advance(601);
            }
        });
        assert_eq!(world.sandbox.requests(), out, "{at:?}");
    }
}

#[test]
fn after_a_kill_at_any_step_of_a_send_the_next_ask_sends_the_same_code() {
    for (at, out) in STEPS {
        for pause in [1, 61] {
            let world = World::unlimited();
            dies(&world, ask_for(PHONE), at);
            world.advance(pause);

            let again = block_on(async { send(&world.engine(), PHONE).await });

            assert_eq!((again.otp_id, again.resent), (1, true), "{at:?} {pause}");
            let texts = world.texts(PHONE);
            assert_eq!(texts.len(), out + 1, "{at:?} {pause}");
            assert!(texts.iter().all(|text| code_in(text).matches(&code_in(&texts[0]))), "{at:?}");
        }
    }
}

#[test]
fn dispatch_finds_out_what_a_killed_send_left_open() {
    for (at, out) in STEPS {
        let world = World::unlimited();
        dies(&world, ask_for(PHONE), at);
        block_on(async {
            let engine = world.engine();
            let at_once = dispatch(&engine).await;
            assert_eq!(at_once.looked_at, 0, "{at:?}: its process may be alive for a minute");

            world.advance(61);
            let looked = dispatch(&engine).await;

            let state = world.word("SELECT state FROM messages");
            match at {
                Step::Settled => assert_eq!((looked.looked_at, state.as_str()), (0, "accepted")),
                Step::Answered => assert_eq!((looked.found, state.as_str()), (1, "accepted")),
                _ => assert_eq!((looked.open, state.as_str()), (1, "unknown"), "{at:?}"),
            }
            world.advance(599);
            assert_eq!(dispatch(&engine).await.failed, 0, "absent on two looks ten minutes apart, not less");
            world.advance(1);
            assert_eq!(dispatch(&engine).await.failed, u32::from(out == 0), "{at:?}");
            assert_eq!(world.sandbox.requests(), out);
        });
    }
}

#[test]
fn what_was_never_accepted_is_given_back_and_what_was_stays_counted() {
    for (at, out) in STEPS {
        let mut world = World::unlimited();
        let knobs = Knobs { phone: Some((1, 86_400)), user: Some((1, 86_400)), ..Knobs::default() };
        world.policy.limits = knobs.limits();
        let job = Job { die_at: Some((step(at), 1)), limits: knobs, ..Job::new(&world, vec![ask_for(PHONE)]) };
        Crew::at_the_barrier(&[job]).go();
        block_on(async {
            let engine = world.engine();
            for _ in 0..3 {
                world.advance(601);
                dispatch(&engine).await;
            }
            let answer = engine.send(&crate::world::caller(), crate::world::ask(PHONE)).await.unwrap();
            let refused = matches!(answer, smsotp::engine::SendAnswer::Refused(_));
            assert_eq!(refused, out == 1, "{at:?}");
        });
    }
}

/// A message that surely was not sent, left waiting by a process that died.
fn queued(world: &World) {
    world.sandbox.fault(Fault::Status429 { retry_after: None }, 1);
    dies(world, ask_for(PHONE), Step::Settled);
    assert_eq!(world.word("SELECT state FROM messages"), "queued");
    assert_eq!(world.sandbox.messages().len(), 0);
}

#[test]
fn after_a_kill_at_any_step_of_a_retry_at_most_one_message_is_out() {
    for (at, out) in [(Step::Claimed, 0), (Step::Handing, 0), (Step::Answered, 1), (Step::Settled, 1)] {
        let world = World::unlimited();
        queued(&world);
        world.advance(2);
        dies(&world, Operation::Dispatch, at);

        assert_eq!(world.trouble(), [""; 0], "{at:?}");
        block_on(async {
            let engine = world.engine();
            world.advance(61);
            let looked = dispatch(&engine).await;
            assert_eq!(looked.sent, 0, "{at:?}: nobody knows that it was not sent");
            assert_eq!((looked.found, looked.open), (u32::from(at == Step::Answered), u32::from(out == 0)), "{at:?}");
            assert_eq!(world.sandbox.messages().len(), out, "{at:?}");

            let again = send(&engine, PHONE).await;
            assert_eq!((again.otp_id, again.resent), (1, true), "{at:?}");
        });
    }
}

/// A small generator: a failed run can be repeated from its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

const LIMIT: u32 = 5;

/// What some processes are to do in one round, on a few phones.
fn round(world: &World, dice: &mut Dice) -> Vec<Job> {
    let operation = |dice: &mut Dice| {
        let phone = phone(usize::try_from(dice.roll(3)).unwrap());
        let code = world.texts(&phone).last().map(code_in);
        match (dice.roll(8), code) {
            (0, _) => Operation::Dispatch,
            (1, _) => Operation::Purge { older_than: 365 * 86_400 },
            (2 | 3, Some(code)) => {
                Operation::Verify { phone, user: "ada".into(), code: World::wrong(&code).expose().to_owned() }
            }
            (4, Some(code)) => Operation::Verify { phone, user: "ada".into(), code: code.expose().to_owned() },
            _ => Operation::Send { phone, user: "ada".into(), ip: None, key: None },
        }
    };
    (0..3)
        .map(|_| {
            let operations = (0..6).map(|_| operation(dice)).collect();
            let die_at = (dice.roll(2) == 0).then(|| ("any".to_owned(), u32::try_from(1 + dice.roll(8)).unwrap()));
            let limits = Knobs { phone: Some((LIMIT, 3600)), ..Knobs::default() };
            Job { die_at, limits, ..Job::new(world, operations) }
        })
        .collect()
}

/// What the database promised to those who lived to hear it.
fn keep_promises(world: &World, left: &[Left]) {
    for said in left.iter().flat_map(|left| &left.said) {
        match said {
            Said::Sent(sent) => {
                let id = sent.message_id;
                let known = world.word(&format!("SELECT coalesce(provider_id, 'none') FROM messages WHERE id = {id}"));
                assert!(sent.provider_id.is_none() || sent.provider_id.as_deref() == Some(known.as_str()), "{sent:?}");
            }
            Said::Verdict { word, otp: Some(otp), .. } if word == "verified" => {
                assert_eq!(world.word(&format!("SELECT state FROM otps WHERE id = {otp}")), "verified");
            }
            Said::Error { code, message } => panic!("{code}: {message}"),
            _ => {}
        }
    }
}

fn count_by(world: &World, sql: &str) -> BTreeMap<i64, i64> {
    let sql_connection = world.sql();
    let mut statement = sql_connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

fn invariants(world: &World, seed: u64) {
    assert_eq!(world.trouble(), [""; 0], "seed {seed}");
    let verdicts = |outcome: &str| {
        let sql = format!(
            "SELECT json_extract(CAST(body AS TEXT), '$.details.otp') AS otp, count(*) FROM audit
             WHERE action = 'verify' AND outcome = '{outcome}' AND otp IS NOT NULL GROUP BY otp"
        );
        count_by(world, &sql)
    };
    assert!(verdicts("verified").values().all(|n| *n == 1), "seed {seed}: {:?}", verdicts("verified"));
    assert!(verdicts("wrong_code").values().all(|n| *n <= 5), "seed {seed}: {:?}", verdicts("wrong_code"));
    for n in 0..3 {
        let sql = format!(
            "SELECT reserved_at, count(*) FROM messages WHERE phone_number = '{}' AND state <> 'failed' GROUP BY 1",
            phone(n)
        );
        let moments = count_by(world, &sql);
        for from in moments.keys() {
            let inside: i64 = moments.range(from..&(from + 3_600_000)).map(|(_, n)| n).sum();
            assert!(inside <= i64::from(LIMIT), "seed {seed}: {inside} messages within an hour");
        }
    }
}

fn kill_again_and_again(rounds: u32, seed: u64) {
    let world = World::unlimited();
    let mut dice = Dice(seed);
    drop(world.engine());
    for _ in 0..rounds {
        match dice.roll(5) {
            0 => world.sandbox.fault(Fault::Error500AfterAccepting, 1),
            1 => world.sandbox.fault(Fault::ResetAfterAccepting, 1),
            2 => world.sandbox.fault(Fault::Code(30_001), 1),
            _ => {}
        }
        let jobs = round(&world, &mut dice);
        let after: Vec<_> = jobs.iter().map(|_| Duration::from_millis(1 + dice.roll(100))).collect();
        let left = Crew::at_the_barrier(&jobs).go_and_kill(&after);
        keep_promises(&world, &left);
        world.advance(1 + dice.roll(400));
    }
    world.sandbox.clear_faults();
    // On a slow machine the killed may not have come far; whoever comes after them does.
    let alone = Job { die_at: None, ..round(&world, &mut dice).remove(0) };
    let asks = vec![ask_for(&phone(0)), ask_for(&phone(1)), ask_for(&phone(2))];
    keep_promises(&world, &Crew::at_the_barrier(&[Job { operations: asks, ..alone }]).go());
    invariants(&world, seed);
    block_on(async {
        let engine = world.engine();
        for _ in 0..4 {
            world.advance(700);
            while dispatch(&engine).await.looked_at == 100 {}
        }
    });
    // All is settled: what the provider took is what the database says that it took, one for one.
    assert_eq!(world.number("SELECT count(*) FROM messages WHERE due_at IS NOT NULL"), 0, "seed {seed}");
    let known = world.number("SELECT count(provider_id) FROM messages");
    assert_eq!(known, world.number("SELECT count(DISTINCT provider_id) FROM messages"), "seed {seed}");
    assert_eq!(known, i64::try_from(world.sandbox.messages().len()).unwrap(), "seed {seed}");
    assert!(known > 0);
    invariants(&world, seed);
}

#[test]
fn forty_random_kills_break_no_promise() {
    kill_again_and_again(14, 0x5EED_0001);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the long run is asked for by a variable")]
fn a_thousand_random_kills_break_no_promise() {
    if std::env::var_os("SMSOTP_TEST_LONG").is_none() {
        return;
    }
    for seed in 1..=10 {
        kill_again_and_again(34, 0xD1CE_0000 + seed);
    }
}

#[test]
fn a_process_that_dies_leaves_the_writers_place_to_the_next_one() {
    let world = World::unlimited();
    let jobs: Vec<Job> = (0..8)
        .map(|n| Job { die_at: Some((step(Step::Reserved), 1)), ..Job::new(&world, vec![ask_for(&phone(n))]) })
        .collect();
    Crew::at_the_barrier(&jobs).go();

    block_on(async { send(&world.engine(), OTHER).await });
    assert_eq!(world.number("SELECT count(*) FROM otps WHERE state = 'active'"), 9);
}
