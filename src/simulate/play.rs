//! Plays traffic against a defence and counts what gets through. What becomes of an ask happens in its time: a defence learns of a
//! proof when it is made, and never of what it stopped.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::time::Duration;

use super::figures::Figures;
use super::traffic::{Ask, Traffic};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::money::{Channel, Money, Prices};

/// What a defence answers to an ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<S> {
    /// The message goes out; with what the defence wants to be reminded of when its fate is known.
    Sent(S),
    /// The caller has to let the person pass a challenge first. Nobody here does.
    Challenged,
    /// The guard says no.
    Refused,
    /// A plain limit says no.
    Limited,
}

/// What stands between asks and messages.
pub trait Defence {
    /// What it wants to be reminded of.
    type Sent;
    /// One asks.
    ///
    /// # Errors
    /// Whatever keeps it from answering.
    fn ask(&mut self, ask: &Ask) -> Result<Answer<Self::Sent>>;
    /// The person of an earlier ask is proven now.
    ///
    /// # Errors
    /// Whatever keeps it from taking note.
    fn proven(&mut self, now: Timestamp, ask: &Ask, sent: Self::Sent) -> Result<()>;
    /// The carrier reports that the message of an earlier ask failed.
    ///
    /// # Errors
    /// Whatever keeps it from taking note.
    fn failed(&mut self, now: Timestamp, ask: &Ask, sent: Self::Sent) -> Result<()>;
}

/// After an attack ends, its countries count as attacked for this long.
const AFTERMATH: Duration = Duration::from_secs(3600);

/// When and where the attacks of a trace are.
struct Attacked<'t> {
    places: BTreeSet<&'t str>,
    from: Timestamp,
    until: Timestamp,
}

