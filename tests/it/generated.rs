//! Completions and man pages are what the argument tree says. `UPDATE=1 cargo test --test it generated` rewrites them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap_complete::Shell;
use smsotp::cli;

#[test]
fn completions_are_what_the_argument_tree_says() {
    let shells = [
        ("smsotp.bash", Shell::Bash),
        ("_smsotp", Shell::Zsh),
        ("smsotp.fish", Shell::Fish),
        ("_smsotp.ps1", Shell::PowerShell),
        ("smsotp.elv", Shell::Elvish),
    ];
    let files = shells.map(|(name, shell)| (name.to_owned(), cli::completions::script(shell)));

    compare("completions", files.into());
}

#[test]
fn man_pages_are_what_the_argument_tree_says() {
    compare("man", crate::man::pages());
}

#[test]
fn drift_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("same"), "a\n").unwrap();
    fs::write(folder.path().join("changed"), "old\n").unwrap();
    fs::write(folder.path().join("stale"), "a\n").unwrap();
    let expected: BTreeMap<String, String> =
        [("same", "a\n"), ("changed", "new\n"), ("missing", "a\n")].map(|(n, t)| (n.into(), t.into())).into();

    assert_eq!(drift(folder.path(), &expected), ["changed", "missing", "stale"]);
}

#[expect(clippy::disallowed_methods, reason = "an option of the test run, not a setting of the product")]
fn updating() -> bool {
    std::env::var_os("UPDATE").is_some()
}

/// Compares a folder of the repository with what it should hold, or rewrites it.
#[track_caller]
fn compare(folder: &str, expected: BTreeMap<String, String>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let drifted = drift(&folder, &expected);
    if updating() {
        fs::create_dir_all(&folder).unwrap();
        for name in &drifted {
            match expected.get(name) {
                Some(text) => fs::write(folder.join(name), text).unwrap(),
                None => fs::remove_file(folder.join(name)).unwrap(),
            }
        }
        return;
    }
    assert!(
        drifted.is_empty(),
        "{} is behind: {}. Run `UPDATE=1 cargo test --test it generated` and commit the result",
        folder.display(),
        drifted.join(", ")
    );
}

/// The names of files that are missing, different or too many.
fn drift(folder: &Path, expected: &BTreeMap<String, String>) -> Vec<String> {
    let found: BTreeMap<String, String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .map(|path: PathBuf| {
            (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(path).unwrap())
        })
        .collect();
    let mut names: Vec<&String> = expected.keys().chain(found.keys()).collect();
    names.sort();
    names.dedup();
    names.into_iter().filter(|name| expected.get(*name) != found.get(*name)).cloned().collect()
}
