//! Sealing: XChaCha20-Poly1305 under a random nonce, which comes first.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use super::random::fill_random;
use crate::error::{Code, Error, Result};

const NONCE_LENGTH: usize = 24;

/// Seals `plain` and binds `about` to it.
///
/// Errors: `KEY_INVALID` when the system gives no random numbers.
pub(super) fn seal(key: &[u8; 32], about: &[u8], plain: &[u8]) -> Result<Vec<u8>> {
    let mut nonce = [0; NONCE_LENGTH];
    fill_random(&mut nonce)?;
    let sealed = XChaCha20Poly1305::new(key.into())
        .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: about })
        .map_err(|_| Error::new(Code::BUG, format!("{} bytes could not be sealed", plain.len())))?;
    Ok([&nonce[..], &sealed[..]].concat())
}

/// Opens what was sealed; `None` where anything differs from that: the key, what it is about, or a byte of it.
pub(super) fn open(key: &[u8; 32], about: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LENGTH>()?;
    let opened = XChaCha20Poly1305::new(key.into()).decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: about });
    opened.ok().map(Zeroizing::new)
}
