//! What monitors ask for: whether the server is alive and ready, and its metrics.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::client::is_local;
use super::problem::{Problem, ProblemDocument};
use super::{ServerState, auth, metrics};
use crate::error::{Code, Error};
use crate::token::Scope;

/// The database has so long to answer before the server is not ready.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// Alive or ready.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    /// `ok` or `ready`.
    #[schema(example = "ok")]
    status: &'static str,
}

/// The process answers.
#[utoipa::path(
    get, path = "/healthz", operation_id = "healthz", tag = "monitoring",
    responses((status = 200, description = "The process answers.", body = Health))
)]
pub(super) async fn alive() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// The database answers.
#[utoipa::path(
    get, path = "/readyz", operation_id = "readyz", tag = "monitoring",
    responses(
        (status = 200, description = "The database answers.", body = Health),
        (status = 503, description = "The database does not answer.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn ready(State(state): State<Arc<ServerState>>) -> Result<Json<Health>, Problem> {
    let answer =
        tokio::time::timeout(READY_WITHIN, state.engine.reads().due(crate::clock::Timestamp(0), false, 1)).await;
    match answer {
        Ok(Ok(_)) => Ok(Json(Health { status: "ready" })),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(Problem::new(Code::OVERLOADED, "the database does not answer")),
    }
}

/// Counters in Prometheus' text format.
#[utoipa::path(
    get, path = "/metrics", operation_id = "metrics", tag = "monitoring",
    security((), ("bearer" = [])),
    responses(
        (status = 200, description = "Counters. Processes on this machine need no token, all others one with the scope `read`.", body = String, content_type = "application/openmetrics-text"),
        (status = 401, description = "No accepted token.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "The token does not have the scope `read`.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 429, description = "The token, or an address without one, asked too often.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "The server is busy or cannot reach its database.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn metrics(
    State(state): State<Arc<ServerState>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if !is_local(peer, &headers) {
        auth::bearer(&state, &headers, Scope::Read).await?;
    }
    let due = state.engine.reads().status().await.map(|status| status.due).ok();
    let alarms = state.engine.standing_alarms().await.ok();
    let text = state
        .metrics
        .text(alarms.as_deref(), due, state.sends.len(), state.places.taken())
        .map_err(|error| Error::new(Code::BUG, "the metrics cannot be written").because(error))?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}
