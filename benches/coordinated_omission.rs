//! Coordinated omission: what a pause of the target does to the latencies that the schedule records.
//!
//! *Subject*: the real scheduler with one HTTP probe at 200 runs/s for 30 s. Its server stands still for
//! 1.4 s once: it neither answers nor accepts, and what has come meanwhile waits for it, as behind a
//! stopped process.
//! *Expectation*, in closed form: a request that was due t into the pause has its answer 1.4 s - t after it
//! was due, so 280 of 6,000 latencies lie on a ramp from 1.4 s to 0 in steps of 5 ms, and the 99th
//! percentile is that of the 60th: 1.4 s - 60 x 5 ms = 1.1 s. A client that waits for its answer before
//! it asks again sees one slow request instead, and its p99 is that of a healthy server.
//! *Readings*, of a probe whose runs may overlap and of one whose runs may not:
//! - `from the actual start`: `latency_ns` of the runs that happened;
//! - `from the intended start`: the same with `lateness_ns`;
//! - `and slots not run`: in addition, slots which the schedule recorded as overlapped or missed count from
//!   when they were due until the end of the run that was going on. This is what a client without them
//!   would have to reconstruct; budgets count overlapped slots as bad and need no such figure.
//!
//! *Limit*: after the pause the server works through 280 connections, which takes it some ms more.
//!
//! `cargo bench --bench coordinated_omission -- [--seconds N] [--rate N]`

#[path = "support/report.rs"]
mod report;

use anyhow::{Context as _, ensure};
use clap::Parser;
use radiosonde::base::clock::{Clock, MonoNanos, UnixNanos};
use radiosonde::config::load_embedded;
use radiosonde::model::probe::{Outcome, ProbeRun};
use radiosonde::probe::{Context, Scheduler};
use radiosonde::telemetry::Telemetry;
use report::{floor, say, table};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;
use tokio::sync::mpsc;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long the server stands still.
const PAUSE: Duration = Duration::from_millis(1_400);
/// Connections that wait for the server: more than come within a pause.
const BACKLOG: i32 = 2_048;
/// Results on their way.
const MAX_RESULTS: usize = 8_192;
/// So far may the percentile be from the closed form.
const TOLERANCE: f64 = 0.05;
/// The p99 of a healthy server, and of a client that omits.
const HEALTHY_MS: f64 = 10.0;

