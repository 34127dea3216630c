//! test-twilio: what `smsotp test-twilio` looks at, over HTTP.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Request, State};
use serde::Serialize;
use tokio::sync::Mutex;
use utoipa::ToSchema;

use super::connection::Connection;
use super::problem::{Document, Problem};
use super::{Shared, auth};
use crate::error::Code;
use crate::token::Scope;

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Check {
    /// A stable name.
    #[schema(example = "credentials")]
    pub name: String,
    /// How it stands.
    pub mark: Mark,
    /// What was found.
    pub finding: String,
    /// What that means for sending codes.
    pub meaning: String,
    /// What to do next, where there is something to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// How a check stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Fine.
    Ok,
    /// Works, with a catch.
    Warn,
    /// Keeps codes from arriving.
    Fail,
    /// Not looked at, and why.
    Skip,
}

/// Runs the provider's checks.
pub type Checks = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Vec<Check>> + Send>> + Send + Sync>;

/// What test-twilio answers when codes can be sent.
#[derive(Serialize, ToSchema)]
pub(super) struct TestResponse {
    /// In words.
    #[schema(example = "Twilio is configured correctly")]
    message: &'static str,
    /// Always true: a failed check is a problem.
    ok: bool,
    /// Each thing that was looked at.
    checks: Vec<Check>,
}

/// The last checks are good for so long: each run is a dozen calls to the provider.
const FRESH: Duration = Duration::from_secs(5);

/// The checks with what they last found; one run at a time.
pub(super) struct Prober {
    checks: Checks,
    last: Mutex<Option<(Instant, Vec<Check>)>>,
}

impl Prober {
    pub(super) fn new(checks: Checks) -> Prober {
        Prober { checks, last: Mutex::new(None) }
    }

    async fn run(&self) -> Vec<Check> {
        let mut last = self.last.lock().await;
        if let Some((at, found)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            tracing::debug!(target: "smsotp::http", age_ms = at.elapsed().as_millis() as u64, "checks are fresh");
            return found.clone();
        }
        let found = (self.checks)().await;
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
        (status = 400, description = "`check_failed`: something keeps codes from arriving; `checks` says what, and what to do.", body = Document, content_type = "application/problem+json"),
        (status = 401, description = "No accepted token.", body = Document, content_type = "application/problem+json"),
        (status = 403, description = "The token does not have the scope `test`.", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "The server is busy, cannot reach its database, or has no provider.", body = Document, content_type = "application/problem+json"),
    )
)]
pub(super) async fn test(State(shared): State<Arc<Shared>>, request: Request) -> Result<Json<TestResponse>, Problem> {
    auth::bearer(&shared, request.headers(), Scope::Test).await?;
    if let Some(connection) = Connection::of(request.extensions()) {
        connection.busy();
    }
    let Some(prober) = &shared.prober else {
        return Err(Problem::new(Code::NO_PROVIDER, "no provider is configured"));
    };
    let checks = prober.run().await;
    let failed = checks.iter().any(|check| check.mark == Mark::Fail);
    if failed {
        return Err(Problem::new(Code::CHECK_FAILED, "something keeps codes from arriving").checks(checks));
    }
    Ok(Json(TestResponse { message: "Twilio is configured correctly", ok: true, checks }))
}
