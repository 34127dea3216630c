//! How the texts of plain messages are sealed while it is open whether they are out.

use std::fmt;

use secrecy::SecretString;
use zeroize::Zeroizing;

use super::seal::{open, seal};
use crate::code::KeyId;
use crate::error::{Code, Error, Result};
use crate::phone::Phone;

const TEXT_LABEL: &[u8] = b"smsotp/text/v1";

/// Seals the texts of messages; derived from a secret key.
pub struct TextKey {
    bytes: Zeroizing<[u8; 32]>,
    id: KeyId,
}

impl TextKey {
    /// The text key of the secret key with this id.
    pub(super) fn new(bytes: [u8; 32], id: KeyId) -> TextKey {
        TextKey { bytes: Zeroizing::new(bytes), id }
    }

    /// Seals the text of a message. The message's id and phone are bound to it: in the place of another one it does not open.
    ///
    /// Errors: `KEY_INVALID` when the system gives no random numbers.
    pub fn seal(&self, message_id: i64, phone: &Phone, text: &str) -> Result<Vec<u8>> {
        seal(&self.bytes, &about(message_id, phone), text.as_bytes())
    }

    /// Opens the text of a message.
    ///
    /// Errors: `KEY_INVALID` when anything differs from what was sealed; it is not known what.
    pub fn open(&self, message_id: i64, phone: &Phone, sealed: &[u8]) -> Result<SecretString> {
        let opened = open(&self.bytes, &about(message_id, phone), sealed);
        let text = opened.and_then(|opened| std::str::from_utf8(&opened).ok().map(SecretString::from));
        text.ok_or_else(|| {
            Error::new(Code::KEY_INVALID, format!("key {} does not open the text of message m{message_id}", self.id))
                .hint("The database was changed by other means than smsotp; restore it from a backup.")
        })
    }
}

fn about(message_id: i64, phone: &Phone) -> Vec<u8> {
    [TEXT_LABEL, &message_id.to_be_bytes(), phone.as_str().as_bytes()].concat()
}

impl fmt::Debug for TextKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TextKey({})", self.id)
    }
}
