//! Faults on request: what a network, a proxy or Twilio can do to a request, one at a time.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{TwilioError, status_of};
use super::connection::ClientConnection;

/// How much of a body [`Fault::HugeBody`] sends: too much to be read whole.
const HUGE: usize = 16 * 1024 * 1024;

/// Something that goes wrong with one request. "Accepted" means that the request was carried out all the same.
///
/// In JSON: `"error500"`, `"reset_after_accepting"`, `{"latency": "250ms"}`, `{"html_page": 502}`, `{"code": 21610}`,
/// `{"status429": {"retry_after": 3}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Waits, then answers as usual. Accepted.
    Latency(#[serde(with = "span")] Duration),
    /// 429/20429, with `Retry-After` in seconds if given. Not accepted.
    Status429 {
        /// Seconds for the `Retry-After` header.
        retry_after: Option<u64>,
    },
    /// 503/20503, with `Retry-After` in seconds if given. Not accepted.
    Status503 {
        /// Seconds for the `Retry-After` header.
        retry_after: Option<u64>,
    },
    /// This HTTP status with this error code. Not accepted.
    Denied {
        /// The HTTP status.
        status: u16,
        /// Twilio's error code, if any.
        code: Option<u32>,
    },
    /// The answer says already that the message came to nothing: `failed`, `undelivered` or `canceled`. Accepted.
    Ended {
        /// The message's status.
        status: String,
        /// Its error code, if any.
        error_code: Option<u32>,
    },
    /// 500/20500. Not accepted.
    Error500,
    /// 500/20500, but accepted.
    Error500AfterAccepting,
    /// 503/20503. Not accepted.
    Error503,
    /// Never answers. Not accepted.
    Hang,
    /// Never answers, but accepted.
    HangAfterAccepting,
    /// Closes the connection with a TCP reset. Not accepted.
    Reset,
    /// Closes the connection with a TCP reset, but accepted.
    ResetAfterAccepting,
    /// A proxy's HTML page with this HTTP status. Not accepted.
    HtmlPage(u16),
    /// The right status and a body of 16 MiB. Accepted.
    HugeBody,
    /// Half of the right answer, then the connection closes. Accepted.
    HalfAnswer,
    /// The right answer, one byte in each span of this length. Accepted.
    Trickle(#[serde(with = "span")] Duration),
    /// The right status with a body that is not JSON. Accepted.
    MalformedJson,
    /// The right answer without its `sid`. Accepted.
    NoSid,
    /// 401/20003, whatever the credentials. Not accepted.
    Unauthorized,
    /// Refused with this error code of Twilio's. Not accepted.
    Code(u32),
    /// Refused with this error code, in the newer error form (RFC 9457). Not accepted.
    Problem(u32),
    /// 307 to this address. Not accepted.
    Redirect(String),
}

/// Which requests a fault waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// The creation of a message.
    #[default]
    Create,
    /// Any other request to Twilio's API.
    Other,
    /// Any request to Twilio's API.
    Any,
}

impl Fault {
    /// True when the request is carried out in spite of the fault.
    pub fn is_carried_out(&self) -> bool {
        use Fault::*;
        match self {
            Latency(_)
            | Error500AfterAccepting
            | HangAfterAccepting
            | ResetAfterAccepting
            | HugeBody
            | HalfAnswer
            | Trickle(_)
            | MalformedJson
            | NoSid
            | Ended { .. } => true,
            Status429 { .. }
            | Status503 { .. }
            | Denied { .. }
            | Error500
            | Error503
            | Hang
            | Reset
            | HtmlPage(_)
            | Unauthorized
            | Code(_)
            | Problem(_)
            | Redirect(_) => false,
        }
    }

    /// The answer where the request is not carried out.
    pub(super) async fn refuse(self, connection: &ClientConnection) -> Response {
        match self {
            Fault::Status429 { retry_after } => later(TwilioError::new(20429, "Too Many Requests"), retry_after),
            Fault::Status503 { retry_after } => later(TwilioError::new(20503, "Service Unavailable"), retry_after),
            Fault::Denied { status, code } => denied(status, code),
            Fault::Error503 => TwilioError::new(20503, "Service Unavailable").into_response(),
            Fault::Hang => std::future::pending().await,
            Fault::Reset => connection.reset().await,
            Fault::HtmlPage(status) => html_page(status),
            Fault::Unauthorized => TwilioError::unauthorized().into_response(),
            Fault::Code(code) => TwilioError::new(code, error_text(code)).into_response(),
            Fault::Problem(code) => TwilioError::new(code, error_text(code)).into_problem(),
            Fault::Redirect(to) => match HeaderValue::from_str(&to) {
                Ok(to) => (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response(),
                Err(_) => StatusCode::TEMPORARY_REDIRECT.into_response(),
            },
            _ => TwilioError::new(20500, "Internal Server Error").into_response(),
        }
    }

    /// The right answer with the fault, where the request was carried out.
    pub(super) async fn corrupt(self, answer: Response, connection: &ClientConnection) -> Response {
        // A refused request was not carried out: its error is sent unchanged.
        if !answer.status().is_success() {
            return answer;
        }
        match self {
            Fault::HangAfterAccepting => std::future::pending().await,
            Fault::ResetAfterAccepting => connection.reset().await,
            Fault::Error500AfterAccepting => TwilioError::new(20500, "Internal Server Error").into_response(),
            Fault::HugeBody => with_body(answer, |_| Body::new(HugeBody { left: HUGE })).await,
            Fault::HalfAnswer => with_body(answer, |whole| Body::new(HalfBody::new(whole))).await,
            Fault::Trickle(every) => with_body(answer, |whole| Body::new(SlowBody::new(whole, every))).await,
            Fault::MalformedJson => with_body(answer, |whole| Body::from(whole.slice(..whole.len() / 2))).await,
            Fault::NoSid => with_body(answer, without_sid).await,
            Fault::Ended { status, error_code } => with_body(answer, |whole| ended(&whole, &status, error_code)).await,
            _ => answer,
        }
    }
}

/// The faults that wait for their request.
#[derive(Default)]
pub(super) struct Faults(VecDeque<(On, Fault, u32)>);

impl Faults {
    /// So many can be armed at once.
    const MAX: usize = 1000;

