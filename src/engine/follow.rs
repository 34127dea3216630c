//! follow asks the provider about a message until its last status, and records each step forward.

use std::time::Duration;

use super::context::{Caller, Context};
use super::settle::{Reported, StatusReport, report};
use crate::delivery::News;
use crate::error::{Code, Error, Result};
use crate::message::Message;

/// How long to wait between two questions, at first and at most.
const FIRST: Duration = Duration::from_millis(250);
const MOST: Duration = Duration::from_secs(3);

/// Follows a message for at most `within` and answers what the database then says of it.
pub(super) async fn follow(ctx: &Context, caller: &Caller, message_id: i64, within: Duration) -> Result<Message> {
    let until = ctx.reads().now().await? + within;
    let mut pause = FIRST;
    loop {
        let message = ctx.reads().message(message_id).await?.ok_or_else(|| gone(message_id))?;
        let Some(provider_id) = message.provider_id.clone().filter(|_| !message.state.is_final()) else {
            return Ok(message);
        };
        let found = ctx.provider()?.fetch(&provider_id).await;
        let now = ctx.reads().now().await?;
        match found {
            Ok(Some(found)) => {
                let (state, error_code, price) = (found.state, found.error_code, found.price);
                let news = News { provider_id, state, error_code, price };
                if let Reported::Moved(state) = report(ctx, caller, StatusReport { message_id, news, to: None }).await?
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
            return ctx.reads().message(message_id).await?.ok_or_else(|| gone(message_id));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MOST);
    }
}

fn gone(message_id: i64) -> Error {
    Error::new(Code::NOT_FOUND, format!("message m{message_id} is not in the database"))
}
