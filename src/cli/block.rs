//! `smsotp block`: who gets no messages, whom the caps do not hold back, and who opted out.

use serde::Serialize;

use super::{Call, given};
use crate::app::{OpenMode, os_caller};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::engine::{AddEntry, AddedEntry, OptedOut, SubjectId};
use crate::error::{Class, Code, Error, Result};
use crate::lists::{ListEntry, Listed, ListedKind, Network, Prefix, Side};
use crate::output::{Item, Layout, List, Output, Render, Table, View};
use crate::phone;

/// Block phones, countries, users and addresses, or let them pass the caps
///
/// A block stops messages; a code that is live can still be verified. An allowed one passes the caps against abuse, but neither
/// limits nor ceilings. The more specific entry decides: a phone before a prefix, a prefix before a country, an address before a
/// network; a block before an allow of the same.
#[derive(Debug, clap::Subcommand)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp block add +99290 --reason 'pumping, 14 codes and none entered'\n  \
    $ smsotp block allow TJ --for 2h --reason 'our campaign there starts today'\n  \
    $ smsotp block remove +99290")]
pub enum Verb {
    Add(Add),
    Allow(Allow),
    List(ListArgs),
    Remove(Remove),
}

/// How many rows after a page are counted.
const MORE_MAX: u32 = 1000;

/// What an entry is about.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("listed").required(true).args(["what", "user", "ip"]))]
pub struct What {
    /// A phone number, the first digits of numbers (+99290 or +99290*), a country (TJ), an address or a network
    #[arg(value_name = "WHAT")]
    pub what: Option<String>,
    /// A user
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,
    /// A client's address, or a network like 203.0.113.0/24
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<String>,
    #[command(flatten)]
    pub region: given::Region,
}

/// Why, and until when.
#[derive(Debug, clap::Args)]
pub struct Terms {
    /// Why; shown in the list and kept in the audit log
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// For how long [default: until it is removed]
    #[arg(long = "for", value_name = "SPAN", conflicts_with = "until")]
    pub span: Option<String>,
    /// Until when: a date, RFC 3339, or a span from now
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
}

/// Block something, or change the reason and end of a block
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp block add +99290 --for 7d --reason 'pumping, 14 codes and none entered'\n  \
    $ smsotp block add 203.0.113.0/24 --until 2030-01-31 --reason 'ticket 4711'\n  \
    $ smsotp block add +14155552671 --opt-out --reason 'wrote to support'")]
pub struct Add {
    #[command(flatten)]
    pub what: What,
    #[command(flatten)]
    pub terms: Terms,
    /// Let it pass the caps instead: the same as `block allow`
    #[arg(long)]
    pub allow: bool,
    /// Record that the owner of the phone opted out of messages
    #[arg(long, requires = "what", conflicts_with_all = ["allow", "span", "until"])]
    pub opt_out: bool,
}

/// Let something pass the caps against abuse
///
/// Limits, ceilings and blocks still hold.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp block allow TJ --for 2h --reason 'our campaign there starts today'\n  \
    $ smsotp block allow 203.0.113.7 --reason 'our own office'")]
pub struct Allow {
    #[command(flatten)]
    pub what: What,
    #[command(flatten)]
    pub terms: Terms,
}

/// List what is blocked and allowed
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp block list\n  \
    $ smsotp block list --allow\n  \
    $ smsotp block list --opt-out --json")]
pub struct ListArgs {
    /// Only what is allowed
    #[arg(long)]
    pub allow: bool,
    /// The phones whose owners opted out
    #[arg(long, conflicts_with = "allow")]
    pub opt_out: bool,
    /// At most this many rows
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// Start after this row: the `next_after` of the page before
    #[arg(long, value_name = "ID")]
    pub after: Option<String>,
}

/// Take something off its list
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp block remove +99290\n  \
    $ smsotp block remove TJ --allow\n  \
    $ smsotp block remove +14155552671 --opt-out --reason 'asked for codes again'")]
