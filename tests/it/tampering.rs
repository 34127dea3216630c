//! Somebody who may write to the database, and has no key: what is cut off, put back, inserted or attached there is
//! found, and opens nothing.

use std::time::Duration;

use smsotp::audit::ACTIONS;
use smsotp::engine::{NewToken, Verdict, Whose};
use smsotp::error::Code;
use smsotp::token::Scopes;

use crate::stores::{Database, on_every_store};
use crate::world::{OTHER, PHONE, World, ask, caller, purge, send, verdict};

on_every_store![
    a_cut_tail_and_an_emptied_log_are_found_and_nothing_hides_them_again,
    nothing_is_built_on_a_head_that_was_fitted_to_what_is_left,
    a_database_that_was_put_back_whole_is_found_against_an_anchor,
    old_rows_are_cut_off_behind_a_seal_and_the_rest_is_verified_as_before,
    a_row_that_was_changed_is_not_pruned_away,
    whatever_was_attached_to_the_schema_or_taken_from_it_is_found,
    a_token_that_was_inserted_or_changed_by_hand_opens_nothing,
];

const DAY: u64 = 86_400;

/// Rows in several chains, where there are several.
async fn with_rows(database: &Database) {
    let engine = database.engine().await;
    for phone in [PHONE, OTHER] {
        send(&engine, phone).await;
        verdict(&engine, phone, &World::wrong(&database.code_on(phone))).await;
    }
}

async fn broken(database: &Database) -> Option<String> {
    database.engine().await.audit_verify(&[]).await.unwrap().broken
}

async fn a_cut_tail_and_an_emptied_log_are_found_and_nothing_hides_them_again(database: &mut Database) {
    for damage in [
        "DELETE FROM audit WHERE seq = (SELECT max(a.seq) FROM audit AS a WHERE a.chain = audit.chain)",
        "DELETE FROM audit WHERE seq > 1",
        "DELETE FROM audit",
        "DELETE FROM audit; DELETE FROM audit_heads",
        "DELETE FROM audit_heads",
        "DELETE FROM audit_heads WHERE chain = 0",
        "UPDATE audit_heads SET seq = 0, mac = pruned_mac; DELETE FROM audit",
    ] {
        let victim = database.another();
        with_rows(&victim).await;
        assert_eq!(broken(&victim).await, None);
        victim.change(damage);
        assert!(broken(&victim).await.is_some(), "{damage}");
        // Whatever is written after it, if anything may be.
        victim.advance(3600);
        let engine = victim.engine().await;
        for phone in [PHONE, OTHER, "+14155550102"] {
            let _ = engine.send(&caller(), ask(phone)).await;
        }
        let _ = engine.record(&caller(), "reveal", smsotp::audit::Details::new()).await;
        assert!(broken(&victim).await.is_some(), "{damage}");
    }
}

async fn nothing_is_built_on_a_head_that_was_fitted_to_what_is_left(database: &mut Database) {
    let victim = database.another();
    with_rows(&victim).await;
    victim.change(
        "UPDATE audit_heads SET seq = seq - 1, \
         mac = (SELECT a.mac FROM audit AS a WHERE a.chain = audit_heads.chain AND a.seq = audit_heads.seq - 1) WHERE seq > 1; \
         DELETE FROM audit WHERE seq > (SELECT h.seq FROM audit_heads AS h WHERE h.chain = audit.chain)",
    );
    assert!(broken(&victim).await.unwrap().contains("head"));
    let (engine, out) = (victim.engine().await, victim.messages_out());
    victim.advance(3600);
    let error = engine.send(&caller(), ask(PHONE)).await.unwrap_err();
    assert_eq!((error.code(), victim.messages_out()), (Code::STORE_CORRUPT, out), "{error:?}");
    assert_eq!(engine.audit_anchor().await.unwrap_err().code(), Code::STORE_CORRUPT);
}

async fn a_database_that_was_put_back_whole_is_found_against_an_anchor(database: &mut Database) {
    let victim = database.another();
    let engine = victim.engine().await;
    send(&engine, PHONE).await;
    let early = engine.audit_anchor().await.unwrap();
    victim.change("CREATE TABLE kept AS SELECT * FROM audit_heads");
    with_rows_after(&victim).await;
    let late = engine.audit_anchor().await.unwrap();
    let both: Vec<_> = early.iter().chain(&late).cloned().collect();
    let audited = engine.audit_verify(&both).await.unwrap();
    let named = both.iter().filter(|head| head.seq > 0).count();
    assert_eq!((audited.broken, audited.unanchored), (None, 0));
    assert!(audited.anchored >= u64::try_from(named).unwrap());

    victim.change(
        "DELETE FROM audit WHERE seq > (SELECT k.seq FROM kept AS k WHERE k.chain = audit.chain); \
         DELETE FROM audit_heads; INSERT INTO audit_heads SELECT * FROM kept; DROP TABLE kept",
    );
    let engine = victim.engine().await;
    assert_eq!(engine.audit_verify(&[]).await.unwrap().broken, None, "nothing in the database shows it");
    assert_eq!(engine.audit_verify(&early).await.unwrap().broken, None);
    assert!(engine.audit_verify(&late).await.unwrap().broken.is_some());
    // Nor does going on hide it.
    victim.advance(3600);
    with_rows_after(&victim).await;
    assert!(engine.audit_verify(&late).await.unwrap().broken.is_some());
    // Another database's anchor is no proof of anything.
    let error = engine.audit_verify(&database.engine().await.audit_anchor().await.unwrap()).await.unwrap_err();
    assert_eq!(error.code(), Code::VALUE_INVALID);
}

