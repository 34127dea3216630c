//! The operator's lists: what is blocked gets no message from then on, what is allowed is known to the rules, opt-outs are kept.

use std::time::Duration;

use serde_json::json;
use smsotp::engine::{AddEntry, AddedEntry, Engine, Inbound, InboundText, SendAnswer, SendOtp, Verdict};
use smsotp::error::Code;
use smsotp::lists::{About, ListEntry, Listed, Network, Prefix, Side};
use smsotp::otp::User;
use smsotp::phone::{self, Phone};
use smsotp::store::{Decision, Needs, operate};

use crate::desk::Desk;
use crate::dispatching::waiting;
use crate::stores::{Database, on_every_store};
use crate::window::Window;
use crate::world::{
    OTHER, PHONE, World, ada, ask, caller, client, dispatch, phone_subject, purge, refusal, refused, send, send_as,
    usage, verdict,
};

on_every_store![
    what_is_blocked_gets_no_message_and_everything_else_does,
    a_block_comes_before_limits_and_charges_nobody,
    a_block_stops_messages_and_not_a_code_that_is_out,
    a_block_ends_by_itself_and_is_purged,
    adding_the_same_again_changes_reason_and_end_and_removing_what_is_not_there_does_nothing,
    what_is_allowed_is_known_to_the_rules_and_a_block_decides,
    a_message_that_waits_is_not_sent_to_who_was_blocked_meanwhile,
    a_block_is_in_force_for_each_send_that_begins_after_it,
    a_block_counts_what_it_refused_without_a_row_for_each,
    an_opt_out_is_set_listed_and_cleared_by_staff,
    lists_are_read_page_by_page,
    a_list_keeps_nobody_in_plain_text,
];

fn phone_of(text: &str) -> Listed {
    Listed::Phone(Phone::from_e164(text).unwrap())
}

fn prefix(text: &str) -> Listed {
    Listed::Prefix(Prefix::parse(text).unwrap())
}

fn entry(side: Side, listed: &Listed) -> AddEntry {
    AddEntry { side, listed: listed.clone(), until: None, reason: "pumping".to_owned() }
}

async fn add(engine: &Engine, side: Side, listed: &Listed) -> AddedEntry {
    engine.add_entry(&caller(), entry(side, listed)).await.unwrap()
}

async fn remove(engine: &Engine, side: Side, listed: &Listed) -> Option<ListEntry> {
    engine.remove_entry(&caller(), (side, listed), "over").await.unwrap()
}

/// Every kind of thing that a message of ada's to the usual phone, asked for at 203.0.113.7, is about.
fn everything_about_it() -> Vec<Listed> {
    vec![
        phone_of(PHONE),
        prefix("+1415"),
        Listed::Country("US"),
        Listed::User(ada()),
        Listed::client("203.0.113.7".parse().unwrap()),
        Listed::Network(Network::parse("203.0.113.0/24").unwrap()),
    ]
}

/// What is said to ada, who asks at 203.0.113.7.
async fn answer(engine: &Engine, phone: &str) -> SendAnswer {
    engine.send(&client("203.0.113.7"), ask(phone)).await.unwrap()
}

/// What a send of ada's to the usual phone is told by the lists.
async fn is_allowed(engine: &Engine) -> bool {
    let number = phone::parse(PHONE, None).unwrap();
    let user = ada();
    let about = About { phone: &number.phone, country: number.country.as_deref(), user: &user, ip: None };
    let operations = engine.store().operations.as_ref();
    let index = &operations.keys().index;
    let needs = Needs { lists: about.keys(|kind, value| index.tag(kind, value)), ..Needs::default() };
    operate(operations, needs, |facts| Ok(Decision::Nothing(facts.allowed()))).await.unwrap()
}

