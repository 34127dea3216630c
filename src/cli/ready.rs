//! Answers that stand before anything is parsed: the version, and the help where no terminal tells how wide to write it.
//!
//! Building the argument tree and wrapping its text is most of what these two would cost. That they are what the parser
//! would say is tested.

use std::ffi::OsString;

use crate::output::Terminal;

/// The head of the help, 100 columns wide. Generated: `UPDATE=1 cargo test --test it generated`.
const HELP: &str = include_str!("ready/help.txt");

/// What to print for a command line, program name first, where that is known.
pub fn answer(args: &[OsString], terminal: &Terminal) -> Option<&'static str> {
    let [_, only] = args else { return None };
    // The parser takes the width of whichever of the three is a terminal.
    let terminal = terminal.stdin_tty || terminal.stdout_tty || terminal.stderr_tty || terminal.colors.force;
    match only.to_str()? {
        "-V" | "--version" => Some(concat!("smsotp ", env!("CARGO_PKG_VERSION"), "\n")),
        "--help" if !terminal => Some(HELP),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_stands_ready_is_that_of_the_parser() {
        for line in ["--version", "-V", "--help"] {
            let words = ["smsotp", line].map(OsString::from);
            let parsed =
                crate::cli::command().term_width(100).try_get_matches_from(&words).unwrap_err().render().to_string();
            assert_eq!(answer(&words, &Terminal::default()), Some(parsed.as_str()), "{line}");
        }
        let terminal = Terminal { stderr_tty: true, ..Terminal::default() };
        assert_eq!(answer(&["smsotp", "--help"].map(OsString::from), &terminal), None);
        for other in [&["smsotp"][..], &["smsotp", "-h"], &["smsotp", "--help", "send"], &["smsotp", "--version", "-q"]]
        {
            let words: Vec<OsString> = other.iter().map(OsString::from).collect();
            assert_eq!(answer(&words, &Terminal::default()), None, "{other:?}");
        }
    }
}
