//! Questions to a person. They are asked only where a person sits: stdin and stderr are both terminals and `--no-input` is absent.

use std::io::ErrorKind;

use dialoguer::{Confirm, Input, Password, Select};
use secrecy::SecretString;

use super::{Output, visible};
use crate::error::{Code, Error, Result};

/// One question, and what to give on the command line instead.
#[derive(Clone, Copy, Debug)]
pub struct Prompt<'a> {
    /// What is asked for, in lower case: `phone number`.
    pub what: &'a str,
    /// How to give it without being asked: `PHONE on the command line`, or `--yes`.
    pub instead: &'a str,
}

impl Output {
    /// Whether questions can be asked.
    ///
    /// The prompt library reads the terminal even where stdin is redirected, so the test for stdin has to be ours.
    pub fn can_ask(&self) -> bool {
        self.screen.stdin_tty && self.screen.stderr_tty && !self.wishes.no_input
    }

    /// Asks for a line. `NEEDS_TERMINAL` where nobody can be asked, `INTERRUPTED` on Ctrl-C.
    pub fn ask(&self, prompt: Prompt<'_>) -> Result<String> {
        self.must_ask(prompt)?;
        let answer = Input::<String>::new().with_prompt(label(prompt)).allow_empty(true).interact();
        non_empty(prompt, answer.map_err(|error| asked(prompt, error))?)
    }

    /// Asks for a line that is not shown while it is typed.
    pub fn ask_secret(&self, prompt: Prompt<'_>) -> Result<SecretString> {
        self.must_ask(prompt)?;
        let answer = Password::new().with_prompt(label(prompt)).allow_empty_password(true).interact();
        Ok(non_empty(prompt, answer.map_err(|error| asked(prompt, error))?)?.into())
    }

    /// Lets the person choose one of `choices`; `first` is the one that Enter takes. Answers its index.
    pub fn choose(&self, prompt: Prompt<'_>, choices: &[&str], first: usize) -> Result<usize> {
        self.must_ask(prompt)?;
        let items: Vec<_> = choices.iter().map(|choice| visible(choice)).collect();
        let answer = Select::new().with_prompt(label(prompt)).items(&items).default(first).interact_opt();
        answer.map_err(|error| asked(prompt, error))?.ok_or_else(|| nothing(prompt))
    }

    /// Asks a yes-or-no question; Enter means no. `what` is the question.
    pub fn confirm(&self, prompt: Prompt<'_>) -> Result<bool> {
        self.must_ask(Prompt { what: "a yes to this", ..prompt })?;
        let answer = Confirm::new().with_prompt(label(prompt)).default(false).interact_opt();
        Ok(answer.map_err(|error| asked(prompt, error))?.unwrap_or(false))
    }

    fn must_ask(&self, prompt: Prompt<'_>) -> Result<()> {
        if self.can_ask() {
            return Ok(());
        }
        let why = if self.wishes.no_input { "--no-input forbids to ask" } else { "there is no terminal to ask on" };
        Err(Error::new(Code::NEEDS_TERMINAL, format!("{} is missing, and {why}", prompt.what))
            .hint(format!("Give {}", prompt.instead)))
    }
}

/// Gives the terminal back as it was found: a hidden prompt that is interrupted leaves it mute and without a cursor.
#[derive(Clone, Default)]
pub struct Restore {
    #[cfg(unix)]
    found: Option<nix::sys::termios::Termios>,
}

impl Restore {
    /// Remembers the terminal on stdin as it is now.
    pub fn remember() -> Restore {
        Restore {
            #[cfg(unix)]
            found: nix::sys::termios::tcgetattr(std::io::stdin()).ok(),
        }
    }

    /// Puts it back. Does nothing where there was no terminal.
    pub fn put_back(&self) {
        #[cfg(unix)]
        if let Some(found) = &self.found {
            use nix::sys::termios::{SetArg, tcsetattr};
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, found);
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
    if answer.trim().is_empty() { Err(nothing(prompt)) } else { Ok(answer) }
}

fn nothing(prompt: Prompt<'_>) -> Error {
    Error::new(Code::NEEDS_TERMINAL, format!("no {} was given", prompt.what))
}

fn asked(prompt: Prompt<'_>, error: dialoguer::Error) -> Error {
    let dialoguer::Error::IO(error) = error;
    match error.kind() {
        ErrorKind::Interrupted => Error::new(Code::INTERRUPTED, "interrupted"),
        ErrorKind::UnexpectedEof => nothing(prompt),
        ErrorKind::InvalidData => Error::new(Code::VALUE_INVALID, format!("the {} is not valid text", prompt.what)),
        _ => Error::new(Code::NEEDS_TERMINAL, "cannot ask on this terminal")
            .because(error)
            .hint(format!("Give {}", prompt.instead)),
    }
}