async fn what_is_blocked_gets_no_message_and_everything_else_does(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    for listed in everything_about_it() {
        let added = add(&engine, Side::Block, &listed).await;
        assert_eq!((added.was_there, added.entry.kind), (false, listed.kind()));
        let no = refused(answer(&engine, PHONE).await);
        assert_eq!((no.code, no.retry_after_seconds), (Code::BLOCKED, None), "{listed:?}");
        assert!(no.hint.contains("smsotp block remove ") && no.hint.contains("pumping"), "{}", no.hint);
        assert!(!no.message.contains(PHONE) && !no.hint.contains(PHONE), "{no:?}");
        assert_eq!(database.texts(PHONE).len(), 0);

        // Somebody else, elsewhere, at another place.
        let elsewhere = SendOtp { user: User::parse("bob").unwrap(), ..ask("+447400123456") };
        send_as(&engine, &client("198.51.100.7"), elsewhere).await;

        assert!(remove(&engine, Side::Block, &listed).await.is_some());
    }
    send_as(&engine, &client("203.0.113.7"), ask(PHONE)).await;
    assert_eq!(database.texts(PHONE).len(), 1);
}

async fn a_block_comes_before_limits_and_charges_nobody(database: &mut Database) {
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    let before = usage(&engine, phone_subject(PHONE)).await.sends;
    add(&engine, Side::Block, &phone_of(PHONE)).await;
    // In the middle of the cooldown: the block is what is said.
    assert_eq!(refusal(&engine, PHONE).await.code, Code::BLOCKED);
    assert_eq!(usage(&engine, phone_subject(PHONE)).await.sends, before);
    remove(&engine, Side::Block, &phone_of(PHONE)).await;
    assert_eq!(refusal(&engine, PHONE).await.code, Code::RATE_LIMITED);
}

async fn a_block_stops_messages_and_not_a_code_that_is_out(database: &mut Database) {
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    for listed in everything_about_it() {
        add(&engine, Side::Block, &listed).await;
    }
    assert_eq!(verdict(&engine, PHONE, &database.code_on(PHONE)).await, Verdict::Verified);
}

async fn a_block_ends_by_itself_and_is_purged(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    let country = Listed::Country("US");
    let past = AddEntry { until: Some(database.now()), ..entry(Side::Block, &country) };
    assert_eq!(engine.add_entry(&caller(), past).await.unwrap_err().code(), Code::VALUE_INVALID);
    let until = Some(database.now() + Duration::from_secs(3600));
    engine.add_entry(&caller(), AddEntry { until, ..entry(Side::Block, &country) }).await.unwrap();
    add(&engine, Side::Block, &phone_of(OTHER)).await;

    database.advance(3599);
    assert_eq!(refusal(&engine, PHONE).await.code, Code::BLOCKED);
    database.advance(1);
    send(&engine, PHONE).await;
    assert_eq!(engine.entries(None, None, 10).await.unwrap().len(), 1, "one that has ended is not shown");
    assert_eq!(remove(&engine, Side::Block, &country).await, None);
    assert_eq!(purge(&engine, Duration::ZERO).await.purged.list_entries, 1);
    assert_eq!(refusal(&engine, OTHER).await.code, Code::BLOCKED, "one without an end stays");
}

async fn adding_the_same_again_changes_reason_and_end_and_removing_what_is_not_there_does_nothing(
    database: &mut Database,
) {
    let engine = database.engine().await;
    let first = add(&engine, Side::Block, &prefix("+99290")).await.entry;
    database.advance(60);
    let rows = database.audit().len();
    assert!(add(&engine, Side::Block, &prefix("+99290")).await.was_there);
    assert_eq!(database.audit().len(), rows, "the same again changes nothing");

    let until = Some(database.now() + Duration::from_secs(7200));
    let again = AddEntry { until, reason: "still".to_owned(), ..entry(Side::Block, &prefix("+99290*")) };
    let again = engine.add_entry(&caller(), again).await.unwrap();
    assert!(again.was_there && again.blocked_by.is_none());
    assert_eq!((again.entry.since, again.entry.until, again.entry.reason.as_str()), (first.since, until, "still"));
    assert_eq!(database.number("SELECT count(*) FROM list_entries"), 1);

    assert_eq!(remove(&engine, Side::Allow, &prefix("+99290")).await, None, "it is on the other list");
    assert_eq!(remove(&engine, Side::Block, &prefix("+9929")).await, None);
    assert!(remove(&engine, Side::Block, &prefix("+99290")).await.is_some());
    assert_eq!(remove(&engine, Side::Block, &prefix("+99290")).await, None);
    assert_eq!(database.audit(), ["block added", "block changed", "block removed"]);
    let nameless = AddEntry { reason: String::new(), ..entry(Side::Block, &prefix("+99290")) };
    assert_eq!(engine.add_entry(&caller(), nameless).await.unwrap_err().code(), Code::VALUE_INVALID);
}

