//! OTLP ingestion: spans per second that the daemon acknowledges durably, and what one costs.
//!
//! *Subject*: the real binary as a child process. Requests of 512 phones' spans, gzip protobuf over
//! OTLP/HTTP on kept-alive connections; each answer comes after inflation, decoding, validation,
//! redaction, the bulk lane of the journal and its fdatasync, and everything is folded (dedupe,
//! series, four SLOs) within the measured time.
//! *Baseline*, in the same run: a server that only receives, inflates and decodes with the same
//! hyper, zlib-rs, prost, allocator and runtime, then answers 200: no validation, no redaction, no
//! disk, no fold.
//! *Limit*: the processors. Load and server share them, so the rate is a floor and moves with
//! whatever else runs; processor time per million spans is the steadier figure. The disk takes some
//! hundred bytes a span and a flush for each group of requests.
//! *Reading*: rounds alternate between the two; a figure is the median round with the lowest and
//! highest in brackets, a ratio is that of the two in the same round. `folded` is the rate up to the
//! moment when `/metrics` accounts for every span: what can be sustained.
//!
//! `cargo bench --bench ingest -- [--requests N] [--rounds N] [--connections N]`; at least 2 rounds.

#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/phones.rs"]
mod phones;
#[path = "support/report.rs"]
mod report;
#[path = "support/spread.rs"]
mod spread;

use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::Parser;
use daemon::{Daemon, free_ports};
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use prost::Message;
use radiosonde::base::clock::Clock;
use radiosonde::wire::otlp::ExportTraceServiceRequest;
use report::{floor, say, table};
use spread::Spread;
use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The same allocator as the binary's, for the baseline.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Spans in a request: the largest batch that SDKs send by default.
const SPANS: usize = 512;
/// Requests that warm up connections, allocator and series before the measured ones.
const WARM_UP: usize = 100;
/// The floor, on two processors shared with the load.
const FLOOR: f64 = 100_000.0;
/// The fold catches up within this time after the last answer.
const FOLD_WITHIN: Duration = Duration::from_secs(60);
/// Outcomes into which received spans are divided.
const OUTCOMES: [&str; 5] = ["stored", "duplicate", "rejected", "shed", "too_late"];

/// The objectives that these spans count for, as a file of `alerts/`.
const OBJECTIVES: &str = r#"slos:
  - name: send-message-on-phones
    objective: 99%
    window: 30d
    latency: { http: "POST /rooms/{id}/messages", where: { os.name: [Android, iOS] }, under: 300ms }
  - name: read-history-on-phones
    objective: 99%
    window: 30d
    latency: { http: "GET /rooms/{id}/messages", under: 500ms }
  - name: requests-on-phones
    objective: 99.5%
    window: 30d
    availability: { http: "GET /feed" }
  - name: screens-load
    objective: 95%
    window: 7d
    latency: { span: "RoomScreen load", under: 400ms }
"#;

#[derive(Debug, Parser)]
struct Options {
    /// Measured requests in a round.
    #[arg(long, default_value_t = 1_500)]
    requests: usize,
    /// Rounds of each kind.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Connections that each have one request in flight.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Be the baseline: listen on this port.
    #[arg(long, hide = true)]
    bare: Option<u16>,
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

/// Prepared requests, head and body in one piece each.
struct Load {
    requests: Vec<Vec<u8>>,
    /// Bytes of a span in protobuf.
    plain_bytes: f64,
}

/// What came of sending a part of the load.
struct Sent {
    took: Duration,
    /// Time to the answer of each request, rising.
    answers: Vec<Duration>,
    refused: usize,
}

/// A measured round.
struct Round {
    acknowledged_per_second: f64,
    folded_per_second: f64,
    cpu_per_million: f64,
    load_cpu_per_million: f64,
    median_answer_ms: f64,
    slow_answer_ms: f64,
    disk_bytes: f64,
}

/// A baseline that runs; killed when dropped.
struct Bare(Child);

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let Some(port) = options.bare {
        return serve_bare(port);
    }
    let clock = Clock::system();
    let load = Load::prepare(WARM_UP + options.requests, &clock)?;
    let (mut bare, mut radiosonde) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        // Who goes first alternates, so that a drift of the machine favours neither.
        if round % 2 == 0 {
            bare.push(measure_bare(&load, &options, &clock)?);
            radiosonde.push(measure_radiosonde(&load, &options, &clock)?);
        } else {
            radiosonde.push(measure_radiosonde(&load, &options, &clock)?);
            bare.push(measure_bare(&load, &options, &clock)?);
        }
    }
    print(&load, &options, &bare, &radiosonde)
}

