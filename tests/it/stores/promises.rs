//! Many operations at once in one process, and the database as a whole.

use futures_util::future::join_all;
use smsotp::audit::{Actor, Event};
use smsotp::code::Code;
use smsotp::engine::{Engine, Purge, SendAnswer, SendOtp, Verdict, VerifyOtp};
use smsotp::error;
use smsotp::keys::{Keyring, SecretKey};
use smsotp::limits::{Limits, Window};
use smsotp::message;
use smsotp::otp::{State, User};
use smsotp::phone::Phone;
use smsotp::purpose::Purpose;
use smsotp::store::{Change, Decide, Decision, Filter, Needs, Subject, SubjectId};
use smsotp::usage::Usage;

use super::{Database, on_every_store};
use crate::processes::phone;
use crate::world::{
    PHONE, ask, audit_rows, caller, check_rows, client, first_break, guess, phone_subject, purge, refused, reset, send,
    send_as, sent, unlimited, usage, verdict,
};

on_every_store![
    everything_together_gets_no_more_than_its_window_whoever_asks,
    when_everything_is_full_the_wait_is_until_the_first_message_leaves_the_window,
    of_forty_guesses_at_once_an_address_has_thirty,
    two_at_once_with_one_idempotency_key_send_one_message,
    purge_beside_senders_loses_nothing,
    the_audit_chain_holds_under_a_crowd,
    an_operation_that_fails_takes_nobody_elses_along,
    an_operation_that_fails_while_it_is_written_leaves_the_audit_chain_whole,
    every_accepted_key_opens_the_database_and_no_other,
    a_list_pages_through_everything_once,
    messages_are_listed_page_by_page_by_their_state_and_time_and_by_whom_they_are_for,
];

/// A send by nobody in particular.
fn ask_nobodys(phone: &str) -> SendOtp {
    SendOtp { user: User::default(), ..ask(phone) }
}

async fn everything_together_gets_no_more_than_its_window_whoever_asks(database: &mut Database) {
    for max in [3u32, 11] {
        let window = Window::new(max, 3600);
        database.policy.limits = Limits { everything: vec![window], ..unlimited() };
        let engine = database.engine().await;
        let before = database.messages_out();
        let asks = (0..20).map(|nth| {
            let (engine, to) = (engine.clone(), phone(nth + 100 * max as usize));
            async move { matches!(engine.send(&caller(), ask_nobodys(&to)).await.unwrap(), SendAnswer::Sent(_)) }
        });
        let went = join_all(asks).await.into_iter().filter(|went| *went).count();
        assert_eq!((went, database.messages_out() - before), (max as usize, max as usize));
        let whole = usage(&engine, Subject::Everything).await;
        assert_eq!(whole.slots_in(window, engine.reads().now().await.unwrap()).used, max);
        assert_eq!(reset(&engine, Subject::Everything).await.sends, max as usize);
    }
}

async fn when_everything_is_full_the_wait_is_until_the_first_message_leaves_the_window(database: &mut Database) {
    database.policy.limits = Limits { everything: vec![Window::new(3, 3600)], ..unlimited() };
    let engine = database.engine().await;
    send_as(&engine, &caller(), ask_nobodys(&phone(1))).await;
    database.advance(1000);
    for nth in 2..4 {
        send_as(&engine, &caller(), ask_nobodys(&phone(nth))).await;
    }
    database.advance(600);

    for nth in 4..14 {
        let refusal = refused(engine.send(&caller(), ask_nobodys(&phone(nth))).await.unwrap());

        let wait = refusal.retry_after_seconds.unwrap();
        assert!(
            (2000..=2061).contains(&wait),
            "{wait}: the first message has 2000 s left, counted in slots of a minute"
        );
    }
}

async fn of_forty_guesses_at_once_an_address_has_thirty(database: &mut Database) {
    let engine = database.engine().await;
    let code = Code::parse("000000").unwrap();
    let guess = |nth: usize, from: &'static str| {
        let (engine, ask) = (engine.clone(), guess(&phone(nth), &code));
        async move { engine.verify(&client(from), ask).await.unwrap().verdict }
    };
    let answers = join_all((0..40).map(|nth| guess(nth, "198.51.100.7"))).await;
    assert_eq!(answers.iter().filter(|verdict| **verdict == Verdict::NotFound).count(), 30);
    assert!(matches!(guess(50, "198.51.100.7").await, Verdict::TooManyGuesses(_)));
    assert_eq!(guess(51, "198.51.100.8").await, Verdict::NotFound, "a neighbour is not to blame");
}

