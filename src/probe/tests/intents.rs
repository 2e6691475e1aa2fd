//! Runs are announced before they begin, and settled when nothing of them is left.

use super::super::spec::{Action, Cadence, Found, HttpStep, Listed, ProbeSpec, Step, Targets};
use super::super::{Intent, Register, Scheduler};
use super::servers::{Server, http};
use super::{context, get, spec, step};
use crate::model::probe::RunId;
use axum::Router;
use axum::extract::Path;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, channel};

const LONG: Duration = Duration::from_secs(30);

/// What happened, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Announced(RunId),
    Settled(RunId),
    Asked(String),
}

#[derive(Clone, Debug, Default)]
struct Events(Arc<Mutex<Vec<Event>>>);

impl Register for Events {
    fn announce(&self, intent: Intent) {
        assert!(intent.probe == "probe" && intent.planned_start.is_some(), "{intent:?}");
        self.0.lock().push(Event::Announced(intent.run));
    }

    fn settle(&self, run: RunId) {
        self.0.lock().push(Event::Settled(run));
    }
}

impl Events {
    fn all(&self) -> Vec<Event> {
        self.0.lock().clone()
    }

    fn announced(&self, at: usize) -> RunId {
        let runs = self.all().into_iter().filter_map(|event| match event {
            Event::Announced(run) => Some(run),
            _ => None,
        });
        runs.collect::<Vec<_>>()[at]
    }

    /// A server that notes who asked for what.
    async fn server(&self) -> Server {
        let events = self.clone();
        let note = move |method: axum::http::Method, Path(path): Path<String>| async move {
            events.0.lock().push(Event::Asked(format!("{method} {path}")));
        };
        http(Router::new().route("/{*path}", axum::routing::any(note))).await
    }
}

fn request(method: &str, server: &Server, path: &str) -> Step {
    let url = server.url("http", path);
    step("1", Action::Http(HttpStep { method: method.into(), ..get(url) }))
}

fn probe(server: &Server) -> ProbeSpec {
    ProbeSpec {
        cadence: Cadence::Every(Duration::from_secs(36_000)),
        cleanup: vec![request("DELETE", server, "/${run.id}")],
        ..spec(vec![request("PUT", server, "/${run.id}")])
    }
}

/// Guarantees that a run of an instance is announced with its target, and cleaned up after by it, whether
/// or not the target is listed still.
#[tokio::test]
async fn an_instance_is_cleaned_up_after_by_its_target() {
    let events = Events::default();
    let server = events.server().await;
    let cleanup = vec![request("DELETE", &server, "/${target}/${run.id}")];
    let listed = Listed { known: vec![Found::plain("now")], services: Vec::new() };
    let targets = Targets::Listed(Arc::new(listed));
    let definition = Arc::new(ProbeSpec { cleanup, targets, ..probe(&server) });
    let (instances, _) = definition.instances(&[]);
    let targets = Arc::new(Mutex::new(Vec::new()));
    let register = Arc::new(Announced(Arc::clone(&targets)));
    let (sender, _results) = channel(16);
    let scheduler =
        Scheduler::start(context().registered(register), sender, instances).expect("started");
    assert_eq!(*targets.lock(), [Some("now".to_owned())]);
    let (probe, target) = ("probe".to_owned(), Some("then".to_owned()));
    let left = Intent { probe, target, run: RunId([3; 16]), planned_start: None };
    scheduler.clean_up_after(vec![left], &[definition]);
    let asked = Event::Asked(format!("DELETE then/{}", RunId([3; 16]).to_hex()));
    let cleaned = async {
        while !events.all().contains(&asked) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, cleaned).await.expect("cleaned up");
    stop(scheduler).await;
}

/// Keeps the targets of what is announced.
#[derive(Debug)]
struct Announced(Arc<Mutex<Vec<Option<String>>>>);

impl Register for Announced {
    fn announce(&self, intent: Intent) {
        self.0.lock().push(intent.target);
    }

    fn settle(&self, _: RunId) {}
}

