//! refresh asks the provider what became of the messages of one otp, or of one message, for somebody who wants to know now.

use super::advance::{advance, ask};
use super::context::{Caller, Context};
use super::settle::polled;
use crate::error::{Error, Result};
use crate::message::{Message, State};
use crate::otp::Otp;

/// So many messages of an otp are asked for: its newest.
const ASKED_MAX: usize = 10;

/// Asks for every message of an otp whose end is not known, and records what is learned. Nothing is sent, so what waits for an
/// attempt is left alone. Answers the error of the provider where it could not be asked.
pub(super) async fn refresh(ctx: &Context, caller: &Caller, otp: &Otp) -> Result<Option<Error>> {
    for message in ctx.reads().messages_of(otp.id).await?.iter().rev().take(ASKED_MAX) {
        // The others would wait for the same answer.
        if let Some(error) = refresh_message(ctx, caller, message).await? {
            return Ok(Some(error));
        }
    }
    Ok(None)
}

/// The same for one message.
pub(super) async fn refresh_message(ctx: &Context, caller: &Caller, message: &Message) -> Result<Option<Error>> {
    if ctx.provider.as_ref().is_none_or(|provider| provider.is_local()) {
        return Ok(None);
    }
    match message.state {
        State::Accepted | State::Sent => match ask(ctx, message).await {
            Ok(Some(news)) => drop(polled(ctx, caller, message, Some(news)).await?),
            Ok(None) => {}
            Err(error) => return Ok(Some(error)),
        },
        State::Sending | State::Unknown => drop(advance(ctx, caller, message.id).await?),
        _ => {}
    }
    Ok(None)
}
