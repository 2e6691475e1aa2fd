//! `radiosonde probe`: runs probes now and says how each went.
//!
//! [`select`] finds the probes, [`networks`] puts them on another network where one is wanted, this
//! file finds their targets, each of which is an instance with runs and a report of its own, and runs them one after the other, and [`report`] says what came of it: as a [`waterfall`] and a
//! [`percentiles`] table for people, as JSON for machines, as [`junit`] for CI. While it lasts,
//! [`progress`] tells somebody at a terminal how far it is. With `--calibrate` no probe is run, but the
//! instrument itself is measured ([`calibrate`]).

mod axis;
mod calibrate;
mod calibration;
mod junit;
mod networks;
mod percentiles;
mod progress;
mod report;
mod select;
mod waterfall;

use super::super::discovery;
use super::arguments::{ProbeArguments, ReportFormat};
use super::exit::{FAILED, INTERRUPTED, INVALID};
use super::files::Files;
use super::out_file::{OutError, OutFile};
use super::problems;
use super::process::{block_on, end_on_interrupts};
use super::terminal::{complain, hint, note, plain, print};
use crate::api::json::report_schema;
use crate::base::clock::Clock;
use crate::base::error::Chain;
use crate::base::shutdown::Shutdown;
use crate::config::Settings;
use crate::model::probe::ProbeRun;
use crate::probe::limits::Limit;
use crate::probe::spec::ProbeSpec;
use crate::probe::{Context, SlotStart, run_once};
use crate::telemetry::Telemetry;
use progress::Progress;
use report::Transcript;
use select::Nothing;
use std::process::ExitCode;
use std::sync::Arc;

/// Probes, and how hard they may press their targets.
type Selected = (Vec<Arc<ProbeSpec>>, Vec<Limit>);

/// A probe and its runs so far.
struct Series<'a> {
    probe: &'a ProbeSpec,
    runs: Vec<ProbeRun>,
}

/// Carries the command out.
pub(super) fn probe(files: &Files, wanted: &ProbeArguments) -> ExitCode {
    let work = || {
        if wanted.networks {
            let loaded = files.load();
            let Some(settings) = &loaded.settings else { return Err(problems::report(&loaded)) };
            return Ok(print(&networks::tables(&settings.networks)));
        }
        if wanted.schema {
            return Ok(print(&format!("{:#}\n", report_schema())));
        }
        if wanted.calibrate {
            let protocols = calibrate::protocols(files, wanted)?;
            let out = create(wanted)?;
            return Ok(block_on(calibrate::calibrate(&protocols, wanted, out)));
        }
        let (probes, limits) = selected(files, wanted)?;
        let out = create(wanted)?;
        let context = Context::new(Clock::system(), Telemetry::new());
        context.limits.replace(limits);
        Ok(block_on(async {
            match with_targets(&probes, &context).await {
                Ok(instances) => run_all(&instances, &context, wanted, out).await,
                Err(code) => code,
            }
        }))
    };
    work().unwrap_or_else(|code: ExitCode| code)
}

/// The probes that are meant, and how hard they may press their targets; where there are none, what to do was said.
fn selected(files: &Files, wanted: &ProbeArguments) -> Result<Selected, ExitCode> {
    let loaded = files.load();
    let Some(settings) = &loaded.settings else { return Err(problems::report(&loaded)) };
    let limits = settings.daemon.limits.clone();
    chosen(settings, wanted).map(|probes| (probes, limits)).map_err(|nothing| {
        let code = complain(&nothing.words, INVALID);
        hint(&nothing.hint);
        code
    })
}

/// The file for the report, where one is asked for.
fn create(wanted: &ProbeArguments) -> Result<Option<OutFile>, ExitCode> {
    let out = wanted.out.as_deref().map(OutFile::create).transpose();
    out.map_err(|error| complain(&Chain(&error).to_string(), INVALID))
}

