//! A secret key, what is derived from it, and how a list of keys is read.

use std::fmt;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::random::random_key;
use super::text::TextKey;
use super::wrap::WrapKey;
use crate::code::{CodeKey, KeyId};
use crate::error::{Code, Error, Result};

/// More keys than this in one source are a mistake: rotation needs two.
pub(super) const KEYS_MAX: usize = 16;

/// HKDF labels. What is derived under one reveals nothing about another.
const LABEL_CODE: &[u8] = b"smsotp/code/v1";
const LABEL_WRAP: &[u8] = b"smsotp/wrap/v1";
const LABEL_TEXT: &[u8] = b"smsotp/text/v1";
const LABEL_KEY_ID: &[u8] = b"smsotp/key-id/v1";

/// A secret key of 32 bytes with what is derived from it. Wiped when dropped; never shown.
pub struct SecretKey {
    bytes: Zeroizing<[u8; 32]>,
    id: KeyId,
    code: CodeKey,
    wrap: WrapKey,
    text: TextKey,
}

impl SecretKey {
    /// A new key from the operating system's random number generator.
    ///
    /// Errors: `KEY_INVALID` when the system gives no random numbers.
    pub fn generate() -> Result<SecretKey> {
        Ok(SecretKey::new(random_key()?))
    }

    /// The key of these bytes.
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> SecretKey {
        let public = Sha256::digest(expand(&bytes, LABEL_KEY_ID).as_slice());
        let id = KeyId::new([public[0], public[1], public[2], public[3]]);
        let code = CodeKey::new(*expand(&bytes, LABEL_CODE));
        let wrap = WrapKey::new(*expand(&bytes, LABEL_WRAP), id);
        let text = TextKey::new(*expand(&bytes, LABEL_TEXT), id);
        SecretKey { bytes, id, code, wrap, text }
    }

    /// Reads base64, standard or URL-safe, padded or not. `None`: it is not 32 bytes of it.
    pub fn from_base64(text: &str) -> Option<SecretKey> {
        const EITHER: GeneralPurpose = GeneralPurpose::new(
            &base64::alphabet::STANDARD,
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
        );
        // 44 characters are 32 bytes; longer text cannot be a key.
        if text.len() > 44 {
            return None;
        }
        let standard: Zeroizing<String> = Zeroizing::new(text.replace('-', "+").replace('_', "/"));
        let mut bytes = Zeroizing::new([0_u8; 36]);
        let length = EITHER.decode_slice(standard.as_bytes(), bytes.as_mut_slice()).ok()?;
        let exact: [u8; 32] = bytes.get(..length)?.try_into().ok()?;
        Some(SecretKey::new(Zeroizing::new(exact)))
    }

    /// The key in standard base64, for a key file only.
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(general_purpose::STANDARD.encode(self.bytes.as_slice()))
    }

    /// The public name.
    pub fn id(&self) -> KeyId {
        self.id
    }
    /// What codes are computed with.
    pub fn code_key(&self) -> &CodeKey {
        &self.code
    }
    /// What the texts of messages are sealed with.
    pub fn text_key(&self) -> &TextKey {
        &self.text
    }
    /// What the database's keys are wrapped with.
    pub fn wrap_key(&self) -> &WrapKey {
        &self.wrap
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.id)
    }
}

/// Keys separated by commas or white space; a `#` at the start of a line makes it a comment. `place` is named in errors.
pub(super) fn parse_list(text: &str, place: &str) -> Result<Vec<SecretKey>> {
    let mut keys: Vec<SecretKey> = Vec::new();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let texts = lines.flat_map(|line| line.split(|c: char| c == ',' || c.is_whitespace())).filter(|w| !w.is_empty());
    for (n, text) in texts.enumerate() {
        let key = SecretKey::from_base64(text).ok_or_else(|| {
            let message = format!("key {} in {place} is not 32 bytes of base64", n + 1);
            Error::new(Code::KEY_INVALID, message).hint("Make a key with: openssl rand -base64 32")
        })?;
        // A key that is listed twice is the same key: the first place counts.
        if !keys.iter().any(|known| bool::from(known.bytes.ct_eq(key.bytes.as_slice()))) {
            keys.push(key);
        }
        if keys.len() > KEYS_MAX {
            let message = format!("{place} holds more than {KEYS_MAX} keys");
            return Err(Error::new(Code::KEY_INVALID, message).hint("Prune the old ones: smsotp keys prune"));
        }
    }
    if keys.is_empty() {
        return Err(Error::new(Code::KEY_INVALID, format!("{place} holds no key"))
            .hint("Restore the key that the database was made with, or make one with: openssl rand -base64 32"));
    }
    Ok(keys)
}

fn expand(key: &[u8; 32], label: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, key).expand(label, out.as_mut_slice()).expect("HKDF-SHA-256 gives up to 8160 bytes");
    out
}
