//! A message as a phone shows it, safe to print on a terminal.

use std::fmt;

use super::catalogue;
use super::message::Message;
use crate::clock::Timestamp;

/// How wide a bubble may get, in characters.
const WIDTH: usize = 60;

/// A message that has just come in. `Display` draws it; whatever could act on a terminal is escaped.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The recipient.
    pub to: String,
    /// The sender: a number, or the Messaging Service that will choose one.
    pub from: String,
    /// The text.
    pub body: String,
    /// How many segments it takes.
    pub segments: u32,
    /// When it came in.
    pub received_at: Timestamp,
}

impl Shown {
    pub(super) fn of(message: &Message) -> Shown {
        Shown {
            to: message.to.clone(),
            from: message.from.clone().or_else(|| message.service.clone()).unwrap_or_default(),
            segments: catalogue::segments(&message.body),
            body: message.body.clone(),
            received_at: message.created,
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "╭─ SMS to {} from {}", escaped(&self.to), escaped(&self.from))?;
        for paragraph in self.body.split('\n') {
            for line in wrapped(&escaped(paragraph.strip_suffix('\r').unwrap_or(paragraph))) {
                writeln!(f, "│ {line}")?;
            }
        }
        let plural = if self.segments == 1 { "" } else { "s" };
        let at = self.received_at.datetime().format("%H:%M:%S");
        write!(f, "╰─ {} segment{plural}, {at} UTC", self.segments)
    }
}

/// The text with control characters, and those that turn the direction of writing, as `\u{…}`.
fn escaped(text: &str) -> String {
    let acts = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if acts(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}

/// Lines of at most [`WIDTH`] characters, broken at blanks; a longer word (a link) stays whole.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.chars().count() > WIDTH {
            lines.push(String::new());
        } else if line > 0 {
            lines.last_mut().into_iter().for_each(|line| line.push(' '));
        }
        lines.last_mut().into_iter().for_each(|line| line.push_str(word));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_looks_like_one_and_cannot_act_on_the_terminal() {
        let shown = Shown {
            to: "+12025550123".into(),
            from: "+12025550100".into(),
            body: "\u{1b}[2J123456 is your code. It is good for the next ten minutes and for nothing else.\r\n\u{202e}evil".into(),
            segments: 2,
            received_at: Timestamp(1_700_000_000_000),
        };
        assert_eq!(
            shown.to_string(),
            "╭─ SMS to +12025550123 from +12025550100\n\
             │ \\u{1b}[2J123456 is your code. It is good for the next ten\n\
             │ minutes and for nothing else.\n\
             │ \\u{202e}evil\n\
             ╰─ 2 segments, 22:13:20 UTC"
        );
    }
}
