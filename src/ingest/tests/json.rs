//! OTLP/JSON as it is met in the wild.

use super::*;
use crate::ingest::decode::decode;
use crate::ingest::problem::Problem;
use crate::ingest::request::Encoding;
use crate::ingest::validate::validate;
use crate::wire::attributes::find;
use crate::wire::otlp::Value;

const ID: &str = r#""traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"eee19b7ec3c1b174""#;
const TIMES: &str =
    r#""startTimeUnixNano":"1544712660000000000","endTimeUnixNano":1544712661000000000"#;

fn decoded(signal: Signal, json: &str) -> Result<DecodedRequest, Problem> {
    decode(signal, Encoding::Json, json.to_owned().into())
}

/// Decodes one span made of `members`; stored and rejected items.
fn check_span(members: &str, expected: (u64, u64)) -> Span {
    let json = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{members}}}]}}]}}]}}"#);
    let mut request = decoded(Signal::Traces, &json).expect(&json);
    let DecodedRequest::Traces(traces) = &request else { unreachable!("asked for") };
    let span = traces.resource_spans[0].scope_spans[0].spans[0].clone();
    let tally = validate(&mut request);
    assert_eq!((tally.items() - tally.rejected(), tally.rejected()), expected, "{json}");
    span
}

/// Guarantees that ids are hexadecimal in either case, integers numbers or texts, and that what is
/// unknown, null or in snake case is ignored.
#[test]
fn valid_spans_in_any_dress() {
    let span = check_span(&format!("{ID},{TIMES}"), (1, 0));
    assert_eq!(span.trace_id[..2], [0x5b, 0x8e]);
    assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 1_000_000_000);
    let _ = check_span(&format!(r#"{ID},{TIMES},"parentSpanId":"","unknown":{{"a":[1]}}"#), (1, 0));
    let _ = check_span(&format!(r#"{ID},{TIMES},"parentSpanId":null,"links":null"#), (1, 0));
    let span =
        check_span(&(format!(r#"{ID},{TIMES},"dropped_links_count":3,"name":"a"#) + "\""), (1, 0));
    assert_eq!(span.dropped_links_count, 0);
    let span = check_span(&format!(r#"{ID},{TIMES},"kind":"SPAN_KIND_CLIENT""#), (1, 0));
    assert_eq!(span.kind, 3);
    let span = check_span(&format!(r#"{ID},{TIMES},"droppedLinksCount":"3""#), (1, 0));
    assert_eq!(span.dropped_links_count, 3);
}

/// Guarantees that one id that is none costs its span alone.
#[test]
fn a_broken_id_costs_its_span_alone() {
    let _ = check_span(&format!(r#""traceId":"xyz","spanId":"eee19b7ec3c1b174",{TIMES}"#), (0, 1));
    let _ = check_span(&format!(r#""traceId":"5b8","spanId":"eee19b7ec3c1b174",{TIMES}"#), (0, 1));
    let _ = check_span(&format!(r#""traceId":"W47/95gDgQPSabYzgT/GDA==",{TIMES}"#), (0, 1));
}

/// Guarantees that attribute values decode in all their forms.
#[test]
fn attribute_values() {
    let value = |value: &str| {
        let attribute = format!(r#"{{"key":"k","value":{value}}}"#);
        let span = check_span(&format!(r#"{ID},{TIMES},"attributes":[{attribute}]"#), (1, 0));
        find(&span.attributes, "k").cloned()
    };
    assert_eq!(
        value(r#"{"intValue":"9007199254740993"}"#),
        Some(Value::IntValue(9007199254740993))
    );
    assert_eq!(value(r#"{"intValue":-7}"#), Some(Value::IntValue(-7)));
    assert_eq!(value(r#"{"doubleValue":1.5}"#), Some(Value::DoubleValue(1.5)));
    assert_eq!(value(r#"{"doubleValue":"1.5"}"#), Some(Value::DoubleValue(1.5)));
    assert_eq!(value(r#"{"doubleValue":"NaN"}"#), None);
    assert_eq!(value(r#"{"stringValue":"x","other":1}"#), Some(Value::StringValue("x".to_owned())));
    assert_eq!(value("{}"), None);
    assert!(matches!(value(r#"{"arrayValue":{}}"#), Some(Value::ArrayValue(_))));
    assert_eq!(value(r#"{"bytesValue":"_-8="}"#), None);
}

fn check_metric(data: &str, expected: (u64, u64)) {
    let metric = format!(r#"{{"name":"m",{data}}}"#);
    let json = format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{metric}]}}]}}]}}"#);
    let mut request = decoded(Signal::Metrics, &json).expect(&json);
    let tally = validate(&mut request);
    assert_eq!((tally.items() - tally.rejected(), tally.rejected()), expected, "{json}");
}

/// Guarantees that what the decoder drops without a word is counted as rejected.
#[test]
fn silent_losses_are_counted() {
    let number = |value: &str| {
        format!(
            r#""gauge":{{"dataPoints":[{{"timeUnixNano":"5",{value}}},{{"timeUnixNano":5,"asInt":"1"}}]}}"#
        )
    };
    check_metric(&number(r#""asDouble":1.5"#), (2, 0));
    check_metric(&number(r#""asDouble":"NaN""#), (1, 1));
    check_metric(&number(r#""asDouble":"Infinity""#), (1, 1));
    check_metric(&number(r#""asInt":"many""#), (1, 1));
    check_metric(&number(r#""flags":1"#), (2, 0));
    let point = |sum: &str| {
        let counts = r#""bucketCounts":["1","2"],"explicitBounds":[5]"#;
        let point = format!(r#"{{"timeUnixNano":"5","count":"3",{sum}{counts}}}"#);
        format!(r#""histogram":{{"aggregationTemporality":1,"dataPoints":[{point}]}}"#)
    };
    check_metric(&point(""), (1, 0));
    check_metric(&point(r#""sum":2.5,"#), (1, 0));
    check_metric(&point(r#""sum":"NaN","#), (0, 1));
    check_metric(r#""unknown":{}"#, (0, 1));
}

/// Guarantees that the same batch means the same in JSON and in protobuf.
#[test]
fn both_encodings_mean_the_same() {
    use prost::Message;
    let original = request(vec![span()]);
    let json = serde_json::to_string(&original).expect("serializes");
    let from_json = decoded(Signal::Traces, &json).expect("decodes");
    let bytes = original.encode_to_vec().into();
    let from_protobuf = decode(Signal::Traces, Encoding::Protobuf, bytes).expect("decodes");
    assert_eq!(from_json, from_protobuf);
}
