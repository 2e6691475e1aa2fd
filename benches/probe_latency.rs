//! Truth of probes: the error of a measured latency against a delay that the server is known to add.
//!
//! *Subject*: runs of the real scheduler and probe runtime, on request, over HTTP, WebSocket and SSE.
//! The server answers each on a thread of its own and records, on the same monotonic clock, how long
//! it really held back: from its read of the request to its write of the answer (SSE: from the write of
//! the head to that of the event). Error = value of the run - what the server recorded.
//! *Baseline*, in the same run and in turns with the subject: a bare blocking client that does the same
//! over the standard library's sockets and stamps right after its reads. What both share is the
//! loopback and the scheduler of the machine.
//! *Limit*: how soon the machine wakes a thread.
//! *Reading*: HTTP's value is the whole request with its connection; of a message it is from send to
//! arrival, of an event from the answer's head to its arrival. `stated` is the uncertainty that runs give
//! with their value; an error beyond it and 1 ms would be a measurement that does not know itself.
//!
//! `cargo bench --bench probe_latency -- [--samples N]`

#[path = "support/report.rs"]
mod report;

use anyhow::{Context as _, ensure};
use clap::Parser;
use radiosonde::base::clock::{Clock, MonoNanos};
use radiosonde::config::load_embedded;
use radiosonde::model::probe::ProbeRun;
use radiosonde::probe::{Context, Scheduler};
use radiosonde::telemetry::Telemetry;
use report::{floor, table};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{self, Message};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What servers add before they answer.
const DELAYS: [Duration; 3] =
    [Duration::from_millis(5), Duration::from_millis(20), Duration::from_millis(100)];
/// The floor of the median error.
const FLOOR_MS: f64 = 1.0;
const MESSAGE: &str = r#"{"type":"echo"}"#;

#[derive(Debug, Parser)]
struct Options {
    /// Runs of each protocol and delay.
    #[arg(long, default_value_t = 100)]
    samples: usize,
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

#[derive(Clone, Copy, Debug)]
enum Protocol {
    Http,
    WebSocket,
    Sse,
}

/// A server that holds back, and what it has recorded.
struct Server {
    address: SocketAddr,
    held_back: Receiver<Duration>,
}

/// One protocol and delay: its server, its probe, the errors so far in milliseconds.
struct Case {
    protocol: Protocol,
    delay: Duration,
    server: Server,
    probe: String,
    errors: Vec<f64>,
    bare_errors: Vec<f64>,
    stated: Vec<f64>,
    unaware: usize,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let clock = Clock::system();
    let mut cases = Vec::new();
    for protocol in [Protocol::Http, Protocol::WebSocket, Protocol::Sse] {
        for delay in DELAYS {
            cases.push(Case::new(protocol, delay, &clock)?);
        }
    }
    let definitions: String = cases.iter().map(Case::definition).collect();
    let definitions = format!("probes:\n{definitions}");
    let loaded = load_embedded(&[("probes/bench.yaml", &definitions)], &|_| true);
    let problems: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
    let settings = loaded.settings.with_context(|| problems.join("\n"))?;
    // Nobody reads these results; what does not fit is dropped.
    let (results, _ignored) = mpsc::channel(1);
    let context = Context::new(clock.clone(), Telemetry::new());
    let scheduler = Scheduler::start(context, results, settings.probes)?;
    for sample in 0..options.samples + 1 {
        for case in &mut cases {
            case.measure(&scheduler, &clock)?;
            if sample == 0 {
                // First connections warm up whatever is lazy.
                case.forget();
            }
        }
    }
    scheduler.stop(Duration::from_secs(1));
    print(&cases, options.samples)
}

fn print(cases: &[Case], samples: usize) -> anyhow::Result<()> {
    let title = format!("Error of measured latency, ms ({samples} runs each)");
    let rows = cases.iter().map(|case| {
        let quantiles = |figures: &[f64]| [0.5, 0.9, 0.99].map(|q| quantile(figures, q));
        let ([p50, p90, p99], [bare50, bare90, bare99]) =
            (quantiles(&case.errors), quantiles(&case.bare_errors));
        [
            format!("{:?}", case.protocol),
            format!("{:?}", case.delay),
            format!("{p50:.3} / {p90:.3} / {p99:.3}"),
            format!("{bare50:.3} / {bare90:.3} / {bare99:.3}"),
            format!("{:.2}", p50 / bare50),
            format!("{:.3}", quantile(&case.stated, 0.99)),
            case.unaware.to_string(),
        ]
    });
    let header = [
        "protocol",
        "delay",
        "probe p50 / p90 / p99",
        "bare client p50 / p90 / p99",
        "ratio of p50",
        "stated p99",
        "beyond it",
    ];
    table(&title, &header, rows)?;
    let worst = cases.iter().map(|case| quantile(&case.errors, 0.5)).fold(0.0, f64::max);
    floor("median error within 1 ms", worst <= FLOOR_MS, &format!("{worst:.3} ms at worst"))
}

/// The figure below which a share of them lies.
fn quantile(figures: &[f64], share: f64) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (figures.len().saturating_sub(1)) as f64 * share;
    sorted.get(at.round() as usize).copied().unwrap_or(f64::NAN)
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

// === impl Case ===

impl Case {
    fn new(protocol: Protocol, delay: Duration, clock: &Clock) -> anyhow::Result<Self> {
        Ok(Self {
            protocol,
            delay,
            server: Server::start(protocol, delay, clock.clone())?,
            probe: format!("{protocol:?}-{}ms", delay.as_millis()).to_lowercase(),
            errors: Vec::new(),
            bare_errors: Vec::new(),
            stated: Vec::new(),
            unaware: 0,
        })
    }

