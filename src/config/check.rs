//! What probes expect: texts, JSON, messages.

use super::fields::Fields;
use super::on_stream::Stream;
use super::scalar::{YEAR, quoted};
use super::steps::Steps;
use super::template::Secrets;
use super::tree::{Node, Value};
use crate::probe::spec::{BodyCheck, Expect, FlowChecks, HeaderCheck, StatusRange, TextCheck};
use std::sync::Arc;
use std::time::Duration;

/// A compiled regular expression takes at most this much memory.
const MAX_REGEX_BYTES: usize = 1 << 20;
/// Longest body that a probe may be told to read.
const MAX_BODY_BYTES: u64 = 64 << 20;

/// More chunks than this no body has that is read to its end.
const MAX_CHUNKS: u64 = 1_000_000;

/// What is checked of an HTTP answer.
#[derive(Debug, Default)]
pub(super) struct AnswerChecks {
    pub(super) headers: Vec<HeaderCheck>,
    pub(super) body: Vec<BodyCheck>,
    pub(super) flow: FlowChecks,
}

impl Steps<'_> {
    /// A message to wait for, on a stream of this kind:
    /// `{ json, text, event, within, since }`, with `topic` instead of `event` on an MQTT server's.
    pub(super) fn expect(&self, node: &Node, stream: Stream) -> Option<Expect> {
        self.cx.fields(node, "an expectation", |fields| {
            let json = fields.get("json").and_then(|node| self.json(node, Secrets::Refused));
            let text = fields.get("text").and_then(|node| self.text_check(node, "text"));
            let is_mqtt = matches!(stream, Stream::Topics | Stream::TopicsAndRoute);
            let event = if is_mqtt {
                fields.get("topic").and_then(|node| self.checked_text(node, "topic"))
            } else {
                fields.text("event")
            };
            let within = self.within(fields, "within");
            let since = fields.get("since").and_then(|node| self.earlier(node, "since"));
            if event.is_some()
                && matches!(stream, Stream::WebSocket | Stream::Polled | Stream::Channel)
            {
                let message = "only an event stream has events";
                self.cx.problems.wrong_hint(fields.at("event"), message, "use json or text");
            }
            let kind = if is_mqtt { "topic" } else { "event" };
            if !(fields.has("json") || fields.has("text") || fields.has(kind)) {
                let hint = "for example expect: { json: { type: echo }, within: 100ms }";
                let message = format!("an expectation needs json, text or {kind}");
                self.cx.problems.wrong_hint(fields.at, message, hint);
            }
            Expect { json: json.map(Arc::new), text, event, within, since }
        })
    }

    /// A budget: above zero, and within the run's own deadline.
    pub(super) fn within(&self, fields: &mut Fields<'_>, key: &'static str) -> Option<Duration> {
        let within = fields.duration(key, Duration::from_millis(1)..=YEAR)?;
        if self.timeout.is_some_and(|timeout| within > timeout) {
            let message = format!("`{key}` is longer than the timeout of the run");
            let hint = "the run ends first: shorten it or raise `timeout`";
            self.cx.problems.wrong_hint(fields.at(key), message, hint);
        }
        Some(within)
    }

    /// Text as a scalar (equal), or one of `{ equals, contains, matches }`.
    pub(super) fn text_check(&self, node: &Node, key: &str) -> Option<TextCheck> {
        if let Value::Scalar { .. } = node.value {
            return self.checked_text(node, key).map(TextCheck::Equals);
        }
        self.cx.fields(node, "a check", |fields| {
            match fields.exactly_one(&["equals", "contains", "matches"])? {
                ("equals", node) => self.checked_text(node, "equals").map(TextCheck::Equals),
                ("contains", node) => self.checked_text(node, "contains").map(TextCheck::Contains),
                (_, node) => self.regex(node).map(TextCheck::Matches),
            }
        })?
    }

    /// Checks of an HTTP answer: `{ headers, body, max_bytes, first_byte_within, max_gap, min_chunks }`.
    pub(super) fn answer(&self, node: &Node) -> AnswerChecks {
        let read = self.cx.fields(node, "the expectation of an answer", |fields| {
            let headers = fields.get("headers").map(|node| self.header_checks(node));
            let mut body = fields.get("body").map(|node| self.body_checks(node));
            if let Some(max) = fields.bytes("max_bytes", 1..=MAX_BODY_BYTES) {
                body.get_or_insert_default().push(BodyCheck::MaxBytes(max));
            }
            let flow = FlowChecks {
                first_byte_within: self.within(fields, "first_byte_within"),
                max_gap: self.within(fields, "max_gap"),
                min_chunks: fields.integer("min_chunks", 1..=MAX_CHUNKS),
            };
            let (headers, body) = (headers.unwrap_or_default(), body.unwrap_or_default());
            AnswerChecks { headers, body, flow }
        });
        read.unwrap_or_default()
    }

    fn header_checks(&self, node: &Node) -> Vec<HeaderCheck> {
        let Value::Map(entries) = &node.value else {
            self.cx.expected(node, "headers", "a mapping of names and values");
            return Vec::new();
        };
        let check = |entry: &super::tree::Entry| {
            let name = self.cx.header_name(&entry.key, entry.at)?;
            Some(HeaderCheck { name, text: self.text_check(&entry.value, &entry.key)? })
        };
        entries.iter().filter_map(check).collect()
    }

    fn body_checks(&self, node: &Node) -> Vec<BodyCheck> {
        let read = self.cx.fields(node, "the check of a body", |fields| {
            let mut checks = Vec::new();
            let mut text = |key, make: fn(String) -> TextCheck, fields: &mut Fields<'_>| {
                let found = fields.get(key).and_then(|node| self.checked_text(node, key));
                checks.extend(found.map(|text| BodyCheck::Text(make(text))));
            };
            text("equals", TextCheck::Equals, fields);
            text("contains", TextCheck::Contains, fields);
            let matches = fields.get("matches").and_then(|node| self.regex(node));
            checks.extend(matches.map(|regex| BodyCheck::Text(TextCheck::Matches(regex))));
            let json = fields.get("json").and_then(|node| self.json(node, Secrets::Refused));
            checks.extend(json.map(|json| BodyCheck::Json(Arc::new(json))));
            checks
        });
        read.unwrap_or_default()
    }

    /// `202`, `2xx`, `200-204`, or a list of these.
    pub(super) fn status(&self, node: &Node) -> Vec<StatusRange> {
        let one = |node: &Node| {
            let text = self.cx.text(node, "status")?;
            let range = parse_status(text);
            if range.is_none() {
                let message = format!("`{}` is not a status", quoted(text));
                let hint = "write 202, 2xx, 200-204 or a list of these";
                self.cx.problems.wrong_hint(node.at, message, hint);
            }
            range
        };
        self.cx.one_or_many(node).into_iter().filter_map(one).collect()
    }

    /// YAML as JSON; the texts in it are completed by each run.
    pub(super) fn json(&self, node: &Node, secrets: Secrets) -> Option<serde_json::Value> {
        match &node.value {
            Value::Scalar { text, plain } => match plain.then(|| plain_json(text)).flatten() {
                Some(Plain::Json(value)) => Some(value),
                Some(Plain::NotJson) => {
                    let message = format!("JSON has no number `{}`", quoted(text));
                    self.cx.problems.wrong(node.at, message);
                    None
                }
                None => self
                    .cx
                    .run_text(node.at, text, &self.scope, secrets)
                    .map(|filled| serde_json::Value::String(filled.text)),
            },
            Value::List(items) => {
                let items: Vec<_> = items.iter().map(|item| self.json(item, secrets)).collect();
                items.into_iter().collect::<Option<Vec<_>>>().map(serde_json::Value::Array)
            }
            Value::Map(entries) => {
                let pairs: Vec<_> = entries
                    .iter()
                    .map(|entry| Some((entry.key.clone(), self.json(&entry.value, secrets)?)))
                    .collect();
                let pairs: Option<serde_json::Map<_, _>> = pairs.into_iter().collect();
                pairs.map(serde_json::Value::Object)
            }
        }
    }

    fn checked_text(&self, node: &Node, key: &str) -> Option<String> {
        let text = self.cx.raw_text(node, key)?;
        let filled = self.cx.run_text(node.at, text, &self.scope, Secrets::Refused)?;
        Some(filled.text)
    }

    fn regex(&self, node: &Node) -> Option<regex::Regex> {
        let text = self.cx.raw_text(node, "matches")?;
        match regex::RegexBuilder::new(text).size_limit(MAX_REGEX_BYTES).build() {
            Ok(regex) => Some(regex),
            Err(error) => {
                let reason = error.to_string();
                let reason = reason.lines().last().unwrap_or_default().trim().to_owned();
                let message = format!("`{}` is not a regular expression", quoted(text));
                self.cx.problems.wrong_hint(node.at, message, reason);
                None
            }
        }
    }
}

