//! The steps of a run, in order: what they share, and what becomes of it at the end.
//!
//! The first step that fails ends the journey. Streams stay open to its end; where a definition
//! names the close code of one, its end is then waited for. Steps that clean up run in any case,
//! under a deadline of their own, and do not change the verdict.

use super::deadline::Deadline;
use super::dial::StepContext;
use super::expect::{Since, fulfil};
use super::failure::{Attempt, failure};
use super::marking::Mark;
use super::network::RunNetwork;
use super::record::StepRecord;
use super::runner::Context;
use super::spec::{Action, Expect, ProbeSpec, SseStep, Step, WebSocketStep};
use super::stream::{OpenStream, StreamEnd};
use super::template::Variables;
use super::{http, sse, stream, websocket};
use crate::base::clock::{MonoNanos, UnixNanos, nanos};
use crate::model::probe::{
    CheckResult, Failure, FailureReason, Phase, PhaseTiming, RunId, StepResult,
};
use bytes::Bytes;
use futures::future::join_all;
use serde_json::Value;
use std::time::Duration;

/// What the steps that clean up may take together, after the run.
pub const CLEANUP_TIMEOUT: Duration = Duration::from_secs(5);

/// A run under way.
#[derive(Debug)]
pub(super) struct Journey<'a> {
    spec: &'a ProbeSpec,
    context: &'a Context,
    id: RunId,
    started: MonoNanos,
    variables: Variables,
    /// The emulated network of this run.
    network: Option<RunNetwork>,
    streams: Vec<OpenStream>,
    /// When each step sent what it sends.
    sent: Vec<(String, MonoNanos)>,
    steps: Vec<StepResult>,
}

impl<'a> Journey<'a> {
    /// A run that begins now; `start` is the same instant on the wall.
    pub(super) fn new(
        spec: &'a ProbeSpec,
        context: &'a Context,
        id: RunId,
        started: MonoNanos,
        start: UnixNanos,
    ) -> Self {
        let network = spec.network.as_ref();
        Self {
            spec,
            context,
            id,
            started,
            variables: Variables::new(id, start),
            network: network.map(|network| RunNetwork::new(network, id, &context.clock, started)),
            streams: Vec::new(),
            sent: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// Takes the steps until one fails, then waits for the streams that must end.
    pub(super) async fn run(&mut self, deadline: &Deadline) -> Option<Failure> {
        for step in &self.spec.steps {
            if let Some(failure) = self.take_step(step, deadline).await {
                return Some(failure);
            }
        }
        self.await_closes(deadline).await
    }

    /// The results so far.
    pub(super) fn steps(&self) -> &[StepResult] {
        &self.steps
    }

    /// Takes the steps that clean up, whatever happened before and among them.
    pub(super) async fn clean_up(&mut self) {
        let clock = &self.context.clock;
        let deadline = Deadline::new(clock, clock.monotonic(), CLEANUP_TIMEOUT);
        for step in &self.spec.cleanup {
            if let Some(failure) = self.take_step(step, &deadline).await {
                let probe = self.spec.name.as_str();
                tracing::warn!(probe, step = step.name, failure.message, "clean-up step failed");
            }
            // The phases of a run are those of its steps; cleaning up would distort their sums.
            if let Some(result) = self.steps.last_mut() {
                result.phases.clear();
            }
        }
    }

    /// Ends the streams politely and hands back the results of all steps.
    pub(super) async fn hang_up(mut self) -> Vec<StepResult> {
        drop(join_all(self.streams.iter_mut().map(stream::hang_up)).await);
        // Only now: streams went on to deliver after the steps that opened them.
        if let Some(network) = &self.network {
            network.describe(&mut self.steps);
        }
        self.steps
    }

    async fn take_step(&mut self, step: &Step, deadline: &Deadline) -> Option<Failure> {
        let span = rand::random();
        let mark = Mark { run: self.id, span, probe: self.spec.name.clone() };
        let mut record = StepRecord::begin(&self.context.clock, self.started, &step.name, span);
        let done = self.act(step, deadline, &mark, &mut record).await;
        self.sent.extend(record.sent.map(|at| (step.name.clone(), at)));
        let failure = done.and_then(|body| self.capture(step, body.as_deref())).err();
        self.steps.push(record.finish(failure.clone()));
        failure
    }

    /// Does what the step does; hands back what values may be captured from.
    async fn act(
        &mut self,
        step: &Step,
        deadline: &Deadline,
        mark: &Mark,
        record: &mut StepRecord,
    ) -> Attempt<Option<Bytes>> {
        let Self { spec, context, variables, network, streams, sent, .. } = self;
        let (writes, network) = (&*spec.writes, network.as_ref());
        let with = StepContext { context, deadline, variables, mark, writes, network };
        match &step.action {
            Action::Http(http) => http::run(http, with, record).await.map(Some),
            Action::WebSocket(websocket) => {
                let stream = websocket::open(websocket, &step.name, with, record).await?;
                talk(websocket, keep(streams, stream), sent, with, record).await
            }
            Action::Sse(sse) => {
                let stream = sse::open(sse, &step.name, with, record).await?;
                listen(sse, keep(streams, stream), sent, with, record).await
            }
            Action::Expect { on, expect } => {
                let stream = find(streams, on)?;
                record.talks("expect", stream.target.to_string());
                let since = since(expect, sent)?.unwrap_or(Since::LastSent);
                fulfil(expect, stream, since, with, record).await.map(Some)
            }
            Action::Send { on, send } => {
                let stream = find(streams, on)?;
                record.talks(stream.protocol, stream.target.to_string());
                stream::send(variables.fill(send)?, stream, with, record).await?;
                Ok(None)
            }
        }
    }

    fn capture(&mut self, step: &Step, body: Option<&[u8]>) -> Attempt<()> {
        if step.capture.is_empty() {
            return Ok(());
        }
        let missing = |what: &str| failure(FailureReason::Check, what);
        let body = body.ok_or_else(|| missing("there is no answer to capture values from"))?;
        let json: Value = serde_json::from_slice(body)
            .map_err(|_| missing("values cannot be captured: the answer is not JSON"))?;
        for (name, pointer) in &step.capture {
            let value = json.pointer(pointer).ok_or_else(|| {
                missing(&format!("`{name}` cannot be captured: nothing at {pointer}"))
            })?;
            self.variables.capture(&step.name, name, value.clone());
        }
        Ok(())
    }

    async fn await_closes(&mut self, deadline: &Deadline) -> Option<Failure> {
        for stream in &self.streams {
            let Some(code) = stream.close_code else { continue };
            let from = self.context.clock.monotonic();
            let ended = stream.inbox.until(deadline, |state| state.end.clone()).await;
            let target = &stream.target;
            let verdict = ended.map_err(|_| {
                deadline.failure(format_args!("waiting for the server to close {target}"))
            });
            let result = self.steps.iter_mut().find(|result| result.name == stream.step);
            let Some(result) = result else { continue };
            if let Some(failure) = note_close(result, code, verdict, from, self.started) {
                return Some(failure);
            }
        }
        None
    }
}

/// Adds how a stream ended to the result of the step that opened it.
fn note_close(
    result: &mut StepResult,
    code: u16,
    ended: Attempt<StreamEnd>,
    from: MonoNanos,
    run_started: MonoNanos,
) -> Option<Failure> {
    let name = format!("the server closes with code {code}");
    let verdict = ended.and_then(|end| {
        let (offset_ns, length) = (nanos(from.since(run_started)), nanos(end.at.since(from)));
        result.phases.push(PhaseTiming { phase: Phase::Close, offset_ns, duration_ns: length });
        result.duration_ns = (offset_ns + length).saturating_sub(result.offset_ns);
        let reason = if end.code.is_some() { FailureReason::Check } else { end.reason };
        let words = format!("expected that {name}, but {}", end.words);
        if end.code == Some(code) { Ok(()) } else { Err(failure(reason, words)) }
    });
    let found = verdict.as_ref().err().map(|failure| failure.message.clone());
    result.checks.push(CheckResult { name, passed: found.is_none(), found });
    result.failure = verdict.err();
    result.failure.clone()
}

fn keep(streams: &mut Vec<OpenStream>, stream: OpenStream) -> &mut OpenStream {
    let at = streams.len();
    streams.insert(at, stream);
    streams.last_mut().expect("one was inserted in the line above")
}

fn find<'s>(streams: &'s mut [OpenStream], on: &str) -> Attempt<&'s mut OpenStream> {
    streams
        .iter_mut()
        .rev()
        .find(|stream| stream.step == on)
        .ok_or_else(|| failure(FailureReason::Local, format!("no step `{on}` has opened a stream")))
}

