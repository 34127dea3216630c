//! Promises about processes, proven with processes: 64 copies of this test binary on one database.

use smsotp::code::Code;
use smsotp::sandbox::Fault;

use super::{Database, on_every_store};
use crate::dispatching::{both_unknown, waiting};
use crate::processes::{Crew, Job, Knobs, Operation, Said, phone, together};
use crate::world::{OTHER, PHONE, World, send};

/// How many.
const CROWD: usize = 64;

on_every_store![
    of_64_processes_with_the_right_code_one_verifies,
    of_64_wrong_guesses_at_once_five_are_compared,
    one_right_code_among_63_wrong_ones_succeeds_once_or_comes_too_late,
    of_64_processes_that_send_as_many_messages_go_out_as_the_limit_holds,
    of_32_processes_with_one_idempotency_key_one_calls_the_provider_and_all_get_its_answer,
    eight_workers_at_once_send_a_waiting_message_once,
    twelve_workers_at_once_give_one_found_message_to_one_of_ours,
    a_purge_beside_senders_and_guessers_loses_nothing_that_lives_and_resets_no_limit,
];

fn send_to(phone: &str, user: &str) -> Operation {
    Operation::Send { phone: phone.to_owned(), user: user.to_owned(), ip: None, key: None }
}

fn verify_adas(code: &Code) -> Operation {
    Operation::Verify { phone: PHONE.to_owned(), user: "ada".to_owned(), code: code.expose().to_owned() }
}

fn crowd(database: &Database, knobs: &Knobs, operation: impl Fn(usize) -> Operation) -> Vec<Said> {
    let job = |n| Job { limits: knobs.clone(), ..Job::on(database, vec![operation(n)]) };
    together(&(0..CROWD).map(job).collect::<Vec<_>>())
}

fn count(said: &[Said], wanted: &str) -> usize {
    let is = |said: &&Said| match said {
        Said::Verdict { word, .. } | Said::Refused(word) => word == wanted,
        Said::Error { code, .. } => code == wanted,
        Said::Sent(sent) => sent.state.as_str() == wanted,
        _ => false,
    };
    said.iter().filter(is).count()
}

/// A code on the usual phone.
async fn code_of(database: &mut Database) -> Code {
    database.unlimited();
    send(&database.engine().await, PHONE).await;
    database.code_on(PHONE)
}

async fn of_64_processes_with_the_right_code_one_verifies(database: &mut Database) {
    let code = code_of(database).await;
    let said = crowd(database, &Knobs::default(), |_| verify_adas(&code));
    assert_eq!((count(&said, "verified"), count(&said, "already_used")), (1, CROWD - 1), "{said:?}");
    // Of the others the log tells once.
    assert_eq!(database.audit().len(), 2 + 2);
}

async fn of_64_wrong_guesses_at_once_five_are_compared(database: &mut Database) {
    let code = code_of(database).await;
    let said = crowd(database, &Knobs::default(), |_| verify_adas(&World::wrong(&code)));
    assert_eq!((count(&said, "wrong_code"), count(&said, "locked")), (5, CROWD - 5), "{said:?}");
    assert_eq!(database.number("SELECT wrong_guesses FROM otps"), 5);
    assert_eq!(database.word("SELECT state FROM otps"), "locked");
    assert_eq!(database.audit().len(), 2 + CROWD);
}

async fn one_right_code_among_63_wrong_ones_succeeds_once_or_comes_too_late(database: &mut Database) {
    let code = code_of(database).await;
    let said = crowd(database, &Knobs::default(), |n| match n {
        31 => verify_adas(&code),
        _ => verify_adas(&World::wrong(&code)),
    });
    let (verified, wrong) = (count(&said, "verified"), count(&said, "wrong_code"));
    let too_late = matches!(&said[31], Said::Verdict { word, .. } if word == "locked");
    assert!(verified == 1 && wrong < 5 || verified == 0 && wrong == 5 && too_late, "{said:?}");
}

