//! One list of promises for every store: SQLite, SQLite behind the group writer as `serve` uses it, and PostgreSQL.
//!
//! Each story is written once and becomes three tests. While a story runs, each operation is checked: one that changed a row wrote
//! exactly one audit row. At its end the audit log is verified from the first row to the last.

pub mod checked;
pub mod crowd;
mod promises;
mod transfers;

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use smsotp::clock::{Clock, SystemClock, Timestamp};
use smsotp::engine::Engine;
use smsotp::keys::Keyring;
use smsotp::store::Store;
use smsotp::store::postgres::{self, Postgres};
use smsotp::store::sqlite::group::open_grouped;
use smsotp::store::sqlite::{self, Sqlite};
use smsotp::sums::Stage;

use self::checked::{Checks, checked};
use crate::pg;
use crate::world::{World, block_on, first_break, unlimited};

/// A database of one of the three kinds, in a world of its own.
pub struct Database {
    pub world: World,
    /// The URL of the PostgreSQL database; `None`: a SQLite file.
    pub url: Option<String>,
    /// The SQLite file is written through the group writer.
    pub grouped: bool,
    /// What the checks of the operations found, where they are checked.
    pub checks: Option<Arc<Checks>>,
}

impl Deref for Database {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl DerefMut for Database {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.world
    }
}

impl Database {
    pub fn sqlite() -> Database {
        Database { world: World::new(), url: None, grouped: false, checks: None }
    }

    pub fn grouped() -> Database {
        Database { grouped: true, ..Database::sqlite() }
    }

    /// `None` where there is no server to be had; that is said on the error stream.
    pub fn postgres() -> Option<Database> {
        let world = World::new();
        let ring = world.keyring();
        Database::postgres_in(world, &ring)
    }

    /// An empty database under a ring of somebody else's.
    pub fn postgres_for(ring: &Keyring) -> Option<Database> {
        Database::postgres_in(World::new(), ring)
    }

    fn postgres_in(world: World, ring: &Keyring) -> Option<Database> {
        let url = pg::database()?.url;
        let migrate = || block_on(Postgres::migrate(&url, ring, Arc::new(SystemClock)));
        // On a thread of its own: a story may ask for it from inside of its runtime.
        std::thread::scope(|scope| scope.spawn(migrate).join().unwrap()).unwrap();
        pg::run_on(&url, &stopped_clock(&world));
        Some(Database::at(world, url))
    }

    /// A PostgreSQL database that is there already.
    pub fn at(world: World, url: String) -> Database {
        Database { world, url: Some(url), grouped: false, checks: None }
    }

    /// Another new database of the same kind, in a world of its own.
    pub fn another(&self) -> Database {
        match &self.url {
            Some(_) => Database::postgres().unwrap(),
            None => Database { grouped: self.grouped, ..Database::sqlite() },
        }
    }

    /// Leaves no limit but the guesses of one code.
    pub fn unlimited(&mut self) {
        self.world.policy.limits = unlimited();
    }

    /// How exactly an operation that only looks knows the time: on PostgreSQL it may be up to five seconds ahead of the clock of the
    /// story, because it goes on from the time that the last operation read.
    pub fn slack(&self) -> Duration {
        if self.url.is_some() { Duration::from_secs(6) } else { Duration::from_millis(1) }
    }

