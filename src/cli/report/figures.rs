//! A report as it is shown: as JSON, as rows of TSV and CSV, and as a page for a terminal.

use serde::Serialize;

use crate::clock::Timestamp;
use crate::money::Money;
use crate::output::{Layout, Render, Table, View};
use crate::provider::twilio::catalogue;
use crate::report::{By, Funnel, Only, Report};

/// A report as JSON has it.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// The beginning of the first hour.
    pub since: Timestamp,
    /// The end of the last hour, or the present.
    pub until: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// All together.
    #[serde(flatten)]
    pub whole: Figures,
    /// The same, broken down.
    pub parts: Vec<Part>,
    /// Why asks were refused, the most frequent first.
    pub refusals: Vec<RefusalCount>,
    /// Why messages failed, the most frequent first.
    pub failures: Vec<FailureCount>,
    /// The conditions that hold.
    pub failed_conditions: Vec<String>,
    #[serde(skip)]
    chosen: Option<By>,
}

/// One funnel.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Asks for a message, refused ones too.
    pub asked: u64,
    pub refused: u64,
    /// Messages that were charged.
    pub messages: u64,
    /// New codes among them.
    pub codes: u64,
    /// Codes of which nobody will say whether they were entered: no part of the conversion.
    pub codes_unreported: u64,
    /// Messages that the provider took.
    pub accepted: u64,
    /// Messages of which nobody knows whether it took them.
    pub unknown: u64,
    /// Messages that arrived, as far as that was reported.
    pub delivered: u64,
    pub failed: u64,
    /// Codes that were entered, or whose persons were proven in another way.
    pub verified: u64,
    /// How many of the codes were entered; left out: there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversion_percent: Option<f64>,
    /// The median time until a message arrived; left out: none is known to have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deliver_seconds: Option<f64>,
    /// The median time until a code was entered; left out: none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify_seconds: Option<f64>,
    pub cost_usd: f64,
    #[serde(skip)]
    pub cost: Money,
}

/// One part of a breakdown.
#[derive(Clone, Debug, Serialize)]
pub struct Part {
    pub by: By,
    /// The purpose, country, provider, hour or day; empty: none.
    pub name: String,
    #[serde(flatten)]
    pub figures: Figures,
}

/// How often a limit, a rule of the guard or a reason refused.
#[derive(Clone, Debug, Serialize)]
pub struct RefusalCount {
    pub reason: String,
    pub count: u64,
}

/// How many messages failed with an error code.
#[derive(Clone, Debug, Serialize)]
pub struct FailureCount {
    /// The provider's error code; left out: there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u32>,
    /// What it means.
    pub meaning: String,
    pub count: u64,
}

impl Figures {
    fn of(funnel: &Funnel) -> Figures {
        let tenths = |value: f64| (value * 10.0).round() / 10.0;
        Figures {
            asked: funnel.asked,
            refused: funnel.refused,
            messages: funnel.messages,
            codes: funnel.codes,
            codes_unreported: funnel.unreported,
            accepted: funnel.accepted,
            unknown: funnel.unknown,
            delivered: funnel.delivered,
            failed: funnel.failed,
            verified: funnel.verified,
            conversion_percent: funnel.conversion().map(tenths),
            deliver_seconds: funnel.time_to_deliver().map(tenths),
            verify_seconds: funnel.time_to_verify().map(tenths),
            cost_usd: funnel.cost.usd(),
            cost: funnel.cost,
        }
    }

    /// Codes that count for the conversion.
    pub fn reported(&self) -> u64 {
        self.codes.saturating_sub(self.codes_unreported)
    }
}

/// The columns of TSV and CSV.
const COLUMNS: [&str; 16] = [
    "by",
    "name",
    "asked",
    "refused",
    "messages",
    "codes",
    "codes_unreported",
    "accepted",
    "unknown",
    "delivered",
    "failed",
    "verified",
    "conversion_percent",
    "deliver_seconds",
    "verify_seconds",
    "cost_usd",
];

impl Render for Shown {
    const KIND: &'static str = "report";

