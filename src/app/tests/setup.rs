//! The configuration under which all of these daemons run.

use crate::aggregate::dedupe::Piece;
use crate::aggregate::{PhoneSettings, Rules};
use crate::alert::{Core, Policy};
use crate::base::clock::UnixNanos;
use crate::base::secret::Secret;
use crate::model::matcher::Where;
use crate::model::objective::{Indicator, Selector, Slo, Source, workbook_pairs};
use crate::model::routing::{Channel, Receiver, Route};
use crate::store::CountsBook;
use crate::wire::state::CheckpointState;
use prost::Message;
use std::sync::Arc;
use std::time::Duration;

/// A configuration in force.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) policy: Arc<Policy>,
    pub(super) rules: Arc<Rules>,
}

/// A checkpoint as bytes: state, and the hashes of items beside it.
#[derive(Clone, Debug)]
pub(super) struct Encoded {
    state: Vec<u8>,
    hashes: Vec<Vec<u8>>,
}

// === impl Encoded ===

impl Encoded {
    /// State as a checkpoint holds it.
    pub(super) fn of(core: &Core, now: UnixNanos) -> Self {
        // Of a copy: what is taken counts as written.
        let hashes = core.folder.dedupe.clone().take(true);
        let hashes = hashes.iter().map(Piece::encode).collect();
        Self { state: core.save(1, now).encode_to_vec(), hashes }
    }
}

// === impl Setup ===

impl Setup {
    /// Two probes' and two phones' SLOs over a day, whose short windows resolve soon; everybody hears
    /// of everything. An app may have so many series of its own.
    pub(super) fn new(probes: &[(&str, Duration)], max_series_per_app: usize) -> Self {
        let probe = |name: &str| Source::Probe(name.to_owned());
        let event = |name: &str| Selector {
            source: Source::Event(name.to_owned()),
            filter: Where::default(),
        };
        let http =
            Source::Http { method: "POST".to_owned(), path: "/rooms/{id}/messages".to_owned() };
        let latency = |source, ms: u64| Indicator::Latency {
            source,
            filter: Where::default(),
            under_ns: ms * 1_000_000,
            phase: None,
        };
        let rest = Indicator::Availability { source: probe("rest"), filter: Where::default() };
        let crashes = Indicator::Ratio { bad: event("app.crash"), total: event("session.start") };
        let slos = vec![
            slo("chat-fast", 0.999, latency(probe("chat"), 100)),
            slo("rest-up", 0.99, rest),
            slo("messages-fast", 0.99, latency(http, 300)),
            slo("crash-ratio", 0.99, crashes),
        ];
        let phones = PhoneSettings { max_series_per_app, ..PhoneSettings::default() };
        let rules = Arc::new(Rules::new(&slos, phones));
        let policy = Arc::new(Policy {
            slos,
            receivers: ["oncall", "log"].map(receiver).into(),
            route: Route {
                receiver: Some("oncall".to_owned()),
                routes: ["oncall", "log"].map(goes_on_to).into(),
                ..Route::default()
            },
            probe_intervals: probes
                .iter()
                .map(|(name, every)| ((*name).to_owned(), *every))
                .collect(),
            ..Policy::default()
        });
        Self { policy, rules }
    }
}

fn slo(name: &str, objective: f64, indicator: Indicator) -> Arc<Slo> {
    let window = Duration::from_secs(86_400);
    Arc::new(Slo {
        name: name.to_owned(),
        owner: None,
        description: None,
        runbook: None,
        objective,
        window,
        indicator,
        burn: workbook_pairs(window),
        absent_after: Duration::from_secs(300),
        labels: Default::default(),
    })
}

fn receiver(name: &str) -> Receiver {
    let url = Secret::new("http://127.0.0.1:9");
    let timeout = Duration::from_secs(1);
    let channel = Channel::Webhook { url, headers: Vec::new(), timeout };
    Receiver { name: name.to_owned(), send_resolved: true, channel }
}

fn goes_on_to(name: &str) -> Route {
    Route { receiver: Some(name.to_owned()), goes_on: true, ..Route::default() }
}

impl Setup {
    /// State of a first start, on an empty journal.
    pub(super) fn fresh(&self, now: UnixNanos) -> Core {
        let mut core = Core::default();
        let new = core.configure(Arc::clone(&self.policy), Arc::clone(&self.rules), now);
        core.store.counts.complete(&new, &CountsBook::default());
        core
    }

    /// State as a start takes it up from an encoded checkpoint.
    pub(super) fn resume(&self, checkpoint: &Encoded, now: UnixNanos) -> Core {
        let state = CheckpointState::decode(&*checkpoint.state).expect("we encoded it");
        let mut core = Core::load(&state);
        let (dedupe, promised) = (&mut core.folder.dedupe, state.dedupe.unwrap_or_default());
        let readable = checkpoint.hashes.iter().all(|piece| dedupe.restore(piece, &promised));
        assert!(dedupe.restored(&promised, now, readable), "all hashes are back");
        let new = core.configure(Arc::clone(&self.policy), Arc::clone(&self.rules), now);
        assert_eq!(new.ids, [], "the checkpoint had them");
        core
    }
}