    /// Moves the clock to just before the end of a span; `until_then` moves it to the end.
    pub fn advance_almost(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds) - self.slack());
    }

    /// See [`Database::advance_almost`].
    pub fn until_then(&self) {
        self.clock.advance(self.slack());
    }

    async fn open(&self, ring: &Keyring, grouped: bool) -> smsotp::error::Result<Store> {
        open(self.url.as_deref(), (&self.db(), grouped), ring, self.shared_clock(), CONNECTIONS).await
    }

    /// Opens the database with these keys.
    pub async fn store_with(&self, ring: &Keyring) -> smsotp::error::Result<Store> {
        let store = self.open(ring, self.grouped).await?;
        Ok(match &self.checks {
            Some(checks) => checked(store, self, Arc::clone(checks)).await,
            None => store,
        })
    }

    pub async fn store(&self) -> Store {
        self.store_with(&self.keyring()).await.unwrap()
    }

    /// Opens the database as a command does that looks after it as a whole, whatever else has it open.
    pub async fn store_of_a_command(&self) -> Store {
        self.open(&self.keyring(), false).await.unwrap()
    }

    pub async fn engine(&self) -> Engine {
        Engine::new(self.store().await, self.keyring(), Arc::new(self.policy.clone()))
            .with_provider(Arc::new(self.twilio()))
    }

    /// The first column of what a statement selects, as text.
    pub fn words(&self, sql: &str) -> Vec<String> {
        let Some(url) = &self.url else {
            let sqlite = self.sql();
            let mut statement = sqlite.prepare(sql).unwrap();
            let rows = statement.query_map([], |row| Ok(text(row.get_ref(0)?))).unwrap();
            return rows.map(Result::unwrap).collect();
        };
        pg::try_on(url, &format!("SET search_path = smsotp; {sql}")).unwrap()
    }

    /// One word out of the database.
    pub fn word(&self, sql: &str) -> String {
        let words = self.words(sql);
        assert_eq!(words.len(), 1, "{sql}");
        words.into_iter().next().unwrap()
    }

    /// One number out of the database.
    pub fn number(&self, sql: &str) -> i64 {
        self.word(sql).parse().unwrap()
    }

    /// Changes the database behind the back of the store.
    pub fn change(&self, sql: &str) {
        match &self.url {
            Some(url) => pg::run_on(url, &format!("SET search_path = smsotp; {sql}")),
            None => self.sql().execute_batch(sql).unwrap(),
        }
    }

    /// From now on the database refuses new rows of a table, all or those of a phone; the statement that ends it.
    pub fn refuse_rows(&self, table: &str, phone: Option<&str>) -> String {
        let when = phone.map_or(String::new(), |phone| format!("WHEN (NEW.phone_number = '{phone}')"));
        if self.url.is_some() {
            self.change(&format!(
                "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$; \
                 CREATE TRIGGER refused BEFORE INSERT ON {table} FOR EACH ROW {when} EXECUTE FUNCTION refuse()"
            ));
            return format!("DROP TRIGGER refused ON {table}; DROP FUNCTION refuse()");
        }
        self.change(&format!(
            "CREATE TRIGGER refused BEFORE INSERT ON {table} {when} BEGIN SELECT raise(ABORT, 'refused'); END"
        ));
        "DROP TRIGGER refused".to_owned()
    }

    /// From now on the database refuses changes of one row; the statement that ends it.
    pub fn refuse_changes(&self, table: &str, id: i64) -> String {
        if self.url.is_some() {
            self.change(&format!(
                "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$; \
                 CREATE TRIGGER refused BEFORE UPDATE ON {table} FOR EACH ROW WHEN (OLD.id = {id}) EXECUTE FUNCTION refuse()"
            ));
            return format!("DROP TRIGGER refused ON {table}; DROP FUNCTION refuse()");
        }
        self.change(&format!(
            "CREATE TRIGGER refused BEFORE UPDATE ON {table} WHEN OLD.id = {id} BEGIN SELECT raise(ABORT, 'refused'); END"
        ));
        "DROP TRIGGER refused".to_owned()
    }

    /// The audit log as "action outcome", oldest first.
    pub fn audit(&self) -> Vec<String> {
        self.words(match self.url {
            // Chains have no order among each other; transactions that ran one after the other have.
            Some(_) => {
                "SELECT (body::jsonb ->> 'action') || ' ' || (body::jsonb ->> 'outcome') FROM audit \
                 ORDER BY xmin::text::bigint, chain, seq"
            }
            None => "SELECT action || ' ' || outcome FROM audit ORDER BY seq",
        })
    }

    /// Verifies every chain of the audit log, and that each operation wrote the one row that it had to.
    pub async fn verify(&self) {
        let store = self.store_of_a_command().await;
        assert_eq!(first_break(&store).await, None, "the audit log is broken");
        let mut found = store.maintenance.check().await.unwrap();
        // The server of the stories is quick, not durable.
        found.retain(|finding| !finding.contains("fsync"));
        assert_eq!(found, [""; 0]);
        for row in super::world::audit_rows(&store).await {
            let body: serde_json::Value = serde_json::from_slice(&row.body).unwrap();
            let action = body["action"].as_str().unwrap();
            // Some stories write rows of their own.
            assert!(smsotp::audit::ACTIONS.contains(&action) || action == "test", "{action} is missing in ACTIONS");
        }
        self.verify_sums(&store).await;
        let Some(checks) = &self.checks else { return };
        assert_eq!(checks.findings(), Vec::<String>::new());
        if self.url.is_some() {
            assert_eq!(self.words(checked::WITHOUT_THEIR_AUDIT_ROW), [""; 0]);
        }
    }
}

