//! Server-sent events: the request, and events as they arrive.
//!
//! Chunks are stamped on arrival; an event carries the stamp of the chunk that completed it.

use super::check::{self, Check};
use super::connection::Stamps;
use super::deadline::Expired;
use super::dial::{StepContext, dial};
use super::failure::{Attempt, failure, of_hyper, quote};
use super::http_exchange::{Answer, Ask, Line, exchange};
use super::record::StepRecord;
use super::spec::{HttpVersion, SseStep, StatusRange};
use super::stream::{Inbox, InboxWriter, MAX_MESSAGE_BYTES, OpenStream, Received};
use super::target::Target;
use super::tls::Alpn;
use crate::base::clock::MonoNanos;
use crate::base::duration::humane;
use crate::base::error::Chain;
use crate::model::probe::{Failure, FailureReason, Phase};
use ::http::Method;
use ::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use bytes::Bytes;
use futures::StreamExt;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use sse_stream::{Sse, SseByteStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

const MEDIA_TYPE: &str = "text/event-stream";
const OK: StatusRange = StatusRange { first: 200, last: 200 };

/// Why no further chunk comes.
#[derive(Debug, thiserror::Error)]
enum ChunkError {
    #[error("the stream broke")]
    Http(#[source] hyper::Error),
    #[error("an event is longer than {MAX_MESSAGE_BYTES} bytes")]
    TooLong,
}

/// The last chunk's stamp, and the bytes since the last event.
#[derive(Debug, Default)]
struct Arrival {
    at: AtomicU64,
    pending: AtomicUsize,
}

/// Opens the stream of a step.
pub(super) async fn open(
    step: &SseStep,
    name: &str,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<OpenStream> {
    let target = Target::parse(&with.variables.fill(&step.url)?, ["http", "https"])?;
    record.talks("sse", target.to_string());
    let mut headers = with.mark.headers(&step.headers, with.variables, target.authorization())?;
    headers.entry(ACCEPT).or_insert(HeaderValue::from_static(MEDIA_TYPE));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    let ask = Ask { method: Method::GET, headers, body: Bytes::new() };
    let connection = dial(&target, &step.tls, Alpn::Either, with, record).await?;
    let answer = exchange(connection, &target, HttpVersion::Auto, ask, with, record).await?;
    judge(&answer, record)?;
    let (asked, opened) = (answer.asked, answer.began);
    let stamps = Arc::clone(&answer.stamps);
    let (body, line) = answer.into_stream();
    let (inbox, writer) = Inbox::new(&with.context.clock);
    let reader = AbortOnDropHandle::new(tokio::spawn(read(body, line, writer, stamps)));
    Ok(OpenStream {
        step: name.to_owned(),
        receiver: 0,
        target,
        protocol: "sse",
        asked,
        opened,
        sent: Vec::new(),
        inbox,
        max_gap: step.max_gap,
        close_code: None,
        outlet: None,
        _reader: reader,
    })
}

/// Waits for the first event, whatever it is, and judges when it came. Whether a stream that ends
/// or stays silent is a failure, is left to who waits for more.
pub(super) async fn first_event(
    step: &SseStep,
    stream: &OpenStream,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<()> {
    let limit = match step.max_gap.filter(|_| step.first_event_within.is_none()) {
        Some(gap) => with.deadline.no_later_than(stream.opened.plus(gap)),
        None => with.deadline.clone(),
    };
    let first = stream
        .inbox
        .until(&limit, |state| state.first.map(Ok).or_else(|| state.end.clone().map(Err)));
    let first = first.await;
    if let Ok(Ok(arrived)) = first {
        record.phase(Phase::FirstEvent, stream.opened, arrived);
    }
    let Some(within) = step.first_event_within else { return Ok(()) };
    let late = |at: MonoNanos| at.since(stream.opened);
    let judged = match first {
        Ok(Ok(arrived)) if late(arrived) <= within => Ok(()),
        Ok(Ok(arrived)) => {
            let words = format!("it came after {}", humane(late(arrived)));
            Err(failure(FailureReason::Late, words))
        }
        Ok(Err(end)) => Err(failure(end.reason, end.words)),
        Err(Expired) => Err(failure(FailureReason::Lost, "it never came")),
    };
    let name = format!("the first event comes within {}", humane(within));
    let found = judged.as_ref().copied().map_err(|failure| failure.message.clone());
    record.check(name.clone(), found);
    judged.map_err(|Failure { reason, message }| {
        failure(reason, format!("expected that over {} {name}, but {message}", stream.target))
    })
}

fn judge(answer: &Answer, record: &mut StepRecord) -> Attempt<()> {
    let content_type = answer.head.headers.get(CONTENT_TYPE);
    let found = content_type.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let found = found.as_deref().unwrap_or("none");
    let media_type = found.split(';').next().unwrap_or_default().trim();
    let status = check::status(&[OK], answer.head.status.as_u16());
    let is_stream = media_type.eq_ignore_ascii_case(MEDIA_TYPE);
    let content =
        Check::new(format!("content-type is {MEDIA_TYPE}"), is_stream, || found.to_owned());
    let wrong = status
        .complaint()
        .map(|complaint| failure(FailureReason::Status, complaint))
        .or_else(|| content.complaint().map(|text| failure(FailureReason::Check, text)));
    record.check(status.name, status.found);
    record.check(content.name, content.found);
    wrong.map_or(Ok(()), Err)
}

// === the reader ===

async fn read(body: Incoming, line: Line, inbox: InboxWriter, stamps: Arc<Stamps>) {
    let arrival = Arc::new(Arrival::default());
    let chunks = {
        let arrival = Arc::clone(&arrival);
        body.into_data_stream().map(move |chunk| arrival.admit(chunk, &stamps))
    };
    let mut events = SseByteStream::new(chunks);
    while let Some(event) = events.next().await {
        arrival.pending.store(0, Ordering::Relaxed);
        match event {
            // A block without data is not an event: a comment, an id or a retry time.
            Ok(Sse { data: None, id, retry, .. }) => {
                inbox.resume_by(id, retry.map(Duration::from_millis));
            }
            Ok(Sse { data: Some(data), event, id, retry }) => {
                inbox.resume_by(id, retry.map(Duration::from_millis));
                let event = event.filter(|kind| !kind.is_empty());
                inbox.push(Received {
                    arrived: MonoNanos(arrival.at.load(Ordering::Relaxed)),
                    event: Some(event.unwrap_or_else(|| "message".to_owned())),
                    body: data.into(),
                });
            }
            Err(error) => {
                let Failure { reason, message } = of_sse(&error);
                inbox.end(reason, None, message);
            }
        }
    }
    inbox.end(FailureReason::Closed, None, "the server ended the event stream".to_owned());
    drop(line);
}

fn of_sse(error: &sse_stream::Error) -> Failure {
    let doing = "reading events";
    let chunk = match error {
        sse_stream::Error::Body(inner) => inner.downcast_ref::<ChunkError>(),
        _ => None,
    };
    match chunk {
        Some(ChunkError::Http(error)) => of_hyper(error, doing),
        Some(ChunkError::TooLong) => {
            failure(FailureReason::Protocol, ChunkError::TooLong.to_string())
        }
        None => failure(
            FailureReason::Protocol,
            format!("{doing}: {}", quote(&Chain(error).to_string())),
        ),
    }
}

impl Arrival {
    /// Stamps a chunk, and refuses it when the event in the making becomes too long.
    fn admit(
        &self,
        chunk: Result<Bytes, hyper::Error>,
        stamps: &Stamps,
    ) -> Result<Bytes, ChunkError> {
        let chunk = chunk.map_err(ChunkError::Http)?;
        self.at.store(stamps.last_read().0, Ordering::Relaxed);
        let pending = self.pending.fetch_add(chunk.len(), Ordering::Relaxed) + chunk.len();
        if pending > MAX_MESSAGE_BYTES { Err(ChunkError::TooLong) } else { Ok(chunk) }
    }
}
