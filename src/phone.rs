//! Phone numbers, parsed once at the edge.

use std::fmt;

/// An E.164 number by shape: `+`, then 7 to 15 digits, the first not 0 (ITU-T E.164 §6). `Debug` shows it masked.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Phone(String);

impl Phone {
    /// Takes E.164 by shape alone; never loads numbering-plan metadata.
    pub fn from_e164(text: &str) -> Option<Phone> {
        let digits = text.strip_prefix('+')?;
        let ok =
            (7..=15).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
        ok.then(|| Phone(text.to_owned()))
    }
    /// The whole number with its `+`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The number as tables, logs and errors show it: `+1415•••2671`.
    pub fn masked(&self) -> String {
        let n = self.0.len();
        let (head, tail) = if n >= 12 {
            (5, 4)
        } else if n >= 10 {
            (3, 3)
        } else {
            (2, 2)
        };
        format!("{}•••{}", &self.0[..head], &self.0[n - tail..])
    }
}

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}
