//! What a probe adds to the echo of a WebSocket.
//!
//! *Subject*: runs of the real scheduler and probe runtime, on request: dial, upgrade, send, match. The
//! value is that of the run, from the send to the read that returned the echo.
//! *Baselines*, in turns with the subject and against the same server: a blocking client of the standard
//! library's sockets on the main thread, and a client on a tokio runtime of its own with one thread, as
//! the probe runtime has it. Both stamp right before they send and right after they read.
//! *Limit*: how soon the machine wakes a thread: every reading is a wake-up of the server and one of the
//! client. The server's own time, which it records, is taken off.
//!
//! `cargo bench --bench probe_echo -- [--samples N]`

#[path = "support/report.rs"]
mod report;

use anyhow::{Context as _, ensure};
use clap::Parser;
use futures::{SinkExt, StreamExt};
use radiosonde::base::clock::Clock;
use radiosonde::config::load_embedded;
use radiosonde::probe::reference::{DelayServer, Percentiles, Protocol};
use radiosonde::probe::{Context, Scheduler};
use radiosonde::telemetry::Telemetry;
use report::{floor, table};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{self, Message};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What comes back.
const MESSAGE: &str = "echo";
/// The floor of what is added in the median.
const FLOOR: Duration = Duration::from_micros(50);
/// Not measured: first connections warm up whatever is lazy.
const WARM_UP: usize = 50;

#[derive(Debug, Parser)]
struct Options {
    /// Echoes of each client.
    #[arg(long, default_value_t = 4_000)]
    samples: usize,
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

/// Three clients of one server.
struct Bench {
    clock: Clock,
    server: DelayServer,
    scheduler: Scheduler,
    bare: Runtime,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let clock = Clock::system();
    let server = DelayServer::start(Protocol::WebSocket, Duration::ZERO, clock.clone())?;
    // Of this way out nobody reads: results go to who asked.
    let (sender, _results) = mpsc::channel(1);
    let scheduler = scheduler(clock.clone(), server.address(), sender)?;
    let bare = Builder::new_current_thread().enable_all().build()?;
    let bench = Bench { clock, server, scheduler, bare };
    let mut samples: [Vec<i64>; 3] = Default::default();
    for number in 0..options.samples + WARM_UP {
        let turn = bench.turn(number)?;
        if number >= WARM_UP {
            samples.iter_mut().zip(turn).for_each(|(samples, ns)| samples.push(ns));
        }
    }
    let [probe, blocking, tokio] = samples;
    let added = |to: &[i64]| probe.iter().zip(to).map(|(probe, bare)| probe - bare).collect();
    let (over_blocking, over_tokio) = (added(&blocking), added(&tokio));
    let of = |figures: Vec<i64>| Percentiles::of(figures).context("no sample");
    let (probe, blocking, tokio) = (of(probe)?, of(blocking)?, of(tokio)?);
    let rows = [
        row("bare blocking client", blocking, blocking),
        row("bare tokio client", tokio, blocking),
        row("probe", probe, blocking),
    ];
    let title =
        format!("Echo of a WebSocket on loopback, us ({} of each, in turns)", options.samples);
    let header = ["client", "p50", "p90", "p99", "ratio of p50 to blocking"];
    table(&title, &header, rows)?;
    let pairs = [("blocking", blocking, of(over_blocking)?), ("tokio", tokio, of(over_tokio)?)];
    let rows = pairs.map(|(name, bare, paired)| {
        let difference = [probe.p50 - bare.p50, probe.p90 - bare.p90, probe.p99 - bare.p99];
        let [p50, p90, p99] = difference.map(micros);
        [format!("over {name}"), p50, p90, p99, micros(paired.p50)]
    });
    let header = ["added", "p50", "p90", "p99", "median of pairs"];
    table("What the probe adds, us: difference of percentiles", &header, rows)?;
    let added = probe.p50 - blocking.p50;
    let met = i128::from(added) <= FLOOR.as_nanos() as i128;
    floor("at most 50 us added in the median", met, &format!("{} us", micros(added)))
}

fn row(name: &str, of: Percentiles, base: Percentiles) -> [String; 5] {
    let [p50, p90, p99] = [of.p50, of.p90, of.p99].map(micros);
    [name.to_owned(), p50, p90, p99, format!("{:.2}", of.p50 as f64 / base.p50 as f64)]
}

fn micros(ns: i64) -> String {
    format!("{:.1}", ns as f64 / 1e3)
}

fn scheduler(
    clock: Clock,
    address: SocketAddr,
    sender: mpsc::Sender<radiosonde::model::probe::ProbeRun>,
) -> anyhow::Result<Scheduler> {
    let definition = format!(
        "probes:\n  - {{ name: echo, every: 1d, timeout: 5s, websocket: {{ url: 'ws://{address}/', \
         send: {MESSAGE}, expect: {{ text: {MESSAGE} }} }} }}\n"
    );
    let loaded = load_embedded(&[("probes/bench.yaml", &definition)], &|_| true);
    let problems: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
    let settings = loaded.settings.with_context(|| problems.join("\n"))?;
    Ok(Scheduler::start(Context::new(clock, Telemetry::new()), sender, settings.probes)?)
}

// === impl Bench ===

impl Bench {
    /// An echo of each client, in an order that changes; nanoseconds.
    fn turn(&self, number: usize) -> anyhow::Result<[i64; 3]> {
        let mut turn = [0; 3];
        for place in 0..3 {
            let client = (number + place) % 3;
            let took = match client {
                0 => self.probe()?,
                1 => self.blocking()?,
                _ => self.bare.block_on(self.tokio())?,
            };
            let servers = self.server.held_back().context("the server was not asked")?;
            if let Some(slot) = turn.get_mut(client) {
                *slot = i64::try_from(took.saturating_sub(servers).as_nanos())?;
            }
        }
        Ok(turn)
    }

    fn probe(&self) -> anyhow::Result<Duration> {
        let run = self.scheduler.run_now("echo")?.blocking_recv()?;
        ensure!(run.succeeded(), "{:?}", run.failure);
        Ok(Duration::from_nanos(run.latency_ns.context("no value")?))
    }

    fn blocking(&self) -> anyhow::Result<Duration> {
        let stream = TcpStream::connect(self.server.address())?;
        stream.set_nodelay(true)?;
        let url = format!("ws://{}/", self.server.address());
        let (mut socket, _) = tungstenite::client(url, stream)?;
        let from = self.clock.monotonic();
        socket.send(Message::text(MESSAGE))?;
        let _echo = socket.read()?;
        let took = self.clock.monotonic().since(from);
        socket.get_ref().shutdown(Shutdown::Both)?;
        Ok(took)
    }

    async fn tokio(&self) -> anyhow::Result<Duration> {
        let stream = tokio::net::TcpStream::connect(self.server.address()).await?;
        stream.set_nodelay(true)?;
        let url = format!("ws://{}/", self.server.address());
        let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await?;
        let from = self.clock.monotonic();
        socket.send(Message::text(MESSAGE)).await?;
        let _echo = socket.next().await.context("no echo")??;
        Ok(self.clock.monotonic().since(from))
    }
}
