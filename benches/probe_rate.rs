//! Short probes: how many a second, and how many a second of processor time.
//!
//! *Subject*: an HTTP GET over a connection of its own on loopback, by the real scheduler and probe runtime,
//! whose thread does nothing else; and by the daemon's own `/probe`.
//! *Baselines*, in the same run: a bare tokio client that connects, asks and reads to the end, on a thread
//! of its own; and `prometheus-blackbox-exporter`, where that is installed, behind the same load as our
//! `/probe`.
//! *Limit*: processor time. The server is a process of its own, the load another thread; what is counted is
//! the thread of probes, or the whole process that answers `/probe`. Probes a second of the clock say what
//! was left over for it, with all of these on one machine.
//! *Error*: a server that holds its answer back for 20 ms records how long it really did; asked through
//! `/probe`, one at a time and in turns.
//!
//! `cargo bench --bench probe_rate -- [--seconds N] [--samples N]`

#[path = "support/blackbox.rs"]
mod blackbox;
#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/process.rs"]
mod process;
#[path = "support/report.rs"]
mod report;

use anyhow::{Context as _, ensure};
use blackbox::Blackbox;
use bytes::Bytes;
use clap::Parser;
use daemon::{Daemon, free_ports};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use process::Twin;
use radiosonde::base::clock::{Clock, MonoNanos};
use radiosonde::config::load_embedded;
use radiosonde::probe::reference::{DelayServer, Percentiles, Protocol};
use radiosonde::probe::{Context, Scheduler};
use radiosonde::telemetry::Telemetry;
use report::{floor, say, table};
use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The floor, probes a second of processor time.
const FLOOR: f64 = 1_000.0;
/// Probes under way at the same time.
const AT_ONCE: usize = 32;
/// Addresses on loopback, so that ports last.
const ADDRESSES: u8 = 4;
/// What the server of the error holds back.
const DELAY: Duration = Duration::from_millis(20);

#[derive(Debug, Parser)]
struct Options {
    /// How long each is under load.
    #[arg(long, default_value_t = 6)]
    seconds: u64,
    /// Answers held back, of each.
    #[arg(long, default_value_t = 150)]
    samples: usize,
    /// Be the server.
    #[arg(long, hide = true)]
    serve: bool,
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

/// What a load came to.
#[derive(Clone, Copy)]
struct Rate {
    probes: usize,
    wall: Duration,
    processor: Duration,
}

/// Somebody who answers `/probe`.
struct Prober {
    name: &'static str,
    address: SocketAddr,
    process: u32,
    /// Errors of `probe_duration_seconds` and of the phase in which the server held back.
    errors: [Vec<i64>; 2],
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    if options.serve {
        return runtime.block_on(serve());
    }
    let clock = Clock::system();
    let server = Twin::execute(&["--serve"])?;
    let within = Duration::from_secs(options.seconds);
    let bare = bare(&clock, &server.addresses, within)?;
    let own = scheduled(&clock, &runtime, &server.addresses, within)?;
    let mut rows = vec![
        bare.row("bare tokio client, its thread", bare),
        own.row("probe runtime, its thread", bare),
    ];

    let dir = tempfile::tempdir()?;
    let ports = free_ports()?;
    let mut daemon = Daemon::execute(dir.path(), ports, &[])?;
    let _ = daemon.wait_until_ready(&clock)?;
    let page = SocketAddr::from(([127, 0, 0, 1], ports[0]));
    let mut probers = vec![Prober::new("radiosonde /probe", page, daemon.id())];
    let blackbox = Blackbox::execute(dir.path());
    match &blackbox {
        Ok((blackbox, address)) => {
            probers.push(Prober::new("blackbox_exporter /probe", *address, blackbox.id()));
        }
        Err(error) => say(&format!("without blackbox_exporter: {error:#}"))?,
    }
    for prober in &probers {
        let rate = runtime.block_on(prober.load(&clock, &server.addresses, within))?;
        rows.push(rate.row(prober.name, bare));
    }
    let title =
        format!("HTTP GET over a cold connection, {AT_ONCE} at once, {} s each", options.seconds);
    let header =
        ["", "probes", "a second", "a second of processor", "us of processor each", "ratio"];
    table(&title, &header, rows)?;

    let held = DelayServer::start(Protocol::Http, DELAY, clock)?;
    runtime.block_on(errors(&mut probers, &held, options.samples))?;
    let rows = probers.iter().map(|prober| prober.row()).collect::<anyhow::Result<Vec<_>>>()?;
    let title = format!(
        "Error against a server that holds back {DELAY:?}, ms ({} of each)",
        options.samples
    );
    let header =
        ["", "of probe_duration_seconds p50 / p90 / p99", "of phase processing p50 / p90 / p99"];
    table(&title, &header, rows)?;
    let figure = format!("{:.0}", own.per_processor());
    floor("1,000 probes a second of processor time", own.per_processor() >= FLOOR, &figure)
}

// === impl Rate ===

impl Rate {
    fn per_processor(self) -> f64 {
        self.probes as f64 / self.processor.as_secs_f64()
    }

