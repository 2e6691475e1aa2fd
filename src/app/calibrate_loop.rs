//! Measures the instrument's own error on this machine: once the daemon has settled, then rarely.
//!
//! The runs are made by an instrument apart, on threads that end with it, so that neither scheduled
//! runs nor their metrics know of them; what comes of it is kept in memory only.

use super::daemon::Running;
use crate::base::clock::MonoNanos;
use crate::base::error::Chain;
use crate::base::shutdown::Shutdown;
use crate::probe::Context;
use crate::probe::reference::{Calibration, Figures, Instrument, Protocol, ReferenceError, Sample};
use crate::telemetry::Telemetry;
use std::sync::Arc;
use std::time::Duration;

/// After the start, and between two looks whether another calibration is due.
const LOOK: Duration = Duration::from_secs(60);
/// What the servers hold back; runs take turns.
const DELAYS: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(10)];
/// Runs of each protocol: as many as a 99th percentile needs.
const RUNS: usize = 100;
/// Runs of a case that are not counted: first ones warm up whatever is lazy.
const WARM_UP: usize = 1;

/// Calibrates whenever it is due, until shutdown begins.
pub async fn run(running: Arc<Running>, shutdown: Shutdown) {
    let context = running.context.clone();
    let mut last: Option<MonoNanos> = None;
    loop {
        tokio::select! {
            () = shutdown.begun() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let every = running.settings.read().daemon.calibration_every;
        let now = context.clock.monotonic();
        let is_due = |every| last.is_none_or(|last| now.since(last) >= every);
        if !every.is_some_and(is_due) {
            continue;
        }
        last = Some(now);
        let (context, stop) = (context.clone(), shutdown.clone());
        let telemetry = running.engine.telemetry.clone();
        match tokio::task::spawn_blocking(move || measure(&context, RUNS, &stop)).await {
            Ok(Ok(Some(calibration))) => {
                publish(&telemetry, &calibration);
                *running.calibration.write() = Some(Arc::new(calibration));
            }
            Ok(Ok(None)) | Err(_) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = %Chain(&error), "the instrument cannot be calibrated");
            }
        }
    }
}

/// Measures every protocol, one run after the other; none when shutdown began before the end. Blocks.
///
/// # Errors
/// When the machine does not let it.
fn measure(
    context: &Context,
    runs: usize,
    stop: &Shutdown,
) -> Result<Option<Calibration>, ReferenceError> {
    let (instrument, mut cases) = Instrument::start_beside(context, Protocol::ALL, &DELAYS)?;
    for round in 0..runs.div_ceil(DELAYS.len()) + WARM_UP {
        for case in &mut cases {
            if stop.has_begun() {
                return Ok(None);
            }
            // A run that did not happen has no value.
            let run = instrument.begin(case)?.blocking_recv().unwrap_or_default();
            instrument.record(case, &run)?;
            if round < WARM_UP {
                case.samples.clear();
            }
        }
    }
    let of = |protocol: Protocol| -> Vec<Sample> {
        let own = cases.iter().filter(|case| case.protocol == protocol);
        own.flat_map(|case| &case.samples).copied().collect()
    };
    let measured: Vec<_> =
        Protocol::ALL.iter().map(|protocol| (*protocol, of(*protocol))).collect();
    Ok(Calibration::of(context.clock.now(), &measured))
}

/// Sets the gauges.
fn publish(telemetry: &Telemetry, calibration: &Calibration) {
    let set = |protocol: &str, figures: &Figures| {
        for (client, of) in [("probe", figures.errors), ("bare", figures.bare_errors)] {
            for (quantile, ns) in [("0.5", of.p50), ("0.9", of.p90), ("0.99", of.p99)] {
                let gauge = &telemetry.calibration_error_seconds;
                gauge.with_label_values(&[protocol, client, quantile]).set(ns as f64 / 1e9);
            }
        }
    };
    for (protocol, figures) in &calibration.protocols {
        set(protocol.as_str(), figures);
    }
    let at = calibration.at.as_seconds();
    telemetry.calibration_last_success_timestamp_seconds.set(at);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Clock;

    /// Guarantees that a calibration measures every protocol beside another instrument whose metrics do
    /// not hear of it, that its gauges are set, and that it ends when the daemon does.
    #[test]
    fn every_protocol_is_calibrated() {
        let context = Context::new(Clock::system(), Telemetry::new());
        let measured = measure(&context, 4, &Shutdown::new()).expect("measured").expect("whole");
        let runs: Vec<_> = measured.protocols.iter().map(|(p, f)| (p.as_str(), f.runs)).collect();
        assert_eq!(runs, [("http", 4), ("websocket", 4), ("sse", 4)]);
        assert_eq!(measured.overall.runs, 12);
        assert_eq!(context.telemetry.probe_start_lateness_seconds.get_sample_count(), 0);
        publish(&context.telemetry, &measured);
        let gauge = &context.telemetry.calibration_error_seconds;
        let shown = gauge.with_label_values(&["sse", "bare", "0.99"]).get();
        let sse = measured.protocols.last().expect("the last").1;
        assert!((shown - sse.bare_errors.p99 as f64 / 1e9).abs() < 1e-12);
        let ending = Shutdown::new();
        ending.begin();
        assert_eq!(measure(&context, 4, &ending).expect("ended"), None);
    }
}
