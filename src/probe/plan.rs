//! Which probe is due when, and what to do about slots that passed: pure, so that it is tested on a
//! simulated clock. The timer thread of the `scheduler` drives it.
//!
//! A slot is released when it is due. If the slot after it is due as well, we slept through it: it
//! is missed and reported, never caught up. After a jump of the clock every slot that passed is.

use super::intents::Upcoming;
use super::schedule::{Schedule, Slots};
use super::spec::ProbeSpec;
use crate::base::clock::UnixNanos;
use crate::model::labels::Labels;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Of the slots of a probe that were missed together, so many are reported one by one.
pub(super) const MAX_REPORTED: usize = 100;

/// So many runs of one probe go on at once where they may overlap: enough for 200 a second on a target that
/// answers nothing for a second and a half, and not all that such runs share.
pub const MAX_OVERLAPPING_OF_ONE: usize = 320;

/// A probe and the gate that lets one run of it through at a time. A probe that a reload changed
/// keeps its gate, so that its new runs do not overlap the last of the old ones, and its next run.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    /// The definition.
    pub spec: Arc<ProbeSpec>,
    /// One permit.
    pub gate: Arc<Semaphore>,
    /// A permit for each of its runs that may overlap.
    pub crowd: Arc<Semaphore>,
    /// Its next run.
    pub upcoming: Arc<Upcoming>,
}

/// The probes and their next slots.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    entries: Vec<Entry>,
    /// The next slot of each entry, earliest first.
    due: BinaryHeap<Reverse<(UnixNanos, usize)>>,
}

#[derive(Clone, Debug)]
struct Entry {
    planned: Planned,
    schedule: Schedule,
    next: Option<UnixNanos>,
}

/// What the clock did since the plan was looked at before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClockState {
    /// It went on.
    Steady,
    /// It jumped, in either direction, or the machine was suspended.
    Jumped,
}

/// A slot that is due, or slots that passed.
#[derive(Clone, Debug)]
pub(crate) enum Release {
    /// Run now.
    Run(Planned, UnixNanos),
    /// These were missed.
    Missed(Planned, Slots),
}

/// By what a definition is the same after a reload; an instance also by its labels.
fn key(spec: &ProbeSpec) -> (&str, Option<&Labels>) {
    (&spec.name, spec.instance().map(|_| &spec.labels))
}

// === impl Planned ===

impl Planned {
    /// A probe without a run yet.
    pub(super) fn new(spec: Arc<ProbeSpec>) -> Self {
        let gate = Arc::new(Semaphore::new(1));
        let crowd = Arc::new(Semaphore::new(MAX_OVERLAPPING_OF_ONE));
        Self { spec, gate, crowd, upcoming: Arc::default() }
    }
}

// === impl Plan ===

impl Plan {
    /// Takes over a new set of probes. Those that are the same as before keep their next slot.
    ///
    /// # Errors
    /// The name of a probe whose cadence cannot be understood, and why; the plan stays as it was.
    pub(crate) fn replace(
        &mut self,
        probes: Vec<Arc<ProbeSpec>>,
        now: UnixNanos,
    ) -> Result<(), (String, String)> {
        let known: HashMap<_, &Entry> =
            self.entries.iter().map(|entry| (key(&entry.planned.spec), entry)).collect();
        let entry = |spec: Arc<ProbeSpec>| -> Result<Entry, (String, String)> {
            let before = known.get(&key(&spec));
            if let Some(same) = before.filter(|entry| entry.planned.spec == spec) {
                return Ok((*same).clone());
            }
            let schedule = Schedule::of(&spec.phase_key(), &spec.cadence)
                .map_err(|why| (spec.name.clone(), why))?;
            let before = before.map(|entry| &entry.planned);
            let planned = match before {
                Some(before) => Planned { spec, ..before.clone() },
                None => Planned::new(spec),
            };
            let next = schedule.next_after(now);
            Ok(Entry { planned, schedule, next })
        };
        let entries = probes.into_iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        self.entries = entries;
        self.reckon();
        Ok(())
    }

    /// All probes.
    pub(super) fn all(&self) -> impl Iterator<Item = &Planned> {
        self.entries.iter().map(|entry| &entry.planned)
    }

    /// The probe of that name, or all its instances.
    pub(super) fn named(&self, name: &str) -> impl Iterator<Item = &Planned> {
        self.all().filter(move |planned| planned.spec.name == name)
    }

    /// Of those, the ones that do not go on here, not as another definition either.
    pub(super) fn lacking(&self, mut planned: Vec<Planned>) -> Vec<Planned> {
        let there: HashSet<_> = self.all().map(|planned| key(&planned.spec)).collect();
        planned.retain(|one| !there.contains(&key(&one.spec)));
        planned
    }

