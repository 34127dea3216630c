//! A PostgreSQL of our own for the stories: a private cluster in a temporary directory on a loopback port, gone with the test
//! process however that ends. Or the server that `SMSOTP_TEST_POSTGRES` names (a URL of a superuser's).

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio_postgres::NoTls;

/// A running server.
pub struct Cluster {
    pub dir: PathBuf,
    pub port: u16,
    /// Keeps the server running while it lives: when its input ends, it stops the server and removes the directory.
    watcher: Option<Child>,
}

/// A database of a story's own.
pub struct Database {
    pub url: String,
}

/// Where the programs of PostgreSQL are: on the PATH, or the newest of Debian's.
pub fn bin(program: &str) -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|dir| dir.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    versions.sort_by_key(|path| path.parent().and_then(|p| p.file_name()?.to_str()?.parse::<u32>().ok()));
    versions.reverse();
    versions.extend(variable("PATH").iter().flat_map(|path| std::env::split_paths(path).collect::<Vec<_>>()));
    versions.into_iter().map(|dir| dir.join(program)).find(|path| path.is_file())
}

#[expect(clippy::disallowed_methods, reason = "a test finds its tools where the machine has them")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The server of all stories, or why there is none (said once, on the error stream).
pub fn shared() -> Option<&'static str> {
    static URL: OnceLock<Option<(Option<Cluster>, String)>> = OnceLock::new();
    let found = URL.get_or_init(|| {
        if let Some(url) = variable("SMSOTP_TEST_POSTGRES") {
            return Some((None, url));
        }
        match Cluster::start(&["-c", "fsync=off", "-c", "max_connections=300"]) {
            Ok(cluster) => {
                let url = cluster.url("postgres");
                Some((Some(cluster), url))
            }
            Err(why) => {
                skipped(&format!("The PostgreSQL stories did not run: {why}"));
                None
            }
        }
    });
    found.as_ref().map(|(_, url)| url.as_str())
}

/// Says what was left out, past the capture of the test harness.
pub fn skipped(what: &str) {
    let _ = writeln!(std::io::stderr(), "\nSKIPPED: {what}");
}

/// Says a number that a story measured, past the capture of the test harness.
pub fn report(what: &str) {
    let _ = writeln!(std::io::stderr(), "\nREPORT: {what}");
}

/// A new database for one story; `None` where there is no server.
pub fn database() -> Option<Database> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let server = shared()?;
    let name = format!("story_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    run_on(server, &format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'"));
    Some(Database { url: in_database(server, &name) })
}

/// The same server, another database.
fn in_database(url: &str, name: &str) -> String {
    let (base, query) = url.split_once('?').map_or((url, String::new()), |(base, query)| (base, format!("?{query}")));
    let server = base.rsplit_once('/').unwrap().0;
    format!("{server}/{name}{query}")
}

/// Runs a statement as the superuser.
pub fn run_on(url: &str, sql: &str) {
    let ran = try_on(url, sql);
    assert!(ran.is_ok(), "{sql}: {ran:?}");
}

/// Runs a statement and gives back the first column of its rows.
pub fn try_on(url: &str, sql: &str) -> Result<Vec<String>, tokio_postgres::Error> {
    // A runtime and a thread of its own: stories may call it from inside of theirs.
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::scope(|scope| scope.spawn(|| runtime().block_on(ask(url, sql))).join().unwrap())
}

async fn ask(url: &str, sql: &str) -> Result<Vec<String>, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    let driver = tokio::spawn(connection);
    let messages = client.simple_query(sql).await;
    drop(client);
    let _ = driver.await;
    let text = |message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
        _ => None,
    };
    Ok(messages?.into_iter().filter_map(text).collect())
}

impl Cluster {
    /// Makes a cluster and starts it.
    pub fn start(settings: &[&str]) -> Result<Cluster, String> {
        let dir = private_dir()?;
        let initdb = bin("initdb").ok_or("no initdb was found (on Debian: apt-get install postgresql)")?;
        let made = as_server(&initdb)
            .args(["-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8", "-D"])
            .arg(dir.join("data"))
            .output()
            .map_err(|error| format!("initdb could not be started: {error}"))?;
        if !made.status.success() {
            return Err(format!("initdb failed: {}", String::from_utf8_lossy(&made.stderr)));
        }
        Cluster::run(dir, settings)
    }

