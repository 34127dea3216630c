//! `smsotp prices`: what a message costs by country, and the provider's price list.

use std::sync::Arc;

use serde::Serialize;

use super::{Call, given};
use crate::app::{App, OpenMode, os_caller};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::engine::PricesRefreshed;
use crate::error::{Class, Result};
use crate::money::{Channel, Money, Price, Prices, SHIPPED_DATE, Source};
use crate::output::{Item, Layout, List, Output, Render, Table, View};

/// Show and refresh the prices of messages
///
/// What a message costs decides when the guard stops a country. A table of list prices is built in; `refresh` asks the
/// provider; a file of your own (prices_file in smsotp.toml) wins over both.
#[derive(Debug, clap::Subcommand)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp prices list DE\n  \
    $ smsotp prices refresh --countries US,CA,GB")]
pub enum Verb {
    List(ListArgs),
    Refresh(RefreshArgs),
}

/// Show what a segment costs, and where the price comes from
///
/// For a country without a known price the dearest known one stands.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp prices list\n  \
    $ smsotp prices list DE --json")]
pub struct ListArgs {
    /// Only this country, two letters
    pub country: Option<String>,
}

/// Ask the provider for its prices
///
/// Of each country the price of the dearest carrier is kept. A country that cannot be asked for keeps the price that it had.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp prices refresh\n  \
    $ smsotp prices refresh --countries US,CA,GB")]
pub struct RefreshArgs {
    /// Only these countries, two letters each [default: the setting `countries`, else every country of the list]
    #[arg(long, value_name = "COUNTRIES", value_delimiter = ',')]
    pub countries: Vec<String>,
}

/// What a segment to a country costs.
#[derive(Clone, Debug, Serialize)]
pub struct PriceRow {
    /// Two letters; `*` stands for every country without a known price.
    pub country: &'static str,
    pub channel: Channel,
    /// Per segment, in US dollars.
    pub price: f64,
    /// `file`, `refreshed`, `shipped`, or `dearest` where none is known and the dearest known one stands.
    pub source: &'static str,
    /// From when the price is: the years of the shipped list prices, or when the provider was asked; absent for the file's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    #[serde(skip)]
    money: Money,
    #[serde(skip)]
    fetched_at: Option<Timestamp>,
}

impl Item for PriceRow {
    const KIND: &'static str = "price";
    const COLUMNS: &'static [&'static str] = &["country", "channel", "price", "source", "date"];
    const SPARE: &'static [&'static str] = &["date"];

    fn cells(&self, view: &View) -> Vec<String> {
        let price = if view.for_person { self.money.to_string() } else { self.price.to_string() };
        let date = match self.fetched_at {
            Some(at) => view.time(at),
            None => view.text_if(self.date.as_deref()),
        };
        vec![self.country.to_owned(), self.channel.to_string(), price, self.source.to_owned(), date]
    }
}

/// What a refresh did.
#[derive(Debug, Serialize)]
pub struct Refreshed {
    /// How many prices were fetched.
    pub fetched: usize,
    /// Countries that the price list has no price for: they keep the price that they had.
    pub unlisted: Vec<String>,
    /// Countries that could not be asked for: they keep the price that they had.
    pub failed: Vec<Failed>,
    /// How many countries were not asked for any more after those.
    pub left_out: usize,
}

/// A country that could not be asked for.
#[derive(Debug, Serialize)]
pub struct Failed {
    pub country: String,
    /// The code of the error.
    pub code: &'static str,
    pub message: String,
}

impl Render for Refreshed {
    const KIND: &'static str = "prices_refreshed";

    fn table(&self, _: &View) -> Table {
        Table::one_row(vec![
            ("fetched", self.fetched.to_string()),
            ("unlisted", self.unlisted.len().to_string()),
            ("failed", self.failed.len().to_string()),
            ("left_out", self.left_out.to_string()),
        ])
    }

