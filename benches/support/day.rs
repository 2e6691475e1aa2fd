//! A data folder as a daemon leaves it after a day, made by the daemon's own parts on a manual clock.

use crate::phones;
use anyhow::Context;
use bytes::Bytes;
use futures::future::try_join_all;
use prost::Message;
use radiosonde::alert::Core;
use radiosonde::app::checkpoint_loop::{self, Checkpoints};
use radiosonde::app::engine::Engine;
use radiosonde::app::{fold_loop, reload};
use radiosonde::base::clock::{Clock, UnixNanos, nanos};
use radiosonde::config::{self, Inputs, Location, Settings, Sources};
use radiosonde::export::SelfSpans;
use radiosonde::ingest::redact;
use radiosonde::journal::files::SystemFiles;
use radiosonde::journal::{self, Journal, Sinks};
use radiosonde::model::position::Lane;
use radiosonde::model::probe::{Phase, PhaseTiming, ProbeRun, RunId, StepResult};
use radiosonde::model::series::{History, Tier};
use radiosonde::model::slot::Slot;
use radiosonde::probe::spec::{Cadence, ProbeSpec};
use radiosonde::store::CountsBook;
use radiosonde::store::data_dir::DataDir;
use radiosonde::store::history::{Config as HistoryConfig, SledHistory};
use radiosonde::telemetry::Telemetry;
use radiosonde::wire::otlp::KeyValue;
use radiosonde::wire::probe_spans;
use radiosonde::wire::record::{Envelope, Kind, Origin};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

const MINUTE: Duration = Duration::from_secs(60);
/// Requests of a minute, and spans in each: 21 spans a second.
const USUAL: (u64, usize) = (20, 64);
/// The same when it is busy: a thousand spans a second.
const BUSY: (u64, usize) = (120, 512);
/// The last minutes of the day, which are busy: as long as span ids are remembered.
const BUSY_MINUTES: u64 = 15;
/// Minutes between checkpoints. The daemon's are a minute apart, and leave the same behind: blocks of
/// history last a quarter of an hour.
const CHECKPOINT_MINUTES: u64 = 15;
/// Requests in one step of [`Folder::append`].
const APPENDED_AT_ONCE: u64 = 32;

/// A folder for one daemon.
pub struct Folder {
    path: PathBuf,
    settings: Settings,
}

/// What was put into a folder.
#[derive(Clone, Copy, Debug, Default)]
pub struct Built {
    pub days: f64,
    pub runs: u64,
    pub requests: u64,
    pub spans: u64,
    pub series: u64,
    /// Ten-second slots of all series that hold something.
    pub values: u64,
    pub journal_bytes: u64,
    pub checkpoint_bytes: u64,
    pub history_bytes: u64,
}

/// The parts of a daemon that keep data.
struct Parts {
    engine: Engine,
    checkpoints: Checkpoints,
    clock: Clock,
    built: Built,
}

