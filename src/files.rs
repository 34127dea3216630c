//! Files of settings and secrets: read whole, within bounds of size and time, from a pipe as from a file; and what other users of
//! this machine may do with them.

use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use zeroize::Zeroizing;

/// For how long whoever is at the other end of a pipe may take: a password manager asks its user first.
const PIPE_WAIT_MAX: Duration = Duration::from_secs(60);

/// What was read, and what it was read from.
pub struct Contents {
    bytes: Zeroizing<Vec<u8>>,
    /// Of the file; a pipe has others.
    pub meta: Metadata,
}

/// Why a file was not read.
#[derive(Debug)]
pub enum Failure {
    /// There is none.
    Missing,
    /// It is a directory.
    Directory,
    /// It can be read, and is no text.
    NotText,
    /// Any other reason, in words.
    Other(String),
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// What nobody else may read.
    Secrets,
    /// What others may read and not change.
    Settings,
}

/// Reads at most `most` bytes; a named pipe, or one like `<(command)`, once somebody writes to it.
///
/// # Errors
/// Whatever kept it from being read; more than `most` bytes are such a reason.
pub fn read(path: &Path, most: u64) -> Result<Contents, Failure> {
    read_within(path, most, PIPE_WAIT_MAX)
}

fn read_within(path: &Path, most: u64, wait: Duration) -> Result<Contents, Failure> {
    // Before it is opened: opening a pipe wakes its writer, who writes to the first who reads.
    let kind = path.metadata()?;
    if kind.is_dir() {
        return Err(Failure::Directory);
    }
    if kind.is_file() {
        return read_file(open_at_once(path)?, most);
    }
    // To open a pipe, and to read from it, waits for a writer; only a thread of its own can be given up.
    let (done, outcome) = mpsc::channel();
    let of = path.to_path_buf();
    std::thread::spawn(move || {
        let contents = File::open(of).map_err(Failure::from).and_then(|file| read_file(file, most));
        // Whoever asked may have given up.
        drop(done.send(contents));
    });
    outcome.recv_timeout(wait).unwrap_or_else(|_| {
        Err(Failure::Other(format!("it is a pipe, and nobody wrote to it within {} s", wait.as_secs())))
    })
}

fn read_file(file: File, most: u64) -> Result<Contents, Failure> {
    let meta = file.metadata()?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(Failure::Other(format!("it is larger than {} KiB", most / 1024)));
    }
    Ok(Contents { bytes, meta })
}

impl Contents {
    /// The text: UTF-8, or UTF-16 behind its mark, as some shells write it. A byte order mark is dropped.
    ///
    /// # Errors
    /// `NotText`.
    pub fn text(&self) -> Result<Zeroizing<String>, Failure> {
        match self.utf16() {
            Some(text) => text.map_err(|_| Failure::NotText),
            None => std::str::from_utf8(self.unmarked()).map(own).map_err(|_| Failure::NotText),
        }
    }

    /// The text, with U+FFFD in place of what is none: for files in which not everything is ours.
    pub fn lossy(&self) -> Zeroizing<String> {
        match self.utf16() {
            Some(text) => text.unwrap_or_default(),
            None => Zeroizing::new(String::from_utf8_lossy(self.unmarked()).into_owned()),
        }
    }

    fn unmarked(&self) -> &[u8] {
        self.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.bytes)
    }

    fn utf16(&self) -> Option<Result<Zeroizing<String>, std::string::FromUtf16Error>> {
        let order: fn([u8; 2]) -> u16 = match self.bytes.get(..2)? {
            [0xff, 0xfe] => u16::from_le_bytes,
            [0xfe, 0xff] => u16::from_be_bytes,
            _ => return None,
        };
        let units: Vec<u16> =
            self.bytes[2..].chunks(2).map(|unit| order([unit[0], *unit.last().unwrap_or(&0)])).collect();
        Some(String::from_utf16(&units).map(Zeroizing::new))
    }
}

