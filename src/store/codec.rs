//! The read models as messages of a checkpoint, and back.

use super::Store;
use super::counts::{IndicatorCounts, IndicatorState};
use super::evidence::PhoneEvidence;
use super::head::{BLOCK_SLOTS, LiveSeries};
use super::late::LateKey;
use super::ledger::ItemOutcome;
use crate::base::clock::UnixNanos;
use crate::model::evidence::SpanEvidence;
use crate::model::histogram::{ExpHistogram, ExplicitHistogram};
use crate::model::labels::Labels;
use crate::model::objective::IndicatorId;
use crate::model::series::{SeriesKey, SlotValue};
use crate::model::slot::{GoodTotal, Slot};
use crate::wire::record::Pair;
use crate::wire::state::{
    CheckpointState, ChunkMessage, CombinationMessage, ExplicitMessage, HistogramMessage,
    HourMessage, IndicatorMessage, LateMessage, LedgerMessage, PhoneMessage, ReleaseMessage,
    SeriesMessage, SlotMessage, SpanMessage, ValueMessage,
};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};

/// Writes series, counts, ledger, late data and phones' evidence into a checkpoint.
pub fn save(store: &Store, state: &mut CheckpointState) {
    state.series = store.head.iter().map(series_message).collect();
    state.indicators = store.counts.iter().map(indicator_message).collect();
    state.ledger = ledger_messages(store);
    state.late = store.late.iter().map(|(key, counts)| late_message(key, *counts)).collect();
    state.releases = store
        .late
        .releases()
        .map(|(app, version, at)| ReleaseMessage {
            app: app.to_owned(),
            version: version.to_owned(),
            at_unix_nano: at.0,
        })
        .collect();
    state.phones =
        store.evidence.phones.iter().map(|(id, phone)| phone_message(*id, phone)).collect();
}

/// Reads them back.
#[must_use]
pub fn load(state: &CheckpointState) -> Store {
    let mut store = Store::default();
    state.series.iter().filter_map(series).for_each(|series| store.head.restore(series));
    for message in &state.indicators {
        let Some(id) = id_of(&message.id) else { continue };
        store.counts.restore(IndicatorId(id), indicator(message));
    }
    for line in &state.ledger {
        if let Some(outcome) = ItemOutcome::from_name(&line.outcome) {
            store.ledger.add(&line.app, &line.signal, outcome, line.items);
        }
    }
    for line in &state.late {
        let Some(id) = id_of(&line.indicator) else { continue };
        let key = LateKey {
            received_hour: Slot(line.received_hour),
            event_hour: Slot(line.event_hour),
            indicator: IndicatorId(id),
        };
        store.late.restore(key, GoodTotal { bad: line.bad, total: line.total });
    }
    for release in &state.releases {
        store.late.see_release(&release.app, &release.version, UnixNanos(release.at_unix_nano));
    }
    for message in &state.phones {
        let Some(id) = id_of(&message.indicator) else { continue };
        drop(store.evidence.phones.insert(IndicatorId(id), phone(message)));
    }
    store
}

/// Labels as pairs.
#[must_use]
pub fn pairs(labels: &Labels) -> Vec<Pair> {
    let pair =
        |(name, value): (&str, &str)| Pair { name: name.to_owned(), value: value.to_owned() };
    labels.iter().map(pair).collect()
}

/// Pairs as labels.
#[must_use]
pub fn labels(pairs: &[Pair]) -> Labels {
    Labels::new(pairs.iter().map(|pair| (pair.name.as_str(), pair.value.as_str())))
}

/// 128 bits as 16 bytes.
#[must_use]
pub fn id_bytes(id: u128) -> Bytes {
    Bytes::copy_from_slice(&id.to_be_bytes())
}

/// 16 bytes as 128 bits.
#[must_use]
pub fn id_of(bytes: &[u8]) -> Option<u128> {
    bytes.try_into().ok().map(u128::from_be_bytes)
}

/// A value as a message.
#[must_use]
pub fn value_message(value: &SlotValue) -> ValueMessage {
    let mut message = ValueMessage::default();
    match value {
        SlotValue::Counter(units) => {
            let bytes = units.to_be_bytes();
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            message.counter = Some(Bytes::copy_from_slice(bytes.get(zeros..).unwrap_or_default()));
        }
        SlotValue::Gauge(value) => message.gauge = Some(*value),
        SlotValue::Histogram(histogram) => {
            message.histogram = Some(HistogramMessage {
                count: histogram.count,
                sum: Bytes::copy_from_slice(&histogram.sum.to_be_bytes()),
                zero: histogram.zero,
                indexes: histogram.buckets().iter().map(|(index, _)| i32::from(*index)).collect(),
                counts: histogram.buckets().iter().map(|(_, count)| *count).collect(),
            });
        }
        SlotValue::Explicit(histogram) => {
            message.explicit = Some(ExplicitMessage {
                bounds: histogram.bounds.clone(),
                counts: histogram.counts.clone(),
                sum: Bytes::copy_from_slice(&histogram.sum.to_be_bytes()),
            });
        }
    }
    message
}

