//! A daemon's life on a simulated clock, drawn from a seed: probes on their real schedule against a
//! back end with incidents, phones whose requests come late, twice and out of order, decisions,
//! deliveries to receivers that fail, suspends, and restarts at any moment.
//!
//! [`machine`] is the daemon, [`receiver`] whom it tells, [`life`] one seed's life. Every assertion
//! names its seed; the same seed lives the same life.

mod life;
mod machine;
mod receiver;

use self::life::Life;
use self::machine::{Logged, Machine, apply};
use super::backend::Backend;
use super::canonical::{assert_same, canonical};
use super::phones::{Account, Phones};
use super::setup::{Encoded, Setup};
use super::{START, envelope};
use crate::base::clock::{Clock, UnixNanos};
use crate::model::alert::AlertState;
use crate::model::position::Lane;
use crate::model::slot::Slot;
use crate::store::ledger::ItemOutcome;
use crate::wire::record::{Envelope, Kind, TransitionRecord};
use prost::Message;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

const SEEDS: u64 = 50;

/// The lives, lived once for all tests.
static LIVES: LazyLock<Vec<Life>> = LazyLock::new(|| (0..SEEDS).map(Life::live).collect());

/// Guarantees the equation of ingestion per app and signal, against an account that was kept without
/// the fold.
#[test]
fn the_equation_of_ingestion_holds() {
    for life in LIVES.iter() {
        let mut found = Account::new();
        for (app, signal, counts) in life.machine.core.store.ledger.iter() {
            for outcome in ItemOutcome::ALL.iter().filter(|outcome| counts.get(**outcome) > 0) {
                let line = (app.to_owned(), signal.to_owned(), outcome.as_str());
                let _none = found.insert(line, counts.get(*outcome));
            }
        }
        assert_eq!(found, life.phones.account, "seed {}", life.seed);
    }
}

/// Guarantees that every alert that fired has resolved once its fault was over, that each transition
/// was told to each of its receivers exactly once, and that a resolve never overtook its firing.
#[test]
fn every_alert_is_told_once_and_resolves() {
    let mut firings = 0;
    for life in LIVES.iter() {
        let seed = life.seed;
        let book = &life.machine.core.book;
        let active: Vec<_> = book.all_active().map(|incident| &incident.key).collect();
        assert!(active.is_empty(), "seed {seed}: {active:?}");
        assert_eq!(book.outbox.pending().len(), 0, "seed {seed}: still in the outbox");
        let undelivered = book.outbox.deliveries().find(|line| line.outcome != "delivered");
        assert_eq!(undelivered, None, "seed {seed}");

        let mut told: BTreeMap<(&str, &str), Vec<(u32, bool)>> = BTreeMap::new();
        for notification in &life.receivers.told {
            let lane = (notification.incident.as_str(), notification.receiver.as_str());
            told.entry(lane).or_default().push((notification.transition, notification.resolved));
        }
        let decided = decided(&life.machine.journal);
        let expected: BTreeMap<_, _> =
            decided.iter().map(|((i, r), t)| ((&**i, &**r), t.clone())).collect();
        // Same messages in the same order: the number rises, so nothing overtakes.
        assert_eq!(told, expected, "seed {seed}");
        for ((incident, receiver), transitions) in &told {
            let resolves = transitions.iter().filter(|(_, resolved)| *resolved).count();
            let ends = transitions.last().is_some_and(|(_, resolved)| *resolved);
            assert!(
                resolves == 1 && ends && transitions.len() > 1,
                "seed {seed}: {incident} {receiver}"
            );
            firings += 1;
        }
    }
    assert!(firings > 2 * SEEDS, "too little happened: {firings}");
    let repeated: u64 = LIVES.iter().map(|life| life.receivers.repeated).sum();
    assert!(repeated > 0, "no answer was lost");
}

/// What the journal's transitions ask to be told, by incident and receiver: the number of each
/// transition within its incident, and whether it resolves.
fn decided(journal: &[Logged]) -> BTreeMap<(String, String), Vec<(u32, bool)>> {
    let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
    let mut decided: BTreeMap<(String, String), Vec<(u32, bool)>> = BTreeMap::new();
    for record in journal {
        let envelope = Envelope::read(record.bytes.clone()).expect("we wrote it");
        if envelope.kind() == Kind::Transition {
            let transition = TransitionRecord::decode(envelope.payload).expect("a transition");
            let number = numbers.entry(transition.incident.clone()).or_default();
            *number += 1;
            for receiver in transition.receivers {
                let resolved = transition.to == AlertState::Resolved.as_str();
                let lane = (transition.incident.clone(), receiver);
                decided.entry(lane).or_default().push((*number, resolved));
            }
        }
    }
    decided
}

