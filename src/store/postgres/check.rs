//! Checks the database: damage, a schema that is not the one that the migrations make, settings of the server that
//! break a promise.

use super::Postgres;
use super::errors::Failure;
use super::rows::{Statement, column, int};
use crate::error::Result;
use crate::store::definitions::{Definitions, differences};
use crate::store::schema::{self, Dialect};
use crate::store::value::Reader;

/// Everything that decides how the relations of a namespace ($1) behave, as (what it is, how it is defined). Names of
/// namespaces are left out of the definitions: they differ between the database and the reference.
const DEFINITIONS: &str = "\
    WITH relations AS (SELECT c.oid, c.relname, c.relkind, c.relpersistence, c.relrowsecurity, c.reloptions, c.reltablespace FROM pg_class AS c \
        WHERE c.relnamespace = $1::bigint::oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')) \
    SELECT CASE relkind WHEN 'v' THEN 'view ' WHEN 'm' THEN 'view ' WHEN 'S' THEN 'sequence ' ELSE 'table ' END || relname AS what, \
        relkind::text || CASE relpersistence WHEN 'u' THEN ' unlogged ' ELSE ' ' END || relrowsecurity::text || ' ' || coalesce(reloptions::text, '') \
        || CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid) ELSE '' END AS definition FROM relations \
    UNION ALL SELECT 'column ' || r.relname || '.' || a.attname, \
        format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull::text || ' ' || a.attgenerated::text || ' ' || a.attidentity::text \
        || ' ' || coalesce(l.collname, '') || ' ' || coalesce(pg_get_expr(d.adbin, d.adrelid), '') \
        FROM relations AS r JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped \
        LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum LEFT JOIN pg_collation AS l ON l.oid = a.attcollation \
        WHERE r.relkind IN ('r', 'p', 'f') \
    UNION ALL SELECT 'index ' || c.relname, pg_get_indexdef(i.indexrelid) FROM relations AS r \
        JOIN pg_index AS i ON i.indrelid = r.oid JOIN pg_class AS c ON c.oid = i.indexrelid \
    UNION ALL SELECT 'constraint ' || r.relname || '.' || c.conname, pg_get_constraintdef(c.oid) FROM relations AS r \
        JOIN pg_constraint AS c ON c.conrelid = r.oid \
    UNION ALL SELECT 'trigger ' || t.tgname || ' on ' || r.relname, pg_get_triggerdef(t.oid) FROM relations AS r \
        JOIN pg_trigger AS t ON t.tgrelid = r.oid WHERE NOT t.tgisinternal \
    UNION ALL SELECT 'references of the table ' || r.relname, string_agg(t.tgenabled::text, '' ORDER BY t.tgname) FROM relations AS r \
        JOIN pg_trigger AS t ON t.tgrelid = r.oid WHERE t.tgisinternal GROUP BY r.relname \
    UNION ALL SELECT 'rule ' || w.rulename || ' on ' || r.relname, pg_get_ruledef(w.oid) FROM relations AS r \
        JOIN pg_rewrite AS w ON w.ev_class = r.oid WHERE w.rulename <> '_RETURN' \
    UNION ALL SELECT 'policy ' || p.polname || ' on ' || r.relname, '' FROM relations AS r JOIN pg_policy AS p ON p.polrelid = r.oid \
    UNION ALL SELECT 'table that inherits from ' || r.relname, i.inhrelid::regclass::text FROM relations AS r \
        JOIN pg_inherits AS i ON i.inhparent = r.oid \
    UNION ALL SELECT 'function ' || p.proname, '' FROM pg_proc AS p WHERE p.pronamespace = $1::bigint::oid";

/// What [`crate::store::postgres::open`] makes apart from the migrations.
const OF_NO_MIGRATION: [&str; 5] = [
    "table schema_versions",
    "column schema_versions.*",
    "index schema_versions_pkey",
    "constraint schema_versions.*",
    "references of the table schema_versions",
];

