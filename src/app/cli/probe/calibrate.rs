//! `radiosonde probe --calibrate`: the instrument measures itself on this machine.
//!
//! Its own scheduler and runtime run probes against servers on loopback that know how long they held
//! back (`probe::reference`); [`calibration`](super::calibration) says what came of it.

use super::super::arguments::{ProbeArguments, ReportFormat};
use super::super::exit::{FAILED, INTERRUPTED, INVALID};
use super::super::files::Files;
use super::super::out_file::OutFile;
use super::super::process::end_on_interrupts;
use super::super::terminal::{complain, hint, print};
use super::calibration::Calibration;
use super::progress::Progress;
use super::{deliver, selected};
use crate::base::clock::Clock;
use crate::base::error::Chain;
use crate::base::shutdown::Shutdown;
use crate::probe::reference::{Case, Instrument, Protocol, ReferenceError};
use std::process::ExitCode;
use std::time::Duration;

/// What the servers hold back; the runs of a protocol take turns. Short, so that it is over soon.
const DELAYS: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(10)];
/// Runs of each protocol, unless asked for otherwise.
const REPEAT: u32 = 100;

/// Why measuring ended before its time.
enum Interrupted {
    /// By whoever asked for it.
    Asked,
    /// By the machine.
    Failed(ReferenceError),
}

/// What is to be measured: the protocols of the probes that are meant, or all when none are.
pub(super) fn protocols(files: &Files, wanted: &ProbeArguments) -> Result<Vec<Protocol>, ExitCode> {
    if wanted.format == ReportFormat::Junit {
        let code = complain("a calibration is no test suite, so there is no junit of it", INVALID);
        hint("use --format json; the exit code says whether the error is within its limit");
        return Err(code);
    }
    if wanted.names.is_empty() && wanted.labels.is_empty() {
        return Ok(Protocol::ALL.to_vec());
    }
    let (probes, _) = selected(files, wanted)?;
    let steps = || probes.iter().flat_map(|probe| probe.steps.iter().chain(&probe.cleanup));
    let speaks = |protocol: &Protocol| {
        steps().any(|step| Protocol::from_name(step.action.block()) == Some(*protocol))
    };
    let spoken: Vec<Protocol> = Protocol::ALL.iter().copied().filter(speaks).collect();
    if spoken.is_empty() {
        let code = complain("these probes speak no protocol that can be calibrated", INVALID);
        let known: Vec<&str> = Protocol::ALL.iter().map(|protocol| protocol.as_str()).collect();
        hint(&format!("there are reference servers for {}", known.join(", ")));
        return Err(code);
    }
    Ok(spoken)
}

/// Measures and reports.
pub(super) async fn calibrate(
    protocols: &[Protocol],
    wanted: &ProbeArguments,
    out: Option<OutFile>,
) -> ExitCode {
    let (stop, at_once) = (Shutdown::new(), Shutdown::new());
    end_on_interrupts(stop.clone(), at_once.clone());
    let repeat = wanted.repeat.unwrap_or(REPEAT) as usize;
    let clock = Clock::system();
    let (instrument, mut cases) = match Instrument::start(clock.clone(), protocols, &DELAYS) {
        Ok(started) => started,
        Err(error) => return complain(&Chain(&error).to_string(), FAILED),
    };
    let total = (repeat + DELAYS.len()).saturating_mul(protocols.len());
    let mut progress = Progress::new(clock, total);
    let measured = tokio::select! {
        measured = measure(&instrument, &mut cases, repeat, &mut progress, &stop) => measured,
        () = at_once.begun() => Err(Interrupted::Asked),
    };
    progress.end();
    if let Err(Interrupted::Failed(error)) = &measured {
        return complain(&Chain(error).to_string(), FAILED);
    }
    let calibration = Calibration::of(cases);
    let text = calibration.text();
    if wanted.format == ReportFormat::Text || out.is_some() {
        let _ = print(&text);
    }
    let document = match wanted.format {
        ReportFormat::Json => format!("{:#}\n", calibration.json()),
        ReportFormat::Text | ReportFormat::Junit => text,
    };
    if let Err(error) = deliver(wanted, out, &document) {
        return complain(&Chain(&error).to_string(), FAILED);
    }
    if measured.is_err() {
        return complain("interrupted: not all runs were done", INTERRUPTED);
    }
    ExitCode::from(if calibration.is_within_limit() { 0 } else { FAILED })
}

/// Each round asks every protocol once, with the next delay.
async fn measure(
    instrument: &Instrument,
    cases: &mut [Case],
    repeat: usize,
    progress: &mut Progress,
    stop: &Shutdown,
) -> Result<(), Interrupted> {
    // First connections warm up whatever is lazy.
    for case in cases.iter_mut() {
        run(instrument, case, progress).await?;
        case.samples.clear();
    }
    for round in 0..repeat {
        for case in cases.iter_mut().skip(round % DELAYS.len()).step_by(DELAYS.len()) {
            if stop.has_begun() {
                return Err(Interrupted::Asked);
            }
            run(instrument, case, progress).await?;
        }
    }
    Ok(())
}

async fn run(
    instrument: &Instrument,
    case: &mut Case,
    progress: &mut Progress,
) -> Result<(), Interrupted> {
    let result = instrument.begin(case).map_err(Interrupted::Failed)?;
    // A run that did not happen leaves none, and has no value.
    let ended = async { result.await.unwrap_or_default() };
    let run = progress.during(case.name(), ended).await;
    instrument.record(case, &run).map_err(Interrupted::Failed)
}
