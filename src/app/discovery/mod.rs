//! Which instances probes have now: what the configuration lists, what services list, which addresses
//! names have.
//!
//! Services and name servers are asked again and again; what comes of it is the scheduler's new set, in
//! which what stayed keeps its slots. A source that fails keeps what it listed last, is told of once for
//! each change, and counted. Where a name had no address yet, the probe is run as it is, so that its runs
//! say so.

mod service;
#[cfg(test)]
mod tests;

use super::daemon::Running;
use crate::base::clock::MonoNanos;
use crate::base::error::Chain;
use crate::base::shutdown::Shutdown;
use crate::config::ListedTargets;
use crate::probe::Context;
use crate::probe::spec::{Found, ProbeSpec, TargetService, Targets};
use futures::StreamExt;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::Notify;

/// Names are looked up again after this,
const LOOKUP_EVERY: Duration = Duration::from_secs(30);
/// and sources that never listed anything.
const RETRY: Duration = Duration::from_secs(5);
/// A name server may take so long.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Sources that are asked at once.
const AT_ONCE: usize = 8;

/// All sources of targets, and what they listed last.
#[derive(Debug)]
pub struct Discovery {
    context: Context,
    /// Made for the first service.
    client: OnceLock<Result<reqwest::Client, String>>,
    state: Mutex<State>,
    /// There are other definitions than before.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    definitions: Vec<Arc<ProbeSpec>>,
    sources: Vec<Source>,
    /// How many instances each probe has that may have several.
    counts: BTreeMap<String, usize>,
}

/// One source of one probe.
#[derive(Clone, Debug)]
struct Source {
    probe: String,
    asked: Asked,
    /// What it listed last; none before it ever did.
    known: Option<Vec<Found>>,
    /// What was left out of that.
    complaints: Vec<String>,
    /// Why it lists nothing now.
    failure: Option<String>,
    due: MonoNanos,
}

#[derive(Clone, Debug, PartialEq)]
enum Asked {
    Service(TargetService),
    Name(String),
}

// === impl Discovery ===

impl Discovery {
    /// Knows no definition yet. Names are looked up as the runs of that context do.
    #[must_use]
    pub fn new(context: &Context) -> Arc<Self> {
        let (context, state) = (context.clone(), Mutex::default());
        Arc::new(Self { context, client: OnceLock::new(), state, changed: Notify::new() })
    }

    /// Takes other definitions over; sources that go on keep what they listed. Returns all instances.
    pub fn follow(&self, definitions: &[Arc<ProbeSpec>]) -> Vec<Arc<ProbeSpec>> {
        let now = self.context.clock.monotonic();
        let mut state = self.state.lock();
        let before = std::mem::take(&mut state.sources);
        let source = |probe: &str, asked: Asked| {
            let known = before.iter().find(|one| one.probe == probe && one.asked.is_alike(&asked));
            let Some(known) = known else { return Source::new(probe, asked, now) };
            // Asked in another way, it is asked at once.
            let due = if known.asked == asked { known.due } else { now };
            Source { asked, due, ..known.clone() }
        };
        state.definitions = definitions.to_vec();
        state.sources = definitions
            .iter()
            .flat_map(|spec| asked(spec).into_iter().map(|asked| source(&spec.name, asked)))
            .collect();
        let telemetry = &self.context.telemetry;
        telemetry.probe_targets.reset();
        telemetry.probe_targets_dropped.reset();
        self.changed.notify_one();
        self.instances(&mut state)
    }

