//! The values of columns, and how the field types of the records are converted to them and back, for both stores.

use std::borrow::Cow;

use crate::abuse::{Counted, EventKind};
use crate::alarm::AlarmKind;
use crate::clock::Timestamp;
use crate::error::{Code, Error, Result};
use crate::keys::KeyId;
use crate::lists::{ListedKind, Side};
use crate::locale::Locale;
use crate::message::{self, SealedText};
use crate::money::{Channel, Money};
use crate::otp::{self, User};
use crate::phone::Phone;
use crate::purpose::Purpose;
use crate::store::SubjectId;
use crate::template::Endings;
use crate::token::Scopes;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// A whole number.
    Int,
    /// A boolean.
    Bool,
    /// A text.
    Text,
    /// Bytes.
    Bytes,
    /// The body of an audit row: text, which SQLite stores as bytes so that a damaged body can still be read and reported.
    Body,
}

/// A value of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// NULL.
    Null,
    /// A whole number; in SQLite a boolean as well.
    Int(i64),
    /// A boolean.
    Bool(bool),
    /// A text.
    Text(Cow<'a, str>),
    /// Bytes.
    Bytes(Cow<'a, [u8]>),
}

/// A type that can be stored in a column.
pub trait Stored: Sized {
    /// The value to write.
    fn to_value(&self) -> Value<'_>;
    /// Converts a value that was read; `None` if smsotp never writes such a value.
    fn from_value(value: &Value<'_>) -> Option<Self>;
}

/// A row of a query's result.
pub trait Cells {
    /// The value of column number `at`, from 0.
    fn cell(&self, at: usize) -> Result<Value<'_>>;
}

/// Reads the columns of a row in order.
pub struct Reader<'r> {
    cells: &'r dyn Cells,
    at: usize,
}

impl<'r> Reader<'r> {
    /// Starts at the first column.
    pub fn new(cells: &'r dyn Cells) -> Reader<'r> {
        Reader { cells, at: 0 }
    }

    /// Reads the next column; its name is for the error.
    ///
    /// # Errors
    /// `STORE_CORRUPT` if the column holds a value that smsotp never writes.
    pub fn next<T: Stored>(&mut self, column: &str) -> Result<T> {
        let value = self.cells.cell(self.at)?;
        self.at += 1;
        T::from_value(&value).ok_or_else(|| damaged(column))
    }
}

impl Cells for Vec<Value<'_>> {
    fn cell(&self, at: usize) -> Result<Value<'_>> {
        self.get(at).map(Value::borrowed).ok_or_else(|| damaged("a row without all of its columns"))
    }
}

impl Value<'_> {
    /// The same value, borrowed.
    fn borrowed(&self) -> Value<'_> {
        match self {
            Value::Null => Value::Null,
            Value::Int(number) => Value::Int(*number),
            Value::Bool(yes) => Value::Bool(*yes),
            Value::Text(text) => Value::Text(Cow::Borrowed(text)),
            Value::Bytes(bytes) => Value::Bytes(Cow::Borrowed(bytes)),
        }
    }

    /// The same value, owned.
    pub fn owned(self) -> Value<'static> {
        match self {
            Value::Null => Value::Null,
            Value::Int(number) => Value::Int(number),
            Value::Bool(yes) => Value::Bool(yes),
            Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Value::Bytes(bytes) => Value::Bytes(Cow::Owned(bytes.into_owned())),
        }
    }

    fn text(&self) -> Option<&str> {
        if let Value::Text(text) = self { Some(text) } else { None }
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Value::Int(number)
    }
}

/// The error for a value that smsotp never writes.
pub fn damaged(what: &str) -> Error {
    Error::new(Code::STORE_CORRUPT, "the database holds a value that smsotp never wrote")
        .because(what.to_owned())
        .hint("Keep a copy of it, run `smsotp db check`, then restore a backup.")
}

impl<T: Stored> Stored for Option<T> {
    fn to_value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, T::to_value)
    }
    fn from_value(value: &Value<'_>) -> Option<Self> {
        if *value == Value::Null { Some(None) } else { T::from_value(value).map(Some) }
    }
}

/// Whole numbers.
macro_rules! stored_numbers {
    ($($number:ty),*) => {$(
        impl Stored for $number {
            fn to_value(&self) -> Value<'_> {
                // None of our numbers is that large.
                Value::Int(i64::try_from(*self).unwrap_or(i64::MAX))
            }
            fn from_value(value: &Value<'_>) -> Option<Self> {
                if let Value::Int(number) = value { <$number>::try_from(*number).ok() } else { None }
            }
        }
    )*};
}
stored_numbers!(i64, u64, u32, u8);

