//! What both stores purge apart from otps, and the audit row of a purge.

use super::schema::{self, Dialect};
use super::{AuditPrune, PurgeBatch, Purged};
use crate::audit::{Details, Event, SealedHead};
use crate::clock::Timestamp;

/// Answers to idempotency keys are kept at least this long, whatever was asked for: if one is deleted too early, a message is sent
/// twice.
const REPLIES_KEPT_MS: i64 = 24 * 3_600_000;

/// Alarms are kept for so long after they ended: acknowledged ones for 30 days, all others for a year.
const ALARMS_KEPT_MS: [i64; 2] = [30 * 24 * 3_600_000, 365 * 24 * 3_600_000];

/// A table whose rows expire by a time column that has an index.
pub struct Expiring {
    table: &'static str,
    /// The column that identifies a row, in SQLite and in PostgreSQL.
    keys: [&'static str; 2],
    /// The time column.
    moment: &'static str,
    /// What else has to be so.
    only: &'static str,
    /// Up to when rows are expired.
    until: fn(&PurgeBatch, Timestamp) -> Timestamp,
    count: fn(&mut Purged) -> &mut u64,
}

/// What became of messages to a country is kept for so long where no other message goes there, which would take it in: no count
/// of the guard's reaches back further.
const EVENTS_KEPT_MS: i64 = 400 * 24 * 3_600_000;

/// Sums are kept for two years and a month: a month can be compared with the same one of the year before.
const SUMS_KEPT_MS: i64 = 761 * 24 * 3_600_000;

/// Messages without a code, idle subjects, old answers to idempotency keys, expired test numbers, old alarms, ended entries of lists, what the guard
/// never took in, and old sums.
pub const EXPIRING: [Expiring; 9] = [
    Expiring {
        table: "messages",
        keys: ["id", "id"],
        moment: "expires_at",
        // Those of codes go with their otps. The states are `State::is_unsettled`.
        only: " AND otp_id IS NULL AND state NOT IN ('scheduled', 'queued', 'sending', 'unknown')",
        until: |batch, _| batch.cutoff,
        count: |purged| &mut purged.messages,
    },
    Expiring {
        table: "subjects",
        keys: ["number", "tag"],
        moment: "idle_at",
        only: "",
        until: |_, now| now,
        count: |purged| &mut purged.subjects,
    },
    Expiring {
        table: "replies",
        keys: ["tag", "tag"],
        moment: "created_at",
        only: "",
        until: |batch, now| batch.cutoff.min(Timestamp(now.millis() - REPLIES_KEPT_MS)),
        count: |purged| &mut purged.replies,
    },
    Expiring {
        table: "test_numbers",
        keys: ["phone_number", "phone_number"],
        moment: "until",
        only: "",
        until: |_, now| now,
        count: |purged| &mut purged.test_numbers,
    },
    Expiring {
        table: "alarms",
        keys: ["id", "id"],
        moment: "until",
        only: " AND acked_at IS NOT NULL",
        until: |_, now| Timestamp(now.millis() - ALARMS_KEPT_MS[0]),
        count: |purged| &mut purged.alarms,
    },
    Expiring {
        table: "alarms",
        keys: ["id", "id"],
        moment: "until",
        only: " AND acked_at IS NULL",
        until: |_, now| Timestamp(now.millis() - ALARMS_KEPT_MS[1]),
        count: |purged| &mut purged.alarms,
    },
    Expiring {
        table: "list_entries",
        keys: ["number", "number"],
        moment: "until",
        only: "",
        until: |_, now| now,
        count: |purged| &mut purged.list_entries,
    },
    Expiring {
        table: "money_events",
        keys: ["id", "id"],
        moment: "at",
        // What is about everything is taken in by any message.
        only: " AND scope > ''",
        until: |_, now| Timestamp(now.millis() - EVENTS_KEPT_MS),
        count: |purged| &mut purged.money_events,
    },
    Expiring {
        table: "sums",
        keys: ["rowid", "ctid"],
        moment: "hour",
        only: "",
        until: |_, now| Timestamp(now.millis() - SUMS_KEPT_MS),
        count: |purged| &mut purged.sums,
    },
];

/// The condition that a message, whose state is in the column `state`, keeps its otp from being purged. What only waits is given up
/// before a purge, and a dry run counts it with what would go.
pub fn unpurgeable(batch: &PurgeBatch, state: &str) -> String {
    if batch.dry_run { schema::is_open(state) } else { schema::is_unsettled(state) }
}

impl Expiring {
    /// Deletes the first `?2` rows that expired by `?1`. PostgreSQL skips those that an operation holds.
    pub fn delete(&self, dialect: Dialect) -> String {
        let [table, moment, only] = [&dialect.table(self.table), self.moment, self.only];
        let [sqlite, postgres] = self.keys;
        let (key, skip) = match dialect {
            Dialect::Sqlite => (sqlite, ""),
            Dialect::Postgres => (postgres, " FOR UPDATE SKIP LOCKED"),
        };
        let [until, most] = [1, 2].map(|nth| dialect.place(nth));
        format!(
            "WITH free AS (SELECT {key} FROM {table} WHERE {moment} <= {until}{only} ORDER BY {moment} LIMIT {most}{skip}) \
             DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM free)"
        )
    }

    /// Counts the rows that expired by `?1`.
    pub fn counted(&self, dialect: Dialect) -> String {
        let [table, place] = [dialect.table(self.table), dialect.place(1)];
        format!("SELECT count(*) FROM {table} WHERE {} <= {place}{}", self.moment, self.only)
    }

    /// Up to when rows are expired for a batch that runs now.
    pub fn until(&self, batch: &PurgeBatch, now: Timestamp) -> i64 {
        (self.until)(batch, now).millis()
    }

    /// Adds deleted rows to the count.
    pub fn add(&self, purged: &mut Purged, taken: u64) {
        *(self.count)(purged) += taken;
    }
}

/// The audit row of a batch.
pub fn event(now: Timestamp, batch: &PurgeBatch, purged: &Purged) -> Event {
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let details = Details::new()
        .number("otps", number(purged.otps))
        .number("messages", number(purged.messages))
        .number("subjects", number(purged.subjects))
        .number("replies", number(purged.replies))
        .number("test_numbers", number(purged.test_numbers))
        .number("alarms", number(purged.alarms))
        .number("list_entries", number(purged.list_entries))
        .number("money_events", number(purged.money_events))
        .number("finished_before", batch.cutoff.millis());
    Event::new(now, batch.actor.clone(), "purge", "done").details(details)
}

/// The audit row of a step that cut the beginning of a chain.
pub fn pruned_event(now: Timestamp, step: &AuditPrune, head: &SealedHead, rows: u64) -> Event {
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let details = Details::new()
        .number("chain", i64::from(step.chain))
        .number("rows", number(rows))
        .number("until", number(head.pruned_seq))
        .number("written_before", step.before.millis());
    Event::new(now, step.actor.clone(), "audit.prune", "done").details(details)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unsettled_is_no_row_that_expires() {
        let messages = EXPIRING.iter().find(|expiring| expiring.table == "messages").unwrap();
        assert_eq!(
            messages.only,
            format!(" AND otp_id IS NULL AND {}", schema::is_unsettled("state").replace(" IN ", " NOT IN "))
        );
    }
}
