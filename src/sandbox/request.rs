//! A request to the API, read once: as whom it is made, and its parameters.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, Method, header};
use url::form_urlencoded;

use super::answer::TwilioError;
use super::identity::Identity;
use super::state::SandboxState;

/// An authenticated request. Extracting it is the one place that checks credentials.
pub(super) struct ApiRequest {
    /// As whom it is made.
    pub identity: Identity,
    /// The path as it was requested.
    pub path: String,
    /// The query, raw: page links repeat it.
    pub raw_query: String,
    /// The query.
    pub query: Params,
    /// The form.
    pub form: Params,
    /// Scheme and host that the client reached us by, for absolute links.
    pub origin: String,
}

/// Decoded name-value pairs in their order; names may repeat.
#[derive(Default)]
pub(super) struct Params(pub Vec<(String, String)>);

impl Params {
    /// Reads `application/x-www-form-urlencoded` text. Whatever is not UTF-8 is replaced, never refused.
    pub fn parse(raw: &[u8]) -> Params {
        Params(form_urlencoded::parse(raw).into_owned().collect())
    }

    /// The last value of a name, also an empty one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The last value of a name; an empty one counts as missing.
    pub fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Every value of a name that is not empty.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, value)| n == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }
}

impl FromRequest<Arc<SandboxState>> for ApiRequest {
    type Rejection = TwilioError;

    async fn from_request(request: Request, state: &Arc<SandboxState>) -> Result<ApiRequest, TwilioError> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let authorization = parts.headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
        let identity = state.account.identify(authorization).ok_or_else(TwilioError::unauthorized)?;
        if let Some(account) = account_in(&path)
            && account != state.account.sid_of(identity)
        {
            return Err(TwilioError::not_found(&path));
        }
        if identity == Identity::Test && !is_allowed_for_test(&parts.method, &path) {
            return Err(TwilioError::new(20008, "Not available with test credentials"));
        }
        if identity != Identity::Test && state.options.account_status != "active" && parts.method != Method::GET {
            return Err(TwilioError::new(20005, format!("The account is {}", state.options.account_status)));
        }
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
        let raw_query = parts.uri.query().unwrap_or_default().to_owned();
        Ok(ApiRequest {
            identity,
            query: Params::parse(raw_query.as_bytes()),
            form: if is_form(&parts.headers) { Params::parse(&body) } else { Params::default() },
            origin: origin(&parts.headers),
            raw_query,
            path,
        })
    }
}

/// The account in a path of the 2010 API.
fn account_in(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/2010-04-01/Accounts/")?;
    let account = rest.split('/').next()?;
    Some(account.strip_suffix(".json").unwrap_or(account))
}

/// The few requests that test credentials may make.
fn is_allowed_for_test(method: &Method, path: &str) -> bool {
    let creates = ["/Messages.json", "/Calls.json", "/IncomingPhoneNumbers.json"];
    (method == Method::POST && creates.iter().any(|end| path.ends_with(end)))
        || (method == Method::GET && path.starts_with("/v2/PhoneNumbers/"))
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    kind.is_empty() || kind.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded")
}

fn origin(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|v| v.to_str().ok()).unwrap_or("127.0.0.1");
    format!("http://{host}")
}
