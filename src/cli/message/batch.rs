//! `message send --jsonl`: many messages, each once, however often the command is started.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::args::Args;
use super::lines::{Input, Line, Numbered};
use crate::app::{App, OpenMode};
use crate::cli::{Call, given};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::engine::{self, Caller, Destination, SendAnswer, SendMessage};
use crate::error::{Class, Code, Error, Result};
use crate::message::State;
use crate::money::{Channel, Money, Prices};
use crate::output::{Layout, Output, Render, Table, View};
use crate::policy::Policy;

/// So many wrong lines are named.
const NAMED_MAX: usize = 20;

/// Timers are exact to a millisecond, so higher rates send a few lines at once.
const CATCH_UP: Duration = Duration::from_millis(20);

/// How long what is being sent may take after Ctrl-C, beyond its own time limit.
const SETTLE: Duration = Duration::from_secs(5);

/// What a batch would send.
#[derive(Debug, Default, Serialize)]
pub struct Checked {
    pub messages: u64,
    pub segments: u64,
    /// What they cost at most, in US dollars.
    pub cost: f64,
    /// Lines that cannot be sent.
    pub wrong: u64,
    pub countries: Vec<CountryOfBatch>,
    #[serde(skip)]
    money: Money,
}

/// The messages to one country.
#[derive(Debug, Serialize)]
pub struct CountryOfBatch {
    /// Two letters; left out: the numbers belong to none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<&'static str>,
    pub messages: u64,
    pub segments: u64,
    /// In US dollars.
    pub cost: f64,
    #[serde(skip)]
    money: Money,
}

impl Render for Checked {
    const KIND: &'static str = "message_check";

    fn table(&self, view: &View) -> Table {
        let mut table = Table::new(&["country", "messages", "segments", "cost"]);
        for one in &self.countries {
            let cost = if view.for_person { one.money.to_string() } else { one.cost.to_string() };
            let country = view.text_if(one.country);
            table.row(vec![country, one.messages.to_string(), one.segments.to_string(), cost]);
        }
        table
    }

    fn layout(&self, view: &View) -> Layout {
        Layout::new().table(self.table(view)).blank().text(format!(
            "{} messages, {} segments, at most {}. Nothing was sent.",
            self.messages, self.segments, self.money
        ))
    }
}

/// What became of one line.
#[derive(Debug, Serialize)]
pub struct LineSent {
    pub line: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// How far the message got.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'static str>,
    /// Why it was not sent, or may not have been.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<LineError>,
    #[serde(skip)]
    class: Class,
}

/// Why a line was not sent.
#[derive(Debug, Serialize)]
pub struct LineError {
    pub code: &'static str,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
}

impl LineSent {
    const KIND: &'static str = "message_line";
}

/// How every line is sent.
struct Batch {
    policy: Policy,
    now: Timestamp,
    region: Option<String>,
    name: String,
    segments_max: u32,
    cost_max: Option<Money>,
    valid_for: Duration,
    timeout: Duration,
}

/// Checks all lines, and sends them if none is wrong.
pub fn run(path: &str, args: &Args, call: &Call, out: &mut Output) -> Result<Class> {
    let timeout = given::timeout(&args.timeout)?;
    let config = call.config_with(args.provider.clone(), args.region.region.clone())?;
    let input = Input::open(path)?;
    let batch = Batch {
        policy: config.policy.clone(),
        now: out.view().now,
        region: config.region.clone(),
        name: args.batch.clone().unwrap_or_else(|| input.name.clone()),
        segments_max: args.allow_segments,
        cost_max: args.cost_max()?,
        valid_for: args.wanted_for()?,
        timeout,
    };
    if args.check {
        return check_only(&batch, &input, config, (call, out));
    }
    // Before the database is opened: without credentials no empty database is left behind.
    App::check_provider(&config)?;
    let messages = out.message_writer();
    let printer = Box::new(move |text: &str| messages.lines(text));
    let app = call.open_for_many(config, out)?.with_provider(printer, Some(timeout))?;
    let prices = app.run(app.engine().prices())?;
    let checked = batch.check(&input, &prices, out)?;
    if checked.wrong > 0 {
        return Err(checked.refusal());
    }
    send(&app, &batch, &input, args, (call, out))
}