fn print(
    load: &Load,
    options: &Options,
    bare: &[Round],
    radiosonde: &[Round],
) -> anyhow::Result<()> {
    let wire_bytes: usize = load.requests.iter().map(Vec::len).sum();
    let wire_bytes = wire_bytes as f64 / (load.requests.len() * SPANS) as f64;
    say(&format!(
        "{} rounds of {} requests of {SPANS} spans over {} connections; a span is {:.0} bytes in protobuf, {wire_bytes:.0} on the wire",
        options.rounds, options.requests, options.connections, load.plain_bytes,
    ))?;
    let row =
        |name: &str, digits: usize, figure: fn(&Round) -> f64| -> anyhow::Result<[String; 4]> {
            let ratio =
                Spread::of(radiosonde.iter().zip(bare).map(|(r, b)| figure(r) / figure(b)))?;
            let (own, base) =
                (Spread::of(radiosonde.iter().map(figure))?, Spread::of(bare.iter().map(figure))?);
            Ok([
                name.to_owned(),
                format!("{own:.digits$}"),
                format!("{base:.digits$}"),
                format!("{ratio:.2}"),
            ])
        };
    let rows = [
        row("spans/s acknowledged", 0, |r| r.acknowledged_per_second)?,
        row("spans/s folded", 0, |r| r.folded_per_second)?,
        row("CPU s per million spans", 2, |r| r.cpu_per_million)?,
        row("load's CPU s per million", 2, |r| r.load_cpu_per_million)?,
        row("answer p50, ms", 1, |r| r.median_answer_ms)?,
        row("answer p99, ms", 1, |r| r.slow_answer_ms)?,
        [
            "journal bytes per span".to_owned(),
            format!("{:.0}", Spread::of(radiosonde.iter().map(|r| r.disk_bytes))?),
            "none".to_owned(),
            String::new(),
        ],
    ];
    table("OTLP/HTTP ingestion", &["", "radiosonde", "inflate + decode only", "ratio"], rows)?;
    let rate =
        Spread::of(radiosonde.iter().map(|r| r.folded_per_second.min(r.acknowledged_per_second)))?;
    floor("100,000 spans/s, durable and folded", rate.median >= FLOOR, &format!("{rate:.0}"))
}

// === the two servers ===

fn measure_radiosonde(load: &Load, options: &Options, clock: &Clock) -> anyhow::Result<Round> {
    let dir = tempfile::tempdir()?;
    std::fs::create_dir(dir.path().join("alerts"))?;
    std::fs::create_dir(dir.path().join("probes"))?;
    std::fs::write(dir.path().join("alerts/phones.yaml"), OBJECTIVES)?;
    let ports = free_ports()?;
    let [_, _, http] = ports;
    let mut daemon = Daemon::execute(dir.path(), ports, &[])?;
    let _ = daemon.wait_until_ready(clock)?;
    let process = daemon.id().to_string();
    let (warm_up, measured) = load.split();
    let _ = send(warm_up, http, options.connections, clock)?;
    await_folded(&daemon, warm_up.len(), clock)?;
    let disk_before = bulk_bytes(dir.path())?;
    let (cpu_before, own_before) = (cpu::used(&process)?, cpu::used("self")?);
    let began = clock.monotonic();
    let sent = send(measured, http, options.connections, clock)?;
    let own_cpu = cpu::used("self")?.saturating_sub(own_before);
    await_folded(&daemon, warm_up.len() + measured.len(), clock)?;
    let folded = clock.monotonic().since(began);
    let cpu = cpu::used(&process)?.saturating_sub(cpu_before);
    let disk = bulk_bytes(dir.path())?.saturating_sub(disk_before);
    ensure!(sent.refused == 0, "{} requests were refused", sent.refused);
    Ok(Round::new(&sent, folded, cpu, own_cpu, disk))
}