impl Folder {
    /// An empty folder below `path`, under the shipped probes and alerts.
    pub fn new(path: &Path) -> anyhow::Result<Self> {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR"));
        let location = |name: &str| Location { path: shipped.join(name), explicit: true };
        let loaded = config::load(&Inputs {
            sources: Sources::Disk {
                config: Location { path: path.join("radiosonde.yaml"), explicit: false },
                probes: location("probes"),
                alerts: location("alerts"),
            },
            env: &|_| None,
            attribute_is_kept: &|key| redact::is_kept(key, &[]),
            insecure: false,
        });
        let settings = loaded.settings.context("the shipped files are invalid")?;
        Ok(Self { path: path.to_owned(), settings })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lives through hours that end now; the last minute comes after the last checkpoint.
    pub fn live(&self, hours: u64, real: &Clock) -> anyhow::Result<Built> {
        let minutes = hours * 60;
        let start = real.now().minus(MINUTE * u32::try_from(minutes + 1)?);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            let (mut parts, fold) = self.open(start)?;
            for minute in 0..minutes {
                let busy = minute + BUSY_MINUTES >= minutes;
                parts.live_a_minute(&self.settings, if busy { BUSY } else { USUAL }).await?;
                if (minute + 1) % CHECKPOINT_MINUTES == 0 {
                    let epoch = (minute + 1) / CHECKPOINT_MINUTES;
                    checkpoint_loop::make(&parts.engine, &parts.checkpoints, epoch).await;
                }
            }
            parts.live_a_minute(&self.settings, USUAL).await?;
            let mut built = parts.built;
            built.days = hours as f64 / 24.0;
            built.series = parts.engine.core.read().store.head.len() as u64;
            built.history_bytes = parts.checkpoints.history.disk_bytes();
            let journal = parts.engine.journal.clone();
            drop(parts);
            tokio::task::spawn_blocking(move || journal.close()).await?;
            fold.join().ok().context("the fold panicked")?;
            built.journal_bytes = self.bulk_bytes()?;
            built.checkpoint_bytes = std::fs::metadata(self.data().join("checkpoint"))?.len();
            Ok(built)
        })
    }

    /// Appends so many bytes of phones' requests that no checkpoint covers.
    pub fn append(&self, bytes: u64, real: &Clock) -> anyhow::Result<Built> {
        let before = self.bulk_bytes()?;
        let (control, _) = mpsc::channel(1);
        let (bulk, _) = mpsc::channel(1);
        let telemetry = Telemetry::new();
        let journal = self.journal(real.clone(), &telemetry, Sinks { control, bulk })?;
        let mut built = Built::default();
        let (_, spans) = BUSY;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            while self.bulk_bytes()? - before < bytes {
                let first = 1 << 40 | built.requests;
                let numbers = first..first + APPENDED_AT_ONCE;
                let batches = numbers.map(|number| phones_record(number, spans, real.now()));
                let appends = batches.map(|bytes| journal.append(Lane::Bulk, bytes, None));
                let _ = try_join_all(appends).await?;
                built.requests += APPENDED_AT_ONCE;
                built.spans += APPENDED_AT_ONCE * spans as u64;
            }
            anyhow::Ok(())
        })?;
        journal.close();
        built.journal_bytes = self.bulk_bytes()? - before;
        Ok(built)
    }

    /// As after damage: the journal is all that is left.
    pub fn remove_checkpoints(&self) -> anyhow::Result<()> {
        for name in ["checkpoint", "checkpoint.previous"] {
            std::fs::remove_file(self.data().join(name))?;
        }
        Ok(())
    }

    fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    fn bulk_bytes(&self) -> anyhow::Result<u64> {
        let mut bytes = 0;
        for entry in std::fs::read_dir(self.data().join("journal"))? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("bulk-") {
                bytes += entry.metadata()?.len();
            }
        }
        Ok(bytes)
    }

    fn journal(
        &self,
        clock: Clock,
        telemetry: &Telemetry,
        sinks: Sinks,
    ) -> anyhow::Result<Journal> {
        let config = journal::Config::new(self.data().join("journal"));
        Ok(journal::open(config, Arc::new(SystemFiles), clock, telemetry, sinks)?)
    }

    /// Opens everything that keeps data, as the daemon does, on a clock that stands at `start`.
    fn open(&self, start: UnixNanos) -> anyhow::Result<(Parts, std::thread::JoinHandle<()>)> {
        let clock = Clock::manual(start);
        let telemetry = Telemetry::new();
        let data = Arc::new(DataDir::open(&self.data(), Arc::new(SystemFiles))?);
        let limits = self.settings.daemon.history;
        // Fine history of the whole day, so that its size on the disk can be told.
        let keep = [
            (Tier::TenSeconds, limits.ten_seconds_keep.max(Duration::from_secs(86_400 * 2))),
            (Tier::OneMinute, limits.one_minute_keep),
        ];
        let config = HistoryConfig { keep, ..HistoryConfig::new(data.join("history")) };
        let (history, _) = SledHistory::open(config, &telemetry)?;
        let history: Arc<dyn History> = Arc::new(history);
        let (control, folds_control) = mpsc::channel(256);
        let (bulk, folds_bulk) = mpsc::channel(256);
        let journal = self.journal(clock.clone(), &telemetry, Sinks { control, bulk })?;
        let mut core = Core::default();
        let policy = Arc::new(reload::policy(&self.settings, start));
        let rules = Arc::new(reload::rules(&self.settings));
        let new = core.configure(policy, rules, start);
        // There was nothing before.
        core.store.counts.complete(&new, &CountsBook::default());
        let core = Arc::new(parking_lot::RwLock::new(core));
        let engine = Engine::new(core, journal, clock.clone(), telemetry, SelfSpans::default());
        let fold = fold_loop::start(engine.clone(), folds_control, folds_bulk)?;
        let checkpoints = Checkpoints::new(data, history, keep);
        Ok((Parts { engine, checkpoints, clock, built: Built::default() }, fold))
    }
}

