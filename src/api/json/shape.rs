//! Shapes: the fields of an answer, each with its schema, its words and where its value comes from.
//!
//! One table makes value and schema, so that the document cannot name a field that is not there.
//! Schemas are JSON Schema 2020-12, as OpenAPI 3.1 wants them.

use crate::base::clock::UnixNanos;
use crate::model::labels::Labels;
use serde_json::{Map, Value, json};

/// A field: its name, its schema, what it means, and its value.
pub(in crate::api) type Field<T> = (&'static str, fn() -> Value, &'static str, fn(&T) -> Value);

/// The fields of an object made of a `T`.
pub(in crate::api) struct Shape<T: ?Sized + 'static>(pub(in crate::api) &'static [Field<T>]);

// === impl Shape ===

impl<T: ?Sized> Shape<T> {
    /// The object.
    pub(in crate::api) fn value(&self, of: &T) -> Value {
        let fields = self.0.iter().map(|(name, _, _, value)| ((*name).to_owned(), value(of)));
        Value::Object(fields.collect::<Map<_, _>>())
    }

    /// Its schema: all fields are always there.
    pub(in crate::api) fn schema(&self) -> Value {
        let field = |(name, schema, words, _): &Field<T>| {
            let mut schema = schema();
            if let Value::Object(schema) = &mut schema {
                let _ = schema.insert("description".to_owned(), (*words).into());
            }
            ((*name).to_owned(), schema)
        };
        let names: Vec<&str> = self.0.iter().map(|(name, ..)| *name).collect();
        json!({
            "type": "object",
            "required": names,
            "properties": self.0.iter().map(field).collect::<Map<_, _>>(),
        })
    }
}

impl<T> Shape<T> {
    /// Objects made of several.
    pub(in crate::api) fn values<'a>(&self, all: impl IntoIterator<Item = &'a T>) -> Value
    where
        T: 'a,
    {
        all.into_iter().map(|one| self.value(one)).collect()
    }
}

// === schemas ===

/// Words.
pub(in crate::api) fn text() -> Value {
    json!({ "type": "string" })
}

/// Words, or null.
pub(super) fn text_or_null() -> Value {
    json!({ "type": ["string", "null"] })
}

/// An instant.
pub(super) fn instant() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

/// An instant, or null.
pub(super) fn instant_or_null() -> Value {
    json!({ "type": ["string", "null"], "format": "date-time" })
}

/// A count or a duration in whole units.
pub(super) fn whole() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

/// A count or a duration in whole units, or null.
pub(super) fn whole_or_null() -> Value {
    json!({ "type": ["integer", "null"], "minimum": 0 })
}

/// Any number.
pub(super) fn number() -> Value {
    json!({ "type": "number" })
}

/// Any number, or null.
pub(super) fn number_or_null() -> Value {
    json!({ "type": ["number", "null"] })
}

/// Yes or no.
pub(super) fn flag() -> Value {
    json!({ "type": "boolean" })
}

/// One of these words.
pub(super) fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> Value {
    json!({ "type": "string", "enum": words.into_iter().collect::<Vec<_>>() })
}

/// `page` or `ticket`.
pub(super) fn severity() -> Value {
    one_of(["page", "ticket"])
}

/// Any of these, in order.
pub(in crate::api) fn list(of: &Value) -> Value {
    json!({ "type": "array", "items": of })
}

/// Words in order.
pub(super) fn texts() -> Value {
    list(&text())
}

/// Names and values.
pub(super) fn labels() -> Value {
    json!({ "type": "object", "additionalProperties": text() })
}

/// A schema of the document by its name.
pub(in crate::api) fn refer(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// A schema of the document by its name, or null.
pub(super) fn refer_or_null(name: &str) -> Value {
    json!({ "anyOf": [refer(name), { "type": "null" }] })
}

// === values ===

/// An instant, when there is one.
pub(super) fn at(instant: Option<UnixNanos>) -> Value {
    instant.map(UnixNanos::to_rfc3339).into()
}

/// Names and values.
pub(super) fn pairs(labels: &Labels) -> Value {
    let pairs = labels.iter().map(|(name, value)| (name.to_owned(), Value::from(value)));
    Value::Object(pairs.collect::<Map<_, _>>())
}
