//! How many rows each table has: what `db status`, `db export`, `db import` and `purge-expired` show.

use serde::Serialize;

use crate::output::Table;

/// The rows of one table.
#[derive(Debug, Serialize)]
pub struct TableRows {
    pub table: String,
    pub rows: u64,
}

/// Numbers of rows by table, as the results hold them.
pub fn rows(counted: impl IntoIterator<Item = (impl Into<String>, u64)>) -> Vec<TableRows> {
    counted.into_iter().map(|(table, rows)| TableRows { table: table.into(), rows }).collect()
}

/// Numbers of rows as a table with these two headings.
pub fn to_table(headings: [&'static str; 2], rows: &[TableRows]) -> Table {
    let cells = |row: &TableRows| vec![row.table.clone(), row.rows.to_string()];
    Table { rows: rows.iter().map(cells).collect(), ..Table::new(&headings) }
}
