//! Who may import whom, and which modules alone may touch the environment, the terminal and the clock (ARCHITECTURE.md has the
//! picture).
//!
//! The evidence is every `crate::`, `self::` and `super::` path in `src`, in `use` lines and elsewhere, outside of tests.

use std::fs;
use std::path::Path;

/// One layer: its modules, and what they may name beside themselves.
struct Layer {
    name: &'static str,
    modules: &'static [&'static str],
    may_name: &'static [&'static str],
}

const RULES: &[&str] = &[
    "abuse", "alarm", "audit", "check", "code", "delivery", "limits", "lists", "locale", "message", "money", "otp",
    "phone", "policy", "purpose", "report", "risk", "segments", "subject", "sums", "template", "texts", "token",
    "typed", "usage",
];

/// The most specific module decides: `provider::twilio` is an adapter, `provider` the seam.
const LAYERS: &[Layer] = &[
    Layer { name: "rules", modules: RULES, may_name: &["rules", "ground"] },
    // Time, errors and the wiping of memory: what every layer is written in.
    Layer { name: "ground", modules: &["clock", "error", "wipe"], may_name: &["ground"] },
    // Files of settings and secrets: read within bounds, and who else may do what with them.
    Layer { name: "files", modules: &["files"], may_name: &[] },
    Layer { name: "keys", modules: &["keys"], may_name: &["rules", "ground", "files"] },
    Layer { name: "store seam", modules: &["store"], may_name: &["rules", "ground", "keys"] },
    Layer { name: "provider seam", modules: &["provider"], may_name: &["rules", "ground"] },
    Layer { name: "notify seam", modules: &["notify"], may_name: &["rules", "ground"] },
    Layer {
        name: "operations",
        modules: &["engine"],
        may_name: &["rules", "ground", "keys", "store seam", "provider seam", "notify seam"],
    },
    Layer {
        name: "store adapters",
        modules: &["store::sqlite", "store::postgres"],
        may_name: &["rules", "ground", "keys", "store seam"],
    },
    // What Twilio's error codes mean is a table and no adapter: `explain` reads it too.
    Layer { name: "catalogue", modules: &["provider::twilio::catalogue"], may_name: &["ground", "provider seam"] },
    Layer { name: "twilio", modules: &["provider::twilio"], may_name: PROVIDER_ADAPTER },
    Layer { name: "console", modules: &["provider::console"], may_name: PROVIDER_ADAPTER },
    Layer {
        name: "webhook",
        modules: &["notify::webhook"],
        may_name: &["rules", "ground", "notify seam", "connections out"],
    },
    Layer {
        name: "settings",
        modules: &["config"],
        may_name: &["rules", "ground", "files", "keys", "twilio::account"],
    },
    Layer {
        name: "wiring",
        modules: &["app"],
        may_name: &[
            "rules",
            "ground",
            "keys",
            "settings",
            "store seam",
            "provider seam",
            "notify seam",
            "operations",
            "store adapters",
            "twilio",
            "console",
            "webhook",
            "simulation",
        ],
    },
    // Traffic to try a policy on: pure as well, but for the command line alone.
    Layer { name: "simulation", modules: &["simulate"], may_name: &["rules", "ground"] },
    Layer { name: "output", modules: &["output"], may_name: &["rules", "ground"] },
    Layer {
        name: "command line",
        modules: &["cli", "main"],
        may_name: &[
            "rules",
            "ground",
            "files",
            "operations",
            "wiring",
            "settings",
            "output",
            "sandbox",
            "catalogue",
            "serve",
            "simulation",
        ],
    },
    // The one verb that starts the REST API.
    Layer {
        name: "serve",
        modules: &["cli::serve"],
        may_name: &[
            "rules",
            "ground",
            "files",
            "operations",
            "wiring",
            "settings",
            "output",
            "command line",
            "REST API",
        ],
    },
    Layer {
        name: "REST API",
        modules: &["http"],
        may_name: &["rules", "ground", "operations", "twilio::callbacks", "connection"],
    },
    Layer { name: "sandbox", modules: &["sandbox"], may_name: &["rules", "ground", "twilio::callbacks", "connection"] },
    // Which host a request may name, and how a server closes a connection.
    Layer { name: "connection", modules: &["host", "linger"], may_name: &[] },
    // Which certificates are trusted, and words for what went wrong.
    Layer { name: "connections out", modules: &["outgoing"], may_name: &[] },
    // What Twilio's adapter is given: the configuration fills it in.
    Layer { name: "twilio::account", modules: &["provider::twilio::account"], may_name: &[] },
    // How Twilio's callbacks are signed, and what their status words mean: whoever receives or sends them has to know.
    Layer {
        name: "twilio::callbacks",
        modules: &["provider::twilio::signature", "provider::twilio::status"],
        may_name: &["rules"],
    },
];