    /// The probe, as users write it; it runs on request only.
    fn definition(&self) -> String {
        let address = self.server.address;
        let does = match self.protocol {
            Protocol::Http => format!("http: {{ get: 'http://{address}/' }}"),
            Protocol::WebSocket => format!(
                "websocket: {{ url: 'ws://{address}/', send: '{MESSAGE}', expect: {{ json: {{ type: echo }} }} }}"
            ),
            Protocol::Sse => format!(
                "sse: {{ url: 'http://{address}/', expect: {{ text: {{ contains: echo }} }} }}"
            ),
        };
        format!("  - {{ name: {}, every: 1d, timeout: 5s, {does} }}\n", self.probe)
    }

    /// A run and a bare request, one right after the other.
    fn measure(&mut self, scheduler: &Scheduler, clock: &Clock) -> anyhow::Result<()> {
        let run: ProbeRun = scheduler.run_now(&self.probe)?.blocking_recv()?;
        let value = run.latency_ns.with_context(|| format!("no value: {:?}", run.failure))?;
        let stated = milliseconds(Duration::from_nanos(run.uncertainty_ns));
        let error = self.error(Duration::from_nanos(value))?;
        self.errors.push(error);
        self.stated.push(stated);
        self.unaware += usize::from(error > stated + 1.0);
        let value = match self.protocol {
            Protocol::Http => ask_http(self.server.address, clock)?,
            Protocol::WebSocket => ask_websocket(self.server.address, clock)?,
            Protocol::Sse => ask_sse(self.server.address, clock)?,
        };
        let error = self.error(value)?;
        self.bare_errors.push(error);
        Ok(())
    }

    fn error(&self, value: Duration) -> anyhow::Result<f64> {
        let held_back = self.server.held_back.try_recv().context("the server was not asked")?;
        Ok(milliseconds(value) - milliseconds(held_back))
    }

    fn forget(&mut self) {
        for figures in [&mut self.errors, &mut self.bare_errors, &mut self.stated] {
            figures.clear();
        }
        self.unaware = 0;
    }
}

// === impl Server ===

impl Server {
    fn start(protocol: Protocol, delay: Duration, clock: Clock) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (record, held_back) = sync_channel(16);
        let serve = move || {
            // One connection after the other: nothing else is going on meanwhile.
            for stream in listener.incoming().flatten() {
                let served = match protocol {
                    Protocol::Http => serve_http(stream, delay, &clock, &record),
                    Protocol::WebSocket => serve_websocket(stream, delay, &clock, &record),
                    Protocol::Sse => serve_sse(stream, delay, &clock, &record),
                };
                // The client sees a failure by itself.
                drop(served);
            }
        };
        drop(std::thread::Builder::new().name("server".to_owned()).spawn(serve)?);
        Ok(Self { address, held_back })
    }
}

