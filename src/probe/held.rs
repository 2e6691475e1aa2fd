//! Streams that stay open between the runs of a probe, as those of an app in the foreground do.
//!
//! A run that has passed hands its streams over; a task per step then watches them, and the next run
//! takes them up again. What happens in between is told when it happens, as a run of its own that
//! failed: the stream ended, was silent for longer than `max_gap`, or gave no sign of life. After that,
//! or after a failed run, the next run opens the stream anew.

use super::deadline::Deadline;
use super::executor::Delivery;
use super::failure::failure;
use super::heartbeat::{self, Heartbeat, Noticed, Pings};
use super::record::StepRecord;
use super::spec::{Action, ProbeSpec, Step};
use super::stream::{self, OpenStream};
use crate::base::clock::{Clock, MonoNanos, nanos};
use crate::base::duration::humane;
use crate::model::probe::{Failure, FailureReason, Outcome, ProbeRun, RunId, StepResult};
use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A watch ends by itself after this, and begins anew: deadlines are finite.
const WATCH: Duration = Duration::from_secs(3600);
/// So long may it take to say goodbye to all streams when the daemon stops.
const FAREWELL: Duration = Duration::from_millis(200);

/// That a step's stream stays open, and how it is watched between runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    /// Signs of life are looked for.
    pub heartbeat: Option<Heartbeat>,
}

/// The streams that are held for all probes.
#[derive(Debug)]
pub(super) struct Held {
    clock: Clock,
    delivery: Delivery,
    kept: Mutex<BTreeMap<(String, String), Kept>>,
}

/// The streams of one step.
#[derive(Debug)]
struct Kept {
    action: Action,
    count: u32,
    since: MonoNanos,
    /// How many messages had come over each.
    arrived: Vec<u64>,
    /// Sent to have the streams back; dropped to have them closed.
    wanted: oneshot::Sender<()>,
    watch: JoinHandle<Vec<OpenStream>>,
}

impl Held {
    /// Nothing is held yet; what happens to streams goes out by `delivery`.
    pub(super) fn new(clock: Clock, delivery: Delivery) -> Arc<Self> {
        Arc::new(Self { clock, delivery, kept: Mutex::new(BTreeMap::new()) })
    }

    /// The streams of a step that an earlier run left, when it is the same step and all of them live.
    pub(super) async fn take_up(
        &self,
        probe: &str,
        step: &Step,
        record: &mut StepRecord,
    ) -> Option<Vec<OpenStream>> {
        let key = (probe.to_owned(), step.name.clone());
        let kept = self.kept.lock().remove(&key)?;
        if kept.action != step.action || kept.count != step.count {
            return None;
        }
        // When nobody takes it, the watch is over and the streams are gone.
        let _ = kept.wanted.send(());
        let mut streams = kept.watch.await.ok().filter(|streams| !streams.is_empty())?;
        let now = self.clock.monotonic();
        let (mut messages, mut gap) = (0, Duration::ZERO);
        for (stream, already) in streams.iter_mut().zip(kept.arrived) {
            let (came, longest) = stream.begin_anew(now, already);
            messages += came;
            gap = gap.max(longest);
        }
        record.attribute("connection", "reused");
        record.attribute("held.duration_ns", now.since(kept.since));
        record.attribute("held.messages", messages);
        record.attribute("held.longest_gap_ns", gap);
        Some(streams)
    }

    /// Holds the streams of a step until the next run, unless one of them has ended already.
    pub(super) fn hold(
        self: &Arc<Self>,
        spec: &ProbeSpec,
        step: &Step,
        hold: Hold,
        streams: Vec<OpenStream>,
    ) {
        let is_alive = |stream: &OpenStream| stream.inbox.look(|state| state.end.is_none());
        if streams.is_empty() || !streams.iter().all(is_alive) {
            return;
        }
        let arrived =
            streams.iter().map(|stream| stream.inbox.look(|state| state.arrived)).collect();
        let (wanted, is_wanted) = oneshot::channel();
        let teller = Teller {
            held: Arc::clone(self),
            probe: spec.name.clone(),
            labels: spec.labels.clone(),
            step: step.name.clone(),
        };
        let watch = tokio::spawn(teller.watch(hold, streams, is_wanted));
        let since = self.clock.monotonic();
        let action = step.action.clone();
        let kept = Kept { action, count: step.count, since, arrived, wanted, watch };
        // Runs may overlap; of two the streams of the later one are held.
        let _ = self.kept.lock().insert((spec.name.clone(), step.name.clone()), kept);
    }

