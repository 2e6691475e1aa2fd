//! The way of a request through the front door, the same for both transports.

use super::body::{Compression, collect};
use super::budget::{Budget, Reservation};
use super::config::{Config, Token};
use super::decode::decode;
use super::grpc::PREFIX;
use super::inflate::{expected_size, inflate};
use super::problem::Problem;
use super::redact::Redactor;
use super::request::Encoding;
use super::sink::{Admitted, Refusal, Sink};
use super::validate::{Tally, validate};
use super::weigh::weigh;
use crate::base::clock::{Clock, UnixNanos};
use crate::telemetry::Telemetry;
use crate::wire::otlp::Signal;
use crate::wire::record::{Envelope, Origin};
use bytes::Bytes;
use http_body::Body;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long a request waits for room before it is turned away. Some SDKs never retry, so a short
/// wait saves what a quick refusal would lose.
const PATIENCE: Duration = Duration::from_secs(1);
/// What a request takes of the compressed budget before its body is seen.
const ENTRY_BYTES: usize = 16 * 1024;
/// Decoded telemetry takes up to this many times its inflated size; what takes more pays for it.
const DECODED_PER_INFLATED: usize = 4;
/// Smaller bodies are worked on where they arrive; larger ones would keep others waiting there.
const INLINE_PLAIN_BYTES: usize = 16 * 1024;
/// The same for gzip, which unpacks to a thousand times its size at most.
const INLINE_GZIP_BYTES: usize = 2 * 1024;
/// When to try again after the journal refused.
const COMMIT_RETRY: Duration = Duration::from_secs(2);

/// Everything that requests share on their way.
pub(super) struct Door {
    pub(super) tokens: Vec<Token>,
    pub(super) max_request_bytes: usize,
    compressed: Budget,
    inflated: Budget,
    /// As many bodies are worked on at once as there are processors.
    workers: Arc<Semaphore>,
    redactor: Redactor,
    sink: Arc<dyn Sink>,
    clock: Clock,
    telemetry: Telemetry,
}

/// How a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Grpc,
    Http,
}

/// A request as its headers describe it, with its body still packed.
pub(super) struct Packed {
    pub(super) transport: Transport,
    pub(super) signal: Signal,
    pub(super) encoding: Encoding,
    pub(super) compression: Compression,
    pub(super) sender: String,
    pub(super) body: Bytes,
}

/// A request ready for the sink.
struct Prepared {
    admitted: Admitted,
    apps: Vec<(String, u64)>,
    tally: Tally,
    /// Held until the answer.
    reservation: Reservation,
}

// === impl Transport ===

impl Transport {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
        }
    }
}

// === impl Door ===

impl Door {
    /// Sets the door up.
    pub(super) fn new(
        config: Config,
        sink: Arc<dyn Sink>,
        clock: Clock,
        telemetry: Telemetry,
    ) -> Self {
        for (budget, bytes) in [
            ("received", config.inflight_compressed_bytes),
            ("inflated", config.inflight_inflated_bytes),
        ] {
            let gauge = telemetry.ingest_budget_bytes.with_label_values(&[budget]);
            gauge.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            tokens: config.tokens,
            max_request_bytes: config.max_request_bytes,
            compressed: Budget::new(config.inflight_compressed_bytes.saturating_add(PREFIX))
                .shown_in(telemetry.ingest_inflight_bytes.clone()),
            inflated: Budget::new(config.inflight_inflated_bytes)
                .shown_in(telemetry.ingest_inflated_bytes.clone()),
            workers: Arc::new(Semaphore::new(processors)),
            redactor: Redactor::new(&config.extra_attributes, config.identity_key),
            sink,
            clock,
            telemetry,
        }
    }

    /// Counts an answered request.
    pub(super) fn answered(&self, transport: Transport, signal: Option<Signal>, code: &str) {
        let signal = signal.map_or("none", Signal::as_str);
        let labels = [transport.as_str(), signal, code];
        self.telemetry.ingest_requests_total.with_label_values(&labels).inc();
    }

