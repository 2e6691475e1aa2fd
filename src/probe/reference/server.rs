//! A server on loopback that holds its answers back, and records by how much.
//!
//! It answers on a thread of its own, so that it shares nothing with the runtime it is measured by.
//! One connection is served after the other: nothing else is going on meanwhile.

use super::Protocol;
use crate::base::clock::Clock;
use parking_lot::Mutex;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle, park_timeout};
use std::time::Duration;
use tokio_tungstenite::tungstenite::{self, Message};

/// Records that nobody has taken yet. Clients ask one after the other and take theirs.
const MAX_RECORDS: usize = 16;
/// A head that is longer is not read on.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// After an accept that failed, because descriptors are short.
const RETRY: Duration = Duration::from_millis(10);

/// A server, and what it has recorded. Dropping it hangs up and waits for its thread: no longer than
/// the delay.
#[derive(Debug)]
pub struct DelayServer {
    address: SocketAddr,
    held_back: Receiver<Duration>,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread and its owner share.
#[derive(Debug, Default)]
struct State {
    stopping: bool,
    /// The connection that is being served.
    current: Option<TcpStream>,
}

/// The thread's side.
struct Worker {
    protocol: Protocol,
    delay: Duration,
    clock: Clock,
    record: SyncSender<Duration>,
    state: Arc<Mutex<State>>,
}

// === impl DelayServer ===

impl DelayServer {
    /// Listens on a free port of 127.0.0.1 and waits `delay` before each answer: HTTP's whole answer,
    /// the echo of a message, the first event of a stream.
    ///
    /// # Errors
    /// When the machine gives no port or no thread.
    pub fn start(protocol: Protocol, delay: Duration, clock: Clock) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (record, held_back) = sync_channel(MAX_RECORDS);
        let state = Arc::default();
        let worker = Worker { protocol, delay, clock, record, state: Arc::clone(&state) };
        let thread =
            Builder::new().name("reference".to_owned()).spawn(move || worker.work(&listener))?;
        Ok(Self { address, held_back, state, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How long the oldest answer that was not asked for here before was held back: from the read of
    /// the request to the write of the answer, of an event from the write of the head. It is there
    /// before the answer is.
    #[must_use]
    pub fn held_back(&self) -> Option<Duration> {
        self.held_back.try_recv().ok()
    }
}

impl Drop for DelayServer {
    fn drop(&mut self) {
        let current = {
            let mut state = self.state.lock();
            state.stopping = true;
            state.current.take()
        };
        if let Some(stream) = current {
            drop(stream.shutdown(Shutdown::Both));
        }
        // A connection wakes the thread where it waits for one. Without it there is nothing to wait
        // for: the thread sleeps until the process ends.
        if TcpStream::connect(self.address).is_ok()
            && let Some(thread) = self.thread.take()
        {
            drop(thread.join());
        }
    }
}

// === impl Worker ===

impl Worker {
    fn work(&self, listener: &TcpListener) {
        for accepted in listener.incoming() {
            let Ok((stream, copy)) = accepted.and_then(|stream| {
                let copy = stream.try_clone()?;
                Ok((stream, copy))
            }) else {
                park_timeout(RETRY);
                continue;
            };
            if !self.take_up(copy) {
                return;
            }
            // The client sees a failure by itself.
            drop(self.serve(stream));
            // The last copy closes the connection.
            drop(self.state.lock().current.take());
        }
    }

    /// Makes the connection the one that is served, unless the server is stopping.
    fn take_up(&self, stream: TcpStream) -> bool {
        let mut state = self.state.lock();
        state.current = (!state.stopping).then_some(stream);
        !state.stopping
    }

    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        match self.protocol {
            Protocol::Http => self.serve_http(stream),
            Protocol::WebSocket => self.serve_websocket(stream),
            Protocol::Sse => self.serve_sse(stream),
        }
    }

    fn serve_http(&self, mut stream: TcpStream) -> io::Result<()> {
        read_until(&mut stream, b"\r\n\r\n")?;
        self.hold_back()?;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\necho")?;
        linger(stream)
    }

    fn serve_websocket(&self, stream: TcpStream) -> io::Result<()> {
        let mut socket = tungstenite::accept(stream).map_err(io::Error::other)?;
        while let message @ Message::Text(_) = socket.read().map_err(io::Error::other)? {
            self.hold_back()?;
            socket.send(message).map_err(io::Error::other)?;
        }
        Ok(())
    }

    fn serve_sse(&self, mut stream: TcpStream) -> io::Result<()> {
        read_until(&mut stream, b"\r\n\r\n")?;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")?;
        self.hold_back()?;
        stream.write_all(b"data: echo\n\n")?;
        linger(stream)
    }

    /// Waits and records how long that really took; the answer is written right after.
    fn hold_back(&self) -> io::Result<()> {
        let from = self.clock.monotonic();
        let waited = loop {
            let waited = self.clock.monotonic().since(from);
            match self.delay.checked_sub(waited) {
                Some(left) if !left.is_zero() => park_timeout(left),
                _ => break waited,
            }
        };
        self.record.try_send(waited).map_err(|_| io::Error::other("nobody takes the records"))
    }
}

/// Reads until `end` has come; returns what came, and that may be more.
///
/// # Errors
/// When the connection ends before, or too much comes.
pub(super) fn read_until(stream: &mut TcpStream, end: &[u8]) -> io::Result<Vec<u8>> {
    let (mut came, mut piece) = (Vec::new(), [0; 4096]);
    while !came.windows(end.len()).any(|window| window == end) {
        let read = stream.read(&mut piece)?;
        if read == 0 || came.len() > MAX_HEAD_BYTES {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        came.extend_from_slice(piece.get(..read).unwrap_or_default());
    }
    Ok(came)
}

/// Waits until the client closes.
fn linger(mut stream: TcpStream) -> io::Result<()> {
    let _ = io::copy(&mut stream, &mut io::sink())?;
    Ok(())
}
