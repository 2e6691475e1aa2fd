//! The steps of a run, in order: what they share, and what becomes of it at the end.
//!
//! The first step that fails ends the journey. Streams stay open to its end; where a definition
//! names the close code of one, its end is then waited for. Steps that clean up run in any case,
//! under a deadline of their own, and do not change the verdict.

use super::deadline::Deadline;
use super::dial::StepContext;
use super::expect::{Since, fulfil};
use super::failure::{Attempt, failure};
use super::fanout;
use super::marking::Mark;
use super::network::RunNetwork;
use super::opening::{open_step, since};
use super::record::StepRecord;
use super::runner::Context;
use super::spec::{Action, ProbeSpec, Repeat, Step};
use super::stamps;
use super::stream::{Findings, OpenStream};
use super::template::{Variables, wanting};
use super::{grpc, http, ledger, stream, stun, tcp, tls_handshake, turn, udp};
use super::{heartbeat, outage, reconnect};
use crate::base::clock::{MonoNanos, UnixNanos, nanos};
use crate::model::probe::{
    CheckResult, Failure, FailureReason, Phase, PhaseTiming, RunId, StepResult,
};
use bytes::Bytes;
use futures::future::join_all;
use serde_json::Value;
use std::sync::Arc;
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
    network: Option<Arc<RunNetwork>>,
    streams: Vec<OpenStream>,
    /// When each step sent what it sends.
    sent: Vec<(String, MonoNanos)>,
    steps: Vec<StepResult>,
    /// How long our own limits held its messages back.
    held: Duration,
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
            variables: Variables::new(id, start).with_target(spec.targets.target()),
            network: network
                .map(|network| Arc::new(RunNetwork::new(network, id, &context.clock, started))),
            streams: Vec::new(),
            sent: Vec::new(),
            steps: Vec::new(),
            held: Duration::ZERO,
        }
    }

    /// A run of an earlier life, to be cleaned up after. Of what it knew, only its id is known.
    pub(super) fn earlier(spec: &'a ProbeSpec, context: &'a Context, id: RunId) -> Self {
        let (started, start) = (context.clock.monotonic(), context.clock.wall());
        let variables = Variables::of_earlier(id).with_target(spec.targets.target());
        Self { variables, network: None, ..Self::new(spec, context, id, started, start) }
    }

    /// Takes the steps until one fails, then waits for the streams that must end.
    pub(super) async fn run(&mut self, deadline: &Deadline) -> Option<Failure> {
        for step in &self.spec.steps {
            if let Some(failure) = self.take_step(step, deadline).await {
                return Some(failure);
            }
        }
        let failure = self.await_closes(deadline).await;
        failure.or_else(|| self.judge_streams())
    }

    /// The results so far.
    pub(super) fn steps(&self) -> &[StepResult] {
        &self.steps
    }

    /// How long our own limits held messages back so far.
    pub(super) const fn held(&self) -> Duration {
        self.held
    }

    /// Takes the steps that clean up, whatever happened before and among them.
    pub(super) async fn clean_up(&mut self) {
        let clock = &self.context.clock;
        let deadline = Deadline::new(clock, clock.monotonic(), CLEANUP_TIMEOUT);
        for step in &self.spec.cleanup {
            self.clean_up_by(step, &deadline).await;
        }
    }

    /// Takes the steps that clean up after a run of an earlier life, as far as its id is all that they need.
    pub(super) async fn clean_up_late(mut self) {
        let clock = &self.context.clock;
        let deadline = Deadline::new(clock, clock.monotonic(), CLEANUP_TIMEOUT);
        for step in &self.spec.cleanup {
            if let Some(variable) = wanting(step, &self.variables) {
                let (probe, run) = (self.spec.name.as_str(), self.id.to_hex());
                let step = step.name.as_str();
                tracing::warn!(
                    probe,
                    run,
                    step,
                    variable,
                    "a clean-up step is left out: after a kill nobody knows what the run had captured"
                );
                continue;
            }
            self.clean_up_by(step, &deadline).await;
        }
        drop(self.hang_up(false).await);
    }

    async fn clean_up_by(&mut self, step: &Step, deadline: &Deadline) {
        if let Some(failure) = self.take_step(step, deadline).await {
            let probe = self.spec.name.as_str();
            tracing::warn!(probe, step = step.name, failure.message, "clean-up step failed");
        }
        // The phases of a run are those of its steps; cleaning up would distort their sums.
        if let Some(result) = self.steps.last_mut() {
            result.phases.clear();
        }
    }

    /// Ends the streams politely and hands back the results of all steps. Where the run passed, streams
    /// that are to be held stay open.
    pub(super) async fn hang_up(mut self, passed: bool) -> Vec<StepResult> {
        self.note_messages();
        if let (true, Some(held)) = (passed, &self.context.held) {
            for step in &self.spec.steps {
                let Some(hold) = step.hold else { continue };
                let own = self.streams.extract_if(.., |stream| stream.step == step.name).collect();
                held.hold(self.spec, step, hold, own);
            }
        }
        drop(join_all(self.streams.iter_mut().map(stream::hang_up)).await);
        let sent = self.own_messages();
        for (step, findings) in findings(&self.streams, &sent) {
            let result = self.steps.iter_mut().find(|result| result.name == step);
            if let Some(result) = result {
                result.attributes.extend(findings.attributes);
            }
        }
        // Only now: streams went on to deliver after the steps that opened them.
        if let Some(network) = &self.network {
            network.describe(&mut self.steps);
        }
        self.steps
    }

    /// Tells of what came over the streams that steps opened.
    fn note_messages(&mut self) {
        for result in &mut self.steps {
            let mut own =
                self.streams.iter().filter(|stream| stream.step == result.name).peekable();
            if own.peek().is_some() {
                result.messages = stamps::of_streams(own, self.started);
            }
        }
    }

    async fn take_step(&mut self, step: &Step, deadline: &Deadline) -> Option<Failure> {
        let span = rand::random();
        let mark = Mark { run: self.id, span, probe: self.spec.name.clone() };
        let mut record = StepRecord::begin(&self.context.clock, self.started, &step.name, span);
        let done = self.act(step, deadline, &mark, &mut record).await;
        self.held += record.held;
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
        let dialling = spec.addresses;
        let with = StepContext { context, deadline, variables, mark, writes, dialling, network };
        match &step.action {
            Action::Http(http) => http::run(http, with, record).await.map(Some),
            action if action.opens_stream() => {
                open_step(step, &spec.name, streams, sent, with, record).await
            }
            Action::Dns(step) => super::dns::run(step, with, record).await,
            Action::Icmp(step) => super::icmp::run(step, with, record).await.map(|()| None),
            Action::Exec(step) => super::exec::run(step, with, record).await,
            Action::Tcp(tcp) => tcp::run(tcp, with, record).await,
            Action::Tls(tls) => tls_handshake::run(tls, with, record).await,
            Action::Udp(udp) => udp::run(udp, with, record).await,
            Action::Stun(stun) => stun::run(stun, with, record).await,
            Action::Turn(turn) => turn::run(turn, with, record).await,
            Action::Grpc(grpc) => grpc::run(grpc, with, record).await,
            Action::Expect { on, expect } => {
                let receivers = receivers(streams, on)?;
                match (receivers.as_slice(), since(expect, sent)?) {
                    ([stream], since) => {
                        record.talks("expect", stream.target.to_string());
                        let since = since.unwrap_or(Since::LastSent);
                        fulfil(expect, stream, since, with, record).await.map(Some)
                    }
                    (many, Some(Since::Sent(since))) => {
                        record.talks("expect", format!("{} receivers", many.len()));
                        fanout::expect_all(expect, many, since, with, record).await.map(Some)
                    }
                    _ => Err(failure(FailureReason::Local, "many receivers need `since`")),
                }
            }
            Action::Send { on, send, repeat } => {
                let stream = find(streams, on)?;
                record.talks(stream.protocol, stream.target.to_string());
                send_all(send, *repeat, stream, with, record).await.map(|()| None)
            }
            Action::Ledger { on, ledger } => {
                let stream = find(streams, on)?;
                record.talks("ledger", stream.target.to_string());
                ledger::run(ledger, stream, with, record).await.map(|()| None)
            }
            Action::Heartbeat { on, heartbeat } => {
                let stream = find(streams, on)?;
                record.talks("heartbeat", stream.target.to_string());
                heartbeat::run(heartbeat, stream, with, record).await.map(|()| None)
            }
            Action::Drop { on, drop } => {
                let stream = find(streams, on)?;
                record.talks("drop", stream.target.to_string());
                outage::run(drop, stream, with, record).await.map(|()| None)
            }
            Action::Reconnect { on, reconnect } => {
                let stream = find(streams, on)?;
                let opened_by = spec.steps.iter().find(|step| step.name == *on);
                let action = opened_by.map(|step| &step.action).ok_or_else(|| no_stream(on))?;
                reconnect::run(reconnect, action, stream, with, record).await.map(|()| None)
            }
            _ => Err(failure(FailureReason::Local, "this step cannot be taken")),
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

    /// Checks what must hold of streams as a whole, as far as they were read.
    fn judge_streams(&mut self) -> Option<Failure> {
        let sent = self.own_messages();
        for (step, findings) in findings(&self.streams, &sent) {
            let result = self.steps.iter_mut().find(|result| result.name == step);
            let (Some(result), Some((name, found))) = (result, findings.check) else { continue };
            let found = found.err();
            let wrong = found.as_ref().map(|found| {
                let text = format!("expected that over {} {name}, but {found}", result.target);
                failure(FailureReason::Check, text)
            });
            result.checks.push(CheckResult { name, passed: found.is_none(), found });
            result.failure.clone_from(&wrong);
            if wrong.is_some() {
                return wrong;
            }
        }
        None
    }

    /// When the run sent its messages, in order: over streams, and with HTTP requests that change
    /// something.
    fn own_messages(&self) -> Vec<MonoNanos> {
        let publishes = |name: &str| {
            let step = self.spec.steps.iter().find(|step| step.name == name);
            let action = step.map(|step| &step.action);
            matches!(action, Some(Action::Http(http)) if !matches!(&*http.method, "GET" | "HEAD"))
        };
        let requests = self.sent.iter().filter(|(name, _)| publishes(name)).map(|(_, at)| *at);
        let mut sent: Vec<MonoNanos> = requests.collect();
        sent.extend(self.streams.iter().flat_map(|stream| &stream.sent));
        sent.sort_unstable();
        sent
    }

    async fn await_closes(&mut self, deadline: &Deadline) -> Option<Failure> {
        for streams in self.streams.chunk_by(|one, next| one.step == next.step) {
            let Some(first) = streams.first() else { continue };
            let Some(code) = first.close_code else { continue };
            let name = match streams.len() {
                1 => format!("the server closes with code {code}"),
                many => format!("the server closes all {many} receivers with code {code}"),
            };
            let from = self.context.clock.monotonic();
            let (mut last, mut verdict) = (None, Ok(()));
            for stream in streams {
                let (at, closed) = await_close(stream, code, &name, deadline).await;
                last = last.max(at);
                verdict = verdict.and(closed);
                if verdict.is_err() {
                    break;
                }
            }
            let result = self.steps.iter_mut().find(|result| result.name == first.step);
            let Some(result) = result else { continue };
            if let Some(failure) = note_close(result, name, last, verdict, from, self.started) {
                return Some(failure);
            }
        }
        None
    }
}

/// What the readers of streams noticed, by the step that opened them; `sent` is when the run sent its
/// messages.
fn findings<'s>(streams: &'s [OpenStream], sent: &[MonoNanos]) -> Vec<(&'s str, Findings)> {
    let mut found: Vec<(&str, Findings)> = Vec::new();
    for stream in streams {
        let Some(outlet) = &stream.outlet else { continue };
        let mut own = outlet.findings_beside(sent);
        if let (Some((_, Err(words))), number @ 1..) = (&mut own.check, stream.receiver) {
            *words = format!("of receiver {number}: {words}");
        }
        match found.iter_mut().find(|(step, _)| *step == stream.step) {
            Some((_, sum)) => sum.add(own),
            None => found.push((&stream.step, own)),
        }
    }
    found
}

