//! Journal to state: applies committed records, the control lane first, on a thread of its own.

use super::engine::Engine;
use crate::aggregate::Decoded;
use crate::base::clock::nanos;
use crate::base::error::Chain;
use crate::journal::Committed;
use crate::model::position::Lane;
use crate::wire::record::Envelope;
use std::io;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use tokio::sync::mpsc;

/// Starts the fold's thread.
///
/// # Errors
/// When the system has no thread for it.
pub fn start(
    engine: Engine,
    control: mpsc::Receiver<Committed>,
    bulk: mpsc::Receiver<Committed>,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let thread = std::thread::Builder::new().name("fold".to_owned());
    thread.spawn(move || {
        let _alarm = Alarm(engine.clone());
        runtime.block_on(run(engine, control, bulk));
    })
}

/// Tells when the fold ends by a panic, a fault of ours: what is acknowledged would not count any more,
/// and nobody would notice.
struct Alarm(Engine);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.broken.begin();
        }
    }
}

/// Folds until both lanes are closed.
async fn run(
    engine: Engine,
    mut control: mpsc::Receiver<Committed>,
    mut bulk: mpsc::Receiver<Committed>,
) {
    loop {
        let committed = tokio::select! {
            biased;
            Some(record) = control.recv() => record,
            Some(record) = bulk.recv() => record,
            else => break,
        };
        fold(&engine, committed);
    }
}

pub(super) fn fold(engine: &Engine, committed: Committed) {
    let lane = committed.lane;
    let decoded = committed.note.and_then(|note| note.downcast::<Decoded>().ok()).map(|note| *note);
    let envelope = Envelope::read(committed.bytes);
    let mut core = engine.core.write();
    let applied = match &envelope {
        Ok(envelope) => core.apply(lane, committed.next, envelope, decoded),
        Err(_) => Ok(crate::alert::core::Applied::default()),
    };
    let positions = (core.control, core.bulk);
    drop(core);
    let name = lane.as_str();
    engine.telemetry.fold_records_total.with_label_values(&[name]).inc();
    if let Err(error) = &envelope {
        engine.telemetry.fold_unreadable_total.with_label_values(&[name]).inc();
        tracing::error!(lane = name, error = %Chain(error), "a record cannot be read");
    }
    if let Ok(envelope) = &envelope {
        let lag = engine.clock.now().since(envelope.received_at());
        engine.telemetry.fold_lag_seconds.with_label_values(&[name]).set(lag.as_secs_f64());
        if lane == Lane::Bulk {
            engine.bulk_lag_ns.store(nanos(lag), Ordering::Release);
        }
    }
    if lane == Lane::Bulk {
        let _ = engine.bulk_folded.fetch_add(1, Ordering::AcqRel);
    }
    match applied {
        Ok(applied) => {
            engine.telemetry.probe_intents_dropped_total.inc_by(applied.dropped_intents);
            if !applied.runs.is_empty() {
                engine.evaluate.notify_one();
                engine.seen.send_modify(|count| *count += 1);
            }
            if applied.alerts {
                engine.deliver.notify_one();
                engine.seen.send_modify(|count| *count += 1);
            }
        }
        Err(error) => {
            engine.telemetry.fold_unreadable_total.with_label_values(&[name]).inc();
            tracing::error!(lane = name, error = %Chain(&error), "a record cannot be applied");
        }
    }
    let _ = engine.folded.send_replace(positions);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::SharedCore;
    use crate::base::clock::Clock;
    use crate::export::SelfSpans;
    use crate::journal::files::SystemFiles;
    use crate::journal::{self, Sinks};
    use crate::telemetry::Telemetry;
    use std::sync::Arc;

    /// Guarantees that the end of the fold by a fault is noticed, and its usual end is none.
    #[test]
    fn a_fault_of_the_fold_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (control, _control) = mpsc::channel(1);
        let (bulk, _bulk) = mpsc::channel(1);
        let (clock, telemetry) = (Clock::system(), Telemetry::new());
        let config =
            journal::Config { control_reserve_bytes: 0, ..journal::Config::new(dir.path()) };
        let sinks = Sinks { control, bulk };
        let files = Arc::new(SystemFiles);
        let journal = journal::open(config, files, clock.clone(), &telemetry, sinks).unwrap();
        let core = SharedCore::default();
        let engine = Engine::new(core, journal, clock, telemetry, SelfSpans::default());
        drop(Alarm(engine.clone()));
        assert!(!engine.broken.has_begun());
        let alarm = Alarm(engine.clone());
        let faulty = std::thread::spawn(move || {
            let _alarm = alarm;
            panic!("a fault");
        });
        assert!(faulty.join().is_err());
        assert!(engine.broken.has_begun());
    }
}
