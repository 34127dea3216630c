//! Idempotency keys: the same key for the same thing gets the same answer.

use super::context::Caller;
use crate::audit::Actor;
use crate::clock::Timestamp;
use crate::error::{Code, Error, Result};
use crate::keys::IndexKey;
use crate::store::Reply;

/// The longest key, in bytes.
const KEY_MAX: usize = 255;

/// The row of a key and of what was asked under it. Tags alone: keys may hold what a caller would not want kept.
///
/// The same key is another one for each verb, for each access token, and for the command line.
pub(super) fn reply_of(index: &IndexKey, caller: &Caller, verb: &str, key: &str, asked: &str) -> Result<Reply> {
    if key.is_empty() || key.len() > KEY_MAX || key.chars().any(char::is_control) {
        return Err(Error::new(
            Code::VALUE_INVALID,
            format!("an idempotency key has 1 to {KEY_MAX} visible characters"),
        )
        .hint("Use something unique for each thing to be done once, for example a UUID."));
    }
    // A key holds no control character, so none can be made to look like another caller's.
    let whose = match caller.actor {
        Actor::Token(id) => format!("token {id}"),
        Actor::Os { .. } | Actor::Cron | Actor::System => String::new(),
    };
    Ok(Reply {
        tag: index.tag("idempotency-key", format!("{verb}\0{whose}\0{key}").as_bytes()),
        fingerprint: index.tag("idempotency-ask", asked.as_bytes()),
        message_id: None,
        answer: None,
        created_at: Timestamp(0),
    })
}

/// What a key is answered that was used for something else.
pub(super) fn mismatch() -> Error {
    Error::new(Code::IDEMPOTENCY_MISMATCH, "this idempotency key was used for something else")
        .hint("Use a new key for each thing to be done once.")
}
