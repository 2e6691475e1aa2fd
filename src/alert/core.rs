//! All folded state behind one lock, and the application of any journal record to it.
//!
//! Facts enter by [`Core::apply`] alone, live and in replay alike. Beside it, windows are moved on
//! (evaluation), what is written is let go of (checkpoints), a configuration is put into force
//! (reload) and new indicators are completed (recount). Page and API read.

use super::book::AlertBook;
use super::codec;
use super::intents::Intents;
use super::policy::Policy;
use super::{budget::SloStatus, state};
use crate::aggregate::{self, Decoded, Folder, Rules};
use crate::base::clock::UnixNanos;
use crate::model::position::{Lane, Position};
use crate::model::probe::ProbeRun;
use crate::model::slot::Slot;
use crate::store::counts::book::NewIndicators;
use crate::store::ledger::ItemOutcome;
use crate::store::{self, Store};
use crate::wire::record::{
    AcknowledgementRecord, DeliveryRecord, Envelope, IntentRecord, Kind, RecordError,
    RefusalRecord, SilenceRecord, TransitionRecord,
};
use crate::wire::state::{CheckpointState, PositionState, VERSION};
use parking_lot::RwLock;
use prost::Message;
use std::sync::Arc;

/// [`Core`], shared.
pub type SharedCore = Arc<RwLock<Core>>;

/// Everything that is folded from the journal.
#[derive(Debug, Default)]
pub struct Core {
    /// Series, counts, evidence, ledger.
    pub store: Store,
    /// What the fold remembers between records.
    pub folder: Folder,
    /// Alerts.
    pub book: AlertBook,
    /// Probe runs that were announced and have not ended.
    pub intents: Intents,
    /// SLOs and routes in force.
    pub policy: Arc<Policy>,
    /// What the SLOs ask of each record.
    pub rules: Arc<Rules>,
    /// Up to where the control lane is folded.
    pub control: Position,
    /// Up to where the bulk lane is folded.
    pub bulk: Position,
    /// When budgets were last evaluated.
    pub evaluated_at: Option<UnixNanos>,
    /// Receipt of the newest probe run and of the newest item of phones.
    pub newest: Newest,
}

/// How fresh the data is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Newest {
    /// End of the newest probe run.
    pub probes: Option<UnixNanos>,
    /// Receipt of the newest item of phones.
    pub phones: Option<UnixNanos>,
}

/// What a record brought, for those who wait for it.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// Probe runs.
    pub runs: Vec<Arc<ProbeRun>>,
    /// Whether alerts or the outbox moved.
    pub alerts: bool,
    /// Announced runs that made way for others.
    pub dropped_intents: u64,
}

/// Why a record was passed over.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Its envelope cannot be read.
    #[error("the envelope cannot be read")]
    Envelope(#[from] RecordError),
    /// Its payload cannot be read.
    #[error("the payload cannot be read")]
    Payload(#[from] prost::DecodeError),
    /// It names what this build does not know.
    #[error(
        "the record names a state or a matcher that this build does not know: upgrade radiosonde"
    )]
    Unknown,
}

impl Default for Rules {
    fn default() -> Self {
        Self::new(&[], aggregate::PhoneSettings::default())
    }
}

