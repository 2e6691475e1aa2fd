//! When the messages of a stream came: what is told of each, long after the message itself is gone.

use super::stream::OpenStream;
use crate::base::clock::{MonoNanos, nanos};
use crate::model::probe::{MessageStamp, Messages};

/// Of a stream, no more stamps are kept: 96 KiB.
const MAX_STAMPS: usize = 4096;
/// Of all streams of a step together.
const MAX_OF_STEP: usize = 16_384;

/// The stamps of a stream: those of its first messages, and how many came after.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    /// The number of the first.
    begins_at: u64,
    kept: Vec<Stamp>,
    omitted: u64,
}

#[derive(Clone, Copy, Debug)]
struct Stamp {
    arrived: MonoNanos,
    size_bytes: u32,
    matched: bool,
}

impl Stamps {
    /// None yet; the next message has that number.
    pub(super) const fn beginning_at(number: u64) -> Self {
        Self { begins_at: number, kept: Vec::new(), omitted: 0 }
    }

    /// A message came. Numbers follow one another.
    pub(super) fn push(&mut self, number: u64, arrived: MonoNanos, length: usize) {
        if self.kept.is_empty() && self.omitted == 0 {
            self.begins_at = number;
        }
        if self.kept.len() < MAX_STAMPS {
            let size_bytes = u32::try_from(length).unwrap_or(u32::MAX);
            self.kept.push(Stamp { arrived, size_bytes, matched: false });
        } else {
            self.omitted += 1;
        }
    }

    /// A step took the message of that number.
    pub(super) fn matched(&mut self, number: u64) {
        let at = number.checked_sub(self.begins_at).and_then(|at| usize::try_from(at).ok());
        if let Some(stamp) = at.and_then(|at| self.kept.get_mut(at)) {
            stamp.matched = true;
        }
    }

    /// Tells of all of them as those of that receiver, as far as there is room for so many.
    pub(super) fn tell(&self, run_started: MonoNanos, receiver: u32, room: usize) -> Messages {
        let told = |stamp: &Stamp| MessageStamp {
            offset_ns: nanos(stamp.arrived.since(run_started)),
            size_bytes: stamp.size_bytes,
            receiver,
            matched: stamp.matched,
        };
        Messages {
            stamps: self.kept.iter().take(room).map(told).collect(),
            omitted: self.omitted + self.kept.len().saturating_sub(room) as u64,
        }
    }

    /// Adds those of the connection that took this one's place, whose numbers follow.
    pub(super) fn follow(&mut self, next: Self) {
        let room = if self.omitted == 0 { MAX_STAMPS.saturating_sub(self.kept.len()) } else { 0 };
        let left_out = next.kept.len().saturating_sub(room) as u64;
        self.kept.extend(next.kept.into_iter().take(room));
        self.omitted += next.omitted + left_out;
    }
}

/// What came over the streams that a step opened, in the order of arrival.
pub(super) fn of_streams<'s>(
    streams: impl Iterator<Item = &'s OpenStream>,
    run_started: MonoNanos,
) -> Messages {
    let mut messages = Messages::default();
    for stream in streams {
        let room = MAX_OF_STEP.saturating_sub(messages.stamps.len());
        let told = stream.inbox.look(|state| state.stamps.tell(run_started, stream.receiver, room));
        messages.stamps.extend(told.stamps);
        messages.omitted += told.omitted;
    }
    messages.stamps.sort_by_key(|stamp| stamp.offset_ns);
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that every message is stamped or counted, that a match is told of the right one, also
    /// after a reconnect and when a held stream begins anew.
    #[test]
    fn every_message_is_stamped_or_counted() {
        let push = |stamps: &mut Stamps, numbers: std::ops::Range<u64>| {
            numbers.for_each(|number| stamps.push(number, MonoNanos(number), 3));
        };
        let matched = |stamps: &Stamps| -> Vec<u64> {
            stamps.kept.iter().filter(|stamp| stamp.matched).map(|stamp| stamp.arrived.0).collect()
        };
        let (mut stamps, mut next) = (Stamps::default(), Stamps::default());
        push(&mut stamps, 0..10);
        push(&mut next, 0..5);
        next.matched(1);
        stamps.follow(next);
        stamps.matched(4);
        stamps.matched(12);
        assert_eq!(matched(&stamps), [4, 1, 2]);
        let bound = MAX_STAMPS as u64;
        push(&mut stamps, 15..bound + 7);
        assert_eq!((stamps.kept.len(), stamps.omitted), (MAX_STAMPS, 7));
        let mut anew = Stamps::beginning_at(100);
        push(&mut anew, 100..103);
        anew.matched(101);
        anew.matched(50);
        assert_eq!(matched(&anew), [101]);
    }
}
