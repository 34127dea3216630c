//! The connection that a request came in on: a fault may close it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::response::Response;
use tokio::sync::Notify;

/// The connection that a request came in on.
#[derive(Clone)]
pub(super) struct ClientConnection {
    pub peer: SocketAddr,
    pub kill: Arc<Notify>,
}

impl ClientConnection {
    /// Closes the connection with a TCP reset; never returns.
    pub async fn reset(&self) -> Response {
        self.kill.notify_one();
        std::future::pending().await
    }
}
