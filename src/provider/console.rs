//! Prints the message instead of sending it.
