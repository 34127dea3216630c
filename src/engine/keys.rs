//! Which keys are in use: what `keys list` shows and `keys prune` asks before it takes one away.

use serde::Serialize;

use super::{Caller, Engine};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::keys::Keyring;

/// A key of the ring and what it is used for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyUse {
    /// The public id.
    pub id: String,
    /// New codes are made with it.
    pub primary: bool,
    /// How many living otps need it.
    pub otps: u32,
    /// Since when it wraps the database's own keys; `None`: it does not.
    pub added_at: Option<Timestamp>,
    /// It is in the ring; false: living otps or the database needs a key that is not there.
    pub present: bool,
}

impl Engine {
    /// Every key that is in the ring or in use.
    ///
    /// # Errors
    /// `STORE_*`.
    pub async fn key_uses(&self) -> Result<Vec<KeyUse>> {
        let used = self.store.keys_in_use(self.store.now().await?).await?;
        let wrapped_by = self.store.status().await?.wrapped_by;
        let primary = self.keyring.primary().id().to_string();
        let mut ids: Vec<String> = self.keyring.ids().iter().map(ToString::to_string).collect();
        let present = ids.clone();
        for id in used.iter().map(|(id, _)| id).chain(wrapped_by.iter().map(|(id, _)| id)) {
            if !ids.contains(id) {
                ids.push(id.clone());
            }
        }
        let describe = |id: String| KeyUse {
            primary: id == primary,
            otps: used.iter().find(|(used, _)| *used == id).map_or(0, |(_, otps)| *otps),
            added_at: wrapped_by.iter().find(|(wraps, _)| *wraps == id).map(|(_, since)| *since),
            present: present.contains(&id),
            id,
        };
        Ok(ids.into_iter().map(describe).collect())
    }

    /// Wraps the database's keys under every key of `ring`, and under no other.
    ///
    /// # Errors
    /// `STORE_*`.
    pub async fn rewrap(&self, caller: &Caller, ring: &Keyring) -> Result<()> {
        self.store.rewrap(ring, &caller.actor).await
    }
}