    fn table(&self, _: &View) -> Table {
        let mut table = Table::new(&COLUMNS);
        let whole = [("all", "", &self.whole)].into_iter();
        for (by, name, figures) in
            whole.chain(self.parts.iter().map(|part| (part.by.as_str(), part.name.as_str(), &part.figures)))
        {
            let counts = [
                figures.asked,
                figures.refused,
                figures.messages,
                figures.codes,
                figures.codes_unreported,
                figures.accepted,
                figures.unknown,
                figures.delivered,
                figures.failed,
                figures.verified,
            ];
            let rates = [figures.conversion_percent, figures.deliver_seconds, figures.verify_seconds];
            let mut cells = vec![by.to_owned(), name.to_owned()];
            cells.extend(counts.iter().map(ToString::to_string));
            cells.extend(rates.iter().map(|rate| rate.map(|rate| rate.to_string()).unwrap_or_default()));
            cells.push(figures.cost_usd.to_string());
            table.row(cells);
        }
        table
    }

    fn layout(&self, view: &View) -> Layout {
        let mut page = Layout::new().heading(self.title());
        if self.whole.asked == 0 {
            return page.text("Nobody asked for a code in this time.");
        }
        page = page.blank().table(self.funnel()).blank();
        let whole = &self.whole;
        page = page.field(
            "conversion",
            match whole.conversion_percent {
                Some(percent) if whole.reported() == 1 => format!("{percent:.1} % of 1 code"),
                Some(percent) => format!("{percent:.1} % of {} codes were entered", whole.reported()),
                None => "not known: nobody says whether codes are entered".to_owned(),
            },
        );
        let silent = whole.codes_unreported;
        page = page
            .field_if("not counted", (silent > 0).then(|| format!("{silent} codes of which nobody will say whether")))
            .field_if("time to deliver", whole.deliver_seconds.map(|median| format!("{} (median)", seconds(median))))
            .field_if("time to verify", whole.verify_seconds.map(|median| format!("{} (median)", seconds(median))))
            .field_if(
                "unknown",
                (whole.unknown > 0).then(|| format!("{} messages may have been sent or not", whole.unknown)),
            )
            .field("cost", cents(whole.cost));
        for by in self.shown_parts() {
            page = page.blank().table(self.broken_down(by, view));
        }
        if !self.refusals.is_empty() {
            let mut table = Table::new(&["refused by", "asks"]);
            self.refusals.iter().for_each(|one| table.row(vec![one.reason.clone(), one.count.to_string()]));
            page = page.blank().table(table);
        }
        if !self.failures.is_empty() {
            let mut table = Table::new(&["failed with", "messages", "meaning"]).prose(&["meaning"]);
            for one in &self.failures {
                let code = one.code.map_or_else(|| view.nothing(), |code| code.to_string());
                table.row(vec![code, one.count.to_string(), one.meaning.clone()]);
            }
            page = page.blank().table(table);
        }
        page
    }
}

impl Shown {
    pub fn of(report: &Report, (since, until): (Timestamp, Timestamp), only: Only, chosen: Option<By>) -> Shown {
        let bys: Vec<By> = chosen.map_or_else(|| By::ALL.to_vec(), |by| vec![by]);
        let parts = bys.iter().flat_map(|by| {
            let named = report.by(*by).into_iter();
            named.map(|(name, funnel)| Part { by: *by, name: name.to_owned(), figures: Figures::of(funnel) })
        });
        let mut refusals: Vec<RefusalCount> = report
            .refusals
            .iter()
            .map(|(reason, count)| RefusalCount { reason: reason.clone(), count: *count })
            .collect();
        refusals.sort_by_key(|one| std::cmp::Reverse(one.count));
        let failures = report.failures.iter().filter(|(_, count)| **count > 0);
        let mut failures: Vec<FailureCount> = failures
            .map(|(code, count)| FailureCount { code: *code, meaning: meaning(*code), count: *count })
            .collect();
        failures.sort_by_key(|one| std::cmp::Reverse(one.count));
        Shown {
            since,
            until,
            purpose: only.purpose,
            country: only.country,
            provider: only.provider,
            whole: Figures::of(&report.whole),
            parts: parts.collect(),
            refusals,
            failures,
            failed_conditions: Vec::new(),
            chosen,
        }
    }

