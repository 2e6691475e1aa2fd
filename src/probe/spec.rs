//! What a probe does: the definition that `config/` makes from `probes/*.yaml`.
//!
//! Texts may hold templates, `${run.id}`, `${target}` and captured `${step.name}` values, filled in at each run
//! (`template`). Everything else is resolved: durations, regular expressions, JSON.

pub use super::addresses::Dialling;
pub use super::awaited::ExpectText;
pub use super::certificate::NameCheck;
pub use super::fallback::FallbackStep;
use super::grpc::GrpcStep;
pub use super::heartbeat::{Heartbeat, HeartbeatStep};
pub use super::held::Hold;
pub use super::instances::{Found, Listed, TargetService, Targets};
use super::ledger::LedgerStep;
pub use super::link::Cut;
pub use super::mqtt::{MqttPublish, MqttStep, MqttVersion, Qos};
use super::network::Network;
pub use super::outage::{DropBy, DropStep};
pub use super::poll::{Cursor as PollCursor, PollStep};
pub use super::reconnect::ReconnectStep;
pub use super::stun::StunStep;
pub use super::tcp::{TcpStep, Turn};
pub use super::tls_handshake::{TlsStep, TlsVersion};
pub use super::turn::{TurnCredentials, TurnStep};
pub use super::udp::UdpStep;
pub use super::webrtc::WebRtcStep;
pub use super::websocket::{BinaryText, Deflate};
use super::writes::WriteTarget;
use crate::base::secret::Secret;
use crate::model::labels::Labels;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// A probe.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeSpec {
    /// Unique; the label `probe`.
    pub name: String,
    /// When it runs.
    pub cadence: Cadence,
    /// The deadline of a whole run.
    pub timeout: Duration,
    /// Whether a run may start while the one before is still going.
    pub overlap: bool,
    /// Labels of all its series.
    pub labels: Labels,
    /// What it does, in order. Streams that steps open stay open to the end of the run.
    pub steps: Vec<Step>,
    /// Steps that run at the end, whatever happened, within their own `CLEANUP_TIMEOUT`.
    pub cleanup: Vec<Step>,
    /// Which of a name's addresses it talks to.
    pub addresses: Dialling,
    /// What it has instances for, or what it is an instance for.
    pub targets: Targets,
    /// Where it may write to, besides loopback; asked before each write.
    pub writes: Arc<[WriteTarget]>,
    /// The emulated network through which it runs; otherwise it runs over the machine's own.
    pub network: Option<Arc<Network>>,
}

/// When a probe runs.
#[derive(Clone, Debug, PartialEq)]
pub enum Cadence {
    /// At start + k × interval, from an offset that the name's hash decides.
    Every(Duration),
    /// By a cron expression.
    Cron {
        /// Five or six fields, Sunday 0 or 7, as the user wrote it.
        expression: String,
        /// In this zone.
        zone: chrono_tz::Tz,
    },
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// `as:`, by which later steps refer to it; otherwise its place, from `1`.
    pub name: String,
    /// What it does.
    pub action: Action,
    /// How often it opens its stream: so many receivers of one message. 1 for every other step.
    pub count: u32,
    /// Its stream stays open between runs, watched; otherwise each run opens it anew.
    pub hold: Option<Hold>,
    /// Values that later steps may use as `${name}`: variable name and JSON pointer into the
    /// response body or the matched message.
    pub capture: Vec<(String, String)>,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// One request and its answer.
    Http(HttpStep),
    /// Opens a WebSocket; may send, may expect.
    WebSocket(WebSocketStep),
    /// Opens an event stream; may expect.
    Sse(SseStep),
    /// Asks again and again for what is new; may expect.
    Poll(PollStep),
    /// One question to a DNS server.
    Dns(super::dns::DnsStep),
    /// Echoes to a host.
    Icmp(super::icmp::IcmpStep),
    /// A program of the user's.
    Exec(super::exec::ExecStep),
    /// Connects over TCP; may send, may expect.
    Tcp(TcpStep),
    /// Makes a TLS handshake; may check the certificates.
    Tls(TlsStep),
    /// Sends a datagram and waits for one.
    Udp(UdpStep),
    /// Sends a STUN binding request.
    Stun(StunStep),
    /// Allocates a relayed address at a TURN server; may send through it.
    Turn(TurnStep),
    /// One gRPC call and its answer, or a stream of answers.
    Grpc(GrpcStep),
    /// Connects to an MQTT server; may subscribe, publish, expect.
    Mqtt(MqttStep),
    /// Opens a WebRTC data channel; may send, may expect.
    WebRtc(WebRtcStep),
    /// Waits for a message on a stream that an earlier step opened.
    Expect {
        /// The steps that opened it; of more than one stream, each must get the message.
        on: Vec<String>,
        /// What to wait for.
        expect: Expect,
    },
    /// Sends a message on a stream that an earlier step opened.
    Send {
        /// The step that opened it.
        on: String,
        /// The text; `${run.sequence}` in it is the number of the message, from 1.
        send: String,
        /// How often.
        repeat: Repeat,
    },
    /// Keeps books on the numbered messages of a stream that an earlier step opened.
    Ledger {
        /// The step that opened it.
        on: String,
        /// The books.
        ledger: LedgerStep,
    },
    /// Watches a stream that an earlier step opened for signs of life.
    Heartbeat {
        /// The step that opened it.
        on: String,
        /// How, and for how long.
        heartbeat: HeartbeatStep,
    },
    /// Takes the connection of a stream away that an earlier step opened, and notices.
    Drop {
        /// The step that opened it.
        on: String,
        /// How.
        drop: DropStep,
    },
    /// Opens a stream again that was dropped, and takes it up where it was.
    Reconnect {
        /// The step that opened it.
        on: String,
        /// How.
        reconnect: Box<ReconnectStep>,
    },
    /// Opens a stream in the first of several ways that works.
    Fallback(FallbackStep),
}

