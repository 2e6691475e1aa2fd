//! Length-prefixed messages: a byte of flags, four of length, and so many of the message.
//!
//! Compression is not offered, so a message that is compressed all the same is the peer's mistake.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// A single message may not be longer; gRPC's own libraries refuse more as well.
pub(super) const MAX_MESSAGE_BYTES: usize = 4 << 20;
/// Flags and length.
const HEAD_BYTES: usize = 5;

/// Cuts a byte stream into messages.
#[derive(Debug, Default)]
pub(super) struct Frames {
    pending: BytesMut,
}

/// Why a byte stream cannot be cut into messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a message is compressed, which was not offered")]
    Compressed,
    #[error("the answer is not framed as gRPC: its flags are {0:#04x}")]
    Flags(u8),
    #[error("a message of {0} bytes is longer than {MAX_MESSAGE_BYTES}")]
    TooLong(u32),
    #[error("the last message is cut off")]
    Cut,
}

/// Appends a message with its head.
pub(super) fn append(message: &[u8], to: &mut BytesMut) {
    to.put_u8(0);
    to.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    to.put_slice(message);
}

// === impl Frames ===

impl Frames {
    /// Adds what came. Between two calls [`Frames::next`] is called until it yields nothing, so
    /// that no more than one message is ever kept.
    pub(super) fn push(&mut self, data: &[u8]) {
        self.pending.extend_from_slice(data);
    }

    /// The next whole message.
    ///
    /// # Errors
    /// When the head of a message makes no sense; the stream is unusable from there on.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some((mut head, rest)) = self.pending.split_at_checked(HEAD_BYTES) else {
            return Ok(None);
        };
        let (flags, length) = (head.get_u8(), head.get_u32());
        match flags {
            0 => {}
            1 => return Err(FrameError::Compressed),
            other => return Err(FrameError::Flags(other)),
        }
        let bytes = length as usize;
        if bytes > MAX_MESSAGE_BYTES {
            return Err(FrameError::TooLong(length));
        }
        if rest.len() < bytes {
            return Ok(None);
        }
        self.pending.advance(HEAD_BYTES);
        Ok(Some(self.pending.split_to(bytes).freeze()))
    }

    /// Says that nothing more comes.
    ///
    /// # Errors
    /// When a message had begun.
    pub(super) fn finish(&self) -> Result<(), FrameError> {
        if self.pending.is_empty() { Ok(()) } else { Err(FrameError::Cut) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Guarantees that messages come out as they went in, however the stream is chopped.
        #[test]
        fn messages_survive_any_chopping(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..8),
            chop in 1_usize..20,
        ) {
            let mut stream = BytesMut::new();
            messages.iter().for_each(|message| append(message, &mut stream));
            let (mut frames, mut seen) = (Frames::default(), Vec::new());
            for chunk in stream.chunks(chop) {
                frames.push(chunk);
                while let Some(message) = frames.next().expect("well formed") {
                    seen.push(message.to_vec());
                }
            }
            prop_assert_eq!(seen, messages);
            prop_assert_eq!(frames.finish(), Ok(()));
        }
    }

    /// Guarantees that what is not a message is refused before anything is kept for it.
    #[test]
    fn nonsense_is_refused() {
        let check = |stream: &[u8], expected: Result<Option<Bytes>, FrameError>| {
            let mut frames = Frames::default();
            frames.push(stream);
            assert_eq!(frames.next(), expected);
        };
        check(b"", Ok(None));
        check(&[0, 0, 0, 0, 2, 1], Ok(None));
        check(&[1, 0, 0, 0, 0], Err(FrameError::Compressed));
        check(b"<html>", Err(FrameError::Flags(b'<')));
        check(&[0, 0xff, 0xff, 0xff, 0xff], Err(FrameError::TooLong(u32::MAX)));
        let mut frames = Frames::default();
        frames.push(&[0]);
        assert_eq!(frames.finish(), Err(FrameError::Cut));
    }
}
