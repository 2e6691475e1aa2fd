//! A probe: its name, its schedule, and what it does.
//!
//! ```yaml
//! probes:
//!   - name: chat-echo                # becomes the label probe="chat-echo"
//!     every: 10s                     # or cron: "*/5 * * * *" with tz: Europe/Berlin
//!     timeout: 5s                    # 10s or `every`, whichever is less, unless given
//!     overlap: allow                 # runs may overlap; then the timeout may exceed `every`
//!     labels: { region: eu-west }
//!     addresses: happy-eyeballs      # of a name, RFC 8305; each: an instance for each of them
//!     targets: [ … ]                 # an instance for each, `${target}` in its texts (see `targets`)
//!     network: lte                   # through an emulated network, see `network`
//!     websocket: { … }               # or http:, sse:, or steps: [ … ]
//!     cleanup: [ … ]                 # steps that run whatever happened (see `steps`)
//! ```

use super::cron::Cron;
use super::fields::{Context, Fields};
use super::names::nearest;
use super::network::Networks;
use super::scalar::{YEAR, quoted, written};
use super::settings::Daemon;
use super::steps::Steps;
use super::targets;
use super::tree::{Node, Place};
use crate::probe::spec::{Action, Cadence, HttpVersion, ProbeSpec, Step, Targets};
use crate::probe::writes::WriteTarget;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// A timeout unless one is given.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// No probe runs more often: it would be a load test.
const MIN_EVERY: Duration = Duration::from_millis(100);
/// No run takes longer.
const MAX_TIMEOUT: Duration = Duration::from_secs(600);

/// All probes, and what SLOs need to know of them.
#[derive(Debug, Default)]
pub(super) struct Probes {
    /// Those without mistakes.
    pub(super) specs: Vec<Arc<ProbeSpec>>,
    /// All that have a name, whatever else is wrong with them.
    pub(super) by_name: BTreeMap<String, Facts>,
}

/// What is known of a probe.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    at: Place,
    /// Between two runs, at most.
    pub(super) gap: Option<Duration>,
    /// A run takes no longer.
    pub(super) timeout: Option<Duration>,
}

// === impl Probes ===

impl Probes {
    /// Reads all probes of all files.
    pub(super) fn read(
        cx: &Context<'_>,
        nodes: &[Rc<Node>],
        networks: &Networks,
        daemon: &Daemon,
    ) -> Self {
        let mut probes = Self::default();
        let allowed: Arc<[WriteTarget]> = daemon.writes_allowed.as_slice().into();
        for node in nodes {
            let before = cx.problems.count();
            let read = cx.fields(node, "a probe", |fields| {
                let name = fields.need("name", "chat-echo").and_then(|n| cx.name(n, "name"));
                let at = fields.at("name");
                let schedule = schedule(fields);
                let timeout = timeout(fields, schedule.as_ref());
                if let Some(name) = &name {
                    probes.add(cx, name, at, schedule.as_ref(), timeout);
                }
                let labels = fields.get("labels").map(|node| cx.labels(node, "labels"));
                let network = fields.get("network").and_then(|node| networks.network(cx, node));
                if let (Some(network), Some(timeout)) = (&network, timeout) {
                    cx.warn_if_hasty(network, timeout, fields.at("network"));
                }
                let (addresses, targets) = targets::read(fields);
                let mut steps = Steps::new(cx, daemon, timeout);
                steps.scope.has_target = matches!(targets, Targets::Listed(_));
                let action = fields.exactly_one(&super::steps::with("steps"));
                let done = match action {
                    Some(("steps", node)) => steps.list(node),
                    Some((key, node)) => steps.block(key, node),
                    None => Vec::new(),
                };
                let cleanup = fields.get("cleanup").map(|node| steps.cleanup(node));
                if network.is_some() {
                    let all = || done.iter().chain(cleanup.iter().flatten());
                    refuse_unshaped(fields, all());
                    refuse_quic(fields, all());
                }
                let spec = ProbeSpec {
                    name: name?,
                    cadence: schedule?.cadence,
                    timeout: timeout?,
                    overlap: may_overlap(fields),
                    labels: labels.unwrap_or_default(),
                    steps: done,
                    cleanup: cleanup.unwrap_or_default(),
                    addresses,
                    targets,
                    writes: Arc::clone(&allowed),
                    network: network.map(Arc::new),
                };
                if cx.problems.count() == before {
                    targets::check(fields, &spec);
                }
                Some(spec)
            });
            let spec = read.flatten().filter(|_| cx.problems.count() == before);
            probes.specs.extend(spec.map(Arc::new));
        }
        probes
    }

    fn add(
        &mut self,
        cx: &Context<'_>,
        name: &str,
        at: Place,
        schedule: Option<&Schedule>,
        timeout: Option<Duration>,
    ) {
        if let Some(other) = self.by_name.get(name) {
            let message = format!("there are two probes `{name}`");
            let hint = format!("the other is at {}", cx.files.display(other.at));
            cx.problems.wrong_hint(at, message, hint);
        } else {
            let facts = Facts { at, gap: schedule.map(|s| s.gap), timeout };
            let _ = self.by_name.insert(name.to_owned(), facts);
        }
    }
}

