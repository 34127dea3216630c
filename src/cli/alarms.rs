//! `smsotp alarms`: what somebody has to know, and that somebody knows it.

use serde::Serialize;

use super::{Call, given};
use crate::alarm::AlarmFacts;
use crate::app::{App, OpenMode, os_caller};
use crate::clock::Timestamp;
use crate::engine::Acked;
use crate::error::{Class, Code, Error, Result};
use crate::output::{Format, Item, Layout, List, Output, Render, Table, View};

/// List and acknowledge alarms: fraud, ceilings of money, the balance
#[derive(Debug, clap::Subcommand)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp alarms list\n  \
    $ smsotp alarms ack 17 --reason 'campaign in TJ, expected'")]
pub enum Verb {
    List(ListArgs),
    Ack(AckArgs),
}

/// List the alarms that nobody has acknowledged yet
///
/// Exit code 1 and the alarms where there are any, silence and 0 where there is none: one line for cron. An alarm is listed until
/// it is acknowledged, or for a day after its end.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  $ smsotp alarms list\n  $ smsotp alarms list --all --json")]
pub struct ListArgs {
    /// Also those that are acknowledged or over
    #[arg(long)]
    pub all: bool,
}

/// Acknowledge an alarm, so that it asks for nobody any more
///
/// It ends nothing: what was done about the alarm stays, and each alarm names the command that undoes it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp alarms ack 17 --reason 'campaign in TJ, expected'\n  \
    $ smsotp alarms ack --all --reason 'ticket OPS-12'")]
pub struct AckArgs {
    /// The alarm, by its id
    #[arg(required_unless_present = "all", conflicts_with = "all", value_parser = clap::value_parser!(i64).range(1..))]
    pub id: Option<i64>,
    /// All that `alarms list` shows
    #[arg(long)]
    pub all: bool,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

impl Item for AlarmFacts {
    const KIND: &'static str = "alarm";
    const COLUMNS: &'static [&'static str] =
        &["id", "alarm", "country", "since", "until", "cost", "words", "done", "undo", "acknowledged"];

    fn cells(&self, view: &View) -> Vec<String> {
        vec![
            self.id.clone(),
            self.alarm.to_string(),
            view.text_if(self.country.as_deref()),
            view.time(self.since),
            view.time(self.until),
            self.cost.to_string(),
            self.words.clone(),
            view.text_if(self.done),
            self.undo.clone(),
            view.time_if(self.acknowledged_at),
        ]
    }
}

/// The alarms as a person reads them: one paragraph each.
#[derive(Debug, Serialize)]
struct Paragraphs<'a>(&'a [AlarmFacts]);

impl Render for Paragraphs<'_> {
    const KIND: &'static str = "alarm_list";

    fn table(&self, view: &View) -> Table {
        Table { rows: self.0.iter().map(|row| row.cells(view)).collect(), ..Table::new(AlarmFacts::COLUMNS) }
    }

    fn layout(&self, view: &View) -> Layout {
        let mut page = Layout::new();
        for (nth, row) in self.0.iter().enumerate() {
            page = if nth > 0 { page.blank() } else { page };
            let place = row.country.as_deref().map(|country| format!(", {country}")).unwrap_or_default();
            let moment = |at: Timestamp| match view.for_person {
                true => format!("{} ({at})", view.time(at)),
                false => at.to_string(),
            };
            let times = if row.count > 1 { format!(", raised {} times", row.count) } else { String::new() };
            let end = if row.stands { "until" } else { "ended" };
            page = page
                .heading(format!("Alarm {}: {}{place}", row.id, row.title))
                .text(&row.words)
                .field("since", format!("{}{times}", moment(row.since)))
                .field(end, moment(row.until))
                .field("cost so far", row.cost.to_string())
                .field_if("done", row.done)
                .field("undo", &row.undo);
            page = match (&row.acknowledged_at, &row.acknowledged_by) {
                (Some(at), by) => {
                    let by = by.as_deref().unwrap_or_default();
                    page.field("acknowledged", format!("{} by {by}", view.time(*at)))
                }
                (None, _) => page.field("acknowledge", format!("smsotp alarms ack {} --reason TEXT", row.id)),
            };
        }
        page
    }
}

