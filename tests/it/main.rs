//! The stories.
#![allow(clippy::unwrap_used)]

mod generated;
mod layers;
mod prompts;
