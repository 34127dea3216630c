//! Database that are missing, damaged, foreign, locked, full or without their key: an exact exit code, the cause, the next step, and
//! never a "verified".
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use super::desk::{BINARY, Desk, Ran};

const PHONE: &str = "+14155552671";

/// Database with one living code, closed properly, and that code.
fn with_a_code() -> (Desk, String) {
    let desk = Desk::new();
    let code = desk.send(PHONE);
    (desk, code)
}

/// Tries the right code, which must not verify, and answers what was said.
#[track_caller]
fn trouble(desk: &Desk, code: &str, exit: i32) -> Ran {
    let ran = desk.run(&format!("verify {PHONE} {code}")).expect(exit);
    assert!(ran.err.starts_with("error: ") && ran.err.contains("\nhint: "), "{}", ran.err);
    assert!(ran.out.is_empty(), "{}", ran.out);
    desk.run("list").expect(exit);
    desk.run("send +442079460000").expect(exit);
    ran
}

/// Puts the log into the file itself, so that the file alone is the database.
fn fold(db: &Path) {
    let database = rusqlite::Connection::open(db).unwrap();
    database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    database.close().unwrap();
    for tail in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{tail}", db.display()));
    }
}

#[test]
fn database_that_are_no_database_are_named_and_left_alone() {
    let (desk, code) = with_a_code();
    fold(&desk.db());
    let good = fs::read(desk.db()).unwrap();
    let noise: Vec<u8> = (0..good.len()).map(|n| (n * 7919 % 251) as u8).collect();

    for (what, bytes) in [("random", noise), ("text", b"hello\n".repeat(1000))] {
        fs::write(desk.db(), &bytes).unwrap();
        trouble(&desk, &code, 74).says("smsotp.db");
        assert_eq!(fs::read(desk.db()).unwrap(), bytes, "{what} was changed");
    }
    for cut in [100, 4096, good.len() / 2] {
        fs::write(desk.db(), &good[..cut]).unwrap();
        let ran = desk.run(&format!("verify {PHONE} {code}"));
        assert_eq!(ran.code(), 74, "cut at {cut}: {ran:?}");
    }
    fs::write(desk.db(), &good).unwrap();
    desk.run(&format!("verify {PHONE} {code}")).expect(0);
}

#[test]
fn a_page_that_was_overwritten_is_found_by_the_check() {
    let (desk, _) = with_a_code();
    fold(&desk.db());
    let mut bytes = fs::read(desk.db()).unwrap();
    let page = 4096 * (bytes.len() / 4096 / 2);
    bytes[page..page + 4096].fill(0xa5);
    fs::write(desk.db(), &bytes).unwrap();

    let ran = desk.run("db check");

    assert!([1, 74].contains(&ran.code()), "{ran:?}");
    assert!(ran.out.contains("fail\t") || ran.err.contains("hint: "), "{ran:?}");
}

#[test]
fn a_directory_in_the_place_of_the_database_is_said_to_be_one() {
    let desk = Desk::new();
    fs::create_dir_all(desk.db()).unwrap();

    desk.run("list").expect(74).says("directory");
    desk.run("send +14155552671").expect(74).says("directory");
}

#[test]
fn another_programs_database_is_not_touched() {
    let (desk, code) = with_a_code();
    let other = desk.cwd().join("other.db");
    let foreign = rusqlite::Connection::open(&other).unwrap();
    foreign.execute_batch("CREATE TABLE notes (text); INSERT INTO notes VALUES ('mine');").unwrap();
    foreign.close().unwrap();
    let before = fs::read(&other).unwrap();

    let ran = desk.run(&format!("verify {PHONE} {code} --db other.db")).expect(74);
    desk.run(&format!("send {PHONE} --db other.db")).expect(74);

    assert!(ran.err.contains("other.db"), "{}", ran.err);
    assert_eq!(fs::read(&other).unwrap(), before);
}

#[test]
fn an_empty_file_becomes_database_only_when_something_is_sent() {
    let desk = Desk::new();
    desk.write("new.db", "");

    desk.run("list --db new.db").expect(74).says("no database");
    desk.run(&format!("send {PHONE} --db new.db")).expect(0);
    desk.run("list --db new.db").expect(0).shows("active");
}

#[test]
fn a_database_in_a_directory_that_is_not_there_is_not_made_silently() {
    let desk = Desk::new();

    let ran = desk.run(&format!("send {PHONE} --db no/such/place.db")).expect(74);

    assert!(ran.err.contains("no/such") && ran.err.contains("hint: "), "{}", ran.err);
    assert!(!desk.cwd().join("no").exists());
}

#[test]
fn a_newer_schema_is_refused_in_words() {
    let (desk, code) = with_a_code();
    let database = rusqlite::Connection::open(desk.db()).unwrap();
    let version: i64 = database.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    database.pragma_update(None, "user_version", version + 1).unwrap();
    database.close().unwrap();

    trouble(&desk, &code, 74).says("newer");
}

