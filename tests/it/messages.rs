//! Messages without a code: sent once or not at all, counted by every limit, their text kept no longer than it is needed.

use std::sync::Arc;
use std::time::Duration;

use smsotp::abuse::Mode;
use smsotp::engine::{
    AddEntry, Canceled, Content, Destination, Dispatched, Engine, Filter, Forget, News, Override, Refusal, Reported,
    SendAnswer, SendMessage, SentMessage, StatusReport, Step, Verdict, Wanted,
};
use smsotp::error::Code;
use smsotp::limits::{Limit, Limits, Window as Span};
use smsotp::lists::{Listed, Side};
use smsotp::locale::Locale;
use smsotp::message::State;
use smsotp::money::Money;
use smsotp::otp::User;
use smsotp::phone::{self, Phone};
use smsotp::provider::console::Console;
use smsotp::report::{By, Only};
use smsotp::sandbox::{Fault, Options, Pace};
use smsotp::texts::Texts;

use crate::desk::Desk;
use crate::stores::{Database, on_every_store};
use crate::window::{Answer, Window, service_token, token_of};
use crate::world::{
    OTHER, PHONE, World, ask, block_on, caller, dispatch, files, holds, new_key, phone_subject, purge, refused, send,
    unlimited, usage, verdict,
};

on_every_store![
    a_message_arrives_as_it_was_written,
    it_counts_in_the_limits_of_the_phone_and_climbs_no_cooldown,
    opt_outs_blocks_and_countries_hold_for_it,
    money_counts_it,
    what_is_too_long_too_dear_or_empty_is_not_sent,
    the_same_key_sends_once,
    what_a_busy_provider_does_not_take_is_sent_later_once,
    what_waits_can_be_canceled_and_is_given_back,
    what_waits_too_long_is_never_sent,
    what_waits_for_somebody_who_opted_out_is_never_sent,
    one_of_which_nothing_is_known_is_found_by_its_text,
    one_that_was_never_accepted_is_given_back_after_two_looks,
    two_with_one_text_each_find_their_own,
    a_process_that_dies_at_any_step_sends_nothing_twice,
    its_text_is_sealed_and_goes_when_it_is_settled,
    a_text_whose_key_is_gone_waits_for_it,
    a_test_number_gets_none,
    reports_move_it_forward_only,
    it_is_listed_purged_and_forgotten,
    the_code_of_the_same_phone_is_not_touched,
    reports_count_it_apart_from_codes,
    a_template_is_filled_in_in_the_language_and_for_the_country,
    what_is_booked_is_sent_when_its_time_has_come,
    what_is_booked_can_be_canceled_and_is_not_sent_too_late_or_to_the_unwilling,
    what_two_machines_find_due_is_sent_once,
    the_key_of_what_is_booked_is_kept_until_a_day_after_its_time,
    another_provider_that_sends_it_has_its_name,
];

const TEXT: &str = "Your table is ready.";

pub fn message(phone: &str, text: &str) -> SendMessage {
    SendMessage {
        to: Destination::Known(phone::parse(phone, None).unwrap()),
        content: Content::text(text),
        at: None,
        override_limits: None,
        idempotency_key: None,
        segments_max: 10,
        cost_max: None,
        valid_for: Duration::from_secs(4 * 3600),
        timeout: Duration::from_secs(1),
    }
}

async fn answer(engine: &Engine, message: SendMessage) -> SendAnswer<SentMessage> {
    engine.send_message(&caller(), message).await.unwrap()
}

async fn sent(engine: &Engine, message: SendMessage) -> SentMessage {
    match answer(engine, message).await {
        SendAnswer::Sent(sent) => *sent,
        SendAnswer::Refused(refusal) => panic!("refused: {refusal:?}"),
    }
}

async fn say(engine: &Engine, phone: &str) -> SentMessage {
    sent(engine, message(phone, TEXT)).await
}

async fn no(engine: &Engine, phone: &str) -> Refusal {
    match answer(engine, message(phone, TEXT)).await {
        SendAnswer::Refused(refusal) => *refusal,
        SendAnswer::Sent(sent) => panic!("not refused: {sent:?}"),
    }
}

/// Sends on an engine that is abandoned when it meets a step, as a process that is killed there would be.
async fn say_and_die(engine: Engine, at: Step, message: SendMessage) {
    let engine = engine.on_step(move |step| {
        if step == at {
            std::panic::resume_unwind(Box::new("killed"));
        }
    });
    let died = tokio::spawn(async move { engine.send_message(&caller(), message).await }).await;
    assert!(died.is_err_and(|error| error.is_panic()), "it never came to {at:?}");
}

async fn state(engine: &Engine, id: i64) -> State {
    engine.reads().message(id).await.unwrap().unwrap().state
}

async fn a_message_arrives_as_it_was_written(database: &mut Database) {
    let engine = database.engine().await;
    let text = "Caf\u{e9} \u{20ac}5\nSee you \u{1f44b}";
    let one = sent(&engine, message(PHONE, text)).await;

    assert_eq!(database.texts(PHONE).iter().map(|text| text.body.as_str()).collect::<Vec<_>>(), [text]);
    assert_eq!((one.state, one.otp_id, one.segments, one.failure().is_none()), (State::Accepted, None, 1, true));
    assert_eq!(one.expires_at, database.now() + Duration::from_secs(4 * 3600));
    let found = engine.find_message(&Wanted::Message(one.message_id)).await.unwrap().unwrap();
    let steps = engine.steps_of(&found).await.unwrap();
    let steps: Vec<_> = steps.iter().map(|step| (step.action.as_str(), step.outcome.as_str())).collect();
    assert_eq!(steps, [("message.send", "reserved"), ("settle", "accepted")]);
}

