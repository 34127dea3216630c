//! Key files: our own, which is made, protected and rewritten here, and those that the user names, which are only read.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::random::fill_random;
use super::secret::{KEYS_MAX, SecretKey, parse_list};
use crate::code::KeyId;
use crate::error::{Code, Error, Result};
use crate::files::{self, Failure, Holds};

/// A key file is a few lines; what is larger is another file.
const FILE_MAX: u64 = 64 * 1024;

const HEADER: &str = "# Secret keys of smsotp, newest first. Anybody who reads this file can compute codes.\n\
                    # Without it the database cannot be used: keep a copy in a safe place, apart from copies of the database.\n";

/// Reads our own file. It must be a plain file of ours that nobody else may read or write.
pub(super) fn read_own(path: &Path) -> Result<Zeroizing<String>> {
    let file = open_own(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => missing_own(path),
        _ => unreadable(path, error),
    })?;
    check_own(path, &file)?;
    read(path, file)
}

/// Reads a file that the user named: its text, and what is worth a warning.
pub(super) fn read_named(path: &Path) -> Result<(Zeroizing<String>, Vec<String>)> {
    let failed = |why: Failure| match why {
        Failure::Directory => not_a_key_file(path, "is not a plain file"),
        Failure::NotText => not_a_key_file(path, "is not text"),
        why => cannot_read(path, &why.why()),
    };
    let contents = files::read(path, FILE_MAX).map_err(failed)?;
    let warnings = check_named(path, &contents.meta)?;
    Ok((contents.text().map_err(failed)?, warnings))
}

/// Makes our own file with one new key, unless it exists. However many processes do so at once, exactly one file is made, whole,
/// and every one of them uses it.
///
/// Errors: `FILE_FAILED` when the directory or the file cannot be made.
pub(super) fn create_own(path: &Path) -> Result<()> {
    if path.symlink_metadata().is_ok() {
        return Ok(());
    }
    let dir = parent(path);
    make_private_dir(&dir).map_err(|error| cannot(&dir, "make the directory", error))?;
    let temp = write_temp(path, &[SecretKey::generate()?])?;
    // A link, unlike a rename, fails when the name is taken: the first process wins, and no reader sees half a file.
    let linked = match fs::hard_link(&temp, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        // A rotation in between removed our temporary file: so there is a key file.
        Err(error) if error.kind() == ErrorKind::NotFound && path.exists() => Ok(()),
        Err(error) if lacks_hard_links(&error) => rename_if_absent(&temp, path),
        other => other.map_err(|error| cannot(path, "make", error)),
    };
    // After a rename there is nothing left to remove; a leftover would be another copy of the key.
    let _ = fs::remove_file(&temp);
    linked?;
    sync_dir(&dir);
    Ok(())
}

/// Adds a new key at the end of our own file and returns its id. Codes are still made with the first key.
///
/// Errors: as `read_own`, and `FILE_FAILED` when the file cannot be rewritten.
pub fn add_last(path: &Path) -> Result<KeyId> {
    let key = SecretKey::generate()?;
    let id = key.id();
    rewrite(path, |keys| {
        if keys.len() >= KEYS_MAX {
            return Err(Error::new(Code::KEY_INVALID, format!("{} already holds {KEYS_MAX} keys", path.display()))
                .hint("Remove the old ones first: smsotp keys prune"));
        }
        keys.push(key);
        Ok(())
    })?;
    Ok(id)
}

/// Moves a key of our own file to the first place: new codes are made with it from now on.
///
/// Errors: as [`add_last`]; `KEY_INVALID` when the file does not hold it.
pub fn promote(path: &Path, id: &KeyId) -> Result<()> {
    rewrite(path, |keys| {
        let at = position(path, keys, id)?;
        keys[..=at].rotate_right(1);
        Ok(())
    })
}

/// Removes a key from our own file. The caller makes sure that no live code still needs it.
///
/// Errors: as [`promote`]; `KEY_INVALID` for the first key, which new codes are made with.
pub fn remove(path: &Path, id: &KeyId) -> Result<()> {
    rewrite(path, |keys| {
        let at = position(path, keys, id)?;
        if at == 0 {
            return Err(Error::new(Code::KEY_INVALID, format!("key {id} is the one that new codes are made with"))
                .hint("Move another key to the front first: smsotp keys rotate"));
        }
        keys.remove(at);
        Ok(())
    })
}