#[test]
fn somebody_who_holds_the_database_is_waited_for_and_then_named() {
    let (desk, code) = with_a_code();
    let holder = rusqlite::Connection::open(desk.db()).unwrap();
    holder.execute_batch("BEGIN EXCLUSIVE").unwrap();

    let ran = desk.run(&format!("verify {PHONE} {code}")).expect(75);
    assert!(ran.out.is_empty() && ran.err.contains("hint: "), "{ran:?}");
    desk.run("list").expect(0).shows("active");
    holder.execute_batch("ROLLBACK").unwrap();

    desk.run(&format!("verify {PHONE} {code}")).expect(0);
}

#[test]
fn a_missing_a_wrong_and_a_foreign_key_are_told_apart_and_none_is_made() {
    let (mut desk, code) = with_a_code();
    let kept = desk.root().join("kept.key");
    let back = || fs::copy(&kept, desk.key_file()).unwrap();
    fs::copy(desk.key_file(), &kept).unwrap();

    fs::remove_file(desk.key_file()).unwrap();
    let missing = trouble(&desk, &code, 78);
    assert!(missing.err.contains("secret.key") && missing.err.contains("home"), "path and HOME: {}", missing.err);
    assert!(!desk.key_file().exists(), "no new key is made for old database");

    back();
    fs::set_permissions(desk.key_file(), fs::Permissions::from_mode(0o644)).unwrap();
    trouble(&desk, &code, 78).says("chmod 600");
    fs::set_permissions(desk.key_file(), fs::Permissions::from_mode(0o600)).unwrap();

    fs::rename(desk.key_file(), desk.root().join("moved.key")).unwrap();
    symlink(desk.root().join("moved.key"), desk.key_file()).unwrap();
    trouble(&desk, &code, 78).says("secret.key");
    fs::remove_file(desk.key_file()).unwrap();

    for bad in ["", "not base64!\n", "c2hvcnQ=\n", "# a comment alone\n"] {
        fs::write(desk.key_file(), bad).unwrap();
        fs::set_permissions(desk.key_file(), fs::Permissions::from_mode(0o600)).unwrap();
        trouble(&desk, &code, 78).says("secret.key");
    }
    fs::remove_file(desk.key_file()).unwrap();
    back();
    fs::set_permissions(desk.key_file(), fs::Permissions::from_mode(0o600)).unwrap();
    desk.run("list").expect(0);

    let foreign = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    desk.set("SMSOTP_SECRET_KEY", foreign);
    let wrong = trouble(&desk, &code, 78);
    assert!(!wrong.err.contains(foreign), "{}", wrong.err);
    desk.set("SMSOTP_SECRET_KEY", "");
    desk.run(&format!("verify {PHONE} {code}")).expect(0);
}

#[test]
fn a_named_key_file_may_be_read_by_a_group_but_written_by_nobody_else() {
    let mut desk = Desk::new();
    let key = desk.write("app.key", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n");
    desk.set("SMSOTP_SECRET_KEY_FILE", &key);
    let mode = |mode| fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();

    mode(0o640);
    assert!(!desk.run(&format!("send {PHONE}")).expect(0).err.contains("warning:"));
    mode(0o644);
    desk.run("list").expect(0).says("warning:").says("app.key");
    mode(0o666);
    desk.run("list").expect(78).says("app.key");
    fs::remove_file(&key).unwrap();
    desk.run("list").expect(78).says("app.key");
}

#[test]
fn whatever_the_umask_is_nobody_else_may_read_what_is_made() {
    let desk = Desk::new();

    let ran = desk.shell(
        "umask 000
        set -e
        smsotp send +14155552671
        smsotp keys rotate; smsotp keys rotate
        smsotp revoke 1
        smsotp purge-expired --older-than 0s --scrub
        smsotp db backup copy.db
        smsotp list --db copy.db",
    );
    ran.expect(0);
    let mut sandbox = desk.program("sh");
    sandbox.args([
        "-c",
        &format!("umask 000; exec timeout -s INT 3 {BINARY} sandbox --listen 127.0.0.1:0 --write-env made.env"),
    ]);
    super::desk::finish(&mut sandbox);

    let files = desk.files();
    assert!(
        files.iter().any(|path| path.ends_with("made.env")) && files.iter().any(|path| path.ends_with("secret.key"))
    );
    for file in files {
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600, "{}", file.display());
        for dir in file.ancestors().take_while(|dir| dir.starts_with(desk.home())) {
            if dir.is_dir() && dir != desk.home() && dir.ends_with("smsotp") {
                assert_eq!(dir.metadata().unwrap().mode() & 0o777, 0o700, "{}", dir.display());
            }
        }
    }
}

#[test]
fn a_full_disk_stops_with_74_and_loses_nothing() {
    let (desk, code) = with_a_code();
    fold(&desk.db());

    // No file may grow beyond 32 KiB: to the program that is a disk that fills up while it writes the log.
    let limit = desk.shell(&format!("trap '' XFSZ; ulimit -f 64 || exit; exec {BINARY} send +442079460000"));
    if limit.err.contains("ulimit") {
        eprintln!("SKIPPED: this shell cannot limit the size of files");
        return;
    }

    limit.expect(74).says("hint: ");
    desk.run("db check").expect(0);
    desk.run(&format!("verify {PHONE} {code}")).expect(0);
}

