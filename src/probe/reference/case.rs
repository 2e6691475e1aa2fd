//! Runs against reference servers: a [`Case`] is a server, the probe that asks it, and the errors so
//! far; the [`Instrument`] carries its runs out.

use super::super::spec::{
    Action, Cadence, Expect, FlowChecks, HttpStep, HttpVersion, ProbeSpec, SseStep, Step,
    TextCheck, TlsOptions, WebSocketStep,
};
use super::super::{Context, RunNowError, Scheduler, SchedulerError};
use super::Protocol;
use super::bare;
use super::error::{Sample, error_ns};
use super::server::DelayServer;
use crate::base::clock::Clock;
use crate::model::labels::Labels;
use crate::model::probe::ProbeRun;
use crate::telemetry::Telemetry;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// What is sent over a WebSocket, and comes back.
const MESSAGE: &str = "echo";
/// The deadline of a run.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A hundred years: no slot of the schedule falls between the runs that are asked for.
const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Why the instrument cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// The machine gave no port or no thread.
    #[error("the reference server cannot be started; free ports, threads or file descriptors")]
    Server(#[source] io::Error),
    /// Probes cannot be run.
    #[error("the instrument cannot be started")]
    Instrument(#[source] SchedulerError),
    /// A run was refused.
    #[error("a run against the reference server cannot begin")]
    Refused(#[source] RunNowError),
    /// A run failed, though the server is our own.
    #[error("a run against the reference server of {protocol} has no value: {why}")]
    NoValue {
        /// Which server.
        protocol: &'static str,
        /// The run's own words.
        why: String,
    },
    /// The server has no record that goes with a value.
    #[error("the reference server of {0} was not asked")]
    NotAsked(&'static str),
    /// The bare client failed.
    #[error("the bare client got no answer of the reference server of {0}")]
    Bare(&'static str, #[source] io::Error),
}

/// The scheduler and the probe runtime as the daemon uses them. Dropping it stops them.
#[derive(Debug)]
pub struct Instrument {
    scheduler: Scheduler,
    clock: Clock,
    /// Results go to who asked. Of this way out nobody reads; what does not fit is dropped.
    _results: mpsc::Receiver<ProbeRun>,
}

/// A protocol and a delay: the server, its probe, and what was measured.
#[derive(Debug)]
pub struct Case {
    /// What is spoken.
    pub protocol: Protocol,
    /// How long the server waits at least.
    pub delay: Duration,
    /// What was measured, in order.
    pub samples: Vec<Sample>,
    server: DelayServer,
    probe: Arc<ProbeSpec>,
}

// === impl Instrument ===

impl Instrument {
    /// Starts a server for each protocol and delay, and the instrument that will measure them. Cases
    /// are in order of protocols, and of delays for each.
    ///
    /// # Errors
    /// When the machine gives no port, thread or descriptor.
    pub fn start(
        clock: Clock,
        protocols: &[Protocol],
        delays: &[Duration],
    ) -> Result<(Self, Vec<Case>), ReferenceError> {
        Self::start_beside(&Context::new(clock, Telemetry::new()), protocols, delays)
    }

    /// The same beside another instrument, without reading the system's certificate authorities again:
    /// neither its limits and maintenance nor its metrics know of these runs.
    ///
    /// # Errors
    /// As [`Instrument::start`].
    pub fn start_beside(
        context: &Context,
        protocols: &[Protocol],
        delays: &[Duration],
    ) -> Result<(Self, Vec<Case>), ReferenceError> {
        let (context, clock) = (context.apart(), context.clock.clone());
        let cases = protocols
            .iter()
            .flat_map(|protocol| delays.iter().map(|delay| Case::new(*protocol, *delay, &clock)))
            .collect::<Result<Vec<Case>, ReferenceError>>()?;
        let probes = cases.iter().map(|case| Arc::clone(&case.probe)).collect();
        let (sender, results) = mpsc::channel(1);
        let scheduler =
            Scheduler::start(context, sender, probes).map_err(ReferenceError::Instrument)?;
        Ok((Self { scheduler, clock, _results: results }, cases))
    }

    /// Begins a run of the case's probe; the receiver gets its result. Hand that to
    /// [`Instrument::record`] before the next run of the case begins.
    ///
    /// # Errors
    /// When a run is going on already, or too many are.
    pub fn begin(&self, case: &Case) -> Result<oneshot::Receiver<ProbeRun>, ReferenceError> {
        // A run without a value left its record behind; the next one must not be held against that.
        while case.server.held_back().is_some() {}
        self.scheduler.run_now(&case.probe.name).map_err(ReferenceError::Refused)
    }

    /// Takes a run of the case that has just ended, and lets a bare client ask the same server right
    /// after it. Blocks for as long as that takes.
    ///
    /// # Errors
    /// When the run or the bare client has no value.
    pub fn record(&self, case: &mut Case, run: &ProbeRun) -> Result<(), ReferenceError> {
        let protocol = case.protocol.as_str();
        let value = run.latency_ns.filter(|_| run.succeeded()).ok_or_else(|| {
            let why = run.failure.as_ref().map(|failure| failure.message.clone());
            let why = why.unwrap_or_else(|| "it did not happen".to_owned());
            ReferenceError::NoValue { protocol, why }
        })?;
        let held_back = case.server.held_back().ok_or(ReferenceError::NotAsked(protocol))?;
        let error = error_ns(Duration::from_nanos(value), held_back);
        let bare = bare::ask(case.protocol, case.server.address(), MESSAGE, &self.clock)
            .map_err(|error| ReferenceError::Bare(protocol, error))?;
        let held_back = case.server.held_back().ok_or(ReferenceError::NotAsked(protocol))?;
        case.samples.push(Sample {
            error_ns: error,
            stated_ns: run.uncertainty_ns,
            bare_error_ns: error_ns(bare, held_back),
        });
        Ok(())
    }
}

// === impl Case ===

impl Case {
    fn new(protocol: Protocol, delay: Duration, clock: &Clock) -> Result<Self, ReferenceError> {
        let server =
            DelayServer::start(protocol, delay, clock.clone()).map_err(ReferenceError::Server)?;
        let probe = Arc::new(probe(protocol, delay, &server));
        Ok(Self { protocol, delay, samples: Vec::new(), server, probe })
    }

    /// The probe's name: `http-20ms`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.probe.name
    }
}

/// The probe as a user would define it.
fn probe(protocol: Protocol, delay: Duration, server: &DelayServer) -> ProbeSpec {
    let address = server.address();
    let action = match protocol {
        Protocol::Http => Action::Http(HttpStep {
            method: "GET".to_owned(),
            url: format!("http://{address}/"),
            headers: Vec::new(),
            body: None,
            version: HttpVersion::Auto,
            status: Vec::new(),
            header_checks: Vec::new(),
            body_checks: Vec::new(),
            flow_checks: FlowChecks::default(),
            max_redirects: 0,
            tls: TlsOptions::default(),
        }),
        Protocol::WebSocket => Action::WebSocket(WebSocketStep {
            url: format!("ws://{address}/"),
            headers: Vec::new(),
            subprotocols: Vec::new(),
            chosen_subprotocol: None,
            compression: None,
            binary: None,
            fragment: None,
            send: Some(MESSAGE.to_owned()),
            ping: false,
            expect: Some(expect()),
            max_gap: None,
            close_code: None,
            tls: TlsOptions::default(),
        }),
        Protocol::Sse => Action::Sse(SseStep {
            url: format!("http://{address}/"),
            headers: Vec::new(),
            last_event_id: None,
            first_event_within: None,
            expect: Some(expect()),
            max_gap: None,
            sent_at: None,
            refuse_buffering: false,
            tls: TlsOptions::default(),
        }),
    };
    ProbeSpec {
        network: None,
        name: format!("{}-{}ms", protocol.as_str(), delay.as_millis()),
        cadence: Cadence::Every(NEVER),
        timeout: TIMEOUT,
        overlap: false,
        labels: Labels::default(),
        steps: vec![Step {
            name: "1".to_owned(),
            action,
            count: 1,
            hold: None,
            capture: Vec::new(),
        }],
        cleanup: Vec::new(),
        addresses: Default::default(),
        targets: Default::default(),
        writes: [].into(),
    }
}

fn expect() -> Expect {
    let text = Some(TextCheck::Contains(MESSAGE.to_owned()));
    Expect { json: None, text, event: None, within: None, since: None }
}
