//! A server on loopback over a core that holds something of everything.

use crate::alert::Core;
use crate::api::actions::{Actions, Failed};
use crate::api::blackbox::Blackbox;
use crate::api::guard::Guard;
use crate::api::server::{ApiState, serve};
use crate::api::views::tests::{NOW, around, core, slo};
use crate::base::clock::{Clock, UnixNanos};
use crate::base::shutdown::Shutdown;
use crate::model::alert::{AlertKey, AlertState, Cause, Silence, Transition};
use crate::model::evidence::SpanEvidence;
use crate::model::labels::Labels;
use crate::model::matcher::{LabelMatcher, Where};
use crate::model::objective::{Indicator, Severity, Slo, Source};
use crate::model::position::Position;
use crate::model::probe::{ProbeRun, RunId};
use crate::model::slot::{GoodTotal, Slot};
use crate::probe::blackbox::Modules;
use crate::probe::guard::AddressGuard;
use crate::probe::{Context, OnDemand};
use crate::store::history::MemoryHistory;
use crate::store::ledger::ItemOutcome;
use crate::telemetry::Telemetry;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use parking_lot::RwLock;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Id of the one run.
pub(super) const RUN: &str = "07070707070707070707070707070707";

/// The server, until dropped.
pub(super) struct Served {
    pub(super) address: String,
    pub(super) telemetry: Telemetry,
    pub(super) blackbox: Arc<Blackbox>,
    shutdown: Shutdown,
    seen: watch::Sender<u64>,
}

/// Everything succeeds and nothing happens.
struct Obliging;

impl Actions for Obliging {
    fn reload(&self) -> BoxFuture<'_, Result<(), Failed>> {
        async { Ok(()) }.boxed()
    }

    fn run_probe(&self, name: &str) -> BoxFuture<'static, Result<ProbeRun, Failed>> {
        let words = || "no further run".to_owned();
        let outcome = match name {
            "unknown" => Err(Failed::NotFound(words())),
            "running" => Err(Failed::Conflict(words())),
            "busy" => Err(Failed::Busy(words())),
            _ => Ok(ProbeRun { probe: name.to_owned(), id: RunId([7; 16]), ..ProbeRun::default() }),
        };
        ready(outcome).boxed()
    }

    fn silence(&self, _: Silence) -> BoxFuture<'_, Result<(), Failed>> {
        async { Ok(()) }.boxed()
    }

    fn acknowledge(&self, _: String, _: String, _: UnixNanos) -> BoxFuture<'_, Result<(), Failed>> {
        async { Ok(()) }.boxed()
    }

    fn test_receiver(&self, _: String) -> BoxFuture<'_, Result<(), Failed>> {
        async { Ok(()) }.boxed()
    }
}

impl Served {
    pub(super) async fn start() -> Self {
        let modules = Modules {
            modules: Default::default(),
            guard: AddressGuard::Anywhere,
            writes: [].into(),
        };
        Self::start_with(modules, Guard::default()).await
    }

    /// The same with modules and tokens.
    pub(super) async fn start_with(modules: Modules, guard: Guard) -> Self {
        // A second installation, by another test, would fail.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let (shutdown, (news, seen)) = (Shutdown::new(), watch::channel(0));
        let telemetry = Telemetry::new();
        let context = Context::new(Clock::system(), telemetry.clone());
        let place = OnDemand::start(context).expect("a thread");
        let is_open_here = guard.tokens.is_empty();
        let blackbox = Arc::new(Blackbox::new(Arc::new(modules), place, is_open_here));
        let state = ApiState {
            core: Arc::new(RwLock::new(full())),
            history: Arc::new(MemoryHistory::new()),
            actions: Arc::new(Obliging),
            clock: Clock::manual(NOW),
            telemetry: telemetry.clone(),
            surroundings: Arc::new(around),
            seen,
            ready: Arc::new(AtomicBool::new(true)),
            blackbox: Arc::clone(&blackbox),
            guard: Arc::new(guard),
            shutdown: shutdown.clone(),
        };
        drop(tokio::spawn(serve(listener, state)));
        Self { address, shutdown, seen: news, telemetry, blackbox }
    }