pub struct Remove {
    #[command(flatten)]
    pub what: What,
    /// Take it off the list of what is allowed
    #[arg(long)]
    pub allow: bool,
    /// Record that the owner of the phone wants messages again
    #[arg(long, requires_all = ["what", "reason"], conflicts_with = "allow")]
    pub opt_out: bool,
    /// Why; kept in the audit log
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// One entry.
#[derive(Clone, Debug, Serialize)]
pub struct EntryRow {
    /// Where the next page of the list begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `block` or `allow`.
    pub list: Side,
    /// `phone`, `prefix`, `country`, `user`, `ip` or `network`.
    #[serde(rename = "type")]
    pub kind: ListedKind,
    /// What it is about; a phone is masked, for the whole number is not kept.
    pub value: String,
    pub reason: String,
    pub since: Timestamp,
    /// Absent: until it is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    pub by: String,
    /// How many messages it has refused, as far as the audit log has recorded them.
    pub hits: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hit_at: Option<Timestamp>,
}

impl Item for EntryRow {
    const KIND: &'static str = "list_entry";
    const COLUMNS: &'static [&'static str] =
        &["list", "type", "value", "reason", "since", "until", "by", "hits", "last hit"];
    const PROSE: &'static [&'static str] = &["reason"];
    const SPARE: &'static [&'static str] = &["last hit", "by", "since", "list"];

    fn cells(&self, view: &View) -> Vec<String> {
        vec![
            self.list.to_string(),
            self.kind.to_string(),
            self.value.clone(),
            self.reason.clone(),
            view.time(self.since),
            view.time_if(self.until),
            self.by.clone(),
            self.hits.to_string(),
            view.time_if(self.hit_at),
        ]
    }
}

/// A phone whose owner opted out.
#[derive(Clone, Debug, Serialize)]
pub struct OptOutRow {
    /// Masked: the whole number is not kept.
    pub phone: String,
    pub since: Timestamp,
}

impl Item for OptOutRow {
    const KIND: &'static str = "opt_out";
    const COLUMNS: &'static [&'static str] = &["phone", "since"];

    fn cells(&self, view: &View) -> Vec<String> {
        vec![self.phone.clone(), view.time(self.since)]
    }
}

/// What `add`, `allow` or `remove` did.
#[derive(Debug, Serialize)]
struct Changed {
    /// `added`, `changed` or `removed`.
    change: &'static str,
    #[serde(flatten)]
    entry: EntryRow,
}

impl Render for Changed {
    const KIND: &'static str = "list_entry_changed";

    fn table(&self, view: &View) -> Table {
        Table::one_row(vec![
            ("change", self.change.to_owned()),
            ("list", self.entry.list.to_string()),
            ("type", self.entry.kind.to_string()),
            ("value", self.entry.value.clone()),
            ("until", view.time_if(self.entry.until)),
        ])
    }

    fn layout(&self, view: &View) -> Layout {
        let what = in_words(self.entry.kind, &self.entry.value);
        if self.change == "removed" {
            let no_more = if self.entry.list == Side::Block { "blocked" } else { "allowed past the caps" };
            return Layout::new().text(format!("{what}: {no_more} no more."));
        }
        let means = match self.entry.list {
            Side::Block => "blocked. Messages stop; live codes can still be verified",
            Side::Allow => "allowed past the caps against abuse. Limits and ceilings hold",
        };
        Layout::new()
            .text(format!("{what}: {means}."))
            .field("reason", &self.entry.reason)
            .field("until", self.entry.until.map_or_else(|| "it is removed".to_owned(), |until| view.time(until)))
    }
}

/// What became of an opt-out.
#[derive(Debug, Serialize)]
struct OptOutChanged {
    /// Masked unless revealed.
    phone: String,
    opted_out: bool,
    /// False: that was known.
    changed: bool,
}

impl Render for OptOutChanged {
    const KIND: &'static str = "opt_out_changed";

    fn table(&self, _: &View) -> Table {
        Table::one_row(vec![
            ("phone", self.phone.clone()),
            ("opted_out", self.opted_out.to_string()),
            ("changed", self.changed.to_string()),
        ])
    }

    fn layout(&self, _: &View) -> Layout {
        let phone = &self.phone;
        Layout::new().text(match (self.opted_out, self.changed) {
            (true, true) => format!("{phone} gets no more messages."),
            (true, false) => format!("Nothing to do: {phone} had opted out."),
            (false, _) => {
                format!("{phone} gets messages again. Where they texted STOP, the provider sends them none until they text START.")
            }
        })
    }
}

