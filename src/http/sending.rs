//! What requests that send have in common: who may make them, and what their answers become.

use std::time::Duration;

use axum::extract::Request;
use axum::http::HeaderMap;
use zeroize::Zeroizing;

use super::client::Client;
use super::problem::Problem;
use super::{ServerState, auth, body};
use crate::engine::{SendAnswer, SentMessage};
use crate::error::{self, Error, Result as EngineResult};
use crate::locale::Locale;
use crate::message;
use crate::token::{Scope, Token};

/// The longest idempotency key, in characters.
const KEY_MAX: usize = 200;

/// For how long a send goes on trying before it is answered that it could not.
pub(super) const WITHIN: Duration = Duration::from_secs(20);

/// A request of a bearer who may make it, read whole.
pub(super) struct AuthorizedRequest {
    pub token: Token,
    headers: HeaderMap,
    pub body: Zeroizing<Vec<u8>>,
    pub client: Client,
}

impl AuthorizedRequest {
    /// The token is checked first: a body is read for bearers of a fitting token alone.
    pub async fn read(
        state: &ServerState,
        client: Client,
        request: Request,
        scope: Scope,
    ) -> Result<AuthorizedRequest, Problem> {
        let (head, body) = request.into_parts();
        let token = auth::bearer(state, &head.headers, scope).await?;
        body::must_be_json(&head.headers)?;
        let body = body::read(&head, body, body::JSON_MAX, state.bounds.body).await?;
        Ok(AuthorizedRequest { token, headers: head.headers, body, client })
    }

    /// The idempotency key, if one is given.
    pub fn idempotency_key(&self) -> Result<Option<String>, Problem> {
        let mut keys = self.headers.get_all("idempotency-key").iter();
        let Some(key) = keys.next() else { return Ok(None) };
        let text = key.to_str().unwrap_or_default();
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if keys.next().is_some() || text.is_empty() || text.len() > KEY_MAX || !visible {
            return Err(Problem::new(
                error::Code::VALUE_INVALID,
                format!("Idempotency-Key has to be one key of 1 to {KEY_MAX} visible ASCII characters"),
            ));
        }
        Ok(Some(text.to_owned()))
    }
}

/// Runs a send and counts how it ended. What did not go out is a problem.
pub(super) async fn run<S: AsRef<SentMessage> + Send + 'static>(
    state: &ServerState,
    send: impl Future<Output = EngineResult<SendAnswer<S>>> + Send + 'static,
) -> Result<S, Problem> {
    // A task of its own: a client that goes away must not cut the call to the provider in two.
    let sending = state.sends.spawn(send);
    let answer = sending.await.map_err(|_| Problem::from(Error::new(error::Code::BUG, "a send broke off")))?;
    let count = |outcome: &str| state.metrics.sent(outcome);
    match answer {
        Ok(SendAnswer::Sent(sent)) => {
            let message: &SentMessage = (*sent).as_ref();
            count(if message.test { "test" } else { message.state.as_str() });
            match message.failure() {
                Some(failure) => Err(failed(message, failure)),
                None => Ok(*sent),
            }
        }
        Ok(SendAnswer::Refused(refusal)) => {
            count("refused");
            let (code, error) = (refusal.code.name, refusal.error());
            tracing::info!(target: "smsotp::http", code, hint = error.hint_text(), "a send was refused: {error}");
            Err(refusal.public_error().into())
        }
        Err(error) => {
            count("error");
            Err(error.into())
        }
    }
}

fn failed(sent: &SentMessage, failure: Error) -> Problem {
    // What is wrong with the server's own set-up is nobody's business outside.
    let is_public = failure.class() != error::Class::Config && !sent.opted_out;
    let problem = match failure.class() {
        error::Class::Config => Problem::new(failure.code(), "the provider refused the server's credentials or set-up"),
        _ => Problem::from(failure),
    };
    // The engine's hints are for whoever has a terminal.
    let problem = match (sent.state, &sent.fix) {
        (message::State::Unknown | message::State::Sending, _) if sent.otp_id.is_some() => {
            problem.hint("Do not repeat it: the server finds out, and the code stays valid if it arrives.")
        }
        (message::State::Unknown | message::State::Sending, _) => {
            problem.hint("Do not repeat it: the server finds out what became of it.")
        }
        (message::State::Queued, _) if sent.otp_id.is_some() => {
            problem.hint("It is kept, and sent as soon as the provider takes it; asking again then sends it too.")
        }
        (message::State::Queued, _) => {
            problem.hint("Do not repeat it: it is kept, and sent as soon as the provider takes it.")
        }
        (_, Some(fix)) if is_public => problem.hint(fix.clone()),
        _ => problem,
    };
    problem.about(sent.otp_id, sent.message_id, sent.error_code)
}

/// The locale of a text.
pub(super) fn locale(tag: &str) -> Result<Locale, Problem> {
    let no_tag = "locale is not the tag of a language: write it like de, de-AT or pt-BR";
    Locale::parse(tag).ok_or_else(|| Problem::new(error::Code::VALUE_INVALID, no_tag))
}
