//! One request over one connection, HTTP/1.1 or 2, and the head of its answer.

use super::connection::{Connection, Stamps};
use super::dial::StepContext;
use super::failure::{Attempt, failure, of_hyper};
use super::record::StepRecord;
use super::spec::HttpVersion;
use super::target::Target;
use super::tls::Alpn;
use crate::base::clock::MonoNanos;
use crate::model::probe::{FailureReason, Phase};
use ::http::header::{HOST, HeaderMap, HeaderValue};
use ::http::{Method, Request, response};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::sync::Arc;
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
    hold: Hold,
}

/// A body that was read.
#[derive(Debug)]
pub(super) struct ReadBody {
    /// The first [`MAX_KEPT_BYTES`].
    pub kept: Bytes,
    /// How long it was.
    pub length: u64,
}

/// What must live as long as the answer is read.
#[derive(Debug)]
pub(super) struct Hold {
    _sender: Sender,
    _driver: AbortOnDropHandle<()>,
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
    let http2 = choose(&connection, target, version)?;
    let stamps = connection.stamps();
    let request = request(ask, target, http2)?;
    let opening = open(connection, http2);
    let (mut sender, driver) = step.deadline.run("opening the connection", opening).await??;
    let from = stamps.begin_exchange();
    record.sent = record.sent.or(Some(from));
    let answered = match &mut sender {
        Sender::Http1(sender) => step.deadline.limit(sender.send_request(request)).await,
        Sender::Http2(sender) => step.deadline.limit(sender.send_request(request)).await,
    };
    let sent = if http2 { stamps.first_sent() } else { stamps.sent() };
    if let Some(sent) = sent {
        record.phase(Phase::Send, from, sent);
    }
    let place = target.to_string();
    let (head, body) = answered
        .map_err(|_| step.deadline.failure(format_args!("waiting for the answer of {place}")))?
        .map_err(|error| of_hyper(&error, &format!("waiting for the answer of {place}")))?
        .into_parts();
    // Over HTTP/2 the server's settings come first, so the answer begins with its head's read.
    let first = if http2 { None } else { stamps.answered() };
    let began = first.unwrap_or_else(|| stamps.last_read());
    record.phase(Phase::Wait, sent.unwrap_or(from), began);
    record.status(head.status.as_u16());
    let hold = Hold { _sender: sender, _driver: driver };
    Ok(Answer { head, body, stamps, asked: from, began, hold })
}

fn choose(connection: &Connection, target: &Target, version: HttpVersion) -> Attempt<bool> {
    let agreed = connection.agreed_on_http2();
    match version {
        HttpVersion::Http2 if target.tls && !agreed => {
            Err(failure(FailureReason::Protocol, "the server does not offer HTTP/2"))
        }
        HttpVersion::Http2 => Ok(true),
        HttpVersion::Auto | HttpVersion::Http1 => Ok(agreed),
    }
}

fn request(ask: Ask, target: &Target, http2: bool) -> Attempt<Request<Full<Bytes>>> {
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

async fn open(connection: Connection, http2: bool) -> Attempt<(Sender, AbortOnDropHandle<()>)> {
    let io = TokioIo::new(connection);
    let broken = |error: hyper::Error| of_hyper(&error, "opening the connection");
    if http2 {
        let (sender, driver) = http2::handshake(TokioExecutor::new(), io).await.map_err(broken)?;
        // Whatever ends the connection also ends the exchange, with the same error.
        let driver = tokio::spawn(async move { drop(driver.await) });
        return Ok((Sender::Http2(sender), AbortOnDropHandle::new(driver)));
    }
    let (sender, driver) = http1::handshake(io).await.map_err(broken)?;
    let driver = tokio::spawn(async move { drop(driver.await) });
    Ok((Sender::Http1(sender), AbortOnDropHandle::new(driver)))
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
        let mut kept = Vec::new();
        let mut length = 0_u64;
        let doing = "reading the body";
        while let Some(frame) = step.deadline.run(doing, self.body.frame()).await? {
            let frame = frame.map_err(|error| of_hyper(&error, doing))?;
            let Some(data) = frame.data_ref() else { continue };
            length += data.len() as u64;
            let room = MAX_KEPT_BYTES.saturating_sub(kept.len()).min(data.len());
            kept.extend_from_slice(data.get(..room).unwrap_or_default());
            if length > MAX_READ_BYTES {
                let text = format!("the body is longer than {MAX_READ_BYTES} bytes");
                return Err(failure(FailureReason::Check, text));
            }
        }
        record.phase(Phase::Receive, self.began, self.stamps.last_read());
        Ok(ReadBody { kept: kept.into(), length })
    }

    /// Takes the answer apart: its body, and what must be held while that is read.
    pub(super) fn into_stream(self) -> (Incoming, Hold) {
        (self.body, self.hold)
    }
}
