//! Less for the loader to do, which is a good part of what starting the program costs: a smaller table of relocations where
//! this machine's loader understands it, and the unwinder linked in instead of opened as a library of its own.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "how a build script speaks and is spoken to")]

use std::path::Path;
use std::process::Command;

/// The first glibc whose loader reads packed relative relocations (its NEWS for 2.36). An older one refuses to run them.
const PACKED_SINCE: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let wanted = |name: &str| std::env::var(name).unwrap_or_default();
    // A program for another machine runs where nobody can be asked.
    let here = wanted("HOST") == wanted("TARGET");
    let gnu = wanted("CARGO_CFG_TARGET_OS") == "linux" && wanted("CARGO_CFG_TARGET_ENV") == "gnu";
    if here
        && gnu
        && let Some(unwinder) = unwinder()
    {
        // rustc names `-lgcc_s` itself; where the linker looks first, that name stands for the archive.
        let out = wanted("OUT_DIR");
        if std::fs::write(Path::new(&out).join("libgcc_s.so"), format!("INPUT({unwinder})\n")).is_ok() {
            println!("cargo::rustc-link-arg-bins=-L{out}");
        }
    }
    if here && gnu && glibc().is_some_and(|version| version >= PACKED_SINCE) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Where this machine's compiler keeps the archive of its unwinder: it says a bare name where it has none. A linker script
/// takes no blanks in a name.
fn unwinder() -> Option<String> {
    let said = Command::new("cc").arg("-print-file-name=libgcc_eh.a").output().ok()?.stdout;
    let path = String::from_utf8(said).ok()?.trim().to_owned();
    (Path::new(&path).is_absolute() && !path.contains(char::is_whitespace)).then_some(path)
}

/// The version of this machine's glibc: `getconf` says "glibc 2.36".
fn glibc() -> Option<(u32, u32)> {
    let said = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?.stdout;
    let said = String::from_utf8(said).ok()?;
    let (major, minor) = said.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
