//! A sorted, immutable set of 48-bit fingerprints, packed: what one slice of event time keeps of the
//! items seen in it.
//!
//! **Structure.** The range of fingerprints is cut into equal blocks of [`PER_BLOCK`] on average; a
//! look-up goes straight to its block. Within a block the fingerprints are sorted and the gaps
//! between them Golomb-Rice coded: a Golomb-coded set (Putze, Sanders, Singler, "Cache-, Hash- and
//! Space-Efficient Bloom Filters", 2007; also Bitcoin's BIP 158).
//!
//! **False positives.** A new item is taken for a known one when its fingerprint equals one of the n
//! that are held: ε ≤ n / 2^48 (Carter, Floyd, Gill, Markowsky, Wegman, "Exact and Approximate
//! Membership Testers", 1978). There are no false negatives.
//!
//! **Size.** About log2(2^48 / n) + 1.5 bits for a fingerprint and one for the index: at a million
//! items 30.6 bits, at ten millions 27.2. A Bloom filter of ε = 1e-6 takes 28.8 (1.44 · log2(1/ε)), and must be
//! sized before its items are known; here ε is 4e-9 and 4e-8, and two sets merge in one pass.

/// Bits of a fingerprint.
pub(super) const BITS: u32 = 48;
/// Fingerprints to a block on average: what a look-up decodes at most, about.
const PER_BLOCK: u64 = 32;
/// Zeros behind the code, so that eight bytes can be read at any bit of it.
const PADDING: usize = 8;

/// The set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    len: u64,
    rice: u32,
    /// The bit at which each block begins, and where the last one ends.
    blocks: Box<[u32]>,
    code: Box<[u8]>,
}

/// Writes bits from the lowest on.
#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    pending: u64,
    held: u32,
}

/// Reads them.
#[derive(Clone, Copy)]
struct Reader<'a> {
    bytes: &'a [u8],
    at: u64,
}

// === impl Run ===

impl Run {
    /// The set of `sorted` fingerprints, each below 2^48; about `expected` of them (a wrong guess costs
    /// room, nothing else). Repeated ones count once.
    pub(super) fn build(sorted: impl IntoIterator<Item = u64>, expected: u64) -> Self {
        let expected = expected.max(1);
        let block_count = expected.div_ceil(PER_BLOCK);
        // The best parameter for geometric gaps is near log2(mean · ln 2).
        let rice = (((1_u64 << BITS) / expected) * 45 / 64).checked_ilog2().unwrap_or(0);
        let mut writer = Writer::default();
        let mut blocks = vec![0_u32];
        let (mut len, mut next, mut last) = (0, 0, None);
        for fingerprint in sorted {
            if last == Some(fingerprint) {
                continue;
            }
            let block = block_of(fingerprint, block_count);
            while (blocks.len() as u64) <= block {
                blocks.push(writer.at());
                next = block_start(blocks.len() as u64 - 1, block_count);
            }
            let gap = fingerprint.saturating_sub(next);
            writer.ones_and_zero(gap >> rice);
            writer.bits(gap & ((1 << rice) - 1), rice);
            (len, next, last) = (len + 1, fingerprint + 1, Some(fingerprint));
        }
        blocks.resize(block_count as usize + 1, writer.at());
        Self { len, rice, blocks: blocks.into(), code: writer.finish() }
    }

    /// Both sets in one.
    pub(super) fn merge(&self, other: &Self) -> Self {
        let (mut left, mut right) = (self.iter().peekable(), other.iter().peekable());
        let merged = std::iter::from_fn(|| match (left.peek(), right.peek()) {
            (Some(a), Some(b)) if a > b => right.next(),
            (None, _) => right.next(),
            _ => left.next(),
        });
        Self::build(merged, self.len + other.len)
    }

    /// Whether a fingerprint is in the set.
    pub(super) fn contains(&self, fingerprint: u64) -> bool {
        let block = block_of(fingerprint, self.block_count());
        self.block(block).find(|known| *known >= fingerprint) == Some(fingerprint)
    }

    /// How many fingerprints there are.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + 64 + self.blocks.len() * 4 + self.code.len()
    }

    /// All fingerprints, rising.
    pub(super) fn iter(&self) -> impl Iterator<Item = u64> {
        (0..self.block_count()).flat_map(|block| self.block(block))
    }

    /// As bytes, appended to `out`.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(16 + self.blocks.len() * 4 + self.code.len());
        out.extend_from_slice(&self.len.to_le_bytes());
        out.extend_from_slice(&self.rice.to_le_bytes());
        out.extend_from_slice(&(self.blocks.len() as u32).to_le_bytes());
        self.blocks.iter().for_each(|offset| out.extend_from_slice(&offset.to_le_bytes()));
        out.extend_from_slice(&self.code);
    }

    /// From bytes; none when they are not a run's.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (len, rest) = bytes.split_first_chunk::<8>()?;
        let (rice, rest) = rest.split_first_chunk::<4>()?;
        let (count, rest) = rest.split_first_chunk::<4>()?;
        let rice = u32::from_le_bytes(*rice);
        let count = u32::from_le_bytes(*count) as usize;
        let (blocks, code) = rest.split_at_checked(count.checked_mul(4)?)?;
        let (blocks, _) = blocks.as_chunks::<4>();
        let blocks: Box<[u32]> = blocks.iter().map(|offset| u32::from_le_bytes(*offset)).collect();
        let end = *blocks.last()? as usize;
        let fits = rice <= BITS && blocks.is_sorted() && count >= 2;
        let whole = end.div_ceil(8) + PADDING == code.len();
        (fits && whole).then(|| Self {
            len: u64::from_le_bytes(*len),
            rice,
            blocks,
            code: code.into(),
        })
    }

    fn block_count(&self) -> u64 {
        self.blocks.len() as u64 - 1
    }

    /// The fingerprints of a block, rising.
    fn block(&self, block: u64) -> impl Iterator<Item = u64> {
        let bound = |at: u64| self.blocks.get(at as usize).map_or(0, |bit| u64::from(*bit));
        let end = bound(block + 1);
        let mut reader = Reader { bytes: &self.code, at: bound(block) };
        let mut next = block_start(block, self.block_count());
        std::iter::from_fn(move || {
            if reader.at >= end {
                return None;
            }
            let gap = (reader.ones(end) << self.rice) | reader.bits(self.rice);
            let fingerprint = next.saturating_add(gap);
            next = fingerprint.saturating_add(1);
            Some(fingerprint)
        })
    }
}

