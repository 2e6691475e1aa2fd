//! Ten thousand WebSockets that a probe holds, and a schedule beside them.
//!
//! *Subject*: this process: the real scheduler, a probe with `hold:` that keeps its streams open, and
//! twenty probes that each ask over HTTP once a second.
//! *Baseline*: a bare tokio client in a process of its own that holds as many upgraded sockets, a task and
//! half a KiB for each.
//! Servers are in a process of their own, so that their memory does not count.
//! *Limit*: resident memory and how soon the probe runtime gets to a slot. What the kernel keeps for
//! sockets is in no process's resident memory.
//! *Reading*: lateness is from the instant that the schedule wants to the start of the run.
//!
//! Each end needs an open file a stream: `ulimit -n` above that number. The soft limit is raised to the
//! hard one where that suffices.
//!
//! `cargo bench --bench held_streams -- [--streams N] [--seconds N]`

#[path = "support/process.rs"]
mod process;
#[path = "support/report.rs"]
mod report;

use anyhow::{Context as _, ensure};
use clap::Parser;
use futures::StreamExt;
use process::Twin;
use radiosonde::base::clock::Clock;
use radiosonde::config::load_embedded;
use radiosonde::model::probe::ProbeRun;
use radiosonde::probe::reference::Percentiles;
use radiosonde::probe::{Context, Scheduler};
use radiosonde::telemetry::Telemetry;
use report::{floor, say, table};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FLOOR_MIB: f64 = 300.0;
const FLOOR_LATENESS_MS: f64 = 5.0;
/// Probes beside the streams, one run a second each.
const BESIDE: usize = 20;
/// Files that are open besides streams.
const OTHER_FILES: u64 = 200;
/// Connections that wait for the server.
const BACKLOG: u32 = 4_096;
/// The bare client opens so many at the same time, as the probe does.
const OPENING_AT_ONCE: usize = 64;

