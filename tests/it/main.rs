//! The stories: real parts, one binary.
#![allow(clippy::unwrap_used)]

mod crashing;
mod generated;
mod layers;
mod processes;
mod prompts;
mod sandbox;
mod sending;
mod verifying;
mod world;
