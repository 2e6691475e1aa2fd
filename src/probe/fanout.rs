//! One message, many receivers: who got it, when, and exactly who did not.
//!
//! A step with `count:` opens its stream that many times; an `expect` on it, or on several steps, must
//! be met on every stream. The value is the time to the last receiver, since a room has its message when
//! everybody has it. Receivers are numbered from 1; those of several steps may speak several protocols.

use super::dial::StepContext;
use super::expect::{Receipt, Since, Wanted, receive};
use super::failure::{Attempt, failure};
use super::record::StepRecord;
use super::spec::{Expect, Step};
use super::stream::OpenStream;
use crate::base::clock::{MonoNanos, nanos};
use crate::base::duration::humane;
use crate::model::probe::{Failure, FailureReason, Phase};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::join_all;
use futures::stream;
use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

/// Receivers of one step.
pub const MAX_RECEIVERS: u32 = 10_000;
/// Streams that are being opened at the same time: more would measure our own queue.
const OPENING_AT_ONCE: usize = 64;

/// Stretches of receivers of a step that are named one by one.
const MAX_NAMED: usize = 20;

/// What became of one of a step's streams: the stream if it was opened, and how that went.
pub(super) type Opened = (Option<OpenStream>, Attempt<Option<Bytes>>);

/// The times at which a message reached its receivers, nanoseconds since it was sent, ascending.
struct Spread(Vec<u64>);

/// Opens a step's streams, `open` doing so for the receiver of that number. The phase is the time until
/// the last one is open; what each of them took to connect is not kept.
///
/// # Errors
/// The first failure in the order of receivers. Streams that were opened are among `streams` in any case.
pub(super) async fn open_all<F, O>(
    step: &Step,
    streams: &mut Vec<OpenStream>,
    record: &mut StepRecord,
    open: O,
) -> Attempt<Option<Bytes>>
where
    F: Future<Output = Opened>,
    O: Fn(u32, StepRecord) -> F,
{
    let from = record.now();
    let opening = stream::iter(1..=step.count).map(|number| open(number, record.of_receiver()));
    let opened: Vec<Opened> = opening.buffered(OPENING_AT_ONCE).collect().await;
    let mut first_failure = None;
    for ((stream, done), number) in opened.into_iter().zip(1_u32..) {
        if let (Err(failure), None) = (done, &first_failure) {
            first_failure = Some(of_receiver(&failure, number, step.count));
        }
        streams.extend(stream.map(|stream| {
            stream.inbox.share(step.count);
            OpenStream { receiver: number, ..stream }
        }));
    }
    match streams.last().filter(|stream| stream.step == step.name) {
        Some(stream) => record.talks(stream.protocol, stream.target.to_string()),
        None => record.talks(step.action.block(), format!("{} receivers", step.count)),
    }
    match first_failure {
        Some(failure) => Err(failure),
        None => {
            record.attribute("fanout.receivers", step.count);
            record.phase(Phase::Subscribe, from, record.now());
            Ok(None)
        }
    }
}

