//! Messages without a code: from JSON to a send, and what became of any message.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ServerState;
use super::auth;
use super::body;
use super::client::Client;
use super::problem::{Problem, ProblemDocument};
use super::sending::{self, AuthorizedRequest};
use crate::audit::Actor;
use crate::clock::Timestamp;
use crate::engine::{Caller, Content, Destination, SEGMENTS_MAX, SendMessage};
use crate::error;
use crate::message::Message;
use crate::token::{Scope, Token};

/// For how long a message is wanted where the request does not say it, and at least and at most, in seconds.
const VALID_FOR: u64 = 4 * 3600;
const VALID_LEAST: u64 = 60;
const VALID_MOST: u64 = 36_000;

/// The body of a request to send a message.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MessageRequest {
    /// Where it goes, as send-otp takes it.
    #[schema(example = "+14155552671", min_length = 1, max_length = 250)]
    phone_number: String,
    /// What it says; or else a `template`.
    #[schema(example = "Your table is ready.", min_length = 1, max_length = 1600)]
    text: Option<String>,
    /// The name of a text of the server's settings, `[messages.NAME]`.
    #[schema(max_length = 64, pattern = "^[a-z][a-z0-9_-]*$")]
    template: Option<String>,
    /// A value for each variable of the template.
    vars: Option<BTreeMap<String, String>>,
    /// The language of the template's text, for example `de`, `de-AT` or `pt-BR`; the server's setting where it is missing.
    #[schema(example = "de", max_length = 20)]
    locale: Option<String>,
    /// When to send it; now where it is missing or past, and at most 35 days ahead.
    #[schema(value_type = Option<String>, format = DateTime)]
    at: Option<DateTime<Utc>>,
    /// How many SMS segments it may take; every one is charged.
    #[schema(minimum = 1, maximum = 10)]
    segments_max: Option<u32>,
    /// It is sent within so many seconds, from `at` on, or not at all; four hours where it is missing.
    #[schema(minimum = 60, maximum = 36000)]
    valid_for_seconds: Option<u64>,
}

/// What sending a message answers.
#[derive(Serialize, ToSchema)]
pub(super) struct MessageResponse {
    /// The message.
    #[schema(example = "m5")]
    message_id: String,
    /// How far it got.
    #[schema(example = "accepted")]
    state: &'static str,
    /// How many SMS segments it takes.
    segments: u32,
    /// It is not sent after this.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// A declared test number: nothing went out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    test: bool,
}

