//! A connection that we dialled, with the instants of its reads and writes.
//!
//! Stamps are taken on the TCP socket, right after the system call returned and before TLS or any
//! protocol decodes a byte. Whoever decodes a message afterwards asks for the stamp of the read
//! that completed it, so neither decoding nor the scheduling of our tasks is part of a value.
//! Under TLS a read counts as an answer only once it yielded plaintext: session tickets do not.

use super::link::Link;
use super::socket::{Socket, Way};
use crate::base::clock::{Clock, MonoNanos};
use std::fmt::Debug;
use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio_rustls::client::TlsStream;

/// When a connection last read and wrote. Zero stands for never. One task moves them and another
/// may look, always after it was woken by the first, so relaxed ordering is enough.
#[derive(Debug)]
pub(super) struct Stamps {
    clock: Clock,
    read: AtomicU64,
    first_write: AtomicU64,
    write_before_answer: AtomicU64,
    answer: AtomicU64,
    written: Notify,
}

/// A byte stream that notes what passes through it.
#[derive(Debug)]
pub(super) struct Stamped<S> {
    stream: S,
    stamps: Arc<Stamps>,
    layer: Layer,
}

/// A TCP socket whose reads and writes are stamped.
pub(super) type StampedTcp = Stamped<Socket>;

/// A TCP or TLS connection: the stamped socket inside, and around it what sees plaintext alone.
pub(super) type Connection = Stamped<Box<dyn Transport>>;

/// Where a stream stands: what it sees decides what it may note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    /// At the system call: the time of every read and write.
    Socket,
    /// Above TLS: whether there was an answer.
    Plaintext,
}

/// What carries the plaintext of a connection.
pub(super) trait Transport: AsyncRead + AsyncWrite + Debug + Send + Sync + Unpin {
    /// The stamps of the socket below.
    fn stamps(&self) -> Arc<Stamps>;

    /// Whether both ends agreed on HTTP/2 in the TLS handshake.
    fn agreed_on_http2(&self) -> bool;
}

// === impl Stamps ===

impl Stamps {
    /// Of a connection that has neither read nor written.
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            read: AtomicU64::new(0),
            first_write: AtomicU64::new(0),
            write_before_answer: AtomicU64::new(0),
            answer: AtomicU64::new(0),
            written: Notify::new(),
        }
    }

    /// Forgets what was written and answered: a new request begins. Returns the instant.
    pub(super) fn begin_exchange(&self) -> MonoNanos {
        self.first_write.store(0, Ordering::Relaxed);
        self.write_before_answer.store(0, Ordering::Relaxed);
        self.answer.store(0, Ordering::Relaxed);
        self.clock.monotonic()
    }

    /// When bytes last came from the socket.
    pub(super) fn last_read(&self) -> MonoNanos {
        MonoNanos(self.read.load(Ordering::Relaxed))
    }

    /// When the first byte since the exchange began came.
    pub(super) fn answered(&self) -> Option<MonoNanos> {
        set(&self.answer)
    }

    /// When the last write before the answer ended: the end of a request that has the connection
    /// to itself.
    pub(super) fn sent(&self) -> Option<MonoNanos> {
        set(&self.write_before_answer)
    }

    /// When the first write of the exchange ended. Where frames of the protocol itself are written
    /// in between (HTTP/2), this is the end of a request that fits into one write.
    pub(super) fn first_sent(&self) -> Option<MonoNanos> {
        set(&self.first_write)
    }

    /// Waits until something of the exchange was written. One task at a time may wait.
    pub(super) async fn until_sent(&self) -> MonoNanos {
        loop {
            if let Some(at) = self.first_sent() {
                return at;
            }
            self.written.notified().await;
        }
    }

    /// Something came; for sockets that are no byte streams.
    #[cfg(feature = "http3")]
    pub(super) fn note_read(&self) {
        self.has_read(Layer::Socket);
    }

    /// Something was written; as [`Self::note_read`].
    #[cfg(feature = "http3")]
    pub(super) fn note_write(&self) {
        self.has_written(Layer::Socket);
    }

    fn has_read(&self, layer: Layer) {
        match layer {
            Layer::Socket => self.read.store(self.clock.monotonic().0, Ordering::Relaxed),
            Layer::Plaintext if self.answer.load(Ordering::Relaxed) == 0 => {
                self.answer.store(self.read.load(Ordering::Relaxed), Ordering::Relaxed);
            }
            Layer::Plaintext => {}
        }
    }

    fn has_written(&self, layer: Layer) {
        if layer == Layer::Plaintext {
            return;
        }
        let now = self.clock.monotonic().0;
        if self.first_write.load(Ordering::Relaxed) == 0 {
            self.first_write.store(now, Ordering::Relaxed);
        }
        if self.answer.load(Ordering::Relaxed) == 0 {
            self.write_before_answer.store(now, Ordering::Relaxed);
        }
        self.written.notify_one();
    }
}

fn set(stamp: &AtomicU64) -> Option<MonoNanos> {
    let at = stamp.load(Ordering::Relaxed);
    (at != 0).then_some(MonoNanos(at))
}

// === impl Transport ===

impl Transport for StampedTcp {
    fn stamps(&self) -> Arc<Stamps> {
        Arc::clone(&self.stamps)
    }

    fn agreed_on_http2(&self) -> bool {
        false
    }
}

impl<S> Transport for TlsStream<Stamped<S>>
where
    S: AsyncRead + AsyncWrite + Debug + Send + Sync + Unpin,
{
    fn stamps(&self) -> Arc<Stamps> {
        Arc::clone(&self.get_ref().0.stamps)
    }

    fn agreed_on_http2(&self) -> bool {
        self.get_ref().1.alpn_protocol() == Some(b"h2")
    }
}

// === impl Stamped ===

impl StampedTcp {
    /// Takes over a socket that has just connected; `link` can take it away again.
    pub(super) fn new(way: Way, link: Arc<Link>) -> Self {
        let stamps = Arc::clone(link.stamps());
        Self { stream: Socket::new(way, link), stamps, layer: Layer::Socket }
    }
}

impl Connection {
    /// A connection over a socket in the clear, or over TLS after its handshake.
    pub(super) fn over(transport: impl Transport + 'static) -> Self {
        let stamps = transport.stamps();
        Self { stream: Box::new(transport), stamps, layer: Layer::Plaintext }
    }

    /// The instants of its reads and writes.
    pub(super) fn stamps(&self) -> Arc<Stamps> {
        Arc::clone(&self.stamps)
    }

    /// Whether both ends agreed on HTTP/2 in the TLS handshake.
    pub(super) fn agreed_on_http2(&self) -> bool {
        self.stream.agreed_on_http2()
    }
}

impl<S> Stamped<S> {
    fn wrote(&self, written: Poll<Result<usize>>) -> Poll<Result<usize>> {
        if matches!(written, Poll::Ready(Ok(1..))) {
            self.stamps.has_written(self.layer);
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stamped<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.stamps.has_read(self.layer);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stamped<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
