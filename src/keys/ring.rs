//! Every accepted secret key, and where the keys were read from.

use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::file;
use super::secret::{SecretKey, parse_list};
use crate::code::KeyId;
use crate::error::{Code, Error, Result};
use crate::files;

/// Every accepted secret key, newest first.
#[derive(Debug)]
pub struct Keyring {
    keys: Vec<SecretKey>,
    origin: Origin,
    warnings: Vec<String>,
    owner: Owner,
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

impl Keyring {
    /// Reads the keys from the first of: the inline value, the named file, our own file.
    ///
    /// `may_create` is true while the database is new: then, and only then, our own file is made when it is missing. Any number
    /// of processes may do so at once; all of them end up with the same key.
    ///
    /// Errors: `KEY_INVALID` (78) when a key is missing, malformed, or in a file that others may read or write; `FILE_FAILED`
    /// when a file cannot be made.
    pub fn load(source: &KeySource, may_create: bool) -> Result<Keyring> {
        let owner = Owner::User(source.home.clone());
        if let Some(text) = &source.inline {
            let keys = parse_list(text.expose_secret(), "SMSOTP_SECRET_KEY")?;
            return Ok(Keyring { keys, origin: Origin::Inline, warnings: Vec::new(), owner });
        }
        if let Some(path) = &source.file {
            let (text, warnings) = file::read_named(path).map_err(|error| with_owner(error, &owner))?;
            let keys = parse_list(&text, &path.display().to_string())?;
            return Ok(Keyring { keys, origin: Origin::Named(path.clone()), warnings, owner });
        }
        let Some(path) = &source.own_file else {
            return Err(Error::new(Code::KEY_INVALID, format!("there is no secret key{owner}"))
                .hint("Set SMSOTP_SECRET_KEY or SMSOTP_SECRET_KEY_FILE; `openssl rand -base64 32` makes a key."));
        };
        if may_create {
            file::create_own(path)?;
        }
        let text = file::read_own(path).map_err(|error| with_owner(error, &owner))?;
        let keys = parse_list(&text, &path.display().to_string())?;
        let warnings = files::exposed_dir(path).into_iter().collect();
        Ok(Keyring { keys, origin: Origin::Own(path.clone()), warnings, owner })
    }

    /// A keyring of these keys, newest first: for programs that keep their keys themselves. `None` when there are none.
    pub fn new(keys: Vec<SecretKey>) -> Option<Keyring> {
        let some = !keys.is_empty();
        some.then(|| Keyring { keys, origin: Origin::Inline, warnings: Vec::new(), owner: Owner::Program })
    }

    /// The key that new codes are computed with: the first.
    pub fn primary(&self) -> &SecretKey {
        // Every way to make a keyring refuses an empty one.
        &self.keys[0]
    }
    /// The key of this id.
    pub fn get(&self, id: &KeyId) -> Option<&SecretKey> {
        self.keys.iter().find(|key| key.id() == *id)
    }
    /// The ids, newest first.
    pub fn ids(&self) -> Vec<KeyId> {
        self.keys.iter().map(SecretKey::id).collect()
    }
    /// The keys, newest first.
    pub fn keys(&self) -> &[SecretKey] {
        &self.keys
    }
    /// Where the keys were read from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
    /// Warnings about that place.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The error for a database or rows whose key is none of these. It names the ids, the place, the user and HOME.
    pub fn missing(&self, wanted: &[KeyId]) -> Error {
        let list = |ids: &[KeyId]| ids.iter().map(KeyId::to_string).collect::<Vec<_>>().join(", ");
        let owner = &self.owner;
        let message = format!(
            "the database was made with key {}, but {} holds {}{owner}",
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

/// Adds user and HOME to an error about a key file: most wrong keys are the right file of another user.
fn with_owner(error: Error, owner: &Owner) -> Error {
    let error_with_owner = Error::new(error.code(), format!("{}{owner}", error.message()));
    match error.hint_text() {
        Some(hint) => error_with_owner.hint(hint),
        None => error_with_owner,
    }
}

/// Who owns the keys, for errors. The user's name is looked up only when one is written.
#[derive(Clone, Debug)]
enum Owner {
    /// A program that keeps its keys itself.
    Program,
    /// A user with this home.
    User(Option<PathBuf>),
}

impl fmt::Display for Owner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Owner::User(home) = self else { return Ok(()) };
        let home = home.as_deref().map_or("not set".into(), Path::to_string_lossy);
        write!(out, " (user {}, HOME {home})", user_name())
    }
}

/// The name of the user whose rights this process has, for errors.
#[cfg(unix)]
pub fn user_name() -> String {
    let uid = nix::unistd::geteuid();
    match nix::unistd::User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        _ => uid.to_string(),
    }
}

/// The name of the user whose rights this process has, for errors.
#[cfg(not(unix))]
pub fn user_name() -> String {
    "unknown".to_owned()
}
