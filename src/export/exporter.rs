//! Sends probe runs to the collector: one batch at a time, each with a few attempts.
//!
//! A collector that is slow or away fills the queue, and then the newest runs are dropped and
//! counted. Nothing waits for it but the flush at the end, and that only for a short while.

use super::answer::Answer;
use super::batch::{Batch, Batcher};
use super::grpc::{GrpcSender, Tls};
use super::http::HttpSender;
use super::{Config, ExportError, Protocol};
use crate::base::backoff::Backoff;
use crate::base::shutdown::Shutdown;
use crate::telemetry::Telemetry;
use crate::wire::otlp::ExportTraceServiceRequest;
use std::time::Duration;
use tokio::sync::mpsc;

/// Runs that wait to be sent; further ones are dropped.
pub const MAX_QUEUED_TRACES: usize = 2_048;

/// Attempts at one batch.
pub const MAX_ATTEMPTS: u32 = 5;

/// Between attempts, as OTLP recommends.
pub(super) const BACKOFF: Backoff =
    Backoff { first: Duration::from_secs(1), max: Duration::from_secs(30) };

/// A collector that asks for more patience than this is tried again after this.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// At the end the queue is emptied for this long.
const FLUSH_WITHIN: Duration = Duration::from_secs(3);

/// Takes probe runs to be exported. Clones share one queue and connection.
#[derive(Clone, Debug)]
pub struct Exporter {
    queue: mpsc::Sender<ExportTraceServiceRequest>,
    telemetry: Telemetry,
}

/// The sending end, with everything it needs.
pub(super) struct Sending {
    pub(super) transport: Transport,
    pub(super) timeout: Duration,
    pub(super) backoff: Backoff,
    pub(super) telemetry: Telemetry,
    pub(super) shutdown: Shutdown,
}

/// How requests travel.
pub(super) enum Transport {
    Grpc(GrpcSender),
    Http(HttpSender),
}

// === impl Exporter ===

impl Exporter {
    /// Starts to export on the current runtime, until `shutdown`; then what is queued gets one
    /// attempt within three seconds. A collector that is away is no error: it may come.
    ///
    /// # Errors
    /// When endpoint or headers are invalid, or the system has no certificates to trust.
    pub fn start(
        config: &Config,
        telemetry: Telemetry,
        shutdown: &Shutdown,
    ) -> Result<Self, ExportError> {
        let transport = Transport::new(config, Tls::System)?;
        let (timeout, shutdown) = (config.timeout, shutdown.clone());
        Ok(Self::start_with(Sending { transport, timeout, backoff: BACKOFF, telemetry, shutdown }))
    }

    /// The same with parts that a test has chosen.
    pub(super) fn start_with(sending: Sending) -> Self {
        let (queue, batches) = mpsc::channel(MAX_QUEUED_TRACES);
        let telemetry = sending.telemetry.clone();
        let tasks = sending.shutdown.clone();
        tasks.spawn(sending.run(Batcher::new(batches)));
        Self { queue, telemetry }
    }

    /// Hands one probe run over. Never waits: when the queue is full, or export has ended, the run
    /// is dropped and counted.
    pub fn submit(&self, run: ExportTraceServiceRequest) {
        if self.queue.try_send(run).is_err() {
            self.telemetry.export_dropped_total.inc();
        }
    }
}

// === impl Transport ===

impl Transport {
    pub(super) fn new(config: &Config, tls: Tls) -> Result<Self, ExportError> {
        match config.protocol {
            Protocol::Grpc => GrpcSender::new(config, tls).map(Self::Grpc),
            Protocol::HttpProtobuf => HttpSender::new(config).map(Self::Http),
        }
    }

    pub(super) async fn send(&self, request: &ExportTraceServiceRequest) -> Answer {
        match self {
            Self::Grpc(sender) => sender.send(request).await,
            Self::Http(sender) => sender.send(request).await,
        }
    }
}

// === impl Sending ===

impl Sending {
    async fn run(self, mut batcher: Batcher) {
        while !self.shutdown.has_begun() {
            let Some(batch) = batcher.next(&self.shutdown).await else { break };
            self.deliver(&batch).await;
        }
        let flush = async {
            while let Some(batch) = batcher.next(&self.shutdown).await {
                self.deliver(&batch).await;
            }
        };
        if tokio::time::timeout(FLUSH_WITHIN, flush).await.is_err() {
            tracing::warn!("traces left unsent at the end, the collector is too slow");
        }
    }

    /// Sends a batch, or drops and counts it.
    async fn deliver(&self, batch: &Batch) {
        for attempt in 1..=MAX_ATTEMPTS {
            match self.attempt(batch).await {
                Answer::Accepted { rejected: 0, .. } => return self.count("accepted"),
                Answer::Accepted { rejected, message } => {
                    tracing::warn!(rejected, message, "collector rejected spans");
                    return self.count("partial");
                }
                Answer::Refused { error } => {
                    return self.give_up("refused", batch, &error);
                }
                Answer::Retry { error, wait } => {
                    if attempt == MAX_ATTEMPTS || !self.pause(attempt, wait).await {
                        return self.give_up("failed", batch, &error);
                    }
                    self.count("retried");
                }
            }
        }
    }

    async fn attempt(&self, batch: &Batch) -> Answer {
        let sending = self.transport.send(&batch.request);
        tokio::time::timeout(self.timeout, sending).await.unwrap_or_else(|_| Answer::Retry {
            error: "no answer from the collector within the timeout".to_owned(),
            wait: None,
        })
    }

    /// Waits before the next attempt; false when there is to be none because shutdown has begun.
    async fn pause(&self, attempts: u32, wish: Option<Duration>) -> bool {
        let delay = self.backoff.delay(attempts, rand::random());
        let delay = delay.max(wish.unwrap_or_default().min(MAX_WAIT));
        tokio::select! {
            () = tokio::time::sleep(delay) => !self.shutdown.has_begun(),
            () = self.shutdown.begun() => false,
        }
    }

    fn give_up(&self, outcome: &str, batch: &Batch, error: &str) {
        tracing::warn!(error, traces = batch.traces, "traces not exported");
        self.telemetry.export_dropped_total.inc_by(batch.traces);
        self.count(outcome);
    }

    fn count(&self, outcome: &str) {
        self.telemetry.export_requests_total.with_label_values(&[outcome]).inc();
    }
}
