//! What a database's schema consists of, compared with what the migrations make.

use std::collections::BTreeMap;

/// How each part of a schema is defined, by what it is: `trigger noted on audit`.
pub type Definitions = BTreeMap<String, String>;

/// Every difference in words. What is named in `apart` is not compared, for no migration makes it: whole names, or
/// their beginning before a `*`.
pub fn differences(found: &Definitions, wanted: &Definitions, apart: &[&str]) -> Vec<String> {
    let mut findings = Vec::new();
    for (what, definition) in wanted {
        match found.get(what) {
            None => findings.push(format!("the {what} is missing")),
            Some(other) if other != definition => {
                findings.push(format!("the {what} is not as smsotp made it"));
            }
            Some(_) => {}
        }
    }
    let is_named = |what: &str, known: &str| match known.strip_suffix('*') {
        Some(beginning) => what.starts_with(beginning),
        None => what == known,
    };
    let compared = |what: &&String| !apart.iter().any(|known| is_named(what, known));
    let foreign = found.keys().filter(|what| !wanted.contains_key(*what)).filter(compared);
    findings.extend(foreign.map(|what| format!("the {what} was not made by smsotp")));
    findings
}
