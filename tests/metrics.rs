//! Guarantees about `/metrics`: strictly in the text format whatever phones call their metrics, no
//! count ever below what it was, bounded, and exact at the thresholds of SLOs where it says so.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at what it did not expect"
)]
#![expect(clippy::disallowed_methods, reason = "a client of the daemon has its own clock")]

#[path = "metrics/daemon.rs"]
mod daemon;
#[path = "metrics/target.rs"]
mod target;
#[path = "metrics/text_format.rs"]
mod text_format;
#[path = "metrics/world.rs"]
mod world;

use daemon::wait_until;
use parking_lot::RwLock;
use proptest::prelude::*;
use radiosonde::aggregate::{PhoneSettings, Rules, names, probes};
use radiosonde::alert::{Core, Policy, SharedCore};
use radiosonde::api::metrics::{self, series::MAX_SAMPLES, shown::Shown};
use radiosonde::base::clock::UnixNanos;
use radiosonde::model::histogram::{ExpHistogram, ExplicitHistogram};
use radiosonde::model::labels::Labels;
use radiosonde::model::matcher::Where;
use radiosonde::model::objective::{Indicator, Slo, Source};
use radiosonde::model::probe::{Outcome, Phase, PhaseTiming, ProbeRun, StepResult};
use radiosonde::model::series::{SeriesKey, SlotValue};
use radiosonde::model::slot::Slot;
use radiosonde::telemetry::Telemetry;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use text_format::{Family, parse};
use world::World;

const NOW: UnixNanos = UnixNanos(1_790_000_000_000_000_000);

/// A folded state and those who look at it.
struct Bench {
    core: SharedCore,
    telemetry: Telemetry,
    shown: Shown,
}

impl Bench {
    fn new() -> Self {
        let core = Arc::new(RwLock::new(Core::default()));
        Self { core, telemetry: Telemetry::new(), shown: Shown::default() }
    }

    fn configure(&self, slos: Vec<Slo>) {
        let slos: Vec<Arc<Slo>> = slos.into_iter().map(Arc::new).collect();
        let rules = Rules::new(&slos, PhoneSettings::default());
        let policy = Policy { slos, ..Policy::default() };
        self.core.write().configure(Arc::new(policy), Arc::new(rules), NOW);
    }

    fn add(&self, name: &str, labels: &[(&str, &str)], value: &SlotValue) {
        let key = SeriesKey { name: name.into(), labels: Labels::new(labels.iter().copied()) };
        let head = &mut self.core.write().store.head;
        head.add(key.id(), || key.clone(), Slot::of(NOW), value);
    }

    fn run(&self, probe: &str, latency_ns: u64) {
        let phases = [Phase::Connect, Phase::Wait].map(|phase| PhaseTiming {
            phase,
            offset_ns: 0,
            duration_ns: latency_ns / 2,
        });
        let run = ProbeRun {
            probe: probe.to_owned(),
            intended_start: NOW,
            duration_ns: latency_ns,
            latency_ns: Some(latency_ns),
            outcome: Outcome::Success,
            steps: vec![StepResult { phases: phases.into(), ..StepResult::default() }],
            ..ProbeRun::default()
        };
        let core = &mut *self.core.write();
        let rules = Arc::clone(&core.rules);
        drop(probes::fold(&mut core.store, &rules, run));
    }

    fn text(&mut self) -> String {
        metrics::text(&self.core, &self.telemetry, &mut self.shown, NOW).unwrap()
    }

    fn scrape(&mut self) -> Vec<Family> {
        let text = self.text();
        parse(&text).unwrap_or_else(|what| panic!("{what}\n{text}"))
    }
}

async fn wait_for_alert(world: &World) {
    let daemon = &world.daemon;
    wait_until("an alert fires", async || daemon.metrics().await.contains("\nALERTS{")).await;
}

fn latency(probe: &str, under: Duration) -> Slo {
    Slo {
        name: format!("{probe}-{under:?}"),
        owner: None,
        description: None,
        runbook: None,
        objective: 0.99,
        window: Duration::from_secs(3_600),
        indicator: Indicator::Latency {
            source: Source::Probe(probe.to_owned()),
            filter: Where::default(),
            under_ns: under.as_nanos() as u64,
            phase: None,
        },
        burn: Vec::new(),
        absent_after: Duration::from_secs(300),
        labels: Labels::default(),
    }
}