/// Waits until a stream has ended: when it did, and whether with this code.
async fn await_close(
    stream: &OpenStream,
    code: u16,
    name: &str,
    deadline: &Deadline,
) -> (Option<MonoNanos>, Attempt<()>) {
    let Ok(end) = stream.inbox.until(deadline, |state| state.end.clone()).await else {
        let doing = format!("waiting for the server to close {}", stream.target);
        return (None, Err(deadline.failure(doing)));
    };
    if end.code == Some(code) {
        return (Some(end.at), Ok(()));
    }
    let reason = if end.code.is_some() { FailureReason::Check } else { end.reason };
    let whose = match stream.receiver {
        0 => String::new(),
        number => format!("of receiver {number}: "),
    };
    let words = format!("expected that {name}, but {whose}{}", end.words);
    (Some(end.at), Err(failure(reason, words)))
}

/// Adds how the streams of a step ended to its result; `ended` is when the last of them did.
fn note_close(
    result: &mut StepResult,
    name: String,
    ended: Option<MonoNanos>,
    verdict: Attempt<()>,
    from: MonoNanos,
    run_started: MonoNanos,
) -> Option<Failure> {
    if let Some(at) = ended {
        let (offset_ns, length) = (nanos(from.since(run_started)), nanos(at.since(from)));
        result.phases.push(PhaseTiming { phase: Phase::Close, offset_ns, duration_ns: length });
        result.duration_ns = (offset_ns + length).saturating_sub(result.offset_ns);
    }
    let found = verdict.as_ref().err().map(|failure| failure.message.clone());
    result.checks.push(CheckResult { name, passed: found.is_none(), found });
    result.failure = verdict.err();
    result.failure.clone()
}

