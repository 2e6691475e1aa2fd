//! The link under a connection, which a run can cut to see what follows: as when a phone loses its
//! network, or something between it and the server forgets the connection.
//!
//! The socket asks its link before each call (`socket`). What is cut stays cut. The kernel's own
//! connection knows nothing of silence and goes on acknowledging, so to the server it looks like a
//! client that neither reads nor writes.

use super::connection::Stamps;
use crate::base::clock::{Clock, MonoNanos};
use futures::task::AtomicWaker;
use std::io::{ErrorKind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

/// How a connection goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Both ends see it reset.
    Reset,
    /// Both ends see it end without a word.
    Finished,
    /// Nothing comes any more and what is sent goes nowhere; the socket stays open.
    Silent,
}

/// Of one connection.
#[derive(Debug)]
pub(super) struct Link {
    /// The cut, from 1; 0 while there is none.
    cut: AtomicU8,
    reader: AtomicWaker,
    stamps: Arc<Stamps>,
}

impl Link {
    /// Under a connection that is whole.
    pub(super) fn new(clock: Clock) -> Self {
        let stamps = Arc::new(Stamps::new(clock));
        Self { cut: AtomicU8::new(0), reader: AtomicWaker::new(), stamps }
    }

    /// Takes the connection away.
    pub(super) fn sever(&self, cut: Cut) {
        let number = match cut {
            Cut::Reset => 1,
            Cut::Finished => 2,
            Cut::Silent => 3,
        };
        self.cut.store(number, Ordering::Release);
        self.reader.wake();
    }

    /// How it was taken away, if it was.
    pub(super) fn cut(&self) -> Option<Cut> {
        match self.cut.load(Ordering::Acquire) {
            1 => Some(Cut::Reset),
            2 => Some(Cut::Finished),
            3 => Some(Cut::Silent),
            _ => None,
        }
    }

    /// Has whoever reads woken when the connection is taken away. To be called before [`Self::cut`].
    pub(super) fn watch(&self, cx: &Context<'_>) {
        self.reader.register(cx.waker());
    }

    /// When anything last came over the connection: a sign of life, whatever it says.
    pub(super) fn last_read(&self) -> MonoNanos {
        self.stamps.last_read()
    }

    /// The connection's stamps.
    pub(super) fn stamps(&self) -> &Arc<Stamps> {
        &self.stamps
    }
}

impl Cut {
    /// The name in definitions and attributes.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Reset => "rst",
            Self::Finished => "fin",
            Self::Silent => "silence",
        }
    }

    /// What a read finds after the cut.
    pub(super) fn read(self) -> Poll<Result<()>> {
        match self {
            Self::Reset => Poll::Ready(Err(ErrorKind::ConnectionReset.into())),
            Self::Finished => Poll::Ready(Ok(())),
            Self::Silent => Poll::Pending,
        }
    }

    /// What becomes of a write of that length.
    pub(super) fn write(self, length: usize) -> Result<usize> {
        match self {
            Self::Reset => Err(ErrorKind::ConnectionReset.into()),
            Self::Finished => Err(ErrorKind::BrokenPipe.into()),
            Self::Silent => Ok(length),
        }
    }
}
