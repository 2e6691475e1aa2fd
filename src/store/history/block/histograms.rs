//! Columns of base-2 exponential histograms.
//!
//! ```text
//! histograms = v each   values that are zero or less
//!              v each   buckets that hold something
//!              per bucket of each: the first, z distance from the first bucket of the histogram
//!                before; another, v empty buckets between it and the one below
//!              v per bucket of each: its count
//!              z each   count less what zero and the buckets add up to: 0 but for broken sources
//!              z each   sum in nano-units
//! ```

use super::Undecodable;
use super::bytes::{Reader, put, put_signed};
use crate::model::histogram::ExpHistogram;

const BAD_BUCKET: Undecodable = Undecodable { reason: "a bucket in it is out of range" };
const BAD_COUNT: Undecodable = Undecodable { reason: "a count in it is out of range" };

pub(super) fn put_all(out: &mut Vec<u8>, all: &[&ExpHistogram]) {
    for histogram in all {
        put(out, u128::from(histogram.zero));
    }
    for histogram in all {
        put(out, histogram.buckets().len() as u128);
    }
    let mut first_before = 0_i128;
    for histogram in all {
        let mut below = None;
        for (index, _) in histogram.buckets() {
            let index = i128::from(*index);
            match below {
                None => {
                    put_signed(out, index - first_before);
                    first_before = index;
                }
                // Buckets rise, so the distance is never below one.
                Some(below) => put(out, (index - below - 1) as u128),
            }
            below = Some(index);
        }
    }
    for histogram in all {
        for (_, count) in histogram.buckets() {
            put(out, u128::from(*count));
        }
    }
    for histogram in all {
        put_signed(out, i128::from(histogram.count) - within(histogram));
    }
    for histogram in all {
        put_signed(out, histogram.sum);
    }
}

pub(super) fn take_all(
    reader: &mut Reader<'_>,
    count: usize,
) -> Result<Vec<ExpHistogram>, Undecodable> {
    let mut all = Vec::with_capacity(count.min(reader.rest().len()));
    for _ in 0..count {
        let mut histogram = ExpHistogram::default();
        histogram.zero = reader.number()?;
        all.push(histogram);
    }
    let sizes = (0..count).map(|_| reader.length()).collect::<Result<Vec<_>, _>>()?;
    let mut indexes = Vec::new();
    let mut first_before = 0_i128;
    for size in &sizes {
        let mut below = None;
        for _ in 0..*size {
            let index = match below {
                None => first_before.checked_add(reader.signed()?).ok_or(BAD_BUCKET)?,
                Some(below) => i128::from(below) + 1 + i128::from(reader.number::<u32>()?),
            };
            first_before = if below.is_none() { index } else { first_before };
            let index = i16::try_from(index).map_err(|_| BAD_BUCKET)?;
            below = Some(index);
            indexes.push(index);
        }
    }
    let mut indexes = indexes.into_iter();
    for (histogram, size) in all.iter_mut().zip(&sizes) {
        for index in indexes.by_ref().take(*size) {
            histogram.bump(index, reader.number()?);
        }
    }
    for histogram in &mut all {
        let count = within(histogram).checked_add(reader.signed()?).ok_or(BAD_COUNT)?;
        histogram.count = u64::try_from(count).map_err(|_| BAD_COUNT)?;
    }
    for histogram in &mut all {
        histogram.sum = reader.signed()?;
    }
    Ok(all)
}

/// What zero and the buckets add up to.
fn within(histogram: &ExpHistogram) -> i128 {
    let buckets = histogram.buckets().iter().map(|(_, count)| i128::from(*count)).sum::<i128>();
    i128::from(histogram.zero) + buckets
}
