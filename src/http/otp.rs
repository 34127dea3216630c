//! send-otp and verify-otp: the seed's bodies and answers, the engine's operations.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::{self, Claims};
use super::body;
use super::connection::Connection;
use super::problem::{Document, Problem};
use super::{JSON_WITHIN, Shared};
use crate::clock::Timestamp;
use crate::code::Code;
use crate::engine::{Destination, SendAnswer, SendOtp, Sent, Verdict, VerifyOtp};
use crate::error::{self, Error};
use crate::phone::{self, Phone};
use crate::purpose::{self, Purpose};
use crate::template::Endings;
use crate::token::{Scope, Token};

/// The longest idempotency key, in characters.
const KEY_MAX: usize = 200;

/// For how long a send goes on trying before it tells its caller that it could not.
const SEND_WITHIN: Duration = Duration::from_secs(20);

/// What is asked of send-otp.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SendRequest {
    /// Where the code goes: E.164, for example `+14155552671`.
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
    /// `passed`: the person solved a challenge of yours after `challenge_required`. For tokens of services.
    #[schema(example = "passed", pattern = "^passed$")]
    challenge: Option<String>,
    /// A new code although one is alive; the old one is superseded.
    new_code: Option<bool>,
    /// The 11 characters by which Android hands the message to your app.
    app_hash: Option<String>,
    /// The domain whose web page may fill the code in by itself.
    origin: Option<String>,
}

/// What send-otp answers.
#[derive(Serialize, ToSchema)]
pub(super) struct SendResponse {
    /// `OTP sent successfully`.
    #[schema(example = "OTP sent successfully")]
    message: &'static str,
    /// The challenge.
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

/// What is asked of verify-otp.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VerifyRequest {
    /// Whose phone.
    #[schema(example = "+14155552671", min_length = 1, max_length = 250)]
    phone_number: String,
    /// What the person typed: 4 to 10 digits, spaces and hyphens between them do not matter.
    #[schema(example = "123456", min_length = 1, max_length = 64)]
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

/// What verify-otp answers to the right code.
#[derive(Serialize, ToSchema)]
pub(super) struct VerifyResponse {
    /// `OTP verified successfully`.
    #[schema(example = "OTP verified successfully")]
    message: &'static str,
    /// Always true: a "no" is a problem.
    verified: bool,
    /// The challenge.
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
        (status = 400, description = "The body is not JSON.", body = Document, content_type = "application/problem+json"),
        (status = 401, description = "No accepted token.", body = Document, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow it, or policy forbids the recipient.", body = Document, content_type = "application/problem+json"),
        (status = 408, description = "The body did not come in time.", body = Document, content_type = "application/problem+json"),
        (status = 409, description = "A request with this idempotency key is under way.", body = Document, content_type = "application/problem+json"),
        (status = 413, description = "The body is too long.", body = Document, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON.", body = Document, content_type = "application/problem+json"),
        (status = 422, description = "A field is missing, unknown or wrong.", body = Document, content_type = "application/problem+json"),
        (status = 429, description = "A limit is reached; `Retry-After` tells when to come back.", body = Document, content_type = "application/problem+json"),
        (status = 500, description = "The server's configuration is wrong, or it has a bug.", body = Document, content_type = "application/problem+json"),
        (status = 502, description = "The provider refused, cannot be reached, or may have sent it (`maybe_sent`: do not repeat).", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "The server is busy or cannot reach its database.", body = Document, content_type = "application/problem+json"),
    )
)]
pub(super) async fn send(State(shared): State<Arc<Shared>>, request: Request) -> Result<Response, Problem> {
    let (token, headers, bytes, client) = open(&shared, request, Scope::Send).await?;
    let asked: SendRequest = body::json(&bytes)?;
    let claims = Claims {
        user: asked.user.as_deref(),
        client_ip: asked.client_ip.as_deref(),
        known: asked.known,
        challenge: asked.challenge.as_deref(),
    };
    let (user, caller) = auth::on_behalf(&token, &claims, client)?;
    let ask = SendOtp {
        to: Destination::parse(&asked.phone_number, None)?,
        purpose: purpose_of(asked.purpose.as_deref())?,
        user,
        new_code: asked.new_code == Some(true),
        override_limits: None,
        idempotency_key: idempotency_key(&headers, &token)?,
        endings: endings(asked.app_hash.as_deref(), asked.origin.as_deref())?,
        segments_max: None,
        timeout: SEND_WITHIN,
    };
    // A task of its own: a client that goes away must not cut the call to the provider in two.
    let engine = shared.engine.clone();
    let guard = shared.under_way.enter();
    let sending = tokio::spawn(async move {
        let answer = engine.send(&caller, ask).await;
        drop(guard);
        answer
    });
    let answer = sending.await.map_err(|_| Problem::from(Error::new(error::Code::BUG, "a send broke off")))?;
    let counted = |outcome: &str| shared.metrics.sent(outcome);
    match answer {
        Ok(SendAnswer::Sent(sent)) => {
            counted(if sent.test { "test" } else { sent.state.as_str() });
            sent_response(&sent)
        }
        Ok(SendAnswer::Refused(refusal)) => {
            counted("refused");
            Err(refusal.error().into())
        }
        Err(error) => {
            counted("error");
            Err(error.into())
        }
    }
}

/// Verify a code.
#[utoipa::path(
    post,
    path = "/api/v1/messaging/verify-otp/",
    operation_id = "verify_otp",
    tag = "otp",
    security(("bearer" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Asked again with the same key and the same code, \"verified\" is answered again. 1 to 200 visible ASCII characters.")),
    request_body = VerifyRequest,
    responses(
        (status = 200, description = "Right, and consumed: never again.", body = VerifyResponse),
        (status = 400, description = "`invalid_code`: the one answer to every code that opens nothing, with `verified` false; or the body is not JSON.", body = Document, content_type = "application/problem+json"),
        (status = 401, description = "No accepted token.", body = Document, content_type = "application/problem+json"),
        (status = 403, description = "The token does not allow it.", body = Document, content_type = "application/problem+json"),
        (status = 408, description = "The body did not come in time.", body = Document, content_type = "application/problem+json"),
        (status = 413, description = "The body is too long.", body = Document, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON.", body = Document, content_type = "application/problem+json"),
        (status = 422, description = "A field is missing, unknown or wrong.", body = Document, content_type = "application/problem+json"),
        (status = 429, description = "A guess budget is closed, whether or not a code exists; `Retry-After` tells when to come back.", body = Document, content_type = "application/problem+json"),
        (status = 500, description = "The server's configuration is wrong, or it has a bug.", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "The server is busy or cannot reach its database.", body = Document, content_type = "application/problem+json"),
    )
)]
pub(super) async fn verify(State(shared): State<Arc<Shared>>, request: Request) -> Result<Response, Problem> {
    let (token, headers, bytes, client) = open(&shared, request, Scope::Verify).await?;
    let asked: VerifyRequest = body::json(&bytes)?;
    let claims = Claims {
        user: asked.user.as_deref(),
        client_ip: asked.client_ip.as_deref(),
        known: asked.known,
        challenge: None,
    };
    let (user, caller) = auth::on_behalf(&token, &claims, client)?;
    let ask = VerifyOtp {
        phone: shape(&asked.phone_number)?,
        purpose: purpose_of(asked.purpose.as_deref())?,
        user,
        code: Code::parse(&asked.otp_code)?,
        idempotency_key: idempotency_key(&headers, &token)?,
    };
    let answer = shared.engine.verify(&caller, ask).await?;
    let outcome = answer.verdict.code().map_or("verified", |code| code.name);
    shared.metrics.verified(outcome);
    match &answer.verdict {
        Verdict::Verified => {
            let message = "OTP verified successfully";
            Ok(Json(VerifyResponse { message, verified: true, otp_id: answer.otp_id, test: answer.test })
                .into_response())
        }
        Verdict::TooManyGuesses(hit) => {
            let why = "too many wrong codes were given";
            let problem = Problem::new(error::Code::TOO_MANY_GUESSES, why).not_verified();
            Err(problem.retry_after(hit.retry_after_seconds))
        }
        no => {
            let problem = Problem::new(error::Code::INVALID_CODE, "the code is not valid").not_verified();
            if !token.scopes.allows(Scope::Read) {
                return Err(problem);
            }
            let tries_left = match no {
                Verdict::WrongCode { tries_left } => Some(*tries_left),
                _ => None,
            };
            Err(problem.reason(outcome, tries_left))
        }
    }
}

