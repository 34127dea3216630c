//! Why a code is sent, and what that decides: how long it is valid, how many digits it has, what a re-send does.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::texts::Texts;

/// The name of a purpose: 1 to 64 of `a-z 0-9 _ -`, starting with a letter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Purpose(Arc<str>);

/// The purposes that need no declaration.
pub const BUILT_IN: [&str; 4] = ["registration", "login", "password_reset", "phone_verification"];

/// The purpose when none is named.
pub const DEFAULT: &str = "phone_verification";

impl Purpose {
    /// Checks the shape; [`Policy::purpose`](crate::policy::Policy::purpose) decides whether it is declared.
    pub fn parse(text: &str) -> Option<Purpose> {
        let ok = (1..=64).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
        ok.then(|| Purpose(text.into()))
    }
    /// The purposes of [`BUILT_IN`].
    pub fn built_in() -> impl Iterator<Item = Purpose> {
        BUILT_IN.iter().map(|name| Purpose((*name).into()))
    }
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a re-send does while a code is live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resend {
    /// The same code again, expiry and guesses unchanged: late and out-of-order SMS do no harm.
    #[default]
    Same,
    /// A new code; the old one is superseded.
    New,
}

/// The settings of one purpose.
#[derive(Clone, Debug, PartialEq)]
pub struct PurposePolicy {
    /// How long a code lives: 1 to 60 minutes. NIST SP 800-63B-4 §3.1.3.2 wants 10 at most.
    pub ttl: Duration,
    /// How many digits: 4 to 10. NIST SP 800-63B-4 §3.1.3.2 wants 6 at least.
    pub digits: u8,
    /// What a re-send does.
    pub resend: Resend,
    /// The wordings; where there is none for a message, it gets a built-in one. `{{ code }}` is required once, `{{ app }}`,
    /// `{{ minutes }}` and `{{ time }}` may be used.
    pub texts: Texts,
}

impl Default for PurposePolicy {
    fn default() -> Self {
        PurposePolicy { ttl: Duration::from_secs(600), digits: 6, resend: Resend::Same, texts: Texts::default() }
    }
}