async fn it_counts_in_the_limits_of_the_phone_and_climbs_no_cooldown(database: &mut Database) {
    let engine = database.engine().await;
    for _ in 0..3 {
        say(&engine, PHONE).await;
    }
    let refusal = no(&engine, PHONE).await;
    assert_eq!((refusal.code, refusal.hits[0].limit.as_str()), (Code::RATE_LIMITED, "phone"));
    assert_eq!(
        refused(engine.send(&caller(), ask(PHONE)).await.unwrap()).hits[0].limit.as_str(),
        "phone",
        "for codes too"
    );
    let known = usage(&engine, phone_subject(PHONE)).await;
    assert_eq!((known.sends.len(), known.unproven, known.purposes.len()), (3, 0, 0), "nobody could prove them");
    database.advance(601);
    say(&engine, PHONE).await;
    // What staff sets aside is set aside for it as well.
    say(&engine, PHONE).await;
    assert_eq!(no(&engine, PHONE).await.code, Code::RATE_LIMITED, "five in an hour");
    let staff = Override { limits: vec![Limit::Phone], number: false, caps: false, reason: "a promise".to_owned() };
    sent(&engine, SendMessage { override_limits: Some(staff), ..message(PHONE, TEXT) }).await;
    assert_eq!(database.texts(PHONE).len(), 6);
}

async fn opt_outs_blocks_and_countries_hold_for_it(database: &mut Database) {
    let engine = database.engine().await;
    let phone = Phone::from_e164(PHONE).unwrap();
    engine.set_opt_out(&caller(), (&phone, true), "by letter").await.unwrap();
    assert_eq!(no(&engine, PHONE).await.code, Code::OPTED_OUT);
    engine.set_opt_out(&caller(), (&phone, false), "by letter").await.unwrap();
    say(&engine, PHONE).await;
    let add = AddEntry {
        side: Side::Block,
        listed: Listed::Phone(Phone::from_e164(OTHER).unwrap()),
        reason: "abuse".to_owned(),
        until: None,
    };
    engine.add_entry(&caller(), add).await.unwrap();
    assert_eq!(no(&engine, OTHER).await.code, Code::BLOCKED);
    database.policy.countries = Some(vec!["DE".to_owned()]);
    assert_eq!(no(&database.engine().await, "+14155550102").await.code, Code::COUNTRY_NOT_ALLOWED);
    assert_eq!(database.messages_out(), 1);
}

async fn money_counts_it(database: &mut Database) {
    database.unlimited();
    database.policy.guard.mode = Some(Mode::Enforce);
    database.policy.guard.ceilings.day = Some(Money(20_000));
    database.policy.guard.ceilings.hour = Some(Money(20_000));
    let engine = database.engine().await;
    say(&engine, PHONE).await;
    say(&engine, OTHER).await;
    assert_eq!(no(&engine, PHONE).await.code, Code::MONEY_CEILING, "two of 0.0083 leave no room for a third");
    assert_eq!(refused(engine.send(&caller(), ask(PHONE)).await.unwrap()).code, Code::MONEY_CEILING, "nor for a code");
    assert_eq!(database.messages_out(), 2);
}

async fn what_is_too_long_too_dear_or_empty_is_not_sent(database: &mut Database) {
    let engine = database.engine().await;
    let long = "a".repeat(161);
    let failed = async |message: SendMessage| engine.send_message(&caller(), message).await.unwrap_err().code();

    assert_eq!(failed(message(PHONE, " \n")).await, Code::VALUE_INVALID);
    assert_eq!(failed(message(PHONE, "a\u{0}b")).await, Code::VALUE_INVALID);
    assert_eq!(failed(message(PHONE, &"a".repeat(1601))).await, Code::VALUE_INVALID);
    assert_eq!(failed(SendMessage { segments_max: 1, ..message(PHONE, &long) }).await, Code::TOO_MANY_SEGMENTS);
    let dear = SendMessage { cost_max: Some(Money(8_300)), ..message(PHONE, &long) };
    assert_eq!(failed(dear).await, Code::COST_TOO_HIGH, "two segments");
    let fits = SendMessage { cost_max: Some(Money(16_600)), ..message(PHONE, &long) };
    assert_eq!(sent(&engine, fits).await.segments, 2);
    assert_eq!(database.messages_out(), 1);
    assert_eq!(database.number("SELECT count(*) FROM messages"), 1);
}

async fn the_same_key_sends_once(database: &mut Database) {
    let engine = database.engine().await;
    let keyed = |text: &str| SendMessage { idempotency_key: Some("order-7".to_owned()), ..message(PHONE, text) };
    let first = sent(&engine, keyed(TEXT)).await;
    assert_eq!(sent(&engine, keyed(TEXT)).await, first);
    assert_eq!(engine.send_message(&caller(), keyed("Another")).await.unwrap_err().code(), Code::IDEMPOTENCY_MISMATCH);
    assert_eq!(database.texts(PHONE).len(), 1);
    // The key of a code is another one.
    let code = smsotp::engine::SendOtp { idempotency_key: Some("order-7".to_owned()), ..ask(OTHER) };
    engine.send(&caller(), code).await.unwrap();
    assert_eq!(database.texts(OTHER).len(), 1);
}

async fn what_a_busy_provider_does_not_take_is_sent_later_once(database: &mut Database) {
    let engine = database.engine().await;
    database.sandbox.fault(Fault::Status429 { retry_after: Some(60) }, 1);
    let keyed = || SendMessage { idempotency_key: Some("k".to_owned()), ..message(PHONE, TEXT) };
    let one = sent(&engine, keyed()).await;
    assert_eq!((one.state, one.failure().unwrap().code()), (State::Queued, Code::PROVIDER_BUSY));
    assert_eq!(sent(&engine, keyed()).await.state, State::Queued, "asking again with the key sends no other");
    assert_eq!(dispatch(&engine).await.looked_at, 0, "not sooner than the provider said");
    database.advance(61);
    assert_eq!(dispatch(&engine).await, Dispatched { looked_at: 1, sent: 1, ..Dispatched::default() });
    assert_eq!(dispatch(&engine).await, Dispatched::default());
    assert_eq!(sent(&engine, keyed()).await.state, State::Accepted);
    assert_eq!(database.texts(PHONE).iter().map(|text| text.body.as_str()).collect::<Vec<_>>(), [TEXT]);
}

