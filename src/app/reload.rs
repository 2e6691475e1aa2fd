//! One configuration in force, replaced whole or not at all.

use super::daemon::Running;
use super::engine::Engine;
use super::recount::Recount;
use crate::aggregate::{PhoneSettings, Rules};
use crate::alert::Policy;
use crate::api::Failed;
use crate::api::page::view::{ChangeKind, ChangeView, ConfigProblem};
use crate::base::error::Chain;
use crate::config::{Daemon, Loaded, Problem, Settings};
use crate::export::Operation;
use crate::probe::longest_interval;
use crate::probe::maintenance::Maintenance;
use crate::probe::spec::ProbeSpec;
use crate::wire::record::{ConfigurationRecord, Envelope, Kind};
use std::path::PathBuf;
use std::sync::Arc;

/// Where a configuration is read from, again and again.
#[derive(Clone)]
pub struct Source {
    /// Reads all of it.
    pub load: Arc<dyn Fn() -> Loaded + Send + Sync>,
    /// Folders in which further files may appear; they are watched.
    pub folders: Vec<PathBuf>,
}

/// The alerting half of settings.
#[must_use]
pub fn policy(settings: &Settings, now: crate::base::clock::UnixNanos) -> Policy {
    let page = format!("http://{}", settings.daemon.listen);
    Policy {
        slos: settings.slos.clone(),
        receivers: settings.receivers.clone(),
        route: settings.route.clone(),
        heartbeat: settings.heartbeat.clone(),
        probe_intervals: settings
            .probes
            .iter()
            .map(|p| (p.name.clone(), longest_interval(&p.name, &p.cadence, now)))
            .collect(),
        maintenance: settings.probes.iter().filter_map(|probe| resting(settings, probe)).collect(),
        external_url: settings.daemon.external_url.clone().unwrap_or(page),
    }
}

/// What keeps a probe from running, where something does.
fn resting(settings: &Settings, probe: &ProbeSpec) -> Option<(String, Vec<Arc<Maintenance>>)> {
    let concerns = |one: &&Arc<Maintenance>| one.concerns(&probe.name, &probe.labels);
    let all: Vec<_> = settings.maintenance.iter().filter(concerns).cloned().collect();
    (!all.is_empty()).then(|| (probe.name.clone(), all))
}

/// The folding half of settings.
#[must_use]
pub fn rules(settings: &Settings) -> Rules {
    Rules::new(&settings.slos, phones(settings))
}

/// How phones are read.
fn phones(settings: &Settings) -> PhoneSettings {
    PhoneSettings {
        region_attribute: settings.phones.region_attribute.clone(),
        routes: settings.phones.routes.clone(),
        labels: settings.phones.labels.clone(),
        max_series_per_app: settings.phones.max_series_per_app,
        max_apps: settings.phones.max_apps,
    }
}

/// What redaction keeps beyond its own list: the attributes named for it, and the region.
#[must_use]
pub fn kept_attributes(settings: &Settings) -> Vec<String> {
    let phones = &settings.phones;
    let mut kept = phones.keep_attributes.clone();
    kept.push(phones.region_attribute.clone());
    kept
}

/// Reads the configuration anew. A wrong one changes nothing and is shown.
///
/// # Errors
/// With every problem, when it is refused.
pub async fn reload(running: &Running) -> Result<(), Failed> {
    let _turn = running.reloading.lock().await;
    let engine = &running.engine;
    let (now, started) = (engine.clock.now(), engine.clock.monotonic());
    let load = Arc::clone(&running.source.load);
    let loading = tokio::task::spawn_blocking(move || load()).await;
    let loaded = loading.map_err(|_| Failed::Refused("the daemon is ending".to_owned()))?;
    let telemetry = &engine.telemetry;
    let Some(settings) = loaded.settings else {
        let problems: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
        telemetry.config_last_reload_successful.set(0);
        tracing::error!(
            problems = problems.len(),
            first = problems.first(),
            "the configuration is refused"
        );
        let words = problems.join("\n");
        running.refuse(ConfigProblem { since: now, problems }, now);
        let took = engine.clock.monotonic().since(started);
        engine.own_spans.record(Operation::Reload, now, took, Some("refused"), &[]);
        return Err(Failed::Invalid(words));
    };
    tell_doubts(running, &loaded.warnings);
    let revision = settings.revision;
    let news = apply(running, settings).await;
    telemetry.configured(revision, now.as_seconds());
    running.accept(news.map(|text| ChangeView {
        at: now,
        kind: ChangeKind::Reload,
        text,
        link: None,
    }));
    let took = engine.clock.monotonic().since(started);
    engine.own_spans.record(Operation::Reload, now, took, None, &[]);
    Ok(())
}