    /// Status and JSON of an answer.
    pub(super) async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let method = method.to_uppercase().parse().expect("a method");
        let mut request = reqwest::Client::new().request(method, format!("{}{path}", self.address));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("text");
        let value =
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: no JSON: {text}"));
        (status, value)
    }

    /// Sends a page's form as a browser does, from that origin; status, where it leads, and the text.
    pub(super) async fn submit(&self, path: &str, origin: Option<&str>) -> (u16, String, String) {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let client = client.build().expect("a client");
        let origin = origin.unwrap_or(&self.address);
        let request = client.post(format!("{}{path}", self.address)).header("origin", origin);
        let answer = request.send().await.expect("an answer");
        let location = answer.headers().get("location").and_then(|place| place.to_str().ok());
        let location = location.unwrap_or_default().to_owned();
        (answer.status().as_u16(), location, answer.text().await.expect("text"))
    }

    /// The first event of an open page's stream, after there was something new to see.
    pub(super) async fn event(&self) -> String {
        let answer = reqwest::get(format!("{}/page/events", self.address)).await;
        let mut answer = answer.expect("a stream");
        self.seen.send_modify(|seen| *seen += 1);
        let chunk = answer.chunk().await.expect("an event").expect("an event");
        String::from_utf8_lossy(&chunk).into_owned()
    }

    /// The text of an answer.
    pub(super) async fn text(&self, path: &str) -> String {
        let answer = reqwest::get(format!("{}{path}", self.address)).await.expect("an answer");
        answer.text().await.expect("text")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

/// A core with a run, phones, an incident that fires under a silence, and one that is over.
fn full() -> Core {
    let on_phones = Slo {
        name: "send-on-phones".to_owned(),
        indicator: Indicator::Latency {
            source: Source::Http { method: "POST".to_owned(), path: "/rooms/{id}".to_owned() },
            filter: Where::default(),
            under_ns: 300_000_000,
            phase: None,
        },
        ..slo()
    };
    let id = on_phones.indicator.id();
    let mut core = core(vec![Arc::new(slo()), Arc::new(on_phones)]);
    let slot = Slot::of(NOW);
    let phones = core.store.evidence.phones.entry(id).or_default();
    for (region, bad) in [("ap-south", 40), ("eu-west", 0)] {
        let combination = ["4.2.0", "iOS", "cell", region];
        phones.count(slot.minus(6), combination, GoodTotal { bad, total: 100 });
    }
    phones.add_span(slot, span());
    core.store.ledger.add("chat-app", "traces", ItemOutcome::Stored, 200);
    core.store.ledger.add("chat-app", "traces", ItemOutcome::TooLate, 1);
    let late = GoodTotal { bad: 1, total: 3 };
    core.store.late.add(id, slot.minus(8_640), slot.minus(360), late);
    core.store.late.see_release("chat-app", "4.2.0", NOW.minus(Duration::from_secs(60)));
    core.newest.phones = Some(NOW);
    alerts(&mut core);
    core
}

fn span() -> SpanEvidence {
    SpanEvidence {
        trace_id: RUN.to_owned(),
        span_id: "0707070707070707".to_owned(),
        name: "POST".to_owned(),
        at: NOW,
        duration_ns: 700_000_000,
        failed: true,
        attributes: Labels::new([("region", "ap-south")]),
    }
}

fn alerts(core: &mut Core) {
    let seconds_ago = |seconds| NOW.minus(Duration::from_secs(seconds));
    let moved = |incident: &str, to, cause, at| {
        let name = "send-on-phones";
        let labels = [("alertname", name), ("severity", "page"), ("slo", name)];
        Transition {
            key: AlertKey { name: name.to_owned(), severity: Severity::Page },
            to,
            cause,
            at,
            incident: incident.to_owned(),
            labels: Labels::new(labels),
            annotations: Labels::new([("summary", "send-on-phones burns 18x")]),
            decided_at: Position::default(),
            receivers: vec!["oncall".to_owned()],
        }
    };
    let book = &mut core.book;
    book.apply(&moved("incident-0", AlertState::Firing, Cause::Burn, seconds_ago(900)));
    book.apply(&moved("incident-0", AlertState::Resolved, Cause::Recovered, seconds_ago(800)));
    book.apply(&moved("incident-1", AlertState::Firing, Cause::Burn, seconds_ago(300)));
    book.outbox.settle("incident-1-1-oncall", seconds_ago(290), "refused", "410 Gone", 3);
    book.acknowledge("incident-1", "ann", seconds_ago(200));
    book.put_silence(Silence {
        id: "silence-1".to_owned(),
        matchers: vec![LabelMatcher::parse("severity=page").expect("a matcher")],
        starts_at: seconds_ago(100),
        ends_at: NOW.plus(Duration::from_secs(3_600)),
        created_by: "bob".to_owned(),
        comment: "on it".to_owned(),
    });
}
