//! Requests over one connection, HTTP/1.1 or 2, and the heads of their answers.

use super::connection::{Connection, Stamps};
use super::deadline::Deadline;
use super::dial::StepContext;
use super::failure::{Attempt, failure, of_hyper};
use super::record::StepRecord;
use super::spec::HttpVersion;
use super::target::Target;
use super::tls::Alpn;
use crate::base::clock::MonoNanos;
use crate::model::probe::{FailureReason, Phase};
use ::http::header::{HOST, HeaderMap, HeaderValue};
use ::http::{Method, Request, Response, response};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// So much of a body is kept for checks and captures.
pub(super) const MAX_KEPT_BYTES: usize = 1 << 20;
/// A body is not read beyond this.
const MAX_READ_BYTES: u64 = 64 << 20;

/// What to send.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    /// Any method.
    pub method: Method,
    /// All but `host`, unless the definition sets that.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// The head of an answer, and the connection from which its body comes. Dropping it closes the
/// connection.
#[derive(Debug)]
pub(super) struct Answer {
    /// Status and headers.
    pub head: response::Parts,
    /// The body, not yet read.
    pub body: Incoming,
    /// The connection's stamps.
    pub stamps: Arc<Stamps>,
    /// When the request was sent: just before its write.
    pub asked: MonoNanos,
    /// When the answer began.
    pub began: MonoNanos,
    /// Keeps the connection open.
    line: Line,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(super) struct Whole {
    /// Status and headers.
    pub head: response::Parts,
    /// The body.
    pub body: ReadBody,
    /// When the request was sent: just before its write.
    pub asked: MonoNanos,
    /// When the answer began.
    pub began: MonoNanos,
}

/// A body that was read.
#[derive(Debug)]
pub(super) struct ReadBody {
    /// The first [`MAX_KEPT_BYTES`].
    pub kept: Bytes,
    /// How long it was.
    pub length: u64,
    /// How it came.
    pub flow: Flow,
}

/// How a body came: what one read brings is one chunk, however many frames it holds, so that what a
/// proxy held back does not look like a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flow {
    /// In how many chunks.
    pub chunks: u64,
    /// The longest time from one read to the next, the answer's beginning and end included.
    pub max_gap: Duration,
    /// When the last chunk came.
    last: Option<MonoNanos>,
    /// When anything last came.
    seen: MonoNanos,
}

/// A body on its way into [`ReadBody`].
#[derive(Debug)]
pub(super) struct Intake {
    kept: Vec<u8>,
    length: u64,
    flow: Flow,
}

/// A connection over which requests go, one after another. Dropping it closes the connection.
#[derive(Debug)]
pub(super) struct Line {
    sender: Sender,
    stamps: Arc<Stamps>,
    _driver: AbortOnDropHandle<()>,
}

/// A request that is on its way.
pub(super) struct Asked {
    /// When it was handed over: just before its write.
    pub at: MonoNanos,
    answered: BoxFuture<'static, hyper::Result<Response<Incoming>>>,
}

/// When the parts of an exchange ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// The request was written.
    pub sent: Option<MonoNanos>,
    /// The answer began.
    pub began: MonoNanos,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// What to offer in the TLS handshake for that version.
pub(super) fn alpn(version: HttpVersion) -> Alpn {
    match version {
        HttpVersion::Auto => Alpn::Either,
        HttpVersion::Http1 => Alpn::Http1,
        HttpVersion::Http2 => Alpn::Http2,
        HttpVersion::Http3 => Alpn::Http3,
    }
}

