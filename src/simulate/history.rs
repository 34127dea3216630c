//! An installation's own history as traffic: what its audit log says of asks, proofs and failures. Numbers and users are stood in for by
//! made-up ones, the same for the same person; the log knows no client addresses, and no ask that was only counted.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Deserialize;

use super::traffic::{Ask, Traffic};
use crate::audit;
use crate::clock::Timestamp;
use crate::otp::User;
use crate::phone::{self, Phone};
use crate::subject::SubjectId;

/// Where a number of an unknown country seems to be: no country has this code.
const NOWHERE: &str = "+999";

/// Rows of an audit log, in any order, gathered into traffic.
#[derive(Default)]
pub struct History {
    rows: Vec<Row>,
}

/// What matters of an audit row.
#[derive(Deserialize)]
struct Row {
    action: String,
    at: i64,
    #[serde(default)]
    details: Details,
    outcome: String,
    #[serde(default)]
    subjects: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Details {
    otp: Option<i64>,
    message: Option<i64>,
    how: Option<String>,
    purpose: Option<String>,
    country: Option<String>,
    reason: Option<String>,
}

impl History {
    /// Takes a row, if it says anything about an ask. Answers when it was written, if that can be read.
    pub fn take(&mut self, row: &audit::Row) -> Option<Timestamp> {
        const ABOUT_ASKS: [&str; 8] = ["send", "settle", "verify", "revoke", "report", "poll", "dispatch", "proven"];
        let row: Row = serde_json::from_slice(&row.body).ok()?;
        let at = Timestamp(row.at);
        if ABOUT_ASKS.contains(&row.action.as_str()) {
            self.rows.push(row);
        }
        Some(at)
    }

    /// Whom the rows are about first.
    pub fn phones(&self) -> Vec<SubjectId> {
        let mut ids: Vec<&str> = self.rows.iter().filter_map(|row| row.subjects.first()).map(String::as_str).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().filter_map(SubjectId::from_hex).collect()
    }

