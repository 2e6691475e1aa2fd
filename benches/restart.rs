//! Restart after a full day: from exec to ready, with a checkpoint and without.
//!
//! *Subject*: the real binary on a data folder that holds a day of the shipped probes and of phones (21
//! spans a second, a thousand a second in the last quarter of an hour, so that about a million recent
//! span ids are to be remembered). The folder is made by the daemon's own parts on a clock that is
//! moved by hand: journal, fold, checkpoints, history.
//! *Baseline*, in the same run and in turns: the same binary on an empty folder.
//! *Limit*: one processor, which reads the checkpoint and folds what the journal holds beyond it;
//! files come from the page cache.
//! *Reading*: time from exec until `/-/ready` answers 200, and until the first `/metrics` has come.
//! The floor is asked of a tail of 256 MiB. The last row starts without any checkpoint, which only
//! happens after damage: it tells how fast a journal replays. Beneath, what a day of history takes on
//! the disk.
//!
//! `cargo bench --bench restart -- [--hours N] [--rounds N]`; takes some minutes and 3 GB in the
//! temporary folder.

#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/day.rs"]
mod day;
#[path = "support/phones.rs"]
mod phones;
#[path = "support/report.rs"]
mod report;
#[path = "support/spread.rs"]
mod spread;

use clap::Parser;
use daemon::{Daemon, free_ports};
use day::{Built, Folder};
use radiosonde::base::clock::Clock;
use report::{floor, say, table};
use spread::Spread;
use std::path::Path;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The floor of a restart.
const FLOOR_SECONDS: f64 = 10.0;
/// The tail for which it is asked.
const TAIL_BYTES: u64 = 256 << 20;

#[derive(Debug, Parser)]
struct Options {
    /// How long the daemon has lived.
    #[arg(long, default_value_t = 24)]
    hours: u64,
    /// Restarts of each kind.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

/// Restarts of one kind.
struct Restarts {
    ready: Spread,
    metrics: Spread,
    cpu: Spread,
    empty: Spread,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let clock = Clock::system();
    let dir = tempfile::tempdir()?;
    let folder = Folder::new(dir.path())?;
    say(&format!("living through {} hours", options.hours))?;
    let built = folder.live(options.hours, &clock)?;
    say(&format!(
        "{} probe runs, {} spans in {} requests, {} series; journal {} MiB, checkpoint {} MiB, history {} MiB",
        built.runs,
        built.spans,
        built.requests,
        built.series,
        built.journal_bytes >> 20,
        built.checkpoint_bytes >> 20,
        built.history_bytes >> 20,
    ))?;
    let typical = restarts(&folder, options.rounds, &clock)?;
    let tail = folder.append(TAIL_BYTES, &clock)?;
    let busy = restarts(&folder, options.rounds, &clock)?;
    folder.remove_checkpoints()?;
    let replayed = restarts(&folder, 1, &clock)?;
    let row = |name: String, restarts: &Restarts| {
        let Restarts { ready, metrics, cpu, empty } = restarts;
        let ratio = ready.median / empty.median;
        [
            name,
            format!("{ready:.2}"),
            format!("{metrics:.2}"),
            format!("{cpu:.2}"),
            format!("{empty:.2}"),
            format!("{ratio:.1}"),
        ]
    };
    let rows = [
        row("checkpoint + 60 s".to_owned(), &typical),
        row(format!("checkpoint + 256 MiB ({} spans)", tail.spans), &busy),
        row("no checkpoint: the whole journal".to_owned(), &replayed),
    ];
    let header =
        ["restart of", "ready, s", "first /metrics, s", "CPU s", "empty folder, s", "ratio"];
    table("Restart", &header, rows)?;
    print_rates(&built, &tail, [&busy, &typical, &replayed])?;
    floor(
        "ready within 10 s after 256 MiB",
        busy.ready.median <= FLOOR_SECONDS,
        &format!("{:.2} s", busy.ready),
    )
}

fn print_rates(
    built: &Built,
    tail: &Built,
    [busy, typical, replayed]: [&Restarts; 3],
) -> anyhow::Result<()> {
    let of_tail = busy.ready.median - typical.ready.median;
    let (whole, spans) = (replayed.ready.median, built.spans + tail.spans);
    let records = built.runs + built.requests + tail.requests;
    let rows = [
        ["replay of the tail, spans/s".to_owned(), format!("{:.0}", tail.spans as f64 / of_tail)],
        ["replay of everything, spans/s".to_owned(), format!("{:.0}", spans as f64 / whole)],
        ["replay of everything, records/s".to_owned(), format!("{:.0}", records as f64 / whole)],
        [
            "journal bytes per span".to_owned(),
            format!("{:.0}", tail.journal_bytes as f64 / tail.spans as f64),
        ],
        [
            "history bytes per series and day".to_owned(),
            format!("{:.0}", built.history_bytes as f64 / built.series as f64 / built.days),
        ],
        [
            "history bytes per ten-second value".to_owned(),
            format!("{:.1}", built.history_bytes as f64 / built.values as f64),
        ],
    ];
    table("Rates and sizes", &["", "figure"], rows)
}

fn restarts(folder: &Folder, rounds: usize, clock: &Clock) -> anyhow::Result<Restarts> {
    let [mut ready, mut metrics, mut cpu, mut empty] = [const { Vec::new() }; 4];
    for _ in 0..rounds {
        let [until_ready, until_metrics, used] = restart(folder.path(), clock)?;
        ready.push(until_ready);
        metrics.push(until_metrics);
        cpu.push(used);
        let nothing = tempfile::tempdir()?;
        let [until_ready, ..] = restart(nothing.path(), clock)?;
        empty.push(until_ready);
    }
    Ok(Restarts {
        ready: Spread::of(ready)?,
        metrics: Spread::of(metrics)?,
        cpu: Spread::of(cpu)?,
        empty: Spread::of(empty)?,
    })
}

/// Executes the binary, waits, and kills it before it makes a checkpoint of its own: seconds to
/// ready and to the metrics, and of processor time.
fn restart(dir: &Path, clock: &Clock) -> anyhow::Result<[f64; 3]> {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = |name: &str| shipped.join(name).display().to_string();
    let files = ["--probes", &folder("probes"), "--alerts", &folder("alerts")];
    let ports = free_ports()?;
    let began = clock.monotonic();
    let seconds = || clock.monotonic().since(began).as_secs_f64();
    let mut daemon = Daemon::execute(dir, ports, &files)?;
    let _ = daemon.wait_until_ready(clock)?;
    let ready = seconds();
    let _ = daemon.get("/metrics")?;
    let metrics = seconds();
    Ok([ready, metrics, cpu::used(&daemon.id().to_string())?.as_secs_f64()])
}
