//! Streams that a run holds open, and what is sent over them. What comes is in their `inbox`.

use super::deadline::Deadline;
use super::dial::StepContext;
use super::failure::{Attempt, failure};
use super::inbox::Inbox;
use super::limits;
use super::link::{Cut, Link};
use super::record::StepRecord;
use super::target::Target;
use super::writes::{self, WriteTarget};
use crate::base::clock::MonoNanos;
use crate::model::attribute::{Attribute, AttributeValue};
use crate::model::probe::{FailureReason, Phase};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// So long may it take to write a farewell; the answer is not waited for.
pub(super) const FAREWELL: Duration = Duration::from_millis(50);

/// What a peer said to a message that it received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Confirmation {
    /// When the read returned that completed it.
    pub at: MonoNanos,
    /// The code of the protocol.
    pub status: u16,
    /// Why it does not take the message, in words.
    pub refusal: Option<String>,
}

/// What a reader noticed of a stream besides its messages.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Findings {
    /// Attributes of the step that opened the stream.
    pub attributes: Vec<Attribute>,
    /// What must hold of the stream as a whole: its name, and what was found instead.
    pub check: Option<(String, Result<(), String>)>,
}

/// The sending half of a stream. Each protocol that can send has its own.
pub(super) trait Outlet: Debug + Send + Sync {
    /// Sends a text message; done when it is written.
    fn send(&mut self, text: String) -> BoxFuture<'_, Attempt<()>>;

    /// Lets a write over the stream to `target` pass or refuses it.
    fn admit(&self, target: &Target, allowed: &[WriteTarget]) -> Attempt<()> {
        writes::admit(target, allowed)
    }

    /// Waits until the peer has confirmed what was sent last; nothing where it does not confirm.
    fn confirmed(&mut self) -> BoxFuture<'_, Attempt<Option<Confirmation>>> {
        ready(Ok(None)).boxed()
    }

    /// What was noticed so far.
    fn findings(&self) -> Findings {
        Findings::default()
    }

    /// The same, by one who knows when the run sent its messages over any of its streams, in order.
    fn findings_beside(&self, _sent: &[MonoNanos]) -> Findings {
        self.findings()
    }

    /// Asks the peer for a sign of life with this payload.
    fn ping(&mut self, payload: Bytes) -> BoxFuture<'_, Attempt<()>>;

    /// Ends the stream with a close code, where the protocol has them, and otherwise without.
    fn close_with(&mut self, _code: u16) -> BoxFuture<'_, ()> {
        self.hang_up()
    }

    /// Says goodbye to a peer that has not done so; the answer is not waited for.
    fn hang_up(&mut self) -> BoxFuture<'_, ()>;
}

/// A stream that a step opened and that stays open to the end of the run.
#[derive(Debug)]
pub(super) struct OpenStream {
    /// The step that opened it.
    pub step: String,
    /// Which of the step's streams it is, from 1; 0 when the step opens one alone.
    pub receiver: u32,
    /// Where it leads.
    pub target: Target,
    /// The block that opened it.
    pub protocol: &'static str,
    /// When the request that opened it was sent.
    pub asked: MonoNanos,
    /// When it was open.
    pub opened: MonoNanos,
    /// When messages were sent over it, in order.
    pub sent: Vec<MonoNanos>,
    /// What came over it.
    pub inbox: Arc<Inbox>,
    /// While something is waited for, no gap between messages may be longer.
    pub max_gap: Option<Duration>,
    /// The close code with which the server must end it.
    pub close_code: Option<u16>,
    /// The way to send, where there is one.
    pub outlet: Option<Box<dyn Outlet>>,
    /// Reads until the stream is dropped.
    pub reader: AbortOnDropHandle<()>,
    /// Under its connection, where that can be taken away; set by who opened it for a step.
    pub link: Option<Arc<Link>>,
    /// Connections that fell silent under it: to the other end they are open to the end of the run.
    pub silent: Vec<Silent>,
}

