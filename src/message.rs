//! One SMS on its way. It moves forward only, whatever order the news comes in.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::phone::Phone;
use crate::template::Endings;

/// One message as the database keeps it. Its text is not kept: it is computed again when it is needed.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Shown as `m` and this integer; never used twice.
    pub id: i64,
    /// The otp whose code it carries; `None` for a plain message.
    pub otp_id: Option<i64>,
    /// Where it goes.
    pub phone: Phone,
    /// The provider it was given to: `twilio`, `console`, or `test` for a declared test number.
    pub provider: String,
    /// How far it got.
    pub state: State,
    /// The provider's id, once accepted.
    pub provider_id: Option<String>,
    /// The provider's error code, if it failed.
    pub error_code: Option<u32>,
    /// What went wrong, in words without secrets.
    pub error: Option<String>,
    /// How many SMS segments it takes.
    pub segments: u32,
    /// How often it was handed to the provider.
    pub attempts: u32,
    /// When limits were charged for it: what is given back when it surely was not sent.
    pub reserved_at: Timestamp,
    /// When the last attempt began.
    pub attempt_at: Option<Timestamp>,
    /// When the worker has to look at it again: a retry, the end of a lease, the next look at an unknown one.
    pub due_at: Option<Timestamp>,
    /// When an unknown message was looked for and not found, first.
    pub missed_at: Option<Timestamp>,
    /// The last change.
    pub updated_at: Timestamp,
    /// The last lines that the text needs for Android or WebOTP.
    pub endings: Endings,
}

/// How far a message got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// To be sent at a later time.
    Scheduled,
    /// Waiting for its (next) attempt; surely not sent.
    Queued,
    /// Handed to the provider by someone; no answer is recorded.
    Sending,
    /// It may or may not have been accepted.
    Unknown,
    /// The provider took it.
    Accepted,
    /// The carrier took it. It may be the last word ever heard.
    Sent,
    /// The carrier could not deliver it.
    Undelivered,
    /// It arrived.
    Delivered,
    /// It was read (WhatsApp, RCS).
    Read,
    /// It was not sent.
    Failed,
    /// It was taken back before it went out.
    Canceled,
}

impl State {
    /// All states in the order of their declaration.
    pub const ALL: [State; 11] = [
        State::Scheduled,
        State::Queued,
        State::Sending,
        State::Unknown,
        State::Accepted,
        State::Sent,
        State::Undelivered,
        State::Delivered,
        State::Read,
        State::Failed,
        State::Canceled,
    ];

    /// The word in database and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Scheduled => "scheduled",
            State::Queued => "queued",
            State::Sending => "sending",
            State::Unknown => "unknown",
            State::Accepted => "accepted",
            State::Sent => "sent",
            State::Undelivered => "undelivered",
            State::Delivered => "delivered",
            State::Read => "read",
            State::Failed => "failed",
            State::Canceled => "canceled",
        }
    }

    /// The state with that word.
    pub fn parse(word: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// True while its outcome is open: purge leaves it alone.
    pub fn is_open(self) -> bool {
        matches!(self, State::Scheduled | State::Queued | State::Sending | State::Unknown)
    }

    /// True where the provider took it, or may have.
    pub fn may_be_out(self) -> bool {
        !matches!(self, State::Scheduled | State::Queued | State::Failed | State::Canceled)
    }

    /// True where no later news will change it (a delivered WhatsApp message may still be read).
    pub fn is_final(self) -> bool {
        matches!(self, State::Undelivered | State::Delivered | State::Read | State::Failed | State::Canceled)
    }

    /// The state after the provider reported `status`, in Twilio's words; `None` where the news is old or unknown.
    ///
    /// Forward only: accepted → sent → undelivered | delivered → read; failed and canceled end what has not gone out.
    pub fn after_report(self, status: &str) -> Option<State> {
        let news = match status {
            "accepted" | "scheduled" | "queued" | "sending" => State::Accepted,
            "sent" => State::Sent,
            "delivered" | "partially_delivered" => State::Delivered,
            "read" => State::Read,
            "undelivered" => State::Undelivered,
            "failed" => State::Failed,
            "canceled" => State::Canceled,
            _ => return None,
        };
        (news.rank() > self.rank()).then_some(news)
    }

    fn rank(self) -> u8 {
        match self {
            State::Scheduled | State::Queued => 0,
            State::Sending | State::Unknown => 1,
            State::Accepted => 2,
            State::Sent => 3,
            State::Undelivered | State::Failed | State::Canceled => 4,
            // A late receipt may still turn "undelivered" round; "read" is the very last word.
            State::Delivered => 5,
            State::Read => 6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_moves_a_message_forward_only_in_whatever_order_it_comes() {
        let news = ["queued", "sending", "sent", "delivered", "read"];
        for first in 0..news.len() {
            for second in 0..news.len() {
                let mut state = State::Sending;
                for status in [news[first], news[second]] {
                    state = state.after_report(status).unwrap_or(state);
                }
                let best = State::Sending.after_report(news[first.max(second)]).unwrap();
                assert_eq!(state, best, "{} then {}", news[first], news[second]);
            }
        }
        assert_eq!(State::Delivered.after_report("sent"), None);
        assert_eq!(State::Sent.after_report("a word of tomorrow"), None);
    }

    #[test]
    fn each_state_says_whether_it_is_open_may_be_out_or_is_final() {
        use State::*;
        let those = |is: fn(State) -> bool| State::ALL.into_iter().filter(|state| is(*state)).collect::<Vec<_>>();
        assert_eq!(those(State::is_open), [Scheduled, Queued, Sending, Unknown]);
        assert_eq!(those(State::may_be_out), [Sending, Unknown, Accepted, Sent, Undelivered, Delivered, Read]);
        assert_eq!(those(State::is_final), [Undelivered, Delivered, Read, Failed, Canceled]);
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
        assert_eq!(State::parse("a word of tomorrow"), None);
    }

    #[test]
    fn what_the_provider_reports_moves_each_state_to_what_comes_after_it() {
        use State::*;
        let reports = [
            ("accepted", Accepted),
            ("scheduled", Accepted),
            ("queued", Accepted),
            ("sending", Accepted),
            ("sent", Sent),
            ("delivered", Delivered),
            ("partially_delivered", Delivered),
            ("read", Read),
            ("undelivered", Undelivered),
            ("failed", Failed),
            ("canceled", Canceled),
        ];
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
        for state in State::ALL {
            for (status, reported) in reports {
                let next = (place(reported) > place(state)).then_some(reported);
                assert_eq!(state.after_report(status), next, "{state:?} {status}");
            }
        }
    }
}
