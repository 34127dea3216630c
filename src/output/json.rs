//! The JSON contract: every document has its `schema_version` and `kind`, and holds no character that a terminal would obey.

use std::io;

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};

use super::escape::is_unsafe;
use crate::error::{Code, Error, Result};

/// The version of the JSON contract: fields are only ever added within one version.
pub const SCHEMA_VERSION: u32 = 1;

#[derive(Serialize)]
struct Document<'a, T> {
    schema_version: u32,
    kind: &'a str,
    #[serde(flatten)]
    body: &'a T,
}

/// A value (which must serialize as an object) as one document with a line feed at its end.
pub(super) fn document<T: Serialize>(kind: &str, body: &T, pretty: bool) -> Result<String> {
    let document = Document { schema_version: SCHEMA_VERSION, kind, body };
    let mut bytes = Vec::new();
    let written = if pretty {
        document.serialize(&mut Serializer::with_formatter(&mut bytes, EscapingFormatter(PrettyFormatter::new())))
    } else {
        document.serialize(&mut Serializer::with_formatter(&mut bytes, EscapingFormatter(CompactFormatter)))
    };
    written.map_err(|error| Error::new(Code::BUG, format!("{kind} cannot be written as JSON")).because(error))?;
    Ok(finish(bytes))
}

/// One line of JSON.
pub(super) fn compact(value: &Value) -> String {
    let mut bytes = Vec::new();
    // A `Value` always serializes, and a vector always takes what is written to it.
    let _ = value.serialize(&mut Serializer::with_formatter(&mut bytes, EscapingFormatter(CompactFormatter)));
    finish(bytes)
}

fn finish(bytes: Vec<u8>) -> String {
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    text.push('\n');
    text
}

/// Writes characters that a terminal would obey as `\uXXXX`, which every JSON reader turns back.
struct EscapingFormatter<F>(F);

macro_rules! forward {
    ($($name:ident($($arg:ident: $type:ty),*);)*) => {
        $(fn $name<W: ?Sized + io::Write>(&mut self, w: &mut W, $($arg: $type),*) -> io::Result<()> { self.0.$name(w, $($arg),*) })*
    };
}

impl<F: Formatter> Formatter for EscapingFormatter<F> {
    forward! {
        begin_array();
        end_array();
        begin_array_value(first: bool);
        end_array_value();
        begin_object();
        end_object();
        begin_object_key(first: bool);
        end_object_key();
        begin_object_value();
        end_object_value();
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, w: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_unsafe(*c)) {
            w.write_all(&rest.as_bytes()[..at])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(w, "\\u{unit:04x}")?;
            }
            rest = &rest[at + c.len_utf8()..];
        }
        w.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct One {
        user: String,
    }

    #[test]
    fn a_document_starts_with_its_version_and_kind() {
        let text = document("otp", &One { user: "u1".into() }, false).unwrap();

        assert_eq!(text, "{\"schema_version\":1,\"kind\":\"otp\",\"user\":\"u1\"}\n");
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped_and_comes_back_unchanged() {
        let user = "\u{9b}31m\u{202e}x\u{1b}[0m\u{e0041}é";
        for pretty in [true, false] {
            let text = document("otp", &One { user: user.into() }, pretty).unwrap();

            assert!(!text.chars().any(|c| is_unsafe(c) && c != '\n'), "{text:?}");
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["user"], user);
        }
    }
}
