//! The bytes of a segment file: one header, then records back to back. Numbers are little-endian.
//!
//! ```text
//! header   magic       8  "RSNDJRNL"
//!          version     4  1
//!          lane        4  0 control, 1 bulk
//!          number      8  of the segment, as in the file's name
//!          created_at  8  nanoseconds since the Unix epoch
//!          checksum    4  crc32c of the 32 bytes before
//! record   length      4  of the payload: 1 to 80 MiB
//!          back        4  distance from the start of the commit that wrote this record to here
//!          checksum    4  crc32c of length, back and payload, continued from the header's checksum
//!          payload     …
//! ```
//!
//! A length of 0 ends the log: behind it there are only the zeros of space claimed ahead.
//!
//! The checksum of a record continues the header's, so that no record of another file, nor one that
//! a sender wove into a payload, passes for a record of this one. `back` tells a torn write from
//! corruption: a commit begins only when the one before it is durable, so a sound record *of a later
//! commit* behind an unreadable one proves that the unreadable one had been acknowledged.

use crate::base::clock::UnixNanos;
use crate::model::position::Lane;

/// The largest record, in bytes.
pub const MAX_RECORD_BYTES: usize = 80 * 1024 * 1024;

/// The format that this program writes; it reads no later one.
pub(super) const VERSION: u32 = 1;

/// Length of a segment's header.
pub(super) const HEADER_BYTES: u64 = 36;

/// What a record takes beyond its payload.
pub(super) const FRAME_BYTES: u64 = 12;

const MAGIC: [u8; 8] = *b"RSNDJRNL";

/// Beginning of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub lane: Lane,
    pub number: u64,
    pub created_at: UnixNanos,
}

/// What the checksums of one segment's records continue from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seed(u32);

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderError {
    Damaged,
    Newer(u32),
}

/// What stands before the payload of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub length: u32,
    pub back: u32,
    checksum: u32,
}

// === impl SegmentHeader ===

impl SegmentHeader {
    /// The bytes of the header, and the seed for the records behind it.
    pub(super) fn encode(&self) -> (Vec<u8>, Seed) {
        let lane: u32 = match self.lane {
            Lane::Control => 0,
            Lane::Bulk => 1,
        };
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(lane.to_le_bytes());
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(self.created_at.0.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend(checksum.to_le_bytes());
        (bytes, Seed(checksum))
    }

    /// Reads a header from the beginning of a file.
    pub(super) fn decode(bytes: &[u8]) -> Result<(Self, Seed), HeaderError> {
        let (header, checksum, version) = Self::parse(bytes).ok_or(HeaderError::Damaged)?;
        if version > VERSION {
            // Only magic and version are the same in every format, so this comes first.
            return Err(HeaderError::Newer(version));
        }
        let (expected, seed) = header.ok_or(HeaderError::Damaged)?.encode();
        if version != VERSION || checksum != seed.0 || !bytes.starts_with(&expected) {
            return Err(HeaderError::Damaged);
        }
        header.map(|header| (header, seed)).ok_or(HeaderError::Damaged)
    }

    fn parse(bytes: &[u8]) -> Option<(Option<Self>, u32, u32)> {
        let rest = bytes.strip_prefix(&MAGIC)?;
        let (version, rest) = u32_le(rest)?;
        let (lane, rest) = u32_le(rest)?;
        let (number, rest) = rest.split_first_chunk::<8>()?;
        let (created_at, rest) = rest.split_first_chunk::<8>()?;
        let (checksum, _) = u32_le(rest)?;
        let lane = match lane {
            0 => Some(Lane::Control),
            1 => Some(Lane::Bulk),
            _ => None,
        };
        let header = lane.map(|lane| Self {
            lane,
            number: u64::from_le_bytes(*number),
            created_at: UnixNanos(u64::from_le_bytes(*created_at)),
        });
        Some((header, checksum, version))
    }
}

// === impl Frame ===

impl Frame {
    /// Reads the frame at the beginning of `bytes`; none when they are too few.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = u32_le(bytes)?;
        let (back, rest) = u32_le(rest)?;
        let (checksum, _) = u32_le(rest)?;
        Some(Self { length, back, checksum })
    }

