//! Integers of variable length, written and read without a panic on any input.

use super::Undecodable;

/// The answer to bytes that end too early.
pub(super) const CUT_SHORT: Undecodable = Undecodable { reason: "it is cut short" };

const TOO_LARGE: Undecodable = Undecodable { reason: "a number in it is too large" };

/// Reads from the front of some bytes.
pub(super) struct Reader<'a>(&'a [u8]);

/// Appends an integer, seven bits a byte, the lowest first.
pub(super) fn put(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends an integer that may be negative.
pub(super) fn put_signed(out: &mut Vec<u8>, value: i128) {
    // Small numbers of either sign become small numbers.
    put(out, ((value << 1) ^ (value >> 127)) as u128);
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(super) fn byte(&mut self) -> Result<u8, Undecodable> {
        let (first, rest) = self.0.split_first().ok_or(CUT_SHORT)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn float(&mut self) -> Result<f64, Undecodable> {
        let (bytes, rest) = self.0.split_first_chunk::<8>().ok_or(CUT_SHORT)?;
        self.0 = rest;
        Ok(f64::from_le_bytes(*bytes))
    }

    pub(super) fn wide(&mut self) -> Result<u128, Undecodable> {
        let mut value = 0_u128;
        let mut shift = 0_u32;
        loop {
            let byte = self.byte()?;
            let bits = u128::from(byte & 0x7f);
            // The nineteenth byte has room for two bits only.
            if shift > 126 || (shift == 126 && bits > 3) {
                return Err(TOO_LARGE);
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
            shift += 7;
        }
    }

    pub(super) fn number<N: TryFrom<u128>>(&mut self) -> Result<N, Undecodable> {
        N::try_from(self.wide()?).map_err(|_| TOO_LARGE)
    }

    pub(super) fn signed(&mut self) -> Result<i128, Undecodable> {
        let folded = self.wide()?;
        Ok((folded >> 1) as i128 ^ -((folded & 1) as i128))
    }

    /// How many things follow, of which each takes at least a byte: so a false count cannot ask for
    /// more memory than there are bytes.
    pub(super) fn length(&mut self) -> Result<usize, Undecodable> {
        let length = self.number::<usize>()?;
        if length > self.0.len() { Err(CUT_SHORT) } else { Ok(length) }
    }
}
