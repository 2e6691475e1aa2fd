//! Transitions and silences as journal records, and back.

use crate::base::clock::UnixNanos;
use crate::model::alert::{AlertKey, AlertState, Cause, Silence, Transition};
use crate::model::labels::Labels;
use crate::model::matcher::LabelMatcher;
use crate::model::objective::Severity;
use crate::model::position::Position;
use crate::wire::record::{Pair, SilenceRecord, TransitionRecord};

/// Labels as pairs.
#[must_use]
pub fn pairs(labels: &Labels) -> Vec<Pair> {
    let pair =
        |(name, value): (&str, &str)| Pair { name: name.to_owned(), value: value.to_owned() };
    labels.iter().map(pair).collect()
}

/// Pairs as labels.
#[must_use]
pub fn labels(pairs: &[Pair]) -> Labels {
    Labels::new(pairs.iter().map(|pair| (pair.name.as_str(), pair.value.as_str())))
}

/// A transition for the journal.
#[must_use]
pub fn transition_record(transition: &Transition) -> TransitionRecord {
    TransitionRecord {
        name: transition.key.name.clone(),
        severity: transition.key.severity.as_str().to_owned(),
        to: transition.to.as_str().to_owned(),
        cause: transition.cause.as_str().to_owned(),
        at_unix_nano: transition.at.0,
        incident: transition.incident.clone(),
        labels: pairs(&transition.labels),
        annotations: pairs(&transition.annotations),
        decided_at_segment: transition.decided_at.segment,
        decided_at_offset: transition.decided_at.offset,
        receivers: transition.receivers.clone(),
    }
}

/// A transition of the journal; none when it names what this build does not know.
#[must_use]
pub fn transition(record: &TransitionRecord) -> Option<Transition> {
    Some(Transition {
        key: AlertKey {
            name: record.name.clone(),
            severity: Severity::from_name(&record.severity)?,
        },
        to: AlertState::from_name(&record.to)?,
        cause: Cause::from_name(&record.cause)?,
        at: UnixNanos(record.at_unix_nano),
        incident: record.incident.clone(),
        labels: labels(&record.labels),
        annotations: labels(&record.annotations),
        decided_at: Position {
            segment: record.decided_at_segment,
            offset: record.decided_at_offset,
        },
        receivers: record.receivers.clone(),
    })
}

/// A silence for the journal.
#[must_use]
pub fn silence_record(silence: &Silence) -> SilenceRecord {
    SilenceRecord {
        id: silence.id.clone(),
        matchers: silence.matchers.iter().map(ToString::to_string).collect(),
        starts_at_unix_nano: silence.starts_at.0,
        ends_at_unix_nano: silence.ends_at.0,
        created_by: silence.created_by.clone(),
        comment: silence.comment.clone(),
    }
}

/// A silence of the journal; none when a matcher does not parse.
#[must_use]
pub fn silence(record: &SilenceRecord) -> Option<Silence> {
    let matchers = record.matchers.iter().map(|text| LabelMatcher::parse(text).ok());
    Some(Silence {
        id: record.id.clone(),
        matchers: matchers.collect::<Option<Vec<_>>>()?,
        starts_at: UnixNanos(record.starts_at_unix_nano),
        ends_at: UnixNanos(record.ends_at_unix_nano),
        created_by: record.created_by.clone(),
        comment: record.comment.clone(),
    })
}
