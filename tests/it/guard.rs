//! The guard against SMS pumping in real sends: what it counts, what it refuses, and that both are exact whoever asks at the same time.

use std::time::Duration;

use futures_util::future::join_all;
use smsotp::abuse::{GuardPolicy, Mode, Rule};
use smsotp::alarm::AlarmKind;
use smsotp::engine::{
    AddEntry, Caller, Engine, News, Override, Proven, Refusal, Reported, Revoke, SendAnswer, SendOtp, StatusReport,
    VERIFIED_OTHERWISE, Verdict,
};
use smsotp::error::Code;
use smsotp::lists::{Listed, Side};
use smsotp::message::State;
use smsotp::money::Money;
use smsotp::phone::Phone;
use smsotp::policy::Policy;
use smsotp::sandbox::Fault;
use smsotp::store::Subject;

use crate::processes::{Crew, Job, Knobs, Operation, Said};
use crate::stores::{Database, on_every_store};
use crate::window::{Answer, SEND, Window, service_token, settings, token_of};
use crate::world::{
    World, ask, block_on, caller, dispatch, phone_subject, purge, refusal, refused, reset, send, send_and_die, send_as,
    unlimited, usage, verdict,
};

on_every_store![
    a_country_that_nobody_asked_for_gets_its_floor_and_somebody_hears_of_it,
    a_block_of_numbers_gets_six_messages_until_somebody_there_enters_a_code,
    who_entered_a_code_passes_the_caps_and_makes_room_for_others,
    a_known_phone_is_a_stranger_again_after_three_messages_that_nobody_proved,
    a_ceiling_holds_for_everybody_and_says_when_there_is_room,
    what_surely_was_not_sent_is_given_back,
    a_message_that_waits_is_counted_once_however_often_it_is_tried,
    a_revoked_message_that_waited_is_given_back,
    a_message_that_waited_is_given_back_before_it_is_purged_or_forgotten,
    a_price_that_becomes_known_moves_in_the_pool_as_well,
    who_reports_an_end_without_a_price_is_asked_for_it_a_few_times_within_a_day,
    after_a_clock_that_was_a_year_ahead_a_country_has_room_a_day_later,
    what_no_message_takes_in_is_purged_after_a_year,
    a_failure_that_is_reported_twice_counts_once,
    a_proof_and_a_failure_of_one_message_count_once,
    what_the_provider_charged_takes_the_place_of_what_was_reserved,
    whatever_dies_what_was_reserved_is_settled_or_open,
    of_sixty_at_once_a_country_gets_its_floor,
    of_forty_at_once_a_ceiling_of_money_lets_through_what_it_allows,
    codes_that_are_verified_at_once_are_all_counted,
    who_is_on_the_allow_list_passes_caps_and_no_ceilings,
    staff_sets_the_caps_aside_for_one_message,
    a_closed_country_gets_nothing_whoever_is_allowed,
    where_nobody_says_what_was_entered_only_totals_count,
    a_proof_in_another_way_counts_as_a_code_that_was_entered,
    a_proven_country_under_attack_asks_strangers_for_a_challenge,
    a_detector_that_watches_raises_its_alarm_and_refuses_nothing,
    without_the_guard_nothing_is_refused_and_all_is_counted,
    a_reset_of_everything_opens_no_ceiling,
    refusals_of_one_rule_are_recorded_once_an_hour_and_counted_in_between,
    a_test_number_is_no_message_to_the_guard,
    of_64_processes_that_send_to_a_country_its_floor_goes_out,
    of_64_processes_that_send_to_a_block_of_numbers_six_messages_go_out,
    of_64_processes_that_send_to_countries_without_a_past_the_pool_goes_out,
    of_64_processes_that_send_a_ceiling_of_money_lets_through_what_it_allows,
    processes_that_are_killed_leave_the_sums_right,
];

/// The price of an SMS to Tajikistan, and how many may be open there without a past.
const TJ: Money = Money(400_000);
const FLOOR: usize = 10;

/// A number in Tajikistan, in a block of its own.
fn tj(n: usize) -> String {
    format!("+99291{n:03}1234")
}

/// A number in the United States, in a block of its own.
fn us(n: usize) -> String {
    format!("+1415{:03}{:04}", 200 + n % 700, 1000 + n)
}

/// The guard as it comes, without the limits of phones, users and addresses.
fn guarded(database: &mut Database) {
    database.policy = Policy { limits: unlimited(), ..Policy::default() };
}

async fn ask_for(engine: &Engine, to: &str) -> Option<Refusal> {
    match engine.send(&caller(), ask(to)).await.unwrap() {
        SendAnswer::Sent(_) => None,
        SendAnswer::Refused(refusal) => Some(*refusal),
    }
}

fn rule(refusal: &Refusal) -> Rule {
    refusal.rule.unwrap().rule
}

/// What the installation has spent, with what waits to be taken in, and what all its messages cost: the same at any moment.
async fn spent(database: &Database, engine: &Engine) -> Money {
    let messages =
        database.number("SELECT coalesce(sum(coalesce(settled, price)), 0) FROM messages WHERE counted <> 'free'");
    assert_eq!(counted(database, engine).await.0, messages, "what is counted is what the messages cost");
    Money(messages)
}

/// What the installation has spent, with what waits to be taken in.
async fn counted(database: &Database, engine: &Engine) -> Money {
    let everything = usage(engine, Subject::Everything).await.everything.unwrap_or_default();
    let waiting = database.number(
        "SELECT coalesce(sum(CASE kind WHEN 'priced' THEN amount WHEN 'not_sent' THEN -amount ELSE 0 END), 0) \
         FROM money_events WHERE scope = ''",
    );
    Money(everything.spent_in_a_day().0 + waiting)
}

/// How many messages to strangers in a country are open, after everything that waits was taken in.
async fn open(database: &Database, engine: &Engine, country: &str) -> i64 {
    let counted = usage(engine, Subject::Country(country.to_owned())).await.country.unwrap_or_default().counts().0;
    let waiting = database.number(&format!(
        "SELECT count(*) FROM money_events WHERE scope = '{country}' AND kind <> 'priced' AND counted = 'stranger'"
    ));
    let messages = database.number(&format!(
        "SELECT count(*) FROM messages WHERE country = '{country}' AND counted = 'stranger' AND {}",
        if database.url.is_some() { "open" } else { "open = 1" }
    ));
    assert_eq!(i64::from(counted) - waiting, messages, "what is open is what no message has undone");
    messages
}