/// Who asks comes before what is asked: a body is read for bearers of a fitting token alone.
async fn open(
    shared: &Shared,
    request: Request,
    scope: Scope,
) -> Result<(Token, HeaderMap, axum::body::Bytes, super::client::Client), Problem> {
    let (parts, whole) = request.into_parts();
    let token = auth::bearer(shared, &parts.headers, scope).await?;
    body::must_be_json(&parts.headers)?;
    let bytes = body::read(whole, body::JSON_MAX, JSON_WITHIN).await?;
    let client = Connection::of(&parts.extensions).map(|connection| {
        connection.busy();
        shared.client(connection.peer, &parts.headers)
    });
    let nobody = super::client::Client { ip: None, forged: false, local: false };
    Ok((token, parts.headers, bytes, client.unwrap_or(nobody)))
}

fn sent_response(sent: &Sent) -> Result<Response, Problem> {
    let Some(failure) = sent.failure() else {
        return Ok(Json(SendResponse {
            message: "OTP sent successfully",
            otp_id: sent.otp_id,
            message_id: format!("m{}", sent.message_id),
            state: sent.state.as_str(),
            expires_at: sent.expires_at,
            resent: sent.resent,
            test: sent.test,
        })
        .into_response());
    };
    // What is wrong with the server's own set-up is nobody's business outside.
    let problem = match failure.class() {
        error::Class::Config => Problem::new(failure.code(), "the provider refused the server's credentials or set-up"),
        _ => Problem::from(failure),
    };
    Err(problem.about(sent.otp_id, sent.error_code))
}

fn shape(text: &str) -> Result<Phone, Problem> {
    phone::shape(text).map_err(Problem::from)
}

fn purpose_of(text: Option<&str>) -> Result<Purpose, Problem> {
    let text = text.unwrap_or(purpose::DEFAULT);
    Purpose::parse(text).ok_or_else(|| Problem::new(error::Code::PURPOSE_UNKNOWN, "no purpose is called that"))
}

fn endings(app_hash: Option<&str>, origin: Option<&str>) -> Result<Endings, Problem> {
    Endings::new(app_hash, origin).map_err(Problem::from)
}

/// The key of this bearer's: two tokens that use the same word do not meet.
fn idempotency_key(headers: &HeaderMap, token: &Token) -> Result<Option<String>, Problem> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let text = key.to_str().unwrap_or_default();
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if keys.next().is_some() || text.is_empty() || text.len() > KEY_MAX || !visible {
        return Err(Problem::new(
            error::Code::VALUE_INVALID,
            format!("Idempotency-Key has to be one key of 1 to {KEY_MAX} visible ASCII characters"),
        ));
    }
    Ok(Some(format!("token:{}:{text}", token.id)))
}
