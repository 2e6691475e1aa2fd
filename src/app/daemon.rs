//! Starts everything in order, one line a subsystem, and ends it in reverse.

use super::checkpoint_loop::Checkpoints;
use super::collector::Collector;
use super::discovery::{self, Discovery};
use super::engine::Engine;
use super::front_door::{self, FrontDoor};
use super::handle::Handle;
use super::opening::Opened;
use super::recount::Recount;
use super::reload::{self, Source};
use super::replay::Replayed;
use super::{
    calibrate_loop, checkpoint_loop, deliver_loop, evaluate_loop, fold_loop, intents, opening,
    replay, results, watch,
};
use crate::alert::Core;
use crate::api::blackbox::Blackbox;
use crate::api::guard::Guard;
use crate::api::page::view::{ChangeKind, ChangeView, ConfigProblem};
use crate::api::{self, ApiState};
use crate::base::clock::{Clock, UnixNanos};
use crate::base::shutdown::Shutdown;
use crate::config::Settings;
use crate::export::Exporter;
use crate::ingest;
use crate::journal::files::SystemFiles;
use crate::journal::{self, Sinks};
use crate::model::series::History;
use crate::notify::{Courier, CourierConfig};
use crate::probe::reference::Calibration;
use crate::probe::spec::ProbeSpec;
use crate::probe::{self, Scheduler, SchedulerError};
use crate::store::data_dir::DataDir;
use crate::telemetry::Telemetry;
use parking_lot::{Mutex, RwLock};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Records between the journal and the fold, of each lane.
const FOLD_QUEUE: usize = 256;
/// Probe results between the probes and the journal.
const RESULT_QUEUE: usize = 4_096;
/// How long each stage may take to end.
const STAGE: Duration = Duration::from_secs(10);
/// What pages show of reloads at most.
const MAX_RELOADS: usize = 100;

/// Whatever keeps a daemon from starting.
pub type StartError = Box<dyn std::error::Error + Send + Sync>;

/// A daemon that runs.
pub struct Running {
    /// Folded state, journal, signals.
    pub engine: Engine,
    /// The configuration in force.
    pub settings: RwLock<Arc<Settings>>,
    /// The configuration of the start: some of it holds until the end.
    pub started_with: Arc<Settings>,
    /// Held by a reload: one at a time, so that the files read last are those in force.
    pub reloading: tokio::sync::Mutex<()>,
    /// Where it is read from again.
    pub source: Source,
    /// Probes.
    pub scheduler: Scheduler,
    /// Which instances they have.
    pub discovery: Arc<Discovery>,
    /// What all runs of probes share: how hard they press their targets, when they rest.
    pub context: probe::Context,
    /// Probes on request.
    pub blackbox: Arc<Blackbox>,
    /// What the instrument measures too much, as it was found last.
    pub calibration: RwLock<Option<Arc<Calibration>>>,
    /// Deliveries.
    pub courier: Courier,
    /// Ends what a reload starts.
    pub deciders: Shutdown,
    /// The configuration that was refused last, and what reloads there were.
    pub reloads: Mutex<(Option<ConfigProblem>, Vec<ChangeView>)>,
    /// What of the configuration was probably not meant, when it was read again last.
    pub doubts: Mutex<Option<Vec<String>>>,
}

/// Where a daemon listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// Page, API and /metrics.
    pub page: SocketAddr,
    /// OTLP/gRPC.
    pub otlp_grpc: SocketAddr,
    /// OTLP/HTTP.
    pub otlp_http: SocketAddr,
}

/// The stages of the end, first to last.
#[derive(Default)]
struct Stages {
    servers: Shutdown,
    deciders: Shutdown,
    couriers: Shutdown,
    exporters: Shutdown,
}

/// What the end waits for, or writes, between the stages.
struct Last {
    door: Arc<FrontDoor>,
    settling: JoinHandle<()>,
    last_epoch: JoinHandle<u64>,
    checkpoints: Checkpoints,
    fold: std::thread::JoinHandle<()>,
}

