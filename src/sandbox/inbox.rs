//! The inbox: the messages that a phone would show, for pipelines that sign up with a code and for people.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use chrono::DateTime;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::TwilioError;
use super::client;
use super::message::{ReceivedMessage, StoredMessage};
use super::request::Params;
use super::state::SandboxState;
use crate::clock::Timestamp;
use crate::error::Result;

/// No request waits longer.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// So many messages are shown, the newest ones.
const MAX_SHOWN: usize = 1000;

/// Fetches the messages to a phone from a running sandbox, oldest first, and waits up to `wait` (60 seconds at most) for the
/// first one. An empty `to` means every phone; an empty list means that none arrived.
///
/// # Errors
/// `CONFIG_INVALID` for a URL that is no base URL, `PROVIDER_UNREACHABLE` when no sandbox answers there.
pub async fn fetch(url: &str, to: &str, wait: Duration) -> Result<Vec<ReceivedMessage>> {
    let wait = wait.min(MAX_WAIT);
    let mut address = client::address(url, "/sandbox/inbox")?;
    address.query_pairs_mut().append_pair("to", to).append_pair("wait", &format!("{}ms", wait.as_millis()));
    let request = client::client()?.get(address).timeout(wait + Duration::from_secs(10));
    let answer = client::ask(request).await?;
    #[derive(Deserialize)]
    struct InboxAnswer {
        messages: Vec<ReceivedMessage>,
    }
    Ok(answer.json::<InboxAnswer>().await.map_err(client::unreachable)?.messages)
}

/// [`fetch`] for callers that have no runtime of their own.
///
/// # Errors
/// As [`fetch`].
pub fn fetch_blocking(url: &str, to: Option<&str>, wait: Duration) -> Result<Vec<ReceivedMessage>> {
    client::block_on(fetch(url, to.unwrap_or_default(), wait))
}

/// The code in a message: what follows `#` on a WebOTP last line (`@domain #123456`), else the last group of 4 to 10 digits
/// that is not part of a phone number, a date or a longer word.
pub fn extract_code(text: &str) -> Option<String> {
    web_otp(text).or_else(|| clusters(text).into_iter().rev().find_map(|cluster| code_in(&cluster)))
}

/// GET /sandbox/inbox
pub(super) async fn list(
    State(state): State<Arc<SandboxState>>,
    request: Request,
) -> std::result::Result<Json<Value>, TwilioError> {
    let mut query = Params::parse(request.uri().query().unwrap_or_default().as_bytes());
    // A + in a URL means a blank: a phone is accepted with either.
    for (_, value) in query.0.iter_mut().filter(|(name, value)| name == "to" && value.starts_with(' ')) {
        value.replace_range(..1, "+");
    }
    let wait = match query.filled("wait").map(humantime::parse_duration) {
        None => Duration::ZERO,
        Some(Ok(wait)) => wait.min(MAX_WAIT),
        Some(Err(_)) => return Err(TwilioError::new(20001, "wait is a span of time such as 10s")),
    };
    let since = match query.filled("since").map(DateTime::parse_from_rfc3339) {
        None => None,
        Some(Ok(since)) => Some(Timestamp(since.timestamp_millis())),
        Some(Err(_)) => return Err(TwilioError::new(20001, "since is a time such as 2026-01-31T12:00:00Z")),
    };
    let mut arrivals = state.arrivals.subscribe();
    let ends = tokio::time::Instant::now() + wait;
    loop {
        arrivals.borrow_and_update();
        let found = matching_messages(&state, query.filled("to"), since);
        let is_over = tokio::time::Instant::now() >= ends;
        if !found.is_empty() || is_over {
            return Ok(Json(json!({"messages": found})));
        }
        let _ = tokio::time::timeout_at(ends, arrivals.changed()).await;
    }
}

fn matching_messages(state: &SandboxState, to: Option<&str>, since: Option<Timestamp>) -> Vec<ReceivedMessage> {
    let message_log = state.message_log();
    let fits = |m: &&StoredMessage| {
        m.is_readable() && to.is_none_or(|to| m.to == to) && since.is_none_or(|since| m.created >= since)
    };
    let mut newest: Vec<ReceivedMessage> =
        message_log.outbound().rev().filter(fits).take(MAX_SHOWN).map(|m| m.received()).collect();
    newest.reverse();
    newest
}

