//! Reads the environment, one `.env`, one `smsotp.toml`, and files that hold a secret.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use directories::BaseDirs;
use zeroize::Zeroizing;

use super::settings::SETTINGS;
use super::source::{Flags, Inputs, UserDirs, is_ours};
use crate::error::{Code, Error, Result};

/// A configuration file is small; what is larger is another file.
const FILE_MAX: u64 = 256 * 1024;

/// Stands for `$` while dotenvy reads: a private-use character, which no value may hold.
const DOLLAR: char = '\u{f8ff}';

/// Reads all sources of settings.
///
/// Errors: `CONFIG_INVALID`, which names the file and never its content.
pub(super) fn read_sources(flags: Flags) -> Result<Inputs> {
    let (env, dirs) = (environment()?, user_dirs());
    let mut warnings = Vec::new();
    let explicit = flags.env_file.clone();
    let path = explicit.clone().unwrap_or_else(|| PathBuf::from(".env"));
    let dotenv = match read_text(&path) {
        Ok((text, meta)) => {
            let values = parse_dotenv(&text, &path)?;
            warnings.extend(exposure_warnings(&path, &meta, &values));
            Some((path, values))
        }
        // ./.env was not named: it may be missing, or be the directory of a Python environment.
        Err(ReadFailure::Missing | ReadFailure::Directory) if explicit.is_none() => None,
        Err(why) => return Err(why.error(&path, "the settings file")),
    };
    let toml = read_toml(&flags, &env, &dirs)?;
    Ok(Inputs { flags, env, dotenv, toml, dirs, warnings })
}

/// The variables of the environment that are ours by name.
///
/// Errors: `CONFIG_INVALID` for one that is not UTF-8.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn environment() -> Result<BTreeMap<String, String>> {
    let mut ours = BTreeMap::new();
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| is_ours(name)) else { continue };
        let value = value
            .into_string()
            .map_err(|_| Error::new(Code::CONFIG_INVALID, format!("{name} in the environment is not UTF-8")))?;
        ours.insert(name.to_owned(), value);
    }
    Ok(ours)
}

/// One variable of the environment that is no setting (NO_COLOR, TERM, ...).
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty())
}

fn user_dirs() -> UserDirs {
    let home = variable("HOME").map(PathBuf::from);
    // Relative XDG variables are ignored by `directories`, as the XDG specification wants; a relative HOME is no home.
    let base = BaseDirs::new().filter(|base| base.home_dir().is_absolute());
    UserDirs {
        home,
        config: base.as_ref().map(|base| base.config_dir().join("smsotp")),
        data: base.as_ref().map(|base| base.data_dir().join("smsotp")),
    }
}

fn read_toml(flags: &Flags, env: &BTreeMap<String, String>, dirs: &UserDirs) -> Result<Option<(PathBuf, String)>> {
    // Not from .env: another project's .env could combine a file of the user's with an address of its own.
    let from_env =
        || env.get("SMSOTP_CONFIG").map(|path| path.trim()).filter(|path| !path.is_empty()).map(PathBuf::from);
    let named = flags.config.clone().or_else(from_env);
    let explicit = named.is_some();
    let Some(path) = named.or_else(|| dirs.config.as_ref().map(|dir| dir.join("smsotp.toml"))) else { return Ok(None) };
    match read_text(&path) {
        Ok((text, _)) => Ok(Some((path, text.as_str().to_owned()))),
        Err(ReadFailure::Missing) if !explicit => Ok(None),
        Err(why) => Err(why.error(&path, "the configuration")),
    }
}

/// Reads `NAME=value` lines with dotenvy. Nothing of the process's environment gets into a value: dotenvy would replace `$NAME`
/// by the variable of that name, and so another project's `.env` could send a credential away in a URL.
///
/// Errors: `CONFIG_INVALID` with file and line, never with the line itself.
pub(super) fn parse_dotenv(text: &str, path: &Path) -> Result<BTreeMap<String, String>> {
    let bad = |line: usize, what: &str| {
        let message = format!("{}:{line}: {what}", path.display());
        Error::new(Code::CONFIG_INVALID, message)
            .hint("Write NAME=value, or NAME='value' where it holds spaces or #; close every quote.")
    };
    let line_of = |at: usize| text[..at].matches('\n').count() + 1;
    if let Some(at) = text.find(['\0', DOLLAR]) {
        return Err(bad(line_of(at), "a character that no setting may hold"));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let guarded = Zeroizing::new(guard_dollars(text));
    let lines = LineReader { rest: guarded.as_bytes(), read: std::rc::Rc::default() };
    let lines_read = lines.read.clone();
    let mut values = BTreeMap::new();
    for item in dotenvy::from_read_iter(lines) {
        // dotenvy's own error repeats the line, which may hold a secret.
        let (name, value) = item.map_err(|error| {
            // An open quote makes it read on: the line at fault is where that began.
            let beyond = match &error {
                dotenvy::Error::LineParse(text, _) => text.trim_end_matches('\n').matches('\n').count(),
                _ => 0,
            };
            bad(lines_read.get().saturating_sub(beyond), "not a NAME=value line")
        })?;
        if is_ours(&name) && values.contains_key(&name) {
            return Err(bad(lines_read.get(), &format!("{name} is set twice")));
        }
        values.insert(name, value.replace(DOLLAR, "$"));
    }
    Ok(values)
}

/// Hides every `$` from dotenvy's substitution except escaped ones, which it takes as they are.
fn guard_dollars(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut backslashes = 0;
    for c in text.chars() {
        out.push(if c == '$' && backslashes % 2 == 0 { DOLLAR } else { c });
        backslashes = if c == '\\' { backslashes + 1 } else { 0 };
    }
    // Without a last line feed dotenvy takes white space at the end for an open quote.
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

/// Yields one line per read, so that the count of lines is the line that dotenvy is at.
struct LineReader<'a> {
    rest: &'a [u8],
    read: std::rc::Rc<std::cell::Cell<usize>>,
}

impl Read for LineReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let line = self.rest.iter().position(|b| *b == b'\n').map_or(self.rest.len(), |at| at + 1);
        let taken = line.min(buffer.len());
        buffer[..taken].copy_from_slice(&self.rest[..taken]);
        if taken == line && taken > 0 {
            self.read.set(self.read.get() + 1);
        }
        self.rest = &self.rest[taken..];
        Ok(taken)
    }
}

