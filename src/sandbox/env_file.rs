//! The file of variables that points a client at the sandbox.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use super::sid::random_sid;
use crate::error::{Code, Error, Result};

/// The first line: only a file that begins with it is read again or overwritten.
const MARK: &str = "# Written by `smsotp sandbox`: credentials of a local stand-in, useless elsewhere.";
/// No file of ours is longer.
const MAX_SIZE: u64 = 16 * 1024;

/// What an earlier sandbox wrote.
#[derive(Debug, Default, PartialEq)]
pub(super) struct SavedAccount {
    pub account_sid: Option<String>,
    pub auth_token: Option<String>,
    pub phone_number: Option<String>,
    /// Where it listened.
    pub base_url: Option<String>,
}

/// Reads a file of ours; `None` when there is none yet.
pub(super) fn read(path: &Path) -> Result<Option<SavedAccount>> {
    let mut text = String::new();
    match File::open(path).and_then(|file| file.take(MAX_SIZE).read_to_string(&mut text)) {
        Ok(_) => {}
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed("read", path, e)),
    }
    if text.is_empty() {
        return Ok(None);
    }
    if text.lines().next() != Some(MARK) {
        return Err(Error::new(Code::CONFIG_INVALID, format!("{} was not written by a sandbox", path.display()))
            .hint("Name another file: this one is left unchanged."));
    }
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.map(str::to_owned).filter(|value| !value.is_empty())
    };
    Ok(Some(SavedAccount {
        account_sid: value("TWILIO_ACCOUNT_SID"),
        auth_token: value("TWILIO_AUTH_TOKEN"),
        phone_number: value("TWILIO_PHONE_NUMBER"),
        base_url: value("TWILIO_API_BASE_URL"),
    }))
}

/// Writes a new file: readable by its owner only, and whole or not at all.
pub(super) fn write(path: &Path, variables: &[(String, String)]) -> Result<()> {
    read(path)?;
    let mut text = format!("{MARK}\n");
    for (name, value) in variables {
        text.push_str(&format!("{name}={value}\n"));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = path.with_file_name(format!(".{name}.{}", random_sid("")));
    let written = create(&draft)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&draft, path));
    written.map_err(|e| {
        let _ = fs::remove_file(&draft);
        failed("write", path, e)
    })
}

fn create(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn failed(operation: &str, path: &Path, why: std::io::Error) -> Error {
    Error::new(Code::FILE_FAILED, format!("cannot {operation} {}", path.display())).because(why)
}
