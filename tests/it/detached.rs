//! The sandbox in the background: ready when the command returns, found again, ended on request; and the recipes that use it, pasted
//! as they stand, twice in one directory and at once.
#![cfg(unix)]

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use smsotp::sandbox::running;

use super::desk::{BINARY, Desk, Ran, finish, wait};

/// Ends the sandboxes of a desk, also where the story fails.
struct Ended<'a>(&'a Desk, &'a [&'a str]);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        for file in self.1 {
            self.0.run(&format!("sandbox stop --env-file {file}"));
        }
    }
}

#[test]
fn it_is_ready_when_the_command_returns_and_gone_when_stop_does() {
    let desk = Desk::bare();
    let _ended = Ended(&desk, &["sandbox.env"]);

    let ran =
        desk.run("sandbox --detach --listen 127.0.0.1:0 --write-env sandbox.env --log sandbox.log --json").expect(0);
    let ready = ran.json("sandbox");
    assert_eq!((&ready["env_file"], &ready["already"]), (&"sandbox.env".into(), &false.into()));
    assert!(ran.err.contains("smsotp sandbox stop --env-file sandbox.env"), "{}", ran.err);
    desk.run("send +14155552671 --env-file sandbox.env").expect(0);
    let log = fs::read_to_string(desk.cwd().join("sandbox.log")).unwrap();
    assert!(log.starts_with("╭─ SMS to +14155552671"), "{log}");

    desk.run("sandbox stop --env-file sandbox.env").expect(0);
    desk.run("sandbox stop --env-file sandbox.env").expect(69).says("no sandbox answers").says("sandbox --detach");
    let url = ready["url"].as_str().unwrap().strip_prefix("http://").unwrap();
    TcpListener::bind(url).unwrap();
}

#[test]
fn one_that_runs_already_is_used_and_a_stale_file_is_not_taken_for_one() {
    let desk = Desk::bare();
    let _ended = Ended(&desk, &[".env"]);
    let start = || desk.run("sandbox --detach --listen 127.0.0.1:0 --write-env .env --json").expect(0).json("sandbox");

    let first = start();
    let again = start();
    assert_eq!((&again["pid"], &again["url"], &again["already"]), (&first["pid"], &first["url"], &true.into()));

    desk.run("sandbox stop").expect(0);
    assert_eq!(running::of_env_file(&desk.cwd().join(".env")).unwrap(), None);
    desk.run("send +14155552671 --timeout 1s").says("A sandbox that has ended leaves stale variables behind");
    let other = start();
    assert_eq!(other["already"], false);
    assert_ne!(other["pid"], first["pid"]);
}

#[test]
fn of_several_that_are_started_at_once_one_starts_it_and_the_others_find_it() {
    let desk = Desk::bare();
    let _ended = Ended(&desk, &["sandbox.env"]);
    let line = "sandbox --detach --listen 127.0.0.1:0 --write-env sandbox.env --json";

    let started: Vec<_> = (0..4).map(|_| desk.start(line)).collect();
    let ready: Vec<_> = started.into_iter().map(|child| wait(child).expect(0).json("sandbox")).collect();

    assert_eq!(ready.iter().filter(|one| one["already"] == false).count(), 1, "{ready:?}");
    assert!(ready.iter().all(|one| one["pid"] == ready[0]["pid"]), "{ready:?}");
}

#[test]
fn an_address_that_belongs_to_another_sandbox_by_now_is_stale_too() {
    let desk = Desk::bare();
    let _ended = Ended(&desk, &["new.env", "old.env"]);
    desk.run("sandbox --detach --listen 127.0.0.1:0 --write-env old.env").expect(0);
    let old = fs::read_to_string(desk.cwd().join("old.env")).unwrap();
    let address = old.lines().find_map(|line| line.strip_prefix("TWILIO_API_BASE_URL=http://")).unwrap();
    desk.run("sandbox stop --env-file old.env").expect(0);

    desk.run(&format!("sandbox --detach --listen {address} --write-env new.env")).expect(0);

    assert_eq!(running::of_env_file(&desk.cwd().join("old.env")).unwrap(), None);
    assert!(running::of_env_file(&desk.cwd().join("new.env")).unwrap().is_some());
    desk.run("sandbox --detach --listen 127.0.0.1:0 --write-env old.env --json").expect(0).shows("\"already\": false");
}

