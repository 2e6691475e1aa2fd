//! A TCP connection through an emulated network.
//!
//! Two tasks stand between it and the socket, one a direction. What the socket receives is taken at
//! once, so that its way through the network begins when it really came, also while nobody reads. What
//! is written is taken at once too, as by a kernel's send buffer, and reaches the socket when its way
//! is over, also after the connection was dropped.

use super::lane::{Lane, Taken, Timer};
use super::run::Path;
use super::tally::Direction;
use crate::base::clock::Clock;
use bytes::{Buf, BytesMut};
use std::future::poll_fn;
use std::io::Result;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

/// The socket is read in parts of this size.
const READ_BYTES: usize = 16 << 10;
/// What is still under way when the connection is dropped has so long to arrive.
const LINGER: Duration = Duration::from_secs(5);

/// A TCP connection through an emulated network.
#[derive(Debug)]
pub struct Shaped {
    clock: Clock,
    up: Arc<Lane>,
    down: Arc<Lane>,
    sending: Timer,
    taking: Timer,
    _pull: AbortOnDropHandle<()>,
    /// Tells the task that pushes that nobody holds the connection any more.
    _hold: oneshot::Sender<()>,
}

// === impl Shaped ===

impl Shaped {
    /// Puts the network before a socket that has just connected. Must be called on a runtime.
    #[must_use]
    pub fn new(tcp: TcpStream, path: Path) -> Self {
        let Path { up, down, tally, clock } = path;
        let up = Arc::new(Lane::new(Direction::Up, up, clock.clone(), Arc::clone(&tally)));
        let down = Arc::new(Lane::new(Direction::Down, down, clock.clone(), tally));
        let (read, write) = tcp.into_split();
        let (hold, dropped) = oneshot::channel();
        drop(tokio::spawn(push(write, Arc::clone(&up), clock.clone(), dropped)));
        let pull = tokio::spawn(pull(read, Arc::clone(&down)));
        Self {
            clock,
            up,
            down,
            sending: Timer::default(),
            taking: Timer::default(),
            _pull: AbortOnDropHandle::new(pull),
            _hold: hold,
        }
    }
}

impl Drop for Shaped {
    fn drop(&mut self) {
        self.up.end(Ok(()));
    }
}

impl AsyncRead for Shaped {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let Self { clock, down, taking, .. } = self.get_mut();
        let now = clock.monotonic();
        let before = buf.filled().len();
        while buf.remaining() > 0 {
            // The end stays, for the next read.
            if buf.filled().len() > before && !down.has_arrived(now) {
                break;
            }
            match ready!(down.poll_take(cx, taking, now, buf.remaining())) {
                Taken::Bytes(bytes) => buf.put_slice(&bytes),
                Taken::End(with) => return Poll::Ready(with),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Shaped {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        let Self { up, sending, .. } = self.get_mut();
        up.poll_send(cx, sending, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        self.up.end(Ok(()));
        Poll::Ready(Ok(()))
    }
}

/// Takes what the socket receives.
async fn pull(mut socket: OwnedReadHalf, lane: Arc<Lane>) {
    let mut timer = Timer::default();
    let mut chunk = BytesMut::new();
    loop {
        chunk.reserve(READ_BYTES);
        match socket.read_buf(&mut chunk).await {
            Ok(0) => return lane.end(Ok(())),
            Ok(_) => {}
            Err(error) => return lane.end(Err(error)),
        }
        while chunk.has_remaining() {
            match poll_fn(|cx| lane.poll_send(cx, &mut timer, &chunk)).await {
                Ok(sent) => chunk.advance(sent),
                Err(_) => return,
            }
        }
    }
}

/// Hands to the socket what arrives, until the end, or a while after the connection was dropped.
async fn push(
    mut socket: OwnedWriteHalf,
    lane: Arc<Lane>,
    clock: Clock,
    dropped: oneshot::Receiver<()>,
) {
    let all = async {
        let mut timer = Timer::default();
        loop {
            let next = poll_fn(|cx| lane.poll_take(cx, &mut timer, clock.monotonic(), usize::MAX));
            let written = match next.await {
                Taken::Bytes(mut bytes) => socket.write_all_buf(&mut bytes).await,
                Taken::End(_) => return drop(socket.shutdown().await),
            };
            if let Err(error) = written {
                return lane.refuse(error);
            }
        }
    };
    let too_long = async {
        // It is never sent anything: what ends the wait is that the sender is gone.
        drop(dropped.await);
        tokio::time::sleep(LINGER).await;
    };
    tokio::select! {
        () = all => {}
        () = too_long => {}
    }
}
