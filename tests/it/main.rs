//! The stories.
mod sandbox;