async fn of_64_processes_that_send_as_many_messages_go_out_as_the_limit_holds(database: &mut Database) {
    let knobs = |who: &str, max| {
        let window = Some((max, 3600));
        match who {
            "phone" => Knobs { phone: window, ..Knobs::default() },
            "user" => Knobs { user: window, ..Knobs::default() },
            "ip" => Knobs { ip: window, ..Knobs::default() },
            _ => Knobs { everything: window, ..Knobs::default() },
        }
    };
    drop(database.engine().await);
    for (scene, (who, max)) in
        [("phone", 1), ("phone", 3), ("phone", 5), ("user", 1), ("ip", 3), ("everything", 5)].into_iter().enumerate()
    {
        let (user, ip) = (format!("u{scene}"), format!("192.0.2.{scene}"));
        // A phone, a user and an address of the scene's own, or of each process's own.
        let operation = |n: usize| {
            let own = phone(100 * (scene + 1) + n);
            match who {
                "phone" => send_to(&phone(scene), &user),
                "user" => send_to(&own, &user),
                "ip" => Operation::Send { phone: own, user: format!("{user} {n}"), ip: Some(ip.clone()), key: None },
                _ => send_to(&own, &format!("{user} {n}")),
            }
        };
        let (requests, rows) = (database.sandbox.requests(), database.audit().len());
        let said = crowd(database, &knobs(who, max), operation);
        let max = max as usize;
        assert_eq!((count(&said, "accepted"), count(&said, "rate_limited")), (max, CROWD - max), "{who}: {said:?}");
        assert_eq!(database.sandbox.requests() - requests, max, "{who}");
        // Each message has two rows; the refusals of a window have one.
        assert_eq!(database.audit().len() - rows - 2 * max, 1, "{who}");
    }
}

async fn of_32_processes_with_one_idempotency_key_one_calls_the_provider_and_all_get_its_answer(
    database: &mut Database,
) {
    drop(database.engine().await);
    let operation =
        Operation::Send { phone: PHONE.to_owned(), user: "ada".to_owned(), ip: None, key: Some("order-17".to_owned()) };
    let jobs: Vec<Job> = (0..32).map(|_| Job::on(database, vec![operation.clone()])).collect();

    let first = together(&jobs);
    // Whoever came while it was under way had to ask again.
    let again = together(&jobs[..4]);

    assert_eq!(count(&first, "accepted") + count(&first, "in_progress"), 32, "{first:?}");
    let answers: Vec<&Said> = first.iter().chain(&again).filter(|said| matches!(said, Said::Sent(_))).collect();
    assert!(answers.len() >= 5 && answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(database.sandbox.requests(), 1);
}

async fn eight_workers_at_once_send_a_waiting_message_once(database: &mut Database) {
    database.unlimited();
    for n in 0..4 {
        waiting(database, &phone(n)).await;
    }
    let jobs: Vec<Job> = (0..8).map(|_| Job::on(database, vec![Operation::Dispatch])).collect();

    let left = Crew::at_the_barrier(&jobs).go();

    assert!(left.iter().all(|left| left.well), "{left:?}");
    assert_eq!(database.messages_out(), 4);
    assert_eq!(database.number("SELECT count(*) FROM messages WHERE state = 'accepted'"), 4);
}

async fn twelve_workers_at_once_give_one_found_message_to_one_of_ours(database: &mut Database) {
    database.unlimited();
    database.sandbox.fault(Fault::ResetAfterAccepting, 1);
    database.sandbox.fault(Fault::Reset, 1);
    both_unknown(database, PHONE).await;
    database.advance(40);
    let jobs: Vec<Job> = (0..12).map(|_| Job::on(database, vec![Operation::Dispatch])).collect();

    Crew::at_the_barrier(&jobs).go();

    assert_eq!(database.number("SELECT count(provider_id) FROM messages"), 1);
    assert_eq!(database.words("SELECT state FROM messages ORDER BY state"), ["accepted", "unknown"]);
}

async fn a_purge_beside_senders_and_guessers_loses_nothing_that_lives_and_resets_no_limit(database: &mut Database) {
    let knobs = Knobs { phone: Some((2, 86_400)), ..Knobs::default() };
    database.policy.limits = knobs.limits();
    // Yesterday's: fifty finished otps, and a phone whose two messages of the day are used up.
    let engine = database.engine().await;
    for n in 0..50 {
        send(&engine, &phone(n)).await;
    }
    database.advance(20 * 3600);
    for to in [OTHER, OTHER, PHONE] {
        send(&engine, to).await;
    }
    let code = database.code_on(PHONE);
    database.advance(60);

    let said = crowd(database, &knobs, |n| match n % 4 {
        0 => Operation::Purge { older_than: 3600 },
        1 => send_to(OTHER, "ada"),
        2 => send_to(&phone(100 + n), "bob"),
        _ => verify_adas(&World::wrong(&code)),
    });

    let purged: u64 = said.iter().map(|said| if let Said::Purged { otps, .. } = said { *otps } else { 0 }).sum();
    assert_eq!(purged, 50, "{said:?}");
    assert_eq!(count(&said, "rate_limited"), 16);
    assert_eq!((count(&said, "wrong_code"), count(&said, "locked")), (5, 11));
    assert_eq!(database.number("SELECT count(*) FROM otps"), 2 + 16);
}
