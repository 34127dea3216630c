//! The floor of starting: a program that does nothing.

fn main() {}
