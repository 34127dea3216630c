//! What `smsotp show COUNTRY` and `smsotp show BLOCK` show: what the guard counts and allows there, and what it did.

use serde::Serialize;

use super::Call;
use crate::alarm::AlarmFacts;
use crate::app::OpenMode;
use crate::clock::Timestamp;
use crate::engine::RuleRefusal;
use crate::error::{Class, Code, Error, Result};
use crate::money::{Channel, Money};
use crate::output::{Layout, Output, Render, Table, View};
use crate::phone::Phone;

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
    /// Messages to strangers of the last 24 hours that nobody proved yet, and from how many on it gets no more.
    pub open: u32,
    pub open_at_most: u64,
    /// All messages to strangers of the last 24 hours, and from how many on it gets no more.
    pub total: u32,
    pub total_at_most: u64,
    /// Strangers proven in the last 24 hours, and on its best day, which each day makes 3 % less.
    pub proven: u32,
    pub best_day: f64,
    /// The usual part of codes that are entered, in percent.
    pub usual_percent: f64,
    /// The guard's mode.
    pub guard: &'static str,
    /// The end of the detector's alarm; left out: none stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alarm_until: Option<Timestamp>,
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
        refusals(&self.refusals, view)
    }

    fn layout(&self, view: &View) -> Layout {
        let set = |limit: Option<u32>, otherwise: &str| limit.map_or_else(|| otherwise.to_owned(), |n| n.to_string());
        let mut page = Layout::new()
            .heading(format!("Country {}", self.country))
            .field("codes", if self.allowed { "may be sent" } else { "are not sent: the settings close it" })
            .field("price", format!("{} a segment ({})", self.price, self.price_source))
            .field("floor", set(self.floor, "by the price"))
            .field("cap", set(self.cap, "by what was proven"))
            .field("open", format!("{} of {} messages to strangers in 24 hours", self.open, self.open_at_most))
            .field("in all", format!("{} of {} messages to strangers in 24 hours", self.total, self.total_at_most))
            .field("proven", format!("{} in 24 hours, {:.0} on the best day", self.proven, self.best_day))
            .field("usual", format!("{:.0} % of codes are entered", self.usual_percent))
            .field("guard", self.guard)
            .field_if("alarm", self.alarm_until.map(|at| format!("stands until {at}")));
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
        open: state.open,
        open_at_most: state.open_at_most,
        total: state.total,
        total_at_most: state.total_at_most,
        proven: state.past.proven,
        best_day: tenths(state.past.best),
        usual_percent: tenths(100.0 * state.usual),
        guard: state.mode.into(),
        alarm_until: state.alarm_until,
        alarms: state.alarms.iter().map(|alarm| alarm.facts(now)).collect(),
        refusals: state.refusals.iter().map(Refusal::of).collect(),
    })
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// A block of numbers as the guard has it.
#[derive(Debug, Serialize)]
pub struct Block {
    /// All digits but the last four.
    pub block: String,
    /// Messages to strangers there that nobody proved yet, which halve in 12 hours, and from how many on it gets no more.
    pub open: f64,
    pub open_at_most: f64,
    /// Somebody there entered a code in the last 30 days.
    pub is_proven: bool,
    /// The end of the alarm of its country; left out: none stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alarm_until: Option<Timestamp>,
    /// Its last refusals, the newest first.
    pub refusals: Vec<Refusal>,
}

impl Render for Block {
    const KIND: &'static str = "block";

    fn table(&self, view: &View) -> Table {
        refusals(&self.refusals, view)
    }

    fn layout(&self, view: &View) -> Layout {
        let page = Layout::new()
            .heading(format!("Numbers {}••••", self.block))
            .field(
                "open",
                format!("{:.1} of {:.1} messages to strangers, which halve in 12 hours", self.open, self.open_at_most),
            )
            .field("proven", if self.is_proven { "in the last 30 days" } else { "not in the last 30 days" })
            .field_if("alarm", self.alarm_until.map(|at| format!("of the country, stands until {at}")));
        match self.refusals.is_empty() {
            true => page.blank().text("No refusal of this block is among the newest rows of the audit log."),
            false => page.blank().table(self.table(view)),
        }
    }
}

/// Shows a block of numbers.
pub fn show_block(block: &str, call: &Call, out: &mut Output) -> Result<Class> {
    let phone = Phone::from_e164(&format!("{block}0000")).ok_or_else(|| {
        Error::new(Code::VALUE_INVALID, "this is no block of numbers")
            .hint("A block is a number without its last four digits, and a star: '+99290012*'.")
    })?;
    let app = call.open(OpenMode::Reading, out)?;
    let state = app.run(app.engine().block_of(&phone))?;
    out.show(&Block {
        block: block.to_owned(),
        open: tenths(state.open),
        open_at_most: tenths(state.at_most),
        is_proven: state.is_proven,
        alarm_until: state.alarm_until,
        refusals: state.refusals.iter().map(Refusal::of).collect(),
    })
}

fn refusals(refusals: &[Refusal], view: &View) -> Table {
    let mut table = Table::new(&["at", "refusal", "rule", "used", "allowed", "room again"]).spare(&["refusal"]);
    for refusal in refusals {
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