/// What was named, for a sentence.
fn in_words(kind: ListedKind, value: &str) -> String {
    match kind {
        ListedKind::Phone => value.to_owned(),
        ListedKind::Prefix => format!("Every number that begins with {value}"),
        ListedKind::Country => format!("The country {value}"),
        ListedKind::User => format!("The user {value}"),
        ListedKind::Ip => format!("The address {value}"),
        ListedKind::Network => format!("The network {value}"),
    }
}

impl What {
    /// What is meant: told apart by its form.
    fn read(&self, config: &Config, call: &Call) -> Result<Listed> {
        if let Some(user) = &self.user {
            let user = given::user(Some(user))?;
            if user.is_empty() {
                return Err(Error::new(Code::VALUE_INVALID, "the user is empty")
                    .hint("The empty user is nobody in particular; name one, or a phone or an address."));
            }
            return Ok(Listed::User(user));
        }
        if let Some(ip) = &self.ip {
            return if ip.contains('/') { network(ip) } else { given::address(ip).map(Listed::client) };
        }
        let text = self.what.as_deref().unwrap_or_default().trim();
        if text.contains('/') {
            return network(text);
        }
        if let Ok(ip) = text.parse() {
            return Ok(Listed::client(ip));
        }
        if text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return phone::country(text).map(Listed::Country).ok_or_else(|| {
                Error::new(Code::VALUE_INVALID, format!("{text} is no country"))
                    .hint(phone::how_to_name_a_country(text))
            });
        }
        if text.ends_with('*') {
            return Prefix::parse(text).map(Listed::Prefix);
        }
        let known = phone::parse(text, None).map(|number| number.phone);
        match (known, Prefix::parse(text)) {
            (Ok(phone), _) => Ok(Listed::Phone(phone)),
            (Err(_), Ok(prefix)) if !prefix.is_long() => Ok(Listed::Prefix(prefix)),
            (Err(error), Ok(prefix)) => {
                let star = format!("Check the number; or, for all that begin so: {}*", prefix.as_str());
                Err(Error::new(error.code(), error.message()).hint(star))
            }
            (Err(_), Err(_)) => given::phone(text, config, call).map(Listed::Phone),
        }
    }
}

fn network(text: &str) -> Result<Listed> {
    Network::parse(text.trim()).map(Listed::Network)
}

impl Terms {
    fn until(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        let after = |span: &String| given::span("--for", span).map(|span| now + span);
        match (&self.span, &self.until) {
            (Some(span), _) => after(span).map(Some),
            (None, Some(when)) => given::moment("--until", when, |span| now + span).map(Some),
            (None, None) => Ok(None),
        }
    }
}

/// Adds, lists or removes.
pub fn run(verb: Verb, call: &Call, out: &mut Output) -> Result<Class> {
    match verb {
        Verb::Add(args) if args.opt_out => opt_out(&args.what, (true, &args.terms.reason), call, out),
        Verb::Add(args) => {
            add(if args.allow { Side::Allow } else { Side::Block }, (&args.what, &args.terms), call, out)
        }
        Verb::Allow(args) => add(Side::Allow, (&args.what, &args.terms), call, out),
        Verb::List(args) if args.opt_out => list_opt_outs(&args, call, out),
        Verb::List(args) => list(&args, call, out),
        Verb::Remove(args) if args.opt_out => {
            opt_out(&args.what, (false, args.reason.as_deref().unwrap_or_default()), call, out)
        }
        Verb::Remove(args) => remove(&args, call, out),
    }
}

fn add(side: Side, (what, terms): (&What, &Terms), call: &Call, out: &mut Output) -> Result<Class> {
    let config = what.region.config(call)?;
    let listed = what.read(&config, call)?;
    let (until, reason) = (terms.until(out.view().now)?, given::reason(Some(&terms.reason))?);
    let app = call.open_with(config, OpenMode::MayCreate, out)?;
    let added = app.run(app.engine().add_entry(&os_caller(), AddEntry { side, listed, until, reason }))?;
    let AddedEntry { entry, was_there, blocked_by } = added;
    if let Some(block) = blocked_by {
        out.warn(&format!("the block list has the same, and a block decides: {}", block.undo()));
    }
    out.show(&Changed { change: if was_there { "changed" } else { "added" }, entry: EntryRow::of(None, entry) })
}

