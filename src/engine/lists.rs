//! The operator's lists and opt-outs: added, removed, shown. What they decide is in `lists`. All audited.

use std::sync::Arc;

use super::context::{Caller, Context};
use crate::audit::{Details, Event};
use crate::clock::Timestamp;
use crate::error::{Code, Error, Result};
use crate::lists::{ListEntry, Listed, Side};
use crate::phone::Phone;
use crate::store::{Change, Decision, Facts, Needs, Subject, SubjectId};

/// How many lasting usages are read at a time where opt-outs are looked for.
const LOOK: u32 = 500;

/// An entry to be added.
#[derive(Clone, Debug)]
pub struct AddEntry {
    /// On which list.
    pub side: Side,
    /// What it is about.
    pub listed: Listed,
    /// Until when; `None`: until it is removed.
    pub until: Option<Timestamp>,
    /// Why.
    pub reason: String,
}

/// What adding an entry did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedEntry {
    /// The entry as it stands now.
    pub entry: ListEntry,
    /// It was there, with another reason or end.
    pub was_there: bool,
    /// It allows what the block list forbids all the same: that entry.
    pub blocked_by: Option<ListEntry>,
}

/// A phone whose owner opted out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptedOut {
    /// Where the next page begins.
    pub id: SubjectId,
    /// The phone, masked: the whole number is not kept.
    pub shown: String,
    /// Since when.
    pub since: Timestamp,
}

/// What is asked for to change an entry. A phone's own row is locked and named in the audit log; other entries have none.
fn needs(ctx: &Context, listed: &Listed) -> Needs {
    let index = &ctx.store.operations.keys().index;
    let subjects = match listed {
        Listed::Phone(phone) => vec![Subject::Phone(phone.clone())],
        Listed::User(user) => vec![Subject::User(user.clone())],
        _ => Vec::new(),
    };
    Needs { subjects, lists: vec![listed.key(|kind, value| index.tag(kind, value))], ..Needs::default() }
}

/// The audit row of a changed entry. Whoever it is about is named by a random id alone, if the database knows them.
fn event(facts: &Facts, caller: &Caller, outcome: &'static str, entry: &ListEntry, reason: &str) -> Event {
    let details = Details::new().word("list", entry.side.as_str()).word("kind", entry.kind.as_str());
    let details = details.note("entry", &entry.shown).note("reason", reason);
    let details = match entry.until {
        Some(until) if outcome != "removed" => details.number("until", until.millis()),
        _ => details,
    };
    let event = Event::new(facts.now, caller.actor.clone(), "block", outcome).details(details);
    match facts.subjects.first().filter(|fact| !fact.is_new) {
        Some(fact) => event.subject(&fact.id.0),
        None => event,
    }
}

/// Adds an entry, or gives the one that is there another reason and end.
pub(super) async fn add(ctx: &Context, caller: &Caller, add: AddEntry) -> Result<AddedEntry> {
    if add.reason.is_empty() {
        return Err(Error::new(Code::VALUE_INVALID, "an entry of a list needs a reason")
            .hint("Say why, in words that will be understood in a year: --reason TEXT"));
    }
    let needs = needs(ctx, &add.listed);
    let (key, caller) = (needs.lists.concat(), caller.clone());
    ctx.operate(needs, move |facts| {
        let now = facts.now;
        if add.until.is_some_and(|until| until <= now) {
            return Err(Error::new(Code::VALUE_INVALID, "the entry would have ended already")
                .hint("Give a moment ahead, like --for 2h or --until 2030-01-31"));
        }
        let known = facts.lists.iter().find(|entry| entry.side == add.side);
        let live = known.filter(|entry| entry.is_live(now));
        let entry = ListEntry {
            key: key.clone(),
            side: add.side,
            kind: add.listed.kind(),
            shown: add.listed.shown(),
            reason: add.reason.clone(),
            since: live.map_or(now, |entry| entry.since),
            until: add.until,
            added_by: caller.actor.to_string(),
            hits: known.map_or(0, |entry| entry.hits),
            hit_at: known.and_then(|entry| entry.hit_at),
        };
        let stands_against = |other: &&ListEntry| other.side == Side::Block && other.is_live(now);
        let blocked_by = facts.lists.iter().find(stands_against).filter(|_| add.side == Side::Allow).cloned();
        let answer = AddedEntry { entry: entry.clone(), was_there: live.is_some(), blocked_by };
        if live == Some(&entry) {
            return Ok(Decision::Nothing(answer));
        }
        let outcome = if live.is_some() { "changed" } else { "added" };
        let event = event(facts, &caller, outcome, &entry, &add.reason);
        Ok(Decision::Write { changes: vec![Change::PutEntry(entry)], event, answer })
    })
    .await
}