    /// Asks all sources that are due. Returns whether one of them lists something else than before.
    async fn refresh(&self) -> bool {
        let now = self.context.clock.monotonic();
        let due: Vec<Source> =
            self.state.lock().sources.iter().filter(|one| one.due <= now).cloned().collect();
        let asking = due.into_iter().map(|source| async {
            let answer = self.ask(&source.asked).await;
            (source, answer)
        });
        let answers: Vec<_> =
            futures::stream::iter(asking).buffer_unordered(AT_ONCE).collect().await;
        let now = self.context.clock.monotonic();
        let mut state = self.state.lock();
        let mut is_new = false;
        for (asked, answer) in answers {
            let same = |one: &&mut Source| one.probe == asked.probe && one.asked == asked.asked;
            // A reload may have taken it away meanwhile.
            if let Some(source) = state.sources.iter_mut().find(same) {
                if answer.is_err() {
                    let labels = [source.probe.as_str(), source.asked.kind()];
                    let failures = &self.context.telemetry.probe_discovery_failures_total;
                    failures.with_label_values(&labels).inc();
                }
                is_new |= source.take(answer, now);
            }
        }
        is_new
    }

    async fn ask(&self, asked: &Asked) -> Result<ListedTargets, String> {
        match asked {
            Asked::Name(name) => {
                let found = self.context.addresses_of(name, LOOKUP_TIMEOUT).await?;
                Ok(ListedTargets { found, complaints: Vec::new() })
            }
            Asked::Service(service) => {
                let client = self.client.get_or_init(service::client);
                service::ask(client.as_ref().map_err(Clone::clone)?, service).await
            }
        }
    }

    /// All instances of all definitions, by what is known now.
    fn instances(&self, state: &mut State) -> Vec<Arc<ProbeSpec>> {
        let State { definitions, sources: known, counts } = state;
        counts.clear();
        let telemetry = &self.context.telemetry;
        let of = |spec: &Arc<ProbeSpec>| {
            let sources = || known.iter().filter(|source| source.probe == spec.name);
            let listed: Vec<Found> =
                sources().filter_map(|source| source.known.clone()).flatten().collect();
            let (mut all, dropped) = spec.instances(&listed);
            if spec.targets.are_many() {
                let _ = counts.insert(spec.name.clone(), all.len());
                let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
                telemetry.probe_targets.with_label_values(&[&spec.name]).set(count(all.len()));
                let left_out = telemetry.probe_targets_dropped.with_label_values(&[&spec.name]);
                if dropped > 0 && left_out.get() == 0 {
                    tracing::warn!(
                        probe = spec.name,
                        dropped,
                        "too many targets; the last are left out"
                    );
                }
                left_out.set(count(dropped));
            }
            if all.is_empty()
                && spec.targets == Targets::EachAddress
                && sources().any(|source| source.failure.is_some())
            {
                all.push(Arc::new(spec.as_it_is()));
            }
            all
        };
        definitions.iter().flat_map(of).collect()
    }

    /// Of each probe that may have several instances, how many it has, and why a source lists nothing now.
    #[must_use]
    pub fn standing(&self) -> BTreeMap<String, (usize, Option<String>)> {
        let state = self.state.lock();
        let failure = |probe: &str| {
            let mut failures = state.sources.iter().filter(|source| source.probe == probe);
            failures.find_map(|source| {
                Some(format!("{}: {}", source.asked.shown(), source.failure.as_ref()?))
            })
        };
        let of = |(probe, count): (&String, &usize)| (probe.clone(), (*count, failure(probe)));
        state.counts.iter().map(of).collect()
    }

    fn next_due(&self) -> Option<MonoNanos> {
        self.state.lock().sources.iter().map(|source| source.due).min()
    }

    async fn wait(&self) {
        let changed = self.changed.notified();
        match self.next_due() {
            Some(due) => {
                let left = due.since(self.context.clock.monotonic());
                // Whatever comes first.
                drop(tokio::time::timeout(left, changed).await);
            }
            None => changed.await,
        }
    }
}

/// Asks every source once, and returns all instances with what could not be found out, in words.
pub async fn find_once(
    context: &Context,
    definitions: &[Arc<ProbeSpec>],
) -> (Vec<Arc<ProbeSpec>>, Vec<String>) {
    let discovery = Discovery::new(context);
    drop(discovery.follow(definitions));
    let _ = discovery.refresh().await;
    let mut state = discovery.state.lock();
    let instances = discovery.instances(&mut state);
    let failure = |source: &Source| {
        let words = source.failure.as_ref()?;
        Some(format!("{}: {}: {words}", source.probe, source.asked.shown()))
    };
    (instances, state.sources.iter().filter_map(failure).collect())
}

