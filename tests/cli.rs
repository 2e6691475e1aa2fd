//! The real binary at its command line: exit codes, formats, files, colours, and a whole life of a
//! daemon asked from outside.
//!
//! `UPDATE_GOLDEN=1` writes the golden texts anew.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use quick_junit::{NonSuccessKind, Report, TestCaseStatus};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What the environment of whoever runs the tests must not decide.
const ENVIRONMENT: [&str; 9] = [
    "RADIOSONDE_CONFIG",
    "RADIOSONDE_PROBES",
    "RADIOSONDE_ALERTS",
    "RADIOSONDE_DATA",
    "RADIOSONDE_SERVER",
    "RADIOSONDE_TOKEN",
    "NO_COLOR",
    "CLICOLOR_FORCE",
    "COLUMNS",
];

struct Said {
    code: i32,
    out: String,
    err: String,
}

fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_radiosonde"));
    let _ = command.args(arguments).current_dir(dir).stdin(Stdio::null());
    for name in ENVIRONMENT {
        let _ = command.env_remove(name);
    }
    command
}

fn said(mut command: Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap();
    Said { code, out: text(output.stdout), err: text(output.stderr) }
}

fn radiosonde(dir: &Path, arguments: &[&str]) -> Said {
    said(command(dir, arguments))
}

/// Serves on a free port until the runtime ends.
async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(tokio::spawn(async move { axum::serve(listener, router).await }));
    format!("http://{address}")
}

/// How long a good answer takes: more than the millisecond in which JUnit's times are written.
const OK_TAKES: Duration = Duration::from_millis(5);

/// A back end that answers well, badly, and late; and how often it was asked.
async fn back_end() -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let ok = move || {
        let _ = count.fetch_add(1, Ordering::Relaxed);
        async {
            tokio::time::sleep(OK_TAKES).await;
            axum::Json(json!({ "status": "pass" }))
        }
    };
    let late = || async {
        let event = futures::stream::once(async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Ok::<_, std::convert::Infallible>("event: hello\ndata: x\n\n")
        });
        ([("content-type", "text/event-stream")], axum::body::Body::from_stream(event))
    };
    let router = Router::new()
        .route("/ok", get(ok))
        .route("/bad", get(|| async { (StatusCode::SERVICE_UNAVAILABLE, "the database is away") }))
        .route("/late", get(late));
    (serve(router).await, asked)
}

/// A folder with one probe each: `good`, `bad`, and `journey`, whose second step of three fails.
fn folder(back_end: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "probes:
  - {{ name: good, every: 10s, labels: {{ owner: chat, region: eu }}, http: {{ get: '{back_end}/ok' }} }}
  - {{ name: bad, every: 10s, labels: {{ owner: chat }}, http: {{ get: '{back_end}/bad' }} }}
  - name: journey
    every: 10s
    labels: {{ owner: infra }}
    steps:
      - {{ as: write, http: {{ get: '{back_end}/ok' }} }}
      - {{ as: read, http: {{ get: '{back_end}/bad' }} }}
      - {{ as: after, http: {{ get: '{back_end}/ok' }} }}
"
    );
    std::fs::create_dir(dir.path().join("probes")).unwrap();
    std::fs::create_dir(dir.path().join("alerts")).unwrap();
    std::fs::write(dir.path().join("probes/all.yaml"), text).unwrap();
    dir
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Guarantees that the binary says which version it is.
#[test]
fn the_version_is_said() {
    let said = radiosonde(Path::new("."), &["--version"]);
    assert_eq!(
        (said.code, said.out.trim()),
        (0, concat!("radiosonde ", env!("CARGO_PKG_VERSION")))
    );
}

