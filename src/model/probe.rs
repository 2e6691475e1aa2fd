//! What a probe run found out.
//!
//! Made by `probe/`, carried as OTLP spans (`wire::probe_spans`), folded by `aggregate/`. All
//! durations are integer nanoseconds of the monotonic clock.

use super::attribute::Attribute;
use super::labels::Labels;
use crate::base::clock::UnixNanos;

/// The 16 random bytes that identify a run; also its trace id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct RunId(pub [u8; 16]);

/// One run of a probe, or a slot of its schedule in which there was none.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ProbeRun {
    /// The probe's name.
    pub probe: String,
    /// The probe's own labels.
    pub labels: Labels,
    /// This run's identity and trace id.
    pub id: RunId,
    /// When the schedule wanted it to start.
    pub intended_start: UnixNanos,
    /// How much later it did start.
    pub lateness_ns: u64,
    /// From the actual start to the end.
    pub duration_ns: u64,
    /// The measured value: for a message step the time from send to match (that of the last such
    /// step), otherwise the whole run. Absent when there is none (the run failed before).
    pub latency_ns: Option<u64>,
    /// How far the value may be too large through our own doing: the stalls of the probe runtime within
    /// the time in which it was measured. Start lateness is not part of it.
    pub uncertainty_ns: u64,
    /// What came of it.
    pub outcome: Outcome,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// The steps in the order in which they ran.
    pub steps: Vec<StepResult>,
}

/// What came of a slot of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Outcome {
    /// All steps and checks passed.
    #[default]
    Success,
    /// A step or check failed.
    Failure,
    /// The deadline passed.
    Timeout,
    /// Not run because the run before was still going: bad.
    Overlapped,
    /// Not run because we were stopped, suspended or overloaded: neither good nor bad.
    Missed,
}

/// Why a run failed: a reason from a closed set (it is a metric label) and words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The class.
    pub reason: FailureReason,
    /// What exactly, with the target's own words where it said any.
    pub message: String,
}

/// The closed set of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureReason {
    /// The name did not resolve.
    Resolve,
    /// No TCP connection.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The HTTP request or WebSocket upgrade failed on the wire.
    Protocol,
    /// An unexpected status.
    Status,
    /// A check on headers, body or message did not hold.
    Check,
    /// The expected message did not come within its budget, and not until the deadline either.
    Lost,
    /// The expected message came, but after its budget.
    Late,
    /// The peer closed the connection.
    Closed,
    /// The deadline of the run passed.
    Timeout,
    /// Our own machine's fault: no file descriptors, no ports, no permission. Never the target's.
    Local,
    /// The run before was still going.
    Overlapped,
    /// We did not run.
    Missed,
}

/// One step of a run.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct StepResult {
    /// Its name: `as:` of the definition, or its place, `1`.
    pub name: String,
    /// The block of the definition, `http`, `websocket` and so on; `expect` or `send` on a stream.
    pub protocol: String,
    /// Where to: URL without credentials and query.
    pub target: String,
    /// From the run's actual start to the step's.
    pub offset_ns: u64,
    /// How long it took.
    pub duration_ns: u64,
    /// Phases that were reached, in order; they do not overlap.
    pub phases: Vec<PhaseTiming>,
    /// Checks that were made.
    pub checks: Vec<CheckResult>,
    /// For message steps, from the send to the arrival of the match. The send is a message, or the
    /// request that opened the stream.
    pub message_latency_ns: Option<u64>,
    /// The status of the answer in the protocol's own numbers: of HTTP, of gRPC, a code of MQTT or DNS.
    pub status: Option<u16>,
    /// What else was found out about the target, in order: name and value, by the names of
    /// OpenTelemetry where it has one (`tls.protocol.version`). No metric is made of it.
    pub attributes: Vec<Attribute>,
    /// What came over the stream that this step opened, to the end of the run, as it came.
    pub messages: Messages,
    /// Why the step failed.
    pub failure: Option<Failure>,
    /// The span id under which the target saw this step.
    pub span_id: [u8; 8],
}