/// What the lines are, without a provider, and without a database where there is none.
fn check_only(batch: &Batch, input: &Input, config: Config, (call, out): (&Call, &mut Output)) -> Result<Class> {
    let prices = match App::no_database_yet(&config) {
        Some(_) => std::sync::Arc::new(config.policy.guard.prices.clone()),
        None => {
            let app = call.open_with(config, OpenMode::Reading, out)?;
            app.run(app.engine().prices())?
        }
    };
    let checked = batch.check(input, &prices, out)?;
    out.show(&checked)?;
    if checked.wrong > 0 { Err(checked.refusal()) } else { Ok(Class::Done) }
}

impl Checked {
    fn refusal(&self) -> Error {
        let all = self.messages + self.wrong;
        let wrong = if self.wrong == 1 { "line is" } else { "lines are" };
        Error::new(Code::VALUE_INVALID, format!("{} of {all} {wrong} wrong: nothing was sent", self.wrong))
            .hint("Mend them and start again: what was sent before is not sent again.")
    }
}

impl Batch {
    /// Looks at every line, and names those that are wrong.
    fn check(&self, input: &Input, prices: &Prices, out: &Output) -> Result<Checked> {
        let mut countries: BTreeMap<Option<&'static str>, (u64, u64, Money)> = BTreeMap::new();
        let (mut wrong, mut lines) = (0, input.lines()?);
        while let Some((number, line)) = lines.next()? {
            match line.and_then(|line| self.look_at(&line, prices).map_err(in_words)) {
                Ok((country, segments, cost)) => {
                    let of = countries.entry(country).or_default();
                    *of = (of.0 + 1, of.1 + u64::from(segments), of.2.plus(cost));
                }
                Err(why) => {
                    wrong += 1;
                    if wrong <= NAMED_MAX as u64 {
                        out.warn(&format!("line {number}: {why}"));
                    }
                }
            }
        }
        if wrong > NAMED_MAX as u64 {
            out.warn(&format!("{} more lines are wrong", wrong - NAMED_MAX as u64));
        }
        let countries = countries.into_iter().map(|(country, (messages, segments, money))| CountryOfBatch {
            country,
            messages,
            segments,
            cost: money.usd(),
            money,
        });
        let mut checked = Checked { wrong, ..Checked::default() };
        for one in countries {
            checked.messages += one.messages;
            checked.segments += one.segments;
            checked.money = checked.money.plus(one.money);
            checked.countries.push(one);
        }
        checked.cost = checked.money.usd();
        Ok(checked)
    }

    /// Country, segments and cost of a line.
    fn look_at(&self, line: &Line, prices: &Prices) -> Result<(Option<&'static str>, u32, Money)> {
        let number = match Destination::parse(&line.to, self.region.as_deref())? {
            Destination::Known(number) => number,
            Destination::Shape(_, error) => return Err(error),
        };
        engine::check_booking(line.at.map(Into::into), self.now)?;
        let country = number.country.as_deref();
        let segments = engine::measure_message(&self.policy, &line.content()?, country, self.segments_max)?;
        let cost = prices.of(country, Channel::Sms).times(segments);
        if self.cost_max.is_some_and(|most| cost > most) {
            return Err(Error::new(Code::COST_TOO_HIGH, format!("it costs {cost}, more than --max-cost")));
        }
        Ok((country.and_then(crate::phone::country), segments, cost))
    }

    fn message(&self, number: u64, line: Line) -> Result<SendMessage> {
        let key = line.key.clone().unwrap_or_else(|| self.key(number, &line));
        Ok(SendMessage {
            to: Destination::parse(&line.to, self.region.as_deref())?,
            content: line.content()?,
            at: line.at.map(Into::into),
            override_limits: None,
            idempotency_key: Some(key),
            segments_max: self.segments_max,
            cost_max: self.cost_max,
            valid_for: self.valid_for,
            timeout: self.timeout,
        })
    }

    /// A key for a line of this input: it stays the same while its number and what it says do.
    fn key(&self, number: u64, line: &Line) -> String {
        let digest = |text: &str| base16ct::lower::encode_string(&Sha256::digest(text.as_bytes())[..12]);
        format!("jsonl {} {number} {}", digest(&self.name), digest(&line.what()))
    }
}

fn in_words(error: Error) -> String {
    error.message().to_owned()
}