impl<'t> Attacked<'t> {
    fn of(traffic: &'t Traffic) -> Option<Attacked<'t>> {
        let mut attacks = traffic.asks.iter().filter(|ask| ask.attack);
        let first = attacks.next()?;
        let mut all = Attacked { places: BTreeSet::from([&*first.country]), from: first.at, until: first.at };
        for ask in attacks {
            all.places.insert(&ask.country);
            all.until = ask.at;
        }
        Some(all)
    }
}

/// What is known later of a message: when, which of all (so that they come in order), which ask, and whether it is a proof.
type Later = Reverse<(Timestamp, u64, usize, bool)>;

/// Plays it to its end, calling `progress` with how many asks are done.
///
/// # Errors
/// The defence's.
pub fn play<D: Defence>(
    traffic: &Traffic,
    prices: &Prices,
    defence: &mut D,
    mut progress: impl FnMut(u64) -> Result<()>,
) -> Result<Figures> {
    let attacked = Attacked::of(traffic);
    let mut figures = Figures::default();
    let mut later: BinaryHeap<Later> = BinaryHeap::new();
    let mut open: Vec<Option<D::Sent>> = traffic.asks.iter().map(|_| None).collect();
    for (place, ask) in traffic.asks.iter().enumerate() {
        while later.peek().is_some_and(|Reverse((at, ..))| *at <= ask.at) {
            let Some(Reverse((at, _, place, proven))) = later.pop() else { break };
            let Some(sent) = open[place].take() else { continue };
            match proven {
                true => defence.proven(at, &traffic.asks[place], sent)?,
                false => defence.failed(at, &traffic.asks[place], sent)?,
            }
        }
        let answer = defence.ask(ask)?;
        if ask.at >= traffic.judge_from {
            count(&mut figures, ask, &answer, prices.of(Some(&*ask.country), Channel::Sms), attacked.as_ref());
        }
        if let Answer::Sent(sent) = answer {
            let fate = ask.proven_after.map(|after| (after, true)).or(ask.failed_after.map(|after| (after, false)));
            if let Some((after, proven)) = fate {
                open[place] = Some(sent);
                later.push(Reverse((ask.at + after, place as u64, place, proven)));
            }
        }
        progress(place as u64 + 1)?;
    }
    Ok(figures)
}

fn count<S>(figures: &mut Figures, ask: &Ask, answer: &Answer<S>, price: Money, attacked: Option<&Attacked<'_>>) {
    let (refused, challenged) = (matches!(answer, Answer::Refused), matches!(answer, Answer::Challenged));
    let sent = matches!(answer, Answer::Sent(_));
    if ask.attack {
        figures.attack_messages += 1;
        figures.attack_cost = figures.attack_cost.plus(price);
        if sent {
            figures.attack_messages_out += 1;
            figures.attack_cost_out = figures.attack_cost_out.plus(price);
        } else {
            figures.first_stop_messages.get_or_insert(figures.attack_messages_out);
        }
        return;
    }
    figures.legit += 1;
    figures.legit_refused += u64::from(refused);
    figures.legit_challenged += u64::from(challenged);
    figures.legit_limited += u64::from(matches!(answer, Answer::Limited));
    let Some(attacked) = attacked.filter(|attacked| attacked.places.contains(&*ask.country)) else { return };
    if (attacked.from..=attacked.until + AFTERMATH).contains(&ask.at) {
        figures.attacked_legit += 1;
        figures.attacked_refused += u64::from(refused);
        figures.attacked_challenged += u64::from(challenged);
    }
    if (refused || challenged) && ask.at > attacked.until {
        figures.unblocked_after_s = ask.at.since(attacked.until).as_secs();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otp::User;
    use crate::phone::Phone;

    /// Lets so many through, then refuses until somebody is proven.
    struct Few(u32, Vec<String>);

    impl Defence for Few {
        type Sent = u32;
        fn ask(&mut self, ask: &Ask) -> Result<Answer<u32>> {
            let answer = if self.0 == 0 { Answer::Refused } else { Answer::Sent(self.0) };
            self.0 = self.0.saturating_sub(1);
            self.1.push(format!("ask {}", ask.at.millis() / 1000));
            Ok(answer)
        }
        fn proven(&mut self, now: Timestamp, _: &Ask, sent: u32) -> Result<()> {
            self.0 += 1;
            self.1.push(format!("{sent} proven {}", now.millis() / 1000));
            Ok(())
        }
        fn failed(&mut self, now: Timestamp, _: &Ask, sent: u32) -> Result<()> {
            self.1.push(format!("{sent} failed {}", now.millis() / 1000));
            Ok(())
        }
    }

    fn ask(second: u64, country: &str, attack: bool, proven: Option<u64>, failed: Option<u64>) -> Ask {
        Ask {
            at: Timestamp(0) + Duration::from_secs(second),
            phone: Phone::from_e164("+447400123456").unwrap(),
            country: country.into(),
            user: User::parse("").unwrap(),
            ip: None,
            proven_after: proven.map(Duration::from_secs),
            failed_after: failed.map(Duration::from_secs),
            attack,
            reported: true,
        }
    }

    #[test]
    fn what_becomes_of_a_message_is_known_in_its_time_and_what_gets_through_is_counted() {
        let asks = vec![
            ask(0, "GB", false, Some(9), None),
            ask(5, "TJ", true, None, Some(10)),
            ask(10, "TJ", true, None, None),
            ask(11, "TJ", true, None, None),
            ask(12, "TJ", false, Some(1), None),
            ask(20, "GB", false, None, None),
            ask(4000, "TJ", false, None, None),
        ];
        let traffic = Traffic { asks, judge_from: Timestamp(1), ..Traffic::default() };
        let mut few = Few(2, Vec::new());

        let figures = play(&traffic, &Prices::shipped(), &mut few, |_| Ok(())).unwrap();

        assert_eq!(
            few.1,
            ["ask 0", "ask 5", "2 proven 9", "ask 10", "ask 11", "ask 12", "1 failed 15", "ask 20", "ask 4000"]
        );
        assert_eq!((figures.attack_messages, figures.attack_messages_out), (3, 2));
        assert_eq!((figures.attack_cost, figures.attack_cost_out), (Money::from_usd(1.2), Money::from_usd(0.8)));
        assert_eq!(figures.first_stop_messages, Some(2));
        assert_eq!((figures.legit, figures.legit_refused), (3, 3), "the first ask is history");
        assert_eq!(
            (figures.attacked_legit, figures.attacked_refused),
            (1, 1),
            "an hour and more after it nothing is attacked"
        );
        assert_eq!(figures.unblocked_after_s, 3989);
        assert!((figures.stopped_percent().unwrap() - 100.0 / 3.0).abs() < 1e-9);
    }
}
