//! What a caller asks of `send`.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::limits::Limit;
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
    /// The limits that staff sets aside this once. Audited.
    pub override_limits: Option<Override>,
    /// The same key gives the same answer.
    pub idempotency_key: Option<String>,
    /// The last lines for Android or WebOTP.
    pub endings: Endings,
    /// How many segments the text may take, if not the policy's.
    pub segments_max: Option<u32>,
    /// For how long to go on trying.
    pub timeout: Duration,
}

/// Limits that staff sets aside for one message.
#[derive(Clone, Debug)]
pub struct Override {
    /// Which.
    pub limits: Vec<Limit>,
    /// Why, for the audit log.
    pub reason: String,
}

/// A phone that was typed in.
pub enum Destination {
    /// A number that its country's plan knows.
    Known(Number),
    /// E.164 by shape alone: fine for a declared test number, else the error says what is wrong with it.
    Shape(Phone, Error),
}

impl Destination {
    /// Reads a number as it was typed: international, or national with `region` (ISO 3166 two letters).
    ///
    /// # Errors
    /// `PHONE_INVALID` where not even its shape is that of a phone number.
    pub fn parse(typed: &str, region: Option<&str>) -> Result<Destination> {
        match phone::parse(typed, region) {
            Ok(number) => Ok(Destination::Known(number)),
            Err(error) => match phone::shape(typed) {
                Ok(phone) => Ok(Destination::Shape(phone, error)),
                Err(_) => Err(error),
            },
        }
    }

    /// The phone.
    pub fn phone(&self) -> &Phone {
        match self {
            Destination::Known(number) => &number.phone,
            Destination::Shape(phone, _) => phone,
        }
    }

    /// The number, if its country's plan knows it.
    pub fn number(&self) -> Option<&Number> {
        match self {
            Destination::Known(number) => Some(number),
            Destination::Shape(..) => None,
        }
    }
}
