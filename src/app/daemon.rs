//! Starts everything in order, one line a subsystem, and ends it in reverse.

use super::checkpoint_loop::{self, Checkpoints};
use super::engine::Engine;
use super::front_door::FrontDoor;
use super::reload::{self, Source};
use super::{deliver_loop, evaluate_loop, fold_loop, replay};
use crate::aggregate::Decoded;
use crate::alert::Core;
use crate::alert::codec::silence_record;
use crate::api::guard::Guard;
use crate::api::page::view::{ChangeKind, ChangeView, ConfigProblem, Endpoints};
use crate::api::views::Surroundings;
use crate::api::{self, Actions, ApiState, Failed};
use crate::base::clock::{Clock, UnixNanos};
use crate::base::duration;
use crate::base::shutdown::Shutdown;
use crate::config::Settings;
use crate::ingest::{self, IdentityKey, Token};
use crate::journal::files::SystemFiles;
use crate::journal::{self, Sinks};
use crate::model::alert::Silence;
use crate::model::labels::Labels;
use crate::model::notification::{Delivery, Notification, NotificationKind};
use crate::model::probe::ProbeRun;
use crate::model::series::{History, Tier};
use crate::notify::{self, Courier, CourierConfig};
use crate::probe::spec::{Cadence, ProbeSpec};
use crate::probe::{self, Scheduler};
use crate::store::data_dir::DataDir;
use crate::store::history::{Config as HistoryConfig, SledHistory};
use crate::telemetry::Telemetry;
use crate::wire::probe_spans;
use crate::wire::record::{AcknowledgementRecord, Envelope, Kind, Origin};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use parking_lot::{Mutex, RwLock};
use prost::Message;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Records between the journal and the fold, of each lane.
const FOLD_QUEUE: usize = 256;
/// Probe results between the probes and the journal.
const RESULT_QUEUE: usize = 4_096;
/// Results that wait for the journal at once.
const RUNS_IN_FLIGHT: usize = 64;
/// How long each stage may take to end.
const STAGE: Duration = Duration::from_secs(10);
/// How often refusals are written to the ledger.
const ACCOUNT: Duration = Duration::from_secs(10);

/// Whatever keeps a daemon from starting.
pub type StartError = Box<dyn std::error::Error + Send + Sync>;

/// A daemon that runs.
pub struct Running {
    /// Folded state, journal, signals.
    pub engine: Engine,
    /// The configuration in force.
    pub settings: RwLock<Arc<Settings>>,
    /// Where it is read from again.
    pub source: Source,
    /// Probes.
    pub scheduler: Scheduler,
    /// Deliveries.
    pub courier: Courier,
    started_at: UnixNanos,
    reloads: Mutex<(Option<ConfigProblem>, Vec<ChangeView>)>,
    checkpoints: Checkpoints,
    addresses: Addresses,
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
    let telemetry = Telemetry::new();
    telemetry.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    telemetry.start_time_seconds.set(clock.now().as_seconds());
    telemetry.configured(settings.revision, clock.now().as_seconds());
    let daemon = &settings.daemon;
    let page = bind(daemon.listen, "the page and API").await?;
    let grpc = bind(daemon.otlp_grpc, "OTLP/gRPC").await?;
    let http = bind(daemon.otlp_http, "OTLP/HTTP").await?;
    let addresses = Addresses {
        page: page.local_addr()?,
        otlp_grpc: grpc.local_addr()?,
        otlp_http: http.local_addr()?,
    };
    let data = Arc::new(DataDir::open(&daemon.data)?);
    let checkpoint = data.read_checkpoint()?;
    let epoch = checkpoint.as_ref().map_or(0, |state| state.epoch);
    if let Some(state) = &checkpoint {
        let at = UnixNanos(state.at_unix_nano).as_seconds();
        telemetry.checkpoint_last_success_timestamp_seconds.set(at);
    }
    let (checkpoints, history) = open_history(&settings, &data, epoch, &telemetry)?;
    let (control, folds_control) = mpsc::channel(FOLD_QUEUE);
    let (bulk, folds_bulk) = mpsc::channel(FOLD_QUEUE);
    let sinks = Sinks { control, bulk };
    let config = journal_config(&settings, &data);
    let files = Arc::new(SystemFiles);
    let journal = journal::open(config, files, clock.clone(), &telemetry, sinks)?;
    let mut core = checkpoint.as_ref().map(Core::load).unwrap_or_default();
    let policy = Arc::new(reload::policy(&settings, clock.now()));
    core.configure(policy, Arc::new(reload::rules(&settings)), clock.now());
    let replayed = replay::replay(&mut core, &journal, &telemetry)?;
    tracing::info!(records = replayed, "the journal is folded");
    let engine =
        Engine::new(Arc::new(RwLock::new(core)), journal, clock.clone(), telemetry.clone());

