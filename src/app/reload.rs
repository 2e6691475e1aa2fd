//! One configuration in force, replaced whole or not at all.

use super::daemon::Running;
use crate::aggregate::{PhoneSettings, Rules};
use crate::alert::Policy;
use crate::api::Failed;
use crate::api::page::view::{ChangeKind, ChangeView, ConfigProblem};
use crate::base::error::Chain;
use crate::config::{Loaded, Settings};
use crate::probe::longest_interval;
use crate::wire::record::{ConfigurationRecord, Envelope, Kind};
use std::sync::Arc;

/// Where a configuration is read from, again and again.
pub type Source = Arc<dyn Fn() -> Loaded + Send + Sync>;

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
        external_url: settings.daemon.external_url.clone().unwrap_or(page),
    }
}

/// The folding half of settings.
#[must_use]
pub fn rules(settings: &Settings) -> Rules {
    let phones = PhoneSettings {
        region_attribute: settings.phones.region_attribute.clone(),
        routes: settings.phones.routes.clone(),
        labels: settings.phones.labels.clone(),
        max_series_per_app: settings.phones.max_series_per_app,
    };
    Rules::new(&settings.slos, phones)
}

/// Reads the configuration anew. A wrong one changes nothing and is shown.
///
/// # Errors
/// With every problem, when it is refused.
pub async fn reload(running: &Running) -> Result<(), Failed> {
    let now = running.engine.clock.now();
    let loaded = (running.source)();
    let telemetry = &running.engine.telemetry;
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
        return Err(Failed::Invalid(words));
    };
    let revision = settings.revision;
    apply(running, settings).await;
    telemetry.configured(revision, now.as_seconds());
    running.accept(ChangeView {
        at: now,
        kind: ChangeKind::Reload,
        text: "a new configuration is in force".to_owned(),
        link: None,
    });
    Ok(())
}

async fn apply(running: &Running, settings: Settings) {
    let engine = &running.engine;
    let now = engine.clock.now();
    let policy = Arc::new(policy(&settings, now));
    running.courier.replace_receivers(settings.receivers.clone());
    engine.core.write().configure(policy, Arc::new(rules(&settings)), now);
    if let Err(error) = running.scheduler.replace(settings.probes.clone()) {
        tracing::error!(error = %Chain(&error), "some probes cannot be scheduled");
    }
    let record = ConfigurationRecord {
        revision: settings.revision,
        at_unix_nano: now.0,
        indicators: settings.slos.iter().map(|slo| slo.indicator.canonical()).collect(),
    };
    *running.settings.write() = Arc::new(settings);
    engine.record(Envelope::of(Kind::Configuration, now, &record), None).await;
    engine.evaluate.notify_one();
}