    fn row(self, name: &str, base: Self) -> [String; 6] {
        [
            name.to_owned(),
            self.probes.to_string(),
            format!("{:.0}", self.probes as f64 / self.wall.as_secs_f64()),
            format!("{:.0}", self.per_processor()),
            format!("{:.1}", 1e6 / self.per_processor()),
            format!("{:.2}", self.per_processor() / base.per_processor()),
        ]
    }
}

/// Processor time of a thread of this process since its start, by its name.
fn thread_time(name: &str) -> anyhow::Result<Duration> {
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if std::fs::read_to_string(task.join("comm"))?.trim() == name {
            // The first field is the time on a processor, in nanoseconds.
            let stat = std::fs::read_to_string(task.join("schedstat"))?;
            let time = stat.split_whitespace().next().context("an empty file")?;
            return Ok(Duration::from_nanos(time.parse()?));
        }
    }
    anyhow::bail!("no thread is called {name}")
}

/// Probes on request of the schedule, all at once as far as [`AT_ONCE`] goes.
fn scheduled(
    clock: &Clock,
    runtime: &Runtime,
    servers: &[SocketAddr],
    within: Duration,
) -> anyhow::Result<Rate> {
    let mut definition = "probes:\n".to_owned();
    for (number, server) in servers.iter().enumerate() {
        definition.push_str(&format!(
            "  - {{ name: get-{number}, every: 1d, timeout: 5s, overlap: allow, http: {{ get: 'http://{server}/' }} }}\n"
        ));
    }
    let loaded = load_embedded(&[("probes/bench.yaml", &definition)], &|_| true);
    let problems: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
    let settings = loaded.settings.with_context(|| problems.join("\n"))?;
    // Of this way out nobody reads: results go to who asked.
    let (sender, _results) = mpsc::channel(1);
    let context = Context::new(clock.clone(), Telemetry::new());
    let scheduler = Scheduler::start(context, sender, settings.probes)?;
    // Threads take on their names when they run; and what is lazy warms up.
    ensure!(scheduler.run_now("get-0")?.blocking_recv()?.succeeded(), "the first probe failed");
    let (from, before) = (clock.monotonic(), thread_time("probe-io")?);
    let probes = runtime.block_on(repeat(clock, from.plus(within), |number| {
        let asked = scheduler.run_now(&format!("get-{}", number % servers.len()));
        async {
            let run = asked?.await?;
            ensure!(run.succeeded(), "{:?}", run.failure);
            Ok(())
        }
    }))?;
    let processor = thread_time("probe-io")?.saturating_sub(before);
    Ok(Rate { probes, wall: clock.monotonic().since(from), processor })
}

/// The bare client on a thread of its own.
fn bare(clock: &Clock, servers: &[SocketAddr], within: Duration) -> anyhow::Result<Rate> {
    let (clock, servers) = (clock.clone(), servers.to_vec());
    let work = move || {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (from, before) = (clock.monotonic(), thread_time("bare")?);
        let probes = runtime.block_on(repeat(&clock, from.plus(within), |number| {
            let server = servers.get(number % servers.len()).copied();
            async move { get(server.context("no server")?).await }
        }))?;
        let processor = thread_time("bare")?.saturating_sub(before);
        anyhow::Ok(Rate { probes, wall: clock.monotonic().since(from), processor })
    };
    let thread = std::thread::Builder::new().name("bare".to_owned()).spawn(work)?;
    thread.join().map_err(|_| anyhow::anyhow!("the bare client panicked"))?
}

async fn get(server: SocketAddr) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let request = format!("GET / HTTP/1.1\r\nhost: {server}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::with_capacity(256);
    let _ = stream.read_to_end(&mut answer).await?;
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "another answer");
    Ok(())
}

/// Does the same again and again, [`AT_ONCE`] at the same time, until that instant; how often.
async fn repeat<F: Future<Output = anyhow::Result<()>>>(
    clock: &Clock,
    until: MonoNanos,
    act: impl Fn(usize) -> F,
) -> anyhow::Result<usize> {
    let (begun, done) = (Cell::new(0), Cell::new(0));
    let worker = || async {
        while clock.monotonic() < until {
            let number = begun.get();
            begun.set(number + 1);
            act(number).await?;
            done.set(done.get() + 1);
        }
        anyhow::Ok(())
    };
    let _ = futures::future::try_join_all((0..AT_ONCE).map(|_| worker())).await?;
    Ok(done.get())
}

