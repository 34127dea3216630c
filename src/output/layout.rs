//! What a result looks like: a [`Table`] of rows, and a [`Layout`] of lines for a person. Neither depends on where it is printed.

use comfy_table::presets;
use unicode_width::UnicodeWidthStr;

use super::escape::visible;
use crate::check::Mark;

/// Blank columns between two columns of a table.
const GAP: usize = 2;

/// Sentences in a column narrower than this are harder to read than a record.
const PROSE_LEAST: usize = 20;

/// Rows under headings. On a terminal a table, in a pipe TSV without headings.
///
/// Where a terminal is too narrow, sentences are wrapped first, then columns are left out in the order of `spare`, and then each row
/// becomes a record of named values. A value is never split: it can be copied from any screen.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The headings.
    pub columns: Vec<&'static str>,
    /// The cells, one per heading.
    pub rows: Vec<Vec<String>>,
    /// The columns that hold sentences, which may be wrapped between words.
    pub prose: &'static [&'static str],
    /// The columns that a narrow terminal can do without, the least important first.
    pub spare: &'static [&'static str],
}

/// A table as it is drawn.
pub(super) struct Drawn {
    pub text: String,
    /// The columns that there was no room for.
    pub left_out: Vec<&'static str>,
}

impl Table {
    /// A table without rows.
    pub fn new(columns: &[&'static str]) -> Table {
        Table { columns: columns.to_vec(), ..Table::default() }
    }
    /// Says which columns hold sentences.
    #[must_use]
    pub fn prose(self, prose: &'static [&'static str]) -> Table {
        Table { prose, ..self }
    }
    /// Says which columns a narrow terminal can do without, the least important first.
    #[must_use]
    pub fn spare(self, spare: &'static [&'static str]) -> Table {
        Table { spare, ..self }
    }
    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }
    /// One row under headings, from pairs.
    pub fn one_row(pairs: Vec<(&'static str, String)>) -> Table {
        let (columns, row) = pairs.into_iter().unzip();
        Table { columns, rows: vec![row], ..Table::default() }
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

    /// Comma-separated cells under headings (RFC 4180, but for its line ends). A spreadsheet takes a cell that begins like a formula
    /// for one, so an apostrophe comes before it: what a stranger chose as a user name is never calculated.
    pub(super) fn to_csv(&self) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let safe = |cell: &str| {
            let shown = visible(cell);
            let like_a_formula = shown.starts_with(['=', '+', '-', '@']) && shown.parse::<f64>().is_err();
            if like_a_formula { format!("'{shown}") } else { shown.into_owned() }
        };
        // Writing to memory cannot fail, and every row has as many cells as there are headings.
        let _ = writer.write_record(&self.columns);
        for row in &self.rows {
            let _ = writer.write_record(row.iter().map(|cell| safe(cell)));
        }
        String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
    }

    /// Aligned columns without borders, or records where `width` is too little for them.
    pub(super) fn to_table(&self, width: Option<u16>, paint: Paint) -> Drawn {
        if self.rows.is_empty() {
            return Drawn { text: String::new(), left_out: Vec::new() };
        }
        let cells: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(|cell| visible(cell).into_owned()).collect()).collect();
        let room = width.map_or(usize::MAX, usize::from);
        let Some(shown) = self.fit(&cells, room) else {
            return Drawn { text: self.to_records(&cells, room, paint), left_out: Vec::new() };
        };
        let is_shown = |column: usize| shown.iter().any(|(n, _)| *n == column);
        let left_out = (0..self.columns.len()).filter(|n| !is_shown(*n) && !is_empty(&cells, *n));
        Drawn { text: self.to_columns(&cells, &shown, paint), left_out: left_out.map(|n| self.columns[n]).collect() }
    }

    /// The columns that are shown and their widths; `None` where there is too little room for the important ones.
    fn fit(&self, cells: &[Vec<String>], room: usize) -> Option<Vec<(usize, usize)>> {
        let mut shown: Vec<usize> = (0..self.columns.len()).collect();
        let empty = (0..self.columns.len()).filter(|n| is_empty(cells, *n));
        let spare = self.spare.iter().filter_map(|name| self.columns.iter().position(|column| column == name));
        let mut least_important = empty.chain(spare);
        let mut left_out = Vec::new();
        while self.widths(cells, &shown, room).is_none() {
            let least = least_important.next()?;
            shown.retain(|n| *n != least);
            left_out.push(least);
        }
        // A wide column that had to go may have made room for narrow ones that went before.
        for column in left_out.into_iter().rev() {
            let mut with = shown.clone();
            with.push(column);
            with.sort_unstable();
            with.dedup();
            if self.widths(cells, &with, room).is_some() {
                shown = with;
            }
        }
        let widths = self.widths(cells, &shown, room)?;
        Some(shown.into_iter().zip(widths).collect())
    }

    /// How wide these columns are, sentences wrapped; `None` where they do not fit side by side.
    fn widths(&self, cells: &[Vec<String>], shown: &[usize], room: usize) -> Option<Vec<usize>> {
        let widest = |n: usize, part: fn(&str) -> usize| {
            cells.iter().map(|row| part(&row[n])).chain([self.columns[n].len()]).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = shown.iter().map(|n| widest(*n, |cell| cell.width())).collect();
        let least = |at: usize| match self.prose.contains(&self.columns[shown[at]]) {
            true => widest(shown[at], longest_word).max(PROSE_LEAST),
            false => usize::MAX,
        };
        let least: Vec<usize> = (0..shown.len()).map(least).collect();
        let mut over = (widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)).saturating_sub(room);
        while over > 0 {
            let roomiest = (0..widths.len()).filter(|at| widths[*at] > least[*at]).max_by_key(|at| widths[*at])?;
            widths[roomiest] -= 1;
            over -= 1;
        }
        Some(widths)
    }

    fn to_columns(&self, cells: &[Vec<String>], shown: &[(usize, usize)], paint: Paint) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(shown.iter().map(|(n, _)| self.columns[*n].to_uppercase()));
        for row in cells {
            table.add_row(shown.iter().map(|(n, width)| match self.prose.contains(&self.columns[*n]) {
                true => wrap(&row[*n], *width).join("\n"),
                false => row[*n].clone(),
            }));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, GAP as u16));
        }
        let mut text = String::new();
        for (n, line) in table.lines().enumerate() {
            let line = line.trim_end();
            push_line(&mut text, "", &if n == 0 { paint.bold(line) } else { line.to_owned() });
        }
        text
    }

    /// Each row as lines of a name and its value.
    fn to_records(&self, cells: &[Vec<String>], room: usize, paint: Paint) -> String {
        let pad = self.columns.iter().map(|name| name.len()).max().unwrap_or(0);
        let mut text = String::new();
        for (n, row) in cells.iter().enumerate() {
            if n > 0 {
                text.push('\n');
            }
            for (name, cell) in self.columns.iter().zip(row) {
                push_field(&mut text, (name, pad), cell, self.prose.contains(name), room, paint);
            }
        }
        text
    }
}

