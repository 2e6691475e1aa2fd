//! Whether one JSON value contains another.
//!
//! Objects by key: members that are not named do not matter. Arrays element by element, so their
//! lengths must agree. Scalars must be equal, numbers by value (`1` is `1.0`).

use serde_json::{Number, Value};

/// The first place where a value does not contain what it should.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mismatch {
    /// Where: `json.room.id`, `json.members.0`.
    pub path: String,
    /// What should be there.
    pub expected: String,
    /// What is there; none when nothing is.
    pub found: Option<Value>,
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.found {
            Some(found) => write!(f, "{} is {found}, not {}", self.path, self.expected),
            None => write!(f, "{} is absent, expected {}", self.path, self.expected),
        }
    }
}

/// The first mismatch, or none when `actual` contains `expected`.
pub(super) fn mismatch(expected: &Value, actual: &Value) -> Option<Mismatch> {
    find("json", expected, actual)
}

/// Whether `actual` contains `expected`; nothing is allocated to find out.
pub(super) fn contains(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::Object(wanted), Value::Object(found)) => wanted
            .iter()
            .all(|(key, wanted)| found.get(key).is_some_and(|found| contains(wanted, found))),
        (Value::Array(wanted), Value::Array(found)) => {
            wanted.len() == found.len()
                && wanted.iter().zip(found).all(|(wanted, found)| contains(wanted, found))
        }
        (Value::Number(wanted), Value::Number(found)) => same_number(wanted, found),
        _ => expected == actual,
    }
}

fn find(path: &str, expected: &Value, actual: &Value) -> Option<Mismatch> {
    if contains(expected, actual) {
        return None;
    }
    let inner = match (expected, actual) {
        (Value::Object(wanted), Value::Object(found)) => wanted.iter().find_map(|(key, wanted)| {
            let path = format!("{path}.{key}");
            match found.get(key) {
                Some(found) => find(&path, wanted, found),
                None => Some(Mismatch { path, expected: wanted.to_string(), found: None }),
            }
        }),
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => wanted
            .iter()
            .zip(found)
            .enumerate()
            .find_map(|(at, (wanted, found))| find(&format!("{path}.{at}"), wanted, found)),
        _ => None,
    };
    inner.or_else(|| {
        Some(Mismatch {
            path: path.to_owned(),
            expected: expected.to_string(),
            found: Some(actual.clone()),
        })
    })
}

fn same_number(a: &Number, b: &Number) -> bool {
    // Integers are compared as such: beyond 2^53 a float would call neighbours equal.
    let integers = (a.is_f64(), b.is_f64()) == (false, false);
    a == b || (!integers && a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| a == b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// Guarantees the semantics of containment, and that the first mismatch is named.
    #[test]
    fn containment_and_its_first_mismatch() {
        let check = |expected: Value, actual: Value, message: &str| {
            let found = mismatch(&expected, &actual).map(|m| m.to_string()).unwrap_or_default();
            assert_eq!(found, message, "{expected} in {actual}");
        };
        check(json!({"a": 1}), json!({"a": 1.0, "b": [2]}), "");
        check(json!({}), json!({"a": 1}), "");
        check(json!([{"id": 1}, 2]), json!([{"id": 1, "x": 0}, 2]), "");
        check(json!({"a": {"b": 1}}), json!({"a": {}}), "json.a.b is absent, expected 1");
        check(json!({"a": [1, 2]}), json!({"a": [1, 3]}), "json.a.1 is 3, not 2");
        check(json!([1]), json!([1, 2]), "json is [1,2], not [1]");
        check(json!({"a": null}), json!({}), "json.a is absent, expected null");
        check(
            json!(9_007_199_254_740_993_i64),
            json!(9_007_199_254_740_992_i64),
            "json is 9007199254740992, not 9007199254740993",
        );
        check(json!("1"), json!(1), "json is 1, not \"1\"");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-c]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c]", inner, 0..4)
                    .prop_map(|members| members.into_iter().collect::<Value>()),
            ]
        })
    }

    proptest! {
        /// Guarantees that a value contains itself, and that both functions always agree.
        #[test]
        fn containment_is_reflexive(a in any_json(), b in any_json()) {
            prop_assert!(contains(&a, &a));
            prop_assert_eq!(contains(&a, &b), mismatch(&a, &b).is_none());
        }
    }
}