fn parse_status(text: &str) -> Option<StatusRange> {
    let code = |text: &str| text.parse::<u16>().ok().filter(|code| (100..=599).contains(code));
    if let Some(class) = text.strip_suffix("xx") {
        let first = class.parse::<u16>().ok().filter(|class| (1..=5).contains(class))? * 100;
        return Some(StatusRange { first, last: first + 99 });
    }
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (code(first)?, code(last)?),
        None => (code(text)?, code(text)?),
    };
    (first <= last).then_some(StatusRange { first, last })
}

/// What a plain scalar is in JSON when it is not a text.
enum Plain {
    Json(serde_json::Value),
    NotJson,
}

/// YAML 1.2's core schema: null, truth values and numbers; everything else is a text.
fn plain_json(text: &str) -> Option<Plain> {
    use serde_json::{Number, Value};
    let value = match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Some(Plain::NotJson),
        _ if matches!(text.trim_start_matches(['-', '+']), ".inf" | ".Inf" | ".INF") => {
            return Some(Plain::NotJson);
        }
        _ => {
            let is_numeric = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
            if !text.contains(|c: char| c.is_ascii_digit()) || !text.chars().all(is_numeric) {
                return None;
            }
            let unsigned = text.strip_prefix('+').unwrap_or(text);
            if let Ok(whole) = unsigned.parse::<u64>() {
                Value::Number(whole.into())
            } else if let Ok(whole) = text.parse::<i64>() {
                Value::Number(whole.into())
            } else {
                let number = unsigned.parse::<f64>().ok()?;
                return Some(
                    Number::from_f64(number)
                        .map_or(Plain::NotJson, |number| Plain::Json(Value::Number(number))),
                );
            }
        }
    };
    Some(Plain::Json(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees which plain scalars are not texts in JSON.
    #[test]
    fn plain_scalars_have_json_types() {
        let check = |text: &str, expected: &str| {
            let got = match plain_json(text) {
                Some(Plain::Json(value)) => value.to_string(),
                Some(Plain::NotJson) => "none".to_owned(),
                None => "text".to_owned(),
            };
            assert_eq!(got, expected, "{text}");
        };
        check("", "null");
        check("true", "true");
        check("yes", "text");
        check("42", "42");
        check("-7", "-7");
        check("+7", "7");
        check("18446744073709551615", "18446744073709551615");
        check("1.50", "1.5");
        check("1e3", "1000.0");
        check("1e999", "none");
        check(".inf", "none");
        check("-", "text");
        check("1.2.3", "text");
        check("2026-11-24", "text");
        check("10s", "text");
    }

    /// Guarantees the three ways to write statuses, and nothing else.
    #[test]
    fn statuses_are_codes_classes_and_ranges() {
        let check = |text: &str, expected: Option<(u16, u16)>| {
            assert_eq!(parse_status(text).map(|r| (r.first, r.last)), expected, "{text}");
        };
        check("202", Some((202, 202)));
        check("2xx", Some((200, 299)));
        check("200-204", Some((200, 204)));
        check("204-200", None);
        check("9xx", None);
        check("20", None);
        check("ok", None);
    }
}
