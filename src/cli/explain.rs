//! `smsotp explain`: an error code of Twilio's in our own words, offline.

use serde::Serialize;

use crate::error::{Class, Code, Error, Result};
use crate::output::{Layout, Output, Render, Table, View};
use crate::provider::twilio::catalogue::{self, Explained};

/// Explain an error code of Twilio's, offline
///
/// Says what a code means, who has to act, what to do, and whether repeating helps. A code that the catalogue does not hold
/// is explained by its range.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp explain 21610\n  \
    $ smsotp explain 30007 --json")]
pub struct Args {
    /// The code, for example 21610
    pub code: String,
}

impl Render for Explained {
    const KIND: &'static str = "explanation";

    fn table(&self, _: &View) -> Table {
        let entry = &self.entry;
        Table::one_row(vec![
            ("code", entry.code.to_string()),
            ("title", entry.title.to_owned()),
            ("meaning", entry.meaning.to_owned()),
            ("fix", entry.fix.to_owned()),
            ("blame", word(&entry.blame)),
            ("retry", word(&entry.retry)),
            ("docs", self.docs_url.clone()),
        ])
    }

    fn layout(&self, _: &View) -> Layout {
        let entry = &self.entry;
        let page = Layout::new().heading(format!("{} {}", entry.code, entry.title));
        let page = if self.known { page } else { page.text("Not in the catalogue; this holds for its range.") };
        page.field("meaning", entry.meaning)
            .field("fix", entry.fix)
            .field("who acts", word(&entry.blame))
            .field("repeat", word(&entry.retry))
            .field("more", &self.docs_url)
    }
}

/// Explains a code.
pub fn run(args: Args, out: &mut Output) -> Result<Class> {
    let digits = args.code.trim();
    let code = digits.parse::<u32>().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()));
    let code = code.filter(|code| (1..=999_999).contains(code)).ok_or_else(|| {
        Error::new(Code::VALUE_INVALID, format!("not an error code of Twilio's: {digits:.40}"))
            .hint("Give the number alone, like `smsotp explain 21610`")
    })?;
    out.show(&catalogue::explain(code))
}

/// A snake_case word as the JSON contract spells it, with blanks.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word.replace('_', " "),
        _ => String::new(),
    }
}
