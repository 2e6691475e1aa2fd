//! Probe results to where they go: the control lane, which makes them count, and the user's
//! collector, as a courtesy.

use super::engine::Engine;
use super::intents::Unwritten;
use crate::aggregate::Decoded;
use crate::export::Exporter;
use crate::model::probe::ProbeRun;
use crate::wire::probe_spans;
use crate::wire::record::{Envelope, Kind, Origin};
use futures::StreamExt;
use prost::Message;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Results that wait for the journal at once, so that they share its flushes.
const RUNS_IN_FLIGHT: usize = 64;

/// Records results until the probes are gone.
pub async fn run(
    engine: Engine,
    exporter: Option<Exporter>,
    results: mpsc::Receiver<ProbeRun>,
    unwritten: Arc<Unwritten>,
) {
    let runs = futures::stream::unfold(results, |mut results| async move {
        let run = results.recv().await?;
        Some((run, results))
    });
    let (engine, exporter, unwritten) = (&engine, exporter.as_ref(), &unwritten);
    let record = |run: ProbeRun| async move {
        // Behind its intent, which it settles.
        unwritten.wait_for(run.id).await;
        record(engine, exporter, run).await;
    };
    runs.for_each_concurrent(RUNS_IN_FLIGHT, record).await;
}

async fn record(engine: &Engine, exporter: Option<&Exporter>, run: ProbeRun) {
    let request = probe_spans::encode(&run);
    if let Some(exporter) = exporter {
        exporter.submit(request.clone());
    }
    let payload = request.encode_to_vec().into();
    let envelope = Envelope::new(Origin::Probe, Kind::Traces, engine.clock.now(), payload);
    let _ = engine.record(envelope, Some(Decoded::Traces(request))).await;
}
