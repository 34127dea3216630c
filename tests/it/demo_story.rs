//! The demo: the whole story with the real verbs, from which nothing stays and which touches nothing of the user's.

use smsotp::sandbox::Options;

use super::desk::{Desk, Trap};

#[test]
fn the_demo_tells_the_story_and_leaves_nothing() {
    let desk = Desk::bare();

    let ran = desk.run("demo").expect(0);

    let exits: Vec<&str> = ran.out.lines().filter(|line| line.starts_with("[exit ")).collect();
    assert_eq!(
        exits,
        ["[exit 0]", "[exit 1]", "[exit 0]", "[exit 1]", "[exit 0]", "[exit 0]", "[exit 0]"],
        "{}",
        ran.out
    );
    for words in [
        "$ smsotp send +14155550123 --purpose login\n",
        "│ ",
        "A code is on its way to +1415•••0123.",
        "Wrong code. 4 tries are left.",
        "Verified.",
        "The code was used before.",
        "Deleted:",
        "No codes.",
    ] {
        assert!(ran.out.contains(words), "no {words:?} in {}", ran.out);
    }
    assert!(!ran.out.contains("\\u{"), "{}", ran.out);
    assert_eq!(desk.files(), Vec::<std::path::PathBuf>::new());
    assert_eq!(std::fs::read_dir(desk.tmp()).unwrap().count(), 0);
}

#[test]
fn the_demo_in_json_is_one_document() {
    let story = Desk::bare().run("demo --json").expect(0).json("demo");

    assert_eq!(story["steps"].as_array().unwrap().len(), 7);
    assert_eq!(story["steps"][1]["exit_code"], 1);
}

#[test]
fn the_demo_touches_neither_the_account_nor_the_database_of_its_user() {
    let (mut desk, account) = Desk::with_sandbox(Options::default());
    let trap = Trap::new();
    for (name, value) in account.env() {
        desk.set(&name, value);
    }
    desk.set("TWILIO_API_BASE_URL", trap.url());
    desk.set("SMSOTP_DATABASE", desk.home().join("mine.db"));
    let before = desk.files();

    desk.run("demo").expect(0);

    assert!(!trap.was_touched());
    assert!(account.messages().is_empty());
    assert_eq!(desk.files(), before);
}

#[test]
#[cfg(unix)]
fn an_interrupted_demo_leaves_nothing_either() {
    let desk = Desk::bare();
    let demo = desk.start("demo");
    while std::fs::read_dir(desk.tmp()).unwrap().count() == 0 {
        std::thread::yield_now();
    }

    super::desk::signal(demo.id(), "INT");
    let ran = super::desk::wait(demo);

    assert_eq!(ran.code(), 130, "{ran:?}");
    assert_eq!(std::fs::read_dir(desk.tmp()).unwrap().count(), 0);
}
