//! The front door as clients meet it: a real server on loopback before a sink in memory.

mod capacity;
mod conformance;
mod exporters;
mod json;

use super::*;
use crate::base::clock::UnixNanos;
use crate::wire::attributes::text;
use crate::wire::otlp::{
    ExportTraceServiceRequest, Resource, ResourceSpans, ScopeSpans, Signal, Span,
};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// Longer than anything here takes.
const CEILING: Duration = Duration::from_secs(60);

/// Keeps what it is given.
pub(super) struct MemorySink {
    pub(super) admitted: Mutex<Vec<Admitted>>,
    pub(super) refused: Mutex<Vec<(String, Signal, u64, Refusal)>>,
    pub(super) failure: Mutex<Option<CommitError>>,
    pub(super) pressure: Mutex<Option<Pressure>>,
    /// Commits pass one for each permit; there are plenty unless a test takes them.
    pub(super) gate: Semaphore,
    /// Commits that have begun.
    pub(super) begun: Semaphore,
}

/// A front door that is open.
pub(super) struct House {
    pub(super) http: SocketAddr,
    pub(super) grpc: SocketAddr,
    pub(super) sink: Arc<MemorySink>,
    pub(super) telemetry: Telemetry,
    pub(super) shutdown: Shutdown,
    pub(super) serving: JoinHandle<()>,
}

// === impl MemorySink ===

impl MemorySink {
    fn new() -> Self {
        Self {
            admitted: Mutex::default(),
            refused: Mutex::default(),
            failure: Mutex::default(),
            pressure: Mutex::default(),
            gate: Semaphore::new(1_000_000),
            begun: Semaphore::new(0),
        }
    }

    /// Items stored and items rejected within stored requests.
    pub(super) fn counts(&self) -> (u64, u64) {
        let admitted = self.admitted.lock();
        let stored = admitted.iter().map(|admitted| admitted.items).sum();
        (stored, admitted.iter().map(|admitted| admitted.envelope.rejected).sum())
    }
}

impl Sink for MemorySink {
    fn commit(&self, admitted: Admitted) -> BoxFuture<'_, Result<(), CommitError>> {
        Box::pin(async {
            self.begun.add_permits(1);
            self.gate.acquire().await.expect("never closed").forget();
            if let Some(error) = *self.failure.lock() {
                return Err(error);
            }
            self.admitted.lock().push(admitted);
            Ok(())
        })
    }

    fn pressure(&self) -> Option<Pressure> {
        *self.pressure.lock()
    }

    fn refused(&self, app: &str, signal: Signal, items: u64, why: Refusal) {
        self.refused.lock().push((app.to_owned(), signal, items, why));
    }
}

// === impl House ===

impl House {
    /// Opens the front door with defaults.
    pub(super) async fn open() -> Self {
        Self::with(|_| {}).await
    }

    /// Opens it with a changed configuration.
    pub(super) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        // A second installation fails and changes nothing.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let mut config = Config::new(IdentityKey::new([7; 16]));
        change(&mut config);
        let grpc = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let http = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (grpc_address, http_address) =
            (grpc.local_addr().expect("bound"), http.local_addr().expect("bound"));
        let sink = Arc::new(MemorySink::new());
        let telemetry = Telemetry::new();
        let shutdown = Shutdown::new();
        let clock = Clock::manual(UnixNanos::from_seconds(1_000));
        let serving = serve(
            config,
            Listeners { grpc, http },
            sink.clone(),
            clock,
            telemetry.clone(),
            shutdown.clone(),
        );
        let serving = tokio::spawn(serving);
        Self { http: http_address, grpc: grpc_address, sink, telemetry, shutdown, serving }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }
}

/// A span that is valid, of the app `shop`.
pub(super) fn span() -> Span {
    Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: "GET".to_owned(),
        start_time_unix_nano: 10,
        end_time_unix_nano: 20,
        attributes: vec![text("http.request.method", "GET"), text("user.email", "me@example.com")],
        ..Span::default()
    }
}

pub(super) fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let attributes = vec![text("service.name", "shop")];
    let resource = Some(Resource { attributes, ..Resource::default() });
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let group = ResourceSpans { resource, scope_spans, ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![group] }
}
