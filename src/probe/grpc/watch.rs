//! What a call must bring, what it brought, and the verdict.
//!
//! Messages are looked at as they come and not kept. A call is over with its status; a stream of
//! which nothing but messages is asked is over when they have come.

use super::super::check::Check;
use super::super::dial::StepContext;
use super::super::expect::Wanted;
use super::super::failure::{Attempt, failure, quote};
use super::super::inbox::Received;
use super::super::inspection::Inspection;
use super::super::record::StepRecord;
use super::super::stamps::Stamps;
use super::channel::{Event, Reply};
use super::code::{Code, Ending};
use super::messages::ServingStatus;
use super::schema::Codec;
use super::{Call, GrpcStep};
use crate::base::clock::MonoNanos;
use crate::base::duration::humane;
use crate::model::probe::{Failure, FailureReason, Phase};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// A call being watched.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    step: &'a GrpcStep,
    codec: &'a Codec,
    place: String,
    wanted: Option<Wanted>,
    /// When it was sent.
    asked: MonoNanos,
    /// When the answer began.
    began: MonoNanos,
    came: Arrivals,
    /// The message that was waited for.
    found: Option<Received>,
    /// When as many messages had come as are asked for.
    enough: Option<MonoNanos>,
    /// Whoever looks into the run.
    inspection: Option<Arc<Inspection>>,
}

/// The messages that came.
#[derive(Debug, Default)]
struct Arrivals {
    count: u64,
    first: Option<MonoNanos>,
    newest: Option<Received>,
    max_gap: Duration,
    stamps: Stamps,
}

// === impl Watch ===

impl<'a> Watch<'a> {
    /// Waits for what the step asks of the call to `place` that was sent at `asked`.
    pub(super) fn new(
        step: &'a GrpcStep,
        codec: &'a Codec,
        place: String,
        [asked, began]: [MonoNanos; 2],
        with: StepContext<'_>,
    ) -> Attempt<Self> {
        let wanted =
            step.expect.as_ref().map(|expect| Wanted::fill(expect, "grpc", with.variables));
        Ok(Self {
            step,
            codec,
            place,
            wanted: wanted.transpose()?,
            asked,
            began,
            came: Arrivals::default(),
            found: None,
            enough: None,
            inspection: with.context.inspection.clone(),
        })
    }

    /// Watches to the end; hands back the message that was waited for, or else the last one.
    pub(super) async fn run(
        mut self,
        reply: &mut Reply,
        with: StepContext<'_>,
        record: &mut StepRecord,
    ) -> Attempt<Option<Bytes>> {
        let ended = self.wait(reply, with).await;
        self.note(ended.as_ref().ok().and_then(Option::as_ref).map(|(at, _)| *at), record);
        let complaints = [
            match &ended {
                Ok(Some((_, ending))) => self.judge_ending(ending, record),
                Ok(None) => Ok(()),
                Err(failure) if self.is_lost(failure) => Ok(()),
                Err(failure) => Err(failure.clone()),
            },
            self.judge_expected(ended.is_err(), record),
            self.judge_count(ended.is_err(), record),
            self.judge_health(record),
        ];
        complaints.into_iter().collect::<Attempt<()>>()?;
        Ok(self.found.or(self.came.newest).map(|message| message.body))
    }

    /// Takes messages until nothing more is asked for; hands back the ending if that was seen.
    async fn wait(
        &mut self,
        reply: &mut Reply,
        with: StepContext<'_>,
    ) -> Attempt<Option<(MonoNanos, Ending)>> {
        loop {
            let doing = format!("waiting for {} of {}", self.awaited(), self.place);
            match reply.next(&doing, with).await? {
                Event::Message(arrived, message) => self.take(arrived, &message)?,
                Event::End(at, ending) => {
                    self.check_single(&ending)?;
                    return Ok(Some((at, ending)));
                }
            }
            if self.codec.answers_many()
                && self.step.status.is_empty()
                && self.asks()
                && self.is_content()
            {
                return Ok(None);
            }
        }
    }

    fn take(&mut self, arrived: MonoNanos, message: &[u8]) -> Attempt<()> {
        let malformed = |words: String| failure(FailureReason::Protocol, quote(&words));
        let length = message.len();
        let json = self.codec.decode(message).map_err(malformed)?;
        let message = Received { arrived, event: None, body: json.to_string().into() };
        if let Some(inspection) = &self.inspection {
            inspection.called(&message.body);
        }
        let is_match = self.wanted.as_ref().is_some_and(|wanted| wanted.matches(&message));
        self.came.stamps.push(self.came.count, arrived, length);
        if is_match && self.found.is_none() {
            self.came.stamps.matched(self.came.count);
            self.found = Some(message.clone());
        }
        self.came.add(message);
        if self.enough.is_none() && self.step.messages == Some(self.came.count) {
            self.enough = Some(arrived);
        }
        Ok(())
    }

    /// Whether all messages that are asked for have come.
    fn is_content(&self) -> bool {
        let has_match = self.wanted.is_none() || self.found.is_some();
        has_match && (self.step.messages.is_none() || self.enough.is_some())
    }