impl Parts {
    /// Moves the clock on, then journals what happened meanwhile and waits until it is folded.
    async fn live_a_minute(
        &mut self,
        settings: &Settings,
        (requests, spans): (u64, usize),
    ) -> anyhow::Result<()> {
        let began = self.clock.now();
        self.clock.advance(MINUTE);
        let now = self.clock.now();
        let runs = settings.probes.iter().flat_map(|probe| runs_between(probe, began, now));
        let mut records: Vec<(Lane, Bytes)> =
            runs.map(|run| (Lane::Control, run_record(&run, now))).collect();
        self.built.runs += records.len() as u64;
        let first = self.built.requests;
        let numbers = first..first + requests;
        records.extend(numbers.map(|number| (Lane::Bulk, phones_record(number, spans, now))));
        self.built.requests += requests;
        self.built.spans += requests * spans as u64;
        // All at once, so that they share the disk's flushes.
        let journal = &self.engine.journal;
        let appends = records.into_iter().map(|(lane, bytes)| journal.append(lane, bytes, None));
        let _ = try_join_all(appends).await?;
        let tails = (journal.tail(Lane::Control), journal.tail(Lane::Bulk));
        let mut folded = self.engine.folded.subscribe();
        drop(folded.wait_for(|reached| *reached == tails).await?);
        let core = self.engine.core.read();
        let slots = Slot::of(began)..Slot::of(now);
        let series = core.store.head.iter();
        let held = series.flat_map(|series| series.open.values().flat_map(|block| block.keys()));
        self.built.values += held.filter(|slot| slots.contains(slot)).count() as u64;
        Ok(())
    }
}

/// The runs of a probe that the schedule wants in a stretch of time; all pass.
fn runs_between(probe: &ProbeSpec, from: UnixNanos, to: UnixNanos) -> Vec<ProbeRun> {
    let every = match probe.cadence {
        Cadence::Every(every) => nanos(every),
        Cadence::Cron { .. } => nanos(MINUTE),
    };
    let mut at = from.0.next_multiple_of(every);
    let mut runs = Vec::new();
    while at < to.0 {
        runs.push(run(probe, UnixNanos(at)));
        at += every;
    }
    runs
}

fn run(probe: &ProbeSpec, at: UnixNanos) -> ProbeRun {
    let took = rand::random_range(2_000_000..9_000_000);
    let timing = |phase, offset_ns, duration_ns| PhaseTiming { phase, offset_ns, duration_ns };
    let step = |name: &str| StepResult {
        name: name.to_owned(),
        protocol: "websocket".to_owned(),
        target: "ws://127.0.0.1:7070/chat".to_owned(),
        duration_ns: took,
        phases: vec![
            timing(Phase::Resolve, 0, 40_000),
            timing(Phase::Connect, 40_000, 180_000),
            timing(Phase::Upgrade, 220_000, 700_000),
            timing(Phase::Message, 920_000, took - 920_000),
        ],
        message_latency_ns: Some(took - 920_000),
        span_id: rand::random(),
        ..StepResult::default()
    };
    ProbeRun {
        probe: probe.name.clone(),
        labels: probe.labels.clone(),
        id: RunId(rand::random()),
        intended_start: at,
        lateness_ns: 80_000,
        duration_ns: took,
        latency_ns: Some(took - 920_000),
        steps: probe.steps.iter().map(|spec| step(&spec.name)).collect(),
        ..ProbeRun::default()
    }
}

fn run_record(run: &ProbeRun, now: UnixNanos) -> Bytes {
    let payload = probe_spans::encode(run).encode_to_vec().into();
    Envelope::new(Origin::Probe, Kind::Traces, now, payload).to_bytes()
}

/// A request as the front door journals it: without what redaction removes.
fn phones_record(number: u64, spans: usize, now: UnixNanos) -> Bytes {
    let mut request = phones::batch(number, spans, now);
    let is_kept = |attribute: &KeyValue| {
        let key = attribute.key.as_str();
        redact::is_kept(key, &[]) || redact::IDENTITIES.contains(&key)
    };
    for group in &mut request.resource_spans {
        group.resource.iter_mut().for_each(|resource| resource.attributes.retain(is_kept));
        let spans = group.scope_spans.iter_mut().flat_map(|scope| &mut scope.spans);
        spans.for_each(|span| span.attributes.retain(is_kept));
    }
    Envelope::new(Origin::Otlp, Kind::Traces, now, request.encode_to_vec().into()).to_bytes()
}
