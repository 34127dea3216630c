//! SIDs and secrets in Twilio's form.

use base16ct::lower::encode_string;
use rand::TryRng;
use rand::rngs::SysRng;

use crate::error::{Code, Error, Result};

/// A new SID: two letters and 32 random hex digits.
#[expect(clippy::disallowed_methods, reason = "a SID is a name, not a secret")]
pub(super) fn random_sid(prefix: &str) -> String {
    format!("{prefix}{}", encode_string(&rand::random::<[u8; 16]>()))
}

/// True for two given letters and 32 hex digits.
pub(super) fn is_sid(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// 32 hex digits from the operating system's secure random numbers.
pub(super) fn random_secret() -> Result<String> {
    let mut bytes = [0; 16];
    SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(|e| Error::new(Code::BUG, "the operating system gives no random numbers").because(e))?;
    Ok(encode_string(&bytes))
}
