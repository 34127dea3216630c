//! What the process is connected to, and how the user wants results to be written.

use std::io::IsTerminal;

use clap::ValueEnum;

use super::layout::Paint;

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns and prose (the default on a terminal)
    Table,
    /// Tab-separated values without headings (the default in a pipe)
    Tsv,
    /// Comma-separated values with headings, safe to open in a spreadsheet
    Csv,
    /// One JSON document
    Json,
    /// One JSON object per line
    Jsonl,
}

/// When colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The environment's settings for colours. The configuration reads them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColorEnvironment {
    /// `NO_COLOR` is set and not empty.
    pub no_color: bool,
    /// `CLICOLOR_FORCE` is set, not empty and not `0`.
    pub force: bool,
    /// `TERM` is `dumb`.
    pub dumb: bool,
}

/// What the process is connected to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Standard input is a terminal.
    pub stdin_tty: bool,
    /// Standard output is a terminal.
    pub stdout_tty: bool,
    /// Standard error is a terminal.
    pub stderr_tty: bool,
    /// Columns of the terminal on stdout, where they are known.
    pub width: Option<u16>,
    /// The environment's settings for colours.
    pub colors: ColorEnvironment,
    /// The environment's format of results; a flag wins over it.
    pub format: Option<Format>,
}

impl Terminal {
    /// What this process is connected to.
    ///
    /// `format` is `SMSOTP_OUTPUT`; one that does not exist is an error of the configuration, which is read later.
    pub fn detect(colors: ColorEnvironment, format: Option<String>) -> Terminal {
        let stdout_tty = std::io::stdout().is_terminal();
        Terminal {
            stdin_tty: std::io::stdin().is_terminal(),
            stdout_tty,
            stderr_tty: std::io::stderr().is_terminal(),
            width: stdout_tty.then(|| dialoguer::console::Term::stdout().size_checked()).flatten().map(|size| size.1),
            colors,
            format: format.and_then(|name| <Format as clap::ValueEnum>::from_str(&name, false).ok()),
        }
    }

    /// `--color` wins over `NO_COLOR`, that over `CLICOLOR_FORCE`, that over what the stream is.
    pub(super) fn paints(&self, choice: ColorChoice, tty: bool) -> Paint {
        Paint(match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto if self.colors.no_color => false,
            ColorChoice::Auto if self.colors.force => true,
            ColorChoice::Auto => tty && !self.colors.dumb,
        })
    }
}

/// How the user wants results and messages to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputOptions {
    /// `-o`; `None`: table on a terminal, TSV elsewhere.
    pub format: Option<Format>,
    /// `--color`.
    pub color: ColorChoice,
    /// `-q`: no messages; errors stay.
    pub quiet: bool,
    /// `--reveal`: phones in full.
    pub reveal: bool,
    /// `--no-input`: never prompt.
    pub no_input: bool,
}