/// From when the definition counts; none when it leaves that to the step.
fn since(expect: &Expect, sent: &[(String, MonoNanos)]) -> Attempt<Option<Since>> {
    let Some(step) = &expect.since else { return Ok(None) };
    let found = sent.iter().rev().find(|(name, _)| name == step);
    let (_, from) = found.ok_or_else(|| {
        failure(FailureReason::Local, format!("the step `{step}` has not sent anything"))
    })?;
    Ok(Some(Since::Sent(*from)))
}

/// What a step does over the WebSocket that it opened.
async fn talk(
    step: &WebSocketStep,
    stream: &mut OpenStream,
    sent: &[(String, MonoNanos)],
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Option<Bytes>> {
    if step.ping {
        stream::ping(step.expect.is_none(), stream, with, record).await?;
    }
    let mut own = stream.asked;
    if let Some(text) = &step.send {
        own = stream::send(with.variables.fill(text)?, stream, with, record).await?;
    }
    let Some(expect) = &step.expect else { return Ok(None) };
    let since = since(expect, sent)?.unwrap_or(Since::Sent(own));
    fulfil(expect, stream, since, with, record).await.map(Some)
}

/// What a step waits for on the event stream that it opened.
async fn listen(
    step: &SseStep,
    stream: &OpenStream,
    sent: &[(String, MonoNanos)],
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Option<Bytes>> {
    if step.first_event_within.is_some() || step.expect.is_some() {
        sse::first_event(step, stream, with, record).await?;
    }
    let Some(expect) = &step.expect else { return Ok(None) };
    let since = since(expect, sent)?.unwrap_or(Since::Sent(stream.asked));
    fulfil(expect, stream, since, with, record).await.map(Some)
}