    pub fn arm(&mut self, on: On, fault: Fault, times: u32) {
        if times > 0 && self.0.len() < Self::MAX {
            self.0.push_back((on, fault, times));
        }
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault for a request, if one waits for it.
    pub fn take_next(&mut self, creates: bool) -> Option<Fault> {
        let fits = |on: On| on == On::Any || (on == On::Create) == creates;
        let at = self.0.iter().position(|(on, _, _)| fits(*on))?;
        let (_, fault, times) = self.0.get_mut(at)?;
        let fault = fault.clone();
        *times -= 1;
        if *times == 0 {
            self.0.remove(at);
        }
        Some(fault)
    }

    /// What is armed, for the control endpoint.
    pub fn to_json(&self) -> Value {
        self.0.iter().map(|(on, fault, times)| json!({"on": on, "fault": fault, "times": times})).collect()
    }
}

fn error_text(code: u32) -> String {
    match code {
        20003 => "Authenticate".to_owned(),
        20429 => "Too Many Requests".to_owned(),
        _ => format!("Refused with {code} (HTTP {}) on request", status_of(code)),
    }
}

fn later(error: TwilioError, retry_after: Option<u64>) -> Response {
    let mut response = error.into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn denied(status: u16, code: Option<u32>) -> Response {
    let http_status = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
    let body = json!({"code": code, "message": "Refused on request", "status": status});
    (http_status, axum::Json(body)).into_response()
}

fn ended(whole: &Bytes, status: &str, error_code: Option<u32>) -> Body {
    let Ok(Value::Object(mut map)) = serde_json::from_slice(whole) else { return Body::from(whole.clone()) };
    map.insert("status".to_owned(), status.into());
    map.insert("error_code".to_owned(), error_code.into());
    Body::from(Value::Object(map).to_string())
}

fn html_page(status: u16) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let page =
        format!("<html>\r\n<head><title>{status}</title></head>\r\n<body><h1>{status}</h1></body>\r\n</html>\r\n");
    (status, [(header::CONTENT_TYPE, "text/html")], page).into_response()
}

/// Spans of time in JSON, as people write them: `250ms`, `2s`.
mod span {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*span))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        humantime::parse_duration(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

async fn with_body(answer: Response, change: impl FnOnce(Bytes) -> Body) -> Response {
    let (mut parts, body) = answer.into_parts();
    // Our own answers are small: this cannot fail for their size.
    let whole = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, change(whole))
}

fn without_sid(whole: Bytes) -> Body {
    let Ok(Value::Object(mut map)) = serde_json::from_slice(&whole) else { return Body::from(whole) };
    map.remove("sid");
    Body::from(Value::Object(map).to_string())
}

type Frame = hyper::body::Frame<Bytes>;

/// A JSON string that does not end for a long time, without a declared length.
struct HugeBody {
    left: usize,
}

impl HttpBody for HugeBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame, Self::Error>>> {
        const PIECE: &[u8] = &[b' '; 64 * 1024];
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let size = self.left.min(PIECE.len());
        self.left -= size;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&PIECE[..size])))))
    }
}

/// The first half of a body whose whole length was declared.
struct HalfBody {
    first: Option<Bytes>,
    whole: u64,
    /// The half must be sent before the connection closes: what is only buffered would be dropped.
    pause: Pin<Box<tokio::time::Sleep>>,
}

impl HalfBody {
    fn new(whole: Bytes) -> HalfBody {
        let pause = Box::pin(tokio::time::sleep(Duration::from_millis(50)));
        HalfBody { first: Some(whole.slice(..whole.len() / 2)), whole: whole.len() as u64, pause }
    }
}

impl HttpBody for HalfBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Self::Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        std::task::ready!(self.pause.as_mut().poll(cx));
        Poll::Ready(Some(Err(std::io::Error::other("half an answer, on request"))))
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        hyper::body::SizeHint::with_exact(self.whole)
    }
}

/// A body that is sent byte by byte.
struct SlowBody {
    rest: Bytes,
    every: Duration,
    pause: Pin<Box<tokio::time::Sleep>>,
}

impl SlowBody {
    fn new(rest: Bytes, every: Duration) -> SlowBody {
        SlowBody { rest, every, pause: Box::pin(tokio::time::sleep(every)) }
    }
}

impl HttpBody for SlowBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Self::Error>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        std::task::ready!(self.pause.as_mut().poll(cx));
        let next = tokio::time::Instant::now() + self.every;
        self.pause.as_mut().reset(next);
        let byte = self.rest.split_to(1);
        Poll::Ready(Some(Ok(Frame::data(byte))))
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        hyper::body::SizeHint::with_exact(self.rest.len() as u64)
    }
}
