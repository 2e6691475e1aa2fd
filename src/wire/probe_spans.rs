//! A probe run as a tree of OTLP spans, and back: the run, its steps, their phases.
//!
//! This is the only form in which a run is journaled, folded, kept as evidence and exported, so a
//! remote agent needs no protocol of its own. Checks are events of their step's span, and so are the
//! messages of a stream, of the step that opened it; after the first [`MAX_STAMPS`] they are only counted.

use super::attributes::{
    boolean, find, find_integer, find_text, integer, read_scalar, scalar, text,
};
use super::otlp::{
    Event, ExportTraceServiceRequest, InstrumentationScope, KeyValue, Resource, ResourceSpans,
    ScopeSpans, Span, SpanKind, Status, StatusCode, Value,
};
use super::semconv::{self, probe as key};
use crate::base::clock::UnixNanos;
use crate::model::attribute::Attribute;
use crate::model::labels::Labels;
use crate::model::probe::{
    CheckResult, Failure, FailureReason, MessageStamp, Messages, Outcome, Phase, PhaseTiming,
    ProbeRun, RunId, StepResult,
};

/// The scope under which runs are sent; tells a run from other spans of the daemon.
pub const SCOPE: &str = "radiosonde.probe";

/// Of a step, no more messages have an event: runs are kept by the hundred.
pub const MAX_STAMPS: usize = 100;

/// Where the status of a step may stand: of every protocol it once was an HTTP status.
const STATUS_KEYS: [&str; 3] =
    [key::STEP_STATUS, semconv::RPC_GRPC_STATUS_CODE, semconv::HTTP_RESPONSE_STATUS_CODE];

/// The run as one OTLP request.
#[must_use]
pub fn encode(run: &ProbeRun) -> ExportTraceServiceRequest {
    let mut spans = vec![root_span(run)];
    for step in &run.steps {
        spans.push(step_span(run, step));
        spans.extend(
            step.phases.iter().enumerate().map(|(at, phase)| phase_span(run, step, at, *phase)),
        );
    }
    let resource = Resource {
        attributes: vec![
            text(semconv::SERVICE_NAME, "radiosonde"),
            text(semconv::SERVICE_VERSION, env!("CARGO_PKG_VERSION")),
        ],
        ..Resource::default()
    };
    let scope = InstrumentationScope { name: SCOPE.to_owned(), ..InstrumentationScope::default() };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }],
    }
}

/// The runs that a request holds, in order. Spans without their run are left out.
#[must_use]
pub fn decode(request: &ExportTraceServiceRequest) -> Vec<ProbeRun> {
    let spans: Vec<&Span> = request
        .resource_spans
        .iter()
        .flat_map(|resource| &resource.scope_spans)
        .filter(|scope| scope.scope.as_ref().is_some_and(|s| s.name == SCOPE))
        .flat_map(|scope| &scope.spans)
        .collect();
    spans
        .iter()
        .filter(|span| span.parent_span_id.is_empty())
        .filter_map(|root| read_root(root, &spans))
        .collect()
}

/// The span id of a run: the first half of its trace id, inverted, so that it is never a step's.
#[must_use]
pub fn root_span_id(id: RunId) -> [u8; 8] {
    let mut span = [0_u8; 8];
    span.iter_mut().zip(id.0).for_each(|(to, from)| *to = !from);
    span
}

// === writing ===

fn root_span(run: &ProbeRun) -> Span {
    let mut attributes = vec![
        text(key::NAME, &run.probe),
        text(key::OUTCOME, run.outcome.as_str()),
        integer(key::INTENDED_START, run.intended_start.0),
        integer(key::UNCERTAINTY, run.uncertainty_ns),
        text(semconv::SYNTHETIC_TYPE, "test"),
    ];
    attributes.extend(run.latency_ns.map(|ns| integer(key::LATENCY, ns)));
    attributes.extend(
        run.labels.iter().map(|(name, value)| text(&format!("{}{name}", key::LABEL_PREFIX), value)),
    );
    attributes.extend(failure_attributes(run.failure.as_ref()));
    Span {
        trace_id: run.id.0.to_vec(),
        span_id: root_span_id(run.id).to_vec(),
        name: run.probe.clone(),
        kind: SpanKind::Internal.into(),
        start_time_unix_nano: run.started().0,
        end_time_unix_nano: run.ended().0,
        status: Some(status(run.succeeded(), run.failure.as_ref())),
        attributes,
        ..Span::default()
    }
}

