//! The API's way to the daemon: changes that it may make, and what pages show beside folded state.

use super::daemon::{Addresses, Running};
use super::engine::Engine;
use super::reload;
use crate::alert::codec::silence_record;
use crate::api::page::view::{ChangeView, ConfigProblem, Endpoints};
use crate::api::views::Surroundings;
use crate::api::{Actions, Failed};
use crate::base::clock::UnixNanos;
use crate::base::duration;
use crate::model::alert::Silence;
use crate::model::labels::Labels;
use crate::model::notification::{Delivery, Notification, NotificationKind};
use crate::model::probe::ProbeRun;
use crate::notify;
use crate::probe::{self, spec::Cadence, spec::ProbeSpec};
use crate::wire::record::{AcknowledgementRecord, Envelope, Kind};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use std::sync::{Arc, OnceLock, Weak};

/// The way to the daemon. It is there before the daemon runs, so that the page can tell how far the
/// start is; and weak, so that a request under way does not keep the daemon from ending.
#[derive(Clone)]
pub struct Handle {
    engine: Engine,
    addresses: Addresses,
    started_at: UnixNanos,
    running: Arc<OnceLock<Weak<Running>>>,
}

impl Handle {
    /// The way to a daemon that is still starting.
    #[must_use]
    pub fn new(engine: Engine, addresses: Addresses) -> Self {
        let started_at = engine.clock.now();
        Self { engine, addresses, started_at, running: Arc::default() }
    }

    /// From now on it runs.
    pub fn lead_to(&self, running: &Arc<Running>) {
        // A second call would be for another daemon; there is one a process.
        let _ = self.running.set(Arc::downgrade(running));
    }

    /// What pages show beside the folded state.
    #[must_use]
    pub fn surroundings(&self) -> Surroundings {
        let running = self.running.get().and_then(Weak::upgrade);
        let schedules = running.as_ref().map(|running| {
            let settings = Arc::clone(&running.settings.read());
            settings.probes.iter().map(|probe| (probe.name.clone(), schedule(probe))).collect()
        });
        let instances = running.as_ref().map(|running| running.discovery.standing());
        let (config_problem, reloads): (Option<ConfigProblem>, Vec<ChangeView>) =
            running.as_ref().map(|running| running.reloads.lock().clone()).unwrap_or_default();
        Surroundings {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            replaying: self.engine.replaying(),
            degraded: self.engine.degraded(),
            config_problem,
            reloads,
            endpoints: Endpoints {
                http: Some(format!("http://{}", self.addresses.otlp_http)),
                grpc: Some(format!("http://{}", self.addresses.otlp_grpc)),
            },
            schedules: schedules.unwrap_or_default(),
            instances: instances.unwrap_or_default(),
            started_at: self.started_at,
            calibration: running.and_then(|running| running.calibration.read().clone()),
        }
    }

    fn running(&self) -> Result<Arc<Running>, Failed> {
        let running = self.running.get().ok_or_else(|| {
            Failed::Busy("the daemon is starting; ask again in a moment".to_owned())
        })?;
        running.upgrade().ok_or_else(|| Failed::Busy("the daemon is ending".to_owned()))
    }
}

/// A change that took effect and would not survive a restart.
fn in_memory_only() -> Failed {
    let words = "it holds until a restart only: the journal's control lane cannot be written";
    Failed::Refused(words.to_owned())
}

/// When a probe runs, in words.
fn schedule(probe: &ProbeSpec) -> String {
    match &probe.cadence {
        Cadence::Every(interval) => duration::format(*interval),
        Cadence::Cron { expression, zone } => format!("{expression} ({zone})"),
    }
}

impl Actions for Handle {
    fn reload(&self) -> BoxFuture<'_, Result<(), Failed>> {
        async move { reload::reload(&*self.running()?).await }.boxed()
    }

    fn run_probe(&self, name: &str) -> BoxFuture<'static, Result<ProbeRun, Failed>> {
        // What is waited on must not keep the daemon from ending.
        let started = self.running().and_then(|running| {
            let is_known = running.settings.read().probes.iter().any(|probe| probe.name == name);
            running.scheduler.runs_now(name).map_err(|error| match error {
                probe::RunNowError::Unknown if is_known => {
                    Failed::Conflict("the probe has no target now".to_owned())
                }
                probe::RunNowError::Unknown => {
                    Failed::NotFound(format!("there is no probe named `{name}`"))
                }
                probe::RunNowError::Running | probe::RunNowError::Maintenance => {
                    Failed::Conflict(error.to_string())
                }
                probe::RunNowError::Busy => Failed::Busy(error.to_string()),
            })
        });
        async move {
            let gone = || Failed::Busy("it could not be run: too much is going on".to_owned());
            let runs = join_all(started?).await.into_iter().flatten();
            let mut runs: Vec<ProbeRun> = runs.collect();
            // Of several instances, one that failed.
            let failed = runs.iter().position(|run| !run.succeeded()).unwrap_or(0);
            if runs.is_empty() { Err(gone()) } else { Ok(runs.swap_remove(failed)) }
        }
        .boxed()
    }

    fn silence(&self, silence: Silence) -> BoxFuture<'_, Result<(), Failed>> {
        async move {
            let running = self.running()?;
            let now = running.engine.clock.now();
            let record = Envelope::of(Kind::Silence, now, &silence_record(&silence));
            let durable = running.engine.record(record, None).await;
            running.engine.evaluate.notify_one();
            durable.then_some(()).ok_or_else(in_memory_only)
        }
        .boxed()
    }

    fn acknowledge(
        &self,
        incident: String,
        by: String,
        at: UnixNanos,
    ) -> BoxFuture<'_, Result<(), Failed>> {
        async move {
            let record = AcknowledgementRecord { incident, by, at_unix_nano: at.0 };
            let record = Envelope::of(Kind::Acknowledgement, at, &record);
            let durable = self.running()?.engine.record(record, None).await;
            durable.then_some(()).ok_or_else(in_memory_only)
        }
        .boxed()
    }

    fn test_receiver(&self, name: String) -> BoxFuture<'_, Result<(), Failed>> {
        async move {
            let running = self.running()?;
            let settings = Arc::clone(&running.settings.read());
            let receiver = settings.receivers.iter().find(|receiver| receiver.name == name);
            let receiver = receiver
                .ok_or_else(|| Failed::NotFound(format!("there is no receiver `{name}`")))?;
            let now = running.engine.clock.now();
            let message = Notification {
                id: format!("test-{}", now.0),
                receiver: name.clone(),
                incident: format!("test-{}", now.0),
                transition: 1,
                labels: Labels::new([("alertname", "RadiosondeTest"), ("severity", "none")]),
                annotations: Labels::new([(
                    "summary",
                    "a test of this receiver; nothing is wrong",
                )]),
                starts_at: now,
                created_at: now,
                generator_url: running.engine.core.read().policy.external_url.clone(),
                kind: NotificationKind::Test,
                ..Notification::default()
            };
            match notify::deliver(&notify::client(), receiver, &message, now).await {
                Delivery::Delivered => Ok(()),
                Delivery::Retry { error, .. } | Delivery::Refused { error } => {
                    Err(Failed::Refused(error))
                }
            }
        }
        .boxed()
    }
}
