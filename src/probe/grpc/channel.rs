//! HTTP/2 over a connection that we dialled, and the calls that are made over it.
//!
//! A call is a `POST` whose body holds all messages of ours; the answer's messages are stamped with
//! the read that completed them. Dropping an answer cancels its call, dropping the channel closes
//! the connection.

use super::super::connection::{Connection, Stamps};
use super::super::dial::StepContext;
use super::super::failure::{Attempt, failure, of_hyper, quote};
use super::super::target::Target;
use super::code::Ending;
use super::framing::{FrameError, Frames};
use crate::base::clock::MonoNanos;
use crate::base::error::Chain;
use crate::model::probe::{Failure, FailureReason};
use ::http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, TE};
use ::http::{Method, Request, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

const MEDIA_TYPE: &str = "application/grpc";
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// An open HTTP/2 connection.
#[derive(Debug)]
pub(super) struct Channel {
    sender: http2::SendRequest<Full<Bytes>>,
    stamps: Arc<Stamps>,
    /// Why the connection ended, once it has.
    fate: Arc<Mutex<Option<String>>>,
    /// `http://host:port`, before the path of every call.
    origin: String,
    headers: HeaderMap,
    _driver: AbortOnDropHandle<()>,
}

/// The answer of a call, message by message.
#[derive(Debug)]
pub(super) struct Reply {
    /// When the answer began.
    pub began: MonoNanos,
    body: Incoming,
    frames: Frames,
    /// Set once the trailers have come, or when there was nothing but them.
    ending: Option<Ending>,
    /// The read that brought the newest part.
    arrived: MonoNanos,
    stamps: Arc<Stamps>,
    fate: Arc<Mutex<Option<String>>>,
}

/// What an answer brings next, and the read that completed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A message.
    Message(MonoNanos, Bytes),
    /// The end.
    End(MonoNanos, Ending),
}

// === impl Channel ===

impl Channel {
    /// Speaks HTTP/2 over `connection`; every call carries `headers`.
    pub(super) async fn open(
        connection: Connection,
        target: &Target,
        mut headers: HeaderMap,
        with: StepContext<'_>,
    ) -> Attempt<Self> {
        if target.tls && !connection.agreed_on_http2() {
            return Err(failure(FailureReason::Protocol, "the server does not offer HTTP/2"));
        }
        let host = headers.remove(HOST);
        let host = host.as_ref().and_then(|host| host.to_str().ok()).map(str::to_owned);
        let scheme = if target.tls { "https" } else { "http" };
        let origin = format!("{scheme}://{}", host.unwrap_or_else(|| target.authority()));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let stamps = connection.stamps();
        let opening = http2::handshake(TokioExecutor::new(), TokioIo::new(connection));
        let doing = "opening the connection";
        let opened = with.deadline.run(doing, opening).await?;
        let (sender, driver) = opened.map_err(|error| of_hyper(&error, doing))?;
        let fate = Arc::new(Mutex::new(None));
        let ended = Arc::clone(&fate);
        let driver = tokio::spawn(async move {
            if let Err(error) = driver.await {
                *ended.lock() = Some(quote(&Chain(&error).to_string()));
            }
        });
        let _driver = AbortOnDropHandle::new(driver);
        Ok(Self { sender, stamps, fate, origin, headers, _driver })
    }

    /// Begins a call: what is written from here on is its own. Returns the instant.
    pub(super) fn begin(&self) -> MonoNanos {
        self.stamps.begin_exchange()
    }

    /// When the call was written, if it was.
    pub(super) fn sent(&self) -> Option<MonoNanos> {
        self.stamps.first_sent()
    }

    /// Makes a call and waits for the head of its answer. `path` is `package.Service/Method`,
    /// `body` all messages, framed.
    pub(super) async fn call(
        &mut self,
        path: &str,
        body: Bytes,
        with: StepContext<'_>,
    ) -> Attempt<Reply> {
        let request = self.request(path, body, with.deadline.remaining())?;
        let doing = format!("waiting for the answer of {path}");
        let answered = with.deadline.run(&doing, self.sender.send_request(request)).await?;
        let (head, body) =
            answered.map_err(|error| broken(&error, &doing, &self.fate))?.into_parts();
        let began = self.stamps.last_read();
        let mut reply = Reply {
            began,
            body,
            frames: Frames::default(),
            ending: None,
            arrived: began,
            stamps: Arc::clone(&self.stamps),
            fate: Arc::clone(&self.fate),
        };
        if head.status != StatusCode::OK {
            return Err(reply.wrong_status(head.status, with).await);
        }
        reply.ending = Ending::of(&head.headers)?;
        let media_type = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let media_type = String::from_utf8_lossy(media_type.unwrap_or(b"none"));
        // A server that says its status at once need not say of what kind the rest would have been.
        if reply.ending.is_none() && !media_type.starts_with(MEDIA_TYPE) {
            let words = format!("the content-type is not {MEDIA_TYPE} but {}", quote(&media_type));
            return Err(failure(FailureReason::Protocol, words));
        }
        Ok(reply)
    }

