//! The sums as rows: one for each hour, purpose, country, provider and audit chain, with a column for each count. A report over a
//! day reads as many rows for a million messages as for those of a thousand that differ in these.
//!
//! A chain adds to rows of its own, under the lock that its operations hold already.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::schema::{Column, Dialect, Record, Table};
use super::value::{Cells, ColumnType, Reader, Stored, Value, damaged};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::money::Money;
use crate::sums::{HourSums, Stage, Sum, SumKey};

/// What each column counts. Refusals and failures, of which nobody knows all kinds, are in the column `why`.
const COUNTED: [(&str, Stage, &str); 32] = [
    ("new", Stage::Message, "new"),
    ("unreported", Stage::Message, "unreported"),
    ("again", Stage::Message, "again"),
    ("accepted", Stage::Accepted, ""),
    ("unknown", Stage::Unknown, ""),
    ("delivered_1", Stage::Delivered, "1"),
    ("delivered_2", Stage::Delivered, "2"),
    ("delivered_3", Stage::Delivered, "3"),
    ("delivered_5", Stage::Delivered, "5"),
    ("delivered_8", Stage::Delivered, "8"),
    ("delivered_13", Stage::Delivered, "13"),
    ("delivered_20", Stage::Delivered, "20"),
    ("delivered_30", Stage::Delivered, "30"),
    ("delivered_60", Stage::Delivered, "60"),
    ("delivered_120", Stage::Delivered, "120"),
    ("delivered_300", Stage::Delivered, "300"),
    ("delivered_600", Stage::Delivered, "600"),
    ("delivered_3600", Stage::Delivered, "3600"),
    ("verified", Stage::Verified, ""),
    ("verified_1", Stage::Verified, "1"),
    ("verified_2", Stage::Verified, "2"),
    ("verified_3", Stage::Verified, "3"),
    ("verified_5", Stage::Verified, "5"),
    ("verified_8", Stage::Verified, "8"),
    ("verified_13", Stage::Verified, "13"),
    ("verified_20", Stage::Verified, "20"),
    ("verified_30", Stage::Verified, "30"),
    ("verified_60", Stage::Verified, "60"),
    ("verified_120", Stage::Verified, "120"),
    ("verified_300", Stage::Verified, "300"),
    ("verified_600", Stage::Verified, "600"),
    ("verified_3600", Stage::Verified, "3600"),
];

/// The columns that are no counts.
const OTHERS: [Column; 7] = [
    Column::new("hour", ColumnType::Int, false),
    Column::new("purpose", ColumnType::Text, false),
    Column::new("country", ColumnType::Text, false),
    Column::new("provider", ColumnType::Text, false),
    Column::new("chain", ColumnType::Int, false),
    Column::new("cost", ColumnType::Int, true),
    Column::new("why", ColumnType::Text, true),
];

static COLUMNS: [Column; 39] = {
    let mut columns = [OTHERS[0]; 39];
    let mut nth = 0;
    while nth < columns.len() {
        columns[nth] = if nth < OTHERS.len() {
            OTHERS[nth]
        } else {
            Column::new(COUNTED[nth - OTHERS.len()].0, ColumnType::Int, true)
        };
        nth += 1;
    }
    columns
};

static TABLE: Table = Table::new(
    "sums",
    &["hour", "purpose", "country", "provider", "chain"],
    "hour, purpose, country, provider, chain",
    &COLUMNS,
);

/// A row.
#[derive(Clone, Debug)]
pub struct SumRow {
    hour: Timestamp,
    purpose: String,
    country: String,
    provider: String,
    chain: u32,
    cost: Money,
    /// Refusals and failures: `{"refused:cooldown": 3, "failed:30003": 1}`.
    why: String,
    /// In the order of [`COUNTED`].
    counts: Vec<i64>,
}

impl Record for SumRow {
    fn table() -> &'static Table {
        &TABLE
    }

    fn values(&self) -> Vec<Value<'_>> {
        let SumRow { hour, purpose, country, provider, chain, cost, why, counts } = self;
        let others = [
            hour.to_value(),
            purpose.to_value(),
            country.to_value(),
            provider.to_value(),
            chain.to_value(),
            cost.to_value(),
            why.to_value(),
        ];
        others.into_iter().chain(counts.iter().map(Stored::to_value)).collect()
    }

    fn read(cells: &dyn Cells) -> Result<SumRow> {
        let mut reader = Reader::new(cells);
        Ok(SumRow {
            hour: reader.next("sums.hour")?,
            purpose: reader.next("sums.purpose")?,
            country: reader.next("sums.country")?,
            provider: reader.next("sums.provider")?,
            chain: reader.next("sums.chain")?,
            cost: reader.next("sums.cost")?,
            why: reader.next("sums.why")?,
            counts: COUNTED.iter().map(|(name, ..)| reader.next(name)).collect::<Result<_>>()?,
        })
    }
}

