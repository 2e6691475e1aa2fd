//! Accepts connections, keeps slow and silent clients from holding them, and drains at the end.

use super::reply::ReplyBody;
use crate::base::shutdown::Shutdown;
use ::http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Open connections of one listener; further ones wait in the system's backlog.
const MAX_CONNECTIONS: usize = 4096;
/// A new connection sends its first request within this time.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Head of a request, and silence before it, over HTTP/1. Longer than the minute between two
/// exports of metrics: a connection closed just then would cost one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// A silent HTTP/2 peer is asked this often whether it lives.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// And answers within this time.
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Requests in flight on one HTTP/2 connection.
const MAX_STREAMS: u32 = 64;
/// Bytes that a stream may send ahead: enough for a batch without a pause.
const STREAM_WINDOW: u32 = 1024 * 1024;
/// Bytes that a connection may send ahead.
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// All headers of a request.
const MAX_HEADER_BYTES: u32 = 16 * 1024;
/// How long to wait after a failed accept, as when file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long requests in flight may take after the stop signal.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/1.1 and HTTP/2 with prior knowledge.
    HttpBoth,
    /// HTTP/2 alone, for gRPC.
    Http2,
}

/// Serves `listener` until `shutdown` begins, then drains.
pub(super) async fn serve<A, F>(
    listener: TcpListener,
    protocol: Protocol,
    answer: A,
    shutdown: &Shutdown,
) where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<ReplyBody>> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    while let Some((stream, slot)) = next(&listener, &slots, shutdown).await {
        let task = connection(stream, protocol, answer.clone(), shutdown.clone());
        let cut = cut.clone();
        drop(connections.spawn(async move {
            let _ = cut.run_until_cancelled(task).await;
            drop(slot);
        }));
    }
    drop(listener);
    let _ = connections.close();
    if timeout(DRAIN_TIMEOUT, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "otlp connections cut off at shutdown");
        cut.cancel();
        connections.wait().await;
    }
}

/// The next connection and its slot; none when `shutdown` begins.
async fn next(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    shutdown: &Shutdown,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let accepted = async {
        let slot = Arc::clone(slots).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return Some((stream, slot)),
                Err(error) => {
                    tracing::warn!(%error, "otlp connection not accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = shutdown.begun() => None,
        accepted = accepted => accepted,
    }
}

async fn connection<A, F>(stream: TcpStream, protocol: Protocol, answer: A, shutdown: Shutdown)
where
    A: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<ReplyBody>> + Send + 'static,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "otlp connection without nodelay");
    }
    let busy = Arc::new(AtomicBool::new(false));
    let service = {
        let busy = Arc::clone(&busy);
        service_fn(move |request| {
            busy.store(true, Ordering::Relaxed);
            let answer = answer(request);
            async { Ok::<_, Infallible>(answer.await) }
        })
    };
    let builder = builder(protocol);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut first_request = pin!(sleep(FIRST_REQUEST_TIMEOUT));
    let (mut draining, mut waiting) = (false, true);
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "otlp connection ended early");
                }
                return;
            }
            () = shutdown.begun(), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            () = first_request.as_mut(), if waiting => {
                waiting = false;
                if !busy.load(Ordering::Relaxed) {
                    return;
                }
            }
        }
    }
}

fn builder(protocol: Protocol) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    if protocol == Protocol::Http2 {
        builder = builder.http2_only();
    }
    let _ = builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let _ = builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADER_BYTES);
    builder
}
