//! One journal record at a time into the read models.

use super::dedupe::Dedupe;
use super::item::Item;
use super::labels::SeriesLabels;
use super::rules::Rules;
use super::streams::{Delta, Stream, Streams};
use super::{events, metrics, probes, spans};
use crate::base::clock::UnixNanos;
use crate::model::evidence::{DIMENSIONS, SpanEvidence};
use crate::model::labels::Labels;
use crate::model::objective::IndicatorId;
use crate::model::probe::ProbeRun;
use crate::model::series::{SeriesKey, SlotValue};
use crate::model::slot::{GoodTotal, Slot};
use crate::store::Store;
use crate::store::ledger::{ItemCounts, ItemOutcome};
use crate::wire::otlp::{
    ExportLogsServiceRequest, ExportMetricsServiceRequest, ExportTraceServiceRequest, KeyValue,
    Signal,
};
use crate::wire::probe_spans;
use crate::wire::record::{Envelope, Origin};
use crate::wire::semconv as key;
use prost::Message;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Items older than this when received are not stored: the longest that real SDKs buffer.
pub const TOO_LATE: Duration = Duration::from_secs(7 * 86_400);
/// Items further ahead than this are booked at the time of receipt.
pub const TOO_EARLY: Duration = Duration::from_secs(600);
/// Items that came later than this after their time are accounted for as late.
const LATE: Duration = Duration::from_secs(600);
/// The label that marks an app's overflow series.
pub const OVERFLOW: &str = "otel.metric.overflow";

/// A decoded payload, when the front door has it at hand; the fold decodes it otherwise.
#[derive(Clone, Debug, PartialEq)]
pub enum Decoded {
    /// Spans.
    Traces(ExportTraceServiceRequest),
    /// Metrics.
    Metrics(ExportMetricsServiceRequest),
    /// Logs.
    Logs(ExportLogsServiceRequest),
}

/// What the fold itself remembers between records.
#[derive(Clone, Debug, Default)]
pub struct Folder {
    /// Items seen.
    pub dedupe: Dedupe,
    /// Cumulative streams.
    pub streams: Streams,
    /// Live series by app, for the cap.
    series_by_app: HashMap<Box<str>, usize>,
    /// Items that lay more than ten minutes ahead.
    pub skewed: u64,
}

/// One record's way through the fold: what the item folds need, in one place.
pub struct Batch<'a> {
    folder: &'a mut Folder,
    store: &'a mut Store,
    /// The rules in force.
    pub rules: &'a Rules,
    /// When the record was received.
    pub received_at: UnixNanos,
    signal: Signal,
    account: SmallVec<[(Box<str>, ItemCounts); 2]>,
    /// How often a hash came up within this record: equal items of one request are not duplicates.
    seen: HashMap<u128, u64, foldhash::fast::FixedState>,
}

/// Where in event time an item goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its slot.
    pub slot: Slot,
    /// Whether it came more than ten minutes after its time.
    pub late: bool,
}

impl Folder {
    /// Folds a record of telemetry; other kinds are not its business. Returns the probe runs in it.
    ///
    /// # Errors
    /// When the payload does not decode.
    pub fn fold(
        &mut self,
        store: &mut Store,
        rules: &Rules,
        envelope: &Envelope,
        decoded: Option<Decoded>,
    ) -> Result<Vec<Arc<ProbeRun>>, prost::DecodeError> {
        let Ok(signal) = Signal::try_from(envelope.kind()) else { return Ok(Vec::new()) };
        self.streams.begin(envelope.received_at());
        let decoded = match decoded {
            Some(decoded) => decoded,
            None => Decoded::decode(signal, envelope)?,
        };
        if let (Origin::Probe | Origin::Agent, Decoded::Traces(request)) =
            (envelope.origin(), &decoded)
        {
            let runs = probe_spans::decode(request);
            return Ok(runs.into_iter().map(|run| probes::fold(store, rules, run)).collect());
        }
        let mut batch = Batch {
            folder: self,
            store,
            rules,
            received_at: envelope.received_at(),
            signal,
            account: SmallVec::new(),
            seen: HashMap::default(),
        };
        match &decoded {
            Decoded::Traces(r) => {
                r.resource_spans.iter().for_each(|one| spans::fold(&mut batch, one))
            }
            Decoded::Metrics(r) => {
                r.resource_metrics.iter().for_each(|one| metrics::fold(&mut batch, one));
            }
            Decoded::Logs(r) => {
                r.resource_logs.iter().for_each(|one| events::fold(&mut batch, one))
            }
        }
        batch.close(&decoded, envelope.rejected);
        Ok(Vec::new())
    }

    /// Forgets idle streams and counts series anew; call after a checkpoint closed blocks.
    pub fn settle(&mut self, store: &Store, now: UnixNanos) {
        self.streams.settle(now);
        self.series_by_app.clear();
        for series in store.head.iter() {
            if let Some(app) = series.key.labels.get(key::SERVICE_NAME) {
                *self.series_by_app.entry(app.into()).or_default() += 1;
            }
        }
    }
}

