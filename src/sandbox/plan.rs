//! What is done to status callbacks on request.

use serde::{Deserialize, Serialize};

/// What is done to status callbacks. By default each is sent once, in order, at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallbackPlan {
    /// Each waits for so many milliseconds before it is sent.
    pub late_millis: u64,
    /// Callbacks about these statuses are never sent; `*` means all.
    pub lost: Vec<String>,
    /// A message's callbacks are held back until its last status, and then sent in reverse order.
    pub reversed: bool,
    /// Each is sent twice.
    pub doubled: bool,
}
