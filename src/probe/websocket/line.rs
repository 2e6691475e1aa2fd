//! The way to the server, shared by steps and the reader: messages, answers, the farewell.

use super::super::connection::Connection;
use super::super::failure::{Attempt, failure, of_stream, quote};
use super::super::stream::{Findings, Outlet};
use super::deflate::Deflater;
use super::frames::{Frame, Opcode, encode};
use crate::model::probe::FailureReason;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncWriteExt, WriteHalf};
use tokio::sync::Mutex;

/// The close code of a stream that has done what it was for.
const NORMAL: u16 = 1000;

/// How texts of a definition stand for data that is sent in binary messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryText {
    /// Standard base64, with its padding.
    Base64,
    /// Two hexadecimal digits a byte; white space between them does not matter.
    Hex,
}

/// The way to the server. What is written is always whole frames, whoever writes them.
#[derive(Debug)]
pub(super) struct Line(Mutex<Writer>);

/// How messages are sent.
#[derive(Debug)]
pub(super) struct Manner {
    /// Compresses them, where that was agreed on.
    pub deflater: Option<Deflater>,
    /// Cuts them into fragments of so many bytes.
    pub fragment: Option<NonZeroU32>,
    /// Texts stand for data.
    pub binary: Option<BinaryText>,
}

#[derive(Debug)]
struct Writer {
    half: WriteHalf<Connection>,
    manner: Manner,
    /// No frame may follow a close frame, nor part of a frame.
    is_over: bool,
}

/// What the reader counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Messages.
    pub messages: AtomicU64,
    /// Bytes of their frames' payloads.
    pub wire_bytes: AtomicU64,
    /// Bytes of the messages themselves.
    pub bytes: AtomicU64,
    /// Frames of messages that came in more than one.
    pub fragments: AtomicU64,
    /// Pings of the server.
    pub pings: AtomicU64,
}

/// The sending half of a WebSocket, as steps have it.
#[derive(Debug)]
pub(super) struct Speaker {
    /// The way.
    pub line: Arc<Line>,
    /// What the reader counts.
    pub tally: Arc<Tally>,
    /// Whether compression was agreed on.
    pub compresses: bool,
}

// === impl BinaryText ===

impl BinaryText {
    /// The data that a text stands for; none when it stands for none.
    #[must_use]
    pub fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Base64 => STANDARD.decode(text.trim()).ok(),
            Self::Hex => {
                let digits = text.chars().filter(|c| !c.is_whitespace());
                let digits: Vec<u32> = digits.map(|c| c.to_digit(16)).collect::<Option<_>>()?;
                let (pairs, rest) = digits.as_chunks::<2>();
                let bytes = pairs.iter().map(|[high, low]| u8::try_from(high * 16 + low).ok());
                bytes.collect::<Option<_>>().filter(|_| rest.is_empty())
            }
        }
    }

    /// As definitions write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Base64 => "base64",
            Self::Hex => "hex",
        }
    }
}

// === impl Line ===

impl Line {
    /// The line over the writing half of a connection.
    pub(super) fn new(half: WriteHalf<Connection>, manner: Manner) -> Self {
        Self(Mutex::new(Writer { half, manner, is_over: false }))
    }

    /// Sends a control frame.
    pub(super) async fn control(&self, opcode: Opcode, payload: Bytes) -> Attempt<()> {
        let frame = Frame { is_final: true, is_compressed: false, opcode, payload };
        let mut out = Vec::new();
        encode(&frame, Some(rand::random()), &mut out);
        self.0.lock().await.write(&out, opcode == Opcode::Close).await
    }

    /// Says goodbye with a code; without one the close frame is empty.
    pub(super) async fn close(&self, code: Option<u16>) -> Attempt<()> {
        let payload = code.map(|code| Bytes::copy_from_slice(&code.to_be_bytes()));
        self.control(Opcode::Close, payload.unwrap_or_default()).await
    }

    async fn say(&self, text: String) -> Attempt<()> {
        let mut writer = self.0.lock().await;
        let frames = writer.manner.frames(text)?;
        writer.write(&frames, false).await
    }
}

impl Manner {
    /// The frames of a message.
    pub(super) fn frames(&mut self, text: String) -> Attempt<Vec<u8>> {
        let (mut opcode, body) = match self.binary {
            None => (Opcode::Text, Bytes::from(text)),
            Some(form) => {
                let data = form.decode(&text).ok_or_else(|| {
                    let words = format!("`{}` is not {}", quote(&text), form.as_str());
                    failure(FailureReason::Local, words)
                })?;
                (Opcode::Binary, Bytes::from(data))
            }
        };
        let mut is_compressed = self.deflater.is_some();
        let mut rest = match &mut self.deflater {
            Some(deflater) => Bytes::from(deflater.deflate(&body)),
            None => body,
        };
        let size = self.fragment.map_or(usize::MAX, |size| size.get() as usize);
        let mut out = Vec::new();
        loop {
            let payload = rest.split_to(rest.len().min(size));
            let frame = Frame { is_final: rest.is_empty(), is_compressed, opcode, payload };
            encode(&frame, Some(rand::random()), &mut out);
            if rest.is_empty() {
                return Ok(out);
            }
            (opcode, is_compressed) = (Opcode::Continuation, false);
        }
    }
}

impl Writer {
    /// Writes whole frames at once.
    async fn write(&mut self, frames: &[u8], is_last: bool) -> Attempt<()> {
        if self.is_over {
            return Err(failure(FailureReason::Closed, "sending: the stream is closed"));
        }
        // Whoever stops waiting in between leaves part of a frame behind.
        self.is_over = true;
        let written = async {
            self.half.write_all(frames).await?;
            self.half.flush().await
        };
        written.await.map_err(|error| of_stream(&error, "sending"))?;
        self.is_over = is_last;
        Ok(())
    }
}

// === impl Speaker ===

impl Outlet for Speaker {
    fn send(&mut self, text: String) -> BoxFuture<'_, Attempt<()>> {
        self.line.say(text).boxed()
    }

    fn ping(&mut self, payload: Bytes) -> BoxFuture<'_, Attempt<()>> {
        self.line.control(Opcode::Ping, payload).boxed()
    }

    fn close_with(&mut self, code: u16) -> BoxFuture<'_, ()> {
        self.line.close(Some(code)).map(drop).boxed()
    }

    fn hang_up(&mut self) -> BoxFuture<'_, ()> {
        self.line.close(Some(NORMAL)).map(drop).boxed()
    }

    fn findings(&self) -> Findings {
        let Tally { messages, wire_bytes, bytes, fragments, pings } = &*self.tally;
        let counted = |name: &str, count: &AtomicU64, always: bool| {
            let count = count.load(Ordering::Relaxed);
            (always || count > 0).then(|| (format!("websocket.{name}"), count.into()))
        };
        let inflated = self.compresses.then(|| counted("inflated_bytes", bytes, true)).flatten();
        let attributes = [
            counted("messages", messages, true),
            counted("wire_bytes", wire_bytes, true),
            inflated,
            counted("fragments", fragments, false),
            counted("pings", pings, false),
        ];
        Findings { attributes: attributes.into_iter().flatten().collect(), check: None }
    }
}
