//! Attribute names of the OpenTelemetry semantic conventions that we read or write, and our own.

/// The application: `service.name`.
pub const SERVICE_NAME: &str = "service.name";
/// Its version.
pub const SERVICE_VERSION: &str = "service.version";
/// One running copy of it.
pub const SERVICE_INSTANCE_ID: &str = "service.instance.id";
/// The installation on a phone; identity, never a label.
pub const APP_INSTALLATION_ID: &str = "app.installation.id";
/// `Android`, `iOS`.
pub const OS_NAME: &str = "os.name";
/// `wifi`, `cell`, `unavailable`.
pub const NETWORK_CONNECTION_TYPE: &str = "network.connection.type";
/// The session; identity, never a label.
pub const SESSION_ID: &str = "session.id";
/// Request method, upper case.
pub const HTTP_REQUEST_METHOD: &str = "http.request.method";
/// Answer's status.
pub const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";
/// Status of a gRPC call, a number.
pub const RPC_GRPC_STATUS_CODE: &str = "rpc.grpc.status_code";
/// Server's template of the path.
pub const HTTP_ROUTE: &str = "http.route";
/// Client's template of the path.
pub const URL_TEMPLATE: &str = "url.template";
/// The whole URL.
pub const URL_FULL: &str = "url.full";
/// The URL's path.
pub const URL_PATH: &str = "url.path";
/// Host.
pub const SERVER_ADDRESS: &str = "server.address";
/// Port.
pub const SERVER_PORT: &str = "server.port";
/// What kind of error.
pub const ERROR_TYPE: &str = "error.type";
/// `test` on everything that we send ourselves.
pub const SYNTHETIC_TYPE: &str = "user_agent.synthetic.type";

/// The old key of [`HTTP_REQUEST_METHOD`].
pub const OLD_HTTP_METHOD: &str = "http.method";
/// The old key of [`HTTP_RESPONSE_STATUS_CODE`].
pub const OLD_HTTP_STATUS_CODE: &str = "http.status_code";
/// The old key of [`URL_FULL`].
pub const OLD_HTTP_URL: &str = "http.url";
/// The old key of [`URL_PATH`] with its query.
pub const OLD_HTTP_TARGET: &str = "http.target";
/// The old key of [`SERVER_ADDRESS`].
pub const OLD_NET_PEER_NAME: &str = "net.peer.name";

/// Our own attributes on spans of probe runs.
pub mod probe {
    /// Everything of ours begins with it.
    pub const PREFIX: &str = "radiosonde.";
    /// Name of the probe.
    pub const NAME: &str = "radiosonde.probe.name";
    /// What came of the slot.
    pub const OUTCOME: &str = "radiosonde.probe.outcome";
    /// Class of failure.
    pub const FAILURE_REASON: &str = "radiosonde.probe.failure.reason";
    /// Words on the failure.
    pub const FAILURE_MESSAGE: &str = "radiosonde.probe.failure.message";
    /// When the schedule wanted the start, Unix nanoseconds.
    pub const INTENDED_START: &str = "radiosonde.probe.intended_start_unix_nano";
    /// The measured value, nanoseconds.
    pub const LATENCY: &str = "radiosonde.probe.latency_ns";
    /// How far it may be too large, nanoseconds.
    pub const UNCERTAINTY: &str = "radiosonde.probe.uncertainty_ns";
    /// Prefix of the probe's own labels.
    pub const LABEL_PREFIX: &str = "radiosonde.probe.label.";
    /// Name of a step.
    pub const STEP: &str = "radiosonde.step.name";
    /// Protocol of a step.
    pub const STEP_PROTOCOL: &str = "radiosonde.step.protocol";
    /// Target of a step.
    pub const STEP_TARGET: &str = "radiosonde.step.target";
    /// Status of a step, where its protocol has no key of its own.
    pub const STEP_STATUS: &str = "radiosonde.step.status";
    /// From send to match, nanoseconds.
    pub const STEP_MESSAGE_LATENCY: &str = "radiosonde.step.message_latency_ns";
    /// How many messages came of which there is no event.
    pub const STEP_MESSAGES_OMITTED: &str = "radiosonde.step.messages_omitted";
    /// Name of a phase.
    pub const PHASE: &str = "radiosonde.phase";
    /// Event of a check.
    pub const CHECK_EVENT: &str = "radiosonde.check";
    /// What was asserted.
    pub const CHECK_NAME: &str = "radiosonde.check.name";
    /// Whether it held.
    pub const CHECK_PASSED: &str = "radiosonde.check.passed";
    /// What was found instead.
    pub const CHECK_FOUND: &str = "radiosonde.check.found";
    /// Event of a message that came over a step's stream.
    pub const MESSAGE_EVENT: &str = "radiosonde.message";
    /// Its length, without framing.
    pub const MESSAGE_SIZE: &str = "radiosonde.message.size_bytes";
    /// Which of the step's streams it came over, from 1.
    pub const MESSAGE_RECEIVER: &str = "radiosonde.message.receiver";
    /// A step was waiting for it.
    pub const MESSAGE_MATCHED: &str = "radiosonde.message.matched";
}
