//! Server-sent events: the request, and events as they arrive.
//!
//! Reads are stamped on arrival (`reader`); an event carries the stamp of the read that completed
//! it. The grammar is our own (`grammar`), so that comments are seen, what is not UTF-8 is replaced as
//! in a browser, and the bound of an event is exact. Events that were sent apart and come together
//! tell of something that buffers (`buffering`).

mod buffering;
mod grammar;
mod reader;

use super::check::{self, Check};
use super::deadline::Expired;
use super::dial::{StepContext, dial};
use super::failure::{Attempt, failure, quote};
use super::http_exchange::{Answer, Ask, exchange};
use super::inbox::Inbox;
use super::record::StepRecord;
use super::spec::{HttpVersion, SseStep, StatusRange};
use super::stream::OpenStream;
use super::target::Target;
use super::tls::Alpn;
use crate::base::clock::MonoNanos;
use crate::base::duration::humane;
use crate::model::probe::{Failure, FailureReason, Phase};
use ::http::Method;
use ::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use bytes::Bytes;
use reader::{Listener, Reader, Tally};
use std::sync::Arc;
use tokio_util::task::AbortOnDropHandle;

const MEDIA_TYPE: &str = "text/event-stream";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const OK: StatusRange = StatusRange { first: 200, last: 200 };

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
    if let Some(id) = &step.last_event_id {
        let id = with.variables.fill(id)?;
        let value = HeaderValue::from_bytes(id.as_bytes()).map_err(|_| {
            let text = format!("`{}` cannot be sent as the id of an event", quote(&id));
            failure(FailureReason::Local, text)
        })?;
        headers.entry(LAST_EVENT_ID).or_insert(value);
    }
    let ask = Ask { method: Method::GET, headers, body: Bytes::new() };
    let connection = dial(&target, &step.tls, Alpn::Either, with, record).await?;
    let answer = exchange(connection, &target, HttpVersion::Auto, ask, with, record).await?;
    judge(&answer, record)?;
    let (asked, opened) = (answer.asked, answer.began);
    let stamps = Arc::clone(&answer.stamps);
    let (body, line) = answer.into_stream();
    let (inbox, writer) = Inbox::new(&with.context.clock);
    let tally = Arc::new(Tally::new(opened));
    let reader = Reader {
        inbox: writer,
        stamps,
        tally: Arc::clone(&tally),
        run: with.mark.run.to_hex(),
        sent_at: step.sent_at.clone(),
    };
    let reader = AbortOnDropHandle::new(tokio::spawn(reader.run(body, line)));
    let listener = Listener { tally, refuse_buffering: step.refuse_buffering };
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
        outlet: Some(Box::new(listener)),
        reader,
        link: None,
        silent: Vec::new(),
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