/// Runs a daemon until `shutdown` begins. `started` is called once it serves.
///
/// # Errors
/// When something it needs cannot be had: a port, the data folder, the journal.
pub async fn run(
    settings: Settings,
    source: Source,
    clock: Clock,
    shutdown: Shutdown,
    started: impl FnOnce(Addresses),
) -> Result<(), StartError> {
    // Before anything else: until it is caught, the signal ends the process.
    let hangup = signal(SignalKind::hangup())?;
    let telemetry = Telemetry::new();
    let now = clock.now();
    telemetry.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    telemetry.start_time_seconds.set(now.as_seconds());
    telemetry.configured(settings.revision, now.as_seconds());
    let daemon = &settings.daemon;
    let (page, otlp, addresses) = opening::listeners(daemon).await?;

    // What is on the disk.
    let files = Arc::new(SystemFiles);
    let data = Arc::new(DataDir::open(&daemon.data, files.clone())?);
    let checkpoint = data.read_checkpoint()?;
    let Opened { history, rebuild, checkpoints } =
        opening::history(&settings, &data, checkpoint.as_ref(), &telemetry)?;
    let (control, folds_control) = mpsc::channel(FOLD_QUEUE);
    let (bulk, folds_bulk) = mpsc::channel(FOLD_QUEUE);
    let sinks = Sinks { control, bulk };
    let config = opening::journal_config(&settings, &data);
    let journal = journal::open(config, files, clock.clone(), &telemetry, sinks)?;
    let mut core = checkpoint.as_ref().map(Core::load).unwrap_or_default();
    opening::restore_hashes(&mut core, &data, checkpoint.as_ref(), now)?;
    let policy = Arc::new(reload::policy(&settings, now));
    let new = core.configure(policy, Arc::new(reload::rules(&settings)), now);
    let recount = Recount::new(new, &settings, &core);

    // State, and the page that tells how far it is.
    let stages = Stages::default();
    let Stages { servers, deciders, couriers, exporters } = &stages;
    let export = daemon.export.as_ref();
    let mut collector = Collector::start(export, addresses, &telemetry, exporters)?;
    let own_spans = collector.own_spans.clone();
    let core = Arc::new(RwLock::new(core));
    let engine = Engine::new(core, journal, clock.clone(), telemetry.clone(), own_spans);
    let handle = Handle::new(engine.clone(), addresses);
    let context = context(&settings, &clock, &telemetry);
    let blackbox = opening::blackbox(&settings, &context)?;
    let guard = Arc::new(Guard { tokens: daemon.api_tokens.clone() });
    let shared = (Arc::clone(&blackbox), guard, servers.clone());
    servers.spawn(api::serve(page, api_state(&handle, history, shared, &engine)));
    tracing::info!(page = %addresses.page, otlp_http = %addresses.otlp_http, otlp_grpc = %addresses.otlp_grpc, "listening");
    let replayed = replay::run(&engine, &rebuild, &shutdown).await?;
    let Some(Replayed { records, gaps }) = replayed else { return Ok(()) };
    tracing::info!(records, "the journal is folded");
    engine.become_ready();
    let epoch = rebuild.commit(&engine, &checkpoints).await;

    // What changes state.
    let fold = fold_loop::start(engine.clone(), folds_control, folds_bulk)?;
    recount.start(&engine, deciders);
    let (outcomes, settled) = mpsc::channel(FOLD_QUEUE);
    let receivers = CourierConfig { receivers: settings.receivers.clone() };
    let courier = Courier::start(receivers, clock.clone(), telemetry.clone(), couriers, outcomes);
    let discovery = Discovery::new(&context);
    let instances = discovery.follow(&settings.probes);
    let probes = (context.clone(), instances, &*settings.probes);
    let scheduler = start_probes(&engine, probes, collector.probes.take(), deciders)?;
    deciders.spawn(evaluate_loop::run(engine.clone(), deciders.clone()));
    deciders.spawn(deliver_loop::run(engine.clone(), courier.clone(), deciders.clone()));
    let settling = tokio::spawn(deliver_loop::settle(engine.clone(), settled));
    let door = Arc::new(FrontDoor::new(engine.clone()));
    servers.spawn(ingest::serve(
        opening::ingest_config(&settings, addresses, &data)?,
        otlp,
        Arc::clone(&door) as Arc<dyn ingest::Sink>,
        clock,
        telemetry,
        servers.clone(),
    ));
    servers.spawn(front_door::account(Arc::clone(&door), servers.clone()));
    let until = deciders.clone();
    let epochs = checkpoint_loop::run(engine.clone(), checkpoints.clone(), epoch, until);
    let last_epoch = tokio::spawn(epochs);
    reload::journal_revision(&engine, &settings).await;
    let settings = Arc::new(settings);
    let running = Arc::new(Running {
        engine,
        settings: RwLock::new(Arc::clone(&settings)),
        started_with: settings,
        reloading: tokio::sync::Mutex::new(()),
        source,
        scheduler,
        discovery,
        context,
        blackbox,
        calibration: RwLock::default(),
        courier,
        deciders: deciders.clone(),
        doubts: Mutex::default(),
        reloads: Mutex::new((None, gaps.iter().map(|gap| gap.change(now)).collect())),
    });
    handle.lead_to(&running);
    keep_watch(&running, hangup, servers);

    started(addresses);
    tokio::select! {
        () = shutdown.begun() => {}
        () = running.engine.broken.begun() => {
            // Half a record may be folded: no checkpoint of that. The journal has all of it.
            return Err("the fold stopped, by a fault of radiosonde; nothing acknowledged is lost, start it again".into());
        }
    }
    let last = Last { door, settling, last_epoch, checkpoints, fold };
    end(running, stages, last).await;
    Collector::end(collector.take_provider()).await;
    Ok(())
}

