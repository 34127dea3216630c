//! A wire between an operation and its server that counts round trips and breaks, or stands still, at an operation's own commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use smsotp::engine::{Revoke, SendAnswer, SendOtp, Verdict};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::pg;
use crate::stores::Database;
use crate::world::{PHONE, World, ask, block_on, caller, send, verdict};

/// What befalls the next commit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    /// The connection ends before the commit reaches the server.
    CutBefore,
    /// The server commits, and the connection ends before its answer comes back.
    CutAfter,
    /// The connection ends for the client; the commit reaches the server a while later.
    CutAndLate,
    /// The commit stands still until the story lets it go.
    Held,
}

pub struct Wire {
    seen: Arc<Seen>,
}

struct Seen {
    fate: Fate,
    armed: AtomicBool,
    trips: AtomicU32,
    held: Notify,
    go: Notify,
}

impl Wire {
    /// Database that are reached over a wire, and the URL that leads past it.
    pub async fn to(database: &mut Database, fate: Fate) -> (Wire, String) {
        let straight = database.url.clone().unwrap();
        let (server, name) = straight.rsplit_once(':').unwrap().1.split_once('/').unwrap();
        let server: u16 = server.parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (armed, trips) = (AtomicBool::new(false), AtomicU32::new(0));
        let seen = Arc::new(Seen { fate, armed, trips, held: Notify::new(), go: Notify::new() });
        let shared = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                tokio::spawn(carry(client, server, Arc::clone(&shared)));
            }
        });
        database.url = Some(format!("postgres://postgres@127.0.0.1:{port}/{name}"));
        (Wire { seen }, straight)
    }

    /// The next commit meets its fate.
    pub fn arm(&self) {
        self.seen.armed.store(true, Ordering::SeqCst);
    }

    pub fn was_met(&self) -> bool {
        !self.seen.armed.load(Ordering::SeqCst)
    }

    /// Waits until a commit stands still.
    pub async fn held(&self) {
        self.seen.held.notified().await;
    }

    pub fn let_go(&self) {
        self.seen.go.notify_one();
    }

    /// How often the client waited for the server since this was asked before.
    pub fn trips(&self) -> u32 {
        self.seen.trips.swap(0, Ordering::SeqCst)
    }
}

async fn carry(mut client: TcpStream, mut server: TcpStream, seen: Arc<Seen>) {
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    let mut answered = true;
    loop {
        tokio::select! {
            biased;
            read = client.read(&mut up) => {
                let Ok(n @ 1..) = read else { return };
                if answered {
                    seen.trips.fetch_add(1, Ordering::SeqCst);
                    answered = false;
                }
                // An operation's own commit, and not that of a look at a new connection.
                let commits = up[..n].windows(26).any(|words| words == b"statement_timeout = 0; COM");
                let now = commits && seen.armed.swap(false, Ordering::SeqCst);
                if now && seen.fate == Fate::CutBefore {
                    return;
                }
                if now && seen.fate == Fate::CutAndLate {
                    drop(client);
                    tokio::time::sleep(Duration::from_millis(700)).await;
                    let _ = server.write_all(&up[..n]).await;
                    let _ = server.read(&mut down).await;
                    return;
                }
                if now && seen.fate == Fate::Held {
                    seen.held.notify_one();
                    seen.go.notified().await;
                }
                if server.write_all(&up[..n]).await.is_err() {
                    return;
                }
                if now && seen.fate == Fate::CutAfter {
                    // The server answers: it has committed. The client never hears of it.
                    let _ = server.read(&mut down).await;
                    return;
                }
            }
            read = server.read(&mut down) => {
                let Ok(n @ 1..) = read else { return };
                answered = true;
                if client.write_all(&down[..n]).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[test]
fn a_commit_whose_answer_was_lost_is_looked_up_and_not_repeated() {
    for fate in [Fate::CutBefore, Fate::CutAfter, Fate::CutAndLate] {
        let Some(mut database) = Database::postgres() else { return };
        let url = block_on(async {
            let (wire, url) = Wire::to(&mut database, fate).await;
            let engine = database.engine().await;
            wire.arm();
            send(&engine, PHONE).await;
            assert!(wire.was_met(), "the wire was not cut");
            let code = database.world.code_on(PHONE);
            assert_eq!(database.world.sandbox.messages().len(), 1, "{fate:?}");

            wire.arm();
            let wrong = World::wrong(&code);
            assert_eq!(verdict(&engine, PHONE, &wrong).await, Verdict::WrongCode { tries_left: 4 }, "{fate:?}");
            wire.arm();
            assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::Verified, "{fate:?}");
            assert!(wire.was_met(), "the wire was not cut");
            assert_eq!(verdict(&engine, PHONE, &code).await, Verdict::AlreadyUsed);
            url
        });
        // reserve, settle, and three verifications: each once.
        assert_eq!(pg::try_on(&url, "SELECT count(*) FROM smsotp.audit").unwrap(), ["5"], "{fate:?}");
    }
}

/// What the page for operators says of an operation.
fn promised(operation: &str) -> u32 {
    let page = include_str!("../../../docs/postgresql.md");
    let row = page
        .lines()
        .find(|line| line.starts_with(&format!("| {operation} |")))
        .unwrap_or_else(|| panic!("no {operation}"));
    row.split('|').nth(2).unwrap().trim().parse().unwrap()
}

#[test]
fn an_operation_waits_for_the_server_as_often_as_the_page_says() {
    // Behind a pooler as well, where nothing is prepared first.
    for parameters in ["", "?pooler=transaction"] {
        let Some(mut database) = Database::postgres() else { return };
        database.world.policy.limits = crate::world::unlimited();
        block_on(async {
            let (wire, _) = Wire::to(&mut database, Fate::Held).await;
            database.url = database.url.map(|url| url + parameters);
            let engine = database.engine().await;
            let ask = |key: &str| SendOtp { idempotency_key: Some(key.into()), ..ask(PHONE) };
            let sent = send(&engine, PHONE).await;
            let code = database.world.code_on(PHONE);
            // The first ones of a connection also wait until their statements are prepared.
            for key in ["order-1", "order-2"] {
                verdict(&engine, PHONE, &World::wrong(&code)).await;
                engine.send(&caller(), ask(key)).await.unwrap();
                engine.revoke(&caller(), &Revoke::Id(sent.otp_id), "lost phone").await.unwrap();
            }
            let sent = send(&engine, PHONE).await;
            let code = database.world.code_on(PHONE);
            wire.trips();

            for round in 0..4 {
                verdict(&engine, PHONE, &World::wrong(&code)).await;
                assert_eq!(wire.trips(), promised("verify"), "round {round} {parameters}");
                send(&engine, PHONE).await;
                assert_eq!(wire.trips(), promised("send"), "round {round} {parameters}");
            }
            let SendAnswer::Sent(_) = engine.send(&caller(), ask("order-3")).await.unwrap() else { panic!("refused") };
            assert_eq!(wire.trips(), promised("send with an idempotency key"), "{parameters}");
            engine.send(&caller(), ask("order-3")).await.unwrap();
            assert_eq!(wire.trips(), promised("the same again"), "{parameters}");
            let revoked = engine.revoke(&caller(), &Revoke::Id(sent.otp_id), "lost phone").await.unwrap();
            assert_eq!(revoked.len(), 1, "it lived");
            assert_eq!(wire.trips(), promised("revoke by id"), "{parameters}");
        });
    }
}