/// Every finding in words.
pub async fn check(store: &Postgres) -> Result<Vec<String>> {
    const QUESTIONS: &[(&str, &str)] = &[
        (
            "SELECT 1 WHERE current_setting('fsync') = 'off'",
            "fsync is off on the server: a power failure can destroy the whole database",
        ),
        (
            "SELECT 1 WHERE current_setting('full_page_writes') = 'off'",
            "full_page_writes is off on the server: a power failure can destroy pages",
        ),
        (
            "SELECT 1 WHERE current_setting('synchronous_commit') = 'off'",
            "synchronous_commit is off: a code that was used could be used again after a crash of the server",
        ),
        (
            "SELECT 1 FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid \
             WHERE c.relnamespace = 'smsotp'::regnamespace AND NOT (i.indisvalid AND i.indisready) LIMIT 1",
            "an index is not valid: run REINDEX SCHEMA smsotp",
        ),
        (
            "SELECT 1 FROM pg_constraint AS c WHERE c.connamespace = 'smsotp'::regnamespace AND NOT c.convalidated LIMIT 1",
            "a constraint was never validated",
        ),
        (
            "SELECT 1 FROM smsotp.messages AS m WHERE m.otp_id IS NOT NULL AND m.due_at IS NOT NULL \
             AND NOT EXISTS (SELECT 1 FROM smsotp.otps AS o WHERE o.id = m.otp_id) LIMIT 1",
            "a message belongs to an otp that is not there",
        ),
        (
            "SELECT 1 FROM smsotp.otps WHERE state = 'active' AND ended_at IS NOT NULL LIMIT 1",
            "an otp is active although it has ended",
        ),
        (
            "SELECT 1 WHERE (SELECT coalesce(max(id), 0) FROM smsotp.otps) > (SELECT last_value FROM smsotp.otp_ids) \
             OR (SELECT coalesce(max(id), 0) FROM smsotp.messages) > (SELECT last_value FROM smsotp.message_ids)",
            "a sequence of ids is behind its table: ids would be used twice",
        ),
    ];
    let mut findings = Vec::new();
    for (sql, finding) in QUESTIONS {
        if !store.query(&Statement::new(*sql, Vec::new())).await?.is_empty() {
            findings.push((*finding).to_owned());
        }
    }
    match definitions(store).await {
        Ok((found, wanted)) => findings.extend(differences(&found, &wanted, &OF_NO_MIGRATION)),
        Err(failure) => findings.push(format!(
            "the schema could not be compared with the migrations (it needs the right to make temporary tables): {}",
            failure.error()
        )),
    }
    Ok(findings)
}

/// The definitions that the database has, and those that the migrations make: as temporary tables, in a transaction
/// that is rolled back.
async fn definitions(store: &Postgres) -> Result<(Definitions, Definitions), Failure> {
    let session = store.connections.take().await?;
    let client = session.client();
    client.batch_execute(session.begin()).await?;
    for (_, sql) in schema::migrations_after(0, Dialect::Postgres) {
        client.batch_execute(&sql.replace("smsotp.", "pg_temp.")).await?;
    }
    let namespaces = "SELECT 'smsotp'::regnamespace::oid::bigint, pg_my_temp_schema()::bigint";
    let found = client.query_typed_one(namespaces, &[]).await?;
    let (own, temporary) = (column::<i64>(&found, 0)?, column::<i64>(&found, 1)?);
    let own = read(&session.query(&Statement::new(DEFINITIONS, vec![int(own)])).await?)?;
    let temporary = read(&session.query(&Statement::new(DEFINITIONS, vec![int(temporary)])).await?)?;
    session.roll_back().await?;
    Ok((own, temporary))
}

fn read(found: &[tokio_postgres::Row]) -> Result<Definitions> {
    let definitions = found.iter().map(|row| {
        let mut row = Reader::new(row);
        let (what, definition): (String, String) = (row.next("what")?, row.next("definition")?);
        Ok((what, without_namespace(&definition)))
    });
    definitions.collect()
}

/// A definition without the name of its namespace: `smsotp.`, `pg_temp.` or `pg_temp_3.`.
fn without_namespace(definition: &str) -> String {
    let mut parts = definition.split("pg_temp");
    let mut out = parts.next().unwrap_or_default().replace("smsotp.", "");
    for part in parts {
        let rest = part.trim_start_matches('_').trim_start_matches(|c: char| c.is_ascii_digit());
        out.push_str(&rest.strip_prefix('.').unwrap_or(rest).replace("smsotp.", ""));
    }
    out
}
