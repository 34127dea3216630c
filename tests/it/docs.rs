//! The pages in `docs` are true: help and JSON on them come from the program, links lead somewhere, commands exist.
//! `UPDATE=1 cargo test --test it docs` rewrites what differs.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use smsotp::cli;
use smsotp::sandbox::{Options, Sandbox};

use crate::readme::compare;

#[test]
fn the_page_of_the_command_line_is_its_help() {
    let mut root = cli::command().term_width(100);
    root.build();
    let mut page = String::from(
        "# Command line\n\nThe help of every command, as `smsotp help COMMAND` prints it. The global options, which every \
         command takes, are shown here once.\n",
    );
    add_help(&root, "smsotp", &mut page);

    compare("docs/cli.md", &page);
}

#[test]
fn the_page_of_the_json_is_what_the_commands_write() {
    let scene = Scene::new();
    let mut page = String::from(JSON_INTRODUCTION);
    // demo repeats the others; the examples of db migrate and healthcheck, which need servers, are written by hand.
    let mut kinds = BTreeSet::from(["demo", "db_migrated", "health"].map(str::to_owned));
    for story in JSON_STORIES {
        let (output, text) = scene.json(story.line);
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}\n{text}", story.line));
        assert_eq!(value["schema_version"], 1, "{}", story.line);
        assert_eq!(output.status.code(), Some(story.exit), "{}\n{text}", story.line);
        let Some(title) = story.title else { continue };
        kinds.insert(value["kind"].as_str().unwrap_or("error").to_owned());
        let typed = match story.line.split_once(" < ") {
            Some((line, input)) => format!("echo {input} | smsotp {line}"),
            None => format!("smsotp {}", story.line),
        };
        // Errors are written in one line, for logs; here they are for people.
        let text = if text.trim_end().contains('\n') { text } else { serde_json::to_string_pretty(&value).unwrap() };
        let shown = cut(&scene.settled(&text));
        let exit = story.exit;
        writeln!(page, "\n## {title}\n\n`{typed} --json`, exit code {exit}:\n\n```json\n{shown}\n```").unwrap();
    }
    page.push_str(JSON_BY_HAND);
    let missing: Vec<String> = kinds_in_source().into_iter().filter(|kind| !kinds.contains(kind)).collect();
    assert!(missing.is_empty(), "docs/json.md shows no example of {missing:?}: add a story to JSON_STORIES");

    compare("docs/json.md", &page);
}

