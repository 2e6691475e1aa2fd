//! The daemon between its sockets: folded state, a journal of records in memory, the queue of the
//! couriers. Decides and delivers as the loops of `app` do.

use super::super::setup::{Encoded, Setup};
use super::receiver::Receivers;
use crate::alert::Core;
use crate::alert::codec::transition_record;
use crate::alert::evaluate::{Inputs, evaluate};
use crate::base::backoff::Backoff;
use crate::base::clock::Clock;
use crate::model::alert::Transition;
use crate::model::notification::Delivery;
use crate::model::position::{Lane, Position};
use crate::model::slot::Slot;
use crate::notify::{Attempt, DeliveryResult, Moment, Queue};
use crate::wire::record::{DeliveryRecord, Envelope, Kind};
use bytes::Bytes;
use rand::Rng;
use rand::rngs::StdRng;
use std::time::Duration;

const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(60) };

/// A record of the journal.
#[derive(Clone, Debug)]
pub(super) struct Logged {
    pub(super) lane: Lane,
    next: Position,
    pub(super) bytes: Bytes,
}

/// The daemon.
pub(super) struct Machine {
    pub(super) clock: Clock,
    pub(super) setup: Setup,
    pub(super) core: Core,
    pub(super) journal: Vec<Logged>,
    queue: Queue,
    in_flight: Vec<(Attempt, Delivery)>,
    /// The newest checkpoint, and how many records of the journal it holds.
    checkpoint: (Encoded, usize),
}

// === impl Machine ===

impl Machine {
    /// A daemon that starts on an empty journal.
    pub(super) fn new(clock: Clock, setup: Setup) -> Self {
        let core = setup.fresh(clock.now());
        let queue = Queue::new(setup.policy.receivers.clone(), BACKOFF);
        let checkpoint = (Encoded::of(&core, clock.now()), 0);
        Self { clock, setup, core, journal: Vec::new(), queue, in_flight: Vec::new(), checkpoint }
    }

    /// Journals a record, and folds it.
    pub(super) fn append(&mut self, lane: Lane, envelope: &Envelope) {
        let next = Position { segment: 1, offset: self.journal.len() as u64 + 1 };
        let logged = Logged { lane, next, bytes: envelope.to_bytes() };
        apply(&mut self.core, &logged);
        self.journal.push(logged);
    }

    /// One evaluation; what it decides is journaled and comes back through the fold.
    pub(super) fn evaluate(&mut self) -> Vec<Transition> {
        let now = self.clock.now();
        self.core.store.counts.advance(Slot::of(now));
        let due = evaluate(Inputs {
            store: &self.core.store,
            policy: &self.setup.policy,
            book: &self.core.book,
            conditions: &[],
            now,
            position: self.core.control,
        });
        for transition in &due {
            let record = transition_record(transition);
            self.append(Lane::Control, &Envelope::of(Kind::Transition, now, &record));
        }
        due
    }

    /// Hands over what is due, carries attempts out, and journals what became of them. Some answers
    /// take until the next call.
    pub(super) fn deliver(&mut self, receivers: &mut Receivers, rng: &mut StdRng) {
        let now = Moment { unix: self.clock.now(), mono: self.clock.monotonic() };
        for (attempt, delivery) in std::mem::take(&mut self.in_flight) {
            drop(self.queue.finish(&attempt.notification, delivery, now, rng.random()));
        }
        for notification in self.core.book.outbox.pending() {
            assert!(self.queue.submit(notification.clone(), now));
        }
        while let Some(attempt) = self.queue.take_due(now) {
            let delivery = receivers.take(&attempt.notification, rng);
            if rng.random_bool(0.3) {
                self.in_flight.push((attempt, delivery));
            } else {
                drop(self.queue.finish(&attempt.notification, delivery, now, rng.random()));
            }
        }
        while let Some(outcome) = self.queue.next_outcome() {
            let (name, error) = match outcome.result {
                DeliveryResult::Delivered => ("delivered", String::new()),
                DeliveryResult::Refused { error } => ("refused", error),
                DeliveryResult::GivenUp { error } => ("given_up", error),
            };
            let record = DeliveryRecord {
                notification: outcome.id,
                at_unix_nano: outcome.at.0,
                outcome: name.to_owned(),
                error,
                attempts: outcome.attempts,
            };
            self.append(Lane::Control, &Envelope::of(Kind::Delivery, outcome.at, &record));
        }
    }

    /// A checkpoint, history aside.
    pub(super) fn checkpoint(&mut self) {
        let now = self.clock.now();
        self.core.store.counts.advance(Slot::of(now));
        self.core.store.counts.settle();
        self.core.store.evidence.settle(Slot::of(now));
        self.core.folder.settle(&self.core.store, now);
        self.checkpoint = (Encoded::of(&self.core, now), self.journal.len());
    }

    /// The process dies: what the couriers knew is gone, state comes from the checkpoint and from the
    /// records behind it.
    pub(super) fn restart(&mut self) {
        let now = self.clock.now();
        self.core = self.setup.resume(&self.checkpoint.0, now);
        self.journal
            .iter()
            .skip(self.checkpoint.1)
            .for_each(|record| apply(&mut self.core, record));
        self.queue = Queue::new(self.setup.policy.receivers.clone(), BACKOFF);
        self.in_flight.clear();
    }
}

/// Applies a record as the fold does, live and in replay.
pub(super) fn apply(core: &mut Core, record: &Logged) {
    let envelope = Envelope::read(record.bytes.clone()).expect("we wrote it");
    let _applied = core.apply(record.lane, record.next, &envelope, None).expect("it is applied");
}
