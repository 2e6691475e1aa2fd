//! The way to a TURN server: datagrams, or a stream in which messages follow one another.

use super::super::connection::Connection;
use super::super::datagrams::Datagrams;
use crate::base::clock::{Clock, MonoNanos};
use bytes::{Bytes, BytesMut};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The header of a STUN message.
const HEADER: usize = 20;

/// The way to a server.
#[derive(Debug)]
pub(super) enum Line {
    /// Over UDP: what is lost is sent again by who waits.
    Datagrams(Datagrams),
    /// Over TCP or TLS.
    Stream {
        /// The connection.
        connection: Connection,
        /// What was read of the next messages.
        read: BytesMut,
        /// The time.
        clock: Clock,
    },
}

// === impl Line ===

impl Line {
    /// Over a connection.
    pub(super) fn over(connection: Connection, clock: &Clock) -> Self {
        Self::Stream { connection, read: BytesMut::new(), clock: clock.clone() }
    }

    /// Whether messages may be lost.
    pub(super) fn is_lossy(&self) -> bool {
        matches!(self, Self::Datagrams(_))
    }

    /// Sends a message; hands back the instants just before and after.
    pub(super) async fn send(&mut self, message: &[u8]) -> io::Result<(MonoNanos, MonoNanos)> {
        match self {
            Self::Datagrams(datagrams) => datagrams.send(message).await,
            Self::Stream { connection, clock, .. } => {
                let from = clock.monotonic();
                connection.write_all(message).await?;
                connection.flush().await?;
                Ok((from, clock.monotonic()))
            }
        }
    }

    /// Waits for the next message, and stamps it. May be cancelled without losing one.
    pub(super) async fn receive(&mut self) -> io::Result<(Bytes, MonoNanos)> {
        match self {
            Self::Datagrams(datagrams) => {
                let (bytes, arrived) = datagrams.receive().await?;
                Ok((Bytes::copy_from_slice(bytes), arrived))
            }
            Self::Stream { connection, read, .. } => loop {
                if let Some(length) = whole(read)? {
                    let message = read.split_to(length).freeze();
                    return Ok((message, connection.stamps().last_read()));
                }
                if connection.read_buf(read).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            },
        }
    }
}

/// How long the first message is, once all of it is here. Bounded: a length has 16 bits.
fn whole(read: &[u8]) -> io::Result<Option<usize>> {
    let Some((&[kind, _, high, low], _)) = read.split_first_chunk::<4>() else { return Ok(None) };
    if kind & 0xc0 != 0 {
        let text = "what comes is no STUN message";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let length = HEADER + usize::from(u16::from_be_bytes([high, low]));
    Ok((read.len() >= length).then_some(length))
}