async fn a_country_that_nobody_asked_for_gets_its_floor_and_somebody_hears_of_it(database: &mut Database) {
    guarded(database);
    let engine = database.engine().await;
    for n in 0..FLOOR {
        assert_eq!(ask_for(&engine, &tj(n)).await, None, "{n}");
    }

    let no = ask_for(&engine, &tj(FLOOR)).await.unwrap();

    let full = no.rule.unwrap();
    assert_eq!((no.code, full.rule, full.used, full.allowed), (Code::COUNTRY_CAP, Rule::CountryOpen, 10, 10));
    let room = full.room_at.unwrap();
    assert!(room > database.now() && room.since(database.now()) <= Duration::from_secs(86_400), "{room}");
    assert_eq!(no.retry_after_seconds, Some(room.since(database.now()).as_millis().div_ceil(1000) as u64));
    assert_eq!(no.public_error().code(), Code::REFUSED);
    assert_eq!(database.messages_out(), FLOOR);
    assert_eq!(spent(database, &engine).await, TJ.times(10));
    assert_eq!(open(database, &engine, "TJ").await, 10);
    let alarms = engine.alarms(false).await.unwrap();
    assert!(alarms.iter().any(|alarm| (alarm.kind, alarm.about.as_str()) == (AlarmKind::CountryCapped, "TJ")));
    let seen = engine.country("TJ").await.unwrap().refusals;
    assert_eq!((seen.len(), seen[0].rule.as_str(), seen[0].used, seen[0].room_at), (1, "country_open", 10, Some(room)));
    assert_eq!(ask_for(&engine, &us(1)).await, None, "another country is another country's matter");
    database.clock.advance(room.since(database.now()));
    assert_eq!(ask_for(&engine, &tj(FLOOR)).await, None, "there is room when it says so");
}

async fn a_block_of_numbers_gets_six_messages_until_somebody_there_enters_a_code(database: &mut Database) {
    guarded(database);
    let engine = database.engine().await;
    let in_block = |n: usize| format!("+1415555{:04}", 100 + n);
    for n in 0..6 {
        assert_eq!(ask_for(&engine, &in_block(n)).await, None, "{n}");
    }

    let no = ask_for(&engine, &in_block(6)).await.unwrap();

    assert_eq!((no.code, rule(&no), no.rule.unwrap().used), (Code::BLOCK_CAP, Rule::Block, 6));
    assert_eq!(ask_for(&engine, &us(1)).await, None, "the next block");
    for n in 0..2 {
        assert_eq!(verdict(&engine, &in_block(n), &database.code_on(&in_block(n))).await, Verdict::Verified);
    }
    for n in 6..10 {
        assert_eq!(ask_for(&engine, &in_block(n)).await, None, "two less are open, and two more may be: {n}");
    }
    assert_eq!(rule(&ask_for(&engine, &in_block(10)).await.unwrap()), Rule::Block);
    database.clock.advance(Duration::from_secs(3601));
    // The cap of the block beside it refuses too, which is no matter of this one.
    for n in 0..7 {
        ask_for(&engine, &format!("+1415556{n:04}")).await;
    }
    // What is open halves in twelve hours: after one there is room for one more.
    assert_eq!(ask_for(&engine, &in_block(10)).await, None);
    assert_eq!(rule(&ask_for(&engine, &in_block(11)).await.unwrap()), Rule::Block);
    let seen = engine.block_of(&Phone::from_e164("+14155550199").unwrap()).await.unwrap().refusals;
    let told: Vec<_> = seen.iter().map(|one| (one.rule.as_str(), one.outcome.as_str())).collect();
    assert_eq!(told, [("block", "block_cap"); 2], "who asks of the block sees what its cap refused");
}

async fn who_entered_a_code_passes_the_caps_and_makes_room_for_others(database: &mut Database) {
    guarded(database);
    let engine = database.engine().await;
    for n in 0..FLOOR {
        send(&engine, &tj(n)).await;
    }
    assert!(ask_for(&engine, &tj(90)).await.is_some());

    for n in 0..3 {
        assert_eq!(verdict(&engine, &tj(n), &database.code_on(&tj(n))).await, Verdict::Verified);
    }

    assert_eq!(open(database, &engine, "TJ").await, 7);
    // Three are not open any more, and the cap grows with each proof.
    for n in 20..26 {
        assert_eq!(ask_for(&engine, &tj(n)).await, None, "{n}");
    }
    assert_eq!(rule(&ask_for(&engine, &tj(26)).await.unwrap()), Rule::CountryOpen);
    assert_eq!(ask_for(&engine, &tj(0)).await, None, "who was proven is known");
    assert_eq!(database.words("SELECT counted FROM messages ORDER BY id DESC LIMIT 1"), ["known"]);
    assert_eq!(database.number("SELECT count(*) FROM money_events"), 0, "the sends took it all in");
    assert_eq!(spent(database, &engine).await, TJ.times(17));
}

async fn a_known_phone_is_a_stranger_again_after_three_messages_that_nobody_proved(database: &mut Database) {
    guarded(database);
    let engine = database.engine().await;
    send(&engine, &tj(1)).await;
    verdict(&engine, &tj(1), &database.code_on(&tj(1))).await;
    for _ in 0..4 {
        database.advance(700);
        send_as(&engine, &caller(), SendOtp { new_code: true, ..ask(&tj(1)) }).await;
    }
    assert_eq!(
        database.words("SELECT counted FROM messages ORDER BY id"),
        ["stranger", "known", "known", "known", "stranger"]
    );
    let phone = usage(&engine, phone_subject(&tj(1))).await;
    assert_eq!(phone.unproven, 4);
    verdict(&engine, &tj(1), &database.code_on(&tj(1))).await;
    let phone = usage(&engine, phone_subject(&tj(1))).await;
    assert_eq!((phone.unproven, phone.proven_at.is_some()), (0, true));
    // 90 days later it is one as well, and a purge has not forgotten sooner.
    database.advance(90 * 86_400 - 60);
    purge(&engine, Duration::from_secs(86_400)).await;
    send(&engine, &tj(1)).await;
    database.advance(1000);
    send(&engine, &tj(1)).await;
    assert_eq!(database.words("SELECT counted FROM messages ORDER BY id DESC LIMIT 2"), ["stranger", "known"]);
}