/// Takes an entry off its list; `None` where there was none that holds.
pub(super) async fn remove(
    ctx: &Context,
    caller: &Caller,
    (side, listed): (Side, &Listed),
    reason: &str,
) -> Result<Option<ListEntry>> {
    let (caller, reason) = (caller.clone(), reason.to_owned());
    ctx.operate(needs(ctx, listed), move |facts| {
        let known = facts.lists.iter().find(|entry| entry.side == side && entry.is_live(facts.now));
        let Some(entry) = known.cloned() else { return Ok(Decision::Nothing(None)) };
        let event = event(facts, &caller, "removed", &entry, &reason);
        let changes = vec![Change::DropEntry(entry.key.clone(), side)];
        Ok(Decision::Write { changes, event, answer: Some(entry) })
    })
    .await
}

/// Records that a recipient opted out, or that they want messages again; false where that was known.
pub(super) async fn opt_out(
    ctx: &Context,
    caller: &Caller,
    (phone, opted_out): (&Phone, bool),
    reason: &str,
) -> Result<bool> {
    if reason.is_empty() {
        return Err(Error::new(Code::VALUE_INVALID, "an opt-out is set and cleared with a reason")
            .hint("Say how the recipient asked for it: --reason TEXT"));
    }
    let needs = Needs { subjects: vec![Subject::Phone(phone.clone())], ..Needs::default() };
    let (actor, policy, reason) = (caller.actor.clone(), Arc::clone(&ctx.policy), reason.to_owned());
    ctx.operate(needs, move |facts| {
        let phone = facts.phone()?;
        if phone.usage.opted_out_at.is_some() == opted_out {
            return Ok(Decision::Nothing(false));
        }
        // It is recorded whatever the clock says: it stops messages.
        let now = facts.latest();
        let change = phone.updated(now, &policy.limits, |usage| usage.opted_out_at = opted_out.then_some(now.millis()));
        let action = if opted_out { "opt-out" } else { "opt-in" };
        let details = Details::new().word("by", "staff").note("reason", &reason);
        let event = Event::new(now, actor.clone(), action, "done").subject(&phone.id.0).details(details);
        Ok(Decision::Write { changes: vec![change], event, answer: true })
    })
    .await
}

/// Entries with their numbers, the newest first; those that have ended are left out.
pub(super) async fn list(
    ctx: &Context,
    side: Option<Side>,
    mut before: Option<i64>,
    limit: u32,
) -> Result<Vec<(i64, ListEntry)>> {
    let now = ctx.reads().now().await?;
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut entries = Vec::new();
    loop {
        let page = ctx.reads().list_entries(side, before, limit).await?;
        before = page.last().map(|(number, _)| *number);
        let is_last = page.len() < most;
        entries.extend(page.into_iter().filter(|(_, entry)| entry.is_live(now)));
        entries.truncate(most);
        if is_last || entries.len() == most {
            return Ok(entries);
        }
    }
}

/// Phones whose owners opted out, whoever found it out.
pub(super) async fn opted_out(ctx: &Context, mut after: Option<SubjectId>, limit: u32) -> Result<Vec<OptedOut>> {
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut found = Vec::new();
    loop {
        let page = ctx.reads().lasting(after, LOOK).await?;
        after = page.last().map(|(id, ..)| *id);
        let is_last = page.len() < usize::try_from(LOOK).unwrap_or(usize::MAX);
        found.extend(page.into_iter().filter_map(|(id, shown, usage)| {
            usage.opted_out_at.map(|since| OptedOut { id, shown, since: Timestamp(since) })
        }));
        found.truncate(most);
        if is_last || found.len() == most {
            return Ok(found);
        }
    }
}
