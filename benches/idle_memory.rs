//! Memory of a daemon that has nothing to do but its probes.
//!
//! *Subject*: the real binary with the shipped `probes/` and `alerts/`. Nothing listens where they
//! point, so every run is a refused connection: the smallest load with full machinery.
//! *Baselines*, at the same time: the binary without any probe or objective, and a bare server of
//! tokio, axum and the same allocator.
//! *Limit*: resident memory. Its file-backed part is the binary itself as far as it was touched, and is
//! shared; the anonymous part is what the daemon allocated.
//! *Reading*: resident memory a second after readiness, at the end, and its peak. A daemon that leaks
//! would differ between the first two and with `--seconds`.
//!
//! `cargo bench --bench idle_memory -- [--seconds N]`

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/report.rs"]
mod report;

use anyhow::{Context, ensure};
use axum::Router;
use axum::routing::get;
use clap::Parser;
use daemon::{Daemon, free_ports};
use radiosonde::base::clock::Clock;
use report::{floor, table};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The floor of resident memory.
const FLOOR_MIB: f64 = 60.0;
/// Where the shipped probes point: to the demo's back end.
const DEMO_PORT: &str = ":7070/";

#[derive(Debug, Parser)]
struct Options {
    /// How long to stay idle.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Be the bare server on this port.
    #[arg(long, hide = true)]
    bare: Option<u16>,
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

/// Memory of a process, MiB.
#[derive(Clone, Copy)]
struct Memory {
    resident: f64,
    anonymous: f64,
    peak: f64,
}

/// A bare server that runs; killed when dropped.
struct Bare(Child);

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let Some(port) = options.bare {
        return serve_bare(port);
    }
    let clock = Clock::system();
    let (full_dir, empty_dir) = (tempfile::tempdir()?, tempfile::tempdir()?);
    ship(full_dir.path())?;
    let mut full = Daemon::execute(full_dir.path(), free_ports()?, &[])?;
    let mut empty = Daemon::execute(empty_dir.path(), free_ports()?, &[])?;
    let bare = Bare::execute()?;
    let _ = full.wait_until_ready(&clock)?;
    let _ = empty.wait_until_ready(&clock)?;
    let processes = [
        ("shipped probes and alerts", full.id()),
        ("no probes, no objectives", empty.id()),
        ("bare tokio and axum", bare.0.id()),
    ];
    std::thread::park_timeout(Duration::from_secs(1));
    let first = processes.map(|(_, id)| Memory::of(id));
    let began = clock.monotonic();
    while let Some(left) =
        Duration::from_secs(options.seconds).checked_sub(clock.monotonic().since(began))
    {
        std::thread::park_timeout(left);
    }
    let last = processes.map(|(_, id)| Memory::of(id));
    let runs = sum(&full.get("/metrics")?, "radiosonde_probe_runs_total{");
    ensure!(runs > 0, "no probe ran");
    let mut rows = Vec::new();
    let [_, _, base] = &last;
    let base = base.as_ref().map_or(f64::NAN, |memory| memory.resident);
    for ((name, _), (first, last)) in processes.into_iter().zip(first.into_iter().zip(last)) {
        let (first, last) = (first?, last?);
        rows.push((name, first, last));
    }
    let cells = rows.iter().map(|(name, first, last)| {
        [
            (*name).to_owned(),
            format!("{:.1}", first.resident),
            format!("{:.1}", last.resident),
            format!("{:.1}", last.anonymous),
            format!("{:.1}", last.peak),
            format!("{:.1}", last.resident / base),
        ]
    });
    let title = format!("Idle memory, MiB, over {} s and {runs} probe runs", options.seconds);
    let header = ["", "resident, start", "resident, end", "anonymous, end", "peak", "ratio"];
    table(&title, &header, cells)?;
    let peak = rows.first().map_or(f64::NAN, |(_, _, last)| last.peak);
    floor("60 MiB resident when idle", peak <= FLOOR_MIB, &format!("{peak:.1} MiB at its peak"))
}

/// Copies the shipped files to `dir`, with a port instead of the demo's on which nobody listens.
fn ship(dir: &Path) -> anyhow::Result<()> {
    let [nobody, ..] = free_ports()?;
    for folder in ["probes", "probes/targets", "alerts"] {
        std::fs::create_dir(dir.join(folder))?;
        for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                continue;
            }
            let text = std::fs::read_to_string(entry.path())?;
            let text = text.replace(DEMO_PORT, &format!(":{nobody}/"));
            std::fs::write(dir.join(folder).join(entry.file_name()), text)?;
        }
    }
    Ok(())
}

/// The sum of the samples whose lines begin so.
fn sum(metrics: &str, prefix: &str) -> u64 {
    let lines = metrics.lines().filter(|line| line.starts_with(prefix));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
}

impl Memory {
    fn of(process: u32) -> anyhow::Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
        let mib = |field: &str| -> anyhow::Result<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            let number = line.and_then(|line| line.split_whitespace().nth(1));
            let kib: f64 = number.context("the system does not tell")?.parse()?;
            Ok(kib / 1024.0)
        };
        Ok(Self { resident: mib("VmRSS")?, anonymous: mib("RssAnon")?, peak: mib("VmHWM")? })
    }
}

// === the bare server ===

fn serve_bare(port: u16) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        let router = Router::new().route("/-/ready", get(async || "ready"));
        axum::serve(listener, router).await.context("the bare server ended")
    })
}

impl Bare {
    fn execute() -> anyhow::Result<Self> {
        let [_, _, port] = free_ports()?;
        let program = std::env::current_exe()?;
        let bare = Self(Command::new(program).arg("--bare").arg(port.to_string()).spawn()?);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        Ok(bare)
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