async fn a_ceiling_holds_for_everybody_and_says_when_there_is_room(database: &mut Database) {
    guarded(database);
    database.policy.guard.ceilings.day = Some(Money::from_usd(1.0));
    database.policy.guard.ceilings.hour = Some(Money::from_usd(1.0));
    let engine = database.engine().await;
    send(&engine, &tj(1)).await;
    verdict(&engine, &tj(1), &database.code_on(&tj(1))).await;
    send(&engine, &tj(2)).await;

    for to in [tj(1), tj(3)] {
        let no = ask_for(&engine, &to).await.unwrap();

        let full = no.rule.unwrap();
        assert_eq!((no.code, full.used, full.allowed), (Code::MONEY_CEILING, 800_000, 1_000_000), "known or not");
        assert!(full.room_at.is_some_and(|at| at > database.now()));
    }
    assert_eq!(ask_for(&engine, &us(1)).await, None, "what is cheap still fits");
    let alarms = engine.alarms(false).await.unwrap();
    assert!(alarms.iter().any(|alarm| alarm.kind == AlarmKind::Ceiling80), "{alarms:?}");
    assert!(alarms.iter().any(|alarm| alarm.kind == AlarmKind::Ceiling100), "{alarms:?}");
    spent(database, &engine).await;
}

async fn what_surely_was_not_sent_is_given_back(database: &mut Database) {
    guarded(database);
    let engine = database.engine().await;
    for n in 0..20 {
        database.sandbox.fault(Fault::Code(21_211), 1);
        let sent = send(&engine, &tj(n)).await;
        assert_eq!(sent.state, State::Failed, "{n}");
    }
    assert_eq!(spent(database, &engine).await, Money::ZERO);
    assert_eq!(open(database, &engine, "TJ").await, 0);
    assert_eq!(usage(&engine, phone_subject(&tj(0))).await.unproven, 0);
    for n in 20..20 + FLOOR {
        assert_eq!(ask_for(&engine, &tj(n)).await, None, "{n}");
    }
    assert!(ask_for(&engine, &tj(99)).await.is_some());
}

async fn a_message_that_waits_is_counted_once_however_often_it_is_tried(database: &mut Database) {
    guarded(database);
    crate::dispatching::waiting(database, &tj(1)).await;
    let engine = database.engine().await;
    assert_eq!(spent(database, &engine).await, TJ);
    database.sandbox.fault(Fault::Status429 { retry_after: Some(5) }, 1);
    dispatch(&engine).await;
    assert_eq!(spent(database, &engine).await, TJ, "it waits again");
    database.advance(60);

    let sent = send(&engine, &tj(1)).await;

    assert_eq!((sent.state, database.texts(&tj(1)).len()), (State::Accepted, 1), "the ask took it over");
    assert_eq!(spent(database, &engine).await, TJ);
    assert_eq!(open(database, &engine, "TJ").await, 1);
    crate::dispatching::waiting(database, &tj(2)).await;
    database.advance(700);
    assert_eq!(dispatch(&engine).await.failed, 1, "its code is over");
    assert_eq!(spent(database, &engine).await, TJ, "and it was not sent");
    assert_eq!(open(database, &engine, "TJ").await, 1);
}

async fn a_revoked_message_that_waited_is_given_back(database: &mut Database) {
    guarded(database);
    crate::dispatching::waiting(database, &tj(1)).await;
    let engine = database.engine().await;
    assert_eq!(crate::world::revoke(&engine, &tj(1)).await, 1);
    assert_eq!(spent(database, &engine).await, Money::ZERO);
    assert_eq!(open(database, &engine, "TJ").await, 0);
    assert_eq!(usage(&engine, phone_subject(&tj(1))).await.unproven, 0);
}

async fn a_message_that_waited_is_given_back_before_it_is_purged_or_forgotten(database: &mut Database) {
    guarded(database);
    let engine = database.engine().await;
    // A second message waits while the code of the first one is entered; of another code the only message waits until it is over.
    send(&engine, &tj(1)).await;
    database.advance(60);
    crate::dispatching::waiting(database, &tj(1)).await;
    assert_eq!(verdict(&engine, &tj(1), &database.code_on(&tj(1))).await, Verdict::Verified);
    crate::dispatching::waiting(database, &tj(2)).await;
    database.advance(700);
    assert_eq!(spent(database, &engine).await, TJ.times(3));
    let dry = smsotp::engine::Purge {
        older_than: Some(Duration::ZERO),
        dry_run: true,
        exclusive: false,
        batch: None,
        scrub: false,
    };
    let dry = engine.purge(&caller(), &dry, |_| true).await.unwrap().purged;
    assert_eq!(spent(database, &engine).await, TJ.times(3), "a dry run changes nothing");

    let purged = purge(&engine, Duration::ZERO).await.purged;

    assert_eq!((purged.otps, purged.messages, dry), (2, 3, purged));
    assert_eq!(counted(database, &engine).await, TJ, "one message went out");
    assert_eq!(open(database, &engine, "TJ").await, 0);
    crate::dispatching::waiting(database, &tj(3)).await;
    database.advance(700);
    assert_eq!(counted(database, &engine).await, TJ.times(2));
    let phone = Some(smsotp::phone::Phone::from_e164(&tj(3)).unwrap());
    let user = smsotp::otp::User::default();
    let whom = smsotp::engine::Forget { phone, user, reason: "ticket 12".to_owned(), dry_run: false, local: false };
    assert_eq!(engine.forget(&caller(), &whom, |_| true).await.unwrap().messages, 1);
    assert_eq!(counted(database, &engine).await, TJ);
    assert_eq!(open(database, &engine, "TJ").await, 0);
    assert_eq!(database.messages_out(), 1);
}

/// What is open in countries that are not proven, after everything that waits was taken in by another message.
async fn pooled(engine: &Engine) -> Money {
    usage(engine, Subject::Everything).await.everything.unwrap_or_default().pooled()
}

