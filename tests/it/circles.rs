//! No files import each other in a circle: what a file needs can be read without the files that need it.
//!
//! A module that only declares its files and re-exports from them depends on none of them; whoever imports a re-exported name
//! depends on the file that it comes from.

use std::collections::{BTreeMap, BTreeSet};

use crate::layers;

/// Folders whose own file holds what its files share and calls them too: there, what the folder's file imports does not count.
const HOLDS_WHAT_IS_SHARED: &[&str] = &["cli", "http"];

/// Where files still import each other in a circle, each a group of modules with the files below them. What is mended leaves the
/// list.
const STILL_CIRCULAR: &[&[&str]] = &[&["store"]];

#[test]
fn no_imports_run_in_a_circle() {
    let circles = circles(&layers::sources(), HOLDS_WHAT_IS_SHARED);
    let is_known = |group: &[&str], circle: &Vec<String>| circle.iter().all(|module| is_within(module, group));
    let unexpected: Vec<_> =
        circles.iter().filter(|circle| !STILL_CIRCULAR.iter().any(|group| is_known(group, circle))).collect();
    let mended: Vec<_> =
        STILL_CIRCULAR.iter().filter(|group| !circles.iter().any(|circle| is_known(group, circle))).collect();

    assert!(unexpected.is_empty(), "these import each other in a circle: {unexpected:#?}");
    assert!(mended.is_empty(), "take {mended:?} off the list");
}

#[test]
fn planted_circles_are_found() {
    let circle = |files: &[(&str, &str)]| {
        let files: Vec<_> = files.iter().map(|(module, text)| ((*module).to_owned(), (*text).to_owned())).collect();
        circles(&files, &["shares"])
    };

    let of = |modules: &[&str]| BTreeSet::from([modules.iter().map(|module| (*module).to_owned()).collect::<Vec<_>>()]);
    let siblings = [("a", "mod b; mod c;"), ("a::b", "use super::c::C;"), ("a::c", "fn f() { crate::a::b::g() }")];
    assert_eq!(circle(&siblings), of(&["a::b", "a::c"]));
    let parent = [("a", "mod b;\nuse b::B;"), ("a::b", "use super::A;")];
    assert_eq!(circle(&parent), of(&["a", "a::b"]));
    let through_parent =
        [("a", "mod b; mod c;\npub use c::{C, D};"), ("a::b", "use super::{C};"), ("a::c", "use super::b::B;")];
    assert_eq!(circle(&through_parent), of(&["a::b", "a::c"]));

    let shares =
        [("shares", "mod b; mod c;\nuse b::B;"), ("shares::b", "use super::A;"), ("shares::c", "use super::A;")];
    assert!(circle(&shares).is_empty());
    let siblings = [shares[0], ("shares::b", "use super::{A, c::C};"), ("shares::c", "use super::b::B;")];
    assert_eq!(circle(&siblings), of(&["shares::b", "shares::c"]));
    // A parent that only declares and re-exports depends on nothing.
    let facade = [("a", "mod b;\npub use b::B;\npub struct A;"), ("a::b", "use super::A;")];
    assert!(circle(&facade).is_empty());
    let last_comma = [("a", "mod b; mod c;\nuse b::B;"), ("a::b", "use super::{\n    c,\n};"), ("a::c", "")];
    assert!(circle(&last_comma).is_empty());
    let only_in_tests =
        [("a", "mod b;\nuse b::B;"), ("a::b", "fn f() {}\n#[cfg(test)]\nmod tests { use crate::a::A; }")];
    assert!(circle(&only_in_tests).is_empty());
}

/// Whether a module is one of the group, or below one.
fn is_within(module: &str, group: &[&str]) -> bool {
    group.iter().any(|root| module.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with("::")))
}

/// The groups of modules that import each other in a circle. What the files of `shared` import does not count.
fn circles(sources: &[(String, String)], shared: &[&str]) -> BTreeSet<Vec<String>> {
    let modules: BTreeSet<&str> = sources.iter().map(|(module, _)| module.as_str()).collect();
    let code: Vec<(&str, String)> =
        sources.iter().map(|(module, text)| (module.as_str(), layers::code_of(text))).collect();
    // What a module re-exports, by name: whoever imports it from there depends on the module that it comes from.
    let reexports: BTreeMap<String, String> = code
        .iter()
        .flat_map(|(module, code)| {
            let exported = use_statements(code).filter(|(exported, _)| *exported);
            exported.flat_map(|(_, path)| layers::paths(module, &anchored(module, path, &modules))).map(move |path| {
                let name = path.rsplit("::").next().unwrap_or_default();
                (format!("{module}::{name}"), path.clone())
            })
        })
        .collect();
    let resolve = |path: &str| {
        let mut path = path.to_owned();
        for _ in 0..8 {
            match reexports.get(&path) {
                Some(target) if *target != path => path = target.clone(),
                _ => break,
            }
        }
        // The longest beginning that is a file.
        let ends = path.match_indices("::").map(|(at, _)| at).chain([path.len()]);
        ends.filter_map(|end| modules.get(&path[..end]).copied()).last()
    };
    let imports: BTreeMap<&str, BTreeSet<&str>> = code
        .iter()
        .map(|(module, code)| {
            let mut rest = if shared.contains(module) { String::new() } else { code.clone() };
            for (_, statement) in use_statements(code).filter(|(exported, _)| *exported) {
                rest = rest.replace(statement, "");
            }
            let used = layers::paths(module, &anchored(module, &rest, &modules));
            (*module, used.iter().filter_map(|path| resolve(path)).filter(|used| used != module).collect())
        })
        .collect();
    let reachable: BTreeMap<&str, BTreeSet<&str>> = modules
        .iter()
        .map(|module| {
            let (mut seen, mut next) = (BTreeSet::new(), vec![*module]);
            while let Some(module) = next.pop() {
                next.extend(imports[module].iter().filter(|used| seen.insert(**used)));
            }
            (*module, seen)
        })
        .collect();
    let in_circle = |module: &&&str| reachable[**module].contains(**module);
    let circle_of = |module: &&str| {
        let others = reachable[module].iter().filter(|other| reachable[**other].contains(module));
        others.map(|other| (*other).to_owned()).collect()
    };
    modules.iter().filter(in_circle).map(circle_of).collect()
}

/// Each `use` statement's paths, and whether it re-exports them.
fn use_statements(code: &str) -> impl Iterator<Item = (bool, &str)> {
    code.split(';').filter_map(|statement| {
        let (before, path) = statement.rsplit_once("use ")?;
        let visibility = before.rsplit(['}', '{', ']', '\n']).next().unwrap_or_default().trim();
        Some((visibility.starts_with("pub"), path.trim()))
    })
}

/// The code with `self::` before the names of its own submodules, which need none.
fn anchored(module: &str, code: &str, modules: &BTreeSet<&str>) -> String {
    let mut anchored = code.to_owned();
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    for child in modules.iter().filter_map(|m| m.strip_prefix(module)?.strip_prefix("::")) {
        let call = format!("{child}::");
        let mut from = 0;
        while let Some(at) = anchored[from..].find(&call).map(|at| at + from) {
            let before = &anchored[..at];
            from = at + call.len();
            if !child.contains("::") && !before.ends_with(is_name) && !before.ends_with("::") {
                anchored.insert_str(at, "self::");
                from += "self::".len();
            }
        }
    }
    anchored
}
