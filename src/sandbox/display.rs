//! A message as a phone shows it, safe to print on a terminal: whatever could control the terminal is escaped.

use std::fmt;

use super::message::ReceivedMessage;

/// The width of the text, in characters.
const WIDTH: usize = 60;

impl fmt::Display for ReceivedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.from.as_ref().or(self.messaging_service_sid.as_ref()).map_or("", String::as_str);
        writeln!(f, "╭─ SMS to {} from {}", escape(&self.to), escape(from))?;
        for paragraph in self.body.split('\n') {
            for line in wrap(&escape(paragraph.strip_suffix('\r').unwrap_or(paragraph))) {
                writeln!(f, "│ {line}")?;
            }
        }
        let plural = if self.segments == 1 { "" } else { "s" };
        let at = self.created_at.datetime().format("%H:%M:%S");
        write!(f, "╰─ {} segment{plural}, {at} UTC", self.segments)
    }
}

/// The text with control characters, and those that turn the direction of writing, as `\u{…}`.
fn escape(text: &str) -> String {
    let is_unsafe = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if is_unsafe(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}

/// Lines of at most [`WIDTH`] characters, broken at blanks; a longer word (a link) stays whole.
fn wrap(text: &str) -> Vec<String> {
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
    use crate::clock::Timestamp;

    #[test]
    fn a_message_looks_like_one_and_cannot_act_on_the_terminal() {
        let message = ReceivedMessage {
            sid: "SM1".into(),
            to: "+12025550123".into(),
            from: Some("+12025550100".into()),
            messaging_service_sid: None,
            body: "\u{1b}[2J123456 is your code. It is good for the next ten minutes and for nothing else.\r\n\u{202e}evil".into(),
            status: "queued".into(),
            error_code: None,
            segments: 2,
            created_at: Timestamp(1_700_000_000_000),
            validity: None,
            callback: None,
            send_at: None,
            feedback: None,
            deleted: false,
        };
        assert_eq!(
            message.to_string(),
            "╭─ SMS to +12025550123 from +12025550100\n\
             │ \\u{1b}[2J123456 is your code. It is good for the next ten\n\
             │ minutes and for nothing else.\n\
             │ \\u{202e}evil\n\
             ╰─ 2 segments, 22:13:20 UTC"
        );
    }
}