    /// The payload's length, when it can be one.
    pub(super) fn payload_bytes(&self) -> Option<usize> {
        let length = self.length as usize;
        (1..=MAX_RECORD_BYTES).contains(&length).then_some(length)
    }

    /// Whether this frame belongs to `payload` in the segment of that seed.
    pub(super) fn fits(&self, seed: Seed, payload: &[u8]) -> bool {
        self.checksum == checksum(seed, self.length, self.back, payload)
    }
}

/// Appends a record to the bytes of a commit, which begins with `buffer`.
///
/// The caller has checked that the payload has 1 to [`MAX_RECORD_BYTES`] bytes, and keeps a commit
/// below 4 GiB.
pub(super) fn push_record(buffer: &mut Vec<u8>, seed: Seed, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let back = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
    buffer.extend_from_slice(&length.to_le_bytes());
    buffer.extend_from_slice(&back.to_le_bytes());
    buffer.extend_from_slice(&checksum(seed, length, back, payload).to_le_bytes());
    buffer.extend_from_slice(payload);
}

fn checksum(seed: Seed, length: u32, back: u32, payload: &[u8]) -> u32 {
    let with_length = crc32c::crc32c_append(seed.0, &length.to_le_bytes());
    let with_back = crc32c::crc32c_append(with_length, &back.to_le_bytes());
    crc32c::crc32c_append(with_back, payload)
}

fn u32_le(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: SegmentHeader =
        SegmentHeader { lane: Lane::Bulk, number: 7, created_at: UnixNanos(1_700_000_000_123) };

    fn flip(bytes: &[u8], bit: usize) -> Vec<u8> {
        let mut damaged = bytes.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        damaged
    }

    /// Guarantees that a header reads back, that each flipped bit of it is noticed, and that a later
    /// version is told from damage.
    #[test]
    fn a_header_reads_back_or_is_refused() {
        let (bytes, seed) = HEADER.encode();
        assert_eq!(bytes.len() as u64, HEADER_BYTES);
        assert_eq!(SegmentHeader::decode(&bytes), Ok((HEADER, seed)));
        for bit in 0..bytes.len() * 8 {
            assert!(SegmentHeader::decode(&flip(&bytes, bit)).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            let refused = SegmentHeader::decode(&bytes[..length]);
            assert_eq!(refused, Err(HeaderError::Damaged), "{length} bytes");
        }
        let mut newer = bytes;
        newer[8] = 2;
        assert_eq!(SegmentHeader::decode(&newer), Err(HeaderError::Newer(2)));
    }

    /// Guarantees that a record carried into another segment is not one of its records.
    #[test]
    fn a_record_belongs_to_its_segment() {
        let (_, seed) = HEADER.encode();
        let (_, other) = SegmentHeader { number: 8, ..HEADER }.encode();
        let mut buffer = Vec::new();
        push_record(&mut buffer, seed, b"payload");
        let frame = Frame::decode(&buffer).expect("a frame");
        assert!(frame.fits(seed, b"payload"));
        assert!(!frame.fits(other, b"payload"));
    }

    proptest! {
        /// Guarantees that records read back and that any flipped bit in one is noticed.
        #[test]
        fn a_flipped_bit_is_noticed(payload in prop::collection::vec(any::<u8>(), 1..200), at: prop::sample::Index) {
            let (_, seed) = HEADER.encode();
            let mut buffer = vec![0; 5];
            push_record(&mut buffer, seed, &payload);
            let record = buffer.split_off(5);
            let sound = |record: &[u8]| {
                let frame = Frame::decode(record).expect("a frame");
                frame.fits(seed, &record[FRAME_BYTES as usize..])
            };
            prop_assert_eq!(Frame::decode(&record).map(|f| (f.length as usize, f.back)), Some((payload.len(), 5)));
            prop_assert!(sound(&record));
            prop_assert!(!sound(&flip(&record, at.index(record.len() * 8))));
        }
    }
}
