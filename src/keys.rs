//! The secret keys: where they come from, what is derived from them, and the two keys that live wrapped in the database.

mod database;
mod file;
mod random;
mod ring;
mod seal;
mod secret;
mod text;
mod wrap;

pub use crate::audit::AuditKey;
pub use crate::code::{CodeKey, KeyId};
pub use database::{DatabaseKeys, IndexKey, WrappedKeys};
pub use file::{add_last, make_private_dir, promote, remove};
pub use random::fill_random;
pub use ring::{KeySource, Keyring, Origin, user_name};
pub use secret::SecretKey;
pub use text::TextKey;
pub use wrap::WrapKey;

#[cfg(test)]
mod tests;
