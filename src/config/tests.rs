//! Whole configurations: golden cases of what is accepted and refused, the documented examples, the
//! disk, and texts that nobody would write.
//!
//! Golden cases stand in `tests/golden/config/`: a file, which is read as `radiosonde.yaml`, or a
//! folder of files. `UPDATE_GOLDEN=1` writes the expectations anew.

use super::*;
use crate::model::objective::Severity;
use crate::probe::spec::{Action, Cadence};
use proptest::prelude::*;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

type Texts = Vec<(String, String)>;

/// The environment of the tests. The dollar in the secret must not be taken for a template.
fn env(name: &str) -> Option<String> {
    match name {
        "TOKEN" => Some("s3cr$t-${run.id}-0123456789".to_owned()),
        "SHORT" => Some("abc".to_owned()),
        _ => None,
    }
}

fn load_texts(texts: &[(&str, &str)]) -> Loaded {
    load(&Inputs {
        sources: Sources::Memory(texts),
        env: &env,
        attribute_is_kept: &|key| !matches!(key, "user.email" | "app.tier"),
        insecure: false,
    })
}

fn load_text(text: &str) -> Loaded {
    load_texts(&[("radiosonde.yaml", text)])
}

fn golden(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/config").join(kind)
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The files of a case, by their path within it.
fn case_texts(case: &Path) -> Texts {
    fn collect(root: &Path, at: &Path, texts: &mut Texts) {
        for path in sorted(at) {
            if path.is_dir() {
                collect(root, &path, texts);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                texts.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    if case.is_file() {
        return vec![("radiosonde.yaml".to_owned(), fs::read_to_string(case).unwrap())];
    }
    let mut texts = Texts::new();
    collect(case, case, &mut texts);
    texts
}

fn rendered(loaded: &Loaded) -> String {
    let mut text = String::new();
    for (what, list) in [("problem", &loaded.problems), ("warning", &loaded.warnings)] {
        for problem in list {
            writeln!(text, "{what}: {problem}").unwrap();
        }
    }
    if let Some(settings) = &loaded.settings {
        for probe in &settings.probes {
            writeln!(text, "{probe:#?}").unwrap();
        }
        for slo in &settings.slos {
            writeln!(text, "{slo:#?}").unwrap();
        }
        for receiver in &settings.receivers {
            writeln!(text, "{receiver:?}").unwrap();
        }
        writeln!(text, "{:?}\n{:?}", settings.route, settings.heartbeat).unwrap();
    }
    text
}

/// Runs every case of a folder; returns the names of those that differ.
fn run_cases(kind: &str, is_fine: impl Fn(&Loaded) -> bool) {
    let mut wrong = Vec::new();
    for case in sorted(&golden(kind)) {
        if case.extension().is_some_and(|extension| extension == "expected") {
            continue;
        }
        // What a build leaves out it judges otherwise.
        let left_out = [("http3", cfg!(feature = "http3")), ("webrtc", cfg!(feature = "webrtc"))];
        if left_out.iter().any(|(stem, built)| !built && case.file_stem() == Some(stem.as_ref())) {
            continue;
        }
        let texts = case_texts(&case);
        let texts: Vec<(&str, &str)> =
            texts.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
        let loaded = load_texts(&texts);
        let got = rendered(&loaded);
        assert!(is_fine(&loaded), "{}:\n{got}", case.display());
        assert!(!got.contains("s3cr"), "a secret shows in {}:\n{got}", case.display());
        let expected = case.with_extension("expected");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&expected, &got).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != got {
            wrong.push(format!("{}:\n{got}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Guarantees what each accepted configuration resolves to, and what is said about doubtful ones.
#[test]
fn valid_cases_resolve_as_expected() {
    run_cases("valid", |loaded| loaded.problems.is_empty() && loaded.settings.is_some());
}

/// Guarantees every message with its place and hint, all of them at once.
#[test]
fn invalid_cases_say_what_is_wrong() {
    run_cases("invalid", |loaded| !loaded.problems.is_empty() && loaded.settings.is_none());
}

/// Guarantees that the printed example shows every key and has no mistake.
#[test]
fn the_example_loads() {
    let loaded = load_text(example());
    assert_eq!(rendered_problems(&loaded), "");
    let settings = loaded.settings.unwrap();
    let defaults = Daemon::default();
    assert_eq!(settings.daemon.journal, defaults.journal);
    assert_eq!(settings.daemon.history, defaults.history);
    assert_eq!(settings.daemon.listen, defaults.listen);
    assert_eq!(settings.phones.labels, Phones::default().labels);
    assert_eq!(settings.phones.max_series_per_app, Phones::default().max_series_per_app);
}

/// Guarantees that the probe and the SLO of the README can be pasted into files as they stand.
#[test]
fn the_readme_loads() {
    let readme = include_str!("../../README.md");
    let blocks = readme.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let names = ["probes/readme.yaml", "alerts/readme.yaml"];
    let files: Vec<(&str, &str)> = names.into_iter().zip(blocks).collect();
    assert_eq!(files.len(), names.len());
    let loaded = load_embedded(&files, &|_| true);
    assert_eq!(rendered_problems(&loaded), "");
    let settings = loaded.settings.unwrap();
    assert_eq!((settings.probes.len(), settings.slos.len()), (1, 1));
}

fn rendered_problems(loaded: &Loaded) -> String {
    let all = loaded.problems.iter().chain(&loaded.warnings);
    all.map(|problem| format!("{problem}\n")).collect()
}

/// Guarantees that the contract's own files mean what the contract says.
#[test]
fn the_documented_files_mean_what_is_documented() {
    let texts = case_texts(&golden("valid").join("design"));
    let texts: Vec<(&str, &str)> = texts.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    let loaded = load_texts(&texts);
    assert_eq!(rendered_problems(&loaded), "");
    let settings = loaded.settings.unwrap();
    let [echo, delivery] = settings.probes.as_slice() else { unreachable!("two probes") };
    assert_eq!(echo.cadence, Cadence::Every(Duration::from_secs(10)));
    assert_eq!(echo.labels.get("owner"), Some("messaging"));
    assert!(matches!(&echo.steps[0].action, Action::WebSocket(step) if step.expect.is_some()));
    let names: Vec<&str> = delivery.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["bob", "alice", "3"]);
    let [fast, .., crash] = settings.slos.as_slice() else { unreachable!("slos") };
    assert_eq!(fast.objective, 0.999);
    assert_eq!(fast.absent_after, Duration::from_secs(30));
    assert_eq!(fast.burn.len(), 4);
    assert_eq!(fast.burn[0].severity, Severity::Page);
    assert_eq!(crash.indicator.canonical(), "ratio bad event=app.crash total event=session.start");
    assert_eq!(settings.heartbeat.unwrap().every, Duration::from_secs(300));
    assert_eq!(settings.phones.routes, ["/rooms/{id}/messages"]);
}

/// Guarantees that the revision follows the meaning, not the text, and leaves secrets out.
#[test]
fn the_revision_is_of_the_meaning() {
    let revision = |text: &str| load_text(text).settings.unwrap().revision;
    let one = revision("probes: [ { name: a, every: 60s, http: { get: 'http://127.0.0.1/' } } ]");
    let same = "# a comment\nprobes:\n- http: {get: http://127.0.0.1/}\n  every: 1m\n  name: a";
    let other = "probes: [ { name: a, every: 61s, http: { get: 'http://127.0.0.1/' } } ]";
    assert_eq!(one, revision(same));
    assert_ne!(one, revision(other));
    let token = |token: &str| revision(&format!("api: {{ tokens: {{ a: {token} }} }}"));
    assert_eq!(token("0123456789abcdef"), token("fedcba9876543210"));
}

/// Guarantees that a secret reaches its place whole: dollars doubled where runs fill texts in, and
/// as they are elsewhere.
#[test]
fn secrets_arrive_as_they_are() {
    let settings = {
        let text = fs::read_to_string(golden("valid").join("secrets.yaml")).unwrap();
        load_text(&text).settings.unwrap()
    };
    let (_, token) = &settings.daemon.api_tokens[0];
    assert_eq!(token.reveal(), "s3cr$t-${run.id}-0123456789");
    let Action::Http(step) = &settings.probes[0].steps[0].action else { unreachable!("http") };
    let header = |name: &str| {
        step.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.reveal()).unwrap()
    };
    assert_eq!(header("authorization"), "Bearer s3cr$$t-$${run.id}-0123456789");
    assert_eq!(header("x-run"), "${run.id}");
}

/// Guarantees how folders are read: recursively, hidden entries and links in a circle aside.
#[test]
fn folders_are_read_recursively_once() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    let probe = |name: &str| {
        format!("probes: [ {{ name: {name}, every: 1m, http: {{ get: 'http://127.0.0.1/' }} }} ]")
    };
    fs::create_dir_all(path("probes/eu/..data")).unwrap();
    fs::write(path("probes/b.yaml"), probe("b")).unwrap();
    fs::write(path("probes/eu/a.yml"), probe("a")).unwrap();
    fs::write(path("probes/eu/..data/a.yml"), probe("a")).unwrap();
    fs::write(path("probes/eu/notes.txt"), "not: [ yaml").unwrap();
    fs::write(path("probes/empty.yaml"), "").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(path("probes"), path("probes/eu/up")).unwrap();
    let disk = |probes: Location, alerts: Location| {
        let config = Location::implicit(path("radiosonde.yaml"));
        load(&Inputs {
            sources: Sources::Disk { config, probes, alerts },
            env: &env,
            attribute_is_kept: &|_| true,
            insecure: false,
        })
    };
    let loaded = disk(Location::explicit(path("probes")), Location::implicit(path("alerts")));
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
    let settings = loaded.settings.unwrap();
    let names: Vec<&str> = settings.probes.iter().map(|probe| probe.name.as_str()).collect();
    assert_eq!(names, ["b", "a"]);
    assert_eq!(settings.files.len(), 3);
    let loaded = disk(Location::explicit(path("nowhere")), Location::explicit(path("probes")));
    assert_eq!(loaded.problems.len(), 1, "{:?}", loaded.problems);
}

/// Guarantees that files too long, not UTF-8, or missing are problems of their own.
#[test]
fn unreadable_files_are_reported() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    fs::create_dir(path("probes")).unwrap();
    fs::write(path("probes/long.yaml"), vec![b'#'; 5 << 20]).unwrap();
    fs::write(path("probes/latin.yaml"), b"# one\n# caf\xe9\n").unwrap();
    let sources = Sources::Disk {
        config: Location::explicit(path("missing.yaml")),
        probes: Location::implicit(path("probes")),
        alerts: Location::implicit(path("probes")),
    };
    let loaded =
        load(&Inputs { sources, env: &env, attribute_is_kept: &|_| true, insecure: false });
    let text = rendered_problems(&loaded);
    assert!(text.contains("missing.yaml: the file cannot be read"), "{text}");
    assert!(text.contains("longer than 4 MiB"), "{text}");
    assert!(text.contains("not UTF-8 in line 2"), "{text}");
}

/// Guarantees that a flag on the command line opens listeners as the file would.
#[test]
fn insecure_may_come_from_outside() {
    let loaded = load(&Inputs {
        sources: Sources::Memory(&[("radiosonde.yaml", "listen: 0.0.0.0:7663")]),
        env: &env,
        attribute_is_kept: &|_| true,
        insecure: true,
    });
    assert!(loaded.settings.unwrap().daemon.insecure);
}

/// Pieces of YAML and of our keys, in any order: much closer to a configuration than noise is.
fn soup() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "probes:",
        "slos:",
        "receivers:",
        "route:",
        "heartbeat:",
        "listen:",
        "phones:",
        "name:",
        "every:",
        "cron:",
        "tz:",
        "timeout:",
        "steps:",
        "cleanup:",
        "http:",
        "websocket:",
        "sse:",
        "get:",
        "url:",
        "json:",
        "expect:",
        "within:",
        "since:",
        "on:",
        "as:",
        "send:",
        "capture:",
        "objective:",
        "window:",
        "latency:",
        "ratio:",
        "bad:",
        "total:",
        "where:",
        "under:",
        "burn:",
        "budget:",
        "long:",
        "short:",
        "severity:",
        "matchers:",
        "routes:",
        "labels:",
        "\n",
        "\n  ",
        "\n    ",
        "\n  - ",
        "\n    - ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        ",",
        ": ",
        " ",
        "&a ",
        "*a ",
        "<<: ",
        "? ",
        "! ",
        "| ",
        "> ",
        "'",
        "\"",
        "#",
        "---\n",
        "...\n",
        "%",
        "\t",
        "10s",
        "99.9%",
        "0%",
        "1h",
        "2xx",
        "${run.id}",
        "${env.TOKEN}",
        "${",
        "$$",
        "*/5 * * * *",
        "ws://127.0.0.1:1/",
        "http://a/",
        "POST /a/{b}",
        "true",
        "null",
        "~",
        "é",
        "\u{feff}",
        "\u{0}",
    ]);
    prop::collection::vec(word, 0..60).prop_map(|words| words.concat())
}

proptest! {
    /// Guarantees that no text makes reading panic, and that every problem can be shown.
    #[test]
    fn any_text_is_answered(text in "\\PC*") {
        let loaded = load_text(&text);
        prop_assert_eq!(loaded.settings.is_some(), loaded.problems.is_empty());
        let _ = rendered_problems(&loaded);
    }

    /// Guarantees the same of texts that look like configurations.
    #[test]
    fn any_soup_of_keys_is_answered(text in soup()) {
        let loaded = load_text(&text);
        prop_assert_eq!(loaded.settings.is_some(), loaded.problems.is_empty());
        let _ = rendered_problems(&loaded);
    }
}