/// An enumeration whose variants say in words what they mean: the first sentence of their documentation,
/// so that whoever adds one need not say it twice.
macro_rules! meanings {
    ($(#[$outer:meta])* pub enum $type:ident { $($(#[doc = $words:literal])+ $variant:ident),+ $(,)? }) => {
        $(#[$outer])*
        pub enum $type { $($(#[doc = $words])+ $variant),+ }

        impl $type {
            /// What it means, as a sentence for people without its full stop.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                let words = match self { $(Self::$variant => concat!($($words),+)),+ };
                let words = words.trim();
                let sentence = words.split_once(". ").map_or(words, |(first, _)| first);
                sentence.trim_end_matches('.')
            }
        }
    };
}

/// The messages of a step's streams, first ones first.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Messages {
    /// When each of them came.
    pub stamps: Vec<MessageStamp>,
    /// How many more came, of which no stamp is kept.
    pub omitted: u64,
}

/// A message that came over a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageStamp {
    /// When the read returned that completed it, from the run's actual start.
    pub offset_ns: u64,
    /// Its length, without framing.
    pub size_bytes: u32,
    /// Which of the step's streams it came over, from 1; 0 where there is one alone.
    pub receiver: u32,
    /// A step was waiting for it, and took it.
    pub matched: bool,
}

meanings! {
/// The parts of talking to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Name to addresses.
    Resolve,
    /// TCP connection.
    Connect,
    /// TLS handshake.
    Tls,
    /// QUIC's handshake, in which TLS's is.
    Quic,
    /// Finding a way between two peers over UDP: WebRTC's ICE.
    Ice,
    /// WebRTC: from there until the data channel is open: DTLS, SCTP and the channel's greeting.
    Dtls,
    /// WebSocket upgrade.
    Upgrade,
    /// The protocol's own greeting, until it was accepted: CONNECT and CONNACK of MQTT.
    Handshake,
    /// Asking for messages, until that was confirmed.
    Subscribe,
    /// Writing the request.
    Send,
    /// From the request written to the first byte of the answer.
    Wait,
    /// From the first byte to the last.
    Receive,
    /// SSE: from the response headers to the first event.
    FirstEvent,
    /// Waiting for the matching message, from the message sent or the step's beginning. Absent
    /// when the message had come during an earlier phase; how long it took is the step's
    /// [`StepResult::message_latency_ns`] in any case.
    Message,
    /// Closing handshake.
    Close,
    /// From when a connection was taken away until a client noticed.
    Detect,
    /// Staying away before coming back.
    Backoff,
    /// Other ways that were tried in vain before the one that worked.
    Fallback,
    /// From coming back until a stream goes on where it was.
    Resume,
}
}

/// When a phase began and how long it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhaseTiming {
    /// Which.
    pub phase: Phase,
    /// From the run's actual start.
    pub offset_ns: u64,
    /// Its length.
    pub duration_ns: u64,
}

/// An assertion and whether it held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckResult {
    /// What was asserted: `status is 200`.
    pub name: String,
    /// Whether it held.
    pub passed: bool,
    /// What was found instead, cut to 200 characters.
    pub found: Option<String>,
}

/// Links each variant with its name in metrics, spans and JSON.
macro_rules! names {
    ($type:ident { $($variant:ident = $name:literal),+ $(,)? }) => {
        impl $type {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in metrics, spans and JSON.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The value of that name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}
pub(crate) use names;

names!(Outcome {
    Success = "success",
    Failure = "failure",
    Timeout = "timeout",
    Overlapped = "overlapped",
    Missed = "missed",
});
names!(FailureReason {
    Resolve = "resolve",
    Connect = "connect",
    Tls = "tls",
    Protocol = "protocol",
    Status = "status",
    Check = "check",
    Lost = "lost",
    Late = "late",
    Closed = "closed",
    Timeout = "timeout",
    Local = "local",
    Overlapped = "overlapped",
    Missed = "missed",
});
names!(Phase {
    Resolve = "resolve",
    Connect = "connect",
    Tls = "tls",
    Quic = "quic",
    Ice = "ice",
    Dtls = "dtls",
    Upgrade = "upgrade",
    Handshake = "handshake",
    Subscribe = "subscribe",
    Send = "send",
    Wait = "wait",
    Receive = "receive",
    FirstEvent = "first_event",
    Message = "message",
    Close = "close",
    Detect = "detect",
    Backoff = "backoff",
    Fallback = "fallback",
    Resume = "resume",
});

impl RunId {
    /// 32 lower-case hex digits, as in traceparent.
    #[must_use]
    pub fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl std::fmt::Debug for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl ProbeRun {
    /// The actual start.
    #[must_use]
    pub fn started(&self) -> UnixNanos {
        UnixNanos(self.intended_start.0.saturating_add(self.lateness_ns))
    }

    /// The end.
    #[must_use]
    pub fn ended(&self) -> UnixNanos {
        UnixNanos(self.started().0.saturating_add(self.duration_ns))
    }

    /// Whether the slot counts as a success.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.outcome == Outcome::Success
    }

    /// Whether the fault is our own machine's, so that the run says nothing about the target.
    #[must_use]
    pub fn is_local_fault(&self) -> bool {
        self.outcome == Outcome::Missed
            || self.failure.as_ref().is_some_and(|f| f.reason == FailureReason::Local)
    }

    /// The summed length of a phase over all steps; absent when no step reached it.
    #[must_use]
    pub fn phase_ns(&self, phase: Phase) -> Option<u64> {
        let mut lengths = self
            .steps
            .iter()
            .flat_map(|step| &step.phases)
            .filter(|timing| timing.phase == phase)
            .map(|timing| timing.duration_ns)
            .peekable();
        lengths.peek().is_some().then(|| lengths.sum())
    }
}