#[cfg(unix)]
#[test]
fn the_stories_of_the_pages_are_true() {
    for page in pages() {
        if fs::read_to_string(&page).unwrap().lines().any(|line| line == "```console") && !page.ends_with("README.md") {
            crate::console::play(&page, crate::readme::update());
        }
    }
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for target in links(&text).filter(|target| !target.contains("://") && !target.starts_with("mailto:")) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let there = if heading.is_empty() {
                file.exists()
            } else {
                fs::read_to_string(&file).is_ok_and(|text| text.lines().any(|line| anchor(line) == heading))
            };
            if !there {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_table_of_contents_names_every_page_once() {
    let contents = root().join("docs/SUMMARY.md");
    let text = fs::read_to_string(&contents).unwrap();
    let named: Vec<&str> = links(&text).collect();
    for page in pages().into_iter().filter(|page| *page != contents) {
        let inside = page.strip_prefix(root().join("docs")).ok();
        let link = inside
            .map_or_else(|| format!("../{}", page.file_name().unwrap().display()), |page| page.display().to_string());
        // The way in is no page of the site.
        let expected = usize::from(link != "../README.md");
        let found = named.iter().filter(|one| **one == link).count();
        assert_eq!(found, expected, "docs/SUMMARY.md has {link} {found} times");
    }
}

#[test]
fn every_command_on_the_pages_is_one() {
    let root = cli::command();
    let mut unknown = Vec::new();
    for page in pages().into_iter().filter(|page| !page.ends_with("docs/cli.md") && !page.ends_with("docs/json.md")) {
        let text = fs::read_to_string(&page).unwrap();
        for (at, _) in text.match_indices("smsotp ") {
            let before = text[..at].rsplit('\n').next().unwrap_or_default();
            let starts = ["$ ", "| ", "$(", "&& ", "bin/", "  "].iter().any(|start| before.ends_with(start))
                || before.is_empty();
            let typed = before.ends_with('`') || (starts && !before.contains("# ") && in_code_block(&text[..at]));
            let rest = text[at + "smsotp ".len()..].split(['\n', '`']).next().unwrap_or_default();
            let Some(word) = rest.split_whitespace().next() else { continue };
            let is_name = word.starts_with(|c: char| c.is_ascii_lowercase())
                && word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
            if !typed || !is_name {
                continue;
            }
            match root.find_subcommand(word) {
                None => unknown.push(format!("{}: smsotp {rest}", page.display())),
                Some(command) => unknown.extend(
                    unknown_flags(&root, command, rest)
                        .map(|flag| format!("{}: {flag} in smsotp {rest}", page.display())),
                ),
            }
        }
    }
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
}

#[test]
fn the_settings_on_the_pages_are_taken() {
    let scene = Scene::new();
    let mut found = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for block in text.split("```toml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            fs::write(scene.home.path().join("page.toml"), block).unwrap();
            let output = scene.run("config show --config page.toml");
            assert!(
                output.status.success(),
                "{}: {block}\n{}",
                page.display(),
                String::from_utf8_lossy(&output.stderr)
            );
            found += 1;
        }
    }
    assert!(found > 1, "only {found} blocks");
}

/// Twilio's Python and Node libraries, pointed at the sandbox by the very lines that the page tells people to write.
#[test]
#[expect(clippy::disallowed_methods, reason = "where the clients are comes from the environment")]
fn twilios_libraries_find_the_sandbox_as_the_page_says() {
    let Some(clients) = std::env::var_os("SMSOTP_TEST_CLIENTS").map(PathBuf::from) else {
        let notice = "SKIPPED what docs/sandbox.md says about Twilio's libraries: see tests/clients/install.sh";
        return writeln!(std::io::stderr(), "{notice}").unwrap();
    };
    let scene = Scene::new();
    let page = fs::read_to_string(root().join("docs/sandbox.md")).unwrap();
    let cases = [
        (
            "python3",
            "python",
            "client.messages.create(to='+14155550123', from_=os.environ['TWILIO_PHONE_NUMBER'], body='python')",
        ),
        (
            "node",
            "js",
            "client.messages.create({ to: '+14155550123', from: process.env.TWILIO_PHONE_NUMBER, body: 'js' });",
        ),
    ];
    for (program, language, operation) in cases {
        let block = page.split(&format!("```{language}\n")).nth(1).unwrap().split("```").next().unwrap();
        let script = scene.home.path().join(format!("page.{language}"));
        fs::write(&script, format!("{block}\n{operation}\n")).unwrap();
        let output = Command::new(program)
            .arg(&script)
            .env_clear()
            .envs(["PATH", "LANG", "PYENV_ROOT"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .envs(scene.sandbox.env())
            .env("PYTHONPATH", clients.join("python"))
            .env("NODE_PATH", clients.join("node_modules"))
            .output()
            .unwrap_or_else(|e| panic!("{program} cannot be run: {e}"));
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(scene.sandbox.messages().last().map(|message| message.body.clone()).as_deref(), Some(language));
    }
}

#[test]
fn the_vectors_on_the_page_are_those_of_the_file() {
    let text = fs::read_to_string(root().join("tests/data/code-vectors.json")).unwrap();
    let vectors: Value = serde_json::from_str(&text).unwrap();
    let mut table = String::from("| nonce | phone | purpose | user | digits | code |\n|---|---|---|---|---|---|\n");
    for vector in vectors["vectors"].as_array().unwrap() {
        let text = |name: &str| vector[name].as_str().unwrap().to_owned();
        let user = text("user");
        let user = match user.chars().count() {
            0 => "(empty)".to_owned(),
            1..=20 => format!("`{user}`"),
            long => format!("`{}` {long} times", user.chars().next().unwrap()),
        };
        let (phone, purpose, digits) = (text("phone"), text("purpose"), &vector["digits"]);
        writeln!(
            table,
            "| `{}` | `{phone}` | `{purpose}` | {user} | {digits} | `{}` |",
            text("nonce_hex"),
            text("code")
        )
        .unwrap();
    }
    let page = fs::read_to_string(root().join("docs/codes.md")).unwrap();
    let expected = crate::readme::with_table(&page, "vectors", &table);
    compare("docs/codes.md", &expected);
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every page of the repository that people read.
fn pages() -> Vec<PathBuf> {
    let markdown = |folder: PathBuf| {
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|file| file.extension().is_some_and(|extension| extension == "md")).collect::<Vec<_>>()
    };
    let mut pages = [markdown(root()), markdown(root().join("docs")), markdown(root().join("docs/recipes"))].concat();
    pages.sort();
    assert!(pages.len() > 15, "{pages:?}");
    pages
}

fn add_help(command: &clap::Command, name: &str, page: &mut String) {
    let depth = if name == "smsotp" { 2 } else { 1 + name.split(' ').count() };
    let mut command_help = command.clone();
    let help = command_help.render_long_help().to_string();
    let help = if name == "smsotp" { help } else { without_global_options(&help) };
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    writeln!(page, "\n{} {name}\n\n```text\n{}\n```", "#".repeat(depth), help.join("\n").trim_end()).unwrap();
    for sub in command.get_subcommands() {
        add_help(sub, &format!("{name} {}", sub.get_name()), page);
    }
}

/// The help of a command without what it has in common with all others.
fn without_global_options(help: &str) -> String {
    let (before, rest) = help.split_once("Global options:\n").expect("global options");
    let examples = rest.find("Examples:\n").expect("examples behind the options");
    format!("{before}{}", &rest[examples..])
}

/// The targets of `[text](target)`, outside of code blocks.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("](")
        .filter(|(at, _)| !in_code_block(&text[..*at]))
        .filter_map(|(at, _)| text[at + 2..].split(')').next())
}

fn in_code_block(before: &str) -> bool {
    before.lines().filter(|line| line.starts_with("```")).count() % 2 == 1
}

/// The fragment by which a heading is reached.
fn anchor(line: &str) -> String {
    let heading = line.strip_prefix('#').map(|rest| rest.trim_start_matches('#').trim()).unwrap_or_default();
    let kept = heading.to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-')
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// The long flags of a line that the command does not take.
fn unknown_flags<'a>(root: &clap::Command, command: &clap::Command, line: &'a str) -> impl Iterator<Item = &'a str> {
    let mut known: BTreeSet<String> = BTreeSet::from(["help".to_owned(), "version".to_owned()]);
    let subs = command.get_subcommands().flat_map(clap::Command::get_arguments);
    let all = root.get_arguments().chain(command.get_arguments()).chain(subs);
    known.extend(all.filter_map(|arg| arg.get_long()).map(str::to_owned));
    // What follows a pipe or a comment is another command's.
    let own = line.split([' ', '=']).take_while(|word| !["|", "#", "&&", ";", "&"].contains(word));
    let flags: Vec<&str> = own.filter(|word| word.starts_with("--") && word.len() > 2).collect();
    flags
        .into_iter()
        .filter(move |flag| !known.contains(flag.trim_start_matches("--").trim_end_matches([',', '.', ')', ':', ';'])))
}

/// The kinds of results that the commands declare. A list's kind is that of its rows with `_list`.
fn kinds_in_source() -> BTreeSet<String> {
    let mut kinds = BTreeSet::new();
    for entry in fs::read_dir(root().join("src/cli")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        for (at, _) in text.match_indices("const KIND: &'static str = \"") {
            let kind = text[at..].split('"').nth(1).unwrap();
            let list =
                text[..at].lines().rev().find(|line| line.starts_with("impl ")).is_some_and(|l| l.contains("Item for"));
            kinds.insert(if list { format!("{kind}_list") } else { kind.to_owned() });
        }
    }
    assert!(kinds.len() > 10, "{kinds:?}");
    kinds
}

/// A user's home, with a sandbox in place of Twilio.
struct Scene {
    home: tempfile::TempDir,
    sandbox: Sandbox,
}

struct JsonStory {
    /// `None`: it only prepares the next one.
    title: Option<&'static str>,
    line: &'static str,
    exit: i32,
}

const fn story(title: &'static str, line: &'static str, exit: i32) -> JsonStory {
    JsonStory { title: Some(title), line, exit }
}

const JSON_STORIES: &[JsonStory] = &[
    story("send", "send +14155550123 --purpose login --user ada", 0),
    story("A refusal", "send +14155550123 --purpose login --user ada", 75),
    story("An error", "send 12345", 65),
    story("verify: no", "verify +14155550123 - --purpose login --user ada < 000000", 1),
    story("verify: yes", "verify +14155550123 - --purpose login --user ada < CODE", 0),
    story("list", "list", 0),
    story("list --messages", "list --messages", 0),
    story("show", "show 1", 0),
    JsonStory { title: None, line: "send +14155550124", exit: 0 },
    story("report", "report --since 24h", 0),
    story("template list", "template list --purpose login", 0),
    story("template check", "template check --purpose login", 0),
    story("revoke", "revoke +14155550124", 0),
    story("message send", "message send +14155550126 - < Ready.", 0),
    story("show: a message", "show +14155550126", 0),
    story("limits show", "limits show +14155550123 --purpose login", 0),
    story("limits show --risk", "limits show --risk", 0),
    story("prices list", "prices list DE", 0),
    story("prices refresh", "prices refresh --countries DE,US", 0),
    story("limits reset", "limits reset +14155550123 --reason example", 0),
    story("block add", "block add +99290 --reason pumping --for 7d", 0),
    JsonStory { title: None, line: "block allow TJ --reason campaign --for 2h", exit: 0 },
    story("block list", "block list", 0),
    story("block add --opt-out", "block add +14155550125 --opt-out --reason asked", 0),
    story("block list --opt-out", "block list --opt-out", 0),
    story("block remove", "block remove +99290", 0),
    story("forget", "forget +14155550124 --dry-run", 0),
    story("test-number list", "test-number list", 0),
    story("test-number remove", "test-number remove +15005550006", 0),
    story("keys list", "keys list", 0),
    story("keys rotate", "keys rotate", 0),
    story("token create", "token create --service --name shop --scope send,verify --expires 90d", 0),
    story("token list", "token list", 0),
    story("token revoke", "token revoke 1", 0),
    story("simulate", "simulate --trace asks.csv", 0),
    story("dispatch", "dispatch", 0),
    story("show: a country", "show TJ", 0),
    story("show: a block of numbers", "show +1415555* --no-refresh", 0),
    // The sandbox has 20 US$.
    JsonStory { title: None, line: "dispatch --config alarms.toml", exit: 0 },
    story("alarms list", "alarms list", 1),
    story("alarms ack", "alarms ack 1 --reason example", 0),
    story("purge-expired", "purge-expired", 0),
    story("test-twilio", "test-twilio", 0),
    story("explain", "explain 30007", 0),
    story("--version", "--version", 0),
    story("config show", "config show", 0),
    story("db status", "db status", 0),
    story("db backup", "db backup copy.db", 0),
    story("db export", "db export database.jsonl", 0),
    story("audit list", "audit list --limit 3", 0),
    story("audit verify", "audit verify", 0),
    story("audit anchor", "audit anchor", 0),
    story("audit prune", "audit prune --older-than 400d", 0),
    story("sandbox --detach", "sandbox --detach --listen 127.0.0.1:0 --write-env other.env", 0),
    story("sandbox stop", "sandbox stop --env-file other.env", 0),
    story("sandbox inbox", "sandbox inbox", 0),
];

/// What `simulate` is shown with.
const ASKS: &str = "\
at,phone,user,ip,proven_after_s,label
2026-01-05T08:00:00Z,+447400123456,ada,192.0.2.1,21,legit
2026-01-05T08:01:00Z,+992900123456,a1,192.0.2.7,,attack
2026-01-05T08:01:20Z,+992900123457,a2,192.0.2.7,,attack
2026-01-05T08:02:00Z,+447400123457,bob,192.0.2.2,35,legit
";

const JSON_INTRODUCTION: &str = "# JSON

With `-o json` (or `--json`) a command writes one document to standard output; with `-o jsonl`, one object per line. This is a contract:

* Every object has `schema_version`, currently 1, and `kind`. Within a version, fields are only added: ignore those that you do not know.
* Ids are strings. Times are RFC 3339 in UTC. Durations are whole seconds, in fields whose names end in `_seconds`.
* A field that does not apply is left out, not null.
* Phones are masked unless `--reveal` is given. Codes appear only in the inbox of the sandbox.
* A list has `items`, `more` (the number of rows after this page) and, if there are more, `next_after`, the value for `--after`.
  With `-o jsonl` each row is a line of its own, with the kind of a single row.
* Whatever is written to standard error is one object a line too: a warning, a hint or a note, for example
  `{\"schema_version\": 1, \"warning\": {\"message\": \"...\"}}`.
* An error or a refusal is one object on standard error, the last one, with a stable `code` ([exit-codes.md](exit-codes.md)), `message`, `exit_code` and, where they
  apply, `hint`, `cause`, `retry_after_seconds` and `details`.

The examples below are real output, produced by a test. Times, Twilio's ids, keys and paths are replaced by examples, and long lists are
shortened (`...`).
";

const JSON_BY_HAND: &str = "
## db migrate

`smsotp db migrate --json` on PostgreSQL, exit code 0:

```json
{
  \"schema_version\": 1,
  \"kind\": \"db_migrated\",
  \"from\": 0,
  \"to\": 1
}
```

## healthcheck

`smsotp healthcheck --json` where a server is ready, exit code 0:

```json
{
  \"schema_version\": 1,
  \"kind\": \"health\",
  \"url\": \"http://127.0.0.1:8000\",
  \"status\": \"ready\"
}
```
";

impl Scene {
    fn new() -> Scene {
        let home = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::start(Options::default()).unwrap();
        sandbox.write_env(&home.path().join(".env")).unwrap();
        fs::write(home.path().join("asks.csv"), ASKS).unwrap();
        let scene = Scene { home, sandbox };
        fs::write(scene.home.path().join("alarms.toml"), "[ceilings]\nday = 25\n").unwrap();
        let added = scene.run("test-number add +15005550006 - --until 30d < 123456");
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        scene
    }

    /// The command's JSON document, from whichever stream has it.
    fn json(&self, line: &str) -> (Output, String) {
        let output = self.run(&format!("{line} --json"));
        let stream = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
        let text = String::from_utf8_lossy(stream).into_owned();
        (output, text)
    }

    /// Runs a line; what follows `<` is given on standard input.
    fn run(&self, line: &str) -> Output {
        let (line, input) = match line.split_once(" < ") {
            Some((before, after)) => {
                let (input, rest) = after.split_once(' ').unwrap_or((after, ""));
                (format!("{before} {rest}"), input.to_owned())
            }
            None => (line.to_owned(), String::new()),
        };
        let input = if input == "CODE" { self.read_code() } else { input };
        let mut child = Command::new(env!("CARGO_BIN_EXE_smsotp"))
            .args(line.split_whitespace())
            .env_clear()
            .env("HOME", self.home.path())
            .current_dir(self.home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that reads nothing may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    fn read_code(&self) -> String {
        let body = self.sandbox.messages()[0].body.clone();
        smsotp::sandbox::inbox::extract_code(&body).unwrap()
    }

    /// The document with an example in the place of everything that differs from run to run, line by line.
    fn settled(&self, text: &str) -> String {
        let home = self.home.path().to_string_lossy();
        let lines: Vec<String> = text.trim_end().lines().map(|line| settled_line(line, &home)).collect();
        lines.join("\n")
    }
}

/// A list's items after the third are left out.
fn cut(text: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut items = 0;
    for line in text.lines() {
        items += usize::from(line == "    {");
        if items <= 3 || line.starts_with("  ]") {
            items = if line.starts_with("  ]") { 0 } else { items };
            kept.push(line);
        } else if kept.last() != Some(&"    ...") {
            kept.push("    ...");
        }
    }
    kept.join("\n")
}

/// One line of a pretty document: `"name": value,`.
fn settled_line(line: &str, home: &str) -> String {
    let (before, value) = match line.split_once("\": ") {
        Some((before, value)) => (format!("{before}\": "), value),
        None => (line[..line.len() - line.trim_start().len()].to_owned(), line.trim_start()),
    };
    let name = before.trim_start_matches([' ', '"']).trim_end_matches(['"', ':', ' ']).to_owned();
    let (value, comma) = value.strip_suffix(',').map_or((value, ""), |value| (value, ","));
    let value = match serde_json::from_str::<Value>(value) {
        Ok(Value::String(text)) => Value::String(settled(&name, &text, home)).to_string(),
        Ok(Value::Number(_)) if ["bytes", "pid", "retry_after_seconds"].contains(&name.as_str()) => "27".to_owned(),
        Ok(Value::Number(number)) if number.as_u64().is_some_and(|n| n > 1_700_000_000_000) => {
            "1769860800000".to_owned()
        }
        _ => value.to_owned(),
    };
    format!("{before}{value}{comma}")
}

fn settled(name: &str, text: &str, home: &str) -> String {
    if text.len() == 24 && text.ends_with('Z') && text.as_bytes()[10] == b'T' {
        return "2026-01-31T12:00:00.000Z".to_owned();
    }
    if name == "token" {
        return "(256 random bits, shown this once)".to_owned();
    }
    if name == "target" {
        return "x86_64-linux-gnu".to_owned();
    }
    if name == "who" || text.starts_with("os:") {
        return "os:1000:ada".to_owned();
    }
    if let Some((_, port)) = text.rsplit_once("127.0.0.1:").filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
    {
        return text.replace(&format!(":{port}"), ":4010");
    }
    let text = text.replace(home, "/home/ada");
    let mut settled = String::new();
    for word in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let bare = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let hex = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
        if bare.len() == 34 && hex(&bare[2..]) {
            settled.push_str(&word.replace(bare, &format!("{}{}", &bare[..2], "0123456789abcdef".repeat(2))));
        } else if bare.len() == 6 && bare.bytes().all(|b| b.is_ascii_digit()) {
            settled.push_str(&word.replace(bare, "482913"));
        } else if [8, 16, 32, 64].contains(&bare.len()) && hex(bare) {
            settled.push_str(&word.replace(bare, &"0123456789abcdef".repeat(4)[..bare.len()]));
        } else {
            settled.push_str(word);
        }
    }
    settled
}

#[test]
fn headings_and_links_are_read_as_a_reader_follows_them() {
    assert_eq!(anchor("## Where files are"), "where-files-are");
    assert_eq!(anchor("no heading"), "");
    let page = "[a](b.md) and [c](d.md#e)\n```text\n[x](y)\n```\n";
    assert_eq!(links(page).collect::<Vec<_>>(), ["b.md", "d.md#e"]);
}