/// What became of a message.
#[derive(Serialize, ToSchema)]
pub(super) struct MessageState {
    /// The message.
    #[schema(example = "m5")]
    message_id: String,
    /// The otp whose code it carries.
    #[serde(skip_serializing_if = "Option::is_none")]
    otp_id: Option<i64>,
    /// How far it got: scheduled, queued, sending, unknown, accepted, sent, undelivered, delivered, read, failed or canceled.
    #[schema(example = "delivered")]
    state: &'static str,
    /// Nothing that comes later changes it, but that a delivered message may be read.
    #[serde(rename = "final")]
    is_final: bool,
    /// The provider's error code; `smsotp explain` knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<u32>,
    /// Why it did not arrive.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// How many SMS segments it takes.
    segments: u32,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it changed last.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

/// Send a message without a code.
#[utoipa::path(
    post,
    path = "/api/v1/messaging/messages/",
    operation_id = "send_message",
    tag = "message",
    security(("bearer" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key gets the same answer and sends once. 1 to 200 visible ASCII characters.")),
    request_body = MessageRequest,
    responses(
        (status = 200, description = "The provider took the message, or it is booked (`scheduled`).", body = MessageResponse),
        (status = 400, description = "The body is not JSON.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, description = "No accepted token.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow it or speaks for a user, or policy forbids the recipient.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 408, description = "The body did not come in time.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "A request with this idempotency key is under way.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "The body is too long.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "A field is missing, unknown or wrong.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 429, description = "A limit is reached, or the token asked too often; `Retry-After` says when to come back.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 500, description = "The server's configuration is wrong, or it has a bug.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 502, description = "The provider refused, cannot be reached, or may have sent it (`maybe_sent`: do not repeat).", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "The provider is busy and the message is kept, or the server cannot reach its database.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn send(
    State(state): State<Arc<ServerState>>,
    Extension(client): Extension<Client>,
    request: Request,
) -> Result<Response, Problem> {
    let request = AuthorizedRequest::read(&state, client, request, Scope::Message).await?;
    of_a_service(&request.token)?;
    let body: MessageRequest = body::json(&request.body)?;
    let within = |name: &str, value: u64, least: u64, most: u64| {
        let wrong = || Problem::new(error::Code::VALUE_INVALID, format!("{name} is not between {least} and {most}"));
        (least..=most).contains(&value).then_some(value).ok_or_else(wrong)
    };
    let segments_max = body.segments_max.unwrap_or(SEGMENTS_MAX);
    within("segments_max", segments_max.into(), 1, SEGMENTS_MAX.into())?;
    let seconds = within("valid_for_seconds", body.valid_for_seconds.unwrap_or(VALID_FOR), VALID_LEAST, VALID_MOST)?;
    let content = match (body.text, body.template) {
        (Some(text), None) if body.vars.is_none() && body.locale.is_none() => Content::text(text),
        (None, Some(name)) => Content::Template {
            name,
            values: body.vars.unwrap_or_default(),
            locale: body.locale.as_deref().map(sending::locale).transpose()?,
        },
        _ => {
            let what = "a message has either a text, or a template with its vars and locale";
            return Err(Problem::new(error::Code::VALUE_INVALID, what));
        }
    };
    let message = SendMessage {
        to: Destination::parse(&body.phone_number, state.region.as_deref())?,
        content,
        at: body.at.map(Into::into),
        override_limits: None,
        idempotency_key: request.idempotency_key()?,
        segments_max,
        cost_max: None,
        valid_for: Duration::from_secs(seconds),
        timeout: sending::WITHIN,
    };
    let (engine, caller) = (state.engine.clone(), Caller::new(Actor::Token(request.token.id)));
    let sent = sending::run(&state, async move { engine.send_message(&caller, message).await }).await?;
    let response = MessageResponse {
        message_id: format!("m{}", sent.message_id),
        state: sent.state.as_str(),
        segments: sent.segments,
        expires_at: sent.expires_at,
        test: sent.test,
    };
    Ok(Json(response).into_response())
}

/// What became of a message, with a code or without one.
#[utoipa::path(
    get,
    path = "/api/v1/messaging/messages/{id}/",
    operation_id = "message",
    tag = "message",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The `message_id` that was answered, for example `m5`.")),
    responses(
        (status = 200, description = "How far it got, as far as the provider reported it.", body = MessageState),
        (status = 401, description = "No accepted token.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow it, or speaks for a user.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "There is no such message.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "The id is none.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 429, description = "The token asked too often; `Retry-After` says when to come back.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 500, description = "The server's configuration is wrong, or it has a bug.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "The server is busy or cannot reach its database.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(
    State(state): State<Arc<ServerState>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let token = auth::bearer(&state, &headers, Scope::Message).await?;
    of_a_service(&token)?;
    let no_id = || Problem::new(error::Code::VALUE_INVALID, "this is no id of a message: write it like m5");
    let id = id.strip_prefix('m').and_then(|id| id.parse().ok()).ok_or_else(no_id)?;
    let no_such = || Problem::new(error::Code::NO_SUCH_MESSAGE, "there is no such message");
    let message = state.engine.reads().message(id).await?.ok_or_else(no_such)?;
    Ok(Json(MessageState::of(&message)).into_response())
}

fn of_a_service(token: &Token) -> Result<(), Problem> {
    match token.user {
        Some(_) => Err(Problem::new(error::Code::FORBIDDEN, "messages are for tokens of services")),
        None => Ok(()),
    }
}

impl MessageState {
    fn of(message: &Message) -> MessageState {
        MessageState {
            message_id: format!("m{}", message.id),
            otp_id: message.otp_id,
            state: message.state.as_str(),
            is_final: message.state.is_final(),
            error_code: message.error_code,
            error: message.error.clone(),
            segments: message.segments,
            created_at: message.reserved_at,
            updated_at: message.updated_at,
        }
    }
}
