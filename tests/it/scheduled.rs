//! Commands on a schedule, and commands that only read: before there is a database, and where nothing can be written.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use super::desk::{BINARY, Desk, Ran, finish};

const PHONE: &str = "+14155552671";

/// Lines for a scheduler, each with the kind of its answer in JSON.
const SCHEDULED: [(&str, &str); 4] = [
    ("dispatch", "dispatched"),
    ("purge-expired", "purged"),
    ("audit verify", "audit_verification"),
    ("audit prune --older-than 400d", "audit_pruned"),
];

#[test]
fn before_the_first_message_there_is_nothing_to_do_and_nothing_is_made() {
    let desk = Desk::new();
    desk.write("empty.db", "");
    for (line, kind) in SCHEDULED {
        let quiet = desk.run(&format!("{line} -q")).expect(0);
        assert!(quiet.bytes.is_empty(), "{line}: {quiet:?}");
        desk.run(line).expect(0).says("no database");
        desk.run(&format!("{line} --json")).expect(0).json(kind);
        for db in ["new.db", "empty.db"] {
            desk.run(&format!("{line} -q --db {db}")).expect(0);
        }
    }
    let kept: Vec<_> = desk.files().into_iter().filter(|path| !path.ends_with("empty.db")).collect();
    assert!(kept.is_empty(), "{kept:?}");
    assert_eq!(fs::metadata(desk.cwd().join("empty.db")).unwrap().len(), 0);
    // Where `send` would fail as well, it is no silence: a directory that is not there, and an anchor of rows that are
    // not.
    for (line, _) in SCHEDULED {
        desk.run(&format!("{line} -q --db no/such/place.db")).expect(74).says("no/such/place.db");
    }
    desk.run(&format!("send {PHONE} --db real.db")).expect(0);
    desk.run("audit anchor --append anchor.jsonl -q --db real.db").expect(0);
    desk.run("audit verify -q --anchor anchor.jsonl").expect(74);
    // Whoever wants to see something has to be told that there is nothing to see.
    desk.run("list").expect(74).says("no database");
}

/// A desk with a code on it, whose commands run as somebody who is not root.
struct Reader {
    desk: Desk,
    as_nobody: bool,
}

