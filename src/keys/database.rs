//! The keys that are made with the database and live in it, wrapped under every accepted secret key.

use std::fmt;

use hmac::Mac;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::random::random_key;
use super::secret::SecretKey;
use crate::audit::AuditKey;
use crate::code::{KeyId, keyed, length_prefixed};
use crate::error::Result;

/// The database's own keys: random, made once, the same whichever secret key unwraps them.
#[derive(Clone, Debug)]
pub struct DatabaseKeys {
    /// Turns phones, users and addresses into the tags that the table of subjects is searched by.
    pub index: IndexKey,
    /// Chains the audit rows.
    pub audit: AuditKey,
}

/// The database's keys as the database holds them, for one secret key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKeys {
    /// The secret key that unwraps them.
    pub key_id: KeyId,
    /// 24 bytes of nonce, then the sealed index key.
    pub index: Vec<u8>,
    /// 24 bytes of nonce, then the sealed audit key.
    pub audit: Vec<u8>,
}

/// Tags values so that they can be found again but not read.
#[derive(Clone)]
pub struct IndexKey(Zeroizing<[u8; 32]>);

impl DatabaseKeys {
    /// New keys for a new database.
    ///
    /// Errors: `KEY_INVALID` when the system gives no random numbers.
    pub fn generate() -> Result<DatabaseKeys> {
        Ok(DatabaseKeys { index: IndexKey(random_key()?), audit: AuditKey::new(*random_key()?) })
    }

    /// Seals both under a secret key. `database_id` are the database's 16 random bytes: keys that were copied to another database
    /// do not open there.
    ///
    /// Errors: `KEY_INVALID` when the system gives no random numbers.
    pub fn wrap(&self, secret: &SecretKey, database_id: &[u8; 16]) -> Result<WrappedKeys> {
        let wrap = secret.wrap_key();
        Ok(WrappedKeys {
            key_id: secret.id(),
            index: wrap.wrap(database_id, "index", &self.index.0)?,
            audit: wrap.wrap(database_id, "audit", self.audit.bytes())?,
        })
    }

    /// Opens both with the secret key that they were sealed under.
    ///
    /// Errors: `KEY_INVALID` when the key is another one, or the sealed bytes were changed or belong to another database.
    pub fn unwrap(wrapped: &WrappedKeys, secret: &SecretKey, database_id: &[u8; 16]) -> Result<DatabaseKeys> {
        let wrap = secret.wrap_key();
        let index = IndexKey(wrap.unwrap(database_id, "index", &wrapped.index)?);
        let audit = AuditKey::new(*wrap.unwrap(database_id, "audit", &wrapped.audit)?);
        Ok(DatabaseKeys { index, audit })
    }
}

impl IndexKey {
    /// A key of these 32 bytes.
    pub fn new(bytes: [u8; 32]) -> IndexKey {
        IndexKey(Zeroizing::new(bytes))
    }

    /// `HMAC-SHA-256(K_index, lp(kind) ‖ lp(value))`, `lp` = length in 4 bytes, big-endian, then the bytes.
    ///
    /// A tag of one kind is never a tag of another: subjects, codes of test numbers and idempotency keys do not mix.
    pub fn tag(&self, kind: &str, value: &[u8]) -> [u8; 32] {
        let mut mac = keyed(&self.0);
        length_prefixed(&mut mac, kind.as_bytes());
        length_prefixed(&mut mac, value);
        mac.finalize().into_bytes().into()
    }

    /// Whether `tag` is the tag of this value, in constant time: for tags of secrets, like the code of a test number.
    pub fn is_tag_of(&self, tag: &[u8; 32], kind: &str, value: &[u8]) -> bool {
        self.tag(kind, value).ct_eq(tag).into()
    }
}

impl fmt::Debug for IndexKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IndexKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> SecretKey {
        SecretKey::new(Zeroizing::new([byte; 32]))
    }

    #[test]
    fn every_accepted_key_opens_the_same_database_keys() {
        let keys = DatabaseKeys::generate().unwrap();
        let [old, new] = [secret(1), secret(2)];

        for secret in [&old, &new] {
            let wrapped = keys.wrap(secret, &[5; 16]).unwrap();
            let opened = DatabaseKeys::unwrap(&wrapped, secret, &[5; 16]).unwrap();

            assert_eq!(wrapped.key_id, secret.id());
            assert_eq!(opened.index.tag("phone", b"x"), keys.index.tag("phone", b"x"));
            assert_eq!(opened.audit.bytes(), keys.audit.bytes());
        }
    }

    #[test]
    fn another_key_another_database_another_name_or_one_flipped_bit_opens_nothing() {
        let keys = DatabaseKeys::generate().unwrap();
        let wrapped = keys.wrap(&secret(1), &[5; 16]).unwrap();
        let fails = |wrapped: &WrappedKeys, key: u8, database: u8| {
            DatabaseKeys::unwrap(wrapped, &secret(key), &[database; 16]).unwrap_err().class().exit()
        };

        assert_eq!(fails(&wrapped, 2, 5), 78);
        assert_eq!(fails(&wrapped, 1, 6), 78);
        let crossed = WrappedKeys { index: wrapped.audit.clone(), audit: wrapped.index.clone(), ..wrapped.clone() };
        assert_eq!(fails(&crossed, 1, 5), 78);
        for bit in 0..wrapped.index.len() * 8 {
            let mut flipped = wrapped.clone();
            flipped.index[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(fails(&flipped, 1, 5), 78);
        }
        for length in 0..wrapped.index.len() {
            let cut = WrappedKeys { index: wrapped.index[..length].to_vec(), ..wrapped.clone() };
            assert_eq!(fails(&cut, 1, 5), 78);
        }
    }

    #[test]
    fn the_same_key_never_wraps_to_the_same_bytes() {
        let keys = DatabaseKeys::generate().unwrap();

        let [a, b] = [0, 1].map(|_| keys.wrap(&secret(1), &[5; 16]).unwrap());

        assert_ne!(a.index, b.index);
        assert_ne!(a.audit, b.audit);
    }

    #[test]
    fn tags_of_two_kinds_never_meet() {
        let key = IndexKey::new([1; 32]);

        assert_ne!(key.tag("phone", b"+14155552671"), key.tag("user", b"+14155552671"));
        assert_ne!(key.tag("ab", b"c"), key.tag("a", b"bc"));
        assert!(key.is_tag_of(&key.tag("user", b""), "user", b""));
        assert!(!key.is_tag_of(&key.tag("user", b""), "user", b"x"));
    }
}
