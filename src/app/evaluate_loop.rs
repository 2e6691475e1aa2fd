//! State to decisions: once a second, and at once after a probe result.

use super::engine::Engine;
use crate::alert::codec::transition_record;
use crate::alert::evaluate::{Inputs, evaluate};
use crate::alert::health::Condition;
use crate::base::shutdown::Shutdown;
use crate::export::Operation;
use crate::model::alert::Transition;
use crate::model::labels::Labels;
use crate::model::objective::Severity;
use crate::model::slot::Slot;
use crate::wire::record::{Envelope, Kind};
use std::time::Duration;

/// Budgets are evaluated at least this often.
const TICK: Duration = Duration::from_secs(1);
/// Probe results that come faster than this share an evaluation.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

/// Evaluates until shutdown begins.
pub async fn run(engine: Engine, shutdown: Shutdown) {
    while !shutdown.has_begun() {
        for transition in decide(&engine) {
            let now = transition.at;
            tracing::info!(
                alert = transition.key.name,
                severity = transition.key.severity.as_str(),
                to = transition.to.as_str(),
                cause = transition.cause.as_str(),
                "an alert moves"
            );
            let record = transition_record(&transition);
            let _ = engine.record(Envelope::of(Kind::Transition, now, &record), None).await;
        }
        tokio::select! {
            () = shutdown.begun() => break,
            () = tokio::time::sleep(TICK) => {}
            () = engine.evaluate.notified() => tokio::time::sleep(SHORTEST_PAUSE).await,
        }
    }
}

/// One evaluation.
pub fn decide(engine: &Engine) -> Vec<Transition> {
    let started = engine.clock.monotonic();
    let now = engine.clock.now();
    let conditions = conditions(engine);
    let mut core = engine.core.write();
    core.store.counts.advance(Slot::of(now));
    core.evaluated_at = Some(now);
    let policy = std::sync::Arc::clone(&core.policy);
    let inputs = Inputs {
        store: &core.store,
        policy: &policy,
        book: &core.book,
        conditions: &conditions,
        now,
        position: core.control,
    };
    let due = evaluate(inputs);
    drop(core);
    let took = engine.clock.monotonic().since(started);
    engine.telemetry.evaluation_duration_seconds.observe(took.as_secs_f64());
    // One span a second would drown the others: only evaluations that moved an alert are told.
    if !due.is_empty() {
        let moved = [("radiosonde.transitions", due.len().to_string())];
        engine.own_spans.record(Operation::Evaluation, now, took, None, &moved);
    }
    due
}

/// What is wrong with the daemon itself.
fn conditions(engine: &Engine) -> Vec<Condition> {
    let degraded = engine.degraded();
    vec![Condition {
        name: "RadiosondeDegraded".to_owned(),
        severity: Severity::Page,
        holds: degraded.is_some(),
        summary: degraded.unwrap_or_default(),
        labels: Labels::default(),
    }]
}