// === impl Prober ===

impl Prober {
    fn new(name: &'static str, address: SocketAddr, process: u32) -> Self {
        Self { name, address, process, errors: Default::default() }
    }

    /// Asks for probes of these servers, over connections that stay.
    async fn load(
        &self,
        clock: &Clock,
        servers: &[SocketAddr],
        within: Duration,
    ) -> anyhow::Result<Rate> {
        let mut idle = Vec::new();
        for _ in 0..AT_ONCE {
            idle.push(self.connect().await?);
        }
        let idle = std::cell::RefCell::new(idle);
        let process = self.process.to_string();
        let (from, before) = (clock.monotonic(), cpu::used(&process)?);
        let act = async |number: usize| {
            let server = servers.get(number % servers.len()).context("no server")?;
            let mut sender = idle.borrow_mut().pop().context("no connection")?;
            let metrics = self.ask(&mut sender, *server).await?;
            ensure!(metrics.contains("\nprobe_success 1"), "{metrics}");
            idle.borrow_mut().push(sender);
            Ok(())
        };
        let probes = repeat(clock, from.plus(within), act).await?;
        let processor = cpu::used(&process)?.saturating_sub(before);
        Ok(Rate { probes, wall: clock.monotonic().since(from), processor })
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Empty<Bytes>>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        drop(tokio::spawn(async move { drop(connection.await) }));
        Ok(sender)
    }

    /// The metrics of a probe.
    async fn ask(
        &self,
        sender: &mut SendRequest<Empty<Bytes>>,
        server: SocketAddr,
    ) -> anyhow::Result<String> {
        sender.ready().await?;
        let request = http::Request::get(format!("/probe?module=http_2xx&target=http://{server}/"))
            .header("host", self.address.to_string())
            .body(Empty::new())?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        let text = String::from_utf8(body.to_vec())?;
        ensure!(status.is_success(), "{} answers {status}: {text}", self.name);
        Ok(text)
    }

    fn row(&self) -> anyhow::Result<[String; 3]> {
        let three = |errors: &Vec<i64>| -> anyhow::Result<String> {
            let of = Percentiles::of(errors.clone()).context("no samples")?;
            let [p50, p90, p99] = [of.p50, of.p90, of.p99].map(|ns| ns as f64 / 1e6);
            Ok(format!("{p50:.3} / {p90:.3} / {p99:.3}"))
        };
        let [duration, phase] = &self.errors;
        Ok([self.name.to_owned(), three(duration)?, three(phase)?])
    }
}

/// Has everybody probe the server that holds back, in turns.
async fn errors(
    probers: &mut [Prober],
    server: &DelayServer,
    samples: usize,
) -> anyhow::Result<()> {
    for _ in 0..samples {
        for prober in probers.iter_mut() {
            let mut sender = prober.connect().await?;
            let metrics = prober.ask(&mut sender, server.address()).await?;
            let held = server.held_back().context("the server was not asked")?;
            let names =
                ["probe_duration_seconds", "probe_http_duration_seconds{phase=\"processing\"}"];
            for (errors, name) in prober.errors.iter_mut().zip(names) {
                let sample = metrics.lines().find_map(|line| line.strip_prefix(name));
                let seconds: f64 = sample.with_context(|| format!("no {name}"))?.trim().parse()?;
                errors.push(((seconds - held.as_secs_f64()) * 1e9) as i64);
            }
        }
    }
    Ok(())
}

// === the server ===

/// Says where it listens, and answers every connection once.
async fn serve() -> anyhow::Result<()> {
    let mut listeners = Vec::new();
    for last in 1..=ADDRESSES {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 0, last], 0)))?;
        listeners.push(socket.listen(1_024)?);
    }
    let addresses = listeners.iter().map(|listener| Ok(listener.local_addr()?.to_string()));
    say(&addresses.collect::<anyhow::Result<Vec<_>>>()?.join(" "))?;
    let accepting = listeners.into_iter().map(|listener| async move {
        loop {
            let (stream, _) = listener.accept().await?;
            // The client sees a failure by itself.
            drop(tokio::spawn(async move { drop(answer(stream).await) }));
        }
    });
    futures::future::try_join_all(accepting).await.map(|_: Vec<()>| ())
}

async fn answer(mut stream: TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let (mut head, mut piece) = (Vec::new(), [0; 1024]);
    while !head.ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut piece).await?;
        ensure!(read > 0, "the connection was closed");
        head.extend_from_slice(piece.get(..read).unwrap_or_default());
    }
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\necho")
        .await?;
    Ok(())
}
