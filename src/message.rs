//! One SMS and how far it got. Its state moves forward only, whatever order delivery reports arrive in.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::abuse::Counted;
use crate::clock::Timestamp;
use crate::code::KeyId;
use crate::locale::Locale;
use crate::money::Money;
use crate::phone::Phone;
use crate::template::Endings;

/// One message as the database keeps it. The text of a code's message is not kept: it is computed again when it is needed. That of a
/// plain message is kept, sealed, until it is known that it is out or never will be.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Shown as `m` and this integer; never used twice.
    pub id: i64,
    /// The otp whose code it carries; `None` for a plain message.
    pub otp_id: Option<i64>,
    /// Where it goes.
    pub phone: Phone,
    /// The provider that it was given to: `twilio`, `console`, or `test` for a declared test number.
    pub provider: String,
    /// How far it got.
    pub state: State,
    /// The provider's id, once accepted.
    pub provider_id: Option<String>,
    /// The provider's error code, if it failed.
    pub error_code: Option<u32>,
    /// What went wrong, without secrets.
    pub error: Option<String>,
    /// How many SMS segments it takes.
    pub segments: u32,
    /// How often it was handed to the provider.
    pub attempts: u32,
    /// When it was counted in the limits: what is given back when it surely was not sent.
    pub reserved_at: Timestamp,
    /// It is not sent after this: the end of its code, or what was asked for with a plain message.
    pub expires_at: Timestamp,
    /// When the last attempt began.
    pub attempt_at: Option<Timestamp>,
    /// When the worker has to handle it again: a retry, the end of a lease, the next check of an unknown one.
    pub due_at: Option<Timestamp>,
    /// When an unknown message was first looked for and not found.
    pub missed_at: Option<Timestamp>,
    /// The last change.
    pub updated_at: Timestamp,
    /// The last lines that the text needs for Android or WebOTP.
    pub endings: Endings,
    /// The locale that was asked for; `None`: the policy's.
    pub locale: Option<Locale>,
    /// The country that it is counted in, two letters; empty: none.
    pub country: String,
    /// What was reserved for it, all segments.
    pub price: Money,
    /// What it has cost in the end; `None`: not known, so what was reserved stands.
    pub settled: Option<Money>,
    /// How the guard counts it.
    pub counted: Counted,
    /// It was counted among the countries that are not proven.
    pub pooled: bool,
    /// The guard counts it as open: it was neither proven nor reported to have failed.
    pub open: bool,
    /// The text of a plain message whose outcome is open; `None` once it is settled, and for a code.
    pub text: Option<SealedText>,
}

/// The text of a plain message, sealed with a secret key and bound to the message and its phone.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedText {
    /// The public id of the key.
    pub key_id: KeyId,
    /// Nonce, text and tag.
    pub sealed: Vec<u8>,
}

impl fmt::Debug for SealedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedText({})", self.key_id)
    }
}

impl Message {
    /// For how long it makes sense to send it.
    pub fn left(&self, now: Timestamp) -> Duration {
        self.expires_at.since(now)
    }

    /// Whether its text may be needed again: it may have to be sent, or found among those that the provider has.
    pub fn needs_text(&self) -> bool {
        self.state.is_unsettled() && self.due_at.is_some()
    }

    /// What it costs, as far as that is known.
    pub fn cost(&self) -> Money {
        self.settled.unwrap_or(self.price)
    }
}

/// How far a message got.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::IntoStaticStr,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum State {
    /// Booked for a later time; surely not sent.
    Scheduled,
    /// Waiting for its (next) attempt; surely not sent.
    Queued,
    /// Being handed to the provider; no answer is recorded yet.
    Sending,
    /// It may or may not have been accepted.
    Unknown,
    /// The provider took it.
    Accepted,
    /// The carrier took it. Some carriers never report more than this.
    Sent,
    /// The carrier could not deliver it.
    Undelivered,
    /// It arrived.
    Delivered,
    /// It was read (WhatsApp, RCS).
    Read,
    /// It was not sent.
    Failed,
    /// It was canceled before it was sent.
    Canceled,
}

impl State {
    /// All states in the order of their declaration.
    pub const ALL: &[State] = <State as strum::VariantArray>::VARIANTS;
    /// The name in the database and in JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The state with that name.
    pub fn parse(name: &str) -> Option<State> {
        name.parse().ok()
    }

