//! What a real server keeps in its memory, and what it leaves of it to others.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;
use smsotp::sandbox::inbox::extract_code;

use crate::pg::{self, skipped};
use crate::served::{Place, Process};
use crate::window::{SEND, VERIFY};
use crate::world::new_key;

/// Which of the needles stand in the memory of a process.
fn in_memory(server: &Process, needles: &[String]) -> io::Result<BTreeSet<String>> {
    among(server, needles, |_, _| true)
}

/// Which of the needles stand on the stacks of its threads, all of which wait; `None` where one does not.
fn on_stacks(server: &Process, needles: &[String]) -> Option<BTreeSet<String>> {
    let mut tops = Vec::new();
    for thread in fs::read_dir(format!("/proc/{}/task", server.child.id())).ok()? {
        // The stack pointer is the last but one; a thread that runs has none.
        let waits = fs::read_to_string(thread.ok()?.path().join("syscall")).ok()?;
        let pointer = waits.split_whitespace().rev().nth(1)?.strip_prefix("0x")?;
        tops.push(u64::from_str_radix(pointer, 16).ok()?);
    }
    among(server, needles, |from, to| tops.iter().any(|top| (from..to).contains(top))).ok()
}

/// Which of the needles stand in the mappings that are wanted.
fn among(server: &Process, needles: &[String], wanted: impl Fn(u64, u64) -> bool) -> io::Result<BTreeSet<String>> {
    let pid = server.child.id();
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let (mut found, mut begins) = (BTreeSet::new(), [false; 256]);
    needles.iter().for_each(|needle| begins[usize::from(needle.as_bytes()[0])] = true);
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (Some(range), Some(rights)) = (words.next(), words.next()) else { continue };
        // What cannot be written is the program itself; what the kernel shows there is no memory.
        if !rights.starts_with("rw") || line.ends_with("[vvar]") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|address| u64::from_str_radix(address, 16).unwrap());
        if !wanted(from, to) {
            continue;
        }
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        // A mapping may have gone meanwhile.
        if memory.read_exact_at(&mut bytes, from).is_err() {
            continue;
        }
        for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| begins[usize::from(**byte)]) {
            found.extend(needles.iter().filter(|needle| bytes[at..].starts_with(needle.as_bytes())).cloned());
        }
    }
    Ok(found)
}

/// A request on a connection that stays open; it waits for the whole answer.
fn keep_asking(stream: &mut TcpStream, path: &str, token: &str, body: &str) -> String {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).unwrap();
    let (mut said, mut buffer) = (String::new(), [0; 4096]);
    while !said.ends_with('}') {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "{said}");
        said.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    said
}

#[test]
fn no_code_stays_in_the_memory_of_a_server() {
    no_code_stays(|_| ());
}

#[test]
fn no_code_stays_in_the_memory_of_a_server_on_postgres() {
    let Some(database) = pg::database() else { return };
    no_code_stays(|place| {
        place.db = database.url.clone();
        let mut env = fs::read_to_string(place.path().join("env")).unwrap();
        env.push_str(&format!("SMSOTP_SECRET_KEY={}\n", new_key()));
        fs::write(place.path().join("env"), env).unwrap();
        assert!(place.smsotp(&["db", "migrate"]).status().unwrap().success());
    });
}