#[test]
fn files_and_directories_that_may_not_be_written_are_named() {
    let (desk, code) = with_a_code();
    fold(&desk.db());
    let dir = desk.db().parent().unwrap().to_owned();
    let as_nobody = is_root();
    // Modes mean nothing to root: there the same is tried as another user, to whom everything but the database belongs.
    if as_nobody && !Command::new("setpriv").arg("--version").output().is_ok_and(|o| o.status.success()) {
        eprintln!("SKIPPED: root may write everything, and setpriv is not there to become someone else");
        return;
    }
    let verify = |desk: &Desk| {
        if !as_nobody {
            return desk.run(&format!("verify {PHONE} {code}"));
        }
        for path in [desk.root().to_owned(), desk.home(), desk.home().join(".local"), desk.home().join(".local/share")]
        {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Command::new("chown").args(["-R", "65534:65534"]).arg(desk.home()).status().unwrap();
        // The binary may lie where another user cannot go.
        let copy = desk.root().join("smsotp");
        if !copy.exists() {
            fs::copy(BINARY, &copy).unwrap();
        }
        let mut command = desk.program("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(copy);
        super::desk::finish(command.args(["verify", PHONE, &code]))
    };
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();

    mode(&desk.db(), 0o400);
    let ran = verify(&desk).expect(74);
    assert!(ran.err.contains("read-only") && ran.err.contains("hint: "), "{}", ran.err);
    mode(&desk.db(), 0o000);
    verify(&desk).expect(74).says("hint: ");
    // SQLite made its files beside the database with the database's mode.
    for entry in fs::read_dir(&dir).unwrap() {
        mode(&entry.unwrap().path(), 0o600);
    }
    fold(&desk.db());
    mode(&dir, 0o500);
    verify(&desk).expect(74).says("hint: ");
    mode(&dir, 0o700);
    verify(&desk).expect(0);
}

#[test]
fn a_directory_that_may_not_be_entered_is_named_and_no_database_is_said_to_be_missing() {
    let desk = Desk::new();
    let (locked, home) = (desk.root().join("locked"), desk.root().join("other"));
    let db = locked.join("otp.db");
    fs::create_dir(&locked).unwrap();
    fs::create_dir(&home).unwrap();
    desk.run(&format!("send {PHONE} --db {}", db.display())).expect(0);
    let as_nobody = is_root();
    if as_nobody && !Command::new("setpriv").arg("--version").output().is_ok_and(|o| o.status.success()) {
        eprintln!("SKIPPED: root may enter everything, and setpriv is not there to become someone else");
        return;
    }
    let copy = desk.root().join("smsotp");
    fs::copy(BINARY, &copy).unwrap();
    fs::set_permissions(desk.root(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(desk.cwd(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(if as_nobody { 0o700 } else { 0o000 })).unwrap();

    for line in [
        "list",
        "verify +14155552671 123456",
        "db status",
        "db check",
        "purge-expired",
        "dispatch",
        "revoke +14155552671",
        "show 1",
        "audit verify",
        "send +14155552671",
        "limits show +14155552671",
        "token list",
    ] {
        let mut command = if as_nobody {
            let mut command = desk.program("setpriv");
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&copy);
            command
        } else {
            desk.program(copy.to_str().unwrap())
        };
        command.env("HOME", &home).args(line.split_whitespace()).arg("--db").arg(&db);
        let ran = super::desk::finish(&mut command).expect(74).says("may not enter the directory").says("--db");
        assert!(!ran.err.contains("no database"), "{line}: {}", ran.err);
    }
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_key_directory_that_everybody_may_write_to_is_warned_of() {
    let (desk, _) = with_a_code();
    let dir = desk.key_file().parent().unwrap().to_owned();
    let warned = |mode| {
        fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
        desk.run("list").expect(0).err.contains("secret.key: its directory")
    };

    assert!(!warned(0o700) && warned(0o777) && !warned(0o1777) && warned(0o703));
    assert!(desk.run("config check").expect(0).out.contains("may replace"));
}

#[test]
fn a_code_file_that_everybody_may_read_is_warned_of() {
    let (desk, code) = with_a_code();
    let file = desk.write("code", format!("\u{feff}{code}\r\n"));

    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    desk.run(&format!("verify {PHONE} --code-file code")).expect(0).says("code holds secrets");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(desk.run(&format!("verify {PHONE} --code-file code")).expect(1).err, "");
}

#[test]
fn a_named_key_may_come_through_a_pipe_and_carry_the_mark_of_an_editor() {
    let mut desk = Desk::new();
    let key = format!("\u{feff}{}=\r\n", "A".repeat(43));
    let file = desk.write("key", &key);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    desk.set("SMSOTP_SECRET_KEY_FILE", &file);
    let code = desk.send(PHONE);

    let pipe = desk.root().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    desk.set("SMSOTP_SECRET_KEY_FILE", &pipe);
    let writer = std::thread::spawn(move || fs::write(pipe, key).unwrap());
    let ran = desk.run(&format!("verify {PHONE} {code}")).expect(0);
    writer.join().unwrap();
    assert_eq!(ran.err, "");
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}
