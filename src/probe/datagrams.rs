//! UDP to one address of a target: a connected socket, stamped as TCP is.
//!
//! Connected, so that nobody else's datagrams come in, and so that the other end's word that the
//! port is closed (ICMP) is heard.

use super::dial::{StepContext, resolve};
use super::failure::{Attempt, failure, is_local};
use super::network::ShapedUdp;
use super::record::StepRecord;
use super::target::Target;
use crate::base::clock::{Clock, MonoNanos};
use crate::base::error::Chain;
use crate::model::probe::{Failure, FailureReason};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::net::UdpSocket;

/// What fits into a datagram over IPv4, bytes.
pub(super) const MAX_PAYLOAD: usize = 65_507;
/// Longer than any datagram.
const MAX_DATAGRAM: usize = 1 << 16;

/// A socket that talks to one address.
#[derive(Debug)]
pub(super) struct Datagrams {
    socket: Socket,
    own: Option<SocketAddr>,
    clock: Clock,
    buffer: Vec<u8>,
}

/// What is below the stamps.
#[derive(Debug)]
enum Socket {
    /// As the system has it.
    Bare(UdpSocket),
    /// Through an emulated network.
    Shaped(ShapedUdp),
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
    pub(super) async fn connect(
        &mut self,
        with: StepContext<'_>,
        record: &StepRecord,
    ) -> Attempt<(Datagrams, SocketAddr)> {
        while let Some(address) = self.left.next() {
            match Datagrams::connect(address, with, record).await {
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
    /// A socket that talks to that address, over the network of the run.
    pub(super) async fn connect(
        address: SocketAddr,
        with: StepContext<'_>,
        record: &StepRecord,
    ) -> io::Result<Self> {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(address).await?;
        let own = socket.local_addr().ok();
        let socket = match with.network {
            Some(network) => Socket::Shaped(ShapedUdp::new(socket, network.open(record.span()))),
            None => Socket::Bare(socket),
        };
        let clock = with.context.clock.clone();
        Ok(Self { socket, own, clock, buffer: vec![0; MAX_DATAGRAM] })
    }

    /// The address of ours from which datagrams go; over an emulated network too.
    pub(super) fn own_ip(&self) -> Option<IpAddr> {
        self.own.map(|own| own.ip())
    }

    /// Sends one datagram of no more than [`MAX_PAYLOAD`] bytes; hands back the instants just before and after.
    pub(super) async fn send(&self, bytes: &[u8]) -> io::Result<(MonoNanos, MonoNanos)> {
        let from = self.clock.monotonic();
        let _ = match &self.socket {
            Socket::Bare(socket) => socket.send(bytes).await?,
            Socket::Shaped(shaped) => shaped.send(bytes).await?,
        };
        Ok((from, self.clock.monotonic()))
    }

    /// Waits for the next datagram, and stamps it. May be cancelled without losing one.
    pub(super) async fn receive(&mut self) -> io::Result<(&[u8], MonoNanos)> {
        let length = match &mut self.socket {
            Socket::Bare(socket) => socket.recv(&mut self.buffer).await?,
            Socket::Shaped(shaped) => shaped.recv(&mut self.buffer).await?,
        };
        let arrived = self.clock.monotonic();
        Ok((self.buffer.get(..length).unwrap_or_default(), arrived))
    }

    /// The next datagram of those that are here already.
    pub(super) fn received(&mut self) -> Option<&[u8]> {
        let length = match &mut self.socket {
            Socket::Bare(socket) => socket.try_recv(&mut self.buffer).ok()?,
            Socket::Shaped(shaped) => shaped.try_recv(&mut self.buffer)?,
        };
        self.buffer.get(..length)
    }
}
