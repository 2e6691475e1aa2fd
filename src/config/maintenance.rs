//! When probes rest because their targets are worked on, `maintenance:` in any file:
//!
//! ```yaml
//! maintenance:
//!   - name: db-upgrade
//!     cron: "0 2 * * 0"                # when a window begins, as of a probe
//!     tz: Europe/Berlin
//!     for: 2h
//!     probes: [ "chat-*" ]             # and, or instead, labels: { region: eu-west }
//! ```

use super::fields::Context;
use super::probe::{Probes, cron, zone};
use super::scalar::quoted;
use super::tree::Node;
use crate::model::labels::Labels;
use crate::probe::maintenance::Maintenance;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const MAX_MAINTENANCE: usize = 1_000;
const MAX_PATTERNS: usize = 100;
/// How long a window may be.
const LENGTHS: RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(30 * 86_400);

/// Reads all maintenance of all files.
pub(super) fn read(cx: &Context<'_>, nodes: &[Rc<Node>], probes: &Probes) -> Vec<Arc<Maintenance>> {
    if let Some(node) = nodes.get(MAX_MAINTENANCE) {
        cx.problems.wrong(node.at, format!("more than {MAX_MAINTENANCE} maintenance windows"));
    }
    let mut all: Vec<Arc<Maintenance>> = Vec::new();
    for node in nodes.iter().take(MAX_MAINTENANCE) {
        let Some(one) = cx.maintenance(node) else { continue };
        if all.iter().any(|other| other.name == one.name) {
            cx.problems.wrong(node.at, format!("there are two maintenance windows `{}`", one.name));
        }
        let concerned = probes.specs.iter().any(|probe| one.concerns(&probe.name, &probe.labels));
        if !concerned && cx.is_whole.get() && cx.problems.count() == 0 {
            let message = format!("no probe rests during `{}`", one.name);
            cx.problems.warn(node.at, message, "look at its probes and labels");
        }
        all.push(Arc::new(one));
    }
    all
}

impl Context<'_> {
    fn maintenance(&self, node: &Node) -> Option<Maintenance> {
        self.fields(node, "a maintenance window", |fields| {
            let name = fields.need("name", "db-upgrade").and_then(|node| self.name(node, "name"));
            let at = fields.at("cron");
            let cron = fields.need("cron", "\"0 2 * * 0\"").and_then(|node| cron(self, node));
            let zone = fields.get("tz").map_or(Some(chrono_tz::UTC), |node| zone(self, node));
            let length = fields.need("for", "2h");
            let length = length.and_then(|node| self.duration(node, "for", LENGTHS));
            let probes = fields.get("probes").map(|node| self.patterns(node));
            let labels = fields.get("labels").map(|node| self.labels(node, "labels"));
            if probes.is_none() && labels.is_none() {
                let message = "it does not say which probes rest";
                let hint = "add probes: [ \"chat-*\" ] or labels: { … }; all are probes: [ \"*\" ]";
                self.problems.wrong_hint(fields.at, message, hint);
            }
            let (expression, _) = cron?;
            let labels = labels.unwrap_or_else(Labels::default);
            let when = (expression.as_str(), zone?);
            let made = Maintenance::new(&name?, when, length?, probes.unwrap_or_default(), labels);
            made.map_err(|message| self.problems.wrong(at, message)).ok()
        })?
    }

    fn patterns(&self, node: &Node) -> Vec<String> {
        let nodes = self.one_or_many(node);
        if nodes.is_empty() || nodes.len() > MAX_PATTERNS {
            let message = format!("`probes` needs 1 to {MAX_PATTERNS} names");
            self.problems.wrong(node.at, message);
        }
        let one = |node: &&Node| {
            let text = self.text(node, "probes")?;
            let allowed = |c: char| c.is_ascii_alphanumeric() || "._-*/".contains(c);
            if !text.chars().all(allowed) {
                let message = format!("`{}` is not the name of probes", quoted(text));
                let hint = "use letters, digits and . _ - with * for any part";
                self.problems.wrong_hint(node.at, message, hint);
            }
            Some(text.to_owned())
        };
        nodes.iter().filter_map(one).collect()
    }
}
