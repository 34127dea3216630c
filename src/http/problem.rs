//! What went wrong, as RFC 9457 problem JSON with a stable `code`.

use std::borrow::Cow;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::checks::ProviderCheck;
use crate::error::{Class, Code, Error};

/// A problem to answer with. Nothing in it differs between two answers that a caller must not distinguish.
#[derive(Debug)]
pub(super) struct Problem(Box<ProblemDocument>);

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemDocument {
    /// `urn:smsotp:problem:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// The code in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// The stable, machine-readable code.
    code: &'static str,
    /// What happened.
    detail: Cow<'static, str>,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// In how many seconds it is worth trying again; the same as the header `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u64>,
    /// `false` in every "no" of verify-otp.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<bool>,
    /// Why the answer is no; for tokens with the scope `read`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// How many wrong guesses are left; for tokens with the scope `read`.
    #[serde(skip_serializing_if = "Option::is_none")]
    tries_left: Option<u32>,
    /// The otp whose message failed or may have been sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    otp_id: Option<i64>,
    /// The message that failed or may have been sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    /// The provider's error code; `smsotp explain` knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_code: Option<u32>,
    /// What test-twilio looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<Vec<ProviderCheck>>,
    #[serde(skip)]
    answer: StatusCode,
}

/// Statuses that say more than the class of a code does.
const STATUSES: [(Code, StatusCode); 17] = [
    (Code::HOST_INVALID, StatusCode::BAD_REQUEST),
    (Code::HOST_NOT_ALLOWED, StatusCode::MISDIRECTED_REQUEST),
    (Code::BODY_INVALID, StatusCode::BAD_REQUEST),
    (Code::UNAUTHORIZED, StatusCode::UNAUTHORIZED),
    (Code::NO_SUCH_PATH, StatusCode::NOT_FOUND),
    (Code::NO_SUCH_OTP, StatusCode::NOT_FOUND),
    (Code::NO_SUCH_MESSAGE, StatusCode::NOT_FOUND),
    (Code::METHOD_NOT_ALLOWED, StatusCode::METHOD_NOT_ALLOWED),
    (Code::REQUEST_TIMEOUT, StatusCode::REQUEST_TIMEOUT),
    (Code::IN_PROGRESS, StatusCode::CONFLICT),
    (Code::BODY_TOO_LARGE, StatusCode::PAYLOAD_TOO_LARGE),
    (Code::MEDIA_TYPE, StatusCode::UNSUPPORTED_MEDIA_TYPE),
    (Code::OVERLOADED, StatusCode::SERVICE_UNAVAILABLE),
    // 429 is for limits of the caller's; 503 says that the server is the one who cannot.
    (Code::STORE_BUSY, StatusCode::SERVICE_UNAVAILABLE),
    (Code::PROVIDER_BUSY, StatusCode::SERVICE_UNAVAILABLE),
    (Code::NO_PROVIDER, StatusCode::SERVICE_UNAVAILABLE),
    (Code::PROVIDER_CONFIG, StatusCode::BAD_GATEWAY),
];

/// The HTTP status of a code.
pub(super) fn status_of(code: Code) -> StatusCode {
    let special = STATUSES.iter().find(|(special, _)| *special == code).map(|(_, status)| *status);
    special.or_else(|| StatusCode::from_u16(code.class.row().status).ok()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

impl Problem {
    /// A problem with its code and detail.
    pub(super) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Problem {
        let answer = status_of(code);
        let words = code.name.replace('_', " ");
        let mut letters = words.chars();
        let title = letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str());
        Problem(Box::new(ProblemDocument {
            kind: format!("urn:smsotp:problem:{}", code.name),
            title: title.unwrap_or_default(),
            status: answer.as_u16(),
            code: code.name,
            detail: detail.into(),
            hint: None,
            retry_after_seconds: None,
            verified: None,
            reason: None,
            tries_left: None,
            otp_id: None,
            message_id: None,
            provider_code: None,
            checks: None,
            answer,
        }))
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.0.hint = Some(hint.into());
        self
    }

    pub(super) fn retry_after(mut self, seconds: Option<u64>) -> Problem {
        self.0.retry_after_seconds = seconds;
        self
    }

    pub(super) fn not_verified(mut self) -> Problem {
        self.0.verified = Some(false);
        self
    }

    pub(super) fn reason(mut self, reason: &'static str, tries_left: Option<u32>) -> Problem {
        self.0.reason = Some(reason);
        self.0.tries_left = tries_left;
        self
    }

    pub(super) fn about(mut self, otp_id: Option<i64>, message_id: i64, provider_code: Option<u32>) -> Problem {
        self.0.otp_id = otp_id;
        self.0.message_id = Some(format!("m{message_id}"));
        self.0.provider_code = provider_code;
        self
    }

    pub(super) fn checks(mut self, checks: Vec<ProviderCheck>) -> Problem {
        self.0.checks = Some(checks);
        self
    }

    /// The problem as JSON.
    #[cfg(test)]
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::to_value(&self.0).unwrap()
    }

    /// The stable code.
    #[cfg(test)]
    pub(super) fn code(&self) -> &'static str {
        self.0.code
    }

    /// The answer to who asks more often than allowed, with the time to come back.
    pub(super) fn too_often(detail: impl Into<Cow<'static, str>>, wait: Duration) -> Problem {
        let seconds = wait.as_millis().div_ceil(1000);
        Problem::new(Code::RATE_LIMITED, detail).retry_after(u64::try_from(seconds).ok())
    }

    /// The one answer to everything that a bearer may not know about tokens.
    pub(super) fn unauthorized() -> Problem {
        Problem::new(Code::UNAUTHORIZED, "a valid bearer token is needed")
            .hint("Send the header `Authorization: Bearer <token>`; `smsotp token create` makes one.")
    }
}

impl From<Error> for Problem {
    /// Paths, settings and causes stay in the log: a caller of the API cannot do anything about them.
    fn from(error: Error) -> Problem {
        let status = status_of(error.code());
        let retry_after = error.retry_after_hint().map(|after| after.as_secs().max(1));
        let public = !matches!(error.class(), Class::Bug | Class::Io | Class::Config);
        if status.is_server_error() {
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            tracing::error!(target: "smsotp::http", code = error.code().name, cause, "{error}");
        }
        let problem = if public {
            Problem::new(error.code(), error.message().to_owned())
        } else {
            Problem::new(error.code(), "the server could not do it; its log says why")
        };
        let problem = problem.retry_after(retry_after);
        match error.hint_text().filter(|_| public) {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let (status, code, retry_after) = (self.0.answer, self.0.code, self.0.retry_after_seconds);
        let mut response = (status, Json(&*self.0)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"smsotp\""));
        }
        response.extensions_mut().insert(ProblemCode(code));
        response
    }
}

/// The code of a problem, for metrics and logs.
#[derive(Clone, Copy)]
pub(super) struct ProblemCode(pub &'static str);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::CODES;

    #[test]
    fn every_code_has_a_status_that_is_an_error() {
        for code in CODES {
            let status = status_of(*code);
            assert!(status.is_client_error() || status.is_server_error(), "{} {status}", code.name);
        }
    }

    #[test]
    fn callers_do_not_see_what_only_the_operator_can_mend() {
        let error = Error::new(Code::STORE_FAILED, "/var/lib/database.db: no space left").hint("look at /var/lib");
        let text = serde_json::to_string(&Problem::from(error).0).unwrap();

        assert!(!text.contains("/var/lib"), "{text}");
    }
}
