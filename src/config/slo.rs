//! An SLO: what is counted, how much of it must be good, and when to tell somebody.
//!
//! ```yaml
//! slos:
//!   - name: send-message-on-phones   # also the alert's name
//!     owner: messaging
//!     description: Sending a message feels instant
//!     runbook: https://wiki.example.com/chat
//!     objective: 99%
//!     window: 30d                    # rolling
//!     latency: { http: "POST /rooms/{id}/messages", where: { os.name: [Android, iOS] }, under: 300ms }
//!     burn: [ { budget: 2%, long: 1h, short: 5m, severity: page } ]
//!     absent_after: 10m              # 3 × every for probes and 5m for phones unless given
//!     labels: { tier: gold }
//! ```
//! Or `availability: { probe: … }`, or `ratio: { bad: { event: … }, total: { event: … } }`.

use super::burn::Target;
use super::fields::{Context, Fields};
use super::scalar::{YEAR, written};
use super::selector::Selectors;
use super::tree::{Node, Place};
use crate::base::clock::nanos;
use crate::model::labels::Labels;
use crate::model::objective::{Indicator, Selector, Slo, Source};
use crate::model::probe::Phase;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Shorter windows hold too few slots for two pairs of windows.
const MIN_WINDOW: Duration = Duration::from_secs(600);
/// A quarter; counts are kept for the longest window and no longer.
pub(super) const MAX_WINDOW: Duration = Duration::from_secs(92 * 86_400);
/// Phones: data is missing when nothing came for this long.
const DEFAULT_ABSENT: Duration = Duration::from_secs(300);

/// Sources whose events take time.
const TIMED: [&str; 3] = ["probe", "http", "span"];
/// Sources that phones report, of which any may be bad and total.
const REPORTED: [&str; 3] = ["http", "span", "event"];

/// Reads all SLOs of all files.
pub(super) fn read(selectors: Selectors<'_>, nodes: &[Rc<Node>]) -> Vec<Arc<Slo>> {
    let cx = selectors.cx;
    let mut places: BTreeMap<String, Place> = BTreeMap::new();
    let mut slos = Vec::new();
    for node in nodes {
        let before = cx.problems.count();
        let slo = cx.fields(node, "an SLO", |fields| {
            let name = fields.need("name", "chat-echo-fast").and_then(|n| cx.name(n, "name"));
            if let Some(name) = &name {
                unique(cx, "SLOs", name, fields.at("name"), &mut places);
            }
            one(selectors, fields, name)
        });
        let slo = slo.flatten().filter(|_| cx.problems.count() == before);
        slos.extend(slo.map(Arc::new));
    }
    slos
}

/// Reports a second thing of one name.
pub(super) fn unique(
    cx: &Context<'_>,
    what: &str,
    name: &str,
    at: Place,
    places: &mut BTreeMap<String, Place>,
) {
    if let Some(other) = places.get(name) {
        let hint = format!("the other is at {}", cx.files.display(*other));
        cx.problems.wrong_hint(at, format!("there are two {what} `{name}`"), hint);
    } else {
        let _ = places.insert(name.to_owned(), at);
    }
}

fn one(selectors: Selectors<'_>, fields: &mut Fields<'_>, name: Option<String>) -> Option<Slo> {
    let cx = selectors.cx;
    let objective = objective(fields);
    let window = fields.need("window", "30d");
    let window = window.and_then(|node| cx.duration(node, "window", MIN_WINDOW..=MAX_WINDOW));
    let indicator = indicator(selectors, fields);
    let target = objective.zip(window).map(|(objective, window)| Target { objective, window });
    let burn = match (fields.get("burn"), target) {
        (Some(node), target) => cx.burn(node, target),
        (None, Some(target)) => cx.default_burn(fields.at("objective"), target),
        (None, None) => Vec::new(),
    };
    let gap = indicator.as_ref().and_then(probe).and_then(|name| {
        let facts = selectors.probes.by_name.get(name)?;
        check_probe(fields, facts, indicator.as_ref()?, target);
        facts.gap
    });
    let absent = fields.duration("absent_after", Duration::from_secs(20)..=YEAR);
    let absent_after = absent.unwrap_or(gap.map_or(DEFAULT_ABSENT, |gap| gap.saturating_mul(3)));
    let owner = fields.text("owner");
    let labels = fields.get("labels").map(|node| cx.labels(node, "labels")).unwrap_or_default();
    refuse_second_owner(fields, owner.as_deref(), &labels);
    Some(Slo {
        owner,
        description: fields.text("description"),
        runbook: fields.text("runbook"),
        name: name?,
        objective: objective?,
        window: window?,
        indicator: indicator?,
        burn,
        absent_after,
        labels,
    })
}