fn web_otp(text: &str) -> Option<String> {
    let last = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    let (_, code) = last.strip_prefix('@')?.split_once(" #")?;
    let code = code.split_whitespace().next()?;
    let fits = (4..=10).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| code.to_owned())
}

/// Groups of digits with the characters around and between them.
struct Cluster<'a> {
    groups: Vec<&'a str>,
    separators: Vec<u8>,
    is_phone: bool,
}

/// Digits that are joined by single blanks, hyphens, dots, slashes, colons or parentheses.
fn clusters(text: &str) -> Vec<Cluster<'_>> {
    let bytes = text.as_bytes();
    let joins = |b: u8| b" -./:()".contains(&b);
    let mut found: Vec<Cluster> = Vec::new();
    let mut end_of_last = None;
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let start = at;
        while at < bytes.len() && bytes[at].is_ascii_digit() {
            at += 1;
        }
        let before = start.checked_sub(1).map(|i| bytes[i]);
        let after = bytes.get(at).copied();
        // Part of a word, a hash or an address: not a group of its own.
        let in_word = |b: u8| b.is_ascii_alphanumeric() || b"+=_@%&".contains(&b);
        let is_word = before.is_some_and(|b| in_word(b) && b != b'+') || after.is_some_and(in_word);
        let is_joined = end_of_last.is_some_and(|end: usize| {
            let between = &bytes[end..start];
            (1..=2).contains(&between.len()) && between.iter().all(|b| joins(*b)) && between != b". "
        });
        let group = &text[start..at];
        let is_phone = matches!(before, Some(b'+' | b'('));
        match found.last_mut().filter(|_| is_joined) {
            Some(cluster) => {
                cluster.separators.push(before.unwrap_or_default());
                cluster.groups.push(if is_word { "" } else { group });
                cluster.is_phone |= is_phone;
            }
            None => {
                found.push(Cluster { groups: vec![if is_word { "" } else { group }], separators: Vec::new(), is_phone })
            }
        }
        end_of_last = Some(at);
    }
    found
}

fn code_in(cluster: &Cluster) -> Option<String> {
    let fits = |group: &&&str| (4..=10).contains(&group.len());
    let lengths: Vec<usize> = cluster.groups.iter().map(|g| g.len()).collect();
    let blank = cluster.separators.iter().all(|s| *s == b' ');
    match lengths[..] {
        _ if cluster.is_phone => None,
        [_] => cluster.groups.iter().find(fits).map(|g| (*g).to_owned()),
        // "123 456" and "123-456": one code in two halves.
        [one, two] if one == two && one >= 2 && cluster.separators.iter().all(|s| b" -".contains(s)) => {
            Some(cluster.groups.concat())
        }
        // "123456 10 minutes": numbers side by side. Anything joined by punctuation is a phone number, a date or a time.
        _ if blank => cluster.groups.iter().rev().find(fits).map(|g| (*g).to_owned()).filter(|_| lengths.len() < 3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_found_where_a_person_would_find_it() {
        let found = [
            ("123456 is your Acme code.", Some("123456")),
            ("Your code: 0042. Never share it.", Some("0042")),
            ("123456 is your code. It ends in 10 minutes.\n\n@acme.example #123456", Some("123456")),
            ("Use 555123 at example.com.\n@example.com #9876", Some("9876")),
            ("<#> 482913 is your code.\nFA+9qCX9VSu", Some("482913")),
            ("<#> 482913 is your code.\n1234567+abc", Some("482913")),
            ("Code 7788 - questions? ApiRequest +1 415 555 2671.", Some("7788")),
            ("Code 7788. Questions? ApiRequest (415) 555-2671 or 555-0199", Some("7788")),
            ("Code 7788, sent by +14155552671", Some("7788")),
            ("Code 123-456", Some("123456")),
            ("Code 123 456, good until 12:30 on 2026-01-31", Some("123456")),
            ("Your code is 12345678", Some("12345678")),
            ("12345678901 is too long, 123 too short", None),
            ("No digits here", None),
            ("", None),
            ("код 123456", Some("123456")),
            ("您的验证码是654321，请勿泄露。", Some("654321")),
        ];
        for (text, code) in found {
            assert_eq!(extract_code(text).as_deref(), code, "{text:?}");
        }
    }
}
