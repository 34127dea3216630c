//! How a page of otps or messages is found, in SQL for both stores: a bounded walk down the ids. The conditions that an index can answer select the
//! rows that the walk visits; the rest of the filter selects among them.

use std::marker::PhantomData;

use super::Filter;
use super::schema::{self, Dialect, Record};
use super::value::{Stored, Value};
use crate::clock::{CLOCK_SLACK, Timestamp};
use crate::message::Message;
use crate::otp::{Otp, State};

/// How many rows one page visits at most.
const VISITED_MAX: u32 = 20_000;

/// What is listed by walking down its ids, which grow with the time at which a row is made.
pub trait Walked: Record {
    /// The column with that time.
    const MADE: &'static str;
    /// Its id.
    fn id(&self) -> i64;
    /// The index that the walk goes along; `None`: all ids.
    fn index(filter: &Filter) -> Option<&'static str>;
    /// Which rows are visited.
    fn visited<'a>(filter: &'a Filter, now: Timestamp, places: &mut Places<'a>) -> Vec<String>;
    /// Which of them match, besides the time. The rows have the name `visited`.
    fn matching<'a>(filter: &'a Filter, now: Timestamp, places: &mut Places<'a>) -> Vec<String>;
}

/// The values of a statement, each of which gets a place.
pub struct Places<'a> {
    dialect: Dialect,
    values: Vec<Value<'a>>,
}

impl<'a> Places<'a> {
    fn of(&mut self, value: Value<'a>) -> String {
        self.values.push(value);
        self.dialect.place(self.values.len())
    }
}

/// The walk for one filter.
pub struct Walk<'a, R> {
    dialect: Dialect,
    filter: &'a Filter,
    now: Timestamp,
    /// Visit only ids below this one.
    pub before: Option<i64>,
    /// Visit only this id and those above: the first one made at or after [`Walk::since`].
    pub since_id: Option<i64>,
    /// Visit only ids below this one: the first one made at or after [`Walk::until`].
    pub until_id: Option<i64>,
    of: PhantomData<R>,
}

/// A statement with its values.
pub type Query<'a> = (String, Vec<Value<'a>>);

/// The conditions of a walk. The values of the first list come before those of the second.
struct Terms<'a> {
    /// Which rows are visited.
    visited: Vec<String>,
    /// How many values these conditions have.
    visited_values: usize,
    /// Which of them match.
    matching: Vec<String>,
    values: Vec<Value<'a>>,
}

impl<'a, R: Walked> Walk<'a, R> {
    /// The walk before the ids of its time range are known.
    pub fn new(dialect: Dialect, filter: &'a Filter, now: Timestamp) -> Walk<'a, R> {
        Walk { dialect, filter, now, before: filter.before, since_id: None, until_id: None, of: PhantomData }
    }

    /// From when on ids are visited: a little earlier than the filter says, because the order of ids and times may differ by
    /// as much as clocks do.
    pub fn since(&self) -> Option<Timestamp> {
        self.filter.since.map(|since| since - CLOCK_SLACK)
    }

    /// Until when ids are visited, a little later than the filter says.
    pub fn until(&self) -> Option<Timestamp> {
        self.filter.until.map(|until| until + CLOCK_SLACK)
    }

    fn terms(&self) -> Terms<'a> {
        let filter = self.filter;
        let mut places = Places { dialect: self.dialect, values: Vec::new() };
        let mut visited = R::visited(filter, self.now, &mut places);
        for (term, id) in [("id <", self.before), ("id <", self.until_id), ("id >=", self.since_id)] {
            visited.extend(id.map(|id| format!("{term} {}", places.of(id.into()))));
        }
        let visited_values = places.values.len();
        let mut matching = R::matching(filter, self.now, &mut places);
        for (term, at) in [("<", filter.until), (">=", filter.since)] {
            matching.extend(at.map(|at| format!("{} {term} {}", R::MADE, places.of(at.millis().into()))));
        }
        Terms { visited, visited_values, matching, values: places.values }
    }

    /// The first row's time from an id on: what the search for the first id of a time asks.
    pub fn made_from(dialect: Dialect) -> String {
        let (table, id) = (dialect.table(R::table().name), dialect.place(1));
        format!("SELECT {} FROM {table} WHERE id >= {id} ORDER BY id LIMIT 1", R::MADE)
    }

    /// The highest id; 0: there is none.
    pub fn last_id(dialect: Dialect) -> String {
        format!("SELECT coalesce(max(id), 0) FROM {}", dialect.table(R::table().name))
    }

    /// The table, with the index that SQLite has to use: by itself it would walk down all ids, which is not cheaper where the index
    /// finds few rows.
    fn table(&self) -> String {
        let table = self.dialect.table(R::table().name);
        match R::index(self.filter).filter(|_| self.dialect == Dialect::Sqlite) {
            Some(index) => format!("{table} INDEXED BY {index}"),
            None => table,
        }
    }

