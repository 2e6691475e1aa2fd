//! The front door's way into the journal, and the account of what it refused.

use super::engine::Engine;
use crate::aggregate::Decoded;
use crate::base::shutdown::Shutdown;
use crate::ingest::{Admitted, CommitError, DecodedRequest, Pressure, Refusal, Sink};
use crate::journal::AppendError;
use crate::model::position::Lane;
use crate::store::ledger::{ItemOutcome, MAX_APPS, OTHER};
use crate::wire::otlp::Signal;
use crate::wire::record::{Envelope, Kind, RefusalRecord};
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A fold that lags behind by more than this sheds bulk.
const MAX_FOLD_LAG: Duration = Duration::from_secs(5);
/// How often refusals are written to the ledger.
const ACCOUNT: Duration = Duration::from_secs(10);
/// What a client that was turned away is told to wait: less than the deadline of any SDK.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Commits requests of phones to the bulk lane.
#[derive(Debug)]
pub struct FrontDoor {
    engine: Engine,
    refused: Mutex<BTreeMap<(String, Signal2, &'static str), u64>>,
}

type Signal2 = &'static str;

impl FrontDoor {
    /// A front door into an engine.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self { engine, refused: Mutex::default() }
    }

    /// Journals what was refused since the last call, so that the ledger's equation holds.
    pub async fn account(&self) {
        let refused = std::mem::take(&mut *self.refused.lock());
        for ((app, signal, outcome), items) in refused {
            let record = RefusalRecord {
                app,
                signal: signal.to_owned(),
                items,
                outcome: outcome.to_owned(),
            };
            let now = self.engine.clock.now();
            let _ = self.engine.record(Envelope::of(Kind::Refusal, now, &record), None).await;
        }
    }
}

/// Writes refusals to the ledger every now and then; the end does it once more, when the door is shut.
pub async fn account(door: Arc<FrontDoor>, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = shutdown.begun() => return,
            () = tokio::time::sleep(ACCOUNT) => door.account().await,
        }
    }
}

impl Sink for FrontDoor {
    fn commit(&self, admitted: Admitted) -> BoxFuture<'_, Result<(), CommitError>> {
        async move {
            let bytes = admitted.envelope.to_bytes();
            let decoded = match admitted.request {
                DecodedRequest::Traces(request) => Decoded::Traces(request),
                DecodedRequest::Metrics(request) => Decoded::Metrics(request),
                DecodedRequest::Logs(request) => Decoded::Logs(request),
            };
            let appended =
                self.engine.journal.append(Lane::Bulk, bytes, Some(Box::new(decoded))).await;
            if appended.is_ok() {
                let _ = self.engine.bulk_appended.fetch_add(1, Ordering::AcqRel);
            }
            appended.map(drop).map_err(|error| match error {
                AppendError::Full => CommitError::Full,
                _ => CommitError::Unavailable,
            })
        }
        .boxed()
    }

    fn pressure(&self) -> Option<Pressure> {
        let engine = &self.engine;
        let lag = Duration::from_nanos(engine.bulk_lag_ns.load(Ordering::Acquire));
        let count = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        let behind = count(&engine.bulk_appended) > count(&engine.bulk_folded);
        let lags = behind && lag > MAX_FOLD_LAG;
        let fails = engine.journal.is_poisoned(Lane::Bulk);
        (lags || fails).then_some(Pressure { retry_after: RETRY_AFTER })
    }

    fn refused(&self, app: &str, signal: Signal, items: u64, why: Refusal) {
        // Every refusal of a whole, valid request is for want of room.
        let outcome = match why {
            Refusal::Pressure | Refusal::Full | Refusal::Unavailable => ItemOutcome::Shed,
        };
        let mut refused = self.refused.lock();
        let app = if refused.len() < MAX_APPS * 6 { app } else { OTHER };
        *refused.entry((app.to_owned(), signal.as_str(), outcome.as_str())).or_default() += items;
    }
}
