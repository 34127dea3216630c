//! What a caller asks of `send`.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::limits::Limit;
use crate::locale::Locale;
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

impl SendOtp {
    /// The number, if its country's plan knows it, or staff says that it may be taken without.
    pub(super) fn number(&self) -> Option<Number> {
        match &self.to {
            Destination::Known(number) => Some(number.clone()),
            Destination::Shape(phone, _) => self.unplanned().then(|| phone::unplanned(phone.clone())),
        }
    }

    /// Whether staff vouches for a number that no plan knows.
    pub(super) fn unplanned(&self) -> bool {
        self.override_limits.as_ref().is_some_and(|staff| staff.number)
    }
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