/// Keeps the instances of a daemon's probes up to date until shutdown begins.
pub async fn run(running: Arc<Running>, shutdown: Shutdown) {
    let discovery = Arc::clone(&running.discovery);
    loop {
        tokio::select! {
            () = shutdown.begun() => return,
            () = discovery.wait() => {}
        }
        let is_new = tokio::select! {
            () = shutdown.begun() => return,
            is_new = discovery.refresh() => is_new,
        };
        if is_new {
            // A reload gives the scheduler a set as well; the later one must be of the later definitions.
            let _turn = running.reloading.lock().await;
            let instances = discovery.instances(&mut discovery.state.lock());
            if let Err(error) = running.scheduler.replace(instances) {
                tracing::error!(error = %Chain(&error), "the instances of probes cannot be scheduled");
            }
        }
    }
}

/// The sources of a definition.
fn asked(spec: &ProbeSpec) -> Vec<Asked> {
    let services = spec.targets.services().iter().cloned().map(Asked::Service);
    services.chain(spec.name_to_look_up().map(Asked::Name)).collect()
}

// === impl Source ===

impl Source {
    fn new(probe: &str, asked: Asked, due: MonoNanos) -> Self {
        let (probe, complaints) = (probe.to_owned(), Vec::new());
        Self { probe, asked, known: None, complaints, failure: None, due }
    }

    /// Takes an answer over, and tells what is new about it. Returns whether the instances are others.
    fn take(&mut self, answer: Result<ListedTargets, String>, now: MonoNanos) -> bool {
        let (probe, source) = (self.probe.as_str(), self.asked.shown());
        match answer {
            Ok(ListedTargets { found, complaints }) => {
                if self.failure.take().is_some() {
                    tracing::info!(probe, source, "targets are listed again");
                }
                if complaints != self.complaints {
                    let left_out = complaints.len();
                    match complaints.first() {
                        Some(first) => tracing::warn!(
                            probe,
                            source,
                            left_out,
                            first,
                            "groups of targets are left out"
                        ),
                        None => tracing::info!(
                            probe,
                            source,
                            "no group of targets is left out any more"
                        ),
                    }
                    self.complaints = complaints;
                }
                let is_new = self.known.as_ref() != Some(&found);
                if is_new {
                    tracing::info!(
                        probe,
                        source,
                        targets = found.len(),
                        "other targets than before"
                    );
                    self.known = Some(found);
                }
                self.due = now.plus(self.asked.every());
                is_new
            }
            Err(failure) => {
                let is_first = self.failure.is_none() && self.known.is_none();
                if self.failure.as_ref() != Some(&failure) {
                    let stays = self.known.as_ref().map(Vec::len);
                    tracing::warn!(
                        probe,
                        source,
                        failure,
                        stays,
                        "targets are not listed; those before stay"
                    );
                    self.failure = Some(failure);
                }
                let every = self.asked.every();
                self.due = now.plus(if self.known.is_some() { every } else { every.min(RETRY) });
                is_first
            }
        }
    }
}

// === impl Asked ===

impl Asked {
    /// Whether both are the same source, however it is asked.
    fn is_alike(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Service(one), Self::Service(other)) => one.url == other.url,
            _ => self == other,
        }
    }

    /// For metrics.
    const fn kind(&self) -> &'static str {
        match self {
            Self::Service(_) => "http",
            Self::Name(_) => "dns",
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Service(service) => service::shown(service),
            Self::Name(name) => name.clone(),
        }
    }

    const fn every(&self) -> Duration {
        match self {
            Self::Service(service) => service.refresh,
            Self::Name(_) => LOOKUP_EVERY,
        }
    }
}