/// Whether no row has anything in this column.
fn is_empty(cells: &[Vec<String>], column: usize) -> bool {
    cells.iter().all(|row| matches!(row[column].as_str(), "" | "-"))
}

fn longest_word(text: &str) -> usize {
    text.split(' ').map(UnicodeWidthStr::width).max().unwrap_or(0)
}

/// Lines of at most `width` columns, broken at blanks; a longer word stays whole.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
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

/// A name and its value; one that has no room there gets lines of its own. Sentences are wrapped below themselves, values never.
fn push_field(text: &mut String, (name, pad): (&str, usize), value: &str, prose: bool, room: usize, paint: Paint) {
    let name = paint.dim(&format!("{name:pad$}"));
    let lines = |width: usize| if prose { wrap(value, width) } else { vec![value.to_owned()] };
    let beside = room.saturating_sub(pad + 1);
    if lines(beside).iter().any(|line| line.width() > beside) {
        push_line(text, "", name.trim_end());
        lines(room).iter().for_each(|line| push_line(text, "", line));
        return;
    }
    for (n, line) in lines(beside).iter().enumerate() {
        match n {
            0 => push_line(text, "", &format!("{name} {line}")),
            _ => push_line(text, &" ".repeat(pad + 1), line),
        }
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
                Block::Text(line) => {
                    wrap(&visible(line), room).iter().for_each(|line| push_line(&mut text, "", line));
                }
                Block::Heading(line) => push_line(&mut text, "", &paint.bold(&visible(line))),
                Block::Check(mark, name, sentences) => {
                    push_check(&mut text, &format!("{} {name}", paint.mark(*mark)), name.width(), sentences, room);
                }
                Block::Field(name, value) => {
                    push_field(&mut text, (name, self.field_width(n)), &visible(value), true, room, paint);
                }
                Block::Table(table) => text.push_str(&table.to_table(width, paint).text),
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
    fn csv_has_headings_and_no_cell_that_a_spreadsheet_calculates() {
        let mut table = Table::new(&["user", "phone", "cost"]);
        table.row(vec!["=HYPERLINK(\"https://a.test\")".into(), "+14155552671".into(), "-0.5".into()]);
        table.row(vec!["@SUM(A1)".into(), "+1415•••2671".into(), "a,b\n\"c\"".into()]);
        table.row(vec!["-1+1".into(), "\t=1".into(), String::new()]);

        assert_eq!(
            table.to_csv(),
            "user,phone,cost\n\"'=HYPERLINK(\"\"https://a.test\"\")\",+14155552671,-0.5\n\
             '@SUM(A1),'+1415•••2671,\"a,b\\u{a}\"\"c\"\"\"\n'-1+1,\\u{9}=1,\n"
        );
    }

    #[test]
    fn a_table_has_no_borders_and_no_trailing_blanks() {
        let mut table = Table::new(&["id", "state"]);
        table.row(vec!["17".into(), "active".into()]);
        table.row(vec!["3".into(), "verified".into()]);

        assert_eq!(table.to_table(Some(80), Paint(false)).text, "ID  STATE\n17  active\n3   verified\n");
        assert_eq!(Table::new(&["id"]).to_table(None, Paint(true)).text, "");
    }

    #[test]
    fn a_narrow_terminal_and_foreign_text_break_no_table() {
        let mut table = Table::new(&["id", "user", "state"]);
        table.row(vec!["1".into(), "日本語".repeat(40), "\u{1b}]0;x\u{7}".into()]);

        for width in [0, 1, 20, 40, 65535] {
            let text = table.to_table(Some(width), Paint(false)).text;
            assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'), "{text:?}");
        }
    }

    /// A table with a value of two words, a sentence, and a column that can be spared.
    fn messages() -> Table {
        let mut table = Table::new(&["id", "sent", "tries", "error"]).prose(&["error"]).spare(&["tries"]);
        table.row(vec!["m1".into(), "2 min ago".into(), "-".into(), "-".into()]);
        table.row(vec!["m2".into(), "59 s ago".into(), "2".into(), "the phone is switched off or far away".into()]);
        table
    }

    #[test]
    fn what_is_too_wide_is_wrapped_then_left_out_then_a_record() {
        let shown = |width| messages().to_table(Some(width), Paint(false));

        assert_eq!(
            shown(56).text,
            "ID  SENT       TRIES  ERROR\n\
             m1  2 min ago  -      -\n\
             m2  59 s ago   2      the phone is switched off or far\n                      away\n"
        );
        assert_eq!(shown(40).left_out, ["tries"]);
        assert_eq!(
            shown(40).text,
            "ID  SENT       ERROR\n\
             m1  2 min ago  -\n\
             m2  59 s ago   the phone is switched off\n               or far away\n"
        );
        assert_eq!(
            shown(24).text,
            "id    m1\nsent  2 min ago\ntries -\nerror -\n\n\
             id    m2\nsent  59 s ago\ntries 2\nerror the phone is\n      switched off or\n      far away\n"
        );
    }

    #[test]
    fn a_column_without_anything_in_it_goes_first_and_is_not_missed() {
        let mut table = Table::new(&["id", "user", "tries", "purpose"]).spare(&["tries"]);
        table.row(vec!["1".into(), "-".into(), "0".into(), "phone_verification".into()]);

        let drawn = table.to_table(Some(30), Paint(false));

        assert_eq!(drawn.text, "ID  TRIES  PURPOSE\n1   0      phone_verification\n");
        assert!(drawn.left_out.is_empty());
    }

    #[test]
    fn a_value_that_is_wider_than_its_place_stays_whole() {
        let mut table = Table::new(&["provider_id", "state"]);
        table.row(vec!["SM1af7cb0b64eb6c0de78fd0b0ac1c9b7b".into(), "sent".into()]);

        let text = table.to_table(Some(38), Paint(false)).text;

        assert_eq!(text, "provider_id\nSM1af7cb0b64eb6c0de78fd0b0ac1c9b7b\nstate       sent\n");
    }

    proptest::proptest! {
        #[test]
        fn no_width_splits_a_value_or_runs_over_without_need(
            values in proptest::collection::vec(("[a-z0-9+•]{1,24}", "[a-z]{1,9}( [a-z]{1,9}){0,8}", "[0-9 ]{1,12}"), 1..5),
            width in 1_u16..120,
        ) {
            let mut table = Table::new(&["id", "detail", "at"]).prose(&["detail"]).spare(&["at"]);
            for (id, detail, at) in &values {
                table.row(vec![id.clone(), detail.clone(), at.clone()]);
            }
            let drawn = table.to_table(Some(width), Paint(false));
            let widest = values.iter().map(|(id, detail, at)| id.width().max(longest_word(detail)).max(at.width()));
            let widest = widest.chain(["detail".len()]).max().unwrap_or(0);

            for (id, _, at) in &values {
                proptest::prop_assert!(drawn.text.lines().any(|line| line.contains(id.as_str())));
                let at_is_shown = drawn.left_out.is_empty() && at.trim() == at;
                proptest::prop_assert!(!at_is_shown || drawn.text.lines().any(|line| line.contains(at.as_str())));
            }
            for line in drawn.text.lines() {
                proptest::prop_assert!(line.width() <= usize::from(width).max(widest), "{width}: {line}");
            }
        }
    }

    #[test]
    fn sentences_and_fields_of_a_layout_are_wrapped_below_themselves() {
        let layout = Layout::new().text("The tables were created.").field("fix", "ask the owner to text START");

        assert_eq!(
            layout.to_text(Some(20), Paint(false)),
            "The tables were\ncreated.\nfix ask the owner to\n    text START\n"
        );
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