async fn what_waits_can_be_canceled_and_is_given_back(database: &mut Database) {
    let engine = database.engine().await;
    database.sandbox.fault(Fault::Status429 { retry_after: Some(60) }, 1);
    let one = say(&engine, PHONE).await;
    let cancel = async |id| engine.cancel(&caller(), id, "sold out").await.unwrap();

    assert_eq!(cancel(one.message_id + 1).await, Canceled::NotFound);
    assert_eq!(cancel(one.message_id).await, Canceled::Done);
    assert_eq!(cancel(one.message_id).await, Canceled::TooLate(State::Canceled));
    database.advance(61);
    assert_eq!(dispatch(&engine).await, Dispatched::default());
    assert_eq!(database.messages_out(), 0);
    assert_eq!(usage(&engine, phone_subject(PHONE)).await.sends.len(), 0);
    let code = send(&engine, PHONE).await;
    assert_eq!(cancel(code.message_id).await, Canceled::OfOtp(code.otp_id), "codes are revoked");
    let out = say(&engine, OTHER).await;
    assert_eq!(cancel(out.message_id).await, Canceled::TooLate(State::Accepted));
}

async fn what_waits_too_long_is_never_sent(database: &mut Database) {
    let engine = database.engine().await;
    database.sandbox.fault(Fault::Status429 { retry_after: Some(50) }, 1);
    let short = SendMessage { valid_for: Duration::from_secs(120), ..message(PHONE, TEXT) };
    let one = sent(&engine, short).await;
    assert_eq!(one.state, State::Queued);
    database.advance(121);
    assert_eq!(dispatch(&engine).await.failed, 1);
    assert_eq!((state(&engine, one.message_id).await, database.messages_out()), (State::Failed, 0));
    assert_eq!(usage(&engine, phone_subject(PHONE)).await.sends.len(), 0, "it is given back");
    // One whose time would be over before the next attempt does not wait for it.
    database.sandbox.fault(Fault::Status429 { retry_after: Some(600) }, 1);
    let short = SendMessage { valid_for: Duration::from_secs(120), ..message(PHONE, TEXT) };
    assert_eq!(sent(&engine, short).await.state, State::Failed);
    // A purge gives up what nobody looked at.
    database.sandbox.fault(Fault::Status429 { retry_after: Some(50) }, 1);
    let forgotten = sent(&engine, SendMessage { valid_for: Duration::from_secs(120), ..message(OTHER, TEXT) }).await;
    database.advance(2 * 86_400);
    assert_eq!(purge(&engine, Duration::from_secs(86_400)).await.purged.messages, 3);
    assert!(engine.reads().message(forgotten.message_id).await.unwrap().is_none());
}

async fn what_waits_for_somebody_who_opted_out_is_never_sent(database: &mut Database) {
    let engine = database.engine().await;
    database.sandbox.fault(Fault::Status429 { retry_after: Some(60) }, 1);
    let one = say(&engine, PHONE).await;
    engine.set_opt_out(&caller(), (&Phone::from_e164(PHONE).unwrap(), true), "by letter").await.unwrap();
    database.advance(61);
    assert_eq!(dispatch(&engine).await.failed, 1);
    assert_eq!((state(&engine, one.message_id).await, database.messages_out()), (State::Failed, 0));
}

async fn one_of_which_nothing_is_known_is_found_by_its_text(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    database.sandbox.fault(Fault::Error500AfterAccepting, 1);
    let one = say(&engine, PHONE).await;
    assert_eq!((one.state, one.failure().unwrap().code()), (State::Unknown, Code::MAYBE_SENT));
    sent(&engine, message(PHONE, "Another one.")).await;
    database.advance(31);
    assert_eq!(dispatch(&engine).await.found, 1);
    let found = engine.reads().message(one.message_id).await.unwrap().unwrap();
    assert_eq!(found.provider_id, Some(database.texts(PHONE)[0].sid.clone()));
    assert_eq!(database.texts(PHONE).len(), 2, "nothing was sent again");
}

async fn one_that_was_never_accepted_is_given_back_after_two_looks(database: &mut Database) {
    let engine = database.engine().await;
    database.sandbox.fault(Fault::Error500, 1);
    let one = say(&engine, PHONE).await;
    assert_eq!(one.state, State::Unknown);
    database.advance(31);
    assert_eq!(dispatch(&engine).await.open, 1);
    database.advance(601);
    assert_eq!(dispatch(&engine).await.failed, 1);
    assert_eq!(state(&engine, one.message_id).await, State::Failed);
    assert_eq!((usage(&engine, phone_subject(PHONE)).await.sends.len(), database.messages_out()), (0, 0));
}

async fn two_with_one_text_each_find_their_own(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    database.sandbox.fault(Fault::Error500AfterAccepting, 1);
    let one = say(&engine, PHONE).await;
    database.sandbox.fault(Fault::Error500, 1);
    let other = say(&engine, PHONE).await;
    for _ in 0..3 {
        database.advance(700);
        dispatch(&engine).await;
    }
    let states = [state(&engine, one.message_id).await, state(&engine, other.message_id).await];
    assert_eq!(states.iter().filter(|state| **state == State::Failed).count(), 1, "one of them is out: {states:?}");
    let ids = database.words("SELECT provider_id FROM messages WHERE provider_id IS NOT NULL");
    assert_eq!(ids, [database.texts(PHONE)[0].sid.clone()]);
}

async fn a_process_that_dies_at_any_step_sends_nothing_twice(database: &mut Database) {
    database.unlimited();
    for (nth, step) in [Step::Reserved, Step::Handing, Step::Answered, Step::Settled].into_iter().enumerate() {
        let phone = crate::processes::phone(nth);
        let keyed = || SendMessage { idempotency_key: Some("k".to_owned()), ..message(&phone, TEXT) };
        let other = SendMessage { idempotency_key: Some(format!("k{nth}")), ..keyed() };
        say_and_die(database.engine().await, step, other).await;
        let engine = database.engine().await;
        let again = || SendMessage { idempotency_key: Some(format!("k{nth}")), ..keyed() };
        if step != Step::Settled {
            let early = engine.send_message(&caller(), again()).await.unwrap_err();
            assert_eq!(early.code(), Code::IN_PROGRESS, "{step:?}");
        }
        database.advance(61);
        sent(&engine, again()).await;
        database.advance(700);
        dispatch(&engine).await;
        database.advance(700);
        dispatch(&engine).await;
        let out = database.texts(&phone).len();
        let expected = usize::from(!matches!(step, Step::Reserved | Step::Handing));
        assert_eq!(out, expected, "{step:?}: what died before it was handed over is not sent behind anybody's back");
        let last = sent(&engine, again()).await.state;
        assert_eq!(last, if out == 1 { State::Accepted } else { State::Failed }, "{step:?}");
    }
}

