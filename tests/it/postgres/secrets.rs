//! The real binary on PostgreSQL: what it tells, and what it never does.

use smsotp::sandbox::Options;

use crate::desk::Desk;
use crate::pg;
use crate::world::new_key;

const CANARY: &str = "s3cr3t-canary-4711";

/// A desk whose database is in a database of its own, behind a URL with a password in it.
fn desk() -> Option<(Desk, smsotp::sandbox::Sandbox, String)> {
    let url = pg::database()?.url;
    let (mut desk, sandbox) = Desk::with_sandbox(Options::default());
    desk.set("SMSOTP_SECRET_KEY", new_key());
    desk.set("SMSOTP_DATABASE", url.replacen("://postgres@", &format!("://postgres:{CANARY}@"), 1));
    Some((desk, sandbox, url))
}

#[test]
fn the_password_of_the_url_is_told_nowhere() {
    let Some((mut desk, _sandbox, url)) = desk() else { return };
    let quiet = |desk: &Desk, line: &str, exit: i32| {
        let ran = desk.run(line).expect(exit);
        let all = String::from_utf8_lossy(&ran.bytes).into_owned();
        assert!(!all.contains(CANARY), "{line}: {all}");
        all
    };
    quiet(&desk, "list -vv", 74);
    quiet(&desk, "db migrate -vv", 0);
    for line in [
        "send +14155550123 -vv",
        "list -vv",
        "show +14155550123 --json",
        "config check",
        "db check -vv",
        "audit verify -vv",
        "dispatch -vv",
    ] {
        let ran = desk.run(line);
        assert!(!String::from_utf8_lossy(&ran.bytes).contains(CANARY), "{line}: {ran:?}");
        assert!(ran.code() <= 1, "{line}: {ran:?}");
    }
    for line in ["config show", "config show --json", "db status -vv", "db status --json"] {
        let told = quiet(&desk, line, 0);
        let place = url.split_once('@').unwrap().1.split('?').next().unwrap();
        assert!(told.contains(place) || line.starts_with("config"), "where the database is is no secret: {told}");
    }
    // Nor where it goes wrong: no such server, no such database, a word that is no port.
    let bare = Desk::new();
    let broken = bare.write("broken.toml", format!("database = \"postgres://u:{CANARY}@h/database\"\n"));
    let told = quiet(&bare, &format!("list --config {}", broken.display()), 78);
    assert!(told.contains("hint: "), "{told}");
    let with = |url: &str, password: &str| url.replacen("://postgres@", &format!("://postgres:{password}@"), 1);
    for (broken, exit) in [
        (with(&format!("{url}_missing"), CANARY), 78),
        (format!("postgres://u:{CANARY}@127.0.0.1:port/database"), 78),
        (format!("postgres://u:{CANARY}@127.0.0.1/database?sslmode=prefer"), 78),
    ] {
        desk.set("SMSOTP_DATABASE", &broken);
        quiet(&desk, "db status -vv", exit);
        quiet(&desk, "config show -vv", 0);
    }
}

#[test]
fn every_chain_of_the_audit_log_is_verified() {
    let Some((desk, _sandbox, url)) = desk() else { return };
    desk.run("db migrate").expect(0);
    for nth in 0..4 {
        desk.run(&format!("send +1415555012{nth}")).expect(0);
    }
    desk.run("audit verify").expect(0);
    let chains = pg::try_on(&url, "SELECT DISTINCT chain FROM smsotp.audit ORDER BY chain DESC").unwrap();
    assert!(chains.len() > 1, "all in one chain: {chains:?}");
    for chain in chains {
        let place = format!("chain = {chain} AND seq = 1");
        pg::run_on(&url, &format!("UPDATE smsotp.audit SET body = replace(body, 'send', 'sent') WHERE {place}"));
        desk.run("audit verify").expect(1).shows("broken");
        pg::run_on(&url, &format!("UPDATE smsotp.audit SET body = replace(body, 'sent', 'send') WHERE {place}"));
    }
    desk.run("audit verify").expect(0);
}