async fn a_price_that_becomes_known_moves_in_the_pool_as_well(database: &mut Database) {
    guarded(database);
    let engine = database.engine().await;
    let price = async |to: &str, price: i64| {
        let sent = send(&engine, to).await;
        let provider_id = sent.provider_id.clone().unwrap();
        let news = News { provider_id, state: State::Sent, error_code: None, price: Some(Money(price)) };
        engine.report(&caller(), StatusReport { message_id: sent.message_id, news, to: None }).await.unwrap()
    };
    send(&engine, &tj(1)).await;
    price(&tj(2), 500_000).await;
    price(&tj(3), 350_000).await;
    send(&engine, &tj(4)).await;
    assert_eq!(pooled(&engine).await, Money(1_650_000), "with half a dollar and 35 cents");
    verdict(&engine, &tj(2), &database.code_on(&tj(2))).await;
    send(&engine, &tj(5)).await;
    assert_eq!(pooled(&engine).await, Money(1_550_000), "the dearer one has left");
    verdict(&engine, &tj(3), &database.code_on(&tj(3))).await;
    send(&engine, &tj(6)).await;
    assert_eq!(pooled(&engine).await, TJ.times(4), "and the cheaper one");
    // What has left the pool moves in it no more.
    price(&tj(7), 400_000).await;
    verdict(&engine, &tj(7), &database.code_on(&tj(7))).await;
    let id = database.number("SELECT max(id) FROM messages");
    let message = engine.reads().message(id).await.unwrap().unwrap();
    let provider_id = message.provider_id.unwrap();
    let news = News { provider_id, state: State::Delivered, error_code: None, price: Some(Money(100_000)) };
    engine.report(&caller(), StatusReport { message_id: id, news, to: None }).await.unwrap();
    send(&engine, &tj(8)).await;
    assert_eq!(pooled(&engine).await, TJ.times(5));
    spent(database, &engine).await;
}

async fn who_reports_an_end_without_a_price_is_asked_for_it_a_few_times_within_a_day(database: &mut Database) {
    guarded(database);
    let engine = database.engine().await.polling(Duration::from_secs(10));
    let delivered = async |to: &str, steps: usize| {
        let sent = send(&engine, to).await;
        (0..steps).for_each(|_| database.sandbox.step());
        let provider_id = sent.provider_id.clone().unwrap();
        let news = News { provider_id, state: State::Delivered, error_code: None, price: None };
        let moved =
            engine.report(&caller(), StatusReport { message_id: sent.message_id, news, to: None }).await.unwrap();
        assert_eq!(moved, Reported::Moved(State::Delivered));
    };
    let settled = || database.number("SELECT count(*) FROM messages WHERE settled IS NOT NULL");
    delivered(&us(1), 4).await;
    database.advance(59);
    assert_eq!((dispatch(&engine).await.looked_at, settled()), (0, 0), "not yet");
    database.advance(1);
    assert_eq!((dispatch(&engine).await.found, settled()), (1, 1));
    spent(database, &engine).await;
    database.advance(7 * 3600);
    assert_eq!(dispatch(&engine).await.looked_at, 0, "there is nothing more to learn");
    // Of this one the provider never says what it has cost.
    delivered(&us(2), 0).await;
    let mut looks = Vec::new();
    for minute in 1..=61 {
        database.advance(60);
        let done = dispatch(&engine).await;
        assert_eq!((done.found, done.open, done.errors), (0, 0, 0));
        looks.extend((done.looked_at > 0).then_some(minute));
    }
    for hour in 2..=72 {
        database.advance(3600);
        looks.extend((dispatch(&engine).await.looked_at > 0).then_some(hour * 60));
    }
    assert_eq!(looks, [1, 10, 60, 6 * 60, 24 * 60]);
    assert_eq!(settled(), 1, "what was reserved stands");
    assert_eq!(database.words("SELECT state FROM messages ORDER BY id"), ["delivered", "delivered"]);
    spent(database, &engine).await;
}

async fn after_a_clock_that_was_a_year_ahead_a_country_has_room_a_day_later(database: &mut Database) {
    guarded(database);
    let engine = database.engine().await;
    let right = database.now();
    database.advance(365 * 86_400);
    for n in 0..FLOOR {
        assert_eq!(ask_for(&engine, &tj(n)).await, None, "{n}");
    }
    database.clock.set(right);
    // Whoever is told so by an error is reset; nobody is told of countries and blocks.
    let clock = |subject| smsotp::engine::Reset {
        subject,
        user: crate::world::ada(),
        opt_out: false,
        clock: true,
        reason: "NTP was off".to_owned(),
    };
    for subject in [Subject::Everything, Subject::User(crate::world::ada())] {
        engine.reset(&caller(), clock(subject)).await.unwrap();
    }

    let no = ask_for(&engine, &tj(FLOOR)).await.unwrap();

    assert_eq!((rule(&no), no.rule.unwrap().used), (Rule::CountryOpen, 10), "it counts as if it had been sent now");
    assert!(no.rule.unwrap().room_at.unwrap().since(database.now()) <= Duration::from_secs(86_400));
    database.advance(25 * 3600);
    assert_eq!(ask_for(&engine, &tj(FLOOR)).await, None);
    assert_eq!(usage(&engine, Subject::Everything).await.everything.unwrap().spent_in_a_day(), TJ);
}

async fn what_no_message_takes_in_is_purged_after_a_year(database: &mut Database) {
    guarded(database);
    let engine = database.engine().await;
    send(&engine, &tj(1)).await;
    verdict(&engine, &tj(1), &database.code_on(&tj(1))).await;
    let waiting = |scope: &str| database.number(&format!("SELECT count(*) FROM money_events WHERE scope = '{scope}'"));
    database.advance(399 * 86_400);
    assert_eq!(purge(&engine, Duration::ZERO).await.purged.money_events, 0);
    database.advance(2 * 86_400);
    assert_eq!(purge(&engine, Duration::ZERO).await.purged.money_events, 1);
    assert_eq!((waiting("TJ"), waiting("")), (0, 1), "any message takes in what is about everything");
    send(&engine, &us(1)).await;
    assert_eq!(waiting(""), 0);
}

async fn undelivered(engine: &Engine, message_id: i64, provider_id: &str) -> Reported {
    let news =
        News { provider_id: provider_id.to_owned(), state: State::Undelivered, error_code: Some(30_003), price: None };
    engine.report(&caller(), StatusReport { message_id, news, to: None }).await.unwrap()
}

async fn a_failure_that_is_reported_twice_counts_once(database: &mut Database) {
    guarded(database);
    let engine = database.engine().await;
    let (one, _) = (send(&engine, &tj(1)).await, send(&engine, &tj(2)).await);
    let id = one.provider_id.clone().unwrap();

    let reports = join_all((0..8).map(|_| undelivered(&engine, one.message_id, &id))).await;

    assert_eq!(reports.iter().filter(|report| **report != Reported::Old).count(), 1);
    assert_eq!(open(database, &engine, "TJ").await, 1);
    assert_eq!(spent(database, &engine).await, TJ.times(2), "it was paid all the same");
    send(&engine, &tj(3)).await;
    assert_eq!(database.number("SELECT count(*) FROM money_events"), 0);
    assert_eq!(open(database, &engine, "TJ").await, 2);
}

