//! The binary: everything is in the library.

use std::alloc::System;

use zeroizing_alloc::ZeroAlloc;

/// Wipes memory before it is given back. Codes pass through buffers of other crates (requests and answers of the HTTP server and
/// client, JSON, forms), which nothing else would wipe.
#[global_allocator]
static WIPING: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> std::process::ExitCode {
    smsotp::cli::main()
}
