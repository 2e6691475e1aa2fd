//! Columns of counters and gauges.
//!
//! ```text
//! counters = v each   whole units
//!            v each   billionths beyond them: counts of events have none
//! gauges   = v each   bits of the value XOR those of the gauge before, lowest byte first, so that
//!                     an unchanged value is one zero and a round number is short
//! ```

use super::Undecodable;
use super::bytes::{Reader, put};

/// Counters are kept in nano-units.
const UNIT: u128 = 1_000_000_000;

pub(super) fn put_counters(out: &mut Vec<u8>, counters: &[u128]) {
    for grown in counters {
        put(out, grown / UNIT);
    }
    for grown in counters {
        put(out, grown % UNIT);
    }
}

pub(super) fn take_counters(
    reader: &mut Reader<'_>,
    count: usize,
) -> Result<Vec<u128>, Undecodable> {
    let whole = (0..count).map(|_| reader.wide()).collect::<Result<Vec<_>, _>>()?;
    let mut counters = Vec::with_capacity(whole.len());
    for units in whole {
        let grown = units.checked_mul(UNIT).zip(Some(reader.wide()?));
        counters.push(
            grown
                .and_then(|(whole, rest)| whole.checked_add(rest))
                .ok_or(Undecodable { reason: "a counter in it is too large" })?,
        );
    }
    Ok(counters)
}

pub(super) fn put_gauges(out: &mut Vec<u8>, gauges: &[f64]) {
    let mut before = 0_u64;
    for gauge in gauges {
        let bits = gauge.to_bits();
        put(out, u128::from((bits ^ before).swap_bytes()));
        before = bits;
    }
}

pub(super) fn take_gauges(reader: &mut Reader<'_>, count: usize) -> Result<Vec<f64>, Undecodable> {
    let mut before = 0_u64;
    (0..count)
        .map(|_| {
            before ^= reader.number::<u64>()?.swap_bytes();
            Ok(f64::from_bits(before))
        })
        .collect()
}
