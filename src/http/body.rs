//! Bodies: bounded before and while they are read, and JSON that is exactly what the path takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::problem::Problem;
use crate::error::Code;

/// The largest JSON body, in bytes.
pub const JSON_MAX: usize = 16 * 1024;

/// The largest callback, in bytes: a text of 1600 characters is far longer once it is percent-encoded.
pub const CALLBACK_MAX: usize = 64 * 1024;

/// Whether the body of a request was read to its end: where it was not, its connection cannot go on.
#[derive(Clone, Default)]
pub(super) struct BodyRead(Arc<AtomicBool>);

impl BodyRead {
    /// The mark of a request that has a body; it is of no use where there is nothing to read.
    pub fn mark(request: &mut Request) -> Option<BodyRead> {
        if request.body().is_end_stream() {
            return None;
        }
        let mark = BodyRead::default();
        request.extensions_mut().insert(mark.clone());
        Some(mark)
    }

    /// Whether some of the body is still to come.
    pub fn is_unread(&self) -> bool {
        !self.0.load(Ordering::Relaxed)
    }
}

/// Reads a whole body within its bounds; it may hold a code, so it is wiped after use.
pub(super) async fn read(
    head: &Parts,
    body: Body,
    most: usize,
    within: Duration,
) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let too_large = || Problem::new(Code::BODY_TOO_LARGE, format!("the body is longer than {} KiB", most / 1024));
    // What Content-Length announces is refused before the first byte of it is read.
    if body.size_hint().lower() > most as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(within, axum::body::to_bytes(body, most)).await {
        Ok(Ok(bytes)) => {
            if let Some(mark) = head.extensions.get::<BodyRead>() {
                mark.0.store(true, Ordering::Relaxed);
            }
            Ok(Zeroizing::new(bytes.into()))
        }
        Ok(Err(error)) if is_too_large(&error) => Err(too_large()),
        Ok(Err(_)) => Err(Problem::new(Code::BODY_INVALID, "the body broke off")),
        Err(_) => {
            Err(Problem::new(Code::REQUEST_TIMEOUT, format!("the body did not come within {} s", within.as_secs())))
        }
    }
}

fn is_too_large(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|cause| cause.to_string().contains("length limit exceeded"))
}

/// The media type of a request, without its parameters, in lower case; empty where it names none, or several.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return String::new() };
    let value = value.to_str().unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Refuses what does not call itself JSON.
pub(super) fn must_be_json(headers: &HeaderMap) -> Result<(), Problem> {
    if media_type(headers) == "application/json" {
        return Ok(());
    }
    Err(Problem::new(Code::MEDIA_TYPE, "the body has to be JSON")
        .hint("Send the header `Content-Type: application/json`."))
}

/// Reads JSON: one object, every field once, of its type, and known. What was sent is never repeated: it may be a code.
pub(super) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // A derived reader takes an array for the fields in their order.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(Problem::new(Code::VALUE_INVALID, "the body is not a JSON object"));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        explain(error.inner(), &path)
    })?;
    json.end().map_err(|_| Problem::new(Code::BODY_INVALID, "there is something after the JSON object"))?;
    Ok(value)
}

fn explain(error: &serde_json::Error, path: &str) -> Problem {
    use serde_json::error::Category;
    let text = error.to_string();
    match error.classify() {
        Category::Data if text.starts_with("missing field") || text.starts_with("duplicate field") => {
            // These name a field of ours, and nothing that was sent.
            Problem::new(Code::VALUE_INVALID, text.split(" at line").next().unwrap_or("wrong field").to_owned())
        }
        Category::Data if text.starts_with("unknown field") => {
            let known = text.split_once("expected").map_or("", |(_, known)| known);
            let known = known.split(" at line").next().unwrap_or_default();
            Problem::new(Code::VALUE_INVALID, "unknown field")
                .hint(format!("Known fields:{}.", known.replace(" one of", "")))
        }
        Category::Data if path == "." => Problem::new(Code::VALUE_INVALID, "the body is not a JSON object"),
        Category::Data => Problem::new(Code::VALUE_INVALID, format!("{path} is not of the right type")),
        Category::Syntax | Category::Eof | Category::Io => Problem::new(Code::BODY_INVALID, "the body is not JSON"),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Two {
        #[allow(dead_code)]
        otp_code: String,
        #[allow(dead_code)]
        known: Option<bool>,
    }

    #[test]
    fn what_is_wrong_is_said_without_repeating_what_was_sent() {
        for (text, code, detail) in [
            (r#"{"otp_code":123456}"#, Code::VALUE_INVALID, "otp_code is not of the right type"),
            (r#"{"otp_code":true}"#, Code::VALUE_INVALID, "otp_code is not of the right type"),
            (r#"{"otp_code":["123456"]}"#, Code::VALUE_INVALID, "otp_code is not of the right type"),
            (r#"{"otp_code":"123456","otp_code":"1"}"#, Code::VALUE_INVALID, "duplicate field `otp_code`"),
            (r#"{"known":true}"#, Code::VALUE_INVALID, "missing field `otp_code`"),
            (r#"{"otp_code":"123456","123456":1}"#, Code::VALUE_INVALID, "unknown field"),
            (
                r#"{"otp_code":"1"} {"otp_code":"123456"}"#,
                Code::BODY_INVALID,
                "there is something after the JSON object",
            ),
            (r#"["123456"]"#, Code::VALUE_INVALID, "the body is not a JSON object"),
            (r#""123456""#, Code::VALUE_INVALID, "the body is not a JSON object"),
            (r#"{"otp_code":"123456"#, Code::BODY_INVALID, "the body is not JSON"),
            ("", Code::BODY_INVALID, "the body is not JSON"),
            ("{\"otp_code\":\"\u{0}123456\"}", Code::BODY_INVALID, "the body is not JSON"),
        ] {
            let problem = json::<Two>(text.as_bytes()).unwrap_err();
            let shown = problem.json();
            assert_eq!(problem.code(), code.name, "{text}: {shown}");
            assert!(shown["detail"].as_str().unwrap().starts_with(detail), "{text}: {shown}");
            assert!(!shown.to_string().contains("123456"), "{text}: {shown}");
        }
        let deep = "[".repeat(10_000);
        assert_eq!(json::<Two>(deep.as_bytes()).unwrap_err().code(), Code::VALUE_INVALID.name);
        let deep = format!("{{\"a\":{deep}");
        json::<Two>(deep.as_bytes()).unwrap_err();
    }
}