impl SumRow {
    /// What the row holds, each count that is not zero.
    ///
    /// # Errors
    /// `STORE_CORRUPT` where the kinds of refusals and failures cannot be read.
    pub fn sums(self) -> Result<HourSums> {
        let SumRow { hour, purpose, country, provider, cost, why, counts, .. } = self;
        let why: BTreeMap<String, i64> = match why.as_str() {
            "{}" => BTreeMap::new(),
            why => serde_json::from_str(why).map_err(|error| damaged(&format!("sums.why: {error}")))?,
        };
        let counted = COUNTED.iter().zip(counts).filter(|(_, count)| *count != 0);
        let mut all = Vec::with_capacity(COUNTED.len() + why.len());
        all.extend(counted.map(|((_, stage, detail), count)| (*stage, Cow::Borrowed(*detail), count)));
        for (kind, count) in why {
            let known = kind.split_once(':').and_then(|(stage, detail)| Some((Stage::parse(stage)?, detail)));
            let (stage, detail) = known.ok_or_else(|| damaged(&format!("sums.why holds {kind:.60}")))?;
            all.push((stage, Cow::Owned(detail.to_owned()), count));
        }
        Ok(HourSums { hour, purpose, country, provider, counts: all, cost })
    }
}

/// The statement that adds to a chain's part of a sum, and its values: the key, the count, the cost, and the kind of a refusal or failure.
pub fn add<'s>(dialect: Dialect, sum: &'s Sum, chain: u32) -> (String, Vec<Value<'s>>) {
    let SumKey { hour, purpose, country, provider, stage, detail } = &sum.key;
    let column = COUNTED.iter().find(|(_, of, what)| of == stage && what == detail).map(|(name, ..)| *name);
    let (table, key) = (dialect.table(TABLE.name), "hour, purpose, country, provider, chain");
    let [hour_at, purpose_at, country_at, provider_at, chain_at, count, cost, kind] =
        [1, 2, 3, 4, 5, 6, 7, 8].map(|nth| dialect.place(nth));
    let places = [hour_at, purpose_at, country_at, provider_at, chain_at].join(", ");
    let mut values = vec![
        hour.to_value(),
        purpose.to_value(),
        country.to_value(),
        provider.to_value(),
        Value::Int(i64::from(chain)),
        sum.count.to_value(),
        sum.cost.to_value(),
    ];
    let statement = match column {
        Some(column) => format!(
            "INSERT INTO {table} AS s ({key}, {column}, cost) VALUES ({places}, {count}, {cost}) ON CONFLICT ({key}) \
             DO UPDATE SET {column} = s.{column} + excluded.{column}, cost = s.cost + excluded.cost"
        ),
        None => {
            values.push(Value::Text(format!("{}:{detail}", stage.as_str()).into()));
            let (first, next) = match dialect {
                Dialect::Sqlite => {
                    let path = format!("'$.\"' || {kind} || '\"'");
                    let before = format!("coalesce(json_extract(s.why, {path}), 0)");
                    (format!("json_object({kind}, {count})"), format!("json_set(s.why, {path}, {before} + {count})"))
                }
                Dialect::Postgres => {
                    let one = |count: &str| format!("jsonb_build_object({kind}::text, {count})");
                    let before = format!("coalesce((s.why::jsonb ->> {kind}::text)::bigint, 0)");
                    (
                        format!("{}::text", one(&format!("{count}::bigint"))),
                        format!("(s.why::jsonb || {})::text", one(&format!("{before} + {count}::bigint"))),
                    )
                }
            };
            format!(
                "INSERT INTO {table} AS s ({key}, why, cost) VALUES ({places}, {first}, {cost}) ON CONFLICT ({key}) \
                 DO UPDATE SET why = {next}, cost = s.cost + excluded.cost"
            )
        }
    };
    (statement, values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sums::TIMES;

    #[test]
    fn each_step_of_time_has_a_column() {
        for stage in [Stage::Delivered, Stage::Verified] {
            let steps = COUNTED.iter().filter(|(_, of, _)| *of == stage).filter_map(|(.., step)| step.parse().ok());
            assert_eq!(steps.collect::<Vec<u64>>(), TIMES);
        }
        for (name, stage, detail) in COUNTED {
            let with_detail = format!("{}_{detail}", stage.as_str());
            assert!(name == detail || name == stage.as_str() || name == with_detail, "{name}");
        }
    }
}