/// Guarantees the exit codes: 0 fine, 1 a run failed, 2 usage or files, 3 no daemon; and words on
/// standard error for each that is not 0, 1 aside.
#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_say_what_happened() {
    let (url, _) = back_end().await;
    let dir = folder(&url);
    let check = |arguments: &[&str], code: i32, words: &str| {
        let said = radiosonde(dir.path(), arguments);
        assert_eq!(said.code, code, "{arguments:?}: {}{}", said.out, said.err);
        assert!(said.err.contains(words), "{arguments:?}: {}", said.err);
    };
    check(&["probe", "good"], 0, "");
    check(&["probe", "good", "bad"], 1, "");
    check(&["probe", "god"], 2, "did you mean `good`?");
    check(&["probe", "--label", "owner=nobody"], 2, "owner=chat");
    check(&["probe", "--label", "owner"], 2, "name=value");
    check(&["probe", "--repeat", "0"], 2, "--repeat");
    check(&["frobnicate"], 2, "frobnicate");
    check(&["check"], 0, "");
    check(&["check", "--config", "missing.yaml"], 2, "missing.yaml");
    check(&["slo", "--server", "http://127.0.0.1:1"], 3, "http://127.0.0.1:1/api/slos");
    check(&["alerts", "--server", "127.0.0.1:1"], 3, "radiosonde run");
    check(&["silence", "list", "--server", "127.0.0.1:1"], 3, "hint");
    check(&["slo", "--server", &url], 3, "not as radiosonde does");
}

/// Guarantees that an address in the files here is offered when nobody answers on the default one.
#[test]
fn an_address_in_the_files_is_offered() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("radiosonde.yaml"), "listen: 127.0.0.1:17999\n").unwrap();
    let said = radiosonde(dir.path(), &["slo", "--server", "http://127.0.0.1:1"]);
    assert!(said.err.contains("listens on http://127.0.0.1:17999"), "{}", said.err);
}

/// Guarantees that without a name the daemon of the files here is asked, not another one.
#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_of_the_files_is_asked() {
    let answer = || async { axum::Json(json!({ "version": 1, "slos": [] })) };
    let url = serve(Router::new().route("/api/slos", get(answer))).await;
    let dir = tempfile::tempdir().unwrap();
    let listen = format!("listen: {}\n", url.trim_start_matches("http://"));
    std::fs::write(dir.path().join("radiosonde.yaml"), listen).unwrap();
    let said = radiosonde(dir.path(), &["slo", "--format", "json"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(serde_json::from_str::<Value>(&said.out).unwrap()["slos"], json!([]));
}

/// Guarantees that every target of a probe has a run, a line, a suite and figures of its own, also where a
/// service lists it, and that one that fails says which; and that no target at all is no success.
#[tokio::test(flavor = "multi_thread")]
async fn each_target_is_run_and_told() {
    let (url, _) = back_end().await;
    let up = url.trim_start_matches("http://").to_owned();
    let listed = [json!({ "targets": [up], "labels": { "zone": "blue" } })];
    let answer = move || async move { axum::Json(listed.clone()) };
    let service = serve(Router::new().route("/targets", get(answer))).await;
    let dir = tempfile::tempdir().unwrap();
    let probe = |target: &str, service: &str| {
        let text = format!(
            "probes: [ {{ name: edge, every: 10s, targets: [ {target}http: {{ url: '{service}' }} ], http: {{ get: 'http://${{target}}/ok' }} }} ]"
        );
        std::fs::create_dir_all(dir.path().join("probes")).unwrap();
        std::fs::write(dir.path().join("probes/edge.yaml"), text).unwrap();
    };
    probe("{ static: '127.0.0.1:1' }, ", &format!("{service}/targets"));
    let said = radiosonde(dir.path(), &["probe", "edge"]);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert!(said.out.contains("1 of 2 probes failed: edge 127.0.0.1:1"), "{}", said.out);
    assert!(said.out.contains(&format!("edge {up}")), "{}", said.out);
    let said = radiosonde(dir.path(), &["probe", "edge", "--format", "json"]);
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(report["runs"][0]["labels"], json!({ "target": "127.0.0.1:1" }));
    assert_eq!(report["runs"][1]["labels"], json!({ "target": up, "zone": "blue" }));
    assert_eq!(report["probes"][1]["target"], json!(up));
    let said = radiosonde(dir.path(), &["probe", "edge", "--format", "junit"]);
    assert_eq!(said.out.matches("<testcase ").count(), 2, "{}", said.out);
    assert!(said.out.contains(&format!("name=\"edge {up}\"")), "{}", said.out);
    probe("", &format!("{service}/nothing"));
    let said = radiosonde(dir.path(), &["probe", "edge"]);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert!(said.err.contains("status 404") && said.err.contains("no target"), "{}", said.err);
}

/// Guarantees names with wildcards, labels, and both together, by what was really run.
#[tokio::test(flavor = "multi_thread")]
async fn probes_are_selected_by_name_and_label() {
    let (url, _) = back_end().await;
    let dir = folder(&url);
    let check = |arguments: &[&str], expected: &[&str]| {
        let said = radiosonde(dir.path(), &[&["probe", "--format", "json"], arguments].concat());
        let document: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(document["version"], 1);
        let runs = document["runs"].as_array().unwrap();
        let probes: Vec<&str> = runs.iter().map(|run| run["probe"].as_str().unwrap()).collect();
        assert_eq!(probes, expected, "{arguments:?}");
    };
    check(&[], &["good", "bad", "journey"]);
    check(&["*o*"], &["good", "journey"]);
    check(&["--label", "owner=chat"], &["good", "bad"]);
    check(&["--label", "owner=chat", "--label", "region!=eu"], &["bad"]);
    check(&["?ood", "--label", "owner=~ch.*", "--repeat", "2"], &["good", "good"]);
    let said = radiosonde(dir.path(), &["probe", "--schema"]);
    let schema: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, &schema["properties"]["version"]["const"]), (0, &Value::from(1)));
}

