//! What is below the stamps: the socket itself or, where a probe runs through an emulated network,
//! that network before it; and the link by which a run can take the connection away (`link`).

use super::link::{Cut, Link};
use super::network::Shaped;
use socket2::SockRef;
use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A TCP connection.
#[derive(Debug)]
pub(super) struct Socket {
    way: Way,
    link: Arc<Link>,
}

/// How bytes go.
#[derive(Debug)]
pub(super) enum Way {
    /// As the system has it.
    Bare(TcpStream),
    /// Through an emulated network.
    Shaped(Shaped),
}

/// Hands a call on to whichever it is.
macro_rules! either {
    ($socket:ident, $inner:ident => $call:expr) => {
        match &mut $socket.get_mut().way {
            Way::Bare($inner) => $call,
            Way::Shaped($inner) => $call,
        }
    };
}

impl Socket {
    /// A connection that lives as long as its link does.
    pub(super) fn new(way: Way, link: Arc<Link>) -> Self {
        Self { way, link }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let (Way::Bare(tcp), Some(Cut::Reset)) = (&self.way, self.link.cut()) {
            // Where this fails the other end sees FIN instead of RST, which is an end as well.
            drop(SockRef::from(tcp).set_linger(Some(Duration::ZERO)));
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        self.link.watch(cx);
        if let Some(cut) = self.link.cut() {
            return cut.read();
        }
        either!(self, inner => Pin::new(inner).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        if let Some(cut) = self.link.cut() {
            return Poll::Ready(cut.write(buf.len()));
        }
        either!(self, inner => Pin::new(inner).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        if let Some(cut) = self.link.cut() {
            return Poll::Ready(cut.write(bufs.iter().map(|buf| buf.len()).sum()));
        }
        either!(self, inner => Pin::new(inner).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.way {
            Way::Bare(tcp) => tcp.is_write_vectored(),
            Way::Shaped(shaped) => shaped.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.link.cut().is_some() {
            return Poll::Ready(Ok(()));
        }
        either!(self, inner => Pin::new(inner).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.link.cut().is_some() {
            return Poll::Ready(Ok(()));
        }
        either!(self, inner => Pin::new(inner).poll_shutdown(cx))
    }
}
