//! What `serve`, and a command that sends many messages, need beyond one operation: a store that commits many operations at once, threads, and the provider's checks.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::{App, OpenMode, built, chosen_provider, engine, open_store, twilio};
use crate::check::Check;
use crate::clock::SystemClock;
use crate::config::{Config, ProviderName};
use crate::error::Result;
use crate::provider::twilio::checks;
use crate::store::sqlite::group::open_grouped;
use crate::wipe;

/// Threads that answer requests: the store has its own, and the rest is waiting for the network.
const THREADS_MAX: usize = 4;

/// Runs the provider's checks.
pub type TwilioChecks = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Vec<Check>> + Send>> + Send + Sync>;

impl App {
    /// Opens the database for many operations at once. A new SQLite database is created where there is none.
    ///
    /// # Errors
    /// As [`App::open`].
    pub fn open_for_many(config: Config, notice: &dyn Fn(&str)) -> Result<App> {
        let runtime = threads()?;
        let (store, keyring) =
            open_store(&config, OpenMode::MayCreate, (&runtime, notice), |path, keyring, options| {
                open_grouped(path, keyring, Arc::new(SystemClock), options)
            })?;
        let engine = engine(&config, store, &keyring);
        Ok(App { engine, keyring, config, runtime: Some(runtime) })
    }

    /// The checks of `test-twilio` over one client that stays; `None` without Twilio.
    ///
    /// # Errors
    /// `CONFIG_INVALID`.
    pub fn served_checks(&self) -> Result<Option<TwilioChecks>> {
        if chosen_provider(&self.config) != Some(ProviderName::Twilio) {
            return Ok(None);
        }
        let twilio = Arc::new(twilio(&self.config, None)?);
        let options = checks::CheckOptions { day: self.config.policy.guard.ceilings.day, ..Default::default() };
        Ok(Some(Arc::new(move || {
            let (twilio, options) = (Arc::clone(&twilio), options.clone());
            Box::pin(async move { twilio.checks(&options).await })
        })))
    }
}

fn threads() -> Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    built(
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(cores.clamp(2, THREADS_MAX))
            .on_thread_park(wipe::unused_stack),
    )
}
