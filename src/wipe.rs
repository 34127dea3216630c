//! Wiping what nothing else wipes: memory of the stack below the functions that run.

/// How much of the stack is wiped, in bytes: more than a request takes of it.
const DEPTH: usize = 64 * 1024;

/// Wipes what functions that have returned left on the stack of this thread. A thread that waits keeps it until it runs again, and it
/// may hold a code.
#[inline(never)]
pub(crate) fn unused_stack() {
    // Something that nobody reads would not be written.
    std::hint::black_box(&mut [0u8; DEPTH]);
}
