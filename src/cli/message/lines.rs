//! The lines of `message send --jsonl`: read one at a time, twice, however many there are.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::cli::given;
use crate::engine::Content;
use crate::error::{Code, Error, Result};

/// The longest line, in bytes: a text of 1600 characters, each of them escaped, and what stands around it.
const LINE_MAX: u64 = 32 * 1024;

/// One line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Where to.
    pub to: String,
    /// What it says: a text, or a template of smsotp.toml.
    pub text: Option<String>,
    pub template: Option<String>,
    /// The values of the template's variables.
    #[serde(default)]
    pub vars: BTreeMap<String, Var>,
    /// The language of the template's text.
    pub locale: Option<String>,
    /// When to send it, RFC 3339: now if nothing is said.
    pub at: Option<DateTime<Utc>>,
    /// The idempotency key; made from the name of the input, the number of the line and what it says where it is missing.
    pub key: Option<String>,
}

/// A value: a text or a number.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Var {
    Text(String),
    Number(serde_json::Number),
}

impl Line {
    /// What it says.
    pub fn content(&self) -> Result<Content> {
        let wrong = |what: &str| Err(Error::new(Code::VALUE_INVALID, what));
        let value = |value: &Var| match value {
            Var::Text(text) => text.clone(),
            Var::Number(number) => number.to_string(),
        };
        match (&self.text, &self.template) {
            (Some(text), None) if self.vars.is_empty() && self.locale.is_none() => Ok(Content::text(text.as_str())),
            (None, Some(name)) => Ok(Content::Template {
                name: name.clone(),
                values: self.vars.iter().map(|(name, of)| (name.clone(), value(of))).collect(),
                locale: self.locale.as_deref().map(given::locale).transpose()?,
            }),
            (Some(_), Some(_)) => wrong("it has both a text and a template"),
            (Some(_), None) => wrong("vars and locale are for templates"),
            (None, None) => wrong("it has neither a text nor a template"),
        }
    }

    /// All that decides what goes where, for a key.
    pub fn what(&self) -> String {
        let Line { to, text, template, vars, locale, at, key: _ } = self;
        format!("{to}\0{text:?}\0{template:?}\0{vars:?}\0{locale:?}\0{at:?}")
    }
}

/// An input that can be read again.
pub struct Input {
    file: File,
    /// What it is called in the keys that are made: the path, or `-`.
    pub name: String,
}

/// A line by its number, from 1, or what is wrong with it.
pub type Numbered = (u64, std::result::Result<Line, String>);

impl Input {
    /// Opens a file, or takes all of standard input. What cannot be read twice is copied to a file without a name.
    pub fn open(path: &str) -> Result<Input> {
        let failed = |error| Error::new(Code::FILE_FAILED, format!("cannot read {path}")).because(error);
        if path == "-" {
            let file = copied(std::io::stdin().lock()).map_err(failed)?;
            return Ok(Input { file, name: "-".to_owned() });
        }
        let file = File::open(path).map_err(failed)?;
        let name = std::fs::canonicalize(path).map_err(failed)?.display().to_string();
        let file = if file.metadata().map_err(failed)?.is_file() { file } else { copied(file).map_err(failed)? };
        Ok(Input { file, name })
    }

    /// Its lines from the first on; those that hold nothing are left out.
    pub fn lines(&self) -> Result<Lines<'_>> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        Ok(Lines { from: BufReader::new(file), number: 0, line: Vec::new() })
    }
}

fn copied(mut from: impl Read) -> std::io::Result<File> {
    let mut file = tempfile::tempfile()?;
    std::io::copy(&mut from, &mut file)?;
    Ok(file)
}

fn unreadable(error: std::io::Error) -> Error {
    Error::new(Code::FILE_FAILED, "the lines cannot be read").because(error)
}

/// The lines of an input.
pub struct Lines<'a> {
    from: BufReader<&'a File>,
    number: u64,
    line: Vec<u8>,
}

impl Lines<'_> {
    /// The next line.
    pub fn next(&mut self) -> Result<Option<Numbered>> {
        loop {
            self.line.clear();
            let read = (&mut self.from).take(LINE_MAX + 1).read_until(b'\n', &mut self.line).map_err(unreadable)?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            if read as u64 > LINE_MAX && !self.line.ends_with(b"\n") {
                self.from.skip_until(b'\n').map_err(unreadable)?;
                return Ok(Some((self.number, Err(format!("it is longer than {LINE_MAX} bytes")))));
            }
            if self.line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            return Ok(Some((self.number, parse(&self.line))));
        }
    }
}

fn parse(line: &[u8]) -> std::result::Result<Line, String> {
    serde_json::from_slice(line).map_err(|error| {
        // The parser counts lines and columns of this line alone.
        let text = error.to_string();
        let what = text.split(" at line ").next().unwrap_or_default();
        format!("{what}: write {{\"to\": \"+1…\", \"text\": \"…\"}}, with \"key\" if you like")
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(text: &[u8]) -> Vec<(u64, std::result::Result<String, String>)> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        let input = Input { file, name: "x".to_owned() };
        let all = || {
            let (mut lines, mut all) = (input.lines().unwrap(), Vec::new());
            while let Some((number, line)) = lines.next().unwrap() {
                all.push((number, line.map(|line| format!("{} {}", line.to, line.text.unwrap_or_default()))));
            }
            all
        };
        assert_eq!(all(), all(), "the second time it is the same");
        all()
    }

    #[test]
    fn lines_are_numbered_as_an_editor_numbers_them() {
        let text = b"{\"to\": \"1\", \"text\": \"a\"}\n\n  \r\n{\"to\": \"2\", \"text\": \"b\", \"key\": \"k\"}\r\n{\"to\":\"3\",\"text\":\"c\"}";
        let lines: Vec<_> = read(text).into_iter().map(|(number, line)| (number, line.unwrap())).collect();
        assert_eq!(lines, [(1, "1 a".to_owned()), (4, "2 b".to_owned()), (5, "3 c".to_owned())]);
        assert!(read(b"").is_empty());
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said_and_the_next_is_read() {
        let long = "x".repeat(40_000);
        let text = format!(
            "{{\"text\": \"1\"}}\nno\n{{\"to\": \"1\", \"text\": \"a\", \"media\": \"m\"}}\n[]\n{{\"to\": \"{long}\", \"text\": \"a\"}}\n{{\"to\": \"1\", \"text\": \"z\"}}\n"
        );
        let lines = read(text.as_bytes());
        let wrong = |nth: usize| lines[nth].1.as_ref().unwrap_err();
        assert!(wrong(0).contains("missing field `to`"), "{}", wrong(0));
        assert!(wrong(1).contains("expected"), "{}", wrong(1));
        assert!(wrong(2).contains("unknown field `media`"), "{}", wrong(2));
        assert!(wrong(3).contains("write {\"to\""), "{}", wrong(3));
        assert!(wrong(4).contains("longer than"), "{}", wrong(4));
        assert_eq!((lines[5].0, lines[5].1.as_deref()), (6, Ok("1 z")));
        assert_eq!(lines.len(), 6);
    }
}