async fn its_text_is_sealed_and_goes_when_it_is_settled(database: &mut Database) {
    let engine = database.engine().await;
    let secret = "The password of the wifi is swordfish";
    database.sandbox.fault(Fault::Status429 { retry_after: Some(60) }, 1);
    let one = sent(&engine, message(PHONE, secret)).await;
    let kept = || database.number("SELECT count(*) FROM messages WHERE text IS NOT NULL");
    assert_eq!(kept(), 1);
    let clear = |database: &Database| {
        let found: Vec<_> =
            files(database.dir.path()).into_iter().filter(|(_, bytes)| holds(bytes, b"swordfish")).collect();
        found.len()
    };
    assert_eq!(clear(database), 0, "no file holds it in the clear");
    let uses = engine.key_uses().await.unwrap();
    assert_eq!((uses[0].messages, uses[0].otps), (1, 0));
    database.advance(61);
    dispatch(&engine).await;
    assert_eq!((kept(), state(&engine, one.message_id).await), (0, State::Accepted));
    assert_eq!(engine.key_uses().await.unwrap()[0].messages, 0);
    assert_eq!(database.texts(PHONE)[0].body, secret);
    // In the place of another message it does not open.
    database.sandbox.fault(Fault::Status429 { retry_after: Some(60) }, 2);
    sent(&engine, message(PHONE, secret)).await;
    sent(&engine, message(OTHER, "Nothing")).await;
    let of = |phone: &str| format!("(SELECT text FROM messages WHERE phone_number = '{phone}' AND text IS NOT NULL)");
    database.change(&format!("UPDATE messages SET text = {} WHERE phone_number = '{OTHER}'", of(PHONE)));
    database.advance(61);
    dispatch(&engine).await;
    assert_eq!(database.texts(OTHER).len(), 0);
    database.change(&format!("UPDATE messages SET due_at = NULL, state = 'failed' WHERE phone_number = '{OTHER}'"));
    database.change(&format!("UPDATE messages SET counted = 'free' WHERE phone_number = '{OTHER}'"));
    database.change("DELETE FROM sums");
    database.change("DELETE FROM messages");
}

async fn a_text_whose_key_is_gone_waits_for_it(database: &mut Database) {
    let old = database.keys[0].clone();
    database.sandbox.fault(Fault::Status429 { retry_after: Some(60) }, 1);
    let one = say(&database.engine().await, PHONE).await;
    let new = new_key();
    database.world.keys = vec![new.clone(), old.clone()];
    let ring = database.keyring();
    database.engine().await.rewrap(&caller(), &ring).await.unwrap();
    let uses = database.engine().await.key_uses().await.unwrap();
    assert_eq!(uses.iter().map(|key| key.messages).collect::<Vec<_>>(), [0, 1]);
    database.world.keys = vec![new.clone()];
    database.advance(61);
    let engine = database.engine().await;
    assert_eq!(dispatch(&engine).await.open, 1);
    assert_eq!(state(&engine, one.message_id).await, State::Queued);
    database.world.keys = vec![new, old];
    database.advance(61);
    assert_eq!(dispatch(&database.engine().await).await.sent, 1);
    assert_eq!(database.texts(PHONE).len(), 1);
}

async fn a_test_number_gets_none(database: &mut Database) {
    let engine = database.engine().await;
    let until = database.now() + Duration::from_secs(3600);
    let code = smsotp::code::Code::parse("123456").unwrap();
    let add = smsotp::engine::AddTestNumber { phone: Phone::from_e164(PHONE).unwrap(), code, until };
    engine.add_test_number(&caller(), add).await.unwrap();
    let one = say(&engine, PHONE).await;
    assert_eq!((one.test, one.state, one.failure().is_none()), (true, State::Accepted, true));
    assert_eq!(database.messages_out(), 0);
    assert_eq!(database.number("SELECT count(*) FROM messages WHERE text IS NOT NULL"), 0);
    assert_eq!(usage(&engine, phone_subject(PHONE)).await.sends.len(), 0);
}

async fn reports_move_it_forward_only(database: &mut Database) {
    let engine = database.engine().await;
    let one = say(&engine, PHONE).await;
    let report = async |state, error_code| {
        let news = News { provider_id: one.provider_id.clone().unwrap(), state, error_code, price: None };
        engine.report(&caller(), StatusReport { message_id: one.message_id, news, to: None }).await.unwrap()
    };
    assert_eq!(report(State::Delivered, None).await, Reported::Moved(State::Delivered));
    assert_eq!(report(State::Sent, None).await, Reported::Old);
    assert_eq!(report(State::Delivered, None).await, Reported::Old);
    let other = say(&engine, OTHER).await;
    let news = News {
        provider_id: other.provider_id.clone().unwrap(),
        state: State::Undelivered,
        error_code: Some(30_003),
        price: None,
    };
    let told = engine.report(&caller(), StatusReport { message_id: other.message_id, news, to: None }).await.unwrap();
    assert_eq!(told, Reported::Moved(State::Undelivered));
    let known = engine.reads().message(other.message_id).await.unwrap().unwrap();
    assert_eq!((known.error_code, known.error.is_some()), (Some(30_003), true));
}