async fn what_is_allowed_is_known_to_the_rules_and_a_block_decides(database: &mut Database) {
    let engine = database.engine().await;
    assert!(!is_allowed(&engine).await);
    for listed in [phone_of(PHONE), prefix("+1415"), Listed::Country("US"), Listed::User(ada())] {
        add(&engine, Side::Allow, &listed).await;
        assert!(is_allowed(&engine).await, "{listed:?}");
        add(&engine, Side::Block, &listed).await;
        assert!(!is_allowed(&engine).await, "{listed:?}");
        assert_eq!(refusal(&engine, PHONE).await.code, Code::BLOCKED);
        // Whoever allows what is blocked is shown the block.
        let allowed = AddEntry { reason: "again".to_owned(), ..entry(Side::Allow, &listed) };
        let blocked_by = engine.add_entry(&caller(), allowed).await.unwrap().blocked_by.unwrap();
        assert_eq!((blocked_by.side, blocked_by.shown), (Side::Block, listed.shown()));
        for side in [Side::Allow, Side::Block] {
            remove(&engine, side, &listed).await;
        }
    }
    // The number in a blocked country that is allowed gets its code; the limits hold it back as any other.
    add(&engine, Side::Block, &Listed::Country("US")).await;
    add(&engine, Side::Allow, &phone_of(PHONE)).await;
    send(&engine, PHONE).await;
    assert_eq!(refusal(&engine, PHONE).await.code, Code::RATE_LIMITED);
    assert_eq!(refusal(&engine, OTHER).await.code, Code::BLOCKED);
}

async fn a_message_that_waits_is_not_sent_to_who_was_blocked_meanwhile(database: &mut Database) {
    database.unlimited();
    for listed in [phone_of(PHONE), prefix("+1415"), Listed::Country("US"), Listed::User(ada())] {
        waiting(database, PHONE).await;
        let engine = database.engine().await;
        add(&engine, Side::Block, &listed).await;
        assert_eq!(refusal(&engine, PHONE).await.code, Code::BLOCKED, "asking again does not send it");
        let done = dispatch(&engine).await;
        assert_eq!((done.sent, done.failed), (0, 1), "{listed:?} {done:?}");
        remove(&engine, Side::Block, &listed).await;
        assert_eq!(dispatch(&engine).await.looked_at, 0, "it has failed for good");
    }
    assert_eq!(database.texts(PHONE).len(), 0);
}

async fn a_block_is_in_force_for_each_send_that_begins_after_it(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    let mut sends = Vec::new();
    for n in 0..40 {
        let engine = engine.clone();
        // Blocked while others are sent to: whoever begins after it is refused, and nobody else is.
        if n == 20 {
            add(&engine, Side::Block, &Listed::Country("US")).await;
        }
        let to = format!("+141555501{n:02}");
        sends.push((n, tokio::spawn(async move { engine.send(&caller(), ask(&to)).await.unwrap() })));
        if n == 19 {
            for (_, sending) in &mut sends {
                assert!(matches!(sending.await.unwrap(), SendAnswer::Sent(_)));
            }
            sends.clear();
        }
    }
    for (n, sending) in sends {
        assert_eq!(refused(sending.await.unwrap()).code, Code::BLOCKED, "{n}");
    }
    assert_eq!(database.messages_out(), 20);
}

async fn a_block_counts_what_it_refused_without_a_row_for_each(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    add(&engine, Side::Block, &prefix("+1415")).await;
    let rows = database.audit().len();
    for _ in 0..30 {
        refused(answer(&engine, PHONE).await);
    }
    assert_eq!(database.audit().len(), rows + 1);
    database.advance(86_400);
    refused(answer(&engine, PHONE).await);
    let (_, entry) = engine.entries(Some(Side::Block), None, 10).await.unwrap().remove(0);
    assert_eq!((entry.hits, entry.hit_at), (31, Some(database.now())));
    // Changing the entry keeps the count.
    let changed = AddEntry { reason: "still".to_owned(), ..entry_of_prefix() };
    engine.add_entry(&caller(), changed).await.unwrap();
    assert_eq!(engine.entries(Some(Side::Block), None, 10).await.unwrap()[0].1.hits, 31);
}

