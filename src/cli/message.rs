//! `smsotp message`: messages without a code.

mod args;
mod batch;
mod lines;
mod one;

use super::Call;
use crate::error::{Class, Result};
use crate::output::Output;

/// Send messages without a code
#[derive(Debug, clap::Subcommand)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp message send +14155552671 'Your table is ready.'\n  \
    $ smsotp list --messages")]
pub enum Verb {
    Send(args::Args),
}

/// Parses, does, shows.
pub fn run(verb: Verb, call: &Call, out: &mut Output) -> Result<Class> {
    match verb {
        Verb::Send(args) => match args.jsonl.clone() {
            Some(path) => batch::run(&path, &args, call, out),
            None => one::run(args, call, out),
        },
    }
}
