//! The stories: real parts, one binary.
#![allow(clippy::unwrap_used)]

mod failover;
mod generated;
mod layers;
mod pg;
mod pooler;
mod postgres;
mod prompts;
mod sandbox;
mod sending;
mod stores;
mod verifying;
mod world;
