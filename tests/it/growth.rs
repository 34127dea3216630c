//! What strangers ask for makes no database grow without bound: refusals are counted, and questions about nobody leave
//! no row.

use std::time::Duration;

use smsotp::engine::Verdict;
use smsotp::error::Code;
use smsotp::limits::{Limits, Window};
use smsotp::store::Subject;
use smsotp::subject::SubjectKind;

use crate::processes::phone;
use crate::stores::{Database, on_every_store};
use crate::world::{
    OTHER, PHONE, World, ask, audit_rows, caller, client, guess, phone_subject, purge, refusal, refused, send,
    unlimited, usage, verdict,
};

on_every_store![
    refused_guesses_from_one_address_at_any_number_of_phones_leave_one_row,
    whoever_asks_at_a_closed_budget_spends_the_one_of_their_address,
    refused_sends_to_any_number_of_phones_leave_one_row,
    the_next_row_tells_how_many_refusals_were_only_counted,
    a_used_code_that_is_shown_again_and_again_leaves_one_row,
    refusals_are_told_of_again_in_the_next_window_and_for_each_subject,
    whoever_has_nothing_left_to_remember_goes_with_a_purge_years_later,
];

const ADDRESS: &str = "192.0.2.7";

/// Rows of the audit log, and of subjects.
fn rows(database: &Database) -> (usize, i64) {
    (database.audit().len(), database.number("SELECT count(*) FROM subjects"))
}

async fn refused_guesses_from_one_address_at_any_number_of_phones_leave_one_row(database: &mut Database) {
    database.policy.limits = Limits { guesses_per_ip: vec![Window::new(3, 3600)], ..unlimited() };
    let engine = database.engine().await;
    let code = smsotp::code::Code::parse("000000").unwrap();
    let ask = async |nth: usize| engine.verify(&client(ADDRESS), guess(&phone(nth), &code)).await.unwrap().verdict;
    for nth in 0..3 {
        assert_eq!(ask(nth).await, Verdict::NotFound);
    }
    let before = rows(database);
    for nth in 3..60 {
        assert!(matches!(ask(nth).await, Verdict::TooManyGuesses(_)));
    }
    assert_eq!(rows(database), (before.0 + 1, before.1));
}

async fn whoever_asks_at_a_closed_budget_spends_the_one_of_their_address(database: &mut Database) {
    database.policy.limits = Limits { guesses_in_a_row: 2, guesses_per_ip: vec![Window::new(3, 3600)], ..unlimited() };
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    let wrong = World::wrong(&database.code_on(PHONE));
    for _ in 0..2 {
        verdict(&engine, PHONE, &wrong).await;
    }
    let ask = async || engine.verify(&client(ADDRESS), guess(PHONE, &wrong)).await.unwrap().verdict;
    let closed_for = |verdict| match verdict {
        Verdict::TooManyGuesses(hit) => hit.subject,
        other => panic!("{other:?}"),
    };

    for _ in 0..3 {
        assert_eq!(closed_for(ask().await), SubjectKind::Pair);
    }
    assert_eq!(closed_for(ask().await), SubjectKind::Ip);

    let before = rows(database);
    for _ in 0..30 {
        assert_eq!(closed_for(ask().await), SubjectKind::Ip);
    }
    assert_eq!(rows(database), before);
}

async fn refused_sends_to_any_number_of_phones_leave_one_row(database: &mut Database) {
    database.policy.limits = Limits { ip: vec![Window::new(1, 3600)], ..unlimited() };
    let engine = database.engine().await;
    refused_alike(database, Code::RATE_LIMITED, 1).await;
    drop(engine);
    database.policy.countries = Some(vec!["GB".to_owned()]);
    refused_alike(database, Code::COUNTRY_NOT_ALLOWED, 0).await;
}

