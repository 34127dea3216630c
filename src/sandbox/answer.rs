//! The forms of Twilio's answers: error bodies, dates, pages.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::clock::Timestamp;

/// An error as Twilio answers it: its code and its HTTP status.
#[derive(Debug)]
pub(super) struct TwilioError {
    pub code: u32,
    pub status: u16,
    pub message: String,
}

/// What a handler returns.
pub(super) type ApiResult = Result<Response, TwilioError>;

impl TwilioError {
    /// An error with the HTTP status that belongs to its code.
    pub fn new(code: u32, message: impl Into<String>) -> TwilioError {
        TwilioError { code, status: status_of(code), message: message.into() }
    }

    /// 20003: wrong credentials.
    pub fn unauthorized() -> TwilioError {
        TwilioError::new(20003, "Authenticate")
    }

    /// 60200: Verify does not take a parameter's value.
    pub fn invalid(name: &str) -> TwilioError {
        TwilioError::new(60200, format!("Invalid parameter: {name}"))
    }

    /// 60200: Verify needs a parameter that was not given.
    pub fn missing(name: &str) -> TwilioError {
        TwilioError::new(60200, format!("Missing required parameter {name} in the post body"))
    }

    /// 20404: no such resource under this account.
    pub fn not_found(path: &str) -> TwilioError {
        TwilioError::new(20404, format!("The requested resource {path} was not found"))
    }

    /// The newer form of an error body (RFC 9457).
    pub fn into_problem(self) -> Response {
        let body = json!({
            "type": more_info(self.code), "title": self.message, "status": self.status, "code": self.code,
            "detail": self.message, "instance": null, "errors": [],
        });
        let mut response = (http_status(self.status), Json(body)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}

impl IntoResponse for TwilioError {
    fn into_response(self) -> Response {
        let body = json!({
            "code": self.code, "message": self.message, "more_info": more_info(self.code), "status": self.status,
        });
        let mut response = (http_status(self.status), Json(body)).into_response();
        if self.status == 401 {
            let realm = HeaderValue::from_static("Basic realm=\"Twilio API\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
        }
        response
    }
}

/// 200 and JSON.
pub(super) fn ok(body: Value) -> Response {
    Json(body).into_response()
}

/// 201 and JSON.
pub(super) fn created(body: Value) -> Response {
    (StatusCode::CREATED, Json(body)).into_response()
}

/// 204 and no body.
pub(super) fn no_content() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// The date form of the 2010 API: RFC 2822 with two digits for the day.
pub(super) fn rfc2822(at: Timestamp) -> String {
    at.datetime().format("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// The date form of the newer APIs.
pub(super) fn iso8601(at: Timestamp) -> String {
    at.datetime().format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// How many entries a page may have: `PageSize`, 1 to 1000, 50 by default.
pub(super) fn page_size(size: Option<&str>) -> Result<usize, TwilioError> {
    let Some(size) = size else { return Ok(50) };
    match size.parse::<usize>() {
        Ok(size @ 1..) => Ok(size.min(1000)),
        _ => Err(TwilioError::new(20001, "PageSize must be a whole number above 0")),
    }
}

/// A short list in the form of the 2010 API, all of it on one page.
pub(super) fn list_2010(key: &str, uri: &str, entries: Vec<Value>) -> Value {
    let mut body = Map::new();
    body.insert("end".into(), json!(entries.len().saturating_sub(1)));
    body.insert("first_page_uri".into(), json!(uri));
    body.insert("next_page_uri".into(), Value::Null);
    body.insert("page".into(), json!(0));
    body.insert("page_size".into(), json!(50));
    body.insert("previous_page_uri".into(), Value::Null);
    body.insert("start".into(), json!(0));
    body.insert("uri".into(), json!(uri));
    body.insert(key.into(), Value::Array(entries));
    Value::Object(body)
}

/// The HTTP status that Twilio answers with for an error code.
pub(super) fn status_of(code: u32) -> u16 {
    match code {
        20003 | 20101 | 70051 => 401,
        20005 | 20006 | 20008 | 20403 | 60204 | 60205 | 60238 | 60410 | 60412 | 60413 | 60601 | 60605 | 60606 => 403,
        20404 | 21701 | 60228 => 404,
        20004 => 405,
        20009 | 20409 => 409,
        20413 => 413,
        20429 | 21611 | 60202 | 60203 => 429,
        20500 => 500,
        20503 => 503,
        _ => 400,
    }
}

fn http_status(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST)
}

fn more_info(code: u32) -> String {
    format!("https://www.twilio.com/docs/errors/{code}")
}