/// Guarantees a report that CI systems read: a suite a probe, a case a step with its time and output,
/// the failure with its class, its words and what was expected, and what was not reached as skipped.
#[tokio::test(flavor = "multi_thread")]
async fn junit_has_a_case_a_step() {
    let (url, _) = back_end().await;
    let dir = folder(&url);
    let said = radiosonde(dir.path(), &["probe", "--format", "junit"]);
    assert_eq!(said.code, 1);
    let report = Report::deserialize_from_str(&said.out).unwrap();
    assert_eq!((report.tests, report.failures, report.errors, report.skipped), (5, 2, 0, 1));
    let suites: Vec<&str> = report.test_suites.iter().map(|suite| suite.name.as_str()).collect();
    assert_eq!(suites, ["good", "bad", "journey"]);
    let journey = report.test_suites.last().unwrap();
    let cases: Vec<&str> = journey.test_cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(cases, ["write", "read", "after"]);
    let [write, read, after] = journey.test_cases.as_slice() else { panic!("three steps") };
    assert!(matches!(write.status, TestCaseStatus::Success { .. }));
    assert!(write.time.unwrap() >= OK_TAKES);
    assert!(write.system_out.as_ref().unwrap().as_str().contains("connect"));
    let TestCaseStatus::NonSuccess { kind, message, ty, description, .. } = &read.status else {
        panic!("it failed")
    };
    assert_eq!((*kind, ty.as_deref()), (NonSuccessKind::Failure, Some("status")));
    assert!(message.as_deref().unwrap().contains("503; it says: the database is away"));
    assert!(description.as_deref().unwrap().contains("expected: status is 200-299\nfound: 503"));
    assert!(matches!(after.status, TestCaseStatus::Skipped { .. }));
}