async fn two_at_once_with_one_idempotency_key_send_one_message(database: &mut Database) {
    let engine = database.engine().await;
    for round in 0..4 {
        let before = database.messages_out();
        let asks = (0..6).map(|nth| {
            // The same key for different phones, too: one asker wins it.
            let key = Some(format!("round-{round}"));
            let ask = SendOtp { idempotency_key: key, ..ask_nobodys(&phone(10 * round + nth % 3)) };
            let engine = engine.clone();
            async move { engine.send(&caller(), ask).await }
        });
        for answer in join_all(asks).await {
            match answer {
                Ok(answer) => drop(sent(answer)),
                Err(error) => assert!(
                    [error::Code::IN_PROGRESS, error::Code::IDEMPOTENCY_MISMATCH].contains(&error.code()),
                    "{error:?}"
                ),
            }
        }
        assert_eq!(database.messages_out() - before, 1);
    }
}

async fn purge_beside_senders_loses_nothing(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    for nth in 0..40 {
        send_as(&engine, &caller(), ask_nobodys(&phone(nth))).await;
    }
    database.advance(25 * 3600);
    let senders = join_all((0..40).map(|nth| {
        let engine = engine.clone();
        async move { send_as(&engine, &caller(), ask_nobodys(&phone(nth))).await.otp_id }
    }));
    let run = || Purge { older_than: None, dry_run: false, exclusive: false, scrub: false, batch: None };
    let purges = join_all((0..2).map(|_| {
        let engine = engine.clone();
        async move { engine.purge(&caller(), &run(), |_| true).await.unwrap().purged.otps }
    }));
    let (sent, taken) = tokio::join!(senders, purges);
    // What a sender held just then is left for the next run.
    let rest = engine.purge(&caller(), &run(), |_| true).await.unwrap().purged.otps;
    assert_eq!(taken.into_iter().sum::<u64>() + rest, 40);
    for (nth, otp) in sent.into_iter().enumerate() {
        assert_eq!(engine.reads().otp(otp).await.unwrap().unwrap().state, State::Active);
        assert_eq!(verdict_of(&engine, &phone(nth), "", &database.code_on(&phone(nth))).await, Verdict::Verified);
    }
}

async fn the_audit_chain_holds_under_a_crowd(database: &mut Database) {
    let engine = database.engine().await;
    let operations = (0..24).map(|nth| {
        let (engine, to) = (engine.clone(), phone(nth));
        async move {
            send_as(&engine, &caller(), ask_nobodys(&to)).await;
            verdict(&engine, &to, &Code::parse("000000").unwrap()).await
        }
    });
    join_all(operations).await;
    purge(&engine, std::time::Duration::ZERO).await;
    let store = engine.store();
    let (rows, heads) = (audit_rows(store).await, store.reads.audit_heads().await.unwrap());
    // Nothing was over, so that the purge took nothing.
    assert_eq!(rows.len(), 24 * 3);
    assert_eq!(check_rows(store, rows.clone(), &heads), None);
    // Any row that is missing is found.
    for gone in 0..rows.len() {
        let mut rows = rows.clone();
        rows.remove(gone);
        assert!(check_rows(store, rows, &heads).is_some(), "row {gone}");
    }
}

async fn an_operation_that_fails_takes_nobody_elses_along(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    let before = send(&engine, PHONE).await;
    let refused = phone(7);
    // The message of one phone cannot be written, after its otp was.
    let end = database.refuse_rows("messages", Some(&refused));
    let sends = (0..40).map(|nth| {
        let (engine, to) = (engine.clone(), if nth % 4 == 1 { phone(7) } else { phone(100 + nth) });
        async move { engine.send(&caller(), ask_nobodys(&to)).await }
    });
    let answers = join_all(sends).await;
    database.change(&end);
    let failed = answers.iter().filter(|answer| answer.is_err()).count();
    let mut otps: Vec<i64> = answers.into_iter().flatten().map(|answer| sent(answer).otp_id).collect();
    assert_eq!((failed, otps.len()), (10, 30));
    otps.sort_unstable();
    otps.dedup();
    assert_eq!((otps.len(), otps[0] > before.otp_id), (30, true), "each has an id of its own");
    let count = |table: &str| database.number(&format!("SELECT count(*) FROM {table}"));
    assert_eq!((count("otps"), count("messages")), (31, 31));
    assert_eq!(database.number(&format!("SELECT count(*) FROM otps WHERE phone_number = '{refused}'")), 0);
    assert_eq!(database.audit().len(), 2 * 31);
    // The ids go on, and whoever failed may ask again.
    let again = send_as(&engine, &caller(), ask_nobodys(&refused)).await;
    assert!(again.otp_id > otps[29]);
    if database.url.is_none() {
        assert_eq!(again.otp_id, otps[0] + 30, "what failed used up no id");
    }
}