/// A message as a value; none when no field is set.
#[must_use]
pub fn value(message: &ValueMessage) -> Option<SlotValue> {
    let sum = |bytes: &Bytes| bytes.as_ref().try_into().map(i128::from_be_bytes).unwrap_or(0);
    if let Some(bytes) = &message.counter {
        return Some(SlotValue::Counter(bytes.iter().fold(0, |n, b| n << 8 | u128::from(*b))));
    }
    if let Some(value) = message.gauge {
        return Some(SlotValue::Gauge(value));
    }
    if let Some(h) = &message.histogram {
        let mut histogram = ExpHistogram::with_totals(h.count, sum(&h.sum), h.zero);
        for (index, count) in h.indexes.iter().zip(&h.counts) {
            histogram.bump(i16::try_from(*index).unwrap_or(i16::MAX), *count);
        }
        return Some(SlotValue::Histogram(histogram));
    }
    message.explicit.as_ref().map(|h| {
        SlotValue::Explicit(ExplicitHistogram {
            bounds: h.bounds.clone(),
            counts: h.counts.clone(),
            sum: sum(&h.sum),
        })
    })
}

fn series_message(series: &LiveSeries) -> SeriesMessage {
    let open = series.open.values().flatten();
    SeriesMessage {
        name: series.key.name.to_string(),
        labels: pairs(&series.key.labels),
        total: Some(value_message(&series.total)),
        touched: series.touched.0,
        open: open
            .map(|(slot, value)| SlotMessage { slot: slot.0, value: Some(value_message(value)) })
            .collect(),
    }
}

fn series(message: &SeriesMessage) -> Option<LiveSeries> {
    let mut open: BTreeMap<Slot, BTreeMap<Slot, SlotValue>> = BTreeMap::new();
    for slot in &message.open {
        let at = Slot(slot.slot);
        let value = slot.value.as_ref().and_then(value)?;
        let _ = open.entry(at.align(BLOCK_SLOTS)).or_default().insert(at, value);
    }
    Some(LiveSeries {
        key: SeriesKey { name: message.name.as_str().into(), labels: labels(&message.labels) },
        total: message.total.as_ref().and_then(value)?,
        touched: Slot(message.touched),
        open,
    })
}

fn indicator_message((id, counts): (IndicatorId, &IndicatorCounts)) -> IndicatorMessage {
    let state = counts.state();
    let chunks = |chunks: Vec<(u32, Box<[u8]>)>| {
        let chunk =
            |(number, packed): (u32, Box<[u8]>)| ChunkMessage { number, packed: packed.into() };
        chunks.into_iter().map(chunk).collect()
    };
    IndicatorMessage {
        id: id_bytes(id.0),
        since: state.since.0,
        last: state.last.map(|slot| slot.0),
        fine: chunks(state.fine),
        coarse: chunks(state.coarse),
        all_bad: state.all.bad,
        all_total: state.all.total,
    }
}

fn indicator(message: &IndicatorMessage) -> IndicatorCounts {
    let chunks = |chunks: &[ChunkMessage]| {
        chunks.iter().map(|chunk| (chunk.number, chunk.packed.to_vec().into())).collect()
    };
    IndicatorCounts::restore(IndicatorState {
        since: Slot(message.since),
        last: message.last.map(Slot),
        all: GoodTotal { bad: message.all_bad, total: message.all_total },
        fine: chunks(&message.fine),
        coarse: chunks(&message.coarse),
    })
}

fn ledger_messages(store: &Store) -> Vec<LedgerMessage> {
    let lines = store.ledger.iter().flat_map(|(app, signal, counts)| {
        ItemOutcome::ALL.iter().map(move |outcome| LedgerMessage {
            app: app.to_owned(),
            signal: signal.to_owned(),
            outcome: outcome.as_str().to_owned(),
            items: counts.get(*outcome),
        })
    });
    lines.filter(|line| line.items > 0).collect()
}

fn late_message(key: &LateKey, counts: GoodTotal) -> LateMessage {
    LateMessage {
        indicator: id_bytes(key.indicator.0),
        received_hour: key.received_hour.0,
        event_hour: key.event_hour.0,
        bad: counts.bad,
        total: counts.total,
    }
}