    /// True while it may be out and nobody knows: purge leaves it alone. What waits for an attempt is not out, and after the end of
    /// its code it never will be.
    pub fn is_open(self) -> bool {
        matches!(self, State::Sending | State::Unknown)
    }

    /// True while what was reserved for it may have to be given back: its row is needed for that.
    pub fn is_unsettled(self) -> bool {
        self.is_open() || self.is_waiting()
    }

    /// True while it waits to be handed to the provider: it can be claimed, or canceled.
    pub fn is_waiting(self) -> bool {
        matches!(self, State::Scheduled | State::Queued)
    }

    /// True where the provider took it, or may have.
    pub fn may_be_out(self) -> bool {
        !self.is_waiting() && !matches!(self, State::Failed | State::Canceled)
    }

    /// True where the provider took it and its end is not known: it is worth asking for.
    pub fn is_on_its_way(self) -> bool {
        matches!(self, State::Accepted | State::Sent)
    }

    /// True where no later report will change it (a delivered WhatsApp message may still be read).
    pub fn is_final(self) -> bool {
        matches!(self, State::Undelivered | State::Delivered | State::Read | State::Failed | State::Canceled)
    }

    /// The state after the provider reported `reported`; `None` where that is old.
    ///
    /// Forward only: accepted → sent → undelivered | delivered → read; failed and canceled end what has not gone out.
    pub fn after_report(self, reported: State) -> Option<State> {
        (reported.rank() > self.rank()).then_some(reported)
    }

    fn rank(self) -> u8 {
        match self {
            State::Scheduled | State::Queued => 0,
            State::Sending | State::Unknown => 1,
            State::Accepted => 2,
            State::Sent => 3,
            State::Undelivered | State::Failed | State::Canceled => 4,
            // A late receipt may still correct "undelivered"; nothing comes after "read".
            State::Delivered => 5,
            State::Read => 6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_moves_a_message_forward_only_in_whatever_order_it_arrives() {
        let reports = [State::Accepted, State::Sent, State::Delivered, State::Read];
        for first in 0..reports.len() {
            for second in 0..reports.len() {
                let mut state = State::Sending;
                for reported in [reports[first], reports[second]] {
                    state = state.after_report(reported).unwrap_or(state);
                }
                assert_eq!(state, reports[first.max(second)], "{:?} then {:?}", reports[first], reports[second]);
            }
        }
        assert_eq!(State::Delivered.after_report(State::Sent), None);
        assert_eq!(State::Sent.after_report(State::Queued), None);
        assert_eq!(State::Undelivered.after_report(State::Delivered), Some(State::Delivered));
    }

    #[test]
    fn each_state_says_whether_it_is_open_may_be_out_or_is_final() {
        use State::*;
        let those = |is: fn(State) -> bool| State::ALL.iter().copied().filter(|state| is(*state)).collect::<Vec<_>>();
        assert_eq!(those(State::is_open), [Sending, Unknown]);
        assert_eq!(those(State::is_waiting), [Scheduled, Queued]);
        assert_eq!(those(State::is_unsettled), [Scheduled, Queued, Sending, Unknown]);
        assert_eq!(those(State::may_be_out), [Sending, Unknown, Accepted, Sent, Undelivered, Delivered, Read]);
        assert_eq!(those(State::is_on_its_way), [Accepted, Sent]);
        assert_eq!(those(State::is_final), [Undelivered, Delivered, Read, Failed, Canceled]);
        for &state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
        assert_eq!(State::parse("a word of tomorrow"), None);
    }

    #[test]
    fn a_report_moves_each_state_to_what_comes_after_it_alone() {
        use State::*;
        // In this order; those of one line end a message alike, and none of them follows another.
        let order: [&[State]; 7] = [
            &[Scheduled, Queued],
            &[Sending, Unknown],
            &[Accepted],
            &[Sent],
            &[Undelivered, Failed, Canceled],
            &[Delivered],
            &[Read],
        ];
        let place = |state| order.iter().position(|alike| alike.contains(&state)).unwrap();
        for &state in State::ALL {
            for &reported in State::ALL {
                let next = (place(reported) > place(state)).then_some(reported);
                assert_eq!(state.after_report(reported), next, "{state:?} {reported:?}");
            }
        }
    }
}