fn step_span(run: &ProbeRun, step: &StepResult) -> Span {
    let started = run.started().0 + step.offset_ns;
    let mut attributes = vec![
        text(key::STEP, &step.name),
        text(key::STEP_PROTOCOL, &step.protocol),
        text(key::STEP_TARGET, &step.target),
    ];
    attributes.extend(step.status.map(|s| integer(status_key(&step.protocol), s.into())));
    attributes.extend(step.message_latency_ns.map(|ns| integer(key::STEP_MESSAGE_LATENCY, ns)));
    attributes.extend(failure_attributes(step.failure.as_ref()));
    attributes.extend(step.attributes.iter().map(|(name, value)| scalar(name, value)));
    let omitted =
        step.messages.omitted + step.messages.stamps.len().saturating_sub(MAX_STAMPS) as u64;
    if omitted > 0 {
        attributes.push(integer(key::STEP_MESSAGES_OMITTED, omitted));
    }
    let stamps = step.messages.stamps.iter().take(MAX_STAMPS);
    Span {
        trace_id: run.id.0.to_vec(),
        span_id: step.span_id.to_vec(),
        parent_span_id: root_span_id(run.id).to_vec(),
        name: format!("{} {}", step.protocol, step.name),
        kind: SpanKind::Client.into(),
        start_time_unix_nano: started,
        end_time_unix_nano: started + step.duration_ns,
        status: Some(status(step.failure.is_none(), step.failure.as_ref())),
        events: step
            .checks
            .iter()
            .map(|check| check_event(started, check))
            .chain(stamps.map(|stamp| message_event(run, *stamp)))
            .collect(),
        attributes,
        ..Span::default()
    }
}

/// Under which key a status goes: each protocol's own has a meaning that only its codes have.
fn status_key(protocol: &str) -> &'static str {
    match protocol {
        "http" | "websocket" | "sse" | "poll" => semconv::HTTP_RESPONSE_STATUS_CODE,
        "grpc" => semconv::RPC_GRPC_STATUS_CODE,
        _ => key::STEP_STATUS,
    }
}

fn phase_span(run: &ProbeRun, step: &StepResult, at: usize, timing: PhaseTiming) -> Span {
    let started = run.started().0 + timing.offset_ns;
    let mut id = step.span_id;
    // Unique within the step, and reproducible: evidence and export name the same span.
    if let Some(last) = id.last_mut() {
        *last = last.wrapping_add(at as u8).wrapping_add(1);
    }
    if let Some(first) = id.first_mut() {
        *first ^= 0x55;
    }
    Span {
        trace_id: run.id.0.to_vec(),
        span_id: id.to_vec(),
        parent_span_id: step.span_id.to_vec(),
        name: timing.phase.as_str().to_owned(),
        kind: SpanKind::Internal.into(),
        start_time_unix_nano: started,
        end_time_unix_nano: started + timing.duration_ns,
        attributes: vec![text(key::PHASE, timing.phase.as_str())],
        ..Span::default()
    }
}

fn check_event(at: u64, check: &CheckResult) -> Event {
    let mut attributes =
        vec![text(key::CHECK_NAME, &check.name), boolean(key::CHECK_PASSED, check.passed)];
    attributes.extend(check.found.as_ref().map(|found| text(key::CHECK_FOUND, found)));
    Event { time_unix_nano: at, name: key::CHECK_EVENT.to_owned(), attributes, ..Event::default() }
}

fn message_event(run: &ProbeRun, stamp: MessageStamp) -> Event {
    let mut attributes = vec![integer(key::MESSAGE_SIZE, stamp.size_bytes.into())];
    if stamp.receiver > 0 {
        attributes.push(integer(key::MESSAGE_RECEIVER, stamp.receiver.into()));
    }
    if stamp.matched {
        attributes.push(boolean(key::MESSAGE_MATCHED, true));
    }
    let time_unix_nano = run.started().0 + stamp.offset_ns;
    Event { time_unix_nano, name: key::MESSAGE_EVENT.to_owned(), attributes, ..Event::default() }
}

fn failure_attributes(failure: Option<&Failure>) -> Vec<KeyValue> {
    failure
        .map(|failure| {
            vec![
                text(key::FAILURE_REASON, failure.reason.as_str()),
                text(key::FAILURE_MESSAGE, &failure.message),
            ]
        })
        .unwrap_or_default()
}

fn status(ok: bool, failure: Option<&Failure>) -> Status {
    Status {
        code: if ok { StatusCode::Ok } else { StatusCode::Error }.into(),
        message: failure.map(|f| f.message.clone()).unwrap_or_default(),
    }
}

// === reading ===

