//! Wiping what nothing else wipes: memory of the stack below the functions that run.

/// How much of the stack is wiped, in bytes: more than a request takes of it. Without optimisation that is more than 64 KiB, where a
/// code was found.
const DEPTH: usize = if cfg!(debug_assertions) { 256 * 1024 } else { 64 * 1024 };

/// Wipes what functions that have returned left on the stack of this thread. A thread that waits keeps it until it runs again, and it
/// may hold a code.
#[inline(never)]
pub(crate) fn unused_stack() {
    // Something that nobody reads would not be written.
    std::hint::black_box(&mut [0u8; DEPTH]);
}