    fn layout(&self, _: &View) -> Layout {
        let page = Layout::new().text(format!("{} prices were fetched.", self.fetched));
        if self.unlisted.is_empty() {
            return page;
        }
        page.text(format!("Without a price in the list: {}.", self.unlisted.join(", ")))
    }
}

/// Lists or refreshes.
pub fn run(verb: Verb, call: &Call, out: &mut Output) -> Result<Class> {
    match verb {
        Verb::List(args) => list(&args, call, out),
        Verb::Refresh(args) => refresh(&args, call, out),
    }
}

/// The prices in force, also where there is no database yet; with the database, where there is one.
pub fn known(config: Config, call: &Call, out: &Output) -> Result<(Arc<Prices>, Option<App>)> {
    if App::no_database_yet(&config).is_some() {
        return Ok((Arc::new(config.policy.guard.prices), None));
    }
    let app = call.open_with(config, OpenMode::Reading, out)?;
    Ok((app.run(app.engine().prices())?, Some(app)))
}

fn list(args: &ListArgs, call: &Call, out: &mut Output) -> Result<Class> {
    let country = args.country.as_deref().map(given::country).transpose()?;
    let (prices, _app) = known(call.config()?, call, out)?;
    let rows = match country {
        Some(country) => {
            let row = |channel: &Channel| row(country, *channel, prices.price(Some(country), *channel));
            Channel::ALL.iter().map(row).collect()
        }
        None => {
            let elsewhere = |channel: &Channel| row("*", *channel, prices.price(None, *channel));
            let known = prices.iter().map(|(country, channel, price)| row(country, channel, price));
            known.chain(Channel::ALL.iter().map(elsewhere)).collect()
        }
    };
    out.list(&List::whole(rows, "No prices."))
}

fn row(country: &'static str, channel: Channel, price: Price) -> PriceRow {
    let (date, fetched_at) = match price.source {
        Source::Shipped => (Some(SHIPPED_DATE.to_owned()), None),
        Source::Refreshed(at) => (Some(at.to_rfc3339()), Some(at)),
        Source::File | Source::Dearest => (None, None),
    };
    PriceRow {
        country,
        channel,
        price: price.money.usd(),
        source: price.source.as_str(),
        date,
        money: price.money,
        fetched_at,
    }
}

fn refresh(args: &RefreshArgs, call: &Call, out: &mut Output) -> Result<Class> {
    let countries: Vec<String> =
        args.countries.iter().map(|text| given::country(text).map(str::to_owned)).collect::<Result<_>>()?;
    let countries = (!countries.is_empty()).then_some(countries);
    let config = call.config()?;
    App::check_provider(&config)?;
    let app = call.open_with(config, OpenMode::MayCreate, out)?.with_provider(Box::new(|_| {}), None)?;
    let _hold = call.signals.hold();
    let mut progress = out.progress("fetching prices");
    let done = app.run(app.engine().refresh_prices(&os_caller(), countries, |asked| {
        progress.advance_to(asked);
        call.signals.interrupted().is_ok()
    }))?;
    drop(progress);
    let PricesRefreshed { fetched, unlisted, failed, left_out } = done;
    let shown = Refreshed {
        fetched: fetched.len(),
        unlisted,
        failed: failed
            .iter()
            .map(|(country, error)| Failed {
                country: country.clone(),
                code: error.code().name,
                message: error.message().to_owned(),
            })
            .collect(),
        left_out,
    };
    out.show_unless_quiet(&shown)?;
    for (country, error) in &failed {
        out.warn(&format!("{country}: {error}"));
    }
    if left_out > 0 {
        out.warn(&format!("{left_out} more countries were not asked for"));
    }
    let Some((_, first)) = failed.into_iter().next() else { return Ok(Class::Done) };
    if let Some(hint) = first.hint_text() {
        out.hint(hint);
    }
    Ok(first.code().class)
}