    /// When something is due next.
    pub(super) fn next_due(&self) -> Option<UnixNanos> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    /// Everything that is due at `now`.
    pub(crate) fn take_due(&mut self, now: UnixNanos, clock: ClockState) -> Vec<Release> {
        let mut releases = Vec::new();
        while let Some(Reverse((slot, at))) = self.due.peek().copied().filter(|due| due.0.0 <= now)
        {
            let _ = self.due.pop();
            let Some(entry) = self.entries.get_mut(at) else { continue };
            entry.release(slot, now, clock, &mut releases);
            self.due.extend(entry.next.map(|next| Reverse((next, at))));
        }
        if clock == ClockState::Jumped {
            // After a jump backwards the slots that were next are far ahead: begin again from now.
            for entry in &mut self.entries {
                entry.next = entry.schedule.next_after(now);
            }
            self.reckon();
        }
        releases
    }

    fn reckon(&mut self) {
        let next = self.entries.iter().enumerate();
        self.due = next.filter_map(|(at, entry)| Some(Reverse((entry.next?, at)))).collect();
    }
}

impl Entry {
    /// Deals with all slots from `slot` on that are due.
    fn release(
        &mut self,
        slot: UnixNanos,
        now: UnixNanos,
        clock: ClockState,
        releases: &mut Vec<Release>,
    ) {
        self.next = self.schedule.next_after(now);
        let behind = UnixNanos(now.0.saturating_add(1));
        let mut passed = self.schedule.between(slot, behind, MAX_REPORTED);
        let last = match clock {
            ClockState::Jumped => None,
            ClockState::Steady => self.take_last(&mut passed, now),
        };
        if !passed.first.is_empty() {
            releases.push(Release::Missed(self.planned.clone(), passed));
        }
        releases.extend(last.map(|slot| Release::Run(self.planned.clone(), slot)));
    }