async fn an_operation_that_fails_while_it_is_written_leaves_the_audit_chain_whole(database: &mut Database) {
    let store = database.store().await;
    let operations = (0..60).map(|nth| {
        let fails = nth % 3 == 1;
        let decide: Decide = Box::new(move |facts| {
            // The usage of a subject that was not asked for cannot be written.
            let foreign = Change::PutUsage(SubjectId([7; 16]), Usage::default(), None);
            let event = Event::new(facts.now, Actor::System, "test", if fails { "broken" } else { "whole" });
            Ok(Decision::Write { changes: if fails { vec![foreign] } else { Vec::new() }, event, answer: () })
        });
        let operations = &store.operations;
        async move { assert_eq!(operations.operate(Needs::default(), decide).await.is_err(), fails, "{nth}") }
    });
    join_all(operations).await;
    assert_eq!(first_break(&store).await, None);
    let rows = database.audit();
    assert_eq!((rows.len(), rows.iter().filter(|row| *row == "test whole").count()), (40, 40));
}

async fn every_accepted_key_opens_the_database_and_no_other(database: &mut Database) {
    let old = database.keys[0].clone();
    let key = |text: &str| SecretKey::from_base64(text).unwrap();
    let new = crate::world::new_key();
    send(&database.engine().await, PHONE).await;
    let both = Keyring::new(vec![key(&new), key(&old)]).unwrap();
    // Opening with a new key added wraps the database's keys under it as well.
    database.store_with(&both).await.unwrap();
    let alone = Keyring::new(vec![key(&new)]).unwrap();
    let store = database.store_with(&alone).await.unwrap();
    assert!(store.reads.usages(&[phone_subject(PHONE)]).await.unwrap()[0].is_some(), "the same subjects");
    store.maintenance.rewrap(&alone, &Actor::System).await.unwrap();
    let error = database.store_with(&database.keyring()).await.err().unwrap();
    assert_eq!(error.code(), error::Code::KEY_INVALID);
    assert_eq!(store.reads.status().await.unwrap().wrapped_by.len(), 1);
    assert_eq!(store.reads.keys_in_use(store.reads.now().await.unwrap()).await.unwrap()[0].1, 1);
    database.keys = vec![new];
}

async fn a_list_pages_through_everything_once(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    let mut ids = Vec::new();
    for nth in 0..8 {
        let (to, user) = if nth == 7 { (phone(0), "bea") } else { (phone(nth), "") };
        let ask = SendOtp { user: User::parse(user).unwrap(), ..ask(&to) };
        ids.insert(0, send_as(&engine, &caller(), ask).await.otp_id);
        database.advance(1);
    }
    assert_eq!(verdict_of(&engine, &phone(0), "bea", &database.code_on(&phone(0))).await, Verdict::Verified);
    let store = engine.reads();
    let now = store.now().await.unwrap();
    let listed = async |filter: Filter| {
        let (mut all, mut filter) = (Vec::new(), Filter { limit: 3, ..filter });
        loop {
            let page = store.list(&filter, now).await.unwrap();
            all.extend(page.rows.iter().map(|otp| otp.id));
            match page.next {
                Some(next) => filter.before = Some(next),
                None => return all,
            }
        }
    };
    let e164 = Phone::from_e164(&phone(0)).unwrap();
    assert_eq!(listed(Filter::default()).await, ids);
    assert_eq!(listed(Filter { phone: Some(e164), ..Filter::default() }).await, [ids[0], ids[7]]);
    assert_eq!(listed(Filter { user: Some(User::parse("bea").unwrap()), ..Filter::default() }).await, ids[..1]);
    assert_eq!(listed(Filter { user: Some(User::default()), ..Filter::default() }).await, ids[1..]);
    assert_eq!(listed(Filter { states: vec![State::Verified], ..Filter::default() }).await, ids[..1]);
    assert_eq!(listed(Filter { states: vec![State::Active], ..Filter::default() }).await, ids[1..]);
    let third = store.otp(ids[2]).await.unwrap().unwrap().created_at;
    assert_eq!(listed(Filter { since: Some(third), ..Filter::default() }).await, ids[..3]);
    assert_eq!(listed(Filter { until: Some(third), ..Filter::default() }).await, ids[3..]);
    let accepted = (1, Some(message::State::Accepted));
    assert_eq!(store.message_counts(&[ids[1], 0, ids[0]]).await.unwrap(), [accepted, (0, None), accepted]);
    assert_eq!(store.list(&Filter { limit: 3, ..Filter::default() }, now).await.unwrap().more, 5);
}