fn entry_of_prefix() -> AddEntry {
    entry(Side::Block, &prefix("+1415"))
}

async fn an_opt_out_is_set_listed_and_cleared_by_staff(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    let phone = Phone::from_e164(PHONE).unwrap();
    let set = async |opted_out| engine.set_opt_out(&caller(), (&phone, opted_out), "wrote to us").await.unwrap();

    assert!(!set(false).await, "there was none");
    assert!(set(true).await && !set(true).await);
    assert_eq!(refusal(&engine, PHONE).await.code, Code::OPTED_OUT);
    let stop = InboundText { id: "SM1", from: &Phone::from_e164(OTHER).unwrap(), what: Inbound::Stop };
    engine.inbound(&caller(), stop).await.unwrap();

    let mut shown: Vec<String> =
        engine.opted_out(None, 10).await.unwrap().into_iter().map(|phone| phone.shown).collect();
    shown.sort();
    assert_eq!(shown, ["+1415•••0100", "+1415•••0101"]);
    let first = engine.opted_out(None, 1).await.unwrap().remove(0);
    let rest = engine.opted_out(Some(first.id), 10).await.unwrap();
    assert_eq!(rest.len(), 1);
    assert_ne!(rest[0].shown, first.shown);

    assert!(set(false).await);
    send(&engine, PHONE).await;
    assert_eq!(engine.opted_out(None, 10).await.unwrap().len(), 1);
    let no_reason = engine.set_opt_out(&caller(), (&phone, true), "").await.unwrap_err();
    assert_eq!(no_reason.code(), Code::VALUE_INVALID);
}

async fn lists_are_read_page_by_page(database: &mut Database) {
    let engine = database.engine().await;
    for n in 0..7 {
        let side = if n % 2 == 0 { Side::Block } else { Side::Allow };
        add(&engine, side, &prefix(&format!("+99{n}"))).await;
    }
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = engine.entries(None, before, 3).await.unwrap();
        let Some((number, _)) = page.last() else { break };
        before = Some(*number);
        seen.extend(page.into_iter().map(|(_, entry)| entry.shown));
    }
    assert_eq!(seen, ["+996", "+995", "+994", "+993", "+992", "+991", "+990"]);
    assert_eq!(engine.entries(Some(Side::Allow), None, 10).await.unwrap().len(), 3);
}