    /// What it is about.
    pub fn title(&self) -> String {
        let minute = |at: Timestamp| at.to_rfc3339().get(..16).unwrap_or_default().replace('T', " ");
        let only: Vec<&str> =
            [&self.purpose, &self.country, &self.provider].into_iter().flatten().map(String::as_str).collect();
        let about = if only.is_empty() { String::new() } else { format!(", {}", only.join(", ")) };
        format!("Report from {} to {} UTC{about}", minute(self.since), minute(self.until))
    }

    /// The stages, each with its part of all asks.
    pub fn stages(&self) -> [(&'static str, u64); 7] {
        let whole = &self.whole;
        [
            ("asked", whole.asked),
            ("refused", whole.refused),
            ("messages", whole.messages),
            ("accepted", whole.accepted),
            ("delivered", whole.delivered),
            ("failed", whole.failed),
            ("verified", whole.verified),
        ]
    }

    fn funnel(&self) -> Table {
        let mut table = Table::new(&["", "number", "of asks", " "]);
        for (name, count) in self.stages() {
            let part = count as f64 / self.whole.asked as f64;
            table.row(vec![name.to_owned(), count.to_string(), format!("{:.1} %", part * 100.0), bar(part)]);
        }
        table
    }

    /// What a person sees of the breakdowns: the one that was chosen, or those that have more than one part.
    fn shown_parts(&self) -> Vec<By> {
        let several = |by: &By| self.parts.iter().filter(|part| part.by == *by).count() > 1;
        match self.chosen {
            Some(by) => vec![by],
            None => [By::Purpose, By::Country, By::Provider].into_iter().filter(several).collect(),
        }
    }

    fn broken_down(&self, by: By, view: &View) -> Table {
        let columns = [
            by.as_str(),
            "asked",
            "refused",
            "messages",
            "delivered",
            "failed",
            "verified",
            "conversion",
            "to verify",
            "cost",
        ];
        let mut table = Table::new(&columns).spare(&["failed", "to verify", "refused", "delivered"]);
        for Part { name, figures, .. } in self.parts.iter().filter(|part| part.by == by) {
            let or_nothing = |text: Option<String>| text.unwrap_or_else(|| view.nothing());
            table.row(vec![
                view.text_if(Some(name)),
                figures.asked.to_string(),
                figures.refused.to_string(),
                figures.messages.to_string(),
                figures.delivered.to_string(),
                figures.failed.to_string(),
                figures.verified.to_string(),
                or_nothing(figures.conversion_percent.map(|percent| format!("{percent:.1} %"))),
                or_nothing(figures.verify_seconds.map(seconds)),
                cents(figures.cost),
            ]);
        }
        table
    }
}

/// What an error code of the provider's means, in a few words.
fn meaning(code: Option<u32>) -> String {
    code.map_or_else(|| "without an error code".to_owned(), |code| catalogue::explain(code).entry.title.to_owned())
}

/// An amount to the cent.
pub fn cents(cost: Money) -> String {
    format!("{:.2} US$", cost.usd())
}

/// A span of seconds.
pub fn seconds(value: f64) -> String {
    // Never negative, and at most an hour.
    match value.round() as u64 {
        _ if value < 0.95 => "< 1 s".to_owned(),
        seconds @ 0..60 => format!("{seconds} s"),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// A bar of a part of the whole, twenty columns long.
fn bar(part: f64) -> String {
    const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    // At most 160.
    let eighths = (part.clamp(0.0, 1.0) * 160.0).round() as usize;
    let mut bar = "█".repeat(eighths / 8);
    bar.extend(EIGHTHS.get(eighths % 8).filter(|eighth| **eighth != ' '));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_sixty_seconds() {
        let shown = [0.4, 0.95, 59.4, 59.6, 119.7, 135.0].map(seconds);

        assert_eq!(shown, ["< 1 s", "1 s", "59 s", "1 min 0 s", "2 min 0 s", "2 min 15 s"]);
    }

    #[test]
    fn a_bar_is_as_long_as_its_part() {
        assert_eq!([bar(0.0), bar(1.0 / 160.0), bar(0.5)], [String::new(), "▏".to_owned(), "█".repeat(10)]);
        assert_eq!(bar(2.0), "█".repeat(20));
    }
}
