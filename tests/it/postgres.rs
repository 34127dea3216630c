//! What is PostgreSQL's own: migrations by word alone, locks, wires that break, and errors that tell no secret.

mod frozen;
mod guards;
mod locks;
mod secrets;
mod tls;
mod wire;

use std::sync::Arc;

use smsotp::clock::SystemClock;
use smsotp::engine::{Revoke, SendOtp, Verdict};
use smsotp::error::{Code, Error};
use smsotp::keys::Keyring;
use smsotp::store::postgres::{Postgres, PostgresOptions};
use smsotp::store::{Maintain, Read};

use crate::pg;
use crate::stores::Database;
use crate::world::{PHONE, World, ask, block_on, caller, send, send_as, verdict};

async fn open(url: &str, ring: &Keyring) -> Result<Postgres, Error> {
    Postgres::open(url, ring, Arc::new(SystemClock), PostgresOptions::default()).await
}

#[test]
fn nothing_is_made_unless_somebody_says_migrate() {
    let Some(database) = pg::database() else { return };
    let ring = World::new().keyring();
    block_on(async {
        let error = open(&database.url, &ring).await.err().unwrap();
        assert_eq!(error.code(), Code::STORE_FAILED);
        assert!(error.hint_text().unwrap().contains("smsotp db migrate"), "{:?}", error.hint_text());

        let clock = || Arc::new(SystemClock);
        assert_eq!(Postgres::migrate(&database.url, &ring, clock()).await.unwrap(), (0, 1));
        assert_eq!(Postgres::migrate(&database.url, &ring, clock()).await.unwrap(), (1, 1), "a second time is nothing");
        let store = open(&database.url, &ring).await.unwrap();
        assert_eq!(
            store.check().await.unwrap().into_iter().filter(|f| !f.contains("fsync")).collect::<Vec<_>>(),
            Vec::<String>::new()
        );
        let status = store.status().await.unwrap();
        assert_eq!(status.schema, (1, 1));
        assert!(status.engine.starts_with("PostgreSQL "));
    });
    pg::run_on(&database.url, "INSERT INTO smsotp.schema_versions VALUES (99, 0)");
    block_on(async {
        assert_eq!(open(&database.url, &ring).await.err().unwrap().code(), Code::STORE_NEWER);
    });
}

#[test]
fn a_host_that_takes_connections_and_says_nothing_does_not_hold_up_the_next() {
    let Some(database) = Database::postgres() else { return };
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (before, after) = database.url.as_ref().unwrap().split_once('@').unwrap();
    let url = format!("{before}@127.0.0.1:{},{after}?connect_timeout=1", silent.local_addr().unwrap().port());
    block_on(async {
        open(&url, &database.world.keyring()).await.unwrap();
    });
}

#[test]
fn a_schema_that_differs_from_what_is_expected_is_refused_or_found() {
    let Some(database) = Database::postgres() else { return };
    let (url, ring) = (database.url.clone().unwrap(), database.world.keyring());
    pg::run_on(
        &url,
        "ALTER TABLE smsotp.messages DROP COLUMN missed_at; ALTER TABLE smsotp.otps ADD COLUMN code text; \
         ALTER TABLE smsotp.tokens ALTER COLUMN created_at TYPE integer",
    );
    block_on(async {
        let findings = open(&url, &ring).await.unwrap().check().await.unwrap();
        let found: Vec<&str> = findings.iter().map(String::as_str).filter(|f| !f.contains("fsync")).collect();
        assert_eq!(
            found,
            [
                "the column messages.missed_at is missing",
                "the column tokens.created_at is not as smsotp made it",
                "the column otps.code was not made by smsotp",
            ]
        );
    });
    // The tables of before the first release had other names.
    pg::run_on(&url, "ALTER TABLE smsotp.identity RENAME TO books");
    block_on(async {
        let migrated = Postgres::migrate(&url, &ring, Arc::new(SystemClock)).await.err().unwrap();
        for error in [open(&url, &ring).await.err().unwrap(), migrated] {
            assert!(error.message().contains("before its first release"), "{error:?}");
        }
    });
}

