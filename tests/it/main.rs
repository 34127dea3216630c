//! The stories: real parts, one binary.
#![allow(clippy::unwrap_used)]

mod auditing;
mod canaries;
mod console;
mod crashing;
mod dispatching;
mod docs;
mod failover;
mod generated;
mod idempotency;
mod keys;
mod layers;
mod limits;
mod pg;
mod pooler;
mod postgres;
mod processes;
mod prompts;
mod purging;
mod readme;
mod rotation;
mod sandbox;
mod sending;
mod serving;
mod stores;
mod test_numbers;
mod verifying;
mod window;
mod world;
