//! The recipes in docs/recipes, run as they stand there: with curl, with Python and with JavaScript, against a real server.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::served::{Place, Process};

const RECIPES: [&str; 4] = ["registration", "login-second-factor", "password-reset", "phone-change"];

/// Language of the block, its file, and the program that runs it.
const WAYS: [(&str, &str, &str); 3] =
    [("sh", "recipe.sh", "sh"), ("python", "recipe.py", "python3"), ("js", "recipe.mjs", "node")];

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/recipes")
}

/// The only block of a language in a page.
fn block(page: &str, language: &str) -> String {
    let fence = format!("\n```{language}\n");
    let mut blocks = page.split(&fence).skip(1);
    let found = blocks.next().unwrap_or_else(|| panic!("no {language} block")).split("\n```").next().unwrap();
    assert!(blocks.next().is_none(), "more than one {language} block");
    found.to_owned()
}

fn is_here(program: &str) -> bool {
    let probe = if program == "sh" { "curl" } else { program };
    Command::new(probe).arg("--version").output().is_ok_and(|ran| ran.status.success())
}

/// Runs a recipe; what the person types is found on the phone.
fn run(place: &Place, server: &Process, (token, phone): (&str, &str), (program, file): (&str, &Path)) -> String {
    let mut child = Command::new(program)
        .arg(file)
        .current_dir(file.parent().unwrap())
        .env("SMSOTP_URL", format!("http://{}", server.address))
        .env("SMSOTP_TOKEN", token)
        .env("PHONE", phone)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let code = loop {
        let messages = place.sandbox.messages();
        if let Some(message) = messages.iter().find(|message| message.to == phone) {
            break smsotp::sandbox::inbox::extract_code(&message.body).unwrap();
        }
        if child.try_wait().unwrap().is_some() {
            break String::new();
        }
        std::thread::yield_now();
    };
    let _ = writeln!(child.stdin.take().unwrap(), "{code}");
    let ran = child.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{program} {}: {said}", file.display());
    said
}

#[test]
fn every_recipe_works_as_it_stands() {
    let place = Place::new("");
    let token = place.token(&["--service", "--scope", "send,verify"]);
    let server = place.serve(&[]);
    for client in ["smsotp_client.py", "smsotp-client.mjs"] {
        fs::copy(folder().join(client), place.path().join(client)).unwrap();
    }
    let mut skipped = Vec::new();
    for (nth, recipe) in RECIPES.iter().enumerate() {
        let page = fs::read_to_string(folder().join(format!("{recipe}.md"))).unwrap();
        for (way, (language, file, program)) in WAYS.iter().enumerate() {
            let text = block(&page, language);
            if !is_here(program) {
                skipped.push(*program);
                continue;
            }
            let file = place.path().join(file);
            fs::write(&file, text).unwrap();
            let phone = format!("+1415555{:04}", 100 + nth * 10 + way);
            let said = run(&place, &server, (&token, &phone), (program, &file));
            assert!(said.contains("verified"), "{recipe} in {language}: {said}");
        }
    }
    skipped.dedup();
    for program in skipped {
        crate::pg::skipped(&format!("the recipes for {program} did not run: it is not on this machine"));
    }
}

#[test]
fn every_recipe_is_run() {
    let mut pages: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter_map(|name| name.strip_suffix(".md").map(str::to_owned))
        .collect();
    pages.sort();
    let mut known = RECIPES.to_vec();
    known.sort_unstable();

    assert_eq!(pages, known);
}
