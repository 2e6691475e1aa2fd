//! What the SLOs in force ask of each record, compiled for one look-up an item.

use crate::model::matcher::Where;
use crate::model::objective::{Indicator, IndicatorId, Selector, Slo, Source};
use crate::model::probe::Phase;
use crate::store::ledger::MAX_APPS;
use std::collections::HashMap;
use std::sync::Arc;

/// How phones' telemetry is read.
#[derive(Clone, Debug, PartialEq)]
pub struct PhoneSettings {
    /// The attribute that holds the region.
    pub region_attribute: String,
    /// Path templates, for SDKs that send none: `/rooms/{id}/messages`.
    pub routes: Vec<String>,
    /// Attributes that become labels beside [`DEFAULT_LABELS`].
    pub labels: Vec<String>,
    /// Series of one app before further ones count into its overflow series.
    pub max_series_per_app: usize,
    /// Apps before further ones count as `other`, at most `store::ledger::MAX_APPS`.
    pub max_apps: usize,
}

/// Attributes that become labels of phones' series.
pub const DEFAULT_LABELS: [&str; 8] = [
    "error.type",
    "http.request.method",
    "http.response.status_code",
    "http.route",
    "network.connection.type",
    "os.name",
    "service.version",
    "region",
];

/// The SLOs in force, by what they look at.
#[derive(Clone, Debug)]
pub struct Rules {
    /// How phones' telemetry is read.
    pub phones: PhoneSettings,
    /// Names of labels of phones' series, sorted.
    pub labels: Vec<String>,
    probes: HashMap<String, Vec<Rule>>,
    spans: HashMap<String, Vec<Rule>>,
    events: HashMap<String, Vec<Rule>>,
    http: HashMap<(String, String), Vec<Rule>>,
    templates: Vec<PathTemplate>,
}

/// What an event of a source means to one indicator.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Whose counts.
    pub indicator: IndicatorId,
    /// Which events.
    pub filter: Where,
    /// How it counts.
    pub role: Role,
}

/// How an event counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// One event: good when it succeeded within the threshold.
    Latency {
        /// Inclusive threshold.
        under_ns: u64,
        /// Of probes: this phase instead of the value.
        phase: Option<Phase>,
    },
    /// One event: good when it succeeded.
    Availability,
    /// A bad event of a ratio: spends the budget, counted by another rule as one of all.
    Bad,
    /// One of all events of a ratio, good unless another rule calls it bad.
    Total,
}

/// A path with `{…}` segments that match anything but a slash.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PathTemplate {
    text: String,
    segments: Vec<Option<String>>,
}

impl Default for PhoneSettings {
    fn default() -> Self {
        Self {
            region_attribute: "region".to_owned(),
            routes: Vec::new(),
            labels: Vec::new(),
            max_series_per_app: 2_000,
            max_apps: MAX_APPS,
        }
    }
}

impl PhoneSettings {
    /// The attribute from which a label, or a dimension of evidence, is taken.
    #[must_use]
    pub fn source_of<'a>(&'a self, label: &'a str) -> &'a str {
        if label == "region" { &self.region_attribute } else { label }
    }
}

impl Rules {
    /// Compiles SLOs and settings.
    #[must_use]
    pub fn new(slos: &[Arc<Slo>], phones: PhoneSettings) -> Self {
        let mut labels: Vec<String> = DEFAULT_LABELS.map(str::to_owned).into();
        labels.extend(phones.labels.iter().cloned());
        labels.sort();
        labels.dedup();
        let mut rules = Self {
            templates: phones.routes.iter().map(|route| PathTemplate::new(route)).collect(),
            phones,
            labels,
            probes: HashMap::new(),
            spans: HashMap::new(),
            events: HashMap::new(),
            http: HashMap::new(),
        };
        // SLOs that share an indicator share its counts: each indicator is compiled once.
        let mut seen = Vec::new();
        for slo in slos {
            let id = slo.indicator.id();
            if !seen.contains(&id) {
                seen.push(id);
                rules.add_indicator(id, &slo.indicator);
            }
        }
        // The most particular template first: fewer wildcards, then more segments.
        rules.templates.sort_by_key(|t| (t.wildcards(), usize::MAX - t.segments.len()));
        rules.templates.dedup();
        rules
    }