fn find<'a>(families: &'a [Family], name: &str) -> &'a Family {
    families.iter().find(|family| family.name == name).unwrap_or_else(|| panic!("no {name}"))
}

/// Buckets of the measured value of each probe, by probe and bound.
fn buckets(families: &[Family]) -> BTreeMap<(String, String), f64> {
    let samples = families.iter().flat_map(|family| &family.samples);
    let of_total = samples.filter(|sample| {
        sample.name == "radiosonde_probe_duration_seconds_bucket"
            && sample.labels["phase"] == "total"
    });
    of_total.map(|s| ((s.labels["probe"].clone(), s.labels["le"].clone()), s.value)).collect()
}

// === the tests ===

/// Guarantees that the reader is strict, so that the other tests mean something.
#[test]
fn the_reader_refuses_what_is_wrong() {
    let head = "# HELP a_total It.\n# TYPE a_total counter\n";
    let histogram = "# HELP h It.\n# TYPE h histogram\n";
    let good = format!("{head}a_total{{b=\"\\\"\\n\\\\\"}} 1\na_total 2.5e-7\n");
    assert_eq!(parse(&good).unwrap()[0].samples[0].labels["b"], "\"\n\\");
    let whole = format!(
        "{histogram}h_bucket{{le=\"1\"}} 1\nh_bucket{{le=\"+Inf\"}} 2\nh_sum 3\nh_count 2\n"
    );
    assert_eq!(parse(&whole).unwrap()[0].samples.len(), 4);
    for wrong in [
        "a_total 1\n".to_owned(),
        format!("{head}a_total 1"),
        format!("{head}a_total 1\na_total 1\n"),
        format!("{head}a_total -1\n"),
        format!("{head}a_total 1 1790000000\n"),
        format!("{head}b_total 1\n"),
        format!("{head}a_total{{b=\"\\t\"}} 1\n"),
        format!("{head}a_total{{b=\"1\",b=\"2\"}} 1\n"),
        format!("{head}a_total{{__b=\"1\"}} 1\n"),
        format!("{head}a_total{{b=\"1\",}} 1\n"),
        format!("{head}a_total inf\n"),
        format!("{head}a_total 1\n{head}a_total 1\n"),
        "# HELP a It.\n# TYPE a counter\na 1\n".to_owned(),
        "# HELP a \n# TYPE a gauge\na 1\n".to_owned(),
        head.to_owned(),
        whole.replace("h_count 2", "h_count 3"),
        whole.replace("} 1\n", "} 3\n"),
        whole.replace("h_sum 3\n", ""),
        whole.replace("le=\"1\"", "le=\"a\""),
    ] {
        assert!(parse(&wrong).is_err(), "{wrong}");
    }
}

/// Guarantees a page in the strict format whatever phones call metrics and labels, and that nobody
/// can shadow the daemon's own metrics.
#[test]
fn hostile_names_do_no_harm() {
    let mut bench = Bench::new();
    let counter = SlotValue::Counter(2_000_000_000);
    let app = ("service.name", "evil\"\\\n{}é");
    bench.add("taps", &[app, ("os.name", "iOS"), ("os_name", "x")], &counter);
    bench.add("taps", &[app, ("__name__", "up"), ("le", "0.1"), ("5g", "1")], &counter);
    bench.add("näme with spaces:and/more", &[app], &SlotValue::Gauge(f64::NAN));
    // Two names that become one, of the same and of another kind.
    bench.add("a.b", &[app], &SlotValue::Gauge(1.0));
    bench.add("a_b", &[app], &SlotValue::Gauge(2.0));
    bench.add("a-b", &[("service.name", "other")], &SlotValue::Histogram(ExpHistogram::default()));
    // The parts of a histogram.
    let explicit = ExplicitHistogram { bounds: vec![1.0, 2.0], counts: vec![1, 0, 4], sum: 9 };
    bench.add("start", &[app, ("le", "x")], &SlotValue::Explicit(explicit));
    bench.add("start.count", &[app], &SlotValue::Gauge(1.0));
    // Names of ours.
    for name in [
        "up",
        "ALERTS",
        "radiosonde.slo.burn_rate",
        "radiosonde.probe.runs",
        "radiosonde.ingest.items",
        "traces.span.metrics.duration.count",
        "process.open_fds",
        "process_cpu_seconds",
        "radiosonde.anything.new",
        "",
    ] {
        bench.add(name, &[app], &SlotValue::Gauge(99.0));
        bench.add(name, &[app, ("os.name", "x")], &counter);
    }
    // A histogram whose sender counted fewer values than its buckets hold.
    let mut lying = ExpHistogram::with_totals(1, 0, 1);
    lying.bump(4, 7);
    bench.add("lying", &[app], &SlotValue::Histogram(lying));

    let families = bench.scrape();
    let taps = &find(&families, "taps_total").samples;
    assert_eq!(taps[0].labels["service_name"], "evil\"\\\n{}é");
    assert!(taps.iter().any(|sample| sample.labels.get("os_name").is_some_and(|v| v == "iOS;x")));
    let merged = find(&families, "a_b");
    let apps: BTreeSet<_> =
        merged.samples.iter().map(|s| s.labels["service_name"].as_str()).collect();
    assert_eq!((merged.kind.as_str(), apps), ("histogram", BTreeSet::from(["other"])));
    assert_eq!(find(&families, "n_me_with_spaces_and_more").samples.len(), 1);
    let samples = || families.iter().flat_map(|family| &family.samples);
    let foreign = samples().filter(|s| s.labels.contains_key("service_name"));
    let names: BTreeSet<_> = foreign.map(|sample| sample.name.as_str()).collect();
    assert!(
        names.iter().all(|name| !name.starts_with("radiosonde_") && *name != "up"),
        "{names:?}"
    );
    assert!(samples().filter(|s| s.name == "process_open_fds").all(|s| s.labels.is_empty()));
    let omitted = &find(&families, "radiosonde_metrics_omitted_series").samples;
    let taken = omitted.iter().find(|sample| sample.labels["reason"] == "name_taken").unwrap();
    assert_eq!(taken.value, 18.0);
}