/// How often a message is sent: from the step's start on, one each `gap`, however long a write takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// How many messages.
    pub count: u32,
    /// From one to the next; those that are due are sent at once.
    pub gap: Duration,
}

/// An HTTP request and what its answer must be.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpStep {
    /// Upper case.
    pub method: String,
    /// Where to.
    pub url: String,
    /// Request headers.
    pub headers: Vec<(String, HeaderText)>,
    /// Request body.
    pub body: Option<String>,
    /// Which version to speak.
    pub version: HttpVersion,
    /// Statuses that pass; empty means 200–299.
    pub status: Vec<StatusRange>,
    /// Header checks.
    pub header_checks: Vec<HeaderCheck>,
    /// Body checks.
    pub body_checks: Vec<BodyCheck>,
    /// Checks on how the answer comes.
    pub flow_checks: FlowChecks,
    /// How many redirects to follow; none unless asked.
    pub max_redirects: u8,
    /// TLS of the connection.
    pub tls: TlsOptions,
}

/// A header's value: plain or secret.
#[derive(Clone, Debug, PartialEq)]
pub enum HeaderText {
    /// May be shown.
    Plain(String),
    /// Contains a secret.
    Secret(Secret),
}

/// The HTTP version of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum HttpVersion {
    /// HTTP/2 where TLS offers it, otherwise 1.1.
    #[default]
    Auto,
    /// 1.1 only.
    Http1,
    /// 2 only: over TLS by ALPN, in the clear with prior knowledge.
    Http2,
    /// 3 only, over QUIC.
    Http3,
}

/// Statuses from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange {
    /// The lowest.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

/// What a header must be.
#[derive(Clone, Debug, PartialEq)]
pub struct HeaderCheck {
    /// Lower case.
    pub name: String,
    /// What its value must be.
    pub text: TextCheck,
}

/// What a text must be.
#[derive(Clone, Debug)]
pub enum TextCheck {
    /// Equal, after filling in templates.
    Equals(String),
    /// Contains, after filling in templates.
    Contains(String),
    /// Matches.
    Matches(regex::Regex),
}

/// What a body must be.
#[derive(Clone, Debug, PartialEq)]
pub enum BodyCheck {
    /// Its text.
    Text(TextCheck),
    /// Contains this JSON (see [`Expect::json`]).
    Json(Arc<serde_json::Value>),
    /// Not longer than this many bytes.
    MaxBytes(u64),
}

/// How an answer must come, for those that stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FlowChecks {
    /// From the request to the first byte of the answer, at most.
    pub first_byte_within: Option<Duration>,
    /// From one part of the answer to the next, its beginning and end included, at most.
    pub max_gap: Option<Duration>,
    /// In so many chunks, at least; what one read brings is one.
    pub min_chunks: Option<u64>,
}

/// Certificates and names.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct TlsOptions {
    /// PEM of certificate authorities to trust instead of the system's.
    pub ca_pem: Option<Arc<str>>,
    /// The name to verify and send as SNI, instead of the URL's host.
    pub server_name: Option<String>,
    /// Accept any certificate.
    pub insecure_skip_verify: bool,
}