/// A connection that nobody listens to any more, but that is not closed either.
#[derive(Debug)]
pub(super) struct Silent {
    _outlet: Option<Box<dyn Outlet>>,
    _reader: AbortOnDropHandle<()>,
}

// === impl Findings ===

impl Findings {
    /// Takes up what was noticed of another stream of the same step: counts are added up, of durations
    /// the longest stays, and one stream of which something does not hold is enough.
    pub(super) fn add(&mut self, other: Self) {
        for (name, value) in other.attributes {
            let Some((_, sum)) = self.attributes.iter_mut().find(|(known, _)| *known == name)
            else {
                self.attributes.push((name, value));
                continue;
            };
            if let (AttributeValue::Integer(one), AttributeValue::Integer(two)) = (&*sum, value) {
                let is_longest = name.ends_with("_ns");
                let both = if is_longest { (*one).max(two) } else { one.saturating_add(two) };
                *sum = AttributeValue::Integer(both);
            }
        }
        if !matches!(self.check, Some((_, Err(_)))) {
            self.check = other.check.or(self.check.take());
        }
    }
}

// === impl OpenStream ===

impl OpenStream {
    /// Goes on over a connection that was opened in its place. Hands back the number of the first
    /// message that came over that one.
    pub(super) fn resume_over(&mut self, next: Self) -> u64 {
        let before = self.inbox.alter(std::mem::take);
        let boundary = next.inbox.alter(|state| state.follow(before));
        let left = std::mem::replace(self, next);
        let Self { step, receiver, mut sent, close_code, max_gap, mut silent, .. } = left;
        let fell_silent = left.link.is_some_and(|link| link.cut() == Some(Cut::Silent));
        if fell_silent {
            silent.push(Silent { _outlet: left.outlet, _reader: left.reader });
        }
        sent.append(&mut self.sent);
        (self.step, self.receiver, self.sent, self.silent) = (step, receiver, sent, silent);
        (self.close_code, self.max_gap) = (close_code, max_gap);
        boundary
    }

    /// Begins anew for another run: what came before is not for it. Hands back how many messages came
    /// since the last beginning, and the longest time between two.
    pub(super) fn begin_anew(&mut self, now: MonoNanos, already: u64) -> (u64, Duration) {
        self.asked = now;
        self.sent.clear();
        self.inbox.alter(|state| (state.arrived.saturating_sub(already), state.begin_anew()))
    }

    /// Gives up the connection: the socket is closed by the time the reader is gone.
    pub(super) fn abandon(&mut self) {
        self.outlet = None;
        self.reader.abort();
    }

    /// When the run last sent anything over the stream before that instant. Nothing arrives before
    /// the request that opened it, so this is never later.
    pub(super) fn last_sent_before(&self, arrived: MonoNanos) -> MonoNanos {
        self.sent.iter().rev().copied().find(|at| *at <= arrived).unwrap_or(self.asked)
    }
}

/// A message that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sending {
    /// Just before it was written.
    pub from: MonoNanos,
    /// Once it was.
    pub written: MonoNanos,
    /// When the peer had confirmed it, where it does.
    pub confirmed: Option<MonoNanos>,
}