    let fold = std::thread::Builder::new().name("fold".to_owned()).spawn({
        let engine = engine.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        move || runtime.block_on(fold_loop::run(engine, folds_control, folds_bulk))
    })?;
    let deciders = Shutdown::new();
    let servers = Shutdown::new();
    let (outcomes, settled) = mpsc::channel(FOLD_QUEUE);
    let couriers = Shutdown::new();
    let receivers = CourierConfig { receivers: settings.receivers.clone() };
    let courier = Courier::start(receivers, clock.clone(), telemetry.clone(), &couriers, outcomes);
    let (results, finished) = mpsc::channel(RESULT_QUEUE);
    let context = probe::Context::new(clock.clone(), telemetry.clone());
    let scheduler = Scheduler::start(context, results, settings.probes.clone())?;
    deciders.spawn(journal_runs(engine.clone(), finished));
    deciders.spawn(evaluate_loop::run(engine.clone(), deciders.clone()));
    deciders.spawn(deliver_loop::run(engine.clone(), courier.clone(), deciders.clone()));
    drop(tokio::spawn(deliver_loop::settle(engine.clone(), settled)));
    let door = Arc::new(FrontDoor::new(engine.clone()));
    servers.spawn(ingest::serve(
        ingest_config(&settings, addresses, &data)?,
        grpc,
        http,
        Arc::clone(&door) as Arc<dyn ingest::Sink>,
        clock.clone(),
        telemetry.clone(),
        servers.clone(),
    ));
    servers.spawn(account(door, servers.clone()));
    let guard = Arc::new(Guard { tokens: daemon.api_tokens.clone() });
    let running = Arc::new(Running {
        engine: engine.clone(),
        settings: RwLock::new(Arc::new(settings)),
        source,
        scheduler,
        courier,
        started_at: clock.now(),
        reloads: Mutex::default(),
        checkpoints: checkpoints.clone(),
        addresses,
    });
    let last_epoch =
        tokio::spawn(checkpoint_loop::run(engine.clone(), checkpoints, epoch, deciders.clone()));
    servers.spawn(api::serve(page, api_state(&running, history, guard, servers.clone())));
    servers.spawn(reload_on_hangup(Arc::clone(&running), servers.clone()));
    started(addresses);
    shutdown.begun().await;
    end(running, [servers, deciders, couriers], last_epoch, fold).await;
    Ok(())
}

/// Doors first, then decisions, then deliveries, then one last checkpoint, then the journal.
async fn end(
    running: Arc<Running>,
    [servers, deciders, couriers]: [Shutdown; 3],
    last_epoch: tokio::task::JoinHandle<u64>,
    fold: std::thread::JoinHandle<()>,
) {
    tracing::info!("ending");
    let in_time = servers.drain(STAGE).await;
    deciders.begin();
    let engine = running.engine.clone();
    let checkpoints = running.checkpoints.clone();
    if let Some(running) = Arc::into_inner(running) {
        let stopping =
            tokio::task::spawn_blocking(move || running.scheduler.stop(Duration::from_secs(2)));
        drop(stopping.await);
    }
    let in_time = deciders.drain(STAGE).await && in_time;
    let in_time = couriers.drain(STAGE).await && in_time;
    if let Ok(epoch) = last_epoch.await {
        checkpoint_loop::make(&engine, &checkpoints, epoch + 1).await;
    }
    let journal = engine.journal.clone();
    drop(engine);
    drop(tokio::task::spawn_blocking(move || journal.close()).await);
    drop(tokio::task::spawn_blocking(move || fold.join()).await);
    if !in_time {
        tracing::warn!(
            "some tasks did not end in time and were cut off; nothing acknowledged is lost"
        );
    }
}

