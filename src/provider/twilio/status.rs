//! Twilio's status words, as states of a message.

use crate::message::State;

/// The state that a status stands for. Twilio has every message that it reports on, so a status that it may add later counts as
/// accepted.
pub fn state_of(status: &str) -> State {
    match status {
        "sent" => State::Sent,
        "delivered" | "partially_delivered" => State::Delivered,
        "read" => State::Read,
        "undelivered" => State::Undelivered,
        "failed" => State::Failed,
        "canceled" => State::Canceled,
        // "accepted", "scheduled", "queued", "sending".
        _ => State::Accepted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_of_twilios_is_a_state() {
        let known = [
            ("accepted", State::Accepted),
            ("scheduled", State::Accepted),
            ("queued", State::Accepted),
            ("sending", State::Accepted),
            ("sent", State::Sent),
            ("delivered", State::Delivered),
            ("partially_delivered", State::Delivered),
            ("read", State::Read),
            ("undelivered", State::Undelivered),
            ("failed", State::Failed),
            ("canceled", State::Canceled),
            ("a status of the future", State::Accepted),
        ];
        for (status, expected) in known {
            assert_eq!(state_of(status), expected, "{status}");
        }
    }
}
