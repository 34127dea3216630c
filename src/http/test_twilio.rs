//! test-twilio: what `smsotp test-twilio` looks at, over HTTP.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Serialize;
use tokio::sync::Mutex;
use utoipa::ToSchema;

use super::checks::{CheckMark, ProviderCheck, RunChecks};
use super::problem::{Problem, ProblemDocument};
use super::{ServerState, auth};
use crate::error::Code;
use crate::token::Scope;

/// What test-twilio answers when codes can be sent.
#[derive(Serialize, ToSchema)]
pub(super) struct TestResponse {
    /// In words.
    #[schema(example = "Twilio is configured correctly")]
    message: &'static str,
    /// Always true: a failed check is a problem.
    ok: bool,
    /// Each thing that was looked at.
    checks: Vec<ProviderCheck>,
}

/// The last checks are good for so long: each run is a dozen calls to the provider.
const FRESH: Duration = Duration::from_secs(5);

/// The checks with what they last found; one run at a time.
pub(super) struct Prober {
    run: RunChecks,
    last: Mutex<Option<(Instant, Vec<ProviderCheck>)>>,
}

impl Prober {
    pub(super) fn new(run: RunChecks) -> Prober {
        Prober { run, last: Mutex::new(None) }
    }

    async fn run(&self) -> Vec<ProviderCheck> {
        let mut last = self.last.lock().await;
        if let Some((at, found)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            tracing::debug!(target: "smsotp::http", age_ms = at.elapsed().as_millis() as u64, "checks are fresh");
            return found.clone();
        }
        let found = (self.run)().await;
        *last = Some((Instant::now(), found.clone()));
        found
    }
}

/// Test the Twilio configuration.
#[utoipa::path(
    get,
    path = "/api/v1/messaging/test-twilio/",
    operation_id = "test_twilio",
    tag = "otp",
    security(("bearer" = [])),
    responses(
        (status = 200, description = "Codes can be sent.", body = TestResponse),
        (status = 400, description = "`check_failed`: something keeps codes from arriving; `checks` says what, and what to do.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, description = "No accepted token.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "The token does not have the scope `test`.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 429, description = "The token asked too often; `Retry-After` says when to come back.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "The server is busy, cannot reach its database, or has no provider.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn test(
    State(state): State<Arc<ServerState>>,
    headers: HeaderMap,
) -> Result<Json<TestResponse>, Problem> {
    auth::bearer(&state, &headers, Scope::Test).await?;
    let Some(prober) = &state.prober else {
        return Err(Problem::new(Code::NO_PROVIDER, "no provider is configured"));
    };
    let checks = prober.run().await;
    let failed = checks.iter().any(|check| check.mark == CheckMark::Fail);
    if failed {
        return Err(Problem::new(Code::CHECK_FAILED, "something keeps codes from arriving").checks(checks));
    }
    Ok(Json(TestResponse { message: "Twilio is configured correctly", ok: true, checks }))
}
