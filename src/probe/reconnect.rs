//! A step that comes back to a stream whose connection is gone, as a phone does, and finds out whether
//! the stream goes on where it was.
//!
//! What was received before stays in the inbox, so that a ledger on the stream covers both connections:
//! what it finds lost was missed in between, what it finds doubled was replayed. Whether a server takes
//! a stream up again is told apart from a server that only lets one in: it says so (`resumed`,
//! `refused`), or it names another `session`, or it sends what was published in between, or it does not.

use super::dial::StepContext;
use super::expect::Wanted;
use super::failure::{Attempt, failure, quote};
use super::fallback;
use super::inbox::{Received, State};
use super::opening::connect;
use super::record::StepRecord;
use super::spec::{Action, Expect, HeaderText, WebSocketStep};
use super::stream::{self, OpenStream};
use super::template::Variables;
use crate::base::clock::MonoNanos;
use crate::base::duration::humane;
use crate::model::probe::{FailureReason, Phase};
use serde_json::Value;
use std::time::Duration;

/// How to come back, and what must be true then.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReconnectStep {
    /// Stays away so long first. An event stream whose server named a time stays away for that, unless
    /// this says otherwise.
    pub after: Option<Duration>,
    /// Where to, when it is not the URL at which the stream was opened.
    pub url: Option<String>,
    /// Headers besides those with which it was opened. An event stream sends `Last-Event-ID` by itself.
    pub headers: Vec<(String, HeaderText)>,
    /// A message that asks to go on.
    pub send: Option<String>,
    /// JSON pointer to a message's number.
    pub sequence: Option<String>,
    /// JSON pointer to what names the session; it must be the same before and after.
    pub session: Option<String>,
    /// The message by which the server says that it goes on.
    pub resumed: Option<Expect>,
    /// The message by which the server says that it does not.
    pub refused: Option<Expect>,
    /// From the step's beginning until the stream goes on.
    pub within: Option<Duration>,
    /// Numbers between the last before and the first after that may be missing.
    pub max_missed: u64,
}

/// What was known of the stream before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Before {
    last: Option<u64>,
    session: Option<String>,
    event_id: Option<String>,
    retry: Option<Duration>,
}

/// A step with its variables filled in, looking at what comes over the new connection.
struct Watch<'a> {
    step: &'a ReconnectStep,
    before: &'a Before,
    resumed: Option<Wanted>,
    refused: Option<Wanted>,
    /// What has been looked at.
    from: u64,
}

/// What the new connection says.
enum Sign {
    /// The stream goes on since then, at that number where there is one.
    Resumed(MonoNanos, Option<u64>),
    /// It does not.
    Refused(String),
    /// It ended again.
    Ended(FailureReason, String),
}

