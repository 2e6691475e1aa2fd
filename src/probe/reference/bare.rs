//! The least that a client can do: blocking sockets of the standard library, and a stamp right after
//! the read. What it measures too much is the machine's own: loopback, and waking threads.

use super::Protocol;
use super::server::read_until;
use crate::base::clock::Clock;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;
use tokio_tungstenite::tungstenite::{self, Message};

/// The end of the event that the server sends.
const EVENT: &[u8] = b"echo\n\n";

/// A server that is silent for so long does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks a reference server once and returns the latency, measured as [`Protocol`] says. Blocks.
///
/// # Errors
/// When the connection fails or ends before the answer.
pub(super) fn ask(
    protocol: Protocol,
    address: SocketAddr,
    message: &str,
    clock: &Clock,
) -> io::Result<Duration> {
    match protocol {
        Protocol::Http => ask_http(address, clock),
        Protocol::WebSocket => ask_websocket(address, message, clock),
        Protocol::Sse => ask_sse(address, clock),
    }
}

fn ask_http(address: SocketAddr, clock: &Clock) -> io::Result<Duration> {
    let from = clock.monotonic();
    let mut stream = connect(address)?;
    write!(stream, "GET / HTTP/1.1\r\nhost: {address}\r\n\r\n")?;
    let _answer = read_until(&mut stream, b"echo")?;
    let took = clock.monotonic().since(from);
    stream.shutdown(Shutdown::Both)?;
    Ok(took)
}

fn ask_websocket(address: SocketAddr, message: &str, clock: &Clock) -> io::Result<Duration> {
    let (mut socket, _) = tungstenite::client(format!("ws://{address}/"), connect(address)?)
        .map_err(io::Error::other)?;
    let from = clock.monotonic();
    socket.send(Message::text(message)).map_err(io::Error::other)?;
    let _answer = socket.read().map_err(io::Error::other)?;
    let took = clock.monotonic().since(from);
    socket.get_ref().shutdown(Shutdown::Both)?;
    Ok(took)
}

fn ask_sse(address: SocketAddr, clock: &Clock) -> io::Result<Duration> {
    let mut stream = connect(address)?;
    write!(stream, "GET / HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n\r\n")?;
    let mut head = read_until(&mut stream, b"\r\n\r\n")?;
    let from = clock.monotonic();
    // Read late, the head has the event with it.
    if !head.ends_with(EVENT) {
        head = read_until(&mut stream, EVENT)?;
    }
    let took = clock.monotonic().since(from);
    drop(head);
    stream.shutdown(Shutdown::Both)?;
    Ok(took)
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}
