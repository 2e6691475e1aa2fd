//! Rewrites OTLP/JSON that is valid, or wrong in one item alone, into what the serde mapping of
//! `opentelemetry-proto` understands.
//!
//! Valid but refused there: `null` members, 32-bit counters as strings, doubles as strings, empty
//! `arrayValue` and `kvlistValue`, URL-safe base64. Invalid, but no reason to refuse a whole
//! batch: ids that are not hexadecimal (emptied, so that the item is rejected alone) and enum
//! values by name (which protobuf's JSON allows and OTLP's does not).

use crate::wire::otlp::{AggregationTemporality, SpanKind, StatusCode};
use opentelemetry_proto::tonic::logs::v1::SeverityNumber;
use serde_json::{Map, Value};

/// Mends `tree` in place. The depth of a tree is bounded by the parser that made it.
pub(super) fn mend(tree: &mut Value) {
    match tree {
        Value::Array(values) => values.iter_mut().for_each(mend),
        Value::Object(members) => {
            members.retain(|_, value| !value.is_null());
            for (key, value) in members.iter_mut() {
                mend_member(key, value);
            }
            members.retain(|_, value| !value.is_null());
        }
        _ => {}
    }
}

/// Mends one member; `null` stands for "leave it out".
fn mend_member(key: &str, value: &mut Value) {
    match (key, &mut *value) {
        ("traceId" | "spanId" | "parentSpanId", Value::String(id)) => {
            if id.len() % 2 != 0 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                id.clear();
            }
        }
        // Never kept, whatever it holds.
        ("bytesValue", _) => *value = Value::Null,
        ("doubleValue" | "sum" | "min" | "max" | "zeroThreshold", Value::String(text)) => {
            *value = text.parse().ok().and_then(serde_json::Number::from_f64).into();
        }
        (
            "droppedAttributesCount"
            | "droppedEventsCount"
            | "droppedLinksCount"
            | "flags"
            | "scale"
            | "offset",
            Value::String(text),
        ) => *value = text.parse::<i64>().ok().into(),
        ("kind", Value::String(name)) => {
            *value = SpanKind::from_str_name(name).map(|kind| kind as i32).into();
        }
        ("code", Value::String(name)) => {
            *value = StatusCode::from_str_name(name).map(|code| code as i32).into();
        }
        ("severityNumber", Value::String(name)) => {
            *value = SeverityNumber::from_str_name(name).map(|severity| severity as i32).into();
        }
        ("aggregationTemporality", Value::String(name)) => {
            *value = AggregationTemporality::from_str_name(name).map(|how| how as i32).into();
        }
        ("arrayValue" | "kvlistValue", Value::Object(list)) => {
            fill(list);
            mend(value);
        }
        _ => mend(value),
    }
}

fn fill(list: &mut Map<String, Value>) {
    if list.get("values").is_none_or(Value::is_null) {
        let _ = list.insert("values".to_owned(), Value::Array(Vec::new()));
    }
}