fn serve_http(
    mut stream: TcpStream,
    delay: Duration,
    clock: &Clock,
    record: &SyncSender<Duration>,
) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    read_until_blank_line(&mut stream)?;
    hold_back(clock.monotonic(), delay, clock, record)?;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\necho")?;
    linger(stream)
}

fn serve_websocket(
    stream: TcpStream,
    delay: Duration,
    clock: &Clock,
    record: &SyncSender<Duration>,
) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut socket = tungstenite::accept(stream)?;
    while let message @ Message::Text(_) = socket.read()? {
        hold_back(clock.monotonic(), delay, clock, record)?;
        socket.send(message)?;
    }
    Ok(())
}

fn serve_sse(
    mut stream: TcpStream,
    delay: Duration,
    clock: &Clock,
    record: &SyncSender<Duration>,
) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    read_until_blank_line(&mut stream)?;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")?;
    hold_back(clock.monotonic(), delay, clock, record)?;
    stream.write_all(b"data: echo\n\n")?;
    linger(stream)
}

/// Waits and records how long that really took; the answer is written right after.
fn hold_back(
    from: MonoNanos,
    delay: Duration,
    clock: &Clock,
    record: &SyncSender<Duration>,
) -> anyhow::Result<()> {
    while let Some(left) = delay.checked_sub(clock.monotonic().since(from)) {
        std::thread::park_timeout(left);
    }
    record.send(clock.monotonic().since(from)).context("nobody measures any more")
}

/// Waits until the client closes.
fn linger(mut stream: TcpStream) -> anyhow::Result<()> {
    let _ = std::io::copy(&mut stream, &mut std::io::sink())?;
    Ok(())
}

// === the bare client ===

fn ask_http(address: SocketAddr, clock: &Clock) -> anyhow::Result<Duration> {
    let from = clock.monotonic();
    let mut stream = connect(address)?;
    write!(stream, "GET / HTTP/1.1\r\nhost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"echo") {
        read_some(&mut stream, &mut answer)?;
    }
    let took = clock.monotonic().since(from);
    stream.shutdown(Shutdown::Both)?;
    Ok(took)
}

fn ask_websocket(address: SocketAddr, clock: &Clock) -> anyhow::Result<Duration> {
    let (mut socket, _) = tungstenite::client(format!("ws://{address}/"), connect(address)?)?;
    let from = clock.monotonic();
    socket.send(Message::text(MESSAGE))?;
    let _answer = socket.read()?;
    let took = clock.monotonic().since(from);
    socket.get_ref().shutdown(Shutdown::Both)?;
    Ok(took)
}

fn ask_sse(address: SocketAddr, clock: &Clock) -> anyhow::Result<Duration> {
    let mut stream = connect(address)?;
    write!(stream, "GET / HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n\r\n")?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        read_some(&mut stream, &mut answer)?;
    }
    let from = clock.monotonic();
    while !answer.ends_with(b"echo\n\n") {
        read_some(&mut stream, &mut answer)?;
    }
    let took = clock.monotonic().since(from);
    stream.shutdown(Shutdown::Both)?;
    Ok(took)
}

fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn read_until_blank_line(stream: &mut TcpStream) -> anyhow::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        read_some(stream, &mut head)?;
    }
    Ok(())
}

fn read_some(stream: &mut TcpStream, into: &mut Vec<u8>) -> anyhow::Result<()> {
    let mut piece = [0; 4096];
    let read = stream.read(&mut piece)?;
    ensure!(read > 0, "the connection was closed");
    into.extend_from_slice(piece.get(..read).unwrap_or_default());
    Ok(())
}
