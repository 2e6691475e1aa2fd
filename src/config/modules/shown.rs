//! A module as `debug=true` shows it: YAML as it was written, without its secrets.

use super::super::http::SECRET_HEADERS;
use super::super::tree::{Entry, Node, Value};
use std::fmt::Write as _;

/// Keys whose values are never shown.
const SECRETS: [&str; 7] =
    ["bearer_token", "client_secret", "credentials", "key", "password", "proxy_url", "secrets"];
const HIDDEN: &str = "<secret>";

/// The YAML of a mapping.
pub(super) fn yaml(node: &Node) -> String {
    let mut out = String::new();
    write(node, 0, &mut out);
    out
}

fn write(node: &Node, level: usize, out: &mut String) {
    let indent = "  ".repeat(level);
    match &node.value {
        Value::Scalar { text, plain } => out.push_str(&scalar(text, *plain)),
        Value::List(items) => {
            for item in items {
                let mut inner = String::new();
                write(item, level + 1, &mut inner);
                let _ = writeln!(out, "{indent}- {}", inner.trim());
            }
        }
        Value::Map(entries) => {
            for Entry { key, value, .. } in entries {
                let name = scalar(key, true);
                if is_secret(key) {
                    let _ = writeln!(out, "{indent}{name}: {HIDDEN}");
                    continue;
                }
                let mut inner = String::new();
                write(value, level + 1, &mut inner);
                let _ = match &value.value {
                    Value::Scalar { .. } => writeln!(out, "{indent}{name}: {inner}"),
                    _ if inner.is_empty() => writeln!(out, "{indent}{name}: {{}}"),
                    _ => writeln!(out, "{indent}{name}:\n{}", inner.trim_end()),
                };
            }
        }
    }
}

fn is_secret(key: &str) -> bool {
    let lower = key.to_ascii_lowercase();
    SECRETS.contains(&lower.as_str()) || SECRET_HEADERS.contains(&lower.as_str())
}

/// Plain where that is safe, otherwise as JSON, which is YAML, too.
fn scalar(text: &str, plain: bool) -> String {
    let is_simple = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    if plain && !text.is_empty() && text.chars().all(is_simple) {
        return text.to_owned();
    }
    serde_json::Value::from(text).to_string()
}
