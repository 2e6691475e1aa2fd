//! WebRTC data channels: an offer over HTTP, then ICE, DTLS and SCTP, and messages both ways.
//!
//! The offer is posted as WHIP does (RFC 9725): SDP there, SDP back, and where the answer names a place
//! for the session, that is deleted at the end. We offer one address, that from which the signalling
//! server is reached; a peer behind another is found by what it offers itself. The phases are those of
//! that request, then `ice`, until both ends have found a way, and `dtls`, from there until the
//! channel is open: DTLS, SCTP and the channel's own greeting.
//!
//! `signalling` asks, `driver` carries datagrams between the socket and the engine, `channel` is the
//! stream that steps see. The rest of the engine sees [`open`] alone, so that what makes it work can
//! be replaced or, with the feature `webrtc` off, be left out.

#[cfg(not(feature = "webrtc"))]
mod absent;
#[cfg(feature = "webrtc")]
mod channel;
#[cfg(feature = "webrtc")]
mod driver;
#[cfg(feature = "webrtc")]
mod session;
#[cfg(feature = "webrtc")]
mod signalling;

use super::spec::{Expect, HeaderText, StatusRange, TlsOptions};

#[cfg(not(feature = "webrtc"))]
pub(super) use absent::open;
#[cfg(feature = "webrtc")]
pub(super) use session::open;

/// Opens a data channel.
#[derive(Clone, Debug, PartialEq)]
pub struct WebRtcStep {
    /// Where the offer is posted: `http://` or `https://`.
    pub url: String,
    /// Headers of that request.
    pub headers: Vec<(String, HeaderText)>,
    /// Statuses of its answer that pass; empty means 200–299.
    pub status: Vec<StatusRange>,
    /// The channel's label.
    pub channel: String,
    /// Its subprotocol; empty for none.
    pub protocol: String,
    /// Whether messages arrive in the order in which they were sent.
    pub ordered: bool,
    /// How often what is lost is sent again; until it arrives unless given.
    pub max_retransmits: Option<u16>,
    /// A message to send once open.
    pub send: Option<String>,
    /// A message to wait for.
    pub expect: Option<Expect>,
    /// TLS of the request.
    pub tls: TlsOptions,
}

impl WebRtcStep {
    /// Its texts that are filled in at each run, but for those of what it expects.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        let headers = self.headers.iter().map(|(_, text)| text.reveal());
        let own = [&self.url, &self.channel, &self.protocol].into_iter().map(String::as_str);
        own.chain(self.send.as_deref()).chain(headers)
    }
}
