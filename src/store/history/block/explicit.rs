//! Columns of histograms whose bounds their source chose.
//!
//! ```text
//! explicit = v        different sets of bounds; nothing follows when there is no such histogram
//!            per set: v bounds, then each as eight bytes of IEEE 754, lowest first
//!            v each   which set, from 0
//!            v per count of each, one more than it has bounds
//!            z each   sum in nano-units
//! ```

use super::Undecodable;
use super::bytes::{CUT_SHORT, Reader, put, put_signed};
use crate::model::histogram::ExplicitHistogram;

const BAD_SET: Undecodable = Undecodable { reason: "it names bounds that it does not hold" };

pub(super) fn put_all(out: &mut Vec<u8>, all: &[&ExplicitHistogram]) {
    if all.is_empty() {
        return;
    }
    let mut sets: Vec<&[f64]> = Vec::new();
    let mut which = Vec::with_capacity(all.len());
    for histogram in all {
        let known = sets.iter().position(|set| bits(set).eq(bits(&histogram.bounds)));
        which.push(known.unwrap_or_else(|| {
            sets.push(&histogram.bounds);
            sets.len() - 1
        }));
    }
    put(out, sets.len() as u128);
    for set in sets {
        put(out, set.len() as u128);
        out.extend(set.iter().flat_map(|bound| bound.to_le_bytes()));
    }
    for set in which {
        put(out, set as u128);
    }
    for histogram in all {
        for at in 0..=histogram.bounds.len() {
            put(out, u128::from(histogram.counts.get(at).copied().unwrap_or(0)));
        }
    }
    for histogram in all {
        put_signed(out, histogram.sum);
    }
}

pub(super) fn take_all(
    reader: &mut Reader<'_>,
    count: usize,
) -> Result<Vec<ExplicitHistogram>, Undecodable> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut sets = Vec::new();
    for _ in 0..reader.length()? {
        let bounds = reader.length()?;
        sets.push((0..bounds).map(|_| reader.float()).collect::<Result<Vec<_>, _>>()?);
    }
    let mut which = Vec::new();
    let mut counts_in_all = 0_usize;
    for _ in 0..count {
        let bounds = sets.get(reader.number::<usize>()?).ok_or(BAD_SET)?;
        counts_in_all = counts_in_all.saturating_add(bounds.len() + 1);
        which.push(bounds);
    }
    // Each histogram gets a copy of its bounds: not before there are counts to go with them.
    if counts_in_all > reader.rest().len() {
        return Err(CUT_SHORT);
    }
    let mut all = Vec::with_capacity(which.len());
    for bounds in which {
        let counts = (0..=bounds.len()).map(|_| reader.number()).collect::<Result<Vec<_>, _>>()?;
        all.push(ExplicitHistogram { bounds: bounds.clone(), counts, sum: 0 });
    }
    for histogram in &mut all {
        histogram.sum = reader.signed()?;
    }
    Ok(all)
}

/// Bounds by their bits, so that those which are no numbers count as equal to themselves.
fn bits(bounds: &[f64]) -> impl Iterator<Item = u64> {
    bounds.iter().map(|bound| bound.to_bits())
}
