//! Completion in the shells: values that only the program knows, file names where files are meant and nowhere else, and never a wait or
//! an error in the middle of somebody's line.
#![cfg(unix)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use expectrl::{Expect, Session};

use super::desk::{BINARY, Desk, finish};

/// What the program suggests for the last of these words, as (value, description).
fn suggested(desk: &Desk, words: &[&str]) -> Vec<(String, String)> {
    let ran = finish(desk.command(["--", "smsotp"]).args(words).env("_SMSOTP_COMPLETE", "fish")).expect(0);
    assert_eq!(ran.err, "", "{words:?}");
    let split = |line: &str| {
        let (value, help) = line.split_once('\t').unwrap_or((line, ""));
        (value.to_owned(), help.to_owned())
    };
    ran.out.lines().map(split).collect()
}

fn values(desk: &Desk, words: &[&str]) -> Vec<String> {
    let values = suggested(desk, words).into_iter().map(|(value, _)| value);
    values.filter(|value| !value.starts_with('-') || words.last() == Some(&"-")).collect()
}

#[test]
fn every_value_that_is_one_of_a_few_is_suggested() {
    let desk = Desk::new();
    desk.write("smsotp.toml", "[purposes.wire]\nttl = \"5m\"\n");

    assert_eq!(values(&desk, &["list", "--state", "re"]), ["revoked", "read"]);
    assert_eq!(values(&desk, &["list", "--state", "failed,lo"]), ["failed,locked"]);
    assert_eq!(values(&desk, &["audit", "list", "--action", "test"]), ["test-number.add", "test-number.remove"]);
    assert_eq!(values(&desk, &["token", "create", "--scope", "send,"]).len(), 7);
    assert_eq!(values(&desk, &["send", "+1", "--override", "co"]), ["cooldown"]);
    assert!(values(&desk, &["send", "+1", "--override", ""]).iter().all(|limit| limit != "guesses"));
    assert_eq!(values(&desk, &["send", "+1", "--provider", "c"]), ["console"]);
    assert_eq!(values(&desk, &["explain", "2161"]).first().map(String::as_str), Some("21610"));
    assert!(suggested(&desk, &["explain", "21610"])[0].1.len() > 5);
    assert_eq!(values(&desk, &["completions", "z"]), ["zsh"]);
    for verb in ["send", "verify", "list", "revoke"] {
        let purposes = values(&desk, &[verb, "--config", "smsotp.toml", "--purpose", ""]);
        assert!(
            purposes.contains(&"wire".to_owned()) && purposes.contains(&"login".to_owned()),
            "{verb}: {purposes:?}"
        );
    }
    assert_eq!(values(&desk, &["verify", "--purpose=pass"]), [""; 0]);
    assert_eq!(suggested(&desk, &["verify", "--purpose=pass"])[0].0, "--purpose=password_reset");
}

#[test]
fn help_completes_topics_commands_and_their_commands() {
    let desk = Desk::bare();

    let mut topics = values(&desk, &["help", "e"]);
    topics.sort();
    assert_eq!(topics, ["environment", "exit-codes", "explain"]);
    let mut below = values(&desk, &["help", "limits", ""]);
    below.sort();
    assert_eq!(below, ["reset", "show"]);
    assert_eq!(values(&desk, &["help", "nothing", ""]), [""; 0]);
}

#[test]
fn live_codes_are_suggested_by_id_and_by_masked_phone_and_that_is_taken() {
    let desk = Desk::new();
    let code = desk.send("+14155552671 --purpose login");
    desk.send("+442079460321");
    desk.run("revoke 2").expect(0);

    assert_eq!(suggested(&desk, &["show", ""])[0], ("1".to_owned(), "+1415•••2671, login".to_owned()));
    assert_eq!(values(&desk, &["revoke", ""]), ["1"]);
    assert_eq!(values(&desk, &["verify", ""]), ["+1415•••2671"]);
    assert_eq!(values(&desk, &["verify", "+44"]), [""; 0]);
    for words in [&["verify", ""][..], &["show", ""], &["send", ""], &["limits", "reset", ""], &["list", "--phone", ""]]
    {
        let all = format!("{:?}", suggested(&desk, words));
        assert!(!all.contains("4155552671") && !all.contains("7946"), "{all}");
    }

    desk.run("show +1415•••2671").expect(0);
    desk.run("limits show +1415•••2671").expect(0);
    assert_eq!(desk.run("list --phone +1415•••2671").expect(0).rows().len(), 1);
    desk.pipe("verify +1415•••2671 - --purpose login", &code).expect(0);
    desk.run("verify +1415•••2671 123456")
        .expect(65)
        .says("no phone that looks so has a live code")
        .says("whole number");
}

