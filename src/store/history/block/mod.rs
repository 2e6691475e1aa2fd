//! How the slots of a block stand on disk: columns of variable-length integers, compressed when it
//! pays. The engines store these bytes under a key that holds the rest of the block.
//!
//! Layout, version 1. `v` is a LEB128 integer of up to 128 bits, `z` the same with its sign folded
//! into the lowest bit (0, -1, 1, -2, … are 0, 1, 2, 3, …).
//!
//! ```text
//! block     = version:u8 (1)  form:u8  payload
//! payload   = body                      when form is 0
//!           | v length of body, zstd frame of body   when form is 1
//! body      = v slots                   how many there are
//!             v each                    distance from the slot before; the first from the block's start
//!             u8 each                   kind: 0 counter, 1 gauge, 2 histogram, 3 explicit bounds
//!             counters gauges histograms explicit
//! ```
//!
//! The four groups follow without a count of their own: the kinds tell how many each has. In a
//! group one column follows another, so that equal things stand side by side; the files `scalars`,
//! `histograms` and `explicit` say which.
//!
//! A new layout gets a new version; a reader refuses versions that it does not know. Bytes of any
//! kind are answered with slots or with [`Undecodable`], never with a panic, and memory stays in
//! proportion to what was read.

mod bytes;
mod explicit;
mod histograms;
mod scalars;
#[cfg(test)]
mod tests;

use crate::model::histogram::{ExpHistogram, ExplicitHistogram};
use crate::model::series::SlotValue;
use crate::model::slot::Slot;
use bytes::{Reader, put};

/// The layout that this build writes, and the only one that it reads.
pub const VERSION: u8 = 1;

/// The longest body that is compressed, and the most that a compressed one may inflate to.
pub const MAX_COMPRESSED_BODY_BYTES: usize = 16 << 20;

const PLAIN: u8 = 0;
const ZSTD: u8 = 1;
/// zstd's own default; higher levels gain below 2 % on bodies this small.
const ZSTD_LEVEL: i32 = 3;

/// Bytes that are not a block of a version that this build reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a block of history: {reason}")]
pub struct Undecodable {
    /// What is wrong with them.
    pub reason: &'static str,
}

/// What a slot holds, as it stands in the column of kinds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter = 0,
    Gauge = 1,
    Histogram = 2,
    Explicit = 3,
}

/// The values of a block, apart by kind, each in the order of the slots.
#[derive(Default)]
struct Groups<'a> {
    counters: Vec<u128>,
    gauges: Vec<f64>,
    histograms: Vec<&'a ExpHistogram>,
    explicit: Vec<&'a ExplicitHistogram>,
}

/// The bytes of a block's slots, which stand by rising slot from `start` on.
#[must_use]
pub fn encode(start: Slot, slots: &[(Slot, SlotValue)]) -> Vec<u8> {
    let body = encode_body(start, slots);
    if let Some(compressed) = compress(&body) {
        return compressed;
    }
    let mut plain = Vec::with_capacity(body.len() + 2);
    plain.extend([VERSION, PLAIN]);
    plain.extend(body);
    plain
}

/// The slots of a block that begins at `start`.
///
/// # Errors
/// When the bytes are of another version, cut short, or hold what no encoder writes.
pub fn decode(start: Slot, bytes: &[u8]) -> Result<Vec<(Slot, SlotValue)>, Undecodable> {
    let (version, rest) = bytes.split_first().ok_or(Undecodable { reason: "it is empty" })?;
    if *version != VERSION {
        return Err(Undecodable { reason: "its version is unknown to this build" });
    }
    match rest.split_first() {
        Some((&PLAIN, body)) => decode_body(start, body),
        Some((&ZSTD, payload)) => decode_body(start, &inflate(payload)?),
        Some(_) => Err(Undecodable { reason: "its form is unknown" }),
        None => Err(Undecodable { reason: "it is cut short" }),
    }
}

