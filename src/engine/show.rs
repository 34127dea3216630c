//! list and show: what the database knows. show puts together what the database and the audit log know of one otp: one timeline, without a code or a whole number.

use serde_json::Value;

use super::context::Context;
use crate::audit::Row;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::message::{Message, State};
use crate::otp::{Otp, User};
use crate::phone::Phone;
use crate::purpose::Purpose;
use crate::store::{Filter, Page, Subject};

/// How many rows of a phone's audit log are looked through.
const LOOK_MAX: u32 = 500;

/// An otp with everything that is known to have happened to it.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// The otp.
    pub otp: Otp,
    /// Its messages, oldest first.
    pub messages: Vec<Message>,
    /// What happened, oldest first.
    pub steps: Vec<TimelineStep>,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub struct TimelineStep {
    /// When.
    pub at: Timestamp,
    /// Who did it.
    pub actor: String,
    /// The operation: `send`, `settle`, `verify`, `revoke`, `dispatch`, ...
    pub action: String,
    /// How it ended.
    pub outcome: String,
    /// More about it.
    pub details: Value,
}

/// Which otp is meant.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// The one with this id.
    Otp(i64),
    /// The one that this message carries.
    Message(i64),
    /// The newest of a phone, narrowed to a purpose and a user where these are given.
    Newest(Phone, Option<Purpose>, Option<User>),
}

/// One page of otps, newest first, each with how many messages it has.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The rows, each with how far its newest message got.
    pub rows: Vec<(Otp, u32, Option<State>)>,
    /// How many more match, counted up to a bound.
    pub more: u32,
    /// True where only a part of the database was looked through: `next` goes on from there.
    pub cut: bool,
    /// Where the next page begins.
    pub next: Option<i64>,
}

/// One page of otps.
pub(super) async fn list(ctx: &Context, filter: &Filter) -> Result<Listing> {
    let page = ctx.reads().list(filter, ctx.reads().now().await?).await?;
    let ids: Vec<i64> = page.rows.iter().map(|otp| otp.id).collect();
    let counts = ctx.reads().message_counts(&ids).await?;
    let rows = page.rows.into_iter().zip(counts).map(|(otp, (count, newest))| (otp, count, newest)).collect();
    Ok(Listing { rows, more: page.more, cut: page.cut, next: page.next })
}

/// One page of messages.
pub(super) async fn list_messages(ctx: &Context, filter: &Filter) -> Result<Page<Message>> {
    ctx.reads().list_messages(filter).await
}

/// The otp that is meant, if it is there.
pub(super) async fn find(ctx: &Context, wanted: &Wanted) -> Result<Option<Otp>> {
    match wanted {
        Wanted::Otp(id) => ctx.reads().otp(*id).await,
        Wanted::Message(id) => match ctx.reads().message(*id).await?.and_then(|message| message.otp_id) {
            Some(id) => ctx.reads().otp(id).await,
            None => Ok(None),
        },
        Wanted::Newest(phone, purpose, user) => {
            let newest = ctx.reads().of_phone(phone, LOOK_MAX).await?;
            Ok(newest.into_iter().find(|otp| {
                purpose.as_ref().is_none_or(|purpose| *purpose == otp.purpose)
                    && user.as_ref().is_none_or(|user| *user == otp.user)
            }))
        }
    }
}

/// The timeline of an otp: its own operations, and the refusals that its phone met while it lived.
pub(super) async fn timeline(ctx: &Context, otp: Otp) -> Result<Timeline> {
    let messages = ctx.reads().messages_of(otp.id).await?;
    let steps = steps(ctx, &otp.phone, |step| concerns(step, &otp)).await?;
    Ok(Timeline { otp, messages, steps })
}

/// What happened to a message without a code, oldest first.
pub(super) async fn steps_of(ctx: &Context, message: &Message) -> Result<Vec<TimelineStep>> {
    let is_about = |step: &TimelineStep| step.details.get("message").and_then(Value::as_i64) == Some(message.id);
    steps(ctx, &message.phone, is_about).await
}

async fn steps(ctx: &Context, phone: &Phone, concerns: impl Fn(&TimelineStep) -> bool) -> Result<Vec<TimelineStep>> {
    let subject = ctx.reads().usages(&[Subject::Phone(phone.clone())]).await?.into_iter().next().flatten();
    let Some(subject) = subject else { return Ok(Vec::new()) };
    let mut steps = Vec::new();
    for head in ctx.reads().audit_heads().await? {
        let rows = ctx.reads().audit_back(Some(subject.id), (head.chain, head.seq + 1), LOOK_MAX).await?;
        // Oldest first, also where several are of one moment.
        steps.extend(rows.iter().rev().filter_map(step).filter(&concerns));
    }
    steps.sort_by_key(|step| step.at);
    Ok(steps)
}

/// The message without a code that is meant, if it is there: the one with this id, or the newest to the phone.
pub(super) async fn find_message(ctx: &Context, wanted: &Wanted) -> Result<Option<Message>> {
    let found = match wanted {
        Wanted::Message(id) => ctx.reads().message(*id).await?,
        Wanted::Newest(phone, None, None) => {
            let newest = Filter { phone: Some(phone.clone()), limit: 1, ..Filter::default() };
            ctx.reads().list_messages(&newest).await?.rows.pop()
        }
        Wanted::Otp(_) | Wanted::Newest(..) => None,
    };
    Ok(found.filter(|message| message.otp_id.is_none()))
}

/// Reads an audit row as a step; `None` where its body is not what we write.
pub(super) fn step(row: &Row) -> Option<TimelineStep> {
    let body: Value = serde_json::from_slice(&row.body).ok()?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    Some(TimelineStep {
        at: Timestamp(body.get("at")?.as_i64()?),
        actor: text("actor")?,
        action: text("action")?,
        outcome: text("outcome")?,
        details: body.get("details").cloned().unwrap_or(Value::Null),
    })
}

fn concerns(step: &TimelineStep, otp: &Otp) -> bool {
    match step.details.get("otp").and_then(Value::as_i64) {
        Some(id) => id == otp.id,
        // A refusal belongs to no otp; it belongs here if it met this phone and purpose while the otp was live.
        None => {
            let purpose = step.details.get("purpose").and_then(Value::as_str);
            purpose == Some(otp.purpose.as_str()) && step.at >= otp.created_at && step.at <= otp.over_at()
        }
    }
}
