//! UDP to one address of a target: a connected socket, stamped as TCP is.
//!
//! Connected, so that nobody else's datagrams come in, and so that the other end's word that the
//! port is closed (ICMP) is heard.

use super::dial::{StepContext, resolve};
use super::failure::{Attempt, failure, is_local};
use super::record::StepRecord;
use super::target::Target;
use crate::base::clock::{Clock, MonoNanos};
use crate::base::error::Chain;
use crate::model::probe::{Failure, FailureReason};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::net::UdpSocket;

/// What fits into a datagram over IPv4, bytes.
pub(super) const MAX_PAYLOAD: usize = 65_507;
/// Longer than any datagram.
const MAX_DATAGRAM: usize = 1 << 16;

/// A socket that talks to one address.
#[derive(Debug)]
pub(super) struct Datagrams {
    socket: UdpSocket,
    clock: Clock,
    buffer: Vec<u8>,
}

/// The addresses of a target, and why those tried so far would not do.
#[derive(Debug)]
pub(super) struct Addresses {
    left: std::vec::IntoIter<SocketAddr>,
    errors: Vec<String>,
    /// Whether all the errors so far were our own machine's.
    ours: bool,
    is_name: bool,
}

// === impl Addresses ===

impl Addresses {
    /// Resolves the target.
    pub(super) async fn of(
        target: &Target,
        with: StepContext<'_>,
        record: &mut StepRecord,
    ) -> Attempt<Self> {
        let left = resolve(target, with, record).await?.into_iter();
        let is_name = target.address().is_none();
        Ok(Self { left, errors: Vec::new(), ours: true, is_name })
    }

    /// A socket to the next address that can be talked to.
    ///
    /// # Errors
    /// When there is none left: what became of each.
    pub(super) async fn connect(&mut self, clock: &Clock) -> Attempt<(Datagrams, SocketAddr)> {
        while let Some(address) = self.left.next() {
            match Datagrams::connect(address, clock).await {
                Ok(datagrams) => return Ok((datagrams, address)),
                Err(error) => self.refused(address, &error),
            }
        }
        Err(self.failure())
    }

    /// Keeps why an address will not do.
    pub(super) fn refused(&mut self, address: SocketAddr, error: &io::Error) {
        let closed = error.kind() == io::ErrorKind::ConnectionRefused;
        let why = if closed { ", nobody listens there (ICMP port unreachable)" } else { "" };
        self.errors.push(format!("{address}: {}{why}", Chain(error)));
        self.ours &= is_local(error);
    }

    /// Says which of several addresses it was that answered.
    pub(super) fn note(&self, address: SocketAddr, record: &mut StepRecord) {
        if self.is_name {
            record.attribute("network.peer.address", address.ip().to_string());
        }
    }

    fn failure(&self) -> Failure {
        let reason = if self.ours { FailureReason::Local } else { FailureReason::Connect };
        failure(reason, format!("sending datagrams to {}", self.errors.join("; ")))
    }
}

// === impl Datagrams ===

impl Datagrams {
    async fn connect(address: SocketAddr, clock: &Clock) -> io::Result<Self> {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(address).await?;
        Ok(Self { socket, clock: clock.clone(), buffer: vec![0; MAX_DATAGRAM] })
    }

    /// Sends one datagram of no more than [`MAX_PAYLOAD`] bytes; hands back the instants just before and after.
    pub(super) async fn send(&self, bytes: &[u8]) -> io::Result<(MonoNanos, MonoNanos)> {
        let from = self.clock.monotonic();
        let _ = self.socket.send(bytes).await?;
        Ok((from, self.clock.monotonic()))
    }

    /// Waits for the next datagram, and stamps it.
    pub(super) async fn receive(&mut self) -> io::Result<(&[u8], MonoNanos)> {
        let length = self.socket.recv(&mut self.buffer).await?;
        let arrived = self.clock.monotonic();
        Ok((self.buffer.get(..length).unwrap_or_default(), arrived))
    }

    /// The next datagram of those that are here already.
    pub(super) fn received(&mut self) -> Option<&[u8]> {
        let length = self.socket.try_recv(&mut self.buffer).ok()?;
        self.buffer.get(..length)
    }
}
