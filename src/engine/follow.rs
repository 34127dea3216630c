//! follow asks the provider about a message until its last status, and books each step forward.

use std::time::Duration;

use super::{Caller, Engine};
use crate::audit::{Actor, Details, Event};
use crate::error::{Code, Error, Result};
use crate::message::Message;
use crate::provider::Report;
use crate::store::{Change, Needs, Subject, deed};

/// How long to wait between two questions, at first and at most.
const FIRST: Duration = Duration::from_millis(250);
const MOST: Duration = Duration::from_secs(3);

impl Engine {
    /// Follows a message for at most `patience` and answers what the books then say of it.
    ///
    /// # Errors
    /// `NO_PROVIDER`, `STORE_*`, and the provider's where even the last question failed.
    pub async fn follow(&self, message_id: i64, patience: Duration) -> Result<Message> {
        let until = self.store.now().await? + patience;
        let mut pause = FIRST;
        loop {
            let message = self.store.message(message_id).await?.ok_or_else(|| gone(message_id))?;
            let Some(provider_id) = message.provider_id.clone().filter(|_| !message.state.is_final()) else {
                return Ok(message);
            };
            let report = self.provider()?.fetch(&provider_id).await;
            let now = self.store.now().await?;
            match report {
                Ok(Some(report)) => {
                    let message = self.book_report(&super::Caller::new(Actor::System), message_id, report).await?;
                    if message.state.is_final() {
                        return Ok(message);
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

    /// Books what a provider reports of a message: forward only. Answers the message as it then stands.
    ///
    /// # Errors
    /// `STORE_*`.
    pub async fn book_report(&self, caller: &Caller, message_id: i64, report: Report) -> Result<Message> {
        let phone = self.store.message(message_id).await?.ok_or_else(|| gone(message_id))?.phone;
        let needs = Needs { subjects: vec![Subject::Phone(phone)], message: Some(message_id), ..Needs::default() };
        let actor = caller.actor.clone();
        deed(self.store.as_ref(), needs, move |facts| {
            let mut message = facts.message.clone().ok_or_else(|| gone(message_id))?;
            let Some(state) = message.state.after_report(&report.status) else { return Ok((Vec::new(), message)) };
            message.state = state;
            message.error_code = report.error_code;
            message.provider_id.get_or_insert_with(|| report.provider_id.clone());
            message.segments = report.segments.filter(|n| *n > 0).unwrap_or(message.segments);
            message.due_at = None;
            message.updated_at = facts.now.max(message.updated_at);
            let mut details = Details::new().number("message", message_id);
            if let Some(otp) = message.otp_id {
                details = details.number("otp", otp);
            }
            if let Some(code) = report.error_code {
                details = details.number("error_code", i64::from(code));
            }
            let event = Event::new(facts.now, actor.clone(), "report", state.as_str())
                .subject(&facts.subjects[0].id.0)
                .details(details);
            Ok((vec![Change::PutMessage(message.clone()), Change::Audit(event)], message))
        })
        .await
    }
}

fn gone(message_id: i64) -> Error {
    Error::new(Code::NOT_FOUND, format!("message m{message_id} is not in the books"))
}
