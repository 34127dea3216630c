//! The stories: real parts, one binary.
#![allow(clippy::unwrap_used)]

mod books_trouble;
mod canary;
mod cli;
mod config_story;
mod console;
mod crashing;
mod demo_story;
mod desk;
mod dispatching;
mod docs;
mod generated;
mod hostile;
mod idempotency;
mod layers;
mod processes;
mod prompts;
mod provider_trouble;
mod readme;
mod sandbox;
mod sending;
mod terminal;
mod verifying;
mod world;
