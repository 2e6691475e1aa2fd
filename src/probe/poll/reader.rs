//! The task that polls, and the account it keeps.

use super::super::failure::{Attempt, failure};
use super::super::http_exchange::{Asked, Line};
use super::super::inbox::{InboxWriter, Received};
use super::super::spec::StatusRange;
use super::super::stream::{Findings, Outlet};
use super::asking::{Answered, Asking, Unanswered};
use super::pace::{Pace, Turn};
use crate::base::clock::MonoNanos;
use crate::model::attribute::{Attribute, AttributeValue};
use crate::model::probe::{Failure, FailureReason};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, pending, ready};
use parking_lot::Mutex;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// The status of an answer with messages.
pub(super) const OK: StatusRange = StatusRange { first: 200, last: 200 };

/// What happened so far.
#[derive(Debug, Default)]
pub(super) struct Account(Mutex<Sums>);

#[derive(Debug, Default)]
struct Sums {
    polls: u64,
    empty: u64,
    redials: u64,
    held_back: u64,
    longest: Duration,
}

/// The side of the stream that tells its account; nothing can be sent over it.
#[derive(Debug)]
pub(super) struct Polls(pub(super) Arc<Account>);

/// Polls until the stream is dropped or broken.
#[derive(Debug)]
pub(super) struct Reader {
    asking: Asking,
    inbox: InboxWriter,
    account: Arc<Account>,
}

// === impl Reader ===

impl Reader {
    /// A reader that puts what comes into `inbox`.
    pub(super) fn new(asking: Asking, inbox: InboxWriter, account: Arc<Account>) -> Self {
        Self { asking, inbox, account }
    }

    /// Waits for the answer to the request that was made, tells it, and polls on.
    pub(super) async fn run(
        mut self,
        line: Line,
        asked: Asked,
        told: oneshot::Sender<Attempt<Answered>>,
    ) {
        let Err(Failure { reason, message }) = self.poll_on(line, asked, told).await;
        self.inbox.end(reason, None, message);
    }

    async fn poll_on(
        &mut self,
        mut line: Line,
        asked: Asked,
        told: oneshot::Sender<Attempt<Answered>>,
    ) -> Attempt<Infallible> {
        let mut pace = Pace::new(self.asking.step.every, asked.at);
        let first = self.await_answer(&mut line, asked, true).await;
        if let Ok(answered) = &first {
            self.take(answered);
        }
        // Who waited for it may be gone.
        drop(told.send(first.clone()));
        let mut answered = first?;
        loop {
            answered.verdict?;
            let went_on = match answered.content.cursor.take() {
                Some(cursor) => self.asking.go_on_after(cursor)?,
                None => false,
            };
            let idle = !went_on && answered.content.messages.is_empty();
            let turn = pace.next(answered.asked, answered.ended, idle);
            self.await_turn(turn).await;
            answered = self.poll(&mut line).await?;
            self.take(&answered);
        }
    }

    /// One more request and its answer.
    async fn poll(&mut self, line: &mut Line) -> Attempt<Answered> {
        let began = self.asking.context.clock.monotonic();
        let limit = self.asking.deadline.no_later_than(began.plus(self.asking.step.wait));
        let is_fresh = !matches!(limit.limit(line.is_ready()).await, Ok(true));
        if is_fresh {
            self.account.change(|sums| sums.redials += 1);
            *line = self.asking.dial_again(&limit).await?;
        }
        let asked = line.ask(self.asking.next_request()?, self.asking.target())?;
        self.await_answer(line, asked, is_fresh).await
    }

    /// Waits for an answer. A connection that was in use before may be closed under a request: then it
    /// is made once more, over a fresh one.
    async fn await_answer(
        &mut self,
        line: &mut Line,
        asked: Asked,
        is_fresh: bool,
    ) -> Attempt<Answered> {
        self.account.change(|sums| sums.polls += 1);
        let limit = self.asking.deadline.no_later_than(asked.at.plus(self.asking.step.wait));
        match self.asking.answer(line, asked, &limit).await {
            Ok(answered) => Ok(answered),
            Err(Unanswered::Closed(_)) if !is_fresh => {
                self.account.change(|sums| sums.redials += 1);
                *line = self.asking.dial_again(&limit).await?;
                let asked = line.ask(self.asking.next_request()?, self.asking.target())?;
                self.asking.answer(line, asked, &limit).await.map_err(Unanswered::into)
            }
            Err(unanswered) => Err(unanswered.into()),
        }
    }

    async fn await_turn(&self, Turn { at, held_back }: Turn) {
        if held_back {
            self.account.change(|sums| sums.held_back += 1);
        }
        // Not reached is what is hoped for: the deadline is only the time to wait until.
        let _ = self.asking.deadline.no_later_than(at).limit(pending::<()>()).await;
    }

    /// Puts an answer's messages into the inbox, and the answer on the account.
    fn take(&self, answered: &Answered) {
        let Answered { asked, ended, verdict, content, .. } = answered;
        self.account.change(|sums| {
            sums.longest = sums.longest.max(ended.since(*asked));
            sums.empty += u64::from(verdict.is_ok() && content.messages.is_empty());
        });
        for body in &content.messages {
            let (arrived, body): (MonoNanos, Bytes) = (*ended, body.clone());
            self.inbox.push(Received { arrived, event: None, body });
        }
    }
}

impl From<Unanswered> for Failure {
    fn from(unanswered: Unanswered) -> Self {
        let (Unanswered::Closed(failure) | Unanswered::Broken(failure)) = unanswered;
        failure
    }
}

// === impl Account ===

impl Account {
    fn change(&self, change: impl FnOnce(&mut Sums)) {
        change(&mut self.0.lock());
    }

    fn attributes(&self) -> Vec<Attribute> {
        let Sums { polls, empty, redials, held_back, longest } = &*self.0.lock();
        let mut attributes: Vec<(&str, AttributeValue)> = vec![
            ("poll.polls", (*polls).into()),
            ("poll.empty", (*empty).into()),
            ("poll.redials", (*redials).into()),
            ("poll.longest_ns", (*longest).into()),
        ];
        if *held_back > 0 {
            // Answers came at once: the next requests were held back.
            attributes.push(("poll.held_back", (*held_back).into()));
        }
        attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

// === impl Polls ===

impl Outlet for Polls {
    fn send(&mut self, _: String) -> BoxFuture<'_, Attempt<()>> {
        let words = "nothing can be sent over a stream that polls";
        ready(Err(failure(FailureReason::Local, words))).boxed()
    }

    fn findings(&self) -> Findings {
        Findings { attributes: self.0.attributes(), check: None }
    }

    fn ping(&mut self, _: Bytes) -> BoxFuture<'_, Attempt<()>> {
        ready(Err(failure(FailureReason::Local, "a poll has no ping"))).boxed()
    }

    fn hang_up(&mut self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }
}
