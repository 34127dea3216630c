//! The variables that every program at a terminal honours: read first, before anything can fail.

use super::read::variable;

/// The environment's settings for the terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TerminalEnvironment {
    /// `NO_COLOR` is set and not empty.
    pub no_color: bool,
    /// `CLICOLOR_FORCE` is set, not empty and not 0.
    pub force_color: bool,
    /// `TERM` is `dumb`.
    pub dumb: bool,
    /// `RUST_LOG`: what is logged.
    pub log: Option<String>,
    /// `SMSOTP_OUTPUT`, unchecked.
    pub output: Option<String>,
}

impl TerminalEnvironment {
    /// Reads them.
    pub fn read() -> TerminalEnvironment {
        TerminalEnvironment {
            no_color: variable("NO_COLOR").is_some(),
            force_color: variable("CLICOLOR_FORCE").is_some_and(|value| value != "0"),
            dumb: variable("TERM").is_some_and(|value| value == "dumb"),
            log: variable("RUST_LOG"),
            output: variable("SMSOTP_OUTPUT"),
        }
    }
}