    /// The traffic. `masked`: how numbers that are still known look masked, by their subject; `is_silent`: whether nobody reports
    /// conversions for a purpose.
    pub fn traffic(mut self, masked: &HashMap<SubjectId, String>, is_silent: impl Fn(&str) -> bool) -> Traffic {
        self.rows.sort_by_key(|row| row.at);
        let mut asks: Vec<Ask> = Vec::new();
        let mut of_message: HashMap<i64, usize> = HashMap::new();
        let mut of_otp: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for row in &self.rows {
            let (at, details) = (Timestamp(row.at), &row.details);
            let failed = ["failed", "undelivered"].contains(&row.outcome.as_str());
            let otherwise = details.reason.as_deref() == Some("verified_otherwise");
            match row.action.as_str() {
                // A message that waited goes out: nobody asked anew. And a test number sends none.
                "send" if matches!(details.how.as_deref(), Some("retry" | "test")) => {}
                "send" => {
                    let Some(ask) = ask(row, masked, &is_silent) else { continue };
                    of_message.extend(details.message.map(|message| (message, asks.len())));
                    if let Some(otp) = details.otp {
                        of_otp.entry(otp).or_default().push(asks.len());
                    }
                    asks.push(ask);
                }
                "verify" | "revoke" | "proven" if row.outcome == "verified" || otherwise || row.action == "proven" => {
                    for place in details.otp.and_then(|otp| of_otp.get(&otp)).into_iter().flatten() {
                        let ask = &mut asks[*place];
                        ask.proven_after.get_or_insert(at.since(ask.at));
                    }
                }
                _ if failed => {
                    if let Some(place) = details.message.and_then(|message| of_message.get(&message)) {
                        let ask = &mut asks[*place];
                        ask.failed_after.get_or_insert(at.since(ask.at));
                    }
                }
                _ => {}
            }
        }
        let judge_from = asks.first().map(|ask| ask.at).unwrap_or_default();
        Traffic { known: Vec::new(), asks, judge_from }
    }
}

fn ask(row: &Row, masked: &HashMap<SubjectId, String>, is_silent: &impl Fn(&str) -> bool) -> Option<Ask> {
    let id = SubjectId::from_hex(row.subjects.first()?)?;
    let phone = stand_in(&id, masked.get(&id).map(String::as_str))?;
    let country: Arc<str> = match &row.details.country {
        Some(country) => country.as_str().into(),
        None if phone.as_str().starts_with(NOWHERE) => "".into(),
        None => phone::unplanned(phone.clone()).country.unwrap_or_default().into(),
    };
    Some(Ask {
        at: Timestamp(row.at),
        phone,
        country,
        user: User::parse(row.subjects.get(1).map_or("", String::as_str)).ok()?,
        ip: None,
        proven_after: None,
        failed_after: None,
        attack: false,
        reported: !row.details.purpose.as_deref().is_some_and(is_silent),
    })
}

/// A number that begins as the masked one does, and then is made of the subject's random id.
fn stand_in(id: &SubjectId, masked: Option<&str>) -> Option<Phone> {
    const DIGITS: u64 = 1_000_000_000;
    let beginning = masked.and_then(|masked| masked.split('•').next()).filter(|text| text.len() > 1).unwrap_or(NOWHERE);
    let bytes: [u8; 8] = id.0[8..].try_into().ok()?;
    Phone::from_e164(&format!("{beginning}{:09}", u64::from_be_bytes(bytes) % DIGITS))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_log_says_who_asked_and_what_became_of_it() {
        let (a, b) = ("01".repeat(16), "02".repeat(16));
        let mut history = History::default();
        let mut row = |action: &str, at: i64, outcome: &str, subject: &str, details: &str| {
            let body = format!(
                r#"{{"action":"{action}","actor":"cron","at":{at},"details":{details},"outcome":"{outcome}","subjects":["{subject}","{}"]}}"#,
                "0a".repeat(16)
            );
            history.take(&audit::Row { chain: 0, seq: 1, body: body.into_bytes(), mac: [0; 32] })
        };
        assert_eq!(row("verify", 9_000, "verified", &a, r#"{"otp":1,"purpose":"login"}"#), Some(Timestamp(9_000)));
        row("send", 1_000, "reserved", &a, r#"{"otp":1,"message":5,"how":"new","purpose":"login"}"#);
        row("send", 3_000, "reserved", &a, r#"{"otp":1,"message":6,"how":"resend","purpose":"login"}"#);
        row("send", 4_000, "reserved", &b, r#"{"otp":2,"message":7,"how":"new","purpose":"silent"}"#);
        row("send", 4_500, "reserved", &b, r#"{"otp":2,"message":7,"how":"retry","purpose":"silent"}"#);
        row("report", 6_000, "undelivered", &b, r#"{"otp":2,"message":7}"#);
        row("send", 7_000, "rate_limited", &b, r#"{"purpose":"login","limit":"phone"}"#);
        row("purge", 8_000, "done", &b, "{}");
        let id = |hex: &str| SubjectId::from_hex(hex).unwrap();
        assert_eq!(history.phones(), [id(&a), id(&b)]);

        let masked = HashMap::from([(id(&a), "+4474•••3456".to_owned())]);
        let traffic = history.traffic(&masked, |purpose| purpose == "silent");

        let fates: Vec<_> = traffic.asks.iter().map(|ask| (ask.proven_after, ask.failed_after, ask.reported)).collect();
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(
            fates,
            [(seconds(8), None, true), (seconds(6), None, true), (None, seconds(2), false), (None, None, true)]
        );
        let countries: Vec<&str> = traffic.asks.iter().map(|ask| &*ask.country).collect();
        assert_eq!(countries, ["GB", "GB", "", ""]);
        assert_eq!(traffic.asks[0].phone, traffic.asks[1].phone);
        assert!(
            traffic.asks[0].phone.as_str().starts_with("+4474") && traffic.asks[2].phone.as_str().starts_with("+999")
        );
        assert_eq!(traffic.judge_from, Timestamp(1_000));
    }
}
