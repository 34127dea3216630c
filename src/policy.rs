//! The settings of the rules.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::abuse::GuardPolicy;
use crate::limits::Limits;
use crate::locale::Locale;
use crate::purpose::{Purpose, PurposePolicy};
use crate::texts::Texts;

/// Every setting of the rules.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The name that the message shows: "Your ACME code is ...".
    pub app_name: String,
    /// The locale of messages for which none is asked.
    pub locale: Locale,
    /// Every purpose that codes are sent for.
    pub purposes: BTreeMap<Purpose, PurposePolicy>,
    /// The texts of messages without a code, by the names under which they are asked for.
    pub messages: BTreeMap<String, Texts>,
    /// The limits.
    pub limits: Limits,
    /// How many SMS segments an OTP message may take unless the caller allows more.
    pub segments_max: u32,
    /// If set, only these countries (ISO 3166 two letters) get messages.
    pub countries: Option<Vec<String>>,
    /// The guard against SMS pumping, with prices and ceilings.
    pub guard: GuardPolicy,
    /// How long finished otps and messages are kept before purge removes them.
    pub keep: Duration,
}

impl Policy {
    /// The settings of a declared purpose.
    pub fn purpose(&self, purpose: &Purpose) -> Option<&PurposePolicy> {
        self.purposes.get(purpose)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            app_name: "smsotp".to_owned(),
            locale: Locale::fallback(),
            purposes: Purpose::built_in().map(|purpose| (purpose, PurposePolicy::default())).collect(),
            messages: BTreeMap::new(),
            limits: Limits::default(),
            segments_max: 1,
            countries: None,
            guard: GuardPolicy::default(),
            keep: Duration::from_secs(24 * 3600),
        }
    }
}