fn own(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

impl Failure {
    /// Why, in words.
    pub fn why(self) -> String {
        match self {
            Failure::Missing => "there is no such file".to_owned(),
            Failure::Directory => "it is a directory".to_owned(),
            Failure::NotText => "it is not UTF-8".to_owned(),
            Failure::Other(why) => why,
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        match error.kind() {
            ErrorKind::NotFound => Failure::Missing,
            ErrorKind::IsADirectory => Failure::Directory,
            _ => {
                let text = error.to_string();
                Failure::Other(text.split(" (os error").next().unwrap_or(&text).to_lowercase())
            }
        }
    }
}

/// Opens a file that was none of those that keep waiting when it was looked at.
#[cfg(unix)]
fn open_at_once(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;

    File::options().read(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits()).open(path)
}

#[cfg(not(unix))]
fn open_at_once(path: &Path) -> std::io::Result<File> {
    File::open(path)
}

/// What every user of this machine may do with a file that they should not: read its secrets, change it, or put another one in its
/// place. A pipe has no such rights worth a word.
#[cfg(unix)]
pub fn exposure(path: &Path, meta: &Metadata, holds: Holds) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;

    if !meta.is_file() {
        return Vec::new();
    }
    let shown = path.display();
    let right = if holds == Holds::Secrets { "600" } else { "go-w" };
    let mut warnings = Vec::new();
    if holds == Holds::Secrets && meta.mode() & 0o004 != 0 {
        warnings.push(format!("{shown} holds secrets and every user of this machine may read it; chmod 600 {shown}"));
    }
    if meta.mode() & 0o002 != 0 {
        warnings.push(format!("every user of this machine may change {shown}; chmod {right} {shown}"));
    }
    warnings.extend(exposed_dir(path));
    warnings
}

/// A directory that everybody may write to lets them replace what is in it, unless its sticky bit is set.
#[cfg(unix)]
pub fn exposed_dir(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;

    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let mode = dir.metadata().ok()?.mode() & 0o7777;
    (mode & 0o1002 == 0o002).then(|| {
        let (file, dir) = (path.display(), dir.display());
        format!(
            "every user of this machine may replace {file}: its directory {dir} has mode {mode:04o}; chmod o-w {dir}"
        )
    })
}

#[cfg(not(unix))]
pub fn exposure(_path: &Path, _meta: &Metadata, _holds: Holds) -> Vec<String> {
    Vec::new()
}

#[cfg(not(unix))]
pub fn exposed_dir(_path: &Path) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn texts_are_read_in_the_encodings_that_editors_and_shells_write() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("file");
        let of = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            read(&path, 64).unwrap()
        };
        for bytes in [&b"A=\xc3\xa9"[..], b"\xef\xbb\xbfA=\xc3\xa9", b"\xff\xfeA\0=\0\xe9\0", b"\xfe\xff\0A\0=\0\xe9"] {
            assert_eq!(of(bytes).text().unwrap().as_str(), "A=é", "{bytes:?}");
            assert_eq!(of(bytes).lossy().as_str(), "A=é", "{bytes:?}");
        }
        assert!(matches!(of(b"A=\xe9").text(), Err(Failure::NotText)));
        assert_eq!(of(b"A=\xe9").lossy().as_str(), "A=\u{fffd}");
        assert!(read(&path, 2).is_err_and(|why| why.why().contains("larger")));
        assert!(matches!(read(dir.path(), 64), Err(Failure::Directory)));
        assert!(matches!(read(&dir.path().join("absent"), 64), Err(Failure::Missing)));
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_read_like_a_file_and_given_up_where_nobody_writes() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();

        let nobody = read_within(&path, 64, Duration::from_millis(1));
        assert!(nobody.is_err_and(|why| why.why().contains("nobody wrote")));

        // Whoever gave up still waits for a writer: on a pipe of its own nobody takes what is meant for another.
        let path = dir.path().join("another");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let writer = std::thread::spawn({
            let path = path.clone();
            move || fs::write(path, "A=1\n").unwrap()
        });
        assert_eq!(read(&path, 64).unwrap().text().unwrap().as_str(), "A=1\n");
        writer.join().unwrap();
    }
}
