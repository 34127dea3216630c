//! A smaller table of relocations where the loader of this machine understands it: reading the large one is a good part of
//! what starting the program costs.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "how a build script speaks and is spoken to")]

use std::process::Command;

/// The first glibc whose loader reads packed relative relocations (its NEWS for 2.36). An older one refuses to run them.
const PACKED_SINCE: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let wanted = |name: &str| std::env::var(name).unwrap_or_default();
    // A program for another machine runs where nobody can be asked.
    let here = wanted("HOST") == wanted("TARGET");
    let gnu = wanted("CARGO_CFG_TARGET_OS") == "linux" && wanted("CARGO_CFG_TARGET_ENV") == "gnu";
    if here && gnu && glibc().is_some_and(|version| version >= PACKED_SINCE) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of this machine's glibc: `getconf` says "glibc 2.36".
fn glibc() -> Option<(u32, u32)> {
    let said = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?.stdout;
    let said = String::from_utf8(said).ok()?;
    let (major, minor) = said.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