async fn with_rows_after(database: &Database) {
    let engine = database.engine().await;
    for _ in 0..3 {
        for phone in [PHONE, OTHER] {
            verdict(&engine, phone, &smsotp::code::Code::parse("000001").unwrap()).await;
        }
    }
}

async fn old_rows_are_cut_off_behind_a_seal_and_the_rest_is_verified_as_before(database: &mut Database) {
    // Of its own, past the checks: they look for the audit row of each row that is there.
    let mut database = database.another();
    database.unlimited();
    let database = &database;
    let engine = database.engine().await;
    with_rows(database).await;
    let before_all = engine.audit_anchor().await.unwrap();
    database.advance(10 * DAY);
    with_rows(database).await;
    let after_some = engine.audit_anchor().await.unwrap();
    let rows = database.audit().len();
    assert_eq!(engine.audit_prune(&caller(), Duration::from_secs(11 * DAY)).await.unwrap(), 0);
    assert_eq!(database.audit().len(), rows, "nothing to do leaves no row");

    let cut = engine.audit_prune(&caller(), Duration::from_secs(5 * DAY)).await.unwrap();

    assert_eq!(cut, 6, "two phones: reserved, settled, guessed");
    assert_eq!(database.number("SELECT count(*) FROM audit WHERE seq <= 2 AND chain > 0"), 0);
    let audited = engine.audit_verify(&after_some).await.unwrap();
    assert_eq!((audited.broken, audited.pruned, audited.unanchored), (None, 6, 0));
    // Anchored rows that are gone cannot be compared; the last one that is gone can.
    let anchored = engine.audit_verify(&before_all).await.unwrap();
    assert_eq!(anchored.broken, None);
    // What is pruned twice is pruned once, and everything goes on.
    assert_eq!(engine.audit_prune(&caller(), Duration::from_secs(5 * DAY)).await.unwrap(), 0);
    with_rows(database).await;
    assert_eq!(engine.audit_verify(&[]).await.unwrap().broken, None);
    assert!(database.audit().iter().any(|row| row == "audit.prune done") && ACTIONS.contains(&"audit.prune"));
    // All of it: an empty log with sealed heads is whole too, and whatever is cut off without them is found.
    database.advance(DAY);
    engine.audit_prune(&caller(), Duration::ZERO).await.unwrap();
    assert_eq!(engine.audit_verify(&after_some).await.unwrap().broken, None);
    assert_eq!(purge(&engine, Duration::ZERO).await.purged.otps, 4);
    let store = engine.store();
    assert_eq!(crate::world::first_break(store).await, None);
}

async fn a_row_that_was_changed_is_not_pruned_away(database: &mut Database) {
    let victim = database.another();
    with_rows(&victim).await;
    victim.advance(10 * DAY);
    let engine = victim.engine().await;
    victim.change(if victim.url.is_some() {
        "UPDATE audit SET body = replace(body, 'wrong_code', 'verified')"
    } else {
        "UPDATE audit SET body = CAST(replace(CAST(body AS TEXT), 'wrong_code', 'verified') AS BLOB)"
    });
    let error = engine.audit_prune(&caller(), Duration::from_secs(DAY)).await.unwrap_err();
    assert_eq!(error.code(), Code::STORE_CORRUPT, "{error:?}");
    assert!(victim.audit().contains(&"verify verified".to_owned()), "the evidence is still there");
    assert!(broken(&victim).await.is_some());
}