impl Batch<'_> {
    /// Whether an item is new; remembers it. `at` is its own time, 0 when it has none.
    pub fn is_new(&mut self, item: u128, at: u64) -> bool {
        self.folder.dedupe.is_new(item, at, self.received_at)
    }

    /// The app under which a resource is counted: its own, or `other` beyond the cap on apps.
    pub fn app<'n>(&mut self, resource: &'n [KeyValue]) -> &'n str {
        self.store.ledger.admit(Item::new(&[], resource).app())
    }

    /// The hash of an item that carries no id: the k-th equal item of a request is told from the
    /// first by its number, so legitimate repetitions all count and a repeated request still matches.
    pub fn numbered(&mut self, item: u128) -> u128 {
        let number = self.seen.entry(item).or_default();
        *number += 1;
        item.wrapping_add(
            u128::from(*number - 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
        )
    }

    /// The slot of an event time; none when it is too late. Times far ahead, or missing, are booked
    /// at the time of receipt.
    pub fn place(&mut self, at: u64) -> Option<Placed> {
        let mut at = UnixNanos(at);
        if at > self.received_at.plus(TOO_EARLY) || at.0 == 0 {
            self.folder.skewed += 1;
            at = self.received_at;
        }
        if at.plus(TOO_LATE) < self.received_at {
            return None;
        }
        Some(Placed { slot: Slot::of(at), late: at.plus(LATE) < self.received_at })
    }

    /// Takes a point of a cumulative stream.
    pub fn take_cumulative(&mut self, stream: u128, point: Stream) -> Delta {
        self.folder.streams.take(stream, point)
    }

    /// Counts an item of an app.
    pub fn account(&mut self, app: &str, outcome: ItemOutcome) {
        match self.account.iter_mut().find(|(known, _)| **known == *app) {
            Some((_, counts)) => counts.add(outcome, 1),
            None => {
                let mut counts = ItemCounts::default();
                counts.add(outcome, 1);
                self.account.push((app.into(), counts));
            }
        }
    }

    /// Remembers the release of a resource.
    pub fn see_release(&mut self, app: &str, resource: Item<'_>) {
        if let Some(version) = resource.label(key::SERVICE_VERSION) {
            self.store.late.see_release(app, &version, self.received_at);
        }
    }

    /// Adds to the series of this name and these labels. Beyond the app's cap, new series count into
    /// its overflow series.
    pub fn add_series(
        &mut self,
        app: &str,
        name: &str,
        labels: &SeriesLabels<'_>,
        placed: Placed,
        value: &SlotValue,
    ) {
        let id = labels.id(name);
        let head = &mut self.store.head;
        if head.contains(id) || self.folder.admit(app, self.rules.phones.max_series_per_app) {
            head.add(id, || labels.key(name), placed.slot, value);
        } else {
            let labels = Labels::new([(key::SERVICE_NAME, app), (OVERFLOW, "true")]);
            let key = SeriesKey { name: name.into(), labels };
            head.add(key.id(), || key.clone(), placed.slot, value);
        }
    }

    /// Counts an event of an indicator, its combination of dimensions, and its lateness.
    pub fn count(&mut self, id: IndicatorId, placed: Placed, counts: GoodTotal, item: Item<'_>) {
        let Some(indicator) = self.store.counts.get_mut(id) else { return };
        indicator.has_counted(Slot::of(self.received_at));
        indicator.add(placed.slot, counts);
        let phones = &self.rules.phones;
        let values = DIMENSIONS.map(|name| item.label(phones.source_of(name)));
        let values = values.each_ref().map(|value| value.as_deref().unwrap_or(""));
        self.store.evidence.phones.entry(id).or_default().count(placed.slot, values, counts);
        if placed.late {
            self.store.late.add(id, placed.slot, Slot::of(self.received_at), counts);
        }
    }

    /// Whether a span would be kept as evidence.
    #[must_use]
    pub fn wants_evidence(&self, id: IndicatorId, placed: Placed, duration_ns: u64) -> bool {
        let kept = self.store.evidence.phones.get(&id);
        kept.is_none_or(|evidence| evidence.wants(placed.slot, duration_ns))
    }

    /// Keeps a span as evidence.
    pub fn keep_span(&mut self, id: IndicatorId, placed: Placed, span: SpanEvidence) {
        self.store.evidence.phones.entry(id).or_default().add_span(placed.slot, span);
    }

    fn close(self, decoded: &Decoded, rejected: u64) {
        let signal = self.signal.as_str();
        for (app, counts) in &self.account {
            for outcome in ItemOutcome::ALL {
                self.store.ledger.add(app, signal, *outcome, counts.get(*outcome));
            }
        }
        if rejected > 0 {
            let app = decoded.first_app().to_owned();
            self.store.ledger.add(&app, signal, ItemOutcome::Rejected, rejected);
        }
    }
}

impl Folder {
    /// Whether an app may have one more series.
    fn admit(&mut self, app: &str, cap: usize) -> bool {
        match self.series_by_app.get_mut(app) {
            Some(count) if *count >= cap => false,
            Some(count) => {
                *count += 1;
                true
            }
            None => {
                let _ = self.series_by_app.insert(app.into(), 1);
                true
            }
        }
    }
}

impl Decoded {
    /// Decodes the payload of a record.
    ///
    /// # Errors
    /// When it is not the message that its kind promises.
    pub fn decode(signal: Signal, envelope: &Envelope) -> Result<Self, prost::DecodeError> {
        let payload = envelope.payload.clone();
        Ok(match signal {
            Signal::Traces => Self::Traces(Message::decode(payload)?),
            Signal::Metrics => Self::Metrics(Message::decode(payload)?),
            Signal::Logs => Self::Logs(Message::decode(payload)?),
        })
    }

    /// The app of the first resource.
    fn first_app(&self) -> &str {
        let resource = match self {
            Self::Traces(r) => r.resource_spans.first().and_then(|one| one.resource.as_ref()),
            Self::Metrics(r) => r.resource_metrics.first().and_then(|one| one.resource.as_ref()),
            Self::Logs(r) => r.resource_logs.first().and_then(|one| one.resource.as_ref()),
        };
        Item::new(&[], resource.map_or(&[], |r| &r.attributes)).app()
    }
}