fn read_root(root: &Span, spans: &[&Span]) -> Option<ProbeRun> {
    let attributes = &root.attributes;
    let intended = find_integer(attributes, key::INTENDED_START)?;
    let children = |parent: &[u8]| -> Vec<&Span> {
        spans
            .iter()
            .filter(|s| s.trace_id == root.trace_id && s.parent_span_id == parent)
            .copied()
            .collect()
    };
    let labels = attributes.iter().filter_map(|kv| {
        let name = kv.key.strip_prefix(key::LABEL_PREFIX)?;
        find_text(std::slice::from_ref(kv), &kv.key).map(|value| (name, value))
    });
    Some(ProbeRun {
        probe: find_text(attributes, key::NAME)?.to_owned(),
        labels: Labels::new(labels),
        id: RunId(root.trace_id.as_slice().try_into().ok()?),
        intended_start: UnixNanos(intended),
        lateness_ns: root.start_time_unix_nano.saturating_sub(intended),
        duration_ns: root.end_time_unix_nano.saturating_sub(root.start_time_unix_nano),
        latency_ns: find_integer(attributes, key::LATENCY),
        uncertainty_ns: find_integer(attributes, key::UNCERTAINTY).unwrap_or(0),
        outcome: find_text(attributes, key::OUTCOME).and_then(Outcome::from_name)?,
        failure: read_failure(attributes),
        steps: children(&root.span_id)
            .into_iter()
            .map(|step| read_step(root, step, &children(&step.span_id)))
            .collect(),
    })
}

fn read_step(root: &Span, step: &Span, phases: &[&Span]) -> StepResult {
    let attribute = |name| find_text(&step.attributes, name).unwrap_or_default().to_owned();
    let offset = |at: u64| at.saturating_sub(root.start_time_unix_nano);
    StepResult {
        name: attribute(key::STEP),
        protocol: attribute(key::STEP_PROTOCOL),
        target: attribute(key::STEP_TARGET),
        offset_ns: offset(step.start_time_unix_nano),
        duration_ns: step.end_time_unix_nano.saturating_sub(step.start_time_unix_nano),
        phases: phases
            .iter()
            .filter_map(|span| {
                Some(PhaseTiming {
                    phase: find_text(&span.attributes, key::PHASE).and_then(Phase::from_name)?,
                    offset_ns: offset(span.start_time_unix_nano),
                    duration_ns: span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano),
                })
            })
            .collect(),
        checks: step.events.iter().filter_map(read_check).collect(),
        message_latency_ns: find_integer(&step.attributes, key::STEP_MESSAGE_LATENCY),
        status: STATUS_KEYS
            .iter()
            .find_map(|key| find_integer(&step.attributes, key))
            .and_then(|status| status.try_into().ok()),
        attributes: step.attributes.iter().filter_map(found_out).collect(),
        messages: Messages {
            stamps: step.events.iter().filter_map(|event| read_message(root, event)).collect(),
            omitted: find_integer(&step.attributes, key::STEP_MESSAGES_OMITTED).unwrap_or(0),
        },
        failure: read_failure(&step.attributes),
        span_id: step.span_id.as_slice().try_into().unwrap_or_default(),
    }
}

/// An attribute that is not one of a step's own fields.
fn found_out(attribute: &KeyValue) -> Option<Attribute> {
    let name = attribute.key.as_str();
    if name.starts_with(key::PREFIX) || STATUS_KEYS.contains(&name) {
        return None;
    }
    Some((name.to_owned(), read_scalar(attribute)?))
}

fn read_check(event: &Event) -> Option<CheckResult> {
    (event.name == key::CHECK_EVENT).then(|| CheckResult {
        name: find_text(&event.attributes, key::CHECK_NAME).unwrap_or_default().to_owned(),
        passed: matches!(find(&event.attributes, key::CHECK_PASSED), Some(Value::BoolValue(true))),
        found: find_text(&event.attributes, key::CHECK_FOUND).map(str::to_owned),
    })
}

fn read_message(root: &Span, event: &Event) -> Option<MessageStamp> {
    let number = |key| find_integer(&event.attributes, key).and_then(|n| u32::try_from(n).ok());
    let matched = find(&event.attributes, key::MESSAGE_MATCHED);
    (event.name == key::MESSAGE_EVENT).then(|| MessageStamp {
        offset_ns: event.time_unix_nano.saturating_sub(root.start_time_unix_nano),
        size_bytes: number(key::MESSAGE_SIZE).unwrap_or(0),
        receiver: number(key::MESSAGE_RECEIVER).unwrap_or(0),
        matched: matches!(matched, Some(Value::BoolValue(true))),
    })
}

