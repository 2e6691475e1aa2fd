//! Gathers probe runs into requests: as many spans as OTLP exporters send at once, or what came
//! within a second.

use crate::base::shutdown::Shutdown;
use crate::wire::otlp::ExportTraceServiceRequest;
use std::time::Duration;
use tokio::sync::mpsc;

/// A request holds at most this many spans, unless a single run has more.
pub(super) const MAX_SPANS: usize = 512;

/// A run waits at most this long for others to go with.
pub(super) const MAX_DELAY: Duration = Duration::from_secs(1);

/// Runs that go out together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) request: ExportTraceServiceRequest,
    /// How many runs are in it.
    pub(super) traces: u64,
    spans: usize,
}

/// The taking end of the queue. The giving end is the exporter's handle; when all handles are gone
/// the batches end.
#[derive(Debug)]
pub(super) struct Batcher {
    queue: mpsc::Receiver<ExportTraceServiceRequest>,
    /// Did not fit into the batch before.
    carried: Option<ExportTraceServiceRequest>,
}

// === impl Batch ===

impl Batch {
    fn add(&mut self, request: ExportTraceServiceRequest) {
        self.spans += spans(&request);
        self.traces += 1;
        self.request.resource_spans.extend(request.resource_spans);
    }

    /// Takes a run in, or gives it back when there is no room.
    fn try_add(&mut self, request: ExportTraceServiceRequest) -> Option<ExportTraceServiceRequest> {
        if self.spans + spans(&request) > MAX_SPANS {
            return Some(request);
        }
        self.add(request);
        None
    }
}

fn spans(request: &ExportTraceServiceRequest) -> usize {
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.map(|scope| scope.spans.len()).sum()
}

// === impl Batcher ===

impl Batcher {
    /// Takes from this queue.
    pub(super) fn new(queue: mpsc::Receiver<ExportTraceServiceRequest>) -> Self {
        Self { queue, carried: None }
    }

    /// The next batch; none when all handles are gone, or when shutdown has begun and the queue is
    /// empty. After the signal nothing is waited for.
    pub(super) async fn next(&mut self, shutdown: &Shutdown) -> Option<Batch> {
        let mut batch = Batch::default();
        batch.add(self.first(shutdown).await?);
        let delay = tokio::time::sleep(MAX_DELAY);
        tokio::pin!(delay);
        while self.carried.is_none() && batch.spans < MAX_SPANS {
            let request = tokio::select! {
                biased;
                request = self.queue.recv() => request,
                () = shutdown.begun() => None,
                () = &mut delay => None,
            };
            match request {
                Some(request) => self.carried = batch.try_add(request),
                None => break,
            }
        }
        Some(batch)
    }

    async fn first(&mut self, shutdown: &Shutdown) -> Option<ExportTraceServiceRequest> {
        if let Some(request) = self.carried.take() {
            return Some(request);
        }
        tokio::select! {
            biased;
            request = self.queue.recv() => request,
            () = shutdown.begun() => None,
        }
    }
}
