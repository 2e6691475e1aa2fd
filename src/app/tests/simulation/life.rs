//! One seed's life: seventy-five minutes, the last third of which is calm, so that everything comes to
//! its end.

use super::super::backend::Backend;
use super::super::phones::Phones;
use super::super::setup::Setup;
use super::super::{START, envelope};
use super::machine::Machine;
use super::receiver::Receivers;
use crate::alert::codec::silence_record;
use crate::base::clock::{Clock, UnixNanos};
use crate::model::alert::{AlertState, Cause, Silence, Transition};
use crate::model::labels::Labels;
use crate::model::matcher::LabelMatcher;
use crate::model::position::Lane;
use crate::model::probe::{Failure, FailureReason, Outcome, ProbeRun, RunId};
use crate::probe::spec::{Cadence, ProbeSpec};
use crate::probe::{ClockState, Plan, Release};
use crate::wire::record::{AcknowledgementRecord, Envelope, Kind, RefusalRecord};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// So few that every app overflows.
const MAX_SERIES: usize = 5;
const TICK: Duration = Duration::from_secs(10);
const TROUBLED: Duration = Duration::from_secs(50 * 60);
const CALM: Duration = Duration::from_secs(25 * 60);

/// A life that was lived.
pub(super) struct Life {
    pub(super) seed: u64,
    pub(super) machine: Machine,
    pub(super) phones: Phones,
    pub(super) receivers: Receivers,
    backend: Backend,
    plan: Plan,
    /// Runs that are under way, by their end.
    running: Vec<ProbeRun>,
    /// The end of the newest run of each probe.
    newest: BTreeMap<String, UnixNanos>,
    rng: StdRng,
}

impl Life {
    /// Lives it.
    pub(super) fn live(seed: u64) -> Self {
        let mut life = Self::born(seed);
        let end = START.plus(TROUBLED).plus(CALM);
        let suspend_at = START.plus(Duration::from_secs(life.rng.random_range(600..2_400)));
        let mut suspended = false;
        while life.machine.clock.now() < end {
            let mut clock = ClockState::Steady;
            life.machine.clock.advance(TICK);
            if !suspended && life.machine.clock.now() >= suspend_at {
                suspended = true;
                let minutes = life.rng.random_range(0..12);
                life.machine.clock.advance(Duration::from_secs(minutes * 60));
                clock = ClockState::Jumped;
            }
            life.tick(clock);
        }
        life
    }

    fn born(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let backend = Backend::new(START..START.plus(TROUBLED), &mut rng);
        let probes = [
            ("chat", Cadence::Every(TICK)),
            ("rest", Cadence::Every(Duration::from_secs(15))),
            ("feed", Cadence::Cron { expression: "*/1 * * * *".to_owned(), zone: chrono_tz::UTC }),
        ];
        let interval = |(name, cadence): &(&'static str, Cadence)| {
            (*name, crate::probe::longest_interval(name, cadence, START))
        };
        let setup = Setup::new(&probes.iter().map(interval).collect::<Vec<_>>(), MAX_SERIES);
        let mut plan = Plan::default();
        plan.replace(probes.into_iter().map(spec).collect(), START).expect("sound cadences");
        Self {
            seed,
            machine: Machine::new(Clock::manual(START), setup),
            phones: Phones::default(),
            receivers: Receivers::default(),
            backend,
            plan,
            running: Vec::new(),
            newest: BTreeMap::new(),
            rng,
        }
    }

    fn tick(&mut self, clock: ClockState) {
        let now = self.machine.clock.now();
        self.run_probes(now, clock);
        if self.rng.random_bool(0.6) {
            self.phones.report(&self.backend, now, &mut self.rng);
        }
        for envelope in self.phones.arrivals(now) {
            self.machine.append(Lane::Bulk, &envelope);
        }
        if self.rng.random_bool(0.02) {
            self.shed(now);
        }
        for transition in self.machine.evaluate() {
            self.check(&transition, now);
        }
        self.people(now);
        let calm = now >= START.plus(TROUBLED);
        if self.rng.random_bool(0.02) {
            self.receivers.are_down = !self.receivers.are_down;
        }
        self.receivers.are_down &= !calm;
        self.machine.deliver(&mut self.receivers, &mut self.rng);
        if self.rng.random_bool(0.008) {
            self.machine.checkpoint();
        }
        if self.rng.random_bool(0.005) {
            self.machine.restart();
        }
    }

