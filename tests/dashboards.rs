//! Guarantees about the Grafana dashboards, without a Grafana: they parse, their panels stand where
//! they should, and every query names metrics and labels that the daemon exports.

use radiosonde::telemetry::catalog::CATALOG;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Metrics of the domain and their labels. The daemon's own stand in its catalogue.
const DOMAIN: &[(&str, &[&str])] = &[
    ("ALERTS", &["alertname", "alertstate", "severity"]),
    ("radiosonde_probe_runs_total", &["probe", "outcome"]),
    ("radiosonde_probe_duration_seconds", &["probe", "phase"]),
    ("radiosonde_probe_up", &["probe"]),
    ("radiosonde_probe_last_run_timestamp_seconds", &["probe"]),
    ("radiosonde_slo_events_total", &["slo", "outcome"]),
    ("radiosonde_slo_objective_ratio", &["slo"]),
    ("radiosonde_slo_window_seconds", &["slo"]),
    ("radiosonde_slo_attained_ratio", &["slo"]),
    ("radiosonde_slo_error_budget_remaining_ratio", &["slo"]),
    ("radiosonde_slo_time_to_exhaustion_seconds", &["slo"]),
    ("radiosonde_slo_burn_rate", &["slo", "window"]),
    ("radiosonde_slo_info", &["slo", "owner", "kind"]),
    ("radiosonde_ingest_items_total", &["app", "signal", "outcome"]),
    ("radiosonde_events_total", EVENT_LABELS),
    ("traces_span_metrics_calls_total", SPAN_LABELS),
    ("traces_span_metrics_duration_seconds", SPAN_LABELS),
];

const EVENT_LABELS: &[&str] = &[
    "service_name",
    "event_name",
    "service_version",
    "os_name",
    "network_connection_type",
    "region",
];

const SPAN_LABELS: &[&str] = &[
    "service_name",
    "span_name",
    "status_code",
    "service_version",
    "os_name",
    "network_connection_type",
    "region",
    "http_request_method",
    "http_route",
    "http_response_status_code",
];

/// Units that the dashboards use, as Grafana names them.
const UNITS: &[&str] = &["short", "percentunit", "s", "dtdurations", "reqps", "bytes", "Bps"];

/// Functions, operators and keywords of PromQL that the dashboards use.
const PROMQL_WORDS: &[&str] = &[
    "and",
    "bool",
    "by",
    "count",
    "histogram_quantile",
    "increase",
    "max",
    "min",
    "or",
    "rate",
    "sum",
    "time",
    "topk",
    "vector",
];

struct Dashboard {
    file: String,
    model: Value,
}

/// A query, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
struct Query {
    /// Words outside of braces, brackets, strings and lists of labels.
    words: Vec<String>,
    /// Names of labels in selectors, by the metric before them.
    matched: Vec<(String, String)>,
    /// What stands in brackets.
    ranges: Vec<String>,
}

// === reading ===

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards")
}

fn dashboards() -> Vec<Dashboard> {
    let entries = std::fs::read_dir(folder()).expect("the folder of dashboards");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut found: Vec<Dashboard> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| Dashboard {
            file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            model: serde_json::from_slice(&std::fs::read(&path).expect("a file")).expect("JSON"),
        })
        .collect();
    found.sort_by(|a, b| a.file.cmp(&b.file));
    assert_eq!(found.len(), 4, "budgets, probes, phones and radiosonde itself");
    found
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

impl Dashboard {
    /// Panels that are shown together: the open ones, and those in each closed row.
    fn groups(&self) -> Vec<&[Value]> {
        let open = list(&self.model, "panels");
        let closed = open.iter().map(|panel| list(panel, "panels"));
        std::iter::once(open).chain(closed).collect()
    }

    fn panels(&self) -> impl Iterator<Item = &Value> {
        self.groups().into_iter().flatten()
    }

    /// Panels that show something, so no rows.
    fn shown(&self) -> impl Iterator<Item = &Value> {
        self.panels().filter(|panel| text(panel, "type") != "row")
    }

    /// Every query: of panels and annotations.
    fn queries(&self) -> Vec<&str> {
        let annotations = self.part("/annotations/list").iter();
        let panels = self.shown().flat_map(|panel| list(panel, "targets"));
        annotations.chain(panels).map(|part| text(part, "expr")).filter(|q| !q.is_empty()).collect()
    }

    fn variables(&self) -> &[Value] {
        self.part("/templating/list")
    }

    fn part(&self, pointer: &str) -> &[Value] {
        self.model.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
}

/// Every series name that `/metrics` may show, with the labels by which it may be selected.
fn exported_names() -> BTreeMap<String, BTreeSet<&'static str>> {
    let own = CATALOG.iter().map(|(name, _, labels)| (*name, *labels));
    let mut names = BTreeMap::new();
    for (name, labels) in own.chain(DOMAIN.iter().copied()) {
        let mut labels: BTreeSet<&str> = labels.iter().copied().collect();
        labels.extend(["job", "instance"]);
        // The table tells no types; by the house's naming exactly these are histograms.
        if name.ends_with("_duration_seconds") || name.ends_with("_lateness_seconds") {
            for suffix in ["_count", "_sum", "_bucket"] {
                let _ = names.insert(format!("{name}{suffix}"), labels.clone());
            }
        } else {
            let _ = names.insert(name.to_owned(), labels);
        }
    }
    names
}