/// What our own TCP and UDP sockets carry goes through the emulated network, nothing else.
fn refuse_unshaped<'s>(fields: &Fields<'_>, mut steps: impl Iterator<Item = &'s Step>) {
    if let Some(step) = steps.find(|step| !step.action.goes_through_networks() && !is_quic(step)) {
        let message = format!("`{}` does not go through an emulated network", step.action.block());
        let hint = match step.action {
            Action::WebRtc(_) => {
                "its datagrams go to whatever addresses a peer names: remove network"
            }
            _ => "only what goes over TCP and UDP does: remove network",
        };
        fields.cx.problems.wrong_hint(fields.at("network"), message, hint);
    }
}

/// The connections of HTTP/3 do not go through the emulated network.
fn refuse_quic<'s>(fields: &Fields<'_>, mut steps: impl Iterator<Item = &'s Step>) {
    if steps.any(is_quic) {
        let message = "HTTP/3 does not go through an emulated network";
        let hint = "remove network, or use version: 2";
        fields.cx.problems.wrong_hint(fields.at("network"), message, hint);
    }
}

fn is_quic(step: &Step) -> bool {
    matches!(&step.action, Action::Http(http) if http.version == HttpVersion::Http3)
}

struct Schedule {
    cadence: Cadence,
    /// Between two runs, at most.
    gap: Duration,
}

/// `every`, or `cron` with `tz`.
fn schedule(fields: &mut Fields<'_>) -> Option<Schedule> {
    let cx = fields.cx;
    let zone = fields.get("tz").map(|node| zone(cx, node));
    match fields.exactly_one(&["every", "cron"])? {
        ("every", node) => {
            let every = cx.duration(node, "every", MIN_EVERY..=YEAR)?;
            if zone.is_some() {
                let message = "`tz` belongs to `cron`: `every` knows no time of day";
                cx.problems.wrong_hint(fields.at("tz"), message, "remove it");
            }
            Some(Schedule { cadence: Cadence::Every(every), gap: every })
        }
        (_, node) => {
            let (expression, gap) = cron(cx, node)?;
            let zone = zone.unwrap_or(Some(chrono_tz::UTC))?;
            Some(Schedule { cadence: Cadence::Cron { expression, zone }, gap })
        }
    }
}

/// A cron expression that comes at all, and the longest time between two comings.
pub(super) fn cron(cx: &Context<'_>, node: &Node) -> Option<(String, Duration)> {
    let text = cx.text(node, "cron")?;
    let hint = if text.starts_with('@') {
        "write the fields, or every: 1h".to_owned()
    } else {
        "minute, hour, day of the month, month, day of the week; seconds may come first".to_owned()
    };
    match Cron::parse(text).map(|cron| cron.longest_gap()) {
        Ok(Some(gap)) => Some((text.to_owned(), gap)),
        Ok(None) => {
            cx.problems.wrong(node.at, format!("`{}` never comes", quoted(text)));
            None
        }
        Err(message) => {
            cx.problems.wrong_hint(node.at, message, hint);
            None
        }
    }
}

/// A time zone.
pub(super) fn zone(cx: &Context<'_>, node: &Node) -> Option<chrono_tz::Tz> {
    let text = cx.text(node, "tz")?;
    let zone = text.parse::<chrono_tz::Tz>().ok();
    if zone.is_none() {
        let near = nearest(text, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()));
        let hint = match near {
            Some(near) => format!("did you mean {near}?"),
            None => "use a name of the tz database, for example Europe/Berlin".to_owned(),
        };
        let message = format!("there is no time zone `{}`", quoted(text));
        cx.problems.wrong_hint(node.at, message, hint);
    }
    zone
}

/// The timeout, given or by default; within the interval unless runs may overlap.
fn timeout(fields: &mut Fields<'_>, schedule: Option<&Schedule>) -> Option<Duration> {
    let overlap = may_overlap(fields);
    let every = schedule.and_then(|schedule| match schedule.cadence {
        Cadence::Every(every) => Some(every),
        Cadence::Cron { .. } => None,
    });
    if !fields.has("timeout") {
        return Some(every.map_or(DEFAULT_TIMEOUT, |every| every.min(DEFAULT_TIMEOUT)));
    }
    let timeout = fields.duration("timeout", Duration::from_millis(1)..=MAX_TIMEOUT)?;
    if let Some(every) = every.filter(|every| timeout > *every && !overlap) {
        let message = format!("the timeout is longer than every: {}", written(every));
        let hint = "shorten it, or let runs overlap with overlap: allow";
        fields.cx.problems.wrong_hint(fields.at("timeout"), message, hint);
    }
    Some(timeout)
}

/// Asked for twice; a wrong value is reported once, since problems are kept once.
fn may_overlap(fields: &mut Fields<'_>) -> bool {
    let cx = fields.cx;
    let choices = [("allow", true), ("skip", false)];
    fields.get("overlap").and_then(|node| cx.choice(node, "overlap", &choices)).unwrap_or(false)
}
