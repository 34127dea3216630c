//! The stand-in for Twilio, seen from outside: what a client of Twilio's would see, faults and callbacks included.
#![allow(clippy::unwrap_used, reason = "a story may fail")]

mod callbacks;
mod faults;
mod house;
mod messages;
mod scene;