// === taking queries apart ===

fn parse(query: &str) -> Query {
    let mut parsed = Query::default();
    let mut rest = query;
    let mut grouping = false;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '{' | '[' | '(' if first != '(' || grouping => {
                rest.find(closing(first)).map(|at| at + 1)
            }
            c if is_word(c) => rest.find(|c| !is_word(c)),
            c => Some(c.len_utf8()),
        };
        let (token, after) = rest.split_at(length.unwrap_or(rest.len()));
        match first {
            '{' => {
                let metric = parsed.words.last().cloned().unwrap_or_default();
                parsed.matched.extend(labels(token).into_iter().map(|l| (metric.clone(), l)));
            }
            '[' => parsed.ranges.push(token.trim_matches(['[', ']']).to_owned()),
            '(' => grouping = false,
            c if is_word(c) && !c.is_ascii_digit() => {
                grouping = matches!(token, "by" | "without" | "on" | "ignoring");
                parsed.words.push(token.to_owned());
            }
            _ => {}
        }
        rest = after;
    }
    parsed
}

fn closing(open: char) -> char {
    match open {
        '{' => '}',
        '[' => ']',
        _ => ')',
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '$' | '.')
}

/// The names of labels in a selector. Values hold no commas or quotes in these dashboards.
fn labels(selector: &str) -> Vec<String> {
    let matchers = selector.trim_matches(['{', '}']).split(',');
    let names = matchers.map(|m| m.split(['=', '!', '~']).next().unwrap_or_default().trim());
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Whether brackets of each kind close in the order in which they opened, and strings end.
fn is_balanced(query: &str) -> bool {
    let mut open = Vec::new();
    let mut quoted = false;
    for c in query.chars() {
        match c {
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' | '{' => open.push(closing(c)),
            ')' | ']' | '}' if open.pop() != Some(c) => return false,
            _ => {}
        }
    }
    open.is_empty() && !quoted
}

/// All values under `key`, at any depth.
fn everywhere<'a>(value: &'a Value, key: &str) -> Vec<&'a Value> {
    let inner: Vec<&Value> = match value {
        Value::Object(map) => map.values().collect(),
        Value::Array(values) => values.iter().collect(),
        _ => Vec::new(),
    };
    let deeper = inner.into_iter().flat_map(|value| everywhere(value, key));
    value.get(key).into_iter().chain(deeper).collect()
}

// === the tests ===

