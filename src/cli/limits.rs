//! `smsotp limits`: what the limits are, how much of them is used, and how staff resets them.

use serde::Serialize;

use super::{Call, given, prices};
use crate::app::{OpenMode, os_caller};
use crate::clock::Timestamp;
use crate::engine::{self, Forgotten, LimitQuery, LimitStatus, Subject};
use crate::error::{Class, Result};
use crate::money::Money;
use crate::output::{Item, Layout, List, Output, Render, Table, View};
use crate::policy::Policy;
use crate::risk::{self, History};
use crate::usage::span;

/// Show and reset the limits
#[derive(Debug, clap::Subcommand)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp limits show\n  \
    $ smsotp limits show +14155552671\n  \
    $ smsotp limits reset +14155552671 --reason 'customer on the line'")]
pub enum Verb {
    Show(Show),
    Reset(Reset),
}

/// Show the limits in force, and how much of them someone has used
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp limits show\n  \
    $ smsotp limits show +14155552671 --purpose login\n  \
    $ smsotp limits show --risk")]
pub struct Show {
    /// Show what this number has used
    pub phone: Option<String>,
    #[command(flatten)]
    pub region: given::Region,
    /// Show what this user has used
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,
    /// Show what this address has used
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<String>,
    /// Show what this access token of a user has used
    #[arg(long = "token-id", value_name = "ID")]
    pub token: Option<i64>,
    /// The purpose whose limits are meant
    #[arg(long, value_name = "NAME")]
    pub purpose: Option<String>,
    /// What the limits allow: odds of a guessed code, worst cost of a day
    #[arg(long, conflicts_with_all = ["phone", "user", "ip", "token", "purpose"])]
    pub risk: bool,
}

/// Reset the limits and guess budgets of someone
///
/// Written to the audit log with its reason. Live codes and their tries are not touched.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp limits reset +14155552671 --reason 'customer on the line'\n  \
    $ smsotp limits reset --user alice --reason 'load test of today'\n  \
    $ smsotp limits reset +14155552671 --everything --clock --reason 'the clock was a day ahead'")]
#[command(group(clap::ArgGroup::new("whom").args(["phone", "user", "ip", "token", "everything"]).required(true).multiple(true)))]
pub struct Reset {
    /// The number
    pub phone: Option<String>,
    #[command(flatten)]
    pub region: given::Region,
    /// The user
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,
    /// The address
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<String>,
    /// The access token of a user
    #[arg(long = "token-id", value_name = "ID")]
    pub token: Option<i64>,
    /// The limit on messages in all
    #[arg(long)]
    pub everything: bool,
    /// Also remove the opt-out of the number
    #[arg(long, requires = "phone")]
    pub opt_out: bool,
    /// Forget nothing; only take what was recorded while the clock was ahead as if it had happened now
    #[arg(long, conflicts_with = "opt_out")]
    pub clock: bool,
    /// Why; kept in the audit log
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// One limit, and how much of it is used.
#[derive(Clone, Debug, Serialize)]
pub struct LimitRow {
    /// What it counts: `phone`, `user`, `pair` (a user with a phone), `ip`, ...
    pub subject: String,
    /// Its name, as settings and `--override` take it.
    pub limit: String,
    /// The purpose that it is for, where each has its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// As smsotp.toml takes it.
    pub value: String,
    pub max: u32,
    /// In how long; absent where time does not open it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_seconds: Option<u64>,
    /// How many count in the window now; absent where no subject is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<u32>,
    /// When it opens again, where it is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opens_at: Option<Timestamp>,
}

impl Item for LimitRow {
    const KIND: &'static str = "limit";
    const COLUMNS: &'static [&'static str] = &["subject", "limit", "purpose", "used", "value", "opens"];
    const PROSE: &'static [&'static str] = &["value"];
    const SPARE: &'static [&'static str] = &["subject"];

    fn cells(&self, view: &View) -> Vec<String> {
        vec![
            self.subject.clone(),
            self.limit.clone(),
            view.text_if(self.purpose.as_deref()),
            self.used.map_or_else(|| view.nothing(), |used| used.to_string()),
            self.value.clone(),
            view.time_if(self.opens_at),
        ]
    }
}

