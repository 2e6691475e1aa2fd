//! Phones that report: in time, late, twice, with wrong clocks; and what the ledger must say of it.

use super::backend::{Backend, Fault};
use crate::base::clock::{UnixNanos, nanos};
use crate::store::ledger::ItemOutcome;
use crate::wire::attributes::text;
use crate::wire::otlp::{
    ExportLogsServiceRequest, ExportTraceServiceRequest, KeyValue, LogRecord, Resource,
    ResourceLogs, ResourceSpans, ScopeLogs, ScopeSpans, Span, SpanKind,
};
use crate::wire::record::{Envelope, Kind, Origin};
use prost::Message;
use rand::Rng;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

const APPS: [&str; 2] = ["chat-android", "chat-ios"];
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// One span or log record.
#[derive(Clone, Copy, Debug)]
struct Item {
    number: u64,
    at: UnixNanos,
    bad: bool,
}

/// What a phone sends at once.
#[derive(Clone, Debug)]
pub(super) struct Request {
    app: &'static str,
    network: &'static str,
    kind: Kind,
    items: Vec<Item>,
    /// Items that the front door found wrong and left out.
    rejected: u64,
}

/// Items by app, signal and outcome, counted without the fold.
pub(super) type Account = BTreeMap<(String, String, &'static str), u64>;

/// All phones.
#[derive(Debug, Default)]
pub(super) struct Phones {
    numbers: u64,
    /// What is under way, by the time of its arrival.
    under_way: BTreeMap<(UnixNanos, u64), Request>,
    seen: HashSet<u64>,
    /// What must become of everything that arrived.
    pub(super) account: Account,
}

impl Phones {
    /// Lets phones report what happened up to `now`; it arrives in its own time.
    pub(super) fn report(&mut self, backend: &Backend, now: UnixNanos, rng: &mut StdRng) {
        let request = self.request(backend, now, rng);
        let delay = match rng.random_range(0..100) {
            0..80 => Duration::from_secs(rng.random_range(0..20)),
            _ => Duration::from_secs(rng.random_range(20..500)),
        };
        if rng.random_bool(0.1) {
            // The answer was lost, and the phone merges what it repeats with something new.
            let mut again = request.clone();
            if rng.random_bool(0.5) {
                let more = self.items(backend, now, request.kind, rng);
                again.items.extend(more);
            }
            let later = delay + Duration::from_secs(rng.random_range(1..480));
            self.send(now.plus(later), again);
        }
        self.send(now.plus(delay), request);
    }

    /// Takes out what has arrived by `now`, as the front door journals it.
    pub(super) fn arrivals(&mut self, now: UnixNanos) -> Vec<Envelope> {
        let later = self.under_way.split_off(&(UnixNanos(now.0 + 1), 0));
        let arrived = std::mem::replace(&mut self.under_way, later);
        arrived.into_iter().map(|((at, _), request)| self.arrive(at, &request)).collect()
    }

    /// Items that were refused at the door for want of room.
    pub(super) fn shed(&mut self, items: u64) -> (&'static str, &'static str) {
        self.count(APPS[0], "traces", ItemOutcome::Shed, items);
        (APPS[0], "traces")
    }

    /// A request of a phone, and at what age its items are.
    pub(super) fn request(
        &mut self,
        backend: &Backend,
        now: UnixNanos,
        rng: &mut StdRng,
    ) -> Request {
        let kind = if rng.random_bool(0.6) { Kind::Traces } else { Kind::Logs };
        let shift = match rng.random_range(0..100) {
            0..6 => -(rng.random_range(0..nanos(DAY * 6)) as i64),
            6..8 => -(nanos(DAY * 7 + MINUTE * rng.random_range(30..600)) as i64),
            8..12 => rng.random_range(0..nanos(MINUTE * 9)) as i64,
            12 => rng.random_range(nanos(MINUTE * 20)..nanos(MINUTE * 300)) as i64,
            _ => 0,
        };
        let mut items = self.items(backend, now, kind, rng);
        items.iter_mut().for_each(|item| item.at = UnixNanos(item.at.0.wrapping_add_signed(shift)));
        Request {
            app: APPS[rng.random_range(0..APPS.len())],
            network: if rng.random_bool(0.5) { "cell" } else { "wifi" },
            kind,
            items,
            rejected: if rng.random_bool(0.05) { rng.random_range(1..4) } else { 0 },
        }
    }

    fn items(
        &mut self,
        backend: &Backend,
        now: UnixNanos,
        kind: Kind,
        rng: &mut StdRng,
    ) -> Vec<Item> {
        let fault = if kind == Kind::Traces { Fault::SlowMessages } else { Fault::Crashes };
        (0..rng.random_range(1..6))
            .map(|_| {
                self.numbers += 1;
                let at = now.minus(Duration::from_millis(rng.random_range(0..10_000)));
                let bad =
                    (backend.suffers(fault, at) && rng.random_bool(0.7)) || backend.noise(at, rng);
                Item { number: self.numbers, at, bad }
            })
            .collect()
    }

    fn send(&mut self, at: UnixNanos, request: Request) {
        self.numbers += 1;
        drop(self.under_way.insert((at, self.numbers), request));
    }

    /// A request as it is journaled at `at`. Accounts for it.
    pub(super) fn arrive(&mut self, at: UnixNanos, request: &Request) -> Envelope {
        let signal = if request.kind == Kind::Traces { "traces" } else { "logs" };
        for item in &request.items {
            let outcome = if !self.seen.insert(item.number) {
                ItemOutcome::Duplicate
            } else if item.at.plus(DAY * 7) < at {
                ItemOutcome::TooLate
            } else {
                ItemOutcome::Stored
            };
            self.count(request.app, signal, outcome, 1);
        }
        self.count(request.app, signal, ItemOutcome::Rejected, request.rejected);
        request.envelope(at)
    }

    fn count(&mut self, app: &str, signal: &str, outcome: ItemOutcome, items: u64) {
        if items > 0 {
            let line = (app.to_owned(), signal.to_owned(), outcome.as_str());
            *self.account.entry(line).or_default() += items;
        }
    }
}

impl Request {
    fn envelope(&self, at: UnixNanos) -> Envelope {
        let resource = Resource {
            attributes: vec![
                text("service.name", self.app),
                text("service.version", "4.2.0"),
                text("network.connection.type", self.network),
            ],
            ..Resource::default()
        };
        let payload = match self.kind {
            Kind::Traces => {
                let spans = self.items.iter().map(Item::span).collect();
                let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
                let resource = Some(resource);
                let one = ResourceSpans { resource, scope_spans, ..ResourceSpans::default() };
                ExportTraceServiceRequest { resource_spans: vec![one] }.encode_to_vec()
            }
            _ => {
                let log_records = self.items.iter().map(Item::log_record).collect();
                let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
                let resource = Some(resource);
                let one = ResourceLogs { resource, scope_logs, ..ResourceLogs::default() };
                ExportLogsServiceRequest { resource_logs: vec![one] }.encode_to_vec()
            }
        };
        let envelope = Envelope::new(Origin::Otlp, self.kind, at, payload.into());
        Envelope { rejected: self.rejected, ..envelope }
    }
}

impl Item {
    fn span(&self) -> Span {
        let took = Duration::from_millis(if self.bad { 1_000 } else { 80 });
        Span {
            trace_id: (u128::from(self.number) << 1 | 1).to_be_bytes().to_vec(),
            span_id: (self.number + 1).to_be_bytes().to_vec(),
            name: "POST".to_owned(),
            kind: SpanKind::Client.into(),
            start_time_unix_nano: self.at.minus(took).0,
            end_time_unix_nano: self.at.0,
            attributes: vec![
                text("http.request.method", "POST"),
                text("url.path", format!("/rooms/{}/messages", self.number % 7)),
            ],
            ..Span::default()
        }
    }

    fn log_record(&self) -> LogRecord {
        let number: KeyValue = text("number", self.number.to_string());
        LogRecord {
            time_unix_nano: self.at.0,
            event_name: if self.bad { "app.crash" } else { "session.start" }.to_owned(),
            attributes: vec![number],
            ..LogRecord::default()
        }
    }
}