async fn whatever_was_attached_to_the_schema_or_taken_from_it_is_found(database: &mut Database) {
    let engine = database.engine().await;
    let mut changes = vec![
        ("CREATE VIEW spy AS SELECT phone_number FROM otps", "DROP VIEW spy", "view spy"),
        ("CREATE INDEX spied ON otps (state)", "DROP INDEX spied", "index spied"),
        ("CREATE TABLE spies (n bigint)", "DROP TABLE spies", "table spies"),
        ("ALTER TABLE tokens ADD COLUMN extra text", "ALTER TABLE tokens DROP COLUMN extra", "tokens.extra"),
        (
            "DROP INDEX otps_live",
            r#"CREATE UNIQUE INDEX otps_live ON otps ("user", phone_number, purpose) WHERE state = 'active'"#,
            "index otps_live",
        ),
    ];
    if database.url.is_some() {
        changes.extend([
            ("CREATE RULE quiet AS ON DELETE TO audit DO INSTEAD NOTHING", "DROP RULE quiet ON audit", "rule quiet"),
            ("CREATE FUNCTION act() RETURNS int LANGUAGE sql AS 'SELECT 1'", "DROP FUNCTION act()", "function act"),
            (
                "ALTER TABLE otps ALTER COLUMN wrong_guesses SET DEFAULT -100",
                "ALTER TABLE otps ALTER COLUMN wrong_guesses SET DEFAULT 0",
                "otps.wrong_guesses",
            ),
            (
                "ALTER TABLE otps DISABLE TRIGGER ALL",
                "ALTER TABLE otps ENABLE TRIGGER ALL",
                "references of the table otps",
            ),
            (
                "CREATE POLICY mine ON otps USING (true); ALTER TABLE otps ENABLE ROW LEVEL SECURITY",
                "ALTER TABLE otps DISABLE ROW LEVEL SECURITY; DROP POLICY mine ON otps",
                "policy mine",
            ),
            ("CREATE TABLE heir () INHERITS (otps)", "DROP TABLE heir", "table that inherits from otps"),
        ]);
    }
    // The server of the stories is quick, not durable.
    let check = async || -> Vec<String> {
        let found = engine.check_store().await.unwrap();
        found.into_iter().filter(|finding| !finding.contains("fsync")).collect()
    };
    assert_eq!(check().await, [""; 0]);
    let end = database.refuse_rows("tokens", None);
    let found = check().await;
    assert!(found.iter().any(|finding| finding.contains("trigger refused on tokens")), "{found:?}");
    database.change(&end);
    for (change, undo, wanted) in changes {
        database.change(change);
        let found = check().await;
        assert!(found.iter().any(|finding| finding.contains(wanted)), "{change}: {found:?}");
        database.change(undo);
        let left = check().await;
        // SQLite keeps the text of a table that a column was added to and taken from as it wrote it itself.
        assert!(left.is_empty() || wanted == "tokens.extra", "{undo}: {left:?}");
    }
}

async fn a_token_that_was_inserted_or_changed_by_hand_opens_nothing(database: &mut Database) {
    let engine = database.engine().await;
    let new = |name: &str, whose| NewToken {
        name: name.to_owned(),
        scopes: Scopes::parse("verify").unwrap(),
        whose,
        expires_at: Some(database.now() + Duration::from_secs(DAY)),
        rate: None,
        conversion_unknown: false,
    };
    let (token, secret) = engine.create_token(&caller(), new("service", Whose::Service)).await.unwrap();
    let (other, _) = engine.create_token(&caller(), new("other", Whose::Service)).await.unwrap();
    let opens = async || engine.bearer(secret.expose()).await.unwrap().is_some();
    let id = token.id;
    let yes = if database.url.is_some() { "true" } else { "1" };
    let no = if database.url.is_some() { "false" } else { "0" };
    assert!(opens().await);
    for (change, undo) in [
        ("scopes = 'admin'".to_owned(), "scopes = 'verify'".to_owned()),
        ("\"user\" = 'ada'".to_owned(), "\"user\" = NULL".to_owned()),
        (format!("service = {no}"), format!("service = {yes}")),
        (format!("conversion_unknown = {yes}"), format!("conversion_unknown = {no}")),
        ("rate = rate + 1".to_owned(), "rate = rate - 1".to_owned()),
        ("expires_at = expires_at + 1".to_owned(), "expires_at = expires_at - 1".to_owned()),
        ("expires_at = NULL".to_owned(), format!("expires_at = {}", token.expires_at.unwrap().millis())),
        ("id = id + 1000".to_owned(), "id = id - 1000".to_owned()),
        (format!("seal = (SELECT seal FROM tokens AS t WHERE t.id = {})", other.id), String::new()),
    ] {
        database.change(&format!("UPDATE tokens SET {change} WHERE id = {id}"));
        assert!(!opens().await, "{change}");
        let found = engine.check_store().await.unwrap();
        assert!(found.iter().any(|finding| finding.contains("by hand")), "{change}: {found:?}");
        if !undo.is_empty() {
            database.change(&format!("UPDATE tokens SET {undo} WHERE name = 'service'"));
            assert!(opens().await, "{undo}");
        }
    }
    // A row of somebody's own making: whatever he puts in, he has no key to make its tag with.
    let (fresh, secret) = engine.create_token(&caller(), new("fresh", Whose::Service)).await.unwrap();
    engine.revoke_token(&caller(), fresh.id).await.unwrap();
    database.change(&format!("UPDATE tokens SET revoked_at = NULL WHERE id = {}", fresh.id));
    assert!(engine.bearer(secret.expose()).await.unwrap().is_none(), "revoked for good");
    assert_eq!(database.number("SELECT count(*) FROM tokens WHERE revoked_at IS NULL"), 3);
    database.change("DELETE FROM tokens");
    assert_eq!(verdict(&engine, PHONE, &smsotp::code::Code::parse("000000").unwrap()).await, Verdict::NotFound);
}