/// Guarantees that a report is in its file whole and nothing else beside it, that the terminal still
/// gets the text, and that a folder that is missing is said before anything is sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_report_goes_into_a_file() {
    let (url, asked) = back_end().await;
    let dir = folder(&url);
    let before = names(dir.path()).len();
    let said = radiosonde(dir.path(), &["probe", "good", "--out", "no/such/report.xml"]);
    assert_eq!((said.code, asked.load(Ordering::Relaxed)), (2, 0));
    assert!(said.err.contains("no/such") && said.err.contains("create it"), "{}", said.err);
    let out = dir.path().join("report");
    std::fs::write(&out, "an older report").unwrap();
    for (format, begins) in [("text", "✓ good"), ("json", "{"), ("junit", "<?xml")] {
        let arguments = ["probe", "good", "--format", format, "--out", "report"];
        let said = radiosonde(dir.path(), &arguments);
        assert_eq!(said.code, 0);
        assert!(said.out.starts_with("✓ good  PASSED"), "{}", said.out);
        let text = std::fs::read_to_string(&out).unwrap();
        assert!(text.starts_with(begins) && !text.contains('\u{1b}'), "{text}");
    }
    assert_eq!(names(dir.path()).len(), before + 1);
}

/// Guarantees colours only where they are wanted: not in a pipe, not with `NO_COLOR`, but when forced;
/// and that nothing is lost without them.
#[tokio::test(flavor = "multi_thread")]
async fn colours_are_where_they_are_wanted() {
    let (url, _) = back_end().await;
    let dir = folder(&url);
    let check = |environment: &[(&str, &str)], arguments: &[&str], coloured: bool| {
        let mut command = command(dir.path(), &[&["probe", "bad"], arguments].concat());
        let _ = command.envs(environment.iter().copied());
        let said = said(command);
        assert_eq!(said.out.contains('\u{1b}'), coloured, "{environment:?} {arguments:?}");
        assert!(said.out.contains("FAILED"));
    };
    check(&[], &[], false);
    check(&[("NO_COLOR", "1")], &[], false);
    check(&[("CLICOLOR_FORCE", "1")], &[], true);
    check(&[], &["--color", "always"], true);
    check(&[("CLICOLOR_FORCE", "1")], &["--color", "never"], false);
}

/// Guarantees that a message that comes too late is told from none: both what was expected and what
/// came is said, and the time it took.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_message_says_what_was_expected_and_what_came() {
    let (url, _) = back_end().await;
    let dir = folder(&url);
    let text = format!(
        "probes: [ {{ name: feed, every: 10s, sse: {{ url: '{url}/late', expect: {{ event: hello, within: 50ms }} }} }} ]"
    );
    std::fs::write(dir.path().join("probes/all.yaml"), text).unwrap();
    let said = radiosonde(dir.path(), &["probe"]);
    assert_eq!(said.code, 1);
    assert!(said.out.contains("FAILED (late)"), "{}", said.out);
    assert!(
        said.out.contains("expected   an event of type hello comes within 50ms"),
        "{}",
        said.out
    );
    assert!(said.out.contains("found      it came after 3"), "{}", said.out);
}

/// Guarantees the table of a repeated probe, and that failed runs are drawn, but not a hundred of
/// them.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_probe_comes_to_a_table() {
    let (url, _) = back_end().await;
    let dir = folder(&url);
    let said = radiosonde(dir.path(), &["probe", "good", "bad", "--repeat", "6"]);
    assert_eq!(said.code, 1);
    assert_eq!(said.out.matches("✗ bad  FAILED (status)").count(), 3, "{}", said.out);
    assert!(said.out.contains("3 more failed runs"));
    let row = |name: &str| -> Vec<String> {
        let line = said.out.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(row("✓ good")[2..4], ["6", "0"]);
    let bad = row("✗ bad ");
    assert!(said.out.lines().last().unwrap().ends_with("6 status"), "{bad:?}");
}

/// Guarantees that Ctrl-C ends a long series after the run under way: the exit code is the shell's for
/// it, and what was done is still reported.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_series_reports_what_was_done() {
    let (url, asked) = back_end().await;
    let dir = folder(&url);
    let mut command = command(dir.path(), &["probe", "good", "--repeat", "100000"]);
    let _ = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    for _ in 0..600 {
        if asked.load(Ordering::Relaxed) > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(String::from_utf8(output.stdout).unwrap().contains("✓ good"));
    assert!(String::from_utf8(output.stderr).unwrap().contains("of 100000 runs were done"));
}