    /// Admits a body by the bytes in which it arrives: at most the limit and `framing` more. The
    /// share of the budget is to be held until the answer.
    pub(super) async fn admit<B>(
        &self,
        transport: Transport,
        body: &mut B,
        framing: usize,
    ) -> Result<(Bytes, Reservation), Problem>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let limit = self.max_request_bytes.saturating_add(framing).min(self.compressed.total());
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        let mut reservation = self.compressed.enter(announced.min(ENTRY_BYTES), PATIENCE).await?;
        let bytes = collect(body, limit, &mut reservation).await?;
        let labels = [transport.as_str()];
        let received = self.telemetry.ingest_received_bytes_total.with_label_values(&labels);
        received.inc_by(bytes.len() as u64);
        Ok((bytes, reservation))
    }

    /// Takes a request all the way to the sink. Returns when it is durable.
    pub(super) async fn pass(self: &Arc<Self>, packed: Packed) -> Result<Tally, Problem> {
        let began = self.clock.monotonic();
        let received_at = self.clock.now();
        let (transport, signal) = (packed.transport, packed.signal);
        let expected = expected_size(packed.compression, &packed.body, self.max_request_bytes);
        self.check_holdable(expected)?;
        let reservation = self.inflated.enter(expected, PATIENCE).await?;
        let prepared = self.prepared(packed, received_at, reservation).await?;
        let Prepared { admitted, apps, tally, reservation } = prepared;
        if tally.items() > 0 {
            self.sink.commit(admitted).await.map_err(|error| {
                let retry_after = COMMIT_RETRY;
                self.refuse(&apps, signal, Refusal::from(error), retry_after)
            })?;
        }
        drop(reservation);
        let took = self.clock.monotonic().since(began).as_secs_f64();
        let labels = [transport.as_str()];
        self.telemetry.ingest_ack_duration_seconds.with_label_values(&labels).observe(took);
        Ok(tally)
    }

    /// Prepares a request, a large one on a thread of its own.
    async fn prepared(
        self: &Arc<Self>,
        packed: Packed,
        received_at: UnixNanos,
        reservation: Reservation,
    ) -> Result<Prepared, Problem> {
        let inline = match packed.compression {
            Compression::Identity => INLINE_PLAIN_BYTES,
            Compression::Gzip => INLINE_GZIP_BYTES,
            Compression::Zstd => 0,
        };
        if packed.body.len() <= inline {
            return self.prepare(packed, received_at, reservation);
        }
        let slot = Arc::clone(&self.workers).acquire_owned().await;
        let slot = slot.map_err(|_| Problem::Internal)?;
        let door = Arc::clone(self);
        let work = tokio::task::spawn_blocking(move || {
            let prepared = door.prepare(packed, received_at, reservation);
            drop(slot);
            prepared
        });
        work.await.map_err(|error| {
            tracing::error!(%error, "otlp request not processed");
            Problem::Internal
        })?
    }

    fn prepare(
        &self,
        packed: Packed,
        received_at: UnixNanos,
        mut reservation: Reservation,
    ) -> Result<Prepared, Problem> {
        let Packed { signal, encoding, compression, sender, body, .. } = packed;
        let plain = inflate(compression, body, self.max_request_bytes, &mut reservation)?;
        let decoded_size = weigh(signal, encoding, &plain);
        let share = plain.len().max(decoded_size / DECODED_PER_INFLATED);
        self.check_holdable(share)?;
        reservation.grow_to(share)?;
        let mut request = decode(signal, encoding, plain)?;
        let apps = request.items_by_app();
        if let Some(pressure) = self.sink.pressure()
            && apps.iter().any(|(_, items)| *items > 0)
        {
            return Err(self.refuse(&apps, signal, Refusal::Pressure, pressure.retry_after));
        }
        let tally = validate(&mut request);
        let removed = self.redactor.redact(&mut request);
        self.telemetry.ingest_redacted_attributes_total.inc_by(removed);
        let items = tally.items() - tally.rejected();
        let kind = request.kind();
        let mut envelope = Envelope::new(Origin::Otlp, kind, received_at, request.to_bytes());
        envelope.sender = sender;
        envelope.rejected = tally.rejected();
        let admitted = Admitted { envelope, request, items };
        Ok(Prepared { admitted, apps, tally, reservation })
    }

    /// What would not even fit into the empty budget is too large, not too early.
    fn check_holdable(&self, bytes: usize) -> Result<(), Problem> {
        match self.inflated.could_hold(bytes) {
            true => Ok(()),
            false => Err(Problem::TooLarge { limit: self.max_request_bytes }),
        }
    }

    fn refuse(
        &self,
        apps: &[(String, u64)],
        signal: Signal,
        why: Refusal,
        retry_after: Duration,
    ) -> Problem {
        for (app, items) in apps {
            self.sink.refused(app, signal, *items, why);
        }
        Problem::Refused { why, retry_after }
    }
}
