//! One request after another: what it says, the connection it goes over, and its whole answer.

use super::super::addresses::Dialling;
use super::super::deadline::Deadline;
use super::super::dial::{StepContext, dial};
use super::super::failure::{Attempt, failure, of_hyper};
use super::super::http_exchange::{Ask, Asked, Line, Progress};
use super::super::marking::Mark;
use super::super::network::RunNetwork;
use super::super::record::StepRecord;
use super::super::runner::Context;
use super::super::spec::HttpVersion;
use super::super::target::Target;
use super::super::template::Variables;
use super::super::tls::Alpn;
use super::PollStep;
use super::answer::{self, Content};
use crate::base::clock::MonoNanos;
use crate::base::duration::humane;
use crate::model::probe::{Failure, FailureReason};
use ::http::Method;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::sync::Arc;

/// No answer is read beyond this.
const MAX_ANSWER_BYTES: usize = 4 << 20;

/// What requests are made of. It outlives the step, so it owns what the step works with.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) step: PollStep,
    pub(super) context: Context,
    pub(super) deadline: Deadline,
    variables: Variables,
    mark: Mark,
    dialling: Dialling,
    network: Option<Arc<RunNetwork>>,
    /// Takes the phases of connections after the first, which nobody sees.
    aside: StepRecord,
    target: Target,
    /// How far was read.
    cursor: String,
}

/// A request that was answered.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    pub asked: MonoNanos,
    pub progress: Progress,
    /// When the read returned that completed the answer.
    pub ended: MonoNanos,
    pub status: u16,
    /// Whether the answer was one that may be.
    pub verdict: Attempt<()>,
    pub content: Content,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// The server closed the connection before it said anything, as it may between two requests.
    Closed(Failure),
    /// Anything else.
    Broken(Failure),
}

// === impl Asking ===

impl Asking {
    /// Fills in what stays the same from request to request.
    ///
    /// # Errors
    /// A local failure when a variable has no value or the URL is unusable.
    pub(super) fn new(
        step: &PollStep,
        with: StepContext<'_>,
        record: &StepRecord,
    ) -> Attempt<Self> {
        let url = with.variables.after("").fill(&step.url)?;
        Ok(Self {
            step: step.clone(),
            context: with.context.clone(),
            deadline: with.deadline.clone(),
            variables: with.variables.clone(),
            mark: with.mark.clone(),
            dialling: with.dialling,
            network: with.network.cloned(),
            aside: record.of_receiver(),
            target: Target::parse(&url, ["http", "https"])?,
            cursor: String::new(),
        })
    }

    /// Where the next request goes.
    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// Moves to what came after that cursor; false when we were there already.
    ///
    /// # Errors
    /// When the cursor would lead to another server.
    pub(super) fn go_on_after(&mut self, cursor: String) -> Attempt<bool> {
        if cursor == self.cursor {
            return Ok(false);
        }
        // As in a query: it is the server's text, and must not become more than a value.
        let escaped: String = url::form_urlencoded::byte_serialize(cursor.as_bytes()).collect();
        let url = self.variables.after(&escaped).fill(&self.step.url)?;
        let target = Target::parse(&url, ["http", "https"])?;
        if !target.same_origin(&self.target) {
            let words = format!("the cursor would lead to another server: {target}");
            return Err(failure(FailureReason::Protocol, words));
        }
        (self.target, self.cursor) = (target, cursor);
        Ok(true)
    }

    /// The next request.
    ///
    /// # Errors
    /// A local failure when a header is unusable.
    pub(super) fn next_request(&self) -> Attempt<Ask> {
        let variables = self.variables.after(&self.cursor);
        let authorization = self.target.authorization();
        let headers = self.mark.headers(&self.step.headers, &variables, authorization)?;
        Ok(Ask { method: Method::GET, headers, body: Bytes::new() })
    }

    /// Dials for the step.
    pub(super) async fn dial(
        &self,
        with: StepContext<'_>,
        record: &mut StepRecord,
    ) -> Attempt<Line> {
        let connection = dial(&self.target, &self.step.tls, Alpn::Either, with, record).await?;
        Line::open(connection, &self.target, HttpVersion::Auto, with.deadline).await
    }

    /// Dials after the step, within that deadline.
    pub(super) async fn dial_again(&mut self, deadline: &Deadline) -> Attempt<Line> {
        let Self { step, context, variables, mark, dialling, network, aside, target, .. } = self;
        let network = network.as_ref();
        let (writes, dialling) = (&[], *dialling);
        let with = StepContext { context, deadline, variables, mark, writes, dialling, network };
        let connection = dial(target, &step.tls, Alpn::Either, with, aside).await?;
        Line::open(connection, target, HttpVersion::Auto, deadline).await
    }

    /// Waits for the whole answer.
    pub(super) async fn answer(
        &self,
        line: &Line,
        asked: Asked,
        limit: &Deadline,
    ) -> Result<Answered, Unanswered> {
        let at = asked.at;
        let doing = format!("waiting for the answer of {}", self.target);
        let answered = limit.limit(asked.answered()).await.map_err(|_| self.expired())?;
        let (head, body) = match answered {
            Ok(answered) => answered.into_parts(),
            Err(error) => {
                let failure = of_hyper(&error, &doing);
                let silent = line.stamps().answered().is_none();
                let closed = failure.reason == FailureReason::Closed && silent;
                return Err(match closed {
                    true => Unanswered::Closed(failure),
                    false => Unanswered::Broken(failure),
                });
            }
        };
        let progress = line.progress();
        let body = limit.limit(whole(body)).await.map_err(|_| self.expired())?;
        let body = body.map_err(Unanswered::Broken)?;
        let ended = line.stamps().last_read();
        let (content, verdict) = match answer::read(&self.step, &head, &body) {
            Ok(content) => (content, Ok(())),
            Err(failure) => (Content::default(), Err(failure)),
        };
        let status = head.status.as_u16();
        Ok(Answered { asked: at, progress, ended, status, verdict, content })
    }

    fn expired(&self) -> Unanswered {
        Unanswered::Broken(if self.deadline.has_passed() {
            self.deadline.failure(format_args!("waiting for the answer of {}", self.target))
        } else {
            let wait = humane(self.step.wait);
            let words = format!("{} did not answer within {wait}, so it is broken", self.target);
            failure(FailureReason::Protocol, words)
        })
    }
}

async fn whole(mut body: Incoming) -> Attempt<Bytes> {
    let doing = "reading an answer";
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| of_hyper(&error, doing))?;
        let Some(data) = frame.data_ref() else { continue };
        if read.len() + data.len() > MAX_ANSWER_BYTES {
            let words = format!("an answer is longer than {MAX_ANSWER_BYTES} bytes");
            return Err(failure(FailureReason::Protocol, words));
        }
        read.extend_from_slice(data);
    }
    Ok(read.into())
}