#[test]
fn many_that_migrate_at_once_make_one_set_of_database() {
    let Some(database) = pg::database() else { return };
    let ring = World::new().keyring();
    block_on(async {
        let all = (0..8).map(|_| Postgres::migrate(&database.url, &ring, Arc::new(SystemClock)));
        let made: Vec<_> = futures_util::future::join_all(all).await.into_iter().map(|m| m.unwrap().0).collect();
        assert_eq!(made.iter().filter(|from| **from == 0).count(), 1, "{made:?}");
    });
}

#[test]
fn a_wrong_key_is_told_which_key_is_missing() {
    let Some(database) = pg::database() else { return };
    let (ring, other) = (World::new().keyring(), World::new().keyring());
    block_on(async {
        Postgres::migrate(&database.url, &ring, Arc::new(SystemClock)).await.unwrap();
        let error = open(&database.url, &other).await.err().unwrap();
        assert_eq!(error.code(), Code::KEY_INVALID);
        assert!(error.message().contains(&ring.primary().id().to_string()), "{error}");
    });
}

#[test]
fn no_error_tells_the_password() {
    let Some(server) = pg::shared() else { return };
    let canary = "s3cr3t-canary-4711";
    let port = server.rsplit_once(':').unwrap().1;
    let ring = World::new().keyring();
    let urls = [
        format!("postgres://postgres:{canary}@127.0.0.1:{port}_no_such_database"),
        format!("postgres://{canary}:{canary}@127.0.0.1:{port}"),
        format!("postgres://u:{canary}@127.0.0.1:1/x"),
        format!("postgres://u:{canary}@no-such-host.invalid/x?sslmode=disable"),
        format!("postgres://u:{canary}@127.0.0.1:{port}?sslmode=require"),
    ];
    block_on(async {
        let opening =
            PostgresOptions { wait_limit: std::time::Duration::from_millis(200), ..PostgresOptions::default() };
        for url in urls {
            let Err(error) = Postgres::open(&url, &ring, Arc::new(SystemClock), opening).await else {
                panic!("it opened: {url}")
            };
            let mut told = format!("{error} {error:?} {:?}", error.hint_text());
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                told.push_str(&format!(" {cause} {cause:?}"));
                source = cause.source();
            }
            assert!(!told.contains(canary), "{told}");
        }
    });
}

#[test]
fn a_operation_that_is_dropped_half_way_leaves_its_connection_to_nobody() {
    let Some(database) = Database::postgres() else { return };
    let url = database.url.clone().unwrap();
    let idle = || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
        pg::try_on(&url, sql).unwrap()
    };
    block_on(async {
        let engine = database.engine().await;
        send(&engine, PHONE).await;
        let code = database.world.code_on(PHONE);
        for step in 0..40u64 {
            let wrong = World::wrong(&code);
            let half = verdict(&engine, "+14155550177", &wrong);
            let _ = tokio::time::timeout(std::time::Duration::from_micros(step * 200), half).await;
            // The connection is closed, which the server notices at once, long before its own time limit.
            let until = std::time::Instant::now() + std::time::Duration::from_secs(4);
            while idle() != ["0"] {
                assert!(std::time::Instant::now() < until, "a transaction was left open");
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
        assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Verified);
    });
}

/// The statements in a server's log, as they were written: no names of prepared ones, no values.
fn statements(log: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut inside = false;
    for line in log.lines() {
        let begun = ["statement: ", "execute "].iter().find_map(|word| line.split_once(&format!("LOG:  {word}")));
        if let Some((_, rest)) = begun {
            let sql = if line.contains("LOG:  execute ") { rest.split_once(": ").unwrap().1 } else { rest };
            found.push(sql.trim().to_owned());
            inside = true;
        } else if line.starts_with('\t') && inside {
            let last = found.last_mut().unwrap();
            last.push(' ');
            last.push_str(line.trim());
        } else {
            inside = false;
        }
    }
    found
}

