//! The stand-in for Twilio from outside: what a client of Twilio's sees, faults and callbacks included.
#![allow(clippy::unwrap_used, reason = "a story may fail")]

mod attempts;
mod callbacks;
mod faults;
mod messages;
mod operations;
mod own_features;
mod rate_limits;
mod scene;
mod verify;