/// Waits until everybody has the message that was sent at `since`; hands back the first receiver's, from
/// which values may be captured.
pub(super) async fn expect_all(
    expect: &Expect,
    streams: &[&OpenStream],
    since: MonoNanos,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Bytes> {
    let wanted = Wanted::fill(expect, streams.first().map_or("", |s| s.protocol), with.variables)?;
    let began = record.now();
    let waiting =
        streams.iter().map(|stream| receive(&wanted, stream, Since::Sent(since), with, began));
    let receipts = join_all(waiting).await;
    let mut arrivals: Vec<(MonoNanos, &Bytes)> =
        receipts.iter().filter_map(Receipt::message).map(|m| (m.arrived, &m.body)).collect();
    arrivals.sort_by_key(|(arrived, _)| *arrived);
    let spread = Spread(arrivals.iter().map(|(at, _)| nanos(at.since(since))).collect());
    spread.note(streams.len(), record);
    if let Some((last, _)) = arrivals.last() {
        record.message(since, *last);
    }
    let budget = expect.within.map_or_else(String::new, |w| format!(" within {}", humane(w)));
    let name = format!("{wanted} reaches all {} receivers{budget}", streams.len());
    let judged = judge(&receipts, streams, since, expect.within);
    record.check(name.clone(), judged.as_ref().map(drop).map_err(|(_, found)| found.clone()));
    match (judged, arrivals.first()) {
        (Err((reason, found)), _) => {
            Err(failure(reason, format!("expected that {name}, but {found}")))
        }
        (Ok(()), Some((_, body))) => Ok((*body).clone()),
        (Ok(()), None) => Err(failure(FailureReason::Local, "nobody was there to receive it")),
    }
}

/// Whether everybody got it in time, or else who did not. A lost message weighs more than a late one.
fn judge(
    receipts: &[Receipt],
    streams: &[&OpenStream],
    since: MonoNanos,
    within: Option<Duration>,
) -> Result<(), (FailureReason, String)> {
    let named = |select: &dyn Fn(&Receipt) -> bool| {
        let chosen = receipts.iter().zip(streams).filter(|(receipt, _)| select(receipt));
        Names::of(chosen.map(|(_, stream)| *stream))
    };
    let missed = named(&|receipt| receipt.message().is_none());
    if let Some(stranger) = receipts.iter().find(|receipt| receipt.message().is_none()) {
        let (reason, words) = stranger.why();
        return Err((
            reason,
            format!("{} of {} did not get it: {missed} ({words})", missed.count, streams.len()),
        ));
    }
    let is_late = |receipt: &Receipt| {
        let latency = receipt.message().map(|message| message.arrived.since(since));
        within.zip(latency).is_some_and(|(within, latency)| latency > within)
    };
    let late = named(&is_late);
    if late.count == 0 {
        return Ok(());
    }
    let slowest = receipts.iter().filter_map(Receipt::message).map(|m| m.arrived).max();
    let slowest = slowest.map_or(Duration::ZERO, |arrived| arrived.since(since));
    let found = format!(
        "{} of {} got it later: {late}, the last after {}",
        late.count,
        streams.len(),
        humane(slowest)
    );
    Err((FailureReason::Late, found))
}

fn of_receiver(cause: &Failure, number: u32, count: u32) -> Failure {
    failure(cause.reason, format!("receiver {number} of {count}: {}", cause.message))
}

// === impl Spread ===

impl Spread {
    /// First, median, ninety-ninth percentile and last receiver, and how far apart they are.
    fn note(&self, receivers: usize, record: &mut StepRecord) {
        record.attribute("fanout.receivers", receivers);
        record.attribute("fanout.received", self.0.len());
        let (Some(first), Some(last)) = (self.0.first(), self.0.last()) else { return };
        record.attribute("fanout.first_ns", *first);
        record.attribute("fanout.median_ns", self.at(50));
        record.attribute("fanout.p99_ns", self.at(99));
        record.attribute("fanout.last_ns", *last);
        record.attribute("fanout.spread_ns", last - first);
    }

    /// A percentile by nearest rank.
    fn at(&self, percent: usize) -> u64 {
        let rank = (self.0.len() * percent).div_ceil(100).saturating_sub(1);
        self.0.get(rank).copied().unwrap_or(0)
    }
}

// === names of receivers ===

/// Receivers by step and number, consecutive ones drawn together: `crowd[3, 17-19], feed`.
struct Names {
    count: usize,
    steps: BTreeMap<String, Vec<(u32, u32)>>,
}

impl Names {
    fn of<'s>(streams: impl Iterator<Item = &'s OpenStream>) -> Self {
        let mut names = Self { count: 0, steps: BTreeMap::new() };
        for stream in streams {
            names.count += 1;
            let ranges = names.steps.entry(stream.step.clone()).or_default();
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == stream.receiver => *last = stream.receiver,
                _ => ranges.push((stream.receiver, stream.receiver)),
            }
        }
        names
    }
}

impl std::fmt::Display for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let one = |(step, ranges): (&String, &Vec<(u32, u32)>)| {
            let more = ranges.len().saturating_sub(MAX_NAMED);
            let mut ranges: Vec<String> = ranges
                .iter()
                .take(MAX_NAMED)
                .map(|(first, last)| match first == last {
                    true => first.to_string(),
                    false => format!("{first}-{last}"),
                })
                .collect();
            if more > 0 {
                ranges.push(format!("and {more} more stretches"));
            }
            match ranges.as_slice() {
                [only] if only == "0" => step.clone(),
                _ => format!("{step}[{}]", ranges.join(", ")),
            }
        };
        f.write_str(&self.steps.iter().map(one).collect::<Vec<_>>().join(", "))
    }
}