/// What the limits and the guard mean in numbers.
#[derive(Clone, Debug, Serialize)]
pub struct Risks {
    pub items: Vec<Risk>,
    /// What a day may cost by country.
    pub countries: Vec<CountryRow>,
    /// The ceiling of a day in US dollars; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day_ceiling: Option<f64>,
    /// The most that a day can cost, in US dollars; absent where that is without end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day_total: Option<f64>,
    /// What it could cost without the guard; absent where that is without end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day_unguarded: Option<f64>,
}

/// What a day may cost in a country.
#[derive(Clone, Debug, Serialize)]
pub struct CountryRow {
    /// Two letters; `*` stands for each country that is not named.
    pub country: String,
    /// How many countries it stands for.
    pub countries: usize,
    /// What a message costs, in US dollars.
    pub message_price: f64,
    /// Messages to strangers that may be open before anybody there entered a code.
    pub floor: u32,
    /// Messages to strangers that may be open now.
    pub open_cap: u64,
    /// Messages to strangers in a day.
    pub total_cap: u64,
    /// What those cost, in US dollars.
    pub day: f64,
    /// No message goes there.
    pub closed: bool,
    #[serde(skip)]
    shown: [Money; 2],
}

/// One line of what the limits mean.
#[derive(Clone, Debug, Serialize)]
pub struct Risk {
    /// What may happen: `a code of one phone is guessed within a day`.
    pub question: String,
    /// The number: odds or money.
    pub answer: String,
}

impl Render for Risks {
    const KIND: &'static str = "risks";

    fn table(&self, _: &View) -> Table {
        let mut table = Table::new(&["question", "answer"]).prose(&["question", "answer"]);
        self.items.iter().for_each(|risk| table.row(vec![risk.question.clone(), risk.answer.clone()]));
        table
    }

    fn layout(&self, view: &View) -> Layout {
        let mut table = Table::new(&["country", "message", "floor", "open at most", "a day at most", "worst day"]);
        for row in &self.countries {
            let country = match row.country.as_str() {
                "*" => format!("each of {} others", row.countries),
                country => country.to_owned(),
            };
            let [message, day] = row.shown.map(|money| money.to_string());
            let [floor, open, total] = match row.closed {
                true => ["-".to_owned(), "closed".to_owned(), "-".to_owned()],
                false => [row.floor.to_string(), row.open_cap.to_string(), row.total_cap.to_string()],
            };
            table.row(vec![country, message, floor, open, total, day]);
        }
        let strangers = "Messages to phones that were not proven lately, by country:";
        Layout::new().table(self.table(view)).blank().text(strangers).table(table)
    }
}

impl Risks {
    fn of(policy: &Policy, history: &History) -> Risks {
        let risks = risk::Risks::after(policy, history);
        let row = |country: &risk::CountryRisk| CountryRow {
            country: country.country.clone().unwrap_or_else(|| "*".to_owned()),
            countries: country.count,
            message_price: country.message.usd(),
            floor: country.floor,
            open_cap: country.open,
            total_cap: country.total,
            day: country.day.usd(),
            closed: country.is_closed,
            shown: [country.message, country.day],
        };
        Risks {
            items: risks.lines().into_iter().map(|(question, answer)| Risk { question, answer }).collect(),
            countries: risks.money.countries.iter().map(row).collect(),
            day_ceiling: risks.money.day.map(Money::usd),
            day_total: risks.money.day_total.map(Money::usd),
            day_unguarded: risks.money.unguarded.map(Money::usd),
        }
    }
}

/// Shows or resets.
pub fn run(verb: Verb, call: &Call, out: &mut Output) -> Result<Class> {
    match verb {
        Verb::Show(args) => show(&args, call, out),
        Verb::Reset(args) => reset(&args, call, out),
    }
}