/// Guarantees what `check` says about broken files, to the letter: every mistake with its place, its
/// line, a caret and a hint, then how many there are.
#[test]
fn broken_files_are_shown_to_the_letter() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cli");
    let said = radiosonde(&golden.join("broken"), &["check"]);
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    compare(&golden.join("broken.expected"), &said.err);
    let machine = radiosonde(&golden.join("broken"), &["check", "--format", "json"]);
    let document: Value = serde_json::from_str(&machine.out).unwrap();
    let problems = document["problems"].as_array().unwrap();
    assert_eq!((machine.code, &document["ok"]), (2, &json!(false)));
    assert_eq!(problems[1]["hint"], "did you mean `every`?");
    assert_eq!(problems[1]["line"], 3);
}

fn compare(expected: &PathBuf, got: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(expected, got).unwrap();
    }
    assert_eq!(std::fs::read_to_string(expected).unwrap_or_default(), got, "\n{got}");
}

/// Guarantees that the printed example can be taken as it is: a folder with nothing but it is fine.
#[test]
fn the_example_can_be_taken_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let example = radiosonde(dir.path(), &["check", "--example"]);
    assert_eq!(example.code, 0);
    std::fs::write(dir.path().join("radiosonde.yaml"), example.out).unwrap();
    let said = radiosonde(dir.path(), &["check"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("probes") && said.out.contains("every"), "{}", said.out);
}

