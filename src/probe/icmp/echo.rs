//! ICMP echoes (RFC 792, RFC 4443): sockets, packets, and which answer belongs to which echo.
//!
//! An answer is ours by identifier and sequence number. On Linux a datagram socket has an identifier
//! of the system's choice, and hears the answers to it alone.

use super::{Echo, IcmpStep};
use crate::base::clock::MonoNanos;
use crate::model::probe::{Failure, FailureReason};
use crate::probe::dial::StepContext;
use crate::probe::failure::{Attempt, is_local, of_io};
use crate::probe::record::StepRecord;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::net::UdpSocket;

/// Longer than any packet that is sent, with its IP header.
const MAX_PACKET: usize = 2_048;
const ECHO_REPLY_V4: u8 = 0;
const ECHO_V4: u8 = 8;
const ECHO_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;

/// A socket that sends echoes to one address and hears what that sends.
#[derive(Debug)]
pub(super) struct EchoSocket {
    /// The runtime's only kind of socket that sends and receives packets; nothing in it is of UDP.
    socket: UdpSocket,
    identifier: u16,
    is_v6: bool,
}

/// An answer to an echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reply {
    identifier: u16,
    sequence: u16,
    /// Of the IP packet, where the socket shows it.
    ttl: Option<u8>,
}

// === impl EchoSocket ===

impl EchoSocket {
    /// A datagram socket, or else a raw one.
    ///
    /// # Errors
    /// When the system permits neither: that of the raw one.
    pub(super) fn open(address: IpAddr) -> io::Result<Self> {
        Self::of(Type::DGRAM, address).or_else(|_| Self::of(Type::RAW, address))
    }

    fn of(kind: Type, address: IpAddr) -> io::Result<Self> {
        let is_v6 = address.is_ipv6();
        let (domain, protocol) =
            if is_v6 { (Domain::IPV6, Protocol::ICMPV6) } else { (Domain::IPV4, Protocol::ICMPV4) };
        let socket = Socket::new(domain, kind, Some(protocol))?;
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::from(SocketAddr::new(address, 0)))?;
        // The port of a datagram socket is its identifier, where the system gives it one.
        let given = socket.local_addr()?.as_socket().map(|own| own.port());
        let given = given.filter(|port| kind == Type::DGRAM && *port != 0);
        let identifier = given.unwrap_or_else(rand::random);
        Ok(Self { socket: UdpSocket::from_std(socket.into())?, identifier, is_v6 })
    }

    /// How many routers what is sent may pass.
    pub(super) fn set_hop_limit(&self, limit: u8) -> io::Result<()> {
        let socket = SockRef::from(&self.socket);
        let limit = u32::from(limit);
        if self.is_v6 { socket.set_unicast_hops_v6(limit) } else { socket.set_ttl_v4(limit) }
    }

    /// A socket that is connected to a stand-in for a host.
    #[cfg(test)]
    pub(super) fn over(socket: std::net::UdpSocket, identifier: u16) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket: UdpSocket::from_std(socket)?, identifier, is_v6: false })
    }

    /// The packet of an echo. Over IPv6 the system fills in the checksum.
    fn packet(&self, sequence: u16, size: u16) -> Vec<u8> {
        let kind = if self.is_v6 { ECHO_V6 } else { ECHO_V4 };
        let ([i, d], [s, q]) = (self.identifier.to_be_bytes(), sequence.to_be_bytes());
        let payload = (0..size).map(|at| u8::try_from(at % 256).unwrap_or_default());
        let mut packet: Vec<u8> = [kind, 0, 0, 0, i, d, s, q].into_iter().chain(payload).collect();
        if !self.is_v6 {
            let sum = checksum(&packet).to_be_bytes();
            for (place, byte) in packet.iter_mut().skip(2).zip(sum) {
                *place = byte;
            }
        }
        packet
    }
}

