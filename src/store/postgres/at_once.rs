//! Writes to different tables as one statement: the server starts and answers each statement anew, which costs it about as
//! much as writing a row.

use std::borrow::Cow;

use super::rows::{Statement, Value, int};

/// A statement as it is sent.
pub struct Sent {
    /// The text.
    pub sql: Cow<'static, str>,
    /// Its values, in order.
    pub values: Vec<Value>,
}

/// Puts neighbours together. No two of one statement write to the same table, because the parts of a statement run in no
/// order and do not see what the others do.
pub fn at_once(statements: Vec<Statement>) -> Vec<Sent> {
    let mut sent = Vec::new();
    let mut group: Vec<Statement> = Vec::new();
    for statement in statements {
        let alone = |one: &Statement| one.table.is_empty();
        let apart = |other: &Statement| other.table == statement.table || alone(other) || alone(&statement);
        if group.iter().any(apart) {
            sent.extend(one(std::mem::take(&mut group)));
        }
        group.push(statement);
    }
    sent.extend(one(group));
    sent
}

/// Every part of a WITH that writes is run to its end, whether or not anybody reads it.
fn one(mut parts: Vec<Statement>) -> Option<Sent> {
    if parts.len() < 2 && parts.iter().all(|part| part.or_none.is_none()) {
        return parts.pop().map(|part| Sent { sql: Cow::Borrowed(part.sql), values: part.values });
    }
    let (mut sql, mut values, mut guards) = (String::from("WITH "), Vec::new(), String::new());
    for (nth, part) in parts.into_iter().enumerate() {
        let comma = if nth == 0 { "" } else { ", " };
        sql.push_str(&format!("{comma}w{nth} AS ({})", moved(part.sql, values.len())));
        values.extend(part.values);
        if let Some(or_none) = part.or_none {
            values.push(int(i64::from(or_none)));
            // A division by zero where the row that was read is not there any more: the whole transaction fails.
            guards.push_str(&format!(" / ((SELECT count(*) FROM w{nth}) + ${})", values.len()));
        }
    }
    sql.push_str(&format!(" SELECT 1{guards}"));
    Some(Sent { sql: Cow::Owned(sql), values })
}

/// The same text with its values' numbers so much higher.
fn moved(sql: &str, by: usize) -> String {
    let mut parts = sql.split('$');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        let number = part[..digits].parse::<usize>().unwrap_or_default();
        text.push_str(&format!("${}{}", number + by, &part[digits..]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(table: &'static str, sql: &'static str, values: i64) -> Statement {
        Statement { table, sql, values: (0..values).map(int).collect(), or_none: None }
    }

    #[test]
    fn neighbours_of_different_tables_become_one_statement() {
        let all = vec![
            Statement { or_none: Some(false), ..statement("a", "UPDATE a SET x = $2 WHERE y = $1 RETURNING 1", 2) },
            statement("a", "INSERT INTO a VALUES ($1)", 1),
            statement("b", "INSERT INTO b VALUES ($1, ($2::text[])[$1])", 2),
            statement("", "DELETE FROM c WHERE d = $1", 1),
        ];
        let sent = at_once(all);
        let texts: Vec<(&str, usize)> = sent.iter().map(|sent| (&*sent.sql, sent.values.len())).collect();
        assert_eq!(
            texts,
            [
                (
                    "WITH w0 AS (UPDATE a SET x = $2 WHERE y = $1 RETURNING 1) SELECT 1 / ((SELECT count(*) FROM w0) + $3)",
                    3
                ),
                (
                    "WITH w0 AS (INSERT INTO a VALUES ($1)), w1 AS (INSERT INTO b VALUES ($2, ($3::text[])[$2])) SELECT 1",
                    3
                ),
                ("DELETE FROM c WHERE d = $1", 1),
            ]
        );
        assert!(at_once(Vec::new()).is_empty());
    }
}
