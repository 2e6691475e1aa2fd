//! Whether something between buffers a stream: events that were sent apart, but come together.
//!
//! A client alone cannot know that, since a server may well say several things at once. It takes the
//! times at which events were sent, from either of two:
//! - the server's own, where an event holds one. Only differences count, so its clock may be wrong;
//! - the run's: events that hold the run's id are its own messages come back. They go with its
//!   sendings one to one, in order, where there are as many of one as of the other.
//!
//! A gap between two events has collapsed when less than a tenth of it is left. One that does may be a
//! lost packet, so a stream counts as buffered when half of its gaps or more collapsed. Gaps shorter
//! than [`APART`] are not judged: what is sent so closely comes together on any network now and then.

use crate::base::clock::MonoNanos;
use crate::base::duration::humane;
use std::time::Duration;

/// Events that were sent less far apart are not judged.
pub(super) const APART: Duration = Duration::from_millis(20);
/// A gap of which no more than this part is left has collapsed.
const LEFT: u32 = 10;
/// Arrivals of no more events are kept.
const MAX_KEPT: usize = 4096;

/// The arrivals of events for which it can be told when they were sent.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// By the server's clock, milliseconds, and when they came.
    stamped: Vec<(u64, MonoNanos)>,
    /// When the run's own messages came.
    own: Vec<MonoNanos>,
    is_full: bool,
}

/// What the gaps between events tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not enough to tell, and why.
    Unknown(String),
    /// Events came as they were sent.
    Steady,
    /// They came together, in words.
    Buffered(String),
}

/// When an event was sent and when it came, both from any beginning.
#[derive(Clone, Copy)]
struct Passage {
    sent: Duration,
    came: Duration,
}

impl Arrivals {
    /// An event came, sent at that time by the server's clock.
    pub(super) fn stamped(&mut self, sent_ms: u64, arrived: MonoNanos) {
        if self.has_room() {
            self.stamped.push((sent_ms, arrived));
        }
    }

    /// A message of the run's own came.
    pub(super) fn own(&mut self, arrived: MonoNanos) {
        if self.has_room() {
            self.own.push(arrived);
        }
    }

    fn has_room(&mut self) -> bool {
        self.is_full |= self.stamped.len().max(self.own.len()) >= MAX_KEPT;
        !self.is_full
    }

    /// What they tell; `sent` is when the run sent its messages, in order.
    pub(super) fn judge(&self, sent: &[MonoNanos]) -> Verdict {
        let came = |at: MonoNanos| Duration::from_nanos(at.0);
        if !self.stamped.is_empty() {
            let passage = |(sent, at): &(u64, MonoNanos)| Passage {
                sent: Duration::from_millis(*sent),
                came: came(*at),
            };
            return judge(&self.stamped.iter().map(passage).collect::<Vec<_>>());
        }
        if self.own.len() != sent.len() || self.own.is_empty() {
            let words = format!(
                "{} events with the run's id came for {} messages that it sent, and none says when \
                 it was sent",
                self.own.len(),
                sent.len()
            );
            return Verdict::Unknown(words);
        }
        let passage = |(sent, at): (&MonoNanos, &MonoNanos)| Passage {
            sent: Duration::from_nanos(sent.0),
            came: came(*at),
        };
        judge(&sent.iter().zip(&self.own).map(passage).collect::<Vec<_>>())
    }
}

fn judge(passages: &[Passage]) -> Verdict {
    let pairs = passages.iter().zip(passages.iter().skip(1));
    let gaps = pairs.map(|(one, next)| {
        (next.sent.saturating_sub(one.sent), next.came.saturating_sub(one.came))
    });
    let collapsed: Vec<Option<bool>> = gaps
        .map(|(sent, came)| (sent >= APART).then(|| came.saturating_mul(LEFT) <= sent))
        .collect();
    let judged = collapsed.iter().flatten().count();
    if judged == 0 {
        let words = format!(
            "of {} events no two were sent {} apart or more",
            passages.len(),
            humane(APART)
        );
        return Verdict::Unknown(words);
    }
    if collapsed.iter().flatten().filter(|collapsed| **collapsed).count() * 2 < judged {
        return Verdict::Steady;
    }
    // A gap that was not judged belongs to the burst around it.
    let gaps = collapsed.iter().map(|gap| *gap != Some(false)).chain([false]);
    let (mut from, mut longest) = (0, None);
    for (at, goes_on) in gaps.enumerate() {
        if goes_on {
            continue;
        }
        let burst = passages.get(from..=at).unwrap_or_default();
        from = at + 1;
        let [first, .., last] = burst else { continue };
        let span = last.sent.saturating_sub(first.sent);
        if longest.is_none_or(|(_, longest, _)| span > longest) {
            longest = Some((burst.len(), span, last.came.saturating_sub(first.came)));
        }
    }
    let Some((events, sent, came)) = longest else { return Verdict::Steady };
    let came = match came {
        Duration::ZERO => "at once".to_owned(),
        came => format!("within {}", humane(came)),
    };
    let sent = humane(sent);
    Verdict::Buffered(format!("{events} events that were sent over {sent} arrived {came}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(own_ms: &[u64]) -> Arrivals {
        let mut arrivals = Arrivals::default();
        own_ms.iter().for_each(|ms| arrivals.own(MonoNanos(ms * 1_000_000)));
        arrivals
    }

    fn sent(ms: &[u64]) -> Vec<MonoNanos> {
        ms.iter().map(|ms| MonoNanos(ms * 1_000_000)).collect()
    }

    /// Guarantees what counts as buffered: most gaps gone, not one; a delay alone is not.
    #[test]
    fn collapsed_gaps_are_counted() {
        let check = |own: &[u64], messages: &[u64], expected: &str| {
            let found = match arrivals(own).judge(&sent(messages)) {
                Verdict::Unknown(_) => "unknown".to_owned(),
                Verdict::Steady => "steady".to_owned(),
                Verdict::Buffered(words) => words,
            };
            assert_eq!(found, expected, "{own:?}");
        };
        let apart = [100, 200, 300, 400];
        check(&[110, 210, 310, 410], &apart, "steady");
        check(&[900, 1_000, 1_100, 1_200], &apart, "steady");
        let whole = "4 events that were sent over 300ms arrived within 2.00ms";
        check(&[500, 501, 501, 502], &apart, whole);
        let part = "3 events that were sent over 200ms arrived within 1.00ms";
        check(&[310, 310, 311, 410], &apart, part);
        check(&[210, 210, 310, 410], &apart, "steady");
        check(&[410, 410, 410], &apart, "unknown");
        check(&[], &[], "unknown");
        check(&[5, 5, 5], &[1, 2, 3], "unknown");
        check(&[50], &[1], "unknown");
    }

    /// Guarantees that the server's own times come first, whatever its clock shows.
    #[test]
    fn a_server_s_times_come_first() {
        let mut arrivals = arrivals(&[1, 2]);
        for n in 0..3 {
            arrivals.stamped(1_700_000_000_000 + n * 50, MonoNanos(7_000_000));
        }
        let words = "3 events that were sent over 100ms arrived at once".to_owned();
        assert_eq!(arrivals.judge(&sent(&[1, 2])), Verdict::Buffered(words));
    }

    /// Guarantees that memory is bounded.
    #[test]
    fn arrivals_are_bounded() {
        let mut arrivals = Arrivals::default();
        (0..2 * MAX_KEPT).for_each(|_| arrivals.own(MonoNanos(1)));
        assert_eq!(arrivals.own.len(), MAX_KEPT);
    }
}
