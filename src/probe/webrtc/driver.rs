//! Between the socket and the engine, which itself neither reads, nor writes, nor asks for the time.
//!
//! After each change all that the engine has to say is taken out of it ([`Driver::drain`]) before the
//! next change is made. A datagram is stamped when its read has returned; what the engine finds in it
//! bears that stamp.

use super::super::failure::{Attempt, failure, of_io};
use super::super::inbox::MAX_MESSAGE_BYTES;
use crate::base::clock::{Clock, MonoNanos};
use crate::base::error::Chain;
use crate::model::probe::{Failure, FailureReason};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::channel::{ChannelConfig, ChannelId};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcError};
use tokio::net::UdpSocket;

/// Longer than any datagram.
const MAX_DATAGRAM: usize = 1 << 16;
/// The engine is told the time at least so often.
const MAX_SLEEP: Duration = Duration::from_secs(60);
/// So many addresses to which datagrams went are remembered.
const MAX_KNOWN: usize = 128;
/// The system's refusals to send are kept of so many addresses.
const MAX_REFUSED: usize = 8;

/// A peer connection and its socket.
#[derive(Debug)]
pub(super) struct Driver {
    /// Boxed: ten kilobytes that many nested futures would each hold a copy of.
    rtc: Box<Rtc>,
    socket: UdpSocket,
    own: SocketAddr,
    clock: Clock,
    buffer: Vec<u8>,
    /// The stamp of the last input.
    at: MonoNanos,
    /// When the engine wants to be told the time.
    wake: Instant,
    /// Where datagrams went; the last is where the last one went.
    sent_to: Vec<SocketAddr>,
    /// Where the system would not send to, and what it said.
    refused: Vec<(SocketAddr, String)>,
}

/// What the engine is to be told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Happened {
    /// A datagram came; it is in the buffer.
    Datagram { length: usize, from: SocketAddr, at: MonoNanos },
    /// Time has passed.
    Time,
}

/// An offer, and what is needed to accept the answer to it.
pub(super) struct Offer {
    /// For the other end.
    pub sdp: String,
    /// The channel that it offers.
    pub channel: ChannelId,
    pending: SdpPendingOffer,
}

impl Driver {
    /// A peer connection over a socket of that address of ours.
    ///
    /// # Errors
    /// When the system gives no socket, or the address will not do.
    pub(super) async fn bind(mut rtc: Box<Rtc>, own: IpAddr, clock: &Clock) -> Attempt<Self> {
        let doing = "opening a UDP socket";
        let of = |error: std::io::Error| of_io(&error, FailureReason::Local, doing);
        let socket = UdpSocket::bind((own, 0)).await.map_err(of)?;
        let own = socket.local_addr().map_err(of)?;
        let at = clock.monotonic();
        let wake = instant(clock, at)?;
        let candidate = Candidate::host(own, "udp").map_err(|error| {
            failure(FailureReason::Local, format!("{own} cannot be offered to a peer: {error}"))
        })?;
        let _ = rtc.add_local_candidate(candidate);
        let (clock, buffer) = (clock.clone(), vec![0; MAX_DATAGRAM]);
        Ok(Self {
            rtc,
            socket,
            own,
            clock,
            buffer,
            at,
            wake,
            sent_to: Vec::new(),
            refused: Vec::new(),
        })
    }

    /// Offers a channel.
    ///
    /// # Errors
    /// A local failure when the engine has nothing to offer.
    pub(super) fn offer(&mut self, channel: ChannelConfig) -> Attempt<Offer> {
        let mut change = self.rtc.sdp_api();
        let channel = change.add_channel_with_config(channel);
        let (offer, pending) = change
            .apply()
            .ok_or_else(|| failure(FailureReason::Local, "there is no channel to offer"))?;
        Ok(Offer { sdp: offer.to_sdp_string(), channel, pending })
    }

    /// Takes the answer to an offer; hands back the channel.
    ///
    /// # Errors
    /// What is wrong with the answer, in the engine's words.
    pub(super) fn accept(&mut self, offer: Offer, answer: &str) -> Result<ChannelId, String> {
        let answer = SdpAnswer::from_sdp_string(answer).map_err(|e| Chain(&e).to_string())?;
        let accepted = self.rtc.sdp_api().accept_answer(offer.pending, answer);
        accepted.map_err(|error| Chain(&error).to_string())?;
        Ok(offer.channel)
    }

    /// Sends what the engine has to send; hands back what it has to tell.
    ///
    /// # Errors
    /// When it cannot go on.
    pub(super) async fn drain(&mut self) -> Attempt<VecDeque<Event>> {
        let mut events = VecDeque::new();
        loop {
            match self.rtc.poll_output().map_err(|error| of_engine(&error))? {
                Output::Timeout(wake) => {
                    self.wake = wake;
                    return Ok(events);
                }
                Output::Event(event) => events.push_back(event),
                Output::Transmit(datagram) => {
                    let to = datagram.destination;
                    match self.socket.send_to(&datagram.contents, to).await {
                        Ok(_) => self.note_sent(to),
                        // One of the addresses of the peer; others may do.
                        Err(error) => self.note_refused(to, Chain(&error).to_string()),
                    }
                }
            }
        }
    }