impl Stored for bool {
    fn to_value(&self) -> Value<'_> {
        Value::Bool(*self)
    }
    fn from_value(value: &Value<'_>) -> Option<Self> {
        match value {
            Value::Bool(yes) => Some(*yes),
            Value::Int(number @ 0..=1) => Some(*number == 1),
            _ => None,
        }
    }
}

impl Stored for Timestamp {
    fn to_value(&self) -> Value<'_> {
        Value::Int(self.millis())
    }
    fn from_value(value: &Value<'_>) -> Option<Self> {
        i64::from_value(value).map(Timestamp)
    }
}

impl Stored for Money {
    fn to_value(&self) -> Value<'_> {
        Value::Int(self.0)
    }
    fn from_value(value: &Value<'_>) -> Option<Self> {
        i64::from_value(value).map(Money)
    }
}

/// Types that are stored as text: how to write one, and how to read it.
macro_rules! stored_texts {
    ($($type:ty: $text:expr, $read:expr;)*) => {$(
        impl Stored for $type {
            fn to_value(&self) -> Value<'_> {
                let text: fn(&Self) -> Cow<'_, str> = $text;
                Value::Text(text(self))
            }
            fn from_value(value: &Value<'_>) -> Option<Self> {
                let read: fn(&str) -> Option<Self> = $read;
                read(value.text()?)
            }
        }
    )*};
}
stored_texts! {
    String: |text| text.into(), |text| Some(text.to_owned());
    User: |user| user.as_str().into(), |text| User::parse(text).ok();
    Phone: |phone| phone.as_str().into(), Phone::from_e164;
    Purpose: |purpose| purpose.as_str().into(), Purpose::parse;
    KeyId: |id| id.to_string().into(), KeyId::parse;
    Scopes: |scopes| scopes.to_string().into(), |text| Scopes::parse(text).ok();
    AlarmKind: |kind| kind.as_str().into(), AlarmKind::parse;
    Channel: |channel| channel.as_str().into(), |text| text.parse().ok();
    Locale: |locale| locale.as_str().into(), Locale::parse;
    Side: |side| side.as_str().into(), Side::parse;
    Counted: |counted| <&'static str>::from(*counted).into(), |text| text.parse().ok();
    EventKind: |kind| <&'static str>::from(*kind).into(), |text| text.parse().ok();
    ListedKind: |kind| kind.as_str().into(), ListedKind::parse;
    otp::State: |state| state.as_str().into(), otp::State::parse;
    message::State: |state| state.as_str().into(), message::State::parse;
    // Serializing them cannot fail; an empty text would not be read back.
    Endings: |endings| serde_json::to_string(endings).unwrap_or_default().into(), |text| serde_json::from_str(text).ok();
}

impl Stored for Vec<u8> {
    fn to_value(&self) -> Value<'_> {
        Value::Bytes(Cow::Borrowed(self))
    }
    fn from_value(value: &Value<'_>) -> Option<Self> {
        match value {
            Value::Bytes(bytes) => Some(bytes.to_vec()),
            Value::Text(text) => Some(text.as_bytes().to_vec()),
            _ => None,
        }
    }
}

/// The key's id comes first.
impl Stored for SealedText {
    fn to_value(&self) -> Value<'_> {
        Value::Bytes([&self.key_id.as_bytes()[..], &self.sealed].concat().into())
    }
    fn from_value(value: &Value<'_>) -> Option<Self> {
        let Value::Bytes(bytes) = value else { return None };
        let (id, sealed) = bytes.split_first_chunk()?;
        Some(SealedText { key_id: KeyId::new(*id), sealed: sealed.to_vec() })
    }
}

impl<const N: usize> Stored for [u8; N] {
    fn to_value(&self) -> Value<'_> {
        Value::Bytes(Cow::Borrowed(self))
    }
    fn from_value(value: &Value<'_>) -> Option<Self> {
        if let Value::Bytes(bytes) = value { bytes.as_ref().try_into().ok() } else { None }
    }
}

impl Stored for SubjectId {
    fn to_value(&self) -> Value<'_> {
        self.0.to_value()
    }
    fn from_value(value: &Value<'_>) -> Option<Self> {
        Stored::from_value(value).map(SubjectId)
    }
}
