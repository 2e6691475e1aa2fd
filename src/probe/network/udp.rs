//! A connected UDP socket through an emulated network: datagrams are delayed, overtake each other in
//! rough moments, and are lost for good.

use super::lane::{Lane, Taken, Timer};
use super::run::Path;
use super::tally::Direction;
use crate::base::clock::Clock;
use std::future::poll_fn;
use std::io::Result;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::net::UdpSocket;
use tokio_util::task::AbortOnDropHandle;

/// No datagram is longer.
const MAX_DATAGRAM: usize = 65_535;

/// A connected UDP socket through an emulated network. Dropping it drops what is under way.
#[derive(Debug)]
pub struct ShapedUdp {
    clock: Clock,
    up: Arc<Lane>,
    down: Arc<Lane>,
    taking: Timer,
    _pull: AbortOnDropHandle<()>,
    _push: AbortOnDropHandle<()>,
}

// === impl ShapedUdp ===

impl ShapedUdp {
    /// Puts the network before a socket that is connected to its peer. Must be called on a runtime.
    #[must_use]
    pub fn new(socket: UdpSocket, path: Path) -> Self {
        let Path { up, down, tally, clock } = path;
        let socket = Arc::new(socket);
        let up = Arc::new(Lane::new(Direction::Up, up, clock.clone(), Arc::clone(&tally)));
        let down = Arc::new(Lane::new(Direction::Down, down, clock.clone(), tally));
        let push = tokio::spawn(push(Arc::clone(&socket), Arc::clone(&up), clock.clone()));
        let pull = tokio::spawn(pull(socket, Arc::clone(&down)));
        Self {
            clock,
            up,
            down,
            taking: Timer::default(),
            _pull: AbortOnDropHandle::new(pull),
            _push: AbortOnDropHandle::new(push),
        }
    }

    /// Sends a datagram; one that is lost on the way is no error.
    ///
    /// # Errors
    /// None today; a socket's errors come out of [`Self::recv`].
    pub async fn send(&self, datagram: &[u8]) -> Result<usize> {
        self.up.send_datagram(datagram);
        Ok(datagram.len())
    }

    /// Waits for a datagram and says how long it is; what does not fit into `buf` is cut off. May be
    /// cancelled without losing one.
    ///
    /// # Errors
    /// What the socket said, when it said it, and from then on.
    pub async fn recv(&mut self, buf: &mut [u8]) -> Result<usize> {
        let Self { clock, down, taking, .. } = self;
        let taken = poll_fn(|cx| down.poll_take(cx, taking, clock.monotonic(), MAX_DATAGRAM)).await;
        match taken {
            Taken::Bytes(datagram) => Ok(copy(&datagram, buf)),
            Taken::End(with) => with.map(|()| 0),
        }
    }

    /// A datagram that is here already, as [`Self::recv`].
    pub fn try_recv(&mut self, buf: &mut [u8]) -> Option<usize> {
        let Self { clock, down, taking, .. } = self;
        let now = clock.monotonic();
        // Nobody waits, so there is nobody to wake.
        let mut cx = Context::from_waker(Waker::noop());
        let has_arrived = down.has_arrived(now);
        match has_arrived.then(|| down.poll_take(&mut cx, taking, now, MAX_DATAGRAM)) {
            Some(Poll::Ready(Taken::Bytes(datagram))) => Some(copy(&datagram, buf)),
            _ => None,
        }
    }
}

/// Copies as much as there is room for; says how much that is.
fn copy(from: &[u8], to: &mut [u8]) -> usize {
    let length = from.len().min(to.len());
    if let Some((to, from)) = to.get_mut(..length).zip(from.get(..length)) {
        to.copy_from_slice(from);
    }
    length
}

/// Takes what the socket receives.
async fn pull(socket: Arc<UdpSocket>, lane: Arc<Lane>) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        match socket.recv(&mut buffer).await {
            Ok(length) => lane.send_datagram(buffer.get(..length).unwrap_or_default()),
            Err(error) => return lane.end(Err(error)),
        }
    }
}

/// Hands to the socket what arrives.
async fn push(socket: Arc<UdpSocket>, lane: Arc<Lane>, clock: Clock) {
    let mut timer = Timer::default();
    loop {
        let next = poll_fn(|cx| lane.poll_take(cx, &mut timer, clock.monotonic(), MAX_DATAGRAM));
        match next.await {
            // What the socket refuses, its receiving side tells.
            Taken::Bytes(datagram) => drop(socket.send(&datagram).await),
            Taken::End(_) => return,
        }
    }
}
