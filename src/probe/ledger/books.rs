//! The books on numbered messages: what was lost, doubled or out of order, publisher by publisher.
//!
//! A message that is overtaken is missing until it comes; then it was out of order and not lost. Where
//! it is known which numbers were sent, the books begin and end with those, and others are not on them;
//! otherwise they begin with the first number that came. Numbers may wrap.

use std::collections::BTreeMap;

/// Gaps on the books of one publisher. What would open another is not remembered any more: its numbers
/// are lost for good, and a late one among them counts as a duplicate.
const MAX_GAPS: usize = 4_096;
/// Publishers on the books of one stream.
pub(super) const MAX_PUBLISHERS: u32 = 1_024;

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
    /// The first number and how many each publisher sent, where that is known.
    pub sent: Option<(u64, u64)>,
    /// Numbers begin anew at 0 after this many.
    pub wraps_at: Option<u64>,
    /// How many publishers there are, where that is known.
    pub publishers: Option<u32>,
}

/// The books on one publisher. Wrapped numbers are counted from the second round on, so that there is
/// room below.
#[derive(Debug)]
struct Account {
    /// The lowest number on the books, and the one after the highest.
    lowest: u64,
    next: u64,
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
    /// Messages with a number that was not sent; they count for nothing else.
    pub outside: u64,
}

// === impl Terms ===

