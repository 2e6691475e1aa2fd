//! How hard probes may press their targets, `limits:` in `radiosonde.yaml`:
//!
//! ```yaml
//! limits:
//!   - target: chat.example.com:443     # as in writes: host, host:port, *.domain, host/path
//!     max_runs_per_second: 10          # 0.5: one in two seconds
//!     max_concurrent_runs: 4
//!     max_messages_per_second: 50
//! ```

use super::fields::{Context, Fields};
use super::scalar::quoted;
use super::tree::Node;
use crate::probe::limits::{Limit, Rate};
use crate::probe::writes::WriteTarget;
use std::rc::Rc;

/// Entries; each is asked before every run.
const MAX_LIMITS: usize = 1_000;
/// More runs than this never go on at once.
const MAX_CONCURRENT: u64 = 10_000;

impl Context<'_> {
    /// The list under `limits`.
    pub(super) fn limits(&self, node: &Node) -> Vec<Limit> {
        let items = self.items(node, "limits");
        if items.len() > MAX_LIMITS {
            self.problems.wrong(node.at, format!("more than {MAX_LIMITS} limits"));
        }
        let mut limits: Vec<Limit> = Vec::new();
        for item in items.iter().take(MAX_LIMITS) {
            let Some(limit) = self.limit(item) else { continue };
            if limits.iter().any(|other| other.target == limit.target) {
                let message = format!("there are two limits of {}", quoted(&limit.name));
                self.problems.wrong_hint(item.at, message, "write all caps of a target into one");
            } else {
                limits.push(limit);
            }
        }
        limits
    }

    fn limit(&self, node: &Rc<Node>) -> Option<Limit> {
        self.fields(node, "a limit", |fields| {
            let node = fields.need("target", "chat.example.com:443");
            let target = node.and_then(|node| self.limited(node));
            let max_runs = rate(fields, "max_runs_per_second");
            let concurrent = fields.integer("max_concurrent_runs", 1..=MAX_CONCURRENT);
            let max_messages = rate(fields, "max_messages_per_second");
            let caps = ["max_runs_per_second", "max_concurrent_runs", "max_messages_per_second"];
            if !caps.iter().any(|cap| fields.has(cap)) {
                let message = "this limits nothing";
                let hint = format!("add one or more of {}", caps.join(", "));
                self.problems.wrong_hint(fields.at, message, hint);
            }
            let (name, target) = target?;
            let max_concurrent_runs = concurrent.and_then(|most| u32::try_from(most).ok());
            Some(Limit { name, target, max_runs, max_concurrent_runs, max_messages })
        })?
    }

    fn limited(&self, node: &Node) -> Option<(String, WriteTarget)> {
        let text = self.text(node, "target")?;
        let target = WriteTarget::parse(text);
        if target.is_none() {
            let message = format!("`{}` is not a target", quoted(text));
            let hint = "write host, host:port or host/path, for example *.example.com:443";
            self.problems.wrong_hint(node.at, message, hint);
        }
        Some((text.to_owned(), target?))
    }
}

fn rate(fields: &mut Fields<'_>, key: &'static str) -> Option<Rate> {
    let node = fields.get(key)?;
    let text = fields.cx.text(node, key)?;
    let rate = Rate::parse(text);
    if rate.is_none() {
        let message = format!("`{key}` must be a number above 0, not `{}`", quoted(text));
        fields.cx.problems.wrong_hint(node.at, message, "for example 10, or 0.5");
    }
    rate
}