const PROVIDER_ADAPTER: &[&str] =
    &["rules", "ground", "provider seam", "catalogue", "twilio::callbacks", "twilio::account", "connections out"];

/// Texts that only some modules may contain.
struct Reserved {
    texts: &'static [&'static str],
    /// Layers that may.
    only: &'static [&'static str],
    why: &'static str,
}

const RESERVED: &[Reserved] = &[
    Reserved {
        texts: &["env::var(", "env::var_os(", "env::vars(", "env::vars_os(", "env::set_var(", "env::remove_var("],
        only: &["settings"],
        why: "only config reads the environment",
    },
    Reserved {
        texts: &["print!(", "println!(", "eprint!(", "eprintln!(", "io::stdout()", "io::stderr()"],
        only: &["output"],
        why: "only output prints",
    },
    Reserved {
        texts: &["SystemTime::now(", "Utc::now(", "Local::now("],
        only: &["ground"],
        why: "only clock knows the time",
    },
];

/// What a rule may never touch: it is a pure function over facts.
const IMPURE: &[&str] = &[
    "tokio::",
    "reqwest::",
    "rusqlite::",
    "axum::",
    "hyper::",
    "clap::",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::process",
    "std::thread",
    "std::env",
    "Instant::now(",
    "tracing::",
];

