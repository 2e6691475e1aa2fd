//! The steps of a run, in order, with what they share: open streams, captured values, one deadline.
//!
//! The first failure ends the journey; clean-up steps run all the same, within a limit of their own.

use super::deadline::Deadline;
use super::dial::StepContext;
use super::expect::{self, Since};
use super::failure::{Attempt, failure, quote};
use super::marking::Mark;
use super::record::StepRecord;
use super::runner::Context;
use super::spec::{Action, Expect, ProbeSpec, SseStep, Step, WebSocketStep};
use super::stream::OpenStream;
use super::template::Variables;
use super::{http, sse, websocket};
use crate::base::clock::{MonoNanos, UnixNanos};
use crate::model::probe::{Failure, FailureReason, Phase, RunId, StepResult};
use bytes::Bytes;
use std::collections::HashMap;
use std::time::Duration;

/// So long may the clean-up steps of a run take, together.
pub const CLEANUP_TIMEOUT: Duration = Duration::from_secs(5);

/// What a journey came to.
pub(super) struct Journey {
    /// Steps that ran, clean-up included.
    pub steps: Vec<StepResult>,
    /// What ended it early.
    pub failure: Option<Failure>,
    /// The value of the last message step.
    pub message_latency_ns: Option<u64>,
}

/// What steps leave to those after them.
struct Baggage {
    variables: Variables,
    streams: Vec<OpenStream>,
    sent: HashMap<String, MonoNanos>,
}

/// Runs the steps of a probe, then its clean-up.
pub(super) async fn travel(
    spec: &ProbeSpec,
    run: RunId,
    start: UnixNanos,
    started: MonoNanos,
    deadline: &Deadline,
    context: &Context,
) -> Journey {
    let traveller = Traveller { spec, run, started, context };
    let mut baggage = Baggage {
        variables: Variables::new(run, start),
        streams: Vec::new(),
        sent: HashMap::new(),
    };
    let mut journey = Journey { steps: Vec::new(), failure: None, message_latency_ns: None };
    for step in &spec.steps {
        let result = traveller.take(step, deadline, &mut baggage).await;
        journey.message_latency_ns = result.message_latency_ns.or(journey.message_latency_ns);
        journey.failure = result.failure.clone();
        journey.steps.push(result);
        if journey.failure.is_some() {
            break;
        }
    }
    if journey.failure.is_none() {
        journey.failure = traveller.farewells(deadline, &mut baggage, &mut journey.steps).await;
    }
    let limit = Deadline::new(&context.clock, context.clock.monotonic(), CLEANUP_TIMEOUT);
    for step in &spec.cleanup {
        journey.steps.push(traveller.take(step, &limit, &mut baggage).await);
    }
    for stream in &mut baggage.streams {
        websocket::hang_up(stream).await;
    }
    journey
}

#[derive(Clone, Copy)]
struct Traveller<'a> {
    spec: &'a ProbeSpec,
    run: RunId,
    started: MonoNanos,
    context: &'a Context,
}