#[test]
fn what_keeps_it_from_starting_is_said_by_the_command_itself() {
    let desk = Desk::bare();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let line = format!("sandbox --detach --listen {} --write-env sandbox.env", taken.local_addr().unwrap());

    desk.run(&line).expect(69).says("cannot listen on").says("Choose another port");
    let error = desk.run(&format!("{line} --json")).expect(69).error("provider_unreachable");
    assert!(error["message"].as_str().unwrap().contains("cannot listen on"), "{error}");
    assert!(!desk.cwd().join("sandbox.env").exists());
    desk.run("sandbox --detach").expect(2).says("--write-env");
    desk.run("sandbox --detach --listen 0.0.0.0:0 --write-env sandbox.env").expect(78).says("--allow-remote");
    desk.write("mine.env", "MY=own\n");
    desk.run("sandbox --detach --write-env mine.env").expect(78).says("was not written by a sandbox");
}

#[test]
fn its_parent_may_be_interrupted_and_its_pipes_read_to_their_end() {
    let desk = Desk::bare();
    let _ended = Ended(&desk, &["sandbox.env"]);

    // A command substitution ends when the last process that holds the pipe does; a group that gets Ctrl-C is not the sandbox's.
    let ran = desk.shell(
        "pid=$(smsotp sandbox --detach --listen 127.0.0.1:0 --write-env sandbox.env 2>&1 | head -n 1 | cut -f1)
        kill -0 $pid && ps -o pgid= -p $pid | tr -d ' ' | grep -qx $pid && echo apart",
    );

    ran.expect(0).shows("apart");
}

/// A line that a page shows as typed.
fn typed(page: &str, block: usize) -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    let block = page.split("```console\n").nth(block).unwrap().split("\n```").next().unwrap().to_owned();
    block
        .lines()
        .filter_map(|line| line.strip_prefix("$ ").or_else(|| line.strip_prefix("> ")))
        .collect::<Vec<_>>()
        .join("\n")
}

fn pasted(desk: &Desk, script: &str) -> Ran {
    let bin = Path::new(BINARY).parent().unwrap();
    let file = desk.write("pasted.sh", script);
    finish(desk.program("sh").arg(file).env("PATH", format!("{}:/usr/bin:/bin", bin.display())))
}

#[test]
fn the_blocks_of_the_readme_and_of_the_ci_page_work_when_pasted_and_pasted_again() {
    for (page, block, verified) in
        [("README.md", 1, "verified\t"), ("README.md", 2, "  \"verified\": true"), ("docs/ci.md", 1, "verified\t")]
    {
        let desk = Desk::bare();
        let _ended = Ended(&desk, &[".env", "sandbox.env"]);
        let script = typed(page, block);

        let ran = pasted(&desk, &format!("{script}\n{script}\n"));

        assert_eq!(
            ran.out.lines().filter(|line| line.starts_with(verified)).count(),
            2,
            "{page}: {}\n{}",
            ran.out,
            ran.err
        );
    }
}

#[test]
fn the_script_of_the_ci_page_works_twice_in_one_directory_and_at_once() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ci.md")).unwrap();
    let script = page.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let desk = Desk::bare();
    desk.write("ci.sh", script);

    let ran = pasted(&desk, "sh ci.sh && sh ci.sh && { sh ci.sh & one=$!; sh ci.sh; wait $one; }").expect(0);

    assert_eq!(ran.out.matches("verified\t").count(), 4, "{}\n{}", ran.out, ran.err);
    assert_eq!(fs::read_dir(desk.tmp()).unwrap().count(), 0, "it leaves something behind");
}
