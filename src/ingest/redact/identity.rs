//! The keyed hash that stands in for ids: SipHash-2-4 with 128 bits.
//!
//! A pseudorandom function, so that without the key nobody can find an id by trying candidates,
//! which a keyed checksum would not promise.

use std::fmt;

/// Secret key of the hash. It decides which installations and sessions count as the same: a new
/// key makes all of them new.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IdentityKey([u64; 2]);

impl IdentityKey {
    /// Takes 16 random bytes.
    #[must_use]
    pub fn new(bytes: [u8; 16]) -> Self {
        let key = u128::from_le_bytes(bytes);
        Self([key as u64, (key >> 64) as u64])
    }

    /// The hash of `id` as 32 hexadecimal digits.
    #[must_use]
    pub fn hash(&self, id: &[u8]) -> String {
        format!("{:032x}", u128::from_be_bytes(self.digest(id).to_le_bytes()))
    }

    fn digest(&self, input: &[u8]) -> u128 {
        let [k0, k1] = self.0;
        let mut state = State([
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ]);
        let (words, tail) = input.as_chunks::<8>();
        for word in words {
            state.absorb(u64::from_le_bytes(*word));
        }
        let last = tail.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
        state.absorb(last | (input.len() as u64) << 56);
        let low = state.squeeze(2, 0xee);
        let high = state.squeeze(1, 0xdd);
        u128::from(low) | u128::from(high) << 64
    }
}

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

struct State([u64; 4]);

impl State {
    fn absorb(&mut self, word: u64) {
        let [_, _, _, v3] = &mut self.0;
        *v3 ^= word;
        self.rounds(2);
        let [v0, _, _, _] = &mut self.0;
        *v0 ^= word;
    }

    fn squeeze(&mut self, lane: usize, constant: u64) -> u64 {
        if let Some(word) = self.0.get_mut(lane) {
            *word ^= constant;
        }
        self.rounds(4);
        self.0.iter().fold(0, |all, word| all ^ word)
    }

    fn rounds(&mut self, count: usize) {
        let [mut v0, mut v1, mut v2, mut v3] = self.0;
        for _ in 0..count {
            v0 = v0.wrapping_add(v1);
            v1 = v1.rotate_left(13) ^ v0;
            v0 = v0.rotate_left(32);
            v2 = v2.wrapping_add(v3);
            v3 = v3.rotate_left(16) ^ v2;
            v0 = v0.wrapping_add(v3);
            v3 = v3.rotate_left(21) ^ v0;
            v2 = v2.wrapping_add(v1);
            v1 = v1.rotate_left(17) ^ v2;
            v2 = v2.rotate_left(32);
        }
        self.0 = [v0, v1, v2, v3];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees the reference vectors of SipHash-2-4-128, so that hashes outlive this code.
    #[test]
    fn agrees_with_the_reference() {
        let key = IdentityKey::new(std::array::from_fn(|byte| byte as u8));
        let input: Vec<u8> = (0..64).collect();
        for (length, expected) in [
            (0, "a3817f04ba25a8e66df67214c7550293"),
            (1, "da87c1d86b99af44347659119b22fc45"),
            (2, "8177228da4a45dc7fca38bdef60affe4"),
        ] {
            assert_eq!(key.hash(&input[..length]), expected);
        }
    }

    /// Guarantees that a hash depends on the key and on every byte, and that the key never prints.
    #[test]
    fn depends_on_key_and_id() {
        let key = IdentityKey::new([1; 16]);
        let id = b"0c7e2a4e-5f0d-4b7e-9a61-0123456789ab";
        assert_eq!(key.hash(id), key.hash(id));
        assert_ne!(key.hash(id), IdentityKey::new([2; 16]).hash(id));
        let mut hashes: Vec<_> = (0..=id.len()).map(|length| key.hash(&id[..length])).collect();
        hashes.sort();
        hashes.dedup();
        assert_eq!(hashes.len(), id.len() + 1);
        assert_eq!(format!("{key:?}"), "<redacted>");
    }
}