/// Opens a WebSocket.
#[derive(Clone, Debug, PartialEq)]
pub struct WebSocketStep {
    /// `ws://` or `wss://`.
    pub url: String,
    /// Headers of the upgrade.
    pub headers: Vec<(String, HeaderText)>,
    /// Subprotocols offered, of which the server must choose one.
    pub subprotocols: Vec<String>,
    /// The one of them that the server must choose; any unless given.
    pub chosen_subprotocol: Option<String>,
    /// What is offered of permessage-deflate; without it nothing is compressed.
    pub compression: Option<Deflate>,
    /// What is sent over the stream stands for data, and goes in binary messages.
    pub binary: Option<BinaryText>,
    /// Messages are sent in fragments of so many bytes.
    pub fragment: Option<NonZeroU32>,
    /// A message to send once open.
    pub send: Option<String>,
    /// Send a ping and wait for its pong; the round trip is the value when nothing is expected.
    pub ping: bool,
    /// A message to wait for.
    pub expect: Option<Expect>,
    /// While waiting, no gap between messages may be longer.
    pub max_gap: Option<Duration>,
    /// The close code with which the server must end the stream, when it must.
    pub close_code: Option<u16>,
    /// TLS of the connection.
    pub tls: TlsOptions,
}

/// Opens an event stream.
#[derive(Clone, Debug, PartialEq)]
pub struct SseStep {
    /// `http://` or `https://`.
    pub url: String,
    /// Request headers.
    pub headers: Vec<(String, HeaderText)>,
    /// The id of the event after which the server is to go on.
    pub last_event_id: Option<String>,
    /// The first event must come within this.
    pub first_event_within: Option<Duration>,
    /// An event to wait for.
    pub expect: Option<Expect>,
    /// While waiting, no gap between events may be longer; comments are none.
    pub max_gap: Option<Duration>,
    /// Where an event says when it was sent, in milliseconds since 1970: a JSON pointer into its
    /// data. Otherwise only what the run itself sent tells when events were sent.
    pub sent_at: Option<String>,
    /// Whether events that were sent apart and come at once are a failure.
    pub refuse_buffering: bool,
    /// TLS of the connection.
    pub tls: TlsOptions,
}

/// A message to wait for; others are ignored.
#[derive(Clone, Debug, PartialEq)]
pub struct Expect {
    /// The message must be JSON and contain this: objects by key, arrays element by element,
    /// scalars equal. Strings may hold templates.
    pub json: Option<Arc<serde_json::Value>>,
    /// The message's text.
    pub text: Option<TextCheck>,
    /// SSE: the event's type. MQTT: the topic.
    pub event: Option<String>,
    /// The budget. Later is a failure, told apart from never.
    pub within: Option<Duration>,
    /// The step from whose sending the budget and the value count. Unless given, they count from
    /// what its own step sends; where that sends nothing, from what the run last sent over the
    /// stream before the message arrived. A stream's first sending is the request that opens it.
    pub since: Option<String>,
}

impl PartialEq for TextCheck {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Equals(a), Self::Equals(b)) | (Self::Contains(a), Self::Contains(b)) => a == b,
            (Self::Matches(a), Self::Matches(b)) => a.as_str() == b.as_str(),
            _ => false,
        }
    }
}

impl Repeat {
    /// One message.
    pub const ONCE: Self = Self { count: 1, gap: Duration::ZERO };
}

impl Action {
    /// The block of the definition, or what is done on a stream.
    #[must_use]
    pub const fn block(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::WebSocket(_) => "websocket",
            Self::Sse(_) => "sse",
            Self::Poll(_) => "poll",
            Self::Dns(_) => "dns",
            Self::Icmp(_) => "icmp",
            Self::Exec(_) => "exec",
            Self::Tcp(_) => "tcp",
            Self::Tls(_) => "tls",
            Self::Udp(_) => "udp",
            Self::Stun(_) => "stun",
            Self::Turn(_) => "turn",
            Self::Grpc(_) => "grpc",
            Self::Mqtt(_) => "mqtt",
            Self::WebRtc(_) => "webrtc",
            Self::Expect { .. } => "expect",
            Self::Send { .. } => "send",
            Self::Ledger { .. } => "ledger",
            Self::Heartbeat { .. } => "heartbeat",
            Self::Drop { .. } => "drop",
            Self::Reconnect { .. } => "reconnect",
            Self::Fallback(_) => "fallback",
        }
    }

    /// Whether all that it sends and receives goes through an emulated network, where the probe has one.
    #[must_use]
    pub const fn goes_through_networks(&self) -> bool {
        match self {
            Self::Http(http) => !matches!(http.version, HttpVersion::Http3),
            other => !matches!(other, Self::Icmp(_) | Self::Exec(_) | Self::WebRtc(_)),
        }
    }

    /// Whether it opens a stream that stays open for later steps.
    #[must_use]
    pub const fn opens_stream(&self) -> bool {
        matches!(
            self,
            Self::WebSocket(_)
                | Self::Sse(_)
                | Self::Poll(_)
                | Self::Mqtt(_)
                | Self::WebRtc(_)
                | Self::Fallback(_)
        )
    }
}

impl HeaderText {
    /// The text to send.
    #[must_use]
    pub fn reveal(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Secret(secret) => secret.reveal(),
        }
    }
}
