//! The stories: real parts, one binary.
#![allow(clippy::unwrap_used)]

mod console;
mod docs;
mod generated;
mod layers;
mod prompts;
mod readme;
mod sandbox;
mod sending;
mod verifying;
mod world;