    /// Takes the last of the slots that passed, which is still to be run.
    fn take_last(&self, passed: &mut Slots, now: UnixNanos) -> Option<UnixNanos> {
        if passed.more == 0 {
            return passed.first.pop();
        }
        // More were missed than are listed; the last one follows by arithmetic for an interval. A
        // calendar with so many slots behind is not worth a search.
        let Schedule::Every { interval_ns, .. } = self.schedule else { return None };
        passed.more -= 1;
        let next = self.next.unwrap_or(now);
        Some(UnixNanos(next.0.saturating_sub(interval_ns)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::spec::Cadence;
    use super::super::tests::spec;
    use super::*;
    use std::time::Duration;

    const SECOND: u64 = 1_000_000_000;

    fn probe(name: &str, every: u64) -> Arc<ProbeSpec> {
        let cadence = Cadence::Every(Duration::from_secs(every));
        Arc::new(ProbeSpec { name: name.to_owned(), cadence, ..spec(Vec::new()) })
    }

    fn plan(probes: &[Arc<ProbeSpec>], now: UnixNanos) -> Plan {
        let mut plan = Plan::default();
        plan.replace(probes.to_vec(), now).expect("valid");
        plan
    }

    /// Slots that ran, and how many were missed (reported, not reported).
    fn tally(releases: &[Release]) -> (Vec<u64>, usize, u64) {
        let mut tally = (Vec::new(), 0, 0);
        for release in releases {
            match release {
                Release::Run(_, slot) => tally.0.push(slot.0),
                Release::Missed(_, slots) => {
                    tally.1 += slots.first.len();
                    tally.2 += slots.more;
                }
            }
        }
        tally
    }

    /// Guarantees that a plan which is looked at in time releases every slot once, none missed.
    #[test]
    fn every_slot_is_released_once() {
        let mut plan = plan(&[probe("a", 10), probe("b", 15)], UnixNanos(0));
        let mut ran = 0;
        for _ in 0..1_000 {
            let due = plan.next_due().expect("something");
            let late = due.plus(Duration::from_millis(3));
            let (slots, missed, _) = tally(&plan.take_due(late, ClockState::Steady));
            assert_eq!((slots.first(), missed), (Some(&due.0), 0));
            ran += slots.len();
        }
        let hours = plan.next_due().expect("something").0 as f64 / SECOND as f64;
        assert!((ran as f64 - hours / 10.0 - hours / 15.0).abs() < 3.0, "{ran} in {hours} s");
    }

    /// Guarantees exact counts after a pause: the last slot runs late, those before it are missed,
    /// and no more than the bound are reported one by one.
    #[test]
    fn slots_that_we_slept_through_are_missed() {
        let check = |asleep: u64, clock: ClockState, expected: (usize, usize, u64)| {
            let mut plan = plan(&[probe("a", 10)], UnixNanos(0));
            let first = plan.next_due().expect("a slot").0;
            let now = UnixNanos(first + asleep * SECOND);
            let (ran, missed, unreported) = tally(&plan.take_due(now, clock));
            assert_eq!((ran.len(), missed, unreported), expected, "{asleep} s, {clock:?}");
            assert!(ran.iter().all(|slot| *slot == first + asleep / 10 * 10 * SECOND));
            assert_eq!(plan.next_due(), Some(UnixNanos(first + (asleep / 10 + 1) * 10 * SECOND)));
        };
        check(0, ClockState::Steady, (1, 0, 0));
        check(9, ClockState::Steady, (1, 0, 0));
        check(10, ClockState::Steady, (1, 1, 0));
        check(25, ClockState::Steady, (1, 2, 0));
        check(25, ClockState::Jumped, (0, 3, 0));
        check(990, ClockState::Steady, (1, 99, 0));
        check(1_000, ClockState::Steady, (1, 100, 0));
        check(1_001, ClockState::Jumped, (0, 100, 1));
        check(100_000, ClockState::Steady, (1, 100, 9_900));
    }

    /// Guarantees that probes go on when the wall clock is set back, and do not wait for it to
    /// catch up.
    #[test]
    fn a_clock_set_back_does_not_stop_probes() {
        let mut plan = plan(&[probe("a", 10)], UnixNanos(7_200 * SECOND));
        let back = UnixNanos(3_600 * SECOND);
        assert!(plan.take_due(back, ClockState::Jumped).is_empty());
        let next = plan.next_due().expect("a slot");
        assert!(next > back && next <= back.plus(Duration::from_secs(10)));
    }

    /// Guarantees that a reload keeps slots of probes that stayed the same and gates of those that
    /// changed, and forgets those that went.
    #[test]
    fn a_reload_keeps_what_stayed() {
        let (same, changed) = (probe("same", 10), probe("changed", 10));
        let mut plan = plan(&[Arc::clone(&same), changed, probe("gone", 10)], UnixNanos(0));
        let slot_of = |plan: &Plan, name: &str| {
            plan.entries.iter().find(|e| e.planned.spec.name == name).and_then(|e| e.next)
        };
        let gate_of = |plan: &Plan| Arc::clone(&plan.named("changed").next().expect("there").gate);
        let (slot, gate) = (slot_of(&plan, "same"), gate_of(&plan));
        let later = UnixNanos(60 * SECOND);
        let copy = Arc::new(ProbeSpec::clone(&same));
        plan.replace(vec![copy, probe("changed", 20), probe("new", 10)], later).expect("valid");
        assert_eq!(slot_of(&plan, "same"), slot, "its slots are due still, and not counted twice");
        assert!(Arc::ptr_eq(&gate, &gate_of(&plan)));
        assert!(slot_of(&plan, "new") > Some(later) && plan.named("gone").next().is_none());
    }

    /// Guarantees that an instance which comes or goes leaves the slots and gates of the others alone, and
    /// that instances do not all run at once.
    #[test]
    fn instances_come_and_go() {
        use super::super::instances::{Found, Listed, Targets};
        let known = |targets: &[&str]| {
            let known = targets.iter().map(|target| Found::plain(target)).collect();
            let targets = Targets::Listed(Arc::new(Listed { known, services: Vec::new() }));
            let template = Arc::new(ProbeSpec { targets, ..ProbeSpec::clone(&probe("edge", 10)) });
            template.instances(&[]).0
        };
        let mut plan = plan(&known(&["a", "b", "c"]), UnixNanos(0));
        let gates = |plan: &Plan| -> HashMap<String, (Option<UnixNanos>, Arc<Semaphore>)> {
            let entries = plan.entries.iter();
            let gate = |entry: &Entry| (entry.next, Arc::clone(&entry.planned.gate));
            entries.map(|entry| (entry.planned.spec.title(), gate(entry))).collect()
        };
        let before = gates(&plan);
        let slots: HashSet<_> = before.values().map(|(next, _)| *next).collect();
        assert_eq!(slots.len(), 3, "each has its own");
        let old: Vec<Planned> = plan.all().cloned().collect();
        plan.replace(known(&["c", "d", "a"]), UnixNanos(60 * SECOND)).expect("valid");
        let after = gates(&plan);
        for title in ["edge a", "edge c"] {
            assert_eq!(before[title].0, after[title].0, "{title}");
            assert!(Arc::ptr_eq(&before[title].1, &after[title].1), "{title}");
        }
        let gone: Vec<String> = plan.lacking(old).iter().map(|one| one.spec.title()).collect();
        assert_eq!(gone, ["edge b"]);
        assert_eq!(plan.named("edge").count(), 3);
    }

    /// Guarantees that an unusable cadence is refused and leaves the plan alone.
    #[test]
    fn a_wrong_cadence_changes_nothing() {
        let mut plan = plan(&[probe("a", 10)], UnixNanos(0));
        let cadence = Cadence::Cron { expression: "never".into(), zone: chrono_tz::UTC };
        let wrong = Arc::new(ProbeSpec { name: "b".into(), cadence, ..spec(Vec::new()) });
        let error = plan.replace(vec![wrong], UnixNanos(0)).expect_err("refused");
        assert_eq!(error.0, "b");
        assert!(plan.named("a").next().is_some());
    }
}
