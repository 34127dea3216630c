//! What a database's schema consists of, compared with what the migrations make.

use std::collections::BTreeMap;

/// How each part of a schema is defined, by what it is: `trigger noted on audit`.
pub type Definitions = BTreeMap<String, String>;

/// Every difference in words. What begins with one of `apart` is not compared: it is made by no migration.
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
    let compared = |what: &&String| !apart.iter().any(|known| what.starts_with(known));
    let foreign = found.keys().filter(|what| !wanted.contains_key(*what)).filter(compared);
    findings.extend(foreign.map(|what| format!("the {what} was not made by smsotp")));
    findings
}