fn measure_bare(load: &Load, options: &Options, clock: &Clock) -> anyhow::Result<Round> {
    let [_, _, port] = free_ports()?;
    let child =
        Command::new(std::env::current_exe()?).arg("--bare").arg(port.to_string()).spawn()?;
    let bare = Bare(child);
    let process = bare.0.id().to_string();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    while TcpStream::connect(address).is_err() {
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let (warm_up, measured) = load.split();
    let _ = send(warm_up, port, options.connections, clock)?;
    let (cpu_before, own_before) = (cpu::used(&process)?, cpu::used("self")?);
    let sent = send(measured, port, options.connections, clock)?;
    let own_cpu = cpu::used("self")?.saturating_sub(own_before);
    let cpu = cpu::used(&process)?.saturating_sub(cpu_before);
    ensure!(sent.refused == 0, "{} requests were refused", sent.refused);
    Ok(Round::new(&sent, sent.took, cpu, own_cpu, 0))
}

impl Round {
    fn new(sent: &Sent, folded: Duration, cpu: Duration, own_cpu: Duration, disk: u64) -> Self {
        let spans = (sent.answers.len() * SPANS) as f64;
        let answer_ms = |share: f64| {
            let at = ((sent.answers.len() - 1) as f64 * share) as usize;
            sent.answers.get(at).map_or(f64::NAN, |answer| answer.as_secs_f64() * 1e3)
        };
        Self {
            acknowledged_per_second: spans / sent.took.as_secs_f64(),
            folded_per_second: spans / folded.as_secs_f64(),
            cpu_per_million: cpu.as_secs_f64() / spans * 1e6,
            load_cpu_per_million: own_cpu.as_secs_f64() / spans * 1e6,
            median_answer_ms: answer_ms(0.5),
            slow_answer_ms: answer_ms(0.99),
            disk_bytes: disk as f64 / spans,
        }
    }
}

/// Waits until the ledger accounts for every span sent, and checks that its equation holds.
fn await_folded(daemon: &Daemon, requests: usize, clock: &Clock) -> anyhow::Result<()> {
    let expected = (requests * SPANS) as u64;
    let began = clock.monotonic();
    loop {
        let metrics = daemon.get("/metrics")?;
        let received = items(&metrics, "received");
        if received == expected {
            let accounted: u64 = OUTCOMES.iter().map(|outcome| items(&metrics, outcome)).sum();
            ensure!(accounted == received, "{received} received, {accounted} accounted for");
            let stored = items(&metrics, "stored");
            ensure!(stored == received, "{received} received, but only {stored} stored");
            return Ok(());
        }
        let waited = clock.monotonic().since(began);
        ensure!(waited < FOLD_WITHIN, "{expected} spans sent, {received} received");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// The sum of `radiosonde_ingest_items_total` with an outcome.
fn items(metrics: &str, outcome: &str) -> u64 {
    let wanted = format!("outcome=\"{outcome}\"");
    let lines = metrics.lines().filter(|line| {
        line.starts_with("radiosonde_ingest_items_total{") && line.contains(&wanted)
    });
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
}

/// Bytes of the bulk lane's segments.
fn bulk_bytes(dir: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir.join("data/journal"))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("bulk-") {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

// === the baseline ===

fn serve_bare(port: u16) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            drop(tokio::spawn(async move {
                let service = service_fn(answer_bare);
                let connection = hyper::server::conn::http1::Builder::new();
                // A load that is done closes its connections.
                drop(connection.serve_connection(TokioIo::new(stream), service).await);
            }));
        }
    })
}

async fn answer_bare(
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    let status = match decode_bare(request.into_body()).await {
        Ok(spans) if spans > 0 => hyper::StatusCode::OK,
        _ => hyper::StatusCode::BAD_REQUEST,
    };
    let mut response = hyper::Response::new(Full::default());
    *response.status_mut() = status;
    Ok(response)
}

