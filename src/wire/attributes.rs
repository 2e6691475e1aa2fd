//! Reading and writing OTLP attributes.

use super::otlp::{AnyValue, KeyValue, Value};
use crate::model::attribute::AttributeValue;
use std::borrow::Cow;

/// An attribute with a text value.
#[must_use]
pub fn text(key: &str, value: impl Into<String>) -> KeyValue {
    with(key, Value::StringValue(value.into()))
}

/// An attribute with an integer value; saturates at the 63 bits that OTLP has.
#[must_use]
pub fn integer(key: &str, value: u64) -> KeyValue {
    with(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}

/// An attribute with a truth value.
#[must_use]
pub fn boolean(key: &str, value: bool) -> KeyValue {
    with(key, Value::BoolValue(value))
}

/// An attribute of what a step found out.
#[must_use]
pub fn scalar(key: &str, value: &AttributeValue) -> KeyValue {
    let value = match value {
        AttributeValue::Text(text) => Value::StringValue(text.clone()),
        AttributeValue::Integer(number) => Value::IntValue(*number),
        AttributeValue::Double(number) => Value::DoubleValue(*number),
        AttributeValue::Flag(truth) => Value::BoolValue(*truth),
    };
    with(key, value)
}

/// The value of an attribute that [`scalar`] wrote; none for lists, maps and bytes.
#[must_use]
pub fn read_scalar(attribute: &KeyValue) -> Option<AttributeValue> {
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(AttributeValue::Text(text.clone())),
        Value::IntValue(number) => Some(AttributeValue::Integer(*number)),
        Value::DoubleValue(number) => Some(AttributeValue::Double(*number)),
        Value::BoolValue(truth) => Some(AttributeValue::Flag(*truth)),
        _ => None,
    }
}

fn with(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

/// The value under `key`; of several the first.
#[must_use]
pub fn find<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    attributes.iter().find(|kv| kv.key == key)?.value.as_ref()?.value.as_ref()
}

/// The value under `key`, when it is text.
#[must_use]
pub fn find_text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    match find(attributes, key)? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// The value under `key`, when it is an integer of zero or more.
#[must_use]
pub fn find_integer(attributes: &[KeyValue], key: &str) -> Option<u64> {
    match find(attributes, key)? {
        Value::IntValue(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

/// A scalar value as the text of a label; none for lists, maps and bytes.
#[must_use]
pub fn as_label(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::StringValue(text) => Some(Cow::Borrowed(text)),
        Value::BoolValue(truth) => Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
        Value::IntValue(number) => Some(Cow::Owned(number.to_string())),
        Value::DoubleValue(number) => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}
