//! Checks values against the part of JSON Schema that our document uses, and more strictly: a field
//! that the schema does not name is wrong.

use serde_json::{Map, Value};

/// Checks against the schemas of a document.
pub(super) struct Checker<'a> {
    document: &'a Value,
}

impl<'a> Checker<'a> {
    pub(super) fn new(document: &'a Value) -> Self {
        Self { document }
    }

    /// What is wrong with a value, each with its place.
    pub(super) fn problems(&self, schema: &Value, value: &Value) -> Vec<String> {
        let mut found = Vec::new();
        self.check(schema, value, "", &mut found);
        found
    }

    /// References that lead nowhere.
    pub(super) fn dangling(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.follow(self.document, &mut found);
        found
    }

    fn follow(&self, value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(target)) = fields.get("$ref")
                    && self.at(target).is_none()
                {
                    found.push(target.clone());
                }
                fields.values().for_each(|field| self.follow(field, found));
            }
            Value::Array(items) => items.iter().for_each(|item| self.follow(item, found)),
            _ => {}
        }
    }

    fn at(&self, target: &str) -> Option<&'a Value> {
        self.document.pointer(target.strip_prefix('#')?)
    }

    fn check(&self, schema: &Value, value: &Value, place: &str, found: &mut Vec<String>) {
        let mut wrong = |words: &str| found.push(format!("{place}: {value} {words}"));
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            match self.at(target) {
                Some(schema) => self.check(schema, value, place, found),
                None => wrong(&format!("refers to {target}, which is not there")),
            }
            return;
        }
        if let Some(any) = schema.get("anyOf").and_then(Value::as_array) {
            if !any.iter().any(|one| self.problems(one, value).is_empty()) {
                let all: Vec<_> = any.iter().map(|one| self.problems(one, value)).collect();
                wrong(&format!("is none of anyOf: {all:?}"));
            }
            return;
        }
        if schema.get("const").is_some_and(|only| only != value) {
            wrong("is not the constant");
        }
        let listed = schema.get("enum").and_then(Value::as_array);
        if listed.is_some_and(|listed| !listed.contains(value)) {
            wrong("is not in the enum");
        }
        if schema.get("type").is_some_and(|wanted| !is_of(wanted, value)) {
            wrong(&format!("is not of {}", schema["type"]));
        }
        match value {
            Value::Object(fields) => self.check_fields(schema, fields, place, found),
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    self.check(&schema["items"], item, &format!("{place}/{at}"), found);
                }
            }
            _ => {}
        }
    }

    fn check_fields(
        &self,
        schema: &Value,
        fields: &Map<String, Value>,
        place: &str,
        found: &mut Vec<String>,
    ) {
        let Some(named) = schema.get("properties").and_then(Value::as_object) else {
            if let Some(of) = schema.get("additionalProperties") {
                for (name, value) in fields {
                    self.check(of, value, &format!("{place}/{name}"), found);
                }
            }
            return;
        };
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                found.push(format!("{place}: {name} is missing"));
            }
        }
        for (name, value) in fields {
            match named.get(name) {
                Some(schema) => self.check(schema, value, &format!("{place}/{name}"), found),
                None => found.push(format!("{place}: {name} is not in the schema")),
            }
        }
    }
}

fn is_of(wanted: &Value, value: &Value) -> bool {
    let one = |name: &Value| match name.as_str() {
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64() || value.is_i64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some("null") => value.is_null(),
        _ => false,
    };
    wanted.as_array().map_or_else(|| one(wanted), |any| any.iter().any(one))
}

/// Guarantees that the checker finds what it is there to find.
#[test]
fn the_checker_finds_mistakes() {
    let document = serde_json::json!({ "components": { "schemas": { "Run": {
        "type": "object",
        "required": ["id", "outcome"],
        "properties": {
            "id": { "type": "string" },
            "outcome": { "type": "string", "enum": ["success"] },
            "took": { "anyOf": [{ "type": "integer" }, { "type": "null" }] },
        },
    } } } });
    let checker = Checker::new(&document);
    let check = |value: Value, expected: usize| {
        let schema = serde_json::json!({ "$ref": "#/components/schemas/Run" });
        assert_eq!(checker.problems(&schema, &value).len(), expected, "{value}");
    };
    check(serde_json::json!({ "id": "1", "outcome": "success", "took": null }), 0);
    check(serde_json::json!({ "id": 1, "outcome": "success" }), 1);
    check(serde_json::json!({ "id": "1" }), 1);
    check(serde_json::json!({ "id": "1", "outcome": "lost", "took": "long" }), 2);
    check(serde_json::json!({ "id": "1", "outcome": "success", "more": 1 }), 1);
    check(serde_json::json!([]), 1);
}
