//! A request to the API, read once: who calls, and with what.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, Method, header};
use url::form_urlencoded;

use super::Shared;
use super::answer::Refusal;
use super::credentials::Caller;

/// An authenticated request. Extracting it is the one place that checks credentials.
pub(super) struct Call {
    /// As whom it speaks.
    pub caller: Caller,
    /// The path as it was asked for.
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

impl FromRequest<Arc<Shared>> for Call {
    type Rejection = Refusal;

    async fn from_request(request: Request, shared: &Arc<Shared>) -> Result<Call, Refusal> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let authorization = parts.headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
        let caller = shared.credentials.caller(authorization).ok_or_else(Refusal::unauthorized)?;
        if let Some(account) = account_in(&path)
            && account != shared.credentials.account_of(caller)
        {
            return Err(Refusal::not_found(&path));
        }
        if caller == Caller::Test && !test_may(&parts.method, &path) {
            return Err(Refusal::new(20008, "Not available with test credentials"));
        }
        if caller != Caller::Test && shared.options.account_status != "active" && parts.method != Method::GET {
            return Err(Refusal::new(20005, format!("The account is {}", shared.options.account_status)));
        }
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
        let raw_query = parts.uri.query().unwrap_or_default().to_owned();
        Ok(Call {
            caller,
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

/// The few things that test credentials may do.
fn test_may(method: &Method, path: &str) -> bool {
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