async fn it_is_listed_purged_and_forgotten(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    let one = say(&engine, PHONE).await;
    let code = send(&engine, PHONE).await;
    say(&engine, OTHER).await;
    let filter = |phone: Option<&str>| Filter {
        phone: phone.map(|phone| Phone::from_e164(phone).unwrap()),
        limit: 10,
        ..Filter::default()
    };
    let listed = async |filter: Filter| {
        let page = engine.list_messages(&filter).await.unwrap();
        page.rows.iter().map(|message| message.id).collect::<Vec<_>>()
    };
    assert_eq!(listed(filter(Some(PHONE))).await, [code.message_id, one.message_id]);
    assert_eq!(listed(filter(None)).await.len(), 3);
    let of_user = Filter { user: Some(User::parse("ada").unwrap()), ..filter(Some(PHONE)) };
    assert_eq!(listed(of_user).await, [code.message_id], "a message without a code has no user");
    let newest = Wanted::Newest(Phone::from_e164(OTHER).unwrap(), None, None);
    assert!(engine.find_message(&newest).await.unwrap().is_some());

    let forget = Forget {
        phone: Some(Phone::from_e164(PHONE).unwrap()),
        user: User::default(),
        reason: "ticket 12".to_owned(),
        dry_run: true,
        local: false,
    };
    let counted = engine.forget(&caller(), &forget, |_| true).await.unwrap();
    assert_eq!((counted.otps, counted.messages, counted.copies), (1, 2, 2));
    let finished = || {
        database.sandbox.messages().iter().for_each(|text| {
            database.sandbox.set_status(&text.sid, "delivered", None);
        })
    };
    finished();
    let erased = engine.forget(&caller(), &Forget { dry_run: false, ..forget }, |_| true).await.unwrap();
    assert_eq!((erased.messages, erased.copies, erased.kept.is_unfinished()), (2, 2, false), "{erased:?}");
    assert!(database.texts(PHONE).iter().all(|text| text.deleted), "at the provider too");
    assert_eq!(listed(filter(None)).await.len(), 1);

    database.advance(4 * 3600 + 86_300);
    assert_eq!(purge(&engine, Duration::from_secs(86_400)).await.purged.messages, 0, "a day after it was wanted last");
    database.advance(200);
    assert_eq!(purge(&engine, Duration::from_secs(86_400)).await.purged.messages, 1);
}

async fn the_code_of_the_same_phone_is_not_touched(database: &mut Database) {
    database.policy.limits = Limits { phone: vec![Span::new(100, 86_400)], ..unlimited() };
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    let code = database.code_on(PHONE);
    sent(&engine, message(PHONE, &format!("Not {}", code.expose()))).await;
    assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Verified);
    say(&engine, PHONE).await;
    assert_eq!(usage(&engine, phone_subject(PHONE)).await.sends.len(), 3);
}

async fn reports_count_it_apart_from_codes(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    say(&engine, PHONE).await;
    send(&engine, PHONE).await;
    let now = database.now();
    let report = engine.funnel(now - Duration::from_secs(3600), now, &Only::default()).await.unwrap();
    assert_eq!((report.whole.messages, report.whole.codes, report.whole.accepted), (2, 1, 2));
    let parts: Vec<_> = report.by(By::Purpose).iter().map(|(name, part)| (*name, part.messages)).collect();
    assert_eq!(parts, [("", 1), ("login", 1)]);
}

async fn a_template_is_filled_in_in_the_language_and_for_the_country(database: &mut Database) {
    let locale = |tag: &str| Locale::parse(tag).unwrap();
    let texts = Texts {
        others: Some("{{ name }}, order {{ order }} is ready. {{ app }}".to_owned()),
        locales: [(locale("de"), "{{ name }}, {{ order }} ist fertig.".to_owned())].into(),
        countries: [("IN".to_owned(), "Dear {{ name }}, {{ order }} is ready. ACME Ltd".to_owned())].into(),
    };
    database.policy.messages.insert("ready".to_owned(), texts);
    let engine = database.engine().await;
    let filled = |phone: &str, tag: Option<&str>, values: &[(&str, &str)]| SendMessage {
        content: Content::Template {
            name: "ready".to_owned(),
            values: values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            locale: tag.map(locale),
        },
        ..message(phone, "")
    };
    let both = [("name", "Zo\u{eb} {{ order }}"), ("order", "7")];
    for (phone, tag, expected) in [
        (PHONE, None, "Zo\u{eb} {{ order }}, order 7 is ready. smsotp"),
        (OTHER, Some("de-AT"), "Zo\u{eb} {{ order }}, 7 ist fertig."),
        ("+919876543210", Some("de"), "Dear Zo\u{eb} {{ order }}, 7 is ready. ACME Ltd"),
    ] {
        sent(&engine, filled(phone, tag, &both)).await;
        assert_eq!(database.texts(phone)[0].body, expected);
    }
    for (values, words) in [(&both[..1], "a value for order"), (&[both[0], both[1], ("ordr", "7")], "no variable ordr")]
    {
        let error = engine.send_message(&caller(), filled(PHONE, None, values)).await.unwrap_err();
        assert!(error.code() == Code::VALUE_INVALID && error.message().contains(words), "{error}");
    }
    let unknown = Content::Template { name: "redy".to_owned(), values: [].into(), locale: None };
    let error =
        engine.send_message(&caller(), SendMessage { content: unknown, ..message(PHONE, "") }).await.unwrap_err();
    assert!(error.hint_text().unwrap().contains("There are ready;"), "{error}");
    assert_eq!(database.messages_out(), 3);
}

fn booked(database: &Database, phone: &str, seconds: u64) -> SendMessage {
    SendMessage { at: Some(database.now() + Duration::from_secs(seconds)), ..message(phone, TEXT) }
}