#[test]
fn a_statement_that_is_kept_is_not_planned_anew() {
    let cluster = match pg::Cluster::start(&["-c", "fsync=off", "-c", "log_planner_stats=on"]) {
        Ok(cluster) => cluster,
        Err(why) => return pg::skipped(&format!("The plans of PostgreSQL were not counted: {why}")),
    };
    let url = cluster.url("postgres");
    let world = World::unlimited();
    block_on(Postgres::migrate(&url, &world.keyring(), Arc::new(SystemClock))).unwrap();
    // In database that have grown, a list of unknown length looks dearer than it is.
    pg::run_on(
        &url,
        "INSERT INTO smsotp.subjects (tag, id, kind, masked, usage) SELECT sha256(n::text::bytea), \
         substr(sha256(n::text::bytea), 1, 16), 'phone', '', '{}' FROM generate_series(1, 20000) AS n; ANALYZE",
    );
    let database = Database::at(world, url);
    let plans = || {
        let log = std::fs::read_to_string(cluster.dir.join("log")).unwrap();
        log.matches("PLANNER STATISTICS").count()
    };
    block_on(async {
        let engine = database.engine().await;
        let phone = |nth: u32| format!("+1415555{:04}", 100 + nth);
        for nth in 0..30 {
            send(&engine, &phone(nth)).await;
            let code = database.world.code_on(&phone(nth));
            let before = plans();
            assert_eq!(verdict(&engine, &phone(nth), &code).await, Verdict::Verified);
            // At first a connection prepares nothing, and then each statement once.
            assert!(nth > 0 || plans() > before, "the server does not tell when it plans");
            if nth >= 10 {
                assert_eq!(plans(), before, "verification {nth} was planned anew");
            }
        }
    });
}

#[test]
fn every_no_takes_the_same_statements() {
    let all = ["-c", "fsync=off", "-c", "log_statement=all", "-c", "log_parameter_max_length=0"];
    let cluster = match pg::Cluster::start(&all) {
        Ok(cluster) => cluster,
        Err(why) => return pg::skipped(&format!("The statements of PostgreSQL were not compared: {why}")),
    };
    let mut world = World::unlimited();
    world.policy.limits.guesses_per_otp = 1;
    let url = cluster.url("postgres");
    block_on(Postgres::migrate(&url, &world.keyring(), Arc::new(SystemClock))).unwrap();
    let database = Database::at(world, url);
    let log = || std::fs::read_to_string(cluster.dir.join("log")).unwrap();
    let number = |nth: u32| format!("+1415555{:04}", 100 + nth);
    block_on(async {
        let engine = database.engine().await;
        let mut codes = Vec::new();
        for nth in 1..=5 {
            send(&engine, &number(nth)).await;
            codes.push(database.world.code_on(&number(nth)));
        }
        let [wrong, used, older, revoked, expired] = codes.try_into().unwrap();
        assert_eq!(verdict(&engine, &number(2), &used).await, Verdict::Verified);
        send_as(&engine, &caller(), SendOtp { new_code: true, ..ask(&number(3)) }).await;
        let phone = smsotp::phone::Phone::from_e164(&number(4)).unwrap();
        engine.revoke(&caller(), &Revoke::Phone(phone, None, None), "test").await.unwrap();
        // A connection prepares what it runs more than once: what is compared runs after that.
        for _ in 0..20 {
            verdict(&engine, &number(9), &wrong).await;
        }
        let mut seen = Vec::new();
        for (nth, code, kind) in [
            (8, wrong.clone(), "NotFound"),
            (1, World::wrong(&wrong), "WrongCode"),
            (1, wrong, "Locked"),
            (2, used, "AlreadyUsed"),
            (3, older, "Superseded"),
            (4, revoked, "Revoked"),
            (5, expired, "Expired"),
        ] {
            if kind == "Expired" {
                database.advance(601);
            }
            let before = log().len();
            let verdict = format!("{:?}", verdict(&engine, &number(nth), &code).await);
            assert!(verdict.starts_with(kind), "{verdict}, not {kind}");
            seen.push((kind, statements(&log()[before..])));
        }
        for (kind, steps) in &seen {
            assert_eq!(*steps, seen[0].1, "{kind} takes other steps than {}", seen[0].0);
        }
        assert!(seen[0].1.len() > 3, "{:?}", seen[0].1);
    });
}
