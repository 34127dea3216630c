//! Random bytes from the operating system.

use rand::TryRng;
use rand::rngs::SysRng;
use zeroize::Zeroizing;

use crate::error::{Code, Error, Result};

/// 32 random bytes from the operating system.
pub(crate) fn random_key() -> Result<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0; 32]);
    fill_random(bytes.as_mut_slice())?;
    Ok(bytes)
}

/// Fills `bytes` with random bytes from the operating system.
///
/// Errors: `KEY_INVALID` when the system gives none.
pub fn fill_random(bytes: &mut [u8]) -> Result<()> {
    SysRng
        .try_fill_bytes(bytes)
        .map_err(|error| Error::new(Code::KEY_INVALID, "the operating system gives no random numbers").because(error))
}
