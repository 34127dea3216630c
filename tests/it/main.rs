//! The stories.

mod generated;
mod layers;
mod prompts;
