//! How the database's keys are sealed under a secret key.

use std::fmt;

use zeroize::Zeroizing;

use super::seal::{open, seal};
use crate::code::KeyId;
use crate::error::{Code, Error, Result};

const WRAP_LABEL: &[u8] = b"smsotp/wrap/v1";

/// Seals the database's keys; derived from a secret key.
pub struct WrapKey {
    bytes: Zeroizing<[u8; 32]>,
    id: KeyId,
}

impl WrapKey {
    /// The wrap key of the secret key with this id.
    pub(super) fn new(bytes: [u8; 32], id: KeyId) -> WrapKey {
        WrapKey { bytes: Zeroizing::new(bytes), id }
    }

    /// Seals a key. Database, name and key id are bound to it.
    ///
    /// Errors: `KEY_INVALID` when the system gives no random numbers.
    pub fn wrap(&self, database_id: &[u8; 16], name: &str, key: &[u8; 32]) -> Result<Vec<u8>> {
        seal(&self.bytes, &self.about(database_id, name), key)
    }

    /// Opens a sealed key.
    ///
    /// Errors: `KEY_INVALID` when anything differs from what was sealed; it is not known what.
    pub fn unwrap(&self, database_id: &[u8; 16], name: &str, sealed: &[u8]) -> Result<Zeroizing<[u8; 32]>> {
        let opened = open(&self.bytes, &self.about(database_id, name), sealed);
        let key = opened.and_then(|opened| <[u8; 32]>::try_from(opened.as_slice()).ok().map(Zeroizing::new));
        key.ok_or_else(|| {
            Error::new(Code::KEY_INVALID, format!("key {} does not open the {name} key of this database", self.id))
                .hint("The database was changed, or combined from several ones; restore it from a backup.")
        })
    }

    fn about(&self, database_id: &[u8; 16], name: &str) -> Vec<u8> {
        [WRAP_LABEL, database_id, name.as_bytes(), self.id.as_bytes()].concat()
    }
}

impl fmt::Debug for WrapKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WrapKey({})", self.id)
    }
}