async fn what_is_booked_is_sent_when_its_time_has_come(database: &mut Database) {
    let engine = database.engine().await;
    let at = database.now() + Duration::from_secs(3600);
    let keyed = || SendMessage { at: Some(at), idempotency_key: Some("k".to_owned()), ..message(PHONE, TEXT) };
    let one = sent(&engine, keyed()).await;
    assert_eq!((one.state, one.failure().is_none()), (State::Scheduled, true));
    assert_eq!(one.expires_at, at + Duration::from_secs(4 * 3600));
    assert_eq!(sent(&engine, keyed()).await.message_id, one.message_id);
    assert_eq!(dispatch(&engine).await, Dispatched::default());
    assert_eq!(usage(&engine, phone_subject(PHONE)).await.sends.len(), 1, "it counts when it is booked");
    database.advance(3601);
    assert_eq!(dispatch(&engine).await, Dispatched { looked_at: 1, sent: 1, ..Dispatched::default() });
    assert_eq!(dispatch(&engine).await, Dispatched::default());
    assert_eq!(database.texts(PHONE).iter().map(|text| text.body.as_str()).collect::<Vec<_>>(), [TEXT]);
    assert_eq!(sent(&engine, keyed()).await.state, State::Accepted, "the key is answered by what has become of it");
    assert_eq!(database.number("SELECT count(*) FROM messages WHERE text IS NOT NULL"), 0);

    let news = News {
        provider_id: database.texts(PHONE)[0].sid.clone(),
        state: State::Delivered,
        error_code: None,
        price: None,
    };
    database.advance(4);
    engine.report(&caller(), StatusReport { message_id: one.message_id, news, to: None }).await.unwrap();
    let now = database.now();
    let report = engine.funnel(now - Duration::from_secs(7200), now, &Only::default()).await.unwrap();
    assert!(report.whole.time_to_deliver().unwrap() < 6.0, "until its time has come it is not on its way");

    let late = sent(&engine, SendMessage { at: Some(now - Duration::from_secs(60)), ..message(OTHER, TEXT) }).await;
    assert_eq!(late.state, State::Accepted, "a time that is past is now");
    let over = SendMessage { at: Some(now - Duration::from_secs(14_400)), ..message(OTHER, TEXT) };
    let error = engine.send_message(&caller(), over).await.unwrap_err();
    assert_eq!(error.code(), Code::VALUE_INVALID, "unless it is over");
    let far = engine.send_message(&caller(), booked(database, OTHER, 36 * 86_400)).await.unwrap_err();
    assert!(far.message().contains("35 days"), "{far}");
}

async fn what_is_booked_can_be_canceled_and_is_not_sent_too_late_or_to_the_unwilling(database: &mut Database) {
    let engine = database.engine().await;
    let [canceled, unwilling, late] = [PHONE, OTHER, "+14155550102"];
    let one = sent(&engine, booked(database, canceled, 3600)).await;
    assert_eq!(engine.cancel(&caller(), one.message_id, "").await.unwrap(), Canceled::Done);
    assert_eq!(usage(&engine, phone_subject(canceled)).await.sends.len(), 0, "it is given back");
    sent(&engine, booked(database, unwilling, 3600)).await;
    engine.set_opt_out(&caller(), (&Phone::from_e164(unwilling).unwrap(), true), "STOP").await.unwrap();
    database.advance(3601);
    assert_eq!(dispatch(&engine).await.failed, 1);
    // Nobody was there for longer than it was wanted; then, for less.
    let too_late = sent(&engine, booked(database, late, 3600)).await;
    database.advance(3600 + 4 * 3600);
    assert_eq!(dispatch(&engine).await.failed, 1);
    assert_eq!(state(&engine, too_late.message_id).await, State::Failed);
    assert_eq!(database.messages_out(), 0);
    sent(&engine, booked(database, late, 3600)).await;
    database.advance(3600 + 3 * 3600);
    assert_eq!(dispatch(&engine).await.sent, 1);
    assert_eq!(database.texts(late).len(), 1);
    // A copy of the database sends nothing.
    sent(&engine, booked(database, late, 3600)).await;
    let mut copy = Vec::new();
    engine.export(&caller(), &mut copy, smsotp::engine::Transfer::Copy).await.unwrap();
    let copy = String::from_utf8(copy).unwrap();
    assert!(!copy.contains("\"scheduled\",\"provider_id\"") && copy.contains("canceled"), "{copy}");
}

async fn what_two_machines_find_due_is_sent_once(database: &mut Database) {
    database.unlimited();
    let phones: Vec<String> = (0..12).map(crate::processes::phone).collect();
    let engine = database.engine().await;
    for phone in &phones {
        sent(&engine, booked(database, phone, 60)).await;
    }
    database.advance(61);
    let (one, other) = (database.engine().await, database.engine().await);
    tokio::join!(dispatch(&one), dispatch(&other));
    dispatch(&engine).await;
    for phone in &phones {
        assert_eq!(database.texts(phone).len(), 1, "{phone}");
    }
}

async fn the_key_of_what_is_booked_is_kept_until_a_day_after_its_time(database: &mut Database) {
    let engine = database.engine().await;
    let at = database.now() + Duration::from_secs(3 * 86_400);
    let keyed = || SendMessage { at: Some(at), idempotency_key: Some("k".to_owned()), ..message(PHONE, TEXT) };
    let one = sent(&engine, keyed()).await.message_id;
    for _ in 0..3 {
        database.advance(86_400);
        dispatch(&engine).await;
        purge(&engine, Duration::from_secs(86_400)).await;
        assert_eq!(sent(&engine, keyed()).await.message_id, one);
    }
    assert_eq!(database.texts(PHONE).len(), 1);
}

async fn another_provider_that_sends_it_has_its_name(database: &mut Database) {
    let engine = database.engine().await;
    sent(&engine, booked(database, PHONE, 60)).await;
    let code = {
        database.sandbox.fault(Fault::Status429 { retry_after: Some(60) }, 1);
        send(&engine, OTHER).await
    };
    database.advance(61);
    let other = engine.clone().with_provider(Arc::new(Console::new("x", |_: &str| {})));
    assert_eq!(dispatch(&other).await.sent, 2);
    assert_eq!(database.words("SELECT DISTINCT provider FROM messages"), ["console"], "so its copies are its own");
    assert_eq!(database.messages_out(), 0);
    let now = database.now();
    let report = engine.funnel(now - Duration::from_secs(3600), now, &Only::default()).await.unwrap();
    let parts: Vec<_> = report.by(By::Provider).iter().map(|(name, part)| (*name, part.messages, part.codes)).collect();
    assert_eq!(parts, [("console", 2, 1)]);
    assert_eq!(state(&engine, code.message_id).await, State::Accepted);
}