/// Guarantees that no key that files may have is missing in the printed example.
#[test]
fn the_example_shows_every_key() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config");
    let example = std::fs::read_to_string(root.join("example.yaml")).unwrap();
    let readers = "get|text|flag|address|duration|bytes|integer|need";
    let key = regex::Regex::new(&format!(r#"\.(?:{readers})\(\s*"([a-z_]+)""#)).unwrap();
    let mut keys = 0;
    for name in names(&root).iter().filter(|name| name.ends_with(".rs") && *name != "tests.rs") {
        let source = std::fs::read_to_string(root.join(name)).unwrap();
        for [key] in key.captures_iter(&source).map(|found| found.extract().1) {
            keys += 1;
            let word = regex::Regex::new(&format!(r"\b{key}\b")).unwrap();
            assert!(word.is_match(&example), "{name} reads `{key}`");
        }
    }
    assert!(keys > 50, "the readers of keys have other names now: {keys} found");
}

/// Guarantees that a firing alert is exit code 1 in both formats, that its whole summary is shown
/// within 100 columns, and that a token is sent when one is given and asked for when one is needed.
#[tokio::test(flavor = "multi_thread")]
async fn firing_alerts_are_shown_to_whoever_has_a_token() {
    let summary = "send-message-on-phones burns 3.8x since 06:27 UTC; 47 of 248 were slower than \
                   300ms or failed in the last 20s; region ap-south explains 98 % of it";
    let alerts = move |headers: HeaderMap| async move {
        if headers.get("authorization").is_none_or(|value| value != "Bearer let-me-in") {
            let words = json!({ "version": 1, "error": "a bearer token is needed" });
            return (StatusCode::UNAUTHORIZED, axum::Json(words)).into_response();
        }
        let alert = json!({
            "id": "i1", "alertname": "send-message-on-phones", "severity": "page",
            "state": "firing", "started_at": "2026-08-06T06:27:00.000Z",
            "labels": { "alertname": "send-message-on-phones", "owner": "messaging" },
            "summary": summary, "annotations": {},
            "acknowledged_by": null, "silenced_by": null,
        });
        axum::Json(json!({ "version": 1, "alerts": [alert] })).into_response()
    };
    let url = serve(Router::new().route("/api/alerts", get(alerts))).await;
    let dir = tempfile::tempdir().unwrap();
    let without = radiosonde(dir.path(), &["alerts", "--server", &url]);
    assert_eq!(without.code, 2);
    assert!(without.err.contains("RADIOSONDE_TOKEN"), "{}", without.err);
    for format in ["text", "json"] {
        let mut command = command(dir.path(), &["alerts", "--server", &url, "--format", format]);
        let _ = command.env("RADIOSONDE_TOKEN", "let-me-in");
        let said = said(command);
        assert_eq!(said.code, 1, "{}", said.err);
        let words: Vec<&str> = said.out.split_whitespace().collect();
        for word in summary.split_whitespace() {
            assert!(words.iter().any(|shown| shown.contains(word)), "{word}: {}", said.out);
        }
        let longest = said.out.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(format == "json" || longest <= 100, "{}", said.out);
    }
}

/// A daemon, ended with the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn start(dir: &Path, receiver: &str) -> (Daemon, String) {
    let [page, grpc, http] = [free_port(), free_port(), free_port()];
    let text = format!(
        "listen: 127.0.0.1:{page}\notlp: {{ grpc: 127.0.0.1:{grpc}, http: 127.0.0.1:{http} }}\n\
         slos: [ {{ name: good-up, objective: 99%, window: 30d, availability: {{ probe: good }} }} ]\n\
         receivers: [ {{ name: oncall, webhook: {{ url: '{receiver}' }} }} ]\n\
         route: {{ receiver: oncall }}\n"
    );
    std::fs::write(dir.join("radiosonde.yaml"), text).unwrap();
    let mut command = command(dir, &["run"]);
    let daemon = Daemon(command.stderr(Stdio::null()).spawn().unwrap());
    let url = format!("http://127.0.0.1:{page}");
    for _ in 0..600 {
        if radiosonde(dir, &["slo", "--server", &url]).code == 0 {
            return (daemon, url);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the daemon did not answer within a minute");
}

/// Guarantees the whole conversation with a real daemon: budgets, no alert, a silence's life, tests of
/// receivers that take the message, that do not exist; and a second daemon on the same data and ports
/// is told why it cannot be.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_is_asked_from_outside() {
    let (back_end, _) = back_end().await;
    let receiver = serve(Router::new().fallback(|| async { "taken" })).await;
    let dir = folder(&back_end);
    let (daemon, url) = start(dir.path(), &receiver).await;
    let ask = |arguments: &[&str], code: i32, words: &str| -> String {
        let said = radiosonde(dir.path(), &[arguments, &["--server", &url]].concat());
        assert_eq!(said.code, code, "{arguments:?}: {}{}", said.out, said.err);
        let all = said.out.clone() + &said.err;
        assert!(all.contains(words), "{arguments:?}: {all}");
        said.out
    };
    drop(ask(&["slo"], 0, "good-up"));
    drop(ask(&["slo", "--format", "json"], 0, "\"version\": 1"));
    drop(ask(&["alerts"], 0, "no alert fires"));
    drop(ask(&["alerts", "test", "oncall"], 0, "oncall took the test message"));
    drop(ask(&["alerts", "test", "nobody"], 2, "no receiver `nobody`"));
    drop(ask(&["silence"], 0, "nothing is silenced"));
    let add = ["silence", "add", "alertname=~good.*", "--comment", "known", "--for", "2h"];
    let added = ask(&[&add[..], &["--format", "json"]].concat(), 0, "id");
    let added: Value = serde_json::from_str(&added).unwrap();
    let id = added["id"].as_str().unwrap();
    drop(ask(&["silence", "list"], 0, id));
    drop(ask(&["silence", "list"], 0, "known"));
    drop(ask(&["silence", "expire", id], 0, "ended"));
    drop(ask(&["silence", "expire", "0123"], 2, "no silence 0123"));
    let second = radiosonde(dir.path(), &["run"]);
    assert_eq!(second.code, 1);
    assert!(second.err.contains(&url["http://".len()..]), "{}", second.err);
    assert!(end(daemon).success());
}

/// Ends a daemon as a service manager does.
fn end(mut daemon: Daemon) -> ExitStatus {
    let killed = Command::new("kill").arg(daemon.0.id().to_string()).status().unwrap();
    assert!(killed.success());
    daemon.0.wait().unwrap()
}