fn objective(fields: &mut Fields<'_>) -> Option<f64> {
    let cx = fields.cx;
    let node = fields.need("objective", "99.9%")?;
    let share = cx.share(node, "objective")?;
    if share >= 1.0 {
        let hint = "leave a budget: 99.9% allows 43 minutes of failure in 30 days";
        cx.problems.wrong_hint(node.at, "an objective of 100% can only be missed", hint);
        return None;
    }
    Some(share)
}

/// `latency`, `availability` or `ratio`.
fn indicator(selectors: Selectors<'_>, fields: &mut Fields<'_>) -> Option<Indicator> {
    let cx = selectors.cx;
    match fields.exactly_one(&["latency", "availability", "ratio"])? {
        ("latency", node) => cx.fields(node, "latency", |fields| {
            let selector = selectors.selector(fields, &TIMED);
            let under = fields.need("under", "300ms");
            let under =
                under.and_then(|n| cx.duration(n, "under", Duration::from_millis(1)..=YEAR));
            let phase = fields.get("phase").map(|node| phase(cx, node));
            let is_probe = matches!(&selector, Some(Selector { source: Source::Probe(_), .. }));
            if selector.is_some() && phase.is_some() && !is_probe {
                let message = "`phase` is a part of a probe's run; phones report whole requests";
                cx.problems.wrong_hint(fields.at("phase"), message, "remove it");
            }
            let Selector { source, filter } = selector?;
            // The value of a probe that waits for a message is the time to its arrival. The phase is
            // what of that no other phase covers, and nobody's objective.
            let phase = phase.unwrap_or_default().filter(|phase| *phase != Phase::Message);
            Some(Indicator::Latency { source, filter, under_ns: nanos(under?), phase })
        })?,
        ("availability", node) => cx.fields(node, "availability", |fields| {
            let Selector { source, filter } = selectors.selector(fields, &TIMED)?;
            Some(Indicator::Availability { source, filter })
        })?,
        (_, node) => cx.fields(node, "a ratio", |fields| {
            let bad = fields.need("bad", "{ event: app.crash }");
            let bad = bad.and_then(|node| events(selectors, node, "the selector of bad events"));
            let total = fields.need("total", "{ event: session.start }");
            let total =
                total.and_then(|node| events(selectors, node, "the selector of all events"));
            Some(Indicator::Ratio { bad: bad?, total: total? })
        })?,
    }
}

fn events(selectors: Selectors<'_>, node: &Node, what: &'static str) -> Option<Selector> {
    selectors.cx.fields(node, what, |fields| selectors.selector(fields, &REPORTED))?
}

fn phase(cx: &Context<'_>, node: &Node) -> Option<Phase> {
    let phases: Vec<(&str, Phase)> = Phase::ALL.iter().map(|p| (p.as_str(), *p)).collect();
    cx.choice(node, "phase", &phases)
}

fn probe(indicator: &Indicator) -> Option<&str> {
    match indicator {
        Indicator::Latency { source: Source::Probe(name), .. }
        | Indicator::Availability { source: Source::Probe(name), .. } => Some(name),
        _ => None,
    }
}

/// Warns of an SLO that its probe cannot tell anything about.
fn check_probe(
    fields: &Fields<'_>,
    facts: &super::probe::Facts,
    indicator: &Indicator,
    target: Option<Target>,
) {
    let problems = &fields.cx.problems;
    if let (Indicator::Latency { under_ns, .. }, Some(timeout)) = (indicator, facts.timeout)
        && *under_ns > nanos(timeout)
    {
        let message = format!("the probe gives up after {}", written(timeout));
        let hint = "a threshold beyond the timeout makes this the same as availability";
        problems.warn(fields.at("latency"), message, hint);
    }
    if let (Some(target), Some(gap)) = (target, facts.gap.filter(|gap| !gap.is_zero())) {
        let runs = target.window.as_secs_f64() / gap.as_secs_f64();
        let budget = runs * (1.0 - target.objective);
        if budget < 1.0 {
            let message = format!(
                "{:.0} runs in {} leave a budget of {budget:.2} failures: the first one spends it",
                runs.floor(),
                written(target.window)
            );
            problems.warn(fields.at("objective"), message, "probe more often or promise less");
        }
    }
}

fn refuse_second_owner(fields: &mut Fields<'_>, owner: Option<&str>, labels: &Labels) {
    if let (Some(_), Some(label)) = (owner, labels.get("owner")) {
        let message = format!("the label owner={label:?} says again who the owner is");
        fields.cx.problems.wrong_hint(fields.at("labels"), message, "keep `owner:` alone");
    }
}