#[test]
fn every_module_names_only_what_its_layer_may() {
    let sources = sources();
    let faults: Vec<String> = sources.iter().flat_map(|(module, text)| faults(module, text)).collect();

    assert!(sources.len() > 40, "only {} files were read", sources.len());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_module_belongs_to_a_layer_and_every_named_module_exists() {
    let modules: Vec<String> = sources().into_iter().map(|(module, _)| module).collect();
    let unassigned: Vec<_> = modules.iter().filter(|m| *m != "lib" && layer_of(m).is_none()).collect();
    let named = LAYERS.iter().flat_map(|layer| layer.modules);
    let missing: Vec<_> = named.filter(|named| !modules.iter().any(|module| module == *named)).collect();

    assert!(unassigned.is_empty(), "no layer holds {unassigned:?}");
    assert!(missing.is_empty(), "there are no modules {missing:?}");
}

#[test]
fn planted_violations_are_found() {
    let planted = [
        ("otp", "use crate::store::Store;", "otp (rules) names store::Store (store seam)"),
        (
            "otp",
            "use crate::{clock::Timestamp, engine::{send, verify}};",
            "otp (rules) names engine::send (operations)",
        ),
        ("phone", "fn f() { crate::output::visible(\"\"); }", "phone (rules) names output::visible (output)"),
        ("phone", "use tokio::sync::Mutex;", "phone: a rule touches tokio::"),
        ("limits", "let now = std::time::Instant::now();", "limits: a rule touches Instant::now("),
        ("engine::send", "use crate::store::sqlite::Sqlite;", "engine::send (operations) names store::sqlite::Sqlite"),
        ("engine::send", "use crate::provider::twilio;", "engine::send (operations) names provider::twilio (twilio)"),
        ("engine::send", "use super::super::cli::send;", "engine::send (operations) names cli::send (command line)"),
        ("provider::twilio", "use super::console::Console;", "provider::twilio (twilio) names provider::console"),
        ("provider::twilio::wire", "use crate::engine;", "provider::twilio::wire (twilio) names engine (operations)"),
        ("store", "pub use self::sqlite::Sqlite;", "store (store seam) names store::sqlite::Sqlite"),
        ("cli::list", "use crate::store::sqlite;", "cli::list (command line) names store::sqlite (store adapters)"),
        ("cli::list", "let a = std::env::var(\"A\");", "cli::list: only config reads the environment"),
        ("cli::list", "println!(\"{}\", 1);", "cli::list: only output prints"),
        ("engine", "let t = chrono::Utc::now();", "engine: only clock knows the time"),
    ];
    for (module, text, expected) in planted {
        let found = faults(module, text);
        assert!(found.iter().any(|fault| fault.starts_with(expected)), "{module}: {text}\nfound {found:?}");
    }
}

#[test]
fn what_is_allowed_and_what_is_only_written_about_is_no_violation() {
    let innocent = [
        ("otp", "use crate::clock::Timestamp;\nuse super::limits::Window;"),
        ("otp", "// crate::store is where\n/// [`crate::engine`] and println!(\nlet a = \"crate::store::Store\";"),
        ("otp", "let a = r#\"use crate::store;\"#; let b = 'c'; let c: &'static str = \"\\\"crate::store\";"),
        ("otp", "fn f() {}\n#[cfg(test)]\nmod tests { use crate::store::Store; fn g() { println!(\"x\"); } }"),
        ("store::sqlite", "use super::Store;\nuse crate::store::{Facts, Page};\nuse self::lock::Lock;"),
        ("app", "use crate::store::sqlite::Sqlite;\nuse crate::provider::{console, twilio::Twilio};"),
        ("config", "let a = std::env::var_os(\"A\");"),
    ];
    for (module, text) in innocent {
        assert_eq!(faults(module, text), Vec::<String>::new(), "{module}: {text}");
    }
}

#[test]
fn every_error_code_is_given_by_something() {
    let sources = sources();
    let (_, codes) = sources.iter().find(|(module, _)| module == "error").unwrap();
    let codes: Vec<&str> = codes
        .lines()
        .filter_map(|line| line.strip_prefix("    ")?.split_once(" = \"").filter(|_| line.ends_with(';')))
        .map(|(name, _)| name)
        .filter(|name| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
        .collect();
    assert_eq!(codes.len(), smsotp::error::CODES.len());
    let others = sources.iter().filter(|(module, _)| module != "error");
    let others: Vec<String> = others.map(|(_, text)| code_of(text)).collect();
    let unused: Vec<_> = codes.iter().filter(|name| !others.iter().any(|code| gives(code, name))).collect();
    assert!(unused.is_empty(), "nothing gives {unused:?}");
    assert!(!gives("(Code::A, StatusCode::OK)", "A") && !gives("Code::AB", "A") && gives("no(ErrorCode::A)", "A"));
}

/// Whether `code` names an error code other than in the table of statuses.
fn gives(code: &str, name: &str) -> bool {
    let text = format!("Code::{name}");
    code.match_indices(&text)
        .map(|(at, _)| &code[at + text.len()..])
        .any(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_') && !rest.starts_with(", StatusCode"))
}

/// What is wrong with one module.
fn faults(module: &str, text: &str) -> Vec<String> {
    let Some(own) = layer_of(module) else { return Vec::new() };
    let code = code_of(text);
    let mut faults = Vec::new();
    for path in paths(module, &code) {
        if let Some(other) = layer_of(&path)
            && other.name != own.name
            && !own.may_name.contains(&other.name)
        {
            faults.push(format!("{module} ({}) names {path} ({})", own.name, other.name));
        }
    }
    for reserved in RESERVED.iter().filter(|reserved| !reserved.only.contains(&own.name)) {
        if let Some(text) = reserved.texts.iter().find(|text| mentions(&code, text)) {
            faults.push(format!("{module}: {} ({text})", reserved.why));
        }
    }
    if own.name == "rules" {
        let touched = IMPURE.iter().filter(|text| mentions(&code, text));
        faults.extend(touched.map(|text| format!("{module}: a rule touches {text}")));
    }
    faults
}

/// Whether `code` contains `text` at the start of a word.
fn mentions(code: &str, text: &str) -> bool {
    code.match_indices(text).any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// The layer whose module is the longest beginning of `path`.
fn layer_of(path: &str) -> Option<&'static Layer> {
    let fits = |module: &str| path == module || path.strip_prefix(module).is_some_and(|rest| rest.starts_with("::"));
    let best = |layer: &'static Layer| {
        layer.modules.iter().filter(|module| fits(module)).map(|module| (module.len(), layer)).max_by_key(|best| best.0)
    };
    LAYERS.iter().filter_map(best).max_by_key(|best| best.0).map(|best| best.1)
}

/// The modules of `src` with their texts; files of tests are left out.
pub fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, prefix: &str, found: &mut Vec<(String, String)>) {
        let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let module = if prefix.is_empty() { name.clone() } else { format!("{prefix}::{name}") };
            if path.is_dir() {
                walk(&path, &module, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") && name != "tests" {
                found.push((module, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut found);
    found
}

/// The text without comments, strings and tests (which stand last in a file).
pub fn code_of(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else {
            literal_length(rest, &code)
        };
        if skipped > 0 {
            code.push(' ');
            rest = &rest[skipped..];
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    code
}

/// How many bytes of `rest` are a string or character literal; 0 where none starts.
fn literal_length(rest: &str, before: &str) -> usize {
    let in_word = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    if let Some(raw) = rest.strip_prefix('r').filter(|_| !in_word) {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = 1 + hashes + 1;
            return rest[body..].find(&end).map_or(rest.len(), |at| body + at + end.len());
        }
    }
    let quote = match rest.chars().next() {
        Some('"') => '"',
        // `'a'` is a character, `'a` a lifetime.
        Some('\'') if rest[1..].starts_with('\\') || rest[1..].chars().nth(1) == Some('\'') => '\'',
        _ => return 0,
    };
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Every path from the root of the crate that `code` names, groups in braces taken apart.
pub fn paths(module: &str, code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for anchor in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(anchor) {
            let before = &code[..at];
            if before.ends_with("::") || before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
                continue;
            }
            let mut base: Vec<&str> = if anchor == "crate::" { Vec::new() } else { module.split("::").collect() };
            let mut rest = &code[at..];
            rest = rest.strip_prefix("crate::").or_else(|| rest.strip_prefix("self::")).unwrap_or(rest);
            while let Some(up) = rest.strip_prefix("super::") {
                base.pop();
                rest = up;
            }
            tree(&base.join("::"), rest, &mut found);
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Reads one tree of a path: `a::b`, `a::{b, c::d}`. Answers how many bytes it took.
fn tree(base: &str, text: &str, found: &mut Vec<String>) -> usize {
    let mut path = base.to_owned();
    let mut at = 0;
    loop {
        at += text[at..].len() - text[at..].trim_start().len();
        if text[at..].starts_with('{') {
            at += 1;
            loop {
                // After a last comma there is nothing more.
                if !text[at..].trim_start().starts_with('}') {
                    at += tree(&path, &text[at..], found);
                }
                let rest = text[at..].trim_start();
                at = text.len() - rest.len();
                match rest.chars().next() {
                    Some(',') => at += 1,
                    Some(_) => return at + 1,
                    None => return at,
                }
            }
        }
        let word =
            text[at..].find(|c: char| !c.is_alphanumeric() && c != '_').map_or(&text[at..], |end| &text[at..][..end]);
        at += word.len();
        if !word.is_empty() && word != "self" {
            path = if path.is_empty() { word.to_owned() } else { format!("{path}::{word}") };
        }
        if let Some(after) = text[at..].strip_prefix("::").filter(|_| !word.is_empty()) {
            at = text.len() - after.len();
            continue;
        }
        // `a as b`: the new name is no path.
        if let Some(renamed) = text[at..].trim_start().strip_prefix("as ") {
            let word = renamed.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(renamed.len());
            at = text.len() - renamed.len() + word;
        }
        // `*`, an empty group, a trailing comma.
        if text[at..].starts_with('*') {
            at += 1;
        }
        if !path.is_empty() {
            found.push(path);
        }
        return at;
    }
}
