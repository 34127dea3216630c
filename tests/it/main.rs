//! The stories.

mod generated;
mod layers;