#[test]
fn what_is_booked_on_the_command_line_waits_for_dispatch() {
    let (desk, sandbox) = Desk::with_sandbox(Options::default());
    desk.run_args(["message", "send", "+14155552671", TEXT, "--at", "2h"]).expect(0).says("smsotp revoke m1");
    let shown = desk.run("show m1 --json").expect(0).json("message_timeline");
    assert_eq!((shown["message"]["state"].as_str(), shown["due_at"].is_string()), (Some("scheduled"), true));
    desk.run_args(["message", "send", "+14155552671", TEXT, "--at", "2h", "-o", "table"]).expect(0).shows("is booked.");
    let line = "{\"to\": \"+14155552673\", \"text\": \"x\", \"at\": \"2099-01-01T00:00:00Z\"}";
    desk.pipe("message send --jsonl -", line).expect(65).says("line 1: a message can be booked 35 days ahead");
    desk.run_args(["message", "send", "+14155552671", TEXT, "--at", "tomorrow"])
        .expect(65)
        .says("--at is not a moment");
    desk.run("message send +14155552671 x --at 2h --wait").expect(2);
    assert_eq!(desk.run("list --messages --state scheduled").expect(0).rows().len(), 2);
    desk.run("dispatch").expect(0);
    assert_eq!(sandbox.messages().len(), 0);
    rusqlite::Connection::open(desk.db()).unwrap().execute("UPDATE messages SET due_at = 1", []).unwrap();
    desk.run("revoke m1").expect(0);
    desk.run("dispatch").expect(0);
    assert_eq!(sandbox.messages().len(), 1);
}

#[test]
fn a_template_of_the_settings_is_sent_by_name() {
    let (desk, sandbox) = Desk::with_sandbox(Options::default());
    desk.write(
        "smsotp.toml",
        "app_name = \"ACME\"\n[messages.ready]\ntext = \"{{ name }}, order {{ order }} is ready. {{ app }}\"\n\
         [messages.ready.texts]\nde = \"{{ name }}, {{ order }} ist fertig. {{ app }}\"\n",
    );
    let send = "message send --config smsotp.toml";
    desk.run(&format!("{send} +14155552671 --template ready --var name=Ada --var order=7")).expect(0);
    desk.run(&format!("{send} +14155552672 --template ready --var name=Ada --var order=a=b --locale de-CH")).expect(0);
    desk.write(
        "one.jsonl",
        "{\"to\": \"+14155552673\", \"template\": \"ready\", \"vars\": {\"name\": \"Bea\", \"order\": 8}}\n",
    );
    desk.run(&format!("{send} --jsonl one.jsonl")).expect(0);
    let bodies: Vec<String> = sandbox.messages().into_iter().map(|sms| sms.body).collect();
    assert_eq!(bodies, ["Ada, order 7 is ready. ACME", "Ada, a=b ist fertig. ACME", "Bea, order 8 is ready. ACME"]);

    desk.run(&format!("{send} +14155552671 --template ready --var name=Ada")).expect(65).says("a value for order");
    desk.run(&format!("{send} +14155552671 --template redy")).expect(65).says("There are ready");
    desk.run(&format!("{send} +14155552671 text --template ready")).expect(2).says("--template");
    desk.run(&format!("{send} +14155552671 text --var a=b")).expect(2);
    desk.run(&format!("{send} +14155552671 --template ready --var name")).expect(2).says("name=Ada");
    for (line, words) in [
        ("{\"to\": \"+14155552673\", \"template\": \"ready\"}", "a value for name"),
        ("{\"to\": \"+14155552673\", \"template\": \"ready\", \"text\": \"x\"}", "both a text and a template"),
        ("{\"to\": \"+14155552673\"}", "neither a text nor a template"),
        ("{\"to\": \"+14155552673\", \"text\": \"x\", \"vars\": {\"a\": \"b\"}}", "for templates"),
    ] {
        desk.pipe(&format!("{send} --jsonl -"), line).expect(65).says(words);
    }
    assert_eq!(sandbox.messages().len(), 3);
    let listed = desk.run("template list --message ready --config smsotp.toml").expect(0);
    assert_eq!(
        listed.rows().iter().map(|row| [row[0], row[1], row[7]]).collect::<Vec<_>>(),
        [
            ["message ready", "en", "<name>, order <order> is ready. ACME"],
            ["message ready", "de", "<name>, <order> ist fertig. ACME"],
        ]
    );
    let all = desk.run("template list --config smsotp.toml --json").expect(0).json("text_list");
    assert_eq!(all["items"].as_array().unwrap().iter().filter(|row| row["message"] == "ready").count(), 2);
    desk.run("template check --message ready --config smsotp.toml -o table")
        .expect(0)
        .shows("[ ok ] message ready, de");
    desk.run("template check --message redy --config smsotp.toml").expect(65).says("Did you mean ready?");
    desk.run("template check --message ready").expect(65).says("[messages.NAME]");
    desk.write("long.toml", format!("[messages.long]\ntext = \"{}\"\n", "ж".repeat(700)));
    desk.run("template check --config long.toml").expect(1).shows("message long");
    desk.run("config show --config smsotp.toml").expect(0).shows("messages.ready").shows("texts.de = ");
    for (toml, words) in [
        ("[messages.ready]\ntext = \"{{ name\"\n", "messages.ready.text cannot be used"),
        ("[messages.ready.texts]\nde = \"x\"\n", "messages.ready.text is missing"),
        ("[messages.Ready]\ntext = \"x\"\n", "messages.Ready is not a name"),
        ("[messages.ready]\ntxt = \"x\"\n", "text"),
    ] {
        desk.write("wrong.toml", toml);
        desk.run("config check --config wrong.toml").expect(78).says(words);
    }
}

#[test]
fn a_message_goes_out_from_the_command_line_and_is_shown_without_its_text() {
    let (desk, sandbox) = Desk::with_sandbox(Options { pace: Pace::Manual, ..Options::default() });

    let ran = desk.run_args(["message", "send", "+14155552671", TEXT]).expect(0).says("smsotp show m1");
    assert_eq!(ran.rows()[0][..4], ["m1", "+1415•••2671", "accepted", "1"]);
    assert_eq!(sandbox.messages()[0].body, TEXT);
    let sent = desk.pipe("message send +14155552671 - --json", "From a file,\nin two lines\n").expect(0);
    assert_eq!(sent.json("message_sent")["segments"], 1);
    assert_eq!(sandbox.messages()[1].body, "From a file,\nin two lines");

    sandbox.set_status(&sandbox.messages()[0].sid, "undelivered", Some(30_005));
    let shown = desk.run("show m1").expect(0);
    assert!(shown.out.contains("message.send") && shown.out.contains("poll"), "{}", shown.out);
    let all = desk.run("show m1 --json").expect(0).json("message_timeline");
    assert_eq!(all["message"]["state"], "undelivered");
    assert!(!all.to_string().contains("table"), "no text, and no whole number: {all}");
    assert!(!all.to_string().contains("4155552671"));
    desk.run("show +14155552671").expect(0).shows("message.send");
    desk.run("show m99").expect(1).says("there is no such message");
    assert_eq!(desk.run("list --messages").expect(0).rows().len(), 2);

    let waited = desk.run_args(["message", "send", "+14155552672", "Wait", "--wait=1s"]).expect(0);
    assert_eq!(waited.rows()[0][2], "accepted", "the sandbox reports nothing by itself here");
}

