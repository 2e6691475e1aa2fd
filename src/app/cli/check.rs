//! `radiosonde check`: whether the files are fine, and what stands in them.

use super::arguments::CheckArguments;
use super::exit::INVALID;
use super::files::Files;
use super::palette::{Mark, STRONG, paint};
use super::problems;
use super::server::Format;
use super::table::{Column, render};
use super::terminal::{hint, print};
use crate::base::clock::{Clock, UnixNanos};
use crate::base::duration;
use crate::config::{self, Loaded, Problem, Settings};
use crate::model::objective::Slo;
use crate::model::routing::Channel;
use crate::probe::maintenance::Maintenance;
use crate::probe::spec::{Action, Cadence, ProbeSpec, Step};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

/// Carries the command out.
pub(super) fn check(files: &Files, wanted: &CheckArguments) -> ExitCode {
    if wanted.example {
        return print(config::example());
    }
    let loaded = files.load();
    match (&loaded.settings, wanted.format) {
        (_, Format::Json) => {
            let _ = print(&format!("{:#}\n", document(&loaded)));
            ExitCode::from(if loaded.settings.is_some() { 0 } else { INVALID })
        }
        (None, Format::Text) => problems::report(&loaded),
        (Some(settings), Format::Text) => {
            problems::warn(&loaded);
            let _ = print(&summary(settings, Clock::system().now()));
            if settings.probes.is_empty() {
                hint("there is no probe yet; `radiosonde check --example` shows how they look");
            }
            ExitCode::SUCCESS
        }
    }
}

/// What stands in files without mistakes, as a table.
fn summary(settings: &Settings, now: UnixNanos) -> String {
    let daemon = &settings.daemon;
    let files = match settings.files.len() {
        0 => "no file; the defaults are".to_owned(),
        1 => "1 file is".to_owned(),
        number => format!("{number} files are"),
    };
    let mark = paint(Mark::Good.style(), Mark::Good.sign());
    let head = format!("{mark} {} {}\n\n", paint(STRONG, &files), paint(STRONG, "fine"));
    let row =
        |what: &str, number: usize, words: String| [what.to_owned(), number.to_string(), words];
    let rows = [
        row("probes", settings.probes.len(), lines(probes(&settings.probes))),
        row("SLOs", settings.slos.len(), lines(slos(&settings.slos))),
        row("maintenance", settings.maintenance.len(), lines(maintenance(settings, now))),
        row("receivers", settings.receivers.len(), lines(receivers(settings))),
        row(
            "listeners",
            3,
            format!(
                "page, API and /metrics {}\nOTLP/HTTP {}\nOTLP/gRPC {}",
                daemon.listen, daemon.otlp_http, daemon.otlp_grpc
            ),
        ),
    ];
    head + &render(&[Column::Left("what"), Column::Right("number"), Column::Text("which")], rows)
}

fn lines(parts: Vec<String>) -> String {
    if parts.is_empty() { "none".to_owned() } else { parts.join("\n") }
}

/// `3 websocket, every 10s to 15s`, a line a protocol.
fn probes(probes: &[std::sync::Arc<ProbeSpec>]) -> Vec<String> {
    let mut kinds: BTreeMap<String, Vec<&Cadence>> = BTreeMap::new();
    for probe in probes {
        kinds.entry(protocols(&probe.steps)).or_default().push(&probe.cadence);
    }
    let line = |(kind, cadences): (String, Vec<&Cadence>)| {
        format!("{} {kind}, {}", cadences.len(), schedule(&cadences))
    };
    kinds.into_iter().map(line).collect()
}

/// The protocols of a probe's steps, each once: `websocket + http`.
fn protocols(steps: &[Step]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for step in steps {
        let is_on_stream = matches!(
            step.action,
            Action::Expect { .. } | Action::Send { .. } | Action::Ledger { .. }
        );
        if is_on_stream {
            continue;
        }
        let name = step.action.block();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(" + ")
}

fn schedule(cadences: &[&Cadence]) -> String {
    let intervals: Vec<Duration> = cadences
        .iter()
        .filter_map(|cadence| match cadence {
            Cadence::Every(interval) => Some(*interval),
            Cadence::Cron { .. } => None,
        })
        .collect();
    let crons = cadences.len() - intervals.len();
    let every = match (intervals.iter().min(), intervals.iter().max()) {
        (Some(least), Some(most)) if least == most => {
            Some(format!("every {}", duration::format(*least)))
        }
        (Some(least), Some(most)) => {
            Some(format!("every {} to {}", duration::format(*least), duration::format(*most)))
        }
        _ => None,
    };
    let cron = (crons > 0)
        .then(|| if every.is_some() { format!("{crons} by cron") } else { "by cron".to_owned() });
    every.into_iter().chain(cron).collect::<Vec<_>>().join(", ")
}

/// `5 on probes`, `2 on phones`.
fn slos(slos: &[std::sync::Arc<Slo>]) -> Vec<String> {
    let on_probes = slos.iter().filter(|slo| slo.probe().is_some()).count();
    let parts = [(on_probes, "on probes"), (slos.len() - on_probes, "on phones")];
    parts.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect()
}

/// `db-upgrade next 2026-11-29T01:00:00.000Z for 2h, 3 probes`.
fn maintenance(settings: &Settings, now: UnixNanos) -> Vec<String> {
    let line = |one: &std::sync::Arc<Maintenance>| {
        let probes = settings.probes.iter().filter(|p| one.concerns(&p.name, &p.labels)).count();
        let when = match (one.at(now).window, one.next_after(now)) {
            (Some(window), _) => format!("now, until {}", window.until.to_rfc3339()),
            (None, Some(next)) => {
                format!("next {} for {}", next.to_rfc3339(), duration::format(one.length))
            }
            (None, None) => "never again".to_owned(),
        };
        let plural = if probes == 1 { "" } else { "s" };
        format!("{} {when}, {probes} probe{plural}", one.name)
    };
    settings.maintenance.iter().map(line).collect()
}

/// `oncall by webhook`, and the heartbeat.
fn receivers(settings: &Settings) -> Vec<String> {
    let receivers = settings.receivers.iter().map(|receiver| {
        let channel = match receiver.channel {
            Channel::Webhook { .. } => "webhook",
            Channel::Alertmanager { .. } => "alertmanager",
        };
        format!("{} by {channel}", receiver.name)
    });
    let heartbeat = settings.heartbeat.iter().map(|heartbeat| {
        format!("heartbeat to {} every {}", heartbeat.receiver, duration::format(heartbeat.every))
    });
    receivers.chain(heartbeat).collect()
}

/// The same for machines.
fn document(loaded: &Loaded) -> Value {
    let problem = |problem: &Problem| {
        json!({
            "file": problem.file.display().to_string(),
            "line": problem.line,
            "column": problem.column,
            "message": problem.message,
            "hint": problem.hint,
        })
    };
    let list = |problems: &[Problem]| problems.iter().map(problem).collect::<Vec<_>>();
    let counts = loaded.settings.as_ref().map(|settings| {
        json!({
            "files": settings.files.len(),
            "probes": settings.probes.len(),
            "slos": settings.slos.len(),
            "maintenance": settings.maintenance.len(),
            "receivers": settings.receivers.len(),
            "revision": format!("{:016x}", settings.revision),
        })
    });
    json!({
        "version": 1,
        "ok": loaded.settings.is_some(),
        "problems": list(&loaded.problems),
        "warnings": list(&loaded.warnings),
        "configuration": counts,
    })
}