/// Messages of one phone for two purposes, bob's on another phone, which is not delivered, and nobody's on a third.
async fn messages_are_listed_page_by_page_by_their_state_and_time_and_by_whom_they_are_for(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    let (mut ids, mut otps) = (Vec::new(), Vec::new());
    let other = Purpose::parse("phone_verification").unwrap();
    let asks = [
        ask(&phone(1)),
        SendOtp { new_code: true, ..ask(&phone(1)) },
        SendOtp { purpose: other.clone(), ..ask(&phone(1)) },
        SendOtp { user: User::parse("bob").unwrap(), ..ask(&phone(2)) },
        SendOtp { user: User::default(), ..ask(&phone(3)) },
        ask(&phone(1)),
    ];
    for ask in asks {
        let sent = send_as(&engine, &caller(), ask).await;
        ids.insert(0, sent.message_id);
        otps.insert(0, sent.otp_id);
        database.advance(1);
    }
    let message = engine.reads().message(ids[2]).await.unwrap().unwrap();
    database.sandbox.set_status(message.provider_id.as_ref().unwrap(), "undelivered", Some(30005));
    let bobs = engine.reads().otp(otps[2]).await.unwrap().unwrap();
    assert!(engine.refresh(&caller(), &bobs).await.unwrap().is_none());

    let listed = async |filter: Filter| {
        let (mut all, mut filter) = (Vec::new(), Filter { limit: 2, ..filter });
        loop {
            let page = engine.list_messages(&filter).await.unwrap();
            all.extend(page.rows.iter().map(|message| message.id));
            match page.next {
                Some(next) => filter.before = Some(next),
                None => return all,
            }
        }
    };
    let to = |nth| Some(Phone::from_e164(&phone(nth)).unwrap());
    let user = |name| Some(User::parse(name).unwrap());
    assert_eq!(listed(Filter::default()).await, ids);
    assert_eq!(listed(Filter { phone: to(1), ..Filter::default() }).await, [ids[0], ids[3], ids[4], ids[5]]);
    assert_eq!(listed(Filter { user: user("bob"), ..Filter::default() }).await, [ids[2]]);
    assert_eq!(listed(Filter { user: Some(User::default()), ..Filter::default() }).await, [ids[1]]);
    assert_eq!(listed(Filter { phone: to(1), user: user("bob"), ..Filter::default() }).await, [] as [i64; 0]);
    assert_eq!(listed(Filter { purpose: Some(other.clone()), ..Filter::default() }).await, [ids[3]]);
    let both = Filter { phone: to(1), purpose: Some(other), ..Filter::default() };
    assert_eq!(listed(both).await, [ids[3]]);
    let undelivered = || vec![message::State::Undelivered];
    assert_eq!(listed(Filter { deliveries: undelivered(), ..Filter::default() }).await, [ids[2]]);
    let theirs = Filter { phone: to(1), deliveries: undelivered(), ..Filter::default() };
    assert_eq!(listed(theirs).await, [] as [i64; 0]);
    let third = Some(engine.reads().message(ids[2]).await.unwrap().unwrap().reserved_at);
    assert_eq!(listed(Filter { since: third, ..Filter::default() }).await, ids[..3]);
    assert_eq!(listed(Filter { until: third, ..Filter::default() }).await, ids[3..]);
    // By when a message was made: bob's has changed since.
    let second = Some(engine.reads().message(ids[1]).await.unwrap().unwrap().reserved_at);
    assert_eq!(listed(Filter { until: second, ..Filter::default() }).await, ids[2..]);
    let page = engine.list_messages(&Filter { limit: 2, ..Filter::default() }).await.unwrap();
    assert_eq!((page.more, page.next, page.cut), (4, Some(ids[1]), false));
    let newest = &page.rows[0];
    assert_eq!((newest.otp_id, newest.phone.as_str()), (Some(otps[0]), phone(1).as_str()));
}

async fn verdict_of(engine: &Engine, phone: &str, user: &str, code: &Code) -> Verdict {
    let ask = VerifyOtp { user: User::parse(user).unwrap(), ..guess(phone, code) };
    engine.verify(&caller(), ask).await.unwrap().verdict
}