    /// Rules on runs of a probe.
    #[must_use]
    pub fn of_probe(&self, name: &str) -> &[Rule] {
        self.probes.get(name).map_or(&[], Vec::as_slice)
    }

    /// Rules on spans of a name.
    #[must_use]
    pub fn of_span(&self, name: &str) -> &[Rule] {
        self.spans.get(name).map_or(&[], Vec::as_slice)
    }

    /// Rules on log events of a name.
    #[must_use]
    pub fn of_event(&self, name: &str) -> &[Rule] {
        self.events.get(name).map_or(&[], Vec::as_slice)
    }

    /// Rules on HTTP client spans of a method and templated path.
    #[must_use]
    pub fn of_http(&self, method: &str, template: &str) -> &[Rule] {
        // The map is small and its key owned: a scan costs less than building one.
        let mut found = self.http.iter().filter(|((m, t), _)| m == method && t == template);
        found.next().map_or(&[], |(_, rules)| rules.as_slice())
    }

    /// The template that a path follows, when one is configured.
    #[must_use]
    pub fn template_of(&self, path: &str) -> Option<&str> {
        self.templates.iter().find(|t| t.matches(path)).map(|t| t.text.as_str())
    }

    fn add_indicator(&mut self, id: IndicatorId, indicator: &Indicator) {
        match indicator {
            Indicator::Latency { source, filter, under_ns, phase } => {
                let role = Role::Latency { under_ns: *under_ns, phase: *phase };
                self.add_rule(source, Rule { indicator: id, filter: filter.clone(), role });
            }
            Indicator::Availability { source, filter } => {
                let rule = Rule { indicator: id, filter: filter.clone(), role: Role::Availability };
                self.add_rule(source, rule);
            }
            Indicator::Ratio { bad, total } => {
                for (Selector { source, filter }, role) in [(bad, Role::Bad), (total, Role::Total)]
                {
                    self.add_rule(source, Rule { indicator: id, filter: filter.clone(), role });
                }
            }
        }
    }

    fn add_rule(&mut self, source: &Source, rule: Rule) {
        match source {
            Source::Probe(name) => self.probes.entry(name.clone()).or_default().push(rule),
            Source::Span(name) => self.spans.entry(name.clone()).or_default().push(rule),
            Source::Event(name) => self.events.entry(name.clone()).or_default().push(rule),
            Source::Http { method, path } => {
                self.templates.push(PathTemplate::new(path));
                self.http.entry((method.clone(), path.clone())).or_default().push(rule);
            }
        }
    }
}

impl PathTemplate {
    fn new(text: &str) -> Self {
        let segment =
            |part: &str| (!(part.starts_with('{') && part.ends_with('}'))).then(|| part.to_owned());
        Self { text: text.to_owned(), segments: text.split('/').map(segment).collect() }
    }

    fn wildcards(&self) -> usize {
        self.segments.iter().filter(|segment| segment.is_none()).count()
    }

    fn matches(&self, path: &str) -> bool {
        let mut parts = path.split('/');
        let all = self.segments.iter().all(|segment| {
            parts.next().is_some_and(|part| match segment {
                Some(fixed) => fixed == part,
                None => !part.is_empty(),
            })
        });
        all && parts.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that a path takes the most particular template that fits, and only whole ones.
    #[test]
    fn paths_find_their_template() {
        let phones = PhoneSettings {
            routes: ["/rooms/{id}", "/rooms/{id}/messages", "/rooms/new"].map(str::to_owned).into(),
            ..PhoneSettings::default()
        };
        let rules = Rules::new(&[], phones);
        let check =
            |path: &str, expected: Option<&str>| assert_eq!(rules.template_of(path), expected);
        check("/rooms/42", Some("/rooms/{id}"));
        check("/rooms/new", Some("/rooms/new"));
        check("/rooms/42/messages", Some("/rooms/{id}/messages"));
        check("/rooms/", None);
        check("/rooms/42/messages/7", None);
    }
}
