//! forget: a person's data goes, here and at the provider; what has to stay names nobody; what is unsettled is finished later.

use smsotp::engine::{AddEntry, Engine, Erased, Forget, NewToken, SendOtp, Verdict, Whose};
use smsotp::error::Code;
use smsotp::lists::{FORGOTTEN, Listed, Side};
use smsotp::otp::User;
use smsotp::phone::Phone;
use smsotp::provider::{Erasure, Provider};
use smsotp::sandbox::{Fault, On, Options, Pace};
use smsotp::store::Subject;
use smsotp::token::Scopes;

use crate::desk::Desk;
use crate::dispatching::waiting;
use crate::stores::{Database, on_every_store};
use crate::world::{
    OTHER, PHONE, ada, ask, caller, client, dispatch, files, holds, phone_subject, refusal, send, send_as, usage,
    verdict,
};

on_every_store![
    a_phone_is_forgotten_here_and_at_the_provider_and_nobody_else_is,
    a_user_is_forgotten_with_their_codes_and_tokens,
    a_dry_run_counts_what_the_real_one_erases_and_changes_nothing,
    a_message_of_which_nothing_is_known_is_settled_first_and_forgotten_then,
    a_message_that_waits_is_never_sent,
    what_the_provider_deletes_only_later_is_emptied_now_and_finished_then,
    a_provider_that_cannot_be_asked_loses_no_id,
    an_opt_out_and_a_block_outlive_the_person_without_a_name,
    running_it_twice_erases_nothing_more,
    a_run_that_is_stopped_is_finished_by_the_next,
    sums_of_others_stay_as_they_are,
];

fn forget_phone(phone: &str) -> Forget {
    Forget {
        phone: Some(Phone::from_e164(phone).unwrap()),
        user: User::default(),
        reason: "ticket 12".to_owned(),
        dry_run: false,
        local: false,
    }
}

async fn forget(engine: &Engine, whom: Forget) -> Erased {
    engine.forget(&caller(), &whom, |_| true).await.unwrap()
}

/// Messages of the sandbox that a client of the account still finds.
fn at_provider(database: &Database, phone: &str) -> usize {
    database.texts(phone).iter().filter(|message| !message.deleted).count()
}

/// The files of PostgreSQL are its own: it vacuums them.
fn scrubbed(database: &Database) -> Option<bool> {
    Some(database.url.is_none())
}

/// Everything on its way has arrived, and the database knows.
async fn arrived(database: &Database) {
    for _ in 0..4 {
        database.sandbox.step();
    }
}

async fn a_phone_is_forgotten_here_and_at_the_provider_and_nobody_else_is(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    let keyed = SendOtp { idempotency_key: Some("k".to_owned()), ..ask(PHONE) };
    send_as(&engine, &client("203.0.113.7"), keyed).await;
    verdict(&engine, PHONE, &database.code_on(PHONE)).await;
    // Live, of another user.
    send_as(&engine, &caller(), SendOtp { user: User::parse("bob").unwrap(), ..ask(PHONE) }).await;
    send(&engine, OTHER).await;
    arrived(database).await;

    let erased = forget(&engine, forget_phone(PHONE)).await;

    assert_eq!((erased.otps, erased.messages, erased.copies), (2, 2, 2), "{erased:?}");
    assert!(!erased.kept.is_unfinished() && erased.kept == smsotp::engine::Kept::default(), "{erased:?}");
    for table in ["otps", "messages"] {
        assert_eq!(database.words(&format!("SELECT phone_number FROM {table}")), [OTHER], "{table}");
    }
    assert_eq!(database.number("SELECT count(*) FROM replies"), 0);
    assert_eq!(database.words("SELECT masked FROM subjects WHERE kind = 'phone'"), ["+1415•••0101"]);
    assert_eq!(database.words("SELECT masked FROM subjects WHERE kind = 'pair'").len(), 0);
    assert_eq!((at_provider(database, PHONE), at_provider(database, OTHER)), (0, 1));
    assert_eq!(erased.scrubbed, scrubbed(database));
    if database.url.is_none() {
        for (path, bytes) in files(database.dir.path()) {
            assert!(!holds(&bytes, PHONE.as_bytes()), "{}", path.display());
        }
    }
    // The other's code lives, and the forgotten one may ask again as a stranger.
    assert_eq!(verdict(&engine, OTHER, &database.code_on(OTHER)).await, Verdict::Verified);
    send(&engine, PHONE).await;
}