/// Starts the probes, and what takes announcements and results of their runs to the journal. What runs of an
/// earlier life left is cleaned up.
fn start_probes(
    engine: &Engine,
    (context, probes, definitions): (probe::Context, Vec<Arc<ProbeSpec>>, &[Arc<ProbeSpec>]),
    exporter: Option<Exporter>,
    deciders: &Shutdown,
) -> Result<Scheduler, SchedulerError> {
    let (runs, finished) = mpsc::channel(RESULT_QUEUE);
    let (register, unwritten, notes) = intents::channel(&engine.telemetry);
    let left = intents::left(engine);
    let scheduler = Scheduler::start(context.registered(register), runs, probes)?;
    scheduler.clean_up_after(left, definitions);
    deciders.spawn(intents::run(engine.clone(), Arc::clone(&unwritten), notes));
    deciders.spawn(results::run(engine.clone(), exporter, finished, unwritten));
    Ok(scheduler)
}

/// Reloads when asked to or files change, keeps instances up to date, and calibrates, until the servers end.
fn keep_watch(running: &Arc<Running>, hangup: Signal, servers: &Shutdown) {
    let running = || Arc::clone(running);
    servers.spawn(watch::reload_on_hangup(running(), hangup, servers.clone()));
    servers.spawn(watch::reload_on_change(running(), servers.clone()));
    servers.spawn(calibrate_loop::run(running(), servers.clone()));
    servers.spawn(discovery::run(running(), servers.clone()));
}

/// What all runs of probes share.
fn context(settings: &Settings, clock: &Clock, telemetry: &Telemetry) -> probe::Context {
    let context = probe::Context::new(clock.clone(), telemetry.clone());
    context.limits.replace(settings.daemon.limits.clone());
    context.maintenance.replace(settings.maintenance.clone());
    context
}

/// Doors first, then decisions, then deliveries, then one last checkpoint, then the journal.
async fn end(running: Arc<Running>, stages: Stages, last: Last) {
    tracing::info!("ending");
    let Stages { servers, deciders, couriers, exporters } = stages;
    let in_time = servers.drain(STAGE).await;
    last.door.account().await;
    deciders.begin();
    let engine = running.engine.clone();
    if let Some(running) = Arc::into_inner(running) {
        let stopping =
            tokio::task::spawn_blocking(move || running.scheduler.stop(Duration::from_secs(2)));
        drop(stopping.await);
    }
    let in_time = deciders.drain(STAGE).await && in_time;
    let in_time = couriers.drain(STAGE).await && in_time;
    let in_time = tokio::time::timeout(STAGE, last.settling).await.is_ok() && in_time;
    if let Ok(epoch) = last.last_epoch.await {
        let _ = checkpoint_loop::make(&engine, &last.checkpoints, epoch + 1).await;
    }
    let in_time = exporters.drain(STAGE).await && in_time;
    let journal = engine.journal.clone();
    drop(engine);
    drop(tokio::task::spawn_blocking(move || journal.close()).await);
    drop(tokio::task::spawn_blocking(move || last.fold.join()).await);
    if !in_time {
        tracing::warn!(
            "some tasks did not end in time and were cut off; nothing acknowledged is lost"
        );
    }
}

fn api_state(
    handle: &Handle,
    history: Arc<dyn History>,
    shared: (Arc<Blackbox>, Arc<Guard>, Shutdown),
    engine: &Engine,
) -> ApiState {
    let (blackbox, guard, shutdown) = shared;
    let asked = handle.clone();
    ApiState {
        core: Arc::clone(&engine.core),
        history,
        actions: Arc::new(handle.clone()),
        clock: engine.clock.clone(),
        telemetry: engine.telemetry.clone(),
        surroundings: Arc::new(move || asked.surroundings()),
        seen: engine.seen.subscribe(),
        blackbox,
        ready: Arc::clone(&engine.ready),
        guard,
        shutdown,
    }
}

impl Running {
    /// A configuration was refused; shown until one is accepted.
    pub fn refuse(&self, problem: ConfigProblem, now: UnixNanos) {
        self.reloads.lock().0 = Some(problem);
        self.tell(ChangeView {
            at: now,
            kind: ChangeKind::Refused,
            text: "a configuration was refused; the one before stays in force".to_owned(),
            link: None,
        });
    }

    /// The configuration on disk is in force; `change` tells what is new in it.
    pub fn accept(&self, change: Option<ChangeView>) {
        if self.reloads.lock().0.take().is_some() {
            tracing::info!("the configuration on disk is whole again, and in force");
        }
        change.into_iter().for_each(|change| self.tell(change));
    }

    fn tell(&self, change: ChangeView) {
        let mut reloads = self.reloads.lock();
        reloads.1.push(change);
        let excess = reloads.1.len().saturating_sub(MAX_RELOADS);
        drop(reloads.1.drain(..excess));
    }
}
