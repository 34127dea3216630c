//! The binary: everything is in the library.

#[cfg(target_env = "musl")]
use mimalloc::MiMalloc as Allocator;
#[cfg(not(target_env = "musl"))]
use std::alloc::System as Allocator;

use zeroizing_alloc::ZeroAlloc;

/// Wipes memory before it is given back. Codes pass through buffers of other crates (requests and answers of the HTTP server and
/// client, JSON, forms), which nothing else would wipe.
#[global_allocator]
static WIPING: ZeroAlloc<Allocator> = ZeroAlloc(Allocator);

fn main() -> std::process::ExitCode {
    smsotp::cli::main()
}