fn phone_message(id: IndicatorId, phone: &PhoneEvidence) -> PhoneMessage {
    let worst = phone.worst.iter().flat_map(|(slot, spans)| {
        spans.iter().map(|span| SpanMessage {
            slot: slot.0,
            trace_id: span.trace_id.clone(),
            span_id: span.span_id.clone(),
            name: span.name.clone(),
            at_unix_nano: span.at.0,
            duration_ns: span.duration_ns,
            failed: span.failed,
            attributes: pairs(&span.attributes),
        })
    });
    let mut places = HashMap::new();
    let mut combinations = Vec::new();
    for (id, values, minutes) in phone.combinations.iter() {
        let _ = places.insert(id, combinations.len() as u32);
        combinations.push(CombinationMessage {
            values: values.0.iter().map(|value| value.to_string()).collect(),
            slots: minutes.keys().map(|slot| slot.0).collect(),
            bad: minutes.values().map(|counts| counts.bad).collect(),
            total: minutes.values().map(|counts| counts.total).collect(),
        });
    }
    let hours = phone.combinations.hours().map(|(start, closed, sums)| {
        let mut message = HourMessage { hour: start.0, closed, ..HourMessage::default() };
        for (id, counts) in sums {
            message.combinations.extend(places.get(&id));
            message.bad.push(counts.bad);
            message.total.push(counts.total);
        }
        message
    });
    PhoneMessage {
        indicator: id_bytes(id.0),
        worst: worst.collect(),
        hours: hours.collect(),
        combinations,
    }
}

fn phone(message: &PhoneMessage) -> PhoneEvidence {
    let mut phone = PhoneEvidence::default();
    for span in &message.worst {
        phone.add_span(
            Slot(span.slot),
            SpanEvidence {
                trace_id: span.trace_id.clone(),
                span_id: span.span_id.clone(),
                name: span.name.clone(),
                at: UnixNanos(span.at_unix_nano),
                duration_ns: span.duration_ns,
                failed: span.failed,
                attributes: labels(&span.attributes),
            },
        );
    }
    let pairs = |bad: &[u64], total: &[u64]| -> Vec<GoodTotal> {
        let pairs = bad.iter().zip(total);
        pairs.map(|(bad, total)| GoodTotal { bad: *bad, total: *total }).collect()
    };
    let mut ids = Vec::new();
    for combination in &message.combinations {
        let value = |at: usize| combination.values.get(at).map_or("", String::as_str);
        let id = phone.combinations.restore(std::array::from_fn(value));
        ids.push(id);
        let counts = pairs(&combination.bad, &combination.total);
        for (slot, counts) in combination.slots.iter().zip(counts) {
            phone.combinations.add_minute(id, Slot(*slot), counts);
        }
    }
    for hour in &message.hours {
        phone.combinations.restore_hour(Slot(hour.hour), hour.closed);
        let counts = pairs(&hour.bad, &hour.total);
        for (place, counts) in hour.combinations.iter().zip(counts) {
            if let Some(id) = ids.get(*place as usize) {
                phone.combinations.add_hour(*id, Slot(hour.hour), counts);
            }
        }
    }
    phone
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that the evidence of phones comes back whole: minutes, hours that are over and that are
    /// not, and the same hour last week.
    #[test]
    fn combinations_survive_a_checkpoint() {
        const WEEK: u32 = 60_480;
        let mut store = Store::default();
        let phone = store.evidence.phones.entry(IndicatorId(7)).or_default();
        let now = Slot(WEEK * 100 + 360 * 5);
        for number in 0..150_u32 {
            let counts = GoodTotal { bad: 1, total: u64::from(number) + 1 };
            let region = number.to_string();
            phone.count(now.minus(WEEK), ["1", "iOS", "", &region], counts);
            phone.count(now.minus(number), ["2", "iOS", "", &region], counts);
        }
        store.evidence.settle(now);
        let mut state = CheckpointState::default();
        save(&store, &mut state);
        let restored = load(&state);
        let (before, after) = (&store.evidence.phones, &restored.evidence.phones);
        let sorted = |sums: Vec<(&crate::model::evidence::Combination, GoodTotal)>| {
            let mut sums: Vec<_> =
                sums.into_iter().map(|(c, n)| (c.clone(), (n.bad, n.total))).collect();
            sums.sort();
            sums
        };
        let id = IndicatorId(7);
        let sums = |phones: &HashMap<IndicatorId, PhoneEvidence>| {
            let phone = phones.get(&id).unwrap();
            let combinations = &phone.combinations;
            let hours: Vec<(u32, bool)> =
                combinations.hours().map(|(hour, closed, _)| (hour.0, closed)).collect();
            let week = combinations.a_week_before(now.minus(360), now.plus(1));
            (sorted(phone.sums(now.minus(360), now.plus(1))), sorted(week), hours)
        };
        let expected = sums(before);
        assert_eq!((expected.0.len(), expected.1.len()), (150, 101));
        assert_eq!(sums(after), expected);
    }
}
