//! Frames of RFC 6455, section 5: cut out of what is read, and put together for what is sent.
//!
//! A head is judged as soon as it is there, so that nothing is kept of a frame that may not come or
//! is too long: at most one message, one read and one head are ever in the buffer.

use bytes::{Buf, Bytes, BytesMut};

/// Bytes of a control frame's payload (5.5).
const MAX_CONTROL_BYTES: u64 = 125;
/// The longest head of a frame.
const MAX_HEAD_BYTES: usize = 14;

const FINAL: u8 = 0x80;
const COMPRESSED: u8 = 0x40;
const OTHER_RESERVED: u8 = 0x30;
const MASKED: u8 = 0x80;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    /// Goes on with a message.
    Continuation,
    /// Begins a message of text.
    Text,
    /// Begins a message of data.
    Binary,
    /// Says goodbye.
    Close,
    /// Asks for a sign of life.
    Ping,
    /// Is one.
    Pong,
}

/// A whole frame, without its mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Whether the message ends with it.
    pub is_final: bool,
    /// Whether it begins a compressed message (RSV1, RFC 7692).
    pub is_compressed: bool,
    /// What it is.
    pub opcode: Opcode,
    /// Its payload.
    pub payload: Bytes,
}

/// What the peer did that the protocol forbids: the close code that tells it so, and words for
/// people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    /// RFC 6455, 7.4.1.
    pub code: u16,
    /// `the server sent …`.
    pub words: String,
}

/// Cuts frames of a server out of what is read.
#[derive(Debug, Default)]
pub(super) struct Frames {
    buffer: BytesMut,
    /// The head of the frame whose payload is not complete.
    head: Option<Head>,
    /// Whether the peers agreed on compression.
    may_compress: bool,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    is_final: bool,
    is_compressed: bool,
    opcode: Opcode,
    length: usize,
}

// === impl Opcode ===

impl Opcode {
    fn of(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }

    fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

// === impl Violation ===

impl Violation {
    /// 1002: the protocol itself.
    pub(super) fn protocol(words: impl Into<String>) -> Self {
        Self { code: 1002, words: format!("the server sent {}", words.into()) }
    }

    /// 1007: contents that are not what they are said to be.
    pub(super) fn contents(words: impl Into<String>) -> Self {
        Self { code: 1007, words: format!("the server sent {}", words.into()) }
    }

    /// 1009: more than is kept.
    pub(super) fn too_long(words: impl Into<String>) -> Self {
        Self { code: 1009, words: format!("the server sent {}", words.into()) }
    }
}

// === impl Frames ===

impl Frames {
    /// Nothing was read yet but what came with the upgrade.
    pub(super) fn new(read: Bytes, may_compress: bool) -> Self {
        Self { buffer: BytesMut::from(read), head: None, may_compress }
    }

    /// Where what is read goes, with room for so much.
    pub(super) fn room(&mut self, bytes: usize) -> &mut BytesMut {
        self.buffer.reserve(bytes);
        &mut self.buffer
    }

    /// The next frame, once it is complete. The payload of one that belongs to a message may have
    /// no more than `most` bytes.
    ///
    /// # Errors
    /// What the server did wrong; there is no going on then.
    pub(super) fn next(&mut self, most: usize) -> Result<Option<Frame>, Violation> {
        let head = match self.head {
            Some(head) => head,
            None => match self.take_head(most)? {
                Some(head) => head,
                None => return Ok(None),
            },
        };
        if self.buffer.len() < head.length {
            self.head = Some(head);
            return Ok(None);
        }
        self.head = None;
        let payload = self.buffer.split_to(head.length).freeze();
        let Head { is_final, is_compressed, opcode, .. } = head;
        Ok(Some(Frame { is_final, is_compressed, opcode, payload }))
    }

    /// Takes a head out of the buffer, once it is complete and allowed.
    fn take_head(&mut self, most: usize) -> Result<Option<Head>, Violation> {
        let &[first, second, ..] = &self.buffer[..] else { return Ok(None) };
        let (is_final, is_compressed) = (first & FINAL != 0, first & COMPRESSED != 0);
        let bits = first & 0x0F;
        let opcode = Opcode::of(bits).ok_or_else(|| {
            Violation::protocol(format!("a frame of unknown kind, opcode {bits}"))
        })?;
        let short = u64::from(second & !MASKED);
        self.admit(first, second, opcode, short)?;
        let more = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some(extended) = self.buffer.get(2..2 + more) else { return Ok(None) };
        let extended = extended.iter().fold(0_u64, |length, byte| (length << 8) | u64::from(*byte));
        let length = if more == 0 { short } else { extended };
        if (more == 2 && length < 126) || (more == 8 && length <= u64::from(u16::MAX)) {
            let words = format!("a length of {length} bytes in more bytes than it takes");
            return Err(Violation::protocol(words));
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > most && !opcode.is_control() {
            let limit = super::MAX_MESSAGE_BYTES;
            let words = format!("a message that is too long: more than {limit} bytes");
            return Err(Violation::too_long(words));
        }
        self.buffer.advance(2 + more);
        Ok(Some(Head { is_final, is_compressed, opcode, length }))
    }

    /// What can be told of a frame by its first two bytes.
    fn admit(&self, first: u8, second: u8, opcode: Opcode, short: u64) -> Result<(), Violation> {
        let begins = matches!(opcode, Opcode::Text | Opcode::Binary);
        let words = if first & OTHER_RESERVED != 0 {
            "a frame with reserved bits that no extension gives a meaning"
        } else if first & COMPRESSED != 0 && !self.may_compress {
            "a compressed frame (RSV1), but compression was not agreed on"
        } else if first & COMPRESSED != 0 && !begins {
            "the bit for compression (RSV1) on a frame that begins no message"
        } else if second & MASKED != 0 {
            "a masked frame; only a client masks"
        } else if opcode.is_control() && first & FINAL == 0 {
            "a control frame in fragments"
        } else if opcode.is_control() && short > MAX_CONTROL_BYTES {
            "a control frame of more than 125 bytes"
        } else {
            return Ok(());
        };
        Err(Violation::protocol(words))
    }
}

// === sending ===

/// Appends a frame; with a key it is masked, as those of clients are.
pub(super) fn encode(frame: &Frame, key: Option<[u8; 4]>, out: &mut Vec<u8>) {
    out.reserve(frame.payload.len() + MAX_HEAD_BYTES);
    let compressed = if frame.is_compressed { COMPRESSED } else { 0 };
    let last = if frame.is_final { FINAL } else { 0 };
    out.push(last | compressed | frame.opcode.bits());
    let masked = if key.is_some() { MASKED } else { 0 };
    match frame.payload.len() {
        // The bound of the arm is below that of the type.
        length @ ..126 => out.push(masked | length as u8),
        length => match u16::try_from(length) {
            Ok(length) => {
                out.push(masked | 126);
                out.extend_from_slice(&length.to_be_bytes());
            }
            Err(_) => {
                out.push(masked | 127);
                out.extend_from_slice(&(length as u64).to_be_bytes());
            }
        },
    }
    let Some(key) = key else { return out.extend_from_slice(&frame.payload) };
    out.extend_from_slice(&key);
    let from = out.len();
    out.extend_from_slice(&frame.payload);
    mask(out.get_mut(from..).unwrap_or_default(), key);
}

/// Masks a payload, or takes its mask away: eight bytes at a time.
pub(super) fn mask(payload: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    rest.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
}
