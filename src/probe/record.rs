//! What a step finds out while it runs.
//!
//! Phases are laid end to end: each begins no earlier than the one before ended, so that they never
//! overlap and add up to the step but for what lies between. Only completed phases are recorded.

use super::failure::quote;
use super::link::Link;
use super::stamps::Stamps;
use crate::base::clock::{Clock, MonoNanos, nanos};
use crate::model::attribute::AttributeValue;
use crate::model::probe::{CheckResult, Failure, Phase, PhaseTiming, StepResult};
use std::sync::Arc;
use std::time::Duration;

/// The result of a step in the making.
#[derive(Debug)]
pub(super) struct StepRecord {
    clock: Clock,
    run_started: MonoNanos,
    started: MonoNanos,
    /// The end of the last phase.
    cursor: MonoNanos,
    /// When the step sent what it sends: what `since` refers to.
    pub sent: Option<MonoNanos>,
    /// Under the connection that was dialled last.
    pub link: Option<Arc<Link>>,
    /// How long our own limits held its messages back.
    pub held: Duration,
    result: StepResult,
}

impl StepRecord {
    /// Begins a step now.
    pub(super) fn begin(
        clock: &Clock,
        run_started: MonoNanos,
        name: &str,
        span_id: [u8; 8],
    ) -> Self {
        let started = clock.monotonic();
        let result = StepResult {
            name: name.to_owned(),
            offset_ns: nanos(started.since(run_started)),
            span_id,
            ..StepResult::default()
        };
        Self {
            clock: clock.clone(),
            run_started,
            started,
            cursor: started,
            sent: None,
            link: None,
            held: Duration::ZERO,
            result,
        }
    }

    /// A record beside this one, for one of many receivers or for what comes after the step: what it
    /// finds out is not kept.
    pub(super) fn of_receiver(&self) -> Self {
        let Self { clock, run_started, started, cursor, .. } = self;
        Self {
            clock: clock.clone(),
            run_started: *run_started,
            started: *started,
            cursor: *cursor,
            sent: None,
            link: None,
            held: Duration::ZERO,
            result: StepResult { span_id: self.result.span_id, ..StepResult::default() },
        }
    }

    /// Takes over what another record of this step found out: one of several ways that were tried.
    pub(super) fn adopt(&mut self, other: Self) {
        let Self { cursor, sent, held, result, .. } = other;
        self.held += held;
        self.cursor = self.cursor.max(cursor);
        self.sent = sent;
        self.talks(&result.protocol, result.target);
        self.result.phases.extend(result.phases);
        self.result.checks.extend(result.checks);
        self.result.attributes.extend(result.attributes);
        self.result.status = result.status.or(self.result.status);
        self.result.message_latency_ns = result.message_latency_ns;
    }

    /// The time.
    pub(super) fn now(&self) -> MonoNanos {
        self.clock.monotonic()
    }

    /// The span id under which the target sees this step.
    pub(super) fn span(&self) -> [u8; 8] {
        self.result.span_id
    }

    /// Says what the step talks to.
    pub(super) fn talks(&mut self, protocol: &str, target: String) {
        self.result.protocol = protocol.to_owned();
        self.result.target = target;
    }

    /// A phase that was completed. What of it lies before the end of the phase before is not its
    /// own: a message may have arrived while an earlier step was running.
    pub(super) fn phase(&mut self, phase: Phase, from: MonoNanos, to: MonoNanos) {
        let from = from.max(self.cursor);
        let to = to.max(from);
        self.cursor = to;
        self.result.phases.push(PhaseTiming {
            phase,
            offset_ns: nanos(from.since(self.run_started)),
            duration_ns: nanos(to.since(from)),
        });
    }

    /// A check that was made; `found` is what was found instead.
    pub(super) fn check(&mut self, name: String, found: Result<(), String>) {
        let passed = found.is_ok();
        let found = found.err().map(|found| quote(&found));
        self.result.checks.push(CheckResult { name, passed, found });
    }

    /// Something that was found out about the target, see [`StepResult::attributes`].
    pub(super) fn attribute(&mut self, name: &str, value: impl Into<AttributeValue>) {
        let value = match value.into() {
            AttributeValue::Text(text) => AttributeValue::Text(quote(&text)),
            other => other,
        };
        self.result.attributes.push((name.to_owned(), value));
    }

    /// What came over a stream that is the step's own.
    pub(super) fn messages(&mut self, stamps: &Stamps) {
        let run_started = self.run_started;
        self.result.messages = stamps.tell(run_started, 0, usize::MAX);
    }

    /// What was found out under that name last.
    pub(super) fn found(&self, name: &str) -> Option<&AttributeValue> {
        let found = self.result.attributes.iter().rev().find(|(known, _)| known == name);
        found.map(|(_, value)| value)
    }

    /// A message that waited for our own limits, so long.
    pub(super) fn held_back(&mut self, waited: Duration) {
        self.held += waited;
    }

    /// The status of the answer.
    pub(super) fn status(&mut self, status: u16) {
        self.result.status = Some(status);
    }

    /// The message that was waited for, and the sending from which it counts. One that arrived
    /// during an earlier phase or step was not waited for here, so it has no phase of its own; the
    /// value does not depend on that.
    pub(super) fn message(&mut self, since: MonoNanos, arrived: MonoNanos) {
        if arrived > self.cursor {
            self.phase(Phase::Message, since, arrived);
        }
        self.result.message_latency_ns = Some(nanos(arrived.since(since)));
    }

    /// The measured value, where it is neither a message's nor the length of phases.
    pub(super) fn value(&mut self, value: Duration) {
        self.result.message_latency_ns = Some(nanos(value));
    }

    /// Ends the step: one that passed with its last phase, so that checking and capturing are not
    /// part of it; one that failed now.
    pub(super) fn finish(mut self, failure: Option<Failure>) -> StepResult {
        let ended = if failure.is_none() { self.cursor } else { self.clock.monotonic() };
        if !self.held.is_zero() {
            self.attribute("limit.waited_ns", self.held);
        }
        self.result.duration_ns = nanos(ended.since(self.started));
        self.result.failure = failure;
        self.result
    }
}

#[cfg(test)]
mod tests {
    use super::super::failure::failure;
    use super::*;
    use crate::base::clock::UnixNanos;
    use crate::model::probe::FailureReason;

    /// Guarantees that phases neither overlap nor run backwards, whatever stamps they get.
    #[test]
    fn phases_lie_end_to_end() {
        let clock = Clock::manual(UnixNanos(0));
        clock.advance(Duration::from_nanos(100));
        let mut record = StepRecord::begin(&clock, MonoNanos(40), "1", [1; 8]);
        record.phase(Phase::Send, MonoNanos(110), MonoNanos(130));
        record.phase(Phase::Wait, MonoNanos(90), MonoNanos(170));
        record.phase(Phase::Message, MonoNanos(50), MonoNanos(60));
        clock.advance(Duration::from_nanos(100));
        let result = record.finish(Some(failure(FailureReason::Lost, "x")));
        let spans: Vec<_> = result.phases.iter().map(|p| (p.offset_ns, p.duration_ns)).collect();
        assert_eq!(spans, [(70, 20), (90, 40), (130, 0)]);
        assert_eq!((result.offset_ns, result.duration_ns), (60, 100));
    }
}
