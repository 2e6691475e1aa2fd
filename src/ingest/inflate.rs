//! Inflates gzip and zstd in steps, each paid for out of the budget before it is taken.

use super::body::Compression;
use super::budget::Reservation;
use super::problem::Problem;
use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use std::io::Read;

/// The smallest step by which the output grows.
const STEP: usize = 64 * 1024;
/// How far the size that a gzip trailer claims is believed: telemetry shrinks to a tenth.
const BELIEVED_RATIO: usize = 20;
/// The largest window of a zstd frame, as RFC 9659 has it for HTTP: 8 MiB.
const ZSTD_WINDOW_LOG: u32 = 23;

/// The plain bytes of `packed`, at most `limit` of them; `reservation` grows with the output.
///
/// # Errors
/// When the input is damaged, the output too large, or there is no room for it.
pub(super) fn inflate(
    compression: Compression,
    packed: Bytes,
    limit: usize,
    reservation: &mut Reservation,
) -> Result<Bytes, Problem> {
    // Some clients name an encoding for a body that they leave empty.
    if compression == Compression::Identity || packed.is_empty() {
        reservation.grow_to(packed.len())?;
        return Ok(packed);
    }
    let expected = expected_size(compression, &packed, limit);
    let read = |reader: &mut dyn Read, reservation| read_all(reader, expected, limit, reservation);
    match compression {
        Compression::Identity => Ok(packed),
        Compression::Gzip => read(&mut MultiGzDecoder::new(packed.as_ref()), reservation),
        Compression::Zstd => {
            let damaged = |error| damaged(&error);
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(packed.as_ref()).map_err(damaged)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(damaged)?;
            read(&mut decoder, reservation)
        }
    }
}

fn read_all(
    reader: &mut dyn Read,
    expected: usize,
    limit: usize,
    reservation: &mut Reservation,
) -> Result<Bytes, Problem> {
    let mut plain = Vec::new();
    // One byte more than is allowed tells "too large" from "just fits".
    let mut capacity = (expected + 1).max(STEP).min(limit + 1);
    loop {
        reservation.grow_to(capacity)?;
        plain.reserve_exact(capacity - plain.len());
        let room = (capacity - plain.len()) as u64;
        let mut step = Read::take(&mut *reader, room);
        let read = step.read_to_end(&mut plain).map_err(|error| damaged(&error))?;
        if plain.len() > limit {
            return Err(Problem::TooLarge { limit });
        }
        if (read as u64) < room {
            return Ok(plain.into());
        }
        capacity = capacity.saturating_mul(2).min(limit + 1);
    }
}

/// How many plain bytes to expect, at most `limit`: what a gzip stream claims at its end, within
/// reason, and a usual ratio for zstd.
pub(super) fn expected_size(compression: Compression, packed: &[u8], limit: usize) -> usize {
    let believed = packed.len().saturating_mul(BELIEVED_RATIO);
    let expected = match (compression, packed.last_chunk::<4>()) {
        (Compression::Identity, _) => packed.len(),
        (Compression::Gzip, Some(trailer)) => (u32::from_le_bytes(*trailer) as usize).min(believed),
        _ => believed / 2,
    };
    expected.min(limit)
}

fn damaged(error: &std::io::Error) -> Problem {
    Problem::Undecodable(format!("the compressed body is damaged: {error}"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::budget::Budget;
    use super::*;
    use std::io::Write;
    use std::time::Duration;

    /// `plain` as one gzip member.
    pub(in super::super) fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(plain).expect("writes to memory");
        encoder.finish().expect("writes to memory")
    }

    async fn inflated(
        compression: Compression,
        packed: Vec<u8>,
        limit: usize,
        budget: usize,
    ) -> Result<usize, Problem> {
        let budget = Budget::new(budget);
        let mut reservation = budget.enter(0, Duration::ZERO).await.expect("room for nothing");
        inflate(compression, packed.into(), limit, &mut reservation).map(|plain| plain.len())
    }

    /// Guarantees that both formats inflate up to the limit exactly, in several members or
    /// frames, and that one byte more is too large.
    #[tokio::test]
    async fn the_limit_is_exact() {
        let plain = vec![7_u8; 300_000];
        let zstd = |plain: &[u8]| zstd::encode_all(plain, 3).expect("packs");
        for (compression, once) in
            [(Compression::Gzip, gzip(&plain)), (Compression::Zstd, zstd(&plain))]
        {
            let twice = [once.clone(), once].concat();
            let all = inflated(compression, twice.clone(), 600_000, 1 << 20).await;
            assert_eq!(all.ok(), Some(600_000), "{compression:?}");
            let less = inflated(compression, twice.clone(), 599_999, 1 << 20).await;
            assert!(matches!(less, Err(Problem::TooLarge { .. })), "{compression:?}: {less:?}");
            let poor = inflated(compression, twice, 600_000, 400 * 1024).await;
            assert!(matches!(poor, Err(Problem::Overloaded)), "{compression:?}: {poor:?}");
        }
    }

    /// Guarantees that damaged and torn input is told as such, and that an empty body is empty
    /// whatever it claims to be.
    #[tokio::test]
    async fn damage_is_told() {
        let mut torn = gzip(b"some telemetry");
        torn.truncate(torn.len() - 3);
        for (compression, packed) in [
            (Compression::Gzip, torn),
            (Compression::Gzip, b"not gzip".to_vec()),
            (Compression::Gzip, [gzip(b"x"), b"tail".to_vec()].concat()),
            (Compression::Zstd, b"not zstd".to_vec()),
        ] {
            let outcome = inflated(compression, packed, 1 << 20, 1 << 20).await;
            assert!(matches!(outcome, Err(Problem::Undecodable(_))), "{outcome:?}");
        }
        assert_eq!(inflated(Compression::Gzip, Vec::new(), 10, 10).await.ok(), Some(0));
    }
}
