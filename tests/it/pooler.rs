//! Through a pooler that hands connections round after every transaction (pgbouncer, transaction mode).

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use smsotp::engine::{SendAnswer, Verdict};
use smsotp::error::Code;
use smsotp::otp::User;

use crate::pg;
use crate::stores::Database;
use crate::world::{PHONE, World, ask, block_on, caller, send, verdict};

/// A pgbouncer in front of the shared server, with this many connections to it.
struct Pooler {
    process: Child,
    dir: std::path::PathBuf,
    port: u16,
}

impl Pooler {
    fn start(server: &str, connections: u32, more: &str) -> Option<Pooler> {
        let found = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].map(std::path::PathBuf::from);
        let Some(program) = found.into_iter().find(|path| path.is_file()).or_else(|| pg::bin("pgbouncer")) else {
            pg::skipped(
                "the pooler stories did not run: no pgbouncer was found (on Debian: apt-get install pgbouncer)",
            );
            return None;
        };
        let address = server.split_once('@').unwrap().1.split('/').next().unwrap();
        let (host, port) = address.rsplit_once(':').unwrap_or((address, "5432"));
        let dir = pg::private_dir().unwrap();
        let listen = pg::free_port();
        let settings = format!(
            "[databases]\n* = host={host} port={port} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {listen}\n\
             unix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = {connections}\nmax_client_conn = 300\n{more}\n"
        );
        fs::write(dir.join("pgbouncer.ini"), settings).unwrap();
        let process = pg::as_server(&program)
            .arg(dir.join("pgbouncer.ini"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pooler = Pooler { process, dir, port: listen };
        let until = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(("127.0.0.1", listen)).is_err() {
            assert!(Instant::now() < until, "pgbouncer did not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(pooler)
    }

    /// The URL of a user who says that there is a pooler.
    fn url(&self, server: &str) -> String {
        format!("{}?pooler=transaction", self.url_of_whoever_forgot(server))
    }

    fn url_of_whoever_forgot(&self, server: &str) -> String {
        let database = server.rsplit_once('/').unwrap().1;
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn database_behind(connections: u32) -> Option<(Database, Pooler)> {
    let mut database = Database::postgres()?;
    let server = database.url.clone()?;
    let pooler = Pooler::start(&server, connections, "")?;
    database.url = Some(pooler.url(&server));
    Some((database, pooler))
}

#[test]
fn many_machines_share_a_few_connections() {
    let Some((mut database, _pooler)) = database_behind(3) else { return };
    (database.world.policy.limits.cooldown, database.world.policy.limits.user) = (Vec::new(), Vec::new());
    block_on(async {
        let engines = join_all((0..12).map(|_| database.engine())).await;
        send(&engines[0], PHONE).await;
        let code = database.world.code_on(PHONE);
        let wrong = World::wrong(&code);
        let answers = join_all(engines.iter().map(|engine| verdict(engine, PHONE, &wrong))).await;
        assert_eq!(answers.iter().filter(|v| matches!(v, Verdict::WrongCode { .. })).count(), 5, "{answers:?}");

        let other = "+14155550199";
        let answers = join_all(engines.iter().map(|engine| async {
            let ask = smsotp::engine::SendOtp { user: User::default(), ..ask(other) };
            matches!(engine.send(&caller(), ask).await.unwrap(), SendAnswer::Sent(_))
        }))
        .await;
        assert_eq!(answers.iter().filter(|went| **went).count(), 3, "three in ten minutes");
    });
}

#[test]
fn one_connection_is_enough_for_everyone() {
    let Some((database, _pooler)) = database_behind(1) else { return };
    block_on(async {
        let engines = join_all((0..6).map(|_| database.engine())).await;
        send(&engines[0], PHONE).await;
        let code = database.world.code_on(PHONE);
        let answers = join_all(engines.iter().map(|engine| verdict(engine, PHONE, &code))).await;
        assert_eq!(answers.iter().filter(|v| **v == Verdict::Verified).count(), 1, "{answers:?}");
        // However long somebody goes on, nothing of theirs stays on the connection that all share.
        for _ in 0..8 {
            assert_eq!(verdict(&engines[0], PHONE, &code).await, Verdict::AlreadyUsed);
        }
    });
    let url = database.url.as_ref().unwrap().split('?').next().unwrap();
    assert_eq!(pg::try_on(url, "SELECT count(*) FROM pg_prepared_statements").unwrap(), ["0"]);
    assert_eq!(pg::try_on(url, "SHOW enable_seqscan").unwrap(), ["on"]);
}

#[test]
fn whoever_forgets_the_pooler_is_told_what_to_add_to_the_url() {
    // One that refuses the settings that come with a connection, and one that drops them.
    for more in ["", "ignore_startup_parameters = options"] {
        let Some(mut database) = Database::postgres() else { return };
        let server = database.url.clone().unwrap();
        let Some(pooler) = Pooler::start(&server, 2, more) else { return };
        let ring = database.world.keyring();
        block_on(async {
            database.url = Some(pooler.url_of_whoever_forgot(&server));
            let error = database.store_with(&ring).await.err().expect("nobody noticed");
            assert_eq!(error.code(), Code::CONFIG_INVALID, "{more}: {error:?}");
            assert!(error.hint_text().unwrap().contains("pooler=transaction"), "{more}: {error:?}");

            database.url = Some(pooler.url(&server));
            database.store_with(&ring).await.unwrap();
        });
    }
}