impl Reader {
    /// `None` where root cannot become somebody else.
    fn new() -> Option<Reader> {
        let as_nobody = fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0);
        if as_nobody && !Command::new("setpriv").arg("--version").output().is_ok_and(|o| o.status.success()) {
            crate::pg::skipped("root may write everything, and setpriv is not there to become someone else");
            return None;
        }
        let desk = Desk::new();
        desk.send(PHONE);
        if as_nobody {
            // The binary may lie where another user cannot go.
            fs::copy(BINARY, desk.root().join("smsotp")).unwrap();
            mode(desk.root(), 0o755);
            Command::new("chown").args(["-R", "65534:65534"]).arg(desk.root()).status().unwrap();
        }
        Some(Reader { desk, as_nobody })
    }

    fn run(&self, line: &str) -> Ran {
        if !self.as_nobody {
            return self.desk.run(line);
        }
        let mut command = self.desk.program("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(self.desk.root().join("smsotp"));
        finish(command.args(line.split_whitespace()))
    }

    /// Every command that only reads answers, and what would write says that it cannot.
    #[track_caller]
    fn reads_all(&self, what: &str) {
        for line in [
            "list",
            "show 1",
            "audit list",
            "audit verify",
            "audit anchor",
            "db status",
            "db check",
            "token list",
            "test-number list",
            "alarms list",
            "keys list",
            "limits show +14155552671",
        ] {
            let ran = self.run(line);
            assert_eq!(ran.code(), 0, "{what}: {line}: {ran:?}");
        }
        assert!(self.run("list").out.contains("active"), "{what}");
        for line in ["revoke 1", "list --reveal"] {
            let ran = self.run(line);
            assert_eq!((ran.code(), ran.out.as_str()), (74, ""), "{what}: {line}: {ran:?}");
        }
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Puts the log into the file itself, so that the file alone is the database.
fn fold(db: &Path) {
    let database = rusqlite::Connection::open(db).unwrap();
    database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    database.close().unwrap();
    for tail in ["-wal", "-shm", "-turn", "-next"] {
        let _ = fs::remove_file(format!("{}{tail}", db.display()));
    }
}

#[test]
fn a_file_that_may_not_be_written_is_read_and_so_is_one_in_such_a_directory() {
    let Some(reader) = Reader::new() else { return };
    let db = reader.desk.db();
    let dir = db.parent().unwrap().to_owned();
    // As a command left it, with its log beside it.
    mode(&db, 0o400);
    reader.reads_all("a read-only file with its log");
    mode(&dir, 0o500);
    reader.reads_all("a read-only file and directory with its log");
    mode(&dir, 0o700);
    mode(&db, 0o600);
    for entry in fs::read_dir(&dir).unwrap() {
        mode(&entry.unwrap().path(), 0o400);
    }
    mode(&dir, 0o500);
    reader.reads_all("everything read-only");
    mode(&dir, 0o700);
    for entry in fs::read_dir(&dir).unwrap() {
        mode(&entry.unwrap().path(), 0o600);
    }

    // The file alone, as on a medium or in a backup.
    fold(&db);
    mode(&dir, 0o500);
    reader.reads_all("a read-only directory");
    mode(&db, 0o400);
    reader.reads_all("a read-only file in a read-only directory");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "nothing was made beside it");
    mode(&dir, 0o700);
    reader.reads_all("a read-only file");
    // SQLite made its files beside the database with the database's mode.
    for entry in fs::read_dir(&dir).unwrap() {
        mode(&entry.unwrap().path(), 0o600);
    }
    reader.run("revoke 1").expect(0);
}

#[test]
fn a_name_that_sqlite_could_take_for_something_else_is_a_file() {
    let desk = Desk::new();
    for name in ["file:memory.db?mode=memory", "file:x.db?vfs=unix-none", "a%41 b?.db", "file::memory:"] {
        let code = desk.run_args(["send", PHONE, "--db", name]).expect(0).err;
        let code = smsotp::sandbox::inbox::extract_code(&code).unwrap();
        assert!(desk.cwd().join(name).is_file(), "{name}");
        desk.run_args(["list", "--db", name]).expect(0).shows("active");
        desk.run_args(["verify", PHONE, &code, "--db", name]).expect(0);
        let copy = format!("file:copy of {}?mode=memory", name.len());
        desk.run_args(["db", "backup", &copy, "--db", name]).expect(0);
        desk.run_args(["list", "--db", &copy]).expect(0).shows("verified");
    }
}

#[test]
fn an_anchor_finds_a_file_that_was_put_back() {
    let desk = Desk::new();
    desk.send(PHONE);
    fold(&desk.db());
    let early = fs::read(desk.db()).unwrap();
    desk.run("revoke 1").expect(0);
    let heads = desk.run("audit anchor --append kept/anchor.jsonl").expect(74);
    assert!(heads.err.contains("kept/anchor.jsonl"), "{}", heads.err);
    desk.run("audit anchor --append anchor.jsonl").expect(0).shows("0\t3\t");
    desk.send("+14155552672");
    desk.run("audit anchor -q --append anchor.jsonl").expect(0);
    assert_eq!(fs::read_to_string(desk.cwd().join("anchor.jsonl")).unwrap().lines().count(), 2);
    let held = desk.run("audit verify --anchor anchor.jsonl --json").expect(0).json("audit_verification");
    assert_eq!((held["intact"].as_bool(), held["anchored"].as_u64()), (Some(true), Some(2)));
    // What `-o jsonl` prints is an anchor too.
    let lines = desk.run("audit anchor -o jsonl").expect(0).out;
    desk.write("lines.jsonl", lines);
    desk.run("audit verify -q --anchor lines.jsonl").expect(0);

    fold(&desk.db());
    fs::write(desk.db(), early).unwrap();
    desk.run("audit verify -q").expect(0);
    desk.run("audit verify -q --anchor anchor.jsonl").expect(1).shows("removed");

    for (text, exit) in [("", 65), ("{}\n", 65), ("hello\n", 65)] {
        desk.write("none.jsonl", text);
        desk.run("audit verify --anchor none.jsonl").expect(exit).says("none.jsonl");
    }
    let other = Desk::new();
    other.send(PHONE);
    fs::copy(desk.cwd().join("lines.jsonl"), other.cwd().join("lines.jsonl")).unwrap();
    other.run("audit verify --anchor lines.jsonl").expect(65).says("database");
}

#[test]
fn a_move_is_imported_once_whatever_its_file_is_called() {
    let desk = Desk::new();
    let code = desk.send(PHONE);
    desk.run("db export moved.jsonl --move --yes").expect(0);
    fs::copy(desk.cwd().join("moved.jsonl"), desk.cwd().join("copy.jsonl")).unwrap();
    // Neither a database that is not empty nor a cut file uses the move up.
    desk.run("send +14155552672 --db used.db").expect(0);
    desk.run("db import moved.jsonl --db used.db").expect(74).says("not empty");
    let whole = fs::read_to_string(desk.cwd().join("moved.jsonl")).unwrap();
    desk.write("cut.jsonl", whole.trim_end().rsplit_once('\n').unwrap().0.to_owned() + "\n");
    desk.run("db import cut.jsonl --db cut.db").expect(65);

    desk.run("db import moved.jsonl --db one.db").expect(0);

    for file in ["moved.jsonl", "copy.jsonl"] {
        for db in ["two.db", "one.db"] {
            desk.run(&format!("db import {file} --db {db}")).expect(74);
        }
        desk.run(&format!("db import {file} --db two.db")).expect(74).says("one.db").says("imported");
    }
    // The sealed database may be exported again: it is the same move.
    desk.run("db export again.jsonl --move --yes").expect(0);
    desk.run("db import again.jsonl --db two.db").expect(74).says("one.db");
    // The database that it went to is taken away: its codes are wherever it is now.
    fs::rename(desk.cwd().join("one.db"), desk.cwd().join("elsewhere.db")).unwrap();
    for tail in ["-wal", "-shm"] {
        let _ = fs::rename(desk.cwd().join(format!("one.db{tail}")), desk.cwd().join(format!("elsewhere.db{tail}")));
    }
    desk.run("db import again.jsonl --db one.db").expect(74);
    desk.run(&format!("verify {PHONE} {code} --db elsewhere.db")).expect(0);
    // A marked file is refused also where nothing was noted; and a move that cannot be marked is not imported.
    fs::remove_file(desk.home().join(".config/smsotp/moves")).unwrap();
    desk.run("db import moved.jsonl --db three.db").expect(74).says("one.db");
    desk.run("db import no-such.jsonl --db three.db").expect(74);
    // A copy that somebody made of a move by hand is none.
    desk.write("forged.jsonl", whole.replacen("\"moved\":true", "\"moved\":false", 1));
    desk.run("db import forged.jsonl --db three.db").expect(65);
}

#[test]
fn a_backup_and_an_export_say_in_the_log_that_they_began_and_how_they_ended() {
    let desk = Desk::new();
    desk.send(PHONE);
    desk.run("db backup copy.db").expect(0);
    desk.run("db export copy.jsonl").expect(0);
    desk.run("db backup no/such/place.db").expect(74);
    let log = desk.run("audit list -o tsv").expect(0).out;
    let said: Vec<&str> = log.lines().filter(|line| line.contains("\tdb.")).collect();
    let outcome = |line: &&str| {
        let cells: Vec<&str> = line.split('\t').collect();
        format!("{} {}", cells[3], cells[5])
    };
    let said: Vec<String> = said.iter().map(outcome).collect();
    assert_eq!(
        said,
        [
            "db.backup failed",
            "db.backup begun",
            "db.export done",
            "db.export begun",
            "db.backup done",
            "db.backup begun"
        ]
    );
    desk.run("db check").expect(0);
}
