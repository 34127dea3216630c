//! Operations of Twilio's that the sandbox does not have: a client learns that at once, by name, instead of looking for a mistake of its own.

use axum::Json;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::answer::TwilioError;

/// What is not there: methods, path (a `*` stands for one part of it), and its name.
const MISSING: &[(&str, &str, &str)] = &[
    ("GET", "/2010-04-01/Accounts/*/Calls.json", "a list of calls"),
    ("GET POST DELETE", "/2010-04-01/Accounts/*/Calls/*", "voice calls that are fetched or changed"),
    ("GET POST", "/2010-04-01/Accounts/*/Keys.json", "API keys"),
    ("GET POST", "/2010-04-01/Accounts/*/OutgoingCallerIds.json", "caller ids"),
    ("GET", "/2010-04-01/Accounts/*/SMS/ShortCodes.json", "short codes"),
    ("GET", "/2010-04-01/Accounts/*/Usage/Records.json", "usage records other than today's"),
    ("GET", "/2010-04-01/Accounts/*/Usage/Records/*", "usage records other than today's"),
    ("POST DELETE", "/2010-04-01/Accounts/*/IncomingPhoneNumbers/*", "numbers that are changed or released"),
    ("POST", "/v1/Services", "Messaging Services that are made or changed"),
    ("POST DELETE", "/v1/Services/*", "Messaging Services that are made or changed"),
    ("POST", "/v1/Services/*/*", "senders of Messaging Services that are changed"),
    ("GET DELETE", "/v1/Services/*/*/*", "senders of Messaging Services by their id"),
    ("GET POST", "/v1/Services/*/Compliance/Usa2p", "10DLC campaigns"),
    ("GET POST", "/v1/a2p/BrandRegistrations", "10DLC brands"),
    ("GET", "/v1/Deactivations", "deactivated numbers"),
    ("GET POST", "/v1/Tollfree/Verifications", "toll-free verifications"),
    ("GET POST", "/v2/Channels/Senders", "WhatsApp senders"),
    ("GET", "/v2/Voice/Countries", "prices of calls"),
    ("GET", "/v2/Voice/Countries/*", "prices of calls"),
    ("GET", "/v2/Services/*/MessagingConfigurations", "Verify's messaging configurations"),
    ("GET POST DELETE", "/v2/Services/*/*", "Verify's other kinds of proof"),
    ("GET POST DELETE", "/v2/Services/*/*/*", "Verify's other kinds of proof"),
    ("GET POST DELETE", "/v2/Services/*/*/*/*", "Verify's other kinds of proof"),
    ("GET POST DELETE", "/v2/Services/*/*/*/*/*", "Verify's other kinds of proof"),
    ("GET POST", "/v1/Content", "Content templates"),
    ("GET DELETE", "/v1/Content/*", "Content templates"),
    ("GET POST", "/v1/Content/*/*", "Content templates"),
    ("GET", "/v1/ContentAndApprovals", "Content templates"),
    ("GET", "/v1/Alerts", "Monitor alerts"),
    ("GET DELETE", "/v1/Alerts/*", "Monitor alerts"),
    ("GET POST", "/v1/Conversations", "Conversations"),
    ("GET POST DELETE", "/v1/Conversations/*", "Conversations"),
    ("GET POST", "/v1/Conversations/*/*", "Conversations"),
];

/// The names of what is not there, each once.
pub fn names() -> Vec<&'static str> {
    let mut names: Vec<&str> = MISSING.iter().map(|(.., name)| *name).collect();
    names.dedup();
    names
}

/// Answers a path that the sandbox does not know.
pub(super) async fn unknown_path(request: Request) -> Response {
    missing(&request).unwrap_or_else(|| TwilioError::not_found(request.uri().path()).into_response())
}

/// Answers a method that a path does not take.
pub(super) async fn wrong_method(request: Request) -> Response {
    missing(&request).unwrap_or_else(|| TwilioError::new(20004, "Method not allowed").into_response())
}

/// The answer, if Twilio would have carried it out.
fn missing(request: &Request) -> Option<Response> {
    let name = name_of(request.method(), request.uri().path())?;
    let message = format!("smsotp's sandbox does not have {name}: see docs/sandbox.md for what it has");
    let body = json!({ "code": null, "message": message, "more_info": null, "status": 501 });
    Some((StatusCode::NOT_IMPLEMENTED, Json(body)).into_response())
}

fn name_of(method: &Method, path: &str) -> Option<&'static str> {
    let is_at = |template: &str| {
        let (mut parts, mut wanted) = (path.split('/'), template.split('/'));
        loop {
            match (parts.next(), wanted.next()) {
                (None, None) => return true,
                (Some(part), Some(want)) if (want == "*" && !part.is_empty()) || want == part => {}
                _ => return false,
            }
        }
    };
    let takes = |methods: &str| methods.split(' ').any(|one| one == method.as_str());
    MISSING.iter().find(|(methods, template, _)| takes(methods) && is_at(template)).map(|(.., name)| *name)
}