/// Sends a request over a fresh connection and waits for the head of its answer.
pub(super) async fn exchange(
    connection: Connection,
    target: &Target,
    version: HttpVersion,
    ask: Ask,
    step: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Answer> {
    let mut line = Line::open(connection, target, version, step.deadline).await?;
    record.attribute("network.protocol.version", line.version());
    let Asked { at, answered } = line.ask(ask, target)?;
    record.sent = record.sent.or(Some(at));
    let answered = step.deadline.limit(answered).await;
    if let Some(sent) = line.sent() {
        record.phase(Phase::Send, at, sent);
    }
    let doing = format!("waiting for the answer of {target}");
    let (head, body) = answered
        .map_err(|_| step.deadline.failure(&doing))?
        .map_err(|error| of_hyper(&error, &doing))?
        .into_parts();
    let Progress { sent, began } = line.progress();
    record.phase(Phase::Wait, sent.unwrap_or(at), began);
    record.status(head.status.as_u16());
    Ok(Answer { head, body, stamps: line.stamps(), asked: at, began, line })
}

fn choose(connection: &Connection, target: &Target, version: HttpVersion) -> Attempt<bool> {
    let agreed = connection.agreed_on_http2();
    match version {
        HttpVersion::Http2 if target.tls && !agreed => {
            Err(failure(FailureReason::Protocol, "the server does not offer HTTP/2"))
        }
        HttpVersion::Http2 => Ok(true),
        HttpVersion::Http3 => Err(failure(FailureReason::Local, "HTTP/3 does not go over TCP")),
        HttpVersion::Auto | HttpVersion::Http1 => Ok(agreed),
    }
}

/// The request as a version writes it: from HTTP/2 on with its whole URL.
pub(super) fn request(ask: Ask, target: &Target, http2: bool) -> Attempt<Request<Full<Bytes>>> {
    let Ask { method, mut headers, body } = ask;
    let unusable = |what: &str| failure(FailureReason::Local, format!("the {what} is unusable"));
    let host = headers.remove(HOST);
    let uri = if http2 {
        let authority = match &host {
            Some(host) => host.to_str().map_err(|_| unusable("host header"))?.to_owned(),
            None => target.authority(),
        };
        let scheme = if target.tls { "https" } else { "http" };
        format!("{scheme}://{authority}{}", target.path_and_query())
    } else {
        let host = match host {
            Some(host) => host,
            None => HeaderValue::from_str(&target.authority()).map_err(|_| unusable("host"))?,
        };
        headers.insert(HOST, host);
        target.path_and_query()
    };
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = uri.parse().map_err(|_| unusable("URL"))?;
    *request.headers_mut() = headers;
    Ok(request)
}

// === impl Line ===

impl Line {
    /// Makes a fresh connection one of HTTP.
    ///
    /// # Errors
    /// When the server does not speak that version, breaks off, or the deadline passes.
    pub(super) async fn open(
        connection: Connection,
        target: &Target,
        version: HttpVersion,
        deadline: &Deadline,
    ) -> Attempt<Self> {
        let http2 = choose(&connection, target, version)?;
        deadline.run("opening the connection", Self::over(connection, http2)).await?
    }

    async fn over(connection: Connection, http2: bool) -> Attempt<Self> {
        let stamps = connection.stamps();
        let io = TokioIo::new(connection);
        let broken = |error: hyper::Error| of_hyper(&error, "opening the connection");
        // Whatever ends the connection also ends the exchange, with the same error.
        let (sender, driver) = if http2 {
            let opened = http2::handshake(TokioExecutor::new(), io).await;
            let (sender, driver) = opened.map_err(broken)?;
            (Sender::Http2(sender), tokio::spawn(async move { drop(driver.await) }))
        } else {
            let (sender, driver) = http1::handshake(io).await.map_err(broken)?;
            (Sender::Http1(sender), tokio::spawn(async move { drop(driver.await) }))
        };
        Ok(Self { sender, stamps, _driver: AbortOnDropHandle::new(driver) })
    }

    /// The version, as OpenTelemetry writes it.
    pub(super) fn version(&self) -> &'static str {
        if self.is_http2() { "2" } else { "1.1" }
    }

    /// Hands a request over for sending. Nothing is waited for.
    ///
    /// # Errors
    /// A local failure when the request cannot be sent.
    pub(super) fn ask(&mut self, ask: Ask, target: &Target) -> Attempt<Asked> {
        let request = request(ask, target, self.is_http2())?;
        let at = self.stamps.begin_exchange();
        let answered = match &mut self.sender {
            Sender::Http1(sender) => sender.send_request(request).boxed(),
            Sender::Http2(sender) => sender.send_request(request).boxed(),
        };
        Ok(Asked { at, answered })
    }

    /// Waits until another request may go over it; false when the server has closed it.
    pub(super) async fn is_ready(&mut self) -> bool {
        match &mut self.sender {
            Sender::Http1(sender) => sender.ready().await.is_ok(),
            Sender::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    /// When the request was written, if it was.
    pub(super) fn sent(&self) -> Option<MonoNanos> {
        if self.is_http2() { self.stamps.first_sent() } else { self.stamps.sent() }
    }

    /// How far the exchange is, once the head of its answer has come.
    pub(super) fn progress(&self) -> Progress {
        // Over HTTP/2 the server's settings come first, so the answer begins with its head's read.
        let first = if self.is_http2() { None } else { self.stamps.answered() };
        Progress { sent: self.sent(), began: first.unwrap_or_else(|| self.stamps.last_read()) }
    }

    /// The instants of the connection's reads and writes.
    pub(super) fn stamps(&self) -> Arc<Stamps> {
        Arc::clone(&self.stamps)
    }

    fn is_http2(&self) -> bool {
        matches!(self.sender, Sender::Http2(_))
    }
}

// === impl Asked ===

impl Asked {
    /// Waits for the head of the answer.
    pub(super) async fn answered(self) -> hyper::Result<Response<Incoming>> {
        self.answered.await
    }
}

// === impl Answer ===

impl Answer {
    /// Reads the body to its end, keeping its beginning.
    ///
    /// # Errors
    /// When the deadline passes, the connection breaks, or there is no end in sight.
    pub(super) async fn read_body(
        &mut self,
        step: StepContext<'_>,
        record: &mut StepRecord,
    ) -> Attempt<ReadBody> {
        let doing = "reading the body";
        let mut intake = Intake::new(self.began);
        while let Some(frame) = step.deadline.run(doing, self.body.frame()).await? {
            let frame = frame.map_err(|error| of_hyper(&error, doing))?;
            if let Some(data) = frame.data_ref() {
                intake.take(data, self.stamps.last_read())?;
            }
        }
        let ended = self.stamps.last_read();
        record.phase(Phase::Receive, self.began, ended);
        Ok(intake.finish(ended))
    }

    /// Takes the answer apart: its body, and what must be held while that is read.
    pub(super) fn into_stream(self) -> (Incoming, Line) {
        (self.body, self.line)
    }
}

// === impl Intake ===

impl Intake {
    /// A body whose answer began then.
    pub(super) fn new(began: MonoNanos) -> Self {
        Self { kept: Vec::new(), length: 0, flow: Flow { seen: began, ..Flow::default() } }
    }

    /// A part of the body, and when the read returned that brought it.
    ///
    /// # Errors
    /// When there is no end in sight.
    pub(super) fn take(&mut self, data: &[u8], at: MonoNanos) -> Attempt<()> {
        self.length += data.len() as u64;
        let room = MAX_KEPT_BYTES.saturating_sub(self.kept.len()).min(data.len());
        self.kept.extend_from_slice(data.get(..room).unwrap_or_default());
        self.flow.take(at);
        if self.length > MAX_READ_BYTES {
            let text = format!("the body is longer than {MAX_READ_BYTES} bytes");
            return Err(failure(FailureReason::Check, text));
        }
        Ok(())
    }

    /// The whole, which ended then.
    pub(super) fn finish(self, ended: MonoNanos) -> ReadBody {
        let Self { kept, length, mut flow } = self;
        flow.pass(ended);
        ReadBody { kept: kept.into(), length, flow }
    }
}

// === impl Flow ===

impl Flow {
    fn take(&mut self, at: MonoNanos) {
        self.chunks += u64::from(self.last != Some(at));
        self.last = Some(at);
        self.pass(at);
    }

    fn pass(&mut self, at: MonoNanos) {
        self.max_gap = self.max_gap.max(at.since(self.seen));
        self.seen = self.seen.max(at);
    }
}
