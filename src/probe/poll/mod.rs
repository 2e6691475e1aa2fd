//! Long polling and short polling as a stream: an endpoint is asked again and again, and what it
//! answers with goes into the inbox, as if it had been pushed.
//!
//! Over one connection, which is dialled anew when the server closes it. With a cursor each request
//! says how far the one before read, so that nothing is lost between two of them. A message carries
//! the stamp of the read that completed its answer.
//!
//! The step's phases are those of the first request. A short poll is answered at once, so the step
//! waits for that; a long poll may be held until there is something to tell, so the step ends once
//! the request was written, unless the definition asks for the first answer.

mod answer;
mod asking;
mod pace;
mod reader;

use super::deadline::Expired;
use super::dial::StepContext;
use super::failure::{Attempt, failure};
use super::http_exchange::Asked;
use super::inbox::Inbox;
use super::record::StepRecord;
use super::spec::{Expect, HeaderText, StatusRange, TlsOptions};
use super::stream::OpenStream;
use crate::base::clock::MonoNanos;
use crate::base::duration::humane;
use crate::model::probe::{FailureReason, Phase};
use asking::{Answered, Asking};
use reader::{Account, Polls, Reader};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

/// Asks an endpoint for what is new, again and again.
#[derive(Clone, Debug, PartialEq)]
pub struct PollStep {
    /// `http://` or `https://`; `${poll.cursor}` in it is how far was read, empty at first.
    pub url: String,
    /// Request headers; `${poll.cursor}` as in the URL.
    pub headers: Vec<(String, HeaderText)>,
    /// From one request to the next, by their intended starts. Without it the next request follows
    /// the answer at once.
    pub every: Option<Duration>,
    /// So long an answer may take; a longer wait counts as a broken connection.
    pub wait: Duration,
    /// JSON pointer to the array in an answer of which each element is a message; without it the body
    /// is one.
    pub items: Option<String>,
    /// Where an answer says how far it goes.
    pub cursor: Option<Cursor>,
    /// Statuses that mean that there is nothing new.
    pub empty: Vec<StatusRange>,
    /// The first answer must come within this; it is waited for before the next step.
    pub first_answer_within: Option<Duration>,
    /// A message to wait for.
    pub expect: Option<Expect>,
    /// TLS of the connection.
    pub tls: TlsOptions,
}

/// Where a cursor stands in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// In its JSON, by pointer: a text or a number.
    Json(String),
    /// In a header, lower case.
    Header(String),
}

impl PollStep {
    /// Its texts that are filled in at each run, but for those of its expectation.
    pub(super) fn texts<'a>(&'a self, texts: &mut Vec<&'a str>) {
        texts.push(&self.url);
        texts.extend(self.headers.iter().map(|(_, text)| HeaderText::reveal(text)));
    }

    /// Whether the step waits for the first answer before the next step runs.
    fn awaits_first(&self) -> bool {
        self.every.is_some() || self.first_answer_within.is_some() || self.expect.is_some()
    }
}

/// Opens the stream of a step: dials, asks for the first time, and waits for the answer where that is
/// to come at once.
pub(super) async fn open(
    step: &PollStep,
    name: &str,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<OpenStream> {
    let asking = Asking::new(step, with, record)?;
    let target = asking.target().clone();
    record.talks("poll", target.to_string());
    let mut line = asking.dial(with, record).await?;
    record.attribute("network.protocol.version", line.version());
    let stamps = line.stamps();
    let asked: Asked = line.ask(asking.next_request()?, &target)?;
    let at = asked.at;
    record.sent = Some(at);
    let (inbox, writer) = Inbox::new(&with.context.clock);
    let account = Arc::new(Account::default());
    let (told, first) = oneshot::channel();
    let reader = Reader::new(asking, writer, Arc::clone(&account));
    let reader = AbortOnDropHandle::new(tokio::spawn(reader.run(line, asked, told)));
    if step.awaits_first() {
        await_first(step, first, at, with, record).await?;
    } else {
        let doing = format!("sending a request to {target}");
        let sent = with.deadline.run(doing, stamps.until_sent()).await?;
        record.phase(Phase::Send, at, sent);
    }
    Ok(OpenStream {
        step: name.to_owned(),
        receiver: 0,
        target,
        protocol: "poll",
        asked: at,
        opened: record.now(),
        sent: Vec::new(),
        inbox,
        max_gap: None,
        close_code: None,
        outlet: Some(Box::new(Polls(account))),
        reader,
        link: None,
        silent: Vec::new(),
    })
}

/// Waits for the first answer, records its phases, and judges when it came.
async fn await_first(
    step: &PollStep,
    first: oneshot::Receiver<Attempt<Answered>>,
    asked: MonoNanos,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<()> {
    let told = with.deadline.limit(first).await;
    let gone = || failure(FailureReason::Closed, "the stream ended before its first answer");
    let answered = match told {
        Ok(told) => Some(told.map_err(|_| gone())??),
        Err(Expired) => None,
    };
    let mut late = None;
    if let Some(Answered { progress, ended, status, .. }) = &answered {
        let sent = progress.sent.unwrap_or(asked);
        record.phase(Phase::Send, asked, sent);
        record.phase(Phase::Wait, sent, progress.began);
        record.phase(Phase::Receive, progress.began, *ended);
        record.status(*status);
        late = step.first_answer_within.filter(|within| ended.since(asked) > *within);
    }
    let found = match (&answered, late) {
        (Some(answered), Some(_)) => {
            let after = humane(answered.ended.since(asked));
            Err((FailureReason::Late, format!("it came after {after}")))
        }
        (Some(_), None) => Ok(()),
        (None, _) => Err((FailureReason::Lost, "it never came".to_owned())),
    };
    if let Some(within) = step.first_answer_within {
        let name = format!("the first answer comes within {}", humane(within));
        record.check(name.clone(), found.as_ref().copied().map_err(|(_, words)| words.clone()));
        found.map_err(|(reason, words)| {
            failure(reason, format!("expected that {name}, but {words}"))
        })?;
    }
    match answered {
        Some(Answered { verdict, .. }) => verdict,
        None => Err(with.deadline.failure("waiting for the first answer")),
    }
}