    /// Up to `limit` rows, newest first. SQLite stops as soon as it has them.
    pub fn page(&self, columns: &str, limit: u32) -> Query<'a> {
        let terms = self.terms();
        let (table, visited) = (self.table(), condition(&terms.visited));
        if terms.matching.is_empty() {
            // Every visited row matches.
            let sql = format!("SELECT {columns} FROM {table}{visited} ORDER BY id DESC LIMIT {limit}");
            return (sql, terms.values);
        }
        let matching = condition(&terms.matching);
        // SQLite keeps the order of the subquery, and would only sort again.
        let order = if self.dialect == Dialect::Sqlite { "" } else { " ORDER BY id DESC" };
        let inner = format!("SELECT * FROM {table}{visited} ORDER BY id DESC LIMIT {VISITED_MAX}");
        (format!("SELECT {columns} FROM ({inner}) AS visited{matching}{order} LIMIT {limit}"), terms.values)
    }

    /// How many rows match, counted up to `limit`.
    pub fn count(&self, limit: u32) -> Query<'a> {
        let (page, values) = self.page("id", limit);
        (format!("SELECT count(*) FROM ({page}) AS found"), values)
    }

    /// The last visited id, if the walk ends there although more rows may follow.
    pub fn edge(&self) -> Option<Query<'a>> {
        let mut terms = self.terms();
        terms.values.truncate(terms.visited_values);
        let (table, visited) = (self.table(), condition(&terms.visited));
        let sql = format!("SELECT id FROM {table}{visited} ORDER BY id DESC LIMIT 1 OFFSET {}", VISITED_MAX - 1);
        (!terms.matching.is_empty()).then_some((sql, terms.values))
    }
}

impl Walked for Otp {
    const MADE: &'static str = "created_at";

    fn id(&self) -> i64 {
        self.id
    }

    fn index(filter: &Filter) -> Option<&'static str> {
        if only_live(filter) {
            Some("otps_live")
        } else if filter.phone.is_some() {
            Some("otps_phone")
        } else if indexed_user(filter) {
            Some("otps_user")
        } else {
            None
        }
    }

    fn visited<'a>(filter: &'a Filter, now: Timestamp, places: &mut Places<'a>) -> Vec<String> {
        let mut terms = indexed(filter, places);
        if only_live(filter) {
            terms.push(schema::is_live(&places.of(now.millis().into())));
        }
        terms
    }

    fn matching<'a>(filter: &'a Filter, now: Timestamp, places: &mut Places<'a>) -> Vec<String> {
        let mut terms = selected(filter, places);
        if !only_live(filter) {
            let mut states = Vec::new();
            if !filter.states.is_empty() {
                states.push(schema::shown_state_in(&filter.states, &places.of(now.millis().into())));
            }
            if !filter.deliveries.is_empty() {
                states.push(schema::has_message_in(places.dialect, &filter.deliveries, "visited.id"));
            }
            terms.extend((!states.is_empty()).then(|| format!("({})", states.join(" OR "))));
        }
        terms
    }
}

/// A message is found by its own state and time, and by the phone, user and purpose of its otp.
impl Walked for Message {
    const MADE: &'static str = "reserved_at";

    fn id(&self) -> i64 {
        self.id
    }

    fn index(_: &Filter) -> Option<&'static str> {
        None
    }

    fn visited<'a>(filter: &'a Filter, _now: Timestamp, places: &mut Places<'a>) -> Vec<String> {
        let of_otps = indexed(filter, places);
        let [otps, messages] = [Otp::table(), Message::table()].map(|table| places.dialect.table(table.name));
        if of_otps.is_empty() {
            return Vec::new();
        }
        let mut found = format!(
            "SELECT m.id FROM {messages} AS m WHERE m.otp_id IN (SELECT id FROM {otps}{})",
            condition(&of_otps)
        );
        // Those without a code have a phone, and neither user nor purpose.
        if let Some(phone) = filter.phone.as_ref().filter(|_| filter.user.is_none() && filter.purpose.is_none()) {
            let phone = places.of(phone.to_value());
            found.push_str(&format!(
                " UNION ALL SELECT m.id FROM {messages} AS m WHERE m.otp_id IS NULL AND m.phone_number = {phone}"
            ));
        }
        vec![format!("id IN ({found})")]
    }

    fn matching<'a>(filter: &'a Filter, _now: Timestamp, places: &mut Places<'a>) -> Vec<String> {
        let mut of_otp = selected(filter, places);
        let mut terms = Vec::new();
        if !of_otp.is_empty() {
            of_otp.insert(0, "o.id = visited.otp_id".to_owned());
            let otps = places.dialect.table(Otp::table().name);
            terms.push(format!("EXISTS (SELECT 1 FROM {otps} AS o{})", condition(&of_otp)));
        }
        if !filter.deliveries.is_empty() {
            terms.push(schema::message_state_in("state", filter.deliveries.iter().copied()));
        }
        terms
    }
}

/// Whether the index of users is used.
fn indexed_user(filter: &Filter) -> bool {
    filter.phone.is_none() && filter.user.as_ref().is_some_and(|user| !user.is_empty())
}

/// Whether only live otps are wanted: there are few at a time, and they have an index of their own.
fn only_live(filter: &Filter) -> bool {
    filter.states == [State::Active] && filter.deliveries.is_empty()
}

/// What an index of otps answers.
fn indexed<'a>(filter: &'a Filter, places: &mut Places<'a>) -> Vec<String> {
    let mut terms = Vec::new();
    if let Some(phone) = &filter.phone {
        terms.push(format!("phone_number = {}", places.of(phone.to_value())));
    }
    if let Some(user) = filter.user.as_ref().filter(|_| indexed_user(filter)) {
        terms.push(format!(r#""user" <> '' AND "user" = {}"#, places.of(user.to_value())));
    }
    terms
}

/// What is left to compare of an otp.
fn selected<'a>(filter: &'a Filter, places: &mut Places<'a>) -> Vec<String> {
    let mut terms = Vec::new();
    if let Some(user) = filter.user.as_ref().filter(|_| !indexed_user(filter)) {
        terms.push(format!(r#""user" = {}"#, places.of(user.to_value())));
    }
    if let Some(purpose) = &filter.purpose {
        terms.push(format!("purpose = {}", places.of(purpose.to_value())));
    }
    terms
}

fn condition(terms: &[String]) -> String {
    if terms.is_empty() { String::new() } else { format!(" WHERE {}", terms.join(" AND ")) }
}
