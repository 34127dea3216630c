//! How a page of otps is found, in SQL for both stores: a bounded walk down the ids. The conditions that an index can answer select the
//! rows that the walk visits; the rest of the filter selects among them.

use super::Filter;
use super::schema::{self, Dialect, Record};
use super::value::{Stored, Value};
use crate::clock::{CLOCK_SLACK, Timestamp};
use crate::otp::{Otp, State};

/// How many rows one page visits at most.
const VISITED_MAX: u32 = 20_000;

/// The walk for one filter.
pub struct Walk<'a> {
    dialect: Dialect,
    filter: &'a Filter,
    now: Timestamp,
    /// Visit only ids below this one.
    pub before: Option<i64>,
    /// Visit only this id and those above: the first one made at or after [`Walk::since`].
    pub since_id: Option<i64>,
    /// Visit only ids below this one: the first one made at or after [`Walk::until`].
    pub until_id: Option<i64>,
}

/// A statement with its values.
pub type Query<'a> = (String, Vec<Value<'a>>);

/// The conditions of a walk. The values of the first list come before those of the second.
#[derive(Default)]
struct Terms<'a> {
    /// Which rows are visited.
    visited: Vec<String>,
    /// How many values these conditions have.
    visited_values: usize,
    /// Which of them match.
    matching: Vec<String>,
    values: Vec<Value<'a>>,
}

impl<'a> Walk<'a> {
    /// The walk before the ids of its time range are known.
    pub fn new(dialect: Dialect, filter: &'a Filter, now: Timestamp) -> Walk<'a> {
        Walk { dialect, filter, now, before: filter.before, since_id: None, until_id: None }
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

    /// Whether the index of users is used.
    fn indexed_user(&self) -> bool {
        self.filter.phone.is_none() && self.filter.user.as_ref().is_some_and(|user| !user.is_empty())
    }

    /// Whether only live otps are wanted: there are few at a time, and they have an index of their own.
    fn only_live(&self) -> bool {
        self.filter.states == [State::Active] && self.filter.deliveries.is_empty()
    }

    fn terms(&self) -> Terms<'a> {
        let mut terms = Terms::default();
        let filter = self.filter;
        let mut value = |value: Value<'a>| {
            terms.values.push(value);
            self.dialect.place(terms.values.len())
        };
        if let Some(phone) = &filter.phone {
            terms.visited.push(format!("phone_number = {}", value(phone.to_value())));
        }
        if let Some(user) = filter.user.as_ref().filter(|_| self.indexed_user()) {
            terms.visited.push(format!(r#""user" <> '' AND "user" = {}"#, value(user.to_value())));
        }
        if self.only_live() {
            terms.visited.push(schema::is_live(&value(self.now.millis().into())));
        }
        for (term, id) in [("id <", self.before), ("id <", self.until_id), ("id >=", self.since_id)] {
            terms.visited.extend(id.map(|id| format!("{term} {}", value(id.into()))));
        }
        terms.visited_values = terms.values.len();
        let mut value = |value: Value<'a>| {
            terms.values.push(value);
            self.dialect.place(terms.values.len())
        };
        if let Some(user) = filter.user.as_ref().filter(|_| !self.indexed_user()) {
            terms.matching.push(format!(r#""user" = {}"#, value(user.to_value())));
        }
        if let Some(purpose) = &filter.purpose {
            terms.matching.push(format!("purpose = {}", value(purpose.to_value())));
        }
        if !self.only_live() {
            let mut states = Vec::new();
            if !filter.states.is_empty() {
                states.push(schema::shown_state_in(&filter.states, &value(self.now.millis().into())));
            }
            if !filter.deliveries.is_empty() {
                states.push(schema::has_message_in(self.dialect, &filter.deliveries, "visited.id"));
            }
            terms.matching.extend((!states.is_empty()).then(|| format!("({})", states.join(" OR "))));
        }
        for (term, at) in [("created_at <", filter.until), ("created_at >=", filter.since)] {
            terms.matching.extend(at.map(|at| format!("{term} {}", value(at.millis().into()))));
        }
        terms
    }

    /// The table, with the index that SQLite has to use: by itself it would walk down all ids, which is not cheaper where the index
    /// finds few rows.
    fn table(&self) -> String {
        let index = if self.only_live() {
            Some("otps_live")
        } else if self.filter.phone.is_some() {
            Some("otps_phone")
        } else if self.indexed_user() {
            Some("otps_user")
        } else {
            None
        };
        let table = self.dialect.table(Otp::table().name);
        match index.filter(|_| self.dialect == Dialect::Sqlite) {
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

fn condition(terms: &[String]) -> String {
    if terms.is_empty() { String::new() } else { format!(" WHERE {}", terms.join(" AND ")) }
}
