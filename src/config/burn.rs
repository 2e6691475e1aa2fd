//! When a budget burns too fast: explicit pairs, or the SRE workbook's.
//!
//! A pair that can never fire is worse than none, because somebody relies on it: an explicit one is
//! refused, a default one is left out with a warning.

use super::fields::Context;
use super::scalar::written;
use super::tree::{Node, Place};
use crate::model::objective::{BurnPair, Severity, workbook_pairs};
use std::time::Duration;

/// Windows are read from slots of this length,
const SLOT: Duration = Duration::from_secs(10);
/// and the short one from at least two of them.
const MIN_SHORT: Duration = Duration::from_secs(20);
/// Burning at this rate for the whole window leaves a tenth of the budget; slower is no reason to
/// tell anybody.
const MIN_FACTOR: f64 = 0.9;
/// Pairs of one SLO.
const MAX_PAIRS: usize = 8;

const SEVERITIES: &[(&str, Severity)] =
    &[(Severity::Page.as_str(), Severity::Page), (Severity::Ticket.as_str(), Severity::Ticket)];

/// What a policy is checked against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    /// 0..1
    pub(super) objective: f64,
    /// The SLO's window.
    pub(super) window: Duration,
}

// === impl Target ===

impl Target {
    /// Why a pair makes no sense, and what would.
    fn objection(self, pair: &BurnPair) -> Option<(String, String)> {
        let factor = pair.factor(self.window);
        let max = BurnPair::max_burn(self.objective);
        let name = pair.name();
        if pair.long > self.window {
            let hint = format!("the window is {}", written(self.window));
            return Some((format!("{name}: the long window exceeds the SLO's"), hint));
        }
        if factor >= max {
            let reachable = 100.0 * max * pair.long.as_secs_f64() / self.window.as_secs_f64();
            let message = format!(
                "{name} fires at {factor:.1}x, and more than {max:.1}x is impossible at this objective"
            );
            let hint = format!("take a budget below {reachable:.2}%, or a longer long window");
            return Some((message, hint));
        }
        if factor < MIN_FACTOR {
            let needed = 100.0 * pair.long.as_secs_f64() / self.window.as_secs_f64();
            let message = format!("{name} fires at {factor:.2}x, when the budget would last");
            let hint = format!("take a budget of {needed:.2}% or more, or a shorter long window");
            return Some((message, hint));
        }
        None
    }
}

// === impl Context ===

impl Context<'_> {
    /// The workbook's pairs that can fire; `at` is the objective's place.
    pub(super) fn default_burn(&self, at: Place, target: Target) -> Vec<BurnPair> {
        let mut pairs = workbook_pairs(target.window);
        pairs.retain(|pair| {
            let objection = target.objection(pair);
            if let Some((message, _)) = &objection {
                let message = format!("left out a default burn pair: {message}");
                let hint = "give burn: [ { budget, long, short, severity } ] that fits";
                self.problems.warn(at, message, hint);
            }
            objection.is_none()
        });
        pairs
    }

    /// `burn: [{ budget: 2%, long: 1h, short: 5m, severity: page }, …]`.
    pub(super) fn burn(&self, node: &Node, target: Option<Target>) -> Vec<BurnPair> {
        let items = self.items(node, "burn");
        if items.len() > MAX_PAIRS {
            self.problems.wrong(node.at, format!("more than {MAX_PAIRS} burn pairs"));
        }
        let mut pairs: Vec<BurnPair> = Vec::new();
        for item in items.iter().take(MAX_PAIRS) {
            let Some(pair) = self.burn_pair(item) else { continue };
            if let Some((message, hint)) = target.and_then(|target| target.objection(&pair)) {
                self.problems.wrong_hint(item.at, message, hint);
            } else if pairs.iter().any(|p| p.long == pair.long && p.severity == pair.severity) {
                let message = format!("there is a pair {} with this severity already", pair.name());
                self.problems.wrong_hint(item.at, message, "remove one of the two");
            } else {
                pairs.push(pair);
            }
        }
        pairs
    }

    fn burn_pair(&self, node: &Node) -> Option<BurnPair> {
        self.fields(node, "a burn pair", |fields| {
            let budget = fields.need("budget", "2%").and_then(|n| self.share(n, "budget"));
            let long = fields.need("long", "1h").and_then(|n| self.slots(n, "long"));
            let short = fields.need("short", "5m").and_then(|n| self.slots(n, "short"));
            let severity = fields.need("severity", "page");
            let severity = severity.and_then(|n| self.choice(n, "severity", SEVERITIES));
            if let (Some(long), Some(short)) = (long, short)
                && short >= long
            {
                let message = "the short window must be shorter than the long one";
                let hint = format!("a twelfth is usual: {}", written(twelfth(long)));
                self.problems.wrong_hint(fields.at("short"), message, hint);
                return None;
            }
            Some(BurnPair { budget: budget?, long: long?, short: short?, severity: severity? })
        })?
    }

    /// A window of whole slots.
    fn slots(&self, node: &Node, key: &str) -> Option<Duration> {
        let window = self.duration(node, key, MIN_SHORT..=super::slo::MAX_WINDOW)?;
        if window.as_millis() % SLOT.as_millis() == 0 {
            return Some(window);
        }
        let whole = Duration::from_secs(window.as_secs() / 10 * 10);
        let message = format!("`{key}` must be a multiple of {}", written(SLOT));
        self.problems.wrong_hint(node.at, message, format!("for example {}", written(whole)));
        None
    }
}

/// A twelfth in whole slots, but two at least.
fn twelfth(long: Duration) -> Duration {
    Duration::from_secs(long.as_secs() / 120 * 10).max(MIN_SHORT)
}