fn find<'s>(streams: &'s mut [OpenStream], on: &str) -> Attempt<&'s mut OpenStream> {
    let found = streams.iter_mut().rev().find(|stream| stream.step == on);
    found.ok_or_else(|| no_stream(on))
}

/// The streams that these steps opened.
fn receivers<'s>(streams: &'s [OpenStream], on: &[String]) -> Attempt<Vec<&'s OpenStream>> {
    if let Some(on) = on.iter().find(|on| !streams.iter().any(|stream| stream.step == **on)) {
        return Err(no_stream(on));
    }
    Ok(streams.iter().filter(|stream| on.contains(&stream.step)).collect())
}

fn no_stream(on: &str) -> Failure {
    failure(FailureReason::Local, format!("no step `{on}` has opened a stream"))
}

/// Sends a message as often as it is to be sent, each at its own time.
async fn send_all(
    text: &str,
    repeat: Repeat,
    stream: &mut OpenStream,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<()> {
    if repeat.count == 1 {
        let text = with.variables.fill(text)?;
        return stream::send(text, stream, with, record).await.map(drop);
    }
    let began = record.now();
    let (mut first, mut last) = (None, began);
    for number in 1..=repeat.count {
        let due = began.plus(repeat.gap.saturating_mul(number - 1));
        // Not reached is what is hoped for: the deadline is only the time to wait until.
        let _ = with.deadline.no_later_than(due).limit(std::future::pending::<()>()).await;
        if with.deadline.has_passed() {
            let doing =
                format!("sending message {number} of {} over {}", repeat.count, stream.target);
            return Err(with.deadline.failure(doing));
        }
        let text = with.variables.numbered(number).fill(text)?;
        let sending = stream::transmit(text, stream, with, record).await?;
        record.sent = Some(*first.get_or_insert(sending.from));
        last = sending.confirmed.unwrap_or(sending.written);
    }
    // One phase for all: each of them a span would be more than anybody reads or a collector takes.
    record.phase(Phase::Send, first.unwrap_or(began), last);
    record.attribute("send.messages", repeat.count);
    Ok(())
}
