//! The envelope of every journal record, and the daemon's own decisions as records.
//!
//! Format 1, protobuf. A field is never reused; a reader refuses a version above its own, and an
//! unknown kind, by name, so that an older daemon never misreads newer data.

use crate::base::clock::UnixNanos;
use bytes::Bytes;
use prost::Message;

/// The version that this build writes and the highest that it reads.
pub const VERSION: u32 = 1;

/// What stands in the journal.
#[derive(Clone, PartialEq, Message)]
pub struct Envelope {
    /// Format version.
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// Who sent it: see [`Origin`].
    #[prost(enumeration = "Origin", tag = "2")]
    pub origin: i32,
    /// Name of the probe agent or of the token; empty for our own.
    #[prost(string, tag = "3")]
    pub sender: String,
    /// When it was received.
    #[prost(fixed64, tag = "4")]
    pub received_at_unix_nano: u64,
    /// What the payload is: see [`Kind`].
    #[prost(enumeration = "Kind", tag = "5")]
    pub kind: i32,
    /// The message itself, redacted.
    #[prost(bytes = "bytes", tag = "6")]
    pub payload: Bytes,
    /// Items that the front door refused, with the ones that stand in the payload not counted.
    #[prost(uint64, tag = "7")]
    pub rejected: u64,
}

/// Who a record came from. Only a probe's or an agent's record counts as a probe run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Origin {
    /// Never written.
    Unspecified = 0,
    /// A probe of this daemon.
    Probe = 1,
    /// A probe of a remote agent.
    Agent = 2,
    /// A phone, or anything else that speaks OTLP.
    Otlp = 3,
    /// The daemon itself: decisions, configuration, deliveries.
    Daemon = 4,
}

/// What a record's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Kind {
    /// Never written.
    Unspecified = 0,
    /// `ExportTraceServiceRequest`
    Traces = 1,
    /// `ExportMetricsServiceRequest`
    Metrics = 2,
    /// `ExportLogsServiceRequest`
    Logs = 3,
    /// [`TransitionRecord`]
    Transition = 4,
    /// [`DeliveryRecord`]
    Delivery = 5,
    /// [`SilenceRecord`]
    Silence = 6,
    /// [`AcknowledgementRecord`]
    Acknowledgement = 7,
    /// [`ConfigurationRecord`]
    Configuration = 8,
    /// [`RefusalRecord`]
    Refusal = 9,
    /// [`IntentRecord`]
    Intent = 10,
}

/// A name and a value.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Pair {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// A transition of an alert, as decided.
#[derive(Clone, PartialEq, Message)]
pub struct TransitionRecord {
    /// `alertname`.
    #[prost(string, tag = "1")]
    pub name: String,
    /// `page` or `ticket`.
    #[prost(string, tag = "2")]
    pub severity: String,
    /// `firing`, `frozen` or `resolved`.
    #[prost(string, tag = "3")]
    pub to: String,
    /// Why.
    #[prost(string, tag = "4")]
    pub cause: String,
    /// The `now` from which it was decided.
    #[prost(fixed64, tag = "5")]
    pub at_unix_nano: u64,
    /// The incident.
    #[prost(string, tag = "6")]
    pub incident: String,
    /// Labels.
    #[prost(message, repeated, tag = "7")]
    pub labels: Vec<Pair>,
    /// Annotations.
    #[prost(message, repeated, tag = "8")]
    pub annotations: Vec<Pair>,
    /// Position of the control lane up to which counts were folded.
    #[prost(uint64, tag = "9")]
    pub decided_at_segment: u64,
    /// Offset in that segment.
    #[prost(uint64, tag = "10")]
    pub decided_at_offset: u64,
    /// Receivers that the transition goes to, as routed when it was decided.
    #[prost(string, repeated, tag = "11")]
    pub receivers: Vec<String>,
}

/// What became of a notification.
#[derive(Clone, PartialEq, Message)]
pub struct DeliveryRecord {
    /// The notification.
    #[prost(string, tag = "1")]
    pub notification: String,
    /// When.
    #[prost(fixed64, tag = "2")]
    pub at_unix_nano: u64,
    /// `delivered`, `refused` or `given_up`.
    #[prost(string, tag = "3")]
    pub outcome: String,
    /// What the receiver said.
    #[prost(string, tag = "4")]
    pub error: String,
    /// How many attempts it took.
    #[prost(uint32, tag = "5")]
    pub attempts: u32,
}

/// A silence made, changed or ended.
#[derive(Clone, PartialEq, Message)]
pub struct SilenceRecord {
    /// The silence.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Matchers in Alertmanager's notation.
    #[prost(string, repeated, tag = "2")]
    pub matchers: Vec<String>,
    /// From when.
    #[prost(fixed64, tag = "3")]
    pub starts_at_unix_nano: u64,
    /// Until when; an end in the past ends it.
    #[prost(fixed64, tag = "4")]
    pub ends_at_unix_nano: u64,
    /// Who.
    #[prost(string, tag = "5")]
    pub created_by: String,
    /// Why.
    #[prost(string, tag = "6")]
    pub comment: String,
}

