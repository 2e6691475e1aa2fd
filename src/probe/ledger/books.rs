//! The books on numbered messages: what was lost, doubled or out of order, publisher by publisher.
//!
//! A message that is overtaken is missing until it comes; then it was out of order and not lost. Where
//! it is known which numbers were sent, those before the first and after the last that came are missed
//! as well; otherwise the books begin with the first number that came. Numbers may wrap.

use std::collections::BTreeMap;

/// Gaps on the books of one publisher. What would open another is not remembered any more: its numbers
/// are lost for good, and a late one among them counts as a duplicate.
const MAX_GAPS: usize = 4_096;
/// Publishers on the books of one stream.
const MAX_PUBLISHERS: usize = 1_024;

/// The books on one stream.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    publishers: BTreeMap<String, Account>,
    terms: Terms,
    /// Messages of publishers beyond those on the books.
    unbooked: u64,
}

/// What is known of the numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Terms {
    /// The first number and how many were sent, where that is known.
    pub sent: Option<(u64, u64)>,
    /// Numbers begin anew at 0 after this many.
    pub wraps_at: Option<u64>,
}

/// The books on one publisher.
#[derive(Debug)]
struct Account {
    /// The lowest number on the books, and the highest.
    lowest: u64,
    highest: u64,
    /// Numbers that have not come, as ranges: first and last.
    missing: BTreeMap<u64, u64>,
    forgotten: u64,
    entries: Entries,
}

/// Sums over one publisher or all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Entries {
    /// Messages that came.
    pub received: u64,
    /// Numbers that came again.
    pub duplicates: u64,
    /// Numbers that came after a higher one.
    pub reordered: u64,
    /// Numbers that did not come.
    pub lost: u64,
    /// Stretches of consecutive numbers that did not come.
    pub gaps: u64,
    /// Numbers in the longest of them.
    pub longest_gap: u64,
}

// === impl Ledger ===

impl Ledger {
    /// Empty books.
    pub(super) fn new(terms: Terms) -> Self {
        Self { terms, ..Self::default() }
    }

    /// Books a message.
    pub(super) fn book(&mut self, publisher: &str, number: u64) {
        if let Some(account) = self.publishers.get_mut(publisher) {
            return account.book(number, self.terms.wraps_at);
        }
        if self.publishers.len() >= MAX_PUBLISHERS {
            self.unbooked += 1;
            return;
        }
        let account = Account::open(number, self.terms);
        let _ = self.publishers.insert(publisher.to_owned(), account);
    }

    /// Whether every number that was sent has come, where that is known.
    pub(super) fn is_complete(&self) -> bool {
        let Some((_, count)) = self.terms.sent else { return false };
        let all =
            |account: &Account| account.entries.received - account.entries.duplicates >= count;
        !self.publishers.is_empty() && self.publishers.values().all(all)
    }

    /// The sums of each publisher as the books stand, by name.
    pub(super) fn accounts(&self) -> impl Iterator<Item = (&str, Entries)> {
        let sent = self.terms.sent;
        self.publishers.iter().map(move |(name, account)| (name.as_str(), account.balance(sent)))
    }

    /// The sums over all publishers. Where nothing came at all of what was sent, all of it is lost.
    pub(super) fn balance(&self) -> Entries {
        let mut sum = Entries::default();
        for (_, entries) in self.accounts() {
            sum.received += entries.received;
            sum.duplicates += entries.duplicates;
            sum.reordered += entries.reordered;
            sum.lost = sum.lost.saturating_add(entries.lost);
            sum.gaps += entries.gaps;
            sum.longest_gap = sum.longest_gap.max(entries.longest_gap);
        }
        if let (Some((_, count)), true) = (self.terms.sent, self.publishers.is_empty()) {
            sum = Entries { lost: count, gaps: 1, longest_gap: count, ..sum };
        }
        sum
    }

    /// Messages of publishers for whom there was no room.
    pub(super) fn unbooked(&self) -> u64 {
        self.unbooked
    }
}

// === impl Account ===

