//! A server that shows a certificate and asks for passwords: who is believed, and what a stranger is told who is not let in.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use smsotp::clock::SystemClock;
use smsotp::engine::Verdict;
use smsotp::error::{Code, Error};
use smsotp::keys::Keyring;
use smsotp::store::postgres::{Postgres, PostgresOptions};

use crate::pg::{self, Cluster};
use crate::stores::Database;
use crate::world::{PHONE, World, block_on, send, verdict};

/// Makes an authority and a certificate of its for 127.0.0.1 and no name.
fn certificates(dir: &Path) -> Result<(), String> {
    let script = "umask 077; key='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'; \
        for ca in ca other; do openssl req -x509 $key -keyout $ca.key -out $ca.pem -days 2 -subj /CN=$ca; done && \
        openssl req $key -keyout key.pem -out req.pem -subj /CN=db && echo subjectAltName=IP:127.0.0.1 > names && \
        openssl x509 -req -in req.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem && \
        chmod 755 . && chmod 644 ca.pem other.pem";
    let made = pg::as_server(Path::new("/bin/sh")).args(["-c", script]).current_dir(dir).output();
    match made {
        Ok(made) if made.status.success() => Ok(()),
        Ok(made) => Err(String::from_utf8_lossy(&made.stderr).into_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn server(dir: &Path) -> Result<Cluster, String> {
    certificates(dir)?;
    let file = |name: &str, it: &str| format!("{name}={}", dir.join(it).display());
    let (cert, key) = (file("ssl_cert_file", "cert.pem"), file("ssl_key_file", "key.pem"));
    let cluster = Cluster::start(&["-c", "fsync=off", "-c", "ssl=on", "-c", &cert, "-c", &key])?;
    let rules = "host all postgres 127.0.0.1/32 trust\nhost all poor 127.0.0.1/32 trust\n\
        hostssl all guarded 127.0.0.1/32 trust\nhost all asked 127.0.0.1/32 scram-sha-256\n";
    fs::write(cluster.dir.join("data/pg_hba.conf"), rules).map_err(|error| error.to_string())?;
    let url = cluster.url("postgres");
    for sql in [
        "SELECT pg_reload_conf()",
        "CREATE ROLE poor LOGIN",
        "CREATE ROLE guarded LOGIN",
        "CREATE ROLE asked LOGIN PASSWORD 'right'",
        "CREATE DATABASE database",
    ] {
        pg::run_on(&url, sql);
    }
    Ok(cluster)
}

async fn open(url: &str, ring: &Keyring) -> Result<Postgres, Error> {
    Postgres::open(url, ring, Arc::new(SystemClock), PostgresOptions::default()).await
}

#[test]
fn who_is_not_believed_or_not_let_in_is_told_why() {
    if pg::shared().is_none() {
        return;
    }
    let dir = pg::private_dir().unwrap();
    let cluster = match server(&dir) {
        Ok(cluster) => cluster,
        Err(why) => return pg::skipped(&format!("the story of certificates did not run: {why}")),
    };
    let world = World::new();
    let ring = world.keyring();
    let at = |user: &str, host: &str, rest: &str| format!("postgres://{user}@{host}:{}/{rest}", cluster.port);
    let roots = |name: &str| format!("sslrootcert={}", dir.join(name).display());
    block_on(async {
        let database = at("postgres", "127.0.0.1", "database");
        Postgres::migrate(&database, &ring, Arc::new(SystemClock)).await.unwrap();
        // The authority is named and the host is the certificate's; or the URL asks for less.
        for good in [
            format!("{database}?{}", roots("ca.pem")),
            at("postgres", "localhost", &format!("database?sslmode=verify-ca&{}", roots("ca.pem"))),
            at("postgres", "localhost", "database?sslmode=require"),
        ] {
            let opened = open(&good, &ring).await;
            assert!(opened.is_ok(), "{good}: {:?}", opened.err());
            let encrypted = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND application_name = 'smsotp'";
            assert_ne!(pg::try_on(&database, encrypted).unwrap(), ["0"], "{good}");
        }
        for (bad, words) in [
            (at("postgres", "localhost", &format!("database?{}", roots("ca.pem"))), "certificate"),
            (format!("{database}?{}", roots("other.pem")), "certificate"),
            (format!("{database}?sslmode=verify-ca&{}", roots("other.pem")), "certificate"),
            (at("postgres", "127.0.0.1", "no_such"), "no database of that name"),
            (at("asked:wrong", "127.0.0.1", "database"), "refused the password"),
            (at("asked", "127.0.0.1", "database"), "asks for a password"),
            (at("guarded", "127.0.0.1", "database"), "does not let that user in"),
            (at("nobody", "127.0.0.1", "database"), "does not let that user in"),
        ] {
            let error = open(&bad, &ring).await.err().unwrap();
            assert_eq!(error.code(), Code::CONFIG_INVALID, "{bad}: {error:?}");
            assert!(error.message().contains(words) && error.hint_text().is_some(), "{bad}: {error:?}");
        }
        let poor = at("poor", "127.0.0.1", "database");
        let error = open(&poor, &ring).await.err().unwrap();
        assert!(error.hint_text().unwrap().starts_with("Grant it"), "{error:?}");
        // What the hint and the page say is enough.
        for all in
            ["USAGE ON SCHEMA smsotp", "ALL ON ALL TABLES IN SCHEMA smsotp", "ALL ON ALL SEQUENCES IN SCHEMA smsotp"]
        {
            pg::run_on(&database, &format!("GRANT {all} TO poor"));
        }
        let database = Database::at(world, poor);
        let engine = database.engine().await;
        send(&engine, PHONE).await;
        assert_eq!(verdict(&engine, PHONE, &database.world.code_on(PHONE)).await, Verdict::Verified);
        engine.reads().status().await.unwrap();
    });
    // The shared server shows no certificate.
    let plain = pg::shared().unwrap();
    if plain.contains("@127.0.0.1:") && !plain.contains('?') {
        let error = block_on(open(&format!("{plain}?sslmode=require"), &ring)).err().unwrap();
        assert!(error.message().contains("offers no encryption"), "{error:?}");
    }
    drop(cluster);
    let _ = fs::remove_dir_all(&dir);
}