async fn a_proof_and_a_failure_of_one_message_count_once(database: &mut Database) {
    guarded(database);
    let engine = database.engine().await;
    let messages = [send(&engine, &tj(1)).await, send(&engine, &tj(2)).await, send(&engine, &tj(3)).await];
    let id = |nth: usize| messages[nth].provider_id.clone().unwrap();
    // The carrier says that it did not arrive, and its code is entered all the same; and the other way round.
    undelivered(&engine, messages[0].message_id, &id(0)).await;
    verdict(&engine, &tj(1), &database.code_on(&tj(1))).await;
    verdict(&engine, &tj(2), &database.code_on(&tj(2))).await;
    undelivered(&engine, messages[1].message_id, &id(1)).await;
    assert_eq!(open(database, &engine, "TJ").await, 1);
    send(&engine, &tj(4)).await;
    assert_eq!(open(database, &engine, "TJ").await, 2);
}

async fn what_the_provider_charged_takes_the_place_of_what_was_reserved(database: &mut Database) {
    guarded(database);
    let engine = database.engine().await;
    let sent = send(&engine, &us(1)).await;
    assert_eq!(spent(database, &engine).await, Money(8_300));
    let news = async |price: i64, state| {
        let provider_id = sent.provider_id.clone().unwrap();
        let news = News { provider_id, state, error_code: None, price: Some(Money(price)) };
        engine.report(&caller(), StatusReport { message_id: sent.message_id, news, to: None }).await
    };
    news(7_500, State::Sent).await.unwrap();
    assert_eq!(spent(database, &engine).await, Money(7_500));
    assert_eq!(news(7_500, State::Sent).await.unwrap(), Reported::Old, "the same again is no news");
    news(9_000, State::Sent).await.unwrap();
    assert_eq!(spent(database, &engine).await, Money(9_000), "the price alone may be new");
    let second = send(&engine, &us(2)).await;
    assert_eq!(spent(database, &engine).await, Money(17_300));
    // The sandbox says what it charged, as Twilio does, once the message is on its way.
    (0..4).for_each(|_| database.sandbox.step());
    let otp = engine.reads().otp(second.otp_id).await.unwrap().unwrap();
    engine.refresh(&caller(), &otp).await.unwrap();
    assert_eq!(database.number("SELECT count(*) FROM messages WHERE settled IS NOT NULL"), 2);
    spent(database, &engine).await;
}

async fn whatever_dies_what_was_reserved_is_settled_or_open(database: &mut Database) {
    use smsotp::engine::Step::{Answered, Handing, Reserved, Settled};
    guarded(database);
    for (nth, step) in [Reserved, Handing, Answered, Settled].into_iter().enumerate() {
        send_and_die(database.engine().await, step, ask(&tj(nth))).await;
        let engine = database.engine().await;
        assert_eq!(spent(database, &engine).await, TJ.times(nth as u32 + 1), "{step:?}");
    }
    let engine = database.engine().await;
    database.advance(61);
    dispatch(&engine).await;
    spent(database, &engine).await;
    database.advance(601);
    dispatch(&engine).await;
    // Of the four two never came to the provider.
    assert_eq!(database.messages_out(), 2);
    assert_eq!(spent(database, &engine).await, TJ.times(2));
    assert_eq!(open(database, &engine, "TJ").await, 2);
}

async fn of_sixty_at_once_a_country_gets_its_floor(database: &mut Database) {
    guarded(database);
    let engine = database.engine().await;

    let answers = join_all((0..60).map(|n| {
        let (engine, to) = (engine.clone(), tj(n));
        async move { ask_for(&engine, &to).await }
    }))
    .await;

    assert_eq!(answers.iter().filter(|answer| answer.is_none()).count(), FLOOR);
    assert!(answers.iter().flatten().all(|no| no.code == Code::COUNTRY_CAP));
    assert_eq!((database.messages_out(), open(database, &engine, "TJ").await), (FLOOR, FLOOR as i64));
    assert_eq!(spent(database, &engine).await, TJ.times(10));
}

async fn of_forty_at_once_a_ceiling_of_money_lets_through_what_it_allows(database: &mut Database) {
    guarded(database);
    let allowed = Money(8_300 * 12);
    database.policy.guard.ceilings.day = Some(allowed);
    database.policy.guard.ceilings.hour = Some(allowed);
    let engine = database.engine().await;
    let asks = (0..40).map(|n| {
        let (engine, to) = (engine.clone(), us(n));
        async move { ask_for(&engine, &to).await }
    });
    let went = join_all(asks).await.into_iter().filter(Option::is_none).count();
    assert_eq!((went, spent(database, &engine).await), (12, allowed));
}

async fn codes_that_are_verified_at_once_are_all_counted(database: &mut Database) {
    guarded(database);
    let engine = database.engine().await;
    for n in 0..FLOOR {
        send(&engine, &tj(n)).await;
    }
    let guesses = (0..FLOOR).map(|n| {
        let (engine, to, code) = (engine.clone(), tj(n), database.code_on(&tj(n)));
        async move { verdict(&engine, &to, &code).await }
    });
    // Others ask meanwhile.
    let asks = (50..60).map(|n| {
        let (engine, to) = (engine.clone(), us(n));
        async move { ask_for(&engine, &to).await }
    });
    let (verdicts, asked) = tokio::join!(join_all(guesses), join_all(asks));
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Verified));
    assert!(asked.iter().all(Option::is_none));
    assert_eq!(open(database, &engine, "TJ").await, 0);
    send(&engine, &tj(90)).await;
    let everything = usage(&engine, Subject::Everything).await.everything.unwrap();
    assert_eq!(everything.proven_ever(), 10);
    let country = usage(&engine, Subject::Country("TJ".into())).await.country.unwrap();
    assert_eq!((country.past().proven, country.counts()), (10, (1, 11)));
}

async fn allow(engine: &Engine, country: &str) {
    let listed = Listed::Country(smsotp::phone::country(country).unwrap());
    let add = AddEntry { side: Side::Allow, listed, until: None, reason: "our launch".into() };
    engine.add_entry(&caller(), add).await.unwrap();
}