#[test]
fn a_masked_phone_that_fits_two_is_not_guessed() {
    let desk = Desk::new();
    desk.send("+14155552671");
    desk.send("+14156662671");

    desk.run("verify +1415•••2671 123456").expect(65).says("several phones with live codes look so");
}

#[test]
fn among_more_codes_than_are_looked_at_no_masked_phone_is_guessed() {
    let desk = Desk::new();
    desk.send("+14155552671");
    let sql = "INSERT INTO otps (\"user\", phone_number, purpose, nonce, key_id, digits, created_at, expires_at, state) \
               WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 999) \
               SELECT \"user\", '+4474001' || (10000 + n), purpose, nonce, key_id, digits, created_at, expires_at, state FROM otps, n";
    let database = rusqlite::Connection::open(desk.db()).unwrap();
    database.execute_batch(sql).unwrap();
    desk.run("show +1415•••2671").expect(0);

    desk.send("+442079460321");

    desk.run("show +1415•••2671").expect(65).says("too many live codes").says("whole number");
}

#[test]
fn file_names_are_suggested_where_files_are_meant_and_nowhere_else() {
    let desk = Desk::bare();
    desk.write("here.env", "");
    std::fs::create_dir(desk.cwd().join("herein")).unwrap();

    for words in [
        &["send", "--env-file", "her"][..],
        &["--config", "her"],
        &["db", "backup", "her"],
        &["sandbox", "--log", "her"],
    ] {
        let mut found = values(&desk, words);
        found.sort();
        assert_eq!(found, ["here.env", "herein/"], "{words:?}");
    }
    let elsewhere = [
        &["send", "her"][..],
        &["send", "--user", "her"],
        &["list", "--since", "her"],
        &["show", "her"],
        &["explain", "her"],
        &["token", "create", "--name", "her"],
        &["limits", "reset", "--reason", "her"],
    ];
    for words in elsewhere {
        assert_eq!(values(&desk, words), [""; 0], "{words:?}");
    }
}

#[test]
fn a_database_that_is_absent_locked_broken_or_far_away_is_not_waited_for() {
    let desk = Desk::new();
    assert_eq!(values(&desk, &["show", ""]), [""; 0]);
    assert_eq!(desk.files().len(), 0, "a look leaves something behind");

    desk.send("+14155552671");
    let locked = rusqlite::Connection::open(desk.db()).unwrap();
    locked.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    let found = values(&desk, &["show", ""]);
    assert!(found.is_empty() || found == ["1"], "{found:?}");
    drop(locked);
    assert_eq!(values(&desk, &["show", ""]), ["1"]);

    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://ada@{}/smsotp", silent.local_addr().unwrap());
    assert_eq!(values(&desk, &["show", "--db", &url, ""]), [""; 0]);
    desk.write("broken.toml", "= nothing");
    assert_eq!(values(&desk, &["--config", "broken.toml", "show", ""]), [""; 0]);
    assert_eq!(values(&desk, &["--config", "broken.toml", "send", "--purpose", "log"]), ["login"]);
    std::fs::write(desk.db(), "no database").unwrap();
    assert_eq!(values(&desk, &["show", ""]), [""; 0]);
}

#[test]
fn an_unknown_shell_is_an_error_that_says_what_to_do() {
    let desk = Desk::bare();

    finish(desk.command([""; 0]).env("_SMSOTP_COMPLETE", "tcsh"))
        .expect(2)
        .says("unknown shell")
        .says("smsotp completions");
    finish(desk.command(["list"]).env("_SMSOTP_COMPLETE", "0")).expect(74);
}

