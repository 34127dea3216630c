//! The stories: real parts, one binary.

mod generated;
mod layers;
mod sandbox;
mod sending;
mod verifying;
mod world;
