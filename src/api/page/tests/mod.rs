//! The pages as documents: what they say, that they are well-formed, small, safe and accessible.

mod contrast;
mod document;
mod run;

use self::document::{tags, text};
use super::*;
use crate::base::clock::UnixNanos;
use crate::model::alert::AlertState;
use crate::model::labels::Labels;
use std::collections::BTreeSet;

/// Every page, full and empty, with a name for messages.
fn pages() -> Vec<(&'static str, String)> {
    let mut frozen = sample::incident_view();
    frozen.incident.state = AlertState::Frozen;
    frozen.is_slo = false;
    frozen.timeline.clear();
    frozen.deliveries.clear();
    let mut starting = sample::big();
    starting.readiness = view::Readiness::Replaying { done: 0.3 };
    starting.freshness.degraded = Some("the control lane cannot be written".to_owned());
    starting.config_problem = Some(view::ConfigProblem {
        since: sample::NOW,
        problems: vec![
            "alerts/a.yaml:3:7: unknown key `objectiv`, did you mean `objective`?"
                .to_owned();
            9
        ],
    });
    vec![
        ("home", render_home(&sample::big())),
        ("home-empty", render_home(&empty())),
        ("home-default", render_home(&view::PageView::default())),
        ("home-starting", render_home(&starting)),
        ("home-quiet", render_home(&quiet())),
        ("probe", render_probe(&sample::probe_page())),
        ("probe-empty", render_probe(&view::ProbePage::default())),
        ("run", render_run(&sample::run_view(false))),
        ("run-failed", render_run(&sample::run_view(true))),
        ("run-resilience", render_run(&sample::resilience_view())),
        ("run-missed", render_run(&sample::missed_view())),
        ("run-empty", render_run(&view::RunView::default())),
        ("slo", render_slo(&sample::slo_page())),
        ("slo-empty", render_slo(&view::SloPage::default())),
        ("incident", render_incident(&sample::incident_view())),
        ("incident-frozen", render_incident(&frozen)),
        ("changes", render_changes(&changes())),
        ("changes-empty", render_changes(&view::ChangesPage::default())),
        ("not-found", render_not_found(sample::NOW, "0.1.0", "run 4bf9")),
    ]
}

fn empty() -> view::PageView {
    view::PageView {
        now: sample::NOW,
        version: "0.1.0".to_owned(),
        endpoints: sample::endpoints(),
        ..view::PageView::default()
    }
}

fn quiet() -> view::PageView {
    let mut view = sample::big();
    view.firing.clear();
    view.budgets.retain(|budget| budget.verdict == view::BudgetVerdict::Healthy);
    view
}

fn changes() -> view::ChangesPage {
    view::ChangesPage { now: sample::NOW, version: "0.1.0".to_owned(), changes: sample::changes() }
}

/// Guarantees that every document is balanced, so that no drawing swallows what follows it.
#[test]
fn documents_are_well_formed() {
    const VOID: [&str; 2] = ["meta", "link"];
    for (page, html) in pages() {
        let mut open: Vec<String> = Vec::new();
        for tag in tags(&html) {
            if VOID.contains(&tag.name.as_str()) {
                continue;
            }
            if tag.closes {
                assert_eq!(open.pop().as_deref(), Some(tag.name.as_str()), "{page}");
            } else {
                open.push(tag.name);
            }
        }
        assert!(open.is_empty(), "{page}: {open:?}");
    }
}

/// Guarantees that a strict content security policy blocks nothing: no inline style, script or
/// handler, and nothing from another host but links to runbooks.
#[test]
fn nothing_is_inline_and_nothing_comes_from_elsewhere() {
    for (page, html) in pages() {
        for tag in tags(&html) {
            assert_ne!(tag.name, "style", "{page}");
            for (key, value) in &tag.attributes {
                assert!(key != "style" && !key.starts_with("on"), "{page}: {tag:?}");
                let outside = value.contains("//") && ["href", "src"].contains(&key.as_str());
                let runbook = tag.get("class") == Some("runbook");
                let icon = tag.get("rel") == Some("icon");
                assert!(!outside || runbook || icon, "{page}: {tag:?}");
                if key == "href" && !runbook && !icon {
                    assert!(value.starts_with(['/', '#']), "{page}: {tag:?}");
                }
            }
        }
        assert_eq!(
            html.matches("<script").count(),
            html.matches("<script src=\"/page/script.js\"").count()
        );
    }
    for banned in ["http:", "https:", "@import", "url("] {
        assert!(!STYLE.contains(banned), "{banned}");
    }
    for banned in ["http:", "https:", "innerHTML", "eval"] {
        assert!(!SCRIPT.contains(banned), "{banned}");
    }
}