async fn bind(address: SocketAddr, what: &str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| {
        format!("{what} cannot listen on {address}: {error}; is another radiosonde or collector running?").into()
    })
}

fn open_history(
    settings: &Settings,
    data: &Arc<DataDir>,
    epoch: u64,
    telemetry: &Telemetry,
) -> Result<(Checkpoints, Arc<dyn History>), StartError> {
    let limits = settings.daemon.history;
    let keep =
        [(Tier::TenSeconds, limits.ten_seconds_keep), (Tier::OneMinute, limits.one_minute_keep)];
    let config = HistoryConfig {
        dir: data.join("history"),
        cache_bytes_per_window: 4 << 20,
        keep,
        max_disk_bytes: Some(limits.max_disk_bytes),
    };
    let (history, report) = SledHistory::open(config, telemetry)?;
    for set_aside in &report.set_aside {
        tracing::error!(from = %set_aside.from.display(), to = %set_aside.to.display(), reason = set_aside.reason, "history was set aside");
    }
    history.recover(epoch)?;
    let history: Arc<dyn History> = Arc::new(history);
    Ok((Checkpoints { data: Arc::clone(data), history: Arc::clone(&history), keep }, history))
}

fn journal_config(settings: &Settings, data: &DataDir) -> journal::Config {
    let limits = settings.daemon.journal;
    journal::Config {
        segment_bytes: limits.segment_bytes,
        bulk_keep: limits.bulk_keep,
        bulk_keep_bytes: limits.bulk_keep_bytes,
        control_keep: limits.control_keep,
        ..journal::Config::new(data.join("journal"))
    }
}

fn ingest_config(
    settings: &Settings,
    addresses: Addresses,
    data: &DataDir,
) -> Result<ingest::Config, StartError> {
    let tokens = settings.daemon.otlp_tokens.iter();
    Ok(ingest::Config {
        grpc_listen: addresses.otlp_grpc,
        http_listen: addresses.otlp_http,
        tokens: tokens
            .map(|(name, secret)| Token { name: name.clone(), secret: secret.clone() })
            .collect(),
        extra_attributes: settings.phones.keep_attributes.clone(),
        ..ingest::Config::new(IdentityKey::new(data.identity_key()?))
    })
}

/// Results of probes into the control lane. Several wait for the disk at once, so that they share
/// its flushes.
async fn journal_runs(engine: Engine, runs: mpsc::Receiver<ProbeRun>) {
    let runs = futures::stream::unfold(runs, |mut runs| async move {
        let run = runs.recv().await?;
        Some((run, runs))
    });
    runs.for_each_concurrent(RUNS_IN_FLIGHT, |run| journal_run(&engine, run)).await;
}

async fn journal_run(engine: &Engine, run: ProbeRun) {
    let request = probe_spans::encode(&run);
    let payload = request.encode_to_vec().into();
    let envelope = Envelope::new(Origin::Probe, Kind::Traces, engine.clock.now(), payload);
    engine.record(envelope, Some(Decoded::Traces(request))).await;
}

async fn account(door: Arc<FrontDoor>, shutdown: Shutdown) {
    while !shutdown.has_begun() {
        tokio::select! {
            () = shutdown.begun() => {}
            () = tokio::time::sleep(ACCOUNT) => {}
        }
        door.account().await;
    }
}

