//! The stories: real parts, one binary.
#![allow(clippy::unwrap_used)]

mod generated;
mod layers;
mod prompts;
mod sandbox;
mod sending;
mod serving;
mod verifying;
mod window;
mod world;
