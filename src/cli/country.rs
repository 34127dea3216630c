//! What `smsotp show COUNTRY` shows: what the guard allows there, and what it did.

use serde::Serialize;

use super::Call;
use crate::alarm::AlarmFacts;
use crate::app::OpenMode;
use crate::clock::Timestamp;
use crate::engine::RuleRefusal;
use crate::error::{Class, Result};
use crate::money::{Channel, Money};
use crate::output::{Layout, Output, Render, Table, View};

/// A country as the guard has it.
#[derive(Debug, Serialize)]
pub struct Country {
    /// Two letters.
    pub country: &'static str,
    /// Whether codes may go there at all, by `countries` and `[countries.XX]`.
    pub allowed: bool,
    /// What a segment there costs, in US dollars.
    pub price_usd: f64,
    #[serde(skip)]
    price: Money,
    /// Where that price comes from.
    pub price_source: &'static str,
    /// The floor that was set; left out: by its price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<u32>,
    /// The cap that was set; left out: by what the country proved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap: Option<u32>,
    /// Its last alarms, the newest first.
    pub alarms: Vec<AlarmFacts>,
    /// Its last refusals, the newest first.
    pub refusals: Vec<Refusal>,
}

/// A refusal, and the rule that refused.
#[derive(Debug, Serialize)]
pub struct Refusal {
    pub at: Timestamp,
    /// The code of the refusal.
    pub outcome: String,
    pub rule: String,
    pub used: String,
    pub allowed: String,
    /// When there is room again; left out: time does not open it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room_at: Option<Timestamp>,
}

impl Refusal {
    /// A refusal of the guard's as it is shown.
    pub fn of(refusal: &RuleRefusal) -> Refusal {
        let shown = |amount: i64| if refusal.in_money { Money(amount).to_string() } else { amount.to_string() };
        Refusal {
            at: refusal.at,
            outcome: refusal.outcome.clone(),
            rule: refusal.rule.clone(),
            used: shown(refusal.used),
            allowed: shown(refusal.allowed),
            room_at: refusal.room_at,
        }
    }

    /// In a few words: `rule country_open, 14 of 14 used, room again at …`.
    pub fn in_words(&self) -> String {
        let room = self.room_at.map(|at| format!(", room again at {at}")).unwrap_or_default();
        format!("rule {}, {} of {} used{room}", self.rule, self.used, self.allowed)
    }
}

impl Render for Country {
    const KIND: &'static str = "country";

    fn table(&self, view: &View) -> Table {
        let mut table = Table::new(&["at", "refusal", "rule", "used", "allowed", "room again"]).spare(&["refusal"]);
        for refusal in &self.refusals {
            table.row(vec![
                view.time(refusal.at),
                refusal.outcome.clone(),
                refusal.rule.clone(),
                refusal.used.clone(),
                refusal.allowed.clone(),
                view.time_if(refusal.room_at),
            ]);
        }
        table
    }

    fn layout(&self, view: &View) -> Layout {
        let set = |limit: Option<u32>, otherwise: &str| limit.map_or_else(|| otherwise.to_owned(), |n| n.to_string());
        let mut page = Layout::new()
            .heading(format!("Country {}", self.country))
            .field("codes", if self.allowed { "may be sent" } else { "are not sent: the settings close it" })
            .field("price", format!("{} a segment ({})", self.price, self.price_source))
            .field("floor", set(self.floor, "by the price"))
            .field("cap", set(self.cap, "by what was proven"));
        if self.alarms.is_empty() {
            page = page.field("alarms", "none");
        }
        for alarm in &self.alarms {
            let end = if alarm.stands { "stands until" } else { "ended" };
            page = page
                .blank()
                .text(format!("Alarm {}: {}, since {}, {end} {}.", alarm.id, alarm.title, alarm.since, alarm.until))
                .text(&alarm.words)
                .text(format!("Cost so far: {}. Undo: {}", alarm.cost, alarm.undo));
        }
        match self.refusals.is_empty() {
            true => page.blank().text("No refusal of the guard is among the newest rows of the audit log."),
            false => page.blank().table(self.table(view)),
        }
    }
}

/// Shows a country.
pub fn show(country: &'static str, call: &Call, out: &mut Output) -> Result<Class> {
    let app = call.open(OpenMode::Reading, out)?;
    let state = app.run(app.engine().country(country))?;
    let prices = app.run(app.engine().prices())?;
    let (policy, now) = (app.engine().policy(), out.view().now);
    let (own, price) = (policy.guard.country(country), prices.price(Some(country), Channel::Sms));
    let listed = policy.countries.as_ref().is_none_or(|list| list.iter().any(|known| known == country));
    out.show(&Country {
        country,
        allowed: listed && !own.closed,
        price_usd: price.money.usd(),
        price: price.money,
        price_source: price.source.as_str(),
        floor: own.floor,
        cap: own.cap,
        alarms: state.alarms.iter().map(|alarm| alarm.facts(now)).collect(),
        refusals: state.refusals.iter().map(Refusal::of).collect(),
    })
}
