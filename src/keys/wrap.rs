//! How the database's keys are sealed under a secret key.

use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use super::random::fill_random;
use crate::code::KeyId;
use crate::error::{Code, Error, Result};

const WRAP_LABEL: &[u8] = b"smsotp/wrap/v1";
const NONCE_LENGTH: usize = 24;

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

    /// Seals a key: XChaCha20-Poly1305 under a random nonce, which comes first. Database, name and key id are bound to it.
    ///
    /// Errors: `KEY_INVALID` when the system gives no random numbers.
    pub fn wrap(&self, database_id: &[u8; 16], name: &str, key: &[u8; 32]) -> Result<Vec<u8>> {
        let mut nonce = [0; NONCE_LENGTH];
        fill_random(&mut nonce)?;
        let aad = self.associated_data(database_id, name);
        let sealed = XChaCha20Poly1305::new(&(*self.bytes).into())
            .encrypt(&XNonce::from(nonce), Payload { msg: key, aad: &aad })
            .map_err(|_| Error::new(Code::BUG, "a key of 32 bytes could not be sealed"))?;
        Ok([&nonce[..], &sealed[..]].concat())
    }

    /// Opens a sealed key.
    ///
    /// Errors: `KEY_INVALID` when anything differs from what was sealed; it is not known what.
    pub fn unwrap(&self, database_id: &[u8; 16], name: &str, sealed: &[u8]) -> Result<Zeroizing<[u8; 32]>> {
        let open = || {
            let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LENGTH>()?;
            let aad = self.associated_data(database_id, name);
            let cipher = XChaCha20Poly1305::new(&(*self.bytes).into());
            let opened = cipher.decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: &aad }).ok()?;
            let opened = Zeroizing::new(opened);
            <[u8; 32]>::try_from(opened.as_slice()).ok().map(Zeroizing::new)
        };
        open().ok_or_else(|| {
            Error::new(Code::KEY_INVALID, format!("key {} does not open the {name} key of this database", self.id))
                .hint("The database was changed, or combined from several ones; restore it from a backup.")
        })
    }

    fn associated_data(&self, database_id: &[u8; 16], name: &str) -> Vec<u8> {
        [WRAP_LABEL, database_id, name.as_bytes(), self.id.as_bytes()].concat()
    }
}

impl fmt::Debug for WrapKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WrapKey({})", self.id)
    }
}