    /// Makes a copy of a running cluster that follows it, and starts that.
    pub fn follow(&self, name: &str, settings: &[&str]) -> Result<Cluster, String> {
        let dir = private_dir()?;
        let basebackup = bin("pg_basebackup").ok_or("no pg_basebackup was found")?;
        let source = format!("host=127.0.0.1 port={} user=postgres application_name={name}", self.port);
        let made = as_server(&basebackup)
            .args(["-R", "-c", "fast", "--no-sync", "-d", &source, "-D"])
            .arg(dir.join("data"))
            .output()
            .map_err(|error| format!("pg_basebackup could not be started: {error}"))?;
        if !made.status.success() {
            return Err(format!("pg_basebackup failed: {}", String::from_utf8_lossy(&made.stderr)));
        }
        Cluster::run(dir, settings)
    }

    fn run(dir: PathBuf, settings: &[&str]) -> Result<Cluster, String> {
        let port = free_port();
        let postgres = bin("postgres").ok_or("no postgres was found")?;
        let watcher = as_server(Path::new("/bin/sh"))
            .args(["-c", WATCH, "watcher"])
            .arg(&dir)
            .arg(&postgres)
            .arg("-D")
            .arg(dir.join("data"))
            .arg("-k")
            .arg(&dir)
            .args(["-p", &port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "logging_collector=off"])
            .args(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("the server could not be started: {error}"))?;
        let cluster = Cluster { dir, port, watcher: Some(watcher) };
        cluster.wait_until_ready()?;
        Ok(cluster)
    }

    fn wait_until_ready(&self) -> Result<(), String> {
        let until = Instant::now() + Duration::from_secs(60);
        while Instant::now() < until {
            let status = fs::read_to_string(self.dir.join("data/postmaster.pid")).unwrap_or_default();
            if matches!(status.lines().nth(7).map(str::trim), Some("ready" | "standby")) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        Err(format!("the server did not get ready: {log}"))
    }

    /// How to reach a database of it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The process of the server.
    pub fn pid(&self) -> u32 {
        fs::read_to_string(self.dir.join("data/postmaster.pid")).unwrap().lines().next().unwrap().parse().unwrap()
    }

    /// Ends the server and every process of it as a power failure would.
    pub fn kill(&self) {
        use nix::sys::signal::{Signal, kill};
        use nix::unistd::Pid;
        let end = |pid: u32| kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL);
        let server = self.pid();
        let backends = children(server);
        end(server).unwrap();
        for backend in backends {
            let _ = end(backend);
        }
    }

    /// Makes a follower the primary.
    pub fn promote(&self) {
        let done = as_server(&bin("pg_ctl").unwrap())
            .args(["promote", "-w", "-D"])
            .arg(self.dir.join("data"))
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut watcher) = self.watcher.take() {
            drop(watcher.stdin.take());
            let _ = watcher.wait();
        }
    }
}

/// Runs the server until the input ends, which it does with the test process.
const WATCH: &str = r#"dir=$1; shift
"$@" > "$dir/log" 2>&1 < /dev/null &
server=$!
cat > /dev/null
kill -QUIT $server 2> /dev/null
wait $server
rm -rf "$dir""#;

/// The processes that a process started.
pub fn children(of: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
        if parent == Some(of) {
            found.push(pid);
        }
    }
    found
}

/// PostgreSQL refuses to run as root: then its own user runs it, or nobody.
fn server_user() -> Option<nix::unistd::User> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    ["postgres", "nobody"].iter().find_map(|name| nix::unistd::User::from_name(name).ok().flatten())
}

/// A command that runs as the server's user.
pub fn as_server(program: &Path) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(program);
    if let Some(user) = server_user() {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command.current_dir("/").env("LC_ALL", "C.UTF-8");
    command
}

/// A directory that belongs to the server's user.
pub fn private_dir() -> Result<PathBuf, String> {
    let dir = tempfile::Builder::new().prefix("smsotp-pg-").tempdir().map_err(|error| error.to_string())?.keep();
    if let Some(user) = server_user() {
        std::os::unix::fs::chown(&dir, Some(user.uid.as_raw()), Some(user.gid.as_raw())).map_err(|e| e.to_string())?;
    }
    Ok(dir)
}

/// A port that nobody uses at the moment.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
