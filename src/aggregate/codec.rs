//! What the fold remembers between records, as messages of a checkpoint, and back.

use super::dedupe::Dedupe;
use super::fold::Folder;
use super::points::PointValue;
use super::streams::Stream;
use crate::base::clock::UnixNanos;
use crate::model::series::SlotValue;
use crate::store::codec::{id_bytes, id_of, value, value_message};
use crate::store::evidence::Evidence;
use crate::wire::otlp::ExportTraceServiceRequest;
use crate::wire::probe_spans;
use crate::wire::state::{CheckpointState, StreamMessage};
use bytes::Bytes;
use prost::Message;
use std::sync::Arc;

/// Writes what the fold remembers, and the runs kept as evidence, into a checkpoint.
pub fn save(folder: &Folder, evidence: &Evidence, state: &mut CheckpointState) {
    state.dedupe = Some(folder.dedupe.state());
    state.streams = folder.streams.iter().map(|(id, stream)| stream_message(id, stream)).collect();
    let (began, evicted) = folder.streams.marks();
    state.stream_marks = [began, evicted].map(|mark| mark.map_or(0, |at| at.0)).into();
    state.skewed_items = folder.skewed;
    // Failed runs may stand in both lists; putting them back in order restores both.
    let mut runs: Vec<_> =
        evidence.probes.values().flat_map(|probe| probe.failed.iter().chain(&probe.runs)).collect();
    runs.sort_by_key(|run| (run.ended(), run.id));
    runs.dedup_by_key(|run| run.id);
    state.runs =
        runs.into_iter().map(|run| Bytes::from(probe_spans::encode(run).encode_to_vec())).collect();
}

/// Reads them back.
#[must_use]
pub fn load(state: &CheckpointState, evidence: &mut Evidence) -> Folder {
    let mut folder = Folder::default();
    folder.skewed = state.skewed_items;
    folder.dedupe = state.dedupe.as_ref().map(Dedupe::of_state).unwrap_or_default();
    for message in &state.streams {
        if let (Some(id), Some(stream)) = (id_of(&message.id), stream(message)) {
            folder.streams.restore(id, stream);
        }
    }
    let mark =
        |at: usize| state.stream_marks.get(at).filter(|at| **at > 0).map(|at| UnixNanos(*at));
    folder.streams.restore_marks(mark(0), mark(1));
    for bytes in &state.runs {
        let runs =
            ExportTraceServiceRequest::decode(bytes.clone()).map(|r| probe_spans::decode(&r));
        runs.into_iter().flatten().for_each(|run| evidence.add_run(&Arc::new(run)));
    }
    folder
}

fn stream_message(id: u128, stream: &Stream) -> StreamMessage {
    StreamMessage {
        id: id_bytes(id),
        start_unix_nano: stream.start.0,
        time_unix_nano: stream.time.0,
        received_unix_nano: stream.received_at.0,
        value: Some(value_message(&stream.value.clone().into_slot_value())),
    }
}

fn stream(message: &StreamMessage) -> Option<Stream> {
    let value = match value(message.value.as_ref()?)? {
        SlotValue::Counter(units) => PointValue::Counter(units),
        SlotValue::Histogram(histogram) => PointValue::Histogram(histogram),
        SlotValue::Explicit(histogram) => PointValue::Explicit(histogram),
        SlotValue::Gauge(_) => return None,
    };
    let (start, time) = (UnixNanos(message.start_unix_nano), UnixNanos(message.time_unix_nano));
    // The first format did not keep the receipt.
    let received = message.received_unix_nano;
    let received_at = if received == 0 { time } else { UnixNanos(received) };
    Some(Stream { start, time, received_at, value })
}