fn no_code_stays(prepare: impl FnOnce(&mut Place)) {
    // Ten digits do not occur by chance.
    let mut place = Place::new("[purposes.login]\ndigits = 10\n[limits]\nip = []\n");
    prepare(&mut place);
    let token = place.token(&["--service", "--scope", "send,verify"]);
    let server = place.serve(&["-vv"]);
    if let Err(error) = in_memory(&server, &[]) {
        return skipped(&format!("the memory of a server was not looked at, which takes root: {error}"));
    }
    let phone = |nth: usize| format!("+1415555{:04}", 100 + nth);
    let ask = |nth: usize| json!({"phone_number": phone(nth), "user": format!("user{nth}"), "purpose": "login"});
    let code_of = |nth: usize| {
        let messages = place.sandbox.messages();
        let message = messages.iter().rev().find(|message| message.to == phone(nth)).unwrap();
        extract_code(&message.body).unwrap()
    };
    let mut codes = Vec::new();
    let mut open = TcpStream::connect(server.address).unwrap();
    for nth in 0..20 {
        assert_eq!(server.post(SEND, &token, &ask(nth)).unwrap().status, 200);
        let code = code_of(nth);
        let mut guess = ask(nth);
        guess["otp_code"] = code.clone().into();
        match nth % 5 {
            0 => assert_eq!(server.post(VERIFY, &token, &guess).unwrap().status, 200),
            // On a connection that stays.
            1 => assert!(keep_asking(&mut open, VERIFY, &token, &guess.to_string()).starts_with("HTTP/1.1 200")),
            // With no token that is accepted, and with a field that is not known.
            2 => {
                assert_eq!(server.post(VERIFY, "smsotp_nobody", &guess).unwrap().status, 401);
                guess["code"] = code.clone().into();
                assert_eq!(server.post(VERIFY, &token, &guess).unwrap().status, 422);
            }
            // As typed by people, escaped, and cut off.
            3 => {
                let (head, tail) = code.split_at(5);
                guess["otp_code"] = format!("{head} {tail}").into();
                assert_eq!(server.post(VERIFY, &token, &guess).unwrap().status, 200);
                let escaped = guess.to_string().replace(&format!("{head} {tail}"), &format!("\\u003{code}"));
                keep_asking(&mut open, VERIFY, &token, &escaped);
                keep_asking(&mut open, VERIFY, &token, &format!("{{\"otp_code\": \"{code}"));
                codes.push(format!("{head} {tail}"));
            }
            // Asked for and not used.
            _ => assert_eq!(server.post(VERIFY, &token, &ask(nth)).unwrap().status, 422),
        }
        codes.push(code);
        // With nothing asked meanwhile: what a thread that waits has on its stack stays there.
        let until = Instant::now() + Duration::from_secs(30);
        while let stayed = on_stacks(&server, &codes)
            && stayed.as_ref().is_none_or(|stayed| !stayed.is_empty())
        {
            assert!(Instant::now() < until, "a code stayed on the stack of a thread: {stayed:?}");
        }
    }
    // Memory is read right: a number that the server needs is found.
    assert!(!in_memory(&server, &["+12025550100".to_owned()]).unwrap().is_empty());

    // Connections that have ended are forgotten in a moment; the open one is kept open, and asked little.
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        assert!(keep_asking(&mut open, VERIFY, &token, "{}").starts_with("HTTP/1.1 422"));
        let stayed = in_memory(&server, &codes).unwrap();
        if stayed.is_empty() {
            break;
        }
        assert!(Instant::now() < until, "{} of {} codes stayed in memory: {stayed:?}", stayed.len(), codes.len());
    }
}

#[test]
fn a_server_that_crashes_leaves_no_core_file() {
    let place = Place::new("");
    let serve = place.smsotp(&["serve", "--listen", "127.0.0.1:0"]);
    // As the most careless system would have it.
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -c unlimited 2>/dev/null; exec \"$@\"", "sh"]).arg(serve.get_program());
    command.args(serve.get_args()).env_clear().env("HOME", place.path()).current_dir(place.path());
    let log = File::create(place.path().join("log")).unwrap();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let mut server = Process { child, address: "127.0.0.1:0".parse().unwrap() };
    while !place.log().contains("answers on") {
        assert!(server.child.try_wait().unwrap().is_none(), "{}", place.log());
    }

    let limits = fs::read_to_string(format!("/proc/{}/limits", server.child.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{core}");
    server.signal(Signal::SIGABRT);
    let ended = server.child.wait().unwrap();
    assert_eq!((ended.signal(), ended.core_dumped()), (Some(Signal::SIGABRT as i32), false));
    let left: Vec<String> = fs::read_dir(place.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("core"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn nobody_but_root_may_read_the_memory_of_a_server() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    use std::os::unix::process::CommandExt;

    let place = Place::new("");
    let mut command = place.smsotp(&["serve", "--listen", "127.0.0.1:0"]);
    if nix::unistd::geteuid().is_root() {
        // As a service runs: for root itself there is nothing to forbid.
        const NOBODY: u32 = 65_534;
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o700)).unwrap();
        // Another user may not be able to reach the tree that was built.
        let program = place.path().join("smsotp");
        fs::copy(command.get_program(), &program).unwrap();
        let mut copied = Command::new(program);
        let variables = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
        copied.args(command.get_args()).env_clear().envs(variables).current_dir(place.path());
        command = copied;
        for path in fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().path()) {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        chown(place.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
    let log = File::create(place.path().join("log")).unwrap();
    let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let mut server = Process { child, address: "127.0.0.1:0".parse().unwrap() };
    while !place.log().contains("answers on") {
        assert!(server.child.try_wait().unwrap().is_none(), "{}", place.log());
    }

    let owner = fs::metadata(format!("/proc/{}/mem", server.child.id())).unwrap().uid();
    assert_eq!(owner, 0, "its user may read it");
}