async fn a_list_keeps_nobody_in_plain_text(database: &mut Database) {
    let engine = database.engine().await;
    for listed in [phone_of(PHONE), Listed::client("203.0.113.7".parse().unwrap())] {
        add(&engine, Side::Block, &listed).await;
    }
    let kept = database.words(r#"SELECT "key" FROM list_entries"#);
    assert!(kept.iter().all(|key| !key.contains(PHONE) && !key.contains("203.0.113.7")), "{kept:?}");
    assert_eq!(database.words("SELECT shown FROM list_entries WHERE kind = 'phone'"), ["+1415•••0100"]);
}

#[test]
fn over_the_rest_api_the_person_learns_nothing() {
    let world = World::new();
    let engine = world.engine();
    crate::world::block_on(async {
        add(&engine, Side::Block, &prefix("+1415")).await;
    });
    let made = crate::window::token_of(&engine, "ada", "send,verify");
    let window = Window::open(&world);

    let ask = json!({"phone_number": PHONE, "purpose": "login"}).to_string();
    let refused = window.post("/api/v1/messaging/send-otp/", &made, &ask);

    assert_eq!((refused.status, refused.code().as_str()), (403, "refused"));
    for word in ["block", "list", "1415", "pumping", "smsotp"] {
        assert!(!refused.body.contains(&format!(" {word}")), "{word}: {}", refused.body);
    }
}

#[test]
fn the_command_line_blocks_allows_lists_and_removes() {
    let desk = Desk::new();

    let added = desk.run("block add +99290 --reason pumping --for 2h --json").expect(0);
    let added = added.json("list_entry_changed");
    assert_eq!(
        (&added["change"], &added["type"], &added["value"]),
        (&json!("added"), &json!("prefix"), &json!("+99290"))
    );
    // As an alarm says it.
    let allowed = desk.run("block allow TJ --for 2h --reason TEXT --json").expect(0).json("list_entry_changed");
    assert_eq!(
        (&allowed["list"], &allowed["type"], &allowed["value"]),
        (&json!("allow"), &json!("country"), &json!("TJ"))
    );
    desk.run(&format!("block add {PHONE} --reason x")).expect(0);
    desk.run("block add --user mallory --reason x").expect(0);
    desk.run("block add 203.0.113.7 --reason x").expect(0);
    desk.run("block add --ip 198.51.100.0/24 --reason x").expect(0);
    desk.run("block add 2001:db8::/32 --allow --reason x").expect(0);

    let list = desk.run("block list --json").expect(0).json("list_entry_list");
    let shown: Vec<_> = list["items"].as_array().unwrap().iter().map(|item| item["value"].as_str().unwrap()).collect();
    let all = ["2001:db8::/32", "198.51.100.0/24", "203.0.113.7", "mallory", "+1415•••0100", "TJ", "+99290"];
    assert_eq!(shown, all);
    assert_eq!(desk.run("block list --allow").expect(0).rows().len(), 2);
    let page = desk.run("block list --limit 3 --json").expect(0).json("list_entry_list");
    assert_eq!(page["more"], 4);
    let next = format!("block list --after {}", page["next_after"].as_str().unwrap());
    assert_eq!(desk.run(&next).expect(0).rows().len(), 4);

    let no = desk.run(&format!("send {PHONE}")).expect(77);
    assert!(no.err.contains("smsotp block remove PHONE"), "{}", no.err);
    desk.run(&format!("block remove {PHONE}")).expect(0);
    desk.run(&format!("send {PHONE}")).expect(0);
    desk.run("block remove +99290").expect(0);
    let gone = desk.run("block remove +99290").expect(1);
    assert!(gone.err.contains("is not blocked"), "{}", gone.err);
    desk.run("block remove TJ").expect(1);
    desk.run("block remove TJ --allow").expect(0);
}

#[test]
fn what_is_blocked_is_told_apart_by_its_form_and_the_rest_is_refused() {
    let desk = Desk::new();
    let kind = |what: &str| {
        let ran = desk.run(&format!("block add {what} --reason x --json")).expect(0);
        ran.json("list_entry_changed")["type"].as_str().unwrap().to_owned()
    };
    for (what, is) in [
        ("+1", "prefix"),
        ("+992901234*", "prefix"),
        ("+992901234567*", "prefix"),
        ("us", "country"),
        ("+14155552671", "phone"),
        ("4155552671 --region US", "phone"),
        ("::1", "ip"),
        ("10.0.0.0/8", "network"),
    ] {
        assert_eq!(kind(what), is, "{what}");
    }
    // A number that no plan knows may be a mistake: a prefix says so with its star.
    let mistyped = desk.run("block add +11234567890 --reason x").expect(65);
    assert!(mistyped.err.contains("+11234567890*"), "{}", mistyped.err);
    for bad in ["UK", "+0", "4155552671", "10.0.0.0/33", "--ip nowhere"] {
        desk.run(&format!("block add {bad} --reason x")).expect(65);
    }
    desk.run_args(["block", "add", "--user", "", "--reason", "x"]).expect(65);
    desk.run("block add --reason x").expect(2);
    desk.run("block add TJ").expect(2);
    desk.run("block add TJ --reason x --for 2h --until 2030-01-01").expect(2);
    desk.run("block add TJ --reason x --until 2020-01-01").expect(65);
    desk.run("block add TJ --reason x --opt-out").expect(65);
    desk.run("block list --after x").expect(65);
}

#[test]
fn an_opt_out_is_kept_by_hand() {
    let desk = Desk::new();
    desk.run(&format!("block add {PHONE} --opt-out")).expect(2);
    desk.run_args(["block", "add", PHONE, "--opt-out", "--reason", "wrote to support"]).expect(0);
    desk.run(&format!("send {PHONE}")).expect(77);
    let list = desk.run("block list --opt-out --json").expect(0).json("opt_out_list");
    assert_eq!(list["items"][0]["phone"], "+1415•••0100");
    desk.run(&format!("block remove {PHONE} --opt-out")).expect(2);
    desk.run(&format!("block remove {PHONE} --opt-out --reason asked")).expect(0);
    desk.run(&format!("block remove {PHONE} --opt-out --reason asked")).expect(1);
    desk.run(&format!("send {PHONE}")).expect(0);
}
