//! How much memory a message will take once it is decoded, found before it is.
//!
//! A field of two bytes can decode to a struct of hundreds: 64 MiB of empty spans would take
//! eight gigabytes. So the bytes are walked once, without allocating, and every message in them is
//! counted with the size of its struct.

use super::request::Encoding;
use crate::wire::otlp::{
    AnyValue, Event, ExponentialHistogramDataPoint, HistogramDataPoint, KeyValue, LogRecord,
    Metric, NumberDataPoint, ResourceLogs, ResourceMetrics, ResourceSpans, ScopeLogs, ScopeMetrics,
    ScopeSpans, Signal, Span,
};
use opentelemetry_proto::tonic::common::v1::EntityRef;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{Exemplar, SummaryDataPoint};
use opentelemetry_proto::tonic::trace::v1::span::Link;

/// Deeper messages are refused by the decoder.
const DEPTH: usize = 100;
/// A packed number takes a byte at least and decodes to eight.
const PACKED: usize = 8;
/// The largest struct that a JSON object can stand for.
const JSON_OBJECT: usize = size_of::<Span>();

/// What a message decodes to, and which of its fields are messages themselves. Structs that lie
/// within their parent have size 0.
struct Shape {
    size: usize,
    fields: &'static [(u64, Field)],
}

