//! Signs of life of a stream: how long a client would take to notice a peer that is gone.
//!
//! A connection whose other end has vanished without a word looks idle. Clients find out by asking
//! (a ping each `every`) or by expecting to hear something (keep-alives of an event stream) and giving
//! up after `timeout`. Whatever comes over the connection is a sign of life, as in every client.

use super::deadline::Deadline;
use super::dial::StepContext;
use super::failure::{Attempt, failure};
use super::inbox::StreamEnd;
use super::record::StepRecord;
use super::stream::{self, OpenStream};
use crate::base::clock::{Clock, MonoNanos};
use crate::base::duration::humane;
use crate::model::probe::{FailureReason, Phase};
use bytes::Bytes;
use std::time::Duration;

/// How a client watches its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// A ping goes out so often, counted from the opening of the stream; otherwise none does.
    pub every: Option<Duration>,
    /// So long after a ping that is not answered the peer counts as gone; without pings, after the last
    /// sign of life.
    pub timeout: Duration,
}

/// Watches a stream that should live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeartbeatStep {
    /// How.
    pub heartbeat: Heartbeat,
    /// For how long.
    pub listen: Duration,
}

/// What a watch came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Noticed {
    /// There was no sign of life for too long, at that instant.
    Silence(MonoNanos),
    /// The stream ended.
    End(StreamEnd),
    /// Its time was over.
    Nothing,
}

/// Pings, answered and not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pings {
    /// How many were sent.
    pub sent: u64,
    /// The longest until a sign of life.
    pub slowest: Option<Duration>,
    /// The first that has not been answered.
    unanswered: Option<MonoNanos>,
}

/// The step `heartbeat`. The value is the slowest answer to a ping.
///
/// # Errors
/// `lost` when there is no sign of life, `closed` and the like when the stream ends.
pub(super) async fn run(
    step: &HeartbeatStep,
    stream: &mut OpenStream,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<()> {
    let began = record.now();
    let until = with.deadline.no_later_than(began.plus(step.listen));
    let mut pings = Pings::default();
    let clock = &with.context.clock;
    let noticed = watch(&step.heartbeat, stream, &until, clock, &mut pings).await?;
    record.attribute("heartbeat.pings", pings.sent);
    if let Some(slowest) = pings.slowest {
        record.attribute("heartbeat.slowest_ns", slowest);
        record.value(slowest);
    }
    record.phase(Phase::Wait, began, record.now());
    let name = format!("signs of life for {}", humane(step.listen));
    let (reason, found) = match noticed {
        Noticed::Nothing if with.deadline.has_passed() => {
            return Err(with.deadline.failure("watching for signs of life"));
        }
        Noticed::Nothing => {
            record.check(name, Ok(()));
            return Ok(());
        }
        Noticed::Silence(_) => (FailureReason::Lost, step.heartbeat.silence()),
        Noticed::End(end) => (end.reason, end.words),
    };
    record.check(name.clone(), Err(found.clone()));
    Err(failure(reason, format!("expected over {} {name}, but {found}", stream.target)))
}

/// Watches until the peer counts as gone, the stream ends, or `until`.
pub(super) async fn watch(
    heartbeat: &Heartbeat,
    stream: &mut OpenStream,
    until: &Deadline,
    clock: &Clock,
    pings: &mut Pings,
) -> Attempt<Noticed> {
    let link = stream.link.clone().ok_or_else(|| {
        failure(FailureReason::Local, format!("{} cannot be watched", stream.target))
    })?;
    let mut next = heartbeat.first_ping(stream.opened, clock.monotonic());
    loop {
        let now = clock.monotonic();
        if pings.gone_at(heartbeat).is_some_and(|at| at <= now) {
            pings.answered(link.last_read());
        }
        let gone_at = match heartbeat.every {
            Some(_) => pings.gone_at(heartbeat),
            None => Some(link.last_read().max(stream.opened).plus(heartbeat.timeout)),
        };
        if let Some(at) = gone_at.filter(|at| *at <= now) {
            return Ok(Noticed::Silence(at));
        }
        if next.is_some_and(|at| at <= now) {
            // What cannot be written any more says more in the inbox.
            let _ = stream::call(payload(), stream, until).await;
            pings.sent += 1;
            pings.unanswered = pings.unanswered.or(next);
            next = heartbeat.first_ping(stream.opened, now);
        }
        let wake = [gone_at, next].into_iter().flatten().min();
        let limit = wake.map_or_else(|| until.clone(), |at| until.no_later_than(at));
        let seen = stream.inbox.until(&limit, |state| {
            let pong = state.pong.take().map(|(_, arrived)| Err(arrived));
            state.end.clone().map(Ok).or(pong)
        });
        match seen.await {
            Ok(Ok(end)) => return Ok(Noticed::End(end)),
            Ok(Err(pong)) => pings.answered(pong),
            Err(_) if until.has_passed() => return Ok(Noticed::Nothing),
            Err(_) => {}
        }
    }
}

fn payload() -> Bytes {
    Bytes::copy_from_slice(&rand::random::<[u8; 8]>())
}

// === impl Heartbeat ===

impl Heartbeat {
    /// When the next ping is due after `now`.
    fn first_ping(&self, opened: MonoNanos, now: MonoNanos) -> Option<MonoNanos> {
        let every = self.every?.max(Duration::from_millis(1));
        let passed = now.since(opened).as_nanos() / every.as_nanos();
        let number = u32::try_from(passed + 1).unwrap_or(u32::MAX);
        Some(opened.plus(every.saturating_mul(number)))
    }

    /// What was not there, in words.
    pub(super) fn silence(&self) -> String {
        let timeout = humane(self.timeout);
        match self.every {
            Some(_) => format!("a ping was not answered within {timeout}"),
            None => format!("nothing came for {timeout}"),
        }
    }
}

// === impl Pings ===

impl Pings {
    /// Whatever came after a ping answers it, and those before.
    fn answered(&mut self, at: MonoNanos) {
        if let Some(ping) = self.unanswered.filter(|ping| at >= *ping) {
            self.slowest = self.slowest.max(Some(at.since(ping)));
            self.unanswered = None;
        }
    }

    fn gone_at(&self, heartbeat: &Heartbeat) -> Option<MonoNanos> {
        self.unanswered.map(|ping| ping.plus(heartbeat.timeout))
    }
}
