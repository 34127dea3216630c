//! What monitors ask: alive, ready, how much, and what the API is.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::connection::Connection;
use super::problem::{Document, Problem};
use super::{Shared, auth, metrics, openapi};
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

/// The database answers, and new requests are taken.
#[utoipa::path(
    get, path = "/readyz", operation_id = "readyz", tag = "monitoring",
    responses(
        (status = 200, description = "The database answers, and new requests are taken.", body = Health),
        (status = 503, description = "The database does not answer, or the server is stopping.", body = Document, content_type = "application/problem+json"),
    )
)]
pub(super) async fn ready(State(shared): State<Arc<Shared>>) -> Result<Json<Health>, Problem> {
    if shared.is_stopping() {
        return Err(Problem::new(Code::OVERLOADED, "the server is stopping"));
    }
    let asked = tokio::time::timeout(READY_WITHIN, shared.engine.reads().due(crate::clock::Timestamp(0), 1)).await;
    match asked {
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
        (status = 401, description = "No accepted token.", body = Document, content_type = "application/problem+json"),
        (status = 403, description = "The token does not have the scope `read`.", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "The server is busy or cannot reach its database.", body = Document, content_type = "application/problem+json"),
    )
)]
pub(super) async fn metrics(State(shared): State<Arc<Shared>>, request: Request) -> Result<Response, Problem> {
    let headers = request.headers();
    let client = Connection::of(request.extensions()).map(|connection| shared.client(connection.peer, headers));
    if !client.is_some_and(|client| client.local) {
        auth::bearer(&shared, headers, Scope::Read).await?;
    }
    let due = shared.engine.reads().status().await.map(|status| status.due).ok();
    let text = shared
        .metrics
        .text(due, shared.under_way.count())
        .map_err(|error| Error::new(Code::BUG, "the metrics cannot be written").because(error))?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "openapi", tag = "monitoring",
    responses((status = 200, description = "The OpenAPI document of this API.", body = Object))
)]
pub(super) async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], openapi::text()).into_response()
}
