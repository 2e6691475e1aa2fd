//! Waiting for a message: a predicate over a stream, not over its next frame.
//!
//! Other messages are ignored. When the budget is over, the wait goes on until the deadline, so
//! that a message that came late is told from one that never came.

use super::check::FilledText;
use super::dial::StepContext;
use super::failure::{Attempt, failure, quote};
use super::inbox::{Received, StreamEnd};
use super::json_match;
use super::record::StepRecord;
use super::spec::Expect;
use super::stream::OpenStream;
use super::template::Variables;
use crate::base::clock::MonoNanos;
use crate::base::duration::humane;
use crate::model::probe::{Failure, FailureReason};
use bytes::Bytes;
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// From when a message counts: the value is the time from there to its arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// From this sending. What arrived before cannot be it: an answer does not precede its
    /// question.
    Sent(MonoNanos),
    /// From what the run last sent over the stream before the message arrived; what came at any
    /// time since the stream was asked for will do.
    LastSent,
}

/// An expectation with its variables filled in.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    json: Option<Value>,
    text: Option<FilledText>,
    event: Option<String>,
    /// What an event is called where the message comes from.
    event_name: &'static str,
}

/// What a wait came to.
enum Seen {
    Match(Received),
    End(StreamEnd),
    Gap(Duration),
    Nothing,
}

/// What became of a message at one of many receivers.
pub(super) struct Receipt(Seen);

/// Waits for the expected message; hands back its body, from which values may be captured.
pub(super) async fn fulfil(
    expect: &Expect,
    stream: &OpenStream,
    since: Since,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Bytes> {
    let wanted = Wanted::fill(expect, stream.protocol, with.variables)?;
    let seen = wait(&wanted, stream, since, with, record.now()).await;
    let budget =
        expect.within.map_or_else(String::new, |within| format!(" within {}", humane(within)));
    let name = format!("{wanted} comes{budget}");
    let judged = match seen {
        Seen::Match(message) => {
            let from = match since {
                Since::Sent(at) => at,
                Since::LastSent => stream.last_sent_before(message.arrived),
            };
            let latency = message.arrived.since(from);
            record.message(from, message.arrived);
            if expect.within.is_some_and(|within| latency > within) {
                Err((FailureReason::Late, format!("it came after {}", humane(latency))))
            } else {
                Ok(message.body)
            }
        }
        Seen::End(end) => Err((end.reason, format!("{}{}", end.words, others(stream)))),
        Seen::Gap(limit) => {
            Err((FailureReason::Check, format!("nothing came for {}", humane(limit))))
        }
        Seen::Nothing => Err((FailureReason::Lost, format!("it never came{}", others(stream)))),
    };
    record.check(name.clone(), judged.as_ref().map(drop).map_err(|(_, found)| found.clone()));
    judged.map_err(|(reason, found)| complaint(reason, &name, &found, stream))
}

/// Waits for the message at one of many receivers.
pub(super) async fn receive(
    wanted: &Wanted,
    stream: &OpenStream,
    since: Since,
    with: StepContext<'_>,
    began: MonoNanos,
) -> Receipt {
    Receipt(wait(wanted, stream, since, with, began).await)
}

fn complaint(reason: FailureReason, name: &str, found: &str, stream: &OpenStream) -> Failure {
    failure(reason, format!("expected that over {} {name}, but {found}", stream.target))
}

async fn wait(
    wanted: &Wanted,
    stream: &OpenStream,
    since: Since,
    with: StepContext<'_>,
    began: MonoNanos,
) -> Seen {
    let earliest = match since {
        Since::Sent(at) => at,
        Since::LastSent => MonoNanos(0),
    };
    let mut from = 0;
    loop {
        let silent_since = stream.inbox.look(|state| state.last).map_or(began, |at| at.max(began));
        let limit = match stream.max_gap {
            Some(gap) => with.deadline.no_later_than(silent_since.plus(gap)),
            None => with.deadline.clone(),
        };
        let looked = stream.inbox.until(&limit, |state| {
            let found = state.take(&mut from, |m| m.arrived >= earliest && wanted.matches(m));
            found.map(Seen::Match).or_else(|| state.end.clone().map(Seen::End))
        });
        if let Ok(seen) = looked.await {
            return seen;
        }
        if with.deadline.has_passed() {
            return Seen::Nothing;
        }
        let still_silent =
            stream.inbox.look(|state| state.last.is_none_or(|last| last <= silent_since));
        if let Some(gap) = stream.max_gap.filter(|_| still_silent) {
            return Seen::Gap(gap);
        }
    }
}

/// How much else came, in words.
fn others(stream: &OpenStream) -> String {
    stream.inbox.look(|state| match (state.arrived, state.dropped) {
        (0, _) => " (nothing else did)".to_owned(),
        (arrived, 0) => format!(" ({arrived} in all came)"),
        (arrived, dropped) => format!(" ({arrived} in all came, {dropped} were dropped unread)"),
    })
}

// === impl Receipt ===

impl Receipt {
    /// The message, if it came.
    pub(super) fn message(&self) -> Option<&Received> {
        match &self.0 {
            Seen::Match(message) => Some(message),
            _ => None,
        }
    }

    /// Why it did not come.
    pub(super) fn why(&self) -> (FailureReason, String) {
        match &self.0 {
            Seen::End(end) => (end.reason, end.words.clone()),
            Seen::Gap(limit) => {
                (FailureReason::Check, format!("nothing came for {}", humane(*limit)))
            }
            Seen::Match(_) | Seen::Nothing => {
                (FailureReason::Lost, "not until the deadline".to_owned())
            }
        }
    }
}

// === impl Wanted ===

impl Wanted {
    /// The expectation of a message over `protocol` with its variables filled in.
    ///
    /// # Errors
    /// A local failure when a variable has no value.
    pub(super) fn fill(expect: &Expect, protocol: &str, variables: &Variables) -> Attempt<Self> {
        let json = expect.json.as_ref().map(|json| variables.fill_json(json)).transpose()?;
        let text =
            expect.text.as_ref().map(|text| FilledText::fill(text, variables)).transpose()?;
        let event = expect.event.as_ref().map(|event| variables.fill(event)).transpose()?;
        let event_name = if protocol == "mqtt" { "a message on topic" } else { "an event of type" };
        Ok(Self { json, text, event, event_name })
    }

    /// Whether it is this message.
    pub(super) fn matches(&self, message: &Received) -> bool {
        let event = self.event.is_none() || self.event == message.event;
        event
            && self
                .text
                .as_ref()
                .is_none_or(|text| text.holds(&String::from_utf8_lossy(&message.body)))
            && self.json.as_ref().is_none_or(|wanted| {
                serde_json::from_slice(&message.body)
                    .is_ok_and(|found| json_match::contains(wanted, &found))
            })
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.event {
            Some(event) => write!(f, "{} {}", self.event_name, quote(event))?,
            None => f.write_str("a message")?,
        }
        if let Some(json) = &self.json {
            write!(f, " that contains {}", quote(&json.to_string()))?;
        }
        match &self.text {
            Some(text) => write!(f, " whose text {text}"),
            None => Ok(()),
        }
    }
}