/// Reads, changes and replaces our own file, alone: a lock file beside it keeps two rotations from losing a key.
fn rewrite(path: &Path, change: impl FnOnce(&mut Vec<SecretKey>) -> Result<()>) -> Result<()> {
    let _lock = lock(path)?;
    let mut keys = parse_list(&read_own(path)?, &path.display().to_string())?;
    change(&mut keys)?;
    remove_leftovers(path);
    let temp = write_temp(path, &keys)?;
    fs::rename(&temp, path).map_err(|error| {
        let _ = fs::remove_file(&temp);
        cannot(path, "rewrite", error)
    })?;
    sync_dir(&parent(path));
    Ok(())
}

fn position(path: &Path, keys: &[SecretKey], id: &KeyId) -> Result<usize> {
    keys.iter().position(|key| key.id() == *id).ok_or_else(|| {
        Error::new(Code::KEY_INVALID, format!("{} holds no key {id}", path.display()))
            .hint("List the keys with: smsotp keys list")
    })
}

/// Writes the keys to a new file beside `path`, 0600 whatever the umask is, and onto the disk.
fn write_temp(path: &Path, keys: &[SecretKey]) -> Result<PathBuf> {
    let mut random = [0; 8];
    fill_random(&mut random)?;
    let name = path.file_name().map_or_else(|| "secret.key".into(), |name| name.to_string_lossy().into_owned());
    let temp = parent(path).join(format!(".{name}.{:016x}.tmp", u64::from_be_bytes(random)));
    let mut text = Zeroizing::new(String::with_capacity(HEADER.len() + keys.len() * 45));
    text.push_str(HEADER);
    for key in keys {
        text.push_str(&key.to_base64());
        text.push('\n');
    }
    let write = || {
        let mut file = private_options().write(true).create_new(true).open(&temp)?;
        make_private(&file)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&temp);
        cannot(path, "write", error)
    })?;
    Ok(temp)
}

/// A process that was killed between write and rename left a copy of keys behind, which a prune has to remove.
fn remove_leftovers(path: &Path) {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return };
    let prefix = format!(".{name}.");
    for entry in fs::read_dir(parent(path)).into_iter().flatten().flatten() {
        let left_over = entry.file_name().to_str().is_some_and(|n| n.starts_with(&prefix) && n.ends_with(".tmp"));
        if left_over {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// For file systems without hard links: the lock makes check and rename one step among our own processes.
fn rename_if_absent(temp: &Path, path: &Path) -> Result<()> {
    let _lock = lock(path)?;
    if path.symlink_metadata().is_ok() {
        return Ok(());
    }
    fs::rename(temp, path).map_err(|error| cannot(path, "make", error))
}

fn lacks_hard_links(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported)
}

/// The lock ends with the file handle, also when the process is killed. The lock file stays: to remove it would be a race.
fn lock(path: &Path) -> Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock_path = PathBuf::from(name);
    let acquire = || {
        let file = private_options().write(true).create(true).truncate(false).open(&lock_path)?;
        make_private(&file)?;
        file.lock()?;
        Ok(file)
    };
    acquire().map_err(|error| cannot(&lock_path, "lock", error))
}

fn read(path: &Path, file: File) -> Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(1024));
    file.take(FILE_MAX + 1).read_to_string(&mut text).map_err(|error| match error.kind() {
        ErrorKind::InvalidData => not_a_key_file(path, "is not text"),
        _ => unreadable(path, error),
    })?;
    if text.len() as u64 > FILE_MAX {
        return Err(not_a_key_file(path, "is larger than 64 KiB"));
    }
    Ok(text)
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

#[cfg(unix)]
fn open_own(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;

    use nix::fcntl::OFlag;

    // Without O_NONBLOCK a named pipe would make us wait for a writer for ever.
    OpenOptions::new().read(true).custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits()).open(path)
}

#[cfg(not(unix))]
fn open_own(path: &Path) -> std::io::Result<File> {
    if path.symlink_metadata()?.is_symlink() {
        return Err(std::io::Error::other("it is a link"));
    }
    OpenOptions::new().read(true).open(path)
}

#[cfg(unix)]
fn private_options() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;

    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

#[cfg(not(unix))]
fn private_options() -> OpenOptions {
    OpenOptions::new()
}

/// A umask may have taken the owner's rights away; others' rights were never given.
#[cfg(unix)]
fn make_private(file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    file.set_permissions(fs::Permissions::from_mode(0o600))
}

