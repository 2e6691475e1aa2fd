//! The JSON API as its clients see it: a server on loopback with something of everything, every
//! operation of its own document, and what it says to requests that are wrong.

mod blackbox;
mod schema;
mod served;

use self::schema::Checker;
use self::served::{RUN, Served};
use super::json::{ProbeSummary, report_json, report_schema};
use crate::wire::probe_spans::tests::sample_run;
use serde_json::{Value, json};

/// Where each operation finds what its path names.
const PLACES: [(&str, &str); 8] = [
    ("/api/slos/{name}", "/api/slos/send-on-phones"),
    ("/api/probes/{name}", "/api/probes/echo"),
    ("/api/probes/{name}/runs", "/api/probes/echo/runs"),
    ("/api/probes/{name}/run", "/api/probes/echo/run"),
    ("/api/incidents/{id}", "/api/incidents/incident-1"),
    ("/api/incidents/{id}/acknowledge", "/api/incidents/incident-1/acknowledge"),
    ("/api/silences/{id}", "/api/silences/silence-1"),
    ("/api/receivers/{name}/test", "/api/receivers/oncall/test"),
];

/// Guarantees that what `radiosonde probe --format json` prints is what its schema says, numbers as
/// numbers, and that an attribute that was found out several times keeps all of its values.
#[test]
fn reports_keep_to_their_schema() {
    let mut run = sample_run();
    let again = ["a: 1 lost", "b: 2 lost"].map(|said| ("ledger.publisher".to_owned(), said.into()));
    run.steps[0].attributes.extend(again);
    let summary = ProbeSummary {
        probe: run.probe.clone(),
        target: None,
        runs: 2,
        failed: 1,
        failure_reasons: [("late", 1)].into(),
        latency_ns: [Some(1), Some(2), None],
    };
    let (report, schema) = (report_json([&run].into_iter(), &[summary]), report_schema());
    let checker = Checker::new(&schema);
    assert_eq!(checker.problems(&schema, &report), Vec::<String>::new());
    assert_eq!(checker.dangling(), Vec::<String>::new());
    let step = &report["runs"][0]["steps"][0];
    assert_eq!(step["attributes"]["fanout.first_ns"], 1_500);
    assert_eq!(step["attributes"]["mqtt.session_present"], true);
    assert_eq!(step["attributes"]["ledger.publisher"], json!(["a: 1 lost", "b: 2 lost"]));
    let arrived: Vec<&Value> =
        step["messages"].as_array().expect("a list").iter().map(|m| &m["offset_ns"]).collect();
    assert_eq!((arrived, &step["messages_omitted"]), (vec![&json!(70), &json!(95)], &json!(7)));
}

fn place(path: &str) -> String {
    if path == "/api/runs/{id}" {
        return format!("/api/runs/{RUN}");
    }
    let found = PLACES.iter().find(|(template, _)| *template == path);
    let place = found.map_or(path, |(_, place)| place);
    assert!(!place.contains('{'), "say in PLACES where {path} is");
    place.to_owned()
}

fn body(operation: &Value) -> Option<Value> {
    let name = operation.pointer("/requestBody/content/application~1json/schema/$ref")?.as_str()?;
    Some(match name.rsplit('/').next() {
        Some("Acknowledgement") => json!({ "by": "ann" }),
        Some("SilenceRequest") => json!({
            "matchers": ["severity=page"], "duration": "2h", "created_by": "ann", "comment": "drill",
        }),
        _ => panic!("no example of {name}"),
    })
}

/// Guarantees that every operation of the document answers, with exactly the fields of its schema.
#[tokio::test]
async fn every_operation_answers_as_its_schema_says() {
    let served = Served::start().await;
    let (_, document) = served.ask("get", "/api/openapi.json", None).await;
    let checker = Checker::new(&document);
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let (status, answer) = served.ask(method, &place(path), body(operation)).await;
            assert_eq!(status, 200, "{method} {path}: {answer}");
            let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
            let wrong = checker.problems(schema, &answer);
            assert!(wrong.is_empty(), "{method} {path}: {wrong:#?}\n{answer:#}");
            asked += 1;
        }
    }
    assert_eq!(asked, super::operations::operations().len(), "each is in the document once");
}

/// Guarantees that the evidence is there, not only its shape.
#[tokio::test]
async fn evidence_is_told() {
    let served = Served::start().await;
    for (path, pointer, expected) in [
        ("/api/status", "/verdict/level", json!("bad")),
        ("/api/status", "/firing", json!(1)),
        ("/api/calibration", "/calibration/overall/error_ns/p50", json!(110_000)),
        ("/api/calibration", "/calibration/protocols/0/protocol", json!("http")),
        ("/api/slos", "/slos/0/total", json!(1)),
        ("/api/slos/echo-fast", "/runs/0/id", json!(RUN)),
        ("/api/slos/send-on-phones", "/spans/0/attributes/region", json!("ap-south")),
        ("/api/slos/send-on-phones", "/factors/0/values/0/value", json!("ap-south")),
        ("/api/slos/send-on-phones", "/incidents/0/id", json!("incident-1")),
        ("/api/probes/echo", "/cells/119/slow", json!(1)),
        ("/api/probes", "/probes/1/last", json!(null)),
        (&format!("/api/runs/{RUN}"), "/slos/0/good", json!(false)),
        ("/api/phones", "/slos/0/matrices/1/columns", json!(["ap-south", "eu-west"])),
        ("/api/alerts", "/alerts/0/silenced_by", json!("silence-1")),
        ("/api/incidents", "/incidents/1/state", json!("resolved")),
        ("/api/incidents/incident-1", "/deliveries/0/state", json!("refused")),
        ("/api/incidents/incident-1", "/deliveries/0/error", json!("410 Gone")),
        ("/api/silences", "/silences/0/matchers/0", json!("severity=\"page\"")),
    ] {
        let (_, answer) = served.ask("get", path, None).await;
        assert_eq!(answer.pointer(pointer), Some(&expected), "{path} {pointer}: {answer:#}");
    }
}

