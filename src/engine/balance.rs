//! The balance at the provider: looked at once an hour, and an alarm where it is less than a day of codes costs.

use std::time::Duration;

use super::alarms::raise;
use super::context::{Caller, Context};
use crate::alarm::{AlarmKind, Raised};
use crate::audit::{Details, Event};
use crate::error::Result;
use crate::money::Money;
use crate::store::{Balance, Change, Decision, Needs};

/// How often the provider is asked, by all processes together.
const EVERY: Duration = Duration::from_secs(3600);

/// Asks the provider for its balance where nobody did within the last hour, and raises an alarm where it is less than
/// `day`, what a day of codes costs. Answers the balance as far as it is known. A provider that cannot be asked is no error: it is asked again in an hour.
pub(super) async fn check(ctx: &Context, caller: &Caller, day: Money) -> Result<Option<Money>> {
    let Some(provider) = &ctx.provider else { return Ok(None) };
    let (now, known) = (ctx.reads().now().await?, ctx.reads().balance().await?);
    if let Some(known) = known.filter(|known| now.since(known.asked_at) < EVERY) {
        return Ok(known.amount);
    }
    let amount = match provider.balance().await {
        Ok(amount) => amount,
        Err(error) => {
            tracing::warn!(target: "smsotp", code = error.code().name, "the balance is not known: {error}");
            None
        }
    };
    if amount.is_none() && provider.is_local() {
        return Ok(None);
    }
    let actor = caller.actor.clone();
    ctx.operate(Needs::default(), move |facts| {
        let mut changes = vec![Change::PutBalance(Balance { id: 1, asked_at: facts.now, amount })];
        let low = amount.filter(|amount| *amount < day);
        let raised: Vec<Raised> = low.map(|amount| alarm(amount, day)).into_iter().collect();
        let outcome = match (amount, low) {
            (None, _) => "unknown",
            (Some(_), None) => "enough",
            (Some(_), Some(_)) => "low",
        };
        let details = raise(&mut changes, Details::new(), &raised, facts.now);
        let details = amount.map_or(details.clone(), |amount| details.number("micros", amount.0));
        let event = Event::new(facts.now, actor.clone(), "balance", outcome).details(details);
        Ok(Decision::Write { changes, event, answer: amount })
    })
    .await
}

fn alarm(amount: Money, day: Money) -> Raised {
    Raised {
        kind: AlarmKind::Balance,
        about: String::new(),
        until: None,
        words: format!("The balance at the provider is {amount}; a day of codes costs up to {day}."),
        cost: Money::ZERO,
    }
}