#[derive(Debug, Parser)]
struct Options {
    /// Streams, 1 to 10,000.
    #[arg(long, default_value_t = 10_000)]
    streams: usize,
    /// How long the schedule is watched, without streams and then with them.
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Be the server.
    #[arg(long, hide = true)]
    serve: bool,
    /// Be the bare client of this server.
    #[arg(long, hide = true)]
    bare: Option<SocketAddr>,
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

/// What the probes beside the streams came to, milliseconds.
struct Beside {
    runs: usize,
    lateness: Percentiles,
    latency: Percentiles,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    allow_files(options.streams as u64 + OTHER_FILES)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if options.serve {
        return runtime.block_on(serve());
    }
    if let Some(server) = options.bare {
        return runtime.block_on(hold_bare(server, options.streams));
    }
    let server = Twin::execute(&["--serve", "--streams", &options.streams.to_string()])?;
    let address = *server.addresses.first().context("an address")?;
    let bare = bare_mib(address, options.streams)?;
    measure(&options, address, bare)
}

fn measure(options: &Options, server: SocketAddr, bare: [f64; 2]) -> anyhow::Result<()> {
    let clock = Clock::system();
    let (sender, mut results) = mpsc::channel(4_096);
    let context = Context::new(clock.clone(), Telemetry::new());
    let scheduler = Scheduler::start(context, sender, definitions(server, options.streams)?)?;
    let began = clock.monotonic();
    let without = watch(&mut results, options.seconds)?;
    let before = resident_mib("self")?;
    let opening = clock.monotonic();
    let opened = scheduler.run_now("crowd")?.blocking_recv()?;
    ensure!(opened.succeeded(), "{:?}", opened.failure);
    let took = clock.monotonic().since(opening);
    while results.try_recv().is_ok() {}
    let with = watch(&mut results, options.seconds)?;
    let after = resident_mib("self")?;
    let again = scheduler.run_now("crowd")?.blocking_recv()?;
    let reused = again.steps.iter().flat_map(|step| &step.attributes);
    let mut reused = reused.filter(|(name, _)| name == "connection");
    ensure!(again.succeeded() && reused.next().is_some(), "the streams were not held: {again:?}");
    scheduler.stop(Duration::from_secs(5));

    let [bare_before, bare_after] = bare;
    let each = |before: f64, after: f64| (after - before) * 1024.0 / options.streams as f64;
    let memory = |name: &str, before: f64, after: f64| {
        [
            name.to_owned(),
            format!("{before:.1}"),
            format!("{after:.1}"),
            format!("{:.2}", each(before, after)),
            format!("{:.1}", each(before, after) / each(bare_before, bare_after)),
        ]
    };
    let title = format!("{} held WebSockets: resident memory of the client", options.streams);
    let header = ["client", "before, MiB", "with them, MiB", "KiB a stream", "ratio"];
    let rows =
        [memory("bare tokio client", bare_before, bare_after), memory("probe", before, after)];
    table(&title, &header, rows)?;
    let title = format!("{BESIDE} probes beside them, a run a second each, ms");
    let header = ["", "runs", "lateness p50 / p90 / p99", "latency p50 / p90 / p99"];
    table(&title, &header, [without.row("without streams"), with.row("with streams held")])?;
    let total = clock.monotonic().since(began);
    say(&format!("opened in {took:.1?}; all of it took {total:.0?}"))?;
    let what = "below 300 MiB resident with all streams held";
    floor(what, after < FLOOR_MIB, &format!("{after:.1} MiB"))?;
    let p99 = with.lateness.p99 as f64 / 1e6;
    let what = "p99 of lateness beside them below 5 ms";
    floor(what, p99 < FLOOR_LATENESS_MS, &format!("{p99:.2} ms"))
}

fn definitions(
    server: SocketAddr,
    streams: usize,
) -> anyhow::Result<Vec<std::sync::Arc<radiosonde::probe::spec::ProbeSpec>>> {
    let mut definition = format!(
        "probes:\n  - {{ name: crowd, every: 1d, timeout: 60s, steps: [ {{ as: crowd, hold: true, \
         count: {streams}, websocket: {{ url: 'ws://{server}/' }} }} ] }}\n"
    );
    for number in 1..=BESIDE {
        definition.push_str(&format!(
            "  - {{ name: beside-{number}, every: 1s, timeout: 1s, http: {{ get: 'http://{server}/' }} }}\n"
        ));
    }
    let loaded = load_embedded(&[("probes/bench.yaml", &definition)], &|_| true);
    let problems: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
    Ok(loaded.settings.with_context(|| problems.join("\n"))?.probes)
}

/// The runs of so many seconds.
fn watch(results: &mut mpsc::Receiver<ProbeRun>, seconds: u64) -> anyhow::Result<Beside> {
    let (mut lateness, mut latency) = (Vec::new(), Vec::new());
    while lateness.len() < BESIDE * usize::try_from(seconds)? {
        let run = results.blocking_recv().context("the scheduler ended")?;
        ensure!(run.succeeded(), "{}: {:?}", run.probe, run.failure);
        if run.probe != "crowd" {
            lateness.push(i64::try_from(run.lateness_ns)?);
            latency.push(i64::try_from(run.latency_ns.context("no value")?)?);
        }
    }
    let runs = lateness.len();
    let of = |figures| Percentiles::of(figures).context("no runs");
    Ok(Beside { runs, lateness: of(lateness)?, latency: of(latency)? })
}

impl Beside {
    fn row(&self, name: &str) -> [String; 4] {
        let three = |of: Percentiles| {
            let [p50, p90, p99] = [of.p50, of.p90, of.p99].map(|ns| ns as f64 / 1e6);
            format!("{p50:.2} / {p90:.2} / {p99:.2}")
        };
        [name.to_owned(), self.runs.to_string(), three(self.lateness), three(self.latency)]
    }
}

/// Resident memory of a process (`self` or a number), MiB.
fn resident_mib(process: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    let kib: f64 = number.context("the system does not tell")?.parse()?;
    Ok(kib / 1024.0)
}

// === open files ===

/// Sees to it that so many files may be open, if need be by a shell that raises the limit and then
/// becomes this program again.
fn allow_files(needed: u64) -> anyhow::Result<()> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let mut limits = line.context("no limit is told")?.split_whitespace();
    let mut next = || limits.next().map_or(0, |limit| limit.parse::<u64>().unwrap_or(u64::MAX));
    let (soft, hard) = (next(), next());
    if soft >= needed {
        return Ok(());
    }
    ensure!(
        hard >= needed,
        "{needed} open files are needed, {hard} are allowed: raise `ulimit -Hn`"
    );
    let raised = format!("ulimit -n {needed} && exec \"$0\" \"$@\"");
    let program = std::env::current_exe()?;
    let failed = Command::new("sh")
        .arg("-c")
        .arg(raised)
        .arg(program)
        .args(std::env::args_os().skip(1))
        .exec();
    Err(failed).context("no shell raises the limit of open files")
}