impl Account {
    fn open(number: u64, terms: Terms) -> Self {
        // Wrapped numbers are counted from the second round on, so that there is room below.
        let number = number.saturating_add(terms.wraps_at.unwrap_or(0));
        let entries = Entries { received: 1, ..Entries::default() };
        Self { lowest: number, highest: number, missing: BTreeMap::new(), forgotten: 0, entries }
    }

    fn book(&mut self, number: u64, wraps_at: Option<u64>) {
        let number = wraps_at.map_or(number, |wrap| self.unwrapped(number, wrap));
        self.entries.received += 1;
        if number > self.highest {
            let expected = self.highest.saturating_add(1);
            self.highest = number;
            self.miss(expected, number);
        } else if number < self.lowest {
            let before = std::mem::replace(&mut self.lowest, number);
            self.entries.reordered += 1;
            self.miss(number + 1, before);
        } else if self.arrive(number) {
            self.entries.reordered += 1;
        } else {
            self.entries.duplicates += 1;
        }
    }

    /// The number in the round in which it is nearest to the highest.
    fn unwrapped(&self, number: u64, wrap: u64) -> u64 {
        let wrap = wrap.max(1);
        let round = self.highest / wrap * wrap;
        let rounds = [round.saturating_sub(wrap), round, round.saturating_add(wrap)];
        let candidates = rounds.map(|round| round.saturating_add(number % wrap));
        candidates.into_iter().min_by_key(|n| n.abs_diff(self.highest)).unwrap_or(number)
    }

    /// The numbers from `first` up to `end`, without it, have not come.
    fn miss(&mut self, first: u64, end: u64) {
        if first >= end {
            return;
        }
        if self.missing.len() >= MAX_GAPS {
            self.forgotten = self.forgotten.saturating_add(end - first);
        } else {
            let _ = self.missing.insert(first, end - 1);
        }
    }

    /// A number that was missing has come; false when it was not.
    fn arrive(&mut self, number: u64) -> bool {
        let Some((&first, &last)) = self.missing.range(..=number).next_back() else { return false };
        if number > last {
            return false;
        }
        let _ = self.missing.remove(&first);
        self.miss(first, number);
        self.miss(number + 1, last + 1);
        true
    }