    fn request(&self, path: &str, body: Bytes, left: Duration) -> Attempt<Request<Full<Bytes>>> {
        let unusable =
            |what: &str| failure(FailureReason::Local, format!("the {what} is unusable"));
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() =
            format!("{}/{path}", self.origin).parse().map_err(|_| unusable("URL"))?;
        *request.headers_mut() = self.headers.clone();
        let timeout =
            HeaderValue::from_str(&timeout_text(left)).map_err(|_| unusable("timeout"))?;
        request.headers_mut().insert(TIMEOUT, timeout);
        Ok(request)
    }
}

/// What is left, as gRPC writes it, up to eight digits and a unit. Rounded up, so that a server that
/// keeps to it never gives up before the deadline here.
fn timeout_text(left: Duration) -> String {
    let ms = left.as_nanos().div_ceil(1_000_000);
    if ms < 100_000_000 { format!("{ms}m") } else { format!("{}S", (ms / 1_000).min(99_999_999)) }
}

/// An error of the HTTP engine, and what the connection itself ended with where that says more.
fn broken(error: &hyper::Error, doing: &str, fate: &Mutex<Option<String>>) -> Failure {
    let mut failure = of_hyper(error, doing);
    if let Some(fate) = fate.lock().as_ref().filter(|_| failure.reason == FailureReason::Closed) {
        failure.message.push_str(&format!(": {fate}"));
    }
    failure
}

// === impl Reply ===

impl Reply {
    /// Waits for the next message or the end; `doing` says for what.
    ///
    /// # Errors
    /// When the deadline passes, the stream breaks, is not framed as gRPC, or ends without a status.
    pub(super) async fn next(&mut self, doing: &str, with: StepContext<'_>) -> Attempt<Event> {
        loop {
            if let Some(message) = self.frames.next().map_err(malformed)? {
                return Ok(Event::Message(self.arrived, message));
            }
            if let Some(ending) = self.ending.take() {
                self.frames.finish().map_err(malformed)?;
                return Ok(Event::End(self.arrived, ending));
            }
            let Some(part) = with.deadline.run(doing, self.body.frame()).await? else {
                let words = "the server ended the call without a grpc-status";
                return Err(failure(FailureReason::Protocol, words));
            };
            let part = part.map_err(|error| broken(&error, doing, &self.fate))?;
            self.arrived = self.stamps.last_read();
            match part.into_data() {
                Ok(data) => self.frames.push(&data),
                Err(part) => {
                    self.ending = part.trailers_ref().map(Ending::of).transpose()?.flatten();
                }
            }
        }
    }

    /// What to say of an answer that a proxy gave, or a server that does not speak gRPC.
    async fn wrong_status(&mut self, status: StatusCode, with: StepContext<'_>) -> Failure {
        let mut words = format!("the HTTP status is {} instead of 200", status.as_u16());
        if let Ok(Some(Ok(part))) = with.deadline.limit(self.body.frame()).await
            && let Some(data) = part.data_ref().filter(|data| !data.is_empty())
        {
            let said = String::from_utf8_lossy(data);
            words.push_str(&format!("; it says: {}", quote(&said)));
        }
        failure(FailureReason::Protocol, words)
    }
}

fn malformed(error: FrameError) -> Failure {
    failure(FailureReason::Protocol, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that a timeout is rounded up and has no more than eight digits.
    #[test]
    fn timeouts_fit_their_header() {
        let check = |left: Duration, expected: &str| assert_eq!(timeout_text(left), expected);
        check(Duration::ZERO, "0m");
        check(Duration::from_nanos(1), "1m");
        check(Duration::from_millis(4_999), "4999m");
        check(Duration::from_secs(600), "600000m");
        check(Duration::from_secs(1_000_000), "1000000S");
        check(Duration::MAX, "99999999S");
    }
}
