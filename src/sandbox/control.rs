//! The sandbox's own endpoints, below `/sandbox`: what a person or a pipeline does that Twilio has no endpoint for.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::answer::TwilioError;
use super::callback::SentCallback;
use super::connection::ClientConnection;
use super::fault::{Fault, On};
use super::identity::Identity;
use super::message_log::FinalStatus;
use super::plan::CallbackPlan;
use super::state::SandboxState;
use crate::host;

/// How long the answer to a stop has to reach its client.
const STOP_AFTER: Duration = Duration::from_millis(20);

/// Admits requests with the account's credentials, and requests from this machine to a loopback name. The name is checked because
/// a web page can point a name of its own at 127.0.0.1.
pub(super) async fn admit(State(state): State<Arc<SandboxState>>, request: Request, next: Next) -> Response {
    if is_admitted(&state, &request) { next.run(request).await } else { TwilioError::unauthorized().into_response() }
}

/// GET /sandbox
pub(super) async fn index(State(state): State<Arc<SandboxState>>) -> Json<Value> {
    Json(json!({
        "account_sid": state.account.account_sid,
        "pid": std::process::id(),
        "phone_numbers": state.account.numbers.iter().map(|n| n.phone.as_str()).collect::<Vec<_>>(),
        "messaging_service_sid": state.account.service_sid,
        "endpoints": {
            "GET /sandbox/inbox?to=+1...&wait=10s": "messages to a phone, newest last; waits for the first one, 60s at most",
            "GET|POST|DELETE /sandbox/faults": "{\"fault\": \"error500\", \"times\": 1, \"on\": \"create\"}; also {\"latency\": \"2s\"}, {\"html_page\": 502}, {\"code\": 21610}",
            "GET|POST /sandbox/callbacks": "{\"late_millis\": 0, \"lost\": [\"sent\"], \"reversed\": false, \"doubled\": false}",
            "POST /sandbox/outcomes": "{\"to\": \"+1...\", \"status\": \"undelivered\", \"error_code\": 30003}",
            "POST /sandbox/reply": "{\"from\": \"+1...\", \"body\": \"STOP\"}",
            "POST /sandbox/step": "moves every message on by one status",
            "POST /sandbox/stop": "ends the sandbox",
            "POST /sandbox/messages/{sid}/status": "{\"status\": \"delivered\", \"error_code\": null}",
        },
    }))
}

/// GET /sandbox/faults
pub(super) async fn faults(State(state): State<Arc<SandboxState>>) -> Json<Value> {
    Json(json!({"faults": state.faults().to_json()}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ArmFault {
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
pub(super) async fn arm_fault(State(state): State<Arc<SandboxState>>, body: Bytes) -> Result<Json<Value>, TwilioError> {
    let ArmFault { fault, times, on } = read(&body)?;
    state.faults().arm(on, fault, times);
    Ok(faults(State(state)).await)
}

/// DELETE /sandbox/faults
pub(super) async fn clear_faults(State(state): State<Arc<SandboxState>>) -> Json<Value> {
    state.faults().clear();
    faults(State(state)).await
}

/// GET /sandbox/callbacks
pub(super) async fn callbacks(State(state): State<Arc<SandboxState>>) -> Json<Value> {
    let sent: Vec<SentCallback> = state.sent_callbacks().iter().cloned().collect();
    Json(json!({"plan": *state.plan(), "callbacks": sent}))
}

/// POST /sandbox/callbacks
pub(super) async fn plan_callbacks(
    State(state): State<Arc<SandboxState>>,
    body: Bytes,
) -> Result<Json<Value>, TwilioError> {
    let plan: CallbackPlan = read(&body)?;
    *state.plan() = plan.clone();
    Ok(Json(json!({"plan": plan})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetOutcome {
    to: String,
    status: String,
    error_code: Option<u32>,
}

/// POST /sandbox/outcomes
pub(super) async fn set_outcome(
    State(state): State<Arc<SandboxState>>,
    body: Bytes,
) -> Result<Json<Value>, TwilioError> {
    let SetOutcome { to, status, error_code } = read(&body)?;
    if !matches!(status.as_str(), "delivered" | "undelivered" | "failed" | "sent") {
        return Err(invalid("status must be delivered, undelivered, failed or sent"));
    }
    state.message_log().set_outcome(&to, FinalStatus { status: status.clone(), error_code });
    Ok(Json(json!({"to": to, "status": status, "error_code": error_code})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SendReply {
    from: String,
    body: String,
    to: Option<String>,
}

/// POST /sandbox/reply
pub(super) async fn send_reply(
    State(state): State<Arc<SandboxState>>,
    body: Bytes,
) -> Result<Json<Value>, TwilioError> {
    let SendReply { from, body, to } = read(&body)?;
    state.send_reply(&from, &body, to.as_deref());
    Ok(Json(json!({"from": from, "received": true})))
}

/// POST /sandbox/step
pub(super) async fn step(State(state): State<Arc<SandboxState>>) -> Json<Value> {
    state.step();
    Json(json!({"stepped": true}))
}

/// POST /sandbox/stop
pub(super) async fn stop(State(state): State<Arc<SandboxState>>) -> Json<Value> {
    tokio::spawn(async move {
        // The server ends with all its connections, this one included: its answer goes first.
        tokio::time::sleep(STOP_AFTER).await;
        state.stop.notify_one();
    });
    Json(json!({"stopping": true}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetStatus {
    status: String,
    error_code: Option<u32>,
}

/// POST /sandbox/messages/{sid}/status
pub(super) async fn set_status(
    State(state): State<Arc<SandboxState>>,
    Path(sid): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, TwilioError> {
    let SetStatus { status, error_code } = read(&body)?;
    if status.len() > 40 {
        return Err(invalid("status is longer than 40 characters"));
    }
    if !state.set_status(&sid, &status, error_code) {
        return Err(TwilioError::new(20404, "No message has this SID"));
    }
    Ok(Json(json!({"sid": sid, "status": status, "error_code": error_code})))
}

fn is_admitted(state: &SandboxState, request: &Request) -> bool {
    let text = |name| request.headers().get(name).and_then(|v| v.to_str().ok());
    if matches!(state.account.identify(text(header::AUTHORIZATION)), Some(Identity::Account | Identity::Key)) {
        return true;
    }
    let is_local = request.extensions().get::<ClientConnection>().is_some_and(|c| c.peer.ip().is_loopback());
    // A browser names the page that a request comes from; no web page may use these endpoints.
    let is_page = text(header::ORIGIN).is_some();
    is_local && !is_page && is_for_this_machine(request)
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, TwilioError> {
    serde_json::from_slice(body).map_err(|e| invalid(&format!("the body is not the JSON that is expected here: {e}")))
}

fn invalid(what: &str) -> TwilioError {
    TwilioError::new(20001, what)
}

/// Whether every host that a request names means this machine, and it names one.
fn is_for_this_machine(request: &Request) -> bool {
    let mut named = request.headers().get_all(header::HOST).iter().map(|value| value.to_str().unwrap_or_default());
    let loopback = |named: &str| host::name(named).is_some_and(host::is_loopback);
    let target = request.uri().authority().is_none_or(|authority| loopback(authority.as_str()));
    named.next().is_some_and(loopback) && named.next().is_none() && target
}