/// Guarantees that this file reads queries rightly, so that the other tests mean something.
#[test]
fn queries_are_taken_apart() {
    let got =
        parse(r#"sum by (le, x) (rate(a_b{c=~"$d", e!="f"}[$__rate_interval])) / 2 or vector(0)"#);
    assert_eq!(got.words, ["sum", "by", "rate", "a_b", "or", "vector"]);
    let matched = [("a_b", "c"), ("a_b", "e")].map(|(m, l)| (m.to_owned(), l.to_owned()));
    assert_eq!(
        (got.matched.as_slice(), got.ranges.as_slice()),
        (&matched[..], &["$__rate_interval".to_owned()][..])
    );
    assert!(is_balanced(r#"a{b="("}"#));
    assert!(!is_balanced("sum(a") && !is_balanced("(a]") && !is_balanced(r#"a{b="c}"#));
}

/// Guarantees what Grafana needs to import them side by side: the classic model and names of their
/// own.
#[test]
fn dashboards_can_be_imported() {
    let mut names = BTreeSet::new();
    for Dashboard { file, model } in dashboards() {
        assert!(model["schemaVersion"].as_u64().is_some_and(|version| version >= 39), "{file}");
        assert_eq!(model["graphTooltip"], 1, "{file}: one crosshair for all panels");
        assert!(model["id"].is_null(), "{file}: an id belongs to one Grafana");
        assert!(!text(&model, "description").is_empty(), "{file}");
        for key in ["uid", "title"] {
            assert!(names.insert(text(&model, key).to_owned()), "{file}: {key} is taken");
        }
    }
}

/// Guarantees panels within the grid that do not cover each other, each with an id of its own.
#[test]
fn panels_stand_apart() {
    for dashboard in dashboards() {
        let mut ids = BTreeSet::new();
        for panel in dashboard.panels() {
            assert!(
                ids.insert(panel["id"].as_u64()),
                "{}: id of {}",
                dashboard.file,
                panel["title"]
            );
        }
        for group in dashboard.groups() {
            let mut taken = BTreeSet::new();
            for panel in group {
                let at = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
                let what = format!("{}: {}", dashboard.file, panel["title"]);
                assert!(at("w") > 0 && at("h") > 0 && at("x") + at("w") <= 24, "{what}");
                for x in at("x")..at("x") + at("w") {
                    for y in at("y")..at("y") + at("h") {
                        assert!(taken.insert((x, y)), "{what} covers another");
                    }
                }
            }
        }
    }
}

/// Guarantees that a panel says what it shows, in which unit, and where red begins.
#[test]
fn panels_explain_themselves() {
    for dashboard in dashboards() {
        for panel in dashboard.shown() {
            let what = format!("{}: {}", dashboard.file, panel["title"]);
            assert!(text(panel, "description").ends_with('.'), "{what}: no description");
            assert!(!list(panel, "targets").is_empty(), "{what}: no query");
            let defaults = &panel["fieldConfig"]["defaults"];
            assert!(defaults["unit"].is_string(), "{what}: no unit");
            assert!(
                !list(&defaults["thresholds"], "steps").is_empty(),
                "{what}: Grafana would put 80"
            );
            let overrides = list(&panel["fieldConfig"], "overrides").iter();
            let properties = overrides.flat_map(|rule| list(rule, "properties"));
            let overridden = properties.filter(|p| p["id"] == "unit").map(|p| &p["value"]);
            for unit in everywhere(panel, "unit").into_iter().chain(overridden) {
                let known = unit.as_str().is_some_and(|unit| UNITS.contains(&unit));
                assert!(known, "{what}: unit {unit}");
            }
            let steps =
                everywhere(panel, "steps").into_iter().filter_map(Value::as_array).flatten();
            assert!(
                steps.into_iter().all(|step| step["value"] != 80),
                "{what}: leftover threshold"
            );
        }
    }
}

/// Guarantees that every query is well formed and asks for what the daemon exports.
#[test]
fn queries_name_what_is_exported() {
    let exported = exported_names();
    for dashboard in dashboards() {
        for query in dashboard.queries() {
            let what = format!("{}: {query}", dashboard.file);
            assert!(is_balanced(query), "{what}");
            let parsed = parse(query);
            let metrics = parsed.words.iter().filter(|word| !PROMQL_WORDS.contains(&word.as_str()));
            let metrics: Vec<_> = metrics.collect();
            assert!(!metrics.is_empty(), "{what}: asks for nothing");
            for metric in metrics {
                assert!(exported.contains_key(metric), "{what}: {metric} is not exported");
            }
            for (metric, label) in &parsed.matched {
                let known =
                    exported.get(metric).is_some_and(|labels| labels.contains(label.as_str()));
                assert!(known, "{what}: {metric} has no label {label}");
            }
            for range in parsed.ranges {
                assert_eq!(range, "$__rate_interval", "{what}");
            }
        }
    }
}

/// Guarantees that every variable in use is offered, kept fresh, and made of exported series; and
/// that every panel asks the chosen data source.
#[test]
fn variables_are_offered() {
    let exported = exported_names();
    for dashboard in dashboards() {
        let file = &dashboard.file;
        let mut offered = BTreeSet::new();
        for variable in dashboard.variables() {
            let _ = offered.insert(text(variable, "name"));
            let definition = text(variable, "definition");
            if let Some(arguments) = definition.strip_prefix("label_values(") {
                let words = parse(arguments.trim_end_matches(')')).words;
                let (metric, label) = (words.first(), words.last());
                let labels = metric.and_then(|metric| exported.get(metric));
                let known =
                    labels.zip(label).is_some_and(|(all, label)| all.contains(label.as_str()));
                assert!(known, "{file}: {definition}");
                assert_eq!(variable["refresh"], 2, "{file}: refresh when the time range changes");
            }
        }
        assert!(offered.contains("datasource"), "{file}");
        for query in dashboard.queries() {
            for used in query.split('$').skip(1) {
                let name = used.split(|c: char| !is_word(c)).next().unwrap_or_default();
                assert!(name.starts_with("__") || offered.contains(name), "{file}: ${name}");
            }
        }
        let sources = dashboard.shown().flat_map(|panel| everywhere(panel, "datasource"));
        for source in sources {
            assert_eq!(source["uid"], "${datasource}", "{file}");
        }
    }
}

/// Guarantees that Grafana can be given data source and dashboards by its provisioning.
#[test]
fn provisioning_is_complete() {
    let read = |path: &str| -> Value {
        let text = std::fs::read_to_string(folder().join("provisioning").join(path));
        serde_saphyr::from_str(&text.expect("a file")).expect("YAML")
    };
    let sources = read("datasources/radiosonde.yaml");
    let providers = read("dashboards/radiosonde.yaml");
    assert_eq!((&sources["apiVersion"], &providers["apiVersion"]), (&1.into(), &1.into()));
    let source = list(&sources, "datasources").first().expect("a data source");
    assert_eq!((text(source, "type"), text(source, "access")), ("prometheus", "proxy"));
    assert!(text(source, "url").starts_with("http://127.0.0.1:"));
    let provider = list(&providers, "providers").first().expect("a provider");
    assert_eq!(text(provider, "type"), "file");
    assert!(!text(&provider["options"], "path").is_empty());
}
