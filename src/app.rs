//! The wiring: a configuration in, an engine out. The only place that names concrete stores and providers.

mod checking;
mod moves;
mod serving;
mod simulating;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;

use crate::audit::Actor;
use crate::check::Check;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::config::{Config, Database, ProviderName};
use crate::engine::{Caller, Engine, KeyUse};
use crate::error::{Code, Error, Result};
use crate::keys::{self, KeyId, Keyring, Origin};
use crate::message::State;
use crate::notify::webhook::WebhookClient;
use crate::phone::Phone;
use crate::provider::console::Console;
use crate::provider::twilio::{self, Timeouts, Twilio, checks};
use crate::provider::{Delivery, Outgoing, Provider};
use crate::store::postgres::{Postgres, PostgresOptions};
use crate::store::sqlite::{self, Sqlite, SqliteOptions};
use crate::store::{self, Store};

/// Whether a command may create the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// It must exist.
    Existing,
    /// It must exist, and may be where nothing can be written: for commands that only read.
    Reading,
    /// It is created where there is none.
    MayCreate,
}

/// An engine over the configured database, with what the command line needs around it.
pub struct App {
    engine: Engine,
    keyring: Arc<Keyring>,
    config: Config,
    runtime: Option<tokio::runtime::Runtime>,
}

/// After so long somebody who waits for a database server gets a warning.
const NOTICED: Duration = Duration::from_secs(2);

/// Where the console provider prints.
pub type Printer = Box<dyn Fn(&str) + Send + Sync>;

impl App {
    /// Opens the database. Nothing that a command does not need is started: no provider, no client, no second thread.
    /// `notice` hears what whoever waits should know.
    ///
    /// # Errors
    /// `KEY_INVALID`, `STORE_*`, `CONFIG_INVALID`.
    pub fn open(config: Config, mode: OpenMode, notice: &dyn Fn(&str)) -> Result<App> {
        let runtime = runtime()?;
        let (store, keyring) = open_store(&config, mode, (&runtime, notice), |path, keyring, options| {
            Ok(Arc::new(Sqlite::open(path, keyring, Arc::new(SystemClock), options)?).into())
        })?;
        tracing::info!(target: "smsotp", keys = %keyring.origin(), "opened the database");
        let engine = engine(&config, store, &keyring);
        Ok(App { engine, keyring, config, runtime: Some(runtime) })
    }

    /// The path of the configured SQLite file, where nothing was ever sent: neither the file is there, nor anything that keeps
    /// `send` from creating it.
    pub fn no_database_yet(config: &Config) -> Option<&Path> {
        match &config.database {
            Database::Sqlite(path) if sqlite::may_be_created(path, config.database_is_default) => Some(path),
            _ => None,
        }
    }

    /// Makes or updates the tables of the configured PostgreSQL database; returns the versions before and after. SQLite's
    /// are brought up to date whenever the file is opened.
    ///
    /// # Errors
    /// `KEY_INVALID`, `STORE_*`, `CONFIG_INVALID`.
    pub fn migrate(config: &Config, notice: &dyn Fn(&str)) -> Result<(u32, u32)> {
        let Database::Postgres(url) = &config.database else {
            return Err(Error::new(Code::CONFIG_INVALID, "a SQLite file is brought up to date whenever it is opened")
                .hint("`smsotp db status` shows its version; `db migrate` is for PostgreSQL."));
        };
        let keyring = Keyring::load(&config.keys, false)?;
        let runtime = runtime()?;
        runtime.block_on(noticed(Postgres::migrate(url.expose_secret(), &keyring, Arc::new(SystemClock)), notice))
    }

    /// Gives the engine the configured provider, which waits for no answer longer than `longest_wait`.
    ///
    /// # Errors
    /// `NO_PROVIDER`, `CONFIG_INVALID`.
    pub fn with_provider(mut self, printer: Printer, longest_wait: Option<Duration>) -> Result<App> {
        let provider = provider(&self.config, printer, longest_wait)?;
        tracing::info!(target: "smsotp", provider = provider.name(), "chose the provider");
        self.engine = self.engine.clone().with_provider(provider);
        Ok(self)
    }

    /// Gives the engine the configured provider, if there is one.
    ///
    /// # Errors
    /// `CONFIG_INVALID`.
    pub fn with_any_provider(self, printer: Printer) -> Result<App> {
        if chosen_provider(&self.config).is_some() { self.with_provider(printer, None) } else { Ok(self) }
    }

