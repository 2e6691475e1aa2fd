//! The high form: everything resolved, checked, and typed as its users want it.

use crate::base::secret::Secret;
use crate::model::objective::Slo;
use crate::model::routing::{Heartbeat, Receiver, Route};
use crate::probe::blackbox::Modules;
use crate::probe::guard::AllowedTarget;
use crate::probe::limits::Limit;
use crate::probe::maintenance::Maintenance;
use crate::probe::network::profile::Profile;
use crate::probe::spec::ProbeSpec;
use crate::probe::writes::WriteTarget;
use crate::telemetry::logs::LogFormat;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A name and the secret that goes with it: a header's, or a token's.
pub type NamedSecret = (String, Secret);

/// A whole configuration without mistakes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The process: listeners, storage, logs.
    pub daemon: Daemon,
    /// All probes, in the order of files.
    pub probes: Vec<Arc<ProbeSpec>>,
    /// How targets that requests name are probed.
    pub modules: Arc<Modules>,
    /// Networks beside the built-in ones, by name.
    pub networks: Vec<Profile>,
    /// When probes rest.
    pub maintenance: Vec<Arc<Maintenance>>,
    /// All SLOs, in the order of files.
    pub slos: Vec<Arc<Slo>>,
    /// All receivers, in the order of files.
    pub receivers: Vec<Receiver>,
    /// The route tree; without any receiver when nobody is to be told.
    pub route: Route,
    /// The dead-man's switch.
    pub heartbeat: Option<Heartbeat>,
    /// How to read what phones report.
    pub phones: Phones,
    /// A hash of all of the above, as far as it is used. The same meaning has the same revision, whatever the files
    /// look like; what is redacted does not enter it, so that it can be shown.
    pub revision: u64,
    /// Every file that was read, certificates included; empty for sources in memory.
    pub files: Vec<PathBuf>,
    /// Folders in which further files of targets may appear.
    pub folders: Vec<PathBuf>,
}

/// The process.
#[derive(Clone, Debug, PartialEq)]
pub struct Daemon {
    /// Page, API and /metrics.
    pub listen: SocketAddr,
    /// OTLP over gRPC.
    pub otlp_grpc: SocketAddr,
    /// OTLP over HTTP.
    pub otlp_http: SocketAddr,
    /// Where people reach the page, without a slash at the end; for links in notifications.
    pub external_url: Option<String>,
    /// Listeners off loopback may do without tokens.
    pub insecure: bool,
    /// Who may use the API; empty means everybody who reaches it.
    pub api_tokens: Vec<NamedSecret>,
    /// Who may send OTLP; empty means everybody who reaches it.
    pub otlp_tokens: Vec<NamedSecret>,
    /// The folder of journal, history and state.
    pub data: PathBuf,
    /// How much of the journal stays.
    pub journal: JournalLimits,
    /// How much history stays.
    pub history: HistoryLimits,
    /// Where our own telemetry and the probes' traces go.
    pub export: Option<OtlpExport>,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// Which log lines are written, in the syntax of `RUST_LOG`.
    pub log_level: String,
    /// Targets off loopback that probes may write to.
    pub writes_allowed: Vec<WriteTarget>,
    /// How hard probes may press their targets.
    pub limits: Vec<Limit>,
    /// Programs that probes may run, and folders of them.
    pub programs_allowed: Vec<PathBuf>,
    /// Targets that requests may have probed, where a list of them is given.
    pub blackbox_allowed: Option<Vec<AllowedTarget>>,
    /// How often the instrument's own error is measured; never without.
    pub calibration_every: Option<Duration>,
}

/// How much of the journal stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalLimits {
    /// What phones sent stays this long,
    pub bulk_keep: Duration,
    /// and no more of it than this.
    pub bulk_keep_bytes: u64,
    /// Probe runs and decisions stay this long.
    pub control_keep: Duration,
    /// A segment is closed at this size.
    pub segment_bytes: u64,
}

/// How much history stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Slots of 10 s stay this long.
    pub ten_seconds_keep: Duration,
    /// Slots of 1 min stay this long.
    pub one_minute_keep: Duration,
    /// All of history on disk.
    pub max_disk_bytes: u64,
}

/// A collector of the user's.
#[derive(Clone, Debug, PartialEq)]
pub struct OtlpExport {
    /// Its base address, `http://collector:4317`.
    pub endpoint: String,
    /// How to speak to it.
    pub protocol: OtlpProtocol,
    /// Extra headers.
    pub headers: Vec<NamedSecret>,
    /// Send the probes' traces.
    pub probes: bool,
    /// Send the daemon's own telemetry.
    pub own: bool,
}

/// How OTLP travels; the names are those of `OTEL_EXPORTER_OTLP_PROTOCOL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OtlpProtocol {
    /// `grpc`
    #[default]
    Grpc,
    /// `http/protobuf`
    HttpProtobuf,
}

/// How to read what phones report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phones {
    /// The attribute that tells where a phone is. It is kept by redaction.
    pub region_attribute: String,
    /// Path templates, `/rooms/{id}/messages`: those of the file and those that SLOs select by.
    pub routes: Vec<String>,
    /// Attributes that redaction keeps beyond its own list.
    pub keep_attributes: Vec<String>,
    /// Series of one app; more go into its overflow series.
    pub max_series_per_app: usize,
    /// Apps; more go into `other`.
    pub max_apps: usize,
    /// Attributes that become labels of series.
    pub labels: Vec<String>,
}

// === defaults ===

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

/// The loopback address with `port`.
const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

impl Default for Daemon {
    fn default() -> Self {
        Self {
            listen: loopback(7663),
            otlp_grpc: loopback(4317),
            otlp_http: loopback(4318),
            external_url: None,
            insecure: false,
            api_tokens: Vec::new(),
            otlp_tokens: Vec::new(),
            data: PathBuf::from("data"),
            journal: JournalLimits::default(),
            history: HistoryLimits::default(),
            export: None,
            log_format: LogFormat::default(),
            log_level: "info".to_owned(),
            writes_allowed: Vec::new(),
            limits: Vec::new(),
            programs_allowed: Vec::new(),
            blackbox_allowed: None,
            calibration_every: Some(Duration::from_secs(6 * 3_600)),
        }
    }
}

impl Default for JournalLimits {
    fn default() -> Self {
        Self {
            bulk_keep: days(1),
            bulk_keep_bytes: 8 << 30,
            control_keep: days(400),
            segment_bytes: 64 << 20,
        }
    }
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self {
            ten_seconds_keep: Duration::from_secs(12 * 3_600),
            one_minute_keep: days(2),
            max_disk_bytes: 16 << 30,
        }
    }
}

impl Default for Phones {
    fn default() -> Self {
        use crate::wire::semconv::{NETWORK_CONNECTION_TYPE, OS_NAME, SERVICE_VERSION};
        Self {
            region_attribute: "region".to_owned(),
            routes: Vec::new(),
            keep_attributes: Vec::new(),
            max_series_per_app: 2_000,
            max_apps: 100,
            labels: [SERVICE_VERSION, OS_NAME, NETWORK_CONNECTION_TYPE].map(str::to_owned).into(),
        }
    }
}
