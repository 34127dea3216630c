//! The secret keys: where they come from, what is derived from them, and the two keys that live wrapped in the database.

mod database;
mod file;

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose};
use hkdf::Hkdf;
use rand::TryRng;
use rand::rngs::SysRng;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

pub use crate::audit::AuditKey;
pub use crate::code::{CodeKey, KeyId};
pub use database::{DatabaseKeys, IndexKey, WrapKey, WrappedKeys};
pub use file::{add_last, make_private_dir, promote, remove};

use crate::error::{Code, Error, Result};

/// More keys than this in one source are a mistake: rotation needs two.
const KEYS_MAX: usize = 16;

/// HKDF labels. What is derived under one tells nothing about another.
const LABEL_CODE: &[u8] = b"smsotp/code/v1";
const LABEL_WRAP: &[u8] = b"smsotp/wrap/v1";
const LABEL_KEY_ID: &[u8] = b"smsotp/key-id/v1";

/// A secret key of 32 bytes with what is derived from it. Wiped when dropped; never shown.
pub struct SecretKey {
    bytes: Zeroizing<[u8; 32]>,
    id: KeyId,
    code: CodeKey,
    wrap: WrapKey,
}

/// Every accepted secret key, newest first.
#[derive(Debug)]
pub struct Keyring {
    keys: Vec<SecretKey>,
    origin: Origin,
    warnings: Vec<String>,
    whose: Whose,
}

/// Where the secret keys come from, in this order.
#[derive(Debug)]
pub struct KeySource {
    /// `SMSOTP_SECRET_KEY`: one or several base64 keys of 32 bytes, newest first, separated by commas or white space.
    pub inline: Option<SecretString>,
    /// `SMSOTP_SECRET_KEY_FILE`: a file with the same content.
    pub file: Option<PathBuf>,
    /// The file of our own, made when the database is new. `None`: on PostgreSQL, and where the user has no home.
    pub own_file: Option<PathBuf>,
    /// The HOME that paths were made from, for errors.
    pub home: Option<PathBuf>,
}

/// Where a keyring was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The variable `SMSOTP_SECRET_KEY`.
    Inline,
    /// The file that `SMSOTP_SECRET_KEY_FILE` names.
    Named(PathBuf),
    /// The file of our own.
    Own(PathBuf),
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
        let id = KeyId::of([public[0], public[1], public[2], public[3]]);
        let code = CodeKey::new(*expand(&bytes, LABEL_CODE));
        let wrap = WrapKey::new(*expand(&bytes, LABEL_WRAP), id);
        SecretKey { bytes, id, code, wrap }
    }

    /// Reads base64, standard or URL-safe, padded or not. `None`: it is not 32 bytes of it.
    pub fn from_base64(text: &str) -> Option<SecretKey> {
        const EITHER: GeneralPurpose = GeneralPurpose::new(
            &base64::alphabet::STANDARD,
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
        );
        // 44 characters are 32 bytes; what is longer needs no look.
        if text.len() > 44 {
            return None;
        }
        let standard: Zeroizing<String> = Zeroizing::new(text.replace('-', "+").replace('_', "/"));
        let mut bytes = Zeroizing::new([0_u8; 36]);
        let length = EITHER.decode_slice(standard.as_bytes(), bytes.as_mut_slice()).ok()?;
        let exact: [u8; 32] = bytes.get(..length)?.try_into().ok()?;
        Some(SecretKey::new(Zeroizing::new(exact)))
    }

    /// The key in standard base64, for a key file alone.
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

impl Keyring {
    /// Reads the keys from the first of: the inline value, the named file, our own file.
    ///
    /// `may_create` is true while the database is new: then, and only then, our own file is made when it is missing. Any number
    /// of processes may do so at once; all of them end up with the same key.
    ///
    /// Errors: `KEY_INVALID` (78) when a key is missing, malformed, or in a file that others may read or write; `FILE_FAILED`
    /// when a file cannot be made.
    pub fn load(source: &KeySource, may_create: bool) -> Result<Keyring> {
        let whose = Whose::With(source.home.clone());
        if let Some(text) = &source.inline {
            let keys = parse_list(text.expose_secret(), "SMSOTP_SECRET_KEY")?;
            return Ok(Keyring { keys, origin: Origin::Inline, warnings: Vec::new(), whose });
        }
        if let Some(path) = &source.file {
            let (text, warnings) = file::read_named(path).map_err(|error| located(error, &whose))?;
            let keys = parse_list(&text, &path.display().to_string())?;
            return Ok(Keyring { keys, origin: Origin::Named(path.clone()), warnings, whose });
        }
        let Some(path) = &source.own_file else {
            return Err(Error::new(Code::KEY_INVALID, format!("there is no secret key{whose}"))
                .hint("Set SMSOTP_SECRET_KEY or SMSOTP_SECRET_KEY_FILE; `openssl rand -base64 32` makes a key."));
        };
        if may_create {
            file::create_own(path)?;
        }
        let text = file::read_own(path).map_err(|error| located(error, &whose))?;
        let keys = parse_list(&text, &path.display().to_string())?;
        Ok(Keyring { keys, origin: Origin::Own(path.clone()), warnings: Vec::new(), whose })
    }