fn encode_body(start: Slot, slots: &[(Slot, SlotValue)]) -> Vec<u8> {
    let mut body = Vec::with_capacity(64 + slots.len() * 16);
    put(&mut body, slots.len() as u128);
    let mut before = start;
    for (slot, _) in slots {
        // Wrapping, so that even slots out of order come back as they were.
        put(&mut body, u128::from(slot.0.wrapping_sub(before.0)));
        before = *slot;
    }
    let mut groups = Groups::default();
    for (_, value) in slots {
        let kind = match value {
            SlotValue::Counter(grown) => {
                groups.counters.push(*grown);
                Kind::Counter
            }
            SlotValue::Gauge(last) => {
                groups.gauges.push(*last);
                Kind::Gauge
            }
            SlotValue::Histogram(values) => {
                groups.histograms.push(values);
                Kind::Histogram
            }
            SlotValue::Explicit(values) => {
                groups.explicit.push(values);
                Kind::Explicit
            }
        };
        body.push(kind as u8);
    }
    scalars::put_counters(&mut body, &groups.counters);
    scalars::put_gauges(&mut body, &groups.gauges);
    histograms::put_all(&mut body, &groups.histograms);
    explicit::put_all(&mut body, &groups.explicit);
    body
}

fn decode_body(start: Slot, body: &[u8]) -> Result<Vec<(Slot, SlotValue)>, Undecodable> {
    let mut reader = Reader::new(body);
    let count = reader.length()?;
    let mut slots = Vec::with_capacity(count);
    let mut before = start;
    for _ in 0..count {
        before = Slot(before.0.wrapping_add(reader.number()?));
        slots.push(before);
    }
    let mut kinds = Vec::with_capacity(count);
    for _ in 0..count {
        kinds.push(Kind::try_from(reader.byte()?)?);
    }
    let many = |wanted: Kind| kinds.iter().filter(|kind| **kind == wanted).count();
    let mut counters = scalars::take_counters(&mut reader, many(Kind::Counter))?.into_iter();
    let mut gauges = scalars::take_gauges(&mut reader, many(Kind::Gauge))?.into_iter();
    let mut histograms = histograms::take_all(&mut reader, many(Kind::Histogram))?.into_iter();
    let mut explicit = explicit::take_all(&mut reader, many(Kind::Explicit))?.into_iter();
    if !reader.is_empty() {
        return Err(Undecodable { reason: "bytes stand behind its end" });
    }
    let values = kinds.iter().map(|kind| match kind {
        Kind::Counter => counters.next().map(SlotValue::Counter),
        Kind::Gauge => gauges.next().map(SlotValue::Gauge),
        Kind::Histogram => histograms.next().map(SlotValue::Histogram),
        Kind::Explicit => explicit.next().map(SlotValue::Explicit),
    });
    slots
        .into_iter()
        .zip(values)
        .map(|(slot, value)| value.map(|value| (slot, value)))
        .collect::<Option<_>>()
        .ok_or(bytes::CUT_SHORT)
}

/// The whole block with its body compressed; none when that would not make it smaller.
fn compress(body: &[u8]) -> Option<Vec<u8>> {
    if body.len() > MAX_COMPRESSED_BODY_BYTES {
        return None;
    }
    let frame = zstd::bulk::compress(body, ZSTD_LEVEL).ok()?;
    let mut block = Vec::with_capacity(frame.len() + 8);
    block.extend([VERSION, ZSTD]);
    put(&mut block, body.len() as u128);
    block.extend(frame);
    (block.len() < body.len() + 2).then_some(block)
}

fn inflate(payload: &[u8]) -> Result<Vec<u8>, Undecodable> {
    let mut reader = Reader::new(payload);
    let length = reader.number::<usize>()?;
    if length > MAX_COMPRESSED_BODY_BYTES {
        return Err(Undecodable { reason: "it inflates to more than a block may have" });
    }
    let body = zstd::bulk::decompress(reader.rest(), length)
        .map_err(|_| Undecodable { reason: "it does not inflate" })?;
    if body.len() != length {
        return Err(Undecodable { reason: "it inflates to another length than it says" });
    }
    Ok(body)
}

impl TryFrom<u8> for Kind {
    type Error = Undecodable;

    fn try_from(byte: u8) -> Result<Self, Undecodable> {
        [Self::Counter, Self::Gauge, Self::Histogram, Self::Explicit]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
            .ok_or(Undecodable { reason: "a slot is of an unknown kind" })
    }
}