async fn a_user_is_forgotten_with_their_codes_and_tokens(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    for phone in [PHONE, OTHER] {
        send(&engine, phone).await;
    }
    send_as(&engine, &caller(), SendOtp { user: User::parse("bob").unwrap(), ..ask(PHONE) }).await;
    let token = |whose| NewToken {
        name: String::new(),
        scopes: Scopes::parse("send").unwrap(),
        whose,
        expires_at: None,
        rate: None,
        conversion_unknown: false,
    };
    let (_, hers) = engine.create_token(&caller(), token(Whose::User(ada()))).await.unwrap();
    engine.create_token(&caller(), token(Whose::Service)).await.unwrap();
    arrived(database).await;

    let whom = Forget { phone: None, user: ada(), ..forget_phone(PHONE) };
    let erased = forget(&engine, whom).await;

    assert_eq!((erased.otps, erased.tokens), (2, 1), "{erased:?}");
    assert_eq!(database.words(r#"SELECT "user" FROM otps"#), ["bob"]);
    assert_eq!(engine.tokens().await.unwrap().len(), 1);
    assert!(engine.bearer(hers.expose()).await.unwrap().is_none());
    assert_eq!(database.words("SELECT masked FROM subjects WHERE kind = 'user'"), ["bob"]);
    assert!(usage(&engine, phone_subject(PHONE)).await.seen > 0, "the phone is somebody else's too");
}

async fn a_dry_run_counts_what_the_real_one_erases_and_changes_nothing(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    arrived(database).await;
    let listed = Listed::Phone(Phone::from_e164(PHONE).unwrap());
    let entry = AddEntry { side: Side::Allow, listed, until: None, reason: "tester".to_owned() };
    engine.add_entry(&caller(), entry).await.unwrap();
    let rows = database.audit().len();

    let both = Forget { user: ada(), ..forget_phone(PHONE) };
    let counted = forget(&engine, Forget { dry_run: true, reason: String::new(), ..both.clone() }).await;

    assert_eq!((database.audit().len(), at_provider(database, PHONE)), (rows, 1));
    assert_eq!(verdict(&engine, PHONE, &database.code_on(PHONE)).await, Verdict::Verified);
    let erased = forget(&engine, both).await;
    assert_eq!(erased.scrubbed, scrubbed(database));
    assert_eq!((counted.otps, counted.messages, counted.copies), (erased.otps, erased.messages, erased.copies));
    assert_eq!((counted.list_entries, erased.list_entries), (1, 1));
}

async fn a_message_of_which_nothing_is_known_is_settled_first_and_forgotten_then(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    database.sandbox.fault(Fault::ResetAfterAccepting, 1);
    send(&engine, PHONE).await;
    // While the provider cannot be asked either, nothing is lost that is needed to find out.
    database.sandbox.fault_on(On::Other, Fault::Error500, 20);
    let erased = forget(&engine, forget_phone(PHONE)).await;
    assert_eq!((erased.otps, erased.kept.open), (0, 1), "{erased:?}");
    assert_eq!(database.words("SELECT state FROM messages"), ["unknown"]);
    assert_eq!(database.words("SELECT state FROM otps"), ["revoked"], "its code opens nothing any more");

    database.sandbox.clear_faults();
    arrived(database).await;
    database.advance(700);
    let erased = forget(&engine, forget_phone(PHONE)).await;
    assert_eq!((erased.otps, erased.copies, erased.kept.open), (1, 1, 0), "{erased:?}");
    assert_eq!(at_provider(database, PHONE), 0);
    assert_eq!(database.number("SELECT count(*) FROM messages"), 0);
}

async fn a_message_that_waits_is_never_sent(database: &mut Database) {
    database.unlimited();
    waiting(database, PHONE).await;
    let engine = database.engine().await;
    let erased = forget(&engine, forget_phone(PHONE)).await;
    assert_eq!((erased.otps, erased.messages, erased.copies), (1, 1, 0), "{erased:?}");
    dispatch(&engine).await;
    assert_eq!(database.texts(PHONE).len(), 0);
}

async fn what_the_provider_deletes_only_later_is_emptied_now_and_finished_then(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    send(&engine, PHONE).await;

    let erased = forget(&engine, forget_phone(PHONE)).await;

    assert_eq!((erased.otps, erased.kept.redacted), (0, 1), "{erased:?}");
    assert!(database.texts(PHONE)[0].body.is_empty() && at_provider(database, PHONE) == 1);
    arrived(database).await;
    let erased = forget(&engine, forget_phone(PHONE)).await;
    assert_eq!((erased.otps, erased.copies, erased.kept.redacted), (1, 1, 0), "{erased:?}");
    assert_eq!(at_provider(database, PHONE), 0);
}

async fn a_provider_that_cannot_be_asked_loses_no_id(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    send(&engine, PHONE).await;
    arrived(database).await;
    database.sandbox.fault_on(On::Other, Fault::Error500, 1);

    let erased = forget(&engine, forget_phone(PHONE)).await;
    assert_eq!((erased.otps, erased.kept.unasked), (0, 1), "{erased:?}");
    assert!(erased.kept.why.as_ref().is_some_and(|why| !why.contains(PHONE)), "{erased:?}");

    // Whoever has no provider leaves the copies where they are, and says so.
    let without = Engine::new(database.store().await, database.keyring(), std::sync::Arc::new(database.policy.clone()));
    assert_eq!(forget(&without, forget_phone(PHONE)).await.kept.unasked, 1);
    let local = forget(&without, Forget { local: true, ..forget_phone(PHONE) }).await;
    assert_eq!((local.otps, local.kept.copies, local.copies), (1, 1, 0), "{local:?}");
    assert_eq!(at_provider(database, PHONE), 1);
}

async fn an_opt_out_and_a_block_outlive_the_person_without_a_name(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    let phone = Phone::from_e164(PHONE).unwrap();
    let listed = Listed::Phone(phone.clone());
    send(&engine, PHONE).await;
    arrived(database).await;
    engine.set_opt_out(&caller(), (&phone, true), "STOP by letter").await.unwrap();
    let reason = "threatened Ada".to_owned();
    let block = AddEntry { side: Side::Block, listed: listed.clone(), until: None, reason };
    engine.add_entry(&caller(), block).await.unwrap();
    let id = database.words("SELECT id FROM subjects WHERE kind = 'phone'");

    let erased = forget(&engine, forget_phone(PHONE)).await;

    assert!(erased.kept.opt_out && erased.kept.blocks == 1 && !erased.kept.is_unfinished(), "{erased:?}");
    assert_eq!(database.words("SELECT masked FROM subjects WHERE kind = 'phone'"), [FORGOTTEN]);
    assert_ne!(database.words("SELECT id FROM subjects WHERE kind = 'phone'"), id, "no audit row leads to it");
    assert_eq!(database.words("SELECT shown || reason FROM list_entries"), [FORGOTTEN]);
    assert_eq!(refusal(&engine, PHONE).await.code, Code::OPTED_OUT);
    assert!(engine.set_opt_out(&caller(), (&phone, false), "asked for codes").await.unwrap());
    assert_eq!(refusal(&engine, PHONE).await.code, Code::BLOCKED);
    assert!(engine.remove_entry(&caller(), (Side::Block, &listed), "over").await.unwrap().is_some());
    send(&engine, PHONE).await;
}

async fn running_it_twice_erases_nothing_more(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    let phone = Phone::from_e164(PHONE).unwrap();
    send(&engine, PHONE).await;
    arrived(database).await;
    engine.set_opt_out(&caller(), (&phone, true), "asked").await.unwrap();
    let both = Forget { user: ada(), ..forget_phone(PHONE) };
    forget(&engine, both.clone()).await;
    let rows = database.audit().len();
    let again = forget(&engine, both).await;
    assert_eq!((again.otps, again.subjects, again.list_entries, again.copies), (0, 0, 0, 0), "{again:?}");
    assert_eq!(database.audit().len(), rows);
    let error = engine.forget(&caller(), &Forget { phone: None, ..forget_phone(PHONE) }, |_| true).await.unwrap_err();
    assert_eq!(error.code(), Code::VALUE_INVALID);
}

async fn a_run_that_is_stopped_is_finished_by_the_next(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    for _ in 0..3 {
        send_as(&engine, &caller(), SendOtp { new_code: true, ..ask(PHONE) }).await;
    }
    arrived(database).await;
    let first = engine.forget(&caller(), &forget_phone(PHONE), |_| false).await.unwrap();
    assert_eq!((first.otps, first.scrubbed), (1, None), "{first:?}");
    // The copy of another one was deleted by a run that was killed before it wrote that down.
    let sid = database.word("SELECT max(provider_id) FROM messages");
    assert_eq!(database.twilio().erase(&sid).await.unwrap(), Erasure::Deleted);
    let rest = forget(&engine, forget_phone(PHONE)).await;
    assert_eq!((rest.otps, rest.copies, rest.scrubbed), (2, 2, scrubbed(database)), "{rest:?}");
    assert_eq!(at_provider(database, PHONE), 0);
}

async fn sums_of_others_stay_as_they_are(database: &mut Database) {
    let engine = database.engine().await;
    send_as(&engine, &client("203.0.113.7"), ask(PHONE)).await;
    arrived(database).await;
    let everything = async || usage(&engine, Subject::Everything).await.slots;
    let network = Subject::of_client("203.0.113.7".parse().unwrap());
    let (before, of_ip) = (everything().await, usage(&engine, network[0].clone()).await.sends);
    assert!(!before.is_empty() && !of_ip.is_empty());
    forget(&engine, Forget { user: ada(), ..forget_phone(PHONE) }).await;
    assert_eq!((everything().await, usage(&engine, network[0].clone()).await.sends), (before, of_ip));
    let rows = database.words(match database.url {
        Some(_) => "SELECT body FROM audit WHERE body::jsonb ->> 'action' = 'forget'",
        None => "SELECT body FROM audit WHERE action = 'forget'",
    });
    assert!(!rows.is_empty());
    for row in rows {
        assert!(row.contains(r#""subjects":[]"#) && !row.contains("+1415") && !row.contains("ada"), "{row}");
    }
}

#[test]
fn the_command_line_asks_first_and_says_what_is_left_to_do() {
    let (desk, sandbox) = Desk::with_sandbox(Options { pace: Pace::Manual, ..Options::default() });
    desk.run(&format!("send {PHONE} --user ada")).expect(0);
    desk.run(&format!("forget {PHONE}")).expect(2);
    let asked = desk.run(&format!("forget {PHONE} --reason ticket-1")).expect(2);
    assert!(asked.err.contains("--yes"), "{}", asked.err);
    let counted = desk.run(&format!("forget {PHONE} --dry-run --json")).expect(0).json("forgotten");
    assert_eq!((&counted["otps"], &counted["copies"], &counted["dry_run"]), (&1.into(), &1.into(), &true.into()));

    let first = desk.run(&format!("forget {PHONE} --user ada --reason ticket-1 --yes --json")).expect(75);
    assert_eq!(first.json("forgotten")["kept"]["redacted"], 1);
    for _ in 0..4 {
        sandbox.step();
    }
    let done = desk.run(&format!("forget {PHONE} --user ada --reason ticket-1 --yes -o table")).expect(0);
    assert!(done.out.contains("No erased byte is left"), "{}", done.out);
    assert!(sandbox.messages().iter().all(|message| message.deleted));
    for path in desk.files() {
        let bytes = std::fs::read(&path).unwrap();
        assert!(!holds(&bytes, PHONE.as_bytes()) && !holds(&bytes, b"ada"), "{}", path.display());
    }
    desk.run("audit verify").expect(0);
    let again = desk.run(&format!("forget {PHONE} --reason ticket-1 --yes -o table")).expect(0);
    assert!(again.out.contains("Nothing to do"), "{}", again.out);
}

#[test]
fn what_was_only_printed_has_no_copy_elsewhere() {
    let desk = Desk::new();
    desk.send(PHONE);
    let erased = desk.run(&format!("forget {PHONE} --reason r --yes --json")).expect(0).json("forgotten");
    assert_eq!((&erased["otps"], &erased["copies"]), (&1.into(), &0.into()));
}

/// Purging afterwards finds nothing of them.
#[test]
fn nothing_is_left_for_a_purge() {
    let desk = Desk::new();
    desk.send(&format!("{PHONE} --user ada"));
    desk.run(&format!("forget {PHONE} --user ada --reason r --yes")).expect(0);
    let rows = desk.run("purge-expired --older-than 0s -o tsv").expect(0);
    assert!(rows.rows().iter().all(|row| row[1] == "0"), "{}", rows.out);
}
