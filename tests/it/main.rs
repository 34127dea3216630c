//! The stories: real parts, one binary.
#![allow(clippy::unwrap_used)]

mod console;
mod crashing;
mod dispatching;
mod docs;
mod generated;
mod idempotency;
mod layers;
mod processes;
mod prompts;
mod readme;
mod sandbox;
mod sending;
mod verifying;
mod world;
