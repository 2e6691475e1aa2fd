//! What the loops share: folded state, the journal, and the signals between them.

use crate::aggregate::Decoded;
use crate::alert::SharedCore;
use crate::base::clock::Clock;
use crate::base::error::Chain;
use crate::base::shutdown::Shutdown;
use crate::export::SelfSpans;
use crate::journal::Journal;
use crate::model::position::{Lane, Position};
use crate::telemetry::Telemetry;
use crate::wire::record::Envelope;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use tokio::sync::{Notify, watch};

/// Shared by all loops. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine(Arc<Parts>);

/// The parts.
#[derive(Debug)]
pub struct Parts {
    /// Folded state.
    pub core: SharedCore,
    /// The two lanes.
    pub journal: Journal,
    /// Time.
    pub clock: Clock,
    /// The daemon's metrics.
    pub telemetry: Telemetry,
    /// Up to where each lane is folded; written by the fold.
    pub folded: watch::Sender<(Position, Position)>,
    /// Rings when a probe result was folded: evaluation is due at once.
    pub evaluate: Notify,
    /// Rings when the outbox may have grown.
    pub deliver: Notify,
    /// Rings when there is something new to see, for the page.
    pub seen: watch::Sender<u64>,
    /// Age of the bulk record folded last, nanoseconds.
    pub bulk_lag_ns: AtomicU64,
    /// Bulk records handed to the journal and folded since the start; the journal answers after it
    /// has handed a record to the fold, so the second may be ahead.
    pub bulk_appended: AtomicU64,
    /// See above.
    pub bulk_folded: AtomicU64,
    /// Held by whoever counts new indicators from the journal.
    pub recounting: Mutex<()>,
    /// Begins when the fold has stopped at a fault of ours.
    pub broken: Shutdown,
    /// Whether everything that was durable at the start is folded.
    pub ready: Arc<AtomicBool>,
    /// How much of it is folded so far, in thousandths.
    pub replayed_permille: AtomicU32,
    /// What the daemon itself does, as spans; nowhere unless a collector is configured.
    pub own_spans: SelfSpans,
    /// Why the daemon is not well.
    degraded: Mutex<Option<String>>,
}

impl std::ops::Deref for Engine {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Engine {
    /// An engine over the state of a checkpoint; it is not ready yet.
    #[must_use]
    pub fn new(
        core: SharedCore,
        journal: Journal,
        clock: Clock,
        telemetry: Telemetry,
        own_spans: SelfSpans,
    ) -> Self {
        let positions = {
            let core = core.read();
            (core.control, core.bulk)
        };
        Self(Arc::new(Parts {
            core,
            journal,
            clock,
            telemetry,
            folded: watch::Sender::new(positions),
            evaluate: Notify::new(),
            deliver: Notify::new(),
            seen: watch::Sender::new(0),
            bulk_lag_ns: AtomicU64::new(0),
            bulk_appended: AtomicU64::new(0),
            bulk_folded: AtomicU64::new(0),
            recounting: Mutex::new(()),
            broken: Shutdown::new(),
            ready: Arc::default(),
            replayed_permille: AtomicU32::new(0),
            own_spans,
            degraded: Mutex::new(None),
        }))
    }

    /// Writes a record of our own to the control lane and waits until it is folded. When the lane
    /// cannot be written the record takes effect in memory, and the daemon says that it is degraded.
    /// Returns whether it is durable.
    pub async fn record(&self, envelope: Envelope, decoded: Option<Decoded>) -> bool {
        let note =
            decoded.clone().map(|decoded| Box::new(decoded) as Box<dyn std::any::Any + Send>);
        match self.journal.append(Lane::Control, envelope.to_bytes(), note).await {
            Ok(position) => {
                let mut folded = self.folded.subscribe();
                // The fold goes on until the daemon ends; then nobody needs to wait.
                drop(folded.wait_for(|(control, _)| *control > position).await);
                *self.degraded.lock() = None;
                true
            }
            Err(error) => {
                let words = format!("the control lane cannot be written: {}", Chain(&error));
                tracing::error!(error = %Chain(&error), "the control lane cannot be written; going on in memory");
                *self.degraded.lock() = Some(words);
                let mut core = self.core.write();
                let position = core.control;
                if let Err(error) = core.apply(Lane::Control, position, &envelope, decoded) {
                    tracing::error!(error = %Chain(&error), "a record of our own cannot be applied");
                }
                drop(core);
                self.evaluate.notify_one();
                self.deliver.notify_one();
                false
            }
        }
    }

    /// Everything durable is folded: the state may be asked and evaluated.
    pub fn become_ready(&self) {
        let positions = {
            let core = self.core.read();
            (core.control, core.bulk)
        };
        let _ = self.folded.send_replace(positions);
        self.ready.store(true, Ordering::Release);
        self.seen.send_modify(|count| *count += 1);
    }

    /// The share of the journal that is folded, while that goes on.
    #[must_use]
    pub fn replaying(&self) -> Option<f64> {
        let permille = self.replayed_permille.load(Ordering::Relaxed);
        (!self.ready.load(Ordering::Acquire)).then(|| f64::from(permille) / 1_000.0)
    }

    /// Why the daemon is not well.
    #[must_use]
    pub fn degraded(&self) -> Option<String> {
        let bulk = || {
            let words = "the bulk lane cannot be written: phones are turned away until a restart";
            self.journal.is_poisoned(Lane::Bulk).then(|| words.to_owned())
        };
        self.degraded.lock().clone().or_else(bulk)
    }
}