    /// Gives the engine the configured provider, if there is one that works: for what is worth doing without.
    #[must_use]
    pub fn with_a_provider_that_works(mut self) -> App {
        match chosen_provider(&self.config).map(|_| provider(&self.config, Box::new(|_| {}), None)) {
            Some(Ok(provider)) => self.engine = self.engine.clone().with_provider(provider),
            Some(Err(error)) => tracing::info!(target: "smsotp", code = error.code().name, "no provider: {error}"),
            None => {}
        }
        self
    }

    /// Fails where something is missing, before anything is opened or made.
    ///
    /// # Errors
    /// `NO_PROVIDER`, `CONFIG_INVALID`.
    pub fn check_provider(config: &Config) -> Result<()> {
        provider(config, Box::new(|_| {}), None).map(|_| ())
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The present, as the database sees it; the system's where that cannot be asked.
    fn now(&self) -> Timestamp {
        self.run(self.engine.reads().now()).unwrap_or_else(|_| SystemClock.now())
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What the keys are warned of.
    pub fn warnings(&self) -> &[String] {
        self.keyring.warnings()
    }

    /// Runs an operation to its end.
    pub fn run<T>(&self, operation: impl Future<Output = T>) -> T {
        match &self.runtime {
            Some(runtime) => runtime.block_on(operation),
            // Only a dropped app has none.
            None => unreachable!("an app without a runtime is being dropped"),
        }
    }

    /// Where the keys come from.
    pub fn key_origin(&self) -> String {
        self.keyring.origin().to_string()
    }

    /// One step of a rotation of our own key file: adds a new key at the end, or moves the newest to the front.
    ///
    /// # Errors
    /// `CONFIG_INVALID` where the keys are not ours to change; `KEY_INVALID`, `STORE_*`.
    pub fn rotate(&self, caller: &Caller) -> Result<Rotated> {
        let path = self.own_key_file("add the new key at the end of it, and later move it to the front")?;
        let uses = self.run(self.engine.key_uses())?;
        let newest = uses.iter().filter(|key| key.present).max_by_key(|key| key.added_at);
        let waiting = newest.filter(|key| !key.primary).and_then(|key| KeyId::parse(&key.id));
        let rotated = match waiting {
            Some(id) => {
                keys::promote(path, &id)?;
                Rotated::Promoted(id.to_string())
            }
            None => Rotated::Added(keys::add_last(path)?.to_string()),
        };
        // The database's keys are wrapped under the new key at once: from now on either opens them.
        let ring = Keyring::load(&self.config.keys, false)?;
        self.run(self.engine.rewrap(caller, &ring))?;
        Ok(rotated)
    }

    /// Removes every key of our own file that no live code uses, and returns the ids of the removed ones.
    ///
    /// # Errors
    /// `CONFIG_INVALID` where the keys are not ours to change; `KEY_INVALID`, `STORE_*`.
    pub fn prune(&self, caller: &Caller, uses: &[KeyUse]) -> Result<Vec<String>> {
        let path = self.own_key_file("remove the keys from it yourself")?;
        let mut gone = Vec::new();
        for id in uses.iter().filter(|key| key.present && !key.primary && key.otps == 0) {
            if let Some(key_id) = KeyId::parse(&id.id) {
                keys::remove(path, &key_id)?;
                gone.push(id.id.clone());
            }
        }
        if !gone.is_empty() {
            let ring = Keyring::load(&self.config.keys, false)?;
            self.run(self.engine.rewrap(caller, &ring))?;
        }
        Ok(gone)
    }

    fn own_key_file(&self, instead: &str) -> Result<&Path> {
        match self.keyring.origin() {
            Origin::Own(path) => Ok(path),
            other => Err(Error::new(
                Code::CONFIG_INVALID,
                format!("the keys come from {other}, which is not smsotp's own file"),
            )
            .hint(format!("Change it where it is kept: {instead}; `openssl rand -base64 32` makes a key."))),
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        // A name look-up that hangs must not keep the process running: its thread is abandoned.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What a step of a rotation did, with the key's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// A new key was added last: old codes and new ones are still made with the first.
    Added(String),
    /// The newest key was moved first: new codes are made with it.
    Promoted(String),
}

/// Without callbacks a message's state is asked for, first so long after it was accepted.
const POLL: Duration = Duration::from_secs(10);

/// With callbacks it is asked for only where none arrived.
const POLL_LATE: Duration = Duration::from_secs(120);

/// The engine, which sees to it that every message is asked for until its end is known: by `dispatch`, or by `serve`.
fn engine(config: &Config, store: Store, keyring: &Arc<Keyring>) -> Engine {
    let poll_after = if config.twilio.status_callback.is_some() { POLL_LATE } else { POLL };
    let engine = Engine::new(store, Arc::clone(keyring), Arc::new(config.policy.clone())).polling(poll_after);
    match &config.alarm_hook {
        Some(webhook) => engine.notifying(Arc::new(WebhookClient::new(webhook.clone()))),
        None => engine,
    }
}

/// The caller of a command line: the user of the operating system.
pub fn os_caller() -> Caller {
    Caller::new(os_actor())
}

#[cfg(unix)]
fn os_actor() -> Actor {
    let uid = nix::unistd::getuid();
    let name = nix::unistd::User::from_uid(uid).ok().flatten().map(|user| user.name).unwrap_or_default();
    Actor::Os { uid: uid.as_raw(), name }
}

#[cfg(not(unix))]
fn os_actor() -> Actor {
    Actor::Os { uid: 0, name: String::new() }
}

/// The name of the provider: the chosen one, or Twilio where any of its credentials is set.
fn chosen_provider(config: &Config) -> Option<ProviderName> {
    let twilio = &config.twilio;
    let credentials = twilio.account_sid.is_some() || twilio.auth_token.is_some() || twilio.api_key.is_some();
    config.provider.or(credentials.then_some(ProviderName::Twilio))
}

/// Opens the configured database with its keys; a SQLite file the way that `open_file` does it.
fn open_store(
    config: &Config,
    mode: OpenMode,
    (runtime, notice): (&tokio::runtime::Runtime, &dyn Fn(&str)),
    open_file: impl FnOnce(&Path, &Keyring, SqliteOptions) -> Result<Store>,
) -> Result<(Store, Arc<Keyring>)> {
    match &config.database {
        Database::Sqlite(path) => {
            let new = !sqlite::exists(path)?;
            if new && mode != OpenMode::MayCreate {
                return Err(sqlite::none_yet(path));
            }
            if !new {
                // A wrong file is reported as such, and not as one whose key is missing.
                sqlite::must_be_sqlite(path)?;
            }
            let keyring = Arc::new(Keyring::load(&config.keys, new)?);
            let options = SqliteOptions {
                create: mode == OpenMode::MayCreate,
                create_dir: config.database_is_default,
                reads_only: mode == OpenMode::Reading,
                ..SqliteOptions::default()
            };
            Ok((open_file(path, &keyring, options)?, keyring))
        }
        Database::Postgres(url) => {
            let keyring = Arc::new(Keyring::load(&config.keys, false)?);
            let clock = Arc::new(SystemClock);
            let open = Postgres::open(url.expose_secret(), &keyring, clock, PostgresOptions::default());
            Ok((Arc::new(runtime.block_on(noticed(open, notice))?).into(), keyring))
        }
    }
}

/// Waits for a server, and says so where it takes long.
async fn noticed<T>(server: impl Future<Output = T>, notice: &dyn Fn(&str)) -> T {
    let mut server = std::pin::pin!(server);
    match tokio::time::timeout(NOTICED, &mut server).await {
        Ok(answer) => answer,
        Err(_) => {
            notice("the PostgreSQL server has not answered yet; is the host in SMSOTP_DATABASE right? Still trying");
            server.await
        }
    }
}

/// The provider that the configuration asks for.
fn provider(config: &Config, printer: Printer, longest_wait: Option<Duration>) -> Result<Arc<dyn Provider>> {
    match chosen_provider(config) {
        Some(ProviderName::Twilio) => Ok(Arc::new(twilio(config, longest_wait)?)),
        Some(ProviderName::Console) => {
            let from = config.twilio.phone_number.clone().unwrap_or_else(|| config.policy.app_name.clone());
            Ok(Arc::new(Console::new(from, move |text: &str| printer(text))))
        }
        None => Err(Error::new(Code::NO_PROVIDER, "no Twilio credentials are set, so nothing can be sent").hint(
            "Set TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN and TWILIO_PHONE_NUMBER. Without an account: `--provider console` \
             prints the message, `smsotp sandbox` stands in for Twilio, `smsotp demo` shows both ends.",
        )),
    }
}

/// Twilio, with answers waited for no longer than `longest_wait`. A connection gets a little less: that there was none is sure,
/// that there was no answer is not.
fn twilio(config: &Config, longest_wait: Option<Duration>) -> Result<Twilio> {
    let mut timeouts = Timeouts::default();
    if let Some(most) = longest_wait {
        timeouts.connect = timeouts.connect.min(most * 4 / 5);
        timeouts.create = timeouts.create.min(most);
    }
    Twilio::with(twilio::Settings::check(&config.twilio)?, timeouts, Arc::new(SystemClock))
}

pub use checking::try_settings;
pub use serving::TwilioChecks;
pub use simulating::simulate;

/// How a real test message ended: its id, last state and error code, or why it failed and what to do next.
pub type TestMessage = std::result::Result<(String, State, Option<u32>), (String, Option<String>)>;

/// Sends a real message through Twilio and follows it; it carries no code and is not recorded in the database.
///
/// # Errors
/// `CONFIG_INVALID`.
pub fn test_message(config: &Config, to: &Phone, longest: Duration) -> Result<TestMessage> {
    let twilio = twilio(config, None)?;
    let body = format!("Test message of {}: sending works.", config.policy.app_name);
    let message = Outgoing { message_id: 0, to: to.clone(), body: body.into(), validity_seconds: Some(600) };
    let runtime = runtime()?;
    let answer = runtime.block_on(async {
        match twilio.send(&message).await {
            Delivery::Accepted { provider_id, state } => Ok(follow(&twilio, provider_id, state, longest).await),
            Delivery::Refused(reason) | Delivery::Ended { reason, .. } => {
                let code = reason.code.map(|code| format!(" ({code})")).unwrap_or_default();
                Err((format!("Refused{code}: {}", reason.meaning), reason.fix))
            }
            Delivery::Busy { why, .. } | Delivery::Unreachable { why } => {
                Err((format!("Not sent: {why}"), Some("Nothing went out; try again".to_owned())))
            }
            Delivery::Maybe { why } => {
                Err((format!("May have been sent: {why}"), Some("Check on the phone whether it arrived".to_owned())))
            }
        }
    });
    runtime.shutdown_background();
    Ok(answer)
}

/// Asks for a message's state and error code until the state is final, or the time is up.
async fn follow(twilio: &Twilio, id: String, first: State, longest: Duration) -> (String, State, Option<u32>) {
    const PAUSE: Duration = Duration::from_secs(1);
    let (mut state, mut error_code) = (first, None);
    for _ in 0..longest.as_secs() {
        if state.is_final() {
            break;
        }
        tokio::time::sleep(PAUSE).await;
        if let Ok(Some(message)) = twilio.fetch(&id).await {
            (state, error_code) = (message.state, message.error_code);
        }
    }
    (id, state, error_code)
}

/// The version of SQLite that is built in, and the newest schema of a database that can be opened.
pub fn storage_versions() -> (&'static str, u32) {
    (sqlite::library_version(), store::newest_schema())
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    built(&mut tokio::runtime::Builder::new_current_thread())
}

fn built(builder: &mut tokio::runtime::Builder) -> Result<tokio::runtime::Runtime> {
    builder.enable_all().build().map_err(|error| Error::new(Code::BUG, "no runtime can be started").because(error))
}

/// The checks of `test-twilio`, on a runtime of their own: they need no database.
///
/// # Errors
/// `NO_PROVIDER` where no credential is set at all; everything else is a failed check.
pub fn twilio_checks(config: &Config, to: Option<(Phone, Option<String>)>) -> Result<Vec<Check>> {
    if chosen_provider(config) != Some(ProviderName::Twilio) {
        return Err(Error::new(Code::NO_PROVIDER, "no Twilio credentials are set, so there is nothing to test").hint(
            "Set TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN and TWILIO_PHONE_NUMBER; or start `smsotp sandbox --write-env .env` \
             in another terminal to try it without an account.",
        ));
    }
    let twilio = match twilio(config, None) {
        Ok(twilio) => twilio,
        Err(error) => return Ok(checks::for_wrong_settings(&error)),
    };
    let runtime = runtime()?;
    let (to, country) = to.map_or((None, None), |(phone, country)| (Some(phone), country));
    let found =
        runtime.block_on(twilio.checks(&checks::CheckOptions { to, country, day: config.policy.guard.ceilings.day }));
    runtime.shutdown_background();
    Ok(found)
}
