//! What a result looks like: a [`Table`] of rows, and a [`Layout`] of lines for a person. Neither depends on where it is printed.

use comfy_table::{ContentArrangement, presets};
use unicode_width::UnicodeWidthStr;

use super::escape::visible;
use crate::check::Mark;

/// Rows under headings. On a terminal a table, in a pipe TSV without headings.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The headings.
    pub columns: Vec<&'static str>,
    /// The cells, one per heading.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new(columns: &[&'static str]) -> Table {
        Table { columns: columns.to_vec(), rows: Vec::new() }
    }
    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }
    /// One row under headings, from pairs.
    pub fn one_row(pairs: Vec<(&'static str, String)>) -> Table {
        let (columns, row) = pairs.into_iter().unzip();
        Table { columns, rows: vec![row] }
    }

    /// Header-less lines of tab-separated cells; tabs and line feeds inside cells are escaped.
    pub(super) fn to_tsv(&self) -> String {
        let mut text = String::new();
        for row in &self.rows {
            for (n, cell) in row.iter().enumerate() {
                if n > 0 {
                    text.push('\t');
                }
                text.push_str(&visible(cell));
            }
            text.push('\n');
        }
        text
    }

    /// Aligned columns without borders, folded into `width` where one is given.
    pub(super) fn to_table(&self, width: Option<u16>, paint: Paint) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(self.columns.iter().map(|name| name.to_uppercase()));
        for row in &self.rows {
            table.add_row(row.iter().map(|cell| visible(cell).into_owned()));
        }
        if let Some(width) = width {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width.max(20));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let mut text = String::new();
        for (n, line) in table.lines().enumerate() {
            let line = line.trim_end();
            text.push_str(&if n == 0 { paint.bold(line) } else { line.to_owned() });
            text.push('\n');
        }
        text
    }
}

/// Lines for a person at a terminal.
#[derive(Clone, Debug, Default)]
pub struct Layout(Vec<Block>);

#[derive(Clone, Debug)]
enum Block {
    Text(String),
    Heading(String),
    Field(&'static str, String),
    Check(Mark, String, Vec<String>),
    Table(Table),
    Blank,
}

impl Layout {
    /// An empty layout.
    pub fn new() -> Layout {
        Layout::default()
    }
    /// A sentence.
    #[must_use]
    pub fn text(self, text: impl Into<String>) -> Layout {
        self.with(Block::Text(text.into()))
    }
    /// A heading.
    #[must_use]
    pub fn heading(self, text: impl Into<String>) -> Layout {
        self.with(Block::Heading(text.into()))
    }
    /// A named value; the values of neighbouring fields are aligned.
    #[must_use]
    pub fn field(self, name: &'static str, value: impl Into<String>) -> Layout {
        self.with(Block::Field(name, value.into()))
    }
    /// A named value, if there is one.
    #[must_use]
    pub fn field_if(self, name: &'static str, value: Option<impl Into<String>>) -> Layout {
        match value {
            Some(value) => self.field(name, value),
            None => self,
        }
    }
    /// A check with its mark, its name, and what there is to say of it: each sentence on lines of its own.
    #[must_use]
    pub fn check(self, mark: Mark, name: impl Into<String>, sentences: Vec<String>) -> Layout {
        self.with(Block::Check(mark, name.into(), sentences))
    }
    /// A table.
    #[must_use]
    pub fn table(self, table: Table) -> Layout {
        self.with(Block::Table(table))
    }
    /// An empty line.
    #[must_use]
    pub fn blank(self) -> Layout {
        self.with(Block::Blank)
    }

    fn with(mut self, line: Block) -> Layout {
        self.0.push(line);
        self
    }

    /// The layout as text; every line is escaped, so that colours come from `paint` only.
    pub(super) fn to_text(&self, width: Option<u16>, paint: Paint) -> String {
        let room = width.map_or(usize::MAX, usize::from);
        let mut text = String::new();
        for (n, line) in self.0.iter().enumerate() {
            match line {
                Block::Text(line) => push_line(&mut text, "", &visible(line)),
                Block::Heading(line) => push_line(&mut text, "", &paint.bold(&visible(line))),
                Block::Check(mark, name, sentences) => {
                    push_check(&mut text, &format!("{} {name}", paint.mark(*mark)), name.width(), sentences, room);
                }
                Block::Field(name, value) => {
                    let pad = self.field_width(n);
                    push_line(&mut text, "", &format!("{} {}", paint.dim(&format!("{name:pad$}")), visible(value)));
                }
                Block::Table(table) => text.push_str(&table.to_table(width, paint)),
                Block::Blank => text.push('\n'),
            }
        }
        text
    }

