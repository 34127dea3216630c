//! Looking after the books as a whole, and rows in the audit log for what changes nothing but must not go unnoticed.

use std::path::Path;

use super::{Caller, Engine};
use crate::audit::{Details, Event};
use crate::error::Result;
use crate::store::{Change, Needs, Status, deed};

impl Engine {
    /// Facts about the books.
    ///
    /// # Errors
    /// `STORE_*`.
    pub async fn status(&self) -> Result<Status> {
        self.store.status().await
    }

    /// Looks for damage; every finding in words. Empty: sound.
    ///
    /// # Errors
    /// `STORE_*`.
    pub async fn check_store(&self) -> Result<Vec<String>> {
        self.store.check().await
    }

    /// Writes a copy of the books in which no code is alive. Answers how many lived.
    ///
    /// # Errors
    /// `FILE_FAILED` where the file is there already; `STORE_*`.
    pub async fn backup(&self, caller: &Caller, to: &Path) -> Result<u64> {
        self.store.backup(to, &caller.actor).await
    }

    /// Writes an audit row for `action`.
    ///
    /// # Errors
    /// `STORE_*`.
    pub async fn record(&self, caller: &Caller, action: &'static str, details: Details) -> Result<()> {
        let actor = caller.actor.clone();
        deed(self.store.as_ref(), Needs::default(), move |facts| {
            let event = Event::new(facts.now, actor.clone(), action, "done").details(details.clone());
            Ok((vec![Change::Audit(event)], ()))
        })
        .await
    }
}