/// Guarantees that a checkpoint at any record and a replay of the others reach, bit for bit, the state
/// of the life without interruption; decisions are applied and never made.
#[test]
fn a_replay_from_any_cut_reaches_the_same_state() {
    for life in LIVES.iter() {
        let mut rng = StdRng::seed_from_u64(life.seed ^ 0xc07);
        let end = life.machine.clock.now();
        let setup = &life.machine.setup;
        let journal = &life.machine.journal;
        let mut lived = setup.resume(&Encoded::of(&life.machine.core, end), end);
        let lived = canonical(&mut lived, end);
        let cuts = [0, rng.random_range(0..journal.len())];
        let mut whole = setup.fresh(START);
        let mut at = 0;
        for cut in cuts {
            journal[at..cut].iter().for_each(|record| apply(&mut whole, record));
            at = cut;
            let now = whole.evaluated_at.unwrap_or(START);
            let mut resumed = setup.resume(&Encoded::of(&whole, now), end);
            journal[cut..].iter().for_each(|record| apply(&mut resumed, record));
            let resumed = canonical(&mut resumed, end);
            assert_same(&resumed, &lived, &format!("seed {}, cut {cut}", life.seed));
        }
    }
}

/// Guarantees that arrival in any order, and evaluation at any moments between, give the same counts,
/// budgets, series and ledger, bit for bit.
#[test]
fn the_order_of_arrival_does_not_matter() {
    for seed in 0..SEEDS {
        let mut rng = StdRng::seed_from_u64(seed);
        let (now, end) = (START, START.plus(Duration::from_secs(540)));
        let day = Duration::from_secs(86_400);
        let mut backend = Backend::new(now.minus(day)..now.plus(day), &mut rng);
        backend.incidents.iter_mut().for_each(|i| i.time = now.minus(day / 2)..now.plus(day));
        let mut records = records(&backend, now, &mut rng);
        let setup = Setup::new(&[], 2_000);
        let fold = |records: &[(Lane, Envelope)], rng: &mut StdRng| {
            let clock = Clock::manual(now.minus(day * 8));
            let mut machine = Machine::new(clock.clone(), setup.clone());
            clock.step(now);
            for (lane, envelope) in records {
                if rng.random_bool(0.1) {
                    clock.step(now.plus(Duration::from_secs(rng.random_range(0..540))));
                    machine.core.store.counts.advance(Slot::of(clock.now()));
                }
                machine.append(*lane, envelope);
            }
            let mut state = canonical(&mut machine.core, end);
            // What follows the order of the journal: which runs came last, which of equally bad
            // items are kept as evidence.
            state.state.runs.clear();
            state.state.phones.iter_mut().for_each(|phone| phone.worst.clear());
            state.state.control = None;
            state.state.bulk = None;
            state
        };
        let in_order = fold(&records, &mut rng);
        assert!(in_order.windows.iter().any(|w| w.bad > 0) && !in_order.state.phones.is_empty());
        for _ in 0..3 {
            records.shuffle(&mut rng);
            let shuffled = fold(&records, &mut rng);
            assert_same(&shuffled, &in_order, &format!("seed {seed}"));
        }
    }
}

/// Probe runs and phones' requests of the last days, some of them twice. All are received at once, so
/// that the order is theirs alone.
fn records(backend: &Backend, now: UnixNanos, rng: &mut StdRng) -> Vec<(Lane, Envelope)> {
    let mut phones = Phones::default();
    let mut records = Vec::new();
    for n in 0..60 {
        let slot = now.minus(Duration::from_secs(n * 97));
        let run = backend.run(if n % 2 == 0 { "chat" } else { "rest" }, slot, rng);
        records.push((Lane::Control, envelope(&run, now)));
        let request = phones.request(backend, now, rng);
        let envelope = phones.arrive(now, &request);
        if rng.random_bool(0.2) {
            records.push((Lane::Bulk, envelope.clone()));
        }
        records.push((Lane::Bulk, envelope));
    }
    records
}
