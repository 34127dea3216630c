//! send-otp and verify-otp: from JSON to an operation of the engine, and from its answer to JSON.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroize;

use super::ServerState;
use super::auth::{self, Claims};
use super::body;
use super::client::Client;
use super::problem::{Problem, ProblemDocument};
use super::sending::{self, AuthorizedRequest};
use crate::audit::Actor;
use crate::clock::Timestamp;
use crate::code::Code;
use crate::engine::{Caller, Destination, Proven, SendOtp, Verdict, VerifyOtp};
use crate::error;
use crate::phone;
use crate::purpose::{self, Purpose};
use crate::template::Endings;
use crate::token::{Scope, Token};

/// The body of a request to send-otp.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SendRequest {
    /// Where the code goes: international, for example `+14155552671`; national where the server has a region set.
    #[schema(example = "+14155552671", min_length = 1, max_length = 250)]
    phone_number: String,
    /// What the code is for: `registration`, `login`, `password_reset`, `phone_verification` (the default), or a declared one.
    #[schema(example = "registration", max_length = 64, pattern = "^[a-z][a-z0-9_-]*$")]
    purpose: Option<String>,
    /// The host system's user. Needed with a service's token; with a user's token it can only be that user.
    #[schema(max_length = 128)]
    user: Option<String>,
    /// The address of the person who asked; its limits then apply. For tokens of services.
    #[schema(example = "203.0.113.7")]
    client_ip: Option<String>,
    /// The user is signed in already: guess budgets of their own. For tokens of services.
    known: Option<bool>,
    /// A new code although one is alive; the old one is superseded.
    new_code: Option<bool>,
    /// The 11 characters by which Android hands the message to your app.
    app_hash: Option<String>,
    /// The domain whose web page may fill the code in by itself.
    origin: Option<String>,
    /// The language of the message, for example `de`, `de-AT` or `pt-BR`; the server's setting where it is missing.
    #[schema(example = "de", max_length = 20)]
    locale: Option<String>,
    /// `passed`: the person has solved a challenge, as `challenge_required` asked for. For tokens of services.
    #[schema(example = "passed", pattern = "^passed$")]
    challenge: Option<String>,
}

/// What send-otp answers.
#[derive(Serialize, ToSchema)]
pub(super) struct SendResponse {
    /// `OTP sent successfully`.
    #[schema(example = "OTP sent successfully")]
    message: &'static str,
    /// The otp.
    #[schema(example = 123)]
    otp_id: i64,
    /// The message.
    #[schema(example = "m5")]
    message_id: String,
    /// How far the message got.
    #[schema(example = "accepted")]
    state: &'static str,
    /// The code is valid until then.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// The code of an earlier message went out again.
    resent: bool,
    /// A declared test number: nothing went out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    test: bool,
}

/// The body of a request to verify-otp.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VerifyRequest {
    /// Whose phone, as send-otp takes it.
    #[schema(example = "+14155552671", min_length = 1, max_length = 250)]
    phone_number: String,
    /// What the person typed: 4 to 10 digits, spaces and dashes between them do not matter.
    #[schema(example = "123456", min_length = 1, max_length = 128)]
    otp_code: String,
    /// What the code was asked for.
    #[schema(example = "registration", max_length = 64, pattern = "^[a-z][a-z0-9_-]*$")]
    purpose: Option<String>,
    /// The user for whom it was asked. Needed with a service's token; with a user's token it can only be that user.
    #[schema(max_length = 128)]
    user: Option<String>,
    /// The address of the person who typed it; its guess budget then applies. For tokens of services.
    #[schema(example = "203.0.113.7")]
    client_ip: Option<String>,
    /// The user is signed in already: guess budgets of their own. For tokens of services.
    known: Option<bool>,
}

impl Drop for VerifyRequest {
    fn drop(&mut self) {
        self.otp_code.zeroize();
    }
}

/// What verify-otp answers to the right code.
#[derive(Serialize, ToSchema)]
pub(super) struct VerifyResponse {
    /// `OTP verified successfully`.
    #[schema(example = "OTP verified successfully")]
    message: &'static str,
    /// Always true: a "no" is a problem.
    verified: bool,
    /// The otp.
    #[serde(skip_serializing_if = "Option::is_none")]
    otp_id: Option<i64>,
    /// A declared test number.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    test: bool,
}