    /// Lets the streams of all other probes go.
    pub(super) fn keep_only(&self, probes: &[Arc<ProbeSpec>]) {
        self.kept.lock().retain(|(probe, _), _| probes.iter().any(|spec| spec.name == *probe));
    }

    /// Says goodbye to all streams.
    pub(super) async fn release(&self) {
        let kept = std::mem::take(&mut *self.kept.lock());
        let watches: Vec<_> = kept.into_values().map(|kept| kept.watch).collect();
        drop(tokio::time::timeout(FAREWELL, join_all(watches)).await);
    }
}

/// Watches the streams of one step, and tells.
struct Teller {
    held: Arc<Held>,
    probe: String,
    labels: crate::model::labels::Labels,
    step: String,
}

impl Teller {
    /// Watches until the streams are wanted back, or something happens to one of them: then none is left.
    async fn watch(
        self,
        hold: Hold,
        mut streams: Vec<OpenStream>,
        mut wanted: oneshot::Receiver<()>,
    ) -> Vec<OpenStream> {
        let clock = self.held.clock.clone();
        let began = clock.monotonic();
        let incident = {
            let mut watches: FuturesUnordered<_> =
                streams.iter_mut().map(|stream| watch(hold, stream, &clock)).collect();
            tokio::select! {
                biased;
                wanted = &mut wanted => wanted.map_or(Some(None), |()| None),
                happened = watches.next() => Some(happened),
            }
        };
        match incident {
            None => return streams,
            Some(Some((target, failure))) => self.tell(began, target, failure),
            Some(None) => {}
        }
        drop(join_all(streams.iter_mut().map(stream::hang_up)).await);
        Vec::new()
    }

    fn tell(&self, began: MonoNanos, target: String, failure: Failure) {
        let clock = &self.held.clock;
        let (now, held) = (clock.now(), nanos(clock.monotonic().since(began)));
        let step = StepResult {
            name: self.step.clone(),
            protocol: "held".to_owned(),
            target,
            attributes: vec![("held.duration_ns".to_owned(), held.into())],
            failure: Some(failure.clone()),
            span_id: rand::random(),
            ..StepResult::default()
        };
        self.held.delivery.deliver(ProbeRun {
            probe: self.probe.clone(),
            labels: self.labels.clone(),
            id: RunId(rand::random()),
            intended_start: now,
            outcome: Outcome::Failure,
            failure: Some(failure),
            steps: vec![step],
            ..ProbeRun::default()
        });
    }
}

/// Watches one stream until something happens to it.
async fn watch(hold: Hold, stream: &mut OpenStream, clock: &Clock) -> (String, Failure) {
    let target = stream.target.to_string();
    loop {
        let until = Deadline::new(clock, clock.monotonic(), WATCH);
        let happened = match &hold.heartbeat {
            Some(heartbeat) => signs_of_life(heartbeat, stream, &until, clock).await,
            None => silence(stream, &until, clock).await,
        };
        if let Some(Failure { reason, message }) = happened {
            return (
                target.clone(),
                failure(reason, format!("while {target} was held, {message}")),
            );
        }
    }
}

async fn signs_of_life(
    heartbeat: &Heartbeat,
    stream: &mut OpenStream,
    until: &Deadline,
    clock: &Clock,
) -> Option<Failure> {
    let noticed = heartbeat::watch(heartbeat, stream, until, clock, &mut Pings::default()).await;
    match noticed {
        Ok(Noticed::Nothing) => None,
        Ok(Noticed::Silence(_)) => Some(failure(FailureReason::Lost, heartbeat.silence())),
        Ok(Noticed::End(end)) => Some(failure(end.reason, end.words)),
        Err(failure) => Some(failure),
    }
}

/// Waits for the end, or for a gap between messages that is too long.
async fn silence(stream: &OpenStream, until: &Deadline, clock: &Clock) -> Option<Failure> {
    let began = clock.monotonic();
    loop {
        let last = stream.inbox.look(|state| state.last).map_or(began, |at| at.max(began));
        let limit = match stream.max_gap {
            Some(gap) => until.no_later_than(last.plus(gap)),
            None => until.clone(),
        };
        if let Ok(end) = stream.inbox.until(&limit, |state| state.end.clone()).await {
            return Some(failure(end.reason, end.words));
        }
        if until.has_passed() {
            return None;
        }
        let is_silent = stream.inbox.look(|state| state.last.is_none_or(|at| at <= last));
        if let Some(gap) = stream.max_gap.filter(|_| is_silent) {
            let words = format!("nothing came for {}", humane(gap));
            return Some(failure(FailureReason::Check, words));
        }
    }
}
