//! How values are shown, and what a result has to provide to be shown.

use std::time::Duration;

use serde::Serialize;

use super::layout::{Layout, Table};
use crate::clock::Timestamp;

/// How values are shown: given to what makes the cells.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// The present, for relative times.
    pub now: Timestamp,
    /// For a person: relative times, `-` for nothing.
    pub for_person: bool,
}

impl View {
    /// A moment: `2 min ago` for a person, RFC 3339 in UTC elsewhere.
    pub fn time(&self, at: Timestamp) -> String {
        if self.for_person { relative(self.now, at) } else { at.to_rfc3339() }
    }
    /// A moment that may be missing.
    pub fn time_if(&self, at: Option<Timestamp>) -> String {
        at.map_or_else(|| self.nothing(), |at| self.time(at))
    }
    /// A text that may be missing or empty.
    pub fn text_if(&self, text: Option<&str>) -> String {
        text.filter(|text| !text.is_empty()).map_or_else(|| self.nothing(), str::to_owned)
    }
    /// A span: `2 min` for a person, whole seconds elsewhere.
    pub fn span(&self, span: Duration) -> String {
        if self.for_person { in_words(span.as_secs()) } else { span.as_secs().to_string() }
    }
    /// The cell where there is nothing: `-` for a person, empty elsewhere.
    pub fn nothing(&self) -> String {
        if self.for_person { "-".to_owned() } else { String::new() }
    }
}

/// A result that is one thing. JSON is its `Serialize` (an object) with `schema_version` and `kind` before it.
pub trait Render: Serialize {
    /// The `kind` in JSON.
    const KIND: &'static str;
    /// The cells of TSV, and of a table where there is no layout of its own.
    fn table(&self, view: &View) -> Table;
    /// What a person sees.
    fn layout(&self, view: &View) -> Layout {
        Layout::new().table(self.table(view))
    }
}

/// One row of a list.
pub trait Item: Serialize {
    /// The `kind` of one row in JSON lines; the list is `<kind>_list`.
    const KIND: &'static str;
    /// The headings.
    const COLUMNS: &'static [&'static str];
    /// The columns that hold sentences, which may be wrapped between words.
    const PROSE: &'static [&'static str] = &[];
    /// The columns that a narrow terminal can do without, the least important first.
    const SPARE: &'static [&'static str] = &[];
    /// One cell per heading.
    fn cells(&self, view: &View) -> Vec<String>;
}

/// A result that is a list, or one page of it.
#[derive(Clone, Debug, Serialize)]
pub struct List<T> {
    /// The rows.
    pub items: Vec<T>,
    /// How many more rows follow.
    pub more: u64,
    /// What to give as `--after` to see them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_after: Option<String>,
    /// The message to a person when there is no row.
    #[serde(skip)]
    pub when_empty: &'static str,
}

impl<T> List<T> {
    /// A whole list.
    pub fn whole(items: Vec<T>, when_empty: &'static str) -> List<T> {
        List { items, more: 0, next_after: None, when_empty }
    }
}

fn relative(now: Timestamp, at: Timestamp) -> String {
    const MONTH: u64 = 30 * 24 * 3600;
    let (past, future) = (now.since(at).as_secs(), at.since(now).as_secs());
    match (past, future) {
        (0, 0) => "now".to_owned(),
        (past, _) if past > MONTH => at.datetime().format("%Y-%m-%d").to_string(),
        (_, future) if future > MONTH => at.datetime().format("%Y-%m-%d").to_string(),
        // To the nearest minute: a life of ten minutes starts as "in 10 min", not as "in 9 min".
        (0, future) if (60..3570).contains(&future) => format!("in {} min", (future + 30) / 60),
        (0, future) => format!("in {}", in_words(future)),
        (past, _) => format!("{} ago", in_words(past)),
    }
}

/// Whole seconds in the largest unit that fits, rounded down.
pub(super) fn in_words(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}
