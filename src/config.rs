//! One checked configuration out of flags, environment, `.env`, `smsotp.toml` and defaults. The only reader of the environment.

mod assemble;
mod checked;
mod dotenv;
mod given;
mod guard;
mod policy;
mod read;
mod settings;
mod show;
mod source;
mod terminal;
mod twilio;

pub use assemble::assemble;
pub use checked::{Config, Database, Setting};
pub use settings::{
    COUNTRY_KEYS, MESSAGE_KEYS, PURPOSE_KEYS, ProviderName, SETTINGS, SettingInfo, env_example, nearest,
};
pub use source::{Flags, Inputs, UserDirs};
pub use terminal::TerminalEnvironment;

use crate::error::Result;

/// Reads and checks everything that was configured.
///
/// Errors: `CONFIG_INVALID` (78), which names the setting or the file and line, and never a secret.
pub fn load(flags: Flags) -> Result<Config> {
    assemble(read::read_sources(flags)?)
}

#[cfg(test)]
mod tests;
