//! Twilio's callbacks: delivery reports, and texts of recipients. Nothing in them is used before the signature fits.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::problem::{Problem, ProblemDocument};
use super::{ServerState, body};
use crate::audit::Actor;
use crate::engine::{Caller, Inbound, InboundAnswer, InboundText, News, StatusReport};
use crate::error::Code;
use crate::phone;
use crate::provider::twilio::signature::{self, Payload};
use crate::provider::twilio::status::state_of;

/// What callbacks are checked against.
#[derive(Clone, Debug)]
pub struct Callbacks {
    /// The account's primary Auth Token; API keys do not sign.
    pub auth_token: SecretString,
    /// The address that Twilio posts delivery reports to, without our message id.
    pub status_url: Option<Url>,
    /// The API's public address, for every other callback: scheme, host and the path before `/api`.
    pub public_url: Option<Url>,
}

impl Callbacks {
    /// The address as it was signed: the public one with the query of the request. The `Host` header does not count.
    fn signed_url(&self, named: Option<&Url>, uri: &Uri) -> Option<String> {
        let mut url = match (named, &self.public_url) {
            (Some(named), _) => without_query(named),
            (None, Some(public)) => format!("{}{}", without_query(public).trim_end_matches('/'), uri.path()),
            (None, None) => return None,
        };
        if let Some(query) = uri.query() {
            url.push('?');
            url.push_str(query);
        }
        Some(url)
    }
}

fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// A request whose signature fits, read whole.
struct SignedRequest {
    params: Vec<(String, String)>,
    query: Vec<(String, String)>,
}

impl SignedRequest {
    /// Reads a request within its bounds and checks its signature before anything in it is looked at.
    async fn read(
        state: &ServerState,
        request: Request,
        named: impl Fn(&Callbacks) -> Option<&Url>,
    ) -> Result<SignedRequest, Problem> {
        let Some(callbacks) = &state.callbacks else {
            return Err(Problem::new(Code::NO_SUCH_PATH, "callbacks are not configured"));
        };
        let (head, body) = request.into_parts();
        let Some(url) = callbacks.signed_url(named(callbacks), &head.uri) else {
            return Err(Problem::new(Code::NO_SUCH_PATH, "callbacks are not configured"));
        };
        let forged = || {
            state.metrics.called_back("any", "forged");
            Problem::new(Code::SIGNATURE_INVALID, "the signature does not fit")
        };
        let signature = one_signature(&head.headers).ok_or_else(forged)?;
        let bytes = body::read(&head, body, body::CALLBACK_MAX, state.bounds.body).await?;
        let token = callbacks.auth_token.expose_secret();
        let query = pairs(head.uri.query().unwrap_or_default().as_bytes());
        match body::media_type(&head.headers).as_str() {
            "application/x-www-form-urlencoded" => {
                let params = pairs(&bytes);
                if !signature::verify(token, &url, Payload::Form(&params), &signature) {
                    return Err(forged());
                }
                Ok(SignedRequest { params, query })
            }
            "application/json" => {
                if !signature::verify(token, &url, Payload::Raw(&bytes), &signature) {
                    return Err(forged());
                }
                let params =
                    members(&bytes).ok_or_else(|| Problem::new(Code::BODY_INVALID, "the body is not a JSON object"))?;
                Ok(SignedRequest { params, query })
            }
            _ if bytes.is_empty() && signature::verify(token, &url, Payload::Form(&[]), &signature) => {
                Ok(SignedRequest { params: Vec::new(), query })
            }
            _ => Err(forged()),
        }
    }

    /// The value of a parameter, where it came exactly once.
    fn one(&self, name: &str) -> Option<&str> {
        let mut values = self.params.iter().filter(|(key, _)| key == name);
        let (_, value) = values.next()?;
        values.next().is_none().then_some(value)
    }
}

