//! The README is true: its stories are played and its commands exist. The tables of the pages are made from those of the code.
//! `UPDATE=1 cargo test --test it readme` rewrites what differs.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use smsotp::cli;
use smsotp::config::{COUNTRY_KEYS, MESSAGE_KEYS, PURPOSE_KEYS, SETTINGS};
use smsotp::error::{CLASSES, CODES};
use smsotp::template::built_in;

#[cfg(unix)]
#[test]
fn the_stories_of_the_readme_are_true() {
    crate::console::play(&path("README.md"), update());
}

#[test]
fn the_readme_names_every_command_and_stays_short() {
    let readme = fs::read_to_string(path("README.md")).unwrap();
    let table = readme.split("\n## Commands\n").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let root = cli::command();
    let commands = root.get_subcommands().filter(|command| !command.is_hide_set()).map(clap::Command::get_name);
    let missing: Vec<&str> = commands.filter(|name| !table.contains(&format!("`{name}`"))).collect();

    assert!(missing.is_empty(), "README.md does not name {missing:?}");
    assert!(readme.lines().count() <= 130, "README.md is an introduction: details belong to docs");
}

#[test]
fn the_tables_of_the_pages_are_those_of_the_code() {
    keep(
        "docs/configuration.md",
        &[
            ("settings", settings()),
            ("purposes", section_keys(PURPOSE_KEYS)),
            ("messages", section_keys(MESSAGE_KEYS)),
            ("countries", section_keys(COUNTRY_KEYS)),
        ],
    );
    let locales: Vec<String> = built_in::locales().map(|locale| format!("`{locale}`")).collect();
    keep("docs/templates.md", &[("locales", format!("{}\n", locales.join(", ")))]);
    keep("docs/exit-codes.md", &[("exit-codes", exit_codes()), ("codes", codes())]);
}

#[test]
fn the_versions_that_people_read_are_those_of_the_manifest() {
    let readme = fs::read_to_string(path("README.md")).unwrap();
    let changes = fs::read_to_string(path("CHANGELOG.md")).unwrap();
    let newest = changes.lines().find_map(|line| line.strip_prefix("## ")).unwrap();

    assert!(readme.contains(&format!("with Rust {} or newer", env!("CARGO_PKG_RUST_VERSION"))));
    assert_eq!(newest.split(' ').next(), Some(env!("CARGO_PKG_VERSION")));
    assert!(readme.contains("\ncargo run -- demo ") && readme.contains("\ncargo test "));
}

#[test]
fn what_the_pages_install_is_this_version_from_where_it_is_published() {
    let (address, version) = (env!("CARGO_PKG_REPOSITORY"), env!("CARGO_PKG_VERSION"));
    let name = address.trim_start_matches("https://github.com/");
    let page = fs::read_to_string(path("docs/ci.md")).unwrap();
    let mut found = 0;
    let lines = page.lines().map(|line| {
        let (start, rest) = line.split_at(line.find("uses: ").or(line.find("remote: ")).unwrap_or(line.len()));
        found += usize::from(!rest.is_empty());
        match rest.split(' ').next() {
            Some("uses:") => format!("{start}uses: {name}/packaging/setup-smsotp@v{version}\n"),
            Some("remote:") => format!("{start}remote: {address}/releases/download/v{version}/smsotp.gitlab-ci.yml\n"),
            _ => format!("{line}\n"),
        }
    });
    let expected: String = lines.collect();
    assert_eq!(found, 2);

    compare("docs/ci.md", &expected);
}

#[test]
fn a_table_that_is_behind_is_noticed_and_rewritten() {
    let page = "a\n<!-- generated: x -->\nold\n<!-- end -->\nb\n";

    assert_eq!(with_table(page, "x", "new\n"), "a\n<!-- generated: x -->\nnew\n<!-- end -->\nb\n");
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[expect(clippy::disallowed_methods, reason = "a switch for developers, not a setting of the product")]
pub(crate) fn update() -> bool {
    std::env::var_os("UPDATE").is_some()
}

/// Compares a file of the repository with what it should hold, or rewrites it.
#[track_caller]
pub(crate) fn compare(name: &str, expected: &str) {
    if update() {
        fs::write(path(name), expected).unwrap();
        return;
    }
    let found = fs::read_to_string(path(name)).unwrap_or_default();
    let line = found.lines().zip(expected.lines()).position(|(a, b)| a != b).map_or(0, |at| at + 1);
    assert!(
        found == expected,
        "{name} is behind, first at line {line}: `UPDATE=1 cargo test --test it` rewrites it\nfound:    {:?}\nexpected: {:?}",
        found.lines().nth(line.saturating_sub(1)),
        expected.lines().nth(line.saturating_sub(1)),
    );
}

#[track_caller]
fn keep(name: &str, tables: &[(&str, String)]) {
    let found = fs::read_to_string(path(name)).unwrap();
    let expected = tables.iter().fold(found, |page, (table, text)| with_table(&page, table, text));
    compare(name, &expected);
}

/// The page with what stands between the table's marks replaced.
pub(crate) fn with_table(page: &str, table: &str, text: &str) -> String {
    let mark = format!("<!-- generated: {table} -->\n");
    let from = page.find(&mark).unwrap_or_else(|| panic!("no mark for {table}")) + mark.len();
    let to = from + page[from..].find("<!-- end -->").unwrap_or_else(|| panic!("{table} has no end"));
    format!("{}{text}{}", &page[..from], &page[to..])
}

fn settings() -> String {
    let mut text = String::from("| variable | in smsotp.toml | meaning | default |\n|---|---|---|---|\n");
    for row in SETTINGS {
        let code = |name: &str| if name.is_empty() { String::new() } else { format!("`{name}`") };
        let (variable, key) = (code(row.variable), code(row.key));
        writeln!(text, "| {variable} | {key} | {} | {} |", row.meaning, row.default).unwrap();
    }
    text
}

fn section_keys(keys: &[(&str, &str, &str)]) -> String {
    let mut text = String::from("| key | meaning | default |\n|---|---|---|\n");
    for (key, meaning, default) in keys {
        writeln!(text, "| `{key}` | {meaning} | {default} |").unwrap();
    }
    text
}

fn exit_codes() -> String {
    let mut text = String::from("| exit code | meaning |\n|---|---|\n");
    for row in CLASSES {
        writeln!(text, "| {} | {} |", row.exit, row.meaning).unwrap();
    }
    text
}

fn codes() -> String {
    let mut text = String::from("| exit code | `code` in JSON |\n|---|---|\n");
    for row in CLASSES {
        let names: Vec<String> =
            CODES.iter().filter(|code| code.class == row.class).map(|code| format!("`{}`", code.name)).collect();
        if !names.is_empty() {
            writeln!(text, "| {} | {} |", row.exit, names.join(", ")).unwrap();
        }
    }
    text
}