impl Traveller<'_> {
    async fn take(self, step: &Step, deadline: &Deadline, baggage: &mut Baggage) -> StepResult {
        let span: [u8; 8] = rand::random();
        let mut record = StepRecord::begin(&self.context.clock, self.started, &step.name, span);
        let mark = Mark { run: self.run, span, probe: self.spec.name.clone() };
        let outcome = self.act(step, deadline, &mark, baggage, &mut record).await;
        if let Some(sent) = record.sent {
            let _ = baggage.sent.insert(step.name.clone(), sent);
        }
        let outcome = outcome.and_then(|body| capture(step, &body, &mut baggage.variables));
        record.finish(outcome.err())
    }

    async fn act(
        self,
        step: &Step,
        deadline: &Deadline,
        mark: &Mark,
        baggage: &mut Baggage,
        record: &mut StepRecord,
    ) -> Attempt<Bytes> {
        let Baggage { variables, streams, sent } = baggage;
        let with = StepContext { context: self.context, deadline, variables, mark };
        match &step.action {
            Action::Http(http) => {
                let sending = record.started();
                let body = http::run(http, with, record).await;
                let _ = record.sent.get_or_insert(sending);
                body
            }
            Action::WebSocket(websocket) => {
                let mut stream = websocket::open(websocket, &step.name, with, record).await?;
                let body = converse(websocket, &mut stream, sent, with, record).await;
                streams.push(stream);
                body
            }
            Action::Sse(sse) => {
                let stream = sse::open(sse, &step.name, with, record).await?;
                let body = listen(sse, &stream, sent, with, record).await;
                streams.push(stream);
                body
            }
            Action::Expect { on, expect } => {
                let stream = find(streams, on)?;
                record.talks("expect", stream.target.clone());
                let since = since(expect, sent, record.started(), false);
                expect::fulfil(expect, stream, since, with, record).await
            }
            Action::Send { on, send } => {
                let stream = find(streams, on)?;
                record.talks("send", stream.target.clone());
                let text = with.variables.fill(send)?;
                websocket::send(text, stream, with, record).await.map(|_| Bytes::new())
            }
        }
    }

    /// Waits for the close codes that the definition asks for.
    async fn farewells(
        self,
        deadline: &Deadline,
        baggage: &mut Baggage,
        steps: &mut [StepResult],
    ) -> Option<Failure> {
        for stream in &baggage.streams {
            let Some(wanted) = stream.close_code else { continue };
            let from = self.context.clock.monotonic();
            let ended = stream.inbox.until(deadline, |state| state.end.clone()).await;
            let found = match &ended {
                Ok(end) if end.code == Some(wanted) => Ok(()),
                Ok(end) => Err(failure(
                    FailureReason::Check,
                    format!("expected close code {wanted}, but {}", end.words),
                )),
                Err(_) => Err(deadline
                    .failure(format_args!("waiting for close code {wanted} of {}", stream.target))),
            };
            if let Some(step) = steps.iter_mut().find(|step| step.name == stream.step) {
                if let Ok(end) = &ended {
                    step.phases.push(crate::model::probe::PhaseTiming {
                        phase: Phase::Close,
                        offset_ns: crate::base::clock::nanos(from.since(self.started)),
                        duration_ns: crate::base::clock::nanos(end.at.since(from)),
                    });
                }
                step.failure = found.clone().err();
            }
            if let Err(failure) = found {
                return Some(failure);
            }
        }
        None
    }
}

async fn converse(
    step: &WebSocketStep,
    stream: &mut OpenStream,
    sent: &HashMap<String, MonoNanos>,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Bytes> {
    if step.ping {
        websocket::ping(step.expect.is_none(), stream, with, record).await?;
    }
    if let Some(text) = &step.send {
        let text = with.variables.fill(text)?;
        let _ = websocket::send(text, stream, with, record).await?;
    }
    let Some(expect) = &step.expect else { return Ok(Bytes::new()) };
    let own = record.sent.unwrap_or(stream.opened);
    let since = since(expect, sent, own, step.send.is_some());
    expect::fulfil(expect, stream, since, with, record).await
}

async fn listen(
    step: &SseStep,
    stream: &OpenStream,
    sent: &HashMap<String, MonoNanos>,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Bytes> {
    if step.first_event_within.is_some() || step.expect.is_some() {
        sse::first_event(step, stream, with, record).await?;
    }
    let Some(expect) = &step.expect else { return Ok(Bytes::new()) };
    expect::fulfil(expect, stream, since(expect, sent, stream.opened, false), with, record).await
}

/// From when a message counts: the sending of the step that `since` names, else `own`.
fn since(expect: &Expect, sent: &HashMap<String, MonoNanos>, own: MonoNanos, asked: bool) -> Since {
    match expect.since.as_ref().and_then(|step| sent.get(step)) {
        Some(from) => Since { from: *from, only_after: true },
        None => Since { from: own, only_after: asked },
    }
}

fn find<'a>(streams: &'a mut [OpenStream], step: &str) -> Attempt<&'a mut OpenStream> {
    streams.iter_mut().find(|stream| stream.step == step).ok_or_else(|| {
        failure(FailureReason::Local, format!("step `{}` opened no stream", quote(step)))
    })
}

fn capture(step: &Step, body: &Bytes, variables: &mut Variables) -> Attempt<()> {
    if step.capture.is_empty() {
        return Ok(());
    }
    let json: serde_json::Value = serde_json::from_slice(body).map_err(|error| {
        failure(
            FailureReason::Check,
            format!("nothing can be captured from what is not JSON: {error}"),
        )
    })?;
    for (name, pointer) in &step.capture {
        let value = json.pointer(pointer).ok_or_else(|| {
            failure(
                FailureReason::Check,
                format!("there is nothing at {pointer} to capture as {name}"),
            )
        })?;
        variables.capture(&step.name, name, value.clone());
    }
    Ok(())
}
