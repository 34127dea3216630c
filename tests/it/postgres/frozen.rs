//! A server that is frozen: its connections stay open, and nothing on them is answered any more.

use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use smsotp::audit::Actor;
use smsotp::clock::SystemClock;
use smsotp::error::Code;
use smsotp::store::export::Transfer;
use smsotp::store::postgres::{Postgres, PostgresOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::pg;
use crate::stores::Database;
use crate::world::{PHONE, World, send};

/// How long an operation is retried in these stories.
const PATIENCE: PostgresOptions = PostgresOptions { connections: 2, wait_limit: Duration::from_millis(500) };

/// A URL that leads to the same database until `words` come by; from then on nothing goes through, on any connection.
async fn freezing_at(url: &str, words: &'static str) -> String {
    let (server, name) = url.rsplit_once(':').unwrap().1.split_once('/').unwrap();
    let server: u16 = server.parse().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let frozen = Arc::new(AtomicBool::new(false));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
            tokio::spawn(carry(client, server, words, Arc::clone(&frozen)));
        }
    });
    format!("postgres://postgres@127.0.0.1:{port}/{name}")
}

async fn carry(mut client: TcpStream, mut server: TcpStream, words: &'static str, frozen: Arc<AtomicBool>) {
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(n @ 1..) = read else { return };
                if up[..n].windows(words.len()).any(|part| part == words.as_bytes()) {
                    frozen.store(true, Ordering::SeqCst);
                }
                if !frozen.load(Ordering::SeqCst) && server.write_all(&up[..n]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut down) => {
                let Ok(n @ 1..) = read else { return };
                if !frozen.load(Ordering::SeqCst) && client.write_all(&down[..n]).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[test]
fn nothing_waits_for_ever_for_a_server_that_is_frozen() {
    let (Some(database), Some(empty)) = (Database::postgres(), Database::postgres()) else { return };
    let Some(fresh) = pg::database() else { return };
    let ring = database.keyring();
    crate::world::block_on(async {
        send(&database.engine().await, PHONE).await;
        let open = async |url: &str, ring, words| {
            let url = freezing_at(url, words).await;
            Postgres::open(&url, ring, database.shared_clock(), PATIENCE).await.unwrap()
        };
        let store =
            smsotp::store::Store::from(Arc::new(open(database.url.as_deref().unwrap(), &ring, "FETCH 1000").await));
        let mut lines = Vec::new();
        let error = store.maintenance.export(&mut lines, Transfer::Copy, &Actor::System).await.unwrap_err();
        assert_eq!(error.code(), Code::STORE_BUSY, "{error:?}");

        let mut lines = Vec::new();
        let straight = database.store_of_a_command().await;
        straight.maintenance.export(&mut lines, Transfer::Copy, &Actor::System).await.unwrap();
        let keys = empty.keyring();
        let target = open(empty.url.as_deref().unwrap(), &keys, "DELETE FROM smsotp.database_keys").await;
        let target = smsotp::store::Store::from(Arc::new(target));
        let error = target.maintenance.import(&mut Cursor::new(&lines), &ring).await.unwrap_err();
        assert_eq!(error.code(), Code::STORE_BUSY, "{error:?}");

        let url = freezing_at(&fresh.url, "CREATE TABLE smsotp.otps").await;
        let keys = World::new().keyring();
        let error = Postgres::migrate_with(&url, &keys, Arc::new(SystemClock), PATIENCE).await.unwrap_err();
        assert_eq!(error.code(), Code::STORE_BUSY, "{error:?}");
    });
    // What was frozen half way was not done.
    assert_eq!(pg::try_on(&fresh.url, "SELECT count(*) FROM pg_namespace WHERE nspname = 'smsotp'").unwrap(), ["0"]);
    assert_eq!(empty.number("SELECT count(*) FROM audit_heads WHERE seq > 0"), 0);
}

#[test]
fn a_host_that_does_not_exist_is_said_at_once_and_one_that_does_not_answer_soon() {
    let mut desk = crate::desk::Desk::bare();
    desk.set("SMSOTP_SECRET_KEY", crate::world::new_key());
    // A port at which nobody listens: it may be a server that starts, so it is waited for, but not in silence.
    desk.set("SMSOTP_DATABASE", "postgres://nobody@127.0.0.1:1/nowhere");
    desk.run("list").expect(74).says("has not answered yet").says("SMSOTP_DATABASE");
    // A name that cannot exist (RFC 6761), where there is a resolver to say so.
    desk.set("SMSOTP_DATABASE", "postgres://nobody@no-such-host.invalid/nowhere");
    let ran = desk.run("list");
    assert!([74, 78].contains(&ran.code()), "{ran:?}");
    if ran.code() == 78 {
        assert!(!ran.err.contains("has not answered yet"), "{ran:?}");
    }
}