/// Take a delivery report of Twilio's.
#[utoipa::path(
    post,
    path = "/api/v1/messaging/twilio/status/",
    operation_id = "twilio_status",
    tag = "callbacks",
    params(
        ("m" = Option<i64>, Query, description = "Our id of the message, as smsotp added it to the address."),
        ("X-Twilio-Signature" = Option<String>, Header, description = "The signature over the public address and all parameters."),
    ),
    request_body(content = String, content_type = "application/x-www-form-urlencoded", description = "Twilio's parameters: MessageSid, MessageStatus, ErrorCode, To, ..."),
    responses(
        (status = 204, description = "Taken: recorded, old, or about a message that is not known."),
        (status = 400, description = "The body broke off, or is JSON and not an object.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "The signature does not fit.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "Callbacks are not configured.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 408, description = "The body did not come in time.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "The body is too long.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "The server is busy or cannot reach its database; Twilio may try again.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn status(State(state): State<Arc<ServerState>>, request: Request) -> Result<StatusCode, Problem> {
    let signed = SignedRequest::read(&state, request, |callbacks| callbacks.status_url.as_ref()).await?;
    let outcome = match report(&signed) {
        None => "incomplete",
        Some(report) => {
            use crate::engine::Reported;
            match state.engine.report(&Caller::new(Actor::System), report).await? {
                Reported::Moved(_) => "moved",
                Reported::Old => "old",
                Reported::Unknown => "unknown_message",
            }
        }
    };
    state.metrics.called_back("status", outcome);
    Ok(StatusCode::NO_CONTENT)
}

/// Take a text that a recipient sent.
#[utoipa::path(
    post,
    path = "/api/v1/messaging/twilio/inbound/",
    operation_id = "twilio_inbound",
    tag = "callbacks",
    params(("X-Twilio-Signature" = Option<String>, Header, description = "The signature over the public address and all parameters.")),
    request_body(content = String, content_type = "application/x-www-form-urlencoded", description = "Twilio's parameters: MessageSid, From, Body, OptOutType, ... Each MessageSid counts once."),
    responses(
        (status = 200, description = "TwiML; empty where there is nothing to say.", body = String, content_type = "text/xml"),
        (status = 400, description = "The body broke off, or is JSON and not an object.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "The signature does not fit.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "Callbacks are not configured.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 408, description = "The body did not come in time.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "The body is too long.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "The server is busy or cannot reach its database; Twilio may try again.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn inbound(State(state): State<Arc<ServerState>>, request: Request) -> Result<Response, Problem> {
    let signed = SignedRequest::read(&state, request, |_| None).await?;
    let from = signed.one("From").and_then(|from| phone::read(from, None).ok());
    let id = signed.one("MessageSid").or_else(|| signed.one("SmsSid")).filter(|id| !id.is_empty());
    let (Some(from), Some(text), Some(id)) = (from, signed.one("Body"), id) else {
        // WhatsApp addresses, short codes, alphanumeric senders: no codes are sent to these. And every text of Twilio's has an id.
        state.metrics.called_back("inbound", "incomplete");
        return Ok(twiml(None));
    };
    // Where Twilio acts on a keyword by itself, it has answered already.
    let answered = signed.one("OptOutType");
    let what = match answered {
        Some("STOP") => Inbound::Stop,
        Some("START") => Inbound::Start,
        Some("HELP") => Inbound::Help,
        _ => Inbound::of(text),
    };
    let answer = state.engine.inbound(&Caller::new(Actor::System), InboundText { id, from: &from, what }).await?;
    let app = &state.engine.policy().app_name;
    let (outcome, reply) = match (answer, what) {
        (InboundAnswer::OptedOut, _) => (
            "opted_out",
            Some(format!("{app}: you get no more codes from this number. Reply START to get them again.")),
        ),
        (InboundAnswer::OptedIn, _) => ("opted_in", Some(format!("{app}: you get codes from this number again."))),
        (InboundAnswer::Unchanged, Inbound::Help) => {
            ("help", Some(format!("{app} sends one-time codes that were asked for. Reply STOP to get no more.")))
        }
        (InboundAnswer::Unchanged, _) => ("unchanged", None),
    };
    state.metrics.called_back("inbound", outcome);
    Ok(twiml(reply.filter(|_| answered.is_none()).as_deref()))
}

fn one_signature(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all("x-twilio-signature").iter();
    let value = values.next()?.to_str().ok()?.to_owned();
    values.next().is_none().then_some(value)
}

fn pairs(text: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text).map(|(key, value)| (key.into_owned(), value.into_owned())).collect()
}

/// The members of a JSON object that are texts or numbers.
fn members(bytes: &[u8]) -> Option<Vec<(String, String)>> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(bytes).ok()?;
    let text = |(key, value): (String, serde_json::Value)| match value {
        serde_json::Value::String(text) => Some((key, text)),
        serde_json::Value::Number(number) => Some((key, number.to_string())),
        _ => None,
    };
    Some(object.into_iter().filter_map(text).collect())
}

fn report(signed: &SignedRequest) -> Option<StatusReport> {
    let mut ids = signed.query.iter().filter(|(key, _)| key == "m");
    let message_id = ids.next()?.1.parse().ok().filter(|_| ids.next().is_none())?;
    Some(StatusReport {
        message_id,
        news: News {
            provider_id: signed.one("MessageSid").or_else(|| signed.one("SmsSid"))?.to_owned(),
            state: state_of(signed.one("MessageStatus").or_else(|| signed.one("SmsStatus"))?),
            error_code: signed.one("ErrorCode").and_then(|code| code.parse().ok()),
            // A callback never says it.
            price: None,
        },
        to: signed.one("To").and_then(|to| phone::read(to, None).ok()),
    })
}

/// TwiML that says one thing, or nothing.
fn twiml(message: Option<&str>) -> Response {
    let escaped = message.map(|text| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"));
    let inside = escaped.map(|text| format!("<Message>{text}</Message>")).unwrap_or_default();
    let text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response>{inside}</Response>");
    ([(header::CONTENT_TYPE, "text/xml; charset=utf-8")], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message;

    fn callbacks(status: Option<&str>, public: Option<&str>) -> Callbacks {
        let url = |text: &str| text.parse().unwrap();
        Callbacks { auth_token: "t".into(), status_url: status.map(url), public_url: public.map(url) }
    }

    #[test]
    fn the_signed_address_is_the_configured_one_with_the_query_that_came() {
        let uri: Uri = "/api/v1/messaging/twilio/status/?m=7".parse().unwrap();
        let both = callbacks(Some("https://a.example/x/status?app=1"), Some("https://b.example/sms/"));

        assert_eq!(both.signed_url(both.status_url.as_ref(), &uri).unwrap(), "https://a.example/x/status?m=7");
        assert_eq!(both.signed_url(None, &uri).unwrap(), "https://b.example/sms/api/v1/messaging/twilio/status/?m=7");
        assert_eq!(callbacks(None, None).signed_url(None, &uri), None);
    }

    #[test]
    fn a_report_is_about_one_message_or_about_none() {
        let signed = |query: &str, params: &str| SignedRequest {
            query: pairs(query.as_bytes()),
            params: pairs(params.as_bytes()),
        };
        let good = report(&signed("m=7", "MessageSid=SM1&MessageStatus=sent&ErrorCode=&To=%2B14155550100")).unwrap();
        assert_eq!((good.message_id, good.news.state, good.news.error_code), (7, message::State::Sent, None));
        assert!(good.to.is_some());
        for (query, params) in [
            ("", "MessageSid=SM1&MessageStatus=sent"),
            ("m=7&m=8", "MessageSid=SM1&MessageStatus=sent"),
            ("m=x", "MessageSid=SM1&MessageStatus=sent"),
            ("m=7", "MessageSid=SM1"),
            ("m=7", "MessageSid=SM1&MessageSid=SM2&MessageStatus=sent"),
        ] {
            assert!(report(&signed(query, params)).is_none(), "{query} {params}");
        }
    }
}
