//! What a caller asks of `send`.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::limits::Limit;
use crate::locale::Locale;
use crate::money::Money;
use crate::otp::User;
use crate::phone::{self, Number, Phone};
use crate::purpose::Purpose;
use crate::template::Endings;

/// What to send, and how.
pub struct SendOtp {
    /// Where to.
    pub to: Destination,
    /// Why.
    pub purpose: Purpose,
    /// For whom; empty where the host system has no users.
    pub user: User,
    /// A new code although one is live; the old one is superseded.
    pub new_code: bool,
    /// The caller had the person solve a challenge, as `challenge_required` asked for. Audited.
    pub challenge_passed: bool,
    /// What staff sets aside this once. Audited.
    pub override_limits: Option<Override>,
    /// The same key gives the same answer.
    pub idempotency_key: Option<String>,
    /// The last lines for Android or WebOTP.
    pub endings: Endings,
    /// The locale of the text; `None`: the policy's.
    pub locale: Option<Locale>,
    /// How many segments the text may take, if not the policy's.
    pub segments_max: Option<u32>,
    /// For how long to go on trying.
    pub timeout: Duration,
}

/// How far ahead a message can be booked.
pub const BOOKED_MAX: Duration = Duration::from_secs(35 * 24 * 3600);

/// What a message without a code says: 1 to 1600 characters.
pub enum Content {
    /// This text.
    Text(SecretString),
    /// One of the policy's templates ([`Policy::messages`](crate::policy::Policy::messages)), filled in.
    Template {
        /// Its name.
        name: String,
        /// A value for each of its variables.
        values: BTreeMap<String, String>,
        /// The locale of the text; `None`: the policy's.
        locale: Option<Locale>,
    },
}

impl Content {
    /// A text.
    pub fn text(text: impl Into<String>) -> Content {
        Content::Text(SecretString::from(text.into()))
    }
}

/// What staff sets aside for one message.
#[derive(Clone, Debug)]
pub struct Override {
    /// Which limits.
    pub limits: Vec<Limit>,
    /// That no country's plan knows the number: new ranges are given out before the plans say so.
    pub number: bool,
    /// The guard's caps and its detector; not its ceilings, and not that a country is closed.
    pub caps: bool,
    /// Why, for the audit log.
    pub reason: String,
}

/// A message without a code.
pub struct SendMessage {
    /// Where to.
    pub to: Destination,
    /// What it says.
    pub content: Content,
    /// What staff sets aside this once. Audited.
    pub override_limits: Option<Override>,
    /// The same key gives the same answer.
    pub idempotency_key: Option<String>,
    /// How many segments the text may take: 1 to 10.
    pub segments_max: u32,
    /// What it may cost; `None`: what the guard's ceilings let pass.
    pub cost_max: Option<Money>,
    /// When to send it; `None`, or a time that is past: now. At most 35 days ahead ([`check_booking`](crate::engine::check_booking)).
    pub at: Option<Timestamp>,
    /// For how long from then on it makes sense to send it: a minute to ten hours, the longest that Twilio tries to deliver a message
    /// (<https://www.twilio.com/docs/messaging/api/message-resource>, `ValidityPeriod`).
    pub valid_for: Duration,
    /// For how long to go on trying now. What a busy provider does not take is kept until the message is not wanted any more.
    pub timeout: Duration,
}

/// A phone that was typed in.
pub enum Destination {
    /// A number that its country's plan knows.
    Known(Number),
    /// E.164 by shape alone: fine for a declared test number, and where staff vouches for it; else the error says what is wrong
    /// with it.
    Shape(Phone, Error),
}

impl Destination {
    /// The number, if its country's plan knows it, or staff says that it may be taken without.
    pub(super) fn number(&self, staff: Option<&Override>) -> Option<Number> {
        match self {
            Destination::Known(number) => Some(number.clone()),
            Destination::Shape(phone, _) => {
                staff.is_some_and(|staff| staff.number).then(|| phone::unplanned(phone.clone()))
            }
        }
    }

    /// Reads a number as it was typed: international, or national with `region` (ISO 3166 two letters).
    ///
    /// # Errors
    /// `PHONE_INVALID` where not even its shape is that of a phone number.
    pub fn parse(typed: &str, region: Option<&str>) -> Result<Destination> {
        let recognised = phone::recognise(typed, region)?;
        Ok(match recognised.number {
            Ok(number) => Destination::Known(number),
            Err(error) => Destination::Shape(recognised.phone, error),
        })
    }

    /// The phone.
    pub fn phone(&self) -> &Phone {
        match self {
            Destination::Known(number) => &number.phone,
            Destination::Shape(phone, _) => phone,
        }
    }
}
