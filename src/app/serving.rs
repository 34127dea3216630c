//! What `serve` needs beyond one command: a store that commits many operations at once, threads, and the provider's checks.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::{App, twilio_of, uses_twilio};
use crate::check::Check;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Database};
use crate::engine::Engine;
use crate::error::{Code, Error, Result};
use crate::keys::Keyring;
use crate::provider::twilio::checks;
use crate::store::Store;
use crate::store::postgres::{self, Postgres};
use crate::store::sqlite::group::open_grouped;
use crate::store::sqlite::{self, SqliteOptions};

/// Threads that answer requests: the store has its own, and the rest is waiting for the network.
const THREADS_MAX: usize = 4;

/// Without callbacks the worker asks for a message's state, first so long after it was accepted.
const POLL: Duration = Duration::from_secs(10);

/// With callbacks it asks only where none arrived.
const POLL_LATE: Duration = Duration::from_secs(120);

/// Runs the provider's checks.
pub type TwilioChecks = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Vec<Check>> + Send>> + Send + Sync>;

impl App {
    /// Opens the database for many requests at once. A new database is made where there is none.
    ///
    /// # Errors
    /// As [`App::open`].
    pub fn open_serving(config: Config) -> Result<App> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let runtime = threads()?;
        let (store, keyring): (Store, _) = match &config.database {
            Database::Sqlite(path) => {
                let keyring = Arc::new(Keyring::load(&config.keys, !sqlite::exists(path))?);
                let opening =
                    SqliteOptions { create: true, create_dir: config.database_is_default, ..SqliteOptions::default() };
                (open_grouped(path, &keyring, clock, opening)?, keyring)
            }
            Database::Postgres(url) => {
                let keyring = Arc::new(Keyring::load(&config.keys, false)?);
                // On the threads that serve: its connections live there.
                let open = Postgres::open(url.expose_secret(), &keyring, clock, postgres::PostgresOptions::default());
                (Arc::new(runtime.block_on(open)?).into(), keyring)
            }
        };
        let poll_after = if config.twilio.status_callback.is_some() { POLL_LATE } else { POLL };
        let engine = Engine::new(store, Arc::clone(&keyring), Arc::new(config.policy.clone())).polling(poll_after);
        Ok(App { engine, keyring, config, runtime: Some(runtime) })
    }

    /// The checks of `test-twilio` over one client that stays; `None` without Twilio.
    ///
    /// # Errors
    /// `CONFIG_INVALID`.
    pub fn served_checks(&self) -> Result<Option<TwilioChecks>> {
        if !uses_twilio(&self.config) {
            return Ok(None);
        }
        let twilio = Arc::new(twilio_of(&self.config)?);
        Ok(Some(Arc::new(move || {
            let twilio = Arc::clone(&twilio);
            Box::pin(async move { twilio.checks(&checks::CheckOptions::default()).await })
        })))
    }
}

fn threads() -> Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.clamp(2, THREADS_MAX))
        .enable_all()
        .build()
        .map_err(|error| Error::new(Code::BUG, "no runtime can be started").because(error))
}
