//! Makes foreign text harmless before it reaches a terminal, a table or a TSV line.
//!
//! Text from users, providers and files may hold terminal commands, direction overrides or invisible characters. They are
//! shown as `\u{1b}` and the like, so that a reader sees what is there.

use std::borrow::Cow;

use unicode_width::UnicodeWidthChar;

/// How many combining marks in a row are shown. Scripts in use stack three at most; dozens would cover other lines.
const COMBINING_MAX: usize = 4;

/// The text with every character escaped that would move, hide, reorder or colour something; one line in, one line out.
pub fn visible(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    let mut combining = 0;
    for c in text.chars() {
        if is_unsafe(c) {
            combining = 0;
            push_escaped(&mut shown, c);
        } else if c.width() == Some(0) {
            combining += 1;
            if combining <= COMBINING_MAX {
                shown.push(c);
            } else if combining == COMBINING_MAX + 1 {
                shown.push('…');
            }
        } else {
            combining = 0;
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Like [`visible`], but keeps line feeds and cuts after `max` characters: for texts that quote what a user typed.
pub fn visible_lines(text: &str, max: usize) -> String {
    let mut lines: String = text.lines().map(visible).collect::<Vec<_>>().join("\n");
    if let Some((cut, _)) = lines.char_indices().nth(max) {
        lines.truncate(cut);
        lines.push('…');
    }
    lines
}

/// Whether a character may not reach a terminal as it is.
pub(super) fn is_unsafe(c: char) -> bool {
    matches!(c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}'       // C0, DEL, C1
        | '\u{ad}' | '\u{61c}' | '\u{180e}'          // soft hyphen, Arabic letter mark, Mongolian separator
        | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' // Hangul fillers
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' // zero width, line separators, directions
        | '\u{2060}'..='\u{206f}' | '\u{feff}'       // joiners, isolates, byte order mark
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' // annotations, tags
        | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}' // private use
    )
}

fn push_escaped(shown: &mut String, c: char) {
    shown.extend(c.escape_unicode());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_commands_are_shown_and_not_executed() {
        assert_eq!(visible("a\u{1b}[2Jb\u{7}\r\n\tc"), r"a\u{1b}[2Jb\u{7}\u{d}\u{a}\u{9}c");
        assert_eq!(visible("\u{9b}31m"), r"\u{9b}31m");
        assert_eq!(visible("\u{202e}gpj.exe"), r"\u{202e}gpj.exe");
        assert_eq!(visible("a\u{2066}b\u{2069}c\u{200b}d\u{feff}"), r"a\u{2066}b\u{2069}c\u{200b}d\u{feff}");
    }

    #[test]
    fn ordinary_text_of_any_script_stays() {
        for text in ["", "plain", "Zoë", "नमस्ते", "תּוֹרָה", "สวัสดี", "日本語", "👍"]
        {
            assert_eq!(visible(text), text);
        }
    }

    #[test]
    fn a_tower_of_combining_marks_is_capped() {
        let tower = format!("a{}b", "\u{301}".repeat(500));
        assert_eq!(visible(&tower), format!("a{}…b", "\u{301}".repeat(4)));
    }

    #[test]
    fn long_quotes_are_cut_at_a_character() {
        assert_eq!(visible_lines("é\nb\u{1b}", 3), "é\nb…");
        assert_eq!(visible_lines("ab", 2), "ab");
    }

    proptest::proptest! {
        #[test]
        fn nothing_unsafe_survives(text in "\\PC*|.*|[\\x00-\\x1f\u{80}-\u{9f}\u{200b}-\u{206f}]*") {
            proptest::prop_assert!(!visible(&text).chars().any(is_unsafe));
        }
    }
}
