//! The database's own keys as rows of `database_keys`: each is wrapped under every accepted secret key.

use super::schema::KeyRow;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::keys::{DatabaseKeys, KeyId, Keyring, WrappedKeys};

/// The name of the key that subjects are tagged with.
pub const INDEX: &str = "index";
/// The name of the key that chains the audit log.
const AUDIT: &str = "audit";

/// Wraps the keys under every secret key of the ring.
///
/// # Errors
/// `KEY_INVALID` if the operating system provides no random bytes.
pub fn wrap(keys: &DatabaseKeys, database_id: &[u8; 16], ring: &Keyring, now: Timestamp) -> Result<Vec<KeyRow>> {
    let mut rows = Vec::new();
    for secret in ring.keys() {
        let WrappedKeys { key_id, index, audit } = keys.wrap(secret, database_id)?;
        for (name, wrapped) in [(INDEX, index), (AUDIT, audit)] {
            rows.push(KeyRow { name: name.to_owned(), key_id, wrapped, added_at: now });
        }
    }
    Ok(rows)
}

/// Unwraps the keys with the first of their secret keys that the ring holds.
///
/// # Errors
/// `KEY_INVALID` if it holds none of them, or if the rows were changed.
pub fn unwrap(rows: &[KeyRow], database_id: &[u8; 16], ring: &Keyring) -> Result<DatabaseKeys> {
    let ids: Vec<KeyId> = rows.iter().filter(|row| row.name == INDEX).map(|row| row.key_id).collect();
    for id in &ids {
        let of_key = |name: &str| rows.iter().find(|row| row.key_id == *id && row.name == name);
        if let (Some(secret), Some(index), Some(audit)) = (ring.get(id), of_key(INDEX), of_key(AUDIT)) {
            let wrapped = WrappedKeys { key_id: *id, index: index.wrapped.clone(), audit: audit.wrapped.clone() };
            return DatabaseKeys::unwrap(&wrapped, secret, database_id);
        }
    }
    Err(ring.missing(&ids))
}

/// Whether the keys are not yet wrapped under some secret key of the ring.
pub fn lacks_one(rows: &[KeyRow], ring: &Keyring) -> bool {
    ring.ids().iter().any(|id| rows.iter().all(|row| row.key_id != *id))
}