fn show(args: &Show, call: &Call, out: &mut Output) -> Result<Class> {
    let config = args.region.config(call)?;
    if args.risk {
        let mut policy = config.policy.clone();
        let (prices, app) = prices::known(config, call, out)?;
        policy.guard.prices = (*prices).clone();
        let history = app.map_or_else(|| Ok(History::default()), |app| app.run(app.engine().history()))?;
        return out.show(&Risks::of(&policy, &history));
    }
    let whom = LimitQuery {
        phone: args.phone.as_deref().map(|text| given::phone(text, &config, call)).transpose()?,
        user: given::user(args.user.as_deref())?,
        ip: args.ip.as_deref().map(given::address).transpose()?,
        token: args.token,
        purpose: args.purpose.as_deref().map(given::purpose).transpose()?,
    };
    given::declared(whom.purpose.as_ref(), &config.policy)?;
    let statuses = if whom.is_nobody() {
        engine::limits_of_nobody(&config.policy)
    } else {
        let app = call.open_with(config, OpenMode::Reading, out)?;
        app.run(app.engine().limit_status(&whom))?
    };
    let now = out.view().now;
    let row = |status: LimitStatus| LimitRow {
        subject: status.subject.to_string(),
        limit: status.limit.to_string(),
        value: value(&status),
        purpose: status.purpose,
        max: status.window.max,
        window_seconds: Some(status.window.per.as_secs()).filter(|seconds| *seconds > 0),
        used: status.used,
        opens_at: status.wait.map(|wait| now + wait),
    };
    out.list(&List::whole(statuses.into_iter().map(row).collect(), "No limits."))
}

/// A limit as smsotp.toml takes it: `"3/10m"`, `5`, and for the cooldown all of its pauses.
fn value(status: &LimitStatus) -> String {
    if status.pauses.is_empty() {
        let window = status.window;
        return if window.per.is_zero() { window.to_string() } else { format!("\"{window}\"") };
    }
    let pauses: Vec<String> = status.pauses.iter().map(|pause| format!("\"{}\"", span(*pause))).collect();
    format!("[{}]", pauses.join(", "))
}

fn reset(args: &Reset, call: &Call, out: &mut Output) -> Result<Class> {
    let reason = given::reason(Some(&args.reason))?;
    let user = given::user(args.user.as_deref())?;
    let config = args.region.config(call)?;
    let mut subjects = Vec::new();
    subjects
        .extend(args.phone.as_deref().map(|text| given::phone(text, &config, call)).transpose()?.map(Subject::Phone));
    subjects.extend((!user.is_empty()).then(|| Subject::User(user.clone())));
    if let Some(ip) = &args.ip {
        subjects.extend(Subject::of_client(given::address(ip)?));
    }
    subjects.extend(args.token.map(Subject::Token));
    subjects.extend(args.everything.then_some(Subject::Everything));
    let app = call.open_with(config, OpenMode::Existing, out)?;
    let caller = os_caller();
    let mut forgotten = Forgotten::default();
    for subject in subjects {
        let (user, reason) = (user.clone(), reason.clone());
        let reset = engine::Reset { subject, user, opt_out: args.opt_out, clock: args.clock, reason };
        forgotten.add(app.run(app.engine().reset(&caller, reset))?);
    }
    out.show(&forgotten)
}

impl Render for Forgotten {
    const KIND: &'static str = "limits_reset";

    fn table(&self, _: &View) -> Table {
        Table::one_row(vec![
            ("sends", self.sends.to_string()),
            ("guesses", self.guesses.to_string()),
            ("refusals", self.refusals.to_string()),
            ("opt_out", self.opt_out.to_string()),
            ("ahead", self.ahead.to_string()),
        ])
    }

    fn layout(&self, _: &View) -> Layout {
        let Forgotten { sends, guesses, refusals, opt_out, ahead } = *self;
        if sends + guesses + refusals + ahead == 0 && !opt_out {
            return Layout::new().text("Nothing to do: nothing had been counted.");
        }
        let mut page = Layout::new();
        if sends + guesses + refusals > 0 || ahead == 0 {
            page = page.text(format!("Reset: {sends} messages, {guesses} wrong codes, {refusals} refusals."));
        }
        if ahead > 0 {
            page = page.text(format!("Events ahead of the clock, of {ahead} subjects, now count from this moment."));
        }
        if opt_out { page.text("The opt-out was removed.") } else { page }
    }
}