impl Core {
    /// Applies a record that stands at `next`'s predecessor in its lane.
    ///
    /// # Errors
    /// When the record cannot be read; the position moves on all the same.
    pub fn apply(
        &mut self,
        lane: Lane,
        next: Position,
        envelope: &Envelope,
        decoded: Option<Decoded>,
    ) -> Result<Applied, ApplyError> {
        match lane {
            Lane::Control => self.control = next,
            Lane::Bulk => self.bulk = next,
        }
        let payload = || envelope.payload.clone();
        let mut applied = Applied::default();
        match envelope.kind() {
            Kind::Traces | Kind::Metrics | Kind::Logs => {
                let rules = Arc::clone(&self.rules);
                applied.runs = self.folder.fold(&mut self.store, &rules, envelope, decoded)?;
                applied.runs.iter().for_each(|run| self.intents.settle(run.id));
                let newest = applied.runs.iter().map(|run| run.ended()).max();
                self.newest.probes = self.newest.probes.max(newest);
                if lane == Lane::Bulk {
                    self.newest.phones = self.newest.phones.max(Some(envelope.received_at()));
                }
            }
            Kind::Transition => {
                let record = TransitionRecord::decode(payload())?;
                self.book.apply(&codec::transition(&record).ok_or(ApplyError::Unknown)?);
                applied.alerts = true;
            }
            Kind::Delivery => {
                let r = DeliveryRecord::decode(payload())?;
                let at = UnixNanos(r.at_unix_nano);
                self.book.outbox.settle(&r.notification, at, &r.outcome, &r.error, r.attempts);
            }
            Kind::Silence => {
                let record = SilenceRecord::decode(payload())?;
                self.book.put_silence(codec::silence(&record).ok_or(ApplyError::Unknown)?);
                applied.alerts = true;
            }
            Kind::Acknowledgement => {
                let r = AcknowledgementRecord::decode(payload())?;
                self.book.acknowledge(&r.incident, &r.by, UnixNanos(r.at_unix_nano));
                applied.alerts = true;
            }
            Kind::Refusal => {
                let r = RefusalRecord::decode(payload())?;
                let outcome = ItemOutcome::from_name(&r.outcome).ok_or(ApplyError::Unknown)?;
                self.store.ledger.add(&r.app, &r.signal, outcome, r.items);
            }
            Kind::Intent => {
                let applied_to = self.intents.apply(IntentRecord::decode(payload())?);
                applied.dropped_intents = applied_to.ok_or(ApplyError::Unknown)?;
            }
            Kind::Configuration | Kind::Unspecified => {}
        }
        Ok(applied)
    }

    /// Puts a configuration into force. Indicators that are new begin to count at `now`.
    /// Returns them: what the journal held of them before is still to be counted.
    pub fn configure(
        &mut self,
        policy: Arc<Policy>,
        rules: Arc<Rules>,
        now: UnixNanos,
    ) -> NewIndicators {
        let slos = policy.slos.iter().map(|slo| &**slo);
        let new = self.store.counts.configure(slos, Slot::of(now));
        self.store.ledger.set_max_apps(rules.phones.max_apps);
        let counts = &self.store.counts;
        let probes = &policy.probe_intervals;
        self.store.evidence.retain(|name| probes.contains_key(name), |id| counts.get(id).is_some());
        (self.policy, self.rules) = (policy, rules);
        new
    }

    /// Every SLO's status at `now`; the counts must have been advanced to it.
    #[must_use]
    pub fn statuses(&self, now: UnixNanos) -> Vec<SloStatus> {
        let status = |slo| SloStatus::read(slo, &self.store.counts, &self.policy, now);
        self.policy.slos.iter().filter_map(status).collect()
    }

    /// The state for a checkpoint of `epoch`.
    #[must_use]
    pub fn save(&self, epoch: u64, now: UnixNanos) -> CheckpointState {
        let position = |p: Position| Some(PositionState { segment: p.segment, offset: p.offset });
        let mut saved = CheckpointState {
            version: VERSION,
            epoch,
            at_unix_nano: now.0,
            control: position(self.control),
            bulk: position(self.bulk),
            alerts: Some(state::save(&self.book)),
            newest_run_unix_nano: self.newest.probes.unwrap_or_default().0,
            newest_item_unix_nano: self.newest.phones.unwrap_or_default().0,
            intents: self.intents.save(),
            ..CheckpointState::default()
        };
        store::codec::save(&self.store, &mut saved);
        aggregate::codec::save(&self.folder, &self.store.evidence, &mut saved);
        saved
    }

    /// Back from a checkpoint; [`Core::configure`] it before anything else.
    #[must_use]
    pub fn load(saved: &CheckpointState) -> Self {
        let position = |p: Option<PositionState>| {
            p.map(|p| Position { segment: p.segment, offset: p.offset }).unwrap_or_default()
        };
        let mut store = store::codec::load(saved);
        let mut folder = aggregate::codec::load(saved, &mut store.evidence);
        // Series count against their app's cap, as they did when the checkpoint was made.
        folder.settle(&store, UnixNanos(saved.at_unix_nano));
        let book = saved.alerts.as_ref().map(state::load).unwrap_or_default();
        let (control, bulk) = (position(saved.control), position(saved.bulk));
        let instant = |nanos: u64| (nanos > 0).then_some(UnixNanos(nanos));
        let newest = Newest {
            probes: instant(saved.newest_run_unix_nano),
            phones: instant(saved.newest_item_unix_nano),
        };
        let intents = Intents::load(&saved.intents);
        Self { store, folder, book, intents, control, bulk, newest, ..Self::default() }
    }
}
