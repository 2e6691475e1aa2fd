//! `query_response:` of the TCP and the WebSocket prober.

use super::super::fields::{Context, Fields};
use super::super::tree::Node;
use crate::probe::blackbox::{Exchange, literal};
use regex::Regex;

/// Turns of a dialogue.
const MAX_TURNS: usize = 100;
/// Labels of a turn.
const MAX_LABELS: usize = 20;

impl Context<'_> {
    /// `[ { expect, send, labels, starttls }, … ]`.
    pub(super) fn dialogue(&self, node: &Node, is_tcp: bool) -> Vec<Exchange> {
        let items = self.items(node, "query_response");
        if items.len() > MAX_TURNS {
            self.problems.wrong(node.at, format!("more than {MAX_TURNS} turns"));
        }
        let turn = |node: &std::rc::Rc<Node>| {
            self.fields(node, "a turn", |fields| self.turn(fields, is_tcp))
        };
        items.iter().take(MAX_TURNS).filter_map(turn).collect()
    }

    fn turn(&self, fields: &mut Fields<'_>, is_tcp: bool) -> Exchange {
        self.refuse(fields, &["expect_bytes"], "write a pattern under `expect`");
        let expect = fields.get("expect").and_then(|node| self.pattern(node, "expect"));
        let written = fields.get("send").and_then(|node| self.literal_text(node, "send"));
        let send = written.filter(|text| !text.is_empty()).map(|text| match &expect {
            Some(pattern) if is_tcp => expanded(&text, pattern),
            _ => literal(&text),
        });
        if !is_tcp && expect.is_some() && send.as_ref().is_some_and(|text| text.contains("$$")) {
            let hint = "what the groups of `expect` matched cannot be sent over a WebSocket; send a \
                        text without `$`";
            self.problems.wrong_hint(fields.at("send"), "`send` refers to groups", hint);
        }
        let starttls = fields.flag("starttls").unwrap_or(false);
        if starttls && !is_tcp {
            self.unsupported(fields, "starttls", "begin with wss:// instead");
        }
        let labels = fields.get("labels").map(|node| self.labels_of_turn(node));
        Exchange { expect, send, labels: labels.unwrap_or_default(), starttls }
    }

    /// `[ { name, value }, … ]`.
    fn labels_of_turn(&self, node: &Node) -> Vec<(String, String)> {
        let label = |node: &std::rc::Rc<Node>| {
            self.fields(node, "a label", |fields| {
                let name = fields.need("name", "version").and_then(|n| self.text(n, "name"));
                let value = fields.need("value", "${1}");
                let value = value.and_then(|node| self.literal_text(node, "value"));
                let name = name.filter(|name| {
                    let fits = super::super::names::is_variable(name);
                    if !fits {
                        let message = format!("`{name}` is not the name of a label");
                        self.problems.wrong(fields.at("name"), message);
                    }
                    fits
                });
                Some((name?.to_owned(), value?))
            })?
        };
        self.items(node, "labels").iter().take(MAX_LABELS).filter_map(label).collect()
    }
}

/// A template of Go's `regexp.Expand` as one of ours: `$1`, `${1}`, `$name`, `${name}` and `$$`. A
/// group that the pattern does not have is nothing.
fn expanded(text: &str, pattern: &Regex) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let after = from.strip_prefix('$').unwrap_or(from);
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let (name, next) = match braced {
            Some((name, next)) => (name, next),
            None => after.split_at(after.find(|c: char| !is_name(c)).unwrap_or(after.len())),
        };
        if after.starts_with('$') {
            out.push_str("$$");
            rest = after.strip_prefix('$').unwrap_or(after);
        } else if name.is_empty() || !name.chars().all(is_name) {
            out.push_str("$$");
            rest = after;
        } else {
            let number = name.parse::<usize>().is_ok_and(|number| number < pattern.captures_len());
            let is_known = number || pattern.capture_names().flatten().any(|known| known == name);
            if is_known {
                out.push_str(&format!("${{{name}}}"));
            }
            rest = next;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that groups are written as in Go, and that all other dollars are themselves.
    #[test]
    fn groups_are_expanded_as_in_go() {
        let pattern = Regex::new("PING :([^ ]+)(?P<rest>.*)").expect("valid");
        let check = |text: &str, expected: &str| assert_eq!(expanded(text, &pattern), expected);
        check("PONG ${1}", "PONG ${1}");
        check("PONG $1 $rest", "PONG ${1} ${rest}");
        check("$1x", "");
        check("$$1 $ ${", "$$1 $$ $${");
        check("${7}|${nobody}|$", "||$$");
        check("plain", "plain");
    }
}
