//! `smsotp completions`: the completion script of a shell.

use clap_complete::Shell;

use crate::error::{Class, Result};
use crate::output::Output;

/// Print the completion script of a shell
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp completions bash > ~/.local/share/bash-completion/completions/smsotp\n  \
    $ smsotp completions zsh > ~/.zfunc/_smsotp\n  \
    $ smsotp completions fish > ~/.config/fish/completions/smsotp.fish")]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Prints the script.
pub fn run(args: Args, out: &mut Output) -> Result<Class> {
    out.text(&script(args.shell), None)
}

/// The completion script of a shell.
pub fn script(shell: Shell) -> String {
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut super::command(), "smsotp", &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
