//! Guarantees about the Grafana dashboards, without a Grafana: they parse, their panels stand where
//! they should, and every query names metrics and labels that the running daemon exports.
#![expect(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at what it did not expect"
)]
#![expect(clippy::disallowed_methods, reason = "a client of the daemon has its own clock")]

#[path = "metrics/daemon.rs"]
mod daemon;
#[path = "metrics/dashboard.rs"]
mod dashboard;
#[path = "metrics/target.rs"]
mod target;
#[path = "metrics/text_format.rs"]
mod text_format;
#[path = "metrics/world.rs"]
mod world;

use daemon::{free_port, wait_until};
use dashboard::{
    Dashboard, PROMQL_WORDS, Placed, dashboards, everywhere, folder, is_balanced, is_word, list,
    parse, text,
};
use radiosonde::telemetry::catalog::CATALOG;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command};
use std::time::Duration;
use target::write;
use text_format::Family;
use world::World;

/// Units that the dashboards use, as Grafana names them.
const UNITS: &[&str] = &["short", "percentunit", "s", "dtdurations", "reqps", "bytes", "Bps"];

/// Metrics that need what no test brings up: a collector to export to, and a minute until the first
/// calibration.
const CONDITIONAL: [&str; 2] =
    ["radiosonde_export_requests_total", "radiosonde_calibration_error_seconds"];

// === the tests ===

