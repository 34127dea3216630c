//! Which keys are in use: what `keys list` shows and `keys prune` asks before it takes one away.

use serde::Serialize;

use super::context::Context;
use crate::clock::Timestamp;
use crate::error::Result;

/// A key of the ring and what it is used for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyUse {
    /// The public id.
    pub id: String,
    /// New codes are made with it.
    pub primary: bool,
    /// How many live otps need it.
    pub otps: u32,
    /// How many messages without a code, whose outcome is open, have a text that is sealed with it.
    pub messages: u32,
    /// Since when it wraps the database's own keys; `None`: it does not.
    pub added_at: Option<Timestamp>,
    /// It is in the ring; false: live otps, messages or the database need a key that is not there.
    pub present: bool,
}

/// Every key that is in the ring or in use.
pub(super) async fn uses(ctx: &Context) -> Result<Vec<KeyUse>> {
    let used = ctx.reads().keys_in_use(ctx.reads().now().await?).await?;
    let texts = ctx.reads().text_keys().await?;
    let wrapped_by = ctx.reads().status().await?.wrapped_by;
    let primary = ctx.keyring.primary().id().to_string();
    let mut ids: Vec<String> = ctx.keyring.ids().iter().map(ToString::to_string).collect();
    let present = ids.clone();
    for id in used.iter().chain(&texts).map(|(id, _)| id).chain(wrapped_by.iter().map(|(id, _)| id)) {
        if !ids.contains(id) {
            ids.push(id.clone());
        }
    }
    let count = |of: &[(String, u32)], id: &str| of.iter().find(|(used, _)| used == id).map_or(0, |(_, count)| *count);
    let describe = |id: String| KeyUse {
        primary: id == primary,
        otps: count(&used, &id),
        messages: count(&texts, &id),
        added_at: wrapped_by.iter().find(|(wraps, _)| *wraps == id).map(|(_, since)| *since),
        present: present.contains(&id),
        id,
    };
    Ok(ids.into_iter().map(describe).collect())
}