#[cfg(not(unix))]
fn make_private(_file: &File) -> std::io::Result<()> {
    Ok(())
}

#[cfg(unix)]
/// Makes a directory, and those above it, for its owner alone (0700).
pub fn make_private_dir(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;

    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

#[cfg(not(unix))]
/// Makes a directory, and those above it.
pub fn make_private_dir(dir: &Path) -> std::io::Result<()> {
    fs::create_dir_all(dir)
}

/// Best effort: some file systems cannot sync a directory, and the file itself is already on the disk.
fn sync_dir(dir: &Path) {
    if let Ok(dir) = File::open(dir) {
        let _ = dir.sync_all();
    }
}

#[cfg(unix)]
fn check_own(path: &Path, file: &File) -> Result<()> {
    use std::os::unix::fs::MetadataExt;

    let meta = plain(path, file)?;
    let (mode, uid) = (meta.mode() & 0o7777, nix::unistd::geteuid().as_raw());
    if meta.uid() != uid {
        let message = format!("the key file {} belongs to user {}, not to user {uid}", path.display(), meta.uid());
        return Err(Error::new(Code::KEY_INVALID, message)
            .hint("Run smsotp as the user who made the database, or name a key file with SMSOTP_SECRET_KEY_FILE."));
    }
    if mode != 0o600 {
        let message = format!("the key file {} has mode {mode:04o}; it must be 0600", path.display());
        return Err(Error::new(Code::KEY_INVALID, message).hint(format!("chmod 600 {}", quoted(path))));
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_own(path: &Path, file: &File) -> Result<()> {
    plain(path, file).map(drop)
}

#[cfg(unix)]
fn check_named(path: &Path, meta: &fs::Metadata) -> Result<Vec<String>> {
    use std::os::unix::fs::MetadataExt;

    let (mode, uid) = (meta.mode() & 0o7777, nix::unistd::geteuid().as_raw());
    // A pipe is not kept: whoever made it for us may have made it as they like.
    if meta.is_file() && mode & 0o022 != 0 {
        let message = format!("the key file {} has mode {mode:04o}: others may write it", path.display());
        return Err(Error::new(Code::KEY_INVALID, message).hint(format!("chmod go-w {}", quoted(path))));
    }
    let mut warnings = files::exposure(path, meta, Holds::Secrets);
    if meta.uid() != uid && meta.uid() != 0 {
        warnings.push(format!("the key file {} belongs to user {}, who may change it", path.display(), meta.uid()));
    }
    Ok(warnings)
}

#[cfg(not(unix))]
fn check_named(_path: &Path, _meta: &fs::Metadata) -> Result<Vec<String>> {
    Ok(Vec::new())
}

fn plain(path: &Path, file: &File) -> Result<fs::Metadata> {
    let meta = file.metadata().map_err(|error| unreadable(path, error))?;
    if meta.is_file() { Ok(meta) } else { Err(not_a_key_file(path, "is not a plain file")) }
}

/// A path as a shell takes it, for commands in hints.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

fn missing_own(path: &Path) -> Error {
    Error::new(Code::KEY_INVALID, format!("the database exists, but its key file {} does not", path.display()))
        .hint("Run as the user who made the database, restore the file, or name the key with SMSOTP_SECRET_KEY_FILE.")
}

fn unreadable(path: &Path, error: std::io::Error) -> Error {
    // With O_NOFOLLOW a link fails with ELOOP, whose own text misleads.
    let why = if path.is_symlink() { "it is a link".to_owned() } else { reason(&error) };
    cannot_read(path, &why)
}

fn cannot_read(path: &Path, why: &str) -> Error {
    Error::new(Code::KEY_INVALID, format!("the key file {} cannot be read: {why}", path.display()))
        .hint("Check that the file is there and that this user may read it.")
}

fn not_a_key_file(path: &Path, what: &str) -> Error {
    Error::new(Code::KEY_INVALID, format!("the key file {} {what}", path.display()))
        .hint("Name a text file that holds one base64 key of 32 bytes per line.")
}

fn cannot(path: &Path, verb: &str, error: std::io::Error) -> Error {
    Error::new(Code::FILE_FAILED, format!("cannot {verb} {}: {}", path.display(), reason(&error)))
        .hint("Make the directory writable for this user, or name a key file with SMSOTP_SECRET_KEY_FILE.")
}

/// The system's reason, without its number.
fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}