    /// The widest name in the run of fields that line `at` belongs to.
    fn field_width(&self, at: usize) -> usize {
        let name = |line: &Block| if let Block::Field(name, _) = line { Some(name.len()) } else { None };
        let before = self.0[..at].iter().rev().map_while(name);
        before.chain(self.0[at..].iter().map_while(name)).max().unwrap_or(0)
    }
}

/// Columns of a mark and the blank behind it.
const MARK: usize = 7;

/// A check: its sentences stand beside its name, each with a hanging indent, or below it where the terminal is too narrow.
fn push_check(text: &mut String, head: &str, name: usize, sentences: &[String], room: usize) {
    let sentences: Vec<_> = sentences.iter().map(|sentence| visible(sentence)).collect();
    let beside = if name > 0 { MARK + name + 2 } else { MARK };
    let longest = sentences.iter().map(|sentence| longest_word(sentence)).max().unwrap_or(0);
    let fits = longest.max(NARROW) <= room.saturating_sub(beside);
    let indent = if fits { beside } else { MARK };
    let mut lines = sentences.iter().flat_map(|sentence| wrap(sentence, room.saturating_sub(indent)));
    let first = if fits || name == 0 { lines.next() } else { None };
    let first = first.map(|line| format!("{head}{}{line}", if name > 0 { "  " } else { "" }));
    push_line(text, "", first.as_deref().unwrap_or(head).trim_end());
    lines.for_each(|line| push_line(text, &" ".repeat(indent), &line));
}

/// Sentences in fewer columns are hard to read.
const NARROW: usize = 24;

fn longest_word(text: &str) -> usize {
    text.split(' ').map(UnicodeWidthStr::width).max().unwrap_or(0)
}

/// Lines of at most `width` columns, broken at blanks; a longer word stays whole.
fn wrap(text: &str, width: usize) -> Vec<String> {
    if text.width() <= width {
        return vec![text.to_owned()];
    }
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.width() + 1 + word.width() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn push_line(text: &mut String, indent: &str, line: &str) {
    text.push_str(indent);
    text.push_str(line);
    text.push('\n');
}

/// Colours, where the stream shows them. A colour is never the only sign of a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint(pub bool);

impl Paint {
    /// Bold.
    pub fn bold(self, text: &str) -> String {
        self.sgr("1", text)
    }
    /// Dimmed.
    pub fn dim(self, text: &str) -> String {
        self.sgr("2", text)
    }
    /// Bold red.
    pub fn red(self, text: &str) -> String {
        self.sgr("1;31", text)
    }
    /// Yellow.
    pub fn yellow(self, text: &str) -> String {
        self.sgr("33", text)
    }
    /// Cyan.
    pub fn cyan(self, text: &str) -> String {
        self.sgr("36", text)
    }
    fn mark(self, mark: Mark) -> String {
        let label = format!("[{:^4}]", mark.label());
        match mark {
            Mark::Ok => self.sgr("32", &label),
            Mark::Warn => self.yellow(&label),
            Mark::Fail => self.red(&label),
            Mark::Skip => self.dim(&label),
        }
    }
    fn sgr(self, code: &str, text: &str) -> String {
        if self.0 && !text.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tsv_keeps_one_row_on_one_line_whatever_a_cell_holds() {
        let mut table = Table::new(&["id", "user"]);
        table.row(vec!["1".into(), "a\tb\nc\u{1b}[0m".into()]);
        table.row(vec!["2".into(), String::new()]);

        assert_eq!(table.to_tsv(), "1\ta\\u{9}b\\u{a}c\\u{1b}[0m\n2\t\n");
    }

    #[test]
    fn a_table_has_no_borders_and_no_trailing_blanks() {
        let mut table = Table::new(&["id", "state"]);
        table.row(vec!["17".into(), "active".into()]);
        table.row(vec!["3".into(), "verified".into()]);

        assert_eq!(table.to_table(Some(80), Paint(false)), "ID  STATE\n17  active\n3   verified\n");
        assert_eq!(Table::new(&["id"]).to_table(None, Paint(true)), "");
    }

    #[test]
    fn a_narrow_terminal_and_foreign_text_break_no_table() {
        let mut table = Table::new(&["id", "user", "state"]);
        table.row(vec!["1".into(), "日本語".repeat(40), "\u{1b}]0;x\u{7}".into()]);

        for width in [0, 1, 20, 40, 65535] {
            let text = table.to_table(Some(width), Paint(false));
            assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'), "{text:?}");
        }
    }

    #[test]
    fn a_layout_aligns_its_fields_and_escapes_its_values() {
        let layout = Layout::new().text("Code sent.").field("id", "12").field("expires", "in 10 min").blank().check(
            Mark::Fail,
            "sender",
            vec!["\u{1b}[31mred".into(), "set TWILIO_PHONE_NUMBER".into()],
        );

        assert_eq!(
            layout.to_text(None, Paint(false)),
            "Code sent.\nid      12\nexpires in 10 min\n\n[FAIL] sender  \\u{1b}[31mred\n               set TWILIO_PHONE_NUMBER\n"
        );
        assert!(layout.to_text(None, Paint(true)).contains("\u{1b}[1;31m[FAIL]\u{1b}[0m"));
    }

    #[test]
    fn a_checks_sentences_hang_beside_its_name_or_below_it_and_never_run_over() {
        let account = format!("account AC{} with its Auth Token", "a".repeat(32));
        let layout =
            Layout::new().check(Mark::Ok, "credentials", vec![account, "Present and well-formed".into()]).check(
                Mark::Skip,
                "number     ",
                vec!["not checked: no destination is given".into(), "Give one with --to".into()],
            );

        let wide = layout.to_text(Some(80), Paint(false));
        let narrow = layout.to_text(Some(44), Paint(false));

        assert_eq!(
            wide,
            format!(
                "[ ok ] credentials  account AC{} with its Auth Token\n                    Present and well-formed\n\
                 [skip] number       not checked: no destination is given\n                    Give one with --to\n",
                "a".repeat(32)
            )
            .replace(" Auth Token\n", " Auth\n                    Token\n")
        );
        assert_eq!(
            narrow,
            format!(
                "[ ok ] credentials\n       account\n       AC{}\n       with its Auth Token\n       Present and well-formed\n\
                 [skip] number       not checked: no\n                    destination is given\n                    Give one with --to\n",
                "a".repeat(32)
            )
        );
    }
}
