//! Runs that are announced before they begin: so what a run leaves behind is cleaned up also when the
//! daemon is killed in its middle.
//!
//! Of a probe with steps that clean up, the id of the next run is chosen while nothing is due: at the
//! start, and when the run before begins. It goes to a [`Register`], which makes it durable, and no run
//! waits for that. The run bears the id; its own record says that it has ended. Whatever was announced and has
//! no record after a start may have left something: the steps that clean up are then taken with that
//! id (see [`clean_up_after`]), and the intent is settled.

use super::instances::{Found, Instance};
use super::journey::Journey;
use super::runner::Context;
use super::schedule::next_slots;
use super::spec::{Cadence, ProbeSpec};
use crate::base::clock::UnixNanos;
use crate::model::probe::RunId;
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// So many earlier runs are cleaned up after at once.
const AT_ONCE: usize = 4;

/// A run that will begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The probe.
    pub probe: String,
    /// Of an instance, its target or address.
    pub target: Option<String>,
    /// The id that the run will bear.
    pub run: RunId,
    /// When the schedule wants it; none where that takes a calendar. It may be asked for earlier.
    pub planned_start: Option<UnixNanos>,
}

/// Where runs are announced. Neither method may block or take long: they are called from the probe threads.
pub trait Register: Debug + Send + Sync {
    /// A run will begin.
    fn announce(&self, intent: Intent);

    /// Nothing of a run that was announced is left: it will not begin, or was cleaned up after.
    fn settle(&self, run: RunId);
}

/// The next run of a probe. A reload that changes the probe keeps it.
#[derive(Debug, Default)]
pub(crate) struct Upcoming(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next: Option<RunId>,
    /// The probe is gone: no run follows.
    closed: bool,
}

// === impl Intent ===

impl Intent {
    /// What the run was of, by its definition now: an instance, whether or not its target is listed still.
    pub(super) fn spec(&self, definition: &Arc<ProbeSpec>) -> Option<Arc<ProbeSpec>> {
        match &self.target {
            Some(target) => definition.instance_for(&Found::plain(target)).map(Arc::new),
            None if definition.targets.are_many() => Some(Arc::new(definition.as_it_is())),
            None => Some(Arc::clone(definition)),
        }
    }
}

// === impl Upcoming ===

impl Upcoming {
    /// Announces the next run, unless that is done; takes it back where the definition has no steps any
    /// more that clean up.
    pub(super) fn announce(&self, spec: &ProbeSpec, context: &Context) {
        let Some(register) = &context.register else { return };
        let mut state = self.0.lock();
        if spec.cleanup.is_empty() {
            state.next.take().into_iter().for_each(|run| register.settle(run));
        } else if state.next.is_none() && !state.closed {
            state.next = Some(announce(spec, context, &**register));
        }
    }

    /// The id of a run that begins now; the one after it is announced.
    pub(super) fn take(&self, spec: &ProbeSpec, context: &Context) -> RunId {
        let next = self.0.lock().next.take();
        let Some(register) = context.register.as_ref().filter(|_| !spec.cleanup.is_empty()) else {
            return next.unwrap_or_else(|| RunId(rand::random()));
        };
        // Without one, the probe has just been taken away: better late than not at all.
        let run = next.unwrap_or_else(|| announce(spec, context, &**register));
        self.announce(spec, context);
        run
    }

    /// No further run follows.
    pub(super) fn close(&self, context: &Context) {
        let mut state = self.0.lock();
        state.closed = true;
        let next = state.next.take();
        next.zip(context.register.as_ref()).into_iter().for_each(|(run, to)| to.settle(run));
    }
}

fn announce(spec: &ProbeSpec, context: &Context, register: &dyn Register) -> RunId {
    let run = RunId(rand::random());
    let planned_start = match &spec.cadence {
        every @ Cadence::Every(_) => {
            next_slots(&spec.phase_key(), every, context.clock.wall()).next()
        }
        Cadence::Cron { .. } => None,
    };
    let target = spec.instance().map(Instance::text);
    register.announce(Intent { probe: spec.name.clone(), target, run, planned_start });
    run
}

/// Takes the steps that clean up for runs of an earlier life that have no record, each with the definition of
/// its probe, and settles them. A run whose probe is gone is settled without.
pub(super) async fn clean_up_after(left: Vec<(Intent, Option<Arc<ProbeSpec>>)>, context: Context) {
    let Some(register) = context.register.clone() else { return };
    let (context, register) = (&context, &register);
    let cleaning = |(Intent { probe, run, .. }, spec): (Intent, Option<Arc<ProbeSpec>>)| async move {
        match spec {
            Some(spec) => {
                tracing::info!(
                    probe,
                    run = run.to_hex(),
                    "cleaning up after a run without a record"
                );
                let pinned = context.for_runs_of(&spec);
                let journey = Journey::earlier(&spec, pinned.as_ref().unwrap_or(context), run);
                // A fault of ours costs this one.
                drop(AssertUnwindSafe(journey.clean_up_late()).catch_unwind().await);
            }
            None => tracing::warn!(
                probe,
                run = run.to_hex(),
                "a run has no record, and its probe is gone: what it left is not cleaned up"
            ),
        }
        register.settle(run);
    };
    futures::stream::iter(left).for_each_concurrent(AT_ONCE, cleaning).await;
}
