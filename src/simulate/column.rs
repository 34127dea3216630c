//! The columns of a simulation: the same traffic against one defence each, so that what a layer adds can be seen.

use crate::abuse::Mode;
use crate::error::{Code, Error, Result};
use crate::limits::Limits;
use crate::money::Prices;
use crate::policy::Policy;
use crate::purpose::{self, Purpose};

use super::play::Answer;
use super::traffic::Traffic;

/// The purpose of callers who never say what became of a code.
const SILENT: &str = "conversion_unknown";

/// One defence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Plain limits, without the guard.
    Limits,
    /// The guard's caps and ceilings; its detector only watches.
    Layer1,
    /// Caps, ceilings and the detector.
    Layers,
}

impl Column {
    /// The purposes that are asked for: of callers who report conversions, and of those who do not.
    ///
    /// # Errors
    /// None that is not our bug.
    pub fn purposes() -> Result<(Purpose, Purpose)> {
        let named =
            |name| Purpose::parse(name).ok_or_else(|| Error::new(Code::BUG, format!("{name} names no purpose")));
        Ok((named(purpose::DEFAULT)?, named(SILENT)?))
    }

    /// The policy of this column. Where one is given (`tried`), its limits are in force in every column; otherwise the default limits
    /// are, and in their own column only, so that each column shows one defence alone.
    ///
    /// # Errors
    /// None that is not our bug.
    pub fn policy(self, tried: Option<&Policy>, prices: &Prices, traffic: &Traffic) -> Result<Policy> {
        let mut policy = tried.cloned().unwrap_or_default();
        if tried.is_none() {
            policy.limits = if self == Column::Limits { raised(policy.limits, traffic) } else { no_limits() };
        }
        policy.guard.mode = Some(match self {
            Column::Limits => Mode::Off,
            Column::Layer1 => Mode::Watch,
            Column::Layers => Mode::Enforce,
        });
        policy.guard.prices = prices.clone();
        let (reporting, silent) = Column::purposes()?;
        let mut settings = policy.purposes.get(&reporting).cloned().unwrap_or_default();
        // So that whoever is to be proven can read it: nobody else sees these messages.
        settings.texts.others = Some("{{ code }}".to_owned());
        policy.purposes.insert(reporting, settings.clone());
        policy.purposes.insert(silent.clone(), settings);
        policy.guard.conversion_unknown.insert(silent);
        Ok(policy)
    }

    /// What a refusal of the engine means in this column: in their own, plain limits are the defence.
    pub fn answer<S>(self, refusal: Code) -> Answer<S> {
        let limited = [Code::RATE_LIMITED, Code::TOO_MANY_GUESSES].contains(&refusal);
        match refusal.name {
            "challenge_required" => Answer::Challenged,
            _ if limited && self != Column::Limits => Answer::Limited,
            _ => Answer::Refused,
        }
    }
}

/// The limits of an operator who made room for their own traffic: what everything together may have grows with it, to three times as
/// much, as anybody would have to set it.
fn raised(mut limits: Limits, traffic: &Traffic) -> Limits {
    let factor = (traffic.per_day() * 3.0 / 10_000.0).max(1.0);
    for window in &mut limits.everything {
        window.max = (f64::from(window.max) * factor) as u32;
    }
    limits
}

/// No limit on sending. Guesses stay limited: nobody here guesses.
fn no_limits() -> Limits {
    let none = Vec::new;
    Limits {
        cooldown: Vec::new(),
        phone: none(),
        user: none(),
        user_phones: none(),
        ip: none(),
        ip_phones: none(),
        network: none(),
        everything: none(),
        refused_phone: none(),
        refused_other: none(),
        purposes: Default::default(),
        ..Limits::default()
    }
}