/// Guarantees that the count at an SLO's threshold is exact, where SLO and probe began together.
#[test]
fn a_threshold_is_exact_from_the_start() {
    let mut bench = Bench::new();
    bench.configure(vec![latency("chat", Duration::from_millis(100))]);
    let ms = |ms: f64| (ms * 1e6) as u64;
    for value in [1.0, 97.0, 99.9, 100.0, 100.000_001, 104.0, 900.0] {
        bench.run("chat", ms(value));
    }
    let shown = buckets(&bench.scrape());
    let at = |le: &str| shown[&("chat".to_owned(), le.to_owned())];
    assert_eq!((at("0.0625"), at("0.1"), at("0.125"), at("+Inf")), (1.0, 4.0, 6.0, 7.0));
}

#[derive(Clone, Debug)]
enum Step {
    Run(usize, u64),
    Reload(Vec<(usize, usize)>),
    Scrape,
}

fn step() -> impl Strategy<Value = Step> {
    let slo = (0_usize..2, 0_usize..4);
    prop_oneof![
        8 => (0_usize..2, 90_000_000_u64..115_000_000).prop_map(|(p, ns)| Step::Run(p, ns)),
        1 => prop::collection::vec(slo, 0..5).prop_map(Step::Reload),
        3 => Just(Step::Scrape),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Guarantees that no bucket ever shows less than before while it is there, whichever SLOs come and
    /// go; that buckets rise with their bounds; and that each is right within one bucket of ours.
    #[test]
    fn buckets_never_fall(steps in prop::collection::vec(step(), 1..120)) {
        const PROBES: [&str; 2] = ["a", "b"];
        // The last two lie in one bucket of ours; none is a power of two.
        let thresholds = [95_u64, 100, 101, 102].map(Duration::from_millis);
        let mut bench = Bench::new();
        let mut values: [Vec<u64>; 2] = Default::default();
        let mut before = BTreeMap::new();
        for step in steps {
            match step {
                Step::Run(probe, ns) => {
                    values[probe].push(ns);
                    bench.run(PROBES[probe], ns);
                    continue;
                }
                Step::Reload(slos) => {
                    let slos: BTreeSet<_> = slos.into_iter().collect();
                    let slo = |(probe, under): (usize, usize)| latency(PROBES[probe], thresholds[under]);
                    bench.configure(slos.into_iter().map(slo).collect());
                    continue;
                }
                Step::Scrape => {}
            }
            // The strict reader checks the rest.
            let shown = buckets(&bench.scrape());
            for (place, count) in &shown {
                prop_assert!(before.get(place).is_none_or(|before| before <= count), "{place:?}");
                let (probe, le) = place;
                let Ok(le) = le.parse::<f64>() else { continue };
                let values = &values[usize::from(probe == "b")];
                let up_to = |limit: f64| values.iter().filter(|ns| **ns as f64 / 1e9 <= limit).count() as f64;
                prop_assert!((up_to(le / 1.0906)..=up_to(le * 1.0906)).contains(count), "{place:?} {count}");
            }
            before = shown;
        }
    }
}

/// Guarantees that a page is bounded in size: fifty probes and a thousand series of phones fit easily,
/// and a hundred times as many are cut, not sent.
#[test]
fn a_page_is_bounded() {
    let fill = |series: usize| {
        let mut bench = Bench::new();
        bench.configure(vec![latency("probe-1", Duration::from_millis(100))]);
        for probe in 0..50 {
            for run in 1..20 {
                bench.run(&format!("probe-{probe}"), run * 7_000_000);
            }
        }
        let mut durations = ExpHistogram::default();
        (0..400).for_each(|at| durations.record(1_000_000 + at * at * 9_000));
        for number in 0..series {
            let (version, route) =
                (format!("4.{}.0", number % 10), format!("/rooms/{{id}}/{number}"));
            let labels = [
                ("service.name", "chat-app"),
                ("span.name", "POST"),
                ("http.route", &route),
                ("http.request.method", "POST"),
                ("http.response.status_code", "202"),
                ("network.connection.type", "cell"),
                ("os.name", "Android"),
                ("region", "eu-west"),
                ("service.version", &version),
                ("status.code", "STATUS_CODE_UNSET"),
            ];
            bench.add(names::SPAN_DURATION, &labels, &SlotValue::Histogram(durations.clone()));
            bench.add(names::SPAN_CALLS, &labels, &SlotValue::Counter(400_000_000_000));
        }
        let began = std::time::Instant::now();
        let text = bench.text();
        let took = began.elapsed();
        println!(
            "{series} series of phones: {} lines, {} bytes, {took:?}",
            text.lines().count(),
            text.len()
        );
        let families = parse(&text).unwrap();
        let omitted = &find(&families, "radiosonde_metrics_omitted_series").samples;
        let omitted: f64 = omitted.iter().map(|sample| sample.value).sum();
        (text.lines().count(), text.len(), omitted)
    };
    let (lines, bytes, omitted) = fill(1_000);
    assert!(lines < 40_000 && bytes < 10_000_000, "{lines} lines, {bytes} bytes");
    assert_eq!(omitted, 0.0);
    let (lines, _, omitted) = fill(12_000);
    assert!(lines < MAX_SAMPLES + 10_000, "{lines} lines");
    assert!(omitted > 1_000.0, "{omitted}");
}

/// Guarantees that the real daemon's page is strictly in the format, with base units and conforming
/// names, while everything that it can measure happens.
#[tokio::test(flavor = "multi_thread")]
async fn the_daemons_page_is_strict() {
    let mut world = World::start().await;
    world.report().await;
    wait_for_alert(&world).await;
    let families = world.scrape().await;
    for family in &families {
        let Family { name, kind, .. } = family;
        let abbreviated = ["_ms", "_millis", "_milliseconds", "_minutes", "_kb", "_mb", "_percent"];
        assert!(abbreviated.iter().all(|unit| !name.contains(unit)), "{name}: no base unit");
        assert!(kind == "counter" || !name.ends_with("_total"), "{name} is a {kind}");
        let ours = name.starts_with("radiosonde_") || name.starts_with("process_");
        let known = name == "ALERTS"
            || name.starts_with("traces_span_metrics_")
            || name.starts_with("blackbox_");
        let phones = ["app_startup", "frame_time", "jvm_memory_used", "taps_total"];
        assert!(
            ours || known || phones.contains(&name.as_str()),
            "{name}: where does it come from?"
        );
    }
    let again = world.scrape().await;
    for family in families.iter().filter(|family| family.kind != "gauge") {
        let later = find(&again, &family.name);
        for sample in &family.samples {
            let same =
                later.samples.iter().find(|s| s.name == sample.name && s.labels == sample.labels);
            let value = same.unwrap_or_else(|| panic!("{sample:?} is gone")).value;
            assert!(
                value >= sample.value || sample.name.ends_with("_sum"),
                "{sample:?} fell to {value}"
            );
        }
    }
}

/// Guarantees that Prometheus' own linter has nothing to say about the real daemon's page.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs promtool"]
async fn promtool_accepts_the_page() {
    let mut world = World::start().await;
    world.report().await;
    wait_for_alert(&world).await;
    let text = world.daemon.metrics().await;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool, of the Debian package `prometheus`");
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}
