//! The OpenAPI document, generated from the types and routes that answer.

use std::sync::OnceLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{callback, health, message, otp, problem, test_twilio};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "smsotp",
        description = "One-time passwords over SMS: send and verify. Errors are problem JSON (RFC 9457) with a stable `code`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    paths(
        otp::send, otp::verify, otp::proven, message::send, message::show, test_twilio::test, callback::status, callback::inbound,
        health::alive, health::ready, health::metrics, document,
    ),
    components(schemas(problem::ProblemDocument)),
    tags(
        (name = "otp", description = "Codes. Each path also works without its last slash."),
        (name = "message", description = "Messages without a code. Each path also works without its last slash."),
        (name = "callbacks", description = "Twilio's callbacks, signed."),
        (name = "monitoring", description = "For monitors."),
    ),
    modifiers(&Bearer),
)]
struct ApiDocument;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme =
            SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("smsotp_…").build());
        document.components.get_or_insert_default().add_security_scheme("bearer", scheme);
    }
}

/// The document as JSON, with a line feed at its end.
pub fn text() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| ApiDocument::openapi().to_pretty_json().unwrap_or_default() + "\n")
}

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "openapi", tag = "monitoring",
    responses((status = 200, description = "The OpenAPI document of this API.", body = Object))
)]
pub(super) async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text()).into_response()
}