/// Send a code to a phone.
#[utoipa::path(
    post,
    path = "/api/v1/messaging/send-otp/",
    operation_id = "send_otp",
    tag = "otp",
    security(("bearer" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key gets the same answer and sends once. 1 to 200 visible ASCII characters.")),
    request_body = SendRequest,
    responses(
        (status = 200, description = "The provider took the message.", body = SendResponse),
        (status = 400, description = "The body is not JSON.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, description = "No accepted token.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow it, or policy forbids the recipient.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 408, description = "The body did not come in time.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "A request with this idempotency key is under way.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "The body is too long.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "A field is missing, unknown or wrong.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 429, description = "A limit is reached, or the token asked too often; `Retry-After` says when to come back.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 500, description = "The server's configuration is wrong, or it has a bug.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 502, description = "The provider refused, cannot be reached, or may have sent it (`maybe_sent`: do not repeat).", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "The server is busy or cannot reach its database.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn send(
    State(state): State<Arc<ServerState>>,
    Extension(client): Extension<Client>,
    request: Request,
) -> Result<Response, Problem> {
    let request = AuthorizedRequest::read(&state, client, request, Scope::Send).await?;
    let body: SendRequest = body::json(&request.body)?;
    let claims = Claims { user: body.user.as_deref(), client_ip: body.client_ip.as_deref(), known: body.known };
    let (user, caller) = auth::on_behalf(&request.token, &claims, request.client)?;
    let send = SendOtp {
        to: Destination::parse(&body.phone_number, state.region.as_deref())?,
        purpose: purpose_of(body.purpose.as_deref())?,
        user,
        new_code: body.new_code == Some(true),
        challenge_passed: challenge_passed(&request.token, body.challenge.as_deref())?,
        override_limits: None,
        idempotency_key: request.idempotency_key()?,
        endings: Endings::new(body.app_hash.as_deref(), body.origin.as_deref())?,
        locale: body.locale.as_deref().map(sending::locale).transpose()?,
        segments_max: None,
        timeout: sending::WITHIN,
    };
    let engine = state.engine.clone();
    let sent = sending::run(&state, async move { engine.send(&caller, send).await }).await?;
    let response = SendResponse {
        message: "OTP sent successfully",
        otp_id: sent.otp_id,
        message_id: format!("m{}", sent.message_id),
        state: sent.state.as_str(),
        expires_at: sent.expires_at,
        resent: sent.resent,
        test: sent.test,
    };
    Ok(Json(response).into_response())
}

/// What proven answers.
#[derive(Serialize, ToSchema)]
pub(super) struct ProvenResponse {
    /// The otp.
    #[schema(example = 123)]
    otp_id: i64,
    /// Always true.
    proven: bool,
    /// False: that was known already.
    counted: bool,
}

/// Say that the person whom a code was sent to was proven in another way; a live code is revoked by it.
#[utoipa::path(
    post,
    path = "/api/v1/messaging/otps/{id}/proven/",
    operation_id = "proven",
    tag = "otp",
    security(("bearer" = [])),
    params(("id" = i64, Path, description = "The `otp_id` that send-otp answered.")),
    responses(
        (status = 200, description = "It counts as if the code had been entered. Asked again it is answered the same, and counts once.", body = ProvenResponse),
        (status = 401, description = "No accepted token.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow it, or speaks for a user: only a service can say so.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "There is no such otp.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "The id is none.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 429, description = "The token asked too often; `Retry-After` says when to come back.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 500, description = "The server's configuration is wrong, or it has a bug.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "The server is busy or cannot reach its database.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn proven(
    State(state): State<Arc<ServerState>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let token = auth::bearer(&state, &headers, Scope::Proven).await?;
    if token.user.is_some() {
        return Err(Problem::new(error::Code::FORBIDDEN, "proofs are for tokens of services"));
    }
    let no_id = "this is no id of an otp: write the otp_id that send-otp answered";
    let otp_id = id.parse().map_err(|_| Problem::new(error::Code::VALUE_INVALID, no_id))?;
    let counted = match state.engine.proven(&Caller::new(Actor::Token(token.id)), otp_id).await? {
        Proven::NotFound => return Err(Problem::new(error::Code::NO_SUCH_OTP, "there is no such otp")),
        counted => counted == Proven::Counted,
    };
    Ok(Json(ProvenResponse { otp_id, proven: true, counted }).into_response())
}

/// Whether the caller has had a challenge solved. A user's own token cannot say so.
fn challenge_passed(token: &Token, said: Option<&str>) -> Result<bool, Problem> {
    match said {
        None => Ok(false),
        Some("passed") if token.user.is_none() => Ok(true),
        Some("passed") => Err(Problem::new(error::Code::FORBIDDEN, "challenge is for tokens of services")),
        Some(_) => Err(Problem::new(error::Code::VALUE_INVALID, "challenge can only be \"passed\"")),
    }
}

/// Verify a code.
#[utoipa::path(
    post,
    path = "/api/v1/messaging/verify-otp/",
    operation_id = "verify_otp",
    tag = "otp",
    security(("bearer" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Asked again with the same key and the same code while that code would be valid, \"verified\" is answered again; anything else counts as without a key. 1 to 200 visible ASCII characters.")),
    request_body = VerifyRequest,
    responses(
        (status = 200, description = "Right, and consumed: never again.", body = VerifyResponse),
        (status = 400, description = "`invalid_code`: the one answer to every code that opens nothing, for whatever reason, with `verified` false; or the body is not JSON.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, description = "No accepted token.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow it.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 408, description = "The body did not come in time.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "The body is too long.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "A field is missing, unknown or wrong.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 429, description = "A guess budget of the caller is closed, or the token asked too often (the client's address, the token, or the token's own user); `Retry-After` says when to come back. A closed budget of a phone or of another user is answered as any other no.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 500, description = "The server's configuration is wrong, or it has a bug.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "The server is busy or cannot reach its database.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn verify(
    State(state): State<Arc<ServerState>>,
    Extension(client): Extension<Client>,
    request: Request,
) -> Result<Response, Problem> {
    let request = AuthorizedRequest::read(&state, client, request, Scope::Verify).await?;
    let body: VerifyRequest = body::json(&request.body)?;
    let claims = Claims { user: body.user.as_deref(), client_ip: body.client_ip.as_deref(), known: body.known };
    let (user, caller) = auth::on_behalf(&request.token, &claims, request.client)?;
    let verify = VerifyOtp {
        phone: phone::read(&body.phone_number, state.region.as_deref())?,
        purpose: purpose_of(body.purpose.as_deref())?,
        user,
        code: Code::parse(&body.otp_code)?,
        idempotency_key: request.idempotency_key()?,
    };
    let answer = state.engine.verify(&caller, verify).await?;
    let outcome = answer.verdict.code().map_or("verified", |code| code.name);
    state.metrics.verified(outcome);
    match &answer.verdict {
        Verdict::Verified => {
            let message = "OTP verified successfully";
            Ok(Json(VerifyResponse { message, verified: true, otp_id: answer.otp_id, test: answer.test })
                .into_response())
        }
        no => {
            // What closes for others would reveal that there is a code: only the caller's own budgets are named.
            if let Some(hit) = no.closed_for_caller(&caller) {
                let problem = Problem::new(error::Code::TOO_MANY_GUESSES, "too many wrong codes were given");
                return Err(problem.not_verified().retry_after(hit.retry_after_seconds));
            }
            let problem = Problem::new(error::Code::INVALID_CODE, "the code is not valid").not_verified();
            let reader = request.token.scopes.allows(Scope::Read);
            Err(if reader { problem.reason(outcome, no.tries_left()) } else { problem })
        }
    }
}

fn purpose_of(text: Option<&str>) -> Result<Purpose, Problem> {
    let text = text.unwrap_or(purpose::DEFAULT);
    Purpose::parse(text).ok_or_else(|| Problem::new(error::Code::PURPOSE_UNKNOWN, "no purpose is called that"))
}
