//! One list of promises, kept by every store: each is told once, on database of either kind.
//!
//! Time flows as it does for users, and is moved on by an offset; where a story needs the very millisecond it belongs to
//! `verifying`, on a clock that stands still.

pub mod crowd;
mod promises;
mod transfers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use smsotp::clock::{Clock, SystemClock, Timestamp};
use smsotp::engine::Engine;
use smsotp::keys::Keyring;
use smsotp::store::Store;
use smsotp::store::postgres::{self, Postgres};
use smsotp::store::sqlite::{self, Sqlite};

use crate::pg;
use crate::world::World;

/// The system's clock, moved forward.
#[derive(Default)]
pub struct Moved(AtomicU64);

impl Clock for Moved {
    fn now(&self) -> Timestamp {
        SystemClock.now() + self.offset()
    }
    fn offset(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// Database of one kind, with a phone network around them.
pub struct Database {
    pub world: World,
    pub clock: Arc<Moved>,
    /// The URL of the database; `None`: a SQLite file.
    pub url: Option<String>,
}

impl Database {
    pub fn sqlite() -> Database {
        Database { world: World::new(), clock: Arc::default(), url: None }
    }

    /// `None` where there is no server to be had; that is said aloud.
    pub fn postgres() -> Option<Database> {
        let world = World::new();
        let url = Database::postgres_for(&world.keyring())?.url;
        Some(Database { world, clock: Arc::default(), url })
    }

    /// The same under a ring of somebody else's.
    pub fn postgres_for(ring: &Keyring) -> Option<Database> {
        let database = pg::database()?;
        crate::world::block_on(Postgres::migrate(&database.url, ring, Arc::new(SystemClock))).unwrap();
        Some(Database { world: World::new(), clock: Arc::default(), url: Some(database.url) })
    }

    pub async fn store_with(&self, ring: &Keyring) -> smsotp::error::Result<Store> {
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as Arc<dyn Clock>;
        Ok(match &self.url {
            Some(url) => Arc::new(Postgres::open(url, ring, clock, postgres::PostgresOptions::default()).await?).into(),
            None => Arc::new(Sqlite::open(&self.world.db(), ring, clock, sqlite::SqliteOptions::default())?).into(),
        })
    }

    pub async fn store(&self) -> Store {
        self.store_with(&self.world.keyring()).await.unwrap()
    }

    pub async fn engine(&self) -> Engine {
        Engine::new(self.store().await, self.world.keyring(), Arc::new(self.world.policy.clone()))
            .with_provider(Arc::new(self.world.twilio()))
    }

    pub fn advance(&self, seconds: u64) {
        self.clock.0.fetch_add(seconds * 1000, Ordering::SeqCst);
    }

    pub fn offset_ms(&self) -> u64 {
        self.clock.0.load(Ordering::SeqCst)
    }

    pub fn at_offset(ms: u64) -> Arc<Moved> {
        Arc::new(Moved(AtomicU64::new(ms)))
    }
}

/// Makes two tests of each promise: one for each kind of database.
macro_rules! on_both {
    ($($promise:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[test] fn $promise() { super::$promise(crate::stores::Database::sqlite()); })*
        }
        mod on_postgres {
            $(#[test] fn $promise() {
                if let Some(database) = crate::stores::Database::postgres() { super::$promise(database); }
            })*
        }
    };
}
pub(crate) use on_both;