    fn run_probes(&mut self, now: UnixNanos, clock: ClockState) {
        for release in self.plan.take_due(now, clock) {
            match release {
                Release::Run(planned, slot) => {
                    let run = self.backend.run(&planned.spec.name, slot, &mut self.rng);
                    self.running.push(run);
                }
                Release::Missed(planned, slots) => {
                    let missed = |slot: &UnixNanos| missed(&planned.spec.name, *slot);
                    self.running.extend(slots.first.iter().map(missed));
                }
            }
        }
        for run in std::mem::take(&mut self.running) {
            if run.ended() > now {
                self.running.push(run);
                continue;
            }
            if run.outcome != Outcome::Missed {
                let newest = self.newest.entry(run.probe.clone()).or_default();
                *newest = run.ended().max(*newest);
            }
            self.machine.append(Lane::Control, &envelope(&run, now));
        }
    }

    /// A gap never resolves an alert: whatever recovers has data as fresh as its probe gives.
    fn check(&self, transition: &Transition, now: UnixNanos) {
        if (transition.to, transition.cause) != (AlertState::Resolved, Cause::Recovered) {
            return;
        }
        let policy = &self.machine.setup.policy;
        let slo = policy.slos.iter().find(|slo| slo.name == transition.key.name);
        if let Some((slo, probe)) = slo.and_then(|slo| Some((slo, slo.probe()?))) {
            let newest = self.newest.get(probe).copied().unwrap_or_default();
            let fresh = policy.missing_after(slo) + TICK;
            assert!(now.since(newest) <= fresh, "seed {}: {transition:?}", self.seed);
        }
    }

    fn shed(&mut self, now: UnixNanos) {
        let items = self.rng.random_range(1..5);
        let (app, signal) = self.phones.shed(items);
        let record = RefusalRecord {
            app: app.to_owned(),
            signal: signal.to_owned(),
            items,
            outcome: "shed".to_owned(),
        };
        self.machine.append(Lane::Control, &Envelope::of(Kind::Refusal, now, &record));
    }

    /// Somebody acknowledges an incident, or silences an SLO for some minutes.
    fn people(&mut self, now: UnixNanos) {
        let incident = self.machine.core.book.all_active().next().map(|i| i.id.clone());
        if let Some(incident) = incident.filter(|_| self.rng.random_bool(0.05)) {
            let record =
                AcknowledgementRecord { incident, by: "ada".to_owned(), at_unix_nano: now.0 };
            self.machine.append(Lane::Control, &Envelope::of(Kind::Acknowledgement, now, &record));
        }
        if self.rng.random_bool(0.005) {
            let minutes = self.rng.random_range(1..10);
            let record = silence_record(&Silence {
                id: format!("silence-{}", now.0),
                matchers: LabelMatcher::parse("slo=rest-up").into_iter().collect(),
                starts_at: now,
                ends_at: now.plus(Duration::from_secs(minutes * 60)),
                created_by: "ada".to_owned(),
                comment: String::new(),
            });
            self.machine.append(Lane::Control, &Envelope::of(Kind::Silence, now, &record));
        }
    }
}

fn spec((name, cadence): (&'static str, Cadence)) -> Arc<ProbeSpec> {
    Arc::new(ProbeSpec {
        name: name.to_owned(),
        cadence,
        timeout: Duration::from_secs(5),
        overlap: false,
        labels: Labels::default(),
        steps: Vec::new(),
        cleanup: Vec::new(),
        addresses: Default::default(),
        targets: Default::default(),
        writes: Arc::from([]),
        network: None,
    })
}

fn missed(probe: &str, slot: UnixNanos) -> ProbeRun {
    let failure = Failure { reason: FailureReason::Missed, message: "suspended".to_owned() };
    ProbeRun {
        probe: probe.to_owned(),
        id: RunId(
            xxhash_rust::xxh3::xxh3_128(format!("{probe} {}", slot.0).as_bytes()).to_be_bytes(),
        ),
        intended_start: slot,
        outcome: Outcome::Missed,
        failure: Some(failure),
        ..ProbeRun::default()
    }
}