async fn reload_on_hangup(running: Arc<Running>, shutdown: Shutdown) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    loop {
        tokio::select! {
            () = shutdown.begun() => return,
            _ = hangup.recv() => drop(reload::reload(&running).await),
        }
    }
}

fn api_state(
    running: &Arc<Running>,
    history: Arc<dyn History>,
    guard: Arc<Guard>,
    shutdown: Shutdown,
) -> ApiState {
    let weak = Arc::downgrade(running);
    let surroundings =
        move || weak.upgrade().map(|running| running.surroundings()).unwrap_or_default();
    ApiState {
        core: Arc::clone(&running.engine.core),
        history,
        actions: Arc::new(Handle(Arc::downgrade(running))),
        clock: running.engine.clock.clone(),
        telemetry: running.engine.telemetry.clone(),
        surroundings: Arc::new(surroundings),
        seen: running.engine.seen.subscribe(),
        ready: Arc::new(AtomicBool::new(true)),
        guard,
        shutdown,
    }
}

impl Running {
    /// A configuration was refused; shown until one is accepted.
    pub fn refuse(&self, problem: ConfigProblem, now: UnixNanos) {
        let mut reloads = self.reloads.lock();
        reloads.0 = Some(problem);
        let text = "a configuration was refused; the one before stays in force".to_owned();
        reloads.1.push(ChangeView { at: now, kind: ChangeKind::Refused, text, link: None });
    }

    /// A configuration is in force.
    pub fn accept(&self, change: ChangeView) {
        let mut reloads = self.reloads.lock();
        reloads.0 = None;
        reloads.1.push(change);
        let excess = reloads.1.len().saturating_sub(100);
        drop(reloads.1.drain(..excess));
    }

    fn surroundings(&self) -> Surroundings {
        let settings = Arc::clone(&self.settings.read());
        let (config_problem, reloads) = self.reloads.lock().clone();
        let schedule = |probe: &Arc<ProbeSpec>| {
            let words = match &probe.cadence {
                Cadence::Every(interval) => duration::format(*interval),
                Cadence::Cron { expression, zone } => format!("{expression} ({zone})"),
            };
            (probe.name.clone(), words)
        };
        Surroundings {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            replaying: None,
            degraded: self.engine.degraded(),
            config_problem,
            reloads,
            endpoints: Endpoints {
                http: Some(format!("http://{}", self.addresses.otlp_http)),
                grpc: Some(format!("http://{}", self.addresses.otlp_grpc)),
            },
            schedules: settings.probes.iter().map(schedule).collect(),
            started_at: self.started_at,
        }
    }
}

/// The API's way to the daemon. Weak: a request under way does not keep it from ending.
struct Handle(std::sync::Weak<Running>);

impl Handle {
    fn running(&self) -> Result<Arc<Running>, Failed> {
        self.0.upgrade().ok_or_else(|| Failed::Refused("the daemon is ending".to_owned()))
    }
}

impl Actions for Handle {
    fn reload(&self) -> BoxFuture<'_, Result<(), Failed>> {
        async move { reload::reload(&*self.running()?).await }.boxed()
    }

    fn run_probe(&self, name: &str) -> Result<(), Failed> {
        let started = self.running()?.scheduler.run_now(name);
        started.map(drop).map_err(|error| match error {
            probe::RunNowError::Unknown => {
                Failed::NotFound(format!("there is no probe named `{name}`"))
            }
            probe::RunNowError::Running | probe::RunNowError::Busy => {
                Failed::Refused(error.to_string())
            }
        })
    }

    fn silence(&self, silence: Silence) -> BoxFuture<'_, Result<(), Failed>> {
        async move {
            let running = self.running()?;
            let now = running.engine.clock.now();
            running
                .engine
                .record(Envelope::of(Kind::Silence, now, &silence_record(&silence)), None)
                .await;
            running.engine.evaluate.notify_one();
            Ok(())
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
            self.running()?
                .engine
                .record(Envelope::of(Kind::Acknowledgement, at, &record), None)
                .await;
            Ok(())
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
