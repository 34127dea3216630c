//! The only printer: results on stdout as table, TSV or JSON, messages on stderr, and every foreign character made harmless.

mod escape;
mod json;
mod layout;
mod logs;
mod printer;
mod progress;
mod prompt;
mod terminal;
mod view;
mod writer;

pub use escape::{visible, visible_lines};
pub use json::SCHEMA_VERSION;
pub use layout::{Layout, Paint, Table};
pub use logs::{LogForm, start_logs};
pub use printer::Output;
pub use progress::Progress;
pub use prompt::{Prompt, SavedTerminal};
pub use terminal::{ColorChoice, ColorEnvironment, Format, OutputOptions, Terminal};
pub use view::{Item, List, Render, View};
pub use writer::{MessageWriter, Streams};

#[cfg(test)]
mod tests;