    /// A keyring of these keys, newest first: for programs that keep their keys themselves. `None` when there are none.
    pub fn of(keys: Vec<SecretKey>) -> Option<Keyring> {
        let some = !keys.is_empty();
        some.then(|| Keyring { keys, origin: Origin::Inline, warnings: Vec::new(), whose: Whose::Nobodys })
    }

    /// The key that new codes are computed with: the first.
    pub fn primary(&self) -> &SecretKey {
        // Every way to make a keyring refuses an empty one.
        &self.keys[0]
    }
    /// The key of this id.
    pub fn get(&self, id: &KeyId) -> Option<&SecretKey> {
        self.keys.iter().find(|key| key.id == *id)
    }
    /// The ids, newest first.
    pub fn ids(&self) -> Vec<KeyId> {
        self.keys.iter().map(SecretKey::id).collect()
    }
    /// The keys, newest first.
    pub fn keys(&self) -> &[SecretKey] {
        &self.keys
    }
    /// Where they were read from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
    /// What is worth a warning about that place.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The error for database or rows whose key is none of these: names the ids, the place, the user and HOME.
    pub fn missing(&self, wanted: &[KeyId]) -> Error {
        let list = |ids: &[KeyId]| ids.iter().map(KeyId::to_string).collect::<Vec<_>>().join(", ");
        let whose = &self.whose;
        let message = format!(
            "the database was made with key {}, but {} holds {}{whose}",
            list(wanted),
            self.origin,
            list(&self.ids())
        );
        Error::new(Code::KEY_INVALID, message).hint(
            "Use the key that the database was made with: the same user, or SMSOTP_SECRET_KEY_FILE with that key in it.",
        )
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Inline => f.write_str("SMSOTP_SECRET_KEY"),
            Origin::Named(path) | Origin::Own(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Keys separated by commas or white space; a `#` at the start of a line makes it a comment. `place` is named in errors.
fn parse_list(text: &str, place: &str) -> Result<Vec<SecretKey>> {
    let mut keys: Vec<SecretKey> = Vec::new();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let words = lines.flat_map(|line| line.split(|c: char| c == ',' || c.is_whitespace())).filter(|w| !w.is_empty());
    for (n, word) in words.enumerate() {
        let key = SecretKey::from_base64(word).ok_or_else(|| {
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
            .hint("Put back the key that the database was made with, or make one with: openssl rand -base64 32"));
    }
    Ok(keys)
}

/// 32 random bytes from the operating system.
pub(crate) fn random_key() -> Result<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0; 32]);
    fill_random(bytes.as_mut_slice())?;
    Ok(bytes)
}

/// Random bytes from the operating system: nonces, subject ids, idempotency.
///
/// Errors: `KEY_INVALID` when the system gives none.
pub fn fill_random(bytes: &mut [u8]) -> Result<()> {
    SysRng
        .try_fill_bytes(bytes)
        .map_err(|error| Error::new(Code::KEY_INVALID, "the operating system gives no random numbers").because(error))
}

fn expand(key: &[u8; 32], label: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, key).expand(label, out.as_mut_slice()).expect("HKDF-SHA-256 gives up to 8160 bytes");
    out
}

/// Adds user and HOME to an error about a key file: most wrong keys are the right file of another user.
fn located(error: Error, whose: &Whose) -> Error {
    let located = Error::new(error.code(), format!("{}{whose}", error.message()));
    match error.hint_text() {
        Some(hint) => located.hint(hint),
        None => located,
    }
}

/// Who asked for the keys, for errors. The user's name is looked up only when one is written.
#[derive(Clone, Debug)]
enum Whose {
    /// A program that keeps its keys itself.
    Nobodys,
    /// A user with this home.
    With(Option<PathBuf>),
}

impl std::fmt::Display for Whose {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Whose::With(home) = self else { return Ok(()) };
        let home = home.as_deref().map_or("not set".into(), Path::to_string_lossy);
        write!(out, " (user {}, HOME {home})", user_name())
    }
}

#[cfg(unix)]
fn user_name() -> String {
    let uid = nix::unistd::geteuid();
    match nix::unistd::User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        _ => uid.to_string(),
    }
}

#[cfg(not(unix))]
fn user_name() -> String {
    "unknown".to_owned()
}

#[cfg(test)]
mod tests;
