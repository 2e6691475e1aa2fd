//! From frames to messages: fragments are put together, texts and close frames are judged.
//!
//! Control frames may come between the fragments of a message (RFC 6455, 5.4); a compressed message
//! is inflated when it is whole.

use super::MAX_MESSAGE_BYTES;
use super::deflate::{Inflater, NotInflated};
use super::frames::{Frame, Opcode, Violation};
use bytes::{Bytes, BytesMut};

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// A whole message.
    Message(Message),
    /// A ping, to be answered with the same payload.
    Ping(Bytes),
    /// A pong.
    Pong(Bytes),
    /// A close frame: its code and reason, unless it is empty.
    Close(Option<(u16, String)>),
}

/// A whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Whether it is text, which then is UTF-8.
    pub is_text: bool,
    /// What it says.
    pub body: Bytes,
    /// The bytes of its frames' payloads, which are fewer where it was compressed.
    pub wire_bytes: usize,
    /// How many frames brought it.
    pub frames: u64,
}

/// Puts messages together.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    partial: Option<Partial>,
    inflater: Option<Inflater>,
}

/// A message whose last frame has not come.
#[derive(Debug)]
struct Partial {
    is_text: bool,
    is_compressed: bool,
    bytes: BytesMut,
    frames: u64,
}

impl Assembler {
    /// Before the first frame; with an inflater where compression was agreed on.
    pub(super) fn new(inflater: Option<Inflater>) -> Self {
        Self { partial: None, inflater }
    }

    /// How many bytes the next frame of a message may have.
    pub(super) fn room(&self) -> usize {
        let kept = self.partial.as_ref().map_or(0, |partial| partial.bytes.len());
        MAX_MESSAGE_BYTES.saturating_sub(kept)
    }

    /// Takes a frame; hands back what it completes.
    ///
    /// # Errors
    /// What the server did wrong; there is no going on then.
    pub(super) fn take(&mut self, frame: Frame) -> Result<Option<Incoming>, Violation> {
        let Frame { is_final, is_compressed, opcode, payload } = frame;
        let is_text = match opcode {
            Opcode::Ping => return Ok(Some(Incoming::Ping(payload))),
            Opcode::Pong => return Ok(Some(Incoming::Pong(payload))),
            Opcode::Close => return farewell(&payload).map(|said| Some(Incoming::Close(said))),
            Opcode::Continuation => return self.go_on(is_final, &payload),
            Opcode::Text => true,
            Opcode::Binary => false,
        };
        if self.partial.is_some() {
            let words = "the beginning of a message before the end of the one before";
            return Err(Violation::protocol(words));
        }
        if is_final {
            return self.complete(is_text, is_compressed, payload, 1).map(Some);
        }
        let bytes = BytesMut::from(payload);
        self.partial = Some(Partial { is_text, is_compressed, bytes, frames: 1 });
        Ok(None)
    }

    fn go_on(&mut self, is_final: bool, payload: &[u8]) -> Result<Option<Incoming>, Violation> {
        let Some(mut partial) = self.partial.take() else {
            return Err(Violation::protocol("the continuation of a message that never began"));
        };
        partial.bytes.extend_from_slice(payload);
        partial.frames += 1;
        if !is_final {
            self.partial = Some(partial);
            return Ok(None);
        }
        let Partial { is_text, is_compressed, bytes, frames } = partial;
        self.complete(is_text, is_compressed, bytes.freeze(), frames).map(Some)
    }

    fn complete(
        &mut self,
        is_text: bool,
        is_compressed: bool,
        payload: Bytes,
        frames: u64,
    ) -> Result<Incoming, Violation> {
        let wire_bytes = payload.len();
        let body = match self.inflater.as_mut().filter(|_| is_compressed) {
            Some(inflater) => inflater.inflate(&payload, MAX_MESSAGE_BYTES).map_err(|why| {
                let compressed = format!("a message of {wire_bytes} compressed bytes");
                match why {
                    NotInflated::TooLong => Violation::too_long(format!(
                        "{compressed} that is too long: inflated it has more than \
                         {MAX_MESSAGE_BYTES}"
                    )),
                    NotInflated::Broken => {
                        Violation::contents(format!("{compressed} that cannot be inflated"))
                    }
                }
            })?,
            None => payload,
        };
        if is_text && std::str::from_utf8(&body).is_err() {
            return Err(Violation::contents("a text message that is not UTF-8"));
        }
        Ok(Incoming::Message(Message { is_text, body, wire_bytes, frames }))
    }
}

/// Reads the payload of a close frame.
fn farewell(payload: &[u8]) -> Result<Option<(u16, String)>, Violation> {
    let (code, reason) = match payload {
        [] => return Ok(None),
        [_] => return Err(Violation::protocol("a close frame with half a code")),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    if !may_be_sent(code) {
        let words = format!("a close frame with code {code}, which no endpoint may send");
        return Err(Violation::protocol(words));
    }
    let reason = std::str::from_utf8(reason)
        .map_err(|_| Violation::contents("a close frame whose reason is not UTF-8"))?;
    Ok(Some((code, reason.to_owned())))
}

/// Registered codes, and those for libraries and applications (7.4).
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
