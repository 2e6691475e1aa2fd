//! The task that reads an event stream, and what it notices of it.

use super::super::connection::Stamps;
use super::super::failure::{Attempt, failure, of_hyper};
use super::super::http_exchange::Line;
use super::super::inbox::{InboxWriter, MAX_MESSAGE_BYTES, Received};
use super::super::stream::{Findings, Outlet};
use super::buffering::{Arrivals, Verdict};
use super::grammar::{Parser, Said};
use crate::base::clock::MonoNanos;
use crate::model::attribute::AttributeValue;
use crate::model::probe::{Failure, FailureReason};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use parking_lot::Mutex;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Reads until the stream ends.
#[derive(Debug)]
pub(super) struct Reader {
    /// Where events go.
    pub inbox: InboxWriter,
    /// When reads returned.
    pub stamps: Arc<Stamps>,
    /// What is noticed.
    pub tally: Arc<Tally>,
    /// The run's id, by which its own messages are known.
    pub run: String,
    /// Where an event says when it was sent.
    pub sent_at: Option<String>,
}

/// What was noticed so far, for reader and step.
#[derive(Debug)]
pub(super) struct Tally(Mutex<Noticed>);

#[derive(Debug)]
struct Noticed {
    events: u64,
    comments: u64,
    retry: Option<Duration>,
    has_id: bool,
    /// When bytes last came, at first when the stream was open.
    heard: MonoNanos,
    longest_silence: Duration,
    arrivals: Arrivals,
}

/// What a step has in the place of a way to send.
#[derive(Debug)]
pub(super) struct Listener {
    /// What the reader notices.
    pub tally: Arc<Tally>,
    /// Whether a buffered stream is a failure.
    pub refuse_buffering: bool,
}

// === impl Reader ===

impl Reader {
    /// Reads the body of the answer.
    pub(super) async fn run(self, body: Incoming, line: Line) {
        let Failure { reason, message } = self.read(body).await;
        self.inbox.end(reason, None, message);
        drop(line);
    }

    /// Hands back why there is no more.
    async fn read(&self, mut body: Incoming) -> Failure {
        let mut parser = Parser::new(MAX_MESSAGE_BYTES);
        loop {
            let chunk = match body.frame().await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(chunk) => chunk,
                    // Trailers say nothing of events.
                    Err(_) => continue,
                },
                Some(Err(error)) => return of_hyper(&error, "reading events"),
                None => {
                    let words = "the server ended the event stream";
                    return failure(FailureReason::Closed, words);
                }
            };
            let arrived = self.stamps.last_read();
            self.tally.0.lock().hear(arrived);
            if parser.feed(&chunk, |said| self.take(said, arrived)).is_err() {
                let words = format!("an event is longer than {MAX_MESSAGE_BYTES} bytes");
                return failure(FailureReason::Protocol, words);
            }
        }
    }

    fn take(&self, said: Said, arrived: MonoNanos) {
        match said {
            Said::Comment => self.tally.0.lock().comments += 1,
            Said::Resume { id, retry } => {
                let mut noticed = self.tally.0.lock();
                noticed.retry = retry.or(noticed.retry);
                noticed.has_id = id.as_ref().map_or(noticed.has_id, |id| !id.is_empty());
                drop(noticed);
                self.inbox.resume_by(id, retry);
            }
            Said::Event { kind, data } => {
                self.note(&data, arrived);
                self.inbox.push(Received { arrived, event: Some(kind), body: data.into() });
            }
        }
    }

    /// Notices when an event came for which it may be told when it was sent.
    fn note(&self, data: &str, arrived: MonoNanos) {
        let sent_ms = self.sent_at.as_ref().and_then(|pointer| {
            let json: Value = serde_json::from_str(data).ok()?;
            milliseconds(json.pointer(pointer)?)
        });
        let mut noticed = self.tally.0.lock();
        noticed.events += 1;
        if let Some(sent_ms) = sent_ms {
            noticed.arrivals.stamped(sent_ms, arrived);
        } else if self.sent_at.is_none() && data.contains(&self.run) {
            noticed.arrivals.own(arrived);
        }
    }
}

/// Milliseconds since 1970: a number, or a text of one.
fn milliseconds(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => text.parse().ok(),
        // A fraction of a millisecond is of no account.
        other => other.as_u64().or_else(|| {
            let number = other.as_f64().filter(|number| (0.0..1e15).contains(number))?;
            Some(number as u64)
        }),
    }
}

// === impl Tally ===

impl Tally {
    /// Nothing was noticed of a stream that was open at that time.
    pub(super) fn new(opened: MonoNanos) -> Self {
        Self(Mutex::new(Noticed {
            events: 0,
            comments: 0,
            retry: None,
            has_id: false,
            heard: opened,
            longest_silence: Duration::ZERO,
            arrivals: Arrivals::default(),
        }))
    }
}

impl Noticed {
    fn hear(&mut self, arrived: MonoNanos) {
        self.longest_silence = self.longest_silence.max(arrived.since(self.heard));
        self.heard = self.heard.max(arrived);
    }
}

// === impl Listener ===

impl Outlet for Listener {
    fn send(&mut self, _text: String) -> BoxFuture<'_, Attempt<()>> {
        ready(Err(mute())).boxed()
    }

    fn ping(&mut self, _payload: Bytes) -> BoxFuture<'_, Attempt<()>> {
        ready(Err(mute())).boxed()
    }

    fn hang_up(&mut self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }

    fn findings(&self) -> Findings {
        self.findings_beside(&[])
    }

    fn findings_beside(&self, sent: &[MonoNanos]) -> Findings {
        let noticed = self.tally.0.lock();
        let verdict = noticed.arrivals.judge(sent);
        let mut attributes = Vec::new();
        let mut note =
            |name: &str, value: AttributeValue| attributes.push((format!("sse.{name}"), value));
        note("events", noticed.events.into());
        note("comments", noticed.comments.into());
        note("last_event_id", if noticed.has_id { "given" } else { "none" }.into());
        if let Some(retry) = noticed.retry {
            note("retry_ns", retry.into());
        }
        note("longest_silence_ns", noticed.longest_silence.into());
        match &verdict {
            Verdict::Unknown(_) => {}
            Verdict::Steady => note("buffered", "no".into()),
            Verdict::Buffered(words) => note("buffered", words.as_str().into()),
        }
        let check = self.refuse_buffering.then(|| {
            let found = match verdict {
                Verdict::Steady => Ok(()),
                Verdict::Buffered(words) => {
                    Err(format!("{words}: something between buffers the stream"))
                }
                Verdict::Unknown(why) => Err(format!("that cannot be told: {why}")),
            };
            ("nothing buffers the stream".to_owned(), found)
        });
        Findings { attributes, check }
    }
}

fn mute() -> Failure {
    failure(FailureReason::Local, "nothing can be sent over an event stream")
}
