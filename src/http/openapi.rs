//! The OpenAPI document, generated from the types and routes that answer.

use std::sync::OnceLock;

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{callback, health, otp, problem, twilio};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "smsotp",
        description = "One-time passwords over SMS: send and verify. Errors are problem JSON (RFC 9457) with a stable `code`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    paths(
        otp::send, otp::verify, twilio::test, callback::status, callback::inbound,
        health::alive, health::ready, health::metrics, health::document,
    ),
    components(schemas(problem::Document)),
    tags(
        (name = "otp", description = "Codes. Each path also works without its last slash."),
        (name = "callbacks", description = "What Twilio posts, signed."),
        (name = "monitoring", description = "What monitors ask."),
    ),
    modifiers(&Bearer),
)]
struct Document;

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
    TEXT.get_or_init(|| Document::openapi().to_pretty_json().unwrap_or_default() + "\n")
}
