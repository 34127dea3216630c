//! How a page of otps is looked for, in the words of either store: a bounded walk down the ids. What an index can decide limits which
//! rows the walk looks at; the rest of the filter limits which of them it finds.

use super::schema::{self, Dialect, Record};
use super::value::{Stored, Value};
use super::{CLOCK_SLACK, Filter};
use crate::clock::Timestamp;
use crate::otp::{Otp, State};

/// How many rows one page of a filter without an index of its own looks at.
const LOOK_MAX: u32 = 20_000;

/// A walk for a filter.
pub struct Walk<'a> {
    dialect: Dialect,
    filter: &'a Filter,
    now: Timestamp,
    /// Below this id.
    pub before: Option<i64>,
    /// From this id on: the first one that may have been made at [`Walk::since`].
    pub since_id: Option<i64>,
    /// Below this id: the first one that must have been made after [`Walk::until`].
    pub until_id: Option<i64>,
}

/// A statement with its values.
pub type Query<'a> = (String, Vec<Value<'a>>);

/// The conditions of a walk, with the values of the first list before those of the second.
#[derive(Default)]
struct Terms<'a> {
    /// Which rows are looked at.
    looked_at: Vec<String>,
    /// How many values those conditions have.
    looked_at_values: usize,
    /// Which of them are found.
    found: Vec<String>,
    values: Vec<Value<'a>>,
}

impl<'a> Walk<'a> {
    /// The walk as far as it does not depend on ids of a time.
    pub fn new(dialect: Dialect, filter: &'a Filter, now: Timestamp) -> Walk<'a> {
        Walk { dialect, filter, now, before: filter.before, since_id: None, until_id: None }
    }

    /// From which moment on ids are looked at. A subject's time never runs back although the clock may: a little wider than asked.
    pub fn since(&self) -> Option<Timestamp> {
        self.filter.since.map(|since| since - CLOCK_SLACK)
    }

    /// Up to which moment.
    pub fn until(&self) -> Option<Timestamp> {
        self.filter.until.map(|until| until + CLOCK_SLACK)
    }

    /// Whom the index of users finds.
    fn indexed_user(&self) -> bool {
        self.filter.phone.is_none() && self.filter.user.as_ref().is_some_and(|user| !user.is_empty())
    }

    /// Few are alive at a time, and an index holds them alone.
    fn only_live(&self) -> bool {
        self.filter.states == [State::Active]
    }

    fn terms(&self) -> Terms<'a> {
        let mut terms = Terms::default();
        let filter = self.filter;
        let mut value = |value: Value<'a>| {
            terms.values.push(value);
            self.dialect.place(terms.values.len())
        };
        if let Some(phone) = &filter.phone {
            terms.looked_at.push(format!("phone_number = {}", value(phone.to_value())));
        }
        if let Some(user) = filter.user.as_ref().filter(|_| self.indexed_user()) {
            terms.looked_at.push(format!(r#""user" <> '' AND "user" = {}"#, value(user.to_value())));
        }
        if self.only_live() {
            terms.looked_at.push(schema::is_live(&value(self.now.millis().into())));
        }
        for (term, id) in [("id <", self.before), ("id <", self.until_id), ("id >=", self.since_id)] {
            terms.looked_at.extend(id.map(|id| format!("{term} {}", value(id.into()))));
        }
        terms.looked_at_values = terms.values.len();
        let mut value = |value: Value<'a>| {
            terms.values.push(value);
            self.dialect.place(terms.values.len())
        };
        if let Some(user) = filter.user.as_ref().filter(|_| !self.indexed_user()) {
            terms.found.push(format!(r#""user" = {}"#, value(user.to_value())));
        }
        if let Some(purpose) = &filter.purpose {
            terms.found.push(format!("purpose = {}", value(purpose.to_value())));
        }
        if !filter.states.is_empty() && !self.only_live() {
            terms.found.push(schema::shown_state_in(&filter.states, &value(self.now.millis().into())));
        }
        for (term, at) in [("created_at <", filter.until), ("created_at >=", filter.since)] {
            terms.found.extend(at.map(|at| format!("{term} {}", value(at.millis().into()))));
        }
        terms
    }

    /// The table, with the index that SQLite has to be told of: it would walk down the ids, which looks cheaper to it and is not
    /// where the index finds few.
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

    /// Up to `limit` rows, newest first. SQLite stops looking as soon as it has them.
    pub fn page(&self, columns: &str, limit: u32) -> Query<'a> {
        let terms = self.terms();
        let (table, looked_at) = (self.table(), condition(&terms.looked_at));
        if terms.found.is_empty() {
            // Every row that is looked at is one that is found.
            let sql = format!("SELECT {columns} FROM {table}{looked_at} ORDER BY id DESC LIMIT {limit}");
            return (sql, terms.values);
        }
        let found = condition(&terms.found);
        // SQLite keeps the order by itself, and would sort what is ordered already.
        let order = if self.dialect == Dialect::Sqlite { "" } else { " ORDER BY id DESC" };
        let inner = format!("SELECT * FROM {table}{looked_at} ORDER BY id DESC LIMIT {LOOK_MAX}");
        (format!("SELECT {columns} FROM ({inner}) AS looked_at{found}{order} LIMIT {limit}"), terms.values)
    }

    /// How many rows the walk finds, counted up to `limit`.
    pub fn count(&self, limit: u32) -> Query<'a> {
        let (page, values) = self.page("id", limit);
        (format!("SELECT count(*) FROM ({page}) AS found"), values)
    }

    /// The last id that the walk looks at, if it stops there although more might follow.
    pub fn edge(&self) -> Option<Query<'a>> {
        let mut terms = self.terms();
        terms.values.truncate(terms.looked_at_values);
        let (table, looked_at) = (self.table(), condition(&terms.looked_at));
        let sql = format!("SELECT id FROM {table}{looked_at} ORDER BY id DESC LIMIT 1 OFFSET {}", LOOK_MAX - 1);
        (!terms.found.is_empty()).then_some((sql, terms.values))
    }
}

fn condition(terms: &[String]) -> String {
    if terms.is_empty() { String::new() } else { format!(" WHERE {}", terms.join(" AND ")) }
}