async fn who_is_on_the_allow_list_passes_caps_and_no_ceilings(database: &mut Database) {
    guarded(database);
    database.policy.guard.ceilings.day = Some(TJ.times(13));
    database.policy.guard.ceilings.hour = Some(TJ.times(13));
    let engine = database.engine().await;
    allow(&engine, "TJ").await;
    for n in 0..13 {
        assert_eq!(ask_for(&engine, &tj(n)).await, None, "{n}");
    }
    assert_eq!(ask_for(&engine, &tj(13)).await.unwrap().code, Code::MONEY_CEILING);
}

async fn staff_sets_the_caps_aside_for_one_message(database: &mut Database) {
    guarded(database);
    let engine = database.engine().await;
    for n in 0..FLOOR {
        send(&engine, &tj(n)).await;
    }
    let aside = Override { limits: Vec::new(), number: false, caps: true, reason: "ticket 7".into() };
    send_as(&engine, &caller(), SendOtp { override_limits: Some(aside), ..ask(&tj(50)) }).await;
    assert!(ask_for(&engine, &tj(51)).await.is_some());
    let logged = database.words("SELECT CAST(body AS TEXT) FROM audit");
    assert!(logged.iter().any(|row| row.contains(r#""override":"caps","#) && row.contains("ticket 7")), "{logged:?}");
}

async fn a_closed_country_gets_nothing_whoever_is_allowed(database: &mut Database) {
    guarded(database);
    let closed = smsotp::abuse::CountryPolicy { closed: true, ..Default::default() };
    database.policy.guard.countries.insert("TJ".into(), closed);
    let engine = database.engine().await;
    allow(&engine, "TJ").await;
    let no = ask_for(&engine, &tj(1)).await.unwrap();
    assert_eq!((no.code, rule(&no)), (Code::COUNTRY_NOT_ALLOWED, Rule::Closed));
    assert_eq!(no.public_error().code(), Code::REFUSED);
}

async fn where_nobody_says_what_was_entered_only_totals_count(database: &mut Database) {
    guarded(database);
    let engine = database.engine().await;
    let silent = Caller { conversion_unknown: true, ..caller() };
    for n in 0..2 * FLOOR {
        send_as(&engine, &silent, ask(&tj(n))).await;
    }
    let no = refused(engine.send(&silent, ask(&tj(90))).await.unwrap());
    assert_eq!((no.code, rule(&no), no.rule.unwrap().used), (Code::COUNTRY_CAP, Rule::CountryTotal, 20));
    assert_eq!(database.words("SELECT DISTINCT counted FROM messages"), ["unknown"]);
    assert_eq!(open(database, &engine, "TJ").await, 0);
}

async fn a_proof_in_another_way_counts_as_a_code_that_was_entered(database: &mut Database) {
    guarded(database);
    let engine = database.engine().await;
    let mut otps = Vec::new();
    for n in 0..3 {
        otps.push(send(&engine, &tj(n)).await.otp_id);
    }
    assert_eq!(engine.proven(&caller(), otps[0]).await.unwrap(), Proven::Counted);
    assert_eq!(engine.proven(&caller(), otps[0]).await.unwrap(), Proven::Known, "once");
    assert_eq!(engine.proven(&caller(), 999).await.unwrap(), Proven::NotFound);
    assert_eq!(verdict(&engine, &tj(0), &database.code_on(&tj(0))).await, Verdict::Revoked, "it opens nothing now");
    let revoked = engine.revoke(&caller(), &Revoke::Id(otps[1]), VERIFIED_OTHERWISE).await.unwrap();
    assert_eq!(revoked.len(), 1);
    assert_eq!(open(database, &engine, "TJ").await, 1);
    // Also when the code is over.
    database.advance(700);
    assert_eq!(engine.proven(&caller(), otps[2]).await.unwrap(), Proven::Counted);
    assert_eq!(open(database, &engine, "TJ").await, 0);
    for n in 0..3 {
        assert!(usage(&engine, phone_subject(&tj(n))).await.proven_at.is_some(), "{n}");
    }
    // Whoever revokes for another reason proves nothing.
    let other = send(&engine, &tj(7)).await;
    engine.revoke(&caller(), &Revoke::Id(other.otp_id), "stolen").await.unwrap();
    assert_eq!(usage(&engine, phone_subject(&tj(7))).await.proven_at, None);
    assert_eq!(open(database, &engine, "TJ").await, 1);
}

/// Real people in the United States, one in 30 seconds, who enter their codes.
async fn people(database: &Database, engine: &Engine, count: usize) {
    for n in 0..count {
        send(engine, &us(n)).await;
        database.advance(30);
        assert_eq!(verdict(engine, &us(n), &database.code_on(&us(n))).await, Verdict::Verified);
    }
}

/// Somebody has codes sent that nobody enters, until that is refused; how often it was not.
async fn pump(database: &Database, engine: &Engine) -> (usize, Option<Refusal>) {
    for n in 0..60 {
        database.advance(15);
        if let Some(no) = ask_for(engine, &us(300 + n)).await {
            return (n, Some(no));
        }
    }
    (60, None)
}

async fn a_proven_country_under_attack_asks_strangers_for_a_challenge(database: &mut Database) {
    guarded(database);
    database.policy.guard.mode = Some(Mode::Enforce);
    let engine = database.engine().await;
    people(database, &engine, 60).await;

    let (went, no) = pump(database, &engine).await;

    let no = no.unwrap();
    assert_eq!((no.code, rule(&no)), (Code::CHALLENGE_REQUIRED, Rule::Alarm));
    assert!(went < 40, "{went}");
    assert_eq!(no.public_error().code(), Code::CHALLENGE_REQUIRED);
    assert!(engine.alarms(false).await.unwrap().iter().any(|alarm| alarm.kind == AlarmKind::Detector));
    // Who passed a challenge gets a code, who is known is not asked for one.
    send_as(&engine, &caller(), SendOtp { challenge_passed: true, ..ask(&us(500)) }).await;
    send(&engine, &us(1)).await;
    let logged = database.words("SELECT CAST(body AS TEXT) FROM audit");
    assert!(logged.iter().any(|row| row.contains(r#""challenge":"passed""#)), "{logged:?}");
    spent(database, &engine).await;
}

async fn a_detector_that_watches_raises_its_alarm_and_refuses_nothing(database: &mut Database) {
    guarded(database);
    database.policy.guard.mode = Some(Mode::Watch);
    let engine = database.engine().await;
    people(database, &engine, 60).await;
    assert_eq!(pump(database, &engine).await.0, 60, "the caps of a proven country are far");
    let alarms = engine.alarms(false).await.unwrap();
    let alarm = alarms.iter().find(|alarm| alarm.kind == AlarmKind::Detector).unwrap();
    assert!(alarm.stands(database.now()) && alarm.about == "US", "{alarm:?}");
    let logged = database.words("SELECT CAST(body AS TEXT) FROM audit");
    assert!(logged.iter().any(|row| row.contains(r#""would":"alarm""#)));
}

async fn without_the_guard_nothing_is_refused_and_all_is_counted(database: &mut Database) {
    guarded(database);
    database.policy.guard = GuardPolicy { mode: Some(Mode::Off), ..GuardPolicy::default() };
    let engine = database.engine().await;
    for n in 0..30 {
        assert_eq!(ask_for(&engine, &tj(n)).await, None, "{n}");
    }
    assert_eq!(spent(database, &engine).await, TJ.times(30));
    assert_eq!(open(database, &engine, "TJ").await, 30);
    // What was counted holds once it is switched on.
    guarded(database);
    let engine = database.engine().await;
    assert!(ask_for(&engine, &tj(40)).await.is_some());
}

async fn a_reset_of_everything_opens_no_ceiling(database: &mut Database) {
    guarded(database);
    database.policy.guard.ceilings.day = Some(TJ);
    database.policy.guard.ceilings.hour = Some(TJ);
    let engine = database.engine().await;
    send(&engine, &tj(1)).await;
    reset(&engine, Subject::Everything).await;
    assert_eq!(refusal(&engine, &tj(2)).await.code, Code::MONEY_CEILING);
    spent(database, &engine).await;
}

async fn refusals_of_one_rule_are_recorded_once_an_hour_and_counted_in_between(database: &mut Database) {
    guarded(database);
    let engine = database.engine().await;
    for n in 0..FLOOR {
        send(&engine, &tj(n)).await;
    }
    let refused = |database: &Database| database.audit().iter().filter(|row| *row == "send country_cap").count();
    for n in 20..40 {
        assert!(ask_for(&engine, &tj(n)).await.is_some());
    }
    assert_eq!(refused(database), 1);
    let subjects = database.number("SELECT count(*) FROM subjects");
    for n in 40..60 {
        assert!(ask_for(&engine, &tj(n)).await.is_some());
    }
    assert_eq!(database.number("SELECT count(*) FROM subjects"), subjects, "whoever asks leaves no row");
    database.advance(3600);
    assert!(ask_for(&engine, &tj(60)).await.is_some());
    assert_eq!(refused(database), 2);
    let logged = database.words("SELECT CAST(body AS TEXT) FROM audit");
    assert!(logged.iter().any(|row| row.contains(r#""refused_before":39"#)), "{logged:?}");
}

async fn a_test_number_is_no_message_to_the_guard(database: &mut Database) {
    guarded(database);
    let engine = database.engine().await;
    let phone = smsotp::phone::Phone::from_e164(&tj(1)).unwrap();
    let code = smsotp::code::Code::parse("123456").unwrap();
    let add =
        smsotp::engine::AddTestNumber { phone, code: code.clone(), until: database.now() + Duration::from_secs(3600) };
    engine.add_test_number(&caller(), add).await.unwrap();
    send(&engine, &tj(1)).await;
    assert_eq!(verdict(&engine, &tj(1), &code).await, Verdict::Verified);
    assert_eq!(usage(&engine, phone_subject(&tj(1))).await.proven_at, None, "its code is fixed: it proves nothing");
    assert_eq!(database.number("SELECT count(*) FROM money_events"), 0);
    assert_eq!(spent(database, &engine).await, Money::ZERO);
}

/// Processes with the guard as it comes, each with a number of its own.
fn crowd(database: &Database, count: usize, from: usize, die_at: impl Fn(usize) -> Option<(String, u32)>) -> Vec<Said> {
    let job = |n: usize| Job { die_at: die_at(n), ..sender(database, n, tj(from + n)) };
    go((0..count).map(job).collect())
}

/// A process that sends one code, with the guard as it comes.
fn sender(database: &Database, n: usize, phone: String) -> Job {
    let send = Operation::Send { phone, user: format!("u{n}"), ip: None, key: None };
    Job { limits: Knobs { guard: true, ..Knobs::default() }, ..Job::on(database, vec![send]) }
}

fn go(jobs: Vec<Job>) -> Vec<Said> {
    Crew::at_the_barrier(&jobs).go().into_iter().flat_map(|left| left.said).collect()
}

/// How many were refused with a code.
fn refused_with(said: &[Said], code: &str) -> usize {
    said.iter().filter(|said| matches!(said, Said::Refused(refused) if refused == code)).count()
}

async fn of_64_processes_that_send_to_a_country_its_floor_goes_out(database: &mut Database) {
    guarded(database);
    let engine = database.engine().await;

    let said = crowd(database, 64, 0, |_| None);

    let capped = refused_with(&said, "country_cap");
    assert_eq!((database.messages_out(), capped), (FLOOR, 64 - FLOOR), "{said:?}");
    assert_eq!(spent(database, &engine).await, TJ.times(10));
    assert_eq!(open(database, &engine, "TJ").await, 10);
}

async fn of_64_processes_that_send_to_a_block_of_numbers_six_messages_go_out(database: &mut Database) {
    guarded(database);
    let engine = database.engine().await;
    let said = go((0..64).map(|n| sender(database, n, format!("+99291234{:04}", 1000 + n))).collect());
    assert_eq!((database.messages_out(), refused_with(&said, "block_cap")), (6, 58), "{said:?}");
    assert_eq!(spent(database, &engine).await, TJ.times(6));
    assert_eq!(open(database, &engine, "TJ").await, 6);
}

async fn of_64_processes_that_send_to_countries_without_a_past_the_pool_goes_out(database: &mut Database) {
    guarded(database);
    let engine = database.engine().await;
    // Below its own cap each of them, and together they would cost twenty dollars.
    let prefixes = ["+99291", "+99890", "+99450", "+94711", "+21355", "+21620"];
    let digits = [7, 7, 7, 6, 7, 6];
    let phone = |n: usize| {
        let (prefix, digits) = (prefixes[n % 6], digits[n % 6]);
        format!("{prefix}{:0digits$}", 10_usize.pow(digits as u32 - 1) * 2 + (n / 6) * 10_000 + 1234)
    };
    // Without the automatic ceiling of an hour, which is lower.
    let limits = || Knobs { guard: true, ceiling: Some(100_000_000), ..Knobs::default() };
    let said = go((0..60).map(|n| Job { limits: limits(), ..sender(database, n, phone(n)) }).collect());
    let out = database.messages_out();
    assert_eq!(out + refused_with(&said, "country_cap"), 60, "{said:?}");
    let pooled = pooled(&engine).await;
    // Each country keeps two messages beside the pool, of which the dearest costs 40 cents.
    assert!(pooled <= Money(10_000_000).plus(TJ.times(12)), "{pooled} is more than the pool");
    assert!(pooled > Money(9_000_000), "{pooled} leaves a tenth of the pool unused");
    assert_eq!(spent(database, &engine).await, pooled);
}

async fn of_64_processes_that_send_a_ceiling_of_money_lets_through_what_it_allows(database: &mut Database) {
    guarded(database);
    let engine = database.engine().await;
    let job = |n: usize| {
        let limits = Knobs { guard: true, ceiling: Some(2_100_000), ..Knobs::default() };
        Job { limits, ..sender(database, n, tj(n)) }
    };
    let said = go((0..64).map(job).collect());
    assert_eq!((database.messages_out(), refused_with(&said, "money_ceiling")), (5, 59), "{said:?}");
    assert_eq!(spent(database, &engine).await, TJ.times(5));
}

async fn processes_that_are_killed_leave_the_sums_right(database: &mut Database) {
    guarded(database);
    let engine = database.engine().await;
    let steps = ["Reserved", "Handing", "Answered", "Settled"];
    for round in 0..2 {
        crowd(database, 8, 20 * round, |n| Some((steps[n % 4].to_owned(), 1)).filter(|_| n < 6));
        spent(database, &engine).await;
        open(database, &engine, "TJ").await;
    }
    assert!(database.messages_out() <= FLOOR);
    for _ in 0..3 {
        database.advance(661);
        dispatch(&engine).await;
        spent(database, &engine).await;
    }
    let out = i64::try_from(database.messages_out()).unwrap();
    assert_eq!(open(database, &engine, "TJ").await, out, "what never came to the provider is given back");
    assert_eq!(spent(database, &engine).await, TJ.times(u32::try_from(out).unwrap()));
}

/// A world with the guard as it comes.
fn guarded_world() -> World {
    let mut world = World::new();
    world.policy = Policy { limits: unlimited(), ..Policy::default() };
    world
}

fn send_body(to: &str) -> String {
    serde_json::json!({"phone_number": to, "user": "ada"}).to_string()
}

#[test]
fn whatever_rule_refuses_the_person_who_asks_learns_the_same() {
    let mut world = guarded_world();
    let closed = smsotp::abuse::CountryPolicy { closed: true, ..Default::default() };
    world.policy.guard.countries.insert("DE".into(), closed);
    world.policy.guard.ceilings.message = Some(TJ);
    let token = service_token(&world.engine(), "send");
    let window = Window::open(&world);
    for n in 0..FLOOR {
        assert_eq!(window.post(SEND, &token, &send_body(&tj(n))).status, 200);
    }
    for n in 0..6 {
        assert_eq!(window.post(SEND, &token, &send_body(&format!("+1415555{:04}", 100 + n))).status, 200);
    }

    // A country's cap, a block's cap, a closed country, a message that costs too much.
    let answers: Vec<Answer> = [tj(50), "+14155550150".into(), "+4915123456789".into(), "+6281212345678".into()]
        .iter()
        .map(|to| window.post(SEND, &token, &send_body(to)))
        .collect();

    for answer in &answers {
        assert_eq!((answer.status, answer.code().as_str()), (403, "refused"), "{answer:?}");
        assert_eq!(answer.body, answers[0].body);
        assert!(!answer.head.to_lowercase().contains("retry-after"), "{}", answer.head);
    }
    let told: Vec<String> = world
        .sql()
        .prepare("SELECT outcome FROM audit WHERE outcome <> 'reserved' AND action = 'send'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(told, ["country_cap", "block_cap", "country_not_allowed", "message_ceiling"], "the operator learns why");
}

#[test]
fn a_service_says_that_a_person_was_proven_and_a_users_token_cannot() {
    let world = guarded_world();
    let engine = world.engine();
    let (service, sender) = (service_token(&engine, "proven"), service_token(&engine, "send"));
    let own = token_of(&engine, "ada", "send,proven");
    let window = Window::with(&world, engine.clone(), settings());
    let otp = block_on(send(&engine, &tj(1))).otp_id;
    let path = |id: &str| format!("/api/v1/messaging/otps/{id}/proven/");
    for (token, id, status, code) in [
        (&sender, otp.to_string(), 403, "forbidden"),
        (&own, otp.to_string(), 403, "forbidden"),
        (&service, "999".into(), 404, "no_such_otp"),
        (&service, "one".into(), 422, "value_invalid"),
    ] {
        let answer = window.post(&path(&id), token, "");
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{answer:?}");
    }
    assert!(block_on(usage(&engine, phone_subject(&tj(1)))).proven_at.is_none());
    for counted in [true, false] {
        let answer = window.post(&path(&otp.to_string()), &service, "");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!((answer.json()["proven"].clone(), answer.json()["counted"].clone()), (true.into(), counted.into()));
    }
    assert!(block_on(usage(&engine, phone_subject(&tj(1)))).proven_at.is_some());
    // Nor can a user's own token say that a challenge was passed.
    let challenge = |body: serde_json::Value, token: &str| window.post(SEND, token, &body.to_string());
    let asked = challenge(serde_json::json!({"phone_number": tj(2), "challenge": "passed"}), &own);
    assert_eq!((asked.status, asked.code().as_str()), (403, "forbidden"));
    let asked = challenge(serde_json::json!({"phone_number": tj(2), "user": "ada", "challenge": "yes"}), &sender);
    assert_eq!((asked.status, asked.code().as_str()), (422, "value_invalid"));
    let asked = challenge(serde_json::json!({"phone_number": tj(2), "user": "ada", "challenge": "passed"}), &sender);
    assert_eq!(asked.status, 200, "{asked:?}");
}
