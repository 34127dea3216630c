//! The stories: real parts, one binary.
#![allow(clippy::unwrap_used)]

mod callbacks;
mod console;
mod crashing;
mod dispatching;
mod docs;
mod generated;
mod idempotency;
mod layers;
mod processes;
mod prompts;
mod raw_sockets;
mod readme;
mod recipes;
mod sandbox;
mod sending;
mod served;
mod serving;
mod tokens;
mod verifying;
mod window;
mod world;