// === the server ===

/// Says where it listens, and holds every WebSocket; other requests it answers.
async fn serve() -> anyhow::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let listener = socket.listen(BACKLOG)?;
    say(&listener.local_addr()?.to_string())?;
    loop {
        let (stream, _) = listener.accept().await?;
        // The client sees a failure by itself.
        drop(tokio::spawn(async move { drop(answer(stream).await) }));
    }
}

async fn answer(mut stream: TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let head = read_head(&mut stream).await?;
    let key = head.lines().filter_map(|line| line.split_once(": ")).find_map(|(name, value)| {
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| derive_accept_key(value.as_bytes()))
    });
    let Some(key) = key else {
        let plain = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        return Ok(stream.write_all(plain.as_bytes()).await?);
    };
    let upgraded = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: {key}\r\n\r\n"
    );
    stream.write_all(upgraded.as_bytes()).await?;
    until_closed(stream).await
}

async fn read_head(stream: &mut TcpStream) -> anyhow::Result<String> {
    let (mut head, mut piece) = (Vec::new(), [0; 1024]);
    while !head.ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut piece).await?;
        ensure!(read > 0, "the connection was closed");
        head.extend_from_slice(piece.get(..read).unwrap_or_default());
    }
    Ok(String::from_utf8(head)?)
}

async fn until_closed(mut stream: TcpStream) -> anyhow::Result<()> {
    let mut piece = [0; 512];
    while stream.read(&mut piece).await? > 0 {}
    Ok(())
}

// === the bare client ===

/// Resident memory of a bare client without streams and with them, MiB.
fn bare_mib(server: SocketAddr, streams: usize) -> anyhow::Result<[f64; 2]> {
    let (server, streams) = (server.to_string(), streams.to_string());
    let output = Command::new(std::env::current_exe()?)
        .args(["--bare", &server, "--streams", &streams])
        .output()?;
    ensure!(output.status.success(), "the bare client failed: {output:?}");
    let text = String::from_utf8(output.stdout)?;
    let mut figures = text.split_whitespace().map(str::parse::<f64>);
    let mut next = || anyhow::Ok(figures.next().context("a figure")??);
    Ok([next()?, next()?])
}

async fn hold_bare(server: SocketAddr, streams: usize) -> anyhow::Result<()> {
    let before = resident_mib("self")?;
    let opening = futures::stream::iter(0..streams).map(|_| async move {
        let mut stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let request = format!(
            "GET / HTTP/1.1\r\nhost: {server}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let head = read_head(&mut stream).await?;
        ensure!(head.starts_with("HTTP/1.1 101"), "{head}");
        Ok(tokio::spawn(until_closed(stream)))
    });
    let opened: Vec<_> = opening.buffer_unordered(OPENING_AT_ONCE).collect().await;
    let held = opened.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    say(&format!("{before} {}", resident_mib("self")?))?;
    held.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(())
}