/// Sends a text message, if it may go there; the step's sending is from just before the write.
pub(super) async fn send(
    text: String,
    stream: &mut OpenStream,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<MonoNanos> {
    let Sending { from, written, confirmed } = transmit(text, stream, with, record).await?;
    record.phase(Phase::Send, from, written);
    if let Some(at) = confirmed {
        record.phase(Phase::Wait, written, at);
    }
    Ok(from)
}

/// [`send`] for those who record its phases themselves.
pub(super) async fn transmit(
    text: String,
    stream: &mut OpenStream,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Sending> {
    match &stream.outlet {
        Some(outlet) => outlet.admit(&stream.target, with.writes)?,
        None => writes::admit(&stream.target, with.writes)?,
    }
    limits::pace(&stream.target, 1, with, record).await?;
    let from = record.now();
    write(stream, with.deadline, "sending over", |outlet| outlet.send(text)).await?;
    record.sent = Some(from);
    stream.sent.push(from);
    let written = record.now();
    let confirmed =
        write(stream, with.deadline, "waiting for confirmation by", |out| out.confirmed());
    let confirmation = confirmed.await?;
    let confirmed = confirmation.as_ref().map(|confirmation| confirmation.at);
    if let Some(Confirmation { status, refusal, .. }) = confirmation {
        record.status(status);
        if let Some(words) = refusal {
            return Err(failure(FailureReason::Status, words));
        }
    }
    Ok(Sending { from, written, confirmed })
}

/// Sends a ping whose answer is not waited for here.
pub(super) async fn call(
    payload: Bytes,
    stream: &mut OpenStream,
    deadline: &Deadline,
) -> Attempt<()> {
    write(stream, deadline, "sending over", |outlet| outlet.ping(payload)).await
}

/// Ends the stream with a close code; the answer is not waited for.
pub(super) async fn close(
    code: u16,
    stream: &mut OpenStream,
    with: StepContext<'_>,
) -> Attempt<()> {
    write(stream, with.deadline, "closing", |outlet| outlet.close_with(code).map(Ok).boxed()).await
}

/// Sends a ping and waits for its pong. Where nothing else is expected, the round trip is the value.
pub(super) async fn ping(
    is_value: bool,
    stream: &mut OpenStream,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<()> {
    let payload = Bytes::copy_from_slice(&rand::random::<[u8; 8]>());
    let from = record.now();
    write(stream, with.deadline, "sending over", |outlet| outlet.ping(payload.clone())).await?;
    let answered = stream.inbox.until(with.deadline, |state| {
        let pong = state.pong.take().filter(|(answer, _)| *answer == payload);
        let ended = state.end.clone().map(|end| Err(failure(end.reason, end.words)));
        pong.map(|(_, arrived)| Ok(arrived)).or(ended)
    });
    let waiting = || with.deadline.failure(format_args!("waiting for a pong of {}", stream.target));
    let arrived = answered.await.unwrap_or_else(|_| Err(waiting()))?;
    if is_value {
        record.message(from, arrived);
    } else {
        record.phase(Phase::Wait, from, arrived);
    }
    Ok(())
}

/// Says goodbye to a server that has not done so; neither its answer nor an error matters.
pub(super) async fn hang_up(stream: &mut OpenStream) {
    let open = stream.inbox.look(|state| state.end.is_none());
    if let Some(outlet) = stream.outlet.as_mut().filter(|_| open) {
        drop(tokio::time::timeout(FAREWELL, outlet.hang_up()).await);
    }
}

async fn write<T>(
    stream: &mut OpenStream,
    deadline: &Deadline,
    doing: &str,
    write: impl FnOnce(&mut dyn Outlet) -> BoxFuture<'_, Attempt<T>>,
) -> Attempt<T> {
    let OpenStream { outlet, target, inbox, .. } = stream;
    let Some(outlet) = outlet else {
        return Err(failure(FailureReason::Local, format!("nothing can be sent over {target}")));
    };
    let doing = format!("{doing} {target}");
    deadline.run(&doing, write(outlet.as_mut())).await?.map_err(|error| {
        // The reader knows better why, when it has seen the end already.
        inbox.look(|state| state.end.clone()).map_or(error, |end| failure(end.reason, end.words))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that the findings of many streams of a step stay as few as those of one.
    #[test]
    fn findings_are_added_up() {
        let of = |count: u64, check: Result<(), String>| Findings {
            attributes: vec![
                ("mqtt.duplicates".to_owned(), count.into()),
                ("sse.longest_silence_ns".to_owned(), count.min(30).into()),
            ],
            check: Some(("none comes twice".to_owned(), check)),
        };
        let mut sum = of(1, Ok(()));
        sum.add(of(2, Err("one".to_owned())));
        sum.add(of(40, Ok(())));
        sum.add(of(0, Err("two".to_owned())));
        assert_eq!(sum, of(43, Err("one".to_owned())));
    }
}
