//! Opening the stream of a step, and what the step itself does over it.

use super::dial::StepContext;
use super::expect::{Since, fulfil};
use super::failure::{Attempt, failure};
use super::fanout::{self, Opened};
use super::record::StepRecord;
use super::spec::{Action, Expect, MqttStep, SseStep, Step, WebRtcStep, WebSocketStep};
use super::stream::{self, OpenStream};
use super::{fallback, mqtt, poll, sse, webrtc, websocket};
use crate::base::clock::MonoNanos;
use crate::model::probe::FailureReason;
use bytes::Bytes;

/// When each step sent what it sends.
pub(super) type Sent = [(String, MonoNanos)];

/// From when the definition counts; none when it leaves that to the step.
pub(super) fn since(expect: &Expect, sent: &Sent) -> Attempt<Option<Since>> {
    let Some(step) = &expect.since else { return Ok(None) };
    let found = sent.iter().rev().find(|(name, _)| name == step);
    let (_, from) = found.ok_or_else(|| {
        failure(FailureReason::Local, format!("the step `{step}` has not sent anything"))
    })?;
    Ok(Some(Since::Sent(*from)))
}

/// Opens the streams of a step, or takes up those that an earlier run left, and does what the step does
/// over them. Streams that were opened are among `streams` whatever happened then.
pub(super) async fn open_step(
    step: &Step,
    probe: &str,
    streams: &mut Vec<OpenStream>,
    sent: &Sent,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Option<Bytes>> {
    if let (Some(_), Some(held)) = (step.hold, &with.context.held)
        && let Some(mut kept) = held.take_up(probe, step, record).await
    {
        let done = match kept.as_mut_slice() {
            [stream] => {
                record.talks(stream.protocol, stream.target.to_string());
                proceed(&step.action, stream, sent, with, record).await
            }
            many => {
                record.talks(step.action.block(), format!("{} receivers", many.len()));
                Ok(None)
            }
        };
        streams.append(&mut kept);
        return done;
    }
    if step.count > 1 {
        let open = |number, mut own| async move {
            let variables = &with.variables.of_receiver(number);
            let with = StepContext { variables, ..with };
            open(&step.name, &step.action, sent, with, &mut own).await
        };
        return fanout::open_all(step, streams, record, open).await;
    }
    let (stream, done) = open(&step.name, &step.action, sent, with, record).await;
    streams.extend(stream);
    done
}

/// Opens the stream of a step and does what the step does over it. The stream is handed back when it
/// was opened, whatever happened then.
pub(super) async fn open(
    name: &str,
    action: &Action,
    sent: &Sent,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Opened {
    if let Action::Fallback(fallback) = action {
        // Boxed, since each of its ways is opened by this function.
        return Box::pin(fallback::open(fallback, name, sent, with, record)).await;
    }
    let mut stream = match connect(name, action, with, record).await {
        Ok(stream) => stream,
        Err(failure) => return (None, Err(failure)),
    };
    let done = proceed(action, &mut stream, sent, with, record).await;
    (Some(stream), done)
}

/// What a step does over its own stream once that is open.
pub(super) async fn proceed(
    action: &Action,
    stream: &mut OpenStream,
    sent: &Sent,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Option<Bytes>> {
    match action {
        Action::WebSocket(websocket) => talk(websocket.into(), stream, sent, with, record).await,
        Action::Mqtt(mqtt) => talk(mqtt.into(), stream, sent, with, record).await,
        Action::WebRtc(webrtc) => talk(webrtc.into(), stream, sent, with, record).await,
        Action::Sse(sse) => listen(sse, stream, sent, with, record).await,
        Action::Poll(poll) => hear(poll.expect.as_ref(), stream, sent, with, record).await,
        _ => Ok(None),
    }
}

/// Opens the stream of a step and does nothing over it.
pub(super) async fn connect(
    name: &str,
    action: &Action,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<OpenStream> {
    let stream = match action {
        Action::WebSocket(websocket) => websocket::open(websocket, name, with, record).await,
        Action::Sse(sse) => sse::open(sse, name, with, record).await,
        Action::Poll(poll) => poll::open(poll, name, with, record).await,
        Action::Mqtt(mqtt) => mqtt::open(mqtt, name, with, record).await,
        // Boxed, so that runs without it are no larger for it.
        Action::WebRtc(webrtc) => Box::pin(webrtc::open(webrtc, name, with, record)).await,
        _ => Err(failure(FailureReason::Local, "the step opens no stream")),
    }?;
    Ok(OpenStream { link: record.link.take(), ..stream })
}

/// What a step does over the stream that it opened, in this order.
struct Talk<'a> {
    ping: bool,
    send: Option<&'a str>,
    expect: Option<&'a Expect>,
}

impl<'a> From<&'a WebSocketStep> for Talk<'a> {
    fn from(step: &'a WebSocketStep) -> Self {
        Self { ping: step.ping, send: step.send.as_deref(), expect: step.expect.as_ref() }
    }
}

impl<'a> From<&'a MqttStep> for Talk<'a> {
    fn from(step: &'a MqttStep) -> Self {
        Self { ping: step.ping, send: step.message(), expect: step.expect.as_ref() }
    }
}

impl<'a> From<&'a WebRtcStep> for Talk<'a> {
    fn from(step: &'a WebRtcStep) -> Self {
        Self { ping: false, send: step.send.as_deref(), expect: step.expect.as_ref() }
    }
}

async fn talk(
    step: Talk<'_>,
    stream: &mut OpenStream,
    sent: &Sent,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Option<Bytes>> {
    if step.ping {
        stream::ping(step.expect.is_none(), stream, with, record).await?;
    }
    let mut own = stream.asked;
    if let Some(text) = step.send {
        own = stream::send(with.variables.fill(text)?, stream, with, record).await?;
    }
    let Some(expect) = step.expect else { return Ok(None) };
    let since = since(expect, sent)?.unwrap_or(Since::Sent(own));
    fulfil(expect, stream, since, with, record).await.map(Some)
}

/// What a step waits for on the event stream that it opened.
async fn listen(
    step: &SseStep,
    stream: &OpenStream,
    sent: &Sent,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Option<Bytes>> {
    if step.first_event_within.is_some() || step.expect.is_some() {
        sse::first_event(step, stream, with, record).await?;
    }
    hear(step.expect.as_ref(), stream, sent, with, record).await
}

/// Waits for a message, where one is expected, on the stream that the step opened; it counts from the
/// request that did so.
async fn hear(
    expect: Option<&Expect>,
    stream: &OpenStream,
    sent: &Sent,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Option<Bytes>> {
    let Some(expect) = expect else { return Ok(None) };
    let since = since(expect, sent)?.unwrap_or(Since::Sent(stream.asked));
    fulfil(expect, stream, since, with, record).await.map(Some)
}