/// A person says "I have it".
#[derive(Clone, PartialEq, Message)]
pub struct AcknowledgementRecord {
    /// The incident.
    #[prost(string, tag = "1")]
    pub incident: String,
    /// Who.
    #[prost(string, tag = "2")]
    pub by: String,
    /// When.
    #[prost(fixed64, tag = "3")]
    pub at_unix_nano: u64,
}

/// A configuration in force from here on. The fold counts by its indicators.
#[derive(Clone, PartialEq, Message)]
pub struct ConfigurationRecord {
    /// Hash of the resolved configuration.
    #[prost(fixed64, tag = "1")]
    pub revision: u64,
    /// When it came into force.
    #[prost(fixed64, tag = "2")]
    pub at_unix_nano: u64,
    /// Canonical texts of the indicators, for people and for the ledger.
    #[prost(string, repeated, tag = "3")]
    pub indicators: Vec<String>,
}

/// Items that the front door did not take, for the ledger.
#[derive(Clone, PartialEq, Message)]
pub struct RefusalRecord {
    /// The app.
    #[prost(string, tag = "1")]
    pub app: String,
    /// The signal.
    #[prost(string, tag = "2")]
    pub signal: String,
    /// How many.
    #[prost(uint64, tag = "3")]
    pub items: u64,
    /// `shed` or `rejected`.
    #[prost(string, tag = "4")]
    pub outcome: String,
}

/// A probe run that will begin, or of which nothing is left though it has no record of its own.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct IntentRecord {
    /// The probe; empty where the run is settled.
    #[prost(string, tag = "1")]
    pub probe: String,
    /// The run's id.
    #[prost(bytes = "vec", tag = "2")]
    pub run: Vec<u8>,
    /// When the schedule wants it; 0 for not known.
    #[prost(fixed64, tag = "3")]
    pub planned_start_unix_nano: u64,
    /// When this was written.
    #[prost(fixed64, tag = "4")]
    pub at_unix_nano: u64,
    /// It did not begin, or was cleaned up after.
    #[prost(bool, tag = "5")]
    pub settled: bool,
    /// Of an instance of a probe with several, its target or address; empty otherwise.
    #[prost(string, tag = "6")]
    pub target: String,
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not an envelope at all.
    #[error("the record is not an envelope of radiosonde")]
    Decode(#[from] prost::DecodeError),
    /// Written by a newer version.
    #[error(
        "the record has format version {0}, this build reads up to {VERSION}: upgrade radiosonde"
    )]
    Newer(u32),
    /// An unknown kind or origin.
    #[error("the record has the unknown {field} {value}: upgrade radiosonde")]
    Unknown {
        /// Which field.
        field: &'static str,
        /// Its number.
        value: i32,
    },
}

impl Envelope {
    /// Wraps a payload.
    #[must_use]
    pub fn new(origin: Origin, kind: Kind, received_at: UnixNanos, payload: Bytes) -> Self {
        Self {
            version: VERSION,
            origin: origin.into(),
            sender: String::new(),
            received_at_unix_nano: received_at.0,
            kind: kind.into(),
            payload,
            rejected: 0,
        }
    }

    /// Wraps one of the daemon's own records.
    #[must_use]
    pub fn of(kind: Kind, at: UnixNanos, record: &impl Message) -> Self {
        Self::new(Origin::Daemon, kind, at, record.encode_to_vec().into())
    }

    /// The bytes for the journal.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    /// Reads an envelope and checks that this build understands it.
    ///
    /// # Errors
    /// When it does not decode, is of a newer version, or of an unknown kind.
    pub fn read(bytes: Bytes) -> Result<Self, RecordError> {
        let envelope = <Self as Message>::decode(bytes)?;
        if envelope.version > VERSION {
            return Err(RecordError::Newer(envelope.version));
        }
        let unknown = |field, value| RecordError::Unknown { field, value };
        let _ = Kind::try_from(envelope.kind).map_err(|_| unknown("kind", envelope.kind))?;
        let _ =
            Origin::try_from(envelope.origin).map_err(|_| unknown("origin", envelope.origin))?;
        Ok(envelope)
    }

    /// When it was received.
    #[must_use]
    pub fn received_at(&self) -> UnixNanos {
        UnixNanos(self.received_at_unix_nano)
    }
}

impl TryFrom<Kind> for super::otlp::Signal {
    type Error = ();

    fn try_from(kind: Kind) -> Result<Self, ()> {
        match kind {
            Kind::Traces => Ok(Self::Traces),
            Kind::Metrics => Ok(Self::Metrics),
            Kind::Logs => Ok(Self::Logs),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that an older build refuses newer data by name instead of misreading it.
    #[test]
    fn newer_records_are_refused() {
        let mut envelope =
            Envelope::new(Origin::Probe, Kind::Traces, UnixNanos(5), Bytes::from_static(b"x"));
        assert_eq!(Envelope::read(envelope.to_bytes()).expect("reads"), envelope);
        envelope.kind = 99;
        assert!(matches!(
            Envelope::read(envelope.to_bytes()),
            Err(RecordError::Unknown { field: "kind", value: 99 })
        ));
        envelope.version = VERSION + 1;
        assert!(matches!(Envelope::read(envelope.to_bytes()), Err(RecordError::Newer(2))));
    }
}