/// What `alarms ack` did.
#[derive(Debug, Serialize)]
struct Acknowledged {
    /// The alarms, as they are now.
    alarms: Vec<AlarmFacts>,
    /// How many of them nobody had acknowledged before.
    acknowledged: usize,
}

impl Render for Acknowledged {
    const KIND: &'static str = "alarms_acknowledged";

    fn table(&self, view: &View) -> Table {
        Paragraphs(&self.alarms).table(view)
    }

    fn layout(&self, view: &View) -> Layout {
        let mut page = Layout::new();
        if self.alarms.is_empty() {
            return page.text("Nothing to do: no alarm asks for anybody.");
        }
        for row in &self.alarms {
            let at = view.time_if(row.acknowledged_at);
            let by = row.acknowledged_by.as_deref().unwrap_or_default();
            page = page.text(format!("Alarm {} ({}) was acknowledged {at} by {by}.", row.id, row.title));
            if row.stands {
                page = page.text(format!("It stands until {}. Undo: {}", row.until, row.undo));
            }
        }
        page
    }
}

/// Lists or acknowledges.
pub fn run(verb: Verb, call: &Call, out: &mut Output) -> Result<Class> {
    match verb {
        Verb::List(args) => list(&args, call, out),
        Verb::Ack(args) => ack(&args, call, out),
    }
}

fn list(args: &ListArgs, call: &Call, out: &mut Output) -> Result<Class> {
    let app = call.open_if_any(call.config()?, OpenMode::Reading, out)?;
    let alarms = app.map_or_else(|| Ok(Vec::new()), |app| app.run(app.engine().alarms(args.all)))?;
    let now = out.view().now;
    let open = alarms.iter().any(|alarm| alarm.asks(now));
    let rows: Vec<AlarmFacts> = alarms.iter().map(|alarm| alarm.facts(now)).collect();
    match out.format() {
        // Where there is none, nothing is said: whoever runs this every hour wants no mail.
        _ if rows.is_empty() && !out.is_json() => {}
        Format::Table => {
            out.show(&Paragraphs(&rows))?;
        }
        _ => {
            out.list(&List::whole(rows, ""))?;
        }
    }
    Ok(if open { Class::No } else { Class::Done })
}

fn ack(args: &AckArgs, call: &Call, out: &mut Output) -> Result<Class> {
    let reason = given::reason(Some(&args.reason))?;
    if reason.is_empty() {
        return Err(Error::new(Code::VALUE_INVALID, "--reason is empty").hint("Say why: the audit log keeps it."));
    }
    let app = call.open(OpenMode::Existing, out)?;
    let ids = match args.id {
        Some(id) => vec![id],
        None => app.run(app.engine().alarms(false))?.iter().map(|alarm| alarm.id).collect(),
    };
    let mut acked = Vec::new();
    for id in ids {
        acked.extend(ack_one(&app, id, &reason)?);
    }
    if let (Some(id), true) = (args.id, acked.is_empty()) {
        return Err(Error::new(Code::NOT_FOUND, format!("there is no alarm {id}"))
            .hint("`smsotp alarms list --all` shows those that are kept."));
    }
    let now = out.view().now;
    out.show(&Acknowledged {
        acknowledged: acked.iter().filter(|acked| acked.now).count(),
        alarms: acked.iter().map(|acked| acked.alarm.facts(now)).collect(),
    })
}

fn ack_one(app: &App, id: i64, reason: &str) -> Result<Option<Acked>> {
    app.run(app.engine().ack_alarm(&os_caller(), id, reason))
}
