//! The listener: routes, connections, shutdown.

use super::actions::Actions;
use super::blackbox::Blackbox;
use super::guard::Guard;
use super::routes;
use super::views::Surroundings;
use crate::alert::SharedCore;
use crate::base::clock::Clock;
use crate::base::shutdown::Shutdown;
use crate::model::series::History;
use crate::telemetry::Telemetry;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What handlers work with.
#[derive(Clone)]
pub struct ApiState {
    /// Folded state.
    pub core: SharedCore,
    /// History.
    pub history: Arc<dyn History>,
    /// Changes.
    pub actions: Arc<dyn Actions>,
    /// Time.
    pub clock: Clock,
    /// The daemon's metrics.
    pub telemetry: Telemetry,
    /// What pages show beside the folded state.
    pub surroundings: Arc<dyn Fn() -> Surroundings + Send + Sync>,
    /// Moves whenever there is something new to see.
    pub seen: watch::Receiver<u64>,
    /// Probes on request.
    pub blackbox: Arc<Blackbox>,
    /// Whether everything durable is folded.
    pub ready: Arc<AtomicBool>,
    /// Who may do what.
    pub guard: Arc<Guard>,
    /// Ends event streams.
    pub shutdown: Shutdown,
}

/// Serves until shutdown begins; requests under way are finished.
pub async fn serve(listener: TcpListener, state: ApiState) {
    let shutdown = state.shutdown.clone();
    let router = routes::router(state);
    let served = axum::serve(listener, router).with_graceful_shutdown(async move {
        shutdown.begun().await;
    });
    if let Err(error) = served.await {
        tracing::error!(%error, "the page and API ended");
    }
}