/// Comes back. The value is the time until the stream went on or, where nothing says that it does, until
/// it was open.
///
/// # Errors
/// Those of opening the stream; `check` when it is not taken up again, `lost` when what was sent
/// meanwhile does not come, `late` when it goes on too late.
pub(super) async fn run(
    step: &ReconnectStep,
    opening: &Action,
    stream: &mut OpenStream,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<()> {
    let began = record.now();
    let before = stream.inbox.look(|state| Before::of(step, state));
    let variables = with.variables.of_return(before.event_id.clone(), before.last);
    let with = StepContext { variables: &variables, ..with };
    stay_away(step, &before, stream.protocol, with, record).await?;
    let opening = step.opening(opening, &before);
    let next = match &opening {
        Action::Fallback(ways) => fallback::reopen(ways, &stream.step, with, record).await,
        way => connect(&stream.step, way, with, record).await,
    }?;
    let opened = next.opened;
    record.talks("reconnect", next.target.to_string());
    // What MQTT says of a session is known before the first message.
    let kept = record.found("mqtt.session_present").map(|kept| *kept == true.into());
    let boundary = stream.resume_over(next);
    record.attribute("reconnect.open_ns", opened.since(began));
    if let Some(text) = &step.send {
        let _ = stream::send(variables.fill(text)?, stream, with, record).await?;
    }
    if kept == Some(false) {
        return Err(refused("the server began a new session", record, stream));
    }
    if !step.asks() {
        record.value(opened.since(began));
        record.attribute("resume.outcome", if kept.is_some() { "resumed" } else { "not asked" });
        return Ok(());
    }
    let mut watch = Watch::new(step, &before, boundary, stream, &variables)?;
    let limit = match step.within {
        Some(within) => with.deadline.no_later_than(began.plus(within)),
        None => with.deadline.clone(),
    };
    let sign = stream.inbox.until(&limit, |state| watch.look(state)).await;
    match sign {
        Ok(Sign::Resumed(at, number)) => {
            record.phase(Phase::Resume, opened, at);
            record.value(at.max(opened).since(began));
            judge(step, &before, number, at.since(began), stream, record)
        }
        Ok(Sign::Refused(words)) => Err(refused(&words, record, stream)),
        Ok(Sign::Ended(reason, words)) => {
            Err(failure(reason, format!("coming back to {}: {words}", stream.target)))
        }
        Err(_) => {
            record.attribute("resume.outcome", "refused");
            let wait = humane(record.now().since(opened));
            let words = format!("nothing of what was sent meanwhile came in {wait}");
            record.check("the stream goes on".to_owned(), Err(words.clone()));
            Err(failure(
                FailureReason::Lost,
                format!("resume refused: over {} {words}", stream.target),
            ))
        }
    }
}

/// Stays away as a client does that was told to, or that its own rules tell to.
async fn stay_away(
    step: &ReconnectStep,
    before: &Before,
    protocol: &str,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<()> {
    let from = record.now();
    let told = before.retry.filter(|_| protocol == "sse");
    let Some(away) = step.after.or(told).filter(|away| !away.is_zero()) else { return Ok(()) };
    let until = with.deadline.no_later_than(from.plus(away));
    // Not reached is what is hoped for: the deadline is only the time to wait until.
    let _ = until.limit(std::future::pending::<()>()).await;
    record.phase(Phase::Backoff, from, record.now());
    if with.deadline.has_passed() {
        return Err(with.deadline.failure("staying away before coming back"));
    }
    Ok(())
}

/// Whether the stream went on in time, and without a hole.
fn judge(
    step: &ReconnectStep,
    before: &Before,
    number: Option<u64>,
    took: Duration,
    stream: &OpenStream,
    record: &mut StepRecord,
) -> Attempt<()> {
    let missed = match (before.last, number) {
        (Some(last), Some(first)) => first.saturating_sub(last.saturating_add(1)),
        _ => 0,
    };
    record.attribute("resume.outcome", if missed == 0 { "resumed" } else { "resumed with a gap" });
    if number.is_some() {
        record.attribute("resume.missed", missed);
        let name = format!("at most {} messages are missed", step.max_missed);
        let holds = missed <= step.max_missed;
        record.check(name.clone(), if holds { Ok(()) } else { Err(missed.to_string()) });
        if !holds {
            let last = before.last.unwrap_or_default();
            let words = format!(
                "expected that {name} on coming back to {}, but it went on at {} after {last}: \
                 {missed} were",
                stream.target,
                number.unwrap_or_default(),
            );
            return Err(failure(FailureReason::Lost, words));
        }
    }
    let Some(within) = step.within else { return Ok(()) };
    let name = format!("the stream goes on within {}", humane(within));
    let found = if took <= within { Ok(()) } else { Err(humane(took).to_string()) };
    record.check(name.clone(), found.clone());
    found
        .map_err(|found| failure(FailureReason::Late, format!("expected that {name}, but {found}")))
}

fn refused(
    words: &str,
    record: &mut StepRecord,
    stream: &OpenStream,
) -> crate::model::probe::Failure {
    record.attribute("resume.outcome", "refused");
    record.check("the stream goes on".to_owned(), Err(words.to_owned()));
    failure(FailureReason::Check, format!("resume refused: over {} {words}", stream.target))
}

fn number(message: &Received, pointer: &str) -> Option<u64> {
    let json: Value = serde_json::from_slice(&message.body).ok()?;
    json.pointer(pointer)?.as_u64()
}

fn session(message: &Received, pointer: &str) -> Option<String> {
    let json: Value = serde_json::from_slice(&message.body).ok()?;
    json.pointer(pointer).map(Value::to_string)
}

// === impl ReconnectStep ===

impl ReconnectStep {
    /// Whether anything tells that the stream goes on.
    fn asks(&self) -> bool {
        self.sequence.is_some() || self.resumed.is_some() || self.session.is_some()
    }

    /// The block with which the stream is opened this time.
    fn opening(&self, opening: &Action, before: &Before) -> Action {
        let mut opening = opening.clone();
        self.change(&mut opening, before);
        opening
    }

    fn change(&self, opening: &mut Action, before: &Before) {
        let (url, headers) = match opening {
            Action::WebSocket(WebSocketStep { url, headers, .. }) => (url, headers),
            Action::Sse(sse) => {
                // What a run fills in is text here, dollars included.
                let id = before.event_id.as_ref().filter(|id| !id.is_empty());
                let id = id.map(|id| HeaderText::Plain(id.replace('$', "$$")));
                sse.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("last-event-id"));
                sse.headers.extend(id.map(|id| ("last-event-id".to_owned(), id)));
                (&mut sse.url, &mut sse.headers)
            }
            Action::Fallback(ways) => {
                return ways.streams.iter_mut().for_each(|way| self.change(way, before));
            }
            _ => return,
        };
        // Of several ways only those that speak its scheme can go there.
        let is_web_socket = |url: &str| url.starts_with("ws");
        if let Some(other) = self.url.as_ref().filter(|o| is_web_socket(o) == is_web_socket(url)) {
            url.clone_from(other);
        }
        headers.extend(self.headers.iter().cloned());
    }
}

// === impl Before ===

impl Before {
    fn of(step: &ReconnectStep, state: &State) -> Self {
        Self {
            last: step.sequence.as_ref().and_then(|p| state.newest(|m| number(m, p))),
            session: step.session.as_ref().and_then(|p| state.newest(|m| session(m, p))),
            event_id: state.event_id.clone(),
            retry: state.retry,
        }
    }
}

// === impl Watch ===

impl<'a> Watch<'a> {
    fn new(
        step: &'a ReconnectStep,
        before: &'a Before,
        from: u64,
        stream: &OpenStream,
        variables: &Variables,
    ) -> Attempt<Self> {
        let fill = |expect: &Option<Expect>| {
            expect.as_ref().map(|e| Wanted::fill(e, stream.protocol, variables)).transpose()
        };
        Ok(Self {
            step,
            before,
            resumed: fill(&step.resumed)?,
            refused: fill(&step.refused)?,
            from,
        })
    }

    /// What the messages say that came since the last look.
    fn look(&mut self, state: &State) -> Option<Sign> {
        let sign = state.since(self.from).find_map(|message| self.sign(message));
        self.from = state.arrived;
        sign.or_else(|| state.end.clone().map(|end| Sign::Ended(end.reason, end.words)))
    }

    fn sign(&self, message: &Received) -> Option<Sign> {
        if self.refused.as_ref().is_some_and(|refused| refused.matches(message)) {
            let said = quote(&String::from_utf8_lossy(&message.body));
            return Some(Sign::Refused(format!("the server says: {said}")));
        }
        let named = self.step.session.as_ref().and_then(|pointer| session(message, pointer));
        if let (Some(named), Some(before)) = (&named, &self.before.session)
            && named != before
        {
            let words = format!(
                "the server began a new session: {} instead of {}",
                quote(named),
                quote(before)
            );
            return Some(Sign::Refused(words));
        }
        let numbered = self.step.sequence.as_ref().and_then(|pointer| number(message, pointer));
        let says_so = match &self.resumed {
            Some(resumed) => resumed.matches(message),
            // The session that it names is the same; or a message is numbered.
            None => numbered.is_some() || (self.step.sequence.is_none() && named.is_some()),
        };
        says_so.then_some(Sign::Resumed(message.arrived, numbered))
    }
}