async fn stop(scheduler: Scheduler) {
    tokio::task::spawn_blocking(move || scheduler.stop(LONG)).await.expect("threads end");
}

fn start(
    events: &Events,
    probes: Vec<ProbeSpec>,
) -> (Scheduler, Receiver<crate::model::probe::ProbeRun>) {
    let (sender, results) = channel(16);
    let context = context().registered(Arc::new(events.clone()));
    let probes = probes.into_iter().map(Arc::new).collect();
    (Scheduler::start(context, sender, probes).expect("started"), results)
}

/// Guarantees the order: a run is announced before it is due, bears the id that was announced, and the
/// next is announced before its first request; at the stop the one that never began is settled.
#[tokio::test]
async fn runs_are_announced_before_they_begin() {
    let events = Events::default();
    let server = events.server().await;
    let (scheduler, _results) = start(&events, vec![probe(&server)]);
    let first = events.announced(0);
    let run = scheduler.run_now("probe").expect("accepted").await.expect("a result");
    assert_eq!(run.id, first);
    stop(scheduler).await;
    let (next, hex) = (events.announced(1), first.to_hex());
    let asked = |method: &str| Event::Asked(format!("{method} {hex}"));
    let expected = [
        Event::Announced(first),
        Event::Announced(next),
        asked("PUT"),
        asked("DELETE"),
        Event::Settled(next),
    ];
    assert_eq!(events.all(), expected);
}

/// Guarantees that probes without steps that clean up announce nothing, and that a reload settles what will
/// not begin: of probes that are gone, and of those that do not clean up any more.
#[tokio::test]
async fn a_reload_settles_what_will_not_begin() {
    let events = Events::default();
    let server = events.server().await;
    let harmless = || ProbeSpec { cleanup: Vec::new(), ..probe(&server) };
    let (scheduler, _results) = start(&events, vec![harmless()]);
    assert_eq!(events.all(), []);
    let replace = |probes: Vec<ProbeSpec>| {
        scheduler.replace(probes.into_iter().map(Arc::new).collect()).expect("valid");
    };
    replace(vec![probe(&server)]);
    let first = events.announced(0);
    replace(vec![ProbeSpec { overlap: true, ..probe(&server) }]);
    assert_eq!(events.all(), [Event::Announced(first)], "a changed probe keeps its next run");
    replace(vec![harmless()]);
    assert_eq!(events.all(), [Event::Announced(first), Event::Settled(first)]);
    replace(vec![probe(&server)]);
    let second = events.announced(1);
    replace(Vec::new());
    assert_eq!(events.all().last(), Some(&Event::Settled(second)));
    stop(scheduler).await;
    assert_eq!(events.all().len(), 4);
}

/// Guarantees that after a kill the steps that need no more than the run's id are taken with it, that the others
/// send nothing, and that all is settled, also for a probe that is gone.
#[tokio::test]
async fn runs_of_an_earlier_life_are_cleaned_up_after() {
    let events = Events::default();
    let server = events.server().await;
    let unknown =
        [("DELETE", "/a/${object}"), ("DELETE", "/b/${run.start}"), ("DELETE", "/c/${run.id}")];
    let cleanup = unknown.map(|(method, path)| request(method, &server, path)).to_vec();
    let definition = ProbeSpec { cleanup, ..probe(&server) };
    let (scheduler, _results) = start(&events, vec![definition.clone()]);
    let left = |probe: &str, byte| Intent {
        probe: probe.to_owned(),
        target: None,
        run: RunId([byte; 16]),
        planned_start: None,
    };
    scheduler.clean_up_after(vec![left("gone", 1), left("probe", 2)], &[Arc::new(definition)]);
    let settled = async {
        while events.all().len() < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, settled).await.expect("settled");
    let (gone, run) = (RunId([1; 16]), RunId([2; 16]));
    let asked = Event::Asked(format!("DELETE c/{}", run.to_hex()));
    let next = events.announced(0);
    let expected = [Event::Announced(next), Event::Settled(gone), asked, Event::Settled(run)];
    assert_eq!(events.all(), expected);
    stop(scheduler).await;
}
