//! Floor 10: YAML becomes each module's configuration; every problem at once, with file, line,
//! column and hint.
//!
//! Text is parsed into a low form that mirrors it (`tree`), read by a small typed reader
//! (`fields`, `scalar`, `template`) and resolved into [`Settings`], which are there only if
//! nothing is wrong. No input panics; files, aliases and nesting are bounded. Nothing here runs
//! anything, and nothing but `files` touches the disk.
//!
//! `probes`, `modules`, `networks`, `maintenance`, `slos`, `receivers`, `route` and `heartbeat` may stand in any file; the
//! settings of the process only in `radiosonde.yaml`. Keys that begin with `x-` are free, for anchors.

mod burn;
mod check;
mod cron;
mod daemon;
mod dns;
mod endpoint;
mod exec;
mod features;
mod fields;
mod files;
mod grpc;
mod http;
mod icmp;
mod ledger;
mod limits;
mod maintenance;
mod modules;
mod mqtt;
mod names;
mod network;
mod on_stream;
mod parse;
mod poll;
mod probe;
mod problem;
mod resilience;
mod routing;
mod scalar;
mod sections;
mod selector;
mod settings;
mod slo;
mod steps;
mod stream;
mod stun;
mod targets;
mod tcp;
mod template;
mod tls;
mod tree;
mod turn;
mod udp;
mod webrtc;
mod writes;

#[cfg(test)]
mod tests;

pub use files::Location;
pub use network::UnknownNetwork;
pub use problem::Problem;
pub use settings::{
    Daemon, HistoryLimits, JournalLimits, NamedSecret, OtlpExport, OtlpProtocol, Phones, Settings,
};
pub use targets::{ListedTargets, parse_targets};

use crate::model::objective::{Indicator, Slo, Source};
use fields::Context;
use files::Files;
use network::Networks;
use probe::Probes;
use problem::Problems;
use routing::Routing;
use sections::{SECTIONS, Sections};
use selector::Selectors;
use std::cell::Cell;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// Where a configuration comes from, and what the outside world adds to it.
pub struct Inputs<'a> {
    /// The files.
    pub sources: Sources<'a>,
    /// The environment, for `${env.X}`.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Whether redaction leaves an attribute of this name in what phones report, by its own list.
    pub attribute_is_kept: &'a dyn Fn(&str) -> bool,
    /// `--insecure`: the same as `insecure: true`.
    pub insecure: bool,
}

/// The files.
#[derive(Clone, Debug)]
pub enum Sources<'a> {
    /// On disk.
    Disk {
        /// `radiosonde.yaml`.
        config: Location,
        /// The folder of probes.
        probes: Location,
        /// The folder of SLOs, receivers and routes.
        alerts: Location,
    },
    /// In memory: names and texts. One called `radiosonde.yaml` may hold settings of the process.
    Memory(&'a [(&'a str, &'a str)]),
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration; there exactly if `problems` is empty.
    pub settings: Option<Settings>,
    /// Everything that is wrong, in the order of files and lines.
    pub problems: Vec<Problem>,
    /// Everything that is allowed but probably not meant.
    pub warnings: Vec<Problem>,
}

/// Reads and checks a whole configuration.
#[must_use]
pub fn load(inputs: &Inputs<'_>) -> Loaded {
    let problems = Problems::default();
    let mut files = Files::read(&inputs.sources, &problems);
    files.set_aside(&targets::patterns(&files), &problems);
    let cx = Context {
        problems,
        files: &files,
        is_whole: Cell::new(false),
        env: inputs.env,
        attribute_is_kept: inputs.attribute_is_kept,
    };
    let settings = resolve(&cx, inputs.insecure);
    let (problems, warnings) = cx.problems.finish(&files);
    let settings = settings.filter(|_| problems.is_empty());
    Loaded { settings, problems, warnings }
}

/// Reads a configuration that is built in: names and texts, without an environment.
#[must_use]
pub fn load_embedded(files: &[(&str, &str)], attribute_is_kept: &dyn Fn(&str) -> bool) -> Loaded {
    load(&Inputs {
        sources: Sources::Memory(files),
        env: &|_| None,
        attribute_is_kept,
        insecure: false,
    })
}

/// A complete `radiosonde.yaml` with a comment on every key.
#[must_use]
pub fn example() -> &'static str {
    include_str!("example.yaml")
}

fn resolve(cx: &Context<'_>, insecure: bool) -> Option<Settings> {
    let sections = Sections::gather(cx);
    cx.is_whole.set(cx.problems.count() == 0);
    let (daemon, mut phones) =
        daemon::read(cx, &sections.settings, sections.main, &SECTIONS, insecure);
    let access = modules::Access {
        allow: daemon.blackbox_allowed.clone(),
        is_local: daemon.listen.ip().is_loopback(),
        writes: daemon.writes_allowed.clone(),
    };
    let given = sections.modules.unwrap_or_else(|| modules::built_in(cx));
    let modules = modules::read(cx, &given, &access);
    let networks = Networks::read(cx, &sections.networks);
    let probes = Probes::read(cx, &sections.probes, &networks, &daemon);
    let selectors = Selectors { cx, probes: &probes, phones: &phones };
    let slos = slo::read(selectors, &sections.slos);
    let maintenance = maintenance::read(cx, &sections.maintenance, &probes);
    add_routes(&mut phones, &slos);
    let Routing { receivers, route, heartbeat } = Routing::read(
        cx,
        &sections.receivers,
        sections.route.as_deref(),
        sections.heartbeat.as_deref(),
    );
    let settings = Settings {
        daemon,
        probes: probes.specs,
        modules: Arc::new(modules),
        networks: networks.profiles(),
        maintenance,
        slos,
        receivers,
        route,
        heartbeat,
        phones,
        revision: 0,
        files: cx.files.watched(),
        folders: cx.files.folders(),
    };
    Some(Settings { revision: revision(&settings), ..settings })
}

/// The path that an SLO selects by is a path template too: SDKs name client spans by method alone.
fn add_routes(phones: &mut Phones, slos: &[Arc<Slo>]) {
    let sources = slos.iter().flat_map(|slo| match &slo.indicator {
        Indicator::Latency { source, .. } | Indicator::Availability { source, .. } => {
            vec![source]
        }
        Indicator::Ratio { bad, total } => vec![&bad.source, &total.source],
    });
    for source in sources {
        if let Source::Http { path, .. } = source
            && !phones.routes.contains(path)
        {
            phones.routes.push(path.clone());
        }
    }
}

/// The debug form shows everything that is resolved, and secrets as `<redacted>`.
fn revision(settings: &Settings) -> u64 {
    let Settings {
        daemon,
        probes,
        modules,
        maintenance,
        slos,
        receivers,
        route,
        heartbeat,
        phones,
        ..
    } = settings;
    let windows: Vec<_> = maintenance.iter().map(|one| one.definition()).collect();
    let content = (daemon, probes, modules, windows, slos, receivers, route, heartbeat, phones);
    xxh3_64(format!("{content:?}").as_bytes())
}
