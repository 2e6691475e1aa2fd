//! Truth of probes: the error of a measured latency against a delay that the server is known to add.
//!
//! *Subject*: runs of the real scheduler and probe runtime, on request, over HTTP, WebSocket and SSE
//! (`radiosonde::probe::reference`, which `radiosonde probe --calibrate` uses, too).
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

use anyhow::Context as _;
use clap::Parser;
use radiosonde::base::clock::Clock;
use radiosonde::probe::reference::{Case, Instrument, LIMIT, Percentiles, Protocol, Sample};
use report::{floor, table};
use std::time::Duration;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What servers add before they answer.
const DELAYS: [Duration; 3] =
    [Duration::from_millis(5), Duration::from_millis(20), Duration::from_millis(100)];

#[derive(Debug, Parser)]
struct Options {
    /// Runs of each protocol and delay.
    #[arg(long, default_value_t = 100)]
    samples: usize,
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let (instrument, mut cases) = Instrument::start(Clock::system(), Protocol::ALL, &DELAYS)?;
    for sample in 0..options.samples + 1 {
        for case in &mut cases {
            let run = instrument.begin(case)?.blocking_recv()?;
            instrument.record(case, &run)?;
            if sample == 0 {
                // First connections warm up whatever is lazy.
                case.samples.clear();
            }
        }
    }
    print(&cases, options.samples)
}

fn print(cases: &[Case], samples: usize) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    let mut worst = 0;
    for case in cases {
        let errors = Sample::errors(&case.samples).context("no sample")?;
        let bare = Sample::bare_errors(&case.samples).context("no sample")?;
        let stated = Sample::stated(&case.samples).context("no sample")?;
        let beyond = case.samples.iter().filter(|sample| sample.is_beyond_stated()).count();
        worst = worst.max(errors.p50);
        rows.push([
            case.protocol.as_str().to_owned(),
            format!("{:?}", case.delay),
            three(errors),
            three(bare),
            format!("{:.2}", errors.p50 as f64 / bare.p50 as f64),
            format!("{:.3}", milliseconds(stated.p99)),
            beyond.to_string(),
        ]);
    }
    let title = format!("Error of measured latency, ms ({samples} runs each)");
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
    let met = i128::from(worst) <= LIMIT.as_nanos() as i128;
    let figure = format!("{:.3} ms at worst", milliseconds(worst));
    floor("median error within 1 ms", met, &figure)
}

fn three(of: Percentiles) -> String {
    let [p50, p90, p99] = [of.p50, of.p90, of.p99].map(milliseconds);
    format!("{p50:.3} / {p90:.3} / {p99:.3}")
}

fn milliseconds(ns: i64) -> f64 {
    ns as f64 / 1e6
}
