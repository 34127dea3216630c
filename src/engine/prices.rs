//! The provider's price list, asked for again.

use super::context::{Caller, Context};
use crate::audit::{Details, Event};
use crate::clock::Timestamp;
use crate::error::{Code, Error, Result};
use crate::money::{Channel, FetchedPrice};
use crate::phone;
use crate::store::{Change, Decision, Needs};

/// So many prices are written in one transaction: an interrupted refresh keeps what it has.
const BATCH: usize = 50;

/// After so many countries in a row that could not be asked for, none is asked for any more.
const FAILURES_IN_A_ROW: usize = 3;

/// What became of a refresh.
#[derive(Debug, Default)]
pub struct PricesRefreshed {
    /// The prices that were fetched and are in the database now.
    pub fetched: Vec<FetchedPrice>,
    /// Countries that the price list has no price for.
    pub unlisted: Vec<String>,
    /// Countries that could not be asked for, with why.
    pub failed: Vec<(String, Error)>,
    /// How many countries were not asked for any more.
    pub left_out: usize,
}

/// Asks the provider for the prices of these countries, or of all that may get messages, one after the other, each once.
/// `progress` hears how many were asked for, and answers whether to go on. What one country fails with is kept for the
/// report, and the others go on, unless it is certain or likely that they would fail as well.
pub(super) async fn refresh(
    ctx: &Context,
    caller: &Caller,
    countries: Option<Vec<String>>,
    mut progress: impl FnMut(u64) -> bool + Send,
) -> Result<PricesRefreshed> {
    let provider = ctx.provider()?;
    let no_list = || {
        let what = format!("the provider {} has no price list", provider.name());
        Error::new(Code::VALUE_INVALID, what)
            .hint("Choose Twilio, or set prices of your own: prices_file in smsotp.toml.")
    };
    let countries = match countries.or_else(|| ctx.policy.countries.clone()) {
        Some(_) if provider.is_local() => return Err(no_list()),
        Some(countries) => countries,
        None => provider.priced_countries().await?.ok_or_else(no_list)?,
    };
    // What the numbering plans do not know gets no messages.
    let mut wanted: Vec<&'static str> = countries.iter().filter_map(|country| phone::country(country)).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let (mut done, mut batch, mut in_a_row) = (PricesRefreshed::default(), Vec::new(), 0);
    for (asked, country) in (0..).zip(&wanted) {
        if !progress(asked) || in_a_row == FAILURES_IN_A_ROW {
            break;
        }
        match provider.price(country).await {
            Ok(Some(price)) => {
                in_a_row = 0;
                let country = (*country).to_owned();
                batch.push(FetchedPrice { country, channel: Channel::Sms, price, fetched_at: Timestamp::default() });
            }
            Ok(None) => {
                in_a_row = 0;
                done.unlisted.push((*country).to_owned());
            }
            Err(error) => {
                // Who may not ask, or is to come back later, is not answered for another country either.
                let is_final = [Code::PROVIDER_CONFIG, Code::PROVIDER_BUSY].contains(&error.code());
                let is_about_the_way = error.code() == Code::PROVIDER_UNREACHABLE;
                in_a_row = if is_final { FAILURES_IN_A_ROW } else { (in_a_row + 1) * usize::from(is_about_the_way) };
                done.failed.push(((*country).to_owned(), error));
            }
        }
        if batch.len() == BATCH {
            done.fetched.extend(keep(ctx, caller, std::mem::take(&mut batch)).await?);
        }
    }
    if !batch.is_empty() {
        done.fetched.extend(keep(ctx, caller, batch).await?);
    }
    done.left_out = wanted.len() - done.fetched.len() - done.unlisted.len() - done.failed.len();
    ctx.prices.forget();
    Ok(done)
}

/// Writes one batch.
async fn keep(ctx: &Context, caller: &Caller, batch: Vec<FetchedPrice>) -> Result<Vec<FetchedPrice>> {
    let (actor, provider) = (caller.actor.clone(), ctx.provider()?.name());
    ctx.operate(Needs::default(), move |facts| {
        let fetched: Vec<FetchedPrice> =
            batch.iter().map(|price| FetchedPrice { fetched_at: facts.now, ..price.clone() }).collect();
        let names: Vec<&str> = fetched.iter().map(|price| price.country.as_str()).collect();
        let details = Details::new()
            .word("provider", provider)
            .number("count", i64::try_from(fetched.len()).unwrap_or(i64::MAX))
            .note("countries", &names.join(" "));
        let event = Event::new(facts.now, actor.clone(), "prices", "done").details(details);
        let changes = fetched.iter().cloned().map(Change::PutPrice).collect();
        Ok(Decision::Write { changes, event, answer: fetched })
    })
    .await
}