impl Database {
    /// The sums of reports hold each message that is there, as far as it got; where none was deleted, nothing else.
    async fn verify_sums(&self, store: &Store) {
        let deleted = self.audit().iter().any(|row| ["purge", "forget", "test"].iter().any(|one| row.starts_with(one)));
        let sums = store.reads.sums(Timestamp(i64::MIN), Timestamp(i64::MAX)).await.unwrap();
        for (stage, condition) in [
            (Stage::Message, "true"),
            (Stage::Accepted, "provider_id IS NOT NULL"),
            (Stage::Unknown, "state = 'unknown'"),
            (Stage::Failed, "state IN ('failed', 'undelivered', 'canceled')"),
        ] {
            let there = self.number(&format!("SELECT count(*) FROM messages WHERE counted <> 'free' AND {condition}"));
            let counts = sums.iter().flat_map(|sums| &sums.counts).filter(|(of, ..)| *of == stage);
            let summed: i64 = counts.map(|(.., count)| count).sum();
            let holds = if deleted { there <= summed } else { there == summed };
            assert!(holds, "{stage:?}: {there} in messages, {summed} in sums");
        }
        let cost = self.number(
            "SELECT coalesce(sum(coalesce(settled, price)), 0) FROM messages \
             WHERE counted <> 'free' AND (provider_id IS NOT NULL OR state = 'unknown')",
        );
        let summed: i64 = sums.iter().map(|sum| sum.cost.0).sum();
        assert!(if deleted { cost <= summed } else { cost == summed }, "{cost} in messages, {summed} in sums");
    }
}

fn text(value: rusqlite::types::ValueRef<'_>) -> String {
    use rusqlite::types::ValueRef;
    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// Connections of a store to PostgreSQL: operations at a time.
const CONNECTIONS: usize = 16;

/// Opens a database of any kind.
pub async fn open(
    url: Option<&str>,
    (path, grouped): (&Path, bool),
    ring: &Keyring,
    clock: Arc<dyn Clock>,
    connections: usize,
) -> smsotp::error::Result<Store> {
    // A slow machine is no failure here.
    let wait_limit = Duration::from_secs(120);
    let options = sqlite::SqliteOptions { wait_limit, ..sqlite::SqliteOptions::default() };
    Ok(match url {
        Some(url) => {
            Arc::new(Postgres::open(url, ring, clock, postgres::PostgresOptions { connections, wait_limit }).await?)
                .into()
        }
        None if grouped => open_grouped(path, ring, clock, options)?,
        None => Arc::new(Sqlite::open(path, ring, clock, options)?).into(),
    })
}

/// Stops PostgreSQL's clock in the database of a story: a function of the same name is found before the server's own. The store
/// asks the database for the time, so that time moves as the story moves it and no other way.
fn stopped_clock(world: &World) -> String {
    let begun = world.clock.begun().millis();
    format!(
        "CREATE SCHEMA stopped; \
         CREATE FUNCTION stopped.clock_timestamp() RETURNS timestamptz LANGUAGE sql STABLE AS \
         $$ SELECT timestamptz 'epoch' + {begun} * interval '1 millisecond' $$; \
         DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = stopped, pg_catalog', current_database()); END $$"
    )
}

/// Runs a story and verifies the audit log at its end.
pub fn run(database: Option<Database>, story: impl AsyncFnOnce(&mut Database)) {
    let Some(mut database) = database else { return };
    database.checks = Some(Arc::default());
    // More threads than one: a story may wait for a server of its own without standing in the way of the store's connections.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        story(&mut database).await;
        database.verify().await;
    });
}

/// Makes three tests of each promise: one for each kind of store.
macro_rules! on_every_store {
    ($($promise:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[test] fn $promise() {
                crate::stores::run(Some(crate::stores::Database::sqlite()), super::$promise);
            })*
        }
        mod on_the_group_writer {
            $(#[test] fn $promise() {
                crate::stores::run(Some(crate::stores::Database::grouped()), super::$promise);
            })*
        }
        mod on_postgres {
            $(#[test] fn $promise() {
                crate::stores::run(crate::stores::Database::postgres(), super::$promise);
            })*
        }
    };
}
pub(crate) use on_every_store;