/// A file that holds one secret: one line, trimmed.
///
/// Errors: `CONFIG_INVALID`, which names the setting and the path and never the content.
pub(super) fn read_secret(path: &Path, name: &str) -> Result<(Zeroizing<String>, Option<String>)> {
    let what = format!("the file of {name}");
    let (text, meta) = read_text(path).map_err(|why| why.error(path, &what))?;
    let secret = Zeroizing::new(text.trim().to_owned());
    if secret.is_empty() || secret.len() > 4096 || secret.chars().any(char::is_control) {
        let message = format!("{what}, {}, does not hold one secret in one line", path.display());
        return Err(Error::new(Code::CONFIG_INVALID, message));
    }
    let open = readable_by_all(&meta);
    Ok((secret, open.then(|| format!("{} holds a secret and every user of this machine may read it", path.display()))))
}

/// Why a file was not read.
enum ReadFailure {
    Missing,
    Directory,
    Other(String),
}

impl ReadFailure {
    fn error(self, path: &Path, what: &str) -> Error {
        let why = match self {
            ReadFailure::Missing => "there is no such file".to_owned(),
            ReadFailure::Directory => "it is a directory".to_owned(),
            ReadFailure::Other(why) => why,
        };
        Error::new(Code::CONFIG_INVALID, format!("cannot read {what} {}: {why}", path.display()))
            .hint("Check the path, and that this user may read the file.")
    }
}

fn read_text(path: &Path) -> Result<(Zeroizing<String>, Metadata), ReadFailure> {
    let other = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => ReadFailure::Missing,
        ErrorKind::IsADirectory => ReadFailure::Directory,
        ErrorKind::InvalidData => ReadFailure::Other("it is not UTF-8".to_owned()),
        _ => {
            let text = error.to_string();
            ReadFailure::Other(text.split(" (os error").next().unwrap_or(&text).to_lowercase())
        }
    };
    let file = open(path).map_err(other)?;
    let meta = file.metadata().map_err(other)?;
    if meta.is_dir() {
        return Err(ReadFailure::Directory);
    }
    if !meta.is_file() {
        return Err(ReadFailure::Other("it is not a plain file".to_owned()));
    }
    let mut text = Zeroizing::new(String::with_capacity(4096));
    file.take(FILE_MAX + 1).read_to_string(&mut text).map_err(other)?;
    if text.len() as u64 > FILE_MAX {
        return Err(ReadFailure::Other("it is larger than 256 KiB".to_owned()));
    }
    Ok((text, meta))
}

/// Without O_NONBLOCK a named pipe would make us wait for a writer for ever.
#[cfg(unix)]
fn open(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;

    File::options().read(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits()).open(path)
}

#[cfg(not(unix))]
fn open(path: &Path) -> std::io::Result<File> {
    File::open(path)
}

/// Warnings about a `.env` that others may read while it holds secrets, or that others may write.
fn exposure_warnings(path: &Path, meta: &Metadata, values: &BTreeMap<String, String>) -> Vec<String> {
    let secret = |name: &str| SETTINGS.iter().any(|info| info.secret && info.variable == name);
    let mut warnings = Vec::new();
    let shown = path.display();
    if readable_by_all(meta) && values.iter().any(|(name, value)| secret(name) && !value.trim().is_empty()) {
        warnings.push(format!("{shown} holds secrets and every user of this machine may read it; chmod 600 {shown}"));
    }
    if writable_by_all(meta) {
        warnings.push(format!("every user of this machine may change {shown}; chmod 600 {shown}"));
    }
    warnings
}

#[cfg(unix)]
fn readable_by_all(meta: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;

    meta.permissions().mode() & 0o004 != 0
}

#[cfg(unix)]
fn writable_by_all(meta: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;

    meta.permissions().mode() & 0o002 != 0
}

#[cfg(not(unix))]
fn readable_by_all(_meta: &Metadata) -> bool {
    false
}

#[cfg(not(unix))]
fn writable_by_all(_meta: &Metadata) -> bool {
    false
}