    /// A method that answers with one message does so exactly if all went well.
    fn check_single(&self, ending: &Ending) -> Attempt<()> {
        if self.codec.answers_many() || ending.code != Code::OK || self.came.count == 1 {
            return Ok(());
        }
        let words =
            format!("the server said OK and sent {} messages instead of 1", self.came.count);
        Err(failure(FailureReason::Protocol, words))
    }

    fn awaited(&self) -> &'static str {
        if self.asks() && !self.is_content() { "a message" } else { "the end" }
    }

    /// Whether messages are asked for.
    fn asks(&self) -> bool {
        self.wanted.is_some() || self.step.messages.is_some()
    }

    /// Phases, value and what else is known of the messages.
    fn note(&self, ended: Option<MonoNanos>, record: &mut StepRecord) {
        if let Some(found) = &self.found {
            record.message(self.asked, found.arrived);
        }
        let to = ended.or(self.enough);
        if let Some(to) = to {
            record.phase(Phase::Receive, self.began, to);
        }
        if let Some(to) = self.enough.or(ended).filter(|_| self.found.is_none()) {
            record.value(to.since(self.asked));
        }
        self.came.note(self.asked, record);
    }

    fn judge_ending(&self, ending: &Ending, record: &mut StepRecord) -> Attempt<()> {
        record.status(ending.code.0);
        let wanted: &[Code] =
            if self.step.status.is_empty() { &[Code::OK] } else { &self.step.status };
        let names: Vec<String> = wanted.iter().map(Code::to_string).collect();
        let name = format!("status is {}", names.join(" or "));
        let check = Check::new(name, wanted.contains(&ending.code), || ending.to_string());
        conclude(check, FailureReason::Status, record)
    }

    /// Whether nothing is wrong but that messages of a stream never came: the server had answered,
    /// so it is not mute, and what is missing says more than the deadline.
    fn is_lost(&self, failure: &Failure) -> bool {
        let is_short = self.asks() && !self.is_content();
        failure.reason == FailureReason::Timeout && self.codec.answers_many() && is_short
    }

    fn judge_expected(&self, broke: bool, record: &mut StepRecord) -> Attempt<()> {
        let (Some(wanted), Some(expect)) = (&self.wanted, &self.step.expect) else {
            return Ok(());
        };
        let budget = expect.within.map(|within| format!(" within {}", humane(within)));
        let name = format!("{wanted} comes{}", budget.unwrap_or_default());
        let Some(found) = &self.found else {
            let (reason, never) = if broke {
                (FailureReason::Lost, "it never came; ")
            } else {
                (FailureReason::Check, "")
            };
            let found = Err(format!("{never}{}", self.came.words()));
            return conclude(Check { name, found }, reason, record);
        };
        let latency = found.arrived.since(self.asked);
        let in_time = expect.within.is_none_or(|within| latency <= within);
        let check = Check::new(name, in_time, || format!("it came after {}", humane(latency)));
        conclude(check, FailureReason::Late, record)
    }

    fn judge_count(&self, broke: bool, record: &mut StepRecord) -> Attempt<()> {
        let Some(least) = self.step.messages else { return Ok(()) };
        let name = format!("at least {least} messages come");
        let check = Check::new(name, self.enough.is_some(), || self.came.count.to_string());
        let reason = if broke { FailureReason::Lost } else { FailureReason::Check };
        conclude(check, reason, record)
    }

    /// A health check without an expectation of its own asks for `SERVING`.
    fn judge_health(&self, record: &mut StepRecord) -> Attempt<()> {
        let is_asked = matches!(self.step.call, Call::Health { .. }) && self.wanted.is_none();
        let Some(answer) = self.came.newest.as_ref().filter(|_| is_asked) else { return Ok(()) };
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let status = body.get("status").map(|status| match status.as_str() {
            Some(name) => name.to_owned(),
            None => status.to_string(),
        });
        let status = status.unwrap_or_default();
        let serving = ServingStatus::Serving.as_str();
        let check =
            Check::new(format!("health is {serving}"), status == serving, || status.clone());
        conclude(check, FailureReason::Check, record)
    }
}

/// Records a check; when it does not hold, that is the failure.
fn conclude(check: Check, reason: FailureReason, record: &mut StepRecord) -> Attempt<()> {
    let verdict = check.complaint().map_or(Ok(()), |words| Err(failure(reason, words)));
    record.check(check.name, check.found);
    verdict
}

// === impl Arrivals ===

impl Arrivals {
    fn add(&mut self, message: Received) {
        self.count += 1;
        self.first = self.first.or(Some(message.arrived));
        if let Some(before) = &self.newest {
            self.max_gap = self.max_gap.max(message.arrived.since(before.arrived));
        }
        self.newest = Some(message);
    }

    fn note(&self, asked: MonoNanos, record: &mut StepRecord) {
        record.attribute("grpc.messages", self.count);
        record.messages(&self.stamps);
        if let Some(first) = self.first {
            record.attribute("grpc.first_message_ns", first.since(asked));
        }
        if self.count > 1 {
            record.attribute("grpc.max_gap_ns", self.max_gap);
        }
    }

    /// What came instead of what was waited for.
    fn words(&self) -> String {
        let Some(newest) = &self.newest else { return "no message came".to_owned() };
        let text = String::from_utf8_lossy(&newest.body);
        match self.count {
            1 => format!("one message came: {text}"),
            count => format!("{count} messages came, the last: {text}"),
        }
    }
}