/// From one address, the first so many messages go out; then all are refused.
async fn refused_alike(database: &Database, code: Code, allowed: usize) {
    let engine = database.engine().await;
    for nth in 0..allowed {
        engine.send(&client(ADDRESS), ask(&phone(nth))).await.unwrap();
    }
    let refuse = async |nth: usize| {
        let no = refused(engine.send(&client(ADDRESS), ask(&phone(nth))).await.unwrap());
        assert_eq!(no.code, code);
    };
    refuse(100).await;
    let before = rows(database);
    for nth in 101..140 {
        refuse(nth).await;
    }
    assert_eq!(rows(database), before);
}

async fn the_next_row_tells_how_many_refusals_were_only_counted(database: &mut Database) {
    database.policy.limits = Limits { phone: vec![Window::new(1, 600)], ..unlimited() };
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    for _ in 0..5 {
        refusal(&engine, PHONE).await;
    }
    let counted = usage(&engine, phone_subject(PHONE)).await.refusals.get("phone").copied().unwrap();
    assert_eq!(counted.1, 4, "the first is in the log");
    database.advance(600);
    send(&engine, PHONE).await;
    database.advance(1);
    refusal(&engine, PHONE).await;
    let bodies: Vec<String> =
        audit_rows(engine.store()).await.into_iter().map(|row| String::from_utf8(row.body).unwrap()).collect();
    let told: Vec<bool> = bodies
        .iter()
        .filter(|body| body.contains("rate_limited"))
        .map(|body| body.contains("\"refused_before\":4"))
        .collect();
    assert_eq!(told, [false, true]);
}

async fn a_used_code_that_is_shown_again_and_again_leaves_one_row(database: &mut Database) {
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    let code = database.code_on(PHONE);
    assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Verified);
    let before = database.audit().len();
    for _ in 0..30 {
        assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::AlreadyUsed);
    }
    assert_eq!(database.audit().len(), before + 1);
}

async fn refusals_are_told_of_again_in_the_next_window_and_for_each_subject(database: &mut Database) {
    database.policy.limits = Limits { phone: vec![Window::new(1, 600)], ..unlimited() };
    let engine = database.engine().await;
    let told = || database.audit().iter().filter(|row| *row == "send rate_limited").count();
    for (nth, phone) in [PHONE, OTHER].into_iter().enumerate() {
        send(&engine, phone).await;
        for _ in 0..3 {
            refusal(&engine, phone).await;
        }
        assert_eq!(told(), nth + 1);
    }
    database.advance(599);
    refusal(&engine, PHONE).await;
    assert_eq!(told(), 2);
    database.advance(1);
    send(&engine, PHONE).await;
    refusal(&engine, PHONE).await;
    assert_eq!(told(), 3);
    // Whoever staff lets through is no refusal, and a reset begins anew.
    crate::world::reset(&engine, phone_subject(PHONE)).await;
    assert!(usage(&engine, phone_subject(PHONE)).await.refusals.is_empty());
}

async fn whoever_has_nothing_left_to_remember_goes_with_a_purge_years_later(database: &mut Database) {
    database.policy.limits = Limits { guesses_in_a_row: 4, ..unlimited() };
    let engine = database.engine().await;
    for phone in [PHONE, OTHER] {
        send(&engine, phone).await;
    }
    // One guess for one phone, and a budget that is closed for the other.
    verdict(&engine, PHONE, &World::wrong(&database.code_on(PHONE))).await;
    for _ in 0..4 {
        verdict(&engine, OTHER, &World::wrong(&database.code_on(OTHER))).await;
    }
    database.advance(300 * 86_400);
    purge(&engine, Duration::ZERO).await;
    assert_eq!(database.number("SELECT count(*) FROM subjects WHERE kind = 'pair'"), 2, "within a year");
    database.advance(10 * 366 * 86_400);
    purge(&engine, Duration::ZERO).await;
    assert_eq!(database.words("SELECT DISTINCT kind FROM subjects"), ["pair"], "a closed budget stays closed");
    assert_eq!(database.number("SELECT count(*) FROM subjects"), 1);
    let (_, pair) = (caller(), Subject::Pair(crate::world::ada(), smsotp::phone::Phone::from_e164(OTHER).unwrap()));
    assert_eq!(usage(&engine, pair).await.in_a_row, 4);
}