/// Guarantees that this file reads queries rightly, so that the other tests mean something.
#[test]
fn queries_are_taken_apart() {
    let got =
        parse(r#"sum by (le, x) (rate(a_b{c=~"$d", e!="f"}[$__rate_interval])) / 2 or vector(0)"#);
    assert_eq!(got.words, ["sum", "by", "rate", "a_b", "or", "vector"]);
    assert_eq!(got.grouped, ["le", "x"]);
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
        assert!(
            list(&model, "tags").contains(&"radiosonde".into()),
            "{file}: tags find the others"
        );
        let link = list(&model, "links").first().expect("a link to the others");
        assert_eq!((&link["tags"][0], &link["keepTime"]), (&"radiosonde".into(), &true.into()));
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
            let precise = text(panel, "type") != "stat" || defaults["unit"] != "percentunit";
            assert!(precise || defaults["decimals"].is_u64(), "{what}: how many decimals?");
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

/// Guarantees that every query is well formed, and that queries, legends and variables ask for metrics
/// and labels that the real daemon shows when everything that it can measure happens.
#[tokio::test(flavor = "multi_thread")]
async fn queries_name_what_is_exported() {
    let dashboards = dashboards();
    let metrics = |query: &str| {
        let words = parse(query).words.into_iter();
        words.filter(|word| !PROMQL_WORDS.contains(&word.as_str())).collect::<BTreeSet<_>>()
    };
    let queries: Vec<_> = dashboards.iter().flat_map(Dashboard::queries).collect();
    let variables: Vec<_> = dashboards.iter().flat_map(asked_by_variables).collect();
    let mut wanted: BTreeSet<String> = queries.iter().flat_map(|q| metrics(q.query)).collect();
    wanted.extend(variables.iter().map(|(_, metric, _)| metric.clone()));
    wanted.retain(|name| !CONDITIONAL.contains(&name.as_str()));
    let mut world = World::start().await;
    let mut exported = scraped_names(&mut world, wanted).await;
    let conditional = CATALOG.iter().filter(|(name, _, _)| CONDITIONAL.contains(name));
    for (name, _, labels) in conditional {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        let known = exported.insert((*name).to_owned(), labels);
        assert_eq!(known, None, "{name} is shown after all");
    }
    // Prometheus adds these to all that it scrapes.
    exported.values_mut().for_each(|labels| labels.extend(["job", "instance"].map(str::to_owned)));
    let has = |metric: &str, label: &str| exported.get(metric).is_some_and(|l| l.contains(label));
    for Placed { place, query, legend } in &queries {
        let what = format!("{place}: {query}");
        assert!(is_balanced(query), "{what}");
        let (parsed, metrics) = (parse(query), metrics(query));
        assert!(!metrics.is_empty(), "{what}: asks for nothing");
        for metric in &metrics {
            assert!(exported.contains_key(metric), "{what}: {metric} is not exported");
        }
        for (metric, label) in &parsed.matched {
            assert!(has(metric, label), "{what}: {metric} has no label {label}");
        }
        for label in &parsed.grouped {
            assert!(metrics.iter().any(|m| has(m, label)), "{what}: nothing has a label {label}");
        }
        let named = legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
        for label in named {
            assert!(parsed.grouped.iter().any(|l| l == label), "{what}: the legend's {label}");
        }
        for range in parsed.ranges {
            assert_eq!(range, "$__rate_interval", "{what}");
        }
    }
    for (definition, metric, label) in variables {
        assert!(has(&metric, &label), "{definition}");
    }
}

/// Names of series with the names of their labels, as scraped while phones report until every one that
/// is wanted is there. Gives up after a minute, with those that are missing.
async fn scraped_names(
    world: &mut World,
    mut wanted: BTreeSet<String>,
) -> BTreeMap<String, BTreeSet<String>> {
    for _ in 0..600 {
        world.report().await;
        let names = series_names(&world.scrape().await);
        wanted.retain(|name| !names.contains_key(name));
        if wanted.is_empty() {
            return names;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not on the page: {wanted:?}");
}

fn series_names(families: &[Family]) -> BTreeMap<String, BTreeSet<String>> {
    let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for sample in families.iter().flat_map(|family| &family.samples) {
        names.entry(sample.name.clone()).or_default().extend(sample.labels.keys().cloned());
    }
    names
}

/// The definition of every variable that asks for labels, with its metric and label.
fn asked_by_variables(dashboard: &Dashboard) -> Vec<(String, String, String)> {
    let definitions = dashboard.variables().iter().map(|variable| text(variable, "definition"));
    let asked = definitions.filter_map(|definition| {
        let arguments = definition.strip_prefix("label_values(")?.trim_end_matches(')');
        let words = parse(arguments).words;
        let (metric, label) = (words.first()?.clone(), words.last()?.clone());
        Some((format!("{}: {definition}", dashboard.file), metric, label))
    });
    asked.collect()
}

/// Guarantees that every variable in use is offered and kept fresh, and that every panel asks the chosen
/// data source.
#[test]
fn variables_are_offered() {
    for dashboard in dashboards() {
        let file = &dashboard.file;
        let mut offered = BTreeSet::new();
        for variable in dashboard.variables() {
            let _ = offered.insert(text(variable, "name"));
            if text(variable, "type") == "query" {
                assert!(!asked_by_variables(&dashboard).is_empty(), "{file}");
                assert_eq!(variable["refresh"], 2, "{file}: refresh when the time range changes");
            }
        }
        assert!(offered.contains("datasource"), "{file}");
        for Placed { place, query, .. } in dashboard.queries() {
            for used in query.split('$').skip(1) {
                let name = used.split(|c: char| !is_word(c)).next().unwrap_or_default();
                assert!(name.starts_with("__") || offered.contains(name), "{place}: ${name}");
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

/// Guarantees that a real Prometheus scrapes the real daemon, understands every query of every
/// dashboard, and has an answer to each.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs prometheus"]
async fn prometheus_answers_every_query() {
    let mut world = World::start().await;
    let prometheus = Prometheus::start(&world.daemon.page).await;
    let dashboards = dashboards();
    let mut open: Vec<_> = dashboards.iter().flat_map(Dashboard::queries).collect();
    open.retain(|placed| !CONDITIONAL.iter().any(|name| placed.query.contains(name)));
    for _ in 0..120 {
        world.report().await;
        let mut unanswered = Vec::new();
        for placed in open {
            if prometheus.series(&placed).await == 0 {
                unanswered.push(placed);
            }
        }
        open = unanswered;
        if open.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let open: Vec<_> = open.iter().map(|placed| (&placed.place, placed.query)).collect();
    panic!("no data within two minutes: {open:#?}");
}

/// A Prometheus that scrapes one daemon every second, until it is dropped.
struct Prometheus {
    child: Child,
    url: String,
    _dir: tempfile::TempDir,
}

impl Prometheus {
    async fn start(page: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let target = page.trim_start_matches("http://");
        let config = format!(
            "global: {{ scrape_interval: 1s }}\nscrape_configs: [ {{ job_name: radiosonde, \
             static_configs: [ {{ targets: [ \"{target}\" ] }} ] }} ]\n"
        );
        write(dir.path(), "prometheus.yml", &config);
        let address = format!("127.0.0.1:{}", free_port());
        let child = Command::new("prometheus")
            .current_dir(dir.path())
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=warn"])
            .arg(format!("--web.listen-address={address}"))
            .spawn()
            .expect("prometheus, of the Debian package of that name");
        let prometheus = Self { child, url: format!("http://{address}"), _dir: dir };
        let ready = format!("{}/-/ready", prometheus.url);
        wait_until("prometheus is ready", async || {
            reqwest::get(&ready).await.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        prometheus
    }

    /// How many series answer a query now. All values of each variable are chosen.
    async fn series(&self, placed: &Placed<'_>) -> usize {
        let mut query = placed.query.replace("$__rate_interval", "30s");
        while let Some(at) = query.find('$') {
            let (_, name) = query.split_at(at + 1);
            let end = name.find(|c| !is_word(c)).unwrap_or(name.len());
            query.replace_range(at..=at + end, ".*");
        }
        let url = format!("{}/api/v1/query", self.url);
        let url = url::Url::parse_with_params(&url, [("query", &query)]).expect("a URL");
        let answer = reqwest::get(url).await.expect("an answer");
        let answer: Value = answer.json().await.expect("JSON");
        assert_eq!(answer["status"], "success", "{}: {query}: {answer}", placed.place);
        answer["data"]["result"].as_array().expect("a vector").len()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
