//! The stories: real parts, one binary.
#![allow(clippy::unwrap_used)]

mod cli;
mod desk;
mod generated;
mod layers;
mod prompts;
mod sandbox;
mod sending;
mod verifying;
mod world;