#[derive(Clone, Copy, Debug, Parser)]
struct Options {
    /// How long each probe runs.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Runs a second, 1 to 1,000.
    #[arg(long, default_value_t = 200)]
    rate: u64,
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

/// What the slots of a probe came to, in milliseconds, each list in order of size.
struct Readings {
    slots: usize,
    ran: usize,
    overlapped: usize,
    missed: usize,
    from_actual: Vec<f64>,
    from_intended: Vec<f64>,
    with_slots_not_run: Vec<f64>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    ensure!((1..=1_000).contains(&options.rate), "--rate is 1 to 1,000");
    let may = Readings::of(&slots(options, true)?);
    let must_not = Readings::of(&slots(options, false)?);
    let delayed = PAUSE.as_secs_f64() * options.rate as f64;
    let all = options.seconds * options.rate;
    let title = format!(
        "A pause of {PAUSE:?} at {} runs/s for {} s: {delayed:.0} of {all} slots, p99 in ms",
        options.rate, options.seconds
    );
    let header = [
        "runs",
        "slots",
        "ran",
        "overlapped",
        "missed",
        "from the actual start",
        "from the intended start",
        "and slots not run",
        "closed form",
    ];
    let rows = [("may overlap", &may), ("must not overlap", &must_not)];
    let rows = rows.map(|(name, readings)| readings.row(name, options));
    table(&title, &header, rows)?;
    verdicts(&may, &must_not, options)
}

/// Runs the probe and returns what the schedule recorded, a record a slot.
fn slots(options: Options, overlap: bool) -> anyhow::Result<Vec<ProbeRun>> {
    let clock = Clock::system();
    let pause_at = clock.monotonic().plus(Duration::from_secs(options.seconds) / 3);
    let address = pausing_server(clock.clone(), pause_at)?;
    // A slot each few milliseconds; the shortest `every` of a file is longer, so the cadence is set here.
    let definition = format!(
        "probes:\n  - {{ name: steady, every: 1d, timeout: 5s, http: {{ get: 'http://{address}/' }} }}\n"
    );
    let loaded = load_embedded(&[("probes/bench.yaml", &definition)], &|_| true);
    let problems: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
    let settings = loaded.settings.with_context(|| problems.join("\n"))?;
    let probe = settings.probes.first().context("a probe")?;
    let mut probe = radiosonde::probe::spec::ProbeSpec::clone(probe);
    probe.cadence = radiosonde::probe::spec::Cadence::Every(interval(options));
    probe.overlap = overlap;
    let (sender, mut results) = mpsc::channel(MAX_RESULTS);
    let telemetry = Telemetry::new();
    let context = Context::new(clock, telemetry.clone());
    let scheduler = Scheduler::start(context, sender, vec![probe.into()])?;
    let mut runs = Vec::new();
    let wanted = usize::try_from(options.seconds * options.rate)?;
    while runs.len() < wanted {
        runs.push(results.blocking_recv().context("the scheduler ended")?);
    }
    scheduler.stop(Duration::from_secs(5));
    ensure!(telemetry.probe_results_dropped_total.get() == 0, "results were dropped");
    runs.sort_by_key(|run| run.intended_start);
    Ok(runs)
}

fn verdicts(may: &Readings, must_not: &Readings, options: Options) -> anyhow::Result<()> {
    let expected = closed_form(options);
    let off = |figure: f64| (figure - expected).abs() / expected;
    let near = |what: &str, figures: &[f64]| {
        let figure = p99(figures);
        let words = format!("{figure:.0} ms, {:.1} % off", off(figure) * 100.0);
        floor(what, off(figure) <= TOLERANCE, &words)
    };
    near("runs that may overlap, from the intended start: within 5 %", &may.from_intended)?;
    near("runs that must not, with the slots not run: within 5 %", &must_not.with_slots_not_run)?;
    let omitted = p99(&must_not.from_actual);
    let what = "runs that must not overlap omit the pause from their own p99: below 10 ms";
    floor(what, omitted <= HEALTHY_MS, &format!("{omitted:.2} ms"))?;
    let delayed = PAUSE.as_secs_f64() * options.rate as f64;
    let counted = must_not.overlapped as f64;
    let what = "each slot that the pause swallowed is counted: within 5 %";
    let words = format!("{counted:.0} overlapped, {delayed:.0} expected");
    floor(what, (counted - delayed).abs() <= delayed * TOLERANCE, &words)?;
    say(
        "a slot not run has no latency of its own: in series it is a failed run, in budgets a bad one",
    )
}

fn interval(options: Options) -> Duration {
    Duration::from_secs(1) / u32::try_from(options.rate).unwrap_or(1)
}

/// The 99th percentile of all latencies from the intended start.
fn closed_form(options: Options) -> f64 {
    let slower = (options.seconds * options.rate) as f64 / 100.0;
    (PAUSE.as_secs_f64() - slower * interval(options).as_secs_f64()).max(0.0) * 1e3
}

/// Of figures in order, by nearest rank.
fn p99(figures: &[f64]) -> f64 {
    let rank = (figures.len() * 99).div_ceil(100);
    figures.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

// === impl Readings ===

impl Readings {
    fn of(runs: &[ProbeRun]) -> Self {
        let with = |outcome: Outcome| runs.iter().filter(move |run| run.outcome == outcome);
        let value = |run: &ProbeRun| run.latency_ns.unwrap_or(run.duration_ns) as f64 / 1e6;
        let late = |run: &ProbeRun| run.lateness_ns as f64 / 1e6;
        let ran: Vec<&ProbeRun> =
            runs.iter().filter(|run| run.duration_ns > 0 || run.latency_ns.is_some()).collect();
        let mut from_actual: Vec<f64> = ran.iter().map(|run| value(run)).collect();
        let mut from_intended: Vec<f64> = ran.iter().map(|run| late(run) + value(run)).collect();
        let mut with_slots_not_run = Vec::with_capacity(runs.len());
        let mut busy_until = UnixNanos::default();
        for run in runs {
            if run.duration_ns > 0 {
                busy_until = busy_until.max(run.ended());
                with_slots_not_run.push(late(run) + value(run));
            } else {
                let waited = busy_until.since(run.intended_start);
                with_slots_not_run.push(waited.as_secs_f64() * 1e3);
            }
        }
        for figures in [&mut from_actual, &mut from_intended, &mut with_slots_not_run] {
            figures.sort_by(f64::total_cmp);
        }
        Self {
            slots: runs.len(),
            ran: ran.len(),
            overlapped: with(Outcome::Overlapped).count(),
            missed: with(Outcome::Missed).count(),
            from_actual,
            from_intended,
            with_slots_not_run,
        }
    }

    fn row(&self, name: &str, options: Options) -> [String; 9] {
        [
            name.to_owned(),
            self.slots.to_string(),
            self.ran.to_string(),
            self.overlapped.to_string(),
            self.missed.to_string(),
            format!("{:.1}", p99(&self.from_actual)),
            format!("{:.1}", p99(&self.from_intended)),
            format!("{:.1}", p99(&self.with_slots_not_run)),
            format!("{:.1}", closed_form(options)),
        ]
    }
}

// === the server ===

/// Answers one connection after the other at once, but stands still once, from the first request
/// after `pause_at` on.
fn pausing_server(clock: Clock, pause_at: MonoNanos) -> anyhow::Result<SocketAddr> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from(socket);
    let address = listener.local_addr()?;
    let serve = move || {
        let mut paused = false;
        for stream in listener.incoming().flatten() {
            if !paused && clock.monotonic() >= pause_at {
                paused = true;
                let until = clock.monotonic().plus(PAUSE);
                while clock.monotonic() < until {
                    std::thread::park_timeout(until.since(clock.monotonic()));
                }
            }
            // The probe sees a failure by itself.
            drop(answer(stream));
        }
    };
    drop(std::thread::Builder::new().name("server".to_owned()).spawn(serve)?);
    Ok(address)
}

fn answer(mut stream: TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let (mut head, mut piece) = (Vec::new(), [0; 4096]);
    while !head.ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut piece)?;
        ensure!(read > 0, "the connection was closed");
        head.extend_from_slice(piece.get(..read).unwrap_or_default());
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
    Ok(())
}
