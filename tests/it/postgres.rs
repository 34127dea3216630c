//! What is PostgreSQL's own: migrations by word alone, standbys, settings, and errors that tell no secret.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use smsotp::clock::SystemClock;
use smsotp::engine::{Revoke, Send, Verdict};
use smsotp::error::{Code, Error};
use smsotp::keys::Keyring;
use smsotp::store::Store;
use smsotp::store::postgres::{Opening, Postgres};

use crate::pg;
use crate::stores::Books;
use crate::world::{PHONE, World, ask, block_on, caller, send, send_as, verdict};

async fn open(url: &str, ring: &Keyring) -> Result<Postgres, Error> {
    Postgres::open(url, ring, Arc::new(SystemClock), Opening::default()).await
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
fn many_that_migrate_at_once_make_one_set_of_books() {
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
        let opening = Opening { patience: std::time::Duration::from_millis(200), ..Opening::default() };
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

/// A wire that is cut once, at the commit: before it reaches the server, or after it did and before the answer comes back.
mod wire {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    #[derive(Clone, Copy, Debug, PartialEq)]
    pub enum Cut {
        BeforeTheCommit,
        BeforeTheAnswer,
        /// The commit reaches the server a while after the client has given the connection up.
        AndTheCommitComesLate,
    }

    pub struct Wire {
        pub port: u16,
        /// Cut at the next commit.
        pub armed: Arc<AtomicBool>,
    }

    pub async fn to(server: u16, cut: Cut) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let armed = Arc::new(AtomicBool::new(false));
        let trigger = Arc::clone(&armed);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                tokio::spawn(carry(client, server, cut, Arc::clone(&trigger)));
            }
        });
        Wire { port, armed }
    }

    async fn carry(mut client: TcpStream, mut server: TcpStream, cut: Cut, armed: Arc<AtomicBool>) {
        let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
        loop {
            tokio::select! {
                read = client.read(&mut up) => {
                    let Ok(n @ 1..) = read else { return };
                    // A deed's own commit, and not that of a look at a new connection.
                    let commits = up[..n].windows(26).any(|words| words == b"statement_timeout = 0; COM");
                    let now = commits && armed.swap(false, Ordering::SeqCst);
                    if now && cut == Cut::BeforeTheCommit {
                        return;
                    }
                    if now && cut == Cut::AndTheCommitComesLate {
                        drop(client);
                        tokio::time::sleep(std::time::Duration::from_millis(700)).await;
                        let _ = server.write_all(&up[..n]).await;
                        let _ = server.read(&mut down).await;
                        return;
                    }
                    if server.write_all(&up[..n]).await.is_err() {
                        return;
                    }
                    if now {
                        // The server answers: it has committed. The client never hears of it.
                        let _ = server.read(&mut down).await;
                        return;
                    }
                }
                read = server.read(&mut down) => {
                    let Ok(n @ 1..) = read else { return };
                    if client.write_all(&down[..n]).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

#[test]
fn a_commit_whose_answer_was_lost_is_looked_up_and_not_repeated() {
    for cut in [wire::Cut::BeforeTheCommit, wire::Cut::BeforeTheAnswer, wire::Cut::AndTheCommitComesLate] {
        let Some(mut books) = Books::postgres() else { return };
        let url = books.url.clone().unwrap();
        let (server, database) = url.rsplit_once(':').unwrap().1.split_once('/').unwrap();
        block_on(async {
            let wire = wire::to(server.parse().unwrap(), cut).await;
            books.url = Some(format!("postgres://postgres@127.0.0.1:{}/{database}", wire.port));
            let engine = books.engine().await;
            wire.armed.store(true, Ordering::SeqCst);
            send(&engine, PHONE).await;
            assert!(!wire.armed.load(Ordering::SeqCst), "the wire was not cut");
            let code = books.world.code_on(PHONE);
            assert_eq!(books.world.sandbox.messages().len(), 1, "{cut:?}");

            wire.armed.store(true, Ordering::SeqCst);
            assert_eq!(
                verdict(&engine, PHONE, &World::wrong(&code)).await,
                Verdict::WrongCode { tries_left: 4 },
                "{cut:?}"
            );
            wire.armed.store(true, Ordering::SeqCst);
            assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Verified, "{cut:?}");
            assert!(!wire.armed.load(Ordering::SeqCst), "the wire was not cut");
            assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::AlreadyUsed);
        });
        // reserve, settle, and three verifications: each once.
        assert_eq!(pg::try_on(&url, "SELECT count(*) FROM smsotp.audit").unwrap(), ["5"], "{cut:?}");
    }
}

#[test]
fn a_deed_that_is_dropped_half_way_leaves_its_connection_to_nobody() {
    let Some(books) = Books::postgres() else { return };
    let url = books.url.clone().unwrap();
    let idle = || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
        pg::try_on(&url, sql).unwrap()
    };
    block_on(async {
        let engine = books.engine().await;
        send(&engine, PHONE).await;
        let code = books.world.code_on(PHONE);
        for patience in 0..40u64 {
            let wrong = World::wrong(&code);
            let half = verdict(&engine, "+14155550177", &wrong);
            let _ = tokio::time::timeout(std::time::Duration::from_micros(patience * 200), half).await;
            // The connection is closed, which the server notices at once, long before its own patience ends.
            let until = std::time::Instant::now() + std::time::Duration::from_secs(4);
            while idle() != ["0"] {
                assert!(std::time::Instant::now() < until, "a transaction was left open");
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
        assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Verified);
    });
}

#[test]
fn whoever_holds_a_lock_for_too_long_is_told_of_and_nothing_happens() {
    let Some(books) = Books::postgres() else { return };
    let url = books.url.clone().unwrap();
    block_on(async {
        let engine = books.engine().await;
        send(&engine, PHONE).await;
        let code = books.world.code_on(PHONE);
        let (holder, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        holder.batch_execute("BEGIN; SELECT 1 FROM smsotp.subjects FOR UPDATE").await.unwrap();
        let ask = smsotp::engine::Verify {
            phone: smsotp::phone::Phone::from_e164(PHONE).unwrap(),
            purpose: smsotp::purpose::Purpose::parse("login").unwrap(),
            user: smsotp::otp::User::parse("ada").unwrap(),
            code: code.clone(),
        };
        let error = engine.verify(&crate::world::caller(), ask).await.unwrap_err();
        assert_eq!(error.code(), Code::STORE_BUSY, "{error:?}");
        assert!(error.retry_after_hint().is_some());
        holder.batch_execute("ROLLBACK").await.unwrap();
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
    let books = Books { world, clock: Arc::default(), url: Some(url) };
    let log = || std::fs::read_to_string(cluster.dir.join("log")).unwrap();
    let number = |nth: u32| format!("+1415555{:04}", 100 + nth);
    block_on(async {
        let engine = books.engine().await;
        let mut codes = Vec::new();
        for nth in 1..=5 {
            send(&engine, &number(nth)).await;
            codes.push(books.world.code_on(&number(nth)));
        }
        let [wrong, used, older, revoked, expired] = codes.try_into().unwrap();
        assert_eq!(verdict(&engine, &number(2), &used).await, Verdict::Verified);
        send_as(&engine, &caller(), Send { new_code: true, ..ask(&number(3)) }).await;
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
                books.advance(601);
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