    /// Waits for a datagram, or until the engine wants to be told the time. May be cancelled without
    /// losing anything.
    ///
    /// # Errors
    /// What the socket said.
    pub(super) async fn next(&mut self) -> Attempt<Happened> {
        let now = instant(&self.clock, self.clock.monotonic())?;
        let wake = self.wake.min(now + MAX_SLEEP);
        tokio::select! {
            biased;
            received = self.socket.recv_from(&mut self.buffer) => {
                let at = self.clock.monotonic();
                let (length, from) = received
                    .map_err(|error| of_io(&error, FailureReason::Connect, "receiving datagrams"))?;
                Ok(Happened::Datagram { length, from, at })
            }
            () = tokio::time::sleep_until(wake.into()) => Ok(Happened::Time),
        }
    }

    /// Tells the engine.
    ///
    /// # Errors
    /// When it cannot go on.
    pub(super) fn take(&mut self, happened: Happened) -> Attempt<()> {
        let Happened::Datagram { length, from, at } = happened else {
            return self.tell_the_time();
        };
        let now = instant(&self.clock, at)?;
        let bytes = self.buffer.get(..length).unwrap_or_default();
        // What is no datagram of a peer connection, or none of this one, is nobody's fault.
        let Ok(received) = Receive::new(Protocol::Udp, from, self.own, bytes) else {
            return Ok(());
        };
        let input = Input::Receive(now, received);
        // A peer may be sure of the way before we are. A stranger is nobody whom we ever wrote to.
        if !self.sent_to.contains(&from) && !self.rtc.accepts(&input) {
            return Ok(());
        }
        self.at = at;
        self.rtc.handle_input(input).map_err(|error| of_engine(&error))
    }

    /// Puts a text message on its way; false when there is no room for it yet.
    ///
    /// # Errors
    /// When the channel is not open, or does not take such a message.
    pub(super) fn write(&mut self, channel: ChannelId, text: &str) -> Attempt<bool> {
        let mut channel = self
            .rtc
            .channel(channel)
            .ok_or_else(|| failure(FailureReason::Closed, "the data channel is closed"))?;
        channel.write(false, text.as_bytes()).map_err(|error| {
            let text = format!("sending over the data channel: {}", Chain(&error));
            failure(FailureReason::Protocol, text)
        })
    }

    /// Begins to say goodbye.
    pub(super) fn close(&mut self) {
        // It says no more than that there is nobody to say it to.
        let _ = self.rtc.close();
    }

    /// The stamp of what the engine tells now.
    pub(super) fn at(&self) -> MonoNanos {
        self.at
    }

    /// Our own address.
    pub(super) fn own(&self) -> SocketAddr {
        self.own
    }

    /// Where the last datagram went.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.sent_to.last().copied()
    }

    /// Where the system would not send to: `10.0.0.1:5000: Network is unreachable`.
    pub(super) fn refused(&self) -> impl Iterator<Item = String> {
        self.refused.iter().map(|(to, why)| format!("{to}: {why}"))
    }

    /// Tells the engine the time.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub(super) fn tell_the_time(&mut self) -> Attempt<()> {
        self.at = self.clock.monotonic();
        let now = instant(&self.clock, self.at)?;
        self.rtc.handle_input(Input::Timeout(now)).map_err(|error| of_engine(&error))
    }

    fn note_sent(&mut self, to: SocketAddr) {
        if self.sent_to.last() == Some(&to) {
            return;
        }
        self.sent_to.retain(|known| *known != to);
        if self.sent_to.len() >= MAX_KNOWN {
            drop(self.sent_to.drain(..1));
        }
        self.sent_to.push(to);
    }

    fn note_refused(&mut self, to: SocketAddr, why: String) {
        let is_known = self.refused.iter().any(|(known, _)| *known == to);
        if !is_known && self.refused.len() < MAX_REFUSED {
            self.refused.push((to, why));
        }
    }
}

/// An engine with a certificate of its own. For its keys the first one of a process takes tens of
/// milliseconds.
///
/// # Errors
/// A local failure with a clock that has no instants.
pub(super) fn engine(clock: &Clock) -> Attempt<Box<Rtc>> {
    let size = u32::try_from(MAX_MESSAGE_BYTES).unwrap_or(u32::MAX);
    let engine = Rtc::builder()
        .clear_codecs()
        .set_sctp_max_message_size(size)
        .set_sctp_max_buffered_amount(MAX_MESSAGE_BYTES);
    Ok(Box::new(engine.build(instant(clock, clock.monotonic())?)))
}

/// The engine counts in instants, which only the system's clock has.
fn instant(clock: &Clock, at: MonoNanos) -> Attempt<Instant> {
    let found = clock.instant_of(at);
    found.ok_or_else(|| failure(FailureReason::Local, "this clock has no instants"))
}

/// An error once the answer was taken. What can then still be held against the answer is that the
/// peer shows another certificate than it names.
fn of_engine(error: &RtcError) -> Failure {
    match error {
        RtcError::Dtls(_) => {
            failure(FailureReason::Tls, format!("DTLS with the peer: {}", Chain(error)))
        }
        RtcError::RemoteSdp(_) => {
            let text = format!(
                "DTLS with the peer: its certificate is not the one that its answer names ({error})"
            );
            failure(FailureReason::Tls, text)
        }
        _ => failure(FailureReason::Protocol, format!("the peer connection: {}", Chain(error))),
    }
}