/// The block of `count` equal ones that a fingerprint falls into.
fn block_of(fingerprint: u64, count: u64) -> u64 {
    ((u128::from(fingerprint) * u128::from(count)) >> BITS) as u64
}

/// The lowest fingerprint of a block.
fn block_start(block: u64, count: u64) -> u64 {
    ((u128::from(block) << BITS).div_ceil(u128::from(count.max(1)))) as u64
}

// === impl Writer ===

impl Writer {
    /// Appends the lowest `count` bits of `value`; at most 48.
    fn bits(&mut self, value: u64, count: u32) {
        self.pending |= value << self.held;
        self.held += count;
        while self.held >= 8 {
            self.bytes.push(self.pending as u8);
            self.pending >>= 8;
            self.held -= 8;
        }
    }

    /// Appends `ones` ones and a zero.
    fn ones_and_zero(&mut self, mut ones: u64) {
        while ones >= 32 {
            self.bits(u64::from(u32::MAX), 32);
            ones -= 32;
        }
        self.bits((1 << ones) - 1, ones as u32 + 1);
    }

    fn at(&self) -> u32 {
        u32::try_from(self.bytes.len() as u64 * 8 + u64::from(self.held)).unwrap_or(u32::MAX)
    }

    fn finish(mut self) -> Box<[u8]> {
        if self.held > 0 {
            self.bytes.push(self.pending as u8);
        }
        self.bytes.extend_from_slice(&[0; PADDING]);
        self.bytes.into()
    }
}

// === impl Reader ===

impl Reader<'_> {
    /// At least 57 bits from here on.
    fn peek(&self) -> u64 {
        let from = (self.at / 8) as usize;
        let eight = self.bytes.get(from..).and_then(|rest| rest.first_chunk::<8>());
        u64::from_le_bytes(eight.copied().unwrap_or_default()) >> (self.at % 8)
    }

    fn bits(&mut self, count: u32) -> u64 {
        let value = self.peek() & ((1 << count) - 1);
        self.at += u64::from(count);
        value
    }

    /// Counts ones up to the zero behind them, and passes it. Never goes beyond `end`.
    fn ones(&mut self, end: u64) -> u64 {
        let mut ones = 0;
        loop {
            let here = u64::from(self.peek().trailing_ones().min(56));
            (ones, self.at) = (ones + here, self.at + here);
            if here < 56 || self.at >= end {
                self.at += 1;
                return ones;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const MAX: u64 = (1 << BITS) - 1;

    fn check(set: &BTreeSet<u64>, expected: u64) {
        let run = Run::build(set.iter().copied(), expected);
        assert_eq!(run.len(), set.len() as u64);
        assert!(run.iter().eq(set.iter().copied()));
        for known in set {
            assert!(run.contains(*known));
            for near in [known.saturating_sub(1), (known + 1).min(MAX)] {
                assert_eq!(run.contains(near), set.contains(&near));
            }
        }
        let mut bytes = Vec::new();
        run.encode(&mut bytes);
        assert_eq!(Run::decode(&bytes), Some(run));
    }

    proptest! {
        /// Guarantees that a run is exactly the set of its fingerprints, wherever they lie and
        /// whatever was expected, and that it comes back from its bytes.
        #[test]
        fn a_run_is_a_set(
            spread in prop::collection::btree_set(0..=MAX, 0..300),
            dense in prop::collection::btree_set(0_u64..2_000, 0..300),
            expected in 0_u64..2_000,
        ) {
            check(&spread, spread.len() as u64);
            check(&dense, dense.len() as u64);
            check(&spread, expected);
        }

        /// Guarantees that merging is the union.
        #[test]
        fn merged_runs_are_the_union(
            a in prop::collection::btree_set(0..=MAX, 0..200),
            b in prop::collection::btree_set(0..=MAX, 0..200),
        ) {
            let build = |set: &BTreeSet<u64>| Run::build(set.iter().copied(), set.len() as u64);
            let merged = build(&a).merge(&build(&b));
            prop_assert!(merged.iter().eq(a.union(&b).copied()));
        }

        /// Guarantees that foreign bytes are refused or read as something, without panic.
        #[test]
        fn any_bytes_are_safe(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0..=MAX) {
            if let Some(run) = Run::decode(&bytes) {
                let _ = run.contains(at);
                let _ = run.iter().take(1_000).count();
            }
        }
    }

    /// Guarantees the size that the documentation states: 30.6 bits a fingerprint at a million.
    #[test]
    fn the_size_is_as_stated() {
        let mut fingerprints: Vec<u64> = (0..1_000_000_u64)
            .map(|n| (xxhash_rust::xxh3::xxh3_128(&n.to_le_bytes()) >> 80) as u64)
            .collect();
        fingerprints.sort_unstable();
        let run = Run::build(fingerprints, 1_000_000);
        let bits = run.bytes() as f64 * 8.0 / run.len() as f64;
        assert!((30.0..31.0).contains(&bits), "{bits} bits");
    }
}