/// Sends the lines, some at a time, and answers them in order.
fn send(app: &App, batch: &Batch, input: &Input, args: &Args, (call, out): (&Call, &mut Output)) -> Result<Class> {
    let caller = given::caller(None)?;
    let _hold = call.signals.hold_for(batch.timeout + SETTLE);
    let mut progress = out.progress("messages");
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    let (mut done, mut worst, mut failed) = (0, Class::Done, None);
    let stop = Cell::new(false);
    let may_go_on = &|| !stop.get() && call.signals.interrupted().is_ok();
    let lines = input.lines()?;
    app.run(async {
        let period = Duration::from_secs_f64(1.0 / f64::from(args.rate));
        let taken = stream::unfold((lines, Instant::now()), |(mut lines, at)| async move {
            tokio::time::sleep_until(at).await;
            if !may_go_on() {
                return None;
            }
            // Who was held up goes on at the same rate, and catches up with little.
            let next = (at + period).max(Instant::now() - CATCH_UP);
            Some((lines.next().transpose()?, (lines, next)))
        });
        let sent = taken.map(|line| send_line(app, batch, &caller, line)).buffered(usize::from(args.concurrency));
        let mut sent = std::pin::pin!(sent);
        while let Some(answer) = sent.next().await {
            let shown = answer.and_then(|line| {
                *counts.entry(line.state.unwrap_or("refused")).or_default() += 1;
                worst = worse(worst, line.class);
                done += 1;
                progress.advance_to(done);
                out.show_line(LineSent::KIND, &line)
            });
            if let Err(error) = shown {
                // What is being sent is brought to its end, and nothing else begun.
                stop.set(true);
                failed.get_or_insert(error);
            }
        }
    });
    drop(progress);
    let open = counts.contains_key(State::Queued.as_str()) || counts.contains_key(State::Unknown.as_str());
    let counts: Vec<String> = counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
    out.inform(&format!("{done} lines: {}", if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }));
    if let Some(error) = failed {
        return Err(error);
    }
    if call.signals.interrupted().is_err() {
        out.hint("Start it again with the same input: it goes on, and sends nothing twice.");
        return call.signals.interrupted().map(|()| Class::Done);
    }
    if open {
        out.hint("`smsotp dispatch` sends what is queued, and finds out what became of what is unknown.");
    }
    Ok(worst)
}

async fn send_line(app: &App, batch: &Batch, caller: &Caller, line: Result<Numbered>) -> Result<LineSent> {
    let (line, read) = line?;
    let not_sent = |error: &Error| LineSent {
        line,
        message_id: None,
        state: None,
        error: Some(LineError::of(error)),
        class: error.class(),
    };
    let message = match read {
        Ok(read) => batch.message(line, read),
        // It was right when it was checked.
        Err(why) => Err(Error::new(Code::VALUE_INVALID, why)),
    };
    let message = match message {
        Ok(message) => message,
        Err(error) => return Ok(not_sent(&error)),
    };
    Ok(match app.engine().send_message(caller, message).await {
        Ok(SendAnswer::Sent(sent)) => {
            let failure = sent.failure();
            LineSent {
                line,
                message_id: Some(format!("m{}", sent.message_id)),
                state: Some(sent.state.as_str()),
                class: failure.as_ref().map_or(Class::Done, Error::class),
                error: failure.as_ref().map(LineError::of),
            }
        }
        Ok(SendAnswer::Refused(refusal)) => not_sent(&refusal.error()),
        // The database, the configuration or the provider is not there for the other lines either.
        Err(error) if matches!(error.class(), Class::Io | Class::Config | Class::Bug) => return Err(error),
        Err(error) => not_sent(&error),
    })
}

impl LineError {
    fn of(error: &Error) -> LineError {
        LineError {
            code: error.code().name,
            message: error.message().to_owned(),
            retry_after_seconds: error.retry_after_hint().map(|after| after.as_secs().max(1)),
        }
    }
}

/// The class of a whole batch: one that may have been sent outweighs one that was not, and that one that may be tried later.
fn worse(so_far: Class, next: Class) -> Class {
    let weight = |class: Class| match class {
        Class::Done => 0,
        Class::TryLater => 1,
        Class::MaybeSent => 3,
        _ => 2,
    };
    let next = if weight(next) == 2 { Class::No } else { next };
    if weight(next) > weight(so_far) { next } else { so_far }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_line_decides() {
        let of = |classes: &[Class]| classes.iter().fold(Class::Done, |so_far, next| worse(so_far, *next));
        assert_eq!(of(&[]), Class::Done);
        assert_eq!(of(&[Class::Done, Class::TryLater]), Class::TryLater);
        assert_eq!(of(&[Class::TryLater, Class::Policy, Class::Done]), Class::No);
        assert_eq!(of(&[Class::MaybeSent, Class::Unavailable]), Class::MaybeSent);
    }
}