/// Guarantees headings in order, landmarks, unique ids, links within a page that arrive, charts
/// with words, and tables with captions and scopes.
#[test]
fn documents_are_accessible() {
    for (page, html) in pages() {
        let tags = tags(&html);
        let open = |name: &str| tags.iter().filter(|tag| !tag.closes && tag.name == name).count();
        let mut level = 0;
        for tag in tags.iter().filter(|tag| !tag.closes) {
            if let Some(found) = ["h1", "h2", "h3"].iter().position(|name| *name == tag.name) {
                assert!(
                    found < level + 1 || found == level,
                    "{page}: h{} after h{level}",
                    found + 1
                );
                level = found + 1;
            }
        }
        for (name, count) in [("h1", 1), ("main", 1), ("header", 1), ("footer", 1)] {
            assert_eq!(open(name), count, "{page}: {name}");
        }
        assert_eq!(open("table"), open("caption"), "{page}");
        let ids: Vec<&str> = tags.iter().filter_map(|tag| tag.get("id")).collect();
        let unique: BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(ids.len(), unique.len(), "{page}: {ids:?}");
        for (at, tag) in tags.iter().enumerate() {
            if let Some(target) = tag.get("href").and_then(|href| href.strip_prefix('#')) {
                assert!(unique.contains(target), "{page}: #{target}");
            }
            if let Some(target) = tag.get("aria-labelledby") {
                assert!(unique.contains(target), "{page}: {target}");
            }
            if tag.name == "th" && !tag.closes {
                assert!(tag.get("scope").is_some(), "{page}: {tag:?}");
            }
            if tag.name == "svg" && !tag.closes {
                let titled = tags.get(at + 1).is_some_and(|next| next.name == "title");
                let named = titled || tag.get("class") == Some("spent");
                let spoken = tag.get("role") == Some("img") && named;
                assert!(spoken || tag.get("aria-hidden") == Some("true"), "{page}: {tag:?}");
            }
        }
    }
}

/// Guarantees the promise on size: the home page with twelve SLOs and twelve probes, its style and
/// its script stay below 100 KiB together, before any compression.
#[test]
fn the_home_page_is_small() {
    let view = sample::big();
    assert_eq!((view.budgets.len(), view.probes.len()), (12, 12));
    let size = render_home(&view).len() + STYLE.len() + SCRIPT.len();
    assert!(size < 100 * 1_024, "{size} bytes");
}

/// Guarantees that the home page answers in the promised order, with figures and their evidence.
#[test]
fn the_home_page_answers_in_order() {
    let html = render_home(&sample::big());
    let facts = [
        "Paging: send-message-on-phones",
        "Hits app 4.2.0 on cellular; since 02:14 UTC, 40 min.",
        "id=\"firing\"",
        "burns 18x since 02:14",
        "93% of bad, 6% of traffic",
        "href=\"/slos/send-message-on-phones#burn\">18×",
        "href=\"/slos/send-message-on-phones#budget\">41%",
        "9h 21m",
        "href=\"https://wiki.example.com/runbooks/send-message\"",
        "Runbook: see the red folder",
        "id=\"budgets\"",
        "99.4%",
        "of 99% in 30d",
        "id=\"probes\"",
        "href=\"/runs/",
        "lost: no event with type=tick",
        "href=\"/api/calibration\"><b>0.17 ms at p50",
        "id=\"phones\"",
        "app by network",
        "id=\"changes\"",
        "chat-android 4.2.0 seen for the first time",
    ];
    let mut rest = html.as_str();
    for fact in facts {
        let at = rest.find(fact);
        assert!(at.is_some(), "{fact} is missing or out of order");
        rest = rest.split_at(at.unwrap_or_default()).1;
    }
    for state in
        ["Acknowledged</b> by ann", "Silenced</b> by bob", "Frozen</b>", "−32%", "Not reached"]
    {
        assert!(html.contains(state), "{state}");
    }
}

/// Guarantees that emptiness teaches: how to write an SLO and a probe, where phones send to.
#[test]
fn emptiness_teaches() {
    let html = render_home(&empty());
    let words = text(&html);
    for part in [
        "No objective yet",
        "Nothing is firing.",
        "objective: 99.9%",
        "every: 10s",
        "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318",
    ] {
        assert!(words.contains(part), "{part}");
    }
    let mut with_probe = empty();
    with_probe.probes = vec![sample::probe(3)];
    assert!(text(&render_home(&with_probe)).contains("latency: { probe: presence, under: 100ms }"));
}