#[test]
fn wrong_input_is_told_before_anything_is_sent() {
    let (desk, sandbox) = Desk::with_sandbox(Options::default());
    let long = "a".repeat(200);

    desk.run_args(["message", "send", "12345", TEXT]).expect(65).says("12345");
    desk.run_args(["message", "send", "+14155552671", " "]).expect(65).says("has no text");
    desk.run_args(["message", "send", "+14155552671"]).expect(2).says("TEXT");
    desk.run_args(["message", "send", "+14155552671", &long, "--allow-segments", "1"]).expect(65).says("2 segments");
    desk.run_args(["message", "send", "+14155552671", &long, "--max-cost", "0.01"])
        .expect(77)
        .says("0.01 US$ are allowed");
    desk.run_args(["message", "send", "+14155552671", TEXT, "--max-cost", "much"]).expect(2).says("--max-cost");
    desk.run_args(["message", "send", "+14155552671", TEXT, "--max-cost=-1"]).expect(65).says("0.05");
    desk.run_args(["message", "send", "+14155552671", TEXT, "--valid-for", "3s"]).expect(65).says("ten hours");
    desk.run_args(["message", "send", "+14155552671", TEXT, "--override", "phone"]).expect(2).says("--reason");
    desk.pipe("message send +14155552671 -", "a".repeat(7000)).expect(65).says("1600");
    desk.pipe("message send +14155552671 -", [0xff, 0xfe]).expect(74).says("standard input");
    assert_eq!(sandbox.messages().len(), 0);
}

#[test]
fn what_waits_is_canceled_from_the_command_line() {
    let (desk, sandbox) = Desk::with_sandbox(Options::default());
    sandbox.fault(Fault::Status429 { retry_after: Some(600) }, 1);
    desk.run_args(["message", "send", "+14155552671", TEXT]).expect(75).says("It is kept").says("Do not send it again");
    desk.run("revoke m1 --reason stop").expect(0).shows("m1");
    desk.run("revoke m1").expect(1).says("it is canceled");
    desk.run("revoke m2").expect(1).says("no message m2");
    desk.run("send +14155552672").expect(0);
    desk.run("revoke m2").expect(65).says("codes are revoked").says("smsotp revoke 1");
    assert_eq!(sandbox.messages().len(), 1);
}

#[test]
fn a_service_sends_messages_over_the_api_and_reads_what_became_of_them() {
    let world = World::unlimited();
    let engine = world.engine();
    let token = service_token(&engine, "message");
    let window = Window::open(&world);
    let path = "/api/v1/messaging/messages/";
    let body = serde_json::json!({ "phone_number": PHONE, "text": TEXT }).to_string();

    let expect = |answer: Answer, status: u16| {
        assert_eq!(answer.status, status, "{answer:?}");
        answer.json()
    };
    let answer = expect(window.post(path, &token, &body), 200);
    assert_eq!((answer["message_id"].as_str(), answer["state"].as_str()), (Some("m1"), Some("accepted")), "{answer}");
    assert_eq!(world.texts(PHONE)[0].body, TEXT);
    let state = expect(window.get("/api/v1/messaging/messages/m1", &token), 200);
    assert_eq!((state["state"].as_str(), state["final"].as_bool()), (Some("accepted"), Some(false)), "{state}");
    block_on(send(&engine, PHONE));
    let code = expect(window.get("/api/v1/messaging/messages/m2/", &token), 200);
    assert_eq!(code["otp_id"], 1, "of codes too: {code}");
    assert!(!code.to_string().contains(PHONE) && !state.to_string().contains(TEXT));

    for (id, status, code) in
        [("m3", 404, "no_such_message"), ("3", 422, "value_invalid"), ("mx", 422, "value_invalid")]
    {
        let problem = expect(window.get(&format!("/api/v1/messaging/messages/{id}/"), &token), status);
        assert_eq!(problem["code"], code, "{id}");
    }
    for wrong in [
        r#"{"phone_number": "+14155550100"}"#,
        r#"{"phone_number": "+14155550100", "text": "x", "template": "ready"}"#,
        r#"{"phone_number": "+14155550100", "text": "x", "locale": "de"}"#,
        r#"{"phone_number": "+14155550100", "template": "ready"}"#,
        r#"{"phone_number": "+14155550100", "text": ""}"#,
        r#"{"phone_number": "+14155550100", "text": "x", "user": "ada"}"#,
        r#"{"phone_number": "+14155550100", "text": "x", "segments_max": 11}"#,
        r#"{"phone_number": "+14155550100", "text": "x", "valid_for_seconds": 59}"#,
        r#"{"phone_number": "12345", "text": "x"}"#,
    ] {
        expect(window.post(path, &token, wrong), 422);
    }
    expect(window.post(path, &service_token(&engine, "send,verify,read"), &body), 403);
    expect(window.get("/api/v1/messaging/messages/m1", &service_token(&engine, "send")), 403);
    expect(window.post(path, &token_of(&engine, "ada", "message"), &body), 403);
    expect(window.get("/api/v1/messaging/messages/m1", &token_of(&engine, "ada", "message")), 403);
    assert_eq!(world.messages_out(), 2);

    world.sandbox.fault(Fault::Status429 { retry_after: Some(600) }, 1);
    let busy = expect(window.post(path, &token, &body), 503);
    assert_eq!((busy["code"].as_str(), busy["message_id"].as_str()), (Some("provider_busy"), Some("m3")), "{busy}");
    assert!(busy["hint"].as_str().unwrap().contains("Do not repeat it"), "{busy}");
}