/// The probes that are wanted, over the network that is wanted.
fn chosen(settings: &Settings, wanted: &ProbeArguments) -> Result<Vec<Arc<ProbeSpec>>, Nothing> {
    let probes = select::select(&settings.probes, &wanted.names, &wanted.labels)?;
    networks::put_on(probes, settings, wanted.network.as_deref(), wanted.network_seed)
}

/// The instances of these probes, by what their targets are now.
async fn with_targets(
    probes: &[Arc<ProbeSpec>],
    context: &Context,
) -> Result<Vec<Arc<ProbeSpec>>, ExitCode> {
    let (instances, failures) = discovery::find_once(context, probes).await;
    for failure in &failures {
        note(&format!("targets are missing: {failure}"));
    }
    let lacks = |probe: &&Arc<ProbeSpec>| !instances.iter().any(|one| one.name == probe.name);
    match probes.iter().find(lacks) {
        Some(probe) if instances.is_empty() => {
            Err(complain(&format!("the probe {} has no target now", probe.name), FAILED))
        }
        Some(probe) => {
            note(&format!("the probe {} has no target now", probe.name));
            Ok(instances)
        }
        None => Ok(instances),
    }
}

async fn run_all(
    probes: &[Arc<ProbeSpec>],
    context: &Context,
    wanted: &ProbeArguments,
    out: Option<OutFile>,
) -> ExitCode {
    let (stop, at_once) = (Shutdown::new(), Shutdown::new());
    end_on_interrupts(stop.clone(), at_once.clone());
    let repeat = wanted.repeat.unwrap_or(1);
    let total = probes.len().saturating_mul(repeat as usize);
    let mut progress = Progress::new(context.clock.clone(), total);
    let shown = wanted.format == ReportFormat::Text || out.is_some();
    let mut transcript = Transcript::new(repeat, shown);
    let mut all: Vec<Series<'_>> = Vec::new();
    for probe in probes {
        let mut series = Series { probe, runs: Vec::new() };
        for _ in 0..repeat {
            if stop.has_begun() {
                break;
            }
            let title = probe.title();
            let run = run_once(probe, SlotStart::now(&context.clock), context);
            let run = tokio::select! {
                run = progress.during(&title, run) => run,
                () = at_once.begun() => break,
            };
            transcript.run(probe, &run);
            series.runs.push(run);
        }
        if !series.runs.is_empty() {
            all.push(series);
        }
    }
    progress.end();
    transcript.end(&all);
    let document = match report::document(wanted.format, &all, &transcript) {
        Ok(document) => document,
        Err(error) => return complain(&format!("no report: {}", Chain(&error)), FAILED),
    };
    if let Err(error) = deliver(wanted, out, &document) {
        return complain(&Chain(&error).to_string(), FAILED);
    }
    verdict(&all, total)
}

/// Hands the report to the file or, where it was not shown while it grew, to standard output.
fn deliver(wanted: &ProbeArguments, out: Option<OutFile>, document: &str) -> Result<(), OutError> {
    match (out, &wanted.out) {
        (Some(out), Some(path)) => {
            out.finish(&plain(document))?;
            note(&format!("the report is in {}", path.display()));
        }
        _ if wanted.format != ReportFormat::Text => drop(print(document)),
        _ => {}
    }
    Ok(())
}

fn verdict(all: &[Series<'_>], total: usize) -> ExitCode {
    let done = all.iter().map(|series| series.runs.len()).sum::<usize>();
    if done < total {
        return complain(&format!("interrupted: {done} of {total} runs were done"), INTERRUPTED);
    }
    let passed = all.iter().flat_map(|series| &series.runs).all(ProbeRun::succeeded);
    ExitCode::from(if passed { 0 } else { FAILED })
}

// === impl Series ===

impl Series<'_> {
    fn failed(&self) -> impl Iterator<Item = &ProbeRun> {
        self.runs.iter().filter(|run| !run.succeeded())
    }
}