    /// The sums, with what was sent and never came at either end.
    fn balance(&self, sent: Option<(u64, u64)>) -> Entries {
        let mut gaps: Vec<(u64, u64)> = self.missing.iter().map(|(f, l)| (*f, *l)).collect();
        if let Some((first, count)) = sent {
            let end = first.saturating_add(count);
            gaps.extend((first < self.lowest).then(|| (first, self.lowest - 1)));
            let next = self.highest.saturating_add(1);
            gaps.extend((next < end).then(|| (next, end - 1)));
        }
        let length = |(first, last): &(u64, u64)| (last - first).saturating_add(1);
        Entries {
            lost: gaps.iter().map(length).fold(self.forgotten, u64::saturating_add),
            gaps: gaps.len() as u64 + u64::from(self.forgotten > 0),
            longest_gap: gaps.iter().map(length).max().unwrap_or(0),
            ..self.entries
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// What a network did to the numbers `first..first + count`: the order in which they came.
    fn deliveries() -> impl Strategy<Value = (u64, u64, Vec<u64>)> {
        let faults = prop::collection::vec((0_u64..200, 0_u8..4, 1_usize..9), 0..40);
        (0_u64..50, 1_u64..200, faults).prop_map(|(first, count, faults)| {
            let mut line: Vec<u64> = (first..first + count).collect();
            for (at, fault, distance) in faults {
                let at = (at as usize) % line.len().max(1);
                match fault {
                    _ if line.is_empty() => {}
                    0 => drop(line.remove(at)),
                    1 => line.insert((at + distance).min(line.len()), line[at]),
                    _ => {
                        let moved = line.remove(at);
                        line.insert((at + distance).min(line.len()), moved);
                    }
                }
            }
            (first, count, line)
        })
    }

    /// The same sums from the whole list.
    fn brute_force(first: u64, count: u64, line: &[u64]) -> Entries {
        let distinct: BTreeSet<u64> = line.iter().copied().collect();
        let mut seen = BTreeSet::new();
        let reordered = line.iter().filter(|&&n| seen.insert(n) && seen.last() != Some(&n)).count();
        let mut gaps: Vec<u64> = Vec::new();
        let mut before = None;
        for missing in (first..first + count).filter(|n| !distinct.contains(n)) {
            match (before, gaps.last_mut()) {
                (Some(b), Some(gap)) if b + 1 == missing => *gap += 1,
                _ => gaps.push(1),
            }
            before = Some(missing);
        }
        Entries {
            received: line.len() as u64,
            duplicates: (line.len() - distinct.len()) as u64,
            reordered: reordered as u64,
            lost: count - distinct.len() as u64,
            gaps: gaps.len() as u64,
            longest_gap: gaps.into_iter().max().unwrap_or(0),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        /// Guarantees that the books equal what the network did, for a thousand plans of it.
        #[test]
        fn the_books_equal_the_plan((first, count, line) in deliveries()) {
            let mut ledger = Ledger::new(Terms { sent: Some((first, count)), wraps_at: None });
            line.iter().for_each(|number| ledger.book("alice", *number));
            prop_assert_eq!(ledger.balance(), brute_force(first, count, &line));
            let distinct: BTreeSet<&u64> = line.iter().collect();
            prop_assert_eq!(ledger.is_complete(), distinct.len() as u64 == count);
        }

        /// Guarantees the same for numbers that wrap while they are out of order.
        #[test]
        fn wrapping_changes_nothing((first, _, line) in deliveries(), wrap in 500_u64..1_000) {
            prop_assume!(!line.is_empty());
            let offset = wrap - 20;
            let mut plain = Ledger::new(Terms::default());
            let mut wrapped = Ledger::new(Terms { sent: None, wraps_at: Some(wrap) });
            for number in &line {
                plain.book("alice", number - first + offset);
                wrapped.book("alice", (number - first + offset) % wrap);
            }
            prop_assert_eq!(wrapped.balance(), plain.balance());
        }

        /// Guarantees that publishers do not disturb each other, however their messages interleave.
        #[test]
        fn publishers_have_books_of_their_own(
            (first, count, line) in deliveries(),
            turns in prop::collection::vec(any::<bool>(), 400),
        ) {
            let mut ledger = Ledger::new(Terms { sent: Some((first, count)), wraps_at: None });
            let (mut alice, mut bob) = (line.iter(), line.iter().rev());
            for turn in turns {
                if turn { alice.next().inspect(|n| ledger.book("alice", **n)) } else { bob.next().inspect(|n| ledger.book("bob", **n)) };
            }
            alice.for_each(|number| ledger.book("alice", *number));
            bob.for_each(|number| ledger.book("bob", *number));
            let reversed: Vec<u64> = line.iter().rev().copied().collect();
            for (name, entries) in ledger.accounts() {
                let own = if name == "alice" { &line } else { &reversed };
                prop_assert_eq!(entries, brute_force(first, count, own));
            }
        }
    }

    /// Guarantees that silence is the loss of everything, where it is known what was sent.
    #[test]
    fn silence_loses_everything() {
        let ledger = Ledger::new(Terms { sent: Some((1, 10)), wraps_at: None });
        let expected = Entries { lost: 10, gaps: 1, longest_gap: 10, ..Entries::default() };
        assert_eq!(ledger.balance(), expected);
        assert_eq!(Ledger::new(Terms::default()).balance(), Entries::default());
    }

    /// Guarantees bounded books: gaps beyond the limit are lost, publishers beyond it are counted.
    #[test]
    fn the_books_are_bounded() {
        let mut ledger = Ledger::new(Terms::default());
        (0..10_000).for_each(|number| ledger.book("alice", number * 2));
        assert_eq!(ledger.balance().lost, 9_999);
        assert!(ledger.publishers["alice"].missing.len() <= MAX_GAPS);
        (0..2_000).for_each(|name| ledger.book(&name.to_string(), 1));
        assert_eq!(ledger.unbooked(), 2_001 - MAX_PUBLISHERS as u64);
    }
}
