//! The stories: real parts, one binary.
#![allow(clippy::unwrap_used)]

mod crashing;
mod dispatching;
mod generated;
mod idempotency;
mod layers;
mod processes;
mod prompts;
mod sandbox;
mod sending;
mod verifying;
mod world;
