//! The sandbox's own endpoints, below `/sandbox`: what a person or a pipeline does that Twilio has no endpoint for.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::answer::Refusal;
use super::credentials::Caller;
use super::fault::{Fault, On};
use super::message_log::Outcome;
use super::server::Connection;
use super::{CallbackPlan, SentCallback, Shared};

/// Lets through whoever has the account's credentials, and whoever sits on this machine and speaks to it by a loopback name.
/// The name is checked because a web page can point a name of its own at 127.0.0.1.
pub(super) async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    if is_admitted(&shared, &request) { next.run(request).await } else { Refusal::unauthorized().into_response() }
}

/// GET /sandbox
pub(super) async fn index(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({
        "account_sid": shared.credentials.account_sid,
        "phone_numbers": shared.credentials.numbers.iter().map(|n| n.phone.as_str()).collect::<Vec<_>>(),
        "messaging_service_sid": shared.credentials.service_sid,
        "endpoints": {
            "GET /sandbox/inbox?to=+1...&wait=10s": "messages to a phone, newest last; waits for the first one, 60s at most",
            "GET|POST|DELETE /sandbox/faults": "{\"fault\": \"error500\", \"times\": 1, \"on\": \"create\"}; also {\"latency\": \"2s\"}, {\"html_page\": 502}, {\"code\": 21610}",
            "GET|POST /sandbox/callbacks": "{\"late_millis\": 0, \"lost\": [\"sent\"], \"reversed\": false, \"doubled\": false}",
            "POST /sandbox/outcomes": "{\"to\": \"+1...\", \"status\": \"undelivered\", \"error_code\": 30003}",
            "POST /sandbox/reply": "{\"from\": \"+1...\", \"body\": \"STOP\"}",
            "POST /sandbox/step": "moves every message on by one status",
            "POST /sandbox/messages/{sid}/status": "{\"status\": \"delivered\", \"error_code\": null}",
        },
    }))
}

/// GET /sandbox/faults
pub(super) async fn faults(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({"faults": shared.faults().to_json()}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arm {
    fault: Fault,
    #[serde(default = "once")]
    times: u32,
    #[serde(default)]
    on: On,
}

fn once() -> u32 {
    1
}

/// POST /sandbox/faults
pub(super) async fn arm(State(shared): State<Arc<Shared>>, body: Bytes) -> Result<Json<Value>, Refusal> {
    let Arm { fault, times, on } = read(&body)?;
    shared.faults().arm(on, fault, times);
    Ok(faults(State(shared)).await)
}

/// DELETE /sandbox/faults
pub(super) async fn disarm(State(shared): State<Arc<Shared>>) -> Json<Value> {
    shared.faults().clear();
    faults(State(shared)).await
}

/// GET /sandbox/callbacks
pub(super) async fn callbacks(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let sent: Vec<SentCallback> = shared.log().iter().cloned().collect();
    Json(json!({"plan": *shared.plan(), "callbacks": sent}))
}

/// POST /sandbox/callbacks
pub(super) async fn plan_callbacks(State(shared): State<Arc<Shared>>, body: Bytes) -> Result<Json<Value>, Refusal> {
    let plan: CallbackPlan = read(&body)?;
    *shared.plan() = plan.clone();
    Ok(Json(json!({"plan": plan})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    to: String,
    status: String,
    error_code: Option<u32>,
}

/// POST /sandbox/outcomes
pub(super) async fn outcome(State(shared): State<Arc<Shared>>, body: Bytes) -> Result<Json<Value>, Refusal> {
    let End { to, status, error_code } = read(&body)?;
    if !matches!(status.as_str(), "delivered" | "undelivered" | "failed" | "sent") {
        return Err(bad("status must be delivered, undelivered, failed or sent"));
    }
    shared.message_log().set_outcome(&to, Outcome { status: status.clone(), error_code });
    Ok(Json(json!({"to": to, "status": status, "error_code": error_code})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reply {
    from: String,
    body: String,
    to: Option<String>,
}

/// POST /sandbox/reply
pub(super) async fn reply(State(shared): State<Arc<Shared>>, body: Bytes) -> Result<Json<Value>, Refusal> {
    let Reply { from, body, to } = read(&body)?;
    shared.reply(&from, &body, to.as_deref());
    Ok(Json(json!({"from": from, "received": true})))
}

/// POST /sandbox/step
pub(super) async fn step(State(shared): State<Arc<Shared>>) -> Json<Value> {
    shared.step();
    Json(json!({"stepped": true}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Status {
    status: String,
    error_code: Option<u32>,
}

/// POST /sandbox/messages/{sid}/status
pub(super) async fn deliver(
    State(shared): State<Arc<Shared>>,
    Path(sid): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let Status { status, error_code } = read(&body)?;
    if status.len() > 40 {
        return Err(bad("no status is that long"));
    }
    if !shared.deliver(&sid, &status, error_code) {
        return Err(Refusal::new(20404, "No message has this SID"));
    }
    Ok(Json(json!({"sid": sid, "status": status, "error_code": error_code})))
}

fn is_admitted(shared: &Shared, request: &Request) -> bool {
    let text = |name| request.headers().get(name).and_then(|v| v.to_str().ok());
    if matches!(shared.credentials.caller(text(header::AUTHORIZATION)), Some(Caller::Account | Caller::Key)) {
        return true;
    }
    let is_local = request.extensions().get::<Connection>().is_some_and(|c| c.peer.ip().is_loopback());
    // A browser tells where a request comes from; nothing on a web page has business here.
    let is_page = text(header::ORIGIN).is_some();
    is_local && !is_page && names_loopback(text(header::HOST).unwrap_or_default())
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|e| bad(&format!("not the JSON that is expected here: {e}")))
}

fn bad(what: &str) -> Refusal {
    Refusal::new(20001, what)
}

fn names_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((ip, _)) => ip,
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