impl Terms {
    /// The numbers that were sent, the end not included.
    fn range(self) -> Option<(u64, u64)> {
        let (first, count) = self.sent?;
        let first = self.wraps_at.map_or(first, |wrap| (first % wrap.max(1)).saturating_add(wrap));
        Some((first, first.saturating_add(count)))
    }
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
            return account.book(number, self.terms);
        }
        if self.publishers.len() >= MAX_PUBLISHERS as usize {
            self.unbooked += 1;
            return;
        }
        let mut account = Account::open(number, self.terms);
        account.book(number, self.terms);
        let _ = self.publishers.insert(publisher.to_owned(), account);
    }

    /// Whether every number of every publisher has come, where both are known: before that a publisher
    /// may be silent only so far.
    pub(super) fn is_complete(&self) -> bool {
        let (Some((_, count)), Some(publishers)) = (self.terms.sent, self.terms.publishers) else {
            return false;
        };
        let all =
            |account: &Account| account.entries.received - account.entries.duplicates >= count;
        self.publishers.len() >= publishers as usize && self.publishers.values().all(all)
    }

    /// The sums of each publisher as the books stand, by name.
    pub(super) fn accounts(&self) -> impl Iterator<Item = (&str, Entries)> {
        let range = self.terms.range();
        self.publishers.iter().map(move |(name, account)| (name.as_str(), account.balance(range)))
    }

    /// Publishers of whom nothing came.
    pub(super) fn silent(&self) -> u64 {
        // Of one alone it need not be said.
        let known = self.terms.publishers.unwrap_or(1) as usize;
        known.saturating_sub(self.publishers.len()) as u64
    }

    /// The sums over all publishers. Of those from whom nothing came all that they sent is lost.
    pub(super) fn balance(&self) -> Entries {
        let mut sum = Entries::default();
        for (_, entries) in self.accounts() {
            sum.received += entries.received;
            sum.duplicates += entries.duplicates;
            sum.reordered += entries.reordered;
            sum.lost = sum.lost.saturating_add(entries.lost);
            sum.gaps += entries.gaps;
            sum.longest_gap = sum.longest_gap.max(entries.longest_gap);
            sum.outside += entries.outside;
        }
        if let (Some((_, count)), silent @ 1..) = (self.terms.sent, self.silent()) {
            sum.lost = sum.lost.saturating_add(count.saturating_mul(silent));
            sum.gaps += silent;
            sum.longest_gap = sum.longest_gap.max(count);
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
    /// Books that begin with what was sent first, or else with this number.
    fn open(number: u64, terms: Terms) -> Self {
        let lifted = || number.saturating_add(terms.wraps_at.unwrap_or(0));
        let lowest = terms.range().map_or_else(lifted, |(first, _)| first);
        let missing = BTreeMap::new();
        Self { lowest, next: lowest, missing, forgotten: 0, entries: Entries::default() }
    }

    fn book(&mut self, number: u64, terms: Terms) {
        let number = terms.wraps_at.map_or(number, |wrap| self.unwrapped(number, wrap, terms));
        if terms.range().is_some_and(|(first, end)| !(first..end).contains(&number)) {
            self.entries.outside += 1;
            return;
        }
        self.entries.received += 1;
        if number >= self.next {
            let expected = self.next;
            self.next = number.saturating_add(1);
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

    /// The number in its round: the only one in which it was sent, or else the one in which it is
    /// nearest to the highest.
    fn unwrapped(&self, number: u64, wrap: u64, terms: Terms) -> u64 {
        let wrap = wrap.max(1);
        let number = number % wrap;
        if let Some((first, end)) = terms.range()
            && (end - first <= wrap || self.entries.received == 0)
        {
            let after = (number + wrap - first % wrap) % wrap;
            return first.saturating_add(after);
        }
        let highest = self.next.saturating_sub(1);
        let round = highest / wrap * wrap;
        let rounds = [round.saturating_sub(wrap), round, round.saturating_add(wrap)];
        let candidates = rounds.map(|round| round.saturating_add(number));
        candidates.into_iter().min_by_key(|n| n.abs_diff(highest)).unwrap_or(number)
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

    /// The sums, with what was sent and has not come after the highest.
    fn balance(&self, range: Option<(u64, u64)>) -> Entries {
        let mut gaps: Vec<(u64, u64)> = self.missing.iter().map(|(f, l)| (*f, *l)).collect();
        if let Some((_, end)) = range {
            gaps.extend((self.next < end).then(|| (self.next, end - 1)));
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
            outside: 0,
        }
    }

    /// One publisher, of whom it is known what was sent.
    fn known(first: u64, count: u64) -> Terms {
        Terms { sent: Some((first, count)), wraps_at: None, publishers: Some(1) }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        /// Guarantees that the books equal what the network did, for a thousand plans of it.
        #[test]
        fn the_books_equal_the_plan((first, count, line) in deliveries()) {
            let mut ledger = Ledger::new(known(first, count));
            line.iter().for_each(|number| ledger.book("alice", *number));
            prop_assert_eq!(ledger.balance(), brute_force(first, count, &line));
            let distinct: BTreeSet<&u64> = line.iter().collect();
            prop_assert_eq!(ledger.is_complete(), distinct.len() as u64 == count);
        }

        /// Guarantees the same for numbers that wrap while they are out of order, whether it is known
        /// what was sent or not, also where the first that comes is of the second round.
        #[test]
        fn wrapping_changes_nothing(
            (first, count, line) in deliveries(),
            wrap in 500_u64..1_000,
            is_known: bool,
        ) {
            prop_assume!(!line.is_empty());
            let offset = wrap - 20;
            let sent = is_known.then_some((offset, count));
            let terms = Terms { sent, wraps_at: None, publishers: Some(1) };
            let mut plain = Ledger::new(terms);
            let mut wrapped = Ledger::new(Terms { wraps_at: Some(wrap), ..terms });
            for number in &line {
                plain.book("alice", number - first + offset);
                wrapped.book("alice", (number - first + offset) % wrap);
            }
            prop_assert_eq!(wrapped.balance(), plain.balance());
            prop_assert_eq!(wrapped.is_complete(), plain.is_complete());
        }

        /// Guarantees that numbers which were not sent change nothing but their own sum, wherever they
        /// come in between.
        #[test]
        fn what_was_not_sent_is_not_on_the_books(
            (first, count, line) in deliveries(),
            strays in prop::collection::vec((0_usize..200, 0_u64..1_000), 0..20),
            wraps: bool,
        ) {
            let wraps_at = wraps.then_some(5_000);
            let mut ledger = Ledger::new(Terms { wraps_at, ..known(first, count) });
            let stray = |beyond: u64| if beyond < first { beyond } else { first + count + beyond };
            for (at, number) in line.iter().enumerate() {
                let here = strays.iter().filter(|(place, _)| *place == at);
                here.for_each(|(_, beyond)| ledger.book("alice", stray(*beyond)));
                ledger.book("alice", *number);
            }
            let came = strays.iter().filter(|(place, _)| *place < line.len()).count() as u64;
            prop_assert_eq!(
                ledger.balance(),
                Entries { outside: came, ..brute_force(first, count, &line) }
            );
            let distinct: BTreeSet<&u64> = line.iter().collect();
            prop_assert_eq!(ledger.is_complete(), distinct.len() as u64 == count);
        }

        /// Guarantees that publishers do not disturb each other, however their messages interleave.
        #[test]
        fn publishers_have_books_of_their_own(
            (first, count, line) in deliveries(),
            turns in prop::collection::vec(any::<bool>(), 400),
        ) {
            let mut ledger = Ledger::new(known(first, count));
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
        let ledger = Ledger::new(known(1, 10));
        let expected = Entries { lost: 10, gaps: 1, longest_gap: 10, ..Entries::default() };
        assert_eq!(ledger.balance(), expected);
        assert_eq!(Ledger::new(Terms::default()).balance(), Entries::default());
    }

    /// Guarantees that the example of the documentation is whole: numbers that never get as far as to
    /// wrap are not a round behind; and that of many rounds a lost number is seen.
    #[test]
    fn rounds_are_not_losses() {
        let mut ledger = Ledger::new(Terms { wraps_at: Some(65_536), ..known(1, 100) });
        (1..=100).for_each(|number| ledger.book("alice", number));
        assert_eq!(ledger.balance(), Entries { received: 100, ..Entries::default() });
        assert!(ledger.is_complete());
        let mut ledger = Ledger::new(Terms { wraps_at: Some(1_000), ..known(0, 2_501) });
        (0..2_500).filter(|n| *n != 1_700).for_each(|n| ledger.book("alice", n % 1_000));
        let expected =
            Entries { received: 2_499, lost: 2, gaps: 2, longest_gap: 1, ..Entries::default() };
        assert_eq!(ledger.balance(), expected);
    }

    /// Guarantees that the books are not complete before it is known who sends, and that a publisher
    /// of whom nothing came has lost everything.
    #[test]
    fn a_silent_publisher_is_missed() {
        let terms = Terms { publishers: Some(2), ..known(1, 10) };
        let mut ledger = Ledger::new(terms);
        (1..=10).for_each(|number| ledger.book("alice", number));
        assert!(!ledger.is_complete());
        let lost =
            Entries { received: 10, lost: 10, gaps: 1, longest_gap: 10, ..Entries::default() };
        assert_eq!((ledger.balance(), ledger.silent()), (lost, 1));
        (1..=10).for_each(|number| ledger.book("bob", number));
        assert!(ledger.is_complete());
        assert_eq!(ledger.balance(), Entries { received: 20, ..Entries::default() });
        let mut unknown = Ledger::new(Terms { publishers: None, ..terms });
        (1..=10).for_each(|number| unknown.book("alice", number));
        assert!(!unknown.is_complete());
    }

    /// Guarantees bounded books: gaps beyond the limit are lost, publishers beyond it are counted.
    #[test]
    fn the_books_are_bounded() {
        let mut ledger = Ledger::new(Terms::default());
        (0..10_000).for_each(|number| ledger.book("alice", number * 2));
        assert_eq!(ledger.balance().lost, 9_999);
        assert!(ledger.publishers["alice"].missing.len() <= MAX_GAPS);
        (0..2_000).for_each(|name| ledger.book(&name.to_string(), 1));
        assert_eq!(ledger.unbooked(), 2_001 - u64::from(MAX_PUBLISHERS));
    }
}
