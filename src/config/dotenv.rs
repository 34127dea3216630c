//! Reads `.env` files as python-dotenv does, with one difference: nothing is ever put in for `${NAME}`. Where dotenvy, which stands
//! for the many programs that follow the shell more closely, takes another value from a line of ours, a warning says so.
//!
//! Lines and names that are not ours are left alone, whatever is in them. What concerns a setting of ours and cannot be read, or
//! would be read in another way elsewhere, is an error or a warning and never passed over.

use std::collections::BTreeMap;
use std::path::Path;

use super::settings::is_setting;
use super::source::is_ours;
use crate::error::{Code, Error, Result};

/// What a file assigns, and what is worth a warning.
#[derive(Debug, Default)]
pub(super) struct Dotenv {
    pub(super) values: BTreeMap<String, String>,
    pub(super) warnings: Vec<String>,
}

/// One `NAME=value`, or a name alone.
struct Assignment {
    name: String,
    value: Option<String>,
}

/// A statement that cannot be read.
struct Unreadable;

/// Reads the text of a file.
///
/// Errors: `CONFIG_INVALID` with file and line, never with the line itself.
pub(super) fn parse_dotenv(text: &str, path: &Path) -> Result<Dotenv> {
    let bad = |line: usize, what: &str| {
        let message = format!("{}:{line}: {what}", path.display());
        Error::new(Code::CONFIG_INVALID, message)
            .hint("Write NAME=value, or NAME='value' where it holds spaces or #; close every quote.")
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n").replace('\r', "\n");
    let mut reader = Reader { rest: &text };
    let mut found = Dotenv::default();
    let mut line = 1;
    loop {
        let before = reader.rest;
        reader.skip(char::is_whitespace);
        let statement = reader.rest;
        if statement.is_empty() {
            return Ok(found);
        }
        line += lines_in(before, statement);
        let outcome = reader.statement();
        let taken = &statement[..statement.len() - reader.rest.len()];
        let first = word(taken);
        match outcome {
            Err(Unreadable) if concerns_us(first) => return Err(bad(line, "not a NAME=value line")),
            Ok(Some(Assignment { name, value: None })) if concerns_us(&name) => {
                return Err(bad(line, "not a NAME=value line"));
            }
            Ok(Some(Assignment { name, value: Some(value) })) => {
                if is_ours(&name) && puts_in(&value) {
                    return Err(bad(line, &format!("{name} holds ${{…}}, and nothing is put in for it here"))
                        .hint("Write the value itself."));
                }
                if is_ours(&name) && !dotenvy_takes(&value, taken) {
                    found.warnings.push(format!(
                        "{}:{line}: other programs read {name} differently from this line; put the value in single quotes",
                        path.display(),
                    ));
                }
                if is_ours(&name) && found.values.get(&name).is_some_and(|first| *first != value) {
                    return Err(bad(line, &format!("{name} is set twice")));
                }
                found.values.insert(name, value);
            }
            Err(Unreadable) | Ok(_) => {}
        }
        // What follows the first line was taken for a part of a value in quotes.
        let swallowed = taken.lines().enumerate().skip(1).map(|(at, text)| (at, text, word(text)));
        for (at, _, name) in swallowed.filter(|(_, text, name)| is_setting(name) && text.contains('=')) {
            found.warnings.push(format!(
                "{}:{}: {name} is not read: it stands inside of quotes that are opened in line {line}",
                path.display(),
                line + at,
            ));
        }
        line += lines_in(statement, reader.rest);
    }
}

/// How many lines ended between `from` and what is left of it.
fn lines_in(from: &str, left: &str) -> usize {
    from[..from.len() - left.len()].matches('\n').count()
}

/// A name that means a setting of ours, or a slip of one.
fn concerns_us(name: &str) -> bool {
    is_setting(name) || (name.starts_with("SMSOTP_") && is_ours(name))
}

/// The word that a statement begins with.
fn word(statement: &str) -> &str {
    let statement = statement.trim_start();
    let statement =
        statement.strip_prefix("export").filter(|rest| rest.starts_with(char::is_whitespace)).unwrap_or(statement);
    let statement = statement.trim_start().trim_start_matches(['\'', '"']);
    let end = statement.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(statement.len());
    &statement[..end]
}

/// Whether python-dotenv would put something in: `${NAME}`, in quotes or not.
fn puts_in(value: &str) -> bool {
    value.split_once("${").is_some_and(|(_, rest)| rest.contains('}'))
}

/// Whether dotenvy takes the same value from a statement.
fn dotenvy_takes(value: &str, statement: &str) -> bool {
    let mut assignments = dotenvy::from_read_iter(statement.as_bytes());
    matches!((assignments.next(), assignments.next()), (Some(Ok((_, taken))), None) if taken == value)
}

/// White space that does not end the line.
fn inline(c: char) -> bool {
    c.is_whitespace() && c != '\n'
}

/// Reads statements from the beginning of what is left, in the steps of python-dotenv's parser.
struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn skip(&mut self, which: impl Fn(char) -> bool) {
        self.rest = self.rest.trim_start_matches(which);
    }

    fn take_until(&mut self, end: impl Fn(char) -> bool) -> &'a str {
        let (taken, rest) = self.rest.split_at(self.rest.find(end).unwrap_or(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// The next statement; `None` for a comment. One that cannot be read is skipped to the end of the line in which it ended.
    fn statement(&mut self) -> Result<Option<Assignment>, Unreadable> {
        let read = self.assignment();
        if read.is_err() {
            self.take_until(|c| c == '\n');
        }
        read
    }

    fn assignment(&mut self) -> Result<Option<Assignment>, Unreadable> {
        if let Some(rest) = self.rest.strip_prefix("export").filter(|rest| rest.starts_with(inline)) {
            self.rest = rest.trim_start_matches(inline);
        }
        if self.rest.starts_with('#') {
            self.take_until(|c| c == '\n');
            return Ok(None);
        }
        let name = match self.rest.strip_prefix('\'') {
            Some(quoted) => {
                let (name, rest) = quoted.split_once('\'').filter(|(name, _)| !name.is_empty()).ok_or(Unreadable)?;
                self.rest = rest;
                name
            }
            None => self.take_until(|c| c == '=' || c == '#' || c.is_whitespace()),
        };
        if name.is_empty() {
            return Err(Unreadable);
        }
        self.skip(inline);
        let value = match self.rest.strip_prefix('=') {
            Some(rest) => {
                self.rest = rest.trim_start_matches(inline);
                Some(self.value()?)
            }
            None => None,
        };
        self.skip(inline);
        if self.rest.starts_with('#') {
            self.take_until(|c| c == '\n');
        }
        match self.rest.chars().next() {
            None | Some('\n') => Ok(Some(Assignment { name: name.to_owned(), value })),
            Some(_) => Err(Unreadable),
        }
    }

    fn value(&mut self) -> Result<String, Unreadable> {
        match self.rest.chars().next() {
            Some('\'') => self.quoted('\'', |c| matches!(c, '\\' | '\'').then_some(c)),
            Some('"') => self.quoted('"', |c| {
                Some(match c {
                    '\\' | '\'' | '"' => c,
                    'a' => '\u{7}',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'v' => '\u{b}',
                    _ => return None,
                })
            }),
            _ => {
                let line = self.take_until(|c| c == '\n');
                // A # begins a comment where white space is before it.
                let comment = line
                    .char_indices()
                    .zip(line.chars().skip(1))
                    .find(|((_, c), next)| c.is_whitespace() && *next == '#');
                Ok(line[..comment.map_or(line.len(), |((at, _), _)| at)].trim_end().to_owned())
            }
        }
    }

    /// A value in quotes; behind a backslash a quote does not close it, unless no other does.
    fn quoted(&mut self, quote: char, escaped: fn(char) -> Option<char>) -> Result<String, Unreadable> {
        let inner = &self.rest[1..];
        let mut last_escaped = None;
        let mut end = None;
        for (at, _) in inner.match_indices(quote) {
            if inner[..at].ends_with('\\') {
                last_escaped = Some(at);
            } else {
                end = Some(at);
                break;
            }
        }
        let end = end.or(last_escaped).ok_or(Unreadable)?;
        self.rest = &inner[end + 1..];
        let mut value = String::with_capacity(end);
        let mut chars = inner[..end].chars();
        while let Some(c) = chars.next() {
            let mut ahead = chars.clone();
            match ahead.next().filter(|_| c == '\\').and_then(escaped) {
                Some(meant) => {
                    value.push(meant);
                    chars = ahead;
                }
                None => value.push(c),
            }
        }
        Ok(value)
    }
}