/// Guarantees that the first paint needs no script, and that without one the page stays fresh.
#[test]
fn works_without_a_script() {
    let html = render_home(&sample::big());
    assert!(html.contains("<noscript><meta http-equiv=\"refresh\" content=\"30\"></noscript>"));
    assert!(html.contains("<script src=\"/page/script.js\" defer></script>"));
    assert!(!render_run(&sample::run_view(false)).contains("<script"), "a run does not change");
}

/// Guarantees that no name, message or address that others chose becomes markup or a script.
#[test]
fn hostile_words_stay_words() {
    const EVIL: &str = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'&{{";
    let evil = || EVIL.to_owned();
    let mut home = sample::big();
    for alert in &mut home.firing {
        (alert.name, alert.incident, alert.summary) = (evil(), evil(), evil());
        (alert.owner, alert.affected) = (Some(evil()), Some(evil()));
        alert.runbook = Some("javascript:alert(1)".to_owned());
        alert.told = vec![evil()];
        for factor in &mut alert.explanation {
            factor.values = vec![(evil(), evil())];
        }
    }
    for budget in &mut home.budgets {
        (budget.name, budget.indicator, budget.owner) = (evil(), evil(), Some(evil()));
    }
    for probe in &mut home.probes {
        (probe.name, probe.target, probe.protocol) = (evil(), evil(), evil());
        probe.labels = Labels::new([(EVIL, EVIL)]);
        for step in probe.last.iter_mut().flat_map(|run| &mut run.steps) {
            step.name = evil();
        }
    }
    for change in &mut home.changes {
        (change.text, change.link) = (evil(), Some("//evil.example".to_owned()));
    }
    let phones = home.phones.get_or_insert_default();
    for slo in &mut phones.slos {
        slo.name = evil();
        for matrix in &mut slo.matrices {
            (matrix.row_dimension, matrix.columns) = (evil(), vec![evil(); 4]);
        }
    }
    let mut incident = sample::incident_view();
    incident.incident.labels = Labels::new([(EVIL, EVIL)]);
    incident.name = evil();
    let mut run = sample::run_view(true);
    run.run.probe = evil();
    for (page, html) in [
        ("home", render_home(&home)),
        ("incident", render_incident(&incident)),
        ("run", render_run(&run)),
        ("not found", render_not_found(sample::NOW, EVIL, EVIL)),
    ] {
        assert!(!html.contains("<script>") && !html.contains("<img"), "{page}");
        assert!(!html.contains("href=\"javascript:") && !html.contains("href=\"//"), "{page}");
        assert!(tags(&html).iter().all(|tag| tag.get("onerror").is_none()), "{page}");
    }
}

/// Guarantees that extreme values make a page, not a panic.
#[test]
fn extremes_are_rendered() {
    let mut home = sample::big();
    home.now = UnixNanos(0);
    for budget in &mut home.budgets {
        (budget.good, budget.total) = (u64::MAX, 0);
        (budget.left, budget.objective) = (Some(f64::NEG_INFINITY), f64::NAN);
        budget.line = vec![Some(f64::NAN), Some(f64::INFINITY), None];
        budget.window = std::time::Duration::MAX;
    }
    for probe in &mut home.probes {
        probe.strip_step = std::time::Duration::MAX;
        if let Some(run) = &mut probe.last {
            (run.duration_ns, run.lateness_ns) = (0, u64::MAX);
        }
    }
    for alert in &mut home.firing {
        alert.recent = vec![Some(f64::NAN)];
        alert.recent_span = std::time::Duration::ZERO;
    }
    assert!(render_home(&home).contains("</html>"));
    home.now = UnixNanos(u64::MAX);
    assert!(!render_home(&home).contains("NaN"));
}

/// Guarantees nothing: writes every page with style and script into the folder that
/// RADIOSONDE_PAGES names, for looking at them in a browser.
#[test]
#[ignore = "writes files to look at, needs RADIOSONDE_PAGES"]
fn write_pages_to_look_at() {
    let folder = std::path::PathBuf::from(std::env::var("RADIOSONDE_PAGES").expect("a folder"));
    std::fs::create_dir_all(folder.join("page")).expect("a folder");
    std::fs::write(folder.join("page/style.css"), STYLE).expect("written");
    std::fs::write(folder.join("page/script.js"), SCRIPT).expect("written");
    for (page, html) in pages() {
        std::fs::write(folder.join(format!("{page}.html")), html).expect("written");
    }
}
