//! A stream that is opened in the first of several ways that works, as clients do it: WebSocket, else
//! server-sent events, else polling.

use super::deadline::Deadline;
use super::dial::StepContext;
use super::failure::{Attempt, failure};
use super::fanout::Opened;
use super::opening::{Sent, connect, open as open_way};
use super::record::StepRecord;
use super::spec::Action;
use super::stream::OpenStream;
use crate::base::clock::MonoNanos;
use crate::base::duration::humane;
use crate::model::probe::{Failure, FailureReason, Phase};
use std::time::Duration;

/// The ways, and how long each may take.
#[derive(Clone, Debug, PartialEq)]
pub struct FallbackStep {
    /// Each is given up after this; the last one has what the deadline leaves.
    pub each_within: Option<Duration>,
    /// Blocks that open a stream, the best first.
    pub streams: Vec<Action>,
}

/// Opens the first way that works, with all that its block asks for.
pub(super) async fn open(
    step: &FallbackStep,
    name: &str,
    sent: &Sent,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Opened {
    let began = record.now();
    let mut failed: Vec<Failure> = Vec::new();
    for (number, way) in step.streams.iter().enumerate() {
        let (from, mut own) = (record.now(), record.of_receiver());
        let deadline = step.deadline(number, from, with);
        let with = StepContext { deadline: &deadline, ..with };
        match open_way(name, way, sent, with, &mut own).await {
            (Some(stream), Ok(body)) => {
                note(way, began, from, &failed, record);
                record.adopt(own);
                return (Some(stream), Ok(body));
            }
            (_, done) => failed.extend(done.err().map(|failure| step.told(number, way, failure))),
        }
    }
    (None, Err(all_failed(failed)))
}

/// Opens the first way that works, and does nothing over it.
///
/// # Errors
/// What went wrong with each, when none works.
pub(super) async fn reopen(
    step: &FallbackStep,
    name: &str,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<OpenStream> {
    let began = record.now();
    let mut failed: Vec<Failure> = Vec::new();
    for (number, way) in step.streams.iter().enumerate() {
        let (from, mut own) = (record.now(), record.of_receiver());
        let deadline = step.deadline(number, from, with);
        let with = StepContext { deadline: &deadline, ..with };
        match connect(name, way, with, &mut own).await {
            Ok(stream) => {
                note(way, began, from, &failed, record);
                record.adopt(own);
                return Ok(stream);
            }
            Err(failure) => failed.push(step.told(number, way, failure)),
        }
    }
    Err(all_failed(failed))
}

/// Which way it was, and what the others cost.
fn note(
    way: &Action,
    began: MonoNanos,
    from: MonoNanos,
    failed: &[Failure],
    record: &mut StepRecord,
) {
    record.attribute("fallback.used", way.block());
    if failed.is_empty() {
        return;
    }
    record.phase(Phase::Fallback, began, from);
    for failure in failed {
        record.attribute("fallback.failed", failure.message.clone());
    }
}

fn all_failed(failed: Vec<Failure>) -> Failure {
    let reason = failed.last().map_or(FailureReason::Local, |failure| failure.reason);
    let words: Vec<String> = failed.into_iter().map(|failure| failure.message).collect();
    failure(reason, format!("no way to open the stream works: {}", words.join("; ")))
}

// === impl FallbackStep ===

impl FallbackStep {
    fn deadline(&self, number: usize, from: MonoNanos, with: StepContext<'_>) -> Deadline {
        let is_last = number + 1 == self.streams.len();
        match self.each_within.filter(|_| !is_last) {
            Some(within) => with.deadline.no_later_than(from.plus(within)),
            None => with.deadline.clone(),
        }
    }

    /// The failure of one way. A deadline of its own would be told as that of the run.
    fn told(&self, number: usize, way: &Action, failed: Failure) -> Failure {
        let is_last = number + 1 == self.streams.len();
        match self.each_within {
            Some(within) if failed.reason == FailureReason::Timeout && !is_last => {
                let words = format!("{}: not within {}", way.block(), humane(within));
                failure(FailureReason::Timeout, words)
            }
            _ => failure(failed.reason, format!("{}: {}", way.block(), failed.message)),
        }
    }
}