fn remove(args: &Remove, call: &Call, out: &mut Output) -> Result<Class> {
    let config = args.what.region.config(call)?;
    let listed = args.what.read(&config, call)?;
    let reason = given::reason(args.reason.as_deref())?;
    let side = if args.allow { Side::Allow } else { Side::Block };
    let app = call.open_with(config, OpenMode::Existing, out)?;
    let removed = app.run(app.engine().remove_entry(&os_caller(), (side, &listed), &reason))?;
    let Some(entry) = removed else {
        let list = if args.allow { "allowed" } else { "blocked" };
        let not = format!("{} is not {list}", in_words(listed.kind(), &listed.shown()));
        return Err(Error::new(Code::NOT_FOUND, not).hint("`smsotp block list` shows what is blocked and allowed."));
    };
    out.show(&Changed { change: "removed", entry: EntryRow::of(None, entry) })
}

fn list(args: &ListArgs, call: &Call, out: &mut Output) -> Result<Class> {
    let before = args.after.as_deref().map(|text| text.parse().map_err(|_| no_row(text))).transpose()?;
    let app = call.open(OpenMode::Reading, out)?;
    let side = args.allow.then_some(Side::Allow);
    let entries = app.run(app.engine().entries(side, before, args.limit + MORE_MAX))?;
    let rows = entries.into_iter().map(|(number, entry)| EntryRow::of(Some(number), entry)).collect();
    out.list(&page(
        rows,
        args.limit,
        |row: &EntryRow| row.id.clone().unwrap_or_default(),
        "Nothing is blocked or allowed.",
    ))
}

fn list_opt_outs(args: &ListArgs, call: &Call, out: &mut Output) -> Result<Class> {
    let after = args.after.as_deref().map(|text| SubjectId::from_hex(text).ok_or_else(|| no_row(text))).transpose()?;
    let app = call.open(OpenMode::Reading, out)?;
    let found = app.run(app.engine().opted_out(after, args.limit + MORE_MAX))?;
    let List { items, more, next_after, when_empty } =
        page(found, args.limit, |phone: &OptedOut| phone.id.hex(), "Nobody opted out.");
    let items = items.into_iter().map(|phone| OptOutRow { phone: phone.shown, since: phone.since }).collect();
    out.list(&List { items, more, next_after, when_empty })
}

/// One page of rows, of which more than fit were asked for.
fn page<T>(mut rows: Vec<T>, limit: u32, id: impl Fn(&T) -> String, when_empty: &'static str) -> List<T> {
    let more = rows.split_off(rows.len().min(usize::try_from(limit).unwrap_or(usize::MAX))).len();
    let next_after = rows.last().filter(|_| more > 0).map(id);
    List { items: rows, more: u64::try_from(more).unwrap_or(u64::MAX), next_after, when_empty }
}

fn no_row(text: &str) -> Error {
    Error::new(Code::VALUE_INVALID, format!("--after is no row: {text:.40}"))
        .hint("Give the `next_after` of the page before.")
}

fn opt_out(what: &What, (opted_out, reason): (bool, &str), call: &Call, out: &mut Output) -> Result<Class> {
    let config = what.region.config(call)?;
    let reason = given::reason(Some(reason))?;
    let phone = given::phone(what.what.as_deref().unwrap_or_default(), &config, call)?;
    let app = call.open_with(config, if opted_out { OpenMode::MayCreate } else { OpenMode::Existing }, out)?;
    let changed = app.run(app.engine().set_opt_out(&os_caller(), (&phone, opted_out), &reason))?;
    if !changed && !opted_out {
        return Err(Error::new(Code::NOT_FOUND, format!("{} has not opted out", phone.masked()))
            .hint("`smsotp block list --opt-out` shows who has."));
    }
    out.show(&OptOutChanged { phone: out.phone(&phone), opted_out, changed })
}

impl EntryRow {
    fn of(number: Option<i64>, entry: ListEntry) -> EntryRow {
        let ListEntry { side, kind, shown, reason, since, until, added_by, hits, hit_at, .. } = entry;
        EntryRow {
            id: number.map(|number| number.to_string()),
            list: side,
            kind,
            value: shown,
            reason,
            since,
            until,
            by: added_by,
            hits,
            hit_at,
        }
    }
}
