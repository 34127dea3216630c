//! Looking after the database as a whole, and rows in the audit log for what changes nothing but must not go unnoticed.

use std::io::{BufRead, Write};
use std::path::Path;

use super::{Caller, Engine};
use crate::audit::{Details, Event};
use crate::error::Result;
use crate::store::export::{Transfer, Transferred};
use crate::store::{Change, Needs, Status, operation};

impl Engine {
    /// Facts about the database.
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

    /// Writes the database as lines, for either kind of store to read. As a copy no code in it is alive; as a move they take what
    /// lives along and this database are sealed.
    ///
    /// # Errors
    /// `FILE_FAILED` where the lines cannot be written; `STORE_*`.
    pub async fn export(&self, caller: &Caller, to: &mut (dyn Write + Send), transfer: Transfer) -> Result<Transferred> {
        self.store.export(to, transfer, &caller.actor).await
    }

    /// Reads lines into an empty database. They have to be opened anew afterwards.
    ///
    /// # Errors
    /// `VALUE_INVALID` where the lines are not whole, `KEY_INVALID` where the keys among them do not open; `STORE_*`.
    pub async fn import(&self, from: &mut (dyn BufRead + Send)) -> Result<Transferred> {
        self.store.import(from, &self.keyring).await
    }

    /// Writes a copy of the database in which no code is alive. Answers how many lived.
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
        operation(self.store.as_ref(), Needs::default(), move |facts| {
            let event = Event::new(facts.now, actor.clone(), action, "done").details(details.clone());
            Ok((vec![Change::Audit(event)], ()))
        })
        .await
    }
}