fn read_failure(attributes: &[KeyValue]) -> Option<Failure> {
    let reason = find_text(attributes, key::FAILURE_REASON).and_then(FailureReason::from_name)?;
    let message = find_text(attributes, key::FAILURE_MESSAGE).unwrap_or_default().to_owned();
    Some(Failure { reason, message })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::attribute::AttributeValue;

    /// A run with everything in it, for tests of several modules.
    pub(crate) fn sample_run() -> ProbeRun {
        ProbeRun {
            probe: "chat-echo".to_owned(),
            labels: Labels::new([("region", "eu-west")]),
            id: RunId([7; 16]),
            intended_start: UnixNanos::from_seconds(1_700_000_000),
            lateness_ns: 15_000,
            duration_ns: 5_000_000,
            latency_ns: Some(1_234_567),
            uncertainty_ns: 42,
            outcome: Outcome::Failure,
            failure: Some(Failure { reason: FailureReason::Late, message: "101 ms".to_owned() }),
            steps: vec![StepResult {
                name: "bob".to_owned(),
                protocol: "websocket".to_owned(),
                target: "ws://127.0.0.1:7070/chat".to_owned(),
                offset_ns: 10,
                duration_ns: 4_000_000,
                phases: vec![
                    PhaseTiming { phase: Phase::Connect, offset_ns: 20, duration_ns: 30 },
                    PhaseTiming { phase: Phase::Message, offset_ns: 60, duration_ns: 90 },
                ],
                checks: vec![CheckResult {
                    name: "json.type is echo".to_owned(),
                    passed: false,
                    found: Some("ping".to_owned()),
                }],
                message_latency_ns: Some(1_234_567),
                status: Some(101),
                attributes: vec![
                    ("tls.protocol.version".to_owned(), "1.3".into()),
                    ("fanout.first_ns".to_owned(), 1_500_u64.into()),
                    ("push.share".to_owned(), AttributeValue::Double(0.25)),
                    ("mqtt.session_present".to_owned(), true.into()),
                ],
                messages: Messages {
                    stamps: vec![
                        MessageStamp { offset_ns: 70, size_bytes: 12, receiver: 2, matched: false },
                        MessageStamp { offset_ns: 95, size_bytes: 40, receiver: 0, matched: true },
                    ],
                    omitted: 7,
                },
                failure: Some(Failure { reason: FailureReason::Late, message: "x".to_owned() }),
                span_id: [3; 8],
            }],
        }
    }

    /// Guarantees that no status passes for one of HTTP that is none, and that each is read back, from
    /// where earlier versions wrote it as well.
    #[test]
    fn a_status_goes_under_its_protocols_key() {
        let check = |protocol: &str, expected: &str| {
            let mut run = sample_run();
            run.steps[0].protocol = protocol.to_owned();
            run.steps[0].status = Some(3);
            let mut request = encode(&run);
            assert_eq!(decode(&request), vec![run.clone()]);
            let spans = &mut request.resource_spans[0].scope_spans[0].spans;
            let keys = [STATUS_KEYS[0], STATUS_KEYS[1], STATUS_KEYS[2]];
            let found: Vec<_> = spans[1]
                .attributes
                .iter_mut()
                .filter(|kv| keys.contains(&kv.key.as_str()))
                .collect();
            assert_eq!(found.len(), 1);
            for attribute in found {
                assert_eq!(attribute.key, expected);
                attribute.key = semconv::HTTP_RESPONSE_STATUS_CODE.to_owned();
            }
            assert_eq!(decode(&request), vec![run]);
        };
        check("http", "http.response.status_code");
        check("sse", "http.response.status_code");
        check("poll", "http.response.status_code");
        check("grpc", "rpc.grpc.status_code");
        check("mqtt", "radiosonde.step.status");
        check("dns", "radiosonde.step.status");
    }

    /// Guarantees that a flood of messages makes no flood of events, and that none goes uncounted.
    #[test]
    fn messages_beyond_the_bound_are_counted() {
        let mut run = sample_run();
        let stamp = run.steps[0].messages.stamps[0];
        run.steps[0].messages.stamps = vec![stamp; MAX_STAMPS + 5];
        let read = decode(&encode(&run)).remove(0);
        let Messages { stamps, omitted } = &read.steps[0].messages;
        assert_eq!((stamps.len(), *omitted), (MAX_STAMPS, 7 + 5));
    }

    /// Guarantees that nothing of a run is lost on its way through the journal.
    #[test]
    fn a_run_survives_the_wire() {
        let run = sample_run();
        assert_eq!(decode(&encode(&run)), vec![run]);
    }
}