enum Field {
    Message(&'static Shape),
    Packed,
}

use Field::{Message, Packed};

static TRACES: Shape = Shape { size: 0, fields: &[(1, Message(&RESOURCE_SPANS))] };
static RESOURCE_SPANS: Shape = Shape {
    size: size_of::<ResourceSpans>(),
    fields: &[(1, Message(&RESOURCE)), (2, Message(&SCOPE_SPANS))],
};
static SCOPE_SPANS: Shape =
    Shape { size: size_of::<ScopeSpans>(), fields: &[(1, Message(&SCOPE)), (2, Message(&SPAN))] };
static SPAN: Shape = Shape {
    size: size_of::<Span>(),
    fields: &[(9, Message(&ATTRIBUTE)), (11, Message(&EVENT)), (13, Message(&LINK))],
};
static EVENT: Shape = Shape { size: size_of::<Event>(), fields: &[(3, Message(&ATTRIBUTE))] };
static LINK: Shape = Shape { size: size_of::<Link>(), fields: &[(4, Message(&ATTRIBUTE))] };

static METRICS: Shape = Shape { size: 0, fields: &[(1, Message(&RESOURCE_METRICS))] };
static RESOURCE_METRICS: Shape = Shape {
    size: size_of::<ResourceMetrics>(),
    fields: &[(1, Message(&RESOURCE)), (2, Message(&SCOPE_METRICS))],
};
static SCOPE_METRICS: Shape = Shape {
    size: size_of::<ScopeMetrics>(),
    fields: &[(1, Message(&SCOPE)), (2, Message(&METRIC))],
};
static METRIC: Shape = Shape {
    size: size_of::<Metric>(),
    fields: &[
        (5, Message(&NUMBERS)),
        (7, Message(&NUMBERS)),
        (9, Message(&HISTOGRAMS)),
        (10, Message(&EXPONENTIAL_HISTOGRAMS)),
        (11, Message(&SUMMARIES)),
        (12, Message(&ATTRIBUTE)),
    ],
};
static NUMBERS: Shape = Shape { size: 0, fields: &[(1, Message(&NUMBER))] };
static NUMBER: Shape = Shape {
    size: size_of::<NumberDataPoint>(),
    fields: &[(7, Message(&ATTRIBUTE)), (5, Message(&EXEMPLAR))],
};
static HISTOGRAMS: Shape = Shape { size: 0, fields: &[(1, Message(&HISTOGRAM))] };
static HISTOGRAM: Shape = Shape {
    size: size_of::<HistogramDataPoint>(),
    fields: &[(9, Message(&ATTRIBUTE)), (8, Message(&EXEMPLAR))],
};
static EXPONENTIAL_HISTOGRAMS: Shape =
    Shape { size: 0, fields: &[(1, Message(&EXPONENTIAL_HISTOGRAM))] };
static EXPONENTIAL_HISTOGRAM: Shape = Shape {
    size: size_of::<ExponentialHistogramDataPoint>(),
    fields: &[
        (1, Message(&ATTRIBUTE)),
        (8, Message(&BUCKETS)),
        (9, Message(&BUCKETS)),
        (11, Message(&EXEMPLAR)),
    ],
};
static BUCKETS: Shape = Shape { size: 0, fields: &[(2, Packed)] };
static SUMMARIES: Shape = Shape { size: 0, fields: &[(1, Message(&SUMMARY))] };
static SUMMARY: Shape = Shape {
    size: size_of::<SummaryDataPoint>(),
    fields: &[(7, Message(&ATTRIBUTE)), (6, Message(&QUANTILE))],
};
static QUANTILE: Shape = Shape { size: size_of::<ValueAtQuantile>(), fields: &[] };
static EXEMPLAR: Shape = Shape { size: size_of::<Exemplar>(), fields: &[(7, Message(&ATTRIBUTE))] };

static LOGS: Shape = Shape { size: 0, fields: &[(1, Message(&RESOURCE_LOGS))] };
static RESOURCE_LOGS: Shape = Shape {
    size: size_of::<ResourceLogs>(),
    fields: &[(1, Message(&RESOURCE)), (2, Message(&SCOPE_LOGS))],
};
static SCOPE_LOGS: Shape = Shape {
    size: size_of::<ScopeLogs>(),
    fields: &[(1, Message(&SCOPE)), (2, Message(&LOG_RECORD))],
};
static LOG_RECORD: Shape = Shape {
    size: size_of::<LogRecord>(),
    fields: &[(5, Message(&VALUE)), (6, Message(&ATTRIBUTE))],
};

static RESOURCE: Shape =
    Shape { size: 0, fields: &[(1, Message(&ATTRIBUTE)), (3, Message(&ENTITY))] };
/// Its keys are texts; each is counted like a number of three words.
static ENTITY: Shape =
    Shape { size: size_of::<EntityRef>(), fields: &[(3, Message(&TEXT)), (4, Message(&TEXT))] };
static TEXT: Shape = Shape { size: size_of::<String>(), fields: &[] };
static SCOPE: Shape = Shape { size: 0, fields: &[(3, Message(&ATTRIBUTE))] };
static ATTRIBUTE: Shape = Shape { size: size_of::<KeyValue>(), fields: &[(2, Message(&VALUE))] };
static VALUE: Shape = Shape { size: 0, fields: &[(5, Message(&ARRAY)), (6, Message(&MAP))] };
static ARRAY: Shape = Shape { size: 0, fields: &[(1, Message(&ELEMENT))] };
static ELEMENT: Shape =
    Shape { size: size_of::<AnyValue>(), fields: &[(5, Message(&ARRAY)), (6, Message(&MAP))] };
static MAP: Shape = Shape { size: 0, fields: &[(1, Message(&ATTRIBUTE))] };

/// An upper bound, near enough, of the bytes that `plain` takes once decoded. Bytes that do not
/// decode are weighed as far as they do.
pub(super) fn weigh(signal: Signal, encoding: Encoding, plain: &[u8]) -> usize {
    let messages = match (encoding, signal) {
        (Encoding::Json, _) => plain.iter().filter(|&&byte| byte == b'{').count() * JSON_OBJECT,
        (Encoding::Protobuf, Signal::Traces) => walk(&TRACES, plain, DEPTH),
        (Encoding::Protobuf, Signal::Metrics) => walk(&METRICS, plain, DEPTH),
        (Encoding::Protobuf, Signal::Logs) => walk(&LOGS, plain, DEPTH),
    };
    plain.len().saturating_add(messages)
}

fn walk(shape: &Shape, mut rest: &[u8], depth: usize) -> usize {
    let mut weight = shape.size;
    while let Some((number, payload)) = next_field(&mut rest) {
        let field = shape.fields.iter().find(|(known, _)| *known == number);
        weight = weight.saturating_add(match field {
            Some((_, Message(inner))) if depth > 0 => walk(inner, payload, depth - 1),
            Some((_, Packed)) => payload.len() * PACKED,
            _ => 0,
        });
    }
    weight
}

/// The next field: its number, and its payload when it has a length.
fn next_field<'a>(rest: &mut &'a [u8]) -> Option<(u64, &'a [u8])> {
    let tag = varint(rest)?;
    let length = match tag & 7 {
        0 => {
            let _ = varint(rest)?;
            0
        }
        1 => 8,
        2 => usize::try_from(varint(rest)?).ok()?,
        5 => 4,
        _ => return None,
    };
    let (payload, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some((tag >> 3, if tag & 7 == 2 { payload } else { &[] }))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::attributes::text;
    use crate::wire::otlp::ExportTraceServiceRequest;
    use prost::Message as _;

    fn traces(spans: Vec<Span>) -> Vec<u8> {
        let scope = ScopeSpans { spans, ..ScopeSpans::default() };
        let resource = ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() };
        ExportTraceServiceRequest { resource_spans: vec![resource] }.encode_to_vec()
    }

    /// Guarantees that empty spans weigh what their structs take, and that real ones weigh little
    /// more than their bytes.
    #[test]
    fn empty_messages_weigh_their_structs() {
        let bomb = traces(vec![Span::default(); 10_000]);
        assert!(bomb.len() < 25_000);
        let weight = weigh(Signal::Traces, Encoding::Protobuf, &bomb);
        assert!(weight > 10_000 * size_of::<Span>() && weight < 11_000 * size_of::<Span>());

        let attributes = (0..11).map(|n| text(&format!("http.request.key{n}"), "value")).collect();
        let span = Span {
            trace_id: vec![1; 16],
            span_id: vec![1; 8],
            name: "GET /rooms/{id}/messages".to_owned(),
            start_time_unix_nano: 1,
            attributes,
            ..Span::default()
        };
        let real = traces(vec![span; 100]);
        let weight = weigh(Signal::Traces, Encoding::Protobuf, &real);
        assert!(weight < real.len() * 4, "{weight} for {}", real.len());
    }

    /// Guarantees that nesting, numbers and JSON are weighed, and that garbage ends the walk.
    #[test]
    fn nothing_hides_in_depth() {
        let nothing = AnyValue { value: None };
        let list = crate::wire::otlp::ArrayValue { values: vec![nothing; 1000] };
        let mut attribute = text("a", "");
        attribute.value =
            Some(AnyValue { value: Some(crate::wire::otlp::Value::ArrayValue(list)) });
        let nested = traces(vec![Span { attributes: vec![attribute], ..Span::default() }]);
        let weight = weigh(Signal::Traces, Encoding::Protobuf, &nested);
        assert!(weight > 1000 * size_of::<AnyValue>());
        assert!(weigh(Signal::Logs, Encoding::Json, b"[{},{},{}]") > 3 * size_of::<LogRecord>());
        assert_eq!(weigh(Signal::Logs, Encoding::Protobuf, &[0xff; 20]), 20);
        assert_eq!(weigh(Signal::Logs, Encoding::Protobuf, &[0x0a, 0xff, 0xff, 0x7f]), 4);
    }

    /// Guarantees that no struct of a request is larger than a JSON object is weighed.
    #[test]
    fn a_json_object_weighs_the_largest_struct() {
        for size in [
            size_of::<LogRecord>(),
            size_of::<Metric>(),
            size_of::<ExponentialHistogramDataPoint>(),
            size_of::<HistogramDataPoint>(),
            size_of::<ResourceSpans>(),
            size_of::<ScopeMetrics>(),
        ] {
            assert!(size <= JSON_OBJECT, "{size}");
        }
    }
}