/// A shell with the program on its path, or a notice that it is not here.
fn shell(desk: &Desk, name: &str) -> Option<Command> {
    if Command::new(name).arg("--version").stdout(Stdio::null()).status().is_err() {
        crate::pg::skipped(&format!("completion in {name} was not tried: it is not on this machine"));
        return None;
    }
    let mut command = desk.program(name);
    let bin = Path::new(BINARY).parent().unwrap();
    command.env("PATH", format!("{}:/usr/bin:/bin", bin.display())).env("LANG", "C.UTF-8").env("TERM", "dumb");
    Some(command)
}

#[test]
fn bash_completes_what_is_typed() {
    let desk = Desk::new();
    desk.send("+14155552671");
    let Some(mut bash) = shell(&desk, "bash") else { return };
    let script = desk.write("smsotp.bash", desk.run("completions bash").expect(0).out);
    // Where the terminal does not echo, bash does not show what is typed either.
    bash.args(["-c", "stty echo; exec bash --norc --noprofile -i"]).stdin(Stdio::inherit());
    let mut session = Session::spawn(bash).unwrap();
    session.set_expect_timeout(Some(Duration::from_secs(60)));
    session.send_line(format!("PS1='rea''dy> '; . {}", script.display())).unwrap();
    session.expect("ready> ").unwrap();

    for (typed, completed) in [
        ("smsotp purge\t", "smsotp purge-expired"),
        ("smsotp list --state super\t", "superseded"),
        ("smsotp list --purpose=pass\t", "--purpose=password_reset"),
        ("smsotp help exi\t", "exit-codes"),
        ("smsotp list --json --purpose=\t\t", "registration"),
        ("smsotp verify +14\t", "verify +1415•••2671"),
        ("smsotp audit list --action token.c\t", "token.create"),
        ("smsotp list --state verified,fai\t", "verified,failed"),
    ] {
        session.send(typed).unwrap();
        session.expect(completed).unwrap_or_else(|error| panic!("{typed:?}: {error}"));
        session.send("\u{15}").unwrap();
    }
}

#[test]
fn fish_completes_what_is_typed() {
    let desk = Desk::new();
    desk.send("+14155552671 --purpose login");
    let Some(mut fish) = shell(&desk, "fish") else { return };
    let script = desk.write("smsotp.fish", desk.run("completions fish").expect(0).out);
    let asked =
        ["smsotp purge", "smsotp list --state super", "smsotp list --purpose=pass", "smsotp show ", "smsotp help exi"];
    let asked: String = asked.iter().map(|line| format!("complete -C '{line}'\n")).collect();
    fish.args(["--no-config", "-c", &format!("source {}\n{asked}", script.display())]);

    let ran = finish(&mut fish).expect(0);

    for expected in
        ["purge-expired\t", "superseded\n", "--purpose=password_reset\n", "1\t+1415•••2671, login\n", "exit-codes\t"]
    {
        assert!(ran.out.contains(expected), "no {expected:?} in {}", ran.out);
    }
    assert_eq!(ran.err, "");
}

#[test]
fn zsh_completes_what_is_typed_from_the_first_time_on() {
    let desk = Desk::new();
    desk.send("+14155552671");
    let Some(mut zsh) = shell(&desk, "zsh") else { return };
    let functions = desk.cwd().join("functions");
    std::fs::create_dir(&functions).unwrap();
    std::fs::write(functions.join("_smsotp"), desk.run("completions zsh").expect(0).out).unwrap();
    zsh.args(["-f", "-i"]).stdin(Stdio::inherit());
    let mut session = Session::spawn(zsh).unwrap();
    session.set_expect_timeout(Some(Duration::from_secs(60)));
    session.send_line("fpath=($PWD/functions $fpath); autoload -Uz compinit; compinit -u -D; PS1='rea''dy> '").unwrap();
    session.expect("ready> ").unwrap();

    for (typed, completed) in [
        ("smsotp purge\t", "smsotp purge-expired"),
        ("smsotp list --state super\t", "superseded"),
        ("smsotp list --purpose=pass\t", "password_reset"),
        ("smsotp help exi\t", "exit-codes"),
        ("smsotp verify +14\t", "verify +1415•••2671"),
    ] {
        session.send(typed).unwrap();
        session.expect(completed).unwrap_or_else(|error| panic!("{typed:?}: {error}"));
        session.send("\u{15}").unwrap();
    }
}