async fn decode_bare(body: Incoming) -> anyhow::Result<usize> {
    let packed = body.collect().await?.to_bytes();
    let mut plain = Vec::with_capacity(packed.len() * 12);
    let _ = MultiGzDecoder::new(packed.as_ref()).read_to_end(&mut plain)?;
    let request = ExportTraceServiceRequest::decode(Bytes::from(plain))?;
    let scopes = request.resource_spans.iter().flat_map(|group| &group.scope_spans);
    Ok(scopes.map(|scope| scope.spans.len()).sum())
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

// === the load ===

impl Load {
    /// Encodes and packs requests ahead, so that sending costs as little as can be.
    fn prepare(count: usize, clock: &Clock) -> anyhow::Result<Self> {
        say(&format!("preparing {count} requests"))?;
        let now = clock.now();
        let next = AtomicUsize::new(0);
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let parts = std::thread::scope(|scope| {
            let prepare = || -> anyhow::Result<(Vec<Vec<u8>>, usize)> {
                let (mut requests, mut plain_bytes) = (Vec::new(), 0);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return Ok((requests, plain_bytes));
                    }
                    let plain = phones::batch(number as u64, SPANS, now).encode_to_vec();
                    plain_bytes += plain.len();
                    requests.push(request(&plain)?);
                }
            };
            let workers: Vec<_> = (0..workers).map(|_| scope.spawn(prepare)).collect();
            let joined =
                workers.into_iter().map(|worker| worker.join().ok().context("panicked")?);
            joined.collect::<anyhow::Result<Vec<_>>>()
        })?;
        let plain_bytes: usize = parts.iter().map(|(_, bytes)| bytes).sum();
        let requests = parts.into_iter().flat_map(|(requests, _)| requests).collect();
        Ok(Self { requests, plain_bytes: plain_bytes as f64 / (count * SPANS) as f64 })
    }

    fn split(&self) -> (&[Vec<u8>], &[Vec<u8>]) {
        self.requests.split_at_checked(WARM_UP).unwrap_or((&self.requests, &[]))
    }
}

fn request(plain: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(plain)?;
    let packed = packed.finish()?;
    let mut request = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/x-protobuf\r\n\
         content-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        packed.len()
    )
    .into_bytes();
    request.extend(packed);
    Ok(request)
}

/// Sends requests, each connection one after the other.
fn send(
    requests: &[Vec<u8>],
    port: u16,
    connections: usize,
    clock: &Clock,
) -> anyhow::Result<Sent> {
    let next = AtomicUsize::new(0);
    let began = clock.monotonic();
    let parts = std::thread::scope(|scope| {
        let one = || -> anyhow::Result<(Vec<Duration>, usize)> {
            let mut stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.set_nodelay(true)?;
            let (mut answers, mut refused) = (Vec::new(), 0);
            while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                let sent = clock.monotonic();
                stream.write_all(request)?;
                let accepted = read_answer(&mut stream)?;
                answers.push(clock.monotonic().since(sent));
                refused += usize::from(!accepted);
            }
            Ok((answers, refused))
        };
        let workers: Vec<_> = (0..connections).map(|_| scope.spawn(one)).collect();
        let joined = workers.into_iter().map(|worker| worker.join().ok().context("panicked")?);
        joined.collect::<anyhow::Result<Vec<_>>>()
    })?;
    let took = clock.monotonic().since(began);
    let refused = parts.iter().map(|(_, refused)| refused).sum();
    let mut answers: Vec<_> = parts.into_iter().flat_map(|(answers, _)| answers).collect();
    answers.sort_unstable();
    Ok(Sent { took, answers, refused })
}

/// Reads one answer; whether it says 200. Answers here are short and have a length.
fn read_answer(stream: &mut TcpStream) -> anyhow::Result<bool> {
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let read = stream.read(&mut piece)?;
        ensure!(read > 0, "the connection was closed");
        answer.extend_from_slice(piece.get(..read).unwrap_or_default());
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.context("an answer without length")?.trim().parse()?;
        if body.len() >= length {
            return Ok(head.starts_with("HTTP/1.1 200"));
        }
    }
}
