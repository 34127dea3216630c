//! What came of a simulation.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::money::Money;

/// What got through a defence, and whom it held up. In JSON amounts are US dollars.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Messages that attackers asked for.
    pub attack_messages: u64,
    /// Those of them that went out.
    pub attack_messages_out: u64,
    /// What all of them would have cost.
    pub attack_cost: Money,
    /// What those that went out cost.
    pub attack_cost_out: Money,
    /// How many went out before the first was stopped; `None`: none was.
    pub first_stop_messages: Option<u64>,
    /// Asks of people who mean well.
    pub legit: u64,
    /// Those of them that the guard refused.
    pub legit_refused: u64,
    /// Those that it wanted to pass a challenge first.
    pub legit_challenged: u64,
    /// Those that a plain limit refused.
    pub legit_limited: u64,
    /// Asks of people who mean well in the attacked countries, from the first message of an attack to an hour after the last.
    pub attacked_legit: u64,
    /// Those of them that the guard refused.
    pub attacked_refused: u64,
    /// Those that it wanted to pass a challenge first.
    pub attacked_challenged: u64,
    /// How many seconds after the last message of an attack somebody who means well was still held up in its countries.
    pub unblocked_after_s: u64,
}

impl Figures {
    /// How much of the attackers' money was stopped; `None` without an attack.
    pub fn stopped_percent(&self) -> Option<f64> {
        let (all, out) = (self.attack_cost.usd(), self.attack_cost_out.usd());
        (all > 0.0).then(|| (all - out) / all * 100.0)
    }

    /// How many went out before the first was stopped, or in all where none was.
    pub fn first_stop(&self) -> u64 {
        self.first_stop_messages.unwrap_or(self.attack_messages_out)
    }
}

impl Serialize for Figures {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        // Without an attack, what is said of one does not apply.
        if let Some(percent) = self.stopped_percent() {
            map.serialize_entry("attack_messages", &self.attack_messages)?;
            map.serialize_entry("attack_messages_out", &self.attack_messages_out)?;
            map.serialize_entry("attack_cost", &self.attack_cost.usd())?;
            map.serialize_entry("attack_cost_out", &self.attack_cost_out.usd())?;
            map.serialize_entry("stopped_percent", &((percent * 1e3).round() / 1e3))?;
            map.serialize_entry("first_stop_messages", &self.first_stop())?;
        }
        for (name, count) in [
            ("legit", self.legit),
            ("legit_refused", self.legit_refused),
            ("legit_challenged", self.legit_challenged),
            ("legit_limited", self.legit_limited),
            ("attacked_legit", self.attacked_legit),
            ("attacked_refused", self.attacked_refused),
            ("attacked_challenged", self.attacked_challenged),
            ("unblocked_after_s", self.unblocked_after_s),
        ] {
            map.serialize_entry(name, &count)?;
        }
        map.end()
    }
}
