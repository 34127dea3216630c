//! Verify's templates: the texts that every account has. Those of an account's own are made by Twilio's staff, so there are none here.

use super::answer::TwilioError;

/// A text with `{{friendly_name}}` and `{{code}}`.
pub(super) struct Template {
    pub sid: &'static str,
    pub name: &'static str,
    pub text: &'static str,
    /// `sms` and `voice`, as templates call them.
    pub channels: &'static [&'static str],
}

/// All of them.
pub(super) const TEMPLATES: [Template; 3] = [
    Template {
        sid: "HJ00000000000000000000000000000001",
        name: "Base Verification Template 2",
        text: "Your {{friendly_name}} verification code is: {{code}}",
        channels: &["sms", "voice"],
    },
    Template {
        sid: "HJ00000000000000000000000000000002",
        name: "Base Verification Template 2 with do not share",
        text: "Your {{friendly_name}} verification code is: {{code}}. Do not share this code with anyone.",
        channels: &["sms"],
    },
    Template {
        sid: "HJ00000000000000000000000000000003",
        name: "Base Verification Template 3",
        text: "Your verification code is: {{code}}. Do not share it.",
        channels: &["sms", "voice"],
    },
];

/// When Twilio made them.
pub(super) const DATE: &str = "2021-07-29T20:38:28Z";

/// The one with this SID, or 60228.
pub(super) fn find(sid: &str) -> Result<&'static Template, TwilioError> {
    let found = TEMPLATES.iter().find(|template| template.sid == sid);
    found.ok_or_else(|| TwilioError::new(60228, format!("The template {sid} was not found")))
}

impl Template {
    /// It is written for a channel of a verification.
    pub fn is_for(&self, channel: &str) -> bool {
        self.channels.contains(&if channel == "call" { "voice" } else { channel })
    }

    /// The text with a name and a code.
    pub fn filled(&self, friendly_name: &str, code: &str) -> String {
        self.text.replace("{{friendly_name}}", friendly_name).replace("{{code}}", code)
    }
}