/// Logs what is allowed and probably not meant, when it is something else than before. What the start found
/// was told then, and the first reload finds the same.
fn tell_doubts(running: &Running, warnings: &[Problem]) {
    let doubts: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    let before = running.doubts.lock().replace(doubts.clone());
    if let Some(first) = doubts.first().filter(|_| before.is_some_and(|before| before != doubts)) {
        let warnings = doubts.len();
        tracing::warn!(warnings, first, "something in the configuration is probably not meant");
    }
}

/// Puts settings into force. Returns what is new about them, in words; none when nothing is.
async fn apply(running: &Running, settings: Settings) -> Option<String> {
    let before = Arc::clone(&running.settings.read());
    let waiting = waits_for_restart(&running.started_with, &settings);
    let waited = waits_for_restart(&running.started_with, &before);
    let mut news = Vec::new();
    running.blackbox.replace(Arc::clone(&settings.modules));
    if settings.revision == before.revision {
        // Secrets do not enter the revision: those may have changed.
        schedule(running, &settings);
        running.courier.replace_receivers(settings.receivers.clone());
        *running.settings.write() = Arc::new(settings);
    } else {
        put_into_force(running, settings).await;
        tracing::info!("a new configuration is in force");
        news.push("a new configuration is in force".to_owned());
    }
    if waiting != waited {
        let words = match waiting.as_slice() {
            [] => "nothing waits for a restart any more".to_owned(),
            waiting => format!("waiting for a restart: {}", waiting.join(", ")),
        };
        tracing::warn!("{words}");
        news.push(words);
    }
    (!news.is_empty()).then(|| news.join("; "))
}

async fn put_into_force(running: &Running, settings: Settings) {
    let engine = &running.engine;
    let now = engine.clock.now();
    let policy = Arc::new(policy(&settings, now));
    running.courier.replace_receivers(settings.receivers.clone());
    let recount = {
        let mut core = engine.core.write();
        let new = core.configure(policy, Arc::new(rules(&settings)), now);
        Recount::new(new, &settings, &core)
    };
    recount.start(engine, &running.deciders);
    running.context.limits.replace(settings.daemon.limits.clone());
    running.context.maintenance.replace(settings.maintenance.clone());
    schedule(running, &settings);
    journal_revision(engine, &settings).await;
    *running.settings.write() = Arc::new(settings);
    engine.evaluate.notify_one();
}

/// Gives the scheduler all instances of all probes.
fn schedule(running: &Running, settings: &Settings) {
    let instances = running.discovery.follow(&settings.probes);
    if let Err(error) = running.scheduler.replace(instances) {
        tracing::error!(error = %Chain(&error), "some probes cannot be scheduled");
    }
}

/// Journals which configuration holds from here on.
pub async fn journal_revision(engine: &Engine, settings: &Settings) {
    let now = engine.clock.now();
    let record = ConfigurationRecord {
        revision: settings.revision,
        at_unix_nano: now.0,
        indicators: settings.slos.iter().map(|slo| slo.indicator.canonical()).collect(),
    };
    let _ = engine.record(Envelope::of(Kind::Configuration, now, &record), None).await;
}

/// Settings that a running daemon cannot change, and that differ from those of its start.
fn waits_for_restart(before: &Settings, after: &Settings) -> Vec<&'static str> {
    let (old, new) = (&before.daemon, &after.daemon);
    let listeners = |daemon: &Daemon| (daemon.listen, daemon.otlp_grpc, daemon.otlp_http);
    let tokens = |daemon: &Daemon| (daemon.api_tokens.clone(), daemon.otlp_tokens.clone());
    [
        ("listeners", listeners(old) != listeners(new)),
        ("tokens", tokens(old) != tokens(new)),
        ("data", old.data != new.data),
        ("journal", old.journal != new.journal),
        ("history", old.history != new.history),
        ("export", old.export != new.export),
        ("log", (old.log_format, &old.log_level) != (new.log_format, &new.log_level)),
        ("attributes that phones keep", kept_attributes(before) != kept_attributes(after)),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::ingest::redact;

    /// Guarantees that the attribute configured as the region is kept by redaction and read by the fold,
    /// and that the caps reach the fold.
    #[test]
    fn the_phones_settings_are_in_force() {
        let files = [(
            "radiosonde.yaml",
            "phones: { region: cloud.zone, keep_attributes: [tenant.tier], max_apps: 7 }\n",
        )];
        let loaded = config::load_embedded(&files, &|key| redact::is_kept(key, &[]));
        let settings = loaded.settings.expect("valid");
        let kept = kept_attributes(&settings);
        for (key, expected) in [("cloud.zone", true), ("tenant.tier", true), ("user.name", false)] {
            assert_eq!(redact::is_kept(key, &kept), expected, "{key}");
        }
        assert!(!redact::is_kept("cloud.zone", &[]));
        let rules = rules(&settings);
        assert_eq!(rules.phones.source_of("region"), "cloud.zone");
        assert_eq!(rules.phones.max_apps, 7);
    }
}
