//! The provider's checks, as the API shows them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProviderCheck {
    /// A stable name.
    #[schema(example = "credentials")]
    pub name: String,
    /// How it stands.
    pub mark: CheckMark,
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
pub enum CheckMark {
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
pub type RunChecks = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Vec<ProviderCheck>> + Send>> + Send + Sync>;
