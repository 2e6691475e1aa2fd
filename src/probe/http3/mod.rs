//! HTTP/3: one request over a QUIC connection of our own, and its whole answer.
//!
//! QUIC and TLS are one handshake, and so one phase. The stamps are those of the UDP socket, right after
//! the system call returned. The rest of the engine sees [`fetch`] alone, so that what makes it work
//! can be replaced or, with the feature `http3` off, be left out.

#[cfg(not(feature = "http3"))]
mod absent;
#[cfg(feature = "http3")]
mod exchange;
#[cfg(feature = "http3")]
mod handshake;
#[cfg(feature = "http3")]
mod socket;

#[cfg(not(feature = "http3"))]
pub(super) use absent::fetch;
#[cfg(feature = "http3")]
pub(super) use exchange::fetch;
