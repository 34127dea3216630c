//! What people type and paste: which of its characters mean nothing.

/// A space of any kind, or a character that cannot be seen at all.
pub fn is_blank(c: char) -> bool {
    c.is_whitespace() || is_invisible(c)
}

/// A character that takes no room: zero-width spaces and joiners, soft hyphens, byte order marks, and the marks of writing
/// direction that contact lists put around numbers.
pub fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A hyphen, a dash or a minus sign.
pub fn is_dash(c: char) -> bool {
    matches!(
        c,
        '-' | '\u{2010}'..='\u{2015}' | '\u{2043}' | '\u{2212}' | '\u{30fc}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}'
    )
}

/// The text without blanks at either end.
pub fn trimmed(text: &str) -> &str {
    text.trim_matches(is_blank)
}