/// Guarantees that what is wrong with a request is told as JSON, with its status.
#[tokio::test]
async fn refusals_are_json() {
    let served = Served::start().await;
    let (_, document) = served.ask("get", "/api/openapi.json", None).await;
    let checker = Checker::new(&document);
    let silence = |change: (&str, Value)| {
        let mut body = json!({
            "matchers": ["severity=page"], "duration": "2h", "created_by": "a", "comment": "",
        });
        body[change.0] = change.1;
        Some(body)
    };
    for (method, path, body, status, words) in [
        ("get", "/api/nowhere", None, 404, "/api/openapi.json lists"),
        ("get", "/api", None, 404, "there is no /api"),
        ("get", "/api/slos/none", None, 404, "no SLO `none`"),
        ("get", "/api/probes/none", None, 404, "no probe `none`"),
        ("get", "/api/incidents/none", None, 404, "incident none"),
        ("get", "/api/runs/xyz", None, 400, "32 hex digits"),
        ("get", "/api/runs/00000000000000000000000000000000", None, 404, "is not kept"),
        ("get", "/api/slos/%ff", None, 400, "UTF-8"),
        ("delete", "/api/slos", None, 405, "does not take DELETE"),
        ("post", "/api/openapi.json", None, 405, "does not take POST"),
        ("delete", "/api/silences/none", None, 404, "no silence none"),
        ("post", "/api/probes/unknown/run", None, 404, "no further run"),
        ("post", "/api/probes/running/run", None, 409, "no further run"),
        ("post", "/api/probes/busy/run", None, 503, "no further run"),
        ("post", "/api/silences", Some(json!([1])), 422, "expected a sequence"),
        ("post", "/api/silences", silence(("matchers", json!([]))), 400, "at least one matcher"),
        ("post", "/api/silences", silence(("matchers", json!(["=x"]))), 400, "matcher"),
        ("post", "/api/silences", silence(("duration", json!("soon"))), 400, "soon"),
        ("post", "/api/silences", silence(("forever", json!(true))), 422, "forever"),
        ("post", "/api/silences", None, 415, "content-type"),
        ("post", "/api/incidents/none/acknowledge", Some(json!({"by": "a"})), 404, "none is open"),
    ] {
        let (found, answer) = served.ask(method, path, body).await;
        assert_eq!(found, status, "{method} {path}: {answer}");
        let problem = json!({ "$ref": "#/components/schemas/Problem" });
        assert_eq!(checker.problems(&problem, &answer), Vec::<String>::new(), "{method} {path}");
        let error = answer["error"].as_str().unwrap_or_default().to_lowercase();
        assert!(error.contains(&words.to_lowercase()), "{method} {path}: {error}");
    }
}

/// Guarantees that JSON has no way around the document: what is served to people is elsewhere, and
/// operations have names of their own.
#[test]
fn the_document_is_complete() {
    for (path, _) in super::routes::for_people() {
        assert!(!path.starts_with("/api"), "{path} belongs into the table of operations");
    }
    let document = super::openapi::document(&super::operations::operations());
    let checker = Checker::new(&document);
    assert_eq!(checker.dangling(), Vec::<String>::new());
    let paths = document["paths"].as_object().expect("paths");
    let operations = paths.values().flat_map(|methods| methods.as_object().expect("methods"));
    let mut ids: Vec<&str> = operations
        .map(|(_, operation)| operation["operationId"].as_str().expect("an id"))
        .collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "{ids:?}");
}

/// Guarantees that an open page is told of news by an event that browsers deliver: they drop those
/// without data.
#[tokio::test]
async fn open_pages_are_told() {
    let event = Served::start().await.event().await;
    assert!(event.starts_with("event: refresh\ndata: "), "{event:?}");
}

/// Guarantees that pages link to JSON that is there.
#[tokio::test]
async fn pages_link_to_their_json() {
    let served = Served::start().await;
    for page in ["/", "/slos/echo-fast", "/probes/echo", "/incidents/incident-1", "/changes"]
        .map(str::to_owned)
        .into_iter()
        .chain([format!("/runs/{RUN}")])
    {
        let html = served.text(&page).await;
        let (before, _) = html.split_once("\">This page as JSON").expect("a link");
        let link = before.rsplit('"').next().expect("an address");
        let (status, answer) = served.ask("get", link, None).await;
        assert_eq!((status, &answer["version"]), (200, &json!(1)), "{page} → {link}");
    }
}

/// Guarantees that a probe's page has a form without a script that leads to the run, says why there is
/// none, and cannot be sent from elsewhere.
#[tokio::test]
async fn a_probe_is_run_from_its_page() {
    let served = Served::start().await;
    let html = served.text("/probes/echo").await;
    assert!(html.contains(r#"method="post" action="/probes/echo/run""#), "{html}");
    let (status, location, _) = served.submit("/probes/echo/run", None).await;
    assert_eq!((status, location), (303, format!("/runs/{RUN}")));
    let (status, _, text) = served.submit("/probes/running/run", None).await;
    assert_eq!(status, 409);
    assert!(text.contains("<code>running</code> was not run now: no further run."), "{text}");
    let (status, location, _) =
        served.submit("/probes/echo/run", Some("https://evil.example")).await;
    assert_eq!((status, location.as_str()), (403, ""));
}
