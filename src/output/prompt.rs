//! Prompts. They appear only at a terminal: stdin and stderr are both terminals, and `--no-input` is absent.

use std::io::ErrorKind;

use dialoguer::{Confirm, Input, Password};
use secrecy::{ExposeSecret, SecretString};

use super::escape::visible;
use super::printer::Output;
use crate::error::{Class, Code, Error, Result};

/// How often one thing is asked for.
const TRIES: u32 = 3;

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

    /// Prompts for a line until `read` takes it, three times at most: a typo is no reason to begin again.
    ///
    /// # Errors
    /// `NEEDS_TERMINAL` where that is not possible, `INTERRUPTED` on Ctrl-C, and what was wrong with the last line.
    pub fn ask<T>(&self, prompt: Prompt<'_>, read: impl Fn(&str) -> Result<T>) -> Result<T> {
        self.until_read(prompt, read, || {
            Input::<String>::new().with_prompt(label(prompt)).allow_empty(true).interact().map(SecretString::from)
        })
    }

    /// As [`Output::ask`], for a line that is not shown while it is typed.
    ///
    /// # Errors
    /// As [`Output::ask`].
    pub fn ask_secret<T>(&self, prompt: Prompt<'_>, read: impl Fn(&str) -> Result<T>) -> Result<T> {
        self.until_read(prompt, read, || {
            let password = Password::new().with_prompt(label(prompt)).allow_empty_password(true);
            password.interact().map(SecretString::from)
        })
    }

    fn until_read<T>(
        &self,
        prompt: Prompt<'_>,
        read: impl Fn(&str) -> Result<T>,
        interact: impl Fn() -> dialoguer::Result<SecretString>,
    ) -> Result<T> {
        self.require_prompt(prompt)?;
        let mut tries = TRIES;
        loop {
            tries -= 1;
            let answer = interact().map_err(|error| prompt_error(prompt, error))?;
            let text = answer.expose_secret();
            let read = if text.trim().is_empty() { Err(missing(prompt)) } else { read(text) };
            match read {
                Err(error) if tries > 0 && matches!(error.class(), Class::Data | Class::Usage) => self.fail(&error),
                last => return last,
            };
        }
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

    /// Ends the line that a signal interrupted: a prompt, or what the terminal echoed.
    pub fn end_line(&self) {
        #[cfg(unix)]
        if self.settings.is_some() {
            // Nothing is left to be done about a terminal that is gone.
            let _ = dialoguer::console::Term::stderr().write_line("");
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