/// The Internet checksum (RFC 1071).
fn checksum(packet: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for word in packet.chunks(2) {
        let word = [word.first().copied(), word.get(1).copied()].map(Option::unwrap_or_default);
        sum += u32::from(u16::from_be_bytes(word));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

/// Reads an answer; `None` for any other packet. Some sockets put the IPv4 header in front.
fn parse(packet: &[u8], is_v6: bool) -> Option<Reply> {
    let (ttl, message) = match packet {
        [first, _, _, _, _, _, _, _, ttl, ..] if !is_v6 && first >> 4 == 4 => {
            (Some(*ttl), packet.get(usize::from(first & 0xf) * 4..)?)
        }
        _ => (None, packet),
    };
    let [kind, 0, _, _, i, d, s, q, ..] = message else { return None };
    let wanted = if is_v6 { ECHO_REPLY_V6 } else { ECHO_REPLY_V4 };
    (*kind == wanted).then(|| Reply {
        identifier: u16::from_be_bytes([*i, *d]),
        sequence: u16::from_be_bytes([*s, *q]),
        ttl,
    })
}

// === sending and waiting ===

/// Sends the echoes of the step at their times and waits for the answers: for all of them, or as
/// long as the step or the deadline allows. Hands back the TTL of the last answer as well, and the last
/// error that a router or the host sent back instead of one: such an echo is lost.
pub(super) async fn exchange(
    socket: &EchoSocket,
    address: IpAddr,
    step: &IcmpStep,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<(Vec<Echo>, Option<u8>, Option<Failure>)> {
    // One error stands for one echo, though it does not say for which.
    let (mut errors, mut refused) = (None, 0);
    let mut refuse = |error: &io::Error, doing: &str| {
        let failure = of_io(error, FailureReason::Connect, &format!("{doing} {address}"));
        if is_local(error) || refused >= u32::from(step.count) * 2 {
            return Err(failure);
        }
        errors = Some(failure);
        refused += 1;
        Ok(refused)
    };
    let mut lost = 0;
    let base: u16 = rand::random();
    let mut echoes: Vec<Echo> = Vec::new();
    let (mut next, mut ttl) = (record.now(), None);
    let mut packet = [0; MAX_PACKET];
    while !with.deadline.has_passed() {
        let number = u16::try_from(echoes.len()).unwrap_or(u16::MAX);
        let all_sent = number >= step.count;
        let answered = echoes.iter().filter(|echo| echo.arrived.is_some()).count();
        if all_sent && answered + lost as usize >= echoes.len() {
            break;
        }
        if !all_sent && record.now() >= next {
            let echo = socket.packet(base.wrapping_add(number), step.size);
            let from = record.now();
            let sent = with.deadline.run("sending an echo", socket.socket.send(&echo)).await?;
            if let Err(error) = sent {
                lost = refuse(&error, "sending an echo to")?;
            }
            echoes.push(Echo { from, sent: record.now(), arrived: None });
            record.sent.get_or_insert(from);
            next = next.plus(step.interval);
            continue;
        }
        let until = if all_sent { last_word(&echoes, step) } else { Some(next) };
        let limit =
            until.map_or_else(|| with.deadline.clone(), |at| with.deadline.no_later_than(at));
        let Ok(read) = limit.limit(socket.socket.recv(&mut packet)).await else {
            if all_sent { break } else { continue }
        };
        let arrived = record.now();
        let length = match read {
            Ok(length) => length,
            Err(error) => {
                lost = refuse(&error, "waiting for an answer of")?;
                continue;
            }
        };
        let reply = parse(packet.get(..length).unwrap_or_default(), socket.is_v6);
        let Some(reply) = reply.filter(|reply| reply.identifier == socket.identifier) else {
            continue;
        };
        let place = usize::from(reply.sequence.wrapping_sub(base));
        if let Some(echo) = echoes.get_mut(place).filter(|echo| echo.arrived.is_none()) {
            echo.arrived = Some(arrived);
            ttl = reply.ttl.or(ttl);
        }
    }
    Ok((echoes, ttl, errors))
}

/// Until when answers count, where the step says so.
fn last_word(echoes: &[Echo], step: &IcmpStep) -> Option<MonoNanos> {
    Some(echoes.last()?.sent.plus(step.wait?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Guarantees the checksum of a known packet, and that a packet with its checksum sums to zero.
    #[test]
    fn checksums_are_right() {
        assert_eq!(checksum(&[8, 0, 0, 0, 0x12, 0x34, 0, 1]), 0xe5ca);
        assert_eq!(checksum(&[8, 0, 0xe5, 0xca, 0x12, 0x34, 0, 1]), 0);
        assert_eq!(checksum(&[1]), !0x0100);
    }

    /// Guarantees that answers are read with an IPv4 header and without, and nothing else is.
    #[test]
    fn answers_are_read() {
        let check = |packet: &[u8], is_v6: bool, expected: Option<(u16, u16, Option<u8>)>| {
            let found = parse(packet, is_v6).map(|r| (r.identifier, r.sequence, r.ttl));
            assert_eq!(found, expected, "{packet:?}");
        };
        let reply = [0, 0, 9, 9, 0x12, 0x34, 0, 7, 1, 2, 3];
        check(&reply, false, Some((0x1234, 7, None)));
        let mut whole = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 61, 1];
        whole.extend([0; 10]);
        whole.extend(reply);
        check(&whole, false, Some((0x1234, 7, Some(61))));
        check(&whole[..22], false, None);
        check(&[8, 0, 9, 9, 0x12, 0x34, 0, 7], false, None);
        check(&[129, 0, 9, 9, 0x12, 0x34, 0, 7], true, Some((0x1234, 7, None)));
        check(&[128, 0, 9, 9, 0x12, 0x34, 0, 7], true, None);
        check(&[], false, None);
    }

    proptest! {
        /// Guarantees that no packet makes the reader panic.
        #[test]
        fn any_packet_is_read(packet in prop::collection::vec(any::<u8>(), 0..80), is_v6: bool) {
            let _ = parse(&packet, is_v6);
        }
    }
}
