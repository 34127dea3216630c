//! The stories: real parts, one binary.
#![allow(clippy::unwrap_used)]

mod admitting;
mod auditing;
#[cfg(target_os = "linux")]
mod bounded;
mod callbacks;
mod canaries;
mod canary;
mod circles;
mod cli;
mod config_story;
mod console;
mod crashing;
mod database_trouble;
mod demo_story;
mod desk;
mod dispatching;
mod docs;
mod failover;
mod generated;
mod hostile;
mod idempotency;
mod keys;
mod layers;
mod limits;
mod machines;
#[cfg(target_os = "linux")]
mod memory;
mod pg;
mod pooler;
mod postgres;
mod processes;
mod prompts;
mod provider_trouble;
mod purging;
mod raw_sockets;
mod readme;
mod recipes;
mod rotation;
mod sandbox;
mod sending;
mod served;
mod serving;
mod stores;
mod terminal;
mod test_numbers;
mod tls;
mod tokens;
mod verifying;
mod window;
mod windows;
mod world;
