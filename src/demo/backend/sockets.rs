//! Both sockets of a server that listens for datagrams and connections on one port.

use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, UdpSocket};

/// Tries to find a port that is free for UDP and TCP alike.
const PORT_TRIES: usize = 16;

/// A UDP and a TCP socket on one port.
#[derive(Debug)]
pub struct TwinSockets {
    pub(super) datagrams: UdpSocket,
    pub(super) listener: TcpListener,
    address: SocketAddr,
}

impl TwinSockets {
    /// Takes `address`; port 0 takes any that is free.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let mut tries = if address.port() == 0 { PORT_TRIES } else { 1 };
        loop {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            tries -= 1;
            match UdpSocket::bind(address).await {
                Ok(datagrams) => return Ok(Self { datagrams, listener, address }),
                Err(error) if tries == 0 => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
