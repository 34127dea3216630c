//! follow asks the provider about a message until its last status, and database each step forward.

use std::time::Duration;

use super::{Caller, Engine, Report, Reported};
use crate::error::{Code, Error, Result};
use crate::message::Message;

/// How long to wait between two questions, at first and at most.
const FIRST: Duration = Duration::from_millis(250);
const MOST: Duration = Duration::from_secs(3);

impl Engine {
    /// Follows a message for at most `patience` and answers what the database then say of it.
    ///
    /// # Errors
    /// `NO_PROVIDER`, `STORE_*`, and the provider's where even the last question failed.
    pub async fn follow(&self, caller: &Caller, message_id: i64, patience: Duration) -> Result<Message> {
        let until = self.store.now().await? + patience;
        let mut pause = FIRST;
        loop {
            let message = self.store.message(message_id).await?.ok_or_else(|| gone(message_id))?;
            let Some(provider_id) = message.provider_id.clone().filter(|_| !message.state.is_final()) else {
                return Ok(message);
            };
            let found = self.provider()?.fetch(&provider_id).await;
            let now = self.store.now().await?;
            match found {
                Ok(Some(found)) => {
                    let report =
                        Report { message_id, provider_id, state: found.state, error_code: found.error_code, to: None };
                    if let Reported::Moved(state) = self.report(caller, report).await?
                        && state.is_final()
                    {
                        continue;
                    }
                }
                Ok(None) => return Ok(message),
                // The question can be asked again; its failure says nothing about the message.
                Err(error) if now + pause >= until => return Err(error),
                Err(_) => {}
            }
            if now + pause >= until {
                return self.store.message(message_id).await?.ok_or_else(|| gone(message_id));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MOST);
        }
    }
}

fn gone(message_id: i64) -> Error {
    Error::new(Code::NOT_FOUND, format!("message m{message_id} is not in the database"))
}
