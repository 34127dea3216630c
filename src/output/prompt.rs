//! Prompts. They appear only at a terminal: stdin and stderr are both terminals, and `--no-input` is absent.

use std::io::ErrorKind;

use dialoguer::{Confirm, Input, Password};
use secrecy::SecretString;

use super::escape::visible;
use super::printer::Output;
use crate::error::{Code, Error, Result};

/// One question, and what to give on the command line instead.
#[derive(Clone, Copy, Debug)]
pub struct Prompt<'a> {
    /// What is missing, in lower case: `phone number`.
    pub what: &'a str,
    /// How to give it without a prompt: `PHONE on the command line`, or `--yes`.
    pub instead: &'a str,
}

impl Output {
    /// Whether prompts are possible.
    ///
    /// The prompt library reads the terminal even where stdin is redirected, so stdin is checked here.
    pub fn can_prompt(&self) -> bool {
        self.terminal.stdin_tty && self.terminal.stderr_tty && !self.options.no_input
    }

    /// Prompts for a line. `NEEDS_TERMINAL` where that is not possible, `INTERRUPTED` on Ctrl-C.
    pub fn ask(&self, prompt: Prompt<'_>) -> Result<String> {
        self.require_prompt(prompt)?;
        let answer = Input::<String>::new().with_prompt(label(prompt)).allow_empty(true).interact();
        non_empty(prompt, answer.map_err(|error| prompt_error(prompt, error))?)
    }

    /// Prompts for a line that is not shown while it is typed.
    pub fn ask_secret(&self, prompt: Prompt<'_>) -> Result<SecretString> {
        self.require_prompt(prompt)?;
        let answer = Password::new().with_prompt(label(prompt)).allow_empty_password(true).interact();
        Ok(non_empty(prompt, answer.map_err(|error| prompt_error(prompt, error))?)?.into())
    }

    /// Asks a yes-or-no question; Enter means no. `what` is the question.
    pub fn confirm(&self, prompt: Prompt<'_>) -> Result<bool> {
        self.require_prompt(Prompt { what: "a yes to this", ..prompt })?;
        let answer = Confirm::new().with_prompt(label(prompt)).default(false).interact_opt();
        Ok(answer.map_err(|error| prompt_error(prompt, error))?.unwrap_or(false))
    }

    fn require_prompt(&self, prompt: Prompt<'_>) -> Result<()> {
        if self.can_prompt() {
            return Ok(());
        }
        let why =
            if self.options.no_input { "--no-input forbids prompts" } else { "there is no terminal to prompt on" };
        Err(Error::new(Code::NEEDS_TERMINAL, format!("{} is missing, and {why}", prompt.what))
            .hint(format!("Give {}", prompt.instead)))
    }
}

/// The terminal's settings from before a prompt: a hidden prompt that is interrupted leaves it without echo and cursor.
#[derive(Clone, Default)]
pub struct SavedTerminal {
    #[cfg(unix)]
    settings: Option<nix::sys::termios::Termios>,
}

impl SavedTerminal {
    /// Saves the settings of the terminal on stdin.
    pub fn save() -> SavedTerminal {
        SavedTerminal {
            #[cfg(unix)]
            settings: nix::sys::termios::tcgetattr(std::io::stdin()).ok(),
        }
    }

    /// Restores them. Does nothing where there was no terminal.
    pub fn restore(&self) {
        #[cfg(unix)]
        if let Some(settings) = &self.settings {
            use nix::sys::termios::{SetArg, tcsetattr};
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, settings);
            let _ = dialoguer::console::Term::stderr().show_cursor();
        }
    }
}

fn label(prompt: Prompt<'_>) -> String {
    let mut label = visible(prompt.what).into_owned();
    if let Some(first) = label.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    label
}

fn non_empty(prompt: Prompt<'_>, answer: String) -> Result<String> {
    if answer.trim().is_empty() { Err(missing(prompt)) } else { Ok(answer) }
}

fn missing(prompt: Prompt<'_>) -> Error {
    Error::new(Code::NEEDS_TERMINAL, format!("no {} was given", prompt.what))
}

fn prompt_error(prompt: Prompt<'_>, error: dialoguer::Error) -> Error {
    let dialoguer::Error::IO(error) = error;
    match error.kind() {
        ErrorKind::Interrupted => Error::new(Code::INTERRUPTED, "interrupted"),
        ErrorKind::UnexpectedEof => missing(prompt),
        ErrorKind::InvalidData => Error::new(Code::VALUE_INVALID, format!("the {} is not valid text", prompt.what)),
        _ => Error::new(Code::NEEDS_TERMINAL, "cannot prompt on this terminal")
            .because(error)
            .hint(format!("Give {}", prompt.instead)),
    }
}
